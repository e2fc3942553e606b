//! The index: where each content lies.
//!
//! An index maps content IDs to places in packs, sorted by the binary form of the ID.
//! [`Index::parse`] checks every bound and the order once; after that, looking up and iterating
//! cannot fail on the layout and copies nothing but the entry asked for. What that walk over all
//! entries found is an [`Outline`]; with one that was kept, [`Index::with_outline`] opens an index
//! of any size at once. Two encodings, 1 and 2, may stand side by side in a repository. Several
//! indexes speak about the same content: [`IndexEntry::beats`] says which one is right, [`merge`]
//! walks many in order in bounded memory. Format: docs/format/04-index-epochs.md §1–§3, §7.

mod blob;
mod build;
mod entry;
mod merge;
mod names;
mod outline;
mod places;
mod range;
mod search;
mod v1;
mod v2;

use std::{ops::Range, sync::Arc};

pub use blob::IndexBlob;
pub use build::{IndexBuilder, SHARD_LEN_MAX, encode_sorted, shard_of};
pub use entry::IndexEntry;
pub use merge::{Merge, Statement, find_in, merge};
pub use outline::{Outline, Walk};
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
    outline: Outline,
    values: Values,
}

/// Where the entries are. All of them lie within the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Layout {
    key_len: usize,
    /// Length of key and value together.
    stride: usize,
    entries_at: usize,
    count: usize,
}

/// How the value behind a key is read.
#[derive(Debug)]
enum Values {
    V1(v1::Values),
    V2(v2::Values),
}

/// The version and the layout that the first bytes tell, if the entries fit in `bytes`.
fn header(bytes: &[u8]) -> Result<(u8, Layout)> {
    match bytes.first() {
        Some(&V1) => Ok((V1, v1::layout(bytes)?)),
        Some(&V2) => Ok((V2, v2::layout(bytes)?)),
        Some(version) => Err(malformed(format!("version {version}"))),
        None => Err(malformed("it is empty")),
    }
}

impl<B: AsRef<[u8]>> Index<B> {
    /// Reads an index of either version. Bytes behind it are ignored.
    ///
    /// # Errors
    /// [`FormatError::Malformed`] when the version is unknown, a part reaches beyond the bytes, a
    /// key is not that of a content, or keys are out of order.
    pub fn parse(bytes: B) -> Result<Self> {
        let outline = Outline::of(bytes.as_ref())?;
        Self::with_outline(bytes, outline)
    }

    /// The index `bytes`, whose walk gave `outline`. Looks at the header and the table of packs,
    /// not at the entries.
    ///
    /// Should the bytes not be those of the walk after all, nothing panics: entries are not found,
    /// or are what the bytes say.
    ///
    /// # Errors
    /// [`FormatError::Malformed`] when the header is another one, or a part reaches beyond the
    /// bytes.
    pub fn with_outline(bytes: B, outline: Outline) -> Result<Self> {
        let all = bytes.as_ref();
        let (version, layout) = header(all)?;
        if layout != *outline.layout() {
            return Err(malformed("the outline is that of another index"));
        }
        let values = match version {
            V1 => Values::V1(v1::Values::new(&layout)),
            _ => Values::V2(v2::Values::parse(all, &layout)?),
        };
        Ok(Self { bytes, outline, values })
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
        self.layout().count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The length of all keys; `None` if there are no entries.
    pub fn key_len(&self) -> Option<usize> {
        (!self.is_empty()).then_some(self.layout().key_len)
    }

    /// What the walk over the entries found.
    pub fn outline(&self) -> &Outline {
        &self.outline
    }

    /// The bytes it was parsed from.
    pub fn bytes(&self) -> &B {
        &self.bytes
    }

    /// The packs that entries point to, each at least once. Where the version has no table of them,
    /// all entries are looked at.
    pub fn packs(&self) -> impl Iterator<Item = Arc<str>> {
        let bytes = self.bytes.as_ref();
        let (one, two) = match &self.values {
            Values::V1(values) => (Some(values.packs(bytes, self.layout())), None),
            Values::V2(values) => (None, Some(values.packs(bytes))),
        };
        one.into_iter().flatten().chain(two.into_iter().flatten())
    }

    /// The entry of the content `id`.
    ///
    /// # Errors
    /// [`FormatError::Invalid`] when the IDs in this index are of another length, so that the
    /// question itself is wrong: a repository has one hash.
    pub fn find(&self, id: &ContentId) -> Result<Option<IndexEntry>> {
        Ok(self.find_among(self.candidates(id)?, id))
    }

    /// The numbers of the entries that may be of `id`: seldom more than one, and none for nearly
    /// all contents that are not here. Where the [outline](Outline::has_table) has a table, no byte
    /// of the index is read.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub fn candidates(&self, id: &ContentId) -> Result<Range<usize>> {
        let (expected, key_len) = (self.layout().key_len, id.key_len());
        if self.is_empty() {
            return Ok(0..0);
        }
        if key_len != expected {
            let reason = format!("{id} has a key of {key_len} bytes, not {expected}");
            return Err(FormatError::Invalid { what: "content ID", reason });
        }
        let mut buffer = [0; KEY_LEN_MAX];
        id.write_key(&mut buffer[..key_len]);
        Ok(self.outline.candidates(&buffer[..key_len]))
    }

    /// The entry of `id`, if it is one of `candidates`.
    pub fn find_among(&self, candidates: Range<usize>, id: &ContentId) -> Option<IndexEntry> {
        self.number_among(candidates, id).map(|n| self.decode(n))
    }

    /// The number of the entry of `id` in the order of IDs, if it is one of `candidates`.
    pub fn number_among(&self, candidates: Range<usize>, id: &ContentId) -> Option<usize> {
        let mut buffer = [0; KEY_LEN_MAX];
        let key = &mut buffer[..id.key_len()];
        id.write_key(key);
        let end = candidates.end.min(self.len());
        let candidates = candidates.start.min(end)..end;
        search::find(candidates, key, |n| self.key(n))
    }

    /// The entry number `n` in the order of IDs.
    pub fn entry(&self, n: usize) -> Option<IndexEntry> {
        (n < self.len()).then(|| self.decode(n))
    }

    /// The ID of the entry number `n`, without the rest.
    pub fn id(&self, n: usize) -> Option<ContentId> {
        (n < self.len()).then(|| self.content_id(n))
    }

    /// All entries, in the order of IDs.
    pub fn iter(&self) -> Entries<'_, B> {
        Entries { index: self, numbers: 0..self.len() }
    }

    /// The entries whose IDs lie in `range`.
    pub fn range(&self, range: &IdRange) -> Entries<'_, B> {
        let bytes = self.bytes.as_ref();
        let start = self.layout().partition(bytes, 0, |key| range.is_before(key));
        let end = self.layout().partition(bytes, start, |key| !range.is_after(key));
        Entries { index: self, numbers: start..end.max(start) }
    }

    /// The entries with this prefix, or those without one.
    pub fn with_prefix(&self, prefix: Option<u8>) -> Entries<'_, B> {
        let prefix = prefix.unwrap_or(0);
        let group = self.outline.group(prefix);
        Entries { index: self, numbers: group.map_or(0..0, |group| group.entries.clone()) }
    }

    fn layout(&self) -> &Layout {
        self.outline.layout()
    }

    fn key(&self, n: usize) -> &[u8] {
        self.layout().key(self.bytes.as_ref(), n)
    }

    /// The prefix is that of the group: should a byte have changed since the walk, this is no
    /// content of the repository, and still one.
    fn content_id(&self, n: usize) -> ContentId {
        let prefix = self.outline.group_of(n).prefix;
        let id = ContentId::new((prefix != 0).then_some(prefix), &self.key(n)[1..]);
        id.expect("prefixes and the length of keys are checked with the outline")
    }

    fn decode(&self, n: usize) -> IndexEntry {
        let (bytes, id) = (self.bytes.as_ref(), self.content_id(n));
        let (_, value) = self.layout().entry(bytes, n);
        match &self.values {
            Values::V1(values) => values.decode(id, value, bytes),
            Values::V2(values) => values.decode(id, value, bytes),
        }
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
