//! A storage that is slow on purpose: puts wait until the test lets them through.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use blob_core::{
    BlobId, BlobStorage, DynStorage, Payload, PutOptions, PutReceipt, Result, forward,
};
use tokio::sync::Notify;

#[derive(Debug, Default)]
struct Gate {
    /// Puts of IDs that begin so wait.
    held: Option<&'static str>,
    waiting: Vec<BlobId>,
    through: BTreeSet<BlobId>,
}

/// Passes every call on, puts perhaps late.
#[derive(Debug)]
pub struct GatedStorage {
    inner: DynStorage,
    gate: Mutex<Gate>,
    opened: Notify,
}

impl GatedStorage {
    pub fn over(inner: DynStorage) -> Arc<Self> {
        Arc::new(Self { inner, gate: Mutex::default(), opened: Notify::new() })
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap()
    }

    /// Lets puts of IDs that begin with `prefix` wait from now on.
    pub fn hold(&self, prefix: &'static str) {
        self.gate().held = Some(prefix);
    }

    /// Lets one put through that waits.
    pub fn release(&self, id: &BlobId) {
        self.gate().through.insert(id.clone());
        self.opened.notify_waiters();
    }

    /// Lets all through.
    pub fn open(&self) {
        self.gate().held = None;
        self.opened.notify_waiters();
    }

    /// Waits until `count` puts have come to the gate since the beginning; gives their IDs.
    pub async fn arrived(&self, count: usize) -> Vec<BlobId> {
        let enough = async {
            loop {
                let waiting = self.gate().waiting.clone();
                if waiting.len() >= count {
                    return waiting;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), enough).await.expect("a put arrives")
    }
}

#[async_trait]
impl BlobStorage for GatedStorage {
    async fn put(&self, id: &BlobId, data: Payload, options: &PutOptions) -> Result<PutReceipt> {
        let held = |gate: &Gate| {
            gate.held.is_some_and(|prefix| id.starts_with(prefix)) && !gate.through.contains(id)
        };
        if held(&self.gate()) {
            self.gate().waiting.push(id.clone());
        }
        loop {
            let opened = self.opened.notified();
            if !held(&self.gate()) {
                return self.inner.put(id, data, options).await;
            }
            opened.await;
        }
    }

    forward!(inner: info, get, head, list, delete, close; archive, retain, volume);
}
