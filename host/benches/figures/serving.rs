//! Whole processes: from start to the first request, and the memory of a fleet
//! of 500 of which 8 are due.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use baton_host::fleet::{Cluster, StatusFile};
use cloud_sim::{Scenario, SimHandle, Size, generate};

use super::idle::{resident_kib, waiting};
use super::{component, percentile};

const PROGRAM: &str = env!("CARGO_BIN_EXE_baton-host");
const DUE: usize = 8;

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn main() {
    let folder = tempfile::tempdir().unwrap();
    let lock = folder.path().join("baton.lock");
    let approved = Command::new(PROGRAM)
        .args(["plugin", "approve", "--yes", "--lock"])
        .arg(&lock)
        .arg(component())
        .output()
        .unwrap();
    assert!(approved.status.success(), "{approved:?}");
    first_request(folder.path(), &lock);
    fleet(&lock);
}

/// From the start of the process to what the cloud sees of it.
fn first_request(folder: &Path, lock: &Path) {
    let sim = SimHandle::start_blocking(Scenario::minimal().unwrap()).unwrap();
    let (mut started, mut nothing) = (vec![], vec![]);
    for round in 0..11 {
        let clock = Instant::now();
        let version = Command::new(PROGRAM).arg("--version").output().unwrap();
        assert!(version.status.success());
        nothing.push(clock.elapsed());
        sim.forget();
        let clock = Instant::now();
        let _child = Killed(
            Command::new(PROGRAM)
                .args(["sync", "--quiet", "--lock"])
                .arg(lock)
                .arg("--file")
                .arg(folder.join(format!("{round}.c1z")))
                .arg("--plugin")
                .arg(component())
                .env_clear()
                .envs(sim.env("lab"))
                .current_dir(folder)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap(),
        );
        while sim.request_count() == 0 {
            assert!(clock.elapsed() < Duration::from_secs(60), "no request");
            std::thread::sleep(Duration::from_micros(200));
        }
        started.push(clock.elapsed());
    }
    let (started, nothing) = (percentile(&mut started, 0.5), percentile(&mut nothing, 0.5));
    println!(
        "  start to first request: {:.0} ms; a start that does nothing {:.0} ms: {:.0} ms more",
        started.as_secs_f64() * 1e3,
        nothing.as_secs_f64() * 1e3,
        started.saturating_sub(nothing).as_secs_f64() * 1e3
    );
}

/// Writes a fleet of which the first so many are due.
fn write(folder: &Path, lock: &Path, clusters: usize, due: usize) -> Vec<Cluster> {
    let mut text = format!(
        "[defaults]\nplugin = {:?}\nlock = {lock:?}\noutput = \"out\"\naccount = \"111122223333\"\nregion = \"eu-west-1\"\nschedule = \"20d\"\n[defaults.credentials]\nrole-arn = \"arn:aws:iam::111122223333:role/reader\"\n",
        component()
    );
    let all: Vec<Cluster> = (0..clusters)
        .map(|number| waiting(&folder.join("out"), number))
        .collect();
    for (number, cluster) in all.iter().enumerate() {
        text.push_str(&format!("[[clusters]]\nname = {:?}\n", cluster.name));
        if number < due {
            std::fs::remove_file(cluster.status_file()).unwrap();
            std::fs::remove_file(&cluster.output).unwrap();
        }
    }
    std::fs::write(folder.join("fleet.toml"), text).unwrap();
    all
}

fn ready(address: &str) -> bool {
    let Ok(mut stream) = TcpStream::connect(address) else {
        return false;
    };
    let asked = write!(stream, "GET /ready HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let mut text = String::new();
    asked.is_ok() && stream.read_to_string(&mut text).is_ok() && text.starts_with("HTTP/1.1 200")
}

/// Serves it until all that is due was synced; the most memory, in KiB.
fn serve(sim: &SimHandle, lock: &Path, clusters: usize, due: usize) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    let all = write(folder.path(), lock, clusters, due);
    let mut child = Killed(
        Command::new(PROGRAM)
            .args([
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--log-format",
                "json",
                "--file",
            ])
            .arg(folder.path().join("fleet.toml"))
            .env_clear()
            .env("AWS_ENDPOINT_URL", sim.aws_url())
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_ACCESS_KEY_ID", sim.access_key())
            .env("AWS_SECRET_ACCESS_KEY", sim.secret_key())
            .current_dir(folder.path())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let process = child.0.id().to_string();
    let mut lines = BufReader::new(child.0.stderr.take().unwrap()).lines();
    let address = loop {
        let line = lines.next().unwrap().unwrap();
        if let Some((_, rest)) = line.split_once("http://") {
            break rest.split(['/', '"']).next().unwrap().to_owned();
        }
    };
    std::thread::spawn(move || lines.for_each(drop));
    let clock = Instant::now();
    let good = |cluster: &Cluster| {
        StatusFile::read(&cluster.status_file()).is_some_and(|status| status.last_good.is_some())
    };
    let mut most = 0;
    while !ready(&address) || !all.iter().take(due).all(good) {
        assert!(clock.elapsed() < Duration::from_secs(300), "no end of it");
        most = most.max(resident_kib(&process));
        std::thread::sleep(Duration::from_millis(10));
    }
    most.max(resident_kib(&process))
}

fn fleet(lock: &Path) {
    let mut scenario = generate(7, Size::default());
    let one = scenario.clusters.remove(0);
    let folder = tempfile::tempdir().unwrap();
    for number in 0..DUE {
        let mut cluster = one.clone();
        cluster.name = waiting(folder.path(), number).name;
        scenario.clusters.push(cluster);
    }
    let sim = SimHandle::start_blocking(scenario).unwrap();
    let base = serve(&sim, lock, 1, 0);
    let idle = serve(&sim, lock, 500, 0);
    let one = serve(&sim, lock, 1, 1);
    let busy = serve(&sim, lock, 500, DUE);
    println!(
        "  memory of a serving process: {} MiB with one idle cluster, {} MiB with 500, {} MiB with one that syncs, {} MiB with 500 of which {DUE} sync",
        base >> 10,
        idle >> 10,
        one >> 10,
        busy >> 10
    );
}
