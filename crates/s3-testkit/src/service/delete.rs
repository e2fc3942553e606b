//! DeleteObject: also of cold objects, and of those that are not there; never of locked ones.

use s3s::dto::*;
use s3s::{S3Response, S3Result};

use super::Service;
use super::write::check_lock;

impl Service {
    pub(super) fn delete(
        &self,
        input: DeleteObjectInput,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        let bypass = input.bypass_governance_retention.unwrap_or(false);
        self.with_bucket(&input.bucket, |bucket, now| {
            check_lock(bucket, &input.key, now, bypass)?;
            bucket.objects.remove(&input.key);
            Ok(())
        })?;
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }
}
