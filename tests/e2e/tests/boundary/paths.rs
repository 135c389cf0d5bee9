//! Allowing encoded slashes and forbidding them were both wrong: what a server
//! decodes is what decides.

use crate::lab::{COLUMNS, Lab, get};
use crate::page::Room;

pub async fn room() -> Room {
    let all = |authority: &str, paths: &[&str]| paths.iter().map(|path| get(authority, path)).collect();
    let ideas = vec![
        (
            "Another resource behind an escape, a dot or a slash",
            all(
                "kubernetes",
                &[
                    "/api/v1/namespaces/default%2Fsecrets",
                    "/api/v1/namespaces/default%2fsecrets%2fdatabase",
                    "/api/v1/%73ecrets",
                    "/api/v1/namespaces/../secrets",
                    "/api/v1/namespaces/%2e%2e/secrets",
                    "/api/v1/./namespaces",
                    "/api/v1//namespaces",
                    "//api/v1/namespaces",
                    "/api/v1/namespaces/",
                    "/api/v1/namespaces%5c..%5csecrets",
                    "/api/v1/namespaces%252f..%252fsecrets",
                    "/api/v1/namespaces;x=secrets",
                ],
            ),
        ),
        (
            "Characters that end a path or a line, and escapes that are none",
            all(
                "kubernetes",
                &[
                    "/api/v1/namespaces%00",
                    "/api/v1/namespaces%0d%0aHost:%20evil",
                    "/api/v1/namespaces%3Fwatch=true",
                    "/api/v1/namespaces%23",
                    "/api/v1/namespaces%",
                    "/api/v1/namespaces%zz",
                    "/api/v1/namespaces/%c3%28",
                    "",
                    "?limit=1",
                ],
            ),
        ),
        (
            "Other spellings of names and values",
            all(
                "kubernetes",
                &[
                    "/API/v1/namespaces",
                    "/api/v1/Namespaces",
                    "/api/v1/namespaces?%77atch=true",
                    "/api/v1/namespaces?limit=-1",
                    "/api/v1/namespaces?limit=0x10",
                ],
            ),
        ),
        (
            "At EKS, where an ARN in a path must have its slashes encoded",
            all(
                "eks",
                &[
                    "/clusters/lab/../prod",
                    "/clusters/lab%2F..%2Fprod",
                    "/clusters/lab%2Faccess-entries",
                    "/clusters//access-entries",
                    "/clusters/lab/access-entries/",
                    "/clusters/lab/access-entries/arn%3Aaws%3Aiam%3A%3A1%3Arole%2F..%2F..%2F..%2Fupdates",
                    "/clusters/lab/access-entries/..%2F..%2Fnode-groups",
                    "/clusters/lab/access-entries/developers/access-policies/x",
                    "/clusters/lab/access-entries?maxResults=1&maxResults=100",
                    "/clusters/lab/access-entries?evil=1",
                ],
            ),
        ),
    ];
    Room {
        title: "Another spelling of a path (R6)",
        about: "A path is split at its slashes, each part decoded once, and what is then in it is compared; only a part that is an ARN may hold a slash. What is sent is written anew.",
        columns: COLUMNS,
        groups: Lab::everything().await.refuses(ideas).await,
    }
}
