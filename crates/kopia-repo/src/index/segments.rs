//! One parsed index blob, on the heap or mapped from the cache.

use std::fmt;

use blob_core::BlobMeta;
use bytes::Bytes;
use kopia_format::{FormatError, index::Index};

use crate::cache::mapped::Mapped;

/// The bytes of an index.
pub(crate) enum SegmentBytes {
    /// Just written, or there is no cache.
    Heap(Bytes),
    /// A file of the cache, whose checksum was right.
    Mapped(Mapped),
}

impl SegmentBytes {
    /// Gives back memory that holds nothing but what a file has, too.
    pub(crate) fn give_back(&self) {
        if let Self::Mapped(mapped) = self {
            mapped.give_back();
        }
    }

    /// Says whether they will be read in order.
    pub(crate) fn expect_order(&self, in_order: bool) {
        if let Self::Mapped(mapped) = self {
            mapped.expect_order(in_order);
        }
    }
}

impl AsRef<[u8]> for SegmentBytes {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Heap(bytes) => bytes,
            Self::Mapped(mapped) => mapped.as_ref(),
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
    pub(crate) fn parse(meta: BlobMeta, bytes: Bytes) -> Result<Self, FormatError> {
        Ok(Self { meta, index: Index::parse(SegmentBytes::Heap(bytes))? })
    }
}
