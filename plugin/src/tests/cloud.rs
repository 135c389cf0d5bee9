//! A cloud in memory, and a host that walks a session as the real one does.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use serde_json::{Value, json};

use crate::bindings::{Entitlement, Error, Grant, Object, Setting};
use crate::session::Session;
use crate::text::{decode, encode};
use crate::upstream::{Failure, Host, Request, Response};

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
            pods: Vec::new(),
            page: 500,
            faults: Vec::new(),
            gone: None,
        }
    }
}

pub fn meta(namespace: &str, name: &str) -> Value {
    let mut meta = json!({"name": name, "uid": format!("uid-{name}"), "creationTimestamp": "2024-01-15T12:00:00Z"});
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

    fn answer(&self, request: &Request, gone: &RefCell<u32>) -> Response {
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
            ["clusters", "prod"] => ok(&json!({"cluster": {
                "name": "prod", "arn": format!("arn:{}:eks:eu-west-1:{ACCOUNT}:cluster/prod", self.partition), "version": "1.33", "status": self.status,
                "accessConfig": {"authenticationMode": self.mode}, "identity": {"oidc": {"issuer": format!("https://{ISSUER}")}}, "createdAt": 1_705_000_000.1,
            }})),
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
        assert!(body.starts_with("Action=ListRoles&Version=2010-05-08&MaxItems=1000"));
        let from: usize = body
            .split("&Marker=")
            .nth(1)
            .map_or(0, |m| decode(m).trim_end_matches("+/=").parse().unwrap());
        let to = (from + 1000.min(self.page * 2)).min(self.iam.len());
        let mut xml = String::from(
            "<ListRolesResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\"><ListRolesResult><Roles>",
        );
        for (arn, created, policy) in &self.iam[from..to] {
            let (path, name) = arn.split_once(":role").unwrap().1.rsplit_once('/').unwrap();
            xml.push_str(&format!(
                "<member><Path>{path}/</Path><RoleName>{name}</RoleName><RoleId>AROA{name}</RoleId><Arn>{arn}</Arn><CreateDate>{created}</CreateDate><AssumeRolePolicyDocument>{}</AssumeRolePolicyDocument></member>",
                encode(policy)
            ));
        }
        xml.push_str("</Roles>");
        if to < self.iam.len() {
            xml.push_str(&format!(
                "<IsTruncated>true</IsTruncated><Marker>{to}+/=</Marker>"
            ));
        } else {
            xml.push_str("<IsTruncated>false</IsTruncated>");
        }
        xml.push_str("</ListRolesResult></ListRolesResponse>");
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

/// What the fake host saw.
#[derive(Default)]
pub struct Seen {
    pub calls: BTreeMap<String, u32>,
    pub paths: Vec<String>,
    in_flight: usize,
    pub most_in_flight: usize,
    since_return: u32,
    pub most_between_returns: u32,
}

struct Fake {
    cloud: Rc<Cloud>,
    seen: Rc<RefCell<Seen>>,
    waiting: BTreeMap<u32, Response>,
    next: u32,
    gone: RefCell<u32>,
}

impl Host for Fake {
    fn start(&mut self, request: &Request) -> u32 {
        let mut seen = self.seen.borrow_mut();
        *seen.calls.entry(request.operation.to_string()).or_default() += 1;
        seen.paths.push(request.path.clone());
        seen.in_flight += 1;
        seen.most_in_flight = seen.most_in_flight.max(seen.in_flight);
        seen.since_return += 1;
        seen.most_between_returns = seen.most_between_returns.max(seen.since_return);
        self.next += 1;
        self.waiting
            .insert(self.next, self.cloud.answer(request, &self.gone));
        self.next
    }
    fn finish(&mut self, ticket: u32) -> Result<Response, Failure> {
        self.seen.borrow_mut().in_flight -= 1;
        Ok(self
            .waiting
            .remove(&ticket)
            .expect("a ticket is collected once"))
    }
    fn log(&mut self, _: &str, _: &str) {}
    fn progress(&mut self, _: u64, _: Option<u64>, _: &str) {}
}

pub struct File {
    pub objects: Vec<Object>,
    pub entitlements: Vec<Entitlement>,
    pub grants: Vec<Grant>,
    pub evidence: Vec<Value>,
    pub warnings: Vec<String>,
    pub skipped: Vec<String>,
    pub seen: Rc<RefCell<Seen>>,
}

pub fn open(cloud: Cloud, extra: &[(&str, &str)]) -> (Session, Rc<RefCell<Seen>>) {
    let seen = Rc::new(RefCell::new(Seen::default()));
    let fake = Fake {
        cloud: Rc::new(cloud),
        seen: seen.clone(),
        waiting: BTreeMap::new(),
        next: 0,
        gone: RefCell::new(0),
    };
    let mut settings: Vec<Setting> = [("eks-region", "eu-west-1"), ("eks-cluster-name", "prod")]
        .iter()
        .chain(extra)
        .map(|(n, v)| Setting {
            name: (*n).into(),
            value: (*v).into(),
        })
        .collect();
    settings.dedup_by(|a, b| a.name == b.name);
    (Session::open(&settings, Box::new(fake)).unwrap(), seen)
}

pub fn sync(cloud: Cloud) -> File {
    try_sync(cloud, &[]).unwrap_or_else(|e| panic!("{e:?}"))
}

/// Walks everything in the contract's order and checks what must hold for any
/// cluster: pages within their limits, nothing twice, every grant on a row that
/// exists, every principal but an IAM user with a row, nothing left in flight.
pub fn try_sync(cloud: Cloud, extra: &[(&str, &str)]) -> Result<File, Error> {
    let (mut session, seen) = open(cloud, extra);
    let mut file = File {
        objects: vec![],
        entitlements: vec![],
        grants: vec![],
        evidence: vec![],
        warnings: vec![],
        skipped: vec![],
        seen: seen.clone(),
    };
    let descriptor = crate::session::describe();
    let listed: Vec<(String, bool)> = descriptor
        .kinds
        .iter()
        .filter(|k| !k.attributes.contains(&("listed".into(), "false".into())))
        .map(|k| {
            (
                k.name.clone(),
                k.attributes.contains(&("optional".into(), "true".into())),
            )
        })
        .collect();
    macro_rules! walk {
        ($call:expr, $into:expr, $kind:expr) => {{
            let mut token: Option<String> = None;
            loop {
                seen.borrow_mut().since_return = 0;
                #[allow(clippy::redundant_closure_call)]
                let page = match $call($kind, token.clone()) {
                    Ok(page) => page,
                    Err(error)
                        if error.kind == "not-permitted"
                            && listed.contains(&($kind.clone(), true)) =>
                    {
                        file.skipped.push($kind.clone());
                        break;
                    }
                    Err(error) => return Err(error),
                };
                assert!(page.items.len() <= 1000);
                assert!(format!("{:?}", page.attributes).len() < 1024 * 1024);
                for (key, value) in page.attributes {
                    assert!(value.len() <= 8 * 1024);
                    match key.as_str() {
                        "evidence" => file.evidence.push(serde_json::from_str(&value).unwrap()),
                        "warning" => file.warnings.push(value),
                        other => panic!("{other}"),
                    }
                }
                $into.extend(page.items);
                token = page.next;
                if token.is_none() {
                    break;
                }
            }
        }};
    }
    for (kind, _) in &listed {
        walk!(
            |k: &String, t| session.list_objects(k, None, t),
            file.objects,
            kind
        );
    }
    let skipped = file.skipped.clone();
    for (kind, _) in listed.iter().filter(|(k, _)| !skipped.contains(k)) {
        walk!(
            |k: &String, t| session.list_entitlements(k, t),
            file.entitlements,
            kind
        );
    }
    for (kind, _) in listed.iter().filter(|(k, _)| !skipped.contains(k)) {
        walk!(|k: &String, t| session.list_grants(k, t), file.grants, kind);
    }
    drop(session);
    file.check();
    Ok(file)
}

impl File {
    fn check(&self) {
        let seen = self.seen.borrow();
        assert_eq!(seen.in_flight, 0);
        assert!(seen.most_in_flight <= 64 && seen.most_between_returns <= 256);
        let mut rows = BTreeSet::new();
        for o in &self.objects {
            assert!(
                rows.insert((o.id.kind.clone(), o.id.id.clone())),
                "twice: {:?}",
                o.id
            );
            if let Some(p) = &o.profile {
                assert!(p.len() <= 64 * 1024);
                assert!(serde_json::from_str::<Value>(p).unwrap().is_object());
            }
            assert!(o.attributes.iter().all(|(_, v)| v.len() <= 8 * 1024));
        }
        let mut slugs = BTreeSet::new();
        for e in &self.entitlements {
            assert!(
                rows.contains(&(e.on.kind.clone(), e.on.id.clone())),
                "entitlement without object: {:?}",
                e.on
            );
            assert!(
                slugs.insert(format!("{}:{}:{}", e.on.kind, e.on.id, e.slug)),
                "twice: {:?} {}",
                e.on,
                e.slug
            );
        }
        let mut ids = BTreeSet::new();
        for g in &self.grants {
            let on = format!("{}:{}:{}", g.on.kind, g.on.id, g.slug);
            assert!(slugs.contains(&on), "grant without entitlement: {on}");
            assert!(ids.insert(grant_id(g)), "twice: {}", grant_id(g));
            let principal = (g.principal.kind.clone(), g.principal.id.clone());
            assert!(
                principal.0 == "iam_user" || rows.contains(&principal),
                "principal without row: {principal:?}"
            );
            let meta: Value =
                serde_json::from_str(attribute(&g.attributes, "metadata").unwrap()).unwrap();
            assert!(
                ["certain", "session", "conditional", "latent"]
                    .contains(&meta["certainty"].as_str().unwrap())
            );
            assert!(meta["paths"].as_array().unwrap().len() <= 20);
            assert_eq!(
                attribute(&g.attributes, "external-match-id").is_some(),
                g.principal.kind == "iam_user"
            );
        }
        assert!(self.evidence.iter().all(|e| e["type"].is_string()));
    }

    pub fn ids(&self) -> Vec<String> {
        self.grants.iter().map(grant_id).collect()
    }

    /// Principals of one entitlement, `kind:id`.
    pub fn holders(&self, entitlement: &str) -> Vec<String> {
        self.grants
            .iter()
            .filter(|g| format!("{}:{}:{}", g.on.kind, g.on.id, g.slug) == entitlement)
            .map(|g| format!("{}:{}", g.principal.kind, g.principal.id))
            .collect()
    }

    pub fn grant(&self, id: &str) -> &Grant {
        self.grants
            .iter()
            .find(|g| grant_id(g) == id)
            .unwrap_or_else(|| panic!("no grant {id} in {:#?}", self.ids()))
    }

    pub fn metadata(&self, id: &str) -> Value {
        serde_json::from_str(attribute(&self.grant(id).attributes, "metadata").unwrap()).unwrap()
    }

    pub fn object(&self, kind: &str, id: &str) -> &Object {
        self.objects
            .iter()
            .find(|o| o.id.kind == kind && o.id.id == id)
            .unwrap_or_else(|| panic!("no {kind} {id}"))
    }

    pub fn has(&self, kind: &str, id: &str) -> bool {
        self.objects
            .iter()
            .any(|o| o.id.kind == kind && o.id.id == id)
    }

    pub fn profile(&self, kind: &str, id: &str) -> Value {
        serde_json::from_str(self.object(kind, id).profile.as_deref().unwrap()).unwrap()
    }

    pub fn evidence_of(&self, kind: &str) -> Vec<&Value> {
        self.evidence.iter().filter(|e| e["type"] == kind).collect()
    }
}

pub fn grant_id(g: &Grant) -> String {
    format!(
        "{}:{}:{}:{}:{}",
        g.on.kind, g.on.id, g.slug, g.principal.kind, g.principal.id
    )
}

pub fn attribute<'a>(list: &'a [(String, String)], key: &str) -> Option<&'a str> {
    list.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
}
