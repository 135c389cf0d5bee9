//! The cluster that the tests grant and revoke in, in each authentication mode.
//!
//! Every role that can be granted has one right that nothing else has (`get` on
//! a resource of the group `test.io` with the role's name), so that the judge
//! can tell whether somebody holds the role.

use cloud_sim::{Action, Scenario, Sim};

use e2e::harness::cluster;

pub const API: &str = "API";
pub const BOTH: &str = "API_AND_CONFIG_MAP";
pub const CONFIG_MAP: &str = "CONFIG_MAP";
/// Every authentication mode.
pub const MODES: [&str; 3] = [API, BOTH, CONFIG_MAP];

/// The cluster.
pub const LAB: &str = "lab";
/// The role that the host acts as.
pub const HOST: &str = "arn:aws:iam::111122223333:role/baton-host";
/// A user.
pub const ALICE: &str = "arn:aws:iam::111122223333:user/alice";
/// A user with a path.
pub const BOB: &str = "arn:aws:iam::111122223333:user/people/bob";
/// A role with a path.
pub const DEV: &str = "arn:aws:iam::111122223333:role/team/dev";
/// A role without.
pub const OPS: &str = "arn:aws:iam::111122223333:role/ops";
/// The node role.
pub const NODE: &str = "arn:aws:iam::111122223333:role/node";
/// A service-linked role.
pub const LINKED: &str =
    "arn:aws:iam::111122223333:role/aws-service-role/thing.amazonaws.com/AWSServiceRoleForThing";
/// A service account.
pub const APP: &str = "dev/app";
/// An access policy.
pub const VIEW: &str = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy";
/// API group of RBAC.
pub const RBAC: &str = "rbac.authorization.k8s.io";

const TOWN: &str = r#"
region: eu-west-1
accounts:
- id: "111122223333"
  users:
  - name: baton
    keys: [{id: AKIAIOSFODNN7EXAMPLE, secret: wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY}]
  - {name: alice}
  - {name: bob, path: /people/}
  - {name: carol}
  roles:
  - {name: baton-host, trust: &baton {Version: "2012-10-17", Statement: [{Effect: Allow, Principal: {AWS: "arn:aws:iam::111122223333:user/baton"}, Action: "sts:AssumeRole"}]}}
  - {name: dev, path: /team/, trust: &alice {Version: "2012-10-17", Statement: [{Effect: Allow, Principal: {AWS: "arn:aws:iam::111122223333:user/alice"}, Action: "sts:AssumeRole"}]}}
  - {name: ops, trust: *alice}
  - {name: node, trust: {Version: "2012-10-17", Statement: [{Effect: Allow, Principal: {Service: ec2.amazonaws.com}, Action: "sts:AssumeRole"}]}}
  - {name: AWSServiceRoleForThing, path: /aws-service-role/thing.amazonaws.com/, trust: {Version: "2012-10-17", Statement: [{Effect: Allow, Principal: {Service: thing.amazonaws.com}, Action: "sts:AssumeRole"}]}}
clusters:
- name: lab
  mode: MODE
  connect: {role-arn: "arn:aws:iam::111122223333:role/baton-host"}
  namespaces: [dev, firewall, all, cluster]
  terminating: [going]
  service-accounts: [dev/app, firewall/app]
  objects:
  - kind: ClusterRole
    metadata: {name: baton-provisioner}
    rules:
    - {apiGroups: [rbac.authorization.k8s.io], resources: [roles, clusterroles], verbs: [get, list, bind]}
    - {apiGroups: [rbac.authorization.k8s.io], resources: [rolebindings, clusterrolebindings], verbs: ["*"]}
    - {apiGroups: [""], resources: [namespaces, serviceaccounts, configmaps], verbs: ["*"]}
    - {apiGroups: [coordination.k8s.io], resources: [leases], verbs: ["*"]}
  - kind: ClusterRoleBinding
    metadata: {name: baton-provisioners}
    roleRef: {kind: ClusterRole, name: baton-provisioner}
    subjects: [{kind: Group, name: baton-provisioners}]
  - {kind: ClusterRole, metadata: {name: reports}, rules: [{apiGroups: [test.io], resources: [reports], verbs: [get]}]}
  - {kind: ClusterRole, metadata: {name: "ops:on-call"}, rules: [{apiGroups: [test.io], resources: ["ops:on-call"], verbs: [get]}]}
  - {kind: Role, metadata: {name: deploy, namespace: dev}, rules: [{apiGroups: [test.io], resources: [deploy], verbs: [get]}]}
"#;

const ENTRIES: &str = r#"
  entries:
  - {principal: "arn:aws:iam::111122223333:role/baton-host", groups: [baton-provisioners]}
  - {principal: "arn:aws:iam::111122223333:role/node", type: EC2_LINUX}
"#;

/// Comments, a quoted text, odd spaces: all of it stays.
pub const MAP_ROLES: &str = "\
# who may do what
- rolearn: arn:aws:iam::111122223333:role/baton-host   # the host
  username: baton-host
  groups:
    - baton-provisioners
- {rolearn: \"arn:aws:iam::111122223333:role/node\", username: \"system:node:{{EC2PrivateDNSName}}\", groups: [system:bootstrappers, system:nodes]}
";

/// The cloud, in a mode.
pub fn town(mode: &str) -> Scenario {
    let mut text = TOWN.replace("MODE", mode);
    if mode != CONFIG_MAP {
        text.push_str(ENTRIES);
    }
    let mut scenario = Scenario::from_yaml(&text).unwrap();
    if mode != API {
        cluster(&mut scenario, LAB).aws_auth =
            Some([("mapRoles".to_owned(), MAP_ROLES.to_owned())].into());
    }
    scenario
}

/// Who is asked about: principals as the access file names them.
pub fn subject(kind: &str, id: &str) -> String {
    match kind {
        "service_account" => {
            let (namespace, name) = id.split_once('/').unwrap();
            format!("system:serviceaccount:{namespace}:{name}")
        }
        _ => id.to_owned(),
    }
}

/// `get` on something in a namespace; the cluster's own where that is empty.
pub fn get<'a>(group: &'a str, resource: &'a str, namespace: &'a str) -> Action<'a> {
    Action {
        verb: "get",
        group,
        resource,
        namespace,
        name: "",
    }
}

/// Whether somebody has the right that only this role gives.
pub fn holds(sim: &Sim, kind: &str, id: &str, role: &str, namespace: &str) -> bool {
    sim.allowed(
        LAB,
        &subject(kind, id),
        Some("s"),
        get("test.io", role, namespace),
    )
    .unwrap()
}

/// Whether somebody may read pods, as `AmazonEKSViewPolicy` lets them.
pub fn views(sim: &Sim, kind: &str, id: &str, namespace: &str) -> bool {
    sim.allowed(
        LAB,
        &subject(kind, id),
        Some("s"),
        get("", "pods", namespace),
    )
    .unwrap()
}

/// `aws-auth` as it is now.
pub fn aws_auth(sim: &Sim) -> Option<serde_json::Value> {
    sim.object(LAB, "", "configmaps", "kube-system/aws-auth")
        .map(|map| map["data"].clone())
}
