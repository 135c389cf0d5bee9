//! Who is behind the subject of a binding.

use serde_json::Value;

use super::super::facts::{Facts, Mapped};
use super::super::wish::{Iam, Who, Wish};

/// A subject as RBAC understands it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject<'a> {
    /// A user.
    User(&'a str),
    /// A group.
    Group(&'a str),
    /// A service account.
    Account(&'a str, &'a str),
}

impl<'a> Subject<'a> {
    /// Reads the subject of a binding in a namespace.
    pub fn of(value: &'a Value, home: Option<&'a str>) -> Option<Self> {
        let text = |name: &str| value.get(name).and_then(Value::as_str);
        let name = text("name").filter(|name| !name.is_empty())?;
        match text("kind")? {
            "User" => Some(Self::User(name)),
            "Group" => Some(Self::Group(name)),
            "ServiceAccount" => {
                let namespace = text("namespace").filter(|namespace| !namespace.is_empty());
                Some(Self::Account(namespace.or(home)?, name))
            }
            _ => None,
        }
    }
}

/// Whether a name with placeholders can come out as a text. A placeholder
/// stands for anything that a session, an account or an instance can be called:
/// rather one too many than one too few.
fn renders(template: &str, text: &str) -> bool {
    let Some((before, rest)) = template.split_once("{{") else {
        return template == text;
    };
    let Some(text) = text.strip_prefix(before) else {
        return false;
    };
    let after = rest.split_once("}}").map_or("", |(_, after)| after);
    let letter = |b: u8| b.is_ascii_alphanumeric() || b"_+=,.@-".contains(&b);
    let most = text.bytes().take_while(|b| letter(*b)).count();
    (0..=most).any(|at| text.get(at..).is_some_and(|tail| renders(after, tail)))
}

/// Whether a mapping gives its principal the name of a subject.
pub fn gives(mapped: &Mapped, subject: &Subject<'_>) -> bool {
    match subject {
        Subject::User(name) => !mapped.username.is_empty() && renders(&mapped.username, name),
        Subject::Group(name) => mapped.groups.iter().any(|group| renders(group, name)),
        Subject::Account(..) => false,
    }
}

/// Whether a subject is the principal's and nobody else's.
pub fn own(wish: &Wish, facts: &Facts, subject: &Subject<'_>) -> bool {
    match &wish.who {
        Who::Account { namespace, name } => match subject {
            Subject::Account(home, account) => home == namespace && account == name,
            Subject::User(user) => *user == format!("system:serviceaccount:{namespace}:{name}"),
            Subject::Group(_) => false,
        },
        Who::Iam(iam) => *subject == Subject::Group(&iam.own_group()) || alone(iam, facts, subject),
    }
}

/// Whether a name is mapped to the principal, and to nobody else.
fn alone(iam: &Iam, facts: &Facts, subject: &Subject<'_>) -> bool {
    let name = match subject {
        Subject::User(name) | Subject::Group(name) => name,
        Subject::Account(..) => return false,
    };
    // Who is behind those, no mapping says.
    if name.starts_with("system:") {
        return false;
    }
    let Some(others) = &facts.others else {
        return false;
    };
    // A mapped account gives everybody in it their ARN as user name.
    if let (Subject::User(user), ["arn", _, "iam", _, account, ..]) =
        (subject, name.split(':').collect::<Vec<_>>().as_slice())
        && facts.maps_account(account)
        && *user != iam.canonical()
    {
        return false;
    }
    facts.names_of(iam).iter().any(|own| gives(own, subject))
        && !others.iter().any(|other| gives(other, subject))
}

/// Whether a user name is fixed, the principal's and nobody else's: good enough
/// to bind.
pub fn bindable(iam: &Iam, facts: &Facts, name: &str) -> bool {
    // A mapping that does not count now would bind whoever has the name then.
    let fixed = facts.live(iam).is_some_and(|own| own.username == name);
    fixed && !name.contains("{{") && alone(iam, facts, &Subject::User(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_stand_for_any_session() {
        let role = "arn:aws:sts::1:assumed-role/dev/{{SessionName}}";
        assert!(renders(role, "arn:aws:sts::1:assumed-role/dev/alice"));
        assert!(!renders(role, "arn:aws:sts::1:assumed-role/ops/alice"));
        assert!(renders("{{SessionName}}", "anybody"));
        assert!(!renders("{{SessionName}}", "arn:aws:iam::1:user/bob"));
        assert!(renders("a-{{X}}-b-{{Y}}", "a-1-b-2"));
        assert!(!renders("a-{{X}}-b", "a-1-c"));
        assert!(renders("dev", "dev") && !renders("dev", "devs"));
    }
}
