//! Trust policies: who may become a role.
//!
//! Reads what `ListRoles` returns, tolerant of every legal form (one statement
//! or a list, `"Principal": "*"`, strings or lists) and of broken ones. `Deny`
//! and `NotPrincipal` subtract. A condition never makes access vanish: it makes
//! it conditional, with the condition in words. Delegation to a whole account
//! is no grant by itself: an identity policy must allow it too.

use serde_json::Value;

use super::arn::{Arn, Kind, is_account};
use crate::text::{cut, glob};

/// A trust policy, taken apart.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    statements: Vec<Statement>,
}

#[derive(Clone, Debug)]
struct Statement {
    allow: bool,
    /// `NotPrincipal`.
    inverted: bool,
    principals: Vec<Named>,
    actions: Vec<String>,
    /// `NotAction`.
    not_actions: bool,
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug, PartialEq)]
enum Named {
    Everyone,
    /// An account: its root or its bare id.
    Account(String),
    Principal(Arn),
    Session(Arn, String),
    Federated(String),
    Service(String),
    /// A unique id of something deleted, a canonical user, anything else.
    Other(String),
}

#[derive(Clone, Debug)]
pub(super) struct Condition {
    operator: String,
    key: String,
    values: Vec<String>,
}

/// Somebody that a role's trust policy lets in by name.
#[derive(Clone, Debug)]
pub struct Trusted {
    /// A user or a role.
    pub arn: Arn,
    /// The only session name that is let in.
    pub session: Option<String>,
    /// Why it may not work, in words; empty if it certainly does.
    pub conditions: String,
}

/// Which service accounts of this cluster a role lets in.
#[derive(Clone, Debug, PartialEq)]
pub enum Subjects {
    /// Every one.
    All,
    /// Those that match one pattern of each list.
    Matching(Vec<Vec<Pattern>>),
}

/// What a token's `sub` is compared with.
#[derive(Clone, Debug, PartialEq)]
pub struct Pattern {
    /// As in the policy.
    pub text: String,
    /// Whether `*` and `?` are wildcards in it.
    pub glob: bool,
}

impl Pattern {
    /// Whether the subject matches.
    pub fn matches(&self, subject: &str) -> bool {
        if self.glob {
            glob(&self.text, subject, true)
        } else {
            self.text == subject
        }
    }
}

/// One statement that lets workloads of this cluster in.
#[derive(Clone, Debug)]
pub struct Federation {
    /// Which service accounts.
    pub subjects: Subjects,
    /// Why it may not work, in words; empty if it certainly does.
    pub conditions: String,
}

enum Verdict {
    No,
    Yes,
    Maybe(String),
}

impl Trust {
    /// Reads a policy; the error says why it cannot be read.
    pub fn parse(document: &str) -> Result<Trust, String> {
        let value: Value = serde_json::from_str(document).map_err(|e| e.to_string())?;
        let statements = match value.get("Statement") {
            Some(Value::Array(list)) => list.iter().collect(),
            Some(one @ Value::Object(_)) => vec![one],
            _ => return Err("it has no Statement".into()),
        };
        Ok(Trust {
            statements: statements.into_iter().filter_map(statement).collect(),
        })
    }

    /// Users and roles that may assume the role by their name. `account` is the
    /// role's: from another account an identity policy is needed too.
    pub fn trusted(&self, account: &str) -> Vec<Trusted> {
        let mut out = Vec::new();
        for s in self.allowing("sts:AssumeRole") {
            if s.inverted {
                continue;
            }
            for named in &s.principals {
                let (arn, session) = match named {
                    Named::Principal(arn) if matches!(arn.kind, Kind::User | Kind::Role) => {
                        (arn, None)
                    }
                    Named::Session(arn, session) => (arn, Some(session.clone())),
                    _ => continue,
                };
                let denied = self.denied("sts:AssumeRole", named);
                if matches!(denied, Verdict::Yes) {
                    continue;
                }
                let mut words = conditions(&s.conditions);
                if let Verdict::Maybe(unless) = denied {
                    join(&mut words, &format!("denied if {unless}"));
                }
                if arn.account != account {
                    join(
                        &mut words,
                        &format!(
                            "an identity policy in account {} must allow it too",
                            arn.account
                        ),
                    );
                }
                out.push(Trusted {
                    arn: arn.clone(),
                    session,
                    conditions: words,
                });
            }
        }
        out
    }

    /// Whether the role leaves it to its account who may assume it, and `arn`
    /// is not refused: `Some` with what must hold besides, in words. A group is
    /// no principal; with `None` the answer is that of the account.
    pub fn delegated(&self, account: &str, arn: Option<&Arn>) -> Option<String> {
        let whole = Named::Account(account.to_string());
        let named = arn.map_or_else(|| whole.clone(), |arn| Named::Principal(arn.clone()));
        let denied = self.denied("sts:AssumeRole", &named);
        let mut best: Option<String> = None;
        for s in self
            .allowing("sts:AssumeRole")
            .filter(|s| !s.inverted && s.principals.contains(&whole))
        {
            let mut words = conditions(&s.conditions);
            match &denied {
                Verdict::Yes => return None,
                Verdict::Maybe(unless) => join(&mut words, &format!("denied if {unless}")),
                Verdict::No => {}
            }
            if best.as_ref().is_none_or(|b| words.len() < b.len()) {
                best = Some(words);
            }
        }
        best
    }

    /// Whether it refuses anybody.
    pub fn refuses(&self) -> bool {
        self.statements.iter().any(|s| !s.allow)
    }

    /// Services of AWS that may assume the role.
    pub fn services(&self) -> Vec<&str> {
        self.allowing("sts:AssumeRole")
            .filter(|s| !s.inverted)
            .flat_map(|s| &s.principals)
            .filter_map(|named| match named {
                Named::Service(name) => Some(name.as_str()),
                _ => None,
            })
            .collect()
    }

    /// What else is let in, in words: no row stands for these.
    pub fn others(&self) -> Vec<String> {
        let mut out = Vec::new();
        for s in self.statements.iter().filter(|s| s.allow) {
            for named in &s.principals {
                let who = match named {
                    Named::Everyone => "everyone".to_string(),
                    Named::Account(account) => format!("account {account}"),
                    Named::Principal(arn)
                        if matches!(arn.kind, Kind::User | Kind::Role) && !s.inverted =>
                    {
                        continue;
                    }
                    Named::Principal(arn) => arn.full(),
                    Named::Session(..) if !s.inverted => continue,
                    Named::Session(arn, session) => format!("{} session {session}", arn.full()),
                    Named::Federated(name) | Named::Service(name) | Named::Other(name) => {
                        name.clone()
                    }
                };
                let mut line = if s.inverted {
                    format!("everyone except {who}")
                } else {
                    who
                };
                let words = conditions(&s.conditions);
                if !words.is_empty() {
                    line = format!("{line} if {words}");
                }
                let line = cut(&line, 500);
                if !out.contains(&line) {
                    out.push(line);
                }
            }
        }
        out
    }

    /// Which workloads of the cluster with this issuer may assume the role by
    /// IRSA. `account` is the account of the OIDC provider, the role's own.
    pub fn workloads(&self, issuer: &str, account: &str) -> Vec<Federation> {
        const ACTION: &str = "sts:AssumeRoleWithWebIdentity";
        let mut out = Vec::new();
        for s in self.allowing(ACTION).filter(|s| !s.inverted) {
            for named in &s.principals {
                let Named::Federated(provider) = named else {
                    continue;
                };
                if !is_provider(provider, issuer, account) {
                    continue;
                }
                let denied = self.denied(ACTION, named);
                if matches!(denied, Verdict::Yes) {
                    continue;
                }
                let mut found = federation(&s.conditions, issuer);
                if let Verdict::Maybe(unless) = denied {
                    join(&mut found.conditions, &format!("denied if {unless}"));
                }
                out.push(found);
            }
        }
        out
    }

    /// Whether Pod Identity may assume the role: `None` if not, else why it may
    /// fail, in words (empty if it certainly works). `tags`: the association
    /// sends session tags, which need a permission of their own.
    pub fn pod_identity(&self, tags: bool) -> Option<String> {
        let service = Named::Service("pods.eks.amazonaws.com".into());
        let mut best: Option<String> = None;
        for s in self
            .allowing("sts:AssumeRole")
            .filter(|s| !s.inverted && s.principals.contains(&service))
        {
            let mut words = conditions(&s.conditions);
            match self.denied("sts:AssumeRole", &service) {
                Verdict::Yes => return None,
                Verdict::Maybe(unless) => join(&mut words, &format!("denied if {unless}")),
                Verdict::No => {}
            }
            if best.as_ref().is_none_or(|b| words.len() < b.len()) {
                best = Some(words);
            }
        }
        let tagging = self
            .allowing("sts:TagSession")
            .any(|s| !s.inverted && s.principals.contains(&service));
        if let (Some(words), true, false) = (&mut best, tags, tagging) {
            join(words, "the trust policy does not allow sts:TagSession");
        }
        best
    }

    /// Whether EKS Capabilities (ACK, kro, Argo CD) run as the role.
    pub fn capability(&self) -> bool {
        let service = Named::Service("capabilities.eks.amazonaws.com".into());
        self.statements
            .iter()
            .any(|s| s.allow && !s.inverted && s.principals.contains(&service))
    }

    fn allowing(&self, action: &'static str) -> impl Iterator<Item = &Statement> {
        self.statements
            .iter()
            .filter(move |s| s.allow && s.covers(action))
    }

    fn denied(&self, action: &str, who: &Named) -> Verdict {
        let mut maybe = String::new();
        for s in self
            .statements
            .iter()
            .filter(|s| !s.allow && s.covers(action))
        {
            if s.names(who) == s.inverted {
                continue;
            }
            if s.conditions.is_empty() {
                return Verdict::Yes;
            }
            join(&mut maybe, &conditions(&s.conditions));
        }
        if maybe.is_empty() {
            Verdict::No
        } else {
            Verdict::Maybe(maybe)
        }
    }
}

impl Statement {
    fn covers(&self, action: &str) -> bool {
        let action = action.to_ascii_lowercase();
        self.actions
            .iter()
            .any(|a| glob(&a.to_ascii_lowercase(), &action, true))
            != self.not_actions
    }

    /// Whether the principals of a `Deny` name somebody; an account stands for all in it.
    fn names(&self, who: &Named) -> bool {
        self.principals.iter().any(|p| match (p, who) {
            (Named::Everyone, _) => true,
            (Named::Account(account), Named::Principal(arn) | Named::Session(arn, _)) => {
                *account == arn.account
            }
            (Named::Principal(a), Named::Principal(b) | Named::Session(b, _)) => a.key() == b.key(),
            (Named::Federated(a), Named::Federated(b)) => same_provider(a, b),
            (a, b) => a == b,
        })
    }
}

fn statement(value: &Value) -> Option<Statement> {
    let allow = match value.get("Effect").and_then(Value::as_str)? {
        e if e.eq_ignore_ascii_case("allow") => true,
        e if e.eq_ignore_ascii_case("deny") => false,
        _ => return None,
    };
    let (principal, inverted) = match (value.get("Principal"), value.get("NotPrincipal")) {
        (Some(p), _) => (p, false),
        (None, Some(p)) => (p, true),
        (None, None) => return None,
    };
    let (action, not_actions) = match (value.get("Action"), value.get("NotAction")) {
        (Some(a), _) => (a, false),
        (None, Some(a)) => (a, true),
        (None, None) => return None,
    };
    Some(Statement {
        allow,
        inverted,
        principals: principals(principal),
        actions: strings(action),
        not_actions,
        conditions: condition_list(value.get("Condition")),
    })
}

fn principals(value: &Value) -> Vec<Named> {
    let Value::Object(map) = value else {
        return strings(value).iter().map(|s| aws(s)).collect();
    };
    let mut out = Vec::new();
    for (kind, names) in map {
        for name in strings(names) {
            out.push(match kind.to_ascii_lowercase().as_str() {
                "aws" => aws(&name),
                "federated" => Named::Federated(name),
                "service" => Named::Service(name),
                _ => Named::Other(name),
            });
        }
    }
    out
}

fn aws(name: &str) -> Named {
    if name == "*" {
        return Named::Everyone;
    }
    if is_account(name) {
        return Named::Account(name.to_string());
    }
    if let Some(arn) = Arn::parse(name) {
        return if arn.kind == Kind::Root {
            Named::Account(arn.account)
        } else {
            Named::Principal(arn)
        };
    }
    match Arn::parse_session(name) {
        Some((arn, session)) => Named::Session(arn, session),
        None => Named::Other(name.to_string()),
    }
}

/// A string, or a list of strings; booleans and numbers as text.
pub(super) fn strings(value: &Value) -> Vec<String> {
    match value {
        Value::Array(list) => list.iter().flat_map(strings).collect(),
        Value::String(text) => vec![text.clone()],
        Value::Bool(_) | Value::Number(_) => vec![value.to_string()],
        _ => Vec::new(),
    }
}

pub(super) fn condition_list(value: Option<&Value>) -> Vec<Condition> {
    let mut out = Vec::new();
    for (operator, keys) in value.and_then(Value::as_object).into_iter().flatten() {
        for (key, values) in keys.as_object().into_iter().flatten() {
            out.push(Condition {
                operator: operator.clone(),
                key: key.clone(),
                values: strings(values),
            });
        }
    }
    out
}

/// A condition in words: what it is for, where that is known, and as it stands.
fn words(c: &Condition) -> String {
    let values = c.values.join(" or ");
    let plain = format!("{} {} = {values}", c.operator, c.key);
    let operator = c.operator.to_ascii_lowercase();
    let is = |text: &str| c.values.iter().all(|v| v.eq_ignore_ascii_case(text));
    let not = operator.contains("not");
    let sense = match c.key.to_ascii_lowercase().as_str() {
        "aws:multifactorauthpresent" if operator.starts_with("bool") && is("true") => "with MFA",
        "aws:multifactorauthpresent" if operator.starts_with("bool") && is("false") => {
            "without MFA"
        }
        "aws:multifactorauthage" if operator.contains("lessthan") => "with a recent MFA",
        "sts:externalid" if !not => "with an external id",
        "aws:sourceip" if not => "not from addresses",
        "aws:sourceip" => "from addresses",
        _ => return cut(&plain, 300),
    };
    let text = if sense.ends_with("addresses") {
        format!("{sense} {values} ({} {})", c.operator, c.key)
    } else {
        format!("{sense} ({plain})")
    };
    cut(&text, 300)
}

pub(super) fn conditions(list: &[Condition]) -> String {
    let mut out = String::new();
    for c in list {
        join(&mut out, &words(c));
    }
    out
}

/// Adds a condition in words to others.
pub fn join(text: &mut String, more: &str) {
    if !text.is_empty() && !more.is_empty() {
        text.push_str("; ");
    }
    text.push_str(more);
}

/// The two spellings of one EKS issuer as (region, id), where it is one.
fn eks_issuer(issuer: &str) -> Option<(&str, &str)> {
    let (host, id) = issuer.split_once("/id/")?;
    let region = match host.strip_prefix("oidc.eks.") {
        Some(rest) => rest.split_once(".amazonaws.com")?.0,
        None => host.strip_prefix("oidc-eks.")?.split_once(".api.")?.0,
    };
    Some((region, id))
}

fn same_issuer(a: &str, b: &str) -> bool {
    a == b || (eks_issuer(a).is_some() && eks_issuer(a) == eks_issuer(b))
}

/// Two spellings of one cluster's provider count as one.
fn same_provider(a: &str, b: &str) -> bool {
    let split = |arn| str::split_once(arn, ":oidc-provider/");
    a == b
        || matches!((split(a), split(b)), (Some((x, a)), Some((y, b))) if x == y && same_issuer(a, b))
}

fn is_provider(arn: &str, issuer: &str, account: &str) -> bool {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let provider = parts.get(5).and_then(|r| r.strip_prefix("oidc-provider/"));
    parts.get(2) == Some(&"iam")
        && parts.get(4) == Some(&account)
        && provider.is_some_and(|p| same_issuer(p, issuer))
}

/// What the conditions of a web identity statement leave of the service accounts.
fn federation(list: &[Condition], issuer: &str) -> Federation {
    let mut subjects = Vec::new();
    let mut rest = String::new();
    for c in list {
        let full = c.operator.to_ascii_lowercase();
        let (quantifier, operator) = full.rsplit_once(':').unwrap_or(("", &full));
        let if_exists = operator.ends_with("ifexists");
        let operator = operator.trim_end_matches("ifexists");
        // Condition keys are compared in any case.
        let key = c.key.to_ascii_lowercase();
        let (provider, claim) = key.rsplit_once(':').unwrap_or(("", &key));
        let ours = same_issuer(provider, &issuer.to_ascii_lowercase());
        let like = operator == "stringlike";
        let equal = like || matches!(operator, "stringequals" | "stringequalsignorecase");
        let patterns = || -> Vec<Pattern> {
            let pattern = |v: &String| Pattern {
                // Names of service accounts are in lower case.
                text: if operator == "stringequalsignorecase" {
                    v.to_ascii_lowercase()
                } else {
                    v.clone()
                },
                glob: like,
            };
            c.values.iter().map(pattern).collect()
        };
        if !ours && eks_issuer(provider).is_some() {
            // A claim of another cluster's tokens: ours never have it.
            if operator.starts_with("stringnot") || if_exists || quantifier == "forallvalues" {
                continue;
            }
            if equal {
                subjects.push(Vec::new());
            }
            join(&mut rest, &words(c));
            continue;
        }
        match claim {
            "sub" if ours && equal => subjects.push(patterns()),
            "aud" if ours && equal && patterns().iter().any(|p| p.matches("sts.amazonaws.com")) => {
            }
            _ => join(&mut rest, &words(c)),
        }
    }
    let every = |list: &Vec<Pattern>| {
        list.iter().any(|p| {
            p.glob
                && matches!(
                    p.text.as_str(),
                    "*" | "system:*" | "system:serviceaccount:*" | "system:serviceaccount:*:*"
                )
        })
    };
    subjects.retain(|list| !every(list));
    let subjects = if subjects.is_empty() {
        Subjects::All
    } else {
        Subjects::Matching(subjects)
    };
    Federation {
        subjects,
        conditions: rest,
    }
}
