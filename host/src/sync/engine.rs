//! The run of one sync.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::EVIDENCE_ASSET;
use super::convert::{self, Kind, Kinds, first};
use super::error::SyncError;
use super::objects::Objects;
use super::page::{self, Item, Pages};
use super::people;
use super::progress::{Phase, Progress};
use super::summary::{KindCounts, Notes, Summary, Unread, count_kind};
use crate::c1z::{FileOptions, Put, RELEASED_READER_MAX_BYTES, SyncType, Writer};
use crate::people::External;
use crate::sandbox::contract::types::{Attributes, Descriptor, Setting};
use crate::sandbox::{CallError, Connector};

/// Entitlements above which a summary says so: they are what makes a file large.
const MANY_ENTITLEMENTS: u64 = 200_000;

/// What to sync.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Kinds to list; empty means all.
    pub kinds: Vec<String>,
    /// Leave out grants.
    pub skip_grants: bool,
    /// Leave out entitlements and grants; the sync is then of type
    /// `resources_only`.
    pub skip_entitlements_and_grants: bool,
    /// Another connector's file to take accounts and groups from.
    pub external: Option<External>,
    /// Set from outside to stop the sync before its next call.
    pub cancelled: Arc<AtomicBool>,
}

/// What the caller knows about a sync and the file shall say.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// The host's version.
    pub host_version: String,
    /// The digest of the connector, `sha256:...`.
    pub plugin_digest: Option<String>,
    /// Who reads, as the upstreams know them: an ARN.
    pub caller: Option<String>,
}

/// Syncs: opens the connector with `settings`, lists everything that `options`
/// ask for and replaces `file`.
///
/// Needs a Tokio runtime. Rows are written on the calling task, between calls.
///
/// # Errors
/// The connector fails or breaks the contract, the file cannot be read or
/// written, or the sync is stopped. The file on disk is then as before.
#[expect(
    clippy::too_many_arguments,
    reason = "each is a part of its own, named at the call"
)]
pub async fn run<C: Connector, P: Progress>(
    connector: &mut C,
    descriptor: &Descriptor,
    settings: Vec<Setting>,
    options: &Options,
    facts: &Facts,
    file: &Path,
    file_options: &FileOptions,
    progress: &mut P,
) -> Result<Summary, SyncError> {
    let clock = Instant::now();
    let started = Timestamp::now();
    let mut kinds = Kinds::new(descriptor).map_err(|reason| SyncError::Contract {
        doing: "reading the descriptor".to_owned(),
        reason,
    })?;
    kinds.set(&settings);
    let chosen = choose(&kinds, &options.kinds)?;
    let sync_type = if options.skip_entitlements_and_grants {
        SyncType::ResourcesOnly
    } else {
        SyncType::Full
    };

    progress.phase(Phase::Opening);
    let writer = {
        let (file, file_options) = (file.to_owned(), file_options.clone());
        blocking(move || Writer::open(&file, sync_type, &file_options)).await??
    };
    let objects = Objects::new(writer.work_folder())?;
    let mut run = Run {
        connector,
        options,
        progress,
        writer,
        objects,
        notes: Notes::default(),
        unread: Vec::new(),
        principals_without_row: BTreeMap::new(),
        kinds: &kinds,
    };

    run.stop()?;
    run.connector
        .open(settings)
        .await
        .map_err(|source| failed("opening the connector", source))?;
    run.stop()?;
    run.progress.phase(Phase::Validating);
    let validation = run
        .connector
        .validate()
        .await
        .map_err(|source| failed("checking the upstreams", source))?;
    let validation = grouped(validation);

    let counts = run.list(&chosen).await?;

    run.stop()?;
    let Run {
        writer,
        objects,
        notes,
        unread,
        principals_without_row,
        progress,
        ..
    } = run;
    drop(objects);
    let (mut writer, mut notes, people) =
        people::run(writer, notes, options, file, file_options, progress).await?;
    if options.cancelled.load(Ordering::Relaxed) {
        return Err(SyncError::Cancelled);
    }
    progress.phase(Phase::Writing);
    warn_if_many(
        &mut notes,
        counts.iter().map(|kind| kind.entitlements).sum(),
        descriptor,
    );
    let ended = Timestamp::now();
    let evidence = notes.asset(head(
        descriptor,
        facts,
        &validation,
        &unread,
        &notes,
        started,
        ended,
    ));
    writer.put_asset(EVIDENCE_ASSET, "application/json", evidence.as_bytes())?;
    drop(evidence);
    let written = blocking(move || writer.finish()).await??;
    if written.decoded_bytes > RELEASED_READER_MAX_BYTES {
        notes.warn(
            "large-file",
            "the released `baton` does not open files of more than 3 GiB when decoded",
            None,
        );
    }

    Ok(Summary {
        file: written.path,
        sync_id: written.sync_id,
        sync_type: sync_type.name(),
        started: started.to_string(),
        ended: ended.to_string(),
        seconds: clock.elapsed().as_secs_f64(),
        validation,
        objects: counts.iter().map(|kind| kind.objects).sum::<u64>()
            + people.imported.map_or(0, |imported| imported.resources),
        entitlements: counts.iter().map(|kind| kind.entitlements).sum::<u64>()
            + people.imported.map_or(0, |imported| imported.entitlements),
        grants: people.grants,
        kinds: counts,
        principals_without_row: people.without_row.unwrap_or(principals_without_row),
        imported: people.imported,
        expanded: people.expanded,
        evidence: notes.evidence_count(),
        unread,
        warnings: notes.warnings().to_vec(),
        file_bytes: written.file_bytes,
        decoded_bytes: written.decoded_bytes,
        removed_syncs: written.removed_syncs,
    })
}

/// The kinds to list, in the descriptor's order.
fn choose<'k>(kinds: &'k Kinds, names: &[String]) -> Result<Vec<&'k Kind>, SyncError> {
    let listed: Vec<&Kind> = kinds.all.iter().filter(|kind| kind.listed).collect();
    if let Some(name) = names
        .iter()
        .find(|name| !listed.iter().any(|kind| kind.name == **name))
    {
        let known = listed.iter().map(|kind| kind.name.clone()).collect();
        return Err(SyncError::UnknownKind {
            name: page::shown(name),
            known,
        });
    }
    Ok(listed
        .into_iter()
        .filter(|kind| names.is_empty() || names.contains(&kind.name))
        .collect())
}

struct Run<'a, C, P> {
    connector: &'a mut C,
    options: &'a Options,
    progress: &'a mut P,
    writer: Writer,
    objects: Objects,
    notes: Notes,
    unread: Vec<Unread>,
    principals_without_row: BTreeMap<String, u64>,
    kinds: &'a Kinds,
}

impl<C: Connector, P: Progress> Run<'_, C, P> {
    /// Lists everything, and counts it kind by kind.
    async fn list(&mut self, chosen: &[&Kind]) -> Result<Vec<KindCounts>, SyncError> {
        self.progress.phase(Phase::Resources);
        for kind in chosen {
            self.writer.put_resource_type(&kind.resource_type)?;
        }
        let mut counts = Vec::with_capacity(chosen.len());
        let mut readable = Vec::with_capacity(chosen.len());
        for (position, kind) in chosen.iter().enumerate() {
            let mut count = KindCounts {
                kind: kind.name.clone(),
                display_name: kind.resource_type.display_name.clone(),
                ..Default::default()
            };
            if self.list_objects(kind, &mut count.objects).await? {
                readable.push((position, *kind));
            }
            counts.push(count);
            self.progress.done(Phase::Resources, &kind.name);
        }
        if self.options.skip_entitlements_and_grants {
            return Ok(counts);
        }
        self.progress.phase(Phase::Entitlements);
        for (position, kind) in &readable {
            if let Some(count) = counts.get_mut(*position) {
                self.list_entitlements(kind, &mut count.entitlements)
                    .await?;
            }
            self.progress.done(Phase::Entitlements, &kind.name);
        }
        if self.options.skip_grants {
            return Ok(counts);
        }
        self.progress.phase(Phase::Grants);
        for (position, kind) in &readable {
            if let Some(count) = counts.get_mut(*position) {
                self.list_grants(kind, &mut count.grants).await?;
            }
            self.progress.done(Phase::Grants, &kind.name);
        }
        Ok(counts)
    }

    /// `false`: the kind is optional and may not be read.
    async fn list_objects(&mut self, kind: &Kind, count: &mut u64) -> Result<bool, SyncError> {
        const STEP: &str = "objects";
        let mut pages = Pages::default();
        loop {
            self.stop()?;
            let page = match self
                .connector
                .list_objects(&kind.name, None, pages.token())
                .await
            {
                Ok(page) => page,
                Err(error) => return self.skip(STEP, kind, error).map(|()| false),
            };
            let broken = |reason| broken(STEP, kind, reason);
            self.take_page(&page.items, &page.attributes)
                .map_err(broken)?;
            for object in &page.items {
                if object.id.kind != kind.name {
                    return Err(broken(format!(
                        "an object of kind {}",
                        page::shown(&object.id.kind)
                    )));
                }
                let resource = convert::resource(object, self.kinds).map_err(|reason| {
                    broken(format!("object {}: {reason}", page::shown(&object.id.id)))
                })?;
                match self.writer.put_resource(&resource.row)? {
                    Put::New => {
                        self.objects.put(&object.id, &resource.copy)?;
                        *count += 1;
                    }
                    Put::Again => self.notes.warn(
                        "duplicate-object",
                        "the connector listed objects twice; the first of each id is kept",
                        Some(&format!("{}:{}", object.id.kind, object.id.id)),
                    ),
                }
            }
            self.progress.found(Phase::Resources, &kind.name, *count);
            if !pages.advance(page.next).map_err(broken)? {
                return Ok(true);
            }
        }
    }

    async fn list_entitlements(&mut self, kind: &Kind, count: &mut u64) -> Result<(), SyncError> {
        const STEP: &str = "entitlements";
        let mut pages = Pages::default();
        loop {
            self.stop()?;
            let page = match self
                .connector
                .list_entitlements(&kind.name, pages.token())
                .await
            {
                Ok(page) => page,
                Err(error) => return self.skip(STEP, kind, error),
            };
            let broken = |reason| broken(STEP, kind, reason);
            self.take_page(&page.items, &page.attributes)
                .map_err(broken)?;
            for entitlement in page.items {
                let on = &entitlement.on;
                if on.kind != kind.name {
                    return Err(broken(format!(
                        "an entitlement on kind {}",
                        page::shown(&on.kind)
                    )));
                }
                let id = convert::entitlement_id(on, &entitlement.slug);
                let Some(copy) = self.objects.copy(on)? else {
                    self.leave_out(
                        "entitlement-without-object",
                        "entitlements on objects that the connector did not list are left out",
                        &id,
                    );
                    continue;
                };
                let message =
                    convert::entitlement(entitlement, copy, self.kinds).map_err(|reason| {
                        broken(format!("entitlement {}: {reason}", page::shown(&id)))
                    })?;
                match self.writer.put_entitlement(&message)? {
                    Put::New => *count += 1,
                    Put::Again => self.notes.warn(
                        "duplicate-entitlement",
                        "the connector listed entitlements twice; the first of each id is kept",
                        Some(&id),
                    ),
                }
            }
            self.progress.found(Phase::Entitlements, &kind.name, *count);
            if !pages.advance(page.next).map_err(broken)? {
                return Ok(());
            }
        }
    }

    async fn list_grants(&mut self, kind: &Kind, count: &mut u64) -> Result<(), SyncError> {
        const STEP: &str = "grants";
        let mut pages = Pages::default();
        loop {
            self.stop()?;
            let page = match self.connector.list_grants(&kind.name, pages.token()).await {
                Ok(page) => page,
                Err(error) => return self.skip(STEP, kind, error),
            };
            let broken = |reason| broken(STEP, kind, reason);
            self.take_page(&page.items, &page.attributes)
                .map_err(broken)?;
            for grant in &page.items {
                if grant.on.kind != kind.name {
                    return Err(broken(format!(
                        "a grant on kind {}",
                        page::shown(&grant.on.kind)
                    )));
                }
                let entitlement_id = convert::entitlement_id(&grant.on, &grant.slug);
                let copy = self.objects.copy(&grant.on)?;
                let known = self.writer.has_entitlement(&entitlement_id);
                let Some(copy) = copy.filter(|_| known) else {
                    // Readers fail on a grant without its entitlement.
                    self.leave_out(
                        "grant-without-entitlement",
                        "grants of entitlements that the connector did not list are left out",
                        &format!(
                            "{entitlement_id}:{}:{}",
                            grant.principal.kind, grant.principal.id
                        ),
                    );
                    continue;
                };
                let (message, foreign) = convert::grant(grant, copy).map_err(|reason| {
                    broken(format!(
                        "a grant of {}: {reason}",
                        page::shown(&entitlement_id)
                    ))
                })?;
                for source in foreign {
                    self.notes.warn(
                        "foreign-expansion",
                        "grants expand through entitlements that are not on their principal; these expansions are left out",
                        Some(&source),
                    );
                }
                if !self
                    .writer
                    .has_resource(&grant.principal.kind, &grant.principal.id)
                {
                    count_kind(&mut self.principals_without_row, &grant.principal.kind);
                }
                let id = message.id.clone();
                match self.writer.put_grant(message)? {
                    Put::New => *count += 1,
                    Put::Again => self.notes.warn(
                        "duplicate-grant",
                        "the connector listed grants twice; they are merged",
                        Some(&id),
                    ),
                }
            }
            self.progress.found(Phase::Grants, &kind.name, *count);
            if !pages.advance(page.next).map_err(broken)? {
                return Ok(());
            }
        }
    }

    fn stop(&self) -> Result<(), SyncError> {
        if self.options.cancelled.load(Ordering::Relaxed) {
            Err(SyncError::Cancelled)
        } else {
            Ok(())
        }
    }

    /// Checks a page and takes over its warnings and evidence.
    fn take_page<T: Item>(&mut self, items: &[T], attributes: &Attributes) -> Result<(), String> {
        page::check(items, attributes)?;
        self.notes.page(attributes)
    }

    /// An optional kind that may not be read is noted; anything else is an error.
    fn skip(&mut self, step: &'static str, kind: &Kind, error: CallError) -> Result<(), SyncError> {
        match error {
            CallError::Connector(error) if kind.optional && error.kind == "not-permitted" => {
                let attribute = |key| first(&error.attributes, key).map(str::to_owned);
                self.unread.push(Unread {
                    kind: kind.name.clone(),
                    step,
                    upstream: attribute("upstream"),
                    operation: attribute("operation"),
                    hint: attribute("hint"),
                    message: error.message,
                });
                Ok(())
            }
            error => Err(failed(&doing(step, kind), error)),
        }
    }

    /// Something that readers would stumble over is evidence, not a row.
    fn leave_out(&mut self, reason: &'static str, message: &str, id: &str) {
        self.notes.warn(reason, message, Some(id));
        let evidence = [
            ("type".to_owned(), reason.into()),
            ("id".to_owned(), id.into()),
        ];
        self.notes.evidence(evidence.into_iter().collect());
    }
}

pub(super) fn warn_if_many(notes: &mut Notes, entitlements: u64, descriptor: &Descriptor) {
    if entitlements <= MANY_ENTITLEMENTS {
        return;
    }
    let settings: Vec<String> = descriptor
        .settings
        .iter()
        .filter(|setting| setting.name.contains("entitlements"))
        .map(|setting| format!("`--{}`", setting.name))
        .collect();
    let how = if settings.is_empty() {
        String::new()
    } else {
        format!("; {} may make them fewer", settings.join(" and "))
    };
    notes.warn(
        "many-entitlements",
        &format!("the file holds {entitlements} entitlements{how}"),
        None,
    );
}

fn doing(step: &str, kind: &Kind) -> String {
    format!("listing {step} of {}", kind.name)
}

fn broken(step: &str, kind: &Kind, reason: String) -> SyncError {
    SyncError::Contract {
        doing: doing(step, kind),
        reason,
    }
}

fn failed(doing: &str, source: CallError) -> SyncError {
    match source {
        CallError::Cancelled => SyncError::Cancelled,
        source => SyncError::Call {
            doing: doing.to_owned(),
            source,
        },
    }
}

fn grouped(attributes: Attributes) -> BTreeMap<String, Vec<String>> {
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (key, value) in attributes {
        groups.entry(key).or_default().push(value);
    }
    groups
}

/// The evidence asset without its evidence.
fn head(
    descriptor: &Descriptor,
    facts: &Facts,
    validation: &BTreeMap<String, Vec<String>>,
    unread: &[Unread],
    notes: &Notes,
    started: Timestamp,
    ended: Timestamp,
) -> Map<String, Value> {
    let validation: Map<String, Value> = validation
        .iter()
        .map(|(key, values)| match values.as_slice() {
            [value] => (key.clone(), json!(value)),
            values => (key.clone(), json!(values)),
        })
        .collect();
    let members = [
        ("version", json!(1)),
        ("host", json!(facts.host_version)),
        ("started", json!(started.to_string())),
        ("ended", json!(ended.to_string())),
        (
            "plugin",
            json!({ "name": descriptor.name, "version": descriptor.version, "digest": facts.plugin_digest }),
        ),
        ("caller", json!(facts.caller)),
        ("validation", Value::Object(validation)),
        ("unread", json!(unread)),
        ("warnings", json!(notes.warnings())),
    ];
    members
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}

/// Runs work that waits for the disk where it does not hold up other tasks.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, SyncError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => SyncError::Cancelled,
        })
}
