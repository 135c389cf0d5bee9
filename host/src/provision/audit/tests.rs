#![expect(clippy::unwrap_used, reason = "tests")]

use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn row(operation: &str, event: Event) -> Row<'_> {
    Row {
        operation,
        event,
        asked_by: "ana",
        cluster: "arn:aws:eks:eu-central-1:111122223333:cluster/prod",
        caller: "arn:aws:sts::111122223333:assumed-role/baton/baton-host-prod",
        entitlement: "cluster_role:view:dev:member",
        principal: "role:arn:aws:iam::111122223333:role/dev",
        direction: Direction::Grant,
        plugin: "sha256:00",
        upstream: None,
        method: None,
        path: None,
        body: None,
        status: None,
        message: None,
    }
}

struct Log {
    path: PathBuf,
    _folder: tempfile::TempDir,
}

impl Log {
    fn new() -> Log {
        let folder = tempfile::tempdir().unwrap();
        Log {
            path: folder.path().join("sync.audit.jsonl"),
            _folder: folder,
        }
    }

    fn open(&self) -> Audit {
        Audit::open(&AuditTarget::File(self.path.clone())).unwrap()
    }

    fn text(&self) -> String {
        std::fs::read_to_string(&self.path).unwrap()
    }

    fn verify(&self) -> Result<Verified, Broken> {
        verify(self.text().as_bytes())
    }
}

#[test]
fn rows_are_chained_across_processes_and_hold() {
    let log = Log::new();
    let (one, two) = (log.open(), log.open());
    one.row(&row("a", Event::Asked)).unwrap();
    two.row(&row("b", Event::Asked)).unwrap();
    let mut request = row("a", Event::Request);
    request.status = Some(201);
    let body = serde_json::json!({"kind": "RoleBinding"});
    request.body = Some(&body);
    one.row(&request).unwrap();
    one.row(&row("a", Event::Done)).unwrap();

    let text = log.text();
    let lines: Vec<&str> = text.lines().collect();
    let first: serde_json::Value = serde_json::from_str(lines[0]).unwrap();
    assert_eq!(first["previous"], BEGINNING);
    assert_eq!(first["sequence"], 1);
    assert_eq!(first["event"], "asked");
    assert!(first.get("body").is_none());
    let third: serde_json::Value = serde_json::from_str(lines[2]).unwrap();
    assert_eq!(third["previous"], hash(lines[1].as_bytes()));
    assert_eq!(third["body"]["kind"], "RoleBinding");
    let verified = log.verify().unwrap();
    assert_eq!(
        (verified.rows, verified.last, verified.unfinished),
        (4, hash(lines[3].as_bytes()), vec!["b".to_owned()])
    );
}

#[test]
fn many_writers_at_once_make_one_chain() {
    let log = Log::new();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let audit = log.open();
            scope.spawn(move || {
                for _ in 0..25 {
                    audit.row(&row("a", Event::Request)).unwrap();
                }
            });
        }
    });
    assert_eq!(log.verify().unwrap().rows, 100);
}

#[test]
fn the_first_broken_row_is_named() {
    let log = Log::new();
    let audit = log.open();
    for event in [Event::Asked, Event::Request, Event::Request, Event::Done] {
        audit.row(&row("a", event)).unwrap();
    }
    let text = log.text();
    let lines: Vec<&str> = text.lines().collect();
    let check = |lines: &[&str]| verify(format!("{}\n", lines.join("\n")).as_bytes());
    assert!(check(&lines).is_ok());
    // Changed: the next row tells.
    let changed = lines[1].replace("ana", "eva");
    let error = check(&[lines[0], &changed, lines[2], lines[3]]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "row 3 is broken: it does not follow row 2: a row was changed, taken out or put in"
    );
    assert_eq!(check(&[lines[0], lines[2], lines[3]]).unwrap_err().row, 2);
    let error = check(&lines[1..]).unwrap_err();
    assert!(error.reason.contains("rows before it are gone"), "{error}");
    assert_eq!(
        check(&[lines[0], lines[1], lines[1], lines[2]])
            .unwrap_err()
            .row,
        3
    );
    let error = check(&[lines[0], "{}", lines[1]]).unwrap_err();
    assert_eq!(error.row, 2);
    assert!(error.reason.contains("no row of an audit log"), "{error}");
    // The last row without its end is one that was cut off, and no more.
    let cut = text.strip_suffix('\n').unwrap();
    let found = verify(cut.as_bytes()).unwrap();
    assert_eq!((found.rows, found.torn), (4, vec![4]));
    assert!(found.unfinished.is_empty());
    let half = cut.get(..cut.len() - 20).unwrap();
    let found = verify(half.as_bytes()).unwrap();
    assert_eq!((found.rows, found.torn), (4, vec![4]));
    assert_eq!(found.unfinished, ["a"]);
    let twice = format!("{}\n{{}}\n{{", lines[0]);
    assert_eq!(verify(twice.as_bytes()).unwrap_err().row, 2);
    let other = format!("{}\n{}", lines[0], lines[2]);
    assert_eq!(verify(other.as_bytes()).unwrap_err().row, 2);
    // Rows that were renumbered with their chain kept cannot be: the number is
    // part of the line.
    assert_eq!(verify(&b""[..]).unwrap().rows, 0);
}

#[test]
fn a_row_that_a_crash_cut_off_does_not_end_the_chain() {
    let log = Log::new();
    log.open().row(&row("a", Event::Asked)).unwrap();
    let mut text = log.text();
    let half = text.get(..40).unwrap().to_owned();
    text.push_str(&half);
    std::fs::write(&log.path, text).unwrap();
    let audit = log.open();
    audit.row(&row("b", Event::Asked)).unwrap();
    audit.row(&row("b", Event::Done)).unwrap();
    let verified = log.verify().unwrap();
    assert_eq!((verified.rows, verified.torn), (4, vec![2]));
    assert_eq!(verified.unfinished, ["a"]);

    // The very first row.
    std::fs::write(&log.path, &half).unwrap();
    log.open().row(&row("c", Event::Asked)).unwrap();
    assert_eq!(log.verify().unwrap().torn, [1]);
}

#[test]
fn rows_longer_than_what_is_read_at_once_are_found() {
    let log = Log::new();
    let audit = log.open();
    let mut long = row("a", Event::Request);
    let text = "x".repeat(300 << 10);
    long.message = Some(&text);
    for row in [
        &row("a", Event::Asked),
        &long,
        &long,
        &row("a", Event::Done),
    ] {
        audit.row(row).unwrap();
    }
    assert_eq!(log.verify().unwrap().rows, 4);
}

#[test]
fn a_file_that_is_none_of_ours_is_not_continued() {
    let log = Log::new();
    std::fs::write(&log.path, "hello\n").unwrap();
    std::fs::set_permissions(&log.path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let error = log.open().row(&row("a", Event::Asked)).unwrap_err();
    assert!(error.to_string().contains("none of ours"), "{error}");
    assert_eq!(log.text(), "hello\n");
}

#[test]
fn only_a_file_of_our_own_is_written() {
    let log = Log::new();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o777;
    log.open();
    assert_eq!(mode(&log.path), 0o600);
    let fails = |path: &Path| {
        Audit::open(&AuditTarget::File(path.to_owned()))
            .unwrap_err()
            .to_string()
    };
    let link = log.path.with_file_name("link");
    std::os::unix::fs::symlink(&log.path, &link).unwrap();
    assert!(
        fails(&link).contains("is a symbolic link"),
        "{}",
        fails(&link)
    );
    for bad in [0o620, 0o602, 0o666] {
        std::fs::set_permissions(&log.path, std::fs::Permissions::from_mode(bad)).unwrap();
        assert!(fails(&log.path).contains("chmod go-w"), "{bad:o}");
    }
    std::fs::set_permissions(&log.path, std::fs::Permissions::from_mode(0o640)).unwrap();
    log.open();
    let folder = log.path.parent().unwrap();
    assert!(fails(folder).contains("cannot open"), "{}", fails(folder));
    assert!(fails(&folder.join("none/log")).contains("No such file"));
    assert!(fails(Path::new("/dev/null")).contains("is no file"));
}

#[test]
fn a_row_shows_nothing_that_a_terminal_obeys() {
    let (audit, rows) = Audit::memory();
    let mut strange = row("a", Event::Refused);
    strange.principal = "role:\u{1b}[2J\u{9b}\u{202e}\u{7f}é😀\n";
    audit.row(&strange).unwrap();
    let bytes = rows.lock().unwrap().clone();
    let line = std::str::from_utf8(&bytes).unwrap().trim_end();
    assert!(line.bytes().all(|b| (b' '..0x7f).contains(&b)), "{line}");
    let read: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!(read["principal"], strange.principal);
    assert!(verify(&bytes[..]).is_ok());
}

#[test]
fn the_log_lies_beside_the_access_file() {
    let beside = |path: &str| AuditTarget::beside(Path::new(path));
    let file = |path: &str| AuditTarget::File(path.into());
    assert_eq!(beside("sync.c1z"), file("sync.audit.jsonl"));
    assert_eq!(beside("/a/prod.c1z"), file("/a/prod.audit.jsonl"));
    assert_eq!(AuditTarget::parse("-"), AuditTarget::Stdout);
    assert_eq!(AuditTarget::parse("a"), file("a"));
}
