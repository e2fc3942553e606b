//! Why a repository could not be opened, read or written.
//!
//! Every variant names the blob, content, object or manifest concerned. What to do about it is said
//! by the application; where the way out is part of the fact (a format blob that packs hold copies
//! of) the text says it.

use std::{path::PathBuf, time::Duration};

use blob_core::{BlobError, BlobId, ReadState, StorageClass};
use kopia_format::{ContentId, FormatError, ManifestId, ObjectId, time::GoTime};

/// The result of a repository call.
pub type Result<T, E = RepoError> = std::result::Result<T, E>;

/// Why a repository could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepoError {
    /// The storage failed.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// A value could not be made or understood, outside of any blob.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The storage holds no repository.
    #[error("{storage} holds no Kopia repository: blob kopia.repository is missing")]
    NoRepository {
        /// The storage's name for people.
        storage: String,
    },
    /// The storage holds a repository, or part of one, already.
    #[error("{storage} holds a Kopia repository already: blob {blob} exists")]
    AlreadyExists {
        /// The storage's name for people.
        storage: String,
        /// The blob found.
        blob: BlobId,
    },
    /// `kopia.blobcfg` is there and `kopia.repository`, which is written after it, is not.
    #[error(
        "somebody is creating a repository in {storage}, or was interrupted: blob kopia.blobcfg \
         is there and kopia.repository is not; try again in {} min, or delete kopia.blobcfg if \
         you know that nobody is", wait.as_secs().div_ceil(60)
    )]
    BeingCreated {
        /// The storage's name for people.
        storage: String,
        /// After which time creating it anew is safe.
        wait: Duration,
    },
    /// `kopia.repository` is missing although packs and indexes are there.
    #[error(
        "blob kopia.repository is missing but {storage} holds packs; packs of a repository \
         of format version 1 hold copies of it, which `kopia repository repair` puts back"
    )]
    FormatBlobLost {
        /// The storage's name for people.
        storage: String,
    },
    /// `kopia.repository` or `kopia.blobcfg` is not what it should be.
    #[error("blob {blob} is damaged: {reason}; {way_out}")]
    FormatBlobDamaged {
        /// Which of the two.
        blob: BlobId,
        /// What is wrong with it.
        reason: String,
        /// What brings it back.
        way_out: &'static str,
    },
    /// The password does not open `kopia.repository`, or its sealed part is damaged: the two look
    /// the same.
    #[error("wrong password, or blob kopia.repository is damaged")]
    WrongPassword,
    /// The password was changed by somebody else while the repository was open.
    #[error("the repository's password was changed while it was open: open it again")]
    PasswordChanged,
    /// The blob `kopia.repository` now belongs to another repository.
    #[error("the repository was replaced by another one while it was open")]
    RepositoryReplaced,
    /// The repository needs a newer version.
    #[error("the repository needs a newer version of this program: {reason}")]
    TooNew {
        /// Which part is not understood.
        reason: String,
    },
    /// Somebody upgrades the repository and has locked it.
    #[error("the repository is locked for an upgrade by {owner:?} since {since}")]
    UpgradeLocked {
        /// Who set the lock.
        owner: String,
        /// When.
        since: GoTime,
        /// What the owner says.
        message: String,
    },
    /// The repository was opened for reading only.
    #[error("{op} is not possible: the repository is open for reading only")]
    ReadOnly {
        /// What was tried.
        op: &'static str,
    },
    /// This repository can't do it.
    #[error("{op} is not possible: {reason}")]
    Unsupported {
        /// What was tried.
        op: &'static str,
        /// Why it can't be.
        reason: String,
    },
    /// An index blob can't be read.
    #[error("index blob {blob} is damaged: {source}")]
    IndexDamaged {
        /// The blob.
        blob: BlobId,
        /// What is wrong with it.
        #[source]
        source: FormatError,
    },
    /// Index blobs kept vanishing while they were being loaded.
    #[error("index blob {blob} is listed as needed but does not exist, after {attempts} attempts")]
    IndexMissing {
        /// One of them.
        blob: BlobId,
        /// How often the set was made anew.
        attempts: u32,
    },
    /// The marker of a session does not say which packs it guards.
    #[error("the session marker {blob} is damaged: {reason}")]
    SessionDamaged {
        /// The marker.
        blob: BlobId,
        /// What is wrong with it.
        reason: String,
    },
    /// Writing the index took so long that two epochs began meanwhile: readers may not look for it
    /// any more.
    #[error(
        "writing the index took too long: it was written in epoch {written} and epoch {current} \
         has begun; the index blobs were withdrawn"
    )]
    WriteTooSlow {
        /// The epoch of the index blobs.
        written: u64,
        /// The epoch now.
        current: u64,
    },
    /// No index knows the content, as far as it can be read.
    #[error(
        "content {id} {}",
        index.as_ref().map_or("does not exist".to_owned(), |blob| format!(
            "is in no index blob that can be read, and {blob} is damaged"
        ))
    )]
    ContentNotFound {
        /// The content.
        id: ContentId,
        /// An index blob that was passed over: the content may be in it.
        index: Option<BlobId>,
    },
    /// The content's pack must be thawed first.
    #[error(
        "content {id} is in pack {pack}, which is archived{}",
        class.as_ref().map_or(String::new(), |c| format!(" ({c})"))
    )]
    ContentArchived {
        /// The content.
        id: ContentId,
        /// Its pack.
        pack: BlobId,
        /// The pack's storage class, where known.
        class: Option<StorageClass>,
        /// How far a thaw is.
        state: ReadState,
    },
    /// The content's pack does not exist.
    #[error("content {id} is lost: its pack {pack} does not exist")]
    PackMissing {
        /// The content.
        id: ContentId,
        /// Its pack.
        pack: BlobId,
    },
    /// The content's pack is shorter than the index says.
    #[error("content {id} is lost: pack {pack} has no bytes {offset}..{}", offset + length)]
    PackTruncated {
        /// The content.
        id: ContentId,
        /// Its pack.
        pack: BlobId,
        /// Where the content begins.
        offset: u64,
        /// How long it is.
        length: u64,
    },
    /// The content's bytes are not what was written.
    #[error("content {id} is damaged, in pack {pack} at {offset}: {source}")]
    ContentDamaged {
        /// The content.
        id: ContentId,
        /// Its pack.
        pack: BlobId,
        /// Where it begins.
        offset: u64,
        /// What is wrong with it.
        #[source]
        source: FormatError,
    },
    /// An object does not have the form it should have.
    #[error("object {id} is damaged: {reason}")]
    ObjectDamaged {
        /// The object.
        id: ObjectId,
        /// What is wrong with it.
        reason: String,
    },
    /// An object is longer than the caller is ready for.
    #[error("object {id} has {length} bytes, more than {limit}")]
    ObjectTooLong {
        /// The object.
        id: ObjectId,
        /// Its length.
        length: u64,
        /// The caller's limit.
        limit: u64,
    },
    /// There is no such manifest.
    #[error("manifest {id} does not exist")]
    ManifestNotFound {
        /// The manifest.
        id: ManifestId,
    },
    /// A content that holds manifests can't be understood.
    #[error("manifests in content {content} can't be read: {source}")]
    ManifestDamaged {
        /// The content.
        content: ContentId,
        /// What is wrong with it.
        #[source]
        source: FormatError,
    },
    /// The session marker, or another small blob, can't be read.
    #[error("blob {blob} is damaged: {source}")]
    BlobDamaged {
        /// The blob.
        blob: BlobId,
        /// What is wrong with it.
        #[source]
        source: FormatError,
    },
    /// The cache folder can't be used.
    #[error("cache {path}: {source}")]
    Cache {
        /// The folder or file.
        path: PathBuf,
        /// The system's word.
        #[source]
        source: std::io::Error,
    },
}

impl RepoError {
    /// Is it that something asked for does not exist: a content, a manifest, a blob?
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::ContentNotFound { index, .. } => index.is_none(),
            Self::ManifestNotFound { .. } => true,
            Self::Blob(error) => error.is_not_found(),
            _ => false,
        }
    }

    /// The pack, or index blob, that is to blame for a content that can't be read, or the blob that the
    /// storage failed on.
    pub fn blob(&self) -> Option<&BlobId> {
        match self {
            Self::PackMissing { pack, .. }
            | Self::PackTruncated { pack, .. }
            | Self::ContentDamaged { pack, .. }
            | Self::ContentArchived { pack, .. } => Some(pack),
            Self::ContentNotFound { index, .. } => index.as_ref(),
            Self::Blob(error) => error.id(),
            _ => None,
        }
    }

    /// The archived pack that has to be thawed first, if that is the trouble.
    pub fn archived_pack(&self) -> Option<&BlobId> {
        match self {
            Self::ContentArchived { pack, .. } => Some(pack),
            Self::Blob(BlobError::Archived { id, .. }) => Some(id),
            _ => None,
        }
    }
}

/// What every content of a range is told that could not be fetched.
impl RepoError {
    /// The same error once more. Causes can't be cloned, so where there is one its text is kept;
    /// errors that reading a pack never gives are put as text too.
    pub(crate) fn again(&self) -> Self {
        match self {
            Self::Blob(error) => Self::Blob(blob_error_again(error)),
            Self::Format(error) => Self::Format(error.clone()),
            Self::WrongPassword => Self::WrongPassword,
            Self::PasswordChanged => Self::PasswordChanged,
            Self::RepositoryReplaced => Self::RepositoryReplaced,
            Self::NoRepository { storage } => Self::NoRepository { storage: storage.clone() },
            Self::BeingCreated { storage, wait } => {
                Self::BeingCreated { storage: storage.clone(), wait: *wait }
            }
            Self::FormatBlobLost { storage } => Self::FormatBlobLost { storage: storage.clone() },
            Self::FormatBlobDamaged { blob, reason, way_out } => {
                Self::FormatBlobDamaged { blob: blob.clone(), reason: reason.clone(), way_out }
            }
            Self::TooNew { reason } => Self::TooNew { reason: reason.clone() },
            Self::UpgradeLocked { owner, since, message } => Self::UpgradeLocked {
                owner: owner.clone(),
                since: *since,
                message: message.clone(),
            },
            Self::PackMissing { id, pack } => Self::PackMissing { id: *id, pack: pack.clone() },
            Self::PackTruncated { id, pack, offset, length } => Self::PackTruncated {
                id: *id,
                pack: pack.clone(),
                offset: *offset,
                length: *length,
            },
            Self::ContentDamaged { id, pack, offset, source } => Self::ContentDamaged {
                id: *id,
                pack: pack.clone(),
                offset: *offset,
                source: source.clone(),
            },
            Self::ManifestDamaged { content, source } => {
                Self::ManifestDamaged { content: *content, source: source.clone() }
            }
            Self::ContentArchived { id, pack, class, state } => Self::ContentArchived {
                id: *id,
                pack: pack.clone(),
                class: class.clone(),
                state: *state,
            },
            other => Self::Blob(BlobError::Other {
                op: "get",
                id: None,
                source: other.to_string().into(),
            }),
        }
    }
}

fn blob_error_again(error: &BlobError) -> BlobError {
    match error {
        BlobError::NotFound { id } => BlobError::NotFound { id: id.clone() },
        BlobError::Archived { id, class, state } => {
            BlobError::Archived { id: id.clone(), class: class.clone(), state: *state }
        }
        BlobError::InvalidRange { id, range, size } => {
            BlobError::InvalidRange { id: id.clone(), range: *range, size: *size }
        }
        BlobError::Damaged { id, reason } => {
            BlobError::Damaged { id: id.clone(), reason: reason.clone() }
        }
        BlobError::AccessDenied { op, id, reason } => {
            BlobError::AccessDenied { op, id: id.clone(), reason: reason.clone() }
        }
        BlobError::Credentials { reason } => BlobError::Credentials { reason: reason.clone() },
        BlobError::NoStorage { storage, reason } => {
            BlobError::NoStorage { storage: storage.clone(), reason: reason.clone() }
        }
        BlobError::Unsupported { op, storage } => {
            BlobError::Unsupported { op, storage: storage.clone() }
        }
        BlobError::ClockSkew { server, client } => {
            BlobError::ClockSkew { server: server.clone(), client: client.clone() }
        }
        BlobError::Throttled { after } => BlobError::Throttled { after: *after },
        BlobError::Transient { op, source } => {
            BlobError::Transient { op, source: source.to_string().into() }
        }
        BlobError::Unreachable { op, source } => {
            BlobError::Unreachable { op, source: source.to_string().into() }
        }
        BlobError::Other { op, id, source } => {
            BlobError::Other { op, id: id.clone(), source: source.to_string().into() }
        }
        other => BlobError::Other {
            op: "get",
            id: other.id().cloned(),
            source: other.to_string().into(),
        },
    }
}
