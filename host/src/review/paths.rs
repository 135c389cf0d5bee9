//! Every way from a principal to what it has: person, group, IAM role,
//! mapping, binding, role.
//!
//! One search, breadth first, over states "acts as this node, by holding that
//! entitlement". A state is entered a limited number of times and a path never
//! enters one twice, so cycles end, the shortest path of everything is found,
//! and the cost is linear in the edges. What expansion does when a file
//! is written (`GrantExpandable`, shallow, filters) is done here when it is
//! read, so files before and after expansion give the same paths.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use serde::Serialize;

use super::model::{Certainty, Grant, Id, Model, Sort, at};

/// Groups that everybody is in whom an authenticator lets in.
const EVERYONE: &str = "system:authenticated";

/// One step of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub enum Step {
    /// The principal holds this.
    Grant(Id),
    /// The principal is in this group because of what it is.
    Implied(Id),
}

/// How a principal has an access: the last step is a grant of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// From the principal on.
    pub steps: Vec<Step>,
    /// That of the weakest step.
    pub certainty: Certainty,
    /// A step that the file says an expansion wrote, and that nothing in the
    /// file explains: the way there is not known.
    pub unexplained: bool,
}

/// One access of a principal, with its paths, shortest first.
#[derive(Debug, Clone)]
pub struct Access {
    /// What.
    pub entitlement: Id,
    /// How, at least one.
    pub paths: Vec<Path>,
    /// There may be more paths than these.
    pub more: bool,
}

impl Access {
    /// That of the strongest path.
    #[must_use]
    pub fn certainty(&self) -> Certainty {
        let all = self.paths.iter().map(|path| path.certainty);
        all.max().unwrap_or(Certainty::Unstated)
    }
}

struct Partial {
    parent: Option<usize>,
    step: Option<Step>,
    node: Id,
    via: Option<Id>,
    depth: u32,
    certainty: Certainty,
    unexplained: bool,
}

/// Everything that `who` has, each with at most `most` paths.
#[must_use]
pub fn access(model: &Model, who: Id, most: usize) -> Vec<Access> {
    search(model, who, most, &|_| true, &|_| true)
}

/// The same for what `wanted` says of an entitlement, through nodes of which
/// `leads` says that they lead there.
pub(super) fn search(
    model: &Model,
    who: Id,
    most: usize,
    leads: &dyn Fn(Id) -> bool,
    wanted: &dyn Fn(Id) -> bool,
) -> Vec<Access> {
    let mut search = Search {
        model,
        who,
        most: most.max(1),
        partials: Vec::new(),
        queue: VecDeque::new(),
        visits: HashMap::new(),
        found: BTreeMap::new(),
        ends: Vec::new(),
    };
    search.push(None, None, who, None, Certainty::Unstated, false);
    search.run(leads, wanted);
    let crowded: Vec<Id> = search
        .ends
        .iter()
        .filter(|(_, end)| search.crowded(*end))
        .map(|(entitlement, _)| *entitlement)
        .collect();
    for entitlement in crowded {
        if let Some(access) = search.found.get_mut(&entitlement) {
            access.more = true;
        }
    }
    search.found.into_values().collect()
}

struct Search<'a> {
    model: &'a Model,
    who: Id,
    most: usize,
    partials: Vec<Partial>,
    queue: VecDeque<usize>,
    visits: HashMap<(Id, Option<Id>), usize>,
    found: BTreeMap<Id, Access>,
    /// What was found at the end of which partial path.
    ends: Vec<(Id, usize)>,
}

impl Search<'_> {
    fn push(
        &mut self,
        parent: Option<usize>,
        step: Option<Step>,
        node: Id,
        via: Option<Id>,
        certainty: Certainty,
        unexplained: bool,
    ) {
        let depth = parent.map_or(0, |parent| {
            self.partials.get(parent).map_or(0, |p| p.depth + 1)
        });
        self.queue.push_back(self.partials.len());
        self.partials.push(Partial {
            parent,
            step,
            node,
            via,
            depth,
            certainty,
            unexplained,
        });
    }

    fn run(&mut self, leads: &dyn Fn(Id) -> bool, wanted: &dyn Fn(Id) -> bool) {
        while let Some(now) = self.queue.pop_front() {
            let Some(partial) = self.partials.get(now) else {
                continue;
            };
            let (node, via, certainty) = (partial.node, partial.via, partial.certainty);
            let unexplained = partial.unexplained;
            let visits = self.visits.entry((node, via)).or_default();
            *visits += 1;
            if *visits > self.most {
                continue;
            }
            let model = self.model;
            for id in model.held(node) {
                if let Some(grant) = model.grant(id) {
                    self.take(
                        now,
                        id,
                        grant,
                        unexplained || grant.unexplained,
                        leads,
                        wanted,
                    );
                }
            }
            for group in implied(model, node) {
                if leads(group) && !self.visited(now, group, None) {
                    let step = Some(Step::Implied(group));
                    self.push(Some(now), step, group, None, certainty, unexplained);
                }
            }
        }
    }

    /// Goes one grant further.
    fn take(
        &mut self,
        now: usize,
        id: Id,
        grant: &Grant,
        unexplained: bool,
        leads: &dyn Fn(Id) -> bool,
        wanted: &dyn Fn(Id) -> bool,
    ) {
        let Some(partial) = self.partials.get(now) else {
            return;
        };
        let direct = partial.depth == 1 && !partial.unexplained;
        if !inherits(self.model, partial.via, grant, self.who, direct) {
            return;
        }
        let Some(own) = certainty(self.model, self.who, grant) else {
            return;
        };
        let certainty = own.min(partial.certainty);
        let Some(held) = self.model.entitlement(grant.entitlement) else {
            return;
        };
        let onward = self.carries(grant.entitlement)
            && leads(held.node)
            && !self.visited(now, held.node, Some(grant.entitlement));
        if wanted(grant.entitlement) {
            let path = Path {
                steps: self.steps(now, Step::Grant(id)),
                certainty,
                unexplained,
            };
            let most = self.most;
            let access = self
                .found
                .entry(grant.entitlement)
                .or_insert_with(|| Access {
                    entitlement: grant.entitlement,
                    paths: Vec::new(),
                    more: false,
                });
            if access.paths.len() < most {
                access.paths.push(path);
                self.ends.push((grant.entitlement, now));
            } else {
                access.more = true;
            }
        }
        if onward {
            let (node, via) = (held.node, Some(grant.entitlement));
            self.push(
                Some(now),
                Some(Step::Grant(id)),
                node,
                via,
                certainty,
                unexplained,
            );
        }
    }

    /// Whether holding an entitlement can lead on: by what it is, or because
    /// a grant of its resource names it.
    fn carries(&self, entitlement: Id) -> bool {
        self.model.entitlement(entitlement).is_some_and(|held| {
            held.carries
                || self.model.held(held.node).any(|grant| {
                    let expansion = self.model.grant(grant).and_then(|g| g.expansion.as_ref());
                    expansion.is_some_and(|expansion| expansion.through.contains(&held.id))
                })
        })
    }

    /// Whether a path has been here before. Where it began it never comes
    /// back to: what is there it has anyway.
    fn visited(&self, mut now: usize, node: Id, via: Option<Id>) -> bool {
        while let Some(partial) = self.partials.get(now) {
            if partial.node == node && (partial.via == via || partial.parent.is_none()) {
                return true;
            }
            match partial.parent {
                Some(parent) => now = parent,
                None => return false,
            }
        }
        false
    }

    /// Whether a path leads through a state that was entered often enough.
    fn crowded(&self, mut now: usize) -> bool {
        while let Some(partial) = self.partials.get(now) {
            let visits = self.visits.get(&(partial.node, partial.via));
            if visits.is_some_and(|visits| *visits > self.most) {
                return true;
            }
            match partial.parent {
                Some(parent) => now = parent,
                None => return false,
            }
        }
        false
    }

    fn steps(&self, mut now: usize, last: Step) -> Vec<Step> {
        let mut steps = vec![last];
        while let Some(partial) = self.partials.get(now) {
            steps.extend(partial.step);
            match partial.parent {
                Some(parent) => now = parent,
                None => break,
            }
        }
        steps.reverse();
        steps
    }
}

/// Whether `who`, acting by `via` on the grant's principal, has the grant too.
fn inherits(model: &Model, via: Option<Id>, grant: &Grant, who: Id, direct: bool) -> bool {
    let Some(via) = via else { return true };
    let Some(held) = model.entitlement(via) else {
        return false;
    };
    match &grant.expansion {
        None => held.carries,
        Some(expansion) => {
            expansion.through.contains(&held.id)
                && (!expansion.shallow || direct)
                && (expansion.kinds.is_empty() || expansion.kinds.contains(&model.node(who).kind))
        }
    }
}

/// How sure a grant is for `who`. A grant to sessions of one name, through a
/// role of Identity Center, is for the user of that name and nobody else:
/// `None` for another one.
fn certainty(model: &Model, who: Id, grant: &Grant) -> Option<Certainty> {
    if model.kind(who) != "sso_user" || !is_of_one_person(model, grant) {
        return Some(grant.certainty);
    }
    let logins = &model.facts(who).logins;
    if logins.is_empty() {
        return Some(Certainty::Session);
    }
    let own = |session: &str| {
        // A session name holds no `@`, so the authenticator replaces it.
        let same = |login: &String| {
            login
                .replace('@', "-")
                .eq_ignore_ascii_case(&session.replace('@', "-"))
        };
        session.is_empty() || logins.iter().any(same)
    };
    let sessions = model
        .ways(grant)
        .iter()
        .map(|way| model.texts.get(way.session));
    sessions.into_iter().any(own).then_some(Certainty::Certain)
}

/// Whether a grant is for sessions whose names are those of people.
pub(super) fn is_of_one_person(model: &Model, grant: &Grant) -> bool {
    grant.certainty == Certainty::Session
        && model.id(grant.principal).contains("AWSReservedSSO_")
        && model.ways(grant).len() >= at(grant.way_count)
}

/// Groups that a node is in because of what it is.
pub(super) fn implied(model: &Model, node: Id) -> Vec<Id> {
    let mut groups = Vec::new();
    let mut put = |realm: Id, name: &str| groups.extend(model.stand_in(realm, name));
    let own = model.node(node);
    match (model.kind(node), own.realm) {
        ("service_account", Some(realm)) if model.id(node) != "*" => {
            for name in ["*", "system:serviceaccounts", EVERYONE] {
                put(realm, name);
            }
        }
        ("kube_user", Some(realm)) if model.id(node) == "system:anonymous" => {
            put(realm, "system:unauthenticated");
        }
        ("kube_user", Some(realm)) => put(realm, EVERYONE),
        _ if own.realm.is_none() && matches!(own.sort, Sort::Person | Sort::IamRole) => {
            for realm in realms(model, node) {
                put(realm, EVERYONE);
            }
        }
        _ => {}
    }
    groups
}

/// The clusters in which a principal of AWS has something, and so is let in.
fn realms(model: &Model, node: Id) -> Vec<Id> {
    let mut realms: Vec<Id> = model
        .held(node)
        .filter_map(|grant| {
            let grant = model.grant(grant)?;
            let held = model.entitlement(grant.entitlement)?;
            held.scope.as_ref()?;
            model.node(held.node).realm
        })
        .collect();
    realms.sort_unstable();
    realms.dedup();
    realms
}

/// A derived grant that no path explains becomes one of its principal's own:
/// it is a fact, although nothing that was read says through what.
pub(super) fn keep_unexplained(model: &mut Model) {
    let mut of: BTreeMap<Id, Vec<Id>> = BTreeMap::new();
    for (number, grant) in model.grants.iter().enumerate() {
        if grant.derived {
            let number = Id::try_from(number).unwrap_or(Id::MAX);
            of.entry(grant.principal).or_default().push(number);
        }
    }
    for (who, derived) in of {
        // One kept grant may explain others, so one at a time.
        let mut open = derived;
        loop {
            let explained: HashSet<Id> = access(model, who, 1)
                .into_iter()
                .map(|access| access.entitlement)
                .collect();
            open.retain(|id| {
                let grant = model.grant(*id);
                grant.is_some_and(|grant| !explained.contains(&grant.entitlement))
            });
            let leads = |id: &Id| {
                let held = model
                    .grant(*id)
                    .and_then(|g| model.entitlement(g.entitlement));
                held.is_some_and(|held| held.carries)
            };
            // What carries others first; the rest explains nothing.
            let kept: Vec<Id> = match open.iter().copied().find(leads) {
                Some(one) => vec![one],
                None => std::mem::take(&mut open),
            };
            if kept.is_empty() {
                break;
            }
            for id in kept {
                if let Some(grant) = model.grants.get_mut(at(id)) {
                    grant.unexplained = true;
                    grant.derived = false;
                }
            }
        }
    }
}

/// Nodes from which one of `targets` can be reached, the targets included.
#[must_use]
pub(super) fn leading_to(model: &Model, targets: impl Iterator<Item = Id>) -> HashSet<Id> {
    let mut seen: HashSet<Id> = targets.collect();
    let mut queue: Vec<Id> = seen.iter().copied().collect();
    while let Some(node) = queue.pop() {
        for entitlement in model.on(node) {
            for grant in model.holders(*entitlement) {
                if let Some(grant) = model.grant(grant)
                    && seen.insert(grant.principal)
                {
                    queue.push(grant.principal);
                }
            }
        }
    }
    seen
}
