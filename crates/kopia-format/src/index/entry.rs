//! One entry, and which of two entries of the same content is right.

use std::sync::Arc;

use crate::ContentId;

/// Where a content lies, or that it was deleted.
///
/// A deletion points at the same bytes as before; until it is dropped the content can still be read
/// by its ID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexEntry {
    /// The content.
    pub id: ContentId,
    /// The pack blob that holds it.
    pub pack: Arc<str>,
    /// Where it begins in the pack.
    pub offset: u32,
    /// The length in the pack: compressed, sealed, with error correction.
    pub packed_length: u32,
    /// The length of the plain bytes.
    pub original_length: u32,
    /// When it was written or deleted, in seconds since 1970 by the writer's clock.
    pub timestamp: i64,
    /// Whether this is a deletion.
    pub deleted: bool,
    /// The repository's format version when it was written.
    pub format_version: u8,
    /// The compressor's header ID, 0 for none.
    pub compression: u32,
    /// Which key sealed it; always 0 so far. A reader must refuse others.
    pub encryption_key_id: u8,
}

impl IndexEntry {
    /// Whether this entry is right and `other`, of the same content, is not: the later one, else
    /// the one that is not a deletion, else the one with the greater pack ID. Nothing else counts,
    /// and no order of indexes.
    pub fn beats(&self, other: &Self) -> bool {
        let rank = |entry: &Self| (entry.timestamp, !entry.deleted);
        let by_pack = || self.pack.as_bytes().cmp(other.pack.as_bytes());
        rank(self).cmp(&rank(other)).then_with(by_pack).is_gt()
    }

    /// Whether the deletion watermark, in seconds since 1970, makes the content not exist. Ask the
    /// winner only: older live entries don't come back.
    pub fn is_dropped_by(&self, watermark: Option<i64>) -> bool {
        self.deleted && watermark.is_some_and(|watermark| self.timestamp <= watermark)
    }
}
