//! Identity policies: whether one allows an action on something.
//!
//! As IAM decides: an explicit `Deny` wins, `NotAction` and `NotResource`
//! invert, actions are compared in any case and resources are not. What cannot
//! be known here makes the answer uncertain and never yes or no: a condition, a
//! policy variable, a pattern that fits a part of what is asked about. Only the
//! statements about actions that matter are kept, so an account's policies take
//! little room.

use serde_json::Value;

use super::trust::{condition_list, conditions, join, strings};
use crate::text::{cut, decode, glob};

/// One policy, as far as it is about actions that matter.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// For people: `policy Deploy`, `inline policy x`.
    pub name: String,
    statements: Vec<Statement>,
}

#[derive(Clone, Debug)]
struct Statement {
    /// Its `Sid`, or its number in the policy from 1 on.
    label: String,
    allow: bool,
    /// In lower case.
    actions: Vec<String>,
    /// `NotAction`.
    not_actions: bool,
    resources: Vec<String>,
    /// `NotResource`.
    not_resources: bool,
    /// In words; empty if there are none.
    conditions: String,
}

/// How much of what was asked about a statement covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// A part of it.
    Some,
    /// All of it.
    All,
}

/// That an action is allowed, and by what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// On how much of what was asked about.
    pub reach: Reach,
    /// `policy Deploy, statement 2`.
    pub by: String,
    /// Why it may not work, in words; empty if nothing that was read is in the way.
    pub conditions: String,
}

/// Who asks: what policy variables stand for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asker<'a> {
    /// `aws:username`, which only a user has.
    pub user: Option<&'a str>,
    /// `aws:PrincipalAccount`.
    pub account: &'a str,
}

impl Policy {
    /// Reads a policy, percent-encoded or not; the error says why it cannot be
    /// read. Statements that are about none of `actions` are left out.
    pub fn parse(name: String, document: &str, actions: &[&str]) -> Result<Policy, String> {
        let text = document.trim();
        let value: Value = if text.starts_with('{') {
            serde_json::from_str(text)
        } else {
            serde_json::from_str(&decode(text))
        }
        .map_err(|e| e.to_string())?;
        let list: Vec<&Value> = match value.get("Statement") {
            Some(Value::Array(list)) => list.iter().collect(),
            Some(one @ Value::Object(_)) => vec![one],
            _ => return Err("it has no Statement".into()),
        };
        let statements = list.into_iter().enumerate();
        Ok(Policy {
            name,
            statements: statements
                .filter_map(|(at, value)| statement(at + 1, value))
                .filter(|s| actions.iter().any(|action| s.covers(action)))
                .collect(),
        })
    }

    /// Whether a statement allows the action on anything.
    pub fn mentions(&self, action: &str) -> bool {
        self.statements.iter().any(|s| s.allow && s.covers(action))
    }
}

fn statement(number: usize, value: &Value) -> Option<Statement> {
    let allow = match value.get("Effect").and_then(Value::as_str)? {
        "Allow" => true,
        "Deny" => false,
        _ => return None,
    };
    let (actions, not_actions) = match (value.get("Action"), value.get("NotAction")) {
        (Some(a), _) => (a, false),
        (None, Some(a)) => (a, true),
        (None, None) => return None,
    };
    let (resources, not_resources) = match (value.get("Resource"), value.get("NotResource")) {
        (Some(r), _) => (r, false),
        (None, Some(r)) => (r, true),
        (None, None) => return None,
    };
    let sid = value.get("Sid").and_then(Value::as_str).unwrap_or_default();
    Some(Statement {
        label: if sid.is_empty() {
            number.to_string()
        } else {
            cut(sid, 100)
        },
        allow,
        actions: strings(actions)
            .iter()
            .map(|a| a.to_ascii_lowercase())
            .collect(),
        not_actions,
        resources: strings(resources),
        not_resources,
        conditions: cut(&conditions(&condition_list(value.get("Condition"))), 400),
    })
}

impl Statement {
    fn covers(&self, action: &str) -> bool {
        let action = action.to_ascii_lowercase();
        self.actions.iter().any(|a| glob(a, &action, true)) != self.not_actions
    }

    /// How much of a target the statement is about.
    fn reach(&self, target: &str, who: Asker) -> Option<Reach> {
        let best = self
            .resources
            .iter()
            .filter_map(|pattern| covers(pattern, target, who))
            .max();
        if !self.not_resources {
            return best;
        }
        match best {
            Some(Reach::All) => None,
            Some(Reach::Some) => Some(Reach::Some),
            None => Some(Reach::All),
        }
    }
}

/// Whether the policies together allow an action on a target: an ARN, or all
/// that fit one with `*`. Each policy comes with whose it is, in words, if it is
/// not the asker's own.
pub fn decide<'a>(
    policies: impl Iterator<Item = (&'a Policy, &'a str)>,
    action: &str,
    target: &str,
    who: Asker,
) -> Option<Allowed> {
    let mut denied = String::new();
    let mut best: Option<Allowed> = None;
    for (policy, of) in policies {
        for s in policy.statements.iter().filter(|s| s.covers(action)) {
            let Some(reach) = s.reach(target, who) else {
                continue;
            };
            if s.allow {
                let found = Allowed {
                    reach,
                    by: label(policy, s, of),
                    conditions: s.conditions.clone(),
                };
                let rank = |a: &Allowed| (a.reach, a.conditions.is_empty());
                if best.as_ref().is_none_or(|known| rank(&found) > rank(known)) {
                    best = Some(found);
                }
                continue;
            }
            match (reach, s.conditions.as_str()) {
                (Reach::All, "") => return None,
                (Reach::All, words) => join(&mut denied, &format!("denied if {words}")),
                (Reach::Some, "") => join(
                    &mut denied,
                    &format!("denied for a part by {}", label(policy, s, of)),
                ),
                (Reach::Some, words) => {
                    join(&mut denied, &format!("denied for a part if {words}"));
                }
            }
        }
    }
    let mut allowed = best?;
    join(&mut allowed.conditions, &denied);
    allowed.conditions = cut(&allowed.conditions, 500);
    Some(allowed)
}

fn label(policy: &Policy, statement: &Statement, of: &str) -> String {
    let of = if of.is_empty() {
        String::new()
    } else {
        format!(" of {of}")
    };
    format!("{}{of}, statement {}", policy.name, statement.label)
}

/// How much of a target a resource pattern covers. The parts of an ARN between
/// colons are compared with each other; a pattern with fewer parts ends in one
/// that stands for all that follow.
fn covers(pattern: &str, target: &str, who: Asker) -> Option<Reach> {
    let (pattern, known) = filled(pattern, who)?;
    let parts: Vec<&str> = pattern.splitn(6, ':').collect();
    let mut all = known;
    let targets = target.splitn(parts.len(), ':');
    if targets.clone().count() < parts.len() && target != "*" {
        return None;
    }
    let targets = targets.chain(std::iter::repeat("*"));
    for (part, target) in parts.into_iter().zip(targets) {
        // A `?` never stands for the target's own `*`.
        let whole = glob(part, target, !target.contains('*'));
        if !whole && !overlap(part, target) {
            return None;
        }
        all &= whole;
    }
    Some(if all { Reach::All } else { Reach::Some })
}

/// A pattern with its policy variables filled in, and whether all are known:
/// one that is not stands for anything. `None` if the asker lacks one, so that
/// the statement is not about it at all.
fn filled(pattern: &str, who: Asker) -> Option<(String, bool)> {
    let mut out = String::new();
    let mut known = true;
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once("${") {
        out.push_str(before);
        let Some((name, tail)) = after.split_once('}') else {
            return Some((format!("{out}${{{after}"), known));
        };
        match name.to_ascii_lowercase().as_str() {
            "aws:username" => out.push_str(who.user?),
            "aws:principalaccount" => out.push_str(who.account),
            "$" => out.push('$'),
            _ => {
                known = false;
                out.push('*');
            }
        }
        rest = tail;
    }
    out.push_str(rest);
    Some((out, known))
}

/// Whether some text fits both patterns.
fn overlap(a: &str, b: &str) -> bool {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    // Whether what is left of `a` and of `b` fits, row by row from the end.
    let mut below: Vec<bool> = Vec::new();
    for i in (0..=a.len()).rev() {
        let mut row = vec![false; b.len() + 1];
        for j in (0..=b.len()).rev() {
            let next = |row: &[bool], at: usize| row.get(at).copied().unwrap_or(false);
            let fits = match (a.get(i), b.get(j)) {
                (None, None) => true,
                (Some('*'), _) => next(&below, j) || next(&row, j + 1),
                (_, Some('*')) => next(&row, j + 1) || next(&below, j),
                (Some(x), Some(y)) => (x == y || *x == '?' || *y == '?') && next(&below, j + 1),
                _ => false,
            };
            if let Some(slot) = row.get_mut(j) {
                *slot = fits;
            }
        }
        below = row;
    }
    below.first().copied().unwrap_or(false)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    const CLUSTER: &str = "arn:aws:eks:eu-west-1:111122223333:cluster/prod";
    const ENTRIES: &str = "arn:aws:eks:eu-west-1:111122223333:access-entry/prod/*";

    fn policy(statements: Value) -> Policy {
        let text = json!({"Version": "2012-10-17", "Statement": statements}).to_string();
        let known = ["eks:CreateAccessEntry", "iam:CreateAccessKey"];
        Policy::parse("policy p".into(), &text, &known).unwrap()
    }

    fn ask(policies: &[Policy], action: &str, target: &str) -> Option<(Reach, String)> {
        let who = Asker {
            user: Some("ada"),
            account: "111122223333",
        };
        let all = policies.iter().map(|p| (p, ""));
        decide(all, action, target, who).map(|a| (a.reach, a.conditions))
    }

    fn create(statements: Value) -> Option<(Reach, String)> {
        ask(&[policy(statements)], "eks:CreateAccessEntry", CLUSTER)
    }

    fn sure() -> Option<(Reach, String)> {
        Some((Reach::All, String::new()))
    }

    #[test]
    fn actions_and_resources_with_wildcards_and_their_opposites() {
        for (action, resource, expected) in [
            (json!("*"), json!("*"), true),
            (
                json!("EKS:create*"),
                json!("arn:aws:eks:*:*:cluster/*"),
                true,
            ),
            (
                json!(["s3:*", "eks:CreateAccessEntr?"]),
                json!(CLUSTER),
                true,
            ),
            (
                json!("eks:CreateAccessEntry"),
                json!("arn:aws:eks:*:*:cluster/dev"),
                false,
            ),
            (
                json!("eks:CreateAccessEntry"),
                json!("arn:aws:eks:*:*:CLUSTER/prod"),
                false,
            ),
            (json!("eks:DeleteAccessEntry"), json!("*"), false),
        ] {
            let one = json!({"Effect": "Allow", "Action": action, "Resource": resource});
            assert_eq!(create(one).is_some(), expected, "{action} {resource}");
        }
        let not = |actions: Value, resources: Value| {
            create(json!([{"Effect": "Allow", "NotAction": actions, "NotResource": resources}]))
        };
        assert_eq!(not(json!("iam:*"), json!("arn:aws:s3:::x")), sure());
        assert_eq!(not(json!("eks:Create*"), json!("arn:aws:s3:::x")), None);
        assert_eq!(
            not(json!("iam:*"), json!("arn:aws:eks:*:*:cluster/p*")),
            None
        );
    }

    #[test]
    fn a_deny_wins_and_a_condition_makes_it_uncertain() {
        let allow = json!({"Effect": "Allow", "Action": "*", "Resource": "*"});
        let deny = |more: Value| {
            let mut one = json!({"Effect": "Deny", "Action": "eks:*", "Resource": "*"});
            one.as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            create(json!([allow, one]))
        };
        assert_eq!(deny(json!({})), None);
        assert_eq!(
            deny(json!({"Resource": "arn:aws:eks:*:*:cluster/dev"})),
            sure()
        );
        let mfa = json!({"Condition": {"BoolIfExists": {"aws:MultiFactorAuthPresent": "false"}}});
        let (_, words) = deny(mfa.clone()).unwrap();
        assert!(words.starts_with("denied if without MFA"), "{words}");
        let mut one = json!({"Effect": "Allow", "Action": "eks:*", "Resource": "*"});
        one["Condition"] = json!({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}});
        let (_, words) = create(json!([one])).unwrap();
        assert!(words.starts_with("from addresses 10.0.0.0/8"), "{words}");
        // An allowance without a condition counts more than one with.
        assert_eq!(create(json!([one, allow])), sure());
    }

    #[test]
    fn a_part_of_what_is_asked_about() {
        let on = |resource: &str| {
            let one = json!({"Effect": "Allow", "Action": "eks:*", "Resource": resource});
            ask(&[policy(one)], "eks:CreateAccessEntry", ENTRIES).map(|(reach, _)| reach)
        };
        assert_eq!(on("*"), Some(Reach::All));
        assert_eq!(on("arn:aws:eks:*:*:access-entry/prod/*"), Some(Reach::All));
        assert_eq!(
            on("arn:aws:eks:*:*:access-entry/*/role/*"),
            Some(Reach::Some)
        );
        assert_eq!(on("arn:aws:eks:*:*:access-entry/????/*"), Some(Reach::Some));
        assert_eq!(on("arn:aws:eks:*:*:access-entry/dev/*"), None);
        assert_eq!(on(CLUSTER), None);
    }

    #[test]
    fn variables_stand_for_who_asks() {
        let own = policy(json!({"Effect": "Allow", "Action": "iam:CreateAccessKey",
            "Resource": "arn:aws:iam::${aws:PrincipalAccount}:user/${aws:username}"}));
        let on = |name: &str| {
            let target = format!("arn:aws:iam::111122223333:user/{name}");
            ask(std::slice::from_ref(&own), "iam:CreateAccessKey", &target)
        };
        assert_eq!(on("ada"), sure());
        assert_eq!(on("bob"), None);
        let target = "arn:aws:iam::111122223333:user/bob";
        let all = std::iter::once((&own, ""));
        let role = Asker {
            user: None,
            account: "111122223333",
        };
        assert_eq!(decide(all, "iam:CreateAccessKey", target, role), None);
        let tagged = policy(json!({"Effect": "Allow", "Action": "iam:*",
            "Resource": "arn:aws:iam::*:user/${aws:PrincipalTag/team}"}));
        let found = ask(&[tagged], "iam:CreateAccessKey", target);
        assert_eq!(found, Some((Reach::Some, String::new())));
    }

    #[test]
    fn what_is_kept_and_what_cannot_be_read() {
        let kept = policy(json!([
            {"Sid": "Buckets", "Effect": "Allow", "Action": "s3:*", "Resource": "*"},
            {"Effect": "Allow", "Action": "eks:*", "Resource": "*"},
            {"Effect": "Perhaps", "Action": "*", "Resource": "*"},
            {"Effect": "Allow", "Action": "*"},
        ]));
        assert_eq!(kept.statements.len(), 1);
        assert!(kept.mentions("eks:CreateAccessEntry") && !kept.mentions("iam:CreateAccessKey"));
        let all = std::iter::once((&kept, "group ops"));
        let found = decide(all, "eks:CreateAccessEntry", CLUSTER, Asker::default()).unwrap();
        assert_eq!(found.by, "policy p of group ops, statement 2");
        for odd in ["", "{", "{}", "%7B", "[]"] {
            assert!(Policy::parse("p".into(), odd, &[]).is_err(), "{odd}");
        }
        let encoded = "%7B%22Statement%22%3A%7B%7D%7D";
        assert!(Policy::parse("p".into(), encoded, &[]).is_ok());
    }

    #[test]
    fn patterns_that_share_a_text() {
        for (a, b, expected) in [
            ("a*c", "ab*", true),
            ("a*", "*b", true),
            ("a?c", "abc", true),
            ("", "*", true),
            ("a*", "b*", false),
            ("a", "", false),
            ("*x", "*y", false),
            ("a*b*c", "a?c", true),
        ] {
            assert_eq!(overlap(a, b), expected, "{a} {b}");
            assert_eq!(overlap(b, a), expected, "{b} {a}");
        }
    }
}
