//! Why one entry could not be restored.

use std::{io, path::Path, sync::Arc};

use kopia_repo::RepoError;

use super::events::RestoreFailure;
use crate::error::SnapshotError;

/// What happened to one entry. Cheap to clone: one damaged content fails every file that wants it.
#[derive(Debug, Clone)]
pub(super) enum Trouble {
    /// The repository could not give a content.
    Repo(Arc<RepoError>),
    /// It was known beforehand that a content can't be read: why, and its pack.
    Unreadable(String, Option<String>),
    /// The machine did not take it.
    Local(Arc<io::Error>),
}

impl Trouble {
    /// The failure that a report lists.
    pub fn noted(&self, path: &Path) -> RestoreFailure {
        let blob = match self {
            Self::Repo(error) => error.blob().map(ToString::to_string),
            Self::Unreadable(_, pack) => pack.clone(),
            Self::Local(_) => None,
        };
        RestoreFailure::new(path, blob, self.to_string())
    }

    /// The error that ends a restore.
    pub fn raised(self, path: &Path) -> SnapshotError {
        let reason = self.to_string();
        let cause = match self {
            Self::Repo(error) => Some(error),
            Self::Unreadable(..) | Self::Local(_) => None,
        };
        SnapshotError::NotRestored { path: path.to_string_lossy().into_owned(), reason, cause }
    }
}

impl Trouble {
    /// The archived pack that is to blame, if one is.
    pub fn archived_pack(&self) -> Option<String> {
        match self {
            Self::Repo(error) => error.archived_pack().map(|pack| pack.as_str().to_owned()),
            Self::Unreadable(..) | Self::Local(_) => None,
        }
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Repo(error) => error.fmt(f),
            Self::Unreadable(reason, _) => f.write_str(reason),
            Self::Local(error) => error.fmt(f),
        }
    }
}

impl From<RepoError> for Trouble {
    fn from(error: RepoError) -> Self {
        Self::Repo(Arc::new(error))
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Local(Arc::new(error))
    }
}
