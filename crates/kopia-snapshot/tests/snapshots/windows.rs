//! Restoring in parts: many windows give what one gives, and memory is bounded by the limit and not
//! by the tree or its packs.

use std::{collections::BTreeMap, os::unix::fs::symlink, path::Path, process::Command, sync::Arc};

use blob_core::{DynStorage, ReadRange, layers::Operation};
use fs_backend::{FilesystemOptions, FilesystemStorage};
use kopia_format::directory::DirEntry;
use kopia_repo::{CreateOptions, OpenOptions, Repository};
use kopia_snapshot::{
    create::create,
    restore::{ArchiveKind, RestoreOptions, RestorePlan, Silent},
};
use tokio_util::sync::CancellationToken;

use crate::support::{Memory, found, noise, request, tree, write};

/// Files that share contents over the whole tree, long ones, links, and folders that are empty, deep
/// or full.
fn plant(root: &Path) {
    for folder in 0..6 {
        let folder = root.join(format!("d{folder}"));
        for file in 0..9 {
            // Half of them are the same in every folder.
            let seed = if file % 2 == 0 { file } else { 100 + file };
            write(folder.join(format!("f{file}")), noise(seed, 2_000 + file as usize));
        }
        write(folder.join("deep/er/still/f"), noise(7, 100));
        write(folder.join("none"), "");
        symlink("f1", folder.join("link")).unwrap();
        std::fs::create_dir(folder.join("hollow")).unwrap();
    }
    write(root.join("big"), noise(500, 9 << 20));
    write(root.join("d3/big"), noise(500, 9 << 20));
}

async fn planted() -> (Memory, DirEntry, tempfile::TempDir) {
    let source = tempfile::tempdir().unwrap();
    plant(source.path());
    // Folders have their own times, which writing into them would change.
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    for folder in ["d0", "d1/deep", "d1/deep/er", "d5/hollow", ""] {
        std::fs::File::open(source.path().join(folder)).unwrap().set_modified(old).unwrap();
    }
    let memory = Memory::new().await;
    let root = memory.snapshot(source.path()).await.manifest.root_entry.unwrap();
    (memory, root, source)
}

fn windows_of(window_entries: usize) -> RestoreOptions {
    RestoreOptions { window_entries, ..RestoreOptions::default() }
}

#[tokio::test]
async fn many_windows_give_what_one_gives() {
    let (memory, root, source) = planted().await;
    let mut counts = Vec::new();
    for window_entries in [1, 7, 30, 10_000] {
        let target = tempfile::tempdir().unwrap();
        let options = windows_of(window_entries);
        let plan = RestorePlan::of(&memory.repo, &root, Some(target.path()), &options).await;
        let plan = plan.unwrap();
        counts.push(plan.windows);
        let planned = (plan.files, plan.folders, plan.links, plan.bytes, plan.requests);
        let fetched = plan.fetched_bytes;
        let (sink, stop) = (Arc::new(Silent), CancellationToken::new());
        memory.calls.clear();
        let run = plan.run(&memory.repo, target.path(), &options, sink, &stop);
        let report = run.await.unwrap();
        assert!(tree(source.path()) == tree(target.path()), "{window_entries} entries a window");
        let (is, was) = (found(target.path()), found(source.path()));
        assert_eq!((is.mode, is.mtime), (was.mode, was.mtime));
        let done = (report.files, report.folders, report.links, report.bytes, report.requests);
        assert_eq!((done, report.bytes_read), (planned, fetched));
        assert_eq!(memory.calls.count_of(Operation::Get, "p") as u64, report.requests);
    }
    assert!(counts[0] > counts[1] && counts[1] > counts[2] && counts[2] > 1, "{counts:?}");
    assert_eq!(counts[3], 1);
}

#[tokio::test]
async fn extra_and_existing_entries_are_treated_alike_in_every_window() {
    let (memory, root, source) = planted().await;
    for window_entries in [5, 10_000] {
        let target = tempfile::tempdir().unwrap();
        let options = RestoreOptions { delete_extra: true, ..windows_of(window_entries) };
        write(target.path().join("d0/f1/of another kind"), "x");
        write(target.path().join("d4/extra"), "x");
        write(target.path().join("d5/deep/extra/f"), "x");
        write(target.path().join("d2"), "a file where a folder belongs");
        let report = memory.restore(&root, target.path(), &options).await.unwrap();
        assert!(tree(source.path()) == tree(target.path()));
        let deleted = (report.deleted_files, report.deleted_folders, report.deleted_links);
        assert_eq!(deleted, (2, 2, 0));
        // All is there: nothing is left to do but the empty folders.
        let options = RestoreOptions { skip_existing: true, ..windows_of(window_entries) };
        let report = memory.restore(&root, target.path(), &options).await.unwrap();
        assert_eq!((report.files, report.links, report.requests), (0, 0, 0));
        assert_eq!(report.skipped, 6 * 12 + 2);
        assert!(tree(source.path()) == tree(target.path()));
    }
}

#[tokio::test]
async fn errors_are_noted_alike_in_every_window() {
    let (memory, root, _source) = planted().await;
    let ids = memory.blobs.ids();
    let pack = ids.into_iter().find(|id| id.as_str().starts_with('p')).unwrap();
    assert!(memory.blobs.damage(&pack, |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    }));
    let mut seen = Vec::new();
    for window_entries in [4, 10_000] {
        let target = tempfile::tempdir().unwrap();
        write(target.path().join("d1"), "in the way");
        write(target.path().join("d2/f3/in the way"), "x");
        let options = RestoreOptions { ignore_errors: true, ..windows_of(window_entries) };
        let report = memory.restore(&root, target.path(), &options).await.unwrap();
        let mut failed: Vec<_> =
            report.failures.iter().map(|f| (f.path.clone(), f.error.clone())).collect();
        failed.sort();
        let place = target.path().to_string_lossy().into_owned();
        failed.iter_mut().for_each(|(_, error)| *error = error.replace(&place, ""));
        assert!(failed.iter().any(|(path, _)| path == "d1"));
        let files: BTreeMap<_, _> =
            tree(target.path()).into_iter().filter(|(_, found)| found.kind == "file").collect();
        seen.push((failed, files.into_keys().collect::<Vec<_>>(), report.files));
    }
    assert_eq!(seen[0], seen[1]);
}

#[tokio::test]
async fn nothing_is_written_when_the_last_window_lacks_something() {
    let (memory, _, source) = planted().await;
    // In a pack of its own.
    write(source.path().join("zzz/last"), noise(900, 50_000));
    let before: Vec<_> = memory.blobs.ids();
    let root = memory.snapshot(source.path()).await.manifest.root_entry.unwrap();
    let mut new = memory.blobs.ids();
    new.retain(|id| id.as_str().starts_with('p') && !before.contains(id));
    assert!(memory.blobs.set_class(&new[0], blob_core::StorageClass::GLACIER));
    let target = tempfile::tempdir().unwrap();
    let error = memory.restore(&root, target.path(), &windows_of(3)).await.unwrap_err();
    assert!(matches!(error, kopia_snapshot::SnapshotError::Archived { .. }), "{error}");
    assert!(tree(target.path()).is_empty());
}

#[tokio::test]
async fn an_archive_of_many_windows_holds_all() {
    let (memory, root, source) = planted().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.tar");
    let options = windows_of(5);
    let plan = RestorePlan::of(&memory.repo, &root, None, &options).await.unwrap();
    assert!(plan.windows > 5);
    let (sink, stop) = (Arc::new(Silent), CancellationToken::new());
    let run = plan.run_archive(&memory.repo, &path, ArchiveKind::Tar, &options, sink, &stop);
    run.await.unwrap();
    let target = tempfile::tempdir().unwrap();
    let mut archive = tar::Archive::new(std::fs::File::open(&path).unwrap());
    archive.unpack(target.path()).unwrap();
    let names = |root| tree(root).into_iter().map(|(path, it)| (path, it.content)).collect();
    let (is, was): (Vec<_>, Vec<_>) = (names(target.path()), names(source.path()));
    assert_eq!(is, was);
}

#[tokio::test]
async fn a_pack_is_one_request_and_next_to_nothing_is_fetched_in_vain() {
    let source = tempfile::tempdir().unwrap();
    for number in 0..9 {
        write(source.path().join(format!("d{}/f{number}", number % 4)), noise(number, 5 << 20));
    }
    let memory = Memory::new().await;
    let root = memory.snapshot(source.path()).await.manifest.root_entry.unwrap();
    let packs = memory.blobs.ids().iter().filter(|id| id.as_str().starts_with('p')).count();
    assert!(packs > 1);
    let target = tempfile::tempdir().unwrap();
    memory.calls.clear();
    let report = memory.restore(&root, target.path(), &RestoreOptions::default()).await.unwrap();
    assert!(tree(source.path()) == tree(target.path()));
    assert_eq!(memory.calls.count_of(Operation::Get, "p"), packs);
    let calls = memory.calls.calls();
    let length = |call: &blob_testkit::Call| match call.range {
        Some(ReadRange::Bytes { length, .. }) if call.id.starts_with('p') => length,
        _ => 0,
    };
    let received: u64 = calls.iter().map(length).sum();
    assert_eq!(received, report.bytes_read);
    assert!(received <= (9 * (5 << 20)) * 11 / 10, "{received} bytes");
}

/// Where a child process finds the repository, and where it restores to.
const CHILD: &str = "KOPIA_SNAPSHOT_TEST_CHILD";
const PASSWORD: &str = "memory";

async fn open_at(place: &Path) -> Repository {
    let storage = FilesystemStorage::open(FilesystemOptions::at(place)).await.unwrap();
    let storage: DynStorage = Arc::new(storage);
    let options = OpenOptions { threads: 2, ..OpenOptions::default() };
    Repository::open(storage, &PASSWORD.to_owned().into(), options).await.unwrap()
}

/// With packs of 120 MiB and contents of 8 MiB and more. Run in a process of its own, which does
/// nothing else.
#[test]
fn memory_stays_within_its_limit_whatever_the_packs() {
    if let Some(place) = std::env::var_os(CHILD) {
        return child(Path::new(&place));
    }
    let folder = tempfile::tempdir().unwrap();
    let repository = folder.path().join("repository");
    let source = folder.path().join("source");
    std::fs::create_dir_all(&repository).unwrap();
    for number in 0..3 {
        write(source.join(format!("f{number}")), noise(number, 90 << 20));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let storage = FilesystemStorage::open(FilesystemOptions::at(&repository)).await.unwrap();
        let options = CreateOptions {
            key_derivation: "pbkdf2-sha256-600000".into(),
            splitter: "DYNAMIC-8M-BUZHASH".into(),
            max_pack_size: 120 << 20,
            ..CreateOptions::default()
        };
        let password = PASSWORD.to_owned().into();
        Repository::create(Arc::new(storage), &password, options).await.unwrap();
        let repo = open_at(&repository).await;
        let writer = repo.writer().unwrap();
        create(&writer, request(&source)).await.unwrap();
        writer.flush().await.unwrap();
    });
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "windows::memory_stays_within_its_limit_whatever_the_packs"])
        .arg("--nocapture")
        .env(CHILD, folder.path())
        // Of glibc: what is free is the system's again, so that the peak is what was held.
        .env("MALLOC_MMAP_THRESHOLD_", "1048576")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(tree(&source) == tree(&folder.path().join("target")));
    let peak =
        said.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
    let peak: u64 = peak.expect("the child says its peak").trim().parse().unwrap();
    let most = (OpenOptions::default().memory_bytes_max >> 10) + (32 << 10);
    assert!(peak <= most, "{peak} KiB of {most}");
}

fn child(folder: &Path) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let repo = open_at(&folder.join("repository")).await;
        let snapshots = kopia_snapshot::manifests::find(&repo, &[]).await.unwrap();
        let root = snapshots[0].root_entry.clone().unwrap();
        let (target, options) = (folder.join("target"), RestoreOptions::default());
        let plan = RestorePlan::of(&repo, &root, Some(&target), &options).await.unwrap();
        let (sink, stop) = (Arc::new(Silent), CancellationToken::new());
        plan.run(&repo, &target, &options, sink, &stop).await.unwrap();
    });
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    println!("\n{}", status.lines().find(|line| line.starts_with("VmHWM:")).unwrap());
}
