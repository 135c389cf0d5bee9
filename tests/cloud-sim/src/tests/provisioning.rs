//! What a host that grants and revokes meets: the API server's checks before a
//! write, leases, slow consistency, lost answers; and the judge.

use serde_json::{Value, json};

use super::client::*;
use crate::{Action, Effect, EntrySpec, Fault, Scenario, Sim};

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";
const AWS_AUTH: &str = "/api/v1/namespaces/kube-system/configmaps/aws-auth";
const READER: &str = "arn:aws:iam::111122223333:role/eks-reader";
const DEVELOPERS: &str = "arn:aws:iam::111122223333:role/team/developers";
const ALICE: &str = "arn:aws:iam::111122223333:user/alice";
const VIEW: &str = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy";
const JSON_PATCH: [(&str, &str); 1] = [("content-type", "application/json-patch+json")];

/// A cluster `lab` whose reader holds these rules, too.
async fn lab(change: impl FnOnce(&mut Scenario), rules: Value) -> (Sim, Keys) {
    let mut scenario = Scenario::minimal().unwrap();
    scenario.clusters[0].objects.extend([
        json!({"kind": "ClusterRole", "metadata": {"name": "more"}, "rules": rules}),
        json!({"kind": "ClusterRoleBinding", "metadata": {"name": "more"},
            "roleRef": {"kind": "ClusterRole", "name": "more"}, "subjects": [{"kind": "Group", "name": "governance-readers"}]}),
    ]);
    change(&mut scenario);
    let sim = Sim::start(scenario).await.unwrap();
    let keys = assume(&sim, &static_keys(&sim), READER, &[]).await;
    (sim, keys)
}

fn everything() -> Value {
    json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}])
}

fn binding(name: &str, role: &str) -> String {
    json!({"metadata": {"name": name}, "roleRef": {"kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "User", "name": "eve"}, {"kind": "User", "name": "joe"}]})
    .to_string()
}

fn reason(answer: &Answer) -> (u16, String) {
    let reason = answer.json()["reason"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    (answer.status, reason)
}

#[tokio::test]
async fn a_namespace_must_be_there_and_stay() {
    let (sim, keys) = lab(
        |s| s.clusters[0].terminating = vec!["going".into()],
        everything(),
    )
    .await;
    let kube = Kube::new(&sim, "lab", &keys);
    let list = |namespace: &str| format!("{RBAC}/namespaces/{namespace}/rolebindings");
    for dry in ["", "?dryRun=All"] {
        let gone = kube
            .call(
                "POST",
                &format!("{}{dry}", list("gone")),
                &[],
                &binding("b", "view"),
            )
            .await;
        assert_eq!(reason(&gone), (404, "NotFound".into()));
        assert!(
            gone.text().contains("namespaces \\\"gone\\\" not found"),
            "{}",
            gone.text()
        );
        let going = kube
            .call(
                "POST",
                &format!("{}{dry}", list("going")),
                &[],
                &binding("b", "view"),
            )
            .await;
        assert_eq!(reason(&going), (403, "Forbidden".into()));
        assert!(going.text().contains("because it is being terminated"));
        assert_eq!(
            going.json()["details"]["causes"][0]["reason"],
            "NamespaceTerminating"
        );
    }
    // What is there already can still be taken away.
    kube.call("POST", &list("web"), &[], &binding("b", "view"))
        .await;
    sim.terminate_namespace("lab", "web").unwrap();
    let one = format!("{}/b", list("web"));
    assert_eq!(
        kube.call("POST", &list("web"), &[], &binding("c", "view"))
            .await
            .status,
        403
    );
    assert_eq!(kube.call("DELETE", &one, &[], "").await.status, 200);
    // A namespace takes its content along.
    assert!(sim.remove("lab", "", "namespaces", "web").unwrap());
    let bindings = sim.snapshot("lab").unwrap();
    assert!(
        !bindings
            .0
            .keys()
            .any(|name| name.starts_with("rolebindings web/"))
    );
}

#[tokio::test]
async fn escalation_is_checked_on_every_edit_and_not_on_deletion() {
    let write = json!([
        {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["rolebindings"], "verbs": ["create", "update", "patch", "delete"]},
        {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"], "resourceNames": ["view"], "verbs": ["bind"]}]);
    let (sim, keys) = lab(|_| {}, write).await;
    let role = |name: &str, role: &str| {
        json!({"kind": "RoleBinding", "metadata": {"name": name, "namespace": "web"}, "roleRef": {"kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "User", "name": "eve"}, {"kind": "User", "name": "joe"}]})
    };
    sim.apply("lab", role("mine", "view")).unwrap();
    sim.apply("lab", role("theirs", "edit")).unwrap();
    let kube = Kube::new(&sim, "lab", &keys);
    let list = format!("{RBAC}/namespaces/web/rolebindings");
    let take = json!([{"op": "test", "path": "/subjects/1/name", "value": "joe"}, {"op": "remove", "path": "/subjects/1"}]).to_string();
    let dry = kube
        .call(
            "PATCH",
            &format!("{list}/theirs?dryRun=All"),
            &JSON_PATCH,
            &take,
        )
        .await;
    assert_eq!(dry.status, 403, "a dry run is checked as well");
    assert!(
        dry.text()
            .contains("attempting to grant RBAC permissions not currently held")
    );
    assert_eq!(
        kube.call("PATCH", &format!("{list}/theirs"), &JSON_PATCH, &take)
            .await
            .status,
        403
    );
    assert_eq!(
        kube.call("PATCH", &format!("{list}/mine"), &JSON_PATCH, &take)
            .await
            .status,
        200
    );
    let again = kube
        .call("PATCH", &format!("{list}/mine"), &JSON_PATCH, &take)
        .await;
    assert_eq!(reason(&again), (422, "Invalid".into()));
    // Finalizers and owners are the garbage collector's business.
    let finalizer = json!([{"op": "add", "path": "/metadata/finalizers", "value": []}]).to_string();
    assert_eq!(
        kube.call("PATCH", &format!("{list}/theirs"), &JSON_PATCH, &finalizer)
            .await
            .status,
        200
    );
    assert_eq!(
        kube.call("DELETE", &format!("{list}/theirs"), &[], "")
            .await
            .status,
        200
    );
    // Who may not bind a role learns that before learning that the name is taken.
    assert_eq!(
        kube.call("POST", &list, &[], &binding("mine", "edit"))
            .await
            .status,
        403
    );
    assert_eq!(
        reason(
            &kube
                .call("POST", &list, &[], &binding("mine", "view"))
                .await
        )
        .1,
        "AlreadyExists"
    );
}

#[tokio::test]
async fn access_policies_bind_nothing() {
    let admin = |policy: &str| EntrySpec {
        principal: READER.into(),
        kind: "STANDARD".into(),
        username: None,
        groups: Vec::new(),
        created: "2025-01-01T00:00:00Z".into(),
        tags: Default::default(),
        policies: vec![crate::PolicySpec {
            policy: policy.into(),
            namespaces: None,
        }],
    };
    let (sim, keys) = lab(|_| {}, json!([])).await;
    let kube = Kube::new(&sim, "lab", &keys);
    let list = format!("{RBAC}/namespaces/web/rolebindings");
    sim.put_entry("lab", &admin("AmazonEKSAdminPolicy"))
        .unwrap();
    let refused = kube.call("POST", &list, &[], &binding("b", "view")).await;
    assert!(
        refused.text().contains("not currently held"),
        "{}",
        refused.text()
    );
    sim.put_entry("lab", &admin("AmazonEKSClusterAdminPolicy"))
        .unwrap();
    assert_eq!(
        kube.call("POST", &list, &[], &binding("b", "view"))
            .await
            .status,
        201
    );
}

#[tokio::test]
async fn preconditions_tell_an_object_from_its_successor() {
    let (sim, keys) = lab(|_| {}, everything()).await;
    let kube = Kube::new(&sim, "lab", &keys);
    let list = format!("{RBAC}/namespaces/web/rolebindings");
    let first = kube
        .call("POST", &list, &[], &binding("b", "view"))
        .await
        .json();
    let one = format!("{list}/b");
    let options = |object: &Value| {
        json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {
            "uid": object["metadata"]["uid"], "resourceVersion": object["metadata"]["resourceVersion"]}})
        .to_string()
    };
    kube.call("DELETE", &one, &[], "").await;
    let second = kube
        .call("POST", &list, &[], &binding("b", "view"))
        .await
        .json();
    assert_ne!(first["metadata"]["uid"], second["metadata"]["uid"]);
    assert_eq!(
        reason(&kube.call("DELETE", &one, &[], &options(&first)).await),
        (409, "Conflict".into())
    );
    sim.inject(Fault::times("kubernetes:delete *", Effect::Touch, 1));
    assert_eq!(
        kube.call("DELETE", &one, &[], &options(&second))
            .await
            .status,
        409
    );
    let now = kube.get(&one).await.json();
    let dry = kube
        .call("DELETE", &format!("{one}?dryRun=All"), &[], &options(&now))
        .await;
    assert_eq!((dry.status, kube.get(&one).await.status), (200, 200));
    assert_eq!(
        kube.call("DELETE", &one, &[], &options(&now)).await.status,
        200
    );
    let mut stale = second;
    stale["metadata"]["resourceVersion"] = json!("7");
    assert_eq!(
        kube.call("POST", &list, &[], &stale.to_string())
            .await
            .status,
        400,
        "a version has no place in a creation"
    );
}

#[tokio::test]
async fn a_lease_is_taken_once() {
    let (sim, keys) = lab(|_| {}, everything()).await;
    let kube = Kube::new(&sim, "lab", &keys);
    let lease = |holder: &str, time: &str, seconds: i64| {
        json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l", "namespace": "kube-system"},
            "spec": {"holderIdentity": holder, "leaseDurationSeconds": seconds, "renewTime": time, "acquireTime": time}})
    };
    let time = "2026-01-01T00:00:00.000000Z";
    let post = |body: Value| {
        let kube = &kube;
        async move { kube.call("POST", LEASES, &[], &body.to_string()).await }
    };
    assert_eq!(
        post(lease("a", "2026-01-01T00:00:00Z", 15)).await.status,
        400
    );
    assert_eq!(
        post(lease("a", "2026-01-01T00:00:00.123Z", 15))
            .await
            .status,
        400
    );
    assert_eq!(post(lease("a", time, 0)).await.status, 422);
    let made = post(lease("a", time, 15)).await;
    assert_eq!(made.status, 201);
    assert_eq!(post(lease("b", time, 15)).await.status, 409);
    let one = format!("{LEASES}/l");
    let mut body = lease("b", time, 15);
    let put = |body: &Value| {
        let (kube, one, body) = (&kube, one.clone(), body.to_string());
        async move { kube.call("PUT", &one, &[], &body).await }
    };
    assert_eq!(
        put(&body).await.status,
        422,
        "a lease is never replaced blindly"
    );
    body["metadata"]["resourceVersion"] = made.json()["metadata"]["resourceVersion"].clone();
    assert_eq!(put(&body).await.status, 200);
    assert_eq!(put(&body).await.status, 409);
    assert_eq!(kube.get(&one).await.json()["spec"]["holderIdentity"], "b");
    assert_eq!(kube.call("DELETE", &one, &[], "").await.status, 200);
}

#[tokio::test]
async fn aws_auth_is_replaced_by_version_and_guarded_where_the_webhook_is() {
    for guarded in [false, true] {
        let (sim, keys) = lab(
            |s| {
                s.clusters[0].aws_auth_webhook = guarded;
                s.clusters[0].aws_auth = Some([("mapRoles".to_owned(), "[]".to_owned())].into());
            },
            everything(),
        )
        .await;
        let kube = Kube::new(&sim, "lab", &keys);
        let put = |map: &Value| {
            let (kube, map) = (&kube, map.to_string());
            async move { kube.call("PUT", AWS_AUTH, &[], &map).await }
        };
        let mut map = kube.get(AWS_AUTH).await.json();
        let stale = map.clone();
        map["data"]["mapUsers"] = json!(
            "- userarn: arn:aws:iam::111122223333:user/alice\n  username: alice\n  groups: [g]\n"
        );
        assert_eq!(put(&map).await.status, 200);
        assert_eq!(reason(&put(&stale).await), (409, "Conflict".into()));
        for bad in [
            "- username: x\n",
            "- userarn: a\n  groups: g\n",
            "a: b",
            "- [",
            "- userarn: a\n  username: 1\n",
        ] {
            let mut map = kube.get(AWS_AUTH).await.json();
            map["data"]["mapUsers"] = json!(bad);
            let answer = put(&map).await;
            assert_eq!(answer.status, if guarded { 403 } else { 200 }, "{bad:?}");
            assert!(
                !guarded
                    || answer
                        .text()
                        .contains("eks-aws-auth-configmap-validation-webhook")
            );
        }
        let mut map = kube.get(AWS_AUTH).await.json();
        map["data"]["mapUsers"] = json!(7);
        assert_eq!(put(&map).await.status, 400);
    }
}

/// Status and code of an EKS call with the lab's static keys.
async fn ask(sim: &Sim, method: &str, target: &str, body: Value) -> (u16, String, String) {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let answer = eks(&static_keys(sim), method, target, &body)
        .send(sim)
        .await;
    (
        answer.status,
        answer.header("x-amzn-errortype").to_owned(),
        answer.text(),
    )
}

#[tokio::test]
async fn what_was_changed_is_seen_later() {
    let (sim, _) = lab(|s| s.consistency_delay_ms = 10_000, json!([])).await;
    let scope = |namespace: &str| json!({"policyArn": VIEW, "accessScope": {"type": "namespace", "namespaces": [namespace]}});
    let policies = entry("lab", DEVELOPERS, "/access-policies");
    assert_eq!(ask(&sim, "POST", &policies, scope("other")).await.0, 200);
    assert!(
        ask(&sim, "GET", &policies, Value::Null)
            .await
            .2
            .contains("[\"web\"]")
    );
    let may = |namespace: &'static str| Action {
        verb: "get",
        group: "",
        resource: "pods",
        namespace,
        name: "",
    };
    assert!(!sim.allowed("lab", DEVELOPERS, None, may("other")).unwrap());
    sim.set_clock_offset(11);
    assert!(
        ask(&sim, "GET", &policies, Value::Null)
            .await
            .2
            .contains("[\"other\"]")
    );
    assert!(sim.allowed("lab", DEVELOPERS, None, may("other")).unwrap());
    assert_eq!(
        ask(&sim, "DELETE", &entry("lab", DEVELOPERS, ""), Value::Null)
            .await
            .0,
        200
    );
    let list = "/clusters/lab/access-entries";
    assert!(
        ask(&sim, "GET", list, Value::Null)
            .await
            .2
            .contains(DEVELOPERS)
    );
    assert_eq!(ask(&sim, "GET", &policies, Value::Null).await.0, 200);
    assert_eq!(
        ask(&sim, "DELETE", &entry("lab", DEVELOPERS, ""), Value::Null)
            .await
            .0,
        404
    );
    sim.set_clock_offset(22);
    assert!(
        !ask(&sim, "GET", list, Value::Null)
            .await
            .2
            .contains(DEVELOPERS)
    );
}

#[tokio::test]
async fn a_role_made_again_is_another_principal() {
    let (sim, _) = lab(|s| s.consistency_delay_ms = 10_000, json!([])).await;
    let read = Action {
        verb: "get",
        group: "",
        resource: "pods",
        namespace: "web",
        name: "",
    };
    assert!(sim.allowed("lab", DEVELOPERS, None, read).unwrap());
    sim.recreate_role(DEVELOPERS).unwrap();
    assert!(!sim.allowed("lab", DEVELOPERS, None, read).unwrap());
    sim.remove_entry("lab", DEVELOPERS).unwrap();
    let list = "/clusters/lab/access-entries";
    let body = json!({"principalArn": DEVELOPERS});
    let (status, code, text) = ask(&sim, "POST", list, body.clone()).await;
    assert_eq!((status, code.as_str()), (400, "InvalidParameterException"));
    assert!(text.contains("invalid principal."), "{text}");
    sim.set_clock_offset(11);
    assert_eq!(ask(&sim, "POST", list, body).await.0, 200);
    assert!(sim.delete_role(DEVELOPERS));
    assert!(!sim.delete_role(DEVELOPERS));
}

#[tokio::test]
async fn an_idempotency_token_belongs_to_one_request() {
    let (sim, _) = lab(|_| {}, json!([])).await;
    let list = "/clusters/lab/access-entries";
    let body = |group: &str| json!({"principalArn": ALICE, "kubernetesGroups": [group], "clientRequestToken": "t"});
    assert_eq!(ask(&sim, "POST", list, body("a")).await.0, 200);
    let other = ask(&sim, "POST", list, body("b")).await;
    assert_eq!(
        (other.0, other.1.as_str()),
        (400, "InvalidRequestException")
    );
    // The first answer comes again even when the entry is gone: nothing is created.
    sim.remove_entry("lab", ALICE).unwrap();
    assert_eq!(ask(&sim, "POST", list, body("a")).await.0, 200);
    assert_eq!(
        ask(&sim, "GET", &entry("lab", ALICE, ""), Value::Null)
            .await
            .0,
        404
    );
}

#[tokio::test]
async fn tags_and_conditions_are_rights_of_their_own() {
    let document = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "eks:CreateAccessEntry", "Resource": "arn:aws:eks:*:111122223333:cluster/lab",
            "Condition": {"StringEquals": {"eks:accessEntryType": "STANDARD"}, "ForAllValues:StringLike": {"eks:kubernetesGroups": "baton-host:*"}}},
        {"Effect": "Allow", "Action": "eks:AssociateAccessPolicy", "Resource": "arn:aws:eks:*:111122223333:access-entry/lab/*",
            "Condition": {"ForAnyValue:StringEquals": {"eks:namespaces": "web"}}}]});
    let (sim, _) = lab(
        |s| s.accounts[0].users[0].policy = Some(document),
        json!([]),
    )
    .await;
    let list = "/clusters/lab/access-entries";
    let body = |groups: Value, tags: Value| json!({"principalArn": ALICE, "type": "STANDARD", "kubernetesGroups": groups, "tags": tags});
    let tagged = ask(
        &sim,
        "POST",
        list,
        body(json!([]), json!({"managed-by": "baton-host"})),
    )
    .await;
    assert_eq!(tagged.0, 403);
    assert!(tagged.2.contains("eks:TagResource"), "{}", tagged.2);
    assert_eq!(
        ask(
            &sim,
            "POST",
            list,
            body(json!(["baton-host:a", "admins"]), json!({}))
        )
        .await
        .0,
        403
    );
    assert_eq!(
        ask(&sim, "POST", list, body(json!(["baton-host:a"]), json!({})))
            .await
            .0,
        200
    );
    let policies = entry("lab", ALICE, "/access-policies");
    for (namespaces, status) in [(json!(["prod"]), 403), (json!(["prod", "web"]), 200)] {
        let body = json!({"policyArn": VIEW, "accessScope": {"type": "namespace", "namespaces": namespaces}});
        assert_eq!(ask(&sim, "POST", &policies, body).await.0, status);
    }
    assert_eq!(ask(&sim, "GET", &policies, Value::Null).await.0, 403);
}

#[tokio::test]
async fn an_answer_can_be_lost_before_or_after_the_deed() {
    let (sim, _) = lab(|_| {}, json!([])).await;
    let create = || {
        let keys = static_keys(&sim);
        let body = json!({"principalArn": ALICE}).to_string();
        eks(&keys, "POST", "/clusters/lab/access-entries", &body)
    };
    let there = || {
        sim.snapshot("lab")
            .unwrap()
            .0
            .contains_key(&format!("entry {ALICE}"))
    };
    // By running number, whatever the request is.
    sim.inject(Fault::nth(2, Effect::Reset));
    assert_eq!(ask(&sim, "GET", "/clusters/lab", Value::Null).await.0, 200);
    let count = sim.request_count();
    assert!(create().try_send(&sim).await.is_err());
    assert!(!there());
    assert_eq!(sim.request_count(), count + 1);
    sim.inject(Fault::nth(1, Effect::ResetAfter));
    assert!(create().try_send(&sim).await.is_err());
    assert!(there());
    assert_eq!(create().send(&sim).await.status, 409);
    sim.remove_entry("lab", ALICE).unwrap();
    for (effect, done) in [(Effect::Hang, false), (Effect::HangAfter, true)] {
        sim.inject(Fault::nth(1, effect));
        let before = sim.hanging();
        let call = create();
        tokio::select! {
            answer = call.try_send(&sim) => panic!("answered: {answer:?}"),
            () = async { while sim.hanging() == before { tokio::task::yield_now().await } } => {}
        }
        assert_eq!(there(), done);
    }
}

#[tokio::test]
async fn the_judge_knows_people_and_workloads() {
    let (sim, _) = lab(|_| {}, json!([])).await;
    let act = |verb: &'static str, resource: &'static str, namespace: &'static str| Action {
        verb,
        group: "",
        resource,
        namespace,
        name: "",
    };
    let may = |who: &str, action: Action| sim.allowed("lab", who, Some("s"), action).unwrap();
    assert!(may(DEVELOPERS, act("create", "pods", "web")));
    assert!(!may(DEVELOPERS, act("create", "pods", "default")));
    assert!(!may(ALICE, act("get", "pods", "web")), "nobody maps alice");
    let server = "system:serviceaccount:web:server";
    assert!(!may(server, act("get", "pods", "web")));
    let before = sim.snapshot("lab").unwrap();
    sim.apply("lab", json!({"kind": "RoleBinding", "metadata": {"name": "all", "namespace": "web"}, "roleRef": {"kind": "ClusterRole", "name": "view"},
        "subjects": [{"kind": "Group", "name": "system:serviceaccounts:web"}]})).unwrap();
    assert!(may(server, act("get", "pods", "web")));
    assert!(!may(
        "system:serviceaccount:default:default",
        act("get", "pods", "web")
    ));
    let difference = before.difference(&sim.snapshot("lab").unwrap());
    assert_eq!(difference.len(), 1);
    assert!(
        difference[0].starts_with("+ rolebindings web/all "),
        "{difference:?}"
    );
    assert!(
        sim.allowed("lab", "nonsense", None, act("get", "pods", ""))
            .is_err()
    );
    assert!(
        sim.allowed("none", ALICE, None, act("get", "pods", ""))
            .is_err()
    );
    let (name, groups) = sim.who_is("lab", DEVELOPERS, Some("s")).unwrap().unwrap();
    assert_eq!(name, "arn:aws:sts::111122223333:assumed-role/developers/s");
    assert_eq!(groups, ["developers", "system:authenticated"]);
}
