//! At most so much a second: bytes, requests, and requests of a kind at once.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream, stream::BoxStream};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{
    Archive, BlobId, BlobMeta, BlobStorage, Clock, DynStorage, Layer, LockMode, Payload,
    PutAttributes, PutOptions, PutReceipt, ReadRange, ReadState, Result, Retain, SystemClock,
    ThawOutcome, ThawRequest, Timestamp, forward,
};

/// What a [`Throttle`] lets through; 0 = no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ThrottleLimits {
    /// Bytes read per second.
    pub download_bytes_per_second: f64,
    /// Bytes written per second.
    pub upload_bytes_per_second: f64,
    /// Gets, heads and questions for a blob's state per second.
    pub reads_per_second: f64,
    /// Puts, deletes, thaws and changes of class and of locks per second.
    pub writes_per_second: f64,
    /// Lists per second.
    pub lists_per_second: f64,
    /// Reads at once.
    pub reads_at_once: usize,
    /// Writes at once.
    pub writes_at_once: usize,
}

/// Slows calls down to [`ThrottleLimits`].
///
/// A call that asks for more than what is left of the running second is let through and leaves a
/// debt; the calls after it wait until that is paid. So one blob may be bigger than what a second
/// allows, and over a longer time the rate still holds. Bytes whose number is known before are paid
/// before; a read to the end of a blob pays when it has them.
///
/// Put it outside [`Limit`](super::Limit) and inside [`Retry`](super::Retry): a call that waits
/// here holds no place there, and every attempt pays.
#[derive(Debug, Clone)]
pub struct Throttle {
    limits: ThrottleLimits,
    clock: Arc<dyn Clock>,
}

impl Throttle {
    /// Slows down to `limits`.
    pub fn to(limits: ThrottleLimits) -> Self {
        Self { limits, clock: Arc::new(SystemClock) }
    }

    /// Counts seconds by another clock.
    #[must_use]
    pub fn clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }
}

impl Layer for Throttle {
    fn wrap(&self, inner: DynStorage) -> DynStorage {
        let bucket = |rate| Bucket::new(rate, self.clock.clone());
        let limits = &self.limits;
        Arc::new(ThrottleStorage {
            inner,
            download: bucket(limits.download_bytes_per_second),
            upload: bucket(limits.upload_bytes_per_second),
            reads: bucket(limits.reads_per_second),
            writes: bucket(limits.writes_per_second),
            lists: bucket(limits.lists_per_second),
            read_places: places(limits.reads_at_once),
            write_places: places(limits.writes_at_once),
        })
    }
}

fn places(count: usize) -> Option<Semaphore> {
    (count > 0).then(|| Semaphore::new(count.min(Semaphore::MAX_PERMITS)))
}

async fn place(places: Option<&Semaphore>) -> Option<SemaphorePermit<'_>> {
    match places {
        Some(places) => Some(places.acquire().await.expect("the semaphore is never closed")),
        None => None,
    }
}

/// Tokens that come in at a steady rate, at most those of one second kept; it may run into debt.
#[derive(Debug)]
struct Bucket {
    per_second: f64,
    level: Mutex<Level>,
    clock: Arc<dyn Clock>,
}

#[derive(Debug)]
struct Level {
    tokens: f64,
    at: Timestamp,
}

impl Bucket {
    fn new(per_second: f64, clock: Arc<dyn Clock>) -> Option<Self> {
        let is_limit = per_second > 0.0 && per_second.is_finite();
        let level = Mutex::new(Level { tokens: per_second, at: clock.now() });
        is_limit.then_some(Self { per_second, level, clock })
    }

    /// Takes `count` tokens, and gives how long to wait until what is there now would be enough.
    fn take(&self, count: f64) -> Duration {
        let mut level = self.level.lock().expect("no holder of this lock panics");
        let now = self.clock.now();
        let gained = now.since(level.at).as_secs_f64() * self.per_second;
        level.tokens = (level.tokens + gained).min(self.per_second);
        level.at = now;
        let debt = -level.tokens;
        level.tokens -= count;
        Duration::try_from_secs_f64(debt / self.per_second).unwrap_or_default()
    }
}

/// Takes `count` tokens of `bucket` and waits for debts of others.
async fn pay(bucket: Option<&Bucket>, count: f64) {
    let Some(bucket) = bucket else { return };
    let pause = bucket.take(count);
    if !pause.is_zero() {
        bucket.clock.sleep(pause).await;
    }
}

#[allow(clippy::cast_precision_loss)] // a blob is shorter than 2^52 bytes
async fn pay_bytes(bucket: Option<&Bucket>, count: u64) {
    pay(bucket, count as f64).await;
}

#[derive(Debug)]
struct ThrottleStorage {
    inner: DynStorage,
    download: Option<Bucket>,
    upload: Option<Bucket>,
    reads: Option<Bucket>,
    writes: Option<Bucket>,
    lists: Option<Bucket>,
    read_places: Option<Semaphore>,
    write_places: Option<Semaphore>,
}

impl ThrottleStorage {
    async fn read(&self) -> Option<SemaphorePermit<'_>> {
        pay(self.reads.as_ref(), 1.0).await;
        place(self.read_places.as_ref()).await
    }

    async fn write(&self) -> Option<SemaphorePermit<'_>> {
        pay(self.writes.as_ref(), 1.0).await;
        place(self.write_places.as_ref()).await
    }
}

#[async_trait]
impl BlobStorage for ThrottleStorage {
    async fn get(&self, id: &BlobId, range: ReadRange) -> Result<Bytes> {
        let _place = self.read().await;
        let known = match range {
            ReadRange::Bytes { length, .. } => length,
            ReadRange::Full | ReadRange::Suffix(_) => 0,
        };
        pay_bytes(self.download.as_ref(), known).await;
        let bytes = self.inner.get(id, range).await?;
        if known == 0 {
            pay_bytes(self.download.as_ref(), bytes.len() as u64).await;
        }
        Ok(bytes)
    }

    async fn head(&self, id: &BlobId) -> Result<BlobMeta> {
        let _place = self.read().await;
        self.inner.head(id).await
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<BlobMeta>> {
        if self.lists.is_none() {
            return self.inner.list(prefix);
        }
        let begin = async move {
            pay(self.lists.as_ref(), 1.0).await;
            self.inner.list(prefix)
        };
        stream::once(begin).flatten().boxed()
    }

    async fn put(&self, id: &BlobId, data: Payload, options: &PutOptions) -> Result<PutReceipt> {
        let _place = self.write().await;
        pay_bytes(self.upload.as_ref(), data.len()).await;
        self.inner.put(id, data, options).await
    }

    async fn delete(&self, id: &BlobId) -> Result<()> {
        let _place = self.write().await;
        self.inner.delete(id).await
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
impl Archive for ThrottleStorage {
    async fn thaw(&self, id: &BlobId, request: &ThawRequest) -> Result<ThawOutcome> {
        let _place = self.write().await;
        super::archive_of(&self.inner)?.thaw(id, request).await
    }

    async fn read_state(&self, id: &BlobId) -> Result<ReadState> {
        let _place = self.read().await;
        super::archive_of(&self.inner)?.read_state(id).await
    }

    async fn reclass(&self, id: &BlobId, to: &PutAttributes) -> Result<()> {
        let _place = self.write().await;
        super::archive_of(&self.inner)?.reclass(id, to).await
    }
}

#[async_trait]
impl Retain for ThrottleStorage {
    async fn extend_retention(&self, id: &BlobId, until: Timestamp, mode: LockMode) -> Result<()> {
        let _place = self.write().await;
        super::retain_of(&self.inner)?.extend_retention(id, until, mode).await
    }
}
