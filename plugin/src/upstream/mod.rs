//! Calls to the three named upstreams.
//!
//! The host owns addresses, credentials, rate and retries; here are only paths,
//! paging and the fan-out: a fixed window of 64 requests in flight, started
//! first and collected in order. Every exported call may spend [`BUDGET`] calls
//! and then returns a page, full or not, so that the host has an edge for
//! deadlines and Ctrl-C.

mod errors;

use std::collections::VecDeque;

pub use errors::{fail, fault, unreadable};

use crate::bindings::Error;
use crate::text::encode;

/// Requests in flight at once.
pub const WINDOW: usize = 64;
/// Upstream calls in one exported call: half of what the contract allows, so
/// that a throttled host still answers within its time limit.
pub const BUDGET: u32 = 128;

/// One request to a named upstream. A body means `POST`, none means `GET`.
#[derive(Clone, Debug)]
pub struct Request {
    /// `eks`, `iam` or `kubernetes`.
    pub upstream: &'static str,
    /// The right that is used, as declared.
    pub operation: &'static str,
    /// Path and query.
    pub path: String,
    /// A form body (IAM only).
    pub body: Option<String>,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// The whole body.
    pub body: Vec<u8>,
    /// `Retry-After`, in milliseconds.
    pub retry_after_ms: Option<u32>,
}

/// Why nothing came back.
#[derive(Clone, Debug)]
pub enum Failure {
    /// The host refuses the request: the right is not approved.
    Denied,
    /// Anything else, in the host's words.
    Unavailable(String),
}

/// What the connector needs from whatever runs it.
pub trait Host {
    /// Starts a request and returns the ticket to collect it with.
    fn start(&mut self, request: &Request) -> u32;
    /// Waits for a started request.
    fn finish(&mut self, ticket: u32) -> Result<Response, Failure>;
    /// Writes a log record.
    fn log(&mut self, level: &str, message: &str);
    /// Shows progress.
    fn progress(&mut self, done: u64, total: Option<u64>, what: &str);
}

/// The calls of one exported call.
pub struct Calls<'a> {
    /// Whatever runs the connector.
    pub host: &'a mut dyn Host,
    left: u32,
}

impl<'a> Calls<'a> {
    /// A full budget.
    pub fn new(host: &'a mut dyn Host) -> Self {
        Calls { host, left: BUDGET }
    }

    /// Whether it is time to return.
    pub fn spent(&self) -> bool {
        self.left == 0
    }

    /// Sends one request and returns its answer, whatever the status.
    pub fn send(&mut self, request: &Request) -> Result<Response, Error> {
        self.left = self.left.saturating_sub(1);
        let ticket = self.host.start(request);
        self.host
            .finish(ticket)
            .map_err(|failure| errors::unanswered(request, &failure))
    }

    /// Sends one request; any status but 2xx is an error.
    pub fn get(&mut self, request: &Request) -> Result<Response, Error> {
        let response = self.send(request)?;
        if (200..300).contains(&response.status) {
            Ok(response)
        } else {
            Err(fault(request, &response))
        }
    }

    /// Sends the queue with a window of [`WINDOW`] until it is empty or the
    /// budget is spent; answers are handled in the order of the queue. A handler
    /// may return one more request (the next page), which goes to the end.
    pub fn fan_out<T>(
        &mut self,
        queue: &mut VecDeque<(T, Request)>,
        mut handle: impl FnMut(T, &Request, Response) -> Result<Option<(T, Request)>, Error>,
    ) -> Result<(), Error> {
        let mut flying: VecDeque<(u32, T, Request)> = VecDeque::new();
        let mut outcome = Ok(());
        loop {
            while outcome.is_ok() && flying.len() < WINDOW && self.left > 0 {
                let Some((tag, request)) = queue.pop_front() else {
                    break;
                };
                self.left -= 1;
                flying.push_back((self.host.start(&request), tag, request));
            }
            let Some((ticket, tag, request)) = flying.pop_front() else {
                return outcome;
            };
            let answer = self.host.finish(ticket);
            if outcome.is_err() {
                continue; // Collected only so that nothing stays in flight.
            }
            let handled = answer
                .map_err(|failure| errors::unanswered(&request, &failure))
                .and_then(|response| handle(tag, &request, response));
            match handled {
                Ok(Some(more)) => queue.push_back(more),
                Ok(None) => {}
                Err(error) => outcome = Err(error),
            }
        }
    }
}

/// A request to EKS about `path` segments below `/`, each encoded here.
pub fn eks(operation: &'static str, path: &[&str], query: &[(&str, &str)]) -> Request {
    let mut text = String::new();
    for segment in path {
        text.push('/');
        text.push_str(&encode(segment));
    }
    push_query(&mut text, query);
    Request {
        upstream: "eks",
        operation,
        path: text,
        body: None,
    }
}

/// A page of IAM's users, groups, roles and policies. Policies make it long, so
/// it is of fewer items than IAM would give.
pub fn account_details(marker: Option<&str>) -> Request {
    let mut body = "Action=GetAccountAuthorizationDetails&Version=2010-05-08&MaxItems=200\
                    &Filter.member.1=User&Filter.member.2=Role&Filter.member.3=Group\
                    &Filter.member.4=LocalManagedPolicy&Filter.member.5=AWSManagedPolicy"
        .to_string();
    if let Some(marker) = marker {
        body.push_str("&Marker=");
        body.push_str(&encode(marker));
    }
    Request {
        upstream: "iam",
        operation: "iam:GetAccountAuthorizationDetails",
        path: "/".into(),
        body: Some(body),
    }
}

/// One page of IAM's roles.
pub fn list_roles(marker: Option<&str>) -> Request {
    let mut body = "Action=ListRoles&Version=2010-05-08&MaxItems=1000".to_string();
    if let Some(marker) = marker {
        body.push_str("&Marker=");
        body.push_str(&encode(marker));
    }
    Request {
        upstream: "iam",
        operation: "iam:ListRoles",
        path: "/".into(),
        body: Some(body),
    }
}

/// A request to the cluster's API.
pub fn kubernetes(operation: &'static str, path: &str, query: &[(&str, &str)]) -> Request {
    let mut text = path.to_string();
    push_query(&mut text, query);
    Request {
        upstream: "kubernetes",
        operation,
        path: text,
        body: None,
    }
}

fn push_query(path: &mut String, query: &[(&str, &str)]) {
    for (at, (key, value)) in query.iter().enumerate() {
        path.push(if at == 0 { '?' } else { '&' });
        path.push_str(key);
        path.push('=');
        path.push_str(&encode(value));
    }
}
