//! ARNs of principals, and the form in which clusters compare them.

/// An IAM principal's ARN taken apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Principal {
    pub partition: String,
    pub account: String,
    /// `role`, `user`, `root`, `federated-user`.
    pub kind: String,
    /// Path with slashes at both ends.
    pub path: String,
    pub name: String,
}

impl Principal {
    /// Reads an `arn:P:iam::ACCOUNT:{role,user}/...` or `...:root`.
    pub(crate) fn parse(arn: &str) -> Option<Principal> {
        let mut parts = arn.splitn(6, ':');
        let (a, partition, service, _, account, rest) = (
            parts.next()?,
            parts.next()?,
            parts.next()?,
            parts.next()?,
            parts.next()?,
            parts.next()?,
        );
        if a != "arn" || service != "iam" {
            return None;
        }
        if rest == "root" {
            return Some(Principal {
                partition: partition.into(),
                account: account.into(),
                kind: "root".into(),
                path: "/".into(),
                name: "root".into(),
            });
        }
        let (kind, tail) = rest.split_once('/')?;
        if !["role", "user", "federated-user"].contains(&kind) {
            return None;
        }
        let (path, name) = tail
            .rsplit_once('/')
            .map_or(("/".into(), tail), |(p, n)| (format!("/{p}/"), n));
        Some(Principal {
            partition: partition.into(),
            account: account.into(),
            kind: kind.into(),
            path,
            name: name.into(),
        })
    }

    pub(crate) fn arn(&self) -> String {
        if self.kind == "root" {
            return format!("arn:{}:iam::{}:root", self.partition, self.account);
        }
        format!(
            "arn:{}:iam::{}:{}{}{}",
            self.partition, self.account, self.kind, self.path, self.name
        )
    }

    /// What a cluster compares in `aws-auth`: a role without its path, a user with it.
    pub(crate) fn canonical(&self) -> String {
        if self.kind == "role" {
            return format!(
                "arn:{}:iam::{}:role/{}",
                self.partition, self.account, self.name
            );
        }
        self.arn()
    }
}
