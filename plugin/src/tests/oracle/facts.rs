//! Small random clusters: what is true in one, and the cloud that tells it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::judge::DNS;
use crate::tests::cloud::*;

pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % sides
    }
    pub fn one_in(&mut self, sides: usize) -> bool {
        self.roll(sides) == 0
    }
    pub fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.roll(from.len())]
    }
    pub fn some<'a>(&mut self, from: &[&'a str], most: usize) -> Vec<&'a str> {
        (0..self.roll(most + 1)).map(|_| self.pick(from)).collect()
    }
}

#[derive(Clone, Debug, Default)]
pub struct Map {
    pub arn: String,
    pub username: String,
    pub groups: Vec<String>,
    /// Entries only.
    pub kind: String,
    /// Entries only: younger than every role.
    pub fresh: bool,
}

#[derive(Clone, Debug)]
pub struct Bind {
    pub namespace: String,
    pub name: String,
    pub role: String,
    pub subjects: Vec<String>,
}

/// What is true in a small cluster.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    pub mode: &'static str,
    /// Full ARN and whether it is younger than every entry.
    pub roles: Vec<(String, bool)>,
    pub entries: Vec<Map>,
    pub role_lines: Vec<Map>,
    pub user_lines: Vec<Map>,
    pub accounts: Vec<&'static str>,
    pub namespaces: BTreeSet<String>,
    pub service_accounts: BTreeSet<String>,
    pub cluster_roles: BTreeSet<String>,
    pub local_roles: BTreeSet<String>,
    pub bindings: Vec<Bind>,
    pub associations: Vec<(String, String, Option<Vec<String>>)>,
}

pub fn external(name: &str) -> String {
    format!("arn:aws:iam::{OTHER}:role/{name}")
}

pub fn facts(dice: &mut Dice) -> (Facts, Cloud) {
    let mut facts = Facts {
        mode: [
            "CONFIG_MAP",
            "API_AND_CONFIG_MAP",
            "API_AND_CONFIG_MAP",
            "API",
        ][dice.roll(4)],
        ..Facts::default()
    };
    for name in ["dev", "team/Ops", "node", "again"] {
        if !dice.one_in(5) {
            facts.roles.push((role(name), name == "again"));
        }
    }
    let root = format!("arn:aws:iam::{ACCOUNT}:root");
    let federated = format!("arn:aws:sts::{ACCOUNT}:federated-user/fed");
    let everybody = [
        role("dev"),
        role("team/Ops"),
        role("node"),
        role("again"),
        role("gone"),
        external("ext"),
        user("bob"),
        user("team/eve"),
    ];
    let groups = [
        "devs",
        "admins",
        "system:masters",
        "system:nodes",
        "system:bootstrappers",
        "system:serviceaccounts:dev",
        "system:serviceaccounts",
        "system:authenticated",
        "g:{{SessionName}}",
        "a:{{AccountID}}",
        "h:{{EC2PrivateDNSName}}",
    ];
    let bob = user("bob");
    let names = [
        "",
        "bob",
        "dev:{{SessionName}}",
        "raw:{{SessionNameRaw}}",
        "acct-{{AccountID}}",
        "system:serviceaccount:dev:ci",
        "system:node:{{EC2PrivateDNSName}}",
        "system:kube-scheduler",
        "system:anonymous",
        bob.as_str(),
    ];
    let mut entries: BTreeMap<String, Value> = BTreeMap::new();
    for arn in &everybody {
        if !dice.one_in(3) {
            continue;
        }
        let kind = match dice.roll(8) {
            0 if arn.contains(":role/") => "EC2_LINUX",
            1 if arn.contains(":role/") => "EC2",
            2 => "QUANTUM",
            _ => "STANDARD",
        };
        let node = kind.starts_with("EC2");
        let map = Map {
            arn: arn.clone(),
            username: if node {
                dice.pick(&["", "system:node:{{EC2PrivateDNSName}}"]).into()
            } else {
                dice.pick(&[
                    "",
                    "",
                    "bob",
                    "dev:{{SessionName}}",
                    "raw:{{SessionNameRaw}}",
                ])
                .into()
            },
            groups: if node {
                dice.some(&["system:nodes"], 1)
                    .into_iter()
                    .map(String::from)
                    .collect()
            } else {
                dice.some(&["devs", "admins", "system:masters"], 2)
                    .into_iter()
                    .map(String::from)
                    .collect()
            },
            kind: kind.into(),
            fresh: false,
        };
        let list: Vec<&str> = map.groups.iter().map(String::as_str).collect();
        let mut told = entry(arn, &map.username, &list);
        told["type"] = kind.into();
        entries.insert(arn.clone(), told);
        facts.entries.push(map);
        for policy in [
            "AmazonEKSViewPolicy",
            "AmazonEKSClusterAdminPolicy",
            "AmazonEKSAutoNodePolicy",
        ] {
            if dice.one_in(3) {
                let scope = if dice.one_in(3) {
                    None
                } else {
                    let set: BTreeSet<&str> = dice
                        .some(
                            &[
                                "dev", "d*", "ghost", "nope-*", "*", "all", "cluster", "race",
                            ],
                            3,
                        )
                        .into_iter()
                        .collect();
                    Some(set.into_iter().map(String::from).collect())
                };
                facts.associations.push((arn.clone(), policy.into(), scope));
            }
        }
    }
    let mut text = [String::new(), String::new()];
    for (list, text) in text.iter_mut().enumerate() {
        for _ in 0..dice.roll(5) {
            let mut arn = match dice.roll(12) {
                0 => root.clone(),
                1 => federated.clone(),
                n => everybody[n % everybody.len()].clone(),
            };
            match dice.roll(6) {
                0..=2 => arn = arn.replace("role/team/", "role/"),
                3 => arn = arn.replace("user/team/", "user/"),
                4 => arn = arn.replace("arn:aws:", "arn:aws-cn:"),
                _ => {}
            }
            // Only where the true case is known: users and foreign roles are shown as written.
            if arn.contains(":role/") && !arn.contains(OTHER) && dice.one_in(4) {
                arn = arn
                    .to_uppercase()
                    .replace("ARN:AWS", "arn:aws")
                    .replace("IAM", "iam")
                    .replace("ROLE/", "role/");
            }
            if arn.contains(":user/") && dice.one_in(6) {
                arn = arn.replace("bob", "BOB");
            }
            let mut map = Map {
                arn,
                username: dice.pick(&names).into(),
                groups: dice
                    .some(&groups, 3)
                    .into_iter()
                    .map(String::from)
                    .collect(),
                ..Map::default()
            };
            let field = if list == 0 {
                dice.pick(&["rolearn", "roleARN", "RoleArn"])
            } else {
                dice.pick(&["userarn", "UserARN"])
            };
            let mut item = json!({field: map.arn, "username": map.username, "groups": map.groups});
            match dice.roll(12) {
                0 => {
                    item["groups"] = "system:masters".into();
                    map.groups.clear();
                }
                1 => {
                    item["groups"] = Value::Null;
                    map.groups.clear();
                }
                2 => {
                    item.as_object_mut().unwrap().remove(field);
                    map.arn.clear();
                }
                3 => {
                    item["username"] = 7.into();
                    map.username.clear();
                }
                _ => {}
            }
            text.push_str(&format!("- {item}\n"));
            if !map.arn.is_empty() {
                if list == 0 {
                    facts.role_lines.push(map);
                } else {
                    facts.user_lines.push(map);
                }
            }
        }
        if dice.one_in(15) {
            text.push_str("- {oops\n");
            if list == 0 {
                facts.role_lines.clear();
            } else {
                facts.user_lines.clear();
            }
        }
    }
    for account in [ACCOUNT, OTHER] {
        if dice.one_in(4) {
            facts.accounts.push(account);
        }
    }
    for name in ["default", "all", "cluster", "dev-2"] {
        if dice.one_in(2) {
            facts.namespaces.insert(name.into());
        }
    }
    facts.namespaces.insert("dev".into());
    for path in ["dev/ci", "dev/web", "default/ci"] {
        if dice.one_in(2) {
            facts.service_accounts.insert(path.into());
        }
    }
    for name in ["cluster-admin", "view"] {
        if !dice.one_in(4) {
            facts.cluster_roles.insert(name.into());
        }
    }
    for path in ["dev/r", "default/r", "race/r"] {
        if dice.one_in(2) {
            facts.local_roles.insert(path.into());
        }
    }
    let subjects = [
        "User:bob".to_string(),
        "User:dev:alice".into(),
        "User:dev:a.b-x".into(),
        "User:dev:a.b@x".into(),
        "User:raw:a.b@x".into(),
        format!("User:acct-{ACCOUNT}"),
        format!("User:arn:aws:sts::{ACCOUNT}:assumed-role/dev/alice"),
        format!("User:arn:aws:sts::{ACCOUNT}:assumed-role/Ops/alice"),
        format!("User:arn:aws:sts::{ACCOUNT}:assumed-role/team/Ops/alice"),
        format!("User:{}", user("bob")),
        format!("User:{}", user("team/eve")),
        format!("User:{}", role("dev")),
        format!("User:{}", role("DEV")),
        format!("User:{}", role("Ops")),
        format!("User:{}", role("team/Ops")),
        format!("User:{}", role("gone")),
        format!("User:{}", external("ext")),
        format!("User:{root}"),
        "User:system:serviceaccount:dev:ci".into(),
        "User:system:serviceaccount:dev:none".into(),
        "User:system:anonymous".into(),
        "User:system:kube-scheduler".into(),
        format!("User:system:node:{DNS}"),
        "Group:devs".into(),
        "Group:admins".into(),
        "Group:system:masters".into(),
        "Group:system:nodes".into(),
        "Group:system:bootstrappers".into(),
        "Group:system:serviceaccounts".into(),
        "Group:system:serviceaccounts:dev".into(),
        "Group:system:serviceaccounts:empty".into(),
        "Group:system:authenticated".into(),
        "Group:system:unauthenticated".into(),
        "Group:g:alice".into(),
        format!("Group:a:{ACCOUNT}"),
        format!("Group:h:{DNS}"),
        "ServiceAccount:dev/ci".into(),
        "ServiceAccount:dev/none".into(),
        "ServiceAccount:default/ci".into(),
        "ServiceAccount:/ci".into(),
    ];
    for at in 0..dice.roll(7) {
        let namespace = dice.pick(&["", "", "dev", "default", "all", "race"]);
        let role = if namespace.is_empty() {
            dice.pick(&[
                "ClusterRole:cluster-admin",
                "ClusterRole:view",
                "ClusterRole:none",
            ])
        } else {
            dice.pick(&[
                "ClusterRole:cluster-admin",
                "ClusterRole:view",
                "Role:r",
                "Role:none",
            ])
        };
        let named = (0..dice.roll(4))
            .map(|_| subjects[dice.roll(subjects.len())].clone())
            .filter(|s| !(namespace.is_empty() && s.starts_with("ServiceAccount:/")))
            .collect();
        facts.bindings.push(Bind {
            namespace: namespace.into(),
            name: format!("b{at}"),
            role: role.into(),
            subjects: named,
        });
    }
    let mut cloud = Cloud {
        mode: facts.mode.into(),
        namespaces: facts.namespaces.iter().cloned().collect(),
        cluster_roles: facts
            .cluster_roles
            .iter()
            .map(|n| json!({"metadata": meta("", n)}))
            .collect(),
        entries: entries.into_values().collect(),
        ..Cloud::default()
    };
    let split = |path: &String| {
        let (namespace, name) = path.split_once('/').unwrap();
        account(namespace, name)
    };
    cloud.service_accounts = facts.service_accounts.iter().map(split).collect();
    cloud.roles = facts.local_roles.iter().map(split).collect();
    for (arn, young) in &facts.roles {
        let created = if *young {
            "2025-01-01T00:00:00Z"
        } else {
            "2023-01-01T00:00:00Z"
        };
        cloud.iam.push((arn.clone(), created.into(), no_trust()));
    }
    for b in &facts.bindings {
        let subjects: Vec<&str> = b.subjects.iter().map(String::as_str).collect();
        let told = binding(&b.namespace, &b.name, &b.role, &subjects);
        if b.namespace.is_empty() {
            cloud.cluster_role_bindings.push(told);
        } else {
            cloud.role_bindings.push(told);
        }
    }
    for (arn, policy, scope) in &facts.associations {
        let scope = match scope {
            None => json!({"type": "cluster", "namespaces": []}),
            Some(list) => json!({"type": "namespace", "namespaces": list}),
        };
        cloud
            .associations
            .push((arn.clone(), policy.clone(), scope));
    }
    let accounts: String = facts
        .accounts
        .iter()
        .map(|a| format!("- \"{a}\"\n"))
        .collect();
    let cloud = cloud
        .aws_auth("mapRoles", &text[0])
        .aws_auth("mapUsers", &text[1])
        .aws_auth("mapAccounts", &accounts);
    (facts, cloud)
}
