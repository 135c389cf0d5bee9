//! A component looks through its own memory for what the host knows.

use cloud_sim::SECRET_CANARY;
use e2e::guests::Probe;
use serde_json::json;

use crate::lab::{Lab, get, iam};

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
