//! `plugin inspect` and `plugin approve`: what a plugin is, what enters its
//! sandbox, what it may say to whom, and what the operator said to that.

use std::collections::BTreeSet;
use std::io::{BufRead as _, IsTerminal as _};
use std::path::Path;

use serde::Serialize;

use super::args::Invocation;
use super::command::Approve;
use super::exit::{CliError, Exit};
use super::flags::variable;
use super::output::{Printer, plain, say, table};
use super::tree::reserved;
use crate::plugin::{LockedPlugin, Plugin, attribute};
use crate::sandbox::{Component, World};
use crate::upstream::rights::Declared;

/// What `plugin inspect --format json` prints.
#[derive(Serialize)]
struct Inspection {
    name: String,
    version: String,
    digest: String,
    size: u64,
    provisions: bool,
    imports: Vec<String>,
    kinds: Vec<Kind>,
    settings: Vec<Setting>,
    upstreams: Vec<Upstream>,
    approved: Option<BTreeSet<String>>,
}

#[derive(Serialize)]
struct Kind {
    name: String,
    traits: Vec<String>,
    optional: bool,
    listed: bool,
}

#[derive(Serialize)]
struct Setting {
    name: String,
    variable: String,
    required: bool,
}

#[derive(Serialize)]
struct Upstream {
    name: String,
    kind: String,
    rights: Vec<Right>,
}

#[derive(Serialize)]
struct Right {
    group: &'static str,
    allow: &'static str,
    about: &'static str,
}

/// The upstreams of a component, checked against the ceiling.
pub(super) fn declared(component: &Component) -> Result<Vec<Declared>, CliError> {
    crate::job::declared(component.descriptor()).map_err(|error| {
        CliError::new(
            Exit::Plugin,
            format!("{}: {error}", component.descriptor().name),
        )
    })
}

pub(super) async fn inspect(
    invocation: &Invocation,
    file: &Path,
    printer: Printer,
) -> Result<Exit, CliError> {
    let component = Plugin::component(
        &super::args::sandbox()?,
        file,
        &invocation.lock,
        &reserved(),
    )
    .await?;
    let declared = declared(&component)?;
    let inspection = look(&component, &declared, invocation);
    if printer.json {
        printer.value(&inspection);
    } else {
        printer.text(&page(&inspection));
    }
    Ok(Exit::Success)
}

fn look(component: &Component, declared: &[Declared], invocation: &Invocation) -> Inspection {
    let descriptor = component.descriptor();
    Inspection {
        name: descriptor.name.clone(),
        version: descriptor.version.clone(),
        digest: component.digest().to_owned(),
        size: component.size(),
        provisions: component.world() == World::Provisioning,
        imports: component.imports().to_vec(),
        kinds: descriptor
            .kinds
            .iter()
            .map(|kind| Kind {
                name: kind.name.clone(),
                traits: kind.traits.clone(),
                optional: attribute(&kind.attributes, "optional") == Some("true"),
                listed: attribute(&kind.attributes, "listed") != Some("false"),
            })
            .collect(),
        settings: descriptor
            .settings
            .iter()
            .map(|setting| Setting {
                name: setting.name.clone(),
                variable: variable(&setting.name),
                required: setting.required,
            })
            .collect(),
        upstreams: declared
            .iter()
            .map(|upstream| Upstream {
                name: upstream.name.clone(),
                kind: upstream.kind.to_string(),
                rights: upstream
                    .rights
                    .iter()
                    .map(|right| Right {
                        group: right.group.name(),
                        allow: right.words,
                        about: right.about,
                    })
                    .collect(),
            })
            .collect(),
        approved: invocation
            .lock
            .approval(component.digest())
            .map(|approval| approval.groups),
    }
}

fn page(inspection: &Inspection) -> String {
    let mut text = format!(
        "{} {}\n{}\n{} bytes; {}\n",
        inspection.name,
        inspection.version,
        inspection.digest,
        inspection.size,
        if inspection.provisions {
            "plans changes, which the host checks and makes"
        } else {
            "reads only: its type has no way to plan a change"
        }
    );
    text.push_str("\nImports, all that it can call:\n");
    for import in &inspection.imports {
        text.push_str(&format!("  {}\n", plain(import)));
    }
    text.push_str("\nSettings, the values that enter the sandbox:\n");
    for setting in &inspection.settings {
        let required = if setting.required { " (required)" } else { "" };
        text.push_str(&format!(
            "  --{}  ${}{required}\n",
            setting.name, setting.variable
        ));
    }
    text.push_str("\nUpstreams, all that it may ever say, and to whom:\n");
    for upstream in &inspection.upstreams {
        text.push_str(&format!("  {} ({})\n", upstream.name, upstream.kind));
        let rows: Vec<Vec<String>> = upstream
            .rights
            .iter()
            .map(|right| {
                vec![
                    format!("    {}", right.group),
                    right.allow.to_owned(),
                    right.about.to_owned(),
                ]
            })
            .collect();
        text.push_str(&table(&rows));
    }
    text.push_str("\nKinds:\n");
    let rows: Vec<Vec<String>> = inspection
        .kinds
        .iter()
        .map(|kind| {
            let mut notes = kind.traits.clone();
            if kind.optional {
                notes.push("optional".into());
            }
            if !kind.listed {
                notes.push("only as principal".into());
            }
            vec![format!("  {}", kind.name), notes.join(", ")]
        })
        .collect();
    text.push_str(&table(&rows));
    text.push_str(&match &inspection.approved {
        Some(groups) => format!(
            "\nApproved: {}\n",
            groups.iter().cloned().collect::<Vec<_>>().join(", ")
        ),
        None => "\nNot approved: the lock file does not name this digest.\n".to_owned(),
    });
    text
}

pub(super) async fn approve(
    invocation: &Invocation,
    approve: &Approve,
    printer: Printer,
) -> Result<Exit, CliError> {
    let component = Plugin::component(
        &super::args::sandbox()?,
        &approve.file,
        &invocation.lock,
        &reserved(),
    )
    .await?;
    let declared = declared(&component)?;
    let groups: BTreeSet<String> = if approve.groups.is_empty() {
        BTreeSet::from(["read".to_owned()])
    } else {
        approve.groups.iter().cloned().collect()
    };
    let rights: BTreeSet<String> = declared
        .iter()
        .flat_map(|upstream| {
            upstream
                .rights
                .iter()
                .filter(|right| groups.contains(right.group.name()))
                .map(|right| format!("{}: {}", upstream.name, right.words))
        })
        .collect();
    let plugin = LockedPlugin {
        name: component.descriptor().name.clone(),
        version: component.descriptor().version.clone(),
        digest: component.digest().to_owned(),
        groups,
        rights,
    };
    if !printer.json {
        printer.text(&page(&look(&component, &declared, invocation)));
    }
    let added = invocation.lock.added(&plugin);
    say(&format!(
        "\nTo be approved for {} {}:",
        plugin.name, plugin.version
    ));
    for right in &plugin.rights {
        let new = if added.contains(right) { "+" } else { " " };
        say(&format!("  {new} {right}"));
    }
    if !approve.yes && !asked()? {
        return Err(CliError::new(
            Exit::Usage,
            "not approved; nothing was written",
        ));
    }
    let mut lock = crate::plugin::Lock::read(invocation.lock.path())?;
    lock.approve(plugin)?;
    say(&format!("written to {}", lock.path().display()));
    Ok(Exit::Success)
}

fn asked() -> Result<bool, CliError> {
    let input = std::io::stdin();
    if !input.is_terminal() {
        return Err(CliError::new(
            Exit::Usage,
            "an approval needs an answer, and standard input is no terminal",
        )
        .hint("read the list above, then add --yes"));
    }
    say("Approve? [y/N]");
    let mut answer = String::new();
    input.lock().read_line(&mut answer).map_err(|error| {
        CliError::new(Exit::Failure, format!("cannot read the answer: {error}"))
    })?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
