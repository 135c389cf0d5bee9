//! What a cluster costs that waits for its next sync.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use baton_host::fleet::{
    Board, Cluster, ClusterId, Credentials, Good, Schedule, Scheduler, SchedulerOptions, StatusFile,
};
use baton_host::sandbox::{Limits, Sandbox, SandboxConfig};

/// Each size in a process of its own: two in one would use each other's memory.
#[allow(
    dead_code,
    clippy::print_stdout,
    reason = "a benchmark's; a test has its own"
)]
pub fn main() {
    if let Some(clusters) = std::env::var_os("IDLE_CLUSTERS") {
        let clusters: usize = clusters.to_str().unwrap().parse().unwrap();
        let (grown, waiting) = grown_kib(clusters);
        println!(
            "  {} idle clusters: {grown} KiB more, {:.1} KiB each",
            waiting - 1,
            grown as f64 / clusters as f64
        );
        return;
    }
    for clusters in [100, 500] {
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .arg("idle")
            .env("IDLE_CLUSTERS", clusters.to_string())
            .output()
            .unwrap();
        print!(
            "{}",
            String::from_utf8(child.stdout)
                .unwrap()
                .replace("idle\n", "")
        );
    }
}

/// Memory of this process that no file backs, in KiB.
pub fn resident_kib(process: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))
        .and_then(|rest| rest.trim().strip_suffix("kB"))
        .and_then(|number| number.trim().parse().ok())
        .unwrap_or_default()
}

/// A cluster that was synced a moment ago and is not due for weeks.
pub fn waiting(folder: &Path, number: usize) -> Cluster {
    let (account, region) = ("111122223333", "eu-west-1");
    let name = format!("cluster-with-a-usual-name-{number}");
    let output = Cluster::output_in(folder, account, region, &name);
    let cluster = Cluster {
        id: ClusterId::new(account, region, &name),
        plugin: "baton_eks.wasm".into(),
        lock: None,
        settings: BTreeMap::new(),
        credentials: Credentials {
            plain: BTreeMap::from([(
                "role-arn".to_owned(),
                format!("arn:aws:iam::{account}:role/baton-reader"),
            )]),
            ..Credentials::default()
        },
        account: account.to_owned(),
        region: region.to_owned(),
        name,
        schedule: Schedule::every(Duration::from_secs(20 * 24 * 3600)),
        limits: Limits::default(),
        folder: folder.to_owned(),
        output,
        work_folder: None,
        external: None,
        found_by: None,
    };
    std::fs::create_dir_all(cluster.output.parent().unwrap()).unwrap();
    std::fs::write(&cluster.output, b"").unwrap();
    let mut status = StatusFile::new(&cluster);
    status.last_good = Some(Good {
        at: jiff::Timestamp::now(),
        seconds: 3.0,
        objects: 1_000,
        entitlements: 20_000,
        grants: 30_000,
        bytes: 1 << 20,
        file: cluster.output.clone(),
    });
    status.warnings = vec!["config maps may not be listed".to_owned()];
    status.write(&cluster.status_file()).unwrap();
    cluster
}

/// By how much the process grows for so many, in KiB, and how many tasks wait.
pub fn grown_kib(clusters: usize) -> (u64, usize) {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let sandbox = Sandbox::new(SandboxConfig::default()).unwrap();
        let board = Arc::new(Board::new());
        let options = SchedulerOptions::forever(BTreeMap::new(), vec![], Duration::from_secs(1));
        let scheduler = Scheduler::new(sandbox, board.clone(), options);
        // One first: what the first of all costs belongs to the base.
        let one = waiting(folder.path(), 0);
        scheduler.replace(vec![one.clone()]).await;
        all_wait(&board, 1).await;
        let all = std::iter::once(one)
            .chain((1..=clusters).map(|number| waiting(folder.path(), number)))
            .collect();
        let before = resident_kib("self");
        scheduler.replace(all).await;
        let waiting = all_wait(&board, clusters + 1).await;
        (resident_kib("self").saturating_sub(before), waiting)
    })
}

/// Waits until each has its next moment.
async fn all_wait(board: &Board, clusters: usize) -> usize {
    let mut changed = board.changed();
    loop {
        changed.borrow_and_update();
        let shown = board.snapshot().clusters;
        let waiting = shown.iter().filter(|one| one.next.is_some()).count();
        if waiting >= clusters {
            return waiting;
        }
        changed.changed().await.unwrap();
    }
}
