//! Object lock after the fact: reading and changing retention and legal hold.
//!
//! Retention can be made longer by anyone who may, shorter only under GOVERNANCE and with the
//! bypass header, and COMPLIANCE never ends early ("How Object Lock works", S3 User Guide).

use std::time::SystemTime;

use http::HeaderMap;
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::Service;
use super::attributes::{is_protected, lock_mode};
use crate::access::access_denied;
use crate::objects::ObjectLock;
use crate::text::system_time;

impl Service {
    pub(super) fn retain(
        &self,
        request: S3Request<PutObjectRetentionInput>,
    ) -> S3Result<S3Response<PutObjectRetentionOutput>> {
        self.check_lockable(&request.headers)?;
        let input = request.input;
        let retention = input.retention.unwrap_or_default();
        let wanted = match (retention.mode, retention.retain_until_date) {
            (Some(mode), Some(date)) => {
                let until = system_time(&date).ok_or_else(|| {
                    s3_error!(InvalidArgument, "The retain until date is out of range")
                })?;
                Some((lock_mode(mode.as_str())?, until))
            }
            (None, None) => None,
            _ => return Err(s3_error!(MalformedXML, "Mode and RetainUntilDate belong together")),
        };
        let bypass = input.bypass_governance_retention.unwrap_or(false);
        let object = (&*input.bucket, &*input.key, input.version_id.as_deref());
        self.change_lock(object, |lock, now| {
            if wanted.as_ref().is_some_and(|(_, until)| *until <= now) {
                return Err(s3_error!(
                    InvalidArgument,
                    "The retain until date must be in the future!"
                ));
            }
            if is_weaker(lock, wanted.as_ref(), now, bypass) {
                return Err(access_denied());
            }
            lock.retention = wanted;
            Ok(())
        })?;
        Ok(S3Response::new(PutObjectRetentionOutput::default()))
    }

    pub(super) fn retention(
        &self,
        input: &GetObjectRetentionInput,
    ) -> S3Result<S3Response<GetObjectRetentionOutput>> {
        let (object, _) = self.object(&input.bucket, &input.key, input.version_id.as_deref())?;
        let (mode, until) = object.lock.retention.ok_or_else(|| {
            s3_error!(
                NoSuchObjectLockConfiguration,
                "The specified object does not have a ObjectLock configuration"
            )
        })?;
        let retention = Some(ObjectLockRetention {
            mode: Some(ObjectLockRetentionMode::from(mode)),
            retain_until_date: Some(until.into()),
        });
        Ok(S3Response::new(GetObjectRetentionOutput { retention }))
    }

    pub(super) fn hold(
        &self,
        request: S3Request<PutObjectLegalHoldInput>,
    ) -> S3Result<S3Response<PutObjectLegalHoldOutput>> {
        self.check_lockable(&request.headers)?;
        let input = request.input;
        let status = input.legal_hold.and_then(|hold| hold.status);
        let legal_hold = match status.as_ref().map(ObjectLockLegalHoldStatus::as_str) {
            Some("ON") => true,
            Some("OFF") => false,
            _ => return Err(s3_error!(MalformedXML, "The status of a legal hold is ON or OFF")),
        };
        let object = (&*input.bucket, &*input.key, input.version_id.as_deref());
        self.change_lock(object, |lock, _| {
            lock.legal_hold = legal_hold;
            Ok(())
        })?;
        Ok(S3Response::new(PutObjectLegalHoldOutput::default()))
    }

    pub(super) fn lock_configuration(
        &self,
        input: &GetObjectLockConfigurationInput,
    ) -> S3Result<S3Response<GetObjectLockConfigurationOutput>> {
        self.with_bucket(&input.bucket, |_, _| Ok(()))?;
        if !self.0.options.object_lock {
            return Err(s3_error!(
                ObjectLockConfigurationNotFoundError,
                "Object Lock configuration does not exist for this bucket"
            ));
        }
        let object_lock_configuration = Some(ObjectLockConfiguration {
            object_lock_enabled: Some(ObjectLockEnabled::from("Enabled".to_owned())),
            rule: None,
        });
        Ok(S3Response::new(GetObjectLockConfigurationOutput { object_lock_configuration }))
    }

    fn check_lockable(&self, headers: &HeaderMap) -> S3Result<()> {
        if !self.0.options.object_lock {
            return Err(s3_error!(InvalidRequest, "Bucket is missing Object Lock Configuration"));
        }
        require_protection(headers)
    }

    fn change_lock(
        &self,
        (bucket, key, version): (&str, &str, Option<&str>),
        change: impl FnOnce(&mut ObjectLock, SystemTime) -> S3Result<()>,
    ) -> S3Result<()> {
        self.with_bucket(bucket, |bucket, now| {
            let found = bucket.find(key, version);
            change(&mut found.map_err(|why| self.no_object(key, version, why))?.lock, now)
        })
    }
}

/// Some requests must be protected by Content-MD5 or a checksum.
pub(super) fn require_protection(headers: &HeaderMap) -> S3Result<()> {
    if is_protected(headers) {
        return Ok(());
    }
    Err(s3_error!(InvalidRequest, "Missing required header for this request: Content-MD5"))
}

/// Whether a change takes something away that the present lock promises.
fn is_weaker(
    lock: &ObjectLock,
    wanted: Option<&(String, SystemTime)>,
    now: SystemTime,
    bypass: bool,
) -> bool {
    let Some((mode, until)) = lock.retention.as_ref().filter(|(_, until)| *until > now) else {
        return false;
    };
    let is_compliance = mode == "COMPLIANCE";
    let keeps = wanted.is_some_and(|(new_mode, new_until)| {
        new_until >= until && (!is_compliance || new_mode == "COMPLIANCE")
    });
    !keeps && (is_compliance || !bypass)
}
