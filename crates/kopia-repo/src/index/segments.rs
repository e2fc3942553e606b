//! One parsed index blob, on the heap or mapped from the cache.

use std::fmt;

use blob_core::BlobMeta;
use bytes::Bytes;
use kopia_format::{FormatError, index::Index};
use memmap2::Mmap;

/// The bytes of an index.
pub(crate) enum SegmentBytes {
    /// Fetched or just written.
    Heap(Bytes),
    /// A file of the cache, whose checksum was right when it was mapped. Cache files are replaced,
    /// never changed.
    Mapped {
        /// The whole file.
        file: Mmap,
        /// How much of it is the index.
        length: usize,
    },
}

impl AsRef<[u8]> for SegmentBytes {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Heap(bytes) => bytes,
            Self::Mapped { file, length } => &file[..*length],
        }
    }
}

impl fmt::Debug for SegmentBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.as_ref().len())
    }
}

/// One index blob.
#[derive(Debug)]
pub(crate) struct Segment {
    pub meta: BlobMeta,
    pub index: Index<SegmentBytes>,
}

impl Segment {
    /// Parses the decrypted bytes of an index blob.
    pub(crate) fn parse(meta: BlobMeta, bytes: SegmentBytes) -> Result<Self, FormatError> {
        Ok(Self { meta, index: Index::parse(bytes)? })
    }
}
