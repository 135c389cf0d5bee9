//! A host that walks a session as the real one does, and what it has in the end.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use serde_json::Value;

use super::cloud::Cloud;
use crate::bindings::{Entitlement, Error, Grant, Object, Setting};
use crate::session::Session;
use crate::upstream::{Failure, Host, Request, Response};

/// What the fake host saw.
#[derive(Default)]
pub struct Seen {
    pub calls: BTreeMap<String, u32>,
    pub paths: Vec<String>,
    in_flight: usize,
    pub most_in_flight: usize,
    since_return: u32,
    pub most_between_returns: u32,
}

impl Seen {
    /// An exported call begins.
    pub fn returned(&mut self) {
        self.since_return = 0;
    }
}

struct Fake {
    cloud: Rc<Cloud>,
    seen: Rc<RefCell<Seen>>,
    waiting: BTreeMap<u32, Response>,
    next: u32,
    gone: RefCell<u32>,
}

impl Host for Fake {
    fn start(&mut self, request: &Request) -> u32 {
        let mut seen = self.seen.borrow_mut();
        *seen.calls.entry(request.operation.to_string()).or_default() += 1;
        seen.paths.push(request.path.clone());
        seen.in_flight += 1;
        seen.most_in_flight = seen.most_in_flight.max(seen.in_flight);
        seen.since_return += 1;
        seen.most_between_returns = seen.most_between_returns.max(seen.since_return);
        self.next += 1;
        self.waiting
            .insert(self.next, self.cloud.answer(request, &self.gone));
        self.next
    }
    fn finish(&mut self, ticket: u32) -> Result<Response, Failure> {
        self.seen.borrow_mut().in_flight -= 1;
        Ok(self
            .waiting
            .remove(&ticket)
            .expect("a ticket is collected once"))
    }
    fn log(&mut self, _: &str, _: &str) {}
    fn progress(&mut self, _: u64, _: Option<u64>, _: &str) {}
}

pub struct File {
    pub objects: Vec<Object>,
    pub entitlements: Vec<Entitlement>,
    pub grants: Vec<Grant>,
    pub evidence: Vec<Value>,
    pub warnings: Vec<String>,
    pub skipped: Vec<String>,
    pub seen: Rc<RefCell<Seen>>,
}

pub fn open(cloud: Cloud, extra: &[(&str, &str)]) -> (Session, Rc<RefCell<Seen>>) {
    let seen = Rc::new(RefCell::new(Seen::default()));
    let fake = Fake {
        cloud: Rc::new(cloud),
        seen: seen.clone(),
        waiting: BTreeMap::new(),
        next: 0,
        gone: RefCell::new(0),
    };
    let mut settings: Vec<Setting> = [("eks-region", "eu-west-1"), ("eks-cluster-name", "prod")]
        .iter()
        .chain(extra)
        .map(|(n, v)| Setting {
            name: (*n).into(),
            value: (*v).into(),
        })
        .collect();
    settings.dedup_by(|a, b| a.name == b.name);
    (Session::open(&settings, Box::new(fake)).unwrap(), seen)
}

pub fn sync(cloud: Cloud) -> File {
    try_sync(cloud, &[]).unwrap_or_else(|e| panic!("{e:?}"))
}

/// Walks everything in the contract's order and checks what must hold for any
/// cluster: pages within their limits, nothing twice, every grant on a row that
/// exists, every principal but an IAM user with a row, nothing left in flight.
pub fn try_sync(cloud: Cloud, extra: &[(&str, &str)]) -> Result<File, Error> {
    let (mut session, seen) = open(cloud, extra);
    let mut file = File {
        objects: vec![],
        entitlements: vec![],
        grants: vec![],
        evidence: vec![],
        warnings: vec![],
        skipped: vec![],
        seen: seen.clone(),
    };
    let descriptor = crate::session::describe();
    let listed: Vec<(String, bool)> = descriptor
        .kinds
        .iter()
        .filter(|k| {
            let when = attribute(&k.attributes, "listed-when");
            attribute(&k.attributes, "listed") != Some("false")
                || when
                    .and_then(|when| when.split_once('='))
                    .is_some_and(|when| extra.contains(&when))
        })
        .map(|k| {
            (
                k.name.clone(),
                k.attributes.contains(&("optional".into(), "true".into())),
            )
        })
        .collect();
    macro_rules! walk {
        ($call:expr, $into:expr, $kind:expr) => {{
            let mut token: Option<String> = None;
            loop {
                seen.borrow_mut().since_return = 0;
                #[allow(clippy::redundant_closure_call)]
                let page = match $call($kind, token.clone()) {
                    Ok(page) => page,
                    Err(error)
                        if error.kind == "not-permitted"
                            && listed.contains(&($kind.clone(), true)) =>
                    {
                        file.skipped.push($kind.clone());
                        break;
                    }
                    Err(error) => return Err(error),
                };
                assert!(page.items.len() <= 1000);
                assert!(format!("{:?}", page.attributes).len() < 1024 * 1024);
                for (key, value) in page.attributes {
                    assert!(value.len() <= 8 * 1024);
                    match key.as_str() {
                        "evidence" => file.evidence.push(serde_json::from_str(&value).unwrap()),
                        "warning" => file.warnings.push(value),
                        other => panic!("{other}"),
                    }
                }
                $into.extend(page.items);
                token = page.next;
                if token.is_none() {
                    break;
                }
            }
        }};
    }
    for (kind, _) in &listed {
        walk!(
            |k: &String, t| session.list_objects(k, None, t),
            file.objects,
            kind
        );
    }
    let skipped = file.skipped.clone();
    for (kind, _) in listed.iter().filter(|(k, _)| !skipped.contains(k)) {
        walk!(
            |k: &String, t| session.list_entitlements(k, t),
            file.entitlements,
            kind
        );
    }
    for (kind, _) in listed.iter().filter(|(k, _)| !skipped.contains(k)) {
        walk!(|k: &String, t| session.list_grants(k, t), file.grants, kind);
    }
    drop(session);
    file.check();
    Ok(file)
}

impl File {
    fn check(&self) {
        let seen = self.seen.borrow();
        assert_eq!(seen.in_flight, 0);
        assert!(seen.most_in_flight <= 64 && seen.most_between_returns <= 256);
        let mut rows = BTreeSet::new();
        for o in &self.objects {
            assert!(
                rows.insert((o.id.kind.clone(), o.id.id.clone())),
                "twice: {:?}",
                o.id
            );
            if let Some(p) = &o.profile {
                assert!(p.len() <= 64 * 1024);
                assert!(serde_json::from_str::<Value>(p).unwrap().is_object());
            }
            assert!(o.attributes.iter().all(|(_, v)| v.len() <= 8 * 1024));
        }
        let mut slugs = BTreeSet::new();
        for e in &self.entitlements {
            assert!(
                rows.contains(&(e.on.kind.clone(), e.on.id.clone())),
                "entitlement without object: {:?}",
                e.on
            );
            assert!(
                slugs.insert(format!("{}:{}:{}", e.on.kind, e.on.id, e.slug)),
                "twice: {:?} {}",
                e.on,
                e.slug
            );
        }
        let mut ids = BTreeSet::new();
        for g in &self.grants {
            let on = format!("{}:{}:{}", g.on.kind, g.on.id, g.slug);
            assert!(slugs.contains(&on), "grant without entitlement: {on}");
            assert!(ids.insert(grant_id(g)), "twice: {}", grant_id(g));
            let principal = (g.principal.kind.clone(), g.principal.id.clone());
            assert!(
                principal.0 == "iam_user" || rows.contains(&principal),
                "principal without row: {principal:?}"
            );
            let meta: Value =
                serde_json::from_str(attribute(&g.attributes, "metadata").unwrap()).unwrap();
            assert!(
                ["certain", "session", "conditional", "latent"]
                    .contains(&meta["certainty"].as_str().unwrap())
            );
            assert!(meta["paths"].as_array().unwrap().len() <= 20);
            assert_eq!(
                attribute(&g.attributes, "external-match-id").is_some(),
                g.principal.kind == "iam_user"
            );
        }
        assert!(self.evidence.iter().all(|e| e["type"].is_string()));
    }

    pub fn ids(&self) -> Vec<String> {
        self.grants.iter().map(grant_id).collect()
    }

    /// Principals of one entitlement, `kind:id`.
    pub fn holders(&self, entitlement: &str) -> Vec<String> {
        self.grants
            .iter()
            .filter(|g| format!("{}:{}:{}", g.on.kind, g.on.id, g.slug) == entitlement)
            .map(|g| format!("{}:{}", g.principal.kind, g.principal.id))
            .collect()
    }

    pub fn grant(&self, id: &str) -> &Grant {
        self.grants
            .iter()
            .find(|g| grant_id(g) == id)
            .unwrap_or_else(|| panic!("no grant {id} in {:#?}", self.ids()))
    }

    pub fn metadata(&self, id: &str) -> Value {
        serde_json::from_str(attribute(&self.grant(id).attributes, "metadata").unwrap()).unwrap()
    }

    pub fn object(&self, kind: &str, id: &str) -> &Object {
        self.objects
            .iter()
            .find(|o| o.id.kind == kind && o.id.id == id)
            .unwrap_or_else(|| panic!("no {kind} {id}"))
    }

    pub fn has(&self, kind: &str, id: &str) -> bool {
        self.objects
            .iter()
            .any(|o| o.id.kind == kind && o.id.id == id)
    }

    pub fn profile(&self, kind: &str, id: &str) -> Value {
        serde_json::from_str(self.object(kind, id).profile.as_deref().unwrap()).unwrap()
    }

    pub fn evidence_of(&self, kind: &str) -> Vec<&Value> {
        self.evidence.iter().filter(|e| e["type"] == kind).collect()
    }
}

pub fn grant_id(g: &Grant) -> String {
    format!(
        "{}:{}:{}:{}:{}",
        g.on.kind, g.on.id, g.slug, g.principal.kind, g.principal.id
    )
}

pub fn attribute<'a>(list: &'a [(String, String)], key: &str) -> Option<&'a str> {
    list.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
}
