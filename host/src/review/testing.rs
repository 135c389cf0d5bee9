//! Helpers of the tests in this folder.

/// Numbers that look random and are the same in every run.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Less than `sides`.
    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 11) % sides.max(1) as u64).unwrap_or_default()
    }

    pub(crate) fn one_in(&mut self, sides: usize) -> bool {
        self.roll(sides) == 0
    }
}

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::c1z::{FileOptions, SyncType, Writer, annotations, pb};

pub(crate) const ACCOUNT: &str = "111122223333";

pub(crate) fn user(name: &str) -> String {
    format!("arn:aws:iam::{ACCOUNT}:user/{name}")
}

pub(crate) fn iam(name: &str) -> String {
    format!("arn:aws:iam::{ACCOUNT}:role/{name}")
}

pub(crate) fn policy_arn(name: &str) -> String {
    format!("arn:aws:eks::aws:cluster-access-policy/{name}")
}

/// A file in the making.
#[derive(Default, Clone)]
pub(crate) struct Sketch {
    resources: Vec<pb::Resource>,
    grants: Vec<pb::Grant>,
    evidence: Vec<Value>,
}

fn id(kind: &str, id: &str) -> pb::ResourceId {
    pb::ResourceId {
        resource_type: kind.into(),
        resource: id.into(),
        ..Default::default()
    }
}

fn traits(kind: &str) -> Vec<i32> {
    use pb::resource_type::Trait;
    match kind {
        "iam_user" | "sso_user" | "service_account" | "kube_user" | "person" => {
            vec![Trait::User.into()]
        }
        "group" | "sso_group" | "kube_group" | "team" => vec![Trait::Group.into()],
        "role" | "cluster_role" | "namespace_role" | "access_policy" => vec![Trait::Role.into()],
        _ => vec![],
    }
}

impl Sketch {
    /// A file of the cluster `name`.
    pub(crate) fn cluster(name: &str) -> Sketch {
        Sketch::cluster_of(ACCOUNT, name)
    }

    /// The same in any account.
    pub(crate) fn cluster_of(account: &str, name: &str) -> Sketch {
        Sketch {
            evidence: vec![json!({
                "type": "cluster", "authentication_mode": "API",
                "arn": format!("arn:aws:eks:eu-west-1:{account}:cluster/{name}"),
            })],
            ..Sketch::default()
        }
    }

    pub(crate) fn evidence(&mut self, piece: Value) -> &mut Sketch {
        self.evidence.push(piece);
        self
    }

    pub(crate) fn row(&mut self, kind: &str, name: &str, profile: Value) -> &mut Sketch {
        let profile = profile.as_object().map(annotations::profile);
        let text = |value: &Option<prost_types::Struct>, key: &str| {
            let json = value.as_ref().map(annotations::json).unwrap_or_default();
            json.get(key)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let (login, display) = (text(&profile, "login"), text(&profile, "display"));
        let annotation = match traits(kind).first() {
            Some(1) => annotations::pack(&pb::UserTrait {
                profile,
                login,
                ..Default::default()
            }),
            Some(2) => annotations::pack(&pb::GroupTrait {
                profile,
                ..Default::default()
            }),
            _ => annotations::pack(&pb::RoleTrait {
                profile,
                ..Default::default()
            }),
        };
        self.resources.push(pb::Resource {
            id: Some(id(kind, name)),
            display_name: if display.is_empty() {
                name.rsplit('/').next().unwrap_or(name).to_owned()
            } else {
                display
            },
            annotations: vec![annotation],
            ..Default::default()
        });
        self
    }

    /// An account that is disabled.
    pub(crate) fn disabled(&mut self, kind: &str, name: &str) -> &mut Sketch {
        let status = pb::user_trait::Status {
            status: pb::user_trait::status::Status::Disabled.into(),
            ..Default::default()
        };
        self.resources.push(pb::Resource {
            id: Some(id(kind, name)),
            annotations: vec![annotations::pack(&pb::UserTrait {
                status: Some(status),
                ..Default::default()
            })],
            ..Default::default()
        });
        self
    }

    /// `on` and `who` as (kind, id); `more` holds metadata and `expand`.
    pub(crate) fn grant(
        &mut self,
        on: (&str, &str),
        slug: &str,
        who: (&str, &str),
        more: Value,
    ) -> &mut Sketch {
        let mut annotations = Vec::new();
        let entitlement = format!("{}:{}:{slug}", on.0, on.1);
        if let Some(expand) = more.get("expand") {
            let texts = |key: &str| -> Vec<String> {
                let list = expand
                    .get(key)
                    .and_then(Value::as_array)
                    .cloned()
                    .unwrap_or_default();
                list.iter()
                    .filter_map(|v| v.as_str().map(str::to_owned))
                    .collect()
            };
            annotations.push(annotations::pack(&pb::GrantExpandable {
                entitlement_ids: texts("through"),
                shallow: expand.get("shallow") == Some(&json!(true)),
                resource_type_ids: texts("kinds"),
            }));
        }
        if more.get("certainty").is_some() {
            annotations.push(annotations::pack(&pb::GrantMetadata {
                metadata: more.as_object().map(annotations::profile),
            }));
        }
        let sources = more
            .get("sources")
            .and_then(Value::as_array)
            .map(|list| pb::GrantSources {
                sources: list
                    .iter()
                    .filter_map(|source| Some((source.as_str()?.to_owned(), Default::default())))
                    .collect(),
            });
        self.grants.push(pb::Grant {
            id: format!("{entitlement}:{}:{}", who.0, who.1),
            entitlement: Some(pb::Entitlement {
                id: entitlement,
                resource: Some(pb::Resource {
                    id: Some(id(on.0, on.1)),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            principal: Some(pb::Resource {
                id: Some(id(who.0, who.1)),
                ..Default::default()
            }),
            annotations,
            sources,
        });
        self
    }

    /// A grant of a cluster's role to an IAM role, which its members inherit.
    pub(crate) fn bind_role(
        &mut self,
        on: (&str, &str),
        slug: &str,
        arn: &str,
        metadata: Value,
    ) -> &mut Sketch {
        let mut more = metadata;
        more["expand"] = json!({"through": [format!("role:{arn}:assignment")]});
        self.grant(on, slug, ("role", arn), more)
    }

    pub(crate) fn write(&self, path: &Path) {
        let mut writer = Writer::open(path, SyncType::Full, &FileOptions::default()).unwrap();
        let resources = self.resources.iter().filter_map(|r| r.id.as_ref());
        let kinds: BTreeSet<String> = resources.map(|id| id.resource_type.clone()).collect();
        for kind in kinds {
            let traits = traits(&kind);
            writer
                .put_resource_type(&pb::ResourceType {
                    id: kind,
                    traits,
                    ..Default::default()
                })
                .unwrap();
        }
        for row in &self.resources {
            writer.put_resource(row).unwrap();
        }
        for grant in &self.grants {
            writer.put_grant(grant.clone()).unwrap();
        }
        if !self.evidence.is_empty() {
            let text = json!({"version": 1, "ended": "2026-01-02T03:04:05Z",
                "plugin": {"name": "baton-eks", "version": "1"}, "evidence": self.evidence});
            writer
                .put_asset(
                    crate::sync::EVIDENCE_ASSET,
                    "application/json",
                    text.to_string().as_bytes(),
                )
                .unwrap();
        }
        writer.finish().unwrap();
    }

    pub(crate) fn load(&self) -> super::model::Model {
        load(&[self])
    }
}

/// Several sketches as one model.
pub(crate) fn load(sketches: &[&Sketch]) -> super::model::Model {
    let folder = tempfile::tempdir().unwrap();
    let sources: Vec<super::Source> = sketches
        .iter()
        .enumerate()
        .map(|(n, sketch)| {
            let path: PathBuf = folder.path().join(format!("{n}.c1z"));
            sketch.write(&path);
            super::Source::from(path.as_path())
        })
        .collect();
    super::load(&sources, &FileOptions::default()).unwrap()
}

/// A small cluster with one of every kind of chain.
pub(crate) fn company() -> Sketch {
    let mut s = Sketch::cluster("prod");
    let rules = |verbs: &[&str], resources: &[&str]| json!({"rules": [{"apiGroups": [""], "resources": resources, "verbs": verbs}]});
    let sso = format!(
        "arn:aws:iam::{ACCOUNT}:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Ops_0123456789abcdef"
    );
    s.row("iam_user", &user("bob"), json!({}))
        .row("iam_user", &user("eve"), json!({}))
        .row("group", &format!("arn:aws:iam::{ACCOUNT}:group/platform"), json!({}))
        .row("sso_user", "arn:aws:identitystore:eu-west-1::d-1/user/ann", json!({"login": "ann@corp", "display": "Ann"}))
        .row("sso_user", "arn:aws:identitystore:eu-west-1::d-1/user/joe", json!({"login": "joe@corp", "display": "Joe"}))
        .row("sso_group", "arn:aws:identitystore:eu-west-1::d-1/group/ops", json!({"display": "ops"}))
        .row("role", &iam("deploy"), json!({"arn": iam("deploy")}))
        .row("role", &sso, json!({"permission_set": "Ops"}))
        .row("service_account", "dev/ci", json!({}))
        .row("service_account", "*", json!({}))
        .row("cluster_role", "cluster-admin", json!({"rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]}))
        .row("cluster_role", "view", rules(&["get", "list"], &["pods"]))
        .row("cluster_role", "mystery", json!({}))
        .row("namespace_role", "dev/secrets", json!({"rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"], "resourceNames": ["tls"]}]}))
        .row("access_policy", &policy_arn("AmazonEKSEditPolicy"), json!({}))
        .row("kube_group", "system:authenticated", json!({}));
    let group = format!("arn:aws:iam::{ACCOUNT}:group/platform");
    let certain = |path: Value| json!({"certainty": "certain", "paths": [path], "path_count": 1});
    s.grant(("group", &group), "member", ("iam_user", &user("bob")), json!({}))
        .grant(("role", &iam("deploy")), "assignment", ("iam_user", &user("eve")), json!({"certainty": "conditional", "paths": [{"via": "trust", "conditions": "with MFA"}], "path_count": 1}))
        .grant(("role", &iam("deploy")), "assignment", ("group", &group), json!({"certainty": "conditional", "paths": [{"via": "trust"}]}))
        .grant(("role", &iam("deploy")), "assignment", ("service_account", "dev/ci"), certain(json!({"via": "irsa"})))
        .grant(("role", &sso), "assignment", ("sso_group", "arn:aws:identitystore:eu-west-1::d-1/group/ops"), json!({"expand": {"through": ["sso_group:arn:aws:identitystore:eu-west-1::d-1/group/ops:member"]}}))
        .grant(("sso_group", "arn:aws:identitystore:eu-west-1::d-1/group/ops"), "member", ("sso_user", "arn:aws:identitystore:eu-west-1::d-1/user/ann"), json!({}))
        .grant(("sso_group", "arn:aws:identitystore:eu-west-1::d-1/group/ops"), "member", ("sso_user", "arn:aws:identitystore:eu-west-1::d-1/user/joe"), json!({}))
        .bind_role(("cluster_role", "cluster-admin"), "all:member", &sso, json!({"certainty": "session", "path_count": 1, "paths": [{"via": "access-entry", "mapping": format!("access entry {sso}"), "binding": "ann-admin", "session": "ann-corp"}]}))
        .bind_role(("access_policy", &policy_arn("AmazonEKSEditPolicy")), "assigned:dev", &iam("deploy"), certain(json!({"via": "access-policy", "mapping": format!("access entry {}", iam("deploy")), "scope": "dev"})))
        .bind_role(("cluster_role", "view"), "dev:member", &iam("deploy"), certain(json!({"via": "access-entry", "mapping": format!("access entry {}", iam("deploy")), "group": "devs", "binding": "dev/readers"})))
        .grant(("namespace_role", "dev/secrets"), "member", ("service_account", "dev/ci"), certain(json!({"via": "binding", "binding": "dev/tls"})))
        .grant(("cluster_role", "mystery"), "all:member", ("iam_user", &user("eve")), certain(json!({"via": "aws-auth", "mapping": "mapUsers line 2", "binding": "m"})))
        .grant(("cluster_role", "view"), "all:member", ("kube_group", "system:authenticated"), certain(json!({"via": "binding", "binding": "everyone"})));
    s
}
