//! A client that is cut off at any moment leaves a repository that works, with all it had before.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use blob_core::MemoryStorage;
use blob_testkit::FaultyStorage;
use kopia_format::{policy::Policy, snapshot::Source};
use kopia_repo::Repository;
use kopia_snapshot::{
    create::{create, pin},
    policies,
    restore::RestoreOptions,
    retention,
};

use crate::support::{
    Found, Memory, copy, noise, open_storage, plant, request, source, tree, write,
};

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
    println!("create: cut after each of {moments} calls");
    assert!(moments > 10, "{moments} calls");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_may_die_while_its_write_takes_effect() {
    let moments =
        die_at_every_moment(|storage, moment| storage.kill_after_writes(moment, true)).await;
    println!("create: cut in each of {moments} writes");
    assert!(moments >= 4, "{moments} writes");
}

/// Three snapshots of one folder, and the tree of each by the number of its files.
struct Three {
    memory: Memory,
    folder: tempfile::TempDir,
    trees: Vec<BTreeMap<String, Found>>,
}

impl Three {
    async fn new() -> Self {
        let (memory, folder) = (Memory::new().await, tempfile::tempdir().unwrap());
        let mut trees = Vec::new();
        for number in 0..3 {
            write(folder.path().join(format!("f{number}")), noise(number, 20_000));
            memory.snapshot(folder.path()).await;
            trees.push(tree(folder.path()));
        }
        Self { memory, folder, trees }
    }

    fn source(&self) -> Source {
        source(self.folder.path())
    }

    /// Every snapshot that there is restores to the tree that it was taken of.
    async fn all_restore(&self, memory: &Memory) {
        for manifest in memory.snapshots().await {
            let target = tempfile::tempdir().unwrap();
            let root = manifest.root_entry.unwrap();
            memory.restore(&root, target.path(), &RestoreOptions::default()).await.unwrap();
            let found = tree(target.path());
            assert_eq!(found, self.trees[found.len() - 1]);
        }
    }

    /// Lets `work` die after every number of calls, and after every write that still has its effect,
    /// until it gets through; then lets another client do it, and asks `is_done`.
    async fn survives(
        &self,
        name: &str,
        work: impl AsyncFn(&Repository) -> kopia_snapshot::Result<()>,
        is_done: impl AsyncFn(&Memory) -> bool,
    ) {
        let kills: [fn(&FaultyStorage, usize); 2] = [
            |storage, moment| storage.kill_after(moment),
            |storage, moment| storage.kill_after_writes(moment, true),
        ];
        let mut cuts = 0;
        for kill in kills {
            for moment in 0.. {
                let storage = copy(&self.memory.blobs).await;
                let faulty = FaultyStorage::over(Arc::new(storage.clone()));
                kill(&faulty, moment);
                let finished = match open_storage(faulty, "memory").await {
                    Ok(repo) => work(&repo).await.is_ok(),
                    Err(_) => false,
                };
                let next = Memory::over(storage.clone()).await;
                self.all_restore(&next).await;
                assert!(
                    !finished || is_done(&next).await,
                    "moment {moment}: it said that it is done"
                );
                work(&next.repo).await.unwrap();
                let last = Memory::over(storage).await;
                assert!(is_done(&last).await, "moment {moment}: the next run completes it");
                self.all_restore(&last).await;
                if finished {
                    break;
                }
                cuts += 1;
            }
        }
        println!("{name}: {cuts} cuts");
        assert!(cuts > 10, "{name}: {cuts} cuts");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_may_be_cut_anywhere() {
    let three = Three::new().await;
    let first = three.memory.snapshots().await.remove(0).id;
    let delete = async |repo: &Repository| {
        let writer = repo.writer()?;
        match repo.manifests().get(&first).await {
            Ok(_) => _ = writer.delete_manifest(&first).await?,
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error.into()),
        }
        writer.flush().await?;
        Ok(())
    };
    three.survives("deletion", delete, async |memory| memory.snapshots().await.len() == 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expiry_may_be_cut_anywhere() {
    let three = Three::new().await;
    let source = three.source();
    let writer = three.memory.repo.writer().unwrap();
    let mut policy = Policy::default();
    let keep = &mut policy.retention;
    (keep.keep_latest, keep.keep_hourly, keep.keep_daily) = (Some(1), Some(0), Some(0));
    (keep.keep_weekly, keep.keep_monthly, keep.keep_annual) = (Some(0), Some(0), Some(0));
    policies::save(&writer, &source, &policy).await.unwrap();
    writer.flush().await.unwrap();
    let expire = async |repo: &Repository| {
        let writer = repo.writer()?;
        retention::apply(&writer, &source).await?;
        writer.flush().await?;
        Ok(())
    };
    three.survives("expiry", expire, async |memory| memory.snapshots().await.len() == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_a_policy_may_be_cut_anywhere() {
    let three = Three::new().await;
    let source = three.source();
    let mut wanted = Policy::default();
    wanted.retention.keep_latest = Some(77);
    let set = async |repo: &Repository| {
        let writer = repo.writer()?;
        policies::save(&writer, &source, &wanted).await?;
        writer.flush().await?;
        Ok(())
    };
    let is_set = async |memory: &Memory| {
        policies::defined(&memory.repo, &source).await.unwrap().as_ref() == Some(&wanted)
    };
    three.survives("policy", set, is_set).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pin_may_be_cut_anywhere() {
    let three = Three::new().await;
    let wanted = three.memory.snapshots().await.remove(1).root_object();
    let name = || vec!["keep".to_owned()];
    let set = async |repo: &Repository| {
        let writer = repo.writer()?;
        for manifest in kopia_snapshot::manifests::find(repo, &[]).await? {
            if manifest.root_object() == wanted {
                pin(&writer, &manifest, &name(), &[]).await?;
            }
        }
        writer.flush().await?;
        Ok(())
    };
    let is_set = async |memory: &Memory| {
        let all = memory.snapshots().await;
        let pins: Vec<_> = all.iter().map(|it| it.pins.clone()).collect();
        pins == [vec![], name(), vec![]]
    };
    three.survives("pin", set, is_set).await;
}
