//! PutObject: one pass over the body, checked by every sum that came with it.

use std::sync::atomic::Ordering;

use bytes::{Bytes, BytesMut};
use futures::TryStreamExt as _;
use http::{HeaderMap, StatusCode};
use md5::{Digest as _, Md5};
use s3s::checksum::ChecksumHasher;
use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, StdError, s3_error};

use super::attributes::{Attributes, CHECKSUMS};
use super::{Service, custom_error};
use crate::access::header;
use crate::objects::Bucket;
use crate::text::hex;

/// A body that has arrived and is what its sender meant.
pub(super) struct Received {
    pub bytes: Bytes,
    /// The MD5; zeros where nobody wants to know.
    pub md5: [u8; 16],
    /// The checksum that was sent and verified: header name and value.
    pub checksum: Option<(String, String)>,
}

impl Service {
    pub(super) async fn put(
        &self,
        request: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        let mut attributes = Attributes::of(&request.headers, &self.0.options)?;
        let input = request.input;
        self.with_bucket(&input.bucket, |bucket, _| {
            let conditions = (input.if_none_match.as_ref(), input.if_match.as_ref());
            self.check_conditions(bucket, &input.key, conditions)
        })?;
        let trailers = request.trailing_headers;
        let trailers = move || trailers.and_then(|trailers| trailers.take());
        let received = self.receive(input.body, &request.headers, trailers).await?;
        if let Some((name, value)) = &received.checksum {
            attributes.headers.insert(name.clone(), value.clone());
        }
        let etag = self.etag_of(&received);
        let mut output = put_output(&etag, &attributes);
        let checksum = received.checksum.clone();
        output.version_id = self.with_bucket(&input.bucket, |bucket, now| {
            // Asked again: another writer may have been faster while the body came in.
            let conditions = (input.if_none_match.as_ref(), input.if_match.as_ref());
            self.check_conditions(bucket, &input.key, conditions)?;
            Ok(bucket.store(&input.key, attributes.into_object(received.bytes, etag, now)))
        })?;
        Ok(with_checksum(S3Response::new(output), checksum.as_ref()))
    }

    /// Takes a body in and verifies it against Content-MD5 and `x-amz-checksum-*`, which may come
    /// in a trailer. The signed SHA-256 is verified by s3s, as an error of the stream.
    pub(super) async fn receive(
        &self,
        body: Option<StreamingBlob>,
        headers: &HeaderMap,
        trailers: impl FnOnce() -> Option<HeaderMap>,
    ) -> S3Result<Received> {
        let announced = sum_name(headers)?;
        let mut hasher = hasher_of(announced);
        let want_md5 = self.0.options.md5_etags || headers.contains_key("content-md5");
        let mut md5 = want_md5.then(Md5::new);
        let mut bytes = BytesMut::with_capacity(announced_length(headers));
        if let Some(mut body) = body {
            while let Some(chunk) = body.try_next().await.map_err(|e| broken_body(&e))? {
                hasher.update(&chunk);
                if let Some(md5) = &mut md5 {
                    md5.update(&chunk);
                }
                bytes.extend_from_slice(&chunk);
            }
        }
        let md5 = md5.map_or([0; 16], |md5| md5.finalize().into());
        check_md5(header(headers, "content-md5"), &md5)?;
        let found = announced.and_then(|name| sum_of(&hasher.finalize(), name));
        let checksum = match announced.zip(found) {
            Some((name, found)) => Some(verify_sum(name, found, headers, trailers())?),
            None => None,
        };
        Ok(Received { bytes: bytes.freeze(), md5, checksum })
    }

    /// The MD5 where it was computed; else a new value of the same form that says nothing about
    /// the content, as with encryption by KMS.
    fn etag_of(&self, received: &Received) -> String {
        if received.md5 != [0; 16] {
            return hex(&received.md5);
        }
        let number = self.0.etags_made.fetch_add(1, Ordering::Relaxed);
        format!("{number:016x}{:016x}", received.bytes.len())
    }

    pub(super) fn check_conditions(
        &self,
        bucket: &Bucket,
        key: &str,
        (if_none_match, if_match): (Option<&ETagCondition>, Option<&ETagCondition>),
    ) -> S3Result<()> {
        let there = bucket.objects.get(key).map(|object| object.etag.as_str());
        let failed = || {
            s3_error!(
                PreconditionFailed,
                "At least one of the pre-conditions you specified did not hold"
            )
        };
        match (if_none_match, if_match, there) {
            (Some(condition), _, _) if !condition.is_any() => Err(s3_error!(
                NotImplemented,
                "A header you provided implies functionality that is not implemented"
            )),
            (Some(_), _, Some(_)) => Err(failed()),
            (_, Some(_), None) => Err(self.missing(key)),
            (_, Some(condition), Some(etag)) if !matches_etag(condition, etag) => Err(failed()),
            _ => Ok(()),
        }
    }
}

pub(super) fn matches_etag(condition: &ETagCondition, etag: &str) -> bool {
    condition.is_any() || condition.as_etag().is_some_and(|wanted| wanted.value() == etag)
}

fn put_output(etag: &str, attributes: &Attributes) -> PutObjectOutput {
    let said = |name: &str| attributes.headers.get(name).cloned();
    PutObjectOutput {
        e_tag: Some(ETag::Strong(etag.to_owned())),
        server_side_encryption: said("x-amz-server-side-encryption")
            .map(ServerSideEncryption::from),
        ssekms_key_id: said("x-amz-server-side-encryption-aws-kms-key-id"),
        ssekms_encryption_context: said("x-amz-server-side-encryption-context"),
        bucket_key_enabled: said("x-amz-server-side-encryption-bucket-key-enabled")
            .and_then(|value| value.parse().ok()),
        ..Default::default()
    }
}

pub(super) fn with_checksum<T>(
    mut response: S3Response<T>,
    checksum: Option<&(String, String)>,
) -> S3Response<T> {
    if let Some((name, value)) = checksum
        && let (Ok(name), Ok(value)) = (name.parse::<http::HeaderName>(), value.parse())
    {
        response.headers.insert(name, value);
    }
    response
}

fn announced_length(headers: &HeaderMap) -> usize {
    let decoded = header(headers, "x-amz-decoded-content-length");
    let length = decoded.or_else(|| header(headers, "content-length"));
    // A wild announcement must not reserve all memory; the buffer grows if it was true.
    length.and_then(|text| text.parse().ok()).unwrap_or(0_usize).min(256 << 20)
}

/// Which of the checksums a request announces, in a header or as a trailer.
fn sum_name(headers: &HeaderMap) -> S3Result<Option<&'static str>> {
    let trailer = header(headers, "x-amz-trailer").unwrap_or("");
    let is_announced = |name: &&&str| {
        let full = format!("x-amz-checksum-{name}");
        headers.contains_key(&full) || trailer == full
    };
    let names: Vec<&&str> = CHECKSUMS.iter().filter(is_announced).collect();
    match names[..] {
        [] => Ok(None),
        [name] => Ok(Some(name)),
        _ => Err(s3_error!(
            InvalidRequest,
            "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed."
        )),
    }
}

fn hasher_of(name: Option<&str>) -> ChecksumHasher {
    let is = |wanted: &str| name == Some(wanted);
    ChecksumHasher {
        crc32: is("crc32").then(Default::default),
        crc32c: is("crc32c").then(Default::default),
        sha1: is("sha1").then(Default::default),
        sha256: is("sha256").then(Default::default),
        crc64nvme: is("crc64nvme").then(Default::default),
    }
}

fn sum_of(sums: &Checksum, name: &str) -> Option<String> {
    match name {
        "crc32" => sums.checksum_crc32.clone(),
        "crc32c" => sums.checksum_crc32c.clone(),
        "crc64nvme" => sums.checksum_crc64nvme.clone(),
        "sha1" => sums.checksum_sha1.clone(),
        _ => sums.checksum_sha256.clone(),
    }
}

/// The checksum that S3 computes by itself for an object that was put without one.
pub(super) fn own_checksum(bytes: &[u8]) -> Option<(String, String)> {
    checksum_of("crc64nvme", bytes)
}

/// The checksum of this kind, as a header.
pub(super) fn checksum_of(name: &str, bytes: &[u8]) -> Option<(String, String)> {
    let name = CHECKSUMS.into_iter().find(|known| *known == name)?;
    let mut hasher = hasher_of(Some(name));
    hasher.update(bytes);
    let value = sum_of(&hasher.finalize(), name)?;
    Some((format!("x-amz-checksum-{name}"), value))
}

fn verify_sum(
    name: &str,
    found: String,
    headers: &HeaderMap,
    trailers: Option<HeaderMap>,
) -> S3Result<(String, String)> {
    let full = format!("x-amz-checksum-{name}");
    let trailers = trailers.unwrap_or_default();
    let sent = header(headers, &full).or_else(|| header(&trailers, &full));
    if sent.is_some_and(|sent| sent == found) {
        return Ok((full, found));
    }
    let name = name.to_uppercase();
    Err(S3Error::with_message(
        S3ErrorCode::BadDigest,
        format!("The {name} you specified did not match the calculated checksum."),
    ))
}

fn check_md5(sent: Option<&str>, found: &[u8; 16]) -> S3Result<()> {
    use base64::Engine as _;
    let Some(sent) = sent else { return Ok(()) };
    match base64::engine::general_purpose::STANDARD.decode(sent) {
        Ok(sum) if sum == found => Ok(()),
        Ok(sum) if sum.len() == 16 => Err(s3_error!(
            BadDigest,
            "The Content-MD5 you specified did not match what we received."
        )),
        _ => Err(s3_error!(InvalidDigest, "The Content-MD5 you specified was invalid.")),
    }
}

/// s3s tells by the stream what is wrong with a body, in types of its own.
fn broken_body(error: &StdError) -> S3Error {
    let text = error.to_string();
    if text.contains("Sha256Mismatch") {
        custom_error(
            StatusCode::BAD_REQUEST,
            "XAmzContentSHA256Mismatch",
            "The provided 'x-amz-content-sha256' header does not match what was computed.".into(),
        )
    } else if text.contains("SignatureMismatch") {
        s3_error!(
            SignatureDoesNotMatch,
            "The request signature we calculated does not match the signature you provided."
        )
    } else {
        s3_error!(
            IncompleteBody,
            "You did not provide the number of bytes specified by the Content-Length HTTP header"
        )
    }
}

/// What a request may not say about an object that it only reads.
pub(super) fn refuse_encryption_headers(headers: &HeaderMap) -> S3Result<()> {
    if headers.contains_key("x-amz-server-side-encryption") {
        return Err(s3_error!(
            InvalidArgument,
            "x-amz-server-side-encryption header is not supported for this operation."
        ));
    }
    Ok(())
}
