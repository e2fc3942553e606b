//! Folders that Kopia wrote are listed and read whole, and written to as Kopia would.

use std::{
    collections::BTreeMap,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

use blob_core::{BlobId, BlobMeta, BlobStorage, PutOptions, ReadRange, Volume};
use fs_backend::{FilesystemOptions, FilesystemStorage, Shards};
use futures::TryStreamExt;
use kopia_fixtures::Unpacked;

async fn open(path: impl AsRef<Path>) -> FilesystemStorage {
    FilesystemStorage::open(FilesystemOptions::at(path.as_ref())).await.unwrap()
}

async fn listed(storage: &FilesystemStorage, prefix: &str) -> Vec<BlobMeta> {
    let mut all: Vec<BlobMeta> = storage.list(prefix).try_collect().await.unwrap();
    all.sort_by(|a, b| a.id.cmp(&b.id));
    all
}

fn expected(repo: &Unpacked) -> BTreeMap<String, u64> {
    let blobs = repo.expected["blobs"].as_array().unwrap().iter();
    blobs.map(|b| (b["id"].as_str().unwrap().into(), b["length"].as_u64().unwrap())).collect()
}

fn sizes(metas: &[BlobMeta]) -> BTreeMap<String, u64> {
    metas.iter().map(|meta| (meta.id.to_string(), meta.size)).collect()
}

fn id(text: &str) -> BlobId {
    BlobId::new(text).unwrap()
}

#[tokio::test]
async fn every_layout_lists_and_reads_what_kopia_lists() {
    for name in ["shards-default", "shards-flat", "shards-long", "shards-overrides"] {
        let repo = kopia_fixtures::repo(name);
        let storage = open(repo.path()).await;
        let metas = listed(&storage, "").await;
        assert_eq!(sizes(&metas), expected(&repo), "{name}");
        for meta in metas {
            let bytes = storage.get(&meta.id, ReadRange::Full).await.unwrap();
            assert_eq!(bytes.len() as u64, meta.size, "{name}: {}", meta.id);
            assert_eq!(storage.head(&meta.id).await.unwrap(), meta, "{name}");
        }
        let packs = listed(&storage, "p").await;
        assert_eq!(packs.len(), expected(&repo).keys().filter(|id| id.starts_with('p')).count());
    }
}

#[tokio::test]
async fn a_blob_written_here_lies_where_kopia_looks_for_it() {
    for (name, file) in [
        ("shards-default", "p/012/3456789abcdef0123456789abcdef-s1.f"),
        ("shards-flat", "p0123456789abcdef0123456789abcdef-s1.f"),
        ("shards-long", "p0123456789abcdef0123456789abc/def/-s1.f"),
        ("shards-overrides", "p01/234/567/89abcdef0123456789abcdef-s1.f"),
    ] {
        let repo = kopia_fixtures::repo(name);
        let before = std::fs::read(repo.path().join(".shards")).unwrap();
        let storage = open(repo.path()).await;
        let pack = id("p0123456789abcdef0123456789abcdef-s1");
        storage.put(&pack, b"pack".as_slice().into(), &PutOptions::default()).await.unwrap();
        assert_eq!(std::fs::read(repo.path().join(file)).unwrap(), b"pack", "{name}");
        assert_eq!(std::fs::read(repo.path().join(".shards")).unwrap(), before, "{name}");
    }
}

#[tokio::test]
async fn foreign_files_are_blobs_only_where_kopia_takes_them_for_blobs() {
    let repo = kopia_fixtures::repo("damaged-foreign-files");
    let storage = open(repo.path()).await;
    let mut names = expected(&repo);
    // Files that end in `.f` are blobs to Kopia whatever they are called.
    names.extend([("notes".into(), 20), ("xyz".into(), 50), ("zzdeep".into(), 21)]);
    assert_eq!(sizes(&listed(&storage, "").await), names);
    let lost = storage.get(&id("zzdeep"), ReadRange::Full).await;
    assert!(lost.unwrap_err().is_not_found(), "it lies where its ID does not lead");
}

#[tokio::test]
async fn blob_times_are_the_files_times_to_the_nanosecond() {
    let repo = kopia_fixtures::repo("shards-flat");
    let storage = open(repo.path()).await;
    let file = std::fs::metadata(repo.path().join("kopia.repository.f")).unwrap();
    let meta = storage.head(&id("kopia.repository")).await.unwrap();
    assert_eq!(meta.modified.nanos(), file.mtime() * 1_000_000_000 + file.mtime_nsec());
    let blob = id("new");
    let receipt = storage.put(&blob, b"x".as_slice().into(), &PutOptions::default()).await.unwrap();
    assert_eq!(receipt.modified, Some(storage.head(&blob).await.unwrap().modified));
}

#[tokio::test]
async fn a_made_folder_has_kopias_shards_and_permissions() {
    for (shards, text) in [
        (None, "{\"default\":[1,3],\"maxNonShardedLength\":20}\n"),
        (Some(vec![]), "{\"default\":[],\"maxNonShardedLength\":20}\n"),
        (Some(vec![3, 3]), "{\"default\":[3,3],\"maxNonShardedLength\":20}\n"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("repo");
        let options = FilesystemOptions { file_mode: 0o640, ..FilesystemOptions::at(&root) };
        let storage = FilesystemStorage::create(options, shards).await.unwrap();
        let pack = id("p0123456789abcdef0123456789abcdef-s1");
        storage.put(&pack, b"pack".as_slice().into(), &PutOptions::default()).await.unwrap();
        assert_eq!(std::fs::read_to_string(root.join(".shards")).unwrap(), text);
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&root), 0o700);
        assert_eq!(
            mode(&root.join(storage.shards().await.unwrap().path_of(&pack).unwrap())),
            0o640
        );
    }
}

#[tokio::test]
async fn the_first_blob_writes_shards_of_old_where_there_are_none_and_looking_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(".shards");
    let storage = open(folder.path()).await;
    assert!(listed(&storage, "").await.is_empty());
    let first = id("kopia.repository");
    assert!(storage.head(&first).await.unwrap_err().is_not_found());
    assert!(storage.get(&first, ReadRange::Full).await.unwrap_err().is_not_found());
    storage.delete(&first).await.unwrap();
    assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none(), "nothing was written");
    storage.put(&first, b"format".as_slice().into(), &PutOptions::default()).await.unwrap();
    let text = "{\"default\":[3,3],\"maxNonShardedLength\":20}\n";
    assert_eq!(std::fs::read_to_string(file).unwrap(), text);
}

#[tokio::test]
async fn broken_shards_fail_every_call_until_they_are_mended_and_then_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(".shards");
    std::fs::write(&file, "{\"default\":").unwrap();
    let storage = open(folder.path()).await;
    for _ in 0..2 {
        let error = storage.head(&id("x")).await.unwrap_err().to_string();
        assert!(error.contains(".shards can't be read"), "{error}");
    }
    std::fs::write(&file, "{\"default\":[2],\"maxNonShardedLength\":3} and more").unwrap();
    let mended = storage.shards().await.unwrap();
    assert_eq!(mended, Shards { max_non_sharded_length: 3, ..Shards::with_default(vec![2]) });
    std::fs::write(&file, "{}").unwrap();
    assert_eq!(storage.shards().await.unwrap(), mended, "read once, kept");
}

/// A link that leads nowhere can be neither read nor replaced; the rules hold all the same.
#[tokio::test]
async fn shards_that_can_not_be_written_are_no_error() {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("nowhere", folder.path().join(".shards")).unwrap();
    let storage = open(folder.path()).await;
    assert_eq!(storage.shards().await.unwrap(), Shards::with_default(vec![3, 3]));
}

#[tokio::test]
async fn a_put_leaves_no_temporary_file_and_deletes_leave_folders() {
    let folder = tempfile::tempdir().unwrap();
    let storage = open(folder.path()).await;
    let pack = id("p0123456789abcdef0123456789abcdef-s1");
    let new = PutOptions { if_absent: true, ..PutOptions::default() };
    storage.put(&pack, b"1".as_slice().into(), &new).await.unwrap();
    storage.put(&pack, b"2".as_slice().into(), &PutOptions::default()).await.unwrap();
    assert!(storage.put(&pack, b"3".as_slice().into(), &new).await.is_err());
    let inner = folder.path().join("p01").join("234");
    let names: Vec<_> =
        std::fs::read_dir(&inner).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["56789abcdef0123456789abcdef-s1.f"]);
    storage.delete(&pack).await.unwrap();
    assert!(inner.is_dir(), "as with Kopia, an empty folder stays");
}

#[tokio::test]
async fn a_disk_tells_its_size() {
    let folder = tempfile::tempdir().unwrap();
    let capacity = open(folder.path()).await.capacity().await.unwrap();
    assert!(capacity.capacity >= capacity.available && capacity.capacity > 0, "{capacity:?}");
}
