//! What an upstream's answer to a change means: done, plan again, wait, or no.
//!
//! A refusal is said in words that a person can act on: which verb on which
//! role this identity lacks, and the line that gives it.

use serde_json::Value;

use crate::upstream::Reply;
use crate::upstream::operation::write::Write;
use crate::upstream::rights::Kind;

/// The webhook that EKS puts before `aws-auth`.
const WEBHOOK: &str = "eks-aws-auth-configmap-validation-webhook";
/// RBAC's escalation check.
const ESCALATION: &str = "attempting to grant RBAC permissions not currently held";

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is done.
    Done,
    /// Somebody was faster: plan again.
    Conflict(String),
    /// EKS does not know yet what IAM or EKS itself just made.
    NotYet(String),
    /// This identity may not.
    NotPermitted {
        /// What it lacks.
        sentence: String,
        /// The line that gives it.
        hint: String,
    },
    /// The change itself is refused.
    Refused(String),
    /// Not now.
    Unavailable(String),
}

/// Reads an answer. `created`: this order made the principal's access entry.
/// `bound`: the binding that changes, as it was read.
pub fn verdict(write: &Write, bound: Option<&Value>, reply: &Reply, created: bool) -> Verdict {
    if reply.is_success() {
        return Verdict::Done;
    }
    match write.kind() {
        Kind::Cluster => kubernetes(write, bound, reply),
        Kind::Eks | Kind::Iam => eks(write, reply, created),
    }
}

fn said(reply: &Reply) -> String {
    let message = crate::sandbox::clean(reply.message(), 600);
    match message.is_empty() {
        true => format!("status {}", reply.status),
        false => message,
    }
}

fn eks(write: &Write, reply: &Reply, created: bool) -> Verdict {
    let (code, message) = (reply.code(), reply.message());
    let words = write.words();
    if reply.status == 400 && message.contains("invalid principal.") {
        return Verdict::NotYet(format!(
            "EKS does not know the principal (yet); if it stays so, check its ARN and that it exists: {}",
            said(reply)
        ));
    }
    if reply.status == 404 && created && matches!(write, Write::Associate { .. }) {
        return Verdict::NotYet(format!(
            "EKS does not find the access entry that was just created: {}",
            said(reply)
        ));
    }
    match (reply.status, code) {
        (403, "AccessDeniedException" | "AccessDenied") => {
            // Tags on a new entry are asked for separately.
            let action = match message.contains("eks:TagResource") {
                true => "eks:TagResource",
                false => words,
            };
            Verdict::NotPermitted {
                sentence: format!(
                    "AWS does not let this identity do `{action}`: {}",
                    said(reply)
                ),
                hint: format!(
                    "add \"{action}\" to the policy of the role as `baton-host permissions --provisioning` prints it"
                ),
            }
        }
        (401 | 403, _) => Verdict::NotPermitted {
            sentence: format!(
                "AWS does not take this identity's request: {code}: {}",
                said(reply)
            ),
            hint: "look at the credentials with `baton-host check`".to_owned(),
        },
        (409 | 412, _) | (_, "ResourceInUseException") => Verdict::Conflict(said(reply)),
        (404, _) if !matches!(write, Write::CreateEntry(_)) => Verdict::Conflict(said(reply)),
        (429, _) => Verdict::Unavailable(format!("EKS is throttling `{words}`: {}", said(reply))),
        _ => Verdict::Refused(format!("EKS refuses `{words}`: {}", said(reply))),
    }
}

fn kubernetes(write: &Write, bound: Option<&Value>, reply: &Reply) -> Verdict {
    let (status, message) = (reply.status, reply.message());
    let words = write.words();
    if message.contains(WEBHOOK) {
        let why = message.rsplit_once("denied the request:");
        let why = why.map_or(message, |(_, why)| why).trim();
        return Verdict::Refused(format!(
            "the cluster's own check of aws-auth ({WEBHOOK}) refuses our change: {}",
            crate::sandbox::clean(why, 600)
        ));
    }
    if message.contains("admission webhook") {
        return Verdict::Refused(format!(
            "an admission webhook of the cluster refuses `{words}`: {}",
            said(reply)
        ));
    }
    match status {
        401 => Verdict::NotPermitted {
            sentence: "the API server does not know this identity".to_owned(),
            hint: "give it an access entry; `baton-host permissions --provisioning` prints the command"
                .to_owned(),
        },
        403 => forbidden(write, bound, reply),
        409 | 412 => Verdict::Conflict(said(reply)),
        404 => Verdict::Conflict(said(reply)),
        // A test of a JSON patch that fails.
        422 if matches!(write, Write::PatchBinding { .. }) => Verdict::Conflict(said(reply)),
        429 => Verdict::Unavailable(format!("the API server is throttling `{words}`: {}", said(reply))),
        _ => Verdict::Refused(format!("the API server refuses `{words}`: {}", said(reply))),
    }
}

/// The role of a binding: kind, name.
fn role(write: &Write, bound: Option<&Value>) -> Option<(String, String)> {
    let object = match write {
        Write::CreateBinding { object, .. } => object,
        _ => bound?,
    };
    let text = |name: &str| {
        let value = object.get("roleRef").and_then(|role| role.get(name));
        value.and_then(Value::as_str).map(str::to_owned)
    };
    Some((text("kind")?, text("name")?))
}

fn forbidden(write: &Write, bound: Option<&Value>, reply: &Reply) -> Verdict {
    let words = write.words();
    let place = match write {
        Write::CreateBinding { place, .. }
        | Write::DeleteBinding { place, .. }
        | Write::PatchBinding { place, .. } => Some(place),
        _ => None,
    };
    let within = match place.map(|place| place.namespace.as_deref()) {
        Some(Some(namespace)) => format!("in namespace {namespace}"),
        Some(None) => "in the whole cluster".to_owned(),
        None => "in namespace kube-system".to_owned(),
    };
    if reply.message().contains(ESCALATION) {
        let (resource, names, called) = match role(write, bound) {
            Some((kind, name)) => {
                let resource = if kind == "Role" {
                    "roles"
                } else {
                    "clusterroles"
                };
                let called = format!("{resource}/{name}");
                (
                    resource,
                    format!(", resourceNames: [{}]", quoted(&name)),
                    called,
                )
            }
            None => (
                "clusterroles",
                String::new(),
                "the role of that binding".to_owned(),
            ),
        };
        return Verdict::NotPermitted {
            sentence: format!(
                "this identity lacks the verb `bind` on {called} {within}: Kubernetes lets only those write a binding who hold all of its role themselves or may `bind` it"
            ),
            hint: format!(
                "add this rule: - {{apiGroups: [rbac.authorization.k8s.io], resources: [{resource}]{names}, verbs: [bind]}}"
            ),
        };
    }
    let (verb, rest) = words.split_once(' ').unwrap_or((words, ""));
    let (resource, object) = rest.split_once(' ').unwrap_or((rest, ""));
    let (group, resource) = resource.split_once('/').unwrap_or(("", resource));
    let name = object.rsplit_once('/').map(|(_, name)| name);
    // RBAC cannot restrict a create to a name.
    let names = name
        .filter(|_| verb != "create")
        .map(|name| format!(", resourceNames: [{name}]"))
        .unwrap_or_default();
    Verdict::NotPermitted {
        sentence: format!(
            "this identity lacks the verb `{verb}` on {resource}{} {within}: {}",
            name.map(|name| format!("/{name}")).unwrap_or_default(),
            said(reply)
        ),
        hint: format!(
            "add this rule: - {{apiGroups: [{}], resources: [{resource}]{names}, verbs: [{verb}]}}",
            if group.is_empty() { "\"\"" } else { group }
        ),
    }
}

/// A scalar of YAML.
fn quoted(name: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    match name.bytes().all(plain) && name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        true => name.to_owned(),
        false => Value::from(name).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::operation::write::{Place, Scope};
    use serde_json::json;

    fn binding(namespace: Option<&str>, kind: &str, name: &str) -> Write {
        Write::CreateBinding {
            place: Place {
                namespace: namespace.map(str::to_owned),
                name: "baton-host-x".to_owned(),
            },
            object: json!({"roleRef": {"kind": kind, "name": name}}),
        }
    }

    fn status(code: u16, message: &str) -> Reply {
        Reply {
            status: code,
            body: json!({"kind": "Status", "code": code, "message": message}),
        }
    }

    fn denied(write: &Write, reply: &Reply) -> (String, String) {
        match verdict(write, None, reply, false) {
            Verdict::NotPermitted { sentence, hint } => (sentence, hint),
            other => (format!("{other:?}"), String::new()),
        }
    }

    #[test]
    fn the_escalation_check_names_verb_role_and_place() {
        let message = "rolebindings.rbac.authorization.k8s.io \"x\" is forbidden: user \"u\" (groups=[\"g\"]) is attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"get\"]}";
        let (sentence, hint) = denied(
            &binding(Some("dev"), "ClusterRole", "view"),
            &status(403, message),
        );
        assert!(sentence.starts_with(
            "this identity lacks the verb `bind` on clusterroles/view in namespace dev"
        ));
        assert_eq!(
            hint,
            "add this rule: - {apiGroups: [rbac.authorization.k8s.io], resources: [clusterroles], resourceNames: [view], verbs: [bind]}"
        );
        let (sentence, hint) = denied(&binding(None, "Role", "a:b c"), &status(403, message));
        assert!(sentence.contains("roles/a:b c in the whole cluster"));
        assert!(hint.contains("resourceNames: [\"a:b c\"]"));
        // A subject taken out of somebody's binding asks the same.
        let patch = Write::PatchBinding {
            place: Place {
                namespace: Some("dev".to_owned()),
                name: "theirs".to_owned(),
            },
            patch: Vec::new(),
        };
        let bound = json!({"roleRef": {"kind": "Role", "name": "deployer"}});
        let verdict = verdict(&patch, Some(&bound), &status(403, message), false);
        assert!(
            matches!(verdict, Verdict::NotPermitted { sentence, .. } if sentence.contains("roles/deployer in namespace dev"))
        );
    }

    #[test]
    fn a_plain_refusal_names_verb_and_resource() {
        let message = "rolebindings.rbac.authorization.k8s.io is forbidden: User \"u\" cannot create resource";
        let (sentence, hint) = denied(
            &binding(Some("dev"), "ClusterRole", "view"),
            &status(403, message),
        );
        assert!(
            sentence.starts_with(
                "this identity lacks the verb `create` on rolebindings in namespace dev"
            )
        );
        assert!(hint.ends_with(
            "{apiGroups: [rbac.authorization.k8s.io], resources: [rolebindings], verbs: [create]}"
        ));
        let update = Write::ReplaceAwsAuth { object: json!({}) };
        let (sentence, hint) = denied(&update, &status(403, "no"));
        assert!(sentence.starts_with(
            "this identity lacks the verb `update` on configmaps/aws-auth in namespace kube-system"
        ));
        assert!(hint.ends_with("{apiGroups: [\"\"], resources: [configmaps], resourceNames: [aws-auth], verbs: [update]}"));
    }

    #[test]
    fn the_webhook_of_aws_auth_speaks_as_the_cluster() {
        let update = Write::ReplaceAwsAuth { object: json!({}) };
        let message =
            format!("admission webhook \"{WEBHOOK}.amazonaws.com\" denied the request: bad arn");
        let Verdict::Refused(sentence) = verdict(&update, None, &status(403, &message), false)
        else {
            unreachable!("a refusal")
        };
        assert_eq!(
            sentence,
            format!("the cluster's own check of aws-auth ({WEBHOOK}) refuses our change: bad arn")
        );
    }

    #[test]
    fn what_eks_does_not_know_yet_is_waited_for() {
        let aws = |status, code: &str, message: &str| Reply {
            status,
            body: json!({"code": code, "message": message}),
        };
        let associate = Write::Associate {
            principal: "p".to_owned(),
            policy: "q".to_owned(),
            scope: Scope::Cluster,
        };
        let gone = aws(
            404,
            "ResourceNotFoundException",
            "The specified principalArn could not be found.",
        );
        assert!(matches!(
            verdict(&associate, None, &gone, true),
            Verdict::NotYet(_)
        ));
        assert!(matches!(
            verdict(&associate, None, &gone, false),
            Verdict::Conflict(_)
        ));
        let invalid = aws(
            400,
            "InvalidParameterException",
            "The specified principalArn is invalid: invalid principal.",
        );
        assert!(matches!(
            verdict(&associate, None, &invalid, false),
            Verdict::NotYet(_)
        ));
        let denied = aws(
            403,
            "AccessDeniedException",
            "User x is not authorized to perform: eks:AssociateAccessPolicy",
        );
        let Verdict::NotPermitted { sentence, hint } = verdict(&associate, None, &denied, false)
        else {
            unreachable!("not permitted")
        };
        assert!(sentence.contains("`eks:AssociateAccessPolicy`"));
        assert!(hint.contains("permissions --provisioning"));
        let tags = aws(
            403,
            "AccessDeniedException",
            "not authorized to perform: eks:TagResource on x",
        );
        let Verdict::NotPermitted { hint, .. } = verdict(&associate, None, &tags, false) else {
            unreachable!("not permitted")
        };
        assert!(hint.contains("eks:TagResource"));
    }
}
