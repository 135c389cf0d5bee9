//! From a cluster to a job: settings against the plugin's descriptor, secrets
//! from where they are, the environment of its credentials.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::cluster::{Cluster, Credentials, Reference};
use super::failed::Failed;
use crate::credentials::HttpClients;
use crate::credentials::settings::SettingInfo;
use crate::credentials::{AwsSettings, Env};
use crate::job::{self, Job, JobError};
use crate::nearest::nearest;
use crate::plugin::{Plugin, attribute, attributes};
use crate::sandbox::clean;
use crate::sandbox::contract::types::Descriptor;
use crate::upstream::Rates;
use crate::upstream::rights::Declared;

/// The largest file of a secret, in bytes.
const SECRET_SIZE: u64 = 64 << 10;

/// What is wrong with a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingMistake {
    /// The setting's name as the cluster gives it; nothing where it is missing.
    pub setting: Option<String>,
    /// One sentence.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

/// The names of the settings that hold a cluster's region and its name.
struct Filled<'d> {
    region: Vec<&'d str>,
    cluster: Vec<&'d str>,
}

fn filled(declared: &[Declared]) -> Filled<'_> {
    Filled {
        region: declared
            .iter()
            .filter_map(|upstream| upstream.region_setting.as_deref())
            .collect(),
        cluster: declared
            .iter()
            .filter_map(|upstream| upstream.cluster_setting.as_deref())
            .collect(),
    }
}

/// Compares the settings of a cluster with those that a plugin declares.
///
/// # Errors
/// When the plugin declares what no plugin gets.
pub fn check(
    descriptor: &Descriptor,
    settings: &BTreeMap<String, String>,
) -> Result<Vec<SettingMistake>, JobError> {
    let declared = job::declared(descriptor)?;
    let filled = filled(&declared);
    let mut mistakes = Vec::new();
    let mut say = |setting: Option<&str>, message: String, hint: Option<String>| {
        mistakes.push(SettingMistake {
            setting: setting.map(str::to_owned),
            message,
            hint,
        });
    };
    for (name, value) in settings {
        let shown = clean(name, 60);
        let own = match (
            filled.region.contains(&name.as_str()),
            filled.cluster.contains(&name.as_str()),
        ) {
            (true, _) => Some("region"),
            (_, true) => Some("name"),
            _ => None,
        };
        if let Some(own) = own {
            say(
                Some(name),
                format!("`{shown}` is filled in from the cluster's `{own}`"),
                Some("leave it away".to_owned()),
            );
            continue;
        }
        let Some(spec) = descriptor.settings.iter().find(|spec| spec.name == *name) else {
            let all = descriptor.settings.iter().map(|spec| spec.name.clone());
            let near = nearest(name, all.clone());
            let hint = match near.first() {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("it has {}", all.collect::<Vec<_>>().join(", ")),
            };
            let message = format!("{} has no setting `{shown}`", descriptor.name);
            say(Some(name), message, Some(hint));
            continue;
        };
        let wanted = match spec.kind.as_str() {
            "bool" if !["true", "false"].contains(&value.as_str()) => "true or false".to_owned(),
            "int" if value.parse::<i64>().is_err() => "a whole number".to_owned(),
            "choice" => {
                let choices: Vec<&str> = attributes(&spec.attributes, "choices").collect();
                if choices.contains(&value.as_str()) {
                    continue;
                }
                choices.join(", ")
            }
            _ => continue,
        };
        let message = format!("`{shown}` cannot be `{}`", clean(value, 60));
        say(Some(name), message, Some(format!("it can be {wanted}")));
    }
    for spec in &descriptor.settings {
        let given = settings.contains_key(&spec.name)
            || filled.region.contains(&spec.name.as_str())
            || filled.cluster.contains(&spec.name.as_str());
        if spec.required && !given && attribute(&spec.attributes, "default").is_none() {
            say(
                None,
                format!("{} needs the setting `{}`", descriptor.name, spec.name),
                None,
            );
        }
    }
    Ok(mistakes)
}

/// The job of one sync. Secrets are read here and live as long as it.
pub(super) fn job(
    cluster: &Cluster,
    plugin: Plugin,
    environment: &BTreeMap<String, String>,
    rates: Arc<Rates>,
    http: HttpClients,
) -> Result<Job, Failed> {
    let descriptor = plugin.component.descriptor();
    let mistakes = check(descriptor, &cluster.settings)?;
    if !mistakes.is_empty() {
        let texts: Vec<String> = mistakes
            .iter()
            .map(|mistake| match &mistake.hint {
                Some(hint) => format!("{}; {hint}", mistake.message),
                None => mistake.message.clone(),
            })
            .collect();
        return Err(Failed::configuration(texts.join("; ")));
    }
    let declared = job::declared(descriptor).map_err(JobError::from)?;
    let mut settings = cluster.settings.clone();
    let filled = filled(&declared);
    for name in filled.region {
        settings.insert(name.to_owned(), cluster.region.clone());
    }
    for name in filled.cluster {
        settings.insert(name.to_owned(), cluster.name.clone());
    }
    let aws = aws(&cluster.credentials, environment)?;
    Ok(Job {
        env: surroundings(&cluster.credentials, environment),
        plugin,
        settings,
        aws,
        rates,
        http,
        limits: cluster.limits.clone(),
    })
}

/// The settings of the kind `aws`, with the secrets in them.
pub(super) fn aws(
    credentials: &Credentials,
    environment: &BTreeMap<String, String>,
) -> Result<AwsSettings, Failed> {
    let mut secrets = BTreeMap::new();
    for (name, reference) in &credentials.secret {
        secrets.insert(name.as_str(), read(name, reference, environment)?);
    }
    let value = |setting: &SettingInfo| {
        let secret = secrets.get(setting.name).cloned();
        secret.or_else(|| credentials.plain.get(setting.name).cloned())
    };
    AwsSettings::from_values(value)
        .map_err(|error| Failed::configuration(error.problems.join("; ")))
}

/// A secret from where it is.
fn read(
    name: &str,
    reference: &Reference,
    environment: &BTreeMap<String, String>,
) -> Result<String, Failed> {
    use std::io::Read as _;
    let missing = |why: &str| {
        Failed::configuration(format!("`{name}` is in {}, which {why}", reference.shown()))
    };
    let text = match reference {
        Reference::Env(variable) => environment
            .get(variable)
            .cloned()
            .ok_or_else(|| missing("is not set"))?,
        Reference::File(path) => {
            let mut text = String::new();
            super::files::regular(path, true)
                .and_then(|file| file.take(SECRET_SIZE).read_to_string(&mut text))
                .map_err(|error| missing(&format!("cannot be read: {error}")))?;
            text
        }
    };
    if text.trim().is_empty() {
        return Err(missing("is empty"));
    }
    Ok(text)
}

/// Whether every secret is where it should be; what is not, one sentence each.
#[must_use]
pub fn absent(credentials: &Credentials, environment: &BTreeMap<String, String>) -> Vec<String> {
    credentials
        .secret
        .iter()
        .filter_map(|(name, reference)| read(name, reference, environment).err())
        .map(|failed| failed.message)
        .collect()
}

/// The environment that ambient credentials and endpoints come from. A profile
/// that is named is meant: keys of the environment would come before it.
pub(super) fn surroundings(
    credentials: &Credentials,
    environment: &BTreeMap<String, String>,
) -> Env {
    const BEFORE: [&str; 3] = [
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
    ];
    let named = credentials.profile.as_ref();
    let kept = environment
        .iter()
        .filter(|(name, _)| named.is_none() || !BEFORE.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()));
    let profile = named.map(|profile| ("AWS_PROFILE".to_owned(), profile.clone()));
    Env::from_pairs(kept.chain(profile))
}
