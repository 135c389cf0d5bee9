//! Who signed this request? Keys, sessions, clocks, signatures.
//!
//! Refusals echo the canonical request, with the session token in it, because
//! AWS does: whoever hands AWS's error texts on must know that.

use crate::http::Request;
use crate::sigv4::{Claim, canonical_request};
use crate::text::{amz_date, sha256};
use crate::world::{Caller, World};

const SKEW: i64 = 5 * 60 * 1000;

/// Why a request is not believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Not signed.
    Missing,
    /// The signature's fields are not complete.
    Incomplete(String),
    /// No such key, or a session key without its token.
    UnknownKey,
    /// The session is over.
    Expired,
    /// Wrong signature, wrong scope, wrong clock: with AWS's sentence.
    Signature(String),
}

/// Verifies header authentication for a service.
///
/// # Errors
/// The refusal, to be worded by the service.
pub(crate) fn authenticate(
    world: &World,
    request: &Request,
    service: &str,
) -> Result<(Caller, Claim), Refusal> {
    let claim = Claim::from_header(request)
        .map_err(Refusal::Incomplete)?
        .ok_or(Refusal::Missing)?;
    if claim.service != service {
        return Err(Refusal::Signature(format!(
            "Credential should be scoped to correct service: '{service}'. "
        )));
    }
    if let Some(region) = iam_region(&world.partition)
        .filter(|_| service == "iam")
        .filter(|r| *r != claim.region)
    {
        return Err(Refusal::Signature(format!(
            "Credential should be scoped to a valid region, not '{}'. Expected '{region}'. ",
            claim.region
        )));
    }
    if let Some(name) = unsigned_header(request, &claim) {
        return Err(Refusal::Signature(format!(
            "There were headers present in the request which were not signed: {name}"
        )));
    }
    let canonical = canonical_request(
        &request.method,
        &request.path,
        &request.query,
        &claim.signed_headers,
        |name| {
            if name == "host" {
                request.host.clone()
            } else {
                joined(request, name)
            }
        },
        &sha256(&request.body),
    );
    verify(world, &claim, &canonical, SKEW).map(|caller| (caller, claim))
}

/// Verifies a claim over a canonical request; `max_age` in milliseconds.
///
/// # Errors
/// The refusal, to be worded by the service.
pub(crate) fn verify(
    world: &World,
    claim: &Claim,
    canonical: &str,
    max_age: i64,
) -> Result<Caller, Refusal> {
    let key = world
        .keys
        .get(&claim.access_key)
        .ok_or(Refusal::UnknownKey)?;
    if key.session.as_ref().map(|s| s.token.as_str()) != claim.token.as_deref() {
        return Err(Refusal::UnknownKey);
    }
    if key.session.as_ref().is_some_and(|s| s.expires <= world.now) {
        return Err(Refusal::Expired);
    }
    if claim.signed_at < world.now - max_age {
        let (limit, now) = (amz_date(world.now - max_age), amz_date(world.now));
        return Err(Refusal::Signature(format!(
            "Signature expired: {} is now earlier than {limit} ({now} - {} min.)",
            claim.amz_date,
            max_age / 60_000
        )));
    }
    if claim.signed_at > world.now + SKEW {
        let (limit, now) = (amz_date(world.now + SKEW), amz_date(world.now));
        return Err(Refusal::Signature(format!(
            "Signature not yet current: {} is still later than {limit} ({now} + 5 min.)",
            claim.amz_date
        )));
    }
    if claim.expected(&key.secret, canonical) != claim.signature {
        return Err(Refusal::Signature(format!(
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. \
             Consult the service documentation for details.\n\nThe Canonical String for this request should have been\n'{canonical}'\n\n\
             The String-to-Sign should have been\n'{}'\n",
            claim.string_to_sign(canonical)
        )));
    }
    Ok(world.caller(&claim.access_key, key))
}

fn joined(request: &Request, name: &str) -> String {
    let values: Vec<&str> = request
        .headers
        .get_all(name)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .collect();
    values.join(",")
}

/// AWS wants every `x-amz-*` header signed; user agents are exempt.
fn unsigned_header(request: &Request, claim: &Claim) -> Option<String> {
    request
        .headers
        .keys()
        .map(http::HeaderName::as_str)
        .filter(|n| n.starts_with("x-amz-") && *n != "x-amz-user-agent")
        .find(|n| !claim.signed_headers.iter().any(|s| s == n))
        .map(str::to_owned)
}

fn iam_region(partition: &str) -> Option<&'static str> {
    Some(match partition {
        "aws" => "us-east-1",
        "aws-cn" => "cn-north-1",
        "aws-us-gov" => "us-gov-west-1",
        "aws-iso" => "us-iso-east-1",
        "aws-iso-b" => "us-isob-east-1",
        "aws-iso-e" => "eu-isoe-west-1",
        "aws-iso-f" => "us-isof-south-1",
        "aws-eusc" => "eusc-de-east-1",
        _ => return None,
    })
}
