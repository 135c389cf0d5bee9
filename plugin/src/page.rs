//! Pages within the contract's limits: 1,000 items, 1 MiB, strings of 8 KiB.

use crate::bindings::{Entitlement, Grant, Object, ObjectId};
use crate::evidence::Notes;
use crate::text::cut;

/// Items on a page.
pub const MAX_ITEMS: usize = 1_000;
/// Bytes of items on a page; the rest of the mebibyte is for notes.
const MAX_BYTES: usize = 640 * 1024;
/// Bytes of items and notes.
const MAX_ALL: usize = 960 * 1024;
const MAX_STRING: usize = 8 * 1024;
const MAX_PROFILE: usize = 64 * 1024;

/// What a page holds.
pub trait Item {
    /// About how many bytes it takes.
    fn weight(&self) -> usize;
    /// A string that no page may hold: one that is too long, or an empty id.
    fn flaw(&self) -> Option<&str>;
}

fn id_weight(id: &ObjectId) -> usize {
    id.kind.len() + id.id.len() + 32
}

fn attributes_weight(list: &[(String, String)]) -> usize {
    list.iter().map(|(k, v)| k.len() + v.len() + 32).sum()
}

fn long<'a>(texts: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    texts.into_iter().find(|t| t.len() > MAX_STRING)
}

fn empty(id: &ObjectId) -> Option<&str> {
    Some(id.id.as_str()).filter(|t| t.is_empty())
}

fn values(list: &[(String, String)]) -> impl Iterator<Item = &str> {
    list.iter().map(|(_, v)| v.as_str())
}

impl Item for Object {
    fn weight(&self) -> usize {
        let parent = self.parent.as_ref().map_or(0, id_weight);
        id_weight(&self.id)
            + parent
            + self.display_name.len()
            + self.profile.as_ref().map_or(0, String::len)
            + attributes_weight(&self.attributes)
            + 64
    }
    fn flaw(&self) -> Option<&str> {
        long(
            [self.id.id.as_str(), &self.display_name]
                .into_iter()
                .chain(values(&self.attributes)),
        )
        .or_else(|| self.profile.as_deref().filter(|p| p.len() > MAX_PROFILE))
        .or_else(|| empty(&self.id))
    }
}

impl Item for Entitlement {
    fn weight(&self) -> usize {
        id_weight(&self.on)
            + self.slug.len()
            + self.display_name.len()
            + self
                .grantable_to
                .iter()
                .map(|k| k.len() + 16)
                .sum::<usize>()
            + attributes_weight(&self.attributes)
            + 64
    }
    fn flaw(&self) -> Option<&str> {
        long(
            [self.on.id.as_str(), &self.slug, &self.display_name]
                .into_iter()
                .chain(values(&self.attributes)),
        )
        .or_else(|| empty(&self.on))
    }
}

impl Item for Grant {
    fn weight(&self) -> usize {
        id_weight(&self.on)
            + id_weight(&self.principal)
            + self.slug.len()
            + attributes_weight(&self.attributes)
            + 64
    }
    fn flaw(&self) -> Option<&str> {
        long(
            [self.on.id.as_str(), &self.slug, &self.principal.id]
                .into_iter()
                .chain(values(&self.attributes)),
        )
        .or_else(|| empty(&self.on))
        .or_else(|| empty(&self.principal))
    }
}

/// A page that is being filled.
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    bytes: usize,
}

impl<T: Item> Page<T> {
    /// An empty page.
    pub fn new() -> Self {
        Page {
            items: Vec::new(),
            bytes: 0,
        }
    }

    /// Adds an item, or gives it back if it belongs to the next page. An item
    /// that no page can hold is left out with a warning.
    pub fn push(&mut self, item: T, notes: &mut Notes) -> Option<T> {
        if let Some(text) = item.flaw() {
            notes.warn(format!(
                "a row was left out because a text of it is empty or longer than the contract allows: `{}`",
                cut(text, 100)
            ));
            return None;
        }
        let weight = item.weight();
        if self.items.len() >= MAX_ITEMS
            || (!self.items.is_empty() && self.bytes + weight > MAX_BYTES)
        {
            return Some(item);
        }
        self.bytes += weight;
        self.items.push(item);
        None
    }

    /// The notes that still fit.
    pub fn notes(&self, notes: &mut Notes) -> Vec<(String, String)> {
        notes.take(MAX_ALL.saturating_sub(self.bytes))
    }
}

impl<T: Item> Default for Page<T> {
    fn default() -> Self {
        Self::new()
    }
}
