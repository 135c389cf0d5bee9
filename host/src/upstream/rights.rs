//! The ceiling: everything that any plugin may ever be allowed, per upstream
//! kind, and what one plugin gets of it.
//!
//! What a plugin may do is ceiling ∩ declared ∩ approved. The ceiling is this
//! file; what is not in it does not exist for a plugin, and adding a line is a
//! release of the host, on purpose. From this one list come the filter at the
//! boundary, the AWS session policy, `baton-host permissions` and
//! `docs/permissions.md` (`permissions.rs`), so they cannot drift apart.

use std::collections::BTreeSet;
use std::fmt;

/// What serves an upstream. The services of `aws` are a closed list: no `sts`,
/// no `s3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Kind `aws`, service `eks`.
    Eks,
    /// Kind `aws`, service `iam`.
    Iam,
    /// Kind `eks-cluster`: the Kubernetes API of the session's cluster.
    Cluster,
}

impl Kind {
    /// The kind and service of a descriptor.
    pub fn parse(kind: &str, service: Option<&str>) -> Option<Self> {
        match (kind, service) {
            ("aws", Some("eks")) => Some(Self::Eks),
            ("aws", Some("iam")) => Some(Self::Iam),
            ("eks-cluster", None) => Some(Self::Cluster),
            _ => None,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Eks => "aws, service eks",
            Self::Iam => "aws, service iam",
            Self::Cluster => "eks-cluster",
        })
    }
}

/// What an operator approves as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// Who can do what in the cluster. Given without asking.
    Read,
    /// The account's users and groups.
    Identities,
    /// Changes, which the host makes; never the plugin.
    Provision,
}

impl Group {
    /// A group by the name that the contract gives it.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "read" => Some(Self::Read),
            "identities" => Some(Self::Identities),
            "provision" => Some(Self::Provision),
            _ => None,
        }
    }

    /// The name in the contract.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Identities => "identities",
            Self::Provision => "provision",
        }
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What AWS authorises an action on (service authorization reference).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// `*`: the action knows no resource.
    Account,
    /// `cluster/NAME`.
    Cluster,
    /// `access-entry/NAME/*`.
    AccessEntry,
    /// `podidentityassociation/NAME/*`.
    PodIdentity,
}

/// A right in the terms of whoever enforces it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// An AWS action.
    Action(On),
    /// A Kubernetes RBAC rule without subresources.
    Rule {
        /// `get`, `list`, `create`, `update`, `patch`, `delete`.
        verb: &'static str,
        /// API group; empty for the core group.
        group: &'static str,
        /// Plural name.
        resource: &'static str,
        /// Whether its objects live in namespaces.
        namespaced: bool,
        /// Namespace and name, where the right is for one object only.
        object: Option<(&'static str, &'static str)>,
    },
}

/// One thing that may be said to an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Right {
    /// Whose vocabulary it is in.
    pub kind: Kind,
    /// What it is approved with.
    pub group: Group,
    /// As a descriptor writes it: `eks:ListAccessEntries`, `list namespaces`.
    pub words: &'static str,
    /// What it is there for, in a few words.
    pub about: &'static str,
    /// In the terms of whoever enforces it.
    pub shape: Shape,
}

impl Right {
    /// Whether it changes something. A sandbox never gets to use such a right:
    /// a plugin plans, the host applies.
    pub fn writes(&self) -> bool {
        match self.shape {
            Shape::Action(_) => self.group == Group::Provision,
            Shape::Rule { verb, .. } => !matches!(verb, "get" | "list"),
        }
    }
}

const fn action(
    kind: Kind,
    group: Group,
    words: &'static str,
    on: On,
    about: &'static str,
) -> Right {
    Right {
        kind,
        group,
        words,
        about,
        shape: Shape::Action(on),
    }
}

const fn rule(
    group: Group,
    words: &'static str,
    verb: &'static str,
    resource: (&'static str, &'static str, bool),
    object: Option<(&'static str, &'static str)>,
    about: &'static str,
) -> Right {
    let (api, resource, namespaced) = resource;
    let shape = Shape::Rule {
        verb,
        group: api,
        resource,
        namespaced,
        object,
    };
    Right {
        kind: Kind::Cluster,
        group,
        words,
        about,
        shape,
    }
}

const RBAC: &str = "rbac.authorization.k8s.io";
const NAMESPACES: (&str, &str, bool) = ("", "namespaces", false);
const ACCOUNTS: (&str, &str, bool) = ("", "serviceaccounts", true);
const CONFIG_MAPS: (&str, &str, bool) = ("", "configmaps", true);
const CLUSTER_ROLES: (&str, &str, bool) = (RBAC, "clusterroles", false);
const CLUSTER_BINDINGS: (&str, &str, bool) = (RBAC, "clusterrolebindings", false);
const ROLES: (&str, &str, bool) = (RBAC, "roles", true);
const BINDINGS: (&str, &str, bool) = (RBAC, "rolebindings", true);
const AWS_AUTH: Option<(&str, &str)> = Some(("kube-system", "aws-auth"));

use Group::{Identities, Provision, Read};
use Kind::{Eks, Iam};

/// Everything that exists for plugins, in the order in which it is shown.
pub static CEILING: &[Right] = &[
    action(
        Eks,
        Read,
        "eks:DescribeCluster",
        On::Cluster,
        "endpoint, CA, authentication mode",
    ),
    action(
        Eks,
        Read,
        "eks:ListAccessEntries",
        On::Cluster,
        "who has an access entry",
    ),
    action(
        Eks,
        Read,
        "eks:DescribeAccessEntry",
        On::AccessEntry,
        "username and groups of an entry",
    ),
    action(
        Eks,
        Read,
        "eks:ListAssociatedAccessPolicies",
        On::AccessEntry,
        "access policies of an entry",
    ),
    action(
        Eks,
        Read,
        "eks:ListAccessPolicies",
        On::Account,
        "the access policies that EKS offers",
    ),
    action(
        Eks,
        Read,
        "eks:ListPodIdentityAssociations",
        On::Cluster,
        "which workloads have an AWS role",
    ),
    action(
        Eks,
        Read,
        "eks:DescribePodIdentityAssociation",
        On::PodIdentity,
        "the role of such a workload",
    ),
    action(
        Iam,
        Read,
        "iam:ListRoles",
        On::Account,
        "roles and who may assume them",
    ),
    action(
        Iam,
        Identities,
        "iam:GetAccountAuthorizationDetails",
        On::Account,
        "users, groups and their members",
    ),
    action(
        Eks,
        Provision,
        "eks:CreateAccessEntry",
        On::Cluster,
        "grant: a principal without an entry",
    ),
    action(
        Eks,
        Provision,
        "eks:UpdateAccessEntry",
        On::AccessEntry,
        "grant and revoke groups",
    ),
    action(
        Eks,
        Provision,
        "eks:DeleteAccessEntry",
        On::AccessEntry,
        "revoke: leavers",
    ),
    action(
        Eks,
        Provision,
        "eks:AssociateAccessPolicy",
        On::AccessEntry,
        "grant an access policy",
    ),
    action(
        Eks,
        Provision,
        "eks:DisassociateAccessPolicy",
        On::AccessEntry,
        "revoke an access policy",
    ),
    action(
        Eks,
        Provision,
        "eks:TagResource",
        On::AccessEntry,
        "mark entries as ours",
    ),
    rule(
        Read,
        "list namespaces",
        "list",
        NAMESPACES,
        None,
        "where access can be scoped to",
    ),
    rule(
        Read,
        "list serviceaccounts",
        "list",
        ACCOUNTS,
        None,
        "workloads",
    ),
    rule(
        Read,
        "list configmaps",
        "list",
        CONFIG_MAPS,
        None,
        "names only; optional",
    ),
    rule(
        Read,
        "list rbac.authorization.k8s.io/clusterroles",
        "list",
        CLUSTER_ROLES,
        None,
        "cluster roles",
    ),
    rule(
        Read,
        "list rbac.authorization.k8s.io/clusterrolebindings",
        "list",
        CLUSTER_BINDINGS,
        None,
        "who has a cluster role everywhere",
    ),
    rule(
        Read,
        "list rbac.authorization.k8s.io/roles",
        "list",
        ROLES,
        None,
        "roles",
    ),
    rule(
        Read,
        "list rbac.authorization.k8s.io/rolebindings",
        "list",
        BINDINGS,
        None,
        "who has a role in a namespace",
    ),
    rule(
        Read,
        "get configmaps kube-system/aws-auth",
        "get",
        CONFIG_MAPS,
        AWS_AUTH,
        "mappings of the older kind",
    ),
    rule(
        Provision,
        "get rbac.authorization.k8s.io/rolebindings",
        "get",
        BINDINGS,
        None,
        "read back",
    ),
    rule(
        Provision,
        "create rbac.authorization.k8s.io/rolebindings",
        "create",
        BINDINGS,
        None,
        "grant",
    ),
    rule(
        Provision,
        "patch rbac.authorization.k8s.io/rolebindings",
        "patch",
        BINDINGS,
        None,
        "change a shared binding",
    ),
    rule(
        Provision,
        "delete rbac.authorization.k8s.io/rolebindings",
        "delete",
        BINDINGS,
        None,
        "revoke",
    ),
    rule(
        Provision,
        "get rbac.authorization.k8s.io/clusterrolebindings",
        "get",
        CLUSTER_BINDINGS,
        None,
        "read back",
    ),
    rule(
        Provision,
        "create rbac.authorization.k8s.io/clusterrolebindings",
        "create",
        CLUSTER_BINDINGS,
        None,
        "grant",
    ),
    rule(
        Provision,
        "patch rbac.authorization.k8s.io/clusterrolebindings",
        "patch",
        CLUSTER_BINDINGS,
        None,
        "change a shared binding",
    ),
    rule(
        Provision,
        "delete rbac.authorization.k8s.io/clusterrolebindings",
        "delete",
        CLUSTER_BINDINGS,
        None,
        "revoke",
    ),
    rule(
        Provision,
        "create configmaps kube-system/aws-auth",
        "create",
        CONFIG_MAPS,
        AWS_AUTH,
        "first mapping",
    ),
    rule(
        Provision,
        "update configmaps kube-system/aws-auth",
        "update",
        CONFIG_MAPS,
        AWS_AUTH,
        "change mappings",
    ),
];

/// The right of a kind with these words, if there is one.
pub fn find(kind: Kind, words: &str) -> Option<&'static Right> {
    CEILING
        .iter()
        .find(|right| right.kind == kind && right.words == words)
}

/// Why a plugin cannot be loaded because of the upstreams it declares.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RightsError {
    /// The name cannot stand as the authority of a request.
    #[error("`{0}` is no name for an upstream: lower-case letters, digits and `-`, at most 63")]
    Name(String),
    /// Two upstreams of one name.
    #[error("the upstream `{0}` is declared twice")]
    Twice(String),
    /// No host code serves this.
    #[error(
        "upstream `{upstream}` has kind `{kind}`{}, which this host does not serve; it serves `aws` with service `eks` or `iam`, and `eks-cluster`",
        service.as_ref().map(|service| format!(" with service `{service}`")).unwrap_or_default()
    )]
    Kind {
        /// Its name.
        upstream: String,
        /// The kind that was declared.
        kind: String,
        /// The service that was declared.
        service: Option<String>,
    },
    /// No such group.
    #[error(
        "the right `{right}` of upstream `{upstream}` is in group `{group}`; groups are `read`, `identities` and `provision`"
    )]
    Group {
        /// The upstream.
        upstream: String,
        /// The right.
        right: String,
        /// The group that was declared.
        group: String,
    },
    /// Outside the ceiling.
    #[error(
        "the right `{right}` of upstream `{upstream}` is outside of what this host lets any plugin do (kind {kind})"
    )]
    Outside {
        /// The upstream.
        upstream: String,
        /// The right.
        right: String,
        /// Its kind.
        kind: Kind,
    },
    /// In the ceiling, but under another group: the group is the host's word.
    #[error(
        "the right `{right}` of upstream `{upstream}` belongs to group `{is}`, not `{declared}`"
    )]
    WrongGroup {
        /// The upstream.
        upstream: String,
        /// The right.
        right: String,
        /// The group it belongs to.
        is: Group,
        /// The group that was declared.
        declared: Group,
    },
}

/// An upstream that a plugin declares, checked against the ceiling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// The authority that the plugin writes into its requests.
    pub name: String,
    /// What serves it.
    pub kind: Kind,
    /// The setting that holds the region.
    pub region_setting: Option<String>,
    /// The setting that holds the cluster's name.
    pub cluster_setting: Option<String>,
    /// What the plugin may ever say to it, in the order of the ceiling.
    pub rights: Vec<&'static Right>,
}

impl Declared {
    /// Checks one upstream of a descriptor: its name, its kind, its attributes
    /// (`docs/contract.md`, "Upstreams") and pairs of group and right.
    ///
    /// # Errors
    /// Anything outside the ceiling makes the plugin unloadable.
    pub fn check<'a>(
        name: &str,
        kind: &str,
        attributes: &[(String, String)],
        rights: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, RightsError> {
        let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || name.len() > 63 || !name.chars().all(letters) || name.starts_with('-')
        {
            return Err(RightsError::Name(name.escape_debug().to_string()));
        }
        let attribute = |key: &str| {
            attributes
                .iter()
                .find(|(k, _)| k == key)
                .map(|(_, value)| value.clone())
        };
        let service = attribute("service");
        let served = Kind::parse(kind, service.as_deref()).ok_or_else(|| RightsError::Kind {
            upstream: name.to_owned(),
            kind: kind.escape_debug().to_string(),
            service: service.map(|service| service.escape_debug().to_string()),
        })?;
        let mut chosen = BTreeSet::new();
        for (group, words) in rights {
            let shown = || words.escape_debug().to_string();
            let upstream = || name.to_owned();
            let declared = Group::parse(group).ok_or_else(|| RightsError::Group {
                upstream: upstream(),
                right: shown(),
                group: group.escape_debug().to_string(),
            })?;
            let place = CEILING
                .iter()
                .position(|right| right.kind == served && right.words == words);
            let right =
                place
                    .and_then(|place| CEILING.get(place))
                    .ok_or_else(|| RightsError::Outside {
                        upstream: upstream(),
                        right: shown(),
                        kind: served,
                    })?;
            if right.group != declared {
                return Err(RightsError::WrongGroup {
                    upstream: upstream(),
                    right: shown(),
                    is: right.group,
                    declared,
                });
            }
            chosen.extend(place);
        }
        Ok(Self {
            name: name.to_owned(),
            kind: served,
            region_setting: attribute("region-setting"),
            cluster_setting: attribute("cluster-setting"),
            rights: chosen
                .into_iter()
                .filter_map(|place| CEILING.get(place))
                .collect(),
        })
    }

    /// What is left of it after the operator's approval.
    pub fn approved(&self, approval: &Approval) -> Granted {
        Granted {
            name: self.name.clone(),
            kind: self.kind,
            rights: self
                .rights
                .iter()
                .copied()
                .filter(|right| approval.0.contains(&right.group))
                .collect(),
        }
    }
}

/// Refuses a second upstream of a name.
///
/// # Errors
/// The name that occurs twice.
pub fn distinct(declared: &[Declared]) -> Result<(), RightsError> {
    let mut names = BTreeSet::new();
    match declared
        .iter()
        .find(|upstream| !names.insert(upstream.name.as_str()))
    {
        Some(twice) => Err(RightsError::Twice(twice.name.clone())),
        None => Ok(()),
    }
}

/// What an operator approved for one plugin digest, by group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval(BTreeSet<Group>);

impl Approval {
    /// Without a lock: the `read` profile, so that the documented command just
    /// works.
    pub fn profile() -> Self {
        Self::groups([Group::Read])
    }

    /// These groups.
    pub fn groups(groups: impl IntoIterator<Item = Group>) -> Self {
        Self(groups.into_iter().collect())
    }
}

/// What a plugin may say to one upstream: ceiling ∩ declared ∩ approved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// The authority that the plugin writes into its requests.
    pub name: String,
    /// What serves it.
    pub kind: Kind,
    /// In the order of the ceiling.
    pub rights: Vec<&'static Right>,
}

impl Granted {
    /// Whether the right is among them.
    pub fn allows(&self, right: &'static Right) -> bool {
        self.rights.contains(&right)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn service(name: &str) -> Vec<(String, String)> {
        vec![("service".to_owned(), name.to_owned())]
    }

    #[test]
    fn words_are_unique_and_spelled_from_their_shape() {
        let mut seen = BTreeSet::new();
        for right in CEILING {
            assert!(
                seen.insert((right.kind, right.words)),
                "{} twice",
                right.words
            );
            if let Shape::Rule {
                verb,
                group,
                resource,
                object,
                ..
            } = right.shape
            {
                let slash = if group.is_empty() { "" } else { "/" };
                let object = object
                    .map(|(namespace, name)| format!(" {namespace}/{name}"))
                    .unwrap_or_default();
                assert_eq!(
                    right.words,
                    format!("{verb} {group}{slash}{resource}{object}")
                );
            }
        }
    }

    #[test]
    fn the_ceiling_holds_what_no_plugin_may_have() {
        for right in CEILING {
            for never in [
                "secrets",
                "pods",
                "nodes",
                "services",
                "watch",
                "proxy",
                "impersonate",
                "escalate",
                "tokenreviews",
                "certificatesigningrequests",
                "sts:",
                "s3:",
                "AttachRolePolicy",
                "update-config",
            ] {
                assert!(!right.words.contains(never), "{}", right.words);
            }
            assert!(
                right.group == Provision || !right.writes(),
                "{} writes",
                right.words
            );
        }
    }

    #[test]
    fn rights_outside_the_ceiling_make_a_plugin_unloadable() {
        for (kind, service_name, group, words) in [
            ("aws", "eks", "read", "eks:ListClusters"),
            ("aws", "eks", "read", "eks:ListNodegroups"),
            ("aws", "eks", "provision", "eks:UpdateClusterConfig"),
            ("aws", "eks", "read", "iam:ListRoles"),
            ("aws", "iam", "provision", "iam:AttachRolePolicy"),
            ("aws", "iam", "read", "iam:*"),
            ("aws", "iam", "read", "iam:listroles"),
        ] {
            let error =
                Declared::check("up", kind, &service(service_name), [(group, words)]).unwrap_err();
            assert!(
                matches!(error, RightsError::Outside { .. }),
                "{words}: {error}"
            );
            assert!(error.to_string().contains(words));
        }
        for words in [
            "list secrets",
            "get pods/log",
            "list *",
            "watch namespaces",
            "list roles",
            "get configmaps",
        ] {
            let error =
                Declared::check("kubernetes", "eks-cluster", &[], [("read", words)]).unwrap_err();
            assert!(
                matches!(error, RightsError::Outside { .. }),
                "{words}: {error}"
            );
        }
    }

    #[test]
    fn kinds_services_groups_and_names_are_closed() {
        for service_name in ["sts", "s3", "secretsmanager", "ssm", "EKS", ""] {
            assert!(matches!(
                Declared::check("up", "aws", &service(service_name), []),
                Err(RightsError::Kind { .. })
            ));
        }
        assert!(matches!(
            Declared::check("up", "aws", &[], []),
            Err(RightsError::Kind { .. })
        ));
        assert!(matches!(
            Declared::check("up", "http", &[], []),
            Err(RightsError::Kind { .. })
        ));
        for name in [
            "",
            "EKS",
            "eks.",
            "a:80",
            "a@b",
            "a b",
            "-a",
            "ключ",
            &"a".repeat(64),
        ] {
            assert!(
                matches!(
                    Declared::check(name, "eks-cluster", &[], []),
                    Err(RightsError::Name(_))
                ),
                "{name}"
            );
        }
        let error =
            Declared::check("iam", "aws", &service("iam"), [("all", "iam:ListRoles")]).unwrap_err();
        assert!(matches!(error, RightsError::Group { .. }));
    }

    #[test]
    fn a_plugin_cannot_move_a_right_into_a_group_that_needs_no_asking() {
        let error = Declared::check(
            "eks",
            "aws",
            &service("eks"),
            [("read", "eks:DeleteAccessEntry")],
        )
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "the right `eks:DeleteAccessEntry` of upstream `eks` belongs to group `provision`, not `read`"
        );
    }

    #[test]
    fn what_is_granted_is_declared_and_approved() {
        let declared = Declared::check(
            "iam",
            "aws",
            &service("iam"),
            [
                ("identities", "iam:GetAccountAuthorizationDetails"),
                ("read", "iam:ListRoles"),
            ],
        )
        .unwrap();
        let words = |granted: Granted| {
            granted
                .rights
                .iter()
                .map(|right| right.words)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            words(declared.approved(&Approval::profile())),
            ["iam:ListRoles"]
        );
        assert_eq!(
            words(declared.approved(&Approval::groups([Read, Identities, Provision]))),
            ["iam:ListRoles", "iam:GetAccountAuthorizationDetails"]
        );
        assert!(distinct(&[declared.clone(), declared]).is_err());
    }
}
