//! Small files are read together, into one piece of memory, and written together: what it costs to
//! hand one of them from thread to thread is more than what is done for it.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

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
    pub async fn read(self, memory: &Arc<ReadMemory>) -> Vec<(SmallFile, Read)> {
        let memory = Arc::clone(memory);
        let read = tokio::task::spawn_blocking(move || self.read_here(&memory));
        read.await.expect("reading does not panic")
    }

    fn read_here(self, used: &ReadMemory) -> Vec<(SmallFile, Read)> {
        // One byte more than expected tells whether there is more.
        let places = self.files.iter().map(|file| file.entry.size + 1);
        let places: Vec<_> =
            places.map(|size| usize::try_from(size).expect("small files are small")).collect();
        let mut memory = used.take();
        memory.resize(places.iter().sum(), 0);
        let files = self.files.into_iter().zip(places);
        let read = files.map(|(file, size)| read(file, memory.split_to(size))).collect();
        used.give_back(memory);
        read
    }
}

/// Memory that small files are read into, again and again: the system clears a new page for every
/// 4 KiB, which costs as much as reading into it.
#[derive(Debug, Default)]
pub(crate) struct ReadMemory(Mutex<Vec<BytesMut>>);

impl ReadMemory {
    /// What the most of small files take together.
    const SIZE: usize = (BYTES + SMALL_BYTES) as usize + FILES;
    /// How many are kept.
    const KEPT: usize = 4;

    fn take(&self) -> BytesMut {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // While there are bytes of it about, it can't be had.
        let free = kept.iter_mut().position(|memory| memory.try_reclaim(Self::SIZE));
        free.map_or_else(|| BytesMut::with_capacity(Self::SIZE), |free| kept.swap_remove(free))
    }

    /// Keeps what is left of one, from which all of it can be had when its bytes are gone.
    fn give_back(&self, memory: BytesMut) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < Self::KEPT {
            kept.push(memory);
        }
    }
}

fn read(file: SmallFile, mut place: BytesMut) -> (SmallFile, Read) {
    let (size, with_more) = (place.len() - 1, place.len());
    let filled = FileReader::open(&file.path).and_then(|mut reader| {
        // One that is as long as it was needs not be asked for more.
        let is_as_listed = size > 0 && reader.length() == size as u64;
        reader.fill(&mut place[..if is_as_listed { size } else { with_more }])
    });
    let read = filled.map(|filled| {
        place.truncate(filled);
        (filled <= size).then(|| place.freeze())
    });
    (file, read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again_when_its_bytes_are_gone() {
        let memory = ReadMemory::default();
        let mut first = memory.take();
        first.resize(10, 1);
        let (place, bytes) = (first.as_ptr(), first.split_to(10).freeze());
        memory.give_back(first);
        let mut second = memory.take();
        second.resize(10, 2);
        assert_ne!(second.as_ptr(), place, "somebody reads it");
        assert_eq!(bytes, [1; 10].as_slice());
        drop(bytes);
        let mut again = memory.take();
        again.resize(ReadMemory::SIZE, 3);
        assert_eq!(again.as_ptr(), place);
    }
}
