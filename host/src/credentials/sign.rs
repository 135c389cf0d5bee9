//! AWS Signature Version 4 for the requests that the host sends to EKS, IAM
//! and STS, and for the presigned URL inside an EKS token.
//!
//! `aws-sigv4` computes; what is decided here is what goes in. EKS path
//! parameters hold whole ARNs, percent-encoded, and the canonical request
//! encodes that path once more (`%3A` becomes `%253A`): the signer most often
//! gets this wrong, and an emulator rarely notices, so the tests hold fixed
//! vectors. Signed are `host`, `content-type` and the `x-amz-` headers set
//! here; no payload header, as these services ask for none.
//!
//! `aws-sigv4` traces canonical requests at level `trace`, with bodies where
//! `LOG_SIGNABLE_BODY=true`: see [`super::QUIET_LOG_TARGETS`].

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    SignableBody, SignableRequest, SignatureLocation, SigningInstructions, SigningSettings, sign,
};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};

/// A request could not be signed. The text never holds a credential.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the request could not be signed: {0}")]
pub struct SignError(String);

impl SignError {
    pub(super) fn token_too_long(length: usize, longest: usize) -> SignError {
        SignError(format!(
            "the EKS token would be {length} bytes long and an API server reads at most {longest}: the session token is too long, use fewer session tags"
        ))
    }
}

/// Signs `request` for `service` (`eks`, `iam` or `sts`) in `region` as of
/// `time`, putting `authorization`, `x-amz-date` and, for temporary
/// credentials, `x-amz-security-token` into its headers.
///
/// The URI must be absolute and already percent-encoded as it will be sent.
/// The `host` header must be absent or the one that will be sent. Signing again
/// replaces the earlier signature.
///
/// # Errors
/// When the URI has no authority or `content-type` is not text.
pub fn sign_request(
    request: &mut http::Request<Bytes>,
    credentials: &Credentials,
    service: &str,
    region: &str,
    time: SystemTime,
) -> Result<(), SignError> {
    for name in ["x-amz-date", "x-amz-security-token"] {
        request.headers_mut().remove(name);
    }
    request.headers_mut().remove(AUTHORIZATION);

    let content_type = match request.headers().get(CONTENT_TYPE) {
        Some(value) => Some(value.to_str().map_err(problem)?.to_owned()),
        None => None,
    };
    let headers = content_type.iter().map(|v| ("content-type", v.as_str()));
    let instructions = instructions(
        request.method().as_str(),
        &request.uri().to_string(),
        headers,
        request.body(),
        SigningSettings::default(),
        credentials,
        service,
        region,
        time,
    )?;
    instructions.apply_to_request_http1x(request);
    for name in ["authorization", "x-amz-security-token"] {
        if let Some(value) = request.headers_mut().get_mut(name) {
            value.set_sensitive(true);
        }
    }
    Ok(())
}

/// Presigns `GET uri` for `service` in `region` as of `time`: the signature and
/// what it needs go into the query, `headers` are signed but are not part of
/// the URL. Answers the whole URL.
///
/// # Errors
/// When the URI has no authority.
pub(super) fn presign_get(
    uri: &str,
    headers: &[(&str, &str)],
    credentials: &Credentials,
    service: &str,
    region: &str,
    time: SystemTime,
    expires_in: Duration,
) -> Result<String, SignError> {
    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(expires_in);
    let instructions = instructions(
        "GET",
        uri,
        headers.iter().copied(),
        &[],
        settings,
        credentials,
        service,
        region,
        time,
    )?;
    let mut request = http::Request::get(uri).body(()).map_err(problem)?;
    instructions.apply_to_request_http1x(&mut request);
    Ok(request.uri().to_string())
}

#[expect(
    clippy::too_many_arguments,
    reason = "the two callers differ in exactly these"
)]
fn instructions<'a>(
    method: &'a str,
    uri: &'a str,
    headers: impl Iterator<Item = (&'a str, &'a str)>,
    body: &'a [u8],
    settings: SigningSettings,
    credentials: &Credentials,
    service: &str,
    region: &str,
    time: SystemTime,
) -> Result<SigningInstructions, SignError> {
    // `aws-sigv4` panics on a URI without an authority.
    let parsed: http::Uri = uri.parse().map_err(problem)?;
    if parsed.host().is_none_or(str::is_empty) {
        return Err(SignError("the URI names no host".to_owned()));
    }
    let identity = credentials.clone().into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(service)
        .time(time)
        .settings(settings)
        .build()
        .map_err(problem)?
        .into();
    let signable =
        SignableRequest::new(method, uri, headers, SignableBody::Bytes(body)).map_err(problem)?;
    Ok(sign(signable, &params).map_err(problem)?.into_parts().0)
}

fn problem(error: impl std::fmt::Display) -> SignError {
    SignError(error.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::super::testing;
    use super::*;

    const ENTRY: &str = "https://eks.us-east-1.amazonaws.com/clusters/my-cluster/access-entries/arn%3Aaws%3Aiam%3A%3A111122223333%3Arole%2Fteam%2Fmy-role";

    fn authorization(request: &http::Request<Bytes>) -> &str {
        request.headers()[AUTHORIZATION].to_str().unwrap()
    }

    fn signed(
        method: &str,
        uri: &str,
        content_type: Option<&str>,
        body: &'static str,
        token: Option<&str>,
        service: &str,
    ) -> http::Request<Bytes> {
        let mut builder = http::Request::builder().method(method).uri(uri);
        if let Some(value) = content_type {
            builder = builder.header(CONTENT_TYPE, value);
        }
        let mut request = builder.body(Bytes::from_static(body.as_bytes())).unwrap();
        let credentials = testing::example_credentials(token);
        sign_request(
            &mut request,
            &credentials,
            service,
            "us-east-1",
            testing::example_time(),
        )
        .unwrap();
        request
    }

    #[test]
    fn vector_v3_an_arn_in_the_path_is_encoded_twice() {
        let uri = format!("{ENTRY}/access-policies?maxResults=100");
        let request = signed("GET", &uri, None, "", None, "eks");
        assert_eq!(
            authorization(&request),
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20240115/us-east-1/eks/aws4_request, SignedHeaders=host;x-amz-date, Signature=b2b1a0395cf6e854cbd58a00b6109ad6e6651aa1019773a94d994850353e699f"
        );
        assert_eq!(
            request.uri().to_string(),
            uri,
            "what is sent stays as it was"
        );
    }

    #[test]
    fn vector_v4_two_arns_in_the_path() {
        let uri = format!(
            "{ENTRY}/access-policies/arn%3Aaws%3Aeks%3A%3Aaws%3Acluster-access-policy%2FAmazonEKSViewPolicy"
        );
        let request = signed("DELETE", &uri, None, "", None, "eks");
        assert!(authorization(&request).ends_with(
            "Signature=f7ea036ddbfc3a015da6c74113176a7de30a896d9f3cb243b25417798a4cd372"
        ));
    }

    #[test]
    fn vector_v5_a_form_body_with_a_session_token() {
        let request = signed(
            "POST",
            "https://iam.amazonaws.com/",
            Some("application/x-www-form-urlencoded; charset=utf-8"),
            "Action=ListRoles&Version=2010-05-08&MaxItems=1000",
            Some(testing::EXAMPLE_SESSION_TOKEN),
            "iam",
        );
        let header = authorization(&request);
        assert!(
            header.contains("SignedHeaders=content-type;host;x-amz-date;x-amz-security-token,")
        );
        assert!(header.ends_with(
            "Signature=900c29c04a383f93edcdd3c65c47c05f72a3ea445585dcc080840ea89eefd871"
        ));
        assert_eq!(
            request.headers()["x-amz-security-token"],
            testing::EXAMPLE_SESSION_TOKEN
        );
        assert!(request.headers().get("x-amz-content-sha256").is_none());
        assert!(request.headers()[AUTHORIZATION].is_sensitive());
    }

    #[test]
    fn signing_again_replaces_the_signature() {
        let uri = format!("{ENTRY}/access-policies?maxResults=100");
        let mut request = signed("GET", &uri, None, "", Some("old-token"), "eks");
        sign_request(
            &mut request,
            &testing::example_credentials(None),
            "eks",
            "us-east-1",
            testing::example_time(),
        )
        .unwrap();
        assert!(authorization(&request).ends_with(
            "Signature=b2b1a0395cf6e854cbd58a00b6109ad6e6651aa1019773a94d994850353e699f"
        ));
        assert!(request.headers().get("x-amz-security-token").is_none());
        assert_eq!(request.headers().get_all(AUTHORIZATION).iter().count(), 1);
    }

    #[test]
    fn a_relative_uri_is_an_error_not_a_panic() {
        let mut request = http::Request::get("/clusters").body(Bytes::new()).unwrap();
        let error = sign_request(
            &mut request,
            &testing::example_credentials(None),
            "eks",
            "us-east-1",
            testing::example_time(),
        )
        .unwrap_err();
        assert!(error.to_string().contains("names no host"));
    }
}
