//! A cloud that changes, as EKS and the API server would change it: validated,
//! an entry by its exact ARN, an association by replacing its scope, a binding
//! under its preconditions.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::bindings::{Change, Error, Grant, ObjectId, Plan};
use crate::plan::Direction;
use crate::tests::cloud::*;
use crate::text::decode;

/// `kind|id|slug` for `kind|id`.
pub fn wish(entitlement: (&str, &str, &str), principal: (&str, &str)) -> Grant {
    let id = |kind: &str, id: &str| ObjectId {
        kind: kind.into(),
        id: id.into(),
    };
    Grant {
        on: id(entitlement.0, entitlement.1),
        slug: entitlement.2.into(),
        principal: id(principal.0, principal.1),
        attributes: Vec::new(),
    }
}

/// Asks until the plan is made.
pub fn plan(cloud: &Cloud, direction: Direction, wish: &Grant) -> Result<Plan, Error> {
    let (mut session, seen) = open(cloud.clone(), &[]);
    loop {
        seen.borrow_mut().returned();
        let plan = session.plan(direction, wish)?;
        assert!(seen.borrow().most_between_returns <= 128);
        if attribute(&plan.attributes, "more") != Some("true") {
            for change in &plan.changes {
                check(change);
            }
            return Ok(plan);
        }
        assert!(plan.changes.is_empty());
    }
}

fn check(change: &Change) {
    assert!(change.undo.is_empty());
    let told = |key: &str| attribute(&change.attributes, key);
    assert!(["access", "identity", "cleanup"].contains(&told("step").unwrap()));
    assert!(!told("object").unwrap().is_empty() && !change.summary.is_empty());
    for key in ["before", "after", "object"] {
        assert!(told(key).unwrap_or_default().len() <= 4096);
    }
}

/// Plans and applies until a plan is empty. The first plan, or why there is none.
/// Whatever should not happen on the way is an error of kind `broken`.
pub fn carry_out(cloud: &mut Cloud, direction: Direction, wish: &Grant) -> Result<Plan, Error> {
    let broken = |message: String| crate::upstream::fail("broken", message);
    let first = plan(cloud, direction, wish)?;
    let mut next = first.changes.clone();
    for _ in 0..5 {
        if next.is_empty() {
            return Ok(first);
        }
        for change in &next {
            if let Err(why) = cloud.apply(change) {
                return Err(broken(format!("{why}: {change:#?}")));
            }
        }
        next = match plan(cloud, direction, wish) {
            Ok(plan) => plan.changes,
            Err(error) => return Err(broken(format!("after {first:#?}: {error:?}"))),
        };
    }
    Err(broken(format!("never done: {next:#?}")))
}

/// When entries that are made here were made: later than every role.
pub const NOW: f64 = 1_900_000_000.0;

impl Cloud {
    /// Makes a change, or says why it is refused.
    pub fn apply(&mut self, change: &Change) -> Result<(), String> {
        let body: Value = match &change.body {
            Some(text) => serde_json::from_str(text).map_err(|e| e.to_string())?,
            None => Value::Null,
        };
        let parts: Vec<String> = change
            .path
            .trim_start_matches('/')
            .split('/')
            .map(decode)
            .collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        if change.upstream == "eks" {
            return self.eks(&change.method, &parts, &body);
        }
        assert_eq!(change.upstream, "kubernetes");
        match parts.as_slice() {
            ["apis", "rbac.authorization.k8s.io", "v1", rest @ ..] => {
                let (namespace, rest) = match rest {
                    ["namespaces", ns, "rolebindings", rest @ ..] => (*ns, rest),
                    ["clusterrolebindings", rest @ ..] => ("", rest),
                    other => return Err(format!("no such path {other:?}")),
                };
                self.rbac(&change.method, namespace, rest, &body)
            }
            [
                "api",
                "v1",
                "namespaces",
                "kube-system",
                "configmaps",
                rest @ ..,
            ] => self.config_map(&change.method, rest, &body),
            other => Err(format!("no such path {other:?}")),
        }
    }

    fn eks(&mut self, method: &str, parts: &[&str], body: &Value) -> Result<(), String> {
        if self.mode == json!("CONFIG_MAP") {
            return Err("the mode knows no entries".into());
        }
        let known = |cloud: &Cloud, arn: &str| {
            let found = cloud.entries.iter().position(|e| e["principalArn"] == arn);
            found.ok_or("no such entry")
        };
        let texts = |value: &Value| -> Vec<String> {
            let list = value.as_array().cloned().unwrap_or_default();
            list.iter()
                .map(|v| v.as_str().unwrap().to_string())
                .collect()
        };
        let clean = |groups: &[String]| {
            let odd = groups
                .iter()
                .find(|g| g.starts_with("system:") || g.contains("{{"));
            odd.map_or(Ok(()), |g| Err(format!("group {g} is refused")))
        };
        match (method, parts) {
            ("POST", ["clusters", "prod", "access-entries"]) => {
                let arn = body["principalArn"].as_str().unwrap().to_string();
                if known(self, &arn).is_ok() {
                    return Err("ResourceInUseException".into());
                }
                let own = arn.starts_with(&format!("arn:aws:iam::{ACCOUNT}:role/"));
                if own && !self.iam.iter().any(|r| r.0 == arn) || arn.contains("/aws-service-role/")
                {
                    return Err("invalid principal".into());
                }
                clean(&texts(&body["kubernetesGroups"]))?;
                let username = body["username"].as_str().unwrap_or_default();
                if ["system:", "eks:", "aws:", "amazon:", "iam:"]
                    .iter()
                    .any(|p| username.starts_with(p))
                {
                    return Err("the username is refused".into());
                }
                assert_eq!(body["type"], "STANDARD");
                let mut entry = body.clone();
                entry["createdAt"] = NOW.into();
                self.entries.push(entry);
            }
            ("POST", ["clusters", "prod", "access-entries", arn]) => {
                let at = known(self, arn)?;
                assert_eq!(body.as_object().unwrap().len(), 1);
                clean(&texts(&body["kubernetesGroups"]))?;
                self.entries[at]["kubernetesGroups"] = body["kubernetesGroups"].clone();
            }
            ("DELETE", ["clusters", "prod", "access-entries", arn]) => {
                let at = known(self, arn)?;
                self.entries.remove(at);
                self.associations.retain(|(a, ..)| a != arn);
            }
            ("POST", ["clusters", "prod", "access-entries", arn, "access-policies"]) => {
                let at = known(self, arn)?;
                if self.entries[at]["type"] != "STANDARD" {
                    return Err("only for type STANDARD".into());
                }
                let policy = body["policyArn"].as_str().unwrap();
                let name = policy.rsplit('/').next().unwrap().to_string();
                if !self.policies.contains(&name) {
                    return Err("no such policy".into());
                }
                let scope = body["accessScope"].clone();
                let namespaces = texts(&scope["namespaces"]);
                if (scope["type"] == "namespace") == namespaces.is_empty() {
                    return Err("the scope makes no sense".into());
                }
                self.associations
                    .retain(|(a, p, _)| !(a == arn && *p == name));
                self.associations.push((arn.to_string(), name, scope));
            }
            (
                "DELETE",
                [
                    "clusters",
                    "prod",
                    "access-entries",
                    arn,
                    "access-policies",
                    policy,
                ],
            ) => {
                known(self, arn)?;
                let name = policy.rsplit('/').next().unwrap();
                let before = self.associations.len();
                self.associations
                    .retain(|(a, p, _)| !(a == arn && p == name));
                if self.associations.len() == before {
                    return Err("no such association".into());
                }
            }
            other => return Err(format!("no such call {other:?}")),
        }
        Ok(())
    }

    fn rbac(
        &mut self,
        method: &str,
        namespace: &str,
        rest: &[&str],
        body: &Value,
    ) -> Result<(), String> {
        let list = if namespace.is_empty() {
            &mut self.cluster_role_bindings
        } else {
            &mut self.role_bindings
        };
        let find = |list: &[Value], name: &str| {
            list.iter().position(|b| {
                b["metadata"]["name"] == name
                    && b["metadata"]["namespace"].as_str().unwrap_or_default() == namespace
            })
        };
        match (method, rest) {
            ("POST", []) => {
                let name = body["metadata"]["name"].as_str().unwrap();
                if find(list, name).is_some() {
                    return Err("AlreadyExists".into());
                }
                let kind = if namespace.is_empty() {
                    "ClusterRoleBinding"
                } else {
                    "RoleBinding"
                };
                let home = body["metadata"]["namespace"].as_str().unwrap_or_default();
                assert_eq!((body["kind"].as_str().unwrap(), home), (kind, namespace));
                assert_eq!(body["subjects"].as_array().unwrap().len(), 1);
                assert_eq!(body["roleRef"]["apiGroup"], "rbac.authorization.k8s.io");
                if namespace.is_empty() {
                    assert_eq!(body["roleRef"]["kind"], "ClusterRole");
                }
                let mut made = body.clone();
                made["metadata"]["uid"] = format!("made-{name}").into();
                made["metadata"]["resourceVersion"] = "1".into();
                list.push(made);
            }
            ("DELETE", [name]) => {
                let at = find(list, name).ok_or("NotFound")?;
                let wanted = &body["preconditions"];
                for key in ["uid", "resourceVersion"] {
                    assert!(wanted[key].is_string());
                    if list[at]["metadata"][key] != wanted[key] {
                        return Err("Conflict".into());
                    }
                }
                list.remove(at);
            }
            ("PATCH", [name]) => {
                let at = find(list, name).ok_or("NotFound")?;
                let mut new = list[at].clone();
                for op in body.as_array().unwrap() {
                    let path = op["path"].as_str().unwrap();
                    match op["op"].as_str().unwrap() {
                        "test" if new.pointer(path) == Some(&op["value"]) => {}
                        "remove" => {
                            let at: usize =
                                path.strip_prefix("/subjects/").unwrap().parse().unwrap();
                            new["subjects"].as_array_mut().unwrap().remove(at);
                        }
                        other => return Err(format!("{other} failed")),
                    }
                }
                list[at] = new;
            }
            other => return Err(format!("no such call {other:?}")),
        }
        Ok(())
    }

    fn config_map(&mut self, method: &str, rest: &[&str], body: &Value) -> Result<(), String> {
        assert_eq!(body["metadata"]["name"], "aws-auth");
        let data: BTreeMap<String, String> =
            serde_json::from_value(body["data"].clone()).map_err(|e| e.to_string())?;
        match (method, rest, &self.aws_auth) {
            ("POST", [], None) => {}
            ("PUT", ["aws-auth"], Some(old)) => {
                assert_eq!(body["metadata"]["resourceVersion"], "1");
                let keys =
                    |d: &BTreeMap<String, String>| -> Vec<String> { d.keys().cloned().collect() };
                let changed: Vec<String> = keys(&data)
                    .into_iter()
                    .filter(|k| old.get(k) != data.get(k))
                    .collect();
                assert_eq!(changed.len(), 1, "{old:?} {data:?}");
                assert!(keys(old).iter().all(|k| data.contains_key(k)));
            }
            other => return Err(format!("Conflict: {other:?}")),
        }
        self.aws_auth = Some(data);
        Ok(())
    }
}
