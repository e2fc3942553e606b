//! Extending a blob's lock, and what lock a blob has.
//!
//! Facts from AWS' API reference of PutObjectRetention and the user guide's "How S3 Object Lock
//! works": the request needs a `Content-MD5` and reads nothing, so an archived object is locked as
//! any other; a lock can be made longer by who may lock. Making it shorter is refused under
//! `COMPLIANCE` to everybody, and under `GOVERNANCE` to all who do not send
//! `x-amz-bypass-governance-retention`. That header is never sent from here, whatever rights the
//! keys have, so no lock gets shorter by this client.
//!
//! A refusal reads "Access Denied" whether the right is missing or a lock is in the way. A HEAD,
//! which tells of the lock, says which of the two it was.

use std::sync::Arc;

use async_trait::async_trait;
use blob_core::{BlobError, BlobId, LockMode, Result, Retain, Timestamp};
use rusoto_s3::{HeadObjectRequest, ObjectLockRetention, PutObjectRetentionRequest, S3};

use crate::{
    S3Storage,
    errors::Op,
    storage::Inner,
    time,
    wire::{Answer, Exchange, Expect},
};

const RIGHT: &str = "s3:PutObjectRetention";
const MODE: &str = "x-amz-object-lock-mode";
const UNTIL: &str = "x-amz-object-lock-retain-until-date";

#[async_trait]
impl Retain for S3Storage {
    async fn extend_retention(&self, id: &BlobId, until: Timestamp, mode: LockMode) -> Result<()> {
        self.inner.require_present(Op::ExtendRetention)?;
        self.inner.extend_retention(id, whole_second(until), mode).await
    }
}

impl Inner {
    async fn extend_retention(&self, id: &BlobId, until: Timestamp, mode: LockMode) -> Result<()> {
        let exchange = Exchange::new(Expect::Nothing);
        let exchange = Arc::new(exchange.header("content-type", "application/xml".into()));
        let request = PutObjectRetentionRequest {
            bucket: self.bucket(),
            key: self.key(id),
            retention: Some(ObjectLockRetention {
                mode: Some(mode.as_str().into()),
                retain_until_date: Some(time::rfc3339_secs(until)),
            }),
            // rusoto adds the Content-MD5 of the document that it writes.
            ..PutObjectRetentionRequest::default()
        };
        let sent = self.wire.client(&exchange).put_object_retention(request).await;
        let Err(error) = sent else { return Ok(()) };
        let answer = exchange.answer();
        if answer.is_some_and(|answer| is_delete_marker(&answer)) {
            return Err(BlobError::NotFound { id: id.clone() });
        }
        match self.about(Op::ExtendRetention, Some(id)).error(&exchange, &error) {
            BlobError::Locked { .. } => {
                let until = self.lock_of(id).await.map(|(_, until)| until);
                Err(BlobError::Locked { id: id.clone(), until })
            }
            BlobError::AccessDenied { op, reason, .. } => {
                match self.lock_of(id).await.filter(|lock| lock.1 > until || lock.0 > mode) {
                    Some((_, until)) => {
                        Err(BlobError::Locked { id: id.clone(), until: Some(until) })
                    }
                    None => Err(BlobError::AccessDenied {
                        op,
                        id: Some(id.clone()),
                        reason: naming_the_right(reason),
                    }),
                }
            }
            error => Err(error),
        }
    }

    /// The blob's lock; `None` if it has none that still holds, or if the storage does not tell,
    /// which takes the right `s3:GetObjectRetention`.
    async fn lock_of(&self, id: &BlobId) -> Option<(LockMode, Timestamp)> {
        let exchange = Arc::new(Exchange::new(Expect::Object));
        let request = HeadObjectRequest {
            bucket: self.bucket(),
            key: self.key(id),
            ..HeadObjectRequest::default()
        };
        self.wire.client(&exchange).head_object(request).await.ok()?;
        let answer = exchange.answer()?;
        lock_in(&answer).filter(|(_, until)| *until > self.clock.now())
    }
}

/// The lock that an answer about an object tells of, also one that has ended.
pub(crate) fn lock_in(answer: &Answer) -> Option<(LockMode, Timestamp)> {
    let mode = match answer.header(MODE)? {
        "COMPLIANCE" => LockMode::Compliance,
        "GOVERNANCE" => LockMode::Governance,
        _ => return None,
    };
    Some((mode, time::parse_iso(answer.header(UNTIL)?)?))
}

/// S3 counts in seconds; one that has begun is locked to its end.
fn whole_second(time: Timestamp) -> Timestamp {
    let begun = Timestamp::from_secs(time.secs());
    if begun == time { time } else { Timestamp::from_secs(time.secs().saturating_add(1)) }
}

/// A deleted blob of a bucket with versions: there is a marker in its place, which has no lock.
fn is_delete_marker(answer: &Answer) -> bool {
    answer.status == 405 && answer.header("x-amz-delete-marker") == Some("true")
}

fn naming_the_right(reason: String) -> String {
    // AWS names it where it is an identity policy that does not allow it, and not always.
    if reason.contains(RIGHT) { reason } else { format!("{reason}; it takes the right {RIGHT}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_never_asked_for_a_part_of_a_second_less() {
        let secs = Timestamp::from_secs;
        assert_eq!(whole_second(secs(5)), secs(5));
        assert_eq!(whole_second(Timestamp::from_nanos(5_000_000_001)), secs(6));
        assert_eq!(whole_second(Timestamp::from_nanos(-1)), secs(0));
        assert!(whole_second(Timestamp::from_nanos(i64::MAX)) >= Timestamp::from_nanos(i64::MAX));
    }

    #[test]
    fn a_lock_is_read_from_both_headers() {
        let with = |mode: &str, until: &str| {
            let mut answer = Answer { status: 200, ..Answer::default() };
            answer.headers.insert(MODE, mode.parse().unwrap());
            answer.headers.insert(UNTIL, until.parse().unwrap());
            lock_in(&answer)
        };
        let until = Timestamp::from_secs(1_802_592_000);
        let told = with("COMPLIANCE", "2027-02-14T08:00:00.000Z");
        assert_eq!(told, Some((LockMode::Compliance, until)));
        assert_eq!(with("GOVERNANCE", "soon"), None);
        assert_eq!(with("ETERNAL", "2027-02-14T08:00:00Z"), None);
        assert_eq!(lock_in(&Answer::default()), None);
    }

    #[test]
    fn the_right_is_named_once() {
        let told = "not authorized to perform: s3:PutObjectRetention".to_owned();
        assert_eq!(naming_the_right(told.clone()), told);
        let told = naming_the_right("Access Denied".into());
        assert_eq!(told, "Access Denied; it takes the right s3:PutObjectRetention");
    }
}
