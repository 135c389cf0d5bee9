//! Who holds one entitlement, worked out when its page is asked for.

use std::collections::BTreeSet;

use super::{IMPLIED_GROUPS, PolicyRow, World, is_platform, service_account_user};
use crate::aws::arn::{Arn, Kind};
use crate::aws::trust::{Pattern, Subjects, Trust, join};
use crate::evidence::{Certainty, Held, Holders, Path};
use crate::identity::Hit;
use crate::identity::rights::Key;
use crate::identity::roles::{Role, Status};
use crate::kubernetes::rbac::{Subject, SubjectKind};
use crate::text::glob;

impl World {
    pub(super) fn matching<'a>(
        &'a self,
        lists: &'a [Vec<Pattern>],
    ) -> impl Iterator<Item = &'a String> {
        self.service_accounts.iter().filter(move |path| {
            let Some((namespace, name)) = path.split_once('/') else {
                return false;
            };
            let subject = format!("system:serviceaccount:{namespace}:{name}");
            lists
                .iter()
                .all(|list| list.iter().any(|p| p.matches(&subject)))
        })
    }

    /// The service accounts of a namespace.
    pub(super) fn accounts_of(&self, namespace: &str) -> impl Iterator<Item = &String> {
        // `0` is the character after `/`.
        let valid = !namespace.is_empty() && !namespace.contains('/');
        let range = self
            .service_accounts
            .range(format!("{namespace}/")..format!("{namespace}0"));
        range.filter(move |_| valid)
    }

    /// The principal of an ARN as a grant names it.
    fn principal(&self, arn: &Arn) -> (&'static str, String) {
        match arn.kind {
            Kind::Role => ("role", self.roles.id(arn)),
            _ => ("iam_user", arn.full()),
        }
    }

    /// Whether it is a user of this account of whom it is known that there is none.
    fn is_gone(&self, arn: &Arn) -> bool {
        let people = self.people.as_deref();
        arn.kind == Kind::User
            && arn.account == self.cluster.account
            && people.is_some_and(|people| people.user(arn).is_none())
    }

    fn held(&self, hit: &Hit, base: &Path) -> Held {
        let (kind, id) = self.principal(&hit.arn);
        let role = self.roles.get(&hit.arn);
        let mut path = Path {
            via: hit.via,
            mapping: hit.place.to_string(),
            ..base.clone()
        };
        let mut certainty = Certainty::Certain;
        if let Some(session) = &hit.session {
            certainty = Certainty::Session;
            path.session = session.clone();
            path.conditions = if hit.arn.permission_set().is_some() {
                "the session name is the user name in Identity Center".into()
            } else {
                "whoever assumes the role chooses the session name".into()
            };
        }
        if !hit.doubt.is_empty() {
            certainty = certainty.min(Certainty::Conditional);
            path.conditions = hit.doubt.to_string();
        }
        if role.is_some_and(|r| r.status == Status::Missing) {
            certainty = Certainty::Latent;
            path.conditions =
                "the role does not exist; one that is made with its name gets this".into();
        }
        if self.is_gone(&hit.arn) {
            certainty = Certainty::Latent;
            path.conditions =
                "the user does not exist; one that is made with its name gets this".into();
        }
        Held {
            kind,
            id,
            certainty,
            path,
            immutable: false,
        }
    }

    /// Who holds an entitlement because a binding names `subject`.
    pub fn holders(&self, subject: Subject, binding: &str, out: &mut Holders) {
        let base = Path {
            via: "binding",
            binding: binding.to_string(),
            ..Path::default()
        };
        let account = |path: &String, group: &str, immutable: bool| {
            let exists = self.service_accounts.contains(path);
            Held {
                kind: "service_account",
                id: path.clone(),
                certainty: if exists {
                    Certainty::Certain
                } else {
                    Certainty::Latent
                },
                path: Path {
                    group: group.to_string(),
                    conditions: if exists {
                        String::new()
                    } else {
                        "the service account does not exist".into()
                    },
                    ..base.clone()
                },
                immutable,
            }
        };
        let stand_in =
            |kind: &'static str, certainty: Certainty, immutable: bool, why: &str| Held {
                kind,
                id: subject.name.to_string(),
                certainty,
                path: Path {
                    conditions: why.to_string(),
                    ..base.clone()
                },
                immutable,
            };
        match subject.kind {
            SubjectKind::ServiceAccount => {
                out.add(account(
                    &format!("{}/{}", subject.namespace, subject.name),
                    "",
                    false,
                ));
                // The API server compares the user name, and aws-auth may give that
                // name to a principal of AWS.
                for hit in self.index.service_account(subject.namespace, subject.name) {
                    out.add(self.held(&hit, &base));
                }
            }
            SubjectKind::User => {
                let hits = self.index.user(subject.name);
                if let Some(path) = service_account_user(subject.name) {
                    out.add(account(&path, "", false));
                } else if subject.name == "system:anonymous" {
                    out.add(stand_in("kube_user", Certainty::Certain, true, ""));
                } else if hits.is_empty() && !is_platform(subject.name) {
                    out.add(stand_in("kube_user", Certainty::Latent, false, "nobody in AWS is mapped to this user; an OIDC provider of the cluster may know it"));
                }
                for hit in hits.iter().filter(|h| !h.plumbing) {
                    out.add(self.held(hit, &base));
                }
            }
            SubjectKind::Group => {
                if IMPLIED_GROUPS.contains(&subject.name) {
                    out.add(stand_in("kube_group", Certainty::Certain, true, ""));
                }
                if subject.name == "system:authenticated" {
                    return;
                }
                let hits = self.index.group(subject.name);
                let mut any = !hits.is_empty() || IMPLIED_GROUPS.contains(&subject.name);
                if let Some(namespace) = subject.name.strip_prefix("system:serviceaccounts:") {
                    for path in self.accounts_of(namespace) {
                        any = true;
                        out.add(account(path, subject.name, true));
                    }
                }
                let base = Path {
                    group: subject.name.to_string(),
                    ..base.clone()
                };
                for hit in hits.iter().filter(|h| !h.plumbing) {
                    out.add(self.held(hit, &base));
                }
                if !any {
                    out.add(stand_in(
                        "kube_group",
                        Certainty::Latent,
                        false,
                        "nobody is mapped to this group",
                    ));
                }
            }
        }
    }

    /// Who is in `system:masters`: the API server lets the group through before
    /// it looks at any binding.
    pub fn masters(&self, out: &mut Holders) {
        let base = Path {
            group: "system:masters".into(),
            bypasses_rbac: true,
            ..Path::default()
        };
        for hit in self.index.group("system:masters") {
            out.add(Held {
                immutable: true,
                ..self.held(&hit, &base)
            });
        }
    }

    /// Who holds an access policy in one scope: `None` is the cluster, else a
    /// namespace or a pattern as EKS stores it.
    pub fn policy_holders(&self, policy: &PolicyRow, scope: Option<&str>, out: &mut Holders) {
        for (holder, held) in &policy.holders {
            let (pattern, direct) = match (scope, held) {
                (None, None) => ("", true),
                (Some(wanted), Some(held)) if wanted == held => ("", true),
                (Some(wanted), Some(held))
                    if held.contains('*')
                        && self.places.contains(wanted)
                        && glob(held, wanted, false) =>
                {
                    (held.as_str(), false)
                }
                _ => continue,
            };
            let (kind, id) = self.principal(&holder.arn);
            let ghost =
                direct && scope.is_some_and(|s| !s.contains('*') && !self.places.contains(s));
            let nobody = direct
                && scope.is_some_and(|s| {
                    s.contains('*') && !self.places.iter().any(|n| glob(s, n, false))
                });
            let (mut certainty, mut conditions) = (Certainty::Certain, String::new());
            if !holder.doubt.is_empty() {
                (certainty, conditions) = (Certainty::Conditional, holder.doubt.clone());
            }
            if ghost || nobody {
                certainty = Certainty::Latent;
                conditions = if ghost {
                    "the namespace does not exist"
                } else {
                    "no namespace matches"
                }
                .into();
            }
            let path = Path {
                via: "access-policy",
                scope: if direct {
                    scope.unwrap_or("cluster").to_string()
                } else {
                    pattern.to_string()
                },
                mapping: format!("access entry {}", holder.arn.full()),
                conditions,
                ..Path::default()
            };
            out.add(Held {
                kind,
                id,
                certainty,
                path,
                immutable: !direct,
            });
        }
    }

    /// The scopes in which a policy has entitlements: all namespaces and what
    /// its associations name; only the latter if `bound`. Sorted.
    pub fn policy_scopes(&self, policy: &PolicyRow, bound: bool) -> BTreeSet<String> {
        let named: BTreeSet<String> = policy
            .holders
            .iter()
            .filter_map(|(_, s)| s.clone())
            .collect();
        let mut out: BTreeSet<String> = if bound {
            let matched = self
                .places
                .iter()
                .filter(|n| named.iter().any(|s| s.contains('*') && glob(s, n, false)));
            matched.cloned().collect()
        } else {
            self.places.iter().cloned().collect()
        };
        out.extend(named);
        out
    }

    /// Who may become a role: by its trust policy, by IRSA, by Pod Identity.
    pub fn role_holders(&self, role: &Role, out: &mut Holders) {
        let Ok(trust) = &role.trust else {
            return self.pod_holders(role, out);
        };
        for trusted in trust.trusted(&role.arn.account) {
            let (kind, id) = self.principal(&trusted.arn);
            let gone = self
                .roles
                .get(&trusted.arn)
                .is_some_and(|r| r.status == Status::Missing)
                || self.is_gone(&trusted.arn);
            let mut certainty = if trusted.conditions.is_empty() {
                Certainty::Certain
            } else {
                Certainty::Conditional
            };
            if trusted.session.is_some() {
                certainty = certainty.min(Certainty::Session);
            }
            if gone {
                certainty = Certainty::Latent;
            }
            let path = Path {
                via: "trust",
                session: trusted.session.unwrap_or_default(),
                conditions: trusted.conditions,
                ..Path::default()
            };
            out.add(Held {
                kind,
                id,
                certainty,
                path,
                immutable: false,
            });
        }
        self.delegated_holders(role, trust, out);
        let issuer = self.cluster.issuer.as_deref().unwrap_or_default();
        for federation in if issuer.is_empty() {
            Vec::new()
        } else {
            trust.workloads(issuer, &role.arn.account)
        } {
            let sure = if federation.conditions.is_empty() {
                Certainty::Certain
            } else {
                Certainty::Conditional
            };
            let mut add = |id: &str, scope: String, certainty: Certainty, immutable: bool| {
                let path = Path {
                    via: "irsa",
                    scope,
                    conditions: federation.conditions.clone(),
                    ..Path::default()
                };
                out.add(Held {
                    kind: "service_account",
                    id: id.to_string(),
                    certainty,
                    path,
                    immutable,
                });
            };
            let Subjects::Matching(lists) = &federation.subjects else {
                add(
                    "*",
                    "every service account of the cluster".into(),
                    sure,
                    true,
                );
                continue;
            };
            let exact: BTreeSet<&str> = lists
                .iter()
                .flatten()
                .filter(|p| !p.glob)
                .map(|p| p.text.as_str())
                .collect();
            for subject in &exact {
                if let Some(path) = service_account_user(subject)
                    && lists
                        .iter()
                        .all(|list| list.iter().any(|p| p.matches(subject)))
                {
                    let exists = self.service_accounts.contains(&path);
                    add(
                        &path,
                        (*subject).to_string(),
                        if exists { sure } else { Certainty::Latent },
                        false,
                    );
                }
            }
            let scope = lists
                .iter()
                .flatten()
                .filter(|p| p.glob)
                .map(|p| p.text.as_str())
                .collect::<Vec<_>>()
                .join(" and ");
            if !scope.is_empty() {
                for path in self.matching(lists) {
                    add(path, scope.clone(), sure, true);
                }
            }
        }
        self.pod_holders(role, out);
    }

    /// Who may assume a role that leaves it to its account: whoever an identity
    /// policy allows it. Never certain, because a service control policy may
    /// forbid it.
    fn delegated_holders(&self, role: &Role, trust: &Trust, out: &mut Holders) {
        let Some(rights) = &self.rights else { return };
        if role.arn.account != self.cluster.account
            || trust.delegated(&role.arn.account, None).is_none()
        {
            return;
        }
        let arn = role.arn.full();
        let named: BTreeSet<String> = trust
            .trusted(&role.arn.account)
            .into_iter()
            .filter(|trusted| trusted.conditions.is_empty() && trusted.session.is_none())
            .map(|trusted| trusted.arn.key())
            .collect();
        // A refusal in the trust policy is about users, so groups are taken apart.
        let target = |_: &Key| vec![arn.clone()];
        for (key, allowed) in rights.who("sts:AssumeRole", &target, trust.refuses()) {
            let own = Arn::parse(&key.arn);
            if key.arn == arn || own.as_ref().is_some_and(|own| named.contains(&own.key())) {
                continue;
            }
            let Some(mut words) = trust.delegated(&role.arn.account, own.as_ref()) else {
                continue;
            };
            join(&mut words, &allowed.conditions);
            join(&mut words, "unless a service control policy forbids it");
            out.add(Held {
                kind: key.kind,
                id: key.arn,
                certainty: Certainty::Conditional,
                path: Path {
                    via: "identity-policy",
                    mapping: allowed.by,
                    conditions: words,
                    ..Path::default()
                },
                immutable: false,
            });
        }
    }

    fn pod_holders(&self, role: &Role, out: &mut Holders) {
        for pod in self.pods.get(&role.arn.key()).into_iter().flatten() {
            let exists = self.service_accounts.contains(&pod.service_account);
            let path = Path {
                via: "pod-identity",
                mapping: pod.mapping.clone(),
                conditions: pod.conditions.clone(),
                ..Path::default()
            };
            let certainty = if exists {
                pod.certainty
            } else {
                Certainty::Latent
            };
            out.add(Held {
                kind: "service_account",
                id: pod.service_account.clone(),
                certainty,
                path,
                immutable: false,
            });
        }
    }
}
