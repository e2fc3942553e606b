//! What the keys may do, asked so that nothing comes of it.
//!
//! S3 looks at rights before it looks at what a request says. So bytes whose `Content-MD5` is that of
//! others are refused as damaged by who may write them, and as forbidden by who may not (`BadDigest`
//! in AWS' list of error codes); and the thaw of what isn't there has no effect. Nor has its deletion,
//! where the bucket keeps no versions ([`S3Storage::keeps_versions`]): that is a plain delete.

use std::sync::Arc;

use blob_core::{BlobError, BlobId, Payload, PutAttributes, Result, ThawRequest, Tier};
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
    /// May a blob be written with these attributes? `id` must be free. Of a service that takes damaged
    /// bytes the blob is deleted again.
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

    /// May a blob be thawed? `id` must be free.
    ///
    /// # Errors
    /// [`BlobError::AccessDenied`] if it may not; and what any call may give.
    pub async fn may_thaw(&self, id: &BlobId) -> Result<()> {
        // Of now, also in a view of the past: what isn't there has no version.
        let thaw = ThawRequest { tier: Tier::Bulk, days: 1 };
        match self.inner.thaw_version(id, None, &thaw, Some(thaw.days)).await {
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
