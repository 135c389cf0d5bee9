//! The name of the upstream was right and the path another cluster's.

use crate::lab::{COLUMNS, Lab, get, send};
use crate::page::Room;

pub async fn room() -> Room {
    let body = r#"{"logging":{}}"#;
    let post = |path: &str, body: &str| send("POST", "eks", path, body);
    let ideas = vec![
        (
            "Another cluster of the account",
            vec![
                get("eks", "/clusters"),
                get("eks", "/clusters/prod"),
                get("eks", "/clusters/prod/access-entries"),
                get("eks", "/clusters/prod/pod-identity-associations"),
                get("eks", "/clusters/LAB"),
                get("eks", "/clusters/lab%20"),
                get("eks", "/clusters/%6cab2"),
                post("/clusters/prod/access-entries", body),
                send("DELETE", "eks", "/clusters/prod", ""),
            ],
        ),
        (
            "The rest of EKS: a public endpoint, an issuer of one's own, a role for a pod",
            vec![
                post("/clusters/lab/update-config", body),
                post("/clusters/lab/identity-provider-configs/associate", body),
                post("/clusters/lab/identity-provider-configs/describe", body),
                post("/clusters/lab/pod-identity-associations", body),
                post("/clusters/lab/addons", body),
                send("DELETE", "eks", "/clusters/lab", ""),
                get("eks", "/clusters/lab/node-groups"),
                get("eks", "/clusters/lab/fargate-profiles"),
                get("eks", "/clusters/lab/updates"),
                get("eks", "/clusters/lab/insights"),
                get(
                    "eks",
                    "/tags/arn%3Aaws%3Aeks%3Aeu-west-1%3A111122223333%3Acluster%2Flab",
                ),
            ],
        ),
        (
            "Another service behind the endpoint of EKS",
            vec![
                get("eks", "/?Action=GetCallerIdentity&Version=2011-06-15"),
                post("/", "Action=AssumeRole&Version=2011-06-15"),
                get("eks", "/secrets"),
            ],
        ),
    ];
    Room {
        title: "Another cluster, another service (R7)",
        about: "The cluster's name in a path is compared with the session's, not taken from the plugin. The services are a closed list in host code, each with a table of operations.",
        columns: COLUMNS,
        groups: Lab::everything().await.refuses(ideas).await,
    }
}
