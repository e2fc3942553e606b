//! What can go wrong with a blob, typed so that callers can decide.

use std::time::Duration;

use crate::{BlobId, ReadRange, ReadState, StorageClass, Timestamp};

/// The result of a storage call.
pub type Result<T, E = BlobError> = std::result::Result<T, E>;

/// Any cause below us, kept for the chain of an error message.
pub type Source = Box<dyn std::error::Error + Send + Sync + 'static>;

/// Why a storage call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlobError {
    /// There is no such blob. On S3 a missing bucket looks the same to Kopia; here it is
    /// [`BlobError::NoStorage`] wherever the answer tells.
    #[error("blob {id} does not exist")]
    NotFound {
        /// The blob asked for.
        id: BlobId,
    },
    /// The blob exists already and the caller asked for a new one.
    #[error("blob {id} exists already")]
    AlreadyExists {
        /// The blob.
        id: BlobId,
    },
    /// The blob can't be read before it is thawed. Never retried.
    #[error(
        "blob {id} is archived ({})",
        class.as_ref().map_or("class unknown", StorageClass::as_str)
    )]
    Archived {
        /// The blob.
        id: BlobId,
        /// Its class, where the answer tells it.
        class: Option<StorageClass>,
        /// How far a thaw is.
        state: ReadState,
    },
    /// The blob has no such bytes.
    #[error(
        "blob {id} has no bytes {range}{}",
        size.map_or(String::new(), |size| format!(" (it has {size} bytes)"))
    )]
    InvalidRange {
        /// The blob.
        id: BlobId,
        /// The bytes asked for.
        range: ReadRange,
        /// The blob's length, where known.
        size: Option<u64>,
    },
    /// The storage gave other bytes than it should have.
    #[error("blob {id} is damaged: {reason}")]
    Damaged {
        /// The blob.
        id: BlobId,
        /// What is wrong with it.
        reason: String,
    },
    /// The blob is locked against deletion and change.
    #[error("blob {id} is locked")]
    Locked {
        /// The blob.
        id: BlobId,
        /// Until when, where the storage tells.
        until: Option<Timestamp>,
    },
    /// The storage refuses: a right is missing.
    #[error("{op} of {} was denied: {reason}", id.as_ref().map_or("the storage", BlobId::as_str))]
    AccessDenied {
        /// What was tried: `get`, `list` …
        op: &'static str,
        /// On which blob.
        id: Option<BlobId>,
        /// What the storage said.
        reason: String,
    },
    /// There are no credentials, or the storage doesn't know or no longer takes them.
    #[error("credentials were not accepted: {reason}")]
    Credentials {
        /// What is wrong with them.
        reason: String,
    },
    /// The folder or bucket itself is missing.
    #[error("{storage} does not exist: {reason}")]
    NoStorage {
        /// The storage's name for people.
        storage: String,
        /// What was found instead.
        reason: String,
    },
    /// The connection is read-only.
    #[error("{op} is not possible: the connection is read-only")]
    ReadOnly {
        /// What was tried.
        op: &'static str,
    },
    /// The storage can't do this at all.
    #[error("{storage} does not support {op}")]
    Unsupported {
        /// What was asked.
        op: &'static str,
        /// The storage's name for people.
        storage: String,
    },
    /// An option that the storage or its policy does not take.
    #[error("{option} was not accepted: {reason}")]
    InvalidOption {
        /// Which option.
        option: String,
        /// Why.
        reason: String,
    },
    /// The disk is full, or a quota is reached.
    #[error("no space left on the storage")]
    NoSpace {
        /// The operating system's word.
        #[source]
        source: Source,
    },
    /// The clocks of client and storage differ too much for the storage to take a request.
    #[error("the clocks differ: the storage's shows {server}, this machine's {client}")]
    ClockSkew {
        /// The storage's time, as it wrote it.
        server: String,
        /// This machine's time.
        client: String,
    },
    /// The storage asks for fewer requests.
    #[error("the storage asks to slow down")]
    Throttled {
        /// How long to wait, where it says.
        after: Option<Duration>,
    },
    /// The retrieval tier has no capacity now (expedited only). Another tier is another price: the
    /// caller decides.
    #[error("blob {id}: the {tier} tier has no capacity now")]
    TierUnavailable {
        /// The blob.
        id: BlobId,
        /// The tier's name.
        tier: String,
    },
    /// It may work when tried again: connection cut, time-out, an internal error of the storage.
    #[error("{op} failed: {source}")]
    Transient {
        /// What was tried.
        op: &'static str,
        /// Why it failed.
        #[source]
        source: Source,
    },
    /// There is no connection: the name is unknown, nothing listens there, no route. It may work
    /// when tried again; where the storage never answered, its address is more likely wrong.
    #[error("{op} failed: {source}")]
    Unreachable {
        /// What was tried.
        op: &'static str,
        /// Why there is no connection.
        #[source]
        source: Source,
    },
    /// It failed, and trying again won't help.
    #[error("{op} of {} failed: {source}", id.as_ref().map_or("the storage", BlobId::as_str))]
    Other {
        /// What was tried.
        op: &'static str,
        /// On which blob.
        id: Option<BlobId>,
        /// Why it failed.
        #[source]
        source: Source,
    },
}

/// Whether to try a failed call again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Never: the answer would be the same, or the caller has to decide.
    Never,
    /// After a growing pause.
    Backoff,
    /// After this time at least.
    After(Duration),
}

impl BlobError {
    /// The bytes to put couldn't be read on this machine.
    pub fn unreadable(id: &crate::BlobId, error: std::io::Error) -> Self {
        Self::Other { op: "put", id: Some(id.clone()), source: Box::new(error) }
    }

    /// Should the same call be tried again?
    pub fn retry(&self) -> Retry {
        match self {
            Self::Throttled { after: Some(after) } => Retry::After(*after),
            Self::Throttled { after: None } | Self::Transient { .. } | Self::Unreachable { .. } => {
                Retry::Backoff
            }
            _ => Retry::Never,
        }
    }

    /// Is it [`BlobError::NotFound`]?
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// The same error about another blob, for layers that rename blobs; as it is where it names
    /// none.
    #[must_use]
    pub fn with_id(mut self, new: &BlobId) -> Self {
        match &mut self {
            Self::NotFound { id }
            | Self::AlreadyExists { id }
            | Self::Archived { id, .. }
            | Self::InvalidRange { id, .. }
            | Self::Damaged { id, .. }
            | Self::Locked { id, .. }
            | Self::TierUnavailable { id, .. }
            | Self::AccessDenied { id: Some(id), .. }
            | Self::Other { id: Some(id), .. } => *id = new.clone(),
            _ => {}
        }
        self
    }

    /// The blob concerned, where it is one blob.
    pub fn id(&self) -> Option<&BlobId> {
        match self {
            Self::NotFound { id }
            | Self::AlreadyExists { id }
            | Self::Archived { id, .. }
            | Self::InvalidRange { id, .. }
            | Self::Damaged { id, .. }
            | Self::Locked { id, .. }
            | Self::TierUnavailable { id, .. } => Some(id),
            Self::AccessDenied { id, .. } | Self::Other { id, .. } => id.as_ref(),
            _ => None,
        }
    }
}
