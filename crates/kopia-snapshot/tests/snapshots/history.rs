//! Copying and moving the history of a source: a client that is cut off anywhere loses no snapshot.

use std::sync::Arc;

use blob_core::MemoryStorage;
use blob_testkit::FaultyStorage;
use kopia_format::snapshot::{SnapshotManifest, Source};
use kopia_snapshot::history;

use crate::support::{Memory, copy, open_storage, plant, write};

/// Moves all snapshots to another host over a storage that may die; true if it got through.
async fn move_until_death(storage: Arc<FaultyStorage>, from: &Source, to: &Source) -> bool {
    let Ok(repo) = open_storage(storage, "memory").await else { return false };
    let Ok(steps) = history::plan(&repo, from, to).await else { return false };
    let writer = repo.writer().unwrap();
    history::carry_out(&writer, &steps, true, &mut |_| {}).await.is_ok()
}

/// What a snapshot is apart from whose it is and what it is called.
fn what(manifest: &SnapshotManifest) -> (i64, String) {
    let root = manifest.root_object().unwrap();
    (manifest.start_time.unix_nanos(), root.to_string())
}

async fn snapshots(storage: MemoryStorage) -> Vec<SnapshotManifest> {
    Memory::over(storage).await.snapshots().await
}

#[tokio::test]
async fn a_move_that_is_cut_off_anywhere_keeps_every_snapshot_and_is_ended_by_the_next() {
    let folder = tempfile::tempdir().unwrap();
    plant(folder.path());
    let memory = Memory::new().await;
    memory.snapshot(folder.path()).await;
    write(folder.path().join("more"), "more");
    memory.snapshot(folder.path()).await;
    let before = memory.snapshots().await;
    let wanted: Vec<_> = before.iter().map(what).collect();
    let (from, to) = (before[0].source.clone(), Source::new("elsewhere", "", ""));
    let (mut cuts, mut doubled) = (0, 0);
    for moment in 0.. {
        let storage = copy(&memory.blobs).await;
        let faulty = FaultyStorage::over(Arc::new(storage.clone()));
        faulty.kill_after_writes(moment, moment % 2 == 0);
        let finished = move_until_death(faulty, &from, &to).await;
        let after = snapshots(storage.clone()).await;
        for one in &wanted {
            assert!(after.iter().any(|it| what(it) == *one), "{moment}: {one:?} is lost");
        }
        doubled += usize::from(after.len() > wanted.len());
        // The next one ends it, with each snapshot once.
        let again = FaultyStorage::over(Arc::new(storage.clone()));
        assert!(move_until_death(again, &from, &to).await);
        let mut ended = snapshots(storage).await;
        ended.sort_by_key(what);
        assert_eq!(ended.iter().map(what).collect::<Vec<_>>(), wanted, "{moment}");
        assert!(ended.iter().all(|it| it.source.host == "elsewhere"), "{moment}");
        if finished {
            break;
        }
        cuts += 1;
    }
    assert!(cuts >= 4 && doubled >= 1, "{cuts} cuts, {doubled} between copying and deleting");
}
