//! The AWS front: one plain listener for STS, IAM, EKS and ambient credentials.
//!
//! A request belongs to the service that its credential scope names; unsigned
//! ones are told apart by their shape. Each service words its own errors.

use crate::auth::Refusal;
use crate::eks::{self, Call};
use crate::http::{Reply, Request};
use crate::sigv4::Claim;
use crate::text::{find, form, pairs, uuid, xml};
use crate::world::World;
use crate::{iam, metadata, sts};

/// Where a request goes, and under which name it counts.
#[derive(Debug)]
pub(crate) struct Route {
    pub service: &'static str,
    pub operation: String,
    /// Query-protocol parameters.
    pub params: Vec<(String, String)>,
    pub call: Option<Call>,
}

pub(crate) fn route(request: &Request) -> Route {
    let scope = Claim::from_header(request)
        .ok()
        .flatten()
        .map(|c| c.service);
    if scope.is_none()
        && (request.path == "/v1/credentials" || request.path.starts_with("/latest/"))
    {
        let operation = format!("metadata:{} {}", request.method, request.path);
        return Route {
            service: "metadata",
            operation,
            params: Vec::new(),
            call: None,
        };
    }
    let mut params = Vec::new();
    if request.path == "/" {
        params = pairs(&request.query);
        params.extend(form(&String::from_utf8_lossy(&request.body)));
    }
    let action = find(&params, "Action").map(str::to_owned);
    let service = match (scope.as_deref(), &action) {
        (Some("sts"), _) => "sts",
        (Some("iam"), _) => "iam",
        (Some("eks"), _) => "eks",
        (_, Some(a)) if a.starts_with("AssumeRole") || a.starts_with("GetCaller") => "sts",
        (_, Some(_)) => "iam",
        _ => "eks",
    };
    if service == "eks" {
        let call = eks::parse(&request.method, &request.path);
        let name = call.as_ref().map_or_else(
            || format!("{} {}", request.method, request.path),
            |c| c.operation.to_owned(),
        );
        return Route {
            service,
            operation: format!("eks:{name}"),
            params: pairs(&request.query),
            call,
        };
    }
    Route {
        service,
        operation: format!("{service}:{}", action.unwrap_or_else(|| "?".into())),
        params,
        call: None,
    }
}

pub(crate) fn answer(world: &mut World, request: &Request, route: &Route) -> Reply {
    match route.service {
        "sts" => sts::answer(world, request, route),
        "iam" => iam::answer(world, request, route),
        "metadata" => metadata::answer(world, request),
        _ => eks::answer(world, request, route),
    }
}

/// An error of the Query protocol.
pub(crate) fn query_error(service: &str, status: u16, code: &str, message: &str) -> Reply {
    let namespace = namespace(service);
    let kind = if status >= 500 { "Receiver" } else { "Sender" };
    let id = uuid(&format!("{code}{message}"));
    let body = format!(
        "<ErrorResponse xmlns=\"{namespace}\">\n  <Error>\n    <Type>{kind}</Type>\n    <Code>{code}</Code>\n    <Message>{}</Message>\n  </Error>\n  \
         <RequestId>{id}</RequestId>\n</ErrorResponse>\n",
        xml(message)
    );
    Reply::new(status, "text/xml", body).with("x-amzn-requestid", id)
}

/// An answer of the Query protocol.
pub(crate) fn query_result(service: &str, action: &str, result: &str) -> Reply {
    let id = uuid(result);
    let body = format!(
        "<{action}Response xmlns=\"{}\">\n<{action}Result>\n{result}</{action}Result>\n<ResponseMetadata>\n<RequestId>{id}</RequestId>\n</ResponseMetadata>\n</{action}Response>\n",
        namespace(service)
    );
    Reply::new(200, "text/xml", body).with("x-amzn-requestid", id)
}

pub(crate) fn query_refusal(service: &str, refusal: Refusal) -> Reply {
    let (code, message) = match refusal {
        Refusal::Missing => (
            "MissingAuthenticationToken",
            "Request is missing Authentication Token".into(),
        ),
        Refusal::Incomplete(m) => ("IncompleteSignature", m),
        Refusal::UnknownKey => (
            "InvalidClientTokenId",
            "The security token included in the request is invalid.".into(),
        ),
        Refusal::Expired => (
            "ExpiredToken",
            "The security token included in the request is expired".into(),
        ),
        Refusal::Signature(m) => ("SignatureDoesNotMatch", m),
    };
    query_error(service, 403, code, &message)
}

fn namespace(service: &str) -> &'static str {
    if service == "iam" {
        "https://iam.amazonaws.com/doc/2010-05-08/"
    } else {
        "https://sts.amazonaws.com/doc/2011-06-15/"
    }
}

/// The answer of a throttled call, in the service's own form.
pub(crate) fn throttled(service: &str, retry_ms: u64) -> Reply {
    let reply = match service {
        "eks" => eks::error(429, "ThrottlingException", "Rate exceeded"),
        service => query_error(service, 400, "Throttling", "Rate exceeded"),
    };
    if retry_ms == 0 {
        reply
    } else {
        reply.with("x-amz-retry-after", retry_ms.to_string())
    }
}

/// The answer of a service that is broken.
pub(crate) fn broken(service: &str, status: u16) -> Reply {
    match service {
        "eks" if status == 503 => eks::error(
            503,
            "ServiceUnavailableException",
            "The service is unavailable. Back off and retry the operation.",
        ),
        "eks" => eks::error(status, "ServerException", "An internal error has occurred"),
        service if status == 503 => query_error(
            service,
            503,
            "ServiceUnavailable",
            "Service is unable to handle request.",
        ),
        service => query_error(
            service,
            status,
            "InternalFailure",
            "The request processing has failed because of an unknown error, exception or failure.",
        ),
    }
}
