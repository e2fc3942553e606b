//! Which packs are deleted, when, and that each deletion is explained before it happens.

use std::time::Duration;

use blob_core::{BlobId, BlobStorage, PutOptions};
use kopia_format::{maintenance::MaintenanceRun, time::GoTime};
use kopia_maintenance::{
    Mode, Task,
    plan::{Reason, Verdict},
    safety::Margins,
};

use crate::world::{DAY, HOUR, World, of};

const DELETE: Task = Task::DeleteBlobs(Mode::Full);
const SECOND: Duration = Duration::from_secs(1);

/// A pack that no index names, as a writer that died leaves it.
pub async fn orphan(world: &World, kind: char, number: u32, length: usize) -> BlobId {
    let id: BlobId = format!("{kind}{number:032x}").parse().unwrap();
    let bytes = vec![7; length];
    world.memory.put(&id, bytes.into(), &PutOptions::default()).await.unwrap();
    id
}

#[tokio::test]
async fn a_pack_that_nothing_names_goes_when_it_is_a_day_old_to_the_second() {
    let world = World::new().await;
    let kept = world.write_needed(None, 1, 1_000).await;
    let mut orphans = Vec::new();
    for number in 0..4 {
        orphans.push(orphan(&world, if number % 2 == 0 { 'p' } else { 'q' }, number, 100).await);
        world.advance(SECOND);
    }
    // The storage may tell whole seconds only, so one second is allowed for: the third is a day
    // old less a second, the fourth less two.
    world.advance(DAY - 3 * SECOND);
    let report = world.full().await;
    let plan = of(&report.tasks, DELETE);
    assert_eq!((plan.deletes.count, plan.deletes.bytes), (3, 300));
    assert_eq!(plan.retained, (1, 100));
    assert_eq!(
        orphans.iter().map(|id| world.has(id)).collect::<Vec<_>>(),
        [false, false, false, true]
    );
    assert!(world.has(&world.pack_of(&kept[0]).await));
    assert!(plan.deletions.iter().all(|deletion| deletion.reason == Reason::Unreferenced));
    let number = async |key| world.number("full-delete-blobs", key).await;
    assert_eq!(number("deletedPackCount").await, 3);
    assert_eq!(number("deletedTotalSize").await, 300);
    assert_eq!(number("retainedPackCount").await, 1);
}

#[tokio::test]
async fn what_was_written_since_maintenance_began_stays_without_any_margin() {
    let mut world = World::new().await;
    world.options.margins = Margins::NONE;
    let before = orphan(&world, 'p', 0, 10).await;
    let start = world.clock.now();
    let mut later = Vec::new();
    for (number, ahead) in [(1, SECOND), (2, SECOND + Duration::from_nanos(1))] {
        world.clock.set(start.saturating_add(ahead));
        later.push(orphan(&world, 'p', number, 10).await);
    }
    world.clock.set(start);
    world.full().await;
    assert!(!world.has(&before) && !world.has(&later[0]), "a second is allowed for");
    assert!(world.has(&later[1]));
}

#[tokio::test]
async fn blobs_with_names_that_no_pack_has_are_left_alone() {
    let world = World::new().await;
    // Where there are archives the first two are not even listed, for packs have digits behind "p".
    let names = ["pictures.zip", "pA000000000000000000000000000000a", "p123", "quarterly"];
    for name in names {
        let id: BlobId = name.parse().unwrap();
        world.memory.put(&id, vec![1].into(), &PutOptions::default()).await.unwrap();
    }
    world.advance(10 * DAY);
    let report = world.full().await;
    let plan = of(&report.tasks, DELETE);
    assert_eq!(plan.deletes.count, 0);
    assert!(plan.notes.iter().any(|note| note.starts_with("2 blobs have names")), "{plan:?}");
    assert!(names.iter().all(|name| world.has(&name.parse().unwrap())));
}

#[tokio::test]
async fn nothing_goes_within_an_hour_of_a_rewrite() {
    for task in ["full-rewrite-contents", "quick-rewrite-contents", "kopia-lite-rewriting"] {
        let world = World::new().await;
        let orphan = orphan(&world, 'p', 1, 10).await;
        world.advance(2 * DAY);
        let now = GoTime::from_unix_nanos(world.clock.now().nanos());
        let mut schedule = world.schedule().await;
        let statistics = Vec::new();
        let run = MaintenanceRun {
            start: now,
            end: now,
            success: true,
            error: String::new(),
            statistics,
        };
        schedule.report(task, run);
        let sealed = schedule.encrypt(&world.repo.maintenance_key().unwrap(), [3; 12]);
        let id: BlobId = "kopia.maintenance".parse().unwrap();
        world.memory.put(&id, sealed.into(), &PutOptions::default()).await.unwrap();
        world.advance(HOUR - SECOND);
        let report = world.full().await;
        assert_eq!(of(&report.tasks, DELETE).verdict, Verdict::NotYet, "{task}");
        assert!(world.has(&orphan) && world.runs("full-delete-blobs").await.is_empty());
        world.advance(SECOND);
        world.full().await;
        assert!(!world.has(&orphan), "{task}");
    }
}

#[tokio::test]
async fn a_rewrite_that_is_stopped_late_starts_the_margin_late() {
    use kopia_maintenance::{Event, Maintenance, MaintenanceError, Which};
    use tokio_util::sync::CancellationToken;
    let world = World::new().await;
    for _ in 0..2 {
        world.write_needed(None, 1, 1_000).await;
    }
    let left = world.names("p");
    world.advance(2 * DAY);
    // Reading took five hours; then somebody stopped it, and what had moved was written.
    let stop = CancellationToken::new();
    let events = |event: &Event<'_>| {
        if let Event::Progress { what: "contents", .. } = event {
            world.advance(5 * HOUR);
            stop.cancel();
        }
    };
    let log = world.repo.log("maintenance", 0).unwrap();
    let stopped =
        Maintenance::new(&world.repo, &world.options, &world.needed, &events, &log, &stop)
            .run(Which::This(Mode::Full))
            .await;
    assert!(matches!(stopped, Err(MaintenanceError::Stopped)), "{stopped:?}");
    let moved = world.pack_of(&world.needed.all()[0]).await;
    assert!(!left.contains(&moved.as_str().to_owned()), "they have moved");
    world.advance(HOUR / 2);
    let report = world.full().await;
    assert_eq!(of(&report.tasks, DELETE).verdict, Verdict::NotYet);
    assert!(left.iter().all(|pack| world.names("p").contains(pack)), "others may read there yet");
    world.advance(HOUR);
    world.full().await;
    assert!(!left.iter().any(|pack| world.names("p").contains(pack)));
}

#[tokio::test]
async fn every_deletion_and_its_evidence_is_in_the_log_before_it_happens() {
    let world = World::new().await;
    for number in 0..40 {
        orphan(&world, 'p', number, 10).await;
    }
    world.advance(2 * DAY);
    world.counting.clear();
    let report = world.full().await;
    assert_eq!(of(&report.tasks, DELETE).deletes.count, 40);
    let explained = crate::logs::explained(&world).await;
    assert_eq!(explained.len(), 40);
    for line in explained {
        assert_eq!(line["m"], "deleting blob");
        assert_eq!(line["reason"], "unreferenced");
        assert!(line["evidence"].as_str().unwrap().starts_with("no index entry of "), "{line}");
        assert!(line["margin"].as_str().unwrap().starts_with("written 2 days before"), "{line}");
    }
}

#[tokio::test]
async fn a_collected_content_leads_to_a_deleted_pack() {
    let world = World::new().await;
    let garbage = world.write(None, 2, 1_000).await;
    let pack = world.pack_of(&garbage[0]).await;
    let needed = world.write_needed(None, 2, 1_000).await;
    let bytes = world.needed_bytes(&world.repo).await;
    let mut cycles = 0;
    world.advance(DAY);
    while world.has(&pack) {
        world.full().await;
        world.advance(5 * HOUR);
        cycles += 1;
        assert!(cycles < 10, "it never goes");
    }
    // Marked; moved with its pack; dropped; deleted.
    assert!(cycles >= 3, "gone after {cycles} cycles");
    assert_eq!(world.entry(&garbage[0]).await, None);
    assert_eq!(world.needed_bytes(&world.other().await).await, bytes);
    assert!(!world.is_deleted(&needed[0]).await);
}
