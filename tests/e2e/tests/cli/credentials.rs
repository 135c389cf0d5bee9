//! Ways to credentials, who we are to AWS, and how narrow a session is.

use std::collections::BTreeSet;

use cloud_sim::{Logged, Scenario, Sim};
use serde_json::Value;

use crate::harness::*;

const READER: &str = "arn:aws:iam::111122223333:role/eks-reader";

fn bodies(sim: &Sim, operation: &str) -> Vec<String> {
    sim.requests()
        .iter()
        .filter(|request| request.operation == operation)
        .map(|request| String::from_utf8_lossy(&request.body).into_owned())
        .collect()
}

fn form(body: &str) -> std::collections::BTreeMap<String, String> {
    url::form_urlencoded::parse(body.as_bytes())
        .into_owned()
        .collect()
}

#[test]
fn every_hop_is_named_and_narrowed_to_the_rights() {
    let sim = demo();
    Quick::sync(&sim, "prod");
    let bodies = bodies(&sim, "sts:AssumeRole");
    assert_eq!(bodies.len(), 1);
    let asked = form(&bodies[0]);
    assert_eq!(asked["RoleSessionName"], "baton-host-prod");
    assert_eq!(asked["DurationSeconds"], "3600");
    let policy: Value = serde_json::from_str(&asked["Policy"]).unwrap();
    let mut allowed = BTreeSet::new();
    for statement in policy["Statement"].as_array().unwrap() {
        assert_eq!(statement["Effect"], "Allow");
        for action in statement["Action"].as_array().unwrap() {
            allowed.insert(format!(
                "{} on {}",
                action.as_str().unwrap(),
                statement["Resource"].as_str().unwrap()
            ));
        }
    }
    let cluster = "arn:aws:eks:eu-west-1:111122223333";
    let expected = [
        format!("eks:DescribeAccessEntry on {cluster}:access-entry/prod/*"),
        format!("eks:DescribeCluster on {cluster}:cluster/prod"),
        format!("eks:DescribePodIdentityAssociation on {cluster}:podidentityassociation/prod/*"),
        "eks:ListAccessPolicies on *".into(),
        format!("eks:ListAccessEntries on {cluster}:cluster/prod"),
        format!("eks:ListAssociatedAccessPolicies on {cluster}:access-entry/prod/*"),
        format!("eks:ListPodIdentityAssociations on {cluster}:cluster/prod"),
        "iam:ListRoles on *".into(),
    ];
    assert_eq!(allowed, BTreeSet::from(expected));
}

#[test]
fn cloudtrail_and_the_audit_log_name_us() {
    let sim = demo();
    Quick::sync(&sim, "prod");
    let agent = |request: &Logged| {
        let header = request
            .headers
            .iter()
            .find(|(name, _)| name == "user-agent");
        header.map(|(_, value)| value.clone()).unwrap_or_default()
    };
    for request in sim.requests() {
        let agent = agent(&request);
        assert!(
            agent.starts_with(concat!("baton-host/", env!("CARGO_PKG_VERSION"))),
            "{}: {agent}",
            request.operation
        );
        if request.service != "sts" {
            let caller = request.caller.clone().unwrap_or_default();
            // Kubernetes adds the user name that it made of the identity.
            let caller = caller.split(" as ").next().unwrap_or_default();
            assert_eq!(
                caller, "arn:aws:sts::111122223333:assumed-role/eks-reader/baton-host-prod",
                "{}",
                request.operation
            );
        }
        assert!(
            request.status == 200,
            "{}: {}",
            request.operation,
            request.status
        );
    }
}

#[test]
fn ambient_keys_are_used_and_the_session_is_said_not_to_be_narrowed() {
    let sim = lab(|scenario| {
        // Its user is in the cluster itself.
        let lab = cluster(scenario, "lab");
        lab.entries[0].principal = "arn:aws:iam::111122223333:user/baton".into();
    });
    let host = Host::reading(&sim, "lab")
        .unset("BATON_EKS_ACCESS_KEY")
        .unset("BATON_EKS_SECRET_ACCESS_KEY")
        .unset("BATON_EKS_ASSUME_ROLE_ARN")
        .set("AWS_ACCESS_KEY_ID", sim.access_key())
        .set("AWS_SECRET_ACCESS_KEY", sim.secret_key());
    let run = host.run(&[]).ok();
    assert!(run.err.contains("no role is assumed"), "{}", run.err);
    assert_eq!(
        Access::read(&host.file()).evidence["caller"],
        "arn:aws:iam::111122223333:user/baton"
    );
    assert!(!sim.calls().contains_key("sts:AssumeRole"));
}

/// `prod` of the demonstration, where a role may be assumed by what a pod has.
fn pods() -> Scenario {
    let mut scenario = Scenario::demo().unwrap();
    for role in &mut scenario.accounts[0].roles {
        if role.name == "eks-reader" {
            role.trust = serde_json::json!({"Version": "2012-10-17", "Statement": [
                {"Effect": "Allow", "Principal": {"AWS": [
                    "arn:aws:iam::111122223333:role/irsa-payments", "arn:aws:iam::111122223333:role/pod-reports"]},
                 "Action": "sts:AssumeRole"}]});
        }
    }
    scenario
}

fn without_keys(sim: &Sim) -> Vec<(String, String)> {
    let mut env = sim.env("prod");
    env.retain(|(name, _)| !name.contains("ACCESS_KEY"));
    env
}

#[test]
fn a_web_identity_token_assumes_its_role_and_then_ours() {
    let sim = cloud(pods());
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "eyJhbGciOiJSUzI1NiJ9.payments-api.signature\n").unwrap();
    let mut env = without_keys(&sim);
    env.push((
        "AWS_WEB_IDENTITY_TOKEN_FILE".into(),
        token.to_str().unwrap().into(),
    ));
    env.push((
        "AWS_ROLE_ARN".into(),
        "arn:aws:iam::111122223333:role/irsa-payments".into(),
    ));
    Quick::with(env.clone()).unwrap();
    assert_eq!(sim.calls()["sts:AssumeRoleWithWebIdentity"], 1);
    assert_eq!(form(&bodies(&sim, "sts:AssumeRole")[0])["RoleArn"], READER);

    std::fs::write(&token, "eyJhbGciOiJSUzI1NiJ9.expired.signature").unwrap();
    let error = Quick::with(env).err().unwrap();
    assert_eq!(error.exit as u8, 3);
    assert!(error.message.contains("ExpiredToken"), "{error:?}");
    assert!(!error.message.contains("expired.signature"), "{error:?}");
}

#[test]
fn a_pod_identity_agent_gives_credentials() {
    let sim = cloud(pods());
    let mut env = without_keys(&sim);
    env.push((
        "AWS_CONTAINER_CREDENTIALS_FULL_URI".into(),
        format!("{}/v1/credentials", sim.aws_url()),
    ));
    env.push((
        "AWS_CONTAINER_AUTHORIZATION_TOKEN".into(),
        "pod-identity-token".into(),
    ));
    Quick::with(env.clone()).unwrap();
    env.last_mut().unwrap().1 = "another-token".into();
    let error = Quick::with(env).err().unwrap();
    assert_eq!(error.exit as u8, 3);
    assert!(
        error.message.contains("the container credentials endpoint"),
        "{error:?}"
    );
}

#[test]
fn the_metadata_of_an_instance_gives_credentials() {
    let mut scenario = pods();
    for role in &mut scenario.accounts[0].roles {
        if role.name == "pod-reports" {
            role.trust = serde_json::json!({"Version": "2012-10-17", "Statement": [
                {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}]});
        }
    }
    let sim = cloud(scenario);
    let mut env = without_keys(&sim);
    env.retain(|(name, _)| name != "AWS_EC2_METADATA_DISABLED");
    env.push(("AWS_EC2_METADATA_SERVICE_ENDPOINT".into(), sim.aws_url()));
    Quick::with(env).unwrap();
}

#[test]
fn an_account_that_is_not_allowed_is_not_read() {
    let sim = lab(|_| {});
    let mut env = sim.env("lab");
    env.push((
        "BATON_ALLOWED_ACCOUNT_IDS".into(),
        "999900001111, 222200001111".into(),
    ));
    let error = Quick::with(env).err().unwrap();
    assert_eq!(error.exit as u8, 2);
    assert!(
        error.message.contains("111122223333") && error.message.contains("allowed-account-ids")
    );
    assert!(!sim.calls().keys().any(|call| call.starts_with("eks:")));
}

/// What was not approved does not leave the host, and AWS would refuse it too.
#[test]
fn a_right_that_was_not_approved_is_refused_here_and_in_the_session() {
    let sim = demo();
    let host = Host::reading(&sim, "prod");
    let lock = std::fs::read_to_string(host.value("BATON_LOCK")).unwrap();
    let narrower = lock
        .replace("\"iam: iam:ListRoles\",", "")
        .replace("\"iam: iam:ListRoles\"", "");
    assert_ne!(lock, narrower);
    let path = host.folder.path().join("narrow.lock");
    std::fs::write(&path, narrower).unwrap();
    let host = host.set("BATON_LOCK", path.to_str().unwrap());
    host.run(&[])
        .fails(6, &["`iam:ListRoles` is not among the rights of baton-eks"]);
    assert!(!sim.calls().contains_key("iam:ListRoles"));
    let policy = form(&bodies(&sim, "sts:AssumeRole")[0])["Policy"].clone();
    assert!(!policy.contains("iam:ListRoles"), "{policy}");
}
