//! Making a repository, changing its password and parameters, and clients that run meanwhile.

use std::{sync::Arc, time::Duration};

use crate::common::{create_in, create_with, fresh, ids, noise, quick, reopen, secret};
use blob_core::{
    BlobError, BlobStorage, Lock, LockMode, ManualClock, MemoryStorage, PutOptions, ReadRange,
    StorageStack, Timestamp,
    layers::{Operation, ReadOnly},
};
use blob_testkit::{CountingStorage, Fault, FaultyStorage, Rule};
use kopia_format::time::GoTime;
use kopia_repo::{CacheOptions, CreateOptions, Env, OpenOptions, RepoError, Repository, Retention};

#[tokio::test]
async fn nothing_is_created_over_what_is_there() {
    let (storage, _) = fresh().await;
    let again = Repository::create(storage.clone(), &secret("x"), CreateOptions::default()).await;
    assert!(matches!(again, Err(RepoError::AlreadyExists { .. })));
}

#[tokio::test]
async fn what_an_interrupted_creation_left_is_given_up_after_an_hour() {
    let clock = Arc::new(ManualClock::at(Timestamp::from_secs(1_800_000_000)));
    let env = Env { clock: clock.clone(), ..Env::default() };
    let storage = Arc::new(MemoryStorage::with_clock(clock.clone()));
    let create = async || {
        let options = CreateOptions { env: env.clone(), ..CreateOptions::default() };
        Repository::create(storage.clone(), &secret("x"), options).await
    };
    create().await.unwrap();
    storage.delete(&"kopia.repository".parse().unwrap()).await.unwrap();
    clock.advance(Duration::from_secs(3599));
    let error = create().await.unwrap_err();
    assert!(matches!(&error, RepoError::BeingCreated { wait, .. } if wait.as_secs() == 1));
    assert!(error.to_string().contains("try again in 1 min"), "{error}");
    clock.advance(Duration::from_secs(1));
    // A pack says that this was a repository, which has lost its format blob.
    let pack = "p1".parse().unwrap();
    storage.put(&pack, "x".into(), &PutOptions::default()).await.unwrap();
    let before = storage.get(&"kopia.blobcfg".parse().unwrap(), ReadRange::Full).await.unwrap();
    assert!(matches!(create().await, Err(RepoError::FormatBlobLost { .. })));
    let after = storage.get(&"kopia.blobcfg".parse().unwrap(), ReadRange::Full).await.unwrap();
    assert_eq!(before, after);
    storage.delete(&pack).await.unwrap();
    create().await.unwrap();
    Repository::open(storage.clone(), &secret("x"), OpenOptions::default()).await.unwrap();
}

#[tokio::test]
async fn what_kopia_would_not_open_is_not_created() {
    let day = Duration::from_secs(24 * 3600);
    let bad = [
        CreateOptions { hash: "MD5".into(), ..CreateOptions::default() },
        CreateOptions { encryption: "ROT13".into(), ..CreateOptions::default() },
        CreateOptions { splitter: "FIXED-3".into(), ..CreateOptions::default() },
        CreateOptions { format_version: 4, ..CreateOptions::default() },
        CreateOptions { format_version: 0, ..CreateOptions::default() },
        CreateOptions { key_derivation: "md5".into(), ..CreateOptions::default() },
        CreateOptions { max_pack_size: 1 << 20, ..CreateOptions::default() },
        CreateOptions { format_version: 1, ecc_overhead_percent: 5, ..CreateOptions::default() },
        CreateOptions {
            retention: Some(Retention { mode: LockMode::Compliance, period: day / 2 }),
            ..CreateOptions::default()
        },
    ];
    for options in bad {
        let storage = Arc::new(MemoryStorage::new());
        let what = format!("{options:?}");
        let made = Repository::create(storage.clone(), &secret("x"), options).await;
        assert!(made.is_err() && storage.is_empty(), "{what}");
    }
}

#[tokio::test]
async fn an_empty_storage_and_a_wrong_password_are_told_apart() {
    let storage = Arc::new(MemoryStorage::new());
    let open = |password: &'static str| {
        let storage = storage.clone();
        async move { Repository::open(storage, &secret(password), OpenOptions::default()).await }
    };
    assert!(matches!(open("fixture").await, Err(RepoError::NoRepository { .. })));
    create_in(storage.clone(), quick()).await;
    assert!(matches!(open("Fixture").await, Err(RepoError::WrongPassword)));
    assert!(open("fixture").await.is_ok());
}

#[tokio::test]
async fn a_changed_password_reaches_clients_that_run() {
    let storage = Arc::new(MemoryStorage::new());
    let clock = Arc::new(ManualClock::at(Timestamp::from_secs(1_800_000_000)));
    let env = Env { clock: clock.clone(), ..Env::default() };
    let options = OpenOptions { env, ..OpenOptions::default() };
    let running = create_with(storage.clone(), CreateOptions::default(), options).await;
    let changing = reopen(storage.clone()).await;
    changing.change_password(&secret("new")).await.unwrap();
    let writer = changing.writer().unwrap();
    let id = writer.put_content(noise(1, 100), None, None).await.unwrap();
    writer.flush().await.unwrap();

    assert_eq!(running.content_entry(&id).await.unwrap(), None, "it goes on for a while");
    clock.advance(Duration::from_secs(16 * 60));
    assert!(matches!(running.content_entry(&id).await, Err(RepoError::PasswordChanged)));
    let old = Repository::open(storage.clone(), &secret("fixture"), OpenOptions::default()).await;
    assert!(matches!(old, Err(RepoError::WrongPassword)));
    let new = Repository::open(storage, &secret("new"), OpenOptions::default()).await.unwrap();
    assert_eq!(new.content(&id).await.unwrap(), noise(1, 100));
}

/// Wherever a change of the password is cut off, one of the two opens the repository.
async fn one_password_opens(retention: Option<Retention>, cut: impl Fn(&FaultyStorage, usize)) {
    let memory = Arc::new(MemoryStorage::new());
    let options = CreateOptions { retention, ..quick() };
    let repository = create_in(memory.clone(), options).await;
    let writer = repository.writer().unwrap();
    let id = writer.put_content(noise(1, 100), None, None).await.unwrap();
    writer.flush().await.unwrap();
    let (mut password, mut opened) = ("fixture".to_owned(), [0, 0]);
    for calls in 0.. {
        let faulty = FaultyStorage::over(memory.clone());
        let options = OpenOptions::default();
        let client = Repository::open(faulty.clone(), &secret(&password), options).await.unwrap();
        let new = format!("new {calls}");
        cut(&faulty, calls);
        let done = client.change_password(&secret(&new)).await;
        let mut that_open = Vec::new();
        for (which, known) in [&password, &new].into_iter().enumerate() {
            let options = OpenOptions::default();
            match Repository::open(memory.clone(), &secret(known), options).await {
                Ok(client) => {
                    assert_eq!(client.content(&id).await.unwrap(), noise(1, 100), "{calls}");
                    that_open.push(known.clone());
                    opened[which] += 1;
                }
                Err(RepoError::WrongPassword) => {}
                Err(error) => panic!("{calls} calls: {error}"),
            }
        }
        assert_eq!(that_open.len(), 1, "{calls} calls: {that_open:?}");
        password = that_open.remove(0);
        if done.is_ok() {
            assert_eq!(password, new);
            break;
        }
    }
    assert!(opened.iter().all(|times| *times >= 1), "old and new opened {opened:?} times");
}

#[tokio::test]
async fn a_change_of_the_password_may_be_cut_off_after_any_call() {
    let period = Duration::from_secs(48 * 3600);
    for retention in [None, Some(Retention { mode: LockMode::Governance, period })] {
        one_password_opens(retention, |faulty, calls| faulty.kill_after(calls)).await;
        one_password_opens(retention, |faulty, writes| faulty.kill_after_writes(writes, true))
            .await;
    }
}

#[tokio::test]
async fn a_change_of_the_password_that_fails_puts_back_what_it_took_away() {
    for (fault, opens) in
        [(Fault::before(Fault::transient), "fixture"), (Fault::after(Fault::transient), "new")]
    {
        let memory = Arc::new(MemoryStorage::new());
        let period = Duration::from_secs(48 * 3600);
        let retention = Some(Retention { mode: LockMode::Governance, period });
        let options = CreateOptions { retention, ..quick() };
        create_in(memory.clone(), options).await;
        let faulty = FaultyStorage::over(memory.clone());
        let client = reopen(faulty.clone()).await;
        faulty.rule(Rule::new(fault).on(Operation::Put).of("kopia.repository").times(1));
        assert_eq!(client.change_password(&secret("new")).await.is_ok(), opens == "new");
        let opened = Repository::open(memory, &secret(opens), OpenOptions::default()).await;
        assert_eq!(opened.unwrap().blob_config().retention_period, period, "{opens}");
    }
}

/// Both blobs are written. Whichever of them is, the repository opens: each is as it was or new, and
/// the next run ends it.
#[tokio::test]
async fn a_change_of_the_parameters_may_be_cut_off_after_any_call() {
    let memory = Arc::new(MemoryStorage::new());
    let repository = create_in(memory.clone(), quick()).await;
    let writer = repository.writer().unwrap();
    let id = writer.put_content(noise(1, 100), None, None).await.unwrap();
    writer.flush().await.unwrap();
    let kills: [fn(&FaultyStorage, usize); 2] = [
        |faulty, calls| faulty.kill_after(calls),
        |faulty, writes| faulty.kill_after_writes(writes, true),
    ];
    let (mut hours, mut cuts, mut mixed) = (48, 0, 0);
    for kill in kills {
        for calls in 0.. {
            hours += 1;
            let (size, period) = ((10 << 20) + hours, Duration::from_secs(u64::from(hours) * 3600));
            let change = async |client: &Repository| {
                let set = client.set_parameters(|format, config| {
                    format.max_pack_size = size;
                    config.retention_mode = Some(LockMode::Governance.as_str().to_owned());
                    config.retention_period = period;
                });
                set.await
            };
            let set = |client: &Repository| {
                let is = [client.format().max_pack_size, size];
                [is[0] == is[1], client.blob_config().retention_period == period]
            };
            let faulty = FaultyStorage::over(memory.clone());
            let client = reopen(faulty.clone()).await;
            let before = (client.format().max_pack_size, client.blob_config().retention_period);
            kill(&faulty, calls);
            let done = change(&client).await;
            let next = reopen(memory.clone()).await;
            assert_eq!(next.content(&id).await.unwrap(), noise(1, 100), "{calls}");
            let [format, config] = set(&next);
            assert!(format || next.format().max_pack_size == before.0, "{calls}");
            assert!(config || next.blob_config().retention_period == before.1, "{calls}");
            assert!(done.is_err() || (format && config), "{calls}: it said that it is done");
            mixed += usize::from(format != config);
            change(&next).await.unwrap();
            assert_eq!(set(&reopen(memory.clone()).await), [true, true], "{calls}");
            if done.is_ok() {
                break;
            }
            cuts += 1;
        }
    }
    assert!(cuts >= 6 && mixed >= 1, "{cuts} cuts, {mixed} between the two blobs");
}

#[tokio::test]
async fn format_blobs_that_were_kept_hold_up_no_new_password_and_end_in_time() {
    let (storage, changing) = fresh().await;
    let counted = CountingStorage::over(storage);
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at(Timestamp::from_secs(1_800_000_000)));
    let open = async |password: &str| {
        let env = Env { clock: clock.clone(), ..Env::default() };
        let directory = folder.path().to_owned();
        let cache = CacheOptions { directory, content_bytes_max: 0, metadata_bytes_max: 0 };
        let options =
            OpenOptions { env, cache: Some(cache), keep_format: true, ..Default::default() };
        let before = counted.count(Operation::Get);
        let opened = Repository::open(counted.clone(), &secret(password), options).await;
        (opened.map(drop), counted.count(Operation::Get) - before)
    };
    assert!(matches!(open("fixture").await, (Ok(()), 2)));
    assert!(matches!(open("fixture").await, (Ok(()), 0)), "kept");
    clock.advance(Duration::from_secs(16 * 60));
    assert!(matches!(open("fixture").await, (Ok(()), 2)), "too old");
    changing.change_password(&secret("new")).await.unwrap();
    assert!(matches!(open("fixture").await, (Ok(()), 0)), "for a while, as one that runs");
    assert!(matches!(open("new").await, (Ok(()), 2)));
    assert!(matches!(open("fixture").await, (Err(RepoError::WrongPassword), 2)));
}

#[tokio::test]
async fn a_key_that_was_kept_opens_until_the_password_is_changed_or_it_is_not_to_be_kept() {
    let (storage, changing) = fresh().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kopia-lite/key");
    let open = async |password: &str, keep_key| {
        let directory = folder.path().to_owned();
        let cache = CacheOptions { directory, content_bytes_max: 0, metadata_bytes_max: 0 };
        let options = OpenOptions { cache: Some(cache), keep_key, ..Default::default() };
        Repository::open(storage.clone(), &secret(password), options).await
    };
    assert!(matches!(open("wrong", true).await, Err(RepoError::WrongPassword)));
    assert!(!file.exists(), "a key that does not open is not kept");
    open("fixture", true).await.unwrap();
    let kept = std::fs::read(&file).unwrap();
    // What shows that the key is taken from the file, and what the caller has to know.
    open("not looked at", true).await.unwrap();

    changing.change_password(&secret("new")).await.unwrap();
    assert!(matches!(open("fixture", true).await, Err(RepoError::WrongPassword)));
    open("new", true).await.unwrap();
    assert_ne!(std::fs::read(&file).unwrap(), kept);
    open("new", false).await.unwrap();
    assert!(!file.exists(), "no longer to be kept");
    assert!(matches!(open("fixture", false).await, Err(RepoError::WrongPassword)));
    assert!(!file.exists());

    let own = open("new", true).await.unwrap();
    own.change_password(&secret("newest")).await.unwrap();
    assert!(!file.exists(), "this client changed the password");
}

#[tokio::test]
async fn whoever_changes_the_format_blobs_deletes_the_copies_that_kopia_keeps() {
    let (storage, _) = fresh().await;
    let folder = tempfile::tempdir().unwrap();
    let kept = ["kopia.repository", "kopia.blobcfg"].map(|name| folder.path().join(name));
    let directory = folder.path().to_owned();
    let cache = CacheOptions { directory, content_bytes_max: 0, metadata_bytes_max: 0 };
    let options = OpenOptions { cache: Some(cache), ..OpenOptions::default() };
    let repository = Repository::open(storage, &secret("fixture"), options).await.unwrap();
    let keep = || kept.iter().for_each(|file| std::fs::write(file, "old").unwrap());
    keep();
    repository.set_parameters(|format, _| format.max_pack_size = 10 << 20).await.unwrap();
    assert!(kept.iter().all(|file| !file.exists()), "parameters");
    keep();
    repository.change_password(&secret("new")).await.unwrap();
    assert!(kept.iter().all(|file| !file.exists()), "the password");
}

#[tokio::test]
async fn the_password_of_format_1_stays() {
    let storage = Arc::new(MemoryStorage::new());
    let options = CreateOptions { format_version: 1, ..CreateOptions::default() };
    let repository = create_in(storage, options).await;
    let changed = repository.change_password(&secret("new")).await;
    assert!(matches!(changed, Err(RepoError::Unsupported { .. })));
}

#[tokio::test]
async fn parameters_are_checked_and_seen_by_the_next_pack() {
    let (storage, repository) = fresh().await;
    let bad = repository.set_parameters(|format, _| format.max_pack_size = 1).await;
    assert!(matches!(bad, Err(RepoError::Format(_))));
    repository.set_parameters(|format, _| format.max_pack_size = 10 << 20).await.unwrap();
    let writer = repository.writer().unwrap();
    for seed in 0..3 {
        writer.put_content(noise(seed, 6 << 20), None, None).await.unwrap();
    }
    writer.flush().await.unwrap();
    assert_eq!(ids(&storage, "p").len(), 2);
    assert_eq!(reopen(storage).await.format().max_pack_size, 10 << 20);
}

#[tokio::test]
async fn an_upgrade_lock_stops_clients_that_run() {
    let storage = Arc::new(MemoryStorage::new());
    let clock = Arc::new(ManualClock::at(Timestamp::from_secs(1_800_000_000)));
    let env = Env { clock: clock.clone(), ..Env::default() };
    let options = OpenOptions { env, ..OpenOptions::default() };
    let running = create_with(storage.clone(), CreateOptions::default(), options).await;
    let upgrading = reopen(storage).await;
    let lock = kopia_format::format_blob::UpgradeLock {
        owner_id: "owner".into(),
        creation_time: GoTime::from_secs(1_800_000_000),
        advance_notice_duration: Duration::ZERO,
        io_drain_timeout: Duration::from_secs(60),
        status_poll_interval: Duration::from_secs(60),
        message: "by design".into(),
        max_permitted_clock_drift: Duration::from_secs(300),
        extra: Default::default(),
    };
    // The client that sets it locks itself out, too: it has no owner's ID.
    let set = upgrading.set_parameters(|format, _| format.upgrade_lock = Some(lock)).await;
    assert!(matches!(set, Err(RepoError::UpgradeLocked { .. })));
    clock.advance(Duration::from_secs(16 * 60));
    let writer = running.writer().unwrap();
    let error = writer.put_content(noise(1, 100), None, None).await.unwrap_err();
    assert!(matches!(error, RepoError::UpgradeLocked { ref owner, .. } if owner == "owner"));
}

#[tokio::test]
async fn packs_and_indexes_are_locked_where_the_repository_asks_for_it_and_markers_are_not() {
    let storage = Arc::new(MemoryStorage::new());
    let period = Duration::from_secs(48 * 3600);
    let retention = Some(Retention { mode: LockMode::Governance, period });
    let options = CreateOptions { retention, ..quick() };
    let repository = create_in(storage.clone(), options).await;
    let writer = repository.writer().unwrap();
    writer.put_content(noise(1, 100), None, None).await.unwrap();
    writer.put_content(noise(1, 100), Some(b'k'), None).await.unwrap();
    writer.flush().await.unwrap();
    let lock = Some(Lock { mode: LockMode::Governance, period });
    for prefix in ["kopia.repository", "kopia.blobcfg", "p", "q", "xn"] {
        let id = ids(&storage, prefix).remove(0);
        assert_eq!(storage.attributes(&id).unwrap().lock, lock, "{id}");
    }
    for id in ["s1", "m1", "l1", "_log_1", "kopia.maintenance"] {
        assert_eq!(repository.put_options(&id.parse().unwrap()).attributes.lock, None, "{id}");
    }
    assert_eq!(repository.put_options(&"xe1".parse().unwrap()).attributes.lock, lock);
    let reopened = reopen(storage).await;
    assert_eq!(reopened.blob_config().retention_period, period);
}

#[tokio::test]
async fn a_repository_opened_for_reading_is_not_written() {
    let (storage, _) = fresh().await;
    let options = OpenOptions { read_only: true, ..OpenOptions::default() };
    let repository = Repository::open(storage.clone(), &secret("fixture"), options).await.unwrap();
    assert!(matches!(repository.writer(), Err(RepoError::ReadOnly { .. })));
    assert!(matches!(
        repository.change_password(&secret("x")).await,
        Err(RepoError::ReadOnly { .. })
    ));
    let storage = StorageStack::over(storage).layer(ReadOnly).build();
    assert!(matches!(reopen(storage).await.writer(), Err(RepoError::ReadOnly { .. })));
}

#[tokio::test]
async fn another_repository_in_its_place_is_noticed() {
    let (storage, repository) = fresh().await;
    let (other, _) = fresh().await;
    for id in ["kopia.repository", "kopia.blobcfg"] {
        let id = id.parse().unwrap();
        let bytes = other.get(&id, ReadRange::Full).await.unwrap();
        storage.put(&id, bytes.into(), &PutOptions::default()).await.unwrap();
    }
    assert!(matches!(repository.refresh().await, Err(RepoError::RepositoryReplaced)));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_create_at_the_same_time_one_fails_and_the_other_has_a_repository() {
    let memory = Arc::new(MemoryStorage::new());
    let create = |password: &'static str| {
        let storage = memory.clone();
        let options = CreateOptions::default();
        async move { Repository::create(storage, &secret(password), options).await }
    };
    // Both look before one of them has derived its key.
    let (one, two) = tokio::join!(create("one"), create("two"));
    let (winner, failed) = match (one, two) {
        (Ok(()), Err(error)) => ("one", error),
        (Err(error), Ok(())) => ("two", error),
        other => panic!("{other:?}"),
    };
    assert!(matches!(failed, RepoError::AlreadyExists { .. }), "{failed}");
    let opened = Repository::open(memory, &secret(winner), OpenOptions::default()).await;
    let writer = opened.unwrap().writer().unwrap();
    writer.put_manifest(&[("type", "note")], "x").await.unwrap();
    writer.flush().await.unwrap();
}

#[tokio::test]
async fn a_storage_that_cannot_put_only_what_is_new_takes_a_repository_all_the_same() {
    let faulty = FaultyStorage::over(Arc::new(MemoryStorage::new()));
    let unsupported =
        || BlobError::Unsupported { op: "a put of what is new", storage: "old".into() };
    for blob in ["kopia.blobcfg", "kopia.repository"] {
        let rule = Rule::new(Fault::before(unsupported)).on(Operation::Put).of(blob);
        faulty.rule(rule.times(1));
    }
    let create = CreateOptions::default();
    Repository::create(faulty.clone(), &secret("x"), create).await.unwrap();
    Repository::open(faulty, &secret("x"), OpenOptions::default()).await.unwrap();
}
