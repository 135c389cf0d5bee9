//! The names of one kind of object: all that is kept of namespaces, service
//! accounts, config maps and roles once their rows are in the file.

use std::collections::BTreeSet;
use std::rc::Rc;

use crate::bindings::Error;
use crate::evidence::Notes;
use crate::kubernetes::list::{Cursor, Resource, Step};
use crate::kubernetes::{Bare, Meta};
use crate::upstream::Calls;

/// Names of one kind of object.
pub struct Names {
    resource: Resource,
    namespaced: bool,
    cursor: Option<Cursor>,
    building: BTreeSet<String>,
    names: Option<Rc<BTreeSet<String>>>,
}

impl Names {
    pub(crate) fn new(resource: Resource, namespaced: bool) -> Self {
        Names {
            resource,
            namespaced,
            cursor: None,
            building: BTreeSet::new(),
            names: None,
        }
    }

    /// The resource that is listed.
    pub fn resource(&self) -> Resource {
        self.resource
    }

    /// The names, once they are all read.
    pub fn read(&self) -> Rc<BTreeSet<String>> {
        self.names.clone().unwrap_or_default()
    }

    /// Takes names that were read while objects were listed.
    pub fn set(&mut self, names: BTreeSet<String>) {
        self.names = Some(Rc::new(names));
    }

    /// The name of an object in this set.
    pub fn name_of(&self, meta: &Meta) -> String {
        if self.namespaced {
            meta.path()
        } else {
            meta.name.clone()
        }
    }

    /// Reads on; `true` when all names are read.
    pub fn ensure(&mut self, calls: &mut Calls, notes: &mut Notes) -> Result<bool, Error> {
        while self.names.is_none() {
            if calls.spent() {
                return Ok(false);
            }
            let mut cursor = self
                .cursor
                .take()
                .unwrap_or_else(|| Cursor::new(self.resource));
            match cursor.step::<Bare>(calls)? {
                Step::Items(items) => {
                    let names: Vec<String> =
                        items.iter().map(|i| self.name_of(&i.metadata)).collect();
                    self.building.extend(names);
                }
                Step::Restarted => self.building.clear(),
            }
            if cursor.done() {
                notes.evidence(cursor.evidence());
                let names = std::mem::take(&mut self.building);
                self.set(names);
            } else {
                self.cursor = Some(cursor);
            }
        }
        Ok(true)
    }
}
