//! Who could make themselves an administrator without being one: rights in IAM
//! policies that lead into the cluster.
//!
//! Nothing here is access to the cluster, so it is evidence and no grant:
//! `iam-rights`, one piece for each principal, that names actions, what they
//! are on, and the statement that allows them. What they add up to is for a
//! review to say, which knows what roles give. Policies themselves never leave.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::World;
use crate::aws::arn::{Arn, Kind};
use crate::aws::policy::{Allowed, Reach};
use crate::aws::trust::join;
use crate::evidence::Notes;
use crate::identity::rights::{Key, Rights};
use crate::identity::roles::Status;

/// Principals that the evidence names; the others are counted.
const PRINCIPALS: usize = 5_000;
/// Targets that one right names; the others are counted.
const TARGETS: usize = 10;
/// Targets that are looked at one by one.
const LOOKED_AT: usize = 2_000;
/// Bytes of one piece of evidence, about.
const PIECE: usize = 6_000;

/// Rights on the cluster itself.
const ON_CLUSTER: [&str; 4] = [
    "eks:CreateAccessEntry",
    "eks:UpdateClusterConfig",
    "eks:AssociateIdentityProviderConfig",
    "eks:CreatePodIdentityAssociation",
];
/// Rights on access entries.
const ON_ENTRIES: [&str; 2] = ["eks:AssociateAccessPolicy", "eks:UpdateAccessEntry"];
/// Rights by which a role is taken over, or somebody else's role made stronger.
const ON_ROLES: [&str; 3] = [
    "iam:UpdateAssumeRolePolicy",
    "iam:PutRolePolicy",
    "iam:AttachRolePolicy",
];
/// Rights by which a user is taken over.
const ON_USERS: [&str; 3] = [
    "iam:CreateAccessKey",
    "iam:CreateLoginProfile",
    "iam:UpdateLoginProfile",
];
/// Services that run something as a role, and what starts it.
const STARTS: [(&str, &str); 8] = [
    ("ec2.amazonaws.com", "ec2:RunInstances"),
    ("lambda.amazonaws.com", "lambda:CreateFunction"),
    ("ecs-tasks.amazonaws.com", "ecs:RunTask"),
    ("codebuild.amazonaws.com", "codebuild:CreateProject"),
    ("glue.amazonaws.com", "glue:CreateJob"),
    ("cloudformation.amazonaws.com", "cloudformation:CreateStack"),
    (
        "sagemaker.amazonaws.com",
        "sagemaker:CreateNotebookInstance",
    ),
    ("pods.eks.amazonaws.com", "eks:CreatePodIdentityAssociation"),
];

/// What an action is asked about for somebody, as ARNs.
type Targets<'a> = &'a dyn Fn(&Key) -> Vec<String>;

struct Power {
    action: &'static str,
    /// `cluster`, `entries`, `itself`, `every role`, `every user`, `these`,
    /// `instances`.
    on: &'static str,
    targets: Vec<String>,
    count: usize,
    allowed: Allowed,
}

struct Powers<'a> {
    world: &'a World,
    rights: &'a Rights,
    found: BTreeMap<Key, Vec<Power>>,
}

/// Puts what the policies allow into the evidence.
pub(super) fn note(world: &World, rights: &Rights, notes: &mut Notes) {
    let unread = rights.unread();
    for one in unread.iter().take(20) {
        notes.evidence(json!({"type": "unread", "source": "an IAM policy", "reason": one}));
    }
    if unread.len() > 20 {
        notes.evidence(json!({"type": "unread", "source": "IAM policies", "reason": format!("{} more could not be read", unread.len() - 20)}));
    }
    let mut powers = Powers {
        world,
        rights,
        found: BTreeMap::new(),
    };
    powers.on_the_cluster();
    powers.on_itself();
    powers.on_others();
    powers.on_nodes();
    powers.write(notes);
}

impl Powers<'_> {
    fn put(
        &mut self,
        key: Key,
        action: &'static str,
        on: &'static str,
        targets: &[String],
        allowed: Allowed,
    ) {
        self.found.entry(key).or_default().push(Power {
            action,
            on,
            targets: targets.iter().take(TARGETS).cloned().collect(),
            count: targets.len(),
            allowed,
        });
    }

    fn arn(&self, rest: &str) -> String {
        let cluster = &self.world.cluster;
        format!("arn:{}:iam::{}:{rest}", cluster.partition, cluster.account)
    }

    fn on_the_cluster(&mut self) {
        let cluster = self.world.cluster.arn.clone();
        for action in ON_CLUSTER {
            let target = |_: &Key| vec![cluster.clone()];
            for (key, allowed) in self.rights.who(action, &target, false) {
                self.put(key, action, "cluster", &[], allowed);
            }
        }
        let entries = format!("{}/*", cluster.replacen(":cluster/", ":access-entry/", 1));
        for action in ON_ENTRIES {
            let target = |_: &Key| vec![entries.clone()];
            for (key, mut allowed) in self.rights.who(action, &target, false) {
                if allowed.reach == Reach::Some {
                    join(&mut allowed.conditions, "for some access entries only");
                }
                self.put(key, action, "entries", &[], allowed);
            }
        }
    }

    /// Who can give himself more.
    fn on_itself(&mut self) {
        let rights = self.rights;
        let own = |kind: &'static str| {
            move |key: &Key| -> Vec<String> {
                (key.kind == kind)
                    .then(|| key.arn.clone())
                    .into_iter()
                    .collect()
            }
        };
        let users = self.arn("user/*");
        let account = self.world.cluster.account.clone();
        // Of a group that may, every member may: that is asked of all users.
        let user = |key: &Key| match key.kind {
            "group" => vec![users.clone()],
            _ => own("iam_user")(key),
        };
        let groups = |key: &Key| match key.kind {
            "group" => vec![key.arn.clone()],
            "iam_user" => rights.groups_of(key).cloned().collect(),
            _ => Vec::new(),
        };
        let policies = |key: &Key| rights.own_policies(key, &account);
        let role = own("role");
        let asked: [(&'static str, Targets); 7] = [
            ("iam:PutRolePolicy", &role),
            ("iam:AttachRolePolicy", &role),
            ("iam:PutUserPolicy", &user),
            ("iam:AttachUserPolicy", &user),
            ("iam:PutGroupPolicy", &groups),
            ("iam:AttachGroupPolicy", &groups),
            ("iam:CreatePolicyVersion", &policies),
        ];
        for (action, targets) in asked {
            for (key, allowed) in rights.who(action, targets, false) {
                // A pattern of users need not fit any member of the group.
                let whole = allowed.reach == Reach::All || key.kind != "group";
                if whole {
                    self.put(key, action, "itself", &[], allowed);
                }
            }
        }
    }

    /// Those whom it is worth to become: who has access to the cluster, and who
    /// can give himself access.
    fn worth(&self) -> BTreeSet<Key> {
        let account = &self.world.cluster.account;
        let mut out: BTreeSet<Key> = BTreeSet::new();
        let mapped = self.world.index.mapped().filter(|(_, node)| !node);
        let held = self.world.policies.iter().flat_map(|row| &row.holders);
        let arns = mapped.map(|(arn, _)| arn).chain(held.map(|(h, _)| &h.arn));
        for arn in arns.filter(|arn| arn.account == *account) {
            match arn.kind {
                Kind::Role => {
                    let listed = self.world.roles.get(arn);
                    if let Some(role) = listed.filter(|r| r.status == Status::Listed) {
                        let arn = role.arn.full();
                        out.insert(Key { kind: "role", arn });
                    }
                }
                Kind::User => {
                    let arn = arn.full();
                    out.insert(Key {
                        kind: "iam_user",
                        arn,
                    });
                }
                _ => {}
            }
        }
        for (key, powers) in &self.found {
            let strong =
                |power: &Power| power.on == "itself" || power.action == "eks:AssociateAccessPolicy";
            if !powers.iter().any(strong) {
                continue;
            }
            if key.kind == "group" {
                out.extend(self.rights.members(&key.arn).iter().cloned());
            }
            out.insert(key.clone());
        }
        out
    }

    fn on_others(&mut self) {
        let rights = self.rights;
        let worth = self.worth();
        let of = |kind: &str| -> Vec<String> {
            let keys = worth.iter().filter(|key| key.kind == kind);
            keys.map(|key| key.arn.clone()).take(LOOKED_AT).collect()
        };
        let (roles, users, groups) = (of("role"), of("iam_user"), of("group"));
        for action in ON_ROLES {
            self.over(action, "role/*", "every role", &roles);
        }
        for action in ON_USERS {
            self.over(action, "user/*", "every user", &users);
        }
        // Only a user can be put into a group; a group stands for its members.
        for (key, allowed) in rights.who("iam:AddUserToGroup", &|_: &Key| groups.clone(), false) {
            let can: Vec<String> = groups
                .iter()
                .filter(|group| rights.allowed(&key, "iam:AddUserToGroup", group).is_some())
                .filter(|group| !rights.groups_of(&key).any(|own| own == *group))
                .filter(|group| **group != key.arn)
                .cloned()
                .collect();
            if !can.is_empty() {
                self.put(key, "iam:AddUserToGroup", "these", &can, allowed);
            }
        }
        self.by_service(&roles);
    }

    /// A right over others: all of them, or those of the list that it reaches.
    fn over(&mut self, action: &'static str, all: &str, every: &'static str, worth: &[String]) {
        if worth.is_empty() {
            return;
        }
        let class = self.arn(all);
        for (key, allowed) in self
            .rights
            .who(action, &|_: &Key| vec![class.clone()], false)
        {
            if allowed.reach == Reach::All {
                self.put(key, action, every, worth, allowed);
                continue;
            }
            let mut by: BTreeMap<(String, String), (Allowed, Vec<String>)> = BTreeMap::new();
            for target in worth.iter().filter(|target| **target != key.arn) {
                if let Some(one) = self.rights.allowed(&key, action, target) {
                    by.entry((one.by.clone(), one.conditions.clone()))
                        .or_insert_with(|| (one, Vec::new()))
                        .1
                        .push(target.clone());
                }
            }
            for (allowed, targets) in by.into_values() {
                self.put(key.clone(), action, "these", &targets, allowed);
            }
        }
    }

    /// Who can have a service run something as a role.
    fn by_service(&mut self, roles: &[String]) {
        let rights = self.rights;
        let mut found: BTreeMap<(Key, String, String), (Allowed, Vec<String>)> = BTreeMap::new();
        for role in roles {
            let trust = Arn::parse(role).and_then(|arn| self.world.roles.get(&arn));
            let Some(Ok(trust)) = trust.map(|role| &role.trust) else {
                continue;
            };
            let services = trust.services();
            for (service, start) in STARTS {
                if !services.contains(&service) {
                    continue;
                }
                for (key, mut allowed) in
                    rights.who("iam:PassRole", &|_: &Key| vec![role.clone()], true)
                {
                    let Some(starts) = rights.allowed(&key, start, "*") else {
                        continue;
                    };
                    if key.arn == *role {
                        continue;
                    }
                    join(&mut allowed.conditions, &starts.conditions);
                    join(
                        &mut allowed.conditions,
                        &format!("if {start} starts something of its own as the role"),
                    );
                    let place = (key, allowed.by.clone(), allowed.conditions.clone());
                    let (_, list) = found.entry(place).or_insert((allowed, Vec::new()));
                    list.push(role.clone());
                }
            }
        }
        for ((key, ..), (allowed, targets)) in found {
            self.put(key, "iam:PassRole", "these", &targets, allowed);
        }
    }

    /// Who can enter the machines that are nodes.
    fn on_nodes(&mut self) {
        if !self.world.index.mapped().any(|(_, node)| node) {
            return;
        }
        let cluster = &self.world.cluster;
        let region = cluster.arn.split(':').nth(3).unwrap_or_default();
        let instances = format!(
            "arn:{}:ec2:{region}:{}:instance/*",
            cluster.partition, cluster.account
        );
        for action in ["ssm:StartSession", "ssm:SendCommand"] {
            let target = |_: &Key| vec![instances.clone()];
            for (key, mut allowed) in self.rights.who(action, &target, false) {
                if allowed.reach == Reach::Some {
                    join(&mut allowed.conditions, "on some instances only");
                }
                self.put(key, action, "instances", &[], allowed);
            }
        }
    }

    fn write(self, notes: &mut Notes) {
        let count = self.found.len();
        for (key, powers) in self.found.into_iter().take(PRINCIPALS) {
            // By what allows them: an administrator has all by one statement.
            let mut by: BTreeMap<(String, String), Vec<Value>> = BTreeMap::new();
            for power in powers {
                let mut right = json!({"action": power.action, "on": power.on});
                if power.on == "these" {
                    right["targets"] = power.targets.into();
                    right["count"] = power.count.into();
                }
                let place = (power.allowed.by, power.allowed.conditions);
                by.entry(place).or_default().push(right);
            }
            let mut piece: Vec<Value> = Vec::new();
            let mut size = 0;
            let mut send = |piece: &mut Vec<Value>| {
                notes.evidence(json!({"type": "iam-rights", "kind": key.kind, "principal": key.arn, "rights": std::mem::take(piece)}));
            };
            for ((by, conditions), does) in by {
                for right in does {
                    let one = json!({"by": by, "conditions": conditions, "does": [right]});
                    let length = one.to_string().len();
                    if size + length > PIECE {
                        send(&mut piece);
                        size = 0;
                    }
                    let same = piece.last_mut().filter(|last| {
                        last["by"] == one["by"] && last["conditions"] == one["conditions"]
                    });
                    match same.and_then(|last| last["does"].as_array_mut()) {
                        Some(list) => {
                            let right = one["does"][0].clone();
                            size += right.to_string().len();
                            list.push(right);
                        }
                        None => {
                            size += length;
                            piece.push(one);
                        }
                    }
                }
            }
            if !piece.is_empty() {
                send(&mut piece);
            }
        }
        if count > PRINCIPALS {
            let more = count - PRINCIPALS;
            notes.warn(format!("{more} more principals have rights in IAM that lead into the cluster; the evidence names the first {PRINCIPALS}"));
            notes.evidence(json!({"type": "unread", "source": "rights in IAM", "reason": format!("{more} more principals have some, and only {PRINCIPALS} are kept")}));
        }
    }
}
