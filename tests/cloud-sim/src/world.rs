//! The facts of a running cloud, and the questions that every service asks of them.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};

use crate::arn::Principal;
use crate::kubernetes::store::Store;
use crate::policy::{self, Context, action_matches};
use crate::scenario::{
    ClusterSpec, Container, EntrySpec, GroupSpec, Pages, PolicySpec, RoleSpec, Scenario, UserSpec,
    WebIdentity,
};
use crate::text::{base64, millis, sha256, unique_id, uuid};

/// Everything that can change while the cloud runs. Times are milliseconds.
#[derive(Debug)]
pub(crate) struct World {
    pub partition: String,
    pub region: String,
    pub pages: Pages,
    pub delay: i64,
    pub accounts: BTreeMap<String, Account>,
    pub keys: HashMap<String, Key>,
    pub clusters: Vec<Cluster>,
    pub web_identity: Vec<WebIdentity>,
    pub container: Option<Container>,
    /// Changes that arrived, as `iam:AttachRolePolicy`, in order.
    pub mutations: Vec<String>,
    /// The time of the request that is being answered.
    pub now: i64,
    issued: u64,
    seed: String,
}

#[derive(Debug, Default)]
pub(crate) struct Account {
    pub users: BTreeMap<String, User>,
    pub groups: BTreeMap<String, GroupSpec>,
    pub roles: BTreeMap<String, Role>,
}

#[derive(Debug)]
pub(crate) struct User {
    pub spec: UserSpec,
    pub principal: Principal,
    pub id: String,
}

#[derive(Debug)]
pub(crate) struct Role {
    pub spec: RoleSpec,
    pub principal: Principal,
    pub id: String,
    pub created: i64,
    /// When EKS has heard of it.
    pub ready_at: i64,
}

/// An access key: a static one, or one of a session.
#[derive(Clone)]
pub(crate) struct Key {
    pub secret: String,
    pub holder: Principal,
    pub session: Option<Session>,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key")
            .field("holder", &self.holder)
            .finish_non_exhaustive()
    }
}

#[derive(Clone)]
pub(crate) struct Session {
    pub name: String,
    pub token: String,
    pub expires: i64,
    pub policy: Option<Value>,
}

/// Who signed a request.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub principal: Principal,
    /// As `GetCallerIdentity` says it.
    pub arn: String,
    pub user_id: String,
    pub access_key: String,
    pub session_name: Option<String>,
    pub policy: Option<Value>,
}

#[derive(Debug)]
pub(crate) struct Cluster {
    pub spec: ClusterSpec,
    pub account: String,
    pub region: String,
    pub arn: String,
    pub issuer: String,
    pub ca_pem: String,
    pub endpoint: String,
    pub entries: BTreeMap<String, Entry>,
    /// What readers and the authenticator still see of an entry, and until when.
    pub lag: BTreeMap<String, (i64, Option<Entry>)>,
    pub pods: Vec<PodIdentity>,
    pub store: Store,
    /// Idempotency tokens: what was asked, and what was answered.
    pub tokens: HashMap<String, (String, Value)>,
}

#[derive(Debug, Clone)]
pub(crate) struct PodIdentity {
    pub id: String,
    pub namespace: String,
    pub service_account: String,
    pub role_arn: String,
    pub target_role_arn: Option<String>,
    pub created: i64,
}

#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub principal: Principal,
    /// The id the principal had when the entry was made: what identities are compared with.
    pub principal_id: String,
    pub kind: String,
    pub username: String,
    pub groups: Vec<String>,
    pub created: i64,
    pub modified: i64,
    pub tags: BTreeMap<String, String>,
    pub uuid: String,
    pub policies: Vec<Association>,
}

#[derive(Debug, Clone)]
pub(crate) struct Association {
    pub policy_arn: String,
    /// `None` is the whole cluster.
    pub namespaces: Option<Vec<String>>,
    pub associated: i64,
    pub modified: i64,
}

impl Entry {
    /// An entry as a scenario writes it; `None` where its principal is none.
    pub(crate) fn of(
        partition: &str,
        spec: &EntrySpec,
        created: i64,
        id: impl Fn(&Principal) -> String,
    ) -> Option<Entry> {
        let principal = Principal::parse(&spec.principal)?;
        let association = |p: &PolicySpec| Association {
            policy_arn: format!(
                "arn:{partition}:eks::aws:cluster-access-policy/{}",
                p.policy
            ),
            namespaces: p.namespaces.clone(),
            associated: created,
            modified: created,
        };
        Some(Entry {
            principal_id: id(&principal),
            uuid: uuid(&spec.principal),
            username: spec
                .username
                .clone()
                .unwrap_or_else(|| crate::eks::default_username(&principal, &spec.kind)),
            principal,
            kind: spec.kind.clone(),
            groups: spec.groups.clone(),
            created,
            modified: created,
            tags: spec.tags.clone(),
            policies: spec.policies.iter().map(association).collect(),
        })
    }
}

impl Cluster {
    /// An entry as it is seen at a time, which may be later than as it is.
    pub(crate) fn seen(&self, arn: &str, now: i64) -> Option<&Entry> {
        match self.lag.get(arn) {
            Some((until, old)) if *until > now => old.as_ref(),
            _ => self.entries.get(arn),
        }
    }

    /// All entries as they are seen at a time, by ARN.
    pub(crate) fn all_seen(&self, now: i64) -> Vec<(&String, &Entry)> {
        let mut arns: Vec<&String> = self.entries.keys().chain(self.lag.keys()).collect();
        arns.sort();
        arns.dedup();
        arns.into_iter()
            .filter_map(|arn| Some((arn, self.seen(arn, now)?)))
            .collect()
    }

    /// What is seen now stays in sight for a while, whatever is changed next.
    pub(crate) fn keep_in_sight(&mut self, arn: &str, now: i64, delay: i64) {
        if delay > 0 {
            let old = self.seen(arn, now).cloned();
            self.lag.insert(arn.to_owned(), (now + delay, old));
        }
    }
}

impl World {
    pub(crate) fn new(scenario: Scenario, now: i64, seed: &str) -> World {
        let partition = scenario.partition.clone();
        let mut accounts = BTreeMap::new();
        let mut keys = HashMap::new();
        for account in scenario.accounts {
            let mut state = Account::default();
            for spec in account.users {
                let principal = principal(&partition, &account.id, "user", &spec.path, &spec.name);
                for key in &spec.keys {
                    keys.insert(
                        key.id.clone(),
                        Key {
                            secret: key.secret.clone(),
                            holder: principal.clone(),
                            session: None,
                        },
                    );
                }
                let id = unique_id(
                    "AIDA",
                    &format!("{}{}", principal.canonical(), spec.created),
                );
                state.users.insert(
                    spec.name.clone(),
                    User {
                        spec,
                        principal,
                        id,
                    },
                );
            }
            for spec in account.roles {
                let principal = principal(&partition, &account.id, "role", &spec.path, &spec.name);
                let id = unique_id(
                    "AROA",
                    &format!("{}{}", principal.canonical(), spec.created),
                );
                let created = millis(&spec.created);
                state.roles.insert(
                    spec.name.clone(),
                    Role {
                        spec,
                        principal,
                        id,
                        created,
                        ready_at: 0,
                    },
                );
            }
            state.groups = account
                .groups
                .into_iter()
                .map(|g| (g.name.clone(), g))
                .collect();
            accounts.insert(account.id, state);
        }
        let mut world = World {
            partition,
            region: scenario.region,
            pages: scenario.pages,
            delay: scenario.consistency_delay_ms,
            accounts,
            keys,
            clusters: Vec::new(),
            web_identity: scenario.web_identity_tokens,
            container: scenario.container,
            mutations: Vec::new(),
            now,
            issued: 0,
            seed: seed.to_owned(),
        };
        let first = world.accounts.keys().next().cloned().unwrap_or_default();
        for spec in scenario.clusters {
            let cluster = world.cluster_of(spec, &first);
            world.clusters.push(cluster);
        }
        world
    }

    fn cluster_of(&self, spec: ClusterSpec, first_account: &str) -> Cluster {
        let account = spec
            .account
            .clone()
            .unwrap_or_else(|| first_account.to_owned());
        let region = spec.region.clone().unwrap_or_else(|| self.region.clone());
        let arn = format!(
            "arn:{}:eks:{region}:{account}:cluster/{}",
            self.partition, spec.name
        );
        let issuer = spec.issuer.clone().unwrap_or_else(|| {
            let id = sha256(arn.as_bytes())
                .get(..32)
                .unwrap_or_default()
                .to_uppercase();
            format!("https://oidc.eks.{region}.amazonaws.com/id/{id}")
        });
        let mut entries = BTreeMap::new();
        for e in &spec.entries {
            let created = millis(&e.created);
            if let Some(entry) = Entry::of(&self.partition, e, created, |p| self.id_at(p, created))
            {
                entries.insert(e.principal.clone(), entry);
            }
        }
        let pods = spec
            .pod_identities
            .iter()
            .enumerate()
            .map(|(n, p)| PodIdentity {
                id: format!("a-{}", unique_id("", &format!("{arn}{n}")).to_lowercase()),
                namespace: p.namespace.clone(),
                service_account: p.service_account.clone(),
                role_arn: p.role_arn.clone(),
                target_role_arn: p.target_role_arn.clone(),
                created: millis("2025-02-01T00:00:00Z"),
            })
            .collect();
        Cluster {
            store: Store::new(&spec),
            spec,
            account,
            region,
            arn,
            issuer,
            ca_pem: String::new(),
            endpoint: String::new(),
            entries,
            lag: BTreeMap::new(),
            pods,
            tokens: HashMap::new(),
        }
    }

    /// The unique id a principal had at a time: its present one, unless it is younger or gone.
    pub(crate) fn id_at(&self, principal: &Principal, time: i64) -> String {
        let Some(account) = self.accounts.get(&principal.account) else {
            return unique_id("AROA", &principal.canonical());
        };
        let found = match principal.kind.as_str() {
            "role" => account
                .roles
                .get(&principal.name)
                .filter(|r| r.created <= time)
                .map(|r| r.id.clone()),
            _ => account
                .users
                .get(&principal.name)
                .filter(|u| millis(&u.spec.created) <= time)
                .map(|u| u.id.clone()),
        };
        found.unwrap_or_else(|| unique_id("GONE", &principal.canonical()))
    }

    /// The unique id of a principal now.
    pub(crate) fn id_of(&self, principal: &Principal) -> String {
        self.id_at(principal, i64::MAX)
    }

    /// Whether a principal exists with exactly this ARN. Other accounts' are taken on trust.
    pub(crate) fn exists(&self, principal: &Principal) -> bool {
        let Some(account) = self.accounts.get(&principal.account) else {
            return true;
        };
        match principal.kind.as_str() {
            "role" => account
                .roles
                .get(&principal.name)
                .is_some_and(|r| r.principal == *principal && r.ready_at <= self.now),
            _ => account
                .users
                .get(&principal.name)
                .is_some_and(|u| u.principal == *principal),
        }
    }

    pub(crate) fn role(&self, arn: &str) -> Option<&Role> {
        let principal = Principal::parse(arn)?;
        self.accounts
            .get(&principal.account)?
            .roles
            .get(&principal.name)
            .filter(|r| r.principal == principal)
    }

    /// The caller a key stands for.
    pub(crate) fn caller(&self, access_key: &str, key: &Key) -> Caller {
        let id = self.id_of(&key.holder);
        let (arn, user_id, session_name) = match &key.session {
            Some(s) => (
                format!(
                    "arn:{}:sts::{}:assumed-role/{}/{}",
                    key.holder.partition, key.holder.account, key.holder.name, s.name
                ),
                format!("{id}:{}", s.name),
                Some(s.name.clone()),
            ),
            None => (key.holder.arn(), id, None),
        };
        Caller {
            principal: key.holder.clone(),
            arn,
            user_id,
            access_key: access_key.to_owned(),
            session_name,
            policy: key.session.as_ref().and_then(|s| s.policy.clone()),
        }
    }

    /// Identity policies and session policy of a caller.
    ///
    /// # Errors
    /// The reason, as AWS words it.
    pub(crate) fn permit(
        &self,
        caller: &Caller,
        action: &str,
        resource: &str,
        context: &Context,
    ) -> Result<(), String> {
        let refuse = |why: String| {
            Err(format!(
                "User: {} is not authorized to perform: {action} on resource: {resource} {why}",
                caller.arn
            ))
        };
        match self.identity_allows(&caller.principal, action, resource, context) {
            Some(true) => {}
            Some(false) => {
                return refuse("with an explicit deny in an identity-based policy".into());
            }
            None => {
                return refuse(format!(
                    "because no identity-based policy allows the {action} action"
                ));
            }
        }
        match caller
            .policy
            .as_ref()
            .map(|p| policy::decide(p, action, resource, context))
        {
            None | Some(Some(true)) => Ok(()),
            Some(Some(false)) => refuse("with an explicit deny in a session policy".into()),
            Some(None) => refuse(format!(
                "because no session policy allows the {action} action"
            )),
        }
    }

    /// What a principal's own policies say.
    pub(crate) fn identity_allows(
        &self,
        principal: &Principal,
        action: &str,
        resource: &str,
        context: &Context,
    ) -> Option<bool> {
        let account = self.accounts.get(&principal.account)?;
        let (policy, allow, deny) = match principal.kind.as_str() {
            "role" => account
                .roles
                .get(&principal.name)
                .map(|r| (&r.spec.policy, &r.spec.allow, &r.spec.deny))?,
            _ => account
                .users
                .get(&principal.name)
                .map(|u| (&u.spec.policy, &u.spec.allow, &u.spec.deny))?,
        };
        if deny.iter().any(|p| action_matches(p, action)) {
            return Some(false);
        }
        let own = match policy {
            Some(document) => policy::decide(document, action, resource, context),
            None => allow
                .as_ref()
                .is_none_or(|list| list.iter().any(|p| action_matches(p, action)))
                .then_some(true),
        };
        let groups = account
            .groups
            .values()
            .filter(|group| principal.kind == "user" && group.members.contains(&principal.name));
        let mut decided = vec![own];
        let documents = groups.filter_map(|group| group.policy.as_ref());
        decided.extend(documents.map(|d| policy::decide(d, action, resource, context)));
        if decided.contains(&Some(false)) {
            return Some(false);
        }
        decided.contains(&Some(true)).then_some(true)
    }

    /// Makes credentials of a session of a role.
    pub(crate) fn issue(
        &mut self,
        role: &Principal,
        name: &str,
        seconds: i64,
        policy: Option<Value>,
    ) -> (String, Key) {
        self.issued += 1;
        let n = format!("{}{}{}", self.seed, self.issued, self.now);
        let id = unique_id("ASIA", &n)
            .get(..20)
            .unwrap_or_default()
            .to_owned();
        let noise: String = (0..6)
            .map(|i| sha256(format!("token{n}{i}").as_bytes()))
            .collect();
        let key = Key {
            secret: base64(sha256(format!("secret{n}").as_bytes()))[..40].to_owned(),
            holder: role.clone(),
            session: Some(Session {
                name: name.to_owned(),
                // Real tokens hold `/`, `+` and `=`; ours do too, for those who forget to encode.
                token: format!("IQoJb3JpZ2luX2Vj//+{}==", base64(noise)),
                expires: self.now + seconds * 1000,
                policy,
            }),
        };
        self.keys.insert(id.clone(), key.clone());
        (id, key)
    }

    /// The AWS document that an identity's `allow` and `deny` lists stand for.
    pub(crate) fn document(allow: Option<&Vec<String>>, deny: &[String]) -> Value {
        let all = vec!["*".to_owned()];
        let mut statements = Vec::new();
        let allow = allow.unwrap_or(&all);
        if !allow.is_empty() {
            statements.push(json!({"Effect": "Allow", "Action": allow, "Resource": "*"}));
        }
        if !deny.is_empty() {
            statements.push(json!({"Effect": "Deny", "Action": deny, "Resource": "*"}));
        }
        json!({"Version": "2012-10-17", "Statement": statements})
    }
}

fn principal(partition: &str, account: &str, kind: &str, path: &str, name: &str) -> Principal {
    Principal {
        partition: partition.into(),
        account: account.into(),
        kind: kind.into(),
        path: path.into(),
        name: name.into(),
    }
}
