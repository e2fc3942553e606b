//! What the owner of maintenance may do to the blobs of epochs, and when. Writers never do any of
//! this.
//!
//! All times are those of the storage. Something may go only when what replaces it is older than a
//! margin, so that every live reader has seen the replacement. Format:
//! docs/format/04-index-epochs.md §6.5, §6.6.

use std::time::Duration;

use super::{EpochSnapshot, UNSETTLED_EPOCHS, names};
use crate::{index::IndexBlob, time::GoTime};

impl EpochSnapshot {
    /// The oldest epoch that is settled and in no compaction: its `xn` blobs may be merged into an
    /// `xs` set, with all deletions kept.
    pub fn epoch_to_compact(&self) -> Option<u64> {
        let first = self.chain.last().map_or(0, |range| range.max + 1);
        let compacted = self.singles.range(first..).map(|(&epoch, _)| epoch);
        let run = compacted.zip(first..).take_while(|(epoch, expected)| epoch == expected);
        let epoch = first + run.count() as u64;
        self.is_settled(epoch).then_some(epoch)
    }

    /// Whether the current epoch should end: its blobs span at least `duration_min`, and they are
    /// at least `count` or have at least `size` bytes. Then the marker of the next epoch is
    /// written.
    pub fn should_advance(&self, duration_min: Duration, count: usize, size: u64) -> bool {
        let blobs = self.uncompacted(self.write_epoch);
        let times = || blobs.iter().map(|blob| blob.timestamp);
        let (Some(first), Some(last)) = (times().min(), times().max()) else { return false };
        let total = blobs.iter().fold(0_u64, |sum, blob| sum.saturating_add(blob.length));
        last.duration_since(first) >= duration_min && (blobs.len() >= count || total >= size)
    }

    /// The epochs that should be merged into one range, if there are more than `frequency` of them
    /// behind the chain.
    pub fn range_to_compact(&self, frequency: u64) -> Option<(u64, u64)> {
        let last = self.write_epoch.checked_sub(UNSETTLED_EPOCHS)?;
        let first = self.chain.last().map_or(0, |range| range.max + 1);
        let is_due = last.checked_sub(first).is_some_and(|distance| distance >= frequency);
        is_due.then_some((first, last))
    }

    /// The storage's clock, as far as recent index blobs show it. Without any, nothing may be
    /// cleaned up.
    pub fn storage_clock(&self) -> Option<GoTime> {
        let recent = self.uncompacted.range(self.unsettled_epochs());
        recent.flat_map(|(_, blobs)| blobs).map(|blob| blob.timestamp).max()
    }

    /// Markers of epochs before the last one, which nobody needs.
    pub fn markers_to_delete(&self) -> Vec<&IndexBlob> {
        if self.storage_clock().is_none() {
            return Vec::new();
        }
        let is_old = |blob: &&IndexBlob| {
            names::epoch_number(&blob.id).is_some_and(|epoch| epoch + 1 < self.write_epoch)
        };
        self.markers.iter().filter(is_old).collect()
    }

    /// Watermarks behind the current one and written more than `margin` before the storage's clock.
    pub fn watermarks_to_delete(&self, margin: Duration) -> Vec<&IndexBlob> {
        let Some(clock) = self.storage_clock() else { return Vec::new() };
        let is_old = |blob: &&IndexBlob| {
            let seconds = names::watermark(&blob.id);
            seconds.is_some()
                && seconds != self.watermark
                && blob.timestamp < clock.saturating_sub(margin)
        };
        self.watermarks.iter().filter(is_old).collect()
    }

    /// Those of the `xn` blobs `all` that a compaction of their epoch replaces which was complete
    /// more than `margin` before the storage's clock. A range alone never licenses deletion.
    pub fn superseded<'a>(&self, all: &'a [IndexBlob], margin: Duration) -> Vec<&'a IndexBlob> {
        let Some(clock) = self.storage_clock() else { return Vec::new() };
        let is_replaced = |epoch: u64| {
            let written = self.single(epoch).into_iter().flatten().map(|blob| blob.timestamp).max();
            written.is_some_and(|written| written < clock.saturating_sub(margin))
        };
        let is_superseded =
            |blob: &&IndexBlob| names::epoch_number(&blob.id).is_some_and(is_replaced);
        all.iter().filter(is_superseded).collect()
    }
}
