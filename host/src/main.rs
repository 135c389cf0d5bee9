//! The `baton-host` command. All it does is in the library.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    baton_host::cli::main(std::env::args_os().collect(), std::env::vars_os().collect())
}
