//! Writing index blobs, and seeing them at once.

use std::sync::Arc;

use blob_core::{BlobId, BlobMeta};
use bytes::Bytes;
use dataplane::task;

use super::{epochs, legacy};
use crate::{
    RepoError, Result,
    create::put_options,
    state::{Shared, blob_id},
};

impl Shared {
    /// Writes one index blob for each of `shards` and adds them to what is known. Gives their
    /// number and bytes.
    pub(crate) async fn write_index_blobs(
        self: &Arc<Self>,
        shards: Vec<Vec<u8>>,
        session: String,
    ) -> Result<(u64, u64)> {
        if shards.is_empty() {
            return Ok((0, 0));
        }
        let shared = Arc::clone(self);
        // A task of its own: whoever holds the turn must get on, polled or not.
        task::owned(async move { shared.write_in_turn(shards, &session).await }).await
    }

    async fn write_in_turn(&self, shards: Vec<Vec<u8>>, session: &str) -> Result<(u64, u64)> {
        let shards: Vec<Bytes> = shards.into_iter().map(Bytes::from).collect();
        let mut turn = self.index.turn.lock().await;
        let written = if self.format.format().epochs_enabled() {
            epochs::write(self, &mut turn, &shards, session).await?
        } else {
            legacy::write(self, &shards, session).await?
        };
        let old = self.index.view();
        let mut segments = Vec::new();
        let known = old.by_name();
        let mut bytes = 0;
        for (meta, plain) in written.iter().cloned().zip(shards) {
            bytes += meta.size;
            // Equal entries give an equal blob, so a repeated flush may write what is known.
            if !known.contains_key(meta.id.as_str()) {
                let blob = meta.id.clone();
                let segment = self.segment(meta, plain).await;
                let segment = segment.map_err(|source| RepoError::IndexDamaged { blob, source })?;
                segments.push(Arc::new(segment));
            }
        }
        self.index.set_view(old.with(segments));
        Ok((written.len() as u64, bytes))
    }

    /// Seals one index and puts it under the name that its bytes give.
    pub(crate) async fn put_index(
        &self,
        prefix: &str,
        suffix: &str,
        plain: &Bytes,
    ) -> Result<BlobMeta> {
        let (name, sealed) = self.codec.seal_blob(prefix, suffix, self.nonce(), plain);
        let id: BlobId = blob_id(&name)?;
        let size = sealed.len() as u64;
        let options = put_options(&self.format.loaded().blob_config, &id);
        let receipt = self.storage.put(&id, sealed.into(), &options).await?;
        self.meters.index_put(size);
        let modified = receipt.modified.unwrap_or_else(|| self.env().clock.now());
        Ok(BlobMeta { id, size, modified, class: None, state: None, has_checksum: None })
    }
}
