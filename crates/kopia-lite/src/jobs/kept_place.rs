//! Where `snapshot verify --remember` goes on, kept from one run to the next.
//!
//! It lies beside the connection file, under a name that Kopia does not know and leaves alone, and so
//! outlives the cache; a verification writes nothing into the repository, whose connection may be
//! read-only. `repository disconnect` takes it away. A file that is damaged or of another repository
//! is none: the round begins anew, at any place.

use std::{
    collections::BTreeMap,
    io::Write as _,
    path::{Path, PathBuf},
};

use fs_err as fs;
use serde::{Deserialize, Serialize};

/// What the file's name ends with, behind that of the connection file.
pub const SUFFIX: &str = ".kopia-lite-verified";
/// So many choices of snapshots have a place of their own; beyond that all begin anew.
const CHOICES_MAX: usize = 1000;

#[derive(Debug, Default, Serialize, Deserialize)]
struct Kept {
    repository: String,
    /// Where the next part begins, by what was verified; all snapshots have no name.
    next: BTreeMap<String, u64>,
}

/// Where the place of one choice of snapshots is kept.
#[derive(Debug, Clone)]
pub struct KeptPlace {
    path: PathBuf,
    repository: String,
    what: String,
}

impl KeptPlace {
    /// That of the snapshots `what` of the repository with this ID, beside `config_file`.
    pub fn new(config_file: &Path, unique_id: &[u8], what: &str) -> Self {
        let mut path = config_file.as_os_str().to_owned();
        path.push(SUFFIX);
        Self { path: path.into(), repository: hex::encode(unique_id), what: what.to_owned() }
    }

    /// Where the next part begins, if that is known.
    pub fn read(&self) -> Option<u64> {
        self.kept().next.get(&self.what).copied()
    }

    /// Keeps where the next part begins.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn store(&self, next: u64) -> std::io::Result<()> {
        let mut kept = self.kept();
        if kept.next.len() >= CHOICES_MAX {
            kept.next.clear();
        }
        kept.next.insert(self.what.clone(), next);
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(&serde_json::to_vec(&kept)?)?;
        file.persist(&self.path)?;
        Ok(())
    }

    fn kept(&self) -> Kept {
        let read = fs::read(&self.path).ok();
        let kept: Option<Kept> = read.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let repository = self.repository.clone();
        kept.filter(|kept| kept.repository == repository)
            .unwrap_or(Kept { repository, next: BTreeMap::new() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_kept_for_each_choice_of_a_repository() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("repository.config");
        let all = KeptPlace::new(&config, b"one", "");
        let some = KeptPlace::new(&config, b"one", "u@h:/a");
        assert_eq!(all.read(), None);
        all.store(u64::MAX).unwrap();
        some.store(7).unwrap();
        assert_eq!((all.read(), some.read()), (Some(u64::MAX), Some(7)));
        let other = KeptPlace::new(&config, b"two", "");
        assert_eq!(other.read(), None);
        other.store(1).unwrap();
        assert_eq!((other.read(), all.read()), (Some(1), None));
        fs::write(folder.path().join("repository.config.kopia-lite-verified"), "{").unwrap();
        assert_eq!(other.read(), None, "damaged");
    }
}
