//! What the host reads itself before it believes a plan: the principal's entry
//! and associations, `aws-auth`, every binding that a plan changes, and, only
//! where somebody else's subject has to be judged, who else is behind it.
//!
//! Nothing here comes from the plugin, and nothing is kept from one round to
//! the next.

use std::collections::BTreeMap;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use serde_json::{Map, Value};

use super::Direction;
use super::wish::{Iam, Who, Wish};
use crate::upstream::operation::write::{Op, Place, Scope, Write};
use crate::upstream::{Outcome, Read, Reply, UpstreamError};

/// Entries that are described at once.
const WINDOW: usize = 16;
/// Pages of one listing, so that a server that never ends one is left.
const PAGES: usize = 10_000;

/// The way to the cluster; tests have their own.
pub trait Cloud: Send + Sync {
    /// Reads something now.
    fn read(&self, read: &Read) -> impl Future<Output = Result<Reply, UpstreamError>> + Send;
    /// Changes something, or has Kubernetes try it.
    fn change(
        &self,
        write: &Write,
        token: &str,
        dry_run: bool,
    ) -> impl Future<Output = Result<Outcome, UpstreamError>> + Send;
    /// The authentication mode as of this round.
    fn mode(&self) -> impl Future<Output = Result<String, UpstreamError>> + Send;
}

impl Cloud for crate::upstream::Upstreams {
    async fn read(&self, read: &Read) -> Result<Reply, UpstreamError> {
        crate::upstream::Upstreams::read(self, read).await
    }

    async fn change(
        &self,
        write: &Write,
        token: &str,
        dry_run: bool,
    ) -> Result<Outcome, UpstreamError> {
        crate::upstream::Upstreams::change(self, write, token, dry_run).await
    }

    async fn mode(&self) -> Result<String, UpstreamError> {
        Ok(self.describe_cluster().await?.authentication_mode)
    }
}

/// Who may map principals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Access entries alone.
    Api,
    /// Access entries, then `aws-auth`.
    Both,
    /// `aws-auth` alone.
    ConfigMap,
}

impl Mode {
    /// Whether lines of `aws-auth` count.
    pub fn lines(self) -> bool {
        self != Self::Api
    }

    /// Whether access entries count.
    pub fn entries(self) -> bool {
        self != Self::ConfigMap
    }
}

/// An access entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// `STANDARD`, or a node's type.
    pub kind: String,
    /// Whose.
    pub principal: String,
    /// Its groups.
    pub groups: Vec<String>,
    /// Its user name.
    pub username: Option<String>,
    /// Its tags.
    pub tags: Map<String, Value>,
}

impl Entry {
    /// Whether we made it.
    pub fn is_ours(&self) -> bool {
        self.tags.get("managed-by").and_then(Value::as_str) == Some("baton-host")
    }

    fn of(body: &Value) -> Option<Self> {
        let entry = body.get("accessEntry")?;
        let text = |name: &str| entry.get(name).and_then(Value::as_str).map(str::to_owned);
        Some(Self {
            kind: text("type").unwrap_or_else(|| "STANDARD".to_owned()),
            principal: text("principalArn")?,
            groups: texts(entry.get("kubernetesGroups")),
            username: text("username").filter(|name| !name.is_empty()),
            tags: entry
                .get("tags")
                .and_then(Value::as_object)
                .cloned()
                .unwrap_or_default(),
        })
    }
}

/// One item of `aws-auth`.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// `mapRoles` or `mapUsers`.
    pub list: &'static str,
    /// Its ARN as written.
    pub arn: String,
    /// Its user name.
    pub username: String,
    /// Its groups.
    pub groups: Vec<String>,
}

/// Somebody's names in the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapped {
    /// Whose, for people.
    pub principal: String,
    /// User name, perhaps with placeholders.
    pub username: String,
    /// Groups, perhaps with placeholders.
    pub groups: Vec<String>,
}

/// A binding of the cluster, in short.
#[derive(Debug, Clone, PartialEq)]
pub struct Bound {
    /// Where.
    pub place: Place,
    /// The role that it binds.
    pub role: Value,
    /// Its subjects.
    pub subjects: Vec<Value>,
}

/// All that the check looks at.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Who maps.
    pub mode: Mode,
    /// The principal's entry.
    pub entry: Option<Entry>,
    /// Its associations: policy and scope.
    pub associations: Vec<(String, Scope)>,
    /// `aws-auth`, if it is there; not read in mode API.
    pub aws_auth: Option<Value>,
    /// The bindings that a plan changes.
    pub bindings: BTreeMap<Place, Option<Value>>,
    /// Everybody else, where somebody else's subject has to be judged.
    pub others: Option<Vec<Mapped>>,
    /// Every binding, where a mapping is to be made or removed.
    pub bound: Option<Vec<Bound>>,
}

/// The texts of a JSON list.
pub fn texts(list: Option<&Value>) -> Vec<String> {
    list.and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|item| item.as_str().map(str::to_owned))
        .collect()
}

/// The subjects of a binding.
pub fn subjects(binding: &Value) -> Vec<Value> {
    let list = binding.get("subjects").and_then(Value::as_array);
    list.cloned().unwrap_or_default()
}

/// The value of a list in `aws-auth`; `Err` where it is no list in YAML.
pub fn items(text: &str) -> Result<Vec<Value>, String> {
    if matches!(text.trim(), "" | "\"\"" | "''" | "``") {
        return Ok(Vec::new());
    }
    // The authenticator takes the last of several equal keys.
    let options = serde_saphyr::options! {
        leading_zero_numbers_as_strings: true,
        duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::LastWins,
    };
    match serde_saphyr::from_str_with_options::<Value>(text, options) {
        Ok(Value::Array(items)) => Ok(items),
        Ok(Value::Null) => Ok(Vec::new()),
        Ok(_) => Err("its value is not a list".to_owned()),
        Err(error) => Err(format!("its value is not YAML: {error}")),
    }
}

/// A list of `aws-auth` as text.
pub fn list_of<'a>(object: Option<&'a Value>, list: &str) -> &'a str {
    let data = object.and_then(|object| object.get("data"));
    data.and_then(|data| data.get(list))
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// An item of `aws-auth`, with field names in any case as the authenticator
/// takes them: it reads them in the order of their bytes, and the last counts.
pub fn line(list: &'static str, item: &Value) -> Option<Line> {
    let members = item.as_object()?;
    let field = |name: &str| {
        let found = members
            .iter()
            .filter(|(key, _)| key.eq_ignore_ascii_case(name));
        found.max_by_key(|(key, _)| *key).map(|(_, value)| value)
    };
    let text = |name: &str| field(name).and_then(Value::as_str).unwrap_or_default();
    let arn = text(if list == "mapRoles" {
        "rolearn"
    } else {
        "userarn"
    });
    (!arn.is_empty()).then(|| Line {
        list,
        arn: arn.to_owned(),
        username: text("username").to_owned(),
        groups: texts(field("groups")),
    })
}

/// All lines of `aws-auth`. What we cannot read others might, so a list that
/// cannot be read is an error and not an empty one.
pub fn lines(object: Option<&Value>) -> Result<Vec<Line>, String> {
    let mut all = Vec::new();
    for list in ["mapRoles", "mapUsers"] {
        let items = items_of(object, list)?;
        all.extend(items.iter().filter_map(|item| line(list, item)));
    }
    Ok(all)
}

/// The items of one list of `aws-auth`; `Err` names it.
fn items_of(object: Option<&Value>, list: &str) -> Result<Vec<Value>, String> {
    items(list_of(object, list)).map_err(|why| {
        format!("{list} of aws-auth cannot be read, so who is mapped by it is not known: {why}")
    })
}

impl Facts {
    /// The lines of a principal.
    pub fn lines_of(&self, iam: &Iam) -> Vec<Line> {
        if !self.mode.lines() {
            return Vec::new();
        }
        let wanted = iam.canonical();
        // Read without an error before it became a fact.
        lines(self.aws_auth.as_ref())
            .unwrap_or_default()
            .into_iter()
            .filter(|line| line.arn.eq_ignore_ascii_case(&wanted))
            .collect()
    }

    /// Whether every list of `aws-auth` that counts can be read.
    ///
    /// # Errors
    /// Which one cannot, and why.
    pub fn readable(&self) -> Result<(), String> {
        if !self.mode.lines() {
            return Ok(());
        }
        lines(self.aws_auth.as_ref())?;
        items_of(self.aws_auth.as_ref(), "mapAccounts").map(drop)
    }

    /// Whether `aws-auth` gives everybody in an account their ARN as user name.
    pub fn maps_account(&self, account: &str) -> bool {
        let same = |item: &Value| match item {
            Value::String(text) => text == account,
            Value::Number(number) => number.to_string() == account,
            _ => false,
        };
        self.mode.lines()
            && items_of(self.aws_auth.as_ref(), "mapAccounts")
                .is_ok_and(|accounts| accounts.iter().any(same))
    }

    /// The line that counts where there is no entry: roles come first, and the
    /// last of several.
    pub fn line_of(&self, iam: &Iam) -> Option<Line> {
        let mut lines = self.lines_of(iam);
        let at = lines
            .iter()
            .rposition(|line| line.list == "mapRoles")
            .or(lines.len().checked_sub(1))?;
        Some(lines.swap_remove(at))
    }

    /// The principal's names by the one mapping that counts, if there is one.
    pub fn live(&self, iam: &Iam) -> Option<Mapped> {
        let mapped = |username: String, groups: Vec<String>| {
            Some(Mapped {
                principal: iam.arn.clone(),
                username,
                groups,
            })
        };
        if let Some(entry) = self.entry.as_ref().filter(|_| self.mode.entries()) {
            let username = entry.username.clone();
            return mapped(
                username.unwrap_or_else(|| iam.default_username()),
                entry.groups.clone(),
            );
        }
        if let Some(line) = self.line_of(iam) {
            return mapped(line.username, line.groups);
        }
        if self.maps_account(&iam.account) {
            return mapped(iam.canonical(), Vec::new());
        }
        None
    }

    /// The principal's names, by every mapping that there is for it.
    pub fn names_of(&self, iam: &Iam) -> Vec<Mapped> {
        let mut names = Vec::new();
        if let Some(entry) = &self.entry {
            names.push(Mapped {
                principal: iam.arn.clone(),
                username: entry
                    .username
                    .clone()
                    .unwrap_or_else(|| iam.default_username()),
                groups: entry.groups.clone(),
            });
        }
        names.extend(self.lines_of(iam).into_iter().map(|line| Mapped {
            principal: iam.arn.clone(),
            username: line.username,
            groups: line.groups,
        }));
        if self.maps_account(&iam.account) {
            names.push(Mapped {
                principal: iam.arn.clone(),
                username: iam.canonical(),
                groups: Vec::new(),
            });
        }
        names
    }

    /// Reads what a plan is to be checked against.
    pub async fn read(
        cloud: &impl Cloud,
        wish: &Wish,
        direction: Direction,
        writes: &[Write],
    ) -> Result<Self, UpstreamError> {
        let mode = match cloud.mode().await?.as_str() {
            "API" => Mode::Api,
            "API_AND_CONFIG_MAP" => Mode::Both,
            "CONFIG_MAP" => Mode::ConfigMap,
            other => {
                return Err(UpstreamError::Answer {
                    what: "EKS".to_owned(),
                    reason: format!("the authentication mode `{other}`, which is not known"),
                });
            }
        };
        let mut facts = Self {
            mode,
            entry: None,
            associations: Vec::new(),
            aws_auth: None,
            bindings: BTreeMap::new(),
            others: None,
            bound: None,
        };
        for write in writes {
            if let Write::DeleteBinding { place, .. } | Write::PatchBinding { place, .. } = write {
                let binding = found(cloud, &Read::Binding(place.clone())).await?;
                facts.bindings.insert(place.clone(), binding);
            }
        }
        let Who::Iam(iam) = &wish.who else {
            return Ok(facts);
        };
        if mode.entries() {
            facts.entry = entry(cloud, &iam.arn).await?;
            if facts.entry.is_some() {
                facts.associations = associations(cloud, &iam.arn).await?;
            }
        }
        if mode.lines() {
            facts.aws_auth = found(cloud, &Read::AwsAuth).await?;
            facts.readable().map_err(unreadable)?;
        }
        if writes
            .iter()
            .any(|write| judges_others(write, iam, &facts.bindings))
        {
            facts.others = Some(others(cloud, &facts, iam).await?);
        }
        let removes = |write: &Write| {
            matches!(
                write,
                Write::DeleteEntry { .. } | Write::ReplaceAwsAuth { .. }
            )
        };
        // What a new name would bring to life, or a lost one leave behind.
        let maps = |write: &Write| {
            matches!(
                write,
                Write::CreateEntry(_)
                    | Write::UpdateEntry { .. }
                    | Write::ReplaceAwsAuth { .. }
                    | Write::CreateAwsAuth { .. }
            )
        };
        let concerned = match direction {
            Direction::Grant => writes.iter().any(maps),
            Direction::Revoke => writes.iter().any(removes),
        };
        if concerned {
            facts.bound = Some(bound(cloud).await?);
        }
        Ok(facts)
    }
}

/// Whether a change has a subject that others may be behind.
fn judges_others(write: &Write, iam: &Iam, bindings: &BTreeMap<Place, Option<Value>>) -> bool {
    let own = iam.own_group();
    let foreign = |subject: &Value| subject.get("name").and_then(Value::as_str) != Some(&own);
    match write {
        Write::CreateBinding { object, .. } => subjects(object).iter().any(foreign),
        Write::DeleteBinding { place, .. } => bindings
            .get(place)
            .and_then(Option::as_ref)
            .is_some_and(|binding| subjects(binding).iter().any(foreign)),
        Write::PatchBinding { patch, .. } => patch.iter().any(|op| match op {
            Op::Test(path, value) => path.starts_with("/subjects/") && foreign(value),
            Op::Remove(_) | Op::Add(..) => false,
        }),
        _ => false,
    }
}

/// `aws-auth` that somebody else may be able to read.
fn unreadable(reason: String) -> UpstreamError {
    UpstreamError::Answer {
        what: "the API server".to_owned(),
        reason,
    }
}

/// An answer that must be there.
fn wanted(read: &Read, reply: Reply) -> Result<Value, UpstreamError> {
    if reply.is_success() {
        return Ok(reply.body);
    }
    let what = match read {
        Read::Entry(_) | Read::Associations(..) | Read::Entries(_) => "EKS",
        _ => "the API server",
    };
    Err(match reply.status {
        401 => UpstreamError::Unauthenticated {
            what: what.to_owned(),
            hint_line: reply.message().to_owned(),
        },
        403 => UpstreamError::NotPermitted {
            what: what.to_owned(),
            right: read.words().to_owned(),
            hint_line: reply.message().to_owned(),
        },
        status => UpstreamError::Answer {
            what: what.to_owned(),
            reason: format!("status {status} to `{}`: {}", read.words(), reply.message()),
        },
    })
}

/// An object that may not be there.
pub async fn found(cloud: &impl Cloud, read: &Read) -> Result<Option<Value>, UpstreamError> {
    let reply = cloud.read(read).await?;
    match reply.status {
        404 => Ok(None),
        _ => wanted(read, reply).map(Some),
    }
}

/// The entry of a principal, if there is one.
pub async fn entry(cloud: &impl Cloud, arn: &str) -> Result<Option<Entry>, UpstreamError> {
    let read = Read::Entry(arn.to_owned());
    let Some(body) = found(cloud, &read).await? else {
        return Ok(None);
    };
    match Entry::of(&body) {
        Some(entry) => Ok(Some(entry)),
        None => Err(UpstreamError::Answer {
            what: "EKS".to_owned(),
            reason: "an access entry that cannot be read".to_owned(),
        }),
    }
}

/// The associations of a principal.
pub async fn associations(
    cloud: &impl Cloud,
    arn: &str,
) -> Result<Vec<(String, Scope)>, UpstreamError> {
    let mut all = Vec::new();
    let mut token = None;
    for _ in 0..PAGES {
        let read = Read::Associations(arn.to_owned(), token.take());
        // Lost between two reads, the entry took them along.
        let Some(body) = found(cloud, &read).await? else {
            return Ok(Vec::new());
        };
        let list = body
            .get("associatedAccessPolicies")
            .and_then(Value::as_array);
        for item in list.into_iter().flatten() {
            let policy = item.get("policyArn").and_then(Value::as_str);
            let scope = item.get("accessScope");
            let kind = scope.and_then(|s| s.get("type")).and_then(Value::as_str);
            let namespaces = texts(scope.and_then(|scope| scope.get("namespaces")));
            let (Some(policy), Some(kind @ ("cluster" | "namespace"))) = (policy, kind) else {
                return Err(UpstreamError::Answer {
                    what: "EKS".to_owned(),
                    reason: "an associated access policy that cannot be read".to_owned(),
                });
            };
            let scope = match kind {
                "cluster" => Scope::Cluster,
                _ => Scope::Namespaces(namespaces),
            };
            all.push((policy.to_owned(), scope));
        }
        token = next(&body);
        if token.is_none() {
            break;
        }
    }
    Ok(all)
}

fn next(body: &Value) -> Option<String> {
    let token = body.get("nextToken").and_then(Value::as_str);
    token.filter(|token| !token.is_empty()).map(str::to_owned)
}

/// Everybody but the principal who has a mapping that counts.
async fn others(
    cloud: &impl Cloud,
    facts: &Facts,
    iam: &Iam,
) -> Result<Vec<Mapped>, UpstreamError> {
    let mut all = Vec::new();
    if facts.mode.lines() {
        let own = iam.canonical();
        let lines = lines(facts.aws_auth.as_ref())
            .map_err(unreadable)?
            .into_iter();
        all.extend(
            lines
                .filter(|line| !line.arn.eq_ignore_ascii_case(&own))
                .map(|line| Mapped {
                    principal: line.arn,
                    username: line.username,
                    groups: line.groups,
                }),
        );
    }
    if !facts.mode.entries() {
        return Ok(all);
    }
    let mut arns: Vec<String> = Vec::new();
    let mut token = None;
    for _ in 0..PAGES {
        let read = Read::Entries(token.take());
        let body = wanted(&read, cloud.read(&read).await?)?;
        arns.extend(texts(body.get("accessEntries")));
        token = next(&body);
        if token.is_none() {
            break;
        }
    }
    arns.retain(|arn| *arn != iam.arn);
    let described: Vec<Option<Entry>> = stream::iter(&arns)
        .map(|arn| entry(cloud, arn))
        .buffer_unordered(WINDOW)
        .try_collect()
        .await?;
    all.extend(described.into_iter().flatten().map(|entry| {
        let default = Iam::parse(&entry.principal).map(|iam| iam.default_username());
        Mapped {
            username: entry.username.or(default).unwrap_or_default(),
            groups: entry.groups,
            principal: entry.principal,
        }
    }));
    Ok(all)
}

/// Every binding of the cluster.
async fn bound(cloud: &impl Cloud) -> Result<Vec<Bound>, UpstreamError> {
    let mut all = Vec::new();
    for wide in [true, false] {
        let mut token = None;
        for _ in 0..PAGES {
            let read = Read::Bindings(wide, token.take());
            let body = wanted(&read, cloud.read(&read).await?)?;
            let list = body.get("items").and_then(Value::as_array);
            for item in list.into_iter().flatten() {
                let text = |name: &str| item.pointer(name).and_then(Value::as_str);
                all.push(Bound {
                    place: Place {
                        namespace: text("/metadata/namespace")
                            .filter(|_| !wide)
                            .map(str::to_owned),
                        name: text("/metadata/name").unwrap_or_default().to_owned(),
                    },
                    role: item.get("roleRef").cloned().unwrap_or_default(),
                    subjects: subjects(item),
                });
            }
            let next = body.pointer("/metadata/continue").and_then(Value::as_str);
            token = next.filter(|token| !token.is_empty()).map(str::to_owned);
            if token.is_none() {
                break;
            }
        }
    }
    Ok(all)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests {
    use serde_json::json;

    use super::super::wish::Access;
    use super::*;

    const NODES: &str = "arn:aws:iam::111122223333:role/nodes";

    /// A cluster with an `aws-auth` and nothing else.
    struct Bare(Value);

    impl Cloud for Bare {
        async fn read(&self, read: &Read) -> Result<Reply, UpstreamError> {
            let (status, body) = match read {
                Read::AwsAuth => (200, json!({"data": self.0})),
                Read::Bindings(..) => (
                    200,
                    json!({"items": [{
                        "metadata": {"name": "old"}, "roleRef": {"name": "x"}, "subjects": [],
                    }]}),
                ),
                _ => (404, Value::Null),
            };
            Ok(Reply { status, body })
        }

        async fn change(&self, _: &Write, _: &str, _: bool) -> Result<Outcome, UpstreamError> {
            panic!("nothing is sent")
        }

        async fn mode(&self) -> Result<String, UpstreamError> {
            Ok("API_AND_CONFIG_MAP".to_owned())
        }
    }

    fn wish() -> Wish {
        Wish {
            access: Access::Role {
                kind: "ClusterRole",
                name: "view".to_owned(),
                namespace: None,
            },
            who: Who::Iam(Iam::parse(NODES).unwrap()),
            principal: ("role".to_owned(), NODES.to_owned()),
        }
    }

    async fn read(data: Value, writes: &[Write]) -> Result<Facts, UpstreamError> {
        Facts::read(&Bare(data), &wish(), Direction::Grant, writes).await
    }

    #[tokio::test]
    async fn a_list_that_cannot_be_read_is_not_an_empty_one() {
        for list in ["mapRoles", "mapUsers", "mapAccounts"] {
            for text in ["- {", "a: b", "text"] {
                let error = read(json!({list: text}), &[]).await.unwrap_err();
                assert!(error.to_string().contains(list), "{error}");
            }
        }
        // The authenticator takes keys that stand twice, and so do we.
        let lines = format!(
            "- rolearn: arn:aws:iam::111122223333:role/x\n  groups: [a]\n  groups: [b]\n- rolearn: {NODES}\n  groups: [system:nodes]\n"
        );
        let facts = read(json!({"mapRoles": lines}), &[]).await.unwrap();
        let mine = facts.lines_of(wish().iam().unwrap());
        assert_eq!(mine.first().unwrap().groups, ["system:nodes"]);
        assert_eq!(
            super::lines(facts.aws_auth.as_ref())
                .unwrap()
                .first()
                .unwrap()
                .groups,
            ["b"]
        );
    }

    #[test]
    fn of_fields_that_differ_in_case_the_last_counts() {
        let item = json!({"Groups": ["a"], "groups": ["b"], "rolearn": NODES, "RoleArn": "x"});
        let line = line("mapRoles", &item).unwrap();
        assert_eq!(
            (line.arn.as_str(), line.groups),
            (NODES, vec!["b".to_owned()])
        );
    }

    #[tokio::test]
    async fn a_grant_that_maps_somebody_reads_all_bindings() {
        assert_eq!(read(json!({}), &[]).await.unwrap().bound, None);
        let update = Write::UpdateEntry {
            principal: NODES.to_owned(),
            groups: Vec::new(),
        };
        let bound = read(json!({}), &[update]).await.unwrap().bound.unwrap();
        assert_eq!(bound.len(), 2);
        assert_eq!(bound.first().unwrap().role, json!({"name": "x"}));
    }
}
