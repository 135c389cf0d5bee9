//! The session of one cluster: from settings to signatures.
//!
//! Three paths. An own key (`eks-*`) assumes the role; with `global-role-arn`
//! the operator's key or the ambient credentials take two hops; else the
//! ambient credentials are used, and assume the role if one is given. The last
//! role's session is narrowed by the policy that the caller generated from the
//! plugin's rights, so AWS enforces them as well. Everything happens in the
//! cluster's region, whatever region the surroundings name.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::OnceCell;

use super::ambient::{Ambient, Found};
use super::client::HttpClients;
use super::endpoints::{self, Endpoints, Service};
use super::env::{Clock, Env};
use super::error::{CredentialError, SettingsError};
use super::renew::{Lease, Renewing};
use super::secret::Secret;
use super::settings::{AccessKey, AwsSettings, role_partition};
use super::sign;
use super::sts::{Assumption, CallerIdentity, Sts};
use super::token::{self, TOKEN_LIFE, TOKEN_RENEW_AFTER};
use crate::upstream::auth::{Auth, AuthError, AuthErrorKind};

/// How often credentials without an end are read again: somebody may have
/// rotated the key in the file.
const RELOAD: Duration = Duration::from_secs(15 * 60);

/// What a session is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Purpose {
    /// Reading: the role is `role-arn`.
    #[default]
    Read,
    /// Granting and revoking: the role is `provisioning-role-arn` where given.
    Provision,
}

/// All that a session is made from.
#[derive(Debug, Clone)]
pub struct SessionConfig {
    /// The settings of the kind `aws`.
    pub settings: AwsSettings,
    /// The cluster's region.
    pub region: String,
    /// The cluster's name; it names the role session.
    pub cluster: String,
    /// The session policy, JSON of at most 2,048 characters, for the last role.
    pub policy: Option<String>,
    /// Reading or provisioning.
    pub purpose: Purpose,
    /// Environment: ambient credentials and endpoint variables.
    pub env: Env,
    /// The clients; one set serves all sessions.
    pub http: HttpClients,
    /// What time it is.
    pub clock: Clock,
}

impl SessionConfig {
    /// The session of `cluster` in `region` for reading, with the surroundings
    /// of this process and without a session policy.
    pub fn new(
        settings: AwsSettings,
        region: impl Into<String>,
        cluster: impl Into<String>,
    ) -> SessionConfig {
        SessionConfig {
            settings,
            region: region.into(),
            cluster: cluster.into(),
            policy: None,
            purpose: Purpose::Read,
            env: Env::process(),
            http: HttpClients::new(),
            clock: Clock::system(),
        }
    }
}

/// How often a session got credentials and tokens, the first time included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Renewals {
    /// Walks along the chain of roles, each one or two calls to STS.
    pub sessions: u64,
    /// Tokens for the API server; made here, without a call.
    pub tokens: u64,
}

/// Credentials of one cluster: signs requests, makes tokens, renews itself.
/// Must be used within a tokio runtime with time and I/O.
pub struct Session {
    chain: Arc<Chain>,
    credentials: Arc<Renewing<Credentials>>,
    tokens: Mutex<Vec<TokenSlot>>,
    allowed: OnceCell<()>,
}

struct TokenSlot {
    cluster: String,
    region: String,
    token: Arc<Renewing<Secret>>,
}

/// The way from a base to the last role; everything that a renewal needs.
struct Chain {
    base: Base,
    hops: Vec<Hop>,
    policy: Option<String>,
    session_name: String,
    endpoints: Endpoints,
    sts: Sts,
    clock: Clock,
    allowed_account_ids: Vec<String>,
}

enum Base {
    Key {
        key: AccessKey,
        setting: &'static str,
    },
    Ambient(Box<Ambient>),
}

struct Hop {
    role: String,
    external_id: Option<Secret>,
    /// The region of the STS that is asked.
    endpoints: Endpoints,
    /// The operator's: its failures are not for others.
    internal: bool,
}

impl Session {
    /// Makes a session; nothing is sent yet.
    ///
    /// # Errors
    /// When settings, region or endpoint variables make no sense together.
    pub fn new(config: SessionConfig) -> Result<Session, CredentialError> {
        let endpoints = Endpoints::from_env(&config.region, |name| config.env.get(name))?;
        let settings = config.settings;
        check_partition(&settings, &endpoints)?;
        let sts = Sts {
            http: config.http.clone(),
            clock: config.clock.clone(),
        };
        let session_name = session_name(&config.cluster);
        let mut hops = Vec::new();
        if let Some(role) = settings.global_role_arn {
            let endpoints = match &settings.global_region {
                Some(region) => endpoints.in_region(region)?,
                None => endpoints.clone(),
            };
            hops.push(Hop {
                role,
                external_id: settings.global_external_id,
                endpoints,
                internal: true,
            });
        }
        let role = match config.purpose {
            Purpose::Provision => settings.provisioning_role_arn.or(settings.role_arn),
            Purpose::Read => settings.role_arn,
        };
        if let Some(role) = role {
            hops.push(Hop {
                role,
                external_id: settings.external_id,
                endpoints: endpoints.clone(),
                internal: false,
            });
        }
        let base = match (settings.key, settings.global_key) {
            (Some(key), _) => Base::Key {
                key,
                setting: "eks-access-key",
            },
            (None, Some(key)) => Base::Key {
                key,
                setting: "global-access-key-id",
            },
            (None, None) => Base::Ambient(Box::new(Ambient::new(
                config.env,
                config.http,
                sts.clone(),
                endpoints.clone(),
                session_name.clone(),
            ))),
        };
        let chain = Arc::new(Chain {
            base,
            hops,
            policy: config.policy,
            session_name,
            endpoints,
            sts,
            clock: config.clock,
            allowed_account_ids: settings.allowed_account_ids,
        });
        let credentials = {
            let chain = Arc::clone(&chain);
            Renewing::new(chain.clock.clone(), move || {
                let chain = Arc::clone(&chain);
                async move { chain.walk().await }.boxed()
            })
        };
        Ok(Session {
            chain,
            credentials,
            tokens: Mutex::new(Vec::new()),
            allowed: OnceCell::new(),
        })
    }

    /// Asks STS who we are, and refuses an account that is not allowed.
    ///
    /// # Errors
    /// When there are no credentials, AWS does not take them, or the account
    /// is not among `allowed-account-ids`.
    pub async fn caller_identity(&self) -> Result<CallerIdentity, CredentialError> {
        let credentials = self.credentials.get(false).await?;
        let chain = &self.chain;
        let identity = chain
            .sts
            .caller_identity(&chain.endpoints, &credentials.value, &chain.origin())
            .await?;
        if !chain.allowed_account_ids.is_empty()
            && !chain.allowed_account_ids.contains(&identity.account)
        {
            return Err(CredentialError::AccountNotAllowed {
                account: identity.account,
                allowed: chain.allowed_account_ids.clone(),
            });
        }
        Ok(identity)
    }

    /// Whether AWS enforces the plugin's rights as well: a role is assumed with
    /// a session policy. Where not, a summary says that the session is not
    /// narrowed.
    pub fn is_narrowed(&self) -> bool {
        self.chain.policy.is_some() && !self.chain.hops.is_empty()
    }

    /// The path to the credentials for people: `eks-access-key, then
    /// arn:aws:iam::…`. The operator's own role is not named.
    pub fn describe(&self) -> String {
        let base = match &self.chain.base {
            Base::Key { setting, .. } => (*setting).to_owned(),
            Base::Ambient(_) => "the ambient AWS credentials".to_owned(),
        };
        self.chain.hops.iter().fold(base, |path, hop| {
            let next = if hop.internal {
                "the binding role of the operator"
            } else {
                &hop.role
            };
            format!("{path}, then {next}")
        })
    }

    /// What was fetched and renewed so far.
    pub fn renewals(&self) -> Renewals {
        let tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        Renewals {
            sessions: self.credentials.fetched(),
            tokens: tokens.iter().map(|slot| slot.token.fetched()).sum(),
        }
    }

    /// The endpoints of the session's region.
    pub fn endpoints(&self) -> &Endpoints {
        &self.chain.endpoints
    }

    /// The credentials, renewed in time. Only after the account was checked.
    async fn credentials(&self) -> Result<Arc<Lease<Credentials>>, CredentialError> {
        if !self.chain.allowed_account_ids.is_empty() {
            self.allowed
                .get_or_try_init(|| async { self.caller_identity().await.map(drop) })
                .await?;
        }
        self.credentials.get(false).await
    }

    fn token_slot(
        &self,
        cluster: &str,
        region: &str,
    ) -> Result<Arc<Renewing<Secret>>, CredentialError> {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |slot: &&TokenSlot| slot.cluster == cluster && slot.region == region;
        if let Some(slot) = tokens.iter().find(same) {
            return Ok(Arc::clone(&slot.token));
        }
        let host = self.chain.endpoints.in_region(region)?.token_host();
        let credentials = Arc::clone(&self.credentials);
        let clock = self.chain.clock.clone();
        let (name, place) = (cluster.to_owned(), region.to_owned());
        let token = Renewing::new(clock.clone(), move || {
            let (credentials, clock) = (Arc::clone(&credentials), clock.clone());
            let (name, place, host) = (name.clone(), place.clone(), host.clone());
            async move {
                let credentials = credentials.get(false).await?;
                let now = clock.now();
                let value = token::eks_token(&credentials.value, &name, &host, &place, now)?;
                // STS refuses a token whose credentials have ended.
                let end = credentials.expires_at;
                let until = |at: SystemTime| end.map_or(at, |end| at.min(end));
                Ok(Lease {
                    value,
                    renew_at: until(now + TOKEN_RENEW_AFTER),
                    expires_at: Some(until(now + TOKEN_LIFE)),
                })
            }
            .boxed()
        });
        tokens.push(TokenSlot {
            cluster: cluster.to_owned(),
            region: region.to_owned(),
            token: Arc::clone(&token),
        });
        Ok(token)
    }
}

impl Auth for Session {
    fn sign<'a>(
        &'a self,
        service: &'a str,
        region: &'a str,
        request: &'a mut http::Request<Bytes>,
    ) -> BoxFuture<'a, Result<(), AuthError>> {
        async move {
            let service: Service = service
                .parse()
                .map_err(|message| AuthError::new(AuthErrorKind::Config, message))?;
            let credentials = self.credentials().await?;
            let now = self.chain.clock.now();
            sign::sign_request(request, &credentials.value, service.name(), region, now)
                .map_err(CredentialError::from)?;
            Ok(())
        }
        .boxed()
    }

    fn eks_token<'a>(
        &'a self,
        cluster: &'a str,
        region: &'a str,
        fresh: bool,
    ) -> BoxFuture<'a, Result<Secret, AuthError>> {
        async move {
            self.credentials().await?;
            let slot = self.token_slot(cluster, region)?;
            Ok(slot.get(fresh).await?.value.clone())
        }
        .boxed()
    }

    fn canaries(&self) -> Vec<Secret> {
        let mut canaries = Vec::new();
        if let Base::Key { key, .. } = &self.chain.base {
            canaries.push(key.secret.clone());
        }
        for lease in self.credentials.held() {
            canaries.push(Secret::new(lease.value.secret_access_key()));
            canaries.extend(lease.value.session_token().map(Secret::new));
        }
        let tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        for slot in tokens.iter() {
            canaries.extend(slot.token.held().iter().map(|lease| lease.value.clone()));
        }
        canaries
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("region", &self.chain.endpoints.region())
            .field("path", &self.describe())
            .field("narrowed", &self.is_narrowed())
            .finish_non_exhaustive()
    }
}

impl Chain {
    async fn walk(&self) -> Result<Lease<Credentials>, CredentialError> {
        let internal = self.hops.iter().any(|hop| hop.internal);
        let mut found = match self.base().await {
            Ok(found) => found,
            Err(error) if internal => return Err(binding_error(&error)),
            Err(error) => return Err(error),
        };
        for (i, hop) in self.hops.iter().enumerate() {
            let last = i + 1 == self.hops.len();
            let wish = Assumption {
                role: &hop.role,
                session_name: &self.session_name,
                external_id: hop.external_id.as_ref().map(Secret::expose),
                policy: self.policy.as_deref().filter(|_| last),
                origin: &found.origin,
            };
            let assumed = self
                .sts
                .assume_role(&hop.endpoints, &found.credentials, &wish)
                .await;
            let credentials = match assumed {
                Ok(credentials) => credentials,
                Err(error) if hop.internal => return Err(binding_error(&error)),
                Err(error) => return Err(error),
            };
            let origin = if hop.internal {
                "the binding role of the operator".to_owned()
            } else {
                hop.role.clone()
            };
            found = Found {
                credentials,
                origin,
            };
        }
        let now = self.clock.now();
        let expires_at = found.credentials.expiry();
        let renew_at = match expires_at {
            Some(at) => now + at.duration_since(now).unwrap_or_default() * 3 / 4,
            None => now + RELOAD,
        };
        Ok(Lease {
            value: found.credentials,
            renew_at,
            expires_at,
        })
    }

    async fn base(&self) -> Result<Found, CredentialError> {
        match &self.base {
            Base::Key { key, setting } => Ok(Found {
                credentials: Credentials::new(
                    key.id.expose(),
                    key.secret.expose(),
                    None,
                    None,
                    "settings",
                ),
                origin: (*setting).to_owned(),
            }),
            Base::Ambient(ambient) => ambient.load().await,
        }
    }

    /// Whose credentials sign in the end, for errors.
    fn origin(&self) -> String {
        match (self.hops.last(), &self.base) {
            (Some(hop), _) => hop.role.clone(),
            (None, Base::Key { setting, .. }) => (*setting).to_owned(),
            (None, Base::Ambient(_)) => "the ambient AWS credentials".to_owned(),
        }
    }
}

/// What a customer sees of the operator's own hop: that it failed.
fn binding_error(error: &CredentialError) -> CredentialError {
    let code = match error {
        CredentialError::Unexpected { code, .. } => code.as_str(),
        _ => "",
    };
    tracing::debug!(kind = ?error.kind(), code, "the first hop failed");
    CredentialError::InternalBinding
}

fn check_partition(settings: &AwsSettings, endpoints: &Endpoints) -> Result<(), CredentialError> {
    let region = endpoints.region();
    let of_region = endpoints.partition().name;
    let mut problems = Vec::new();
    for (name, role) in [
        ("role-arn", &settings.role_arn),
        ("provisioning-role-arn", &settings.provisioning_role_arn),
    ] {
        let partition = role.as_deref().and_then(role_partition);
        if let Some(partition) = partition.filter(|partition| *partition != of_region) {
            problems.push(format!(
                "{name} is in the partition {partition} and the region {region} in {of_region}"
            ));
        }
    }
    let global = settings.global_role_arn.as_deref().and_then(role_partition);
    let global_region = settings.global_region.as_deref().unwrap_or(region);
    if global.is_some_and(|p| p != endpoints::partition(global_region).name) {
        problems.push("global-role-arn and global-region are in different partitions".to_owned());
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(SettingsError { problems }.into())
    }
}

/// The role session's name, which CloudTrail shows: at most 64 letters, digits
/// or any of `_+=,.@-`.
fn session_name(cluster: &str) -> String {
    let legal = |c: char| {
        if c.is_ascii_alphanumeric() || "_+=,.@-".contains(c) {
            c
        } else {
            '-'
        }
    };
    format!("baton-host-{cluster}")
        .chars()
        .map(legal)
        .take(64)
        .collect()
}
