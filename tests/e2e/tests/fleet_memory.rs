//! Idle clusters cost next to nothing: a task that sleeps, and what is known of
//! them. A process of its own, because it measures its memory.
#![allow(clippy::unwrap_used, clippy::cast_precision_loss, reason = "tests")]

#[path = "../../../host/benches/figures/idle.rs"]
mod idle;

#[test]
fn five_hundred_idle_clusters_need_less_than_ten_mebibytes() {
    let (kib, waiting) = idle::grown_kib(500);
    assert_eq!(waiting, 501);
    assert!(kib < 10 << 10, "{kib} KiB");
}
