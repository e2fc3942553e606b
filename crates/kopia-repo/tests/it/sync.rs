//! A copy of a repository in another storage: what goes over, in which order, and what a cut
//! leaves.

use std::{
    collections::HashMap,
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::common::{check_whole, create_in, noise, quick, reopen, secret};
use blob_core::{
    BlobError, BlobId, BlobStorage, DynStorage, ManualClock, MemoryStorage, PutOptions, ReadRange,
    StorageClass, Timestamp, layers::Operation,
};
use blob_testkit::{CountingStorage, Fault, FaultyStorage, Rule};
use futures::TryStreamExt;
use kopia_repo::{
    Repository,
    sync::{SyncError, SyncEvent, SyncOptions, SyncPlan},
};

const OPTIONS: SyncOptions = SyncOptions {
    update: true,
    delete: false,
    must_exist: false,
    times: false,
    parallel: 4,
    memory_bytes_max: 1 << 20,
};

async fn plan(from: &DynStorage, to: &DynStorage, options: &SyncOptions) -> SyncPlan {
    SyncPlan::new(from, to, options, |_, _| {}).await.unwrap()
}

async fn sync(
    from: &DynStorage,
    to: &DynStorage,
    options: &SyncOptions,
) -> Result<SyncPlan, SyncError> {
    let plan = SyncPlan::new(from, to, options, |_, _| {}).await?;
    plan.carry_out([from, to], options, &|_| {}, pending()).await?;
    Ok(plan)
}

async fn ids(storage: &DynStorage, prefix: &str) -> Vec<BlobId> {
    let mut ids: Vec<_> = storage.list(prefix).map_ok(|meta| meta.id).try_collect().await.unwrap();
    ids.sort();
    ids
}

async fn write(repository: &Repository, seed: u64) {
    let writer = repository.writer().unwrap();
    writer.put_content(noise(seed, 70_000), None, None).await.unwrap();
    writer.put_manifest(&[("type", "note")], &seed).await.unwrap();
    writer.flush().await.unwrap();
}

async fn source() -> (Arc<MemoryStorage>, Repository) {
    let storage = Arc::new(MemoryStorage::new());
    let repository = create_in(storage.clone(), quick()).await;
    for seed in 1..4 {
        write(&repository, seed).await;
    }
    (storage, repository)
}

async fn bytes(storage: &DynStorage) -> HashMap<String, bytes::Bytes> {
    let mut all = HashMap::new();
    for id in ids(storage, "").await {
        let read = storage.get(&id, ReadRange::Full).await.unwrap();
        all.insert(id.to_string(), read);
    }
    all
}

#[tokio::test]
async fn the_copy_has_every_blob_and_opens() {
    let (from, repository) = source().await;
    let (from, to): (DynStorage, DynStorage) = (from, Arc::new(MemoryStorage::new()));
    let done = sync(&from, &to, &OPTIONS).await.unwrap();
    assert_eq!(bytes(&from).await, bytes(&to).await);
    assert_eq!(done.copies.len() as u64 + 1, done.source.count, "the format went first");
    check_whole(&reopen(to.clone()).await).await;
    // Again: nothing to do; and after a write only what is new.
    assert!(plan(&from, &to, &OPTIONS).await.copies.is_empty());
    write(&repository, 9).await;
    let more = sync(&from, &to, &OPTIONS).await.unwrap();
    assert!((1..=5).contains(&more.copies.len()), "{more:?}");
    assert_eq!(bytes(&from).await, bytes(&to).await);
}

#[tokio::test]
async fn a_cut_after_any_call_leaves_a_copy_that_opens_and_another_run_ends_it() {
    let (from, _) = source().await;
    let from: DynStorage = from;
    for with_effect in [false, true] {
        let (mut cuts, mut opened) = (0, 0);
        for calls in 0.. {
            let memory = Arc::new(MemoryStorage::new());
            let faulty = FaultyStorage::over(memory.clone());
            faulty.kill_after_writes(calls, with_effect);
            let cut: DynStorage = faulty;
            let options = SyncOptions { delete: true, ..OPTIONS };
            let done = sync(&from, &cut, &options).await;
            let to: DynStorage = memory;
            if !ids(&to, "kopia.repository").await.is_empty() {
                check_whole(&reopen(to.clone()).await).await;
                opened += 1;
            }
            sync(&from, &to, &options).await.unwrap();
            assert_eq!(bytes(&from).await, bytes(&to).await, "{calls} calls");
            if done.is_ok() {
                break;
            }
            cuts += 1;
        }
        assert!(cuts > 5 && opened >= cuts, "{cuts} cuts, {opened} opened");
    }
}

#[tokio::test]
async fn a_new_password_goes_over_whole_wherever_it_is_cut() {
    let clock = Arc::new(ManualClock::at(Timestamp::from_secs(1_800_000_000)));
    for calls in 0..8 {
        let from: DynStorage = Arc::new(MemoryStorage::with_clock(clock.clone()));
        let repository = create_in(from.clone(), quick()).await;
        let memory = Arc::new(MemoryStorage::with_clock(clock.clone()));
        let to: DynStorage = memory.clone();
        sync(&from, &to, &OPTIONS).await.unwrap();
        clock.advance(Duration::from_secs(60));
        repository.change_password(&secret("new")).await.unwrap();
        clock.advance(Duration::from_secs(60));
        let faulty = FaultyStorage::over(memory);
        faulty.kill_after_writes(calls, true);
        let done = sync(&from, &(faulty as DynStorage), &OPTIONS).await;
        let mut open = 0;
        for password in ["fixture", "new"] {
            let opened = Repository::open(to.clone(), &secret(password), Default::default()).await;
            open += usize::from(opened.is_ok());
        }
        assert_eq!(open, 1, "cut after {calls} writes, {done:?}");
        assert_eq!(done.is_ok(), calls >= 3, "{calls}");
        if calls == 0 {
            // One that ends without the other blob newer, too.
            sync(&from, &to, &OPTIONS).await.unwrap();
            Repository::open(to, &secret("new"), Default::default()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn what_only_the_copy_has_goes_when_it_is_asked_for() {
    let (from, _) = source().await;
    let (from, to): (DynStorage, DynStorage) = (from, Arc::new(MemoryStorage::new()));
    sync(&from, &to, &OPTIONS).await.unwrap();
    for id in ["pold", "xn9_old", "_log_old"] {
        to.put(&id.parse().unwrap(), "old".into(), &PutOptions::default()).await.unwrap();
    }
    let kept = sync(&from, &to, &OPTIONS).await.unwrap();
    assert!(kept.deletes.is_empty() && ids(&to, "pold").await.len() == 1);
    let options = SyncOptions { delete: true, ..OPTIONS };
    let planned = plan(&from, &to, &options).await;
    let order: Vec<_> = planned.deletes.iter().map(|blob| blob.id.as_str()).collect();
    assert_eq!(order, ["xn9_old", "_log_old", "pold"], "indexes go before packs");
    sync(&from, &to, &options).await.unwrap();
    assert_eq!(bytes(&from).await, bytes(&to).await);
}

#[tokio::test]
async fn only_what_has_other_bytes_is_copied_again() {
    let clock = Arc::new(ManualClock::at(Timestamp::from_secs(1_800_000_000)));
    let from: DynStorage = Arc::new(MemoryStorage::with_clock(clock.clone()));
    let repository = create_in(from.clone(), quick()).await;
    write(&repository, 1).await;
    let to: DynStorage = Arc::new(MemoryStorage::with_clock(clock.clone()));
    sync(&from, &to, &OPTIONS).await.unwrap();
    clock.advance(Duration::from_secs(60));
    // Newer without other bytes, as after a change of the storage class; and one that is longer.
    let packs = ids(&from, "p").await;
    let same = from.get(&packs[0], ReadRange::Full).await.unwrap();
    from.put(&packs[0], same.into(), &PutOptions::default()).await.unwrap();
    let index = ids(&from, "x").await.pop().unwrap();
    from.put(&index, noise(5, 10_000).into(), &PutOptions::default()).await.unwrap();
    let blob = "kopia.maintenance".parse().unwrap();
    from.put(&blob, "state".into(), &PutOptions::default()).await.unwrap();
    let names = |plan: &SyncPlan| plan.copies.iter().map(|it| it.id.clone()).collect::<Vec<_>>();
    let planned = plan(&from, &to, &OPTIONS).await;
    assert_eq!(names(&planned), [blob.clone(), index]);
    let options = SyncOptions { update: false, ..OPTIONS };
    assert_eq!(names(&plan(&from, &to, &options).await), [blob], "only what is missing");
}

#[tokio::test]
async fn another_repository_and_a_missing_one_are_refused_before_a_write() {
    let (from, _) = source().await;
    let (other, _) = source().await;
    let (from, to): (DynStorage, DynStorage) = (from, other.clone());
    let before = bytes(&to).await;
    let error = sync(&from, &to, &OPTIONS).await.unwrap_err();
    assert!(matches!(error, SyncError::Other { .. }), "{error}");
    assert_eq!(bytes(&to).await, before);
    let empty: DynStorage = Arc::new(MemoryStorage::new());
    let options = SyncOptions { must_exist: true, ..OPTIONS };
    let error = sync(&from, &empty, &options).await.unwrap_err();
    assert!(matches!(error, SyncError::NoDestination), "{error}");
    let error = sync(&empty, &from, &OPTIONS).await.unwrap_err();
    assert!(matches!(error, SyncError::NoSource { .. }), "{error}");
    assert!(ids(&empty, "").await.is_empty());
}

#[tokio::test]
async fn archived_packs_are_in_the_plan_and_never_read() {
    let memory = Arc::new(MemoryStorage::new());
    let repository = create_in(memory.clone(), quick()).await;
    write(&repository, 1).await;
    let counting = CountingStorage::over(memory.clone());
    let (from, to): (DynStorage, DynStorage) = (counting.clone(), Arc::new(MemoryStorage::new()));
    sync(&from, &to, &OPTIONS).await.unwrap();
    write(&repository, 2).await;
    for id in ids(&from, "p").await {
        assert!(memory.set_class(&id, StorageClass::DEEP_ARCHIVE));
    }
    counting.clear();
    let before = bytes(&to).await;
    let planned = plan(&from, &to, &OPTIONS).await;
    assert_eq!(planned.archived.len(), 1, "the other one is there already: {planned:?}");
    let done = planned.carry_out([&from, &to], &OPTIONS, &|_| {}, pending()).await;
    assert!(matches!(done, Err(SyncError::Blob(BlobError::Archived { .. }))), "{done:?}");
    assert_eq!(bytes(&to).await, before, "nothing was written");
    assert_eq!(counting.count_of(Operation::Get, "p"), 0);
}

#[tokio::test]
async fn what_goes_away_meanwhile_is_passed_over_unless_it_is_an_index() {
    let (memory, _) = source().await;
    let from: DynStorage = memory.clone();
    let told = Mutex::new(Vec::new());
    for (prefix, is_harmless) in [("p", true), ("x", false)] {
        let to: DynStorage = Arc::new(MemoryStorage::new());
        let planned = plan(&from, &to, &OPTIONS).await;
        memory.delete(&ids(&from, prefix).await[0]).await.unwrap();
        let tell = |event: SyncEvent<'_>| {
            if let SyncEvent::Gone(blob) = event {
                told.lock().unwrap().push(blob.id.clone());
            }
        };
        let done = planned.carry_out([&from, &to], &OPTIONS, &tell, pending()).await;
        match is_harmless {
            true => assert!(done.is_ok() && told.lock().unwrap().len() == 1),
            false => assert!(matches!(done, Err(SyncError::Merged { .. })), "{done:?}"),
        }
    }
}

#[tokio::test]
async fn times_go_over_where_they_can_and_a_stop_is_told() {
    let clock = Arc::new(ManualClock::at(Timestamp::from_secs(1_700_000_000)));
    let from: DynStorage = Arc::new(MemoryStorage::with_clock(clock));
    let repository = create_in(from.clone(), quick()).await;
    write(&repository, 1).await;
    let options = SyncOptions { times: true, ..OPTIONS };
    let to: DynStorage = Arc::new(MemoryStorage::new());
    sync(&from, &to, &options).await.unwrap();
    for id in ids(&to, "p").await {
        assert_eq!(to.head(&id).await.unwrap().modified.secs(), 1_700_000_000);
    }
    // A storage that keeps none is told once.
    let refused = || BlobError::InvalidOption {
        option: PutOptions::MODIFIED.to_owned(),
        reason: "no".into(),
    };
    let faulty = FaultyStorage::over(Arc::new(MemoryStorage::new()));
    faulty.rule(Rule::new(Fault::before(refused)).on(Operation::Put).of("p").times(1));
    let to: DynStorage = faulty;
    let refusals = Mutex::new(0);
    let tell = |event: SyncEvent<'_>| {
        if matches!(event, SyncEvent::TimesRefused) {
            *refusals.lock().unwrap() += 1;
        }
    };
    let planned = plan(&from, &to, &options).await;
    planned.carry_out([&from, &to], &options, &tell, pending()).await.unwrap();
    assert_eq!(*refusals.lock().unwrap(), 1);
    assert_eq!(bytes(&from).await, bytes(&to).await);
    let to: DynStorage = Arc::new(MemoryStorage::new());
    let stopped = planned.carry_out([&from, &to], &options, &|_| {}, std::future::ready(())).await;
    assert!(matches!(stopped, Err(SyncError::Stopped { .. })));
}

#[tokio::test]
async fn a_format_without_its_companion_takes_the_old_one_away() {
    let clock = Arc::new(ManualClock::at(Timestamp::from_secs(1_800_000_000)));
    let from: DynStorage = Arc::new(MemoryStorage::with_clock(clock.clone()));
    let repository = create_in(from.clone(), quick()).await;
    let to: DynStorage = Arc::new(MemoryStorage::with_clock(clock.clone()));
    sync(&from, &to, &OPTIONS).await.unwrap();
    clock.advance(Duration::from_secs(60));
    repository.change_password(&secret("new")).await.unwrap();
    // As a change of the password leaves it that is cut off before its last write.
    from.delete(&"kopia.blobcfg".parse().unwrap()).await.unwrap();
    sync(&from, &to, &OPTIONS).await.unwrap();
    Repository::open(to.clone(), &secret("new"), Default::default()).await.unwrap();
    assert!(ids(&to, "kopia.blobcfg").await.is_empty());
}
