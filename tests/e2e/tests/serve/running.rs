//! The program while it serves a simulated cloud.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};

use cloud_sim::{Scenario, SimHandle};
use e2e::guests;
use e2e::harness::{Host, Run, cluster, lab, plugin, wait_until};
use serde_json::Value;

use super::http::{Got, get};

/// A cloud with these clusters, all like the smallest one's.
pub fn cloud(names: &[&str]) -> SimHandle {
    lab(|scenario: &mut Scenario| {
        let one = cluster(scenario, "lab").clone();
        for name in names.iter().filter(|name| **name != "lab") {
            let mut other = one.clone();
            (*name).clone_into(&mut other.name);
            scenario.clusters.push(other);
        }
    })
}

/// A host with a fleet of its own in its folder, and credentials of the cloud
/// in its environment.
pub fn host(sim: &SimHandle) -> Host {
    let host = Host::new()
        .set("BATON_LISTEN", "127.0.0.1:0")
        .set("BATON_LOG_LEVEL", "info")
        .set("BATON_LOG_FORMAT", "json")
        .set("AWS_ENDPOINT_URL", sim.aws_url())
        .set("AWS_EC2_METADATA_DISABLED", "true")
        .set("AWS_ACCESS_KEY_ID", sim.access_key())
        .set("AWS_SECRET_ACCESS_KEY", sim.secret_key());
    let fleet = host.folder.path().join("fleet.toml");
    let fleet = fleet.to_str().unwrap().to_owned();
    // The lock of the connector alone, where a test may change it.
    std::fs::copy(
        host.value("BATON_LOCK"),
        host.folder.path().join("baton.lock"),
    )
    .unwrap();
    host.set("BATON_FLEET_FILE", fleet)
}

/// The fleet file for these clusters, with more lines for some.
pub fn fleet(clusters: &[(&str, &str)]) -> String {
    let mut text = format!(
        "[defaults]\nplugin = {:?}\noutput = \"out\"\naccount = \"111122223333\"\nregion = \"eu-west-1\"\n\
         [defaults.credentials]\nrole-arn = \"arn:aws:iam::111122223333:role/eks-reader\"\n",
        plugin()
    );
    for (name, more) in clusters {
        text.push_str(&format!("[[clusters]]\nname = {name:?}\n{more}\n"));
    }
    text
}

/// A `serve` that runs. Killed when it is dropped.
pub struct Serve<'h> {
    host: &'h Host,
    child: Option<Child>,
    pub at: SocketAddr,
    log: Arc<Mutex<String>>,
    reader: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Serve<'_> {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl<'h> Serve<'h> {
    /// Starts it and waits until it answers.
    pub fn start(host: &'h Host, args: &[&str]) -> Serve<'h> {
        let mut child = host.start(&[&["serve"], args].concat());
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = String::new();
        let at = loop {
            let line = lines
                .next()
                .unwrap_or_else(|| panic!("it ended:\n{said}"))
                .unwrap();
            said.push_str(&line);
            said.push('\n');
            if let Some((_, rest)) = line.split_once("http://") {
                break rest.split('/').next().unwrap().parse().unwrap();
            }
        };
        let log = Arc::new(Mutex::new(said));
        let kept = log.clone();
        let reader = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut log = kept.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        Serve {
            host,
            child: Some(child),
            at,
            log,
            reader: Some(reader),
        }
    }

    /// Asks for a path. No secret is in the answer, whatever the test is about.
    pub fn get(&self, path: &str) -> Got {
        let got = get(self.at, path).unwrap();
        for secret in self.host.secrets() {
            assert!(!got.body.contains(&secret), "a secret in {path}");
        }
        got
    }

    pub fn status(&self) -> Value {
        let got = self.get("/status.json");
        serde_json::from_str(&got.body).unwrap()
    }

    /// What is known of a cluster.
    pub fn cluster(&self, name: &str) -> Value {
        let status = self.status();
        let all = status["clusters"].as_array().unwrap().iter();
        let found = all.into_iter().find(|cluster| cluster["name"] == name);
        found.cloned().unwrap_or_default()
    }

    /// Waits for something that is said of a cluster.
    pub fn wait_for(&self, name: &str, what: &str, condition: impl Fn(&Value) -> bool) {
        let last = Mutex::new(Value::Null);
        let wait = std::panic::AssertUnwindSafe(|| {
            wait_until(what, || {
                let now = self.cluster(name);
                let fits = condition(&now);
                *last.lock().unwrap() = now;
                fits
            });
        });
        if std::panic::catch_unwind(wait).is_err() {
            let log = self.log.lock().unwrap();
            panic!("{name}: waited for {what}: {}\n{log}", last.lock().unwrap());
        }
    }

    /// Waits for a good sync of each.
    pub fn synced(&self, names: &[&str]) {
        for name in names {
            self.wait_for(name, "a good sync", |now| now["last_good"].is_object());
        }
    }

    /// When the last good sync of a cluster was.
    pub fn good_at(&self, name: &str) -> String {
        self.cluster(name)["last_good"]["at"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// A number of `/metrics` by the beginning of its line.
    pub fn metric(&self, beginning: &str) -> f64 {
        let text = self.get("/metrics").body;
        let line = text
            .lines()
            .find(|line| line.starts_with(beginning))
            .unwrap_or_else(|| panic!("no {beginning} in\n{text}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }

    pub fn signal(&self, name: &str) {
        let id = self.child.as_ref().unwrap().id().to_string();
        assert!(
            Command::new("kill")
                .args([name, &id])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Everything that was logged so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Waits for its end.
    pub fn end(mut self) -> Run {
        let output = self.child.take().unwrap().wait_with_output().unwrap();
        self.reader.take().unwrap().join().unwrap();
        let mut run = self.host.done(output);
        run.err = self.log();
        for secret in self.host.secrets() {
            assert!(!run.err.contains(&secret), "a secret in {}", run.err);
        }
        run
    }
}

/// Writes a file as an editor does: beside it, then over it.
pub fn replace(path: &Path, text: impl AsRef<[u8]>) {
    let beside = path.with_extension("new");
    std::fs::write(&beside, text).unwrap();
    std::fs::rename(beside, path).unwrap();
}

/// The fleet file of a host.
pub fn file(host: &Host) -> PathBuf {
    PathBuf::from(host.value("BATON_FLEET_FILE"))
}

/// Another connector with another digest that does the same: a component may
/// have sections that nobody reads.
pub fn another_plugin() -> Vec<u8> {
    let mut bytes = std::fs::read(plugin()).unwrap();
    bytes.extend([0, 5, 4]);
    bytes.extend(b"note");
    bytes
}

/// The probe with settings of a test.
pub fn probe(behaviour: &str) -> String {
    format!(
        "plugin = {:?}\nsettings = {{ behaviour = {behaviour:?} }}",
        guests::path("probe.wasm")
    )
}
