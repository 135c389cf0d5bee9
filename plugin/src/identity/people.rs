//! IAM's users and groups, for `identities`: the rows that the AWS connector
//! would make of them, under its ids.

use std::collections::{BTreeMap, BTreeSet};

use crate::aws::arn::Arn;
use crate::aws::iam::{GroupAnswer, UserAnswer};

/// Users and groups of the account, as far as they were read.
#[derive(Debug, Default)]
pub struct People {
    users: BTreeMap<String, UserAnswer>,
    /// ARNs of users by their join keys.
    keys: BTreeMap<String, String>,
    groups: BTreeMap<String, GroupAnswer>,
}

impl People {
    /// Adds what a page has; returns ARNs that make no sense.
    pub fn add(&mut self, users: Vec<UserAnswer>, groups: Vec<GroupAnswer>) -> Vec<String> {
        let mut odd = Vec::new();
        for user in users {
            if arn_of(&user.arn, "user/") {
                if let Some(arn) = Arn::parse(&user.arn) {
                    self.keys.insert(arn.key(), user.arn.clone());
                }
                self.users.insert(user.arn.clone(), user);
            } else {
                odd.push(user.arn);
            }
        }
        for group in groups {
            if arn_of(&group.arn, "group/") {
                self.groups.insert(group.arn.clone(), group);
            } else {
                odd.push(group.arn);
            }
        }
        odd
    }

    /// The user of an ARN, however it is spelt.
    pub fn user(&self, arn: &Arn) -> Option<&UserAnswer> {
        self.users.get(self.keys.get(&arn.key())?)
    }

    /// All users by their ARNs.
    pub fn users(&self) -> impl Iterator<Item = &UserAnswer> {
        self.users.values()
    }

    /// All groups by their ARNs.
    pub fn groups(&self) -> impl Iterator<Item = &GroupAnswer> {
        self.groups.values()
    }

    /// Who is in which group, as ARNs; names of groups are unique in an
    /// account.
    pub fn memberships(&self) -> Vec<(String, String)> {
        let by_name: BTreeMap<&str, &str> = self
            .groups
            .values()
            .map(|group| (group.group_name.as_str(), group.arn.as_str()))
            .collect();
        let members: BTreeSet<(String, String)> = self
            .users
            .values()
            .flat_map(|user| user.group_list.member.iter().map(move |name| (name, user)))
            .filter_map(|(name, user)| {
                let group = by_name.get(name.as_str())?;
                Some(((*group).to_string(), user.arn.clone()))
            })
            .collect();
        members.into_iter().collect()
    }
}

/// `arn:PARTITION:iam::ACCOUNT:KIND...`.
fn arn_of(arn: &str, kind: &str) -> bool {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    matches!(parts.as_slice(), ["arn", _, "iam", "", account, name]
        if account.len() == 12 && name.len() > kind.len() && name.starts_with(kind))
}
