//! Faults to order: which requests go wrong, how often, and in which way.
//!
//! Faults are tried in the order in which they were pushed; the first that fits a request and has
//! plays left is played, one per request. A fault says what the *wire* does, so everything a
//! client may meet can be ordered, also answers that no S3 server would make.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use crate::request::{Kind, Target};
use crate::text::xml_escape;

/// What happens instead of, or to, a request's proper answer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Effect {
    /// This answer; the request has no effect.
    Answer {
        /// HTTP status.
        status: u16,
        /// Headers of the answer.
        headers: Vec<(String, String)>,
        /// Body of the answer.
        body: Bytes,
    },
    /// The request is done after this time.
    Stall(Duration),
    /// The connection is closed; the request has no effect.
    Drop,
    /// The request is done, and the connection is closed without an answer.
    LoseAnswer,
    /// The connection is closed after so many bytes of the body.
    CutBody(u64),
    /// The body pauses after so many bytes.
    StallBody(u64, Duration),
    /// The body ends after so many bytes, and its announced length says so too.
    ShortenBody(usize),
    /// The lowest bit of the body's byte at this offset is flipped.
    FlipBit(usize),
    /// The answer has this header, whatever it had before; none removes it.
    Header(String, Option<String>),
}

/// One order: an effect, the requests it is for, and how often it is played.
#[derive(Debug, Clone)]
pub struct Fault {
    effect: Effect,
    kind: Option<Kind>,
    prefix: String,
    skip: usize,
    left: usize,
}

impl Fault {
    /// A fault of this effect, for the next request of any kind.
    #[must_use]
    pub fn new(effect: Effect) -> Self {
        Self { effect, kind: None, prefix: String::new(), skip: 0, left: 1 }
    }

    /// Only for requests of this kind.
    #[must_use]
    pub fn on(mut self, kind: Kind) -> Self {
        self.kind = Some(kind);
        self
    }

    /// Only for keys that begin so; for lists the prefix they ask for counts.
    #[must_use]
    pub fn keys(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Lets so many fitting requests pass first.
    #[must_use]
    pub fn skip(mut self, requests: usize) -> Self {
        self.skip = requests;
        self
    }

    /// Plays so many times, not once.
    #[must_use]
    pub fn times(mut self, times: usize) -> Self {
        self.left = times;
        self
    }

    /// Plays until the faults are cleared.
    #[must_use]
    pub fn always(self) -> Self {
        self.times(usize::MAX)
    }

    /// An S3 error document of this status and code; the request has no effect.
    #[must_use]
    pub fn error(status: u16, code: &str) -> Self {
        let headers = vec![("content-type".into(), "application/xml".into())];
        Self::new(Effect::Answer { status, headers, body: error_document(code) })
    }

    /// 503 `SlowDown`.
    #[must_use]
    pub fn slow_down() -> Self {
        Self::error(503, "SlowDown")
    }

    /// 500 `InternalError`.
    #[must_use]
    pub fn internal_error() -> Self {
        Self::error(500, "InternalError")
    }

    /// 403 `AccessDenied`.
    #[must_use]
    pub fn access_denied() -> Self {
        Self::error(403, "AccessDenied")
    }

    /// 400 `ExpiredToken`.
    #[must_use]
    pub fn expired_token() -> Self {
        Self::error(400, "ExpiredToken")
    }

    /// 403 `RequestTimeTooSkewed`.
    #[must_use]
    pub fn clock_skewed() -> Self {
        Self::error(403, "RequestTimeTooSkewed")
    }

    /// 409 `ConditionalRequestConflict`, as two writers with `If-None-Match` get it.
    #[must_use]
    pub fn conditional_conflict() -> Self {
        Self::error(409, "ConditionalRequestConflict")
    }

    /// 503 `GlacierExpeditedRetrievalNotAvailable`.
    #[must_use]
    pub fn no_expedited_capacity() -> Self {
        Self::error(503, "GlacierExpeditedRetrievalNotAvailable")
    }

    /// 200 with an error document as body; the request has no effect.
    #[must_use]
    pub fn error_in_ok(code: &str) -> Self {
        Self::error(200, code)
    }

    /// 200 with no body at all; the request has no effect.
    #[must_use]
    pub fn empty_ok() -> Self {
        let headers = vec![("content-length".into(), "0".into())];
        Self::new(Effect::Answer { status: 200, headers, body: Bytes::new() })
    }

    /// A well-formed page of a list that is complete and has no entries.
    #[must_use]
    pub fn empty_list() -> Self {
        let body = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult \
            xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><KeyCount>0</KeyCount>\
            <MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated></ListBucketResult>";
        let headers = vec![("content-type".into(), "application/xml".into())];
        Self::new(Effect::Answer { status: 200, headers, body: body.into() })
    }

    /// A page of HTML, as a proxy or a captive portal answers; the request has no effect.
    #[must_use]
    pub fn html(status: u16) -> Self {
        let body = "<html><head><title>Bad Gateway</title></head><body>try again<br></body></html>";
        let headers = vec![("content-type".into(), "text/html".into())];
        Self::new(Effect::Answer { status, headers, body: body.into() })
    }

    /// 301 `PermanentRedirect` to another region; the request has no effect.
    #[must_use]
    pub fn other_region(region: &str) -> Self {
        let headers = vec![
            ("content-type".into(), "application/xml".into()),
            ("x-amz-bucket-region".into(), region.into()),
        ];
        let body = error_document("PermanentRedirect");
        Self::new(Effect::Answer { status: 301, headers, body })
    }

    /// The request is done after this time.
    #[must_use]
    pub fn stall(time: Duration) -> Self {
        Self::new(Effect::Stall(time))
    }

    /// The connection closes; nothing was done.
    #[must_use]
    pub fn drop_connection() -> Self {
        Self::new(Effect::Drop)
    }

    /// The request is done, the connection closes, and the client does not know.
    #[must_use]
    pub fn lost_answer() -> Self {
        Self::new(Effect::LoseAnswer)
    }

    /// The connection closes after so many bytes of the body.
    #[must_use]
    pub fn cut_body(after: u64) -> Self {
        Self::new(Effect::CutBody(after))
    }

    /// The body pauses after so many bytes.
    #[must_use]
    pub fn stall_body(after: u64, pause: Duration) -> Self {
        Self::new(Effect::StallBody(after, pause))
    }

    /// The answer is proper HTTP whose body has only so many bytes: a list cut in its XML.
    #[must_use]
    pub fn short_body(len: usize) -> Self {
        Self::new(Effect::ShortenBody(len))
    }

    /// One bit of the body is wrong.
    #[must_use]
    pub fn flip_bit(offset: usize) -> Self {
        Self::new(Effect::FlipBit(offset))
    }

    /// The answer has this header.
    #[must_use]
    pub fn header(name: &str, value: &str) -> Self {
        Self::new(Effect::Header(name.into(), Some(value.into())))
    }

    /// The answer lacks this header.
    #[must_use]
    pub fn no_header(name: &str) -> Self {
        Self::new(Effect::Header(name.into(), None))
    }

    fn fits(&self, target: &Target) -> bool {
        self.left > 0
            && self.kind.is_none_or(|kind| kind == target.kind)
            && target.key.starts_with(&self.prefix)
    }
}

fn error_document(code: &str) -> Bytes {
    let code = xml_escape(code);
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code>\
         <Message>ordered by the test</Message><RequestId>0</RequestId></Error>"
    )
    .into()
}

/// The faults that are still to be played.
#[derive(Debug, Default)]
pub struct Faults {
    queue: Mutex<VecDeque<Fault>>,
}

impl Faults {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Fault>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Orders a fault, behind those that wait.
    pub fn push(&self, fault: Fault) {
        self.lock().push_back(fault);
    }

    /// Forgets all faults.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// How many faults have plays left.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.lock().len()
    }

    /// The effect to play on this request, if any.
    pub(crate) fn take(&self, target: &Target) -> Option<Effect> {
        let mut queue = self.lock();
        let mut found = None;
        for (index, fault) in queue.iter_mut().enumerate() {
            if !fault.fits(target) {
                continue;
            }
            if fault.skip > 0 {
                fault.skip -= 1;
                continue;
            }
            if fault.left != usize::MAX {
                fault.left -= 1;
            }
            found = Some((index, fault.left == 0, fault.effect.clone()));
            break;
        }
        let (index, done, effect) = found?;
        if done {
            queue.remove(index);
        }
        Some(effect)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(kind: Kind, key: &str) -> Target {
        Target { kind, bucket: "b".into(), key: key.into() }
    }

    #[test]
    fn faults_play_in_order_and_run_out() {
        let faults = Faults::default();
        faults.push(Fault::drop_connection().on(Kind::Put).keys("p").times(2));
        faults.push(Fault::lost_answer().on(Kind::Put));
        assert_eq!(faults.take(&target(Kind::Get, "p1")), None);
        assert_eq!(faults.take(&target(Kind::Put, "p1")), Some(Effect::Drop));
        assert_eq!(faults.take(&target(Kind::Put, "q1")), Some(Effect::LoseAnswer));
        assert_eq!(faults.take(&target(Kind::Put, "p2")), Some(Effect::Drop));
        assert_eq!((faults.take(&target(Kind::Put, "p3")), faults.waiting()), (None, 0));
    }

    #[test]
    fn a_fault_that_skips_lets_requests_pass_first() {
        let faults = Faults::default();
        faults.push(Fault::cut_body(7).on(Kind::List).skip(1).always());
        let list = target(Kind::List, "");
        assert_eq!(faults.take(&list), None);
        assert_eq!(faults.take(&list), Some(Effect::CutBody(7)));
        assert_eq!(faults.take(&list), Some(Effect::CutBody(7)));
        faults.clear();
        assert_eq!(faults.take(&list), None);
    }
}
