//! Index version 1: no compression, no original length; every entry points at the name of its pack.
//!
//! Header: version, key length, value length (2 bytes), entry count (4). Then the sorted entries,
//! then pack names. Format: docs/format/04-index-epochs.md §1.

use std::{borrow::Borrow, collections::HashSet, sync::Arc};

use super::{
    IndexEntry, Layout, V1_OVERHEAD,
    build::Survey,
    invalid, malformed,
    names::{Names, text},
};
use crate::{ContentId, Result};

const HEADER_LEN: usize = 8;
const VALUE_LEN: usize = 20;
/// The key length of an index without entries.
const NO_KEY: u8 = 0xff;
const DELETED: u32 = 1 << 31;
/// The first time that doesn't fit.
const TIMESTAMP_END: i64 = 1 << 48;

pub(super) fn layout(bytes: &[u8]) -> Result<Layout> {
    let header: &[u8; HEADER_LEN] = bytes.first_chunk().ok_or_else(|| malformed("no header"))?;
    let &[_, key_len, value_len @ .., a, b, c, d] = header;
    let (count, value_len) = (u32::from_be_bytes([a, b, c, d]), u16::from_be_bytes(value_len));
    if usize::from(value_len) != VALUE_LEN {
        return Err(malformed(format!("values of {value_len} bytes in version 1")));
    }
    Layout::new(bytes, HEADER_LEN, key_len, VALUE_LEN, count)
}

fn be32(bytes: &[u8]) -> u32 {
    u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

/// Where the name of the pack lies, and how long it is.
fn name_place(value: &[u8]) -> (u32, u8) {
    (be32(&value[8..]), value[7])
}

/// The names of packs that were read.
#[derive(Debug)]
pub(super) struct Values(Names);

impl Values {
    pub(super) fn new(layout: &Layout) -> Self {
        // Every entry might have a pack of its own; many share one.
        Self(Names::for_count(layout.count / 8))
    }

    pub(super) fn packs<'a>(
        &'a self,
        bytes: &'a [u8],
        layout: &'a Layout,
    ) -> impl Iterator<Item = Arc<str>> + 'a {
        let places = (0..layout.count).map(|n| name_place(layout.entry(bytes, n).1));
        let mut seen = HashSet::new();
        places.filter(move |place| seen.insert(*place)).map(|place| self.name(bytes, place))
    }

    fn name(&self, bytes: &[u8], (at, len): (u32, u8)) -> Arc<str> {
        self.0.get(u64::from(at) << 8 | u64::from(len), || text(bytes, at, len))
    }

    pub(super) fn decode(&self, id: ContentId, value: &[u8], bytes: &[u8]) -> IndexEntry {
        let &[t0, t1, t2, t3, t4, t5, format_version, ..] = value else {
            unreachable!("a value has 20 bytes")
        };
        let packed_length = be32(&value[16..]);
        IndexEntry {
            id,
            pack: self.name(bytes, name_place(value)),
            offset: be32(&value[12..]) & !DELETED,
            packed_length,
            original_length: packed_length.saturating_sub(V1_OVERHEAD),
            timestamp: i64::from_be_bytes([0, 0, t0, t1, t2, t3, t4, t5]),
            deleted: be32(&value[12..]) & DELETED != 0,
            format_version,
            compression: 0,
            encryption_key_id: 0,
        }
    }
}

/// Writes the entries that `entries` walks, twice.
pub(super) fn build<E: Borrow<IndexEntry>, I: Iterator<Item = E>>(
    entries: &impl Fn() -> I,
) -> Result<Vec<u8>> {
    let mut survey = Survey::default();
    for entry in entries() {
        check(entry.borrow())?;
        survey.add(entry.borrow())?;
    }
    let Survey { count, key_len, names, .. } = survey;
    let names_at = HEADER_LEN + count * (key_len + VALUE_LEN);
    let mut out = Vec::with_capacity(names_at + names.bytes.len() + super::SUFFIX_LEN);
    let header_key_len = if count == 0 { NO_KEY } else { key_len as u8 };
    out.extend_from_slice(&[super::V1, header_key_len, 0, VALUE_LEN as u8]);
    out.extend_from_slice(&(count as u32).to_be_bytes());
    for entry in entries() {
        let entry = entry.borrow();
        let key_at = out.len();
        out.resize(key_at + key_len, 0);
        entry.id.write_key(&mut out[key_at..]);
        out.extend_from_slice(&entry.timestamp.to_be_bytes()[2..]);
        out.extend_from_slice(&[entry.format_version, entry.pack.len() as u8]);
        out.extend_from_slice(&names.place(&entry.pack, names_at)?.to_be_bytes());
        let deleted = if entry.deleted { DELETED } else { 0 };
        out.extend_from_slice(&(entry.offset | deleted).to_be_bytes());
        out.extend_from_slice(&entry.packed_length.to_be_bytes());
    }
    out.extend_from_slice(&names.bytes);
    Ok(out)
}

fn check(entry: &IndexEntry) -> Result<()> {
    let id = entry.id;
    if entry.compression != 0 {
        return Err(invalid(format!("{id} is compressed, which version 1 can't say")));
    }
    if entry.encryption_key_id != 0 {
        return Err(invalid(format!("{id} has another key, which version 1 can't say")));
    }
    if entry.offset >= DELETED {
        return Err(invalid(format!("{id} lies at {}, too far", entry.offset)));
    }
    if !(0..TIMESTAMP_END).contains(&entry.timestamp) {
        return Err(invalid(format!("{id} has the time {}", entry.timestamp)));
    }
    Ok(())
}
