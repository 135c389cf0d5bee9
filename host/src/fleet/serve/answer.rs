//! Which answer a request gets: routes, methods, and what keeps browsers from
//! doing more than showing a page.

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{HeaderMap, Method, StatusCode, Uri};
use http_body_util::Full;
use jiff::Timestamp;

use super::health::Endpoint;
use super::listen::Answer;
use super::{Site, health, metrics, page};

/// Asks for a page in a browser are told where that is.
const PATHS: &str = "/ /status.json /metrics /health /ready /live";

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const HTML: &str = "text/html; charset=utf-8";

/// Answers a request. Reads the board, and nothing else.
pub(super) fn answer(
    site: &Site,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    now: Timestamp,
) -> Answer {
    if let Err(problem) = addressed(site.loopback, uri, headers) {
        return text(StatusCode::MISDIRECTED_REQUEST, problem);
    }
    if method != Method::GET && method != Method::HEAD {
        let mut refused = text(
            StatusCode::METHOD_NOT_ALLOWED,
            "there is only GET and HEAD here",
        );
        let allowed = HeaderValue::from_static("GET, HEAD");
        refused.headers_mut().insert(header::ALLOW, allowed);
        return refused;
    }
    let endpoint = Endpoint::ALL
        .into_iter()
        .find(|endpoint| endpoint.path() == uri.path());
    if let Some(endpoint) = endpoint {
        let verdict = health::judge(endpoint, site, now);
        let status = match verdict.good {
            true => StatusCode::OK,
            false => StatusCode::SERVICE_UNAVAILABLE,
        };
        return json(status, &verdict.body);
    }
    match uri.path() {
        "/" => {
            let wanted = page::Wanted::parse(uri.query().unwrap_or_default());
            let html = page::page(&site.board.snapshot(), &site.life, &wanted, now);
            finish(StatusCode::OK, HTML, html, &page::policy())
        }
        "/status.json" => json(StatusCode::OK, &site.status()),
        "/metrics" => match metrics::text(site, now) {
            Ok(text) => finish(StatusCode::OK, metrics::CONTENT_TYPE, text, NOTHING),
            Err(_) => text(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the numbers cannot be written",
            ),
        },
        // Browsers ask for it by themselves.
        "/favicon.ico" => finish(StatusCode::NO_CONTENT, TEXT, String::new(), NOTHING),
        _ => text(StatusCode::NOT_FOUND, &format!("there is {PATHS} here")),
    }
}

/// A page of somebody else that lets its own name point to this machine must
/// not read what is here: on loopback only names of loopback are ours.
fn addressed(loopback: bool, uri: &Uri, headers: &HeaderMap) -> Result<(), &'static str> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = match (uri.authority(), hosts.next(), hosts.next()) {
        (_, _, Some(_)) => return Err("a request has one Host"),
        (Some(authority), _, None) => authority.as_str(),
        (None, Some(host), None) => host.to_str().unwrap_or("?"),
        // Nothing that a browser sends.
        (None, None, None) => return Ok(()),
    };
    if !loopback || names_loopback(host) {
        return Ok(());
    }
    Err("this address is for this machine only: ask for localhost, 127.0.0.1 or [::1]")
}

fn names_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((name, port)) if port.is_empty() || port.starts_with(':') => name,
            _ => return false,
        },
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost")
        || name
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// No page may do anything with these answers.
const NOTHING: &str = "default-src 'none'; frame-ancestors 'none'";

fn text(status: StatusCode, sentence: &str) -> Answer {
    finish(status, TEXT, format!("{sentence}\n"), NOTHING)
}

fn json(status: StatusCode, value: &serde_json::Value) -> Answer {
    // A terminal obeys characters that JSON need not escape; inside of a
    // string, where alone they can be, the escape means the same.
    let mut safe = String::new();
    for c in value.to_string().chars() {
        if crate::sandbox::obeyed(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                safe.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            safe.push(c);
        }
    }
    safe.push('\n');
    finish(status, JSON, safe, NOTHING)
}

fn finish(status: StatusCode, kind: &'static str, body: String, policy: &str) -> Answer {
    let mut answer = Answer::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            header::HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
        (
            header::HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Ok(policy) = HeaderValue::from_str(policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    answer
}
