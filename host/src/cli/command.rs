//! What a command line asks for, as one value.

use std::path::PathBuf;

use clap::ArgMatches;

use super::args::Invocation;
use super::exit::{CliError, Exit};
use super::flags::own_flags;

/// What to do.
#[derive(Debug, PartialEq)]
pub(super) enum Command {
    Sync,
    /// With the roles that may be granted; none: the usual ones.
    Check(Vec<String>),
    Permissions(Permissions),
    Grant(Wanted),
    Revoke(Wanted),
    AuditVerify(PathBuf),
    Review(ArgMatches),
    Serve(ArgMatches),
    HealthCheck(ArgMatches),
    Fleet(ArgMatches),
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

/// `permissions`.
#[derive(Debug, PartialEq)]
pub(super) struct Permissions {
    pub(super) config_maps: bool,
    pub(super) account: Option<String>,
    /// Roles that may be granted; none: the usual ones.
    pub(super) grantable: Vec<String>,
    /// `API`, `API_AND_CONFIG_MAP` or `CONFIG_MAP`, where it is known.
    pub(super) mode: Option<String>,
}

/// A grant that shall be or shall no longer be, in ids of the access file.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Wanted {
    /// The id of a grant.
    Grant(String),
    /// The id of an entitlement, and who.
    Pair {
        entitlement: String,
        principal: String,
        /// Its kind, where it was said.
        kind: Option<String>,
    },
}

/// `plugin approve`.
#[derive(Debug, PartialEq)]
pub(super) struct Approve {
    pub(super) file: PathBuf,
    pub(super) groups: Vec<String>,
    pub(super) yes: bool,
}

impl Invocation {
    pub(super) fn command(&self) -> Result<Command, CliError> {
        self.empty()?;
        let command = self.subcommand()?;
        if matches!(command, Command::Grant(_) | Command::Revoke(_))
            && self.switch("plan")?
            && self.switch("dry-run")?
        {
            return Err(CliError::new(
                Exit::Usage,
                "--plan and --dry-run exclude each other",
            )
            .hint("--plan sends nothing but reads; --dry-run lets Kubernetes check, and needs --provisioning"));
        }
        Ok(command)
    }

    fn subcommand(&self) -> Result<Command, CliError> {
        let path = |matches: &ArgMatches, name: &str| {
            matches
                .get_one::<PathBuf>(name)
                .cloned()
                .unwrap_or_default()
        };
        let text = |matches: &ArgMatches, name: &str| matches.get_one::<String>(name).cloned();
        let texts = |matches: &ArgMatches, name: &str| {
            matches
                .get_many::<String>(name)
                .map(|texts| texts.cloned().collect())
                .unwrap_or_default()
        };
        Ok(match self.matches.subcommand() {
            Some((name @ ("grant" | "revoke"), _)) if self.asks_twice() => {
                return Err(CliError::new(
                    Exit::Usage,
                    format!(
                        "`{name}` takes one change, and --grant-entitlement, --grant-principal, --grant-principal-type and --revoke-grant ask for another"
                    ),
                )
                .hint("give one command for each change"));
            }
            Some(("check", matches)) => Command::Check(texts(matches, "grantable")),
            Some(("permissions", matches)) => Command::Permissions(Permissions {
                config_maps: !matches.get_flag("no-config-maps"),
                account: text(matches, "account-id"),
                grantable: texts(matches, "grantable"),
                mode: text(matches, "authentication-mode"),
            }),
            Some(("grant", matches)) => Command::Grant(full(pair(
                text(matches, "entitlement").unwrap_or_default(),
                text(matches, "principal").ok_or_else(whom)?,
                text(matches, "principal-type"),
            ))?),
            Some(("revoke", matches)) => {
                let id = text(matches, "grant").unwrap_or_default();
                Command::Revoke(full(match text(matches, "principal") {
                    None => Wanted::Grant(id),
                    Some(principal) => pair(id, principal, text(matches, "principal-type")),
                })?)
            }
            Some(("audit", matches)) => Command::AuditVerify(
                matches
                    .subcommand()
                    .map(|(_, matches)| path(matches, "log"))
                    .unwrap_or_default(),
            ),
            Some(("fleet", matches)) => Command::Fleet(matches.clone()),
            Some(("review", matches)) => Command::Review(matches.clone()),
            Some(("serve", matches)) => Command::Serve(matches.clone()),
            Some(("health-check", matches)) => Command::HealthCheck(matches.clone()),
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
                    groups: texts(matches, "group"),
                    yes: matches.get_flag("yes"),
                }),
                other => Command::PluginInspect(
                    other
                        .map(|(_, matches)| path(matches, "wasm"))
                        .unwrap_or_default(),
                ),
            },
            _ => self.one_change()?,
        })
    }

    /// Whether Baton's flags for one change were given, too.
    fn asks_twice(&self) -> bool {
        ONE_CHANGE.iter().any(|flag| self.given(flag))
    }

    fn given(&self, flag: &str) -> bool {
        use clap::parser::ValueSource;
        self.matches.value_source(flag) == Some(ValueSource::CommandLine)
    }

    /// A flag that was given and says nothing is a mistake, often a variable
    /// of a script that is not set: it must not count as a flag that is not
    /// there. Variables may be empty.
    fn empty(&self) -> Result<(), CliError> {
        for flag in own_flags().filter(|flag| flag.value.is_some() && self.given(flag.name)) {
            let texts = self.matches.get_raw(flag.name).into_iter().flatten();
            let mut texts = texts.map(|text| text.to_string_lossy());
            if texts.any(|text| text.split(',').all(|part| part.trim().is_empty())) {
                return Err(
                    CliError::new(Exit::Usage, format!("--{} is empty", flag.name))
                        .hint("give it a value, or leave it away"),
                );
            }
        }
        Ok(())
    }

    /// Baton's flags for one change; without any of them it is a sync.
    fn one_change(&self) -> Result<Command, CliError> {
        let wrong = |message: &str| Err(CliError::new(Exit::Usage, message));
        let [entitlement, principal, kind, grant] = ONE_CHANGE.map(|flag| self.value(flag));
        match (entitlement, principal, kind, grant) {
            (None, None, None, None) => {
                for flag in ["plan", "dry-run"] {
                    if self.switch(flag)? {
                        return wrong(&format!(
                            "--{flag} is for a grant or a revoke, not for a sync"
                        ))
                        .map_err(|error| {
                            error.hint(
                                "`baton-host grant --help` and `baton-host revoke --help` say how",
                            )
                        });
                    }
                }
                Ok(Command::Sync)
            }
            (None, None, None, Some(grant)) => Ok(Command::Revoke(Wanted::Grant(grant))),
            (Some(entitlement), Some(principal), kind, None) => {
                Ok(Command::Grant(pair(entitlement, principal, kind)))
            }
            (_, _, _, Some(_)) => {
                wrong("--grant-entitlement and --revoke-grant exclude each other")
            }
            (Some(_), None, _, None) => {
                wrong("--grant-entitlement needs --grant-principal: who shall hold it")
            }
            (None, _, _, None) => {
                wrong("--grant-principal needs --grant-entitlement: what it shall hold")
            }
        }
    }
}

const ONE_CHANGE: [&str; 4] = [
    "grant-entitlement",
    "grant-principal",
    "grant-principal-type",
    "revoke-grant",
];

/// Refuses names that are none.
fn full(wanted: Wanted) -> Result<Wanted, CliError> {
    let parts = match &wanted {
        Wanted::Grant(id) => vec![("the id of the grant", id)],
        Wanted::Pair {
            entitlement,
            principal,
            kind,
        } => [
            ("the id of the entitlement", Some(entitlement)),
            ("--principal", Some(principal)),
            ("--principal-type", kind.as_ref()),
        ]
        .into_iter()
        .filter_map(|(what, text)| Some((what, text?)))
        .collect(),
    };
    match parts.iter().find(|(_, text)| text.trim().is_empty()) {
        Some((what, _)) => Err(CliError::new(Exit::Usage, format!("{what} is empty"))
            .hint("is a variable of the script not set?")),
        None => Ok(wanted),
    }
}

fn pair(entitlement: String, principal: String, kind: Option<String>) -> Wanted {
    Wanted::Pair {
        entitlement,
        principal,
        kind,
    }
}

fn whom() -> CliError {
    CliError::new(
        Exit::Usage,
        "a grant needs --principal: who shall hold the entitlement",
    )
    .hint("--principal arn:aws:iam::111122223333:role/dev, or namespace/name of a service account; the id of a grant is for `revoke`, here it is the entitlement's")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::time::Instant;

    use super::super::args::Environment;
    use super::super::tree::command;
    use super::*;
    use crate::plugin::Lock;

    fn parsed(args: &[&str], variables: &[(&str, &str)]) -> Result<Command, CliError> {
        let args = std::iter::once(&"baton-host").chain(args);
        let folder = tempfile::tempdir().unwrap();
        let environment: Environment = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Invocation {
            matches: command(None, None).try_get_matches_from(args).unwrap(),
            environment,
            lock: Lock::read(&folder.path().join("baton.lock")).unwrap(),
            started: Instant::now(),
            loaded: None,
        }
        .command()
    }

    fn ana(entitlement: &str, kind: Option<&str>) -> Wanted {
        pair(entitlement.into(), "ana".into(), kind.map(str::to_owned))
    }

    #[test]
    fn both_ways_of_asking_for_a_change_are_the_same() {
        let grant = |kind| Command::Grant(ana("e", kind));
        let flags = ["--grant-entitlement", "e", "--grant-principal", "ana"];
        assert_eq!(parsed(&flags, &[]).unwrap(), grant(None));
        let with_kind = [&flags[..], &["--grant-principal-type", "iam_user"]].concat();
        assert_eq!(parsed(&with_kind, &[]).unwrap(), grant(Some("iam_user")));
        let variables = [
            ("BATON_GRANT_ENTITLEMENT", "e"),
            ("BATON_GRANT_PRINCIPAL", "ana"),
            ("BATON_GRANT_PRINCIPAL_TYPE", "iam_user"),
        ];
        assert_eq!(parsed(&[], &variables).unwrap(), grant(Some("iam_user")));
        // They are for no command, and for the one that is the same.
        assert_eq!(
            parsed(&["sync"], &variables).unwrap(),
            grant(Some("iam_user"))
        );
        assert_eq!(parsed(&["config"], &variables).unwrap(), Command::Config);
        let command = [
            "grant",
            "e",
            "--principal",
            "ana",
            "--principal-type",
            "iam_user",
        ];
        assert_eq!(parsed(&command, &[]).unwrap(), grant(Some("iam_user")));

        let revoke = Command::Revoke(Wanted::Grant("g".into()));
        assert_eq!(parsed(&["--revoke-grant", "g"], &[]).unwrap(), revoke);
        assert_eq!(parsed(&["revoke", "g"], &[]).unwrap(), revoke);
        assert_eq!(
            parsed(&["revoke", "e", "--principal", "ana"], &[]).unwrap(),
            Command::Revoke(ana("e", None))
        );
        assert_eq!(parsed(&[], &[]).unwrap(), Command::Sync);
    }

    #[test]
    fn half_of_a_change_is_a_mistake() {
        for (args, words) in [
            (&["--grant-entitlement", "e"][..], "needs --grant-principal"),
            (&["--grant-principal", "ana"], "needs --grant-entitlement"),
            (
                &["--grant-principal-type", "role"],
                "needs --grant-entitlement",
            ),
            (
                &[
                    "--grant-entitlement",
                    "e",
                    "--grant-principal",
                    "ana",
                    "--revoke-grant",
                    "g",
                ],
                "exclude each other",
            ),
            (&["grant", "e"], "needs --principal"),
            (
                &["grant", "", "--principal", "ana"],
                "the entitlement is empty",
            ),
            (&["grant", "e", "--principal", ""], "--principal is empty"),
            (&["revoke", ""], "the grant is empty"),
            (
                &["revoke", "e", "--principal", "ana", "--principal-type", " "],
                "--principal-type is empty",
            ),
            (&["--revoke-grant", ""], "--revoke-grant is empty"),
            (
                &["grant", "e", "--principal", "ana", "--protect", ""],
                "--protect is empty",
            ),
            (
                &["revoke", "g", "--protect", "role:*", "--protect", " ,"],
                "--protect is empty",
            ),
            (
                &["grant", "e", "--principal", "ana", "--revoke-grant", "x"],
                "takes one change",
            ),
            (
                &["--grant-principal", "ana", "revoke", "g"],
                "takes one change",
            ),
            (
                &["grant", "e", "--principal", "ana", "--plan", "--dry-run"],
                "exclude each other",
            ),
            (
                &["--revoke-grant", "g", "--plan", "--dry-run"],
                "exclude each other",
            ),
            (&["--plan"], "not for a sync"),
            (&["sync", "--dry-run"], "not for a sync"),
        ] {
            let error = parsed(args, &[]).unwrap_err();
            assert_eq!(error.exit, Exit::Usage);
            assert!(error.message.contains(words), "{args:?}: {}", error.message);
        }
    }

    #[test]
    fn lists_are_given_again_or_with_commas() {
        let Command::Permissions(wanted) = parsed(
            &[
                "permissions",
                "--grantable",
                "view,edit@dev",
                "--grantable",
                "dev/x",
            ],
            &[],
        )
        .unwrap() else {
            unreachable!("it is permissions");
        };
        assert_eq!(wanted.grantable, ["view", "edit@dev", "dev/x"]);
        assert!(wanted.config_maps && wanted.mode.is_none());
    }
}
