//! What the page knows: nodes, grants and ways as numbers and one list of
//! texts, so that a hundred thousand grants are a few megabytes. The page
//! finds paths as `paths` does; a test compares the two.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::super::model::{Certainty, Id, Model, Sort};
use super::super::{find, paths, query, words};
use super::Review;

/// Ways of one grant that the page shows.
const WAYS: usize = 4;

/// Texts by number.
#[derive(Default)]
struct Texts {
    numbers: HashMap<String, u32>,
    all: Vec<String>,
}

impl Texts {
    fn put(&mut self, text: &str) -> u32 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        self.all.push(text.to_owned());
        self.numbers.insert(text.to_owned(), number);
        number
    }
}

/// As the page's data has it.
type Grant = (Id, Id, u8, Vec<u32>, u32, u8, i8);

/// The page's data. Short names, because they stand there a million times.
#[derive(Serialize)]
pub(super) struct Data {
    texts: Vec<String>,
    realms: Vec<String>,
    /// name, id, kind, sort, realm or -1, groups by what it is
    nodes: Vec<(u32, u32, u32, u8, i64, Vec<Id>)>,
    /// node, what, carries, id
    entitlements: Vec<(Id, u32, u8, u32)>,
    /// principal, entitlement, certainty, ways, number of ways, unexplained,
    /// severity or -1
    grants: Vec<Grant>,
    /// Each a list of kind, text, note.
    ways: Vec<Vec<(u32, u32, u32)>>,
    /// By grant: texts of entitlement ids, shallow, kinds.
    expansions: BTreeMap<Id, (Vec<u32>, u8, Vec<u32>)>,
    /// By node: the log-ins of a person in Identity Center.
    logins: BTreeMap<Id, Vec<u32>>,
    /// By grant: the session names that it is for.
    sessions: BTreeMap<Id, Vec<u32>>,
    /// node, number of accesses, worst severity or -1
    principals: Vec<(Id, u32, i8)>,
    /// node, direct holders, people, worst severity or -1
    roles: Vec<(Id, u32, u32, i8)>,
}

fn sort(sort: Sort) -> u8 {
    match sort {
        Sort::Person => 0,
        Sort::Group => 1,
        Sort::IamRole => 2,
        Sort::Workload => 3,
        Sort::StandIn => 4,
        Sort::Role => 5,
        Sort::Other => 6,
    }
}

fn certainty(certainty: Certainty) -> u8 {
    match certainty {
        Certainty::Latent => 0,
        Certainty::Conditional => 1,
        Certainty::Session => 2,
        Certainty::Certain => 3,
        Certainty::Unstated => 4,
    }
}

pub(super) fn data(model: &Model, review: &Review) -> Data {
    let mut texts = Texts::default();
    let number = |n: usize| Id::try_from(n).unwrap_or(Id::MAX);
    let all = (0..model.nodes.len()).map(number);
    let nodes = all.clone().map(|id| {
        let node = model.node(id);
        (
            texts.put(&model.short(id)),
            texts.put(model.id(id)),
            texts.put(model.kind(id)),
            sort(node.sort),
            node.realm.map_or(-1, i64::from),
            paths::implied(model, id),
        )
    });
    let nodes = nodes.collect();
    let entitlements = (0..model.entitlements.len()).map(number).filter_map(|id| {
        let held = model.entitlement(id)?;
        let what = texts.put(&model.what(id));
        let whole = texts.put(model.texts.get(held.id));
        Some((held.node, what, u8::from(held.carries), whole))
    });
    let entitlements = entitlements.collect();
    let mut ways: Vec<Vec<(u32, u32, u32)>> = Vec::new();
    let mut known: HashMap<Vec<(u32, u32, u32)>, u32> = HashMap::new();
    let mut grants = Vec::new();
    let (mut expansions, mut sessions) = (BTreeMap::new(), BTreeMap::new());
    for grant in model.grants.iter().filter(|grant| !grant.derived) {
        let own = number(grants.len());
        let mut list = Vec::new();
        for way in words::way_stations(model, grant).into_iter().take(WAYS) {
            let way: Vec<(u32, u32, u32)> = way
                .iter()
                .map(|link| {
                    (
                        texts.put(link.kind),
                        texts.put(&link.text),
                        texts.put(&link.note),
                    )
                })
                .collect();
            let place = known.get(&way).copied().unwrap_or_else(|| {
                let place = u32::try_from(ways.len()).unwrap_or(u32::MAX);
                ways.push(way.clone());
                known.insert(way, place);
                place
            });
            list.push(place);
        }
        if let Some(expansion) = &grant.expansion {
            let mut put = |ids: &[Id]| {
                ids.iter()
                    .map(|id| texts.put(model.texts.get(*id)))
                    .collect()
            };
            let through = put(&expansion.through);
            expansions.insert(
                own,
                (through, u8::from(expansion.shallow), put(&expansion.kinds)),
            );
        }
        if paths::is_of_one_person(model, grant) {
            let all = model.ways(grant).iter();
            let names = all.map(|way| texts.put(model.texts.get(way.session)));
            sessions.insert(own, names.collect());
        }
        grants.push((
            grant.principal,
            grant.entitlement,
            certainty(grant.certainty),
            list,
            grant.way_count,
            u8::from(grant.unexplained),
            level(
                review
                    .worst
                    .get(&(grant.principal, grant.entitlement))
                    .copied(),
            ),
        ));
    }
    let people = all.clone().filter(|id| model.kind(*id) == "sso_user");
    let logins = people.map(|id| {
        let own = model.facts(id).logins.iter();
        (id, own.map(|login| texts.put(login)).collect())
    });
    let logins = logins.collect();
    let principals = all
        .clone()
        .filter(|id| find::is_principal(model, *id))
        .map(|id| {
            let found = paths::access(model, id, 1);
            // What everybody has says nothing about one of them.
            let own = |path: &&paths::Path| {
                !path
                    .steps
                    .iter()
                    .any(|step| matches!(step, paths::Step::Implied(_)))
            };
            let worst = found
                .iter()
                .flat_map(|access| &access.paths)
                .filter(own)
                .filter_map(|path| {
                    let Some(paths::Step::Grant(last)) = path.steps.last() else {
                        return None;
                    };
                    let grant = model.grant(*last)?;
                    review
                        .worst
                        .get(&(grant.principal, grant.entitlement))
                        .copied()
                });
            (id, number(found.len()), level(worst.min()))
        });
    let principals: Vec<(Id, u32, i8)> = principals.filter(|(_, count, _)| *count > 0).collect();
    let roles = query::roles(model).into_iter().map(|id| {
        let held = model.on(id).iter().flat_map(|held| model.holders(*held));
        let grants: Vec<_> = held.filter_map(|grant| model.grant(grant)).collect();
        let mut holders: Vec<Id> = grants.iter().map(|grant| grant.principal).collect();
        holders.sort_unstable();
        holders.dedup();
        let leading = paths::leading_to(model, holders.iter().copied());
        let people = leading
            .iter()
            .filter(|node| model.node(**node).sort == Sort::Person)
            .count();
        let worst = grants.iter().filter_map(|grant| {
            review
                .worst
                .get(&(grant.principal, grant.entitlement))
                .copied()
        });
        (
            id,
            number(holders.len()),
            number(people),
            level(worst.min()),
        )
    });
    let roles = roles.collect();
    Data {
        texts: texts.all,
        realms: model
            .realms
            .iter()
            .map(|realm| realm.name.clone())
            .collect(),
        nodes,
        entitlements,
        grants,
        ways,
        expansions,
        logins,
        sessions,
        principals,
        roles,
    }
}

fn level(severity: Option<super::Severity>) -> i8 {
    use super::Severity;
    match severity {
        Some(Severity::Critical) => 0,
        Some(Severity::High) => 1,
        Some(Severity::Medium) => 2,
        Some(Severity::Low) => 3,
        Some(Severity::Info) => 4,
        None => -1,
    }
}
