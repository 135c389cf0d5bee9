//! The tree of commands as clap parses it.

use std::path::PathBuf;

use clap::{Arg, ArgAction, Command, value_parser};

use super::flags::{self, ALL, AWS, CONNECTOR, GENERAL, concerns};
use crate::plugin::{attribute, attributes};
use crate::sandbox::contract::types::{Descriptor, SettingSpec};

/// Names that no setting of a plugin may take: every flag and argument of
/// every command, and variables that mean something else.
pub(super) fn reserved() -> Vec<String> {
    fn names(command: &Command, all: &mut Vec<String>) {
        all.extend(command.get_arguments().map(|arg| arg.get_id().to_string()));
        for below in command.get_subcommands() {
            names(below, all);
        }
    }
    let mut all = [
        "help",
        "version",
        "client-id",
        "ticketing",
        "tmpdir",
        "config",
        "resume",
    ]
    .map(str::to_owned)
    .to_vec();
    names(&command(None, None), &mut all);
    all
}

/// The whole command, with the settings of a plugin if there is one. `shown`
/// is the subcommand whose help may be asked for.
pub(super) fn command(descriptor: Option<&Descriptor>, shown: Option<&str>) -> Command {
    let hide = |heading: &str| !concerns(shown, heading);
    let mut command = Command::new("baton-host")
        .version(env!("CARGO_PKG_VERSION"))
        .about(
            "Loads an access-governance connector as a sandboxed WebAssembly component, lets it read one \
             system through upstreams that the host controls, and writes who can do what into an access \
             file (.c1z). It also grants and revokes: the connector plans, the host checks and makes the \
             changes. Credentials never enter the sandbox. Without a command it syncs.",
        )
        .after_help(
            "Each flag is also a variable: --eks-cluster-name is $BATON_EKS_CLUSTER_NAME. Secrets are variables \
             only: BATON_EKS_SECRET_ACCESS_KEY, BATON_EXTERNAL_ID, BATON_GLOBAL_SECRET_ACCESS_KEY, \
             BATON_GLOBAL_BINDING_EXTERNAL_ID.\n\n\
             Examples:\n  \
             export BATON_PLUGIN=baton_eks.wasm BATON_EKS_REGION=eu-west-1\n  \
             baton-host permissions --eks-cluster-name prod   # what to create\n  \
             baton-host check --eks-cluster-name prod         # does it work?\n  \
             baton-host --eks-cluster-name prod -f prod.c1z   # sync\n  \
             baton-host review findings prod.c1z              # what stands out",
        )
        .disable_help_subcommand(true)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .subcommand_value_name("COMMAND");
    for (heading, flags) in ALL {
        for flag in *flags {
            command = command.arg(flags::arg(flag, heading).hide(hide(heading)));
        }
        if *heading == CONNECTOR {
            for setting in descriptor.iter().flat_map(|d| &d.settings) {
                command = command.arg(setting_arg(setting).hide(hide(CONNECTOR)));
            }
            for setting in crate::credentials::settings::SETTINGS {
                command = command.arg(
                    Arg::new(setting.name)
                        .long(setting.name)
                        .global(true)
                        .value_name("VALUE")
                        .hide(setting.secret || hide(AWS))
                        .help_heading(AWS)
                        .help(setting.help),
                );
            }
        }
    }
    command
        .arg(
            Arg::new("help")
                .short('h')
                .long("help")
                .global(true)
                .help_heading(GENERAL)
                .action(ArgAction::Help)
                .help("Print help"),
        )
        .arg(
            Arg::new("version")
                .short('V')
                .long("version")
                .help_heading(GENERAL)
                .action(ArgAction::Version)
                .help("Print version"),
        )
        .subcommands([
            Command::new("sync").about("Sync into the access file; the same as no command"),
            Command::new("check")
                .about("Try credentials, network and rights, and say what is missing")
                .arg(grantable()),
            permissions(),
            grant(),
            revoke(),
            audit(),
            super::review::command(),
            super::serve::command(),
            super::serve::health_check_command(),
            super::fleet::command(),
            Command::new("capabilities")
                .about("Print the connector's kinds and capabilities as JSON"),
            Command::new("config").about("Print the connector's settings as JSON"),
            plugin(),
            Command::new("demo")
                .about("Sync a simulated company's clusters and look at the result")
                .arg(
                    text("keep", "DIR", "Keep the files in this folder")
                        .value_parser(value_parser!(PathBuf)),
                ),
            Command::new("completion")
                .about("Print shell completions")
                .arg(
                    Arg::new("shell")
                        .value_name("SHELL")
                        .required(true)
                        .value_parser(value_parser!(clap_complete::Shell)),
                ),
        ])
}

fn setting_arg(setting: &SettingSpec) -> Arg {
    let arg = Arg::new(setting.name.clone())
        .long(setting.name.clone())
        .global(true)
        .help_heading(CONNECTOR)
        .help(setting_help(setting));
    match setting.kind.as_str() {
        "bool" => arg
            .action(ArgAction::Set)
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .value_name("true|false")
            .hide_possible_values(true)
            .value_parser(["true", "false"]),
        "int" => arg
            .value_name("NUMBER")
            .value_parser(value_parser!(i64))
            .allow_negative_numbers(true),
        "choice" => {
            let choices: Vec<String> = attributes(&setting.attributes, "choices")
                .map(str::to_owned)
                .collect();
            arg.value_name(choices.join("|"))
                .hide_possible_values(true)
                .value_parser(choices)
        }
        _ => arg.value_name("VALUE"),
    }
}

fn setting_help(setting: &SettingSpec) -> String {
    let mut help =
        super::output::plain(attribute(&setting.attributes, "description").unwrap_or(""));
    if let Some(default) = attribute(&setting.attributes, "default") {
        help.push_str(&format!(" [default: {}]", super::output::plain(default)));
    }
    if setting.required {
        help.push_str(" (required)");
    }
    help
}

/// An option of one command.
fn text(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help)
}

/// A file that is an argument of its own.
fn file(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .value_name(value)
        .required(true)
        .value_parser(value_parser!(PathBuf))
        .help(help)
}

fn permissions() -> Command {
    Command::new("permissions")
        .about("Print what to create in AWS and in the cluster; with --provisioning for changes")
        .arg(
            Arg::new("no-config-maps")
                .long("no-config-maps")
                .action(ArgAction::SetTrue)
                .help("Without the right to list config maps"),
        )
        .arg(text(
            "account-id",
            "ID",
            "The cluster's account [default: that of role-arn]",
        ))
        .arg(grantable())
        .arg(
            text(
                "authentication-mode",
                "MODE",
                "The cluster's: API, API_AND_CONFIG_MAP or CONFIG_MAP; each needs less than all",
            )
            .hide_possible_values(true)
            .value_parser(["API", "API_AND_CONFIG_MAP", "CONFIG_MAP"]),
        )
}

/// For what is about changes: which roles may be granted.
fn grantable() -> Arg {
    text(
        "grantable",
        "ROLE",
        "With --provisioning: a role that may be granted, `view`, `view@dev` in one namespace only, or \
         `dev/deployer`; comma separated [default: view, edit, admin]",
    )
    .action(ArgAction::Append)
    .value_delimiter(',')
}

fn principal(command: Command) -> Command {
    command
        .arg(text(
            "principal",
            "ID",
            "Who: the ARN of an IAM user or role, or `namespace/name` of a service account",
        ))
        .arg(text(
            "principal-type",
            "KIND",
            "iam_user, role or service_account; found from the id where only one fits",
        ))
}

fn grant() -> Command {
    principal(
        Command::new("grant")
            .about("Give a principal an entitlement; --plan only says what that would take")
            .arg(
                Arg::new("entitlement")
                    .value_name("ENTITLEMENT")
                    .required(true)
                    .help("Its id in the access file: cluster_role:view:dev:member"),
            ),
    )
}

fn revoke() -> Command {
    principal(
        Command::new("revoke")
            .about("Take it away again, by the grant's id or by entitlement and principal")
            .arg(
                Arg::new("grant")
                    .value_name("GRANT|ENTITLEMENT")
                    .required(true)
                    .help("The grant's id in the access file; with --principal the entitlement's"),
            ),
    )
}

fn audit() -> Command {
    Command::new("audit")
        .about("Look at audit logs")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("verify")
                .about("Check that no row of an audit log was changed or taken out")
                .arg(file("log", "FILE", "The audit log")),
        )
}

fn plugin() -> Command {
    Command::new("plugin")
        .about("Look at plugins, approve and build them")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("inspect")
                .about("Show what a plugin is, imports, asks for and may do")
                .arg(file("wasm", "FILE", "The plugin")),
        )
        .subcommand(
            Command::new("approve")
                .about("Approve this digest for groups of rights, in baton.lock")
                .arg(file("wasm", "FILE", "The plugin"))
                .arg(
                    text(
                        "group",
                        "GROUP",
                        "A group to approve; may repeat [default: read]",
                    )
                    .action(ArgAction::Append)
                    .value_parser(["read", "identities", "provision"]),
                )
                .arg(
                    Arg::new("yes")
                        .long("yes")
                        .short('y')
                        .action(ArgAction::SetTrue)
                        .help("Do not ask"),
                ),
        )
        .subcommand(
            Command::new("encode")
                .about("Make a component of a core module built for wasm32-unknown-unknown")
                .arg(file("module", "MODULE", "The core module"))
                .arg(
                    text("output", "FILE", "The component to write")
                        .short('o')
                        .required(true)
                        .value_parser(value_parser!(PathBuf)),
                ),
        )
}
