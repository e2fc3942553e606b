//! Small files are read together, into one piece of memory, and written together: what it costs to
//! hand one of them from thread to thread is more than what is done for it.

use std::path::PathBuf;

use bytes::{Bytes, BytesMut};

use super::file::FileStyle;
use crate::source::{FileReader, LocalEntry};

/// Files of no more bytes are small.
pub(super) const SMALL_BYTES: u64 = 256 << 10;
/// So many files are read together at most.
const FILES: usize = 64;
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

    /// Bytes of all of them, as they were listed.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Reads all of them on one thread.
    pub async fn read(self) -> Vec<(SmallFile, Read)> {
        tokio::task::spawn_blocking(move || self.read_here()).await.expect("reading does not panic")
    }

    fn read_here(self) -> Vec<(SmallFile, Read)> {
        // One byte more than expected tells whether there is more.
        let places = self.files.iter().map(|file| file.entry.size + 1);
        let places: Vec<_> =
            places.map(|size| usize::try_from(size).expect("small files are small")).collect();
        let mut memory = BytesMut::zeroed(places.iter().sum());
        let files = self.files.into_iter().zip(places);
        files.map(|(file, size)| read(file, memory.split_to(size))).collect()
    }
}

fn read(file: SmallFile, mut place: BytesMut) -> (SmallFile, Read) {
    let filled = FileReader::open(&file.path).and_then(|mut reader| reader.fill(&mut place));
    let read = filled.map(|filled| {
        let whole = filled < place.len();
        place.truncate(filled);
        whole.then(|| place.freeze())
    });
    (file, read)
}
