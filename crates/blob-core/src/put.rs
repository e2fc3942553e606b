//! What is written, and with which attributes.

use std::{collections::BTreeMap, fmt, io, sync::Arc};

use bytes::{Bytes, BytesMut};

use crate::{StorageClass, Timestamp};

/// Bytes of a payload that are not in memory until they are asked for, such as a part of a file.
pub trait PieceSource: fmt::Debug + Send + Sync {
    /// How many there are.
    fn len(&self) -> u64;

    /// Are there none?
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads them: the same ones each time, and as many as [`len`](Self::len) says. It may block for
    /// as long as a local file takes.
    ///
    /// # Errors
    /// What the file system says; `InvalidData` if they are no longer what they were.
    fn read(&self) -> io::Result<Bytes>;
}

/// A part of a payload.
#[derive(Debug, Clone)]
pub enum Piece {
    /// In memory.
    Memory(Bytes),
    /// To be read when it is needed, once for each time it is sent.
    Source(Arc<dyn PieceSource>),
}

impl Piece {
    /// Its length in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::Source(source) => source.len(),
        }
    }

    /// Has it no bytes?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its bytes; what is in memory is not copied.
    ///
    /// # Errors
    /// As [`PieceSource::read`].
    pub fn read(&self) -> io::Result<Bytes> {
        match self {
            Self::Memory(bytes) => Ok(bytes.clone()),
            Self::Source(source) => source.read(),
        }
    }
}

/// The bytes of one blob: a list of pieces, so that a pack needn't be copied together to be sent, nor
/// be in memory all at once.
#[derive(Debug, Clone, Default)]
pub struct Payload {
    pieces: Vec<Piece>,
    len: u64,
}

impl Payload {
    /// A payload of no bytes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a piece at the end.
    pub fn push(&mut self, piece: impl Into<Bytes>) {
        self.push_piece(Piece::Memory(piece.into()));
    }

    /// Adds bytes that are read when they are needed.
    pub fn push_source(&mut self, source: Arc<dyn PieceSource>) {
        self.push_piece(Piece::Source(source));
    }

    fn push_piece(&mut self, piece: Piece) {
        if !piece.is_empty() {
            self.len += piece.len();
            self.pieces.push(piece);
        }
    }

    /// The length in bytes of all pieces together.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Has it no bytes?
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The pieces in order.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// All bytes in one piece; copies unless there is just one.
    ///
    /// # Errors
    /// As [`PieceSource::read`].
    pub fn to_bytes(&self) -> io::Result<Bytes> {
        match self.pieces.as_slice() {
            [] => Ok(Bytes::new()),
            [one] => one.read(),
            many => {
                let mut all = BytesMut::with_capacity(usize::try_from(self.len).unwrap_or(0));
                for piece in many {
                    all.extend_from_slice(&piece.read()?);
                }
                Ok(all.freeze())
            }
        }
    }

    /// Are these the payload's bytes? No more than one piece is in memory for it.
    ///
    /// # Errors
    /// As [`PieceSource::read`].
    pub fn equals(&self, bytes: &[u8]) -> io::Result<bool> {
        let mut rest = bytes;
        for piece in &self.pieces {
            match rest.strip_prefix(&piece.read()?[..]) {
                Some(behind) => rest = behind,
                None => return Ok(false),
            }
        }
        Ok(rest.is_empty())
    }
}

impl<T: Into<Bytes>> From<T> for Payload {
    fn from(bytes: T) -> Self {
        let mut payload = Self::new();
        payload.push(bytes);
        payload
    }
}

/// Encryption at rest, done by the storage. In addition to Kopia's own, never instead of it
/// (requirement S17).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encryption {
    /// SSE-S3: `x-amz-server-side-encryption: AES256`.
    S3,
    /// SSE-KMS.
    Kms {
        /// Two layers of encryption (`aws:kms:dsse`) instead of one (`aws:kms`).
        dual_layer: bool,
        /// The key; `None` = the account's default key.
        key: Option<String>,
        /// Use a bucket key; `None` = the bucket's setting.
        bucket_key: Option<bool>,
        /// Encryption context; empty = none.
        context: BTreeMap<String, String>,
    },
}

/// An additional checksum that the storage verifies and keeps: `x-amz-checksum-…`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Checksum {
    /// `x-amz-checksum-crc32`: 32 bits, ISO 3309.
    Crc32,
    /// `x-amz-checksum-crc32c`: 32 bits, Castagnoli.
    Crc32c,
    /// `x-amz-checksum-crc64nvme`: 64 bits, NVM Express.
    Crc64Nvme,
    /// `x-amz-checksum-sha1`: 160 bits.
    Sha1,
    /// `x-amz-checksum-sha256`: 256 bits.
    Sha256,
}

/// How strictly a lock binds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LockMode {
    /// Users with a special right may shorten or lift it.
    Governance,
    /// Nobody may, not even the account's root user.
    Compliance,
}

impl LockMode {
    /// The name S3 uses, `GOVERNANCE` or `COMPLIANCE`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Governance => "GOVERNANCE",
            Self::Compliance => "COMPLIANCE",
        }
    }
}

/// A lock that keeps a blob from being deleted or replaced for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lock {
    /// How strictly.
    pub mode: LockMode,
    /// For how long, counted from the moment of writing.
    pub period: std::time::Duration,
}

impl Lock {
    /// The lock that keeps both promises: the stricter mode, the longer period.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { mode: self.mode.max(other.mode), period: self.period.max(other.period) }
    }
}

/// How a blob is stored. Everything absent = the storage's default, and nothing is sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PutAttributes {
    /// Storage class.
    pub class: Option<StorageClass>,
    /// Encryption at rest.
    pub encryption: Option<Encryption>,
    /// Object tags.
    pub tags: Vec<(String, String)>,
    /// User metadata.
    pub metadata: BTreeMap<String, String>,
    /// `Cache-Control`.
    pub cache_control: Option<String>,
    /// Additional checksum.
    pub checksum: Option<Checksum>,
    /// Object lock.
    pub lock: Option<Lock>,
    /// Legal hold on or off.
    pub legal_hold: Option<bool>,
    /// Canned ACL.
    pub acl: Option<String>,
    /// Why a blob must not be written with these attributes; a storage answers
    /// [`crate::BlobError::InvalidOption`] with it before it sends a byte.
    pub refusal: Option<String>,
}

impl PutAttributes {
    /// Is nothing said but a class, or not even that?
    pub fn is_class_alone(&self) -> bool {
        Self { class: None, ..self.clone() } == Self::default()
    }

    /// What is set here, and for what is not, what `other` says. Two locks become one that is as
    /// strict and as long as both: neither is a wish that another could overrule.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        let (tags, metadata) = (self.tags, self.metadata);
        Self {
            class: self.class.or(other.class),
            encryption: self.encryption.or(other.encryption),
            tags: if tags.is_empty() { other.tags } else { tags },
            metadata: if metadata.is_empty() { other.metadata } else { metadata },
            cache_control: self.cache_control.or(other.cache_control),
            checksum: self.checksum.or(other.checksum),
            lock: match (self.lock, other.lock) {
                (Some(mine), Some(theirs)) => Some(mine.and(theirs)),
                (mine, theirs) => mine.or(theirs),
            },
            legal_hold: self.legal_hold.or(other.legal_hold),
            acl: self.acl.or(other.acl),
            refusal: self.refusal.or(other.refusal),
        }
    }
}

/// How one put is to be done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PutOptions {
    /// How the blob is stored. What is set here wins over any policy.
    pub attributes: PutAttributes,
    /// Fail with [`crate::BlobError::AlreadyExists`] if the blob exists, atomically.
    pub if_absent: bool,
    /// Content type; `None` = the storage's own (Kopia's `application/x-kopia` on S3).
    pub content_type: Option<&'static str>,
    /// Tell this as the time of the last write instead of the storage's clock; for copies of blobs
    /// from another storage. [`crate::BlobError::InvalidOption`] where the storage can't, before a
    /// byte is written.
    pub modified: Option<Timestamp>,
}

impl PutOptions {
    /// Names [`PutOptions::modified`] in a refusal.
    pub const MODIFIED: &'static str = "time of the last write";
}

/// What a storage says of a finished put.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PutReceipt {
    /// When the blob was written by the storage's clock, where that came for free with the answer.
    pub modified: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_its_pieces_in_order() {
        let mut payload = Payload::from(&b"ab"[..]);
        payload.push(Bytes::new());
        payload.push(&b"cde"[..]);
        assert_eq!((payload.len(), payload.pieces().len()), (5, 2));
        assert_eq!(payload.to_bytes().unwrap(), &b"abcde"[..]);
    }

    #[test]
    fn pieces_that_are_not_in_memory_are_read_when_they_are_needed() {
        #[derive(Debug)]
        struct File(&'static [u8]);
        impl PieceSource for File {
            fn len(&self) -> u64 {
                2
            }
            fn read(&self) -> io::Result<Bytes> {
                match self.0.len() {
                    2 => Ok(Bytes::from_static(self.0)),
                    _ => Err(io::ErrorKind::InvalidData.into()),
                }
            }
        }
        let mut payload = Payload::from(&b"ab"[..]);
        payload.push_source(Arc::new(File(b"cd")));
        payload.push(&b"e"[..]);
        assert_eq!(payload.len(), 5);
        assert_eq!(payload.to_bytes().unwrap(), &b"abcde"[..]);
        assert!(payload.equals(b"abcde").unwrap());
        for other in [&b"abcd"[..], b"abcdef", b"abxde", b""] {
            assert!(!payload.equals(other).unwrap(), "{other:?}");
        }
        payload.push_source(Arc::new(File(b"lost")));
        assert_eq!(payload.to_bytes().unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert!(payload.equals(b"abcdexx").is_err());
    }

    #[test]
    fn what_the_caller_set_wins() {
        let mine = PutAttributes { class: Some(StorageClass::STANDARD), ..Default::default() };
        let policy = PutAttributes {
            class: Some(StorageClass::GLACIER),
            cache_control: Some("x".into()),
            ..Default::default()
        };
        let both = mine.or(policy);
        assert_eq!(both.class, Some(StorageClass::STANDARD));
        assert_eq!(both.cache_control.as_deref(), Some("x"));
    }

    #[test]
    fn no_lock_shortens_or_softens_another() {
        let days = |mode, days: u64| {
            let period = std::time::Duration::from_secs(days * 86_400);
            PutAttributes { lock: Some(Lock { mode, period }), ..Default::default() }
        };
        let (soft, strict) = (days(LockMode::Governance, 30), days(LockMode::Compliance, 7));
        for both in [soft.clone().or(strict.clone()), strict.clone().or(soft.clone())] {
            assert_eq!(both, days(LockMode::Compliance, 30));
        }
        assert_eq!(soft.clone().or(PutAttributes::default()), soft);
        assert_eq!(PutAttributes::default().or(strict.clone()), strict);
    }
}
