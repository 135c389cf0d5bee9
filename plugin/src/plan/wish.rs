//! What is wished: which access, in which scope, for whom.
//!
//! An id is never split to find a slug. The kind, the object's id and the slug
//! come apart in the contract, and a slug matches one of the fixed forms exactly
//! or the wish is refused: a namespace called `firewall` is no `all`.

use sha2::{Digest, Sha256};

use crate::aws::arn::{Arn, Kind};
use crate::bindings::{Error, Grant};
use crate::upstream::fail;

/// What is to be given or taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// A Role or ClusterRole, by a binding.
    Role {
        /// A ClusterRole.
        cluster_role: bool,
        /// The role's name.
        name: String,
        /// Where it is bound; empty for the whole cluster.
        namespace: String,
    },
    /// An access policy, by an association.
    Policy {
        /// The policy's ARN.
        arn: String,
        /// A namespace or a pattern; `None` is the whole cluster.
        scope: Option<String>,
    },
}

/// Who is to have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// An IAM user or role.
    Iam(Arn),
    /// A service account.
    Account {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

/// A wish that makes sense by itself; whether it fits the cluster is not known yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// What.
    pub access: Access,
    /// Who.
    pub who: Who,
    /// The kind of the principal, as grants name it.
    pub kind: &'static str,
    /// The id of the principal.
    pub id: String,
    /// The id of the entitlement.
    pub entitlement: String,
}

fn invalid(message: impl Into<String>) -> Error {
    fail("invalid-request", message)
}

fn unsupported(message: impl Into<String>) -> Error {
    fail("unsupported", message)
}

/// A label of DNS, as names of namespaces are.
pub fn is_namespace(name: &str) -> bool {
    let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    name.len() <= 63
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && edge(name.as_bytes().first())
        && edge(name.as_bytes().last())
}

/// A subdomain of DNS, as names of service accounts are.
fn is_subdomain(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_namespace)
}

/// What RBAC objects may be called.
fn is_segment(name: &str) -> bool {
    !name.is_empty()
        && !matches!(name, "." | "..")
        && !name.contains(['/', '%'])
        && !name.chars().any(char::is_control)
}

impl Wish {
    /// Reads a wish.
    pub fn parse(grant: &Grant) -> Result<Wish, Error> {
        let access = access(&grant.on.kind, &grant.on.id, &grant.slug)?;
        let (kind, who) = who(&grant.principal.kind, &grant.principal.id)?;
        if let (Access::Policy { .. }, Who::Account { .. }) = (&access, &who) {
            return Err(unsupported(
                "EKS assigns access policies to IAM users and roles only; bind a role to the service account instead",
            ));
        }
        Ok(Wish {
            access,
            who,
            kind,
            id: grant.principal.id.clone(),
            entitlement: format!("{}:{}:{}", grant.on.kind, grant.on.id, grant.slug),
        })
    }

    /// The IAM principal, if it is one.
    pub fn arn(&self) -> Option<&Arn> {
        match &self.who {
            Who::Iam(arn) => Some(arn),
            Who::Account { .. } => None,
        }
    }

    /// The namespace of the wish, if it is for one.
    pub fn namespace(&self) -> Option<&str> {
        match &self.access {
            Access::Role { namespace, .. } if !namespace.is_empty() => Some(namespace),
            Access::Policy { scope, .. } => scope.as_deref().filter(|s| !s.contains('*')),
            Access::Role { .. } => None,
        }
    }

    /// The principal for people.
    pub fn principal(&self) -> String {
        match &self.who {
            Who::Iam(_) => self.id.clone(),
            Who::Account { .. } => format!("service account {}", self.id),
        }
    }

    /// The name of our binding for this wish: the same from every run and for
    /// nothing else.
    pub fn binding_name(&self) -> String {
        let (role_kind, role, namespace) = match &self.access {
            Access::Role {
                cluster_role,
                name,
                namespace,
            } => (role_kind(*cluster_role), name.as_str(), namespace.as_str()),
            Access::Policy { .. } => ("", "", ""),
        };
        let hash = sha256(&format!(
            "{role_kind}|{role}|{namespace}|{}|{}",
            self.kind, self.id
        ));
        format!("baton-host-{}", hash.get(..40).unwrap_or_default())
    }
}

/// `ClusterRole` or `Role`.
pub fn role_kind(cluster_role: bool) -> &'static str {
    if cluster_role { "ClusterRole" } else { "Role" }
}

/// The group that one IAM principal has for itself. It belongs to the principal
/// and not to an entitlement, so it is set once and never changed.
pub fn own_group(arn: &Arn) -> String {
    format!("baton-host:{}", own_hash(arn))
}

/// The user name of the line in `aws-auth` that we make for a principal.
pub fn own_username(arn: &Arn) -> String {
    format!("baton-host-{}", own_hash(arn))
}

fn own_hash(arn: &Arn) -> String {
    let kind = if arn.kind == Kind::Role {
        "role"
    } else {
        "user"
    };
    let path = arn.path.trim_start_matches('/');
    let key = format!(
        "{}|{}|{kind}|{path}{}",
        arn.partition, arn.account, arn.name
    );
    sha256(&key).get(..32).unwrap_or_default().to_string()
}

fn sha256(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn access(kind: &str, id: &str, slug: &str) -> Result<Access, Error> {
    let odd = || {
        invalid(format!(
            "`{slug}` is no entitlement of {kind} {id}; take the id from the file"
        ))
    };
    match kind {
        "cluster_role" => {
            if !is_segment(id) {
                return Err(invalid(format!("`{id}` is not the name of a ClusterRole")));
            }
            let namespace = match slug.strip_suffix(":member") {
                Some("all") => "",
                Some("namespace/all") => "all",
                Some(name) if is_namespace(name) => name,
                _ => return Err(odd()),
            };
            Ok(Access::Role {
                cluster_role: true,
                name: id.into(),
                namespace: namespace.into(),
            })
        }
        "namespace_role" => match id.split_once('/') {
            Some((namespace, name)) if is_namespace(namespace) && is_segment(name) => {
                if slug != "member" {
                    return Err(odd());
                }
                Ok(Access::Role {
                    cluster_role: false,
                    name: name.into(),
                    namespace: namespace.into(),
                })
            }
            _ => Err(invalid(format!(
                "`{id}` is not the NAMESPACE/NAME of a Role"
            ))),
        },
        "access_policy" => {
            let parts: Vec<&str> = id.splitn(6, ':').collect();
            let named = match parts.as_slice() {
                ["arn", partition, "eks", "", "aws", resource] => {
                    let name = resource.strip_prefix("cluster-access-policy/");
                    partition.starts_with("aws")
                        && name.is_some_and(|n| {
                            !n.is_empty() && n.bytes().all(|b| b.is_ascii_alphanumeric())
                        })
                }
                _ => false,
            };
            if !named {
                return Err(invalid(format!(
                    "`{id}` is not the ARN of an EKS access policy"
                )));
            }
            let fits = |s: &str| {
                !s.is_empty() && !s.contains(['/', ':']) && !s.chars().any(char::is_control)
            };
            let scope = match slug.strip_prefix("assigned:") {
                Some("cluster") => None,
                Some("namespace/cluster") => Some("cluster".to_string()),
                Some(scope) if fits(scope) => Some(scope.to_string()),
                _ => return Err(odd()),
            };
            Ok(Access::Policy {
                arn: id.into(),
                scope,
            })
        }
        "role" => Err(unsupported(
            "who may assume an IAM role is written in the role's trust policy, which this connector does not change",
        )),
        "service_account" | "configmap" | "namespace" | "kube_group" | "kube_user" => {
            Err(unsupported(format!(
                "entitlements of kind {kind} cannot be granted or revoked; grant a role that holds the permission"
            )))
        }
        other => Err(invalid(format!(
            "`{other}` is not a kind of this connector"
        ))),
    }
}

fn who(kind: &str, id: &str) -> Result<(&'static str, Who), Error> {
    let (known, wanted) = match kind {
        "iam_user" => ("iam_user", Kind::User),
        "role" => ("role", Kind::Role),
        "service_account" => {
            return match id.split_once('/') {
                Some((namespace, name)) if is_namespace(namespace) && is_subdomain(name) => Ok((
                    "service_account",
                    Who::Account {
                        namespace: namespace.into(),
                        name: name.into(),
                    },
                )),
                _ => Err(invalid(format!(
                    "`{id}` is not the NAMESPACE/NAME of a service account"
                ))),
            };
        }
        "sso_user" | "sso_group" | "group" => {
            return Err(unsupported(format!(
                "a {kind} is nobody in Kubernetes: the IAM role that its people assume is; name that role"
            )));
        }
        other => {
            return Err(unsupported(format!(
                "access can be given to iam_user, role and service_account, not to `{other}`"
            )));
        }
    };
    if let Some((role, _)) = Arn::parse_session(id) {
        return Err(invalid(format!(
            "`{id}` is a session; name the role {}",
            role.full()
        )));
    }
    let arn = Arn::parse(id)
        .ok_or_else(|| invalid(format!("`{id}` is not the ARN of an IAM user or role")))?;
    if matches!(arn.kind, Kind::Root | Kind::Federated) {
        return Err(unsupported(format!(
            "`{id}` is neither an IAM user nor an IAM role; only these can be granted or revoked access"
        )));
    }
    if arn.kind != wanted {
        return Err(invalid(format!("`{id}` is no {known}")));
    }
    let name = |b: u8| b.is_ascii_alphanumeric() || b"+=,.@_-".contains(&b);
    let clean = arn.name.len() <= 64
        && arn.name.bytes().all(name)
        && arn.path.len() <= 512
        && arn.path.bytes().all(|b| b.is_ascii_graphic());
    if !clean || arn.full() != id {
        return Err(invalid(format!(
            "`{id}` is not spelt as IAM spells ARNs, `{}`",
            arn.full()
        )));
    }
    Ok((known, Who::Iam(arn)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn scope(kind: &str, id: &str, slug: &str) -> Option<String> {
        match access(kind, id, slug).ok()? {
            Access::Role { namespace, .. } => Some(namespace),
            Access::Policy { scope, .. } => Some(scope.unwrap_or_default()),
        }
    }

    #[test]
    fn slugs_match_exactly_or_not_at_all() {
        let policy = "arn:aws-cn:eks::aws:cluster-access-policy/AmazonEKSViewPolicy";
        for (kind, id, slug, want) in [
            ("cluster_role", "view", "all:member", Some("")),
            ("cluster_role", "view", "namespace/all:member", Some("all")),
            ("cluster_role", "view", "firewall:member", Some("firewall")),
            ("cluster_role", "view", "small:member", Some("small")),
            ("cluster_role", "view", "cluster:member", Some("cluster")),
            ("cluster_role", "a:all:member", "dev:member", Some("dev")),
            ("cluster_role", "view", "member", None),
            ("cluster_role", "view", ":member", None),
            ("cluster_role", "view", "ALL:member", None),
            ("cluster_role", "view", "all:member ", None),
            ("cluster_role", "view", "namespace/dev:member", None),
            ("cluster_role", "view", "dev-*:member", None),
            ("cluster_role", "a/b", "all:member", None),
            ("namespace_role", "all/r", "member", Some("all")),
            ("namespace_role", "all/r", "all:member", None),
            ("namespace_role", "r", "member", None),
            ("access_policy", policy, "assigned:cluster", Some("")),
            ("access_policy", policy, "assigned:all", Some("all")),
            (
                "access_policy",
                policy,
                "assigned:namespace/cluster",
                Some("cluster"),
            ),
            ("access_policy", policy, "assigned:dev-*", Some("dev-*")),
            ("access_policy", policy, "assigned:", None),
            ("access_policy", policy, "cluster", None),
            (
                "access_policy",
                "arn:aws:iam::aws:policy/Admin",
                "assigned:cluster",
                None,
            ),
            (
                "role",
                "arn:aws:iam::111122223333:role/x",
                "assignment",
                None,
            ),
        ] {
            assert_eq!(scope(kind, id, slug).as_deref(), want, "{kind} {id} {slug}");
        }
    }

    #[test]
    fn principals_are_users_roles_and_service_accounts() {
        let kind = |kind: &str, id: &str| who(kind, id).map_err(|e| e.kind).map(|w| w.0);
        let role = "arn:aws:iam::111122223333:role/team/Ops";
        assert_eq!(kind("role", role), Ok("role"));
        assert_eq!(
            kind("iam_user", "arn:aws-us-gov:iam::111122223333:user/a"),
            Ok("iam_user")
        );
        assert_eq!(kind("service_account", "dev/ci.x"), Ok("service_account"));
        for (wrong, id) in [
            ("iam_user", role),
            ("role", "arn:aws:sts::111122223333:assumed-role/Ops/alice"),
            ("role", "arn:aws:iam::111122223333:role/a b"),
            ("role", "ARN:aws:iam::111122223333:role/a"),
            ("role", "arn:aws:iam::1:role/a"),
            ("role", "arn:aws:iam::111122223333:role/a\n- x"),
            ("service_account", "*"),
            ("service_account", "dev/"),
            ("service_account", "dev/a/b"),
        ] {
            assert_eq!(
                kind(wrong, id),
                Err("invalid-request".into()),
                "{wrong} {id}"
            );
        }
        for (never, id) in [
            ("sso_user", "arn:aws:identitystore:::user/x"),
            ("group", "arn:aws:iam::111122223333:group/x"),
            ("kube_group", "devs"),
            ("iam_user", "arn:aws:iam::111122223333:root"),
        ] {
            assert_eq!(kind(never, id), Err("unsupported".into()), "{never} {id}");
        }
    }

    #[test]
    fn the_own_group_belongs_to_one_principal() {
        let of = |arn: &str| own_group(&Arn::parse(arn).unwrap());
        // printf 'aws|111122223333|role|team/Ops' | sha256sum
        assert_eq!(
            of("arn:aws:iam::111122223333:role/team/Ops"),
            format!(
                "baton-host:{}",
                sha256("aws|111122223333|role|team/Ops").get(..32).unwrap()
            )
        );
        assert_ne!(
            of("arn:aws:iam::111122223333:role/team/Ops"),
            of("arn:aws:iam::111122223333:user/team/Ops")
        );
    }
}
