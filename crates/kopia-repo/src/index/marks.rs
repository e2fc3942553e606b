//! A bit for each content of an index: which ones something needs.
//!
//! What walks all snapshots meets every content, and a hash set of IDs would take some fifty bytes
//! for each. Here it is one bit for each entry of each index blob, 125 kB a million; a content that
//! several blobs have an entry of has its mark at the one that is right (docs/format/04 §7).

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use kopia_format::{
    ContentId,
    index::{IndexEntry, Statement},
};

use super::lookup::{IndexView, Place};
use crate::Result;

mod kept;

/// Bits of a word.
const WORD: usize = 64;

/// What marking a content found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Marked {
    /// It is marked now and was not before.
    First,
    /// It was marked already.
    Again,
    /// The index has no such content, or its deletion is final. Nothing is marked.
    Missing,
}

/// Which contents of an index are marked. Clones share the marks; any number of threads may set
/// them.
#[derive(Clone)]
pub struct Marks(Arc<Inner>);

struct Inner {
    view: Arc<IndexView>,
    /// As many bits as entries, for each segment of the view.
    bits: Vec<Box<[AtomicU64]>>,
}

impl Marks {
    /// Nothing is marked.
    pub fn new(view: Arc<IndexView>) -> Self {
        let words = |count: usize| (0..count.div_ceil(WORD)).map(|_| AtomicU64::new(0)).collect();
        let bits = view.segments().iter().map(|segment| words(segment.index.len())).collect();
        Self(Arc::new(Inner { view, bits }))
    }

    /// The index whose contents are marked.
    pub fn view(&self) -> &Arc<IndexView> {
        &self.0.view
    }

    /// Marks a content; deleted ones too, as long as they can be read. Of several that mark the
    /// same one at the same time, one alone is told that it is the [first](Marked::First).
    ///
    /// # Errors
    /// As [`IndexView::find`].
    pub fn mark(&self, id: &ContentId) -> Result<Marked> {
        let (mut winner, mut was_set) = (None, false);
        let found = self.0.view.find_places(id, |place| {
            was_set |= self.is_set(place.segment, place.number);
            if place.leads {
                winner = Some(place);
            }
        })?;
        match (found, winner) {
            (Some(_), _) if was_set => Ok(Marked::Again),
            (Some(_), Some(winner)) if self.set(winner) => Ok(Marked::First),
            (Some(_), _) => Ok(Marked::Again),
            (None, _) => Ok(Marked::Missing),
        }
    }

    /// Is a content marked? One that is missing is not.
    ///
    /// # Errors
    /// As [`IndexView::find`].
    pub fn is_marked(&self, id: &ContentId) -> Result<bool> {
        let mut was_set = false;
        let take = |place: Place| was_set |= self.is_set(place.segment, place.number);
        let found = self.0.view.find_places(id, take)?;
        Ok(found.is_some() && was_set)
    }

    /// Marks all that `other` has marked. False, and nothing is marked, if that is of another view.
    pub fn add(&self, other: &Self) -> bool {
        if !Arc::ptr_eq(&self.0.view, &other.0.view) {
            return false;
        }
        let both = self.0.bits.iter().flatten().zip(other.0.bits.iter().flatten());
        both.for_each(|(own, theirs)| {
            own.fetch_or(theirs.load(Relaxed), Relaxed);
        });
        true
    }

    /// How many contents are marked.
    pub fn count(&self) -> u64 {
        let words = self.0.bits.iter().flatten();
        words.map(|word| u64::from(word.load(Relaxed).count_ones())).sum()
    }

    /// All contents in the order of IDs, deleted ones too, and of each whether it is marked. One
    /// entry of each segment is in memory at a time.
    pub fn entries(&self) -> impl Iterator<Item = (IndexEntry, bool)> + '_ {
        let segments = self.0.view.segments().iter().enumerate();
        let sources = segments.map(move |(at, segment)| {
            let entries = segment.index.iter().enumerate();
            entries.map(move |(n, entry)| Told { entry, is_marked: self.is_set(at, n) })
        });
        self.0.view.in_order(sources).map(|told| (told.entry, told.is_marked))
    }

    /// False if it was set.
    fn set(&self, place: Place) -> bool {
        let bit = 1 << (place.number % WORD);
        self.0.bits[place.segment][place.number / WORD].fetch_or(bit, Relaxed) & bit == 0
    }

    fn is_set(&self, segment: usize, number: usize) -> bool {
        self.0.bits[segment][number / WORD].load(Relaxed) & (1 << (number % WORD)) != 0
    }
}

impl fmt::Debug for Marks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Marks({} of {} entries)", self.count(), self.0.view.entry_count())
    }
}

/// An entry, and whether one of its content has a mark.
struct Told {
    entry: IndexEntry,
    is_marked: bool,
}

impl Statement for Told {
    fn entry(&self) -> &IndexEntry {
        &self.entry
    }

    fn meet(&mut self, other: Self) {
        self.entry.meet(other.entry);
        self.is_marked |= other.is_marked;
    }
}

#[cfg(test)]
mod tests;
