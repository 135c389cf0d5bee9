//! Clouds of any size from a seed.
//!
//! The same seed and size give the same cloud on every machine: the random
//! numbers are our own (SplitMix64), so that no crate's new version changes
//! what a benchmark or a counted test runs against.

use serde_json::{Value, json};

use crate::scenario::{
    AccessKey, Account, ClusterSpec, Connect, EntrySpec, GroupSpec, Pages, PodIdentitySpec,
    PolicySpec, RoleSpec, Scenario, UserSpec,
};

/// How much of what a generated cloud has, beside what every cluster has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Namespaces.
    pub namespaces: usize,
    /// Service accounts, spread over the namespaces.
    pub service_accounts: usize,
    /// Config maps, spread over the namespaces.
    pub config_maps: usize,
    /// Cluster roles.
    pub cluster_roles: usize,
    /// Roles, spread over the namespaces.
    pub roles: usize,
    /// Bindings; one in eight is a cluster role binding.
    pub bindings: usize,
    /// Subjects of each binding.
    pub subjects: usize,
    /// Access entries, of IAM roles and users.
    pub entries: usize,
    /// Lines of `aws-auth`.
    pub mappings: usize,
    /// IAM roles.
    pub iam_roles: usize,
    /// IAM users.
    pub iam_users: usize,
    /// Pod identity associations.
    pub pod_identities: usize,
}

impl Default for Size {
    fn default() -> Size {
        Size {
            namespaces: 20,
            service_accounts: 60,
            config_maps: 40,
            cluster_roles: 30,
            roles: 40,
            bindings: 120,
            subjects: 2,
            entries: 40,
            mappings: 10,
            iam_roles: 60,
            iam_users: 30,
            pod_identities: 10,
        }
    }
}

const ACCOUNT: &str = "111122223333";

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `n`; 0 where `n` is 0.
    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % (n.max(1) as u64)).unwrap_or(0)
    }
}

/// Makes a cloud with one cluster `generated` in mode API_AND_CONFIG_MAP, read as role `reader` by user `baton`.
pub fn generate(seed: u64, size: Size) -> Scenario {
    let mut random = Random(seed);
    let users: Vec<UserSpec> = (0..size.iam_users)
        .map(|n| UserSpec {
            name: format!("user-{n:05}"),
            path: "/".into(),
            created: created(),
            ..UserSpec::default()
        })
        .collect();
    let roles: Vec<RoleSpec> = (0..size.iam_roles)
        .map(|n| role(n, size, &mut random))
        .collect();
    let arns: Vec<String> = roles
        .iter()
        .map(|r| format!("arn:aws:iam::{ACCOUNT}:role{}{}", r.path, r.name))
        .chain(
            users
                .iter()
                .map(|u| format!("arn:aws:iam::{ACCOUNT}:user/{}", u.name)),
        )
        .collect();
    let mut entries: Vec<EntrySpec> = arns
        .iter()
        .take(size.entries)
        .enumerate()
        .map(|(n, arn)| entry(n, arn, &mut random))
        .collect();
    entries.push(EntrySpec {
        principal: format!("arn:aws:iam::{ACCOUNT}:role/reader"),
        groups: vec!["readers".into()],
        ..blank()
    });
    let lines: String = roles
        .iter()
        .rev()
        .take(size.mappings)
        .enumerate()
        .map(|(n, r)| format!("- rolearn: arn:aws:iam::{ACCOUNT}:role/{}\n  username: mapped-{n}\n  groups:\n  - group-{}\n", r.name, n % 50))
        .collect();
    let namespaces: Vec<String> = (0..size.namespaces).map(|n| format!("ns-{n:05}")).collect();
    let mut objects = vec![
        json!({"kind": "ClusterRole", "metadata": {"name": "reader"}, "rules": [
            {"apiGroups": [super::kubernetes::store::RBAC], "resources": ["roles", "rolebindings", "clusterroles", "clusterrolebindings"], "verbs": ["get", "list", "watch"]},
            {"apiGroups": [""], "resources": ["namespaces", "serviceaccounts", "configmaps"], "verbs": ["get", "list", "watch"]}]}),
        json!({"kind": "ClusterRoleBinding", "metadata": {"name": "reader"}, "roleRef": {"kind": "ClusterRole", "name": "reader"}, "subjects": [{"kind": "Group", "name": "readers"}]}),
    ];
    objects.extend(kubernetes_objects(size, &namespaces, &mut random));
    let mut account_users = vec![UserSpec {
        name: "baton".into(),
        path: "/".into(),
        created: created(),
        keys: vec![AccessKey {
            id: "AKIAIOSFODNN7EXAMPLE".into(),
            secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".into(),
        }],
        ..UserSpec::default()
    }];
    account_users.extend(users);
    let mut account_roles = vec![RoleSpec {
        name: "reader".into(),
        trust: trust("user/baton"),
        ..plain_role()
    }];
    account_roles.extend(roles);
    Scenario {
        partition: "aws".into(),
        region: "eu-west-1".into(),
        accounts: vec![Account {
            id: ACCOUNT.into(),
            users: account_users,
            groups: Vec::<GroupSpec>::new(),
            roles: account_roles,
        }],
        clusters: vec![ClusterSpec {
            name: "generated".into(),
            account: None,
            region: None,
            version: "1.34".into(),
            mode: "API_AND_CONFIG_MAP".into(),
            status: "ACTIVE".into(),
            issuer: None,
            created: created(),
            creator: None,
            wrong_ca: false,
            unreachable: false,
            connect: Some(Connect {
                role_arn: Some(format!("arn:aws:iam::{ACCOUNT}:role/reader")),
                ..Connect::default()
            }),
            entries,
            pod_identities: (0..size.pod_identities.min(size.service_accounts))
                .map(|n| PodIdentitySpec {
                    namespace: pick(&namespaces, n),
                    service_account: format!("sa-{n:05}"),
                    role_arn: arns.get(n % arns.len().max(1)).cloned().unwrap_or_default(),
                    target_role_arn: None,
                })
                .collect(),
            identity_providers: Vec::new(),
            aws_auth: Some([("mapRoles".to_owned(), lines)].into()),
            aws_auth_webhook: false,
            terminating: Vec::new(),
            service_accounts: (0..size.service_accounts)
                .map(|n| format!("{}/sa-{n:05}", pick(&namespaces, n)))
                .collect(),
            namespaces,
            objects,
            noise: false,
        }],
        web_identity_tokens: Vec::new(),
        container: None,
        faults: Vec::new(),
        consistency_delay_ms: 0,
        pages: Pages::default(),
    }
}

fn created() -> String {
    "2024-01-01T00:00:00Z".into()
}

/// The n-th of a list, round and round; `default` where it is empty.
fn pick(list: &[String], n: usize) -> String {
    list.get(n % list.len().max(1))
        .cloned()
        .unwrap_or_else(|| "default".into())
}

fn trust(who: &str) -> Value {
    json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": format!("arn:aws:iam::{ACCOUNT}:{who}")}, "Action": "sts:AssumeRole"}]})
}

fn plain_role() -> RoleSpec {
    RoleSpec {
        name: String::new(),
        path: "/".into(),
        trust: Value::Null,
        created: created(),
        description: String::new(),
        max_session: 3600,
        allow: None,
        deny: Vec::new(),
        policy: None,
        last_used: None,
        tags: std::collections::BTreeMap::new(),
    }
}

fn role(n: usize, size: Size, random: &mut Random) -> RoleSpec {
    let path = if n.is_multiple_of(3) { "/team/" } else { "/" };
    let who = format!("user/user-{:05}", random.below(size.iam_users));
    let trust = match n % 4 {
        0 | 1 => trust(&who),
        2 => trust("root"),
        _ => {
            json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "pods.eks.amazonaws.com"}, "Action": ["sts:AssumeRole", "sts:TagSession"]}]})
        }
    };
    RoleSpec {
        name: format!("role-{n:05}"),
        path: path.into(),
        trust,
        ..plain_role()
    }
}

fn blank() -> EntrySpec {
    EntrySpec {
        principal: String::new(),
        kind: "STANDARD".into(),
        username: None,
        groups: Vec::new(),
        created: "2025-01-01T00:00:00Z".into(),
        tags: std::collections::BTreeMap::new(),
        policies: Vec::new(),
    }
}

fn entry(n: usize, arn: &str, random: &mut Random) -> EntrySpec {
    let policy = [
        "AmazonEKSViewPolicy",
        "AmazonEKSEditPolicy",
        "AmazonEKSAdminPolicy",
        "AmazonEKSClusterAdminPolicy",
    ][random.below(4)];
    let policies = match n % 3 {
        0 => vec![PolicySpec {
            policy: policy.into(),
            namespaces: None,
        }],
        1 => vec![PolicySpec {
            policy: policy.into(),
            namespaces: Some(vec![
                format!("ns-{:05}", random.below(20)),
                "ns-0000*".into(),
            ]),
        }],
        _ => Vec::new(),
    };
    EntrySpec {
        principal: arn.into(),
        groups: vec![format!("group-{}", random.below(50))],
        policies,
        ..blank()
    }
}

fn kubernetes_objects(size: Size, namespaces: &[String], random: &mut Random) -> Vec<Value> {
    let resources = ["pods", "services", "configmaps", "deployments", "secrets"];
    let rules = |random: &mut Random| json!([{"apiGroups": ["", "apps"], "resources": [resources[random.below(5)], resources[random.below(5)]], "verbs": ["get", "list"]}]);
    let mut objects = Vec::new();
    for n in 0..size.config_maps {
        let namespace = pick(namespaces, n);
        objects.push(json!({"kind": "ConfigMap", "metadata": {"name": format!("config-{n:05}"), "namespace": namespace}, "data": {"value": super::CONFIG_MAP_CANARY}}));
    }
    for n in 0..size.cluster_roles {
        let rules = rules(random);
        objects.push(json!({"kind": "ClusterRole", "metadata": {"name": format!("cluster-role-{n:05}")}, "rules": rules}));
    }
    for n in 0..size.roles {
        let rules = rules(random);
        objects.push(json!({"kind": "Role", "metadata": {"name": format!("role-{n:05}"), "namespace": pick(namespaces, n)}, "rules": rules}));
    }
    for n in 0..size.bindings {
        let cluster_wide = n % 8 == 0;
        let subjects: Vec<Value> = (0..size.subjects)
            .map(|_| subject(size, namespaces, random))
            .collect();
        let role = random.below(size.roles);
        let (kind, name) = if cluster_wide || size.roles == 0 || n % 2 == 0 {
            (
                "ClusterRole",
                format!("cluster-role-{:05}", random.below(size.cluster_roles)),
            )
        } else {
            ("Role", format!("role-{role:05}"))
        };
        let mut binding = json!({"kind": "RoleBinding", "metadata": {"name": format!("binding-{n:06}"), "namespace": pick(namespaces, role)},
            "roleRef": {"kind": kind, "name": name}, "subjects": subjects});
        if let (true, Some(map)) = (cluster_wide, binding.as_object_mut()) {
            map.insert("kind".into(), "ClusterRoleBinding".into());
            map.insert(
                "metadata".into(),
                json!({"name": format!("binding-{n:06}")}),
            );
        }
        objects.push(binding);
    }
    objects
}

fn subject(size: Size, namespaces: &[String], random: &mut Random) -> Value {
    match random.below(3) {
        0 if size.service_accounts > 0 => {
            let n = random.below(size.service_accounts);
            json!({"kind": "ServiceAccount", "name": format!("sa-{n:05}"), "namespace": pick(namespaces, n)})
        }
        1 => {
            json!({"kind": "User", "name": format!("arn:aws:iam::{ACCOUNT}:user/user-{:05}", random.below(size.iam_users))})
        }
        _ => json!({"kind": "Group", "name": format!("group-{}", random.below(50))}),
    }
}
