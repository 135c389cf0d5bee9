//! The `baton-host` command.

fn main() {}
