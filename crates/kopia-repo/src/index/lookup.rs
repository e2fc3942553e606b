//! One content in all segments, or all contents in order.
//!
//! Every segment must be asked: the newest entry is right, then the live one, then the greater
//! pack; a deletion at or before the watermark makes the content not exist, whatever older entries
//! say (docs/format/04 §7).

use std::{collections::HashMap, sync::Arc};

use blob_core::BlobMeta;
use kopia_format::{
    ContentId,
    index::{IdRange, IndexEntry, find_in, merge},
};

use super::{filter::Filter, segments::Segment};
use crate::Result;

/// With fewer segments, asking each is as cheap as asking a filter.
const FILTERED_MIN: usize = 4;

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
#[derive(Debug, Default)]
pub struct IndexView {
    segments: Vec<Arc<Segment>>,
    /// Says what the first so many segments don't hold.
    filter: Option<(usize, Arc<Filter>)>,
    watermark: Option<i64>,
    generation: u64,
}

impl IndexView {
    /// A view of `segments`, all of them as loaded. Takes a while where there are many.
    pub(crate) fn new(
        segments: Vec<Arc<Segment>>,
        watermark: Option<i64>,
        generation: u64,
    ) -> Self {
        let filter = (segments.len() >= FILTERED_MIN).then(|| {
            let count = segments.iter().map(|segment| segment.index.len()).sum();
            let mut filter = Filter::for_count(count);
            for segment in &segments {
                let ids = (0..segment.index.len()).filter_map(|n| segment.index.id(n));
                ids.for_each(|id| filter.add(&id));
            }
            (segments.len(), Arc::new(filter))
        });
        Self { segments, filter, watermark, generation }
    }

    /// This view and `more` segments, which were just written.
    pub(crate) fn with(&self, more: Vec<Arc<Segment>>) -> Self {
        Self {
            segments: self.segments.iter().cloned().chain(more).collect(),
            filter: self.filter.clone(),
            watermark: self.watermark,
            generation: self.generation + 1,
        }
    }

    /// The entry of a content; deleted ones are found as long as they can be read.
    ///
    /// # Errors
    /// None today; a segment that is read lazily may find damage here.
    pub fn find(&self, id: &ContentId) -> Result<Option<IndexEntry>> {
        let from = match &self.filter {
            Some((count, filter)) if !filter.may_hold(id) => *count,
            _ => 0,
        };
        // An ID of another length than the repository's hashes can't be in any segment.
        let fits = |segment: &&Arc<Segment>| {
            segment.index.id(0).is_some_and(|first| first.key_len() == id.key_len())
        };
        let segments = self.segments[from..].iter().filter(fits).map(|segment| &segment.index);
        Ok(find_in(segments, id, self.watermark)?)
    }

    /// The entries that `filter` takes, in the order of IDs. One entry of each segment is in memory
    /// at a time.
    pub fn iter<'a>(&'a self, filter: &'a EntryFilter) -> impl Iterator<Item = IndexEntry> + 'a {
        let sources = self.segments.iter().map(|segment| segment.index.range(&filter.range));
        merge(sources, self.watermark).filter(|entry| filter.takes(entry))
    }

    /// Every pack that any entry of any segment names, deletions and superseded entries included.
    pub fn packs(&self) -> std::collections::HashSet<Arc<str>> {
        self.segments.iter().flat_map(|segment| segment.index.packs()).collect()
    }

    /// The index blobs.
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
