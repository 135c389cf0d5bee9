//! What is wished, read by the host itself: which access, in which scope, for
//! whom.
//!
//! The plugin says with one attribute of a kind by which fixed grammar its ids
//! and slugs are to be read (docs/contract.md, "Kinds"), and has no further
//! say. An id is never split to find a slug, and a slug matches exactly or is
//! refused: a namespace called `firewall` is no `all`.

use sha2::{Digest as _, Sha256};

use super::{Order, ProvisionError, Rule};
use crate::plugin::attribute;
use crate::sandbox::contract::types::{Descriptor, Grant, ObjectId};
use crate::upstream::operation::write::Place;

/// What may be given or taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// A Role or ClusterRole, by a binding.
    Role {
        /// `ClusterRole` or `Role`.
        kind: &'static str,
        /// Its name.
        name: String,
        /// Where it is bound; none for the whole cluster.
        namespace: Option<String>,
    },
    /// An access policy of EKS.
    Policy {
        /// Its ARN.
        arn: String,
        /// One namespace or pattern; none for the whole cluster.
        namespace: Option<String>,
    },
}

/// An IAM user or role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Iam {
    /// The ARN, with path.
    pub arn: String,
    /// `aws`.
    pub partition: String,
    /// 12 digits.
    pub account: String,
    /// Whether it is a role.
    pub role: bool,
    /// What follows `role/` or `user/`.
    pub name_with_path: String,
}

/// Who may hold it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// An IAM user or role.
    Iam(Iam),
    /// A service account.
    Account {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

/// A wish that makes sense by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// What.
    pub access: Access,
    /// Who.
    pub who: Who,
    /// The principal as the access file names it.
    pub principal: (String, String),
}

fn digest(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}

fn head(hash: &str, digits: usize) -> &str {
    hash.get(..digits).unwrap_or(hash)
}

impl Iam {
    /// Reads the ARN of a user or role. Neither a session nor a root is one.
    #[must_use]
    pub fn parse(arn: &str) -> Option<Iam> {
        let fields: Vec<&str> = arn.splitn(6, ':').collect();
        let ["arn", partition, "iam", "", account, resource] = fields.as_slice() else {
            return None;
        };
        let (kind, name_with_path) = resource.split_once('/')?;
        let role = match kind {
            "role" => true,
            "user" => false,
            _ => return None,
        };
        let letter = |b: u8| b.is_ascii_alphanumeric() || b"+=,.@_-".contains(&b);
        let (path, name) = match name_with_path.rsplit_once('/') {
            Some((path, name)) => (Some(path), name),
            None => (None, name_with_path),
        };
        let path_is_sound = path.is_none_or(|path| {
            path.len() <= 512
                && path.bytes().all(|b| b.is_ascii_graphic())
                && path.split('/').all(|part| !part.is_empty())
        });
        let sound = partition.starts_with("aws")
            && partition
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b == b'-')
            && account.len() == 12
            && account.bytes().all(|b| b.is_ascii_digit())
            && !name.is_empty()
            && name.len() <= 64
            && name.bytes().all(letter)
            && path_is_sound;
        sound.then(|| Iam {
            arn: arn.to_owned(),
            partition: (*partition).to_owned(),
            account: (*account).to_owned(),
            role,
            name_with_path: name_with_path.to_owned(),
        })
    }

    /// Whoever STS says that is calling: the role of a session, or a user.
    #[must_use]
    pub fn of_caller(arn: &str) -> Option<Iam> {
        let fields: Vec<&str> = arn.splitn(6, ':').collect();
        if let ["arn", partition, "sts", "", account, resource] = fields.as_slice() {
            let mut parts = resource.split('/');
            let (Some("assumed-role"), Some(name)) = (parts.next(), parts.next()) else {
                return None;
            };
            return Iam::parse(&format!("arn:{partition}:iam::{account}:role/{name}"));
        }
        Iam::parse(arn)
    }

    /// The name without path.
    #[must_use]
    pub fn name(&self) -> &str {
        let name = self.name_with_path.as_str();
        name.rsplit_once('/').map_or(name, |(_, name)| name)
    }

    /// Whether two are the same: names are unique in an account, whatever the
    /// path, and IAM does not tell their cases apart.
    #[must_use]
    pub fn is(&self, other: &Iam) -> bool {
        self.partition == other.partition
            && self.account == other.account
            && self.role == other.role
            && self.name().eq_ignore_ascii_case(other.name())
    }

    /// The ARN that the authenticator looks up in `aws-auth`: users with path,
    /// roles without.
    #[must_use]
    pub fn canonical(&self) -> String {
        match self.role {
            true => format!(
                "arn:{}:iam::{}:role/{}",
                self.partition,
                self.account,
                self.name()
            ),
            false => self.arn.clone(),
        }
    }

    /// What stands for the principal where names must be short.
    #[must_use]
    pub fn key(&self) -> String {
        let kind = if self.role { "role" } else { "user" };
        digest(&format!(
            "{}|{}|{kind}|{}",
            self.partition, self.account, self.name_with_path
        ))
    }

    /// The group that is this principal's alone.
    #[must_use]
    pub fn own_group(&self) -> String {
        format!("baton-host:{}", head(&self.key(), 32))
    }

    /// Its user name in a line of `aws-auth` that we write.
    #[must_use]
    pub fn own_username(&self) -> String {
        format!("baton-host-{}", head(&self.key(), 32))
    }

    /// The user name that EKS gives an entry without one.
    #[must_use]
    pub fn default_username(&self) -> String {
        match self.role {
            true => format!(
                "arn:{}:sts::{}:assumed-role/{}/{{{{SessionName}}}}",
                self.partition,
                self.account,
                self.name()
            ),
            false => self.arn.clone(),
        }
    }

    /// The list of `aws-auth` that we write it to.
    #[must_use]
    pub fn list(&self) -> &'static str {
        if self.role { "mapRoles" } else { "mapUsers" }
    }
}

impl Wish {
    /// Reads an order by the kinds of the connector.
    ///
    /// # Errors
    /// [`ProvisionError::Refused`]: nothing was asked of anybody.
    pub fn parse(descriptor: &Descriptor, order: &Order) -> Result<Wish, ProvisionError> {
        let Grant {
            on,
            slug,
            principal,
            ..
        } = &order.wish;
        let refused = |rule, sentence: String| ProvisionError::Refused {
            rule,
            sentence,
            hint: None,
        };
        let kind_of = |kind: &str, key: &str| {
            let spec = descriptor.kinds.iter().find(|spec| spec.name == kind)?;
            attribute(&spec.attributes, key)
        };
        let shown = |text: &str| crate::sandbox::clean(text, 300);
        let Some(grammar) = kind_of(&on.kind, "access") else {
            return Err(refused(
                Rule::Entitlement,
                format!(
                    "entitlements of kind `{}` cannot be granted or revoked",
                    shown(&on.kind)
                ),
            ));
        };
        let access = access(grammar, &on.id, slug).ok_or_else(|| {
            refused(
                Rule::Entitlement,
                format!(
                    "`{}` of {} {} is no entitlement that can be granted or revoked; take its id from the access file",
                    shown(slug), shown(&on.kind), shown(&on.id)
                ),
            )
        })?;
        let Some(grammar) = kind_of(&principal.kind, "principal") else {
            return Err(refused(
                Rule::Principal,
                match principal.kind.as_str() {
                    "sso_user" | "sso_group" | "group" => format!(
                        "a {} is nobody in Kubernetes: the IAM role that its people assume is; name that role",
                        principal.kind
                    ),
                    kind => format!(
                        "access cannot be given to or taken from a `{}`",
                        shown(kind)
                    ),
                },
            ));
        };
        let who = who(grammar, principal).ok_or_else(|| {
            refused(
                Rule::Principal,
                format!(
                    "`{}` is no id of kind {}",
                    shown(&principal.id),
                    shown(&principal.kind)
                ),
            )
        })?;
        if matches!(
            (&access, &who),
            (Access::Policy { .. }, Who::Account { .. })
        ) {
            return Err(refused(
                Rule::Principal,
                "EKS assigns access policies to IAM users and roles only; bind a role to the service account instead"
                    .to_owned(),
            ));
        }
        Ok(Wish {
            access,
            who,
            principal: (principal.kind.clone(), principal.id.clone()),
        })
    }

    /// What is wished by the grammars of its kinds alone.
    #[cfg(test)]
    pub(super) fn of((on, by): (&str, &str), wish: &Grant) -> Option<Wish> {
        Some(Wish {
            access: access(on, &wish.on.id, &wish.slug)?,
            who: who(by, &wish.principal)?,
            principal: (wish.principal.kind.clone(), wish.principal.id.clone()),
        })
    }

    /// Entitlement and principal as the documentation names them, whatever the
    /// plugin calls their kinds.
    #[must_use]
    pub fn ids(&self) -> (String, String) {
        let scope = |namespace: &Option<String>, whole: &str| match namespace.as_deref() {
            None => whole.to_owned(),
            Some(name) if name == whole => format!("namespace/{name}"),
            Some(name) => name.to_owned(),
        };
        let entitlement = match &self.access {
            Access::Role {
                kind: "Role",
                name,
                namespace,
            } => format!(
                "namespace_role:{}/{name}:member",
                namespace.as_deref().unwrap_or_default()
            ),
            Access::Role {
                name, namespace, ..
            } => format!("cluster_role:{name}:{}:member", scope(namespace, "all")),
            Access::Policy { arn, namespace } => {
                format!(
                    "access_policy:{arn}:assigned:{}",
                    scope(namespace, "cluster")
                )
            }
        };
        let principal = match &self.who {
            Who::Iam(iam) if iam.role => format!("role:{}", iam.arn),
            Who::Iam(iam) => format!("iam_user:{}", iam.arn),
            Who::Account { namespace, name } => format!("service_account:{namespace}/{name}"),
        };
        (entitlement, principal)
    }

    /// The IAM principal, if it is one.
    #[must_use]
    pub fn iam(&self) -> Option<&Iam> {
        match &self.who {
            Who::Iam(iam) => Some(iam),
            Who::Account { .. } => None,
        }
    }

    /// Where our binding of this wish is: the same from every run, and for
    /// nothing else.
    #[must_use]
    pub fn place(&self) -> Option<Place> {
        let Access::Role {
            kind,
            name,
            namespace,
        } = &self.access
        else {
            return None;
        };
        let (principal, id) = &self.principal;
        let hash = digest(&format!(
            "{kind}|{name}|{}|{principal}|{id}",
            namespace.as_deref().unwrap_or_default()
        ));
        Some(Place {
            namespace: namespace.clone(),
            name: format!("baton-host-{}", head(&hash, 40)),
        })
    }

    /// What all orders for this principal are serialised by.
    #[must_use]
    pub fn key(&self) -> String {
        match &self.who {
            Who::Iam(iam) => iam.key(),
            Who::Account { namespace, name } => {
                digest(&format!("service_account|{namespace}/{name}"))
            }
        }
    }
}

fn namespace(name: &str) -> bool {
    let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    name.len() <= 63
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && edge(name.as_bytes().first())
        && edge(name.as_bytes().last())
}

/// What an RBAC object may be called.
fn segment(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 253
        && !matches!(name, "." | "..")
        && !name.contains(['/', '%', '\\'])
        && !name.chars().any(char::is_control)
}

fn access(grammar: &str, id: &str, slug: &str) -> Option<Access> {
    match grammar {
        "kubernetes-cluster-role" => {
            let scope = match slug.strip_suffix(":member")? {
                "all" => None,
                "namespace/all" => Some("all"),
                name => Some(name),
            };
            (segment(id) && scope.is_none_or(namespace)).then(|| Access::Role {
                kind: "ClusterRole",
                name: id.to_owned(),
                namespace: scope.map(str::to_owned),
            })
        }
        "kubernetes-role" => {
            let (home, name) = id.split_once('/')?;
            (slug == "member" && namespace(home) && segment(name)).then(|| Access::Role {
                kind: "Role",
                name: name.to_owned(),
                namespace: Some(home.to_owned()),
            })
        }
        "eks-access-policy" => {
            let fields: Vec<&str> = id.splitn(6, ':').collect();
            let ["arn", partition, "eks", "", "aws", resource] = fields.as_slice() else {
                return None;
            };
            let name = resource.strip_prefix("cluster-access-policy/")?;
            let scope = match slug.strip_prefix("assigned:")? {
                "cluster" => None,
                "namespace/cluster" => Some("cluster"),
                name => Some(name),
            };
            let pattern = |text: &str| {
                !text.is_empty()
                    && text.len() <= 253
                    && !text.contains(['/', ':'])
                    && text.bytes().all(|b| b.is_ascii_graphic())
            };
            let sound = partition.starts_with("aws")
                && !name.is_empty()
                && name.bytes().all(|b| b.is_ascii_alphanumeric())
                && scope.is_none_or(pattern);
            sound.then(|| Access::Policy {
                arn: id.to_owned(),
                namespace: scope.map(str::to_owned),
            })
        }
        _ => None,
    }
}

fn who(grammar: &str, principal: &ObjectId) -> Option<Who> {
    let iam = |role: bool| {
        Iam::parse(&principal.id)
            .filter(|iam| iam.role == role)
            .map(Who::Iam)
    };
    match grammar {
        "aws-iam-user" => iam(false),
        "aws-iam-role" => iam(true),
        "kubernetes-service-account" => {
            let (home, name) = principal.id.split_once('/')?;
            let subdomain = name.len() <= 253 && name.split('.').all(namespace);
            (namespace(home) && subdomain).then(|| Who::Account {
                namespace: home.to_owned(),
                name: name.to_owned(),
            })
        }
        _ => None,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const ROLE: &str = "kubernetes-cluster-role";
    const POLICY: &str = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy";

    #[test]
    fn slugs_match_exactly_or_not_at_all() {
        let scope = |grammar: &str, id: &str, slug: &str| match access(grammar, id, slug) {
            Some(Access::Role { namespace, .. } | Access::Policy { namespace, .. }) => {
                namespace.unwrap_or_else(|| "*".to_owned())
            }
            None => "none".to_owned(),
        };
        for (grammar, id, slug, want) in [
            (ROLE, "view", "all:member", "*"),
            (ROLE, "view", "namespace/all:member", "all"),
            (ROLE, "view", "firewall:member", "firewall"),
            (ROLE, "view", "cluster:member", "cluster"),
            (ROLE, "a:all:member", "dev:member", "dev"),
            (ROLE, "view", "member", "none"),
            (ROLE, "view", ":member", "none"),
            (ROLE, "view", "ALL:member", "none"),
            (ROLE, "view", "namespace/dev:member", "none"),
            (ROLE, "view", "dev-*:member", "none"),
            (ROLE, "view/x", "all:member", "none"),
            ("kubernetes-role", "all/r", "member", "all"),
            ("kubernetes-role", "all/r", "all:member", "none"),
            ("kubernetes-role", "r", "member", "none"),
            ("eks-access-policy", POLICY, "assigned:cluster", "*"),
            (
                "eks-access-policy",
                POLICY,
                "assigned:namespace/cluster",
                "cluster",
            ),
            ("eks-access-policy", POLICY, "assigned:dev-*", "dev-*"),
            ("eks-access-policy", POLICY, "assigned:", "none"),
            ("eks-access-policy", POLICY, "cluster", "none"),
            (
                "eks-access-policy",
                "arn:aws:iam::aws:policy/x",
                "assigned:cluster",
                "none",
            ),
            ("anything", "view", "all:member", "none"),
        ] {
            assert_eq!(scope(grammar, id, slug), want, "{grammar} {id} {slug}");
        }
    }

    #[test]
    fn a_session_is_its_role_whatever_the_path() {
        let role = Iam::parse("arn:aws:iam::111122223333:role/team/Ops").unwrap();
        let session = "arn:aws:sts::111122223333:assumed-role/ops/baton-host-prod";
        assert!(role.is(&Iam::of_caller(session).unwrap()));
        assert_eq!(role.canonical(), "arn:aws:iam::111122223333:role/Ops");
        for other in [
            "arn:aws:iam::111122223333:user/Ops",
            "arn:aws:iam::111122223334:role/Ops",
            "arn:aws-cn:iam::111122223333:role/Ops",
        ] {
            assert!(!role.is(&Iam::parse(other).unwrap()), "{other}");
        }
        for no in [
            "arn:aws:iam::111122223333:root",
            "arn:aws:iam::111122223333:group/x",
            "arn:aws:iam::1:role/x",
            "arn:aws:iam::111122223333:role/",
            "arn:aws:iam::111122223333:role//x",
            "arn:aws:iam::111122223333:role/a b",
            "arn:aws:iam::111122223333:role/a\n- x",
        ] {
            assert!(Iam::parse(no).is_none(), "{no}");
        }
    }

    #[test]
    fn own_names_are_of_the_name_with_path() {
        let one = Iam::parse("arn:aws:iam::111122223333:role/a/x").unwrap();
        let two = Iam::parse("arn:aws:iam::111122223333:role/b/x").unwrap();
        assert_ne!(one.own_group(), two.own_group());
        assert_eq!(one.own_group().len(), "baton-host:".len() + 32);
        assert!(
            one.own_group()
                .ends_with(one.own_username().trim_start_matches("baton-host-"))
        );
    }
}
