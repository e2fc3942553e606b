//! What has to be read to get some contents: packs, and merged ranges of them.
//!
//! A plan is made from the index and, where blobs can be cold, one listing; nothing is fetched for
//! it. So before the first byte is read it is known which packs must be thawed. Contents that lie
//! near each other in a pack are fetched with one request: a gap costs less than a request up to
//! [`GAP_BYTES_MAX`], as long as gaps don't waste more than a tenth of what a pack's reads take.
//! Each needed byte is fetched once. Of a metadata pack that is kept on this machine gaps cost next to
//! nothing: contents that are anywhere near each other are read together.

use std::{collections::HashMap, sync::Arc};

use blob_core::{BlobMeta, ReadState, look_up};
use kopia_format::{ContentId, index::IndexEntry};
use serde::{Deserialize, Serialize};

use crate::{Repository, Result};

/// Two contents with no more between them are fetched together.
pub const GAP_BYTES_MAX: u64 = 256 << 10;
/// The same, in a pack that is kept on this machine: what a read more costs would copy so many bytes.
const GAP_BYTES_MAX_KEPT: u64 = 64 << 10;
/// Of what is fetched from a pack, at most one part in so many lies in gaps.
const WASTE_PART: u64 = 10;
/// No range is longer, so that ranges can be fetched in bounded memory. A pack of the default size
/// (20 MiB, and up to one content more) is one range.
pub const RANGE_BYTES_MAX: u64 = 32 << 20;
/// What is longer is cut into ranges of about this length, of which two fit into the memory.
const LONG_RANGE_BYTES: u64 = 20 << 20;

/// Whether a pack can be read now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PackState {
    /// Yes.
    Ready,
    /// No: it must be thawed.
    Cold,
    /// Not yet: a thaw is under way.
    Thawing,
    /// There is no such blob.
    Missing,
    /// Nobody asked: this storage has no cold blobs.
    Unknown,
}

/// One content in a range.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedContent {
    /// The content.
    pub id: ContentId,
    /// Where it begins in the pack.
    pub offset: u32,
    /// Its length in the pack.
    pub packed_length: u32,
    /// Its length.
    pub original_length: u32,
    /// Its compressor's header ID; 0 = none.
    pub compression: u32,
    /// Which key it is sealed with.
    pub encryption_key_id: u8,
}

/// Bytes of a pack that one request fetches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RangeRead {
    /// The first byte.
    pub offset: u64,
    /// How many.
    pub length: u64,
    /// What is wanted of them, by offset.
    pub contents: Vec<PlannedContent>,
}

/// All reads of one pack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackReads {
    /// The pack.
    pub pack: String,
    /// Its length, if it was listed.
    pub size: Option<u64>,
    /// Its storage class, if it was listed and the storage has classes.
    pub class: Option<String>,
    /// Whether it can be read.
    pub state: PackState,
    /// When the copy goes away that makes it readable, in seconds since 1970, if one does and the
    /// storage tells.
    pub until_secs: Option<i64>,
    /// What to fetch, by offset.
    pub ranges: Vec<RangeRead>,
}

/// What has to be read to get some contents.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadPlan {
    /// The packs, in the order in which something of them was asked for first.
    pub packs: Vec<PackReads>,
    /// Contents that no index knows.
    pub missing: Vec<ContentId>,
}

impl PackReads {
    /// Bytes that will be fetched.
    pub fn bytes(&self) -> u64 {
        self.ranges.iter().map(|range| range.length).sum()
    }

    /// Must it be thawed first, or is it being thawed?
    pub fn is_cold(&self) -> bool {
        matches!(self.state, PackState::Cold | PackState::Thawing)
    }
}

impl ReadPlan {
    /// A plan for these entries, without any knowledge of the packs. An entry given twice is read
    /// once.
    pub fn of_entries(entries: impl IntoIterator<Item = IndexEntry>) -> Self {
        Self::of_entries_within(entries, LONG_RANGE_BYTES, false)
    }

    /// The same, in ranges that are cut to about `long` bytes where they would be longer than
    /// [`RANGE_BYTES_MAX`] or twice as long.
    fn of_entries_within(
        entries: impl IntoIterator<Item = IndexEntry>,
        long: u64,
        keeps_metadata: bool,
    ) -> Self {
        let mut numbers: HashMap<Arc<str>, usize> = HashMap::new();
        let mut packs: Vec<(String, Vec<PlannedContent>)> = Vec::new();
        for entry in entries {
            let number = numbers.get(&entry.pack).copied().unwrap_or_else(|| {
                packs.push((entry.pack.to_string(), Vec::new()));
                numbers.insert(entry.pack.clone(), packs.len() - 1);
                packs.len() - 1
            });
            packs[number].1.push(PlannedContent {
                id: entry.id,
                offset: entry.offset,
                packed_length: entry.packed_length,
                original_length: entry.original_length,
                compression: entry.compression,
                encryption_key_id: entry.encryption_key_id,
            });
        }
        let packs = packs.into_iter().map(|(pack, mut contents)| {
            contents.sort_unstable_by_key(|content| (content.offset, content.id));
            contents.dedup_by_key(|content| (content.offset, content.id));
            let ranges = merged(contents, long, keeps_metadata && pack.starts_with('q'));
            PackReads {
                pack,
                size: None,
                class: None,
                state: PackState::Unknown,
                until_secs: None,
                ranges,
            }
        });
        Self { packs: packs.collect(), missing: Vec::new() }
    }

    /// The packs that can't be read now.
    pub fn cold(&self) -> impl Iterator<Item = &PackReads> {
        self.packs.iter().filter(|pack| pack.is_cold())
    }

    /// Is there a pack that can't be read now?
    pub fn is_cold(&self) -> bool {
        self.cold().next().is_some()
    }

    /// Bytes that will be fetched.
    pub fn bytes(&self) -> u64 {
        self.packs.iter().map(PackReads::bytes).sum()
    }

    /// Requests that will be made.
    pub fn requests(&self) -> u64 {
        self.packs.iter().map(|pack| pack.ranges.len() as u64).sum()
    }

    /// Contents that will be read.
    pub fn content_count(&self) -> usize {
        let ranges = self.packs.iter().flat_map(|pack| &pack.ranges);
        ranges.map(|range| range.contents.len()).sum()
    }

    fn settle(&mut self, listed: &HashMap<String, BlobMeta>) {
        for pack in &mut self.packs {
            let Some(meta) = listed.get(&pack.pack) else {
                pack.state = PackState::Missing;
                continue;
            };
            pack.size = Some(meta.size);
            pack.class = meta.class.as_ref().map(|class| class.as_str().to_owned());
            pack.state = match (meta.is_cold(), meta.state) {
                (true, Some(ReadState::Thawing)) => PackState::Thawing,
                (true, _) => PackState::Cold,
                (false, _) => PackState::Ready,
            };
            pack.until_secs = match meta.state {
                Some(ReadState::Thawed { until }) => until.map(|until| until.secs()),
                _ => None,
            };
        }
    }
}

/// Ranges over contents of one pack that come in the order of their offsets.
fn merged(contents: Vec<PlannedContent>, long: u64, is_kept: bool) -> Vec<RangeRead> {
    let wanted: u64 = contents.iter().map(|content| u64::from(content.packed_length)).sum();
    let mut waste_left = wanted / WASTE_PART;
    let mut ranges: Vec<RangeRead> = Vec::new();
    for content in contents {
        let (from, length) = (u64::from(content.offset), u64::from(content.packed_length));
        let to = from + length;
        if let Some(range) = ranges.last_mut() {
            let end = range.offset + range.length;
            let gap = from.saturating_sub(end);
            let gap_max = if is_kept { GAP_BYTES_MAX_KEPT } else { GAP_BYTES_MAX.min(waste_left) };
            if gap <= gap_max {
                waste_left = waste_left.saturating_sub(gap);
                range.length = to.max(end) - range.offset;
                range.contents.push(content);
                continue;
            }
        }
        ranges.push(RangeRead { offset: from, length, contents: vec![content] });
    }
    let most = RANGE_BYTES_MAX.min(long * 2);
    if ranges.iter().all(|range| range.length <= most) {
        return ranges;
    }
    ranges.into_iter().flat_map(|range| cut(range, most, long)).collect()
}

/// A range, or parts of it of about equal length if it is longer than `most`. Each is as long as
/// its last content makes it.
fn cut(range: RangeRead, most: u64, long: u64) -> Vec<RangeRead> {
    if range.length <= most {
        return vec![range];
    }
    let part = range.length.div_ceil(range.length.div_ceil(long));
    let mut parts: Vec<RangeRead> = Vec::new();
    for content in range.contents {
        let (from, length) = (u64::from(content.offset), u64::from(content.packed_length));
        let to = from + length;
        match parts.last_mut() {
            Some(last) if last.length < part && to - last.offset <= most => {
                last.length = last.length.max(to - last.offset);
                last.contents.push(content);
            }
            _ => parts.push(RangeRead { offset: from, length, contents: vec![content] }),
        }
    }
    parts
}

impl Repository {
    /// What has to be read to get `contents`. Reads the index and, where blobs can be cold, lists
    /// packs; fetches nothing.
    ///
    /// # Errors
    /// What reading the index and listing may give.
    pub async fn read_plan(
        &self,
        contents: impl IntoIterator<Item = ContentId>,
    ) -> Result<ReadPlan> {
        let view = self.index().await?;
        let (mut entries, mut missing) = (Vec::new(), Vec::new());
        for id in contents {
            match view.find(&id)? {
                Some(entry) => entries.push(entry),
                None => missing.push(id),
            }
        }
        let mut plan = self.plan_entries(entries);
        plan.missing = missing;
        if self.storage().archive().is_some() {
            self.settle_plan(&mut plan).await?;
        }
        Ok(plan)
    }

    /// A plan for these entries, in ranges that fit into this repository's memory, without any
    /// knowledge of the packs. An entry given twice is read once.
    pub fn plan_entries(&self, entries: impl IntoIterator<Item = IndexEntry>) -> ReadPlan {
        let long = LONG_RANGE_BYTES.min(self.shared().fetching.range_bytes());
        ReadPlan::of_entries_within(entries, long, self.shared().keeps_metadata())
    }

    /// Asks the storage for the state of every pack of `plan`, by listings ([`look_up()`]).
    ///
    /// # Errors
    /// What listing may give.
    pub async fn settle_plan(&self, plan: &mut ReadPlan) -> Result<()> {
        let names = plan.packs.iter().map(|pack| pack.pack.as_str());
        let listed = look_up(self.storage(), names, self.shared().requests_max()).await?;
        plan.settle(&listed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(pack: &str, number: u8, offset: u32, packed_length: u32) -> IndexEntry {
        IndexEntry {
            id: ContentId::new(None, &[number; 16]).unwrap(),
            pack: Arc::from(pack),
            offset,
            packed_length,
            original_length: packed_length - 28,
            timestamp: 0,
            deleted: false,
            format_version: 3,
            compression: 0,
            encryption_key_id: 0,
        }
    }

    fn shape(plan: &ReadPlan) -> Vec<Vec<(u64, u64, usize)>> {
        let ranges = |p: &PackReads| {
            p.ranges.iter().map(|r| (r.offset, r.length, r.contents.len())).collect()
        };
        plan.packs.iter().map(ranges).collect()
    }

    #[test]
    fn neighbours_are_fetched_together_and_far_ones_apart() {
        let plan = ReadPlan::of_entries([
            entry("p1", 2, 1_000_032, 100_000),
            entry("p1", 1, 32, 1_000_000),
            entry("p1", 3, 3_000_000, 50_000),
            entry("p0", 4, 32, 100),
        ]);
        assert_eq!(
            shape(&plan),
            [vec![(32, 1_100_000, 2), (3_000_000, 50_000, 1)], vec![(32, 100, 1)]]
        );
        assert_eq!((plan.bytes(), plan.requests(), plan.content_count()), (1_150_100, 3, 4));
    }

    #[test]
    fn gaps_waste_a_tenth_at_most() {
        let every_other = (0..100).map(|n| entry("p1", n, 32 + u32::from(n) * 2_000, 1_000));
        let plan = ReadPlan::of_entries(every_other);
        assert!(plan.bytes() <= 110_000, "{} bytes for 100000", plan.bytes());
        assert!(plan.requests() < 100, "{} requests", plan.requests());
    }

    #[test]
    fn in_a_metadata_pack_that_is_kept_a_gap_costs_nothing() {
        let far = (0..100).map(|n| (n, 32 + u32::from(n) * 50_000));
        for (pack, is_kept, reads) in [("q1", true, 1), ("q1", false, 100), ("p1", true, 100)] {
            let entries = far.clone().map(|(n, offset)| entry(pack, n, offset, 1_000));
            let plan = ReadPlan::of_entries_within(entries, LONG_RANGE_BYTES, is_kept);
            assert_eq!((plan.requests(), plan.content_count()), (reads, 100), "{pack} {is_kept}");
        }
        let too_far = [entry("q1", 1, 32, 1_000), entry("q1", 2, 100_000, 1_000)];
        let plan = ReadPlan::of_entries_within(too_far, LONG_RANGE_BYTES, true);
        assert_eq!(plan.requests(), 2);
    }

    #[test]
    fn a_content_wanted_twice_is_read_once() {
        let plan = ReadPlan::of_entries([entry("p1", 1, 32, 500), entry("p1", 1, 32, 500)]);
        assert_eq!(shape(&plan), [[(32, 500, 1)]]);
    }

    #[test]
    fn a_default_pack_is_one_range_and_a_long_one_is_cut_evenly() {
        let pack = |contents: u8| {
            (0..contents).map(|n| entry("p1", n, 32 + u32::from(n) * 4_000_000, 4_000_000))
        };
        let lengths = |contents| -> Vec<u64> {
            let plan = ReadPlan::of_entries(pack(contents));
            plan.packs[0].ranges.iter().map(|range| range.length).collect()
        };
        assert_eq!(lengths(6), [24_000_000]);
        assert_eq!(lengths(30), [20_000_000; 6]);
        let big = (0..10).map(|n| entry("p1", n, 32 + u32::from(n) * 16_000_000, 16_000_000));
        let plan = ReadPlan::of_entries(big);
        assert!(plan.packs[0].ranges.iter().all(|range| range.length <= RANGE_BYTES_MAX));
        assert_eq!(plan.bytes(), 160_000_000);
    }
}
