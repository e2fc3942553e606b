//! Reading the file from a repository's storage, and writing it back.
//!
//! It is the first thing read, before the format blob, and it decides where the data goes; so a
//! failure that could hide a file must never pass for "no file". The one place where we are milder
//! than Kopia is a 403: S3 answers so for a *missing* key, too, when the right to list is missing,
//! and a listing of the exact key tells the two apart. Rules:
//! `storageconfig-cases.json`, rows 14 to 16.

use blob_core::{
    BlobError, BlobId, BlobMeta, BlobStorage, Payload, PutAttributes, PutOptions, PutReceipt,
    ReadRange, StorageClass,
};
use futures::{Stream, StreamExt};

use crate::{FILE_NAME, Finding, ParseError, StorageConfig};

/// What was found in a storage.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    /// The rules; none if there is no file.
    pub config: StorageConfig,
    /// The file's bytes; `None` if there is no file.
    pub text: Option<Vec<u8>>,
    /// All there is to say about it.
    pub findings: Vec<Finding>,
}

/// Why a repository must not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file can't be read before it is thawed.
    #[error(
        "{FILE_NAME} is itself archived ({}): thaw it, then upload it again without a class",
        class.as_ref().map_or("class unknown", StorageClass::as_str)
    )]
    Archived {
        /// Its class, where the storage tells it.
        class: Option<StorageClass>,
    },
    /// The file may not be read, and it is there, or nobody can tell.
    #[error(
        "{FILE_NAME} may not be read{}: {reason}",
        if *listed { ", though it exists" } else { ", and a listing was denied, too" }
    )]
    Forbidden {
        /// It is there; else the listing was denied, too.
        listed: bool,
        /// What the storage said.
        reason: String,
    },
    /// The file is refused.
    #[error("{FILE_NAME}: {0}")]
    Parse(#[from] ParseError),
    /// The file changed since it was read.
    #[error("{FILE_NAME} was changed by somebody else since it was read")]
    Changed,
    /// The storage failed.
    #[error("{FILE_NAME}: {0}")]
    Storage(#[from] BlobError),
}

impl LoadError {
    /// The code that tools go by; `None` where it is the storage's own failure.
    pub fn code(&self) -> Option<&'static str> {
        match self {
            Self::Archived { .. } => Some("E-CONFIG-ARCHIVED"),
            Self::Forbidden { .. } => Some("E-CONFIG-FORBIDDEN"),
            Self::Parse(error) => Some(error.problem.code()),
            Self::Changed => Some("E-CONFIG-CHANGED"),
            Self::Storage(_) => None,
        }
    }
}

/// The blob ID of the file.
fn id() -> BlobId {
    BlobId::new(FILE_NAME).expect("the name is a blob ID")
}

/// Reads the rules of the repository in `storage`. Put retries below it; it makes none itself.
///
/// # Errors
/// [`LoadError`]: then the repository must not be opened, since its blobs could go to the wrong
/// class.
pub async fn load(storage: &dyn BlobStorage) -> Result<Loaded, LoadError> {
    let text = match storage.get(&id(), ReadRange::Full).await {
        Ok(bytes) => bytes.to_vec(),
        // A missing bucket answers 404, too; it shows up with the next request, as in Kopia.
        Err(BlobError::NotFound { .. } | BlobError::NoStorage { .. }) => {
            return Ok(Loaded::default());
        }
        Err(BlobError::Archived { class, .. }) => return Err(LoadError::Archived { class }),
        Err(BlobError::AccessDenied { reason, .. }) => return look_for(storage, reason).await,
        Err(error) => return Err(error.into()),
    };
    let config = StorageConfig::parse(&text)?;
    let findings = config.findings();
    Ok(Loaded { config, text: Some(text), findings })
}

/// The file could not be read: is there one?
async fn look_for(storage: &dyn BlobStorage, reason: String) -> Result<Loaded, LoadError> {
    match find(storage.list(FILE_NAME)).await {
        Ok(None) => {
            let message = format!(
                "reading {FILE_NAME} was denied ({reason}), but there is none; the right to get or \
                 list this key is missing"
            );
            let finding = Finding::warning("W-CONFIG-FORBIDDEN", message);
            Ok(Loaded { findings: vec![finding], ..Loaded::default() })
        }
        // Some providers answer 403 for an archived object without saying that it is one.
        Ok(Some(meta)) if meta.is_cold() => Err(LoadError::Archived { class: meta.class }),
        Ok(Some(_)) => Err(LoadError::Forbidden { listed: true, reason }),
        Err(BlobError::AccessDenied { .. }) => Err(LoadError::Forbidden { listed: false, reason }),
        Err(error) => Err(error.into()),
    }
}

async fn find(
    mut listing: impl Stream<Item = Result<BlobMeta, BlobError>> + Unpin,
) -> Result<Option<BlobMeta>, BlobError> {
    while let Some(meta) = listing.next().await {
        let meta = meta?;
        if meta.id.as_str() == FILE_NAME {
            return Ok(Some(meta));
        }
    }
    Ok(None)
}

/// Writes the file as JSON and without a class, whatever its own rules say: it must stay readable.
///
/// Give it the storage below the policy layer, or an entry that refuses its writes refuses its own
/// correction.
///
/// `before` is what [`load`] gave as text. A new file is written only if there is still none; a
/// changed one only if the file is still the one read, which is looked up just before, since a
/// storage has no way to make that one step.
///
/// # Errors
/// [`LoadError::Changed`]; [`LoadError::Storage`].
pub async fn store(
    storage: &dyn BlobStorage,
    text: Vec<u8>,
    before: Option<&[u8]>,
) -> Result<PutReceipt, LoadError> {
    if let Some(before) = before {
        match storage.get(&id(), ReadRange::Full).await {
            Ok(now) if now == before => {}
            Ok(_) | Err(BlobError::NotFound { .. }) => return Err(LoadError::Changed),
            Err(error) => return Err(error.into()),
        }
    }
    let options = PutOptions {
        attributes: PutAttributes::default(),
        if_absent: before.is_none(),
        content_type: Some("application/json"),
        modified: None,
    };
    match storage.put(&id(), Payload::from(text), &options).await {
        Err(BlobError::AlreadyExists { .. }) => Err(LoadError::Changed),
        other => Ok(other?),
    }
}
