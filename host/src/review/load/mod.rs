//! Files into a [`Model`].
//!
//! Resources of all files first, then grants, because a grant of one file may
//! name a principal that another one lists. Of two rows of one principal the
//! one that says more stays, and what they disagree on is told.

mod facts;
mod folder;
mod realm;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::model::{
    Certainty, Entitlement, Expansion, Facts, Grant, Id, Index, Model, Node, Realm, Sort, Way, at,
    scope,
};
use super::paths;
use crate::c1z::{Error, FileOptions, Reader, View, annotations, pb};
use crate::sync::EVIDENCE_ASSET;
use facts::{facts, is_global, sort};
pub use folder::expand;

/// Why files could not be read together.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// A file could not be read.
    #[error(transparent)]
    File(#[from] Error),
    /// A file does not exist.
    #[error("{path} does not exist")]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// A file holds no sync that can be shown.
    #[error("{path} holds no finished sync")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A folder could not be read.
    #[error("the folder {path} cannot be read: {error}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A folder without access files.
    #[error("the folder {path} holds no access file")]
    NoFiles {
        /// The folder.
        path: PathBuf,
    },
    /// A folder where a file is asked for.
    #[error("{path} is a folder")]
    IsFolder {
        /// The folder.
        path: PathBuf,
    },
    /// Two files are of one cluster, which would count everything twice.
    #[error("{first} and {second} are both of {cluster}")]
    SameCluster {
        /// One file.
        first: PathBuf,
        /// The other.
        second: PathBuf,
        /// The cluster.
        cluster: String,
    },
}

/// A file and which of its syncs.
#[derive(Debug, Clone)]
pub struct Source {
    /// The file.
    pub path: PathBuf,
    /// The sync; the newest full one where it is not said.
    pub sync: Option<String>,
    /// It was found in a folder: one that cannot be read is left out with a note.
    pub found: bool,
}

impl From<&Path> for Source {
    fn from(path: &Path) -> Self {
        Source {
            path: path.to_owned(),
            sync: None,
            found: false,
        }
    }
}

/// Files that stay open between their rows and their grants; with more of
/// them each is opened again, because a process may not open any number.
const OPEN: usize = 32;

/// Reads files together.
///
/// # Errors
/// One is missing, damaged, empty or of the same cluster as another.
pub fn load(sources: &[Source], options: &FileOptions) -> Result<Model, LoadError> {
    let mut loader = Loader::default();
    let mut read = Vec::new();
    for source in sources {
        let (reader, view) = match open(source, options) {
            Ok(opened) => opened,
            Err(error) if source.found => {
                let path = source.path.display();
                let note = format!("{path} was left out: {error}");
                loader.model.notes.push(note);
                continue;
            }
            Err(error) => return Err(error),
        };
        let realm = loader.realm(source, &reader, &view)?;
        loader.resources(&reader, &view, realm)?;
        let kept = (sources.len() <= OPEN).then_some((reader, view));
        read.push((source, kept, realm));
    }
    if let ([], Some(first)) = (read.as_slice(), sources.first()) {
        return Err(LoadError::Empty {
            path: first.path.clone(),
        });
    }
    for (source, kept, realm) in read {
        let (reader, view) = match kept {
            Some(kept) => kept,
            None => open(source, options)?,
        };
        loader.grants(&reader, &view, realm)?;
        loader.names(&reader, &view, realm)?;
    }
    Ok(loader.finish())
}

fn open(source: &Source, options: &FileOptions) -> Result<(Reader, View), LoadError> {
    let path = source.path.clone();
    if path.is_dir() {
        return Err(LoadError::IsFolder { path });
    }
    if !path.is_file() {
        return Err(LoadError::Missing { path });
    }
    let reader = Reader::open(&path, options)?;
    let view = match &source.sync {
        Some(id) => reader.sync(id)?,
        None => reader.latest()?,
    };
    if reader.syncs()?.is_empty() {
        return Err(LoadError::Empty { path });
    }
    Ok((reader, view))
}

#[derive(Default)]
struct Loader {
    model: Model,
    nodes: HashMap<(Option<Id>, Id, Id), Id>,
    aliases: HashMap<(Option<Id>, Id, Id), Id>,
    entitlements: HashMap<(Option<Id>, Id), Id>,
    grants: HashMap<(Id, Id), Id>,
    /// Traits of a kind in a realm.
    traits: HashMap<(Id, Id), Vec<i32>>,
    disagreeing: u64,
}

impl Loader {
    fn realm(&mut self, source: &Source, reader: &Reader, view: &View) -> Result<Id, LoadError> {
        let mut realm = Realm {
            file: source.path.display().to_string(),
            name: source.path.file_stem().map_or_else(
                || source.path.display().to_string(),
                |stem| stem.to_string_lossy().into_owned(),
            ),
            ..Realm::default()
        };
        if let View::Sync(id) = view {
            realm.sync_id.clone_from(id);
            if let Some(run) = reader.syncs()?.into_iter().find(|run| run.sync_id == *id) {
                match run.ended_at {
                    Some(ended) => realm.ended = ended,
                    None => realm.unread.push("this sync never finished".to_owned()),
                }
            }
        }
        for asset in reader.assets(view) {
            let asset = asset?;
            if asset.id == EVIDENCE_ASSET
                && let Ok(Value::Object(evidence)) = serde_json::from_slice(&asset.data)
            {
                realm::describe(&mut realm, evidence);
            }
        }
        let other = |known: &&Realm| !known.cluster.is_empty() && known.cluster == realm.cluster;
        if let Some(known) = self.model.realms.iter().find(other) {
            return Err(LoadError::SameCluster {
                first: PathBuf::from(&known.file),
                second: source.path.clone(),
                cluster: realm.cluster,
            });
        }
        let number = Id::try_from(self.model.realms.len()).unwrap_or(Id::MAX);
        self.model.realms.push(realm);
        Ok(number)
    }

    fn resources(&mut self, reader: &Reader, view: &View, realm: Id) -> Result<(), LoadError> {
        for row in reader.resource_types(view) {
            let row = row?;
            let kind = self.model.texts.put(&row.id);
            self.traits.insert((realm, kind), row.traits);
        }
        let mut counts: HashMap<Id, u64> = HashMap::new();
        for row in reader.resources(view) {
            let row = row?;
            let Some(id) = &row.id else { continue };
            let kind = self.model.texts.put(&id.resource_type);
            *counts.entry(kind).or_default() += 1;
            self.put(realm, &row, true);
        }
        let mut kinds: Vec<(String, u64)> = counts
            .into_iter()
            .map(|(kind, count)| (self.model.texts.get(kind).to_owned(), count))
            .collect();
        kinds.sort();
        if let Some(known) = self.model.realms.get_mut(at(realm)) {
            known.kinds = kinds;
        }
        Ok(())
    }

    /// The node of a row, made or completed.
    fn put(&mut self, realm: Id, row: &pb::Resource, listed: bool) -> Id {
        let id = row.id.clone().unwrap_or_default();
        let own = is_global(&id.resource_type, &id.resource);
        let place = if own { None } else { Some(realm) };
        let kind = self.model.texts.put(&id.resource_type);
        let text = self.model.texts.put(&id.resource);
        let key = (place, kind, text);
        if !listed {
            let known = self.nodes.get(&key).or_else(|| self.aliases.get(&key));
            if let Some(known) = known {
                return *known;
            }
        }
        let mut node = self.read(realm, row, listed);
        (node.kind, node.id, node.realm) = (kind, text, place);
        let Some(known) = self.nodes.get(&key).copied() else {
            let number = Id::try_from(self.model.nodes.len()).unwrap_or(Id::MAX);
            self.model.nodes.push(node);
            self.nodes.insert(key, number);
            if listed && let Some(aliases) = annotations::find::<pb::Aliases>(&row.annotations) {
                for alias in aliases.ids {
                    let alias = self.model.texts.put(&alias);
                    self.aliases.entry((place, kind, alias)).or_insert(number);
                }
            }
            return number;
        };
        self.merge(known, node);
        known
    }

    /// Of two rows of one principal the one that says more stays.
    fn merge(&mut self, known: Id, new: Node) {
        let says = |node: &Node| {
            let facts = node.facts.as_deref();
            let stand_in = facts.is_some_and(|facts| facts.missing || facts.external);
            (node.listed, !stand_in, facts.is_some())
        };
        let old = self.model.node(known).clone();
        let facts = |node: &Node| node.facts.as_deref().cloned().unwrap_or_default();
        let (a, b) = (facts(&old), facts(&new));
        if old.listed && new.listed && says(&old) == says(&new) {
            let differs = (old.name != new.name)
                .then_some("the name")
                .or((a.disabled != b.disabled).then_some("whether the account is enabled"));
            if let Some(what) = differs {
                self.disagreeing += 1;
                if self.disagreeing <= 20 {
                    let who = self.model.id(known).to_owned();
                    let text = format!("{who}: files disagree on {what}; the first one counts");
                    self.model.notes.push(text);
                }
            }
        }
        if says(&new) > says(&old)
            && let Some(slot) = self.model.nodes.get_mut(at(known))
        {
            *slot = new;
        }
    }

    fn read(&mut self, realm: Id, row: &pb::Resource, listed: bool) -> Node {
        let id = row.id.clone().unwrap_or_default();
        let kind = self.model.texts.put(&id.resource_type);
        let (facts, account) = facts(row, &id.resource_type, &id.resource);
        let traits = self.traits.get(&(realm, kind)).cloned().unwrap_or_default();
        let name = if row.display_name.is_empty() {
            &id.resource
        } else {
            &row.display_name
        };
        Node {
            kind,
            id: self.model.texts.put(&id.resource),
            name: self.model.texts.put(name),
            realm: Some(realm),
            sort: sort(&id.resource_type, &id.resource, &traits, account),
            listed,
            facts: (facts != Facts::default()).then(|| Box::new(facts)),
        }
    }

    fn grants(&mut self, reader: &Reader, view: &View, realm: Id) -> Result<(), LoadError> {
        let mut count = 0;
        for row in reader.grants(view) {
            let row = row?;
            count += 1;
            self.grant(realm, row.grant, row.expansion);
        }
        if let Some(known) = self.model.realms.get_mut(at(realm)) {
            known.grants = count;
        }
        Ok(())
    }

    fn grant(&mut self, realm: Id, grant: pb::Grant, expansion: Option<pb::GrantExpandable>) {
        let held = grant.entitlement.unwrap_or_default();
        let on = held.resource.clone().unwrap_or_default();
        let principal = self.put(realm, &grant.principal.unwrap_or_default(), false);
        let node = self.put(realm, &on, false);
        let entitlement = self.entitlement(node, &held, &on);
        let metadata = annotations::find::<pb::GrantMetadata>(&grant.annotations)
            .and_then(|metadata| metadata.metadata)
            .map(|metadata| annotations::json(&metadata))
            .unwrap_or_default();
        let text =
            |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
        let certainty = Certainty::read(&text(metadata.get("certainty")));
        let from = self.model.ways.len();
        for path in metadata
            .get("paths")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let mut put = |key: &str| self.model.texts.put(&text(path.get(key)));
            let way = Way {
                via: put("via"),
                binding: put("binding"),
                group: put("group"),
                mapping: put("mapping"),
                scope: put("scope"),
                session: put("session"),
                conditions: put("conditions"),
                bypasses_rbac: path.get("bypasses_rbac").and_then(Value::as_bool) == Some(true),
            };
            self.model.ways.push(way);
        }
        let sources = grant
            .sources
            .map(|sources| sources.sources)
            .unwrap_or_default();
        let expansion = expansion.filter(|expansion| !expansion.entitlement_ids.is_empty());
        let expansion = expansion.map(|expansion| {
            let mut put =
                |texts: &[String]| texts.iter().map(|t| self.model.texts.put(t)).collect();
            Box::new(Expansion {
                through: put(&expansion.entitlement_ids),
                shallow: expansion.shallow,
                kinds: put(&expansion.resource_type_ids),
            })
        });
        let to = self.model.ways.len();
        let range = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let counted = metadata
            .get("path_count")
            .and_then(Value::as_u64)
            .unwrap_or_default();
        let new = Grant {
            principal,
            entitlement,
            certainty,
            unexplained: false,
            derived: !sources.is_empty() && !sources.contains_key(&held.id),
            ways: (range(from), range(to)),
            way_count: range(usize::try_from(counted).unwrap_or_default().max(to - from)),
            expansion,
        };
        self.add(new);
    }

    /// Two files may name one grant, such as who may assume a role.
    fn add(&mut self, new: Grant) {
        let key = (new.principal, new.entitlement);
        let Some(known) = self.grants.get(&key).copied() else {
            let number = Id::try_from(self.model.grants.len()).unwrap_or(Id::MAX);
            self.grants.insert(key, number);
            self.model.grants.push(new);
            return;
        };
        if let Some(old) = self.model.grants.get_mut(at(known)) {
            // Said by both; an unstated certainty says nothing.
            old.certainty = match (old.certainty, new.certainty) {
                (Certainty::Unstated, other) | (other, Certainty::Unstated) => other,
                (a, b) => a.max(b),
            };
            old.derived &= new.derived;
            if old.ways.0 == old.ways.1 {
                (old.ways, old.way_count) = (new.ways, new.way_count);
            }
            if old.expansion.is_none() {
                old.expansion = new.expansion;
            }
        }
    }

    fn entitlement(&mut self, node: Id, held: &pb::Entitlement, on: &pb::Resource) -> Id {
        let text = self.model.texts.put(&held.id);
        let key = (self.model.node(node).realm, text);
        if let Some(known) = self.entitlements.get(&key) {
            return *known;
        }
        // The id in the grant may be an alias of the node's.
        let id = on.id.clone().unwrap_or_default();
        let prefix = format!("{}:{}:", id.resource_type, id.resource);
        let slug = held
            .id
            .strip_prefix(&prefix)
            .unwrap_or(&held.slug)
            .to_owned();
        let sort = self.model.node(node).sort;
        let carries = match id.resource_type.as_str() {
            "role" => slug == "assignment" && sort == Sort::IamRole,
            _ => sort == Sort::Group && slug == "member",
        };
        let number = Id::try_from(self.model.entitlements.len()).unwrap_or(Id::MAX);
        let one = Entitlement {
            id: text,
            node,
            slug: self.model.texts.put(&slug),
            name: self.model.texts.put(&held.display_name),
            scope: scope(&id.resource_type, &id.resource, &slug),
            carries,
        };
        self.model.entitlements.push(one);
        self.entitlements.insert(key, number);
        number
    }

    /// Names of those entitlements that somebody holds.
    fn names(&mut self, reader: &Reader, view: &View, realm: Id) -> Result<(), LoadError> {
        for row in reader.entitlements(view) {
            let row = row?;
            let id = self.model.texts.put(&row.id);
            let known = [Some(realm), None]
                .iter()
                .find_map(|place| self.entitlements.get(&(*place, id)).copied());
            if let Some(known) = known
                && !row.display_name.is_empty()
            {
                let name = self.model.texts.put(&row.display_name);
                if let Some(one) = self.model.entitlements.get_mut(at(known)) {
                    one.name = name;
                }
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Model {
        let model = &mut self.model;
        realm::tell_apart(&mut model.realms);
        if self.disagreeing > 20 {
            let more = self.disagreeing - 20;
            model
                .notes
                .push(format!("files disagree on {more} more principals"));
        }
        let number = |n: usize| Id::try_from(n).unwrap_or(Id::MAX);
        let grants = model.grants.iter().enumerate();
        let by_principal = grants
            .clone()
            .map(|(n, grant)| (grant.principal, number(n)));
        model.held = Index::new(model.nodes.len(), by_principal);
        let by_entitlement = grants.map(|(n, grant)| (grant.entitlement, number(n)));
        model.holders = Index::new(model.entitlements.len(), by_entitlement);
        let entitlements = model.entitlements.iter().enumerate();
        let by_node = entitlements.map(|(n, one)| (one.node, number(n)));
        model.on = Index::new(model.nodes.len(), by_node);
        for (n, node) in model.nodes.iter().enumerate() {
            if node.sort == Sort::StandIn
                && let Some(realm) = node.realm
            {
                let name = model.texts.get(node.id).to_owned();
                model.groups.insert((realm, name), number(n));
            }
            if model.texts.get(node.kind) == "service_account"
                && model.texts.get(node.id) == "*"
                && let Some(realm) = node.realm
            {
                model.groups.insert((realm, "*".to_owned()), number(n));
            }
        }
        paths::keep_unexplained(model);
        self.model
    }
}
