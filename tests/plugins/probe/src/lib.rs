//! A well-formed read-only connector that does what a test tells it to.
//!
//! `validate` sends the requests of the setting `script` and returns one
//! attribute for each: what came of it. `list-objects` does what the setting
//! `behaviour` names.

mod misdeeds;
mod script;

use std::sync::Mutex;

use guest::{Attributes, Descriptor, Error, ObjectPage, Plugin, Setting, error, setting};

struct Probe;

guest::export!(Probe with_types_in guest);

static SETTINGS: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());

fn value(name: &str) -> Option<String> {
    let settings = SETTINGS.lock().ok()?;
    let found = settings.iter().find(|(key, _)| key == name)?;
    Some(found.1.clone())
}

impl Plugin for Probe {
    fn describe() -> Descriptor {
        let mut descriptor = guest::descriptor("probe");
        for name in ["script", "behaviour", "canary"] {
            descriptor.settings.push(setting(name));
        }
        descriptor
    }

    fn open(settings: Vec<Setting>) -> Result<(), Error> {
        if let Ok(mut all) = SETTINGS.lock() {
            *all = settings.into_iter().map(|s| (s.name, s.value)).collect();
        }
        Ok(())
    }

    fn validate() -> Result<Attributes, Error> {
        let Some(text) = value("script") else {
            return Ok(vec![]);
        };
        let script: Vec<script::Request> = serde_json::from_str(&text)
            .map_err(|problem| error("invalid-config", format!("script: {problem}")))?;
        Ok(script
            .iter()
            .map(|request| ("outcome".to_owned(), request.send()))
            .collect())
    }

    fn list_objects(_kind: String, page: Option<String>) -> Result<ObjectPage, Error> {
        let behaviour = value("behaviour").unwrap_or_default();
        let (name, number) = behaviour.split_once(':').unwrap_or((&behaviour, "0"));
        let number = number
            .parse()
            .map_err(|_| error("invalid-config", "behaviour: NAME or NAME:NUMBER"))?;
        misdeeds::run(name, number, page)
    }
}
