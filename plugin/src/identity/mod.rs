//! Who a Kubernetes user or group is in AWS: one index.
//!
//! Access entries, `aws-auth` lines and mapped accounts are joined by principal
//! and by the authentication mode: a live entry replaces the lines of the same
//! principal, a dead one does not. The index alone decides what a name means;
//! no name is special by its spelling. What gives no access leaves here as
//! evidence.

mod lines;
pub mod people;
pub mod rights;
pub mod roles;
pub mod template;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::aws::arn::{Arn, Kind};
use crate::aws::eks::{Cluster, Entry};
use crate::evidence::Notes;
use crate::kubernetes::aws_auth::AwsAuth;
use people::People;
use roles::{Roles, Status};
use template::{INSTANCE, Template};

/// An access entry as it was read.
#[derive(Clone, Debug)]
pub struct EntryRead {
    /// The ARN in the list.
    pub arn: String,
    /// The entry, or why it could not be described.
    pub entry: Result<Entry, String>,
}

/// What an AWS principal is in the cluster.
#[derive(Clone, Debug)]
pub struct Mapping {
    /// The principal.
    pub arn: Arn,
    /// `access-entry` or `aws-auth`.
    pub via: &'static str,
    /// Where it stands.
    pub place: String,
    /// A node: its plumbing subjects are no access of people.
    node: bool,
    /// Why it may not hold, in words.
    pub doubt: String,
}

/// A principal behind a user name or group.
#[derive(Clone, Debug)]
pub struct Hit<'a> {
    /// The principal.
    pub arn: Cow<'a, Arn>,
    /// `access-entry`, `aws-auth` or `mapAccounts`.
    pub via: &'static str,
    /// Where the mapping stands.
    pub place: &'a str,
    /// The session that it needs.
    pub session: Option<String>,
    /// Why it may not hold, in words.
    pub doubt: &'a str,
    /// A node's own plumbing: mapped, but no grant.
    pub plumbing: bool,
}

#[derive(Debug, Default)]
struct Lookup {
    fixed: BTreeMap<String, Vec<usize>>,
    /// By what every match begins with.
    patterns: BTreeMap<String, Vec<(usize, Template)>>,
}

impl Lookup {
    fn put(&mut self, template: &Template, mapping: usize) {
        match template.fixed() {
            Some(name) => self
                .fixed
                .entry(name.to_string())
                .or_default()
                .push(mapping),
            None => self
                .patterns
                .entry(template.prefix().to_string())
                .or_default()
                .push((mapping, template.clone())),
        }
    }

    fn find(&self, name: &str) -> Vec<(usize, Option<String>)> {
        let mut found: Vec<(usize, Option<String>)> = self
            .fixed
            .get(name)
            .into_iter()
            .flatten()
            .map(|m| (*m, None))
            .collect();
        if self.patterns.is_empty() {
            return found;
        }
        for end in name.char_indices().map(|(at, _)| at).chain([name.len()]) {
            let prefix = name.get(..end).unwrap_or_default();
            for (mapping, template) in self.patterns.get(prefix).into_iter().flatten() {
                if let Some(session) = template.session(name) {
                    found.push((*mapping, Some(session)));
                }
            }
        }
        found
    }
}

/// The index.
#[derive(Debug, Default)]
pub struct Index {
    mappings: Vec<Mapping>,
    users: Lookup,
    groups: Lookup,
    accounts: BTreeSet<String>,
    /// Principals with an entry (their keys) or a line (the ARN in lower case):
    /// they never come to the mapped accounts.
    mapped: BTreeSet<String>,
    /// Keys of principals whose entry could not be described.
    unclear: BTreeSet<String>,
    /// The path-less ARN of every listed role, by key; only where accounts are mapped.
    spelling: BTreeMap<String, String>,
    partition: String,
    /// Whether a user name of a mapping may be that of a service account.
    names_accounts: bool,
}

/// What the user names of service accounts begin with.
const ACCOUNT_USER: &str = "system:serviceaccount:";
const NODE_GROUPS: [&str; 4] = [
    "system:nodes",
    "system:bootstrappers",
    "system:node-proxier",
    "eks:kube-proxy-windows",
];
const UNCLEAR: &str =
    "the principal has an access entry that could not be described and may replace this mapping";
const NODE_TYPES: [&str; 6] = [
    "EC2_LINUX",
    "EC2_WINDOWS",
    "FARGATE_LINUX",
    "EC2",
    "HYBRID_LINUX",
    "HYPERPOD_LINUX",
];

/// Whether an entry of this type is a node's.
pub fn is_node_type(kind: &str) -> bool {
    NODE_TYPES.contains(&kind)
}

/// Whether an entry gives nothing because its principal is gone: `Some(why)`.
/// Of users that is known only where `people` were read.
pub fn dead(
    entry: &Entry,
    arn: &Arn,
    roles: &Roles,
    people: Option<&People>,
    account: &str,
) -> Option<&'static str> {
    if arn.account != account {
        return None;
    }
    if let (Kind::User, Some(people)) = (arn.kind, people) {
        return match people.user(arn) {
            None => Some("the user does not exist"),
            Some(user) => match (crate::text::seconds(&user.create_date), entry.created_at) {
                (Some(user), Some(entry)) if user as f64 > entry => {
                    Some("the user was deleted and made again after the entry")
                }
                _ => None,
            },
        };
    }
    if arn.kind != Kind::Role {
        return None;
    }
    match roles.get(arn).filter(|r| r.status == Status::Listed) {
        None => Some("the role does not exist"),
        Some(_) => match (roles.created_at(arn), entry.created_at) {
            (Some(role), Some(entry)) if role as f64 > entry => {
                Some("the role was deleted and made again after the entry")
            }
            _ => None,
        },
    }
}

impl Index {
    /// Joins everything. `roles` gains a row for every role that is mapped.
    pub fn build(
        cluster: &Cluster,
        entries: &[EntryRead],
        aws_auth: Option<&AwsAuth>,
        roles: &mut Roles,
        people: Option<&People>,
        notes: &mut Notes,
    ) -> Index {
        let mut index = Index {
            partition: cluster.partition.clone(),
            ..Index::default()
        };
        let mut claimed: BTreeMap<String, String> = BTreeMap::new();
        let mut users = 0_u64;
        for read in entries {
            let Some(arn) = Arn::parse(&read.arn) else {
                notes.evidence(json!({"type": "unknown-entry", "principal": read.arn, "reason": "the principal is no IAM user or role"}));
                continue;
            };
            let entry = match &read.entry {
                Ok(entry) => entry,
                Err(why) => {
                    notes.warn(format!(
                        "the access entry of {} could not be described: {why}",
                        read.arn
                    ));
                    notes.evidence(
                        json!({"type": "undescribed-entry", "principal": read.arn, "reason": why}),
                    );
                    index.unclear.insert(arn.key());
                    continue;
                }
            };
            let place = format!("access entry {}", read.arn);
            if let Some(why) = dead(entry, &arn, roles, people, &cluster.account) {
                notes.evidence(json!({"type": "dead-entry", "principal": read.arn, "reason": why, "username": entry.username, "groups": entry.kubernetes_groups}));
                continue;
            }
            claimed.insert(arn.key(), place.clone());
            index.mapped.insert(arn.key());
            let mut doubt = String::new();
            let node = is_node_type(&entry.kind);
            if node {
                notes.evidence(json!({"type": "node-mapping", "principal": read.arn, "mapping": place, "entry_type": entry.kind}));
            } else if entry.kind != "STANDARD" && !entry.kind.is_empty() {
                doubt = format!("the access entry has the unknown type {}", entry.kind);
                notes.evidence(json!({"type": "unknown-entry-type", "principal": read.arn, "entry_type": entry.kind}));
            }
            match arn.kind {
                _ if arn.account != cluster.account
                    && (arn.kind == Kind::Role || people.is_some()) =>
                {
                    notes.evidence(json!({"type": "unverified-entry", "principal": read.arn, "reason": "another account's principal cannot be checked"}));
                }
                Kind::User if people.is_some() => {}
                Kind::Role => {}
                _ => users += 1,
            }
            let mut groups = entry.kubernetes_groups.clone();
            if node && groups.is_empty() {
                groups.push("system:nodes".into());
            }
            let username = if entry.username.is_empty() && !node {
                default_username(&arn)
            } else {
                entry.username.clone()
            };
            index.put(arn, "access-entry", place, &username, &groups, node, doubt);
        }
        if users > 0 {
            notes.evidence(json!({"type": "unverified-entries", "count": users, "reason": "IAM users are not read, so it is not known whether they still exist"}));
        }
        if let Some(auth) = aws_auth {
            index.lines(auth, &claimed, cluster, roles, notes);
        }
        for mapping in &index.mappings {
            roles.mention(&mapping.arn, &cluster.account);
        }
        index
    }

    #[allow(clippy::too_many_arguments)]
    fn put(
        &mut self,
        arn: Arn,
        via: &'static str,
        place: String,
        username: &str,
        groups: &[String],
        node: bool,
        doubt: String,
    ) {
        let at = self.mappings.len();
        let instances = username.contains(INSTANCE) || groups.iter().any(|g| g.contains(INSTANCE));
        // A missing user name authenticates with an empty one, which no subject can have.
        if !username.is_empty() {
            let template = Template::new(username, &arn).of_instances(instances, username);
            let prefix = template.prefix();
            self.names_accounts |=
                prefix.starts_with(ACCOUNT_USER) || ACCOUNT_USER.starts_with(prefix);
            self.users.put(&template, at);
        }
        for group in groups {
            let template = Template::new(group, &arn).of_instances(instances, group);
            self.groups.put(&template, at);
        }
        self.mappings.push(Mapping {
            arn,
            via,
            place,
            node,
            doubt,
        });
    }

    fn hits(&self, found: Vec<(usize, Option<String>)>, plumbing: bool) -> Vec<Hit<'_>> {
        let mut out: Vec<Hit> = Vec::new();
        for (at, session) in found {
            let Some(m) = self.mappings.get(at) else {
                continue;
            };
            out.push(Hit {
                arn: Cow::Borrowed(&m.arn),
                via: m.via,
                place: &m.place,
                session,
                doubt: &m.doubt,
                plumbing: plumbing && m.node,
            });
        }
        out
    }

    /// Every principal that is mapped, and whether as a node.
    pub fn mapped(&self) -> impl Iterator<Item = (&Arn, bool)> {
        self.mappings.iter().map(|m| (&m.arn, m.node))
    }

    /// The principals that authenticate with a user name.
    pub fn user(&self, name: &str) -> Vec<Hit<'_>> {
        let mut hits = self.hits(self.users.find(name), name.starts_with("system:node:"));
        hits.extend(self.by_account(name));
        hits
    }

    /// The principals of AWS that authenticate with a service account's user name.
    pub fn service_account(&self, namespace: &str, name: &str) -> Vec<Hit<'_>> {
        if !self.names_accounts {
            return Vec::new();
        }
        self.user(&format!("{ACCOUNT_USER}{namespace}:{name}"))
    }

    /// The principal of a mapped account whose ARN is the user name: spelt as STS
    /// spells it, and with neither an entry nor a line.
    pub fn by_account(&self, name: &str) -> Option<Hit<'_>> {
        if self.accounts.is_empty() {
            return None;
        }
        let arn = Arn::parse(name)?;
        let key = arn.key();
        let spelt = arn.full() == name
            && arn.partition == self.partition
            && (arn.kind != Kind::Role || arn.path == "/")
            && self
                .spelling
                .get(&key)
                .is_none_or(|true_one| true_one == name);
        if !spelt
            || !self.accounts.contains(&arn.account)
            || self.mapped.contains(&key)
            || self.mapped.contains(&name.to_lowercase())
        {
            return None;
        }
        Some(Hit {
            arn: Cow::Owned(arn),
            via: "mapAccounts",
            place: "mapAccounts",
            session: None,
            doubt: if self.unclear.contains(&key) {
                UNCLEAR
            } else {
                ""
            },
            plumbing: false,
        })
    }

    /// The ARNs under which a principal is mapped.
    pub fn spellings(&self, arn: &Arn) -> Vec<String> {
        let key = arn.key();
        let mapped = self.mappings.iter().filter(|m| m.arn.key() == key);
        mapped.map(|m| m.arn.full()).collect()
    }

    /// The principals that are mapped into a group.
    pub fn group(&self, name: &str) -> Vec<Hit<'_>> {
        self.hits(self.groups.find(name), NODE_GROUPS.contains(&name))
    }
}

/// The user name that EKS gives an entry that sets none.
pub fn default_username(arn: &Arn) -> String {
    match arn.kind {
        Kind::Role => format!(
            "arn:{}:sts::{}:assumed-role/{}/{{{{SessionName}}}}",
            arn.partition, arn.account, arn.name
        ),
        _ => arn.full(),
    }
}
