//! Secrets: not in what is printed, logged or written, nor in the process list,
//! whether it goes well or badly.

use std::collections::BTreeSet;

use cloud_sim::{CONFIG_MAP_CANARY, Effect, Fault, SECRET_CANARY, Sim};

use crate::harness::*;

/// Every credential that went over the wire: signatures, session tokens,
/// bearer tokens.
fn sent(sim: &Sim) -> BTreeSet<String> {
    let mut secrets = BTreeSet::new();
    for request in sim.requests() {
        for (name, value) in request.headers {
            match name.as_str() {
                "x-amz-security-token" => drop(secrets.insert(value)),
                "authorization" => {
                    let token = value.strip_prefix("Bearer ").unwrap_or(&value);
                    let token = token.split("Signature=").last().unwrap_or(token);
                    secrets.insert(token.to_owned());
                }
                _ => {}
            }
        }
    }
    secrets
}

#[track_caller]
fn holds_none(what: &str, text: &str, secrets: &BTreeSet<String>) {
    for secret in secrets {
        assert!(!text.contains(secret.as_str()), "{what} holds {secret}");
    }
}

/// Runs it with the loudest log in both forms and looks at everything that it
/// left behind.
fn looks_for_secrets(sim: &Sim, cluster: &str, args: &[&str], code: i32) {
    for format in ["json", "console"] {
        let host = Host::reading(sim, cluster)
            .set("BATON_LOG_LEVEL", "trace")
            .set("BATON_LOG_FORMAT", format);
        let run = host.run(args);
        assert_eq!(run.code, Some(code), "{}", run.err);
        let mut secrets = sent(sim);
        assert!(!secrets.is_empty());
        secrets.extend(host.secrets());
        secrets.extend([SECRET_CANARY.to_owned(), CONFIG_MAP_CANARY.to_owned()]);
        holds_none("standard output", &run.out, &secrets);
        holds_none("standard error", &run.err, &secrets);
        assert!(
            !args.is_empty() || run.err.len() > 500,
            "the log is not loud: {}",
            run.err
        );
        if host.file().exists() {
            let bytes = std::fs::read(host.file()).unwrap();
            let database = zstd::decode_all(&bytes[5..]).unwrap();
            holds_none("the file", &String::from_utf8_lossy(&database), &secrets);
            assert!(
                String::from_utf8_lossy(&database).contains("role/eks-reader"),
                "it is readable"
            );
        }
    }
}

#[test]
fn nothing_secret_is_left_by_a_sync_that_works() {
    let sim = demo();
    looks_for_secrets(&sim, "prod", &[], 0);
    looks_for_secrets(&sim, "dev", &["check"], 0);
}

#[test]
fn nothing_secret_is_left_by_a_sync_that_fails() {
    let sim = demo();
    // IAM answers a wrong signature with the canonical request in clear.
    sim.inject(Fault::always(
        "iam:ListRoles",
        Effect::Answer {
            status: 403,
            content_type: "text/xml".into(),
            body: "<ErrorResponse><Error><Type>Sender</Type><Code>SignatureDoesNotMatch</Code><Message>The Canonical String for this request should have been 'POST x-amz-security-token:canary'</Message></Error></ErrorResponse>".into(),
        },
    ));
    looks_for_secrets(&sim, "prod", &[], 3);
    let run = Host::reading(&sim, "prod")
        .run(&[])
        .fails(3, &["iam:ListRoles"]);
    assert!(!run.err.contains("Canonical"), "{}", run.err);

    let sim = demo();
    sim.inject(Fault::always("sts:AssumeRole", Effect::Echo));
    looks_for_secrets(&sim, "dev", &["check"], 3);
}

#[test]
fn the_process_list_shows_no_secret() {
    let sim = lab(|_| {});
    let host = Host::reading(&sim, "lab");
    sim.inject(Fault::always(
        "sts:GetCallerIdentity",
        Effect::Latency(120_000),
    ));
    let mut child = host.start(&["--quiet"]);
    wait_until("the first call", || {
        sim.calls().contains_key("sts:GetCallerIdentity")
    });
    let line = std::fs::read(format!("/proc/{}/cmdline", child.id())).unwrap();
    let line = String::from_utf8_lossy(&line).into_owned();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(line.ends_with("baton-host\0--quiet\0"), "{line}");
}
