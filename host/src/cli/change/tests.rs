#![expect(clippy::unwrap_used, reason = "tests")]

use serde_json::json;

use super::*;
use crate::sandbox::contract::types::{Grant, ObjectId};

fn order(direction: Direction, mode: Mode) -> Order {
    let object = |kind: &str, id: &str| ObjectId {
        kind: kind.to_owned(),
        id: id.to_owned(),
    };
    Order {
        direction,
        wish: Grant {
            on: object("cluster_role", "view"),
            slug: "dev:member".to_owned(),
            principal: object("role", "arn:aws:iam::111122223333:role/dev"),
            attributes: Vec::new(),
        },
        entitlement: "cluster_role:view:dev:member".to_owned(),
        asked_by: "ana".to_owned(),
        operation: "00ff".to_owned(),
        mode,
    }
}

fn binding(result: &str) -> Applied {
    Applied {
        summary: "binds view in dev to the role dev".to_owned(),
        object: "RoleBinding dev/baton-host-1".to_owned(),
        step: "access".to_owned(),
        upstream: "kubernetes".to_owned(),
        method: "POST".to_owned(),
        url_path: "/apis/rbac.authorization.k8s.io/v1/namespaces/dev/rolebindings".to_owned(),
        body: Some(json!({"kind": "RoleBinding", "metadata": {"name": "baton-host-1"}})),
        before: None,
        after: Some("view in dev:\n  Group baton-host:1\u{1b}[2J".to_owned()),
        result: result.to_owned(),
    }
}

fn done(state: State, changes: Vec<Applied>) -> Done {
    Done {
        state,
        operation: "00ff".to_owned(),
        rounds: 1,
        changes,
        remaining: Vec::new(),
        warnings: Vec::new(),
    }
}

fn says(direction: Direction, mode: Mode, done: &Done) -> String {
    let target = AuditTarget::File("sync.audit.jsonl".into());
    summary(&order(direction, mode), done, &target, mode != Mode::Apply)
}

#[test]
fn a_plan_shows_all_that_would_be_sent() {
    let text = says(
        Direction::Grant,
        Mode::Plan,
        &done(State::Planned, vec![binding("planned")]),
    );
    assert_eq!(
        text,
        "to grant cluster_role:view:dev:member\n      to role arn:aws:iam::111122223333:role/dev\n\
         this change would be sent:\n\n\
         \x201. binds view in dev to the role dev   [planned]\n\
         \x20\x20\x20\x20object RoleBinding dev/baton-host-1\n\
         \x20\x20\x20\x20send   POST /apis/rbac.authorization.k8s.io/v1/namespaces/dev/rolebindings (kubernetes)\n\
         \x20\x20\x20\x20after  view in dev:\n\
         \x20\x20\x20\x20         Group baton-host:1\\u{1b}[2J\n\
         \x20\x20\x20\x20body   {\n\
         \x20\x20\x20\x20         \"kind\": \"RoleBinding\",\n\
         \x20\x20\x20\x20         \"metadata\": {\n\
         \x20\x20\x20\x20           \"name\": \"baton-host-1\"\n\
         \x20\x20\x20\x20         }\n\
         \x20\x20\x20\x20       }\n\n"
    );
    let two = done(
        State::Planned,
        vec![binding("dry run 201"), binding("not tried")],
    );
    let text = says(Direction::Revoke, Mode::DryRun, &two);
    assert!(
        text.contains("these 2 changes were tried, and none was made:"),
        "{text}"
    );
    assert!(text.contains("\n     from role"), "{text}");
}

#[test]
fn what_was_done_is_said_with_what_remains() {
    let mut changed = done(State::Changed, vec![binding("sent 201")]);
    changed.remaining = vec!["cluster_role:view:all:member gives it everywhere".to_owned()];
    changed.warnings = vec!["one writer per cluster".to_owned()];
    let text = says(Direction::Revoke, Mode::Apply, &changed);
    assert!(
        text.starts_with("revoked cluster_role:view:dev:member\n   from role arn"),
        "{text}"
    );
    assert!(
        text.contains("\nstill held: cluster_role:view:all:member"),
        "{text}"
    );
    assert!(
        text.contains("\nwarning: one writer per cluster\n"),
        "{text}"
    );
    assert!(
        text.ends_with("operation 00ff, written to sync.audit.jsonl; the next sync shows it\n")
    );
    assert!(
        !text.contains("\"kind\""),
        "a body that was sent is in the audit log: {text}"
    );
}

#[test]
fn what_was_so_before_is_said_and_no_error() {
    let text = says(
        Direction::Grant,
        Mode::Apply,
        &done(State::AlreadyGranted, Vec::new()),
    );
    assert!(text.contains("holds cluster_role:view:dev:member already; nothing was sent"));
    let text = says(
        Direction::Revoke,
        Mode::Apply,
        &done(State::AlreadyRevoked, Vec::new()),
    );
    assert!(
        text.contains("does not hold cluster_role:view:dev:member"),
        "{text}"
    );
}

#[test]
fn the_report_for_programs_is_flat() {
    let done = done(State::Changed, vec![binding("sent 201")]);
    let order = order(Direction::Grant, Mode::Apply);
    let report = serde_json::to_value(Report {
        direction: order.direction,
        entitlement: &order.entitlement,
        principal: order.principal(),
        done: &done,
    })
    .unwrap();
    assert_eq!(report["state"], "changed");
    assert_eq!(report["direction"], "grant");
    assert_eq!(
        report["principal"],
        "role:arn:aws:iam::111122223333:role/dev"
    );
    assert_eq!(report["changes"][0]["method"], "POST");
    assert!(report["changes"][0].get("before").is_none());
}

#[test]
fn each_failure_has_its_exit_code() {
    use crate::provision::Cause;
    let failed = |cause, left: &[&str]| {
        CliError::from(ProvisionError::Failed {
            cause,
            what: "the binding could not be made".to_owned(),
            hint: None,
            undone: vec!["RoleBinding dev/x".to_owned()],
            left: left.iter().map(|text| (*text).to_owned()).collect(),
        })
    };
    for (cause, exit) in [
        (Cause::NotPermitted, Exit::Denied),
        (Cause::Conflict, Exit::Unavailable),
        (Cause::Stopped, Exit::Interrupted),
        (Cause::Connector, Exit::Plugin),
        (Cause::Audit, Exit::Failure),
    ] {
        assert_eq!(failed(cause, &[]).exit, exit, "{cause:?}");
    }
    assert_eq!(failed(Cause::Stopped, &[]).hint, None);
    let left = failed(Cause::Unavailable, &["RoleBinding dev/x"]);
    assert!(
        left.message.contains("RoleBinding dev/x"),
        "{}",
        left.message
    );
    assert!(left.hint.unwrap().contains("the same command again"));
    let refused = |rule| {
        let error = CliError::from(ProvisionError::Refused {
            rule,
            sentence: "no".to_owned(),
            hint: None,
        });
        error.exit
    };
    assert_eq!(refused(Rule::Switch), Exit::Usage);
    assert_eq!(refused(Rule::Approval), Exit::Plugin);
    assert_eq!(refused(Rule::Protected), Exit::NotFound);
}

#[test]
fn an_order_that_is_stopped_at_once_has_an_end_in_the_log() {
    let (audit, rows) = Audit::memory();
    let order = order(Direction::Grant, Mode::Apply);
    let principal = order.principal();
    let asked = Row {
        event: Event::Asked,
        message: None,
        ..stopped_at_once(&order, &principal, "c", "me", "sha256:00")
    };
    audit.row(&asked).unwrap();
    audit
        .row(&stopped_at_once(&order, &principal, "c", "me", "sha256:00"))
        .unwrap();
    let bytes = rows.lock().unwrap().clone();
    let found = crate::provision::audit::verify(&bytes[..]).unwrap();
    assert_eq!((found.rows, found.unfinished), (2, Vec::new()));
    let text = String::from_utf8(bytes).unwrap();
    assert!(text.contains("stopped at once"), "{text}");
}
