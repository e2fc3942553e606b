//! Files as memory: the only unsafe code of this crate, and its safe twin.
//!
//! What is mapped is a file of the cache. It is private to its user, and every writer of these
//! files, this program alone, writes a new file aside and renames it over the old one, whose bytes
//! stay as they are for those who have it open. So bytes of a mapping never change. Where a file
//! can't be mapped, [`read`] gives the same bytes on the heap; tests compare the two.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
};

use bytes::Bytes;
use memmap2::Mmap;
#[cfg(unix)]
use memmap2::{Advice, UncheckedAdvice};

use crate::index::segments::SegmentBytes;

/// The beginning of a mapped file.
pub(crate) struct Mapped {
    file: Mmap,
    length: usize,
}

impl Mapped {
    fn new(file: &File, length: usize) -> io::Result<Self> {
        // SAFETY: a mapping is sound as long as nobody changes or shortens the file, and nobody
        // does: see the header of this file.
        let file = unsafe { Mmap::map(file) }?;
        if file.len() < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mapped = Self { file, length };
        mapped.expect_order(false);
        Ok(mapped)
    }

    /// Says whether the bytes will be read in order. If not, a look-up reads one page and none
    /// beside it.
    pub(crate) fn expect_order(&self, in_order: bool) {
        #[cfg(unix)]
        let _ = self.file.advise(if in_order { Advice::Normal } else { Advice::Random });
        #[cfg(not(unix))]
        let _ = in_order;
    }

    /// Gives back the memory of all pages that were touched. The system's page cache still has
    /// them, as long as it likes.
    pub(crate) fn give_back(&self) {
        // SAFETY: of a file that is mapped shared and can't be written through the mapping, the
        // pages that are given up are read again from the same file, so their bytes are the same
        // before and after, also for whoever reads them meanwhile.
        #[cfg(target_os = "linux")]
        let _ = unsafe { self.file.unchecked_advise(UncheckedAdvice::DontNeed) };
    }
}

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        &self.file[..self.length]
    }
}

/// The first `length` bytes of a file, mapped if that can be.
pub(super) fn map(file: &File, length: usize) -> io::Result<SegmentBytes> {
    match Mapped::new(file, length) {
        Ok(mapped) => Ok(SegmentBytes::Mapped(mapped)),
        Err(_) => read(file, length),
    }
}

/// The first `length` bytes of a file on the heap.
pub(super) fn read(mut file: &File, length: usize) -> io::Result<SegmentBytes> {
    let mut bytes = vec![0; length];
    file.seek(SeekFrom::Start(0))?;
    file.read_exact(&mut bytes)?;
    Ok(SegmentBytes::Heap(Bytes::from(bytes)))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_mapping_has_the_bytes_that_reading_gives_before_and_after_it_gave_them_back() {
        let mut file = tempfile::tempfile().unwrap();
        let bytes = kopia_fixtures::spec_bytes("ctr:mapped:300001");
        file.write_all(&bytes).unwrap();
        for length in [0, 1, 4095, 4096, 4097, 300_000, 300_001] {
            let (mapped, heap) = (map(&file, length).unwrap(), read(&file, length).unwrap());
            let SegmentBytes::Mapped(pages) = &mapped else { panic!("it is not mapped") };
            for in_order in [true, false] {
                assert_eq!(mapped.as_ref(), heap.as_ref());
                pages.give_back();
                pages.expect_order(in_order);
            }
            assert_eq!(mapped.as_ref(), &bytes[..length]);
        }
        assert!(map(&file, 300_002).is_err() && read(&file, 300_002).is_err());
    }

    #[test]
    fn what_replaces_a_file_by_its_name_does_not_change_the_mapping() {
        let folder = tempfile::tempdir().unwrap();
        let (path, aside) = (folder.path().join("a"), folder.path().join("b"));
        std::fs::write(&path, [1; 10_000]).unwrap();
        let mapped = map(&File::open(&path).unwrap(), 10_000).unwrap();
        std::fs::write(&aside, [2; 10]).unwrap();
        std::fs::rename(&aside, &path).unwrap();
        assert_eq!(mapped.as_ref(), [1; 10_000]);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(mapped.as_ref(), [1; 10_000]);
    }
}
