//! What the storage said: status, headers and, for a refusal, the fields of its `<Error>`.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt, stream};
use http::{HeaderMap, Response, response::Parts};
use hyper::body::Incoming;
use rusoto_core::{ByteStream, request::HttpResponse};

use super::{Failure, xml};
use crate::net::{NetError, frames};

/// The most that is read of a refusal; S3's are below 2 KiB.
const REFUSAL_BYTES_MAX: usize = 256 << 10;
/// The most that is read of a good answer which has to be looked at whole: 1000 keys of 1 KiB,
/// escaped.
const BUFFERED_BYTES_MAX: usize = 16 << 20;

/// What is kept of an answer besides an object's bytes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    /// The children of `<Error>`: `Code`, `Message`, `StorageClass` …
    pub fields: BTreeMap<String, String>,
}

impl Answer {
    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// A field of the error.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }

    /// The error's code; empty where there is none, as in every answer to a HEAD.
    pub fn code(&self) -> &str {
        self.field("Code").unwrap_or_default()
    }

    /// Is it worth a try with other credentials?
    pub fn is_expired_token(&self) -> bool {
        matches!(self.code(), "ExpiredToken" | "TokenRefreshRequired" | "ExpiredTokenException")
    }

    /// What the storage said, for people.
    pub fn message(&self) -> String {
        let request =
            self.header("x-amz-request-id").map_or(String::new(), |id| format!(" (request {id})"));
        let status = self.status;
        match (self.code(), self.field("Message").unwrap_or_default()) {
            ("", _) => format!("HTTP status {status}{request}"),
            (code, "") => format!("{code}, HTTP status {status}{request}"),
            (code, message) => format!("{message} [{code}, HTTP status {status}]{request}"),
        }
    }
}

/// An answer on its way to rusoto.
pub(super) struct Reply {
    answer: Arc<Answer>,
    body: Body,
}

enum Body {
    Whole(Bytes),
    Stream { bytes: ByteStream },
}

impl Reply {
    /// An object's bytes, as they come.
    pub fn streamed(response: Response<Incoming>, stall: Duration) -> Self {
        let (parts, body) = response.into_parts();
        let size = http_body::Body::size_hint(&body).exact().and_then(|n| usize::try_from(n).ok());
        let stream = frames(body, stall);
        let bytes = match size {
            Some(size) => ByteStream::new_with_size(stream, size),
            None => ByteStream::new(stream),
        };
        Self { answer: Arc::new(head(parts)), body: Body::Stream { bytes } }
    }

    /// Answer and body, the body only if it is known whole.
    pub fn whole(&self) -> &[u8] {
        match &self.body {
            Body::Whole(bytes) => bytes,
            Body::Stream { .. } => &[],
        }
    }

    /// What is kept of it.
    pub fn answer(&self) -> &Arc<Answer> {
        &self.answer
    }

    /// A refusal. Rusoto gets no body to read it from: it would loop for ever on one that broke
    /// off, and nothing but [`Answer`] is asked afterwards.
    pub fn refusal(answer: Answer) -> Self {
        Self { answer: Arc::new(answer), body: Body::Whole(Bytes::new()) }
    }

    /// In rusoto's types. Headers that rusoto would parse and panic on are left out.
    pub fn into_rusoto(self) -> HttpResponse {
        let status = http02::StatusCode::from_u16(self.answer.status)
            .unwrap_or(http02::StatusCode::INTERNAL_SERVER_ERROR);
        let mut headers: http02::HeaderMap<String> = http02::HeaderMap::default();
        for (name, value) in &self.answer.headers {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            if rusoto_would_panic(name.as_str(), &value) {
                tracing::debug!(header = name.as_str(), value, "left out: rusoto can't read it");
                continue;
            }
            if let Ok(name) = http02::header::HeaderName::from_bytes(name.as_str().as_bytes()) {
                headers.append(name, value);
            }
        }
        let body = match self.body {
            Body::Stream { bytes } => bytes,
            Body::Whole(bytes) => {
                let size = bytes.len();
                ByteStream::new_with_size(stream::iter([Ok(bytes)]).boxed(), size)
            }
        };
        HttpResponse { status, headers, body }
    }
}

/// Rusoto 0.48 unwraps the parsed value of these.
fn rusoto_would_panic(name: &str, value: &str) -> bool {
    match name {
        "content-length"
        | "x-amz-mp-parts-count"
        | "x-amz-tagging-count"
        | "x-amz-missing-meta" => value.parse::<i64>().is_err(),
        "x-amz-delete-marker" | "x-amz-server-side-encryption-bucket-key-enabled" => {
            value.parse::<bool>().is_err()
        }
        _ => false,
    }
}

fn head(parts: Parts) -> Answer {
    Answer { status: parts.status.as_u16(), headers: parts.headers, fields: BTreeMap::new() }
}

/// A good answer, read whole.
pub(super) async fn buffered(
    response: Response<Incoming>,
    stall: Duration,
) -> Result<Reply, Failure> {
    let (parts, body) = response.into_parts();
    let Some(whole) = read(body, stall, BUFFERED_BYTES_MAX).await? else {
        return Err(Failure::Garbled(format!("it is longer than {BUFFERED_BYTES_MAX} bytes")));
    };
    Ok(Reply { answer: Arc::new(head(parts)), body: Body::Whole(whole) })
}

/// A refusal with what its body says. A body that is no S3 error (a proxy's page) has no fields.
pub(super) async fn refusal(
    response: Response<Incoming>,
    stall: Duration,
) -> Result<Reply, Failure> {
    let (parts, body) = response.into_parts();
    let whole = read(body, stall, REFUSAL_BYTES_MAX).await?.unwrap_or_default();
    let mut answer = head(parts);
    answer.fields = xml::error_fields(&whole).unwrap_or_default();
    Ok(Reply::refusal(answer))
}

/// All bytes, or `None` if they are more than `max`.
async fn read(body: Incoming, stall: Duration, max: usize) -> Result<Option<Bytes>, Failure> {
    let mut all = BytesMut::new();
    let mut parts = std::pin::pin!(frames(body, stall));
    while let Some(part) = parts.try_next().await.map_err(net_error)? {
        if all.len() + part.len() > max {
            return Ok(None);
        }
        all.extend_from_slice(&part);
    }
    Ok(Some(all.freeze()))
}

/// The error that a body's stream ended with.
pub(crate) fn net_error(error: std::io::Error) -> Failure {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<NetError>());
    Failure::Net(inner.cloned().unwrap_or_else(|| NetError::Cut { reason: error.to_string() }))
}

#[cfg(test)]
impl Answer {
    /// An answer as the table of errors sees it.
    pub fn for_test(status: u16, fields: &[(&str, &str)]) -> Self {
        let fields = fields.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Self { status, headers: HeaderMap::new(), fields }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_that_rusoto_would_panic_on_are_known() {
        assert!(rusoto_would_panic("content-length", "twelve"));
        assert!(rusoto_would_panic("x-amz-server-side-encryption-bucket-key-enabled", "True"));
        assert!(!rusoto_would_panic("x-amz-server-side-encryption-bucket-key-enabled", "true"));
        assert!(!rusoto_would_panic("x-amz-meta-anything", "True"));
    }

    #[test]
    fn a_message_names_code_status_and_request() {
        let mut answer = Answer::for_test(403, &[("Code", "AccessDenied"), ("Message", "No.")]);
        answer.headers.insert("x-amz-request-id", "R1".parse().unwrap());
        assert_eq!(answer.message(), "No. [AccessDenied, HTTP status 403] (request R1)");
        assert_eq!(Answer::for_test(502, &[]).message(), "HTTP status 502");
    }
}
