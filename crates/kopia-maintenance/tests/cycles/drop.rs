//! When deletions become final: what the history allows, and the watermark.

use std::time::Duration;

use blob_core::Timestamp;
use kopia_format::{
    maintenance::{MaintenanceRun, MaintenanceSchedule},
    time::GoTime,
};
use kopia_maintenance::{
    Mode, Task,
    plan::Verdict,
    safety::{History, Margins},
};

use crate::world::{DAY, HOUR, World, of};

const H: i64 = 3600;

fn at(secs: i64) -> GoTime {
    GoTime::from_secs(secs)
}

fn run(start: i64, end: i64, success: bool) -> MaintenanceRun {
    let error = if success { String::new() } else { "no".into() };
    MaintenanceRun { start: at(start), end: at(end), success, error, statistics: Vec::new() }
}

fn schedule(runs: &[(&str, &[MaintenanceRun])]) -> MaintenanceSchedule {
    let runs = runs.iter().map(|(task, runs)| ((*task).to_owned(), runs.to_vec())).collect();
    MaintenanceSchedule { runs, ..MaintenanceSchedule::default() }
}

fn drops(runs: &[MaintenanceRun]) -> Option<GoTime> {
    let schedule = schedule(&[("snapshot-gc", runs)]);
    History::new(&schedule, Margins::FULL).drops_until(Timestamp::from_secs(1_000 * H))
}

#[test]
fn two_collections_more_than_four_hours_apart_confirm_what_was_marked_before_the_first() {
    assert_eq!(drops(&[]), None);
    assert_eq!(drops(&[run(10 * H, 11 * H, true)]), None, "one alone confirms nothing");
    let first = run(10 * H, 11 * H, true);
    assert_eq!(
        drops(&[run(15 * H, 15 * H, true), first.clone()]),
        None,
        "four hours to the second"
    );
    let second = run(15 * H + 1, 16 * H, true);
    assert_eq!(drops(&[second.clone(), first.clone()]), Some(at(9 * H)), "an hour before it");
    // Of several the newest that is far enough from the last.
    let others = [second.clone(), run(12 * H, 14 * H, true), first.clone(), run(H, 2 * H, true)];
    assert_eq!(drops(&others), Some(at(9 * H)));
    // In whatever order they are noted, and failed ones do not count.
    assert_eq!(drops(&[first.clone(), second.clone()]), Some(at(9 * H)));
    assert_eq!(drops(&[run(15 * H + 1, 16 * H, false), first.clone()]), None);
    assert_eq!(drops(&[second, run(10 * H, 11 * H, false)]), None);
}

#[test]
fn without_margins_all_that_was_marked_is_dropped() {
    let schedule = MaintenanceSchedule::default();
    let now = Timestamp::from_secs(77 * H);
    assert_eq!(History::new(&schedule, Margins::NONE).drops_until(now), Some(at(77 * H)));
}

#[test]
fn packs_are_deleted_an_hour_after_the_last_rewrite_that_ended_or_only_began() {
    let from = |runs: &[(&str, &[MaintenanceRun])]| {
        History::new(&schedule(runs), Margins::FULL).deletes_from()
    };
    let hour = |hour: i64| Some(Timestamp::from_secs(hour * H));
    assert_eq!(from(&[]), None);
    assert_eq!(from(&[("full-rewrite-contents", &[run(H, 2 * H, true)])]), hour(3));
    assert_eq!(from(&[("quick-rewrite-contents", &[run(H, 2 * H, true)])]), hour(3));
    assert_eq!(from(&[("full-rewrite-contents", &[run(H, 2 * H, false)])]), None);
    let begun: &[_] = &[run(5 * H, 5 * H, true)];
    let both: &[(&str, &[MaintenanceRun])] =
        &[("full-rewrite-contents", &[run(H, 2 * H, true)]), ("kopia-lite-rewriting", begun)];
    assert_eq!(from(both), hour(6), "one that was killed half way counts from its beginning");
}

#[test]
fn contents_move_again_only_when_what_they_left_is_deleted() {
    let may = |runs: &[(&str, &[MaintenanceRun])], mode| {
        History::new(&schedule(runs), Margins::FULL).may_rewrite(mode)
    };
    let rewrite: (&str, &[_]) = ("full-rewrite-contents", &[run(H, 2 * H, true)]);
    let deletion = |end, success| [run(end, end, success)];
    assert!(may(&[], Mode::Full));
    assert!(!may(&[rewrite], Mode::Full) && !may(&[rewrite], Mode::Quick));
    for kind in ["full-delete-blobs", "quick-delete-blobs"] {
        assert!(may(&[rewrite, (kind, &deletion(2 * H, true))], Mode::Full), "{kind}");
        assert!(!may(&[rewrite, (kind, &deletion(2 * H - 1, true))], Mode::Full), "{kind}");
        assert!(!may(&[rewrite, (kind, &deletion(9 * H, false))], Mode::Full), "{kind}");
    }
    let quick: (&str, &[_]) = ("quick-rewrite-contents", &[run(H, 2 * H, true)]);
    assert!(may(&[quick], Mode::Full), "a full rewrite waits for full ones alone");
    let schedule = schedule(&[rewrite]);
    assert!(History::new(&schedule, Margins::NONE).may_rewrite(Mode::Full));
}

#[tokio::test]
async fn a_deletion_becomes_final_with_the_second_collection_and_not_before() {
    let world = World::new().await;
    let garbage = world.write(None, 2, 500).await;
    let kept = world.write_needed(None, 1, 500).await;
    world.advance(DAY);
    let report = world.full().await;
    assert_eq!(of(&report.tasks, Task::DropDeleted).verdict, Verdict::NotYet);
    assert!(world.runs("full-drop-deleted-content").await.is_empty(), "it is not noted as done");
    assert_eq!(world.names("xw"), [""; 0]);
    // Marked at the start of the first collection, which is no hour before it.
    world.advance(5 * HOUR);
    let first = world.clock.now();
    world.full().await;
    assert_eq!(world.names("xw").len(), 1);
    assert!(world.is_deleted(&garbage[0]).await, "still there, for it was marked later");
    world.advance(5 * HOUR);
    world.full().await;
    let expected = first.secs() - H;
    assert_eq!(world.names("xw").last(), Some(&format!("xw{expected}")));
    assert_eq!(world.entry(&garbage[0]).await, None);
    assert!(!world.is_deleted(&kept[0]).await);
    let noted = &world.runs("full-drop-deleted-content").await[0].statistics[0];
    assert_eq!(noted.kind, "compactIndexesStats");
    let before = &noted.data.as_ref().unwrap()["droppedContentsDeletedBefore"];
    assert_eq!(before.as_str(), Some(at(expected).to_string().as_str()));
}

#[tokio::test]
async fn the_watermark_never_goes_back() {
    let world = World::new().await;
    // Somebody without margins was here.
    let late = world.clock.now().secs() + 100 * H;
    world.repo.put_watermark(late).await.unwrap();
    for _ in 0..3 {
        world.advance(5 * HOUR);
        let report = world.full().await;
        assert_ne!(of(&report.tasks, Task::DropDeleted).verdict, Verdict::Due);
    }
    assert_eq!(world.names("xw"), [format!("xw{late}")]);
    // An equal one is not written again.
    world.advance(Duration::from_secs(200 * 3600));
    world.full().await;
    world.advance(5 * HOUR);
    world.full().await;
    let watermarks = world.names("xw");
    assert_eq!(watermarks.len(), 2, "{watermarks:?}");
    let report = world.full().await;
    assert_eq!(of(&report.tasks, Task::DropDeleted).verdict, Verdict::Nothing);
    assert_eq!(world.names("xw"), watermarks);
}
