//! Deletes: also of cold objects, and of those that are not there; never of a locked version.

use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::Service;
use super::retain::require_protection;
use crate::access::{Action, access_denied};
use crate::versions::NoObject;

/// The most keys that one DeleteObjects may name.
const KEYS_MAX: usize = 1000;

impl Service {
    pub(super) fn delete(
        &self,
        input: DeleteObjectInput,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        let bypass = input.bypass_governance_retention.unwrap_or(false);
        let version = input.version_id.as_deref();
        let (version_id, is_marker) =
            self.delete_key(&input.bucket, &input.key, version, bypass)?;
        let delete_marker = is_marker.then_some(true);
        Ok(S3Response::new(DeleteObjectOutput { delete_marker, version_id, ..Default::default() }))
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
                let version = object.version_id.as_deref();
                self.delete_key(&input.bucket, &object.key, version, bypass)
            };
            let (key, version_id) = (Some(object.key), object.version_id);
            match outcome {
                Ok(_) if is_quiet => {}
                Ok(_) => deleted.push(DeletedObject { key, version_id, ..Default::default() }),
                Err(error) => errors.push(Error {
                    key,
                    code: Some(error.code().as_str().to_owned()),
                    message: error.message().map(str::to_owned),
                    version_id,
                }),
            }
        }
        let (deleted, errors) = (Some(deleted), Some(errors));
        Ok(S3Response::new(DeleteObjectsOutput { deleted, errors, ..Default::default() }))
    }

    /// Gives the ID of the version that went or of the delete marker that came, and whether it is
    /// a marker.
    fn delete_key(
        &self,
        bucket: &str,
        key: &str,
        version: Option<&str>,
        bypass: bool,
    ) -> S3Result<(Option<String>, bool)> {
        self.with_bucket(bucket, |bucket, now| {
            let Some(id) = version else {
                let marker = bucket.hide(key, now);
                let is_marker = marker.is_some();
                return Ok((marker, is_marker));
            };
            match bucket.destroy(key, id, now, bypass) {
                Ok(was_marker) => Ok((Some(id.to_owned()), was_marker)),
                Err(NoObject::Unknown) => Ok((Some(id.to_owned()), false)),
                Err(why) => Err(self.no_object(key, version, why)),
            }
        })
    }
}
