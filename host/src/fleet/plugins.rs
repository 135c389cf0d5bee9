//! The plugins of a fleet: each digest compiled once, whatever path it has.
//!
//! A plugin is what its file was when the configuration was read: another file
//! in its place counts from the next reading on, and then needs its approval.
//! Until that is given only the clusters that use the file stand still.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Mutex as Turn;

use super::failed::Failed;
use crate::plugin::{Lock, Plugin, PluginError};
use crate::sandbox::{Component, Sandbox, digest};

/// A file and the lock that approves it.
type Key = (PathBuf, Option<PathBuf>);

/// One file, looked at by one task at a time: the others wait for its answer
/// and nobody waits for another file.
type Slot = Arc<Turn<Loaded>>;

#[derive(Default)]
struct Loaded {
    plugin: Option<Plugin>,
    /// Which reading of the configuration it was loaded for.
    reading: u64,
}

/// See the module.
pub(super) struct Plugins {
    sandbox: Sandbox,
    /// Names that no setting of a plugin may take.
    reserved: Vec<String>,
    slots: Mutex<BTreeMap<Key, Slot>>,
    compiled: Mutex<HashMap<String, Arc<Turn<Option<Component>>>>>,
    reading: Mutex<u64>,
}

impl Plugins {
    pub(super) fn new(sandbox: Sandbox, reserved: Vec<String>) -> Plugins {
        Plugins {
            sandbox,
            reserved,
            slots: Mutex::default(),
            compiled: Mutex::default(),
            reading: Mutex::new(1),
        }
    }

    /// The configuration was read again: files and approvals are looked at
    /// anew, and what nobody uses any more is let go.
    pub(super) fn renew(&self, used: &[Key]) {
        *lock(&self.reading) += 1;
        lock(&self.slots).retain(|key, _| used.contains(key));
        // Where the file is unchanged its component is found by its digest.
        let held: Vec<String> = lock(&self.slots)
            .values()
            .filter_map(|slot| {
                let loaded = slot.try_lock().ok()?;
                Some(loaded.plugin.as_ref()?.component.digest().to_owned())
            })
            .collect();
        lock(&self.compiled)
            .retain(|digest, cell| held.contains(digest) || Arc::strong_count(cell) > 1);
    }

    /// The plugin of a cluster.
    pub(super) async fn get(
        &self,
        path: &Path,
        lock_file: Option<&Path>,
    ) -> Result<Plugin, Failed> {
        let key = (path.to_owned(), lock_file.map(Path::to_owned));
        let slot = lock(&self.slots).entry(key).or_default().clone();
        let reading = *lock(&self.reading);
        let mut loaded = slot.lock().await;
        if let Some(plugin) = &loaded.plugin
            && loaded.reading == reading
        {
            return Ok(plugin.clone());
        }
        let plugin = self.load(path, lock_file, loaded.plugin.as_ref()).await?;
        *loaded = Loaded {
            plugin: Some(plugin.clone()),
            reading,
        };
        Ok(plugin)
    }

    async fn load(
        &self,
        path: &Path,
        lock_file: Option<&Path>,
        before: Option<&Plugin>,
    ) -> Result<Plugin, Failed> {
        let lock_of = match lock_file {
            None => Lock::none(),
            Some(file) => {
                let lock = Lock::read(file).map_err(|error| Failed::plugin(error.into()))?;
                if !lock.exists() {
                    // Without a lock any plugin runs; whoever names one means it.
                    return Err(Failed::configuration(format!(
                        "there is no lock file {}",
                        file.display()
                    ))
                    .hint("`baton-host plugin approve FILE --lock LOCK` writes it"));
                }
                lock
            }
        };
        let bytes = Plugin::bytes(path).await.map_err(Failed::plugin)?;
        let digest = digest(&bytes);
        if let Some(before) = before
            && !lock_of.exists()
            && before.component.digest() != digest
        {
            return Err(Failed::unapproved(format!(
                "{} is not what it was when this process began: {digest} instead of {}, and no lock approves it",
                path.display(),
                before.component.digest()
            )));
        }
        let component = self.component(path, bytes, digest, &lock_of).await?;
        let Some(approval) = lock_of.approval(component.digest()) else {
            let descriptor = component.descriptor();
            let error = PluginError::NotApproved {
                lock: lock_of.path().to_owned(),
                name: descriptor.name.clone(),
                version: descriptor.version.clone(),
                digest: component.digest().to_owned(),
            };
            return Err(Failed::unapproved(error.to_string()));
        };
        Ok(Plugin {
            path: path.to_owned(),
            component,
            approval,
        })
    }

    /// Compiles bytes, unless that was done before.
    async fn component(
        &self,
        path: &Path,
        bytes: Vec<u8>,
        digest: String,
        lock_of: &Lock,
    ) -> Result<Component, Failed> {
        let cell = lock(&self.compiled).entry(digest).or_default().clone();
        let mut compiled = cell.lock().await;
        if let Some(component) = compiled.as_ref() {
            return Ok(component.clone());
        }
        let component = Plugin::component_of(&self.sandbox, path, bytes, lock_of, &self.reserved)
            .await
            .map_err(Failed::plugin)?;
        *compiled = Some(component.clone());
        Ok(component)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
