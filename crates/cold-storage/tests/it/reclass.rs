//! Running a plan of a change of class: what is copied, what is skipped, and where it ends.

use std::{future, sync::Arc, time::Duration};

use blob_core::{
    BlobError, BlobId, BlobStorage, DynStorage, FnPolicy, Layer, MemoryStorage, Payload,
    PutAttributes, PutOptions, PutPolicy, StorageClass, Timestamp,
    layers::{Operation, ReadOnly},
};
use blob_testkit::{CountingStorage, Fault, FaultyStorage, Rule};
use cold_storage::{
    PriceTable,
    reclass::{
        Ended, Journal, Movable, Outcome, Planner, ReclassError, ReclassOptions, ReclassPlan,
        ReclassReport, run,
    },
};
use futures::TryStreamExt;

const TO: StorageClass = StorageClass::GLACIER_IR;

/// A storage in memory below one that fails on order below one that counts.
struct Bench {
    memory: MemoryStorage,
    faulty: Arc<FaultyStorage>,
    counting: Arc<CountingStorage>,
}

fn id(text: &str) -> BlobId {
    BlobId::new(text).unwrap()
}

fn name(number: usize) -> String {
    format!("p{number:02}")
}

fn policy() -> impl PutPolicy {
    FnPolicy::new(|_, _| PutAttributes {
        class: Some(TO),
        tags: vec![("tier".into(), "cold".into())],
        ..PutAttributes::default()
    })
}

impl Bench {
    /// With so many blobs of class STANDARD.
    async fn new(count: usize) -> Self {
        let memory = MemoryStorage::new();
        for number in 0..count {
            let payload = Payload::from(vec![7; number]);
            memory.put(&id(&name(number)), payload, &PutOptions::default()).await.unwrap();
        }
        let faulty = FaultyStorage::over(Arc::new(memory.clone()));
        let counting = CountingStorage::over(faulty.clone());
        Self { memory, faulty, counting }
    }

    async fn plan(&self) -> ReclassPlan {
        let options = ReclassOptions {
            now: Timestamp::from(std::time::SystemTime::now()),
            older_than_seconds: 0,
            min_bytes: 0,
            keeps_versions: Some(false),
            moved_by_rules: true,
        };
        let (policy, movable) = (policy(), |_: &BlobId| Movable::Anywhere);
        let mut planner = Planner::new(&policy, &movable, PriceTable::built_in(), options);
        let metas: Vec<_> = self.memory.list("").try_collect().await.unwrap();
        metas.iter().for_each(|meta| planner.look(meta));
        planner.finish()
    }

    async fn run(&self, plan: &ReclassPlan, journal: &mut Vec<u8>) -> ReclassReport {
        let before = journal.clone();
        let mut journal = Journal::resume(journal, &before).unwrap();
        let storage: DynStorage = self.counting.clone();
        run(plan, &*storage, &policy(), &mut journal, 4, future::pending(), |_| {}).await.unwrap()
    }

    fn copies(&self) -> usize {
        self.counting.count(Operation::Reclass)
    }

    async fn class(&self, blob: &str) -> StorageClass {
        self.memory.head(&id(blob)).await.unwrap().class.unwrap()
    }
}

#[tokio::test]
async fn each_blob_is_copied_once_with_all_that_the_policy_says() {
    let bench = Bench::new(10).await;
    let plan = bench.plan().await;
    let mut journal = Vec::new();
    let report = bench.run(&plan, &mut journal).await;
    assert!(matches!(report.ended, Ended::Done), "{report:?}");
    assert_eq!((report.moved, report.moved_bytes, report.left), (10, 45, 0));
    assert_eq!(bench.copies(), 10);
    assert!(bench.counting.at_once_max() <= 4 && bench.counting.at_once_max() > 0);
    for number in 0..10 {
        let attributes = bench.memory.attributes(&id(&name(number))).unwrap();
        assert_eq!((attributes.class, attributes.tags.len()), (Some(TO), 1));
    }
    let again = bench.run(&plan, &mut journal).await;
    assert_eq!((again.moved, again.moved_before, again.left), (0, 10, 0));
    assert_eq!(bench.copies(), 10);
    assert!(bench.plan().await.moves.is_empty(), "nothing is left to be planned");
}

#[tokio::test]
async fn what_changed_since_the_plan_is_skipped() {
    let bench = Bench::new(4).await;
    let plan = bench.plan().await;
    bench.memory.delete(&id("p00")).await.unwrap();
    bench.memory.set_class(&id("p01"), StorageClass::STANDARD_IA);
    // Archived between the look and the copy.
    let archived =
        || BlobError::Archived { id: id("p02"), class: None, state: blob_core::ReadState::Cold };
    bench.faulty.rule(Rule::new(Fault::before(archived)).on(Operation::Reclass).times(1));
    let mut journal = Vec::new();
    let report = bench.run(&plan, &mut journal).await;
    let skipped: Vec<_> = report.skipped.into_iter().collect();
    assert_eq!(skipped, [(Outcome::Gone, 1), (Outcome::Changed, 1), (Outcome::Archived, 1)]);
    assert_eq!((report.moved, report.failed.len()), (1, 0));
    assert_eq!(bench.class("p01").await, StorageClass::STANDARD_IA);
}

#[tokio::test]
async fn a_blob_that_fails_keeps_no_other_from_being_moved() {
    let bench = Bench::new(6).await;
    let plan = bench.plan().await;
    bench.faulty.rule(Rule::new(Fault::before(Fault::transient)).on(Operation::Reclass).times(2));
    let mut journal = Vec::new();
    let report = bench.run(&plan, &mut journal).await;
    assert!(matches!(report.ended, Ended::Done), "{report:?}");
    assert_eq!((report.moved, report.failed.len(), report.left), (4, 2, 0));
    let again = bench.run(&plan, &mut journal).await;
    assert_eq!((again.moved, again.moved_before), (2, 4), "what failed is tried again");
}

#[tokio::test]
async fn what_would_fail_for_all_ends_the_run() {
    let bench = Bench::new(50).await;
    let plan = bench.plan().await;
    let denied = || BlobError::AccessDenied { op: "reclass", id: None, reason: "no".into() };
    bench.faulty.rule(Rule::new(Fault::before(denied)).on(Operation::Reclass));
    let report = bench.run(&plan, &mut Vec::new()).await;
    let Ended::Failed(ReclassError::Storage { source, .. }) = &report.ended else {
        panic!("{report:?}")
    };
    assert!(matches!(source, BlobError::AccessDenied { .. }));
    assert!(bench.copies() <= 5, "{} copies were tried", bench.copies());
    assert_eq!((report.moved, report.left), (0, 50));
    let read_only = ReadOnly.wrap(Arc::new(bench.memory.clone()));
    let mut journal = Journal::resume(Vec::new(), b"").unwrap();
    let policy = policy();
    let run = run(&plan, &*read_only, &policy, &mut journal, 4, future::pending(), |_| {});
    let Ended::Failed(error) = run.await.unwrap().ended else { panic!("a read-only one moved") };
    assert!(error.to_string().contains("read-only"), "{error}");
}

#[tokio::test]
async fn a_run_that_is_stopped_or_killed_goes_on_and_copies_nothing_twice() {
    let bench = Bench::new(40).await;
    let plan = bench.plan().await;
    bench.faulty.rule(Rule::new(Fault::Late(Duration::from_millis(5))));
    let mut file = Vec::new();
    let mut journal = Journal::resume(&mut file, b"").unwrap();
    let (counting, policy) = (bench.counting.clone(), policy());
    let stop = async {
        while counting.count(Operation::Reclass) < 10 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let mut told = 0;
    let report =
        run(&plan, &*bench.counting, &policy, &mut journal, 4, stop, |_| told += 1).await.unwrap();
    assert!(matches!(report.ended, Ended::Stopped), "{report:?}");
    assert!((10..20).contains(&report.moved) && report.moved + report.left == 40, "{report:?}");
    assert_eq!((told, bench.copies() as u64), (report.moved, report.moved));
    // Killed: the future is dropped at some moment, with its copies in the air.
    let before = file.clone();
    let mut journal = Journal::resume(&mut file, &before).unwrap();
    let running = run(&plan, &*bench.counting, &policy, &mut journal, 4, future::pending(), |_| {});
    tokio::time::timeout(Duration::from_millis(60), running).await.unwrap_err();
    let report = bench.run(&plan, &mut file).await;
    assert!(report.moved_before > 10, "{report:?}");
    assert_eq!(report.moved_before + report.moved + report.skipped.values().sum::<u64>(), 40);
    let calls = bench.counting.calls();
    let done = calls.iter().filter(|call| call.op == Operation::Reclass).count();
    // Only what was in the air was tried again, and found where it was to go.
    assert!(done <= 44, "{done} copies were asked for");
    for number in 0..40 {
        assert_eq!(bench.class(&name(number)).await, TO);
    }
}

#[tokio::test]
async fn what_cannot_be_begun_says_why() {
    let bench = Bench::new(1).await;
    let plan = bench.plan().await;
    let folder: DynStorage = Arc::new(bench.memory.clone().without_classes());
    let mut journal = Journal::resume(Vec::new(), b"").unwrap();
    let policy = policy();
    let error = run(&plan, &*folder, &policy, &mut journal, 1, future::pending(), |_| {}).await;
    assert!(matches!(error, Err(ReclassError::Unsupported { .. })), "{error:?}");
    let plan = ReclassPlan { version: 2, ..plan };
    let memory = &bench.memory;
    let error = run(&plan, memory, &policy, &mut journal, 1, future::pending(), |_| {}).await;
    assert!(matches!(error, Err(ReclassError::Version { found: 2 })), "{error:?}");
}
