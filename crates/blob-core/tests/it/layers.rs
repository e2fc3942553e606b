//! What each layer does, seen from both sides.

use std::{sync::Arc, time::Duration};

use blob_core::{
    BlobError, BlobId, Clock, DynStorage, FnPolicy, Layer, ManualClock, MemoryStorage, Payload,
    PutAttributes, PutOptions, ReadRange, StorageClass, StorageStack, Timestamp,
    layers::{
        Hide, Limit, Metrics, Operation, Prefix, ReadOnly, Throttle, ThrottleLimits, WithPolicy,
    },
};
use blob_testkit::{CountingStorage, Fault, FaultyStorage, Rule};
use futures::{StreamExt, TryStreamExt};

fn id(text: &str) -> BlobId {
    BlobId::new(text).unwrap()
}

async fn put(storage: &DynStorage, name: &str, text: &'static str) {
    let options = PutOptions::default();
    storage.put(&id(name), Payload::from(text), &options).await.unwrap();
}

async fn names(storage: &DynStorage, prefix: &str) -> Vec<String> {
    let metas: Vec<_> = storage.list(prefix).try_collect().await.unwrap();
    metas.into_iter().map(|meta| meta.id.to_string()).collect()
}

fn policy(decide: impl Fn(&BlobId, u64) -> PutAttributes + Send + Sync + 'static) -> WithPolicy {
    WithPolicy::new(Arc::new(FnPolicy::new(decide)))
}

fn class(class: StorageClass) -> PutAttributes {
    PutAttributes { class: Some(class), ..PutAttributes::default() }
}

#[tokio::test]
async fn the_policy_decides_by_id_and_length_and_the_caller_wins() {
    let memory = MemoryStorage::new();
    let layer = policy(|id, length| match (id.starts_with("p"), length > 3) {
        (true, true) => class(StorageClass::GLACIER),
        (true, false) => class(StorageClass::STANDARD_IA),
        _ => PutAttributes::default(),
    });
    let storage = layer.wrap(Arc::new(memory.clone()));
    put(&storage, "p1", "long").await;
    put(&storage, "p2", "s").await;
    put(&storage, "q1", "long").await;
    let of = |name| memory.attributes(&id(name)).unwrap().class;
    assert_eq!(of("p1"), Some(StorageClass::GLACIER));
    assert_eq!(of("p2"), Some(StorageClass::STANDARD_IA));
    assert_eq!(of("q1"), None, "nothing said, nothing sent");
    let mine = class(StorageClass::GLACIER_IR);
    let options = PutOptions { attributes: mine, ..PutOptions::default() };
    storage.put(&id("p1"), Payload::from("long"), &options).await.unwrap();
    assert_eq!(of("p1"), Some(StorageClass::GLACIER_IR));
}

#[tokio::test]
async fn what_the_policy_refuses_the_storage_never_hears_of() {
    let counting = CountingStorage::over(Arc::new(MemoryStorage::new()));
    let refusal = Some("q blobs can't be archived".to_owned());
    let layer =
        policy(move |_, _| PutAttributes { refusal: refusal.clone(), ..Default::default() });
    let storage = layer.wrap(counting.clone());
    let error = storage.put(&id("q1"), Payload::new(), &PutOptions::default()).await.unwrap_err();
    let text = "what the storage policy says of q1 was not accepted: q blobs can't be archived";
    assert_eq!(error.to_string(), text);
    assert!(matches!(error, BlobError::InvalidOption { .. }));
    assert_eq!(counting.count(Operation::Put), 0);
}

#[tokio::test]
async fn a_hidden_blob_is_not_listed_and_otherwise_there() {
    let storage = Hide::named(".storageconfig").wrap(Arc::new(MemoryStorage::new()));
    for name in [".storageconfig", ".storageconfig2", "p1"] {
        put(&storage, name, "{}").await;
    }
    assert_eq!(names(&storage, "").await, [".storageconfig2", "p1"]);
    assert_eq!(names(&storage, ".storageconfig").await, [".storageconfig2"]);
    assert_eq!(storage.get(&id(".storageconfig"), ReadRange::Full).await.unwrap(), "{}");
    storage.delete(&id(".storageconfig")).await.unwrap();
    assert!(storage.head(&id(".storageconfig")).await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn a_prefix_is_put_on_and_taken_off_and_hides_its_neighbours() {
    let memory = MemoryStorage::new();
    let whole: DynStorage = Arc::new(memory.clone());
    let part = Prefix::new("a-").unwrap().wrap(whole.clone());
    for name in ["a-", "b-p1", "a"] {
        put(&whole, name, "other").await;
    }
    put(&part, "p1", "mine").await;
    assert_eq!(whole.get(&id("a-p1"), ReadRange::Full).await.unwrap(), "mine");
    assert_eq!(names(&part, "").await, ["p1"]);
    assert_eq!(part.head(&id("p1")).await.unwrap().id, id("p1"));
    let error = part.get(&id("p2"), ReadRange::Full).await.unwrap_err();
    assert!(matches!(error, BlobError::NotFound { id } if id.as_str() == "p2"));
    let long = id(&"x".repeat(1023));
    let error = part.head(&long).await.unwrap_err();
    assert!(matches!(error, BlobError::InvalidOption { .. }), "{error}");
    assert!(Prefix::new("folder/").is_err());
    assert!(Prefix::new("").is_err());
}

#[tokio::test]
async fn a_list_through_a_prefix_can_be_dropped_half_way_and_tells_errors() {
    let faulty = FaultyStorage::over(Arc::new(MemoryStorage::new()));
    let part = Prefix::new("a-").unwrap().wrap(faulty.clone());
    for name in ["p1", "p2", "p3"] {
        put(&part, name, "x").await;
    }
    let mut list = part.list("p");
    assert_eq!(list.next().await.unwrap().unwrap().id, id("p1"));
    drop(list);
    faulty.rule(Rule::new(Fault::midway(2, Fault::transient)));
    let items: Vec<_> = part.list("p").collect().await;
    assert_eq!(items.len(), 3);
    assert!(matches!(items[2], Err(BlobError::Transient { .. })));
}

#[tokio::test]
async fn read_only_lets_reads_through() {
    let memory: DynStorage = Arc::new(MemoryStorage::new());
    put(&memory, "p1", "x").await;
    let storage = ReadOnly.wrap(memory);
    assert_eq!(storage.get(&id("p1"), ReadRange::Full).await.unwrap(), "x");
    assert_eq!(names(&storage, "").await, ["p1"]);
    let error = storage.delete(&id("p1")).await.unwrap_err();
    assert_eq!(error.to_string(), "delete is not possible: the connection is read-only");
    assert!(storage.archive().unwrap().read_state(&id("p1")).await.unwrap().is_readable());
}

#[tokio::test]
async fn metrics_count_attempts_errors_and_bytes_by_kind() {
    let metrics = Metrics::new();
    let storage = metrics.wrap(Arc::new(MemoryStorage::new()));
    put(&storage, "p1", "12345").await;
    put(&storage, "xn0_1", "123").await;
    let before = metrics.snapshot();
    _ = storage.get(&id("p1"), ReadRange::Suffix(2)).await;
    _ = storage.get(&id("p2"), ReadRange::Full).await;
    _ = storage.head(&id("kopia.repository")).await;
    assert_eq!(names(&storage, "").await.len(), 2);
    let all = metrics.snapshot();
    let new = all.since(&before);
    assert_eq!(all.of(Operation::Put, "xn").bytes, 3);
    assert_eq!(all.total(Operation::Put).bytes, 8);
    assert_eq!(new.total(Operation::Put).attempts, 0);
    let gets = new.of(Operation::Get, "p");
    assert_eq!((gets.attempts, gets.errors, gets.bytes), (2, 1, 2));
    assert_eq!(new.of(Operation::Head, "kopia.repository").errors, 1);
    assert_eq!(new.total(Operation::List).listed, 2);
    assert_eq!(new.attempts(), 4);
    let kinds: Vec<_> = new.iter().map(|(op, kind, _)| format!("{op} {kind}")).collect();
    assert_eq!(kinds, ["get p", "head kopia.repository", "list "]);
}

#[tokio::test]
async fn no_more_requests_run_at_once_than_the_limit() {
    let slow = FaultyStorage::over(Arc::new(MemoryStorage::new()));
    slow.rule(Rule::new(Fault::Late(Duration::from_millis(2))));
    let counting = CountingStorage::over(slow);
    let storage = Limit::requests(3).wrap(counting.clone());
    let ids: Vec<_> = (0..30).map(|n| id(&format!("p{n}"))).collect();
    let puts = ids.iter().map(|id| async {
        let options = PutOptions::default();
        storage.put(id, Payload::from("x"), &options).await.unwrap();
        _ = storage.get(id, ReadRange::Full).await.unwrap();
        _ = storage.head(id).await.unwrap();
        storage.delete(id).await.unwrap();
    });
    futures::future::join_all(puts).await;
    assert_eq!(counting.at_once_max(), 3);
    assert_eq!(counting.calls().len(), 120);
}

#[tokio::test]
async fn a_list_holds_no_place_between_its_items() {
    let storage = Limit::requests(1).wrap(Arc::new(MemoryStorage::new()));
    for name in ["p1", "p2", "p3"] {
        put(&storage, name, "x").await;
    }
    let mut list = storage.list("p");
    let mut read = 0;
    while let Some(meta) = list.next().await {
        let get = storage.get(&meta.as_ref().unwrap().id, ReadRange::Full);
        let got = tokio::time::timeout(Duration::from_secs(10), get).await;
        assert_eq!(got.expect("the list holds the only place").unwrap(), "x");
        read += 1;
    }
    assert_eq!(read, 3);
}

/// The list's page takes long; meanwhile the only place is taken.
#[tokio::test(start_paused = true)]
async fn a_list_holds_a_place_while_a_page_is_fetched() {
    let slow = FaultyStorage::over(Arc::new(MemoryStorage::new()));
    slow.rule(Rule::new(Fault::Late(Duration::from_secs(60))).on(Operation::List));
    let storage = Limit::requests(1).wrap(slow);
    let mut list = storage.list("");
    let page = list.next();
    let get = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let begun = tokio::time::Instant::now();
        assert!(storage.head(&id("p1")).await.unwrap_err().is_not_found());
        begun.elapsed()
    };
    let (page, waited) = futures::future::join(page, get).await;
    assert!(page.is_none());
    assert!(waited >= Duration::from_secs(58), "the head ran during the list: {waited:?}");
}

#[tokio::test]
async fn a_thaw_runs_by_the_clock_and_a_lifecycle_rule_works_behind_our_backs() {
    let clock = Arc::new(ManualClock::at(Timestamp::from_secs(1_800_000_000)));
    let memory = MemoryStorage::with_clock(clock.clone());
    let storage = StorageStack::over(Arc::new(memory.clone())).build();
    put(&storage, "p1", "x").await;
    assert!(!storage.head(&id("p1")).await.unwrap().is_cold());
    assert!(memory.set_class(&id("p1"), StorageClass::GLACIER));
    let error = storage.get(&id("p1"), ReadRange::Full).await.unwrap_err();
    assert_eq!(error.to_string(), "blob p1 is archived (GLACIER)");
    let request = blob_core::ThawRequest { tier: blob_core::Tier::Expedited, days: 1 };
    storage.archive().unwrap().thaw(&id("p1"), &request).await.unwrap();
    clock.advance(Duration::from_secs(5 * 60 - 1));
    assert!(storage.get(&id("p1"), ReadRange::Full).await.is_err());
    clock.sleep(Duration::from_secs(1)).await;
    assert_eq!(storage.get(&id("p1"), ReadRange::Full).await.unwrap(), "x");
}

/// A storage that is slowed down, and the clock by which it is.
fn throttled(limits: ThrottleLimits) -> (DynStorage, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(Timestamp::from_secs(0)));
    let layer = Throttle::to(limits).clock(clock.clone());
    (layer.wrap(Arc::new(MemoryStorage::new())), clock)
}

#[tokio::test]
async fn a_throttle_keeps_the_rate_of_bytes_over_time() {
    let limits = ThrottleLimits { upload_bytes_per_second: 100.0, ..Default::default() };
    let (storage, clock) = throttled(limits);
    let millis = || clock.now().nanos() / 1_000_000;
    let blob = Payload::from(vec![0; 250]);
    let put = async |name| storage.put(&id(name), blob.clone(), &PutOptions::default()).await;
    put("p1").await.unwrap();
    assert_eq!(millis(), 0, "the first second's bytes are there, the rest is owed");
    put("p2").await.unwrap();
    assert_eq!(millis(), 1500, "p1 owed 150 bytes");
    put("p3").await.unwrap();
    assert_eq!(millis(), 4000, "p2 owed 250 bytes");
    clock.advance(Duration::from_secs(3600));
    let later = millis();
    put("p4").await.unwrap();
    put("p5").await.unwrap();
    assert_eq!(millis() - later, 1500, "an idle hour saves up one second, not an hour");
    storage.get(&id("p5"), ReadRange::Full).await.unwrap();
    assert_eq!(millis() - later, 1500, "reads have a limit of their own");
}

#[tokio::test]
async fn packs_of_any_size_go_within_a_tenth_of_the_limit() {
    for (limit, size) in [(1_000, 20_000), (1_000, 300), (50_000, 20_000), (7, 10)] {
        let limits =
            ThrottleLimits { upload_bytes_per_second: f64::from(limit), ..Default::default() };
        let (storage, clock) = throttled(limits);
        let (begun, mut sent) = (clock.now(), 0_u32);
        // Half an hour of them: what a blob owes is paid before the next one.
        for number in 0.. {
            let length = size / 2 + (number * 7_919) % size;
            let blob = Payload::from(vec![0; length as usize]);
            storage.put(&id("p"), blob, &PutOptions::default()).await.unwrap();
            let took = clock.now().since(begun).as_secs_f64();
            if took > 1_800.0 {
                let rate = f64::from(sent) / took;
                let share = rate / f64::from(limit);
                assert!((0.9..=1.1).contains(&share), "{limit} B/s, {size} bytes each: {rate} B/s");
                break;
            }
            sent += length;
        }
    }
}

#[tokio::test]
async fn a_throttle_pays_for_ranges_before_and_for_whole_blobs_after() {
    let limits = ThrottleLimits { download_bytes_per_second: 100.0, ..Default::default() };
    let (storage, clock) = throttled(limits);
    let millis = || clock.now().nanos() / 1_000_000;
    storage.put(&id("p"), Payload::from(vec![0; 300]), &PutOptions::default()).await.unwrap();
    let range = ReadRange::Bytes { offset: 0, length: 200 };
    storage.get(&id("p"), range).await.unwrap();
    assert_eq!(millis(), 0);
    storage.get(&id("p"), ReadRange::Full).await.unwrap();
    assert_eq!(millis(), 1000, "the whole blob waited for what the range owed");
    storage.get(&id("p"), range).await.unwrap();
    assert_eq!(millis(), 4000, "and the range for what the whole blob owed");
}

#[tokio::test]
async fn a_throttle_counts_requests_by_what_they_do() {
    let limits = ThrottleLimits {
        reads_per_second: 2.0,
        writes_per_second: 1.0,
        lists_per_second: 4.0,
        ..Default::default()
    };
    let (storage, clock) = throttled(limits);
    let millis = || clock.now().nanos() / 1_000_000;
    for name in ["p1", "p2", "p3"] {
        put(&storage, name, "x").await;
    }
    assert_eq!(millis(), 1000, "one at once, one owed, then one that waits a second");
    for _ in 0..4 {
        storage.head(&id("p1")).await.unwrap();
    }
    assert_eq!(millis(), 1500);
    for _ in 0..6 {
        assert_eq!(names(&storage, "p").await.len(), 3);
    }
    assert_eq!(millis(), 1750);
}
