#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::upstream::rights::{CEILING, Group};

const SCOPE: Scope<'_> = Scope {
    partition: "aws",
    region: "eu-central-1",
    account: "111122223333",
    cluster: "prod",
};
const ROLE: &str = "arn:aws:iam::111122223333:role/BatonReader";

fn rights(groups: &[Group]) -> Vec<&'static Right> {
    CEILING
        .iter()
        .filter(|right| groups.contains(&right.group))
        .collect()
}

#[test]
fn the_session_policy_names_this_cluster_and_nothing_else() {
    let policy: serde_json::Value =
        serde_json::from_str(&session_policy(&rights(&[Group::Read]), &SCOPE)).unwrap();
    let statements = policy["Statement"].as_array().unwrap();
    let resources: Vec<_> = statements
        .iter()
        .map(|s| s["Resource"].as_str().unwrap())
        .collect();
    assert_eq!(
        resources,
        [
            "arn:aws:eks:eu-central-1:111122223333:cluster/prod",
            "arn:aws:eks:eu-central-1:111122223333:access-entry/prod/*",
            "arn:aws:eks:eu-central-1:111122223333:podidentityassociation/prod/*",
            "*",
        ]
    );
    assert_eq!(
        statements[3]["Action"],
        serde_json::json!(["eks:ListAccessPolicies", "iam:ListRoles"])
    );
    let all = policy.to_string();
    for write in [
        "Create",
        "Delete",
        "Associate",
        "Disassociate",
        "Tag",
        "Update",
    ] {
        let named = all.matches(&format!("eks:{write}")).count();
        assert_eq!(named, 0, "{write}");
    }
}

#[test]
fn the_session_policy_fits_with_the_longest_names() {
    let cluster = "c".repeat(100);
    let scope = Scope {
        partition: "aws-us-gov",
        region: "us-gov-west-1",
        account: "111122223333",
        cluster: &cluster,
    };
    assert!(session_policy(&rights(&[Group::Read]), &scope).len() < 1400);
    let all = session_policy(
        &rights(&[Group::Read, Group::Identities, Group::Provision]),
        &scope,
    );
    assert!(all.len() < 2048, "{}", all.len());
}

#[test]
fn a_plugin_without_aws_rights_leaves_the_host_what_it_needs() {
    let policy = session_policy(&[], &SCOPE);
    assert_eq!(
        policy,
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["eks:DescribeCluster"],"Resource":"arn:aws:eks:eu-central-1:111122223333:cluster/prod"}]}"#
    );
}

#[test]
fn the_manifest_without_config_maps_cannot_list_them() {
    let with = manifest(&rights(&[Group::Read]), true, "baton-readers", &[]);
    let without = manifest(&rights(&[Group::Read]), false, "baton-readers", &[]);
    assert!(
        with.contains("resources: [configmaps, namespaces, serviceaccounts]\n    verbs: [list]"),
        "{with}"
    );
    assert!(
        without.contains("resources: [namespaces, serviceaccounts]\n    verbs: [list]"),
        "{without}"
    );
    for text in [with, without] {
        assert!(
            text.contains(
                "resources: [configmaps]\n    verbs: [get]\n    resourceNames: [aws-auth]"
            )
        );
        assert!(!text.contains("secrets") && !text.contains("watch") && !text.contains("bind]"));
    }
}

#[test]
fn shell_words_cannot_become_commands() {
    let scope = Scope {
        cluster: "a'; rm -rf / #",
        ..SCOPE
    };
    let command = access_entry_command(&scope, ROLE, "baton-readers");
    assert!(
        command.contains("--cluster-name 'a'\\''; rm -rf / #' "),
        "{command}"
    );
}

#[test]
fn trust_asks_for_the_external_id() {
    let policy = trust_policy(Trusted::Principal {
        arn: ROLE,
        external_id: Some("tenant-1"),
    });
    let policy: serde_json::Value = serde_json::from_str(&policy).unwrap();
    assert_eq!(
        policy["Statement"][0]["Condition"]["StringEquals"]["sts:ExternalId"],
        "tenant-1"
    );
}

/// The generated parts of `docs/permissions.md`, by the name in the marker
/// before each.
fn blocks() -> Vec<(&'static str, String)> {
    let read = rights(&[Group::Read]);
    let provision = rights(&[Group::Read, Group::Provision]);
    let table = |group: Group| {
        let mut table = "| right | what for |\n|---|---|\n".to_owned();
        for right in CEILING.iter().filter(|right| right.group == group) {
            table.push_str(&format!("| `{}` | {} |\n", right.words, right.about));
        }
        table
    };
    let code = |language: &str, text: &str| format!("```{language}\n{}\n```\n", text.trim_end());
    vec![
        ("rights read", table(Group::Read)),
        ("rights identities", table(Group::Identities)),
        ("rights provision", table(Group::Provision)),
        ("iam policy", code("json", &iam_policy(&read, &SCOPE))),
        (
            "iam policy identities",
            code(
                "json",
                &iam_policy(&rights(&[Group::Read, Group::Identities]), &SCOPE),
            ),
        ),
        (
            "iam policy provision",
            code("json", &iam_policy(&provision, &SCOPE)),
        ),
        (
            "trust policy",
            code(
                "json",
                &trust_policy(Trusted::Principal {
                    arn: "arn:aws:iam::111122223333:role/BatonHost",
                    external_id: Some("EXTERNAL-ID"),
                }),
            ),
        ),
        (
            "trust policy pod identity",
            code("json", &trust_policy(Trusted::PodIdentity)),
        ),
        (
            "access entry",
            code("sh", &access_entry_command(&SCOPE, ROLE, "baton-readers")),
        ),
        (
            "manifest with",
            code("yaml", &manifest(&read, true, "baton-readers", &[])),
        ),
        (
            "manifest without",
            code("yaml", &manifest(&read, false, "baton-readers", &[])),
        ),
        (
            "manifest provision",
            code(
                "yaml",
                &manifest(
                    &provision,
                    false,
                    "baton-provisioners",
                    &["view", "edit", "admin"],
                ),
            ),
        ),
        (
            "session policy",
            code("json", &session_policy(&read, &SCOPE)),
        ),
    ]
}

/// `UPDATE_DOCS=1 cargo test` writes the page anew.
#[test]
fn the_page_says_what_the_generator_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/permissions.md");
    let page = std::fs::read_to_string(path).unwrap();
    let mut expected = page.clone();
    for (name, text) in blocks() {
        let (begin, end) = (format!("<!-- generated: {name} -->\n"), "<!-- end -->");
        let start = expected
            .find(&begin)
            .unwrap_or_else(|| unreachable!("no block `{name}` in the page"))
            + begin.len();
        let stop = start + expected.get(start..).unwrap().find(end).unwrap();
        expected.replace_range(start..stop, &text);
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &expected).unwrap();
    }
    assert_eq!(page.matches("<!-- generated:").count(), blocks().len());
    assert_eq!(page, expected, "docs/permissions.md is out of date");
}
