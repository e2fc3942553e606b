//! A client that is cut off at any moment leaves a repository that works, with all it had before.

use std::{path::Path, sync::Arc};

use blob_core::MemoryStorage;
use blob_testkit::FaultyStorage;
use kopia_snapshot::{create::create, restore::RestoreOptions};

use crate::support::{Memory, copy, noise, open_storage, plant, request, tree, write};

/// Changes what [`plant`] made, so that data, folders and the manifest are new.
fn change(root: &Path) {
    write(root.join("new/file"), noise(5, 40_000));
    write(root.join("a.txt"), "changed");
    std::fs::remove_file(root.join("link")).unwrap();
}

/// Takes a snapshot over a storage that dies; true if it was finished all the same.
async fn create_until_death(storage: Arc<FaultyStorage>, folder: &Path) -> bool {
    let Ok(repo) = open_storage(storage, "memory").await else { return false };
    let writer = repo.writer().unwrap();
    match create(&writer, request(folder)).await {
        Ok(_) => writer.flush().await.is_ok(),
        Err(_) => false,
    }
}

/// What must hold in a storage after a client died over it, and after the next one did its work.
async fn check(storage: MemoryStorage, old: &Path, new: &Path, finished: bool) {
    let memory = Memory::over(storage).await;
    let before = memory.snapshots().await;
    assert!(before.len() == 2 || (before.len() == 1 && !finished), "{} snapshots", before.len());
    restores_to(&memory, 0, old).await;
    if before.len() == 2 {
        restores_to(&memory, 1, new).await;
    }
    memory.snapshot(new).await;
    let count = memory.snapshots().await.len();
    assert_eq!(count, before.len() + 1);
    restores_to(&memory, 0, old).await;
    restores_to(&memory, count - 1, new).await;
}

async fn restores_to(memory: &Memory, number: usize, folder: &Path) {
    let root = memory.snapshots().await.remove(number).root_entry.unwrap();
    let target = tempfile::tempdir().unwrap();
    memory.restore(&root, target.path(), &RestoreOptions::default()).await.unwrap();
    assert_eq!(tree(target.path()), tree(folder));
}

/// Lets a client die after each number of `kill`s until it gets through.
async fn die_at_every_moment(kill: impl Fn(&FaultyStorage, usize)) -> usize {
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    plant(old.path());
    plant(new.path());
    change(new.path());
    let memory = Memory::new().await;
    memory.snapshot(old.path()).await;
    for moment in 0.. {
        let storage = copy(&memory.blobs).await;
        let faulty = FaultyStorage::over(Arc::new(storage.clone()));
        kill(&faulty, moment);
        let finished = create_until_death(faulty, new.path()).await;
        check(storage, old.path(), new.path(), finished).await;
        if finished {
            return moment;
        }
    }
    unreachable!("a client that is never killed gets through")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_may_die_after_any_call() {
    let moments = die_at_every_moment(|storage, moment| storage.kill_after(moment)).await;
    assert!(moments > 10, "{moments} calls");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_may_die_while_its_write_takes_effect() {
    let moments =
        die_at_every_moment(|storage, moment| storage.kill_after_writes(moment, true)).await;
    assert!(moments >= 4, "{moments} writes");
}
