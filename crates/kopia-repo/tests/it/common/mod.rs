//! What the tests of this crate share.
#![allow(dead_code)]

pub mod gate;

use std::{path::Path, sync::Arc};

use blob_core::{BlobId, DynStorage, ManualClock, MemoryStorage};
use fs_backend::{FilesystemOptions, FilesystemStorage};
use kopia_fixtures::Unpacked;
use kopia_repo::{
    CreateOptions, EntryFilter, Env, OpenOptions, RepoError, Repository, VerifyEvent, VerifyOptions,
};
use secrecy::SecretString;

pub fn secret(text: &str) -> SecretString {
    text.to_owned().into()
}

pub async fn folder(path: &Path) -> DynStorage {
    let storage = FilesystemStorage::open(FilesystemOptions::at(path)).await;
    Arc::new(storage.expect("the folder is there"))
}

pub async fn open_fixture(fixture: &Unpacked) -> Result<Repository, RepoError> {
    let storage = folder(&fixture.path()).await;
    Repository::open(storage, &secret(fixture.password()), OpenOptions::default()).await
}

pub async fn open(name: &str) -> (Unpacked, Repository) {
    let fixture = kopia_fixtures::repo(name);
    let repository = open_fixture(&fixture).await.unwrap_or_else(|e| panic!("{name}: {e}"));
    (fixture, repository)
}

/// Why the fixture `name` does not open.
pub async fn refusal(name: &str) -> RepoError {
    match open_fixture(&kopia_fixtures::repo(name)).await {
        Ok(_) => panic!("{name} opened"),
        Err(error) => error,
    }
}

/// Bytes that don't compress and depend on `seed` alone.
pub fn noise(seed: u64, length: usize) -> bytes::Bytes {
    kopia_fixtures::spec_bytes(&format!("ctr:{seed}:{length}")).into()
}

pub fn text(length: usize) -> bytes::Bytes {
    kopia_fixtures::spec_bytes(&format!("text:{length}")).into()
}

/// A new repository in `storage`, open.
pub async fn create_in(storage: DynStorage, options: CreateOptions) -> Repository {
    create_with(storage, options, OpenOptions::default()).await
}

pub async fn create_with(
    storage: DynStorage,
    create: CreateOptions,
    open: OpenOptions,
) -> Repository {
    Repository::create(Arc::clone(&storage), &secret("fixture"), create).await.unwrap();
    Repository::open(storage, &secret("fixture"), open).await.unwrap()
}

/// The defaults, but for a key of the password that is made in half the time and without 64 MiB:
/// for tests that are not about that.
pub fn quick() -> CreateOptions {
    let key_derivation = "pbkdf2-sha256-600000".to_owned();
    CreateOptions { key_derivation, ..CreateOptions::default() }
}

/// A new repository in memory.
pub async fn fresh() -> (Arc<MemoryStorage>, Repository) {
    let storage = Arc::new(MemoryStorage::new());
    (Arc::clone(&storage), create_in(storage, quick()).await)
}

pub async fn reopen(storage: DynStorage) -> Repository {
    Repository::open(storage, &secret("fixture"), OpenOptions::default()).await.unwrap()
}

/// Reads and hashes everything; nothing may be wrong.
pub async fn check_whole(repository: &Repository) {
    let options = VerifyOptions { filter: EntryFilter::with_deleted(), read_percent: 100.0 };
    let problem = |event: VerifyEvent<'_>| {
        if let VerifyEvent::Problem { id, error } = event {
            panic!("{id}: {error}");
        }
    };
    repository.verify_contents(&options, problem).await.unwrap();
}

/// IDs that begin with `prefix`, sorted.
pub fn ids(storage: &MemoryStorage, prefix: &str) -> Vec<BlobId> {
    let mut ids = storage.ids();
    ids.retain(|id| id.starts_with(prefix));
    ids.sort();
    ids
}

/// A clock that stands still until it is moved, for `options`.
pub fn at(clock: &Arc<ManualClock>) -> OpenOptions {
    let env = Env { clock: clock.clone(), ..Env::default() };
    OpenOptions { env, ..OpenOptions::default() }
}

/// `length` bytes that are quickly made; different ones for each `seed`.
pub fn plain(seed: u8, length: usize) -> bytes::Bytes {
    vec![seed; length].into()
}

/// Changes a byte in the middle of every file of one kind in the cache of `folder`, and gives how
/// many there were.
pub fn damage_cached(folder: &Path, kind: &str) -> usize {
    let mut damaged = 0;
    for spread in std::fs::read_dir(folder.join("kopia-lite").join(kind)).unwrap() {
        for file in std::fs::read_dir(spread.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            let mut bytes = std::fs::read(&path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0x55;
            std::fs::write(&path, bytes).unwrap();
            damaged += 1;
        }
    }
    damaged
}
