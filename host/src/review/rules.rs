//! Kubernetes RBAC rules, evaluated as the API server evaluates them.
//!
//! A rule matches a request or it does not; there is no deny. Two questions
//! are asked of rules: may exactly this request be made ([`allows`], the
//! API server's own comparison), and what of a wish do they give at all
//! ([`gives`], for "who can read secrets": one rule may name some objects only).
//! Where a rule counts is its binding's affair: [`Scope`].

use std::collections::BTreeSet;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// One rule of a Role, a ClusterRole or an access policy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rule {
    /// What may be done; `*` is everything.
    #[serde(deserialize_with = "texts")]
    pub verbs: Vec<String>,
    /// API groups; `""` is the core group, `*` all.
    #[serde(deserialize_with = "texts", skip_serializing_if = "Vec::is_empty")]
    pub api_groups: Vec<String>,
    /// Resources, `resource/subresource`, `*/subresource` or `*`.
    #[serde(deserialize_with = "texts", skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    /// Only these objects; all where it is empty.
    #[serde(deserialize_with = "texts", skip_serializing_if = "Vec::is_empty")]
    pub resource_names: Vec<String>,
    /// Paths outside of the resources; a `*` at the end stands for any ending.
    #[serde(
        rename = "nonResourceURLs",
        deserialize_with = "texts",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub non_resource_urls: Vec<String>,
}

/// A list of strings; other writers leave `null` or an odd value there.
fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Array(values) => values
            .into_iter()
            .filter_map(|value| match value {
                Value::String(text) => Some(text),
                _ => None,
            })
            .collect(),
        Value::String(text) => vec![text],
        _ => Vec::new(),
    })
}

/// One request to the API server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request<'a> {
    /// To a resource.
    Resource {
        /// `get`, `list`, `create`, `bind`, ...
        verb: &'a str,
        /// The API group; `""` is the core group.
        group: &'a str,
        /// The resource, in the plural.
        resource: &'a str,
        /// The subresource, or nothing.
        subresource: &'a str,
        /// The object, or nothing where the request names none.
        name: &'a str,
        /// The namespace; `None` for what belongs to the cluster.
        namespace: Option<&'a str>,
    },
    /// To a path outside of the resources.
    Path {
        /// `get`, `post`, ...
        verb: &'a str,
        /// `/metrics`, `/healthz`, ...
        path: &'a str,
    },
}

/// Where a role counts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case", tag = "scope", content = "namespace")]
pub enum Scope {
    /// Everywhere, and for what belongs to no namespace.
    Cluster,
    /// In one namespace.
    Namespace(String),
    /// In the namespaces that match a pattern of an access policy.
    Pattern(String),
}

impl Scope {
    /// Whether a request of that namespace is within the scope. `None`, what
    /// belongs to the cluster, is within the cluster's only: a RoleBinding
    /// gives nothing outside of its namespace.
    #[must_use]
    pub fn covers(&self, namespace: Option<&str>) -> bool {
        match (self, namespace) {
            (Scope::Cluster, _) => true,
            (_, None) => false,
            (Scope::Namespace(own), Some(namespace)) => own == namespace,
            (Scope::Pattern(pattern), Some(namespace)) => glob(pattern, namespace),
        }
    }

    /// As it is said in a sentence.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Scope::Cluster => "the whole cluster".to_owned(),
            Scope::Namespace(namespace) => format!("namespace {namespace}"),
            Scope::Pattern(pattern) => format!("namespaces {pattern}"),
        }
    }
}

/// Whether the rules of a role that is bound in `scope` allow a request.
#[must_use]
pub fn allows(rules: &[Rule], scope: &Scope, request: &Request<'_>) -> bool {
    let covered = match request {
        Request::Resource { namespace, .. } => scope.covers(*namespace),
        Request::Path { .. } => *scope == Scope::Cluster,
    };
    covered && rules.iter().any(|rule| rule.matches(request))
}

impl Rule {
    /// Whether this rule matches a request, wherever it counts.
    #[must_use]
    pub fn matches(&self, request: &Request<'_>) -> bool {
        match request {
            Request::Resource {
                verb,
                group,
                resource,
                subresource,
                name,
                ..
            } => {
                has(&self.verbs, verb)
                    && has(&self.api_groups, group)
                    && self.names_resource(resource, subresource)
                    && (self.resource_names.is_empty()
                        || self.resource_names.iter().any(|own| own == name))
            }
            Request::Path { verb, path } => {
                has(&self.verbs, verb)
                    && self.non_resource_urls.iter().any(|url| reaches(url, path))
            }
        }
    }

    fn names_resource(&self, resource: &str, subresource: &str) -> bool {
        self.resources.iter().any(|own| {
            if own == "*" {
                return true;
            }
            match own.split_once('/') {
                None => subresource.is_empty() && own == resource,
                Some(("*", sub)) => !subresource.is_empty() && sub == subresource,
                Some((part, sub)) => part == resource && sub == subresource,
            }
        })
    }
}

/// Whether a list holds an entry or the wildcard.
fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|own| own == "*" || own == wanted)
}

fn reaches(url: &str, path: &str) -> bool {
    url == "*" || url == path || (url.ends_with('*') && path.starts_with(url.trim_end_matches('*')))
}

/// A wish: what somebody wants to be able to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// The verb.
    pub verb: String,
    /// The API groups that the resource may be of; empty: any.
    pub groups: Vec<String>,
    /// The resource.
    pub resource: String,
    /// The subresource, or nothing.
    pub subresource: String,
    /// One object, or nothing for all of them.
    pub name: String,
}

/// What of a wish rules give.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Given {
    /// Nothing.
    No,
    /// For these objects only.
    Named(BTreeSet<String>),
    /// All of it.
    Yes,
}

impl Wish {
    /// A verb and a resource as people write them: `secrets`, `pods/exec`,
    /// `deployments.apps`, `deployments.apps/scale`. Where no group is named,
    /// Kubernetes' own resources are looked for in their own groups.
    #[must_use]
    pub fn new(verb: &str, resource: &str) -> Wish {
        let (whole, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let (plural, group) = match whole.split_once('.') {
            Some((plural, group)) => (plural, Some(group)),
            None => (whole, None),
        };
        let groups = match group {
            Some(group) => vec![group.to_owned()],
            None => home(plural)
                .iter()
                .map(|group| (*group).to_owned())
                .collect(),
        };
        Wish {
            verb: verb.to_ascii_lowercase(),
            groups,
            resource: plural.to_ascii_lowercase(),
            subresource: subresource.to_ascii_lowercase(),
            name: String::new(),
        }
    }

    /// The same for one object.
    #[must_use]
    pub fn named(mut self, name: &str) -> Wish {
        name.clone_into(&mut self.name);
        self
    }
}

/// What of a wish the rules give, wherever they count.
#[must_use]
pub fn gives(rules: &[Rule], wish: &Wish) -> Given {
    let mut names = BTreeSet::new();
    for rule in rules {
        let group = wish.groups.is_empty() && !rule.api_groups.is_empty()
            || wish.groups.iter().any(|group| has(&rule.api_groups, group));
        if !group
            || !has(&rule.verbs, &wish.verb)
            || !rule.names_resource(&wish.resource, &wish.subresource)
        {
            continue;
        }
        if rule.resource_names.is_empty() {
            return Given::Yes;
        }
        if wish.name.is_empty() {
            // A request that names no object is refused by such a rule, so it
            // gives nothing for verbs that never name one.
            if !matches!(wish.verb.as_str(), "create" | "deletecollection") {
                names.extend(rule.resource_names.iter().cloned());
            }
        } else if rule.resource_names.contains(&wish.name) {
            return Given::Yes;
        }
    }
    if names.is_empty() {
        Given::No
    } else {
        Given::Named(names)
    }
}

/// The API groups of Kubernetes' own resources.
fn home(resource: &str) -> &'static [&'static str] {
    match resource.to_ascii_lowercase().as_str() {
        "bindings"
        | "componentstatuses"
        | "configmaps"
        | "endpoints"
        | "limitranges"
        | "namespaces"
        | "nodes"
        | "persistentvolumeclaims"
        | "persistentvolumes"
        | "pods"
        | "podtemplates"
        | "replicationcontrollers"
        | "resourcequotas"
        | "secrets"
        | "serviceaccounts"
        | "services"
        | "users"
        | "groups" => &[""],
        "events" => &["", "events.k8s.io"],
        "mutatingwebhookconfigurations"
        | "validatingwebhookconfigurations"
        | "validatingadmissionpolicies"
        | "validatingadmissionpolicybindings" => &["admissionregistration.k8s.io"],
        "customresourcedefinitions" => &["apiextensions.k8s.io"],
        "apiservices" => &["apiregistration.k8s.io"],
        "controllerrevisions" | "daemonsets" | "deployments" | "replicasets" | "statefulsets" => {
            &["apps"]
        }
        "tokenreviews" => &["authentication.k8s.io"],
        "localsubjectaccessreviews"
        | "selfsubjectaccessreviews"
        | "selfsubjectrulesreviews"
        | "subjectaccessreviews" => &["authorization.k8s.io"],
        "horizontalpodautoscalers" => &["autoscaling"],
        "cronjobs" | "jobs" => &["batch"],
        "certificatesigningrequests" | "signers" => &["certificates.k8s.io"],
        "leases" => &["coordination.k8s.io"],
        "endpointslices" => &["discovery.k8s.io"],
        "ingresses" | "ingressclasses" | "networkpolicies" => &["networking.k8s.io"],
        "poddisruptionbudgets" => &["policy"],
        "clusterroles" | "clusterrolebindings" | "roles" | "rolebindings" => {
            &["rbac.authorization.k8s.io"]
        }
        "priorityclasses" => &["scheduling.k8s.io"],
        "csidrivers" | "csinodes" | "storageclasses" | "volumeattachments" => &["storage.k8s.io"],
        _ => &[],
    }
}

/// Whether a resource of Kubernetes belongs to no namespace, so that no
/// RoleBinding gives it.
#[must_use]
pub fn is_cluster_scoped(resource: &str) -> bool {
    matches!(
        resource,
        "nodes"
            | "persistentvolumes"
            | "clusterroles"
            | "clusterrolebindings"
            | "customresourcedefinitions"
            | "apiservices"
            | "mutatingwebhookconfigurations"
            | "validatingwebhookconfigurations"
            | "validatingadmissionpolicies"
            | "validatingadmissionpolicybindings"
            | "certificatesigningrequests"
            | "signers"
            | "tokenreviews"
            | "subjectaccessreviews"
            | "selfsubjectaccessreviews"
            | "selfsubjectrulesreviews"
            | "storageclasses"
            | "csidrivers"
            | "csinodes"
            | "volumeattachments"
            | "priorityclasses"
            | "ingressclasses"
            | "users"
            | "groups"
            | "componentstatuses"
    )
}

/// Whether a text matches a pattern in which `*` is any run of characters.
#[must_use]
pub fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = rest.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::review::testing::Dice;

    fn rule(verbs: &[&str], groups: &[&str], resources: &[&str], names: &[&str]) -> Rule {
        let own = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        Rule {
            verbs: own(verbs),
            api_groups: own(groups),
            resources: own(resources),
            resource_names: own(names),
            non_resource_urls: Vec::new(),
        }
    }

    fn asks<'a>(
        verb: &'a str,
        resource: &'a str,
        subresource: &'a str,
        name: &'a str,
    ) -> Request<'a> {
        Request::Resource {
            verb,
            group: "",
            resource,
            subresource,
            name,
            namespace: Some("dev"),
        }
    }

    #[test]
    fn subresources_are_not_their_resource() {
        let pods = rule(&["*"], &[""], &["pods"], &[]);
        assert!(pods.matches(&asks("get", "pods", "", "a")));
        assert!(!pods.matches(&asks("create", "pods", "exec", "a")));
        let every = rule(&["create"], &["*"], &["*/exec"], &[]);
        assert!(every.matches(&asks("create", "pods", "exec", "a")));
        assert!(!every.matches(&asks("create", "pods", "", "a")));
        let literal = rule(&["create"], &[""], &["pods/*"], &[]);
        assert!(
            !literal.matches(&asks("create", "pods", "exec", "a")),
            "no wildcard there"
        );
        assert!(rule(&["create"], &[""], &["*"], &[]).matches(&asks("create", "pods", "exec", "")));
    }

    #[test]
    fn names_do_not_open_requests_without_a_name() {
        let one = rule(&["get", "list", "create"], &[""], &["secrets"], &["tls"]);
        assert!(one.matches(&asks("get", "secrets", "", "tls")));
        assert!(!one.matches(&asks("get", "secrets", "", "db")));
        assert!(!one.matches(&asks("list", "secrets", "", "")));
        let named = |names: &[&str]| Given::Named(names.iter().map(|n| (*n).to_owned()).collect());
        let rules = [one];
        assert_eq!(gives(&rules, &Wish::new("get", "secrets")), named(&["tls"]));
        assert_eq!(gives(&rules, &Wish::new("create", "secrets")), Given::No);
        assert_eq!(
            gives(&rules, &Wish::new("get", "secrets").named("tls")),
            Given::Yes
        );
        assert_eq!(
            gives(&rules, &Wish::new("get", "secrets").named("db")),
            Given::No
        );
    }

    #[test]
    fn paths_count_for_the_whole_cluster_only() {
        let rules = [Rule {
            verbs: vec!["get".into()],
            non_resource_urls: vec!["/metrics".into(), "/healthz*".into()],
            ..Rule::default()
        }];
        let ask = |path| Request::Path { verb: "get", path };
        for (path, yes) in [
            ("/metrics", true),
            ("/metrics/x", false),
            ("/healthz/etcd", true),
            ("/healthz", true),
        ] {
            assert_eq!(allows(&rules, &Scope::Cluster, &ask(path)), yes, "{path}");
            assert!(!allows(&rules, &Scope::Namespace("dev".into()), &ask(path)));
        }
    }

    #[test]
    fn a_binding_in_a_namespace_gives_nothing_outside() {
        let dev = Scope::Namespace("dev".into());
        assert!(dev.covers(Some("dev")) && !dev.covers(Some("dev2")) && !dev.covers(None));
        assert!(Scope::Cluster.covers(None) && Scope::Cluster.covers(Some("x")));
        let some = Scope::Pattern("team-*".into());
        assert!(some.covers(Some("team-a")) && !some.covers(Some("a-team-")) && !some.covers(None));
    }

    #[test]
    fn rules_of_any_writer_are_read() {
        let read: Vec<Rule> = serde_json::from_str(
            r#"[{"verbs":["get"],"apiGroups":null,"resources":["pods",3]},{},{"nonResourceURLs":"/x","verbs":["*"]}]"#,
        )
        .unwrap();
        assert_eq!(read[0].resources, ["pods"]);
        assert!(read[0].api_groups.is_empty());
        assert_eq!(read[2].non_resource_urls, ["/x"]);
        assert_eq!(
            gives(&read, &Wish::new("get", "pods")),
            Given::No,
            "no group, no access"
        );
    }

    #[test]
    fn resources_are_read_as_people_write_them() {
        let wish = Wish::new("GET", "Deployments.apps/scale");
        assert_eq!(
            (
                wish.verb.as_str(),
                wish.groups,
                wish.resource.as_str(),
                wish.subresource.as_str()
            ),
            ("get", vec!["apps".to_owned()], "deployments", "scale")
        );
        assert_eq!(Wish::new("get", "secrets").groups, [""]);
        assert!(Wish::new("get", "widgets").groups.is_empty());
        let other = [rule(&["get"], &["widgets.example"], &["*"], &[])];
        assert_eq!(gives(&other, &Wish::new("get", "secrets")), Given::No);
        assert_eq!(gives(&other, &Wish::new("get", "widgets")), Given::Yes);
    }

    #[test]
    fn patterns_match_as_a_slow_matcher_says() {
        fn slow(pattern: &[u8], text: &[u8]) -> bool {
            match pattern.split_first() {
                None => text.is_empty(),
                Some((b'*', rest)) => (0..=text.len()).any(|at| slow(rest, &text[at..])),
                Some((c, rest)) => text.first() == Some(c) && slow(rest, &text[1..]),
            }
        }
        let mut dice = Dice::new(7);
        for _ in 0..20_000 {
            let mut word = |letters: &[u8], most| -> String {
                (0..dice.roll(most))
                    .map(|_| char::from(letters[dice.roll(letters.len())]))
                    .collect()
            };
            let (pattern, text) = (word(b"ab*", 7), word(b"ab", 8));
            assert_eq!(
                glob(&pattern, &text),
                slow(pattern.as_bytes(), text.as_bytes()),
                "{pattern} {text}"
            );
        }
    }

    const VERBS: [&str; 4] = ["get", "list", "create", "bind"];
    const GROUPS: [&str; 3] = ["", "apps", "x.io"];
    const RESOURCES: [(&str, &str); 5] = [
        ("pods", ""),
        ("pods", "log"),
        ("pods", "exec"),
        ("secrets", ""),
        ("deployments", "log"),
    ];
    const NAMES: [&str; 3] = ["", "a", "b"];

    fn random(dice: &mut Dice) -> Rule {
        let some = |dice: &mut Dice, from: &[&str]| -> Vec<String> {
            (0..dice.roll(3))
                .map(|_| from[dice.roll(from.len())].to_owned())
                .collect()
        };
        Rule {
            verbs: some(dice, &["*", "get", "list", "create", "bind"]),
            api_groups: some(dice, &["*", "", "apps", "x.io"]),
            resources: some(
                dice,
                &[
                    "*", "pods", "pods/log", "pods/*", "*/log", "*/exec", "secrets", "*/*",
                ],
            ),
            resource_names: if dice.roll(3) == 0 {
                some(dice, &["a", "b"])
            } else {
                Vec::new()
            },
            non_resource_urls: Vec::new(),
        }
    }

    /// A second evaluator: a rule is spelt out as the set of all requests of a
    /// small world that it allows.
    fn spelt_out(rule: &Rule) -> BTreeSet<(usize, usize, usize, usize)> {
        let mut set = BTreeSet::new();
        let lists = |list: &[String], all: &[&str]| -> Vec<usize> {
            (0..all.len())
                .filter(|at| list.iter().any(|own| own == "*" || own == all[*at]))
                .collect()
        };
        for verb in lists(&rule.verbs, &VERBS) {
            for group in lists(&rule.api_groups, &GROUPS) {
                for pattern in &rule.resources {
                    for (at, (resource, sub)) in RESOURCES.iter().enumerate() {
                        let full = if sub.is_empty() {
                            (*resource).to_owned()
                        } else {
                            format!("{resource}/{sub}")
                        };
                        let matched = *pattern == "*"
                            || *pattern == full
                            || (!sub.is_empty() && *pattern == format!("*/{sub}"));
                        for (name, text) in NAMES.iter().enumerate() {
                            let open = rule.resource_names.is_empty()
                                || rule.resource_names.iter().any(|own| own == text);
                            if matched && open {
                                set.insert((verb, group, at, name));
                            }
                        }
                    }
                }
            }
        }
        set
    }

    #[test]
    fn random_rules_allow_what_a_second_evaluator_spells_out() {
        let mut dice = Dice::new(1);
        for _ in 0..3_000 {
            let rules: Vec<Rule> = (0..1 + dice.roll(3)).map(|_| random(&mut dice)).collect();
            let set: BTreeSet<_> = rules.iter().flat_map(spelt_out).collect();
            for (v, verb) in VERBS.iter().enumerate() {
                for (g, group) in GROUPS.iter().enumerate() {
                    for (r, (resource, subresource)) in RESOURCES.iter().enumerate() {
                        let mut wish = Wish::new(verb, resource);
                        wish.groups = vec![(*group).to_owned()];
                        (*subresource).clone_into(&mut wish.subresource);
                        for (n, name) in NAMES.iter().enumerate() {
                            let request = Request::Resource {
                                verb,
                                group,
                                resource,
                                subresource,
                                name,
                                namespace: Some("dev"),
                            };
                            let allowed = allows(&rules, &Scope::Cluster, &request);
                            assert_eq!(
                                allowed,
                                set.contains(&(v, g, r, n)),
                                "{rules:?} {request:?}"
                            );
                            if !name.is_empty() {
                                let given = gives(&rules, &wish.clone().named(name));
                                assert_eq!(given == Given::Yes, allowed, "{rules:?} {request:?}");
                            }
                        }
                        // Without a name: all objects, or those that somebody named.
                        let given = gives(&rules, &wish);
                        let all = set.contains(&(v, g, r, 0));
                        let some = set.contains(&(v, g, r, 1)) || set.contains(&(v, g, r, 2));
                        let named = *verb != "create" && !all && some;
                        assert_eq!(given == Given::Yes, all, "{rules:?}");
                        assert_eq!(matches!(given, Given::Named(_)), named, "{rules:?}");
                    }
                }
            }
        }
    }
}
