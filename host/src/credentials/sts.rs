//! The three calls to STS: AssumeRole, AssumeRoleWithWebIdentity and
//! GetCallerIdentity.
//!
//! They are our own rather than those of `aws-config`: its provider logs the
//! message of STS with the operator's role in it, hides the error code behind
//! three layers, and ignores an endpoint that is given by value. Three form
//! posts are the smaller price. Transient failures and throttles are tried
//! again, three attempts in all.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, USER_AGENT};
use serde::Deserialize;
use url::Url;
use zeroize::Zeroizing;

use super::client::HttpClients;
use super::endpoints::{Endpoints, Service};
use super::env::Clock;
use super::error::CredentialError;
use super::sign;

/// The life of an assumed session, in seconds; the longest that a chained one
/// may have.
pub const SESSION_SECONDS: u32 = 3600;

/// A clock that is further off than this breaks signatures, in seconds.
const WORST_SKEW: i64 = 300;

const ATTEMPTS: u32 = 3;
const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";

/// The name under which the host calls AWS.
pub const USER_AGENT_VALUE: &str = concat!("baton-host/", env!("CARGO_PKG_VERSION"));

#[derive(Debug, Clone)]
pub(super) struct Sts {
    pub http: HttpClients,
    pub clock: Clock,
}

/// Who AWS says we are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallerIdentity {
    /// The account, 12 digits.
    pub account: String,
    /// The ARN of the user or of the assumed role's session.
    pub arn: String,
    /// The unique id, `AROA…:session` for a role.
    pub user_id: String,
    /// This machine's time minus AWS's, in seconds, where AWS said its time.
    pub clock_skew: Option<i64>,
}

/// What one AssumeRole asks for.
#[derive(Debug, Clone)]
pub(super) struct Assumption<'a> {
    pub role: &'a str,
    pub session_name: &'a str,
    pub external_id: Option<&'a str>,
    pub policy: Option<&'a str>,
    /// Whose credentials these are, for errors.
    pub origin: &'a str,
}

/// Why a call failed, before it is said in words.
struct Failure {
    host: String,
    status: u16,
    code: String,
    reason: String,
    skew: Option<i64>,
}

impl Sts {
    pub async fn assume_role(
        &self,
        endpoints: &Endpoints,
        credentials: &Credentials,
        wish: &Assumption<'_>,
    ) -> Result<Credentials, CredentialError> {
        let seconds = SESSION_SECONDS.to_string();
        let mut form = vec![
            ("Action", "AssumeRole"),
            ("RoleArn", wish.role),
            ("RoleSessionName", wish.session_name),
            ("DurationSeconds", &seconds),
        ];
        form.extend(wish.external_id.map(|id| ("ExternalId", id)));
        form.extend(wish.policy.map(|policy| ("Policy", policy)));
        let answer = self.call(endpoints, &form, Some(credentials)).await?;
        let answer = answer.map_err(|failure| match failure.code.as_str() {
            "AccessDenied" | "AccessDeniedException" | "NoSuchEntity" => {
                CredentialError::RoleDenied {
                    role: wish.role.to_owned(),
                    origin: wish.origin.to_owned(),
                    external_id: wish.external_id.is_some(),
                }
            }
            "MalformedPolicyDocument" | "PackedPolicyTooLarge" => CredentialError::SessionPolicy {
                role: wish.role.to_owned(),
                code: failure.code,
            },
            _ => failure.explain("sts:AssumeRole", wish.origin, endpoints.region()),
        })?;
        credentials_of(&answer, endpoints)
    }

    pub async fn assume_role_with_web_identity(
        &self,
        endpoints: &Endpoints,
        role: &str,
        session_name: &str,
        token_file: &str,
        token: &str,
    ) -> Result<Credentials, CredentialError> {
        let form = [
            ("Action", "AssumeRoleWithWebIdentity"),
            ("RoleArn", role),
            ("RoleSessionName", session_name),
            ("WebIdentityToken", token),
        ];
        let answer = self.call(endpoints, &form, None).await?;
        let answer = answer.map_err(|failure| match failure.code.as_str() {
            "AccessDenied"
            | "ExpiredTokenException"
            | "ExpiredToken"
            | "IDPCommunicationError"
            | "IDPRejectedClaim"
            | "InvalidIdentityToken" => CredentialError::WebIdentity {
                role: role.to_owned(),
                file: token_file.to_owned(),
                code: failure.code,
            },
            _ => failure.explain(
                "sts:AssumeRoleWithWebIdentity",
                "the web identity token",
                endpoints.region(),
            ),
        })?;
        credentials_of(&answer, endpoints)
    }

    pub async fn caller_identity(
        &self,
        endpoints: &Endpoints,
        credentials: &Credentials,
        origin: &str,
    ) -> Result<CallerIdentity, CredentialError> {
        let form = [("Action", "GetCallerIdentity")];
        let answer = self.call(endpoints, &form, Some(credentials)).await?;
        let answer = answer.map_err(|failure| {
            failure.explain("sts:GetCallerIdentity", origin, endpoints.region())
        })?;
        #[derive(Deserialize)]
        struct Envelope {
            #[serde(rename = "GetCallerIdentityResult")]
            result: Identity,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Identity {
            user_id: String,
            account: String,
            arn: String,
        }
        let identity = parse::<Envelope>(&answer.body)
            .ok_or_else(|| unreadable("sts:GetCallerIdentity", endpoints))?
            .result;
        Ok(CallerIdentity {
            account: identity.account,
            arn: identity.arn,
            user_id: identity.user_id,
            clock_skew: answer.skew,
        })
    }

    /// Posts `form` to STS, signed where there are credentials. The outer
    /// error is one of ours, the inner one an answer of STS or none at all.
    async fn call(
        &self,
        endpoints: &Endpoints,
        form: &[(&str, &str)],
        credentials: Option<&Credentials>,
    ) -> Result<Result<Success, Failure>, CredentialError> {
        let url = endpoints.url(Service::Sts)?;
        let body = encode(form);

        let mut attempt = 0;
        loop {
            attempt += 1;
            let started = tokio::time::Instant::now();
            let outcome = self
                .once(&url, endpoints.region(), &body, credentials)
                .await?;
            let pause = match &outcome {
                Err(failure) if attempt < ATTEMPTS => failure.pause(attempt),
                _ => None,
            };
            match pause {
                Some(pause) => {
                    // Nobody should look at a silent terminal for half a minute.
                    if started.elapsed() > Duration::from_secs(2) {
                        let next = attempt + 1;
                        tracing::warn!(
                            "{} gives no answer; attempt {next} of {ATTEMPTS}",
                            host_of(&url)
                        );
                    }
                    tokio::time::sleep(pause).await;
                }
                None => return Ok(outcome),
            }
        }
    }

    async fn once(
        &self,
        url: &Url,
        region: &str,
        body: &str,
        credentials: Option<&Credentials>,
    ) -> Result<Result<Success, Failure>, CredentialError> {
        let host = host_of(url);
        let mut request = http::Request::post(url.as_str())
            .header(CONTENT_TYPE, FORM)
            .header(USER_AGENT, USER_AGENT_VALUE)
            .body(Bytes::copy_from_slice(body.as_bytes()))
            .map_err(|error| CredentialError::Unreachable {
                host: host.clone(),
                reason: error.to_string(),
            })?;
        if let Some(credentials) = credentials {
            let now = self.clock.now();
            sign::sign_request(&mut request, credentials, "sts", region, now)?;
        }
        let answer = match self.http.send(request).await {
            Ok(answer) => answer,
            Err(reason) => {
                return Ok(Err(Failure {
                    host,
                    status: 0,
                    code: String::new(),
                    reason,
                    skew: None,
                }));
            }
        };
        let skew = answer
            .date
            .as_deref()
            .and_then(|date| clock_skew(date, self.clock.now()));
        if answer.status == 200 {
            return Ok(Ok(Success {
                body: answer.body,
                skew,
            }));
        }
        Ok(Err(Failure {
            host,
            status: answer.status,
            code: error_code(&answer.body),
            reason: String::new(),
            skew,
        }))
    }
}

struct Success {
    body: Zeroizing<Vec<u8>>,
    skew: Option<i64>,
}

impl Failure {
    fn throttled(&self) -> bool {
        self.status == 429
            || matches!(
                self.code.as_str(),
                "Throttling"
                    | "ThrottlingException"
                    | "ThrottledException"
                    | "TooManyRequestsException"
                    | "RequestLimitExceeded"
                    | "RequestThrottled"
                    | "SlowDown"
            )
    }

    /// How long to wait before the next attempt; nothing where another attempt
    /// would fail as well.
    fn pause(&self, attempt: u32) -> Option<Duration> {
        let transient = matches!(self.status, 0 | 500 | 502 | 503 | 504)
            || matches!(
                self.code.as_str(),
                "IDPCommunicationError" | "RequestTimeout" | "RequestTimeoutException"
            );
        let most = match (self.throttled(), transient) {
            (true, _) => 1000_u64 << (attempt - 1),
            (false, true) => 50 << (attempt - 1),
            (false, false) => return None,
        };
        // Full jitter; without entropy the longest pause is as good.
        let part = getrandom::u32().map_or(most, |r| most * u64::from(r) / u64::from(u32::MAX));
        Some(Duration::from_millis(part))
    }

    fn explain(self, call: &'static str, origin: &str, region: &str) -> CredentialError {
        let origin = origin.to_owned();
        let skewed = self.skew.filter(|skew| skew.abs() > WORST_SKEW);
        if self.throttled() {
            return CredentialError::Throttled { host: self.host };
        }
        match (self.code.as_str(), skewed) {
            (
                "SignatureDoesNotMatch"
                | "InvalidSignatureException"
                | "RequestExpired"
                | "RequestTimeTooSkewed",
                Some(seconds),
            ) => CredentialError::Clock { seconds },
            ("SignatureDoesNotMatch" | "InvalidSignatureException", None) => {
                CredentialError::WrongSecret { origin }
            }
            (
                "InvalidClientTokenId"
                | "UnrecognizedClientException"
                | "InvalidAccessKeyId"
                | "IncompleteSignature",
                _,
            ) => CredentialError::UnknownKey { origin },
            ("ExpiredToken" | "ExpiredTokenException" | "RequestExpired", _) => {
                CredentialError::ExpiredKeys { origin }
            }
            ("RegionDisabledException", _) => CredentialError::RegionDisabled {
                region: region.to_owned(),
            },
            (_, _) if self.status == 0 => CredentialError::Unreachable {
                host: self.host,
                reason: self.reason,
            },
            (_, _) => CredentialError::Unexpected {
                host: self.host,
                call,
                status: self.status,
                code: self.code,
            },
        }
    }
}

fn credentials_of(answer: &Success, endpoints: &Endpoints) -> Result<Credentials, CredentialError> {
    #[derive(Deserialize)]
    struct Envelope {
        #[serde(alias = "AssumeRoleResult", alias = "AssumeRoleWithWebIdentityResult")]
        result: Outcome,
    }
    #[derive(Deserialize)]
    struct Outcome {
        #[serde(rename = "Credentials")]
        credentials: Keys,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Keys {
        access_key_id: String,
        secret_access_key: String,
        session_token: String,
        expiration: String,
    }
    let unreadable = || unreadable("sts:AssumeRole", endpoints);
    let keys = parse::<Envelope>(&answer.body)
        .ok_or_else(unreadable)?
        .result
        .credentials;
    let expiration = parse_time(&keys.expiration).ok_or_else(unreadable)?;
    Ok(Credentials::new(
        keys.access_key_id,
        keys.secret_access_key,
        Some(keys.session_token),
        Some(expiration),
        "baton-host",
    ))
}

fn encode(form: &[(&str, &str)]) -> Zeroizing<String> {
    let mut pairs = url::form_urlencoded::Serializer::new(String::new());
    pairs.extend_pairs(form);
    pairs.append_pair("Version", "2011-06-15");
    Zeroizing::new(pairs.finish())
}

fn unreadable(call: &'static str, endpoints: &Endpoints) -> CredentialError {
    let host = match endpoints.url(Service::Sts) {
        Ok(url) => host_of(&url),
        Err(error) => return error.into(),
    };
    CredentialError::Unexpected {
        host,
        call,
        status: 200,
        code: "(an answer that cannot be read)".to_owned(),
    }
}

fn host_of(url: &Url) -> String {
    match (url.host_str(), url.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (host, _) => host.unwrap_or_default().to_owned(),
    }
}

fn parse<T: for<'a> Deserialize<'a>>(body: &[u8]) -> Option<T> {
    quick_xml::de::from_str(std::str::from_utf8(body).ok()?).ok()
}

fn error_code(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Envelope {
        #[serde(rename = "Error")]
        error: Inner,
    }
    #[derive(Deserialize)]
    struct Inner {
        #[serde(rename = "Code")]
        code: String,
    }
    let code = parse::<Envelope>(body).map_or_else(String::new, |envelope| envelope.error.code);
    // It goes into messages: a word, or nothing.
    let word = code.len() <= 64 && code.chars().all(|c| c.is_ascii_alphanumeric() || c == '.');
    if word { code } else { String::new() }
}

/// A point in time as AWS writes it, `2024-01-15T13:00:00Z`.
pub(super) fn parse_time(text: &str) -> Option<SystemTime> {
    let seconds = text.parse::<jiff::Timestamp>().ok()?.as_second();
    let since_epoch = Duration::from_secs(u64::try_from(seconds).ok()?);
    SystemTime::UNIX_EPOCH.checked_add(since_epoch)
}

/// This machine's time minus the one in an HTTP `Date` header, in seconds.
/// Nothing where the header cannot be read.
pub fn clock_skew(date_header: &str, now: SystemTime) -> Option<i64> {
    let theirs = jiff::fmt::rfc2822::parse(date_header).ok()?.timestamp();
    let ours = jiff::Timestamp::try_from(now).ok()?;
    Some(ours.as_second() - theirs.as_second())
}
