//! A payload on its way out: its pieces as they are, in slices, with a count of what has gone.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use blob_core::{Payload, Piece};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// Bytes given to hyper at a time: small enough for the stall clock to see progress.
const SLICE_BYTES_MAX: usize = 256 << 10;

/// A request's body. No byte is copied; a new one for a repeated request costs a few handles. What is
/// not in memory is read here: a MiB of a file that was just written.
#[derive(Debug)]
pub(crate) struct UploadBody {
    pieces: std::vec::IntoIter<Piece>,
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
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.current.is_empty() {
            match self.pieces.next() {
                Some(piece) => match piece.read() {
                    Ok(bytes) => self.current = bytes,
                    Err(error) => return Poll::Ready(Some(Err(error))),
                },
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

    #[test]
    fn what_is_not_in_memory_is_read_when_its_turn_comes() {
        use std::sync::atomic::AtomicBool;
        #[derive(Debug, Default)]
        struct Once(AtomicBool);
        impl blob_core::PieceSource for Once {
            fn len(&self) -> u64 {
                4
            }
            fn read(&self) -> io::Result<Bytes> {
                match self.0.swap(true, Ordering::Relaxed) {
                    false => Ok(Bytes::from_static(b"file")),
                    true => Err(io::ErrorKind::InvalidData.into()),
                }
            }
        }
        let (once, mut payload) = (Arc::new(Once::default()), Payload::from(&b"mem"[..]));
        payload.push_source(once.clone());
        let mut context = Context::from_waker(std::task::Waker::noop());
        let mut body = UploadBody::new(&payload);
        let mut next = || match Pin::new(&mut body).poll_frame(&mut context) {
            Poll::Ready(Some(frame)) => frame.map(|frame| frame.into_data().unwrap()),
            other => panic!("{other:?}"),
        };
        assert_eq!(next().unwrap(), &b"mem"[..]);
        assert!(!once.0.load(Ordering::Relaxed), "not before");
        assert_eq!(next().unwrap(), &b"file"[..]);
        assert!(body.is_end_stream());
        let mut again = UploadBody::new(&payload);
        let _ = Pin::new(&mut again).poll_frame(&mut context);
        let failed = Pin::new(&mut again).poll_frame(&mut context);
        assert!(matches!(failed, Poll::Ready(Some(Err(_)))), "the request is broken off");
    }
}
