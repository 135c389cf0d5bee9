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
    let read = rights(&[Group::Read]);
    let (with, without) = (reader(&read, true), reader(&read, false));
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

fn reader(rights: &[&'static Right], config_maps: bool) -> String {
    manifest(&Manifest {
        rights,
        config_maps,
        group: "baton-readers",
        grantable: &[],
    })
}

fn provisioner(rights: &[&'static Right], grantable: &[&str]) -> String {
    let grantable: Vec<Grantable> = grantable
        .iter()
        .map(|text| Grantable::parse(text).unwrap())
        .collect();
    manifest(&Manifest {
        rights,
        config_maps: false,
        group: "baton-provisioners",
        grantable: &grantable,
    })
}

/// The rules of one role of a manifest.
fn rules<'a>(manifest: &'a str, kind: &str, name: &str, namespace: &str) -> &'a str {
    manifest
        .split("---\n")
        .find(|part| {
            part.contains(&format!("\nkind: {kind}\n"))
                && part.contains(&format!("\n  name: {name}\n"))
                && (namespace.is_empty() || part.contains(&format!("\n  namespace: {namespace}\n")))
        })
        .unwrap_or_default()
}

#[test]
fn who_provisions_may_bind_what_may_be_granted_and_nothing_else() {
    let all = rights(&[Group::Read, Group::Provision]);
    let text = provisioner(
        &all,
        &["view", "edit", "admin@dev", "dev/deployer", "ops/system:x"],
    );
    let wide = rules(&text, "ClusterRole", "baton-provisioners", "");
    assert!(
        wide.contains(
            "resources: [clusterroles]\n    verbs: [bind]\n    resourceNames: [edit, view]\n"
        ),
        "{wide}"
    );
    assert!(
        wide.contains("resources: [clusterrolebindings, rolebindings]\n    verbs: [list, get, create, patch, delete]"),
        "{wide}"
    );
    assert!(!wide.contains("leases") && !wide.contains("escalate") && !wide.contains("admin"));
    let dev = rules(&text, "Role", "baton-provisioners-grants", "dev");
    assert!(dev.contains("resourceNames: [admin]") && dev.contains("resourceNames: [deployer]"));
    assert!(!dev.contains("rolebindings]"), "{dev}");
    let ops = rules(&text, "Role", "baton-provisioners-grants", "ops");
    assert!(
        ops.contains("resources: [roles]\n    verbs: [bind]\n    resourceNames: [\"system:x\"]")
    );
}

#[test]
fn who_grants_in_two_namespaces_changes_bindings_there_only() {
    let all = rights(&[Group::Read, Group::Provision]);
    let text = provisioner(&all, &["view@dev", "ops/deployer"]);
    let wide = rules(&text, "ClusterRole", "baton-provisioners", "");
    for verb in ["create", "patch", "delete", "bind]", "update"] {
        assert!(!wide.contains(verb), "{wide}");
    }
    for space in ["dev", "ops"] {
        let local = rules(&text, "Role", "baton-provisioners-grants", space);
        assert!(
            local.contains("resources: [rolebindings]\n    verbs: [get, create, patch, delete]"),
            "{local}"
        );
    }
    assert!(!text.contains("clusterrolebindings]\n    verbs: [list, get"));
}

#[test]
fn locks_are_named_one_by_one_and_are_the_provisioners_only() {
    let text = provisioner(&rights(&[Group::Read, Group::Provision]), &["view"]);
    let system = rules(&text, "Role", "baton-provisioners", "kube-system");
    assert!(
        system.contains("resources: [leases]\n    verbs: [get, update]\n    resourceNames: [baton-host-0, baton-host-1,"),
        "{system}"
    );
    assert!(
        system.contains("baton-host-f]")
            && system.contains("resources: [leases]\n    verbs: [create]")
    );
    assert!(!reader(&rights(&[Group::Read]), true).contains("leases"));
    let digits: Vec<String> = LEASES
        .iter()
        .map(|name| name.replace("baton-host-", ""))
        .collect();
    assert_eq!(digits.concat(), "0123456789abcdef");
}

#[test]
fn what_is_given_can_be_asked_for() {
    let provision = rights(&[Group::Provision]);
    let grantable = [Grantable::parse("view@dev").unwrap()];
    let asked: Vec<String> = needs(&Manifest {
        rights: &provision,
        config_maps: false,
        group: "any",
        grantable: &grantable,
    })
    .iter()
    .map(|need| {
        format!(
            "{} {} {}/{}",
            need.verb, need.resource, need.namespace, need.name
        )
    })
    .collect();
    assert_eq!(
        asked,
        [
            "update configmaps kube-system/aws-auth",
            "create configmaps kube-system/",
            "get leases kube-system/baton-host-0",
            "get leases kube-system/baton-host-f",
            "update leases kube-system/baton-host-0",
            "update leases kube-system/baton-host-f",
            "create leases kube-system/",
            "get rolebindings dev/",
            "create rolebindings dev/",
            "patch rolebindings dev/",
            "delete rolebindings dev/",
            "bind clusterroles dev/view",
        ]
    );
}

#[test]
fn a_mode_asks_for_what_it_has_use_for() {
    let all = rights(&[Group::Read, Group::Provision]);
    let needed = |mode: Mode| -> Vec<&'static Right> {
        all.iter()
            .copied()
            .filter(|right| mode.needs(right))
            .collect()
    };
    assert_eq!(needed(Mode::Any), all);
    let api = needed(Mode::parse("API").unwrap());
    assert!(!provisioner(&api, &["view"]).contains("aws-auth"));
    assert!(provisioning_policy(&api, &SCOPE, &[ROLE], false).contains("CreateAccessEntry"));
    let both = provisioner(
        &needed(Mode::parse("API_AND_CONFIG_MAP").unwrap()),
        &["view"],
    );
    assert!(
        both.contains("verbs: [get, update]\n    resourceNames: [aws-auth]"),
        "{both}"
    );
    assert!(!both.contains("resources: [configmaps]\n    verbs: [create]"));
    let maps = needed(Mode::parse("CONFIG_MAP").unwrap());
    assert!(provisioner(&maps, &["view"]).contains("resources: [configmaps]\n    verbs: [create]"));
    let policy = provisioning_policy(&maps, &SCOPE, &[ROLE], false);
    assert!(
        !policy.contains("AccessEntr") && !policy.contains("Deny"),
        "{policy}"
    );
    let words =
        |mode: Mode| -> Vec<&str> { needed(mode).iter().map(|right| right.words).collect() };
    assert!(!words(Mode::Api).contains(&"get configmaps kube-system/aws-auth"));
    assert!(words(Mode::ConfigMap).contains(&"eks:ListAccessPolicies"));
    assert_eq!(Mode::parse("api"), None);
}

#[test]
fn aws_refuses_entries_of_the_host_itself_and_administrators() {
    let all = rights(&[Group::Read, Group::Provision]);
    let policy = |administrators| -> serde_json::Value {
        serde_json::from_str(&provisioning_policy(&all, &SCOPE, &[ROLE], administrators)).unwrap()
    };
    let find = |policy: &serde_json::Value, sid: &str| {
        let all = policy["Statement"].as_array().unwrap();
        all.iter().find(|s| s["Sid"] == sid).cloned()
    };
    let with = policy(false);
    let own = find(&with, "NeverSelf").unwrap();
    assert_eq!(own["Effect"], "Deny");
    assert_eq!(own["Condition"]["ArnEquals"]["eks:principalArn"][0], ROLE);
    assert_eq!(own["Action"].as_array().unwrap().len(), 5);
    let create = find(&with, "CreateStandardEntries").unwrap();
    assert_eq!(
        create["Condition"]["StringEquals"]["eks:accessEntryType"],
        "STANDARD"
    );
    assert!(find(&with, "NeverAdministrator").is_some());
    assert!(find(&policy(true), "NeverAdministrator").is_none());
    // Each action is allowed once.
    assert_eq!(with.to_string().matches("eks:CreateAccessEntry").count(), 2);
    assert!(!with.to_string().contains("iam:PassRole"));
}

#[test]
fn roles_that_may_be_granted_are_written_in_three_ways() {
    let cluster = |name: &str, namespace: Option<&str>| Grantable::ClusterRole {
        name: name.to_owned(),
        namespace: namespace.map(str::to_owned),
    };
    assert_eq!(Grantable::parse("view"), Some(cluster("view", None)));
    assert_eq!(
        Grantable::parse("a:b@dev"),
        Some(cluster("a:b", Some("dev")))
    );
    assert_eq!(
        Grantable::parse("dev/deployer"),
        Some(Grantable::Role {
            namespace: "dev".to_owned(),
            name: "deployer".to_owned()
        })
    );
    for text in [
        "", "view@", "@dev", "/x", "dev/", "a/b/c", "view@Dev", "x@a b", " view", "dev\n/x",
    ] {
        assert_eq!(Grantable::parse(text), None, "{text}");
    }
}

/// The generated parts of `docs/permissions.md`, by the name in the marker
/// before each.
fn blocks() -> Vec<(&'static str, String)> {
    let read = rights(&[Group::Read]);
    let provision = rights(&[Group::Read, Group::Provision]);
    let provisioning_role = "arn:aws:iam::111122223333:role/BatonProvisioner";
    let needed = |mode: Mode| -> Vec<&'static Right> {
        let all = provision.iter().copied();
        all.filter(|right| mode.needs(right)).collect()
    };
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
            code(
                "json",
                &provisioning_policy(&provision, &SCOPE, &[provisioning_role, ROLE], false),
            ),
        ),
        (
            "access entry provision",
            code(
                "sh",
                &access_entry_command(&SCOPE, provisioning_role, "baton-provisioners"),
            ),
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
        ("manifest with", code("yaml", &reader(&read, true))),
        ("manifest without", code("yaml", &reader(&read, false))),
        (
            "manifest provision",
            code(
                "yaml",
                &provisioner(&needed(Mode::Both), &["view", "edit", "admin"]),
            ),
        ),
        (
            "manifest provision namespaces",
            code(
                "yaml",
                &provisioner(&needed(Mode::Api), &["view@dev", "edit@dev"]),
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
