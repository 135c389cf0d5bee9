//! The flags of the host: one table, from which come the command line, the
//! variables, the names that no plugin may take, and the table in
//! `docs/cli.md`.

use clap::{Arg, ArgAction};

/// `eks-region` -> `BATON_EKS_REGION`.
pub(super) fn variable(flag: &str) -> String {
    format!("BATON_{}", flag.to_ascii_uppercase().replace('-', "_"))
}

/// One flag of the host.
pub(super) struct Flag {
    pub(super) name: &'static str,
    pub(super) short: Option<char>,
    pub(super) value: Option<&'static str>,
    pub(super) default: Option<&'static str>,
    /// All that the value may be, if that is a list.
    pub(super) choices: &'static [&'static str],
    /// Whether it may be given more than once; a variable holds several
    /// values with commas between them.
    many: bool,
    pub(super) help: &'static str,
}

const fn text(name: &'static str, value: &'static str, help: &'static str) -> Flag {
    Flag {
        name,
        short: None,
        value: Some(value),
        default: None,
        choices: &[],
        many: false,
        help,
    }
}

const fn many(name: &'static str, value: &'static str, help: &'static str) -> Flag {
    Flag {
        many: true,
        ..text(name, value, help)
    }
}

const fn switch(name: &'static str, help: &'static str) -> Flag {
    Flag {
        value: None,
        ..text(name, "", help)
    }
}

/// The groups of flags, in the order of the help text.
pub(super) const CONNECTOR: &str = "Connector (its settings are all that enters the sandbox)";
pub(super) const AWS: &str = "AWS credentials (never enter the sandbox)";
const ACCESS_FILE: &str = "Access file";
const SYNC: &str = "What is synced";
const CHANGES: &str = "Grant and revoke";
const ONE_CHANGE: &str = "One change, as other Baton connectors take it";
pub(super) const GENERAL: &str = "Options";

const PLUGIN: &[Flag] = &[text(
    "plugin",
    "FILE",
    "The connector, a WebAssembly component",
)];

const FILE: &[Flag] = &[
    Flag {
        short: Some('f'),
        default: Some("sync.c1z"),
        ..text(
            "file",
            "FILE",
            "The access file to write, or to look ids up in",
        )
    },
    text(
        "c1z-temp-dir",
        "DIR",
        "Where work files are kept; needs room for the file, unpacked",
    ),
];

const KINDS: &[Flag] = &[
    text(
        "sync-resource-types",
        "KINDS",
        "Only these kinds of resources, comma separated",
    ),
    switch("skip-grants", "Write resources and entitlements only"),
    switch("skip-entitlements-and-grants", "Write resources only"),
    text(
        "external-resource-c1z",
        "FILE",
        "The AWS connector's access file, to take accounts and groups from",
    ),
    text(
        "external-resource-entitlement-id-filter",
        "ID",
        "Of that file, only who holds this entitlement",
    ),
];

const PROVISION: &[Flag] = &[
    Flag {
        short: Some('p'),
        ..switch(
            "provisioning",
            "Allow changes; without it nothing is granted or revoked",
        )
    },
    switch("plan", "Print what would be sent, and send nothing"),
    switch(
        "dry-run",
        "Let Kubernetes check the changes without making them",
    ),
    many(
        "protect",
        "PATTERN",
        "Never grant or revoke this: an entitlement, or a principal as `kind:id`; `*` is anything",
    ),
    many(
        "unprotect",
        "PATTERN",
        "Take away what is protected by default; `permissions --provisioning` lists it",
    ),
    text(
        "audit-log",
        "FILE|-",
        "Every change, as JSON lines [default: beside the access file, sync.audit.jsonl]",
    ),
    text(
        "asked-by",
        "NAME",
        "Who wants the change, for the audit log [default: the user of this machine]",
    ),
    Flag {
        default: Some("15"),
        ..text(
            "lock-seconds",
            "SECONDS",
            "How long the lock on a principal outlives a host that was killed",
        )
    },
];

const BATON: &[Flag] = &[
    text("grant-entitlement", "ID", "Grant this entitlement"),
    text("grant-principal", "ID", "To this principal"),
    text("grant-principal-type", "KIND", "Of this kind"),
    text("revoke-grant", "ID", "Revoke this grant"),
];

const OPTIONS: &[Flag] = &[
    Flag {
        default: Some("baton.lock"),
        ..text("lock", "FILE", "Which plugins are approved for what")
    },
    Flag {
        default: Some("text"),
        choices: &["text", "json"],
        ..text(
            "format",
            "text|json",
            "What standard output is for: a person or a program",
        )
    },
    Flag {
        short: Some('q'),
        ..switch("quiet", "No progress and no summary")
    },
    Flag {
        default: Some("info"),
        choices: &["error", "warn", "info", "debug", "trace"],
        ..text("log-level", "LEVEL", "error, warn, info, debug or trace")
    },
    Flag {
        choices: &["console", "json"],
        ..text(
            "log-format",
            "console|json",
            "Form of the log; console on a terminal, else json",
        )
    },
];

/// Flags under their headings, in the order of the help text. The settings of
/// the plugin and of the upstream kinds stand after the first.
pub(super) const ALL: &[(&str, &[Flag])] = &[
    (CONNECTOR, PLUGIN),
    (ACCESS_FILE, FILE),
    (SYNC, KINDS),
    (CHANGES, PROVISION),
    (ONE_CHANGE, BATON),
    (GENERAL, OPTIONS),
];

pub(super) fn own_flags() -> impl Iterator<Item = &'static Flag> {
    ALL.iter().flat_map(|(_, flags)| *flags)
}

/// Whether the help of a command shows a group of flags. Every command takes
/// all of them, as variables of one job are often set for all commands.
pub(super) fn concerns(command: Option<&str>, heading: &str) -> bool {
    match command {
        Some("check" | "permissions") => [CONNECTOR, AWS, CHANGES, GENERAL].contains(&heading),
        Some("grant" | "revoke") => ![SYNC, ONE_CHANGE].contains(&heading),
        Some("capabilities" | "config" | "demo") => [CONNECTOR, GENERAL].contains(&heading),
        Some("plugin" | "audit" | "review" | "fleet" | "serve" | "health-check") => {
            heading == GENERAL
        }
        Some("completion") => false,
        _ => true,
    }
}

/// A flag as clap takes it.
pub(super) fn arg(flag: &'static Flag, heading: &'static str) -> Arg {
    let mut arg = Arg::new(flag.name)
        .long(flag.name)
        .global(true)
        .help_heading(heading)
        .help(flag.help);
    if let Some(short) = flag.short {
        arg = arg.short(short);
    }
    match flag.value {
        Some(value) => {
            arg = arg.value_name(value).action(if flag.many {
                ArgAction::Append
            } else {
                ArgAction::Set
            });
            if let Some(default) = flag.default {
                arg = arg.default_value(default);
            }
        }
        None => arg = arg.action(ArgAction::SetTrue),
    }
    arg
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// With `UPDATE_DOCS=1` it writes the table.
    #[test]
    fn the_documented_flags_are_those_that_there_are() {
        let mut table = "| flag | variable | default | |\n|---|---|---|---|\n".to_owned();
        for flag in own_flags() {
            let short = flag
                .short
                .map(|short| format!("`-{short}`, "))
                .unwrap_or_default();
            let cell = |text: &str| text.replace('|', "\\|");
            let value = flag
                .value
                .map(|value| format!(" {}", cell(value)))
                .unwrap_or_default();
            let default = flag
                .default
                .map(|default| format!("`{default}`"))
                .unwrap_or_default();
            table.push_str(&format!(
                "| {short}`--{}{value}` | `{}` | {default} | {} |\n",
                flag.name,
                variable(flag.name),
                cell(flag.help)
            ));
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/cli.md");
        let page = std::fs::read_to_string(path).unwrap();
        let begin = "<!-- generated: flags -->\n";
        let (before, rest) = page.split_once(begin).unwrap();
        let (_, after) = rest.split_once("<!-- end -->").unwrap();
        let expected = format!("{before}{begin}{table}<!-- end -->{after}");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, &expected).unwrap();
        }
        assert_eq!(page, expected, "docs/cli.md is out of date");
    }
}
