//! Restoring: what each option does, what is refused before a byte is written, and what it costs.

use std::{
    collections::BTreeMap,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use blob_core::{BlobId, BlobStorage, ReadRange, StorageClass, layers::Operation};
use kopia_format::directory::{DirEntry, Directory, EntryKind};
use kopia_repo::ObjectOptions;
use kopia_snapshot::{
    SnapshotError,
    restore::{RestoreEvent, RestoreOptions, RestorePlan, RestoreReport, RestoreSink, Silent},
};
use tokio_util::sync::CancellationToken;

use crate::support::{Memory, as_an_ordinary_user, found, noise, plant, tree, write};

/// A repository with one snapshot of the planted tree, a folder to restore to, and the tree itself.
struct Case {
    memory: Memory,
    root: DirEntry,
    source: tempfile::TempDir,
    target: tempfile::TempDir,
}

impl Case {
    async fn new() -> Self {
        Self::of(plant).await
    }

    async fn of(make: impl FnOnce(&Path)) -> Self {
        let (source, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        make(source.path());
        let memory = Memory::new().await;
        let root = memory.snapshot(source.path()).await.manifest.root_entry.unwrap();
        memory.calls.clear();
        Self { memory, root, source, target }
    }

    async fn restore(&self, options: &RestoreOptions) -> Result<RestoreReport, SnapshotError> {
        self.memory.restore(&self.root, self.target.path(), options).await
    }

    /// Restores, and refuses to believe that anything was written when that is refused.
    async fn refused(&self, options: &RestoreOptions) -> SnapshotError {
        let before = tree(self.target.path());
        let error = self.restore(options).await.unwrap_err();
        assert_eq!(tree(self.target.path()), before);
        error
    }

    fn target(&self, name: &str) -> std::path::PathBuf {
        self.target.path().join(name)
    }

    fn is_whole(&self) -> bool {
        tree(self.source.path()) == tree(self.target.path())
    }

    fn packs(&self, kind: &str) -> Vec<BlobId> {
        let ids = self.memory.blobs.ids();
        ids.into_iter().filter(|id| id.as_str().starts_with(kind)).collect()
    }
}

fn set_mtime(path: &Path, mtime: i64) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_nanos(mtime.try_into().unwrap());
    std::fs::File::open(path).unwrap().set_modified(time).unwrap();
}

#[tokio::test]
async fn a_restore_counts_what_it_does() {
    let case = Case::new().await;
    let report = case.restore(&RestoreOptions::default()).await.unwrap();
    assert!(case.is_whole());
    let bytes = 5 + 70_000 + 11 + (5 << 20);
    assert_eq!((report.files, report.bytes, report.folders, report.links), (5, bytes, 4, 1));
    assert_eq!((report.skipped, report.failures.len(), report.deleted_files), (0, 0, 0));
    let (is, was) = (found(case.target.path()), found(case.source.path()));
    assert_eq!((is.mode, is.mtime), (was.mode, was.mtime));
}

#[tokio::test]
async fn each_needed_byte_is_fetched_once_with_few_requests() {
    let many = |root: &Path| {
        for number in 0..500 {
            write(root.join(format!("d{}/f{number}", number % 50)), noise(number, 1_000));
        }
        // The same bytes in many places are still fetched once.
        (0..20).for_each(|number| write(root.join(format!("same{number}")), noise(0, 1_000)));
    };
    let case = Case::of(many).await;
    let report = case.restore(&RestoreOptions::default()).await.unwrap();
    assert!(case.is_whole());
    let gets = case.memory.calls.calls();
    let mut bytes = 0;
    for call in gets.iter().filter(|call| call.op == Operation::Get && call.id.starts_with('p')) {
        let Some(ReadRange::Bytes { length, .. }) = call.range else { panic!("{call:?}") };
        bytes += length;
    }
    // A sealed content is 28 bytes longer than it is.
    assert_eq!(bytes, 500 * 1_028);
    assert_eq!((report.packs_read, report.requests, report.bytes_read), (1, 1, bytes));
    assert_eq!(case.memory.calls.count_of(Operation::Get, "p"), 1);
    let folders = case.memory.calls.count_of(Operation::Get, "q");
    assert!(folders <= 3, "{folders} requests for 51 folders");
}

#[tokio::test]
async fn archived_packs_are_noticed_before_anything_is_fetched_or_written() {
    let case = Case::new().await;
    for pack in case.packs("p") {
        assert!(case.memory.blobs.set_class(&pack, StorageClass::GLACIER));
    }
    let error = case.refused(&RestoreOptions::default()).await;
    let SnapshotError::Archived { packs } = error else { panic!("{error}") };
    let blobs: Vec<_> = packs.iter().map(|pack| pack.blob.clone()).collect();
    let ids: Vec<_> = case.packs("p").iter().map(|id| id.as_str().to_owned()).collect();
    assert_eq!(blobs, ids);
    assert_eq!(packs[0].class.as_deref(), Some("GLACIER"));
    assert!(packs[0].size.is_some());

    let options = RestoreOptions { ignore_errors: true, ..RestoreOptions::default() };
    let report = case.restore(&options).await.unwrap();
    // The empty file needs no pack.
    assert_eq!((report.files, report.links, report.folders), (1, 0, 4));
    assert_eq!(report.failures.len(), 5);
    assert!(report.failures.iter().all(|f| f.blob.as_ref() == Some(&blobs[0])));
    assert!(report.failures[0].error.ends_with("is archived"), "{}", report.failures[0].error);
    assert_eq!(case.memory.calls.count_of(Operation::Get, "p"), 0);
    assert!(found(case.target.path()).mtime == found(case.source.path()).mtime);
}

#[tokio::test]
async fn a_missing_or_cut_pack_is_noticed_before_anything_is_written() {
    let case = Case::new().await;
    let pack = case.packs("p").remove(0);
    assert!(case.memory.blobs.damage(&pack, |bytes| bytes.truncate(1_000)));
    let options = RestoreOptions { ignore_errors: true, ..RestoreOptions::default() };
    for _ in 0..2 {
        let error = case.refused(&RestoreOptions::default()).await;
        let SnapshotError::Lost { packs, contents } = error else { panic!("{error}") };
        assert_eq!((packs, contents.len()), (vec![pack.as_str().to_owned()], 0));
        let target = tempfile::tempdir().unwrap();
        let report = case.memory.restore(&case.root, target.path(), &options).await.unwrap();
        assert!(report.failures.iter().all(|f| f.blob.as_deref() == Some(pack.as_str())));
        assert!(!report.failures.is_empty());
        assert_eq!(report.files + report.links + report.failures.len() as u64, 6);
        case.memory.blobs.delete(&pack).await.unwrap();
    }
}

#[tokio::test]
async fn a_damaged_content_fails_its_files_alone() {
    let case = Case::new().await;
    let pack = case.packs("p").remove(0);
    // Contents lie in the order in which they were taken, so the middle is in the big file.
    case.memory.blobs.damage(&pack, |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    });
    let strict = case.restore(&RestoreOptions::default()).await.unwrap_err();
    assert!(
        matches!(&strict, SnapshotError::NotRestored { path, .. } if path == "big"),
        "{strict}"
    );
    assert!(strict.to_string().contains(pack.as_str()), "{strict}");
    assert_eq!(strict.blob().as_deref(), Some(pack.as_str()));
    assert!(!case.target("big").exists(), "half a file is no file, however the restore ends");
    let options = RestoreOptions { ignore_errors: true, ..RestoreOptions::default() };
    let report = case.restore(&options).await.unwrap();
    let [failure] = report.failures.as_slice() else { panic!("{:?}", report.failures) };
    assert_eq!((failure.path.as_str(), failure.blob.as_deref()), ("big", Some(pack.as_str())));
    let (mut is, mut was) = (tree(case.target.path()), tree(case.source.path()));
    assert!(is.remove("big").is_none(), "half a file is no file");
    was.remove("big");
    assert_eq!(is, was);
}

#[tokio::test]
async fn what_exists_is_replaced_unless_that_is_refused() {
    let case = Case::new().await;
    write(case.target("a.txt"), "mine, and much longer");
    symlink("mine", case.target("link")).unwrap();
    write(case.target("sub/mine"), "stays");
    let no = |change: fn(&mut RestoreOptions)| {
        let mut options = RestoreOptions::default();
        change(&mut options);
        options
    };
    for (options, place) in [
        (no(|o| o.overwrite_files = false), "a.txt"),
        (no(|o| o.overwrite_symlinks = false), "link"),
    ] {
        let error = case.refused(&options).await;
        assert!(error.to_string().contains(place), "{error}");
    }
    let error = case.refused(&no(|o| o.overwrite_directories = false)).await;
    assert!(error.to_string().contains("not empty"), "{error}");
    case.restore(&RestoreOptions::default()).await.unwrap();
    assert_eq!(std::fs::read(case.target("sub/mine")).unwrap(), b"stays");
    std::fs::remove_file(case.target("sub/mine")).unwrap();
    // Its folder's time has to be put right again.
    case.restore(&RestoreOptions::default()).await.unwrap();
    assert!(case.is_whole());
}

#[tokio::test]
async fn an_entry_of_another_kind_is_never_replaced() {
    for (name, make) in [
        ("a.txt", (|path| std::fs::create_dir(path).unwrap()) as fn(&Path)),
        ("link", |path| write(path, "a file")),
        ("sub", |path| write(path, "a file")),
        ("hollow", |path| symlink("/", path).unwrap()),
    ] {
        let case = Case::new().await;
        make(&case.target(name));
        let error = case.refused(&RestoreOptions::default()).await;
        assert!(matches!(error, SnapshotError::Invalid(_)), "{error}");
        assert!(error.to_string().contains(name), "{error}");
        // With errors to be ignored it stays, and all the rest comes back.
        let options = RestoreOptions { ignore_errors: true, ..RestoreOptions::default() };
        let planted = found(&case.target(name));
        let report = case.restore(&options).await.unwrap();
        let failed: Vec<_> = report.failures.iter().map(|f| f.path.as_str()).collect();
        assert_eq!(failed, [name]);
        assert_eq!(found(&case.target(name)).mode, planted.mode);
        let rest = |root: &Path| {
            let mut all = tree(root);
            all.retain(|path, _| path.split('/').next() != Some(name));
            all
        };
        assert_eq!(rest(case.target.path()), rest(case.source.path()));
    }
}

#[tokio::test]
async fn a_planted_link_leads_nowhere() {
    let case = Case::new().await;
    let outside = tempfile::tempdir().unwrap();
    write(outside.path().join("victim"), "untouched");
    symlink(outside.path().join("victim"), case.target("a.txt")).unwrap();
    symlink(outside.path().join("not there"), case.target("empty")).unwrap();
    case.restore(&RestoreOptions::default()).await.unwrap();
    assert!(case.is_whole());
    symlink(outside.path(), case.target("planted")).unwrap();
    std::fs::remove_dir_all(case.target("sub")).unwrap();
    std::fs::rename(case.target("planted"), case.target("sub")).unwrap();
    let error = case.refused(&RestoreOptions::default()).await;
    assert!(error.to_string().ends_with("not a folder"), "{error}");
    let left: Vec<_> = tree(outside.path()).into_keys().collect();
    assert_eq!(left, ["victim"]);
    assert_eq!(std::fs::read(outside.path().join("victim")).unwrap(), b"untouched");
}

#[tokio::test]
async fn a_target_that_is_a_link_to_a_folder_is_that_folder() {
    let case = Case::new().await;
    let beside = tempfile::tempdir().unwrap();
    let link = beside.path().join("link");
    symlink(case.target.path(), &link).unwrap();
    case.memory.restore(&case.root, &link, &RestoreOptions::default()).await.unwrap();
    assert!(case.is_whole());
}

#[tokio::test]
async fn what_is_there_already_can_be_skipped() {
    let case = Case::new().await;
    let first = case.restore(&RestoreOptions::default()).await.unwrap();
    let big = found(&case.target("big")).mtime;
    set_mtime(&case.target("big"), big + 1_900_000_000);
    set_mtime(&case.target("a.txt"), found(&case.target("a.txt")).mtime + 2_100_000_000);
    std::fs::remove_file(case.target("empty")).unwrap();
    std::fs::remove_file(case.target("link")).unwrap();
    symlink("another", case.target("link")).unwrap();
    write(case.target("sub/b.bin"), "another size");
    case.memory.calls.clear();
    let options = RestoreOptions { skip_existing: true, ..RestoreOptions::default() };
    let report = case.restore(&options).await.unwrap();
    // A time within two seconds is the same; any link will do.
    assert_eq!((report.files, report.links, report.skipped), (3, 0, 3));
    assert_eq!(report.skipped_bytes, (5 << 20) + 11 + 9);
    assert!(report.bytes_read < first.bytes_read);
    assert_eq!(std::fs::read(case.target("a.txt")).unwrap(), b"hello");
    assert_eq!(std::fs::read(case.target("sub/b.bin")).unwrap(), noise(1, 70_000));
    assert_eq!(found(&case.target("link")).content, "another");
}

#[tokio::test]
async fn extra_entries_are_deleted_when_that_is_asked_for() {
    let case = Case::new().await;
    write(case.target("extra/deep/file"), "x");
    write(case.target("sub/extra"), "x");
    symlink("x", case.target("extra-link")).unwrap();
    // A folder where a file belongs is of another kind, so it is extra.
    write(case.target("a.txt/inside"), "x");
    let keep = RestoreOptions::default();
    case.refused(&keep).await;
    let options = RestoreOptions { delete_extra: true, ..keep };
    let report = case.restore(&options).await.unwrap();
    assert!(case.is_whole());
    let deleted = (report.deleted_files, report.deleted_folders, report.deleted_links);
    assert_eq!(deleted, (1, 2, 1));
}

#[tokio::test]
async fn nothing_is_touched_below_a_folder_that_could_not_be_made() {
    let case = Case::new().await;
    let elsewhere = tempfile::tempdir().unwrap();
    write(elsewhere.path().join("deeper/mine"), "stays");
    write(elsewhere.path().join("b.bin"), "stays");
    let before = tree(elsewhere.path());
    let options = RestoreOptions { ignore_errors: true, ..RestoreOptions::default() };
    let target = case.target.path();
    let plan = RestorePlan::of(&case.memory.repo, &case.root, Some(target), &options).await;
    // Behind the back of the plan somebody makes a link that leads out of the target.
    symlink(elsewhere.path(), case.target("sub")).unwrap();
    let (sink, stop) = (Arc::new(Silent), CancellationToken::new());
    let report = plan.unwrap().run(&case.memory.repo, target, &options, sink, &stop).await.unwrap();
    let failed: Vec<_> = report.failures.iter().map(|f| f.path.as_str()).collect();
    assert_eq!(failed, ["sub"]);
    assert_eq!(tree(elsewhere.path()), before);
    assert!(case.target("a.txt").exists() && case.target("hollow").exists());
}

/// Remembers which names lay in the target while files were written.
struct Watch {
    target: std::path::PathBuf,
    seen: Mutex<BTreeMap<String, u64>>,
}

impl RestoreSink for Watch {
    fn event(&self, _: RestoreEvent<'_>) {
        for entry in std::fs::read_dir(&self.target).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let size = entry.metadata().map_or(0, |m| m.len());
            self.seen.lock().unwrap().insert(name, size);
        }
    }
}

#[tokio::test]
async fn an_atomic_restore_never_shows_half_a_file() {
    for write_files_atomically in [true, false] {
        let case = Case::of(|root| write(root.join("big"), noise(4, 12 << 20))).await;
        write(case.target("big"), "what was there");
        let options = RestoreOptions { write_files_atomically, ..RestoreOptions::default() };
        let target = case.target.path();
        let sink = Arc::new(Watch { target: target.to_owned(), seen: Mutex::default() });
        let plan = RestorePlan::of(&case.memory.repo, &case.root, Some(target), &options).await;
        let stop = CancellationToken::new();
        plan.unwrap().run(&case.memory.repo, target, &options, sink.clone(), &stop).await.unwrap();
        assert!(case.is_whole());
        let seen = sink.seen.lock().unwrap();
        let beside = seen.keys().any(|name| name.starts_with(".kopia-lite-"));
        assert_eq!(beside, write_files_atomically, "{seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_whose_names_begin_alike_do_not_meet_on_their_way() {
    let long = "n".repeat(80);
    let make = |root: &Path| {
        for number in 0..8 {
            write(root.join(format!("{long}{number}")), noise(number, 5 << 20));
        }
    };
    let case = Case::of(make).await;
    let options = RestoreOptions { write_files_atomically: true, ..RestoreOptions::default() };
    case.restore(&options).await.unwrap();
    assert!(case.is_whole());
}

#[tokio::test]
async fn blocks_of_zeros_become_holes_when_that_is_asked_for() {
    let make = |root: &Path| {
        let mut bytes = vec![0; 8 << 20];
        bytes[3_000_000..3_000_100].fill(7);
        write(root.join("sparse"), &bytes);
        write(root.join("zeros"), vec![0; 1 << 20]);
    };
    let case = Case::of(make).await;
    write(case.target("zeros"), vec![1; 2 << 20]);
    let options = RestoreOptions { write_sparse_files: true, ..RestoreOptions::default() };
    case.restore(&options).await.unwrap();
    assert!(case.is_whole());
    let taken = |name| std::fs::metadata(case.target(name)).unwrap().blocks() * 512;
    assert!(taken("sparse") < 1 << 20, "{} bytes", taken("sparse"));
    assert!(taken("zeros") < 1 << 18, "{} bytes", taken("zeros"));
}

#[tokio::test]
async fn attributes_can_be_left_alone() {
    let make = |root: &Path| {
        write(root.join("f"), "x");
        std::fs::set_permissions(root.join("f"), PermissionsExt::from_mode(0o4711)).unwrap();
        set_mtime(&root.join("f"), 1_000_000_007_000_000_001);
    };
    let case = Case::of(make).await;
    let plain = RestoreOptions::default();
    let options = RestoreOptions { skip_permissions: true, skip_times: true, ..plain.clone() };
    case.restore(&options).await.unwrap();
    let is = found(&case.target("f"));
    assert_eq!(is.mode, 0o600);
    assert!(is.mtime > 1_700_000_000_000_000_000);
    let all = RestoreOptions { flush_files: true, skip_owners: true, ..plain };
    case.restore(&all).await.unwrap();
    let is = found(&case.target("f"));
    assert_eq!((is.mode, is.mtime), (0o4711, 1_000_000_007_000_000_001));
}

/// Stops a restore as soon as some bytes are written.
struct StopsEarly(CancellationToken);

impl RestoreSink for StopsEarly {
    fn event(&self, event: RestoreEvent<'_>) {
        if matches!(event, RestoreEvent::Written { .. }) {
            self.0.cancel();
        }
    }
}

#[tokio::test]
async fn a_restore_that_is_stopped_leaves_whole_files_alone() {
    let folder = tempfile::tempdir().unwrap();
    let wholes = 60;
    for number in 0..wholes {
        write(folder.path().join(format!("f{number}")), noise(number, 300_000));
    }
    write(folder.path().join("long"), noise(99, 20 << 20));
    let memory = Memory::new().await;
    let root = memory.snapshot(folder.path()).await.manifest.root_entry.unwrap();
    for write_files_atomically in [false, true] {
        let target = tempfile::tempdir().unwrap();
        let stop = CancellationToken::new();
        let options =
            RestoreOptions { write_files_atomically, parallel: 2, ..RestoreOptions::default() };
        let plan = RestorePlan::of(&memory.repo, &root, Some(target.path()), &options).await;
        let sink = Arc::new(StopsEarly(stop.clone()));
        let end = plan.unwrap().run(&memory.repo, target.path(), &options, sink, &stop).await;
        assert!(matches!(end, Err(SnapshotError::Stopped)), "{end:?}");
        let (is, was) = (tree(target.path()), tree(folder.path()));
        assert!(is.len() < was.len(), "it was stopped before its end");
        for (name, found) in &is {
            assert_eq!(Some(found), was.get(name), "{name}");
        }
    }
}

#[tokio::test]
async fn a_restore_that_is_stopped_says_so() {
    let case = Case::new().await;
    let stop = CancellationToken::new();
    stop.cancel();
    let options = RestoreOptions::default();
    let target = case.target.path();
    let plan =
        RestorePlan::of(&case.memory.repo, &case.root, Some(target), &options).await.unwrap();
    let error = plan.run(&case.memory.repo, target, &options, Arc::new(Silent), &stop).await;
    assert!(matches!(error, Err(SnapshotError::Stopped)), "{error:?}");
}

/// Writes a folder of `entries` that no uploader would.
async fn forge(memory: &Memory, entries: Vec<DirEntry>) -> DirEntry {
    let writer = memory.repo.writer().unwrap();
    let directory = Directory { entries, ..Directory::default() };
    let options = ObjectOptions { prefix: Some(b'k'), ..ObjectOptions::default() };
    let object = writer.write_object(directory.to_bytes().into(), options).await.unwrap();
    writer.flush().await.unwrap();
    DirEntry { kind: EntryKind::Directory, mode: 0o755, object, ..DirEntry::default() }
}

#[tokio::test]
async fn a_snapshot_cannot_write_outside_its_target() {
    let case = Case::new().await;
    for name in ["..", ".", "", "a/b", "/etc/x", "nul\0"] {
        let entry = DirEntry { name: name.into(), kind: EntryKind::File, ..DirEntry::default() };
        let root = forge(&case.memory, vec![entry]).await;
        let options = RestoreOptions::default();
        let error = case.memory.restore(&root, case.target.path(), &options).await.unwrap_err();
        assert!(matches!(error, SnapshotError::Invalid(_)), "{name:?}: {error}");
    }
    assert!(tree(case.target.path()).is_empty());
}

#[tokio::test]
async fn a_forged_tree_without_end_is_cut_off() {
    let case = Case::new().await;
    let mut inner = forge(&case.memory, Vec::new()).await;
    for _ in 0..70 {
        inner.name = vec![b'd'; 250];
        inner = forge(&case.memory, vec![inner]).await;
    }
    let options = RestoreOptions::default();
    let error = case.memory.restore(&inner, case.target.path(), &options).await.unwrap_err();
    assert!(error.to_string().contains("its path is longer than 16384 bytes"), "{error}");
    assert!(tree(case.target.path()).is_empty());
    let options = RestoreOptions { ignore_errors: true, ..options };
    let report = case.memory.restore(&inner, case.target.path(), &options).await.unwrap();
    assert_eq!(report.failures.len(), 1);
}

#[tokio::test]
async fn an_entry_of_an_unknown_kind_is_a_failure_of_its_own() {
    let case = Case::new().await;
    let directory = case.memory.directory(case.root.object).await;
    let mut entries = directory.entries;
    entries.push(DirEntry { name: "device".into(), ..DirEntry::default() });
    let root = forge(&case.memory, entries).await;
    let strict = RestoreOptions::default();
    let error = case.memory.restore(&root, case.target.path(), &strict).await.unwrap_err();
    assert!(
        matches!(&error, SnapshotError::NotRestored { path, .. } if path == "device"),
        "{error}"
    );
    assert!(tree(case.target.path()).is_empty());
    let options = RestoreOptions { ignore_errors: true, ..strict };
    let report = case.memory.restore(&root, case.target.path(), &options).await.unwrap();
    let failed: Vec<_> = report.failures.iter().map(|f| f.path.as_str()).collect();
    assert_eq!(failed, ["device"]);
    assert!(case.is_whole());
}

#[test]
fn a_tree_of_read_only_folders_can_be_restored_twice() {
    as_an_ordinary_user(async || {
        let read_only = |root: &Path| {
            write(root.join("sub/f"), "x");
            std::fs::set_permissions(root.join("sub"), PermissionsExt::from_mode(0o555)).unwrap();
        };
        let case = Case::of(read_only).await;
        for _ in 0..2 {
            case.restore(&RestoreOptions::default()).await.unwrap();
            assert!(case.is_whole());
        }
        for folder in [&case.source, &case.target] {
            let sub = folder.path().join("sub");
            std::fs::set_permissions(sub, PermissionsExt::from_mode(0o755)).unwrap();
        }
    });
}
