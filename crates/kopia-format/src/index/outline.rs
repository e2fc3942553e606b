//! What one walk over all entries of an index tells: that they are in order, where each prefix
//! begins, and a [table](super::places) of their places.
//!
//! A [`Walk`] takes the bytes piece by piece, so that a file is checked through a small buffer.
//! Whoever keeps an [`Outline`] beside an index that cannot change opens it without another walk.

use std::ops::Range;

use bytes::{BufMut, Bytes};

use super::{
    KEY_LEN_MAX, Layout, header, malformed,
    places::{Filling, Place},
    search::leading,
};
use crate::{ContentId, Result};

/// How a kept outline ends: after its tables, the groups, their number and this.
const FORM: &[u8; 4] = b"kol1";
const GROUP_LEN: usize = 9;
const TRAILER_LEN: usize = 1 + 1 + 2 + 4 + 1 + FORM.len();

/// Entries whose keys begin with the same byte: their hashes are evenly spread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    pub prefix: u8,
    pub entries: Range<usize>,
    place: Place,
}

/// What a [`Walk`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outline {
    layout: Layout,
    /// One for each prefix that occurs, in order.
    groups: Vec<Group>,
    /// Empty where hashes crowd: then the index is searched.
    table: Bytes,
}

impl Outline {
    /// Walks an index that is in memory.
    ///
    /// # Errors
    /// As [`Index::parse`](super::Index::parse).
    pub fn of(bytes: &[u8]) -> Result<Self> {
        let mut walk = Walk::new(bytes)?;
        walk.feed(bytes)?;
        walk.finish()
    }

    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    pub(super) fn group(&self, prefix: u8) -> Option<&Group> {
        self.groups.iter().find(|group| group.prefix == prefix)
    }

    /// The group of the entry number `n`.
    pub(super) fn group_of(&self, n: usize) -> &Group {
        let group = self.groups.iter().find(|group| n < group.entries.end);
        group.expect("groups hold all entries")
    }

    /// The numbers of the entries that may have `key`.
    pub(super) fn candidates(&self, key: &[u8]) -> Range<usize> {
        match self.group(key[0]) {
            Some(group) if self.table.is_empty() => group.entries.clone(),
            Some(group) => group.place.look(&self.table, &group.entries, leading(key)),
            None => 0..0,
        }
    }

    /// Does it deny most absent contents by itself?
    pub fn has_table(&self) -> bool {
        !self.table.is_empty()
    }

    /// Bytes of memory that it takes.
    pub fn memory(&self) -> usize {
        self.table.len() + self.groups.capacity() * size_of::<Group>()
    }

    /// The outline as bytes to be kept.
    pub fn to_bytes(&self) -> Vec<u8> {
        let groups_len = self.groups.len() * GROUP_LEN;
        let mut out = Vec::with_capacity(self.table.len() + groups_len + TRAILER_LEN);
        out.extend_from_slice(&self.table);
        for group in &self.groups {
            out.put_u8(group.prefix);
            out.put_u32(group.entries.start as u32);
            out.put_u32(group.entries.end as u32);
        }
        out.put_u8(self.groups.len() as u8);
        let Layout { key_len, stride, entries_at, count } = self.layout;
        out.put_u8(key_len as u8);
        out.put_u16(stride as u16);
        out.put_u32(count as u32);
        out.put_u8(entries_at as u8);
        out.extend_from_slice(FORM);
        out
    }

    /// Reads what [`to_bytes`](Self::to_bytes) made. What it says of an index is believed, so the
    /// bytes must come from where nobody else writes; whatever they are, nothing panics later.
    ///
    /// # Errors
    /// [`FormatError::Malformed`](crate::FormatError::Malformed) when they are nothing of the kind.
    pub fn from_bytes(mut bytes: Bytes) -> Result<Self> {
        let wrong = || malformed("no outline");
        let rest = bytes.len().checked_sub(TRAILER_LEN).ok_or_else(wrong)?;
        let trailer = bytes.split_off(rest);
        let &[groups, key_len, s0, s1, c0, c1, c2, c3, entries_at, ref form @ ..] = &trailer[..]
        else {
            return Err(wrong());
        };
        let layout = Layout {
            key_len: key_len.into(),
            stride: u16::from_be_bytes([s0, s1]).into(),
            entries_at: entries_at.into(),
            count: u32::from_be_bytes([c0, c1, c2, c3]) as usize,
        };
        let table_len = bytes.len().checked_sub(usize::from(groups) * GROUP_LEN);
        let groups = bytes.split_off(table_len.ok_or_else(wrong)?);
        let number = |bytes: [u8; 4]| u32::from_be_bytes(bytes) as usize;
        let groups = groups.as_chunks::<GROUP_LEN>().0.iter();
        let groups = groups.map(|&[prefix, a, b, c, d, e, f, g, h]| {
            (prefix, number([a, b, c, d])..number([e, f, g, h]))
        });
        let (groups, len) = placed(groups, &layout).ok_or_else(wrong)?;
        if form != FORM || (!bytes.is_empty() && bytes.len() != len) {
            return Err(wrong());
        }
        Ok(Self { layout, groups, table: bytes })
    }
}

/// Groups with places of their tables, one behind the other, and the length of all; `None` if the
/// groups are not all entries in order, with prefixes that can be.
fn placed(
    groups: impl Iterator<Item = (u8, Range<usize>)>,
    layout: &Layout,
) -> Option<(Vec<Group>, usize)> {
    let (mut all, mut end, mut at) = (Vec::<Group>::new(), 0, 0);
    for (prefix, entries) in groups {
        let in_order = all.last().is_none_or(|last| last.prefix < prefix);
        if entries.start != end || entries.is_empty() || !in_order {
            return None;
        }
        ContentId::from_key(&[prefix, 0]).ok()?;
        end = entries.end;
        let place = Place::new(&entries, at);
        at = place.end(&entries);
        all.push(Group { prefix, entries, place });
    }
    (end == layout.count).then_some((all, at))
}

/// A walk over all entries of an index.
#[derive(Debug)]
pub struct Walk {
    layout: Layout,
    groups: Vec<Group>,
    filling: Filling,
    /// How many bytes are still to come before the first entry.
    before: usize,
    /// The number of the next entry, and the group that it should be of.
    next: usize,
    group: usize,
    /// An entry that was cut in two, as far as it has come.
    cut: Vec<u8>,
    last: Vec<u8>,
}

impl Walk {
    /// A walk over the index `bytes`, of which only the header and a few keys are looked at here:
    /// those that say where prefixes begin, if the order is right. The walk itself checks that.
    ///
    /// # Errors
    /// As [`Index::parse`](super::Index::parse).
    pub fn new(bytes: &[u8]) -> Result<Self> {
        let (_, layout) = header(bytes)?;
        let wrong = || malformed("the prefixes of keys are wrong or out of order");
        let (mut bounds, mut start) = (Vec::<(u8, Range<usize>)>::new(), 0);
        while start < layout.count {
            let prefix = layout.key(bytes, start)[0];
            let end = layout.partition(bytes, start, |key| key[0] <= prefix);
            // Where keys are in order, neither can be.
            if end == start || bounds.last().is_some_and(|(last, _)| *last >= prefix) {
                return Err(wrong());
            }
            bounds.push((prefix, start..end));
            start = end;
        }
        let (groups, len) = placed(bounds.into_iter(), &layout).ok_or_else(wrong)?;
        Ok(Self {
            layout,
            groups,
            filling: Filling::new(len),
            before: layout.entries_at,
            next: 0,
            group: 0,
            cut: Vec::with_capacity(layout.stride),
            last: Vec::with_capacity(layout.key_len),
        })
    }

    /// Takes the next bytes of the index, however many. Those behind the last entry are passed
    /// over.
    ///
    /// # Errors
    /// [`FormatError::Malformed`](crate::FormatError::Malformed) when a key is not that of a
    /// content, or keys are out of order.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<()> {
        bytes = &bytes[self.skip(bytes.len())..];
        let stride = self.layout.stride;
        if !self.cut.is_empty() {
            let (rest, others) = bytes.split_at(bytes.len().min(stride - self.cut.len()));
            self.cut.extend_from_slice(rest);
            bytes = others;
            if self.cut.len() < stride {
                return Ok(());
            }
            let mut whole = std::mem::take(&mut self.cut);
            self.entries(&whole)?;
            whole.clear();
            self.cut = whole;
        }
        let left = (self.layout.count - self.next) * stride;
        let bytes = &bytes[..bytes.len().min(left)];
        let (whole, cut) = bytes.split_at(bytes.len() - bytes.len() % stride);
        self.entries(whole)?;
        self.cut.extend_from_slice(cut);
        Ok(())
    }

    /// Of `len` bytes, how many stand before the entries.
    fn skip(&mut self, len: usize) -> usize {
        let skipped = self.before.min(len);
        self.before -= skipped;
        skipped
    }

    fn entries(&mut self, bytes: &[u8]) -> Result<()> {
        let Some(mut group) = self.groups.get(self.group) else { return Ok(()) };
        let key_len = self.layout.key_len;
        let mut last: &[u8] = &self.last;
        for entry in bytes.chunks_exact(self.layout.stride) {
            let key = &entry[..key_len];
            if self.next == group.entries.end {
                self.group += 1;
                // There are as many groups as the count of entries needs.
                let Some(next) = self.groups.get(self.group) else { break };
                group = next;
            }
            if key <= last || key[0] != group.prefix {
                return Err(malformed(format!("entry {} is out of order", self.next)));
            }
            self.filling.add(&group.place, self.next, leading(key));
            self.next += 1;
            last = key;
        }
        let last = last.to_vec();
        self.last = last;
        Ok(())
    }

    /// What the walk found.
    ///
    /// # Errors
    /// [`FormatError::Malformed`](crate::FormatError::Malformed) when bytes are missing.
    pub fn finish(self) -> Result<Outline> {
        if self.next < self.layout.count {
            return Err(malformed(format!("it ends within entry {}", self.next)));
        }
        let table = self.filling.finish().unwrap_or_default().into();
        Ok(Outline { layout: self.layout, groups: self.groups, table })
    }
}

impl Layout {
    /// The first number from `low` on whose key is not `before`.
    pub(super) fn partition(
        &self,
        bytes: &[u8],
        mut low: usize,
        before: impl Fn(&[u8]) -> bool,
    ) -> usize {
        let mut high = self.count;
        while low < high {
            let middle = low + (high - low) / 2;
            if before(self.key(bytes, middle)) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}

const _: () = assert!(KEY_LEN_MAX <= u8::MAX as usize, "the length of a key is kept in a byte");
