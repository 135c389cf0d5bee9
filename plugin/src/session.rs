//! One session: settings, the order of pages, and which kind answers.
//!
//! A page token is the number of the next page of the listing that is under
//! way; any other token is refused, because an instance walks its sources once.

use crate::bindings::{
    Descriptor, Entitlement, EntitlementPage, Error, Grant, GrantPage, KindSpec, Object, ObjectId,
    ObjectPage, Plan, Right, Setting, SettingSpec, UpstreamSpec,
};
use crate::evidence::Notes;
use crate::kinds::{self, Walk};
use crate::page::{Item, Page};
use crate::plan::{self, Direction, Planner};
use crate::sources::{Options, Store};
use crate::upstream::{Calls, Host, fail};

const EKS_READ: [&str; 7] = [
    "eks:DescribeCluster",
    "eks:ListAccessEntries",
    "eks:DescribeAccessEntry",
    "eks:ListAssociatedAccessPolicies",
    "eks:ListAccessPolicies",
    "eks:ListPodIdentityAssociations",
    "eks:DescribePodIdentityAssociation",
];
const CLUSTER_READ: [&str; 8] = [
    "list namespaces",
    "list serviceaccounts",
    "list configmaps",
    "list rbac.authorization.k8s.io/clusterroles",
    "list rbac.authorization.k8s.io/clusterrolebindings",
    "list rbac.authorization.k8s.io/roles",
    "list rbac.authorization.k8s.io/rolebindings",
    "get configmaps kube-system/aws-auth",
];

const EKS_PROVISION: [&str; 6] = [
    "eks:CreateAccessEntry",
    "eks:UpdateAccessEntry",
    "eks:DeleteAccessEntry",
    "eks:AssociateAccessPolicy",
    "eks:DisassociateAccessPolicy",
    "eks:TagResource",
];
const CLUSTER_PROVISION: [&str; 10] = [
    "get rbac.authorization.k8s.io/rolebindings",
    "create rbac.authorization.k8s.io/rolebindings",
    "patch rbac.authorization.k8s.io/rolebindings",
    "delete rbac.authorization.k8s.io/rolebindings",
    "get rbac.authorization.k8s.io/clusterrolebindings",
    "create rbac.authorization.k8s.io/clusterrolebindings",
    "patch rbac.authorization.k8s.io/clusterrolebindings",
    "delete rbac.authorization.k8s.io/clusterrolebindings",
    "create configmaps kube-system/aws-auth",
    "update configmaps kube-system/aws-auth",
];

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter()
        .map(|(k, v)| ((*k).to_string(), (*v).to_string()))
        .collect()
}

/// What this connector is.
pub fn describe() -> Descriptor {
    let setting =
        |name: &str, kind: &str, required: bool, attributes: &[(&str, &str)]| SettingSpec {
            name: name.into(),
            kind: kind.into(),
            required,
            attributes: pairs(attributes),
        };
    let rights = |group: &'static str, list: &'static [&str]| {
        list.iter().map(move |right| Right {
            group: group.into(),
            allow: (*right).into(),
        })
    };
    let upstream = |name: &str,
                    kind: &str,
                    read: &'static [&str],
                    provision: &'static [&str],
                    attributes: &[(&str, &str)]| UpstreamSpec {
        name: name.into(),
        kind: kind.into(),
        rights: rights("read", read)
            .chain(rights("provision", provision))
            .collect(),
        attributes: pairs(attributes),
    };
    let place = [
        ("region-setting", "eks-region"),
        ("cluster-setting", "eks-cluster-name"),
    ];
    let mut iam = upstream(
        "iam",
        "aws",
        &["iam:ListRoles"],
        &[],
        &[("service", "iam"), place[0]],
    );
    iam.rights.extend(rights(
        "identities",
        &["iam:GetAccountAuthorizationDetails"],
    ));
    Descriptor {
        name: "baton-eks".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        settings: vec![
            setting(
                "eks-region",
                "string",
                true,
                &[
                    ("description", "Region of the cluster"),
                    ("placeholder", "eu-west-1"),
                ],
            ),
            setting(
                "eks-cluster-name",
                "string",
                true,
                &[
                    ("description", "Name of the cluster to read"),
                    ("placeholder", "prod"),
                ],
            ),
            setting(
                "namespace-entitlements",
                "choice",
                false,
                &[
                    (
                        "description",
                        "Which entitlements per namespace are listed: all, or those that a binding or scope uses",
                    ),
                    ("default", "all"),
                    ("choices", "all"),
                    ("choices", "bound"),
                ],
            ),
            setting(
                "identities",
                "choice",
                false,
                &[
                    (
                        "description",
                        "Where people come from: aws reads IAM's users, groups and their members; none leaves them to --external-resource-c1z",
                    ),
                    ("default", "none"),
                    ("choices", "none"),
                    ("choices", "aws"),
                ],
            ),
            setting(
                "cluster-creator-arn",
                "string",
                false,
                &[
                    (
                        "description",
                        "ARN of whoever created a cluster in mode CONFIG_MAP, named in the evidence of its hidden administrator",
                    ),
                    ("placeholder", "arn:aws:iam::111122223333:role/creator"),
                ],
            ),
        ],
        kinds: KINDS
            .iter()
            .map(|k| KindSpec {
                name: k.0.into(),
                traits: k.2.iter().map(|t| (*t).to_string()).collect(),
                capabilities: [("listed", "sync"), ("access", "provision")]
                    .iter()
                    .filter(|(key, _)| {
                        let has = k.4.iter().any(|(attribute, _)| attribute == key);
                        has == (*key == "access")
                    })
                    .map(|(_, capability)| (*capability).to_string())
                    .collect(),
                attributes: [
                    vec![("display-name".to_string(), k.1.to_string())],
                    k.3.map(|d| ("description".to_string(), d.to_string()))
                        .into_iter()
                        .collect(),
                    pairs(k.4),
                ]
                .concat(),
            })
            .collect(),
        upstreams: vec![
            upstream(
                "eks",
                "aws",
                &EKS_READ,
                &EKS_PROVISION,
                &[&[("service", "eks")], &place[..]].concat(),
            ),
            iam,
            upstream(
                "kubernetes",
                "eks-cluster",
                &CLUSTER_READ,
                &CLUSTER_PROVISION,
                &place,
            ),
        ],
        attributes: pairs(&[("display-name", "Amazon EKS Connector")]),
    }
}

type KindRow = (
    &'static str,
    &'static str,
    &'static [&'static str],
    Option<&'static str>,
    &'static [(&'static str, &'static str)],
);
const HIDDEN: &[(&str, &str)] = &[("listed", "false")];
const KINDS: [KindRow; 12] = [
    ("namespace", "Namespace", &[], None, &[]),
    (
        "service_account",
        "Service Account",
        &["user"],
        None,
        &[("principal", "kubernetes-service-account")],
    ),
    (
        "configmap",
        "Config Map",
        &[],
        None,
        &[("optional", "true")],
    ),
    (
        "cluster_role",
        "Cluster Role",
        &["role"],
        None,
        &[("access", "kubernetes-cluster-role")],
    ),
    (
        "namespace_role",
        "Namespace Role",
        &["role"],
        Some("Kubernetes Namespace Role"),
        &[("access", "kubernetes-role")],
    ),
    (
        "role",
        "IAM Role",
        &["role"],
        Some("AWS IAM Role"),
        &[("principal", "aws-iam-role")],
    ),
    (
        "access_policy",
        "Access Policy",
        &["role"],
        Some("EKS Access Policy"),
        &[("access", "eks-access-policy")],
    ),
    ("kube_group", "Kubernetes Group", &["group"], None, &[]),
    ("kube_user", "Kubernetes User", &["user"], None, &[]),
    (
        "iam_user",
        "IAM User",
        &["user"],
        Some("AWS IAM User"),
        &[
            ("listed", "false"),
            ("listed-when", "identities=aws"),
            ("principal", "aws-iam-user"),
        ],
    ),
    ("user", "User", &["user"], None, HIDDEN),
    (
        "group",
        "Group",
        &["group"],
        None,
        &[("listed", "false"), ("listed-when", "identities=aws")],
    ),
];

enum Work {
    Objects(Box<dyn Walk<Object>>),
    Entitlements(Box<dyn Walk<Entitlement>>),
    Grants(Box<dyn Walk<Grant>>),
}

struct Job {
    kind: String,
    work: Work,
    pages: u64,
    walked: bool,
}

/// An open session.
pub struct Session {
    store: Store,
    host: Box<dyn Host>,
    job: Option<Job>,
    planner: Option<Planner>,
}

impl Session {
    /// Checks the settings, all at once; reads nothing.
    pub fn open(settings: &[Setting], host: Box<dyn Host>) -> Result<Session, Error> {
        let mut wrong: Vec<String> = Vec::new();
        let (mut region, mut cluster, mut creator) = (None, None, None);
        let (mut bound, mut identities) = (false, false);
        for setting in settings {
            let value = setting.value.trim();
            match setting.name.as_str() {
                "eks-region" => region = Some(value).filter(|v| !v.is_empty()),
                "eks-cluster-name" => cluster = Some(value).filter(|v| !v.is_empty()),
                "identities" => match value {
                    "" | "none" => identities = false,
                    "aws" => identities = true,
                    other => wrong.push(format!(
                        "`identities` must be `none` or `aws`, not `{other}`"
                    )),
                },
                "cluster-creator-arn" => creator = Some(value).filter(|v| !v.is_empty()),
                "namespace-entitlements" => match value {
                    "" | "all" => bound = false,
                    "bound" => bound = true,
                    other => wrong.push(format!(
                        "`namespace-entitlements` must be `all` or `bound`, not `{other}`"
                    )),
                },
                other => wrong.push(format!("`{other}` is not a setting of this connector")),
            }
        }
        match region {
            None => wrong.push("`eks-region` is missing".into()),
            Some(r)
                if !r.contains('-')
                    || !r
                        .bytes()
                        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') =>
            {
                wrong.push(format!("`eks-region` is not a region: `{r}`"));
            }
            Some(_) => {}
        }
        match cluster {
            None => wrong.push("`eks-cluster-name` is missing".into()),
            Some(c)
                if c.len() > 100
                    || !c
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
                    || !c.starts_with(|f: char| f.is_ascii_alphanumeric()) =>
            {
                wrong.push(format!(
                    "`eks-cluster-name` is not the name of a cluster: `{c}`"
                ));
            }
            Some(_) => {}
        }
        if let Some(arn) = creator.filter(|c| crate::aws::arn::Arn::parse(c).is_none()) {
            wrong.push(format!(
                "`cluster-creator-arn` is not the ARN of a user or role: `{arn}`"
            ));
        }
        match (cluster, wrong.is_empty()) {
            (Some(cluster), true) => {
                let options = Options {
                    cluster_name: cluster.into(),
                    bound,
                    creator: creator.map(str::to_string),
                    identities,
                };
                Ok(Session {
                    store: Store::new(options),
                    host,
                    job: None,
                    planner: None,
                })
            }
            _ => Err(fail("invalid-config", wrong.join("; "))),
        }
    }

    /// Reads the cluster and its namespaces: proof that EKS and the cluster's
    /// API answer and that they are the right ones. What it reads is kept.
    pub fn validate(&mut self) -> Result<Vec<(String, String)>, Error> {
        let mut calls = Calls::new(self.host.as_mut());
        let cluster = self.store.cluster(&mut calls)?;
        self.store
            .namespaces
            .ensure(&mut calls, &mut self.store.notes)?;
        Ok(pairs(&[
            ("cluster-arn", &cluster.arn),
            ("authentication-mode", cluster.mode.name()),
            ("kubernetes-version", &cluster.version),
            ("account", &cluster.account),
            ("partition", &cluster.partition),
        ]))
    }

    /// A page of objects.
    pub fn list_objects(
        &mut self,
        kind: &str,
        parent: Option<ObjectId>,
        page: Option<String>,
    ) -> Result<ObjectPage, Error> {
        self.turn(kind, page, || {
            kinds::objects(kind, parent).map(Work::Objects)
        })?;
        let (items, next, attributes) = self.fill(|work| match work {
            Work::Objects(walk) => Some(walk),
            _ => None,
        })?;
        Ok(ObjectPage {
            items,
            next,
            attributes,
        })
    }

    /// A page of entitlements.
    pub fn list_entitlements(
        &mut self,
        kind: &str,
        page: Option<String>,
    ) -> Result<EntitlementPage, Error> {
        self.turn(kind, page, || {
            kinds::entitlements(kind).map(Work::Entitlements)
        })?;
        let (items, next, attributes) = self.fill(|work| match work {
            Work::Entitlements(walk) => Some(walk),
            _ => None,
        })?;
        Ok(EntitlementPage {
            items,
            next,
            attributes,
        })
    }

    /// A page of grants.
    pub fn list_grants(&mut self, kind: &str, page: Option<String>) -> Result<GrantPage, Error> {
        self.turn(kind, page, || kinds::grants(kind).map(Work::Grants))?;
        let (items, next, attributes) = self.fill(|work| match work {
            Work::Grants(walk) => Some(walk),
            _ => None,
        })?;
        Ok(GrantPage {
            items,
            next,
            attributes,
        })
    }

    /// What a wish takes, from reads that begin with the first call for it. A plan
    /// with `more` is continued by the same call.
    pub fn plan(&mut self, direction: Direction, wish: &Grant) -> Result<Plan, Error> {
        let planner = match self.planner.take() {
            Some(planner) if planner.is_for(direction, wish) => planner,
            _ => Planner::new(direction, wish, &self.store.options.cluster_name)?,
        };
        let mut planner = planner;
        let mut calls = Calls::new(self.host.as_mut());
        match planner.step(&mut calls)? {
            Some(plan) => Ok(plan),
            None => {
                self.planner = Some(planner);
                Ok(plan::more())
            }
        }
    }

    /// Begins a listing, or checks that the token continues the one under way.
    fn turn(
        &mut self,
        kind: &str,
        page: Option<String>,
        begin: impl FnOnce() -> Option<Work>,
    ) -> Result<(), Error> {
        match (page, &self.job) {
            (None, _) => {
                let work = begin().ok_or_else(|| {
                    fail(
                        "invalid-request",
                        format!("`{kind}` is not a kind that is listed"),
                    )
                })?;
                self.job = Some(Job {
                    kind: kind.into(),
                    work,
                    pages: 0,
                    walked: false,
                });
                Ok(())
            }
            (Some(token), Some(job)) if job.kind == kind && token == job.pages.to_string() => {
                Ok(())
            }
            _ => Err(fail(
                "invalid-request",
                "the page token does not continue the listing that is under way; begin again without one",
            )),
        }
    }

    #[allow(clippy::type_complexity)]
    fn fill<T: Item>(
        &mut self,
        pick: impl Fn(&mut Work) -> Option<&mut Box<dyn Walk<T>>>,
    ) -> Result<(Vec<T>, Option<String>, Vec<(String, String)>), Error> {
        // Taken out, so that a listing that fails cannot be continued.
        let mut job = self.job.take();
        let mut page = Page::new();
        let mut next = None;
        if let Some(job) = &mut job {
            let walk = pick(&mut job.work).ok_or_else(|| {
                fail(
                    "invalid-request",
                    "the page token belongs to another listing",
                )
            })?;
            if !job.walked {
                let mut calls = Calls::new(self.host.as_mut());
                job.walked = walk.fill(&mut self.store, &mut calls, &mut page)?;
            }
            let attributes = page.notes(&mut self.store.notes);
            if !job.walked || !self.store.notes.is_empty() {
                job.pages += 1;
                next = Some(job.pages.to_string());
            }
            let more = next.is_some();
            let out = (page.items, next, attributes);
            if more {
                self.job = Some(std::mem::replace(
                    job,
                    Job {
                        kind: String::new(),
                        work: Work::Grants(kinds::nothing()),
                        pages: 0,
                        walked: true,
                    },
                ));
            }
            return Ok(out);
        }
        Ok((page.items, next, Notes::default().take(0)))
    }
}
