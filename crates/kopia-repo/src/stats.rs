//! Counting: what this handle did, and what the repository holds.

use std::sync::atomic::{AtomicU64, Ordering};

use kopia_format::index::IndexEntry;

use crate::{EntryFilter, Repository, Result};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What an open repository has done so far.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct Counters { $($(#[$doc])* pub $name: u64,)* }

        #[derive(Debug, Default)]
        pub(crate) struct Meters { $($name: AtomicU64,)* }

        impl Meters {
            pub(crate) fn read_all(&self) -> Counters {
                Counters { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }
    };
}

counters! {
    /// Blobs or ranges fetched.
    fetches,
    /// Bytes of them.
    fetched_bytes,
    /// Contents opened.
    contents_read,
    /// Plain bytes of them.
    contents_read_bytes,
    /// Contents that error correction had to repair.
    contents_repaired,
    /// Contents written.
    contents_written,
    /// Plain bytes of them.
    contents_written_bytes,
    /// Sealed bytes of them.
    contents_sealed_bytes,
    /// Contents that were there already.
    contents_deduplicated,
    /// Plain bytes of them.
    contents_deduplicated_bytes,
    /// Packs put.
    packs_put,
    /// Bytes of them.
    packs_put_bytes,
    /// Index blobs put.
    indexes_put,
    /// Bytes of them.
    indexes_put_bytes,
}

fn add(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

impl Meters {
    pub(crate) fn fetched(&self, bytes: usize) {
        add(&self.fetches, 1);
        add(&self.fetched_bytes, bytes as u64);
    }

    pub(crate) fn read(&self, bytes: usize) {
        add(&self.contents_read, 1);
        add(&self.contents_read_bytes, bytes as u64);
    }

    pub(crate) fn repaired(&self) {
        add(&self.contents_repaired, 1);
    }

    pub(crate) fn written(&self, plain: u32, sealed: usize) {
        add(&self.contents_written, 1);
        add(&self.contents_written_bytes, plain.into());
        add(&self.contents_sealed_bytes, sealed as u64);
    }

    pub(crate) fn deduplicated(&self, bytes: usize) {
        add(&self.contents_deduplicated, 1);
        add(&self.contents_deduplicated_bytes, bytes as u64);
    }

    pub(crate) fn pack_put(&self, bytes: u64) {
        add(&self.packs_put, 1);
        add(&self.packs_put_bytes, bytes);
    }

    pub(crate) fn index_put(&self, bytes: u64) {
        add(&self.indexes_put, 1);
        add(&self.indexes_put_bytes, bytes);
    }
}

/// Contents, and their bytes before and after packing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    /// How many.
    pub count: u64,
    /// Plain bytes.
    pub original_bytes: u64,
    /// Bytes in packs.
    pub packed_bytes: u64,
}

impl Amount {
    fn add(&mut self, entry: &IndexEntry) {
        self.count += 1;
        self.original_bytes += u64::from(entry.original_length);
        self.packed_bytes += u64::from(entry.packed_length);
    }
}

/// What the index says of the repository's contents.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContentStats {
    /// All that the filter took.
    pub total: Amount,
    /// Those marked deleted.
    pub deleted: Amount,
    /// By compression header ID, in ascending order; 0 = stored as they are.
    pub by_compression: Vec<(u32, Amount)>,
    /// By bounds of plain length (10, 100, 1000 …): contents shorter than the bound and not than
    /// the one before.
    pub by_size: Vec<(u64, Amount)>,
}

impl Repository {
    /// What this handle and its clones did so far.
    pub fn counters(&self) -> Counters {
        self.shared().meters.read_all()
    }

    /// Adds up the contents that `filter` takes. Reads the index alone.
    ///
    /// # Errors
    /// What reading the index may give.
    pub async fn content_stats(&self, filter: &EntryFilter) -> Result<ContentStats> {
        let view = self.index().await?;
        let mut stats = ContentStats::default();
        for entry in view.iter(filter) {
            stats.add(&entry);
        }
        stats.by_compression.sort_by_key(|(id, _)| *id);
        stats.by_size.sort_by_key(|(bound, _)| *bound);
        Ok(stats)
    }
}

impl ContentStats {
    fn add(&mut self, entry: &IndexEntry) {
        self.total.add(entry);
        if entry.deleted {
            self.deleted.add(entry);
        }
        slot(&mut self.by_compression, entry.compression).add(entry);
        let mut bound = 10;
        while u64::from(entry.original_length) >= bound {
            bound *= 10;
        }
        slot(&mut self.by_size, bound).add(entry);
    }
}

/// The amount under `key`, new if there is none. There are few keys.
fn slot<K: PartialEq + Copy>(all: &mut Vec<(K, Amount)>, key: K) -> &mut Amount {
    let place = all.iter().position(|(k, _)| *k == key).unwrap_or_else(|| {
        all.push((key, Amount::default()));
        all.len() - 1
    });
    &mut all[place].1
}
