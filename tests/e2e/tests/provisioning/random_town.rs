//! Clusters with everything that makes a grant hard, from a seed: colliding
//! names, shared usernames and groups, wildcards, foreign bindings, lines in
//! every style of YAML.
//!
//! The random numbers are our own, so that a seed means the same everywhere.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use cloud_sim::{EntrySpec, PolicySpec, Scenario};
use serde_json::{Value, json};

use e2e::harness::cluster;

use crate::town::*;

/// SplitMix64.
pub struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n as u64).unwrap()
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn pick<'t, T>(&mut self, all: &'t [T]) -> &'t T {
        &all[self.below(all.len())]
    }
}

/// A role with the path of Identity Center.
pub const SSO: &str = "arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Dev_0123456789abcdef";

/// Who is granted to.
pub const PRINCIPALS: [(&str, &str); 9] = [
    ("iam_user", ALICE),
    ("iam_user", BOB),
    ("iam_user", "arn:aws:iam::111122223333:user/carol"),
    ("role", DEV),
    ("role", OPS),
    ("role", SSO),
    ("service_account", "dev/app"),
    ("service_account", "firewall/app"),
    ("service_account", "all/app"),
];

/// Namespaces whose names collide with scopes, or contain or end in them.
pub const NAMESPACES: [&str; 6] = ["dev", "dev-2", "firewall", "all", "cluster", "small"];
/// Cluster roles; two are called like scopes.
const CLUSTER_ROLES: [&str; 4] = ["reports", "ops:on-call", "all", "small:member"];
const POLICIES: [&str; 2] = ["AmazonEKSViewPolicy", "AmazonEKSSecretReaderPolicy"];
const GROUPS: [&str; 3] = ["team-a", "team-b", "team-c"];

/// One kind of access, as the access file names it, and what it lets one do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    pub kind: &'static str,
    pub id: String,
    pub slug: String,
    /// The right that tells it from others: group and resource.
    pub right: (&'static str, String),
    /// Where; `None` is everywhere.
    pub namespace: Option<String>,
}

impl Access {
    /// The entitlement's id.
    pub fn entitlement(&self) -> String {
        format!("{}:{}:{}", self.kind, self.id, self.slug)
    }

    /// Whether it gives a right in a namespace; the cluster scope is empty.
    pub fn gives(&self, right: &(&'static str, String), namespace: &str) -> bool {
        self.right == *right && self.namespace.as_ref().is_none_or(|own| own == namespace)
    }
}

fn scope(namespace: &str, prefix: &str, suffix: &str, reserved: &str) -> String {
    let name = if namespace == reserved {
        format!("namespace/{namespace}")
    } else {
        namespace.to_owned()
    };
    format!("{prefix}{name}{suffix}")
}

/// Everything that can be granted here.
pub fn accesses() -> Vec<Access> {
    let mut all = Vec::new();
    let places = || std::iter::once(None).chain(NAMESPACES.iter().map(|n| Some((*n).to_owned())));
    for role in CLUSTER_ROLES {
        all.extend(places().map(|namespace| Access {
            kind: "cluster_role",
            id: role.to_owned(),
            slug: namespace.as_deref().map_or_else(
                || "all:member".to_owned(),
                |n| scope(n, "", ":member", "all"),
            ),
            right: ("test.io", role.to_owned()),
            namespace,
        }));
    }
    for namespace in NAMESPACES {
        all.push(Access {
            kind: "namespace_role",
            id: format!("{namespace}/deploy"),
            slug: "member".to_owned(),
            right: ("test.io", "deploy".to_owned()),
            namespace: Some(namespace.to_owned()),
        });
    }
    for (policy, resource) in POLICIES.iter().zip(["pods", "secrets"]) {
        all.extend(places().map(|namespace| Access {
            kind: "access_policy",
            id: format!("arn:aws:eks::aws:cluster-access-policy/{policy}"),
            slug: namespace.as_deref().map_or_else(
                || "assigned:cluster".to_owned(),
                |n| scope(n, "assigned:", "", "cluster"),
            ),
            right: ("", resource.to_owned()),
            namespace,
        }));
    }
    all
}

/// Every right that the judge is asked about.
pub fn rights() -> Vec<(&'static str, String)> {
    let mut all: Vec<_> = accesses().into_iter().map(|access| access.right).collect();
    all.sort();
    all.dedup();
    all
}

/// A cluster from a seed.
pub fn random_town(seed: u64) -> Scenario {
    let mut random = Random(seed);
    let mode = MODES[usize::try_from(seed % 3).unwrap()];
    let mut scenario = town(mode);
    let mut sso = scenario.accounts[0].roles[1].clone();
    sso.name = "AWSReservedSSO_Dev_0123456789abcdef".into();
    sso.path = "/aws-reserved/sso.amazonaws.com/".into();
    scenario.accounts[0].roles.push(sso);
    scenario.consistency_delay_ms = if random.one_in(4) { 150 } else { 0 };
    let mut entries: Vec<EntrySpec> = Vec::new();
    for (kind, arn) in PRINCIPALS {
        if kind != "service_account" && random.one_in(2) {
            entries.push(entry(&mut random, kind, arn));
        }
    }
    let lines = lines(&mut random);
    let users = usernames(&entries);
    let town = cluster(&mut scenario, LAB);
    town.namespaces = NAMESPACES.map(str::to_owned).into();
    town.service_accounts = ["dev/app", "firewall/app", "all/app", "dev/other"]
        .map(str::to_owned)
        .into();
    if mode != CONFIG_MAP {
        town.entries.extend(entries);
    }
    if mode != API {
        let data = town.aws_auth.as_mut().unwrap();
        data.extend(lines);
        town.aws_auth_webhook = random.one_in(2);
    }
    for role in CLUSTER_ROLES {
        town.objects.retain(|o| o["metadata"]["name"] != role);
        town.objects
            .push(json!({"kind": "ClusterRole", "metadata": {"name": role},
            "rules": [{"apiGroups": ["test.io"], "resources": [role], "verbs": ["get"]}]}));
    }
    town.objects.retain(|o| o["metadata"]["name"] != "deploy");
    for namespace in NAMESPACES {
        town.objects.push(
            json!({"kind": "Role", "metadata": {"name": "deploy", "namespace": namespace},
            "rules": [{"apiGroups": ["test.io"], "resources": ["deploy"], "verbs": ["get"]}]}),
        );
    }
    for n in 0..8 {
        let binding = binding(&mut random, n, &users);
        town.objects.push(binding);
    }
    scenario
}

fn entry(random: &mut Random, kind: &str, arn: &str) -> EntrySpec {
    let name = arn.rsplit('/').next().unwrap();
    let username = match random.below(4) {
        0 => Some("shared".to_owned()),
        1 => Some(name.to_lowercase()),
        2 if kind == "role" => Some(format!("{}:{{{{SessionName}}}}", name.to_lowercase())),
        _ => None,
    };
    let scopes: [Option<&[&str]>; 5] = [
        None,
        Some(&["dev"]),
        Some(&["firewall", "dev"]),
        Some(&["dev*"]),
        Some(&["small", "gone"]),
    ];
    let mut policies = Vec::new();
    for policy in POLICIES {
        if random.one_in(3) {
            policies.push(PolicySpec {
                policy: policy.to_owned(),
                namespaces: random
                    .pick(&scopes)
                    .map(|all| all.iter().map(|n| (*n).to_owned()).collect()),
            });
        }
    }
    EntrySpec {
        principal: arn.to_owned(),
        kind: "STANDARD".to_owned(),
        username,
        groups: GROUPS
            .iter()
            .filter(|_| random.one_in(3))
            .map(|g| (*g).to_owned())
            .collect(),
        created: "2025-01-01T00:00:00Z".to_owned(),
        tags: BTreeMap::new(),
        policies,
    }
}

fn usernames(entries: &[EntrySpec]) -> Vec<String> {
    let mut all: Vec<String> = ["shared", "legacy", "alice", "nobody"]
        .map(str::to_owned)
        .into();
    all.extend(entries.iter().filter_map(|e| e.username.clone()));
    all
}

/// `mapRoles`, `mapUsers` and perhaps `mapAccounts`.
fn lines(random: &mut Random) -> BTreeMap<String, String> {
    let mut roles: Vec<Value> = Vec::new();
    let mut users: Vec<Value> = Vec::new();
    for (kind, arn) in PRINCIPALS {
        if kind == "service_account" || !random.one_in(2) {
            continue;
        }
        let name = arn.rsplit('/').next().unwrap().to_lowercase();
        let mut groups: Vec<&str> = GROUPS
            .iter()
            .filter(|_| random.one_in(3))
            .copied()
            .collect();
        if random.one_in(8) {
            groups.push("system:masters");
        }
        let username = match random.below(4) {
            0 => "shared".to_owned(),
            1 if kind == "role" => format!("{name}-{{{{SessionName}}}}"),
            2 => "legacy".to_owned(),
            _ => name.clone(),
        };
        // A role's path is no part of its line; a user's is.
        let canonical = if kind == "role" {
            format!(
                "arn:aws:iam::111122223333:role/{}",
                arn.rsplit('/').next().unwrap()
            )
        } else {
            arn.to_owned()
        };
        let groups = if groups.is_empty() && random.one_in(2) {
            Value::Null
        } else {
            json!(groups)
        };
        match kind {
            "role" => {
                roles.push(json!({"rolearn": canonical, "username": username, "groups": groups}))
            }
            _ => users.push(json!({"userarn": canonical, "username": username, "groups": groups})),
        }
    }
    let mut data = BTreeMap::new();
    let host = json!({"rolearn": HOST, "username": "baton-host", "groups": ["baton-provisioners"]});
    roles.insert(random.below(roles.len() + 1), host);
    data.insert("mapRoles".to_owned(), styled(random, &roles, "rolearn"));
    if !users.is_empty() || random.one_in(2) {
        data.insert("mapUsers".to_owned(), styled(random, &users, "userarn"));
    }
    if random.one_in(6) {
        data.insert("mapAccounts".to_owned(), "- \"444455556666\"\n".to_owned());
    }
    data
}

/// Items as people, and programs, have written them.
fn styled(random: &mut Random, items: &[Value], arn: &str) -> String {
    if items.is_empty() {
        return (*random.pick(&["", "[]", "[]\n"])).to_owned();
    }
    match random.below(4) {
        0 => serde_json::to_string(items).unwrap(),
        1 => {
            let mut text = String::from("# kept by hand\n");
            for item in items {
                writeln!(text, "- {item}  # inline").unwrap();
            }
            text
        }
        style => {
            let mut text = String::new();
            for item in items {
                writeln!(text, "- {arn}: {}", item[arn].as_str().unwrap()).unwrap();
                writeln!(text, "  username: {}", item["username"]).unwrap();
                match item["groups"].as_array() {
                    None => text.push_str("  groups:\n"),
                    Some(groups) if groups.is_empty() => text.push_str("  groups: []\n"),
                    Some(groups) => {
                        text.push_str("  groups:\n");
                        for group in groups {
                            let indent = if style == 2 { "  " } else { "    " };
                            writeln!(text, "{indent}- {}", group.as_str().unwrap()).unwrap();
                        }
                    }
                }
                if random.one_in(3) {
                    text.push_str("  # until the end of the year\n");
                }
            }
            if random.one_in(4) {
                text = text.replace('\n', "\r\n");
            }
            if random.one_in(4) {
                text = text.trim_end().to_owned();
            }
            text
        }
    }
}

/// Somebody else's binding.
fn binding(random: &mut Random, n: usize, users: &[String]) -> Value {
    let namespace = random.pick(&NAMESPACES).to_owned();
    let wide = random.one_in(3);
    let subjects: Vec<Value> = (0..1 + random.below(3))
        .map(|_| match random.below(6) {
            0 | 1 => json!({"kind": "Group", "name": random.pick(&GROUPS)}),
            2 | 3 => json!({"kind": "User", "name": random.pick(users)}),
            4 => json!({"kind": "ServiceAccount", "name": "app", "namespace": random.pick(&["dev", "firewall", "all"])}),
            _ if random.one_in(3) => json!({"kind": "Group", "name": "system:serviceaccounts:dev"}),
            _ => json!({"kind": "User", "name": "system:serviceaccount:firewall:app"}),
        })
        .collect();
    if wide {
        return json!({"kind": "ClusterRoleBinding", "metadata": {"name": format!("foreign-{n}")},
            "roleRef": {"kind": "ClusterRole", "name": random.pick(&CLUSTER_ROLES)}, "subjects": subjects});
    }
    let reference = if random.one_in(3) {
        json!({"kind": "Role", "name": "deploy"})
    } else {
        json!({"kind": "ClusterRole", "name": random.pick(&CLUSTER_ROLES)})
    };
    json!({"kind": "RoleBinding", "metadata": {"name": format!("foreign-{n}"), "namespace": namespace},
        "roleRef": reference, "subjects": subjects})
}
