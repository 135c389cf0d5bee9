//! The bearer token of an EKS API server.
//!
//! A token is a presigned `sts:GetCallerIdentity` URL: the API server calls it
//! and learns who we are. The cluster's name is a signed header that is not
//! part of the URL, so a token is good for clusters of that one name only (of
//! any account or region: that is AWS's design, SECURITY.md says what follows).
//! It lives 15 minutes from its signing, cannot be revoked, and the server
//! refuses every query parameter that it does not know.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::secret::Secret;
use super::sign::{self, SignError};

/// How long an API server takes a token, from its signing.
pub const TOKEN_LIFE: Duration = Duration::from_secs(15 * 60);

/// The age at which a token is renewed.
pub const TOKEN_RENEW_AFTER: Duration = Duration::from_secs(10 * 60);

/// The longest token that an API server reads, in bytes.
const LONGEST_TOKEN: usize = 4096;

/// The value that every client sends; the server ignores it for the lifetime.
const EXPIRES: Duration = Duration::from_secs(60);

/// Makes the token of `cluster` from `credentials`, signed for the STS host
/// `sts_host` in `region` as of `time`.
///
/// # Errors
/// When the token would be longer than an API server reads: the session token
/// is too long, which session tags and a long session policy can do.
pub fn eks_token(
    credentials: &Credentials,
    cluster: &str,
    sts_host: &str,
    region: &str,
    time: SystemTime,
) -> Result<Secret, SignError> {
    let uri = format!("https://{sts_host}/?Action=GetCallerIdentity&Version=2011-06-15");
    let url = Secret::new(sign::presign_get(
        &uri,
        &[("x-k8s-aws-id", cluster)],
        credentials,
        "sts",
        region,
        time,
        EXPIRES,
    )?);
    let token = format!(
        "k8s-aws-v1.{}",
        URL_SAFE_NO_PAD.encode(url.expose().as_bytes())
    );
    let length = token.len();
    let token = Secret::new(token);
    if length > LONGEST_TOKEN {
        return Err(SignError::token_too_long(length, LONGEST_TOKEN));
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::super::testing;
    use super::*;

    fn example(session_token: Option<&str>) -> (String, String) {
        let token = eks_token(
            &testing::example_credentials(session_token),
            "my-cluster",
            "sts.us-east-1.amazonaws.com",
            "us-east-1",
            testing::example_time(),
        )
        .unwrap();
        let encoded = token.expose().strip_prefix("k8s-aws-v1.").unwrap();
        let url = String::from_utf8(URL_SAFE_NO_PAD.decode(encoded).unwrap()).unwrap();
        (token.expose().to_owned(), url)
    }

    #[test]
    fn vector_v1_without_a_session_token() {
        let (token, url) = example(None);
        assert_eq!(
            url,
            "https://sts.us-east-1.amazonaws.com/?Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F20240115%2Fus-east-1%2Fsts%2Faws4_request&X-Amz-Date=20240115T120000Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host%3Bx-k8s-aws-id&X-Amz-Signature=1a7358c24cbb9eff49058b61eb496e61eecb2018bc3e0dcb14f7ce0101d9c96d"
        );
        assert_eq!(token.len(), 481);
        assert!(token.starts_with("k8s-aws-v1.aHR0cHM6Ly9zdHMudXMtZWFzdC0xLmFtYXpvbmF3cy5jb20vP0FjdGlvbj1HZXRDYWxsZXJJZGVudGl0eSZWZXJzaW9u"));
    }

    #[test]
    fn vector_v2_with_a_session_token() {
        let (_, url) = example(Some(testing::EXAMPLE_SESSION_TOKEN));
        let query: Vec<(String, String)> = url::Url::parse(&url)
            .unwrap()
            .query_pairs()
            .into_owned()
            .collect();
        let value = |name: &str| {
            let found: Vec<&str> = query
                .iter()
                .filter(|(n, _)| n == name)
                .map(|(_, v)| v.as_str())
                .collect();
            assert_eq!(found.len(), 1, "{name} occurs once");
            found[0]
        };
        assert_eq!(
            value("X-Amz-Signature"),
            "c8e3effa698fbdf8419092959e4343632940a18241f5950e7ec128d9a354a399"
        );
        assert_eq!(
            value("X-Amz-Security-Token"),
            testing::EXAMPLE_SESSION_TOKEN
        );
        assert!(
            url.contains("X-Amz-Security-Token=FwoGZXIvYXdzEXAMPLE%2F%2Fsession%2Btoken%3D%3D")
        );
        let mut names: Vec<&str> = query.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "Action",
                "Version",
                "X-Amz-Algorithm",
                "X-Amz-Credential",
                "X-Amz-Date",
                "X-Amz-Expires",
                "X-Amz-Security-Token",
                "X-Amz-Signature",
                "X-Amz-SignedHeaders"
            ],
            "the authenticator refuses any other parameter"
        );
    }

    #[test]
    fn a_token_that_no_server_reads_is_an_error() {
        let error = eks_token(
            &testing::example_credentials(Some(&"t".repeat(3000))),
            "my-cluster",
            "sts.us-east-1.amazonaws.com",
            "us-east-1",
            testing::example_time(),
        )
        .unwrap_err();
        assert!(error.to_string().contains("4096"), "{error}");
        assert!(!error.to_string().contains("ttt"));
    }
}
