//! The tables of a fleet file as they stand there, each value with its place.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::super::cluster::Reference;
use super::super::schedule::{LEAST, MOST, Schedule};
use super::keys::{self, Key, Of};
use super::mistakes::Notes;
use super::values::{bytes, duration, is_account, looks_secret, written};
use crate::credentials::endpoints::Endpoints;
use crate::nearest::nearest;

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Given<T> {
    pub(super) value: T,
    pub(super) at: usize,
}

/// One credential.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Credential {
    Plain(String),
    Secret(Reference),
}

/// One table: the defaults, a cluster or a rule.
#[derive(Debug, Clone, Default)]
pub(super) struct Draft {
    /// Where the table begins.
    pub(super) at: usize,
    pub(super) texts: BTreeMap<&'static str, Given<String>>,
    pub(super) paths: BTreeMap<&'static str, Given<PathBuf>>,
    pub(super) regions: Option<Given<Vec<Given<String>>>>,
    pub(super) settings: BTreeMap<String, Given<String>>,
    /// Whether the credentials of the defaults do not count.
    pub(super) ambient: bool,
    pub(super) credentials: BTreeMap<&'static str, Given<Credential>>,
    pub(super) schedule: Option<Given<Schedule>>,
    pub(super) memory: Option<usize>,
    pub(super) times: BTreeMap<&'static str, Duration>,
}

impl Draft {
    /// What this table says, and for the rest the defaults.
    pub(super) fn over(&self, defaults: &Draft) -> Draft {
        fn merged<K: Ord + Clone, V: Clone>(
            own: &BTreeMap<K, V>,
            below: &BTreeMap<K, V>,
        ) -> BTreeMap<K, V> {
            let mut all = below.clone();
            all.extend(own.iter().map(|(key, value)| (key.clone(), value.clone())));
            all
        }
        Draft {
            at: self.at,
            texts: merged(&self.texts, &defaults.texts),
            paths: merged(&self.paths, &defaults.paths),
            regions: self.regions.clone(),
            settings: merged(&self.settings, &defaults.settings),
            ambient: self.ambient,
            credentials: if self.ambient {
                self.credentials.clone()
            } else {
                merged(&self.credentials, &defaults.credentials)
            },
            schedule: self.schedule.clone().or_else(|| defaults.schedule.clone()),
            memory: self.memory.or(defaults.memory),
            times: merged(&self.times, &defaults.times),
        }
    }

    pub(super) fn text(&self, name: &str) -> Option<&Given<String>> {
        self.texts.get(name)
    }
}

/// A reader of tables.
pub(super) struct Reader<'f> {
    /// Paths are relative to it.
    pub(super) folder: &'f Path,
}

/// Says what a key should have been.
pub(super) fn unknown(
    notes: &mut Notes,
    at: usize,
    name: &str,
    what: &str,
    known: impl Iterator<Item = &'static str>,
) {
    let known: Vec<&str> = known.collect();
    let shown = crate::sandbox::clean(name, 60);
    let near = nearest(name, known.iter().map(|name| (*name).to_owned()));
    let hint = match near.first() {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("it can have {}", known.join(", ")),
    };
    notes.hint(at, format!("{what} has no key `{shown}`"), hint);
}

impl Reader<'_> {
    /// Reads a table by its keys. `what` names it for people.
    pub(super) fn draft(
        &self,
        what: &str,
        table: &DeTable<'_>,
        at: usize,
        keys: &'static [Key],
        notes: &mut Notes,
    ) -> Draft {
        let mut draft = Draft {
            at,
            ..Draft::default()
        };
        for (name, value) in table {
            let place = name.span().start;
            let Some(key) = keys.iter().find(|key| key.name == name.get_ref()) else {
                let known = keys.iter().map(|key| key.name);
                unknown(notes, place, name.get_ref(), what, known);
                continue;
            };
            self.take(&mut draft, key, value, notes);
        }
        draft
    }

    fn take(
        &self,
        draft: &mut Draft,
        key: &'static Key,
        value: &Spanned<DeValue<'_>>,
        notes: &mut Notes,
    ) {
        let at = value.span().start;
        let name = key.name;
        match key.of {
            Of::Path => {
                if let Some(text) = text(name, value, notes) {
                    let value = self.folder.join(text);
                    draft.paths.insert(name, Given { value, at });
                }
            }
            Of::Text | Of::Account | Of::Region => {
                if let Some(value) = text(name, value, notes) {
                    let good = match key.of {
                        Of::Account => account(&value, at, notes),
                        Of::Region => region(&value, at, notes),
                        _ => true,
                    };
                    if good {
                        draft.texts.insert(name, Given { value, at });
                    }
                }
            }
            Of::Regions => draft.regions = regions(value, notes),
            Of::Settings => draft.settings = settings(value, notes),
            Of::Credentials => self.credentials(draft, value, notes),
            Of::Schedule => draft.schedule = schedule(value, notes),
            Of::Table(keys) => {
                let Some(table) = value.get_ref().as_table() else {
                    wrong(notes, name, value, "a table");
                    return;
                };
                for (inner, value) in table {
                    let Some(key) = keys.iter().find(|key| key.name == inner.get_ref()) else {
                        let known = keys.iter().map(|key| key.name);
                        unknown(
                            notes,
                            inner.span().start,
                            inner.get_ref(),
                            &format!("`{name}`"),
                            known,
                        );
                        continue;
                    };
                    limit(draft, key, value, notes);
                }
            }
            Of::Bytes | Of::Duration | Of::Tables(_) => {}
        }
    }

    fn credentials(&self, draft: &mut Draft, value: &Spanned<DeValue<'_>>, notes: &mut Notes) {
        let at = value.span().start;
        let table = match value.get_ref() {
            DeValue::Table(table) => table,
            DeValue::String(text) if text == "ambient" => {
                draft.ambient = true;
                return;
            }
            _ => {
                notes.hint(
                    at,
                    "`credentials` is neither a table nor \"ambient\"",
                    "write `credentials = { profile = \"NAME\" }` or `{ role-arn = \"ARN\" }`",
                );
                return;
            }
        };
        for (name, value) in table {
            let known = || keys::credentials().find(|(known, _, _)| known == name.get_ref());
            let Some((name, secret, _)) = known() else {
                let all = keys::credentials().map(|(known, _, _)| known);
                unknown(
                    notes,
                    name.span().start,
                    name.get_ref(),
                    "`credentials`",
                    all,
                );
                continue;
            };
            let at = value.span().start;
            let found = match value.get_ref() {
                DeValue::Table(table) => self
                    .reference(name, table, at, notes)
                    .map(Credential::Secret),
                DeValue::String(_) if secret => {
                    literal(notes, at, &format!("`{name}`"));
                    None
                }
                DeValue::String(text) if looks_secret(text) => {
                    literal(notes, at, &format!("what `{name}` has"));
                    None
                }
                DeValue::String(text) => Some(Credential::Plain(text.clone().into_owned())),
                _ => {
                    wrong(
                        notes,
                        name,
                        value,
                        if secret { "a reference" } else { "a text" },
                    );
                    None
                }
            };
            if let Some(value) = found {
                draft.credentials.insert(name, Given { value, at });
            }
        }
    }

    fn reference(
        &self,
        name: &str,
        table: &DeTable<'_>,
        at: usize,
        notes: &mut Notes,
    ) -> Option<Reference> {
        let mut found = Vec::new();
        let mut bad = false;
        for (key, value) in table {
            let place = key.span().start;
            if !keys::REFERENCE
                .iter()
                .any(|known| known.name == key.get_ref())
            {
                let known = keys::REFERENCE.iter().map(|known| known.name);
                unknown(notes, place, key.get_ref(), &format!("`{name}`"), known);
                bad = true;
                continue;
            }
            let Some(text) = text(key.get_ref(), value, notes) else {
                bad = true;
                continue;
            };
            if key.get_ref() == "file" {
                found.push(Reference::File(self.folder.join(text)));
                continue;
            }
            if !is_variable(&text) {
                // What stands there may be the secret itself.
                notes.hint(
                    value.span().start,
                    format!("`env` of `{name}` is not the name of an environment variable"),
                    "it has letters, digits and `_`; a secret itself never stands in this file",
                );
                bad = true;
                continue;
            }
            found.push(Reference::Env(text));
        }
        match (found.len(), bad) {
            (1, false) => found.pop(),
            (_, true) => None,
            _ => {
                notes.hint(
                    at,
                    format!("`{name}` has not one place"),
                    "write `{ env = \"VARIABLE\" }` or `{ file = \"path\" }`",
                );
                None
            }
        }
    }
}

fn is_variable(text: &str) -> bool {
    !text.starts_with(|c: char| c.is_ascii_digit())
        && text.len() <= 128
        && !looks_secret(text)
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// A secret stands in the file. Says so and does not repeat it.
fn literal(notes: &mut Notes, at: usize, what: &str) {
    notes.hint(
        at,
        format!("{what} is a secret, and secrets do not stand in this file"),
        "write `{ env = \"VARIABLE\" }` or `{ file = \"path\" }`; take this one out of use if others may have read the file",
    );
}

/// Something of another type. What it is may be a secret, so only its type is said.
fn wrong(notes: &mut Notes, name: &str, value: &Spanned<DeValue<'_>>, wanted: &str) {
    notes.add(
        value.span().start,
        format!("`{name}` is {wanted}, not {}", kind(value.get_ref())),
    );
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

fn text(name: &str, value: &Spanned<DeValue<'_>>, notes: &mut Notes) -> Option<String> {
    let Some(text) = value.get_ref().as_str() else {
        wrong(notes, name, value, "a text");
        return None;
    };
    if text.trim().is_empty() {
        notes.add(value.span().start, format!("`{name}` is empty"));
        return None;
    }
    Some(text.to_owned())
}

fn account(value: &str, at: usize, notes: &mut Notes) -> bool {
    let good = is_account(value);
    if !good {
        notes.add(at, "an account has 12 digits, in quotes: \"111122223333\"");
    }
    good
}

fn region(value: &str, at: usize, notes: &mut Notes) -> bool {
    let good = Endpoints::of_region(value).is_ok();
    if !good {
        let value = crate::sandbox::clean(value, 60);
        notes.add(at, format!("`{value}` is not the name of an AWS region"));
    }
    good
}

fn regions(value: &Spanned<DeValue<'_>>, notes: &mut Notes) -> Option<Given<Vec<Given<String>>>> {
    let at = value.span().start;
    let Some(list) = value.get_ref().as_array() else {
        wrong(notes, "regions", value, "a list");
        return None;
    };
    let mut all: Vec<Given<String>> = Vec::new();
    for value in list {
        let at = value.span().start;
        let Some(value) = text("regions", value, notes) else {
            continue;
        };
        if !region(&value, at, notes) {
            continue;
        }
        if all.iter().any(|other| other.value == value) {
            notes.add(at, format!("the region {value} is named twice"));
            continue;
        }
        all.push(Given { value, at });
    }
    Some(Given { value: all, at })
}

/// Words that no setting's name has: `plugin/descriptor.rs` refuses them too.
const SECRET_WORDS: [&str; 5] = ["secret", "token", "password", "key", "credential"];

fn settings(value: &Spanned<DeValue<'_>>, notes: &mut Notes) -> BTreeMap<String, Given<String>> {
    let mut all = BTreeMap::new();
    let Some(table) = value.get_ref().as_table() else {
        wrong(notes, "settings", value, "a table");
        return all;
    };
    for (name, value) in table {
        let shown = crate::sandbox::clean(name.get_ref(), 60);
        let at = value.span().start;
        if SECRET_WORDS
            .iter()
            .any(|word| name.get_ref().contains(word))
        {
            notes.hint(
                name.span().start,
                format!("`{shown}` is no setting of a connector: secrets never enter a sandbox"),
                "credentials stand in `credentials`, by reference",
            );
            continue;
        }
        let text = match value.get_ref() {
            DeValue::String(text) if looks_secret(text) => {
                literal(notes, at, &format!("what `{shown}` has"));
                continue;
            }
            DeValue::String(text) => Cow::clone(text).into_owned(),
            DeValue::Integer(number) => number.as_str().to_owned(),
            DeValue::Boolean(value) => value.to_string(),
            _ => {
                wrong(
                    notes,
                    &shown,
                    value,
                    "a text, a whole number, true or false",
                );
                continue;
            }
        };
        all.insert(
            name.get_ref().clone().into_owned(),
            Given { value: text, at },
        );
    }
    all
}

/// A duration that is not zero.
fn time(name: &str, value: &Spanned<DeValue<'_>>, notes: &mut Notes) -> Option<Duration> {
    let text = text(name, value, notes)?;
    let at = value.span().start;
    let Some(found) = duration(&text) else {
        let text = crate::sandbox::clean(&text, 60);
        notes.hint(
            at,
            format!("`{text}` is no duration"),
            "write it like `90s`, `15m`, `6h` or `1d`",
        );
        return None;
    };
    Some(found)
}

fn schedule(value: &Spanned<DeValue<'_>>, notes: &mut Notes) -> Option<Given<Schedule>> {
    let at = value.span().start;
    let (every, jitter) = match value.get_ref() {
        DeValue::Table(table) => {
            let mut times = BTreeMap::new();
            let mut bad = false;
            for (name, value) in table {
                let Some(key) = keys::TIMES.iter().find(|key| key.name == name.get_ref()) else {
                    let known = keys::TIMES.iter().map(|key| key.name);
                    unknown(
                        notes,
                        name.span().start,
                        name.get_ref(),
                        "`schedule`",
                        known,
                    );
                    bad = true;
                    continue;
                };
                times.insert(key.name, time(key.name, value, notes)?);
            }
            let Some(every) = times.get("every").copied() else {
                if !bad {
                    notes.add(at, "`schedule` does not say `every`: how often");
                }
                return None;
            };
            (every, times.get("jitter").copied())
        }
        DeValue::String(text) => {
            let Some(every) = duration(text) else {
                let text = crate::sandbox::clean(text, 60);
                notes.hint(
                    at,
                    format!("`{text}` is no schedule"),
                    "write how often: `15m`, `6h`, `1d`; for a time of day run `baton-host fleet sync` from cron or a CronJob",
                );
                return None;
            };
            (every, None)
        }
        _ => {
            wrong(notes, "schedule", value, "a text or a table");
            return None;
        }
    };
    if every < LEAST || every > MOST {
        notes.add(
            at,
            format!(
                "a schedule of {} is not within {} and {}",
                written(every),
                written(LEAST),
                written(MOST)
            ),
        );
        return None;
    }
    let schedule = Schedule::every(every);
    let jitter = jitter.unwrap_or(schedule.jitter);
    if jitter > every {
        notes.add(
            at,
            format!(
                "a jitter of {} is longer than the schedule's {}",
                written(jitter),
                written(every)
            ),
        );
        return None;
    }
    Some(Given {
        value: Schedule { jitter, ..schedule },
        at,
    })
}

/// `0`, however it is written.
fn is_zero(value: &DeValue<'_>) -> bool {
    value
        .as_integer()
        .is_some_and(|number| number.as_str().bytes().all(|b| b"0_+-".contains(&b)))
}

fn limit(draft: &mut Draft, key: &'static Key, value: &Spanned<DeValue<'_>>, notes: &mut Notes) {
    let at = value.span().start;
    let most = crate::sandbox::Limits::default();
    let zero = |notes: &mut Notes| {
        notes.hint(
            at,
            format!("a limit of zero lets nothing run: `{}`", key.name),
            "leave it away for the default",
        );
    };
    if is_zero(value.get_ref()) {
        return zero(notes);
    }
    if key.of == Of::Bytes {
        let Some(text) = text(key.name, value, notes) else {
            return;
        };
        match bytes(&text) {
            None => {
                let text = crate::sandbox::clean(&text, 60);
                notes.hint(at, format!("`{text}` is no size"), "write it like `128MiB`");
            }
            Some(0) => zero(notes),
            Some(size) if size < 1 << 20 => {
                notes.add(
                    at,
                    format!("`{}` is less than 1MiB, in which no plugin runs", key.name),
                );
            }
            Some(size) if size > most.memory => notes.add(
                at,
                format!(
                    "`{}` is more than the {}MiB that a sandbox can have",
                    key.name,
                    most.memory >> 20
                ),
            ),
            Some(size) => draft.memory = Some(size),
        }
        return;
    }
    match time(key.name, value, notes) {
        None => {}
        Some(found) if found.is_zero() => zero(notes),
        Some(found) if found > MOST => notes.add(
            at,
            format!("`{}` is longer than {}", key.name, written(MOST)),
        ),
        Some(found) => {
            draft.times.insert(key.name, found);
        }
    }
}
