//! When maintenance is due and overdue, kept on this machine from one command to the next.
//!
//! Every command says when maintenance is overdue, and those that write do it when it is due and
//! theirs. For that the schedule is read once an hour, and again before anything is said or done;
//! between that, what is kept is enough. A file that is damaged, of another storage or of a clock that
//! went back is none.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use blob_core::Timestamp;
use fs_err as fs;
use kopia_maintenance::Status;
use serde::{Deserialize, Serialize};

/// How long what is kept counts.
const KEPT_FOR: Duration = Duration::from_secs(60 * 60);

/// What is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    storage: String,
    /// When the schedule was read, in seconds since 1970.
    read_at: i64,
    owner: String,
    /// When maintenance is due.
    due_from: Option<i64>,
    /// When maintenance becomes overdue if nobody does any.
    overdue_from: Option<i64>,
}

impl Kept {
    /// Is it known that `who` has nothing to do `now`?
    pub fn is_not_due(&self, now: Timestamp, who: &str) -> bool {
        self.owner != who || is_later(self.due_from, now)
    }

    /// Is it known that nothing is overdue `now`?
    pub fn is_not_overdue(&self, now: Timestamp) -> bool {
        is_later(self.overdue_from, now)
    }
}

fn is_later(time: Option<i64>, now: Timestamp) -> bool {
    time.is_none_or(|time| Timestamp::from_secs(time) > now)
}

/// Where it is kept.
#[derive(Debug, Clone)]
pub struct KeptSchedule {
    path: PathBuf,
    storage: String,
}

impl KeptSchedule {
    /// A file in the cache's folder `folder`, for the storage of this name.
    pub fn new(folder: &Path, storage: &str) -> Self {
        Self { path: folder.join("maintenance"), storage: storage.to_owned() }
    }

    /// What is kept, if it is of this storage and not too old.
    pub fn read(&self, now: Timestamp) -> Option<Kept> {
        let kept: Kept = serde_json::from_slice(&fs::read(&self.path).ok()?).ok()?;
        let read_at = Timestamp::from_secs(kept.read_at);
        let is_fresh = read_at <= now && now.since(read_at) < KEPT_FOR;
        (kept.storage == self.storage && is_fresh).then_some(kept)
    }

    /// Keeps what was read. A file that can't be written is one that isn't there.
    pub fn store(&self, now: Timestamp, status: &Status) {
        let kept = Kept {
            storage: self.storage.clone(),
            read_at: now.secs(),
            owner: status.parameters.owner.clone(),
            due_from: status.due_from().map(Timestamp::secs),
            overdue_from: status.overdue_from().map(Timestamp::secs),
        };
        if let Err(error) = self.write(&kept) {
            tracing::debug!(%error, "when maintenance is due was not kept");
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
    use kopia_format::{
        maintenance::{MaintenanceParameters, MaintenanceSchedule},
        time::GoTime,
    };

    use super::*;

    #[test]
    fn what_is_kept_counts_for_an_hour_and_until_it_is_late() {
        let folder = tempfile::tempdir().unwrap();
        let kept = KeptSchedule::new(folder.path(), "S3 bucket b");
        let at = |secs: i64| Timestamp::from_secs(1_000_000 + secs);
        assert_eq!(kept.read(at(0)), None, "nothing is kept");
        let (next_quick, next_full) = (GoTime::from_secs(1_000_600), GoTime::from_secs(1_000_900));
        let schedule = MaintenanceSchedule { next_quick, next_full, ..Default::default() };
        let parameters = MaintenanceParameters::new("u@h");
        kept.store(at(0), &Status { parameters, schedule, since: None });
        let read = kept.read(at(3_599)).unwrap();
        assert!(read.is_not_due(at(599), "u@h") && !read.is_not_due(at(600), "u@h"));
        assert!(read.is_not_due(at(600), "other@h"), "somebody else's");
        let late = 86_400 + 600;
        assert!(read.is_not_overdue(at(late - 1)) && !read.is_not_overdue(at(late)));
        assert_eq!(kept.read(at(3_600)), None, "too old");
        assert_eq!(kept.read(at(-1)), None, "a clock that went back");
        assert_eq!(KeptSchedule::new(folder.path(), "S3 bucket c").read(at(0)), None);
        fs::write(folder.path().join("maintenance"), "{").unwrap();
        assert_eq!(kept.read(at(0)), None, "damaged");
    }
}
