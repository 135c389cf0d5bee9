//! From tables to clusters: what is missing, what contradicts itself or another.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::draft::{Credential, Draft, Given};
use super::mistakes::{Notes, place};
use super::outputs::{inside, named, real};
use super::values::is_cluster;
use super::{Broken, Config, Place, Rule, Template};
use crate::credentials::AwsSettings;
use crate::credentials::endpoints::partition;
use crate::fleet::cluster::{Cluster, ClusterId, Credentials, Reference};
use crate::fleet::schedule::Schedule;
use crate::people::External;
use crate::sandbox::Limits;

/// A cluster or a rule on its way.
struct Candidate<T> {
    draft: Draft,
    notes: Notes,
    /// What was made of it, if that was possible.
    made: Option<T>,
}

pub(super) fn resolve(
    path: &Path,
    folder: &Path,
    text: &str,
    clusters: Vec<(Draft, Notes)>,
    rules: Vec<(Draft, Notes)>,
) -> Config {
    let mut clusters: Vec<Candidate<Cluster>> = clusters
        .into_iter()
        .map(|(draft, mut notes)| {
            let made = cluster(folder, &draft, &mut notes);
            Candidate { draft, notes, made }
        })
        .collect();
    let mut rules: Vec<Candidate<Rule>> = rules
        .into_iter()
        .enumerate()
        .map(|(i, (draft, mut notes))| {
            let made = rule(folder, i, &draft, &mut notes);
            Candidate { draft, notes, made }
        })
        .collect();
    alike(&mut clusters, text);
    rules_alike(&mut rules, text);
    let warnings = one_role_two_namesakes(&clusters, text);

    let mut config = Config {
        path: path.to_owned(),
        clusters: Vec::new(),
        rules: Vec::new(),
        broken: Vec::new(),
        warnings,
        places: BTreeMap::new(),
        text: text.to_owned(),
    };
    for (i, candidate) in clusters.into_iter().enumerate() {
        let Candidate { draft, notes, made } = candidate;
        match made {
            Some(cluster) if notes.is_empty() => {
                config.places.insert(cluster.id.to_string(), spot(&draft));
                config.clusters.push(cluster);
            }
            made => {
                let text_of = |name| draft.text(name).map(|given| given.value.clone());
                let name = text_of("name");
                let (account, region) = (text_of("account"), text_of("region"));
                let shown = name
                    .clone()
                    .unwrap_or_else(|| format!("clusters {}", i + 1));
                let shown = crate::sandbox::clean(&shown, 100);
                let id = match (made, &account, &region) {
                    (Some(cluster), _, _) => cluster.id,
                    (None, Some(account), Some(region))
                        if name.as_deref().is_some_and(is_cluster) =>
                    {
                        ClusterId::new(account, region, &shown)
                    }
                    _ => ClusterId::named(&shown),
                };
                config.broken.push(Broken {
                    id,
                    account,
                    region: region.unwrap_or_default(),
                    name: shown,
                    rule: false,
                    mistakes: notes.placed(text),
                });
            }
        }
    }
    for (i, candidate) in rules.into_iter().enumerate() {
        let Candidate { draft, notes, made } = candidate;
        match made {
            Some(rule) if notes.is_empty() => {
                config.places.insert(rule.name.clone(), spot(&draft));
                config.rules.push(rule);
            }
            _ => {
                let name = rule_name(&draft, i);
                config.broken.push(Broken {
                    id: ClusterId::named(&name),
                    account: draft.text("account").map(|given| given.value.clone()),
                    region: String::new(),
                    name,
                    rule: true,
                    mistakes: notes.placed(text),
                });
            }
        }
    }
    config
}

fn spot(draft: &Draft) -> Place {
    Place {
        table: draft.at,
        plugin: draft.paths.get("plugin").map_or(draft.at, |given| given.at),
        settings: draft
            .settings
            .iter()
            .map(|(name, given)| (name.clone(), given.at))
            .collect(),
    }
}

fn rule_name(draft: &Draft, i: usize) -> String {
    // The defaults have no name, so this is the rule's own.
    draft.text("name").map_or_else(
        || format!("discover-{}", i + 1),
        |given| crate::sandbox::clean(&given.value, 60),
    )
}

fn cluster(folder: &Path, draft: &Draft, notes: &mut Notes) -> Option<Cluster> {
    let name = match draft.text("name") {
        Some(name) if is_cluster(&name.value) => Some(name.value.clone()),
        Some(name) => {
            notes.add(
                name.at,
                "the cluster's name has 1 to 100 letters, digits, `-` and `_`, and begins with a letter or digit",
            );
            None
        }
        None => {
            notes.add(draft.at, "a cluster has no `name`");
            None
        }
    };
    let region = draft.text("region").map(|region| region.value.clone());
    if region.is_none() {
        notes.hint(
            draft.at,
            "a cluster has no `region`",
            "give it here or in `[defaults]`",
        );
    }
    let template = template(folder, draft, region.as_slice(), notes);
    let (name, region, template) = (name?, region?, template?);
    let home = &template.folder;
    let output = match draft.text("file") {
        None => Cluster::output_in(home, &template.account, &region, &name),
        Some(file) => match named(&file.value, &template.account, &region, &name) {
            Ok(path) => home.join(path),
            Err(why) => {
                notes.add(file.at, format!("`file` cannot be used: {why}"));
                return None;
            }
        },
    };
    if let Err(why) = inside(home, &output) {
        let at = draft.text("file").map_or(draft.at, |file| file.at);
        notes.add(at, why);
    }
    Some(template.cluster(&region, &name, output, None))
}

fn rule(folder: &Path, i: usize, draft: &Draft, notes: &mut Notes) -> Option<Rule> {
    let name = rule_name(draft, i);
    let regions = match &draft.regions {
        Some(regions) if !regions.value.is_empty() => Some(
            regions
                .value
                .iter()
                .map(|given| given.value.clone())
                .collect(),
        ),
        Some(regions) => {
            notes.add(regions.at, "`regions` names none");
            None
        }
        None => {
            notes.add(draft.at, "a rule has no `regions`: where to look");
            None
        }
    };
    let regions: Option<Vec<String>> = regions;
    let mut draft = draft.clone();
    if let Some(role) = draft.texts.get("role-arn").cloned() {
        let other = draft.credentials.get("role-arn");
        // One of the defaults is overruled; one beside it is a contradiction.
        if other.is_some_and(|other| other.at > draft.at) {
            notes.add(
                role.at,
                "`role-arn` is given twice: here and in `credentials`",
            );
        }
        draft.credentials.insert(
            "role-arn",
            Given {
                value: Credential::Plain(role.value),
                at: role.at,
            },
        );
    }
    let template = template(
        folder,
        &draft,
        regions.as_deref().unwrap_or_default(),
        notes,
    );
    let (regions, template) = (regions?, template?);
    Some(Rule {
        name,
        account: template.account.clone(),
        regions,
        template,
    })
}

/// All but region, name and the access file.
fn template(
    folder: &Path,
    draft: &Draft,
    regions: &[String],
    notes: &mut Notes,
) -> Option<Template> {
    let plugin = draft.paths.get("plugin");
    if plugin.is_none() {
        notes.hint(
            draft.at,
            "no `plugin` is named",
            "give it here or in `[defaults]`: plugin = \"baton_eks.wasm\"",
        );
    }
    let account = account(draft, notes);
    let credentials = credentials(draft, account.as_deref(), regions, notes);
    let lock = match draft.paths.get("lock") {
        Some(lock) => {
            if !lock.value.is_file() {
                notes.hint(
                    lock.at,
                    format!("there is no lock file {}", lock.value.display()),
                    "`baton-host plugin approve FILE --lock LOCK` writes it",
                );
            }
            Some(lock.value.clone())
        }
        None => Some(folder.join("baton.lock")).filter(|lock| lock.is_file()),
    };
    let mut limits = Limits::default();
    if let Some(memory) = draft.memory {
        limits.memory = memory;
    }
    for (name, time) in &draft.times {
        match *name {
            "call" => limits.call = *time,
            "task" => limits.task = *time,
            _ => limits.slices = crate::sandbox::slices(*time),
        }
    }
    let people = draft.paths.get("external-resource-c1z");
    let filter = draft.text("external-resource-entitlement-id-filter");
    if let (None, Some(filter)) = (people, filter) {
        notes.add(
            filter.at,
            "`external-resource-entitlement-id-filter` chooses from the file of `external-resource-c1z`, which is not given",
        );
    }
    Some(Template {
        external: people.map(|file| External {
            file: file.value.clone(),
            filter: filter.map(|filter| filter.value.clone()),
        }),
        plugin: plugin?.value.clone(),
        lock,
        settings: draft
            .settings
            .iter()
            .map(|(name, given)| (name.clone(), given.value.clone()))
            .collect(),
        credentials: credentials?,
        account: account?,
        schedule: draft
            .schedule
            .as_ref()
            .map_or_else(Schedule::default, |given| given.value),
        limits,
        folder: draft
            .paths
            .get("output")
            .map_or_else(|| folder.to_owned(), |given| given.value.clone()),
        work_folder: draft
            .paths
            .get("work-folder")
            .map(|given| given.value.clone()),
    })
}

fn role(draft: &Draft) -> Option<(&str, usize)> {
    match draft.credentials.get("role-arn") {
        Some(Given {
            value: Credential::Plain(role),
            at,
        }) => Some((role, *at)),
        _ => None,
    }
}

/// The account that is said, or that of the role: both are the cluster's.
fn account(draft: &Draft, notes: &mut Notes) -> Option<String> {
    let of_role = role(draft).and_then(|(role, at)| {
        let account = role.strip_prefix("arn:")?.split(':').nth(3)?;
        (account != "{account}").then(|| (account.to_owned(), at))
    });
    match (draft.text("account"), of_role) {
        (Some(said), Some((account, at))) if said.value != account => {
            notes.hint(
                at,
                format!(
                    "the role is in account {} and the cluster in {}",
                    crate::sandbox::clean(&account, 60),
                    said.value
                ),
                "the role that reads a cluster is in the cluster's account",
            );
            None
        }
        (Some(said), _) => Some(said.value.clone()),
        (None, Some((account, _))) if super::values::is_account(&account) => Some(account),
        // What is wrong with the role is said with the credentials.
        (None, Some(_)) => None,
        (None, None) => {
            notes.hint(
                draft.at,
                "the account is not known",
                "give `account`, or `credentials.role-arn` with the account in it",
            );
            None
        }
    }
}

fn credentials(
    draft: &Draft,
    account: Option<&str>,
    regions: &[String],
    notes: &mut Notes,
) -> Option<Credentials> {
    let mut found = Credentials::default();
    for (name, given) in &draft.credentials {
        match &given.value {
            Credential::Secret(reference) => {
                found.secret.insert((*name).to_owned(), reference.clone());
            }
            Credential::Plain(value) if *name == "profile" => found.profile = Some(value.clone()),
            Credential::Plain(value) => {
                let value = value.replace("{account}", account.unwrap_or("{account}"));
                found.plain.insert((*name).to_owned(), value);
            }
        }
    }
    let at = draft
        .credentials
        .values()
        .map(|given| given.at)
        .max()
        .unwrap_or(draft.at);
    if found.profile.is_some()
        && let Some(key) = ["eks-access-key", "global-access-key-id"]
            .into_iter()
            .find(|key| draft.credentials.contains_key(key))
    {
        notes.add(at, format!("`profile` and `{key}` exclude each other"));
        return None;
    }
    if account.is_none() && role(draft).is_some_and(|(role, _)| role.contains("{account}")) {
        // It was said that the account is missing.
        return None;
    }
    // Stands for each secret, which is read when it is needed.
    let stand_in = || Some("stand-in".to_owned());
    let settings = AwsSettings::from_values(|setting| {
        let plain = found.plain.get(setting.name).cloned();
        plain.or_else(|| found.secret.get(setting.name).and_then(|_| stand_in()))
    });
    if let Err(error) = settings {
        for problem in error.problems {
            let at = draft
                .credentials
                .iter()
                .find(|(name, _)| problem.starts_with(**name))
                .map_or(at, |(_, given)| given.at);
            notes.add(at, problem);
        }
        return None;
    }
    let of_role = role(draft).and_then(|(role, _)| role.split(':').nth(1));
    for region in regions {
        let name = partition(region).name;
        if let Some(of_role) = of_role
            && of_role != name
        {
            notes.add(
                at,
                format!(
                    "role-arn is in the partition {} and the region {region} in {name}",
                    crate::sandbox::clean(of_role, 60)
                ),
            );
            return None;
        }
    }
    Some(found)
}

fn line(text: &str, at: usize) -> usize {
    place(text, at, String::new(), None).line
}

/// Two clusters of one id, or with one access file, however it is written.
fn alike(clusters: &mut [Candidate<Cluster>], text: &str) {
    let mut ids: BTreeMap<ClusterId, Vec<usize>> = BTreeMap::new();
    let mut files: BTreeMap<PathBuf, Vec<usize>> = BTreeMap::new();
    for (i, candidate) in clusters.iter().enumerate() {
        if let Some(cluster) = &candidate.made {
            ids.entry(cluster.id.clone()).or_default().push(i);
            let output = real(&cluster.output).unwrap_or_else(|_| cluster.output.clone());
            files.entry(output).or_default().push(i);
        }
    }
    // One cluster twice shares its file as well; that is said once.
    files.retain(|_, all| {
        let ids: BTreeSet<&ClusterId> = all
            .iter()
            .filter_map(|i| Some(&clusters.get(*i)?.made.as_ref()?.id))
            .collect();
        ids.len() > 1
    });
    let mut said: Vec<(usize, String)> = Vec::new();
    let lines = |all: &[usize], but: usize| {
        let others = all.iter().filter(|i| **i != but);
        let lines: Vec<String> = others
            .filter_map(|i| Some(line(text, clusters.get(*i)?.draft.at).to_string()))
            .collect();
        lines.join(" and ")
    };
    for (id, all) in ids.iter().filter(|(_, all)| all.len() > 1) {
        for i in all {
            said.push((*i, format!("{id} is here and in line {}", lines(all, *i))));
        }
    }
    for (file, all) in &files {
        for i in all {
            let message = format!(
                "the access file {} is also that of the cluster in line {}",
                file.display(),
                lines(all, *i)
            );
            said.push((*i, message));
        }
    }
    for (i, message) in said {
        if let Some(candidate) = clusters.get_mut(i) {
            let at = candidate.draft.at;
            candidate
                .notes
                .hint(at, message, "neither is synced while that is so");
        }
    }
}

fn rules_alike(rules: &mut [Candidate<Rule>], text: &str) {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for candidate in rules {
        let Some(rule) = &candidate.made else {
            continue;
        };
        if let Some(other) = seen.insert(rule.name.clone(), candidate.draft.at) {
            let message = format!(
                "the rule {} is here and in line {}",
                rule.name,
                line(text, other)
            );
            candidate.notes.add(candidate.draft.at, message);
        }
    }
}

/// A token that EKS takes is bound to the cluster's name and to no account or
/// region: of two namesakes that one role reads, each can use at the other what
/// it receives, for 15 minutes.
fn one_role_two_namesakes(clusters: &[Candidate<Cluster>], text: &str) -> Vec<super::Mistake> {
    let mut seen: BTreeMap<(String, String), usize> = BTreeMap::new();
    let mut warnings = Vec::new();
    for candidate in clusters {
        let Some(cluster) = &candidate.made else {
            continue;
        };
        let reader = reader(cluster);
        if let Some(other) = seen.insert((cluster.name.clone(), reader.clone()), candidate.draft.at)
        {
            if clusters
                .iter()
                .any(|c| c.draft.at == other && c.made.as_ref().is_some_and(|c| c.id == cluster.id))
            {
                continue;
            }
            warnings.push(place(
                text,
                candidate.draft.at,
                format!(
                    "{reader} reads this `{}` and the one in line {}: whoever runs one of them can use at the other the token that it receives",
                    cluster.name,
                    line(text, other)
                ),
                Some("give each a role of its own (SECURITY.md)".to_owned()),
            ));
        }
    }
    warnings
}

/// Whose identity a cluster sees, for people.
pub(in crate::fleet) fn reader(cluster: &Cluster) -> String {
    let credentials = &cluster.credentials;
    if let Some(role) = credentials.plain.get("role-arn") {
        return role.clone();
    }
    match &credentials.profile {
        Some(profile) => format!("the profile {profile}"),
        None => "the machine's identity".to_owned(),
    }
}

impl Reference {
    /// For people. Where secrets are kept is nobody's business who sees how a
    /// cluster is: of a file it says only that it is one.
    #[must_use]
    pub fn shown(&self) -> String {
        match self {
            Reference::Env(name) => format!("the variable {name}"),
            Reference::File(_) => "the file that is named for it".to_owned(),
        }
    }
}
