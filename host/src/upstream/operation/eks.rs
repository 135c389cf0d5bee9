//! EKS: REST and JSON, on this session's cluster only.
//!
//! The cluster in a path is compared with the session's and filled in from
//! it, never taken from the guest: rights on one cluster are none on another
//! in the same account.

use bytes::Bytes;
use http::{Method, Request};

use super::super::rights::{self, Kind};
use super::text::{self, Segment};
use super::{Headers, Operation, Parsed, Recognised, View, encode};

#[derive(Clone, Copy)]
enum Part {
    Word(&'static str),
    Cluster,
    Arn,
    Id,
}

#[derive(Clone, Copy)]
enum Value {
    /// 1 to 100.
    Count,
    Arn,
    Text,
}

struct Entry {
    right: &'static str,
    method: Method,
    path: &'static [Part],
    query: &'static [(&'static str, Value)],
}

use Part::{Arn, Cluster, Id, Word};

const PAGE: (&str, Value) = ("maxResults", Value::Count);
const NEXT: (&str, Value) = ("nextToken", Value::Text);

/// The operations of the ceiling (service model 2017-11-01). Those that change
/// something are recognised, so that a refusal can name them.
static TABLE: &[Entry] = &[
    Entry {
        right: "eks:DescribeCluster",
        method: Method::GET,
        path: &[Word("clusters"), Cluster],
        query: &[],
    },
    Entry {
        right: "eks:ListAccessEntries",
        method: Method::GET,
        path: &[Word("clusters"), Cluster, Word("access-entries")],
        query: &[("associatedPolicyArn", Value::Arn), PAGE, NEXT],
    },
    Entry {
        right: "eks:DescribeAccessEntry",
        method: Method::GET,
        path: &[Word("clusters"), Cluster, Word("access-entries"), Arn],
        query: &[],
    },
    Entry {
        right: "eks:ListAssociatedAccessPolicies",
        method: Method::GET,
        path: &[
            Word("clusters"),
            Cluster,
            Word("access-entries"),
            Arn,
            Word("access-policies"),
        ],
        query: &[PAGE, NEXT],
    },
    Entry {
        right: "eks:ListAccessPolicies",
        method: Method::GET,
        path: &[Word("access-policies")],
        query: &[PAGE, NEXT],
    },
    Entry {
        right: "eks:ListPodIdentityAssociations",
        method: Method::GET,
        path: &[Word("clusters"), Cluster, Word("pod-identity-associations")],
        query: &[
            ("namespace", Value::Text),
            ("serviceAccount", Value::Text),
            PAGE,
            NEXT,
        ],
    },
    Entry {
        right: "eks:DescribePodIdentityAssociation",
        method: Method::GET,
        path: &[
            Word("clusters"),
            Cluster,
            Word("pod-identity-associations"),
            Id,
        ],
        query: &[],
    },
    Entry {
        right: "eks:CreateAccessEntry",
        method: Method::POST,
        path: &[Word("clusters"), Cluster, Word("access-entries")],
        query: &[],
    },
    Entry {
        right: "eks:UpdateAccessEntry",
        method: Method::POST,
        path: &[Word("clusters"), Cluster, Word("access-entries"), Arn],
        query: &[],
    },
    Entry {
        right: "eks:DeleteAccessEntry",
        method: Method::DELETE,
        path: &[Word("clusters"), Cluster, Word("access-entries"), Arn],
        query: &[],
    },
    Entry {
        right: "eks:AssociateAccessPolicy",
        method: Method::POST,
        path: &[
            Word("clusters"),
            Cluster,
            Word("access-entries"),
            Arn,
            Word("access-policies"),
        ],
        query: &[],
    },
    Entry {
        right: "eks:DisassociateAccessPolicy",
        method: Method::DELETE,
        path: &[
            Word("clusters"),
            Cluster,
            Word("access-entries"),
            Arn,
            Word("access-policies"),
            Arn,
        ],
        query: &[],
    },
    Entry {
        right: "eks:TagResource",
        method: Method::POST,
        path: &[Word("tags"), Arn],
        query: &[],
    },
];

/// Operations that no plugin can have, known only so that a refusal names the
/// right in AWS's words.
static NEVER: &[(&str, Method, &[Part])] = &[
    ("eks:ListClusters", Method::GET, &[Word("clusters")]),
    ("eks:CreateCluster", Method::POST, &[Word("clusters")]),
    (
        "eks:DeleteCluster",
        Method::DELETE,
        &[Word("clusters"), Cluster],
    ),
    (
        "eks:UpdateClusterConfig",
        Method::POST,
        &[Word("clusters"), Cluster, Word("update-config")],
    ),
    (
        "eks:UpdateClusterVersion",
        Method::POST,
        &[Word("clusters"), Cluster, Word("updates")],
    ),
    (
        "eks:ListUpdates",
        Method::GET,
        &[Word("clusters"), Cluster, Word("updates")],
    ),
    (
        "eks:ListNodegroups",
        Method::GET,
        &[Word("clusters"), Cluster, Word("node-groups")],
    ),
    (
        "eks:DescribeNodegroup",
        Method::GET,
        &[Word("clusters"), Cluster, Word("node-groups"), Id],
    ),
    (
        "eks:ListFargateProfiles",
        Method::GET,
        &[Word("clusters"), Cluster, Word("fargate-profiles")],
    ),
    (
        "eks:ListAddons",
        Method::GET,
        &[Word("clusters"), Cluster, Word("addons")],
    ),
    (
        "eks:CreateAddon",
        Method::POST,
        &[Word("clusters"), Cluster, Word("addons")],
    ),
    (
        "eks:DescribeAddon",
        Method::GET,
        &[Word("clusters"), Cluster, Word("addons"), Id],
    ),
    (
        "eks:ListIdentityProviderConfigs",
        Method::GET,
        &[Word("clusters"), Cluster, Word("identity-provider-configs")],
    ),
    (
        "eks:DescribeIdentityProviderConfig",
        Method::POST,
        &[
            Word("clusters"),
            Cluster,
            Word("identity-provider-configs"),
            Word("describe"),
        ],
    ),
    (
        "eks:AssociateIdentityProviderConfig",
        Method::POST,
        &[
            Word("clusters"),
            Cluster,
            Word("identity-provider-configs"),
            Word("associate"),
        ],
    ),
    (
        "eks:CreatePodIdentityAssociation",
        Method::POST,
        &[Word("clusters"), Cluster, Word("pod-identity-associations")],
    ),
    (
        "eks:DeletePodIdentityAssociation",
        Method::DELETE,
        &[
            Word("clusters"),
            Cluster,
            Word("pod-identity-associations"),
            Id,
        ],
    ),
    ("eks:ListTagsForResource", Method::GET, &[Word("tags"), Arn]),
];

pub(super) fn parse(cluster: &str, request: &Request<Bytes>) -> Parsed {
    let headers = Headers::of(request)?;
    headers.accept_is_one_of(&["application/json", "*/*"])?;
    headers.content_type_is_one_of(&["application/json"])?;
    let segments = text::segments(request.uri().path())?;
    let entry = TABLE
        .iter()
        .find(|entry| entry.method == request.method() && shaped(entry.path, &segments));
    let Some(entry) = entry else {
        let named = NEVER
            .iter()
            .find(|(_, method, path)| method == request.method() && shaped(path, &segments));
        return match named {
            Some((words, ..)) => Ok(Recognised::Unknown((*words).to_owned())),
            None => Err("the request is no operation of EKS that this host knows".to_owned()),
        };
    };
    let right =
        rights::find(Kind::Eks, entry.right).ok_or("the operation is outside of the ceiling")?;
    let path = build(entry.path, &segments, cluster)?;
    if right.writes() {
        // Never sent from a sandbox, so its body is not read.
        return Ok(Recognised::Known(Operation {
            right,
            method: entry.method.clone(),
            path,
            query: Vec::new(),
            form: Vec::new(),
            view: View::Full,
        }));
    }
    if !request.body().is_empty() {
        return Err(format!("`{}` has no body", entry.right));
    }
    let given = text::pairs(request.uri().query().unwrap_or_default())?;
    if let Some((key, _)) = given
        .iter()
        .find(|(key, _)| !entry.query.iter().any(|(known, _)| known == key))
    {
        return Err(format!(
            "`{}` has no parameter `{}`",
            entry.right,
            key.escape_debug()
        ));
    }
    let mut query = Vec::new();
    for (key, value) in entry.query {
        if let Some((_, text)) = given.iter().find(|(name, _)| name == key) {
            query.push((*key, checked(*value, key, text)?));
        }
    }
    Ok(Recognised::Known(Operation {
        right,
        method: entry.method.clone(),
        path,
        query,
        form: Vec::new(),
        view: View::Full,
    }))
}

/// Whether a path has this shape. Parameters are checked when it is built, so
/// that a wrong one is named and does not fall through to another operation.
fn shaped(parts: &[Part], segments: &[Segment]) -> bool {
    parts.len() == segments.len()
        && parts
            .iter()
            .zip(segments)
            .all(|(part, segment)| match part {
                Word(word) => segment.is(word),
                Cluster | Arn | Id => true,
            })
}

fn build(parts: &[Part], segments: &[Segment], cluster: &str) -> Result<String, String> {
    let mut path = String::new();
    for (part, segment) in parts.iter().zip(segments) {
        path.push('/');
        match part {
            Word(word) => path.push_str(word),
            Cluster if segment.is(cluster) => path.push_str(&encode(cluster)),
            Cluster => {
                return Err(format!(
                    "the request is not for this session's cluster, `{cluster}`"
                ));
            }
            Arn => path.push_str(&encode(segment.arn()?)),
            Id => {
                let id = segment.plain()?;
                if !id
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
                {
                    return Err(
                        "an identifier holds more than letters, digits, `-` and `_`".to_owned()
                    );
                }
                path.push_str(id);
            }
        }
    }
    Ok(path)
}

fn checked(value: Value, key: &str, text: &str) -> Result<String, String> {
    match value {
        Value::Count => match text.parse::<u8>() {
            Ok(count @ 1..=100) => Ok(count.to_string()),
            _ => Err(format!("`{key}` is not a number from 1 to 100")),
        },
        Value::Arn => text::arn(text).map(str::to_owned),
        Value::Text => Ok(text.to_owned()),
    }
}
