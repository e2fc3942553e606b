//! RestoreObject: when a thaw is new, running, faster than before, or only longer.
//!
//! The table of answers is that of RestoreObject in the S3 API reference: 202 for a new thaw and
//! for a faster tier, 409 while one runs, 200 when the copy is there and only its expiry moves.

use std::time::{Duration, SystemTime};

use http::StatusCode;
use s3s::dto::{RestoreObjectInput, RestoreObjectOutput, RestoreRequest};
use s3s::{S3Error, S3Response, S3Result, s3_error};

use super::{Service, custom_error, with_status};
use crate::classes::{ArchiveAccess, Restoring, Tier, expiry, is_archive, thaw_time};
use crate::objects::StoredObject;

/// A restore request that makes sense for its object.
struct Asked {
    tier: Tier,
    days: Option<u32>,
    time: Duration,
}

impl Service {
    pub(super) fn restore(
        &self,
        input: RestoreObjectInput,
    ) -> S3Result<S3Response<RestoreObjectOutput>> {
        let request = input.restore_request.unwrap_or_default();
        let (bucket, key, version) = (&input.bucket, &input.key, input.version_id.as_deref());
        let status = self.restore_object(bucket, key, version, &request)?;
        Ok(with_status(RestoreObjectOutput::default(), status))
    }

    /// Asks for a readable copy, for a client or for a job.
    pub(super) fn restore_object(
        &self,
        bucket: &str,
        key: &str,
        version: Option<&str>,
        request: &RestoreRequest,
    ) -> S3Result<StatusCode> {
        let at_midnight = self.0.options.expire_at_midnight;
        self.with_bucket(bucket, |bucket, now| {
            let found = bucket.find(key, version);
            let object = found.map_err(|why| self.no_object(key, version, why))?;
            object.settle(now);
            let asked = understand(object, request)?;
            let (thaw, status) = decide(object, &asked, now, at_midnight)?;
            object.restore = Some(thaw);
            Ok(status)
        })
    }
}

fn understand(object: &StoredObject, request: &RestoreRequest) -> S3Result<Asked> {
    let malformed = || {
        s3_error!(
            MalformedXML,
            "The XML you provided was not well-formed or did not validate against our published \
             schema"
        )
    };
    let inner = request.glacier_job_parameters.as_ref().map(|job| job.tier.as_str());
    if inner.is_some() && request.tier.is_some() {
        return Err(malformed());
    }
    let name = inner.or_else(|| request.tier.as_ref().map(|tier| tier.as_str()));
    let tier = Tier::parse(name.unwrap_or("Standard")).ok_or_else(malformed)?;
    let days = match (is_archive(&object.storage_class), object.archive_access, request.days) {
        (true, _, None) => return Err(malformed()),
        (true, _, Some(days)) => Some(
            u32::try_from(days)
                .ok()
                .filter(|days| *days > 0)
                .ok_or_else(|| s3_error!(InvalidArgument, "Days must be a positive integer"))?,
        ),
        (false, None, _) => return Err(not_archived(object)),
        (false, Some(_), Some(_)) => {
            return Err(s3_error!(
                InvalidArgument,
                "INTELLIGENT_TIERING objects are not subject to restore expiry. Do not specify \
                 Days for this restore request"
            ));
        }
        (false, Some(_), None) => None,
    };
    let deep = object.storage_class == "DEEP_ARCHIVE"
        || object.archive_access == Some(ArchiveAccess::DeepArchive);
    let time = thaw_time(deep, tier).ok_or_else(|| {
        s3_error!(InvalidArgument, "Expedited retrieval is not available for this storage class")
    })?;
    Ok(Asked { tier, days, time })
}

fn not_archived(object: &StoredObject) -> S3Error {
    if object.storage_class == "INTELLIGENT_TIERING" {
        return custom_error(
            StatusCode::FORBIDDEN,
            "ObjectAlreadyInActiveTierError",
            "This action is not allowed against this storage tier".into(),
        );
    }
    s3_error!(InvalidObjectState, "Restore is not allowed for the object's current storage class")
}

fn decide(
    object: &StoredObject,
    asked: &Asked,
    now: SystemTime,
    at_midnight: bool,
) -> S3Result<(Restoring, StatusCode)> {
    let ready = now + asked.time;
    let until = |from| asked.days.map(|days| expiry(from, days, at_midnight));
    let fresh = Restoring { tier: asked.tier, days: asked.days, ready, expiry: until(ready) };
    match object.restore {
        None => Ok((fresh, StatusCode::ACCEPTED)),
        Some(thaw) if !thaw.is_running(now) => {
            let longer = Restoring { days: asked.days, expiry: until(now), ..thaw };
            Ok((longer, StatusCode::OK))
        }
        Some(thaw) if asked.tier > thaw.tier && asked.days == thaw.days => {
            let ready = ready.min(thaw.ready);
            Ok((Restoring { ready, expiry: until(ready), ..fresh }, StatusCode::ACCEPTED))
        }
        Some(_) => {
            Err(s3_error!(RestoreAlreadyInProgress, "Object restore is already in progress"))
        }
    }
}
