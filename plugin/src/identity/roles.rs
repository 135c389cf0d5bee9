//! The IAM roles of this account, and the others that are mentioned.

use std::collections::BTreeMap;

use crate::aws::arn::{Arn, Kind};
use crate::aws::iam::{RoleAnswer, Tag};
use crate::aws::trust::Trust;
use crate::text::{decode, seconds};

/// Where a role is known from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// `ListRoles` returned it.
    Listed,
    /// It is mentioned and belongs to another account.
    External,
    /// It is mentioned, belongs to this account and does not exist.
    Missing,
}

/// A role.
#[derive(Clone, Debug)]
pub struct Role {
    /// Its ARN.
    pub arn: Arn,
    /// `AROA...`; empty if not listed.
    pub id: String,
    /// As IAM writes it; empty if not listed.
    pub created: String,
    /// Where it is known from.
    pub status: Status,
    /// Its trust policy; an error says why it cannot be read.
    pub trust: Result<Trust, String>,
    /// When it was used last, `Some("")` for never; `None` where that was not read.
    pub last_used: Option<String>,
    /// Its tags, where they were read.
    pub tags: Vec<Tag>,
}

/// All roles, by join key.
#[derive(Debug, Default)]
pub struct Roles {
    rows: BTreeMap<String, Role>,
}

impl Roles {
    /// Adds a role of `ListRoles`; `false` if its ARN makes no sense.
    pub fn list(&mut self, answer: RoleAnswer) -> bool {
        let Some(arn) = Arn::parse(&answer.arn).filter(|a| a.kind == Kind::Role) else {
            return false;
        };
        let document = answer.assume_role_policy_document.trim();
        let trust = if document.starts_with('{') {
            Trust::parse(document)
        } else {
            Trust::parse(&decode(document))
        };
        let role = Role {
            id: answer.role_id,
            created: answer.create_date,
            status: Status::Listed,
            trust,
            last_used: answer
                .role_last_used
                .map(|used| used.last_used_date.unwrap_or_default()),
            tags: answer.tags.member,
            arn,
        };
        self.rows.insert(role.arn.key(), role);
        true
    }

    /// Makes sure that a mentioned role has a row. Of two spellings the one with
    /// a path is kept.
    pub fn mention(&mut self, arn: &Arn, account: &str) {
        if arn.kind != Kind::Role {
            return;
        }
        let status = if arn.account == account {
            Status::Missing
        } else {
            Status::External
        };
        let row = self.rows.entry(arn.key()).or_insert_with(|| Role {
            arn: arn.clone(),
            id: String::new(),
            created: String::new(),
            status,
            trust: Ok(Trust::default()),
            last_used: None,
            tags: Vec::new(),
        });
        if row.status != Status::Listed && row.arn.path == "/" && arn.path != "/" {
            row.arn = arn.clone();
        }
    }

    /// The row of a principal.
    pub fn get(&self, arn: &Arn) -> Option<&Role> {
        self.rows.get(&arn.key())
    }

    /// The id under which a role is shown: its ARN with the path, where known.
    pub fn id(&self, arn: &Arn) -> String {
        self.get(arn).map_or_else(|| arn.full(), |r| r.arn.full())
    }

    /// When a listed role was made, in seconds since 1970.
    pub fn created_at(&self, arn: &Arn) -> Option<i64> {
        self.get(arn).and_then(|r| seconds(&r.created))
    }

    /// All roles in a stable order.
    pub fn iter(&self) -> impl Iterator<Item = &Role> {
        self.rows.values()
    }
}
