//! Chains with known answers, and random graphs against a naive reference.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::model::{Certainty, Id, Model};
use super::query::{Ask, access, who_can};
use super::rules::Wish;
use super::testing::{ACCOUNT, Dice, Sketch, company, iam, load, policy_arn, user};
use super::{find, paths, words};

fn who(model: &Model, name: &str) -> Id {
    find::principal(model, name).unwrap()
}

/// `what [certainty]` and the first path of everything that a principal has.
fn shown(model: &Model, name: &str) -> Vec<String> {
    access(model, who(model, name), None)
        .access
        .iter()
        .map(|held| {
            let path = words::line(&held.paths[0].links);
            format!("{} {}: {path}", held.what, held.certainty.name())
        })
        .collect()
}

#[test]
fn a_person_has_what_its_group_and_roles_have() {
    let model = company().load();
    assert_eq!(
        shown(&model, "bob"),
        [
            "assume deploy conditional: bob -> group platform -> assume deploy (trust)",
            "member of platform unstated: bob -> member of platform",
            "AmazonEKSEditPolicy in namespace dev conditional: bob -> group platform -> role deploy (trust) -> \
             access entry -> AmazonEKSEditPolicy in namespace dev",
            "view in namespace dev conditional: bob -> group platform -> role deploy (trust) -> access entry -> \
             group devs -> binding dev/readers -> view in namespace dev",
            "view in the whole cluster conditional: bob -> group platform -> role deploy (trust) -> \
             system:authenticated (by what it is) -> binding everyone -> view in the whole cluster",
        ]
    );
}

#[test]
fn a_session_of_identity_center_is_one_person() {
    let model = company().load();
    let admin = |name: &str| {
        let found = access(&model, who(&model, name), None).access;
        found
            .iter()
            .find(|held| held.what.starts_with("cluster-admin"))
            .map(|held| held.certainty)
    };
    assert_eq!(admin("ann@corp"), Some(Certainty::Certain));
    assert_eq!(admin("Joe"), None);
    let role = who(&model, "AWSReservedSSO_Ops_0123456789abcdef");
    assert_eq!(
        access(&model, role, None).access[0].certainty,
        Certainty::Session
    );
}

#[test]
fn a_workload_has_what_its_role_has() {
    let model = company().load();
    let text = shown(&model, "dev/ci").join("\n");
    assert!(
        text.contains("dev/ci -> role deploy (irsa) -> access entry -> AmazonEKSEditPolicy"),
        "{text}"
    );
    assert!(
        text.contains("secrets in namespace dev certain: dev/ci -> binding dev/tls"),
        "{text}"
    );
}

fn holders(model: &Model, ask: &Ask) -> Vec<String> {
    let answer = who_can(model, ask);
    answer
        .holders
        .iter()
        .map(|holder| {
            let only: BTreeSet<&str> = holder
                .access
                .iter()
                .flat_map(|held| held.only.iter().map(String::as_str))
                .collect();
            let best = holder
                .access
                .iter()
                .map(|held| held.certainty)
                .max()
                .unwrap();
            format!(
                "{} {} {}",
                holder.name,
                best.name(),
                only.into_iter().collect::<Vec<_>>().join(",")
            )
            .trim_end()
            .to_owned()
        })
        .collect()
}

#[test]
fn who_can_read_secrets() {
    let model = company().load();
    let ask = |namespace: Option<&str>| Ask {
        wish: Some(Wish::new("get", "secrets")),
        namespace: namespace.map(str::to_owned),
        role: None,
    };
    assert_eq!(
        holders(&model, &ask(Some("dev"))),
        [
            "Ann certain",
            "bob conditional",
            "eve conditional",
            "ops session",
            "platform conditional",
            "AWSReservedSSO_Ops_0123456789abcdef session",
            "deploy certain",
            "dev/ci certain tls",
        ]
    );
    assert_eq!(
        holders(&model, &ask(Some("prod"))),
        [
            "Ann certain",
            "ops session",
            "AWSReservedSSO_Ops_0123456789abcdef session"
        ]
    );
    assert_eq!(who_can(&model, &ask(None)).unknown, ["mystery of prod"]);
    let nodes = Ask {
        wish: Some(Wish::new("list", "nodes")),
        ..Ask::default()
    };
    assert_eq!(holders(&model, &nodes).len(), 3);
    let view = Ask {
        role: Some("view".into()),
        ..Ask::default()
    };
    let names = holders(&model, &view);
    assert!(
        names.contains(&"system:authenticated certain".to_owned()),
        "{names:?}"
    );
    assert!(names.contains(&"bob conditional".to_owned()), "{names:?}");
}

#[test]
fn names_that_are_not_there_bring_others_to_mind() {
    let model = company().load();
    let error = |name: &str| find::principal(&model, name).unwrap_err().to_string();
    assert_eq!(error("nobody"), "no principal is called nobody");
    assert_eq!(
        error("deploi"),
        "no principal is called deploi; did you mean deploy?"
    );
    let mut twice = company();
    twice.row("person", "x1", json!({"display": "Bob"})).grant(
        ("thing", "t"),
        "use",
        ("person", "x1"),
        json!({}),
    );
    let model = twice.load();
    let error = find::principal(&model, "BOB").unwrap_err().to_string();
    assert_eq!(
        error,
        format!(
            "BOB may be iam_user:{} or person:x1 of prod: give one of these",
            user("bob")
        )
    );
    assert!(
        find::principal(&model, "Bob").is_ok(),
        "letter case decides"
    );
}

#[test]
fn several_files_are_one_company() {
    let mut aws = Sketch::default();
    let group = format!("arn:aws:iam::{ACCOUNT}:group/platform");
    aws.row("iam_user", &user("bob"), json!({"display": "Robert"}))
        .row("iam_user", &user("new"), json!({}))
        .row("group", &group, json!({}))
        .grant(
            ("group", &group),
            "member",
            ("iam_user", &user("new")),
            json!({}),
        );
    let mut stage = Sketch::cluster("stage");
    stage
        .row("cluster_role", "view", json!({"rules": []}))
        .row("role", &iam("deploy"), json!({"external": true}))
        .bind_role(
            ("cluster_role", "view"),
            "all:member",
            &iam("deploy"),
            json!({}),
        );
    let model = load(&[&company(), &aws, &stage]);
    let text = shown(&model, "new").join("\n");
    assert!(
        text.contains("new -> group platform -> role deploy (trust) -> access entry"),
        "{text}"
    );
    let clusters: BTreeSet<String> = access(&model, who(&model, "new"), None)
        .access
        .into_iter()
        .map(|held| held.cluster)
        .collect();
    assert_eq!(clusters, ["AWS", "prod", "stage"].map(str::to_owned).into());
    assert!(
        !model.facts(who(&model, "deploy")).external,
        "the row that says more stays"
    );
    assert_eq!(
        model.notes,
        [format!(
            "{}: files disagree on the name; the first one counts",
            user("bob")
        )]
    );
}

#[test]
fn files_that_cannot_be_read_together_say_so() {
    use super::{Source, load};
    use crate::c1z::FileOptions;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    company().write(&path("a.c1z"));
    company().write(&path("b.c1z"));
    std::fs::write(path("empty.c1z"), "").unwrap();
    let error = |names: &[&str]| {
        let sources: Vec<Source> = names
            .iter()
            .map(|name| Source::from(path(name).as_path()))
            .collect();
        load(&sources, &FileOptions::default())
            .unwrap_err()
            .to_string()
    };
    assert!(error(&["a.c1z", "b.c1z"]).contains("are both of arn:aws:eks"));
    assert!(error(&["empty.c1z"]).ends_with("holds no finished sync"));
    assert!(error(&["nowhere.c1z"]).ends_with("does not exist"));
}

#[test]
fn what_an_expansion_wrote_is_not_a_second_way() {
    let mut s = company();
    let through = format!("role:{}:assignment", iam("deploy"));
    s.grant(
        ("access_policy", &policy_arn("AmazonEKSEditPolicy")),
        "assigned:dev",
        ("iam_user", &user("bob")),
        json!({"sources": [through]}),
    );
    assert_eq!(shown(&s.load(), "bob"), shown(&company().load(), "bob"));
    // Nothing explains this one.
    s.grant(
        ("cluster_role", "view"),
        "kube:member",
        ("iam_user", &user("bob")),
        json!({"sources": ["gone"]}),
    );
    let text = shown(&s.load(), "bob").join("\n");
    assert!(
        text.contains(
            "bob -> inherited (the file does not say through what) -> view in namespace kube"
        ),
        "{text}"
    );
}

/// Expansion as its definition says it: until nothing changes, whoever holds
/// a source entitlement gets what its resource's grant hands on.
#[derive(Default)]
struct Naive {
    /// (principal, entitlement, directly)
    holds: BTreeSet<(String, String, bool)>,
}

type Edge = (String, String, Vec<String>, bool, Vec<String>);

impl Naive {
    fn run(direct: &[(String, String)], edges: &[Edge]) -> Naive {
        let mut naive = Naive::default();
        for (who, what) in direct {
            naive.holds.insert((who.clone(), what.clone(), true));
        }
        loop {
            let mut new = Vec::new();
            for (_, what, through, shallow, kinds) in edges {
                for (who, held, directly) in &naive.holds {
                    let kind = who.split(':').next().unwrap().to_owned();
                    if through.contains(held)
                        && (!shallow || *directly)
                        && (kinds.is_empty() || kinds.contains(&kind))
                    {
                        new.push((who.clone(), what.clone(), false));
                    }
                }
            }
            let before = naive.holds.len();
            naive.holds.extend(new);
            if naive.holds.len() == before {
                return naive;
            }
        }
    }
}

#[test]
fn random_graphs_give_what_a_naive_expansion_gives() {
    for seed in 0..300 {
        let mut dice = Dice::new(seed);
        let mut s = Sketch::default();
        let groups: Vec<String> = (0..2 + dice.roll(4)).map(|n| format!("g{n}")).collect();
        let people: Vec<(String, String)> = (0..3)
            .map(|n| {
                (
                    if n == 2 { "iam_user" } else { "person" }.to_owned(),
                    format!("p{n}"),
                )
            })
            .collect();
        for (kind, id) in &people {
            s.row(kind, id, json!({}));
        }
        for group in &groups {
            s.row("team", group, json!({}));
        }
        s.row("thing", "t", json!({}));
        let mut direct = BTreeMap::new();
        let mut edges: Vec<Edge> = Vec::new();
        for _ in 0..4 + dice.roll(12) {
            let on = if dice.one_in(3) {
                ("thing", "t")
            } else {
                ("team", groups[dice.roll(groups.len())].as_str())
            };
            let slug = ["use", "member", "owner"][dice.roll(3)];
            let what = format!("{}:{}:{slug}", on.0, on.1);
            let (kind, id) = if dice.one_in(2) {
                people[dice.roll(people.len())].clone()
            } else {
                ("team".to_owned(), groups[dice.roll(groups.len())].clone())
            };
            let who = format!("{kind}:{id}");
            if direct.contains_key(&(who.clone(), what.clone())) {
                continue;
            }
            let mut more = json!({});
            // Membership of a group carries by itself, where nothing else is said.
            let mut through = if kind == "team" {
                vec![format!("{who}:member")]
            } else {
                Vec::new()
            };
            let (mut shallow, mut kinds) = (false, Vec::new());
            if kind == "team" && dice.one_in(2) {
                shallow = dice.one_in(3);
                through = vec![format!("{who}:{}", ["member", "owner"][dice.roll(2)])];
                if dice.one_in(3) {
                    kinds.push("person".to_owned());
                }
                more = json!({"expand": {"through": through, "shallow": shallow, "kinds": kinds}});
            }
            s.grant(on, slug, (&kind, &id), more);
            direct.insert((who.clone(), what.clone()), ());
            if !through.is_empty() {
                edges.push((who, what, through, shallow, kinds));
            }
        }
        let direct: Vec<(String, String)> = direct.into_keys().collect();
        let naive = Naive::run(&direct, &edges);
        let model = s.load();
        for (kind, id) in &people {
            let name = format!("{kind}:{id}");
            let Ok(who) = find::principal(&model, &name) else {
                continue;
            };
            let found = paths::access(&model, who, 3);
            let own: BTreeSet<&str> = found
                .iter()
                .map(|access| {
                    model
                        .texts
                        .get(model.entitlement(access.entitlement).unwrap().id)
                })
                .collect();
            let expected: BTreeSet<&str> = naive
                .holds
                .iter()
                .filter(|(who, ..)| *who == name)
                .map(|(_, what, _)| what.as_str())
                .collect();
            assert_eq!(own, expected, "seed {seed}, {name}: {direct:?} {edges:?}");
            for access in &found {
                let lengths: Vec<usize> =
                    access.paths.iter().map(|path| path.steps.len()).collect();
                assert!(lengths.is_sorted(), "shortest first");
            }
            // Asked from the other end, the answer is the same.
            for access in &found {
                let held = model.entitlement(access.entitlement).unwrap();
                let ask = Ask {
                    role: Some(format!("{}:{}", model.kind(held.node), model.id(held.node))),
                    ..Ask::default()
                };
                let answer = who_can(&model, &ask);
                assert!(
                    answer.holders.iter().any(|holder| holder.id == *id),
                    "seed {seed}"
                );
            }
        }
    }
}

#[test]
fn cycles_end_and_their_members_share() {
    let mut s = Sketch::default();
    let group = |name: &str| format!("arn:aws:iam::{ACCOUNT}:group/{name}");
    for name in ["a", "b", "c"] {
        s.row("group", &group(name), json!({}));
    }
    s.row("iam_user", &user("x"), json!({}));
    for (on, who) in [("a", "b"), ("b", "c"), ("c", "a")] {
        s.grant(
            ("group", &group(on)),
            "member",
            ("group", &group(who)),
            json!({}),
        );
    }
    s.grant(
        ("group", &group("a")),
        "member",
        ("iam_user", &user("x")),
        json!({}),
    )
    .grant(("thing", "t"), "use", ("group", &group("b")), json!({}));
    let model = s.load();
    let text = shown(&model, "x").join("\n");
    assert!(
        text.contains("x -> group a -> group c -> group b -> use of t"),
        "{text}"
    );
}

#[test]
fn a_ladder_of_groups_has_more_paths_than_anybody_reads() {
    let mut s = Sketch::default();
    let group = |level: usize, side: usize| format!("arn:aws:iam::{ACCOUNT}:group/g{level}-{side}");
    s.row("iam_user", &user("x"), json!({}));
    for level in 0..30 {
        for side in 0..2 {
            for next in 0..2 {
                s.grant(
                    ("group", &group(level + 1, next)),
                    "member",
                    ("group", &group(level, side)),
                    json!({}),
                );
            }
        }
    }
    s.grant(
        ("group", &group(0, 0)),
        "member",
        ("iam_user", &user("x")),
        json!({}),
    )
    .grant(("thing", "t"), "use", ("group", &group(30, 0)), json!({}));
    let model = s.load();
    let found = access(&model, who(&model, "x"), None);
    let thing = found
        .access
        .iter()
        .find(|held| held.what == "use of t")
        .unwrap();
    assert!(
        thing.more_paths && thing.paths.len() == 20,
        "{}",
        thing.paths.len()
    );
}
