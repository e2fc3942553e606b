//! What is done with archived packs.
//!
//! None is ever read. One that is wholly dead is deleted when its class bills it no longer, and one
//! that is partly dead stays. The choice lives in a manifest of our own: Kopia rewrites the
//! maintenance parameters whole, and would lose it there.

use std::{fmt, sync::Arc, time::Duration};

use blob_core::{BlobMeta, ReadState, StorageClass};
use kopia_repo::Repository;
use serde::{Deserialize, Serialize};

use crate::{
    error::{MaintenanceError, Result},
    usage::PackUse,
};

/// The labels of the manifest.
pub(crate) const LABELS: &[(&str, &str)] = &[("type", "kopia-lite-maintenance")];

/// What may be done with archived packs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ColdPolicy {
    /// Nothing: none is deleted.
    Keep,
    /// Those that are wholly dead are deleted when their class bills them no longer.
    #[default]
    DeleteDead,
    /// And those that are mostly dead are thawed and compacted when that is asked for and pays.
    Compact,
}

impl fmt::Display for ColdPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keep => "keep",
            Self::DeleteDead => "delete-dead",
            Self::Compact => "compact",
        })
    }
}

/// The payload of the manifest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Payload {
    #[serde(default)]
    cold: ColdPolicy,
}

impl ColdPolicy {
    /// What the repository says; the default where it says nothing.
    ///
    /// # Errors
    /// [`MaintenanceError::Format`] for a manifest that says something unknown; what reading
    /// manifests may give.
    pub async fn read(repo: &Repository) -> Result<Self> {
        let found = repo.manifests().find(LABELS).await?;
        let Some(entry) = found.last() else { return Ok(Self::default()) };
        let payload: Payload = entry.payload().map_err(|source| MaintenanceError::Format {
            what: "the policy for archived packs",
            source,
        })?;
        Ok(payload.cold)
    }

    /// Makes it the repository's.
    ///
    /// # Errors
    /// What the repository says.
    pub async fn write(self, repo: &Repository) -> Result<()> {
        let writer = repo.writer()?;
        writer.replace_manifest(LABELS, &Payload { cold: self }).await?;
        writer.flush().await?;
        Ok(())
    }
}

/// How long classes bill a blob at least. Whoever knows the prices knows it.
#[derive(Clone)]
pub struct MinimumDays(Arc<dyn Fn(&StorageClass) -> Duration + Send + Sync>);

impl MinimumDays {
    /// Asks `of` for each class.
    pub fn new(of: impl Fn(&StorageClass) -> Duration + Send + Sync + 'static) -> Self {
        Self(Arc::new(of))
    }

    /// For how long a blob of this class is billed at least.
    pub fn of(&self, class: &StorageClass) -> Duration {
        (self.0)(class)
    }
}

impl Default for MinimumDays {
    /// No class bills longer than a blob is there.
    fn default() -> Self {
        Self::new(|_| Duration::ZERO)
    }
}

impl fmt::Debug for MinimumDays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MinimumDays")
    }
}

/// An archived pack of which little is needed, or that was short from the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColdPack {
    /// The pack as the storage listed it.
    pub meta: BlobMeta,
    /// What the index has in it.
    pub used: PackUse,
    /// How long ago it was written.
    pub age: Duration,
}

impl ColdPack {
    /// Bytes that nothing in the index needs.
    pub fn dead_bytes(&self) -> u64 {
        self.meta.size.saturating_sub(self.used.bytes)
    }
}

/// Is this pack archived? A readable copy that somebody paid for changes nothing: it is not for us.
pub(crate) fn is_cold(meta: &BlobMeta) -> bool {
    meta.class.as_ref().is_some_and(StorageClass::is_archive)
        || matches!(
            meta.state,
            Some(ReadState::Cold | ReadState::Thawing | ReadState::Thawed { .. })
        )
}
