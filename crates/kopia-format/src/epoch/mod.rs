//! Which index blobs are the index, where the repository has epochs.
//!
//! Time is cut into numbered epochs of a day or more. Writers add `xn` blobs to the current one;
//! once nobody can write to an epoch any more, it is *settled* and may be compacted into one `xs`
//! set, later many into one `xr` range. No blob ever refers to another: the names say everything,
//! and this module decides by names alone.
//!
//! A client lists `xe`, `xw`, `xs` and `xr` ([`EpochSnapshot::new`]), then `xn` of the epochs that
//! can still change ([`unsettled_epochs`](EpochSnapshot::unsettled_epochs)) and of those that were
//! never compacted ([`missing_epochs`](EpochSnapshot::missing_epochs)); then
//! [`complete_index_set`](EpochSnapshot::complete_index_set) is what to read. Whoever lists must do
//! so in the order given and within the refresh interval of the repository, or start over. Format:
//! docs/format/04-index-epochs.md §6.

mod names;
mod sets;
mod upkeep;

use std::{collections::BTreeMap, ops::RangeInclusive};

pub use names::{
    IndexBlobName, MARKER_BODY, PREFIX_MARKER, PREFIX_RANGE, PREFIX_SINGLE, PREFIX_UNCOMPACTED,
    PREFIX_WATERMARK, WATERMARK_BODY, compaction_suffix, marker_name, range_prefix, set_suffix,
    single_prefix, uncompacted_prefix, watermark_name,
};
pub use sets::{complete_sets, first_complete_set, longest_chain};

use crate::{FormatError, Result, index::IndexBlob};

/// The number of the first epoch.
pub const FIRST_EPOCH: u64 = 0;

/// How many epochs up to the current one may still be written to: clients look at the current
/// epoch's number every 20 minutes, and an epoch lasts a day, so no client is further behind than
/// one.
pub const UNSETTLED_EPOCHS: u64 = 2;

/// How many epochs are listed one by one at most. Repositories of many years have some thousands.
const EPOCHS_LISTED_MAX: u64 = 100_000;

/// What the lists of all but the `xn` blobs hold. The order within each is that of the storage: by
/// ID.
#[derive(Debug, Clone, Default)]
pub struct EpochLists {
    /// Blobs that begin with [`PREFIX_MARKER`].
    pub markers: Vec<IndexBlob>,
    /// Blobs that begin with [`PREFIX_WATERMARK`].
    pub watermarks: Vec<IndexBlob>,
    /// Blobs that begin with [`PREFIX_SINGLE`].
    pub singles: Vec<IndexBlob>,
    /// Blobs that begin with [`PREFIX_RANGE`].
    pub ranges: Vec<IndexBlob>,
}

/// A complete compaction of the epochs from `min` to `max`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeCheckpoint {
    /// The first epoch in it.
    pub min: u64,
    /// The last epoch in it.
    pub max: u64,
    /// Its blobs.
    pub blobs: Vec<IndexBlob>,
}

/// The state of the epochs as some lists showed it.
#[derive(Debug, Clone, Default)]
pub struct EpochSnapshot {
    write_epoch: u64,
    watermark: Option<i64>,
    singles: BTreeMap<u64, Vec<IndexBlob>>,
    chain: Vec<RangeCheckpoint>,
    uncompacted: BTreeMap<u64, Vec<IndexBlob>>,
    /// Whether `uncompacted` holds all epochs, those without blobs not being in it.
    all_uncompacted: bool,
    markers: Vec<IndexBlob>,
    watermarks: Vec<IndexBlob>,
}

impl EpochSnapshot {
    /// Decides by names what `lists` say. Names that don't parse are ignored, as are sets that are
    /// not complete.
    pub fn new(lists: EpochLists) -> Self {
        let numbers = lists.markers.iter().filter_map(|blob| names::epoch_number(&blob.id));
        let seconds = lists.watermarks.iter().filter_map(|blob| names::watermark(&blob.id));
        Self {
            write_epoch: numbers.max().unwrap_or(FIRST_EPOCH),
            watermark: seconds.max(),
            singles: complete_singles(lists.singles),
            chain: chain(lists.ranges),
            markers: lists.markers,
            watermarks: lists.watermarks,
            ..Self::default()
        }
    }

    /// The epoch that writers write to.
    pub fn write_epoch(&self) -> u64 {
        self.write_epoch
    }

    /// The deletion watermark in seconds since 1970: contents deleted until then don't exist.
    pub fn watermark(&self) -> Option<i64> {
        self.watermark
    }

    /// When `epoch` began, by the storage's clock; `None` if no marker says so, as of the first.
    pub fn epoch_start(&self, epoch: u64) -> Option<crate::time::GoTime> {
        let of_epoch = |blob: &&IndexBlob| names::epoch_number(&blob.id) == Some(epoch);
        self.markers.iter().find(of_epoch).map(|blob| blob.timestamp)
    }

    /// The range compactions in use: from epoch 0, without a gap.
    pub fn chain(&self) -> &[RangeCheckpoint] {
        &self.chain
    }

    /// The complete compactions of single epochs.
    pub fn singles(&self) -> &BTreeMap<u64, Vec<IndexBlob>> {
        &self.singles
    }

    /// The `xn` blobs of `epoch`, as far as they were listed.
    pub fn uncompacted(&self, epoch: u64) -> &[IndexBlob] {
        self.uncompacted.get(&epoch).map_or(&[], Vec::as_slice)
    }

    /// All `xn` blobs that were listed, in the order of epochs.
    pub fn all_uncompacted(&self) -> Vec<IndexBlob> {
        self.uncompacted.values().flatten().cloned().collect()
    }

    /// The same lists, if one more epoch had begun: for whoever plans ahead.
    #[must_use]
    pub fn advanced(&self) -> Self {
        Self { write_epoch: self.write_epoch + 1, ..self.clone() }
    }

    /// The same lists, if a watermark of `seconds` had been written.
    #[must_use]
    pub fn dropped_until(&self, seconds: i64) -> Self {
        Self { watermark: self.watermark.max(Some(seconds)), ..self.clone() }
    }

    /// The same lists, if one more index blob had been written to the current epoch.
    #[must_use]
    pub fn written(&self, blob: IndexBlob) -> Self {
        let mut later = self.clone();
        later.uncompacted.entry(self.write_epoch).or_default().push(blob);
        later
    }

    /// Whether nobody writes to `epoch` any more.
    pub fn is_settled(&self, epoch: u64) -> bool {
        epoch.checked_add(UNSETTLED_EPOCHS).is_some_and(|next| next <= self.write_epoch)
    }

    /// The epochs whose `xn` blobs must be listed with every snapshot: the one before the current,
    /// the current, and the one after, which another client may have begun.
    pub fn unsettled_epochs(&self) -> RangeInclusive<u64> {
        self.write_epoch.saturating_sub(1)..=self.write_epoch + 1
    }

    /// Says what the list of [`uncompacted_prefix`]`(epoch)` holds.
    pub fn add_uncompacted(&mut self, epoch: u64, blobs: Vec<IndexBlob>) {
        self.uncompacted.insert(epoch, blobs);
    }

    /// Says what the list of [`PREFIX_UNCOMPACTED`] holds, of all epochs: one list instead of many.
    pub fn add_all_uncompacted(&mut self, blobs: Vec<IndexBlob>) {
        self.uncompacted.clear();
        for blob in blobs {
            if let Some(epoch) = names::epoch_number(&blob.id) {
                self.uncompacted.entry(epoch).or_default().push(blob);
            }
        }
        self.all_uncompacted = true;
    }

    /// The epochs whose `xn` blobs must be listed before
    /// [`complete_index_set`](Self::complete_index_set) can answer.
    ///
    /// # Errors
    /// [`FormatError::Unsupported`] when these are absurdly many, because a marker has an absurd
    /// number; then [`add_all_uncompacted`](Self::add_all_uncompacted) still works.
    pub fn missing_epochs(&self) -> Result<Vec<u64>> {
        self.missing(self.after_chain(FIRST_EPOCH), self.write_epoch + 1)
    }

    fn missing(&self, first: u64, last: u64) -> Result<Vec<u64>> {
        if self.all_uncompacted {
            return Ok(Vec::new());
        }
        if last.saturating_sub(first) >= EPOCHS_LISTED_MAX {
            let name = format!("{last}, with epochs from {first} on not compacted");
            return Err(FormatError::Unsupported { what: "epoch number", name });
        }
        let is_missing =
            |epoch: &u64| self.single(*epoch).is_none() && !self.uncompacted.contains_key(epoch);
        Ok((first..=last).filter(is_missing).collect())
    }

    /// All blobs that together are the index: read and merge these.
    ///
    /// # Errors
    /// [`FormatError::Invalid`] when [`missing_epochs`](Self::missing_epochs) are not listed.
    pub fn complete_index_set(&self) -> Result<Vec<&IndexBlob>> {
        self.index_set(FIRST_EPOCH, self.write_epoch + 1)
    }

    /// The blobs that together are the index of the epochs from `first` to `last`.
    ///
    /// # Errors
    /// [`FormatError::Invalid`] when `xn` blobs of one of them were needed and not listed.
    pub fn index_set(&self, first: u64, last: u64) -> Result<Vec<&IndexBlob>> {
        let mut set: Vec<&IndexBlob> = Vec::new();
        let start = self.after_chain(first);
        if start > first {
            set.extend(self.chain.iter().filter(|range| range.max >= first).flat_map(|r| &r.blobs));
        }
        if let Some(epoch) = self.missing(start, last)?.first() {
            let reason = format!("the blobs of epoch {epoch} are not listed");
            return Err(FormatError::Invalid { what: "index set", reason });
        }
        let mut by_epoch: BTreeMap<u64, &Vec<IndexBlob>> = BTreeMap::new();
        if start <= last {
            by_epoch.extend(self.uncompacted.range(start..=last).map(|(&epoch, all)| (epoch, all)));
            let singles = self.singles.range(start..=last);
            by_epoch.extend(
                singles.filter(|(epoch, _)| self.is_settled(**epoch)).map(|(&e, all)| (e, all)),
            );
        }
        set.extend(by_epoch.into_values().flatten());
        Ok(set)
    }

    /// The first epoch from `first` on that is in no range of the chain.
    fn after_chain(&self, first: u64) -> u64 {
        self.chain.iter().fold(
            first,
            |start, range| {
                if range.max > start { range.max + 1 } else { start }
            },
        )
    }

    /// The compaction to be used for `epoch`. Compactions of unsettled epochs never are: they lack
    /// what is still written.
    fn single(&self, epoch: u64) -> Option<&Vec<IndexBlob>> {
        self.singles.get(&epoch).filter(|_| self.is_settled(epoch))
    }
}

fn complete_singles(blobs: Vec<IndexBlob>) -> BTreeMap<u64, Vec<IndexBlob>> {
    let mut by_epoch: BTreeMap<u64, Vec<IndexBlob>> = BTreeMap::new();
    for blob in blobs {
        if let Some(epoch) = names::epoch_number(&blob.id) {
            by_epoch.entry(epoch).or_default().push(blob);
        }
    }
    let complete = |(epoch, blobs): (u64, Vec<IndexBlob>)| {
        first_complete_set(&blobs).map(|set| (epoch, set.into_iter().cloned().collect()))
    };
    by_epoch.into_iter().filter_map(complete).collect()
}

fn chain(blobs: Vec<IndexBlob>) -> Vec<RangeCheckpoint> {
    let mut by_range: BTreeMap<(u64, u64), Vec<IndexBlob>> = BTreeMap::new();
    for blob in blobs {
        if let Some(range) = names::epoch_range(&blob.id) {
            by_range.entry(range).or_default().push(blob);
        }
    }
    let complete: BTreeMap<(u64, u64), Vec<&IndexBlob>> = by_range
        .iter()
        .filter_map(|(&range, blobs)| Some((range, first_complete_set(blobs)?)))
        .collect();
    let ranges: Vec<_> = complete.keys().copied().collect();
    longest_chain(&ranges)
        .into_iter()
        .map(|(min, max)| {
            let blobs = complete[&(min, max)].iter().map(|&blob| blob.clone()).collect();
            RangeCheckpoint { min, max, blobs }
        })
        .collect()
}

#[cfg(test)]
mod tests;
