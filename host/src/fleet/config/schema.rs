//! The JSON schema of a fleet file, made from the table of its keys.

use serde_json::{Map, Value, json};

use super::keys::{self, Key, Of};

/// The schema (draft 2020-12): `docs/fleet.schema.json`.
#[must_use]
pub fn schema() -> Value {
    let mut root = object(keys::FILE, &[]);
    if let Some(map) = root.as_object_mut() {
        map.insert(
            "$schema".to_owned(),
            json!("https://json-schema.org/draft/2020-12/schema"),
        );
        map.insert("title".to_owned(), json!("A fleet of baton-host"));
    }
    root
}

fn object(keys: &[Key], required: &[&str]) -> Value {
    let properties: Map<String, Value> = keys
        .iter()
        .map(|key| {
            let mut value = value(key);
            if let Some(map) = value.as_object_mut() {
                map.insert("description".to_owned(), json!(key.about));
            }
            (key.name.to_owned(), value)
        })
        .collect();
    let mut object = json!({
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
    });
    if !required.is_empty()
        && let Some(map) = object.as_object_mut()
    {
        map.insert("required".to_owned(), json!(required));
    }
    object
}

fn value(key: &Key) -> Value {
    let text = json!({ "type": "string", "minLength": 1 });
    let region = json!({ "type": "string", "pattern": "^[a-z]{2,}(-[a-z]+)+-[0-9]+$" });
    match key.of {
        Of::Path | Of::Text | Of::Duration => text,
        Of::Account => json!({ "type": "string", "pattern": "^[0-9]{12}$" }),
        Of::Region => region,
        Of::Regions => {
            json!({ "type": "array", "items": region, "minItems": 1, "uniqueItems": true })
        }
        Of::Bytes => json!({ "type": "string", "pattern": "^[0-9]+ ?[KMG]iB$" }),
        Of::Schedule => json!({ "anyOf": [text, object(keys::TIMES, &["every"])] }),
        Of::Settings => {
            json!({ "type": "object", "additionalProperties": { "type": ["string", "integer", "boolean"] } })
        }
        Of::Credentials => {
            let properties: Map<String, Value> = keys::credentials()
                .map(|(name, secret, about)| {
                    let mut value = if secret {
                        reference()
                    } else {
                        json!({ "anyOf": [{ "type": "string", "minLength": 1 }, reference()] })
                    };
                    if let Some(map) = value.as_object_mut() {
                        map.insert("description".to_owned(), json!(about));
                    }
                    (name.to_owned(), value)
                })
                .collect();
            json!({ "anyOf": [
                { "const": "ambient" },
                { "type": "object", "additionalProperties": false, "properties": properties },
            ]})
        }
        Of::Table(keys) => object(keys, &[]),
        Of::Tables(keys) => {
            let required: &[&str] = if keys == keys::CLUSTER {
                &["name"]
            } else {
                &["regions"]
            };
            let items = object(keys, required);
            if key.name == "discover" {
                json!({ "anyOf": [items.clone(), { "type": "array", "items": items }] })
            } else {
                json!({ "type": "array", "items": items })
            }
        }
    }
}

fn reference() -> Value {
    let mut value = object(keys::REFERENCE, &[]);
    if let Some(map) = value.as_object_mut() {
        map.insert("minProperties".to_owned(), json!(1));
        map.insert("maxProperties".to_owned(), json!(1));
    }
    value
}
