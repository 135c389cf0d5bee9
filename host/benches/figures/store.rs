//! How long a task waits for its store.

use std::sync::Arc;
use std::time::Instant;

use baton_host::sandbox::{Component, Limits, NoEgress, Sandbox, SandboxConfig, Task};

use super::{component, micros, percentile, runtime};

const ROUNDS: usize = 2_000;

pub fn main() {
    let runtime = runtime();
    let sandbox = Sandbox::new(SandboxConfig::default()).unwrap();
    let bytes = std::fs::read(component()).unwrap();
    let size = bytes.len();
    let clock = Instant::now();
    let component = runtime
        .block_on(Component::load(&sandbox, bytes, |_| false))
        .unwrap();
    println!(
        "  {} KiB compiled and described in {:.0} ms, once per process",
        size >> 10,
        clock.elapsed().as_secs_f64() * 1e3
    );
    let start = async || {
        let task = Task::start(
            &sandbox,
            &component,
            Arc::new(NoEgress),
            Limits::default(),
            Arc::new(()),
        );
        task.await.unwrap()
    };
    let (mut stores, mut hops) = (Vec::new(), Vec::new());
    runtime.block_on(async {
        for _ in 0..ROUNDS {
            let clock = Instant::now();
            tokio::spawn(async {}).await.unwrap();
            hops.push(clock.elapsed());
            let clock = Instant::now();
            let task = start().await;
            stores.push(clock.elapsed());
            drop(task);
        }
    });
    let hop = micros(percentile(&mut hops, 0.5));
    let median = micros(percentile(&mut stores, 0.5));
    println!(
        "  a task's store: median {median:.0} us, p99 {:.0} us; {:.1} times a task of tokio ({hop:.1} us)",
        micros(percentile(&mut stores, 0.99)),
        median / hop
    );
}
