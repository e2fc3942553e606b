//! How much of each pack the index needs.

use std::{collections::HashMap, sync::Arc};

use kopia_format::index::IndexEntry;

/// What the index has in one pack.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PackUse {
    /// Contents, deleted ones too.
    pub contents: u32,
    /// Their packed bytes.
    pub bytes: u64,
    /// The earliest time of a content in it, in seconds since 1970: packs of one time belong
    /// together.
    pub first: i64,
}

/// All packs that the index needs: some 100 bytes each.
#[derive(Debug, Default)]
pub struct PackUses(HashMap<Arc<str>, PackUse>);

impl PackUses {
    /// Walks all entries of an index once, deletions too. Contents whose deletion is final by
    /// `watermark` need nothing.
    pub fn of(entries: impl IntoIterator<Item = IndexEntry>, watermark: Option<i64>) -> Self {
        let mut uses: HashMap<Arc<str>, PackUse> = HashMap::new();
        for entry in entries {
            if entry.is_dropped_by(watermark) {
                continue;
            }
            let used = uses.entry(Arc::clone(&entry.pack)).or_default();
            used.first =
                if used.contents == 0 { entry.timestamp } else { used.first.min(entry.timestamp) };
            used.contents += 1;
            used.bytes += u64::from(entry.packed_length);
        }
        Self(uses)
    }

    /// What the index has in the pack of this name; `None`: nothing, it may go.
    pub fn get(&self, pack: &str) -> Option<&PackUse> {
        self.0.get(pack)
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &PackUse)> {
        self.0.iter()
    }
}
