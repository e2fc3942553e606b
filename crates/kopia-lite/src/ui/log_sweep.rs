//! Which log files stay in their folder: the newest, up to so many, so old, so large together.
//!
//! The rules are Kopia's, and its files count among ours: 0 files and no age are no limit, and without
//! both nothing is deleted. Nothing goes but files that are called as logs are.

use std::{
    fs::{self, DirEntry},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// How the name of a log file begins.
pub const PREFIX: &str = "kopia-";
/// How it ends.
pub const SUFFIX: &str = ".log";

/// What may stay.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// So many files; 0 is no limit.
    pub files_max: u64,
    /// Written so long ago; 0 is no limit.
    pub age_max: Duration,
    /// So many bytes together.
    pub bytes_max: u64,
}

#[derive(Debug)]
struct Kept {
    path: PathBuf,
    written: SystemTime,
    bytes: u64,
}

/// Deletes what is beyond `limits` in `folder`. What can't be deleted stays for the next time.
pub fn sweep(folder: &Path, limits: &Limits, now: SystemTime) {
    if limits.files_max == 0 && limits.age_max.is_zero() {
        return;
    }
    let Ok(entries) = fs::read_dir(folder) else { return };
    let logs = entries.filter_map(|entry| log_of(&entry.ok()?)).collect();
    for path in beyond(logs, limits, now) {
        // Somebody else may sweep, too.
        let _ = fs::remove_file(path);
    }
}

fn log_of(entry: &DirEntry) -> Option<Kept> {
    let name = entry.file_name();
    let name = name.as_encoded_bytes();
    if !name.starts_with(PREFIX.as_bytes()) || !name.ends_with(SUFFIX.as_bytes()) {
        return None;
    }
    // Of the entry itself: a link is none.
    let meta = entry.metadata().ok().filter(fs::Metadata::is_file)?;
    Some(Kept { path: entry.path(), written: meta.modified().ok()?, bytes: meta.len() })
}

fn beyond(mut logs: Vec<Kept>, limits: &Limits, now: SystemTime) -> Vec<PathBuf> {
    // Segments of one time in their order.
    logs.sort_by(|a, b| (b.written, &b.path).cmp(&(a.written, &a.path)));
    let oldest = match limits.age_max.is_zero() {
        true => None,
        false => now.checked_sub(limits.age_max),
    };
    let files_max = if limits.files_max == 0 { u64::MAX } else { limits.files_max };
    let (mut files, mut bytes) = (0_u64, 0_u64);
    logs.retain(|log| {
        files += 1;
        bytes = bytes.saturating_add(log.bytes);
        let is_old = oldest.is_some_and(|oldest| log.written < oldest);
        files > files_max || bytes > limits.bytes_max || is_old
    });
    logs.into_iter().map(|log| log.path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000_000;

    fn at(secs: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(secs)
    }

    /// What is beyond `limits` of files of ten bytes, of which number n is n hundred seconds old.
    fn gone(count: u64, limits: (u64, u64, u64)) -> Vec<String> {
        let (files_max, age_max, bytes_max) = limits;
        let log = |number| Kept {
            path: format!("{number}").into(),
            written: at(NOW - 100 * number),
            bytes: 10,
        };
        let limits = Limits { files_max, age_max: Duration::from_secs(age_max), bytes_max };
        let found = beyond((0..count).map(log).collect(), &limits, at(NOW));
        found.iter().map(|path| path.display().to_string()).collect()
    }

    #[test]
    fn the_newest_stay() {
        const NONE: [&str; 0] = [];
        assert_eq!(gone(4, (10, 1000, 1000)), NONE);
        assert_eq!(gone(4, (2, 1000, 1000)), ["2", "3"]);
        assert_eq!(gone(4, (10, 100, 1000)), ["2", "3"]);
        assert_eq!(gone(4, (10, 1000, 39)), ["3"]);
        assert_eq!(gone(4, (0, 0, 1000)), NONE);
        assert_eq!(gone(2, (10, 1000, 0)), ["0", "1"], "as Kopia: no bytes at all");
    }

    #[test]
    fn nothing_else_is_touched() {
        let folder = tempfile::tempdir().unwrap();
        let names = ["kopia-1.log", "kopia-2.log", "other.log", "kopia-3.txt", "CACHEDIR.TAG"];
        for name in names {
            fs::write(folder.path().join(name), "x").unwrap();
        }
        fs::create_dir(folder.path().join("kopia-folder.log")).unwrap();
        let outside = folder.path().join("other.log");
        std::os::unix::fs::symlink(&outside, folder.path().join("kopia-link.log")).unwrap();
        let limits = Limits { files_max: 1, age_max: Duration::ZERO, bytes_max: 1000 };
        sweep(folder.path(), &limits, SystemTime::now());
        let mut left: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        // One of both logs, and all else.
        assert_eq!(left.len(), names.len() - 1 + 2, "{left:?}");
        assert!(left.iter().any(|name| name == "other.log"), "{left:?}");
    }
}
