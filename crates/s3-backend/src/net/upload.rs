//! A payload on its way out: its pieces as they are, in slices, with a count of what has gone.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use blob_core::Payload;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// Bytes given to hyper at a time: small enough for the stall clock to see progress.
const SLICE_BYTES_MAX: usize = 256 << 10;

/// A request's body. No byte is copied; a new one for a repeated request costs a few handles.
#[derive(Debug)]
pub(crate) struct UploadBody {
    pieces: std::vec::IntoIter<Bytes>,
    current: Bytes,
    left: u64,
    progress: Progress,
}

/// How much of a body has been taken by hyper.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    sent: Arc<AtomicU64>,
    total: u64,
}

impl Progress {
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
    pub fn is_done(&self) -> bool {
        self.sent() >= self.total
    }
}

impl UploadBody {
    pub fn new(payload: &Payload) -> Self {
        Self {
            pieces: payload.pieces().to_vec().into_iter(),
            current: Bytes::new(),
            left: payload.len(),
            progress: Progress { sent: Arc::default(), total: payload.len() },
        }
    }

    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }
}

impl Body for UploadBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.current.is_empty() {
            match self.pieces.next() {
                Some(piece) => self.current = piece,
                None => return Poll::Ready(None),
            }
        }
        let length = self.current.len().min(SLICE_BYTES_MAX);
        let slice = self.current.split_to(length);
        self.left -= slice.len() as u64;
        self.progress.sent.fetch_add(slice.len() as u64, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(slice))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pieces_go_out_in_slices_of_the_same_memory() {
        let big = Bytes::from(vec![7; SLICE_BYTES_MAX + 1]);
        let mut payload = Payload::from(big.clone());
        payload.push(&b"end"[..]);
        let mut body = UploadBody::new(&payload);
        let progress = body.progress();
        let mut slices = Vec::new();
        let mut context = Context::from_waker(std::task::Waker::noop());
        while let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut body).poll_frame(&mut context) {
            slices.push(frame.into_data().unwrap());
        }
        assert_eq!(slices.iter().map(Bytes::len).collect::<Vec<_>>(), [SLICE_BYTES_MAX, 1, 3]);
        assert_eq!(slices[0].as_ptr(), big.as_ptr(), "copied");
        assert!(body.is_end_stream() && progress.is_done());
    }
}
