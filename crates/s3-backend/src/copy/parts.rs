//! A copy in parts, of what is too large for one request.
//!
//! What a copy would inherit, a multipart upload does not: all of it is said when it begins. A part
//! is bound to the ETag of the source as a whole copy is. An upload that fails is aborted; one whose
//! client is killed stays unfinished until the bucket's rules remove it.

use std::{
    fmt::Write as _,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use blob_core::{BlobId, PutAttributes, Result, StorageClass};
use futures::{StreamExt, stream};

use super::{Source, said};
use crate::{
    errors::Op,
    storage::Inner,
    wire::{Node, Nodes},
};

/// Parts that are copied at once.
const AT_ONCE: usize = 4;
/// The most parts of an upload (AWS' "Multipart upload limits").
const PARTS_MAX: u64 = 10_000;

impl Inner {
    pub(super) async fn copy_in_parts(
        &self,
        id: &BlobId,
        source: &Source,
        to: &PutAttributes,
        class: &StorageClass,
    ) -> Result<()> {
        let upload = self.begin(id, source, to, class).await?;
        let copied = match self.parts(id, source, &upload).await {
            Ok(parts) => self.complete(id, &upload, &parts).await,
            Err(error) => Err(error),
        };
        if copied.is_err() {
            let mut abort = self.about_object("DELETE", id);
            abort.add_param("uploadId", &upload);
            if let Err(error) = self.body_of(id, abort).await {
                tracing::debug!(%id, %error, "an upload that failed could not be aborted");
            }
        }
        copied
    }

    async fn begin(
        &self,
        id: &BlobId,
        source: &Source,
        to: &PutAttributes,
        class: &StorageClass,
    ) -> Result<String> {
        let has_tags = source.header("x-amz-tagging-count").is_some_and(|count| count != "0");
        let tags = match to.tags.is_empty() && has_tags {
            true => self.tags(id).await?,
            false => to.tags.clone(),
        };
        let mut request = self.about_object("POST", id);
        request.add_param("uploads", "");
        said::description(source, to).iter().for_each(|(k, v)| request.add_header(k, v));
        said::placement(source, to, class, self.clock.now())
            .iter()
            .for_each(|(name, value)| request.add_header(*name, value));
        if let Some(tags) = said::tagging(&tags) {
            request.add_header("x-amz-tagging", &tags);
        }
        if let Some(kind) = said::checksum(source, to) {
            request.add_header("x-amz-checksum-algorithm", kind);
        }
        let (_, mut fields) = self.ask(id, request, "InitiateMultipartUploadResult").await?;
        let about = self.about(Op::Reclass, Some(id));
        fields.remove("UploadId").ok_or_else(|| about.transient("an upload without an ID"))
    }

    /// Copies all parts; gives of each what the end has to repeat. When one fails, those under way are
    /// waited for: S3 keeps a part that ends after its upload was aborted.
    async fn parts(&self, id: &BlobId, source: &Source, upload: &str) -> Result<Vec<String>> {
        let size = self.copy_sizes.part.max(source.size.div_ceil(PARTS_MAX)).max(1);
        let starts = (0..source.size.div_ceil(size)).map(|number| number * size);
        let failed = AtomicBool::new(false);
        let parts = stream::iter(starts.enumerate()).map(|(number, start)| {
            let failed = &failed;
            let end = start.saturating_add(size).min(source.size);
            async move {
                if failed.load(Relaxed) {
                    return Ok(String::new()); // not begun, and never read
                }
                let copied = self.part(id, source, upload, number + 1, (start, end)).await;
                failed.fetch_or(copied.is_err(), Relaxed);
                copied
            }
        });
        let all: Vec<Result<String>> = parts.buffered(AT_ONCE).collect().await;
        all.into_iter().collect()
    }

    async fn part(
        &self,
        id: &BlobId,
        source: &Source,
        upload: &str,
        number: usize,
        (start, end): (u64, u64),
    ) -> Result<String> {
        let mut request = self.about_object("PUT", id);
        request.add_param("partNumber", &number.to_string());
        request.add_param("uploadId", upload);
        self.name_source(&mut request, id, source);
        request.add_header("x-amz-copy-source-range", &format!("bytes={start}-{}", end - 1));
        let (_, fields) = self.ask(id, request, "CopyPartResult").await?;
        let etag = self.require_etag(id, &fields)?;
        let mut part = format!("<PartNumber>{number}</PartNumber><ETag>{}</ETag>", escape(&etag));
        let sums = fields.iter().filter(|(name, _)| name.starts_with("Checksum"));
        for (name, value) in sums {
            _ = write!(part, "<{name}>{}</{name}>", escape(value)); // into a String
        }
        Ok(part)
    }

    async fn complete(&self, id: &BlobId, upload: &str, parts: &[String]) -> Result<()> {
        let mut document = String::from(
            "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">",
        );
        parts.iter().for_each(|part| document.extend(["<Part>", part, "</Part>"]));
        document.push_str("</CompleteMultipartUpload>");
        let mut request = self.about_object("POST", id);
        request.add_param("uploadId", upload);
        request.add_header("content-type", "application/xml");
        request.set_payload(Some(document));
        let (_, fields) = self.ask(id, request, "CompleteMultipartUploadResult").await?;
        self.require_etag(id, &fields).map(drop)
    }

    /// The tags of a blob, which a HEAD only counts.
    async fn tags(&self, id: &BlobId) -> Result<Vec<(String, String)>> {
        let mut request = self.about_object("GET", id);
        request.add_param("tagging", "");
        let (_, body) = self.body_of(id, request).await?;
        let about = self.about(Op::Reclass, Some(id));
        tags_of(&body)
            .map_err(|reason| about.transient(format!("the tags can't be read: {reason}")))
    }
}

fn tags_of(document: &[u8]) -> std::result::Result<Vec<(String, String)>, String> {
    let (mut tags, mut text) = (Vec::new(), String::new());
    let (mut path, mut key) = (Vec::new(), None);
    for node in Nodes::new(document) {
        match node? {
            Node::Open(name) => {
                path.push(name);
                text.clear();
            }
            Node::Text(part) => text.push_str(&part),
            Node::Close => match path.pop().as_deref() {
                Some("Key") => key = Some(std::mem::take(&mut text)),
                Some("Value") => {
                    let key = key.take().ok_or("a value without a key")?;
                    tags.push((key, std::mem::take(&mut text)));
                }
                Some("Error") => return Err("it is an error".into()),
                _ => {}
            },
        }
    }
    Ok(tags)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read_as_pairs() {
        let text = b"<Tagging><TagSet><Tag><Key>a</Key><Value>1 &amp; 2</Value></Tag><Tag><Key>b\
            </Key><Value></Value></Tag></TagSet></Tagging>";
        let pairs = [("a", "1 & 2"), ("b", "")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert_eq!(tags_of(text).unwrap(), pairs);
        assert!(tags_of(&text[..60]).is_err());
        assert!(tags_of(b"<Error><Code>SlowDown</Code></Error>").is_err());
    }
}
