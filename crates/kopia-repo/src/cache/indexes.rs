//! Decrypted indexes in the cache: checked once, mapped, opened at once afterwards.
//!
//! A file is checked while it is read through a small buffer, and its entries are walked in the
//! same pass; then it is mapped. Checking through the mapping would make all of it count as memory
//! of this process.

use std::io;

use fs_err as fs;
use kopia_format::index::{Index, Walk};

use super::{
    Kind,
    checksum::{CHECKSUM_LEN, Checksum},
    files::{Files, touch},
    mapped, seen,
};
use crate::index::segments::SegmentBytes;

/// Of smaller files no record is kept: reading them takes less than a record is worth.
pub(super) const RECORDED_MIN: u64 = 1 << 20;

/// An index, and a record to be stored under the other name.
pub(super) type Opened = (Index<SegmentBytes>, Option<Vec<u8>>);

impl Files {
    /// Opens the index `name`; one that is damaged is deleted.
    pub(super) fn open_index(&self, name: &str) -> io::Result<Opened> {
        let path = self.path(Kind::Indexes, name);
        let file = fs::File::open(&path)?;
        let opened = self.open_believed(name, file.file());
        if let Some(index) = opened {
            return Ok((index, None));
        }
        let opened = self.open_checked(name, file.file());
        if matches!(&opened, Err(error) if error.kind() == io::ErrorKind::InvalidData) {
            fs::remove_file(&path)?;
        }
        opened
    }

    /// As its record says, if there is one that is right.
    fn open_believed(&self, name: &str, file: &std::fs::File) -> Option<Index<SegmentBytes>> {
        let length = file.metadata().ok()?.len();
        if length < self.recorded_min {
            return None;
        }
        let record = self.whole(Kind::Indexes, &seen::record_name(name)).ok()?;
        let outline = seen::believe(record, file)?;
        let length = usize::try_from(length).ok()?.checked_sub(CHECKSUM_LEN)?;
        Index::with_outline(mapped::map(file, length).ok()?, outline).ok()
    }

    fn open_checked(&self, name: &str, file: &std::fs::File) -> io::Result<Opened> {
        let damaged = || io::Error::from(io::ErrorKind::InvalidData);
        let whole = file.metadata()?.len();
        let length = whole.checked_sub(CHECKSUM_LEN as u64).ok_or_else(damaged)?;
        // Being checked is being used; the mark comes first, since it changes the file's times.
        touch(file);
        let identity = if whole >= self.recorded_min { seen::settle(file) } else { None };
        let bytes = mapped::map(file, usize::try_from(length).map_err(|_| damaged())?)?;
        let mut walk = Walk::new(bytes.as_ref()).map_err(|_| damaged())?;
        let mut walked = Ok(());
        let look = |block: &[u8]| {
            if walked.is_ok() {
                walked = walk.feed(block);
            }
        };
        if !Checksum::is_right(self.mac(), name, file, length, look)? || walked.is_err() {
            return Err(damaged());
        }
        let outline = walk.finish().map_err(|_| damaged())?;
        let record = match identity {
            // Without a record it will be checked again.
            Some(identity) => seen::record(file, identity, &outline).unwrap_or(None),
            None => None,
        };
        let index = Index::with_outline(bytes, outline).map_err(|_| damaged())?;
        // The walk looked at a few keys through the mapping.
        index.bytes().give_back();
        Ok((index, record))
    }
}
