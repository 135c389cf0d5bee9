//! What all test components share: the bindings, and a connector whose every
//! answer is honest and empty until a test component overrides it.
//!
//! The bindings are generated here, not taken from a client library, so that a
//! component can say what no honest library would.

#[cfg(not(feature = "provision"))]
wit_bindgen::generate!({
    path: "../../../wit",
    world: "connector",
    generate_all,
    pub_export_macro: true,
    default_bindings_module: "guest",
});

#[cfg(feature = "provision")]
wit_bindgen::generate!({
    path: "../../../wit",
    world: "provisioning-connector",
    generate_all,
    pub_export_macro: true,
    default_bindings_module: "guest",
});

pub use baton::connector::types::*;
#[cfg(feature = "provision")]
pub use exports::baton::connector::provision::Plan;
pub use exports::baton::connector::sync::{EntitlementPage, GrantPage, ObjectPage};

use exports::baton::connector::{metadata, session, sync};

/// One test component.
pub trait Plugin {
    fn describe() -> Descriptor {
        descriptor("test")
    }
    fn open(_settings: Vec<Setting>) -> Result<(), Error> {
        Ok(())
    }
    fn validate() -> Result<Attributes, Error> {
        Ok(vec![])
    }
    fn list_objects(_kind: String, _page: Option<String>) -> Result<ObjectPage, Error> {
        Ok(page(vec![]))
    }
    fn list_entitlements(_kind: String) -> Result<Vec<Entitlement>, Error> {
        Ok(vec![])
    }
    fn list_grants(_kind: String) -> Result<Vec<Grant>, Error> {
        Ok(vec![])
    }
    #[cfg(feature = "provision")]
    fn plan(wish: Grant, revoke: bool) -> Result<Plan, Error>;
}

impl<T: Plugin> metadata::Guest for T {
    fn describe() -> Descriptor {
        <T as Plugin>::describe()
    }
}

impl<T: Plugin> session::Guest for T {
    fn open(settings: Vec<Setting>) -> Result<(), Error> {
        <T as Plugin>::open(settings)
    }
}

impl<T: Plugin> sync::Guest for T {
    fn validate() -> Result<Attributes, Error> {
        <T as Plugin>::validate()
    }
    fn list_objects(
        kind: String,
        _parent: Option<ObjectId>,
        page: Option<String>,
    ) -> Result<ObjectPage, Error> {
        <T as Plugin>::list_objects(kind, page)
    }
    fn list_entitlements(kind: String, _page: Option<String>) -> Result<EntitlementPage, Error> {
        Ok(EntitlementPage {
            items: <T as Plugin>::list_entitlements(kind)?,
            next: None,
            attributes: vec![],
        })
    }
    fn list_grants(kind: String, _page: Option<String>) -> Result<GrantPage, Error> {
        Ok(GrantPage {
            items: <T as Plugin>::list_grants(kind)?,
            next: None,
            attributes: vec![],
        })
    }
}

#[cfg(feature = "provision")]
impl<T: Plugin> exports::baton::connector::provision::Guest for T {
    fn plan_grant(wish: Grant) -> Result<Plan, Error> {
        <T as Plugin>::plan(wish, false)
    }
    fn plan_revoke(wish: Grant) -> Result<Plan, Error> {
        <T as Plugin>::plan(wish, true)
    }
}

/// The last page.
pub fn page(items: Vec<Object>) -> ObjectPage {
    ObjectPage {
        items,
        next: None,
        attributes: vec![],
    }
}

/// A plain object of the kind `thing`.
pub fn thing(id: &str) -> Object {
    Object {
        id: ObjectId {
            kind: "thing".into(),
            id: id.into(),
        },
        parent: None,
        display_name: id.into(),
        profile: None,
        attributes: vec![],
    }
}

pub fn error(kind: &str, message: impl Into<String>) -> Error {
    Error {
        kind: kind.into(),
        message: message.into(),
        retry_after_ms: None,
        attributes: vec![],
    }
}

pub fn setting(name: &str) -> SettingSpec {
    SettingSpec {
        name: name.into(),
        kind: "string".into(),
        required: false,
        attributes: vec![("description".into(), "for tests".into())],
    }
}

/// A well-formed descriptor with the three upstreams of an EKS connector and
/// all rights of the group `read`.
pub fn descriptor(name: &str) -> Descriptor {
    let upstream =
        |name: &str, kind: &str, rights: &[&str], attributes: &[(&str, &str)]| Upstream {
            name: name.into(),
            kind: kind.into(),
            rights: rights
                .iter()
                .map(|allow| Right {
                    group: "read".into(),
                    allow: (*allow).into(),
                })
                .collect(),
            attributes: attributes
                .iter()
                .map(|(key, value)| ((*key).into(), (*value).into()))
                .collect(),
        };
    let (region, cluster) = (
        ("region-setting", "eks-region"),
        ("cluster-setting", "eks-cluster-name"),
    );
    Descriptor {
        name: name.into(),
        version: env!("CARGO_PKG_VERSION").into(),
        settings: vec![setting("eks-region"), setting("eks-cluster-name")],
        kinds: vec![KindSpec {
            name: "thing".into(),
            traits: vec!["user".into()],
            capabilities: vec!["sync".into()],
            attributes: vec![("display-name".into(), "Thing".into())],
        }],
        upstreams: vec![
            upstream(
                "eks",
                "aws",
                &[
                    "eks:DescribeCluster",
                    "eks:ListAccessEntries",
                    "eks:DescribeAccessEntry",
                    "eks:ListAccessPolicies",
                    "eks:ListAssociatedAccessPolicies",
                    "eks:ListPodIdentityAssociations",
                    "eks:DescribePodIdentityAssociation",
                ],
                &[("service", "eks"), region, cluster],
            ),
            upstream(
                "iam",
                "aws",
                &["iam:ListRoles"],
                &[("service", "iam"), region],
            ),
            upstream(
                "kubernetes",
                "eks-cluster",
                &[
                    "list namespaces",
                    "list serviceaccounts",
                    "list configmaps",
                    "list rbac.authorization.k8s.io/roles",
                    "list rbac.authorization.k8s.io/clusterroles",
                    "list rbac.authorization.k8s.io/rolebindings",
                    "list rbac.authorization.k8s.io/clusterrolebindings",
                    "get configmaps kube-system/aws-auth",
                ],
                &[region, cluster],
            ),
        ],
        attributes: vec![("display-name".into(), "Test".into())],
    }
}
