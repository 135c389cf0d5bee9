//! A cloud with one cluster, and a probe that says to it what a test tells it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use baton_host::credentials::{AwsSettings, Env};
use baton_host::job::{self, Connection, Job};
use baton_host::plugin::{Approval, Plugin};
use baton_host::upstream::Rates;
use cloud_sim::{Scenario, Sim};
use e2e::guests::{self, Probe};
use serde_json::{Value, json};
use tracing::field::{Field, Visit};
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

use crate::page::{code, plain};

/// A cloud with the cluster `lab`, and a way out to it.
pub struct Lab {
    pub sim: Sim,
    pub connection: Connection,
    /// The body with which the role was assumed.
    pub assumed: String,
    audit: Arc<Mutex<Vec<String>>>,
    /// A test's runtime has one thread, so this hears all I/O of the test.
    _hears: DefaultGuard,
}

impl Lab {
    pub async fn new(groups: &[&str]) -> Lab {
        let audit = Arc::<Mutex<Vec<String>>>::default();
        let collector = tracing_subscriber::registry().with(Rows(audit.clone()));
        let hears = tracing::subscriber::set_default(collector);
        let sim = Sim::start(Scenario::minimal().unwrap()).await.unwrap();
        let env = Env::from_pairs(sim.env("lab"));
        let (_, component) = guests::shared().await;
        let settings = [
            ("eks-region", env.get("BATON_EKS_REGION").unwrap()),
            ("eks-cluster-name", "lab".to_owned()),
        ];
        let job = Job {
            plugin: Plugin {
                path: guests::path("probe.wasm"),
                component: component.clone(),
                approval: Approval {
                    groups: groups.iter().map(|group| (*group).to_owned()).collect(),
                    rights: None,
                },
            },
            settings: BTreeMap::from(settings.map(|(k, v)| (k.to_owned(), v))),
            aws: AwsSettings::from_env(&env).unwrap(),
            env,
            rates: Arc::new(Rates::default()),
            http: baton_host::credentials::HttpClients::new(),
            limits: baton_host::sandbox::Limits::default(),
        };
        let connection = job::connect(&job).await.unwrap();
        let assumed = sim
            .requests()
            .iter()
            .map(|request| String::from_utf8_lossy(&request.body).into_owned())
            .filter(|body| body.contains("Action=AssumeRole"))
            .collect();
        // Our own questions to STS are not the probe's.
        sim.forget();
        Lab {
            sim,
            connection,
            assumed,
            audit,
            _hears: hears,
        }
    }

    /// A lab without a lock: the built-in profile.
    pub async fn reader() -> Lab {
        Lab::new(&["read"]).await
    }

    /// A lab where everything that the probe declares is approved.
    pub async fn everything() -> Lab {
        Lab::new(&["read", "identities", "provision"]).await
    }

    /// What came of requests, in order.
    pub async fn outcomes(&self, script: &[Value]) -> Vec<String> {
        Probe::sends(&Value::from(script))
            .through(self.connection.upstreams.clone())
            .outcomes()
            .await
    }

    /// What came of one request.
    pub async fn outcome(&self, request: &Value) -> String {
        let outcomes = self.outcomes(std::slice::from_ref(request)).await;
        let [outcome] = outcomes.as_slice() else {
            panic!("{request}: {outcomes:?}");
        };
        outcome.clone()
    }

    /// Rows of the audit log since the last time.
    pub fn audited(&self) -> Vec<String> {
        std::mem::take(&mut self.audit.lock().unwrap())
    }

    /// Tries requests of which none may arrive; a row for each: what was
    /// tried, where it was refused, what the audit row says.
    pub async fn refuses(
        &self,
        ideas: Vec<(&'static str, Vec<Value>)>,
    ) -> Vec<(&'static str, Vec<Vec<String>>)> {
        let mut groups = Vec::new();
        for (idea, requests) in ideas {
            let mut rows = Vec::new();
            for request in requests {
                let outcome = self.outcome(&request).await;
                let arrived = self.sim.requests();
                assert!(arrived.is_empty(), "{request}: {outcome}: {arrived:?}");
                let audit = self.audited();
                rows.push(vec![
                    code(&wording(&request)),
                    refused(&request, &outcome),
                    said(&request, &outcome, &audit),
                ]);
            }
            groups.push((idea, rows));
        }
        assert_eq!(self.sim.mutations(), Vec::<String>::new());
        // Not because nothing could arrive.
        let outcome = self.outcome(&get("kubernetes", "/api/v1/namespaces")).await;
        assert!(outcome.starts_with("status 200"), "{outcome}");
        assert!(!self.sim.requests().is_empty());
        groups
    }
}

/// Where a request was refused.
///
/// # Panics
/// When it was not.
fn refused(request: &Value, outcome: &str) -> String {
    match outcome {
        "HttpRequestDenied" => "the boundary".to_owned(),
        "HttpProtocolError" => "`wasi:http`: no such request".to_owned(),
        _ => {
            assert!(
                outcome.ends_with(" refused") || outcome.starts_with("header "),
                "{request}: {outcome}"
            );
            format!("`wasi:http`: {outcome}")
        }
    }
}

/// What the audit row of a refused request says.
///
/// # Panics
/// When a request that came to the boundary has no row, or another one has.
fn said(request: &Value, outcome: &str, audit: &[String]) -> String {
    match (outcome, audit) {
        ("HttpRequestDenied", [row]) => plain(row),
        ("HttpRequestDenied", _) => panic!("{request}: {audit:?}"),
        (_, []) => "no row: there was no request".to_owned(),
        _ => panic!("{request}: {outcome}: {audit:?}"),
    }
}

/// A request as people write it.
pub fn wording(request: &Value) -> String {
    let text =
        |name: &str, default: &'static str| request[name].as_str().unwrap_or(default).to_owned();
    let mut line = format!(
        "{} {}://{}{}",
        text("method", "GET"),
        text("scheme", "http"),
        text("authority", ""),
        text("path", ""),
    );
    for header in request["headers"].as_array().into_iter().flatten() {
        let (name, value) = (header[0].as_str().unwrap(), header[1].as_str().unwrap());
        // The usual ones say nothing.
        if !(name == "content-type" && (value == FORM || value == JSON)) {
            let _ = write!(line, " {name}: {value}");
        }
    }
    if let Some(body) = request["body"].as_str().filter(|body| !body.is_empty()) {
        let _ = write!(line, " {body}");
    }
    line
}

const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";
const JSON: &str = "application/json";

/// Heads of the columns of a room of requests.
pub const COLUMNS: &[&str] = &["tried", "refused by", "the audit row says"];

/// A request to IAM as it should be.
pub fn iam(body: &str) -> Value {
    form("/", FORM, body)
}

/// A POST to IAM.
pub fn form(path: &str, content_type: &str, body: &str) -> Value {
    json!({
        "method": "POST",
        "authority": "iam",
        "path": path,
        "headers": [["content-type", content_type]],
        "body": body,
    })
}

/// A form in a query or with another content type.
pub fn form_here(path: &str, body: &str) -> Value {
    form(path, FORM, body)
}

pub fn get(authority: &str, path: &str) -> Value {
    json!({ "authority": authority, "path": path })
}

pub fn send(method: &str, authority: &str, path: &str, body: &str) -> Value {
    json!({
        "method": method,
        "authority": authority,
        "path": path,
        "headers": [["content-type", JSON]],
        "body": body,
    })
}

/// A GET of namespaces with a header.
pub fn with_header(name: &str, value: &str) -> Value {
    json!({
        "authority": "kubernetes",
        "path": "/api/v1/namespaces",
        "headers": [[name, value]],
    })
}

/// Keeps rows of the audit log as people read them.
struct Rows(Arc<Mutex<Vec<String>>>);

#[derive(Default)]
struct Fields(BTreeMap<String, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }
}

impl<S: tracing::Subscriber> Layer<S> for Rows {
    fn on_event(&self, event: &tracing::Event<'_>, _context: Context<'_, S>) {
        if event.metadata().target() != "audit" {
            return;
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        let field = |name: &str| fields.0.get(name).cloned().unwrap_or_default();
        let decision = field("decision");
        if decision == "allowed" {
            return;
        }
        let mut row = format!("{decision}, {}", field("upstream"));
        let operation = field("operation");
        if !operation.is_empty() {
            let _ = write!(row, ", {operation}");
        }
        let _ = write!(row, ": {}", field("message"));
        self.0.lock().unwrap().push(row);
    }
}
