//! From an upstream's refusal to the contract's error: what was wrong, where,
//! and the line to add.

use serde_json::Value;

use super::{Failure, Request, Response};
use crate::bindings::Error;
use crate::text::cut;

/// An error of one of the registered kinds.
pub fn fail(kind: &str, message: impl Into<String>) -> Error {
    Error {
        kind: kind.into(),
        message: message.into(),
        retry_after_ms: None,
        attributes: Vec::new(),
    }
}

/// An answer with a good status that cannot be understood.
pub fn unreadable(request: &Request, why: impl std::fmt::Display) -> Error {
    let mut error = fail(
        "upstream",
        format!(
            "the answer of `{}` to {} cannot be read: {}",
            request.upstream,
            request.operation,
            cut(&why.to_string(), 300)
        ),
    );
    error.attributes = context(request);
    error
}

pub(super) fn unanswered(request: &Request, failure: &Failure) -> Error {
    let mut error = match failure {
        Failure::Denied => fail(
            "not-permitted",
            format!(
                "the host refuses {} on `{}`: this right is not approved for the connector",
                request.operation, request.upstream
            ),
        ),
        Failure::Unavailable(why) => fail(
            "unavailable",
            format!(
                "`{}` gave no answer to {}: {}",
                request.upstream,
                request.operation,
                cut(why, 300)
            ),
        ),
    };
    error.attributes = context(request);
    error
}

fn context(request: &Request) -> Vec<(String, String)> {
    vec![
        ("upstream".into(), request.upstream.into()),
        ("operation".into(), request.operation.into()),
    ]
}

const SIGNATURE_CODES: [&str; 8] = [
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidClientTokenId",
    "UnrecognizedClientException",
    "SignatureDoesNotMatch",
    "InvalidSignatureException",
    "IncompleteSignature",
    "MissingAuthenticationToken",
];
const THROTTLE_CODES: [&str; 6] = [
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "RequestLimitExceeded",
    "SlowDown",
    "TooManyRequests",
];

/// A status that is not 2xx as an error. A body that is not the expected JSON
/// (a proxy's page) is judged by its status alone.
pub fn fault(request: &Request, response: &Response) -> Error {
    let body: Value = serde_json::from_slice(&response.body).unwrap_or(Value::Null);
    let text = |key: &str| body.get(key).and_then(Value::as_str).map(|s| cut(s, 1000));
    let code = if request.upstream == "kubernetes" {
        text("reason")
    } else {
        text("code")
    }
    .unwrap_or_default();
    let said = text("message").unwrap_or_else(|| "no readable message".into());
    let kind = match response.status {
        401 => "unauthenticated",
        403 if SIGNATURE_CODES.contains(&code.as_str()) => "unauthenticated",
        403 => "not-permitted",
        _ if THROTTLE_CODES.contains(&code.as_str()) => "rate-limited",
        429 => "rate-limited",
        404 => "not-found",
        500.. => "unavailable",
        _ if SIGNATURE_CODES.contains(&code.as_str()) => "unauthenticated",
        _ => "upstream",
    };
    let message = match kind {
        "not-permitted" => format!(
            "`{}` does not permit {}: {said}",
            request.upstream, request.operation
        ),
        "unauthenticated" => format!(
            "`{}` does not know who is asking for {}: {said}",
            request.upstream, request.operation
        ),
        _ => format!(
            "`{}` answered {} to {}: {said}",
            request.upstream, response.status, request.operation
        ),
    };
    let mut error = fail(kind, message);
    error.retry_after_ms = response.retry_after_ms;
    error.attributes = context(request);
    error
        .attributes
        .push(("status".into(), response.status.to_string()));
    if !code.is_empty() {
        error.attributes.push(("code".into(), code));
    }
    if let Some(hint) = hint(kind, request) {
        error.attributes.push(("hint".into(), hint));
    }
    error
}

fn hint(kind: &str, request: &Request) -> Option<String> {
    match (kind, request.upstream) {
        ("not-permitted", "kubernetes") => Some(rule(request.operation)),
        ("not-permitted", _) => Some(format!(
            "add to the IAM policy of the role: {{\"Effect\": \"Allow\", \"Action\": \"{}\", \"Resource\": \"*\"}}",
            request.operation
        )),
        ("not-found", "eks") if request.operation == "eks:DescribeCluster" => Some(
            "check the name of the cluster, its region, and that the role is of its account".into(),
        ),
        ("unauthenticated", "kubernetes") => {
            Some("map the identity into the cluster: aws eks create-access-entry --cluster-name CLUSTER --principal-arn ARN".into())
        }
        _ => None,
    }
}

/// The RBAC rule that allows an operation such as `list rbac.authorization.k8s.io/roles`.
fn rule(operation: &str) -> String {
    let mut words = operation.split(' ');
    let (verb, what, one) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
        words.next(),
    );
    let (group, resource) = what.split_once('/').unwrap_or(("", what));
    match one.and_then(|o| o.split_once('/')) {
        Some((namespace, name)) => format!(
            "add to a Role in namespace {namespace}: {{apiGroups: [\"{group}\"], resources: [\"{resource}\"], resourceNames: [\"{name}\"], verbs: [\"{verb}\"]}}"
        ),
        None => format!(
            "add to a ClusterRole: {{apiGroups: [\"{group}\"], resources: [\"{resource}\"], verbs: [\"{verb}\"]}}"
        ),
    }
}
