//! How fast and how large: 1,000 namespaces x 300 cluster roles as
//! entitlements, and a million grants, from a connector that only counts.
//!
//! Prints rows a second, bytes a row and the peak of the process's memory.
//! `cargo bench -p baton-host --bench access_file -- 10000` takes another
//! number of grants.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    missing_docs,
    reason = "a benchmark"
)]

mod large;

use baton_host::c1z::{FileOptions, Reader};
use baton_host::sync::{Facts, Options, Phase, Progress, run};
use large::{Large, descriptor, peak_kib};

/// Says how long each phase took.
struct Watch(std::time::Instant);

impl Progress for Watch {
    fn phase(&mut self, phase: Phase) {
        println!("{:>8.2} s  {phase:?}", self.0.elapsed().as_secs_f64());
    }
}

fn main() {
    let grants = std::env::args()
        .filter_map(|argument| argument.parse().ok())
        .next()
        .unwrap_or(1_000_000);
    let descriptor = descriptor();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("large.c1z");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    for round in ["first sync", "second sync into the same file"] {
        println!("{round}");
        let clock = std::time::Instant::now();
        let summary = runtime
            .block_on(run(
                &mut Large { grants },
                &descriptor,
                vec![],
                &Options::default(),
                &Facts::default(),
                &file,
                &FileOptions::default(),
                &mut Watch(clock),
            ))
            .unwrap();
        let rows = summary.objects + summary.entitlements + summary.grants;
        let seconds = clock.elapsed().as_secs_f64();
        println!("{seconds:>8.2} s  done");
        println!(
            "{rows} rows, {:.0} a second; {} entitlements, {} grants; {} MiB, {} MiB decoded, {} bytes a row decoded; peak {} MiB",
            rows as f64 / seconds,
            summary.entitlements,
            summary.grants,
            summary.file_bytes >> 20,
            summary.decoded_bytes >> 20,
            summary.decoded_bytes / rows.max(1),
            peak_kib() >> 10,
        );
        for warning in &summary.warnings {
            println!("warning: {} x{}", warning.message, warning.count);
        }
    }
    let clock = std::time::Instant::now();
    let reader = Reader::open(&file, &FileOptions::default()).unwrap();
    let read = reader
        .grants(&reader.latest().unwrap())
        .filter(Result::is_ok)
        .count();
    println!(
        "{read} grants read in {:.2} s; peak {} MiB",
        clock.elapsed().as_secs_f64(),
        peak_kib() >> 10
    );
}
