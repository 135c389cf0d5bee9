//! The connector's work on a recorded large cluster, in the sandbox and as the
//! same code built natively; and the connections that the recording took.

use std::collections::BTreeMap;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use baton_eks::bindings::Setting as NativeSetting;
use baton_eks::session::Session;
use baton_eks::upstream::{Failure, Host, Request as Asked, Response as Got};
use baton_host::credentials::{AwsSettings, Env, HttpClients};
use baton_host::job::{self, Job};
use baton_host::plugin::{Lock, Plugin};
use baton_host::sandbox::contract::types::Setting;
use baton_host::sandbox::{Connector as _, Limits, Sandbox, SandboxConfig, Task};
use baton_host::upstream::{Egress, Refusal};
use bytes::Bytes;
use cloud_sim::{SimHandle, Size, generate};

use super::{component, percentile, runtime};

const ROUNDS: usize = 7;
const CLUSTER: &str = "generated";

/// Upstream, path and body; status, content type and body.
type Tape = BTreeMap<(String, String, Vec<u8>), (u16, String, Bytes)>;

fn large() -> Size {
    Size {
        namespaces: 400,
        service_accounts: 2_000,
        config_maps: 2_000,
        cluster_roles: 150,
        roles: 1_500,
        bindings: 4_000,
        subjects: 3,
        entries: 400,
        mappings: 100,
        iam_roles: 1_500,
        iam_users: 300,
        pod_identities: 200,
    }
}

type Sent = Pin<Box<dyn Future<Output = Result<http::Response<Bytes>, Refusal>> + Send>>;

fn key(request: &http::Request<Bytes>) -> (String, String, Vec<u8>) {
    let uri = request.uri();
    (
        uri.authority().unwrap().to_string(),
        uri.path_and_query().unwrap().to_string(),
        request.body().to_vec(),
    )
}

/// Sends, and keeps what came back.
struct Recorder<E>(E, Arc<Mutex<Tape>>);

impl<E: Egress> Egress for Recorder<E> {
    fn send(&self, request: http::Request<Bytes>) -> Sent {
        let (key, tape) = (key(&request), self.1.clone());
        let answer = self.0.send(request);
        Box::pin(async move {
            let answer = answer.await?;
            let kind = answer.headers().get("content-type");
            let kind = kind.map_or("", |kind| kind.to_str().unwrap()).to_owned();
            let kept = (answer.status().as_u16(), kind, answer.body().clone());
            tape.lock().unwrap().insert(key, kept);
            Ok(answer)
        })
    }
}

/// Answers from the tape.
struct Player(Arc<Tape>);

impl Egress for Player {
    fn send(&self, request: http::Request<Bytes>) -> Sent {
        let (status, kind, body) = self.0[&key(&request)].clone();
        Box::pin(async move {
            let answer = http::Response::builder()
                .status(status)
                .header("content-type", kind)
                .body(body);
            Ok(answer.unwrap())
        })
    }
}

/// The same for native code.
struct Native(Arc<Tape>, BTreeMap<u32, Got>, u32);

impl Host for Native {
    fn start(&mut self, request: &Asked) -> u32 {
        let body = request.body.clone().unwrap_or_default().into_bytes();
        let key = (request.upstream.to_owned(), request.path.clone(), body);
        let (status, _, body) = &self.0[&key];
        self.2 += 1;
        let got = Got {
            status: *status,
            body: body.to_vec(),
            retry_after_ms: None,
        };
        self.1.insert(self.2, got);
        self.2
    }

    fn finish(&mut self, ticket: u32) -> Result<Got, Failure> {
        Ok(self.1.remove(&ticket).unwrap())
    }

    fn log(&mut self, _level: &str, _message: &str) {}

    fn progress(&mut self, _done: u64, _total: Option<u64>, _what: &str) {}
}

fn settings() -> [(&'static str, &'static str); 2] {
    [("eks-region", "eu-west-1"), ("eks-cluster-name", CLUSTER)]
}

/// Kinds that are listed, and the number of rows.
async fn hosted(task: &mut Task, kinds: &[String]) -> usize {
    let settings = settings().map(|(name, value)| Setting {
        name: name.to_owned(),
        value: value.to_owned(),
    });
    task.open(settings.to_vec()).await.unwrap();
    task.validate().await.unwrap();
    let mut rows = 0;
    for listing in 0..3 {
        for kind in kinds {
            let mut page: Option<String> = None;
            loop {
                let (items, next) = match listing {
                    0 => {
                        let got = task.list_objects(kind, None, page.as_deref()).await;
                        got.map(|got| (got.items.len(), got.next)).unwrap()
                    }
                    1 => {
                        let got = task.list_entitlements(kind, page.as_deref()).await;
                        got.map(|got| (got.items.len(), got.next)).unwrap()
                    }
                    _ => {
                        let got = task.list_grants(kind, page.as_deref()).await;
                        got.map(|got| (got.items.len(), got.next)).unwrap()
                    }
                };
                rows += items;
                page = next;
                if page.is_none() {
                    break;
                }
            }
        }
    }
    rows
}

fn native(tape: &Arc<Tape>, kinds: &[String]) -> usize {
    let settings = settings().map(|(name, value)| NativeSetting {
        name: name.to_owned(),
        value: value.to_owned(),
    });
    let host = Native(tape.clone(), BTreeMap::new(), 0);
    let mut session = Session::open(&settings, Box::new(host)).unwrap();
    session.validate().unwrap();
    let mut rows = 0;
    for listing in 0..3 {
        for kind in kinds {
            let mut page = None;
            loop {
                let (items, next) = match listing {
                    0 => {
                        let got = session.list_objects(kind, None, page).unwrap();
                        (got.items.len(), got.next)
                    }
                    1 => {
                        let got = session.list_entitlements(kind, page).unwrap();
                        (got.items.len(), got.next)
                    }
                    _ => {
                        let got = session.list_grants(kind, page).unwrap();
                        (got.items.len(), got.next)
                    }
                };
                rows += items;
                page = next;
                if page.is_none() {
                    break;
                }
            }
        }
    }
    rows
}

pub fn main() {
    let sim = SimHandle::start_blocking(generate(7, large())).unwrap();
    let runtime = runtime();
    let sandbox = Sandbox::new(SandboxConfig::default()).unwrap();
    runtime.block_on(async {
        let lock = Lock::read(Path::new("/nonexistent/baton.lock")).unwrap();
        let plugin = Plugin::load(&sandbox, &component(), &lock, &[]).await.unwrap();
        let descriptor = plugin.component.descriptor();
        let kinds: Vec<String> = descriptor
            .kinds
            .iter()
            .filter(|kind| !kind.attributes.iter().any(|(key, value)| key == "listed" && value == "false"))
            .map(|kind| kind.name.clone())
            .collect();
        let env = Env::from_pairs(sim.env(CLUSTER));
        let job = Job {
            plugin,
            settings: settings().map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            aws: AwsSettings::from_env(&env).unwrap(),
            env,
            rates: Arc::default(),
            http: HttpClients::new(),
            limits: Limits::default(),
        };
        let start = async |egress: Arc<dyn Egress>| {
            Task::start(&sandbox, &job.plugin.component, egress, Limits::default(), Arc::new(())).await.unwrap()
        };
        let connection = job::connect(&job).await.unwrap();
        let tape = Arc::new(Mutex::new(Tape::new()));
        let recorder = Recorder(connection.upstreams.clone(), tape.clone());
        let rows = hosted(&mut start(Arc::new(recorder)).await, &kinds).await;
        println!("  {} requests, {rows} rows; connections {:?}, most requests at once {:?}", sim.request_count(), sim.connections(), sim.peak_concurrency());

        let tape = Arc::new(std::mem::take(&mut *tape.lock().unwrap()));
        let bytes: usize = tape.values().map(|(_, _, body)| body.len()).sum();
        let (mut inside, mut outside): (Vec<Duration>, Vec<Duration>) = (vec![], vec![]);
        let mut memory = 0;
        for _ in 0..ROUNDS {
            let clock = Instant::now();
            let mut task = start(Arc::new(Player(tape.clone()))).await;
            assert_eq!(hosted(&mut task, &kinds).await, rows);
            inside.push(clock.elapsed());
            memory = task.usage().memory;
            let clock = Instant::now();
            assert_eq!(native(&tape, &kinds), rows);
            outside.push(clock.elapsed());
        }
        let (inside, outside) = (percentile(&mut inside, 0.5), percentile(&mut outside, 0.5));
        println!(
            "  the connector on {} recorded answers ({} KiB): {:.0} ms in the sandbox ({} MiB), {:.0} ms natively: {:.2} times",
            tape.len(),
            bytes >> 10,
            inside.as_secs_f64() * 1e3,
            memory >> 20,
            outside.as_secs_f64() * 1e3,
            inside.as_secs_f64() / outside.as_secs_f64()
        );
    });
}
