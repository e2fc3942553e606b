//! What is tried again, how often, after which pause, and when it ends.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use blob_core::{
    BlobError, BlobId, BlobStorage, Clock, DynStorage, Entropy, Layer, MemoryStorage, Payload,
    PutAttributes, PutOptions, ReadRange, SeededEntropy, StorageClass, ThawRequest, Tier,
    Timestamp,
    layers::{Operation, Retry},
};
use blob_testkit::{CountingStorage, Fault, FaultyStorage, Rule};
use futures::{StreamExt, TryStreamExt, future::BoxFuture};

/// A clock that stands still and remembers every pause.
#[derive(Debug, Default)]
struct Pauses(Mutex<Vec<Duration>>);

impl Clock for Pauses {
    fn now(&self) -> Timestamp {
        Timestamp::default()
    }
    fn sleep(&self, pause: Duration) -> BoxFuture<'static, ()> {
        self.0.lock().unwrap().push(pause);
        Box::pin(std::future::ready(()))
    }
}

/// Chance that always draws the longest pause.
#[derive(Debug)]
struct Longest;

impl Entropy for Longest {
    fn fill(&self, out: &mut [u8]) {
        out.fill(0xff);
    }
}

struct Bench {
    storage: DynStorage,
    faulty: Arc<FaultyStorage>,
    counting: Arc<CountingStorage>,
    memory: MemoryStorage,
    pauses: Arc<Pauses>,
}

/// A storage under a retry layer, with a script beneath it and a log beneath that.
fn bench(retry: Retry) -> Bench {
    let memory = MemoryStorage::new();
    let counting = CountingStorage::over(Arc::new(memory.clone()));
    let faulty = FaultyStorage::over(counting.clone());
    let pauses = Arc::new(Pauses::default());
    let storage = retry.clock(pauses.clone()).wrap(faulty.clone());
    Bench { storage, faulty, counting, memory, pauses }
}

impl Bench {
    fn pauses(&self) -> Vec<Duration> {
        self.pauses.0.lock().unwrap().clone()
    }

    async fn put(&self, name: &str) -> blob_core::Result<blob_core::PutReceipt> {
        self.storage.put(&id(name), Payload::from("mine"), &PutOptions::default()).await
    }

    async fn put_new(&self, name: &str) -> blob_core::Result<blob_core::PutReceipt> {
        let options = PutOptions { if_absent: true, ..PutOptions::default() };
        self.storage.put(&id(name), Payload::from("mine"), &options).await
    }
}

fn id(text: &str) -> BlobId {
    BlobId::new(text).unwrap()
}

fn millis(all: &[u64]) -> Vec<Duration> {
    all.iter().copied().map(Duration::from_millis).collect()
}

#[tokio::test]
async fn pauses_double_up_to_the_longest_and_attempts_end() {
    let rules = Retry::new().attempts(6).entropy(Arc::new(Longest));
    let bench = bench(rules.pauses(Duration::from_millis(100), Duration::from_millis(700)));
    bench.faulty.rule(Rule::new(Fault::before(Fault::transient)));
    let error = bench.storage.get(&id("p1"), ReadRange::Full).await.unwrap_err();
    assert!(matches!(error, BlobError::Transient { .. }));
    assert_eq!(bench.faulty.calls(), 6);
    assert_eq!(bench.pauses(), millis(&[100, 200, 400, 700, 700]));
}

#[tokio::test]
async fn a_storage_that_never_answered_is_not_waited_for() {
    let bench = bench(Retry::new().first_contact(3).entropy(Arc::new(Longest)));
    let nobody = || BlobError::Unreachable { op: "get", source: "nobody listens".into() };
    bench.faulty.rule(Rule::new(Fault::before(nobody)).times(3));
    let error = bench.storage.get(&id("p1"), ReadRange::Full).await.unwrap_err();
    assert!(matches!(error, BlobError::Unreachable { .. }));
    assert_eq!((bench.faulty.calls(), bench.pauses()), (3, millis(&[100, 200])));
    // Any answer is a sign of life, also a bad one: from then on it is waited for.
    let missing = bench.storage.get(&id("p1"), ReadRange::Full).await.unwrap_err();
    assert!(missing.is_not_found());
    bench.faulty.rule(Rule::new(Fault::before(nobody)));
    let error = bench.storage.get(&id("p1"), ReadRange::Full).await.unwrap_err();
    assert!(matches!(error, BlobError::Unreachable { .. }));
    assert_eq!(bench.faulty.calls(), 3 + 1 + 10);
}

#[tokio::test]
async fn pauses_are_drawn_from_their_whole_length() {
    let bench = bench(Retry::new().attempts(200).entropy(Arc::new(SeededEntropy::new(7))));
    bench.faulty.rule(Rule::new(Fault::before(Fault::transient)).times(150));
    bench.put("p1").await.unwrap();
    let late: Vec<_> = bench.pauses().split_off(10);
    let below = |secs| late.iter().filter(|pause| **pause < Duration::from_secs(secs)).count();
    assert!(below(33) == late.len() && below(8) > 15 && below(24) < late.len() - 15, "{late:?}");
}

#[tokio::test]
async fn what_will_not_change_is_asked_once() {
    let errors: [fn() -> BlobError; 5] = [
        || BlobError::NotFound { id: id("p1") },
        || BlobError::AccessDenied { op: "get", id: None, reason: "no".into() },
        || BlobError::Archived { id: id("p1"), class: None, state: blob_core::ReadState::Cold },
        || BlobError::Other { op: "get", id: None, source: "broken".into() },
        || BlobError::TierUnavailable { id: id("p1"), tier: "Expedited".into() },
    ];
    for make in errors {
        let bench = bench(Retry::new());
        bench.faulty.rule(Rule::new(Fault::before(make)));
        assert!(bench.storage.get(&id("p1"), ReadRange::Full).await.is_err());
        assert_eq!(bench.faulty.calls(), 1, "{:?}", make());
    }
}

#[tokio::test]
async fn a_wait_that_the_storage_asks_for_is_kept_and_one_beyond_patience_is_not() {
    let slow_down = |secs| move || BlobError::Throttled { after: Some(Duration::from_secs(secs)) };
    let bench = bench(Retry::new().entropy(Arc::new(Longest)));
    bench.faulty.rule(Rule::new(Fault::before(slow_down(20))).times(1));
    bench.put("p1").await.unwrap();
    assert_eq!(bench.pauses(), millis(&[20_100]));
    bench.faulty.rule(Rule::new(Fault::before(slow_down(3600))));
    let error = bench.put("p1").await.unwrap_err();
    assert!(matches!(error, BlobError::Throttled { .. }));
    assert_eq!(bench.pauses().len(), 1);
}

#[tokio::test]
async fn the_budget_ends_a_storm_and_successes_refill_it() {
    let bench = bench(Retry::new().attempts(4).budget(5));
    bench.faulty.rule(Rule::new(Fault::before(Fault::transient)));
    for _ in 0..10 {
        bench.put("p1").await.unwrap_err();
    }
    // 10 calls and the 5 retries of the budget, not 10 * 4.
    assert_eq!(bench.faulty.calls(), 15);
    bench.faulty.heal();
    bench.put("p1").await.unwrap();
    bench.put("p1").await.unwrap();
    bench.faulty.rule(Rule::new(Fault::before(Fault::transient)));
    bench.put("p1").await.unwrap_err();
    assert_eq!(bench.faulty.calls(), 15 + 2 + 3, "two successes gave two retries");
}

#[tokio::test]
async fn thaws_are_tried_again_too() {
    let bench = bench(Retry::new());
    let class = Some(StorageClass::GLACIER);
    let attributes = PutAttributes { class, ..PutAttributes::default() };
    let options = PutOptions { attributes, ..PutOptions::default() };
    bench.storage.put(&id("p1"), Payload::from("x"), &options).await.unwrap();
    for op in [Operation::Thaw, Operation::ReadState, Operation::Reclass] {
        bench.faulty.rule(Rule::new(Fault::before(Fault::transient)).on(op).times(2));
    }
    let archive = bench.storage.archive().unwrap();
    let request = ThawRequest { tier: Tier::Bulk, days: 1 };
    archive.thaw(&id("p1"), &request).await.unwrap();
    assert!(!archive.read_state(&id("p1")).await.unwrap().is_readable());
    let cold = archive.reclass(&id("p1"), &PutAttributes::default()).await;
    cold.unwrap();
    assert_eq!(bench.pauses().len(), 6);
}

#[tokio::test]
async fn a_put_that_must_be_new_knows_its_own_blob_after_a_lost_answer() {
    let bench = bench(Retry::new());
    bench.faulty.rule(Rule::new(Fault::after(Fault::transient)).on(Operation::Put).times(1));
    let receipt = bench.put_new("xe1").await.unwrap();
    assert_eq!(receipt.modified, Some(bench.storage.head(&id("xe1")).await.unwrap().modified));
    assert_eq!(bench.counting.count(Operation::Put), 2);
    assert_eq!(bench.memory.len(), 1);
}

#[tokio::test]
async fn a_put_that_must_be_new_does_not_take_anothers_blob_for_its_own() {
    for other in ["others", "nine"] {
        let bench = bench(Retry::new());
        bench.faulty.rule(Rule::new(Fault::before(Fault::transient)).on(Operation::Put).times(1));
        let options = PutOptions::default();
        bench.memory.put(&id("xe1"), Payload::from(other), &options).await.unwrap();
        let error = bench.put_new("xe1").await.unwrap_err();
        assert!(matches!(error, BlobError::AlreadyExists { .. }), "{error}");
        assert_eq!(bench.memory.get(&id("xe1"), ReadRange::Full).await.unwrap(), other);
    }
}

#[tokio::test]
async fn a_put_that_must_be_new_and_finds_a_blob_at_once_asks_no_further() {
    let bench = bench(Retry::new());
    bench.put("xe1").await.unwrap();
    let before = bench.faulty.calls();
    assert!(matches!(bench.put_new("xe1").await, Err(BlobError::AlreadyExists { .. })));
    assert_eq!(bench.faulty.calls() - before, 1, "no answer was lost, so it is not ours");
}

#[tokio::test]
async fn a_list_that_fails_begins_anew_and_gives_each_blob_once() {
    for items in [0, 1, 7, 10] {
        let bench = bench(Retry::new());
        for n in 0..10 {
            bench.put(&format!("p{n}")).await.unwrap();
        }
        bench.faulty.rule(Rule::new(Fault::midway(items, Fault::transient)).times(3));
        let listed: Vec<_> = bench.storage.list("p").try_collect().await.unwrap();
        let names: Vec<_> = listed.iter().map(|meta| meta.id.as_str().to_owned()).collect();
        assert_eq!(names, (0..10).map(|n| format!("p{n}")).collect::<Vec<_>>());
        assert_eq!(bench.counting.count(Operation::List), 4);
    }
}

#[tokio::test]
async fn a_list_that_keeps_failing_ends_with_its_error() {
    let bench = bench(Retry::new().attempts(3));
    bench.put("p1").await.unwrap();
    bench.faulty.rule(Rule::new(Fault::midway(1, Fault::transient)));
    let items: Vec<_> = bench.storage.list("").collect().await;
    assert!(matches!(items.as_slice(), [Ok(_), Err(BlobError::Transient { .. })]), "{items:?}");
}
