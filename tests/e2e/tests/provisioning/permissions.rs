//! What `permissions --provisioning` prints is enough, and no line of it is too
//! much: with all of it everything works, and without any single right
//! something fails with a sentence that names that right.

use baton_host::provision::{Direction, Mode, ProvisionError};
use cloud_sim::{PodIdentitySpec, Scenario};
use e2e::harness::{Quick, cluster};
use serde_json::{Value, json};

use crate::orders::*;
use crate::program::*;
use crate::town::*;

/// The group of the printed manifest.
const GROUP: &str = "baton-host-provisioner";

/// What the program prints: an IAM policy, and objects for the cluster.
fn printed(mode: &str) -> (Value, Vec<Value>) {
    let sim = e2e::harness::cloud(town(mode));
    let host = provisioner(&sim);
    let run = host.run(&[
        "permissions",
        "--grantable",
        "reports,ops:on-call,dev/deploy",
        "--authentication-mode",
        mode,
        "--format",
        "json",
    ]);
    let all = run.ok().json();
    let manifest = all["kubernetes_manifest"].as_str().unwrap();
    let objects = manifest
        .split("\n---\n")
        .map(|text| serde_json::to_value(yaml(text)).unwrap())
        .collect();
    (all["iam_policy"].clone(), objects)
}

fn yaml(text: &str) -> Value {
    // A manifest is a scenario's `objects`, item by item.
    let indented: String = text.lines().map(|line| format!("    {line}\n")).collect();
    let text = format!(
        "accounts: [{{id: \"111122223333\"}}]\nclusters:\n- name: x\n  objects:\n  -\n{indented}"
    );
    Scenario::from_yaml(&text).unwrap().clusters[0].objects[0].clone()
}

/// A cluster whose host has these rights and no others.
fn with_rights(mode: &str, policy: &Value, objects: &[Value]) -> Lab {
    let mut scenario = town(mode);
    for role in &mut scenario.accounts[0].roles {
        if role.name == "baton-host" {
            // Each lab is in a region of its own.
            let text = policy.to_string().replace(":eu-west-1:", ":*:");
            role.policy = Some(serde_json::from_str(&text).unwrap());
        }
    }
    let town = cluster(&mut scenario, LAB);
    town.objects.retain(|object| {
        let name = object["metadata"]["name"].as_str().unwrap();
        !name.starts_with("baton-provisioner")
    });
    town.objects.extend(objects.iter().cloned());
    for entry in &mut town.entries {
        if entry.principal == HOST {
            entry.groups = vec![GROUP.to_owned()];
        }
    }
    if let Some(map) = &mut town.aws_auth {
        for text in map.values_mut() {
            *text = text.replace("baton-provisioners", GROUP);
        }
    }
    town.pod_identities = vec![PodIdentitySpec {
        namespace: "dev".into(),
        service_account: "app".into(),
        role_arn: OPS.into(),
        target_role_arn: None,
    }];
    if mode == BOTH {
        // Two with one name: a grant puts the group of one into its line.
        town.aws_auth.as_mut().unwrap().insert(
            "mapUsers".into(),
            ["carol", "dave"]
                .map(|name| {
                    format!(
                        "- userarn: arn:aws:iam::111122223333:user/{name}\n  username: people\n"
                    )
                })
                .concat(),
        );
    }
    if mode != CONFIG_MAP {
        town.entries.push(entry_spec(
            OPS,
            &["team"],
            &[("AmazonEKSViewPolicy", Some(&["small"]))],
        ));
    }
    for (kind, namespace) in [("RoleBinding", Some("dev")), ("ClusterRoleBinding", None)] {
        town.objects.push(json!({"kind": kind, "metadata": {"name": "foreign", "namespace": namespace},
            "roleRef": {"kind": "ClusterRole", "name": "reports"},
            "subjects": [{"kind": "User", "name": "joe"}, {"kind": "ServiceAccount", "name": "app", "namespace": "dev"}]}));
    }
    Lab::new(scenario)
}

/// Orders that use every right there is.
fn orders(mode: &str) -> Vec<(Direction, Wish<'static>, (&'static str, &'static str))> {
    let mut all = Vec::new();
    let mut both = |wish, principal| {
        all.push((Direction::Grant, wish, principal));
        all.push((Direction::Revoke, wish, principal));
    };
    both(("cluster_role", "ops:on-call", "dev:member"), ("role", DEV));
    both(
        ("cluster_role", "reports", "all:member"),
        ("iam_user", ALICE),
    );
    both(
        ("namespace_role", "dev/deploy", "member"),
        ("iam_user", BOB),
    );
    if mode == BOTH {
        both(
            ("cluster_role", "reports", "dev:member"),
            ("iam_user", "arn:aws:iam::111122223333:user/carol"),
        );
    }
    if mode != CONFIG_MAP {
        both(("cluster_role", "reports", "dev:member"), ("role", OPS));
        both(("access_policy", VIEW, "assigned:dev"), ("role", OPS));
        both(("access_policy", VIEW, "assigned:cluster"), ("role", DEV));
    }
    all.push((
        Direction::Revoke,
        ("cluster_role", "reports", "dev:member"),
        ("service_account", APP),
    ));
    all.push((
        Direction::Revoke,
        ("cluster_role", "reports", "all:member"),
        ("service_account", APP),
    ));
    all
}

/// What a sync says of what it could not read.
fn missed_by_reading(lab: &Lab) -> Vec<String> {
    match Quick::try_sync(&lab.sim, LAB) {
        Ok(quick) => {
            let summary = quick.outcome.summary;
            let unread = summary.unread.iter().map(|line| format!("{line:?}"));
            let warnings = summary
                .warnings
                .iter()
                .map(|warning| warning.message.clone());
            unread
                .chain(warnings.filter(|message| message.contains("permit")))
                .collect()
        }
        Err(error) => vec![format!(
            "{} {}",
            error.message,
            error.hint.unwrap_or_default()
        )],
    }
}

/// What the orders say until one fails, or all are carried out.
fn missed_by_changing(lab: &Lab, mode: &str) -> Vec<String> {
    let mut all = Vec::new();
    for (direction, wish, principal) in orders(mode) {
        let order = lab.carry_out(direction, wish, principal, Mode::Apply);
        match runtime().block_on(order) {
            Ok(done) => all.extend(done.warnings),
            Err(error) => {
                let hint = match &error {
                    ProvisionError::Failed { hint, .. } => hint.clone(),
                    _ => None,
                };
                let hint = hint.unwrap_or_default();
                all.push(format!("{wish:?} {principal:?}: {error} {hint}"));
                return all;
            }
        }
    }
    all
}

#[test]
fn what_is_printed_is_enough() {
    for mode in MODES {
        let (policy, objects) = printed(mode);
        let lab = with_rights(mode, &policy, &objects);
        let all = [missed_by_reading(&lab), missed_by_changing(&lab, mode)].concat();
        assert!(all.is_empty(), "{mode}: {all:#?}");
    }
}

/// The policy without one action, and its name.
fn policies_without_one(policy: &Value) -> Vec<(String, Value)> {
    let mut all = Vec::new();
    for (s, statement) in policy["Statement"].as_array().unwrap().iter().enumerate() {
        if statement["Effect"] != "Allow" {
            continue;
        }
        for (a, action) in statement["Action"].as_array().unwrap().iter().enumerate() {
            let mut less = policy.clone();
            less["Statement"][s]["Action"]
                .as_array_mut()
                .unwrap()
                .remove(a);
            all.push((action.as_str().unwrap().to_owned(), less));
        }
    }
    all
}

/// The objects without one verb on one resource, and how one says it.
fn objects_without_one(objects: &[Value]) -> Vec<(String, Vec<Value>)> {
    let mut all = Vec::new();
    for (o, object) in objects.iter().enumerate() {
        for (r, rule) in object["rules"].as_array().into_iter().flatten().enumerate() {
            for verb in rule["verbs"].as_array().unwrap() {
                for resource in rule["resources"].as_array().unwrap() {
                    let mut less = objects.to_vec();
                    let others = |list: &str, one: &Value| {
                        let mut rule = rule.clone();
                        rule[list]
                            .as_array_mut()
                            .unwrap()
                            .retain(|other| other != one);
                        rule
                    };
                    let mut same = others("verbs", verb);
                    same["resources"] = json!([resource]);
                    let rules = less[o]["rules"].as_array_mut().unwrap();
                    rules[r] = others("resources", resource);
                    rules.push(same);
                    rules.retain(|rule| {
                        !rule["resources"].as_array().unwrap().is_empty()
                            && !rule["verbs"].as_array().unwrap().is_empty()
                    });
                    let words =
                        format!("{} {}", verb.as_str().unwrap(), resource.as_str().unwrap());
                    all.push((words, less));
                }
            }
        }
    }
    all
}

/// Whether a sentence names the right: each of its words is in it.
fn names(sentence: &str, right: &str) -> bool {
    match right.strip_suffix(" leases") {
        // A host without locks works on, and says so whichever verb it lacks.
        Some(_) => sentence.contains("no rights on the lease"),
        None => right.split(' ').all(|word| sentence.contains(word)),
    }
}

/// Rights that are printed and that no test here can miss.
fn excused(mode: &str, right: &str) -> bool {
    // Rights to read are the same in every mode, which may change under a sync.
    let entries = right.contains("AccessEntr") || right.contains("AccessPolicies");
    // Where aws-auth is not there only the cluster's creator gets in, who is
    // its administrator.
    mode == CONFIG_MAP && (entries || right == "create configmaps")
}

fn nothing_is_too_much(mode: &str) {
    let (policy, objects) = printed(mode);
    let mut cases: Vec<(String, Value, Vec<Value>)> = policies_without_one(&policy)
        .into_iter()
        .map(|(right, less)| (right, less, objects.clone()))
        .collect();
    cases.extend(
        objects_without_one(&objects)
            .into_iter()
            .map(|(right, less)| (right, policy.clone(), less)),
    );
    cases.retain(|(right, ..)| !excused(mode, right));
    type Missed = Box<dyn FnOnce() -> Option<String> + Send>;
    let jobs = cases.into_iter().map(|(right, policy, objects)| {
        let mode = mode.to_owned();
        Box::new(move || {
            let lab = with_rights(&mode, &policy, &objects);
            let named = |all: &[String]| all.iter().any(|sentence| names(sentence, &right));
            let reads = ["get ", "list ", "eks:List", "eks:Describe", "iam:List"];
            let reading = if reads.iter().any(|read| right.starts_with(read)) {
                missed_by_reading(&lab)
            } else {
                Vec::new()
            };
            if named(&reading) {
                return None;
            }
            let changing = missed_by_changing(&lab, &mode);
            (!named(&changing))
                .then(|| format!("{mode} without `{right}`: {reading:#?} {changing:#?}"))
        }) as Missed
    });
    let wrong: Vec<String> = all(4, jobs.collect()).into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_right_is_missed_by_its_name_in_both_modes() {
    nothing_is_too_much(BOTH);
}

#[test]
fn each_right_is_missed_by_its_name_without_entries() {
    nothing_is_too_much(CONFIG_MAP);
}
