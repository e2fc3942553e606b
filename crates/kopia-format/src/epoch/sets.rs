//! Blobs that count only together, and ranges that count only in a row.

use std::collections::{BTreeMap, HashMap};

/// Finds the complete sets in `blobs`, in the order in which they become complete.
///
/// A name `…-s<set>-c<count>…` says that the blob belongs to a set of so many. Any other name is a
/// set by itself. Once a set is complete, further blobs of its name don't count.
pub fn complete_sets<T: AsRef<str>>(blobs: &[T]) -> Vec<Vec<&T>> {
    let mut sets: HashMap<&str, Vec<&T>> = HashMap::new();
    let mut complete = Vec::new();
    for blob in blobs {
        let Some((set, count)) = set_and_count(blob.as_ref()) else {
            complete.push(vec![blob]);
            continue;
        };
        let members = sets.entry(set).or_default();
        members.push(blob);
        if i64::try_from(members.len()) == Ok(count) {
            complete.push(members.clone());
        }
    }
    complete
}

/// The complete set that is complete first: where several clients compacted the same epoch, all
/// readers agree on one.
pub fn first_complete_set<T: AsRef<str>>(blobs: &[T]) -> Option<Vec<&T>> {
    complete_sets(blobs).into_iter().next()
}

fn set_and_count(id: &str) -> Option<(&str, i64)> {
    let mut parts = id.split('-').skip(1);
    let (set, count) = (parts.next()?, parts.next()?);
    let count = count.strip_prefix('c')?.parse().ok()?;
    set.starts_with('s').then_some((set, count))
}

/// The chain of ranges `(min, max)` that begins with epoch 0, has no gap and reaches furthest; of
/// several the one with the fewest pieces. A chain that doesn't reach beyond epoch 0 is none.
pub fn longest_chain(ranges: &[(u64, u64)]) -> Vec<(u64, u64)> {
    // From the last beginning to the first, so that what may follow a range is known before the
    // range is looked at.
    let mut sorted = ranges.to_vec();
    sorted.sort_by_key(|&(min, max)| (std::cmp::Reverse(min), max));
    let mut best: BTreeMap<u64, Chain> = BTreeMap::new();
    for (min, max) in sorted.into_iter().filter(|(min, max)| min <= max) {
        let rest = max.checked_add(1).and_then(|next| best.get(&next));
        let chain = Chain {
            max,
            end: rest.map_or(max, |rest| rest.end),
            pieces: 1 + rest.map_or(0, |rest| rest.pieces),
        };
        let is_better = best.get(&min).is_none_or(|old| {
            chain.end > old.end || (chain.end == old.end && chain.pieces < old.pieces)
        });
        if is_better && chain.end > 0 {
            best.insert(min, chain);
        }
    }
    let mut found = Vec::new();
    let mut min = 0;
    while let Some(chain) = best.get(&min) {
        found.push((min, chain.max));
        let Some(next) = chain.max.checked_add(1) else { break };
        min = next;
    }
    found
}

/// The best chain from some epoch on: its first piece ends with `max`.
struct Chain {
    max: u64,
    end: u64,
    pieces: usize,
}
