//! The contract's limits on a page, and the walk from page to page.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use crate::sandbox::contract::types::{Attributes, Entitlement, Grant, Object, ObjectId};

/// Pages of one listing: a billion items. Their tokens are remembered.
const PAGES: usize = 1_000_000;
const PAGE_ITEMS: usize = 1_000;
const PAGE_BYTES: usize = 1 << 20;
const PROFILE_BYTES: usize = 64 << 10;
const STRING_BYTES: usize = 8 << 10;

/// Walks the pages of one listing.
#[derive(Default)]
pub(super) struct Pages {
    token: Option<String>,
    seen: HashSet<u64>,
    hasher: RandomState,
}

impl Pages {
    /// What to ask for next.
    pub(super) fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Goes on to `next`; `false` on the last page. A token that came before
    /// would walk in a circle.
    pub(super) fn advance(&mut self, next: Option<String>) -> Result<bool, String> {
        if let Some(token) = &next {
            if token.len() > STRING_BYTES {
                return Err(format!(
                    "a page token of {} bytes; {STRING_BYTES} are allowed",
                    token.len()
                ));
            }
            if self.seen.len() >= PAGES {
                return Err(format!("more than {PAGES} pages of one listing"));
            }
            if !self.seen.insert(self.hasher.hash_one(token)) {
                return Err("the same page token twice".to_owned());
            }
        }
        self.token = next;
        Ok(self.token.is_some())
    }
}

/// Something on a page whose strings have limits.
pub(super) trait Item {
    fn measure(&self, meter: &mut Meter) -> Result<(), String>;
}

/// Checks a page against the limits.
pub(super) fn check<T: Item>(items: &[T], attributes: &Attributes) -> Result<(), String> {
    if items.len() > PAGE_ITEMS {
        return Err(format!(
            "a page of {} items; {PAGE_ITEMS} are allowed",
            items.len()
        ));
    }
    let mut meter = Meter::default();
    for item in items {
        item.measure(&mut meter)?;
    }
    meter.attributes(attributes)?;
    if meter.bytes > PAGE_BYTES {
        return Err(format!(
            "a page of {} bytes; {PAGE_BYTES} are allowed",
            meter.bytes
        ));
    }
    Ok(())
}

#[derive(Default)]
pub(super) struct Meter {
    bytes: usize,
}

impl Meter {
    fn string(&mut self, what: &str, value: &str, limit: usize) -> Result<(), String> {
        self.bytes = self.bytes.saturating_add(value.len());
        if value.len() > limit {
            return Err(format!(
                "{what} of {} bytes; {limit} are allowed",
                value.len()
            ));
        }
        Ok(())
    }

    fn id(&mut self, id: &ObjectId) -> Result<(), String> {
        if id.kind.is_empty() || id.id.is_empty() {
            return Err("an object id with an empty part".to_owned());
        }
        self.string("a kind", &id.kind, STRING_BYTES)?;
        self.string("an object id", &id.id, STRING_BYTES)
    }

    fn attributes(&mut self, attributes: &Attributes) -> Result<(), String> {
        for (key, value) in attributes {
            self.string("an attribute's key", key, STRING_BYTES)?;
            let limit = if key == "embedded-profile" {
                PROFILE_BYTES
            } else {
                STRING_BYTES
            };
            self.string(&format!("the attribute {}", shown(key)), value, limit)?;
        }
        Ok(())
    }
}

impl Item for Object {
    fn measure(&self, meter: &mut Meter) -> Result<(), String> {
        meter.id(&self.id)?;
        if let Some(parent) = &self.parent {
            meter.id(parent)?;
        }
        meter.string("a display name", &self.display_name, STRING_BYTES)?;
        meter.string(
            "a profile",
            self.profile.as_deref().unwrap_or_default(),
            PROFILE_BYTES,
        )?;
        meter.attributes(&self.attributes)
    }
}

impl Item for Entitlement {
    fn measure(&self, meter: &mut Meter) -> Result<(), String> {
        meter.id(&self.on)?;
        meter.string("a slug", &self.slug, STRING_BYTES)?;
        meter.string("a display name", &self.display_name, STRING_BYTES)?;
        meter.string("a purpose", &self.purpose, STRING_BYTES)?;
        for kind in &self.grantable_to {
            meter.string("a kind", kind, STRING_BYTES)?;
        }
        meter.attributes(&self.attributes)
    }
}

impl Item for Grant {
    fn measure(&self, meter: &mut Meter) -> Result<(), String> {
        meter.id(&self.on)?;
        meter.string("a slug", &self.slug, STRING_BYTES)?;
        meter.id(&self.principal)?;
        meter.attributes(&self.attributes)
    }
}

/// A string of the connector's as it may stand in an error: short, and with
/// control characters escaped.
pub(super) fn shown(text: &str) -> String {
    const LONGEST: usize = 200;
    let mut shown: String = text
        .chars()
        .take(LONGEST)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// Empty pages cost a connector nothing, and the host a token each.
    #[test]
    fn a_listing_of_empty_pages_has_an_end() {
        let mut pages = Pages::default();
        let walked = (0..)
            .take_while(|n: &usize| pages.advance(Some(n.to_string())).is_ok())
            .count();
        assert_eq!(walked, PAGES);
        let error = pages.advance(Some("next".into())).unwrap_err();
        assert_eq!(error, "more than 1000000 pages of one listing");
    }
}
