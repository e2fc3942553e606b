//! Sessions that are alive guard their packs, dead ones do not.

use std::time::Duration;

use blob_core::BlobId;
use blob_testkit::FaultyStorage;
use kopia_maintenance::{Mode, Task, Which, plan::Reason};

use crate::world::{HOUR, World, noise, of, open, open_options};

const DELETE: Task = Task::DeleteBlobs(Mode::Full);

/// A writer that puts its marker and a pack, and dies. Gives both.
async fn dead_writer(world: &World) -> (BlobId, BlobId) {
    let faulty = FaultyStorage::over(std::sync::Arc::new(world.memory.clone()));
    let repo = open(faulty.clone(), open_options(&world.clock)).await;
    let before = world.names("p");
    faulty.kill_after_writes(2, false);
    let writer = repo.writer().unwrap();
    writer.put_content(noise(4_711, 5_000), None, None).await.unwrap();
    writer.flush().await.unwrap_err();
    let pack = world.names("p").into_iter().find(|name| !before.contains(name)).unwrap();
    let markers = world.names("s");
    assert_eq!(markers.len(), 1);
    (markers[0].parse().unwrap(), pack.parse().unwrap())
}

#[tokio::test]
async fn a_session_guards_its_packs_for_96_hours() {
    let world = World::new().await;
    let (marker, pack) = dead_writer(&world).await;
    world.advance(96 * HOUR - Duration::from_secs(2));
    let report = world.full().await;
    let plan = of(&report.tasks, DELETE);
    assert_eq!((plan.deletes.count, plan.retained.0), (0, 2));
    assert!(world.has(&marker) && world.has(&pack));
    world.advance(Duration::from_secs(1));
    let report = world.full().await;
    let plan = of(&report.tasks, DELETE);
    assert!(!world.has(&marker) && !world.has(&pack));
    let reasons: Vec<_> = plan.deletions.iter().map(|deletion| deletion.reason).collect();
    assert_eq!(reasons, [Reason::Unreferenced, Reason::SessionOver]);
    assert!(plan.deletions[1].evidence.starts_with("its session was last alive 4 days ago"));
}

#[tokio::test]
async fn a_pack_whose_session_has_no_marker_goes_after_a_day() {
    let world = World::new().await;
    let (marker, pack) = dead_writer(&world).await;
    world.advance(25 * HOUR);
    blob_core::BlobStorage::delete(&world.memory, &marker).await.unwrap();
    world.full().await;
    assert!(!world.has(&pack));
}

#[tokio::test]
async fn a_damaged_marker_stops_the_deletion_of_packs_and_nothing_else() {
    let world = World::new().await;
    let (marker, pack) = dead_writer(&world).await;
    world.memory.damage(&marker, |bytes| bytes[20] ^= 1);
    for _ in 0..2 {
        world.write_needed(None, 1, 1_000).await;
    }
    world.advance(200 * HOUR);
    let report = world.try_run(Which::This(Mode::Full)).await.unwrap();
    // The rewrite keeps deletions back, so the marker is not looked at yet.
    assert_eq!(report.failed, []);
    world.advance(2 * HOUR);
    let report = world.try_run(Which::This(Mode::Full)).await.unwrap();
    assert_eq!(report.failed.len(), 1);
    assert_eq!(report.failed[0].0, DELETE);
    assert!(report.failed[0].1.contains(marker.as_str()), "{:?}", report.failed);
    assert!(world.has(&marker) && world.has(&pack));
    let runs = world.runs("full-delete-blobs").await;
    assert!(!runs[0].success && runs[0].error == report.failed[0].1);
    for task in ["snapshot-gc", "advance-epoch", "cleanup-epoch-markers", "cleanup-logs"] {
        assert!(world.runs(task).await[0].success, "{task}");
        assert_eq!(world.runs(task).await.len(), 2, "{task}");
    }
}
