//! The judge, and the hand of somebody else: what tests ask and change without
//! going over HTTP.
//!
//! What a principal may do is worked out by the same mapping, RBAC and access
//! policies that answer requests; nothing here knows what a grant is.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::arn::Principal;
use crate::kubernetes::identity::{self, Subject};
use crate::kubernetes::rbac::{self, Attributes};
use crate::kubernetes::store::{KINDS, Kind, key};
use crate::scenario::EntrySpec;
use crate::sim::Sim;
use crate::text::{rfc3339, unique_id};
use crate::world::{Caller, Cluster, Entry, World};

/// Everything in a cluster that gives access, by name: comparable, and free of
/// what changes by itself (versions, ids, times, leases).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot(pub BTreeMap<String, Value>);

impl Snapshot {
    /// What another snapshot has more, less or otherwise, a line each.
    pub fn difference(&self, other: &Snapshot) -> Vec<String> {
        let mut lines = Vec::new();
        for (name, value) in &self.0 {
            match other.0.get(name) {
                None => lines.push(format!("- {name} {value}")),
                Some(now) if now != value => lines.push(format!("~ {name} {value} -> {now}")),
                Some(_) => {}
            }
        }
        let more = other
            .0
            .iter()
            .filter(|(name, _)| !self.0.contains_key(*name));
        lines.extend(more.map(|(name, value)| format!("+ {name} {value}")));
        lines
    }
}

/// An action on a resource of a cluster, as RBAC writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Action<'a> {
    /// `get`, `create`, ...
    pub verb: &'a str,
    /// API group, empty for the core.
    pub group: &'a str,
    /// Plural, with its subresource: `pods/log`.
    pub resource: &'a str,
    /// Empty for the cluster scope, or all namespaces.
    pub namespace: &'a str,
    /// Empty for lists and creations.
    pub name: &'a str,
}

impl Sim {
    /// Whether a principal may do something in a cluster now.
    ///
    /// The principal is the ARN of an IAM user or role (with its path), or
    /// `system:serviceaccount:NAMESPACE:NAME`. A session name is what a role's
    /// template is rendered with.
    ///
    /// # Errors
    /// Where there is no such cluster, or the principal is none.
    pub fn allowed(
        &self,
        cluster: &str,
        principal: &str,
        session_name: Option<&str>,
        action: Action,
    ) -> Result<bool> {
        let world = self.shared.world();
        let cluster = named(&world, cluster)?;
        let Some(subject) = subject(&world, cluster, principal, session_name)? else {
            return Ok(false);
        };
        let want = Attributes {
            verb: action.verb.into(),
            group: action.group.into(),
            resource: action.resource.into(),
            namespace: action.namespace.into(),
            name: action.name.into(),
            path: None,
        };
        Ok(rbac::allowed(&cluster.store, &subject, &want))
    }

    /// The Kubernetes user and groups that a principal is; `None` where it is nobody.
    ///
    /// # Errors
    /// As [`Sim::allowed`].
    pub fn who_is(
        &self,
        cluster: &str,
        principal: &str,
        session_name: Option<&str>,
    ) -> Result<Option<(String, Vec<String>)>> {
        let world = self.shared.world();
        let cluster = named(&world, cluster)?;
        let found = subject(&world, cluster, principal, session_name)?;
        Ok(found.map(|s| (s.name, s.groups)))
    }

    /// All that gives access in a cluster: entries, associations, `aws-auth`, bindings.
    ///
    /// # Errors
    /// Where there is no such cluster.
    pub fn snapshot(&self, cluster: &str) -> Result<Snapshot> {
        let world = self.shared.world();
        let cluster = named(&world, cluster)?;
        let mut all = BTreeMap::new();
        for (arn, entry) in &cluster.entries {
            all.insert(
                format!("entry {arn}"),
                json!({"type": entry.kind, "username": entry.username, "groups": entry.groups, "tags": entry.tags}),
            );
            for policy in &entry.policies {
                all.insert(
                    format!("association {arn} {}", policy.policy_arn),
                    json!({"namespaces": policy.namespaces}),
                );
            }
        }
        for kind in &KINDS {
            for (key, object) in cluster.store.all(kind).iter() {
                let name = format!("{} {key}", kind.resource);
                match kind.resource {
                    "rolebindings" | "clusterrolebindings" => {
                        let meta = |field: &str| object.pointer(&format!("/metadata/{field}"));
                        all.insert(
                            name,
                            json!({"roleRef": object.get("roleRef"), "subjects": object.get("subjects"),
                                "labels": meta("labels"), "annotations": meta("annotations")}),
                        );
                    }
                    "configmaps" if key == "kube-system/aws-auth" => {
                        all.insert(name, json!(object.get("data")));
                    }
                    _ => {}
                }
            }
        }
        Ok(Snapshot(all))
    }

    /// Somebody else creates or replaces an object, past all checks.
    ///
    /// # Errors
    /// Where there is no such cluster, or the kind is not served.
    pub fn apply(&self, cluster: &str, object: Value) -> Result<()> {
        let mut world = self.shared.world();
        let now = rfc3339(world.now);
        let cluster = named_mut(&mut world, cluster)?;
        let kind = object
            .get("kind")
            .and_then(Value::as_str)
            .and_then(Kind::named)
            .context("the object's kind is not simulated")?;
        let mut object = object;
        let old = cluster.store.get(kind, &key(kind, &object));
        if let (Some(old), Some(meta)) = (
            old,
            object.get_mut("metadata").and_then(Value::as_object_mut),
        ) {
            for field in ["uid", "creationTimestamp"] {
                if let Some(kept) = old.pointer(&format!("/metadata/{field}")) {
                    meta.insert(field.into(), kept.clone());
                }
            }
        }
        cluster.store.put(kind, object, &now);
        cluster.store.aggregate();
        Ok(())
    }

    /// Somebody else deletes an object: `("", "configmaps", "kube-system/aws-auth")`.
    /// A namespace takes all that is in it along. Says whether it was there.
    ///
    /// # Errors
    /// Where there is no such cluster, or the resource is not served.
    pub fn remove(&self, cluster: &str, group: &str, resource: &str, key: &str) -> Result<bool> {
        let mut world = self.shared.world();
        let cluster = named_mut(&mut world, cluster)?;
        let kind = Kind::find(group, resource).context("the resource is not simulated")?;
        let gone = cluster.store.remove(kind, key);
        cluster.store.aggregate();
        Ok(gone)
    }

    /// Somebody else writes an access entry with its associations, seen at once.
    ///
    /// # Errors
    /// Where there is no such cluster, or the principal is none.
    pub fn put_entry(&self, cluster: &str, spec: &EntrySpec) -> Result<()> {
        let mut world = self.shared.world();
        let now = world.now;
        let partition = world.partition.clone();
        let entry = Entry::of(&partition, spec, now, |p| world.id_of(p))
            .context("the principal is no ARN of a user or role")?;
        let cluster = named_mut(&mut world, cluster)?;
        cluster.lag.remove(&spec.principal);
        cluster.entries.insert(spec.principal.clone(), entry);
        Ok(())
    }

    /// Somebody else deletes an access entry. Says whether it was there.
    ///
    /// # Errors
    /// Where there is no such cluster.
    pub fn remove_entry(&self, cluster: &str, principal: &str) -> Result<bool> {
        let mut world = self.shared.world();
        let cluster = named_mut(&mut world, cluster)?;
        cluster.lag.remove(principal);
        Ok(cluster.entries.remove(principal).is_some())
    }

    /// A namespace begins to go away: nothing new is created in it.
    ///
    /// # Errors
    /// Where there is no such cluster or namespace.
    pub fn terminate_namespace(&self, cluster: &str, name: &str) -> Result<()> {
        let mut world = self.shared.world();
        let now = rfc3339(world.now);
        let cluster = named_mut(&mut world, cluster)?;
        let kind = Kind::find("", "namespaces").context("namespaces are simulated")?;
        let found = cluster
            .store
            .get(kind, name)
            .with_context(|| format!("no namespace {name}"))?;
        let mut namespace = (*found).clone();
        if let Some(map) = namespace.as_object_mut() {
            map.insert("status".into(), json!({"phase": "Terminating"}));
        }
        if let Some(meta) = namespace.get_mut("metadata").and_then(Value::as_object_mut) {
            meta.insert("deletionTimestamp".into(), now.into());
        }
        cluster.store.put(kind, namespace, "");
        Ok(())
    }

    /// Deletes an IAM role. Says whether it was there.
    pub fn delete_role(&self, arn: &str) -> bool {
        let mut world = self.shared.world();
        let Some(principal) = Principal::parse(arn) else {
            return false;
        };
        world
            .accounts
            .get_mut(&principal.account)
            .and_then(|a| a.roles.remove(&principal.name))
            .is_some()
    }

    /// Deletes an IAM role and makes it again: the same ARN, another id. For the
    /// scenario's consistency delay EKS calls it an invalid principal.
    ///
    /// # Errors
    /// Where there is no such role.
    pub fn recreate_role(&self, arn: &str) -> Result<()> {
        let mut world = self.shared.world();
        let (now, delay) = (world.now, world.delay);
        let principal = Principal::parse(arn).context("no ARN of a role")?;
        let role = world
            .accounts
            .get_mut(&principal.account)
            .and_then(|a| a.roles.get_mut(&principal.name))
            .with_context(|| format!("no role {arn}"))?;
        role.id = unique_id("AROA", &format!("{}{now}", role.id));
        role.created = now;
        role.ready_at = now + delay;
        Ok(())
    }
}

fn named<'a>(world: &'a World, cluster: &str) -> Result<&'a Cluster> {
    world
        .clusters
        .iter()
        .find(|c| c.spec.name == cluster)
        .with_context(|| format!("no cluster {cluster}"))
}

fn named_mut<'a>(world: &'a mut World, cluster: &str) -> Result<&'a mut Cluster> {
    world
        .clusters
        .iter_mut()
        .find(|c| c.spec.name == cluster)
        .with_context(|| format!("no cluster {cluster}"))
}

fn subject(
    world: &World,
    cluster: &Cluster,
    principal: &str,
    session_name: Option<&str>,
) -> Result<Option<Subject>> {
    if let Some(account) = principal.strip_prefix("system:serviceaccount:") {
        let Some((namespace, _)) = account.split_once(':') else {
            bail!("{principal} is no service account");
        };
        let groups = [
            "system:serviceaccounts".to_owned(),
            format!("system:serviceaccounts:{namespace}"),
            "system:authenticated".to_owned(),
        ];
        return Ok(Some(Subject {
            name: principal.to_owned(),
            groups: groups.into(),
            ..Subject::default()
        }));
    }
    let who =
        Principal::parse(principal).with_context(|| format!("{principal} is no principal"))?;
    let caller = Caller {
        arn: principal.to_owned(),
        user_id: world.id_of(&who),
        principal: who,
        access_key: "ASIAJUDGE".into(),
        session_name: session_name.map(str::to_owned),
        policy: None,
    };
    Ok(identity::map(world, cluster, &caller))
}
