//! Syncs one cluster with the library, as a program of your own would.
//!
//!     cargo run -p baton-host --example embed -- baton_eks.wasm eu-west-1 prod prod.c1z
//!
//! Credentials come from the environment, as they do for `baton-host`.
#![allow(clippy::print_stdout, reason = "an example")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use baton_host::c1z::FileOptions;
use baton_host::credentials::env::Env;
use baton_host::credentials::settings::AwsSettings;
use baton_host::job::{self, Job};
use baton_host::plugin::{Lock, Plugin};
use baton_host::sandbox::{Sandbox, SandboxConfig};
use baton_host::sync::Options;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [plugin, region, cluster, file] = arguments.as_slice() else {
        anyhow::bail!("usage: embed PLUGIN REGION CLUSTER FILE");
    };

    // One per process: the engine and the threads that guests run on.
    let sandbox = Sandbox::new(SandboxConfig::default())?;
    // Without a lock file a plugin gets the built-in `read` profile.
    let lock = Lock::read(&PathBuf::from("baton.lock"))?;
    let plugin = Plugin::load(&sandbox, &PathBuf::from(plugin), &lock, &[]).await?;

    let env = Env::process();
    let job = Job {
        plugin,
        settings: BTreeMap::from([
            ("eks-region".to_owned(), region.clone()),
            ("eks-cluster-name".to_owned(), cluster.clone()),
        ]),
        aws: AwsSettings::from_env(&env)?,
        env,
        rates: Arc::default(),
        http: baton_host::credentials::HttpClients::new(),
        limits: baton_host::sandbox::Limits::default(),
    };
    let connection = job::connect(&job).await.context("connecting")?;
    let outcome = job::sync(
        &sandbox,
        &job,
        &connection,
        &Options::default(),
        &PathBuf::from(file),
        &FileOptions::default(),
        Arc::new(()),
        &mut (),
    )
    .await?;
    println!(
        "{} resources, {} entitlements, {} grants",
        outcome.summary.objects, outcome.summary.entitlements, outcome.summary.grants
    );
    Ok(())
}
