//! Requests and answers that listing and planning share.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;

use crate::aws::eks::{Association, AssociationList, Cluster, DescribeCluster, Policy};
use crate::aws::{iam, policies};
use crate::bindings::Error;
use crate::identity::people::People;
use crate::identity::rights::Rights;
use crate::identity::roles::Roles;
use crate::upstream::{
    Calls, Request, Response, account_details, eks, fault, kubernetes, list_roles, unreadable,
};

/// Reads the cluster; one that is not there yet, or not any more, is an error.
pub fn cluster(name: &str, calls: &mut Calls) -> Result<Cluster, Error> {
    let request = eks("eks:DescribeCluster", &["clusters", name], &[]);
    let answer: DescribeCluster = json_of(&request, &calls.get(&request)?)?;
    let cluster = answer
        .cluster
        .cluster()
        .map_err(|why| unreadable(&request, why))?;
    if matches!(
        cluster.status.as_str(),
        "CREATING" | "PENDING" | "DELETING" | "FAILED"
    ) {
        let mut error = unreadable(&request, "");
        error.kind = "unavailable".into();
        error.message = format!(
            "cluster {} is {} and cannot be read; wait until it is ACTIVE",
            cluster.arn, cluster.status
        );
        return Err(error);
    }
    Ok(cluster)
}

/// Reads one page of IAM's roles. Returns the next page's token, and ARNs that
/// make no sense.
pub fn roles(
    token: Option<&str>,
    into: &mut Roles,
    calls: &mut Calls,
) -> Result<(Option<String>, Vec<String>), Error> {
    let request = list_roles(token);
    let page =
        iam::list_roles(&calls.get(&request)?.body).map_err(|why| unreadable(&request, why))?;
    let odd = listed(page.roles, into);
    let next = following(&request, page.is_truncated, page.marker)?;
    Ok((next, odd))
}

/// The same with users, groups and everybody's policies, in one pass over the
/// account.
pub fn identities(
    token: Option<&str>,
    into: &mut Roles,
    people: &mut People,
    rights: &mut Rights,
    calls: &mut Calls,
) -> Result<(Option<String>, Vec<String>), Error> {
    let request = account_details(token);
    let mut page =
        iam::details(&calls.get(&request)?.body).map_err(|why| unreadable(&request, why))?;
    let roles = page.role_detail_list.member.iter_mut();
    roles.for_each(|role| rights.role(role));
    let users = page.user_detail_list.member.iter_mut();
    users.for_each(|user| rights.user(user));
    let groups = page.group_detail_list.member.iter_mut();
    groups.for_each(|group| rights.group(group));
    let policies = page.policies.member.into_iter();
    policies.for_each(|policy| rights.managed(policy));
    let mut odd = listed(page.role_detail_list, into);
    odd.extend(people.add(page.user_detail_list.member, page.group_detail_list.member));
    let next = following(&request, page.is_truncated, page.marker)?;
    Ok((next, odd))
}

/// Takes roles over; returns ARNs that make no sense.
fn listed(roles: iam::Members, into: &mut Roles) -> Vec<String> {
    let mut odd = Vec::new();
    for role in roles.member {
        let arn = role.arn.clone();
        if !into.list(role) {
            odd.push(arn);
        }
    }
    odd
}

fn following(
    request: &Request,
    truncated: bool,
    marker: Option<String>,
) -> Result<Option<String>, Error> {
    let next = marker.filter(|m| truncated && !m.is_empty());
    if truncated && next.is_none() {
        return Err(unreadable(
            request,
            "the page is truncated and has no marker",
        ));
    }
    Ok(next)
}

/// Reads `aws-auth`.
pub fn aws_auth() -> Request {
    kubernetes(
        "get configmaps kube-system/aws-auth",
        "/api/v1/namespaces/kube-system/configmaps/aws-auth",
        &[],
    )
}

/// Describes an access entry.
pub fn entry(cluster: &str, arn: &str) -> Request {
    eks(
        "eks:DescribeAccessEntry",
        &["clusters", cluster, "access-entries", arn],
        &[],
    )
}

/// A page of the principals of entries.
pub fn entries(cluster: &str, token: Option<&str>) -> Request {
    let path = ["clusters", cluster, "access-entries"];
    page("eks:ListAccessEntries", &path, &[], token)
}

/// A page of the principals of entries that have a policy.
pub fn filtered(cluster: &str, policy: &str, token: Option<&str>) -> Request {
    let path = ["clusters", cluster, "access-entries"];
    let only = [("associatedPolicyArn", policy)];
    page("eks:ListAccessEntries", &path, &only, token)
}

/// A page of the policies of an entry.
pub fn associated(cluster: &str, arn: &str, token: Option<&str>) -> Request {
    let path = [
        "clusters",
        cluster,
        "access-entries",
        arn,
        "access-policies",
    ];
    page("eks:ListAssociatedAccessPolicies", &path, &[], token)
}

/// Takes a page of the policies of an entry; returns the request for the next.
pub fn associations(
    cluster: &str,
    arn: String,
    request: &Request,
    response: Response,
    into: &mut BTreeMap<String, Vec<Association>>,
) -> Result<Option<(String, Request)>, Error> {
    let page: AssociationList = json_of(request, &ok(request, response)?)?;
    let list = into.entry(arn.clone()).or_default();
    list.extend(page.associated_access_policies);
    let next = page.next_token;
    Ok(next.map(|token| {
        let request = associated(cluster, &arn, Some(&token));
        (arn, request)
    }))
}

/// A page of the catalogue of access policies.
pub fn catalogue(token: Option<&str>) -> Request {
    page("eks:ListAccessPolicies", &["access-policies"], &[], token)
}

/// The access policies that are looked for where the catalogue cannot be listed.
pub fn known_policies(partition: &str) -> impl Iterator<Item = Policy> {
    policies::human().map(move |name| Policy {
        name: name.into(),
        arn: policies::arn(partition, name),
    })
}

/// A page of Pod Identity associations.
pub fn pods(cluster: &str, token: Option<&str>) -> Request {
    let path = ["clusters", cluster, "pod-identity-associations"];
    page("eks:ListPodIdentityAssociations", &path, &[], token)
}

/// EKS gives at most 100 items a page.
fn page(
    operation: &'static str,
    path: &[&str],
    query: &[(&str, &str)],
    token: Option<&str>,
) -> Request {
    let mut query = query.to_vec();
    query.push(("maxResults", "100"));
    query.extend(token.map(|token| ("nextToken", token)));
    eks(operation, path, &query)
}

/// An answer with any status but 2xx is an error.
pub fn ok(request: &Request, response: Response) -> Result<Response, Error> {
    if (200..300).contains(&response.status) {
        Ok(response)
    } else {
        Err(fault(request, &response))
    }
}

/// The answer as JSON of a shape.
pub fn json_of<T: DeserializeOwned>(request: &Request, response: &Response) -> Result<T, Error> {
    serde_json::from_slice(&response.body).map_err(|e| unreadable(request, e))
}

/// Why the upstream refuses, if it does.
pub fn not_permitted(request: &Request, response: &Result<Response, Error>) -> Option<String> {
    let error = match response {
        Err(error) => error.clone(),
        Ok(response) if response.status == 403 => fault(request, response),
        Ok(_) => return None,
    };
    (error.kind == "not-permitted").then_some(error.message)
}
