//! The Kubernetes API of one cluster.
//!
//! Paths are decoded whole and split then, as Go's net/http hands them to the
//! API server: `/namespaces/default%2Fsecrets` *is* the secrets of `default`.
//! Whoever filters requests before they come here has to know that.

mod access_policies;
mod admission;
pub(crate) mod bootstrap;
pub(crate) mod identity;
mod patch;
pub(crate) mod rbac;
mod read;
mod review;
pub(crate) mod store;
mod token;
mod write;

use serde_json::{Value, json};

use crate::http::{Ending, Reply, Request};
use crate::text::{decode, find, pairs};
use crate::world::{Caller, World};
use identity::Subject;
use rbac::Attributes;
use store::Kind;

pub(crate) use read::gzip;

/// A request as the API server sees it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Target {
    pub verb: String,
    pub group: String,
    pub version: String,
    pub namespace: String,
    pub resource: String,
    pub subresource: String,
    pub name: String,
    /// The decoded path of a request that is about no resource.
    pub path: Option<String>,
    pub query: Vec<(String, String)>,
}

impl Target {
    pub(crate) fn parse(request: &Request) -> Target {
        let path = decode(&request.path);
        let query = pairs(&request.query);
        let parts: Vec<&str> = path.split('/').filter(|p| !p.is_empty()).collect();
        let (group, version, rest) = match parts.as_slice() {
            ["api", version, rest @ ..] if !rest.is_empty() => ("", *version, rest),
            ["apis", group, version, rest @ ..] if !rest.is_empty() => (*group, *version, rest),
            _ => {
                return Target {
                    verb: request.method.to_lowercase(),
                    path: Some(path.clone()),
                    query,
                    ..Target::default()
                };
            }
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, inner @ ..]
                if !inner.is_empty() && !["status", "finalize"].contains(&inner[0]) =>
            {
                (*namespace, inner)
            }
            ["namespaces", namespace, ..] => (*namespace, rest),
            _ => ("", rest),
        };
        let name = rest.get(1).copied().unwrap_or_default();
        let watch = matches!(find(&query, "watch"), Some("true" | "1"));
        let verb = match request.method.as_str() {
            "GET" | "HEAD" if watch => "watch",
            "GET" | "HEAD" if name.is_empty() => "list",
            "GET" | "HEAD" => "get",
            "POST" => "create",
            "PUT" => "update",
            "PATCH" => "patch",
            "DELETE" if name.is_empty() => "deletecollection",
            _ => "delete",
        };
        Target {
            verb: verb.into(),
            group: group.into(),
            version: version.into(),
            namespace: namespace.into(),
            resource: rest.first().copied().unwrap_or_default().into(),
            subresource: rest.get(2..).unwrap_or_default().join("/"),
            name: name.into(),
            path: None,
            query,
        }
    }

    fn full_resource(&self) -> String {
        if self.subresource.is_empty() {
            self.resource.clone()
        } else {
            format!("{}/{}", self.resource, self.subresource)
        }
    }

    /// The name that calls are counted under.
    pub(crate) fn operation(&self) -> String {
        if let Some(path) = &self.path {
            return format!("kubernetes:{} {path}", self.verb);
        }
        let group = if self.group.is_empty() {
            String::new()
        } else {
            format!("{}/", self.group)
        };
        let scope = match (self.namespace.as_str(), self.name.as_str()) {
            ("", "") => String::new(),
            (ns, name) if self.resource == "namespaces" => {
                format!(" {}", if name.is_empty() { ns } else { name })
            }
            ("", name) => format!(" {name}"),
            (ns, "") => format!(" {ns}/*"),
            (ns, name) => format!(" {ns}/{name}"),
        };
        format!(
            "kubernetes:{} {group}{}{scope}",
            self.verb,
            self.full_resource()
        )
    }

    /// Somebody else writes the object that is asked for, without changing it.
    pub(crate) fn touch(&self, store: &mut store::Store) {
        let Some(kind) = Kind::find(&self.group, &self.resource) else {
            return;
        };
        let key = if kind.namespaced {
            format!("{}/{}", self.namespace, self.name)
        } else {
            self.name.clone()
        };
        if let Some(found) = store.get(kind, &key) {
            store.put(kind, (*found).clone(), "");
        }
    }

    fn attributes(&self) -> Attributes {
        Attributes {
            verb: self.verb.clone(),
            group: self.group.clone(),
            resource: self.full_resource(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            path: self.path.clone(),
        }
    }
}

/// A `Status`, the API's one form of refusal.
pub(crate) fn status(code: u16, reason: &str, message: &str, details: Value) -> Reply {
    let mut body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": reason});
    if let Some(map) = body.as_object_mut() {
        if !details.is_null() {
            map.insert("details".into(), details);
        }
        map.insert("code".into(), code.into());
    }
    Reply::json(code, &body)
}

pub(crate) fn throttled(retry_ms: u64) -> Reply {
    let seconds = retry_ms.div_ceil(1000);
    let reply = status(
        429,
        "TooManyRequests",
        "too many requests, please try again later",
        json!({"retryAfterSeconds": seconds}),
    );
    if retry_ms == 0 {
        reply
    } else {
        reply.with("retry-after", seconds.to_string())
    }
}

pub(crate) fn broken(code: u16) -> Reply {
    let (reason, message) = match code {
        503 => ("ServiceUnavailable", "apiserver is shutting down"),
        504 => (
            "Timeout",
            "Timeout: request did not complete within the allotted timeout",
        ),
        _ => (
            "InternalError",
            "Internal error occurred: etcdserver: leader changed",
        ),
    };
    status(code, reason, message, Value::Null)
}

/// Answers a request to the cluster with this index; also says who asked.
pub(crate) fn answer(
    world: &mut World,
    index: usize,
    request: &Request,
    target: &Target,
) -> (Reply, Option<String>) {
    let unauthorized = || {
        (
            status(401, "Unauthorized", "Unauthorized", Value::Null),
            None,
        )
    };
    let Some(cluster) = world.clusters.get(index) else {
        return unauthorized();
    };
    let bearer = request
        .header("authorization")
        .and_then(|h| h.strip_prefix("Bearer "));
    let Some(bearer) = bearer else {
        return unauthorized();
    };
    let caller: Caller = match token::check(world, &cluster.spec.name, bearer) {
        Ok(caller) => caller,
        Err(why) => {
            return (
                status(401, "Unauthorized", "Unauthorized", Value::Null),
                Some(format!("? ({why})")),
            );
        }
    };
    let Some(subject) = identity::map(world, cluster, &caller) else {
        return (
            status(401, "Unauthorized", "Unauthorized", Value::Null),
            Some(format!("{} (not mapped)", caller.arn)),
        );
    };
    let subject = match impersonated(request, cluster, subject) {
        Ok(subject) => subject,
        Err(reply) => return (reply, Some(caller.arn)),
    };
    let who = format!("{} as {}", caller.arn, subject.name);
    (
        authorised(world, index, request, target, &subject),
        Some(who),
    )
}

fn authorised(
    world: &mut World,
    index: usize,
    request: &Request,
    target: &Target,
    who: &Subject,
) -> Reply {
    let now = world.now;
    let ceiling = world.pages.kubernetes;
    let Some(cluster) = world.clusters.get_mut(index) else {
        return broken(500);
    };
    let want = target.attributes();
    if !rbac::allowed(&cluster.store, who, &want) {
        return forbidden(who, target);
    }
    if let Some(path) = &target.path {
        return non_resource(&cluster.spec.version, path);
    }
    if target.group == "authorization.k8s.io" && target.verb == "create" {
        return review::answer(&cluster.store, who, &target.resource, &request.body);
    }
    let Some(kind) = Kind::find(&target.group, &target.resource) else {
        return not_found_page();
    };
    if target.version != "v1" {
        return not_found_page();
    }
    if !target.subresource.is_empty() {
        return subresource(target);
    }
    match target.verb.as_str() {
        "list" => read::list(&mut cluster.store, kind, target, request, ceiling),
        "get" => read::get(&cluster.store, kind, target, request),
        "watch" => Reply {
            ending: Ending::Stalled,
            ..Reply::new(200, "application/json", "{}\n")
        },
        _ => {
            let write = write::Write {
                kind,
                target,
                request,
                who,
                webhook: cluster.spec.aws_auth_webhook,
                now,
            };
            let (reply, change) = write.answer(&mut cluster.store);
            if change {
                world.mutations.push(target.operation());
            }
            reply
        }
    }
}

fn impersonated(
    request: &Request,
    cluster: &crate::world::Cluster,
    subject: Subject,
) -> Result<Subject, Reply> {
    let mut wishes = Vec::new();
    if let Some(user) = request.header("impersonate-user") {
        wishes.push(("users", user.to_owned()));
    }
    let groups: Vec<String> = request
        .headers
        .get_all("impersonate-group")
        .iter()
        .filter_map(|v| v.to_str().ok())
        .map(str::to_owned)
        .collect();
    wishes.extend(groups.iter().map(|g| ("groups", g.clone())));
    for (resource, name) in &wishes {
        let want = Attributes {
            verb: "impersonate".into(),
            resource: (*resource).into(),
            name: name.clone(),
            ..Attributes::default()
        };
        if !rbac::allowed(&cluster.store, &subject, &want) {
            let target = Target {
                verb: "impersonate".into(),
                resource: (*resource).into(),
                name: name.clone(),
                ..Target::default()
            };
            return Err(forbidden(&subject, &target));
        }
    }
    match wishes.first() {
        Some(("users", name)) => {
            let mut groups = groups;
            groups.push("system:authenticated".into());
            Ok(Subject {
                name: name.clone(),
                groups,
                ..Subject::default()
            })
        }
        _ => Ok(subject),
    }
}

/// `clusterroles.rbac.authorization.k8s.io`, also for resources that are not served.
fn qualified(target: &Target) -> String {
    if target.group.is_empty() {
        target.resource.clone()
    } else {
        format!("{}.{}", target.resource, target.group)
    }
}

pub(crate) fn forbidden(who: &Subject, target: &Target) -> Reply {
    if let Some(path) = &target.path {
        let message = format!(
            "forbidden: User {:?} cannot {} path {path:?}",
            who.name, target.verb
        );
        return status(403, "Forbidden", &message, json!({}));
    }
    let object = if target.name.is_empty() {
        qualified(target)
    } else {
        format!("{} {:?}", qualified(target), target.name)
    };
    let scope = if target.namespace.is_empty() {
        "at the cluster scope".to_owned()
    } else {
        format!("in the namespace {:?}", target.namespace)
    };
    let message = format!(
        "{object} is forbidden: User {:?} cannot {} resource {:?} in API group {:?} {scope}",
        who.name,
        target.verb,
        target.full_resource(),
        target.group
    );
    status(403, "Forbidden", &message, details(target))
}

pub(crate) fn details(target: &Target) -> Value {
    let mut details = json!({"kind": target.resource});
    if let Some(map) = details.as_object_mut() {
        if !target.name.is_empty() {
            map.insert("name".into(), target.name.clone().into());
        }
        if !target.group.is_empty() {
            map.insert("group".into(), target.group.clone().into());
        }
    }
    details
}

pub(crate) fn not_found(target: &Target) -> Reply {
    status(
        404,
        "NotFound",
        &format!("{} {:?} not found", qualified(target), target.name),
        details(target),
    )
}

fn not_found_page() -> Reply {
    status(
        404,
        "NotFound",
        "the server could not find the requested resource",
        json!({}),
    )
}

fn non_resource(version: &str, path: &str) -> Reply {
    match path.trim_end_matches('/') {
        "/version" => {
            let minor = version.split('.').nth(1).unwrap_or_default();
            Reply::json(
                200,
                &json!({"major": "1", "minor": minor, "gitVersion": format!("v{version}.2-eks-0123456"), "gitCommit": "0123456789abcdef", "gitTreeState": "clean",
                    "buildDate": "2025-10-01T00:00:00Z", "goVersion": "go1.24.6", "compiler": "gc", "platform": "linux/amd64"}),
            )
        }
        "/healthz" | "/livez" | "/readyz" => Reply::new(200, "text/plain; charset=utf-8", "ok"),
        "/api" => Reply::json(
            200,
            &json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}),
        ),
        "/apis" => Reply::json(
            200,
            &json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": []}),
        ),
        _ => not_found_page(),
    }
}

/// Subresources that leak or mint something, answered so that a test sees the harm.
fn subresource(target: &Target) -> Reply {
    match (target.resource.as_str(), target.subresource.as_str()) {
        ("pods", "log") => Reply::new(200, "text/plain", bootstrap::SECRET_CANARY),
        ("serviceaccounts", "token") if target.verb == "create" => Reply::json(
            201,
            &json!({"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "metadata": {"name": target.name}, "status": {"token": bootstrap::SECRET_CANARY, "expirationTimestamp": "2030-01-01T00:00:00Z"}}),
        ),
        (_, "proxy" | "exec" | "attach" | "portforward") => {
            Reply::new(200, "text/plain", bootstrap::SECRET_CANARY)
        }
        _ => not_found_page(),
    }
}
