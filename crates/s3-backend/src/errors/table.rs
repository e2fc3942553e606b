//! The table: status × code × operation → meaning. The first row that fits decides.
//!
//! Codes are those of AWS' "List of error codes", of the API pages of the operations, and those
//! of MinIO that differ. A HEAD has no body, so no code; its rows go by status.

use crate::wire::Answer;

/// What was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    Get,
    Head,
    List,
    Put,
    Delete,
    Thaw,
    /// The bucket's lifecycle rules, read or written.
    Lifecycle,
    /// A request about jobs of Batch Operations.
    Batch,
    Reclass,
    ExtendRetention,
}

impl Op {
    /// The name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Head => "head",
            Self::List => "list",
            Self::Put => "put",
            Self::Delete => "delete",
            Self::Thaw => "thaw",
            Self::Lifecycle => "lifecycle rules",
            Self::Batch => "batch job",
            Self::Reclass => "reclass",
            Self::ExtendRetention => "extend_retention",
        }
    }
}

/// What an answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    NotFound,
    NoStorage,
    AlreadyExists,
    Archived,
    InvalidRange,
    Locked,
    Denied,
    Credentials,
    ClockSkew,
    Throttled,
    TierUnavailable,
    /// An option was not taken; its name.
    Option(&'static str),
    NoSpace,
    Unsupported,
    Transient,
    Other,
    /// A thaw that runs already: no error.
    AlreadyRunning,
    /// A thaw of a blob that is readable: no error.
    NotCold,
}

/// Any status, any code, any operation.
const STATUS_ANY: u16 = 0;
const CODE_ANY: &str = "*";
const OP_ANY: &[Op] = &[
    Op::Get,
    Op::Head,
    Op::List,
    Op::Put,
    Op::Delete,
    Op::Thaw,
    Op::Lifecycle,
    Op::Batch,
    Op::Reclass,
    Op::ExtendRetention,
];
const PUT: &[Op] = &[Op::Put];
/// What says how a blob is stored.
const STORE: &[Op] = &[Op::Put, Op::Reclass];
const RECLASS: &[Op] = &[Op::Reclass];
const THAW: &[Op] = &[Op::Thaw];
const LIFECYCLE: &[Op] = &[Op::Lifecycle];
const BATCH: &[Op] = &[Op::Batch];
const RETENTION: &[Op] = &[Op::ExtendRetention];
const OF_BLOB: &[Op] = &[Op::Get, Op::Head, Op::Delete, Op::Thaw, Op::Reclass, Op::ExtendRetention];

/// The option that locks blobs.
const LOCK: &str = "object lock";

type Row = (u16, &'static str, &'static [Op], Meaning);

#[rustfmt::skip]
const TABLE: &[Row] = &[
    // Jobs: who does not have them takes their path for a bucket's name.
    (STATUS_ANY, "NoSuchBucket", BATCH, Meaning::Unsupported),
    (405, CODE_ANY, BATCH, Meaning::Unsupported),
    (404, CODE_ANY, BATCH, Meaning::Other),
    (400, "InvalidRequest", BATCH, Meaning::Option("the batch job")),
    (400, "BadRequestException", BATCH, Meaning::Option("the batch job")),
    (400, "IdempotencyException", BATCH, Meaning::Option("the batch job's token")),
    (400, "MalformedXML", BATCH, Meaning::Option("the batch job")),
    (STATUS_ANY, "TooManyRequestsException", BATCH, Meaning::Throttled),
    (STATUS_ANY, "InternalServiceException", BATCH, Meaning::Transient),

    // What is there, and what is not.
    (STATUS_ANY, "NoSuchKey", OP_ANY, Meaning::NotFound),
    (STATUS_ANY, "NoSuchVersion", OP_ANY, Meaning::NotFound),
    (STATUS_ANY, "NoSuchBucket", OP_ANY, Meaning::NoStorage),
    (STATUS_ANY, "InvalidBucketName", OP_ANY, Meaning::NoStorage),
    (STATUS_ANY, "NoSuchEndpoint", OP_ANY, Meaning::NoStorage),
    (404, CODE_ANY, OF_BLOB, Meaning::NotFound),
    (404, CODE_ANY, OP_ANY, Meaning::NoStorage),
    (412, CODE_ANY, PUT, Meaning::AlreadyExists),
    // The blob is another one than the HEAD before saw: another try looks anew.
    (412, CODE_ANY, RECLASS, Meaning::Transient),
    (STATUS_ANY, "PreconditionFailed", RECLASS, Meaning::Transient),
    (416, CODE_ANY, OP_ANY, Meaning::InvalidRange),
    (STATUS_ANY, "InvalidRange", OP_ANY, Meaning::InvalidRange),

    // Cold storage.
    (STATUS_ANY, "RestoreAlreadyInProgress", THAW, Meaning::AlreadyRunning),
    (STATUS_ANY, "ObjectAlreadyInActiveTierError", THAW, Meaning::NotCold),
    (STATUS_ANY, "InvalidObjectState", THAW, Meaning::NotCold),
    (STATUS_ANY, "InvalidObjectState", OP_ANY, Meaning::Archived),
    (STATUS_ANY, "ObjectNotInActiveTierError", OP_ANY, Meaning::Archived),
    (STATUS_ANY, "GlacierExpeditedRetrievalNotAvailable", OP_ANY, Meaning::TierUnavailable),
    (400, "InvalidArgument", THAW, Meaning::Option("the thaw's tier or days")),
    (400, "MalformedXML", THAW, Meaning::Option("the thaw's tier or days")),

    // The bucket's lifecycle rules.
    (400, "MalformedXML", LIFECYCLE, Meaning::Option("a lifecycle rule")),
    (400, "InvalidArgument", LIFECYCLE, Meaning::Option("a lifecycle rule")),
    (400, "InvalidRequest", LIFECYCLE, Meaning::Option("a lifecycle rule")),
    (STATUS_ANY, "InvalidStorageClass", LIFECYCLE, Meaning::Option("a lifecycle rule")),

    // A lock that is to be extended. A bucket without object lock says InvalidRequest.
    (400, "InvalidRequest", RETENTION, Meaning::Option(LOCK)),
    (400, "InvalidArgument", RETENTION, Meaning::Option(LOCK)),
    (400, "MalformedXML", RETENTION, Meaning::Option(LOCK)),
    (STATUS_ANY, "InvalidRetentionPeriod", RETENTION, Meaning::Option(LOCK)),
    (STATUS_ANY, "ObjectLockConfigurationNotFoundError", RETENTION, Meaning::Option(LOCK)),
    (405, CODE_ANY, RETENTION, Meaning::Unsupported),

    // Who asks.
    (STATUS_ANY, "InvalidAccessKeyId", OP_ANY, Meaning::Credentials),
    (STATUS_ANY, "SignatureDoesNotMatch", OP_ANY, Meaning::Credentials),
    (STATUS_ANY, "ExpiredToken", OP_ANY, Meaning::Credentials),
    (STATUS_ANY, "TokenRefreshRequired", OP_ANY, Meaning::Credentials),
    (STATUS_ANY, "InvalidToken", OP_ANY, Meaning::Credentials),
    (STATUS_ANY, "InvalidSecurity", OP_ANY, Meaning::Credentials),
    (STATUS_ANY, "NotSignedUp", OP_ANY, Meaning::Credentials),
    (STATUS_ANY, "MissingSecurityHeader", OP_ANY, Meaning::Credentials),
    (STATUS_ANY, "RequestTimeTooSkewed", OP_ANY, Meaning::ClockSkew),
    (STATUS_ANY, "RequestExpired", OP_ANY, Meaning::ClockSkew),
    (STATUS_ANY, "ObjectLocked", OP_ANY, Meaning::Locked),
    (401, CODE_ANY, OP_ANY, Meaning::Credentials),
    (403, CODE_ANY, OP_ANY, Meaning::Denied),
    (STATUS_ANY, "AccessDenied", OP_ANY, Meaning::Denied),

    // How a blob is to be written.
    (STATUS_ANY, "InvalidStorageClass", STORE, Meaning::Option("storage class")),
    (STATUS_ANY, "AccessControlListNotSupported", STORE, Meaning::Option("acl")),
    (STATUS_ANY, "InvalidTag", STORE, Meaning::Option("tags")),
    (STATUS_ANY, "MetadataTooLarge", STORE, Meaning::Option("metadata")),
    (STATUS_ANY, "InvalidRetentionPeriod", STORE, Meaning::Option(LOCK)),
    (STATUS_ANY, "ObjectLockConfigurationNotFoundError", STORE, Meaning::Option(LOCK)),
    (STATUS_ANY, "InvalidEncryptionAlgorithmError", STORE, Meaning::Option("encryption")),
    (STATUS_ANY, "KMS.NotFoundException", OP_ANY, Meaning::Option("encryption key")),
    (STATUS_ANY, "KMS.DisabledException", OP_ANY, Meaning::Option("encryption key")),
    (STATUS_ANY, "KMS.KMSInvalidStateException", OP_ANY, Meaning::Option("encryption key")),
    (STATUS_ANY, "KMS.InvalidKeyUsageException", OP_ANY, Meaning::Option("encryption key")),
    (400, "InvalidArgument", STORE, Meaning::Option("an attribute of the blob")),
    (400, "InvalidRequest", STORE, Meaning::Option("an attribute of the blob")),
    (STATUS_ANY, "XMinioStorageFull", OP_ANY, Meaning::NoSpace),
    (STATUS_ANY, "QuotaExceeded", OP_ANY, Meaning::NoSpace),
    (507, CODE_ANY, OP_ANY, Meaning::NoSpace),

    // Later.
    (STATUS_ANY, "SlowDown", OP_ANY, Meaning::Throttled),
    (STATUS_ANY, "SlowDownRead", OP_ANY, Meaning::Throttled),
    (STATUS_ANY, "SlowDownWrite", OP_ANY, Meaning::Throttled),
    (STATUS_ANY, "ThrottlingException", OP_ANY, Meaning::Throttled),
    (STATUS_ANY, "KMS.ThrottlingException", OP_ANY, Meaning::Throttled),
    (STATUS_ANY, "TooManyRequests", OP_ANY, Meaning::Throttled),
    (STATUS_ANY, "RequestLimitExceeded", OP_ANY, Meaning::Throttled),
    (STATUS_ANY, "BandwidthLimitExceeded", OP_ANY, Meaning::Throttled),
    (429, CODE_ANY, OP_ANY, Meaning::Throttled),
    (503, CODE_ANY, OP_ANY, Meaning::Throttled),
    (STATUS_ANY, "RequestTimeout", OP_ANY, Meaning::Transient),
    (STATUS_ANY, "InternalError", OP_ANY, Meaning::Transient),
    (STATUS_ANY, "OperationAborted", OP_ANY, Meaning::Transient),
    // Two conditional puts, or one and a delete, at the same time: who won is known at another try.
    (STATUS_ANY, "ConditionalRequestConflict", PUT, Meaning::Transient),
    // Bytes that were damaged on the way; what we sent was right.
    (STATUS_ANY, "BadDigest", OP_ANY, Meaning::Transient),
    (STATUS_ANY, "IncompleteBody", OP_ANY, Meaning::Transient),
    (STATUS_ANY, "XAmzContentSHA256Mismatch", OP_ANY, Meaning::Transient),
    (STATUS_ANY, "XAmzContentChecksumMismatch", OP_ANY, Meaning::Transient),
    (408, CODE_ANY, OP_ANY, Meaning::Transient),
    (499, CODE_ANY, OP_ANY, Meaning::Transient),

    // Never.
    (501, CODE_ANY, OP_ANY, Meaning::Unsupported),
    (STATUS_ANY, "NotImplemented", OP_ANY, Meaning::Unsupported),
];

/// What an answer with this status, code and message means for this operation.
pub(crate) fn meaning(op: Op, answer: &Answer) -> Meaning {
    let (status, code) = (answer.status, answer.code());
    let message = answer.field("Message").unwrap_or_default().to_ascii_lowercase();
    let about_lock = ["object lock", "worm protected"].iter().any(|word| message.contains(word));
    if about_lock {
        // AWS and MinIO say by the message alone that a refusal is about the lock.
        match (op, status) {
            (Op::Delete, _) | (Op::Put | Op::Reclass, 403) => return Meaning::Locked,
            (Op::Put | Op::Reclass, 400) => return Meaning::Option(LOCK),
            // What a bucket without locks says of it with 400 is a row of the table.
            (Op::ExtendRetention, 403) => return Meaning::Locked,
            (Op::ExtendRetention, 400) if message.contains("worm protected") => {
                return Meaning::Locked;
            }
            _ => {}
        }
    }
    let row = TABLE.iter().find(|(row_status, row_code, ops, _)| {
        (*row_status == STATUS_ANY || *row_status == status)
            && (*row_code == CODE_ANY || *row_code == code)
            && ops.contains(&op)
    });
    match row {
        Some((.., meaning)) => *meaning,
        None if status >= 500 => Meaning::Transient,
        None => Meaning::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(op: Op, status: u16, code: &str) -> Meaning {
        let fields = [("Code", code)];
        meaning(op, &Answer::for_test(status, if code.is_empty() { &[] } else { &fields }))
    }

    #[test]
    fn the_situations_of_the_table_have_their_meaning() {
        use Meaning as M;
        use Op::*;
        let cases = [
            (Get, 403, "InvalidObjectState", M::Archived),
            (Get, 404, "NoSuchKey", M::NotFound),
            (Head, 404, "", M::NotFound),
            (Head, 403, "", M::Denied),
            (Get, 404, "NoSuchBucket", M::NoStorage),
            (Put, 404, "NoSuchBucket", M::NoStorage),
            (List, 404, "NoSuchBucket", M::NoStorage),
            (List, 404, "", M::NoStorage),
            (Get, 301, "PermanentRedirect", M::Other),
            (Get, 503, "SlowDown", M::Throttled),
            (Get, 429, "", M::Throttled),
            (Get, 503, "", M::Throttled),
            (Get, 403, "RequestTimeTooSkewed", M::ClockSkew),
            (Get, 400, "ExpiredToken", M::Credentials),
            (Get, 403, "InvalidAccessKeyId", M::Credentials),
            (Get, 403, "NotSignedUp", M::Credentials),
            (Get, 403, "SignatureDoesNotMatch", M::Credentials),
            (Get, 403, "AccessDenied", M::Denied),
            (Thaw, 409, "RestoreAlreadyInProgress", M::AlreadyRunning),
            (Thaw, 503, "GlacierExpeditedRetrievalNotAvailable", M::TierUnavailable),
            (Thaw, 403, "InvalidObjectState", M::NotCold),
            (Thaw, 403, "ObjectAlreadyInActiveTierError", M::NotCold),
            (Put, 403, "ObjectNotInActiveTierError", M::Archived),
            (Put, 400, "InvalidStorageClass", M::Option("storage class")),
            (Put, 412, "PreconditionFailed", M::AlreadyExists),
            (Put, 409, "ConditionalRequestConflict", M::Transient),
            (Put, 409, "OperationAborted", M::Transient),
            (Put, 400, "BadDigest", M::Transient),
            (Put, 400, "InvalidDigest", M::Other),
            (Put, 400, "RequestTimeout", M::Transient),
            (Get, 416, "InvalidRange", M::InvalidRange),
            (Get, 502, "", M::Transient),
            (Get, 500, "InternalError", M::Transient),
            (Put, 501, "NotImplemented", M::Unsupported),
            (Lifecycle, 400, "MalformedXML", M::Option("a lifecycle rule")),
            (Lifecycle, 404, "NoSuchBucket", M::NoStorage),
            (Lifecycle, 403, "AccessDenied", M::Denied),
            (Put, 418, "", M::Other),
            (Batch, 403, "AccessDenied", M::Denied),
            (Batch, 400, "InvalidRequest", M::Option("the batch job")),
            (Batch, 404, "NoSuchJob", M::Other),
            (Batch, 404, "NoSuchBucket", M::Unsupported),
            (Batch, 501, "NotImplemented", M::Unsupported),
            (Batch, 400, "TooManyRequestsException", M::Throttled),
            (Reclass, 403, "InvalidObjectState", M::Archived),
            (Reclass, 403, "ObjectNotInActiveTierError", M::Archived),
            (Reclass, 403, "AccessDenied", M::Denied),
            (Reclass, 412, "PreconditionFailed", M::Transient),
            (Reclass, 404, "NoSuchKey", M::NotFound),
            (Reclass, 400, "InvalidStorageClass", M::Option("storage class")),
            (Reclass, 500, "SlowDown", M::Throttled),
            (ExtendRetention, 400, "InvalidRequest", M::Option("object lock")),
            (ExtendRetention, 400, "InvalidArgument", M::Option("object lock")),
            (ExtendRetention, 404, "NoSuchKey", M::NotFound),
            (ExtendRetention, 404, "NoSuchBucket", M::NoStorage),
            (ExtendRetention, 403, "AccessDenied", M::Denied),
            (ExtendRetention, 405, "MethodNotAllowed", M::Unsupported),
            (ExtendRetention, 501, "NotImplemented", M::Unsupported),
            (ExtendRetention, 503, "SlowDown", M::Throttled),
        ];
        for (op, status, code, expected) in cases {
            assert_eq!(of(op, status, code), expected, "{op:?} {status} {code:?}");
        }
    }

    #[test]
    fn a_lock_is_known_by_the_message() {
        let message = "Access Denied because object protected by object lock.";
        let fields = [("Code", "AccessDenied"), ("Message", message)];
        let locked = Answer::for_test(403, &fields);
        assert_eq!(meaning(Op::Delete, &locked), Meaning::Locked);
        assert_eq!(meaning(Op::ExtendRetention, &locked), Meaning::Locked);
        assert_eq!(meaning(Op::Get, &locked), Meaning::Denied);
        let worm = "Object is WORM protected and cannot be overwritten";
        let worm = Answer::for_test(400, &[("Code", "InvalidRequest"), ("Message", worm)]);
        assert_eq!(meaning(Op::ExtendRetention, &worm), Meaning::Locked);
        let fields = [
            ("Code", "InvalidRequest"),
            ("Message", "Bucket is missing Object Lock Configuration"),
        ];
        let none = Answer::for_test(400, &fields);
        assert_eq!(meaning(Op::Put, &none), Meaning::Option("object lock"));
        assert_eq!(meaning(Op::ExtendRetention, &none), Meaning::Option("object lock"));
    }

    #[test]
    fn no_row_is_hidden_behind_an_earlier_one() {
        for (n, (status, code, ops, _)) in TABLE.iter().enumerate() {
            let hidden = TABLE[..n].iter().any(|(s, c, o, _)| {
                (*s == STATUS_ANY || s == status)
                    && (*c == CODE_ANY || c == code)
                    && ops.iter().all(|op| o.contains(op))
            });
            assert!(!hidden, "row {n}: {status} {code}");
        }
    }
}
