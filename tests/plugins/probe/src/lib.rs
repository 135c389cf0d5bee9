//! A well-formed read-only connector that does what a test tells it to.
//!
//! `validate` sends the requests of the setting `script` and returns one
//! attribute for each: what came of it. `list-objects` does what the setting
//! `behaviour` names.

mod misdeeds;
mod script;

use std::sync::Mutex;

use guest::{Attributes, Descriptor, Error, ObjectPage, Plugin, Right, Setting, error, setting};

struct Probe;

/// Upstream, group and rights beyond `read`.
const MORE: &[(&str, &str, &[&str])] = &[
    ("iam", "identities", &["iam:GetAccountAuthorizationDetails"]),
    (
        "eks",
        "provision",
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
        "provision",
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

guest::export!(Probe with_types_in guest);

static SETTINGS: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());

fn value(name: &str) -> Option<String> {
    let settings = SETTINGS.lock().ok()?;
    let found = settings.iter().find(|(key, _)| key == name)?;
    Some(found.1.clone())
}

impl Plugin for Probe {
    fn describe() -> Descriptor {
        let mut descriptor = guest::descriptor("probe");
        // All that there is beyond `read`: whether it is given is the
        // operator's to say, and what it does with it the boundary's.
        for (upstream, group, rights) in MORE {
            if let Some(found) = descriptor
                .upstreams
                .iter_mut()
                .find(|u| u.name == *upstream)
            {
                found.rights.extend(rights.iter().map(|allow| Right {
                    group: (*group).into(),
                    allow: (*allow).into(),
                }));
            }
        }
        for name in ["script", "behaviour", "canary"] {
            descriptor.settings.push(setting(name));
        }
        descriptor
    }

    fn open(settings: Vec<Setting>) -> Result<(), Error> {
        if let Ok(mut all) = SETTINGS.lock() {
            *all = settings.into_iter().map(|s| (s.name, s.value)).collect();
        }
        if value("behaviour").as_deref() == Some("panic-at-open") {
            panic!("as asked");
        }
        Ok(())
    }

    fn validate() -> Result<Attributes, Error> {
        let Some(text) = value("script") else {
            return Ok(vec![]);
        };
        let script: Vec<script::Request> = serde_json::from_str(&text)
            .map_err(|problem| error("invalid-config", format!("script: {problem}")))?;
        Ok(script
            .iter()
            .map(|request| ("outcome".to_owned(), request.send()))
            .collect())
    }

    fn list_objects(_kind: String, page: Option<String>) -> Result<ObjectPage, Error> {
        let behaviour = value("behaviour").unwrap_or_default();
        let (name, number) = behaviour.split_once(':').unwrap_or((&behaviour, "0"));
        let number = number
            .parse()
            .map_err(|_| error("invalid-config", "behaviour: NAME or NAME:NUMBER"))?;
        misdeeds::run(name, number, page)
    }
}
