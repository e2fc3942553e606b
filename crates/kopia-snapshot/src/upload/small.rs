//! Small files are read together: what a thread for blocking work costs is more than what it does
//! for one of them.

use std::path::PathBuf;

use bytes::Bytes;

use super::file::FileStyle;
use crate::source::{FileReader, LocalEntry};

/// Files of no more bytes are small.
pub(super) const SMALL_BYTES: u64 = 64 << 10;
/// Small files that are hashed at once by one task, at most.
pub(super) const WRITES_MAX: usize = 4;
/// So many files are read together at most.
const FILES: usize = 32;
/// So many bytes.
const BYTES: u64 = 1 << 20;

/// A small file to upload.
pub(super) struct SmallFile {
    pub path: PathBuf,
    /// Path below the snapshot's root.
    pub relative: String,
    pub entry: LocalEntry,
    pub style: FileStyle,
}

/// Small files that are read together.
#[derive(Default)]
pub(super) struct SmallFiles {
    files: Vec<SmallFile>,
    bytes: u64,
}

/// The bytes of a file; `None` if it has become longer than it was when it was listed.
type Read = Result<Option<Bytes>, String>;

impl SmallFiles {
    /// Takes one more; true if that is enough.
    pub fn push(&mut self, file: SmallFile) -> bool {
        self.bytes += file.entry.size;
        self.files.push(file);
        self.files.len() >= FILES || self.bytes >= BYTES
    }

    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Reads all of them on one thread.
    pub async fn read(self) -> Vec<(SmallFile, Read)> {
        let read = move || self.files.into_iter().map(read).collect();
        tokio::task::spawn_blocking(read).await.expect("reading does not panic")
    }
}

fn read(file: SmallFile) -> (SmallFile, Read) {
    // One byte more than expected tells whether there is more.
    let size = usize::try_from(file.entry.size + 1).expect("small files are small");
    let bytes = FileReader::open(&file.path).and_then(|mut reader| reader.next_piece(size));
    let bytes = bytes.map(|bytes| (bytes.len() < size).then_some(bytes));
    (file, bytes)
}
