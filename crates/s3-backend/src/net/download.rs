//! An answer's body on its way in, with a clock that runs while no byte comes.

use std::{io, time::Duration};

use bytes::Bytes;
use futures::{Stream, stream};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::{NetError, error::chain_of};

/// The body's bytes as they come. Ends after an error, which holds a [`NetError`].
pub(crate) fn frames(
    body: Incoming,
    stall: Duration,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    stream::unfold(Some(body), move |body| async move {
        let mut body = body?;
        loop {
            let error = match tokio::time::timeout(stall, body.frame()).await {
                Ok(None) => return None,
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => return Some((Ok(data), Some(body))),
                    Err(_trailers) => continue,
                },
                Ok(Some(Err(error))) => NetError::Cut { reason: chain_of(&error) },
                Err(_) => NetError::Cut { reason: format!("no byte for {} s", stall.as_secs()) },
            };
            return Some((Err(io::Error::other(error)), None));
        }
    })
}
