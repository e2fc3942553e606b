//! At most so many requests at once.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{
    FutureExt, Stream, StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use crate::{
    Archive, BlobId, BlobMeta, BlobStorage, DynStorage, Layer, LockMode, Payload, PutAttributes,
    PutOptions, PutReceipt, ReadRange, ReadState, Result, Retain, ThawOutcome, ThawRequest,
    Timestamp, forward,
};

/// Lets at most so many requests run at once; others wait their turn in order.
///
/// A list takes its turn for each page and holds it only while the page is being fetched, so that a
/// caller may read blobs while it walks a list even where the limit is one. Whether a page is at
/// its end shows only when more is asked for: the request for the next page may have begun when the
/// list queues for its turn, so each running list can exceed the limit by that one request.
///
/// Put [`Retry`](super::Retry) outside: a call that pauses then holds no place.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    requests: usize,
}

impl Limit {
    /// At most `count` requests at once; 0 counts as 1.
    pub fn requests(count: usize) -> Self {
        Self { requests: count.clamp(1, Semaphore::MAX_PERMITS) }
    }
}

impl Layer for Limit {
    fn wrap(&self, inner: DynStorage) -> DynStorage {
        Arc::new(LimitStorage { inner, places: Arc::new(Semaphore::new(self.requests)) })
    }
}

#[derive(Debug)]
struct LimitStorage {
    inner: DynStorage,
    places: Arc<Semaphore>,
}

impl LimitStorage {
    async fn place(&self) -> SemaphorePermit<'_> {
        self.places.acquire().await.expect("the semaphore is never closed")
    }
}

#[async_trait]
impl BlobStorage for LimitStorage {
    async fn get(&self, id: &BlobId, range: ReadRange) -> Result<Bytes> {
        let _place = self.place().await;
        self.inner.get(id, range).await
    }

    async fn head(&self, id: &BlobId) -> Result<BlobMeta> {
        let _place = self.place().await;
        self.inner.head(id).await
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<BlobMeta>> {
        let mut listing = Listing {
            inner: self.inner.list(prefix),
            places: self.places.clone(),
            queued: None,
            place: None,
            has_page: false,
        };
        stream::poll_fn(move |context| listing.poll(context)).boxed()
    }

    async fn put(&self, id: &BlobId, data: Payload, options: &PutOptions) -> Result<PutReceipt> {
        let _place = self.place().await;
        self.inner.put(id, data, options).await
    }

    async fn delete(&self, id: &BlobId) -> Result<()> {
        let _place = self.place().await;
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
impl Archive for LimitStorage {
    async fn thaw(&self, id: &BlobId, request: &ThawRequest) -> Result<ThawOutcome> {
        let _place = self.place().await;
        super::archive_of(&self.inner)?.thaw(id, request).await
    }

    async fn read_state(&self, id: &BlobId) -> Result<ReadState> {
        let _place = self.place().await;
        super::archive_of(&self.inner)?.read_state(id).await
    }

    async fn reclass(&self, id: &BlobId, to: &PutAttributes) -> Result<()> {
        let _place = self.place().await;
        super::archive_of(&self.inner)?.reclass(id, to).await
    }
}

#[async_trait]
impl Retain for LimitStorage {
    async fn extend_retention(&self, id: &BlobId, until: Timestamp, mode: LockMode) -> Result<()> {
        let _place = self.place().await;
        super::retain_of(&self.inner)?.extend_retention(id, until, mode).await
    }
}

/// A list that waits for a place before each page.
struct Listing<'a> {
    inner: BoxStream<'a, Result<BlobMeta>>,
    places: Arc<Semaphore>,
    queued: Option<BoxFuture<'static, OwnedSemaphorePermit>>,
    place: Option<OwnedSemaphorePermit>,
    /// The last item came without waiting, so the next one may be at hand too.
    has_page: bool,
}

impl Listing<'_> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<BlobMeta>>> {
        loop {
            if self.place.is_none() && !self.has_page {
                self.place = Some(ready!(self.poll_place(context)));
            }
            match Pin::new(&mut self.inner).poll_next(context) {
                Poll::Ready(item) => {
                    self.has_page = true;
                    self.place = None;
                    return Poll::Ready(item);
                }
                Poll::Pending if self.place.is_some() => return Poll::Pending,
                Poll::Pending => self.has_page = false,
            }
        }
    }

    fn poll_place(&mut self, context: &mut Context<'_>) -> Poll<OwnedSemaphorePermit> {
        let places = &self.places;
        let queued = self.queued.get_or_insert_with(|| {
            let places = places.clone();
            async move { places.acquire_owned().await.expect("the semaphore is never closed") }
                .boxed()
        });
        let place = ready!(queued.poll_unpin(context));
        self.queued = None;
        Poll::Ready(place)
    }
}
