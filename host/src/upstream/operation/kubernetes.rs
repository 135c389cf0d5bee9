//! Kubernetes: a path parsed as the API server parses it (its
//! `RequestInfoFactory`), into what RBAC decides on.
//!
//! A GET is not a read there: it opens logs, proxies and watches. So verb,
//! group, resource, subresource and name decide, and there is no right with a
//! subresource.

use bytes::Bytes;
use http::{Method, Request};

use super::super::rights::{CEILING, Kind, Right, Shape};
use super::text::{self, Segment};
use super::{Headers, Operation, Parsed, Recognised, View, encode};

/// The `Accept` that asks for metadata only.
pub(super) const METADATA_LIST: &str =
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";

/// What RBAC decides on.
#[derive(Debug, Default)]
struct Attributes<'a> {
    verb: &'static str,
    group: &'a str,
    version: &'a str,
    namespace: Option<&'a str>,
    resource: &'a str,
    subresource: Option<&'a str>,
    name: Option<&'a str>,
}

impl Attributes<'_> {
    /// The right that this takes, whether it exists or not.
    fn words(&self) -> String {
        let slash = if self.group.is_empty() { "" } else { "/" };
        let mut words = format!("{} {}{slash}{}", self.verb, self.group, self.resource);
        if let Some(subresource) = self.subresource {
            words = format!("{words}/{subresource}");
        }
        match (self.namespace, self.name) {
            (Some(namespace), Some(name)) if self.resource != "namespaces" => {
                format!("{words} {namespace}/{name}")
            }
            (_, Some(name)) => format!("{words} {name}"),
            _ => words,
        }
        .escape_debug()
        .to_string()
    }

    /// The right of the ceiling that covers this.
    fn right(&self) -> Option<&'static Right> {
        if self.subresource.is_some() {
            return None;
        }
        let all = CEILING.iter().filter(|right| right.kind == Kind::Cluster);
        all.into_iter().find(|right| match right.shape {
            Shape::Rule {
                verb,
                group,
                resource,
                object,
                ..
            } => {
                verb == self.verb
                    && group == self.group
                    && resource == self.resource
                    && object.is_none_or(|(namespace, name)| self.is_object(verb, namespace, name))
            }
            Shape::Action(_) => false,
        })
    }

    /// A create has the object's name in its body, which a sandbox's request
    /// never gets to have read.
    fn is_object(&self, verb: &str, namespace: &str, name: &str) -> bool {
        self.namespace == Some(namespace)
            && (self.name == Some(name) || (verb == "create" && self.name.is_none()))
    }
}

pub(super) fn parse(request: &Request<Bytes>) -> Parsed {
    let headers = Headers::of(request)?;
    headers.accept_is_one_of(&["application/json", "*/*", METADATA_LIST])?;
    headers.content_type_is_one_of(&["application/json"])?;
    let method = request.method();
    let verb = match *method {
        Method::GET => "get",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => {
            return Err(format!(
                "the method {} is not used with Kubernetes",
                method.as_str().escape_debug()
            ));
        }
    };
    let segments = text::segments(request.uri().path())?;
    let words = segments
        .iter()
        .map(Segment::plain)
        .collect::<Result<Vec<_>, _>>()?;
    let query = text::pairs(request.uri().query().unwrap_or_default())?;
    let Some(attributes) = resolve(verb, &words, query.iter().any(|(key, _)| key == "watch"))
    else {
        return Ok(Recognised::Unknown(
            format!("{verb} /{}", words.join("/"))
                .escape_debug()
                .to_string(),
        ));
    };
    let Some(right) = attributes.right() else {
        return Ok(Recognised::Unknown(attributes.words()));
    };
    if attributes.version != "v1" {
        return Err(format!("`{}` is asked in version v1", right.words));
    }
    let path = build(&attributes, right)?;
    let mut operation = Operation {
        right,
        method: method.clone(),
        path,
        query: Vec::new(),
        form: Vec::new(),
        view: View::Full,
    };
    if right.writes() {
        // Never sent from a sandbox, so its query and body are not read.
        return Ok(Recognised::Known(operation));
    }
    if !request.body().is_empty() {
        return Err(format!("`{}` has no body", right.words));
    }
    for (key, value) in query {
        match key.as_str() {
            "limit" if attributes.verb == "list" => match value.parse::<u32>() {
                Ok(limit @ 1..) => operation.query.push(("limit", limit.to_string())),
                _ => return Err("`limit` is not a number from 1 on".to_owned()),
            },
            "continue" if attributes.verb == "list" => operation.query.push(("continue", value)),
            _ => {
                return Err(format!(
                    "`{}` has no parameter `{}`",
                    right.words,
                    key.escape_debug()
                ));
            }
        }
    }
    operation.query.sort();
    operation.query.reverse();
    operation.view = match (attributes.verb, attributes.resource) {
        ("list", "configmaps") => View::Names,
        ("list", _) if headers.accept == Some(METADATA_LIST) => View::Metadata,
        _ if headers.accept == Some(METADATA_LIST) => {
            return Err("metadata is asked for with a list".to_owned());
        }
        _ => View::Full,
    };
    Ok(Recognised::Known(operation))
}

/// As the API server does it. `None`: not a resource.
fn resolve<'a>(verb: &'static str, path: &[&'a str], watch: bool) -> Option<Attributes<'a>> {
    let mut found = Attributes {
        verb,
        ..Attributes::default()
    };
    let mut rest = match path {
        ["api", version, rest @ ..] if !rest.is_empty() => {
            found.version = version;
            rest
        }
        ["apis", group, version, rest @ ..] if !rest.is_empty() => {
            found.group = group;
            found.version = version;
            rest
        }
        _ => return None,
    };
    // The deprecated forms `/api/v1/watch/…` and `/api/v1/proxy/…`.
    for special in ["watch", "proxy"] {
        if let [first, more @ ..] = rest
            && *first == special
            && !more.is_empty()
        {
            found.verb = special;
            rest = more;
            break;
        }
    }
    if let ["namespaces", namespace, more @ ..] = rest {
        found.namespace = Some(namespace);
        match more {
            [] | ["status" | "finalize", ..] => {}
            _ => rest = more,
        }
    }
    let mut parts = rest.iter().copied();
    found.resource = parts.next()?;
    found.name = parts.next();
    let deeper: Vec<&str> = parts.collect();
    if !deeper.is_empty() {
        // Whatever follows a name makes it a subresource; it is only shown.
        found.subresource = deeper.first().copied();
    }
    if found.name.is_none() {
        found.verb = match found.verb {
            "get" => "list",
            "delete" => "deletecollection",
            other => other,
        };
    }
    if watch && matches!(found.verb, "get" | "list") {
        found.verb = "watch";
    }
    Some(found)
}

fn build(attributes: &Attributes<'_>, right: &Right) -> Result<String, String> {
    let Shape::Rule {
        group,
        resource,
        namespaced,
        ..
    } = right.shape
    else {
        return Err("the right is none of Kubernetes".to_owned());
    };
    let mut path = if group.is_empty() {
        "/api/v1".to_owned()
    } else {
        format!("/apis/{group}/v1")
    };
    match attributes.namespace {
        Some(_) if !namespaced => return Err(format!("`{resource}` are not in namespaces")),
        Some(namespace) => {
            if !namespace
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            {
                return Err("the path holds something that is no name of a namespace".to_owned());
            }
            path = format!("{path}/namespaces/{namespace}");
        }
        None if namespaced && attributes.name.is_some() => {
            return Err(format!(
                "one of the `{resource}` is asked for in its namespace"
            ));
        }
        None => {}
    }
    path = format!("{path}/{resource}");
    if let Some(name) = attributes.name {
        path = format!("{path}/{}", encode(name));
    }
    Ok(path)
}
