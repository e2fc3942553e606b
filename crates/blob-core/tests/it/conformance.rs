//! The storage in memory keeps its promise, bare and under every layer.

use std::{sync::Arc, time::Duration};

use blob_core::{
    Layer, ManualClock, MemoryStorage, NoPolicy, SeededEntropy, StorageStack, Timestamp,
    layers::{Hide, Limit, Metrics, Prefix, ReadOnly, Retry, Throttle, ThrottleLimits, WithPolicy},
};
use blob_testkit::{Fresh, conformance, layers};

/// A storage under `layers` whose clock the suite can move.
fn fresh(stack: impl FnOnce(StorageStack) -> StorageStack) -> Fresh {
    let clock = Arc::new(ManualClock::at(Timestamp::from_secs(1_800_000_000)));
    let memory = MemoryStorage::with_clock(clock.clone());
    let storage = stack(StorageStack::over(Arc::new(memory))).build();
    Fresh::new(storage).with_clock(move |by| clock.advance(by))
}

fn retry() -> Retry {
    let clock = Arc::new(ManualClock::at(Timestamp::from_secs(0)));
    Retry::new().clock(clock).entropy(Arc::new(SeededEntropy::new(1)))
}

/// A megabyte and a thousand calls a second, on a clock that never makes a test wait.
fn throttle() -> Throttle {
    let limits = ThrottleLimits {
        download_bytes_per_second: 1e6,
        upload_bytes_per_second: 1e6,
        reads_per_second: 1e3,
        writes_per_second: 1e3,
        lists_per_second: 1e3,
        reads_at_once: 3,
        writes_at_once: 3,
    };
    Throttle::to(limits).clock(Arc::new(ManualClock::at(Timestamp::from_secs(0))))
}

conformance!(memory, async || fresh(|bare| bare));
conformance!(memory_without_classes, async || Arc::new(MemoryStorage::new().without_classes()));
conformance!(under_retry, async || fresh(|bare| bare.layer(retry())));
conformance!(under_limit, async || fresh(|bare| bare.layer(Limit::requests(3))));
conformance!(under_throttle, async || fresh(|bare| bare.layer(throttle())));
conformance!(under_metrics, async || fresh(|bare| bare.layer(Metrics::new())));
conformance!(under_policy, async || fresh(|bare| bare.layer(WithPolicy::new(Arc::new(NoPolicy)))));
conformance!(under_hide, async || fresh(|bare| bare.layer(Hide::named(".storageconfig"))));
conformance!(under_prefix, async || fresh(|bare| bare.layer(Prefix::new("pre-").unwrap())));
conformance!(under_read_only, async || fresh(|bare| bare.layer(ReadOnly)));
conformance!(under_all_of_them, async || fresh(|bare| {
    bare.layer(Prefix::new("pre-").unwrap())
        .layer(Metrics::new())
        .layer(Limit::requests(2))
        .layer(throttle())
        .layer(retry())
        .layer(WithPolicy::new(Arc::new(NoPolicy)))
        .layer(Hide::named(".storageconfig"))
}));

#[test]
fn no_layer_drops_or_bypasses_a_capability() {
    let all: [&dyn Layer; 10] = [
        &retry(),
        &retry().pauses(Duration::ZERO, Duration::ZERO).attempts(2),
        &Limit::requests(3),
        &throttle(),
        &Throttle::to(ThrottleLimits::default()),
        &Metrics::new(),
        &WithPolicy::new(Arc::new(NoPolicy)),
        &Hide::named(".storageconfig"),
        &Prefix::new("pre-").unwrap(),
        &ReadOnly,
    ];
    blob_testkit::block_on(async {
        for layer in all {
            layers::run(layer).await;
        }
    });
}
