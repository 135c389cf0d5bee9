//! "May I?": self access reviews and self rules reviews.

use serde_json::{Value, json};

use super::identity::Subject;
use super::rbac::{self, Attributes};
use super::status;
use super::store::Store;
use crate::http::Reply;

pub(super) fn answer(store: &Store, who: &Subject, resource: &str, body: &[u8]) -> Reply {
    let Ok(asked) = serde_json::from_slice::<Value>(body) else {
        return status(
            400,
            "BadRequest",
            "the object provided is unrecognized",
            Value::Null,
        );
    };
    let field = |pointer: &str| {
        asked
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    match resource {
        "selfsubjectaccessreviews" => {
            let sub = field("/spec/resourceAttributes/subresource");
            let plain = field("/spec/resourceAttributes/resource");
            let path = asked
                .pointer("/spec/nonResourceAttributes/path")
                .and_then(Value::as_str)
                .map(str::to_owned);
            let verb = if path.is_some() {
                field("/spec/nonResourceAttributes/verb")
            } else {
                field("/spec/resourceAttributes/verb")
            };
            let want = Attributes {
                verb,
                group: field("/spec/resourceAttributes/group"),
                resource: if sub.is_empty() {
                    plain
                } else {
                    format!("{plain}/{sub}")
                },
                namespace: field("/spec/resourceAttributes/namespace"),
                name: field("/spec/resourceAttributes/name"),
                path,
            };
            let allowed = rbac::allowed(store, who, &want);
            let spec = asked.get("spec").cloned().unwrap_or_default();
            Reply::json(
                201,
                &json!({"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "metadata": {}, "spec": spec, "status": {"allowed": allowed}}),
            )
        }
        "selfsubjectrulesreviews" => {
            let (mut resources, mut paths) = (Vec::new(), Vec::new());
            for (rule, everywhere) in rbac::held(store, who, &field("/spec/namespace")) {
                match rule.get("nonResourceURLs") {
                    Some(_) if everywhere => paths.push(rule),
                    Some(_) => {}
                    None => resources.push(rule),
                }
            }
            Reply::json(
                201,
                &json!({"kind": "SelfSubjectRulesReview", "apiVersion": "authorization.k8s.io/v1", "metadata": {}, "spec": {},
                    "status": {"resourceRules": resources, "nonResourceRules": paths, "incomplete": true,
                        "evaluationError": "webhook authorizer does not support user rule resolution"}}),
            )
        }
        _ => status(
            404,
            "NotFound",
            "the server could not find the requested resource",
            json!({}),
        ),
    }
}
