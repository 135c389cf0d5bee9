//! The simulator as a library: start it, ask it, stop it by dropping it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use anyhow::{Context, Result, anyhow};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::faults::{Fault, Faults};
use crate::http::listen;
use crate::kubernetes::store::Kind;
use crate::scenario::{Connect, Scenario};
use crate::shared::{Front, Logged, Shared, machine_time};
use crate::world::World;

/// A running cloud. Dropping it closes every listener and connection.
#[derive(Debug)]
pub struct Sim {
    pub(crate) shared: Arc<Shared>,
    aws: SocketAddr,
    region: String,
    key: Option<(String, String)>,
    connects: BTreeMap<String, Connect>,
    clusters: Vec<ClusterInfo>,
    _tasks: JoinSet<()>,
}

/// What a test may want to know of a cluster without asking EKS.
#[derive(Debug, Clone)]
pub struct ClusterInfo {
    /// Name.
    pub name: String,
    /// ARN.
    pub arn: String,
    /// Account id.
    pub account: String,
    /// Region.
    pub region: String,
    /// `https://127.0.0.1:PORT`, where it really listens.
    pub endpoint: String,
    /// The CA that really signed its certificate, PEM.
    pub ca_pem: String,
    /// The IRSA issuer.
    pub issuer: String,
}

impl Sim {
    /// Starts a cloud on loopback ports that the system chooses.
    ///
    /// # Errors
    /// Where the scenario contradicts itself or a port cannot be opened.
    pub async fn start(scenario: Scenario) -> Result<Sim> {
        scenario.check()?;
        let mut faults = Faults::default();
        for fault in scenario.faults.clone() {
            faults.add(None, fault);
        }
        let key = scenario
            .accounts
            .iter()
            .flat_map(|a| &a.users)
            .flat_map(|u| &u.keys)
            .next()
            .map(|k| (k.id.clone(), k.secret.clone()));
        let connects = scenario
            .clusters
            .iter()
            .filter_map(|c| Some((c.name.clone(), c.connect.clone()?)))
            .collect();
        let region = scenario.region.clone();
        let aws_listener = TcpListener::bind("127.0.0.1:0")
            .await
            .context("cannot open a loopback port for AWS")?;
        let aws = aws_listener.local_addr()?;
        let mut world = World::new(scenario, machine_time(), &aws.to_string());
        let mut clusters = Vec::new();
        let mut doors = Vec::new();
        for cluster in &mut world.clusters {
            let listener = TcpListener::bind("127.0.0.1:0")
                .await
                .context("cannot open a loopback port for Kubernetes")?;
            let endpoint = format!("https://{}", listener.local_addr()?);
            let (tls, ca_pem) = certificates(&cluster.spec.name)?;
            cluster.endpoint = if cluster.spec.unreachable {
                closed_port().await?
            } else {
                endpoint.clone()
            };
            cluster.ca_pem = if cluster.spec.wrong_ca {
                certificates("another")?.1
            } else {
                ca_pem.clone()
            };
            clusters.push(ClusterInfo {
                name: cluster.spec.name.clone(),
                arn: cluster.arn.clone(),
                account: cluster.account.clone(),
                region: cluster.region.clone(),
                endpoint,
                ca_pem,
                issuer: cluster.issuer.clone(),
            });
            doors.push((listener, tls));
        }
        let shared = Arc::new(Shared::new(world, faults));
        let mut tasks = JoinSet::new();
        tasks.spawn(listen(aws_listener, None, shared.clone(), Front::Aws));
        for (index, (listener, tls)) in doors.into_iter().enumerate() {
            tasks.spawn(listen(
                listener,
                Some(tls),
                shared.clone(),
                Front::Kubernetes(index),
            ));
        }
        Ok(Sim {
            shared,
            aws,
            region,
            key,
            connects,
            clusters,
            _tasks: tasks,
        })
    }

    /// `http://127.0.0.1:PORT`: STS, IAM, EKS and ambient credentials.
    pub fn aws_url(&self) -> String {
        format!("http://{}", self.aws)
    }

    /// The id of the scenario's first static access key; empty where it has none.
    pub fn access_key(&self) -> &str {
        self.key.as_ref().map_or("", |k| &k.0)
    }

    /// The secret that belongs to it.
    pub fn secret_key(&self) -> &str {
        self.key.as_ref().map_or("", |k| &k.1)
    }

    /// A cluster by name.
    pub fn cluster(&self, name: &str) -> Option<&ClusterInfo> {
        self.clusters.iter().find(|c| c.name == name)
    }

    /// All clusters, in the scenario's order.
    pub fn clusters(&self) -> &[ClusterInfo] {
        &self.clusters
    }

    /// Calls by operation: `eks:DescribeAccessEntry`, `sts:AssumeRole`,
    /// `kubernetes:list rbac.authorization.k8s.io/clusterroles`,
    /// `kubernetes:get configmaps kube-system/aws-auth`. Each page is a call.
    pub fn calls(&self) -> BTreeMap<String, u64> {
        let mut calls = BTreeMap::new();
        for entry in self.shared.journal().iter() {
            *calls.entry(entry.operation.clone()).or_insert(0) += 1;
        }
        calls
    }

    /// Every request since the start, or since [`Sim::forget`].
    pub fn requests(&self) -> Vec<Logged> {
        self.shared.journal().clone()
    }

    /// How many requests there were, of whatever kind, since the start or since [`Sim::forget`].
    pub fn request_count(&self) -> usize {
        self.shared.journal().len()
    }

    /// How many requests [`Effect::Hang`] and [`Effect::HangAfter`] have left without an answer.
    ///
    /// [`Effect::Hang`]: crate::Effect::Hang
    /// [`Effect::HangAfter`]: crate::Effect::HangAfter
    pub fn hanging(&self) -> usize {
        self.shared.hanging()
    }

    /// Changes that arrived and were permitted, by operation, in order.
    pub fn mutations(&self) -> Vec<String> {
        self.shared.world().mutations.clone()
    }

    /// The most calls at once, by service.
    pub fn peak_concurrency(&self) -> BTreeMap<String, usize> {
        self.shared.peaks()
    }

    /// Connections accepted so far: `aws` and `kubernetes`.
    pub fn connections(&self) -> BTreeMap<String, u64> {
        self.shared.connection_counts()
    }

    /// Empties the request log (and with it the counts) and the list of mutations.
    pub fn forget(&self) {
        self.shared.journal().clear();
        self.shared.world().mutations.clear();
    }

    /// Every secret access key and session token there is, for tests that look for them elsewhere.
    pub fn secrets(&self) -> Vec<String> {
        let world = self.shared.world();
        let keys = world.keys.values();
        keys.flat_map(|k| {
            [
                Some(k.secret.clone()),
                k.session.as_ref().map(|s| s.token.clone()),
            ]
        })
        .flatten()
        .collect()
    }

    /// Adds a fault.
    pub fn inject(&self, fault: Fault) {
        self.shared.faults().add(None, fault);
    }

    /// Adds a fault that bites only in calls to the API of one cluster, or to EKS about it.
    pub fn inject_at(&self, cluster: &str, fault: Fault) {
        self.shared.faults().add(Some(cluster), fault);
    }

    /// Removes every fault.
    pub fn clear_faults(&self) {
        self.shared.faults().clear();
    }

    /// Moves the cloud's clock by seconds, away from this machine's.
    pub fn set_clock_offset(&self, seconds: i64) {
        self.shared.set_offset(seconds * 1000);
    }

    /// Makes every continue token of a cluster expire.
    pub fn expire_continue_tokens(&self, cluster: &str) {
        if let Some(found) = self
            .shared
            .world()
            .clusters
            .iter_mut()
            .find(|c| c.spec.name == cluster)
        {
            found.store.compact();
        }
    }

    /// An object of a cluster, as stored: `("", "configmaps", "kube-system/aws-auth")`.
    pub fn object(
        &self,
        cluster: &str,
        group: &str,
        resource: &str,
        key: &str,
    ) -> Option<serde_json::Value> {
        let world = self.shared.world();
        let found = world.clusters.iter().find(|c| c.spec.name == cluster)?;
        found
            .store
            .get(Kind::find(group, resource)?, key)
            .map(|o| (*o).clone())
    }

    /// How many objects of a resource a cluster has.
    pub fn count(&self, cluster: &str, group: &str, resource: &str) -> usize {
        let world = self.shared.world();
        let found = world.clusters.iter().find(|c| c.spec.name == cluster);
        found
            .zip(Kind::find(group, resource))
            .map_or(0, |(c, kind)| c.store.all(kind).len())
    }

    /// The variables a host needs to read a cluster with static keys: `AWS_*` and `BATON_*`.
    ///
    /// A cluster whose scenario names a first hop gets the two-hop variables instead.
    pub fn env(&self, cluster: &str) -> Vec<(String, String)> {
        let connect = self.connects.get(cluster).cloned().unwrap_or_default();
        let region = self
            .cluster(cluster)
            .map_or_else(|| self.region.clone(), |c| c.region.clone());
        let mut env = vec![
            ("AWS_ENDPOINT_URL", self.aws_url()),
            ("AWS_REGION", region.clone()),
            ("AWS_EC2_METADATA_DISABLED", "true".into()),
            ("BATON_EKS_REGION", region.clone()),
            ("BATON_EKS_CLUSTER_NAME", cluster.to_owned()),
        ];
        if let Some(role) = connect.role_arn {
            env.push(("BATON_EKS_ASSUME_ROLE_ARN", role));
        }
        let (id, secret) = self.key.clone().unwrap_or_default();
        if let Some(external) = connect.external_id {
            env.push(("BATON_EXTERNAL_ID", external));
        }
        match connect.global_role_arn {
            Some(role) => {
                env.push(("BATON_GLOBAL_ROLE_ARN", role));
                env.push((
                    "BATON_GLOBAL_BINDING_EXTERNAL_ID",
                    connect.global_external_id.unwrap_or_default(),
                ));
                env.push(("BATON_GLOBAL_REGION", region));
                env.push(("BATON_GLOBAL_ACCESS_KEY_ID", id));
                env.push(("BATON_GLOBAL_SECRET_ACCESS_KEY", secret));
            }
            None => {
                env.push(("BATON_EKS_ACCESS_KEY", id));
                env.push(("BATON_EKS_SECRET_ACCESS_KEY", secret));
            }
        }
        env.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()
    }
}

/// A cloud on a runtime of its own thread, for tests that run child processes.
#[derive(Debug)]
pub struct SimHandle {
    sim: Option<Arc<Sim>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl SimHandle {
    /// Starts a cloud on a thread of its own.
    ///
    /// # Errors
    /// As [`Sim::start`].
    pub fn start_blocking(scenario: Scenario) -> Result<SimHandle> {
        let (ready, started) = mpsc::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new()
            .name("cloud-sim".into())
            .spawn(move || {
                let runtime = match tokio::runtime::Builder::new_multi_thread()
                    .worker_threads(2)
                    .enable_all()
                    .build()
                {
                    Ok(runtime) => runtime,
                    Err(error) => return drop(ready.send(Err(error.into()))),
                };
                match runtime.block_on(Sim::start(scenario)) {
                    Ok(sim) => {
                        let _ = ready.send(Ok(Arc::new(sim)));
                        let _ = runtime.block_on(stopped);
                    }
                    Err(error) => drop(ready.send(Err(error))),
                }
                runtime.shutdown_timeout(std::time::Duration::from_secs(5));
            })?;
        let sim = started
            .recv()
            .map_err(|_| anyhow!("the simulator's thread ended before it started"))??;
        Ok(SimHandle {
            sim: Some(sim),
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl std::ops::Deref for SimHandle {
    type Target = Sim;

    fn deref(&self) -> &Sim {
        match &self.sim {
            Some(sim) => sim,
            // `sim` is only taken in `drop`.
            None => unreachable!(),
        }
    }
}

impl Drop for SimHandle {
    fn drop(&mut self) {
        self.sim = None;
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// An own CA, a server certificate of it for loopback, and the CA as PEM.
fn certificates(name: &str) -> Result<(TlsAcceptor, String)> {
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    params
        .distinguished_name
        .push(DnType::CommonName, format!("kubernetes {name}"));
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()])?;
    params
        .distinguished_name
        .push(DnType::CommonName, "kube-apiserver");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &ca)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der())),
        )?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok((TlsAcceptor::from(Arc::new(config)), ca.pem()))
}

/// An address where nobody listens any more.
async fn closed_port() -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    Ok(format!("https://{}", listener.local_addr()?))
}
