//! Collecting entries and writing them as an index, byte for byte as Kopia does.

use std::{
    borrow::Borrow,
    collections::{BTreeMap, HashMap, btree_map::Entry},
    sync::Arc,
};

use super::{IndexEntry, SUFFIX_LEN, invalid, v1, v2};
use crate::{ContentId, FormatError, Result};

/// How many entries Kopia puts in one index blob.
pub const SHARD_LEN_MAX: usize = 16_000_000;

/// Entries to be written as an index: one for each content.
#[derive(Debug, Clone, Default)]
pub struct IndexBuilder {
    entries: BTreeMap<ContentId, IndexEntry>,
}

impl IndexBuilder {
    /// A builder without entries.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `entry`, unless there is one of the same content that it doesn't
    /// [beat](IndexEntry::beats).
    pub fn add(&mut self, entry: IndexEntry) {
        match self.entries.entry(entry.id) {
            Entry::Vacant(vacant) => {
                vacant.insert(entry);
            }
            Entry::Occupied(mut old) => {
                if entry.beats(old.get()) {
                    old.insert(entry);
                }
            }
        }
    }

    /// The entry of `id`.
    pub fn get(&self, id: &ContentId) -> Option<&IndexEntry> {
        self.entries.get(id)
    }

    /// Takes the entry of `id` out.
    pub fn remove(&mut self, id: &ContentId) -> Option<IndexEntry> {
        self.entries.remove(id)
    }

    /// Keeps only the entries that `keep` says yes to.
    pub fn retain(&mut self, mut keep: impl FnMut(&IndexEntry) -> bool) {
        self.entries.retain(|_, entry| keep(entry));
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entries in the order of IDs.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &IndexEntry> {
        self.entries.values()
    }

    /// The bytes of one index of all entries.
    ///
    /// The random `suffix` belongs to indexes in packs and to compactions of format 1. Index blobs
    /// of a flush have none, so that equal entries give equal blobs.
    ///
    /// # Errors
    /// [`FormatError::Invalid`] when an entry doesn't fit the encoding, hashes differ in length, or
    /// version 2 is to be written without entries; [`FormatError::Unsupported`] for another
    /// version.
    pub fn build(&self, version: u32, suffix: Option<[u8; SUFFIX_LEN]>) -> Result<Vec<u8>> {
        encode_sorted(version, || self.entries.values(), suffix)
    }

    /// The bytes of as many indexes as are needed to have about `shard_len_max` entries in each
    /// ([`SHARD_LEN_MAX`]); none when there are no entries. `suffix` is asked once for each.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub fn build_shards(
        &self,
        version: u32,
        shard_len_max: usize,
        mut suffix: impl FnMut() -> Option<[u8; SUFFIX_LEN]>,
    ) -> Result<Vec<Vec<u8>>> {
        let shards = self.shards(shard_len_max);
        let encode = |entries: &Vec<&IndexEntry>| {
            encode_sorted(version, || entries.iter().copied(), suffix())
        };
        shards.iter().map(encode).collect()
    }

    /// The entries by the hash of their IDs' texts, without shards that got none.
    fn shards(&self, shard_len_max: usize) -> Vec<Vec<&IndexEntry>> {
        let count = self.len().div_ceil(shard_len_max.max(1));
        let mut shards = vec![Vec::new(); count];
        for entry in self.entries.values() {
            shards[shard_of(&entry.id, count)].push(entry);
        }
        shards.retain(|shard| !shard.is_empty());
        shards
    }
}

impl Extend<IndexEntry> for IndexBuilder {
    fn extend<I: IntoIterator<Item = IndexEntry>>(&mut self, entries: I) {
        entries.into_iter().for_each(|entry| self.add(entry));
    }
}

impl FromIterator<IndexEntry> for IndexBuilder {
    fn from_iter<I: IntoIterator<Item = IndexEntry>>(entries: I) -> Self {
        let mut builder = Self::new();
        builder.extend(entries);
        builder
    }
}

/// FNV-1a with 32 bits.
fn fnv1a(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// The bytes of an index of entries that come in the order of IDs and are walked as often as
/// needed: what it takes of memory is the index itself and the names of the packs. For merging
/// indexes that are longer than the memory.
///
/// # Errors
/// As [`IndexBuilder::build`].
pub fn encode_sorted<E, I>(
    version: u32,
    entries: impl Fn() -> I,
    suffix: Option<[u8; SUFFIX_LEN]>,
) -> Result<Vec<u8>>
where
    E: Borrow<IndexEntry>,
    I: Iterator<Item = E>,
{
    let mut bytes = match version {
        1 => v1::build(&entries)?,
        2 => v2::build(&entries)?,
        _ => {
            let name = version.to_string();
            return Err(FormatError::Unsupported { what: "index version", name });
        }
    };
    bytes.extend(suffix.into_iter().flatten());
    Ok(bytes)
}

/// Into which of `count` indexes the entry of `id` goes.
pub fn shard_of(id: &ContentId, count: usize) -> usize {
    if count > 1 { fnv1a(&id.to_string()) as usize % count } else { 0 }
}

/// What a first walk over the entries of one index finds.
#[derive(Debug, Default)]
pub(super) struct Survey {
    pub(super) count: usize,
    pub(super) key_len: usize,
    pub(super) names: PackNames,
    last: Option<ContentId>,
}

impl Survey {
    /// Takes the next entry. It is refused if it doesn't fit those before it.
    pub(super) fn add(&mut self, entry: &IndexEntry) -> Result<()> {
        if let Some(last) = &self.last {
            if entry.id.key_len() != self.key_len {
                return Err(invalid(format!("{last} and {} differ in length", entry.id)));
            }
            if entry.id <= *last {
                return Err(invalid(format!("{} comes after {last}", entry.id)));
            }
        } else if entry.id.is_empty() {
            return Err(invalid("the empty ID names no content"));
        }
        if self.count == u32::MAX as usize {
            return Err(invalid(format!("more than {} entries in one index", self.count)));
        }
        self.count += 1;
        self.key_len = entry.id.key_len();
        self.last = Some(entry.id);
        self.names.add(entry)
    }
}

/// The names of the packs, one behind the other in order of first use.
#[derive(Debug, Default)]
pub(super) struct PackNames {
    pub(super) in_order: Vec<Arc<str>>,
    /// The number of each, and where it begins in `bytes`.
    pub(super) places: HashMap<Arc<str>, (u32, usize)>,
    pub(super) bytes: Vec<u8>,
}

impl PackNames {
    fn add(&mut self, entry: &IndexEntry) -> Result<()> {
        if self.places.contains_key(&entry.pack) {
            return Ok(());
        }
        if !(1..=255).contains(&entry.pack.len()) {
            let (id, len) = (entry.id, entry.pack.len());
            return Err(invalid(format!("{id} is in a pack with a name of {len} bytes")));
        }
        let place = (self.in_order.len() as u32, self.bytes.len());
        self.places.insert(Arc::clone(&entry.pack), place);
        self.in_order.push(Arc::clone(&entry.pack));
        self.bytes.extend_from_slice(entry.pack.as_bytes());
        Ok(())
    }

    /// The number of a pack.
    pub(super) fn number(&self, pack: &Arc<str>) -> u32 {
        self.places[pack].0
    }

    /// Where the name lies in an index whose names begin at `names_at`.
    pub(super) fn place(&self, pack: &Arc<str>, names_at: usize) -> Result<u32> {
        u32::try_from(names_at + self.places[pack].1)
            .map_err(|_| invalid("the index is longer than 4 GiB"))
    }
}
