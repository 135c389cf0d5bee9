//! How fast a million grants are reviewed and in how much memory: 10,000
//! principals with 100 accesses each, from the file to findings and reports.
//!
//! `cargo bench -p baton-host --bench review -- 10000` takes another number of
//! grants. Peaks are those of the whole process, the decoder's included.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    missing_docs,
    reason = "a benchmark"
)]

#[path = "large/peak.rs"]
mod peak;

use std::io::{self, Write};
use std::time::Instant;

use baton_host::c1z::annotations::{pack, profile};
use baton_host::c1z::{FileOptions, SyncType, Writer, pb};
use baton_host::review::report::{self, Review};
use baton_host::review::{Source, load};
use peak::peak_kib;
use serde_json::{Value, json};

const PRINCIPALS: usize = 10_000;
const NAMESPACES: usize = 1_000;

/// Counts what is written to it.
#[derive(Default)]
struct Counted(u64);

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn resource(kind: &str, id: &str, profile: Option<&Value>) -> pb::Resource {
    let role = pb::RoleTrait {
        profile: profile.and_then(Value::as_object).map(self::profile),
        ..Default::default()
    };
    pb::Resource {
        id: Some(pb::ResourceId {
            resource_type: kind.into(),
            resource: id.into(),
            ..Default::default()
        }),
        annotations: profile.map(|_| pack(&role)).into_iter().collect(),
        ..Default::default()
    }
}

/// Half of the principals are IAM roles, the others service accounts.
fn principal(number: usize) -> (&'static str, String) {
    if number.is_multiple_of(2) {
        let name = format!("arn:aws:iam::111122223333:role/team/role-{number}");
        ("role", name)
    } else {
        (
            "service_account",
            format!("ns-{}/app-{number}", number % NAMESPACES),
        )
    }
}

fn write(file: &std::path::Path, grants: usize) {
    let mut writer = Writer::open(file, SyncType::Full, &FileOptions::default()).unwrap();
    let rules =
        json!({"rules": [{"apiGroups": [""], "resources": ["pods", "secrets"], "verbs": ["get"]}]});
    let each = grants.div_ceil(PRINCIPALS);
    for role in 0..each {
        let row = resource("cluster_role", &format!("role-{role}"), Some(&rules));
        writer.put_resource(&row).unwrap();
    }
    for number in 0..PRINCIPALS {
        let (kind, id) = principal(number);
        writer
            .put_resource(&resource(kind, &id, Some(&json!({}))))
            .unwrap();
    }
    for number in 0..grants {
        let (who, role) = (number % PRINCIPALS, number / PRINCIPALS);
        let (kind, id) = principal(who);
        let namespace = format!("ns-{}", who % NAMESPACES);
        let on = format!("role-{role}");
        let held = format!("cluster_role:{on}:{namespace}:member");
        let metadata = json!({"certainty": "certain", "path_count": 1, "paths": [
            {"via": "access-entry", "mapping": format!("access entry {id}"), "binding": format!("{namespace}/{on}")}]});
        writer
            .put_grant(pb::Grant {
                id: format!("{held}:{kind}:{id}"),
                entitlement: Some(pb::Entitlement {
                    id: held,
                    resource: Some(resource("cluster_role", &on, None)),
                    ..Default::default()
                }),
                principal: Some(resource(kind, &id, None)),
                annotations: vec![pack(&pb::GrantMetadata {
                    metadata: metadata.as_object().map(profile),
                })],
                ..Default::default()
            })
            .unwrap();
    }
    writer.finish().unwrap();
}

fn main() {
    let grants = std::env::args()
        .filter_map(|argument| argument.parse().ok())
        .next()
        .unwrap_or(1_000_000);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("large.c1z");
    write(&file, grants);
    let size = std::fs::metadata(&file).unwrap().len();
    println!(
        "{grants} grants, {} MiB; {} MiB before",
        size >> 20,
        peak_kib() >> 10
    );
    let clock = Instant::now();
    let told = |what: &str| {
        let seconds = clock.elapsed().as_secs_f64();
        println!("{seconds:>8.2} s  peak {:>5} MiB  {what}", peak_kib() >> 10);
    };
    let model = load(&[Source::from(file.as_path())], &FileOptions::default()).unwrap();
    told("loaded");
    let review = Review::new(&model);
    let items: usize = review.findings.iter().map(|one| one.items.len()).sum();
    told(&format!("{items} items found"));
    let mut out = Counted::default();
    report::csv(&model, &mut out).unwrap();
    told(&format!("CSV, {} MiB", out.0 >> 20));
    let mut out = Counted::default();
    report::json(&model, &review, &mut out).unwrap();
    told(&format!("JSON, {} MiB", out.0 >> 20));
    let mut out = Counted::default();
    report::html(&model, &review, &mut out).unwrap();
    told(&format!("HTML, {} MiB", out.0 >> 20));
}
