//! How much is kept: the files unused for longest go first.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use fs_err as fs;

use super::{Kind, files::Files};

/// After a sweep this much of the limit is left, so that not every store sweeps.
const KEEP_OF_128: u64 = 115;
/// When so much of the limit was stored, the folder is looked at again: another process may share it.
const LOOK_AFTER_OF_128: u64 = 8;
/// A file that was begun so long ago has lost its writer.
const ABANDONED_AFTER: Duration = Duration::from_secs(3600);

/// The limit of one kind, and what was seen of it.
#[derive(Debug, Clone)]
pub(super) struct Limit {
    pub bytes_max: u64,
    seen: Arc<Mutex<Option<Seen>>>,
}

/// What is kept, as far as this process knows.
#[derive(Debug, Clone, Copy)]
struct Seen {
    bytes: u64,
    /// Of these, what this process added since it looked.
    added: u64,
}

impl Limit {
    pub(super) fn new(bytes_max: u64) -> Self {
        Self { bytes_max, seen: Arc::default() }
    }

    /// Makes room for a file of `length` bytes, and counts it; `false` if it is longer than all that
    /// may be kept.
    pub(super) fn make_room(&self, files: &Files, kind: Kind, length: u64) -> io::Result<bool> {
        if length > self.bytes_max {
            return Ok(false);
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = match *seen {
            Some(Seen { bytes, added }) if added <= self.bytes_max / 128 * LOOK_AFTER_OF_128 => {
                bytes
            }
            _ => {
                let bytes = look(files, kind)?;
                *seen = Some(Seen { bytes, added: 0 });
                bytes
            }
        };
        if bytes + length > self.bytes_max {
            bytes = self.sweep(files, kind, length)?;
            *seen = Some(Seen { bytes, added: 0 });
        }
        let added = seen.map_or(0, |seen| seen.added) + length;
        *seen = Some(Seen { bytes: bytes + length, added });
        Ok(true)
    }

    /// Takes back what was counted for a file that could not be written.
    pub(super) fn not_written(&self, length: u64) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(seen) = seen.as_mut() {
            seen.bytes = seen.bytes.saturating_sub(length);
        }
    }

    fn sweep(&self, files: &Files, kind: Kind, length: u64) -> io::Result<u64> {
        let mut all = files.list(kind)?;
        all.sort_by_key(|file| file.used);
        let mut total: u64 = all.iter().map(|file| file.length).sum();
        let keep = (self.bytes_max / 128 * KEEP_OF_128).min(self.bytes_max - length);
        for file in all {
            if total <= keep {
                break;
            }
            // Another process may have deleted it: gone is gone.
            let _ = fs::remove_file(&file.path);
            total -= file.length;
        }
        Ok(total)
    }

    pub(super) fn forget(&self) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// The bytes that are kept. Files that a process began and never finished go away.
fn look(files: &Files, kind: Kind) -> io::Result<u64> {
    let mut total = 0;
    for file in files.list(kind)? {
        let is_old = || file.used.elapsed().is_ok_and(|age| age > ABANDONED_AFTER);
        if file.is_unfinished() && is_old() && fs::remove_file(&file.path).is_ok() {
            continue;
        }
        total += file.length;
    }
    Ok(total)
}
