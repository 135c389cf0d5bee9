//! Attacks on the upstream boundary, as a component would make them: through
//! the sandbox, the boundary and the credentials to a simulated cloud, which
//! says what reached it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use baton_host::credentials::{AwsSettings, Env};
use baton_host::job::{self, Connection, Job};
use baton_host::plugin::{Approval, Plugin};
use baton_host::sandbox::{CallError, Connector as _};
use baton_host::upstream::Rates;
use cloud_sim::{CONFIG_MAP_CANARY, Effect, Fault, SECRET_CANARY, Scenario, Sim};
use e2e::guests::{self, Probe};
use serde_json::{Value, json};

/// A cloud with one cluster, `lab`, and a probe that may say to it what its
/// approval allows.
struct Lab {
    sim: Sim,
    connection: Connection,
    /// The body with which the role was assumed.
    assumed: String,
}

impl Lab {
    async fn new(groups: &[&str]) -> Lab {
        let sim = Sim::start(Scenario::minimal().unwrap()).await.unwrap();
        let env = Env::from_pairs(sim.env("lab"));
        let (_, component) = guests::shared().await;
        let settings = [
            ("eks-region", env.get("BATON_EKS_REGION").unwrap()),
            ("eks-cluster-name", "lab".to_owned()),
        ];
        let job = Job {
            plugin: Plugin {
                path: guests::path("probe.wasm"),
                component: component.clone(),
                approval: Approval {
                    groups: groups.iter().map(|group| (*group).to_owned()).collect(),
                    rights: None,
                },
            },
            settings: BTreeMap::from(settings.map(|(k, v)| (k.to_owned(), v))),
            aws: AwsSettings::from_env(&env).unwrap(),
            env,
            rates: Arc::new(Rates::default()),
            http: baton_host::credentials::HttpClients::new(),
            limits: baton_host::sandbox::Limits::default(),
        };
        let connection = job::connect(&job).await.unwrap();
        let assumed = sim
            .requests()
            .iter()
            .map(|request| String::from_utf8_lossy(&request.body).into_owned())
            .filter(|body| body.contains("Action=AssumeRole"))
            .collect();
        // Our own questions to STS are not the probe's.
        sim.forget();
        Lab {
            sim,
            connection,
            assumed,
        }
    }

    /// A lab without a lock: the built-in profile.
    async fn reader() -> Lab {
        Lab::new(&["read"]).await
    }

    /// A lab where everything that the probe declares is approved.
    async fn everything() -> Lab {
        Lab::new(&["read", "identities", "provision"]).await
    }

    async fn outcomes(&self, script: &[Value]) -> Vec<String> {
        Probe::sends(&Value::from(script))
            .through(self.connection.upstreams.clone())
            .outcomes()
            .await
    }

    /// Every one of these requests gets this outcome, and nothing of them has
    /// reached the cloud.
    async fn none_arrives(&self, script: Vec<Value>) {
        for request in script {
            let outcomes = self.outcomes(std::slice::from_ref(&request)).await;
            let [outcome] = outcomes.as_slice() else {
                panic!("{request}: {outcomes:?}");
            };
            // Denied by the boundary, or impossible to write in the first place.
            assert!(
                outcome == "HttpRequestDenied"
                    || outcome.ends_with(" refused")
                    || outcome.starts_with("header "),
                "{request}: {outcome}"
            );
            let arrived = self.sim.requests();
            assert!(arrived.is_empty(), "{request}: {arrived:?}");
        }
        assert_eq!(self.sim.mutations(), Vec::<String>::new());
        // Not because nothing could arrive.
        let outcomes = self
            .outcomes(&[get("kubernetes", "/api/v1/namespaces")])
            .await;
        assert!(outcomes[0].starts_with("status 200"), "{outcomes:?}");
        assert!(!self.sim.requests().is_empty());
    }
}

const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";

fn iam(body: &str) -> Value {
    form("/", FORM, body)
}

fn form(path: &str, content_type: &str, body: &str) -> Value {
    json!({
        "method": "POST",
        "authority": "iam",
        "path": path,
        "headers": [["content-type", content_type]],
        "body": body,
    })
}

fn get(authority: &str, path: &str) -> Value {
    json!({ "authority": authority, "path": path })
}

fn send(method: &str, authority: &str, path: &str, body: &str) -> Value {
    json!({
        "method": method,
        "authority": authority,
        "path": path,
        "headers": [["content-type", "application/json"]],
        "body": body,
    })
}

fn with_header(name: &str, value: &str) -> Value {
    json!({
        "authority": "kubernetes",
        "path": "/api/v1/namespaces",
        "headers": [[name, value]],
    })
}

#[tokio::test]
async fn what_the_rights_name_arrives() {
    let lab = Lab::reader().await;
    let outcomes = lab
        .outcomes(&[
            get("eks", "/clusters/lab"),
            get("eks", "/clusters/lab/access-entries"),
            get(
                "eks",
                "/clusters/lab/access-entries/arn%3Aaws%3Aiam%3A%3A111122223333%3Arole%2Fteam%2Fdevelopers",
            ),
            iam("Action=ListRoles&Version=2010-05-08"),
            get("kubernetes", "/api/v1/namespaces"),
            get("kubernetes", "/apis/rbac.authorization.k8s.io/v1/clusterroles?limit=2"),
        ])
        .await;
    for outcome in &outcomes {
        assert!(outcome.starts_with("status 200 "), "{outcomes:?}");
    }
    let asked: BTreeSet<String> = lab
        .sim
        .requests()
        .into_iter()
        .filter(|request| request.service != "sts")
        .map(|request| request.operation)
        .collect();
    let expected = [
        "eks:DescribeAccessEntry",
        "eks:DescribeCluster",
        "eks:ListAccessEntries",
        "iam:ListRoles",
        "kubernetes:list namespaces",
        "kubernetes:list rbac.authorization.k8s.io/clusterroles",
    ];
    assert_eq!(asked, expected.map(str::to_owned).into());
}

/// IAM takes GET for everything: a filter by method once let a read-only
/// plugin make itself an administrator.
#[tokio::test]
async fn iam_is_asked_by_one_form_and_for_nothing_else() {
    let attach = "Action=AttachRolePolicy&Version=2010-05-08&RoleName=developers&PolicyArn=arn%3Aaws%3Aiam%3A%3Aaws%3Apolicy%2FAdministratorAccess";
    let list = "Action=ListRoles&Version=2010-05-08";
    Lab::everything()
        .await
        .none_arrives(vec![
            get("iam", &format!("/?{attach}")),
            get("iam", &format!("/?{list}")),
            iam(attach),
            // The action twice, in query and body, and in the body.
            form(&format!("/?{attach}"), FORM, list),
            form("/?Action=AttachRolePolicy", FORM, list),
            iam(&format!("{list}&{attach}")),
            iam(&format!("{attach}&{list}")),
            iam("Action=ListRoles&Version=2010-05-08&Version=2010-05-08"),
            iam("Action=ListRoles&Version=2010-05-08&Action=ListRoles"),
            iam("Action=ListRoles&Version=2010-05-08&%41ction=AttachRolePolicy"),
            iam("Action=ListRoles&Version=2010-05-08&RoleName=developers"),
            // Other spellings.
            iam("action=AttachRolePolicy&Action=ListRoles&Version=2010-05-08"),
            iam("Action=%41ttachRolePolicy&Version=2010-05-08"),
            iam("Action=listroles&Version=2010-05-08"),
            iam("Action=ListRoles%00&Version=2010-05-08"),
            iam("Action=ListRoles%26Action=AttachRolePolicy&Version=2010-05-08"),
            iam("Action=ListRoles;Action=AttachRolePolicy&Version=2010-05-08"),
            iam("Action=&Version=2010-05-08"),
            iam("Action=ListRoles"),
            iam("Action=ListRoles&Version=2011-06-15"),
            iam(""),
            // Other content types, other ways to say it.
            form("/", "text/plain", list),
            form("/", "application/json", r#"{"Action":"ListRoles"}"#),
            form("/", "multipart/form-data; boundary=x", list),
            form("/", "application/x-www-form-urlencoded; charset=utf-7", list),
            form("//", FORM, list),
            form("/iam", FORM, list),
            form("/?", FORM, list),
            json!({ "method": "PUT", "authority": "iam", "path": "/", "headers": [["content-type", FORM]], "body": list }),
            json!({ "method": "POST", "authority": "iam", "path": "/", "body": list }),
            json!({ "method": "POST", "authority": "iam", "path": "/", "headers": [["content-type", FORM], ["x-amz-target", "AttachRolePolicy"]], "body": list }),
            // Reads by name that mint or tell credentials, or are simply not ours.
            iam("Action=GetSessionToken&Version=2011-06-15"),
            iam("Action=GetFederationToken&Version=2011-06-15&Name=x"),
            iam("Action=AssumeRole&Version=2011-06-15&RoleArn=x&RoleSessionName=x"),
            iam("Action=CreateAccessKey&Version=2010-05-08"),
            iam("Action=PutRolePolicy&Version=2010-05-08"),
            iam("Action=GetRole&Version=2010-05-08&RoleName=developers"),
            iam("Action=ListUsers&Version=2010-05-08"),
            iam("Action=GetCredentialReport&Version=2010-05-08"),
        ])
        .await;
}

#[tokio::test]
async fn what_is_declared_and_not_approved_does_not_arrive() {
    let details = iam("Action=GetAccountAuthorizationDetails&Version=2010-05-08");
    Lab::reader()
        .await
        .none_arrives(vec![details.clone()])
        .await;
    let approved = Lab::new(&["read", "identities"]).await;
    approved.outcomes(&[details]).await;
    assert!(
        approved
            .sim
            .calls()
            .contains_key("iam:GetAccountAuthorizationDetails")
    );
}

/// A GET to an API server can read a secret, open a websocket to a shell, ask
/// a workload anything, or never end.
#[tokio::test]
async fn a_get_to_an_api_server_is_not_a_read() {
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let pod = "/api/v1/namespaces/web/pods/server";
    let get = |path: &str| get("kubernetes", path);
    let post = |path: &str| send("POST", "kubernetes", path, "{}");
    Lab::everything()
        .await
        .none_arrives(vec![
            // Secrets, and what holds them.
            get("/api/v1/secrets"),
            get("/api/v1/namespaces/default/secrets"),
            get("/api/v1/namespaces/default/secrets/database"),
            get("/api/v1/secrets?limit=1"),
            get("/api/v1/namespaces/kube-system/configmaps/kube-root-ca.crt"),
            get("/api/v1/namespaces/web/configmaps/aws-auth"),
            // Workloads.
            get("/api/v1/pods"),
            get(&format!("{pod}/log")),
            get(&format!("{pod}/exec?command=id&stdout=true")),
            get(&format!("{pod}/attach")),
            get(&format!("{pod}/portforward?ports=80")),
            get(&format!("{pod}/proxy/")),
            get(&format!("{pod}/ephemeralcontainers")),
            get("/api/v1/namespaces/web/services/evil:80/proxy/?q=stolen"),
            get("/api/v1/namespaces/web/services/evil/proxy"),
            get("/api/v1/nodes"),
            get("/api/v1/nodes/one/proxy/run/web/server/server?cmd=id"),
            get("/api/v1/nodes/one/proxy/logs/"),
            get("/api/v1/proxy/namespaces/web/services/evil/"),
            get("/apis/metrics.k8s.io/v1beta1/pods"),
            // Without end.
            get("/api/v1/namespaces?watch=true"),
            get("/api/v1/namespaces?watch=1&limit=1"),
            get("/api/v1/namespaces?watch"),
            get("/api/v1/watch/namespaces"),
            get(&format!("{rbac}/watch/clusterroles")),
            get("/api/v1/namespaces?timeoutSeconds=86400"),
            // Narrower questions whose answers are none of ours.
            get("/api/v1/namespaces?fieldSelector=metadata.name%3Dweb"),
            get("/api/v1/namespaces?labelSelector=a"),
            get("/api/v1/namespaces?limit=1&limit=2"),
            get("/api/v1/namespaces?resourceVersion=0"),
            get("/api/v1/namespaces?pretty=true"),
            get("/api/v1/namespaces?dryRun=All"),
            get("/api/v1/namespaces/web/status"),
            // Credentials and impersonation.
            post("/api/v1/namespaces/web/serviceaccounts/server/token"),
            post("/apis/authentication.k8s.io/v1/tokenreviews"),
            post("/apis/authentication.k8s.io/v1/selfsubjectreviews"),
            post("/apis/authorization.k8s.io/v1/subjectaccessreviews"),
            post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"),
            post("/apis/certificates.k8s.io/v1/certificatesigningrequests"),
            with_header("impersonate-user", "system:admin"),
            with_header("impersonate-group", "system:masters"),
            with_header("impersonate-extra-x", "y"),
            // Not resources.
            get("/"),
            get("/version"),
            get("/metrics"),
            get("/healthz"),
            get("/logs/"),
            get("/openapi/v2"),
            get("/debug/pprof/"),
            get("/.well-known/openid-configuration"),
            get("/api"),
            get("/apis/evil.example.com/v1/things"),
            get("/api/v1beta1/namespaces"),
            get("/apis/rbac.authorization.k8s.io/v1beta1/clusterroles"),
        ])
        .await;
}

/// With every right there is, approved, a sandbox still writes nothing.
#[tokio::test]
async fn no_write_leaves_a_sandbox_whatever_is_approved() {
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let entry = "arn%3Aaws%3Aiam%3A%3A111122223333%3Auser%2Falice";
    let mut script = vec![
        send(
            "POST",
            "eks",
            "/clusters/lab/access-entries",
            r#"{"principalArn":"arn:aws:iam::111122223333:user/alice"}"#,
        ),
        send(
            "POST",
            "eks",
            &format!("/clusters/lab/access-entries/{entry}"),
            r#"{"kubernetesGroups":["system:masters"]}"#,
        ),
        send(
            "DELETE",
            "eks",
            &format!("/clusters/lab/access-entries/{entry}"),
            "",
        ),
        send(
            "POST",
            "eks",
            &format!("/clusters/lab/access-entries/{entry}/access-policies"),
            r#"{"policyArn":"arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy","accessScope":{"type":"cluster"}}"#,
        ),
        send(
            "POST",
            "kubernetes",
            &format!("{rbac}/clusterrolebindings"),
            r#"{"roleRef":{"name":"cluster-admin"}}"#,
        ),
        send(
            "POST",
            "kubernetes",
            &format!("{rbac}/clusterrolebindings?dryRun=All"),
            "{}",
        ),
        send(
            "PUT",
            "kubernetes",
            "/api/v1/namespaces/kube-system/configmaps/aws-auth",
            "{}",
        ),
        send(
            "POST",
            "kubernetes",
            "/api/v1/namespaces/kube-system/configmaps",
            r#"{"metadata":{"name":"aws-auth"}}"#,
        ),
        send("DELETE", "kubernetes", "/api/v1/namespaces", ""),
        send("POST", "kubernetes", &format!("{rbac}/clusterroles"), "{}"),
    ];
    for method in ["PUT", "PATCH", "DELETE"] {
        let path = format!("{rbac}/namespaces/web/rolebindings/developers");
        script.push(send(method, "kubernetes", &path, "{}"));
    }
    for method in [
        "HEAD", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get", "WATCH",
    ] {
        for authority in ["kubernetes", "eks", "iam"] {
            script.push(
                json!({ "method": method, "authority": authority, "path": "/api/v1/namespaces" }),
            );
        }
    }
    Lab::everything().await.none_arrives(script).await;
}

/// The role of a session that reads is narrowed to reading, even for a plugin
/// that was approved for more: AWS has the last word.
#[tokio::test]
async fn a_session_that_reads_cannot_write_whatever_is_approved() {
    for lab in [Lab::reader().await, Lab::everything().await] {
        let policy = &lab.assumed;
        assert!(
            policy.contains("Policy=") && policy.contains("ListAccessEntries"),
            "{policy}"
        );
        for write in [
            "Create",
            "Update",
            "Delete",
            "Associate",
            "Disassociate",
            "TagResource",
        ] {
            assert!(
                !policy.contains(&format!("eks%3A{write}")),
                "{write}: {policy}"
            );
        }
    }
    let approved = Lab::everything().await.assumed;
    assert!(
        approved.contains("GetAccountAuthorizationDetails"),
        "{approved}"
    );
}

/// Allowing encoded slashes and forbidding them were both wrong: what a server
/// decodes is what decides.
#[tokio::test]
async fn another_spelling_of_a_path_is_no_way_round() {
    let mut script = vec![];
    for path in [
        "/api/v1/namespaces/default%2Fsecrets",
        "/api/v1/namespaces/default%2fsecrets%2fdatabase",
        "/api/v1/%73ecrets",
        "/api/v1/namespaces/../secrets",
        "/api/v1/namespaces/%2e%2e/secrets",
        "/api/v1/./namespaces",
        "/api/v1//namespaces",
        "//api/v1/namespaces",
        "/api/v1/namespaces/",
        "/api/v1/namespaces%00",
        "/api/v1/namespaces%0d%0aHost:%20evil",
        "/api/v1/namespaces%5c..%5csecrets",
        "/api/v1/namespaces%252f..%252fsecrets",
        "/api/v1/namespaces;x=secrets",
        "/api/v1/namespaces%3Fwatch=true",
        "/api/v1/namespaces%23",
        "/api/v1/namespaces%",
        "/api/v1/namespaces%zz",
        "/API/v1/namespaces",
        "/api/v1/Namespaces",
        "/api/v1/namespaces?%77atch=true",
        "/api/v1/namespaces?limit=-1",
        "/api/v1/namespaces?limit=0x10",
        "",
        "?limit=1",
    ] {
        script.push(get("kubernetes", path));
    }
    for path in [
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
    ] {
        script.push(get("eks", path));
    }
    Lab::everything().await.none_arrives(script).await;
}

/// The name of an upstream is compared byte for byte, so no other spelling of
/// an address is one.
#[tokio::test]
async fn an_authority_is_a_declared_name_and_nothing_else() {
    let mut script: Vec<Value> = [
        "KUBERNETES",
        "kubernetes.",
        "kubernetes:80",
        "kubernetes:443",
        "user@kubernetes",
        "user:password@kubernetes",
        "kubernetes@evil.example.com",
        "kubernetes.evil.example.com",
        "kubernetes%2eevil",
        "",
        "sts",
        "s3",
        "localhost",
        "127.0.0.1",
        "2130706433",
        "0x7f.1",
        "[::1]",
        "[::ffff:169.254.169.254]",
        "169.254.169.254",
        "169.254.170.23",
        "metadata.google.internal",
        "eks.eu-west-1.amazonaws.com",
        "sts.amazonaws.com",
    ]
    .into_iter()
    .map(|authority| get(authority, "/api/v1/namespaces"))
    .collect();
    for scheme in ["https", "HTTP", "ws", "file"] {
        let mut request = get("kubernetes", "/api/v1/namespaces");
        request["scheme"] = scheme.into();
        script.push(request);
    }
    let lab = Lab::everything().await;
    // And the cloud itself, by its real address.
    let address = lab.sim.aws_url().replace("http://", "");
    script.push(get(&address, "/clusters/lab"));
    let api = lab
        .sim
        .cluster("lab")
        .unwrap()
        .endpoint
        .replace("https://", "");
    script.push(get(&api, "/api/v1/secrets"));
    for request in script {
        let outcomes = lab.outcomes(std::slice::from_ref(&request)).await;
        let outcome = &outcomes[0];
        assert!(!outcome.starts_with("status"), "{request}: {outcome}");
        assert!(lab.sim.requests().is_empty(), "{request}: {outcome}");
    }
}

#[tokio::test]
async fn of_a_guests_headers_two_are_read_and_no_other_is_sent() {
    let accept = "application/json";
    Lab::everything()
        .await
        .none_arrives(vec![
            with_header("authorization", "Bearer stolen"),
            with_header("x-amz-security-token", "stolen"),
            with_header("x-amz-date", "20260101T000000Z"),
            with_header("cookie", "a=b"),
            with_header("user-agent", "honest"),
            with_header("accept-encoding", "gzip"),
            with_header("x-forwarded-for", "10.0.0.1"),
            with_header("x-remote-user", "system:admin"),
            with_header("x-http-method-override", "DELETE"),
            with_header("range", "bytes=0-1"),
            with_header("expect", "100-continue"),
            with_header("te", "trailers"),
            with_header("content-length", "0"),
            with_header("host", "evil.example.com"),
            with_header("upgrade", "websocket"),
            with_header("connection", "upgrade"),
            with_header("sec-websocket-protocol", "v5.channel.k8s.io"),
            with_header("accept", "application/yaml"),
            with_header("accept", "application/json;stream=watch"),
            with_header("accept", "application/vnd.kubernetes.protobuf"),
            json!({
                "authority": "kubernetes",
                "path": "/api/v1/namespaces",
                "headers": [["accept", accept], ["accept", accept]],
            }),
            json!({ "authority": "kubernetes", "path": "/api/v1/namespaces", "body": "{}" }),
        ])
        .await;
}

/// The name of the upstream was right and the path another cluster's.
#[tokio::test]
async fn another_cluster_of_the_account_is_out_of_reach() {
    let body = r#"{"logging":{}}"#;
    Lab::everything()
        .await
        .none_arrives(vec![
            get("eks", "/clusters"),
            get("eks", "/clusters/prod"),
            get("eks", "/clusters/prod/access-entries"),
            get("eks", "/clusters/LAB"),
            get("eks", "/clusters/lab%20"),
            get("eks", "/clusters/%6cab2"),
            send("POST", "eks", "/clusters/prod/access-entries", body),
            send("POST", "eks", "/clusters/lab/update-config", body),
            send(
                "POST",
                "eks",
                "/clusters/lab/identity-provider-configs/associate",
                body,
            ),
            send(
                "POST",
                "eks",
                "/clusters/lab/identity-provider-configs/describe",
                body,
            ),
            send("POST", "eks", "/clusters/lab/addons", body),
            send("DELETE", "eks", "/clusters/lab", ""),
            send("DELETE", "eks", "/clusters/prod", ""),
            get("eks", "/clusters/lab/node-groups"),
            get("eks", "/clusters/lab/fargate-profiles"),
            get("eks", "/clusters/lab/updates"),
            get("eks", "/clusters/lab/insights"),
            get(
                "eks",
                "/tags/arn%3Aaws%3Aeks%3Aeu-west-1%3A111122223333%3Acluster%2Flab",
            ),
            get("eks", "/?Action=GetCallerIdentity&Version=2011-06-15"),
            send("POST", "eks", "/", "Action=AssumeRole&Version=2011-06-15"),
        ])
        .await;
}

#[tokio::test]
async fn config_maps_arrive_as_names() {
    let lab = Lab::reader().await;
    let outcomes = lab
        .outcomes(&[get("kubernetes", "/api/v1/configmaps")])
        .await;
    assert!(outcomes[0].contains("kube-root-ca.crt"), "{outcomes:?}");
    let canary = reversed(CONFIG_MAP_CANARY);
    let hits = Probe::sends(&json!([get("kubernetes", "/api/v1/configmaps")]))
        .set("canary", &canary)
        .through(lab.connection.upstreams.clone())
        .found()
        .await;
    assert_eq!(hits, 0, "data of a config map is in the guest's memory");
}

fn reversed(text: &str) -> String {
    text.chars().rev().collect()
}

/// What each of the host's secrets begins with, and so what a component would
/// look for in its own memory.
#[tokio::test]
async fn no_secret_of_the_host_is_in_a_guests_memory() {
    let lab = Lab::reader().await;
    let asks = json!([
        get("eks", "/clusters/lab"),
        iam("Action=ListRoles&Version=2010-05-08"),
        get("kubernetes", "/api/v1/namespaces"),
        get("kubernetes", "/api/v1/secrets"),
    ]);
    let search = async |wanted: &str| {
        Probe::sends(&asks)
            .set("canary", &reversed(wanted))
            .through(lab.connection.upstreams.clone())
            .found()
            .await
    };
    // The search finds what is there.
    assert!(search("governance-readers").await + search("kube-system").await > 0);

    let mut secrets = vec![
        lab.sim.secret_key().to_owned(),
        "k8s-aws-v1.".to_owned(),
        "AWS4-HMAC-SHA256".to_owned(),
        SECRET_CANARY.to_owned(),
    ];
    // What was really sent: session tokens and bearer tokens, by their beginnings.
    for request in lab.sim.requests() {
        for (name, value) in request.headers {
            if name == "x-amz-security-token" || name == "authorization" {
                secrets.push(value.chars().take(40).collect());
            }
        }
    }
    secrets.sort();
    secrets.dedup();
    assert!(secrets.len() > 5, "no secrets were sent: {secrets:?}");
    for secret in secrets {
        assert_eq!(search(&secret).await, 0, "{secret}");
    }
}

/// A clock that is off makes AWS answer with the request as it was signed,
/// session token included.
#[tokio::test]
async fn an_answer_that_shows_what_was_signed_does_not_reach_the_guest() {
    let lab = Lab::reader().await;
    lab.outcomes(&[iam("Action=ListRoles&Version=2010-05-08")])
        .await;
    let token = lab
        .sim
        .requests()
        .into_iter()
        .flat_map(|request| request.headers)
        .find(|(name, _)| name == "x-amz-security-token")
        .expect("no session token was sent")
        .1;
    lab.sim.inject(Fault::always("iam:ListRoles", Effect::Echo));
    let outcomes = lab
        .outcomes(&[iam("Action=ListRoles&Version=2010-05-08")])
        .await;
    assert!(!outcomes[0].contains(&token[..20]), "{outcomes:?}");
    assert!(!outcomes[0].starts_with("status 200"), "{outcomes:?}");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let lab = Lab::reader().await;
    let elsewhere = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = elsewhere.local_addr().unwrap();
    lab.sim.inject(Fault::always(
        "kubernetes:list namespaces",
        Effect::Redirect(format!("http://{address}/")),
    ));
    let outcomes = lab
        .outcomes(&[get("kubernetes", "/api/v1/namespaces")])
        .await;
    assert!(!outcomes[0].starts_with("status 200"), "{outcomes:?}");
    assert!(!outcomes[0].contains(&address.to_string()), "{outcomes:?}");
    // Nobody has knocked: a connection would be waiting.
    let knock =
        std::future::poll_fn(|context| std::task::Poll::Ready(elsewhere.poll_accept(context)));
    assert!(knock.await.is_pending());
}

#[tokio::test]
async fn an_answer_larger_than_the_limit_is_an_error_and_not_a_crash() {
    let lab = Lab::reader().await;
    for effect in [Effect::Huge(40 << 20), Effect::GzipBomb(200 << 20)] {
        lab.sim.clear_faults();
        lab.sim
            .inject(Fault::always("kubernetes:list namespaces", effect));
        let outcomes = lab
            .outcomes(&[get("kubernetes", "/api/v1/namespaces")])
            .await;
        assert!(
            outcomes[0].starts_with("HttpResponseBodySize"),
            "{outcomes:?}"
        );
    }
}

/// A component whose descriptor names more than the ceiling is not even shown
/// a cluster.
#[tokio::test]
async fn a_right_outside_the_ceiling_makes_a_plugin_unloadable() {
    let aws = |service: &str| json!([["service", service]]);
    let (sandbox, _) = guests::shared().await;
    for (kind, attributes, group, right) in [
        ("aws", aws("eks"), "read", "eks:ListClusters"),
        ("aws", aws("eks"), "read", "sts:AssumeRole"),
        ("aws", aws("eks"), "provision", "eks:UpdateClusterConfig"),
        ("aws", aws("iam"), "provision", "iam:AttachRolePolicy"),
        ("aws", aws("iam"), "read", "iam:*"),
        (
            "aws",
            aws("iam"),
            "read",
            "iam:GetAccountAuthorizationDetails",
        ),
        ("eks-cluster", json!([]), "read", "list secrets"),
        ("eks-cluster", json!([]), "read", "get pods/log"),
        ("eks-cluster", json!([]), "read", "watch namespaces"),
        ("eks-cluster", json!([]), "read", "list *"),
        ("eks-cluster", json!([]), "provision", "impersonate users"),
    ] {
        let json = json!({ "upstreams": [["up", kind, attributes, [[group, right]]]] });
        let bytes = guests::declares(&json.to_string());
        let component = baton_host::sandbox::Component::load(sandbox, bytes, |_| false)
            .await
            .unwrap();
        let error = job::declared(component.descriptor()).expect_err(right);
        assert!(error.to_string().contains(right), "{error}");
    }
    for service in ["sts", "s3", "ssm", "secretsmanager", "EKS"] {
        let json = json!({ "upstreams": [["up", "aws", aws(service), []]] });
        let bytes = guests::declares(&json.to_string());
        let component = baton_host::sandbox::Component::load(sandbox, bytes, |_| false)
            .await
            .unwrap();
        let error = job::declared(component.descriptor()).expect_err(service);
        assert!(error.to_string().contains(service), "{error}");
    }
}

/// A burst of ten thousand allowed requests is not a burst at the upstream.
#[tokio::test]
async fn a_flood_of_allowed_requests_is_no_flood_at_the_upstream() {
    let lab = Lab::reader().await;
    let mut task = Probe::behaves("burst:10000")
        .through(lab.connection.upstreams.clone())
        .open()
        .await;
    let page = task.list_objects("thing", None, None).await;
    assert!(
        !matches!(page, Err(CallError::Trap(_) | CallError::Limit(_))),
        "{page:?}"
    );
    let peak = lab.sim.peak_concurrency();
    assert!(peak["kubernetes"] <= 128, "{peak:?}");
}
