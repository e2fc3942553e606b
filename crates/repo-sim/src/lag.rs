//! A network on which now and then a call waits for minutes.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use blob_core::{
    Archive, BlobId, BlobMeta, BlobStorage, DynStorage, Payload, PutOptions, PutReceipt, ReadRange,
    Result, Retain, forward,
};
use bytes::Bytes;
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};

use crate::chance::Chance;

/// Lets one call in some wait, before it has its effect or before its answer.
#[derive(Debug)]
pub struct Lag {
    inner: DynStorage,
    chance: Mutex<Chance>,
    one_in: usize,
    stall_max: Duration,
}

impl Lag {
    /// Of `one_in` calls one waits for up to `stall_max`.
    pub fn over(
        inner: DynStorage,
        chance: Chance,
        one_in: usize,
        stall_max: Duration,
    ) -> DynStorage {
        Arc::new(Self { inner, chance: Mutex::new(chance), one_in, stall_max })
    }

    async fn wait(&self) {
        let pause = {
            let mut chance = self.chance.lock().unwrap_or_else(PoisonError::into_inner);
            let stalls = chance.one_in(self.one_in);
            stalls.then(|| chance.span(Duration::from_secs(1), self.stall_max))
        };
        if let Some(pause) = pause {
            tokio::time::sleep(pause).await;
        }
    }

    async fn around<T>(&self, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        self.wait().await;
        let result = call.await;
        self.wait().await;
        result
    }
}

#[async_trait]
impl BlobStorage for Lag {
    async fn get(&self, id: &BlobId, range: ReadRange) -> Result<Bytes> {
        self.around(self.inner.get(id, range)).await
    }

    async fn head(&self, id: &BlobId) -> Result<BlobMeta> {
        self.around(self.inner.head(id)).await
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<BlobMeta>> {
        let listed = async move {
            self.wait().await;
            // Whole, for what is shown is what was there at one moment.
            let all: Vec<_> = self.inner.list(prefix).collect().await;
            self.wait().await;
            stream::iter(all)
        };
        stream::once(listed).flatten().boxed()
    }

    async fn put(&self, id: &BlobId, data: Payload, options: &PutOptions) -> Result<PutReceipt> {
        self.around(self.inner.put(id, data, options)).await
    }

    async fn delete(&self, id: &BlobId) -> Result<()> {
        self.around(self.inner.delete(id)).await
    }

    fn archive(&self) -> Option<&dyn Archive> {
        None
    }

    fn retain(&self) -> Option<&dyn Retain> {
        None
    }

    forward!(inner: info, close; volume);
}
