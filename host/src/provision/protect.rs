//! What is never granted and never revoked, whoever asks.
//!
//! The host looks at the ids of the order itself, before a plugin is asked
//! anything: no plugin can talk its way around. What only the cluster can tell
//! (our own principal, the roles of nodes) is refused elsewhere (`check.rs`),
//! and nothing here can allow it.

use super::Order;
use super::wish::Wish;

/// A pattern and whence it comes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    pattern: String,
    by_default: bool,
}

impl Rule {
    fn reason(&self, subject: &str) -> Reason {
        let subject = crate::sandbox::clean(subject, 1000);
        let pattern = &self.pattern;
        if self.by_default {
            Reason {
                sentence: format!("`{subject}` is protected by default ('{pattern}')"),
                hint: Some(format!(
                    "if it shall be changed all the same: --unprotect '{pattern}' takes that away, for this command"
                )),
            }
        } else {
            Reason {
                sentence: format!("`{subject}` is protected by --protect '{pattern}'"),
                hint: None,
            }
        }
    }
}

/// One of the patterns that protect without being asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuiltIn {
    /// As `--unprotect` names it.
    pub pattern: &'static str,
    /// What it is there for.
    pub about: &'static str,
}

/// Why something is left alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// What is protected, and by what.
    pub sentence: String,
    /// What would take that away, where something does.
    pub hint: Option<String>,
}

/// Everything that is protected if nobody says otherwise.
pub const DEFAULTS: &[BuiltIn] = &[
    BuiltIn {
        pattern: "cluster_role:cluster-admin:*",
        about: "the administrator of the cluster, in any scope",
    },
    BuiltIn {
        pattern: "cluster_role:system:*",
        about: "cluster roles of Kubernetes itself",
    },
    BuiltIn {
        pattern: "namespace_role:*/system:*",
        about: "roles of Kubernetes itself",
    },
    BuiltIn {
        pattern: "access_policy:*/AmazonEKSClusterAdminPolicy:*",
        about: "the administrator of the cluster, by access policy",
    },
    BuiltIn {
        pattern: "cluster_role:*:kube-system:member",
        about: "cluster roles in kube-system",
    },
    BuiltIn {
        pattern: "namespace_role:kube-system/*",
        about: "roles in kube-system",
    },
    BuiltIn {
        pattern: "access_policy:*:assigned:kube-system",
        about: "access policies in kube-system, and in patterns that kube-system matches",
    },
    BuiltIn {
        pattern: "service_account:kube-system/*",
        about: "service accounts of kube-system as principals",
    },
];

/// Patterns of entitlements and principals that are left alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protect {
    rules: Vec<Rule>,
}

impl Default for Protect {
    fn default() -> Self {
        Protect {
            rules: DEFAULTS
                .iter()
                .map(|default| Rule {
                    pattern: default.pattern.to_owned(),
                    by_default: true,
                })
                .collect(),
        }
    }
}

impl Protect {
    /// The defaults without those of `unprotect`, and `add`.
    ///
    /// # Errors
    /// One sentence: a pattern that can match nothing, or an `unprotect` that
    /// is no default, letter by letter.
    pub fn new(add: &[String], unprotect: &[String]) -> Result<Protect, String> {
        let mut protect = Protect::default();
        for pattern in unprotect {
            if !DEFAULTS.iter().any(|default| default.pattern == pattern) {
                let all: Vec<String> = DEFAULTS
                    .iter()
                    .map(|default| format!("`{}`", default.pattern))
                    .collect();
                return Err(format!(
                    "--unprotect takes away one of the defaults exactly as it is written, and `{}` is none of them: {}",
                    pattern.escape_debug(),
                    all.join(", ")
                ));
            }
            protect.rules.retain(|rule| rule.pattern != *pattern);
        }
        for pattern in add {
            // A typing error here would leave something open without a word.
            if !pattern.contains([':', '*']) {
                return Err(format!(
                    "--protect `{}` can match nothing: an entitlement is `kind:id:slug`, a principal `kind:id`, and `*` stands for anything",
                    pattern.escape_debug()
                ));
            }
            protect.rules.push(Rule {
                pattern: pattern.clone(),
                by_default: false,
            });
        }
        Ok(protect)
    }

    /// All patterns, in the order in which they are tried.
    pub fn patterns(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().map(|rule| rule.pattern.as_str())
    }

    /// The defaults that `--unprotect` took away, as one sentence, if any.
    #[must_use]
    pub fn lifted(&self) -> Option<String> {
        let lifted: Vec<String> = DEFAULTS
            .iter()
            .filter(|default| self.patterns().all(|pattern| pattern != default.pattern))
            .map(|default| format!("`{}`", default.pattern))
            .collect();
        (!lifted.is_empty()).then(|| format!("--unprotect took away {}", lifted.join(", ")))
    }

    /// Why this must not be granted or revoked, if so. `principal` is
    /// `kind:id`.
    #[must_use]
    pub fn reason(&self, entitlement_id: &str, principal: &str) -> Option<Reason> {
        self.rules.iter().find_map(|rule| {
            let subject = [entitlement_id, principal]
                .into_iter()
                .find(|subject| meets(&rule.pattern, subject))?;
            Some(rule.reason(subject))
        })
    }

    /// Why an order must not be carried out, if so: by the ids
    /// that it names, and by those that the host gives what it means. What a
    /// kind is called is the plugin's choice, and a pattern must hold whatever
    /// that is.
    #[must_use]
    pub(super) fn forbids(&self, order: &Order, wish: &Wish) -> Option<Reason> {
        let (entitlement, principal) = wish.ids();
        self.reason(&order.entitlement, &order.principal())
            .or_else(|| self.reason(&entitlement, &principal))
            .or_else(|| {
                // Names are unique in an account, whatever the path.
                let iam = wish.iam()?;
                let kind = if iam.role { "role" } else { "user" };
                let known = if iam.role { "role" } else { "iam_user" };
                let bare = format!(
                    "{known}:arn:{}:iam::{}:{kind}/{}",
                    iam.partition,
                    iam.account,
                    iam.name()
                );
                let rule = self.rules.iter().find(|rule| {
                    meets(&rule.pattern, &bare)
                        || pathless(&rule.pattern).is_some_and(|pattern| meets(&pattern, &bare))
                })?;
                Some(rule.reason(&principal))
            })
    }
}

/// A pattern of one user or role without the path in its ARN.
fn pathless(pattern: &str) -> Option<String> {
    let lower = pattern.to_ascii_lowercase();
    let kind = [":role/", ":user/"]
        .into_iter()
        .find_map(|kind| Some(lower.find(kind)? + kind.len()))?;
    let (head, rest) = pattern.split_at_checked(kind)?;
    let (_, name) = rest.rsplit_once('/')?;
    (!name.contains('*')).then(|| format!("{head}{name}"))
}

/// Whether pattern and id have a name in common. A `*` of the pattern is
/// anything; a `*` inside an id is a scope that EKS expands over namespaces, so
/// `dev-*` and `kube-*` stand for all that they match. Letter case does not
/// count: two IAM roles cannot differ in it alone.
fn meets(pattern: &str, id: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().map(|c| c.to_ascii_lowercase()).collect();
    let id: Vec<char> = id.chars().map(|c| c.to_ascii_lowercase()).collect();
    // `reached[j]`: the first `i` characters of the pattern and the first `j`
    // of the id can stand for the same text.
    let mut reached = vec![false; id.len() + 1];
    if let Some(start) = reached.first_mut() {
        *start = true;
    }
    spread(&mut reached, &id);
    for p in pattern {
        let mut next = vec![false; id.len() + 1];
        if p == '*' {
            let mut any = false;
            for (to, from) in next.iter_mut().zip(&reached) {
                any |= *from;
                *to = any;
            }
        } else {
            for (j, d) in id.iter().enumerate() {
                if !reached.get(j).copied().unwrap_or_default() {
                    continue;
                }
                // A wildcard of the id takes the character and stays.
                let to = match *d {
                    '*' if p != ':' => j,
                    d if d == p => j + 1,
                    _ => continue,
                };
                if let Some(to) = next.get_mut(to) {
                    *to = true;
                }
            }
        }
        spread(&mut next, &id);
        reached = next;
    }
    reached.last().copied().unwrap_or_default()
}

/// A wildcard of the id may stand for nothing.
fn spread(reached: &mut [bool], id: &[char]) {
    for (j, d) in id.iter().enumerate() {
        if *d == '*'
            && reached.get(j).copied().unwrap_or_default()
            && let Some(next) = reached.get_mut(j + 1)
        {
            *next = true;
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const USER: &str = "iam_user:arn:aws:iam::111122223333:user/ana";
    const ROLE: &str = "role:arn:aws:iam::111122223333:role/team/Dev";
    const VIEW: &str = "cluster_role:view:dev:member";

    fn policy(name: &str, scope: &str) -> String {
        format!("access_policy:arn:aws:eks::aws:cluster-access-policy/{name}:assigned:{scope}")
    }

    #[test]
    fn the_defaults_protect_what_rule_24_names() {
        let protect = Protect::default();
        for entitlement in [
            "cluster_role:cluster-admin:all:member",
            "cluster_role:cluster-admin:dev:member",
            "cluster_role:cluster-admin:namespace/all:member",
            "cluster_role:system:node:all:member",
            "cluster_role:view:kube-system:member",
            "namespace_role:kube-system/deployer:member",
            "namespace_role:dev/system:x:member",
            &policy("AmazonEKSClusterAdminPolicy", "cluster"),
            &policy("AmazonEKSClusterAdminPolicy", "dev"),
            &policy("AmazonEKSClusterAdminPolicy", "namespace/cluster"),
            &policy("AmazonEKSViewPolicy", "kube-system"),
            &policy("AmazonEKSViewPolicy", "kube-*"),
            &policy("AmazonEKSViewPolicy", "*-system"),
            &policy("AmazonEKSViewPolicy", "*"),
            &policy("AmazonEKSViewPolicy", "k*e*m"),
        ] {
            assert!(protect.reason(entitlement, USER).is_some(), "{entitlement}");
        }
        for entitlement in [
            VIEW,
            "cluster_role:view:all:member",
            "cluster_role:admin:kube-public:member",
            "cluster_role:cluster-administrator:dev:member",
            "cluster_role:my-system:dev:member",
            "namespace_role:kube-systems/deployer:member",
            "namespace_role:dev/deployer:member",
            &policy("AmazonEKSAdminPolicy", "cluster"),
            &policy("AmazonEKSViewPolicy", "dev"),
            &policy("AmazonEKSViewPolicy", "dev-*"),
            &policy("AmazonEKSViewPolicy", "kube-systems*"),
            &policy("AmazonEKSViewPolicy", "kube-system-*"),
        ] {
            assert_eq!(protect.reason(entitlement, USER), None, "{entitlement}");
        }
        assert!(
            protect
                .reason(VIEW, "service_account:kube-system/coredns")
                .is_some()
        );
        for principal in [USER, ROLE, "service_account:dev/kube-system"] {
            assert_eq!(protect.reason(VIEW, principal), None, "{principal}");
        }
    }

    #[test]
    fn the_hint_says_what_takes_it_away() {
        let protect = Protect::new(&["role:*/Dev".to_owned()], &[]).unwrap();
        let reason = protect.reason("cluster_role:cluster-admin:all:member", USER);
        let reason = reason.unwrap();
        assert_eq!(
            reason.sentence,
            "`cluster_role:cluster-admin:all:member` is protected by default ('cluster_role:cluster-admin:*')"
        );
        let hint = reason.hint.unwrap();
        assert!(
            hint.contains("--unprotect 'cluster_role:cluster-admin:*'"),
            "{hint}"
        );
        let reason = protect.reason(VIEW, ROLE).unwrap();
        assert_eq!(
            reason.sentence,
            "`role:arn:aws:iam::111122223333:role/team/Dev` is protected by --protect 'role:*/Dev'"
        );
        assert_eq!(reason.hint, None);
    }

    #[test]
    fn what_was_taken_away_is_said() {
        let of = |protect: Result<Protect, String>| protect.unwrap().lifted();
        assert_eq!(Protect::default().lifted(), None);
        let one = ["cluster_role:cluster-admin:*".to_owned()];
        assert_eq!(
            of(Protect::new(&[], &one)).unwrap(),
            "--unprotect took away `cluster_role:cluster-admin:*`"
        );
        assert_eq!(of(Protect::new(&one, &one)), None);
        let all: Vec<String> = DEFAULTS.iter().map(|one| one.pattern.to_owned()).collect();
        let said = of(Protect::new(&[], &all)).unwrap();
        assert!(
            said.ends_with(", `service_account:kube-system/*`"),
            "{said}"
        );
    }

    fn order(on: (&str, &str), slug: &str, principal: (&str, &str)) -> Order {
        let id = |(kind, id): (&str, &str)| crate::sandbox::contract::types::ObjectId {
            kind: kind.to_owned(),
            id: id.to_owned(),
        };
        Order {
            direction: super::super::Direction::Grant,
            entitlement: format!("{}:{}:{slug}", on.0, on.1),
            wish: crate::sandbox::contract::types::Grant {
                on: id(on),
                slug: slug.to_owned(),
                principal: id(principal),
                attributes: Vec::new(),
            },
            asked_by: "tester".to_owned(),
            operation: "op".to_owned(),
            mode: super::super::Mode::Plan,
        }
    }

    fn wish(grammar: (&str, &str), order: &Order) -> Wish {
        Wish::of(grammar, &order.wish).unwrap()
    }

    const CLUSTER_ROLE: &str = "kubernetes-cluster-role";
    const ANA: (&str, &str) = ("person", "arn:aws:iam::111122223333:user/ana");

    #[test]
    fn what_a_plugin_calls_its_kinds_takes_no_protection_away() {
        let protect = Protect::default();
        let policy = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy";
        for (grammar, id, slug) in [
            (CLUSTER_ROLE, "cluster-admin", "all:member"),
            (CLUSTER_ROLE, "cluster-admin", "namespace/all:member"),
            (CLUSTER_ROLE, "view", "kube-system:member"),
            ("kubernetes-role", "kube-system/x", "member"),
            ("eks-access-policy", policy, "assigned:cluster"),
        ] {
            let order = order(("clustar_role", id), slug, ANA);
            let wish = wish((grammar, "aws-iam-user"), &order);
            assert_eq!(protect.reason(&order.entitlement, &order.principal()), None);
            assert!(protect.forbids(&order, &wish).is_some(), "{id} {slug}");
        }
        let fine = order(("clustar_role", "view"), "dev:member", ANA);
        assert_eq!(
            protect.forbids(&fine, &wish((CLUSTER_ROLE, "aws-iam-user"), &fine)),
            None
        );
        let account = ("workload", "kube-system/coredns");
        let order = order(("clustar_role", "view"), "dev:member", account);
        let wish = wish((CLUSTER_ROLE, "kubernetes-service-account"), &order);
        let why = protect.forbids(&order, &wish).unwrap();
        assert!(
            why.sentence
                .contains("`service_account:kube-system/coredns`"),
            "{why:?}"
        );
    }

    #[test]
    fn a_path_in_an_arn_takes_no_protection_away() {
        let arn = |path: &str| format!("arn:aws:iam::111122223333:role/{path}");
        for (pattern, named, expected) in [
            ("role:arn:aws:iam::111122223333:role/team/x", "x", true),
            (
                "role:arn:aws:iam::111122223333:role/team/x",
                "other/X",
                true,
            ),
            ("role:arn:aws:iam::111122223333:role/x", "team/x", true),
            ("role:arn:aws:iam::*:role/team/x", "x", true),
            ("role:arn:aws:iam::111122223333:role/team/*", "x", false),
            ("role:arn:aws:iam::111122223333:role/team/*", "team/x", true),
            ("role:arn:aws:iam::111122223333:role/team/x", "y", false),
            ("role:arn:aws:iam::111122223334:role/team/x", "x", false),
            ("iam_user:arn:aws:iam::111122223333:user/team/x", "x", false),
        ] {
            let protect = Protect::new(&[pattern.to_owned()], &[]).unwrap();
            let order = order(
                ("cluster_role", "view"),
                "dev:member",
                ("role", &arn(named)),
            );
            let wish = wish((CLUSTER_ROLE, "aws-iam-role"), &order);
            assert_eq!(
                protect.forbids(&order, &wish).is_some(),
                expected,
                "{pattern} {named}"
            );
        }
    }

    #[test]
    fn patterns_are_added_and_defaults_taken_away_one_by_one() {
        let add = ["role:*/ADMIN".to_owned(), "cluster_role:edit:*".to_owned()];
        let without = ["cluster_role:cluster-admin:*".to_owned()];
        let protect = Protect::new(&add, &without).unwrap();
        let admin = "cluster_role:cluster-admin:all:member";
        assert_eq!(protect.reason(admin, USER), None);
        assert!(
            protect
                .reason(VIEW, "role:arn:aws:iam::111122223333:role/admin")
                .is_some()
        );
        assert!(
            protect
                .reason("cluster_role:edit:all:member", USER)
                .is_some()
        );
        assert!(
            protect
                .reason("cluster_role:system:node:all:member", USER)
                .is_some()
        );
        assert_eq!(protect.patterns().count(), DEFAULTS.len() + 1);
        // What was taken away can be given back.
        let protect = Protect::new(&without, &without).unwrap();
        assert!(protect.reason(admin, USER).is_some());
    }

    #[test]
    fn what_can_match_nothing_is_a_mistake() {
        for pattern in ["cluster-admin", ""] {
            let error = Protect::new(&[pattern.to_owned()], &[]).unwrap_err();
            assert!(error.contains("can match nothing"), "{error}");
        }
        for pattern in ["cluster_role:*", "cluster_role:cluster-admin", ROLE, "*"] {
            let error = Protect::new(&[], &[pattern.to_owned()]).unwrap_err();
            assert!(error.contains("`cluster_role:cluster-admin:*`"), "{error}");
        }
    }

    #[test]
    fn stars_stand_for_anything_and_nothing_else_does() {
        for (pattern, id, expected) in [
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("a*c", "ac", true),
            ("a*c", "abbc", true),
            ("a*c", "ab", false),
            ("a.c", "abc", false),
            ("*a*", "bab", true),
            ("**b", "ab", true),
            // Wildcards of the id end at a colon: a namespace has none.
            ("a:b", "*b", false),
            ("a:b", "*:b", true),
            ("abc", "a*", true),
            ("abc", "*d", false),
        ] {
            assert_eq!(meets(pattern, id), expected, "{pattern} {id}");
        }
        let long = "a*".repeat(2000);
        assert!(!meets(&format!("{long}b"), &"a".repeat(2000)));
    }

    /// With `UPDATE_DOCS=1` it writes the table.
    #[test]
    fn the_documented_defaults_are_those_that_there_are() {
        let mut table = "| pattern | |\n|---|---|\n".to_owned();
        for default in DEFAULTS {
            table.push_str(&format!("| `{}` | {} |\n", default.pattern, default.about));
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/provisioning.md");
        let page = std::fs::read_to_string(path).unwrap();
        let begin = "<!-- generated: protected -->\n";
        let (before, rest) = page.split_once(begin).unwrap();
        let (_, after) = rest.split_once("<!-- end -->").unwrap();
        let expected = format!("{before}{begin}{table}<!-- end -->{after}");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, &expected).unwrap();
        }
        assert_eq!(page, expected, "docs/provisioning.md is out of date");
    }
}
