//! EKS bearer tokens, verified as aws-iam-authenticator does.
//!
//! The token is a presigned GetCallerIdentity; the real authenticator sends it
//! to STS. Here the signature is recomputed with the cluster's own name in
//! `x-k8s-aws-id`, so a token for another cluster fails as it does in life.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::auth::{Refusal, verify};
use crate::sigv4::{Claim, canonical_request};
use crate::text::{find, pairs, sha256};
use crate::world::{Caller, World};

const PREFIX: &str = "k8s-aws-v1.";
const LONGEST: usize = 4096;
const LIFE: i64 = 15 * 60 * 1000;
const PARAMETERS: [&str; 9] = [
    "action",
    "version",
    "x-amz-algorithm",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-expires",
    "x-amz-security-token",
    "x-amz-signature",
    "x-amz-signedheaders",
];

/// Who a token stands for.
///
/// # Errors
/// The reason, for the simulator's own log: the API server only says 401.
pub(crate) fn check(world: &World, cluster: &str, token: &str) -> Result<Caller, String> {
    if token.len() > LONGEST {
        return Err("token is too large".into());
    }
    let encoded = token
        .strip_prefix(PREFIX)
        .ok_or("token is missing expected \"k8s-aws-v1.\" prefix")?;
    let url = URL_SAFE_NO_PAD
        .decode(encoded)
        .map_err(|_| "token is not base64url without padding")?;
    let url = String::from_utf8(url).map_err(|_| "token is not text")?;
    let rest = url
        .strip_prefix("https://")
        .ok_or("unexpected scheme in pre-signed URL")?;
    let (host, rest) = rest
        .split_once('/')
        .ok_or("unexpected path in pre-signed URL")?;
    let query = rest
        .strip_prefix('?')
        .ok_or("unexpected path in pre-signed URL")?;
    if !sts_host(&world.partition, host) {
        return Err(format!("unexpected hostname {host:?} in pre-signed URL"));
    }
    let parameters = pairs(query);
    for (n, (key, _)) in parameters.iter().enumerate() {
        if !PARAMETERS.contains(&key.to_lowercase().as_str()) {
            return Err(format!("non-whitelisted query parameter {key:?}"));
        }
        if parameters
            .iter()
            .skip(n + 1)
            .any(|(other, _)| other.eq_ignore_ascii_case(key))
        {
            return Err(format!(
                "query parameter {key:?} with multiple values not supported"
            ));
        }
    }
    if find(&parameters, "Action") != Some("GetCallerIdentity") {
        return Err("unexpected action parameter in pre-signed URL".into());
    }
    let claim = Claim::from_query(&parameters)?;
    if claim.service != "sts" {
        return Err("the token is not signed for sts".into());
    }
    if !claim.signed_headers.iter().any(|h| h == "x-k8s-aws-id") {
        return Err("client did not sign the x-k8s-aws-id header in the pre-signed URL".into());
    }
    if claim.expires.is_none_or(|e| !(0..=900).contains(&e)) {
        return Err("invalid X-Amz-Expires parameter in pre-signed URL".into());
    }
    if claim.signed_at + LIFE < world.now {
        return Err(format!(
            "X-Amz-Date parameter is expired ({})",
            claim.amz_date
        ));
    }
    let header = |name: &str| match name {
        "host" => host.to_owned(),
        "x-k8s-aws-id" => cluster.to_owned(),
        _ => String::new(),
    };
    let canonical = canonical_request(
        "GET",
        "/",
        query,
        &claim.signed_headers,
        header,
        &sha256(b""),
    );
    verify(world, &claim, &canonical, LIFE).map_err(|refusal| match refusal {
        Refusal::Signature(_) => {
            "sts getCallerIdentity failed: signature does not match".to_owned()
        }
        other => format!("sts getCallerIdentity failed: {other:?}"),
    })
}

/// Hosts that a cluster of a partition takes for STS.
fn sts_host(partition: &str, host: &str) -> bool {
    let suffixes: &[&str] = match partition {
        "aws" => &["amazonaws.com", "api.aws"],
        "aws-us-gov" => &["amazonaws.com", "api.aws"],
        "aws-cn" => &["amazonaws.com.cn", "api.amazonwebservices.com.cn"],
        "aws-iso" => &["c2s.ic.gov", "api.aws.ic.gov"],
        "aws-iso-b" => &["sc2s.sgov.gov", "api.aws.scloud"],
        "aws-iso-e" => &["cloud.adc-e.uk", "api.cloud-aws.adc-e.uk"],
        "aws-iso-f" => &["csp.hci.ic.gov", "api.aws.hci.ic.gov"],
        "aws-eusc" => &["amazonaws.eu", "api.amazonwebservices.eu"],
        _ => &[],
    };
    if partition == "aws" && host == "sts.amazonaws.com" {
        return true;
    }
    suffixes.iter().any(|suffix| {
        let region = host
            .strip_suffix(suffix)
            .and_then(|h| h.strip_suffix('.'))
            .and_then(|h| {
                h.strip_prefix("sts.")
                    .or_else(|| h.strip_prefix("sts-fips."))
            });
        region.is_some_and(|r| {
            r.len() > 5
                && r.bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
                && of_partition(partition, r)
        })
    })
}

fn of_partition(partition: &str, region: &str) -> bool {
    let special = [
        ("aws-us-gov", "us-gov-"),
        ("aws-cn", "cn-"),
        ("aws-iso", "us-iso-"),
        ("aws-iso-b", "us-isob-"),
        ("aws-iso-e", "eu-isoe-"),
        ("aws-iso-f", "us-isof-"),
        ("aws-eusc", "eusc-"),
    ];
    match special
        .iter()
        .find(|(_, prefix)| region.starts_with(prefix))
    {
        Some((owner, _)) => *owner == partition,
        None => partition == "aws",
    }
}

#[cfg(test)]
mod tests {
    use super::sts_host;

    #[test]
    fn hosts_belong_to_their_partition() {
        assert!(sts_host("aws", "sts.eu-west-1.amazonaws.com"));
        assert!(sts_host("aws", "sts.amazonaws.com"));
        assert!(sts_host("aws-us-gov", "sts.us-gov-west-1.amazonaws.com"));
        assert!(sts_host("aws-cn", "sts.cn-north-1.amazonaws.com.cn"));
        assert!(!sts_host("aws", "sts.us-gov-west-1.amazonaws.com"));
        assert!(!sts_host("aws", "sts.eu-west-1.amazonaws.com.cn"));
        assert!(!sts_host("aws", "127.0.0.1:8080"));
        assert!(!sts_host("aws", "sts.evil.com/amazonaws.com"));
        assert!(!sts_host("aws", "sts.amazonaws.com.evil.com"));
    }
}
