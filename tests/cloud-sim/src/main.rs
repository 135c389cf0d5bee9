//! The simulated cloud as a program.

use std::io::{Read, Write};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Parser;
use cloud_sim::{Scenario, Sim, Size, generate};

/// AWS (STS, IAM, EKS) and Kubernetes as one simulated cloud on loopback ports.
///
/// Prints the environment of a host as `export` lines on standard output and
/// serves until Ctrl-C, or until standard input is closed.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// A scenario file
    #[arg(long, value_name = "FILE", group = "what")]
    scenario: Option<PathBuf>,
    /// The company of the demonstration, with clusters `prod` and `dev`
    #[arg(long, group = "what")]
    demo: bool,
    /// A generated cloud with a cluster `generated`
    #[arg(long, value_name = "SEED", group = "what")]
    generate: Option<u64>,
    /// Namespaces of a generated cloud
    #[arg(long, value_name = "N", requires = "generate")]
    namespaces: Option<usize>,
    /// Bindings of a generated cloud
    #[arg(long, value_name = "N", requires = "generate")]
    bindings: Option<usize>,
    /// Access entries of a generated cloud
    #[arg(long, value_name = "N", requires = "generate")]
    entries: Option<usize>,
    /// The cluster that the environment names; the first one if absent
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// The environments of all clusters, each block after a line `# cluster NAME`, the last before `# ready`
    #[arg(long, conflicts_with = "cluster")]
    every_cluster: bool,
    /// Also write the environment to this file
    #[arg(long, value_name = "PATH")]
    env_file: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse();
    let scenario = match (&options.scenario, options.generate) {
        (Some(path), _) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            Scenario::from_yaml(&text)?
        }
        (None, Some(seed)) => {
            let usual = Size::default();
            let namespaces = options.namespaces.unwrap_or(usual.namespaces);
            generate(
                seed,
                Size {
                    namespaces,
                    bindings: options.bindings.unwrap_or(usual.bindings),
                    entries: options.entries.unwrap_or(usual.entries),
                    ..usual
                },
            )
        }
        (None, None) if options.demo => Scenario::demo()?,
        (None, None) => Scenario::minimal()?,
    };
    let sim = Sim::start(scenario).await?;
    let name = match &options.cluster {
        Some(name) => name.clone(),
        None => sim
            .clusters()
            .first()
            .map(|c| c.name.clone())
            .context("the scenario has no cluster")?,
    };
    if sim.cluster(&name).is_none() {
        let all: Vec<&str> = sim.clusters().iter().map(|c| c.name.as_str()).collect();
        bail!(
            "there is no cluster {name:?}; the scenario has {}",
            all.join(", ")
        );
    }
    let exports = |name: &str| -> String {
        sim.env(name)
            .iter()
            .map(|(k, v)| format!("export {k}='{v}'\n"))
            .collect()
    };
    let exports: String = if options.every_cluster {
        sim.clusters()
            .iter()
            .map(|cluster| format!("# cluster {}\n{}", cluster.name, exports(&cluster.name)))
            .chain(["# ready\n".to_owned()])
            .collect()
    } else {
        exports(&name)
    };
    if let Some(path) = &options.env_file {
        std::fs::write(path, &exports)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    let mut out = std::io::stdout();
    out.write_all(exports.as_bytes())?;
    out.flush()?;
    let mut err = std::io::stderr();
    writeln!(err, "AWS         {}", sim.aws_url())?;
    for cluster in sim.clusters() {
        writeln!(
            err,
            "Kubernetes  {}  {} in {}",
            cluster.endpoint, cluster.name, cluster.account
        )?;
    }
    writeln!(err, "serving; Ctrl-C ends it")?;
    let (closed, input) = tokio::sync::oneshot::channel();
    // A thread, because reading standard input cannot be cancelled.
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        let _ = closed.send(());
    });
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = input => {}
    }
    for (operation, count) in sim.calls() {
        writeln!(err, "{count:>8}  {operation}")?;
    }
    Ok(())
}
