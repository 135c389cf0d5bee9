//! The main job: no subcommand, the documented environment, an access file.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;

use baton_host::c1z::{FileOptions, Reader};

use crate::harness::*;

/// Every grant of the demonstration's `prod`, worked out by hand from the
/// scenario by the rules of docs/identity.md. `@` is `arn:aws:iam::111122223333:`.
pub const PROD: &str = "\
access_policy:AmazonEKSAdminViewPolicy:assigned:cluster | role:@SSO/AWSReservedSSO_ReadOnly_fedcba9876543210 | certain | expands role:@SSO/AWSReservedSSO_ReadOnly_fedcba9876543210:assignment
access_policy:AmazonEKSClusterAdminPolicy:assigned:cluster | role:@role/team/platform/platform-admin | certain | expands role:@role/team/platform/platform-admin:assignment
access_policy:AmazonEKSEditPolicy:assigned:ci | role:@SSO/AWSReservedSSO_PowerUser_0123456789abcdef | certain | expands role:@SSO/AWSReservedSSO_PowerUser_0123456789abcdef:assignment
access_policy:AmazonEKSEditPolicy:assigned:payments | role:@SSO/AWSReservedSSO_PowerUser_0123456789abcdef | certain | expands role:@SSO/AWSReservedSSO_PowerUser_0123456789abcdef:assignment
access_policy:AmazonEKSSecretReaderPolicy:assigned:payments | iam_user:@user/people/bob | certain
access_policy:AmazonEKSViewPolicy:assigned:ghost | iam_user:@user/carol | latent
access_policy:AmazonEKSViewPolicy:assigned:team-* | role:@SSO/AWSReservedSSO_PowerUser_0123456789abcdef | certain | expands role:@SSO/AWSReservedSSO_PowerUser_0123456789abcdef:assignment
access_policy:AmazonEKSViewPolicy:assigned:team-blue | role:@SSO/AWSReservedSSO_PowerUser_0123456789abcdef | certain | immutable | expands role:@SSO/AWSReservedSSO_PowerUser_0123456789abcdef:assignment
access_policy:AmazonEKSViewPolicy:assigned:team-red | role:@SSO/AWSReservedSSO_PowerUser_0123456789abcdef | certain | immutable | expands role:@SSO/AWSReservedSSO_PowerUser_0123456789abcdef:assignment
cluster_role:cluster-admin:all:member | iam_user:@user/alice | certain
cluster_role:cluster-admin:all:member | iam_user:@user/mallory | certain
cluster_role:cluster-admin:all:member | role:@role/break-glass | certain | immutable | expands role:@role/break-glass:assignment
cluster_role:edit:payments:member | iam_user:@user/people/bob | certain
cluster_role:edit:payments:member | role:@role/legacy-ops | certain | expands role:@role/legacy-ops:assignment
cluster_role:edit:payments:member | role:@role/recreated | certain | expands role:@role/recreated:assignment
cluster_role:governance-reader:all:member | role:@role/eks-reader | certain | expands role:@role/eks-reader:assignment
cluster_role:governance-reader:all:member | role:@role/eks-reader-for-vendor | certain | expands role:@role/eks-reader-for-vendor:assignment
cluster_role:namespace-lister:all:member | kube_group:system:authenticated | certain | immutable
cluster_role:namespace-lister:all:member | kube_group:system:serviceaccounts | certain | immutable
cluster_role:node-metrics:all:member | service_account:observability/agent | certain
cluster_role:system:basic-user:all:member | kube_group:system:authenticated | certain | immutable
cluster_role:system:discovery:all:member | kube_group:system:authenticated | certain | immutable
cluster_role:system:public-info-viewer:all:member | kube_group:system:authenticated | certain | immutable
cluster_role:system:public-info-viewer:all:member | kube_group:system:unauthenticated | certain | immutable
cluster_role:view:all:member | kube_group:oidc:everyone | latent
cluster_role:view:all:member | role:@role/auditor | session | expands role:@role/auditor:assignment
cluster_role:view:namespace/all:member | iam_user:@user/people/bob | certain
cluster_role:view:namespace/all:member | role:@role/legacy-ops | certain | expands role:@role/legacy-ops:assignment
cluster_role:view:namespace/all:member | role:@role/recreated | certain | expands role:@role/recreated:assignment
cluster_role:view:payments:member | service_account:payments/api | certain
cluster_role:view:team-blue:member | kube_group:disbanded | latent
cluster_role:view:team-blue:member | kube_user:former.employee | latent
cluster_role:view:team-blue:member | role:@SSO/AWSReservedSSO_ReadOnly_fedcba9876543210 | session | expands role:@SSO/AWSReservedSSO_ReadOnly_fedcba9876543210:assignment
cluster_role:view:team-red:member | service_account:ci/runner | certain
cluster_role:view:team-red:member | service_account:payments/api | certain | immutable
cluster_role:view:team-red:member | service_account:payments/default | certain | immutable
cluster_role:view:team-red:member | service_account:payments/irsa | certain | immutable
cluster_role:view:team-red:member | service_account:payments/ledger | certain | immutable
cluster_role:view:team-red:member | service_account:payments/reports | certain | immutable
namespace_role:payments/deploy:member | role:@role/deployer | certain | expands role:@role/deployer:assignment
namespace_role:payments/deploy:member | service_account:ci/deploy | certain
role:@role/auditor:assignment | iam_user:@user/carol | certain
role:@role/ci:assignment | role:arn:aws:iam::444455556666:role/builder | conditional | expands role:arn:aws:iam::444455556666:role/builder:assignment
role:@role/deployer:assignment | role:@role/team/platform/platform-admin | certain | expands role:@role/team/platform/platform-admin:assignment
role:@role/eks-reader-for-vendor:assignment | role:arn:aws:iam::444455556666:role/binding | conditional | expands role:arn:aws:iam::444455556666:role/binding:assignment
role:@role/eks-reader:assignment | iam_user:@user/baton | certain
role:@role/irsa-any-ci:assignment | service_account:ci/default | certain | immutable
role:@role/irsa-any-ci:assignment | service_account:ci/deploy | certain | immutable
role:@role/irsa-any-ci:assignment | service_account:ci/runner | certain | immutable
role:@role/irsa-everybody:assignment | service_account:* | certain | immutable
role:@role/irsa-payments:assignment | service_account:payments/api | certain
role:@role/legacy-ops:assignment | iam_user:@user/people/bob | certain
role:@role/pod-ledger:assignment | service_account:payments/ledger | certain
role:@role/pod-reports:assignment | service_account:payments/reports | conditional
role:@role/recreated:assignment | iam_user:@user/contractors/dave | certain
role:@role/reports-target:assignment | role:@role/pod-reports | certain | expands role:@role/pod-reports:assignment
role:@role/reports-target:assignment | service_account:payments/reports | certain
role:@role/team/platform/platform-admin:assignment | iam_user:@user/alice | certain
role:@role/team/platform/platform-admin:assignment | iam_user:@user/erin | certain";

/// What people hold in `prod` through roles that trust them, by the same rules.
/// Bob, in two namespaces, holds it himself as well.
const PROD_INHERITED: &str = "\
access_policy:AmazonEKSClusterAdminPolicy:assigned:cluster | iam_user:@user/alice | certain | inherited
access_policy:AmazonEKSClusterAdminPolicy:assigned:cluster | iam_user:@user/erin | certain | inherited
cluster_role:edit:payments:member | iam_user:@user/contractors/dave | certain | inherited
cluster_role:governance-reader:all:member | iam_user:@user/baton | certain | inherited
cluster_role:governance-reader:all:member | role:arn:aws:iam::444455556666:role/binding | conditional | inherited
cluster_role:view:all:member | iam_user:@user/carol | session | inherited
cluster_role:view:namespace/all:member | iam_user:@user/contractors/dave | certain | inherited
namespace_role:payments/deploy:member | iam_user:@user/alice | certain | inherited
namespace_role:payments/deploy:member | iam_user:@user/erin | certain | inherited
namespace_role:payments/deploy:member | role:@role/team/platform/platform-admin | certain | inherited
role:@role/deployer:assignment | iam_user:@user/alice | certain | inherited
role:@role/deployer:assignment | iam_user:@user/erin | certain | inherited";

/// The same for `dev`, in mode CONFIG_MAP: no access policies, one line whose
/// groups are no list, a list of users that is no YAML.
const DEV: &str = "\
cluster_role:cluster-admin:all:member | role:@role/team/platform/platform-admin | certain | immutable | expands role:@role/team/platform/platform-admin:assignment
cluster_role:edit:web:member | role:@role/deployer | certain | expands role:@role/deployer:assignment
cluster_role:governance-reader:all:member | role:@role/eks-reader | certain | expands role:@role/eks-reader:assignment
cluster_role:governance-reader:all:member | role:@role/eks-reader-for-vendor | certain | expands role:@role/eks-reader-for-vendor:assignment
cluster_role:system:basic-user:all:member | kube_group:system:authenticated | certain | immutable
cluster_role:system:discovery:all:member | kube_group:system:authenticated | certain | immutable
cluster_role:system:public-info-viewer:all:member | kube_group:system:authenticated | certain | immutable
cluster_role:system:public-info-viewer:all:member | kube_group:system:unauthenticated | certain | immutable
namespace_role:kube-system/aws-auth-reader:member | role:@role/eks-reader | certain | expands role:@role/eks-reader:assignment
namespace_role:kube-system/aws-auth-reader:member | role:@role/eks-reader-for-vendor | certain | expands role:@role/eks-reader-for-vendor:assignment
role:@role/auditor:assignment | iam_user:@user/carol | certain
role:@role/ci:assignment | role:arn:aws:iam::444455556666:role/builder | conditional | expands role:arn:aws:iam::444455556666:role/builder:assignment
role:@role/deployer:assignment | role:@role/team/platform/platform-admin | certain | expands role:@role/team/platform/platform-admin:assignment
role:@role/eks-reader-for-vendor:assignment | role:arn:aws:iam::444455556666:role/binding | conditional | expands role:arn:aws:iam::444455556666:role/binding:assignment
role:@role/eks-reader:assignment | iam_user:@user/baton | certain
role:@role/irsa-payments:assignment | service_account:payments/other-cluster | latent
role:@role/legacy-ops:assignment | iam_user:@user/people/bob | certain
role:@role/recreated:assignment | iam_user:@user/contractors/dave | certain
role:@role/reports-target:assignment | role:@role/pod-reports | certain | expands role:@role/pod-reports:assignment
role:@role/team/platform/platform-admin:assignment | iam_user:@user/alice | certain
role:@role/team/platform/platform-admin:assignment | iam_user:@user/erin | certain";

const INHERITED: &str = " | inherited";

#[track_caller]
pub fn grants_are(access: &Access, expected: &str) {
    let sso = "role:@role/aws-reserved/sso.amazonaws.com/eu-west-1/";
    let lines = access.lines();
    let mut found: BTreeSet<String> = lines
        .iter()
        .map(|line| line.replace(sso, "role:@SSO/"))
        .collect();
    assert_eq!(found.len(), lines.len(), "a grant is there twice");
    // What was listed, or what came of it.
    let inherited = expected.contains(INHERITED);
    found.retain(|line| line.ends_with(INHERITED) == inherited);
    let expected: BTreeSet<String> = expected.lines().map(str::to_owned).collect();
    let more: Vec<_> = found.difference(&expected).collect();
    let less: Vec<_> = expected.difference(&found).collect();
    assert!(
        more.is_empty() && less.is_empty(),
        "more: {more:#?}\nless: {less:#?}"
    );
}

/// A grant without its entitlement's row, or without its principal's, makes
/// readers panic or print that something is missing. Users are the AWS
/// connector's.
#[track_caller]
fn references_hold(access: &Access) {
    let entitlements: BTreeSet<&str> = access.entitlements.iter().map(|e| e.id.as_str()).collect();
    let resources: BTreeSet<(&str, &str)> = access
        .resources
        .iter()
        .filter_map(|resource| resource.id.as_ref())
        .map(|id| (id.resource_type.as_str(), id.resource.as_str()))
        .collect();
    assert_eq!(entitlements.len(), access.entitlements.len());
    assert_eq!(resources.len(), access.resources.len());
    for row in &access.grants {
        let entitlement = row.grant.entitlement.as_ref().unwrap().id.as_str();
        assert!(entitlements.contains(entitlement), "{entitlement}");
        let principal = row.grant.principal.as_ref().unwrap().id.as_ref().unwrap();
        let key = (
            principal.resource_type.as_str(),
            principal.resource.as_str(),
        );
        assert!(key.0 == "iam_user" || resources.contains(&key), "{key:?}");
        for expansion in row.expansion.iter().flat_map(|e| &e.entitlement_ids) {
            assert!(entitlements.contains(expansion.as_str()), "{expansion}");
        }
    }
}

#[test]
fn the_documented_environment_and_no_command_write_an_access_file() {
    let sim = demo();
    let host = Host::reading(&sim, "prod");
    let before = host.files();
    let run = host.run(&[]).ok().says(&[
        "IAM Role          24         24            18",
        "inherited                                  12",
        "in all            95         378           71",
        "authentication-mode: API_AND_CONFIG_MAP",
        "warning: aws-auth, mapUsers line 7: the item has no `userarn`; it is ignored",
        "warning: the trust policy of arn:aws:iam::111122223333:role/garbled cannot be read",
    ]);
    assert_eq!(
        run.err,
        "resources: 95\nentitlements: 378\ngrants: 59\ninherited: 12\n"
    );

    let access = Access::read(&host.file());
    grants_are(&access, PROD);
    grants_are(&access, PROD_INHERITED);
    references_hold(&access);
    let kinds: Vec<&str> = access.types.iter().map(|kind| kind.id.as_str()).collect();
    assert_eq!(
        kinds,
        [
            "namespace",
            "service_account",
            "configmap",
            "cluster_role",
            "namespace_role",
            "role",
            "access_policy",
            "kube_group",
            "kube_user"
        ]
    );
    assert_eq!(access.objects("kube_user"), ["former.employee"]);
    assert_eq!(
        access.objects("kube_group"),
        [
            "disbanded",
            "oidc:everyone",
            "system:authenticated",
            "system:serviceaccounts",
            "system:unauthenticated"
        ]
    );
    // What the file says about itself.
    let evidence = &access.evidence;
    assert_eq!(
        evidence["caller"],
        "arn:aws:sts::111122223333:assumed-role/eks-reader/baton-host-prod"
    );
    assert!(
        evidence["plugin"]["digest"]
            .as_str()
            .unwrap()
            .starts_with("sha256:")
    );
    assert_eq!(evidence["unread"], serde_json::json!([]));
    // Nobody else reads it, and no work file is left.
    let mode = std::fs::metadata(host.file()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let new: Vec<_> = host.files().difference(&before).cloned().collect();
    assert_eq!(new, ["out.c1z"]);
}

#[test]
fn what_gives_no_access_is_evidence_and_not_a_grant() {
    let sim = demo();
    let prod = Quick::sync(&sim, "prod").access;
    let dev = Quick::sync(&sim, "dev").access;
    let has = |access: &Access, kind: &str, member: &str, value: &str| {
        let all = access.evidence["evidence"].as_array().unwrap();
        all.iter()
            .any(|item| item["type"] == kind && item[member].to_string().contains(value))
    };
    assert!(has(&prod, "dead-entry", "principal", "role/recreated"));
    assert!(has(&prod, "dead-policy", "policy", "AmazonEKSAdminPolicy"));
    assert!(has(
        &prod,
        "shadowed-line",
        "reason",
        "returns if the entry is deleted"
    ));
    assert!(has(
        &prod,
        "dead-line",
        "reason",
        "a role with a path never matches"
    ));
    assert!(has(&prod, "mapped-account", "account", "444455556666"));
    assert!(has(
        &prod,
        "unverified-entry",
        "principal",
        "444455556666:role/builder"
    ));
    assert!(has(
        &prod,
        "unverified-entries",
        "reason",
        "IAM users are not read"
    ));
    assert!(has(&prod, "malformed-trust", "role", "garbled"));
    assert!(has(&prod, "dangling-role", "name", "gone"));
    assert!(has(&prod, "node-mapping", "principal", "role/node"));
    assert!(has(&dev, "hidden-creator", "reason", "system:masters"));
    assert!(!has(&prod, "hidden-creator", "reason", ""));
    // Why a grant is there stands with it.
    let masters = prod.metadata("cluster_role:cluster-admin:all:member | role:@role/break-glass");
    assert!(
        masters["paths"]
            .as_array()
            .unwrap()
            .iter()
            .any(|path| path["bypasses_rbac"] == true)
    );
}

#[test]
fn two_hops_read_a_cluster_that_may_not_list_config_maps() {
    let sim = demo();
    let host = Host::reading(&sim, "dev");
    host.run(&["sync"]).ok().says(&[
        "not read: configmap: `kubernetes` does not permit list configmaps",
        "hint: add to a ClusterRole: {apiGroups: [\"\"], resources: [\"configmaps\"], verbs: [\"list\"]}",
        "warning: aws-auth, mapRoles line 5: `groups` is not a list; the item stays without groups",
        "warning: aws-auth, mapUsers line 3: the value is not YAML, all of it is ignored",
    ]);
    let access = Access::read(&host.file());
    grants_are(&access, DEV);
    references_hold(&access);
    assert_eq!(access.objects("configmap"), [""; 0]);
    assert_eq!(access.evidence["unread"][0]["kind"], "configmap");
    // A namespace called `cluster`: its own slug beside the cluster's.
    let slugs: Vec<&str> = access.entitlements.iter().map(|e| e.id.as_str()).collect();
    let view = "access_policy:arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy:assigned:";
    assert!(slugs.contains(&format!("{view}cluster").as_str()));
    assert!(slugs.contains(&format!("{view}namespace/cluster").as_str()));
    // Both roles in order, each with its own external id.
    let roles: Vec<String> = sim
        .requests()
        .iter()
        .filter(|request| request.operation == "sts:AssumeRole")
        .map(|request| String::from_utf8_lossy(&request.body).into_owned())
        .collect();
    assert_eq!(roles.len(), 2);
    assert!(
        roles[0].contains("role%2Fbinding") && roles[0].contains("binding-1"),
        "{}",
        roles[0]
    );
    assert!(roles[1].contains("role%2Feks-reader-for-vendor") && roles[1].contains("customer-7"));
}

#[test]
fn the_next_sync_keeps_the_last_one_for_comparison() {
    let sim = lab(|_| {});
    let host = Host::reading(&sim, "lab")
        .set("BATON_FILE", "")
        .unset("BATON_FILE");
    let host = host.set("BATON_FILE", "named.c1z");
    host.run(&["--file", "lab.c1z", "--c1z-temp-dir", "."]).ok();
    assert!(
        !host.folder.path().join("named.c1z").exists(),
        "a flag wins over its variable"
    );
    let file = host.folder.path().join("lab.c1z");
    let first = Access::read(&file);
    host.run(&["-f", "lab.c1z"]).ok();
    let second = Access::read(&file);
    assert_eq!(first.syncs.len(), 1);
    assert_eq!(second.syncs.len(), 2);
    assert_eq!(second.syncs[0], first.syncs[0]);
    assert_eq!(first.lines(), second.lines());
    let reader = Reader::open(&file, &FileOptions::default()).unwrap();
    let kept = Access::of(&reader, &reader.sync(&first.syncs[0].sync_id).unwrap());
    assert_eq!(kept.lines(), first.lines());
    host.run(&["-f", "lab.c1z"]).ok();
    let third = Access::read(&file).syncs;
    assert_eq!(third.len(), 2, "the newest and the one before it");
    assert_eq!(third[0], second.syncs[1]);
}

#[test]
fn flags_choose_what_is_written() {
    let sim = lab(|_| {});
    let host = Host::reading(&sim, "lab");
    host.run(&["--sync-resource-types", "namespace, role", "--quiet"])
        .ok();
    let access = Access::read(&host.file());
    let kinds: Vec<&str> = access.types.iter().map(|kind| kind.id.as_str()).collect();
    assert_eq!(kinds, ["namespace", "role"]);
    assert_eq!(access.objects("role").len(), 2);
    assert!(access.objects("service_account").is_empty());
    let calls = sim.calls();
    assert!(
        !calls.contains_key("kubernetes:list rbac.authorization.k8s.io/rolebindings")
            || !access.grants.is_empty()
    );

    let run = host.run(&["--skip-grants", "--format", "json"]).ok();
    let (value, access) = (run.json(), Access::read(&host.file()));
    assert!(access.grants.is_empty() && !access.entitlements.is_empty());
    assert_eq!(value["grants"], 0);
    assert_eq!(value["entitlements"], access.entitlements.len());
    assert_eq!(value["objects"], access.resources.len());
    assert_eq!(value["sync_type"], "full");
    assert_eq!(value["file"], host.file().to_str().unwrap());
    assert_eq!(value["validation"]["authentication-mode"][0], "API");
    assert_eq!(
        value["upstreams"]["upstreams"]["iam"]["iam:ListRoles"]["calls"],
        1
    );
    assert_eq!(run.err, "", "a program reads no progress");

    let host = host.set("BATON_SKIP_ENTITLEMENTS_AND_GRANTS", "true");
    let run = host.run(&["--quiet"]).ok();
    assert_eq!((run.out.as_str(), run.err.as_str()), ("", ""));
    let syncs = Access::read(&host.file()).syncs;
    assert_eq!(syncs.last().unwrap().sync_type, "resources_only");
}

#[test]
fn only_bound_namespaces_where_that_is_asked_for() {
    let sim = demo();
    let host = Host::reading(&sim, "prod");
    host.run(&["--namespace-entitlements", "bound", "--quiet"])
        .ok();
    let access = Access::read(&host.file());
    grants_are(&access, PROD);
    references_hold(&access);
    assert!(
        access.entitlements.len() < 378,
        "{}",
        access.entitlements.len()
    );
    host.run(&["--namespace-entitlements", "some"])
        .fails(2, &["some", "all, bound"]);
}

#[test]
fn logs_are_json_lines_on_standard_error() {
    let sim = lab(|_| {});
    let host = Host::reading(&sim, "lab").unset("BATON_LOG_LEVEL");
    let run = host
        .run(&["--log-level=debug", "--log-format", "json", "-q"])
        .ok();
    let mut lines = 0;
    for line in run.err.lines() {
        let value: serde_json::Value =
            serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert!(
            value["level"].is_string() && value["timestamp"].is_string(),
            "{line}"
        );
        lines += 1;
    }
    assert!(lines > 0);
    let run = host
        .run(&["--log-level", "debug", "--log-format", "console", "-q"])
        .ok();
    assert!(
        !run.err.is_empty() && run.err.lines().all(|line| !line.starts_with('{')),
        "{}",
        run.err
    );
    assert!(!run.err.contains('\u{1b}'), "colours without a terminal");
}
