//! How a listing is walked: either a Kubernetes list whose objects become rows
//! as they arrive, or an iterator over what was read before.

use std::collections::{BTreeSet, VecDeque};

use serde::de::DeserializeOwned;

use crate::bindings::{Error, Object, ObjectId};
use crate::evidence::Notes;
use crate::kubernetes::list::{Cursor, Step};
use crate::kubernetes::{Bare, Meta, Role, ServiceAccount};
use crate::page::{Item, Page};
use crate::sources::{Names, Store};
use crate::upstream::Calls;

/// A listing under way.
pub trait Walk<T: Item> {
    /// Adds items until the page is full, the calls are spent or (`true`)
    /// nothing is left.
    fn fill(
        &mut self,
        store: &mut Store,
        calls: &mut Calls,
        page: &mut Page<T>,
    ) -> Result<bool, Error>;
}

struct Nothing;

impl<T: Item> Walk<T> for Nothing {
    fn fill(&mut self, _: &mut Store, _: &mut Calls, _: &mut Page<T>) -> Result<bool, Error> {
        Ok(true)
    }
}

/// A listing of nothing.
pub fn nothing<T: Item>() -> Box<dyn Walk<T>> {
    Box::new(Nothing)
}

/// What must have been read before an iterator can be made: `true` if it is.
pub type Ready = fn(&mut Store, &mut Calls) -> Result<bool, Error>;

/// Everything that is joined.
pub fn world(store: &mut Store, calls: &mut Calls) -> Result<bool, Error> {
    Ok(store.world(calls)?.is_some())
}

/// Items of an iterator over what was read.
pub struct Lazy<T> {
    ready: Ready,
    make: fn(&Store) -> Box<dyn Iterator<Item = T>>,
    items: Option<Box<dyn Iterator<Item = T>>>,
    held: Option<T>,
}

impl<T: Item + 'static> Lazy<T> {
    /// A listing that is made once `ready` says so.
    pub fn boxed(
        ready: Ready,
        make: fn(&Store) -> Box<dyn Iterator<Item = T>>,
    ) -> Box<dyn Walk<T>> {
        Box::new(Lazy {
            ready,
            make,
            items: None,
            held: None,
        })
    }
}

impl<T: Item> Walk<T> for Lazy<T> {
    fn fill(
        &mut self,
        store: &mut Store,
        calls: &mut Calls,
        page: &mut Page<T>,
    ) -> Result<bool, Error> {
        if self.items.is_none() {
            if !(self.ready)(store, calls)? {
                return Ok(false);
            }
            self.items = Some((self.make)(store));
        }
        loop {
            let next = self
                .held
                .take()
                .or_else(|| self.items.as_mut().and_then(Iterator::next));
            let Some(item) = next else { return Ok(true) };
            self.held = page.push(item, &mut store.notes);
            if self.held.is_some() {
                return Ok(false);
            }
        }
    }
}

/// An object with metadata.
pub trait HasMeta: DeserializeOwned {
    /// Its metadata.
    fn meta(&self) -> &Meta;
}
impl HasMeta for Bare {
    fn meta(&self) -> &Meta {
        &self.metadata
    }
}
impl HasMeta for ServiceAccount {
    fn meta(&self) -> &Meta {
        &self.metadata
    }
}
impl HasMeta for Role {
    fn meta(&self) -> &Meta {
        &self.metadata
    }
}

/// Rows that are made while a list is read. Only names are kept; after the last
/// page come rows for what is mentioned elsewhere.
pub struct Stream<T> {
    /// The names that this listing reads.
    pub names: fn(&mut Store) -> &mut Names,
    /// An object as a row.
    pub row: fn(&T, &mut Notes) -> Object,
    /// What the last rows need.
    pub ready: Ready,
    /// The last rows.
    pub rest: fn(&Store) -> Vec<Object>,
    /// The only namespace that is wanted.
    pub parent: Option<ObjectId>,
    /// Where the list stands.
    pub cursor: Option<Cursor>,
    /// Names that are in the file already.
    pub seen: BTreeSet<String>,
    /// Rows that wait for a page.
    pub pending: VecDeque<Object>,
    /// Whether the last rows were made.
    pub finished: bool,
    /// Whether the list was read to its end.
    pub listed: bool,
}

impl<T: HasMeta + 'static> Stream<T> {
    /// A listing from the start.
    pub fn boxed(
        names: fn(&mut Store) -> &mut Names,
        row: fn(&T, &mut Notes) -> Object,
        ready: Ready,
        rest: fn(&Store) -> Vec<Object>,
        parent: Option<ObjectId>,
    ) -> Box<dyn Walk<Object>> {
        Box::new(Stream {
            names,
            row,
            ready,
            rest,
            parent,
            cursor: None,
            seen: BTreeSet::new(),
            pending: VecDeque::new(),
            finished: false,
            listed: false,
        })
    }

    fn wanted(&self, object: &Object) -> bool {
        match &self.parent {
            None => true,
            Some(parent) => object
                .parent
                .as_ref()
                .is_some_and(|p| p.kind == parent.kind && p.id == parent.id),
        }
    }

    fn read(&mut self, store: &mut Store, calls: &mut Calls) -> Result<(), Error> {
        let resource = (self.names)(store).resource();
        let mut cursor = self.cursor.take().unwrap_or_else(|| Cursor::new(resource));
        match cursor.step::<T>(calls)? {
            Step::Restarted if self.seen.is_empty() => {}
            Step::Restarted => cursor.mixed(),
            Step::Items(items) => {
                for item in items {
                    let name = (self.names)(store).name_of(item.meta());
                    if self.seen.insert(name) {
                        let row = (self.row)(&item, &mut store.notes);
                        if self.wanted(&row) {
                            self.pending.push_back(row);
                        }
                    }
                }
            }
        }
        if cursor.done() {
            store.notes.evidence(cursor.evidence());
            (self.names)(store).set(std::mem::take(&mut self.seen));
            self.listed = true;
        } else {
            self.cursor = Some(cursor);
        }
        Ok(())
    }
}

impl<T: HasMeta + 'static> Walk<Object> for Stream<T> {
    fn fill(
        &mut self,
        store: &mut Store,
        calls: &mut Calls,
        page: &mut Page<Object>,
    ) -> Result<bool, Error> {
        loop {
            while let Some(row) = self.pending.pop_front() {
                if let Some(row) = page.push(row, &mut store.notes) {
                    self.pending.push_front(row);
                    return Ok(false);
                }
            }
            if self.finished {
                return Ok(true);
            }
            if calls.spent() {
                return Ok(false);
            }
            if !self.listed {
                self.read(store, calls)?;
            } else if (self.ready)(store, calls)? {
                let rows: Vec<Object> = (self.rest)(store)
                    .into_iter()
                    .filter(|r| self.wanted(r))
                    .collect();
                self.pending.extend(rows);
                self.finished = true;
            } else {
                return Ok(false);
            }
        }
    }
}
