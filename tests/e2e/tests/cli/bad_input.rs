//! Bad input: one clear sentence, the next step, a typed exit code, and no file.

use cloud_sim::{Scenario, Sim};
use serde_json::json;

use crate::harness::*;
use e2e::guests;

fn path(name: &str) -> String {
    guests::path(name).to_str().unwrap().to_owned()
}

#[test]
fn no_plugin_or_no_file_of_that_name() {
    Host::new().unset("BATON_PLUGIN").run(&[]).fails(
        2,
        &[
            "error: no plugin was given",
            "hint: ",
            "--plugin",
            "BATON_PLUGIN",
        ],
    );
    let host = Host::new().set("BATON_PLUGIN", "nowhere.wasm");
    host.run(&[]).fails(
        2,
        &[
            "error: cannot read the plugin nowhere.wasm: No such file",
            "hint: ",
        ],
    );
    host.run(&["--plugin", "."])
        .fails(2, &["cannot read the plugin .: it is a folder"]);
    // The reason of the file, not of a flag that only the file would know.
    host.run(&["--eks-region", "eu-west-1"])
        .fails(2, &["cannot read the plugin nowhere.wasm"]);
}

#[test]
fn a_file_that_is_no_connector() {
    let host = Host::new();
    let text = host.folder.path().join("text.wasm");
    std::fs::write(&text, "not WebAssembly").unwrap();
    host.run(&["--plugin", "text.wasm"])
        .fails(2, &["the file is not a WebAssembly component"]);
    host.run(&["--plugin", &path("baton_eks.core.wasm")])
        .fails(2, &["core module, not a component", "plugin encode"]);
    host.run(&["--plugin", &path("other-world.wasm")])
        .fails(2, &["not a connector", "baton:connector/sync@0.1`"]);
    host.run(&["--plugin", &path("other-version.wasm")])
        .fails(2, &["was built for baton:connector 0.2.0", "runs 0.1.x"]);
    host.run(&["--plugin", &path("wants-environment.wasm")])
        .fails(2, &["imports `wasi:cli/environment", "no connector gets"]);
    let mut cut = std::fs::read(plugin()).unwrap();
    cut.truncate(cut.len() / 2);
    std::fs::write(host.folder.path().join("cut.wasm"), cut).unwrap();
    host.run(&["--plugin", "cut.wasm"])
        .fails(2, &["cut.wasm: the file is not a valid component"]);
    assert!(!host.file().exists());
}

/// A plugin that would like a secret as a plain setting.
#[test]
fn a_plugin_that_wants_a_secret_or_an_option_of_the_host() {
    let host = Host::new();
    for (setting, words) in [
        ("eks-secret-access-key", "`secret`"),
        ("client-secret", "`secret`"),
        ("file", "an option of the host"),
        ("role-arn", "an option of the host"),
        ("provisioning", "an option of the host"),
    ] {
        let bytes = guests::declares(&json!({"settings": [setting]}).to_string());
        std::fs::write(host.folder.path().join("greedy.wasm"), bytes).unwrap();
        host.run(&["plugin", "inspect", "greedy.wasm"])
            .fails(6, &[setting, words]);
    }
}

#[test]
fn unknown_flags_and_commands_are_named() {
    let host = Host::new();
    host.run(&["--eks-regoin", "x"])
        .fails(2, &["--eks-regoin", "--eks-region"]);
    host.run(&["snyc"]).fails(2, &["snyc", "sync"]);
    host.run(&["completion", "csh"]).fails(2, &["csh", "bash"]);
    let text = Host::new()
        .set("BATON_SKIP_GRANTS", "maybe")
        .set("BATON_EKS_REGION", "eu-west-1")
        .set("BATON_EKS_CLUSTER_NAME", "lab");
    text.run(&[])
        .fails(2, &["BATON_SKIP_GRANTS is neither true nor false"]);
}

#[test]
fn missing_and_contradictory_settings_are_named_at_once() {
    let host = Host::new()
        .set("BATON_ROLE_ARN", "arn:aws:iam::111122223333:role/one")
        .set(
            "BATON_EKS_ASSUME_ROLE_ARN",
            "arn:aws:iam::111122223333:role/other",
        )
        .set("BATON_EKS_ACCESS_KEY", "AKIAIOSFODNN7EXAMPLE")
        .set(
            "BATON_GLOBAL_ROLE_ARN",
            "arn:aws:iam::444455556666:role/binding",
        )
        .set("BATON_CLIENT_ID", "client");
    host.run(&[]).fails(
        2,
        &[
            "BATON_CLIENT_ID",
            "role-arn and eks-assume-role-arn",
            "eks-secret-access-key",
            "eks-access-key and global-role-arn exclude each other",
            "eks-region is missing",
            "eks-cluster-name is missing",
        ],
    );
    let host = Host::new().set("BATON_EKS_REGION", "eu-west-1");
    host.run(&["check"]).fails(
        2,
        &[
            "error: eks-cluster-name is missing",
            "hint: give --eks-cluster-name or BATON_EKS_CLUSTER_NAME",
        ],
    );
    let host = host.set("BATON_EKS_CLUSTER_NAME", "lab");
    let gateway = Host::new()
        .set("BATON_EKS_REGION", "eu-west-1")
        .set("BATON_EKS_CLUSTER_NAME", "lab")
        .set("AWS_ENDPOINT_URL", "not a URL");
    gateway.run(&[]).fails(2, &["AWS_ENDPOINT_URL"]);
    let host = host.set("BATON_EKS_CLUSTER_NAME", "../../other");
    host.run(&[])
        .fails(2, &["the cluster's name has 1 to 100 letters"]);
    let json = host.run(&["--format", "json"]);
    assert_eq!((json.code, json.out.as_str()), (Some(2), ""));
    let error: serde_json::Value = serde_json::from_str(&json.err).unwrap();
    assert_eq!(error["error"]["exit"], 2);
    assert!(
        error["error"]["message"]
            .as_str()
            .unwrap()
            .contains("the cluster's name")
    );
}

#[test]
fn a_secret_on_the_command_line_is_refused_and_not_repeated() {
    let run = Host::new()
        .run(&["--eks-secret-access-key", "hunter2-hunter2"])
        .fails(
            2,
            &[
                "--eks-secret-access-key is a secret",
                "hint: give it as BATON_EKS_SECRET_ACCESS_KEY",
            ],
        );
    assert!(!run.err.contains("hunter2"));
}

#[test]
fn an_unknown_resource_type_is_named_before_anything_is_asked() {
    let sim = lab(|_| {});
    let host = Host::reading(&sim, "lab");
    host.run(&["--sync-resource-types", "role,pod"]).fails(
        2,
        &[
            "there is no resource type pod",
            "namespace, service_account",
        ],
    );
    assert!(
        !sim.calls().keys().any(|call| call.starts_with("eks:")),
        "{:?}",
        sim.calls()
    );
}

/// A sync of the smallest cloud with one variable changed.
#[track_caller]
fn refused(sim: &Sim, changes: &[(&str, &str)], exit: u8, words: &[&str]) -> String {
    let mut env = sim.env("lab");
    for (name, value) in changes {
        env.retain(|(other, _)| other != name);
        env.push(((*name).into(), (*value).into()));
    }
    let error = match Quick::with(env) {
        Ok(_) => panic!("it worked"),
        Err(error) => error,
    };
    let said = format!("{} | {}", error.message, error.hint.unwrap_or_default());
    assert_eq!(error.exit as u8, exit, "{said}");
    for words in words {
        assert!(said.contains(words), "no `{words}` in {said}");
    }
    said
}

#[test]
fn wrong_keys_and_expired_sessions() {
    let sim = lab(|_| {});
    refused(
        &sim,
        &[("BATON_EKS_ACCESS_KEY", "AKIAQQQQQQQQQQQQQQQQ")],
        3,
        &[
            "AWS does not know the access key of eks-access-key",
            "typing errors",
        ],
    );
    let said = refused(
        &sim,
        &[("BATON_EKS_SECRET_ACCESS_KEY", "wrong/wrong/wrong")],
        3,
        &["the secret does not belong to the access key"],
    );
    assert!(!said.contains("wrong/wrong"));
    // The same to a user of the program, in full.
    Host::reading(&sim, "lab")
        .set("BATON_EKS_SECRET_ACCESS_KEY", "wrong/wrong/wrong")
        .run(&[])
        .fails(
            3,
            &[
                "error: AWS refuses the signature of eks-access-key",
                "hint: set key and secret again",
            ],
        );
    sim.set_clock_offset(0);
}

#[test]
fn a_role_that_may_not_be_assumed_and_a_wrong_external_id() {
    let sim = lab(|scenario| {
        scenario.accounts[0].roles[0].trust["Statement"][0]["Condition"] =
            json!({"StringEquals": {"sts:ExternalId": "right"}});
    });
    let reader = "arn:aws:iam::111122223333:role/eks-reader";
    refused(
        &sim,
        &[],
        3,
        &[
            reader,
            "asks for an external id and none was given",
            "baton-host permissions",
        ],
    );
    let said = refused(
        &sim,
        &[("BATON_EXTERNAL_ID", "wrong-7f3a")],
        3,
        &[reader, "another external id than the one given"],
    );
    assert!(!said.contains("wrong-7f3a"));
    let other = "arn:aws:iam::111122223333:role/team/developers";
    refused(
        &sim,
        &[
            ("BATON_EKS_ASSUME_ROLE_ARN", other),
            ("BATON_EXTERNAL_ID", "xyz"),
        ],
        3,
        &[other, "its trust policy does not name the caller"],
    );
}

#[test]
fn the_first_of_two_hops_fails_without_naming_the_operator() {
    let sim = demo();
    let mut env = sim.env("dev");
    for (name, value) in &mut env {
        if name == "BATON_GLOBAL_BINDING_EXTERNAL_ID" {
            *value = "wrong".into();
        }
    }
    let error = Quick::with(env).err().unwrap();
    assert_eq!(
        (error.exit as u8, error.message.as_str()),
        (3, "internal binding error")
    );
}

#[test]
fn a_clock_that_is_off_is_said_in_words() {
    let sim = lab(|_| {});
    sim.set_clock_offset(20 * 60);
    refused(
        &sim,
        &[],
        3,
        &["this machine's clock is 20 minutes behind AWS's", "chrony"],
    );
    sim.set_clock_offset(-2 * 3600);
    refused(
        &sim,
        &[],
        3,
        &["this machine's clock is 2 hours ahead of AWS's"],
    );
}

#[test]
fn a_cluster_that_does_not_exist_or_is_not_ready() {
    let sim = lab(|scenario| cluster(scenario, "lab").status = "CREATING".into());
    refused(
        &sim,
        &[("BATON_EKS_CLUSTER_NAME", "bal")],
        4,
        &[
            "No cluster found for name: bal",
            "check the name of the cluster, its region",
        ],
    );
    refused(
        &sim,
        &[("BATON_EKS_REGION", "eu-north-1")],
        4,
        &["No cluster found for name: lab"],
    );
    refused(
        &sim,
        &[],
        5,
        &["cluster/lab is CREATING and cannot be read", "ACTIVE"],
    );
    let run = Host::reading(&sim, "lab").run(&["check"]);
    assert_eq!(run.code, Some(5), "{run:?}");
    run.says(&[
        "(CREATING)",
        "FAILED  API server",
        "run again when it is ACTIVE",
    ]);
}

#[test]
fn a_ca_that_does_not_match_and_an_api_server_out_of_reach() {
    let sim = lab(|scenario| cluster(scenario, "lab").wrong_ca = true);
    refused(&sim, &[], 5, &["certificate", "not trusted"]);
    assert!(
        !sim.calls()
            .keys()
            .any(|call| call.starts_with("kubernetes:")),
        "nothing was said to it"
    );
    let sim = lab(|scenario| cluster(scenario, "lab").unreachable = true);
    refused(&sim, &[], 5, &["cannot be reached"]);
    Host::reading(&sim, "lab")
        .run(&[])
        .fails(5, &["error: ", "cannot be reached"]);
}

#[test]
fn an_identity_that_the_cluster_does_not_know_or_does_not_let() {
    let sim = lab(|scenario| drop(cluster(scenario, "lab").entries.remove(0)));
    refused(
        &sim,
        &[],
        3,
        &["does not know who is asking", "create-access-entry"],
    );
    let sim = lab(|scenario| cluster(scenario, "lab").entries[0].groups.clear());
    refused(
        &sim,
        &[],
        3,
        &[
            "does not permit list namespaces",
            "add to a ClusterRole: {apiGroups: [\"\"], resources: [\"namespaces\"], verbs: [\"list\"]}",
        ],
    );
    let sim = lab(|scenario| {
        let rules = &mut cluster(scenario, "lab").objects[0]["rules"];
        rules[0]["resources"] = json!(["roles", "clusterroles", "clusterrolebindings"]);
    });
    refused(
        &sim,
        &[],
        3,
        &[
            "does not permit list rbac.authorization.k8s.io/rolebindings",
            "{apiGroups: [\"rbac.authorization.k8s.io\"], resources: [\"rolebindings\"], verbs: [\"list\"]}",
        ],
    );
}

#[test]
fn an_iam_policy_that_lacks_an_action() {
    let sim = lab(|scenario| {
        scenario.accounts[0].roles[0].allow = Some(vec!["eks:*".into()]);
    });
    refused(
        &sim,
        &[],
        3,
        &[
            "does not permit iam:ListRoles",
            "\"Action\": \"iam:ListRoles\"",
        ],
    );
}

#[test]
fn optional_kinds_that_are_not_permitted_are_a_line_and_no_failure() {
    let sim = lab(|scenario| {
        cluster(scenario, "lab").objects[0]["rules"][1]["resources"] =
            json!(["namespaces", "serviceaccounts"]);
        scenario.accounts[0].roles[0].allow = Some(vec![
            "eks:Describe*".into(),
            "eks:ListAccess*".into(),
            "eks:ListAssociated*".into(),
            "iam:ListRoles".into(),
        ]);
    });
    let host = Host::reading(&sim, "lab");
    let run = host
        .run(&[])
        .ok()
        .says(&["not read: configmap: ", "  hint: add to a ClusterRole: "]);
    assert!(
        run.out.contains("eks:ListPodIdentityAssociations"),
        "{}",
        run.out
    );
}

/// One broken line or document costs what it says, not the rest.
#[test]
fn malformed_aws_auth_and_trust_policies() {
    let mut scenario = Scenario::minimal().unwrap();
    let lab = cluster(&mut scenario, "lab");
    lab.mode = "API_AND_CONFIG_MAP".into();
    lab.aws_auth = Some([
        ("mapRoles".to_owned(), "- rolearn: arn:aws:iam::111122223333:role/ops\n  username: ops\n  groups: [developers]\n- just a text\n- rolearn: 12\n".to_owned()),
        ("mapUsers".to_owned(), "{{{".to_owned()),
        ("mapAccounts".to_owned(), "nobody".to_owned()),
    ].into());
    let mut ops = scenario.accounts[0].roles[0].clone();
    ops.name = "ops".into();
    ops.trust = json!("{\"Statement\": 7");
    scenario.accounts[0].roles.push(ops);
    let sim = cloud(scenario);
    let quick = Quick::sync(&sim, "lab");
    let lines = quick.access.lines();
    assert!(lines.iter().any(|line| line.starts_with("cluster_role:edit:web:member | role:@role/ops | certain")), "{lines:#?}");
    let warnings: Vec<&str> = quick
        .outcome
        .summary
        .warnings
        .iter()
        .map(|w| w.message.as_str())
        .collect();
    for words in [
        "mapRoles line 4",
        "mapRoles line 5",
        "mapUsers",
        "mapAccounts",
        "role/ops",
    ] {
        assert!(
            warnings.iter().any(|warning| warning.contains(words)),
            "no {words} in {warnings:#?}"
        );
    }
}
