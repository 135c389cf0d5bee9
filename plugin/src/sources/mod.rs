//! What has been read so far, and what is still to be read.
//!
//! Every source is read once in the life of an instance, in one fixed order:
//! access entries before IAM's roles, so that a role made in between cannot look
//! gone. Reading stops whenever the calls of one exported call are spent and
//! goes on with the next, so it is a list of stages and not a function.

pub(crate) mod answers;
mod names;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use serde_json::json;

use crate::aws::eks::{
    Association, Cluster, DescribeEntry, DescribePod, EntryList, Mode, Pod, PodList, Policy,
    PolicyList,
};
use crate::bindings::Error;
use crate::evidence::Notes;
use crate::identity::EntryRead;
use crate::identity::people::People;
use crate::identity::rights::Rights;
use crate::identity::roles::Roles;
use crate::kubernetes::aws_auth::{self, AwsAuth};
use crate::kubernetes::list::{self, Cursor, Resource, Step};
use crate::kubernetes::rbac::Bindings;
use crate::kubernetes::{Binding, ConfigMap};
use crate::upstream::{Calls, Request, eks, fault};
use crate::world::{Parts, World};
use answers::{associated, filtered, json_of, not_permitted, ok};

pub use names::Names;

/// The operator's settings.
#[derive(Clone, Debug)]
pub struct Options {
    /// `eks-cluster-name`.
    pub cluster_name: String,
    /// `--namespace-entitlements bound`.
    pub bound: bool,
    /// `cluster-creator-arn`.
    pub creator: Option<String>,
    /// `--identities aws`.
    pub identities: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Cluster,
    AwsAuth,
    Entries,
    Descriptions,
    Policies,
    Filters,
    Associations,
    Roles,
    PodList,
    Pods,
    Namespaces,
    ServiceAccounts,
    RoleBindings,
    ClusterRoleBindings,
    Build,
    Done,
}

/// Everything that this instance has read.
pub struct Store {
    /// The settings.
    pub options: Options,
    /// Warnings and evidence that wait for a page.
    pub notes: Notes,
    /// Namespaces.
    pub namespaces: Names,
    /// Service accounts.
    pub service_accounts: Names,
    /// Config maps.
    pub config_maps: Names,
    /// ClusterRoles.
    pub cluster_roles: Names,
    /// Roles.
    pub roles: Names,
    /// IAM's users and groups, where they were asked for.
    pub people: Rc<People>,
    /// The joined cluster, once everything is read.
    pub world: Option<Rc<World>>,
    stage: Stage,
    token: Option<String>,
    cluster: Option<Rc<Cluster>>,
    aws_auth: Option<AwsAuth>,
    entry_arns: BTreeSet<String>,
    entries: Vec<EntryRead>,
    queue: VecDeque<(String, Request)>,
    catalogue: Vec<Policy>,
    with_policy: BTreeSet<String>,
    associations: BTreeMap<String, Vec<Association>>,
    iam: Roles,
    reading: People,
    rights: Rights,
    pods: Vec<Pod>,
    cursor: Option<Cursor>,
    bindings: Bindings,
}

impl Store {
    /// Before anything is read.
    pub fn new(options: Options) -> Self {
        Store {
            options,
            notes: Notes::default(),
            namespaces: Names::new(list::NAMESPACES, false),
            service_accounts: Names::new(list::SERVICE_ACCOUNTS, true),
            config_maps: Names::new(list::CONFIG_MAPS, true),
            cluster_roles: Names::new(list::CLUSTER_ROLES, false),
            roles: Names::new(list::ROLES, true),
            people: Rc::default(),
            world: None,
            reading: People::default(),
            rights: Rights::default(),
            stage: Stage::Cluster,
            token: None,
            cluster: None,
            aws_auth: None,
            entry_arns: BTreeSet::new(),
            entries: Vec::new(),
            queue: VecDeque::new(),
            catalogue: Vec::new(),
            with_policy: BTreeSet::new(),
            associations: BTreeMap::new(),
            iam: Roles::default(),
            pods: Vec::new(),
            cursor: None,
            bindings: Bindings::default(),
        }
    }

    /// The cluster, read if it was not yet.
    pub fn cluster(&mut self, calls: &mut Calls) -> Result<Rc<Cluster>, Error> {
        if let Some(cluster) = &self.cluster {
            return Ok(cluster.clone());
        }
        let cluster = Rc::new(answers::cluster(&self.options.cluster_name, calls)?);
        if let Some(odd) = &cluster.odd_mode {
            self.notes.warn(format!(
                "the authentication mode `{odd}` is not known; it is read as API_AND_CONFIG_MAP"
            ));
        }
        if cluster.status == "UPDATING" {
            self.notes
                .warn("the cluster is UPDATING; its reported authentication mode is used");
        }
        self.notes.evidence(json!({
            "type": "cluster", "arn": cluster.arn, "authentication_mode": cluster.mode.name(),
            "kubernetes_version": cluster.version, "status": cluster.status, "issuer": cluster.issuer,
            "endpoint_public": cluster.endpoint.public, "endpoint_private": cluster.endpoint.private,
            "public_cidrs": cluster.endpoint.cidrs, "audit_log": cluster.audit_log,
        }));
        self.notes.evidence(json!({
            "type": "not-asked", "source": "OIDC identity providers of the cluster",
            "reason": "this connector has no right that lists them; a name that only they can give is shown as a Kubernetes user or group",
        }));
        if !self.options.identities {
            self.notes.evidence(json!({
                "type": "not-asked", "source": "IAM policies",
                "reason": "who may change access entries or take over a role is read with --identities aws",
            }));
        }
        self.cluster = Some(cluster.clone());
        Ok(cluster)
    }

    /// Reads on until everything is joined (`Some`) or the calls are spent.
    pub fn world(&mut self, calls: &mut Calls) -> Result<Option<Rc<World>>, Error> {
        loop {
            if let Some(world) = &self.world {
                return Ok(Some(world.clone()));
            }
            if calls.spent() {
                return Ok(None);
            }
            self.step(calls)?;
        }
    }

    fn step(&mut self, calls: &mut Calls) -> Result<(), Error> {
        let cluster = self.cluster(calls)?;
        let name = self.options.cluster_name.clone();
        match self.stage {
            Stage::Cluster => {
                self.stage = if cluster.mode == Mode::Api {
                    self.notes.evidence(json!({"type": "ignored-source", "source": "aws-auth", "reason": "in mode API the cluster does not look at it"}));
                    Stage::Entries
                } else {
                    Stage::AwsAuth
                };
            }
            Stage::AwsAuth => {
                self.read_aws_auth(&cluster, calls)?;
                self.stage = if cluster.mode == Mode::ConfigMap {
                    self.notes.evidence(json!({"type": "ignored-source", "source": "access entries", "reason": "in mode CONFIG_MAP there are none"}));
                    Stage::Roles
                } else {
                    Stage::Entries
                };
            }
            Stage::Entries => {
                let request = answers::entries(&name, self.token.as_deref());
                let page: EntryList = json_of(&request, &calls.get(&request)?)?;
                self.entry_arns.extend(page.access_entries);
                self.token = page.next_token;
                if self.token.is_none() {
                    self.queue = self
                        .entry_arns
                        .iter()
                        .map(|arn| (arn.clone(), answers::entry(&name, arn)))
                        .collect();
                    self.stage = Stage::Descriptions;
                }
            }
            Stage::Descriptions => self.describe_entries(calls)?,
            Stage::Policies => self.list_policies(&cluster, calls)?,
            Stage::Filters => {
                let with_policy = &mut self.with_policy;
                calls.fan_out(&mut self.queue, |policy, request, response| {
                    let page: EntryList = json_of(request, &ok(request, response)?)?;
                    with_policy.extend(page.access_entries);
                    let next = page.next_token;
                    Ok(next.map(|t| (policy.clone(), filtered(&name, &policy, Some(&t)))))
                })?;
                if self.queue.is_empty() {
                    self.queue = self
                        .with_policy
                        .iter()
                        .map(|arn| (arn.clone(), associated(&name, arn, None)))
                        .collect();
                    self.stage = Stage::Associations;
                }
            }
            Stage::Associations => {
                let (associations, notes) = (&mut self.associations, &mut self.notes);
                calls.fan_out(&mut self.queue, |arn, request, response| {
                    if response.status == 404 {
                        notes.evidence(json!({"type": "vanished-entry", "principal": arn}));
                        return Ok(None);
                    }
                    answers::associations(&name, arn, request, response, associations)
                })?;
                if self.queue.is_empty() {
                    self.stage = Stage::Roles;
                }
            }
            Stage::Roles => {
                let token = self.token.as_deref();
                let (next, odd) = if self.options.identities {
                    answers::identities(
                        token,
                        &mut self.iam,
                        &mut self.reading,
                        &mut self.rights,
                        calls,
                    )?
                } else {
                    answers::roles(token, &mut self.iam, calls)?
                };
                for arn in odd {
                    self.notes.warn(format!(
                        "IAM listed a role, user or group whose ARN makes no sense: {arn}"
                    ));
                }
                self.token = next;
                if self.token.is_none() {
                    self.people = Rc::new(std::mem::take(&mut self.reading));
                    self.rights.finish();
                    self.stage = Stage::PodList;
                }
            }
            Stage::PodList => {
                let request = answers::pods(&name, self.token.as_deref());
                let response = calls.send(&request);
                if let Some(why) = not_permitted(&request, &response) {
                    self.no_pods(&why);
                    return Ok(());
                }
                let page: PodList = json_of(&request, &ok(&request, response?)?)?;
                for pod in page.associations {
                    let path = [
                        "clusters",
                        &name,
                        "pod-identity-associations",
                        &pod.association_id,
                    ];
                    self.queue.push_back((
                        pod.association_id.clone(),
                        eks("eks:DescribePodIdentityAssociation", &path, &[]),
                    ));
                }
                self.token = page.next_token;
                if self.token.is_none() {
                    self.stage = Stage::Pods;
                }
            }
            Stage::Pods => {
                let (pods, notes) = (&mut self.pods, &mut self.notes);
                let read = calls.fan_out(&mut self.queue, |id, request, response| {
                    if response.status == 404 {
                        notes.evidence(json!({"type": "vanished-association", "association": id}));
                        return Ok(None);
                    }
                    let answer: DescribePod = json_of(request, &ok(request, response)?)?;
                    pods.push(answer.association);
                    Ok(None)
                });
                match read {
                    Err(error) if error.kind == "not-permitted" => self.no_pods(&error.message),
                    Err(error) => return Err(error),
                    Ok(()) if self.queue.is_empty() => self.stage = Stage::Namespaces,
                    Ok(()) => {}
                }
            }
            Stage::Namespaces => {
                if self.namespaces.ensure(calls, &mut self.notes)? {
                    self.stage = Stage::ServiceAccounts;
                }
            }
            Stage::ServiceAccounts => {
                if self.service_accounts.ensure(calls, &mut self.notes)? {
                    self.stage = Stage::RoleBindings;
                }
            }
            Stage::RoleBindings => {
                if self.read_bindings(list::ROLE_BINDINGS, false, calls)? {
                    self.stage = Stage::ClusterRoleBindings;
                }
            }
            Stage::ClusterRoleBindings => {
                if self.read_bindings(list::CLUSTER_ROLE_BINDINGS, true, calls)? {
                    self.stage = Stage::Build;
                }
            }
            Stage::Build => {
                let parts = Parts {
                    cluster,
                    creator: self.options.creator.clone(),
                    namespaces: self.namespaces.read(),
                    service_accounts: self.service_accounts.read(),
                    bindings: std::mem::take(&mut self.bindings),
                    aws_auth: self.aws_auth.take(),
                    entries: std::mem::take(&mut self.entries),
                    associations: std::mem::take(&mut self.associations),
                    catalogue: std::mem::take(&mut self.catalogue),
                    roles: std::mem::take(&mut self.iam),
                    people: self.options.identities.then(|| self.people.clone()),
                    rights: self
                        .options
                        .identities
                        .then(|| std::mem::take(&mut self.rights)),
                    pods: std::mem::take(&mut self.pods),
                };
                self.world = Some(Rc::new(World::build(parts, &mut self.notes)));
                self.stage = Stage::Done;
            }
            Stage::Done => {}
        }
        Ok(())
    }

    fn read_aws_auth(&mut self, cluster: &Cluster, calls: &mut Calls) -> Result<(), Error> {
        let request = answers::aws_auth();
        let response = calls.send(&request)?;
        if response.status == 404 {
            self.notes.evidence(json!({"type": "absent-source", "source": "aws-auth", "reason": "the ConfigMap does not exist"}));
            if cluster.mode == Mode::ConfigMap {
                self.notes.warn("the ConfigMap kube-system/aws-auth does not exist, so nobody but the cluster's creator can enter");
            }
            return Ok(());
        }
        let map: ConfigMap = json_of(&request, &ok(&request, response)?)?;
        self.aws_auth = Some(aws_auth::read(&map.data));
        Ok(())
    }

    fn describe_entries(&mut self, calls: &mut Calls) -> Result<(), Error> {
        let (entries, notes) = (&mut self.entries, &mut self.notes);
        calls.fan_out(&mut self.queue, |arn, request, response| {
            match response.status {
                404 => notes.evidence(json!({"type": "vanished-entry", "principal": arn})),
                200..300 => {
                    let entry = json_of::<DescribeEntry>(request, &response)
                        .map(|a| a.access_entry)
                        .map_err(|e| e.message);
                    entries.push(EntryRead { arn, entry });
                }
                _ => {
                    let error = fault(request, &response);
                    if matches!(
                        error.kind.as_str(),
                        "not-permitted" | "unauthenticated" | "rate-limited"
                    ) {
                        return Err(error);
                    }
                    entries.push(EntryRead {
                        arn,
                        entry: Err(error.message),
                    });
                }
            }
            Ok(None)
        })?;
        calls.host.progress(
            self.entries.len() as u64,
            Some(self.entry_arns.len() as u64),
            "access entries",
        );
        if self.queue.is_empty() {
            self.stage = Stage::Policies;
        }
        Ok(())
    }

    fn list_policies(&mut self, cluster: &Cluster, calls: &mut Calls) -> Result<(), Error> {
        let request = answers::catalogue(self.token.as_deref());
        let response = calls.send(&request)?;
        if matches!(response.status, 400 | 404) && self.token.is_none() {
            let why = fault(&request, &response).message;
            self.notes.warn(format!("the access policies could not be listed, so only the best known ones were looked for: {why}"));
            self.notes
                .evidence(json!({"type": "unread", "source": "access policies", "reason": why}));
            self.catalogue = answers::known_policies(&cluster.partition).collect();
        } else {
            let page: PolicyList = json_of(&request, &ok(&request, response)?)?;
            self.catalogue.extend(page.access_policies);
            self.token = page.next_token;
        }
        if self.token.is_none() {
            let name = &self.options.cluster_name;
            let arns: BTreeSet<&String> = self.catalogue.iter().map(|p| &p.arn).collect();
            self.queue = arns
                .into_iter()
                .map(|arn| (arn.clone(), filtered(name, arn, None)))
                .collect();
            self.stage = Stage::Filters;
        }
        Ok(())
    }

    fn no_pods(&mut self, why: &str) {
        self.notes
            .warn(format!("Pod Identity associations were not read: {why}"));
        self.notes.evidence(
            json!({"type": "unread", "source": "pod identity associations", "reason": why}),
        );
        self.pods.clear();
        self.queue.clear();
        self.token = None;
        self.stage = Stage::Namespaces;
    }

    fn read_bindings(
        &mut self,
        resource: Resource,
        cluster: bool,
        calls: &mut Calls,
    ) -> Result<bool, Error> {
        let mut cursor = self.cursor.take().unwrap_or_else(|| Cursor::new(resource));
        match cursor.step::<Binding>(calls)? {
            Step::Items(items) => items.iter().for_each(|b| self.bindings.add(b, cluster)),
            Step::Restarted => self.bindings.forget(cluster),
        }
        if cursor.done() {
            self.notes.evidence(cursor.evidence());
            return Ok(true);
        }
        self.cursor = Some(cursor);
        Ok(false)
    }
}
