//! Many indexes as one: what is true of each content, in the order of IDs, holding one entry of
//! each index at a time.

use std::{
    cmp::Ordering,
    collections::{BinaryHeap, binary_heap::PeekMut},
    fmt,
};

use super::{Index, IndexEntry};
use crate::{ContentId, Result};

/// What an index says of a content: its entry, and what else its reader knows of that.
pub trait Statement {
    /// The entry.
    fn entry(&self) -> &IndexEntry;

    /// Becomes what is true, now that another index says `other` of the same content.
    fn meet(&mut self, other: Self);
}

impl Statement for IndexEntry {
    fn entry(&self) -> &IndexEntry {
        self
    }

    fn meet(&mut self, other: Self) {
        if other.beats(self) {
            *self = other;
        }
    }
}

/// Walks `sources`, each in the order of IDs, as one. For each content it gives the entry that
/// beats all others, unless that is a deletion not after `watermark` (seconds since 1970).
pub fn merge<I>(sources: impl IntoIterator<Item = I>, watermark: Option<i64>) -> Merge<I::IntoIter>
where
    I: IntoIterator<Item: Statement>,
{
    let heads = sources.into_iter().filter_map(|source| {
        let mut rest = source.into_iter();
        rest.next().map(|first| Head { first, rest })
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
pub struct Merge<I: Iterator> {
    heads: BinaryHeap<Head<I>>,
    watermark: Option<i64>,
}

/// A source and the first of it that is not yet merged.
struct Head<I: Iterator> {
    first: I::Item,
    rest: I,
}

impl<I: Iterator<Item: Statement>> Merge<I> {
    /// The first of all sources.
    fn pop(&mut self) -> Option<I::Item> {
        let mut head = self.heads.peek_mut()?;
        match head.rest.next() {
            Some(next) => Some(std::mem::replace(&mut head.first, next)),
            None => Some(PeekMut::pop(head).first),
        }
    }
}

impl<I: Iterator<Item: Statement>> Iterator for Merge<I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        loop {
            let mut winner = self.pop()?;
            while self.heads.peek().is_some_and(|head| head.id() == winner.entry().id) {
                winner.meet(self.pop()?);
            }
            if !winner.entry().is_dropped_by(self.watermark) {
                return Some(winner);
            }
        }
    }
}

impl<I: Iterator<Item: Statement>> Head<I> {
    fn id(&self) -> ContentId {
        self.first.entry().id
    }
}

impl<I: Iterator> fmt::Debug for Merge<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Merge of {} indexes", self.heads.len())
    }
}

// The heap gives its greatest, so the least ID is the greatest head.
impl<I: Iterator<Item: Statement>> Ord for Head<I> {
    fn cmp(&self, other: &Self) -> Ordering {
        other.id().cmp(&self.id())
    }
}

impl<I: Iterator<Item: Statement>> PartialOrd for Head<I> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<I: Iterator<Item: Statement>> PartialEq for Head<I> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<I: Iterator<Item: Statement>> Eq for Head<I> {}
