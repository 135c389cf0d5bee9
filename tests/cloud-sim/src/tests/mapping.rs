//! Who a caller is in a cluster: modes, precedence, dead entries, templates.

use super::client::*;
use crate::{Scenario, Sim};

/// The Kubernetes user of a role's or user's session; `None` for 401.
async fn user(sim: &Sim, cluster: &str, arn: &str, session: &str) -> Option<String> {
    let keys = {
        let mut world = sim.shared.world();
        let principal = crate::arn::Principal::parse(arn).unwrap();
        if principal.kind == "role" {
            let (id, key) = world.issue(&principal, session, 3600, None);
            Keys {
                id,
                secret: key.secret,
                token: key.session.map(|s| s.token),
            }
        } else {
            let id = format!("AKIA{}", principal.name.to_uppercase());
            world.keys.insert(
                id.clone(),
                crate::world::Key {
                    secret: "s".into(),
                    holder: principal,
                    session: None,
                },
            );
            Keys {
                id,
                secret: "s".into(),
                token: None,
            }
        }
    };
    let answer = Kube::new(sim, cluster, &keys).get("/api/v1/secrets").await;
    match answer.status {
        401 => None,
        // The refusal names the user; administrators get through.
        403 => Some(
            answer.json()["message"]
                .as_str()
                .unwrap()
                .split('"')
                .nth(1)
                .unwrap()
                .to_owned(),
        ),
        200 => Some("(may read secrets)".into()),
        other => panic!("{other}: {}", answer.text()),
    }
}

const ADMIN: Option<&str> = Some("(may read secrets)");

fn role(name: &str) -> String {
    format!("arn:aws:iam::111122223333:role/{name}")
}

fn iam_user(name: &str) -> String {
    format!("arn:aws:iam::111122223333:user/{name}")
}

async fn demo() -> Sim {
    Sim::start(Scenario::demo().unwrap()).await.unwrap()
}

#[tokio::test]
async fn an_entry_replaces_the_line_as_a_whole() {
    let sim = demo().await;
    // The line says system:masters; the entry does not, and it counts alone.
    assert_eq!(
        user(&sim, "prod", &role("deployer"), "s").await.as_deref(),
        Some("deployer")
    );
    assert_eq!(
        user(&sim, "prod", &role("break-glass"), "s")
            .await
            .as_deref(),
        ADMIN
    );
    assert_eq!(
        user(&sim, "prod", &iam_user("alice"), "").await.as_deref(),
        ADMIN
    );
    assert_eq!(
        user(&sim, "prod", &iam_user("people/bob"), "")
            .await
            .as_deref(),
        Some("bob")
    );
}

#[tokio::test]
async fn a_dead_entry_lets_the_line_live_again() {
    let sim = demo().await;
    assert_eq!(
        user(&sim, "prod", &role("recreated"), "s").await.as_deref(),
        Some("contractor")
    );
}

#[tokio::test]
async fn paths_matter_to_entries_and_kill_lines() {
    let sim = demo().await;
    let sso = "aws-reserved/sso.amazonaws.com/eu-west-1/AWSReservedSSO_ReadOnly_fedcba9876543210";
    // The entry counts and its template is rendered; the line with a path is dead.
    assert_eq!(
        user(&sim, "prod", &role(sso), "carol@example.com")
            .await
            .as_deref(),
        ADMIN
    );
    let entry = {
        let world = sim.shared.world();
        let cluster = &world.clusters[0];
        cluster.entries.contains_key(&role(sso))
    };
    assert!(entry);
    sim.shared.world().clusters[0].entries.remove(&role(sso));
    assert_eq!(user(&sim, "prod", &role(sso), "carol").await, None);
}

#[tokio::test]
async fn templates_are_rendered_or_the_door_stays_shut() {
    let sim = demo().await;
    assert_eq!(
        user(&sim, "prod", &role("auditor"), "a@b").await.as_deref(),
        Some("audit:a-b")
    );
    assert_eq!(
        user(&sim, "prod", &role("node"), "i-0123456789abcdef0")
            .await
            .as_deref(),
        Some("system:node:ip-0123456789abcdef0.compute.internal")
    );
    assert_eq!(user(&sim, "prod", &role("node"), "somebody").await, None);
    assert_eq!(
        user(&sim, "prod", &role("fargate"), "pod").await.as_deref(),
        Some("system:node:pod")
    );
}

#[tokio::test]
async fn the_last_of_two_lines_counts_and_accounts_come_last() {
    let sim = demo().await;
    assert_eq!(
        user(&sim, "prod", &role("legacy-ops"), "s")
            .await
            .as_deref(),
        Some("legacy")
    );
    assert_eq!(
        user(&sim, "prod", "arn:aws:iam::444455556666:user/vendor", "")
            .await
            .as_deref(),
        Some("arn:aws:iam::444455556666:user/vendor")
    );
    assert_eq!(
        user(&sim, "prod", "arn:aws:iam::444455556666:role/binding", "s")
            .await
            .as_deref(),
        Some("arn:aws:iam::444455556666:role/binding")
    );
    // Nobody mapped this one.
    assert_eq!(user(&sim, "prod", &role("irsa-payments"), "s").await, None);
}

#[tokio::test]
async fn a_config_map_cluster_knows_lines_and_its_creator() {
    let sim = demo().await;
    assert_eq!(
        user(&sim, "dev", &role("team/platform/platform-admin"), "s")
            .await
            .as_deref(),
        ADMIN,
        "the line is path-less"
    );
    assert_eq!(
        user(&sim, "dev", &iam_user("erin"), "").await.as_deref(),
        ADMIN,
        "the creator, whom no API shows"
    );
    // `groups: developers` is no list: the line stays, without groups.
    assert_eq!(
        user(&sim, "dev", &role("deployer"), "s").await.as_deref(),
        Some("deployer")
    );
    // mapUsers does not parse: all of it is lost, mapRoles is not.
    assert_eq!(user(&sim, "dev", &iam_user("alice"), "").await, None);
}

#[tokio::test]
async fn an_api_cluster_does_not_read_lines() {
    let mut scenario = Scenario::demo().unwrap();
    scenario.clusters[0].mode = "API".into();
    let sim = Sim::start(scenario).await.unwrap();
    assert_eq!(user(&sim, "prod", &role("break-glass"), "s").await, None);
    assert_eq!(user(&sim, "prod", &role("recreated"), "s").await, None);
    assert_eq!(
        user(&sim, "prod", &role("deployer"), "s").await.as_deref(),
        Some("deployer")
    );
}

#[tokio::test]
async fn the_demo_and_generated_clouds_can_be_read_by_their_reader() {
    let size = crate::Size {
        namespaces: 5,
        entries: 10,
        ..crate::Size::default()
    };
    for (scenario, cluster, role) in [
        (Scenario::demo().unwrap(), "prod", "eks-reader"),
        (Scenario::minimal().unwrap(), "lab", "eks-reader"),
        (crate::generate(7, size), "generated", "reader"),
    ] {
        let sim = Sim::start(scenario).await.unwrap();
        let keys = assume(
            &sim,
            &static_keys(&sim),
            &format!("arn:aws:iam::111122223333:role/{role}"),
            &[],
        )
        .await;
        let kube = Kube::new(&sim, cluster, &keys);
        for target in [
            "/api/v1/namespaces",
            "/api/v1/serviceaccounts",
            "/apis/rbac.authorization.k8s.io/v1/rolebindings",
            "/api/v1/configmaps",
        ] {
            assert_eq!(kube.get(target).await.status, 200, "{cluster} {target}");
        }
        assert_eq!(kube.get("/api/v1/secrets").await.status, 403);
        let env = sim.env(cluster);
        assert!(
            env.iter()
                .any(|(k, v)| k == "AWS_ENDPOINT_URL" && *v == sim.aws_url())
        );
        assert!(env.iter().any(|(k, _)| k == "BATON_EKS_ASSUME_ROLE_ARN"));
    }
}

#[tokio::test]
async fn the_same_seed_makes_the_same_cloud() {
    let size = crate::Size::default();
    let text = |seed: u64| format!("{:?}", crate::generate(seed, size));
    assert_eq!(text(1), text(1));
    assert_ne!(text(1), text(2));
    let sim = Sim::start(crate::generate(1, size)).await.unwrap();
    let group = "rbac.authorization.k8s.io";
    let total = sim.count("generated", group, "rolebindings")
        + sim.count("generated", group, "clusterrolebindings");
    // 120 generated, the reader's own, and five that every cluster has.
    assert_eq!(total, 120 + 1 + 5);
    assert_eq!(sim.count("generated", "", "namespaces"), 20 + 4);
    assert_eq!(sim.count("generated", "", "serviceaccounts"), 60 + 24);
}
