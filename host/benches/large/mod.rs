//! A connector of any size that takes no memory: cluster roles times
//! namespaces as entitlements, and any number of grants.

mod peak;

pub use peak::peak_kib;

use baton_host::sandbox::contract::types::{
    Attributes, Descriptor, Entitlement, Grant, KindSpec, Object, ObjectId, Setting,
};
use baton_host::sandbox::contract::{EntitlementPage, GrantPage, ObjectPage};
use baton_host::sandbox::{CallError, Connector};

pub const NAMESPACES: usize = 1_000;
pub const ROLES: usize = 300;
pub const PEOPLE: usize = 20_000;
const PAGE: usize = 1_000;

/// A cluster of any size that takes no memory.
pub struct Large {
    /// How many grants it lists.
    pub grants: usize,
}

fn id(kind: &str, id: String) -> ObjectId {
    ObjectId {
        kind: kind.into(),
        id,
    }
}

fn slug(number: usize) -> String {
    if number == 0 {
        "all:member".into()
    } else {
        format!("namespace-{number}:member")
    }
}

/// The numbers of one page of `total`, and the token of the next.
fn page(total: usize, token: Option<&str>) -> (std::ops::Range<usize>, Option<String>) {
    let start = token.map_or(0, |token| token.parse().unwrap());
    let end = total.min(start + PAGE);
    (start..end, (end < total).then(|| end.to_string()))
}

fn role(number: usize) -> String {
    format!("team-role-{number}")
}

impl Connector for Large {
    async fn open(&mut self, _settings: Vec<Setting>) -> Result<(), CallError> {
        Ok(())
    }

    async fn validate(&mut self) -> Result<Attributes, CallError> {
        Ok(vec![])
    }

    async fn list_objects(
        &mut self,
        kind: &str,
        _parent: Option<ObjectId>,
        token: Option<&str>,
    ) -> Result<ObjectPage, CallError> {
        let (numbers, next) = page(if kind == "role" { ROLES } else { PEOPLE }, token);
        let items = numbers
            .map(|number| {
                let name = if kind == "role" {
                    role(number)
                } else {
                    format!("arn:aws:iam::1:user/{number}")
                };
                Object {
                    id: id(kind, name.clone()),
                    parent: None,
                    display_name: name.clone(),
                    profile: Some(format!(
                        "{{\"name\":\"{name}\",\"rules\":\"{}\"}}",
                        "x".repeat(500)
                    )),
                    attributes: vec![(
                        "embedded-profile".into(),
                        format!("{{\"name\":\"{name}\"}}"),
                    )],
                }
            })
            .collect();
        Ok(ObjectPage {
            items,
            next,
            attributes: vec![],
        })
    }

    async fn list_entitlements(
        &mut self,
        kind: &str,
        token: Option<&str>,
    ) -> Result<EntitlementPage, CallError> {
        let total = if kind == "role" {
            ROLES * (NAMESPACES + 1)
        } else {
            0
        };
        let (numbers, next) = page(total, token);
        let items = numbers
            .map(|number| {
                let name = role(number / (NAMESPACES + 1));
                Entitlement {
                    display_name: format!("{name} Cluster Role Member"),
                    attributes: vec![(
                        "description".into(),
                        format!("Grants membership to the {name} cluster role"),
                    )],
                    on: id(kind, name),
                    slug: slug(number % (NAMESPACES + 1)),
                    purpose: "assignment".into(),
                    grantable_to: vec!["user".into(), "role".into()],
                }
            })
            .collect();
        Ok(EntitlementPage {
            items,
            next,
            attributes: vec![],
        })
    }

    async fn list_grants(
        &mut self,
        kind: &str,
        token: Option<&str>,
    ) -> Result<GrantPage, CallError> {
        let (numbers, next) = page(if kind == "role" { self.grants } else { 0 }, token);
        let items = numbers
            .map(|number| Grant {
                // A walk that jumps, as a connector's over bindings does.
                on: id(kind, role(number * 7 % ROLES)),
                slug: slug(number / ROLES * 13 % (NAMESPACES + 1)),
                principal: id("user", format!("arn:aws:iam::1:user/{}", (number + number / (ROLES * (NAMESPACES + 1))) % PEOPLE)),
                attributes: vec![(
                    "metadata".into(),
                    format!("{{\"certainty\":\"certain\",\"paths\":[{{\"via\":\"binding\",\"binding\":\"{number}\"}}]}}"),
                )],
            })
            .collect();
        Ok(GrantPage {
            items,
            next,
            attributes: vec![],
        })
    }
}

/// What it is.
pub fn descriptor() -> Descriptor {
    Descriptor {
        name: "large".into(),
        version: "1.0.0".into(),
        settings: vec![],
        kinds: vec![kind("role", "role"), kind("user", "user")],
        upstreams: vec![],
        attributes: vec![],
    }
}

fn kind(name: &str, held: &str) -> KindSpec {
    KindSpec {
        name: name.into(),
        traits: vec![held.into()],
        capabilities: vec![],
        attributes: vec![],
    }
}
