//! Signatures, STS and IAM.

use super::client::*;
use crate::shared::machine_time;
use crate::text::decode;
use crate::{Scenario, Sim};

const READER: &str = "arn:aws:iam::111122223333:role/eks-reader";

async fn minimal() -> Sim {
    Sim::start(Scenario::minimal().unwrap()).await.unwrap()
}

async fn demo() -> Sim {
    Sim::start(Scenario::demo().unwrap()).await.unwrap()
}

#[tokio::test]
async fn who_am_i_with_a_static_key_and_as_a_role() {
    let sim = minimal().await;
    let keys = static_keys(&sim);
    let me = query("sts", &keys, &[("Action", "GetCallerIdentity")])
        .send(&sim)
        .await;
    assert_eq!(
        (me.status, me.xml("Arn").as_str()),
        (200, "arn:aws:iam::111122223333:user/baton")
    );
    let role = assume(&sim, &keys, READER, &[]).await;
    let me = query("sts", &role, &[("Action", "GetCallerIdentity")])
        .send(&sim)
        .await;
    assert_eq!(
        me.xml("Arn"),
        "arn:aws:sts::111122223333:assumed-role/eks-reader/test-session"
    );
    assert!(me.xml("UserId").starts_with("AROA") && me.xml("UserId").ends_with(":test-session"));
    assert_eq!(sim.calls()["sts:GetCallerIdentity"], 2);
    assert_eq!(sim.calls()["sts:AssumeRole"], 1);
}

#[tokio::test]
async fn signatures_of_the_vendors_own_crate_are_taken() {
    use aws_credential_types::Credentials;
    use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
    use aws_sigv4::sign::v4;
    let sim = minimal().await;
    let role = assume(&sim, &static_keys(&sim), READER, &[]).await;
    let identity = Credentials::new(role.id, role.secret, role.token, None, "test").into();
    let address = sim.aws_url().trim_start_matches("http://").to_owned();
    let paths = [
        entry(
            "lab",
            "arn:aws:iam::111122223333:role/team/developers",
            "/access-policies?maxResults=100",
        ),
        "/clusters/lab?odd=a%2Fb%20c&odd=%21".to_owned(),
    ];
    for target in paths {
        let uri = format!("http://{address}{target}");
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region("eu-west-1")
            .name("eks")
            .time(std::time::SystemTime::now())
            .settings(SigningSettings::default())
            .build()
            .unwrap()
            .into();
        let signable = SignableRequest::new(
            "GET",
            &uri,
            [("host", address.as_str())].into_iter(),
            SignableBody::Bytes(b""),
        )
        .unwrap();
        let (instructions, _) = sign(signable, &params).unwrap().into_parts();
        let headers: Vec<(String, String)> = instructions
            .headers()
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .collect();
        let answer = send(&address, None, "GET", &target, &headers, "")
            .await
            .unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

#[tokio::test]
async fn a_wrong_secret_is_refused_and_the_answer_echoes_the_session_token() {
    let sim = minimal().await;
    let mut keys = assume(&sim, &static_keys(&sim), READER, &[]).await;
    keys.secret.push('x');
    let token = keys.token.clone().unwrap();
    let answer = eks(&keys, "GET", "/clusters/lab", "").send(&sim).await;
    assert_eq!(
        (answer.status, answer.header("x-amzn-errortype")),
        (403, "InvalidSignatureException")
    );
    let message = answer.json()["message"].as_str().unwrap().to_owned();
    assert!(
        message.contains(&format!("x-amz-security-token:{token}")),
        "{message}"
    );
    let answer = query("iam", &keys, &[("Action", "ListRoles")])
        .send(&sim)
        .await;
    assert_eq!(
        (answer.status, answer.xml("Code").as_str()),
        (403, "SignatureDoesNotMatch")
    );
    assert!(answer.xml("Message").contains("x-amz-security-token:"));
}

#[tokio::test]
async fn a_changed_body_is_refused() {
    let sim = minimal().await;
    let mut call = query(
        "sts",
        &static_keys(&sim),
        &[("Action", "GetCallerIdentity")],
    );
    call.tampered = true;
    assert_eq!(call.send(&sim).await.xml("Code"), "SignatureDoesNotMatch");
}

#[tokio::test]
async fn unknown_keys_and_missing_or_wrong_tokens_are_refused() {
    let sim = minimal().await;
    let unknown = Keys {
        id: "AKIANOBODY".into(),
        ..static_keys(&sim)
    };
    let answer = eks(&unknown, "GET", "/clusters", "").send(&sim).await;
    assert_eq!(
        (answer.status, answer.header("x-amzn-errortype")),
        (403, "UnrecognizedClientException")
    );
    assert_eq!(
        query("sts", &unknown, &[("Action", "GetCallerIdentity")])
            .send(&sim)
            .await
            .xml("Code"),
        "InvalidClientTokenId"
    );
    let role = assume(&sim, &static_keys(&sim), READER, &[]).await;
    let without = Keys {
        token: None,
        ..role.clone()
    };
    assert_eq!(
        query("iam", &without, &[("Action", "ListRoles")])
            .send(&sim)
            .await
            .xml("Code"),
        "InvalidClientTokenId"
    );
    let wrong = Keys {
        token: role.token.map(|t| t + "x"),
        ..role
    };
    assert_eq!(
        query("iam", &wrong, &[("Action", "ListRoles")])
            .send(&sim)
            .await
            .xml("Code"),
        "InvalidClientTokenId"
    );
    let unsigned = send(
        sim.aws_url().trim_start_matches("http://"),
        None,
        "GET",
        "/clusters",
        &[],
        "",
    )
    .await
    .unwrap();
    assert_eq!(
        (unsigned.status, unsigned.header("x-amzn-errortype")),
        (403, "MissingAuthenticationTokenException")
    );
}

#[tokio::test]
async fn a_clock_that_is_off_is_told_so_in_both_directions() {
    let sim = minimal().await;
    let keys = static_keys(&sim);
    let mut call = eks(&keys, "GET", "/clusters", "");
    call.time = machine_time() - 6 * 60 * 1000;
    let answer = call.send(&sim).await;
    assert_eq!(
        answer.header("x-amzn-errortype"),
        "InvalidSignatureException"
    );
    assert!(
        answer.json()["message"]
            .as_str()
            .unwrap()
            .starts_with("Signature expired: "),
        "{}",
        answer.text()
    );
    let mut call = query("sts", &keys, &[("Action", "GetCallerIdentity")]);
    call.time = machine_time() + 6 * 60 * 1000;
    let answer = call.send(&sim).await;
    assert_eq!(answer.xml("Code"), "SignatureDoesNotMatch");
    assert!(
        answer
            .xml("Message")
            .starts_with("Signature not yet current: ")
    );
    call.time = machine_time() + 4 * 60 * 1000;
    assert_eq!(call.send(&sim).await.status, 200);
    // The other way round: the cloud's clock moves, and its Date header says so.
    sim.set_clock_offset(3600);
    let answer = query("sts", &keys, &[("Action", "GetCallerIdentity")])
        .send(&sim)
        .await;
    assert_eq!(answer.status, 403);
    assert!(!answer.header("date").is_empty());
}

#[tokio::test]
async fn a_session_ends_when_its_time_is_over() {
    let sim = minimal().await;
    let role = assume(
        &sim,
        &static_keys(&sim),
        READER,
        &[("DurationSeconds", "900")],
    )
    .await;
    sim.set_clock_offset(901);
    let later = machine_time() + 901_000;
    let mut call = eks(&role, "GET", "/clusters/lab", "");
    call.time = later;
    let answer = call.send(&sim).await;
    assert_eq!(
        (answer.status, answer.header("x-amzn-errortype")),
        (403, "ExpiredTokenException")
    );
    let mut call = query("iam", &role, &[("Action", "ListRoles")]);
    call.time = later;
    assert_eq!(call.send(&sim).await.xml("Code"), "ExpiredToken");
}

#[tokio::test]
async fn the_scope_must_name_the_right_region_and_sign_the_token() {
    let sim = minimal().await;
    let mut call = query("iam", &static_keys(&sim), &[("Action", "ListRoles")]);
    call.region = "eu-west-1";
    assert_eq!(call.send(&sim).await.xml("Code"), "SignatureDoesNotMatch");
    // A security token that is sent but not signed.
    let role = assume(&sim, &static_keys(&sim), READER, &[]).await;
    let mut call = eks(
        &Keys {
            token: None,
            ..role.clone()
        },
        "GET",
        "/clusters/lab",
        "",
    );
    call.extra
        .push(("x-amz-security-token".into(), role.token.unwrap()));
    let answer = call.send(&sim).await;
    assert_eq!(answer.status, 403);
    assert!(answer.text().contains("not signed: x-amz-security-token"));
}

#[tokio::test]
async fn a_session_policy_narrows_every_later_call() {
    let sim = minimal().await;
    let policy = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["eks:DescribeCluster"],"Resource":"arn:aws:eks:eu-west-1:111122223333:cluster/lab"},{"Effect":"Allow","Action":"iam:ListRoles","Resource":"*"}]}"#;
    let role = assume(&sim, &static_keys(&sim), READER, &[("Policy", policy)]).await;
    assert_eq!(
        eks(&role, "GET", "/clusters/lab", "")
            .send(&sim)
            .await
            .status,
        200
    );
    assert_eq!(
        query("iam", &role, &[("Action", "ListRoles")])
            .send(&sim)
            .await
            .status,
        200
    );
    let answer = eks(&role, "GET", "/clusters/lab/access-entries", "")
        .send(&sim)
        .await;
    assert_eq!(
        (answer.status, answer.header("x-amzn-errortype")),
        (403, "AccessDeniedException")
    );
    let message = answer.json()["message"].as_str().unwrap().to_owned();
    assert_eq!(
        message,
        "User: arn:aws:sts::111122223333:assumed-role/eks-reader/test-session is not authorized to perform: eks:ListAccessEntries on resource: \
         arn:aws:eks:eu-west-1:111122223333:cluster/lab because no session policy allows the eks:ListAccessEntries action"
    );
    // Another cluster is not covered either, existing or not.
    assert_eq!(
        eks(&role, "GET", "/clusters/other", "")
            .send(&sim)
            .await
            .status,
        403
    );
    let answer = query(
        "iam",
        &role,
        &[
            ("Action", "AttachRolePolicy"),
            ("RoleName", "eks-reader"),
            ("PolicyArn", "arn:aws:iam::aws:policy/AdministratorAccess"),
        ],
    );
    assert_eq!(answer.send(&sim).await.xml("Code"), "AccessDenied");
    assert!(sim.mutations().is_empty());
    // Saying who one is needs no permission.
    assert_eq!(
        query("sts", &role, &[("Action", "GetCallerIdentity")])
            .send(&sim)
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn bad_parameters_of_assume_role_are_named() {
    let sim = minimal().await;
    let keys = static_keys(&sim);
    for (more, code) in [
        (("Policy", "{"), "MalformedPolicyDocument"),
        (
            ("Policy", r#"{"Version":"2012-10-17","Statement":[]}"#),
            "MalformedPolicyDocument",
        ),
        (("DurationSeconds", "60"), "ValidationError"),
        (("DurationSeconds", "7200"), "ValidationError"),
        (("ExternalId", "x"), "ValidationError"),
    ] {
        let answer = try_assume(&sim, &keys, READER, &[more]).await;
        assert_eq!(
            (answer.status, answer.xml("Code").as_str()),
            (400, code),
            "{more:?}"
        );
    }
    let long = format!(
        "{:2049}",
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#
    );
    assert_eq!(
        try_assume(&sim, &keys, READER, &[("Policy", &long)])
            .await
            .xml("Code"),
        "ValidationError"
    );
}

#[tokio::test]
async fn trust_policies_decide_who_may_assume() {
    let sim = demo().await;
    let baton = static_keys(&sim);
    // Named in the trust policy.
    assume(&sim, &baton, READER, &[]).await;
    // Not named; does not exist; garbled policy; service principals only: one and the same answer.
    for role in ["team/platform/platform-admin", "nobody", "garbled", "node"] {
        let arn = format!("arn:aws:iam::111122223333:role/{role}");
        let answer = try_assume(&sim, &baton, &arn, &[]).await;
        assert_eq!(
            (answer.status, answer.xml("Code").as_str()),
            (403, "AccessDenied")
        );
        assert_eq!(
            answer.xml("Message"),
            format!(
                "User: arn:aws:iam::111122223333:user/baton is not authorized to perform: sts:AssumeRole on resource: {arn}"
            )
        );
    }
}

#[tokio::test]
async fn two_hops_need_both_external_ids() {
    let sim = demo().await;
    let baton = static_keys(&sim);
    let (binding, customer) = (
        "arn:aws:iam::444455556666:role/binding",
        "arn:aws:iam::111122223333:role/eks-reader-for-vendor",
    );
    assert_eq!(try_assume(&sim, &baton, binding, &[]).await.status, 403);
    assert_eq!(
        try_assume(&sim, &baton, binding, &[("ExternalId", "wrong")])
            .await
            .status,
        403
    );
    let first = assume(&sim, &baton, binding, &[("ExternalId", "binding-1")]).await;
    assert_eq!(try_assume(&sim, &first, customer, &[]).await.status, 403);
    assert_eq!(
        try_assume(&sim, &first, customer, &[("ExternalId", "customer-8")])
            .await
            .status,
        403
    );
    let second = assume(&sim, &first, customer, &[("ExternalId", "customer-7")]).await;
    assert_eq!(
        eks(&second, "GET", "/clusters/prod", "")
            .send(&sim)
            .await
            .status,
        200
    );
    // Straight from the static key it is refused.
    assert_eq!(
        try_assume(&sim, &baton, customer, &[("ExternalId", "customer-7")])
            .await
            .status,
        403
    );
}

#[tokio::test]
async fn web_identity_is_unsigned_and_checked_against_the_trust_policy() {
    let sim = demo().await;
    let address = sim.aws_url().trim_start_matches("http://").to_owned();
    let call = async |role: &str, token: &str| {
        let body = format!(
            "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=arn:aws:iam::111122223333:role/{role}&RoleSessionName=pod&WebIdentityToken={token}"
        );
        send(&address, None, "POST", "/", &[], &body).await.unwrap()
    };
    let good = "eyJhbGciOiJSUzI1NiJ9.payments-api.signature";
    let answer = call("irsa-payments", good).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let me = query("sts", &keys_of(&answer), &[("Action", "GetCallerIdentity")])
        .send(&sim)
        .await;
    assert_eq!(
        me.xml("Arn"),
        "arn:aws:sts::111122223333:assumed-role/irsa-payments/pod"
    );
    assert_eq!(call("irsa-any-ci", good).await.xml("Code"), "AccessDenied");
    assert_eq!(call("irsa-everybody", good).await.status, 200);
    assert_eq!(
        call("irsa-payments", "forged").await.xml("Code"),
        "InvalidIdentityToken"
    );
    assert_eq!(
        call("irsa-payments", "eyJhbGciOiJSUzI1NiJ9.expired.signature")
            .await
            .xml("Code"),
        "ExpiredTokenException"
    );
}

#[tokio::test]
async fn container_credentials_ask_for_their_token() {
    let sim = demo().await;
    let address = sim.aws_url().trim_start_matches("http://").to_owned();
    let refused = send(&address, None, "GET", "/v1/credentials", &[], "")
        .await
        .unwrap();
    assert_eq!(refused.status, 401);
    let headers = [("authorization".to_owned(), "pod-identity-token".to_owned())];
    let answer = send(&address, None, "GET", "/v1/credentials", &headers, "")
        .await
        .unwrap()
        .json();
    let text = |k: &str| answer[k].as_str().unwrap().to_owned();
    let keys = Keys {
        id: text("AccessKeyId"),
        secret: text("SecretAccessKey"),
        token: Some(text("Token")),
    };
    assert_eq!(
        query("sts", &keys, &[("Action", "GetCallerIdentity")])
            .send(&sim)
            .await
            .status,
        200
    );
    // It may go on to its target role.
    assume(
        &sim,
        &keys,
        "arn:aws:iam::111122223333:role/reports-target",
        &[],
    )
    .await;
}

#[tokio::test]
async fn identity_policies_deny_per_action() {
    let sim = demo().await;
    let reader = assume(&sim, &static_keys(&sim), READER, &[]).await;
    let answer = eks(
        &reader,
        "POST",
        "/clusters/prod/access-entries",
        r#"{"principalArn":"arn:aws:iam::111122223333:user/alice"}"#,
    )
    .send(&sim)
    .await;
    assert_eq!(answer.header("x-amzn-errortype"), "AccessDeniedException");
    assert!(
        answer
            .text()
            .contains("because no identity-based policy allows the eks:CreateAccessEntry action")
    );
    assert!(sim.mutations().is_empty());
}

#[tokio::test]
async fn roles_are_paged_and_trust_documents_are_percent_encoded() {
    let sim = demo().await;
    let reader = assume(&sim, &static_keys(&sim), READER, &[]).await;
    let (mut names, mut marker, mut pages) = (Vec::new(), None::<String>, 0);
    loop {
        let mut parameters = vec![("Action", "ListRoles"), ("MaxItems", "7")];
        if let Some(marker) = &marker {
            parameters.push(("Marker", marker));
        }
        let answer = query("iam", &reader, &parameters).send(&sim).await;
        pages += 1;
        let text = answer.text();
        names.extend(
            text.split("<RoleName>")
                .skip(1)
                .map(|t| t.split('<').next().unwrap().to_owned()),
        );
        assert!(!text.contains("<Tags>") && !text.contains("RoleLastUsed"));
        if answer.xml("IsTruncated") == "false" {
            break;
        }
        marker = Some(answer.xml("Marker"));
    }
    assert_eq!((names.len(), pages), (21, 3), "{names:?}");
    let answer = query(
        "iam",
        &reader,
        &[("Action", "GetRole"), ("RoleName", "eks-reader")],
    )
    .send(&sim)
    .await;
    let document = answer.xml("AssumeRolePolicyDocument");
    assert!(document.starts_with("%7B%22") && !document.contains('"'));
    assert!(decode(&document).contains("arn:aws:iam::111122223333:user/baton"));
    let missing = query(
        "iam",
        &reader,
        &[("Action", "GetRole"), ("RoleName", "nobody")],
    )
    .send(&sim)
    .await;
    assert_eq!(
        (missing.status, missing.xml("Code").as_str()),
        (404, "NoSuchEntity")
    );
    let bad = query(
        "iam",
        &reader,
        &[("Action", "ListRoles"), ("Marker", "made up")],
    )
    .send(&sim)
    .await;
    assert_eq!(bad.xml("Code"), "ValidationError");
}

#[tokio::test]
async fn users_groups_and_account_details_are_paged_too() {
    let mut scenario = Scenario::demo().unwrap();
    scenario.pages.iam = 2;
    let sim = Sim::start(scenario).await.unwrap();
    let reader = assume(&sim, &static_keys(&sim), READER, &[]).await;
    for (parameters, element, total) in [
        (vec![("Action", "ListUsers")], "<UserName>", 6),
        (vec![("Action", "ListGroups")], "<GroupName>", 2),
        (
            vec![("Action", "GetGroup"), ("GroupName", "developers")],
            "<UserName>",
            2,
        ),
        (
            vec![("Action", "GetAccountAuthorizationDetails")],
            "<CreateDate>",
            29,
        ),
        (
            vec![
                ("Action", "GetAccountAuthorizationDetails"),
                ("Filter.member.1", "User"),
            ],
            "<GroupList>",
            6,
        ),
    ] {
        let (mut seen, mut marker) = (0, None::<String>);
        loop {
            let mut parameters = parameters.clone();
            if let Some(marker) = &marker {
                parameters.push(("Marker", marker));
            }
            let answer = query("iam", &reader, &parameters).send(&sim).await;
            let page = answer.text().matches(element).count();
            assert!(page <= 2, "{parameters:?}");
            seen += page;
            if answer.xml("IsTruncated") == "false" {
                break;
            }
            marker = Some(answer.xml("Marker"));
        }
        assert_eq!(seen, total, "{parameters:?}");
    }
}

#[tokio::test]
async fn iam_takes_get_for_changes_and_they_are_recorded() {
    let sim = minimal().await;
    let keys = static_keys(&sim);
    let target = "/?Action=AttachRolePolicy&Version=2010-05-08&RoleName=eks-reader&PolicyArn=arn%3Aaws%3Aiam%3A%3Aaws%3Apolicy%2FAdministratorAccess";
    let call = Call {
        method: "GET",
        target: target.into(),
        body: String::new(),
        extra: Vec::new(),
        ..query("iam", &keys, &[])
    };
    assert_eq!(call.send(&sim).await.status, 200);
    assert_eq!(sim.mutations(), ["iam:AttachRolePolicy"]);
    assert_eq!(
        query(
            "iam",
            &keys,
            &[("Action", "CreateUser"), ("UserName", "eve")]
        )
        .send(&sim)
        .await
        .status,
        200
    );
    assert_eq!(sim.mutations(), ["iam:AttachRolePolicy", "iam:CreateUser"]);
    assert_eq!(sim.calls()["iam:AttachRolePolicy"], 1);
}

#[tokio::test]
async fn the_request_log_holds_what_was_sent() {
    let sim = minimal().await;
    query(
        "sts",
        &static_keys(&sim),
        &[("Action", "GetCallerIdentity")],
    )
    .send(&sim)
    .await;
    let log = sim.requests();
    assert_eq!(log.len(), 1);
    assert_eq!(
        (
            log[0].service.as_str(),
            log[0].method.as_str(),
            log[0].status
        ),
        ("sts", "POST", 200)
    );
    assert_eq!(
        log[0].caller.as_deref(),
        Some("arn:aws:iam::111122223333:user/baton")
    );
    assert!(
        log[0]
            .headers
            .iter()
            .any(|(k, v)| k == "authorization" && v.contains(sim.access_key()))
    );
    assert_eq!(
        &log[0].body[..],
        b"Action=GetCallerIdentity&Version=2011-06-15"
    );
    assert_eq!(sim.connections()["aws"], 1);
    sim.forget();
    assert!(sim.calls().is_empty());
}
