//! Epochs: they end, are merged, and what they leave is deleted when nobody can need it any more.

use std::{collections::BTreeSet, time::Duration};

use kopia_maintenance::{Mode, Task, plan::Verdict};
use kopia_repo::IndexEntry;

use crate::world::{DAY, HOUR, World, of};

/// A repository in which nothing is moved: its index can be compared.
async fn steady() -> World {
    let mut world = World::new().await;
    world.options.margins.rewrite_age_min = 10_000 * DAY;
    world
}

/// Fills an epoch as a day of snapshots does, and lets maintenance begin the next.
async fn turn(world: &World) {
    for n in 0..20 {
        if n > 0 {
            world.advance(DAY / 19 + Duration::from_secs(1));
        }
        world.write_needed(None, 1, 100).await;
    }
    world.quick().await;
}

fn epochs(world: &World, kind: &str) -> BTreeSet<u64> {
    let numbers = world.names(kind).into_iter();
    numbers.map(|name| name[2..].split('_').next().unwrap().parse().unwrap()).collect()
}

/// What the index says, by a client that has never seen it.
async fn index(world: &World) -> Vec<IndexEntry> {
    World::index(&world.other().await).await
}

#[tokio::test]
async fn an_epoch_ends_after_a_day_of_twenty_blobs_and_is_merged_when_it_is_settled() {
    let world = steady().await;
    for _ in 0..20 {
        world.write_needed(None, 1, 100).await;
    }
    world.quick().await;
    assert_eq!(world.names("xe"), [""; 0], "many blobs, and no day");
    let advanced = &world.runs("advance-epoch").await[0].statistics[0];
    let none = r#"{"currentEpoch":0,"wasAdvanced":false}"#;
    assert_eq!(advanced.data.as_ref().unwrap().to_string(), none);
    turn(&world).await;
    assert_eq!(world.names("xe"), ["xe1"]);
    assert_eq!(world.number("advance-epoch", "currentEpoch").await, 1);
    turn(&world).await;
    assert_eq!(world.names("xe"), ["xe1", "xe2"]);
    assert_eq!(world.names("xs"), [""; 0], "merging comes before the next epoch begins");
    let before = index(&world).await;
    let report = world.quick().await;
    assert_eq!(of(&report.tasks, Task::CompactEpoch).verdict, Verdict::Due);
    let single = world.names("xs");
    assert!(single.len() == 1 && single[0].starts_with("xs0_") && single[0].ends_with("-c1"));
    assert_eq!(index(&world).await, before);
    let inputs = world.names("xn0_").len() as u64;
    let number = async |key| world.number("compact-single-epoch", key).await;
    assert_eq!(number("supersededIndexBlobCount").await, inputs);
    assert_eq!(number("epoch").await, 0);
    // Once.
    let report = world.quick().await;
    assert_eq!(of(&report.tasks, Task::CompactEpoch).verdict, Verdict::Nothing);
    assert_eq!(world.names("xs"), single);
}

#[tokio::test]
async fn what_was_merged_is_deleted_more_than_four_hours_later() {
    let world = steady().await;
    for _ in 0..2 {
        turn(&world).await;
    }
    world.quick().await;
    let before = index(&world).await.len();
    // The newest index blob shows the storage's clock.
    world.advance(4 * HOUR);
    world.write_needed(None, 1, 100).await;
    let report = world.full().await;
    assert_eq!(of(&report.tasks, Task::DeleteSuperseded).verdict, Verdict::Nothing);
    assert!(epochs(&world, "xn").contains(&0));
    world.advance(Duration::from_secs(1));
    world.write_needed(None, 1, 100).await;
    world.counting.clear();
    let report = world.full().await;
    let plan = of(&report.tasks, Task::DeleteSuperseded);
    assert!(plan.deletes.count >= 20, "{plan:?}");
    assert_eq!(epochs(&world, "xn"), BTreeSet::from([1, 2]));
    assert_eq!(index(&world).await.len(), before + 2);
    let number = world.number("delete-superseded-epoch-indexes", "deletedBlobCount").await;
    assert_eq!(number, plan.deletes.count);
    let explained = crate::logs::explained(&world).await;
    assert!(explained.iter().all(|line| {
        line["reason"] == "index-merged"
            && line["evidence"].as_str().unwrap().starts_with("merged into xs0_")
    }));
    assert_eq!(explained.len() as u64, plan.deletes.count);
}

#[tokio::test]
async fn eight_epochs_become_a_range_and_old_markers_go() {
    let world = steady().await;
    for _ in 0..9 {
        turn(&world).await;
    }
    assert_eq!(epochs(&world, "xe"), (1..=9).collect());
    let before = index(&world).await;
    let bytes = world.needed_bytes(&world.other().await).await;
    world.counting.clear();
    let report = world.full().await;
    assert_eq!(of(&report.tasks, Task::CompactRange).verdict, Verdict::Due);
    let range = world.names("xr");
    assert!(range.len() == 1 && range[0].starts_with("xr0_7_"), "{range:?}");
    assert_eq!(world.number("generate-epoch-range-index", "rangeMaxEpoch").await, 7);
    assert_eq!(index(&world).await, before);
    assert_eq!(epochs(&world, "xe"), BTreeSet::from([8, 9]));
    assert_eq!(world.number("cleanup-epoch-markers", "deletedEpochMarkerBlobCount").await, 7);
    let explained = crate::logs::explained(&world).await;
    assert!(explained.iter().filter(|line| line["reason"] == "epoch-over").count() == 7);
    // Single compactions more than four hours old do.
    assert!(epochs(&world, "xn").contains(&7));
    world.advance(5 * HOUR);
    world.write_needed(None, 1, 100).await;
    world.full().await;
    assert_eq!(epochs(&world, "xn"), BTreeSet::from([8, 9]));
    let after = index(&world).await;
    assert!(before.iter().all(|entry| after.contains(entry)));
    let still = world.needed_bytes(&world.other().await).await;
    assert!(bytes.iter().all(|(id, bytes)| still[id] == bytes));
}

#[tokio::test]
async fn a_watermark_goes_when_a_later_one_has_been_there_for_four_hours() {
    let world = steady().await;
    world.write_needed(None, 1, 100).await;
    let now = world.clock.now().secs();
    world.repo.put_watermark(now - 100).await.unwrap();
    world.repo.put_watermark(now - 50).await.unwrap();
    world.advance(4 * HOUR);
    world.write_needed(None, 1, 100).await;
    world.full().await;
    assert_eq!(world.names("xw").len(), 2, "four hours to the second");
    world.advance(Duration::from_secs(1));
    world.write_needed(None, 1, 100).await;
    let report = world.full().await;
    assert_eq!(of(&report.tasks, Task::CleanupMarkers).deletes.count, 1);
    assert_eq!(world.names("xw"), [format!("xw{}", now - 50)]);
    assert_eq!(world.number("cleanup-epoch-markers", "deletedWatermarkBlobCount").await, 1);
}

#[tokio::test]
async fn deletions_are_kept_by_a_merge_and_a_repository_without_news_is_left_as_it_is() {
    let world = steady().await;
    let garbage = world.write(None, 3, 100).await;
    for _ in 0..2 {
        turn(&world).await;
    }
    let writer = world.repo.writer().unwrap();
    writer.delete_content(&garbage[0]).await.unwrap();
    writer.flush().await.unwrap();
    turn(&world).await;
    turn(&world).await;
    let before = index(&world).await;
    assert!(before.iter().any(|entry| entry.deleted));
    world.quick().await;
    world.quick().await;
    assert_eq!(epochs(&world, "xs"), BTreeSet::from([0, 1, 2]));
    assert_eq!(index(&world).await, before);
    let names = world.names("x");
    world.advance(HOUR);
    let report = world.run(Mode::Quick).await;
    assert!(report.tasks.iter().all(|plan| !plan.is_due()));
    assert_eq!(world.names("x"), names);
}
