//! Whose task maintenance is and when it is due, in repositories in memory.

use std::{sync::Arc, time::Duration};

use blob_core::{BlobId, BlobStorage, DynStorage, MemoryStorage, PutOptions, Timestamp};
use kopia_format::{
    maintenance::{MaintenanceParameters, MaintenanceSchedule},
    time::GoTime,
};
use kopia_maintenance::{Change, Changes, Due, MaintenanceError, Status};
use kopia_repo::{CreateOptions, OpenOptions, Repository};

const NOW: i64 = 1_795_525_531;
const HOUR: i64 = 3_600;

async fn repository() -> (Repository, MemoryStorage) {
    let memory = MemoryStorage::new();
    let storage: DynStorage = Arc::new(memory.clone());
    let password = "a password".into();
    Repository::create(storage.clone(), &password, CreateOptions::default()).await.unwrap();
    let repo = Repository::open(storage, &password, OpenOptions::default()).await.unwrap();
    (repo, memory)
}

fn status(full_due: i64, quick_due: i64) -> Status {
    let at = |secs: i64| match secs {
        0 => GoTime::ZERO,
        secs => GoTime::from_unix_nanos(secs * 1_000_000_000),
    };
    let schedule = MaintenanceSchedule {
        next_full: at(full_due),
        next_quick: at(quick_due),
        ..MaintenanceSchedule::default()
    };
    Status { parameters: MaintenanceParameters::new("u@h"), schedule, since: None }
}

fn now() -> Timestamp {
    Timestamp::from_secs(NOW)
}

#[test]
fn what_was_never_done_is_due_and_full_comes_before_quick() {
    assert_eq!(status(0, 0).due(now()), Due::Full);
    assert_eq!(status(NOW, NOW + 1).due(now()), Due::Full);
    assert_eq!(status(NOW + 1, NOW).due(now()), Due::Quick);
    assert_eq!(status(NOW + 1, NOW + 1).due(now()), Due::Nothing);
    let mut off = status(0, 0);
    off.parameters.full.enabled = false;
    assert_eq!(off.due(now()), Due::Quick);
    off.parameters.quick.enabled = false;
    assert_eq!(off.due(now()), Due::Nothing);
}

#[test]
fn what_is_late_by_an_interval_and_a_day_is_overdue_and_says_whose_task_it_is() {
    assert_eq!(status(0, 0).overdue(now()), None, "a new repository has never been maintained");
    assert_eq!(status(NOW - 24 * HOUR, NOW).overdue(now()), None);
    let overdue = status(NOW - 24 * HOUR - 1, NOW).overdue(now()).unwrap();
    assert_eq!((overdue.is_full, overdue.owner.as_str()), (true, "u@h"));
    let overdue = status(NOW, NOW - 24 * HOUR - 1).overdue(now()).unwrap();
    assert!(!overdue.is_full, "quick maintenance, a day late though its interval is an hour");
    let mut off = status(NOW - 99 * HOUR, NOW);
    off.parameters.full.enabled = false;
    assert_eq!(off.overdue(now()), None);
}

#[tokio::test]
async fn changes_are_written_and_read_back_and_the_history_stays() {
    let (repo, memory) = repository().await;
    let before = Status::read(&repo).await.unwrap();
    assert_eq!(before.parameters, MaintenanceParameters::default());
    assert_eq!(before.schedule, MaintenanceSchedule::default());
    let at = GoTime::from_unix_nanos(NOW * 1_000_000_000);
    let all = [
        Change::Owner("me@here".into()),
        Change::FullInterval(Duration::from_secs(100)),
        Change::EnableQuick(false),
        Change::RetainedLogCount(7),
        Change::PauseFull(Duration::from_secs(60)),
    ];
    Changes::of(&before, at, &all).unwrap().write(&repo).await.unwrap();
    let after = Status::read(&repo).await.unwrap();
    assert!(after.is_owned_by("me@here") && !after.is_owned_by("me@elsewhere"));
    assert_eq!(after.parameters.full.interval, Duration::from_secs(100));
    assert!(!after.parameters.quick.enabled);
    assert_eq!(after.parameters.log_retention.max_count, 7);
    assert_eq!(after.parameters.log_retention.max_total_size, 1 << 30, "the others are kept");
    assert_eq!(after.schedule.next_full.unix_nanos(), (NOW + 60) * 1_000_000_000);
    // What is not changed is not written: the history of somebody else's run is not put back.
    let id = BlobId::new("kopia.maintenance").unwrap();
    memory.delete(&id).await.unwrap();
    Changes::of(&after, at, &[Change::EnableQuick(true)]).unwrap().write(&repo).await.unwrap();
    assert!(memory.head(&id).await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn what_can_not_be_is_refused_and_damage_is_named() {
    let (repo, memory) = repository().await;
    let status = Status::read(&repo).await.unwrap();
    let at = GoTime::from_unix_nanos(NOW * 1_000_000_000);
    for bad in [
        Change::Owner("me".into()),
        Change::Owner("@h".into()),
        Change::Owner("a@b@c".into()),
        Change::QuickInterval(Duration::ZERO),
        Change::FullInterval(Duration::MAX),
        Change::PauseQuick(Duration::MAX),
    ] {
        let error = Changes::of(&status, at, &[bad]).unwrap_err();
        assert!(matches!(error, MaintenanceError::Invalid(_)), "{error}");
    }
    let id = BlobId::new("kopia.maintenance").unwrap();
    memory.put(&id, vec![7; 100].into(), &PutOptions::default()).await.unwrap();
    let error = Status::read(&repo).await.unwrap_err();
    assert!(error.to_string().starts_with("kopia.maintenance: "), "{error}");
}
