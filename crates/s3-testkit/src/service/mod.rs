//! The S3 operations, one file per subject.
//!
//! s3s turns a request into a typed input and a typed output into an answer; what a header said
//! is kept and given back as it was sent, so that a test sees what its client really asked for.

mod attributes;
mod batch;
mod bucket;
mod copy;
mod delete;
mod lifecycle;
mod list;
mod multipart;
mod read;
mod restore;
mod retain;
mod untyped;
mod versions;
mod write;

use std::sync::Arc;
use std::time::SystemTime;

pub(crate) use untyped::Untyped;

use http::StatusCode;
use s3s::dto::*;
use s3s::host::{S3Host, VirtualHost};
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

use crate::access::{Action, access_denied};
use crate::objects::{Bucket, StoredObject};
use crate::request::bucket_of_host;
use crate::server::Shared;
use crate::versions::NoObject;
use crate::wire::Status;

/// The S3 implementation of one server.
pub(crate) struct Service(pub Arc<Shared>);

/// Finds the bucket in a host name; any other host name means path style.
pub(crate) struct Domains(pub Vec<String>);

impl S3Host for Domains {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        let virtual_host = VirtualHost::new(host);
        Ok(match bucket_of_host(host, &self.0) {
            Some(bucket) => virtual_host.with_bucket(bucket),
            None => virtual_host,
        })
    }
}

/// An error whose code s3s does not know.
fn custom_error(status: StatusCode, code: &'static str, message: String) -> S3Error {
    let mut error = S3Error::with_message(S3ErrorCode::Custom(code.into()), message);
    error.set_status_code(status);
    error
}

/// An answer of this status, which s3s would not give by itself.
fn with_status<T>(output: T, status: StatusCode) -> S3Response<T> {
    let mut response = S3Response::new(output);
    response.extensions.insert(Status(status));
    response
}

impl Service {
    /// Looks at a bucket under the store's lock; bodies must not be hashed or copied in here.
    fn with_bucket<T>(
        &self,
        name: &str,
        look: impl FnOnce(&mut Bucket, SystemTime) -> S3Result<T>,
    ) -> S3Result<T> {
        let now = self.0.clock.now();
        let mut buckets = self.0.objects.buckets();
        match buckets.get_mut(name) {
            Some(bucket) => look(bucket, now),
            None => Err(s3_error!(NoSuchBucket, "The specified bucket does not exist")),
        }
    }

    /// A copy of an object's record, brought up to date.
    fn object(
        &self,
        bucket: &str,
        key: &str,
        version: Option<&str>,
    ) -> S3Result<(StoredObject, SystemTime)> {
        self.with_bucket(bucket, |bucket, now| {
            let object =
                bucket.find(key, version).map_err(|why| self.no_object(key, version, why))?;
            object.settle(now);
            Ok((object.clone(), now))
        })
    }

    fn no_object(&self, key: &str, version: Option<&str>, why: NoObject) -> S3Error {
        match (version, why) {
            (None, _) => self.missing(key),
            (Some(_), NoObject::Marker) => s3_error!(
                MethodNotAllowed,
                "The specified method is not allowed against this resource."
            ),
            (Some(_), NoObject::Locked) => {
                s3_error!(AccessDenied, "Access Denied because object protected by object lock.")
            }
            (Some(_), NoObject::Unknown) => {
                s3_error!(NoSuchVersion, "The specified version does not exist.")
            }
        }
    }

    /// Who may not list is not told that a key is missing.
    fn missing(&self, key: &str) -> S3Error {
        if self.0.denials.denies(Action::List, key) {
            return access_denied();
        }
        let mut error = s3_error!(NoSuchKey, "The specified key does not exist.");
        error.set_headers(crate::access::error_field("Key", key));
        error
    }
}

#[async_trait::async_trait]
impl S3 for Service {
    async fn create_bucket(
        &self,
        request: S3Request<CreateBucketInput>,
    ) -> S3Result<S3Response<CreateBucketOutput>> {
        self.make_bucket(request.input)
    }

    async fn head_bucket(
        &self,
        request: S3Request<HeadBucketInput>,
    ) -> S3Result<S3Response<HeadBucketOutput>> {
        self.find_bucket(&request.input)
    }

    async fn list_buckets(
        &self,
        _request: S3Request<ListBucketsInput>,
    ) -> S3Result<S3Response<ListBucketsOutput>> {
        self.all_buckets()
    }

    async fn get_bucket_location(
        &self,
        request: S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        self.bucket_location(&request.input)
    }

    async fn get_bucket_versioning(
        &self,
        request: S3Request<GetBucketVersioningInput>,
    ) -> S3Result<S3Response<GetBucketVersioningOutput>> {
        self.bucket_versioning(&request.input)
    }

    async fn list_bucket_intelligent_tiering_configurations(
        &self,
        request: S3Request<ListBucketIntelligentTieringConfigurationsInput>,
    ) -> S3Result<S3Response<ListBucketIntelligentTieringConfigurationsOutput>> {
        self.tierings(&request.input)
    }

    async fn put_object(
        &self,
        request: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        self.put(request).await
    }

    async fn get_object(
        &self,
        request: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        self.get(request)
    }

    async fn head_object(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        self.head(request)
    }

    async fn delete_object(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.delete(request.input)
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        self.list(request)
    }

    async fn restore_object(
        &self,
        request: S3Request<RestoreObjectInput>,
    ) -> S3Result<S3Response<RestoreObjectOutput>> {
        self.restore(request.input)
    }

    async fn delete_objects(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        self.delete_many(request)
    }

    async fn copy_object(
        &self,
        request: S3Request<CopyObjectInput>,
    ) -> S3Result<S3Response<CopyObjectOutput>> {
        self.copy(request)
    }

    async fn put_object_retention(
        &self,
        request: S3Request<PutObjectRetentionInput>,
    ) -> S3Result<S3Response<PutObjectRetentionOutput>> {
        self.retain(request)
    }

    async fn get_object_retention(
        &self,
        request: S3Request<GetObjectRetentionInput>,
    ) -> S3Result<S3Response<GetObjectRetentionOutput>> {
        self.retention(&request.input)
    }

    async fn put_object_legal_hold(
        &self,
        request: S3Request<PutObjectLegalHoldInput>,
    ) -> S3Result<S3Response<PutObjectLegalHoldOutput>> {
        self.hold(request)
    }

    async fn get_object_lock_configuration(
        &self,
        request: S3Request<GetObjectLockConfigurationInput>,
    ) -> S3Result<S3Response<GetObjectLockConfigurationOutput>> {
        self.lock_configuration(&request.input)
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        self.start_upload(request)
    }

    async fn upload_part(
        &self,
        request: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        self.upload_part(request).await
    }

    async fn upload_part_copy(
        &self,
        request: S3Request<UploadPartCopyInput>,
    ) -> S3Result<S3Response<UploadPartCopyOutput>> {
        self.copy_part(&request.input)
    }

    async fn get_object_tagging(
        &self,
        request: S3Request<GetObjectTaggingInput>,
    ) -> S3Result<S3Response<GetObjectTaggingOutput>> {
        self.tags(&request.input)
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        self.complete_upload(request.input)
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        self.abort_upload(&request.input)
    }
}
