//! Flags, their environment names, and the two passes of parsing.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, value_parser};

use super::exit::{CliError, Exit};
use super::output::data;
use crate::plugin::{Lock, Plugin, attribute, attributes};
use crate::sandbox::contract::types::Descriptor;
use crate::sandbox::{Precompile, Sandbox, SandboxConfig};

/// Variables that are set and not empty: Baton tools count empty as unset.
pub(super) type Environment = BTreeMap<String, String>;

pub(super) fn environment(variables: Vec<(OsString, OsString)>) -> Environment {
    variables
        .into_iter()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(_, value)| !value.is_empty())
        .collect()
}

/// `eks-region` -> `BATON_EKS_REGION`.
pub(super) fn variable(flag: &str) -> String {
    format!("BATON_{}", flag.to_ascii_uppercase().replace('-', "_"))
}

/// What is needed before a plugin is loaded.
#[derive(Debug, Clone)]
pub(super) struct Early {
    pub(super) plugin: Option<PathBuf>,
    pub(super) lock: PathBuf,
    /// Whether somebody named the lock: one that is then missing is an error.
    pub(super) lock_named: bool,
    pub(super) log_level: String,
    pub(super) log_format: Option<String>,
    pub(super) json: bool,
}

/// First pass: never fails, so that logging is up before anything can.
pub(super) fn early(args: &[OsString], environment: &Environment) -> Early {
    let get = |flag: &str, short: Option<&str>| {
        let long = format!("--{flag}");
        let mut words = args.iter().skip(1).map(|arg| arg.to_string_lossy());
        while let Some(word) = words.next() {
            if word == "--" {
                break;
            }
            if word == long || short.is_some_and(|short| word == short) {
                return words.next().map(std::borrow::Cow::into_owned);
            }
            if let Some(value) = word.strip_prefix(&format!("{long}=")) {
                return Some(value.to_owned());
            }
        }
        environment.get(&variable(flag)).cloned()
    };
    let level = get("log-level", None).unwrap_or_default();
    let lock = get("lock", None).map(PathBuf::from);
    Early {
        plugin: get("plugin", None).map(PathBuf::from),
        lock_named: lock.is_some(),
        lock: lock.unwrap_or_else(|| PathBuf::from("baton.lock")),
        log_level: match level.as_str() {
            "debug" | "warn" | "error" | "trace" => level,
            _ => "info".into(),
        },
        log_format: get("log-format", None),
        json: get("format", None).as_deref() == Some("json"),
    }
}

/// One flag of the host or of an upstream kind.
struct Flag {
    name: &'static str,
    short: Option<char>,
    value: Option<&'static str>,
    default: Option<&'static str>,
    help: &'static str,
}

const fn text(name: &'static str, value: &'static str, help: &'static str) -> Flag {
    Flag {
        name,
        short: None,
        value: Some(value),
        default: None,
        help,
    }
}

const fn switch(name: &'static str, help: &'static str) -> Flag {
    Flag {
        name,
        short: None,
        value: None,
        default: None,
        help,
    }
}

/// The host's own flags, in the order of the help text.
const HOST: &[Flag] = &[
    text("plugin", "FILE", "The connector, a WebAssembly component"),
    text(
        "lock",
        "FILE",
        "Which plugins are approved for what [default: baton.lock]",
    ),
    Flag {
        short: Some('f'),
        default: Some("sync.c1z"),
        ..text("file", "FILE", "The access file to write")
    },
    text(
        "sync-resource-types",
        "KINDS",
        "Only these kinds of resources, comma separated",
    ),
    switch("skip-grants", "Write resources and entitlements only"),
    switch("skip-entitlements-and-grants", "Write resources only"),
    text(
        "c1z-temp-dir",
        "DIR",
        "Where work files are kept; needs room for the file, unpacked",
    ),
    Flag {
        default: Some("text"),
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
        ..text("log-level", "LEVEL", "debug, info, warn or error")
    },
    text(
        "log-format",
        "console|json",
        "Form of the log on standard error",
    ),
];

/// Names that no setting of a plugin may take: every flag and argument of
/// every command, and variables that mean something else.
pub(super) fn reserved() -> Vec<String> {
    fn names(command: &clap::Command, all: &mut Vec<String>) {
        all.extend(command.get_arguments().map(|arg| arg.get_id().to_string()));
        for below in command.get_subcommands() {
            names(below, all);
        }
    }
    let mut all = [
        "help",
        "version",
        "client-id",
        "provisioning",
        "ticketing",
        "tmpdir",
        "config",
        "resume",
    ]
    .map(str::to_owned)
    .to_vec();
    names(&command(None), &mut all);
    all
}

fn arg(flag: &Flag, heading: &'static str) -> Arg {
    let mut arg = Arg::new(flag.name)
        .long(flag.name)
        .global(true)
        .help_heading(heading)
        .help(with_variable(flag.help, &variable(flag.name)));
    if let Some(short) = flag.short {
        arg = arg.short(short);
    }
    match flag.value {
        Some(value) => {
            arg = arg.value_name(value).action(ArgAction::Set);
            if let Some(default) = flag.default {
                arg = arg.default_value(default);
            }
        }
        None => arg = arg.action(ArgAction::SetTrue),
    }
    arg
}

fn with_variable(help: &str, variable: &str) -> String {
    format!("{help} [${variable}]")
}

/// The whole command, with the settings of a plugin if there is one.
fn command(descriptor: Option<&Descriptor>) -> clap::Command {
    let mut command = clap::Command::new("baton-host")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Loads access-governance connectors as sandboxed WebAssembly components and writes who can do what")
        .long_about(
            "Loads an access-governance connector as a sandboxed WebAssembly component, lets it read one \
             system through upstreams that the host controls, and writes who can do what into an access \
             file (.c1z). Credentials never enter the sandbox.\n\n\
             Without a subcommand it syncs, as every Baton connector does.",
        )
        .after_help(
            "Every flag can be given as the environment variable in brackets. Secrets can only be given so: \
             BATON_EKS_SECRET_ACCESS_KEY, BATON_EXTERNAL_ID, BATON_GLOBAL_SECRET_ACCESS_KEY and \
             BATON_GLOBAL_BINDING_EXTERNAL_ID.\n\n\
             Examples:\n  \
             baton-host --plugin baton_eks.wasm --eks-region eu-west-1 --eks-cluster-name prod\n  \
             baton-host check --plugin baton_eks.wasm\n  \
             baton-host permissions --plugin baton_eks.wasm\n  \
             baton resources -f sync.c1z",
        )
        .disable_help_subcommand(true)
        .subcommand_value_name("COMMAND")
        .args(HOST.iter().map(|flag| arg(flag, "Options")));
    for setting in crate::credentials::settings::SETTINGS {
        command = command.arg(
            Arg::new(setting.name)
                .long(setting.name)
                .global(true)
                .value_name("VALUE")
                .hide(setting.secret)
                .help_heading("AWS credentials (never enter the sandbox)")
                .help(with_variable(setting.help, setting.env)),
        );
    }
    for setting in descriptor.iter().flat_map(|d| &d.settings) {
        let mut arg = Arg::new(setting.name.clone())
            .long(setting.name.clone())
            .global(true)
            .help_heading("Settings of the connector (these values enter the sandbox)")
            .help(setting_help(setting));
        arg = match setting.kind.as_str() {
            "bool" => arg
                .action(ArgAction::Set)
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true")
                .value_parser(["true", "false"]),
            "int" => arg
                .value_parser(value_parser!(i64))
                .allow_negative_numbers(true),
            "choice" => arg.value_parser(
                attributes(&setting.attributes, "choices")
                    .map(str::to_owned)
                    .collect::<Vec<_>>(),
            ),
            _ => arg.value_name("VALUE"),
        };
        command = command.arg(arg);
    }
    command
        .subcommand(clap::Command::new("sync").about("Sync into the access file; the same as no command"))
        .subcommand(clap::Command::new("check").about("Go through credentials, STS, EKS, TLS, token and RBAC, and say what is missing"))
        .subcommand(
            clap::Command::new("permissions")
                .about("Print the IAM policy, trust policy, access entry and ClusterRole that the plugin needs")
                .arg(Arg::new("no-config-maps").long("no-config-maps").action(ArgAction::SetTrue).help("Without listing config maps (optional)"))
                .arg(Arg::new("account-id").long("account-id").value_name("ID").help("The account, where AWS cannot be asked")),
        )
        .subcommand(clap::Command::new("capabilities").about("Print the connector's kinds and capabilities as JSON"))
        .subcommand(clap::Command::new("config").about("Print the connector's settings as JSON"))
        .subcommand(
            clap::Command::new("plugin")
                .about("Look at plugins, approve and build them")
                .subcommand_required(true)
                .arg_required_else_help(true)
                .subcommand(clap::Command::new("inspect").about("Show what a plugin is, imports, asks for and may do").arg(file_arg()))
                .subcommand(
                    clap::Command::new("approve")
                        .about("Approve this digest for groups of rights, in baton.lock")
                        .arg(file_arg())
                        .arg(Arg::new("group").long("group").value_name("GROUP").action(ArgAction::Append).value_parser(["read", "identities", "provision"]).help("A group to approve; may repeat [default: read]"))
                        .arg(Arg::new("yes").long("yes").short('y').action(ArgAction::SetTrue).help("Do not ask")),
                )
                .subcommand(
                    clap::Command::new("encode")
                        .about("Make a component of a core module built for wasm32-unknown-unknown")
                        .arg(Arg::new("module").value_name("MODULE").required(true).value_parser(value_parser!(PathBuf)))
                        .arg(Arg::new("output").long("output").short('o').value_name("FILE").required(true).value_parser(value_parser!(PathBuf)).help("The component to write")),
                ),
        )
        .subcommand(
            clap::Command::new("demo")
                .about("Sync a simulated company's clusters: needs the program cloud-sim beside this one")
                .arg(Arg::new("keep").long("keep").value_name("DIR").value_parser(value_parser!(PathBuf)).help("Keep the files in this folder")),
        )
        .subcommand(
            clap::Command::new("completion")
                .about("Print shell completions")
                .arg(Arg::new("shell").required(true).value_parser(value_parser!(clap_complete::Shell))),
        )
}

fn file_arg() -> Arg {
    Arg::new("wasm")
        .value_name("FILE")
        .required(true)
        .value_parser(value_parser!(PathBuf))
        .help("The plugin")
}

fn setting_help(setting: &crate::sandbox::contract::types::SettingSpec) -> String {
    let mut help =
        super::output::plain(attribute(&setting.attributes, "description").unwrap_or(""));
    if let Some(default) = attribute(&setting.attributes, "default") {
        help.push_str(&format!(" [default: {}]", super::output::plain(default)));
    }
    if setting.required {
        help = format!("required: {help}");
    }
    with_variable(&help, &variable(&setting.name))
}

/// What to do.
#[derive(Debug)]
pub(super) enum Command {
    Sync,
    Check,
    Permissions {
        config_maps: bool,
        account: Option<String>,
    },
    Capabilities,
    Config,
    PluginInspect(PathBuf),
    PluginApprove(Approve),
    PluginEncode {
        module: PathBuf,
        output: PathBuf,
    },
    Demo {
        keep: Option<PathBuf>,
    },
    Completion(clap_complete::Shell),
}

/// `plugin approve`.
#[derive(Debug)]
pub(super) struct Approve {
    pub(super) file: PathBuf,
    pub(super) groups: Vec<String>,
    pub(super) yes: bool,
}

/// A parsed command line and what was loaded for it.
pub(super) struct Invocation {
    matches: ArgMatches,
    pub(super) environment: Environment,
    pub(super) sandbox: Sandbox,
    pub(super) lock: Lock,
    plugin: Option<Plugin>,
}

/// Either something to run, or clap has printed help or a version.
pub(super) enum Parsed {
    Run(Box<Invocation>),
    Printed(Exit),
}

impl Invocation {
    pub(super) async fn parse(
        args: Vec<OsString>,
        environment: Environment,
        early: Early,
    ) -> Result<Parsed, CliError> {
        let own = std::env::current_exe().map_err(|error| {
            CliError::new(
                Exit::Failure,
                format!("cannot find this program, which tries unknown plugins first: {error}"),
            )
        })?;
        let sandbox = Sandbox::new(SandboxConfig {
            slots: 0,
            precompile: Precompile::Child(own),
        })?;
        let lock = Lock::read(&early.lock)?;
        // Commands that take the plugin's file as an argument, or none at all,
        // must not fail for a variable that names another.
        let lenient = command(None)
            .ignore_errors(true)
            .try_get_matches_from(&args)
            .ok();
        let name = lenient.as_ref().and_then(ArgMatches::subcommand_name);
        let wants_plugin = !matches!(name, Some("plugin" | "completion" | "demo"));
        if wants_plugin && early.lock_named && !lock.exists() {
            // Without a lock any plugin runs; whoever names one means it.
            return Err(CliError::new(
                Exit::Usage,
                format!("there is no lock file {}", early.lock.display()),
            )
            .hint("`baton-host plugin approve FILE` writes it; without --lock and BATON_LOCK none is needed"));
        }
        let plugin = match &early.plugin {
            Some(path) if wants_plugin => {
                Some(Plugin::load(&sandbox, path, &lock, &reserved()).await)
            }
            _ => None,
        };
        let (plugin, failed) = match plugin {
            Some(Ok(plugin)) => (Some(plugin), None),
            Some(Err(error)) => (None, Some(error)),
            None => (None, None),
        };
        let descriptor = plugin.as_ref().map(|p| p.component.descriptor());
        let matches = match command(descriptor).try_get_matches_from(&args) {
            Ok(matches) => matches,
            Err(error) => {
                use clap::error::ErrorKind;
                let printed = matches!(
                    error.kind(),
                    ErrorKind::DisplayHelp
                        | ErrorKind::DisplayVersion
                        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
                );
                // Unknown flags may well be the settings of a plugin that did
                // not load: its reason comes first.
                if let (Some(failed), false) = (failed, printed) {
                    return Err(failed.into());
                }
                let _ = error.print();
                return Ok(Parsed::Printed(if printed {
                    Exit::Success
                } else {
                    Exit::Usage
                }));
            }
        };
        if let Some(failed) = failed {
            return Err(failed.into());
        }
        let shown = crate::credentials::settings::SETTINGS
            .iter()
            .find(|setting| {
                setting.secret
                    && matches.value_source(setting.name)
                        == Some(clap::parser::ValueSource::CommandLine)
            });
        if let Some(setting) = shown {
            return Err(CliError::new(
                Exit::Usage,
                format!(
                    "--{} is a secret, and everybody on the machine can read a command line",
                    setting.name
                ),
            )
            .hint(format!("give it as {}", setting.env)));
        }
        Ok(Parsed::Run(Box::new(Invocation {
            matches,
            environment,
            sandbox,
            lock,
            plugin,
        })))
    }

    /// The plugin of the command.
    pub(super) fn plugin(&self) -> Result<&Plugin, CliError> {
        self.plugin.as_ref().ok_or_else(|| {
            CliError::new(Exit::Usage, "no plugin was given")
                .hint("name one with --plugin baton_eks.wasm or BATON_PLUGIN")
        })
    }

    /// A flag's value: the command line, then the environment.
    pub(super) fn value(&self, flag: &str) -> Option<String> {
        use clap::parser::ValueSource;
        let given = self.matches.value_source(flag) == Some(ValueSource::CommandLine);
        let own = || {
            let mut raw = self.matches.try_get_raw(flag).ok()??;
            Some(raw.next()?.to_string_lossy().into_owned()).filter(|value| !value.is_empty())
        };
        let outside = || self.environment.get(&variable(flag)).cloned();
        if given { own() } else { outside().or_else(own) }
    }

    /// A switch: the command line, then the environment.
    pub(super) fn switch(&self, flag: &str) -> Result<bool, CliError> {
        if self.matches.try_get_one::<bool>(flag).ok().flatten() == Some(&true) {
            return Ok(true);
        }
        match self.environment.get(&variable(flag)).map(String::as_str) {
            None | Some("false" | "0" | "no") => Ok(false),
            Some("true" | "1" | "yes") => Ok(true),
            Some(_) => Err(CliError::new(
                Exit::Usage,
                format!("{} is neither true nor false", variable(flag)),
            )),
        }
    }

    pub(super) fn command(&self) -> Command {
        let path = |matches: &ArgMatches, name: &str| {
            matches
                .get_one::<PathBuf>(name)
                .cloned()
                .unwrap_or_default()
        };
        match self.matches.subcommand() {
            Some(("check", _)) => Command::Check,
            Some(("permissions", matches)) => Command::Permissions {
                config_maps: !matches.get_flag("no-config-maps"),
                account: matches.get_one::<String>("account-id").cloned(),
            },
            Some(("capabilities", _)) => Command::Capabilities,
            Some(("config", _)) => Command::Config,
            Some(("demo", matches)) => Command::Demo {
                keep: matches.get_one::<PathBuf>("keep").cloned(),
            },
            Some(("completion", matches)) => Command::Completion(
                matches
                    .get_one::<clap_complete::Shell>("shell")
                    .copied()
                    .unwrap_or(clap_complete::Shell::Bash),
            ),
            Some(("plugin", matches)) => match matches.subcommand() {
                Some(("encode", matches)) => Command::PluginEncode {
                    module: path(matches, "module"),
                    output: path(matches, "output"),
                },
                Some(("approve", matches)) => Command::PluginApprove(Approve {
                    file: path(matches, "wasm"),
                    groups: matches
                        .get_many::<String>("group")
                        .map(|groups| groups.cloned().collect())
                        .unwrap_or_default(),
                    yes: matches.get_flag("yes"),
                }),
                other => Command::PluginInspect(
                    other
                        .map(|(_, matches)| path(matches, "wasm"))
                        .unwrap_or_default(),
                ),
            },
            _ => Command::Sync,
        }
    }
}

/// Completions without the settings of any plugin.
pub(super) fn completion(shell: clap_complete::Shell) -> Exit {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command(None), "baton-host", &mut text);
    data(String::from_utf8_lossy(&text).trim_end());
    Exit::Success
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    #[test]
    fn the_command_is_well_formed() {
        command(None).debug_assert();
    }

    /// `permissions` once took the text of a plugin's number for its own.
    #[test]
    fn no_setting_can_take_the_place_of_an_argument() {
        let reserved = reserved();
        for name in [
            "file",
            "role-arn",
            "external-id",
            "account-id",
            "no-config-maps",
            "group",
            "yes",
            "wasm",
            "output",
            "module",
            "keep",
            "shell",
            "help",
            "tmpdir",
        ] {
            assert!(reserved.iter().any(|taken| taken == name), "{name}");
        }
        for name in ["eks-region", "eks-cluster-name", "namespace-entitlements"] {
            assert!(!reserved.iter().any(|taken| taken == name), "{name}");
        }
    }

    #[test]
    fn a_lock_that_was_named_is_told_from_the_one_that_may_be_absent() {
        let env = Environment::new();
        assert!(!early(&words(&["baton-host", "check"]), &env).lock_named);
        assert!(early(&words(&["baton-host", "--lock=a.lock"]), &env).lock_named);
        let env = Environment::from([("BATON_LOCK".to_owned(), "a.lock".to_owned())]);
        assert!(early(&words(&["baton-host", "check"]), &env).lock_named);
    }

    #[test]
    fn the_plugin_is_found_wherever_it_stands() {
        let env = Environment::from([("BATON_PLUGIN".to_owned(), "env.wasm".to_owned())]);
        let find = |args: &[&str]| early(&words(args), &env).plugin.unwrap();
        assert_eq!(
            find(&["baton-host", "sync", "--plugin", "a.wasm"]),
            PathBuf::from("a.wasm")
        );
        assert_eq!(
            find(&["baton-host", "--plugin=b.wasm", "check"]),
            PathBuf::from("b.wasm")
        );
        assert_eq!(find(&["baton-host", "check"]), PathBuf::from("env.wasm"));
    }

    #[test]
    fn empty_variables_count_as_unset() {
        let env = environment(vec![
            ("BATON_FILE".into(), "".into()),
            ("A".into(), "b".into()),
        ]);
        assert_eq!(env.len(), 1);
    }
}
