//! What the keys may do, asked so that nothing comes of it.
//!
//! S3 looks at rights before it looks at what a request says. So bytes whose `Content-MD5` is that of
//! others are refused as damaged by who may write them, and as forbidden by who may not (`BadDigest`
//! in AWS' list of error codes); and neither the deletion nor the thaw of what isn't there has an
//! effect.

use std::sync::Arc;

use blob_core::{Archive, BlobError, BlobId, Payload, PutAttributes, Result, ThawRequest, Tier};
use bytes::Bytes;
use rusoto_s3::{PutObjectRequest, S3};

use crate::{
    S3Storage, checksum,
    errors::Op,
    put,
    storage::Inner,
    wire::{Exchange, Expect},
};

/// What is sent, and what its checksum is of.
const BYTES: [&[u8]; 2] = [b"a", b"b"];

impl S3Storage {
    /// May a blob be written with these attributes? `id` must be free. A service that takes damaged
    /// bytes has the blob for a moment.
    ///
    /// # Errors
    /// [`BlobError::AccessDenied`] if it may not; and what any call may give.
    pub async fn may_put(&self, id: &BlobId, attributes: &PutAttributes) -> Result<()> {
        self.inner.require_present(Op::Put)?;
        match self.inner.put_damaged(id, attributes).await? {
            Taken::No => Ok(()),
            Taken::Yes => self.inner.delete(id).await,
        }
    }

    /// May a blob be deleted? `id` must be free.
    ///
    /// # Errors
    /// [`BlobError::AccessDenied`] if it may not; [`BlobError::Unsupported`] where the bucket keeps
    /// versions or doesn't tell: a delete marker would come of it; and what any call may give.
    pub async fn may_delete(&self, id: &BlobId) -> Result<()> {
        self.inner.require_present(Op::Delete)?;
        match self.keeps_versions().await {
            Ok(false) => self.inner.delete(id).await,
            Ok(true) | Err(BlobError::AccessDenied { .. }) => Err(BlobError::Unsupported {
                op: "a deletion without effect",
                storage: self.inner.info.name.clone(),
            }),
            Err(error) => Err(error),
        }
    }

    /// May a blob be thawed? `id` must be free.
    ///
    /// # Errors
    /// [`BlobError::AccessDenied`] if it may not; and what any call may give.
    pub async fn may_thaw(&self, id: &BlobId) -> Result<()> {
        match self.thaw(id, &ThawRequest { tier: Tier::Bulk, days: 1 }).await {
            Ok(_) | Err(BlobError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Did the service take damaged bytes?
enum Taken {
    No,
    Yes,
}

impl Inner {
    async fn put_damaged(&self, id: &BlobId, attributes: &PutAttributes) -> Result<Taken> {
        let [sent, other] = BYTES.map(|bytes| Payload::from(Bytes::from_static(bytes)));
        let md5 = checksum::md5(&other).map_err(|error| BlobError::unreadable(id, error))?;
        let exchange = Arc::new(Exchange::new(Expect::Nothing).body(sent));
        let request = PutObjectRequest {
            bucket: self.bucket(),
            key: self.key(id),
            content_md5: Some(md5),
            ..put::attributes(attributes, self.clock.now())
        };
        let Err(error) = self.wire.client(&exchange).put_object(request).await else {
            return Ok(Taken::Yes);
        };
        match exchange.answer() {
            Some(answer) if answer.code() == "BadDigest" => Ok(Taken::No),
            _ => Err(self.about(Op::Put, Some(id)).error(&exchange, &error)),
        }
    }
}
