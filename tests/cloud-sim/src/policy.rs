//! Policy documents: trust policies and session policies, decided as IAM does.
//!
//! A subset: Allow/Deny, (Not)Action, (Not)Resource, Principal, and the string
//! and ARN condition operators. An operator that is not known makes an Allow
//! not match and a Deny match, so that an unread condition never widens access.

use serde_json::{Map, Value};

use crate::arn::Principal;
use crate::text::glob;

/// Keys and values that conditions are compared with; a key of several values
/// stands several times.
pub(crate) type Context<'a> = [(&'a str, String)];

/// Checks a session policy's text.
///
/// # Errors
/// The sentence STS answers with `MalformedPolicyDocument`.
pub(crate) fn parse_session_policy(text: &str) -> Result<Value, String> {
    let document: Value =
        serde_json::from_str(text).map_err(|_| "Syntax errors in policy.".to_owned())?;
    match document.get("Version").and_then(Value::as_str) {
        Some("2012-10-17" | "2008-10-17") => {}
        _ => return Err("The policy must contain a valid version string".into()),
    }
    let statements = statements(&document);
    if statements.is_empty() {
        return Err("Syntax errors in policy.".into());
    }
    for statement in &statements {
        let has = |a: &str, b: &str| statement.contains_key(a) != statement.contains_key(b);
        if !matches!(
            statement.get("Effect").and_then(Value::as_str),
            Some("Allow" | "Deny")
        ) {
            return Err("Policy statement must contain a valid effect.".into());
        }
        if !has("Action", "NotAction") {
            return Err("Policy statement must contain actions.".into());
        }
        if !has("Resource", "NotResource") {
            return Err("Policy statement must contain resources.".into());
        }
        if statement.contains_key("Principal") {
            return Err("Policy document should not specify a principal.".into());
        }
    }
    Ok(document)
}

fn statements(document: &Value) -> Vec<&Map<String, Value>> {
    match document.get("Statement") {
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_object).collect(),
        Some(Value::Object(one)) => vec![one],
        _ => Vec::new(),
    }
}

/// A string or a list of strings.
pub(crate) fn strings(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::String(s)) => vec![s.clone()],
        Some(Value::Array(list)) => list
            .iter()
            .map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned))
            .collect(),
        Some(Value::Bool(b)) => vec![b.to_string()],
        Some(Value::Number(n)) => vec![n.to_string()],
        _ => Vec::new(),
    }
}

fn matches(
    statement: &Map<String, Value>,
    plain: &str,
    inverted: &str,
    test: impl Fn(&str) -> bool,
) -> bool {
    match statement.get(plain) {
        Some(value) => strings(Some(value)).iter().any(|p| test(p)),
        None => {
            statement.contains_key(inverted)
                && !strings(statement.get(inverted)).iter().any(|p| test(p))
        }
    }
}

/// Whether an action pattern covers an action; case does not count.
pub(crate) fn action_matches(pattern: &str, action: &str) -> bool {
    glob(&pattern.to_lowercase(), &action.to_lowercase())
}

/// `Some(true)` allowed, `Some(false)` denied, `None` not mentioned.
pub(crate) fn decide(
    document: &Value,
    action: &str,
    resource: &str,
    context: &Context,
) -> Option<bool> {
    let mut allowed = None;
    for statement in statements(document) {
        let deny = statement.get("Effect").and_then(Value::as_str) == Some("Deny");
        let applies = matches(statement, "Action", "NotAction", |p| {
            action_matches(p, action)
        }) && matches(statement, "Resource", "NotResource", |p| glob(p, resource))
            && conditions_hold(statement, context, deny);
        if applies && deny {
            return Some(false);
        }
        if applies {
            allowed = Some(true);
        }
    }
    allowed
}

/// How a trust policy names a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust {
    /// A statement names the caller (or everybody).
    Named,
    /// Only the caller's account is named: its own policies decide.
    Delegated,
    /// No, or an explicit deny.
    Refused,
}

/// Who is asking to assume a role.
pub(crate) enum Asker<'a> {
    /// An IAM identity: its principal ARN and the ARN of its session.
    Iam {
        principal: &'a Principal,
        session_arn: &'a str,
    },
    /// An identity provider.
    Federated(&'a str),
    /// An AWS service.
    Service(&'a str),
}

/// What a trust policy says to somebody who asks for `action`.
pub(crate) fn trust(document: &Value, action: &str, asker: &Asker, context: &Context) -> Trust {
    let mut answer = Trust::Refused;
    for statement in statements(document) {
        let deny = statement.get("Effect").and_then(Value::as_str) == Some("Deny");
        let named = match statement.get("Principal") {
            Some(p) => principal_matches(p, asker),
            None => match statement.get("NotPrincipal") {
                Some(p) if principal_matches(p, asker) == Trust::Refused => Trust::Named,
                _ => Trust::Refused,
            },
        };
        let applies = named != Trust::Refused
            && matches(statement, "Action", "NotAction", |p| {
                action_matches(p, action)
            })
            && conditions_hold(statement, context, deny);
        if applies && deny {
            return Trust::Refused;
        }
        if applies && answer != Trust::Named {
            answer = named;
        }
    }
    answer
}

fn principal_matches(principal: &Value, asker: &Asker) -> Trust {
    if principal.as_str() == Some("*") {
        return Trust::Named;
    }
    match asker {
        Asker::Federated(provider) => named(
            strings(principal.get("Federated"))
                .iter()
                .any(|p| p == provider),
        ),
        Asker::Service(service) => named(
            strings(principal.get("Service"))
                .iter()
                .any(|p| p == service),
        ),
        Asker::Iam {
            principal: who,
            session_arn,
        } => {
            let list = strings(principal.get("AWS"));
            if list
                .iter()
                .any(|p| p == "*" || *p == who.arn() || p == session_arn)
            {
                return Trust::Named;
            }
            let root = format!("arn:{}:iam::{}:root", who.partition, who.account);
            if list.iter().any(|p| *p == who.account || *p == root) {
                Trust::Delegated
            } else {
                Trust::Refused
            }
        }
    }
}

fn named(yes: bool) -> Trust {
    if yes { Trust::Named } else { Trust::Refused }
}

fn conditions_hold(statement: &Map<String, Value>, context: &Context, deny: bool) -> bool {
    let Some(conditions) = statement.get("Condition") else {
        return true;
    };
    let Some(conditions) = conditions.as_object() else {
        return deny;
    };
    conditions.iter().all(|(operator, keys)| {
        let Some(keys) = keys.as_object() else {
            return deny;
        };
        keys.iter().all(|(key, wanted)| {
            let have: Vec<&str> = context
                .iter()
                .filter(|(k, _)| k.eq_ignore_ascii_case(key))
                .map(|(_, v)| v.as_str())
                .collect();
            let wanted = strings(Some(wanted));
            let (set, operator) = operator.split_once(':').unwrap_or(("", operator));
            let holds =
                |have: Option<&str>| condition_holds(operator, have, &wanted).unwrap_or(deny);
            match set.to_lowercase().as_str() {
                "forallvalues" => have.iter().all(|value| holds(Some(value))),
                "foranyvalue" => have.iter().any(|value| holds(Some(value))),
                _ => holds(have.first().copied()),
            }
        })
    })
}

fn condition_holds(operator: &str, have: Option<&str>, wanted: &[String]) -> Option<bool> {
    let operator = operator.to_lowercase();
    let (operator, if_exists) = match operator.strip_suffix("ifexists") {
        Some(base) => (base.to_owned(), true),
        None => (operator, false),
    };
    if operator == "null" {
        return Some(wanted.iter().any(|w| (w == "true") == have.is_none()));
    }
    let negative = operator.contains("not");
    let Some(have) = have else {
        return Some(negative || if_exists);
    };
    let hit = |test: &dyn Fn(&str) -> bool| wanted.iter().any(|w| test(w));
    let positive = match operator.replace("not", "").as_str() {
        "stringequals" => hit(&|w| w == have),
        "stringequalsignorecase" => hit(&|w| w.eq_ignore_ascii_case(have)),
        "stringlike" | "arnequals" | "arnlike" => hit(&|w| glob(w, have)),
        "bool" => hit(&|w| w.eq_ignore_ascii_case(have)),
        _ => return None,
    };
    Some(positive != negative)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use serde_json::json;

    #[test]
    fn session_policies_match_actions_and_resources() {
        let p = json!({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": ["eks:Describe*"], "Resource": "arn:aws:eks:*:1:cluster/prod"},
            {"Effect": "Deny", "Action": "eks:DescribeUpdate", "Resource": "*"}]});
        assert_eq!(
            decide(
                &p,
                "eks:DescribeCluster",
                "arn:aws:eks:r:1:cluster/prod",
                &[]
            ),
            Some(true)
        );
        assert_eq!(
            decide(
                &p,
                "eks:DescribeCluster",
                "arn:aws:eks:r:1:cluster/dev",
                &[]
            ),
            None
        );
        assert_eq!(
            decide(
                &p,
                "eks:DescribeUpdate",
                "arn:aws:eks:r:1:cluster/prod",
                &[]
            ),
            Some(false)
        );
        assert!(parse_session_policy(&p.to_string()).is_ok());
        assert!(parse_session_policy("{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Action\":\"*\"}]}").is_err());
    }

    #[test]
    fn trust_needs_the_principal_and_its_conditions() {
        let who = Principal::parse("arn:aws:iam::111122223333:role/a/b").unwrap();
        let asker = Asker::Iam {
            principal: &who,
            session_arn: "arn:aws:sts::111122223333:assumed-role/b/s",
        };
        let named = json!({"Statement": {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111122223333:role/a/b"}, "Action": "sts:*",
            "Condition": {"StringEquals": {"sts:ExternalId": "x"}}}});
        assert_eq!(
            trust(
                &named,
                "sts:AssumeRole",
                &asker,
                &[("sts:ExternalId", "x".into())]
            ),
            Trust::Named
        );
        assert_eq!(
            trust(
                &named,
                "sts:AssumeRole",
                &asker,
                &[("sts:ExternalId", "y".into())]
            ),
            Trust::Refused
        );
        assert_eq!(trust(&named, "sts:AssumeRole", &asker, &[]), Trust::Refused);
        let root = json!({"Statement": [{"Effect": "Allow", "Principal": {"AWS": "111122223333"}, "Action": "sts:AssumeRole"}]});
        assert_eq!(
            trust(&root, "sts:AssumeRole", &asker, &[]),
            Trust::Delegated
        );
    }

    #[test]
    fn an_unknown_operator_never_widens() {
        let p = json!({"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"DateLessThan": {"aws:CurrentTime": "2020"}}}]});
        assert_eq!(
            decide(&p, "eks:X", "r", &[("aws:CurrentTime", "2020".into())]),
            None
        );
    }
}
