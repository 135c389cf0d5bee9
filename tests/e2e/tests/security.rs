//! `SECURITY.md` promises nothing that no test shows.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

use e2e::guests;

/// Cells of the table whose last head is `shown by`.
fn promises(page: &str) -> Vec<Vec<&str>> {
    page.lines()
        .skip_while(|line| !line.ends_with("| shown by |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect()
}

/// Whether this file has this test, or this room, which is a test by its name
/// (`tests/e2e/tests/boundary/main.rs`).
fn has(text: &str, name: &str) -> bool {
    let Some(at) = text.find(&format!("fn {name}()")) else {
        return false;
    };
    let before = text[..at]
        .trim_end_matches("async ")
        .trim_end_matches("pub ");
    let attributes = before.rsplit("\n\n").next().unwrap_or_default();
    name == "room" || attributes.contains("#[test]") || attributes.contains("#[tokio::test")
}

#[test]
fn every_promise_names_tests_that_are_there() {
    let page = std::fs::read_to_string(guests::root().join("SECURITY.md")).unwrap();
    let promises = promises(&page);
    assert!(promises.len() >= 15, "{}", promises.len());
    for promise in promises {
        let [what, how, shown] = promise.as_slice() else {
            panic!("not three cells: {promise:?}");
        };
        assert!(!what.is_empty() && !how.is_empty(), "{promise:?}");
        let mut file = None;
        let mut tests = 0;
        for test in shown.split(", ") {
            let test = test.trim_matches('`');
            // The file stands before the first of its tests.
            let name = match test.split_once(": ") {
                Some((path, name)) => {
                    let text = std::fs::read_to_string(guests::root().join(path));
                    file = Some(text.unwrap_or_else(|error| panic!("{path}: {error}")));
                    name
                }
                None => test,
            };
            let text = file
                .as_deref()
                .unwrap_or_else(|| panic!("no file for {test}"));
            assert!(has(text, name), "{what}: there is no test {test}");
            tests += 1;
        }
        assert!(tests > 0, "{what}");
    }
}

#[test]
fn the_check_sees_what_is_missing() {
    let text = "#[test]\nfn there() {}\n\nfn helper() {}\n";
    assert!(has(text, "there"));
    assert!(!has(text, "helper"));
    assert!(!has(text, "gone"));
}
