//! Of a guest's headers two are read and no other is sent.

use serde_json::json;

use crate::lab::{COLUMNS, Lab, with_header};
use crate::page::Room;

pub async fn room() -> Room {
    let all = |headers: &[(&str, &str)]| {
        headers
            .iter()
            .map(|(name, value)| with_header(name, value))
            .collect::<Vec<_>>()
    };
    let mut bodies = all(&[
        ("accept", "application/yaml"),
        ("accept", "application/json;stream=watch"),
        ("accept", "application/vnd.kubernetes.protobuf"),
    ]);
    let accept = "application/json";
    bodies.extend([
        json!({
            "authority": "kubernetes",
            "path": "/api/v1/namespaces",
            "headers": [["accept", accept], ["accept", accept]],
        }),
        json!({ "authority": "kubernetes", "path": "/api/v1/namespaces", "body": "{}" }),
    ]);
    let ideas = vec![
        (
            "Credentials and identities of the plugin's own choice",
            all(&[
                ("authorization", "Bearer stolen"),
                ("proxy-authorization", "Basic eDp5"),
                ("x-amz-security-token", "stolen"),
                ("x-amz-date", "20260101T000000Z"),
                ("x-k8s-aws-id", "prod"),
                ("cookie", "a=b"),
                ("x-remote-user", "system:admin"),
                ("x-forwarded-for", "10.0.0.1"),
            ]),
        ),
        (
            "Headers that change what a request is or where it ends",
            all(&[
                ("user-agent", "honest"),
                ("accept-encoding", "gzip"),
                ("x-http-method-override", "DELETE"),
                ("range", "bytes=0-1"),
                ("expect", "100-continue"),
                ("te", "trailers"),
                ("content-length", "0"),
                ("transfer-encoding", "chunked"),
                ("host", "evil.example.com"),
                ("upgrade", "websocket"),
                ("connection", "upgrade"),
                ("http2-settings", "AAMAAABkAAQAAP__"),
                ("sec-websocket-protocol", "v5.channel.k8s.io"),
            ]),
        ),
        ("Forms of an answer that the host does not read, and a body where there is none", bodies),
    ];
    Room {
        title: "Headers (R6)",
        about: "`accept` and `content-type` are read, from a short list of values. Host, User-Agent, Accept-Encoding, Content-Length and all credentials are the host's own.",
        columns: COLUMNS,
        groups: Lab::everything().await.refuses(ideas).await,
    }
}
