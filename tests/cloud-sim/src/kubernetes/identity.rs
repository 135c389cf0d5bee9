//! From an AWS caller to a Kubernetes user: access entries, then `aws-auth`.
//!
//! An entry replaces an `aws-auth` line of the same principal as a whole; an
//! entry whose principal was deleted or made anew matches nobody, and the line
//! counts again. Entries compare the principal's id, lines its path-less ARN.

use serde_json::Value;

use super::store::Kind;
use crate::world::{Caller, Cluster, World};

/// A Kubernetes user, and the access policies it has.
#[derive(Debug, Clone, Default)]
pub(crate) struct Subject {
    pub name: String,
    pub groups: Vec<String>,
    pub uid: String,
    /// Policy name and the scope's namespaces; `None` is the cluster.
    pub policies: Vec<(String, Option<Vec<String>>)>,
}

impl Subject {
    pub(crate) fn is_master(&self) -> bool {
        self.groups.iter().any(|g| g == "system:masters")
    }
}

/// The user a caller is on a cluster; `None` is 401.
pub(crate) fn map(world: &World, cluster: &Cluster, caller: &Caller) -> Option<Subject> {
    let mode = cluster.spec.mode.as_str();
    let mut subject = None;
    if mode.starts_with("API") {
        subject = by_entry(world, cluster, caller);
    }
    if subject.is_none() && mode != "API" {
        subject = by_config_map(cluster, caller);
    }
    let subject = match subject {
        Some(found) => found?,
        None => by_creation(cluster, caller)?,
    };
    let mut subject = subject;
    subject.groups.push("system:authenticated".into());
    subject.uid = format!(
        "aws-iam-authenticator:{}:{}",
        caller.principal.account, caller.user_id
    );
    Some(subject)
}

/// Outer `None`: not mapped here, ask the next. Inner `None`: mapped, but the template cannot be rendered.
type Mapped = Option<Option<Subject>>;

fn by_entry(world: &World, cluster: &Cluster, caller: &Caller) -> Mapped {
    let id = world.id_of(&caller.principal);
    let seen = cluster.all_seen(world.now);
    let (_, entry) = seen.into_iter().find(|(_, e)| {
        e.principal_id == id && e.principal.canonical() == caller.principal.canonical()
    })?;
    let mut groups = entry.groups.clone();
    if entry.kind != "STANDARD" {
        groups.push("system:nodes".into());
    }
    let policies = entry
        .policies
        .iter()
        .filter_map(|p| {
            Some((
                p.policy_arn.rsplit('/').next()?.to_owned(),
                p.namespaces.clone(),
            ))
        })
        .collect();
    Some(render(&entry.username, caller).map(|name| Subject {
        name,
        groups,
        policies,
        ..Subject::default()
    }))
}

fn by_config_map(cluster: &Cluster, caller: &Caller) -> Mapped {
    let map = cluster
        .store
        .get(Kind::find("", "configmaps")?, "kube-system/aws-auth")?;
    let items = |key: &str| {
        list(
            map.pointer(&format!("/data/{key}"))
                .and_then(Value::as_str)
                .unwrap_or_default(),
        )
    };
    let canonical = caller.principal.canonical().to_lowercase();
    for (key, field_name) in [("mapRoles", "rolearn"), ("mapUsers", "userarn")] {
        // The last of several lines for one ARN counts.
        let line = items(key).into_iter().rev().find(|item| {
            field(item, field_name)
                .and_then(Value::as_str)
                .is_some_and(|arn| arn.to_lowercase() == canonical)
        });
        if let Some(line) = line {
            let username = field(&line, "username")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned();
            let groups = field(&line, "groups")
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default();
            let groups: Option<Vec<String>> = groups
                .iter()
                .filter_map(Value::as_str)
                .map(|g| render(g, caller))
                .collect();
            let rendered = render(&username, caller).zip(groups);
            return Some(rendered.map(|(name, groups)| Subject {
                name,
                groups,
                ..Subject::default()
            }));
        }
    }
    let accounts = items("mapAccounts");
    let listed = accounts.iter().any(|a| match a {
        Value::String(s) => *s == caller.principal.account,
        Value::Number(n) => n.to_string() == caller.principal.account,
        _ => false,
    });
    listed.then(|| {
        Some(Subject {
            name: caller.principal.canonical(),
            ..Subject::default()
        })
    })
}

/// The creator of a cluster without access entries is an administrator that no API shows.
fn by_creation(cluster: &Cluster, caller: &Caller) -> Option<Subject> {
    let hidden = ["CONFIG_MAP", "absent"].contains(&cluster.spec.mode.as_str());
    let creator = cluster.spec.creator.as_ref()?;
    (hidden && *creator == caller.principal.arn()).then(|| Subject {
        name: "kubernetes-admin".into(),
        groups: vec!["system:masters".into()],
        ..Subject::default()
    })
}

/// The items of one key; none where it does not parse.
fn list(text: &str) -> Vec<Value> {
    let options = serde_saphyr::options! { leading_zero_numbers_as_strings: true };
    match serde_saphyr::from_str_with_options::<Value>(text, options) {
        Ok(Value::Array(items)) => items,
        _ => Vec::new(),
    }
}

/// The items of one key, strictly: what a validator accepts.
///
/// # Errors
/// What is wrong, and with which item.
pub(super) fn lines(text: &str, arn: &str) -> Result<usize, String> {
    if ["", "\"\"", "''", "``"].contains(&text.trim()) {
        return Ok(0);
    }
    let value: Value = serde_saphyr::from_str(text).map_err(|e| e.to_string())?;
    let items = match value {
        Value::Null => Vec::new(),
        Value::Array(items) => items,
        _ => return Err("it is no list".into()),
    };
    for (n, item) in items.iter().enumerate() {
        let groups = field(item, "groups").unwrap_or(&Value::Null);
        let text = |v: &Value| v.as_array().is_some_and(|l| l.iter().all(Value::is_string));
        if field(item, "sso").is_none() && !field(item, arn).is_some_and(Value::is_string) {
            return Err(format!("item {n} has no {arn}"));
        }
        if !(groups.is_null() || text(groups)) {
            return Err(format!("the groups of item {n} are no list of texts"));
        }
        if field(item, "username").is_some_and(|v| !v.is_string()) {
            return Err(format!("the username of item {n} is no text"));
        }
    }
    Ok(items.len())
}

/// A field of a line; Go's decoder does not mind its case.
fn field<'a>(item: &'a Value, name: &str) -> Option<&'a Value> {
    item.as_object()?
        .iter()
        .find(|(k, _)| k.eq_ignore_ascii_case(name))
        .map(|(_, v)| v)
}

fn render(template: &str, caller: &Caller) -> Option<String> {
    let session = caller.session_name.clone().unwrap_or_default();
    let mut text = template.to_owned();
    if text.contains("{{EC2PrivateDNSName}}") {
        let id = session
            .strip_prefix("i-")
            .filter(|id| id.len() >= 8 && id.bytes().all(|b| b.is_ascii_hexdigit()))?;
        text = text.replace(
            "{{EC2PrivateDNSName}}",
            &format!("ip-{id}.compute.internal"),
        );
    }
    text = text
        .replace("{{SessionNameRaw}}", &session)
        .replace("{{SessionName}}", &session.replace('@', "-"))
        .replace("{{AccountID}}", &caller.principal.account)
        .replace("{{AccessKeyID}}", &caller.access_key);
    // A placeholder that is not known leaves braces behind, and the mapping fails.
    (!text.contains("{{")).then_some(text)
}
