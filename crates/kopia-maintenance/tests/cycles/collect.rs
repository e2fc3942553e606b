//! Marking what nobody needs, and taking that back, by entries of the index alone.

use std::time::Duration;

use blob_core::layers::Operation;
use kopia_maintenance::{Mode, Task, Which, plan::Verdict};

use crate::world::{DAY, HOUR, World, of};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn only_what_is_not_needed_and_a_day_old_is_marked_and_never_what_holds_manifests() {
    let world = World::new().await;
    let needed = world.write_needed(None, 3, 500).await;
    let old = world.write(None, 2, 700).await;
    let folder = world.write(Some(b'k'), 1, 600).await;
    world.advance(SECOND);
    let young = world.write(Some(b'x'), 1, 400).await;
    // The old ones are a day old to the second, the young one is a second short of it.
    world.advance(DAY - SECOND);
    let report = world.full().await;
    let plan = of(&report.tasks, Task::SnapshotGc);
    assert_eq!((plan.verdict, plan.contents), (Verdict::Due, 3));
    for id in old.iter().chain(&folder) {
        assert!(world.is_deleted(id).await, "{id}");
    }
    for id in needed.iter().chain(&young) {
        assert!(!world.is_deleted(id).await, "{id}");
    }
    let number = async |key| world.number("snapshot-gc", key).await;
    assert_eq!(number("unreferencedContentCount").await, 3);
    assert_eq!(number("deletedContentCount").await, 3);
    assert_eq!(number("unreferencedRecentContentCount").await, 1);
    assert_eq!(number("inUseContentCount").await, 3);
    assert_eq!(number("inUseSystemContentCount").await, 1, "the maintenance parameters");
    assert_eq!(number("recoveredContentCount").await, 0);
    // What was marked is not marked again.
    world.advance(DAY);
    world.needed.add(young[0]);
    let report = world.full().await;
    assert_eq!(of(&report.tasks, Task::SnapshotGc).contents, 0);
    assert_eq!(number("unreferencedContentCount").await, 3);
    assert_eq!(number("deletedContentCount").await, 0);
}

#[tokio::test]
async fn a_content_that_is_needed_again_comes_back_where_it_was_and_no_pack_is_read() {
    let mut world = World::new().await;
    world.options.margins.rewrite_age_min = 1_000 * DAY;
    let ids = world.write_needed(None, 2, 500).await;
    let folder = world.write_needed(Some(b'k'), 1, 300).await;
    let needed = world.needed_bytes(&world.repo).await;
    world.advance(DAY);
    let all = world.needed.all();
    all.iter().for_each(|id| world.needed.remove(id));
    world.full().await;
    let marked = world.entry(&ids[0]).await.unwrap();
    assert!(marked.deleted && world.is_deleted(&folder[0]).await);
    all.iter().for_each(|id| world.needed.add(*id));
    let other = world.other().await;
    world.advance(HOUR);
    world.counting.clear();
    let report = world.full().await;
    assert_eq!(of(&report.tasks, Task::SnapshotGc).contents, 3);
    assert_eq!(world.number("snapshot-gc", "recoveredContentCount").await, 3);
    let folders = world.pack_of(&folder[0]).await;
    assert_eq!((world.gets("p"), world.gets(folders.as_str())), (0, 0));
    assert_eq!(world.counting.count_of(Operation::Put, "p"), 0);
    let back = world.entry(&ids[0]).await.unwrap();
    assert!(!back.deleted && back.timestamp > marked.timestamp);
    assert_eq!((&back.pack, back.offset, back.packed_length), {
        (&marked.pack, marked.offset, marked.packed_length)
    });
    // Who had it open sees it, too.
    other.refresh().await.unwrap();
    assert!(!other.content_entry(&ids[0]).await.unwrap().unwrap().deleted);
    assert_eq!(world.needed_bytes(&other).await, needed);
}

#[tokio::test]
async fn marks_made_within_a_second_of_the_writing_are_later_all_the_same() {
    let mut world = World::new().await;
    world.options.margins = kopia_maintenance::safety::Margins::NONE;
    let ids = world.write(None, 1, 500).await;
    let before = world.entry(&ids[0]).await.unwrap();
    world.full().await;
    let all = World::index(&world.other().await).await;
    // Without margins it is dropped in the same cycle, if its mark is not ahead of the clock.
    let after = all.iter().find(|entry| entry.id == ids[0]);
    assert!(after.is_none_or(|after| after.deleted && after.timestamp == before.timestamp + 1));
}

#[tokio::test]
async fn equal_marks_make_an_index_blob_of_one_name() {
    let world = World::new().await;
    world.write(None, 3, 500).await;
    world.advance(DAY);
    let saved = world.save().await;
    let mut names = Vec::new();
    for _ in 0..2 {
        world.go_back(&saved).await;
        world.repo.refresh().await.unwrap();
        let before = world.names("xn");
        world.full().await;
        let new = world.names("xn").into_iter().find(|name| !before.contains(name)).unwrap();
        // Behind the hash is the session, which is new each time.
        names.push(new.split_once('-').unwrap().0.to_owned());
    }
    assert_eq!(names[0], names[1]);
}

#[tokio::test]
async fn while_a_needed_content_is_missing_nothing_is_taken_for_garbage() {
    let world = World::new().await;
    let garbage = world.write(None, 2, 500).await;
    world.advance(DAY);
    world.needed.add(kopia_format::ContentId::new(None, &[7; 16]).unwrap());
    let before = (world.names("x"), world.names("p"), world.names("q"));
    let report = world.try_run(Which::This(Mode::Full)).await.unwrap();
    let (task, error) = &report.failed[0];
    assert_eq!((*task, report.failed.len()), (Task::SnapshotGc, 1));
    assert!(error.contains("is missing"), "{error}");
    assert!(!world.is_deleted(&garbage[0]).await);
    assert_eq!((world.names("x"), world.names("p"), world.names("q")), before);
    for task in [Task::DropDeleted, Task::DeleteBlobs(Mode::Full)] {
        let plan = of(&report.tasks, task);
        assert_eq!(plan.verdict, Verdict::NotYet, "{task}");
        assert_eq!(plan.reason, "snapshot-gc has failed");
    }
    // What does not depend on it is done.
    assert!(world.runs("cleanup-logs").await[0].success);
}
