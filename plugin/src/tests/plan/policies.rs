//! Access policies and their scopes.

use serde_json::{Value, json};

use super::apply::{carry_out, plan};
use super::asked::{VIEW, api, asked, body, refused, steps, told};
use crate::bindings::Plan;
use crate::plan::Direction::{Grant as Give, Revoke as Take};
use crate::tests::cloud::*;

#[test]
fn rule_21_namespaces_are_added_and_taken_one_by_one() {
    let policy = |scope: &str| {
        asked(
            &format!("access_policy:{VIEW}:assigned:{scope}"),
            &role("dev"),
        )
    };
    let with = |scope: Value| {
        let mut cloud = api();
        cloud.entries.push(entry(&role("dev"), "", &[]));
        cloud
            .associations
            .push((role("dev"), "AmazonEKSViewPolicy".into(), scope));
        cloud
    };
    let of = |list: &[&str]| json!({"type": "namespace", "namespaces": list});
    let scope = |plan: &Plan| body(&plan.changes[0])["accessScope"]["namespaces"].clone();
    let whole = with(json!({"type": "cluster"}));
    assert!(
        plan(&whole, Give, &policy("cluster"))
            .unwrap()
            .changes
            .is_empty()
    );
    assert_eq!(refused(&whole, Give, &policy("dev")).0, "conflict");
    let narrow = plan(&whole, Take, &policy("dev")).unwrap();
    assert!(narrow.changes.is_empty() && told(&narrow, "remaining")[0].contains("whole cluster"));
    let taken = plan(&whole, Take, &policy("cluster")).unwrap();
    assert_eq!(
        steps(&taken),
        [format!(
            "DELETE access-entries/{}/access-policies/{VIEW}",
            role("dev")
        )]
    );

    let some = with(of(&["z", "dev", "odd"]));
    assert_eq!(
        scope(&plan(&some, Give, &policy("default")).unwrap()),
        json!(["z", "dev", "odd", "default"])
    );
    assert!(
        plan(&some, Give, &policy("dev"))
            .unwrap()
            .changes
            .is_empty()
    );
    assert_eq!(refused(&some, Give, &policy("cluster")).0, "conflict");
    assert_eq!(
        scope(&plan(&some, Take, &policy("dev")).unwrap()),
        json!(["z", "odd"])
    );
    assert!(
        plan(&some, Take, &policy("cluster"))
            .unwrap()
            .changes
            .is_empty()
    );
    assert_eq!(
        scope(&plan(&some, Take, &policy("z")).unwrap()),
        json!(["dev", "odd"])
    );
    assert_eq!(
        steps(&plan(&with(of(&["dev"])), Take, &policy("dev")).unwrap()),
        steps(&taken)
    );

    // A pattern covers what exists, is never rewritten, and is an entitlement itself.
    let pattern = with(of(&["d*", "dev"]));
    assert!(
        plan(&pattern, Give, &policy("default"))
            .unwrap()
            .changes
            .is_empty()
    );
    let (kind, why) = refused(&pattern, Take, &policy("dev"));
    assert!(kind == "conflict" && why.contains("d*"), "{why}");
    assert_eq!(
        refused(&with(of(&["d*"])), Take, &policy("dev")).0,
        "conflict"
    );
    assert_eq!(
        scope(&plan(&pattern, Take, &policy("d*")).unwrap()),
        json!(["dev"])
    );
    assert_eq!(
        scope(&plan(&some, Give, &policy("d*")).unwrap()),
        json!(["z", "dev", "odd", "d*"])
    );

    // The entry that was made for it goes with the last of it.
    let mut cloud = api();
    let made = carry_out(&mut cloud, Give, &policy("dev")).unwrap();
    assert_eq!(made.changes.len(), 2);
    carry_out(&mut cloud, Give, &policy("default")).unwrap();
    assert_eq!(
        carry_out(&mut cloud, Take, &policy("dev"))
            .unwrap()
            .changes
            .len(),
        1
    );
    assert_eq!(
        carry_out(&mut cloud, Take, &policy("default"))
            .unwrap()
            .changes
            .len(),
        2
    );
    assert!(cloud.entries.is_empty());
}
