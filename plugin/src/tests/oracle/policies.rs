//! The same for trust policies: every caller comes with a request context, and
//! every statement is asked in three values.

use serde_json::{Value, json};

use super::facts::Dice;
use crate::tests::cloud::*;

const DUAL: &str = "oidc-eks.eu-west-1.api.aws/id/ABC";
const THEIRS: &str = "oidc.eks.eu-west-1.amazonaws.com/id/OTHER";
const ACCOUNTS: [&str; 3] = ["dev/ci", "dev/web", "default/ci"];

#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
enum Truth {
    No,
    Maybe,
    Yes,
}
use Truth::{Maybe, No, Yes};

fn provider(account: &str, issuer: &str) -> String {
    format!("arn:aws:iam::{account}:oidc-provider/{issuer}")
}

fn one_or_list(dice: &mut Dice, from: &[String]) -> Value {
    let list: Vec<&String> = (0..1 + dice.roll(2))
        .map(|_| &from[dice.roll(from.len())])
        .collect();
    if list.len() == 1 && dice.one_in(2) {
        json!(list[0])
    } else {
        json!(list)
    }
}

fn statement(dice: &mut Dice) -> Value {
    let people = [
        user("bob"),
        role("ops"),
        format!("arn:aws:iam::{OTHER}:role/ci"),
        ACCOUNT.to_string(),
        format!("arn:aws:iam::{ACCOUNT}:root"),
        "*".into(),
        "AROAEXAMPLE".into(),
    ];
    let providers = [
        provider(ACCOUNT, ISSUER),
        provider(ACCOUNT, ISSUER),
        provider(ACCOUNT, DUAL),
        provider(ACCOUNT, THEIRS),
        provider(OTHER, ISSUER),
    ];
    let workload = dice.one_in(2);
    let principal = match (workload, dice.roll(8)) {
        (_, 0) => json!("*"),
        (true, _) => json!({"Federated": one_or_list(dice, &providers)}),
        (false, _) => json!({"AWS": one_or_list(dice, &people)}),
    };
    let actions = [
        "sts:AssumeRole",
        "sts:AssumeRoleWithWebIdentity",
        "STS:assumerole*",
        "sts:*",
        "sts:TagSession",
    ];
    let actions: Vec<String> = actions.iter().map(|a| (*a).to_string()).collect();
    let deny = dice.one_in(4);
    let mut out = json!({
        "Effect": if deny { "Deny" } else { "Allow" },
        if deny && dice.one_in(3) { "NotPrincipal" } else { "Principal" }: principal,
        if dice.one_in(8) { "NotAction" } else { "Action" }: one_or_list(dice, &actions),
    });
    let subjects = [
        "system:serviceaccount:dev:ci",
        "system:serviceaccount:default:ci",
        "system:serviceaccount:dev:*",
        "system:serviceaccount:*:*",
        "system:serviceaccount:d?v:ci",
        "System:ServiceAccount:dev:CI",
        "*",
    ]
    .map(String::from);
    let mut conditions = json!({});
    for _ in 0..dice.roll(3) {
        if workload {
            let issuer = match dice.roll(6) {
                0 => THEIRS.to_string(),
                1 => DUAL.to_string(),
                2 => ISSUER.to_lowercase(),
                _ => ISSUER.to_string(),
            };
            let operator = dice.pick(&[
                "StringEquals",
                "StringLike",
                "ForAnyValue:StringLike",
                "StringEqualsIfExists",
                "StringEqualsIgnoreCase",
                "StringNotEquals",
            ]);
            let values = if dice.one_in(4) {
                (
                    "aud",
                    one_or_list(dice, &["sts.amazonaws.com".into(), "vault".into()]),
                )
            } else {
                ("sub", one_or_list(dice, &subjects))
            };
            conditions[operator][format!("{issuer}:{}", values.0)] = values.1;
        } else {
            conditions["Bool"] = json!({"aws:MultiFactorAuthPresent": "true"});
        }
    }
    if conditions.as_object().is_some_and(|c| !c.is_empty()) {
        out["Condition"] = conditions;
    }
    out
}

fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(list) => list.iter().flat_map(texts).collect(),
        other => other.as_str().into_iter().collect(),
    }
}

fn like(pattern: &str, text: &str) -> bool {
    match pattern.chars().next() {
        None => text.is_empty(),
        Some('*') => like(&pattern[1..], text) || (!text.is_empty() && like(pattern, &text[1..])),
        Some('?') => !text.is_empty() && like(&pattern[1..], &text[1..]),
        Some(c) => text.starts_with(c) && like(&pattern[1..], &text[1..]),
    }
}

/// A service account, or the ARN of a user or role.
fn named(principal: &Value, caller: &str, all_of_account: bool) -> bool {
    let ours = [provider(ACCOUNT, ISSUER), provider(ACCOUNT, DUAL)];
    let workload = !caller.starts_with("arn:");
    let aws = |name: &str| {
        (all_of_account && name == "*")
            || name == caller
            || (all_of_account
                && !workload
                && caller.contains(ACCOUNT)
                && (name == ACCOUNT || name == format!("arn:aws:iam::{ACCOUNT}:root")))
    };
    match principal {
        Value::String(text) => all_of_account && text == "*",
        map => {
            texts(&map["AWS"]).into_iter().any(aws)
                || texts(&map["Federated"])
                    .iter()
                    .any(|p| workload && ours.iter().any(|o| o == p))
        }
    }
}

fn condition(statement: &Value, caller: &str) -> Truth {
    let mut all = Yes;
    for (operator, keys) in statement["Condition"].as_object().into_iter().flatten() {
        for (key, wanted) in keys.as_object().unwrap() {
            let key = key.to_lowercase();
            if key.starts_with("aws:") {
                all = if all == No { No } else { Maybe };
                continue;
            }
            let (issuer, claim) = key.rsplit_once(':').unwrap();
            let ours = [ISSUER.to_lowercase(), DUAL.to_lowercase()].contains(&issuer.to_string());
            let subject = caller
                .split_once('/')
                .map(|(ns, name)| format!("system:serviceaccount:{ns}:{name}"));
            let has = match claim {
                _ if !ours => None,
                "aud" => Some("sts.amazonaws.com".to_string()),
                _ => subject,
            };
            let plain = operator
                .trim_start_matches("ForAnyValue:")
                .trim_end_matches("IfExists");
            let holds = match (&has, plain) {
                (None, "StringNotEquals") => true,
                (None, _) => operator.ends_with("IfExists"),
                (Some(has), "StringLike") => texts(wanted).iter().any(|w| like(w, has)),
                (Some(has), "StringEqualsIgnoreCase") => {
                    texts(wanted).iter().any(|w| w.eq_ignore_ascii_case(has))
                }
                (Some(has), "StringNotEquals") => texts(wanted).iter().all(|w| w != has),
                (Some(has), _) => texts(wanted).iter().any(|w| w == has),
            };
            // A pod may ask for a token of another audience.
            let other = claim == "aud" && ours && !holds;
            match (holds, other) {
                (true, _) => {}
                (false, true) => all = if all == No { No } else { Maybe },
                (false, false) => all = No,
            }
        }
    }
    all
}

fn judge(statements: &[Value], caller: &str) -> Truth {
    let action = if caller.starts_with("arn:") {
        "sts:assumerole"
    } else {
        "sts:assumerolewithwebidentity"
    };
    let (mut allowed, mut denied) = (No, No);
    for s in statements {
        let covers = |key: &str| {
            texts(&s[key])
                .iter()
                .any(|a| like(&a.to_lowercase(), action))
        };
        if s.get("Action").is_some() && !covers("Action") || covers("NotAction") {
            continue;
        }
        let deny = s["Effect"] == "Deny";
        let applies = match s.get("NotPrincipal") {
            Some(p) => !named(p, caller, deny),
            None => named(&s["Principal"], caller, deny),
        };
        if !applies {
            continue;
        }
        let holds = condition(s, caller);
        let side = if deny { &mut denied } else { &mut allowed };
        if holds > *side {
            *side = holds;
        }
    }
    match (allowed, denied) {
        (No, _) | (_, Yes) => No,
        (Yes, No) if !caller.contains(OTHER) => Yes,
        _ => Maybe,
    }
}

#[test]
fn random_trust_policies_are_judged_as_a_plain_evaluator_judges_them() {
    let callers = [
        user("bob"),
        role("ops"),
        format!("arn:aws:iam::{OTHER}:role/ci"),
    ];
    let mut seen = [0; 3];
    for seed in 0..3000_u64 {
        let mut dice = Dice(seed * 104_729 + 7);
        let statements: Vec<Value> = (0..1 + dice.roll(3))
            .map(|_| statement(&mut dice))
            .collect();
        let policy = trust(json!(statements));
        let mut cloud = Cloud::default()
            .with_role("ops", &no_trust())
            .with_role("r", &policy);
        cloud.service_accounts = ACCOUNTS
            .map(|path| {
                let (namespace, name) = path.split_once('/').unwrap();
                account(namespace, name)
            })
            .to_vec();
        let file = sync(cloud);
        let told = |who: &str| {
            let id = format!("role:{}:assignment:{who}", role("r"));
            if !file.ids().contains(&id) {
                return No;
            }
            match file.metadata(&id)["certainty"].as_str() {
                Some("certain") => Yes,
                _ => Maybe,
            }
        };
        // Where a condition is only put into words, the file may say "perhaps" of
        // what is sure or impossible, and never the other way round.
        let worded = statements.iter().any(|s| {
            s["Condition"]
                .as_object()
                .is_some_and(|c| s["Effect"] == "Deny" || c.contains_key("StringNotEquals"))
        });
        for caller in &callers {
            let kind = if caller.contains(":role/") {
                "role"
            } else {
                "iam_user"
            };
            let (file, truth) = (
                told(&format!("{kind}:{caller}")),
                judge(&statements, caller),
            );
            assert!(
                file == truth || (worded && file == Maybe),
                "seed {seed}: {caller}: file {file:?}, oracle {truth:?}: {policy}"
            );
        }
        for path in ACCOUNTS {
            let one = told(&format!("service_account:{path}"));
            let every = told("service_account:*");
            let file = if one > every { one } else { every };
            let truth = judge(&statements, path);
            seen[truth as usize] += 1;
            assert!(
                file == truth || (worded && file == Maybe),
                "seed {seed}: {path}: file {file:?}, oracle {truth:?}: {policy}"
            );
        }
    }
    assert!(seen.iter().all(|n| *n > 100), "{seen:?}");
}
