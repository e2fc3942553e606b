//! What a storage was asked for, counted.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream::BoxStream};

use crate::{
    Amount, Archive, BlobError, BlobId, BlobMeta, BlobStorage, DynStorage, Layer, LockMode,
    Payload, PutAttributes, PutOptions, PutReceipt, ReadRange, ReadState, Result, Retain,
    StorageClass, ThawOutcome, ThawRequest, Timestamp, Usage, forward,
};

/// Blobs on a page of a list, as S3 gives them.
const LIST_PAGE: u64 = 1_000;

/// A kind of call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// [`BlobStorage::get`], whole or a range.
    Get,
    /// [`BlobStorage::head`].
    Head,
    /// [`BlobStorage::list`]: counted once however many pages it takes.
    List,
    /// [`BlobStorage::put`].
    Put,
    /// [`BlobStorage::delete`].
    Delete,
    /// [`Archive::thaw`].
    Thaw,
    /// [`Archive::read_state`].
    ReadState,
    /// [`Archive::reclass`].
    Reclass,
    /// [`Retain::extend_retention`].
    ExtendRetention,
}

impl Operation {
    /// Its name in errors and logs: `get`, `list` …
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Head => "head",
            Self::List => "list",
            Self::Put => "put",
            Self::Delete => "delete",
            Self::Thaw => "thaw",
            Self::ReadState => "read_state",
            Self::Reclass => "reclass",
            Self::ExtendRetention => "extend_retention",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The kind of a blob as Kopia names its blobs (docs/format/01-blob-storage.md): `p`, `q`, `s`, `n`
/// are one letter, `xn`, `xe` … are two, `_log_` ends at its second underscore, `kopia.repository`
/// and its like stand for themselves. A list counts under the kind of its prefix.
///
/// ```
/// use blob_core::layers::kind;
/// assert_eq!(kind("p444534a7-s4aa2"), "p");
/// assert_eq!(kind("xe12"), "xe");
/// assert_eq!(kind("_log_20261124_1"), "_log_");
/// assert_eq!(kind("kopia.repository"), "kopia.repository");
/// ```
pub fn kind(id: &str) -> &str {
    let letters = |count| id.char_indices().nth(count).map_or(id, |(end, _)| &id[..end]);
    if id.starts_with("kopia.") {
        id
    } else if let Some(rest) = id.strip_prefix('_') {
        rest.find('_').map_or(id, |end| &id[..end + 2])
    } else if id.starts_with('x') {
        letters(2)
    } else {
        letters(1)
    }
}

/// How often something was asked for and what came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    /// Calls begun. With this layer inside [`Retry`](super::Retry), that is every attempt.
    pub attempts: u64,
    /// Calls that failed, whatever the reason.
    pub errors: u64,
    /// Bytes read or written by calls that succeeded.
    pub bytes: u64,
    /// Blobs that lists gave.
    pub listed: u64,
}

impl Count {
    fn add(&mut self, other: &Self) {
        self.attempts += other.attempts;
        self.errors += other.errors;
        self.bytes += other.bytes;
        self.listed += other.listed;
    }

    fn minus(&self, earlier: &Self) -> Self {
        Self {
            attempts: self.attempts.saturating_sub(earlier.attempts),
            errors: self.errors.saturating_sub(earlier.errors),
            bytes: self.bytes.saturating_sub(earlier.bytes),
            listed: self.listed.saturating_sub(earlier.listed),
        }
    }
}

/// All counts at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MetricsSnapshot {
    counts: BTreeMap<Operation, BTreeMap<String, Count>>,
}

impl MetricsSnapshot {
    /// The count of one operation on one [`kind`] of blob.
    pub fn of(&self, operation: Operation, kind: &str) -> Count {
        self.counts.get(&operation).and_then(|kinds| kinds.get(kind)).copied().unwrap_or_default()
    }

    /// The count of one operation on all kinds together.
    pub fn total(&self, operation: Operation) -> Count {
        let mut sum = Count::default();
        self.counts.get(&operation).into_iter().flat_map(BTreeMap::values).for_each(|c| sum.add(c));
        sum
    }

    /// Calls of all operations, begun and failed ones too.
    pub fn attempts(&self) -> u64 {
        self.iter().map(|(_, _, count)| count.attempts).sum()
    }

    /// Every count that is not zero, by operation, then by kind.
    pub fn iter(&self) -> impl Iterator<Item = (Operation, &str, Count)> {
        self.counts.iter().flat_map(|(operation, kinds)| {
            kinds.iter().map(move |(kind, count)| (*operation, kind.as_str(), *count))
        })
    }

    /// What was counted between `earlier` and now.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut counts: BTreeMap<Operation, BTreeMap<String, Count>> = BTreeMap::new();
        for (operation, kind, count) in self.iter() {
            let count = count.minus(&earlier.of(operation, kind));
            if count != Count::default() {
                counts.entry(operation).or_default().insert(kind.to_owned(), count);
            }
        }
        Self { counts }
    }
}

/// Counts calls, errors and bytes by operation and by [`kind`] of blob.
///
/// A clone is another handle of the same counts: keep one, give one to the stack.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// # use std::sync::Arc;
/// use blob_core::{layers::{Metrics, Operation}, *};
/// let metrics = Metrics::new();
/// let storage = StorageStack::over(Arc::new(MemoryStorage::new())).layer(metrics.clone()).build();
/// let id = BlobId::new("p1")?;
/// storage.put(&id, b"hello".as_slice().into(), &PutOptions::default()).await?;
/// assert_eq!(metrics.snapshot().of(Operation::Put, "p").bytes, 5);
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    counts: Arc<Mutex<MetricsSnapshot>>,
    bill: Arc<Mutex<Bill>>,
}

/// What is billed so far, and what is known of blobs to attribute it.
#[derive(Debug, Default)]
struct Bill {
    usage: Usage,
    /// Of the known blobs alone.
    expected: Usage,
    known: HashMap<String, (StorageClass, u64)>,
}

impl Bill {
    fn of(&self, id: &BlobId) -> (StorageClass, u64) {
        self.known.get(id.as_str()).cloned().unwrap_or((StorageClass::STANDARD, 0))
    }

    /// Notes something about a blob.
    fn note(&mut self, id: &BlobId, note: impl Fn(&mut Usage)) {
        note(&mut self.usage);
        if self.known.contains_key(id.as_str()) {
            note(&mut self.expected);
        }
    }
}

impl Metrics {
    /// Counts that are all zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// The counts now.
    pub fn snapshot(&self) -> MetricsSnapshot {
        self.counts.lock().expect("no holder of this lock panics").clone()
    }

    /// What is billed of it so far. Classes and lengths are those of [`Metrics::expect`].
    pub fn usage(&self) -> Usage {
        self.bill.lock().expect("no holder of this lock panics").usage.clone()
    }

    /// The same of the blobs of [`Metrics::expect`] alone.
    pub fn expected_usage(&self) -> Usage {
        self.bill.lock().expect("no holder of this lock panics").expected.clone()
    }

    /// Says what class and length blobs have, so that what is asked of them is counted under it.
    /// Takes some 150 bytes of memory each.
    pub fn expect<'a>(&self, blobs: impl IntoIterator<Item = (&'a str, StorageClass, u64)>) {
        let mut bill = self.bill.lock().expect("no holder of this lock panics");
        let known = blobs.into_iter().map(|(id, class, size)| (id.to_owned(), (class, size)));
        bill.known.extend(known);
    }

    fn bill(&self, note: impl FnOnce(&mut Bill)) {
        note(&mut self.bill.lock().expect("no holder of this lock panics"));
    }

    fn count(&self, operation: Operation, id: &str, by: Count) {
        let mut snapshot = self.counts.lock().expect("no holder of this lock panics");
        let kinds = snapshot.counts.entry(operation).or_default();
        match kinds.get_mut(kind(id)) {
            Some(count) => count.add(&by),
            None => _ = kinds.insert(kind(id).to_owned(), by),
        }
    }

    fn begun(&self, operation: Operation, id: &str) {
        self.count(operation, id, Count { attempts: 1, ..Count::default() });
    }

    /// Counts how a call ended, with the bytes that it moved.
    fn ended<T>(
        &self,
        operation: Operation,
        id: &BlobId,
        result: Result<T>,
        bytes: impl Fn(&T) -> u64,
    ) -> Result<T> {
        let by = match &result {
            Ok(value) => Count { bytes: bytes(value), ..Count::default() },
            Err(_) => Count { errors: 1, ..Count::default() },
        };
        self.count(operation, id.as_str(), by);
        result
    }
}

impl Layer for Metrics {
    fn wrap(&self, inner: DynStorage) -> DynStorage {
        Arc::new(MetricsStorage { inner, metrics: self.clone() })
    }
}

#[derive(Debug)]
struct MetricsStorage {
    inner: DynStorage,
    metrics: Metrics,
}

#[async_trait]
impl BlobStorage for MetricsStorage {
    async fn get(&self, id: &BlobId, range: ReadRange) -> Result<Bytes> {
        self.metrics.begun(Operation::Get, id.as_str());
        let result = self.inner.get(id, range).await;
        if let Some(bytes) = billed(&result, |bytes| bytes.len() as u64) {
            self.metrics.bill(|bill| {
                let (class, _) = bill.of(id);
                let one = Amount { count: 1, bytes };
                bill.note(id, |usage| usage.gets.entry(class.clone()).or_default().add(one));
            });
        }
        self.metrics.ended(Operation::Get, id, result, |bytes| bytes.len() as u64)
    }

    async fn head(&self, id: &BlobId) -> Result<BlobMeta> {
        self.metrics.begun(Operation::Head, id.as_str());
        let result = self.inner.head(id).await;
        if billed(&result, |_| 0).is_some() {
            self.metrics.bill(|bill| {
                let class = result.as_ref().ok().and_then(|meta| meta.class.clone());
                let class = class.unwrap_or_else(|| bill.of(id).0);
                bill.note(id, |usage| *usage.heads.entry(class.clone()).or_default() += 1);
            });
        }
        self.metrics.ended(Operation::Head, id, result, |_| 0)
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<BlobMeta>> {
        self.metrics.begun(Operation::List, prefix);
        let listed = self.inner.list(prefix);
        self.metrics.bill(|bill| bill.usage.lists += 1);
        let mut blobs = 0_u64;
        listed
            .inspect(move |item| {
                if item.is_ok() {
                    blobs += 1;
                    if blobs > LIST_PAGE && blobs % LIST_PAGE == 1 {
                        self.metrics.bill(|bill| bill.usage.lists += 1);
                    }
                }
                let by = match item {
                    Ok(_) => Count { listed: 1, ..Count::default() },
                    Err(_) => Count { errors: 1, ..Count::default() },
                };
                self.metrics.count(Operation::List, prefix, by);
            })
            .boxed()
    }

    async fn put(&self, id: &BlobId, data: Payload, options: &PutOptions) -> Result<PutReceipt> {
        self.metrics.begun(Operation::Put, id.as_str());
        let length = data.len();
        let result = self.inner.put(id, data, options).await;
        if let Some(bytes) = billed(&result, |_| length) {
            let class = options.attributes.class.clone().unwrap_or(StorageClass::STANDARD);
            self.metrics.bill(|bill| {
                bill.usage.puts.entry(class).or_default().add(Amount { count: 1, bytes });
            });
        }
        self.metrics.ended(Operation::Put, id, result, |_| length)
    }

    async fn delete(&self, id: &BlobId) -> Result<()> {
        self.metrics.begun(Operation::Delete, id.as_str());
        let result = self.inner.delete(id).await;
        self.metrics.ended(Operation::Delete, id, result, |()| 0)
    }

    fn archive(&self) -> Option<&dyn Archive> {
        self.inner.archive().map(|_| self as &dyn Archive)
    }

    fn retain(&self) -> Option<&dyn Retain> {
        self.inner.retain().map(|_| self as &dyn Retain)
    }

    forward!(inner: info, close; volume);
}

#[async_trait]
impl Archive for MetricsStorage {
    async fn thaw(&self, id: &BlobId, request: &ThawRequest) -> Result<ThawOutcome> {
        self.metrics.begun(Operation::Thaw, id.as_str());
        let result = super::archive_of(&self.inner)?.thaw(id, request).await;
        self.metrics.bill(|bill| {
            let (class, size) = bill.of(id);
            match result {
                Ok(ThawOutcome::Started) => bill.note(id, |u| u.thaw(&class, request, size)),
                Ok(ThawOutcome::Extended) => {
                    bill.note(id, |usage| usage.extension(&class, request, size));
                }
                _ => {}
            }
        });
        self.metrics.ended(Operation::Thaw, id, result, |_| 0)
    }

    async fn read_state(&self, id: &BlobId) -> Result<ReadState> {
        self.metrics.begun(Operation::ReadState, id.as_str());
        let result = super::archive_of(&self.inner)?.read_state(id).await;
        if billed(&result, |_| 0).is_some() {
            self.metrics.bill(|bill| {
                let (class, _) = bill.of(id);
                bill.note(id, |usage| *usage.heads.entry(class.clone()).or_default() += 1);
            });
        }
        self.metrics.ended(Operation::ReadState, id, result, |_| 0)
    }

    async fn reclass(&self, id: &BlobId, to: &PutAttributes) -> Result<()> {
        self.metrics.begun(Operation::Reclass, id.as_str());
        let result = super::archive_of(&self.inner)?.reclass(id, to).await;
        self.metrics.ended(Operation::Reclass, id, result, |()| 0)
    }
}

#[async_trait]
impl Retain for MetricsStorage {
    async fn extend_retention(&self, id: &BlobId, until: Timestamp, mode: LockMode) -> Result<()> {
        self.metrics.begun(Operation::ExtendRetention, id.as_str());
        let result = super::retain_of(&self.inner)?.extend_retention(id, until, mode).await;
        // Prices of PUTs are by class (https://aws.amazon.com/s3/pricing/). No page names this one,
        // so it is taken for one of the blob's class, which is the dearest that it can be.
        if billed(&result, |()| 0).is_some() {
            self.metrics.bill(|bill| {
                let (class, _) = bill.of(id);
                let one = Amount { count: 1, bytes: 0 };
                bill.note(id, |usage| usage.puts.entry(class.clone()).or_default().add(one));
            });
        }
        self.metrics.ended(Operation::ExtendRetention, id, result, |()| 0)
    }
}

/// The bytes of a request that is billed: one that was answered, with what was asked for or with the
/// refusal that the asker is to blame for. Failures of the storage and of the way there are not.
fn billed<T>(result: &Result<T>, bytes: impl Fn(&T) -> u64) -> Option<u64> {
    match result {
        Ok(value) => Some(bytes(value)),
        Err(
            BlobError::Archived { .. }
            | BlobError::Locked { .. }
            | BlobError::NotFound { .. }
            | BlobError::InvalidRange { .. },
        ) => Some(0),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MemoryStorage, StorageStack, Tier};

    #[tokio::test]
    async fn what_is_billed_is_counted_by_class() {
        let (metrics, memory) = (Metrics::new(), MemoryStorage::new());
        let storage = StorageStack::over(Arc::new(memory.clone())).layer(metrics.clone()).build();
        let id = BlobId::new("p1").unwrap();
        storage.put(&id, vec![7; 100].into(), &PutOptions::default()).await.unwrap();
        memory.set_class(&id, StorageClass::GLACIER);
        metrics.expect([("p1", StorageClass::GLACIER, 100)]);
        let refused = storage.get(&id, ReadRange::Full).await;
        assert!(matches!(refused, Err(BlobError::Archived { .. })));
        let request = ThawRequest { tier: Tier::Bulk, days: 2 };
        let archive = storage.archive().unwrap();
        assert_eq!(archive.thaw(&id, &request).await.unwrap(), ThawOutcome::Started);
        assert_eq!(archive.thaw(&id, &request).await.unwrap(), ThawOutcome::AlreadyRunning);
        storage.head(&id).await.unwrap();
        assert_eq!(storage.list("").count().await, 1);
        let usage = metrics.usage();
        let one = |bytes| Amount { count: 1, bytes };
        assert_eq!(usage.puts[&StorageClass::STANDARD], one(100));
        assert_eq!(usage.gets[&StorageClass::GLACIER], one(0), "a refusal is billed");
        assert_eq!(usage.heads[&StorageClass::GLACIER], 1);
        assert_eq!(usage.thaws[&(StorageClass::GLACIER, Tier::Bulk)], one(100));
        assert_eq!((usage.copy_byte_days, usage.lists), (300, 1));
    }
}
