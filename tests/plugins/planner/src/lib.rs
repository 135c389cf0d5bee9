//! A connector that plans whatever a test asks for.
//!
//! The setting `plans` is a list of plans with a condition each: the first
//! whose condition holds is returned. A condition is a request and the status
//! it must answer, because every call gets a fresh store and nothing else is
//! remembered. The setting `behaviour` names what no plan can say: `more` never
//! decides, `many:N` plans N changes, `spin` never returns, `trap` ends badly.

mod request;

use std::sync::Mutex;

use guest::{
    Attributes, Change, Descriptor, Entitlement, Error, Grant, KindSpec, Object, ObjectId,
    ObjectPage, Plan, Plugin, Right, Setting, UndoStep, error, page, setting,
};
use serde::Deserialize;

struct Planner;

guest::export!(Planner with_types_in guest);

static SETTINGS: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());

fn value(name: &str) -> Option<String> {
    let settings = SETTINGS.lock().ok()?;
    let found = settings.iter().find(|(key, _)| key == name)?;
    Some(found.1.clone())
}

/// Kind and what the registry calls it: `access` or `principal`.
const KINDS: [(&str, &str, &str, &str); 6] = [
    ("cluster_role", "role", "access", "kubernetes-cluster-role"),
    ("namespace_role", "role", "access", "kubernetes-role"),
    ("access_policy", "role", "access", "eks-access-policy"),
    ("iam_user", "user", "principal", "aws-iam-user"),
    ("role", "role", "principal", "aws-iam-role"),
    (
        "service_account",
        "user",
        "principal",
        "kubernetes-service-account",
    ),
];

/// All of the group `provision`, by upstream.
const RIGHTS: [(&str, &[&str]); 2] = [
    (
        "eks",
        &[
            "eks:CreateAccessEntry",
            "eks:UpdateAccessEntry",
            "eks:DeleteAccessEntry",
            "eks:AssociateAccessPolicy",
            "eks:DisassociateAccessPolicy",
            "eks:TagResource",
        ],
    ),
    (
        "kubernetes",
        &[
            "create rbac.authorization.k8s.io/rolebindings",
            "patch rbac.authorization.k8s.io/rolebindings",
            "delete rbac.authorization.k8s.io/rolebindings",
            "create rbac.authorization.k8s.io/clusterrolebindings",
            "patch rbac.authorization.k8s.io/clusterrolebindings",
            "delete rbac.authorization.k8s.io/clusterrolebindings",
            "create configmaps kube-system/aws-auth",
            "update configmaps kube-system/aws-auth",
        ],
    ),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlanText {
    /// Upstream, path, and the status that a GET must answer.
    when: Option<(String, String, u16)>,
    #[serde(default)]
    changes: Vec<ChangeText>,
    #[serde(default)]
    attributes: Attributes,
    /// Kind and message of an error in place of a plan.
    error: Option<(String, String)>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangeText {
    upstream: String,
    method: String,
    path: String,
    body: Option<String>,
    #[serde(default)]
    summary: String,
    /// Method, path and body.
    #[serde(default)]
    undo: Vec<(String, String, Option<String>)>,
    #[serde(default)]
    attributes: Attributes,
}

impl From<ChangeText> for Change {
    fn from(text: ChangeText) -> Change {
        Change {
            upstream: text.upstream,
            method: text.method,
            path: text.path,
            body: text.body,
            summary: text.summary,
            undo: text
                .undo
                .into_iter()
                .map(|(method, path, body)| UndoStep { method, path, body })
                .collect(),
            attributes: text.attributes,
        }
    }
}

fn read<T: for<'a> Deserialize<'a> + Default>(name: &str) -> Result<T, Error> {
    value(name).map_or_else(
        || Ok(T::default()),
        |text| {
            serde_json::from_str(&text)
                .map_err(|problem| error("invalid-config", format!("{name}: {problem}")))
        },
    )
}

fn id(kind: &str, id: &str) -> ObjectId {
    ObjectId {
        kind: kind.into(),
        id: id.into(),
    }
}

impl Plugin for Planner {
    fn describe() -> Descriptor {
        let mut descriptor = guest::descriptor("planner");
        for (name, rights) in RIGHTS {
            for upstream in &mut descriptor.upstreams {
                if upstream.name == name {
                    upstream.rights.extend(rights.iter().map(|allow| Right {
                        group: "provision".into(),
                        allow: (*allow).into(),
                    }));
                }
            }
        }
        descriptor.kinds = KINDS
            .iter()
            .map(|(name, kind, key, meaning)| KindSpec {
                name: (*name).into(),
                traits: vec![(*kind).into()],
                capabilities: vec!["sync".into(), "provision".into()],
                attributes: vec![
                    ("display-name".into(), (*name).into()),
                    ((*key).into(), (*meaning).into()),
                ],
            })
            .collect();
        for name in ["plans", "behaviour", "objects", "entitlements", "grants"] {
            descriptor.settings.push(setting(name));
        }
        descriptor
    }

    fn open(settings: Vec<Setting>) -> Result<(), Error> {
        if let Ok(mut all) = SETTINGS.lock() {
            *all = settings.into_iter().map(|s| (s.name, s.value)).collect();
        }
        Ok(())
    }

    fn list_objects(kind: String, _page: Option<String>) -> Result<ObjectPage, Error> {
        let all: Vec<(String, String)> = read("objects")?;
        let objects = all.into_iter().filter(|(k, _)| *k == kind);
        Ok(page(
            objects
                .map(|(kind, name)| Object {
                    id: id(&kind, &name),
                    parent: None,
                    display_name: name,
                    profile: None,
                    attributes: vec![],
                })
                .collect(),
        ))
    }

    fn list_entitlements(kind: String) -> Result<Vec<Entitlement>, Error> {
        let all: Vec<(String, String, String)> = read("entitlements")?;
        let all = all.into_iter().filter(|(k, _, _)| *k == kind);
        Ok(all
            .map(|(kind, name, slug)| Entitlement {
                on: id(&kind, &name),
                display_name: slug.clone(),
                slug,
                purpose: "permission".into(),
                grantable_to: ["iam_user", "role", "service_account"]
                    .map(str::to_owned)
                    .into(),
                attributes: vec![],
            })
            .collect())
    }

    fn list_grants(kind: String) -> Result<Vec<Grant>, Error> {
        let all: Vec<(String, String, String, String, String)> = read("grants")?;
        let all = all.into_iter().filter(|(k, ..)| *k == kind);
        Ok(all
            .map(|(kind, name, slug, principal, who)| Grant {
                on: id(&kind, &name),
                slug,
                principal: id(&principal, &who),
                attributes: vec![],
            })
            .collect())
    }

    fn plan(_wish: Grant, _revoke: bool) -> Result<Plan, Error> {
        let behaviour = value("behaviour").unwrap_or_default();
        let (name, number) = behaviour.split_once(':').unwrap_or((&behaviour, "0"));
        let plans: Vec<PlanText> = read("plans")?;
        let nothing = |attributes: Attributes| Plan {
            changes: vec![],
            attributes,
        };
        match name {
            "more" => return Ok(nothing(vec![("more".into(), "true".into())])),
            "spin" => loop {
                std::hint::black_box(());
            },
            "trap" => std::process::abort(),
            _ => {}
        }
        for plan in plans {
            let holds = match &plan.when {
                None => true,
                Some((upstream, path, status)) => request::status(upstream, path)? == *status,
            };
            if !holds {
                continue;
            }
            if let Some((kind, message)) = plan.error {
                return Err(error(&kind, message));
            }
            let mut changes: Vec<Change> = plan.changes.into_iter().map(Change::from).collect();
            if name == "many" {
                let times = number
                    .parse()
                    .map_err(|_| error("invalid-config", "behaviour: many:NUMBER"))?;
                changes = changes.iter().cycle().take(times).cloned().collect();
            }
            return Ok(Plan {
                changes,
                attributes: plan.attributes,
            });
        }
        Ok(nothing(vec![]))
    }
}
