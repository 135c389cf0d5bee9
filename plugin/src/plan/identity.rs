//! Who the principal is in the cluster, and what it takes that it is somebody.
//!
//! A principal is bound by a name that is provably its own: the group that it
//! has for itself, or its user name where nobody else can have it and the group
//! would mean to change what others wrote. An access entry replaces a line of
//! `aws-auth` as a whole, so where a line counts it is used and no entry made.

use serde_json::{Value, json};

use super::bindings::Named;
use super::lines::{self, Found};
use super::wish::own_group;
use super::{Direction, LABEL, Stop, Told, View, change, listed, stop};
use crate::aws::arn::{Arn, Kind};
use crate::aws::eks::{Entry, Mode};
use crate::bindings::Change;
use crate::evidence::Certainty;
use crate::identity::roles::Status;
use crate::identity::template::{INSTANCE, Template};
use crate::identity::{dead, default_username, is_node_type};
use crate::kubernetes::aws_auth::Line;
use crate::kubernetes::rbac::SubjectKind;
use crate::text::encode;
use crate::upstream::fail;

/// Up to how many access entries everybody is read to prove that a user name is
/// one principal's own; above, its own group is taken without asking.
const MANY_ENTRIES: usize = 256;
/// What EKS refuses user names of entries to begin with.
const REFUSED: [&str; 5] = ["system:", "eks:", "aws:", "amazon:", "iam:"];

/// The principal's access entry.
pub enum Own<'a> {
    /// There is none.
    None,
    /// One that maps nobody, and why.
    Dead(&'a str, &'static str),
    /// One that counts.
    Live(&'a Entry),
}

/// Whether the principal is one of this cluster's, spelt as the file spells it.
pub fn known(view: &View<'_>, direction: Direction) -> Result<(), Stop> {
    let cluster = &view.world.cluster;
    if let Some(odd) = &cluster.odd_mode {
        return Err(stop(
            "unsupported",
            format!(
                "the authentication mode `{odd}` is not known, so nothing can be changed safely"
            ),
        ));
    }
    let Some(arn) = view.wish.arn() else {
        return Ok(());
    };
    let id = &view.wish.id;
    if arn.partition != cluster.partition {
        return Err(stop(
            "invalid-request",
            format!(
                "{id} is of partition {}, the cluster of {}",
                arn.partition, cluster.partition
            ),
        ));
    }
    let named = |other: &str| {
        stop(
            "invalid-request",
            format!("{id} is known here as {other}; use that id"),
        )
    };
    if arn.kind == Kind::User {
        let spellings = view.world.index.spellings(arn);
        if let Some(other) = spellings.first().filter(|_| !spellings.contains(id)) {
            return Err(named(other));
        }
        return Ok(());
    }
    let role = view.world.roles.get(arn);
    match role.map(|r| (r.status, r.arn.full())) {
        Some((Status::Listed, full)) => {
            if full != *id {
                return Err(named(&full));
            }
        }
        other => {
            if arn.account == cluster.account && direction == Direction::Grant {
                return Err(stop(
                    "not-found",
                    format!("IAM lists no role {id} in account {}", arn.account),
                ));
            }
            if let Some((_, full)) = other
                && full != *id
            {
                return Err(named(&full));
            }
            // Of another account's role a line tells no path, so neither would the file.
            let by_line =
                cluster.mode == Mode::ConfigMap || !matches!(lines::find(view, arn), Found::None);
            if direction == Direction::Grant
                && arn.path != "/"
                && by_line
                && matches!(entry(view, arn)?, Own::None | Own::Dead(..))
            {
                return Err(named(&arn.pathless()));
            }
        }
    }
    Ok(())
}

/// The principal's entry, if the mode knows entries.
pub fn entry<'a>(view: &View<'a>, arn: &Arn) -> Result<Own<'a>, Stop> {
    let mut found = Own::None;
    for read in view.reads.own_entries() {
        let (Ok(entry), Some(entry_arn)) = (&read.entry, Arn::parse(&read.arn)) else {
            continue;
        };
        let account = &view.world.cluster.account;
        if let Some(why) = dead(entry, &entry_arn, &view.world.roles, None, account) {
            if !matches!(found, Own::Live(_)) {
                found = Own::Dead(&read.arn, why);
            }
        } else if read.arn == arn.full() {
            found = Own::Live(entry);
        } else {
            return Err(stop(
                "conflict",
                format!(
                    "access entry {} is for the same principal under another spelling; use that id, or delete the entry",
                    read.arn
                ),
            ));
        }
    }
    Ok(found)
}

/// Whether an entry is of our making.
pub fn is_ours(entry: &Entry) -> bool {
    entry.tags.get("managed-by").map(String::as_str) == Some(LABEL.1)
}

/// The path of an entry in EKS.
pub fn entry_path(view: &View<'_>, arn: Option<&str>) -> String {
    let mut path = format!("/clusters/{}/access-entries", encode(&view.reads.name));
    if let Some(arn) = arn {
        path.push('/');
        path.push_str(&encode(arn));
    }
    path
}

/// An entry of a type that people have.
pub fn usable<'a>(view: &View<'_>, entry: &'a Entry) -> Result<&'a Entry, Stop> {
    match entry.kind.as_str() {
        "STANDARD" | "" => Ok(entry),
        kind if is_node_type(kind) => Err(stop(
            "unsupported",
            format!(
                "the access entry of {} is of type {kind}: the role is a node's",
                view.wish.id
            ),
        )),
        kind => Err(stop(
            "unsupported",
            format!(
                "the access entry of {} has the unknown type {kind}",
                view.wish.id
            ),
        )),
    }
}

fn is_gone(view: &View<'_>, arn: &str, why: &str) -> Stop {
    let mut error = fail(
        "conflict",
        format!("access entry {arn} maps nobody, because {why}; delete it and grant again"),
    );
    let command = format!(
        "aws eks delete-access-entry --cluster-name {} --principal-arn {arn}",
        view.reads.name
    );
    error.attributes.push(("hint".into(), command));
    Stop::Error(error)
}

/// The subject that the principal is bound by, and the changes that map it.
pub fn for_binding(view: &View<'_>) -> Result<(Named, Vec<Change>), Stop> {
    let Some(arn) = view.wish.arn() else {
        return Err(stop(
            "unsupported",
            "only IAM principals have an identity to map",
        ));
    };
    let group = own_group(arn);
    let own = Named::group(&group);
    let found = entry(view, arn)?;
    if let Own::Live(entry) = found {
        let entry = usable(view, entry)?;
        if entry.kubernetes_groups.contains(&group) {
            return Ok((own, Vec::new()));
        }
        let username = if entry.username.is_empty() {
            default_username(arn)
        } else {
            entry.username.clone()
        };
        if !is_ours(entry)
            && let Some(named) = own_name(view, &Template::new(&username, arn))?
        {
            return Ok((named, Vec::new()));
        }
        if let Some(odd) = entry
            .kubernetes_groups
            .iter()
            .find(|g| g.starts_with("system:"))
        {
            return Err(stop(
                "conflict",
                format!(
                    "access entry {} has group {odd}, and EKS refuses to write it again; take it out first",
                    view.wish.id
                ),
            ));
        }
        gains_nothing(view, &[(SubjectKind::Group, Template::new(&group, arn))])?;
        return Ok((own, vec![append_group(view, entry, &group)]));
    }
    match lines::find(view, arn) {
        Found::None => {}
        Found::Ambiguous(line) => return Err(by_chance(view, line)),
        Found::Line(line) => {
            let line = for_people(view, line)?;
            if line.groups.contains(&group) {
                return Ok((own, Vec::new()));
            }
            if let Some(named) = own_name(view, &Template::new(&line.username, arn))? {
                return Ok((named, Vec::new()));
            }
            if let Own::Dead(arn, why) = found {
                return Err(is_gone(view, arn, why));
            }
            gains_nothing(view, &[(SubjectKind::Group, Template::new(&group, arn))])?;
            return Ok((own, vec![lines::add_group(view, line, &group)?]));
        }
    }
    // A mapped account gives its principals their ARN as user name, and both an
    // entry and a line replace that.
    if let Some(lost) = lost_name(view, arn) {
        return match own_name(view, &Template::new(&lost, arn))? {
            Some(named) => Ok((named, Vec::new())),
            None => Err(stop(
                "conflict",
                format!(
                    "mapAccounts of aws-auth gives {} the user name {lost}, which bindings name and others can have; a mapping of its own would take that away",
                    view.wish.id
                ),
            )),
        };
    }
    if view.world.cluster.mode == Mode::ConfigMap {
        gains_nothing(view, &[(SubjectKind::Group, Template::new(&group, arn))])?;
        return Ok((own, vec![lines::append(view, arn)?]));
    }
    Ok((own, vec![create(view, arn, &found, None)?]))
}

/// The changes after which the principal has an entry that can carry policies.
pub fn for_policy(view: &View<'_>, arn: &Arn) -> Result<Vec<Change>, Stop> {
    let found = entry(view, arn)?;
    if let Own::Live(entry) = found {
        usable(view, entry)?;
        return Ok(Vec::new());
    }
    let line = match lines::find(view, arn) {
        Found::None => None,
        Found::Line(line) => Some(line),
        Found::Ambiguous(line) => return Err(by_chance(view, line)),
    };
    if line.is_none()
        && let Some(lost) = lost_name(view, arn)
        && default_username(arn) != lost
    {
        return Err(stop(
            "conflict",
            format!(
                "an access entry would replace what mapAccounts of aws-auth gives {}: bindings name its user name {lost}",
                view.wish.id
            ),
        ));
    }
    Ok(vec![create(view, arn, &found, line)?])
}

fn by_chance(view: &View<'_>, line: &Line) -> Stop {
    stop(
        "conflict",
        format!(
            "aws-auth has several lines for {} that differ in case only ({}), and chance decides which one counts; remove all but one",
            view.wish.id, line.place
        ),
    )
}

/// A line that is no node's and works in every session.
fn for_people<'a>(view: &View<'_>, line: &'a Line) -> Result<&'a Line, Stop> {
    let node = line.username.starts_with("system:node:")
        && line.groups.iter().any(|g| g == "system:nodes");
    let instance =
        line.username.contains(INSTANCE) || line.groups.iter().any(|g| g.contains(INSTANCE));
    if node || instance {
        return Err(stop(
            "unsupported",
            format!(
                "{} of aws-auth maps {} as a node or an instance",
                line.place, view.wish.id
            ),
        ));
    }
    Ok(line)
}

/// The principal's user name as a subject, if it is fixed and nobody else's.
fn own_name(view: &View<'_>, username: &Template) -> Result<Option<Named>, Stop> {
    let Some(name) = username.fixed() else {
        return Ok(None);
    };
    if name.is_empty() || name.starts_with("system:") {
        return Ok(None);
    }
    let everybody = view.wide || view.world.cluster.mode == Mode::ConfigMap;
    if !everybody {
        if view.reads.entry_count > MANY_ENTRIES {
            return Ok(None);
        }
        return Err(Stop::Everybody);
    }
    let named = Named::user(name);
    let sure = view.among(&view.by_subject(&named, "")) == Some(Certainty::Certain);
    let alone = view.sharers(&named).is_empty() && view.rivals(&named).is_empty();
    Ok((sure && alone).then_some(named))
}

/// The user name that a mapped account gives the principal, if a binding names it.
fn lost_name(view: &View<'_>, arn: &Arn) -> Option<String> {
    let name = lines::canonical(arn);
    view.world.index.by_account(&name)?;
    let mut subjects = view.world.bindings.subjects();
    subjects
        .any(|s| s.kind == SubjectKind::User && s.name == name)
        .then_some(name)
}

/// Refuses names by which bindings would give the principal more than the wish.
fn gains_nothing(view: &View<'_>, names: &[(SubjectKind, Template)]) -> Result<(), Stop> {
    let gains = view.gains(names);
    if gains.is_empty() {
        return Ok(());
    }
    Err(stop(
        "conflict",
        format!(
            "mapping {} would also give it what these bindings name it for: {}; revoke or delete them first",
            view.wish.id,
            listed(&gains)
        ),
    ))
}

fn append_group(view: &View<'_>, entry: &Entry, group: &str) -> Change {
    let before = entry.kubernetes_groups.clone();
    let mut groups = before.clone();
    groups.push(group.to_string());
    let told = Told {
        step: "identity",
        object: format!("access entry {}", view.wish.id),
        before: &Value::from(before).to_string(),
        after: &Value::from(groups.clone()).to_string(),
        summary: format!("add group {group} to access entry {}", view.wish.id),
    };
    let path = entry_path(view, Some(&view.wish.id));
    let body = json!({"kubernetesGroups": groups});
    change("eks", "POST", path, Some(body), told)
}

/// Creates an entry, with what a line of `aws-auth` gave the principal.
fn create(
    view: &View<'_>,
    arn: &Arn,
    found: &Own<'_>,
    line: Option<&Line>,
) -> Result<Change, Stop> {
    if let Own::Dead(arn, why) = found {
        return Err(is_gone(view, arn, why));
    }
    if arn.path.starts_with("/aws-service-role/") {
        return Err(stop(
            "unsupported",
            format!(
                "{} is a service-linked role, and EKS refuses access entries for these",
                view.wish.id
            ),
        ));
    }
    let group = own_group(arn);
    let mut groups = vec![group.clone()];
    let mut username = None;
    let mut names = vec![(SubjectKind::Group, Template::new(&group, arn))];
    if let Some(line) = line {
        let line = for_people(view, line)?;
        if let Some(what) = refused_by_eks(line, arn) {
            return Err(stop(
                "conflict",
                format!(
                    "an access entry would replace {} of aws-auth, which gives {} {what}, and EKS refuses that in an entry",
                    line.place, view.wish.id
                ),
            ));
        }
        for copied in &line.groups {
            if !groups.contains(copied) {
                groups.push(copied.clone());
            }
        }
        username = Some(&line.username).filter(|u| !u.is_empty());
    }
    if username.is_none() {
        names.push((
            SubjectKind::User,
            Template::new(&default_username(arn), arn),
        ));
    }
    gains_nothing(view, &names)?;
    let mut body = json!({
        "principalArn": view.wish.id,
        "type": "STANDARD",
        "kubernetesGroups": groups,
        "tags": {"managed-by": LABEL.1},
    });
    if let Some(username) = username {
        body["username"] = username.as_str().into();
    }
    let told = Told {
        step: "identity",
        object: format!("access entry {}", view.wish.id),
        before: "",
        after: &body.to_string(),
        summary: format!("create access entry {}", view.wish.id),
    };
    Ok(change(
        "eks",
        "POST",
        entry_path(view, None),
        Some(body.clone()),
        told,
    ))
}

/// What of a line EKS would refuse in an entry, in words.
fn refused_by_eks(line: &Line, arn: &Arn) -> Option<String> {
    if let Some(group) = line
        .groups
        .iter()
        .find(|g| g.starts_with("system:") || g.contains("{{"))
    {
        return Some(format!("group {group}"));
    }
    let name = &line.username;
    let session = ["{{SessionName}}", "{{SessionNameRaw}}"]
        .iter()
        .filter_map(|p| name.find(p))
        .min();
    let rest = name
        .replace("{{SessionNameRaw}}", "")
        .replace("{{SessionName}}", "");
    let odd = REFUSED.iter().any(|p| name.starts_with(p))
        || rest.contains("{{")
        || session.is_some_and(|at| {
            arn.kind != Kind::Role || !name.get(..at).unwrap_or_default().contains(':')
        });
    odd.then(|| format!("user name {name}"))
}
