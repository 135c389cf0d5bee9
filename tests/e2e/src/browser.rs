//! A real browser that opens a page: Debian's `chromium`. Where there is none,
//! a person's run says so and goes on; under `CI` it is installed or the test
//! fails.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The browser, if this machine has one.
///
/// # Panics
/// Under `CI`, where it cannot be installed.
#[must_use]
pub fn find() -> Option<PathBuf> {
    let find = || {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path)
            .flat_map(|folder| {
                ["chromium", "chromium-browser", "google-chrome"].map(|name| folder.join(name))
            })
            .find(|file| file.is_file())
    };
    if let Some(found) = find() {
        return Some(found);
    }
    if std::env::var_os("CI").is_none() {
        eprintln!("skipped: there is no chromium; install it with `apt-get install chromium`");
        return None;
    }
    for args in [
        &["update"][..],
        &["install", "-y", "--no-install-recommends", "chromium"],
    ] {
        assert!(
            Command::new("apt-get")
                .args(args)
                .status()
                .unwrap()
                .success(),
            "apt-get {args:?}"
        );
    }
    Some(find().unwrap())
}

/// The document after the page's scripts have run, and what the browser said.
///
/// # Panics
/// When the browser does not start.
#[must_use]
pub fn open(browser: &Path, url: &str) -> (String, String) {
    let home = tempfile::tempdir().unwrap();
    let output = Command::new(browser)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--enable-logging=stderr",
            "--v=0",
        ])
        .args(["--virtual-time-budget=20000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", home.path().display()))
        .arg(url)
        .output()
        .unwrap();
    let console: Vec<String> = String::from_utf8_lossy(&output.stderr)
        .lines()
        .filter(|line| line.contains("CONSOLE"))
        .map(str::to_owned)
        .collect();
    (
        String::from_utf8(output.stdout).unwrap(),
        console.join("\n"),
    )
}
