//! Who may become a role: trust policies, IRSA and Pod Identity (rules 9 and 25).

use serde_json::{Value, json};

use super::cloud::*;

fn assignment(name: &str) -> String {
    format!("role:{}:assignment", role(name))
}

fn holders_of(statements: Value) -> Vec<String> {
    sync(Cloud::default().with_role("r", &trust(statements))).holders(&assignment("r"))
}

fn allow(principal: Value, action: Value) -> Value {
    json!({"Effect": "Allow", "Principal": principal, "Action": action})
}

#[test]
fn fault_08_and_33_every_form_of_action_principal_and_statement() {
    let bob = vec![format!("iam_user:{}", user("bob"))];
    for action in [
        json!("sts:AssumeRole"),
        json!("STS:assumerole"),
        json!("sts:*"),
        json!("*"),
        json!("sts:Assume*"),
        json!(["sts:TagSession", "sts:AssumeRole"]),
    ] {
        assert_eq!(
            holders_of(json!([allow(json!({"AWS": user("bob")}), action.clone())])),
            bob,
            "{action}"
        );
    }
    assert_eq!(
        holders_of(json!(allow(
            json!({"AWS": user("bob")}),
            json!("sts:AssumeRole")
        ))),
        bob,
        "one statement that is no list"
    );
    assert_eq!(
        holders_of(
            json!([{"Effect": "Allow", "Principal": "*", "Action": "s3:*"}, allow(json!({"AWS": [user("bob")]}), json!("sts:AssumeRole"))])
        ),
        bob
    );
    assert_eq!(
        holders_of(
            json!([{"Effect": "Allow", "Principal": {"AWS": user("bob")}, "NotAction": "sts:TagSession"}])
        ),
        bob
    );
    for nobody in [
        json!([{"Effect": "Allow", "Principal": {"AWS": user("bob")}, "NotAction": "sts:*"}]),
        json!([allow(
            json!({"AWS": user("bob")}),
            json!("sts:AssumeRoleWithSAML")
        )]),
        json!([allow(json!("*"), json!("sts:AssumeRole"))]),
        json!([allow(
            json!({"AWS": [ACCOUNT, format!("arn:aws:iam::{ACCOUNT}:root"), "AROAEXAMPLEID", "*"]}),
            json!("sts:AssumeRole")
        )]),
        json!([{"Effect": "Allow", "NotPrincipal": {"AWS": user("bob")}, "Action": "sts:AssumeRole"}]),
    ] {
        assert!(holders_of(nobody.clone()).is_empty(), "{nobody}");
    }
}

#[test]
fn rule_25_deny_and_not_principal_subtract() {
    let both = allow(
        json!({"AWS": [user("bob"), user("eve")]}),
        json!("sts:AssumeRole"),
    );
    let deny =
        |principal: Value, key: &str| json!({"Effect": "Deny", key: principal, "Action": "sts:*"});
    let bob = format!("iam_user:{}", user("bob"));
    assert_eq!(
        holders_of(json!([
            both,
            deny(json!({"AWS": user("eve")}), "Principal")
        ])),
        [bob.clone()]
    );
    assert_eq!(
        holders_of(json!([
            both,
            deny(json!({"AWS": user("bob")}), "NotPrincipal")
        ])),
        [bob]
    );
    assert!(holders_of(json!([both, deny(json!("*"), "Principal")])).is_empty());
    assert!(holders_of(json!([both, deny(json!({"AWS": ACCOUNT}), "Principal")])).is_empty());
    let mut conditional = deny(json!("*"), "Principal");
    conditional["Condition"] = json!({"BoolIfExists": {"aws:MultiFactorAuthPresent": "false"}});
    let file = sync(Cloud::default().with_role("r", &trust(json!([both, conditional]))));
    let meta = file.metadata(&format!("{}:iam_user:{}", assignment("r"), user("bob")));
    assert_eq!(meta["certainty"], "conditional");
    assert_eq!(
        meta["paths"][0]["conditions"],
        "denied if without MFA (BoolIfExists aws:MultiFactorAuthPresent = false)"
    );
}

#[test]
fn rule_25_other_accounts_conditions_and_sessions() {
    let other = format!("arn:aws:iam::{OTHER}:role/path/ci");
    let mut with_id = allow(json!({"AWS": other}), json!("sts:AssumeRole"));
    with_id["Condition"] = json!({"StringEquals": {"sts:ExternalId": ["a", "b"]}});
    let session = allow(
        json!({"AWS": format!("arn:aws:sts::{ACCOUNT}:assumed-role/ops/alice")}),
        json!("sts:AssumeRole"),
    );
    let file = sync(
        Cloud::default()
            .with_role("ops", &no_trust())
            .with_role("r", &trust(json!([with_id, session]))),
    );
    let meta = file.metadata(&format!("{}:role:{other}", assignment("r")));
    assert_eq!(meta["certainty"], "conditional");
    assert_eq!(
        meta["paths"][0]["conditions"],
        format!(
            "with an external id (StringEquals sts:ExternalId = a or b); an identity policy in account {OTHER} must allow it too"
        )
    );
    assert_eq!(file.profile("role", &other)["external"], true);
    let meta = file.metadata(&format!("{}:role:{}", assignment("r"), role("ops")));
    assert_eq!(
        (
            meta["certainty"].as_str(),
            meta["paths"][0]["session"].as_str()
        ),
        (Some("session"), Some("alice"))
    );
}

#[test]
fn rule_25_self_and_mutual_trust_are_grants_without_endless_expansion() {
    let file = sync(
        Cloud::default()
            .with_role(
                "a",
                &trust(json!([allow(
                    json!({"AWS": [role("a"), role("b")]}),
                    json!("sts:AssumeRole")
                )])),
            )
            .with_role(
                "b",
                &trust(json!([allow(
                    json!({"AWS": role("a")}),
                    json!("sts:AssumeRole")
                )])),
            ),
    );
    assert_eq!(file.grants.len(), 3);
    assert_eq!(
        attribute(
            &file
                .grant(&format!("{}:role:{}", assignment("a"), role("a")))
                .attributes,
            "expandable"
        ),
        None
    );
    assert!(
        attribute(
            &file
                .grant(&format!("{}:role:{}", assignment("b"), role("a")))
                .attributes,
            "expandable"
        )
        .is_some()
    );
}

#[test]
fn rule_25_what_has_no_row_is_kept_in_the_profile() {
    let file = sync(Cloud::default().with_role("r", &trust(json!([
        allow(json!({"AWS": ["*", OTHER, "AROAEXAMPLEID"], "Service": ["ec2.amazonaws.com", "capabilities.eks.amazonaws.com"], "Federated": "cognito-identity.amazonaws.com"}), json!("*")),
        {"Effect": "Allow", "NotPrincipal": {"AWS": user("bob")}, "Action": "sts:AssumeRole"},
    ]))));
    let profile = file.profile("role", &role("r"));
    let trusted: Vec<&str> = profile["trusted_by"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_str().unwrap())
        .collect();
    assert_eq!(
        trusted,
        [
            "everyone",
            &format!("account {OTHER}"),
            "AROAEXAMPLEID",
            "cognito-identity.amazonaws.com",
            "ec2.amazonaws.com",
            "capabilities.eks.amazonaws.com",
            &format!("everyone except {}", user("bob"))
        ]
    );
    assert_eq!(profile["service"], "EKS Capabilities");
}

#[test]
fn a_malformed_trust_policy_is_named_and_hurts_nobody_else() {
    let bob = trust(json!([allow(
        json!({"AWS": user("bob")}),
        json!("sts:AssumeRole")
    )]));
    for broken in ["", "{", "[]", "{\"Statement\": 7}", "%%%"] {
        let file = sync(
            Cloud::default()
                .with_role("bad", broken)
                .with_role("good", &bob),
        );
        assert_eq!(file.holders(&assignment("good")).len(), 1);
        assert_eq!(file.evidence_of("malformed-trust")[0]["role"], role("bad"));
        assert!(file.profile("role", &role("bad"))["trust_unreadable"].is_string());
    }
}

fn irsa(issuer: &str, conditions: &Value) -> Value {
    let mut s = allow(
        json!({"Federated": format!("arn:aws:iam::{ACCOUNT}:oidc-provider/{issuer}")}),
        json!("sts:AssumeRoleWithWebIdentity"),
    );
    s["Condition"] = conditions.clone();
    s
}

fn irsa_file(statement: Value) -> File {
    let mut cloud = Cloud::default().with_role("r", &trust(json!([statement])));
    cloud.service_accounts = vec![
        account("dev", "ci"),
        account("dev", "web"),
        account("default", "ci"),
    ];
    sync(cloud)
}

#[test]
fn rule_09_irsa_compares_the_issuer_and_reads_the_subject() {
    let aud = format!("{ISSUER}:aud");
    let sub = format!("{ISSUER}:sub");
    let exact =
        json!({"StringEquals": {&aud: "sts.amazonaws.com", &sub: "system:serviceaccount:dev:ci"}});
    assert_eq!(
        irsa_file(irsa(ISSUER, &exact)).holders(&assignment("r")),
        ["service_account:dev/ci"]
    );
    // Another cluster's provider, another account's provider: not ours.
    assert!(
        irsa_file(irsa("oidc.eks.eu-west-1.amazonaws.com/id/OTHER", &exact))
            .grants
            .is_empty()
    );
    let mut foreign = irsa(ISSUER, &exact);
    foreign["Principal"]["Federated"] =
        format!("arn:aws:iam::{OTHER}:oidc-provider/{ISSUER}").into();
    assert!(irsa_file(foreign).grants.is_empty());
    // The same issuer in its dual-stack spelling.
    let dual = "oidc-eks.eu-west-1.api.aws/id/ABC";
    let spelled = json!({"StringEquals": {format!("{dual}:sub"): "system:serviceaccount:dev:ci"}});
    assert_eq!(
        irsa_file(irsa(dual, &spelled)).holders(&assignment("r")),
        ["service_account:dev/ci"]
    );
    // Patterns are expanded and kept.
    let like = irsa_file(irsa(
        ISSUER,
        &json!({"StringLike": {&sub: "system:serviceaccount:dev:*"}}),
    ));
    assert_eq!(
        like.holders(&assignment("r")),
        ["service_account:dev/ci", "service_account:dev/web"]
    );
    assert_eq!(
        like.metadata(&format!("{}:service_account:dev/ci", assignment("r")))["paths"][0]["scope"],
        "system:serviceaccount:dev:*"
    );
    assert_eq!(
        attribute(
            &like
                .grant(&format!("{}:service_account:dev/ci", assignment("r")))
                .attributes,
            "immutable"
        ),
        Some("true")
    );
    // No subject at all is every service account: one row.
    assert_eq!(
        irsa_file(irsa(
            ISSUER,
            &json!({"StringEquals": {&aud: "sts.amazonaws.com"}})
        ))
        .holders(&assignment("r")),
        ["service_account:*"]
    );
    assert_eq!(
        irsa_file(irsa(
            ISSUER,
            &json!({"StringLike": {&sub: "system:serviceaccount:*:*"}})
        ))
        .holders(&assignment("r")),
        ["service_account:*"]
    );
    // Two conditions on the subject are both needed.
    let two = json!({"StringLike": {&sub: "system:serviceaccount:*:ci"}, "StringEquals": {&sub: ["system:serviceaccount:dev:ci", "system:serviceaccount:dev:web"]}});
    assert_eq!(
        irsa_file(irsa(ISSUER, &two)).holders(&assignment("r")),
        ["service_account:dev/ci"]
    );
}

#[test]
fn rule_09_irsa_for_accounts_that_do_not_exist_and_conditions_we_cannot_check() {
    let sub = format!("{ISSUER}:sub");
    let ghost = irsa_file(irsa(
        ISSUER,
        &json!({"StringEquals": {&sub: "system:serviceaccount:new:app"}}),
    ));
    assert_eq!(ghost.profile("service_account", "new/app")["exists"], false);
    assert!(ghost.object("service_account", "new/app").parent.is_none());
    assert_eq!(
        ghost.metadata(&format!("{}:service_account:new/app", assignment("r")))["certainty"],
        "latent"
    );
    let odd = irsa_file(irsa(
        ISSUER,
        &json!({"StringEquals": {&sub: "system:serviceaccount:dev:ci", format!("{ISSUER}:aud"): "vault"}, "StringNotEquals": {"aws:RequestedRegion": "us-east-1"}}),
    ));
    let meta = odd.metadata(&format!("{}:service_account:dev/ci", assignment("r")));
    assert_eq!(meta["certainty"], "conditional");
    assert!(
        meta["paths"][0]["conditions"]
            .as_str()
            .unwrap()
            .contains("vault")
            && meta["paths"][0]["conditions"]
                .as_str()
                .unwrap()
                .contains("aws:RequestedRegion")
    );
    let literal = irsa_file(irsa(
        ISSUER,
        &json!({"StringEquals": {&sub: "system:serviceaccount:dev:*"}}),
    ));
    assert!(literal.grants.is_empty() && literal.evidence_of("unmatched-trust").len() == 1);
}

#[test]
fn rule_09_irsa_reads_keys_and_values_in_any_case_and_no_other_clusters_claims() {
    let theirs = "oidc.eks.eu-west-1.amazonaws.com/id/OTHER";
    let foreign = |operator: &str, key: String| {
        irsa_file(irsa(
            ISSUER,
            &json!({operator: {key: "system:serviceaccount:dev:ci"}}),
        ))
    };
    let copied = foreign("StringEquals", format!("{theirs}:sub"));
    assert!(copied.grants.is_empty());
    assert!(
        copied.evidence_of("unmatched-trust")[0]["conditions"]
            .as_str()
            .unwrap()
            .contains("OTHER")
    );
    assert_eq!(
        foreign("StringEqualsIfExists", format!("{theirs}:sub")).holders(&assignment("r")),
        ["service_account:*"]
    );
    assert_eq!(
        foreign("StringEquals", format!("{}:SUB", ISSUER.to_uppercase())).holders(&assignment("r")),
        ["service_account:dev/ci"]
    );
    let any_case = irsa_file(irsa(
        ISSUER,
        &json!({"StringEqualsIgnoreCase": {format!("{ISSUER}:sub"): "system:serviceaccount:Dev:CI"}}),
    ));
    assert_eq!(
        any_case.holders(&assignment("r")),
        ["service_account:dev/ci"]
    );
}

fn pods_trust() -> String {
    trust(json!([allow(
        json!({"Service": "pods.eks.amazonaws.com"}),
        json!(["sts:AssumeRole", "sts:TagSession"])
    )]))
}

#[test]
fn rule_09_pod_identity_gives_a_role_and_what_lies_behind_it() {
    let mut tagged = allow(
        json!({"Service": "pods.eks.amazonaws.com"}),
        json!(["sts:AssumeRole", "sts:TagSession"]),
    );
    tagged["Condition"] = json!({"StringEquals": {"aws:RequestTag/kubernetes-namespace": "dev"}});
    let mut cloud = Cloud::default()
        .with_role("pod", &pods_trust())
        .with_role("plain", &pods_trust())
        .with_role("closed", &no_trust())
        .with_role("tagged", &trust(json!([tagged])))
        .with_role(
            "target",
            &trust(json!([allow(
                json!({"AWS": role("pod")}),
                json!(["sts:AssumeRole", "sts:TagSession"])
            )])),
        );
    cloud.service_accounts = vec![account("dev", "ci")];
    cloud.pods = vec![
        json!({"associationId": "a-1", "namespace": "dev", "serviceAccount": "ci", "roleArn": role("pod"), "targetRoleArn": role("target")}),
        json!({"associationId": "a-0", "namespace": "dev", "serviceAccount": "ci", "roleArn": role("plain")}),
        json!({"associationId": "a-2", "namespace": "dev", "serviceAccount": "ci", "roleArn": role("closed")}),
        json!({"associationId": "a-3", "namespace": "dev", "serviceAccount": "ci", "roleArn": role("tagged")}),
        json!({"associationId": "a-4", "namespace": "dev", "serviceAccount": "new", "roleArn": role("gone")}),
        json!({"associationId": "a-5", "namespace": "dev", "serviceAccount": "ci", "roleArn": role("pod"), "targetRoleArn": format!("arn:aws:iam::{OTHER}:role/far")}),
    ];
    let file = sync(cloud);
    let certainty = |name: &str| {
        file.metadata(&format!("{}:service_account:dev/ci", assignment(name)))["certainty"].clone()
    };
    assert_eq!(
        (certainty("pod"), certainty("target"), certainty("tagged")),
        (json!("conditional"), json!("certain"), json!("conditional"))
    );
    let way = file.metadata(&format!("{}:service_account:dev/ci", assignment("pod")));
    assert_eq!(
        way["paths"][0]["conditions"],
        format!("only on the way to {}", role("target"))
    );
    assert_eq!(certainty("plain"), "certain");
    assert!(file.holders(&assignment("closed")).is_empty());
    assert_eq!(
        file.evidence_of("dead-association")[0]["association"],
        "a-2"
    );
    assert_eq!(
        file.holders(&assignment("gone")),
        ["service_account:dev/new"]
    );
    assert_eq!(file.profile("service_account", "dev/new")["exists"], false);
    let far = file.metadata(&format!(
        "role:arn:aws:iam::{OTHER}:role/far:assignment:service_account:dev/ci"
    ));
    assert_eq!(
        (far["certainty"].as_str(), far["paths"][0]["via"].as_str()),
        (Some("conditional"), Some("pod-identity"))
    );
}

#[test]
fn rule_09_a_pod_identity_chain_is_as_sure_as_its_weakest_link() {
    let mut with_condition = allow(json!({"AWS": role("pod")}), json!("sts:AssumeRole"));
    with_condition["Condition"] = json!({"StringEquals": {"sts:ExternalId": "x"}});
    let untagged = trust(json!([allow(
        json!({"Service": "pods.eks.amazonaws.com"}),
        json!("sts:AssumeRole")
    )]));
    let mut cloud = Cloud::default()
        .with_role("pod", &pods_trust())
        .with_role("untagged", &untagged)
        .with_role("conditional", &trust(json!([with_condition])))
        .with_role("deaf", &no_trust());
    cloud.service_accounts = vec![account("dev", "ci")];
    let pod = |id: &str, from: &str, to: &str| json!({"associationId": id, "namespace": "dev", "serviceAccount": "ci", "roleArn": role(from), "targetRoleArn": to});
    cloud.pods = vec![
        pod("a-1", "pod", &role("conditional")),
        pod("a-2", "pod", &role("deaf")),
        json!({"associationId": "a-3", "namespace": "dev", "serviceAccount": "ci", "roleArn": role("untagged")}),
    ];
    let file = sync(cloud);
    for (name, words) in [
        ("conditional", "sts:ExternalId"),
        ("deaf", "does not name"),
        ("untagged", "sts:TagSession"),
    ] {
        let meta = file.metadata(&format!("{}:service_account:dev/ci", assignment(name)));
        assert_eq!(meta["certainty"], "conditional", "{name}");
        let told = meta["paths"][0]["conditions"].as_str().unwrap();
        assert!(told.contains(words), "{told}");
    }
}
