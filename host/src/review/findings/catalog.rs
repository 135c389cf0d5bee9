//! All findings, as data: what they are called, how bad they are, why anybody
//! should care and what to do. `docs/review.md` has this table.

use serde::Serialize;

/// How bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Whoever has it has the cluster.
    Critical,
    /// It leads there, or to what is secret.
    High,
    /// It is wider than needed, or will surprise somebody.
    Medium,
    /// Tidy up.
    Low,
    /// Know it when you read the rest.
    Info,
}

impl Severity {
    /// As it is printed.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Severity::Critical => "critical",
            Severity::High => "high",
            Severity::Medium => "medium",
            Severity::Low => "low",
            Severity::Info => "info",
        }
    }
}

/// What is looked at.
#[derive(Debug, Clone, Copy)]
pub(super) enum Look {
    /// Roles that allow one of these: verb and resource, as in `who-can`. The
    /// last two say whether it counts in a namespace only too, and how bad it
    /// is there.
    Can(&'static [(&'static str, &'static str)], Option<Severity>),
    /// Something that the file keeps as evidence, by its types.
    Evidence(&'static [&'static str]),
    /// A check of its own.
    Own,
}

/// A rule.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// Its name, which never changes.
    pub id: &'static str,
    /// How bad.
    pub severity: Severity,
    /// What was found, as a heading.
    pub title: &'static str,
    /// Why anybody should care.
    pub why: &'static str,
    /// What to do.
    pub mend: &'static str,
    pub(super) look: Look,
}

const fn rule(
    id: &'static str,
    severity: Severity,
    title: &'static str,
    why: &'static str,
    mend: &'static str,
    look: Look,
) -> Rule {
    Rule {
        id,
        severity,
        title,
        why,
        mend,
        look,
    }
}

use Look::{Can, Evidence, Own};
use Severity::{Critical, High, Info, Low, Medium};

/// Every rule, the worst first.
pub static RULES: &[Rule] = &[
    rule(
        "open-to-anonymous",
        Critical,
        "Access without logging in",
        "Whoever reaches the API server has it, with no account at all.",
        "Remove system:anonymous and system:unauthenticated from the bindings that are named here.",
        Own,
    ),
    rule(
        "cluster-admin",
        Critical,
        "Administrators of the whole cluster",
        "They may do everything, read every secret and give themselves anything else.",
        "Keep a break-glass role or two; give the others a narrower role or policy, in namespaces.",
        Own,
    ),
    rule(
        "system-masters",
        Critical,
        "Members of system:masters",
        "The API server lets this group through before it looks at any binding, so no change of RBAC ends it and audit policies often skip it.",
        "Take the group out of the mapping; use an access entry with AmazonEKSClusterAdminPolicy instead.",
        Own,
    ),
    rule(
        "write-aws-auth",
        Critical,
        "Can change who is an administrator, by aws-auth",
        "The config map kube-system/aws-auth maps AWS principals to any group, system:masters included.",
        "Move the cluster to access entries (mode API), or take the right on config maps of kube-system away.",
        Own,
    ),
    rule(
        "escalate",
        Critical,
        "Can give themselves any right",
        "`escalate` and `bind` switch off the check that nobody gives away more than he has.",
        "Name the roles that may be bound with resourceNames, or take the verb away.",
        Can(
            &[
                ("escalate", "clusterroles"),
                ("escalate", "roles"),
                ("bind", "clusterroles"),
                ("bind", "roles"),
            ],
            Some(High),
        ),
    ),
    rule(
        "impersonate",
        Critical,
        "Can act as somebody else",
        "Who impersonates users or groups has what they have, system:masters included; a service account's rights likewise.",
        "Take the verb away, or name the users with resourceNames.",
        Can(
            &[
                ("impersonate", "users"),
                ("impersonate", "groups"),
                ("impersonate", "serviceaccounts"),
            ],
            Some(Medium),
        ),
    ),
    rule(
        "shadow-admin",
        Critical,
        "Can make themselves administrators through AWS",
        "Rights in IAM policies that lead to every right in the cluster; nothing in the cluster shows them. Those who are administrators already would keep it this way.",
        "Take the actions out of the policies that are named here, or limit them with a permissions boundary or a service control policy.",
        Own,
    ),
    rule(
        "open-to-everyone",
        High,
        "Access for everybody who logs in",
        "Every AWS principal that is mapped, every service account and every OIDC user has it.",
        "Bind the role to the groups that need it.",
        Own,
    ),
    rule(
        "trust-everyone",
        High,
        "Roles that anybody in AWS may assume",
        "The trust policy names everyone; conditions are all that stands before the role's access.",
        "Name the principals in the trust policy.",
        Own,
    ),
    rule(
        "mapped-account",
        High,
        "Whole accounts that may log in",
        "mapAccounts lets every principal of an account in, also those that are made tomorrow.",
        "Remove the account from mapAccounts and map principals.",
        Evidence(&["mapped-account"]),
    ),
    rule(
        "wildcard-rules",
        High,
        "Rules with wildcards",
        "`*` includes resources and verbs that do not exist yet, and escalate, bind and impersonate.",
        "Spell out verbs and resources.",
        Own,
    ),
    rule(
        "read-secrets",
        High,
        "Can read secrets",
        "Secrets hold the tokens and passwords of everything that runs there; list shows their content too.",
        "Take get, list and watch on secrets away, or name the secrets with resourceNames.",
        Can(
            &[
                ("get", "secrets"),
                ("list", "secrets"),
                ("watch", "secrets"),
            ],
            Some(Medium),
        ),
    ),
    rule(
        "exec-in-pods",
        High,
        "Can run commands in pods",
        "Whoever runs a command in a pod has its service account, its secrets and its network.",
        "Take pods/exec, pods/attach and pods/ephemeralcontainers away.",
        Can(
            &[
                ("create", "pods/exec"),
                ("get", "pods/exec"),
                ("create", "pods/attach"),
                ("get", "pods/attach"),
                ("patch", "pods/ephemeralcontainers"),
                ("update", "pods/ephemeralcontainers"),
            ],
            Some(Medium),
        ),
    ),
    rule(
        "node-proxy",
        High,
        "Can reach the kubelets",
        "nodes/proxy runs commands in every pod of a node, past admission and the audit log.",
        "Take nodes/proxy away.",
        Can(&[("get", "nodes/proxy"), ("create", "nodes/proxy")], None),
    ),
    rule(
        "make-tokens",
        High,
        "Can make tokens of service accounts",
        "A token of a service account is its access, and it outlives the pod.",
        "Take create on serviceaccounts/token away.",
        Can(&[("create", "serviceaccounts/token")], Some(Medium)),
    ),
    rule(
        "approve-certificates",
        High,
        "Can approve certificates",
        "An approved client certificate may be of any user and group, and cannot be revoked.",
        "Take update on certificatesigningrequests/approval away, or approve on the signers.",
        Can(
            &[
                ("update", "certificatesigningrequests/approval"),
                ("patch", "certificatesigningrequests/approval"),
            ],
            None,
        ),
    ),
    rule(
        "change-admission",
        High,
        "Can change admission webhooks",
        "A webhook sees every object that is written, secrets included, and may change it.",
        "Take the verbs on webhook configurations away.",
        Can(
            &[
                ("create", "mutatingwebhookconfigurations"),
                ("update", "mutatingwebhookconfigurations"),
                ("patch", "mutatingwebhookconfigurations"),
                ("create", "validatingwebhookconfigurations"),
                ("update", "validatingwebhookconfigurations"),
                ("patch", "validatingwebhookconfigurations"),
            ],
            None,
        ),
    ),
    rule(
        "pods-beside-strong-accounts",
        High,
        "Can start pods as a stronger service account",
        "Whoever makes a pod chooses its service account in the namespace, and so has what that one has.",
        "Give strong service accounts a namespace of their own.",
        Own,
    ),
    rule(
        "workload-to-cluster",
        High,
        "Workloads that become an IAM role with access to a cluster",
        "A takeover of the pod is access to the cluster in the role's name.",
        "Give the workload a role that no cluster knows.",
        Own,
    ),
    rule(
        "every-workload-role",
        High,
        "IAM roles that every service account may assume",
        "The trust policy names the cluster's provider and no subject.",
        "Put a condition on `sub` into the trust policy.",
        Own,
    ),
    rule(
        "change-access",
        High,
        "Can change who has access, through AWS",
        "Rights in IAM policies to change access entries, identity providers or the cluster's settings.",
        "Leave these actions to the tool that keeps the entries, with conditions on eks:policyArn and eks:principalArn.",
        Own,
    ),
    rule(
        "take-over",
        High,
        "Can take over others who have access",
        "Rights in IAM policies to become a role or user that has access to the cluster.",
        "Name roles and users in these statements, without those that have access.",
        Own,
    ),
    rule(
        "disabled-account",
        High,
        "Disabled accounts that still have access",
        "Access keys and sessions may outlive the account's log-in.",
        "Remove the account from its groups and mappings.",
        Own,
    ),
    rule(
        "hidden-creator",
        Medium,
        "A hidden administrator: the cluster's creator",
        "In mode CONFIG_MAP the creator is in system:masters and no API shows it.",
        "Move the cluster to access entries, where the creator's entry can be seen and removed.",
        Evidence(&["hidden-creator"]),
    ),
    rule(
        "open-endpoint",
        Medium,
        "The API server can be reached from everywhere",
        "A stolen token or a fault in the API server can be used from anywhere.",
        "Name the networks in the cluster's public access, or switch public access off.",
        Own,
    ),
    rule(
        "no-audit-log",
        Medium,
        "No audit log is kept",
        "Nobody can say later who read a secret or gave himself a right.",
        "Switch on the log `audit` of the control plane.",
        Own,
    ),
    rule(
        "trust-account",
        Medium,
        "Roles that a whole account may assume",
        "Who in that account may use it is decided by the policies there, which change without the role.",
        "Name the principals in the trust policy, with an external id for another company.",
        Own,
    ),
    rule(
        "change-bindings",
        Medium,
        "Can bind roles",
        "They may hand on everything that they have themselves, to anybody and for ever.",
        "Leave bindings to the tool that keeps them.",
        Can(
            &[
                ("create", "clusterrolebindings"),
                ("create", "rolebindings"),
                ("update", "clusterrolebindings"),
                ("update", "rolebindings"),
                ("patch", "clusterrolebindings"),
                ("patch", "rolebindings"),
            ],
            Some(Low),
        ),
    ),
    rule(
        "node-role",
        Medium,
        "Who may become a node",
        "A node's role is in system:nodes: it reads the secrets of its pods and writes its own status.",
        "Let only EC2 assume node roles, and few people open sessions on machines.",
        Own,
    ),
    rule(
        "dangling-role",
        Medium,
        "Bindings to roles that do not exist",
        "Whoever makes a role of that name decides what the subjects may do.",
        "Delete the bindings.",
        Evidence(&["dangling-role"]),
    ),
    rule(
        "before-access-entries",
        Medium,
        "Lines to replace before the cluster moves to access entries",
        "With mode API no line of aws-auth counts any more. Access entries refuse groups and user names that begin with `system:` and service-linked roles; the other lines can be made into entries.",
        "Make an entry for each before the mode is changed, with an access policy where a group is refused.",
        Own,
    ),
    rule(
        "dead-mapping",
        Low,
        "Mappings that give nothing",
        "They look like access and are none, until somebody makes the principal again.",
        "Delete them.",
        Evidence(&["dead-line", "dead-entry", "dead-policy", "dead-association"]),
    ),
    rule(
        "shadowed-line",
        Low,
        "Lines of aws-auth that come back",
        "An access entry replaces them; if it is deleted, they count again, with all their groups.",
        "Delete the lines.",
        Evidence(&["shadowed-line"]),
    ),
    rule(
        "malformed",
        Low,
        "Lines and trust policies that cannot be read",
        "Nobody knows what they give; AWS may read them otherwise.",
        "Mend them.",
        Evidence(&[
            "malformed-line",
            "malformed-trust",
            "ambiguous-line",
            "uncertain-line",
        ]),
    ),
    rule(
        "latent",
        Low,
        "Access that waits for somebody to make what is missing",
        "Whoever makes the role, the service account, the namespace or the mapping of that name has it.",
        "Delete the bindings and scopes.",
        Own,
    ),
    rule(
        "unmatched-trust",
        Low,
        "Roles that wait for a service account",
        "A service account that is made with such a name gets the role.",
        "Delete the statement, or make it exact.",
        Evidence(&["unmatched-trust"]),
    ),
    rule(
        "unused-pattern",
        Low,
        "Wildcard scopes that match no namespace",
        "They give nothing now, and whoever makes a namespace of such a name gives access to it.",
        "Remove the scopes.",
        Own,
    ),
    rule(
        "unused-role",
        Low,
        "Roles with access that nobody uses",
        "Access that nobody misses. IAM says when a role was used last in any service, and not in which cluster.",
        "Remove the access, then the role.",
        Own,
    ),
    rule(
        "pattern-scope",
        Low,
        "Access policies scoped by a pattern",
        "A namespace that is made tomorrow with such a name is included.",
        "Name the namespaces.",
        Own,
    ),
    rule(
        "unknown-people",
        Info,
        "Roles whose people are not known",
        "They are assumed through Identity Center or by another account, whose assignments no file here holds.",
        "Give the AWS connector's file too: `baton-host review report prod.c1z aws.c1z`.",
        Own,
    ),
    rule(
        "unknown-rules",
        Info,
        "Roles whose rules are not known",
        "The files do not hold their rules, or not all; they may give any of the above.",
        "Sync the cluster with a connector that reads rules; look at policies of AWS's services in its guide.",
        Own,
    ),
    rule(
        "not-checked",
        Info,
        "Principals that could not be checked",
        "Nobody looked whether they still exist.",
        "Look in the accounts that are named.",
        Evidence(&[
            "unverified-entry",
            "unverified-entries",
            "unknown-entry",
            "unknown-entry-type",
            "undescribed-entry",
            "vanished-entry",
            "vanished-association",
        ]),
    ),
    rule(
        "not-read",
        Info,
        "What was not read",
        "Nothing here says anything of it.",
        "Give the connector the right, and sync again.",
        Own,
    ),
];
