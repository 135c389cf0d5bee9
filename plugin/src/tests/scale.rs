//! Large clusters: bounded pages, and nothing held that a page does not need.

use serde_json::json;

use super::cloud::*;

#[test]
fn a_thousand_namespaces_times_three_hundred_roles_stream() {
    let mut cloud = Cloud::default();
    cloud.namespaces = (0..1000).map(|n| format!("ns-{n:04}")).collect();
    cloud.cluster_roles = (0..300)
        .map(|n| json!({"metadata": meta("", &format!("role-{n:03}"))}))
        .collect();
    let (mut session, _) = open(cloud, &[]);
    let mut token = None;
    let (mut count, mut pages, mut last) = (0_usize, 0, String::new());
    loop {
        let page = session.list_entitlements("cluster_role", token).unwrap();
        assert!(page.items.len() <= 1000);
        for e in &page.items {
            let id = format!(
                "{}\u{0}{}",
                e.on.id,
                if e.slug == "all:member" { "" } else { &e.slug }
            );
            assert!(id > last, "stable order, nothing twice");
            last = id;
        }
        count += page.items.len();
        pages += 1;
        token = page.next;
        if token.is_none() {
            break;
        }
    }
    assert_eq!(count, 300 * 1001);
    assert!(pages < 500);
}

#[test]
fn long_paths_and_many_holders_keep_pages_small() {
    let mut cloud = Cloud::default().bound("a", "view", &["Group:everybody"]);
    cloud.entries = (0..3000)
        .map(|n| {
            entry(
                &user(&format!("{}/u{n:04}", "p".repeat(400))),
                "",
                &["everybody"],
            )
        })
        .collect();
    for n in 0..25 {
        cloud = cloud.bound(
            &format!("{}-{n}", "b".repeat(250)),
            "view",
            &["Group:everybody"],
        );
    }
    let (mut session, _) = open(cloud, &[]);
    let mut token = None;
    let mut count = 0;
    loop {
        let page = session.list_grants("cluster_role", token).unwrap();
        let bytes: usize = page
            .items
            .iter()
            .map(|g| {
                g.principal.id.len()
                    + g.slug.len()
                    + g.attributes
                        .iter()
                        .map(|(k, v)| k.len() + v.len())
                        .sum::<usize>()
            })
            .sum();
        let notes: usize = page.attributes.iter().map(|(k, v)| k.len() + v.len()).sum();
        assert!(bytes + notes < 1024 * 1024, "{bytes} {notes}");
        assert!(
            page.items
                .iter()
                .all(|g| attribute(&g.attributes, "metadata").unwrap().len() <= 8 * 1024)
        );
        count += page.items.len();
        token = page.next;
        if token.is_none() {
            break;
        }
    }
    assert_eq!(count, 3000);
}

#[test]
fn many_sessions_templates_do_not_make_lookups_slow() {
    let mut cloud = Cloud::default();
    cloud.entries = (0..2000)
        .map(|n| entry(&role(&format!("r{n:04}")), "", &[]))
        .collect();
    cloud.iam = (0..2000)
        .map(|n| {
            (
                role(&format!("r{n:04}")),
                "2023-01-01T00:00:00Z".to_string(),
                no_trust(),
            )
        })
        .collect();
    cloud.cluster_role_bindings = (0..40)
        .map(|b| {
            let subjects: Vec<String> = (0..500)
                .map(|n| {
                    format!(
                        "User:arn:aws:sts::{ACCOUNT}:assumed-role/r{:04}/s{n}",
                        b * 50
                    )
                })
                .collect();
            binding(
                "",
                &format!("b{b}"),
                "view",
                &subjects.iter().map(String::as_str).collect::<Vec<_>>(),
            )
        })
        .collect();
    let file = sync(cloud);
    assert_eq!(file.grants.len(), 40);
    assert_eq!(
        file.metadata(&format!(
            "cluster_role:view:all:member:role:{}",
            role("r0000")
        ))["path_count"],
        500
    );
}
