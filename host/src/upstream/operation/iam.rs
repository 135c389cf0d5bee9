//! IAM: the Query protocol, by POST and form only.
//!
//! IAM takes GET and POST for every action, reads `Action` from query and
//! body, and its answer to two of them is nobody's promise. So there is one
//! way in: a form body with exactly one `Action`, one `Version` and known
//! keys, which is written anew.

use bytes::Bytes;
use http::{Method, Request};

use super::super::rights::{self, Kind};
use super::{Headers, Operation, Parsed, Recognised, View, text};

/// What the body is sent as.
pub(super) const CONTENT_TYPE: &str = "application/x-www-form-urlencoded; charset=utf-8";

const VERSION: &str = "2010-05-08";

/// The parameters of the actions of the ceiling.
static TABLE: &[(&str, &[&str])] = &[
    ("ListRoles", &["MaxItems", "Marker", "PathPrefix"]),
    (
        "GetAccountAuthorizationDetails",
        &[
            "MaxItems",
            "Marker",
            "Filter.member.1",
            "Filter.member.2",
            "Filter.member.3",
            "Filter.member.4",
            "Filter.member.5",
        ],
    ),
];

pub(super) fn parse(request: &Request<Bytes>) -> Parsed {
    let headers = Headers::of(request)?;
    headers.accept_is_one_of(&["*/*", "text/xml", "application/xml"])?;
    if request.method() != Method::POST {
        return Err("IAM is asked by POST with a form".to_owned());
    }
    if request.uri().path() != "/" || request.uri().query().is_some() {
        return Err("IAM's path is `/`, without a query".to_owned());
    }
    if headers.content_type.is_none() {
        return Err(format!("IAM's content type is `{CONTENT_TYPE}`"));
    }
    headers.content_type_is_one_of(&[CONTENT_TYPE, "application/x-www-form-urlencoded"])?;
    let body =
        std::str::from_utf8(request.body()).map_err(|_| "the form is not UTF-8".to_owned())?;
    let mut form = text::pairs(body)?;
    let mut take = |key: &str| {
        form.iter()
            .position(|(k, _)| k == key)
            .map(|place| form.remove(place).1)
    };
    let action = take("Action").ok_or("the form has no `Action`")?;
    let version = take("Version").ok_or("the form has no `Version`")?;
    if version != VERSION {
        return Err(format!("IAM's version is {VERSION}"));
    }
    if action.is_empty() || !action.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err("`Action` is not the name of an action".to_owned());
    }
    let words = format!("iam:{action}");
    let known = rights::find(Kind::Iam, &words).zip(TABLE.iter().find(|(name, _)| *name == action));
    let Some((right, (_, keys))) = known else {
        return Ok(Recognised::Unknown(words));
    };
    if let Some((key, _)) = form.iter().find(|(key, _)| !keys.contains(&key.as_str())) {
        return Err(format!(
            "`{words}` has no parameter `{}`",
            key.escape_debug()
        ));
    }
    if let Some((_, count)) = form.iter_mut().find(|(key, _)| key == "MaxItems") {
        match count.parse::<u16>() {
            Ok(number @ 1..=1000) => *count = number.to_string(),
            _ => return Err("`MaxItems` is not a number from 1 to 1000".to_owned()),
        }
    }
    form.sort();
    form.splice(
        0..0,
        [
            ("Action".to_owned(), action),
            ("Version".to_owned(), version),
        ],
    );
    Ok(Recognised::Known(Operation {
        right,
        method: Method::POST,
        path: "/".to_owned(),
        query: Vec::new(),
        form,
        view: View::Full,
    }))
}
