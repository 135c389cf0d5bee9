//! Ambient credentials: a container endpoint, and the instance metadata (version 2).

use serde_json::json;

use crate::http::{Reply, Request};
use crate::policy::{self, Asker, Trust};
use crate::sts::trust_document;
use crate::text::rfc3339;
use crate::world::World;

const IMDS_TOKEN: &str = "AQAEAJ-imds-session-token==";

pub(crate) fn answer(world: &mut World, request: &Request) -> Reply {
    let Some(container) = world.container.clone() else {
        return Reply::new(404, "text/plain", "Not Found");
    };
    let Some(role) = world.role(&container.role_arn) else {
        return Reply::new(
            500,
            "text/plain",
            "the scenario's container role does not exist",
        );
    };
    let service = if request.path == "/v1/credentials" {
        "pods.eks.amazonaws.com"
    } else {
        "ec2.amazonaws.com"
    };
    let trust = trust_document(&role.spec.trust)
        .map(|t| policy::trust(&t, "sts:AssumeRole", &Asker::Service(service), &[]));
    if trust != Some(Trust::Named) {
        return Reply::new(
            404,
            "text/plain",
            format!("the role's trust policy does not name {service}"),
        );
    }
    let role = role.principal.clone();
    match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/v1/credentials") => {
            if request.header("authorization") != Some(&container.token) {
                return Reply::json(
                    401,
                    &json!({"code": "AccessDeniedException", "message": "Unauthorized Exception! EKS does not have permissions to assume the associated role."}),
                );
            }
            let (id, key) = world.issue(&role, "eks-pod-identity", 21_600, None);
            credentials(&id, &key, json!({}), "AccountId", &role.account)
        }
        ("PUT", "/latest/api/token") => {
            if request
                .header("x-aws-ec2-metadata-token-ttl-seconds")
                .is_none()
            {
                return Reply::new(400, "text/plain", "Bad Request");
            }
            Reply::new(200, "text/plain", IMDS_TOKEN)
                .with("x-aws-ec2-metadata-token-ttl-seconds", "21600")
        }
        ("GET", _) if request.header("x-aws-ec2-metadata-token") != Some(IMDS_TOKEN) => {
            Reply::new(401, "text/plain", "Unauthorized")
        }
        (
            "GET",
            "/latest/meta-data/iam/security-credentials"
            | "/latest/meta-data/iam/security-credentials/",
        ) => Reply::new(200, "text/plain", role.name),
        ("GET", "/latest/meta-data/placement/region") => {
            Reply::new(200, "text/plain", world.region.clone())
        }
        ("GET", path)
            if path == format!("/latest/meta-data/iam/security-credentials/{}", role.name) =>
        {
            let (id, key) = world.issue(&role, "i-0123456789abcdef0", 21_600, None);
            let extra =
                json!({"Code": "Success", "Type": "AWS-HMAC", "LastUpdated": rfc3339(world.now)});
            credentials(&id, &key, extra, "AccountId", &role.account)
        }
        _ => Reply::new(404, "text/plain", "Not Found"),
    }
}

fn credentials(
    id: &str,
    key: &crate::world::Key,
    mut body: serde_json::Value,
    account_key: &str,
    account: &str,
) -> Reply {
    let Some(session) = &key.session else {
        return Reply::new(500, "text/plain", "no session");
    };
    if let Some(map) = body.as_object_mut() {
        map.insert("AccessKeyId".into(), id.into());
        map.insert("SecretAccessKey".into(), key.secret.clone().into());
        map.insert("Token".into(), session.token.clone().into());
        map.insert("Expiration".into(), rfc3339(session.expires).into());
        map.insert(account_key.into(), account.into());
    }
    Reply::json(200, &body)
}
