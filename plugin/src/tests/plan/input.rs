//! What a plan reads, and what it refuses.

use serde_json::json;

use super::apply::{plan, wish};
use super::asked::{ADMIN, VIEW, accounts, api, asked, body, refused};
use crate::bindings::Grant;
use crate::plan::Direction::{Grant as Give, Revoke as Take};
use crate::tests::cloud::*;

#[test]
fn a_plan_reads_what_concerns_its_principal() {
    let mut cloud = api();
    for at in 0..400 {
        let arn = user(&format!("u{at}"));
        cloud.entries.push(entry(&arn, &arn, &[]));
    }
    cloud.entries.push(entry(&user("bob"), &user("bob"), &[]));
    let calls = |cloud: &Cloud, direction, wish: &Grant| {
        let (mut session, seen) = open(cloud.clone(), &[]);
        let mut rounds = 1;
        while attribute(&session.plan(direction, wish).unwrap().attributes, "more").is_some() {
            rounds += 1;
            seen.borrow_mut().returned();
        }
        let seen = seen.borrow();
        (
            rounds,
            seen.calls
                .get("eks:DescribeAccessEntry")
                .copied()
                .unwrap_or_default(),
        )
    };
    let wish = asked("cluster_role:view:dev:member", &user("bob"));
    // Many: the own group, without asking who else is there.
    assert_eq!(calls(&cloud, Give, &wish), (1, 1));
    let group = body(&plan(&cloud, Give, &wish).unwrap().changes[0])["subjects"][0]["kind"].clone();
    assert_eq!(group, "Group");
    // A foreign subject has to be judged, whoever is there.
    let bound = cloud
        .clone()
        .bound_in("dev", "b", "view", &[&format!("User:{}", user("bob"))]);
    assert_eq!(calls(&bound, Take, &wish), (4, 401));
    // Few: read, to leave the entry as it is.
    cloud.entries.drain(..200);
    assert_eq!(calls(&cloud, Give, &wish), (2, 201));
}

#[test]
fn bad_input_is_one_sentence_and_nothing_else() {
    let mut cloud = api();
    accounts(&mut cloud);
    cloud.entries.push(entry(&role("node"), "", &[]));
    cloud.entries[0]["type"] = "EC2_LINUX".into();
    let mut cloud = cloud.with_role("node", &no_trust());
    cloud
        .iam
        .push((role("team/Ops"), "2023-01-01T00:00:00Z".into(), no_trust()));
    let view = "cluster_role:view:dev:member";
    for (entitlement, principal, kind) in [
        ("cluster_role:nope:dev:member", role("dev"), "not-found"),
        ("cluster_role:view:gone:member", role("dev"), "not-found"),
        ("namespace_role:dev/nope:member", role("dev"), "not-found"),
        (
            &format!("access_policy:{VIEW}:assigned:gone"),
            role("dev"),
            "not-found",
        ),
        (
            &format!("access_policy:{VIEW}x:assigned:dev"),
            role("dev"),
            "not-found",
        ),
        (
            &format!(
                "access_policy:{}:assigned:dev",
                VIEW.replace("aws:eks", "aws-cn:eks")
            ),
            role("dev"),
            "invalid-request",
        ),
        (
            "access_policy:arn:aws:eks::aws:cluster-access-policy/AmazonEKSAutoNodePolicy:assigned:dev",
            role("dev"),
            "unsupported",
        ),
        (
            &format!("access_policy:{VIEW}:assigned:dev"),
            "dev/ci".into(),
            "unsupported",
        ),
        (view, role("nope"), "not-found"),
        (view, role("Ops"), "invalid-request"),
        (view, role("DEV"), "invalid-request"),
        (view, role("node"), "unsupported"),
        (
            view,
            "arn:aws-cn:iam::111122223333:role/dev".into(),
            "invalid-request",
        ),
        (
            view,
            "arn:aws:iam::111122223333:group/x".into(),
            "invalid-request",
        ),
        (view, "dev/none".into(), "not-found"),
        (view, "*".into(), "invalid-request"),
        (
            &format!("role:{}:assignment", role("dev")),
            user("bob"),
            "unsupported",
        ),
    ] {
        let wish = if entitlement.starts_with("role:") {
            wish(
                ("role", &role("dev"), "assignment"),
                ("iam_user", &principal),
            )
        } else {
            asked(entitlement, &principal)
        };
        let (found, why) = refused(&cloud, Give, &wish);
        assert_eq!(found, kind, "{entitlement} {principal}: {why}");
        assert!(!why.is_empty() && !why.contains('\n'));
    }
    let sso = wish(
        ("cluster_role", "view", "dev:member"),
        ("sso_user", "arn:aws:identitystore:::user/x"),
    );
    assert!(refused(&cloud, Give, &sso).1.contains("name that role"));
    cloud.mode = json!("QUANTUM");
    assert_eq!(
        refused(&cloud, Take, &asked(view, &role("dev"))).0,
        "unsupported"
    );
    cloud.mode = json!("CONFIG_MAP");
    let policy = asked(&format!("access_policy:{ADMIN}:assigned:dev"), &role("dev"));
    assert_eq!(refused(&cloud, Give, &policy).0, "unsupported");
    assert!(plan(&cloud, Take, &policy).unwrap().changes.is_empty());
}
