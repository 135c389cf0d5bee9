//! Expansion against a plain evaluator that repeats until nothing changes, and
//! what it writes.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;

use serde_json::json;

use super::graph::{Edge, Graph};
use super::holders::{Holders, Principal};
use super::*;
use crate::c1z::annotations::{find, is, json as facts, profile};
use crate::c1z::{FileOptions, GrantRow, Reader, SyncType};

macro_rules! watch {
    ($warnings:expr) => {
        Watch {
            cancelled: &AtomicBool::new(false),
            found: &mut |_| {},
            warn: &mut |reason: &'static str, _: &str, example: Option<&str>| {
                let warnings: &mut Vec<(&'static str, String)> = $warnings;
                warnings.push((reason, example.unwrap_or_default().to_owned()));
            },
        }
    };
}

/// Numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u32) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        u32::try_from(self.0 >> 33).unwrap() % sides
    }
}

/// A graph and who holds what of it: (node, principal) -> (direct, rank).
struct Case {
    nodes: u32,
    edges: Vec<Edge>,
    own: BTreeMap<(u32, u32), (bool, u8)>,
}

/// How sure a holding is, and where it comes from.
type Found = (u8, Vec<(u32, bool)>);

/// Principals with odd numbers are users, the others groups; filter 1 lets
/// users pass.
fn passes(edge: &Edge, principal: u32, direct: bool) -> bool {
    (direct || !edge.shallow) && (edge.filter == 0 || principal % 2 == 1)
}

fn case(seed: u64) -> Case {
    let mut dice = Dice(seed);
    let nodes = 2 + dice.roll(7);
    let ranks = if dice.roll(2) == 0 { 1 } else { 5 };
    let rank = |dice: &mut Dice| u8::try_from(5 - dice.roll(ranks)).unwrap();
    let edges = (0..dice.roll(nodes * 3))
        .map(|_| Edge {
            source: dice.roll(nodes),
            target: dice.roll(nodes),
            rank: rank(&mut dice),
            shallow: dice.roll(5) == 0,
            filter: u32::from(dice.roll(6) == 0),
        })
        .collect();
    let own = (0..dice.roll(nodes * 2))
        .map(|_| {
            let held = (dice.roll(nodes), dice.roll(4));
            (held, (dice.roll(6) > 0, rank(&mut dice)))
        })
        .collect();
    Case { nodes, edges, own }
}

impl Case {
    /// How sure each holding is, by repeating until nothing changes.
    fn ranks(&self) -> BTreeMap<(u32, u32), u8> {
        let mut ranks: BTreeMap<_, u8> = self
            .own
            .iter()
            .map(|(held, (_, rank))| (*held, *rank))
            .collect();
        loop {
            let before = ranks.clone();
            for edge in &self.edges {
                for ((node, principal), rank) in &before {
                    if *node == edge.source
                        && passes(edge, *principal, self.direct(*node, *principal))
                    {
                        let best = ranks.entry((edge.target, *principal)).or_default();
                        *best = (*best).max(edge.rank.min(*rank));
                    }
                }
            }
            if before == ranks {
                return ranks;
            }
        }
    }

    fn direct(&self, node: u32, principal: u32) -> bool {
        self.own.get(&(node, principal)).is_some_and(|own| own.0)
    }

    fn reaches(&self) -> BTreeSet<(u32, u32)> {
        let mut reaches: BTreeSet<(u32, u32)> = (0..self.nodes).map(|node| (node, node)).collect();
        for _ in 0..self.nodes {
            for edge in &self.edges {
                for node in 0..self.nodes {
                    if reaches.contains(&(node, edge.source)) {
                        reaches.insert((node, edge.target));
                    }
                }
            }
        }
        reaches
    }

    /// What the engine makes of it, and how many circles it saw.
    fn spread(&self) -> (BTreeMap<(u32, u32), Found>, u64) {
        let folder = tempfile::tempdir().unwrap();
        let mut holders = Holders::new(&folder.path().join("db"), 1 << 30).unwrap();
        holders.filter(1, &["user".into()]).unwrap();
        let mut numbers = BTreeMap::new();
        for (row, ((node, principal), (direct, rank))) in (1..).zip(&self.own) {
            let who = Principal {
                kind: if principal % 2 == 1 { "user" } else { "group" }.into(),
                id: principal.to_string(),
                message: Vec::new(),
            };
            holders.add(*node, &who, row, *direct, *rank).unwrap();
            numbers.insert(row, (*node, *principal));
        }
        let graph = Graph::new(self.nodes as usize, self.edges.clone());
        let circles = holders
            .spread(&graph, &mut watch!(&mut Vec::new()))
            .unwrap();
        let mut found = BTreeMap::new();
        holders
            .each(|holding| {
                let principal = holders.principal(holding.principal)?.id.parse().unwrap();
                let at = (holding.node, principal);
                let rows: Vec<_> = holding.rows.iter().map(|row| numbers[row]).collect();
                let expected: Vec<_> = self
                    .own
                    .keys()
                    .filter(|held| **held == at)
                    .copied()
                    .collect();
                assert_eq!(rows, expected);
                assert_eq!(found.insert(at, (holding.rank, holding.sources)), None);
                Ok(())
            })
            .unwrap();
        (found, circles)
    }
}

#[test]
fn random_graphs_spread_as_a_plain_evaluator_says() {
    let mut circular = 0;
    for seed in 0..800 {
        let case = case(seed);
        let (found, circles) = case.spread();
        let ranks = case.ranks();
        let reaches = case.reaches();
        let within = |a: u32, b: u32| reaches.contains(&(a, b)) && reaches.contains(&(b, a));
        circular += circles;

        // Everybody who should hold something does, and nobody else.
        let holders: BTreeSet<_> = found.keys().chain(case.own.keys()).copied().collect();
        assert_eq!(holders, ranks.keys().copied().collect(), "seed {seed}");

        for ((node, principal), (rank, sources)) in &found {
            assert_eq!(*rank, ranks[&(*node, *principal)], "seed {seed}");
            let sources: BTreeMap<u32, bool> = sources.iter().copied().collect();
            for (source, direct) in &sources {
                assert_eq!(*direct, case.direct(*source, *principal), "seed {seed}");
            }
            let ways: BTreeSet<u32> = case
                .edges
                .iter()
                .filter(|edge| edge.target == *node && edge.source != *node)
                .filter(|edge| ranks.contains_key(&(edge.source, *principal)))
                .filter(|edge| passes(edge, *principal, case.direct(edge.source, *principal)))
                .map(|edge| edge.source)
                .collect();
            // From other components: every way. In a circle: some of them.
            for source in &ways {
                assert!(
                    within(*source, *node) || sources.contains_key(source),
                    "seed {seed}"
                );
            }
            assert!(sources.keys().all(|source| ways.contains(source)));
        }

        // What is kept of a circle rests on something outside it, and says
        // how sure it is.
        for principal in 0..4 {
            let mut explained: BTreeMap<u32, u8> = BTreeMap::new();
            let mut open: BTreeSet<u32> = (0..case.nodes)
                .filter(|node| ranks.contains_key(&(*node, principal)))
                .collect();
            let sources = |node: u32| -> Vec<u32> {
                let held = found.get(&(node, principal));
                held.into_iter()
                    .flat_map(|(_, sources)| sources.iter().map(|(source, _)| *source))
                    .collect()
            };
            while let Some(node) = open
                .iter()
                .copied()
                .find(|node| sources(*node).iter().all(|source| !open.contains(source)))
            {
                open.remove(&node);
                let mut rank = case.own.get(&(node, principal)).map(|own| own.1);
                for edge in &case.edges {
                    if edge.target == node
                        && sources(node).contains(&edge.source)
                        && passes(edge, principal, case.direct(edge.source, principal))
                    {
                        rank = rank.max(Some(edge.rank.min(explained[&edge.source])));
                    }
                }
                assert_eq!(rank, Some(ranks[&(node, principal)]), "seed {seed}");
                explained.insert(node, rank.unwrap());
            }
            assert!(open.is_empty(), "seed {seed}: {open:?} rest on each other");
        }
    }
    assert!(circular > 150, "{circular}");
}

fn resource(kind: &str, id: &str) -> pb::Resource {
    pb::Resource {
        id: Some(pb::ResourceId {
            resource_type: kind.into(),
            resource: id.into(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// A file with the entitlements `KIND:ID:member` of some objects.
struct File {
    _folder: tempfile::TempDir,
    path: std::path::PathBuf,
    writer: Writer,
}

impl File {
    fn new(objects: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sync.c1z");
        let mut writer = Writer::open(&path, SyncType::Full, &FileOptions::default()).unwrap();
        for (kind, id) in objects {
            let on = resource(kind, id);
            writer.put_resource(&on).unwrap();
            let entitlement = pb::Entitlement {
                id: format!("{kind}:{id}:member"),
                resource: Some(on),
                display_name: "Member".into(),
                ..Default::default()
            };
            writer.put_entitlement(&entitlement).unwrap();
        }
        Self {
            _folder: folder,
            path,
            writer,
        }
    }

    fn grant(&mut self, on: (&str, &str), to: (&str, &str), through: &[&str], certainty: &str) {
        let mut annotations = vec![pack(&pb::GrantExpandable {
            entitlement_ids: through.iter().map(|id| (*id).to_owned()).collect(),
            ..Default::default()
        })];
        if !certainty.is_empty() {
            let metadata = json!({ "certainty": certainty, "paths": [{ "via": "binding" }] });
            annotations.push(pack(&pb::GrantMetadata {
                metadata: Some(profile(metadata.as_object().unwrap())),
            }));
        }
        let entitlement = format!("{}:{}:member", on.0, on.1);
        let grant = pb::Grant {
            id: format!("{entitlement}:{}:{}", to.0, to.1),
            entitlement: Some(pb::Entitlement {
                id: entitlement,
                resource: Some(resource(on.0, on.1)),
                ..Default::default()
            }),
            principal: Some(resource(to.0, to.1)),
            annotations,
            ..Default::default()
        };
        self.writer.put_grant(grant).unwrap();
    }

    fn expand(&mut self) -> (Expanded, Vec<(&'static str, String)>) {
        let mut warnings = Vec::new();
        let expanded = expand(
            &mut self.writer,
            &Sessions::new(),
            &mut watch!(&mut warnings),
        )
        .unwrap();
        (expanded, warnings)
    }

    fn finish(self) -> BTreeMap<String, GrantRow> {
        self.writer.finish().unwrap();
        let reader = Reader::open(&self.path, &FileOptions::default()).unwrap();
        reader
            .grants(&reader.latest().unwrap())
            .map(|row| row.unwrap())
            .map(|row| (row.grant.id.clone(), row))
            .collect()
    }
}

fn sources(row: &GrantRow) -> Vec<(String, bool)> {
    let all = row.grant.sources.clone().unwrap_or_default().sources;
    all.into_iter()
        .map(|(id, source)| (id, source.is_direct))
        .collect()
}

fn source(id: &str, direct: bool) -> (String, bool) {
    (id.to_owned(), direct)
}

fn certainty(row: &GrantRow) -> Option<serde_json::Value> {
    let metadata: pb::GrantMetadata = find(&row.grant.annotations)?;
    facts(&metadata.metadata?).get("certainty").cloned()
}

fn immutable(row: &GrantRow) -> bool {
    row.grant.annotations.iter().any(is::<pb::GrantImmutable>)
}

#[test]
fn members_of_a_group_inherit_through_a_role() {
    let mut file = File::new(&[("cluster", "admin"), ("role", "r"), ("group", "g")]);
    file.grant(("cluster", "admin"), ("role", "r"), &["role:r:member"], "");
    file.grant(("role", "r"), ("group", "g"), &["group:g:member"], "");
    file.grant(("group", "g"), ("user", "ann"), &[], "");
    file.grant(("group", "g"), ("user", "bob"), &[], "");
    file.grant(("cluster", "admin"), ("user", "bob"), &[], "");
    let (expanded, warnings) = file.expand();
    assert_eq!(warnings, []);
    assert_eq!(
        expanded,
        Expanded {
            grants: 4,
            completed: 1,
            circles: 0
        }
    );
    let grants = file.finish();
    assert_eq!(grants.len(), 9);

    let ann = &grants["cluster:admin:member:user:ann"];
    assert_eq!(sources(ann), [source("role:r:member", false)]);
    assert!(immutable(ann));
    assert_eq!(certainty(ann), None);
    assert_eq!(ann.expansion, None);
    let entitlement = ann.grant.entitlement.as_ref().unwrap();
    assert_eq!(entitlement.resource, Some(resource("cluster", "admin")));
    assert_eq!(ann.grant.principal, Some(resource("user", "ann")));

    // Held directly and inherited: nothing but the sources changes.
    let bob = &grants["cluster:admin:member:user:bob"];
    assert_eq!(
        sources(bob),
        [
            source("cluster:admin:member", true),
            source("role:r:member", false)
        ]
    );
    assert!(!immutable(bob));
    assert_eq!(
        sources(&grants["role:r:member:user:bob"]),
        [source("group:g:member", true)]
    );
    // What expands stays as it was, and a group inherits like a person.
    assert_eq!(sources(&grants["cluster:admin:member:role:r"]), []);
    assert!(grants["cluster:admin:member:role:r"].expansion.is_some());
    assert_eq!(
        sources(&grants["cluster:admin:member:group:g"]),
        [source("role:r:member", true)]
    );
}

#[test]
fn roles_that_trust_each_other_share_their_holders() {
    let mut file = File::new(&[("cluster", "admin"), ("role", "a"), ("role", "b")]);
    file.grant(("cluster", "admin"), ("role", "b"), &["role:b:member"], "");
    file.grant(("role", "b"), ("role", "a"), &["role:a:member"], "");
    file.grant(("role", "a"), ("role", "b"), &["role:b:member"], "");
    file.grant(("role", "a"), ("user", "ann"), &[], "");
    file.grant(("role", "a"), ("role", "a"), &["role:a:member"], "");
    let (expanded, _) = file.expand();
    assert_eq!(expanded.circles, 1);
    let grants = file.finish();
    let ann = &grants["role:b:member:user:ann"];
    assert_eq!(sources(ann), [source("role:a:member", true)]);
    assert_eq!(
        sources(&grants["cluster:admin:member:user:ann"]),
        [source("role:b:member", false)]
    );
    // Ann holds `a` by herself, not because of `b`, which she has through `a`.
    assert_eq!(sources(&grants["role:a:member:user:ann"]), []);
}

#[test]
fn a_chain_is_as_sure_as_its_weakest_link() {
    let mut file = File::new(&[("cluster", "admin"), ("role", "r"), ("role", "s")]);
    file.grant(
        ("cluster", "admin"),
        ("role", "r"),
        &["role:r:member"],
        "certain",
    );
    file.grant(
        ("cluster", "admin"),
        ("role", "s"),
        &["role:s:member"],
        "latent",
    );
    file.grant(("role", "r"), ("user", "ann"), &[], "conditional");
    file.grant(("role", "s"), ("user", "ann"), &[], "certain");
    file.grant(("role", "s"), ("user", "bob"), &[], "certain");
    file.grant(("role", "r"), ("user", "cat"), &[], "");
    file.grant(("cluster", "admin"), ("user", "cat"), &[], "latent");
    file.expand();
    let grants = file.finish();
    let of = |user: &str| certainty(&grants[&format!("cluster:admin:member:user:{user}")]);
    assert_eq!(of("ann"), Some(json!("conditional")));
    assert_eq!(of("bob"), Some(json!("latent")));
    // Her own way is latent, the one through the role is not.
    assert_eq!(of("cat"), Some(json!("certain")));
    let cat = &grants["cluster:admin:member:user:cat"].grant;
    let metadata: pb::GrantMetadata = find(&cat.annotations).unwrap();
    assert_eq!(
        facts(&metadata.metadata.unwrap())["paths"],
        json!([{ "via": "binding" }])
    );
}

/// Other engines fail the whole sync on the second one.
#[test]
fn expansions_that_lead_nowhere_are_named() {
    let mut file = File::new(&[("cluster", "admin"), ("role", "r"), ("role", "r:x")]);
    file.grant(
        ("cluster", "admin"),
        ("role", "r"),
        &["role:r:nothing", "role:r:x:member", " "],
        "",
    );
    file.grant(("role", "r:x"), ("user", "ann"), &[], "");
    let (expanded, warnings) = file.expand();
    assert_eq!(expanded, Expanded::default());
    assert_eq!(
        warnings,
        [
            ("expansion-without-entitlement", "role:r:nothing".to_owned()),
            ("foreign-expansion", "role:r:x:member".to_owned())
        ]
    );
    assert_eq!(file.finish().len(), 2);
}

/// Ids are joined with colons, so two grants can have one id.
#[test]
fn an_inherited_grant_does_not_overwrite_another() {
    let mut file = File::new(&[("cluster", "admin"), ("role", "r"), ("x", "y")]);
    let id = "cluster:admin:member:user:ann";
    file.grant(("cluster", "admin"), ("role", "r"), &["role:r:member"], "");
    file.grant(("role", "r"), ("user", "ann"), &[], "");
    let other = pb::Grant {
        id: id.into(),
        entitlement: Some(pb::Entitlement {
            id: "x:y:member".into(),
            resource: Some(resource("x", "y")),
            ..Default::default()
        }),
        principal: Some(resource("user", "zoe")),
        ..Default::default()
    };
    file.writer.put_grant(other).unwrap();
    let (expanded, warnings) = file.expand();
    assert_eq!(expanded.grants, 0);
    assert_eq!(warnings, [("inherited-grant-without-id", id.to_owned())]);
    let grants = file.finish();
    assert_eq!(grants[id].grant.principal, Some(resource("user", "zoe")));
}

#[test]
fn it_can_be_stopped() {
    let mut file = File::new(&[("cluster", "admin"), ("role", "r")]);
    file.grant(("cluster", "admin"), ("role", "r"), &["role:r:member"], "");
    let mut watch = Watch {
        cancelled: &AtomicBool::new(true),
        found: &mut |_| {},
        warn: &mut |_, _, _| {},
    };
    let error = expand(&mut file.writer, &Sessions::new(), &mut watch).unwrap_err();
    assert!(matches!(error, PeopleError::Cancelled));
}

/// What spreads is bounded before it fills the disk.
#[test]
fn more_than_a_file_can_hold_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut holders = Holders::new(&folder.path().join("db"), 100 * 32).unwrap();
    for number in 0..30 {
        let who = Principal {
            kind: "user".into(),
            id: number.to_string(),
            message: Vec::new(),
        };
        holders.add(0, &who, number + 1, true, 5).unwrap();
    }
    let edges = (1..5).map(|target| Edge {
        source: 0,
        target,
        rank: 5,
        shallow: false,
        filter: 0,
    });
    let graph = Graph::new(5, edges.collect());
    let error = holders
        .spread(&graph, &mut watch!(&mut Vec::new()))
        .unwrap_err();
    assert!(error.to_string().contains("100 ways"), "{error}");
}
