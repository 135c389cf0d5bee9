//! The objects that every cluster has before anybody touches it.

use serde_json::{Value, json};

use super::store::RBAC;
use crate::scenario::ClusterSpec;

/// In every secret: finding it anywhere outside proves that a secret was read.
pub const SECRET_CANARY: &str = "canary-7f3a-in-a-secret";
/// In the data of every config map that nobody needs to read.
pub const CONFIG_MAP_CANARY: &str = "canary-91c4-in-a-config-map";

pub(crate) fn objects(spec: &ClusterSpec) -> Vec<Value> {
    let mut all = Vec::new();
    let own = ["default", "kube-system", "kube-public", "kube-node-lease"].map(str::to_owned);
    let mut namespaces: Vec<&String> = own.iter().chain(&spec.namespaces).collect();
    // Namespaces that the scenario gives as full objects need their service account too.
    let full = spec
        .objects
        .iter()
        .filter(|o| o.get("kind").and_then(Value::as_str) == Some("Namespace"));
    let full: Vec<String> = full
        .filter_map(|o| o.pointer("/metadata/name")?.as_str().map(str::to_owned))
        .collect();
    for name in &namespaces {
        all.push(json!({"kind": "Namespace", "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}}, "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}));
    }
    for name in &spec.terminating {
        all.push(json!({"kind": "Namespace", "metadata": {"name": name, "deletionTimestamp": "2025-06-01T00:00:00Z", "labels": {"kubernetes.io/metadata.name": name}}, "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Terminating"}}));
    }
    namespaces.extend(&spec.terminating);
    namespaces.extend(&full);
    for name in namespaces {
        all.push(
            json!({"kind": "ServiceAccount", "metadata": {"name": "default", "namespace": name}}),
        );
        all.push(json!({"kind": "ConfigMap", "metadata": {"name": "kube-root-ca.crt", "namespace": name}, "data": {"ca.crt": CONFIG_MAP_CANARY}}));
    }
    for account in &spec.service_accounts {
        let (namespace, name) = account.split_once('/').unwrap_or(("default", account));
        all.push(
            json!({"kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}}),
        );
    }
    if let Some(data) = &spec.aws_auth {
        all.push(json!({"kind": "ConfigMap", "metadata": {"name": "aws-auth", "namespace": "kube-system"}, "data": data}));
    }
    all.push(json!({"kind": "Secret", "type": "Opaque", "metadata": {"name": "database", "namespace": "default"}, "data": {"password": crate::text::base64(SECRET_CANARY)}}));
    all.push(json!({"kind": "Pod", "metadata": {"name": "web-0", "namespace": "default"}, "spec": {"serviceAccountName": "default", "containers": [{"name": "web", "image": "web"}]}}));
    all.extend(roles());
    all
}

fn roles() -> Vec<Value> {
    let everything = json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}, {"nonResourceURLs": ["*"], "verbs": ["*"]}]);
    let read = json!(["get", "list", "watch"]);
    let write = json!(["create", "delete", "deletecollection", "patch", "update"]);
    let workloads = json!([
        "configmaps",
        "endpoints",
        "persistentvolumeclaims",
        "pods",
        "replicationcontrollers",
        "serviceaccounts",
        "services"
    ]);
    let public = json!([{"nonResourceURLs": ["/healthz", "/livez", "/readyz", "/version", "/version/"], "verbs": ["get"]}]);
    let basic = json!([{"apiGroups": ["authorization.k8s.io"], "resources": ["selfsubjectaccessreviews", "selfsubjectrulesreviews"], "verbs": ["create"]},
        {"apiGroups": ["authentication.k8s.io"], "resources": ["selfsubjectreviews"], "verbs": ["create"]}]);
    let discovery = json!([{"nonResourceURLs": ["/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi", "/openapi/*", "/readyz", "/version", "/version/"], "verbs": ["get"]}]);
    let admin = json!([{"apiGroups": [RBAC], "resources": ["rolebindings", "roles"], "verbs": ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]},
        {"apiGroups": ["authorization.k8s.io"], "resources": ["localsubjectaccessreviews"], "verbs": ["create"]}]);
    let edit = json!([{"apiGroups": [""], "resources": ["pods/attach", "pods/exec", "pods/portforward", "pods/proxy", "secrets", "services/proxy"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["impersonate"]},
        {"apiGroups": [""], "resources": workloads, "verbs": write},
        {"apiGroups": ["apps"], "resources": ["deployments", "daemonsets", "replicasets", "statefulsets"], "verbs": write}]);
    let view = json!([{"apiGroups": [""], "resources": workloads, "verbs": read},
        {"apiGroups": [""], "resources": ["namespaces", "events", "limitranges", "pods/log", "pods/status", "resourcequotas"], "verbs": read},
        {"apiGroups": ["apps"], "resources": ["deployments", "daemonsets", "replicasets", "statefulsets"], "verbs": read},
        {"apiGroups": ["batch"], "resources": ["cronjobs", "jobs"], "verbs": read}]);
    let node = json!([{"apiGroups": [""], "resources": ["nodes"], "verbs": ["create", "get", "list", "watch"]}, {"apiGroups": [""], "resources": ["pods"], "verbs": read}]);
    let mut all = vec![
        role("cluster-admin", &everything, None),
        role("system:aggregate-to-admin", &admin, Some("admin")),
        role("system:aggregate-to-edit", &edit, Some("edit")),
        role("system:aggregate-to-view", &view, Some("view")),
        role("system:basic-user", &basic, None),
        role("system:discovery", &discovery, None),
        role("system:public-info-viewer", &public, None),
        role("system:node", &node, None),
    ];
    for (name, sources) in [
        ("admin", vec!["admin", "edit", "view"]),
        ("edit", vec!["edit", "view"]),
        ("view", vec!["view"]),
    ] {
        let selectors: Vec<Value> = sources
            .iter()
            .map(|s| json!({"matchLabels": {format!("{RBAC}/aggregate-to-{s}"): "true"}}))
            .collect();
        let mut aggregated = role(name, &json!([]), None);
        if let Some(map) = aggregated.as_object_mut() {
            map.insert(
                "aggregationRule".into(),
                json!({"clusterRoleSelectors": selectors}),
            );
        }
        all.push(aggregated);
    }
    all.push(binding("cluster-admin", &["system:masters"]));
    all.push(binding("system:basic-user", &["system:authenticated"]));
    all.push(binding("system:discovery", &["system:authenticated"]));
    all.push(binding(
        "system:public-info-viewer",
        &["system:authenticated", "system:unauthenticated"],
    ));
    all.push(json!({"kind": "ClusterRoleBinding", "metadata": meta("system:node", None), "roleRef": {"kind": "ClusterRole", "name": "system:node"}}));
    all
}

fn meta(name: &str, aggregate: Option<&str>) -> Value {
    let mut labels = json!({"kubernetes.io/bootstrapping": "rbac-defaults"});
    if let (Some(to), Some(map)) = (aggregate, labels.as_object_mut()) {
        map.insert(format!("{RBAC}/aggregate-to-{to}"), "true".into());
    }
    json!({"name": name, "labels": labels, "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"}})
}

fn role(name: &str, rules: &Value, aggregate: Option<&str>) -> Value {
    json!({"kind": "ClusterRole", "metadata": meta(name, aggregate), "rules": rules})
}

fn binding(name: &str, groups: &[&str]) -> Value {
    let subjects: Vec<Value> = groups
        .iter()
        .map(|g| json!({"kind": "Group", "name": g}))
        .collect();
    json!({"kind": "ClusterRoleBinding", "metadata": meta(name, None), "roleRef": {"kind": "ClusterRole", "name": name}, "subjects": subjects})
}
