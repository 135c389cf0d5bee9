//! A second opinion: small random clusters, judged by an evaluator that knows
//! nothing of the connector's index. It lets every caller log in, session by
//! session, as the authenticator would, and asks RBAC as the API server would.
//! Slow and plain on purpose; what both agree on is what the file says.

pub mod facts;
pub mod judge;
mod policies;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::cloud::*;
use facts::{Dice, facts};
use judge::key;

#[test]
fn random_clusters_are_judged_as_a_plain_evaluator_judges_them() {
    let count = 1500_u64;
    let (mut grants, mut wrong) = (BTreeMap::<String, usize>::new(), Vec::new());
    for seed in 0..count {
        let (facts, cloud) = facts(&mut Dice(seed * 7919 + 13));
        let told: BTreeMap<String, String> = sync(cloud)
            .grants
            .iter()
            .filter(|g| g.on.kind != "role")
            .map(|g| {
                let meta: Value =
                    serde_json::from_str(attribute(&g.attributes, "metadata").unwrap()).unwrap();
                {
                    let how = meta["certainty"].as_str().unwrap();
                    (key(&grant_id(g), how), how.to_string())
                }
            })
            .collect();
        let truth: BTreeMap<String, &str> = facts
            .truth()
            .into_iter()
            .map(|(id, how)| (key(&id, how), how))
            .collect();
        for how in told.values() {
            *grants.entry(how.clone()).or_default() += 1;
        }
        let keys: BTreeSet<&String> = told.keys().chain(truth.keys()).collect();
        for key in keys {
            let (t, o) = (told.get(key).map(String::as_str), truth.get(key).copied());
            if t != o {
                wrong.push(format!("seed {seed}: {key}: file {t:?}, oracle {o:?}"));
            }
        }
        if wrong.len() > 40 {
            break;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // The comparison means something only if every certainty occurs often.
    for how in ["certain", "session", "conditional", "latent"] {
        assert!(
            grants.get(how).is_some_and(|n| *n as u64 * 40 > count),
            "{grants:?}"
        );
    }
}
