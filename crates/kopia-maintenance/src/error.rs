//! Why the state of maintenance could not be read or changed.

use kopia_format::FormatError;
use kopia_repo::RepoError;

/// The result of something about maintenance.
pub type Result<T, E = MaintenanceError> = std::result::Result<T, E>;

/// Why the state of maintenance could not be read or changed.
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
}
