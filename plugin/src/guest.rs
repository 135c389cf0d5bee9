//! The component: exports on one side, `wasi:http` on the other. The instance is
//! the session, so it lives in a thread-local; a connector has one thread.

use std::cell::RefCell;
use std::collections::BTreeMap;

use waki::bindings::wasi::http::outgoing_handler;
use waki::bindings::wasi::http::types::{
    ErrorCode, Fields, FutureIncomingResponse, Method, OutgoingBody, OutgoingRequest, Scheme,
};

use crate::bindings::baton::connector::{log, progress};
use crate::bindings::exports::baton::connector::{metadata, provision, session, sync};
use crate::bindings::{
    Descriptor, EntitlementPage, Error, Grant, GrantPage, ObjectId, ObjectPage, Plan, Setting,
};
use crate::plan::Direction;
use crate::session::Session;
use crate::upstream::{Failure, Host, Request, Response, fail};

thread_local! {
    static SESSION: RefCell<Option<Session>> = const { RefCell::new(None) };
}

struct Component;

/// The generated exports are `unsafe` by nature; nothing else here is.
#[allow(unsafe_code)]
mod export {
    use super::Component;
    crate::bindings::export!(Component with_types_in crate::bindings);
}

impl metadata::Guest for Component {
    fn describe() -> Descriptor {
        crate::session::describe()
    }
}

impl session::Guest for Component {
    fn open(settings: Vec<Setting>) -> Result<(), Error> {
        let opened = Session::open(&settings, Box::new(Wasi::default()))?;
        SESSION.with(|slot| *slot.borrow_mut() = Some(opened));
        Ok(())
    }
}

impl sync::Guest for Component {
    fn validate() -> Result<Vec<(String, String)>, Error> {
        with(Session::validate)
    }
    fn list_objects(
        kind: String,
        parent: Option<ObjectId>,
        page: Option<String>,
    ) -> Result<ObjectPage, Error> {
        with(|s| s.list_objects(&kind, parent, page))
    }
    fn list_entitlements(kind: String, page: Option<String>) -> Result<EntitlementPage, Error> {
        with(|s| s.list_entitlements(&kind, page))
    }
    fn list_grants(kind: String, page: Option<String>) -> Result<GrantPage, Error> {
        with(|s| s.list_grants(&kind, page))
    }
}

impl provision::Guest for Component {
    fn plan_grant(wish: Grant) -> Result<Plan, Error> {
        with(|s| s.plan(Direction::Grant, &wish))
    }
    fn plan_revoke(wish: Grant) -> Result<Plan, Error> {
        with(|s| s.plan(Direction::Revoke, &wish))
    }
}

fn with<T>(act: impl FnOnce(&mut Session) -> Result<T, Error>) -> Result<T, Error> {
    SESSION.with(|slot| match slot.borrow_mut().as_mut() {
        Some(session) => act(session),
        None => Err(fail(
            "invalid-request",
            "`open` was not called before this call",
        )),
    })
}

/// Requests in flight by ticket. A request that could not even be started keeps
/// its failure until it is collected, so that callers have one place for errors.
#[derive(Default)]
struct Wasi {
    next: u32,
    pending: BTreeMap<u32, Result<FutureIncomingResponse, Failure>>,
}

impl Host for Wasi {
    fn start(&mut self, request: &Request) -> u32 {
        self.next = self.next.wrapping_add(1);
        self.pending.insert(self.next, start(request));
        self.next
    }

    fn finish(&mut self, ticket: u32) -> Result<Response, Failure> {
        let future = match self.pending.remove(&ticket) {
            Some(started) => started?,
            None => return Err(Failure::Unavailable("no such request".into())),
        };
        future.subscribe().block();
        let incoming = match future.get() {
            Some(Ok(Ok(incoming))) => incoming,
            Some(Ok(Err(code))) => return Err(failure(code)),
            _ => return Err(Failure::Unavailable("the host gave no answer".into())),
        };
        let response =
            waki::Response::try_from(incoming).map_err(|e| Failure::Unavailable(e.to_string()))?;
        let status = response.status_code();
        let retry_after_ms = response
            .header("retry-after")
            .and_then(|v| v.to_str().ok())
            .and_then(|v| v.trim().parse::<u32>().ok())
            .map(|seconds| seconds.saturating_mul(1000));
        let body = response
            .body()
            .map_err(|e| Failure::Unavailable(e.to_string()))?;
        Ok(Response {
            status,
            body,
            retry_after_ms,
        })
    }

    fn log(&mut self, level: &str, message: &str) {
        log::log(level, message, &[]);
    }

    fn progress(&mut self, done: u64, total: Option<u64>, what: &str) {
        progress::report(done, total, what);
    }
}

fn start(request: &Request) -> Result<FutureIncomingResponse, Failure> {
    let refused =
        |what: &str| Failure::Unavailable(format!("the request could not be built: {what}"));
    let headers = Fields::new();
    let add = |name: &str, value: &str| {
        headers
            .append(&name.to_string(), &value.as_bytes().to_vec())
            .map_err(|_| refused("headers"))
    };
    add(
        "accept",
        if request.upstream == "iam" {
            "text/xml"
        } else {
            "application/json"
        },
    )?;
    if request.body.is_some() {
        add(
            "content-type",
            "application/x-www-form-urlencoded; charset=utf-8",
        )?;
    }
    let outgoing = OutgoingRequest::new(headers);
    let method = if request.body.is_some() {
        Method::Post
    } else {
        Method::Get
    };
    outgoing
        .set_method(&method)
        .map_err(|()| refused("method"))?;
    outgoing
        .set_scheme(Some(&Scheme::Http))
        .map_err(|()| refused("scheme"))?;
    outgoing
        .set_authority(Some(request.upstream))
        .map_err(|()| refused("authority"))?;
    outgoing
        .set_path_with_query(Some(&request.path))
        .map_err(|()| refused("path"))?;
    let body = outgoing.body().map_err(|()| refused("body"))?;
    let future = outgoing_handler::handle(outgoing, None).map_err(failure)?;
    if let Some(text) = &request.body {
        let stream = body.write().map_err(|()| refused("body stream"))?;
        // A refusing host closes the stream; its reason arrives with the answer.
        for chunk in text.as_bytes().chunks(4096) {
            if stream.blocking_write_and_flush(chunk).is_err() {
                break;
            }
        }
    }
    // As above: a body that was refused is explained by the answer.
    let _ = OutgoingBody::finish(body, None);
    Ok(future)
}

fn failure(code: ErrorCode) -> Failure {
    match code {
        ErrorCode::HttpRequestDenied => Failure::Denied,
        // The host's own sentence.
        ErrorCode::InternalError(Some(why)) => Failure::Unavailable(why),
        other => Failure::Unavailable(format!("{other:?}")),
    }
}
