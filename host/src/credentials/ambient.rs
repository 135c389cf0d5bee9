//! The credentials that the surroundings give: environment, profile (with SSO,
//! processes and role chains), web identity, container or pod identity agent,
//! instance metadata; in this order, as in every AWS SDK.
//!
//! Profiles and instance metadata are read by `aws-config`. The three sources
//! between are variables and one small call each; its chain reads them from
//! the process only and does not tell which of them failed, so they are here.
//! A source that is configured and fails ends the search: falling through to
//! another identity would be a surprise.

use std::net::IpAddr;
use std::path::PathBuf;

use aws_config::imds;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials as _;
use aws_credential_types::provider::error::CredentialsError;
use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};
use aws_types::region::Region;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, USER_AGENT};
use serde::Deserialize;
use tokio::sync::OnceCell;
use zeroize::Zeroizing;

use super::client::{HttpClients, chain};
use super::endpoints::Endpoints;
use super::env::Env;
use super::error::CredentialError;
use super::sts::{Sts, USER_AGENT_VALUE, parse_time};

/// Credentials, and the source to name in messages.
pub(super) struct Found {
    pub credentials: Credentials,
    pub origin: String,
}

pub(super) struct Ambient {
    pub env: Env,
    pub http: HttpClients,
    pub sts: Sts,
    pub endpoints: Endpoints,
    pub session_name: String,
    // Both keep caches of their own: SSO tokens, the metadata session.
    profile: OnceCell<ProfileFileCredentialsProvider>,
    instance: OnceCell<ImdsCredentialsProvider>,
}

type Step = Result<Result<Found, String>, CredentialError>;

impl Ambient {
    pub fn new(
        env: Env,
        http: HttpClients,
        sts: Sts,
        endpoints: Endpoints,
        session_name: String,
    ) -> Ambient {
        Ambient {
            env,
            http,
            sts,
            endpoints,
            session_name,
            profile: OnceCell::new(),
            instance: OnceCell::new(),
        }
    }

    pub async fn load(&self) -> Result<Found, CredentialError> {
        let mut looked = Vec::new();
        match self.environment()? {
            Ok(found) => return Ok(found),
            Err(reason) => looked.push(reason),
        }
        match self.profile().await? {
            Ok(found) => return Ok(found),
            Err(reason) => looked.push(reason),
        }
        match self.web_identity().await? {
            Ok(found) => return Ok(found),
            Err(reason) => looked.push(reason),
        }
        match self.container().await? {
            Ok(found) => return Ok(found),
            Err(reason) => looked.push(reason),
        }
        match self.instance().await? {
            Ok(found) => return Ok(found),
            Err(reason) => looked.push(reason),
        }
        Err(CredentialError::NoCredentials { looked })
    }

    fn environment(&self) -> Step {
        let origin = "AWS_ACCESS_KEY_ID";
        match (
            self.env.get("AWS_ACCESS_KEY_ID"),
            self.env.get("AWS_SECRET_ACCESS_KEY"),
        ) {
            (Some(id), Some(secret)) => Ok(Ok(Found {
                credentials: Credentials::new(
                    id,
                    secret,
                    self.env.get("AWS_SESSION_TOKEN"),
                    None,
                    "environment",
                ),
                origin: origin.to_owned(),
            })),
            (None, None) => Ok(Err(format!("{origin} (not set)"))),
            (Some(_), None) => Err(failed(origin, "AWS_SECRET_ACCESS_KEY is not set")),
            (None, Some(_)) => Err(failed(
                "AWS_SECRET_ACCESS_KEY",
                "AWS_ACCESS_KEY_ID is not set",
            )),
        }
    }

    async fn profile(&self) -> Step {
        let named = self.env.get("AWS_PROFILE");
        let name = named.as_deref().unwrap_or("default");
        let mut files = EnvConfigFiles::builder();
        let mut any = false;
        for (variable, default, kind) in [
            ("AWS_CONFIG_FILE", "config", EnvConfigFileKind::Config),
            (
                "AWS_SHARED_CREDENTIALS_FILE",
                "credentials",
                EnvConfigFileKind::Credentials,
            ),
        ] {
            let home = || {
                let home = self.env.get("HOME")?;
                Some(PathBuf::from(home).join(".aws").join(default))
            };
            let path = self.env.get(variable).map(PathBuf::from).or_else(home);
            if let Some(path) = path.filter(|path| path.is_file()) {
                files = files.with_file(kind, path);
                any = true;
            }
        }
        if !any {
            return match named {
                Some(profile) => Err(CredentialError::UnknownProfile { profile }),
                None => Ok(Err("AWS config files (none)".to_owned())),
            };
        }
        let provider = self
            .profile
            .get_or_init(|| async {
                let config = self.provider_config(self.http.outward_client());
                ProfileFileCredentialsProvider::builder()
                    .configure(&config)
                    .profile_name(name)
                    .profile_files(files.build())
                    .build()
            })
            .await;
        let origin = format!("profile `{name}`");
        match provider.provide_credentials().await {
            Ok(credentials) => Ok(Ok(Found {
                credentials,
                origin,
            })),
            Err(error @ CredentialsError::CredentialsNotLoaded(_)) => match named {
                Some(profile) if chain(&error).contains("was not defined") => {
                    Err(CredentialError::UnknownProfile { profile })
                }
                _ => Ok(Err(format!("{origin} (without credentials)"))),
            },
            Err(error) => Err(failed(origin, chain(&error))),
        }
    }

    async fn web_identity(&self) -> Step {
        let Some(file) = self.env.get("AWS_WEB_IDENTITY_TOKEN_FILE") else {
            return Ok(Err("AWS_WEB_IDENTITY_TOKEN_FILE (not set)".to_owned()));
        };
        let origin = "AWS_WEB_IDENTITY_TOKEN_FILE";
        let role = self
            .env
            .get("AWS_ROLE_ARN")
            .ok_or_else(|| failed(origin, "AWS_ROLE_ARN is not set"))?;
        let session_name = self.env.get("AWS_ROLE_SESSION_NAME");
        // Read at every use: the kubelet rotates it.
        let token = read_secret(&file).await.map_err(|e| failed(origin, e))?;
        let credentials = self
            .sts
            .assume_role_with_web_identity(
                &self.endpoints,
                &role,
                session_name.as_deref().unwrap_or(&self.session_name),
                &file,
                token.trim(),
            )
            .await?;
        Ok(Ok(Found {
            credentials,
            origin: format!("the web identity of {role}"),
        }))
    }

    async fn container(&self) -> Step {
        let origin = "the container credentials endpoint";
        let relative = self.env.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
        let full = self.env.get("AWS_CONTAINER_CREDENTIALS_FULL_URI");
        let uri = match (relative, full) {
            (Some(path), _) => format!("http://169.254.170.2{path}"),
            (None, Some(uri)) => uri,
            (None, None) => {
                return Ok(Err(
                    "AWS_CONTAINER_CREDENTIALS_FULL_URI and _RELATIVE_URI (not set)".to_owned(),
                ));
            }
        };
        let url = url::Url::parse(&uri)
            .ok()
            .filter(container_url_is_safe)
            .ok_or_else(|| {
                failed(
                    origin,
                    "the URI is neither https nor a loopback or link-local address of AWS",
                )
            })?;
        let mut request = http::Request::get(url.as_str())
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, USER_AGENT_VALUE);
        if let Some(file) = self.env.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
            let token = read_secret(&file).await.map_err(|e| failed(origin, e))?;
            request = request.header(AUTHORIZATION, sensitive(token.trim(), origin)?);
        } else if let Some(token) = self.env.get("AWS_CONTAINER_AUTHORIZATION_TOKEN") {
            request = request.header(AUTHORIZATION, sensitive(&token, origin)?);
        }
        let request = request
            .body(Bytes::new())
            .map_err(|error| failed(origin, error.to_string()))?;
        let answer = self
            .http
            .send_local(request)
            .await
            .map_err(|reason| failed(origin, reason))?;
        if answer.status != 200 {
            return Err(failed(
                origin,
                format!("it answers with status {}", answer.status),
            ));
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Keys {
            access_key_id: String,
            secret_access_key: String,
            token: Option<String>,
            expiration: Option<String>,
        }
        let keys: Keys = serde_json::from_slice(&answer.body)
            .map_err(|_| failed(origin, "its answer cannot be read"))?;
        let expiry = match keys.expiration.as_deref().map(parse_time) {
            Some(None) => return Err(failed(origin, "its answer cannot be read")),
            Some(Some(at)) => Some(at),
            None => None,
        };
        Ok(Ok(Found {
            credentials: Credentials::new(
                keys.access_key_id,
                keys.secret_access_key,
                keys.token,
                expiry,
                "container",
            ),
            origin: origin.to_owned(),
        }))
    }

    async fn instance(&self) -> Step {
        let name = "the instance metadata service";
        let disabled = self.env.get("AWS_EC2_METADATA_DISABLED");
        if disabled.is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Ok(Err(format!("{name} (AWS_EC2_METADATA_DISABLED)")));
        }
        let endpoint = self.env.get("AWS_EC2_METADATA_SERVICE_ENDPOINT");
        let provider = self
            .instance
            .get_or_try_init(|| async {
                let config = self.provider_config(self.http.local_client());
                let mut client = imds::Client::builder().configure(&config).max_attempts(2);
                if let Some(endpoint) = &endpoint {
                    client = client
                        .endpoint(endpoint)
                        .map_err(|error| failed(name, error.to_string()))?;
                }
                Ok::<_, CredentialError>(
                    ImdsCredentialsProvider::builder()
                        .configure(&config)
                        .imds_client(client.build())
                        .build(),
                )
            })
            .await?;
        match provider.provide_credentials().await {
            Ok(credentials) => Ok(Ok(Found {
                credentials,
                origin: name.to_owned(),
            })),
            Err(error) => {
                tracing::debug!(error = %chain(&error), "instance metadata");
                Ok(Err(format!("{name} (no credentials there)")))
            }
        }
    }

    fn provider_config(
        &self,
        client: aws_smithy_runtime_api::client::http::SharedHttpClient,
    ) -> ProviderConfig {
        let region = Region::new(self.endpoints.region().to_owned());
        ProviderConfig::without_region()
            .with_region(Some(region))
            .with_http_client(client)
    }
}

fn failed(origin: impl Into<String>, reason: impl Into<String>) -> CredentialError {
    CredentialError::Source {
        origin: origin.into(),
        reason: reason.into(),
    }
}

async fn read_secret(file: &str) -> Result<Zeroizing<String>, String> {
    match tokio::fs::read_to_string(file).await {
        Ok(text) => Ok(Zeroizing::new(text)),
        Err(error) => Err(format!("{file} cannot be read: {error}")),
    }
}

fn sensitive(token: &str, origin: &str) -> Result<http::HeaderValue, CredentialError> {
    let mut value = http::HeaderValue::from_str(token)
        .map_err(|_| failed(origin, "the authorization token holds a line break"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// The rule of the SDKs: https anywhere, http only to this machine and to the
/// addresses of ECS and of the EKS pod identity agent.
fn container_url_is_safe(url: &url::Url) -> bool {
    let address = match url.host() {
        Some(url::Host::Ipv4(address)) => Some(IpAddr::V4(address)),
        Some(url::Host::Ipv6(address)) => Some(IpAddr::V6(address)),
        Some(url::Host::Domain("localhost")) => Some(IpAddr::from([127, 0, 0, 1])),
        _ => None,
    };
    let agents = [
        IpAddr::from([169, 254, 170, 2]),
        IpAddr::from([169, 254, 170, 23]),
        IpAddr::from([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23]),
    ];
    let near = |address: IpAddr| address.is_loopback() || agents.contains(&address);
    match url.scheme() {
        "https" => url.host().is_some(),
        "http" => address.is_some_and(near),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    #[test]
    fn plain_http_goes_to_this_machine_and_the_agents_only() {
        for (uri, safe) in [
            ("http://169.254.170.23/v1/credentials", true),
            ("http://[fd00:ec2::23]/v1/credentials", true),
            ("http://169.254.170.2/x", true),
            ("http://127.0.0.1:9000/", true),
            ("http://[::1]:9000/", true),
            ("http://localhost/", true),
            ("https://example.com/", true),
            ("http://example.com/", false),
            ("http://169.254.169.254/", false),
            ("http://169.254.170.3/", false),
            ("http://169.254.170.23.example.com/", false),
            ("file:///etc/passwd", false),
        ] {
            let url = url::Url::parse(uri).unwrap();
            assert_eq!(container_url_is_safe(&url), safe, "{uri}");
        }
    }
}
