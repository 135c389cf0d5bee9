//! What access files hold, as indexes: who exists, what can be held on it, and
//! who holds it.
//!
//! Rows become numbers and texts are kept once, so a million grants stay in
//! memory. Principals of AWS are one node in all files, because their ARN
//! names them everywhere; everything else is a node of its cluster.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::policies;
use super::rules::{Rule, Scope};

/// A number of a node, an entitlement, a grant or a text.
pub type Id = u32;

pub(super) fn at(id: Id) -> usize {
    id as usize
}

/// Texts, each once.
#[derive(Debug, Default)]
pub struct Texts {
    by_text: HashMap<Box<str>, Id>,
    all: Vec<Box<str>>,
}

impl Texts {
    pub(super) fn put(&mut self, text: &str) -> Id {
        if let Some(id) = self.by_text.get(text) {
            return *id;
        }
        let id = Id::try_from(self.all.len()).unwrap_or(Id::MAX);
        self.all.push(text.into());
        self.by_text.insert(text.into(), id);
        id
    }

    /// The text of a number.
    #[must_use]
    pub fn get(&self, id: Id) -> &str {
        self.all.get(at(id)).map_or("", |text| text)
    }
}

/// How sure it is that a principal has an access. In order of strength;
/// `docs/identity.md` says what they mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Certainty {
    /// As soon as somebody makes what is missing.
    Latent,
    /// If something holds that cannot be checked.
    Conditional,
    /// In sessions of one name.
    Session,
    /// Now.
    Certain,
    /// The file does not say, as other connectors' files do not.
    Unstated,
}

impl Certainty {
    pub(super) fn read(text: &str) -> Certainty {
        match text {
            "latent" => Certainty::Latent,
            "conditional" => Certainty::Conditional,
            "session" => Certainty::Session,
            "certain" => Certainty::Certain,
            _ => Certainty::Unstated,
        }
    }

    /// As the files say it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Certainty::Latent => "latent",
            Certainty::Conditional => "conditional",
            Certainty::Session => "session",
            Certainty::Certain => "certain",
            Certainty::Unstated => "unstated",
        }
    }

    /// A mark for what is less than certain, else nothing.
    #[must_use]
    pub fn mark(self) -> &'static str {
        match self {
            Certainty::Latent => "[latent]",
            Certainty::Conditional => "[conditional]",
            Certainty::Session => "[session]",
            Certainty::Certain | Certainty::Unstated => "",
        }
    }
}

/// What a node is to a reviewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sort {
    /// An account of a person.
    Person,
    /// A group of accounts.
    Group,
    /// A role of IAM, which others assume.
    IamRole,
    /// An account of a program.
    Workload,
    /// A name that stands for whoever bears it: `system:authenticated`, a user
    /// of an OIDC provider.
    StandIn,
    /// A role of the cluster or an access policy: what can be held.
    Role,
    /// Anything else.
    Other,
}

impl Sort {
    /// As headings and columns say it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Sort::Person => "person",
            Sort::Group => "group",
            Sort::IamRole => "IAM role",
            Sort::Workload => "workload",
            Sort::StandIn => "Kubernetes name",
            Sort::Role => "role",
            Sort::Other => "other",
        }
    }
}

/// A resource or a principal.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its kind, such as `iam_user`.
    pub kind: Id,
    /// Its id among its kind.
    pub id: Id,
    /// Its display name; its id where it has none.
    pub name: Id,
    /// Its cluster or file; `None` for principals of AWS.
    pub realm: Option<Id>,
    /// What it is to a reviewer.
    pub sort: Sort,
    /// Whether a file lists it; else grants only name it.
    pub listed: bool,
    /// What its profile says that a review needs.
    pub facts: Option<Box<Facts>>,
}

/// What a profile says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// Rules of a role; `None` where the file does not hold them.
    pub rules: Option<Vec<Rule>>,
    /// Some rules did not fit into the file.
    pub rules_truncated: bool,
    /// The rules are not published and follow from the name.
    pub rules_by_name: bool,
    /// It is named but is not there.
    pub missing: bool,
    /// It is another account's.
    pub external: bool,
    /// The platform made it (`kubernetes.io/bootstrapping`).
    pub bootstrap: bool,
    /// Who else a trust policy lets in.
    pub trusted_by: Vec<String>,
    /// Why the people behind a role are not known.
    pub people_behind: Option<String>,
    /// Names by which a person logs in.
    pub logins: Vec<String>,
    /// The account is disabled or deleted.
    pub disabled: bool,
    /// For which service of AWS the role is.
    pub service: Option<String>,
    /// How old it is and when it was used, where a file says so.
    pub about: Option<Box<About>>,
}

/// Ages and tags of a principal. Times are RFC 3339; what is not known is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct About {
    /// When it was made.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub created: String,
    /// When it was used last, or `never`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub last_used: String,
    /// When its access entry was made.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub entry_created: String,
    /// When its access entry was changed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub entry_modified: String,
    /// Its tags.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Those of its access entry.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub entry_tags: BTreeMap<String, String>,
}

impl About {
    /// Each as a pair of words.
    #[must_use]
    pub fn words(&self) -> Vec<(&'static str, String)> {
        let tags = |tags: &BTreeMap<String, String>| {
            let pairs = tags.iter().map(|(key, value)| format!("{key}={value}"));
            pairs.collect::<Vec<_>>().join(", ")
        };
        let all = [
            ("made", self.created.clone()),
            ("last used", self.last_used.clone()),
            ("tags", tags(&self.tags)),
            ("access entry made", self.entry_created.clone()),
            ("access entry changed", self.entry_modified.clone()),
            ("access entry tags", tags(&self.entry_tags)),
        ];
        all.into_iter()
            .filter(|(_, text)| !text.is_empty())
            .collect()
    }
}

/// One way in which a grant exists, as its metadata says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "docs/identity.md has the fields")]
pub struct Way {
    pub via: Id,
    pub binding: Id,
    pub group: Id,
    pub mapping: Id,
    pub scope: Id,
    pub session: Id,
    pub conditions: Id,
    pub bypasses_rbac: bool,
}

/// Something that can be held.
#[derive(Debug, Clone)]
pub struct Entitlement {
    /// Its id.
    pub id: Id,
    /// On what.
    pub node: Id,
    /// What its id says after that of its resource.
    pub slug: Id,
    /// Its display name, or nothing.
    pub name: Id,
    /// Where it counts, if it is a role or policy of a cluster.
    pub scope: Option<Scope>,
    /// Whoever holds it has what its resource holds: a role's assignment, a
    /// group's membership.
    pub carries: bool,
}

/// How a grant is handed on to those who hold something on its principal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expansion {
    /// By holding one of these entitlements.
    pub through: Vec<Id>,
    /// Only those who hold it directly.
    pub shallow: bool,
    /// Only principals of these kinds; all where it is empty.
    pub kinds: Vec<Id>,
}

/// Somebody holds something.
#[derive(Debug, Clone)]
pub struct Grant {
    /// Who.
    pub principal: Id,
    /// What.
    pub entitlement: Id,
    /// How sure.
    pub certainty: Certainty,
    /// An expansion wrote it: a path says the same, and it is skipped.
    pub derived: bool,
    /// An expansion wrote it, and nothing that was read says through what.
    pub unexplained: bool,
    /// Its ways, as a range.
    pub(super) ways: (u32, u32),
    /// How many ways there were before the file cut them.
    pub way_count: u32,
    pub(super) expansion: Option<Box<Expansion>>,
}

/// A cluster, or the file of another system.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Realm {
    /// A short name.
    pub name: String,
    /// The cluster's ARN, or nothing.
    pub cluster: String,
    /// Its authentication mode, or nothing.
    pub mode: String,
    /// Its account, or nothing.
    pub account: String,
    /// The file.
    pub file: String,
    /// When the sync ended.
    pub ended: String,
    /// Which sync.
    pub sync_id: String,
    /// Who wrote the file, or nothing.
    pub writer: String,
    /// What was not read, in words.
    pub unread: Vec<String>,
    /// What nobody asked for, in words.
    pub beyond: Vec<String>,
    /// Warnings of the sync.
    pub warnings: Vec<String>,
    /// Whether each list was of one point in time; `None`: nothing is said.
    pub consistent: Option<bool>,
    /// Rows by kind.
    pub kinds: Vec<(String, u64)>,
    /// Grants.
    pub grants: u64,
    /// What was found and gives no access.
    #[serde(skip)]
    pub evidence: Vec<serde_json::Value>,
}

/// Lists of numbers by number.
#[derive(Debug, Default)]
pub struct Index {
    starts: Vec<u32>,
    items: Vec<Id>,
}

impl Index {
    pub(super) fn new(size: usize, pairs: impl Iterator<Item = (Id, Id)> + Clone) -> Index {
        let mut starts = vec![0_u32; size + 1];
        for (key, _) in pairs.clone() {
            if let Some(count) = starts.get_mut(at(key) + 1) {
                *count += 1;
            }
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        let mut next = starts.clone();
        let mut items = vec![0; at(sum)];
        for (key, item) in pairs {
            if let Some(place) = next.get_mut(at(key)) {
                if let Some(slot) = items.get_mut(at(*place)) {
                    *slot = item;
                }
                *place += 1;
            }
        }
        Index { starts, items }
    }

    /// The list of a number.
    #[must_use]
    pub fn of(&self, key: Id) -> &[Id] {
        let start = self.starts.get(at(key)).copied().unwrap_or_default();
        let end = self.starts.get(at(key) + 1).copied().unwrap_or(start);
        self.items.get(at(start)..at(end)).unwrap_or_default()
    }
}

/// Everything that was read.
#[derive(Debug, Default)]
pub struct Model {
    /// All texts.
    pub texts: Texts,
    /// Clusters and files.
    pub realms: Vec<Realm>,
    /// Resources and principals.
    pub nodes: Vec<Node>,
    /// What somebody holds.
    pub entitlements: Vec<Entitlement>,
    /// Who holds it.
    pub grants: Vec<Grant>,
    /// Where files say different things of one principal, and files that were
    /// left out.
    pub notes: Vec<String>,
    pub(super) ways: Vec<Way>,
    /// Grants by principal.
    pub(super) held: Index,
    /// Grants by entitlement.
    pub(super) holders: Index,
    /// Entitlements by node.
    pub(super) on: Index,
    /// Stand-ins by realm: (realm, name) to node.
    pub(super) groups: HashMap<(Id, String), Id>,
    pub(super) no_facts: Facts,
}

/// Used where a number names nothing, which no number of ours does.
static NOTHING: Node = Node {
    kind: Id::MAX,
    id: Id::MAX,
    name: Id::MAX,
    realm: None,
    sort: Sort::Other,
    listed: false,
    facts: None,
};

impl Model {
    /// A node.
    #[must_use]
    pub fn node(&self, id: Id) -> &Node {
        self.nodes.get(at(id)).unwrap_or(&NOTHING)
    }

    /// The kind of a node.
    #[must_use]
    pub fn kind(&self, node: Id) -> &str {
        self.texts.get(self.node(node).kind)
    }

    /// The id of a node.
    #[must_use]
    pub fn id(&self, node: Id) -> &str {
        self.texts.get(self.node(node).id)
    }

    /// The display name of a node.
    #[must_use]
    pub fn name(&self, node: Id) -> &str {
        self.texts.get(self.node(node).name)
    }

    /// What the profile of a node says.
    #[must_use]
    pub fn facts(&self, node: Id) -> &Facts {
        self.node(node).facts.as_deref().unwrap_or(&self.no_facts)
    }

    /// A grant.
    #[must_use]
    pub fn grant(&self, id: Id) -> Option<&Grant> {
        self.grants.get(at(id))
    }

    /// An entitlement.
    #[must_use]
    pub fn entitlement(&self, id: Id) -> Option<&Entitlement> {
        self.entitlements.get(at(id))
    }

    /// The grants of a principal, without those that an expansion wrote.
    pub fn held(&self, node: Id) -> impl Iterator<Item = Id> + '_ {
        let own = self.held.of(node).iter().copied();
        own.filter(|grant| self.grant(*grant).is_some_and(|grant| !grant.derived))
    }

    /// The grants of an entitlement, without those that an expansion wrote.
    pub fn holders(&self, entitlement: Id) -> impl Iterator<Item = Id> + '_ {
        let own = self.holders.of(entitlement).iter().copied();
        own.filter(|grant| self.grant(*grant).is_some_and(|grant| !grant.derived))
    }

    /// The entitlements on a node that somebody holds.
    #[must_use]
    pub fn on(&self, node: Id) -> &[Id] {
        self.on.of(node)
    }

    /// The ways of a grant.
    #[must_use]
    pub fn ways(&self, grant: &Grant) -> &[Way] {
        let (from, to) = grant.ways;
        self.ways.get(at(from)..at(to)).unwrap_or_default()
    }

    /// The realm of a node or of what a role belongs to.
    #[must_use]
    pub fn realm(&self, node: Id) -> Option<&Realm> {
        self.realms.get(at(self.node(node).realm?))
    }

    /// The rules of a role or policy, where they are known.
    #[must_use]
    pub fn rules(&self, node: Id) -> Option<&[Rule]> {
        self.facts(node).rules.as_deref()
    }

    /// A Kubernetes group or user of a realm, where it has a row.
    #[must_use]
    pub fn stand_in(&self, realm: Id, name: &str) -> Option<Id> {
        self.groups.get(&(realm, name.to_owned())).copied()
    }

    /// A short name of a principal that still says who it is: the last part of
    /// an ARN, with the account where clusters of several are read.
    #[must_use]
    pub fn short(&self, node: Id) -> String {
        let id = self.id(node);
        match self.kind(node) {
            "service_account" if id == "*" => "every service account".to_owned(),
            "service_account" | "kube_group" | "kube_user" | "namespace_role" => id.to_owned(),
            "access_policy" => id.rsplit('/').next().unwrap_or(id).to_owned(),
            "sso_user" | "sso_group" => self.name(node).to_owned(),
            _ => match arn(id) {
                Some((account, name)) if self.foreign(account) => format!("{account}:{name}"),
                Some((_, name)) => name.to_owned(),
                None => self.name(node).to_owned(),
            },
        }
    }

    /// Whether an account is none of the clusters'.
    fn foreign(&self, account: &str) -> bool {
        let mut accounts = self.realms.iter().map(|realm| realm.account.as_str());
        accounts.clone().any(|own| !own.is_empty()) && !accounts.any(|own| own == account)
    }

    /// What an entitlement gives, in words: `view in namespace dev`.
    #[must_use]
    pub fn what(&self, entitlement: Id) -> String {
        let Some(held) = self.entitlement(entitlement) else {
            return String::new();
        };
        let id = self.id(held.node);
        let role = match self.kind(held.node) {
            "namespace_role" => id.split_once('/').map_or(id, |(_, name)| name).to_owned(),
            _ => self.short(held.node),
        };
        match &held.scope {
            Some(scope) => format!("{role} in {}", scope.words()),
            None if held.carries && self.node(held.node).sort == Sort::IamRole => {
                format!("assume {role}")
            }
            None if held.carries => format!("member of {role}"),
            None => {
                let name = self.texts.get(held.name);
                if name.is_empty() {
                    format!("{} of {role}", self.texts.get(held.slug))
                } else {
                    name.to_owned()
                }
            }
        }
    }

    /// Whether something belongs to the platform itself: its own roles, held
    /// by its own service accounts. Nobody can certify those.
    #[must_use]
    pub fn is_platform(&self, grant: &Grant) -> bool {
        let role = self.entitlement(grant.entitlement).map(|held| held.node);
        let own = role.is_some_and(|role| {
            let id = self.id(role);
            self.kind(role) == "cluster_role"
                && (id.starts_with("system:") || id.starts_with("eks:"))
                || self.kind(role) == "namespace_role" && id.starts_with("kube-system/")
        });
        own && self.kind(grant.principal) == "service_account"
            && self.id(grant.principal).starts_with("kube-system/")
    }
}

/// Account and last name of an IAM ARN.
pub(super) fn arn(text: &str) -> Option<(&str, &str)> {
    let mut parts = text.splitn(6, ':');
    let (head, _, service) = (parts.next()?, parts.next()?, parts.next()?);
    let (_, account, resource) = (parts.next()?, parts.next()?, parts.next()?);
    if head != "arn" || !matches!(service, "iam" | "sts") || !resource.contains('/') {
        return None;
    }
    Some((account, resource.rsplit('/').next().unwrap_or(resource)))
}

/// Where an entitlement of a cluster counts, by the grammar of its slug.
pub(super) fn scope(kind: &str, id: &str, slug: &str) -> Option<Scope> {
    let namespace = |text: &str| Some(Scope::Namespace(text.to_owned()));
    match kind {
        "cluster_role" => match slug.strip_suffix(":member")? {
            "all" => Some(Scope::Cluster),
            other => namespace(other.strip_prefix("namespace/").unwrap_or(other)),
        },
        "namespace_role" if slug == "member" => namespace(id.split_once('/')?.0),
        "access_policy" => match slug.strip_prefix("assigned:")? {
            "cluster" => Some(Scope::Cluster),
            pattern if pattern.contains('*') => Some(Scope::Pattern(pattern.to_owned())),
            other => namespace(other.strip_prefix("namespace/").unwrap_or(other)),
        },
        _ => None,
    }
}

/// Rules that are known without the file holding them.
pub(super) fn known_rules(kind: &str, id: &str) -> Option<policies::Policy> {
    match kind {
        "access_policy" => policies::policy(id),
        "cluster_role" if id == "cluster-admin" => Some(policies::Policy {
            rules: policies::everything(),
            published: true,
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_say_where_a_role_counts() {
        let namespace = |text: &str| Some(Scope::Namespace(text.to_owned()));
        for (kind, id, slug, expected) in [
            ("cluster_role", "view", "all:member", Some(Scope::Cluster)),
            ("cluster_role", "view", "small:member", namespace("small")),
            (
                "cluster_role",
                "view",
                "namespace/all:member",
                namespace("all"),
            ),
            ("namespace_role", "dev/r", "member", namespace("dev")),
            (
                "access_policy",
                "p",
                "assigned:cluster",
                Some(Scope::Cluster),
            ),
            (
                "access_policy",
                "p",
                "assigned:namespace/cluster",
                namespace("cluster"),
            ),
            (
                "access_policy",
                "p",
                "assigned:dev-*",
                Some(Scope::Pattern("dev-*".into())),
            ),
            ("access_policy", "p", "other", None),
            ("cluster_role", "view", "all", None),
            ("repo", "x", "member", None),
        ] {
            assert_eq!(scope(kind, id, slug), expected, "{kind} {slug}");
        }
    }

    #[test]
    fn arns_have_an_account_and_a_last_name() {
        assert_eq!(arn("arn:aws:iam::1:role/a/b/c"), Some(("1", "c")));
        assert_eq!(arn("arn:aws:iam::1:root"), None);
        assert_eq!(arn("arn:aws:eks::aws:cluster-access-policy/P"), None);
        assert_eq!(arn("x"), None);
    }

    #[test]
    fn an_index_keeps_the_order() {
        let pairs = [(2, 10), (0, 11), (2, 12)];
        let index = Index::new(3, pairs.iter().copied());
        assert_eq!(index.of(2), [10, 12]);
        assert_eq!(index.of(0), [11]);
        assert!(index.of(1).is_empty() && index.of(9).is_empty());
    }
}
