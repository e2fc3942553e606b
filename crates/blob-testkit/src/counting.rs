//! A storage that remembers what it was asked for.

use std::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use blob_core::{
    Archive, BlobError, BlobId, BlobMeta, BlobStorage, DynStorage, LockMode, Payload,
    PutAttributes, PutOptions, PutReceipt, ReadRange, ReadState, Result, Retain, ThawOutcome,
    ThawRequest, Timestamp, forward, layers::Operation,
};
use bytes::Bytes;
use futures::stream::BoxStream;

/// One call, as it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// What was asked for.
    pub op: Operation,
    /// The blob's ID; for a list, the prefix.
    pub id: String,
    /// Which bytes, for a get.
    pub range: Option<ReadRange>,
    /// How many bytes, for a put.
    pub length: Option<u64>,
    /// With which options, for a put and a change of class.
    pub options: Option<PutOptions>,
    /// Until when and how strictly, for a lock that is to be extended.
    pub retention: Option<(LockMode, Timestamp)>,
}

impl Call {
    fn new(op: Operation, id: &str) -> Self {
        let id = id.to_owned();
        Self { op, id, range: None, length: None, options: None, retention: None }
    }
}

/// Passes every call on and keeps a log of it.
///
/// ```
/// # blob_testkit::block_on(async {
/// use std::sync::Arc;
/// use blob_core::{BlobId, BlobStorage, MemoryStorage, ReadRange, layers::Operation};
/// use blob_testkit::CountingStorage;
/// let storage = CountingStorage::over(Arc::new(MemoryStorage::new()));
/// _ = storage.get(&BlobId::new("p1").unwrap(), ReadRange::Suffix(5)).await;
/// assert_eq!(storage.count(Operation::Get), 1);
/// assert_eq!(storage.calls()[0].range, Some(ReadRange::Suffix(5)));
/// # });
/// ```
#[derive(Debug)]
pub struct CountingStorage {
    inner: DynStorage,
    calls: Mutex<Vec<Call>>,
    closed: AtomicUsize,
    at_once: AtomicUsize,
    at_once_max: AtomicUsize,
}

impl CountingStorage {
    /// Watches `inner`.
    pub fn over(inner: DynStorage) -> Arc<Self> {
        Arc::new(Self {
            inner,
            calls: Mutex::default(),
            closed: AtomicUsize::new(0),
            at_once: AtomicUsize::new(0),
            at_once_max: AtomicUsize::new(0),
        })
    }

    /// All calls since the beginning or the last [`CountingStorage::clear`], in order of arrival.
    pub fn calls(&self) -> Vec<Call> {
        self.log().clone()
    }

    /// How many calls of one kind there were.
    pub fn count(&self, op: Operation) -> usize {
        self.log().iter().filter(|call| call.op == op).count()
    }

    /// How many calls of one kind on IDs that begin with `prefix` there were.
    pub fn count_of(&self, op: Operation, prefix: &str) -> usize {
        self.log().iter().filter(|call| call.op == op && call.id.starts_with(prefix)).count()
    }

    /// How many bytes were asked to be put.
    pub fn bytes_put(&self) -> u64 {
        self.log().iter().filter_map(|call| call.length).sum()
    }

    /// How often the storage was closed.
    pub fn closed(&self) -> usize {
        self.closed.load(Ordering::SeqCst)
    }

    /// The most calls that ran at the same time; lists do not count.
    pub fn at_once_max(&self) -> usize {
        self.at_once_max.load(Ordering::SeqCst)
    }

    /// Forgets all calls.
    pub fn clear(&self) {
        self.log().clear();
        self.at_once_max.store(0, Ordering::SeqCst);
    }

    fn log(&self) -> MutexGuard<'_, Vec<Call>> {
        self.calls.lock().expect("no holder of this lock panics")
    }

    fn note(&self, op: Operation, id: &str) {
        self.note_with(op, id, None);
    }

    fn note_with(&self, op: Operation, id: &str, options: Option<PutOptions>) {
        self.push(Call { options, ..Call::new(op, id) });
    }

    fn push(&self, call: Call) {
        self.log().push(call);
    }

    fn enter(&self) -> Inside<'_> {
        let now = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        self.at_once_max.fetch_max(now, Ordering::SeqCst);
        Inside(self)
    }

    fn archive_or_fail(&self) -> Result<&dyn Archive> {
        let storage = || self.inner.info().name.clone();
        self.inner
            .archive()
            .ok_or_else(|| BlobError::Unsupported { op: "thaw", storage: storage() })
    }

    fn retain_or_fail(&self) -> Result<&dyn Retain> {
        let storage = || self.inner.info().name.clone();
        let op = Operation::ExtendRetention.as_str();
        self.inner.retain().ok_or_else(|| BlobError::Unsupported { op, storage: storage() })
    }
}

/// A call that runs.
struct Inside<'a>(&'a CountingStorage);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.at_once.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl BlobStorage for CountingStorage {
    async fn get(&self, id: &BlobId, range: ReadRange) -> Result<Bytes> {
        self.push(Call { range: Some(range), ..Call::new(Operation::Get, id.as_str()) });
        let _inside = self.enter();
        self.inner.get(id, range).await
    }

    async fn head(&self, id: &BlobId) -> Result<BlobMeta> {
        self.note(Operation::Head, id.as_str());
        let _inside = self.enter();
        self.inner.head(id).await
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<BlobMeta>> {
        self.note(Operation::List, prefix);
        self.inner.list(prefix)
    }

    async fn put(&self, id: &BlobId, data: Payload, options: &PutOptions) -> Result<PutReceipt> {
        self.push(Call {
            length: Some(data.len()),
            options: Some(options.clone()),
            ..Call::new(Operation::Put, id.as_str())
        });
        let _inside = self.enter();
        self.inner.put(id, data, options).await
    }

    async fn delete(&self, id: &BlobId) -> Result<()> {
        self.note(Operation::Delete, id.as_str());
        let _inside = self.enter();
        self.inner.delete(id).await
    }

    async fn close(&self) -> Result<()> {
        self.closed.fetch_add(1, Ordering::SeqCst);
        self.inner.close().await
    }

    fn archive(&self) -> Option<&dyn Archive> {
        self.inner.archive().map(|_| self as &dyn Archive)
    }

    fn retain(&self) -> Option<&dyn Retain> {
        self.inner.retain().map(|_| self as &dyn Retain)
    }

    forward!(inner: info; volume);
}

#[async_trait]
impl Archive for CountingStorage {
    async fn thaw(&self, id: &BlobId, request: &ThawRequest) -> Result<ThawOutcome> {
        self.note(Operation::Thaw, id.as_str());
        let _inside = self.enter();
        self.archive_or_fail()?.thaw(id, request).await
    }

    async fn read_state(&self, id: &BlobId) -> Result<ReadState> {
        self.note(Operation::ReadState, id.as_str());
        let _inside = self.enter();
        self.archive_or_fail()?.read_state(id).await
    }

    async fn reclass(&self, id: &BlobId, to: &PutAttributes) -> Result<()> {
        let attributes = to.clone();
        let options = Some(PutOptions { attributes, ..PutOptions::default() });
        self.note_with(Operation::Reclass, id.as_str(), options);
        let _inside = self.enter();
        self.archive_or_fail()?.reclass(id, to).await
    }
}

#[async_trait]
impl Retain for CountingStorage {
    async fn extend_retention(&self, id: &BlobId, until: Timestamp, mode: LockMode) -> Result<()> {
        let call = Call::new(Operation::ExtendRetention, id.as_str());
        self.push(Call { retention: Some((mode, until)), ..call });
        let _inside = self.enter();
        self.retain_or_fail()?.extend_retention(id, until, mode).await
    }
}
