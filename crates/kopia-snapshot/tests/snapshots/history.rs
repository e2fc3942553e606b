//! Copying and moving the history of a source: a client that is cut off anywhere loses no snapshot.
//! Each cut is made twice: the last write had its effect, or it had none.

use std::sync::Arc;

use blob_core::MemoryStorage;
use blob_testkit::FaultyStorage;
use kopia_format::snapshot::{SnapshotManifest, Source};
use kopia_snapshot::history;

use crate::support::{Memory, copy, open_storage, plant, write};

/// Copies or moves all snapshots to another host over a storage that may die; true if it got
/// through.
async fn until_death(storage: Arc<FaultyStorage>, of: (&Source, &Source), moves: bool) -> bool {
    let Ok(repo) = open_storage(storage, "memory").await else { return false };
    let Ok(steps) = history::plan(&repo, of.0, of.1).await else { return false };
    let writer = repo.writer().unwrap();
    history::carry_out(&writer, &steps, moves, &mut |_| {}).await.is_ok()
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
async fn a_copy_or_a_move_that_is_cut_off_anywhere_keeps_every_snapshot_and_is_ended_by_the_next() {
    let folder = tempfile::tempdir().unwrap();
    plant(folder.path());
    let memory = Memory::new().await;
    memory.snapshot(folder.path()).await;
    write(folder.path().join("more"), "more");
    memory.snapshot(folder.path()).await;
    let before = memory.snapshots().await;
    let wanted: Vec<_> = before.iter().map(what).collect();
    let (from, to) = (before[0].source.clone(), Source::new("elsewhere", "", ""));
    for (moves, with_effect) in [(false, false), (false, true), (true, false), (true, true)] {
        let (mut cuts, mut doubled) = (0, 0);
        for moment in 0.. {
            let at = format!("moves: {moves}, with effect: {with_effect}, {moment} writes");
            let storage = copy(&memory.blobs).await;
            let faulty = FaultyStorage::over(Arc::new(storage.clone()));
            faulty.kill_after_writes(moment, with_effect);
            let finished = until_death(faulty, (&from, &to), moves).await;
            let after = snapshots(storage.clone()).await;
            for one in &wanted {
                assert!(after.iter().any(|it| what(it) == *one), "{at}: {one:?} is lost");
            }
            doubled += usize::from(after.len() > wanted.len());
            // The next one ends it, with each snapshot once in each place.
            let again = FaultyStorage::over(Arc::new(storage.clone()));
            assert!(until_death(again, (&from, &to), moves).await, "{at}");
            let mut ended = snapshots(storage).await;
            ended.sort_by_key(what);
            let (new, old): (Vec<_>, Vec<_>) =
                ended.iter().partition(|it| it.source.host == "elsewhere");
            assert_eq!(new.into_iter().map(what).collect::<Vec<_>>(), wanted, "{at}");
            let stays = if moves { &[][..] } else { &wanted[..] };
            assert_eq!(old.into_iter().map(what).collect::<Vec<_>>(), stays, "{at}");
            if finished {
                break;
            }
            cuts += 1;
        }
        assert!(cuts >= 4 && doubled >= 1, "{cuts} cuts, {doubled} times both were there");
    }
}
