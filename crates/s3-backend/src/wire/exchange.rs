//! One request and what became of it: what rusoto's types have no place for, in both directions.

use std::sync::{Arc, Mutex};

use blob_core::Payload;

use super::Answer;
use crate::net::NetError;

/// What a good answer's body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expect {
    /// An object's bytes: handed on as they come.
    Object,
    /// A document, most often a listing: read whole; its XML is checked by the one pass that
    /// parses it.
    Listing,
    /// Nothing of interest, but it could be an error in disguise.
    Nothing,
}

/// Why there is no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Failure {
    /// The network.
    #[error(transparent)]
    Net(#[from] NetError),
    /// Nothing to sign with.
    #[error("{0}")]
    Credentials(String),
    /// The request can't be written down as HTTP.
    #[error("{what}: {reason}")]
    Unsendable {
        /// The header or part.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A good status with a body that makes no sense.
    #[error("the storage's answer can't be understood: {0}")]
    Garbled(String),
}

/// One request on its way. Made for each call, so that concurrent calls can't mix their answers.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Option<Payload>,
    pub(super) expect: Expect,
    /// It goes to S3 Control, for this account, and not to the bucket.
    pub(super) control: Option<String>,
    seen: Mutex<Option<Result<Arc<Answer>, Failure>>>,
}

impl Exchange {
    /// A request with nothing added.
    pub fn new(expect: Expect) -> Self {
        Self { headers: Vec::new(), body: None, expect, control: None, seen: Mutex::new(None) }
    }

    /// With a header that rusoto's request type lacks.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    /// With a body in pieces. Rusoto would sign a stream as unsigned, and send it only once.
    #[must_use]
    pub fn body(mut self, body: Payload) -> Self {
        self.body = Some(body);
        self
    }

    /// To S3 Control, for this account. The request's path is then the whole path.
    #[must_use]
    pub fn control(mut self, account: String) -> Self {
        self.control = Some(account);
        self
    }

    pub(super) fn note(&self, seen: Result<Arc<Answer>, Failure>) {
        *self.seen.lock().expect("no holder of this lock panics") = Some(seen);
    }

    /// What became of it; `None` = it was never sent.
    pub fn seen(&self) -> Option<Result<Arc<Answer>, Failure>> {
        self.seen.lock().expect("no holder of this lock panics").clone()
    }

    /// The answer's status and headers, where there was an answer.
    pub fn answer(&self) -> Option<Arc<Answer>> {
        self.seen()?.ok()
    }
}
