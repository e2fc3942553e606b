//! A walk over the snapshots, kept on this machine while it lasts, so that one that is broken off can
//! be gone on with.
//!
//! What is kept are three bits for each entry of the index and the roots that are done, for a day, in
//! the cache's folder. It is believed only for index blobs that are still there; what was needed then
//! and is no longer counts as needed until the next collection. Anything odd about the file is a miss.

use std::{collections::HashSet, io::Write as _, path::PathBuf, sync::Arc, time::Duration};

use blob_core::Timestamp;
use fs_err as fs;
use kopia_format::ObjectId;
use kopia_repo::{IndexView, Repository};
use kopia_snapshot::live::LiveMarks;
use serde::{Deserialize, Serialize};

/// How long it is believed.
const KEPT_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// What stands in the first line, before the marks.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    repository: String,
    /// When the walk began, in seconds since 1970.
    begun: i64,
    roots: Vec<String>,
}

/// Where a walk is kept.
#[derive(Debug)]
pub(super) struct KeptWalk {
    /// `None` without a cache: nothing is kept.
    path: Option<PathBuf>,
    repository: String,
}

impl KeptWalk {
    pub fn new(repo: &Repository) -> Self {
        let path = repo.cache().map(|cache| cache.folder().join("walk"));
        let id = repo.unique_id();
        Self { path, repository: id.iter().map(|byte| format!("{byte:02x}")).collect() }
    }

    /// The marks to go on from, and the roots that are done.
    pub fn read(&self, now: Timestamp, view: &Arc<IndexView>) -> (LiveMarks, HashSet<ObjectId>) {
        let kept = self.path.as_ref().and_then(|path| fs::read(path).ok());
        let found = kept.and_then(|bytes| self.parse(now, view, &bytes));
        found.unwrap_or_else(|| (LiveMarks::new(Arc::clone(view)), HashSet::new()))
    }

    fn parse(
        &self,
        now: Timestamp,
        view: &Arc<IndexView>,
        bytes: &[u8],
    ) -> Option<(LiveMarks, HashSet<ObjectId>)> {
        let end = bytes.iter().position(|&byte| byte == b'\n')?;
        let head: Head = serde_json::from_slice(&bytes[..end]).ok()?;
        let begun = Timestamp::from_secs(head.begun);
        if head.repository != self.repository || begun > now || now.since(begun) > KEPT_FOR {
            return None;
        }
        let roots = head.roots.iter().map(|root| root.parse().ok()).collect::<Option<_>>()?;
        Some((LiveMarks::restore(Arc::clone(view), &bytes[end + 1..])?, roots))
    }

    /// Keeps a walk; false if it is not between two groups of roots just now.
    pub fn store(
        &self,
        begun: Timestamp,
        live: &LiveMarks,
        roots: impl Iterator<Item = ObjectId>,
    ) -> bool {
        let (Some(path), Some(marks)) = (&self.path, live.to_bytes()) else { return false };
        let roots = roots.map(|root| root.to_string()).collect();
        let head = Head { repository: self.repository.clone(), begun: begun.secs(), roots };
        let write = || -> std::io::Result<()> {
            let folder = path.parent().unwrap_or(std::path::Path::new("."));
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            file.write_all(&serde_json::to_vec(&head)?)?;
            file.write_all(b"\n")?;
            file.write_all(&marks)?;
            file.persist(path)?;
            Ok(())
        };
        if let Err(error) = write() {
            tracing::debug!(%error, "a walk over the snapshots was not kept");
        }
        true
    }

    /// The walk is over.
    pub fn forget(&self) {
        if let Some(path) = &self.path {
            // What isn't there need not be deleted.
            let _ = fs::remove_file(path);
        }
    }
}
