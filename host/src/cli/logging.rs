//! Logs go to standard error: `console` on a terminal, `json` otherwise.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use super::args::Early;

/// Crates whose debug output is about themselves, or could hold credentials.
const QUIET: &[&str] = &[
    "hyper",
    "hyper_util",
    "rustls",
    "h2",
    "tower",
    "wasmtime",
    "cranelift",
    "wasmtime_wasi_http",
];

pub(super) fn init(early: &Early) {
    let mut filter = EnvFilter::new(early.log_level.as_str());
    let quiet = QUIET
        .iter()
        .copied()
        .chain(crate::credentials::QUIET_LOG_TARGETS.iter().copied());
    for target in quiet {
        if let Ok(directive) = format!("{target}=warn").parse() {
            filter = filter.add_directive(directive);
        }
    }
    let console = match early.log_format.as_deref() {
        Some("console") => true,
        Some(_) => false,
        None => std::io::stderr().is_terminal(),
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(super::output::colour())
        .with_writer(std::io::stderr);
    // A second initialisation (an embedder's own) stays.
    let _ = if console {
        builder.with_target(false).try_init()
    } else {
        builder.json().flatten_event(true).try_init()
    };
}
