//! A cloud in memory.

use std::cell::RefCell;
use std::collections::BTreeMap;

use serde_json::{Value, json};

pub use super::file::*;
use crate::text::{decode, encode};
use crate::upstream::{Request, Response};

pub const ACCOUNT: &str = "111122223333";
pub const OTHER: &str = "444455556666";
pub const ISSUER: &str = "oidc.eks.eu-west-1.amazonaws.com/id/ABC";

pub fn role(name: &str) -> String {
    format!("arn:aws:iam::{ACCOUNT}:role/{name}")
}
pub fn user(name: &str) -> String {
    format!("arn:aws:iam::{ACCOUNT}:user/{name}")
}

/// What the upstreams hold. Everything is public: a test sets what it is about.
#[derive(Clone)]
pub struct Cloud {
    pub partition: &'static str,
    pub mode: Value,
    pub status: &'static str,
    pub namespaces: Vec<String>,
    pub service_accounts: Vec<Value>,
    pub config_maps: Vec<Value>,
    pub cluster_roles: Vec<Value>,
    pub roles: Vec<Value>,
    pub role_bindings: Vec<Value>,
    pub cluster_role_bindings: Vec<Value>,
    pub aws_auth: Option<BTreeMap<String, String>>,
    pub entries: Vec<Value>,
    pub policies: Vec<String>,
    /// Principal, policy name, scope.
    pub associations: Vec<(String, String, Value)>,
    /// ARN, creation time, trust policy as text.
    pub iam: Vec<(String, String, String)>,
    /// `UserDetailList` and `GroupDetailList` as XML.
    pub people: String,
    /// What `GetAccountAuthorizationDetails` says of a role besides, as XML by its ARN.
    pub role_details: BTreeMap<String, String>,
    /// Members of the cluster's answer that replace the ordinary ones.
    pub cluster: Value,
    pub pods: Vec<Value>,
    pub page: usize,
    /// Answers that replace the ordinary one: `operation` and path substring.
    pub faults: Vec<(&'static str, &'static str, Response)>,
    /// How many times a `continue` token of this path is answered 410, and whether with a new token.
    pub gone: Option<(&'static str, u32, bool)>,
}

impl Default for Cloud {
    fn default() -> Self {
        Cloud {
            partition: "aws",
            mode: json!("API_AND_CONFIG_MAP"),
            status: "ACTIVE",
            namespaces: ["default", "dev", "kube-system"].map(String::from).to_vec(),
            service_accounts: Vec::new(),
            config_maps: Vec::new(),
            cluster_roles: ["cluster-admin", "view"]
                .map(|n| json!({"metadata": meta("", n)}))
                .to_vec(),
            roles: Vec::new(),
            role_bindings: Vec::new(),
            cluster_role_bindings: Vec::new(),
            aws_auth: Some(BTreeMap::new()),
            entries: Vec::new(),
            policies: [
                "AmazonEKSViewPolicy",
                "AmazonEKSClusterAdminPolicy",
                "AmazonEKSAutoNodePolicy",
            ]
            .map(String::from)
            .to_vec(),
            associations: Vec::new(),
            iam: Vec::new(),
            people: String::new(),
            role_details: BTreeMap::new(),
            cluster: json!({}),
            pods: Vec::new(),
            page: 500,
            faults: Vec::new(),
            gone: None,
        }
    }
}

pub fn meta(namespace: &str, name: &str) -> Value {
    let mut meta = json!({"name": name, "uid": format!("uid-{name}"), "resourceVersion": "1", "creationTimestamp": "2024-01-15T12:00:00Z"});
    if !namespace.is_empty() {
        meta["namespace"] = namespace.into();
    }
    meta
}

pub fn account(namespace: &str, name: &str) -> Value {
    json!({"metadata": meta(namespace, name)})
}

/// `kind:name` or `ServiceAccount:namespace/name`; `ServiceAccount:/name` has no namespace.
pub fn binding(namespace: &str, name: &str, role: &str, subjects: &[&str]) -> Value {
    let (kind, role) = role.split_once(':').unwrap_or(("ClusterRole", role));
    let subjects: Vec<Value> = subjects
        .iter()
        .map(|s| {
            let (kind, name) = s.split_once(':').unwrap();
            match (kind, name.split_once('/')) {
                ("ServiceAccount", Some(("", name))) => json!({"kind": kind, "name": name}),
                ("ServiceAccount", Some((ns, name))) => {
                    json!({"kind": kind, "name": name, "namespace": ns})
                }
                _ => json!({"kind": kind, "name": name, "apiGroup": "rbac.authorization.k8s.io"}),
            }
        })
        .collect();
    json!({"metadata": meta(namespace, name), "roleRef": {"kind": kind, "name": role}, "subjects": subjects})
}

pub fn entry(arn: &str, username: &str, groups: &[&str]) -> Value {
    json!({"principalArn": arn, "username": username, "kubernetesGroups": groups, "type": "STANDARD", "createdAt": 1_705_320_000.5, "tags": {}})
}

pub fn trust(statements: Value) -> String {
    json!({"Version": "2012-10-17", "Statement": statements}).to_string()
}

pub fn no_trust() -> String {
    trust(
        json!([{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}]),
    )
}

impl Cloud {
    pub fn with_role(mut self, name: &str, policy: &str) -> Self {
        self.iam
            .push((role(name), "2023-01-01T00:00:00Z".into(), policy.into()));
        self
    }
    pub fn aws_auth(mut self, key: &str, text: &str) -> Self {
        self.aws_auth
            .get_or_insert_default()
            .insert(key.into(), text.into());
        self
    }
    pub fn bound(mut self, name: &str, role: &str, subjects: &[&str]) -> Self {
        self.cluster_role_bindings
            .push(binding("", name, role, subjects));
        self
    }
    pub fn bound_in(mut self, namespace: &str, name: &str, role: &str, subjects: &[&str]) -> Self {
        self.role_bindings
            .push(binding(namespace, name, role, subjects));
        self
    }

    pub fn answer(&self, request: &Request, gone: &RefCell<u32>) -> Response {
        for (operation, part, response) in &self.faults {
            if *operation == request.operation && request.path.contains(part) {
                return response.clone();
            }
        }
        match request.upstream {
            "iam" => self.iam_answer(request),
            "eks" => self.eks_answer(request),
            _ => self.kube_answer(request, gone),
        }
    }

    fn kube_answer(&self, request: &Request, gone: &RefCell<u32>) -> Response {
        let (path, query) = split(&request.path);
        if path.ends_with("/configmaps/aws-auth") {
            return match &self.aws_auth {
                Some(data) => ok(
                    &json!({"kind": "ConfigMap", "metadata": meta("kube-system", "aws-auth"), "data": data}),
                ),
                None => status(404, "NotFound", "configmaps \"aws-auth\" not found"),
            };
        }
        let names: Vec<Value> = self
            .namespaces
            .iter()
            .map(|n| json!({"metadata": meta("", n)}))
            .collect();
        let items = match path.rsplit('/').next().unwrap() {
            "namespaces" => &names,
            "serviceaccounts" => &self.service_accounts,
            "configmaps" => &self.config_maps,
            "clusterroles" => &self.cluster_roles,
            "roles" => &self.roles,
            "rolebindings" => &self.role_bindings,
            "clusterrolebindings" => &self.cluster_role_bindings,
            other => panic!("no such list: {other}"),
        };
        assert_eq!(query.get("limit").map(String::as_str), Some("500"));
        if let (Some(token), Some((part, times, offer))) = (query.get("continue"), self.gone)
            && path.contains(part)
            && !token.starts_with('~')
            && *gone.borrow() < times
        {
            *gone.borrow_mut() += 1;
            let mut body: Value = serde_json::from_slice(
                &status(410, "Expired", "The provided continue parameter is too old").body,
            )
            .unwrap();
            if offer {
                body["metadata"] = json!({"continue": format!("~{token}")});
            }
            return Response {
                status: 410,
                body: body.to_string().into_bytes(),
                retry_after_ms: None,
            };
        }
        let from: usize = query
            .get("continue")
            .map_or(0, |t| t.trim_start_matches('~').parse().unwrap());
        let to = (from + self.page).min(items.len());
        let next = if to < items.len() {
            to.to_string()
        } else {
            String::new()
        };
        ok(
            &json!({"kind": "List", "metadata": {"resourceVersion": "77", "continue": next}, "items": items[from..to]}),
        )
    }

    fn eks_answer(&self, request: &Request) -> Response {
        let (path, query) = split(&request.path);
        let parts: Vec<String> = path
            .trim_start_matches('/')
            .split('/')
            .map(decode)
            .collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let policy_arn = |name: &str| {
            format!(
                "arn:{}:eks::aws:cluster-access-policy/{name}",
                self.partition
            )
        };
        match parts.as_slice() {
            ["clusters", "prod"] => {
                let mut cluster = json!({
                "name": "prod", "arn": format!("arn:{}:eks:eu-west-1:{ACCOUNT}:cluster/prod", self.partition), "version": "1.33", "status": self.status,
                "accessConfig": {"authenticationMode": self.mode}, "identity": {"oidc": {"issuer": format!("https://{ISSUER}")}}, "createdAt": 1_705_000_000.1,
                });
                let more = self.cluster.as_object().cloned().unwrap_or_default();
                cluster.as_object_mut().unwrap().extend(more);
                ok(&json!({"cluster": cluster}))
            }
            ["clusters", "prod", "access-entries"] => {
                let all: Vec<String> = match query.get("associatedPolicyArn") {
                    None => self
                        .entries
                        .iter()
                        .map(|e| e["principalArn"].as_str().unwrap().to_string())
                        .collect(),
                    Some(arn) => self
                        .associations
                        .iter()
                        .filter(|(_, p, _)| policy_arn(p) == *arn)
                        .map(|(e, _, _)| e.clone())
                        .collect(),
                };
                page("accessEntries", &all, &query)
            }
            ["clusters", "prod", "access-entries", arn] => {
                match self.entries.iter().find(|e| e["principalArn"] == *arn) {
                    Some(entry) => ok(&json!({"accessEntry": entry})),
                    None => aws_error(404, "ResourceNotFoundException", "not found"),
                }
            }
            ["clusters", "prod", "access-entries", arn, "access-policies"] => {
                let list: Vec<Value> = self
                    .associations
                    .iter()
                    .filter(|(e, _, _)| e == arn)
                    .map(|(_, p, scope)| json!({"policyArn": policy_arn(p), "accessScope": scope}))
                    .collect();
                page("associatedAccessPolicies", &list, &query)
            }
            ["access-policies"] => {
                let list: Vec<Value> = self
                    .policies
                    .iter()
                    .map(|n| json!({"name": n, "arn": policy_arn(n)}))
                    .collect();
                page("accessPolicies", &list, &query)
            }
            ["clusters", "prod", "pod-identity-associations"] => {
                let list: Vec<Value> = self.pods.iter().map(|p| json!({"associationId": p["associationId"], "namespace": p["namespace"]})).collect();
                page("associations", &list, &query)
            }
            ["clusters", "prod", "pod-identity-associations", id] => {
                let pod = self
                    .pods
                    .iter()
                    .find(|p| p["associationId"] == *id)
                    .unwrap();
                ok(&json!({"association": pod}))
            }
            other => panic!("no such EKS path: {other:?}"),
        }
    }

    fn iam_answer(&self, request: &Request) -> Response {
        let body = request.body.as_deref().unwrap();
        let (action, roles) = if body.starts_with("Action=ListRoles&") {
            assert!(body.starts_with("Action=ListRoles&Version=2010-05-08&MaxItems=1000"));
            ("ListRoles", "Roles")
        } else {
            assert!(body.starts_with(
                "Action=GetAccountAuthorizationDetails&Version=2010-05-08&MaxItems=200&Filter.member.1=User&Filter.member.2=Role&Filter.member.3=Group&Filter.member.4=LocalManagedPolicy&Filter.member.5=AWSManagedPolicy"
            ));
            ("GetAccountAuthorizationDetails", "RoleDetailList")
        };
        let from: usize = body
            .split("&Marker=")
            .nth(1)
            .map_or(0, |m| decode(m).trim_end_matches("+/=").parse().unwrap());
        let to = (from + 1000.min(self.page * 2)).min(self.iam.len());
        let mut xml = format!(
            "<{action}Response xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\"><{action}Result><{roles}>",
        );
        for (arn, created, policy) in &self.iam[from..to] {
            let (path, name) = arn.split_once(":role").unwrap().1.rsplit_once('/').unwrap();
            xml.push_str(&format!(
                "<member><Path>{path}/</Path><RoleName>{name}</RoleName><RoleId>AROA{name}</RoleId><Arn>{arn}</Arn><CreateDate>{created}</CreateDate><AssumeRolePolicyDocument>{}</AssumeRolePolicyDocument>{}</member>",
                encode(policy),
                self.role_details.get(arn).filter(|_| roles != "Roles").map_or("", String::as_str),
            ));
        }
        xml.push_str(&format!("</{roles}>"));
        if roles != "Roles" && from == 0 {
            xml.push_str(&self.people);
        }
        if to < self.iam.len() {
            xml.push_str(&format!(
                "<IsTruncated>true</IsTruncated><Marker>{to}+/=</Marker>"
            ));
        } else {
            xml.push_str("<IsTruncated>false</IsTruncated>");
        }
        xml.push_str(&format!("</{action}Result></{action}Response>"));
        Response {
            status: 200,
            body: xml.into_bytes(),
            retry_after_ms: None,
        }
    }
}

fn split(path: &str) -> (&str, BTreeMap<String, String>) {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let pairs = query
        .split('&')
        .filter_map(|p| p.split_once('='))
        .map(|(k, v)| (k.to_string(), decode(v)))
        .collect();
    (path, pairs)
}

fn page<T: serde::Serialize + Clone>(
    key: &str,
    all: &[T],
    query: &BTreeMap<String, String>,
) -> Response {
    assert_eq!(query.get("maxResults").map(String::as_str), Some("100"));
    let from: usize = query.get("nextToken").map_or(0, |t| t.parse().unwrap());
    let to = (from + 100).min(all.len());
    let next = if to < all.len() {
        json!(to.to_string())
    } else {
        Value::Null
    };
    ok(&json!({key: all[from..to].to_vec(), "nextToken": next}))
}

pub fn ok(value: &Value) -> Response {
    Response {
        status: 200,
        body: value.to_string().into_bytes(),
        retry_after_ms: None,
    }
}
pub fn status(code: u16, reason: &str, message: &str) -> Response {
    let body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": reason, "code": code});
    Response {
        status: code,
        body: body.to_string().into_bytes(),
        retry_after_ms: None,
    }
}
pub fn aws_error(code: u16, name: &str, message: &str) -> Response {
    let body = json!({"code": name, "message": message, "request-id": "r"});
    Response {
        status: code,
        body: body.to_string().into_bytes(),
        retry_after_ms: None,
    }
}
