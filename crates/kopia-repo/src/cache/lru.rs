//! How much is kept: the files unused for longest go first.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use fs_err as fs;

use super::{Kind, files::Files};

/// After a sweep this much of the limit is left, so that not every store sweeps.
const KEEP_OF_128: u64 = 115;

/// The limit of one kind, and what was seen of it.
#[derive(Debug, Clone)]
pub(super) struct Limit {
    pub bytes_max: u64,
    /// Bytes kept, as far as this process knows; `None` before the first look.
    bytes: Arc<Mutex<Option<u64>>>,
}

impl Limit {
    pub(super) fn new(bytes_max: u64) -> Self {
        Self { bytes_max, bytes: Arc::default() }
    }

    /// Counts a new file and deletes old ones if there are too many.
    pub(super) fn added(&self, files: &Files, kind: Kind, length: u64) -> io::Result<()> {
        let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let known = match *bytes {
            Some(bytes) => bytes + length,
            None => files.list(kind)?.iter().map(|file| file.length).sum(),
        };
        *bytes = Some(if known > self.bytes_max { self.sweep(files, kind)? } else { known });
        Ok(())
    }

    fn sweep(&self, files: &Files, kind: Kind) -> io::Result<u64> {
        let mut all = files.list(kind)?;
        all.sort_by_key(|file| file.used);
        let mut total: u64 = all.iter().map(|file| file.length).sum();
        let keep = self.bytes_max / 128 * KEEP_OF_128;
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
        *self.bytes.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
