//! CopyObject: a new object of new time and class; what the request does not say is lost.
//!
//! Without a class the copy is STANDARD, whatever its source was; encryption, lock and ACL are
//! never inherited; metadata and tags are, unless they are replaced, and the kind of checksum, unless
//! another is asked for ("CopyObject", S3 API).

use std::collections::BTreeMap;

use http::{HeaderMap, StatusCode};
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::attributes::{Attributes, is_checksum, is_metadata};
use super::write::{checksum_of, matches_etag};
use super::{Service, custom_error};
use crate::access::{Action, access_denied, error_field, header};
use crate::objects::StoredObject;

impl Service {
    pub(super) fn copy(
        &self,
        request: S3Request<CopyObjectInput>,
    ) -> S3Result<S3Response<CopyObjectOutput>> {
        let (headers, input) = (request.headers, request.input);
        let CopySource::Bucket { bucket: from_bucket, key: from_key, .. } = &input.copy_source
        else {
            return Err(s3_error!(NotImplemented, "Copies from access points are not implemented"));
        };
        if self.0.denials.denies(Action::Get, from_key) {
            return Err(access_denied());
        }
        let mut attributes = Attributes::of(&headers, &self.0.options)?;
        let (source, now) = self.object(from_bucket, from_key, None)?;
        let conditions =
            (input.copy_source_if_match.as_ref(), input.copy_source_if_none_match.as_ref());
        check_source(&source, conditions, now)?;
        let is_self = **from_bucket == *input.bucket && **from_key == *input.key;
        if is_self && changes_nothing(&source, &headers, &attributes) {
            return Err(s3_error!(
                InvalidRequest,
                "This copy request is illegal because it is trying to copy an object to itself \
                 without changing the object's metadata, storage class, website redirect location \
                 or encryption attributes."
            ));
        }
        attributes.headers = inherited(&source, attributes.headers, &headers);
        if let Some(kind) = header(&headers, "x-amz-checksum-algorithm") {
            attributes.headers.retain(|name, _| !is_checksum(name));
            attributes.headers.extend(checksum_of(&kind.to_lowercase(), &source.bytes));
        }
        let result = self.with_bucket(&input.bucket, |bucket, now| {
            let object = attributes.into_object(source.bytes, source.etag.clone(), now);
            bucket.store(&input.key, object);
            Ok(CopyObjectResult {
                e_tag: Some(ETag::Strong(source.etag)),
                last_modified: Some(now.into()),
                ..Default::default()
            })
        })?;
        let copy_object_result = Some(result);
        Ok(S3Response::new(CopyObjectOutput { copy_object_result, ..Default::default() }))
    }
}

/// Is the source what the copy was meant for, and can it be read?
pub(super) fn check_source(
    source: &StoredObject,
    (if_match, if_none_match): (Option<&ETagCondition>, Option<&ETagCondition>),
    now: std::time::SystemTime,
) -> S3Result<()> {
    let differs = |wanted: &ETagCondition| !matches_etag(wanted, &source.etag);
    if if_match.is_some_and(differs) || if_none_match.is_some_and(|wanted| !differs(wanted)) {
        return Err(s3_error!(
            PreconditionFailed,
            "At least one of the pre-conditions you specified did not hold"
        ));
    }
    if source.is_readable(now) {
        return Ok(());
    }
    let mut error = custom_error(
        StatusCode::FORBIDDEN,
        "ObjectNotInActiveTierError",
        "The source object of the COPY action is not in the active tier".into(),
    );
    error.set_headers(error_field("StorageClass", &source.storage_class));
    Err(error)
}

fn changes_nothing(source: &StoredObject, headers: &HeaderMap, attributes: &Attributes) -> bool {
    let is_replacing = header(headers, "x-amz-metadata-directive") == Some("REPLACE")
        || header(headers, "x-amz-tagging-directive") == Some("REPLACE");
    let is_encrypting = headers.contains_key("x-amz-server-side-encryption")
        || headers.contains_key("x-amz-website-redirect-location");
    !is_replacing && !is_encrypting && attributes.storage_class == source.storage_class
}

/// The headers of the copy: its own, and of the source what the directives let through.
fn inherited(
    source: &StoredObject,
    own: BTreeMap<String, String>,
    request: &HeaderMap,
) -> BTreeMap<String, String> {
    let keeps = |directive| header(request, directive) != Some("REPLACE");
    let keeps_metadata = keeps("x-amz-metadata-directive");
    let keeps_tags = keeps("x-amz-tagging-directive");
    let comes_from_source = |name: &str| {
        (keeps_metadata && is_metadata(name))
            || (keeps_tags && name == "x-amz-tagging")
            || is_checksum(name)
    };
    let mut headers = own;
    headers.retain(|name, _| !comes_from_source(name));
    let given = source.headers.iter().filter(|(name, _)| comes_from_source(name));
    headers.extend(given.map(|(name, value)| (name.clone(), value.clone())));
    headers
}
