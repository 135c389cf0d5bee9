//! Who could make himself an administrator: what rights in IAM add up to.
//!
//! The connector keeps which actions each principal is allowed and by which
//! statement (`iam-rights` in the evidence); here they are put together with
//! what roles of the cluster give. Who has the rights to reach an administrator
//! counts as one for those who can reach him in turn.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde_json::Value;

use super::catalog::Severity;
use super::checks::{Roles, role_of};
use super::{Found, Item};
use crate::review::model::{Certainty, Id, Model, Realm, Sort};
use crate::review::paths;

/// Statements that an item names.
const STATEMENTS: usize = 4;

/// An action that a principal is allowed.
struct Right {
    action: String,
    /// `cluster`, `entries`, `itself`, `every role`, `every user`, `these`,
    /// `instances`.
    on: String,
    targets: Vec<Id>,
    by: String,
    conditions: String,
}

/// What rights add up to.
struct Way {
    rule: &'static str,
    severity: Severity,
    what: String,
    /// Why it is not certain, where no condition of a right says it.
    doubt: &'static str,
    actions: Vec<&'static str>,
}

/// Rights by which somebody gives himself more.
const ITSELF: [&str; 7] = [
    "iam:PutRolePolicy",
    "iam:AttachRolePolicy",
    "iam:PutUserPolicy",
    "iam:AttachUserPolicy",
    "iam:PutGroupPolicy",
    "iam:AttachGroupPolicy",
    "iam:CreatePolicyVersion",
];
/// Rights by which somebody becomes another, and the words for it.
const BECOME: [(&str, &str); 6] = [
    ("iam:UpdateAssumeRolePolicy", "let itself assume"),
    ("iam:CreateAccessKey", "make an access key of"),
    ("iam:CreateLoginProfile", "set a password of"),
    ("iam:UpdateLoginProfile", "change the password of"),
    ("iam:AddUserToGroup", "put a user into"),
    ("iam:PassRole", "start something as"),
];
/// Rights by which a role of others gets more.
const STRONGER: [&str; 2] = ["iam:PutRolePolicy", "iam:AttachRolePolicy"];

/// A cluster and what its principals may do in IAM.
struct Shadow<'a> {
    model: &'a Model,
    entries: bool,
    rights: BTreeMap<(String, String), Vec<Right>>,
    nodes: HashMap<(&'a str, &'a str), Id>,
    /// Who has everything in the cluster.
    admins: HashSet<Id>,
    /// Who has anything in it.
    holders: HashSet<Id>,
    /// Who has it by an access entry.
    entered: HashSet<Id>,
    /// Who could make himself an administrator.
    strong: HashSet<Id>,
}

/// Reports what a cluster's evidence says, and returns who could make himself
/// an administrator of it.
pub(super) fn run(found: &mut Found<'_>, roles: &Roles, at: Id, realm: &Realm) -> HashSet<Id> {
    let mut shadow = Shadow::new(found.model, roles, at, realm);
    if shadow.rights.is_empty() {
        return HashSet::new();
    }
    loop {
        let more: Vec<Id> = shadow
            .rights
            .keys()
            .filter_map(|key| {
                let node = shadow.node(key)?;
                let ways = shadow.ways(Some(node), shadow.rights.get(key)?);
                let admin = |way: &Way| way.rule == "shadow-admin";
                (ways.iter().any(admin) && !shadow.strong.contains(&node)).then_some(node)
            })
            .collect();
        if more.is_empty() {
            break;
        }
        shadow.strong.extend(more);
    }
    for (key, rights) in &shadow.rights {
        let node = shadow.node(key);
        let mut by_rule: BTreeMap<&str, Way> = BTreeMap::new();
        for way in shadow.ways(node, rights) {
            // The worst stands for the others of its rule.
            match by_rule.get(way.rule) {
                Some(known) if known.severity <= way.severity => {}
                _ => {
                    by_rule.insert(way.rule, way);
                }
            }
        }
        // Who reaches everything reaches the rest.
        let whole = by_rule
            .get("shadow-admin")
            .is_some_and(|way| sure(way, rights));
        for (rule, way) in by_rule {
            if !whole || !matches!(rule, "change-access" | "take-over") {
                report(found, &shadow, realm, key, node, rights, rule, &way);
            }
        }
    }
    shadow.strong
}

#[allow(clippy::too_many_arguments, reason = "one caller")]
fn report(
    found: &mut Found<'_>,
    shadow: &Shadow<'_>,
    realm: &Realm,
    key: &(String, String),
    node: Option<Id>,
    rights: &[Right],
    rule: &str,
    way: &Way,
) {
    let used: Vec<&Right> = rights
        .iter()
        .filter(|right| way.actions.contains(&right.action.as_str()))
        .collect();
    let mut by: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
    for right in &used {
        let place = (right.by.as_str(), right.conditions.as_str());
        by.entry(place).or_default().insert(&right.action);
    }
    let count = by.len();
    let mut evidence: Vec<String> = by
        .into_iter()
        .take(STATEMENTS)
        .map(|((by, conditions), actions)| {
            let actions: Vec<&str> = actions.into_iter().collect();
            let unless = if conditions.is_empty() {
                String::new()
            } else {
                format!(" ({conditions})")
            };
            format!("{} by {by}{unless}", actions.join(", "))
        })
        .collect();
    if count > STATEMENTS {
        evidence.push(format!("and {} more statements", count - STATEMENTS));
    }
    if !way.doubt.is_empty() {
        evidence.push(way.doubt.to_owned());
    }
    let sure = sure(way, rights);
    let severity = match (way.severity, sure) {
        (Severity::Critical, false) => Severity::High,
        (severity, _) => severity,
    };
    // Whoever is one already keeps it this way when it is taken away.
    let already = node.is_some_and(|node| shadow.admins.contains(&node));
    let severity = if already && rule == "shadow-admin" {
        Severity::Medium
    } else {
        severity
    };
    let subject = match node {
        Some(node) => crate::review::words::who(found.model, node),
        None => format!("{} {}", key.0, key.1),
    };
    let (people, people_count) = node.map_or((Vec::new(), 0), |node| found.people(node));
    let item = Item {
        id: String::new(),
        severity,
        subject,
        principal: format!("{}:{}", key.0, key.1),
        node,
        what: way.what.clone(),
        evidence: evidence.join("; "),
        certainty: if sure {
            Certainty::Certain
        } else {
            Certainty::Conditional
        },
        people,
        people_count,
        platform: false,
    };
    found.put(rule, &realm.name, item);
}

/// Whether nothing that was read is in the way. One statement that is sure is
/// enough where several allow the same action.
fn sure(way: &Way, rights: &[Right]) -> bool {
    way.doubt.is_empty()
        && way.actions.iter().all(|action| {
            let mut own = rights.iter().filter(|right| right.action == *action);
            let any = own.clone().next().is_some();
            !any || own.any(|right| right.conditions.is_empty())
        })
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn list<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    let list = value.get(key).and_then(Value::as_array);
    list.map_or(&[], Vec::as_slice)
}

impl<'a> Shadow<'a> {
    fn new(model: &'a Model, roles: &Roles, at: Id, realm: &'a Realm) -> Shadow<'a> {
        let mut shadow = Shadow {
            model,
            entries: realm.mode != "CONFIG_MAP",
            rights: BTreeMap::new(),
            nodes: HashMap::new(),
            admins: HashSet::new(),
            holders: HashSet::new(),
            entered: HashSet::new(),
            strong: HashSet::new(),
        };
        let told = |piece: &&Value| text(piece, "type") == "iam-rights";
        if !realm.evidence.iter().any(|piece| told(&piece)) {
            return shadow;
        }
        for number in 0..model.nodes.len() {
            let id = Id::try_from(number).unwrap_or(Id::MAX);
            if model.node(id).realm.is_none() {
                shadow.nodes.insert((model.kind(id), model.id(id)), id);
            }
        }
        for grant in &model.grants {
            let Some((role, scope)) = role_of(model, grant) else {
                continue;
            };
            if model.node(role).realm != Some(at) || grant.certainty == Certainty::Latent {
                continue;
            }
            shadow.holders.insert(grant.principal);
            if scope == crate::review::rules::Scope::Cluster && roles.all.contains(&role) {
                shadow.admins.insert(grant.principal);
            }
            let by_entry = |way: &crate::review::model::Way| {
                matches!(model.texts.get(way.via), "access-entry" | "access-policy")
            };
            if model.ways(grant).iter().any(by_entry) {
                shadow.entered.insert(grant.principal);
            }
        }
        for piece in realm.evidence.iter().filter(told) {
            let key = (
                text(piece, "kind").to_owned(),
                text(piece, "principal").to_owned(),
            );
            for group in list(piece, "rights") {
                for does in list(group, "does") {
                    let targets = list(does, "targets").iter().filter_map(Value::as_str);
                    let right = Right {
                        action: text(does, "action").to_owned(),
                        on: text(does, "on").to_owned(),
                        targets: targets.filter_map(|arn| shadow.target(arn)).collect(),
                        by: text(group, "by").to_owned(),
                        conditions: text(group, "conditions").to_owned(),
                    };
                    shadow.rights.entry(key.clone()).or_default().push(right);
                }
            }
        }
        shadow
    }

    fn target(&self, arn: &str) -> Option<Id> {
        let kinds = ["role", "iam_user", "group"];
        kinds
            .iter()
            .find_map(|kind| self.nodes.get(&(*kind, arn)).copied())
    }

    fn node(&self, key: &(String, String)) -> Option<Id> {
        self.nodes.get(&(key.0.as_str(), key.1.as_str())).copied()
    }

    /// Those of a sort that are worth to become: the administrators first.
    fn all(&self, right: &Right) -> Vec<Id> {
        let sort = match right.on.as_str() {
            "every role" => Sort::IamRole,
            "every user" => Sort::Person,
            _ => return right.targets.clone(),
        };
        let all = self.admins.iter().chain(&self.strong).chain(&self.holders);
        let own = |id: &Id| self.model.node(*id).sort == sort && self.model.kind(*id) != "sso_user";
        let all: BTreeSet<(bool, &str, Id)> = all
            .copied()
            .filter(own)
            .map(|id| (!self.is_admin(id), self.model.id(id), id))
            .collect();
        all.into_iter().map(|(.., id)| id).collect()
    }

    fn is_admin(&self, id: Id) -> bool {
        self.admins.contains(&id) || self.strong.contains(&id)
    }

    fn ways(&self, node: Option<Id>, rights: &[Right]) -> Vec<Way> {
        let has = |action: &str| rights.iter().any(|right| right.action == action);
        let mut ways = Vec::new();
        let mut put = |rule, severity, what: String, doubt, actions: Vec<&'static str>| {
            ways.push(Way {
                rule,
                severity,
                what,
                doubt,
                actions,
            });
        };
        let (create, associate) = (
            has("eks:CreateAccessEntry"),
            has("eks:AssociateAccessPolicy"),
        );
        let config = has("eks:UpdateClusterConfig");
        let open = self.entries || config;
        let mut full = vec!["eks:CreateAccessEntry", "eks:AssociateAccessPolicy"];
        if !self.entries {
            full.push("eks:UpdateClusterConfig");
        }
        if create && associate && open {
            let what = "may give itself an access entry with AmazonEKSClusterAdminPolicy";
            put(
                "shadow-admin",
                Severity::Critical,
                what.to_owned(),
                "",
                full,
            );
        } else if associate && self.entries {
            let own = node.is_some_and(|node| self.entered.contains(&node));
            let action = vec!["eks:AssociateAccessPolicy"];
            if own {
                let what = "may give its own access entry AmazonEKSClusterAdminPolicy";
                put(
                    "shadow-admin",
                    Severity::Critical,
                    what.to_owned(),
                    "",
                    action,
                );
            } else {
                let what = "may give AmazonEKSClusterAdminPolicy to whoever has an access entry";
                let doubt = "it has no entry of its own";
                put(
                    "change-access",
                    Severity::High,
                    what.to_owned(),
                    doubt,
                    action,
                );
            }
        }
        let itself: Vec<&'static str> = ITSELF
            .into_iter()
            .filter(|action| {
                let own = |right: &Right| right.on == "itself" && right.action == *action;
                rights.iter().any(own)
            })
            .collect();
        if !itself.is_empty() {
            let what = "may give itself every right in IAM, and with it an access entry";
            put(
                "shadow-admin",
                Severity::Critical,
                what.to_owned(),
                "",
                itself,
            );
        }
        for (action, does) in BECOME {
            let over = rights.iter().filter(|right| right.action == action);
            let mut targets: Vec<Id> = over.flat_map(|right| self.all(right)).collect();
            targets.retain(|id| Some(*id) != node);
            let Some(first) = targets.iter().find(|id| self.is_admin(**id)) else {
                if let Some(first) = targets.first() {
                    let what = format!("may {does} {}", self.named(*first, targets.len()));
                    put("take-over", Severity::High, what, "", vec![action]);
                }
                continue;
            };
            let admins = targets.iter().filter(|id| self.is_admin(**id)).count();
            let what = format!(
                "may {does} {}, which is or can become an administrator",
                self.named(*first, admins)
            );
            put("shadow-admin", Severity::Critical, what, "", vec![action]);
        }
        self.stronger(node, rights, &mut put);
        if create && !(associate && open) {
            let what = "may give itself an access entry with any group that is not of system:";
            let doubt = "it depends on what those groups are bound to";
            put(
                "change-access",
                Severity::High,
                what.to_owned(),
                doubt,
                vec!["eks:CreateAccessEntry"],
            );
        }
        if has("eks:UpdateAccessEntry") {
            let what = "may put access entries into any group that is not of system:";
            let doubt = "it depends on what those groups are bound to";
            put(
                "change-access",
                Severity::High,
                what.to_owned(),
                doubt,
                vec!["eks:UpdateAccessEntry"],
            );
        }
        if has("eks:AssociateIdentityProviderConfig") {
            let what = "may have an identity provider of its own name users and groups";
            let doubt = "it depends on what those names are bound to";
            let action = vec!["eks:AssociateIdentityProviderConfig"];
            put(
                "change-access",
                Severity::High,
                what.to_owned(),
                doubt,
                action,
            );
        }
        if config {
            let what = "may change the authentication mode, the endpoint and the audit log";
            let action = vec!["eks:UpdateClusterConfig"];
            put(
                "change-access",
                Severity::Medium,
                what.to_owned(),
                "",
                action,
            );
        }
        if has("eks:CreatePodIdentityAssociation") {
            let what = "may give IAM roles to service accounts";
            let doubt = "it needs iam:PassRole on the role, and a pod";
            let action = vec!["eks:CreatePodIdentityAssociation"];
            put(
                "change-access",
                Severity::Medium,
                what.to_owned(),
                doubt,
                action,
            );
        }
        let sessions: Vec<&'static str> = ["ssm:StartSession", "ssm:SendCommand"]
            .into_iter()
            .filter(|action| has(action))
            .collect();
        if !sessions.is_empty() {
            let what = "may run commands on machines of the account, nodes included";
            put("node-role", Severity::Medium, what.to_owned(), "", sessions);
        }
        ways
    }

    /// Who makes a role stronger that he can assume gives himself more.
    fn stronger(
        &self,
        node: Option<Id>,
        rights: &[Right],
        put: &mut impl FnMut(&'static str, Severity, String, &'static str, Vec<&'static str>),
    ) {
        let Some(node) = node else { return };
        for action in STRONGER {
            let over = |right: &&Right| right.action == action && right.on != "itself";
            let mut roles: Vec<Id> = rights
                .iter()
                .filter(over)
                .flat_map(|right| self.all(right))
                .filter(|id| *id != node)
                .collect();
            if rights
                .iter()
                .any(|right| over(&right) && right.on == "every role")
            {
                let held = self.model.held(node).filter_map(|id| self.model.grant(id));
                let assumed = held.filter_map(|grant| self.model.entitlement(grant.entitlement));
                roles.extend(assumed.filter(|held| held.carries).map(|held| held.node));
            }
            roles.sort_unstable();
            roles.dedup();
            let can = |role: &&Id| {
                paths::leading_to(self.model, std::iter::once(**role)).contains(&node)
                    && self.model.node(**role).sort == Sort::IamRole
            };
            let assumable: Vec<Id> = roles.iter().filter(can).copied().collect();
            if let Some(first) = assumable.first() {
                let what = format!(
                    "may give {}, which it may assume, every right in IAM",
                    self.named(*first, assumable.len())
                );
                put("shadow-admin", Severity::Critical, what, "", vec![action]);
            } else if let Some(first) = roles.first() {
                let what = format!(
                    "may give {} every right in IAM",
                    self.named(*first, roles.len())
                );
                let doubt = "nothing that was read lets it assume the role";
                put("take-over", Severity::Medium, what, doubt, vec![action]);
            }
        }
    }

    fn named(&self, first: Id, count: usize) -> String {
        let who = crate::review::words::who(self.model, first);
        match count.saturating_sub(1) {
            0 => who,
            1 => format!("{who} and one more"),
            more => format!("{who} and {more} more"),
        }
    }
}
