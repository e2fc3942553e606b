//! A storage behind a bad network, all by a seed: calls take their time and overtake each other,
//! fail before or after they had their effect, lose their answers, lists come in any order and
//! break off. And the power can be cut: calls on their way then have their effect or not, and
//! nobody hears of it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use blob_core::{
    BlobError, BlobId, BlobMeta, BlobStorage, DynStorage, Entropy, LockMode, Payload, PutOptions,
    PutReceipt, ReadRange, Result, Retain, SeededEntropy, Timestamp, forward,
};
use bytes::Bytes;
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};

use crate::{Fault, Killed};

/// How bad the network is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weather {
    /// A call takes up to so long.
    pub delay_max: Duration,
    /// Of a thousand calls so many fail without effect.
    pub lost_requests: u32,
    /// Of a thousand calls so many have their effect and fail all the same.
    pub lost_answers: u32,
    /// Of a thousand lists so many break off.
    pub torn_lists: u32,
}

impl Weather {
    /// One call in ten goes wrong, in one way or another.
    pub fn stormy() -> Self {
        Self {
            delay_max: Duration::from_millis(3),
            lost_requests: 50,
            lost_answers: 50,
            torn_lists: 100,
        }
    }

    /// Nothing goes wrong, but slowly and out of order.
    pub fn slow() -> Self {
        Self { lost_requests: 0, lost_answers: 0, torn_lists: 0, ..Self::stormy() }
    }
}

/// What went wrong so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mishaps {
    /// Calls that failed without effect.
    pub lost_requests: usize,
    /// Calls that had their effect and failed.
    pub lost_answers: usize,
    /// Lists that broke off.
    pub torn_lists: usize,
    /// Calls that were on their way when the power was cut, and had their effect.
    pub done_in_the_dark: usize,
    /// Calls that were on their way when the power was cut, and had none.
    pub not_done_in_the_dark: usize,
}

#[derive(Debug, Default)]
struct Counters {
    lost_requests: AtomicUsize,
    lost_answers: AtomicUsize,
    torn_lists: AtomicUsize,
    done: AtomicUsize,
    not_done: AtomicUsize,
}

/// Stands before a storage and makes it as unreliable as [`Weather`] says.
///
/// ```
/// # blob_testkit::block_on(async {
/// use std::sync::Arc;
/// use blob_core::{BlobId, BlobStorage, MemoryStorage, PutOptions};
/// use blob_testkit::{SimulatedStorage, Weather};
/// let storage = SimulatedStorage::over(Arc::new(MemoryStorage::new()), Weather::slow(), 7);
/// let id = BlobId::new("p1").unwrap();
/// storage.put(&id, b"x".as_slice().into(), &PutOptions::default()).await.unwrap();
/// storage.cut_power();
/// assert!(storage.head(&id).await.is_err());
/// # });
/// ```
#[derive(Debug)]
pub struct SimulatedStorage {
    inner: DynStorage,
    weather: Weather,
    chance: SeededEntropy,
    is_dark: AtomicBool,
    /// Calls until the power goes.
    left: AtomicUsize,
    counters: Counters,
}

/// What becomes of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Goes,
    RequestLost,
    AnswerLost,
    DoneInTheDark,
    NotDone,
}

impl SimulatedStorage {
    /// Stands before `inner`; everything that happens is drawn by `seed`.
    pub fn over(inner: DynStorage, weather: Weather, seed: u64) -> Arc<Self> {
        let chance = SeededEntropy::new(seed);
        let (is_dark, counters) = (AtomicBool::new(false), Counters::default());
        let left = AtomicUsize::new(usize::MAX);
        Arc::new(Self { inner, weather, chance, is_dark, left, counters })
    }

    /// Cuts the power: of the calls on their way some still have their effect, no call that comes
    /// later has any, and all fail.
    pub fn cut_power(&self) {
        self.is_dark.store(true, Ordering::SeqCst);
    }

    /// Cuts the power when so many more calls have begun; 0 is never.
    pub fn cut_power_after(&self, calls: usize) {
        self.left.store(calls, Ordering::SeqCst);
    }

    /// What went wrong so far.
    pub fn mishaps(&self) -> Mishaps {
        let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
        Mishaps {
            lost_requests: count(&self.counters.lost_requests),
            lost_answers: count(&self.counters.lost_answers),
            torn_lists: count(&self.counters.torn_lists),
            done_in_the_dark: count(&self.counters.done),
            not_done_in_the_dark: count(&self.counters.not_done),
        }
    }

    /// A number below `of`.
    fn draw(&self, of: u32) -> u32 {
        let mut bytes = [0; 4];
        self.chance.fill(&mut bytes);
        u32::from_le_bytes(bytes) % of.max(1)
    }

    /// Lets a call take its time, and decides what becomes of it.
    async fn fate(&self) -> Fate {
        if self.is_dark.load(Ordering::SeqCst) {
            return Fate::NotDone;
        }
        let less = |left: usize| (left != usize::MAX).then(|| left.saturating_sub(1));
        if self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less) == Ok(1) {
            // This call is on its way already.
            self.cut_power();
        }
        let micros = u32::try_from(self.weather.delay_max.as_micros()).unwrap_or(u32::MAX);
        tokio::time::sleep(Duration::from_micros(self.draw(micros).into())).await;
        let drawn = self.draw(1000);
        let counters = &self.counters;
        let (fate, counter) = if self.is_dark.load(Ordering::SeqCst) {
            match drawn % 2 {
                0 => (Fate::DoneInTheDark, &counters.done),
                _ => (Fate::NotDone, &counters.not_done),
            }
        } else if drawn < self.weather.lost_requests {
            (Fate::RequestLost, &counters.lost_requests)
        } else if drawn < self.weather.lost_requests + self.weather.lost_answers {
            (Fate::AnswerLost, &counters.lost_answers)
        } else {
            return Fate::Goes;
        };
        counter.fetch_add(1, Ordering::Relaxed);
        fate
    }

    async fn play<T>(
        &self,
        op: &'static str,
        id: &BlobId,
        call: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        match self.fate().await {
            Fate::Goes => call.await,
            Fate::RequestLost => Err(Fault::transient()),
            Fate::AnswerLost => call.await.and_then(|_| Err(Fault::transient())),
            Fate::DoneInTheDark => call.await.and_then(|_| Err(dark(op, Some(id)))),
            Fate::NotDone => Err(dark(op, Some(id))),
        }
    }

    /// The list in an order of its own, as far as it comes.
    async fn listed(&self, prefix: &str) -> Vec<Result<BlobMeta>> {
        match self.fate().await {
            Fate::Goes | Fate::AnswerLost => {}
            Fate::RequestLost => return vec![Err(Fault::transient())],
            Fate::DoneInTheDark | Fate::NotDone => return vec![Err(dark("list", None))],
        }
        let mut all: Vec<_> = self.inner.list(prefix).collect().await;
        for at in (1..all.len()).rev() {
            let other = self.draw(u32::try_from(at + 1).unwrap_or(u32::MAX));
            all.swap(at, other as usize);
        }
        if self.draw(1000) < self.weather.torn_lists {
            self.counters.torn_lists.fetch_add(1, Ordering::Relaxed);
            all.truncate(self.draw(u32::try_from(all.len() + 1).unwrap_or(u32::MAX)) as usize);
            all.push(Err(Fault::transient()));
        }
        all
    }
}

fn dark(op: &'static str, id: Option<&BlobId>) -> BlobError {
    BlobError::Other { op, id: id.cloned(), source: Box::new(Killed) }
}

#[async_trait]
impl BlobStorage for SimulatedStorage {
    async fn get(&self, id: &BlobId, range: ReadRange) -> Result<Bytes> {
        self.play("get", id, self.inner.get(id, range)).await
    }

    async fn head(&self, id: &BlobId) -> Result<BlobMeta> {
        self.play("head", id, self.inner.head(id)).await
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<BlobMeta>> {
        stream::once(self.listed(prefix)).map(stream::iter).flatten().boxed()
    }

    async fn put(&self, id: &BlobId, data: Payload, options: &PutOptions) -> Result<PutReceipt> {
        self.play("put", id, self.inner.put(id, data, options)).await
    }

    async fn delete(&self, id: &BlobId) -> Result<()> {
        self.play("delete", id, self.inner.delete(id)).await
    }

    fn archive(&self) -> Option<&dyn blob_core::Archive> {
        None
    }

    fn retain(&self) -> Option<&dyn Retain> {
        self.inner.retain().map(|_| self as &dyn Retain)
    }

    forward!(inner: info, close; volume);
}

#[async_trait]
impl Retain for SimulatedStorage {
    async fn extend_retention(&self, id: &BlobId, until: Timestamp, mode: LockMode) -> Result<()> {
        const OP: &str = "extend_retention";
        let storage = || self.inner.info().name.clone();
        let retain = self.inner.retain();
        let retain = retain.ok_or_else(|| BlobError::Unsupported { op: OP, storage: storage() })?;
        self.play(OP, id, retain.extend_retention(id, until, mode)).await
    }
}
