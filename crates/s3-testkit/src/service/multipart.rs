//! Multipart uploads: attributes come with the start, bytes with the parts, the object at the end.
//!
//! Kopia never uploads so, but other programs do whose repositories lie beside its own.

use bytes::BytesMut;
use md5::{Digest as _, Md5};
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::Service;
use super::attributes::Attributes;
use super::copy::check_source;
use super::write::{checksum_of, with_checksum};
use crate::access::{Action, access_denied, header};
use crate::objects::{Bucket, Upload};
use crate::text::hex;

impl Service {
    pub(super) fn start_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        // Read only for its checks: the headers are read again when the object is made.
        Attributes::of(&request.headers, &self.0.options)?;
        let input = request.input;
        let id = self.with_bucket(&input.bucket, |bucket, _| {
            bucket.uploads_started += 1;
            let id = format!("upload-{:08}", bucket.uploads_started);
            let (key, headers) = (input.key.clone(), request.headers);
            bucket.uploads.insert(id.clone(), Upload { key, headers, parts: Default::default() });
            Ok(id)
        })?;
        Ok(S3Response::new(CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(id),
            ..Default::default()
        }))
    }

    pub(super) async fn upload_part(
        &self,
        request: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        let input = request.input;
        self.with_bucket(&input.bucket, |bucket, _| {
            upload_of(bucket, &input.upload_id, &input.key).map(|_| ())
        })?;
        let trailers = request.trailing_headers;
        let trailers = move || trailers.and_then(|trailers| trailers.take());
        let received = self.receive(input.body, &request.headers, trailers).await?;
        // The ETag of the whole is made of the MD5 of the parts, whatever the option says.
        let md5 = match received.md5 {
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] => Md5::digest(&received.bytes).into(),
            md5 => md5,
        };
        self.with_bucket(&input.bucket, |bucket, _| {
            let upload = upload_of(bucket, &input.upload_id, &input.key)?;
            upload.parts.insert(input.part_number, (received.bytes, md5));
            Ok(())
        })?;
        let e_tag = Some(ETag::Strong(hex(&md5)));
        let response = S3Response::new(UploadPartOutput { e_tag, ..Default::default() });
        Ok(with_checksum(response, received.checksum.as_ref()))
    }

    /// UploadPartCopy: a part whose bytes are those of an object that is there.
    pub(super) fn copy_part(
        &self,
        input: &UploadPartCopyInput,
    ) -> S3Result<S3Response<UploadPartCopyOutput>> {
        let CopySource::Bucket { bucket: from_bucket, key: from_key, .. } = &input.copy_source
        else {
            return Err(s3_error!(NotImplemented, "Copies from access points are not implemented"));
        };
        if self.0.denials.denies(Action::Get, from_key) {
            return Err(access_denied());
        }
        let (source, now) = self.object(from_bucket, from_key, None)?;
        let conditions =
            (input.copy_source_if_match.as_ref(), input.copy_source_if_none_match.as_ref());
        check_source(&source, conditions, now)?;
        let bytes = match input.copy_source_range.as_deref() {
            None => source.bytes,
            Some(range) => {
                let span = span_of(range).filter(|span| span.end <= source.bytes.len());
                let span = span.ok_or_else(|| {
                    s3_error!(InvalidArgument, "The x-amz-copy-source-range value is not valid")
                })?;
                source.bytes.slice(span)
            }
        };
        let md5: [u8; 16] = Md5::digest(&bytes).into();
        self.with_bucket(&input.bucket, |bucket, now| {
            let upload = upload_of(bucket, &input.upload_id, &input.key)?;
            upload.parts.insert(input.part_number, (bytes, md5));
            let copy_part_result = Some(CopyPartResult {
                e_tag: Some(ETag::Strong(hex(&md5))),
                last_modified: Some(now.into()),
                ..Default::default()
            });
            let output = UploadPartCopyOutput { copy_part_result, ..Default::default() };
            Ok(S3Response::new(output))
        })
    }

    pub(super) fn complete_upload(
        &self,
        input: CompleteMultipartUploadInput,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let wanted = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
        let upload = self.with_bucket(&input.bucket, |bucket, _| {
            let conditions = (input.if_none_match.as_ref(), input.if_match.as_ref());
            self.check_conditions(bucket, &input.key, conditions)?;
            upload_of(bucket, &input.upload_id, &input.key).map(|upload| upload.clone())
        })?;
        let (bytes, etag) = assemble(&upload, &wanted)?;
        let mut attributes = Attributes::of(&upload.headers, &self.0.options)?;
        if let Some(kind) = header(&upload.headers, "x-amz-checksum-algorithm") {
            attributes.headers.extend(checksum_of(&kind.to_lowercase(), &bytes));
        }
        self.with_bucket(&input.bucket, |bucket, now| {
            let object = attributes.into_object(bytes.freeze(), etag.clone(), now);
            bucket.store(&input.key, object);
            bucket.uploads.remove(&input.upload_id);
            Ok(())
        })?;
        Ok(S3Response::new(CompleteMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            e_tag: Some(ETag::Strong(etag)),
            ..Default::default()
        }))
    }

    pub(super) fn abort_upload(
        &self,
        input: &AbortMultipartUploadInput,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        self.with_bucket(&input.bucket, |bucket, _| {
            upload_of(bucket, &input.upload_id, &input.key)?;
            bucket.uploads.remove(&input.upload_id);
            Ok(())
        })?;
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }
}

fn upload_of<'a>(bucket: &'a mut Bucket, id: &str, key: &str) -> S3Result<&'a mut Upload> {
    bucket.uploads.get_mut(id).filter(|upload| upload.key == key).ok_or_else(|| {
        s3_error!(
            NoSuchUpload,
            "The specified upload does not exist. The upload ID may be invalid, or the upload may \
             have been aborted or completed."
        )
    })
}

/// The bytes of `bytes=first-last`.
fn span_of(range: &str) -> Option<std::ops::Range<usize>> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some(first..last.checked_add(1)?)
}

/// The named parts in order, and the ETag: the MD5 of their MD5s, and their number.
fn assemble(upload: &Upload, wanted: &[CompletedPart]) -> S3Result<(BytesMut, String)> {
    if wanted.is_empty() {
        return Err(s3_error!(MalformedXML, "You must specify at least one part"));
    }
    let (mut bytes, mut md5, mut last) = (BytesMut::new(), Md5::new(), 0);
    for part in wanted {
        let number = part.part_number.unwrap_or(0);
        if number <= last {
            return Err(s3_error!(
                InvalidPartOrder,
                "The list of parts was not in ascending order."
            ));
        }
        last = number;
        let found = upload
            .parts
            .get(&number)
            .filter(|(_, md5)| part.e_tag.as_ref().is_none_or(|etag| etag.value() == hex(md5)));
        let (content, sum) = found.ok_or_else(|| {
            s3_error!(InvalidPart, "One or more of the specified parts could not be found.")
        })?;
        bytes.extend_from_slice(content);
        md5.update(sum);
    }
    Ok((bytes, format!("{}-{}", hex(&md5.finalize()), wanted.len())))
}
