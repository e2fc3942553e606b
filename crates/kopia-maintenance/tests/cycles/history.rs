//! What is noted of a run, and who may begin one.

use std::{sync::Arc, time::Duration};

use blob_core::{DynStorage, layers::Operation};
use kopia_maintenance::{
    Change, MaintenanceError, MaintenanceLock, Mode, Task, Which, plan::Verdict,
};
use kopia_repo::{OpenOptions, RepoError};

use crate::world::{DAY, HOUR, SetClock, World, open, open_options};

/// The tasks of a full cycle that are noted where there is nothing to do, and their numbers.
const NOTED: [(&str, &str); 4] = [
    ("advance-epoch", "advanceEpochStats"),
    ("cleanup-logs", "cleanupLogsStats"),
    ("full-delete-blobs", "deleteUnreferencedPacksStats"),
    ("snapshot-gc", "snapshotGCStats"),
];

#[tokio::test]
async fn a_full_cycle_is_noted_under_kopias_names_and_both_next_times_move() {
    let world = World::new().await;
    world.write_needed(None, 1, 100).await;
    let begun = world.clock.now();
    let report = world.full().await;
    assert_eq!(report.mode, Some(Mode::Full));
    let schedule = world.schedule().await;
    let after = |hours: u32| begun.saturating_add(hours * HOUR).nanos();
    assert_eq!(schedule.next_full.unix_nanos(), after(24));
    assert_eq!(schedule.next_quick.unix_nanos(), after(1));
    for (task, kind) in NOTED {
        let run = &schedule.runs[task][0];
        assert!(run.success && run.error.is_empty() && run.start.unix_nanos() == begun.nanos());
        assert_eq!(run.statistics[0].kind, kind, "{task}");
    }
    let keys = schedule.runs["snapshot-gc"][0].statistics[0].data.as_ref().unwrap();
    let keys: Vec<_> = keys.as_object().unwrap().keys().cloned().collect();
    assert_eq!(keys.len(), 12);
    for key in ["unreferencedContentCount", "inUseSystemContentSize", "recoveredContentSize"] {
        assert!(keys.contains(&key.to_owned()), "{keys:?}");
    }
    // What was not done, for it would not be safe, is not noted as done.
    assert!(!schedule.runs.contains_key("full-drop-deleted-content"));
    assert!(!schedule.runs.contains_key("extend-blob-retention-time"));
}

#[tokio::test]
async fn which_cycle_is_due_is_run_and_a_quick_one_leaves_the_full_ones_time() {
    let world = World::new().await;
    let due = async || world.try_run(Which::Due).await.unwrap().mode;
    assert_eq!(due().await, Some(Mode::Full));
    assert_eq!(due().await, None);
    let next_full = world.schedule().await.next_full;
    world.advance(HOUR);
    assert_eq!(due().await, Some(Mode::Quick));
    assert_eq!(world.schedule().await.next_full, next_full);
    world.advance(DAY);
    assert_eq!(due().await, Some(Mode::Full));
    world.change(&[Change::EnableFull(false), Change::EnableQuick(false)]).await;
    world.advance(9 * DAY);
    assert_eq!(due().await, None);
}

#[tokio::test]
async fn a_failed_task_is_noted_with_its_error_and_the_history_keeps_fifty_runs() {
    let world = World::new().await;
    let missing = kopia_format::ContentId::new(None, &[9; 16]).unwrap();
    world.needed.add(missing);
    let report = world.try_run(Which::This(Mode::Full)).await.unwrap();
    let run = &world.runs("snapshot-gc").await[0];
    assert!(!run.success && run.statistics.is_empty());
    assert_eq!(run.error, report.failed[0].1);
    assert!(run.error.contains(&missing.to_string()), "{}", run.error);
    let skipped = report.tasks.iter().find(|plan| plan.task == Task::DropDeleted).unwrap();
    assert_eq!(skipped.verdict, Verdict::NotYet);
    world.needed.remove(&missing);
    for _ in 0..51 {
        world.quick().await;
    }
    assert_eq!(world.runs("advance-epoch").await.len(), 50);
}

#[tokio::test]
async fn somebody_elses_task_is_left_alone_unless_that_is_forced() {
    let mut world = World::new().await;
    world.change(&[Change::Owner("other@there".into())]).await;
    world.counting.clear();
    let error = world.try_run(Which::This(Mode::Full)).await.unwrap_err();
    assert_eq!(error.to_string(), "maintenance must be run by designated user: other@there");
    assert!(matches!(error, MaintenanceError::NotOwner { who, .. } if who == "user@host"));
    assert_eq!(world.counting.count(Operation::Put), 0);
    world.options.force = true;
    world.full().await;
}

#[tokio::test]
async fn two_on_one_machine_keep_out_of_each_others_way() {
    let mut world = World::new().await;
    let lock = std::env::temp_dir().join(format!("kopia-lite-{}.mlock", std::process::id()));
    world.options.lock = Some(lock.clone());
    let held = MaintenanceLock::take(&lock).unwrap().unwrap();
    world.counting.clear();
    let error = world.try_run(Which::This(Mode::Quick)).await.unwrap_err();
    assert!(matches!(&error, MaintenanceError::Busy { lock: busy } if *busy == lock), "{error}");
    assert_eq!(world.counting.count(Operation::Put), 0, "the next times are as they were");
    drop(held);
    world.quick().await;
    assert!(MaintenanceLock::take(&lock).unwrap().is_some(), "it is let go of");
    std::fs::remove_file(lock).unwrap();
}

#[tokio::test]
async fn a_clock_that_is_wrong_by_more_than_five_minutes_stops_all() {
    let world = World::new().await;
    let garbage = world.write(None, 1, 100).await;
    world.advance(2 * DAY);
    let wrong = SetClock::new();
    let storage: DynStorage = Arc::new(world.memory.clone());
    let repo = open(storage, open_options(&wrong)).await;
    let five = Duration::from_secs(300);
    let second = Duration::from_secs(1);
    let right = world.clock.now();
    for (ahead, behind) in [(five + second, Duration::ZERO), (Duration::ZERO, five + second)] {
        wrong.set(right.saturating_add(ahead));
        world.clock.set(right.saturating_add(behind));
        let error = world.try_run_by(&repo, Which::This(Mode::Full)).await.unwrap_err();
        assert!(matches!(error, MaintenanceError::ClockSkew { .. }), "{error}");
        assert!(!world.is_deleted(&garbage[0]).await);
        let runs = world.schedule().await.runs;
        assert!(runs.is_empty(), "{runs:?}");
    }
    wrong.set(right.saturating_add(five));
    world.clock.set(right);
    world.try_run_by(&repo, Which::This(Mode::Full)).await.unwrap();
}

#[tokio::test]
async fn who_only_reads_maintains_nothing() {
    let world = World::new().await;
    let options = OpenOptions { read_only: true, ..open_options(&world.clock) };
    let repo = open(Arc::new(world.memory.clone()), options).await;
    let before = world.memory.ids();
    let error = world.try_run_by(&repo, Which::This(Mode::Full)).await.unwrap_err();
    assert!(matches!(error, MaintenanceError::Repo(RepoError::ReadOnly { .. })), "{error}");
    assert_eq!(world.memory.ids(), before);
}
