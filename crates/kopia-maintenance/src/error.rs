//! Why maintenance could not be done, or its state not be read or changed.

use std::{io, path::PathBuf};

use kopia_format::{FormatError, time::GoTime};
use kopia_repo::RepoError;

/// The result of something about maintenance.
pub type Result<T, E = MaintenanceError> = std::result::Result<T, E>;

/// Why maintenance could not be done, or its state not be read or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MaintenanceError {
    /// The repository could not be read or written.
    #[error(transparent)]
    Repo(#[from] RepoError),
    /// The parameters or the schedule are not what they should be.
    #[error("{what}: {source}")]
    Format {
        /// Which of them.
        what: &'static str,
        /// What is wrong with it.
        #[source]
        source: FormatError,
    },
    /// A change that can't be made.
    #[error("{0}")]
    Invalid(String),
    /// It is somebody else's task.
    #[error("maintenance must be run by designated user: {owner}")]
    NotOwner {
        /// Whose it is; empty: nobody's.
        owner: String,
        /// Who wanted to do it.
        who: String,
    },
    /// Somebody on this machine is at it.
    #[error("maintenance is already in progress on this machine: {} is locked", lock.display())]
    Busy {
        /// The file that is locked.
        lock: PathBuf,
    },
    /// The lock could not be made.
    #[error("cannot lock {}: {source}", lock.display())]
    Lock {
        /// The file.
        lock: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The clocks differ by more than the margins can bear.
    #[error(
        "the clock of this machine says {local} and that of {storage_name} {storage}: they differ by \
         more than 5 min, and no margin can be relied on; nothing was done but that the next times \
         were written"
    )]
    ClockSkew {
        /// Whose clock it is, the storage's.
        storage_name: String,
        /// What this machine's clock says.
        local: GoTime,
        /// What the storage's says.
        storage: GoTime,
    },
    /// It is not known what is needed.
    #[error("it is not known which contents are needed, so nothing is taken for garbage: {source}")]
    Reach {
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Locks could not be extended.
    #[error("{failed} of {of} locks could not be extended; the first: {source}")]
    Locks {
        /// How many.
        failed: u64,
        /// Of how many.
        of: u64,
        /// The first error.
        #[source]
        source: Box<RepoError>,
    },
    /// Somebody asked to stop. What was done until then is noted.
    #[error("stopped")]
    Stopped,
}
