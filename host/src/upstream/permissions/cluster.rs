//! The Kubernetes side: roles and bindings as manifests.

use std::collections::{BTreeMap, BTreeSet};

use super::super::rights::{Group, Right, Shape};

const RBAC: &str = "rbac.authorization.k8s.io";
const LOCKS: &str = "coordination.k8s.io";

/// The locks of principals, one for each first digit of their key. RBAC can
/// name them because there are no more. No plugin can have rights on them.
pub const LEASES: [&str; 16] = [
    "baton-host-0",
    "baton-host-1",
    "baton-host-2",
    "baton-host-3",
    "baton-host-4",
    "baton-host-5",
    "baton-host-6",
    "baton-host-7",
    "baton-host-8",
    "baton-host-9",
    "baton-host-a",
    "baton-host-b",
    "baton-host-c",
    "baton-host-d",
    "baton-host-e",
    "baton-host-f",
];

/// A role that the host may give to others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grantable {
    /// A cluster role, in every scope or in one namespace.
    ClusterRole {
        /// Its name.
        name: String,
        /// The only namespace, if it is one.
        namespace: Option<String>,
    },
    /// A role of a namespace.
    Role {
        /// The namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

impl Grantable {
    /// `view`, `view@dev` or `dev/deployer`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Grantable> {
        let namespace = |text: &str| {
            let letters = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            (!text.is_empty() && text.len() <= 63 && text.bytes().all(letters))
                .then(|| text.to_owned())
        };
        let name = |text: &str| {
            (!text.is_empty() && !text.contains(['/', '%']) && text.trim() == text)
                .then(|| text.to_owned())
        };
        if let Some((space, role)) = text.split_once('/') {
            return Some(Grantable::Role {
                namespace: namespace(space)?,
                name: name(role)?,
            });
        }
        Some(match text.rsplit_once('@') {
            Some((role, space)) => Grantable::ClusterRole {
                name: name(role)?,
                namespace: Some(namespace(space)?),
            },
            None => Grantable::ClusterRole {
                name: name(text)?,
                namespace: None,
            },
        })
    }

    /// The namespace where it may be given, where it is one only.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        match self {
            Grantable::ClusterRole { namespace, .. } => namespace.as_deref(),
            Grantable::Role { namespace, .. } => Some(namespace),
        }
    }

    /// The resource and name that `bind` is asked of.
    #[must_use]
    pub fn role(&self) -> (&'static str, &str) {
        match self {
            Grantable::ClusterRole { name, .. } => ("clusterroles", name),
            Grantable::Role { name, .. } => ("roles", name),
        }
    }
}

/// What a manifest is for.
#[derive(Debug, Clone, Copy)]
pub struct Manifest<'a> {
    /// The rights.
    pub rights: &'a [&'static Right],
    /// Whether the names of config maps may be listed: that takes a right with
    /// which the identity could read their data too.
    pub config_maps: bool,
    /// The group that gets the rights, and the name of all that is made.
    pub group: &'a str,
    /// Roles that may be granted. Where each is for one namespace only,
    /// bindings are changed in those namespaces only.
    pub grantable: &'a [Grantable],
}

/// One rule of a role.
struct Rule {
    api: &'static str,
    resources: BTreeSet<&'static str>,
    verbs: Vec<&'static str>,
    names: Vec<String>,
}

/// Rules, with those that differ in their resources only made one.
#[derive(Default)]
struct Rules(Vec<Rule>);

impl Rules {
    fn add(&mut self, api: &'static str, resource: &'static str, verbs: Vec<&'static str>) {
        let same =
            |rule: &&mut Rule| rule.api == api && rule.verbs == verbs && rule.names.is_empty();
        match self.0.iter_mut().find(same) {
            Some(rule) => {
                rule.resources.insert(resource);
            }
            None => self.named(api, resource, verbs, Vec::new()),
        }
    }

    fn named(
        &mut self,
        api: &'static str,
        resource: &'static str,
        verbs: Vec<&'static str>,
        names: Vec<String>,
    ) {
        self.0.push(Rule {
            api,
            resources: BTreeSet::from([resource]),
            verbs,
            names,
        });
    }

    fn yaml(&self) -> String {
        self.0
            .iter()
            .map(|rule| {
                let resources: Vec<&str> = rule.resources.iter().copied().collect();
                let mut text = format!(
                    "  - apiGroups: [\"{}\"]\n    resources: [{}]\n    verbs: [{}]\n",
                    rule.api,
                    resources.join(", "),
                    rule.verbs.join(", ")
                );
                if !rule.names.is_empty() {
                    let names: Vec<String> =
                        rule.names.iter().map(|name| yaml_word(name)).collect();
                    text.push_str(&format!("    resourceNames: [{}]\n", names.join(", ")));
                }
                text
            })
            .collect()
    }
}

/// A role of a namespace or of the cluster.
struct Role {
    name: String,
    namespace: Option<String>,
    rules: Rules,
}

/// The roles and bindings that give a group these rights in the cluster.
///
/// Where the rights change something, the host's own are added: locks, and
/// `bind` on the roles that may be granted, which Kubernetes asks for when a
/// binding is made or its subjects change.
#[must_use]
pub fn manifest(wanted: &Manifest<'_>) -> String {
    let roles: Vec<String> = roles(wanted)
        .iter()
        .map(|role| yaml_role(role, wanted.group))
        .collect();
    roles.join("---\n")
}

/// One question to the API server: may we?
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// Plural name.
    pub resource: &'static str,
    /// Verb.
    pub verb: &'static str,
    /// Namespace; empty for all.
    pub namespace: String,
    /// Name; empty for all.
    pub name: String,
}

/// Everything that the manifest gives, as questions. Of the locks the first and
/// the last stand for all.
#[must_use]
pub fn needs(wanted: &Manifest<'_>) -> Vec<Need> {
    let mut all = Vec::new();
    for role in roles(wanted) {
        for rule in &role.rules.0 {
            let names: Vec<&str> = match rule.names.as_slice() {
                [] => vec![""],
                [first, .., last] if rule.resources.contains("leases") => vec![first, last],
                names => names.iter().map(String::as_str).collect(),
            };
            for resource in &rule.resources {
                for verb in &rule.verbs {
                    all.extend(names.iter().map(|name| Need {
                        group: rule.api,
                        resource,
                        verb,
                        namespace: role.namespace.clone().unwrap_or_default(),
                        name: (*name).to_owned(),
                    }));
                }
            }
        }
    }
    all
}

fn roles(wanted: &Manifest<'_>) -> Vec<Role> {
    let writes = wanted.rights.iter().any(|right| right.writes());
    let everywhere = wanted
        .grantable
        .iter()
        .any(|role| role.namespace().is_none());
    let spaces: BTreeSet<&str> = wanted
        .grantable
        .iter()
        .filter_map(Grantable::namespace)
        .collect();
    let narrow = writes && !everywhere && !spaces.is_empty();

    let mut wide: BTreeMap<(&'static str, &'static str), Vec<&'static str>> = BTreeMap::new();
    let mut local: Vec<&'static str> = Vec::new();
    let mut aws_auth = Vec::new();
    for right in wanted.rights {
        let Shape::Rule {
            verb,
            group,
            resource,
            object,
            ..
        } = right.shape
        else {
            continue;
        };
        if object.is_some() {
            aws_auth.push(verb);
        } else if narrow && right.group == Group::Provision {
            if resource == "rolebindings" {
                local.push(verb);
            }
        } else if resource != "configmaps" || wanted.config_maps {
            wide.entry((group, resource)).or_default().push(verb);
        }
    }
    let mut rules = Rules::default();
    for ((api, resource), verbs) in wide {
        rules.add(api, resource, verbs);
    }
    if writes {
        bind(&mut rules, wanted.grantable, None);
    }
    let mut all = vec![Role {
        name: wanted.group.to_owned(),
        namespace: None,
        rules,
    }];

    let mut rules = Rules::default();
    let (create, named): (Vec<_>, Vec<_>) =
        aws_auth.into_iter().partition(|verb| *verb == "create");
    if !named.is_empty() {
        rules.named("", "configmaps", named, vec!["aws-auth".to_owned()]);
    }
    if !create.is_empty() {
        rules.add("", "configmaps", create);
    }
    if writes {
        let leases = LEASES.map(str::to_owned).to_vec();
        rules.named(LOCKS, "leases", vec!["get", "update"], leases);
        rules.add(LOCKS, "leases", vec!["create"]);
    }
    all.push(Role {
        name: wanted.group.to_owned(),
        namespace: Some("kube-system".to_owned()),
        rules,
    });

    for space in spaces.into_iter().filter(|_| writes) {
        let mut rules = Rules::default();
        if narrow && !local.is_empty() {
            rules.add(RBAC, "rolebindings", local.clone());
        }
        bind(&mut rules, wanted.grantable, Some(space));
        all.push(Role {
            name: format!("{}-grants", wanted.group),
            namespace: Some(space.to_owned()),
            rules,
        });
    }
    all.retain(|role| !role.rules.0.is_empty());
    all
}

/// `bind` on the roles that may be granted in a namespace only, or everywhere.
fn bind(rules: &mut Rules, grantable: &[Grantable], namespace: Option<&str>) {
    for resource in ["clusterroles", "roles"] {
        let names: BTreeSet<String> = grantable
            .iter()
            .filter(|role| role.namespace() == namespace)
            .map(Grantable::role)
            .filter(|(of, _)| *of == resource)
            .map(|(_, name)| name.to_owned())
            .collect();
        if !names.is_empty() {
            rules.named(RBAC, resource, vec!["bind"], names.into_iter().collect());
        }
    }
}

/// A role and its binding to the group.
fn yaml_role(role: &Role, group: &str) -> String {
    let kind = match role.namespace {
        Some(_) => "Role",
        None => "ClusterRole",
    };
    let place = role
        .namespace
        .as_ref()
        .map(|namespace| format!("\n  namespace: {namespace}"))
        .unwrap_or_default();
    let name = &role.name;
    format!(
        "apiVersion: {RBAC}/v1\nkind: {kind}\nmetadata:\n  name: {name}{place}\nrules:\n{}---\n\
         apiVersion: {RBAC}/v1\nkind: {kind}Binding\nmetadata:\n  name: {name}{place}\nroleRef:\n  apiGroup: {RBAC}\n  kind: {kind}\n  name: {name}\n\
         subjects:\n  - apiGroup: {RBAC}\n    kind: Group\n    name: {group}\n",
        role.rules.yaml()
    )
}

/// A word inside of `[…]` in YAML: the names of roles may hold anything.
fn yaml_word(word: &str) -> String {
    let plain = word.starts_with(|c: char| c.is_ascii_alphabetic())
        && word
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        && !["true", "false", "yes", "no", "on", "off", "null", "y", "n"]
            .contains(&word.to_ascii_lowercase().as_str());
    if plain {
        word.to_owned()
    } else {
        serde_json::Value::from(word).to_string()
    }
}
