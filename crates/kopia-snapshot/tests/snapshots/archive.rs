//! Restoring into tar and zip files, read back by other readers than ours.

use std::{collections::BTreeMap, io::Read, os::unix::fs::symlink, path::Path, sync::Arc};

use blob_core::StorageClass;
use kopia_snapshot::{
    SnapshotError,
    restore::{ArchiveKind, RestoreOptions, RestorePlan, RestoreReport, Silent},
};
use tokio_util::sync::CancellationToken;

use crate::support::{Memory, found, noise, plant, sha256, tree, write};

async fn pack(
    memory: &Memory,
    kind: ArchiveKind,
    to: &Path,
) -> Result<RestoreReport, SnapshotError> {
    let root = memory.snapshots().await.pop().unwrap().root_entry.unwrap();
    let plan =
        RestorePlan::of(&memory.repo, &root, None, &RestoreOptions::default()).await.unwrap();
    let stop = CancellationToken::new();
    plan.run_archive(&memory.repo, to, kind, &RestoreOptions::default(), Arc::new(Silent), &stop)
        .await
}

/// The planted tree and some names that headers have trouble with.
async fn planted() -> (Memory, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    plant(folder.path());
    let long = "long-".repeat(40);
    write(folder.path().join(&long).join(&long), "long");
    symlink("x".repeat(300), folder.path().join("long-link")).unwrap();
    write(folder.path().join("übung"), "x");
    let old = std::time::SystemTime::UNIX_EPOCH - std::time::Duration::from_millis(86_400_500);
    std::fs::File::open(folder.path().join("übung")).unwrap().set_modified(old).unwrap();
    write(folder.path().join("twice/a"), noise(6, 3_000_000));
    write(folder.path().join("twice/b"), noise(6, 3_000_000));
    let memory = Memory::new().await;
    memory.snapshot(folder.path()).await;
    (memory, folder)
}

/// Entries of a tar file: kind, mode, time in seconds, content.
fn read_tar(bytes: impl Read) -> BTreeMap<String, (&'static str, u32, i64, String)> {
    let mut all = BTreeMap::new();
    for entry in tar::Archive::new(bytes).entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().to_string_lossy().trim_end_matches('/').to_owned();
        let (mode, time) = (entry.header().mode().unwrap(), entry.header().mtime().unwrap());
        let (kind, content) = match entry.header().entry_type() {
            tar::EntryType::Directory => ("dir", String::new()),
            tar::EntryType::Symlink => {
                let target = entry.link_name_bytes().unwrap();
                ("symlink", String::from_utf8_lossy(&target).into_owned())
            }
            _ => {
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes).unwrap();
                ("file", sha256(&bytes))
            }
        };
        // A time before 1970 comes as what its bits are without a sign.
        all.insert(path, (kind, mode, time.cast_signed(), content));
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tar_file_holds_the_whole_tree() {
    let (memory, folder) = planted().await;
    let target = tempfile::tempdir().unwrap();
    let mut wanted = BTreeMap::new();
    for (path, found) in tree(folder.path()) {
        let seconds = found.mtime.div_euclid(1_000_000_000);
        wanted.insert(path, (found.kind, found.mode, seconds, found.content));
    }
    for kind in [ArchiveKind::Tar, ArchiveKind::TarGz] {
        let to = target.path().join("x");
        let report = pack(&memory, kind, &to).await.unwrap();
        let file = std::fs::File::open(&to).unwrap();
        let is = match kind {
            ArchiveKind::TarGz => read_tar(flate2::read::GzDecoder::new(file)),
            _ => read_tar(file),
        };
        assert_eq!(is, wanted);
        assert_eq!((report.files, report.links, report.folders), (9, 2, 6));
    }
    let list = std::process::Command::new("tar").arg("tf").arg(target.path().join("x")).output();
    let Ok(list) = list else { return };
    assert!(list.status.success(), "{}", String::from_utf8_lossy(&list.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zip_file_holds_all_files() {
    let (memory, folder) = planted().await;
    let target = tempfile::tempdir().unwrap();
    let mut wanted = tree(folder.path());
    wanted.retain(|_, found| found.kind == "file");
    for kind in [ArchiveKind::Zip, ArchiveKind::ZipStored] {
        let to = target.path().join("x.zip");
        pack(&memory, kind, &to).await.unwrap();
        let mut zip = zip::ZipArchive::new(std::fs::File::open(&to).unwrap()).unwrap();
        let mut is = BTreeMap::new();
        for number in 0..zip.len() {
            let mut file = zip.by_index(number).unwrap();
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).unwrap();
            let mode = file.unix_mode().unwrap() & 0o7777;
            let time = file.extra_data_fields().find_map(|field| match field {
                zip::ExtraField::ExtendedTimestamp(times) => times.mod_time(),
                _ => None,
            });
            let secs = i64::from(time.unwrap().cast_signed());
            let shown = file.last_modified().unwrap();
            let of_1980_on = secs >= 315_532_800;
            assert_eq!(shown != zip::DateTime::default(), of_1980_on, "{:?}", file.name());
            is.insert(file.name().unwrap().into_owned(), (mode, secs, sha256(&bytes)));
        }
        let all = wanted.iter().map(|(path, found)| {
            let secs = found.mtime.div_euclid(1_000_000_000);
            (path.clone(), (found.mode, secs, found.content.clone()))
        });
        let wanted: BTreeMap<_, _> = all.collect();
        assert_eq!(is, wanted);
    }
}

#[tokio::test]
async fn a_single_file_is_an_archive_of_one_entry() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path().join("f.txt"), "hello");
    let memory = Memory::new().await;
    memory.snapshot(&folder.path().join("f.txt")).await;
    let to = folder.path().join("x.tar");
    pack(&memory, ArchiveKind::Tar, &to).await.unwrap();
    let is = read_tar(std::fs::File::open(&to).unwrap());
    let names: Vec<_> = is.keys().map(|name| name.as_bytes()).collect();
    assert_eq!(names, [b"f.txt"]);
    assert_eq!(is["f.txt"].3, found(&folder.path().join("f.txt")).content);
}

#[tokio::test]
async fn no_archive_is_begun_when_it_cannot_be_finished() {
    let (memory, folder) = planted().await;
    let to = folder.path().join("x.tar");
    for id in memory.blobs.ids().into_iter().filter(|id| id.as_str().starts_with('p')) {
        memory.blobs.set_class(&id, StorageClass::DEEP_ARCHIVE);
    }
    let error = pack(&memory, ArchiveKind::Tar, &to).await.unwrap_err();
    assert!(matches!(error, SnapshotError::Archived { .. }), "{error}");
    assert!(!to.exists());

    // With errors to be ignored it is made of what can be read: folders and empty files.
    let root = memory.snapshots().await.pop().unwrap().root_entry.unwrap();
    let options = RestoreOptions { ignore_errors: true, ..RestoreOptions::default() };
    let plan = RestorePlan::of(&memory.repo, &root, None, &options).await.unwrap();
    let leaves = plan.files + plan.links;
    let (sink, stop) = (Arc::new(Silent), CancellationToken::new());
    let run = plan.run_archive(&memory.repo, &to, ArchiveKind::Tar, &options, sink, &stop);
    let report = run.await.unwrap();
    assert_eq!((report.files, report.failures.len() as u64), (1, leaves - 1));
    assert!(report.failures.iter().all(|failure| failure.error.contains("is archived")));
    let is = read_tar(std::fs::File::open(&to).unwrap());
    assert!(is.contains_key("empty") && is.contains_key("sub/deeper") && !is.contains_key("big"));
}
