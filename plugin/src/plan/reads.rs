//! What a plan is decided on: read afresh, and only what concerns the principal.
//!
//! Of three thousand access entries a plan describes those of one principal.
//! Everybody else is read only when a name has to be judged that others might
//! share. Reading stops when the calls of one exported call are spent and goes
//! on with the next, as in a sync.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use serde_json::Value;

use super::Direction;
use super::objects::{Place, Whole};
use super::wish::{Access, Who, Wish};
use crate::aws::arn::Arn;
use crate::aws::eks::{Association, Cluster, DescribeEntry, EntryList, Mode, Policy, PolicyList};
use crate::bindings::Error;
use crate::evidence::Notes;
use crate::identity::roles::Roles;
use crate::identity::{EntryRead, Index};
use crate::kubernetes::ConfigMap;
use crate::kubernetes::aws_auth::{self, AwsAuth};
use crate::kubernetes::list::{self, Cursor, Resource, Step};
use crate::kubernetes::rbac::Bindings;
use crate::sources::{Names, answers};
use crate::upstream::{Calls, Request};
use crate::world::{Parts, World};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Cluster,
    AwsAuth,
    EntryList,
    Entries,
    Associations,
    Catalogue,
    Roles,
    Exists,
    Namespaces,
    Accounts,
    RoleBindings,
    ClusterRoleBindings,
    Build,
}

/// What was read.
pub struct Reads {
    /// The wish that all of it is about.
    pub wish: Rc<Wish>,
    /// The cluster's name.
    pub name: String,
    /// The ConfigMap `aws-auth`, whole; `None` if there is none or it does not count.
    pub map: Option<Value>,
    /// The same, read.
    pub auth: Option<AwsAuth>,
    /// The principal's access entries; everybody's after [`Reads::widen`].
    pub entries: Vec<EntryRead>,
    /// How many entries the cluster has.
    pub entry_count: usize,
    /// Policies on the principal's entries, by the entry's ARN.
    pub associations: BTreeMap<String, Vec<Association>>,
    /// Access policies that EKS offers.
    pub catalogue: Vec<Policy>,
    /// The bindings of the wished role in the wished scope, and one that has our name.
    pub concerned: Vec<Whole>,
    /// Whether the wished role exists.
    pub role_exists: bool,
    /// Namespaces that are being deleted.
    pub terminating: BTreeSet<String>,
    direction: Direction,
    stage: Stage,
    token: Option<String>,
    queue: VecDeque<(String, Request)>,
    cursor: Option<Cursor>,
    cluster: Option<Rc<Cluster>>,
    others: BTreeSet<String>,
    widening: bool,
    roles: Roles,
    role_names: Names,
    namespaces: BTreeSet<String>,
    accounts: Names,
    bindings: Bindings,
}

impl Reads {
    /// Before anything is read.
    pub fn new(direction: Direction, wish: Rc<Wish>, name: String) -> Reads {
        let roles = match &wish.access {
            Access::Role {
                cluster_role: false,
                ..
            } => Names::new(list::ROLES, true),
            _ => Names::new(list::CLUSTER_ROLES, false),
        };
        Reads {
            wish,
            name,
            map: None,
            auth: None,
            entries: Vec::new(),
            entry_count: 0,
            associations: BTreeMap::new(),
            catalogue: Vec::new(),
            concerned: Vec::new(),
            role_exists: false,
            terminating: BTreeSet::new(),
            direction,
            stage: Stage::Cluster,
            token: None,
            queue: VecDeque::new(),
            cursor: None,
            cluster: None,
            others: BTreeSet::new(),
            widening: false,
            roles: Roles::default(),
            role_names: roles,
            namespaces: BTreeSet::new(),
            accounts: Names::new(list::SERVICE_ACCOUNTS, true),
            bindings: Bindings::default(),
        }
    }

    /// Reads on until everything is joined (`Some`) or the calls are spent.
    pub fn world(&mut self, calls: &mut Calls) -> Result<Option<World>, Error> {
        loop {
            if calls.spent() && self.stage != Stage::Build {
                return Ok(None);
            }
            let cluster = match &self.cluster {
                Some(cluster) => cluster.clone(),
                None => {
                    let cluster = Rc::new(answers::cluster(&self.name, calls)?);
                    self.cluster = Some(cluster.clone());
                    cluster
                }
            };
            if self.stage == Stage::Build {
                return Ok(Some(self.build(cluster)));
            }
            self.step(&cluster, calls)?;
        }
    }

    /// What comes after a stage, which depends on the wish and the mode.
    fn next(&self, cluster: &Cluster) -> Stage {
        let iam = matches!(self.wish.who, Who::Iam(_));
        let policy = matches!(self.wish.access, Access::Policy { .. });
        let mut stage = self.stage;
        loop {
            stage = match stage {
                Stage::Cluster => Stage::AwsAuth,
                Stage::AwsAuth => Stage::EntryList,
                Stage::EntryList => Stage::Entries,
                Stage::Entries => Stage::Associations,
                Stage::Associations => Stage::Catalogue,
                Stage::Catalogue => Stage::Roles,
                Stage::Roles => Stage::Exists,
                Stage::Exists => Stage::Namespaces,
                Stage::Namespaces => Stage::Accounts,
                Stage::Accounts => Stage::RoleBindings,
                Stage::RoleBindings => Stage::ClusterRoleBindings,
                Stage::ClusterRoleBindings | Stage::Build => Stage::Build,
            };
            let needed = match stage {
                Stage::AwsAuth => cluster.mode != Mode::Api,
                Stage::EntryList | Stage::Entries => iam && cluster.mode != Mode::ConfigMap,
                Stage::Associations => {
                    let wanted = policy || self.direction == Direction::Revoke;
                    iam && cluster.mode != Mode::ConfigMap && wanted
                }
                Stage::Catalogue => policy && self.direction == Direction::Grant,
                Stage::Roles => iam,
                Stage::Exists => !policy,
                Stage::Accounts => !iam,
                _ => true,
            };
            if needed {
                return stage;
            }
        }
    }

    fn step(&mut self, cluster: &Rc<Cluster>, calls: &mut Calls) -> Result<(), Error> {
        let done = match self.stage {
            Stage::Cluster | Stage::Build => true,
            Stage::AwsAuth => self.read_aws_auth(calls)?,
            Stage::EntryList => self.list_entries(calls)?,
            Stage::Entries => self.describe(calls)?,
            Stage::Associations => self.read_associations(calls)?,
            Stage::Catalogue => self.read_catalogue(cluster, calls)?,
            Stage::Roles => {
                let (next, _) = answers::roles(self.token.as_deref(), &mut self.roles, calls)?;
                self.token = next;
                self.token.is_none()
            }
            Stage::Exists => {
                let done = self.role_names.ensure(calls, &mut Notes::default())?;
                self.role_exists = match &self.wish.access {
                    Access::Role {
                        cluster_role,
                        name,
                        namespace,
                    } => {
                        let id = if *cluster_role {
                            name.clone()
                        } else {
                            format!("{namespace}/{name}")
                        };
                        self.role_names.read().contains(&id)
                    }
                    Access::Policy { .. } => false,
                };
                done
            }
            Stage::Namespaces => self.read_namespaces(calls)?,
            Stage::Accounts => self.accounts.ensure(calls, &mut Notes::default())?,
            Stage::RoleBindings => self.read_bindings(list::ROLE_BINDINGS, false, calls)?,
            Stage::ClusterRoleBindings => {
                self.read_bindings(list::CLUSTER_ROLE_BINDINGS, true, calls)?
            }
        };
        if done {
            self.stage = self.next(cluster);
        }
        Ok(())
    }

    fn read_aws_auth(&mut self, calls: &mut Calls) -> Result<bool, Error> {
        let request = answers::aws_auth();
        let response = calls.send(&request)?;
        if response.status == 404 {
            return Ok(true);
        }
        let response = answers::ok(&request, response)?;
        let map: ConfigMap = answers::json_of(&request, &response)?;
        self.auth = Some(aws_auth::read(&map.data));
        self.map = Some(answers::json_of(&request, &response)?);
        Ok(true)
    }

    fn is_principal(&self, arn: &str) -> bool {
        let key = self.wish.arn().map(Arn::key);
        key.is_some() && Arn::parse(arn).map(|a| a.key()) == key
    }

    fn list_entries(&mut self, calls: &mut Calls) -> Result<bool, Error> {
        let request = answers::entries(&self.name, self.token.as_deref());
        let page: EntryList = answers::json_of(&request, &calls.get(&request)?)?;
        self.others.extend(page.access_entries);
        self.token = page.next_token;
        if self.token.is_some() {
            return Ok(false);
        }
        self.entry_count = self.others.len();
        // By name and not by ARN: an entry of a role that was made again under
        // another path is this principal's too.
        let all = std::mem::take(&mut self.others);
        let (own, others) = all.into_iter().partition(|arn| self.is_principal(arn));
        self.others = others;
        self.ask(own);
        Ok(true)
    }

    fn ask(&mut self, arns: BTreeSet<String>) {
        for arn in arns {
            let request = answers::entry(&self.name, &arn);
            self.queue.push_back((arn, request));
        }
    }

    fn describe(&mut self, calls: &mut Calls) -> Result<bool, Error> {
        let entries = &mut self.entries;
        calls.fan_out(&mut self.queue, |arn, request, response| {
            // One that was deleted meanwhile maps nobody.
            if response.status != 404 {
                let response = answers::ok(request, response)?;
                let answer: DescribeEntry = answers::json_of(request, &response)?;
                entries.push(EntryRead {
                    arn,
                    entry: Ok(answer.access_entry),
                });
            }
            Ok(None)
        })?;
        if self.queue.is_empty() && !self.widening {
            for entry in &self.entries {
                let request = answers::associated(&self.name, &entry.arn, None);
                self.queue.push_back((entry.arn.clone(), request));
            }
            return Ok(true);
        }
        Ok(self.queue.is_empty())
    }

    fn read_associations(&mut self, calls: &mut Calls) -> Result<bool, Error> {
        let (name, associations) = (&self.name, &mut self.associations);
        calls.fan_out(&mut self.queue, |arn, request, response| {
            if response.status == 404 {
                return Ok(None);
            }
            answers::associations(name, arn, request, response, associations)
        })?;
        Ok(self.queue.is_empty())
    }

    fn read_catalogue(&mut self, cluster: &Cluster, calls: &mut Calls) -> Result<bool, Error> {
        let request = answers::catalogue(self.token.as_deref());
        let response = calls.send(&request)?;
        if matches!(response.status, 400 | 404) && self.token.is_none() {
            // As in a sync: some partitions and emulators do not know the call.
            self.catalogue = answers::known_policies(&cluster.partition).collect();
            return Ok(true);
        }
        let page: PolicyList = answers::json_of(&request, &answers::ok(&request, response)?)?;
        self.catalogue.extend(page.access_policies);
        self.token = page.next_token;
        Ok(self.token.is_none())
    }

    fn read_namespaces(&mut self, calls: &mut Calls) -> Result<bool, Error> {
        let mut cursor = self
            .cursor
            .take()
            .unwrap_or_else(|| Cursor::new(list::NAMESPACES));
        match cursor.step::<Place>(calls)? {
            Step::Items(items) => {
                for item in items {
                    if item.is_leaving() {
                        self.terminating.insert(item.name().to_string());
                    }
                    self.namespaces.insert(item.name().to_string());
                }
            }
            Step::Restarted => {
                self.namespaces.clear();
                self.terminating.clear();
            }
        }
        Ok(self.keep(cursor))
    }

    fn keep(&mut self, cursor: Cursor) -> bool {
        let done = cursor.done();
        self.cursor = (!done).then_some(cursor);
        done
    }

    fn read_bindings(
        &mut self,
        resource: Resource,
        cluster: bool,
        calls: &mut Calls,
    ) -> Result<bool, Error> {
        let mut cursor = self.cursor.take().unwrap_or_else(|| Cursor::new(resource));
        match cursor.step::<Whole>(calls)? {
            Step::Items(items) => {
                let own = self.wish.binding_name();
                for binding in items {
                    self.bindings.add(&binding.plain(), cluster);
                    if concerns(&self.wish.access, &binding, cluster, &own) {
                        self.concerned.push(binding);
                    }
                }
            }
            Step::Restarted => {
                self.bindings.forget(cluster);
                // A wish is about bindings of one kind only.
                self.concerned
                    .retain(|b| b.metadata.namespace.is_empty() != cluster);
            }
        }
        Ok(self.keep(cursor))
    }

    fn build(&mut self, cluster: Rc<Cluster>) -> World {
        let parts = Parts {
            cluster,
            creator: None,
            namespaces: Rc::new(std::mem::take(&mut self.namespaces)),
            service_accounts: self.accounts.read(),
            bindings: std::mem::take(&mut self.bindings),
            aws_auth: self.auth.clone(),
            entries: self.entries.clone(),
            associations: self.associations.clone(),
            catalogue: self.catalogue.clone(),
            roles: std::mem::take(&mut self.roles),
            people: None,
            rights: None,
            pods: Vec::new(),
        };
        let mut world = World::build(parts, &mut Notes::default());
        // Its path may be known from a source that a plan does not read.
        if let Some(arn) = self.wish.arn() {
            let account = world.cluster.account.clone();
            world.roles.mention(arn, &account);
        }
        world
    }

    /// Describes everybody's entries and joins the identities again; `true` when done.
    pub fn widen(&mut self, world: &mut World, calls: &mut Calls) -> Result<bool, Error> {
        if !self.widening {
            self.widening = true;
            self.queue.clear();
            let others = std::mem::take(&mut self.others);
            self.ask(others);
        }
        if !self.describe(calls)? {
            return Ok(false);
        }
        let cluster = world.cluster.clone();
        world.index = Index::build(
            &cluster,
            &self.entries,
            self.auth.as_ref(),
            &mut world.roles,
            None,
            &mut Notes::default(),
        );
        Ok(true)
    }

    /// The principal's own entries.
    pub fn own_entries(&self) -> impl Iterator<Item = &EntryRead> {
        self.entries.iter().filter(|e| self.is_principal(&e.arn))
    }
}

/// Whether a binding is of the wished role in the wished scope, or has the name
/// that ours would have.
fn concerns(access: &Access, binding: &Whole, cluster: bool, own: &str) -> bool {
    let Access::Role {
        cluster_role,
        name,
        namespace,
    } = access
    else {
        return false;
    };
    let place = if cluster {
        namespace.is_empty()
    } else {
        !namespace.is_empty() && binding.metadata.namespace == *namespace
    };
    let role =
        (binding.role_ref.kind == "ClusterRole") == *cluster_role && binding.role_ref.name == *name;
    place && (role || binding.metadata.name == own)
}
