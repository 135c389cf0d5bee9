//! An upstream that hands back the credential it was sent, in each of the
//! places where a careless one would.

use serde::Deserialize;
use serde_json::json;

use crate::http::{Reply, Request};
use crate::kubernetes;

/// Where the credential of a request comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EchoPlace {
    /// In a header that a plugin is shown, with the real answer.
    Header,
    /// In a field of an answer.
    Body,
    /// The same, every character an escape.
    Escapes,
    /// The same, compressed.
    Gzip,
    /// The same, across the border of two pieces of the body.
    Pieces,
    /// In the text of an error in the service's own form.
    Error,
}

/// What a request proves itself by.
fn credential(request: &Request) -> String {
    let token = request.header("x-amz-security-token");
    let header = || request.header("authorization").unwrap_or_default();
    let header = token.unwrap_or_else(|| header());
    header.strip_prefix("Bearer ").unwrap_or(header).to_owned()
}

/// Puts it there.
pub(crate) fn echo(place: EchoPlace, request: &Request, service: &str, reply: &mut Reply) {
    let said = credential(request);
    // The border of two pieces is in the middle of it.
    let pad = " ".repeat(match place {
        EchoPlace::Pieces => 64 * 1024 - said.len() / 2 - 9,
        _ => 0,
    });
    let body = match place {
        EchoPlace::Header => {
            reply.headers.retain(|(name, _)| name != "x-amzn-requestid");
            reply.headers.push(("x-amzn-requestid".to_owned(), said));
            return;
        }
        EchoPlace::Escapes => {
            let escaped: String = said.bytes().map(|byte| format!("\\u{byte:04x}")).collect();
            format!(r#"{{"echo":"{escaped}"}}"#)
        }
        EchoPlace::Error if ["iam", "sts"].contains(&service) => {
            *reply = Reply::new(
                403,
                "text/xml",
                format!(
                    "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>refused: {said}</Message></Error></ErrorResponse>"
                ),
            );
            return;
        }
        EchoPlace::Error if service == "kubernetes" => {
            *reply = Reply::json(
                403,
                &json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Forbidden", "code": 403, "message": format!("refused: {said}")}),
            );
            return;
        }
        EchoPlace::Error => {
            *reply = Reply::json(403, &json!({"message": format!("refused: {said}")}))
                .with("x-amzn-errortype", "AccessDeniedException");
            return;
        }
        _ => format!(r#"{{"echo":{pad}"{said}"}}"#),
    };
    *reply = Reply::new(200, "application/json", body);
    if place == EchoPlace::Gzip {
        reply.body = kubernetes::gzip(&reply.body).into();
        reply
            .headers
            .push(("content-encoding".to_owned(), "gzip".to_owned()));
    }
}
