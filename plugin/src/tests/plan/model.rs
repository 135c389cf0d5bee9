//! Random wishes over random clusters, judged by the plain evaluator: a grant
//! gives exactly the wish, a revoke takes exactly that or says why not, nothing
//! else changes, and asking again changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::apply::{carry_out, plan, wish};
use crate::bindings::{Grant, Plan};
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

/// A wish for something that is there, mostly; now and then for what somebody
/// holds, and now and then for anything.
fn random_wish(dice: &mut Dice, facts: &Facts) -> Grant {
    if dice.one_in(3) {
        let held: Vec<Grant> = facts.truth().keys().filter_map(|id| wish_of(id)).collect();
        if !held.is_empty() {
            return held[dice.roll(held.len())].clone();
        }
    }
    let anything = dice.one_in(6);
    let one = |dice: &mut Dice, there: Vec<String>, all: &[&str]| {
        if anything || there.is_empty() {
            dice.pick(all).to_string()
        } else {
            there[dice.roll(there.len())].clone()
        }
    };
    let places: Vec<String> = facts.namespaces.iter().cloned().collect();
    let place = one(dice, places, &["dev", "race", "ghost", "default"]);
    let (kind, id, slug) = match dice.roll(8) {
        0..=3 => {
            let roles = facts.cluster_roles.iter().cloned().collect();
            let name = one(dice, roles, &["view", "cluster-admin", "none"]);
            let slug = match place.as_str() {
                _ if dice.one_in(3) => "all:member".into(),
                "all" => "namespace/all:member".into(),
                other => format!("{other}:member"),
            };
            ("cluster_role", name, slug)
        }
        4 => {
            let roles = facts.local_roles.iter().filter(|r| !r.starts_with("race/"));
            let all = ["dev/r", "default/r", "race/r", "dev/none"];
            let id = one(dice, roles.cloned().collect(), &all);
            ("namespace_role", id, "member".into())
        }
        _ => {
            let known = ["AmazonEKSViewPolicy", "AmazonEKSClusterAdminPolicy"];
            let odd = ["AmazonEKSAutoNodePolicy", "Nope"];
            let name = one(dice, known.map(String::from).to_vec(), &odd);
            let slug = match place.as_str() {
                _ if dice.one_in(4) => "assigned:cluster".into(),
                _ if dice.one_in(8) => "assigned:d*".into(),
                "cluster" => "assigned:namespace/cluster".into(),
                other => format!("assigned:{other}"),
            };
            let id = format!("arn:aws:eks::aws:cluster-access-policy/{name}");
            ("access_policy", id, slug)
        }
    };
    let roles: Vec<String> = facts.roles.iter().map(|r| r.0.clone()).collect();
    let (gone, foreign) = (role("gone"), external("ext"));
    let accounts = facts.service_accounts.iter().cloned().collect();
    let (pkind, pid) = match dice.roll(8) {
        0..=3 => ("role", one(dice, roles, &[&gone, &foreign])),
        4 => ("role", foreign),
        5 => ("iam_user", user("bob")),
        6 => ("iam_user", user("team/eve")),
        _ if kind == "access_policy" => ("iam_user", user("bob")),
        _ => (
            "service_account",
            one(dice, accounts, &["dev/ci", "dev/none"]),
        ),
    };
    wish((kind, &id, &slug), (pkind, &pid))
}

/// The wish that a grant id names.
fn wish_of(id: &str) -> Option<Grant> {
    let ends = [":role:arn:", ":iam_user:arn:", ":service_account:"];
    let at = ends.iter().filter_map(|e| id.rfind(e)).max()?;
    let (on, principal) = (&id[..at], &id[at + 1..]);
    let (kind, rest) = on.split_once(':')?;
    let slug = match kind {
        "access_policy" => rest.find(":assigned:")?,
        _ => rest.find(':')?,
    };
    let principal = principal.split_once(':')?;
    Some(wish((kind, &rest[..slug], &rest[slug + 1..]), principal))
}

/// What of two truths differs, but for stand-ins of names that nobody had: they
/// come and go with whoever gets the name.
fn differences(
    places: &BTreeSet<String>,
    before: &Truth,
    after: &Truth,
    wished: &str,
    entitlement: &str,
) -> Vec<String> {
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
    // A namespace that is known by a binding only comes and goes with it.
    let unlisted = |id: &str| {
        let scope = id
            .split_once(":assigned:")
            .and_then(|(_, s)| s.split(':').next());
        scope.is_some_and(|s| s != "cluster" && !places.contains(s) && !s.contains(['*', '/']))
    };
    ids.into_iter()
        .filter(|id| before.get(*id) != after.get(*id))
        .filter(|id| *id != wished && id.to_lowercase() != wished.to_lowercase())
        .filter(|id| !stands_in(id) && !matched(id) && !unlisted(id))
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
    // EKS stores no empty scope; where the generator does, a grant replaces it.
    let associations: Vec<Value> = cloud
        .associations
        .iter()
        .filter(|a| a.2["type"] == "cluster" || a.2["namespaces"] != json!([]))
        .map(|a| json!([a.0, a.1, {"type": a.2["type"], "namespaces": a.2["namespaces"].as_array().cloned().unwrap_or_default()}])).collect();
    json!({
        "entries": sorted(&entries), "aws-auth": data,
        "associations": sorted(&associations),
        "bindings": sorted(&[cloud.role_bindings.clone(), cloud.cluster_role_bindings.clone()].concat()),
    })
}

fn unlike(a: &Value, b: &Value) -> String {
    let parts = ["entries", "aws-auth", "associations", "bindings"];
    let differing = parts.iter().filter(|p| a[**p] != b[**p]);
    differing
        .map(|p| format!("{p}: {:#} became {:#}", a[*p], b[*p]))
        .collect()
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
    fn changes(&mut self, plan: &Plan) {
        for change in &plan.changes {
            let mut parts = change.path.split('/').rev();
            let what = parts.find(|s| s.len() < 25 || !s.contains(['-', '%']));
            self.add(format!(
                "change {} {}",
                change.method,
                what.unwrap_or_default()
            ));
        }
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
            tally.changes(&plan);
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
            let other = differences(&before.namespaces, &old, &after, &id, &entitlement);
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
            tally.changes(&plan);
            let after = truth(&now(cloud, before));
            if after.contains_key(&id) || after.contains_key(&id.to_lowercase()) {
                return Err(format!("still held after {plan:#?}"));
            }
            let other = differences(&before.namespaces, &old, &after, &id, &entitlement);
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
    let count = 600_u64;
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
        let wished = random_wish(&mut dice, &base);
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
                        say("left", &wished, unlike(&from, &settled(&cloud)));
                    }
                    Ok(()) => {}
                }
            }
        }
        // A life of wishes in one cluster.
        let mut cloud = start;
        for _ in 0..5 {
            let facts = now(&cloud, &base);
            let wished = random_wish(&mut dice, &facts);
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
        if wrong.len() > 12 {
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
        ("revoke changes", count / 2),
        ("revoke conflict", count / 10),
        ("change PUT", count / 40),
        ("change PATCH", count / 80),
        ("change DELETE", count / 8),
    ] {
        assert!(tally.of(what) as u64 > least, "{what}: {tally:#?}");
    }
}

/// Whether the wished grant was held before in some weaker way, or somebody was
/// bound to it who is the principal once that is mapped: a revoke takes those too.
fn had(cloud: &Cloud, base: &Facts, wished: &Grant) -> bool {
    let (entitlement, id) = id_of(wished);
    let stand_in = format!("{entitlement}:kube_user:").to_lowercase();
    let truth = truth(&now(cloud, base));
    let mut ids = truth.keys();
    ids.any(|t| t.to_lowercase() == id.to_lowercase() || t.starts_with(&stand_in))
}

/// A plan only reads.
#[test]
fn planning_changes_nothing() {
    for seed in 0..200_u64 {
        let mut dice = Dice(seed * 31_337 + 5);
        let (base, cloud) = facts(&mut dice);
        let wished = random_wish(&mut dice, &base);
        let twice = [Direction::Grant, Direction::Revoke].map(|direction| {
            let one = plan(&cloud, direction, &wished);
            let two = plan(&cloud, direction, &wished);
            format!("{one:?}") == format!("{two:?}")
        });
        assert_eq!(twice, [true, true], "seed {seed}");
    }
}
