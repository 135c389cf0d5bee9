//! EKS over REST and JSON.
//!
//! Path parameters hold whole ARNs, so a path is split on its literal slashes
//! first and each segment decoded once. Reads are here, changes of access
//! entries in `entries`.

mod entries;

use serde_json::{Value, json};

use crate::arn::Principal;
use crate::auth::{Refusal, authenticate};
use crate::aws::Route;
use crate::http::{Reply, Request};
use crate::text::{base64, decode, find, millis, opaque, transparent, uuid};
use crate::world::{Association, Cluster, Entry, PodIdentity, World};

/// Every access policy the service offers, people's first.
pub(crate) const ACCESS_POLICIES: [&str; 24] = [
    "AmazonEKSAdminPolicy",
    "AmazonEKSAdminViewPolicy",
    "AmazonEKSClusterAdminPolicy",
    "AmazonEKSEditPolicy",
    "AmazonEKSViewPolicy",
    "AmazonEKSSecretReaderPolicy",
    "AmazonEKSSecretAdminPolicy",
    "AmazonEKSAutoNodePolicy",
    "AmazonEKSBlockStoragePolicy",
    "AmazonEKSBlockStorageClusterPolicy",
    "AmazonEKSClusterInsightsPolicy",
    "AmazonEKSComputePolicy",
    "AmazonEKSComputeClusterPolicy",
    "AmazonEKSEventPolicy",
    "AmazonEKSHybridPolicy",
    "AmazonEKSLoadBalancingPolicy",
    "AmazonEKSLoadBalancingClusterPolicy",
    "AmazonEKSNetworkingPolicy",
    "AmazonEKSNetworkingClusterPolicy",
    "AmazonAIOpsAssistantPolicy",
    "AmazonARCRegionSwitchScalingPolicy",
    "AmazonEKSACKPolicy",
    "AmazonEKSArgoCDPolicy",
    "AmazonEKSKROPolicy",
];

/// An operation with the parameters of its path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub operation: &'static str,
    pub cluster: String,
    /// A principal's ARN, or an id.
    pub item: String,
    pub policy: String,
}

/// Recognises an operation; `None` for what the service does not know.
pub(crate) fn parse(method: &str, path: &str) -> Option<Call> {
    let parts: Vec<String> = path
        .trim_start_matches('/')
        .split('/')
        .map(decode)
        .collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let (operation, cluster, item, policy) = match (method, parts.as_slice()) {
        ("GET", ["access-policies"]) => ("ListAccessPolicies", "", "", ""),
        ("GET", ["clusters"]) => ("ListClusters", "", "", ""),
        ("GET", ["clusters", c]) => ("DescribeCluster", *c, "", ""),
        ("DELETE", ["clusters", c]) => ("DeleteCluster", *c, "", ""),
        ("POST", ["clusters", c, "update-config"]) => ("UpdateClusterConfig", *c, "", ""),
        ("GET", ["clusters", c, "access-entries"]) => ("ListAccessEntries", *c, "", ""),
        ("POST", ["clusters", c, "access-entries"]) => ("CreateAccessEntry", *c, "", ""),
        ("GET", ["clusters", c, "access-entries", p]) => ("DescribeAccessEntry", *c, *p, ""),
        ("POST", ["clusters", c, "access-entries", p]) => ("UpdateAccessEntry", *c, *p, ""),
        ("DELETE", ["clusters", c, "access-entries", p]) => ("DeleteAccessEntry", *c, *p, ""),
        ("GET", ["clusters", c, "access-entries", p, "access-policies"]) => {
            ("ListAssociatedAccessPolicies", *c, *p, "")
        }
        ("POST", ["clusters", c, "access-entries", p, "access-policies"]) => {
            ("AssociateAccessPolicy", *c, *p, "")
        }
        (
            "DELETE",
            [
                "clusters",
                c,
                "access-entries",
                p,
                "access-policies",
                policy,
            ],
        ) => ("DisassociateAccessPolicy", *c, *p, *policy),
        ("GET", ["clusters", c, "pod-identity-associations"]) => {
            ("ListPodIdentityAssociations", *c, "", "")
        }
        ("GET", ["clusters", c, "pod-identity-associations", id]) => {
            ("DescribePodIdentityAssociation", *c, *id, "")
        }
        ("GET", ["clusters", c, "identity-provider-configs"]) => {
            ("ListIdentityProviderConfigs", *c, "", "")
        }
        ("POST", ["clusters", c, "identity-provider-configs", "describe"]) => {
            ("DescribeIdentityProviderConfig", *c, "", "")
        }
        ("POST", ["clusters", c, "identity-provider-configs", "associate"]) => {
            ("AssociateIdentityProviderConfig", *c, "", "")
        }
        _ => return None,
    };
    Some(Call {
        operation,
        cluster: cluster.into(),
        item: item.into(),
        policy: policy.into(),
    })
}

/// An error in the service's form.
pub(crate) fn error(status: u16, code: &str, message: &str) -> Reply {
    let id = uuid(&format!("{code}{message}"));
    let body = json!({"clusterName": null, "nodegroupName": null, "fargateProfileName": null, "addonName": null, "subscriptionId": null, "message": message});
    Reply::json(status, &body)
        .with("x-amzn-errortype", code)
        .with("x-amzn-requestid", id)
}

fn invalid(message: &str) -> Reply {
    error(400, "InvalidParameterException", message)
}

fn refusal(refusal: Refusal) -> Reply {
    let (code, message) = match refusal {
        Refusal::Missing => (
            "MissingAuthenticationTokenException",
            "Missing Authentication Token".into(),
        ),
        Refusal::Incomplete(m) => ("IncompleteSignatureException", m),
        Refusal::UnknownKey => (
            "UnrecognizedClientException",
            "The security token included in the request is invalid.".into(),
        ),
        Refusal::Expired => (
            "ExpiredTokenException",
            "The security token included in the request is expired".into(),
        ),
        Refusal::Signature(m) => ("InvalidSignatureException", m),
    };
    // The front of the service answers these, with a shorter body.
    Reply::json(403, &json!({"message": message}))
        .with("x-amzn-errortype", code)
        .with("x-amzn-requestid", uuid(&message))
}

pub(crate) fn default_username(principal: &Principal, kind: &str) -> String {
    match kind {
        "EC2_LINUX" | "EC2_WINDOWS" | "EC2" => "system:node:{{EC2PrivateDNSName}}".into(),
        "FARGATE_LINUX" | "HYBRID_LINUX" | "HYPERPOD_LINUX" => "system:node:{{SessionName}}".into(),
        _ if principal.kind == "role" => {
            format!(
                "arn:{}:sts::{}:assumed-role/{}/{{{{SessionName}}}}",
                principal.partition, principal.account, principal.name
            )
        }
        _ => principal.arn(),
    }
}

pub(crate) fn answer(world: &mut World, request: &Request, route: &Route) -> Reply {
    let (caller, claim) = match authenticate(world, request, "eks") {
        Ok(found) => found,
        Err(why) => return refusal(why),
    };
    let Some(call) = &route.call else {
        let body = json!({"message": format!("Unable to determine service/operation name to be authorized: {} {}", request.method, request.path)});
        return Reply::json(403, &body).with("x-amzn-errortype", "AccessDeniedException");
    };
    let account = caller.principal.account.clone();
    let index = world.clusters.iter().position(|c| {
        c.spec.name == call.cluster && c.region == claim.region && c.account == account
    });
    let context = entries::context(world, index, call, &request.body);
    let resource = resource(world, index, call, &claim.region, &account);
    // Tags are a right of their own, also where they come with a creation.
    let tags = call.operation == "CreateAccessEntry"
        && context
            .iter()
            .any(|(key, _)| key.starts_with("aws:RequestTag/"));
    let entry = format!(
        "arn:{}:eks:{}:{account}:access-entry/{}/*",
        world.partition, claim.region, call.cluster
    );
    let asked = [(call.operation, resource), ("TagResource", entry)];
    for (action, resource) in asked.iter().take(1 + usize::from(tags)) {
        let action = format!("eks:{action}");
        if let Err(message) = world.permit(&caller, &action, resource, &context) {
            return error(403, "AccessDeniedException", &message);
        }
    }
    let query = route.params.as_slice();
    match call.operation {
        "ListClusters" => {
            let names = world
                .clusters
                .iter()
                .filter(|c| c.region == claim.region && c.account == account)
                .map(|c| c.spec.name.clone());
            let mut names: Vec<String> = names.collect();
            names.sort();
            return list(
                world,
                call,
                query,
                "clusters",
                names.into_iter().map(|n| (n.clone(), Value::from(n))),
            );
        }
        "ListAccessPolicies" => {
            let partition = world.partition.clone();
            let all = ACCESS_POLICIES.iter().map(|n| ((*n).to_owned(), json!({"name": n, "arn": format!("arn:{partition}:eks::aws:cluster-access-policy/{n}")})));
            let mut all: Vec<_> = all.collect();
            all.sort_by(|a, b| a.0.cmp(&b.0));
            return list(world, call, query, "accessPolicies", all.into_iter());
        }
        _ => {}
    }
    let Some(index) = index else {
        return error(
            404,
            "ResourceNotFoundException",
            &format!("No cluster found for name: {}.", call.cluster),
        );
    };
    let Some(cluster) = world.clusters.get(index) else {
        return error(500, "ServerException", "no such cluster");
    };
    if call.operation.contains("Access")
        && ["CONFIG_MAP", "absent"].contains(&cluster.spec.mode.as_str())
    {
        let message = "The cluster's authentication mode must be set to one of [API, API_AND_CONFIG_MAP] to perform this operation.";
        return error(400, "InvalidRequestException", message);
    }
    match call.operation {
        "DescribeCluster" => Reply::json(200, &json!({"cluster": describe(world, cluster)})),
        "ListAccessEntries" => {
            let filter = find(query, "associatedPolicyArn").map(str::to_owned);
            if filter
                .as_ref()
                .is_some_and(|f| !f.contains(":cluster-access-policy/"))
            {
                return invalid("The policyArn parameter format is not valid");
            }
            let now = world.now;
            let has = |e: &Entry| {
                filter
                    .as_ref()
                    .is_none_or(|f| e.policies.iter().any(|p| p.policy_arn == *f))
            };
            let arns: Vec<String> = cluster
                .all_seen(now)
                .into_iter()
                .filter(|(_, e)| has(e))
                .map(|(arn, _)| arn.clone())
                .collect();
            list(
                world,
                call,
                query,
                "accessEntries",
                arns.into_iter().map(|a| (a.clone(), Value::from(a))),
            )
        }
        "DescribeAccessEntry" => match entries::find(cluster, &call.item, world.now) {
            Ok(found) => Reply::json(200, &json!({"accessEntry": entries::entry(cluster, found)})),
            Err(reply) => reply,
        },
        "ListAssociatedAccessPolicies" => match entries::find(cluster, &call.item, world.now) {
            Ok(found) => {
                let mut all: Vec<_> = found
                    .policies
                    .iter()
                    .map(|p| (p.policy_arn.clone(), association(p)))
                    .collect();
                all.sort_by(|a, b| a.0.cmp(&b.0));
                let extra = json!({"clusterName": cluster.spec.name, "principalArn": call.item});
                page(
                    world,
                    call,
                    query,
                    "associatedAccessPolicies",
                    extra,
                    all.into_iter(),
                )
            }
            Err(reply) => reply,
        },
        "ListPodIdentityAssociations" => {
            let (ns, sa) = (find(query, "namespace"), find(query, "serviceAccount"));
            let fits = |p: &&PodIdentity| {
                ns.is_none_or(|n| p.namespace == n) && sa.is_none_or(|s| p.service_account == s)
            };
            let mut all: Vec<_> = cluster
                .pods
                .iter()
                .filter(fits)
                .map(|p| (p.id.clone(), pod_identity(cluster, p, false)))
                .collect();
            all.sort_by(|a, b| a.0.cmp(&b.0));
            list(world, call, query, "associations", all.into_iter())
        }
        "DescribePodIdentityAssociation" => match cluster.pods.iter().find(|p| p.id == call.item) {
            Some(found) => Reply::json(
                200,
                &json!({"association": pod_identity(cluster, found, true)}),
            ),
            None => error(
                404,
                "ResourceNotFoundException",
                &format!(
                    "The associationId provided doesn't match an association on this cluster: {}",
                    call.item
                ),
            ),
        },
        "ListIdentityProviderConfigs" => {
            let all: Vec<_> = cluster
                .spec
                .identity_providers
                .iter()
                .map(|p| (p.name.clone(), json!({"type": "oidc", "name": p.name})))
                .collect();
            list(
                world,
                call,
                query,
                "identityProviderConfigs",
                all.into_iter(),
            )
        }
        "DescribeIdentityProviderConfig" => identity_provider(cluster, &request.body),
        "CreateAccessEntry"
        | "UpdateAccessEntry"
        | "DeleteAccessEntry"
        | "AssociateAccessPolicy"
        | "DisassociateAccessPolicy" => {
            world.mutations.push(format!("eks:{}", call.operation));
            entries::change(world, index, call, &request.body)
        }
        "UpdateClusterConfig" => {
            world.mutations.push("eks:UpdateClusterConfig".into());
            update_config(world, index, &request.body)
        }
        operation => {
            world.mutations.push(format!("eks:{operation}"));
            error(
                400,
                "InvalidRequestException",
                "This operation is not simulated",
            )
        }
    }
}

fn resource(
    world: &World,
    index: Option<usize>,
    call: &Call,
    region: &str,
    account: &str,
) -> String {
    let base = format!("arn:{}:eks:{region}:{account}", world.partition);
    match call.operation {
        "ListClusters" | "ListAccessPolicies" => "*".into(),
        "DescribePodIdentityAssociation" => format!(
            "{base}:podidentityassociation/{}/{}",
            call.cluster, call.item
        ),
        "DescribeIdentityProviderConfig" => {
            format!("{base}:identityproviderconfig/{}/oidc/*", call.cluster)
        }
        _ if call.item.is_empty() => format!("{base}:cluster/{}", call.cluster),
        _ => {
            let entry = index
                .and_then(|i| world.clusters.get(i))
                .and_then(|c| Some((c, c.entries.get(&call.item)?)));
            entry.map_or_else(
                || format!("{base}:access-entry/{}/*", call.cluster),
                |(c, e)| entries::arn(c, e),
            )
        }
    }
}

fn list(
    world: &World,
    call: &Call,
    query: &[(String, String)],
    member: &str,
    all: impl Iterator<Item = (String, Value)>,
) -> Reply {
    page(world, call, query, member, json!({}), all)
}

/// One page of a sorted list.
fn page(
    world: &World,
    call: &Call,
    query: &[(String, String)],
    member: &str,
    mut body: Value,
    all: impl Iterator<Item = (String, Value)>,
) -> Reply {
    let size = match find(query, "maxResults").map(str::parse::<usize>) {
        None => 100,
        Some(Ok(n @ 1..=100)) => n,
        Some(_) => return invalid("maxResults must be between 1 and 100"),
    };
    let kind = format!("{}/{}/{}", call.operation, call.cluster, call.item);
    let after = match find(query, "nextToken") {
        None => None,
        Some(token) => match transparent(&kind, token) {
            Some(key) => Some(key),
            None => return invalid("The nextToken parameter is not valid"),
        },
    };
    let mut rest = all.filter(|(key, _)| after.as_ref().is_none_or(|a| key > a));
    let mut last = String::new();
    let mut items = Vec::new();
    for (key, item) in rest.by_ref().take(size.min(world.pages.eks.max(1))) {
        last = key;
        items.push(item);
    }
    let next = rest.next().map(|_| opaque(&kind, &last));
    if let Some(map) = body.as_object_mut() {
        map.insert(member.into(), items.into());
        map.insert("nextToken".into(), next.map_or(Value::Null, Value::from));
    }
    Reply::json(200, &body)
}

/// Epoch seconds with a fraction, as the service writes times.
fn seconds(millis: i64) -> Value {
    json!(millis as f64 / 1000.0)
}

fn describe(world: &World, cluster: &Cluster) -> Value {
    let spec = &cluster.spec;
    let host = cluster.endpoint.clone();
    let mut body = json!({
        "name": spec.name,
        "arn": cluster.arn,
        "createdAt": seconds(millis(&spec.created)),
        "version": spec.version,
        "platformVersion": "eks.12",
        "status": spec.status,
        "roleArn": format!("arn:{}:iam::{}:role/eks-cluster", world.partition, cluster.account),
        "resourcesVpcConfig": {"subnetIds": ["subnet-0a", "subnet-0b"], "securityGroupIds": [], "vpcId": "vpc-0123456789abcdef0",
            "endpointPublicAccess": true, "endpointPrivateAccess": true, "publicAccessCidrs": ["0.0.0.0/0"]},
        "kubernetesNetworkConfig": {"serviceIpv4Cidr": "10.100.0.0/16", "ipFamily": "ipv4"},
        "logging": {"clusterLogging": [{"types": ["api", "audit", "authenticator", "controllerManager", "scheduler"], "enabled": false}]},
        "identity": {"oidc": {"issuer": cluster.issuer}},
        "certificateAuthority": {},
        "accessConfig": {"bootstrapClusterCreatorAdminPermissions": null, "authenticationMode": spec.mode},
        "upgradePolicy": {"supportType": "STANDARD"},
        "deletionProtection": false,
        "health": {"issues": []},
        "tags": {}
    });
    if let Some(map) = body.as_object_mut() {
        if spec.mode == "absent" {
            map.remove("accessConfig");
        }
        // A cluster that is being made has no endpoint yet.
        if spec.status != "CREATING" {
            map.insert("endpoint".into(), host.into());
            map.insert(
                "certificateAuthority".into(),
                json!({"data": base64(&cluster.ca_pem)}),
            );
        }
    }
    body
}

fn association(a: &Association) -> Value {
    let scope = match &a.namespaces {
        None => json!({"type": "cluster", "namespaces": []}),
        Some(namespaces) => json!({"type": "namespace", "namespaces": namespaces}),
    };
    json!({"policyArn": a.policy_arn, "accessScope": scope, "associatedAt": seconds(a.associated), "modifiedAt": seconds(a.modified)})
}

fn pod_identity(cluster: &Cluster, p: &PodIdentity, full: bool) -> Value {
    let arn = cluster.arn.replace(":cluster/", ":podidentityassociation/");
    let mut body = json!({
        "clusterName": cluster.spec.name,
        "namespace": p.namespace,
        "serviceAccount": p.service_account,
        "associationArn": format!("{arn}/{}", p.id),
        "associationId": p.id,
    });
    if let (true, Some(map)) = (full, body.as_object_mut()) {
        map.insert("roleArn".into(), p.role_arn.clone().into());
        map.insert("targetRoleArn".into(), p.target_role_arn.clone().into());
        map.insert("disableSessionTags".into(), false.into());
        map.insert("tags".into(), json!({}));
        map.insert("createdAt".into(), seconds(p.created));
        map.insert("modifiedAt".into(), seconds(p.created));
    }
    body
}

fn identity_provider(cluster: &Cluster, body: &[u8]) -> Reply {
    let asked: Value = serde_json::from_slice(body).unwrap_or_default();
    let name = asked
        .pointer("/identityProviderConfig/name")
        .and_then(Value::as_str)
        .unwrap_or_default();
    match cluster
        .spec
        .identity_providers
        .iter()
        .find(|p| p.name == name)
    {
        Some(p) => Reply::json(
            200,
            &json!({"identityProviderConfig": {"oidc": {
                "identityProviderConfigName": p.name, "clusterName": cluster.spec.name, "issuerUrl": p.issuer, "clientId": p.client_id,
                "usernameClaim": "sub", "usernamePrefix": p.username_prefix, "groupsClaim": "groups", "groupsPrefix": p.groups_prefix,
                "requiredClaims": {}, "tags": {}, "status": "ACTIVE"}}}),
        ),
        None => error(
            404,
            "ResourceNotFoundException",
            &format!("Identity provider config not found: {name}"),
        ),
    }
}

fn update_config(world: &mut World, index: usize, body: &[u8]) -> Reply {
    let asked: Value = serde_json::from_slice(body).unwrap_or_default();
    let Some(mode) = asked
        .pointer("/accessConfig/authenticationMode")
        .and_then(Value::as_str)
    else {
        return invalid("No changes needed for the cluster configuration");
    };
    let order = ["CONFIG_MAP", "API_AND_CONFIG_MAP", "API"];
    let Some(cluster) = world.clusters.get_mut(index) else {
        return error(500, "ServerException", "no such cluster");
    };
    let rank = |m: &str| order.iter().position(|o| *o == m);
    let now = rank(&cluster.spec.mode).unwrap_or(0);
    match rank(mode) {
        Some(wanted) if wanted == now + 1 => {
            mode.clone_into(&mut cluster.spec.mode);
            Reply::json(
                200,
                &json!({"update": {"id": uuid(mode), "status": "InProgress", "type": "AccessConfigUpdate", "params": [], "errors": []}}),
            )
        }
        Some(_) => error(
            400,
            "InvalidRequestException",
            &format!(
                "Unsupported authentication mode update from {} to {mode}",
                cluster.spec.mode
            ),
        ),
        None => invalid("The authenticationMode parameter is not valid"),
    }
}
