//! Rounds, undo and read-back, against a cluster in memory and a plan that is
//! made from its state. The clock is tokio's, paused: what waits costs nothing.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;

use super::State as Ending;
use super::facts::Cloud;
use super::plans::Plans;
use super::rounds::{Ended, Progress, Run};
use super::rows::Rows;
use super::wish::{Access, Iam, Who, Wish};
use super::*;
use crate::sandbox::contract::Plan;
use crate::sandbox::contract::types::{Change, Grant, ObjectId};
use crate::upstream::operation::write::{Op, Place, Scope, Write};
use crate::upstream::rights::{CEILING, Kind};
use crate::upstream::{Outcome, Read, Reply};

const ALICE: &str = "arn:aws:iam::111122223333:user/alice";
const VIEW: &str = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy";
const GROUP: &str = "rbac.authorization.k8s.io";

// A cluster.

#[derive(Debug, Clone, Default, PartialEq)]
struct State {
    entries: BTreeMap<String, Value>,
    associations: BTreeMap<(String, String), Value>,
    bindings: BTreeMap<Place, Value>,
    aws_auth: Option<Value>,
}

/// What goes wrong with one change.
#[derive(Debug, Clone)]
enum Fault {
    /// It is refused.
    Answer(u16, &'static str, &'static str),
    /// It is made, and the answer lost.
    LostAfter,
    /// It never arrives, and nobody knows.
    LostBefore,
    /// It is known that it never arrived.
    Unsent,
    /// It is made after a while.
    Slow(Duration),
    /// Somebody else acts just before it.
    Meanwhile(fn(&mut State)),
    /// Nothing happens.
    None,
}

#[derive(Default)]
struct Sim {
    mode: &'static str,
    state: Mutex<State>,
    /// What EKS shows, where it is behind.
    shown: Mutex<Option<(Instant, State)>>,
    faults: Mutex<VecDeque<Fault>>,
    sent: Mutex<Vec<(String, String)>>,
    versions: Mutex<u64>,
    blind: Mutex<bool>,
    /// Whether the next reads of associations fail.
    unread: Mutex<VecDeque<bool>>,
}

fn reply(status: u16, body: Value) -> Reply {
    Reply { status, body }
}

fn gone() -> Reply {
    reply(404, json!({"message": "not found", "reason": "NotFound"}))
}

fn unknown() -> UpstreamError {
    UpstreamError::Timeout {
        what: "the upstream".to_owned(),
        address: "x".to_owned(),
    }
}

impl Sim {
    fn new(mode: &'static str) -> Self {
        Self {
            mode,
            ..Self::default()
        }
    }

    fn faults(self, faults: impl IntoIterator<Item = Fault>) -> Self {
        self.faults.lock().unwrap().extend(faults);
        self
    }

    fn state(&self) -> State {
        self.state.lock().unwrap().clone()
    }

    /// The state without what the API server gives anew each time.
    fn bare(&self) -> State {
        let mut state = self.state();
        for object in state.bindings.values_mut().chain(&mut state.aws_auth) {
            let metadata = object["metadata"].as_object_mut().unwrap();
            metadata.remove("uid");
            metadata.remove("resourceVersion");
            let members = object.as_object_mut().unwrap();
            members.remove("apiVersion");
            members.remove("kind");
        }
        state
    }

    fn sent(&self) -> Vec<String> {
        let sent = self.sent.lock().unwrap();
        sent.iter().map(|(words, _)| words.clone()).collect()
    }

    fn version(&self) -> String {
        let mut versions = self.versions.lock().unwrap();
        *versions += 1;
        versions.to_string()
    }

    fn put_binding(&self, place: &Place, mut object: Value) -> Value {
        object["metadata"]["uid"] = format!("uid-{}", self.version()).into();
        object["metadata"]["resourceVersion"] = self.version().into();
        let mut state = self.state.lock().unwrap();
        state.bindings.insert(place.clone(), object.clone());
        object
    }

    fn eks(&self) -> State {
        let shown = self.shown.lock().unwrap();
        match &*shown {
            Some((until, state)) if clock::now() < *until => state.clone(),
            _ => self.state(),
        }
    }

    fn make(&self, write: &Write) -> Reply {
        let mut state = self.state.lock().unwrap();
        match write {
            Write::CreateEntry(entry) => {
                if state.entries.contains_key(&entry.principal) {
                    return reply(
                        409,
                        json!({"code": "ResourceInUseException", "message": "in use"}),
                    );
                }
                let made = json!({
                    "principalArn": entry.principal, "type": "STANDARD", "kubernetesGroups": entry.groups,
                    "username": entry.username.clone().unwrap_or(entry.principal.clone()), "tags": entry.tags,
                });
                state.entries.insert(entry.principal.clone(), made.clone());
                reply(200, json!({"accessEntry": made}))
            }
            Write::UpdateEntry { principal, groups } => match state.entries.get_mut(principal) {
                Some(entry) => {
                    entry["kubernetesGroups"] = json!(groups);
                    reply(200, json!({}))
                }
                None => gone(),
            },
            Write::DeleteEntry { principal } => match state.entries.remove(principal) {
                Some(_) => {
                    state
                        .associations
                        .retain(|(whose, _), _| whose != principal);
                    reply(200, json!({}))
                }
                None => gone(),
            },
            Write::Associate {
                principal,
                policy,
                scope,
            } => {
                if !state.entries.contains_key(principal) {
                    return gone();
                }
                let key = (principal.clone(), policy.clone());
                state.associations.insert(key, scope.json());
                reply(200, json!({}))
            }
            Write::Disassociate { principal, policy } => {
                match state
                    .associations
                    .remove(&(principal.clone(), policy.clone()))
                {
                    Some(_) => reply(200, json!({})),
                    None => gone(),
                }
            }
            Write::CreateBinding { place, object } => {
                if state.bindings.contains_key(place) {
                    return reply(409, json!({"reason": "AlreadyExists", "message": "exists"}));
                }
                drop(state);
                reply(201, self.put_binding(place, object.clone()))
            }
            Write::DeleteBinding {
                place,
                uid,
                version,
            } => match state.bindings.get(place) {
                Some(found)
                    if found["metadata"]["uid"] == json!(uid)
                        && found["metadata"]["resourceVersion"] == json!(version) =>
                {
                    state.bindings.remove(place);
                    reply(200, json!({}))
                }
                Some(_) => reply(
                    409,
                    json!({"reason": "Conflict", "message": "precondition"}),
                ),
                None => gone(),
            },
            Write::PatchBinding { place, patch } => {
                let Some(mut object) = state.bindings.get(place).cloned() else {
                    return gone();
                };
                for op in patch {
                    match op {
                        Op::Test(path, value) => {
                            if object.pointer(path) != Some(value) {
                                return reply(
                                    422,
                                    json!({"reason": "Invalid", "message": "test failed"}),
                                );
                            }
                        }
                        Op::Remove(path) | Op::Add(path, _) => {
                            let at: usize =
                                path.strip_prefix("/subjects/").unwrap().parse().unwrap();
                            let list = object["subjects"].as_array_mut().unwrap();
                            match op {
                                Op::Add(_, value) => list.insert(at, value.clone()),
                                _ => drop(list.remove(at)),
                            }
                        }
                    }
                }
                object["metadata"]["resourceVersion"] = self.version().into();
                state.bindings.insert(place.clone(), object.clone());
                reply(200, object)
            }
            Write::ReplaceAwsAuth { object } => {
                let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
                match &state.aws_auth {
                    Some(found) if version(found) == version(object) => {
                        let mut object = object.clone();
                        object["metadata"]["resourceVersion"] = self.version().into();
                        state.aws_auth = Some(object.clone());
                        reply(200, object)
                    }
                    Some(_) => reply(409, json!({"reason": "Conflict", "message": "modified"})),
                    None => gone(),
                }
            }
            Write::CreateAwsAuth { object } => {
                if state.aws_auth.is_some() {
                    return reply(409, json!({"reason": "AlreadyExists", "message": "exists"}));
                }
                let mut object = object.clone();
                object["metadata"]["resourceVersion"] = self.version().into();
                state.aws_auth = Some(object.clone());
                reply(201, object)
            }
        }
    }
}

impl Cloud for Sim {
    async fn read(&self, read: &Read) -> Result<Reply, UpstreamError> {
        if *self.blind.lock().unwrap() {
            return Err(unknown());
        }
        let (state, eks) = (self.state(), self.eks());
        let object = |object: Option<Value>| object.map_or_else(gone, |object| reply(200, object));
        Ok(match read {
            Read::Entry(arn) => object(
                eks.entries
                    .get(arn)
                    .map(|entry| json!({"accessEntry": entry})),
            ),
            Read::Associations(arn, _) => {
                if self.unread.lock().unwrap().pop_front() == Some(true) {
                    return Err(unknown());
                }
                let mine = eks
                    .associations
                    .iter()
                    .filter(|((whose, _), _)| whose == arn);
                let list: Vec<Value> = mine
                    .map(|((_, policy), scope)| json!({"policyArn": policy, "accessScope": scope}))
                    .collect();
                reply(200, json!({"associatedAccessPolicies": list}))
            }
            Read::Entries(_) => reply(
                200,
                json!({"accessEntries": eks.entries.keys().collect::<Vec<_>>()}),
            ),
            Read::AwsAuth => object(state.aws_auth),
            Read::Binding(place) => object(state.bindings.get(place).cloned()),
            Read::Bindings(wide, _) => {
                let all = state.bindings.iter();
                let list: Vec<&Value> = all
                    .filter(|(place, _)| place.namespace.is_none() == *wide)
                    .map(|(_, object)| object)
                    .collect();
                reply(200, json!({"items": list, "metadata": {}}))
            }
            Read::Lease(_) => gone(),
        })
    }

    async fn change(
        &self,
        write: &Write,
        token: &str,
        dry_run: bool,
    ) -> Result<Outcome, UpstreamError> {
        let words = match dry_run {
            true => format!("dry {}", write.words()),
            false => write.words().to_owned(),
        };
        self.sent.lock().unwrap().push((words, token.to_owned()));
        if dry_run {
            return Ok(Outcome::Answered(reply(201, json!({}))));
        }
        let fault = self.faults.lock().unwrap().pop_front();
        match fault.unwrap_or(Fault::None) {
            Fault::None => Ok(Outcome::Answered(self.make(write))),
            Fault::Answer(status, code, message) => Ok(Outcome::Answered(reply(
                status,
                json!({"code": code, "reason": code, "message": message}),
            ))),
            Fault::LostAfter => {
                self.make(write);
                Ok(Outcome::Unknown(unknown()))
            }
            Fault::LostBefore => Ok(Outcome::Unknown(unknown())),
            Fault::Unsent => Err(unknown()),
            Fault::Slow(time) => {
                clock::sleep(time).await;
                Ok(Outcome::Answered(self.make(write)))
            }
            Fault::Meanwhile(act) => {
                act(&mut self.state.lock().unwrap());
                Ok(Outcome::Answered(self.make(write)))
            }
        }
    }

    async fn mode(&self) -> Result<String, UpstreamError> {
        Ok(self.mode.to_owned())
    }
}

// A connector.

struct Planner<'a, F>(&'a Sim, F);

impl<F: FnMut(&State) -> Vec<Change> + Send> Plans for Planner<'_, F> {
    async fn plan(&mut self, _: Direction, _: &Grant) -> Result<Plan, ProvisionError> {
        // What the plugin sees of EKS may be behind as well.
        let mut state = self.0.state();
        let eks = self.0.eks();
        (state.entries, state.associations) = (eks.entries, eks.associations);
        Ok(Plan {
            changes: (self.1)(&state),
            attributes: vec![(
                "remaining".to_owned(),
                "cluster-admin by a group".to_owned(),
            )],
        })
    }
}

fn change(write: &Write) -> Change {
    let mut body = write.body("");
    if let Some(members) = body.as_mut().and_then(Value::as_object_mut) {
        members.remove("clientRequestToken");
    }
    Change {
        upstream: match write.kind() {
            Kind::Cluster => "kubernetes".to_owned(),
            _ => "eks".to_owned(),
        },
        method: write.method().to_string(),
        path: write.path("prod"),
        body: body.map(|body| body.to_string()),
        summary: format!("do {}", write.words()),
        undo: Vec::new(),
        attributes: Vec::new(),
    }
}

fn alice() -> Iam {
    Iam::parse(ALICE).unwrap()
}

fn wish(access: Access) -> Wish {
    Wish {
        access,
        who: Who::Iam(alice()),
        principal: ("iam_user".to_owned(), ALICE.to_owned()),
    }
}

fn role() -> Wish {
    wish(Access::Role {
        kind: "ClusterRole",
        name: "view".to_owned(),
        namespace: Some("dev".to_owned()),
    })
}

fn policy(namespace: Option<&str>) -> Wish {
    wish(Access::Policy {
        arn: VIEW.to_owned(),
        namespace: namespace.map(str::to_owned),
    })
}

fn tags() -> serde_json::Map<String, Value> {
    json!({"managed-by": "baton-host"})
        .as_object()
        .unwrap()
        .clone()
}

fn new_entry() -> Write {
    Write::CreateEntry(crate::upstream::operation::write::NewEntry {
        principal: ALICE.to_owned(),
        groups: vec![alice().own_group()],
        username: None,
        tags: tags(),
    })
}

fn binding(wish: &Wish) -> Write {
    let place = wish.place().unwrap();
    let object = json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": place.kind(),
        "metadata": {
            "name": place.name, "namespace": "dev",
            "labels": {"app.kubernetes.io/managed-by": "baton-host"},
            "annotations": {"baton-host/principal": ALICE},
        },
        "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": "view"},
        "subjects": [{"apiGroup": GROUP, "kind": "Group", "name": alice().own_group()}],
    });
    Write::CreateBinding { place, object }
}

fn associate(scope: Scope) -> Write {
    Write::Associate {
        principal: ALICE.to_owned(),
        policy: VIEW.to_owned(),
        scope,
    }
}

/// Binding, then entry: whatever is missing.
fn grants_role(state: &State) -> Vec<Change> {
    let write = binding(&role());
    let mut changes = Vec::new();
    if !state.bindings.contains_key(&role().place().unwrap()) {
        changes.push(change(&write));
    }
    if !state.entries.contains_key(ALICE) {
        changes.push(change(&new_entry()));
    }
    changes
}

/// Entry, then association with the whole cluster.
fn grants_policy(state: &State) -> Vec<Change> {
    let mut changes = Vec::new();
    if !state.entries.contains_key(ALICE) {
        changes.push(change(&new_entry()));
    }
    if !state
        .associations
        .contains_key(&(ALICE.to_owned(), VIEW.to_owned()))
    {
        changes.push(change(&associate(Scope::Cluster)));
    }
    changes
}

// Orders.

struct Bench {
    audit: Audit,
    log: std::path::PathBuf,
    _dir: tempfile::TempDir,
    order: Order,
    wish: Wish,
    granted: Vec<Granted>,
    stop: watch::Sender<Ended>,
}

fn bench(direction: Direction, mode: Mode, wish: Wish) -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("audit.jsonl");
    let id = |kind: &str, id: &str| ObjectId {
        kind: kind.to_owned(),
        id: id.to_owned(),
    };
    Bench {
        audit: Audit::open(&AuditTarget::File(log.clone())).unwrap(),
        log,
        _dir: dir,
        order: Order {
            direction,
            wish: Grant {
                on: id("cluster_role", "view"),
                slug: "dev:member".to_owned(),
                principal: id("iam_user", ALICE),
                attributes: Vec::new(),
            },
            entitlement: "cluster_role:view:dev:member".to_owned(),
            asked_by: "tester".to_owned(),
            operation: "op-1".to_owned(),
            mode,
        },
        wish,
        granted: [("eks", Kind::Eks), ("kubernetes", Kind::Cluster)]
            .map(|(name, kind)| Granted {
                name: name.to_owned(),
                kind,
                rights: CEILING.iter().filter(|right| right.kind == kind).collect(),
            })
            .to_vec(),
        stop: watch::Sender::new(None),
    }
}

fn grant(wish: Wish) -> Bench {
    bench(Direction::Grant, Mode::Apply, wish)
}

impl Bench {
    async fn run(
        &self,
        sim: &Sim,
        plans: impl FnMut(&State) -> Vec<Change> + Send,
    ) -> Result<Done, ProvisionError> {
        let rows = Rows {
            audit: &self.audit,
            order: &self.order,
            principal: self.order.principal(),
            cluster: "arn:cluster".to_owned(),
            caller: "arn:caller".to_owned(),
            plugin: "sha256:x".to_owned(),
        };
        Run {
            cloud: sim,
            plans: Planner(sim, plans),
            order: &self.order,
            wish: &self.wish,
            granted: &self.granted,
            cluster: "prod",
            rows: &rows,
            ended: self.stop.subscribe(),
            progress: Progress::default(),
        }
        .run()
        .await
    }

    /// Event and status of every row.
    fn rows(&self) -> Vec<String> {
        let text = std::fs::read_to_string(&self.log).unwrap();
        text.lines()
            .map(|line| {
                let row: Value = serde_json::from_str(line).unwrap();
                let status = row.get("status").and_then(Value::as_u64);
                let status = status
                    .map(|status| format!(" {status}"))
                    .unwrap_or_default();
                format!("{}{status}", row["event"].as_str().unwrap())
            })
            .collect()
    }
}

/// Why it failed, what was undone, what is left.
fn failure(result: Result<Done, ProvisionError>) -> (Cause, String, Vec<String>, Vec<String>) {
    match result {
        Err(ProvisionError::Failed {
            cause,
            what,
            undone,
            left,
            ..
        }) => (cause, what, undone, left),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_grant_is_made_read_back_and_written_down() {
    clock::run(async {
        let (sim, bench) = (Sim::new("API"), grant(role()));
        let done = bench.run(&sim, grants_role).await.unwrap();
        assert_eq!(
            (done.state, done.rounds, done.changes.len()),
            (Ending::Changed, 1, 2)
        );
        assert_eq!(done.changes[0].result, "sent 201");
        assert_eq!(done.remaining, ["cluster-admin by a group"]);
        assert_eq!(
            sim.sent(),
            [
                "create rbac.authorization.k8s.io/rolebindings",
                "eks:CreateAccessEntry"
            ]
        );
        assert_eq!(
            bench.rows(),
            ["request", "request 201", "request", "request 200", "done"]
        );
        let log = std::fs::read_to_string(&bench.log).unwrap();
        assert!(log.contains("baton-host/principal") && log.contains("clientRequestToken"));
        // Again: nothing is sent, nothing changes.
        let before = sim.state();
        let done = bench.run(&sim, grants_role).await.unwrap();
        assert_eq!((done.state, done.rounds), (Ending::AlreadyGranted, 0));
        assert_eq!(sim.state(), before);
    })
    .await
}

#[tokio::test]
async fn a_plan_is_shown_and_nothing_is_sent() {
    clock::run(async {
        let sim = Sim::new("API");
        let bench = bench(Direction::Grant, Mode::Plan, role());
        let done = bench.run(&sim, grants_role).await.unwrap();
        assert_eq!((done.state, done.changes.len()), (Ending::Planned, 2));
        assert_eq!(done.changes[1].step, "identity");
        assert!(
            done.changes[1]
                .body
                .as_ref()
                .unwrap()
                .get("clientRequestToken")
                .is_none()
        );
        assert!(sim.sent().is_empty() && bench.rows().is_empty());
    })
    .await
}

#[tokio::test]
async fn a_dry_run_tries_what_can_be_tried() {
    clock::run(async {
        let sim = Sim::new("API");
        let bench = bench(Direction::Grant, Mode::DryRun, role());
        let done = bench.run(&sim, grants_role).await.unwrap();
        assert_eq!(
            sim.sent(),
            ["dry create rbac.authorization.k8s.io/rolebindings"]
        );
        assert_eq!(
            (
                done.changes[0].result.as_str(),
                done.changes[1].result.as_str()
            ),
            ("dry run 201", "not tried")
        );
        assert!(done.changes[0].url_path.ends_with("?dryRun=All"));
        assert_eq!(sim.state(), State::default());
    })
    .await
}

#[tokio::test]
async fn a_plan_for_somebody_else_is_refused_and_written_down() {
    clock::run(async {
        let (sim, bench) = (Sim::new("API"), grant(role()));
        let hostile = |_: &State| {
            let mut bad = change(&new_entry());
            bad.body = Some(bad.body.unwrap().replace("user/alice", "user/mallory"));
            vec![change(&binding(&role())), bad]
        };
        let error = bench.run(&sim, hostile).await.unwrap_err();
        assert!(
            matches!(&error, ProvisionError::BadPlan { sentence } if sentence.contains("mallory")),
            "{error}"
        );
        assert!(sim.sent().is_empty());
        assert_eq!(bench.rows(), ["refused"]);
        let undo = |_: &State| {
            let mut bad = change(&new_entry());
            bad.undo.push(crate::sandbox::contract::types::UndoStep {
                method: "DELETE".to_owned(),
                path: "/clusters/prod/access-entries/x".to_owned(),
                body: None,
            });
            vec![bad]
        };
        assert!(matches!(
            bench.run(&sim, undo).await,
            Err(ProvisionError::BadPlan { .. })
        ));
        let many = |_: &State| (0..1000).map(|_| change(&new_entry())).collect();
        assert!(matches!(
            bench.run(&sim, many).await,
            Err(ProvisionError::BadPlan { .. })
        ));
        assert!(sim.sent().is_empty());
    })
    .await
}

#[tokio::test]
async fn a_plan_that_never_fits_what_is_read_is_refused() {
    clock::run(async {
        let (sim, bench) = (Sim::new("API"), grant(policy(Some("dev"))));
        sim.make(&new_entry());
        sim.make(&associate(Scope::Namespaces(vec!["a".to_owned()])));
        let narrowing = |_: &State| {
            vec![change(&associate(Scope::Namespaces(vec![
                "dev".to_owned(),
            ])))]
        };
        let error = bench.run(&sim, narrowing).await.unwrap_err();
        assert!(matches!(error, ProvisionError::BadPlan { .. }), "{error}");
        assert!(sim.sent().is_empty());
    })
    .await
}

#[tokio::test]
async fn a_conflict_is_planned_again_and_five_are_the_end() {
    clock::run(async {
        let busy = || Fault::Answer(409, "Conflict", "modified");
        for status in [409, 412, 404] {
            let sim = Sim::new("API").faults([Fault::Answer(status, "Conflict", "modified")]);
            let bench = grant(role());
            let done = bench.run(&sim, grants_role).await.unwrap();
            assert_eq!((done.state, done.rounds), (Ending::Changed, 2), "{status}");
            assert!(done.changes[0].result.starts_with("conflict"));
        }
        let sim = Sim::new("API").faults((0..9).map(|_| busy()));
        let bench = grant(role());
        let (cause, _, undone, left) = failure(bench.run(&sim, grants_role).await);
        assert_eq!((cause, undone.len(), left.len()), (Cause::Conflict, 0, 0));
        assert_eq!(sim.sent().len(), 5);
    })
    .await
}

#[tokio::test]
async fn somebody_else_who_makes_it_true_is_fine() {
    clock::run(async {
        fn other(state: &mut State) {
            let Write::CreateBinding { place, object } = binding(&role()) else {
                panic!()
            };
            state.bindings.insert(place, object);
        }
        let sim = Sim::new("API").faults([Fault::Meanwhile(other)]);
        sim.make(&new_entry());
        let done = grant(role()).run(&sim, grants_role).await.unwrap();
        assert_eq!(done.state, Ending::AlreadyGranted);
    })
    .await
}

#[tokio::test]
async fn what_fails_later_is_undone_from_the_last_to_the_first() {
    clock::run(async {
    let denied = Fault::Answer(
        403,
        "AccessDeniedException",
        "not authorized to perform: eks:CreateAccessEntry",
    );
    let (sim, bench) = (Sim::new("API").faults([Fault::None, denied]), grant(role()));
    let result = bench.run(&sim, grants_role).await;
    assert!(
        matches!(&result, Err(ProvisionError::Failed { hint: Some(hint), .. }) if hint.contains("eks:CreateAccessEntry"))
    );
    assert!(
        result
            .as_ref()
            .unwrap_err()
            .to_string()
            .ends_with("; everything was undone")
    );
    let (cause, what, undone, left) = failure(result);
    assert_eq!(
        (cause, undone.len(), left.len()),
        (Cause::NotPermitted, 1, 0),
        "{what}"
    );
    assert_eq!(sim.state(), State::default());
    assert_eq!(
        bench.rows(),
        [
            "request",
            "request 201",
            "request",
            "request 403",
            "undo",
            "undo 200",
            "failed"
        ]
    );
    })
    .await
}

#[tokio::test]
async fn what_cannot_be_undone_is_named() {
    clock::run(async {
        let broken = Fault::Answer(400, "InvalidParameterException", "no");
        let no = Fault::Answer(403, "Forbidden", "no");
        let (sim, bench) = (
            Sim::new("API").faults([Fault::None, broken, no]),
            grant(role()),
        );
        let result = bench.run(&sim, grants_role).await;
        let sentence = result.as_ref().unwrap_err().to_string();
        assert!(
            sentence.contains("LEFT as it is now: RoleBinding dev/baton-host-"),
            "{sentence}"
        );
        let (_, _, undone, left) = failure(result);
        assert_eq!((undone.len(), left.len()), (0, 1));
        assert_eq!(sim.state().bindings.len(), 1);
    })
    .await
}

#[tokio::test]
async fn what_somebody_changed_in_between_is_theirs() {
    clock::run(async {
        fn other(state: &mut State) {
            let object = state.bindings.values_mut().next().unwrap();
            object["subjects"]
                .as_array_mut()
                .unwrap()
                .push(json!({"kind": "User", "name": "bob"}));
            state
                .entries
                .insert(ALICE.to_owned(), json!({"principalArn": ALICE}));
        }
        // The entry is there by now, in a way that cannot be planned with.
        let sim = Sim::new("API").faults([Fault::None, Fault::Meanwhile(other)]);
        let once = |state: &State| match state.bindings.is_empty() {
            true => grants_role(state),
            false => vec![change(&Write::DeleteEntry {
                principal: ALICE.to_owned(),
            })],
        };
        let (_, _, undone, left) = failure(grant(role()).run(&sim, once).await);
        assert_eq!((undone.len(), left.len()), (0, 1));
        assert!(left[0].contains("somebody else has changed it since"));
    })
    .await
}

#[tokio::test]
async fn a_lost_answer_is_looked_for_and_not_repeated() {
    clock::run(async {
        let (sim, bench) = (
            Sim::new("API").faults([Fault::LostAfter, Fault::LostAfter]),
            grant(role()),
        );
        let done = bench.run(&sim, grants_role).await.unwrap();
        assert_eq!((done.state, sim.sent().len()), (Ending::Changed, 2));
        assert_eq!(done.changes[0].result, "sent, and found made");
        let (sim, bench) = (
            Sim::new("API").faults([Fault::LostBefore, Fault::None, Fault::LostBefore]),
            grant(role()),
        );
        let done = bench.run(&sim, grants_role).await.unwrap();
        assert_eq!((done.state, sim.sent().len()), (Ending::Changed, 4));
        // The same change has the same token, another one another.
        let sent = sim.sent.lock().unwrap();
        assert_eq!(sent[0].1, sent[1].1);
        assert_eq!(sent[2].1, sent[3].1);
        assert_ne!(sent[0].1, sent[2].1);
    })
    .await
}

#[tokio::test]
async fn an_upstream_that_is_gone_ends_the_order() {
    clock::run(async {
        let sim = Sim::new("API").faults([Fault::None, Fault::Unsent]);
        let (cause, _, undone, left) = failure(grant(role()).run(&sim, grants_role).await);
        assert_eq!(
            (cause, undone.len(), left.len()),
            (Cause::Unavailable, 1, 0)
        );
        assert_eq!(sim.state(), State::default());
        let sim = Sim::new("API").faults([
            Fault::None,
            Fault::LostBefore,
            Fault::LostBefore,
            Fault::LostBefore,
        ]);
        let (cause, _, _, left) = failure(grant(role()).run(&sim, grants_role).await);
        assert_eq!((cause, left.len()), (Cause::Unavailable, 0));
        assert_eq!(sim.state(), State::default());
    })
    .await
}

#[tokio::test]
async fn where_nothing_can_be_read_any_more_everything_is_named() {
    clock::run(async {
        let sim = Sim::new("API").faults([Fault::None, Fault::LostAfter]);
        let bench = grant(role());
        let result = {
            let work = bench.run(&sim, grants_role);
            tokio::pin!(work);
            loop {
                tokio::select! {
                    result = &mut work => break result,
                    () = clock::sleep(Duration::from_millis(1)) => {
                        *sim.blind.lock().unwrap() = sim.sent().len() == 2;
                    }
                }
            }
        };
        // The look after the lost answer may have come before the cluster was gone.
        if let Err(ProvisionError::Failed { left, .. }) = &result {
            assert_eq!(left.len(), 2, "{left:?}");
        }
    })
    .await
}

#[tokio::test]
async fn what_eks_does_not_show_yet_is_waited_for() {
    clock::run(async {
        for (seconds, sends) in [(3, 1), (25, 1), (40, 2)] {
            let (sim, bench) = (Sim::new("API"), grant(policy(None)));
            sim.make(&new_entry());
            let behind = sim.state();
            *sim.shown.lock().unwrap() =
                Some((clock::now() + Duration::from_secs(seconds), behind));
            let done = bench.run(&sim, grants_policy).await.unwrap();
            assert_eq!(done.state, Ending::Changed);
            assert_eq!(sim.sent().len(), sends, "{seconds} s");
        }
        let (sim, bench) = (Sim::new("API"), grant(policy(None)));
        sim.make(&new_entry());
        *sim.shown.lock().unwrap() = Some((clock::now() + Duration::from_secs(3600), sim.state()));
        let (cause, ..) = failure(bench.run(&sim, grants_policy).await);
        assert_eq!(
            (cause, sim.state().associations.len()),
            (Cause::Unavailable, 0)
        );
    })
    .await
}

#[tokio::test]
async fn what_iam_just_made_is_waited_for() {
    clock::run(async {
        let unknown = || {
            Fault::Answer(
                400,
                "InvalidParameterException",
                "The specified principalArn is invalid: invalid principal.",
            )
        };
        let sim = Sim::new("API").faults([Fault::None, unknown(), unknown(), unknown()]);
        let done = grant(role()).run(&sim, grants_role).await.unwrap();
        assert_eq!(
            (done.state, done.rounds, sim.sent().len()),
            (Ending::Changed, 1, 5)
        );
        let missing = || {
            Fault::Answer(
                404,
                "ResourceNotFoundException",
                "The specified principalArn could not be found.",
            )
        };
        let sim = Sim::new("API").faults([Fault::None, missing(), missing()]);
        let done = grant(policy(None)).run(&sim, grants_policy).await.unwrap();
        assert_eq!((done.rounds, sim.sent().len()), (1, 4));
        let begun = clock::now();
        let sim =
            Sim::new("API").faults([Fault::None].into_iter().chain((0..99).map(|_| unknown())));
        let (cause, ..) = failure(grant(role()).run(&sim, grants_role).await);
        assert_eq!(cause, Cause::Refused);
        assert!(clock::since(begun) > Duration::from_secs(20));
    })
    .await
}

#[tokio::test]
async fn a_cleanup_that_fails_is_a_warning() {
    clock::run(async {
        let revokes = |state: &State| {
            let mut changes = Vec::new();
            let place = role().place().unwrap();
            if let Some(object) = state.bindings.get(&place) {
                changes.push(change(&Write::DeleteBinding {
                    place,
                    uid: object["metadata"]["uid"].as_str().unwrap().to_owned(),
                    version: object["metadata"]["resourceVersion"]
                        .as_str()
                        .unwrap()
                        .to_owned(),
                }));
            }
            if state.entries.contains_key(ALICE) {
                changes.push(change(&Write::DeleteEntry {
                    principal: ALICE.to_owned(),
                }));
            }
            changes
        };
        let ready = || {
            let sim = Sim::new("API");
            sim.make(&new_entry());
            sim.make(&binding(&role()));
            sim
        };
        let sim = ready();
        let done = bench(Direction::Revoke, Mode::Apply, role())
            .run(&sim, revokes)
            .await
            .unwrap();
        assert_eq!(
            (done.state, sim.state()),
            (Ending::Changed, State::default())
        );
        for fault in [
            Fault::Answer(403, "AccessDeniedException", "no"),
            Fault::Unsent,
        ] {
            let sim = ready().faults([Fault::None, fault]);
            let done = bench(Direction::Revoke, Mode::Apply, role())
                .run(&sim, revokes)
                .await
                .unwrap();
            assert_eq!((done.state, done.warnings.len()), (Ending::Changed, 1));
            assert_eq!(
                (sim.state().bindings.len(), sim.state().entries.len()),
                (0, 1)
            );
        }
        let sim = ready().faults(
            [Fault::None]
                .into_iter()
                .chain((0..9).map(|_| Fault::Answer(409, "ResourceInUseException", "busy"))),
        );
        let done = bench(Direction::Revoke, Mode::Apply, role())
            .run(&sim, revokes)
            .await
            .unwrap();
        assert_eq!((done.state, done.warnings.len()), (Ending::Changed, 1));
    })
    .await
}

#[tokio::test]
async fn who_is_stopped_undoes_and_says_so() {
    clock::run(async {
        for (cause, after) in [(Cause::Stopped, 1), (Cause::Deadline, 20), (Cause::Lock, 1)] {
            let sim =
                Sim::new("API").faults([Fault::None, Fault::Slow(Duration::from_secs(after))]);
            let bench = grant(role());
            let work = bench.run(&sim, grants_role);
            let stop = async {
                while sim.sent().len() < 2 {
                    clock::sleep(Duration::from_millis(10)).await;
                }
                bench.stop.send_replace(Some((cause, "stopped".to_owned())));
            };
            let (result, ()) = tokio::join!(work, stop);
            let (said, _, undone, left) = failure(result);
            assert_eq!((said, left.len()), (cause, 0));
            // What was still on its way got its time, and what then was made is undone too.
            assert_eq!(undone.len(), if after < 5 { 2 } else { 1 });
            assert_eq!(sim.state(), State::default());
        }
        let (sim, bench) = (Sim::new("API"), grant(role()));
        bench
            .stop
            .send_replace(Some((Cause::Stopped, "stopped".to_owned())));
        let (_, _, undone, left) = failure(bench.run(&sim, grants_role).await);
        assert!(undone.is_empty() && left.is_empty() && sim.sent().is_empty());
    })
    .await
}

/// Every change that there is, made and then taken back because the next one
/// fails: the state is the one before.
#[tokio::test]
async fn every_kind_of_change_can_be_taken_back() {
    clock::run(async {
    let own = alice().own_group();
    let subject = |kind: &str, name: &str| json!({"apiGroup": GROUP, "kind": kind, "name": name});
    let place = |name: &str| Place {
        namespace: Some("dev".to_owned()),
        name: name.to_owned(),
    };
    let foreign = |name: &str, subjects: Value| {
        json!({
            "metadata": {"name": name, "namespace": "dev", "labels": {"team": "x"}},
            "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": "view"}, "subjects": subjects,
        })
    };
    let ready = |mode: &'static str| {
        let sim = Sim::new(mode);
        let entry = json!({"principalArn": ALICE, "type": "STANDARD", "username": ALICE, "kubernetesGroups": ["devs"], "tags": {"team": "x"}});
        sim.state
            .lock()
            .unwrap()
            .entries
            .insert(ALICE.to_owned(), entry);
        sim.put_binding(
            &place("mine"),
            foreign("mine", json!([subject("Group", &own)])),
        );
        sim.put_binding(
            &place("shared"),
            foreign(
                "shared",
                json!([
                    subject("Group", &own),
                    subject("User", "bob"),
                    subject("Group", &own)
                ]),
            ),
        );
        sim.state.lock().unwrap().aws_auth = Some(json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "aws-auth", "namespace": "kube-system", "resourceVersion": "1"},
            "data": {"mapUsers": format!("- userarn: {ALICE}\n  username: team\n  groups: [devs]\n")},
        }));
        sim
    };
    let version = |state: &State, place: &Place| {
        let text = |name: &str| {
            state.bindings[place]["metadata"][name]
                .as_str()
                .unwrap()
                .to_owned()
        };
        (text("uid"), text("resourceVersion"))
    };
    let delete = |state: &State| {
        let (uid, version) = version(state, &place("mine"));
        Write::DeleteBinding {
            place: place("mine"),
            uid,
            version,
        }
    };
    let patch = |state: &State| {
        let (_, version) = version(state, &place("shared"));
        let at = |at: usize| {
            [
                Op::Test(format!("/subjects/{at}"), subject("Group", &own)),
                Op::Remove(format!("/subjects/{at}")),
            ]
        };
        let mut patch = vec![Op::Test(
            "/metadata/resourceVersion".to_owned(),
            version.into(),
        )];
        patch.extend(at(2).into_iter().chain(at(0)));
        Write::PatchBinding {
            place: place("shared"),
            patch,
        }
    };
    let append = |_: &State| Write::UpdateEntry {
        principal: ALICE.to_owned(),
        groups: vec!["devs".to_owned(), own.clone()],
    };
    let line = |state: &State| {
        let mut object = state.aws_auth.clone().unwrap();
        let text = object["data"]["mapUsers"]
            .as_str()
            .unwrap()
            .replace("[devs]", &format!("[devs, {own}]"));
        object["data"]["mapUsers"] = text.into();
        Write::ReplaceAwsAuth { object }
    };
    type Make<'a> = &'a (dyn Fn(&State) -> Write + Sync);
    let cases: [(Direction, &'static str, Make<'_>); 4] = [
        (Direction::Revoke, "API", &delete),
        (Direction::Revoke, "API", &patch),
        (Direction::Grant, "API", &append),
        (Direction::Grant, "CONFIG_MAP", &line),
    ];
    for (direction, mode, make) in cases {
        for lost in [false, true] {
            let first = if lost { Fault::LostAfter } else { Fault::None };
            let sim = ready(mode).faults([first, Fault::Answer(400, "BadRequest", "no")]);
            let before = sim.bare();
            // The second change is legal, and refused.
            let plans = |state: &State| {
                let second = match direction {
                    Direction::Grant => binding(&role()),
                    Direction::Revoke if mode == "API" && state.bindings.len() == 2 => {
                        match make(state) {
                            Write::PatchBinding { .. } => delete(state),
                            _ => patch(state),
                        }
                    }
                    Direction::Revoke => patch(state),
                };
                vec![change(&make(state)), change(&second)]
            };
            let result = bench(direction, Mode::Apply, role()).run(&sim, plans).await;
            let (_, what, undone, left) = failure(result);
            assert_eq!((undone.len(), left.len()), (1, 0), "{what} {left:?}");
            assert_eq!(sim.bare(), before, "{what}");
        }
    }
        // Scopes of policies: back to what they were, here because what is
        // planned next does not fit.
        for (scope, write) in [
            (vec!["a", "dev"], associate(Scope::Namespaces(vec!["a".to_owned()]))),
            (
                vec!["dev"],
                Write::Disassociate {
                    principal: ALICE.to_owned(),
                    policy: VIEW.to_owned(),
                },
            ),
        ] {
            let sim = Sim::new("API");
            sim.make(&new_entry());
            let scope = scope.into_iter().map(str::to_owned).collect();
            sim.make(&associate(Scope::Namespaces(scope)));
            let before = sim.bare();
            let plans = |_: &State| vec![change(&write)];
            let bench = bench(Direction::Revoke, Mode::Apply, policy(Some("dev")));
            let (cause, what, undone, left) = failure(bench.run(&sim, plans).await);
            assert_eq!((cause, undone.len(), left.len()), (Cause::Conflict, 1, 0), "{what}");
            assert_eq!(sim.bare(), before);
            assert_eq!(sim.sent().len(), 2);
        }
    })
    .await
}

/// EKS is behind, so a request whose answer was lost looks as if it had never
/// arrived, and what comes of the next one says nothing about it.
#[tokio::test]
async fn what_may_have_arrived_is_undone_whatever_came_of_the_next() {
    clock::run(async {
        let pending = "The specified principalArn is invalid: invalid principal.";
        let nexts = [
            Fault::Answer(403, "AccessDeniedException", "no"),
            Fault::Answer(429, "ThrottlingException", "slow down"),
            Fault::Answer(400, "InvalidParameterException", pending),
            Fault::Unsent,
        ];
        for next in nexts {
            let sim = Sim::new("API").faults([Fault::None, Fault::LostAfter, next.clone()]);
            let behind = (clock::now() + Duration::from_secs(2), State::default());
            *sim.shown.lock().unwrap() = Some(behind);
            let bench = grant(role());
            let stop = async {
                while sim.sent().len() < 3 {
                    clock::sleep(Duration::from_millis(10)).await;
                }
                let stopped = Some((Cause::Stopped, "stopped".to_owned()));
                bench.stop.send_replace(stopped);
            };
            let (result, ()) = tokio::join!(bench.run(&sim, grants_role), stop);
            let (_, what, undone, left) = failure(result);
            assert_eq!((undone.len(), left.len()), (2, 0), "{next:?}: {what}");
            assert_eq!(sim.state(), State::default(), "{next:?}");
        }
    })
    .await
}

#[tokio::test]
async fn a_plan_without_changes_is_not_believed_where_the_wish_is_plainly_not_true() {
    clock::run(async {
        let nothing = |_: &State| Vec::new();
        for wish in [role(), policy(None), policy(Some("dev"))] {
            for mode in [Mode::Apply, Mode::Plan] {
                let sim = Sim::new("API");
                sim.make(&new_entry());
                sim.make(&match wish.place() {
                    Some(_) => binding(&wish),
                    None if wish == policy(None) => associate(Scope::Cluster),
                    None => associate(Scope::Namespaces(vec!["dev".to_owned()])),
                });
                let bench = bench(Direction::Revoke, mode, wish.clone());
                let error = bench.run(&sim, nothing).await.unwrap_err();
                assert!(
                    matches!(&error, ProvisionError::BadPlan { sentence } if sentence.contains("is still there")),
                    "{error}"
                );
                let rows = if mode == Mode::Plan { vec![] } else { vec!["refused"] };
                assert_eq!(bench.rows(), rows);
            }
        }
        // What is not there, and what is another scope, may be believed.
        for scope in [None, Some(vec!["a".to_owned()])] {
            let sim = Sim::new("API");
            sim.make(&new_entry());
            if let Some(scope) = scope {
                sim.make(&associate(Scope::Namespaces(scope)));
            }
            for wish in [role(), policy(None), policy(Some("dev"))] {
                let bench = bench(Direction::Revoke, Mode::Apply, wish);
                let done = bench.run(&sim, nothing).await.unwrap();
                assert_eq!(done.state, Ending::AlreadyRevoked);
            }
        }
        // A grant ends with what it sent.
        fn away(state: &mut State) {
            state.bindings.clear();
        }
        let sim = Sim::new("API").faults([Fault::None, Fault::Meanwhile(away)]);
        let mut rounds = 0;
        let once = |state: &State| {
            rounds += 1;
            match rounds {
                1 => grants_role(state),
                _ => Vec::new(),
            }
        };
        let (cause, what, _, left) = failure(grant(role()).run(&sim, once).await);
        assert_eq!((cause, left.len()), (Cause::Connector, 0), "{what}");
        assert!(what.contains("is not what was made of it"), "{what}");
        assert_eq!(sim.state(), State::default());
    })
    .await
}

#[tokio::test]
async fn what_eks_has_no_versions_for_is_looked_at_right_before() {
    clock::run(async {
        fn foreign(state: &mut State) {
            let scope = Scope::Namespaces(vec!["a".to_owned()]);
            let key = (ALICE.to_owned(), VIEW.to_owned());
            state.associations.insert(key, scope.json());
        }
        // A scope that somebody else writes meanwhile is added to.
        let sim = Sim::new("API").faults([Fault::Meanwhile(foreign)]);
        let grants = |state: &State| {
            let mut changes = Vec::new();
            if !state.entries.contains_key(ALICE) {
                changes.push(change(&new_entry()));
            }
            let key = (ALICE.to_owned(), VIEW.to_owned());
            let scope: Vec<String> = match state.associations.get(&key) {
                Some(scope) => serde_json::from_value(scope["namespaces"].clone()).unwrap(),
                None => Vec::new(),
            };
            if !scope.iter().any(|name| name == "dev") {
                let scope = scope.into_iter().chain(["dev".to_owned()]);
                changes.push(change(&associate(Scope::Namespaces(scope.collect()))));
            }
            changes
        };
        let wish = policy(Some("dev"));
        let done = grant(wish).run(&sim, grants).await.unwrap();
        assert_eq!((done.state, done.rounds), (Ending::Changed, 2));
        let scope = sim.state().associations.values().next().unwrap().clone();
        assert_eq!(scope["namespaces"], json!(["a", "dev"]));
        // A policy that somebody else gives meanwhile does not go with the entry.
        let sim = Sim::new("API").faults([Fault::Meanwhile(foreign)]);
        sim.make(&new_entry());
        sim.make(&binding(&role()));
        let revokes = |state: &State| {
            let place = role().place().unwrap();
            let Some(object) = state.bindings.get(&place) else {
                return Vec::new();
            };
            let text = |name: &str| object["metadata"][name].as_str().unwrap().to_owned();
            let delete = Write::DeleteBinding {
                place,
                uid: text("uid"),
                version: text("resourceVersion"),
            };
            let entry = Write::DeleteEntry {
                principal: ALICE.to_owned(),
            };
            vec![change(&delete), change(&entry)]
        };
        let bench = bench(Direction::Revoke, Mode::Apply, role());
        let done = bench.run(&sim, revokes).await.unwrap();
        assert_eq!(done.state, Ending::Changed);
        let state = sim.state();
        assert_eq!((state.entries.len(), state.associations.len()), (1, 1));
    })
    .await
}

#[tokio::test]
async fn an_entry_is_not_taken_back_while_its_policies_cannot_be_read() {
    clock::run(async {
        fn foreign(state: &mut State) {
            let key = (ALICE.to_owned(), "another".to_owned());
            state.associations.insert(key, Scope::Cluster.json());
        }
        let no = Fault::Answer(403, "AccessDeniedException", "no");
        let sim = Sim::new("API").faults([Fault::Meanwhile(foreign), no]);
        // Before the association, then for the undo.
        sim.unread.lock().unwrap().extend([false, true, true]);
        let result = grant(policy(None)).run(&sim, grants_policy).await;
        let (_, _, undone, left) = failure(result);
        assert_eq!((undone.len(), left.len()), (0, 1));
        assert!(left[0].contains("access policies since"), "{left:?}");
        assert_eq!(sim.state().entries.len(), 1);
    })
    .await
}

#[tokio::test]
async fn each_change_is_taken_back_with_a_token_of_its_own() {
    clock::run(async {
        let sim = Sim::new("API");
        // Entry and association are made, and what is planned then does not fit.
        let plans = |state: &State| match grants_policy(state) {
            changes if changes.is_empty() => vec![change(&new_entry())],
            changes => changes,
        };
        let (_, _, undone, left) = failure(grant(policy(None)).run(&sim, plans).await);
        assert_eq!((undone.len(), left.len()), (2, 0));
        let sent = sim.sent.lock().unwrap();
        let tokens = sent.iter().map(|(_, token)| token);
        let undo: Vec<&String> = tokens.filter(|t| t.starts_with("undo-op-1")).collect();
        assert_eq!(undo.len(), 2, "{undo:?}");
        assert_ne!(undo[0], undo[1]);
    })
    .await
}

#[tokio::test]
async fn a_change_is_shown_with_its_own_sentence() {
    clock::run(async {
        let denied = Fault::Answer(403, "AccessDeniedException", "no");
        let busy = Fault::Answer(409, "Conflict", "modified");
        // The clean-up comes first and is given up; what follows is sent again.
        let sim = Sim::new("API").faults([denied, busy]);
        let entry = json!({"principalArn": ALICE, "type": "STANDARD", "username": ALICE, "kubernetesGroups": [], "tags": tags()});
        let mut state = sim.state();
        state.entries.insert(ALICE.to_owned(), entry);
        *sim.state.lock().unwrap() = state;
        let place = Place {
            namespace: Some("dev".to_owned()),
            name: "mine".to_owned(),
        };
        let object = json!({
            "metadata": {"name": "mine", "namespace": "dev"},
            "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": "view"},
            "subjects": [{"apiGroup": GROUP, "kind": "Group", "name": alice().own_group()}],
        });
        sim.put_binding(&place, object);
        let plans = |state: &State| {
            let Some(object) = state.bindings.get(&place) else {
                return Vec::new();
            };
            let text = |name: &str| object["metadata"][name].as_str().unwrap().to_owned();
            let entry = change(&Write::DeleteEntry {
                principal: ALICE.to_owned(),
            });
            let binding = change(&Write::DeleteBinding {
                place: place.clone(),
                uid: text("uid"),
                version: text("resourceVersion"),
            });
            vec![entry, binding]
        };
        let bench = bench(Direction::Revoke, Mode::Apply, role());
        let done = bench.run(&sim, plans).await.unwrap();
        assert_eq!((done.state, done.changes.len()), (Ending::Changed, 3));
        for shown in &done.changes {
            let own = if shown.upstream == "eks" { "eks:DeleteAccessEntry" } else { "delete rbac.authorization.k8s.io/rolebindings" };
            assert_eq!(shown.summary, format!("do {own}"));
        }
    })
    .await
}
