//! Jobs of S3 Batch Operations, and the plain objects that go with them: manifests and reports.
//!
//! Jobs are S3 Control's, which has a host of its own beside the bucket's (`ACCOUNT.s3-control.…`,
//! "CreateJob" and "DescribeJob" in the S3 Control API reference). What a job says and what is
//! answered is the caller's: here are bytes, signed and sent. Keys are whole keys, since manifests
//! and reports need not lie below the prefix that blobs have.

use std::sync::Arc;

use blob_core::{BlobError, Payload, Result};
use bytes::Bytes;
use rusoto_core::signature::SignedRequest;
use rusoto_s3::{GetObjectRequest, PutObjectRequest, S3};

use crate::{
    S3Storage, checksum,
    errors::Op,
    get::collect,
    wire::{Answer, Exchange, Expect, text_fields},
};

const JOBS: &str = "/v20180820/jobs";
const ACCOUNT: &str = "x-amz-account-id";

impl S3Storage {
    /// The bucket's name.
    pub fn bucket(&self) -> &str {
        self.inner.wire.place().bucket()
    }

    /// Writes an object of any key, in the bucket's default class; gives its ETag without quotes.
    ///
    /// # Errors
    /// As [`blob_core::BlobStorage::put`].
    pub async fn put_object(&self, key: &str, bytes: Bytes, content_type: &str) -> Result<String> {
        let inner = &self.inner;
        inner.require_present(Op::Put)?;
        let about = inner.about(Op::Put, None);
        let payload = Payload::from(bytes);
        let md5 = checksum::md5(&payload).map_err(|error| about.other(error.to_string()))?;
        let exchange = Arc::new(Exchange::new(Expect::Nothing).body(payload));
        let request = PutObjectRequest {
            bucket: inner.bucket(),
            key: key.to_owned(),
            content_type: Some(content_type.to_owned()),
            content_md5: Some(md5),
            ..PutObjectRequest::default()
        };
        match inner.wire.client(&exchange).put_object(request).await {
            Ok(output) => match output.e_tag {
                Some(etag) => Ok(etag.trim_matches('"').to_owned()),
                None => Err(about.transient("a good status without an ETag: that is not S3's")),
            },
            Err(error) => Err(about.error(&exchange, &error)),
        }
    }

    /// Reads an object of any key; `None` if there is none.
    ///
    /// # Errors
    /// As [`blob_core::BlobStorage::get`].
    pub async fn get_object(&self, key: &str) -> Result<Option<Bytes>> {
        let inner = &self.inner;
        let about = inner.about(Op::Get, None);
        let exchange = Arc::new(Exchange::new(Expect::Object));
        let (bucket, key) = (inner.bucket(), key.to_owned());
        let request = GetObjectRequest { bucket, key, ..GetObjectRequest::default() };
        let output = match inner.wire.client(&exchange).get_object(request).await {
            Ok(output) => output,
            Err(_) if exchange.answer().is_some_and(|answer| answer.code() == "NoSuchKey") => {
                return Ok(None);
            }
            Err(error) => return Err(about.error(&exchange, &error)),
        };
        let length = output.content_length.and_then(|length| u64::try_from(length).ok());
        match output.body {
            Some(body) => collect(body, length, &about).await.map(Some),
            None => Ok(Some(Bytes::new())),
        }
    }

    /// Creates a job; gives its ID. `request` is the body of CreateJob. The bucket's region must be
    /// known by then: any answer of the bucket tells it.
    ///
    /// # Errors
    /// [`BlobError::AccessDenied`] without the rights to create jobs and to pass the role;
    /// [`BlobError::InvalidOption`] for a request that is not understood;
    /// [`BlobError::Unsupported`] where there are no jobs; and what any call may give. After one
    /// that may be tried again the job may exist: the same request, with its token, makes no second.
    pub async fn create_batch_job(&self, account: &str, request: String) -> Result<String> {
        self.inner.require_present(Op::Batch)?;
        let answer = self.control(account, "POST", JOBS, Some(request)).await?;
        let about = self.inner.about(Op::Batch, None);
        let unreadable = |reason| about.transient(format!("the answer can't be read: {reason}"));
        match text_fields(&answer).map_err(unreadable)? {
            (root, mut fields) if root == "CreateJobResult" => {
                let id = fields.remove("JobId").filter(|id| !id.is_empty());
                id.ok_or_else(|| unreadable("it has no JobId".into()))
            }
            (root, _) => Err(unreadable(format!("it is <{root}>"))),
        }
    }

    /// What S3 tells about a job: the answer of DescribeJob as it came.
    ///
    /// # Errors
    /// As any call.
    pub async fn describe_batch_job(&self, account: &str, id: &str) -> Result<Bytes> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if id.is_empty() || !id.bytes().all(plain) {
            let (option, reason) = ("the batch job".into(), format!("{id:?} is no job's ID"));
            return Err(BlobError::InvalidOption { option, reason });
        }
        self.control(account, "GET", &format!("{JOBS}/{id}"), None).await
    }

    async fn control(
        &self,
        account: &str,
        method: &str,
        path: &str,
        body: Option<String>,
    ) -> Result<Bytes> {
        let inner = &self.inner;
        // It becomes a part of the host's name.
        if account.len() != 12 || !account.bytes().all(|byte| byte.is_ascii_digit()) {
            let reason = format!("{account:?} has not 12 digits");
            return Err(BlobError::InvalidOption { option: "account".into(), reason });
        }
        let mut exchange = Exchange::new(Expect::Listing)
            .header(ACCOUNT, account.to_owned())
            .control(account.to_owned());
        let mut request = SignedRequest::new(method, "s3", &inner.wire.rusoto_region(), path);
        if let Some(body) = body {
            exchange = exchange.header("content-type", "application/xml".into());
            request.set_payload(Some(body));
        }
        let about = inner.about(Op::Batch, None);
        let whole = inner.whole_body(&Arc::new(exchange), request, about).await;
        let body = whole.map_err(|(_, error)| error)?;
        match crate::wire::error_fields(&body) {
            Some(fields) => {
                let answer = Answer { status: 500, fields, ..Answer::default() };
                Err(inner.about(Op::Batch, None).refused(&answer))
            }
            None => Ok(body),
        }
    }
}
