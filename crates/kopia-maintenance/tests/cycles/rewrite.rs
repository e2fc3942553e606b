//! Contents move out of short packs, and stay what they are.

use std::collections::BTreeSet;

use kopia_maintenance::{Mode, Task, plan::Verdict};

use crate::world::{DAY, HOUR, World, of};

const FULL: Task = Task::RewriteContents(Mode::Full);

#[tokio::test]
async fn short_packs_become_one_and_every_content_stays_what_it_is() {
    let world = World::new().await;
    let mut moved = Vec::new();
    for _ in 0..5 {
        moved.extend(world.write_needed(None, 3, 2_000).await);
    }
    let writer = world.repo.writer().unwrap();
    let gone = moved[4];
    world.needed.remove(&gone);
    world.advance(HOUR);
    writer.delete_content(&gone).await.unwrap();
    writer.flush().await.unwrap();
    let before = world.needed_bytes(&world.repo).await;
    let deleted = world.entry(&gone).await.unwrap();
    // What is younger than two hours stays where it is, and the deletion, too, is an entry.
    world.advance(HOUR);
    let young = world.write_needed(None, 1, 2_000).await;
    let young_pack = world.pack_of(&young[0]).await;
    world.advance(HOUR);
    let report = world.full().await;
    let plan = of(&report.tasks, FULL);
    assert_eq!((plan.verdict, plan.contents), (Verdict::Due, 15));
    let mut packs = BTreeSet::new();
    for id in &moved {
        packs.insert(world.pack_of(id).await);
    }
    assert_eq!(packs.len(), 1, "{packs:?}");
    assert_eq!(world.pack_of(&young[0]).await, young_pack);
    let other = world.other().await;
    for (id, bytes) in before {
        assert_eq!(other.content(&id).await.unwrap(), bytes, "{id}");
    }
    let after = world.entry(&gone).await.unwrap();
    assert!(after.deleted && after.pack != deleted.pack && after.timestamp > deleted.timestamp);
    let number = async |key| world.number("full-rewrite-contents", key).await;
    assert_eq!(number("toRewriteContentCount").await, 15);
    assert_eq!(number("rewrittenContentCount").await, 15);
    assert_eq!(number("retainedContentCount").await, 1, "the young one");
    assert_eq!(world.kept.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn one_short_pack_alone_is_left_as_it_is() {
    let world = World::new().await;
    let ids = world.write_needed(None, 3, 2_000).await;
    let pack = world.pack_of(&ids[0]).await;
    world.advance(3 * HOUR);
    let report = world.full().await;
    assert_eq!(of(&report.tasks, FULL).verdict, Verdict::Nothing);
    assert_eq!(world.pack_of(&ids[0]).await, pack);
    assert_eq!(world.gets("p"), 0);
    // It is not noted: one that moved nothing keeps no deletion back.
    assert!(world.runs("full-rewrite-contents").await.is_empty());
    assert!(world.runs("kopia-lite-rewriting").await.is_empty());
}

#[tokio::test]
async fn data_and_metadata_move_apart() {
    let world = World::new().await;
    let mut ids = Vec::new();
    for prefix in [None, Some(b'k'), None, Some(b'k')] {
        ids.extend(world.write_needed(prefix, 2, 1_000).await);
    }
    world.advance(3 * HOUR);
    let before = world.needed_bytes(&world.repo).await;
    world.full().await;
    for id in &ids {
        let kind = if id.is_metadata() { "q" } else { "p" };
        assert!(world.pack_of(id).await.starts_with(kind), "{id}");
    }
    assert_eq!(world.needed_bytes(&world.other().await).await, before);
}

#[tokio::test]
async fn a_pack_that_is_full_enough_is_not_read() {
    let world = World::new().await;
    // 60 % of 20 MiB and a bit.
    let large = world.write_needed(None, 13, 1_000_000).await;
    let mut small = Vec::new();
    for _ in 0..2 {
        small.extend(world.write_needed(None, 1, 1_000).await);
    }
    world.advance(3 * HOUR);
    world.counting.clear();
    let pack = world.pack_of(&large[0]).await;
    let report = world.full().await;
    assert_eq!(of(&report.tasks, FULL).contents, 2);
    assert_eq!(world.gets(pack.as_str()), 0);
    assert_eq!(world.pack_of(&large[0]).await, pack);
}

#[tokio::test]
async fn many_contents_move_in_little_memory() {
    let world = World::new().await;
    for _ in 0..4 {
        world.write_needed(None, 150, 20_000).await;
    }
    for _ in 0..4 {
        world.write_needed(None, 2, 1_500_000).await;
    }
    let before = world.needed_bytes(&world.repo).await;
    world.advance(3 * HOUR);
    let mut options = crate::world::open_options(&world.clock);
    (options.memory_bytes_max, options.threads) = (16 << 20, 1);
    let storage = std::sync::Arc::new(world.memory.clone());
    let small = crate::world::open(storage, options).await;
    let which = kopia_maintenance::Which::This(Mode::Full);
    let report = world.try_run_by(&small, which).await.unwrap();
    assert_eq!(report.failed, []);
    assert_eq!(of(&report.tasks, FULL).contents, 608);
    assert_eq!(world.needed_bytes(&world.other().await).await, before);
}

#[tokio::test]
async fn nothing_moves_again_before_what_it_left_is_deleted() {
    let world = World::new().await;
    for _ in 0..2 {
        world.write_needed(None, 1, 1_000).await;
    }
    let left = world.names("p");
    world.advance(DAY);
    world.full().await;
    world.write_needed(None, 1, 1_000).await;
    world.advance(HOUR / 2);
    let report = world.full().await;
    assert_eq!(of(&report.tasks, FULL).verdict, Verdict::NotYet);
    assert_eq!(of(&report.tasks, Task::DeleteBlobs(Mode::Full)).verdict, Verdict::NotYet);
    assert!(left.iter().all(|pack| world.names("p").contains(pack)));
    world.advance(2 * HOUR);
    let report = world.full().await;
    assert_eq!(of(&report.tasks, FULL).verdict, Verdict::NotYet, "it is deleted after this");
    assert!(!left.iter().any(|pack| world.names("p").contains(pack)));
    let report = world.full().await;
    assert_eq!(of(&report.tasks, FULL).verdict, Verdict::Due);
}
