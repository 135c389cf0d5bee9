//! Random wishes over random clusters, judged by the plain evaluator: a grant
//! gives exactly the wish, a revoke takes exactly that or says why not, nothing
//! else changes, and asking again changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::apply::{carry_out, plan, wish};
use crate::bindings::Grant;
use crate::plan::Direction;
use crate::tests::cloud::*;
use crate::tests::oracle::facts::{Bind, Dice, Facts, Map, external, facts};
use crate::tests::oracle::judge::key;

/// The items of a list in `aws-auth`, read without the connector's parser: each
/// is one line of JSON behind a dash, or four plain lines.
fn lines(text: &str, field: &str) -> Vec<Map> {
    let mut out = Vec::new();
    let mut rest = text.lines().peekable();
    while let Some(line) = rest.next() {
        let Some(item) = line.strip_prefix("- ") else {
            panic!("{text}");
        };
        let mut map = Map::default();
        if item.starts_with("{oops") {
            return Vec::new();
        }
        if item.starts_with('{') {
            let value: Value = serde_json::from_str(item).unwrap();
            let get = |name: &str| {
                let fields = value.as_object().unwrap();
                let found = fields.iter().find(|(k, _)| k.to_lowercase() == name);
                found.map_or(Value::Null, |(_, v)| v.clone())
            };
            map.arn = get(field).as_str().unwrap_or_default().into();
            map.username = get("username").as_str().unwrap_or_default().into();
            for group in get("groups").as_array().into_iter().flatten() {
                map.groups.push(group.as_str().unwrap().into());
            }
        } else {
            map.arn = item.strip_prefix(&format!("{field}: ")).unwrap().into();
            let next = rest.next().unwrap();
            map.username = next.strip_prefix("  username: ").unwrap().into();
            assert_eq!(rest.next(), Some("  groups:"));
            while let Some(group) = rest.peek().and_then(|l| l.strip_prefix("  - ")) {
                map.groups.push(group.into());
                rest.next();
            }
        }
        if !map.arn.is_empty() {
            out.push(map);
        }
    }
    out
}

/// What is true in a cloud now; what a plan cannot change is taken over.
fn now(cloud: &Cloud, before: &Facts) -> Facts {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    let mut facts = before.clone();
    facts.entries = cloud
        .entries
        .iter()
        .map(|e| Map {
            arn: text(&e["principalArn"]),
            username: text(&e["username"]),
            groups: e["kubernetesGroups"]
                .as_array()
                .unwrap()
                .iter()
                .map(text)
                .collect(),
            kind: text(&e["type"]),
            fresh: e["createdAt"].as_f64().unwrap() > 1_800_000_000.0,
        })
        .collect();
    let data = cloud.aws_auth.clone().unwrap_or_default();
    let of = |name: &str| data.get(name).map(String::as_str).unwrap_or_default();
    facts.role_lines = lines(of("mapRoles"), "rolearn");
    facts.user_lines = lines(of("mapUsers"), "userarn");
    let bindings = cloud
        .cluster_role_bindings
        .iter()
        .chain(&cloud.role_bindings);
    facts.bindings = bindings
        .map(|b| Bind {
            namespace: text(&b["metadata"]["namespace"]),
            name: text(&b["metadata"]["name"]),
            role: format!(
                "{}:{}",
                text(&b["roleRef"]["kind"]),
                text(&b["roleRef"]["name"])
            ),
            subjects: b["subjects"]
                .as_array()
                .unwrap()
                .iter()
                .map(|s| match s["kind"].as_str().unwrap() {
                    "ServiceAccount" => {
                        format!(
                            "ServiceAccount:{}/{}",
                            text(&s["namespace"]),
                            text(&s["name"])
                        )
                    }
                    kind => format!("{kind}:{}", text(&s["name"])),
                })
                .collect(),
        })
        .collect();
    facts.associations = cloud
        .associations
        .iter()
        .map(|(arn, policy, scope)| {
            let list = scope["namespaces"].as_array().cloned().unwrap_or_default();
            let list = list.iter().map(text).collect();
            (
                arn.clone(),
                policy.clone(),
                (scope["type"] == "namespace").then_some(list),
            )
        })
        .collect();
    facts
}

type Truth = BTreeMap<String, String>;

fn truth(facts: &Facts) -> Truth {
    let all = facts.truth().into_iter();
    all.map(|(id, how)| (key(&id, how), how.to_string()))
        .collect()
}

fn random_wish(dice: &mut Dice) -> Grant {
    let policy = |name: &str| format!("arn:aws:eks::aws:cluster-access-policy/{name}");
    let (kind, id, slug) = match dice.roll(8) {
        0..=3 => {
            let scope = dice.pick(&[
                "all",
                "all",
                "dev",
                "dev",
                "default",
                "namespace/all",
                "cluster",
                "race",
            ]);
            (
                "cluster_role",
                dice.pick(&["view", "view", "cluster-admin", "none"])
                    .to_string(),
                format!("{scope}:member"),
            )
        }
        4 => (
            "namespace_role",
            dice.pick(&["dev/r", "default/r", "race/r", "dev/none"])
                .into(),
            "member".into(),
        ),
        _ => {
            let name = dice.pick(&[
                "AmazonEKSViewPolicy",
                "AmazonEKSViewPolicy",
                "AmazonEKSClusterAdminPolicy",
                "AmazonEKSAutoNodePolicy",
                "Nope",
            ]);
            let scope = dice.pick(&[
                "cluster",
                "dev",
                "dev",
                "all",
                "namespace/cluster",
                "d*",
                "default",
                "ghost",
            ]);
            ("access_policy", policy(name), format!("assigned:{scope}"))
        }
    };
    let (pkind, pid) = match dice.roll(9) {
        0 => ("role", role("dev")),
        1 => ("role", role("team/Ops")),
        2 => ("role", role("node")),
        3 => ("role", role("again")),
        4 => ("role", role("gone")),
        5 => ("role", external("ext")),
        6 => ("iam_user", user("bob")),
        7 => ("iam_user", user("team/eve")),
        _ => (
            "service_account",
            dice.pick(&["dev/ci", "dev/web", "dev/none", "default/ci"])
                .into(),
        ),
    };
    wish((kind, &id, &slug), (pkind, &pid))
}

/// What of two truths differs, but for stand-ins of names that nobody had: they
/// come and go with whoever gets the name.
fn differences(before: &Truth, after: &Truth, wished: &str, entitlement: &str) -> Vec<String> {
    let ids: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let stands_in = |id: &str| {
        let rest = id
            .strip_prefix(&entitlement.to_lowercase())
            .unwrap_or_default();
        rest.starts_with(":kube_")
    };
    // A pattern gives, and takes, the namespaces that it matches.
    let policy = entitlement
        .rsplit_once("assigned:")
        .filter(|(_, s)| s.contains('*'));
    let matched = |id: &str| {
        let who = wished.strip_prefix(entitlement).unwrap_or_default();
        policy.is_some_and(|(policy, _)| id.starts_with(policy) && id.ends_with(who))
    };
    ids.into_iter()
        .filter(|id| before.get(*id) != after.get(*id))
        .filter(|id| *id != wished && id.to_lowercase() != wished.to_lowercase())
        .filter(|id| !stands_in(id) && !matched(id))
        .map(|id| format!("{id}: {:?} -> {:?}", before.get(id), after.get(id)))
        .collect()
}

/// A cloud without what a grant may leave behind: our group in an entry or line of
/// somebody, an emptied entry, an empty list, an empty ConfigMap.
fn settled(cloud: &Cloud) -> Value {
    let mut entries = cloud.entries.clone();
    let written = format!("{:?}", cloud.aws_auth).to_lowercase();
    entries.retain(|e| {
        // One of ours stays, emptied, where a line would count again without it.
        let arn = e["principalArn"].as_str().unwrap();
        let name = arn.rsplit('/').next().unwrap().to_lowercase();
        e["tags"]["managed-by"] != "baton-host" || !written.contains(&format!("/{name}\\\""))
    });
    for entry in &mut entries {
        let groups = entry["kubernetesGroups"].as_array_mut().unwrap();
        groups.retain(|g| !g.as_str().unwrap().starts_with("baton-host:"));
    }
    let mut data = cloud.aws_auth.clone().unwrap_or_default();
    for text in data.values_mut() {
        while let Some(at) = text.find("\"baton-host:") {
            let to = at + 1 + text[at + 1..].find('"').unwrap() + 1;
            let from = if text[..at].ends_with(',') {
                at - 1
            } else {
                at
            };
            text.replace_range(from..to, "");
        }
        *text = text
            .replace("\"groups\":null", "\"groups\":[]")
            .replace(",\"groups\":[]}", "}")
            .replace("\"groups\":[]", "");
    }
    data.retain(|_, text| !text.trim().is_empty());
    let sorted = |list: &[Value]| {
        let mut texts: Vec<String> = list.iter().map(Value::to_string).collect();
        texts.sort();
        texts
    };
    let associations: Vec<Value> = cloud.associations.iter().map(|a| json!([a.0, a.1, {"type": a.2["type"], "namespaces": a.2["namespaces"].as_array().cloned().unwrap_or_default()}])).collect();
    json!({
        "entries": sorted(&entries), "aws-auth": data,
        "associations": sorted(&associations),
        "bindings": sorted(&[cloud.role_bindings.clone(), cloud.cluster_role_bindings.clone()].concat()),
    })
}

fn id_of(wish: &Grant) -> (String, String) {
    let entitlement = format!("{}:{}:{}", wish.on.kind, wish.on.id, wish.slug);
    let id = format!(
        "{entitlement}:{}:{}",
        wish.principal.kind, wish.principal.id
    );
    (entitlement, id)
}

#[derive(Default, Debug)]
struct Tally(BTreeMap<String, usize>);

impl Tally {
    fn add(&mut self, what: String) {
        *self.0.entry(what).or_default() += 1;
    }
    fn of(&self, what: &str) -> usize {
        self.0
            .iter()
            .filter(|(k, _)| k.starts_with(what))
            .map(|(_, n)| n)
            .sum()
    }
}

fn grant(
    cloud: &mut Cloud,
    before: &Facts,
    wish: &Grant,
    tally: &mut Tally,
) -> Result<bool, String> {
    let (entitlement, id) = id_of(wish);
    let old = truth(before);
    let held = old.get(&id).cloned();
    match carry_out(cloud, Direction::Grant, wish) {
        Err(error) if error.kind == "broken" => Err(error.message),
        Err(error) => {
            tally.add(format!("grant {}", error.kind));
            let principal = ["invalid-request", "unsupported", "not-found"];
            if held.as_deref() == Some("certain") && !principal.contains(&error.kind.as_str()) {
                return Err(format!("held, and yet {}", error.message));
            }
            Ok(false)
        }
        Ok(plan) => {
            let empty = plan.changes.is_empty();
            tally.add(if empty {
                "grant already".into()
            } else {
                format!("grant changes {}", wish.on.kind)
            });
            for change in &plan.changes {
                tally.add(format!(
                    "change {} {}",
                    change.method,
                    change
                        .path
                        .split('/')
                        .rev()
                        .find(|s| s.len() < 25)
                        .unwrap_or_default()
                ));
            }
            let after = truth(&now(cloud, before));
            let how = after.get(&id).cloned();
            let enough = match how.as_deref() {
                Some("certain") => true,
                Some(_) => wish.on.kind == "access_policy" && empty,
                None => wish.slug.contains('*') && after.contains_key(&id.to_lowercase()),
            };
            if !enough {
                return Err(format!("the evaluator says {how:?} after {plan:#?}"));
            }
            if empty && held.is_none() && !wish.slug.contains('*') {
                return Err("already granted, says the plan".into());
            }
            let other = differences(&old, &after, &id, &entitlement);
            if !other.is_empty() {
                return Err(format!("{other:#?} by {plan:#?}"));
            }
            let file = sync(cloud.clone());
            if !file.ids().contains(&id) {
                return Err("the next file does not show it".into());
            }
            Ok(!empty)
        }
    }
}

fn revoke(
    cloud: &mut Cloud,
    before: &Facts,
    wish: &Grant,
    tally: &mut Tally,
) -> Result<(), String> {
    let (entitlement, id) = id_of(wish);
    let old = truth(before);
    let held = old.contains_key(&id) || old.contains_key(&id.to_lowercase());
    match carry_out(cloud, Direction::Revoke, wish) {
        Err(error) if error.kind == "broken" => Err(error.message),
        Err(error) => {
            tally.add(format!("revoke {}", error.kind));
            if error.kind == "conflict" && !held && !error.message.contains("another spelling") {
                return Err(format!("not held, and yet {}", error.message));
            }
            Ok(())
        }
        Ok(plan) => {
            let empty = plan.changes.is_empty();
            tally.add(format!(
                "revoke {}",
                if empty { "already" } else { "changes" }
            ));
            let after = truth(&now(cloud, before));
            if after.contains_key(&id) || after.contains_key(&id.to_lowercase()) {
                return Err(format!("still held after {plan:#?}"));
            }
            let other = differences(&old, &after, &id, &entitlement);
            if !other.is_empty() {
                return Err(format!("{other:#?} by {plan:#?}"));
            }
            if sync(cloud.clone()).ids().contains(&id) {
                return Err("the next file still shows it".into());
            }
            Ok(())
        }
    }
}

#[test]
fn random_wishes_come_true_exactly_or_are_refused() {
    let (mut tally, mut wrong) = (Tally::default(), Vec::new());
    let count = 1200_u64;
    for seed in 0..count {
        let mut dice = Dice(seed * 6_364_151 + 77);
        let (base, start) = facts(&mut dice);
        // One wish by itself, with its way back.
        let mut cloud = start.clone();
        if dice.one_in(6)
            && base.mode != "API"
            && base.role_lines.is_empty()
            && base.user_lines.is_empty()
            && base.accounts.is_empty()
        {
            cloud.aws_auth = None;
        }
        let from = settled(&cloud);
        let wished = random_wish(&mut dice);
        let mut say = |what: &str, wished: &Grant, why: String| {
            wrong.push(format!(
                "seed {seed} ({}): {what} {}: {why}",
                base.mode,
                id_of(wished).1
            ));
        };
        match grant(&mut cloud, &now(&start, &base), &wished, &mut tally) {
            Err(why) => say("grant", &wished, why),
            Ok(false) => {}
            Ok(true) => {
                let facts = now(&cloud, &base);
                match revoke(&mut cloud, &facts, &wished, &mut tally) {
                    Err(why) => say("revoke of what was granted", &wished, why),
                    Ok(()) if settled(&cloud) != from && !had(&start, &base, &wished) => {
                        say(
                            "left",
                            &wished,
                            format!("{from:#} became {:#}", settled(&cloud)),
                        );
                    }
                    Ok(()) => {}
                }
            }
        }
        // A life of wishes in one cluster.
        let mut cloud = start;
        for _ in 0..6 {
            let wished = random_wish(&mut dice);
            let facts = now(&cloud, &base);
            let outcome = if dice.one_in(2) {
                grant(&mut cloud, &facts, &wished, &mut tally).map(|_| ())
            } else {
                revoke(&mut cloud, &facts, &wished, &mut tally)
            };
            if let Err(why) = outcome {
                say("wish", &wished, why);
                break;
            }
        }
        if wrong.len() > 10 {
            break;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for (what, least) in [
        ("grant changes cluster_role", count / 4),
        ("grant changes namespace_role", count / 40),
        ("grant changes access_policy", count / 8),
        ("grant already", count / 20),
        ("grant conflict", count / 20),
        ("revoke changes", count / 4),
        ("revoke conflict", count / 40),
        ("change PUT", count / 40),
        ("change PATCH", count / 80),
        ("change DELETE", count / 8),
    ] {
        assert!(tally.of(what) as u64 > least, "{what}: {tally:#?}");
    }
}

/// Whether the wished grant was held before in some weaker way, which a revoke
/// takes too.
fn had(cloud: &Cloud, base: &Facts, wished: &Grant) -> bool {
    let (_, id) = id_of(wished);
    let truth = truth(&now(cloud, base));
    truth.contains_key(&id) || truth.contains_key(&id.to_lowercase())
}

/// A plan only reads.
#[test]
fn planning_changes_nothing() {
    for seed in 0..200_u64 {
        let mut dice = Dice(seed * 31_337 + 5);
        let (_, cloud) = facts(&mut dice);
        let wished = random_wish(&mut dice);
        let twice = [Direction::Grant, Direction::Revoke].map(|direction| {
            let one = plan(&cloud, direction, &wished);
            let two = plan(&cloud, direction, &wished);
            format!("{one:?}") == format!("{two:?}")
        });
        assert_eq!(twice, [true, true], "seed {seed}");
    }
}
