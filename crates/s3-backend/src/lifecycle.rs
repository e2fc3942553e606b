//! The bucket's lifecycle rules, as bytes; and what lies beside the blobs.
//!
//! rusoto's types know neither size filters nor the least size of what is moved: a document that
//! goes through them comes back with wider rules. So the document is read and written as it is, and
//! so is the header that belongs to it. Facts: AWS' API reference of
//! GetBucketLifecycleConfiguration and PutBucketLifecycleConfiguration.

use std::sync::Arc;

use blob_core::{Payload, Result};
use bytes::Bytes;
use rusoto_core::signature::SignedRequest;

use crate::{
    S3Storage, checksum,
    errors::Op,
    storage::Inner,
    wire::{Answer, Exchange, Expect, text_fields},
};

/// The header that says which objects are too small to be moved.
pub const MINIMUM_HEADER: &str = "x-amz-transition-default-minimum-object-size";

/// The lifecycle rules of a bucket. A PUT replaces all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lifecycle {
    /// The XML document, byte for byte.
    pub document: Bytes,
    /// The value of [`MINIMUM_HEADER`], where the storage tells it. It belongs to all rules; left
    /// out of a PUT it falls back to the storage's default.
    pub minimum: Option<String>,
}

impl S3Storage {
    /// The bucket's lifecycle rules; `None` if it has none.
    ///
    /// # Errors
    /// [`blob_core::BlobError::AccessDenied`] without the right
    /// `s3:GetLifecycleConfiguration`; and what any request may meet.
    pub async fn lifecycle(&self) -> Result<Option<Lifecycle>> {
        self.inner.lifecycle().await
    }

    /// Replaces all lifecycle rules of the bucket. There is no way to do so only if nobody changed
    /// them meanwhile.
    ///
    /// # Errors
    /// [`blob_core::BlobError::InvalidOption`] for rules that the storage refuses,
    /// [`blob_core::BlobError::AccessDenied`] without the right `s3:PutLifecycleConfiguration`; and
    /// what any request may meet.
    pub async fn set_lifecycle(&self, rules: &Lifecycle) -> Result<()> {
        self.inner.require_present(Op::Lifecycle)?;
        self.inner.set_lifecycle(rules).await
    }

    /// Removes all lifecycle rules of the bucket: a document without a rule is not taken.
    ///
    /// # Errors
    /// As [`S3Storage::set_lifecycle`].
    pub async fn remove_lifecycle(&self) -> Result<()> {
        self.inner.require_present(Op::Lifecycle)?;
        let request = self.inner.lifecycle_request("DELETE");
        let exchange = Arc::new(Exchange::new(Expect::Nothing));
        let sent =
            self.inner.whole_body(&exchange, request, self.inner.about(Op::Lifecycle, None)).await;
        sent.map(drop).map_err(|(_, error)| error)
    }

    /// All that begins with the storage's prefix and `prefix` and is not `ours`, by its whole key;
    /// a folder is given once, with the slash at its end. `ours` gets what follows the storage's
    /// prefix. Unlike a listing of blobs this misses nothing that a lifecycle rule would reach.
    ///
    /// # Errors
    /// As a listing.
    pub async fn beside(
        &self,
        prefix: &str,
        ours: impl Fn(&str) -> bool + Send,
    ) -> Result<Vec<String>> {
        let inner = &*self.inner;
        let (mut found, mut token) = (Vec::new(), None);
        loop {
            let page = inner.page(prefix, token.as_deref()).await?;
            let is_other = |key: &String| !key.strip_prefix(&inner.prefix).is_some_and(&ours);
            found.extend(page.entries.into_iter().map(|entry| entry.key).filter(is_other));
            found.extend(page.folders);
            if page.next.is_none() {
                return Ok(found);
            }
            if page.next == token {
                let reason = "the listing goes in a circle: a page names itself as the next";
                return Err(inner.about(Op::List, None).other(reason));
            }
            token = page.next;
        }
    }
}

impl Inner {
    fn lifecycle_request(&self, method: &str) -> SignedRequest {
        let region = self.wire.rusoto_region();
        let mut request = SignedRequest::new(method, "s3", &region, &format!("/{}", self.bucket()));
        request.add_param("lifecycle", "");
        request
    }

    async fn lifecycle(&self) -> Result<Option<Lifecycle>> {
        let exchange = Arc::new(Exchange::new(Expect::Listing));
        let request = self.lifecycle_request("GET");
        let document =
            match self.whole_body(&exchange, request, self.about(Op::Lifecycle, None)).await {
                Ok(document) => document,
                Err((Some(answer), _)) if answer.code() == "NoSuchLifecycleConfiguration" => {
                    return Ok(None);
                }
                Err((_, error)) => return Err(error),
            };
        let about = self.about(Op::Lifecycle, None);
        match text_fields(&document) {
            Ok((root, fields)) if root == "Error" => {
                Err(about.refused(&Answer { status: 500, fields, ..Answer::default() }))
            }
            Ok(_) => {
                let answer = exchange.answer();
                let minimum = answer.as_ref().and_then(|answer| answer.header(MINIMUM_HEADER));
                Ok(Some(Lifecycle { document, minimum: minimum.map(str::to_owned) }))
            }
            Err(reason) => {
                Err(about.transient(format!("the lifecycle rules can't be read: {reason}")))
            }
        }
    }

    async fn set_lifecycle(&self, rules: &Lifecycle) -> Result<()> {
        let about = self.about(Op::Lifecycle, None);
        let body = Payload::from(rules.document.clone());
        let md5 = checksum::md5(&body).map_err(|error| about.other(error.to_string()))?;
        let mut exchange = Exchange::new(Expect::Nothing)
            .header("content-type", "application/xml".into())
            .header("content-md5", md5)
            .body(body);
        if let Some(minimum) = &rules.minimum {
            exchange = exchange.header(MINIMUM_HEADER, minimum.clone());
        }
        let request = self.lifecycle_request("PUT");
        let sent =
            self.whole_body(&Arc::new(exchange), request, self.about(Op::Lifecycle, None)).await;
        sent.map(drop).map_err(|(_, error)| error)
    }
}
