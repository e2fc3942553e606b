//! A storage in memory: the reference of the promise, with storage classes and thaws.
//!
//! It behaves as S3 does where the two could differ, on a clock that a test can move: a blob of an
//! archive class is unreadable until it is thawed, and readable for some days after. A thaw takes the
//! longest time that is documented as typical for its tier; the source:
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/restoring-objects-retrieval-options.html>
//!
//! What it does not do: locks are remembered, can be extended ([`MemoryStorage::locked_until`]) and
//! are not enforced against puts and deletes, as in a bucket with versions, where a put makes a new
//! version and a delete hides the old ones.

mod retain;

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};

use crate::{
    Archive, BlobError, BlobId, BlobMeta, BlobStorage, Clock, LockMode, Payload, PutAttributes,
    PutOptions, PutReceipt, ReadRange, ReadState, Result, Retain, StorageClass, StorageInfo,
    SystemClock, ThawOutcome, ThawRequest, Tier, Timestamp, Volume,
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A storage in memory. A clone is another handle of the same storage.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// use blob_core::{BlobId, BlobStorage, MemoryStorage, PutOptions, ReadRange};
/// let storage = MemoryStorage::new();
/// let id = BlobId::new("p1")?;
/// storage.put(&id, b"hello".as_slice().into(), &PutOptions::default()).await?;
/// assert_eq!(storage.get(&id, ReadRange::Suffix(3)).await?, "llo");
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[derive(Debug, Clone)]
pub struct MemoryStorage {
    info: StorageInfo,
    clock: Arc<dyn Clock>,
    has_classes: bool,
    blobs: Arc<Mutex<BTreeMap<BlobId, Blob>>>,
}

#[derive(Debug, Clone)]
struct Blob {
    bytes: Bytes,
    modified: Timestamp,
    class: StorageClass,
    options: PutOptions,
    thaw: Option<Thaw>,
    lock: Option<(LockMode, Timestamp)>,
}

#[derive(Debug, Clone, Copy)]
struct Thaw {
    ready: Timestamp,
    until: Timestamp,
}

impl Default for MemoryStorage {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStorage {
    /// An empty storage on the machine's clock.
    pub fn new() -> Self {
        Self::with_clock(Arc::new(SystemClock))
    }

    /// An empty storage whose times and thaws go by `clock`.
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        let name = "Memory".to_owned();
        let info = StorageInfo { name, kind: "memory", concurrency: 64, read_only: false };
        Self { info, clock, has_classes: true, blobs: Arc::default() }
    }

    /// The same storage as one that knows no classes: it reports none and has neither a
    /// [`BlobStorage::archive`] nor a [`BlobStorage::retain`], as a folder.
    #[must_use]
    pub fn without_classes(mut self) -> Self {
        self.has_classes = false;
        self
    }

    /// What the blob was last written with, if it exists.
    pub fn attributes(&self, id: &BlobId) -> Option<PutAttributes> {
        self.put_options(id).map(|options| options.attributes)
    }

    /// How the blob was last written, if it exists.
    pub fn put_options(&self, id: &BlobId) -> Option<PutOptions> {
        self.blobs().get(id).map(|blob| blob.options.clone())
    }

    /// Moves the blob to another class behind the clients' backs, as a lifecycle rule does. Gives
    /// whether there is such a blob.
    pub fn set_class(&self, id: &BlobId, class: StorageClass) -> bool {
        self.blobs().get_mut(id).is_some_and(|blob| {
            blob.class = class;
            blob.thaw = None;
            true
        })
    }

    /// Changes the blob's bytes where they lie, for tests of damage; neither its time nor its class
    /// change. Gives whether there is such a blob.
    pub fn damage(&self, id: &BlobId, change: impl FnOnce(&mut Vec<u8>)) -> bool {
        self.blobs().get_mut(id).is_some_and(|blob| {
            let mut bytes = blob.bytes.to_vec();
            change(&mut bytes);
            blob.bytes = bytes.into();
            true
        })
    }

    /// All IDs in order.
    pub fn ids(&self) -> Vec<BlobId> {
        self.blobs().keys().cloned().collect()
    }

    /// How many blobs there are.
    pub fn len(&self) -> usize {
        self.blobs().len()
    }

    /// Is there no blob?
    pub fn is_empty(&self) -> bool {
        self.blobs().is_empty()
    }

    fn blobs(&self) -> MutexGuard<'_, BTreeMap<BlobId, Blob>> {
        self.blobs.lock().expect("no holder of this lock panics")
    }

    fn state_of(&self, blob: &Blob) -> ReadState {
        if !self.has_classes || !blob.class.is_archive() {
            return ReadState::Ready;
        }
        let now = self.clock.now();
        match blob.thaw {
            Some(thaw) if now < thaw.ready => ReadState::Thawing,
            Some(thaw) if now < thaw.until => ReadState::Thawed { until: Some(thaw.until) },
            _ => ReadState::Cold,
        }
    }

    fn meta_of(&self, id: &BlobId, blob: &Blob) -> BlobMeta {
        BlobMeta {
            id: id.clone(),
            size: blob.bytes.len() as u64,
            modified: blob.modified,
            class: self.has_classes.then(|| blob.class.clone()),
            state: self.has_classes.then(|| self.state_of(blob)),
            has_checksum: None,
        }
    }

    fn metas(&self, prefix: &str) -> Vec<BlobMeta> {
        let blobs = self.blobs();
        let from = BlobId::new(prefix).map_or(Bound::Unbounded, Bound::Included);
        let matching = blobs.range((from, Bound::Unbounded));
        let matching = matching.skip_while(|(id, _)| !id.starts_with(prefix));
        let matching = matching.take_while(|(id, _)| id.starts_with(prefix));
        matching.map(|(id, blob)| self.meta_of(id, blob)).collect()
    }
}

/// The bytes of `whole` that `range` means.
fn cut(id: &BlobId, whole: &Bytes, range: ReadRange) -> Result<Bytes> {
    let size = whole.len() as u64;
    let (from, to) = match range {
        ReadRange::Full => (0, size),
        ReadRange::Bytes { length: 0, .. } => (0, 0),
        ReadRange::Bytes { offset, length } => (offset, offset.saturating_add(length)),
        ReadRange::Suffix(length) => (size.saturating_sub(length), size),
    };
    if to > size {
        return Err(BlobError::InvalidRange { id: id.clone(), range, size: Some(size) });
    }
    // Both are at most `size`, which is a usize.
    Ok(whole.slice(from as usize..to as usize))
}

/// How long a thaw takes; `None` if the class has no such tier.
fn thaw_time(class: &StorageClass, tier: Tier) -> Option<Duration> {
    const HOUR: u64 = 60 * 60;
    let deep = *class == StorageClass::DEEP_ARCHIVE;
    let secs = match tier {
        Tier::Expedited if deep => return None,
        Tier::Expedited => 5 * 60,
        Tier::Standard if deep => 12 * HOUR,
        Tier::Standard => 5 * HOUR,
        Tier::Bulk if deep => 48 * HOUR,
        Tier::Bulk => 12 * HOUR,
    };
    Some(Duration::from_secs(secs))
}

#[async_trait]
impl BlobStorage for MemoryStorage {
    fn info(&self) -> &StorageInfo {
        &self.info
    }

    async fn get(&self, id: &BlobId, range: ReadRange) -> Result<Bytes> {
        let blobs = self.blobs();
        let blob = blobs.get(id).ok_or_else(|| BlobError::NotFound { id: id.clone() })?;
        let state = self.state_of(blob);
        if !state.is_readable() {
            let class = Some(blob.class.clone());
            return Err(BlobError::Archived { id: id.clone(), class, state });
        }
        cut(id, &blob.bytes, range)
    }

    async fn head(&self, id: &BlobId) -> Result<BlobMeta> {
        let blobs = self.blobs();
        let blob = blobs.get(id).ok_or_else(|| BlobError::NotFound { id: id.clone() })?;
        Ok(self.meta_of(id, blob))
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<BlobMeta>> {
        let metas = async move { stream::iter(self.metas(prefix)).map(Ok) };
        stream::once(metas).flatten().boxed()
    }

    async fn put(&self, id: &BlobId, data: Payload, options: &PutOptions) -> Result<PutReceipt> {
        if let Some(reason) = &options.attributes.refusal {
            let option = format!("an attribute of {id}");
            return Err(BlobError::InvalidOption { option, reason: reason.clone() });
        }
        let now = self.clock.now();
        let modified = options.modified.unwrap_or(now);
        let blob = Blob {
            bytes: data.to_bytes().map_err(|error| BlobError::unreadable(id, error))?,
            modified,
            class: options.attributes.class.clone().unwrap_or(StorageClass::STANDARD),
            options: options.clone(),
            thaw: None,
            lock: retain::lock_of(&options.attributes, now),
        };
        let mut blobs = self.blobs();
        if options.if_absent && blobs.contains_key(id) {
            return Err(BlobError::AlreadyExists { id: id.clone() });
        }
        blobs.insert(id.clone(), blob);
        Ok(PutReceipt { modified: Some(modified) })
    }

    async fn delete(&self, id: &BlobId) -> Result<()> {
        self.blobs().remove(id);
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }

    fn archive(&self) -> Option<&dyn Archive> {
        self.has_classes.then_some(self as &dyn Archive)
    }

    fn retain(&self) -> Option<&dyn Retain> {
        self.has_classes.then_some(self as &dyn Retain)
    }

    fn volume(&self) -> Option<&dyn Volume> {
        None
    }
}

#[async_trait]
impl Archive for MemoryStorage {
    async fn thaw(&self, id: &BlobId, request: &ThawRequest) -> Result<ThawOutcome> {
        let now = self.clock.now();
        let mut blobs = self.blobs();
        let blob = blobs.get_mut(id).ok_or_else(|| BlobError::NotFound { id: id.clone() })?;
        if request.days == 0 {
            let (option, reason) = ("days".to_owned(), "a copy is kept for at least 1 day".into());
            return Err(BlobError::InvalidOption { option, reason });
        }
        let kept = DAY * u32::from(request.days);
        match self.state_of(blob) {
            ReadState::Ready => Ok(ThawOutcome::NotCold),
            ReadState::Thawing => Ok(ThawOutcome::AlreadyRunning),
            ReadState::Thawed { .. } => {
                blob.thaw = Some(Thaw { ready: now, until: now.saturating_add(kept) });
                Ok(ThawOutcome::Extended)
            }
            ReadState::Cold => {
                let Some(time) = thaw_time(&blob.class, request.tier) else {
                    let option = format!("tier {}", request.tier);
                    let reason = format!("{} has no such tier", blob.class);
                    return Err(BlobError::InvalidOption { option, reason });
                };
                let ready = now.saturating_add(time);
                blob.thaw = Some(Thaw { ready, until: ready.saturating_add(kept) });
                Ok(ThawOutcome::Started)
            }
        }
    }

    async fn read_state(&self, id: &BlobId) -> Result<ReadState> {
        let blobs = self.blobs();
        let blob = blobs.get(id).ok_or_else(|| BlobError::NotFound { id: id.clone() })?;
        Ok(self.state_of(blob))
    }

    async fn reclass(&self, id: &BlobId, to: &PutAttributes) -> Result<()> {
        if let Some(reason) = &to.refusal {
            let option = format!("an attribute of {id}");
            return Err(BlobError::InvalidOption { option, reason: reason.clone() });
        }
        let now = self.clock.now();
        let mut blobs = self.blobs();
        let blob = blobs.get_mut(id).ok_or_else(|| BlobError::NotFound { id: id.clone() })?;
        let class = to.class.clone().unwrap_or_else(|| blob.class.clone());
        if class == blob.class && to.is_class_alone() {
            return Ok(());
        }
        let state = self.state_of(blob);
        if !state.is_readable() {
            let class = Some(blob.class.clone());
            return Err(BlobError::Archived { id: id.clone(), class, state });
        }
        blob.lock = retain::stricter(blob.lock, retain::lock_of(to, now));
        let had = std::mem::take(&mut blob.options.attributes);
        blob.options.attributes =
            PutAttributes { class: Some(class.clone()), ..to.clone().or(had) };
        (blob.class, blob.modified, blob.thaw) = (class, now, None);
        Ok(())
    }
}
