//! A folder as a blob storage.

use std::{
    fmt,
    io::{ErrorKind, Read},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::SystemTime,
};

use async_trait::async_trait;
use blob_core::{
    Archive, BlobError, BlobId, BlobMeta, BlobStorage, Entropy, OsEntropy, Payload, PutAttributes,
    PutOptions, PutReceipt, ReadRange, Result, Retain, StorageInfo, Volume, VolumeCapacity,
};
use bytes::Bytes;
use fs_err as fs;
use futures::stream::BoxStream;

use crate::{
    FilesystemOptions, Shards, disk,
    error::{from_io, is_absent},
    list::{list, meta_of, modified},
    lost::{self, Told},
    shards::FILE,
    write::{DurableFolders, Place, Writer, create_root},
};

/// What Kopia cuts IDs by in a folder that it makes.
const SHARDS_OF_NEW: [u32; 2] = [1, 3];

/// What Kopia cuts IDs by in a folder that has no `.shards` yet: one of its first versions made it.
const SHARDS_OF_OLD: [u32; 2] = [3, 3];

/// How many requests at once a disk handles well.
const CONCURRENCY: usize = 16;

/// Blobs in a folder, in Kopia's layout. A clone is another handle of the same storage.
///
/// Of a put's attributes, an object lock and a legal hold are refused, as by Kopia; a class, tags,
/// encryption and the like are what a folder has not, and are passed over: a policy made for S3
/// does no harm here.
///
/// File access runs on tokio's blocking threads.
#[derive(Debug, Clone)]
pub struct FilesystemStorage {
    info: StorageInfo,
    folder: Arc<Folder>,
}

/// What Kopia calls the folder `path` to people.
pub(crate) fn display_name(path: &Path) -> String {
    format!("Filesystem: {}", path.display())
}

impl FilesystemStorage {
    /// Opens a folder that is there.
    ///
    /// # Errors
    /// [`BlobError::NoStorage`] if it is not there or not a folder, [`BlobError::AccessDenied`].
    pub async fn open(options: FilesystemOptions) -> Result<Self> {
        let shards = options.dir_shards.clone().unwrap_or(SHARDS_OF_OLD.into());
        Self::new(options, shards).await
    }

    /// Opens a folder, which is made with all above it if it is not there.
    ///
    /// `shards` says how IDs are cut: `Some(vec![])` for a flat folder, `Some(vec![3, 3])` for a
    /// repository of format version 1, `None` for what the options say or else Kopia's `[1, 3]`. A
    /// `.shards` in the folder wins over all of them.
    ///
    /// # Errors
    /// As [`FilesystemStorage::open`].
    pub async fn create(options: FilesystemOptions, shards: Option<Vec<u32>>) -> Result<Self> {
        let dir_shards = shards.or(options.dir_shards.clone());
        let options = FilesystemOptions { dir_shards: dir_shards.clone(), ..options };
        let (path, mode) = (options.path.clone(), options.dir_permissions());
        unblock(move || create_root(&path, mode))
            .await?
            .map_err(|error| from_io("create", None, error))?;
        Self::new(options, dir_shards.unwrap_or(SHARDS_OF_NEW.into())).await
    }

    async fn new(options: FilesystemOptions, shards: Vec<u32>) -> Result<Self> {
        let name = display_name(&options.path);
        let info =
            StorageInfo { name, kind: "filesystem", concurrency: CONCURRENCY, read_only: false };
        let fallback = Shards::with_default(shards);
        let entropy = Arc::new(OsEntropy);
        let folder = Folder {
            options,
            fallback,
            entropy,
            shards: Mutex::new(None),
            durable: Mutex::default(),
        };
        let storage = Self { info, folder: Arc::new(folder) };
        storage.on_disk(|folder| folder.check()).await?;
        Ok(storage)
    }

    /// The options that the storage was opened with, for a connection file.
    pub fn options(&self) -> &FilesystemOptions {
        &self.folder.options
    }

    /// The rules by which IDs become paths; reads `.shards`, and writes it where it is missing.
    ///
    /// # Errors
    /// What any call may give.
    pub async fn shards(&self) -> Result<Shards> {
        self.on_disk(|folder| folder.shards("open").map(|shards| (*shards).clone())).await
    }

    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Folder) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let folder = self.folder.clone();
        unblock(move || work(&folder)).await?
    }
}

/// Runs `work` where it may block. It runs to its end even if nobody waits for it any more, so that
/// nothing is left half done.
async fn unblock<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => Ok(value),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => {
                Err(BlobError::Other { op: "a file operation", id: None, source: error.into() })
            }
        },
    }
}

#[async_trait]
impl BlobStorage for FilesystemStorage {
    fn info(&self) -> &StorageInfo {
        &self.info
    }

    async fn get(&self, id: &BlobId, range: ReadRange) -> Result<Bytes> {
        let id = id.clone();
        self.on_disk(move |folder| folder.read(&id, range)).await
    }

    async fn head(&self, id: &BlobId) -> Result<BlobMeta> {
        let id = id.clone();
        self.on_disk(move |folder| {
            let path = folder.path_of("head", &id)?;
            let meta = fs::metadata(path).map_err(|error| folder.failed("head", &id, error))?;
            if !meta.is_file() {
                return Err(BlobError::NotFound { id });
            }
            Ok(meta_of(id, &meta))
        })
        .await
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<BlobMeta>> {
        let options = &self.folder.options;
        list(options.path.clone(), prefix, options.list_parallelism)
    }

    async fn put(&self, id: &BlobId, data: Payload, options: &PutOptions) -> Result<PutReceipt> {
        accept(&options.attributes)?;
        let place = if options.if_absent { Place::Free } else { Place::Any };
        let (id, modified) = (id.clone(), options.modified.map(Into::into));
        self.on_disk(move |folder| folder.write(&id, &data, modified, place)).await
    }

    async fn delete(&self, id: &BlobId) -> Result<()> {
        let id = id.clone();
        self.on_disk(move |folder| {
            let path = folder.path_of("delete", &id)?;
            match disk::remove(&path).map_err(|error| folder.failed("delete", &id, error)) {
                Err(BlobError::NotFound { .. }) => Ok(()),
                removed => removed,
            }
        })
        .await
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }

    fn archive(&self) -> Option<&dyn Archive> {
        None
    }

    fn retain(&self) -> Option<&dyn Retain> {
        None // a folder has no locks, and a put that asks for one is refused
    }

    fn volume(&self) -> Option<&dyn Volume> {
        Some(self)
    }
}

#[async_trait]
impl Volume for FilesystemStorage {
    async fn capacity(&self) -> Result<VolumeCapacity> {
        self.on_disk(|folder| {
            let disk = rustix::fs::statvfs(&folder.options.path)
                .map_err(|error| folder.failed_root("capacity", error.into()))?;
            let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
            Ok(VolumeCapacity { capacity: bytes(disk.f_blocks), available: bytes(disk.f_bavail) })
        })
        .await
    }
}

/// Refuses what a folder must not silently leave undone.
fn accept(attributes: &PutAttributes) -> Result<()> {
    let refused = |option: &str, reason: &str| {
        Err(BlobError::InvalidOption { option: option.to_owned(), reason: reason.to_owned() })
    };
    match attributes {
        PutAttributes { refusal: Some(reason), .. } => refused("an attribute", reason),
        PutAttributes { lock: Some(_), .. } => refused("object lock", "a folder has no locks"),
        PutAttributes { legal_hold: Some(true), .. } => {
            refused("legal hold", "a folder has no locks")
        }
        _ => Ok(()),
    }
}

/// The folder, for the threads that may block.
struct Folder {
    options: FilesystemOptions,
    /// The rules if there is no `.shards`.
    fallback: Shards,
    entropy: Arc<dyn Entropy>,
    /// The rules, once they were read. A `.shards` that can't be read is tried again each time.
    shards: Mutex<Option<Arc<Shards>>>,
    durable: DurableFolders,
}

impl fmt::Debug for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.options.path.fmt(f)
    }
}

impl Folder {
    fn check(&self) -> Result<()> {
        let path = &self.options.path;
        let meta = fs::metadata(path).map_err(|error| self.failed_root("open", error))?;
        if meta.is_dir() {
            return Ok(());
        }
        let reason = "it is not a folder".to_owned();
        Err(BlobError::NoStorage { storage: display_name(path), reason })
    }

    fn shards(&self, op: &'static str) -> Result<Arc<Shards>> {
        let mut known = self.shards.lock().expect("no holder of this lock panics");
        if let Some(shards) = &*known {
            return Ok(shards.clone());
        }
        let path = self.options.path.join(FILE);
        let shards = match self.read_shards(op, &path)? {
            Some(shards) => shards,
            None => {
                self.check()?;
                let (shards, is_empty) = self.missing_shards(op, &path)?;
                // An empty folder that is only looked at stays as it is.
                if is_empty && ["get", "head", "delete"].contains(&op) {
                    return Ok(Arc::new(shards));
                }
                self.write_shards(op, &path, shards)?
            }
        };
        Ok(known.insert(Arc::new(shards)).clone())
    }

    /// `None` if there is no such file.
    fn read_shards(&self, op: &'static str, path: &Path) -> Result<Option<Shards>> {
        let bytes = match fs::read(path) {
            Err(error) if is_absent(&error) => return Ok(None),
            bytes => bytes.map_err(|error| from_io(op, None, error))?,
        };
        Shards::parse(&bytes).map(Some).map_err(|error| {
            let source = format!("{}: {error}", path.display()).into();
            BlobError::Other { op, id: None, source }
        })
    }

    /// As with Kopia, a reader of blobs writes the file too, and it is no error if that fails. Where somebody
    /// else was faster, his counts.
    fn write_shards(&self, op: &'static str, path: &Path, shards: Shards) -> Result<Shards> {
        let payload = Payload::from(shards.to_bytes());
        let written = self.writer().write(path, &payload, None, Place::Free);
        let there = written.is_err_and(|error| error.kind() == ErrorKind::AlreadyExists);
        let theirs = if there { self.read_shards(op, path)? } else { None };
        Ok(theirs.unwrap_or(shards))
    }

    /// The rules of a folder without the file: those by which its blobs lie. Also says whether there
    /// are none.
    fn missing_shards(&self, op: &'static str, path: &Path) -> Result<(Shards, bool)> {
        let told = lost::cuts_below(&self.options.path);
        match told.map_err(|error| from_io(op, None, error))? {
            Told::Nothing => Ok((self.fallback.clone(), true)),
            Told::Cuts(cuts) => {
                let told = Shards::with_default(cuts);
                if told != self.fallback {
                    tracing::warn!(file = %path.display(), "it is missing; the blobs tell the rules");
                }
                Ok((told, false))
            }
            Told::Several(one, other) => {
                let source = format!(
                    "{} is missing, and blobs lie by different rules ({one} and {other}), so \
                     nothing tells where others are; put the file back",
                    path.display()
                );
                Err(BlobError::Other { op, id: None, source: source.into() })
            }
        }
    }

    fn path_of(&self, op: &'static str, id: &BlobId) -> Result<PathBuf> {
        let path = self.shards(op)?.path_of(id).map_err(|reason| {
            let option = format!("the ID {id}");
            BlobError::InvalidOption { option, reason }
        })?;
        Ok(self.options.path.join(path))
    }

    fn writer(&self) -> Writer<'_> {
        let Self { options, entropy, durable, .. } = self;
        Writer { root: &options.path, options, entropy: &**entropy, durable }
    }

    fn write(
        &self,
        id: &BlobId,
        data: &Payload,
        told: Option<SystemTime>,
        place: Place,
    ) -> Result<PutReceipt> {
        let path = self.path_of("put", id)?;
        match self.writer().write(&path, data, told, place) {
            Ok(meta) => Ok(PutReceipt { modified: Some(modified(&meta)) }),
            Err(error) if place == Place::Free && error.kind() == ErrorKind::AlreadyExists => {
                Err(BlobError::AlreadyExists { id: id.clone() })
            }
            Err(error) => {
                if is_absent(&error) {
                    self.check()?;
                }
                Err(from_io("put", Some(id), error))
            }
        }
    }

    fn read(&self, id: &BlobId, range: ReadRange) -> Result<Bytes> {
        let path = self.path_of("get", id)?;
        let mut file = fs::File::open(path).map_err(|error| self.failed("get", id, error))?;
        let meta = file.metadata().map_err(|error| from_io("get", Some(id), error))?;
        if !meta.is_file() {
            return Err(BlobError::NotFound { id: id.clone() });
        }
        let size = meta.len();
        let beyond = || BlobError::InvalidRange { id: id.clone(), range, size: Some(size) };
        let (offset, length) = match range {
            ReadRange::Full => (0, size),
            ReadRange::Bytes { length: 0, .. } => (0, 0),
            ReadRange::Bytes { offset, length } => (offset, length),
            ReadRange::Suffix(length) => (size.saturating_sub(length), length.min(size)),
        };
        if offset.checked_add(length).is_none_or(|end| end > size) {
            return Err(beyond());
        }
        let capacity = usize::try_from(length).map_err(|_| beyond())?;
        if range == ReadRange::Full {
            let mut bytes = Vec::with_capacity(capacity);
            let read = file.read_to_end(&mut bytes);
            read.map_err(|error| from_io("get", Some(id), error))?;
            return Ok(bytes.into());
        }
        let mut bytes = vec![0; capacity];
        match file.file().read_exact_at(&mut bytes, offset) {
            Ok(()) => Ok(bytes.into()),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Err(beyond()),
            Err(error) => Err(from_io("get", Some(id), error)),
        }
    }

    /// The error of an operation on the blob's own file: if that is missing, is it the blob or the
    /// whole folder?
    fn failed(&self, op: &'static str, id: &BlobId, error: std::io::Error) -> BlobError {
        if !is_absent(&error) {
            return from_io(op, Some(id), error);
        }
        match self.check() {
            Ok(()) => BlobError::NotFound { id: id.clone() },
            Err(error) => error,
        }
    }

    fn failed_root(&self, op: &'static str, error: std::io::Error) -> BlobError {
        if !is_absent(&error) {
            return from_io(op, None, error);
        }
        let storage = display_name(&self.options.path);
        BlobError::NoStorage { storage, reason: error.to_string() }
    }
}
