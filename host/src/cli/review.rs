//! `review`: questions to access files. No plugin, no network.

mod print;

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::exit::{CliError, Exit};
use super::output::{Printer, plain, say};
use crate::c1z::{FileOptions, Reader};
use crate::review::findings::{self, Finding, Severity};
use crate::review::model::Model;
use crate::review::query::{self, Ask};
use crate::review::report::{self, Review};
use crate::review::rules::Wish;
use crate::review::{LoadError, Source, diff, expand, find, load, words};

fn files() -> Arg {
    Arg::new("files")
        .value_name("FILE")
        .num_args(1..)
        .value_parser(value_parser!(PathBuf))
        .help("Access files of this or another connector, or folders of them [default: that of --file]")
}

fn option(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help)
}

fn namespace(help: &'static str) -> Arg {
    option("namespace", "NAME", help).short('n')
}

/// The command and its subcommands.
pub(super) fn command() -> Command {
    Command::new("review")
        .about("Say who can do what, and through what, from access files")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("access")
                .about("Show everything that a principal has, and every path to it")
                .arg(files())
                .arg(
                    option("principal", "NAME", "A name, log-in, ARN or kind:id")
                        .required(true),
                )
                .arg(namespace("Only what counts in this namespace")),
        )
        .subcommand(
            Command::new("who-can")
                .about("Show who has a role, or can do something")
                .arg(files())
                .arg(option("role", "ROLE", "A role or access policy"))
                .arg(option("verb", "VERB", "A verb: get, create, escalate, ...").requires("resource"))
                .arg(
                    option("resource", "RESOURCE", "A resource: secrets, pods/exec, deployments.apps, ...")
                        .requires("verb"),
                )
                .arg(option("name", "NAME", "One object of the resource").requires("resource"))
                .arg(namespace("In this namespace [default: anywhere]"))
                .group(
                    clap::ArgGroup::new("question")
                        .args(["role", "verb"])
                        .multiple(true)
                        .required(true),
                ),
        )
        .subcommand(
            Command::new("findings")
                .about("Show what a reviewer would want to be told")
                .arg(files())
                .arg(
                    option("severity", "LEVEL", "This bad and worse")
                        .value_parser(["critical", "high", "medium", "low", "info"])
                        .default_value("low")
                        .hide_possible_values(false),
                )
                .arg(
                    Arg::new("all")
                        .long("all")
                        .action(ArgAction::SetTrue)
                        .help("Every item, the platform's own included"),
                ),
        )
        .subcommand(
            Command::new("diff")
                .about("Show what came and what went between two syncs")
                .arg(
                    Arg::new("files")
                        .value_name("FILE")
                        .num_args(1..=2)
                        .value_parser(value_parser!(PathBuf))
                        .help("The old file and the new one, or one file with two syncs [default: that of --file]"),
                ),
        )
        .subcommand(
            Command::new("report")
                .about("Write a whole review")
                .arg(files())
                .arg(output("html", "One page, for people"))
                .arg(output("csv", "A line for each access, for spreadsheets"))
                .arg(output("json", "Everything, for programs"))
                .group(
                    clap::ArgGroup::new("form")
                        .args(["html", "csv", "json"])
                        .multiple(true)
                        .required(true),
                ),
        )
}

fn output(name: &'static str, help: &'static str) -> Arg {
    option(name, "PATH", help).value_parser(value_parser!(PathBuf))
}

/// Runs a subcommand; `file` is the value of `--file`.
pub(super) fn run(matches: &ArgMatches, file: &str, printer: Printer) -> Result<Exit, CliError> {
    let Some((name, matches)) = matches.subcommand() else {
        return Err(CliError::new(Exit::Usage, "no question was asked"));
    };
    let text = |name: &str| {
        matches
            .try_get_one::<String>(name)
            .ok()
            .flatten()
            .map(String::as_str)
    };
    match name {
        "access" => {
            let model = read(&files_of(matches, file))?;
            let wanted = text("principal").unwrap_or_default();
            let who = find::principal(&model, wanted)
                .map_err(|error| CliError::new(Exit::NotFound, plain(&error.to_string())))?;
            let holder = query::access(&model, who, text("namespace"));
            if printer.json {
                printer.value(&serde_json::json!({ "read": model.realms, "principal": holder }));
            } else {
                let title = words::who(&model, who);
                printer.text(&format!(
                    "{}{}",
                    print::heading(&model),
                    print::principal(&holder, &title)
                ));
            }
        }
        "who-can" => {
            let model = read(&files_of(matches, file))?;
            let ask = Ask {
                role: text("role").map(str::to_owned),
                wish: text("verb").zip(text("resource")).map(|(verb, resource)| {
                    Wish::new(verb, resource).named(text("name").unwrap_or_default())
                }),
                namespace: text("namespace").map(str::to_owned),
            };
            let answer = query::who_can(&model, &ask);
            if printer.json {
                printer.value(&serde_json::json!({ "read": model.realms, "answer": answer }));
            } else {
                printer.text(&format!(
                    "{}{}",
                    print::heading(&model),
                    print::holders(&answer)
                ));
            }
        }
        "diff" => compare(matches, file, printer)?,
        "report" => report(matches, file, printer)?,
        _ => {
            let model = read(&files_of(matches, file))?;
            let found = findings::findings(&model);
            let level = text("severity").unwrap_or("low");
            let found: Vec<Finding> = found
                .into_iter()
                .filter(|one| one.severity.name() == level || one.severity < named(level))
                .collect();
            if printer.json {
                printer.value(&serde_json::json!({ "read": model.realms, "findings": found }));
            } else {
                printer.text(&format!(
                    "{}{}",
                    print::heading(&model),
                    print::list(&found, matches.get_flag("all"))
                ));
            }
        }
    }
    Ok(Exit::Success)
}

fn named(level: &str) -> Severity {
    match level {
        "critical" => Severity::Critical,
        "high" => Severity::High,
        "medium" => Severity::Medium,
        "low" => Severity::Low,
        _ => Severity::Info,
    }
}

fn files_of(matches: &ArgMatches, file: &str) -> Vec<PathBuf> {
    match matches.get_many::<PathBuf>("files") {
        Some(files) => files.cloned().collect(),
        None => vec![PathBuf::from(file)],
    }
}

/// Reads files and folders of them.
fn read(paths: &[PathBuf]) -> Result<Model, CliError> {
    let (sources, notes) = expand(paths).map_err(failed)?;
    let mut model = load(&sources, &FileOptions::default()).map_err(failed)?;
    model.notes.splice(0..0, notes);
    Ok(model)
}

fn failed(error: LoadError) -> CliError {
    let message = error.to_string();
    match error {
        LoadError::Missing { .. } => CliError::new(Exit::NotFound, message)
            .hint("sync first, or name the file: baton-host review findings prod.c1z"),
        LoadError::Empty { .. } => {
            CliError::new(Exit::NotFound, message).hint("sync into it first")
        }
        LoadError::Folder { .. } => CliError::new(Exit::Failure, message)
            .hint("name a folder that may be read, or the files themselves"),
        LoadError::NoFiles { .. } => CliError::new(Exit::NotFound, message)
            .hint("access files end in .c1z; name the folder that a fleet writes into"),
        LoadError::IsFolder { .. } => CliError::new(Exit::Usage, message)
            .hint("name two files: baton-host review diff OLD NEW"),
        LoadError::SameCluster { .. } => CliError::new(Exit::Usage, message)
            .hint("give one of them, or compare them: baton-host review diff OLD NEW"),
        LoadError::File(error) => {
            use crate::c1z::Error;
            let exit = match error {
                Error::NotAnAccessFile { .. }
                | Error::Pebble { .. }
                | Error::Damaged { .. }
                | Error::TooLarge { .. }
                | Error::NoSuchSync { .. } => Exit::Usage,
                _ => Exit::Failure,
            };
            CliError::new(exit, message)
        }
    }
}

/// The two models of a comparison.
fn two(matches: &ArgMatches, file: &str) -> Result<(Model, Model), CliError> {
    let files = files_of(matches, file);
    let mut sources: Vec<Source> = files.iter().map(|f| Source::from(f.as_path())).collect();
    if let [only] = sources.as_slice() {
        let path = only.path.clone();
        if path.is_dir() {
            return Err(failed(LoadError::IsFolder { path }));
        }
        if !path.is_file() {
            return Err(failed(LoadError::Missing { path }));
        }
        let opened = Reader::open(&path, &FileOptions::default()).and_then(|reader| reader.syncs());
        let syncs = opened.map_err(|error| failed(LoadError::File(error)))?;
        let full: Vec<String> = syncs
            .into_iter()
            .filter(|sync| sync.sync_type == "full" && sync.ended_at.is_some())
            .map(|sync| sync.sync_id)
            .collect();
        let [.., old, new] = full.as_slice() else {
            return Err(CliError::new(
                Exit::NotFound,
                format!("{} does not hold two finished syncs", path.display()),
            )
            .hint("sync again into it, or name two files: baton-host review diff OLD NEW"));
        };
        sources = [old, new]
            .map(|sync| Source {
                path: path.clone(),
                sync: Some(sync.clone()),
                found: false,
            })
            .to_vec();
    }
    let [old, new] = sources.as_slice() else {
        return Err(CliError::new(Exit::Usage, "a comparison is of two files"));
    };
    let one = |source: &Source| {
        load(std::slice::from_ref(source), &FileOptions::default()).map_err(failed)
    };
    let models = (one(old)?, one(new)?);
    let cluster = |model: &Model| {
        model
            .realms
            .first()
            .map(|realm| realm.cluster.clone())
            .unwrap_or_default()
    };
    let (a, b) = (cluster(&models.0), cluster(&models.1));
    if a != b && !a.is_empty() && !b.is_empty() {
        return Err(CliError::new(
            Exit::Usage,
            format!("the files are of two clusters, {a} and {b}"),
        )
        .hint("compare two syncs of one cluster"));
    }
    Ok(models)
}

fn compare(matches: &ArgMatches, file: &str, printer: Printer) -> Result<(), CliError> {
    let (old, new) = two(matches, file)?;
    let found = diff::diff(&old, &new);
    if printer.json {
        printer.value(&serde_json::json!({ "old": old.realms, "new": new.realms, "diff": found }));
        return Ok(());
    }
    printer.text(&print::changes(&found, &old, &new));
    Ok(())
}

/// Writes the reports that were asked for.
fn report(matches: &ArgMatches, file: &str, printer: Printer) -> Result<(), CliError> {
    let path = |form: &str| matches.get_one::<PathBuf>(form).cloned();
    let model = read(&files_of(matches, file))?;
    let review = Review::new(&model);
    let mut written = Vec::new();
    for form in ["html", "csv", "json"] {
        let Some(path) = path(form) else { continue };
        let fill = |out: &mut dyn Write| {
            let mut out = out;
            match form {
                "html" => report::html(&model, &review, &mut out),
                "csv" => report::csv(&model, &mut out),
                _ => report::json(&model, &review, &mut out),
            }
        };
        if path.as_os_str() == "-" {
            // A pipe that nobody reads any more is no error of ours.
            let mut out = std::io::BufWriter::new(std::io::stdout().lock());
            match fill(&mut out).and_then(|()| out.flush()) {
                Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                    return Err(CliError::new(
                        Exit::Failure,
                        format!("writing the report: {error}"),
                    ));
                }
                _ => continue,
            }
        }
        save(&path, &fill).map_err(|error| {
            // The file beside it has a name that says nothing.
            let error = error.to_string();
            let error = error.split(" at path ").next().unwrap_or_default();
            CliError::new(
                Exit::Failure,
                format!("cannot write {}: {error}", path.display()),
            )
            .hint("name a file in a folder that is there and may be written")
        })?;
        written.push(path.display().to_string());
    }
    if !written.is_empty() && !printer.json {
        say(&format!("wrote {}", written.join(", ")));
    }
    Ok(())
}

/// Writes beside `path` and renames, so that there is never half a report.
/// Only its owner may read it: it says who has access to what.
fn save(path: &Path, fill: &dyn Fn(&mut dyn Write) -> std::io::Result<()>) -> std::io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    let mut out = std::io::BufWriter::new(file.as_file_mut());
    fill(&mut out)?;
    out.flush()?;
    drop(out);
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}
