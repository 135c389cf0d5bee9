//! What all listeners share: the world, the clock, the journal, the faults.
//!
//! One request is one short turn under a lock; what takes time (latency) waits
//! outside of it, so that concurrency is as real as a client makes it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use crate::aws::{self, Route};
use crate::echo::echo;
use crate::faults::{Effect, Faults};
use crate::http::{Ending, Reply, Request};
use crate::kubernetes::{self, Target};
use crate::text::rfc3339;
use crate::world::World;

/// Which door a request came in by.
#[derive(Debug, Clone)]
pub(crate) enum Front {
    Aws,
    /// The Kubernetes API of the cluster with this index.
    Kubernetes(usize),
}

/// A request that arrived, as tests look at it.
#[derive(Debug, Clone)]
pub struct Logged {
    /// `sts`, `iam`, `eks`, `kubernetes`, `metadata`.
    pub service: String,
    /// The cluster whose API was called.
    pub cluster: Option<String>,
    /// The name it is counted under.
    pub operation: String,
    /// HTTP method.
    pub method: String,
    /// Path, still encoded.
    pub path: String,
    /// Query, still encoded.
    pub query: String,
    /// Headers in lower case.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Bytes,
    /// Who it was, or why that is not known.
    pub caller: Option<String>,
    /// The status of the answer; 0 while there is none.
    pub status: u16,
    /// HTTP version.
    pub version: String,
}

/// Calls at once, and the most there ever were.
#[derive(Debug, Default)]
struct Gauge {
    now: AtomicUsize,
    peak: AtomicUsize,
    connections: AtomicU64,
}

struct InFlight<'a>(&'a Gauge);

impl<'a> InFlight<'a> {
    fn enter(gauge: &'a Gauge) -> InFlight<'a> {
        let now = gauge.now.fetch_add(1, Ordering::SeqCst) + 1;
        gauge.peak.fetch_max(now, Ordering::SeqCst);
        InFlight(gauge)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::SeqCst);
    }
}

const SERVICES: [&str; 5] = ["sts", "iam", "eks", "kubernetes", "metadata"];

#[derive(Debug)]
pub(crate) struct Shared {
    world: Mutex<World>,
    journal: Mutex<Vec<Logged>>,
    faults: Mutex<Faults>,
    offset: AtomicI64,
    gauges: [Gauge; 5],
    plain_connections: AtomicU64,
    hanging: AtomicUsize,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Milliseconds since the epoch by this machine's clock.
pub(crate) fn machine_time() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
}

impl Shared {
    pub(crate) fn new(world: World, faults: Faults) -> Shared {
        Shared {
            world: Mutex::new(world),
            journal: Mutex::new(Vec::new()),
            faults: Mutex::new(faults),
            offset: AtomicI64::new(0),
            gauges: Default::default(),
            plain_connections: AtomicU64::new(0),
            hanging: AtomicUsize::new(0),
        }
    }

    /// How many requests a fault has left without an answer so far.
    pub(crate) fn hanging(&self) -> usize {
        self.hanging.load(Ordering::SeqCst)
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        let mut world = lock(&self.world);
        world.now = machine_time() + self.offset.load(Ordering::SeqCst);
        world
    }

    pub(crate) fn journal(&self) -> MutexGuard<'_, Vec<Logged>> {
        lock(&self.journal)
    }

    pub(crate) fn faults(&self) -> MutexGuard<'_, Faults> {
        lock(&self.faults)
    }

    pub(crate) fn set_offset(&self, millis: i64) {
        self.offset.store(millis, Ordering::SeqCst);
    }

    /// Counts a connection.
    pub(crate) fn connections(&self, front: &Front) {
        match front {
            Front::Aws => &self.plain_connections,
            Front::Kubernetes(_) => &self.gauges[3].connections,
        }
        .fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn connection_counts(&self) -> BTreeMap<String, u64> {
        BTreeMap::from([
            (
                "aws".to_owned(),
                self.plain_connections.load(Ordering::SeqCst),
            ),
            (
                "kubernetes".to_owned(),
                self.gauges[3].connections.load(Ordering::SeqCst),
            ),
        ])
    }

    pub(crate) fn peaks(&self) -> BTreeMap<String, usize> {
        let peak = |g: &Gauge| g.peak.load(Ordering::SeqCst);
        SERVICES
            .iter()
            .zip(&self.gauges)
            .map(|(s, g)| ((*s).to_owned(), peak(g)))
            .collect()
    }

    /// Answers a request, with whatever fault it meets.
    pub(crate) async fn handle(&self, front: &Front, request: Request) -> Reply {
        let asked = Asked::read(front, &request);
        let service = asked.service();
        let gauge = SERVICES
            .iter()
            .zip(&self.gauges)
            .find(|(s, _)| **s == service)
            .map_or(&self.gauges[2], |(_, g)| g);
        let in_flight = InFlight::enter(gauge);
        let operation = asked.operation();
        let number = self.write_down(front, &request, service, &operation);
        let cluster = self.about(front, &asked);
        let effects = self.faults().meet(&operation, cluster.as_deref());
        for effect in &effects {
            if let Effect::Latency(millis) = effect {
                tokio::time::sleep(Duration::from_millis(*millis)).await;
            }
        }
        if let Front::Kubernetes(index) = front
            && let Some(cluster) = self.world().clusters.get_mut(*index)
        {
            for effect in &effects {
                match (effect, &asked) {
                    (Effect::ExpireContinue, _) => cluster.store.compact(),
                    (Effect::Touch, Asked::Kubernetes(target)) => target.touch(&mut cluster.store),
                    _ => {}
                }
            }
        }
        let instead = effects.iter().find_map(|e| synthetic(e, service));
        let (mut reply, caller) = match instead {
            Some(reply) => (reply, None),
            None => self.dispatch(front, &request, &asked),
        };
        for effect in &effects {
            if let Effect::EchoIn(place) = effect {
                echo(*place, &request, asked.service(), &mut reply);
            }
            after(effect, &request, &mut reply);
        }
        let now = self.world().now;
        reply.headers.push(("date".into(), http_date(now)));
        if let Some(entry) = self.journal().get_mut(number) {
            entry.status = if [Ending::Reset, Ending::Silent].contains(&reply.ending) {
                0
            } else {
                reply.status
            };
            entry.caller = caller;
        }
        if reply.ending == Ending::Silent {
            self.hanging.fetch_add(1, Ordering::SeqCst);
        }
        drop(in_flight);
        reply
    }

    /// The name of the cluster that a request is about.
    fn about(&self, front: &Front, asked: &Asked) -> Option<String> {
        match (front, asked) {
            (Front::Kubernetes(index), _) => {
                let world = self.world();
                world.clusters.get(*index).map(|c| c.spec.name.clone())
            }
            (Front::Aws, Asked::Aws(route)) => route.call.as_ref().map(|call| call.cluster.clone()),
            (Front::Aws, _) => None,
        }
    }

    fn dispatch(&self, front: &Front, request: &Request, asked: &Asked) -> (Reply, Option<String>) {
        let mut world = self.world();
        match (front, asked) {
            (Front::Kubernetes(index), Asked::Kubernetes(target)) => {
                kubernetes::answer(&mut world, *index, request, target)
            }
            (_, Asked::Aws(route)) => {
                let reply = aws::answer(&mut world, request, route);
                let key = crate::sigv4::Claim::from_header(request)
                    .ok()
                    .flatten()
                    .map(|c| c.access_key);
                let caller =
                    key.and_then(|k| world.keys.get(&k).map(|held| world.caller(&k, held).arn));
                (reply, caller)
            }
            _ => (Reply::new(500, "text/plain", "no such front"), None),
        }
    }

    fn write_down(
        &self,
        front: &Front,
        request: &Request,
        service: &str,
        operation: &str,
    ) -> usize {
        let cluster = match front {
            Front::Aws => None,
            Front::Kubernetes(index) => self
                .world()
                .clusters
                .get(*index)
                .map(|c| c.spec.name.clone()),
        };
        let headers = request.headers.iter().map(|(k, v)| {
            (
                k.as_str().to_owned(),
                String::from_utf8_lossy(v.as_bytes()).into_owned(),
            )
        });
        let mut journal = self.journal();
        journal.push(Logged {
            service: service.to_owned(),
            cluster,
            operation: operation.to_owned(),
            method: request.method.clone(),
            path: request.path.clone(),
            query: request.query.clone(),
            headers: headers.collect(),
            body: request.body.clone(),
            caller: None,
            status: 0,
            version: format!("{:?}", request.version),
        });
        journal.len() - 1
    }
}

/// What a request asks for, before anybody is authenticated.
enum Asked {
    Aws(Route),
    Kubernetes(Target),
}

impl Asked {
    fn read(front: &Front, request: &Request) -> Asked {
        match front {
            Front::Aws => Asked::Aws(aws::route(request)),
            Front::Kubernetes(_) => Asked::Kubernetes(Target::parse(request)),
        }
    }

    fn service(&self) -> &'static str {
        match self {
            Asked::Aws(route) => route.service,
            Asked::Kubernetes(_) => "kubernetes",
        }
    }

    fn operation(&self) -> String {
        match self {
            Asked::Aws(route) => route.operation.clone(),
            Asked::Kubernetes(target) => target.operation(),
        }
    }
}

/// The answer that takes the place of the real one.
fn synthetic(effect: &Effect, service: &str) -> Option<Reply> {
    let kubernetes = service == "kubernetes";
    Some(match effect {
        Effect::Throttle(retry) if kubernetes => kubernetes::throttled(*retry),
        Effect::Throttle(retry) => aws::throttled(service, *retry),
        Effect::ServerError(status) if kubernetes => kubernetes::broken(*status),
        Effect::ServerError(status) => aws::broken(service, *status),
        Effect::Answer {
            status,
            content_type,
            body,
        } => Reply::new(*status, content_type, body.clone()),
        Effect::Reset => Reply {
            ending: Ending::Reset,
            ..Reply::default()
        },
        Effect::Hang => Reply {
            ending: Ending::Silent,
            ..Reply::default()
        },
        Effect::Redirect(location) => {
            Reply::new(307, "text/plain", "").with("location", location.clone())
        }
        Effect::Huge(size) => Reply::new(200, "application/json", vec![b' '; *size]),
        Effect::GzipBomb(size) => Reply::new(
            200,
            "application/json",
            kubernetes::gzip(&vec![b' '; *size]),
        )
        .with("content-encoding", "gzip"),
        Effect::Latency(_)
        | Effect::Truncate
        | Effect::Stall
        | Effect::ResetAfter
        | Effect::HangAfter
        | Effect::Touch
        | Effect::ExpireContinue
        | Effect::Echo
        | Effect::EchoIn(_) => return None,
    })
}

fn after(effect: &Effect, request: &Request, reply: &mut Reply) {
    match effect {
        Effect::Truncate => reply.ending = Ending::Truncated,
        Effect::Stall => reply.ending = Ending::Stalled,
        Effect::ResetAfter => reply.ending = Ending::Reset,
        Effect::HangAfter => reply.ending = Ending::Silent,
        Effect::Echo => {
            let mut said = Vec::new();
            for name in ["authorization", "x-amz-security-token"] {
                if let Some(value) = request.header(name) {
                    reply
                        .headers
                        .push((format!("x-echo-{name}"), value.to_owned()));
                    said.push(value.to_owned());
                }
            }
            let mut body = said.join("\n").into_bytes();
            body.push(b'\n');
            body.extend_from_slice(&reply.body);
            reply.body = body.into();
            // What was compressed no longer is as a whole.
            reply.headers.retain(|(name, _)| name != "content-encoding");
        }
        _ => {}
    }
}

/// `Tue, 15 Nov 1994 08:12:31 GMT`: clients measure their clock's error by it.
fn http_date(millis: i64) -> String {
    jiff::Timestamp::from_millisecond(millis).map_or_else(
        |_| rfc3339(millis),
        |t| t.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string(),
    )
}
