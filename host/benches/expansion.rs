//! How fast grants expand and in how much memory: 10,000 entitlements that
//! 100 roles hold, with 100 people in each, are a million inherited grants.
//!
//! `cargo bench -p baton-host --bench expansion -- 100` takes another number
//! of entitlements. A circle of all roles comes second: every holder of one
//! role then holds all.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    missing_docs,
    reason = "a benchmark"
)]

#[path = "large/peak.rs"]
mod peak;

use std::sync::atomic::AtomicBool;
use std::time::Instant;

use baton_host::c1z::annotations::pack;
use baton_host::c1z::{FileOptions, SyncType, Writer, pb};
use baton_host::people::{Sessions, Watch, expand};
use peak::peak_kib;

const ROLES: usize = 100;
const PEOPLE: usize = 100;

fn resource(kind: &str, id: &str) -> pb::Resource {
    pb::Resource {
        id: Some(pb::ResourceId {
            resource_type: kind.into(),
            resource: id.into(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn entitlement(kind: &str, id: &str) -> pb::Entitlement {
    pb::Entitlement {
        id: format!("{kind}:{id}:member"),
        resource: Some(resource(kind, id)),
        ..Default::default()
    }
}

fn grant(held: pb::Entitlement, kind: &str, id: &str, expands: bool) -> pb::Grant {
    let through = pb::GrantExpandable {
        entitlement_ids: vec![format!("{kind}:{id}:member")],
        ..Default::default()
    };
    pb::Grant {
        id: format!("{}:{kind}:{id}", held.id),
        entitlement: Some(held),
        principal: Some(resource(kind, id)),
        annotations: expands.then(|| pack(&through)).into_iter().collect(),
        ..Default::default()
    }
}

fn arn(kind: &str, number: usize) -> String {
    format!("arn:aws:iam::111122223333:{kind}/team-{number}")
}

fn main() {
    let entitlements = std::env::args()
        .filter_map(|argument| argument.parse().ok())
        .next()
        .unwrap_or(10_000);
    for circle in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("large.c1z");
        let mut writer = Writer::open(&file, SyncType::Full, &FileOptions::default()).unwrap();
        for number in 0..ROLES {
            let role = arn("role", number);
            writer.put_resource(&resource("role", &role)).unwrap();
            let held = entitlement("role", &role);
            writer.put_entitlement(&held).unwrap();
            for person in 0..PEOPLE {
                let user = arn("user", number * PEOPLE + person);
                writer
                    .put_grant(grant(held.clone(), "iam_user", &user, false))
                    .unwrap();
            }
            if circle {
                let next = arn("role", (number + 1) % ROLES);
                writer.put_grant(grant(held, "role", &next, true)).unwrap();
            }
        }
        // In a circle everybody holds what one role holds.
        for number in 0..entitlements / if circle { ROLES } else { 1 } {
            let held = entitlement("cluster_role", &number.to_string());
            let on = held.resource.as_ref().unwrap();
            writer.put_resource(on).unwrap();
            writer.put_entitlement(&held).unwrap();
            let role = arn("role", number % ROLES);
            writer.put_grant(grant(held, "role", &role, true)).unwrap();
        }
        println!("{}", if circle { "roles in a circle" } else { "roles" });
        println!("{:>8} MiB before", peak_kib() >> 10);
        let clock = Instant::now();
        let mut watch = Watch {
            cancelled: &AtomicBool::new(false),
            found: &mut |_| {},
            warn: &mut |reason, _, _| println!("warning: {reason}"),
        };
        let expanded = expand(&mut writer, &Sessions::new(), &mut watch).unwrap();
        let seconds = clock.elapsed().as_secs_f64();
        println!("{seconds:>8.2} s to expand");
        #[expect(clippy::cast_precision_loss, reason = "a benchmark")]
        let rate = expanded.grants as f64 / seconds;
        println!(
            "{} grants made, {rate:.0} a second; {} circles; peak {} MiB",
            expanded.grants,
            expanded.circles,
            peak_kib() >> 10
        );
        let written = writer.finish().unwrap();
        println!(
            "{:>8.2} s with writing; {} MiB, {} MiB decoded",
            clock.elapsed().as_secs_f64(),
            written.file_bytes >> 20,
            written.decoded_bytes >> 20
        );
    }
}
