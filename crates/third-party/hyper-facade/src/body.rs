//! A body as rusoto makes one of its payloads: nothing, a buffer, or a stream.

use std::{
    convert::Infallible,
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_core::Stream;
use futures_util::StreamExt;

use crate::{Error, Result};

type Parts = Pin<Box<dyn Stream<Item = Result<Bytes>> + Send + 'static>>;

/// Bytes in parts.
pub struct Body(Option<Parts>);

impl Body {
    /// No bytes.
    pub fn empty() -> Self {
        Body(None)
    }

    /// The bytes of a stream.
    pub fn wrap_stream<S, O, E>(stream: S) -> Self
    where
        S: Stream<Item = std::result::Result<O, E>> + Send + 'static,
        O: Into<Bytes> + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
    {
        let parts = stream.map(|part| match part {
            Ok(bytes) => Ok(bytes.into()),
            Err(error) => Err(Error(error.into().to_string())),
        });
        Body(Some(Box::pin(parts)))
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Body::wrap_stream(futures_util::stream::iter([Ok::<_, Infallible>(bytes)]))
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Body")
    }
}

impl Stream for Body {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match &mut self.0 {
            None => Poll::Ready(None),
            Some(parts) => parts.as_mut().poll_next(cx),
        }
    }
}
