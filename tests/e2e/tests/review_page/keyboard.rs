//! The page without a mouse: everything is reached by Tab and used by Enter and
//! arrow keys, what has the focus is seen, and a screen reader is told what it is.

use super::devtools::Tab;
use super::{HOSTILE, chains, model, page};

/// What has the focus, and whether that can be seen.
const SEEN: &str = "(() => { const e = document.activeElement, s = getComputedStyle(e), b = e.getBoundingClientRect(); \
    return e.matches(':focus-visible') && s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 2 && b.left >= 0 && b.width > 0; })()";

/// More than the page has.
const MOST: usize = 400;

struct Walk {
    tab: Tab,
    html: std::path::PathBuf,
    _folder: tempfile::TempDir,
}

fn walk() -> Option<Walk> {
    let browser = e2e::browser::find()?;
    let folder = tempfile::tempdir().unwrap();
    let (file, html) = (folder.path().join("a.c1z"), folder.path().join("a.html"));
    chains(&file);
    page(&model(&file), &html);
    Some(Walk {
        tab: Tab::open(&browser, &html),
        html,
        _folder: folder,
    })
}

impl Walk {
    /// Presses Tab until an element has the focus.
    fn to(&mut self, id: &str) {
        let here = format!("document.activeElement.id === '{id}'");
        for _ in 0..MOST {
            self.tab.press("Tab");
            if self.tab.value(&here) == true {
                assert_eq!(self.tab.value(SEEN), true, "{id} has the focus unseen");
                return;
            }
        }
        panic!("Tab never comes to {id}");
    }

    fn focus(&mut self) -> (String, String) {
        assert_eq!(self.tab.value(SEEN), true, "the focus is not seen");
        self.tab.focus()
    }

    fn says(&mut self, expression: &str) -> String {
        let value = self.tab.value(expression);
        value.as_str().unwrap_or_default().to_owned()
    }
}

fn pair(role: &str, name: &str) -> (String, String) {
    (role.to_owned(), name.to_owned())
}

#[test]
fn tab_reaches_everything_and_shows_where_it_is() {
    let Some(mut walk) = walk() else { return };
    let mut all = Vec::new();
    for _ in 0..MOST {
        walk.tab.press("Tab");
        if walk.tab.value("document.activeElement === document.body") == true {
            break;
        }
        let (role, name) = walk.focus();
        assert!(!name.trim().is_empty(), "a {role} without a name");
        assert!(
            [
                "link",
                "button",
                "searchbox",
                "combobox",
                "DisclosureTriangle"
            ]
            .contains(&role.as_str()),
            "{role} {name}"
        );
        all.push((role, name));
    }
    assert!(all.len() > 30 && all.len() < MOST, "{}", all.len());
    assert_eq!(all[0], pair("link", "Skip to the findings"));
    for expected in [
        pair("combobox", "Theme"),
        pair("searchbox", "Search"),
        pair("combobox", "Show"),
        pair("button", "Accesses"),
        pair("button", "ann"),
        pair("button", "cluster-admin"),
        pair("button", HOSTILE.rsplit('/').next().unwrap()),
        pair("link", "1 critical 1 item"),
        pair("link", "What was read"),
    ] {
        assert!(all.contains(&expected), "{expected:?} in {all:?}");
    }
    let interactive = "[...document.querySelectorAll('a[href], button:not(:disabled), input, select, summary, [tabindex=\"0\"]')].filter(e => e.checkVisibility()).length";
    assert_eq!(walk.tab.value(interactive), all.len());
    assert_eq!(walk.tab.console, Vec::<String>::new());
}

#[test]
fn a_person_is_found_and_read_by_keys_alone() {
    let Some(mut walk) = walk() else { return };
    walk.to("people-search");
    assert_eq!(walk.focus(), pair("searchbox", "Search"));
    walk.tab.type_text("user/ann");
    let caption = "document.querySelector('#principals caption').textContent";
    walk.tab.until(&format!("{caption} === '1 principals'"));
    // Past the choice of kinds and the heads of five columns.
    let mut passed = Vec::new();
    for _ in 0..7 {
        walk.tab.press("Tab");
        passed.push(walk.focus());
    }
    assert_eq!(passed[0], pair("combobox", "Show"));
    assert_eq!(passed[6], pair("button", "ann"));
    walk.tab.press("Enter");
    walk.tab.until("document.querySelector('#person h3')");
    assert_eq!(
        walk.says("document.querySelector('#person h3').textContent"),
        "person ann"
    );
    assert_eq!(
        walk.tab.value("document.activeElement.id"),
        "person",
        "the focus goes where the answer is"
    );
    walk.tab.press("Tab");
    assert_eq!(walk.focus(), pair("button", "Close"));
    walk.tab.press("Tab");
    assert_eq!(
        walk.focus(),
        pair("group", "Graph of the paths, scrolls sideways")
    );
    let scrolled = "document.querySelector('.graph').scrollLeft > 0";
    let wider = "(() => { const g = document.querySelector('.graph'); g.style.width = '200px'; return g.scrollWidth > g.clientWidth; })()";
    assert_eq!(walk.tab.value(wider), true);
    walk.tab.press("ArrowRight");
    walk.tab.until(scrolled);
    walk.tab.press("Tab");
    let (role, name) = walk.focus();
    assert_eq!(role, "DisclosureTriangle");
    assert!(
        name.contains("cluster-admin in the whole cluster"),
        "{name}"
    );
    let open = "document.activeElement.parentElement.open";
    assert_eq!(walk.tab.value(open), true);
    let path = walk.says("document.activeElement.parentElement.querySelector('.chain').innerText");
    assert!(path.contains("in sessions named ann-corp"), "{path}");
    walk.tab.press("Enter");
    walk.tab.until(&format!("!{open}"));
    walk.tab.press(" ");
    walk.tab.until(open);
    // And back.
    walk.tab.press_with_shift("Tab");
    walk.tab.press_with_shift("Tab");
    assert_eq!(walk.focus(), pair("button", "Close"));
    walk.tab.press("Enter");
    walk.tab.until("!document.querySelector('#person h3')");
    assert_eq!(walk.tab.value("document.activeElement.id"), "people-search");
    // What it is, for those who hear it.
    let tree = walk.tab.tree();
    for expected in [
        pair("main", ""),
        pair("navigation", "Sections"),
        pair("region", "Findings"),
        pair("region", "People and principals"),
        pair("table", "1 principals"),
        pair("columnheader", "Name"),
    ] {
        assert!(tree.contains(&expected), "{expected:?} in {tree:?}");
    }
    let titles = tree.iter().filter(|(role, _)| role == "heading");
    assert!(titles.count() >= 5);
    assert_eq!(walk.tab.console, Vec::<String>::new());
}

#[test]
fn columns_are_sorted_and_kinds_chosen_by_keys() {
    let Some(mut walk) = walk() else { return };
    walk.to("people-sort");
    // The first choice is everybody, the second people.
    walk.tab.press("ArrowDown");
    let names = "[...document.querySelectorAll('#principals tbody tr')].map(r => r.querySelector('button').textContent).join(' ')";
    walk.tab
        .until("document.querySelector('#principals caption').textContent === '4 principals'");
    walk.tab.press("Tab");
    assert_eq!(walk.focus(), pair("button", "Name"));
    let sorted = "document.querySelector('#principals th').getAttribute('aria-sort')";
    assert_eq!(walk.says(sorted), "none");
    walk.tab.press("Enter");
    walk.tab.until(&format!("{sorted} === 'ascending'"));
    assert_eq!(walk.focus(), pair("button", "Name"), "it stays there");
    let up = walk.says(names);
    walk.tab.press(" ");
    walk.tab.until(&format!("{sorted} === 'descending'"));
    let down = walk.says(names);
    assert!(
        up != down && up.starts_with("ann bob joe") && down.ends_with("joe bob ann"),
        "{up} {down}"
    );
}

#[test]
fn a_theme_is_chosen_by_keys() {
    let Some(mut walk) = walk() else { return };
    let background = "getComputedStyle(document.body).backgroundColor";
    assert_eq!(walk.says(background), "rgb(255, 255, 255)");
    walk.to("theme");
    assert_eq!(walk.focus(), pair("combobox", "Theme"));
    for _ in 0..2 {
        walk.tab.press("ArrowDown");
    }
    walk.tab
        .until(&format!("{background} === 'rgb(15, 19, 24)'"));
    assert_eq!(walk.tab.value("document.activeElement.value"), "dark");
    walk.tab.press("ArrowUp");
    walk.tab
        .until(&format!("{background} === 'rgb(255, 255, 255)'"));
    // The system's own, where nobody chose.
    let dark = serde_json::json!({"features": [{"name": "prefers-color-scheme", "value": "dark"}]});
    walk.tab.call("Emulation.setEmulatedMedia", dark);
    assert_eq!(
        walk.says(background),
        "rgb(255, 255, 255)",
        "light was chosen"
    );
    walk.tab.press("ArrowUp");
    walk.tab
        .until(&format!("{background} === 'rgb(15, 19, 24)'"));
    let html = walk.html.clone();
    walk.tab.load(&html);
    assert_eq!(walk.says(background), "rgb(15, 19, 24)");
}

#[test]
fn the_first_link_skips_what_is_before_the_findings() {
    let Some(mut walk) = walk() else { return };
    walk.tab.press("Tab");
    assert_eq!(walk.focus(), pair("link", "Skip to the findings"));
    walk.tab.press("Enter");
    walk.tab.until("location.hash === '#findings'");
    walk.tab.press("Tab");
    let (role, _) = walk.focus();
    assert_eq!(role, "DisclosureTriangle", "the first finding");
}
