//! What a fleet file says, and everything that is wrong with one.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::path::Path;
use std::time::Duration;

use super::*;

/// Parses a file of an empty folder.
fn parse(text: &str) -> Result<Config, Mistakes> {
    let folder = tempfile::tempdir().unwrap();
    Config::parse(&folder.path().join("fleet.toml"), text.to_owned())
}

/// `line:column message | hint` of everything that is wrong.
fn wrong(text: &str) -> Vec<String> {
    let mistakes = match parse(text) {
        Ok(config) => config.mistakes(),
        Err(mistakes) => mistakes.mistakes,
    };
    mistakes
        .into_iter()
        .map(|mistake| {
            let hint = mistake.hint.map(|hint| format!(" | {hint}"));
            format!(
                "{}:{} {}{}",
                mistake.line,
                mistake.column,
                mistake.message,
                hint.unwrap_or_default()
            )
        })
        .collect()
}

/// A file with one good cluster and these lines in its table.
fn with(lines: &str) -> String {
    format!("{HEAD}[[clusters]]\nname = \"a\"\n{lines}\n")
}

const HEAD: &str =
    "[defaults]\nplugin = \"p.wasm\"\naccount = \"111122223333\"\nregion = \"eu-west-1\"\n";

#[test]
fn a_cluster_is_what_it_says_and_for_the_rest_the_defaults() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path();
    std::fs::write(home.join("own.lock"), "version = 1\n").unwrap();
    let text = r#"
[defaults]
plugin = "plugins/eks.wasm"
region = "eu-west-1"
schedule = "1h"
output = "access"
settings = { namespace-entitlements = "all", depth = 3 }
credentials = { role-arn = "arn:aws:iam::{account}:role/reader", external-id = { env = "EXTERNAL" } }
limits = { memory = "64MiB", call = "30s" }

[[clusters]]
name = "a"
account = "111122223333"

[[clusters]]
name = "b"
region = "us-east-1"
plugin = "/opt/other.wasm"
lock = "own.lock"
schedule = { every = "10m", jitter = "1m" }
settings = { depth = 4, wide = true }
credentials = { role-arn = "arn:aws:iam::444455556666:role/own" }
limits = { call = "1m", task = "1h", cpu = "10s" }
output = "/var/lib/access"
file = "{cluster}-{region}.c1z"

[[clusters]]
name = "c"
account = "444455556666"
credentials = "ambient"
external-resource-c1z = "people.c1z"
external-resource-entitlement-id-filter = "group:all:member"
"#;
    let config = Config::parse(&home.join("fleet.toml"), text.to_owned()).unwrap();
    assert_eq!(config.mistakes(), []);
    let [a, b, c] = config.clusters.as_slice() else {
        panic!("{config:?}");
    };
    assert_eq!(a.id.as_str(), "111122223333/eu-west-1/a");
    assert_eq!(a.arn(), "arn:aws:eks:eu-west-1:111122223333:cluster/a");
    assert_eq!(a.plugin, home.join("plugins/eks.wasm"));
    assert_eq!(a.lock, None);
    assert_eq!(a.schedule, Schedule::every(Duration::from_secs(3_600)));
    assert_eq!(a.output, home.join("access/111122223333/eu-west-1/a.c1z"));
    assert_eq!(
        a.status_file(),
        home.join("access/111122223333/eu-west-1/a.status.json")
    );
    assert_eq!(
        a.credentials.plain["role-arn"],
        "arn:aws:iam::111122223333:role/reader"
    );
    assert_eq!(a.settings["depth"], "3");
    assert_eq!(
        (a.limits.memory, a.limits.call),
        (64 << 20, Duration::from_secs(30))
    );
    assert_eq!(a.limits.task, Limits::default().task);

    assert_eq!(
        b.id.as_str(),
        "444455556666/us-east-1/b",
        "the account is that of its role"
    );
    assert_eq!(b.plugin, Path::new("/opt/other.wasm"));
    assert_eq!(b.lock, Some(home.join("own.lock")));
    assert_eq!(b.schedule.jitter, Duration::from_secs(60));
    let settings: Vec<&str> = b.settings.values().map(String::as_str).collect();
    assert_eq!(settings, ["4", "all", "true"]);
    assert_eq!(
        b.credentials.secret.len(),
        1,
        "of the defaults, by its own key"
    );
    assert_eq!((b.limits.memory, b.limits.slices), (64 << 20, 1_000));
    assert_eq!(b.output, Path::new("/var/lib/access/b-us-east-1.c1z"));

    assert_eq!(c.credentials, Credentials::default(), "ambient begins anew");
    assert_eq!(c.found_by, None);
    let people = c.external.clone().unwrap();
    assert_eq!(people.file, home.join("people.c1z"));
    assert_eq!(people.filter.as_deref(), Some("group:all:member"));
}

#[test]
fn a_lock_beside_the_file_counts_unless_another_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fleet.toml");
    let lock = |text: &str| {
        let config = Config::parse(&path, text.to_owned()).unwrap();
        config.clusters.first().unwrap().lock.clone()
    };
    assert_eq!(lock(&with("")), None);
    std::fs::write(folder.path().join("baton.lock"), "version = 1\n").unwrap();
    assert_eq!(lock(&with("")), Some(folder.path().join("baton.lock")));
}

#[test]
fn everything_wrong_is_said_at_once_with_its_place() {
    let text = r#"[defaults]
plugin = "p.wasm"
regoin = "eu-west-1"
schedule = "hourly"

[[clusters]]
name = "a"
acount = "111122223333"
limits = { memory = 0, call = "0s", tsk = "1h", cpu = "fast" }

[[clustes]]
name = "b"
"#;
    let all = wrong(text);
    assert_eq!(
        all,
        [
            "3:1 `defaults` has no key `regoin` | did you mean `region`?",
            "4:12 `hourly` is no schedule | write how often: `15m`, `6h`, `1d`; for a time of day run `baton-host fleet sync` from cron or a CronJob",
            "8:1 a cluster has no key `acount` | did you mean `account`?",
            "9:21 a limit of zero lets nothing run: `memory` | leave it away for the default",
            "9:31 a limit of zero lets nothing run: `call` | leave it away for the default",
            "9:37 `limits` has no key `tsk` | did you mean `task`?",
            "9:55 `fast` is no duration | write it like `90s`, `15m`, `6h` or `1d`",
            "11:3 a fleet file has no key `clustes` | did you mean `clusters`?",
        ]
    );
}

#[test]
fn a_cluster_with_a_mistake_is_broken_alone() {
    let text = format!(
        "{HEAD}[[clusters]]\nname = \"good\"\n[[clusters]]\nname = \"bad\"\nschedule = \"never\"\n[[clusters]]\nregion = \"us-east-1\"\n"
    );
    let config = parse(&text).unwrap();
    assert_eq!(config.clusters.len(), 1);
    let broken: Vec<&str> = config.broken.iter().map(|b| b.id.as_str()).collect();
    assert_eq!(broken, ["111122223333/eu-west-1/bad", "clusters 3"]);
    assert_eq!(config.mistakes().len(), 2);
    let error = config.whole().unwrap_err().to_string();
    assert!(
        error.contains("fleet.toml:9:12: `never` is no schedule"),
        "{error}"
    );
    assert!(error.contains("a cluster has no `name`"), "{error}");
}

#[test]
fn what_is_no_toml_is_said_without_showing_what_stands_there() {
    let text = "[defaults]\nplugin = \"p.wasm\nsecret = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\n";
    let all = wrong(text);
    assert!(all.first().unwrap().starts_with("2:"), "{all:?}");
    assert!(!all.join("\n").contains("wJalr"), "{all:?}");
    assert!(wrong("").join("").contains("names no cluster"));
    assert!(wrong("[defaults]\n").join("").contains("names no cluster"));
    assert!(wrong("clusters = 3\n").join("").contains("`[[clusters]]`"));
    assert!(wrong("defaults = 3\n").join("").contains("`[defaults]`"));
    assert!(
        wrong("[clusters]\nname = \"a\"\n")
            .join("")
            .contains("`[[clusters]]`")
    );
}

#[test]
fn a_secret_in_the_file_is_refused_and_not_repeated() {
    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
    for lines in [
        format!("credentials = {{ eks-secret-access-key = \"{SECRET}\" }}"),
        format!("credentials = {{ external-id = \"{SECRET}\" }}"),
        format!("credentials = {{ external-id = {{ env = \"{SECRET}\" }} }}"),
        format!("credentials = {{ profile = \"{SECRET}\" }}"),
        format!("credentials = {{ secret-key = \"{SECRET}\" }}"),
        format!("credentials = \"{SECRET}\""),
        format!("settings = {{ note = \"{SECRET}\" }}"),
        format!("settings = {{ eks-secret-access-key = \"{SECRET}\" }}"),
        format!("settings = {{ api-token = \"{SECRET}\" }}"),
        format!("eks-secret-access-key = \"{SECRET}\""),
        format!("schedule = [\"{SECRET}\"]"),
    ] {
        let all = wrong(&with(&lines));
        assert_eq!(all.len(), 1, "{lines}: {all:?}");
        assert!(!all.join("").contains("wJalr"), "{all:?}");
    }
    let all = wrong(&with("credentials = { external-id = \"my-own\" }"));
    assert!(
        all.join("").contains("secrets do not stand in this file"),
        "{all:?}"
    );
    assert!(!all.join("").contains("my-own"), "{all:?}");
}

#[test]
fn a_reference_has_one_place() {
    for (value, words) in [
        ("{}", "has not one place"),
        ("{ env = \"A\", file = \"b\" }", "has not one place"),
        ("{ evn = \"A\" }", "has no key `evn`"),
        (
            "{ env = \"not a name\" }",
            "not the name of an environment variable",
        ),
        ("{ env = \"\" }", "`env` is empty"),
        ("3", "is a reference, not a number"),
    ] {
        let role = "role-arn = \"arn:aws:iam::111122223333:role/r\"";
        let all = wrong(&with(&format!(
            "credentials = {{ {role}, external-id = {value} }}"
        )));
        assert!(all.join("\n").contains(words), "{value}: {all:?}");
    }
}

#[test]
fn credentials_that_contradict_themselves_are_a_mistake() {
    let role = "role-arn = \"arn:aws:iam::111122223333:role/r\"";
    for (keys, words) in [
        ("role-arn = \"reader\"", "role-arn is not the ARN of a role"),
        (
            "role-arn = \"arn:aws:iam::444455556666:role/r\"",
            "the role is in account 444455556666 and the cluster in 111122223333",
        ),
        (
            "role-arn = \"arn:aws-cn:iam::111122223333:role/r\"",
            "partition aws-cn",
        ),
        (
            "external-id = { env = \"E\" }",
            "external-id is given and role-arn is missing",
        ),
        (
            &format!("{role}, eks-access-key = \"AKIAEXAMPLE\""),
            "eks-secret-access-key is missing",
        ),
        (
            &format!(
                "{role}, profile = \"x\", eks-access-key = \"A\", eks-secret-access-key = {{ env = \"S\" }}"
            ),
            "exclude each other",
        ),
        ("role-arm = \"x\"", "did you mean `role-arn`?"),
        ("allowed-account-ids = \"111122223333\"", "has no key"),
    ] {
        let all = wrong(&with(&format!("credentials = {{ {keys} }}")));
        assert_eq!(all.len(), 1, "{keys}: {all:?}");
        assert!(all.join("").contains(words), "{keys}: {all:?}");
    }
}

#[test]
fn values_are_what_they_should_be() {
    for (line, words) in [
        (
            "schedule = \"30s\"",
            "a schedule of 30s is not within 1m and 30d",
        ),
        ("schedule = \"31d\"", "a schedule of 31d is not within"),
        ("schedule = \"0 3 * * *\"", "is no schedule"),
        (
            "schedule = 6",
            "`schedule` is a text or a table, not a number",
        ),
        ("schedule = { jitter = \"1m\" }", "does not say `every`"),
        (
            "schedule = { every = \"1h\", jitter = \"2h\" }",
            "a jitter of 2h is longer",
        ),
        ("schedule = { evry = \"1h\" }", "did you mean `every`?"),
        ("limits = { memory = \"512MiB\" }", "more than the 256MiB"),
        ("limits = { memory = \"1KiB\" }", "less than 1MiB"),
        ("limits = { memory = \"lots\" }", "is no size"),
        ("limits = { memory = \"0MiB\" }", "a limit of zero"),
        ("limits = { task = \"0m\" }", "a limit of zero"),
        ("limits = { task = 0 }", "a limit of zero"),
        ("limits = { cpu = 5 }", "`cpu` is a text, not a number"),
        ("limits = 5", "`limits` is a table"),
        ("account = \"12\"", "12 digits"),
        (
            "account = 111122223333",
            "`account` is a text, not a number",
        ),
        ("region = \"Ireland\"", "not the name of an AWS region"),
        ("plugin = \"\"", "`plugin` is empty"),
        ("lock = \"absent.lock\"", "there is no lock file"),
        (
            "external-resource-entitlement-id-filter = \"x\"",
            "which is not given",
        ),
        ("settings = []", "`settings` is a table, not a list"),
        ("settings = { a = [1] }", "`a` is a text, a whole number"),
    ] {
        let all = wrong(&with(line));
        assert_eq!(all.len(), 1, "{line}: {all:?}");
        assert!(all.join("").contains(words), "{line}: {all:?}");
    }
}

#[test]
fn two_clusters_of_one_id_are_both_broken() {
    let text = format!(
        "{HEAD}[[clusters]]\nname = \"a\"\n[[clusters]]\nname = \"b\"\n[[clusters]]\nname = \"a\"\n"
    );
    let all = wrong(&text);
    assert_eq!(
        all,
        [
            "5:1 111122223333/eu-west-1/a is here and in line 9 | neither is synced while that is so",
            "9:1 111122223333/eu-west-1/a is here and in line 5 | neither is synced while that is so",
        ]
    );
    assert_eq!(parse(&text).unwrap().clusters.len(), 1);
}

#[test]
fn two_clusters_with_one_access_file_are_both_broken() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path();
    std::fs::create_dir(home.join("real")).unwrap();
    std::os::unix::fs::symlink("real", home.join("link")).unwrap();
    for (a, b) in [
        ("file = \"x.c1z\"", "file = \"x.c1z\""),
        (
            "output = \"real\"\nfile = \"x.c1z\"",
            "output = \"link\"\nfile = \"x.c1z\"",
        ),
        (
            "output = \"real\"\nfile = \"x.c1z\"",
            "file = \"real/x.c1z\"",
        ),
        (
            "output = \"real/../real\"\nfile = \"x.c1z\"",
            "output = \"./real\"\nfile = \"x.c1z\"",
        ),
    ] {
        let text =
            format!("{HEAD}[[clusters]]\nname = \"a\"\n{a}\n[[clusters]]\nname = \"b\"\n{b}\n");
        let config = Config::parse(&home.join("fleet.toml"), text).unwrap();
        assert_eq!(config.clusters, [], "{a} {b}");
        let mistakes = config.mistakes();
        assert_eq!(mistakes.len(), 2, "{mistakes:?}");
        assert!(
            mistakes
                .iter()
                .all(|m| m.message.contains("is also that of the cluster in line")),
            "{mistakes:?}"
        );
    }
}

#[test]
fn an_access_file_stays_in_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    let home = folder.path();
    std::os::unix::fs::symlink(outside.path(), home.join("away")).unwrap();
    std::os::unix::fs::symlink(outside.path(), home.join("111122223333")).unwrap();
    std::fs::create_dir(home.join("in")).unwrap();
    std::os::unix::fs::symlink("/nonexistent/x", home.join("in/dangling.c1z")).unwrap();
    for (line, words) in [
        ("file = \"../x.c1z\"", "leaves the output folder"),
        ("file = \"a/../../x.c1z\"", "leaves the output folder"),
        ("file = \"/tmp/x.c1z\"", "leaves the output folder"),
        ("file = \"./x.c1z\"", "leaves the output folder"),
        (
            "file = \"{name}.c1z\"",
            "{account}, {region} and {cluster} only",
        ),
        ("file = \"x.db\"", "ends with .c1z"),
        ("file = \"away/x.c1z\"", "would escape its folder"),
        ("file = \"in/dangling.c1z\"", "would escape its folder"),
        ("", "would escape its folder"),
    ] {
        let config = Config::parse(&home.join("fleet.toml"), with(line)).unwrap();
        let mistakes = config.mistakes();
        assert_eq!(mistakes.len(), 1, "{line}: {mistakes:?}");
        assert!(mistakes[0].message.contains(words), "{line}: {mistakes:?}");
    }
    let config = Config::parse(&home.join("fleet.toml"), with("file = \"in/x.c1z\"")).unwrap();
    assert_eq!(config.mistakes(), []);
    // Names that would lead elsewhere are none.
    for name in ["..", "a/b", "../x", ".", "", "a\u{1b}[2J"] {
        let text = format!("{HEAD}[[clusters]]\nname = {name:?}\n").replace("\\u{1b}", "\\u001b");
        let config = parse(&text).unwrap();
        assert!(config.clusters.is_empty(), "{name:?}");
        assert!(!format!("{:?}", config.broken[0].id).contains('\u{1b}'));
    }
}

#[test]
fn what_is_missing_is_said() {
    let all = wrong("[[clusters]]\nname = \"a\"\n");
    assert_eq!(
        all,
        [
            "1:1 a cluster has no `region` | give it here or in `[defaults]`",
            "1:1 no `plugin` is named | give it here or in `[defaults]`: plugin = \"baton_eks.wasm\"",
            "1:1 the account is not known | give `account`, or `credentials.role-arn` with the account in it",
        ]
    );
}

#[test]
fn rules_are_read_as_one_table_or_several() {
    let one = "[defaults]\nplugin = \"p.wasm\"\ncredentials = { role-arn = \"arn:aws:iam::111122223333:role/other\" }\n[discover]\nregions = [\"eu-west-1\", \"us-east-1\"]\nrole-arn = \"arn:aws:iam::444455556666:role/reader\"\n";
    let config = parse(one).unwrap();
    assert_eq!(config.mistakes(), []);
    let rule = config.rules.first().unwrap();
    assert_eq!(
        (rule.name.as_str(), rule.account.as_str()),
        ("discover-1", "444455556666")
    );
    let found = rule.cluster("us-east-1", "prod").unwrap();
    assert_eq!(found.id.as_str(), "444455556666/us-east-1/prod");
    assert_eq!(found.found_by.as_deref(), Some("discover-1"));
    assert_eq!(
        found.credentials.plain["role-arn"],
        "arn:aws:iam::444455556666:role/reader"
    );
    assert!(found.output.ends_with("444455556666/us-east-1/prod.c1z"));
    for name in ["../x", "", "a b"] {
        assert!(rule.cluster("us-east-1", name).is_err(), "{name}");
    }

    let table = |lines: &str| {
        format!(
            "[[discover]]\nplugin = \"p.wasm\"\nregions = [\"eu-west-1\"]\nrole-arn = \"arn:aws:iam::111122223333:role/r\"\n{lines}\n"
        )
    };
    let two = parse(&format!("{}{}", table(""), table("name = \"second\""))).unwrap();
    let names: Vec<&str> = two.rules.iter().map(|rule| rule.name.as_str()).collect();
    assert_eq!(names, ["discover-1", "second"]);
    for (text, words) in [
        (
            table("").replace("\"eu-west-1\"", ""),
            "`regions` names none",
        ),
        (
            table("").replace("\"eu-west-1\"", "\"eu-west-1\", \"eu-west-1\""),
            "named twice",
        ),
        (
            table("").replace("\"eu-west-1\"", "\"Ireland\", \"eu-west-1\""),
            "not the name of an AWS region",
        ),
        (
            table("").replace("regions = [\"eu-west-1\"]", ""),
            "a rule has no `regions`",
        ),
        (
            table("credentials = { role-arn = \"arn:aws:iam::111122223333:role/q\" }"),
            "given twice",
        ),
        (
            table("account = \"444455556666\""),
            "the role is in account",
        ),
        (table("fiel = \"x\""), "a rule has no key `fiel`"),
        (
            format!("{0}{0}", table("name = \"same\"")),
            "the rule same is here and in line 1",
        ),
    ] {
        let all = wrong(&text);
        assert_eq!(all.len(), 1, "{text}: {all:?}");
        assert!(all.join("").contains(words), "{all:?}");
    }
}

#[test]
fn one_role_that_reads_two_namesakes_is_a_warning() {
    let role = "credentials = { role-arn = \"arn:aws:iam::111122223333:role/r\" }";
    let two = |first: &str, second: &str| {
        let text = format!(
            "{HEAD}[[clusters]]\nname = \"prod\"\n{first}\n[[clusters]]\nname = \"prod\"\nregion = \"us-east-1\"\n{second}\n"
        );
        let config = parse(&text).unwrap();
        assert_eq!(config.mistakes(), []);
        config.warnings
    };
    let warnings = two(role, role);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert_eq!(warnings[0].line, 8);
    assert!(
        warnings[0].message.contains("the one in line 5"),
        "{warnings:?}"
    );
    let own = "credentials = { role-arn = \"arn:aws:iam::111122223333:role/own\" }";
    assert_eq!(two(role, own), []);
    assert_eq!(two("", "").len(), 1, "the machine's identity reads both");
}

#[test]
fn a_file_that_is_not_there_or_endless_is_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let error = Config::read(&folder.path().join("fleet.toml")).unwrap_err();
    assert!(
        error.to_string().ends_with("there is no such file"),
        "{error}"
    );
    let error = Config::read(folder.path()).unwrap_err();
    assert!(error.to_string().contains("cannot be read"), "{error}");
    let large = folder.path().join("large.toml");
    let file = std::fs::File::create(&large).unwrap();
    file.set_len((8 << 20) + 1).unwrap();
    let error = Config::read(&large).unwrap_err();
    assert!(error.to_string().contains("larger than 8 MiB"), "{error}");
    // Without a writer a pipe would be waited for as long as the process runs.
    let pipe = folder.path().join("pipe.toml");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, mode).unwrap();
    for odd in [Path::new("/dev/zero"), &pipe] {
        let error = Config::read(odd).unwrap_err();
        assert!(error.to_string().contains("no regular file"), "{error}");
    }
}

#[test]
fn the_documented_file_is_a_good_one_and_every_key_is_documented() {
    let page = include_str!("../../../../docs/fleet.md");
    let text = page.split("```toml\n").nth(1).unwrap();
    let text = text.split("```").next().unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("baton.lock"), "version = 1\n").unwrap();
    let config = Config::parse(&folder.path().join("fleet.toml"), text.to_owned()).unwrap();
    assert_eq!(config.mistakes(), []);
    assert_eq!(config.warnings, []);
    assert_eq!((config.clusters.len(), config.rules.len()), (2, 1));
    for key in keys::CLUSTER.iter().chain(keys::RULE).chain(keys::DEFAULTS) {
        let cell = format!("| `{}` |", key.name);
        assert!(page.contains(&cell), "{} is not documented", key.name);
    }
}

/// With `UPDATE_DOCS=1` it writes the file.
#[test]
fn the_schema_in_the_documentation_is_the_one_that_there_is() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/fleet.schema.json");
    let expected = format!("{}\n", serde_json::to_string_pretty(&schema()).unwrap());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &expected).unwrap();
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(found, expected, "docs/fleet.schema.json is out of date");
}
