//! The attacks of the boundary, as requests. Each is refused before a socket
//! exists, with a sentence that says why.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use bytes::Bytes;
use http::{Method, Request};

use super::*;
use crate::upstream::rights::{CEILING, Group};

const ENTRY: &str = "arn%3Aaws%3Aiam%3A%3A111122223333%3Arole%2Fteam%2Fdev";
const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";

/// Everything of a kind that a plugin could ever be given.
fn all(name: &str, kind: Kind) -> Granted {
    Granted {
        name: name.to_owned(),
        kind,
        rights: CEILING.iter().filter(|right| right.kind == kind).collect(),
    }
}

fn reading(name: &str, kind: Kind) -> Granted {
    let mut granted = all(name, kind);
    granted.rights.retain(|right| right.group == Group::Read);
    granted
}

fn request(method: &str, uri: &str, headers: &[(&str, &str)], body: &str) -> Request<Bytes> {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Bytes::from(body.to_owned())).unwrap()
}

fn eks(method: &str, path: &str) -> Result<Operation, Denial> {
    decide(
        &all("eks", Kind::Eks),
        "prod",
        &request(method, &format!("http://eks{path}"), &[], ""),
    )
}

fn cluster(method: &str, path: &str) -> Result<Operation, Denial> {
    decide(
        &all("kubernetes", Kind::Cluster),
        "prod",
        &request(method, &format!("http://kubernetes{path}"), &[], ""),
    )
}

fn iam(body: &str) -> Result<Operation, Denial> {
    decide(
        &all("iam", Kind::Iam),
        "prod",
        &request("POST", "http://iam/", &[("content-type", FORM)], body),
    )
}

fn missing(result: Result<Operation, Denial>) -> String {
    match result {
        Err(Denial::Missing(words)) => words,
        other => panic!("{other:?}"),
    }
}

fn malformed(result: Result<Operation, Denial>) -> String {
    match result {
        Err(Denial::Malformed(why)) => why,
        other => panic!("{other:?}"),
    }
}

// What the connector needs.

#[test]
fn reads_are_rebuilt_in_one_encoding() {
    for (path, right, rebuilt) in [
        ("/clusters/prod", "eks:DescribeCluster", "/clusters/prod"),
        ("/clusters/p%72od", "eks:DescribeCluster", "/clusters/prod"),
        (
            "/clusters/prod/access-entries?nextToken=a%2bb%2Fc%3d&maxResults=0100",
            "eks:ListAccessEntries",
            "/clusters/prod/access-entries?maxResults=100&nextToken=a%2Bb%2Fc%3D",
        ),
        (
            "/access-policies",
            "eks:ListAccessPolicies",
            "/access-policies",
        ),
        (
            "/clusters/prod/pod-identity-associations/a-1?",
            "eks:DescribePodIdentityAssociation",
            "/clusters/prod/pod-identity-associations/a-1",
        ),
    ] {
        let operation = eks("GET", path).unwrap();
        assert_eq!(
            (operation.right.words, operation.path_and_query().as_str()),
            (right, rebuilt)
        );
    }
    let operation = eks(
        "GET",
        "/clusters/prod/access-entries/arn:aws:iam::111122223333:role%2fteam%2fdev",
    )
    .unwrap();
    assert_eq!(
        operation.path_and_query(),
        format!("/clusters/prod/access-entries/{ENTRY}")
    );
    let operation = eks(
        "GET",
        &format!("/clusters/prod/access-entries/{ENTRY}/access-policies?maxResults=100"),
    );
    assert_eq!(
        operation.unwrap().right.words,
        "eks:ListAssociatedAccessPolicies"
    );
}

#[test]
fn kubernetes_reads_are_rebuilt() {
    for (path, right, rebuilt) in [
        (
            "/api/v1/namespaces?continue=x%3D&limit=500",
            "list namespaces",
            "/api/v1/namespaces?limit=500&continue=x%3D",
        ),
        (
            "/api/v1/serviceaccounts",
            "list serviceaccounts",
            "/api/v1/serviceaccounts",
        ),
        (
            "/api/v1/namespaces/dev/serviceaccounts",
            "list serviceaccounts",
            "/api/v1/namespaces/dev/serviceaccounts",
        ),
        (
            "/apis/rbac.authorization.k8s.io/v1/roles?limit=500",
            "list rbac.authorization.k8s.io/roles",
            "/apis/rbac.authorization.k8s.io/v1/roles?limit=500",
        ),
        (
            "/api/v1/namespaces/kube-system/configmaps/aws-auth",
            "get configmaps kube-system/aws-auth",
            "/api/v1/namespaces/kube-system/configmaps/aws-auth",
        ),
    ] {
        let operation = cluster("GET", path).unwrap();
        assert_eq!(
            (operation.right.words, operation.path_and_query().as_str()),
            (right, rebuilt)
        );
    }
}

#[test]
fn config_maps_are_listed_by_name_only_whatever_the_guest_asks_for() {
    for headers in [
        &[][..],
        &[("accept", "application/json")],
        &[("accept", "*/*")],
    ] {
        let request = request("GET", "http://kubernetes/api/v1/configmaps", headers, "");
        let operation = decide(&reading("kubernetes", Kind::Cluster), "prod", &request).unwrap();
        assert_eq!(operation.view, View::Names);
        assert_eq!(operation.accept(), kubernetes::METADATA_LIST);
    }
    assert_eq!(
        cluster("GET", "/api/v1/namespaces").unwrap().view,
        View::Full
    );
}

/// Comparing each with each once took minutes of everybody's I/O thread.
#[test]
fn a_form_of_a_hundred_thousand_parameters_is_refused_at_once() {
    use std::fmt::Write as _;
    let mut body = "Action=ListRoles&Version=2010-05-08".to_owned();
    for n in 0..100_000 {
        let _ = write!(body, "&{n:x}=");
    }
    assert!(body.len() < MAX_BODY);
    let Err(Denial::Malformed(why)) = iam(&body) else {
        panic!()
    };
    assert_eq!(why, "the request has more than 64 parameters");
}

#[test]
fn iam_bodies_are_written_anew() {
    let operation =
        iam("MaxItems=1000&Version=2010-05-08&Marker=a%2b%2F%3D&Action=ListRoles").unwrap();
    assert_eq!(operation.right.words, "iam:ListRoles");
    assert_eq!(
        operation.body(),
        "Action=ListRoles&Version=2010-05-08&Marker=a%2B%2F%3D&MaxItems=1000"
    );
    assert_eq!(
        (operation.method.clone(), operation.path_and_query()),
        (Method::POST, "/".to_owned())
    );
    assert_eq!(operation.content_type(), Some(FORM));
}

// R1: IAM.

#[test]
fn r1_iam_by_get_is_refused() {
    for (method, uri) in [
        ("GET", "http://iam/?Action=ListRoles&Version=2010-05-08"),
        (
            "GET",
            "http://iam/?Action=AttachRolePolicy&Version=2010-05-08&RoleName=x",
        ),
        ("POST", "http://iam/?Action=AttachRolePolicy"),
        ("POST", "http://iam/?"),
        ("POST", "http://iam/x"),
        ("POST", "http://iam//"),
        ("PUT", "http://iam/"),
        ("HEAD", "http://iam/"),
    ] {
        let body = "Action=ListRoles&Version=2010-05-08";
        let request = request(method, uri, &[("content-type", FORM)], body);
        malformed(decide(&all("iam", Kind::Iam), "prod", &request));
    }
}

#[test]
fn r1_iam_actions_are_looked_up_by_exact_name() {
    for action in [
        "AttachRolePolicy",
        "GetRole",
        "listroles",
        "ListRolesX",
        "GetFederationToken",
        "GetSessionToken",
        "AssumeRole",
        "ListAccessKeys",
    ] {
        let words = missing(iam(&format!("Action={action}&Version=2010-05-08")));
        assert_eq!(words, format!("iam:{action}"));
    }
    let denial = decide(
        &reading("iam", Kind::Iam),
        "prod",
        &request(
            "POST",
            "http://iam/",
            &[("content-type", FORM)],
            "Action=GetAccountAuthorizationDetails&Version=2010-05-08",
        ),
    )
    .unwrap_err();
    assert_eq!(
        denial.sentence("baton-eks 0.1.0"),
        "`iam:GetAccountAuthorizationDetails` is not among the rights of baton-eks 0.1.0"
    );
}

#[test]
fn r1_iam_forms_that_could_be_read_in_two_ways_are_refused() {
    for body in [
        "",
        "Action=ListRoles",
        "Version=2010-05-08",
        "Action=ListRoles&Action=AttachRolePolicy&Version=2010-05-08",
        "Action=ListRoles&%41ction=AttachRolePolicy&Version=2010-05-08",
        "Action=ListRoles&Version=2010-05-08&Version=2011-06-15",
        "Action=ListRoles&Version=2011-06-15",
        "Action=ListRoles&Version=2010-05-08&RoleName=x",
        "Action=ListRoles&Version=2010-05-08&Marker=a&Marker=b",
        "Action=ListRoles&Version=2010-05-08&",
        "Action=ListRoles&Version=2010-05-08&MaxItems",
        "Action=ListRoles&Version=2010-05-08&MaxItems=0",
        "Action=ListRoles&Version=2010-05-08&MaxItems=1001",
        "Action=ListRoles&Version=2010-05-08&Marker=%0a",
        "Action=ListRoles&Version=2010-05-08&Marker=%zz",
        "Action=ListRoles&Version=2010-05-08&Marker=%ff",
        "Action=List%20Roles&Version=2010-05-08",
        "Action=ListRoles%00&Version=2010-05-08",
        "Action=ListRoles;Action=AttachRolePolicy&Version=2010-05-08",
        "Action=&Version=2010-05-08",
        "action=ListRoles&Version=2010-05-08",
    ] {
        malformed(iam(body));
    }
}

#[test]
fn r1_iam_content_type_is_the_form() {
    let body = "Action=ListRoles&Version=2010-05-08";
    for headers in [
        &[][..],
        &[("content-type", "application/json")],
        &[("content-type", "multipart/form-data; boundary=x")],
        &[(
            "content-type",
            "application/x-www-form-urlencoded; charset=utf-7",
        )],
        &[("content-type", FORM), ("content-type", FORM)],
    ] {
        malformed(decide(
            &all("iam", Kind::Iam),
            "prod",
            &request("POST", "http://iam/", headers, body),
        ));
    }
}

// R3: Kubernetes.

#[test]
fn r3_kubernetes_gets_that_are_no_reads_are_named_and_refused() {
    for (method, path, words) in [
        ("GET", "/api/v1/secrets", "list secrets"),
        ("GET", "/api/v1/namespaces/dev/secrets", "list secrets"),
        (
            "GET",
            "/api/v1/namespaces/dev/secrets/db",
            "get secrets dev/db",
        ),
        (
            "GET",
            "/api/v1/namespaces/default/%73ecrets",
            "list secrets",
        ),
        (
            "GET",
            "/api/v1/namespaces/dev/pods/p/log",
            "get pods/log dev/p",
        ),
        (
            "GET",
            "/api/v1/namespaces/dev/pods/p/exec?command=sh",
            "get pods/exec dev/p",
        ),
        (
            "GET",
            "/api/v1/namespaces/dev/pods/p/attach",
            "get pods/attach dev/p",
        ),
        (
            "GET",
            "/api/v1/namespaces/dev/pods/p/portforward",
            "get pods/portforward dev/p",
        ),
        (
            "GET",
            "/api/v1/namespaces/dev/pods/p:8080/proxy/a/b",
            "get pods/proxy dev/p:8080",
        ),
        (
            "GET",
            "/api/v1/namespaces/dev/services/s/proxy",
            "get services/proxy dev/s",
        ),
        ("GET", "/api/v1/nodes/n/proxy/exec/x", "get nodes/proxy n"),
        ("GET", "/api/v1/nodes", "list nodes"),
        ("GET", "/api/v1/namespaces?watch=true", "watch namespaces"),
        ("GET", "/api/v1/namespaces?watch=", "watch namespaces"),
        (
            "GET",
            "/api/v1/namespaces?limit=5&%77atch=1",
            "watch namespaces",
        ),
        ("GET", "/api/v1/watch/namespaces", "watch namespaces"),
        ("GET", "/api/v1/proxy/nodes/n", "proxy nodes n"),
        ("GET", "/api/v1/namespaces/dev", "get namespaces dev"),
        (
            "GET",
            "/api/v1/namespaces/dev/status",
            "get namespaces/status dev",
        ),
        (
            "GET",
            "/api/v1/namespaces/dev/configmaps/other",
            "get configmaps dev/other",
        ),
        (
            "GET",
            "/api/v1/namespaces/dev/configmaps/aws-auth",
            "get configmaps dev/aws-auth",
        ),
        (
            "GET",
            "/api/v1/namespaces/kube-system/configmaps/aws-auth/x",
            "get configmaps/x kube-system/aws-auth",
        ),
        (
            "GET",
            "/api/v1/namespaces/kube-system/configmaps/aws-auth?watch=1",
            "watch configmaps kube-system/aws-auth",
        ),
        (
            "POST",
            "/api/v1/namespaces/dev/serviceaccounts/sa/token",
            "create serviceaccounts/token dev/sa",
        ),
        (
            "POST",
            "/api/v1/namespaces/dev/pods/p/exec",
            "create pods/exec dev/p",
        ),
        (
            "POST",
            "/apis/authentication.k8s.io/v1/tokenreviews",
            "create authentication.k8s.io/tokenreviews",
        ),
        (
            "POST",
            "/apis/certificates.k8s.io/v1/certificatesigningrequests",
            "create certificates.k8s.io/certificatesigningrequests",
        ),
        ("DELETE", "/api/v1/namespaces/dev", "delete namespaces dev"),
        (
            "DELETE",
            "/api/v1/namespaces/dev/pods",
            "deletecollection pods",
        ),
        (
            "PATCH",
            "/apis/rbac.authorization.k8s.io/v1/clusterroles/x",
            "patch rbac.authorization.k8s.io/clusterroles x",
        ),
        ("GET", "/apis/apps/v1/deployments", "list apps/deployments"),
        (
            "GET",
            "/apis/rbac.authorization.k8s.io/v1/rolesx",
            "list rbac.authorization.k8s.io/rolesx",
        ),
        ("GET", "/api/v1/roles", "list roles"),
        ("GET", "/version", "get /version"),
        ("GET", "/metrics", "get /metrics"),
        ("GET", "/api", "get /api"),
        ("GET", "/api/v1", "get /api/v1"),
        ("GET", "/openid/v1/jwks", "get /openid/v1/jwks"),
        ("GET", "/logs/kubelet.log", "get /logs/kubelet.log"),
        ("GET", "/", "get /"),
    ] {
        assert_eq!(missing(cluster(method, path)), words, "{method} {path}");
    }
}

#[test]
fn r3_kubernetes_paths_and_queries_are_closed() {
    for (method, path) in [
        ("GET", "/api/v1/namespaces/default%2Fsecrets"),
        ("GET", "/api/v1/namespaces%2fdefault/roles"),
        ("GET", "/api/v1/namespaces/default/../secrets"),
        ("GET", "/api/v1/namespaces/%2e%2E/secrets"),
        ("GET", "/api/v1/namespaces/./secrets"),
        ("GET", "/api/v1//namespaces"),
        ("GET", "//api/v1/namespaces"),
        ("GET", "/api/v1/namespaces/"),
        ("GET", "/api/v1/namespaces/%2573ecrets/x"),
        ("GET", "/api/v1/namespaces/a%5Cb/roles"),
        ("GET", "/api/v1/namespaces/a%00/roles"),
        ("GET", "/api/v1/namespaces/%zz"),
        ("GET", "/api/v1/namespaces/%ff/x"),
        ("GET", "/apis/rbac.authorization.k8s.io/v1beta1/roles"),
        (
            "GET",
            "/apis/rbac.authorization.k8s.io/v1/namespaces/x/clusterroles",
        ),
        (
            "GET",
            "/apis/rbac.authorization.k8s.io/v1/namespaces/X%3F/roles",
        ),
        ("GET", "/api/v1/namespaces?labelSelector=a"),
        ("GET", "/api/v1/namespaces?fieldSelector=metadata.name%3Da"),
        ("GET", "/api/v1/namespaces?resourceVersion=0"),
        ("GET", "/api/v1/namespaces?timeoutSeconds=9"),
        ("GET", "/api/v1/namespaces?limit=1&limit=2"),
        ("GET", "/api/v1/namespaces?limit=0"),
        ("GET", "/api/v1/namespaces?limit=-1"),
        ("GET", "/api/v1/namespaces?limit"),
        ("GET", "/api/v1/namespaces?&limit=1"),
        (
            "GET",
            "/api/v1/namespaces/kube-system/configmaps/aws-auth?limit=1",
        ),
        ("HEAD", "/api/v1/namespaces"),
        ("OPTIONS", "/api/v1/namespaces"),
        ("CONNECT", "/api/v1/namespaces"),
        ("TRACE", "/api/v1/namespaces"),
        ("get", "/api/v1/namespaces"),
        ("WATCH", "/api/v1/namespaces"),
    ] {
        malformed(cluster(method, path));
    }
}

#[test]
fn r3_reads_have_no_body() {
    let with_body = request("GET", "http://kubernetes/api/v1/namespaces", &[], "{}");
    malformed(decide(
        &all("kubernetes", Kind::Cluster),
        "prod",
        &with_body,
    ));
    let with_body = request("GET", "http://eks/clusters/prod", &[], "{}");
    malformed(decide(&all("eks", Kind::Eks), "prod", &with_body));
}

// R4: writes never leave a sandbox, even where the plugin was given them.

#[test]
fn r4_a_sandbox_never_writes() {
    let writes = |result: Result<Operation, Denial>| match result {
        Err(Denial::Writes(words)) => words,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        writes(eks("POST", "/clusters/prod/access-entries")),
        "eks:CreateAccessEntry"
    );
    assert_eq!(
        writes(eks(
            "DELETE",
            &format!("/clusters/prod/access-entries/{ENTRY}")
        )),
        "eks:DeleteAccessEntry"
    );
    assert_eq!(
        writes(cluster(
            "POST",
            "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
        )),
        "create rbac.authorization.k8s.io/clusterrolebindings"
    );
    assert_eq!(
        writes(cluster(
            "PUT",
            "/api/v1/namespaces/kube-system/configmaps/aws-auth"
        )),
        "update configmaps kube-system/aws-auth"
    );
    // Without the right, the right is what is missing.
    let request = request("POST", "http://eks/clusters/prod/access-entries", &[], "{}");
    assert_eq!(
        missing(decide(&reading("eks", Kind::Eks), "prod", &request)),
        "eks:CreateAccessEntry"
    );
}

// R6: encoding, headers, authority.

#[test]
fn r6_a_slash_is_legal_in_an_arn_only() {
    for path in [
        "/clusters/prod%2Faccess-entries",
        "/clusters/prod/access-entries%2F",
        "/clusters/prod/pod-identity-associations/a%2Fb",
        "/clusters/prod/access-entries/role%2Fdev",
        "/clusters/prod/access-entries/arn%3Aaws%3Aiam%3A%3A1%3Arole%2F..%2Fx",
        "/clusters/prod/access-entries/arn%3Aaws%3Aiam%3A%3A1%3Arole%2F%2Fx",
        "/clusters/prod/access-entries/arn%3Aaws%3Aiam%2Fx%3A%3A1%3Arole%2Fx",
        "/clusters/prod/access-entries/arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fx%3Fy",
        "/clusters/prod/access-entries/arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fx%20y",
        "/clusters/prod/access-entries/arn%3Aaws%3Aiam%3A%3A1%3Arole%252Fx",
        "/clusters/prod/access-entries/arn%3Aaws%3Aiam%3A%3A1%3Arole%5Cx",
        "/clusters/prod/access-entries/arn%3Aaws%3Aiam%3A%3A1",
        "/clusters/prod/access-entries/..",
        "/clusters/prod/access-entries/%2e%2e",
        "/clusters/prod/",
        "/clusters//prod",
        "/clusters/prod/access-entries?associatedPolicyArn=x",
        "/clusters/prod/access-entries?maxResults=101",
        "/clusters/prod/access-entries?unknown=1",
        "/clusters/prod?include=all",
    ] {
        malformed(eks("GET", path));
    }
}

#[test]
fn r6_the_authority_is_compared_byte_for_byte() {
    for uri in [
        "http://EKS/clusters/prod",
        "http://eks./clusters/prod",
        "http://eks:80/clusters/prod",
        "http://user@eks/clusters/prod",
        "http://user:password@eks:80/clusters/prod",
        "http://eks@169.254.169.254/clusters/prod",
        "http://169.254.169.254/clusters/prod",
        "http://iam/clusters/prod",
        "https://eks/clusters/prod",
        "ftp://eks/clusters/prod",
        "/clusters/prod",
    ] {
        malformed(decide(
            &all("eks", Kind::Eks),
            "prod",
            &request("GET", uri, &[], ""),
        ));
    }
}

#[test]
fn r6_headers_other_than_accept_and_content_type_are_refused() {
    for (name, value) in [
        ("authorization", "Bearer x"),
        ("host", "eks"),
        ("cookie", "a=b"),
        ("user-agent", "x"),
        ("accept-encoding", "gzip"),
        ("content-length", "0"),
        ("x-amz-security-token", "x"),
        ("x-amz-date", "x"),
        ("x-k8s-aws-id", "other"),
        ("impersonate-user", "system:admin"),
        ("impersonate-group", "system:masters"),
        ("impersonate-extra-x", "y"),
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("x-forwarded-for", "1.2.3.4"),
        ("x-http-method-override", "DELETE"),
        ("x-original-url", "/api/v1/secrets"),
        ("expect", "100-continue"),
        ("accept", "application/vnd.kubernetes.protobuf"),
        ("accept", "application/json;as=Table;g=meta.k8s.io;v=v1"),
        ("content-type", "application/apply-patch+yaml"),
    ] {
        let why = malformed(decide(
            &all("kubernetes", Kind::Cluster),
            "prod",
            &request(
                "GET",
                "http://kubernetes/api/v1/namespaces",
                &[(name, value)],
                "",
            ),
        ));
        assert!(why.contains(name), "{why}");
    }
}

// R7: only this cluster, only these operations.

#[test]
fn r7_another_cluster_of_the_account_does_not_exist() {
    for path in [
        "/clusters/staging",
        "/clusters/PROD",
        "/clusters/prod%20",
        "/clusters/staging/access-entries",
        &format!("/clusters/staging/access-entries/{ENTRY}"),
        "/clusters/staging/pod-identity-associations",
    ] {
        let why = malformed(eks("GET", path));
        assert_eq!(why, "the request is not for this session's cluster, `prod`");
    }
    malformed(eks("POST", "/clusters/staging/access-entries"));
}

#[test]
fn r7_operations_outside_the_ceiling_are_named() {
    for (method, path, words) in [
        ("GET", "/clusters", "eks:ListClusters"),
        ("GET", "/clusters/prod/node-groups", "eks:ListNodegroups"),
        (
            "POST",
            "/clusters/prod/update-config",
            "eks:UpdateClusterConfig",
        ),
        (
            "POST",
            "/clusters/prod/identity-provider-configs/associate",
            "eks:AssociateIdentityProviderConfig",
        ),
        ("POST", "/clusters/prod/addons", "eks:CreateAddon"),
        ("DELETE", "/clusters/prod", "eks:DeleteCluster"),
        (
            "POST",
            "/clusters/prod/pod-identity-associations",
            "eks:CreatePodIdentityAssociation",
        ),
    ] {
        assert_eq!(missing(eks(method, path)), words);
    }
    malformed(eks("GET", "/eks-anywhere-subscriptions"));
    malformed(eks("HEAD", "/clusters/prod"));
    malformed(eks("PUT", "/clusters/prod"));
}

// Whatever comes in: what goes out parses to the same, and its path decodes to
// nothing but what was decided on.

/// A small generator with a fixed seed: the same requests in each run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(sides).unwrap()).unwrap()
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from.get(self.roll(from.len())).unwrap()
    }
}

#[test]
fn property_rebuilding_is_idempotent_and_stays_inside() {
    let words = [
        "api",
        "apis",
        "v1",
        "namespaces",
        "roles",
        "rolebindings",
        "clusterroles",
        "configmaps",
        "aws-auth",
        "kube-system",
        "secrets",
        "rbac.authorization.k8s.io",
        "clusters",
        "prod",
        "access-entries",
        "access-policies",
        "pod-identity-associations",
        "dev",
        "pr%6Fd",
        "a%2Fb",
        "..",
        ".",
        "%2e%2e",
        "%2F",
        "%5c",
        "%25",
        "%00",
        "",
        "arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fx",
        "arn:aws:iam::1:role%2Fa%2Fb",
        "arn:aws:iam::1:role%2F..%2Fb",
        "serviceaccounts",
        "watch",
        "proxy",
        "s%C3%A9",
        "x~y",
        "a+b",
        "a;b",
        "a:b",
    ];
    let shapes = [
        "/api/v1/{}",
        "/api/v1/{}/{}",
        "/api/v1/namespaces/{}/{}",
        "/api/v1/namespaces/{}/{}/{}",
        "/apis/rbac.authorization.k8s.io/v1/{}",
        "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/{}",
        "/clusters/{}",
        "/clusters/{}/{}",
        "/clusters/{}/access-entries/{}",
        "/clusters/{}/access-entries/{}/{}",
        "/clusters/prod/{}/{}",
        "/{}",
        "/{}/{}",
        "/{}/{}/{}/{}",
    ];
    let queries = [
        "",
        "",
        "",
        "?limit=5",
        "?limit=05&continue=a%2Bb+c",
        "?maxResults=7&nextToken=%3D%2F",
        "?nextToken=&maxResults=1",
        "?associatedPolicyArn=arn:aws:eks::aws:cluster-access-policy/X",
        "?watch=1",
        "?limit=1&limit=2",
        "?a",
    ];
    let mut dice = Dice(0x1234_5678_9abc_def1);
    let mut made = 0;
    for _ in 0..200_000 {
        let (name, kind) = if dice.roll(2) == 0 {
            ("eks", Kind::Eks)
        } else {
            ("kubernetes", Kind::Cluster)
        };
        let mut path = dice.pick(&shapes).to_owned();
        while path.contains("{}") {
            path = path.replacen("{}", dice.pick(&words), 1);
        }
        let uri = format!("http://{name}{path}{}", dice.pick(&queries));
        let Ok(uri) = uri.parse::<http::Uri>() else {
            continue;
        };
        let granted = all(name, kind);
        let first = Request::builder().uri(uri).body(Bytes::new()).unwrap();
        let Ok(operation) = decide(&granted, "prod", &first) else {
            continue;
        };
        made += 1;
        let again = request(
            "GET",
            &format!("http://{name}{}", operation.path_and_query()),
            &[],
            "",
        );
        assert_eq!(decide(&granted, "prod", &again).as_ref(), Ok(&operation));
        assert_eq!(again.uri().path(), operation.path);
        // As a server that decodes the whole path before it routes would see it.
        let decoded = percent_encoding::percent_decode_str(&operation.path)
            .decode_utf8()
            .unwrap()
            .into_owned();
        assert!(
            !decoded.contains("/../") && !decoded.contains("//") && !decoded.ends_with("/.."),
            "{decoded}"
        );
        match kind {
            Kind::Cluster => assert!(
                !operation.path.contains("%2F") && !decoded.ends_with("/secrets"),
                "{decoded}"
            ),
            _ => assert!(
                decoded.starts_with("/clusters/prod") || decoded == "/access-policies",
                "{decoded}"
            ),
        }
    }
    assert!(made > 500, "only {made} of the requests were legal");
}
