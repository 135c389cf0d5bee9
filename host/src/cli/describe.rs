//! `capabilities` and `config`: what the connector can do and wants to be
//! told, in the JSON that other Baton tools read.
#![allow(
    clippy::indexing_slicing,
    reason = "members of JSON objects that are made here"
)]

use serde_json::{Value, json};

use super::args::Invocation;
use super::exit::{CliError, Exit};
use super::output::Printer;
use crate::credentials::settings::SETTINGS;
use crate::plugin::{attribute, attributes};
use crate::sandbox::contract::types::{Descriptor, KindSpec};

pub(super) fn capabilities(invocation: &Invocation, printer: Printer) -> Result<Exit, CliError> {
    printer.value(&capabilities_of(
        invocation.plugin()?.component.descriptor(),
    ));
    Ok(Exit::Success)
}

pub(super) fn config(invocation: &Invocation, printer: Printer) -> Result<Exit, CliError> {
    printer.value(&config_of(invocation.plugin()?.component.descriptor()));
    Ok(Exit::Success)
}

/// `c1.connector.v2.ConnectorCapabilities`; kinds that only name principals
/// are not listed, as they cannot be synced.
fn capabilities_of(descriptor: &Descriptor) -> Value {
    let mut kinds: Vec<&KindSpec> = descriptor
        .kinds
        .iter()
        .filter(|kind| attribute(&kind.attributes, "listed") != Some("false"))
        .collect();
    kinds.sort_by(|a, b| a.name.cmp(&b.name));
    let names = |kind: &KindSpec| -> Vec<String> {
        kind.capabilities
            .iter()
            .map(|name| format!("CAPABILITY_{}", name.to_ascii_uppercase().replace('-', "_")))
            .collect()
    };
    let types: Vec<Value> = kinds
        .iter()
        .map(|kind| {
            let mut resource = json!({ "id": kind.name });
            if let Some(name) = attribute(&kind.attributes, "display-name") {
                resource["displayName"] = name.into();
            }
            if !kind.traits.is_empty() {
                resource["traits"] = kind
                    .traits
                    .iter()
                    .map(|name| format!("TRAIT_{}", name.to_ascii_uppercase()))
                    .collect();
            }
            if let Some(text) = attribute(&kind.attributes, "description") {
                resource["description"] = text.into();
            }
            json!({ "resourceType": resource, "capabilities": names(kind), "permissions": {} })
        })
        .collect();
    // By their numbers in the protocol: 1 PROVISION, 2 SYNC.
    let all: Vec<String> = ["CAPABILITY_PROVISION", "CAPABILITY_SYNC"]
        .into_iter()
        .filter(|name| {
            kinds
                .iter()
                .any(|kind| names(kind).iter().any(|n| n == name))
        })
        .map(str::to_owned)
        .collect();
    json!({
        "@type": "type.googleapis.com/c1.connector.v2.ConnectorCapabilities",
        "resourceTypeCapabilities": types,
        "connectorCapabilities": all,
        "credentialDetails": {},
    })
}

/// `c1.config.v1.Configuration`.
fn config_of(descriptor: &Descriptor) -> Value {
    let mut fields = Vec::new();
    for setting in &descriptor.settings {
        let mut field = json!({ "name": setting.name });
        for (key, name) in [
            ("description", "description"),
            ("placeholder", "placeholder"),
        ] {
            if let Some(text) = attribute(&setting.attributes, key) {
                field[name] = text.into();
            }
        }
        let default = attribute(&setting.attributes, "default");
        let (form, mut value) = match setting.kind.as_str() {
            "bool" => (
                "boolField",
                default.map_or(json!({}), |d| json!({ "defaultValue": d == "true" })),
            ),
            "int" => (
                "intField",
                default.map_or(json!({}), |d| json!({ "defaultValue": d })),
            ),
            _ => (
                "stringField",
                default.map_or(json!({}), |d| json!({ "defaultValue": d })),
            ),
        };
        let choices: Vec<&str> = attributes(&setting.attributes, "choices").collect();
        if !choices.is_empty() {
            value["rules"] = json!({ "in": choices });
        }
        if setting.required {
            field["isRequired"] = true.into();
            value["rules"]["isRequired"] = true.into();
        }
        field[form] = value;
        fields.push(field);
    }
    for setting in SETTINGS {
        let mut field = json!({ "name": setting.name, "description": setting.help });
        if setting.secret {
            field["isSecret"] = true.into();
        }
        field["stringField"] = json!({});
        fields.push(field);
    }
    let constraint = |kind: &str, names: &[&str]| json!({ "kind": format!("CONSTRAINT_KIND_{kind}"), "fieldNames": names });
    let mut config = json!({
        "fields": fields,
        "constraints": [
            constraint("REQUIRED_TOGETHER", &["eks-access-key", "eks-secret-access-key"]),
            constraint("REQUIRED_TOGETHER", &["global-access-key-id", "global-secret-access-key"]),
            constraint("MUTUALLY_EXCLUSIVE", &["eks-access-key", "global-access-key-id"]),
            constraint("MUTUALLY_EXCLUSIVE", &["eks-secret-access-key", "global-secret-access-key"]),
        ],
        "displayName": attribute(&descriptor.attributes, "display-name").unwrap_or(&descriptor.name),
        "supportsExternalResources": false,
    });
    if let Some(url) = attribute(&descriptor.attributes, "help-url") {
        config["helpUrl"] = url.into();
    }
    config
}
