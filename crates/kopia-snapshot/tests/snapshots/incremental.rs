//! Snapshots after the first: what is read again, what ends early, what is kept.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use blob_core::{ManualClock, MemoryStorage, env::OsEntropy, layers::Operation};
use kopia_format::{
    directory::EntryKind,
    policy::Policy,
    snapshot::{SnapshotManifest, SnapshotStats},
    time::GoTime,
};
use kopia_repo::Env;
use kopia_snapshot::{
    create::{self, CreateRequest, Input},
    manifests, policies,
    restore::RestoreOptions,
    upload::{UploadEvent, UploadOptions, UploadSink},
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::support::{Heard, Memory, noise, plant, request, source, tree, write};

/// Takes a snapshot and gives it with what was told.
async fn snapshot(memory: &Memory, folder: &Path) -> (SnapshotManifest, Arc<Heard>) {
    let heard = Arc::new(Heard::default());
    let request = CreateRequest { sink: heard.clone(), ..request(folder) };
    (memory.create(request).await.unwrap().manifest, heard)
}

fn set_time(path: &Path, secs: u64) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(secs);
    std::fs::File::open(path).unwrap().set_modified(time).unwrap();
}

async fn save_policy(memory: &Memory, folder: &Path, policy: &Policy) {
    let writer = memory.repo.writer().unwrap();
    policies::save(&writer, &source(folder), policy).await.unwrap();
    writer.flush().await.unwrap();
}

#[tokio::test]
async fn an_unchanged_tree_is_not_read_again() {
    let folder = tempfile::tempdir().unwrap();
    plant(folder.path());
    let memory = Memory::new().await;
    let (first, heard) = snapshot(&memory, folder.path()).await;
    let all = ["a.txt", "big", "empty", "link", "sub/b.bin", "sub/deeper/c.txt"];
    assert_eq!(heard.of("hashing"), all);
    let size = 5 + 70_000 + 11 + (5 << 20);
    let stats = SnapshotStats {
        total_size: size,
        file_count: 5,
        non_cached_files: 5,
        dir_count: 4,
        ..SnapshotStats::default()
    };
    assert_eq!(first.stats, stats);
    memory.calls.clear();
    let (second, heard) = snapshot(&memory, folder.path()).await;
    assert_eq!((heard.of("hashing"), heard.of("cached")), (vec![], all.map(str::to_owned).into()));
    assert_eq!(first.root_entry, second.root_entry);
    // Links that are taken over count as files, with the length of their text.
    let stats = SnapshotStats {
        total_size: size + 9,
        cached_files: 6,
        dir_count: 4,
        ..SnapshotStats::default()
    };
    assert_eq!(second.stats, stats);
    assert_eq!(memory.calls.count_of(Operation::Get, "p"), 0);
    assert_eq!(memory.calls.count_of(Operation::Put, "p"), 0);
    assert_eq!(memory.calls.count_of(Operation::Put, "q"), 1, "the manifest alone");
}

#[tokio::test]
async fn only_what_changed_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    plant(root);
    for (name, secs) in [("same", 1_000), ("touched", 1_000), ("longer", 1_000), ("mode", 1_000)] {
        write(root.join(name), "x");
        set_time(&root.join(name), secs);
    }
    let memory = Memory::new().await;
    snapshot(&memory, root).await;
    write(root.join("longer"), "xy");
    set_time(&root.join("longer"), 1_000);
    set_time(&root.join("touched"), 1_001);
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(root.join("mode"), mode).unwrap();
    std::fs::rename(root.join("sub"), root.join("moved")).unwrap();
    std::fs::remove_file(root.join("a.txt")).unwrap();
    std::fs::remove_file(root.join("link")).unwrap();
    std::os::unix::fs::symlink("elsewhere", root.join("link")).unwrap();
    let (manifest, heard) = snapshot(&memory, root).await;
    let read = ["link", "longer", "mode", "moved/b.bin", "moved/deeper/c.txt", "touched"];
    assert_eq!(heard.of("hashing"), read);
    assert_eq!(heard.of("cached"), ["big", "empty", "same"]);
    let target = tempfile::tempdir().unwrap();
    let options = RestoreOptions::default();
    memory.restore(&manifest.root_entry.unwrap(), target.path(), &options).await.unwrap();
    assert_eq!(tree(root), tree(target.path()));
}

#[tokio::test]
async fn an_unchanged_file_whose_content_is_going_or_gone_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    plant(folder.path());
    let memory = Memory::new().await;
    let (first, _) = snapshot(&memory, folder.path()).await;
    let root = memory.directory(first.root_entry.clone().unwrap().object).await;
    let deleted = root.find(b"a.txt").unwrap().object.content_id();
    let writer = memory.repo.writer().unwrap();
    assert!(writer.delete_content(&deleted).await.unwrap());
    writer.flush().await.unwrap();
    let (second, heard) = snapshot(&memory, folder.path()).await;
    assert_eq!(heard.of("hashing"), ["a.txt"]);
    assert_eq!(first.root_entry, second.root_entry);
    let entry = memory.repo.content_entry(&deleted).await.unwrap().unwrap();
    assert!(!entry.deleted, "what a new snapshot names is not deleted");
}

#[tokio::test]
async fn a_change_that_leaves_size_and_time_alone_is_seen_only_when_hashing_is_forced() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("f");
    let write = |text| {
        write(&file, text);
        set_time(&file, 1_000);
    };
    let memory = Memory::new().await;
    write("one");
    let (first, _) = snapshot(&memory, folder.path()).await;
    write("two");
    let (second, _) = snapshot(&memory, folder.path()).await;
    assert_eq!(first.root_object(), second.root_object());
    let options = UploadOptions { force_hash_percent: 100.0, ..UploadOptions::default() };
    let forced = CreateRequest { options, ..request(folder.path()) };
    let third = memory.create(forced).await.unwrap().manifest;
    assert_ne!(first.root_object(), third.root_object());
}

/// Stops an upload after so many files were read.
struct StopAfter {
    files: AtomicUsize,
    stop: CancellationToken,
}

impl UploadSink for StopAfter {
    fn event(&self, event: UploadEvent<'_>) {
        if matches!(event, UploadEvent::Finished { .. })
            && self.files.fetch_sub(1, Ordering::SeqCst) == 1
        {
            self.stop.cancel();
        }
    }
}

/// Ten folders of one file each.
fn plant_ten(root: &Path) {
    for number in 0..10 {
        write(root.join(format!("d{number}/file")), noise(number, 100_000));
    }
}

#[tokio::test]
async fn a_stopped_upload_is_saved_as_it_is_and_the_next_one_goes_on_from_there() {
    let folder = tempfile::tempdir().unwrap();
    plant_ten(folder.path());
    let memory = Memory::new().await;
    let stop = CancellationToken::new();
    let sink = Arc::new(StopAfter { files: AtomicUsize::new(4), stop: stop.clone() });
    let options = UploadOptions { parallel: 1, ..UploadOptions::default() };
    let request = CreateRequest { options, sink, stop, ..request(folder.path()) };
    let stopped = memory.create(request).await.unwrap();
    assert!(stopped.saved);
    assert_eq!(stopped.manifest.incomplete, "canceled");
    let root = stopped.manifest.root_entry.clone().unwrap();
    let summary = root.summary.as_ref().unwrap();
    assert_eq!((summary.incomplete.as_str(), summary.files, summary.failed), ("canceled", 4, 0));
    let target = tempfile::tempdir().unwrap();
    memory.restore(&root, target.path(), &RestoreOptions::default()).await.unwrap();
    let (was, is) = (tree(folder.path()), tree(target.path()));
    let kept = is.iter().filter(|(_, found)| found.kind == "file");
    assert_eq!(kept.filter(|(path, found)| was[*path] == **found).count(), 4);

    let memory = memory.reopened().await;
    let (whole, _) = snapshot(&memory, folder.path()).await;
    assert_eq!(whole.incomplete, "");
    assert_eq!((whole.stats.cached_files, whole.stats.non_cached_files), (4, 6));
    // A whole snapshot that is newer makes the incomplete one pointless.
    let ids: Vec<_> = memory.snapshots().await.into_iter().map(|m| m.id).collect();
    assert_eq!(ids, [whole.id]);
}

#[tokio::test]
async fn an_upload_ends_at_its_limit_and_the_next_one_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    plant_ten(folder.path());
    let memory = Memory::new().await;
    let options =
        UploadOptions { parallel: 1, upload_limit: Some(350_000), ..UploadOptions::default() };
    let mut read = Vec::new();
    for _ in 0..4 {
        let request = CreateRequest { options: options.clone(), ..request(folder.path()) };
        let manifest = memory.create(request).await.unwrap().manifest;
        read.push((manifest.stats.file_count, manifest.stats.cached_files, manifest.incomplete));
    }
    // The file that crosses the limit is dropped.
    let limited = |read, cached| (read, cached, "limit reached".to_owned());
    assert_eq!(read, [limited(3, 0), limited(3, 3), limited(3, 6), (1, 9, String::new())]);
}

#[tokio::test]
async fn the_first_error_ends_an_upload_that_is_to_fail_fast() {
    let folder = tempfile::tempdir().unwrap();
    plant_ten(folder.path());
    for number in 0..10 {
        let bad = folder.path().join(format!("d{number}/.kopiaignore"));
        std::os::unix::fs::symlink("nowhere", bad).unwrap();
    }
    let memory = Memory::new().await;
    let options = UploadOptions { parallel: 1, fail_fast: true, ..UploadOptions::default() };
    let request = CreateRequest { options, ..request(folder.path()) };
    let manifest = memory.create(request).await.unwrap().manifest;
    assert_eq!((manifest.stats.error_count, manifest.stats.dir_count), (1, 2));
    assert_eq!(manifest.incomplete, "canceled");
}

/// Takes its time over every file, so that a checkpoint falls in between.
struct Slow(Heard);

impl UploadSink for Slow {
    fn event(&self, event: UploadEvent<'_>) {
        if matches!(event, UploadEvent::Hashing { .. }) {
            std::thread::sleep(Duration::from_millis(30));
        }
        self.0.event(event);
    }
}

/// What lies in the storage at every checkpoint.
struct Copies {
    slow: Slow,
    storage: MemoryStorage,
    copies: mpsc::UnboundedSender<Vec<blob_core::BlobId>>,
}

impl UploadSink for Copies {
    fn event(&self, event: UploadEvent<'_>) {
        if event == UploadEvent::Checkpointed {
            self.copies.send(self.storage.ids()).unwrap();
        }
        self.slow.event(event);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_upload_saves_what_it_has_at_every_interval() {
    let folder = tempfile::tempdir().unwrap();
    plant_ten(folder.path());
    let memory = Memory::new().await;
    let (copies, mut copied) = mpsc::unbounded_channel();
    let slow = Slow(Heard::default());
    let sink = Arc::new(Copies { slow, storage: memory.blobs.clone(), copies });
    let options = UploadOptions {
        parallel: 1,
        checkpoint_interval: Duration::from_millis(100),
        ..UploadOptions::default()
    };
    let request = CreateRequest { options, sink: sink.clone(), ..request(folder.path()) };
    let manifest = memory.create(request).await.unwrap().manifest;
    assert_eq!((manifest.incomplete.as_str(), manifest.stats.file_count), ("", 10));
    assert!(!sink.slow.0.of("checkpointed").is_empty());
    // Had it been cut off after a checkpoint, these blobs would be there.
    let mut files = 0;
    while let Ok(ids) = copied.try_recv() {
        let then = MemoryStorage::new();
        for id in ids {
            use blob_core::BlobStorage;
            // A later flush deletes the session marker, which nothing here needs.
            let Ok(bytes) = memory.blobs.get(&id, blob_core::ReadRange::Full).await else {
                continue;
            };
            then.put(&id, bytes.into(), &blob_core::PutOptions::default()).await.unwrap();
        }
        let then = Memory::over(then).await;
        let newest = then.snapshots().await.pop().unwrap();
        assert_eq!(
            (newest.incomplete.as_str(), newest.stats),
            ("checkpoint", SnapshotStats::default())
        );
        let root = newest.root_entry.unwrap();
        let summary = root.summary.as_ref().unwrap();
        assert_eq!(summary.incomplete, "checkpoint");
        assert!(summary.files >= files, "{} files after {files}", summary.files);
        files = summary.files;
        let target = tempfile::tempdir().unwrap();
        then.restore(&root, target.path(), &RestoreOptions::default()).await.unwrap();
        let (_, heard) = snapshot(&then, folder.path()).await;
        assert_eq!(heard.of("cached").len() as u64, files);
    }
    assert!(files > 0);
    // The whole snapshot took the place of the checkpoints.
    assert_eq!(memory.snapshots().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_keeps_what_there_is_of_a_file_that_is_being_read() {
    let memory = Memory::new().await;
    let (send, pieces) = mpsc::channel(1);
    let bytes = noise(7, 24 << 20);
    let heard = Arc::new(Heard::default());
    let input = Input::Stream { root: "/src".into(), name: "x.tar".into(), pieces };
    let interval = Duration::from_millis(20);
    let options = UploadOptions { checkpoint_interval: interval, ..UploadOptions::default() };
    let sink = heard.clone();
    let request = CreateRequest { input, options, sink, ..request(Path::new("/virtual")) };
    let feed = async {
        for piece in bytes.chunks(1 << 20) {
            send.send(Ok(bytes::Bytes::copy_from_slice(piece))).await.unwrap();
        }
        // The end of the stream is kept waiting until there was a checkpoint of it.
        let before = heard.of("checkpointed").len();
        while heard.of("checkpointed").len() < before + 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let then = memory.reopened().await;
        let newest = then.snapshots().await.pop().unwrap();
        assert_eq!(newest.incomplete, "checkpoint");
        let directory = then.directory(newest.root_object().unwrap()).await;
        let [entry] = directory.entries.as_slice() else { panic!("{:?}", directory.entries) };
        assert_eq!(entry.kind, EntryKind::File);
        assert!(entry.name_lossy().starts_with(".checkpointed.x.tar."), "{}", entry.name_lossy());
        let kept = then.repo.read_object(&entry.object, 24 << 20).await.unwrap();
        assert_eq!(kept.len() as u64, entry.size);
        assert!(!kept.is_empty() && bytes.starts_with(&kept), "{} bytes", kept.len());
        send.send(Ok(bytes::Bytes::new())).await.unwrap();
    };
    let (created, ()) = tokio::join!(memory.create(request), feed);
    let root = created.unwrap().manifest.root_entry.unwrap();
    let file = memory.directory(root.object).await.entries.remove(0);
    assert_eq!(memory.repo.read_object(&file.object, 24 << 20).await.unwrap(), bytes);
}

#[tokio::test]
async fn a_clock_that_stands_still_makes_no_checkpoints() {
    let folder = tempfile::tempdir().unwrap();
    plant_ten(folder.path());
    let start = blob_core::Timestamp::from_nanos(1_800_000_000_000_000_000);
    let clock = Arc::new(ManualClock::at(start));
    let env = Env { clock: clock.clone(), entropy: Arc::new(OsEntropy) };
    let memory = Memory::with_env(env).await;
    let (manifest, heard) = snapshot(&memory, folder.path()).await;
    assert!(heard.of("checkpointed").is_empty());
    assert_eq!(manifest.start_time, GoTime::from_unix_nanos(start.nanos()));
    assert_eq!(manifest.end_time, manifest.start_time);
}

#[tokio::test]
async fn snapshots_that_the_policy_does_not_keep_go_with_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path().join("f"), "x");
    let memory = Memory::new().await;
    let mut policy = Policy::default();
    policy.retention.keep_latest = Some(2);
    let others = [
        &mut policy.retention.keep_hourly,
        &mut policy.retention.keep_daily,
        &mut policy.retention.keep_weekly,
        &mut policy.retention.keep_monthly,
        &mut policy.retention.keep_annual,
    ];
    others.into_iter().for_each(|keep| *keep = Some(0));
    save_policy(&memory, folder.path(), &policy).await;
    let mut ids = Vec::new();
    for number in 0..4 {
        let pins = if number == 0 { vec!["keep".to_owned()] } else { Vec::new() };
        let request = CreateRequest { pins, ..request(folder.path()) };
        let created = memory.create(request).await.unwrap();
        let expired: Vec<_> = created.expired.iter().map(|m| m.id.clone()).collect();
        // The first one leaves the two newest with the third, but it is pinned.
        assert_eq!(expired, if number == 3 { &ids[1..2] } else { &[] });
        ids.push(created.manifest.id);
    }
    let left: Vec<_> = memory.snapshots().await.into_iter().map(|m| m.id).collect();
    ids.remove(1);
    assert_eq!(left, ids);
}

#[tokio::test]
async fn a_snapshot_that_equals_the_one_before_is_saved_unless_the_policy_says_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path().join("f"), "x");
    let memory = Memory::new().await;
    memory.snapshot(folder.path()).await;
    assert!(memory.snapshot(folder.path()).await.saved);
    let mut policy = Policy::default();
    policy.retention.ignore_identical_snapshots = Some(true);
    save_policy(&memory, folder.path(), &policy).await;
    let created = memory.snapshot(folder.path()).await;
    assert!(!created.saved && created.manifest.id.as_str().is_empty());
    assert_eq!(memory.snapshots().await.len(), 2);
    write(folder.path().join("g"), "x");
    assert!(memory.snapshot(folder.path()).await.saved);
    assert_eq!(memory.snapshots().await.len(), 3);
}

#[tokio::test]
async fn times_that_are_given_take_the_place_of_the_real_ones() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path().join("f"), "x");
    let memory = Memory::new().await;
    let (early, late) = (GoTime::from_secs(1_000_000), GoTime::from_secs(1_000_060));
    for (times, wanted) in [
        ((Some(early), Some(late)), (Some(early), Some(late))),
        ((Some(early), None), (Some(early), None)),
        ((None, Some(late)), (None, Some(late))),
    ] {
        let request = CreateRequest { times, ..request(folder.path()) };
        let manifest = memory.create(request).await.unwrap().manifest;
        let lasted = manifest.end_time.duration_since(manifest.start_time);
        match wanted {
            (Some(start), Some(end)) => {
                assert_eq!((manifest.start_time, manifest.end_time), (start, end));
            }
            (Some(start), None) => assert_eq!(manifest.start_time, start),
            (_, end) => assert_eq!(Some(manifest.end_time), end),
        }
        assert!(lasted <= Duration::from_secs(60), "{lasted:?}");
    }
}

#[tokio::test]
async fn description_tags_and_pins_are_stored_and_pins_can_be_changed() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path().join("f"), "x");
    let memory = Memory::new().await;
    let request = CreateRequest {
        description: "d<e>s".into(),
        tags: BTreeMap::from([("tag:job".to_owned(), "nightly".to_owned())]),
        pins: vec!["b".into(), "a".into(), "b".into()],
        ..request(folder.path())
    };
    let id = memory.create(request).await.unwrap().manifest.id;
    let stored = memory.snapshots().await.remove(0);
    assert_eq!(
        (stored.description.as_str(), stored.pins.clone()),
        ("d<e>s", vec!["a".into(), "b".into()])
    );
    let tagged = manifests::find(&memory.repo, &[("tag:job", "nightly")]).await.unwrap();
    assert_eq!(tagged, std::slice::from_ref(&stored));

    let writer = memory.repo.writer().unwrap();
    let pins = |add: &[&str], remove: &[&str]| {
        let owned = |all: &[&str]| all.iter().map(|pin| (*pin).to_owned()).collect::<Vec<_>>();
        (owned(add), owned(remove))
    };
    let (add, remove) = pins(&["a"], &["z"]);
    assert_eq!(create::pin(&writer, &stored, &add, &remove).await.unwrap(), id);
    let (add, remove) = pins(&["c"], &["a"]);
    let new = create::pin(&writer, &stored, &add, &remove).await.unwrap();
    writer.flush().await.unwrap();
    assert_ne!(new, id);
    let after = memory.snapshots().await;
    assert_eq!(after.len(), 1);
    assert_eq!((after[0].id.clone(), after[0].pins.clone()), (new, vec!["b".into(), "c".into()]));
    assert_eq!(after[0].root_entry, stored.root_entry);
}

#[tokio::test]
async fn a_source_of_no_machine_is_marked_as_manual_once() {
    let memory = Memory::new().await;
    let source = source(Path::new("/virtual"));
    for _ in 0..2 {
        let writer = memory.repo.writer().unwrap();
        create::set_manual(&writer, &memory.repo, &source).await.unwrap();
        writer.flush().await.unwrap();
    }
    let all = policies::all(&memory.repo).await.unwrap();
    let own: Vec<_> = all.iter().filter(|stored| stored.target == source).collect();
    assert_eq!(own.len(), 1);
    assert!(own[0].policy.scheduling.manual);
}

#[tokio::test]
async fn a_damaged_directory_of_the_snapshot_before_only_costs_reading() {
    let (memory, folder) = (Memory::new().await, tempfile::tempdir().unwrap());
    plant_ten(folder.path());
    let first = memory.snapshot(folder.path()).await;
    let root = first.manifest.root_object().unwrap().content_id();
    let entry = memory.repo.content_entry(&root).await.unwrap().unwrap();
    let pack = entry.pack.parse().unwrap();
    let at = usize::try_from(entry.offset).unwrap() + 20;
    assert!(memory.blobs.damage(&pack, |bytes| bytes[at] ^= 1));
    let memory = memory.reopened().await;
    write(folder.path().join("new"), "so that the root is another one");
    let second = memory.snapshot(folder.path()).await;
    assert!(second.saved && second.manifest.is_complete());
    assert_eq!(second.manifest.stats.cached_files, 0, "nothing is known of the files");
    let target = tempfile::tempdir().unwrap();
    let options = RestoreOptions::default();
    let root = second.manifest.root_entry.unwrap();
    memory.restore(&root, target.path(), &options).await.unwrap();
    assert_eq!(std::fs::read(target.path().join("new")).unwrap().len(), 31);
}
