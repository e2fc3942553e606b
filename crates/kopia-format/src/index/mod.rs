//! The index: where each content lies.
//!
//! An index maps content IDs to places in packs, sorted by the binary form of the ID.
//! [`Index::parse`] checks every bound, name and the order once; after that, looking up and
//! iterating cannot fail on the layout and copies nothing but the entry asked for. Two encodings,
//! 1 and 2, may stand side by side in a repository. Several indexes speak about the same
//! content: [`IndexEntry::beats`] says which one is right, [`merge`] walks many in order in bounded
//! memory. Format: docs/format/04-index-epochs.md §1–§3, §7.

mod blob;
mod build;
mod entry;
mod merge;
mod range;
mod search;
mod v1;
mod v2;

use std::{ops::Range, sync::Arc};

pub use blob::IndexBlob;
pub use build::{IndexBuilder, SHARD_LEN_MAX};
pub use entry::IndexEntry;
pub use merge::{Merge, find_in, merge};
pub use range::IdRange;

use crate::{ContentId, FormatError, Result};

/// The bytes of random suffix that make an index in a pack, or a compaction of format 1, unlike any
/// other.
pub const SUFFIX_LEN: usize = 32;

/// The name of a pack that an entry points to, where the index names none. No blob is called so.
pub const INVALID_PACK: &str = "---invalid---";

/// What lies between a content and the bytes of its cipher text: the nonce and the tag. Version 1
/// does not store the original length; it is the packed length without these.
const V1_OVERHEAD: u32 = 28;

const V1: u8 = 1;
const V2: u8 = 2;

/// A parsed index over the bytes `B`: a `Vec`, a mapped file …
#[derive(Debug)]
pub struct Index<B> {
    bytes: B,
    layout: Layout,
    /// One for each prefix that occurs, in order.
    groups: Vec<Group>,
    values: Values,
}

/// Where the entries are. All of them lie within the bytes.
#[derive(Debug, Clone, Copy)]
struct Layout {
    key_len: usize,
    /// Length of key and value together.
    stride: usize,
    entries_at: usize,
    count: usize,
}

/// Entries whose keys begin with the same byte: their hashes are evenly spread.
#[derive(Debug)]
struct Group {
    prefix: u8,
    entries: Range<usize>,
}

/// How the value behind a key is read.
#[derive(Debug)]
enum Values {
    V1(v1::Values),
    V2(v2::Values),
}

impl<B: AsRef<[u8]>> Index<B> {
    /// Reads an index of either version. Bytes behind it are ignored.
    ///
    /// # Errors
    /// [`FormatError::Malformed`] when the version is unknown, a part reaches beyond the bytes, a
    /// key is not that of a content, or keys are out of order.
    pub fn parse(bytes: B) -> Result<Self> {
        let all = bytes.as_ref();
        let (layout, values) = match all.first() {
            Some(&V1) => v1::parse(all).map(|(layout, values)| (layout, Values::V1(values)))?,
            Some(&V2) => v2::parse(all).map(|(layout, values)| (layout, Values::V2(values)))?,
            Some(version) => return Err(malformed(format!("version {version}"))),
            None => return Err(malformed("it is empty")),
        };
        let groups = groups(all, &layout)?;
        Ok(Self { bytes, layout, groups, values })
    }

    /// The version of the encoding, 1 or 2.
    pub fn version(&self) -> u32 {
        match self.values {
            Values::V1(_) => 1,
            Values::V2(_) => 2,
        }
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.layout.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.layout.count == 0
    }

    /// The bytes it was parsed from.
    pub fn bytes(&self) -> &B {
        &self.bytes
    }

    /// The packs that entries point to, each at least once.
    pub fn packs(&self) -> impl Iterator<Item = &Arc<str>> {
        let (one, two) = match &self.values {
            Values::V1(values) => (Some(values.packs()), None),
            Values::V2(values) => (None, Some(values.packs())),
        };
        one.into_iter().flatten().chain(two.into_iter().flatten())
    }

    /// The entry of the content `id`.
    ///
    /// # Errors
    /// [`FormatError::Invalid`] when the IDs in this index are of another length, so that the
    /// question itself is wrong: a repository has one hash.
    pub fn find(&self, id: &ContentId) -> Result<Option<IndexEntry>> {
        if self.is_empty() {
            return Ok(None);
        }
        let key_len = id.key_len();
        if key_len != self.layout.key_len {
            let reason = format!("{id} has a key of {key_len} bytes, not {}", self.layout.key_len);
            return Err(FormatError::Invalid { what: "content ID", reason });
        }
        let mut buffer = [0; KEY_LEN_MAX];
        id.write_key(&mut buffer[..key_len]);
        Ok(self.position(&buffer[..key_len]).map(|n| self.decode(n)))
    }

    /// The entry number `n` in the order of IDs.
    pub fn entry(&self, n: usize) -> Option<IndexEntry> {
        (n < self.len()).then(|| self.decode(n))
    }

    /// The ID of the entry number `n`, without the rest.
    pub fn id(&self, n: usize) -> Option<ContentId> {
        (n < self.len()).then(|| content_id(self.key(n)))
    }

    /// All entries, in the order of IDs.
    pub fn iter(&self) -> Entries<'_, B> {
        Entries { index: self, numbers: 0..self.len() }
    }

    /// The entries whose IDs lie in `range`.
    pub fn range(&self, range: &IdRange) -> Entries<'_, B> {
        let start = self.partition(|key| range.is_before(key));
        let end = self.partition(|key| !range.is_after(key));
        Entries { index: self, numbers: start..end.max(start) }
    }

    /// The entries with this prefix, or those without one.
    pub fn with_prefix(&self, prefix: Option<u8>) -> Entries<'_, B> {
        let prefix = prefix.unwrap_or(0);
        let group = self.groups.iter().find(|group| group.prefix == prefix);
        Entries { index: self, numbers: group.map_or(0..0, |group| group.entries.clone()) }
    }

    fn key(&self, n: usize) -> &[u8] {
        self.layout.key(self.bytes.as_ref(), n)
    }

    fn decode(&self, n: usize) -> IndexEntry {
        let (key, value) = self.layout.entry(self.bytes.as_ref(), n);
        let id = content_id(key);
        match &self.values {
            Values::V1(values) => values.decode(id, value),
            Values::V2(values) => values.decode(id, value),
        }
    }

    /// The first number whose key is not `before`.
    fn partition(&self, before: impl Fn(&[u8]) -> bool) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if before(self.key(middle)) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// The number of the entry with this key.
    fn position(&self, key: &[u8]) -> Option<usize> {
        let group = self.groups.iter().find(|group| group.prefix == key[0])?;
        search::find(group.entries.clone(), key, |n| self.key(n))
    }
}

impl Layout {
    fn key<'a>(&self, bytes: &'a [u8], n: usize) -> &'a [u8] {
        let start = self.entries_at + n * self.stride;
        &bytes[start..start + self.key_len]
    }

    fn entry<'a>(&self, bytes: &'a [u8], n: usize) -> (&'a [u8], &'a [u8]) {
        let start = self.entries_at + n * self.stride;
        bytes[start..start + self.stride].split_at(self.key_len)
    }

    /// Makes a layout of what a header says, if that lies within `bytes`.
    fn new(
        bytes: &[u8],
        entries_at: usize,
        key_len: u8,
        value_len: usize,
        count: u32,
    ) -> Result<Self> {
        let (key_len, count) = (usize::from(key_len), count as usize);
        if key_len < KEY_LEN_MIN || (key_len > KEY_LEN_MAX && count > 0) {
            return Err(malformed(format!("keys of {key_len} bytes")));
        }
        let layout = Self { key_len, stride: key_len + value_len, entries_at, count };
        let end = layout.stride.checked_mul(count).and_then(|len| len.checked_add(entries_at));
        if end.is_none_or(|end| end > bytes.len()) {
            return Err(malformed(format!("{count} entries don't fit in {} bytes", bytes.len())));
        }
        Ok(layout)
    }

    /// Where the entries end.
    fn end(&self) -> usize {
        self.entries_at + self.stride * self.count
    }
}

/// The shortest key: a prefix byte and one byte of hash.
const KEY_LEN_MIN: usize = 2;
/// The longest: a prefix byte and the longest hash.
const KEY_LEN_MAX: usize = 33;

/// Walks all keys once, to check their order and prefixes, and notes where each prefix begins.
fn groups(bytes: &[u8], layout: &Layout) -> Result<Vec<Group>> {
    let mut groups: Vec<Group> = Vec::new();
    let mut before: &[u8] = &[];
    for n in 0..layout.count {
        let key = layout.key(bytes, n);
        if key <= before {
            return Err(malformed(format!("entry {n} is out of order")));
        }
        before = key;
        match groups.last_mut() {
            Some(group) if group.prefix == key[0] => group.entries.end = n + 1,
            _ => {
                ContentId::from_key(key)?;
                groups.push(Group { prefix: key[0], entries: n..n + 1 });
            }
        }
    }
    Ok(groups)
}

/// The ID of a key that [`groups`] has seen.
fn content_id(key: &[u8]) -> ContentId {
    ContentId::from_key(key).expect("keys are checked when the index is parsed")
}

/// Entries of an index, in the order of IDs.
#[derive(Debug)]
pub struct Entries<'a, B> {
    index: &'a Index<B>,
    numbers: Range<usize>,
}

impl<B: AsRef<[u8]>> Iterator for Entries<'_, B> {
    type Item = IndexEntry;

    fn next(&mut self) -> Option<IndexEntry> {
        self.numbers.next().map(|n| self.index.decode(n))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.numbers.size_hint()
    }
}

impl<B: AsRef<[u8]>> DoubleEndedIterator for Entries<'_, B> {
    fn next_back(&mut self) -> Option<IndexEntry> {
        self.numbers.next_back().map(|n| self.index.decode(n))
    }
}

impl<B: AsRef<[u8]>> ExactSizeIterator for Entries<'_, B> {}

impl<'a, B: AsRef<[u8]>> IntoIterator for &'a Index<B> {
    type Item = IndexEntry;
    type IntoIter = Entries<'a, B>;

    fn into_iter(self) -> Entries<'a, B> {
        self.iter()
    }
}

fn malformed(reason: impl Into<String>) -> FormatError {
    FormatError::malformed("index", reason)
}

fn invalid(reason: impl Into<String>) -> FormatError {
    FormatError::Invalid { what: "index entry", reason: reason.into() }
}

#[cfg(test)]
mod tests;
