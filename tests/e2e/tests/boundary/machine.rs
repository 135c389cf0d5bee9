//! Limits of the machine that no behaviour of the probe can try: components
//! with modules of their own, byte by byte.

use baton_host::sandbox::Component;
use e2e::{bombs, guests};

/// A table that is refused is no trap, in a pool and without one.
#[tokio::test]
async fn tables_stop_at_their_limit() {
    let bytes = bombs::with_instances(guests::bytes("probe"), &bombs::table(20_000), 1);
    let strict = bombs::with_instances(guests::bytes("probe"), &bombs::table(1_000), 1);
    // No machine has the address space for a pool of so many.
    for slots in [1, 100_000] {
        let sandbox = guests::sandbox(slots);
        Component::load(&sandbox, bytes.clone(), |_| false)
            .await
            .unwrap();
        // It does grow.
        let error = Component::load(&sandbox, strict.clone(), |_| false)
            .await
            .expect_err("it did not grow");
        assert!(error.to_string().contains("unreachable"), "{error}");
    }
}

/// Without a pool nothing counts memories but the limiter, which sums them.
#[tokio::test]
async fn several_memories_are_one_sum() {
    let sandbox = guests::sandbox(100_000);
    // A descriptor is made with 64 MiB.
    let few = bombs::with_instances(guests::bytes("probe"), &bombs::memory(320), 2);
    Component::load(&sandbox, few, |_| false).await.unwrap();
    let many = bombs::with_instances(guests::bytes("probe"), &bombs::memory(512), 2);
    let error = Component::load(&sandbox, many, |_| false)
        .await
        .expect_err("the sum is beyond the limit");
    assert!(error.to_string().contains("memory"), "{error}");
}
