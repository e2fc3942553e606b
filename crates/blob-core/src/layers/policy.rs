//! Which attributes a blob is written with: the one place where a policy meets a storage.

use std::sync::Arc;

use async_trait::async_trait;

use crate::{
    BlobError, BlobId, BlobStorage, DynStorage, Layer, Payload, PutOptions, PutPolicy, PutReceipt,
    Result, forward,
};

/// Writes each blob with what the policy says, where the caller said nothing.
///
/// The policy is asked once per put. Where it refuses
/// ([`PutAttributes::refusal`](crate::PutAttributes::refusal)), the put ends with
/// [`BlobError::InvalidOption`] and the inner storage never hears of it.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// # use std::sync::Arc;
/// use blob_core::{layers::WithPolicy, *};
/// let cold_packs = FnPolicy::new(|id: &BlobId, _| PutAttributes {
///     class: id.starts_with("p").then_some(StorageClass::GLACIER),
///     ..PutAttributes::default()
/// });
/// let memory = MemoryStorage::new();
/// let storage = StorageStack::over(Arc::new(memory.clone()))
///     .layer(WithPolicy::new(Arc::new(cold_packs)))
///     .build();
/// let id = BlobId::new("p1")?;
/// storage.put(&id, b"x".as_slice().into(), &PutOptions::default()).await?;
/// assert_eq!(memory.head(&id).await?.class, Some(StorageClass::GLACIER));
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[derive(Debug, Clone)]
pub struct WithPolicy {
    policy: Arc<dyn PutPolicy>,
}

impl WithPolicy {
    /// A layer that asks `policy`.
    pub fn new(policy: Arc<dyn PutPolicy>) -> Self {
        Self { policy }
    }
}

impl Layer for WithPolicy {
    fn wrap(&self, inner: DynStorage) -> DynStorage {
        Arc::new(PolicyStorage { inner, policy: self.policy.clone() })
    }
}

#[derive(Debug)]
struct PolicyStorage {
    inner: DynStorage,
    policy: Arc<dyn PutPolicy>,
}

#[async_trait]
impl BlobStorage for PolicyStorage {
    async fn put(&self, id: &BlobId, data: Payload, options: &PutOptions) -> Result<PutReceipt> {
        let said = self.policy.attributes(id, data.len());
        let attributes = options.attributes.clone().or(said);
        if let Some(reason) = attributes.refusal {
            let option = format!("what the storage policy says of {id}");
            return Err(BlobError::InvalidOption { option, reason });
        }
        let options = PutOptions { attributes, ..options.clone() };
        self.inner.put(id, data, &options).await
    }

    forward!(inner: info, get, head, list, delete, close; archive, retain, volume);
}
