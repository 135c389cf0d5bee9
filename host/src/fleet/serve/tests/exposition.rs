//! A reader of the Prometheus text format 0.0.4 that takes nothing but what
//! the format allows, written from its description and not from the encoder.

use std::collections::{BTreeMap, BTreeSet};

/// A family: its type, and values by name and labels.
#[derive(Debug, Default)]
pub(super) struct Family {
    pub(super) kind: String,
    pub(super) help: String,
    pub(super) samples: Vec<Sample>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sample {
    pub(super) name: String,
    pub(super) labels: Vec<(String, String)>,
    pub(super) value: f64,
}

impl Sample {
    pub(super) fn label(&self, name: &str) -> &str {
        let found = self.labels.iter().find(|(label, _)| label == name);
        found.map_or("", |(_, value)| value)
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Every family, or what is wrong with a line.
pub(super) fn parse(text: &str) -> Result<BTreeMap<String, Family>, String> {
    let mut all: BTreeMap<String, Family> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let mut current = String::new();
    if !text.ends_with('\n') {
        return Err("the last line has no end".into());
    }
    for line in text.split_terminator('\n') {
        let wrong = |what: &str| Err(format!("{what}: {line:?}"));
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let Some((name, help)) = rest.split_once(' ') else {
                return wrong("no help");
            };
            if !is_name(name) || all.contains_key(name) {
                return wrong("a family that is none, or is there twice");
            }
            current = name.to_owned();
            let family = all.entry(current.clone()).or_default();
            family.help = help.to_owned();
            continue;
        }
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let Some((name, kind)) = rest.split_once(' ') else {
                return wrong("no type");
            };
            let known = ["counter", "gauge", "histogram"].contains(&kind);
            let family = all.entry(name.to_owned()).or_default();
            if name != current || !known || !family.kind.is_empty() || !family.samples.is_empty() {
                return wrong("a type out of place");
            }
            family.kind = kind.to_owned();
            continue;
        }
        let sample = sample(line)?;
        let Some(family) = all.get_mut(&current) else {
            return wrong("a sample before its family");
        };
        let suffix = sample.name.strip_prefix(current.as_str());
        let fits = matches!(
            (family.kind.as_str(), suffix),
            ("histogram", Some("_bucket" | "_sum" | "_count")) | ("counter" | "gauge", Some(""))
        );
        if !fits {
            return wrong("a sample of another family");
        }
        let mut labels = sample.labels.clone();
        labels.sort();
        let names: BTreeSet<&String> = labels.iter().map(|(name, _)| name).collect();
        if names.len() != labels.len() {
            return wrong("a label twice");
        }
        if !seen.insert((sample.name.clone(), labels)) {
            return wrong("a series twice");
        }
        if family.kind == "counter" && !(sample.value >= 0.0 && current.ends_with("_total")) {
            return wrong("no counter");
        }
        family.samples.push(sample);
    }
    for (name, family) in &all {
        if family.kind.is_empty() {
            return Err(format!("{name} has no type"));
        }
        if family.kind == "histogram" {
            histogram(family).map_err(|what| format!("{name}: {what}"))?;
        }
    }
    Ok(all)
}

fn sample(line: &str) -> Result<Sample, String> {
    let wrong = |what: &str| format!("{what}: {line:?}");
    let end = line
        .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .ok_or_else(|| wrong("no value"))?;
    let (name, mut rest) = line.split_at(end);
    if !is_name(name) {
        return Err(wrong("no name"));
    }
    let mut labels = Vec::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            if let Some(after) = rest.strip_prefix('}') {
                rest = after;
                break;
            }
            let (label, after) = rest.split_once("=\"").ok_or_else(|| wrong("no label"))?;
            if !is_name(label) {
                return Err(wrong("no label's name"));
            }
            let mut value = String::new();
            let mut chars = after.char_indices();
            let close = loop {
                match chars.next().ok_or_else(|| wrong("no end of a value"))? {
                    (at, '"') => break at,
                    (_, '\\') => match chars.next() {
                        Some((_, c @ ('\\' | '"'))) => value.push(c),
                        Some((_, 'n')) => value.push('\n'),
                        _ => return Err(wrong("no escape")),
                    },
                    (_, c) => value.push(c),
                }
            };
            labels.push((label.to_owned(), value));
            rest = after.get(close + 1..).unwrap_or_default();
            match rest.strip_prefix(',') {
                Some(after) => rest = after,
                None if rest.starts_with('}') => {}
                None => return Err(wrong("something between labels")),
            }
        }
    }
    let value = rest.strip_prefix(' ').ok_or_else(|| wrong("no blank"))?;
    let value = match value {
        "+Inf" => f64::INFINITY,
        // No time, no exemplar.
        value => value.parse().map_err(|_| wrong("no number"))?,
    };
    Ok(Sample {
        name: name.to_owned(),
        labels,
        value,
    })
}

/// Buckets are cumulative and end with everything.
fn histogram(family: &Family) -> Result<(), String> {
    let mut bounds = vec![f64::NEG_INFINITY];
    let mut counts = vec![0.0];
    for bucket in family
        .samples
        .iter()
        .filter(|s| s.name.ends_with("_bucket"))
    {
        bounds.push(match bucket.label("le") {
            "+Inf" => f64::INFINITY,
            bound => bound.parse().map_err(|_| "a bound that is none")?,
        });
        counts.push(bucket.value);
    }
    if !bounds.is_sorted_by(|a, b| a < b) || !counts.is_sorted() {
        return Err("buckets out of order".into());
    }
    let count = family.samples.iter().find(|s| s.name.ends_with("_count"));
    match (bounds.last(), counts.last(), count) {
        (Some(&f64::INFINITY), Some(all), Some(count)) if *all == count.value => Ok(()),
        _ => Err("the last bucket is not everything".into()),
    }
}

#[test]
fn the_reader_refuses_what_the_format_does_not_allow() {
    let ok = "# HELP a_total x y\n# TYPE a_total counter\na_total{b=\"c\\\"\\\\\\n\"} 1\n";
    let read = parse(ok).unwrap();
    assert_eq!(read["a_total"].samples[0].label("b"), "c\"\\\n");
    for (from, to) in [
        ("\n", "\r\n"),
        ("counter", "summary"),
        ("a_total{", "b_total{"),
        ("} 1\n", "} 1"),
        ("} 1", "} x"),
        ("} 1", "} -1"),
        ("} 1", "}1"),
        ("} 1", "} 1 # {} 1"),
        ("\\\"", "\""),
        ("\\n", "\\t"),
        ("\\n", "\n"),
        ("b=\"c", "b=\"d\",b=\"c"),
        ("b=\"", "1b=\""),
        ("# TYPE a_total counter\n", ""),
        ("# HELP a_total x y\n", ""),
    ] {
        let wrong = ok.replacen(from, to, 10);
        assert!(parse(&wrong).is_err(), "{wrong}");
    }
    let twice = format!("{ok}a_total{{b=\"c\\\"\\\\\\n\"}} 1\n");
    assert!(parse(&twice).is_err(), "{twice}");
}
