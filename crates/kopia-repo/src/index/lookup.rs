//! One content in all segments, or all contents in order.
//!
//! Every segment must be asked: the newest entry is right, then the live one, then the greater
//! pack; a deletion at or before the watermark makes the content not exist, whatever older entries
//! say (docs/format/04 §7).

use std::{
    cmp::Reverse,
    collections::HashMap,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use blob_core::BlobMeta;
use kopia_format::{
    ContentId,
    index::{IdRange, IndexEntry, Statement, merge},
};

use super::{
    damaged::DamagedIndex,
    filter::Filter,
    segments::{Segment, SegmentBytes},
};
use crate::Result;

/// With more segments, the short ones are asked through a filter. Each lets one absent content in
/// 8192 through, so this is for time: a refusal costs some fifty nanoseconds.
const ASKED_MAX: usize = 16;
/// So many, the longest, are asked all the same: what compaction leaves, and nearly all entries.
const UNFILTERED: usize = 12;
/// After so many look-ups that read, the pages that they touched are given back: about three each,
/// and with each the system may map all that it has in one piece, which is 2 MiB.
const READS_HELD: u64 = 64;
/// Segments of fewer bytes keep their pages.
const GIVEN_BACK_MIN: usize = 1 << 20;
/// Segments that have no more together keep all of them: giving back interrupts every core.
const KEPT_TOGETHER_MAX: usize = 16 << 20;
/// After so many entries of a walk, too: some forty megabytes.
const ENTRIES_HELD: usize = 1 << 20;

/// Which entries of an index are wanted.
#[derive(Debug, Clone)]
pub struct EntryFilter {
    /// IDs to look at.
    pub range: IdRange,
    /// What to do with deletions that are not final yet.
    pub deleted: Deleted,
}

impl Default for EntryFilter {
    /// All contents that are not deleted.
    fn default() -> Self {
        Self { range: IdRange::all(), deleted: Deleted::Exclude }
    }
}

/// Whether deleted contents are wanted, as long as they can still be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Deleted {
    /// Leave them out.
    #[default]
    Exclude,
    /// Give them with the others.
    Include,
    /// Give them alone.
    Only,
}

impl EntryFilter {
    /// All contents, deleted ones too.
    pub fn with_deleted() -> Self {
        Self { deleted: Deleted::Include, ..Self::default() }
    }

    /// Contents of one prefix that are not deleted.
    pub fn prefix(prefix: u8) -> Self {
        let range = IdRange::starting_with(&char::from(prefix).to_string());
        Self { range, ..Self::default() }
    }

    fn takes(&self, entry: &IndexEntry) -> bool {
        match self.deleted {
            Deleted::Exclude => !entry.deleted,
            Deleted::Include => true,
            Deleted::Only => entry.deleted,
        }
    }
}

/// All active index blobs of one moment, seen as one index.
///
/// Segments are asked by their [outlines](kopia_format::index::Outline), which deny nearly all
/// contents that are not there without a look at the index itself.
#[derive(Debug, Default)]
pub struct IndexView {
    /// The longest first, and behind them those that were added.
    segments: Vec<Arc<Segment>>,
    /// Says what the segments of a range don't hold.
    filter: Option<(Range<usize>, Arc<Filter>)>,
    watermark: Option<i64>,
    generation: u64,
    /// Index blobs that can't be read, in the order of IDs.
    pub(super) damaged: Vec<DamagedIndex>,
    /// Look-ups that read bytes of an index.
    reads: AtomicU64,
}

/// Where an entry lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// The number of the segment.
    pub segment: usize,
    /// The number of the entry in it.
    pub number: usize,
    /// Does it beat those that were found before?
    pub leads: bool,
}

impl IndexView {
    /// A view of `segments`, all of them as loaded. Takes a while where there are many.
    pub(crate) fn new(
        mut segments: Vec<Arc<Segment>>,
        watermark: Option<i64>,
        generation: u64,
    ) -> Self {
        segments.sort_by_key(|segment| Reverse(segment.index.len()));
        let filter = (segments.len() > ASKED_MAX).then(|| {
            let filtered = UNFILTERED..segments.len();
            let count = segments[filtered.clone()].iter().map(|segment| segment.index.len()).sum();
            let mut filter = Filter::for_count(count);
            for segment in &segments[filtered.clone()] {
                let ids = (0..segment.index.len()).filter_map(|n| segment.index.id(n));
                ids.for_each(|id| filter.add(&id));
                segment.index.bytes().give_back();
            }
            (filtered, Arc::new(filter))
        });
        let (damaged, reads) = (Vec::new(), AtomicU64::new(0));
        Self { segments, filter, watermark, generation, damaged, reads }
    }

    /// The same, of an index of which these blobs can't be read.
    pub(crate) fn without(self, damaged: Vec<DamagedIndex>) -> Self {
        Self { damaged, ..self }
    }

    /// This view and `more` segments, which were just written.
    pub(crate) fn with(&self, more: Vec<Arc<Segment>>) -> Self {
        Self {
            segments: self.segments.iter().cloned().chain(more).collect(),
            filter: self.filter.clone(),
            watermark: self.watermark,
            generation: self.generation + 1,
            damaged: self.damaged.clone(),
            reads: AtomicU64::new(0),
        }
    }

    /// The entry of a content; deleted ones are found as long as they can be read.
    ///
    /// # Errors
    /// None today; a segment that is read lazily may find damage here.
    pub fn find(&self, id: &ContentId) -> Result<Option<IndexEntry>> {
        self.find_places(id, |_| {})
    }

    /// The same, and each place of an entry of the content is told to `take`: that of the entry
    /// that is right is the last of which [`Place::leads`] is true.
    pub(super) fn find_places(
        &self,
        id: &ContentId,
        mut take: impl FnMut(Place),
    ) -> Result<Option<IndexEntry>> {
        let filtered = match &self.filter {
            Some((range, filter)) if !filter.may_hold(id) => range.clone(),
            _ => 0..0,
        };
        let (mut winner, mut has_read) = (None::<IndexEntry>, false);
        for at in (0..filtered.start).chain(filtered.end..self.segments.len()) {
            let index = &self.segments[at].index;
            // An ID of another length than the repository's hashes can't be in any segment.
            if index.key_len() != Some(id.key_len()) {
                continue;
            }
            let candidates = index.candidates(id)?;
            if candidates.is_empty() {
                continue;
            }
            has_read = true;
            let Some(number) = index.number_among(candidates, id) else { continue };
            let Some(entry) = index.entry(number) else { continue };
            let leads = winner.as_ref().is_none_or(|winner| entry.beats(winner));
            take(Place { segment: at, number, leads });
            if leads {
                winner = Some(entry);
            }
        }
        if has_read && self.reads.fetch_add(1, Relaxed) % READS_HELD == READS_HELD - 1 {
            self.give_back();
        }
        Ok(winner.filter(|entry| !entry.is_dropped_by(self.watermark)))
    }

    /// How many look-ups read bytes of an index: all of contents that are there, and of others one
    /// in thousands.
    pub fn lookups_that_read(&self) -> u64 {
        self.reads.load(Relaxed)
    }

    /// Gives back the pages that look-ups have touched.
    fn give_back(&self) {
        let bytes = || self.segments.iter().map(|segment| segment.index.bytes());
        let together: usize = bytes().map(|bytes| bytes.as_ref().len()).sum();
        if together <= KEPT_TOGETHER_MAX {
            return;
        }
        bytes().filter(|it| it.as_ref().len() >= GIVEN_BACK_MIN).for_each(SegmentBytes::give_back);
    }

    /// The entries that `filter` takes, in the order of IDs. One entry of each segment is in memory
    /// at a time.
    pub fn iter<'a>(&'a self, filter: &'a EntryFilter) -> impl Iterator<Item = IndexEntry> + 'a {
        let sources = self.segments.iter().map(|segment| segment.index.range(&filter.range));
        self.in_order(sources).filter(|entry| filter.takes(entry))
    }

    /// What `sources`, one for each segment, say together, in the order of IDs.
    pub(super) fn in_order<'a, I>(
        &'a self,
        sources: impl Iterator<Item = I>,
    ) -> impl Iterator<Item = I::Item> + 'a
    where
        I: Iterator<Item: Statement> + 'a,
    {
        let walk = InOrder::begin(self);
        merge(sources, self.watermark).enumerate().map(move |(n, said)| {
            if n % ENTRIES_HELD == ENTRIES_HELD - 1 {
                walk.0.give_back();
            }
            said
        })
    }

    /// The segments, in the order that [`Place::segment`] counts.
    pub(super) fn segments(&self) -> &[Arc<Segment>] {
        &self.segments
    }

    /// Every pack that any entry of any segment names, deletions and superseded entries included.
    pub fn packs(&self) -> std::collections::HashSet<Arc<str>> {
        self.segments.iter().flat_map(|segment| segment.index.packs()).collect()
    }

    /// The index blobs, less those that are passed over.
    pub fn blobs(&self) -> impl Iterator<Item = &BlobMeta> {
        self.segments.iter().map(|segment| &segment.meta)
    }

    /// How many entries all index blobs have together; a content may have several.
    pub fn entry_count(&self) -> usize {
        self.segments.iter().map(|segment| segment.index.len()).sum()
    }

    /// Deletions at or before this time (Unix seconds) are final.
    pub fn watermark(&self) -> Option<i64> {
        self.watermark
    }

    /// Changes whenever the set of blobs or the watermark does.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// The segments by name, to be used again.
    pub(crate) fn by_name(&self) -> HashMap<&str, &Arc<Segment>> {
        self.segments.iter().map(|segment| (segment.meta.id.as_str(), segment)).collect()
    }
}

/// A walk over the segments in order: while it lasts, the system reads ahead.
struct InOrder<'a>(&'a IndexView);

impl<'a> InOrder<'a> {
    fn begin(view: &'a IndexView) -> Self {
        view.segments.iter().for_each(|segment| segment.index.bytes().expect_order(true));
        Self(view)
    }
}

impl Drop for InOrder<'_> {
    fn drop(&mut self) {
        self.0.segments.iter().for_each(|segment| segment.index.bytes().expect_order(false));
        self.0.give_back();
    }
}
