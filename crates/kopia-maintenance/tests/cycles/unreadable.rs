//! Packs that can't be read stay as they are, are said so, and stop nothing.

use blob_core::BlobStorage;
use kopia_maintenance::{Mode, Task, plan::Verdict};

use crate::world::{HOUR, World, of};

const FULL: Task = Task::RewriteContents(Mode::Full);

#[tokio::test]
async fn a_damaged_pack_stays_and_the_others_move() {
    let world = World::new().await;
    let mut packs = Vec::new();
    for _ in 0..4 {
        packs.push(world.write_needed(None, 3, 2_000).await);
    }
    let bad = world.pack_of(&packs[1][0]).await;
    world.memory.damage(&bad, |bytes| bytes.iter_mut().for_each(|byte| *byte ^= 0x55));
    world.advance(3 * HOUR);
    let report = world.full().await;
    let plan = of(&report.tasks, FULL);
    assert_eq!((plan.verdict, plan.contents), (Verdict::Due, 12));
    for (n, ids) in packs.iter().enumerate() {
        for id in ids {
            assert_eq!(world.pack_of(id).await == bad, n == 1, "{id}");
        }
    }
    let runs = world.runs("full-rewrite-contents").await;
    assert!(runs[0].success && runs[0].error.is_empty());
    let number = async |key| world.number("full-rewrite-contents", key).await;
    assert_eq!(number("toRewriteContentCount").await, 12);
    assert_eq!(number("rewrittenContentCount").await, 9);
    assert_eq!(number("retainedContentCount").await, 3);
    assert!(number("retainedContentSize").await > 6_000);
    let kept = world.kept.lock().unwrap().clone();
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert!(kept[0].starts_with(&format!("3 contents of pack {bad} stay")), "{kept:?}");
    assert!(world.runs("cleanup-logs").await[0].success, "the last task was done");
    assert!(world.has(&bad));
}

#[tokio::test]
async fn of_a_pack_with_one_damaged_content_the_others_move() {
    let world = World::new().await;
    let ids = world.write_needed(None, 3, 2_000).await;
    world.write_needed(None, 1, 2_000).await;
    let damaged = world.entry(&ids[1]).await.unwrap();
    let pack = world.pack_of(&ids[1]).await;
    world.memory.damage(&pack, |bytes| bytes[damaged.offset as usize + 100] ^= 1);
    world.advance(3 * HOUR);
    world.full().await;
    assert_eq!(world.number("full-rewrite-contents", "rewrittenContentCount").await, 3);
    assert_eq!(world.entry(&ids[1]).await.unwrap(), damaged, "its entry is as it was");
    for id in [ids[0], ids[2]] {
        assert_ne!(world.pack_of(&id).await, pack);
    }
    // As long as the index names it, the pack stays: somebody may have the right bytes still.
    world.advance(26 * HOUR);
    world.full().await;
    assert!(world.has(&pack));
}

#[tokio::test]
async fn a_missing_pack_is_said_and_the_others_move() {
    let world = World::new().await;
    let mut packs = Vec::new();
    for _ in 0..3 {
        packs.push(world.write_needed(None, 2, 2_000).await);
    }
    let lost = world.pack_of(&packs[0][0]).await;
    world.memory.delete(&lost).await.unwrap();
    world.advance(3 * HOUR);
    let report = world.full().await;
    let plan = of(&report.tasks, FULL);
    assert_eq!((plan.verdict, plan.contents), (Verdict::Due, 4));
    let note = format!("pack {lost} does not exist; its contents are lost");
    assert!(plan.notes.contains(&note), "{:?}", plan.notes);
    assert_eq!(world.pack_of(&packs[0][0]).await, lost, "the index says so still");
    assert_eq!(world.pack_of(&packs[1][0]).await, world.pack_of(&packs[2][0]).await);
}
