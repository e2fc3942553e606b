//! Calls that failed for a passing reason are made again.
//!
//! Pauses grow and are drawn at random from zero to their full length ("full jitter",
//! <https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>), so that clients
//! that failed together don't come back together. All calls of a storage share a budget of retries
//! that successes refill: when most calls fail for long, calls soon fail at once, and a storm ends.
//! What is worth another try is the error's own word, [`BlobError::retry`]. A storage that was only
//! just named can be given up early, for its address may be wrong: [`Retry::first_contact`].

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};

use crate::{
    Archive, BlobError, BlobId, BlobMeta, BlobStorage, Clock, DynStorage, Entropy, Layer, LockMode,
    OsEntropy, Payload, PutAttributes, PutOptions, PutReceipt, ReadRange, ReadState, Result,
    Retain, Retry as Advice, SystemClock, ThawOutcome, ThawRequest, Timestamp, forward,
};

/// After so many failures a call that goes on is worth a warning.
const FAILURES_LOUD: u32 = 5;

/// Repeats calls that failed for a passing reason.
///
/// A list that fails half way begins anew and leaves out what it gave already. A put that had to be
/// new (`if_absent`) and finds its blob there after a lost answer looks whether it is its own, byte
/// for byte (by length alone where the blob is archived): then the first attempt had succeeded.
///
/// ```
/// use std::{sync::Arc, time::Duration};
/// use blob_core::{MemoryStorage, StorageStack, layers::{Limit, Retry}};
/// let storage = StorageStack::over(Arc::new(MemoryStorage::new()))
///     .layer(Limit::requests(16))
///     .layer(Retry::new().attempts(5).pauses(Duration::from_millis(50), Duration::from_secs(10)))
///     .build();
/// # let _ = storage;
/// ```
#[derive(Debug, Clone)]
pub struct Retry {
    attempts: u32,
    first_contact: u32,
    pause_first: Duration,
    pause_max: Duration,
    patience: Duration,
    budget: u32,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Default for Retry {
    fn default() -> Self {
        Self::new()
    }
}

impl Retry {
    /// As often as Kopia tries (10 attempts), with pauses of up to 100 ms at first, doubling up to
    /// 32 s, and a budget of 500 retries.
    pub fn new() -> Self {
        Self {
            attempts: 10,
            first_contact: u32::MAX,
            pause_first: Duration::from_millis(100),
            pause_max: Duration::from_secs(32),
            patience: Duration::from_secs(5 * 60),
            budget: 500,
            clock: Arc::new(SystemClock),
            entropy: Arc::new(OsEntropy),
        }
    }

    /// How often a call is made at most, the first time included; 0 counts as 1.
    #[must_use]
    pub fn attempts(self, attempts: u32) -> Self {
        Self { attempts: attempts.max(1), ..self }
    }

    /// How often a storage is tried at most that never answered; as often as any other unless set.
    /// Right where somebody just named it and waits: an address is then more likely wrong than a
    /// network down.
    #[must_use]
    pub fn first_contact(self, attempts: u32) -> Self {
        Self { first_contact: attempts.max(1), ..self }
    }

    /// The longest first pause, which doubles with each attempt, and the longest of all.
    #[must_use]
    pub fn pauses(self, first: Duration, max: Duration) -> Self {
        Self { pause_first: first, pause_max: max, ..self }
    }

    /// The longest wait that a storage may ask for; a call that is to wait longer fails instead.
    #[must_use]
    pub fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// How many retries all calls of the storage have together. Each success gives one back.
    #[must_use]
    pub fn budget(self, retries: u32) -> Self {
        Self { budget: retries, ..self }
    }

    /// Whose time the pauses are.
    #[must_use]
    pub fn clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    /// Where the pauses' chance comes from.
    #[must_use]
    pub fn entropy(self, entropy: Arc<dyn Entropy>) -> Self {
        Self { entropy, ..self }
    }

    /// The pause after the attempt number `failed` (from 1).
    fn pause(&self, failed: u32) -> Duration {
        let factor = 2u32.saturating_pow(failed.saturating_sub(1));
        let longest = self.pause_first.saturating_mul(factor).min(self.pause_max);
        let mut random = [0; 4];
        self.entropy.fill(&mut random);
        longest.mul_f64(f64::from(u32::from_le_bytes(random)) / f64::from(u32::MAX))
    }
}

impl Layer for Retry {
    fn wrap(&self, inner: DynStorage) -> DynStorage {
        let left = AtomicU32::new(self.budget);
        let reached = AtomicBool::new(false);
        Arc::new(RetryStorage { inner, rules: self.clone(), left, reached })
    }
}

/// Does the error show that the storage is there? Some come from this side alone.
fn is_answer(error: &BlobError) -> bool {
    !matches!(
        error,
        BlobError::Unreachable { .. }
            | BlobError::Credentials { .. }
            | BlobError::InvalidOption { .. }
            | BlobError::Unsupported { .. }
    )
}

#[derive(Debug)]
struct RetryStorage {
    inner: DynStorage,
    rules: Retry,
    /// Retries left in the budget.
    left: AtomicU32,
    /// Did it ever answer?
    reached: AtomicBool,
}

impl RetryStorage {
    /// Waits until the next attempt after `failed` of them, or gives the error back.
    async fn pause_or_fail(&self, error: BlobError, failed: u32) -> Result<()> {
        if is_answer(&error) {
            self.reached.store(true, Ordering::Relaxed);
        }
        let asked = match error.retry() {
            Advice::Never => return Err(error),
            Advice::Backoff => Duration::ZERO,
            Advice::After(after) => after,
        };
        let reached = self.reached.load(Ordering::Relaxed);
        let attempts =
            self.rules.attempts.min(if reached { u32::MAX } else { self.rules.first_contact });
        if failed >= attempts || asked > self.rules.patience || !self.spend() {
            return Err(error);
        }
        let pause = asked.saturating_add(self.rules.pause(failed));
        if failed >= FAILURES_LOUD {
            tracing::warn!(%error, failed, seconds = pause.as_secs(), "trying again");
        } else {
            tracing::debug!(%error, failed, ?pause, "trying again");
        }
        self.rules.clock.sleep(pause).await;
        Ok(())
    }

    fn spend(&self) -> bool {
        let less = |left: u32| left.checked_sub(1);
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }

    fn succeeded(&self) {
        self.reached.store(true, Ordering::Relaxed);
        let more = |left: u32| (left < self.rules.budget).then_some(left + 1);
        // An error means that the budget is full.
        _ = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }

    async fn repeat<T, F>(&self, mut call: impl FnMut() -> F + Send) -> Result<T>
    where
        F: Future<Output = Result<T>> + Send,
    {
        let mut failed = 0;
        loop {
            match call().await {
                Ok(value) => {
                    self.succeeded();
                    return Ok(value);
                }
                Err(error) => {
                    failed += 1;
                    self.pause_or_fail(error, failed).await?;
                }
            }
        }
    }

    async fn put_if_absent(
        &self,
        id: &BlobId,
        data: Payload,
        options: &PutOptions,
    ) -> Result<PutReceipt> {
        let (mut failed, mut answer_lost) = (0, false);
        loop {
            match self.inner.put(id, data.clone(), options).await {
                Ok(receipt) => {
                    self.succeeded();
                    return Ok(receipt);
                }
                Err(BlobError::AlreadyExists { id }) if answer_lost => {
                    let Some(meta) = self.find_own(&id, &data).await? else {
                        return Err(BlobError::AlreadyExists { id });
                    };
                    return Ok(PutReceipt { modified: Some(meta.modified) });
                }
                Err(error) => {
                    // Told to slow down, the storage did nothing. Anything else may have had
                    // effect.
                    answer_lost |= !matches!(error, BlobError::Throttled { .. });
                    failed += 1;
                    self.pause_or_fail(error, failed).await?;
                }
            }
        }
    }

    /// The blob `id` if it is what a put of `data` makes.
    async fn find_own(&self, id: &BlobId, data: &Payload) -> Result<Option<BlobMeta>> {
        let meta = match self.head(id).await {
            Err(BlobError::NotFound { .. }) => return Ok(None),
            meta => meta?,
        };
        if meta.size != data.len() {
            return Ok(None);
        }
        match self.get(id, ReadRange::Full).await {
            Ok(bytes) => {
                let is_own = data.equals(&bytes);
                let is_own = is_own.map_err(|error| BlobError::unreadable(id, error))?;
                Ok(is_own.then_some(meta))
            }
            Err(BlobError::Archived { .. }) => Ok(Some(meta)),
            Err(BlobError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[async_trait]
impl BlobStorage for RetryStorage {
    async fn get(&self, id: &BlobId, range: ReadRange) -> Result<Bytes> {
        self.repeat(|| self.inner.get(id, range)).await
    }

    async fn head(&self, id: &BlobId) -> Result<BlobMeta> {
        self.repeat(|| self.inner.head(id)).await
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<BlobMeta>> {
        let listing = Listing { storage: self, prefix, running: None, given: HashSet::new() };
        stream::unfold(Some(listing), |listing| async move {
            let mut listing = listing?;
            match listing.next().await? {
                Ok(meta) => Some((Ok(meta), Some(listing))),
                Err(error) => Some((Err(error), None)),
            }
        })
        .boxed()
    }

    async fn put(&self, id: &BlobId, data: Payload, options: &PutOptions) -> Result<PutReceipt> {
        if options.if_absent {
            return self.put_if_absent(id, data, options).await;
        }
        self.repeat(|| self.inner.put(id, data.clone(), options)).await
    }

    async fn delete(&self, id: &BlobId) -> Result<()> {
        self.repeat(|| self.inner.delete(id)).await
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
impl Archive for RetryStorage {
    async fn thaw(&self, id: &BlobId, request: &ThawRequest) -> Result<ThawOutcome> {
        let archive = super::archive_of(&self.inner)?;
        self.repeat(|| archive.thaw(id, request)).await
    }

    async fn read_state(&self, id: &BlobId) -> Result<ReadState> {
        let archive = super::archive_of(&self.inner)?;
        self.repeat(|| archive.read_state(id)).await
    }

    async fn reclass(&self, id: &BlobId, to: &PutAttributes) -> Result<()> {
        let archive = super::archive_of(&self.inner)?;
        self.repeat(|| archive.reclass(id, to)).await
    }
}

#[async_trait]
impl Retain for RetryStorage {
    async fn extend_retention(&self, id: &BlobId, until: Timestamp, mode: LockMode) -> Result<()> {
        let retain = super::retain_of(&self.inner)?;
        self.repeat(|| retain.extend_retention(id, until, mode)).await
    }
}

/// A list that begins anew when it fails.
struct Listing<'a> {
    storage: &'a RetryStorage,
    prefix: &'a str,
    running: Option<BoxStream<'a, Result<BlobMeta>>>,
    /// What was given already. IDs are shared, so this is a table of pointers.
    given: HashSet<BlobId>,
}

impl Listing<'_> {
    async fn next(&mut self) -> Option<Result<BlobMeta>> {
        let mut failed = 0;
        loop {
            let (storage, prefix) = (self.storage, self.prefix);
            match self.running.get_or_insert_with(|| storage.inner.list(prefix)).next().await {
                None => {
                    storage.succeeded();
                    return None;
                }
                Some(Ok(meta)) if !self.given.insert(meta.id.clone()) => {}
                Some(Ok(meta)) => return Some(Ok(meta)),
                Some(Err(error)) => {
                    failed += 1;
                    self.running = None;
                    if let Err(error) = storage.pause_or_fail(error, failed).await {
                        return Some(Err(error));
                    }
                }
            }
        }
    }
}
