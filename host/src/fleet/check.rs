//! What a fleet file says against what its plugins declare and what is on this
//! machine. Runs nothing of a plugin but `describe`, and sends nothing.

use std::collections::BTreeMap;

use super::cluster::Credentials;
use super::config::{Config, Mistake, Part};
use super::plugins::Plugins;
use super::settings;
use crate::sandbox::Sandbox;

/// What was found.
#[derive(Debug, Clone, Default)]
pub struct Checked {
    /// What keeps a cluster from being synced.
    pub mistakes: Vec<Mistake>,
    /// What does so on this machine, and may not elsewhere.
    pub warnings: Vec<Mistake>,
}

/// Compares every cluster and rule with its plugin.
pub async fn plugins(
    config: &Config,
    sandbox: &Sandbox,
    reserved: &[String],
    environment: &BTreeMap<String, String>,
) -> Checked {
    let plugins = Plugins::new(sandbox.clone(), reserved.to_vec());
    let mut checked = Checked::default();
    for cluster in &config.clusters {
        let at = |part: Part<'_>, message: String, hint: Option<String>| {
            config.mistake(cluster.id.as_str(), part, message, hint)
        };
        match plugins.get(&cluster.plugin, cluster.lock.as_deref()).await {
            Err(failed) => {
                let mistake = at(Part::Plugin, failed.message, failed.hint);
                checked.mistakes.push(mistake);
            }
            Ok(plugin) => {
                let descriptor = plugin.component.descriptor();
                checked.settings(descriptor, &cluster.settings, &at);
            }
        }
        checked.secrets(&cluster.credentials, environment, &at);
    }
    for rule in &config.rules {
        let at = |part: Part<'_>, message: String, hint: Option<String>| {
            config.mistake(&rule.name, part, message, hint)
        };
        let (plugin, lock) = rule.plugin();
        match plugins.get(plugin, lock).await {
            Err(failed) => {
                let mistake = at(Part::Plugin, failed.message, failed.hint);
                checked.mistakes.push(mistake);
            }
            Ok(plugin) => {
                let descriptor = plugin.component.descriptor();
                checked.settings(descriptor, rule.settings(), &at);
            }
        }
        checked.secrets(rule.credentials(), environment, &at);
    }
    checked
}

impl Checked {
    fn settings(
        &mut self,
        descriptor: &crate::sandbox::contract::types::Descriptor,
        given: &BTreeMap<String, String>,
        at: &impl Fn(Part<'_>, String, Option<String>) -> Mistake,
    ) {
        match settings::check(descriptor, given) {
            Err(error) => self
                .mistakes
                .push(at(Part::Plugin, error.to_string(), None)),
            Ok(mistakes) => {
                for mistake in mistakes {
                    let part = mistake
                        .setting
                        .as_deref()
                        .map_or(Part::Table, Part::Setting);
                    self.mistakes.push(at(part, mistake.message, mistake.hint));
                }
            }
        }
    }

    fn secrets(
        &mut self,
        credentials: &Credentials,
        environment: &BTreeMap<String, String>,
        at: &impl Fn(Part<'_>, String, Option<String>) -> Mistake,
    ) {
        for message in settings::absent(credentials, environment) {
            let hint = "it must be there where the fleet is synced".to_owned();
            self.warnings.push(at(Part::Table, message, Some(hint)));
        }
    }
}
