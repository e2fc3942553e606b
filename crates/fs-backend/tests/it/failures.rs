//! What a folder can't do is told by type.

use blob_core::{
    BlobError, BlobId, BlobStorage, Lock, LockMode, Payload, PutAttributes, PutOptions, ReadRange,
    StorageClass,
};
use fs_backend::{FilesystemOptions, FilesystemStorage};
use futures::TryStreamExt;

fn id(text: &str) -> BlobId {
    BlobId::new(text).unwrap()
}

fn payload() -> Payload {
    Payload::from(&b"x"[..])
}

#[tokio::test]
async fn a_folder_that_is_missing_or_none_is_no_storage() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    for path in [&missing, &file] {
        let error = FilesystemStorage::open(FilesystemOptions::at(path)).await.unwrap_err();
        assert!(matches!(error, BlobError::NoStorage { .. }), "{error}");
        assert!(error.to_string().starts_with("Filesystem: /"), "{error}");
    }
    assert!(!missing.exists());
    let error = FilesystemStorage::create(FilesystemOptions::at(&file), None).await.unwrap_err();
    assert!(error.to_string().contains("file"), "{error}");
}

/// A disk that went away must not look like a repository without blobs, nor be written beside.
#[tokio::test]
async fn a_folder_that_goes_away_is_no_storage_for_every_call_and_is_not_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    std::fs::create_dir(&root).unwrap();
    let storage = FilesystemStorage::open(FilesystemOptions::at(&root)).await.unwrap();
    let (long, short) = (id("p0123456789abcdef0123456789abcdef-s1"), id("xe1"));
    storage.put(&long, payload(), &PutOptions::default()).await.unwrap();
    std::fs::remove_dir_all(&root).unwrap();
    let mut errors = Vec::new();
    for id in [&long, &short] {
        errors.push(storage.get(id, ReadRange::Full).await.err());
        errors.push(storage.head(id).await.err());
        errors.push(storage.delete(id).await.err());
        errors.push(storage.put(id, payload(), &PutOptions::default()).await.err());
    }
    errors.push(storage.list("p").try_collect::<Vec<_>>().await.err());
    for error in errors {
        assert!(matches!(error, Some(BlobError::NoStorage { .. })), "{error:?}");
    }
    assert!(!root.exists());
}

#[tokio::test]
async fn locks_are_refused_and_a_class_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let storage = FilesystemStorage::open(FilesystemOptions::at(folder.path())).await.unwrap();
    let lock = Lock { mode: LockMode::Compliance, period: std::time::Duration::from_secs(60) };
    let with = |attributes| PutOptions { attributes, ..PutOptions::default() };
    let blob = id("p1");
    for attributes in [
        PutAttributes { lock: Some(lock), ..PutAttributes::default() },
        PutAttributes { legal_hold: Some(true), ..PutAttributes::default() },
    ] {
        let error = storage.put(&blob, payload(), &with(attributes)).await.unwrap_err();
        assert!(matches!(error, BlobError::InvalidOption { .. }), "{error}");
    }
    assert!(storage.head(&blob).await.unwrap_err().is_not_found());
    let class = Some(StorageClass::DEEP_ARCHIVE);
    let cold = with(PutAttributes { class, ..PutAttributes::default() });
    storage.put(&blob, payload(), &cold).await.unwrap();
    assert_eq!(storage.head(&blob).await.unwrap().class, None);
    assert_eq!(storage.get(&blob, ReadRange::Full).await.unwrap(), "x");
}

#[tokio::test]
async fn an_id_that_no_file_can_have_is_an_invalid_option() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(".shards"), r#"{"default":[2]}"#).unwrap();
    let storage = FilesystemStorage::open(FilesystemOptions::at(folder.path())).await.unwrap();
    for text in ["..passwd".to_owned(), "x".repeat(400)] {
        let error = storage.put(&id(&text), payload(), &PutOptions::default()).await.unwrap_err();
        assert!(matches!(error, BlobError::InvalidOption { .. }), "{error}");
    }
}
