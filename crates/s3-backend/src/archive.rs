//! Blobs out of reach: asking for a readable copy, and knowing whether there is one.
//!
//! Facts from AWS' API reference of RestoreObject and HeadObject: a first request answers 202, one
//! for a blob that has a copy 200 (its end moves), one while the copy is being made 409; the header
//! `x-amz-restore` says `ongoing-request="true"` or `ongoing-request="false", expiry-date="…"`.

use std::sync::Arc;

use async_trait::async_trait;
use blob_core::{
    Archive, BlobError, BlobId, BlobMeta, PutAttributes, ReadState, Result, StorageClass,
    ThawOutcome, ThawRequest,
};
use rusoto_s3::{GlacierJobParameters, RestoreObjectRequest, RestoreRequest, S3};

use crate::{
    S3Storage,
    errors::{Meaning, Op, meaning},
    storage::Inner,
    time,
    wire::{Exchange, Expect},
};

#[async_trait]
impl Archive for S3Storage {
    async fn thaw(&self, id: &BlobId, request: &ThawRequest) -> Result<ThawOutcome> {
        self.inner.thaw(id, request).await
    }

    async fn read_state(&self, id: &BlobId) -> Result<ReadState> {
        self.inner.read_state(id).await
    }

    async fn reclass(&self, id: &BlobId, to: &PutAttributes) -> Result<()> {
        self.inner.require_present(Op::Reclass)?;
        self.inner.reclass(id, to).await
    }
}

impl Inner {
    async fn thaw(&self, id: &BlobId, thaw: &ThawRequest) -> Result<ThawOutcome> {
        if thaw.days == 0 {
            let (option, reason) = ("days".into(), "a thaw lasts at least 1 day".into());
            return Err(BlobError::InvalidOption { option, reason });
        }
        let version = self.version(id).await?;
        let error = match self.thaw_version(id, version.clone(), thaw, Some(thaw.days)).await {
            Err(error) => error,
            outcome => return outcome,
        };
        // Blobs in the archive tiers of INTELLIGENT_TIERING come back for good: asking for days is
        // an error there, and only a HEAD tells the class.
        let sinks = |meta: BlobMeta| meta.class.is_some_and(|class| class.may_sink());
        if matches!(error, BlobError::InvalidOption { .. })
            && self.head(id, Op::Thaw).await.is_ok_and(sinks)
        {
            return self.thaw_version(id, version, thaw, None).await;
        }
        Err(error)
    }

    pub(crate) async fn thaw_version(
        &self,
        id: &BlobId,
        version: Option<String>,
        thaw: &ThawRequest,
        days: Option<u16>,
    ) -> Result<ThawOutcome> {
        let exchange = Exchange::new(Expect::Nothing);
        let exchange = Arc::new(exchange.header("content-type", "application/xml".into()));
        let request = RestoreObjectRequest {
            bucket: self.bucket(),
            key: self.key(id),
            restore_request: Some(RestoreRequest {
                days: days.map(i64::from),
                glacier_job_parameters: Some(GlacierJobParameters { tier: thaw.tier.to_string() }),
                ..RestoreRequest::default()
            }),
            version_id: version,
            ..RestoreObjectRequest::default()
        };
        let result = self.wire.client(&exchange).restore_object(request).await;
        let answer = exchange.answer();
        let Err(error) = result else {
            let again = answer.is_some_and(|answer| answer.status == 200);
            return Ok(if again { ThawOutcome::Extended } else { ThawOutcome::Started });
        };
        match answer.map(|answer| meaning(Op::Thaw, &answer)) {
            Some(Meaning::AlreadyRunning) => Ok(ThawOutcome::AlreadyRunning),
            Some(Meaning::NotCold) => Ok(ThawOutcome::NotCold),
            _ => Err(self.about(Op::Thaw, Some(id)).error(&exchange, &error)),
        }
    }
}

/// Can a blob be read, by its class and the headers `x-amz-restore` and `x-amz-archive-status`?
/// The last one tells of blobs in the archive tiers of INTELLIGENT_TIERING.
pub(crate) fn state(
    class: &StorageClass,
    restore: Option<&str>,
    archive_status: Option<&str>,
) -> ReadState {
    match restore.and_then(restore_header) {
        Some(state) => state,
        None if class.is_archive() || archive_status.is_some() => ReadState::Cold,
        None => ReadState::Ready,
    }
}

fn restore_header(header: &str) -> Option<ReadState> {
    if header.contains("ongoing-request=\"true\"") {
        return Some(ReadState::Thawing);
    }
    let done = header.contains("ongoing-request=\"false\"");
    let until = || {
        let (_, date) = header.split_once("expiry-date=\"")?;
        time::parse_http_date(date.split('"').next()?)
    };
    done.then(|| ReadState::Thawed { until: until() })
}

#[cfg(test)]
mod tests {
    use blob_core::Timestamp;

    use super::*;

    #[test]
    fn a_state_is_read_from_class_and_headers() {
        let glacier = StorageClass::GLACIER;
        assert_eq!(state(&glacier, None, None), ReadState::Cold);
        assert_eq!(state(&StorageClass::STANDARD, None, None), ReadState::Ready);
        let tiering = StorageClass::INTELLIGENT_TIERING;
        assert_eq!(state(&tiering, None, None), ReadState::Ready);
        assert_eq!(state(&tiering, None, Some("ARCHIVE_ACCESS")), ReadState::Cold);
        let running = Some("ongoing-request=\"true\"");
        assert_eq!(state(&glacier, running, None), ReadState::Thawing);
        let done = "ongoing-request=\"false\", expiry-date=\"Sun, 06 Nov 1994 08:49:37 GMT\"";
        let until = Some(Timestamp::from_secs(784_111_777));
        assert_eq!(state(&glacier, Some(done), None), ReadState::Thawed { until });
        assert_eq!(state(&glacier, Some("nonsense"), None), ReadState::Cold);
    }
}
