//! Editing `aws-auth`: one item, and every other byte as it was.

use std::collections::BTreeMap;

use super::oracle::facts::Dice;
use crate::kubernetes::aws_auth::{self, Line};
use crate::kubernetes::edit::{Item, add_group, append, remove};

const NEW: Item = Item {
    role_list: true,
    arn: "arn:aws:iam::111122223333:role/new",
    username: "baton-host-0123",
    group: "baton-host:0123",
};

fn lines(text: &str) -> Vec<Line> {
    let data = BTreeMap::from([("mapRoles".to_string(), text.to_string())]);
    let mut lines = aws_auth::read(&data).lines;
    for line in &mut lines {
        line.place = String::new();
    }
    lines
}

/// What was put in at one place; `None` if more than that happened.
fn inserted(old: &str, new: &str) -> Option<String> {
    let head = old
        .bytes()
        .zip(new.bytes())
        .take_while(|(a, b)| a == b)
        .count();
    let most = old.len() - head;
    let tail = old
        .bytes()
        .rev()
        .zip(new.bytes().rev())
        .take_while(|(a, b)| a == b)
        .count()
        .min(most);
    (head + tail == old.len())
        .then(|| String::from_utf8_lossy(&new.as_bytes()[head..new.len() - tail]).into_owned())
}

const BLOCK: &str = "- rolearn: arn:aws:iam::111122223333:role/new\n  username: baton-host-0123\n  groups:\n  - baton-host:0123\n";
const FLOW: &str = "{\"rolearn\":\"arn:aws:iam::111122223333:role/new\",\"username\":\"baton-host-0123\",\"groups\":[\"baton-host:0123\"]}";

#[test]
fn an_item_goes_to_the_end_in_the_style_of_its_neighbours() {
    let crlf = BLOCK.replace('\n', "\r\n");
    let deep = BLOCK
        .lines()
        .map(|l| format!("  {l}\n"))
        .collect::<String>();
    for (old, new) in [
        ("", BLOCK.to_string()),
        ("\n", format!("\n{BLOCK}")),
        ("\"\"", BLOCK.into()),
        ("null\n", BLOCK.into()),
        ("# nobody yet\n", format!("# nobody yet\n{BLOCK}")),
        (
            "# nobody yet",
            format!("# nobody yet\n{}", BLOCK.trim_end()),
        ),
        ("[]", format!("[{FLOW}]")),
        ("[ ]\n", format!("[{FLOW} ]\n")),
        ("- rolearn: a\n", format!("- rolearn: a\n{BLOCK}")),
        (
            "- rolearn: a",
            format!("- rolearn: a\n{}", BLOCK.trim_end()),
        ),
        (
            "- rolearn: a # x\n\n# end\n",
            format!("- rolearn: a # x\n{BLOCK}\n# end\n"),
        ),
        (
            "- rolearn: ä # ö\n  groups:\n  # ü\n",
            format!("- rolearn: ä # ö\n  groups:\n{BLOCK}  # ü\n"),
        ),
        (
            "- rolearn: a\r\n  username: b\r\n",
            format!("- rolearn: a\r\n  username: b\r\n{crlf}"),
        ),
        (
            "  - rolearn: a\n    groups: [x]\n",
            format!("  - rolearn: a\n    groups: [x]\n{deep}"),
        ),
        (
            "- RoleARN: a\n  Groups: null\n",
            format!("- RoleARN: a\n  Groups: null\n{BLOCK}"),
        ),
        (
            "-\n  rolearn: a\n  groups:\n    - x\n",
            format!("-\n  rolearn: a\n  groups:\n    - x\n{BLOCK}"),
        ),
        (
            "[{\"rolearn\":\"a\"},{\"rolearn\":\"b\"}]",
            format!("[{{\"rolearn\":\"a\"}},{{\"rolearn\":\"b\"}},{FLOW}]"),
        ),
        (
            "[{\"rolearn\":\"a\"}, {\"rolearn\":\"b\"}]\n",
            format!("[{{\"rolearn\":\"a\"}}, {{\"rolearn\":\"b\"}}, {FLOW}]\n"),
        ),
        (
            "[\n  {\"rolearn\": \"a\"},\n  {\"rolearn\": \"b\"}\n]\n",
            format!("[\n  {{\"rolearn\": \"a\"}},\n  {{\"rolearn\": \"b\"}},\n  {FLOW}\n]\n"),
        ),
        ("[{rolearn: a},]", format!("[{{rolearn: a}},{FLOW}]")),
        (
            "---\n- rolearn: a\n...\n",
            format!("---\n- rolearn: a\n{BLOCK}...\n"),
        ),
        (
            "- rolearn: a\n  username: |\n    x\n    y\n",
            format!("- rolearn: a\n  username: |\n    x\n    y\n{BLOCK}"),
        ),
        (
            "- &x\n  rolearn: a\n- *x\n",
            format!("- &x\n  rolearn: a\n- *x\n{BLOCK}"),
        ),
    ] {
        assert_eq!(append(old, &NEW).as_deref(), Ok(new.as_str()), "{old:?}");
        let count = lines(old).len();
        let back = remove(&new, lines(&new).last().unwrap().item);
        if !matches!(old.trim(), "\"\"" | "null")
            && old.trim_end() == old.trim_end_matches([' '])
            && old.ends_with('\n')
        {
            assert_eq!(back.as_deref(), Ok(old), "and back: {old:?}");
        }
        assert_eq!(lines(&back.unwrap()).len(), count);
    }
}

#[test]
fn what_cannot_be_edited_exactly_is_refused() {
    for old in [
        "- {oops\n",
        "a: b\n",
        "just words",
        "- a: 1\n b: 2\n",
        "- rolearn: [a\n",
    ] {
        assert!(append(old, &NEW).is_err(), "{old:?}");
        assert!(remove(old, 0).is_err(), "{old:?}");
        assert!(add_group(old, 0, "g").is_err(), "{old:?}");
    }
    // The item that others refer to.
    assert!(remove("- &x\n  rolearn: a\n- *x\n", 0).is_err());
    assert!(remove("- rolearn: a\n", 1).is_err());
    for old in [
        "- rolearn: a\n  groups: system:masters\n",
        "- rolearn: a\n  groups: {a: b}\n",
        "- &x\n  rolearn: a\n  groups: &g [x]\n- rolearn: b\n  groups: *g\n",
        "- rolearn: a\n  groups: [x]\n  Groups: [y]\n",
        "- just text\n",
    ] {
        let at = usize::from(old.contains("*g"));
        assert!(add_group(old, at, "g").is_err(), "{old:?}");
    }
    // Groups that come by a merge would be replaced, not joined.
    let merged = "- &x\n  rolearn: a\n  groups: [x]\n- <<: *x\n  rolearn: b\n";
    assert!(add_group(merged, 1, "g").is_err());
}

#[test]
fn a_group_goes_into_one_item() {
    for (old, new) in [
        ("- rolearn: a\n", "- rolearn: a\n  groups:\n  - g:1\n"),
        ("- rolearn: a", "- rolearn: a\n  groups:\n  - g:1"),
        (
            "- rolearn: a\n  groups:\n",
            "- rolearn: a\n  groups: [\"g:1\"]\n",
        ),
        (
            "- rolearn: a\n  groups: # none\n  username: b\n",
            "- rolearn: a\n  groups: [\"g:1\"] # none\n  username: b\n",
        ),
        (
            "- rolearn: a\n  Groups: null\n",
            "- rolearn: a\n  Groups: [\"g:1\"]\n",
        ),
        (
            "- rolearn: a\n  groups: []\n",
            "- rolearn: a\n  groups: [\"g:1\"]\n",
        ),
        (
            "- rolearn: a\n  groups: [x, 'y']\n",
            "- rolearn: a\n  groups: [x, 'y', \"g:1\"]\n",
        ),
        (
            "- groups:\n  - x # one\n  # two\n  rolearn: a\n",
            "- groups:\n  - x # one\n  - g:1\n  # two\n  rolearn: a\n",
        ),
        (
            "- rolearn: a\r\n  groups:\r\n    - x\r\n",
            "- rolearn: a\r\n  groups:\r\n    - x\r\n    - g:1\r\n",
        ),
        (
            "[{\"rolearn\":\"a\",\"groups\":[]}]",
            "[{\"rolearn\":\"a\",\"groups\":[\"g:1\"]}]",
        ),
        (
            "[{\"rolearn\":\"a\",\"groups\":null}]",
            "[{\"rolearn\":\"a\",\"groups\":[\"g:1\"]}]",
        ),
        (
            "[{\"rolearn\":\"a\"}]",
            "[{\"rolearn\":\"a\",\"groups\":[\"g:1\"]}]",
        ),
        (
            "-   rolearn: a\n    username: u\n",
            "-   rolearn: a\n    username: u\n    groups:\n    - g:1\n",
        ),
    ] {
        assert_eq!(add_group(old, 0, "g:1").as_deref(), Ok(new), "{old:?}");
    }
}

/// One item in one of many styles, as text without its dash, and the line it is.
fn item(dice: &mut Dice, at: usize, flow: bool, indent: &str, nl: &str) -> (String, Line) {
    let arn = format!("arn:aws:iam::111122223333:role/r{at}");
    let username = format!("u{at}ä:{{{{SessionName}}}}");
    let groups: Vec<String> = (0..dice.roll(3)).map(|g| format!("g{at}:{g}")).collect();
    let line = Line {
        place: String::new(),
        role_list: true,
        item: at,
        arn: arn.clone(),
        username: username.clone(),
        groups: groups.clone(),
        sso: None,
    };
    let key = |dice: &mut Dice, name: &str| {
        let name = if dice.one_in(4) {
            name.to_uppercase()
        } else {
            name.to_string()
        };
        if flow || dice.one_in(4) {
            format!("\"{name}\"")
        } else {
            name
        }
    };
    let quote = |dice: &mut Dice, text: &str| match dice.roll(3) {
        0 if !flow && !text.contains("{{") => text.to_string(),
        1 if !flow => format!("'{text}'"),
        _ => format!("\"{text}\""),
    };
    let list = |dice: &mut Dice| {
        let items: Vec<String> = groups.iter().map(|g| quote(dice, g)).collect();
        format!("[{}]", items.join(dice.pick(&[",", ", "])))
    };
    let mut fields = Vec::new();
    for name in ["rolearn", "username", "groups"] {
        let told = key(dice, name);
        match name {
            "rolearn" => fields.push(format!("{told}: {}", quote(dice, &arn))),
            "username" => fields.push(format!("{told}: {}", quote(dice, &username))),
            _ if groups.is_empty() => match dice.roll(4) {
                0 => {}
                1 => fields.push(format!("{told}: null")),
                2 if !flow => fields.push(format!("{told}:")),
                _ => fields.push(format!("{told}: []")),
            },
            _ if !flow && dice.one_in(2) => {
                let deeper = format!("{nl}{indent}  {}", dice.pick(&["", "  "]));
                let items: Vec<String> = groups
                    .iter()
                    .map(|g| format!("{deeper}- {}", quote(dice, g)))
                    .collect();
                fields.push(format!("{told}:{}", items.concat()));
            }
            _ => fields.push(format!("{told}: {}", list(dice))),
        }
    }
    if dice.one_in(3) {
        fields.swap(0, 1);
    }
    if dice.one_in(4) && fields.len() == 3 {
        fields.swap(1, 2);
    }
    if dice.one_in(4) {
        fields.push(format!("extra{at}: {}", quote(dice, "kept")));
    }
    let text = if flow {
        format!("{{{}}}", fields.join(dice.pick(&[",", ", "])))
    } else {
        let comment = |dice: &mut Dice| {
            if dice.one_in(4) {
                format!(" # über {at}")
            } else {
                String::new()
            }
        };
        let mut text = String::new();
        for (n, field) in fields.iter().enumerate() {
            if n > 0 {
                text.push_str(&format!("{nl}{indent}  "));
                if dice.one_in(6) {
                    text.push_str(&format!("# inside {at}{nl}{indent}  "));
                }
            }
            text.push_str(field);
            text.push_str(&comment(dice));
        }
        text
    };
    (text, line)
}

#[test]
fn random_lists_change_in_one_place_only() {
    for seed in 0..6000_u64 {
        let mut dice = Dice(seed * 48_271 + 11);
        let nl = dice.pick(&["\n", "\n", "\r\n"]).to_string();
        let flow = dice.one_in(3);
        let indent = if flow {
            String::new()
        } else {
            dice.pick(&["", "", "  "]).to_string()
        };
        let count = 1 + dice.roll(4);
        let mut items = Vec::new();
        for at in 0..count {
            let inline = flow || dice.one_in(4);
            items.push(item(&mut dice, at, inline, &indent, &nl));
        }
        let (mut text, mut own) = (String::new(), Vec::new());
        if flow {
            let gap = dice.pick(&["", " ", "\n  "]).replace('\n', &nl);
            let texts: Vec<String> = items.iter().map(|(t, _)| t.clone()).collect();
            text = format!(
                "[{gap}{}{}]",
                texts.join(&format!(",{gap}")),
                dice.pick(&["", " "])
            );
        } else {
            if dice.one_in(5) {
                text.push_str(&format!("---{nl}"));
            }
            for (at, (told, _)) in items.iter().enumerate() {
                if dice.one_in(3) {
                    text.push_str(&format!("{indent}# before {at} é{nl}"));
                    own.push(format!("# before {at} é"));
                }
                text.push_str(&format!("{indent}- {told}{nl}"));
                if dice.one_in(5) {
                    text.push_str(&nl);
                }
            }
            if dice.one_in(4) {
                text.push_str(&format!("# the end{nl}"));
                own.push("# the end".into());
            } else if dice.one_in(3) {
                text.truncate(text.trim_end().len());
            }
        }
        let wanted: Vec<Line> = items.iter().map(|(_, l)| l.clone()).collect();
        assert_eq!(lines(&text), wanted, "seed {seed}: {text}");

        let new = append(&text, &NEW).unwrap_or_else(|e| panic!("seed {seed}: {e}: {text}"));
        assert!(
            inserted(&text, &new).is_some(),
            "seed {seed}:\n{text}\n{new}"
        );
        assert_eq!(lines(&new)[..count], wanted[..]);
        let back = remove(&new, count).unwrap();
        assert_eq!(back.trim_end(), text.trim_end(), "seed {seed}");

        let at = dice.roll(count);
        let new = remove(&text, at).unwrap_or_else(|e| panic!("seed {seed}: {e}: {text}"));
        assert!(
            inserted(&new, &text).is_some(),
            "seed {seed}:\n{text}\n{new}"
        );
        for (other, (told, _)) in items.iter().enumerate() {
            assert_eq!(
                new.contains(told.as_str()),
                other != at,
                "seed {seed}:\n{text}\n{new}"
            );
        }
        assert!(
            own.iter().all(|c| new.contains(c)),
            "seed {seed}:\n{text}\n{new}"
        );

        let new =
            add_group(&text, at, "g:new").unwrap_or_else(|e| panic!("seed {seed}: {e}: {text}"));
        let null = text.replacen("null", "", 1);
        assert!(
            inserted(&text, &new).is_some()
                || inserted(&null, &new).is_some()
                || items[at].0.contains("null"),
            "seed {seed}:\n{text}\n{new}"
        );
        for (other, (told, _)) in items.iter().enumerate().filter(|(o, _)| *o != at) {
            assert!(
                new.contains(told.as_str()),
                "seed {seed} {other}:\n{text}\n{new}"
            );
        }
        let mut grown = wanted.clone();
        grown[at].groups.push("g:new".into());
        assert_eq!(lines(&new), grown, "seed {seed}:\n{text}\n{new}");
    }
}
