//! What a restore tells while it runs, and what it says at the end.

use std::path::Path;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RestoreEvent<'a> {
    /// The plan is made: so much is to be done.
    Planned {
        /// Files to write.
        files: u64,
        /// Their bytes.
        bytes: u64,
    },
    /// Bytes were written to files.
    Written {
        /// How many since the last event.
        bytes: u64,
    },
    /// A file is whole.
    File {
        /// Its path below the target.
        path: &'a str,
    },
    /// An entry could not be restored.
    Failed {
        /// Its path below the target.
        path: &'a str,
        /// Why.
        error: &'a str,
    },
}

/// Takes the events of a restore. Called from many tasks at once; must not block.
pub trait RestoreSink: Send + Sync {
    /// Something happened.
    fn event(&self, event: RestoreEvent<'_>);
}

/// Hears nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl RestoreSink for Silent {
    fn event(&self, _: RestoreEvent<'_>) {}
}

/// An entry that could not be restored.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct RestoreFailure {
    /// Its path below the target.
    pub path: String,
    /// The pack that is to blame, if one is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blob: Option<String>,
    /// Why.
    pub error: String,
}

impl RestoreFailure {
    pub(super) fn new(path: &Path, blob: Option<String>, error: String) -> Self {
        Self { path: path.to_string_lossy().into_owned(), blob, error }
    }
}

/// What a restore did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RestoreReport {
    /// Files written.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Folders made or taken over.
    pub folders: u64,
    /// Links made.
    pub links: u64,
    /// Entries left alone because they were there already.
    pub skipped: u64,
    /// Their bytes.
    pub skipped_bytes: u64,
    /// Files deleted because the snapshot has them not.
    pub deleted_files: u64,
    /// Folders deleted for the same reason.
    pub deleted_folders: u64,
    /// Links deleted for the same reason.
    pub deleted_links: u64,
    /// What could not be restored and was to be ignored.
    pub failures: Vec<RestoreFailure>,
    /// Packs that bytes were fetched from.
    pub packs_read: u64,
    /// Bytes fetched from packs.
    pub bytes_read: u64,
    /// Requests made for them.
    pub requests: u64,
}
