//! The evaluator: every caller logs in, session by session, and asks for
//! everything.

use std::collections::{BTreeMap, BTreeSet};

use super::facts::{Facts, Map};
use crate::tests::cloud::*;

/// Sessions that roles are assumed with. Nothing ever names `zz`, so what holds
/// in all of them holds in every session.
const SESSIONS: [&str; 4] = ["alice", "a.b@x", "i-0abc", "zz"];
const INSTANCE: &str = "i-0abc";
pub const DNS: &str = "ip-10-0-0-1";

/// Kind, namespace, name.
type Subject = (String, String, String);

/// Somebody as the API server sees them.
#[derive(Clone, Debug)]
struct Login {
    user: String,
    groups: Vec<String>,
    node: bool,
    /// It may be otherwise: chance or an unknown type decides.
    doubt: bool,
}

/// Somebody who may log in.
#[derive(Debug)]
struct Caller {
    /// `kind:id`.
    id: String,
    /// As STS says, a role without its path.
    canonical: String,
    exists: bool,
    sessions: Vec<&'static str>,
    /// Which of several lines of mapUsers counts, if chance decides.
    choice: Option<Map>,
}

fn tail(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap()
}

fn is_role(arn: &str) -> bool {
    arn.contains(":role/")
}

/// Account and kind, and the name in one case.
fn same(a: &str, b: &str) -> bool {
    let short = |arn: &str| {
        let parts: Vec<&str> = arn.split(':').collect();
        let kind = parts[5].split('/').next().unwrap();
        format!("{}{}{kind}/{}", parts[1], parts[4], tail(arn)).to_lowercase()
    };
    short(a) == short(b)
}

/// `None`: the template cannot be rendered, so nobody logs in.
fn render(template: &str, arn: &str, session: &str) -> Option<String> {
    let mut text = template.replace("{{AccountID}}", arn.split(':').nth(4).unwrap());
    if text.contains("{{EC2PrivateDNSName}}") {
        if session != INSTANCE {
            return None;
        }
        text = text.replace("{{EC2PrivateDNSName}}", DNS);
    }
    text = text.replace("{{SessionNameRaw}}", session);
    Some(text.replace("{{SessionName}}", &session.replace('@', "-")))
}

impl Facts {
    fn listed(&self, arn: &str) -> Option<&(String, bool)> {
        self.roles.iter().find(|(a, _)| same(a, arn))
    }

    /// An entry is dead if its role is not there or younger than the entry.
    fn live(&self, entry: &Map) -> bool {
        !is_role(&entry.arn)
            || entry.arn.contains(OTHER)
            || self
                .listed(&entry.arn)
                .is_some_and(|(_, young)| !young || entry.fresh)
    }

    fn entry(&self, arn: &str) -> Option<&Map> {
        self.entries
            .iter()
            .find(|e| self.mode != "CONFIG_MAP" && same(&e.arn, arn) && self.live(e))
    }

    fn callers(&self) -> Vec<Caller> {
        let mut named: Vec<String> = self.roles.iter().map(|(a, _)| a.clone()).collect();
        if self.mode != "CONFIG_MAP" {
            named.extend(self.entries.iter().map(|e| e.arn.clone()));
        }
        if self.mode != "API" {
            named.extend(
                self.role_lines
                    .iter()
                    .chain(&self.user_lines)
                    .map(|l| l.arn.clone()),
            );
            let subjects = self.bindings.iter().flat_map(|b| &b.subjects);
            named.extend(
                subjects
                    .filter_map(|s| s.strip_prefix("User:"))
                    .filter(|s| s.starts_with("arn:aws:iam:"))
                    .map(String::from),
            );
        }
        let mut out: Vec<Caller> = Vec::new();
        for arn in named.iter().filter(|a| a.starts_with("arn:aws:")) {
            let mut full = arn.clone();
            if let Some((listed, _)) = self.listed(arn) {
                full.clone_from(listed);
            } else if let Some(entry) = self.entry(arn) {
                // A name is one principal; its entry knows the path.
                full.clone_from(&entry.arn);
            } else if is_role(arn) {
                full = format!("{}/{}", arn.split('/').next().unwrap(), tail(arn));
            }
            let canonical = if is_role(&full) {
                format!("{}/{}", full.split('/').next().unwrap(), tail(&full))
            } else {
                full.clone()
            };
            if !is_role(&full) {
                // A user is shown as the line that counts writes it.
                let lower = canonical.to_lowercase();
                let line = |list: &[Map]| {
                    list.iter()
                        .rev()
                        .find(|l| l.arn.to_lowercase() == lower)
                        .map(|l| l.arn.clone())
                };
                if self.mode != "API"
                    && self.entry(&full).is_none()
                    && let Some(written) = line(&self.role_lines)
                {
                    full = written;
                }
            }
            let id = if is_role(&full) {
                format!("role:{full}")
            } else {
                format!("iam_user:{full}")
            };
            let exists = !is_role(&full) || full.contains(OTHER) || self.listed(&full).is_some();
            let sessions = if is_role(&full) {
                SESSIONS.to_vec()
            } else if full.contains("federated-user") {
                vec!["fed"]
            } else {
                vec![""]
            };
            let mut rivals: BTreeMap<&str, &Map> = BTreeMap::new();
            for line in &self.user_lines {
                if line.arn.to_lowercase() == canonical.to_lowercase() {
                    rivals.insert(&line.arn, line);
                }
            }
            let chance = rivals.len() > 1;
            let choices: Vec<Option<Map>> = if chance {
                rivals.into_values().map(|l| Some(l.clone())).collect()
            } else {
                vec![None]
            };
            for choice in choices {
                let mut id = id.clone();
                // A user is shown as the line that counts writes it.
                let line = choice.as_ref().or(self
                    .user_lines
                    .iter()
                    .find(|l| l.arn.to_lowercase() == canonical.to_lowercase()));
                let own = |l: &&Map| {
                    self.role_lines
                        .iter()
                        .all(|r| r.arn.to_lowercase() != l.arn.to_lowercase())
                };
                if self.mode != "API"
                    && self.entry(&full).is_none()
                    && !is_role(&full)
                    && let Some(line) = line.filter(own)
                {
                    id = format!("iam_user:{}", line.arn);
                }
                out.push(Caller {
                    id,
                    canonical: canonical.clone(),
                    exists,
                    sessions: sessions.clone(),
                    choice,
                });
            }
        }
        out
    }

    fn login(&self, caller: &Caller, session: &str) -> Option<Login> {
        let arn = &caller.canonical;
        let from = |map: &Map, username: &str, doubt: bool| {
            let groups: Option<Vec<String>> =
                map.groups.iter().map(|g| render(g, arn, session)).collect();
            let node = map.kind.starts_with("EC2")
                || (map.kind.is_empty()
                    && map.username.starts_with("system:node:")
                    && map.groups.iter().any(|g| g == "system:nodes"));
            Some(Login {
                user: render(username, arn, session)?,
                groups: groups?,
                node,
                doubt,
            })
        };
        if let Some(entry) = self.entry(arn) {
            let node = entry.kind.starts_with("EC2");
            let mut entry = entry.clone();
            if node && entry.groups.is_empty() {
                entry.groups.push("system:nodes".into());
            }
            let default = if node {
                "system:node:{{EC2PrivateDNSName}}".into()
            } else if is_role(arn) {
                format!(
                    "arn:aws:sts::{}:assumed-role/{}/{{{{SessionName}}}}",
                    arn.split(':').nth(4).unwrap(),
                    tail(arn)
                )
            } else {
                arn.clone()
            };
            let username = if entry.username.is_empty() {
                default
            } else {
                entry.username.clone()
            };
            return from(&entry, &username, entry.kind == "QUANTUM");
        }
        if self.mode == "API" {
            return None;
        }
        let lower = arn.to_lowercase();
        let found = |list: &[Map]| {
            let hit = list.iter().rev().find(|l| l.arn.to_lowercase() == lower);
            hit.cloned()
        };
        if let Some(line) = found(&self.role_lines) {
            return from(&line, &line.username, false);
        }
        if let Some(line) = &caller.choice {
            return from(line, &line.username, true);
        }
        if let Some(line) = found(&self.user_lines) {
            return from(&line, &line.username, false);
        }
        if self.accounts.contains(&arn.split(':').nth(4).unwrap()) {
            return Some(Login {
                user: arn.clone(),
                groups: vec![],
                node: false,
                doubt: false,
            });
        }
        None
    }

    /// Who holds what: grant id to certainty.
    pub fn truth(&self) -> BTreeMap<String, &'static str> {
        let order = ["latent", "conditional", "session", "certain"];
        let mut out: BTreeMap<String, &'static str> = BTreeMap::new();
        let mut say = |entitlement: &str, who: &str, how: &'static str| {
            let key = format!("{entitlement}:{who}");
            let rank = |h: &str| order.iter().position(|o| *o == h);
            if out.get(&key).is_none_or(|old| rank(old) < rank(how)) {
                out.insert(key, how);
            }
        };
        let callers = self.callers();
        let mut names: BTreeSet<String> = BTreeSet::new();
        let mut groups: BTreeSet<String> = BTreeSet::new();
        for caller in &callers {
            for login in caller.sessions.iter().filter_map(|s| self.login(caller, s)) {
                names.insert(login.user);
                groups.extend(login.groups);
            }
        }
        // What each binding gives.
        let mut scopes: Vec<(String, Vec<Subject>)> = Vec::new();
        for b in &self.bindings {
            let (kind, role) = b.role.split_once(':').unwrap();
            let entitlement = if kind == "Role" {
                if !self
                    .local_roles
                    .contains(&format!("{}/{role}", b.namespace))
                {
                    continue;
                }
                format!("namespace_role:{}/{role}:member", b.namespace)
            } else {
                if !self.cluster_roles.contains(role) {
                    continue;
                }
                match b.namespace.as_str() {
                    "" => format!("cluster_role:{role}:all:member"),
                    "all" => format!("cluster_role:{role}:namespace/all:member"),
                    ns => format!("cluster_role:{role}:{ns}:member"),
                }
            };
            let subjects = b.subjects.iter().map(|s| {
                let (kind, name) = s.split_once(':').unwrap();
                let (namespace, name) = match name.split_once('/') {
                    Some(("", name)) if kind == "ServiceAccount" => (b.namespace.as_str(), name),
                    Some((ns, name)) if kind == "ServiceAccount" => (ns, name),
                    _ => ("", name),
                };
                (kind.to_string(), namespace.to_string(), name.to_string())
            });
            scopes.push((entitlement, subjects.collect()));
        }
        let applies = |login: &Login, (kind, namespace, name): &Subject| match kind.as_str() {
            "User" => login.user == *name && !(login.node && name.starts_with("system:node:")),
            "Group" => {
                let plumbing = [
                    "system:nodes",
                    "system:bootstrappers",
                    "system:node-proxier",
                ];
                login.groups.contains(name) && !(login.node && plumbing.contains(&name.as_str()))
            }
            _ => login.user == format!("system:serviceaccount:{namespace}:{name}"),
        };
        let mut entitlements: BTreeMap<String, Vec<Subject>> = BTreeMap::new();
        for (entitlement, subjects) in scopes {
            entitlements
                .entry(entitlement)
                .or_default()
                .extend(subjects);
        }
        for caller in &callers {
            let logins: Vec<Option<Login>> = caller
                .sessions
                .iter()
                .map(|s| self.login(caller, s))
                .collect();
            let able: Vec<&Login> = logins.iter().flatten().collect();
            if able.is_empty() {
                continue;
            }
            let doubt = able.iter().any(|l| l.doubt);
            let mut judge = |entitlement: &str, holds: &dyn Fn(&Login) -> bool| {
                let held = able.iter().filter(|l| holds(l)).count();
                if held == 0 {
                    return;
                }
                // A mapping that only instances can use counts by their sessions.
                let instances = able.len() == 1 && caller.sessions.len() > 1;
                let how = if !caller.exists {
                    "latent"
                } else if doubt {
                    "conditional"
                } else if held < able.len()
                    || (instances && self.only_by_template(caller, entitlement, &entitlements))
                {
                    "session"
                } else {
                    "certain"
                };
                say(entitlement, &caller.id, how);
            };
            for (entitlement, subjects) in &entitlements {
                judge(entitlement, &|l| {
                    subjects.iter().any(|s| {
                        !(s.0 == "Group" && s.2 == "system:authenticated") && applies(l, s)
                    })
                });
            }
            judge("cluster_role:cluster-admin:all:member", &|l| {
                l.groups.iter().any(|g| g == "system:masters")
            });
        }
        for (entitlement, subjects) in &entitlements {
            for (kind, namespace, name) in subjects {
                let stand_in = match kind.as_str() {
                    "User" => "kube_user",
                    _ => "kube_group",
                };
                let everybody = [
                    "system:authenticated",
                    "system:unauthenticated",
                    "system:serviceaccounts",
                ];
                let account = name
                    .strip_prefix("system:serviceaccount:")
                    .map(|a| a.replace(':', "/"));
                match (kind.as_str(), account) {
                    ("ServiceAccount", _) | ("User", Some(_)) => {
                        let path = if kind == "User" {
                            name["system:serviceaccount:".len()..].replace(':', "/")
                        } else {
                            format!("{namespace}/{name}")
                        };
                        let how = if self.service_accounts.contains(&path) {
                            "certain"
                        } else {
                            "latent"
                        };
                        say(entitlement, &format!("service_account:{path}"), how);
                    }
                    ("User", None) if name == "system:anonymous" => {
                        say(entitlement, "kube_user:system:anonymous", "certain");
                    }
                    ("Group", _) if everybody.contains(&name.as_str()) => {
                        say(entitlement, &format!("kube_group:{name}"), "certain");
                    }
                    ("Group", _) if name.starts_with("system:serviceaccounts:") => {
                        let prefix = format!("{}/", &name["system:serviceaccounts:".len()..]);
                        let members: Vec<&String> = self
                            .service_accounts
                            .iter()
                            .filter(|p| p.starts_with(&prefix))
                            .collect();
                        for path in &members {
                            say(entitlement, &format!("service_account:{path}"), "certain");
                        }
                        if members.is_empty() && !groups.contains(name) {
                            say(entitlement, &format!("kube_group:{name}"), "latent");
                        }
                    }
                    ("User", None) if names.contains(name) || name.starts_with("system:") => {}
                    ("Group", _) if groups.contains(name) => {}
                    _ => say(entitlement, &format!("{stand_in}:{name}"), "latent"),
                }
            }
        }
        self.policies(&callers, &mut say);
        out
    }

    /// Whether a role that only instances can use holds something by a name that
    /// has the instance in it.
    fn only_by_template(
        &self,
        caller: &Caller,
        entitlement: &str,
        entitlements: &BTreeMap<String, Vec<Subject>>,
    ) -> bool {
        let Some(login) = self.login(caller, INSTANCE) else {
            return false;
        };
        let masters = entitlement == "cluster_role:cluster-admin:all:member"
            && login.groups.iter().any(|g| g == "system:masters");
        let plumbing = ["system:nodes", "system:bootstrappers"];
        let plain = entitlements
            .get(entitlement)
            .into_iter()
            .flatten()
            .any(|(kind, ns, name)| {
                let named = match kind.as_str() {
                    "Group" => {
                        login.groups.contains(name)
                            && !(login.node && plumbing.contains(&name.as_str()))
                    }
                    "User" => {
                        login.user == *name && !(login.node && name.starts_with("system:node:"))
                    }
                    _ => login.user == format!("system:serviceaccount:{ns}:{name}"),
                };
                let depends = [DNS, "i-0abc"].iter().any(|d| name.contains(d));
                named && !depends && name != "system:authenticated"
            });
        !masters && !plain
    }

    fn policies(&self, callers: &[Caller], say: &mut impl FnMut(&str, &str, &'static str)) {
        let known: BTreeSet<&str> = self
            .namespaces
            .iter()
            .map(String::as_str)
            .chain(
                self.bindings
                    .iter()
                    .map(|b| b.namespace.as_str())
                    .filter(|n| !n.is_empty()),
            )
            .collect();
        for (arn, policy, scope) in &self.associations {
            let Some(entry) = self.entry(arn) else {
                continue;
            };
            if entry.kind.starts_with("EC2") && policy.contains("AutoNode") {
                continue;
            }
            let Some(caller) = callers.iter().find(|c| same(&c.canonical, arn)) else {
                continue;
            };
            let sure = if entry.kind == "QUANTUM" {
                "conditional"
            } else {
                "certain"
            };
            let on =
                format!("access_policy:arn:aws:eks::aws:cluster-access-policy/{policy}:assigned:");
            let slug = |ns: &str| {
                if ns == "cluster" {
                    format!("{on}namespace/cluster")
                } else {
                    format!("{on}{ns}")
                }
            };
            let Some(list) = scope else {
                say(&format!("{on}cluster"), &caller.id, sure);
                continue;
            };
            for pattern in list {
                let matches: Vec<&&str> = known.iter().filter(|n| wild(pattern, n)).collect();
                say(
                    &slug(pattern),
                    &caller.id,
                    if matches.is_empty() { "latent" } else { sure },
                );
                for ns in matches {
                    say(&slug(ns), &caller.id, sure);
                }
            }
        }
    }
}

/// How a role that does not exist is spelt is nobody's business.
pub fn key(id: &str, how: &str) -> String {
    if how == "latent" {
        id.to_lowercase()
    } else {
        id.to_string()
    }
}

fn wild(pattern: &str, text: &str) -> bool {
    match pattern.chars().next() {
        None => text.is_empty(),
        Some('*') => wild(&pattern[1..], text) || (!text.is_empty() && wild(pattern, &text[1..])),
        Some(c) => text.starts_with(c) && wild(&pattern[1..], &text[1..]),
    }
}
