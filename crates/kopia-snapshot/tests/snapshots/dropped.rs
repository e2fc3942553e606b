//! Maintenance drops what an upload would take over, while that is under way: it is uploaded again.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use blob_core::{Clock, ManualClock, Timestamp, env::OsEntropy};
use kopia_format::{ContentId, index::IndexEntry};
use kopia_repo::{EntryFilter, Env, OpenOptions, Repository};
use kopia_snapshot::{
    create::CreateRequest,
    restore::RestoreOptions,
    upload::{UploadEvent, UploadSink},
};

use crate::support::{Memory, PASSWORD, noise, request, write};

/// When the first of these folders is begun, everything that is in the repository is dropped by
/// another client, and sixteen minutes pass.
struct DropsAt {
    folders: &'static [&'static str],
    is_done: AtomicBool,
    memory: Arc<Memory>,
    clock: Arc<ManualClock>,
}

impl UploadSink for DropsAt {
    fn event(&self, event: UploadEvent<'_>) {
        let UploadEvent::FolderStarted { path } = event else { return };
        if !self.folders.contains(&path) || self.is_done.swap(true, Relaxed) {
            return;
        }
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let runtime =
                    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(self.drop_all());
            });
        });
        self.clock.advance(Duration::from_secs(16 * 60));
        // What was seen of files goes by the system's time: it is too old in two seconds.
        std::thread::sleep(Duration::from_millis(2_100));
    }
}

impl DropsAt {
    async fn drop_all(&self) {
        let env = Env { clock: self.clock.clone(), entropy: Arc::new(OsEntropy) };
        let options = OpenOptions { threads: 1, env, ..OpenOptions::default() };
        let storage = Arc::new(self.memory.blobs.clone());
        let other = Repository::open(storage, &PASSWORD.to_owned().into(), options).await.unwrap();
        let is_manifest = |id: &ContentId| id.prefix() == Some(b'm');
        let all = other.entries(&EntryFilter::default()).await.unwrap();
        let dead = all.into_iter().filter(|entry| !is_manifest(&entry.id));
        let dead: Vec<IndexEntry> = dead
            .map(|entry| IndexEntry { deleted: true, timestamp: entry.timestamp + 1, ..entry })
            .collect();
        let last = dead.iter().map(|entry| entry.timestamp).max().unwrap();
        other.write_entries(dead).await.unwrap();
        other.put_watermark(last).await.unwrap();
    }
}

async fn all_is_there(folders: &'static [&'static str]) {
    let (source, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut names = vec!["a/one", "a/deep/two", "b/three", "b/deep/four"];
    for (n, name) in names.iter().enumerate() {
        write(source.path().join(name), noise(n as u32, 10_000));
    }
    let clock = Arc::new(ManualClock::at(Timestamp::from_secs(1_800_000_000)));
    let env = Env { clock: clock.clone(), entropy: Arc::new(OsEntropy) };
    let memory = Arc::new(Memory::with_env(env).await);
    memory.snapshot(source.path()).await;
    clock.advance(Duration::from_secs(60));
    for name in ["a/new", "b/new"] {
        write(source.path().join(name), "new");
        names.push(name);
    }
    let sink = DropsAt {
        folders,
        is_done: AtomicBool::new(false),
        memory: memory.clone(),
        clock: clock.clone(),
    };
    let request = CreateRequest { sink: Arc::new(sink), ..request(source.path()) };
    let created = memory.create(request).await.unwrap();
    assert!(clock.now() > Timestamp::from_secs(1_800_000_900), "nothing was dropped");
    // Whoever opens the repository now sees what is left in it.
    let fresh = Memory::over(memory.blobs.clone()).await;
    let root = created.manifest.root_entry.unwrap();
    fresh.restore(&root, target.path(), &RestoreOptions::default()).await.unwrap();
    let read = |root: &Path, name: &str| std::fs::read(root.join(name)).unwrap();
    for name in names {
        assert_eq!(read(target.path(), name), read(source.path(), name), "{name}");
    }
}

#[tokio::test]
async fn before_anything_was_looked_at() {
    all_is_there(&["."]).await;
}

#[tokio::test]
async fn after_folders_were_found_to_be_the_same() {
    // Those named deep, when the root was begun.
    all_is_there(&["a", "b"]).await;
}
