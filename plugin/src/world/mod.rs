//! Everything that was read, joined: what the kinds answer from.
//!
//! Built once, after the last source; immutable from then on. Grants are not
//! stored: [`World::holders`] and the functions beside it work them out for one
//! entitlement at a time, so memory follows the objects and not the grants.

mod holders;
mod powers;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use serde_json::json;

use crate::aws::arn::{Arn, Kind};
use crate::aws::eks::{Association, Cluster, Mode, Pod, Policy};
use crate::aws::policies;
use crate::aws::trust::Subjects;
use crate::evidence::{Certainty, Notes};
use crate::identity::people::People;
use crate::identity::rights::Rights;
use crate::identity::roles::{Roles, Status};
use crate::identity::{EntryRead, Index, dead, is_node_type};
use crate::kubernetes::aws_auth::AwsAuth;
use crate::kubernetes::rbac::{Bindings, SubjectKind};

/// What the sources brought.
#[allow(missing_docs)]
pub struct Parts {
    pub cluster: Rc<Cluster>,
    pub creator: Option<String>,
    pub namespaces: Rc<BTreeSet<String>>,
    pub service_accounts: Rc<BTreeSet<String>>,
    pub bindings: Bindings,
    pub aws_auth: Option<AwsAuth>,
    pub entries: Vec<EntryRead>,
    /// By principal ARN.
    pub associations: BTreeMap<String, Vec<Association>>,
    pub catalogue: Vec<Policy>,
    pub roles: Roles,
    /// IAM's users, where they were read.
    pub people: Option<Rc<People>>,
    /// IAM's policies, where they were read.
    pub rights: Option<Rights>,
    pub pods: Vec<Pod>,
}

/// What is kept of a principal's access entry.
#[derive(Debug)]
#[allow(missing_docs)]
pub struct EntryFacts {
    /// Seconds since 1970.
    pub created: Option<f64>,
    pub modified: Option<f64>,
    pub tags: BTreeMap<String, String>,
}

/// An access policy with whoever holds it.
#[derive(Debug)]
pub struct PolicyRow {
    /// Its name.
    pub name: String,
    /// Its ARN.
    pub arn: String,
    /// Whether it can be given to people here.
    pub grantable: bool,
    /// Holders and the scopes they hold it in; no namespace means the cluster.
    pub holders: Vec<(PolicyHolder, Option<String>)>,
}

/// Who holds a policy.
#[derive(Clone, Debug)]
pub struct PolicyHolder {
    /// The principal of the entry.
    pub arn: Arn,
    /// Why it may not hold, in words.
    pub doubt: String,
}

/// The joined cluster.
pub struct World {
    /// The cluster.
    pub cluster: Rc<Cluster>,
    /// Names of the namespaces that were listed.
    pub namespaces: Rc<BTreeSet<String>>,
    /// Namespaces that exist: those, and any that hold a binding already, because
    /// the lists are not of one moment.
    pub places: Rc<BTreeSet<String>>,
    /// `<namespace>/<name>` of the service accounts that exist.
    pub service_accounts: Rc<BTreeSet<String>>,
    /// The same of those that are only mentioned.
    pub ghosts: BTreeSet<String>,
    /// All bindings.
    pub bindings: Bindings,
    /// Who is who.
    pub index: Index,
    /// IAM's roles and those that are mentioned.
    pub roles: Roles,
    /// IAM's users, where they were read.
    pub people: Option<Rc<People>>,
    /// IAM's policies, where they were read.
    pub rights: Option<Rights>,
    /// Access entries by the keys of their principals.
    pub entries: BTreeMap<String, EntryFacts>,
    /// Access policies by name.
    pub policies: Vec<PolicyRow>,
    /// Pod Identity associations by the key of a role.
    pods: BTreeMap<String, Vec<PodHold>>,
    /// Groups that nobody can enumerate.
    pub kube_groups: BTreeSet<String>,
    /// Users that nobody can enumerate.
    pub kube_users: BTreeSet<String>,
    /// Whether anybody is mapped into `system:masters`.
    pub has_masters: bool,
}

#[derive(Debug)]
struct PodHold {
    service_account: String,
    certainty: Certainty,
    mapping: String,
    conditions: String,
}

const IMPLIED_GROUPS: [&str; 3] = [
    "system:authenticated",
    "system:unauthenticated",
    "system:serviceaccounts",
];

impl World {
    /// Joins the parts. Everything that gives no access goes to `notes`.
    pub fn build(mut parts: Parts, notes: &mut Notes) -> World {
        parts.bindings.finish();
        let cluster = parts.cluster.clone();
        let index = Index::build(
            &cluster,
            &parts.entries,
            parts.aws_auth.as_ref(),
            &mut parts.roles,
            parts.people.as_deref(),
            notes,
        );
        let places = parts.namespaces.iter().map(String::as_str);
        let places = places.chain(parts.bindings.namespaces());
        let mut world = World {
            places: Rc::new(places.map(str::to_string).collect()),
            policies: Vec::new(),
            cluster,
            namespaces: parts.namespaces,
            service_accounts: parts.service_accounts,
            ghosts: BTreeSet::new(),
            bindings: parts.bindings,
            index,
            roles: parts.roles,
            people: parts.people,
            rights: parts.rights,
            entries: parts.entries.iter().filter_map(facts).collect(),
            pods: BTreeMap::new(),
            kube_groups: BTreeSet::new(),
            kube_users: BTreeSet::new(),
            has_masters: false,
        };
        world.mention_trusted(notes);
        world.mention_subjects();
        world.join_pods(&parts.pods, notes);
        world.join_policies(&parts.catalogue, &parts.entries, parts.associations, notes);
        world.find_subjects(notes);
        world.find_workloads(notes);
        if let Some(rights) = &world.rights {
            powers::note(&world, rights, notes);
        }
        world.has_masters = !world.index.group("system:masters").is_empty();
        if world.cluster.mode == Mode::ConfigMap {
            notes.evidence(json!({
                "type": "hidden-creator", "principal": parts.creator,
                "reason": "in mode CONFIG_MAP the creator of the cluster is in system:masters and no API shows it",
            }));
        }
        world
    }

    /// Rows for every role that a trust policy names.
    fn mention_trusted(&mut self, notes: &mut Notes) {
        let mut mentioned = Vec::new();
        for role in self.roles.iter() {
            match &role.trust {
                Ok(trust) => {
                    mentioned.extend(trust.trusted(&role.arn.account).into_iter().map(|t| t.arn))
                }
                Err(why) => {
                    notes.warn(format!(
                        "the trust policy of {} cannot be read: {why}",
                        role.arn.full()
                    ));
                    notes.evidence(
                        json!({"type": "malformed-trust", "role": role.arn.full(), "reason": why}),
                    );
                }
            }
        }
        for arn in mentioned {
            self.roles.mention(&arn, &self.cluster.account);
        }
    }

    /// Rows for every role that has access by its account being mapped.
    fn mention_subjects(&mut self) {
        let users = self.bindings.subjects();
        let users = users.filter(|s| s.kind == SubjectKind::User);
        let hits = users.flat_map(|s| self.index.by_account(s.name));
        let arns: Vec<Arn> = hits.map(|h| h.arn.into_owned()).collect();
        for arn in arns {
            self.roles.mention(&arn, &self.cluster.account);
        }
    }

    fn join_pods(&mut self, pods: &[Pod], notes: &mut Notes) {
        for pod in pods {
            let service_account = format!("{}/{}", pod.namespace, pod.service_account);
            let mapping = format!("association {}", pod.association_id);
            let Some(arn) = Arn::parse(&pod.role_arn).filter(|a| a.kind == Kind::Role) else {
                notes.evidence(json!({"type": "dead-association", "association": pod.association_id, "service_account": service_account, "reason": format!("`{}` is no role", pod.role_arn)}));
                continue;
            };
            self.roles.mention(&arn, &self.cluster.account);
            let missing = self
                .roles
                .get(&arn)
                .is_none_or(|r| r.status == Status::Missing);
            let tags = !pod.disable_session_tags.unwrap_or(false);
            let allowed = match self.roles.get(&arn).map(|r| (r.status, &r.trust)) {
                Some((Status::Listed, Ok(trust))) => trust.pod_identity(tags),
                Some((Status::Listed, Err(_))) => Some("the trust policy cannot be read".into()),
                Some((Status::External, _)) => {
                    Some("the role is another account's and could not be checked".into())
                }
                _ => Some(String::new()),
            };
            let Some(conditions) = allowed else {
                notes.evidence(json!({"type": "dead-association", "association": pod.association_id, "service_account": service_account, "role": pod.role_arn, "reason": "the role does not trust pods.eks.amazonaws.com"}));
                continue;
            };
            if !self.service_accounts.contains(&service_account) {
                self.ghosts.insert(service_account.clone());
            }
            let certainty = if missing {
                Certainty::Latent
            } else if conditions.is_empty() {
                Certainty::Certain
            } else {
                Certainty::Conditional
            };
            let target = pod
                .target_role_arn
                .as_deref()
                .and_then(Arn::parse)
                .filter(|a| a.kind == Kind::Role);
            // With a target the pods get its credentials only; the first role is
            // nothing but the way there.
            let way = target.as_ref().map_or_else(String::new, |target| {
                format!("only on the way to {}", target.full())
            });
            self.pods.entry(arn.key()).or_default().push(PodHold {
                service_account: service_account.clone(),
                certainty: if way.is_empty() {
                    certainty
                } else {
                    certainty.min(Certainty::Conditional)
                },
                mapping: mapping.clone(),
                conditions: [conditions.clone(), way]
                    .into_iter()
                    .filter(|w| !w.is_empty())
                    .collect::<Vec<_>>()
                    .join("; "),
            });
            let Some(target) = target else { continue };
            self.roles.mention(&target, &self.cluster.account);
            let trusting = self
                .roles
                .get(&target)
                .filter(|r| r.status == Status::Listed)
                .and_then(|r| r.trust.as_ref().ok());
            let found = trusting.map(|t| {
                t.trusted(&target.account)
                    .into_iter()
                    .filter(|t| t.arn.key() == arn.key())
                    .map(|t| t.conditions)
                    .min_by_key(String::len)
            });
            let (certainty, more) = match found {
                Some(Some(words)) if words.is_empty() => (certainty, String::new()),
                Some(Some(words)) => (certainty.min(Certainty::Conditional), words),
                Some(None) => (
                    certainty.min(Certainty::Conditional),
                    format!(
                        "the trust policy of the target role does not name {}",
                        arn.full()
                    ),
                ),
                None => (
                    certainty.min(Certainty::Conditional),
                    "the trust policy of the target role is not known".into(),
                ),
            };
            let words = [conditions, more, format!("through {}", self.roles.id(&arn))]
                .into_iter()
                .filter(|w| !w.is_empty())
                .collect::<Vec<_>>()
                .join("; ");
            self.pods.entry(target.key()).or_default().push(PodHold {
                service_account,
                certainty,
                mapping,
                conditions: words,
            });
        }
    }

    fn join_policies(
        &mut self,
        catalogue: &[Policy],
        entries: &[EntryRead],
        associations: BTreeMap<String, Vec<Association>>,
        notes: &mut Notes,
    ) {
        let applies = self.cluster.mode != Mode::ConfigMap;
        let mut rows: BTreeMap<String, PolicyRow> = BTreeMap::new();
        let row = |name: &str, arn: &str| PolicyRow {
            name: name.to_string(),
            arn: arn.to_string(),
            grantable: applies && policies::description(name).is_some(),
            holders: Vec::new(),
        };
        for name in policies::always() {
            let arn = policies::arn(&self.cluster.partition, name);
            rows.insert(arn.clone(), row(name, &arn));
        }
        for policy in catalogue
            .iter()
            .filter(|p| policies::description(&p.name).is_some())
        {
            rows.insert(policy.arn.clone(), row(&policy.name, &policy.arn));
        }
        let by_arn: BTreeMap<&str, &EntryRead> =
            entries.iter().map(|e| (e.arn.as_str(), e)).collect();
        for (principal, list) in associations {
            let (Some(read), Some(arn)) = (by_arn.get(principal.as_str()), Arn::parse(&principal))
            else {
                notes.evidence(json!({"type": "dead-policy", "principal": principal, "policies": list.iter().map(|a| a.policy_arn.as_str()).collect::<Vec<_>>(), "reason": "its access entry was not there when the entries were read, or is of no IAM user or role"}));
                continue;
            };
            for association in list {
                let gone = match &read.entry {
                    Ok(entry) => dead(
                        entry,
                        &arn,
                        &self.roles,
                        self.people.as_deref(),
                        &self.cluster.account,
                    ),
                    Err(_) => None,
                };
                let name = association
                    .policy_arn
                    .rsplit('/')
                    .next()
                    .unwrap_or_default()
                    .to_string();
                // A node's own policies are plumbing; one that is made for people is not.
                let node = policies::description(&name).is_none()
                    && read.entry.as_ref().is_ok_and(|e| is_node_type(&e.kind));
                let scope = &association.access_scope;
                let empty = scope.kind == "namespace" && scope.namespaces.is_empty();
                let odd = !matches!(scope.kind.as_str(), "cluster" | "namespace");
                let reason = match gone {
                    Some(why) => why.to_string(),
                    None if node => "the entry is a node's".into(),
                    None if empty => "the scope is `namespace` and names none".into(),
                    None if odd => format!("the scope type `{}` is not known", scope.kind),
                    None => String::new(),
                };
                if !reason.is_empty() {
                    if odd {
                        notes.warn(format!(
                            "an access policy of {principal} has the unknown scope type `{}`",
                            scope.kind
                        ));
                    }
                    notes.evidence(json!({"type": "dead-policy", "principal": principal, "policy": association.policy_arn, "scope": scope.kind, "namespaces": scope.namespaces, "reason": reason}));
                    continue;
                }
                let doubt = match &read.entry {
                    Err(_) => "the access entry could not be described".to_string(),
                    Ok(e)
                        if !matches!(e.kind.as_str(), "STANDARD" | "")
                            && !is_node_type(&e.kind) =>
                    {
                        format!("the access entry has the unknown type {}", e.kind)
                    }
                    Ok(_) => String::new(),
                };
                self.roles.mention(&arn, &self.cluster.account);
                let target = rows
                    .entry(association.policy_arn.clone())
                    .or_insert_with(|| row(&name, &association.policy_arn));
                let holder = PolicyHolder {
                    arn: arn.clone(),
                    doubt,
                };
                if scope.kind == "cluster" {
                    target.holders.push((holder, None));
                } else {
                    for namespace in &scope.namespaces {
                        target
                            .holders
                            .push((holder.clone(), Some(namespace.clone())));
                    }
                }
            }
        }
        self.policies = rows.into_values().collect();
    }

    /// Service accounts that only bindings know, and subjects that nobody can enumerate.
    fn find_subjects(&mut self, notes: &mut Notes) {
        let mut ghosts = BTreeSet::new();
        let (mut groups, mut users, mut platform) =
            (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for subject in self.bindings.subjects() {
            match subject.kind {
                SubjectKind::ServiceAccount => {
                    let path = format!("{}/{}", subject.namespace, subject.name);
                    if !self.service_accounts.contains(&path) {
                        ghosts.insert(path);
                    }
                }
                SubjectKind::User => {
                    if let Some(path) = service_account_user(subject.name) {
                        if !self.service_accounts.contains(&path) {
                            ghosts.insert(path);
                        }
                    } else if self.index.user(subject.name).is_empty() {
                        let set = if is_platform(subject.name) {
                            &mut platform
                        } else {
                            &mut users
                        };
                        set.insert(subject.name.to_string());
                    } else if subject.name == "system:anonymous" {
                        users.insert(subject.name.to_string());
                    }
                }
                SubjectKind::Group => {
                    let accounts = subject
                        .name
                        .strip_prefix("system:serviceaccounts:")
                        .is_some_and(|ns| self.accounts_of(ns).next().is_some());
                    if IMPLIED_GROUPS.contains(&subject.name)
                        || (!accounts && self.index.group(subject.name).is_empty())
                    {
                        groups.insert(subject.name.to_string());
                    }
                }
            }
        }
        for name in platform {
            notes.evidence(json!({"type": "platform-user", "user": name, "reason": "the control plane's own; no principal of AWS is mapped to it"}));
        }
        self.ghosts.extend(ghosts);
        (self.kube_groups, self.kube_users) = (groups, users);
    }

    /// Service accounts that only trust policies know, and trust that matches nobody.
    fn find_workloads(&mut self, notes: &mut Notes) {
        let Some(issuer) = &self.cluster.issuer else {
            return;
        };
        let mut ghosts = BTreeSet::new();
        for role in self.roles.iter() {
            let Ok(trust) = &role.trust else { continue };
            for federation in trust.workloads(issuer, &role.arn.account) {
                let Subjects::Matching(lists) = &federation.subjects else {
                    continue;
                };
                let mut any = false;
                for pattern in lists.iter().flatten().filter(|p| !p.glob) {
                    if let Some(path) = service_account_user(&pattern.text)
                        && lists
                            .iter()
                            .all(|list| list.iter().any(|p| p.matches(&pattern.text)))
                    {
                        any = true;
                        if !self.service_accounts.contains(&path) {
                            ghosts.insert(path);
                        }
                    }
                }
                if !any && self.matching(lists).next().is_none() {
                    let patterns: Vec<&str> =
                        lists.iter().flatten().map(|p| p.text.as_str()).collect();
                    let reason = if lists.iter().any(Vec::is_empty) {
                        "a condition names a token of another cluster, or no subject at all"
                    } else {
                        "no service account matches; one that is made with such a name gets the role"
                    };
                    notes.evidence(json!({"type": "unmatched-trust", "role": role.arn.full(), "subjects": patterns, "conditions": federation.conditions, "reason": reason}));
                }
            }
        }
        self.ghosts.extend(ghosts);
    }
}

fn facts(read: &EntryRead) -> Option<(String, EntryFacts)> {
    let entry = read.entry.as_ref().ok()?;
    let facts = EntryFacts {
        created: entry.created_at,
        modified: entry.modified_at,
        tags: entry.tags.clone(),
    };
    Some((Arn::parse(&read.arn)?.key(), facts))
}

/// `<namespace>/<name>` of a user name `system:serviceaccount:<namespace>:<name>`.
fn service_account_user(user: &str) -> Option<String> {
    let (namespace, name) = user
        .strip_prefix("system:serviceaccount:")?
        .split_once(':')?;
    let fits = |s: &str| {
        !s.is_empty()
            && s.bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.'))
    };
    (fits(namespace) && fits(name)).then(|| format!("{namespace}/{name}"))
}

/// A user that nobody is mapped to and no OIDC provider can name: the prefix is
/// refused for those. Asked only after the index.
fn is_platform(user: &str) -> bool {
    user.starts_with("system:") && user != "system:anonymous"
}
