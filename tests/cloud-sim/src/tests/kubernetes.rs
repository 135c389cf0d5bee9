//! Tokens, RBAC, lists and writes.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::client::*;
use crate::shared::machine_time;
use crate::{SECRET_CANARY, Scenario, Sim};

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const READER: &str = "arn:aws:iam::111122223333:role/eks-reader";

async fn lab() -> (Sim, Keys) {
    let sim = Sim::start(Scenario::minimal().unwrap()).await.unwrap();
    let keys = assume(&sim, &static_keys(&sim), READER, &[]).await;
    (sim, keys)
}

/// A cluster whose reader is also administrator.
async fn admin_lab() -> (Sim, Keys) {
    let mut scenario = Scenario::minimal().unwrap();
    scenario.clusters[0].objects.push(json!({"kind": "ClusterRoleBinding", "metadata": {"name": "root"},
        "roleRef": {"kind": "ClusterRole", "name": "cluster-admin"}, "subjects": [{"kind": "Group", "name": "governance-readers"}]}));
    let sim = Sim::start(scenario).await.unwrap();
    let keys = assume(&sim, &static_keys(&sim), READER, &[]).await;
    (sim, keys)
}

#[tokio::test]
async fn a_token_opens_the_api_over_both_protocols() {
    let (sim, keys) = lab().await;
    let kube = Kube::new(&sim, "lab", &keys);
    for alpn in [&b"h2"[..], b"http/1.1"] {
        let answer = kube
            .over(alpn, "GET", &format!("{RBAC}/clusterroles"), &[], "")
            .await
            .unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.json()["kind"], "ClusterRoleList");
    }
    assert_eq!(kube.get("/version").await.json()["minor"], "34");
    assert_eq!(
        sim.calls()["kubernetes:list rbac.authorization.k8s.io/clusterroles"],
        2
    );
    assert_eq!(sim.calls()["kubernetes:get /version"], 1);
    let log = sim.requests();
    assert_eq!(
        log.last().unwrap().caller.as_deref(),
        Some(
            "arn:aws:sts::111122223333:assumed-role/eks-reader/test-session as arn:aws:sts::111122223333:assumed-role/eks-reader/test-session"
        )
    );
    assert_eq!(log.last().unwrap().cluster.as_deref(), Some("lab"));
}

#[tokio::test]
async fn tokens_that_the_authenticator_refuses() {
    let (sim, keys) = lab().await;
    let good = Token::new(&keys, "lab");
    let wrong_secret = Keys {
        secret: "x".into(),
        ..keys.clone()
    };
    let url = |text: &str| format!("k8s-aws-v1.{}", URL_SAFE_NO_PAD.encode(text));
    let cases = [
        ("another cluster's", Token::new(&keys, "other").text()),
        ("wrong secret", Token::new(&wrong_secret, "lab").text()),
        (
            "too old",
            Token {
                time: machine_time() - 16 * 60 * 1000,
                ..good.clone()
            }
            .text(),
        ),
        (
            "from the future",
            Token {
                time: machine_time() + 6 * 60 * 1000,
                ..good.clone()
            }
            .text(),
        ),
        (
            "signed for the wrong host",
            Token {
                host: "127.0.0.1:8080".into(),
                ..good.clone()
            }
            .text(),
        ),
        (
            "another partition's host",
            Token {
                host: "sts.cn-north-1.amazonaws.com.cn".into(),
                ..good.clone()
            }
            .text(),
        ),
        (
            "an extra parameter",
            Token {
                extra_query: "&x-id=GetCallerIdentity".into(),
                ..good.clone()
            }
            .text(),
        ),
        (
            "a repeated parameter",
            Token {
                extra_query: "&Action=GetCallerIdentity".into(),
                ..good.clone()
            }
            .text(),
        ),
        (
            "a content hash",
            Token {
                extra_query: "&X-Amz-Content-Sha256=UNSIGNED-PAYLOAD".into(),
                ..good.clone()
            }
            .text(),
        ),
        (
            "the cluster not signed",
            Token {
                signed_headers: vec!["host".into()],
                ..good.clone()
            }
            .text(),
        ),
        (
            "an expiry beyond 15 minutes",
            Token {
                expires: 901,
                ..good.clone()
            }
            .text(),
        ),
        (
            "plain http",
            url("http://sts.eu-west-1.amazonaws.com/?Action=GetCallerIdentity"),
        ),
        (
            "another path",
            url("https://sts.eu-west-1.amazonaws.com/x?Action=GetCallerIdentity"),
        ),
        (
            "no prefix",
            good.text().replace("k8s-aws-v1.", "k8s-aws-v2."),
        ),
        ("too long", format!("k8s-aws-v1.{}", "A".repeat(4096))),
        ("padding", format!("{}=", good.text())),
    ];
    for (what, bearer) in cases {
        let answer = Kube {
            sim: &sim,
            cluster: "lab",
            bearer,
        }
        .get("/version")
        .await;
        assert_eq!(answer.status, 401, "{what}");
        assert_eq!(answer.json()["reason"], "Unauthorized", "{what}");
    }
    assert_eq!(
        Kube::new(&sim, "lab", &keys).get("/version").await.status,
        200
    );
    // X-Amz-Expires says 60 seconds; the authenticator goes by 15 minutes.
    let old = Token {
        time: machine_time() - 14 * 60 * 1000,
        ..good
    };
    assert_eq!(
        Kube {
            sim: &sim,
            cluster: "lab",
            bearer: old.text()
        }
        .get("/version")
        .await
        .status,
        200
    );
}

#[tokio::test]
async fn an_expired_session_or_no_token_is_401() {
    let (sim, keys) = lab().await;
    sim.set_clock_offset(3601);
    let token = Token {
        time: machine_time() + 3_601_000,
        ..Token::new(&keys, "lab")
    };
    assert_eq!(
        Kube {
            sim: &sim,
            cluster: "lab",
            bearer: token.text()
        }
        .get("/version")
        .await
        .status,
        401
    );
    let cluster = sim.cluster("lab").unwrap();
    let answer = send(
        cluster.endpoint.trim_start_matches("https://"),
        Some((&cluster.ca_pem, b"h2")),
        "GET",
        "/version",
        &[],
        "",
    )
    .await
    .unwrap();
    assert_eq!(answer.status, 401);
}

#[tokio::test]
async fn a_certificate_of_another_ca_is_not_trusted() {
    let mut scenario = Scenario::minimal().unwrap();
    scenario.clusters[0].wrong_ca = true;
    let sim = Sim::start(scenario).await.unwrap();
    let told = eks(&static_keys(&sim), "GET", "/clusters/lab", "")
        .send(&sim)
        .await
        .json();
    let data = told["cluster"]["certificateAuthority"]["data"]
        .as_str()
        .unwrap();
    let ca = String::from_utf8(
        base64::engine::general_purpose::STANDARD
            .decode(data)
            .unwrap(),
    )
    .unwrap();
    let address = sim
        .cluster("lab")
        .unwrap()
        .endpoint
        .trim_start_matches("https://")
        .to_owned();
    let error = send(&address, Some((&ca, b"h2")), "GET", "/version", &[], "")
        .await
        .unwrap_err();
    assert!(error.contains("certificate"), "{error}");
}

#[tokio::test]
async fn an_unreachable_endpoint_refuses_connections() {
    let mut scenario = Scenario::minimal().unwrap();
    scenario.clusters[0].unreachable = true;
    let sim = Sim::start(scenario).await.unwrap();
    let told = eks(&static_keys(&sim), "GET", "/clusters/lab", "")
        .send(&sim)
        .await
        .json();
    let address = told["cluster"]["endpoint"]
        .as_str()
        .unwrap()
        .trim_start_matches("https://")
        .to_owned();
    assert!(
        send(&address, None, "GET", "/version", &[], "")
            .await
            .is_err()
    );
}

#[tokio::test]
async fn rbac_decides_and_says_why() {
    let (sim, keys) = lab().await;
    let kube = Kube::new(&sim, "lab", &keys);
    let who = "arn:aws:sts::111122223333:assumed-role/eks-reader/test-session";
    for (target, object, verb, scope) in [
        (
            "/api/v1/secrets",
            "secrets is",
            "list",
            "at the cluster scope",
        ),
        (
            "/api/v1/namespaces/default/secrets/database",
            "secrets \"database\" is",
            "get",
            "in the namespace \"default\"",
        ),
        (
            "/api/v1/pods?watch=true",
            "pods is",
            "watch",
            "at the cluster scope",
        ),
        // The path is decoded before it is split.
        (
            "/api/v1/namespaces/default%2Fsecrets",
            "secrets is",
            "list",
            "in the namespace \"default\"",
        ),
        (
            "/api/v1/%73ecrets",
            "secrets is",
            "list",
            "at the cluster scope",
        ),
    ] {
        let answer = kube.get(target).await;
        let body = answer.json();
        assert_eq!(
            (answer.status, body["reason"].as_str().unwrap()),
            (403, "Forbidden"),
            "{target}"
        );
        let resource = object.split([' ', '"']).next().unwrap();
        assert_eq!(
            body["message"],
            format!(
                "{object} forbidden: User \"{who}\" cannot {verb} resource \"{resource}\" in API group \"\" {scope}"
            )
        );
        assert_eq!(body["details"]["kind"], resource);
    }
    let answer = kube
        .call("POST", &format!("{RBAC}/clusterrolebindings"), &[], "{}")
        .await
        .json();
    assert!(
        answer["message"]
            .as_str()
            .unwrap()
            .starts_with("clusterrolebindings.rbac.authorization.k8s.io is forbidden")
    );
    assert_eq!(
        kube.get("/metrics").await.json()["message"],
        format!("forbidden: User \"{who}\" cannot get path \"/metrics\"")
    );
    assert!(sim.mutations().is_empty());
}

#[tokio::test]
async fn secrets_are_there_for_those_who_may() {
    let (sim, keys) = admin_lab().await;
    let kube = Kube::new(&sim, "lab", &keys);
    let secret = kube
        .get("/api/v1/namespaces/default%2Fsecrets/database")
        .await;
    assert_eq!(secret.status, 200);
    assert!(secret.text().contains(&crate::text::base64(SECRET_CANARY)));
    assert!(
        kube.get("/api/v1/namespaces/default/pods/web-0/log")
            .await
            .text()
            .contains(SECRET_CANARY)
    );
    let token = kube
        .call(
            "POST",
            "/api/v1/namespaces/default/serviceaccounts/default/token",
            &[],
            "{}",
        )
        .await;
    assert_eq!(token.json()["kind"], "TokenRequest");
}

#[tokio::test]
async fn access_policies_count_in_their_scope() {
    let sim = Sim::start(Scenario::demo().unwrap()).await.unwrap();
    // Keys of the roles themselves, as if somebody had assumed them.
    let keys = |arn: &str| {
        let mut world = sim.shared.world();
        let role = world.role(arn).unwrap().principal.clone();
        let (id, key) = world.issue(&role, "carol", 3600, None);
        Keys {
            id,
            secret: key.secret,
            token: key.session.map(|s| s.token),
        }
    };
    let power = keys(
        "arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/eu-west-1/AWSReservedSSO_PowerUser_0123456789abcdef",
    );
    let kube = Kube::new(&sim, "prod", &power);
    for (target, status) in [
        ("/api/v1/namespaces/payments/secrets", 200),
        ("/api/v1/namespaces/team-red/pods", 200),
        ("/api/v1/namespaces/team-red/secrets", 403),
        ("/api/v1/namespaces/observability/pods", 403),
        ("/api/v1/pods", 403),
    ] {
        assert_eq!(kube.get(target).await.status, status, "{target}");
    }
    let look = keys(
        "arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/eu-west-1/AWSReservedSSO_ReadOnly_fedcba9876543210",
    );
    let kube = Kube::new(&sim, "prod", &look);
    assert_eq!(kube.get("/api/v1/secrets").await.status, 200);
    assert_eq!(
        kube.call(
            "DELETE",
            "/api/v1/namespaces/default/secrets/database",
            &[],
            ""
        )
        .await
        .status,
        403
    );
    let admin = keys("arn:aws:iam::111122223333:role/team/platform/platform-admin");
    assert_eq!(
        Kube::new(&sim, "prod", &admin).get("/metrics").await.status,
        404
    );
}

#[tokio::test]
async fn lists_are_paged_over_one_snapshot() {
    let (sim, keys) = admin_lab().await;
    let kube = Kube::new(&sim, "lab", &keys);
    let all = kube.get(&format!("{RBAC}/clusterroles")).await.json();
    let total = all["items"].as_array().unwrap().len();
    assert!(all["metadata"].get("continue").is_none());
    let (mut seen, mut token, mut version) = (Vec::new(), String::new(), Value::Null);
    loop {
        let page = kube
            .get(&format!("{RBAC}/clusterroles?limit=3&continue={token}"))
            .await
            .json();
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 3 && items[0].get("kind").is_none());
        seen.extend(
            items
                .iter()
                .map(|i| i["metadata"]["name"].as_str().unwrap().to_owned()),
        );
        if version.is_null() {
            version = page["metadata"]["resourceVersion"].clone();
            assert_eq!(page["metadata"]["remainingItemCount"], total - 3);
            // Written between two pages: not in this list.
            let body = json!({"metadata": {"name": "zzz"}, "rules": []}).to_string();
            assert_eq!(
                kube.call("POST", &format!("{RBAC}/clusterroles"), &[], &body)
                    .await
                    .status,
                201
            );
        }
        assert_eq!(page["metadata"]["resourceVersion"], version);
        match page["metadata"]["continue"].as_str() {
            Some(next) => token = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(seen.len(), total);
    assert!(!seen.contains(&"zzz".to_owned()));
    assert_eq!(
        sim.count("lab", "rbac.authorization.k8s.io", "clusterroles"),
        total + 1
    );
}

#[tokio::test]
async fn an_expired_continue_token_offers_an_inconsistent_one() {
    let (sim, keys) = lab().await;
    let kube = Kube::new(&sim, "lab", &keys);
    let page = kube
        .get(&format!("{RBAC}/clusterroles?limit=3"))
        .await
        .json();
    let token = page["metadata"]["continue"].as_str().unwrap();
    sim.expire_continue_tokens("lab");
    let answer = kube
        .get(&format!("{RBAC}/clusterroles?limit=3&continue={token}"))
        .await;
    let body = answer.json();
    assert_eq!(
        (answer.status, body["reason"].as_str().unwrap()),
        (410, "Expired")
    );
    let again = body["metadata"]["continue"].as_str().unwrap();
    let rest = kube
        .get(&format!("{RBAC}/clusterroles?continue={again}"))
        .await
        .json();
    let first = page["items"].as_array().unwrap().len();
    assert_eq!(
        first + rest["items"].as_array().unwrap().len(),
        sim.count("lab", "rbac.authorization.k8s.io", "clusterroles")
    );
    let both = kube
        .get(&format!(
            "{RBAC}/clusterroles?continue={again}&resourceVersion=7"
        ))
        .await;
    assert_eq!(both.status, 400);
}

#[tokio::test]
async fn metadata_views_hold_no_data_and_gzip_is_spoken() {
    let (sim, keys) = lab().await;
    let kube = Kube::new(&sim, "lab", &keys);
    let accept =
        "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";
    let answer = kube
        .call("GET", "/api/v1/configmaps", &[("accept", accept)], "")
        .await;
    assert_eq!(answer.json()["kind"], "PartialObjectMetadataList");
    assert!(!answer.text().contains(crate::CONFIG_MAP_CANARY));
    assert!(
        kube.get("/api/v1/configmaps")
            .await
            .text()
            .contains(crate::CONFIG_MAP_CANARY)
    );
    let wrong = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
    assert_eq!(
        kube.call("GET", "/api/v1/configmaps", &[("accept", wrong)], "")
            .await
            .status,
        406
    );
    let packed = kube
        .call(
            "GET",
            &format!("{RBAC}/clusterroles"),
            &[("accept-encoding", "gzip")],
            "",
        )
        .await;
    assert_eq!(packed.header("content-encoding"), "gzip");
    assert_eq!(packed.inflated()["kind"], "ClusterRoleList");
}

#[tokio::test]
async fn noise_is_only_where_the_scenario_asks_for_it() {
    let sim = Sim::start(Scenario::demo().unwrap()).await.unwrap();
    let noisy = sim
        .object("prod", "", "configmaps", "kube-system/aws-auth")
        .unwrap();
    let copy = noisy["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"]
        .as_str()
        .unwrap();
    assert!(copy.contains("mapRoles") && noisy["metadata"]["managedFields"].is_array());
    let quiet = sim
        .object("dev", "", "configmaps", "kube-system/aws-auth")
        .unwrap();
    assert!(quiet["metadata"].get("managedFields").is_none());
}

#[tokio::test]
async fn aggregated_roles_hold_the_rules_of_their_sources() {
    let sim = Sim::start(Scenario::demo().unwrap()).await.unwrap();
    let view = sim
        .object("prod", "rbac.authorization.k8s.io", "clusterroles", "view")
        .unwrap();
    assert!(view["rules"].to_string().contains("metrics.k8s.io"));
    let dev = sim
        .object("dev", "rbac.authorization.k8s.io", "clusterroles", "view")
        .unwrap();
    assert!(!dev["rules"].to_string().contains("metrics.k8s.io"));
}

#[tokio::test]
async fn reviews_answer_what_one_may() {
    let (sim, keys) = lab().await;
    let kube = Kube::new(&sim, "lab", &keys);
    let ask = async |resource: &str| {
        let body = json!({"spec": {"resourceAttributes": {"verb": "list", "resource": resource}}})
            .to_string();
        let answer = kube
            .call(
                "POST",
                "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
                &[],
                &body,
            )
            .await;
        assert_eq!(answer.status, 201);
        answer.json()["status"]["allowed"].as_bool().unwrap()
    };
    assert!(ask("namespaces").await);
    assert!(!ask("secrets").await);
    let rules = kube
        .call(
            "POST",
            "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
            &[],
            r#"{"spec":{"namespace":"web"}}"#,
        )
        .await
        .json();
    assert!(
        rules["status"]["resourceRules"]
            .to_string()
            .contains("clusterrolebindings")
    );
    assert!(sim.mutations().is_empty());
}

#[tokio::test]
async fn writes_keep_versions_and_role_references() {
    let (sim, keys) = admin_lab().await;
    let kube = Kube::new(&sim, "lab", &keys);
    let list = format!("{RBAC}/namespaces/web/rolebindings");
    let body = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "new"},
        "roleRef": {"kind": "ClusterRole", "name": "view"}, "subjects": [{"kind": "User", "name": "eve"}]});
    let dry = kube
        .call(
            "POST",
            &format!("{list}?dryRun=All"),
            &[],
            &body.to_string(),
        )
        .await;
    assert_eq!(dry.status, 201);
    assert!(
        sim.object(
            "lab",
            "rbac.authorization.k8s.io",
            "rolebindings",
            "web/new"
        )
        .is_none()
            && sim.mutations().is_empty()
    );
    assert_eq!(
        kube.call("POST", &list, &[], &body.to_string())
            .await
            .status,
        201
    );
    assert_eq!(
        kube.call("POST", &list, &[], &body.to_string())
            .await
            .json()["reason"],
        "AlreadyExists"
    );
    let one = format!("{list}/new");
    let mut object = kube.get(&one).await.json();
    assert_eq!(object["roleRef"]["apiGroup"], "rbac.authorization.k8s.io");
    object["subjects"] = json!([]);
    assert_eq!(
        kube.call("PUT", &one, &[], &object.to_string())
            .await
            .status,
        200
    );
    let stale = kube.call("PUT", &one, &[], &object.to_string()).await;
    assert_eq!(
        (stale.status, stale.json()["reason"].as_str().unwrap()),
        (409, "Conflict")
    );
    let patch = json!({"roleRef": {"name": "edit"}}).to_string();
    let changed = kube
        .call(
            "PATCH",
            &one,
            &[("content-type", "application/merge-patch+json")],
            &patch,
        )
        .await;
    assert_eq!(changed.status, 422);
    assert!(changed.text().contains("cannot change roleRef"));
    let step = json!([{"op": "test", "path": "/subjects", "value": []}, {"op": "add", "path": "/subjects/-", "value": {"kind": "Group", "name": "g"}}]).to_string();
    assert_eq!(
        kube.call(
            "PATCH",
            &one,
            &[("content-type", "application/json-patch+json")],
            &step
        )
        .await
        .status,
        200
    );
    assert_eq!(
        kube.call(
            "PATCH",
            &one,
            &[("content-type", "application/json-patch+json")],
            &step
        )
        .await
        .status,
        422,
        "the test of the patch fails now"
    );
    assert_eq!(
        kube.call("PATCH", &one, &[("content-type", "text/plain")], "{}")
            .await
            .status,
        415
    );
    let wrong = kube
        .call("DELETE", &one, &[], r#"{"preconditions":{"uid":"other"}}"#)
        .await;
    assert_eq!(wrong.status, 409);
    assert_eq!(kube.call("DELETE", &one, &[], "").await.status, 200);
    assert_eq!(
        kube.call("DELETE", &one, &[], "").await.json()["reason"],
        "NotFound"
    );
    assert_eq!(sim.mutations().len(), 4);
}

#[tokio::test]
async fn nobody_binds_what_they_do_not_hold() {
    let mut scenario = Scenario::minimal().unwrap();
    scenario.clusters[0].objects.push(json!({"kind": "ClusterRole", "metadata": {"name": "binder"}, "rules": [
        {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["rolebindings"], "verbs": ["create", "patch"]},
        {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"], "verbs": ["bind"], "resourceNames": ["view"]}]}));
    scenario.clusters[0].objects.push(json!({"kind": "ClusterRoleBinding", "metadata": {"name": "binder"},
        "roleRef": {"kind": "ClusterRole", "name": "binder"}, "subjects": [{"kind": "Group", "name": "governance-readers"}]}));
    let sim = Sim::start(scenario).await.unwrap();
    let keys = assume(&sim, &static_keys(&sim), READER, &[]).await;
    let kube = Kube::new(&sim, "lab", &keys);
    let list = format!("{RBAC}/namespaces/web/rolebindings");
    let bind = |role: &str| {
        json!({"metadata": {"name": format!("b-{role}")}, "roleRef": {"kind": "ClusterRole", "name": role}, "subjects": [{"kind": "User", "name": "eve"}]}).to_string()
    };
    assert_eq!(
        kube.call("POST", &list, &[], &bind("view")).await.status,
        201,
        "bind by name"
    );
    assert_eq!(
        kube.call("POST", &list, &[], &bind("governance-reader"))
            .await
            .status,
        201,
        "everything in it is held"
    );
    let refused = kube.call("POST", &list, &[], &bind("edit")).await;
    assert_eq!(refused.status, 403);
    let message = refused.json()["message"].as_str().unwrap().to_owned();
    assert!(
        message.contains(
            "is attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"\"]"
        ),
        "{message}"
    );
    assert_eq!(
        kube.call("POST", &list, &[], &bind("cluster-admin"))
            .await
            .status,
        403
    );
    assert_eq!(
        kube.call("POST", &list, &[], &bind("missing")).await.status,
        404
    );
    // Server-side apply creates what is not there.
    let apply = format!("{list}/applied?fieldManager=test");
    let body = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "roleRef": {"kind": "ClusterRole", "name": "view"}, "subjects": []}).to_string();
    let headers = [("content-type", "application/apply-patch+yaml")];
    assert_eq!(
        kube.call("PATCH", &apply, &headers, &body).await.status,
        201
    );
    assert_eq!(
        kube.call("PATCH", &format!("{list}/applied"), &headers, &body)
            .await
            .status,
        400,
        "no field manager"
    );
}

#[tokio::test]
async fn impersonation_needs_its_right() {
    let (sim, keys) = lab().await;
    let answer = Kube::new(&sim, "lab", &keys)
        .call("GET", "/version", &[("impersonate-user", "root")], "")
        .await;
    assert_eq!(answer.status, 403);
    let (sim, keys) = admin_lab().await;
    let kube = Kube::new(&sim, "lab", &keys);
    let headers = [
        ("impersonate-user", "nobody"),
        ("impersonate-group", "developers"),
    ];
    assert_eq!(
        kube.call("GET", "/api/v1/namespaces/web/secrets", &headers, "")
            .await
            .status,
        200,
        "edit by group"
    );
    assert_eq!(
        kube.call("GET", "/api/v1/secrets", &headers, "")
            .await
            .status,
        403
    );
}

#[tokio::test]
async fn an_inconsistent_list_ends_after_its_last_object() {
    let (sim, keys) = admin_lab().await;
    let kube = Kube::new(&sim, "lab", &keys);
    let list = format!("{RBAC}/clusterroles");
    let page = kube.get(&format!("{list}?limit=3")).await.json();
    let mut token = page["metadata"]["continue"].as_str().unwrap().to_owned();
    // One that was already listed goes; the count of the rest must not mind.
    let gone = page["items"][0]["metadata"]["name"].as_str().unwrap();
    let gone = crate::text::uri_encode(gone, false);
    assert_eq!(
        kube.call("DELETE", &format!("{list}/{gone}"), &[], "")
            .await
            .status,
        200
    );
    sim.expire_continue_tokens("lab");
    let expired = kube.get(&format!("{list}?limit=3&continue={token}")).await;
    token = expired.json()["metadata"]["continue"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut seen = 3;
    for _ in 0..20 {
        let page = kube
            .get(&format!("{list}?limit=3&continue={token}"))
            .await
            .json();
        seen += page["items"].as_array().unwrap().len();
        match page["metadata"]["continue"].as_str() {
            Some(next) => token = next.to_owned(),
            None => break,
        }
    }
    let now = sim.count("lab", "rbac.authorization.k8s.io", "clusterroles");
    assert_eq!(seen, now + 1);
    assert!(sim.secrets().contains(&keys.secret));
}
