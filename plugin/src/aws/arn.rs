//! IAM and STS ARNs in every partition.
//!
//! One principal has several spellings: access entries keep a role's path,
//! `aws-auth` and STS drop it. What two spellings have in common is partition,
//! account, kind and name (names are unique in an account whatever the path and
//! case), so that is the key on which everything is joined.

/// What an ARN names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// An IAM user.
    User,
    /// An IAM role.
    Role,
    /// The account's root.
    Root,
    /// A federated user (`sts`).
    Federated,
}

/// A principal's ARN, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arn {
    /// `aws`, `aws-cn`, `aws-us-gov`, ...
    pub partition: String,
    /// Twelve digits.
    pub account: String,
    /// What it names.
    pub kind: Kind,
    /// Begins and ends with `/`; `/` where there is none.
    pub path: String,
    /// Without the path; empty for root.
    pub name: String,
}

impl Arn {
    /// Reads `arn:P:iam::A:user|role/PATH/NAME`, `arn:P:iam::A:root` and
    /// `arn:P:sts::A:federated-user/NAME`; `None` for everything else.
    pub fn parse(text: &str) -> Option<Arn> {
        let mut parts = text.splitn(6, ':');
        let (head, partition, service, region) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let (account, resource) = (parts.next()?, parts.next()?);
        let service = service.to_ascii_lowercase();
        if !head.eq_ignore_ascii_case("arn")
            || !partition.to_ascii_lowercase().starts_with("aws")
            || !region.is_empty()
            || !is_account(account)
        {
            return None;
        }
        let arn = |kind, path: &str, name: &str| {
            Some(Arn {
                partition: partition.to_ascii_lowercase(),
                account: account.to_string(),
                kind,
                path: path.to_string(),
                name: name.to_string(),
            })
        };
        if service == "iam" && resource.eq_ignore_ascii_case("root") {
            return arn(Kind::Root, "/", "");
        }
        let slash = resource.find('/')?;
        let (what, rest) = (
            resource.get(..slash)?.to_ascii_lowercase(),
            resource.get(slash..)?,
        );
        let end = rest.rfind('/')? + 1;
        let (path, name) = (rest.get(..end)?, rest.get(end..)?);
        if name.is_empty() {
            return None;
        }
        match (service.as_str(), what.as_str()) {
            ("iam", "user") => arn(Kind::User, path, name),
            ("iam", "role") => arn(Kind::Role, path, name),
            ("sts", "federated-user") if path == "/" => arn(Kind::Federated, path, name),
            _ => None,
        }
    }

    /// Reads `arn:P:sts::A:assumed-role/ROLE/SESSION` as the role and the session.
    pub fn parse_session(text: &str) -> Option<(Arn, String)> {
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        let (partition, account) = (parts.get(1)?, parts.get(4)?);
        let rest = parts.get(5)?.strip_prefix("assumed-role/")?;
        let (role, session) = rest.split_once('/')?;
        if parts.get(2) != Some(&"sts") || role.is_empty() || session.is_empty() {
            return None;
        }
        Some((
            Arn::parse(&format!("arn:{partition}:iam::{account}:role/{role}"))?,
            session.to_string(),
        ))
    }

    /// The join key: partition, account, kind and name in one case.
    pub fn key(&self) -> String {
        let kind = match self.kind {
            Kind::User => "user",
            Kind::Role => "role",
            Kind::Root => "root",
            Kind::Federated => "federated-user",
        };
        format!(
            "{}|{}|{kind}|{}",
            self.partition,
            self.account,
            self.name.to_lowercase()
        )
    }

    /// The ARN as text, with its path.
    pub fn full(&self) -> String {
        let Arn {
            partition,
            account,
            path,
            name,
            ..
        } = self;
        match self.kind {
            Kind::User => format!("arn:{partition}:iam::{account}:user{path}{name}"),
            Kind::Role => format!("arn:{partition}:iam::{account}:role{path}{name}"),
            Kind::Root => format!("arn:{partition}:iam::{account}:root"),
            Kind::Federated => format!("arn:{partition}:sts::{account}:federated-user/{name}"),
        }
    }

    /// The ARN of a role or user without its path.
    pub fn pathless(&self) -> String {
        Arn {
            path: "/".into(),
            ..self.clone()
        }
        .full()
    }

    /// The permission set of a role that Identity Center made
    /// (`AWSReservedSSO_<permission set>_<16 hex>`; the set's name may hold `_`).
    pub fn permission_set(&self) -> Option<&str> {
        let (set, hash) = self
            .name
            .strip_prefix("AWSReservedSSO_")?
            .rsplit_once('_')?;
        let fits = self.kind == Kind::Role && !set.is_empty() && hash.len() == 16;
        (fits && hash.bytes().all(|b| b.is_ascii_hexdigit())).then_some(set)
    }
}

/// Whether `text` is an account id.
pub fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn arns_of_all_partitions_and_spellings_join() {
        for partition in [
            "aws",
            "aws-cn",
            "aws-us-gov",
            "aws-iso",
            "aws-iso-b",
            "aws-eusc",
        ] {
            let with = Arn::parse(&format!(
                "arn:{partition}:iam::111122223333:role/team/x/Dev"
            ))
            .unwrap();
            let without =
                Arn::parse(&format!("arn:{partition}:iam::111122223333:role/dev")).unwrap();
            assert_eq!(with.key(), without.key());
            assert_eq!(
                (with.path.as_str(), with.name.as_str()),
                ("/team/x/", "Dev")
            );
            assert_eq!(
                with.full(),
                format!("arn:{partition}:iam::111122223333:role/team/x/Dev")
            );
            assert_eq!(
                with.pathless(),
                format!("arn:{partition}:iam::111122223333:role/Dev")
            );
        }
        assert_eq!(
            Arn::parse("arn:aws:iam::111122223333:root").unwrap().kind,
            Kind::Root
        );
        assert_eq!(
            Arn::parse("arn:aws:sts::111122223333:federated-user/bob")
                .unwrap()
                .kind,
            Kind::Federated
        );
        for odd in [
            "",
            "arn",
            "arn:aws:iam::1:role/x",
            "arn:aws:iam::111122223333:role/",
            "arn:aws:iam::111122223333:group/x",
            "arn:aws:s3:::bucket",
            "arn:aws:sts::111122223333:assumed-role/r/s",
            "AROAEXAMPLE",
            "arn:aws:iam::111122223333:",
        ] {
            assert_eq!(Arn::parse(odd), None, "{odd}");
        }
        let (role, session) =
            Arn::parse_session("arn:aws:sts::111122223333:assumed-role/r/s@x").unwrap();
        assert_eq!(
            (role.full().as_str(), session.as_str()),
            ("arn:aws:iam::111122223333:role/r", "s@x")
        );
    }

    #[test]
    fn permission_sets_may_hold_underscores() {
        let arn = |name: &str| {
            Arn::parse(&format!(
                "arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/{name}"
            ))
            .unwrap()
        };
        assert_eq!(
            arn("AWSReservedSSO_Power_User_0123456789abcdef").permission_set(),
            Some("Power_User")
        );
        assert_eq!(arn("AWSReservedSSO_x").permission_set(), None);
        assert_eq!(arn("AWSReservedSSO_x_123").permission_set(), None);
    }
}
