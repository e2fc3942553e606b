//! Why a snapshot could not be taken, read or restored.

use std::{path::PathBuf, sync::Arc};

use kopia_format::{ContentId, FormatError, ManifestId, ObjectId};
use kopia_repo::RepoError;

use crate::restore::ColdPack;

/// The result of an operation on snapshots.
pub type Result<T, E = SnapshotError> = std::result::Result<T, E>;

/// Why a snapshot could not be taken, read or restored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The repository could not be read or written.
    #[error(transparent)]
    Repo(#[from] RepoError),
    /// Something in the repository is not what it should be.
    #[error("{what}: {source}")]
    Format {
        /// Which object.
        what: String,
        /// What is wrong with it.
        #[source]
        source: FormatError,
    },
    /// A manifest is not what it should be.
    #[error("{kind} manifest {id}: {source}")]
    Manifest {
        /// `snapshot` or `policy`.
        kind: &'static str,
        /// Which.
        id: ManifestId,
        /// What is wrong with it.
        #[source]
        source: FormatError,
    },
    /// A snapshot manifest that names no root.
    #[error("snapshot manifest {id} names no root")]
    NoRoot {
        /// Which.
        id: ManifestId,
    },
    /// What snapshots need can't be told: something that one names is missing or can't be read.
    #[error("{path}: object {object}: {source}")]
    NotWalked {
        /// The file or folder, as `root/path`.
        path: String,
        /// Its object, or a part of that.
        object: ObjectId,
        /// What is missing or wrong.
        #[source]
        source: Box<SnapshotError>,
    },
    /// The source of a snapshot can't be read at all: nothing is saved.
    #[error("cannot snapshot {path}: {reason}", path = path.display())]
    Source {
        /// The source.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// A policy that can't be followed.
    #[error("policy of {target}: {reason}")]
    Policy {
        /// Whose policy.
        target: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An object that should be a directory is not one, or the other way round.
    #[error("{object} is not {expected}")]
    WrongKind {
        /// The object.
        object: ObjectId,
        /// What it should be: `a directory` …
        expected: &'static str,
    },
    /// A name that a snapshot does not have.
    #[error("there is no {path} in {root}")]
    NotInSnapshot {
        /// The path asked for.
        path: String,
        /// Where it was looked for.
        root: String,
    },
    /// Packs must be thawed first; nothing was written.
    #[error("{} packs are archived and must be thawed first", packs.len())]
    Archived {
        /// Which.
        packs: Vec<ColdPack>,
    },
    /// Packs or contents do not exist; nothing was written.
    #[error("{}", lost(packs, contents))]
    Lost {
        /// Packs that the index names and the storage does not have, or not whole.
        packs: Vec<String>,
        /// Contents that the snapshot names and no index knows.
        contents: Vec<ContentId>,
    },
    /// An entry could not be restored.
    #[error("cannot restore {path}: {reason}")]
    NotRestored {
        /// Its path below the target.
        path: String,
        /// Why.
        reason: String,
        /// What the repository says, if the reason lies there.
        cause: Option<Arc<RepoError>>,
    },
    /// A local file or folder could not be read or written.
    #[error("{path}: {source}", path = path.display())]
    Local {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The caller gave something that can't be done.
    #[error("{0}")]
    Invalid(String),
    /// The caller stopped the work.
    #[error("stopped")]
    Stopped,
}

fn lost(packs: &[String], contents: &[ContentId]) -> String {
    let first = |more: usize| if more > 0 { " …" } else { "" };
    let mut parts = Vec::new();
    if let Some((pack, more)) = packs.split_first() {
        let (count, dots) = (packs.len(), first(more.len()));
        parts.push(format!("{count} packs do not exist or are cut ({pack}{dots})"));
    }
    if let Some((content, more)) = contents.split_first() {
        let (count, dots) = (contents.len(), first(more.len()));
        parts.push(format!("{count} contents are in no index ({content}{dots})"));
    }
    parts.join(" and ")
}

impl SnapshotError {
    /// The blob that is to blame, if one is.
    pub fn blob(&self) -> Option<String> {
        let blob = match self {
            Self::Repo(error) => error.blob(),
            Self::NotWalked { source, .. } => return source.blob(),
            Self::NotRestored { cause, .. } => cause.as_ref().and_then(|error| error.blob()),
            _ => None,
        };
        blob.map(ToString::to_string)
    }

    /// Puts the name of the thing before what is wrong with its bytes.
    pub fn format(what: impl Into<String>) -> impl FnOnce(FormatError) -> Self {
        let what = what.into();
        move |source| Self::Format { what, source }
    }
}
