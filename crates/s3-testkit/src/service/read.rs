//! GetObject and HeadObject: cold objects answer HEAD, not GET.

use std::ops::Range as Span;
use std::time::SystemTime;

use http::StatusCode;
use s3s::dto::*;
use s3s::{Body, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

use super::attributes::{CHECKSUMS, echo, tags_of};
use super::write::{matches_etag, own_checksum, refuse_encryption_headers};
use super::{Service, with_status};
use crate::access::{add_error_field, error_field};
use crate::objects::StoredObject;

impl Service {
    pub(super) fn get(
        &self,
        request: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        refuse_encryption_headers(&request.headers)?;
        let input = request.input;
        let (object, now) = self.object(&input.bucket, &input.key, input.version_id.as_deref())?;
        if !object.is_readable(now) {
            return Err(cold(&object));
        }
        let conditions = (input.if_match.as_ref(), input.if_none_match.as_ref());
        if let Some(status) = unmet(&object, conditions) {
            return status.map(|status| with_status(Default::default(), status));
        }
        let (span, content_range) = part_of(&object, input.range)?;
        let bytes = object.bytes.slice(span);
        let mut response = S3Response::new(GetObjectOutput {
            content_length: i64::try_from(bytes.len()).ok(),
            content_range,
            accept_ranges: Some("bytes".into()),
            body: Some(StreamingBlob::from(Body::from(bytes))),
            e_tag: Some(ETag::Strong(object.etag.clone())),
            last_modified: Some(object.last_modified.into()),
            ..Default::default()
        });
        response.headers = described(object, input.checksum_mode.as_ref(), now);
        Ok(response)
    }

    pub(super) fn head(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        refuse_encryption_headers(&request.headers)?;
        let input = request.input;
        let (object, now) = self.object(&input.bucket, &input.key, input.version_id.as_deref())?;
        let conditions = (input.if_match.as_ref(), input.if_none_match.as_ref());
        if let Some(status) = unmet(&object, conditions) {
            return status.map(|status| with_status(Default::default(), status));
        }
        let (span, content_range) = part_of(&object, input.range)?;
        let mut response = S3Response::new(HeadObjectOutput {
            content_length: i64::try_from(span.len()).ok(),
            content_range,
            accept_ranges: Some("bytes".into()),
            e_tag: Some(ETag::Strong(object.etag.clone())),
            last_modified: Some(object.last_modified.into()),
            ..Default::default()
        });
        response.headers = described(object, input.checksum_mode.as_ref(), now);
        Ok(response)
    }
}

impl Service {
    /// GetObjectTagging.
    pub(super) fn tags(
        &self,
        input: &GetObjectTaggingInput,
    ) -> S3Result<S3Response<GetObjectTaggingOutput>> {
        let version = input.version_id.as_deref();
        let (object, _) = self.object(&input.bucket, &input.key, version)?;
        let tags = tags_of(object.header("x-amz-tagging").unwrap_or(""));
        let tag = |(key, value)| Tag { key: Some(key), value: Some(value) };
        let tag_set = tags.into_iter().map(tag).collect();
        Ok(S3Response::new(GetObjectTaggingOutput { tag_set, version_id: None }))
    }
}

fn described(
    mut object: StoredObject,
    checksum_mode: Option<&ChecksumMode>,
    now: SystemTime,
) -> http::HeaderMap {
    let with_checksum = checksum_mode.is_some_and(|mode| mode.as_str() == "ENABLED");
    let has_own =
        CHECKSUMS.iter().any(|name| object.headers.contains_key(&format!("x-amz-checksum-{name}")));
    if with_checksum && !has_own {
        object.headers.extend(own_checksum(&object.bytes));
    }
    echo(&object, with_checksum, now)
}

/// The status of a request whose conditions do not hold: an error, or "not modified".
fn unmet(
    object: &StoredObject,
    (if_match, if_none_match): (Option<&ETagCondition>, Option<&ETagCondition>),
) -> Option<S3Result<StatusCode>> {
    if if_match.is_some_and(|condition| !matches_etag(condition, &object.etag)) {
        return Some(Err(s3_error!(
            PreconditionFailed,
            "At least one of the pre-conditions you specified did not hold"
        )));
    }
    let is_same = if_none_match.is_some_and(|condition| matches_etag(condition, &object.etag));
    is_same.then_some(Ok(StatusCode::NOT_MODIFIED))
}

/// The bytes a range stands for, and how the answer names them.
fn part_of(object: &StoredObject, range: Option<Range>) -> S3Result<(Span<usize>, Option<String>)> {
    let len = object.bytes.len();
    let Some(range) = range else { return Ok((0..len, None)) };
    let outside = || {
        let mut error = s3_error!(InvalidRange, "The requested range is not satisfiable");
        error.set_status_code(StatusCode::RANGE_NOT_SATISFIABLE);
        error.set_headers(error_field("ActualObjectSize", &len.to_string()));
        error
    };
    let span = range.check(len as u64).map_err(|_| outside())?;
    let named = format!("bytes {}-{}/{len}", span.start, span.end.saturating_sub(1));
    let to_index = |at| usize::try_from(at).map_err(|_| outside());
    let span = to_index(span.start)?..to_index(span.end)?;
    // A suffix of an empty object is an empty range, which no Content-Range can name.
    if span.is_empty() { Err(outside()) } else { Ok((span, Some(named))) }
}

/// What reading a cold object is answered with; it names the class and the archive tier.
pub(super) fn cold(object: &StoredObject) -> S3Error {
    let message = "The operation is not valid for the object's storage class";
    let mut error = S3Error::with_message(S3ErrorCode::InvalidObjectState, message);
    let mut fields = error_field("StorageClass", &object.storage_class);
    if let Some(tier) = object.archive_access {
        add_error_field(&mut fields, "AccessTier", tier.as_str());
    }
    error.set_headers(fields);
    error
}
