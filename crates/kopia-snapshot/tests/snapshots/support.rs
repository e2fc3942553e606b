//! What the tests share: opening repositories, reading local trees, running many things at once.

use std::{
    collections::BTreeMap,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use blob_core::DynStorage;
use fs_backend::{FilesystemOptions, FilesystemStorage};
use kopia_fixtures::Unpacked;
use kopia_repo::{OpenOptions, RepoError, Repository};
use sha2::{Digest, Sha256};

/// Opens a fixture.
pub async fn open(unpacked: &Unpacked) -> Result<Repository, RepoError> {
    let options = FilesystemOptions::at(unpacked.path());
    let storage: DynStorage = Arc::new(FilesystemStorage::open(options).await?);
    open_storage(storage, unpacked.password()).await
}

/// Opens what a storage holds, as the fixtures' client, on few threads.
pub async fn open_storage(storage: DynStorage, password: &str) -> Result<Repository, RepoError> {
    let options = OpenOptions { threads: 1, ..OpenOptions::default() };
    Repository::open(storage, &password.to_owned().into(), options).await
}

/// Does `work` for every item, a few at once, each with a runtime of its own. What `work` complains
/// of is collected, so that one run shows everything.
pub fn for_each<T: Sync>(items: &[T], work: impl AsyncFn(&T) -> Vec<String> + Sync) {
    let (next, complaints) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let one = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            let found = runtime.block_on(work(item));
            complaints.lock().unwrap().extend(found);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(one);
        }
    });
    let complaints = complaints.into_inner().unwrap();
    assert!(complaints.is_empty(), "{} complaints:\n{}", complaints.len(), complaints.join("\n"));
}

/// Is this a process that may set owners?
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// One entry of a local tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// `file`, `dir`, `symlink` or `other`.
    pub kind: &'static str,
    /// Permission and special bits, as the system has them.
    pub mode: u32,
    /// Nanoseconds since 1970.
    pub mtime: i64,
    /// Bytes of a file.
    pub size: u64,
    /// Owner and group.
    pub owner: (u32, u32),
    /// SHA-256 of a file's bytes; a link's target.
    pub content: String,
}

/// The entry at `path`.
pub fn found(path: &Path) -> Found {
    let metadata = std::fs::symlink_metadata(path).unwrap();
    let (kind, content) = if metadata.is_file() {
        ("file", sha256(&std::fs::read(path).unwrap()))
    } else if metadata.is_dir() {
        ("dir", String::new())
    } else if metadata.is_symlink() {
        let target = std::fs::read_link(path).unwrap();
        ("symlink", String::from_utf8_lossy(target.as_os_str().as_bytes()).into_owned())
    } else {
        ("other", String::new())
    };
    Found {
        kind,
        mode: metadata.mode() & 0o7777,
        mtime: metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec(),
        size: if kind == "file" { metadata.len() } else { 0 },
        owner: (metadata.uid(), metadata.gid()),
        content,
    }
}

/// Every entry below `root` (not `root` itself), by its path from there.
pub fn tree(root: &Path) -> BTreeMap<String, Found> {
    let mut all = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let found = found(&path);
            if found.kind == "dir" {
                folders.push(path.clone());
            }
            let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
            all.insert(name, found);
        }
    }
    all
}

/// SHA-256 in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
