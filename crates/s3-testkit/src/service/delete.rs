//! Deletes: also of cold objects, and of those that are not there; never of locked ones.

use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::Service;
use super::retain::require_protection;
use super::write::check_lock;
use crate::access::{Action, access_denied};

/// The most keys that one DeleteObjects may name.
const KEYS_MAX: usize = 1000;

impl Service {
    pub(super) fn delete(
        &self,
        input: DeleteObjectInput,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        let bypass = input.bypass_governance_retention.unwrap_or(false);
        self.delete_key(&input.bucket, &input.key, bypass)?;
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    /// Every key has an outcome of its own; the request as a whole succeeds.
    pub(super) fn delete_many(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        require_protection(&request.headers)?;
        let input = request.input;
        if input.delete.objects.is_empty() || input.delete.objects.len() > KEYS_MAX {
            return Err(s3_error!(MalformedXML, "A request deletes 1 to 1000 objects"));
        }
        let bypass = input.bypass_governance_retention.unwrap_or(false);
        let is_quiet = input.delete.quiet.unwrap_or(false);
        let (mut deleted, mut errors) = (Vec::new(), Vec::new());
        for object in input.delete.objects {
            let is_denied = self.0.denials.denies(Action::Delete, &object.key);
            let outcome = if is_denied {
                Err(access_denied())
            } else {
                self.delete_key(&input.bucket, &object.key, bypass)
            };
            let key = Some(object.key);
            match outcome {
                Ok(()) if is_quiet => {}
                Ok(()) => deleted.push(DeletedObject { key, ..Default::default() }),
                Err(error) => errors.push(Error {
                    key,
                    code: Some(error.code().as_str().to_owned()),
                    message: error.message().map(str::to_owned),
                    version_id: None,
                }),
            }
        }
        let (deleted, errors) = (Some(deleted), Some(errors));
        Ok(S3Response::new(DeleteObjectsOutput { deleted, errors, ..Default::default() }))
    }

    fn delete_key(&self, bucket: &str, key: &str, bypass: bool) -> S3Result<()> {
        self.with_bucket(bucket, |bucket, now| {
            check_lock(bucket, key, now, bypass)?;
            bucket.objects.remove(key);
            Ok(())
        })
    }
}
