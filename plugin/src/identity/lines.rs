//! Which lines of `aws-auth` count: roles before users, later before earlier,
//! and none whose principal has a live access entry.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::roles::{Roles, Status};
use super::template::INSTANCE;
use super::{Index, UNCLEAR};
use crate::aws::arn::{Arn, Kind};
use crate::aws::eks::Cluster;
use crate::evidence::Notes;
use crate::kubernetes::aws_auth::{AwsAuth, Line};

/// Problems of `aws-auth` that get a warning of their own.
const WARNED: usize = 10;

impl Index {
    pub(super) fn lines(
        &mut self,
        auth: &AwsAuth,
        claimed: &BTreeMap<String, String>,
        cluster: &Cluster,
        roles: &Roles,
        notes: &mut Notes,
    ) {
        for problem in auth.problems.iter().take(WARNED) {
            notes.warn(format!("aws-auth, {}: {}", problem.place, problem.why));
        }
        if auth.problems.len() > WARNED {
            notes.warn(format!(
                "aws-auth has {} such problems; the evidence names them",
                auth.problems.len()
            ));
        }
        for problem in &auth.problems {
            notes.evidence(
                json!({"type": "malformed-line", "mapping": problem.place, "reason": problem.why}),
            );
        }
        let dead = |notes: &mut Notes, kind: &str, line: &Line, reason: String| {
            notes.evidence(json!({"type": kind, "principal": line.arn, "mapping": line.place, "username": line.username, "groups": line.groups, "reason": reason}));
        };
        // Which line wins for each ARN: later before earlier; keys of mapUsers keep
        // their case, so two that differ only in case both stay.
        let mut roles_by_arn: BTreeMap<String, &Line> = BTreeMap::new();
        let mut users_by_arn: BTreeMap<&str, &Line> = BTreeMap::new();
        for line in auth.lines.iter().filter(|l| !l.arn.is_empty()) {
            if line.role_list {
                roles_by_arn.insert(line.arn.to_lowercase(), line);
            } else {
                users_by_arn.insert(&line.arn, line);
            }
        }
        let (mut users_seen, mut rivals) = (BTreeSet::new(), BTreeSet::new());
        for arn in users_by_arn.keys() {
            if !users_seen.insert(arn.to_lowercase()) {
                rivals.insert(arn.to_lowercase());
            }
        }
        let mut kept: Vec<&Line> = Vec::new();
        for line in &auth.lines {
            if line.arn.is_empty() {
                let set = line.sso.as_deref().unwrap_or_default();
                dead(
                    notes,
                    "uncertain-line",
                    line,
                    format!(
                        "`sso` items (permission set {set}) work only where a feature gate of the authenticator is on; it is off by default"
                    ),
                );
                continue;
            }
            let first = roles_by_arn.get(&line.arn.to_lowercase());
            let winner = if line.role_list {
                first
            } else {
                first.or(users_by_arn.get(line.arn.as_str()))
            };
            match winner {
                Some(winner) if !std::ptr::eq(*winner, line) => {
                    dead(
                        notes,
                        "shadowed-line",
                        line,
                        format!("replaced by {}", winner.place),
                    );
                }
                _ => kept.push(line),
            }
        }
        for line in kept {
            let Some(arn) = Arn::parse(&line.arn) else {
                dead(
                    notes,
                    "dead-line",
                    line,
                    "the ARN names no user, role or root that could authenticate".into(),
                );
                continue;
            };
            if arn.partition != cluster.partition {
                dead(
                    notes,
                    "dead-line",
                    line,
                    format!(
                        "a principal of partition {} cannot enter a cluster of partition {}",
                        arn.partition, cluster.partition
                    ),
                );
                continue;
            }
            if arn.kind == Kind::Role && arn.path != "/" {
                dead(
                    notes,
                    "dead-line",
                    line,
                    format!("a role with a path never matches; write {}", arn.pathless()),
                );
                continue;
            }
            if let Some(entry) = claimed.get(&arn.key()) {
                dead(
                    notes,
                    "shadowed-line",
                    line,
                    format!("replaced by the {entry}; returns if the entry is deleted"),
                );
                continue;
            }
            self.mapped.insert(line.arn.to_lowercase());
            let instance = |text: &String| text.contains(INSTANCE);
            if arn.kind != Kind::Role
                && (instance(&line.username) || line.groups.iter().any(instance))
            {
                dead(
                    notes,
                    "dead-line",
                    line,
                    "{{EC2PrivateDNSName}} exists for instances only, so nobody can authenticate"
                        .into(),
                );
                continue;
            }
            let mut doubt = String::new();
            if !line.role_list && rivals.contains(&line.arn.to_lowercase()) {
                doubt = "another line of mapUsers differs only in case; which one wins is random"
                    .into();
                notes.evidence(json!({"type": "ambiguous-line", "principal": line.arn, "mapping": line.place, "reason": doubt}));
            }
            if self.unclear.contains(&arn.key()) {
                doubt = UNCLEAR.into();
            }
            let node = line.username.starts_with("system:node:")
                && line.groups.iter().any(|g| g == "system:nodes");
            if node {
                notes.evidence(
                    json!({"type": "node-mapping", "principal": line.arn, "mapping": line.place}),
                );
            }
            let arn = roles.get(&arn).map_or(arn, |r| r.arn.clone());
            self.put(
                arn,
                "aws-auth",
                line.place.clone(),
                &line.username,
                &line.groups,
                node,
                doubt,
            );
        }
        if !auth.accounts.is_empty() {
            let listed = roles.iter().filter(|r| r.status == Status::Listed);
            self.spelling = listed.map(|r| (r.arn.key(), r.arn.pathless())).collect();
        }
        for account in &auth.accounts {
            if crate::aws::arn::is_account(account) {
                self.accounts.insert(account.clone());
                notes.evidence(json!({"type": "mapped-account", "account": account, "reason": format!("every principal of the account authenticates with its ARN as user name{}", if *account == cluster.account { "" } else { "; it is another account" })}));
            } else {
                notes.evidence(json!({"type": "dead-line", "principal": account, "mapping": "mapAccounts", "reason": "this is no account id"}));
            }
        }
    }
}
