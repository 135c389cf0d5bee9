//! User names and groups with placeholders.
//!
//! `{{AccountID}}` is known; the others depend on the session that somebody
//! chooses, so a template with them is a pattern. Matching is by position sets,
//! linear in template times name, because both come from outside.

use crate::aws::arn::{Arn, Kind};

/// A user name or group as a mapping gives it, placeholders resolved where they can be.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    pieces: Vec<Piece>,
    instances: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Piece {
    Text(String),
    /// A run of session characters; `raw` allows `@` too.
    Session {
        raw: bool,
    },
}

/// The placeholder that only a session of an EC2 instance can fill.
pub const INSTANCE: &str = "{{EC2PrivateDNSName}}";

const PLACEHOLDERS: [(&str, Option<bool>); 5] = [
    ("{{AccountID}}", None),
    ("{{SessionNameRaw}}", Some(true)),
    ("{{SessionName}}", Some(false)),
    ("{{AccessKeyID}}", Some(false)),
    (INSTANCE, Some(false)),
];

impl Template {
    /// Resolves what is known about the principal. A user has no session name; a
    /// federated user's is its own name.
    pub fn new(text: &str, arn: &Arn) -> Template {
        let mut pieces: Vec<Piece> = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while !rest.is_empty() {
            let found = PLACEHOLDERS.iter().find_map(|(name, session)| {
                rest.strip_prefix(name).map(|tail| (*name, *session, tail))
            });
            match found {
                Some((_, None, tail)) => {
                    plain.push_str(&arn.account);
                    rest = tail;
                }
                Some((name, Some(raw), tail)) => {
                    if arn.kind == Kind::Role || name == "{{AccessKeyID}}" {
                        if !plain.is_empty() {
                            pieces.push(Piece::Text(std::mem::take(&mut plain)));
                        }
                        pieces.push(Piece::Session { raw });
                    } else if arn.kind == Kind::Federated {
                        let name = &arn.name;
                        plain.push_str(&if raw {
                            name.clone()
                        } else {
                            name.replace('@', "-")
                        });
                    }
                    rest = tail;
                }
                None => {
                    let mut chars = rest.chars();
                    plain.extend(chars.next());
                    rest = chars.as_str();
                }
            }
        }
        if !plain.is_empty() || pieces.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Template {
            pieces,
            instances: false,
        }
    }

    /// Of a mapping that only sessions of EC2 instances can use: their names begin
    /// with `i-`.
    pub fn of_instances(mut self, yes: bool, text: &str) -> Template {
        self.instances = yes && !text.contains(INSTANCE);
        self
    }

    /// The name, if it does not depend on a session.
    pub fn fixed(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Whether it is or can render to `name`.
    pub fn covers(&self, name: &str) -> bool {
        match self.fixed() {
            Some(text) => text == name,
            None => self.session(name).is_some(),
        }
    }

    /// What every match begins with.
    pub fn prefix(&self) -> &str {
        match self.pieces.first() {
            Some(Piece::Text(text)) => text,
            _ => "",
        }
    }

    /// The session that renders to `name`: the part that the placeholder stands
    /// for, or the whole name where there are several.
    pub fn session(&self, name: &str) -> Option<String> {
        let bytes = name.as_bytes();
        let mut here = vec![false; bytes.len() + 1];
        if let Some(start) = here.first_mut() {
            *start = true;
        }
        for piece in &self.pieces {
            let mut next = vec![false; bytes.len() + 1];
            match piece {
                Piece::Text(text) => {
                    for (at, _) in here.iter().enumerate().filter(|(_, on)| **on) {
                        if bytes
                            .get(at..)
                            .is_some_and(|tail| tail.starts_with(text.as_bytes()))
                            && let Some(slot) = next.get_mut(at + text.len())
                        {
                            *slot = true;
                        }
                    }
                }
                Piece::Session { raw } => {
                    let mut open = false;
                    for (at, byte) in bytes.iter().enumerate() {
                        open = (open || here.get(at) == Some(&true)) && session_byte(*byte, *raw);
                        if let (true, Some(slot)) = (open, next.get_mut(at + 1)) {
                            *slot = true;
                        }
                    }
                }
            }
            here = next;
        }
        if here.last() != Some(&true) {
            return None;
        }
        let suffix = match self.pieces.last() {
            Some(Piece::Text(text)) => text.as_str(),
            _ => "",
        };
        let placeholders = self
            .pieces
            .iter()
            .filter(|p| matches!(p, Piece::Session { .. }))
            .count();
        let middle = name
            .strip_prefix(self.prefix())
            .and_then(|n| n.strip_suffix(suffix));
        let session = if placeholders == 1 {
            middle.unwrap_or(name)
        } else {
            name
        };
        (!self.instances || placeholders > 1 || session.starts_with("i-"))
            .then(|| session.to_string())
    }
}

/// Whether a name with placeholders might come out as `text`, whatever session and
/// principal fill them: rather one too many than one too few.
pub fn might_be(template: &str, text: &str) -> bool {
    let Some((before, rest)) = template.split_once("{{") else {
        return template == text;
    };
    let Some(text) = text.strip_prefix(before) else {
        return false;
    };
    let after = rest.split_once("}}").map_or("", |(_, after)| after);
    let most = text.bytes().take_while(|b| session_byte(*b, true)).count();
    (0..=most).any(|at| text.get(at..).is_some_and(|tail| might_be(after, tail)))
}

fn session_byte(byte: u8, raw: bool) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'_' | b'+' | b'=' | b',' | b'.' | b'-')
        || (raw && byte == b'@')
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_placeholder_might_be_any_session() {
        assert!(might_be("dev:{{SessionName}}", "dev:al@x") && might_be("{{A}}-{{B}}", "x-y"));
        assert!(might_be("plain", "plain") && !might_be("plain", "plainer"));
        assert!(!might_be("{{SessionName}}", "arn:aws:iam::1:user/bob"));
        assert!(!might_be("dev:{{SessionName}}", "ops:al"));
    }

    #[test]
    fn templates_resolve_and_match() {
        let role = Arn::parse("arn:aws:iam::111122223333:role/dev").unwrap();
        let user = Arn::parse("arn:aws:iam::111122223333:user/bob").unwrap();
        assert_eq!(
            Template::new("acct-{{AccountID}}", &role).fixed(),
            Some("acct-111122223333")
        );
        let t = Template::new("dev:{{SessionName}}", &role);
        assert_eq!(t.session("dev:alice").as_deref(), Some("alice"));
        assert_eq!(t.session("dev:al@x"), None);
        assert_eq!(t.session("dev:"), None);
        assert_eq!(
            Template::new("d:{{SessionNameRaw}}", &role)
                .session("d:a@x")
                .as_deref(),
            Some("a@x")
        );
        assert_eq!(
            Template::new("u:{{SessionName}}", &user).fixed(),
            Some("u:")
        );
        assert_eq!(
            Template::new("{{Unknown}}", &role).fixed(),
            Some("{{Unknown}}")
        );
        let hostile = Template::new(&"{{SessionName}}".repeat(200), &role);
        assert!(
            hostile.session(&"a".repeat(1000)).is_some()
                && hostile.session(&format!("{}!", "a".repeat(1000))).is_none()
        );
    }
}
