//! What is known about a blob without its bytes, and its deletion.

use std::sync::Arc;

use blob_core::{BlobError, BlobId, BlobMeta, ReadState, Result, StorageClass};
use rusoto_s3::{DeleteObjectRequest, GetObjectRequest, HeadObjectRequest, S3};

use crate::{
    archive,
    errors::Op,
    storage::Inner,
    time,
    wire::{Answer, Exchange, Expect},
};

impl Inner {
    pub(crate) async fn head(&self, id: &BlobId, op: Op) -> Result<BlobMeta> {
        match self.head_once(id, op).await {
            Err((answer, _)) if answer.as_ref().is_some_and(|a| is_mute(a)) => {
                self.ask_again(id, op).await
            }
            other => other.map_err(|(_, error)| error),
        }
    }

    /// One HEAD; what a refused one means is not asked.
    pub(crate) async fn head_once(
        &self,
        id: &BlobId,
        op: Op,
    ) -> std::result::Result<BlobMeta, (Option<Arc<Answer>>, BlobError)> {
        let version = self.version(id).await.map_err(|error| (None, error))?;
        let exchange = Arc::new(Exchange::new(Expect::Object));
        let request = HeadObjectRequest {
            bucket: self.bucket(),
            key: self.key(id),
            version_id: version,
            ..HeadObjectRequest::default()
        };
        let about = self.about(op, Some(id));
        let result = self.wire.client(&exchange).head_object(request).await;
        let answer = exchange.answer();
        let output = result.map_err(|error| {
            // An answer to a HEAD has no body, so its meaning is looked up as a HEAD's.
            let about = self.about(Op::Head, Some(id));
            (answer.clone(), about.error(&exchange, &error))
        })?;
        let size = output.content_length.and_then(|size| u64::try_from(size).ok());
        let modified = output.last_modified.as_deref().and_then(time::parse_http_date);
        let (Some(size), Some(modified)) = (size, modified) else {
            let reason = "the answer lacks the object's length or time";
            return Err((answer, about.other(reason)));
        };
        // S3 leaves the class out for STANDARD (API reference of HeadObject).
        let class = output.storage_class.map_or(StorageClass::STANDARD, StorageClass::new);
        let restore = output.restore.as_deref();
        let state = archive::state(&class, restore, output.archive_status.as_deref());
        Ok(BlobMeta {
            id: id.clone(),
            size,
            modified,
            class: Some(class),
            state: Some(state),
            has_checksum: None,
        })
    }

    /// A refused HEAD says nothing: a GET of one byte tells why.
    async fn ask_again(&self, id: &BlobId, op: Op) -> Result<BlobMeta> {
        let version = self.version(id).await?;
        let exchange = Arc::new(Exchange::new(Expect::Object));
        let request = GetObjectRequest {
            bucket: self.bucket(),
            key: self.key(id),
            range: Some("bytes=0-0".into()),
            version_id: version,
            ..GetObjectRequest::default()
        };
        let why = match self.wire.client(&exchange).get_object(request).await {
            Err(error) => self.about(Op::Get, Some(id)).error(&exchange, &error),
            Ok(_) => return self.head_once(id, op).await.map_err(|(_, error)| error),
        };
        match why {
            // The GET has its own reasons to fail, where the HEAD was refused for another one.
            BlobError::Archived { .. } | BlobError::InvalidRange { .. } => {
                self.head_once(id, op).await.map_err(|(_, error)| error)
            }
            BlobError::AccessDenied { id, reason, .. } => {
                Err(BlobError::AccessDenied { op: op.name(), id, reason })
            }
            why => Err(why),
        }
    }

    pub(crate) async fn delete(&self, id: &BlobId) -> Result<()> {
        let exchange = Arc::new(Exchange::new(Expect::Nothing));
        let request = DeleteObjectRequest {
            bucket: self.bucket(),
            key: self.key(id),
            ..DeleteObjectRequest::default()
        };
        match self.wire.client(&exchange).delete_object(request).await {
            Ok(_) => Ok(()),
            Err(error) => match self.about(Op::Delete, Some(id)).error(&exchange, &error) {
                BlobError::NotFound { .. } => Ok(()),
                error => Err(error),
            },
        }
    }
}

/// Could the answer mean several things that only a body tells apart?
fn is_mute(answer: &Answer) -> bool {
    matches!(answer.status, 400 | 403) && answer.code().is_empty()
}

impl Inner {
    /// Is the blob readable now, by a HEAD?
    pub(crate) async fn read_state(&self, id: &BlobId) -> Result<ReadState> {
        Ok(self.head(id, Op::Head).await?.state.unwrap_or(ReadState::Ready))
    }
}
