//! The other commands: what they print for people and for programs.

use cloud_sim::{Scenario, SimHandle};
use serde_json::{Value, json};

use crate::harness::*;

#[test]
fn check_goes_through_everything_and_says_who_we_are() {
    let sim = demo();
    let host = Host::reading(&sim, "prod");
    host.run(&["check"]).ok().says(&[
        "ok      credentials  eks-access-key, then arn:aws:iam::111122223333:role/eks-reader",
        "ok      identity     arn:aws:sts::111122223333:assumed-role/eks-reader/baton-host-prod in account 111122223333",
        "narrowed to the plugin's rights by a session policy",
        "ok      cluster      arn:aws:eks:eu-west-1:111122223333:cluster/prod (ACTIVE), Kubernetes 1.34, authentication mode API_AND_CONFIG_MAP",
        "ok      API server   TLS and token are good; version v1.34.2",
        "ok      RBAC         8 rights of the plugin are held in the cluster",
    ]);
    assert!(!host.file().exists(), "a check writes nothing");
    assert_eq!(sim.mutations(), [""; 0]);
    let value = host.run(&["check", "--format", "json"]).ok().json();
    assert_eq!(value["ok"], true);
    let names: Vec<&str> = value["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| step["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        ["credentials", "identity", "cluster", "API server", "RBAC"]
    );
}

#[test]
fn check_says_what_is_missing_and_the_line_that_gives_it() {
    let sim = lab(|scenario| {
        cluster(scenario, "lab").objects[0]["rules"] =
            json!([{"apiGroups": [""], "resources": ["namespaces"], "verbs": ["list"]}]);
    });
    let run = Host::reading(&sim, "lab").run(&["check"]);
    assert_eq!(run.code, Some(3), "{run:?}");
    run.says(&[
        "ok      API server",
        "FAILED  RBAC         `list serviceaccounts` is not held",
        "hint: add the rule {apiGroups: [\"\"], resources: [serviceaccounts], verbs: [list]}",
        "missing RBAC         `list configmaps` is not held; config maps will not be listed",
        "FAILED  RBAC         `list rbac.authorization.k8s.io/rolebindings` is not held",
    ]);
    let sim = lab(|scenario| drop(cluster(scenario, "lab").entries.remove(0)));
    let run = Host::reading(&sim, "lab").run(&["check"]);
    assert_eq!(run.code, Some(3), "{run:?}");
    run.says(&["ok      cluster", "FAILED  API server", "hint: the cluster maps no user to arn:aws:sts::111122223333:assumed-role/eks-reader/baton-host-lab"]);
    let run = Host::reading(&sim, "lab")
        .set("BATON_EKS_CLUSTER_NAME", "bal")
        .run(&["check", "--format=json"]);
    assert_eq!(run.code, Some(4));
    assert_eq!(run.json()["ok"], false);
    assert_eq!(run.json()["steps"][2]["name"], "cluster");
}

/// A cluster with something of every kind, whose reader has exactly what
/// `permissions` prints.
fn with_permissions(args: &[&str]) -> SimHandle {
    let host = Host::new()
        .set("BATON_EKS_REGION", "eu-west-1")
        .set("BATON_EKS_CLUSTER_NAME", "prod")
        .set("BATON_ROLE_ARN", "arn:aws:iam::111122223333:role/least")
        .set("BATON_EXTERNAL_ID", "tenant-1");
    let mut all = vec!["permissions", "--format", "json"];
    all.extend(args);
    let printed = host.run(&all).ok().json();

    let mut scenario = Scenario::demo().unwrap();
    // The manifest, as kubectl would apply it.
    let manifest = printed["kubernetes_manifest"].as_str().unwrap();
    let objects: String = manifest
        .split("---\n")
        .map(|one| format!("  - {}\n", one.trim_end().replace('\n', "\n    ")))
        .collect();
    let text =
        format!("accounts: [{{id: '111122223333'}}]\nclusters:\n- name: x\n  objects:\n{objects}");
    let applied = Scenario::from_yaml(&text)
        .unwrap()
        .clusters
        .remove(0)
        .objects;
    assert!(applied.len() >= 4, "{manifest}");
    // The policy: the simulated IAM takes actions; resources are in the session policy.
    let actions: Vec<String> = printed["iam_policy"]["Statement"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|statement| statement["Action"].as_array().unwrap())
        .map(|action| action.as_str().unwrap().to_owned())
        .collect();
    assert!(
        !actions.iter().any(|action| action.contains('*')),
        "{actions:?}"
    );
    // The trust policy, with the two words that a person fills in.
    let trust = printed["trust_policy"]
        .to_string()
        .replace("YOUR_EXTERNAL_ID", "tenant-1");
    let trust: Value =
        serde_json::from_str(&trust.replace("111122223333:root", "111122223333:user/baton"))
            .unwrap();
    let mut least = scenario.accounts[0].roles[0].clone();
    (least.name, least.allow, least.trust) = ("least".into(), Some(actions), trust);
    scenario.accounts[0].roles.push(least);
    // The access entry.
    let command = printed["access_entry_command"].as_str().unwrap();
    let words: Vec<&str> = command
        .split_whitespace()
        .filter(|word| *word != "\\")
        .collect();
    let after =
        |name: &str| words[words.iter().position(|word| *word == name).unwrap() + 1].to_owned();
    assert_eq!(
        (after("--cluster-name"), after("--type")),
        ("prod".into(), "STANDARD".into())
    );
    let prod = cluster(&mut scenario, "prod");
    let mut entry = prod.entries[0].clone();
    entry.principal = after("--principal-arn");
    entry.groups = vec![after("--kubernetes-groups")];
    prod.entries.push(entry);
    // The identity that the demonstration reads with is gone.
    prod.objects.retain(|object| {
        !object["metadata"]["name"]
            .as_str()
            .unwrap()
            .starts_with("governance")
    });
    prod.objects.extend(applied);
    let connect = prod.connect.as_mut().unwrap();
    connect.role_arn = Some("arn:aws:iam::111122223333:role/least".into());
    connect.external_id = Some("tenant-1".into());
    cloud(scenario)
}

#[test]
fn what_permissions_prints_suffices_with_config_maps() {
    let sim = with_permissions(&[]);
    let host = Host::reading(&sim, "prod");
    let run = host.run(&[]).ok();
    assert!(!run.out.contains("not read"), "{}", run.out);
    assert_eq!(Access::read(&host.file()).objects("configmap").len(), 13);
    host.run(&["check"])
        .ok()
        .says(&["8 rights of the plugin are held"]);
}

#[test]
fn what_permissions_prints_suffices_without_config_maps() {
    let sim = with_permissions(&["--no-config-maps"]);
    let host = Host::reading(&sim, "prod");
    host.run(&[]).ok().says(&["not read: configmap: "]);
    let access = Access::read(&host.file());
    assert_eq!(access.objects("configmap").len(), 0);
    assert!(
        access
            .lines()
            .iter()
            .any(|line| line.contains("aws-auth") || line.contains("role:@role/break-glass")),
        "aws-auth is read all the same"
    );
    host.run(&["check"])
        .ok()
        .says(&["missing RBAC", "7 rights of the plugin are held"]);
}

#[test]
fn permissions_asks_nobody_and_reads_well() {
    let host = Host::new()
        .set("BATON_EKS_REGION", "cn-north-1")
        .set("BATON_EKS_CLUSTER_NAME", "prod");
    host.run(&["permissions", "--account-id", "444455556666"]).ok().says(&[
        "# 1. IAM policy of the role arn:aws-cn:iam::444455556666:role/baton-reader",
        "arn:aws-cn:eks:cn-north-1:444455556666:cluster/prod",
        "# 2. Trust policy",
        "# 3. Make the role known to the cluster\naws eks create-access-entry --region cn-north-1 --cluster-name prod",
        "# 4. Its rights in the cluster: kubectl apply -f -\napiVersion: rbac.authorization.k8s.io/v1",
    ]);
}

#[test]
fn capabilities_and_config_are_what_other_tools_read() {
    let host = Host::new();
    let value = host.run(&["capabilities"]).ok().json();
    let kinds: Vec<&str> = value["resourceTypeCapabilities"]
        .as_array()
        .unwrap()
        .iter()
        .map(|kind| kind["resourceType"]["id"].as_str().unwrap())
        .collect();
    assert_eq!(
        kinds,
        [
            "access_policy",
            "cluster_role",
            "configmap",
            "kube_group",
            "kube_user",
            "namespace",
            "namespace_role",
            "role",
            "service_account"
        ]
    );
    assert_eq!(
        value["connectorCapabilities"],
        json!(["CAPABILITY_PROVISION", "CAPABILITY_SYNC"])
    );
    let value = host.run(&["config"]).ok().json();
    let fields = value["fields"].as_array().unwrap();
    let field = |name: &str| {
        fields
            .iter()
            .find(|field| field["name"] == name)
            .unwrap_or_else(|| panic!("{name}"))
    };
    assert_eq!(field("eks-region")["isRequired"], true);
    assert_eq!(field("eks-secret-access-key")["isSecret"], true);
    assert_eq!(
        field("namespace-entitlements")["stringField"]["rules"]["in"],
        json!(["all", "bound"])
    );
}

#[test]
fn help_names_every_setting_and_needs_no_cluster() {
    let run = Host::new().run(&["--help"]).ok().says(&[
        "Examples:",
        "--eks-cluster-name",
        "$BATON_EKS_CLUSTER_NAME",
        "--namespace-entitlements",
        "--role-arn",
        "BATON_EKS_SECRET_ACCESS_KEY",
        "check",
        "permissions",
    ]);
    assert!(
        !run.out.contains("--eks-secret-access-key"),
        "a secret has no flag"
    );
    Host::new()
        .unset("BATON_PLUGIN")
        .run(&["--help"])
        .ok()
        .says(&["--plugin"]);
    Host::new()
        .run(&["--version"])
        .ok()
        .says(&[env!("CARGO_PKG_VERSION")]);
    for shell in ["bash", "zsh", "fish"] {
        Host::new()
            .run(&["completion", shell])
            .ok()
            .says(&["baton-host", "permissions"]);
    }
}

/// Everything that the component can call, by name.
#[test]
fn inspect_shows_what_a_plugin_imports_and_may_do() {
    let file = plugin();
    let file = file.to_str().unwrap();
    let host = Host::new().set("BATON_LOCK", "none.lock");
    let value = host
        .run(&["plugin", "inspect", "--format", "json", file])
        .ok()
        .json();
    let mut imports: Vec<&str> = value["imports"]
        .as_array()
        .unwrap()
        .iter()
        .map(|import| import.as_str().unwrap())
        .collect();
    imports.sort_unstable();
    assert_eq!(
        imports,
        [
            "baton:connector/log@0.1.0",
            "baton:connector/progress@0.1.0",
            "baton:connector/types@0.1.0",
            "wasi:http/outgoing-handler@0.2.2",
            "wasi:http/types@0.2.2",
            "wasi:io/error@0.2.2",
            "wasi:io/poll@0.2.2",
            "wasi:io/streams@0.2.2",
        ]
    );
    assert_eq!(value["provisions"], true);
    assert_eq!(
        value["approved"],
        json!(["read"]),
        "without a lock the built-in profile"
    );
    host.run(&["plugin", "inspect", file]).ok().says(&[
        "plans changes, which the host checks and makes",
        "Settings, the values that enter the sandbox:\n  --eks-region  $BATON_EKS_REGION (required)",
        "eks:ListAccessEntries",
        "list rbac.authorization.k8s.io/rolebindings",
        "get configmaps kube-system/aws-auth",
    ]);
}

/// With a lock, an unknown digest does not run until somebody approves it.
#[test]
fn a_digest_that_is_not_approved_does_not_run_until_it_is() {
    let sim = lab(|_| {});
    Host::reading(&sim, "lab")
        .set("BATON_LOCK", "missing.lock")
        .run(&[])
        .fails(2, &["there is no lock file"]);
    let host = Host::reading(&sim, "lab").set("BATON_LOCK", "baton.lock");
    let lock = host.folder.path().join("baton.lock");
    std::fs::write(&lock, "version = 1\n").unwrap();
    host.run(&[]).fails(
        6,
        &[
            "error: baton.lock does not approve baton-eks 0.1.0 (sha256:",
            "hint: ",
            "plugin approve",
        ],
    );
    assert!(sim.calls().is_empty());
    let file = plugin();
    let file = file.to_str().unwrap();
    let run = host
        .run(&["plugin", "approve", file])
        .fails(2, &["standard input is no terminal", "--yes"]);
    assert!(
        run.err.contains("+ eks: eks:ListAccessEntries"),
        "{}",
        run.err
    );
    assert_eq!(std::fs::read_to_string(&lock).unwrap(), "version = 1\n");
    host.run(&["plugin", "approve", "--yes", file]).ok();
    let text = std::fs::read_to_string(&lock).unwrap();
    assert!(
        text.contains("kubernetes: list namespaces")
            && !text.contains("GetAccountAuthorizationDetails"),
        "{text}"
    );
    host.run(&["-q"]).ok();
    std::fs::write(&lock, "version = 2\n").unwrap();
    host.run(&[])
        .fails(2, &["baton.lock is not a lock file", "version 2"]);
}

#[test]
fn encode_makes_a_component_or_says_why_not() {
    let host = Host::new();
    let module = e2e::guests::path("baton_eks.core.wasm");
    let module = module.to_str().unwrap();
    host.run(&["plugin", "encode", module, "-o", "again.wasm"])
        .ok();
    let again = std::fs::read(host.folder.path().join("again.wasm")).unwrap();
    assert!(
        again == std::fs::read(plugin()).unwrap(),
        "the same module gives the same bytes"
    );
    host.run(&[
        "plugin",
        "encode",
        plugin().to_str().unwrap(),
        "-o",
        "x.wasm",
    ])
    .fails(2, &["not a WebAssembly core module"]);
    host.run(&["plugin", "encode", "nowhere", "-o", "x.wasm"])
        .fails(2, &["nowhere"]);
    assert!(!host.folder.path().join("x.wasm").exists());
}

/// The first command of the README: no account, no cluster, the whole job.
#[test]
fn the_demonstration_shows_who_can_do_what() {
    // Its children start anew; a lock file in the folder spares their trials.
    let host = Host::new();
    std::fs::copy(
        host.value("BATON_LOCK"),
        host.folder.path().join("baton.lock"),
    )
    .unwrap();
    host.run(&["demo", "--keep", "kept"]).ok().says(&[
        "== prod: baton-host",
        "Administrators of the cluster",
        "role break-glass",
        "Access through EKS access policies",
        "Workloads that can become an IAM role",
        "Looks like access, gives none",
        "== dev: baton-host",
        "kept/prod.c1z",
    ]);
    for file in ["prod.c1z", "dev.c1z"] {
        let access = Access::read(&host.folder.path().join("kept").join(file));
        assert!(!access.grants.is_empty());
    }
}
