//! Moving a blob to another class: the object is copied onto itself, on the server.
//!
//! A copy inherits user metadata and tags and nothing else, so a HEAD tells first what has to be
//! said again: class, encryption, lock, hold. The copy is bound to the ETag that the HEAD saw. Its
//! answer may be `200 OK` with an `<Error>`, so all of it is read; where the outcome is not known,
//! another HEAD tells. Facts: AWS' API reference of CopyObject, CreateMultipartUpload and
//! UploadPartCopy.
//!
//! What can't be kept: the ACL, which no copy inherits (send one in the attributes), a KMS
//! encryption context, which no answer tells, and a lock whose reading is denied, since S3 then
//! leaves out its headers.

mod parts;
mod said;

use std::{collections::BTreeMap, sync::Arc};

use blob_core::{BlobError, BlobId, PutAttributes, ReadState, Result, StorageClass, Timestamp};
use rusoto_core::signature::SignedRequest;
use rusoto_s3::{HeadObjectRequest, S3};

use crate::{
    archive,
    errors::Op,
    put::encode,
    storage::Inner,
    time,
    wire::{Answer, Exchange, Expect, text_fields},
};

/// How much is copied in one request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CopySizes {
    /// The largest object that CopyObject takes; a larger one is copied in parts.
    pub whole_max: u64,
    /// The size of a part.
    pub part: u64,
}

impl Default for CopySizes {
    fn default() -> Self {
        Self { whole_max: 5 << 30, part: 512 << 20 }
    }
}

/// The object as it is, and how it is described.
#[derive(Debug)]
pub(super) struct Source {
    size: u64,
    modified: Option<Timestamp>,
    class: StorageClass,
    state: ReadState,
    etag: String,
    answer: Arc<Answer>,
}

impl Source {
    /// A header of the answer, in whatever characters it came.
    fn header(&self, name: &str) -> Option<String> {
        let value = self.answer.headers.get(name)?;
        Some(String::from_utf8_lossy(value.as_bytes()).into_owned()).filter(|it| !it.is_empty())
    }

    /// What tells a copy from what was there before.
    fn stamp(&self) -> (Option<Timestamp>, Option<String>) {
        (self.modified, self.header("x-amz-version-id"))
    }
}

/// A request about a blob and the fields of its answer.
type Answered = (Arc<Answer>, BTreeMap<String, String>);

impl Inner {
    pub(crate) async fn reclass(&self, id: &BlobId, to: &PutAttributes) -> Result<()> {
        if let Some(reason) = &to.refusal {
            let option = format!("moving {id}");
            return Err(BlobError::InvalidOption { option, reason: reason.clone() });
        }
        let source = self.source(id).await?;
        let class = to.class.clone().unwrap_or_else(|| source.class.clone());
        if class == source.class && to.is_class_alone() {
            return Ok(());
        }
        let copied = if source.size > self.copy_sizes.whole_max {
            self.copy_in_parts(id, &source, to, &class).await
        } else {
            self.copy_whole(id, &source, to, &class).await
        };
        match copied {
            Err(error @ BlobError::Transient { .. }) => {
                // It may have been done all the same.
                match self.source(id).await {
                    Ok(now) if is_done(&source, &now, &class) => Ok(()),
                    _ => Err(error),
                }
            }
            // Some services deny a copy of what is archived without saying why.
            Err(BlobError::Archived { .. } | BlobError::AccessDenied { .. })
                if !source.state.is_readable() =>
            {
                let class = Some(source.class);
                Err(BlobError::Archived { id: id.clone(), class, state: source.state })
            }
            other => other,
        }
    }

    async fn source(&self, id: &BlobId) -> Result<Source> {
        let exchange = Exchange::new(Expect::Object);
        let exchange = Arc::new(exchange.header("x-amz-checksum-mode", "ENABLED".into()));
        let request = HeadObjectRequest {
            bucket: self.bucket(),
            key: self.key(id),
            ..HeadObjectRequest::default()
        };
        let about = self.about(Op::Reclass, Some(id));
        let output = match self.wire.client(&exchange).head_object(request).await {
            Ok(output) => output,
            Err(error) => {
                // A refusal without a body says nothing; this asks for the reason.
                let refused = about.error(&exchange, &error);
                let mute = exchange.answer().is_some_and(|it| matches!(it.status, 400 | 403));
                if mute {
                    self.head(id, Op::Reclass).await?;
                }
                return Err(refused);
            }
        };
        let size = output.content_length.and_then(|size| u64::try_from(size).ok());
        let (Some(size), Some(etag), Some(answer)) = (size, output.e_tag, exchange.answer()) else {
            return Err(about.other("the answer lacks the object's length or ETag"));
        };
        let class = output.storage_class.map_or(StorageClass::STANDARD, StorageClass::new);
        let (restore, status) = (output.restore.as_deref(), output.archive_status.as_deref());
        let state = archive::state(&class, restore, status);
        let modified = output.last_modified.as_deref().and_then(time::parse_http_date);
        Ok(Source { size, modified, class, state, etag, answer })
    }

    async fn copy_whole(
        &self,
        id: &BlobId,
        source: &Source,
        to: &PutAttributes,
        class: &StorageClass,
    ) -> Result<()> {
        let mut request = self.about_object("PUT", id);
        self.name_source(&mut request, id, source);
        let replaces = !to.metadata.is_empty() || to.cache_control.is_some();
        let directive = if replaces { "REPLACE" } else { "COPY" };
        request.add_header("x-amz-metadata-directive", directive);
        if replaces {
            said::description(source, to).iter().for_each(|(k, v)| request.add_header(k, v));
        } else if let Some(place) = source.header("x-amz-website-redirect-location") {
            request.add_header("x-amz-website-redirect-location", &place);
        }
        if let Some(tags) = said::tagging(&to.tags) {
            request.add_header("x-amz-tagging-directive", "REPLACE");
            request.add_header("x-amz-tagging", &tags);
        }
        if let Some(kind) = to.checksum {
            request.add_header("x-amz-checksum-algorithm", said::algorithm(kind));
        }
        said::placement(source, to, class, self.clock.now())
            .iter()
            .for_each(|(name, value)| request.add_header(*name, value));
        let (_, fields) = self.ask(id, request, "CopyObjectResult").await?;
        self.require_etag(id, &fields).map(drop)
    }

    /// What says which object is copied, and that it must still be the one that was seen.
    fn name_source(&self, request: &mut SignedRequest, id: &BlobId, source: &Source) {
        let key = self.key(id).split('/').map(encode).collect::<Vec<_>>().join("/");
        request.add_header("x-amz-copy-source", &format!("/{}/{key}", self.bucket()));
        request.add_header("x-amz-copy-source-if-match", &source.etag);
    }

    fn about_object(&self, method: &str, id: &BlobId) -> SignedRequest {
        let path = format!("/{}/{}", self.bucket(), self.key(id));
        SignedRequest::new(method, "s3", &self.wire.rusoto_region(), &path)
    }

    /// Sends a request that is answered with a document, and reads it whole.
    async fn ask(&self, id: &BlobId, request: SignedRequest, root: &str) -> Result<Answered> {
        let (answer, body) = self.body_of(id, request).await?;
        let about = self.about(Op::Reclass, Some(id));
        // A service that takes its time may send blanks first, to keep the connection.
        let (found, fields) = text_fields(body.trim_ascii_start())
            .map_err(|reason| about.transient(format!("the answer can't be read: {reason}")))?;
        match found.as_str() {
            "Error" => {
                let headers = answer.headers.clone();
                Err(about.refused(&Answer { status: 500, headers, fields }))
            }
            found if found == root => Ok((answer, fields)),
            other => Err(about.transient(format!("<{other}> came instead of <{root}>"))),
        }
    }

    async fn body_of(
        &self,
        id: &BlobId,
        request: SignedRequest,
    ) -> Result<(Arc<Answer>, bytes::Bytes)> {
        let exchange = Arc::new(Exchange::new(Expect::Listing));
        let about = self.about(Op::Reclass, Some(id));
        let sent = self.wire.raw(&exchange).sign_and_dispatch(request).await;
        let mut response = sent.map_err(|error| about.error(&exchange, &format!("{error:?}")))?;
        if !response.status.is_success() {
            return Err(about.error(&exchange, &response.status));
        }
        let body = response.buffer().await.map_err(|error| about.error(&exchange, &error))?.body;
        Ok((exchange.answer().unwrap_or_default(), body))
    }

    /// Every S3 names what it made; whoever does not has made nothing.
    fn require_etag(&self, id: &BlobId, fields: &BTreeMap<String, String>) -> Result<String> {
        let etag = fields.get("ETag").filter(|etag| !etag.trim().is_empty()).cloned();
        let about = self.about(Op::Reclass, Some(id));
        etag.ok_or_else(|| about.transient("a good status without an ETag: nothing was copied"))
    }
}

/// Is what lies there now the copy that was to be made?
fn is_done(before: &Source, now: &Source, class: &StorageClass) -> bool {
    let changed = before.class != *class || before.stamp() != now.stamp();
    now.class == *class && changed
}
