//! Format version 1, without epochs: index blobs are merged, and go step by step.

use std::time::Duration;

use kopia_maintenance::{Mode, Task, plan::Verdict};
use kopia_repo::IndexEntry;

use crate::world::{DAY, HOUR, World, of};

async fn steady() -> World {
    let mut world = World::legacy().await;
    world.options.margins.rewrite_age_min = 10_000 * DAY;
    world
}

async fn index(world: &World) -> Vec<IndexEntry> {
    World::index(&world.other().await).await
}

async fn active(world: &World) -> usize {
    world.other().await.index_blobs().await.unwrap().len()
}

/// Eight index blobs more.
async fn eight(world: &World) {
    for _ in 0..8 {
        world.write_needed(None, 1, 100).await;
    }
}

#[tokio::test]
async fn eight_index_blobs_become_one_and_fewer_stay() {
    let world = steady().await;
    for _ in 0..6 {
        world.write_needed(None, 1, 100).await;
    }
    let report = world.quick().await;
    assert_eq!(of(&report.tasks, Task::CompactIndexes).verdict, Verdict::Nothing);
    assert_eq!((world.names("n").len(), world.names("m").len()), (7, 0));
    world.write_needed(None, 1, 100).await;
    let before = index(&world).await;
    let report = world.quick().await;
    assert_eq!(of(&report.tasks, Task::CompactIndexes).verdict, Verdict::Due);
    assert_eq!((world.names("n").len(), world.names("m").len()), (9, 1), "the inputs stay");
    assert_eq!(active(&world).await, 1);
    assert_eq!(index(&world).await, before);
}

#[tokio::test]
async fn inputs_go_an_hour_after_the_log_and_the_log_an_hour_after_them() {
    let world = steady().await;
    eight(&world).await;
    world.quick().await;
    let (inputs, first_log) = (world.names("n"), world.names("m"));
    world.advance(HOUR - Duration::from_secs(1));
    eight(&world).await;
    world.quick().await;
    assert!(inputs.iter().all(|name| world.names("n").contains(name)), "an hour less a second");
    world.advance(Duration::from_secs(1));
    eight(&world).await;
    let before = index(&world).await;
    world.counting.clear();
    world.quick().await;
    let left: Vec<_> = inputs.iter().filter(|name| world.names("n").contains(name)).collect();
    // The first log's inputs are gone; its output was the second one's input.
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(world.names("m").contains(&first_log[0]));
    assert_eq!(world.names("l").len(), 1, "it says which log is done with");
    assert_eq!(crate::logs::explained(&world).await.len(), inputs.len() - 1);
    assert_eq!(index(&world).await, before);
    // The newest schedule shows the clock, so another must come.
    world.advance(HOUR + Duration::from_secs(1));
    eight(&world).await;
    let before = index(&world).await;
    world.counting.clear();
    world.quick().await;
    assert!(!world.names("m").contains(&first_log[0]));
    assert_eq!(world.names("l").len(), 1, "the newer one");
    assert_eq!(index(&world).await, before);
    let explained = crate::logs::explained(&world).await;
    assert!(explained.iter().any(|line| line["blobID"] == first_log[0].as_str()));
}

#[tokio::test]
async fn deleted_contents_leave_the_index_when_two_collections_agree() {
    let world = steady().await;
    let garbage = world.write(None, 2, 100).await;
    let needed = world.write_needed(None, 2, 100).await;
    let bytes = world.needed_bytes(&world.repo).await;
    let pack = world.pack_of(&garbage[0]).await;
    world.advance(DAY);
    world.full().await;
    assert!(world.is_deleted(&garbage[0]).await);
    let mut cycles = 1;
    while world.entry(&garbage[0]).await.is_some() {
        world.advance(5 * HOUR);
        world.full().await;
        cycles += 1;
        assert!(cycles < 6, "it never goes");
    }
    assert_eq!(cycles, 3);
    assert!(!world.is_deleted(&needed[1]).await);
    assert_eq!(active(&world).await, 1);
    let all = index(&world).await;
    assert!(!all.iter().any(|entry| entry.deleted || garbage.contains(&entry.id)));
    assert!(!world.has(&pack), "and its pack with it");
    assert_eq!(world.needed_bytes(&world.other().await).await, bytes);
}

#[tokio::test]
async fn quick_maintenance_moves_metadata_and_leaves_data_alone() {
    let world = World::legacy().await;
    for prefix in [None, Some(b'k'), None, Some(b'k')] {
        world.write_needed(prefix, 2, 1_000).await;
    }
    let (data, metadata) = (world.names("p"), world.names("q"));
    let bytes = world.needed_bytes(&world.repo).await;
    world.advance(DAY + HOUR);
    world.counting.clear();
    let report = world.quick().await;
    assert_eq!(of(&report.tasks, Task::RewriteContents(Mode::Quick)).verdict, Verdict::Due);
    assert_eq!(world.gets("p"), 0);
    world.advance(2 * HOUR);
    world.quick().await;
    assert_eq!(world.names("p"), data);
    assert!(!world.names("q").iter().any(|name| metadata.contains(name)));
    assert_eq!(world.needed_bytes(&world.other().await).await, bytes);
}
