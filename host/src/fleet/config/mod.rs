//! `fleet.toml`: defaults, clusters, and rules by which more are found.
//!
//! Everything that is wrong is said at once, with its place. What is wrong with
//! one cluster or rule is its own: the others go on without it. What is wrong
//! with the file as a whole, or with its defaults, is everybody's.
//!
//! No value of a secret is ever in the file: credentials are references, and
//! what looks like a secret is refused without being repeated.

mod draft;
mod keys;
mod mistakes;
mod outputs;
mod resolve;
mod schema;
#[cfg(test)]
mod tests;
mod values;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

pub use mistakes::{Mistake, Mistakes};
pub use outputs::inside;
pub(in crate::fleet) use resolve::reader;
pub use schema::schema;
pub(in crate::fleet) use values::is_cluster;

use super::cluster::{Cluster, ClusterId, Credentials};
use super::files::regular;
use super::schedule::Schedule;
use crate::people::External;
use crate::sandbox::Limits;
use draft::{Draft, Reader};
use mistakes::{Notes, place};
use resolve::resolve;

/// A fleet file that could be read.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file.
    pub path: PathBuf,
    /// Clusters that can be synced as far as the file says.
    pub clusters: Vec<Cluster>,
    /// Rules by which more are found.
    pub rules: Vec<Rule>,
    /// Clusters and rules with mistakes of their own.
    pub broken: Vec<Broken>,
    /// What works and probably is not meant.
    pub warnings: Vec<Mistake>,
    /// Where things stand, for mistakes that are found later.
    places: BTreeMap<String, Place>,
    text: String,
}

/// A cluster or a rule that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Its id as far as it is known, else its name in the file.
    pub id: ClusterId,
    /// Its account, if that is known.
    pub account: Option<String>,
    /// Its region, if that is known.
    pub region: String,
    /// Its name, or `clusters 3`.
    pub name: String,
    /// Whether it is a rule.
    pub rule: bool,
    /// What is wrong.
    pub mistakes: Vec<Mistake>,
}

/// A rule by which clusters are found: all of an account in some regions.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Its name.
    pub name: String,
    /// The account that it looks in.
    pub account: String,
    /// Where.
    pub regions: Vec<String>,
    /// A cluster as it will be found, but for region, name and what follows from them.
    template: Template,
}

/// What clusters of one table have in common.
#[derive(Debug, Clone, PartialEq)]
struct Template {
    plugin: PathBuf,
    lock: Option<PathBuf>,
    settings: BTreeMap<String, String>,
    credentials: Credentials,
    account: String,
    schedule: Schedule,
    limits: Limits,
    folder: PathBuf,
    work_folder: Option<PathBuf>,
    external: Option<External>,
}

impl Template {
    fn cluster(
        &self,
        region: &str,
        name: &str,
        output: PathBuf,
        found_by: Option<&str>,
    ) -> Cluster {
        Cluster {
            id: ClusterId::new(&self.account, region, name),
            plugin: self.plugin.clone(),
            lock: self.lock.clone(),
            settings: self.settings.clone(),
            credentials: self.credentials.clone(),
            account: self.account.clone(),
            region: region.to_owned(),
            name: name.to_owned(),
            schedule: self.schedule,
            limits: self.limits.clone(),
            folder: self.folder.clone(),
            output,
            work_folder: self.work_folder.clone(),
            external: self.external.clone(),
            found_by: found_by.map(str::to_owned),
        }
    }
}

impl Rule {
    /// A cluster that was found.
    ///
    /// # Errors
    /// When EKS can have no cluster of that name.
    pub fn cluster(&self, region: &str, name: &str) -> Result<Cluster, String> {
        if !is_cluster(name) {
            return Err(format!(
                "EKS lists a cluster `{}`, which is no name of a cluster",
                crate::sandbox::clean(name, 60)
            ));
        }
        let template = &self.template;
        let output = Cluster::output_in(&template.folder, &template.account, region, name);
        Ok(template.cluster(region, name, output, Some(&self.name)))
    }

    /// Which plugins are approved for what.
    #[must_use]
    pub fn lock(&self) -> Option<&Path> {
        self.template.lock.as_deref()
    }

    /// Where its credentials are.
    #[must_use]
    pub fn credentials(&self) -> &Credentials {
        &self.template.credentials
    }

    /// The plugin and its lock.
    #[must_use]
    pub fn plugin(&self) -> (&Path, Option<&Path>) {
        (&self.template.plugin, self.template.lock.as_deref())
    }

    /// Settings of the plugin.
    #[must_use]
    pub fn settings(&self) -> &BTreeMap<String, String> {
        &self.template.settings
    }

    /// The folder of the access files of what it finds.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.template.folder
    }
}

/// Where the parts of a cluster stand in the file.
#[derive(Debug, Clone, Default)]
struct Place {
    table: usize,
    plugin: usize,
    settings: BTreeMap<String, usize>,
}

impl Config {
    /// Reads a fleet file.
    ///
    /// # Errors
    /// All that is wrong with the file as a whole.
    pub fn read(path: &Path) -> Result<Config, Mistakes> {
        let whole = |message: String| Mistakes {
            path: path.to_owned(),
            mistakes: vec![Mistake {
                line: 1,
                column: 1,
                message,
                hint: None,
            }],
        };
        let mut text = String::new();
        let read = regular(path, true).and_then(|file| {
            use std::io::Read as _;
            file.take(LARGEST + 1).read_to_string(&mut text)
        });
        match read {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(whole("there is no such file".to_owned()))
            }
            Err(error) => Err(whole(format!("the file cannot be read: {error}"))),
            Ok(length) if length as u64 > LARGEST => Err(whole(format!(
                "the file is larger than {} MiB",
                LARGEST >> 20
            ))),
            Ok(_) => Config::parse(path, text),
        }
    }

    /// The same from its text.
    ///
    /// # Errors
    /// All that is wrong with the file as a whole.
    pub fn parse(path: &Path, text: String) -> Result<Config, Mistakes> {
        let mut notes = Notes::default();
        let (root, errors) = DeTable::parse_recoverable(&text);
        for error in errors {
            // Its message only: what it shows of the file may hold a secret.
            let at = error.span().map_or(0, |span| span.start);
            notes.add(at, format!("this is no TOML: {}", error.message()));
        }
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let reader = Reader { folder };
        let mut tables = Tables::default();
        if notes.is_empty() {
            tables = Tables::of(root.get_ref(), &mut notes);
        }
        let defaults = tables
            .defaults
            .map(|(table, at)| reader.draft("`defaults`", table, at, keys::DEFAULTS, &mut notes))
            .unwrap_or_default();
        if notes.is_empty() && tables.clusters.is_empty() && tables.rules.is_empty() {
            notes.hint(
                0,
                "the file names no cluster and no rule to find any",
                "add a `[[clusters]]` with `name`, or a `[[discover]]` with `regions` and `role-arn`",
            );
        }
        if !notes.is_empty() {
            // The mistakes of clusters and rules as well: all at once.
            for (table, at) in &tables.clusters {
                reader.draft("a cluster", table, *at, keys::CLUSTER, &mut notes);
            }
            for (table, at) in &tables.rules {
                reader.draft("a rule", table, *at, keys::RULE, &mut notes);
            }
            return Err(Mistakes {
                path: path.to_owned(),
                mistakes: notes.placed(&text),
            });
        }
        let read =
            |what: &'static str, tables: &[(&DeTable<'_>, usize)], keys| -> Vec<(Draft, Notes)> {
                tables
                    .iter()
                    .map(|(table, at)| {
                        let mut notes = Notes::default();
                        let draft = reader.draft(what, table, *at, keys, &mut notes);
                        (draft.over(&defaults), notes)
                    })
                    .collect()
            };
        let clusters = read("a cluster", &tables.clusters, keys::CLUSTER);
        let rules = read("a rule", &tables.rules, keys::RULE);
        Ok(resolve(path, folder, &text, clusters, rules))
    }

    /// The same, if nothing at all is wrong with it.
    ///
    /// # Errors
    /// All mistakes of all clusters and rules.
    pub fn whole(self) -> Result<Config, Mistakes> {
        let mistakes = self.mistakes();
        if mistakes.is_empty() {
            Ok(self)
        } else {
            Err(Mistakes {
                path: self.path,
                mistakes,
            })
        }
    }

    /// All mistakes of clusters and rules, in the file's order.
    #[must_use]
    pub fn mistakes(&self) -> Vec<Mistake> {
        let mut all: Vec<Mistake> = self
            .broken
            .iter()
            .flat_map(|broken| broken.mistakes.clone())
            .collect();
        all.sort_by_key(|mistake| (mistake.line, mistake.column));
        all.dedup();
        all
    }

    /// A mistake of a cluster, by its id, or of a rule, by its name, that was
    /// found later: at a setting, at the plugin.
    #[must_use]
    pub fn mistake(
        &self,
        id: &str,
        part: Part<'_>,
        message: String,
        hint: Option<String>,
    ) -> Mistake {
        let at = self.places.get(id).map_or(0, |place| match part {
            Part::Table => place.table,
            Part::Plugin => place.plugin,
            Part::Setting(name) => place.settings.get(name).copied().unwrap_or(place.table),
        });
        place(&self.text, at, message, hint)
    }
}

/// A part of a cluster's table.
#[derive(Debug, Clone, Copy)]
pub enum Part<'a> {
    /// All of it.
    Table,
    /// `plugin`.
    Plugin,
    /// One of `settings`.
    Setting(&'a str),
}

/// The largest fleet file, in bytes.
pub(super) const LARGEST: u64 = 8 << 20;

/// The tables of a file, each with its place.
#[derive(Default)]
struct Tables<'t> {
    defaults: Option<(&'t DeTable<'t>, usize)>,
    clusters: Vec<(&'t DeTable<'t>, usize)>,
    rules: Vec<(&'t DeTable<'t>, usize)>,
}

impl<'t> Tables<'t> {
    fn of(root: &'t DeTable<'t>, notes: &mut Notes) -> Tables<'t> {
        let mut tables = Tables::default();
        for (name, value) in root {
            let at = name.span().start;
            match name.get_ref().as_ref() {
                "defaults" => match value.get_ref() {
                    DeValue::Table(table) => tables.defaults = Some((table, at)),
                    _ => notes.add(at, "`defaults` is a table: `[defaults]`"),
                },
                "clusters" => tables.clusters = many(name, value, "[[clusters]]", notes),
                "discover" => tables.rules = many(name, value, "[[discover]]", notes),
                other => {
                    let known = keys::FILE.iter().map(|key| key.name);
                    draft::unknown(notes, at, other, "a fleet file", known);
                }
            }
        }
        tables
    }
}

/// One table, or a list of tables.
fn many<'t>(
    name: &Spanned<std::borrow::Cow<'_, str>>,
    value: &'t Spanned<DeValue<'t>>,
    written: &str,
    notes: &mut Notes,
) -> Vec<(&'t DeTable<'t>, usize)> {
    let mut wrong = |at: usize| {
        notes.add(
            at,
            format!("`{}` is a list of tables: `{written}`", name.get_ref()),
        );
    };
    match value.get_ref() {
        DeValue::Table(table) if name.get_ref() == "discover" => vec![(table, value.span().start)],
        DeValue::Array(all) => all
            .iter()
            .filter_map(|value| match value.get_ref() {
                DeValue::Table(table) => Some((table, value.span().start)),
                _ => {
                    wrong(value.span().start);
                    None
                }
            })
            .collect(),
        _ => {
            wrong(name.span().start);
            Vec::new()
        }
    }
}
