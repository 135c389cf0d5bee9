//! A command line and its environment, parsed in two passes: what there is
//! (`flags`, `tree`) depends on the plugin that the line names.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Instant;

use clap::ArgMatches;

use super::exit::{CliError, Exit};
use super::flags::{own_flags, variable};
use super::output::{data, say};
use super::progress::waiting;
use super::tree::{command, reserved};
use crate::plugin::{Lock, Plugin};
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

/// A parsed command line and what was loaded for it.
pub(super) struct Invocation {
    pub(super) matches: ArgMatches,
    pub(super) environment: Environment,
    pub(super) lock: Lock,
    /// When the command began.
    pub(super) started: Instant,
    pub(super) loaded: Option<(Sandbox, Plugin)>,
}

/// Either something to run, or clap has printed help or a version.
pub(super) enum Parsed {
    Run(Box<Invocation>),
    Printed(Exit),
}

/// The engine, made only where a plugin is loaded: it costs time and address
/// space.
pub(super) fn sandbox() -> Result<Sandbox, CliError> {
    let own = std::env::current_exe().map_err(|error| {
        CliError::new(
            Exit::Failure,
            format!("cannot find this program, which tries unknown plugins first: {error}"),
        )
    })?;
    Ok(Sandbox::new(SandboxConfig {
        slots: 0,
        precompile: Precompile::Child(own),
    })?)
}

/// The lock and, where a command wants it, the plugin.
async fn load(
    early: &Early,
    wants_plugin: bool,
) -> Result<(Lock, Option<(Sandbox, Plugin)>), CliError> {
    let lock = Lock::read(&early.lock)?;
    if wants_plugin && early.lock_named && !lock.exists() {
        // Without a lock any plugin runs; whoever names one means it.
        return Err(CliError::new(
            Exit::Usage,
            format!("there is no lock file {}", early.lock.display()),
        )
        .hint("`baton-host plugin approve FILE` writes it; without --lock and BATON_LOCK none is needed"));
    }
    let Some(path) = early.plugin.as_ref().filter(|_| wants_plugin) else {
        return Ok((lock, None));
    };
    let sandbox = sandbox()?;
    let waiting = waiting(format!("compiling {}", path.display()));
    let plugin = Plugin::load(&sandbox, path, &lock, &reserved()).await?;
    drop(waiting);
    Ok((lock, Some((sandbox, plugin))))
}

/// The subcommand as it stands in the arguments, where they do not parse.
fn named(args: &[OsString]) -> Option<String> {
    let root = command(None, None);
    args.iter()
        .skip(1)
        .filter_map(|arg| arg.to_str())
        .find(|arg| root.find_subcommand(arg).is_some())
        .map(str::to_owned)
}

/// Whether this may become a grant or a revoke, as far as that can be told
/// before the plugin is loaded.
pub(super) fn asks_for_change(args: &[OsString], environment: &Environment) -> bool {
    const FLAGS: [&str; 2] = ["grant-entitlement", "revoke-grant"];
    match named(args).as_deref() {
        Some("grant" | "revoke") => true,
        None | Some("sync") => FLAGS.iter().any(|flag| {
            let long = format!("--{flag}");
            environment.contains_key(&variable(flag))
                || args
                    .iter()
                    .any(|arg| arg.to_string_lossy().starts_with(&long))
        }),
        Some(_) => false,
    }
}

/// A flag's value: the command line, then the environment.
fn value(matches: &ArgMatches, environment: &Environment, flag: &str) -> Option<String> {
    use clap::parser::ValueSource;
    let given = matches.value_source(flag) == Some(ValueSource::CommandLine);
    let own = || {
        let mut raw = matches.try_get_raw(flag).ok()??;
        Some(raw.next()?.to_string_lossy().into_owned()).filter(|value| !value.is_empty())
    };
    let outside = || environment.get(&variable(flag)).cloned();
    if given { own() } else { outside().or_else(own) }
}

/// Flags with few values have one of them, wherever it comes from. Said
/// before the plugin is compiled.
fn choices(matches: &ArgMatches, environment: &Environment) -> Result<(), CliError> {
    for flag in own_flags().filter(|flag| !flag.choices.is_empty()) {
        if let Some(value) = value(matches, environment, flag.name)
            && !flag.choices.contains(&value.as_str())
        {
            let value = super::output::plain(&value);
            return Err(
                CliError::new(Exit::Usage, format!("--{} cannot be `{value}`", flag.name))
                    .hint(format!("it can be {}", flag.choices.join(", "))),
            );
        }
    }
    Ok(())
}

/// What clap says, as one sentence and one hint.
fn mistake(error: &clap::Error, plugin: bool) -> CliError {
    use clap::error::ErrorKind;
    let text = error.render().to_string();
    let mut paragraphs = text.split("\n\n");
    let first = paragraphs.next().unwrap_or_default();
    let words: Vec<&str> = first.split_whitespace().collect();
    let message = words.join(" ");
    let tip = paragraphs.find_map(|text| text.trim().strip_prefix("tip: "));
    let hint = match (tip, error.kind()) {
        (tip, ErrorKind::UnknownArgument) if !plugin => format!(
            "{}a connector's own flags are known when it is named with --plugin or BATON_PLUGIN",
            tip.map(|tip| format!("{tip}; ")).unwrap_or_default()
        ),
        (Some(tip), _) => tip.to_owned(),
        (None, _) => "`baton-host --help` lists what there is".to_owned(),
    };
    CliError::new(
        Exit::Usage,
        message.strip_prefix("error: ").unwrap_or(&message),
    )
    .hint(hint)
}

impl Invocation {
    pub(super) async fn parse(
        args: Vec<OsString>,
        environment: Environment,
        early: Early,
    ) -> Result<Parsed, CliError> {
        use clap::error::ErrorKind;
        let started = Instant::now();
        // Commands that take the plugin's file as an argument, or none at all,
        // must not fail for a variable that names another.
        let lenient = command(None, None)
            .ignore_errors(true)
            .try_get_matches_from(&args);
        if let Ok(matches) = &lenient {
            choices(matches, &environment)?;
        }
        let name = match &lenient {
            Ok(matches) => matches.subcommand_name().map(str::to_owned),
            Err(_) => named(&args),
        };
        let name = name.as_deref();
        let version = matches!(&lenient, Err(error) if error.kind() == ErrorKind::DisplayVersion);
        let wants_plugin = !version
            && !matches!(
                name,
                Some(
                    "plugin"
                        | "audit"
                        | "review"
                        | "fleet"
                        | "serve"
                        | "health-check"
                        | "completion"
                )
            );
        if name == Some("demo") && super::demo::proxied() {
            return super::demo::without_proxies(&args).map(Parsed::Printed);
        }
        let loaded = load(&early, wants_plugin).await;
        let descriptor = loaded
            .as_ref()
            .ok()
            .and_then(|(_, loaded)| loaded.as_ref())
            .map(|(_, plugin)| plugin.component.descriptor());
        let matches = match command(descriptor, name).try_get_matches_from(&args) {
            Ok(matches) => matches,
            Err(error) => {
                return match (error.kind(), loaded) {
                    (ErrorKind::DisplayHelp | ErrorKind::DisplayVersion, loaded) => {
                        let _ = error.print();
                        if let (Err(reason), true) = (loaded, wants_plugin) {
                            say(&format!(
                                "\nwithout the settings of the connector: {}",
                                reason.message
                            ));
                        }
                        Ok(Parsed::Printed(Exit::Success))
                    }
                    (ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand, _) => {
                        let _ = error.print();
                        Ok(Parsed::Printed(Exit::Usage))
                    }
                    // Unknown flags may well be the settings of a plugin that
                    // did not load: its reason comes first.
                    (_, Err(reason)) => Err(reason),
                    (_, Ok((_, loaded))) => Err(mistake(&error, loaded.is_some())),
                };
            }
        };
        let (lock, loaded) = loaded?;
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
            lock,
            started,
            loaded,
        })))
    }

    /// The plugin of the command.
    pub(super) fn plugin(&self) -> Result<&Plugin, CliError> {
        self.loaded().map(|(_, plugin)| plugin)
    }

    /// The same with the engine that runs it.
    pub(super) fn loaded(&self) -> Result<(&Sandbox, &Plugin), CliError> {
        self.loaded
            .as_ref()
            .map(|(sandbox, plugin)| (sandbox, plugin))
            .ok_or_else(|| {
                CliError::new(Exit::Usage, "no plugin was given")
                    .hint("name one with --plugin baton_eks.wasm or BATON_PLUGIN")
            })
    }

    /// The same plugin without arguments and in another environment.
    pub(super) fn within(&self, environment: Environment) -> Result<Invocation, CliError> {
        let (sandbox, plugin) = self.loaded()?;
        let matches = command(Some(plugin.component.descriptor()), None)
            .try_get_matches_from(["baton-host"])
            .map_err(|error| CliError::new(Exit::Failure, error.to_string()))?;
        Ok(Invocation {
            matches,
            environment,
            lock: Lock::read(self.lock.path())?,
            started: self.started,
            loaded: Some((sandbox.clone(), plugin.clone())),
        })
    }

    /// The same with another group approved, and whatever the plugin declares
    /// in it, as an operator would in a lock.
    pub(super) fn approving(mut self, group: &str) -> Invocation {
        if let Some((_, plugin)) = &mut self.loaded {
            plugin.approval.groups.insert(group.to_owned());
            plugin.approval.rights = None;
        }
        self
    }

    /// A flag's value: the command line, then the environment.
    pub(super) fn value(&self, flag: &str) -> Option<String> {
        value(&self.matches, &self.environment, flag)
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

    /// A list: every time that it was given, with commas between values.
    pub(super) fn values(&self, flag: &str) -> Vec<String> {
        use clap::parser::ValueSource;
        let given = self.matches.value_source(flag) == Some(ValueSource::CommandLine);
        let texts: Vec<String> = match self.matches.try_get_many::<String>(flag) {
            Ok(Some(texts)) if given => texts.cloned().collect(),
            _ => self
                .environment
                .get(&variable(flag))
                .cloned()
                .into_iter()
                .collect(),
        };
        texts
            .iter()
            .flat_map(|text| text.split(','))
            .map(str::trim)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
            .collect()
    }
}

/// Completions without the settings of any plugin.
pub(super) fn completion(shell: clap_complete::Shell) -> Exit {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command(None, None), "baton-host", &mut text);
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
        command(None, None).debug_assert();
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
            "principal",
            "provisioning",
            "protect",
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
    fn a_change_is_known_before_the_plugin_is_loaded() {
        let none = Environment::new();
        let asks = |args: &[&str]| asks_for_change(&words(args), &none);
        assert!(asks(&["baton-host", "-f", "x", "grant", "e"]));
        assert!(asks(&["baton-host", "revoke", "g"]));
        assert!(asks(&["baton-host", "--revoke-grant=g"]));
        assert!(asks(&["baton-host", "sync", "--grant-entitlement", "e"]));
        for args in [
            &["baton-host"][..],
            &["baton-host", "check"],
            &["baton-host", "sync"],
        ] {
            assert!(!asks(args), "{args:?}");
        }
        let set = Environment::from([("BATON_REVOKE_GRANT".to_owned(), "g".to_owned())]);
        assert!(asks_for_change(&words(&["baton-host"]), &set));
        assert!(!asks_for_change(&words(&["baton-host", "check"]), &set));
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

    fn help(args: &[&str]) -> String {
        let name = named(&words(args));
        command(None, name.as_deref())
            .term_width(80)
            .try_get_matches_from(args)
            .unwrap_err()
            .render()
            .to_string()
    }

    #[test]
    fn help_fits_a_terminal_and_shows_what_a_command_heeds() {
        let root = help(&["baton-host", "--help"]);
        assert_eq!(root, help(&["baton-host", "-h"]));
        assert!(root.lines().all(|line| line.len() <= 80), "{root}");
        assert_eq!(root.matches("Options:\n").count(), 1, "{root}");
        for (args, has, not) in [
            (&["baton-host", "sync", "-h"][..], "--skip-grants", "none"),
            (
                &["baton-host", "check", "-h"],
                "--role-arn",
                "--skip-grants",
            ),
            (&["baton-host", "config", "-h"], "--plugin", "--role-arn"),
            (
                &["baton-host", "plugin", "encode", "-h"],
                "--output",
                "--role-arn",
            ),
            (&["baton-host", "completion", "-h"], "zsh", "--plugin"),
        ] {
            let text = help(args);
            assert!(text.contains(has), "{args:?}: {text}");
            assert!(!text.contains(not), "{args:?}: {text}");
            assert!(text.contains("--help"), "{args:?}: {text}");
        }
    }

    #[test]
    fn a_flag_of_few_values_has_one_of_them() {
        let matches = |args: &[&str]| command(None, None).try_get_matches_from(args).unwrap();
        let none = Environment::new();
        let json = matches(&["baton-host", "--format", "json"]);
        choices(&json, &none).unwrap();
        let xml = matches(&["baton-host", "check", "--format", "xml"]);
        let error = choices(&xml, &none).unwrap_err();
        assert_eq!(error.message, "--format cannot be `xml`");
        assert_eq!(error.hint.unwrap(), "it can be text, json");
        let loud = Environment::from([("BATON_LOG_LEVEL".to_owned(), "loud".to_owned())]);
        let error = choices(&json, &loud).unwrap_err();
        assert_eq!(error.message, "--log-level cannot be `loud`");
    }

    #[test]
    fn a_mistake_is_one_sentence_with_a_next_step() {
        let says = |args: &[&str], plugin| {
            let error = command(None, None).try_get_matches_from(args).unwrap_err();
            let error = mistake(&error, plugin);
            (error.message, error.hint.unwrap())
        };
        let (message, hint) = says(&["baton-host", "check", "--eks-regoin", "x"], false);
        assert_eq!(message, "unexpected argument '--eks-regoin' found");
        assert!(hint.contains("--plugin"), "{hint}");
        let (_, hint) = says(&["baton-host", "--skip-grant"], true);
        assert_eq!(hint, "a similar argument exists: '--skip-grants'");
        let (message, _) = says(&["baton-host", "plugin", "encode"], true);
        assert_eq!(
            message,
            "the following required arguments were not provided: --output <FILE> <MODULE>"
        );
        let (message, hint) = says(&["baton-host", "chekc"], true);
        assert_eq!(message, "unrecognized subcommand 'chekc'");
        assert_eq!(hint, "a similar subcommand exists: 'check'");
    }
}
