//! Attacks of a plugin on its host. Each room runs its attacks and compares
//! what came of them with its part of `docs/attacks.md`: a row of that page is
//! what a test has seen, and `UPDATE_DOCS=1` writes it anew.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

mod lab;
mod page;

/// Rooms in the order of the page, and one test for each.
macro_rules! rooms {
    ($($name:ident)*) => {
        $(mod $name;)*

        /// Names of all rooms.
        const ROOMS: &[&str] = &[$(stringify!($name)),*];

        mod holds {
            $(
                #[tokio::test]
                async fn $name() {
                    let room = crate::$name::room().await;
                    crate::page::compare(stringify!($name), &room);
                }
            )*
        }
    };
}

rooms! {
    iam
    kubernetes
    writes
    paths
    authorities
    headers
    clusters
    rights
    answers
}

mod honest;
mod machine;
mod memory;
