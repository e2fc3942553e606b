//! Many indexes as one: what is true of each content, in the order of IDs, holding one entry of
//! each index at a time.

use std::{
    cmp::Ordering,
    collections::{BinaryHeap, binary_heap::PeekMut},
};

use super::{Index, IndexEntry};
use crate::{ContentId, Result};

/// Walks `sources`, each in the order of IDs, as one. For each content it gives the entry that
/// beats all others, unless that is a deletion not after `watermark` (seconds since 1970).
pub fn merge<I>(sources: impl IntoIterator<Item = I>, watermark: Option<i64>) -> Merge<I::IntoIter>
where
    I: IntoIterator<Item = IndexEntry>,
{
    let heads = sources.into_iter().filter_map(|source| {
        let mut rest = source.into_iter();
        rest.next().map(|entry| Head { entry, rest })
    });
    Merge { heads: heads.collect(), watermark }
}

/// The entry of `id` in all of `indexes`, by the same rules as [`merge`].
///
/// # Errors
/// As [`Index::find`].
pub fn find_in<'a, B: AsRef<[u8]> + 'a>(
    indexes: impl IntoIterator<Item = &'a Index<B>>,
    id: &ContentId,
    watermark: Option<i64>,
) -> Result<Option<IndexEntry>> {
    let mut winner: Option<IndexEntry> = None;
    for index in indexes {
        if let Some(entry) = index.find(id)?
            && winner.as_ref().is_none_or(|winner| entry.beats(winner))
        {
            winner = Some(entry);
        }
    }
    Ok(winner.filter(|entry| !entry.is_dropped_by(watermark)))
}

/// See [`merge`].
#[derive(Debug)]
pub struct Merge<I> {
    heads: BinaryHeap<Head<I>>,
    watermark: Option<i64>,
}

/// A source and the first entry not yet merged.
#[derive(Debug)]
struct Head<I> {
    entry: IndexEntry,
    rest: I,
}

impl<I: Iterator<Item = IndexEntry>> Merge<I> {
    /// The first entry of all sources.
    fn pop(&mut self) -> Option<IndexEntry> {
        let mut first = self.heads.peek_mut()?;
        match first.rest.next() {
            Some(next) => Some(std::mem::replace(&mut first.entry, next)),
            None => Some(PeekMut::pop(first).entry),
        }
    }
}

impl<I: Iterator<Item = IndexEntry>> Iterator for Merge<I> {
    type Item = IndexEntry;

    fn next(&mut self) -> Option<IndexEntry> {
        loop {
            let mut winner = self.pop()?;
            while self.heads.peek().is_some_and(|head| head.entry.id == winner.id) {
                let other = self.pop()?;
                if other.beats(&winner) {
                    winner = other;
                }
            }
            if !winner.is_dropped_by(self.watermark) {
                return Some(winner);
            }
        }
    }
}

// The heap gives its greatest, so the least ID is the greatest head.
impl<I> Ord for Head<I> {
    fn cmp(&self, other: &Self) -> Ordering {
        other.entry.id.cmp(&self.entry.id)
    }
}

impl<I> PartialOrd for Head<I> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<I> PartialEq for Head<I> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<I> Eq for Head<I> {}
