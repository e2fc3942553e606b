//! When maintenance becomes overdue, kept on this machine from one command to the next.
//!
//! Every command says when maintenance is overdue. For that the schedule is read once an hour, and
//! again before anything is said; between that, what is kept is enough. A file that is damaged, of
//! another storage or of a clock that went back is none.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use blob_core::Timestamp;
use fs_err as fs;
use serde::{Deserialize, Serialize};

/// How long what is kept counts.
const KEPT_FOR: Duration = Duration::from_secs(60 * 60);

/// What is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    storage: String,
    /// When the schedule was read, in seconds since 1970.
    read_at: i64,
    /// When maintenance becomes overdue if nobody does any.
    overdue_from: Option<i64>,
}

/// Where it is kept.
#[derive(Debug, Clone)]
pub struct KeptOverdue {
    path: PathBuf,
    storage: String,
}

impl KeptOverdue {
    /// A file in the cache's folder `folder`, for the storage of this name.
    pub fn new(folder: &Path, storage: &str) -> Self {
        Self { path: folder.join("maintenance"), storage: storage.to_owned() }
    }

    /// Is it known that nothing is overdue `now`?
    pub fn says_no(&self, now: Timestamp) -> bool {
        let kept = fs::read(&self.path).ok();
        let Some(kept) = kept.and_then(|text| serde_json::from_slice::<Kept>(&text).ok()) else {
            return false;
        };
        let read_at = Timestamp::from_secs(kept.read_at);
        let is_fresh = read_at <= now && now.since(read_at) < KEPT_FOR;
        let is_late = kept.overdue_from.is_some_and(|from| Timestamp::from_secs(from) < now);
        kept.storage == self.storage && is_fresh && !is_late
    }

    /// Keeps what was read. A file that can't be written is one that isn't there.
    pub fn store(&self, now: Timestamp, overdue_from: Option<Timestamp>) {
        let (storage, read_at) = (self.storage.clone(), now.secs());
        let kept = Kept { storage, read_at, overdue_from: overdue_from.map(Timestamp::secs) };
        if let Err(error) = self.write(&kept) {
            tracing::debug!(%error, "when maintenance is overdue was not kept");
        }
    }

    fn write(&self, kept: &Kept) -> std::io::Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(&serde_json::to_vec(kept)?)?;
        file.persist(&self.path)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_counts_for_an_hour_and_until_it_is_late() {
        let folder = tempfile::tempdir().unwrap();
        let kept = KeptOverdue::new(folder.path(), "S3 bucket b");
        let at = |secs: i64| Timestamp::from_secs(1_000_000 + secs);
        assert!(!kept.says_no(at(0)), "nothing is kept");
        kept.store(at(0), Some(at(600)));
        assert!(kept.says_no(at(0)) && kept.says_no(at(600)));
        assert!(!kept.says_no(at(601)), "late");
        assert!(!kept.says_no(at(-1)), "a clock that went back");
        kept.store(at(0), None);
        assert!(kept.says_no(at(3_599)) && !kept.says_no(at(3_600)));
        assert!(!KeptOverdue::new(folder.path(), "S3 bucket c").says_no(at(0)), "another storage");
        fs::write(folder.path().join("maintenance"), "{").unwrap();
        assert!(!kept.says_no(at(0)), "damaged");
    }
}
