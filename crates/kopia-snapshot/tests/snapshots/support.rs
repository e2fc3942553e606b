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

use blob_core::{BlobId, BlobStorage, DynStorage, MemoryStorage, PutOptions, ReadRange};
use blob_testkit::CountingStorage;
use bytes::Bytes;
use fs_backend::{FilesystemOptions, FilesystemStorage};
use kopia_fixtures::Unpacked;
use kopia_format::{
    ObjectId,
    directory::{DirEntry, Directory},
    snapshot::{SnapshotManifest, Source},
};
use kopia_repo::{CacheOptions, CreateOptions, Env, OpenOptions, RepoError, Repository};
use kopia_snapshot::{
    create::{CreateRequest, Created, Input, create},
    manifests,
    restore::{self, RestoreOptions, RestorePlan, RestoreReport},
    tree::read_directory,
    upload::{self, UploadEvent, UploadOptions, UploadSink},
};
use sha2::{Digest, Sha256};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

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

/// A repository in memory, new, whose parts a test can look at.
pub struct Memory {
    /// Where the blobs are.
    pub blobs: MemoryStorage,
    /// What was asked of them.
    pub calls: Arc<CountingStorage>,
    /// The repository over both.
    pub repo: Repository,
}

/// The password of repositories in memory.
pub const PASSWORD: &str = "memory";

impl Memory {
    /// A repository with everything as Kopia has it by default.
    pub async fn new() -> Self {
        Self::with_env(Env::default()).await
    }

    /// A repository that goes by `env`.
    pub async fn with_env(env: Env) -> Self {
        let blobs = template().await;
        let calls = CountingStorage::over(Arc::new(blobs.clone()));
        let options = OpenOptions { threads: 2, env, ..OpenOptions::default() };
        let repo = Repository::open(calls.clone(), &PASSWORD.to_owned().into(), options).await;
        Self { blobs, calls, repo: repo.unwrap() }
    }

    /// The same blobs, opened again: what another client sees.
    pub async fn reopened(&self) -> Self {
        Self::over(self.blobs.clone()).await
    }

    /// The same blobs, opened again with a cache in the folder `directory`.
    pub async fn caching(&self, directory: &Path) -> Self {
        let cache = CacheOptions {
            directory: directory.to_owned(),
            content_bytes_max: 64 << 20,
            metadata_bytes_max: 64 << 20,
        };
        let (blobs, calls) = (self.blobs.clone(), self.calls.clone());
        let options = OpenOptions { cache: Some(cache), threads: 2, ..OpenOptions::default() };
        let repo = Repository::open(calls.clone(), &PASSWORD.to_owned().into(), options).await;
        Self { blobs, calls, repo: repo.unwrap() }
    }

    /// What lies in `blobs`.
    pub async fn over(blobs: MemoryStorage) -> Self {
        let calls = CountingStorage::over(Arc::new(blobs.clone()));
        let repo = open_storage(calls.clone(), PASSWORD).await.unwrap();
        Self { blobs, calls, repo }
    }

    /// Takes a snapshot of `folder` and makes it visible.
    pub async fn snapshot(&self, folder: &Path) -> Created {
        self.create(request(folder)).await.unwrap()
    }

    /// Takes a snapshot and makes it visible.
    pub async fn create(&self, request: CreateRequest) -> kopia_snapshot::Result<Created> {
        let writer = self.repo.writer().unwrap();
        let created = create(&writer, request).await?;
        writer.flush().await?;
        Ok(created)
    }

    /// Restores a root entry to `target`.
    pub async fn restore(
        &self,
        root: &DirEntry,
        target: &Path,
        options: &RestoreOptions,
    ) -> kopia_snapshot::Result<RestoreReport> {
        let plan = RestorePlan::of(&self.repo, root, Some(target), options).await?;
        let (sink, stop) = (Arc::new(restore::Silent), CancellationToken::new());
        plan.run(&self.repo, target, options, sink, &stop).await
    }

    /// The snapshots, oldest first.
    pub async fn snapshots(&self) -> Vec<SnapshotManifest> {
        manifests::find(&self.repo, &[]).await.unwrap()
    }

    /// The directory object `id`.
    pub async fn directory(&self, id: ObjectId) -> Directory {
        read_directory(&self.repo, &id).await.unwrap()
    }
}

/// A copy of a repository that is made once: deriving its key takes a while.
async fn template() -> MemoryStorage {
    static BLOBS: OnceCell<Vec<(BlobId, Bytes)>> = OnceCell::const_new();
    let make = async || {
        let storage = MemoryStorage::new();
        // Half the time of the usual one; these tests open a repository hundreds of times.
        let key_derivation = "pbkdf2-sha256-600000".to_owned();
        let options = CreateOptions { key_derivation, ..CreateOptions::default() };
        let password = PASSWORD.to_owned().into();
        Repository::create(Arc::new(storage.clone()), &password, options).await.unwrap();
        let mut blobs = Vec::new();
        for id in storage.ids() {
            blobs.push((id.clone(), storage.get(&id, ReadRange::Full).await.unwrap()));
        }
        blobs
    };
    copy_of(BLOBS.get_or_init(make).await).await
}

async fn copy_of(blobs: &[(BlobId, Bytes)]) -> MemoryStorage {
    let copy = MemoryStorage::new();
    for (id, bytes) in blobs {
        copy.put(id, bytes.clone().into(), &PutOptions::default()).await.unwrap();
    }
    copy
}

/// A storage with the same blobs, which then goes its own way.
pub async fn copy(storage: &MemoryStorage) -> MemoryStorage {
    let mut blobs = Vec::new();
    for id in storage.ids() {
        blobs.push((id.clone(), storage.get(&id, ReadRange::Full).await.unwrap()));
    }
    copy_of(&blobs).await
}

/// A snapshot of `folder` by `user@host`, with nothing special.
pub fn request(folder: &Path) -> CreateRequest {
    CreateRequest {
        source: source(folder),
        input: Input::Local(folder.to_owned()),
        description: String::new(),
        tags: BTreeMap::new(),
        pins: Vec::new(),
        times: (None, None),
        options: UploadOptions::default(),
        sink: Arc::new(upload::Silent),
        stop: CancellationToken::new(),
    }
}

/// The source that stands for `folder`.
pub fn source(folder: &Path) -> Source {
    Source::new("host", "user", folder.to_str().unwrap())
}

/// Remembers what an upload told.
#[derive(Default)]
pub struct Heard(Mutex<Vec<String>>);

impl Heard {
    /// The paths of all events of one kind, sorted: `hashing`, `cached`, `failed`, `checkpointed`.
    pub fn of(&self, kind: &str) -> Vec<String> {
        let all = self.0.lock().unwrap();
        let of_kind = all.iter().filter_map(|event| event.strip_prefix(kind)?.strip_prefix(' '));
        let mut paths: Vec<_> = of_kind.map(str::to_owned).collect();
        paths.sort();
        paths
    }
}

impl UploadSink for Heard {
    fn event(&self, event: UploadEvent<'_>) {
        let line = match event {
            UploadEvent::Hashing { path, .. } => format!("hashing {path}"),
            UploadEvent::Cached { path, .. } => format!("cached {path}"),
            UploadEvent::Failed { path, error, .. } => format!("failed {path}: {error}"),
            UploadEvent::Excluded { path, .. } => format!("excluded {path}"),
            UploadEvent::Checkpointed => "checkpointed ".to_owned(),
            _ => return,
        };
        self.0.lock().unwrap().push(line);
    }
}

/// Writes a file with all folders above it.
pub fn write(path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) {
    std::fs::create_dir_all(path.as_ref().parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// Bytes that don't compress and depend on `seed` alone.
pub fn noise(seed: u32, length: usize) -> Vec<u8> {
    kopia_fixtures::spec_bytes(&format!("ctr:{seed}:{length}"))
}

/// A small tree with a bit of everything.
pub fn plant(root: &Path) {
    write(root.join("a.txt"), "hello");
    write(root.join("empty"), "");
    write(root.join("sub/b.bin"), noise(1, 70_000));
    write(root.join("sub/deeper/c.txt"), "hello again");
    write(root.join("big"), noise(2, 5 << 20));
    std::fs::create_dir(root.join("hollow")).unwrap();
    std::os::unix::fs::symlink("sub/b.bin", root.join("link")).unwrap();
}

/// Runs `test` where the system refuses what it refuses to an ordinary user, also if the tests run
/// as root.
pub fn as_an_ordinary_user(test: impl AsyncFnOnce() + Send) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .on_thread_start(drop_rights)
        .build()
        .unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            drop_rights();
            runtime.block_on(test());
        });
    });
}

/// Of this thread alone.
fn drop_rights() {
    if is_root() {
        let (user, group) = (rustix::fs::Uid::from_raw(65534), rustix::fs::Gid::from_raw(65534));
        rustix::thread::set_thread_res_gid(group, group, group).unwrap();
        rustix::thread::set_thread_res_uid(user, user, user).unwrap();
    }
}
