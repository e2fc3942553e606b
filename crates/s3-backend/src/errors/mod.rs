//! From what the storage answered to a [`BlobError`].
//!
//! There is one [`table`] of status, code and operation; this file fills in what each meaning
//! needs. rusoto's own typed errors are not used: they know seven codes and drop the headers.

mod table;

use std::time::Duration;

use blob_core::{BlobError, BlobId, ReadRange, ReadState, StorageClass, Timestamp};

pub(crate) use table::{Meaning, Op, meaning};

use crate::{
    time,
    wire::{Answer, Exchange, Failure},
};

/// What was asked of the storage.
#[derive(Debug, Clone, Copy)]
pub(crate) struct About<'a> {
    pub op: Op,
    pub id: Option<&'a BlobId>,
    pub range: Option<ReadRange>,
    /// The storage's name for people.
    pub storage: &'a str,
    /// This machine's time.
    pub now: Timestamp,
}

/// What the storage or the network said, as the cause of an error.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Cause(pub String);

impl Cause {
    fn boxed(text: impl Into<String>) -> blob_core::error::Source {
        Box::new(Self(text.into()))
    }
}

impl About<'_> {
    /// The error of a call that rusoto gave up with `rusoto`.
    pub fn error(&self, exchange: &Exchange, rusoto: &dyn std::fmt::Display) -> BlobError {
        match exchange.seen() {
            Some(Err(failure)) => self.failed(failure),
            Some(Ok(answer)) if !(200..300).contains(&answer.status) => self.refused(&answer),
            Some(Ok(_)) => self.transient(format!("the answer can't be understood: {rusoto}")),
            None => self.other(rusoto.to_string()),
        }
    }

    /// The error for no answer.
    pub fn failed(&self, failure: Failure) -> BlobError {
        match failure {
            Failure::Credentials(reason) => BlobError::Credentials { reason },
            Failure::Unsendable { what, reason } => {
                BlobError::InvalidOption { option: what, reason }
            }
            Failure::Net(error) if error.is_permanent() => self.other(error.to_string()),
            Failure::Net(error) if error.is_connect() => {
                BlobError::Unreachable { op: self.op.name(), source: Box::new(error) }
            }
            Failure::Net(error) => {
                BlobError::Transient { op: self.op.name(), source: Box::new(error) }
            }
            Failure::Garbled(_) => self.transient(failure.to_string()),
        }
    }

    /// The error for a refusal.
    pub fn refused(&self, answer: &Answer) -> BlobError {
        self.meant(meaning(self.op, answer), answer)
    }

    /// It may work when tried again.
    pub fn transient(&self, reason: impl Into<String>) -> BlobError {
        BlobError::Transient { op: self.op.name(), source: Cause::boxed(reason) }
    }

    /// It won't work when tried again.
    pub fn other(&self, reason: impl Into<String>) -> BlobError {
        let (op, id) = (self.op.name(), self.id.cloned());
        BlobError::Other { op, id, source: Cause::boxed(reason) }
    }

    /// The error that is about one blob, or about the storage where no blob was named.
    fn of_blob(&self, answer: &Answer, make: impl FnOnce(BlobId) -> BlobError) -> BlobError {
        match self.id {
            Some(id) => make(id.clone()),
            None => self.no_storage(answer),
        }
    }

    fn no_storage(&self, answer: &Answer) -> BlobError {
        let storage = self.storage.to_owned();
        BlobError::NoStorage { storage, reason: answer.message() }
    }

    fn meant(&self, meaning: Meaning, answer: &Answer) -> BlobError {
        let op = self.op.name();
        match meaning {
            Meaning::NotFound => self.of_blob(answer, |id| BlobError::NotFound { id }),
            Meaning::NoStorage => self.no_storage(answer),
            Meaning::AlreadyExists => self.of_blob(answer, |id| BlobError::AlreadyExists { id }),
            Meaning::Archived => self.of_blob(answer, |id| {
                let class = answer.field("StorageClass").map(StorageClass::new);
                BlobError::Archived { id, class, state: ReadState::Cold }
            }),
            Meaning::InvalidRange => self.of_blob(answer, |id| {
                let range = self.range.unwrap_or(ReadRange::Full);
                BlobError::InvalidRange { id, range, size: whole_size(answer) }
            }),
            Meaning::Locked => self.of_blob(answer, |id| BlobError::Locked { id, until: None }),
            Meaning::Denied => {
                BlobError::AccessDenied { op, id: self.id.cloned(), reason: answer.message() }
            }
            Meaning::Credentials => BlobError::Credentials { reason: answer.message() },
            Meaning::ClockSkew => BlobError::ClockSkew {
                server: answer
                    .field("ServerTime")
                    .or_else(|| answer.header("date"))
                    .unwrap_or("(unknown)")
                    .to_owned(),
                client: time::rfc3339_secs(self.now),
            },
            Meaning::Throttled => BlobError::Throttled { after: retry_after(answer) },
            Meaning::TierUnavailable => self.of_blob(answer, |id| BlobError::TierUnavailable {
                id,
                tier: "Expedited".to_owned(),
            }),
            Meaning::Option(option) => {
                BlobError::InvalidOption { option: option.to_owned(), reason: answer.message() }
            }
            Meaning::NoSpace => BlobError::NoSpace { source: Cause::boxed(answer.message()) },
            Meaning::Unsupported => BlobError::Unsupported { op, storage: self.storage.to_owned() },
            Meaning::Transient => self.transient(answer.message()),
            // The two answers to a thaw that are no errors are asked for before; elsewhere they
            // make no sense.
            Meaning::AlreadyRunning | Meaning::NotCold | Meaning::Other => {
                self.other(answer.message())
            }
        }
    }
}

/// The blob's length, as an answer to a range tells it: `bytes 0-9/10` or `bytes */10`.
pub(crate) fn whole_size(answer: &Answer) -> Option<u64> {
    let header = answer.header("content-range").and_then(|range| range.rsplit_once('/'));
    let text = header.map(|(_, size)| size).or_else(|| answer.field("ActualObjectSize"))?;
    text.trim().parse().ok()
}

fn retry_after(answer: &Answer) -> Option<Duration> {
    answer.header("retry-after")?.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(op: Op, id: Option<&BlobId>) -> About<'_> {
        About { op, id, range: None, storage: "S3: e b", now: Timestamp::from_secs(0) }
    }

    #[test]
    fn an_error_carries_what_the_answer_tells() {
        let id = BlobId::new("p1").unwrap();
        let about = about(Op::Get, Some(&id));
        let fields = [("Code", "InvalidObjectState"), ("StorageClass", "DEEP_ARCHIVE")];
        let error = about.refused(&Answer::for_test(403, &fields));
        assert_eq!(error.to_string(), "blob p1 is archived (DEEP_ARCHIVE)");
        let fields = [("Code", "InvalidRange"), ("ActualObjectSize", "12")];
        let error = about.refused(&Answer::for_test(416, &fields));
        assert!(matches!(error, BlobError::InvalidRange { size: Some(12), .. }), "{error:?}");
        let fields = [("Code", "RequestTimeTooSkewed"), ("ServerTime", "2026-01-01T00:00:00Z")];
        let error = about.refused(&Answer::for_test(403, &fields));
        assert!(error.to_string().contains("2026-01-01") && error.to_string().contains("1970"));
        let mut slow = Answer::for_test(503, &[("Code", "SlowDown")]);
        slow.headers.insert("retry-after", "7".parse().unwrap());
        let after = Some(Duration::from_secs(7));
        let error = about.refused(&slow);
        assert!(matches!(error, BlobError::Throttled { after: a } if a == after), "{error:?}");
    }

    #[test]
    fn what_is_not_found_without_a_blob_is_the_storage() {
        let error = about(Op::List, None).refused(&Answer::for_test(404, &[]));
        assert!(matches!(error, BlobError::NoStorage { .. }), "{error:?}");
    }

    #[test]
    fn tls_errors_are_final_and_broken_connections_are_not() {
        use crate::net::NetError;
        use blob_core::Retry;
        let of = |error| about(Op::Get, None).failed(Failure::Net(error)).retry();
        let tls = NetError::Tls { host: "h".into(), reason: "UnknownIssuer".into() };
        assert_eq!(of(tls), Retry::Never);
        assert_eq!(of(NetError::Cut { reason: "eof".into() }), Retry::Backoff);
    }
}
