//! A storage that is asked for one order and keeps another.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use blob_core::{
    Archive, BlobId, BlobStorage, DynStorage, Payload, PutOptions, PutReceipt, Result, Retain,
    forward,
};

use crate::plant::Plant;

/// Takes packs and sends them only after the next index blob; or takes markers and never sends them.
#[derive(Debug)]
pub struct WrongOrder {
    inner: DynStorage,
    plant: Plant,
    held: Mutex<Vec<(BlobId, Payload, PutOptions)>>,
}

impl WrongOrder {
    /// `inner`, with the mistake if it is one about order.
    pub fn over(inner: DynStorage, plant: Option<Plant>) -> DynStorage {
        match plant {
            Some(plant @ (Plant::IndexFirst | Plant::NoMarker)) => {
                Arc::new(Self { inner, plant, held: Mutex::default() })
            }
            _ => inner,
        }
    }

    fn held(&self) -> MutexGuard<'_, Vec<(BlobId, Payload, PutOptions)>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl BlobStorage for WrongOrder {
    async fn put(&self, id: &BlobId, data: Payload, options: &PutOptions) -> Result<PutReceipt> {
        let of = |kinds: &[&str]| kinds.iter().any(|kind| id.starts_with(kind));
        if self.plant == Plant::NoMarker && of(&["s"]) {
            return Ok(PutReceipt { modified: None });
        }
        if self.plant == Plant::IndexFirst && of(&["p", "q"]) {
            self.held().push((id.clone(), data, options.clone()));
            return Ok(PutReceipt { modified: None });
        }
        let receipt = self.inner.put(id, data, options).await?;
        if of(&["x", "n"]) {
            let held = std::mem::take(&mut *self.held());
            for (id, data, options) in held {
                self.inner.put(&id, data, &options).await?;
            }
        }
        Ok(receipt)
    }

    fn archive(&self) -> Option<&dyn Archive> {
        None
    }

    fn retain(&self) -> Option<&dyn Retain> {
        None
    }

    forward!(inner: info, get, head, list, delete, close; volume);
}
