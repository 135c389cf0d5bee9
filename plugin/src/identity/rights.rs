//! Who is allowed what by IAM's policies: those of users, of their groups and of
//! roles, within their permissions boundaries. Service control policies and
//! what a session leaves of its role's rights are not read.

use std::collections::{BTreeMap, BTreeSet};

use crate::aws::iam::{
    AttachedPolicy, GroupAnswer, InlinePolicy, ManagedPolicy, RoleAnswer, UserAnswer,
};
use crate::aws::policy::{Allowed, Asker, Policy, decide};
use crate::aws::trust::join;
use crate::text::cut;

/// The actions that are looked at; statements about others are not kept.
pub const ACTIONS: &[&str] = &[
    "eks:CreateAccessEntry",
    "eks:UpdateAccessEntry",
    "eks:AssociateAccessPolicy",
    "eks:UpdateClusterConfig",
    "eks:AssociateIdentityProviderConfig",
    "eks:CreatePodIdentityAssociation",
    "iam:UpdateAssumeRolePolicy",
    "iam:PutRolePolicy",
    "iam:AttachRolePolicy",
    "iam:PutUserPolicy",
    "iam:AttachUserPolicy",
    "iam:PutGroupPolicy",
    "iam:AttachGroupPolicy",
    "iam:AddUserToGroup",
    "iam:CreatePolicyVersion",
    "iam:CreateAccessKey",
    "iam:CreateLoginProfile",
    "iam:UpdateLoginProfile",
    "iam:PassRole",
    "sts:AssumeRole",
    "ssm:StartSession",
    "ssm:SendCommand",
    "ec2:RunInstances",
    "lambda:CreateFunction",
    "ecs:RunTask",
    "codebuild:CreateProject",
    "glue:CreateJob",
    "cloudformation:CreateStack",
    "sagemaker:CreateNotebookInstance",
];

/// A user, group or role.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// `group`, `iam_user` or `role`.
    pub kind: &'static str,
    /// Its ARN with its path.
    pub arn: String,
}

#[derive(Debug, Default)]
struct Holder {
    name: String,
    inline: Vec<Policy>,
    attached: Vec<String>,
    boundary: Option<String>,
    /// Names of groups, of a user.
    groups: Vec<String>,
}

/// The policies of an account, by whom they are for.
#[derive(Debug, Default)]
pub struct Rights {
    holders: BTreeMap<Key, Holder>,
    managed: BTreeMap<String, Policy>,
    /// ARNs of groups by their names, which are unique in an account.
    groups: BTreeMap<String, String>,
    /// Members of groups by the groups' ARNs.
    members: BTreeMap<String, Vec<Key>>,
    /// Who may be allowed an action by some statement.
    candidates: BTreeMap<&'static str, Vec<Key>>,
    /// Policies that could not be read, and why.
    broken: BTreeMap<String, String>,
}

fn attached(list: &mut Vec<AttachedPolicy>) -> Vec<String> {
    let taken = std::mem::take(list).into_iter();
    taken.map(|policy| policy.policy_arn).collect()
}

fn boundary(answer: Option<crate::aws::iam::Boundary>) -> Option<String> {
    let arn = answer?.permissions_boundary_arn;
    (!arn.is_empty()).then_some(arn)
}

fn last(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or(arn)
}

impl Rights {
    /// Takes a user's policies out of its answer.
    pub fn user(&mut self, answer: &mut UserAnswer) {
        let inline = self.inline(&answer.arn, &mut answer.user_policy_list.member);
        let holder = Holder {
            name: answer.user_name.clone(),
            inline,
            attached: attached(&mut answer.attached_managed_policies.member),
            boundary: boundary(answer.permissions_boundary.take()),
            groups: answer.group_list.member.clone(),
        };
        self.put("iam_user", &answer.arn, holder);
    }

    /// The same of a group.
    pub fn group(&mut self, answer: &mut GroupAnswer) {
        let inline = self.inline(&answer.arn, &mut answer.group_policy_list.member);
        let holder = Holder {
            name: answer.group_name.clone(),
            inline,
            attached: attached(&mut answer.attached_managed_policies.member),
            ..Holder::default()
        };
        self.groups
            .insert(answer.group_name.clone(), answer.arn.clone());
        self.put("group", &answer.arn, holder);
    }

    /// The same of a role. Only its service assumes a service-linked role, so
    /// nobody gains by what that one may do.
    pub fn role(&mut self, answer: &mut RoleAnswer) {
        let inline = self.inline(&answer.arn, &mut answer.role_policy_list.member);
        let holder = Holder {
            name: answer.role_name.clone(),
            inline,
            attached: attached(&mut answer.attached_managed_policies.member),
            boundary: boundary(answer.permissions_boundary.take()),
            groups: Vec::new(),
        };
        if !answer.path.starts_with("/aws-service-role/") {
            self.put("role", &answer.arn, holder);
        }
    }

    /// Keeps what a managed policy says in its version that counts.
    pub fn managed(&mut self, answer: ManagedPolicy) {
        let versions = answer.policy_version_list.member;
        let counts = versions
            .iter()
            .find(|v| v.is_default_version || v.version_id == answer.default_version_id);
        let owner = if answer.arn.contains(":iam::aws:") {
            "AWS policy"
        } else {
            "policy"
        };
        let name = format!("{owner} {}", cut(&answer.policy_name, 130));
        let document = counts.map_or("", |version| version.document.as_str());
        let policy = self.parse(&answer.arn, name, document);
        self.managed.insert(answer.arn, policy);
    }

    fn put(&mut self, kind: &'static str, arn: &str, holder: Holder) {
        let arn = arn.to_string();
        self.holders.insert(Key { kind, arn }, holder);
    }

    fn inline(&mut self, of: &str, list: &mut Vec<InlinePolicy>) -> Vec<Policy> {
        let mut out = Vec::new();
        for policy in std::mem::take(list) {
            let name = format!("inline policy {}", cut(&policy.policy_name, 130));
            let place = format!("{name} of {of}");
            out.push(self.parse(&place, name, &policy.policy_document));
        }
        out
    }

    fn parse(&mut self, place: &str, name: String, document: &str) -> Policy {
        match Policy::parse(name, document, ACTIONS) {
            Ok(policy) => policy,
            Err(why) => {
                self.broken.insert(place.to_string(), why);
                Policy::default()
            }
        }
    }

    /// After the last page.
    pub fn finish(&mut self) {
        let mut candidates: BTreeMap<&'static str, Vec<Key>> = BTreeMap::new();
        for action in ACTIONS {
            let keys = self
                .holders
                .keys()
                .filter(|key| self.policies(key).any(|(p, _)| p.mentions(action)));
            candidates.insert(action, keys.cloned().collect());
        }
        self.candidates = candidates;
        let mut members: BTreeMap<String, Vec<Key>> = BTreeMap::new();
        for key in self.holders.keys().filter(|key| key.kind == "iam_user") {
            for group in self.groups_of(key) {
                members.entry(group.clone()).or_default().push(key.clone());
            }
        }
        self.members = members;
    }

    /// Policies of which something may depend that was not read, in words.
    pub fn unread(&self) -> Vec<String> {
        let mut out: Vec<String> = self
            .broken
            .iter()
            .map(|(place, why)| format!("{place}: {}", cut(why, 200)))
            .collect();
        let named: BTreeSet<&String> = self
            .holders
            .values()
            .flat_map(|holder| holder.attached.iter().chain(&holder.boundary))
            .filter(|arn| !self.managed.contains_key(*arn))
            .collect();
        out.extend(
            named
                .into_iter()
                .map(|arn| format!("{arn}: IAM did not list it")),
        );
        out
    }

    /// Whether anybody may be allowed the action.
    pub fn candidates(&self, action: &str) -> &[Key] {
        self.candidates.get(action).map_or(&[], Vec::as_slice)
    }

    /// The groups of a user.
    pub fn groups_of(&self, key: &Key) -> impl Iterator<Item = &String> {
        let holder = self.holders.get(key);
        let names = holder.into_iter().flat_map(|holder| &holder.groups);
        names.filter_map(|name| self.groups.get(name))
    }

    /// The members of a group.
    pub fn members(&self, group: &str) -> &[Key] {
        self.members.get(group).map_or(&[], Vec::as_slice)
    }

    /// The managed policies of the account itself that somebody has, its
    /// groups' included: what they say can be changed.
    pub fn own_policies(&self, key: &Key, account: &str) -> Vec<String> {
        let own = format!(":iam::{account}:policy/");
        let holders = std::iter::once(key.clone()).chain(self.groups_of(key).map(|arn| Key {
            kind: "group",
            arn: arn.clone(),
        }));
        holders
            .filter_map(|key| self.holders.get(&key))
            .flat_map(|holder| &holder.attached)
            .filter(|arn| arn.contains(&own))
            .cloned()
            .collect()
    }

    fn policies<'a>(&'a self, key: &Key) -> impl Iterator<Item = (&'a Policy, String)> {
        let of = |holder: &'a Holder, label: String| {
            let managed = holder
                .attached
                .iter()
                .filter_map(|arn| self.managed.get(arn));
            let all = holder.inline.iter().chain(managed);
            all.map(move |policy| (policy, label.clone()))
        };
        let own = self.holders.get(key);
        let groups: Vec<&'a Holder> = own
            .into_iter()
            .flat_map(|holder| &holder.groups)
            .filter_map(|name| {
                let arn = self.groups.get(name)?.clone();
                self.holders.get(&Key { kind: "group", arn })
            })
            .collect();
        own.into_iter()
            .flat_map(move |holder| of(holder, String::new()))
            .chain(
                groups
                    .into_iter()
                    .flat_map(move |holder| of(holder, format!("group {}", holder.name))),
            )
    }

    /// Whether somebody is allowed an action on a target, by own policies and
    /// those of groups, within the permissions boundary.
    pub fn allowed(&self, key: &Key, action: &str, target: &str) -> Option<Allowed> {
        let holder = self.holders.get(key)?;
        let account = key.arn.split(':').nth(4).unwrap_or_default();
        let who = Asker {
            user: (key.kind == "iam_user").then_some(holder.name.as_str()),
            account,
        };
        let policies: Vec<(&Policy, String)> = self.policies(key).collect();
        let policies = policies.iter().map(|(policy, of)| (*policy, of.as_str()));
        let mut found = decide(policies, action, target, who)?;
        let Some(arn) = &holder.boundary else {
            return Some(found);
        };
        let Some(boundary) = self.managed.get(arn) else {
            join(
                &mut found.conditions,
                &format!("the permissions boundary {} was not read", last(arn)),
            );
            return Some(found);
        };
        let within = decide(std::iter::once((boundary, "")), action, target, who)?;
        found.reach = found.reach.min(within.reach);
        if !within.conditions.is_empty() {
            join(
                &mut found.conditions,
                &format!("permissions boundary {}: {}", last(arn), within.conditions),
            );
        }
        Some(found)
    }

    /// Everybody who is allowed an action on one of the targets that belong to
    /// it. A group stands for its members where it has the right and they all
    /// have no less; a member with more, or any if a group's members differ, is
    /// listed for itself. With `apart` no group stands for anybody.
    pub fn who(
        &self,
        action: &str,
        targets: &dyn Fn(&Key) -> Vec<String>,
        apart: bool,
    ) -> Vec<(Key, Allowed)> {
        let verdict = |key: &Key| -> Option<Allowed> {
            let found = targets(key)
                .into_iter()
                .filter_map(|target| self.allowed(key, action, &target));
            found.max_by_key(|a| (a.reach, a.conditions.is_empty()))
        };
        let verdicts: BTreeMap<&Key, Option<Allowed>> = self
            .candidates(action)
            .iter()
            .map(|key| (key, verdict(key)))
            .collect();
        let mut out: Vec<(Key, Allowed)> = Vec::new();
        let mut covered: BTreeSet<&Key> = BTreeSet::new();
        for (group, allowed) in &verdicts {
            let (Some(allowed), "group", false) = (allowed, group.kind, apart) else {
                continue;
            };
            let members: Vec<&Key> = self.members(&group.arn).iter().collect();
            let no_less = |key: &&Key| {
                let own = verdicts.get(*key).and_then(Option::as_ref);
                own.is_some_and(|own| {
                    own.reach >= allowed.reach
                        && (own.conditions.is_empty() || own.conditions == allowed.conditions)
                })
            };
            if !members.iter().all(no_less) {
                continue;
            }
            let same = |key: &&Key| {
                let own = verdicts.get(*key).and_then(Option::as_ref);
                own.is_some_and(|own| {
                    own.reach == allowed.reach && own.conditions == allowed.conditions
                })
            };
            covered.extend(members.into_iter().filter(same));
            out.push(((*group).clone(), allowed.clone()));
        }
        for (key, allowed) in verdicts {
            if let Some(allowed) = allowed
                && key.kind != "group"
                && !covered.contains(key)
            {
                out.push((key.clone(), allowed));
            }
        }
        out.sort_by(|a, b| a.0.cmp(&b.0));
        out
    }
}
