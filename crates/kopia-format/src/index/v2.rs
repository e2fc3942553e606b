//! Index version 2: original lengths and compression; packs and formats are numbered and kept in
//! tables.
//!
//! Header: version, key length, value length (2 bytes), entry count (4), pack count (4), format
//! count (1), base time (4). Then the sorted entries, the packs (length and place of a name), the
//! formats, the names. A value has 16 bytes, and more only where its numbers need them. Format:
//! docs/format/04-index-epochs.md §2.

use std::{borrow::Borrow, collections::HashMap, sync::Arc};

use super::{
    INVALID_PACK, IndexEntry, Layout,
    build::Survey,
    invalid, malformed,
    names::{Names, text},
};
use crate::{ContentId, Result};

const HEADER_LEN: usize = 17;
const PACK_LEN: usize = 5;
const FORMAT_LEN: usize = 6;
/// Length of a value with one format, short pack numbers and lengths.
const VALUE_LEN_MIN: usize = 16;
/// With a format number.
const VALUE_LEN_FORMAT: usize = 17;
/// And a third byte of the pack number.
const VALUE_LEN_PACK: usize = 18;
/// And the highest bits of both lengths.
const VALUE_LEN_MAX: usize = 19;
/// Key and value together.
const STRIDE_MAX: usize = 256;

const DELETED: u32 = 1 << 31;
/// The first numbers that can't be written.
const OFFSET_END: u32 = 1 << 30;
const LENGTH_END: u32 = 1 << 28;
const SHORT_LENGTH_END: u32 = 1 << 24;
const PACKS_MAX: usize = 1 << 24;
const SHORT_PACKS_MAX: usize = 1 << 16;
const FORMATS_MAX: usize = 255;

/// How a content was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Format {
    compression: u32,
    version: u8,
    key_id: u8,
}

/// What entries with a format number that doesn't exist have: nothing that can be read.
const INVALID_FORMAT: Format = Format { compression: 0xffff, version: 0xff, key_id: 0xff };

pub(super) fn layout(bytes: &[u8]) -> Result<Layout> {
    let header: &[u8; HEADER_LEN] = bytes.first_chunk().ok_or_else(|| malformed("no header"))?;
    let &[_, key_len, v0, v1, n0, n1, n2, n3, ..] = header;
    let value_len = usize::from(u16::from_be_bytes([v0, v1]));
    if !(VALUE_LEN_MIN..=VALUE_LEN_MAX).contains(&value_len)
        || usize::from(key_len) + value_len > STRIDE_MAX
    {
        return Err(malformed(format!("values of {value_len} bytes in version 2")));
    }
    let count = u32::from_be_bytes([n0, n1, n2, n3]);
    Layout::new(bytes, HEADER_LEN, key_len, value_len, count)
}

/// The tables: packs stay in the index, formats are few.
#[derive(Debug)]
pub(super) struct Values {
    base_timestamp: u32,
    packs_at: usize,
    pack_count: usize,
    names: Names,
    formats: Vec<Format>,
}

/// A big-endian number of up to four bytes.
fn be(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |number, &byte| (number << 8) | u32::from(byte))
}

impl Format {
    fn parse(bytes: [u8; FORMAT_LEN]) -> Self {
        Self { compression: be(&bytes[..4]), version: bytes[4], key_id: bytes[5] }
    }

    fn of(entry: &IndexEntry) -> Self {
        Self {
            compression: entry.compression,
            version: entry.format_version,
            key_id: entry.encryption_key_id,
        }
    }
}

impl Values {
    /// Reads the tables behind the entries.
    pub(super) fn parse(bytes: &[u8], layout: &Layout) -> Result<Self> {
        let pack_count = be(&bytes[8..12]) as usize;
        let (format_count, base) = (usize::from(bytes[12]), be(&bytes[13..HEADER_LEN]));
        let packs_len = pack_count.checked_mul(PACK_LEN);
        let tables = &bytes[layout.end()..];
        let (packs, rest) = packs_len
            .and_then(|len| tables.split_at_checked(len))
            .ok_or_else(|| malformed(format!("{pack_count} packs don't fit")))?;
        let formats = rest
            .get(..format_count * FORMAT_LEN)
            .ok_or_else(|| malformed(format!("{format_count} formats don't fit")))?;
        let is_inside = |pack: &[u8; PACK_LEN]| {
            let end = (be(&pack[1..]) as usize).checked_add(usize::from(pack[0]));
            end.is_some_and(|end| end <= bytes.len())
        };
        let packs = packs.as_chunks::<PACK_LEN>().0;
        if !packs.iter().all(is_inside) {
            return Err(malformed("the name of a pack lies outside"));
        }
        // Names that overlap could take many times the memory of the index.
        if packs.iter().map(|pack| usize::from(pack[0])).sum::<usize>() > bytes.len() {
            return Err(malformed("the names of packs overlap"));
        }
        let formats = formats.as_chunks::<FORMAT_LEN>().0.iter();
        Ok(Self {
            base_timestamp: base,
            packs_at: layout.end(),
            pack_count,
            names: Names::for_count(pack_count),
            formats: formats.map(|format| Format::parse(*format)).collect(),
        })
    }

    pub(super) fn packs<'a>(&'a self, bytes: &'a [u8]) -> impl Iterator<Item = Arc<str>> + 'a {
        (0..self.pack_count).map(|number| self.pack(bytes, number))
    }

    /// The name of a pack. Blob IDs are ASCII: one that isn't text names no blob, as a number
    /// beyond the table doesn't.
    fn pack(&self, bytes: &[u8], number: usize) -> Arc<str> {
        self.names.get(number as u64, || {
            let at = self.packs_at + number * PACK_LEN;
            let pack = bytes.get(at..at + PACK_LEN).filter(|_| number < self.pack_count);
            pack.map_or(INVALID_PACK, |pack| text(bytes, be(&pack[1..]), pack[0]))
        })
    }

    pub(super) fn decode(&self, id: ContentId, value: &[u8], bytes: &[u8]) -> IndexEntry {
        let optional = |at: usize| value.get(at).map_or(0, |&byte| u32::from(byte));
        let place = be(&value[4..8]);
        let format = self.formats.get(optional(16) as usize).copied().unwrap_or(INVALID_FORMAT);
        let pack = be(&value[14..16]) | optional(17) << 16;
        let high = optional(18);
        IndexEntry {
            id,
            pack: self.pack(bytes, pack as usize),
            offset: place & !DELETED,
            packed_length: be(&value[11..14]) | (high & 0xf) << 24,
            original_length: be(&value[8..11]) | (high >> 4) << 24,
            timestamp: i64::from(be(&value[..4])) + i64::from(self.base_timestamp),
            deleted: place & DELETED != 0,
            format_version: format.version,
            compression: format.compression,
            encryption_key_id: format.key_id,
        }
    }
}

/// Writes the entries that `entries` walks, twice.
pub(super) fn build<E: Borrow<IndexEntry>, I: Iterator<Item = E>>(
    entries: &impl Fn() -> I,
) -> Result<Vec<u8>> {
    let (mut survey, mut formats, mut has_long) = (Survey::default(), Formats::default(), false);
    for entry in entries() {
        let entry = entry.borrow();
        check(entry)?;
        survey.add(entry)?;
        formats.add(entry)?;
        has_long |= entry.packed_length.max(entry.original_length) >= SHORT_LENGTH_END;
    }
    let Survey { count, key_len, names, .. } = survey;
    if count == 0 {
        return Err(invalid("version 2 can't say that there are no entries"));
    }
    let (packs, formats_len) = (names.in_order.len(), formats.in_order.len());
    if packs > PACKS_MAX {
        return Err(invalid(format!("{packs} packs in one index")));
    }
    let value_len = value_len(has_long, formats_len, packs);
    let tables_len = packs * PACK_LEN + formats_len * FORMAT_LEN;
    let names_at = HEADER_LEN + count * (key_len + value_len) + tables_len;
    let mut out = Vec::with_capacity(names_at + names.bytes.len() + super::SUFFIX_LEN);
    out.extend_from_slice(&[super::V2, key_len as u8, 0, value_len as u8]);
    out.extend_from_slice(&(count as u32).to_be_bytes());
    out.extend_from_slice(&(packs as u32).to_be_bytes());
    out.push(formats_len as u8);
    // The base time: Kopia always writes 0.
    out.extend_from_slice(&[0; 4]);
    for entry in entries() {
        let entry = entry.borrow();
        let key_at = out.len();
        out.resize(key_at + key_len, 0);
        entry.id.write_key(&mut out[key_at..]);
        let value = value(entry, names.number(&entry.pack), formats.numbers[&Format::of(entry)]);
        out.extend_from_slice(&value[..value_len]);
    }
    for name in &names.in_order {
        out.push(name.len() as u8);
        out.extend_from_slice(&names.place(name, names_at)?.to_be_bytes());
    }
    for format in formats.in_order {
        out.extend_from_slice(&format.compression.to_be_bytes());
        out.extend_from_slice(&[format.version, format.key_id]);
    }
    out.extend_from_slice(&names.bytes);
    Ok(out)
}

/// The formats in order of first use, and their numbers.
#[derive(Debug, Default)]
struct Formats {
    in_order: Vec<Format>,
    numbers: HashMap<Format, u8>,
}

impl Formats {
    fn add(&mut self, entry: &IndexEntry) -> Result<()> {
        let format = Format::of(entry);
        if self.in_order.last() == Some(&format) || self.numbers.contains_key(&format) {
            return Ok(());
        }
        if self.in_order.len() == FORMATS_MAX {
            return Err(invalid("more than 255 formats in one index"));
        }
        self.numbers.insert(format, self.in_order.len() as u8);
        self.in_order.push(format);
        Ok(())
    }
}

/// The shortest value that holds all the numbers.
fn value_len(has_long: bool, formats: usize, packs: usize) -> usize {
    if has_long {
        VALUE_LEN_MAX
    } else if packs > SHORT_PACKS_MAX {
        VALUE_LEN_PACK
    } else if formats > 1 {
        VALUE_LEN_FORMAT
    } else {
        VALUE_LEN_MIN
    }
}

fn check(entry: &IndexEntry) -> Result<()> {
    let id = entry.id;
    if entry.packed_length >= LENGTH_END || entry.original_length >= LENGTH_END {
        let (packed, original) = (entry.packed_length, entry.original_length);
        return Err(invalid(format!("{id} is too long: {packed} bytes, {original} before")));
    }
    if entry.offset >= OFFSET_END {
        return Err(invalid(format!("{id} lies at {}, too far", entry.offset)));
    }
    if u32::try_from(entry.timestamp).is_err() {
        return Err(invalid(format!("{id} has the time {}", entry.timestamp)));
    }
    Ok(())
}

fn value(entry: &IndexEntry, pack: u32, format: u8) -> [u8; VALUE_LEN_MAX] {
    let mut value = [0; VALUE_LEN_MAX];
    let deleted = if entry.deleted { DELETED } else { 0 };
    let (original, packed) = (entry.original_length, entry.packed_length);
    value[..4].copy_from_slice(&(entry.timestamp as u32).to_be_bytes());
    value[4..8].copy_from_slice(&(entry.offset | deleted).to_be_bytes());
    value[8..11].copy_from_slice(&original.to_be_bytes()[1..]);
    value[11..14].copy_from_slice(&packed.to_be_bytes()[1..]);
    value[14..16].copy_from_slice(&pack.to_be_bytes()[2..]);
    value[16] = format;
    value[17] = (pack >> 16) as u8;
    value[18] = (original >> 24 << 4 | packed >> 24) as u8;
    value
}
