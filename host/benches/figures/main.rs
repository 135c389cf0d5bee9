//! Figures that no statistics of one function give: memory, whole processes,
//! the sandbox beside the same code without it. Counts first, then ratios to a
//! baseline of the same run.
//!
//! `cargo bench --workspace --bench figures -- idle native` takes some of them;
//! docs/performance.md says what they mean.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::panic,
    clippy::cast_precision_loss,
    missing_docs,
    reason = "a benchmark"
)]

mod idle;
mod native;
mod outbound;
mod serving;
mod store;

use std::time::Duration;

fn main() {
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    // Memory first: what runs before it would count.
    let all: [(&str, fn()); 5] = [
        ("idle", idle::main),
        ("store", store::main),
        ("outbound", outbound::main),
        ("native", native::main),
        ("serving", serving::main),
    ];
    for (name, run) in all {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            println!("{name}");
            run();
        }
    }
}

/// The connector as a component.
pub fn component() -> std::path::PathBuf {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../target/components/baton_eks.wasm"
    );
    assert!(
        std::path::Path::new(path).is_file(),
        "{path} is missing: run `just component` first"
    );
    path.into()
}

/// The time that a share of all stayed below.
pub fn percentile(times: &mut [Duration], share: f64) -> Duration {
    times.sort_unstable();
    let last = times.len() - 1;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index"
    )]
    let at = (last as f64 * share).round() as usize;
    times[at.min(last)]
}

/// In microseconds.
pub fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}
