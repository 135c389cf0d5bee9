//! EKS: reads, paging, and what the service lets be changed.

use serde_json::{Value, json};

use super::client::*;
use crate::{Scenario, Sim};

const DEVELOPERS: &str = "arn:aws:iam::111122223333:role/team/developers";
const ALICE: &str = "arn:aws:iam::111122223333:user/alice";

async fn lab() -> Sim {
    Sim::start(Scenario::minimal().unwrap()).await.unwrap()
}

async fn ok(sim: &Sim, method: &str, target: &str, body: &str) -> Value {
    let answer = eks(&static_keys(sim), method, target, body).send(sim).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// Status, code and message of a refusal.
async fn no(sim: &Sim, method: &str, target: &str, body: &str) -> (u16, String, String) {
    let answer = eks(&static_keys(sim), method, target, body).send(sim).await;
    let message = answer.json()["message"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    (
        answer.status,
        answer.header("x-amzn-errortype").to_owned(),
        message,
    )
}

#[tokio::test]
async fn a_cluster_is_described() {
    let sim = lab().await;
    let cluster = &ok(&sim, "GET", "/clusters/lab", "").await["cluster"];
    assert_eq!(
        cluster["endpoint"],
        json!(sim.cluster("lab").unwrap().endpoint)
    );
    assert_eq!(cluster["accessConfig"]["authenticationMode"], "API");
    assert!(cluster["createdAt"].is_f64());
    assert!(
        cluster["identity"]["oidc"]["issuer"]
            .as_str()
            .unwrap()
            .starts_with("https://oidc.eks.eu-west-1.amazonaws.com/id/")
    );
    assert_eq!(
        no(&sim, "GET", "/clusters/absent", "").await,
        (
            404,
            "ResourceNotFoundException".into(),
            "No cluster found for name: absent.".into()
        )
    );
    assert_eq!(
        ok(&sim, "GET", "/clusters", "").await["clusters"],
        json!(["lab"])
    );
}

#[tokio::test]
async fn a_cluster_that_is_being_made_has_no_endpoint() {
    let mut scenario = Scenario::minimal().unwrap();
    scenario.clusters[0].status = "CREATING".into();
    let sim = Sim::start(scenario).await.unwrap();
    let cluster = &ok(&sim, "GET", "/clusters/lab", "").await["cluster"];
    assert_eq!(cluster["status"], "CREATING");
    assert!(
        cluster.get("endpoint").is_none() && cluster["certificateAuthority"].get("data").is_none()
    );
}

#[tokio::test]
async fn another_regions_or_accounts_cluster_is_not_found() {
    let sim = lab().await;
    let mut call = eks(&static_keys(&sim), "GET", "/clusters/lab", "");
    call.region = "us-east-1";
    assert_eq!(call.send(&sim).await.status, 404);
}

#[tokio::test]
async fn entries_are_read_with_their_whole_arn_in_the_path() {
    let sim = lab().await;
    let entry_ = &ok(&sim, "GET", &entry("lab", DEVELOPERS, ""), "").await["accessEntry"];
    assert_eq!(
        entry_["username"],
        "arn:aws:sts::111122223333:assumed-role/developers/{{SessionName}}"
    );
    assert_eq!(entry_["kubernetesGroups"], json!(["developers"]));
    assert!(entry_["accessEntryArn"].as_str().unwrap().starts_with(
        "arn:aws:eks:eu-west-1:111122223333:access-entry/lab/role/111122223333/developers/"
    ));
    let policies = ok(
        &sim,
        "GET",
        &entry("lab", DEVELOPERS, "/access-policies"),
        "",
    )
    .await;
    assert_eq!(
        policies["associatedAccessPolicies"][0]["accessScope"],
        json!({"type": "namespace", "namespaces": ["web"]})
    );
    assert_eq!(sim.calls()["eks:DescribeAccessEntry"], 1);
    // An ARN whose slashes are not encoded is another path.
    let plain = format!("/clusters/lab/access-entries/{DEVELOPERS}");
    assert_eq!(no(&sim, "GET", &plain, "").await.0, 403);
    let (status, code, message) = no(&sim, "GET", &entry("lab", ALICE, ""), "").await;
    assert_eq!((status, code.as_str()), (404, "ResourceNotFoundException"));
    assert!(message.contains("The specified principalArn could not be found"));
}

#[tokio::test]
async fn every_list_is_paged_by_token() {
    let mut scenario = Scenario::demo().unwrap();
    scenario.pages.eks = 3;
    scenario.accounts[0].users[0].allow = None;
    let sim = Sim::start(scenario).await.unwrap();
    let sso = "arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/eu-west-1/AWSReservedSSO_PowerUser_0123456789abcdef";
    for (path, member, total) in [
        ("/clusters".to_owned(), "clusters", 2),
        ("/access-policies".into(), "accessPolicies", 24),
        ("/clusters/prod/access-entries".into(), "accessEntries", 14),
        (
            entry("prod", sso, "/access-policies"),
            "associatedAccessPolicies",
            2,
        ),
        (
            "/clusters/prod/pod-identity-associations".into(),
            "associations",
            2,
        ),
        (
            "/clusters/prod/identity-provider-configs".into(),
            "identityProviderConfigs",
            1,
        ),
    ] {
        let (mut seen, mut token, mut asked) = (Vec::new(), None::<String>, 2);
        loop {
            let next = token
                .map(|t| format!("&nextToken={}", crate::text::uri_encode(&t, false)))
                .unwrap_or_default();
            let page = ok(&sim, "GET", &format!("{path}?maxResults={asked}{next}"), "").await;
            let items = page[member].as_array().unwrap();
            assert!(items.len() <= 3);
            seen.extend(items.clone());
            // The server's own ceiling is lower than what is asked for from here on.
            asked = 100;
            token = page["nextToken"].as_str().map(str::to_owned);
            if token.is_none() {
                break;
            }
        }
        assert_eq!(seen.len(), total, "{path}");
        seen.dedup();
        assert_eq!(seen.len(), total, "{path} repeats");
        assert_eq!(
            no(&sim, "GET", &format!("{path}?nextToken=invented"), "")
                .await
                .1,
            "InvalidParameterException"
        );
        assert_eq!(
            no(&sim, "GET", &format!("{path}?maxResults=101"), "")
                .await
                .0,
            400
        );
    }
}

#[tokio::test]
async fn entries_are_filtered_by_policy() {
    let sim = lab().await;
    let path = |policy: &str| {
        format!(
            "/clusters/lab/access-entries?associatedPolicyArn={}",
            crate::text::uri_encode(policy, false)
        )
    };
    let found = ok(
        &sim,
        "GET",
        &path("arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy"),
        "",
    )
    .await;
    assert_eq!(found["accessEntries"], json!([DEVELOPERS]));
    let found = ok(
        &sim,
        "GET",
        &path("arn:aws:eks::aws:cluster-access-policy/AmazonEKSEditPolicy"),
        "",
    )
    .await;
    assert_eq!(found["accessEntries"], json!([]));
    assert_eq!(
        no(
            &sim,
            "GET",
            &path("arn:aws:iam::aws:policy/AdministratorAccess"),
            ""
        )
        .await
        .0,
        400
    );
}

#[tokio::test]
async fn a_config_map_cluster_refuses_entries() {
    let mut scenario = Scenario::minimal().unwrap();
    for mode in ["CONFIG_MAP", "absent"] {
        scenario.clusters[0].mode = mode.into();
        let sim = Sim::start(scenario.clone()).await.unwrap();
        let (status, code, message) = no(&sim, "GET", "/clusters/lab/access-entries", "").await;
        assert_eq!((status, code.as_str()), (400, "InvalidRequestException"));
        assert_eq!(
            message,
            "The cluster's authentication mode must be set to one of [API, API_AND_CONFIG_MAP] to perform this operation."
        );
        let described = ok(&sim, "GET", "/clusters/lab", "").await;
        assert_eq!(
            described["cluster"].get("accessConfig").is_some(),
            mode == "CONFIG_MAP"
        );
    }
}

#[tokio::test]
async fn entries_are_created_changed_and_removed() {
    let sim = lab().await;
    let list = "/clusters/lab/access-entries";
    let body = json!({"principalArn": ALICE, "clientRequestToken": "one"}).to_string();
    let made = ok(&sim, "POST", list, &body).await;
    assert_eq!(made["accessEntry"]["username"], ALICE);
    // The same token answers the same; another one finds the name taken.
    assert_eq!(ok(&sim, "POST", list, &body).await, made);
    let again = json!({"principalArn": ALICE, "clientRequestToken": "two"}).to_string();
    assert_eq!(
        no(&sim, "POST", list, &again).await.1,
        "ResourceInUseException"
    );
    ok(
        &sim,
        "POST",
        &entry("lab", ALICE, ""),
        r#"{"kubernetesGroups":["a","b"]}"#,
    )
    .await;
    let changed = ok(
        &sim,
        "POST",
        &entry("lab", ALICE, ""),
        r#"{"username":"alice"}"#,
    )
    .await;
    assert_eq!(
        changed["accessEntry"]["kubernetesGroups"],
        json!(["a", "b"]),
        "what is not named stays"
    );
    let view = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy";
    let scoped =
        json!({"policyArn": view, "accessScope": {"type": "namespace", "namespaces": ["web"]}})
            .to_string();
    ok(
        &sim,
        "POST",
        &entry("lab", ALICE, "/access-policies"),
        &scoped,
    )
    .await;
    let wide = json!({"policyArn": view, "accessScope": {"type": "cluster"}}).to_string();
    ok(
        &sim,
        "POST",
        &entry("lab", ALICE, "/access-policies"),
        &wide,
    )
    .await;
    let policies = ok(&sim, "GET", &entry("lab", ALICE, "/access-policies"), "").await;
    assert_eq!(
        policies["associatedAccessPolicies"]
            .as_array()
            .unwrap()
            .len(),
        1,
        "associating again replaces the scope"
    );
    let one = entry(
        "lab",
        ALICE,
        &format!("/access-policies/{}", crate::text::uri_encode(view, false)),
    );
    ok(&sim, "DELETE", &one, "").await;
    assert_eq!(no(&sim, "DELETE", &one, "").await.0, 404);
    ok(&sim, "DELETE", &entry("lab", ALICE, ""), "").await;
    assert_eq!(
        no(&sim, "DELETE", &entry("lab", ALICE, ""), "").await.0,
        404
    );
    assert_eq!(
        sim.mutations()
            .iter()
            .filter(|m| *m == "eks:CreateAccessEntry")
            .count(),
        3
    );
}

#[tokio::test]
async fn what_the_service_refuses_to_create() {
    let sim = lab().await;
    let cases = [
        (
            json!({"principalArn": "arn:aws:sts::111122223333:assumed-role/x/y"}),
            "principalArn parameter format",
        ),
        (
            json!({"principalArn": "arn:aws:iam::111122223333:group/x"}),
            "principalArn parameter format",
        ),
        (
            json!({"principalArn": "arn:aws:iam::111122223333:role/aws-service-role/x.amazonaws.com/y"}),
            "Service Linked Role",
        ),
        (
            json!({"principalArn": "arn:aws:iam::111122223333:role/nobody"}),
            "invalid principal",
        ),
        // The role exists, but under a path.
        (
            json!({"principalArn": "arn:aws:iam::111122223333:role/developers"}),
            "invalid principal",
        ),
        (
            json!({"principalArn": ALICE, "kubernetesGroups": ["system:masters"]}),
            "The kubernetes group name system:masters is invalid, it cannot start with system:",
        ),
        (
            json!({"principalArn": ALICE, "username": "system:admin"}),
            "The username must not begin with system:",
        ),
        (
            json!({"principalArn": ALICE, "username": "x{{SessionName}}"}),
            "colon",
        ),
        (
            json!({"principalArn": ALICE, "type": "EC2_LINUX"}),
            "must be a role",
        ),
        (json!({"principalArn": ALICE, "type": "WHAT"}), "type WHAT"),
        (
            json!({"principalArn": "arn:aws:iam::111122223333:role/eks-reader", "type": "EC2_LINUX", "kubernetesGroups": ["x"]}),
            "STANDARD",
        ),
    ];
    for (body, part) in cases {
        let (status, code, message) = no(
            &sim,
            "POST",
            "/clusters/lab/access-entries",
            &body.to_string(),
        )
        .await;
        assert_eq!(
            (status, code.as_str()),
            (400, "InvalidParameterException"),
            "{body}"
        );
        assert!(message.contains(part), "{message}");
    }
    for (scope, policy) in [
        (json!({"type": "namespace"}), "AmazonEKSViewPolicy"),
        (
            json!({"type": "cluster", "namespaces": ["web"]}),
            "AmazonEKSViewPolicy",
        ),
        (json!({"type": "cluster"}), "NoSuchPolicy"),
    ] {
        let body = json!({"policyArn": format!("arn:aws:eks::aws:cluster-access-policy/{policy}"), "accessScope": scope}).to_string();
        assert_eq!(
            no(
                &sim,
                "POST",
                &entry("lab", DEVELOPERS, "/access-policies"),
                &body
            )
            .await
            .0,
            400,
            "{body}"
        );
    }
}

#[tokio::test]
async fn a_new_entry_is_seen_only_after_a_while() {
    let mut scenario = Scenario::minimal().unwrap();
    scenario.consistency_delay_ms = 10_000;
    let sim = Sim::start(scenario).await.unwrap();
    ok(
        &sim,
        "POST",
        "/clusters/lab/access-entries",
        &json!({"principalArn": ALICE}).to_string(),
    )
    .await;
    assert_eq!(no(&sim, "GET", &entry("lab", ALICE, ""), "").await.0, 404);
    let body = json!({"policyArn": "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy", "accessScope": {"type": "cluster"}}).to_string();
    assert_eq!(
        no(
            &sim,
            "POST",
            &entry("lab", ALICE, "/access-policies"),
            &body
        )
        .await
        .1,
        "ResourceNotFoundException"
    );
    sim.set_clock_offset(11);
    ok(
        &sim,
        "POST",
        &entry("lab", ALICE, "/access-policies"),
        &body,
    )
    .await;
}

#[tokio::test]
async fn pod_identity_and_providers_are_described() {
    let mut scenario = Scenario::demo().unwrap();
    scenario.accounts[0].users[0].allow = None;
    let sim = Sim::start(scenario).await.unwrap();
    let list = ok(
        &sim,
        "GET",
        "/clusters/prod/pod-identity-associations?namespace=payments&serviceAccount=reports",
        "",
    )
    .await;
    assert_eq!(list["associations"].as_array().unwrap().len(), 1);
    assert!(list["associations"][0].get("roleArn").is_none());
    let id = list["associations"][0]["associationId"].as_str().unwrap();
    let one = ok(
        &sim,
        "GET",
        &format!("/clusters/prod/pod-identity-associations/{id}"),
        "",
    )
    .await;
    assert_eq!(
        one["association"]["targetRoleArn"],
        "arn:aws:iam::111122223333:role/reports-target"
    );
    let body = json!({"identityProviderConfig": {"type": "oidc", "name": "corporate"}}).to_string();
    let provider = ok(
        &sim,
        "POST",
        "/clusters/prod/identity-provider-configs/describe",
        &body,
    )
    .await;
    assert_eq!(
        provider["identityProviderConfig"]["oidc"]["groupsPrefix"],
        "oidc:"
    );
    assert!(
        sim.mutations().is_empty(),
        "a POST that only reads is no change"
    );
}

#[tokio::test]
async fn the_mode_moves_one_way() {
    let mut scenario = Scenario::minimal().unwrap();
    scenario.clusters[0].mode = "CONFIG_MAP".into();
    let sim = Sim::start(scenario).await.unwrap();
    let to = |mode: &str| json!({"accessConfig": {"authenticationMode": mode}}).to_string();
    assert_eq!(
        no(&sim, "POST", "/clusters/lab/update-config", &to("API"))
            .await
            .0,
        400
    );
    ok(
        &sim,
        "POST",
        "/clusters/lab/update-config",
        &to("API_AND_CONFIG_MAP"),
    )
    .await;
    assert_eq!(
        no(
            &sim,
            "POST",
            "/clusters/lab/update-config",
            &to("CONFIG_MAP")
        )
        .await
        .0,
        400
    );
    ok(&sim, "GET", "/clusters/lab/access-entries", "").await;
}
