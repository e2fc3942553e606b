//! How far a thaw is, from what a listing tells of its blobs.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use blob_core::{Amount, BlobMeta, Timestamp};

use super::plan::{BlobState, Need};

/// How many blobs of a thaw are in which state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// Blobs and bytes by state.
    pub states: BTreeMap<BlobState, Amount>,
    /// When the first of the copies goes away, as far as the storage tells.
    pub expires: Option<Timestamp>,
}

impl Progress {
    /// Sums up what was looked up of `blobs`.
    pub fn of<'a>(
        blobs: impl IntoIterator<Item = &'a str>,
        found: &HashMap<String, BlobMeta>,
    ) -> Self {
        let mut progress = Self::default();
        for blob in blobs {
            let need = found.get(blob).map(Need::whole);
            let (state, bytes) =
                need.as_ref().map_or((BlobState::Missing, 0), |need| (need.state, need.size));
            progress.states.entry(state).or_default().add(Amount { count: 1, bytes });
            let until = need.and_then(|need| need.until);
            progress.expires = match (progress.expires, until) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            };
        }
        progress
    }

    /// How many blobs are in a state.
    pub fn count(&self, state: BlobState) -> u64 {
        self.states.get(&state).map_or(0, |amount| amount.count)
    }

    /// Blobs that can be read.
    pub fn readable(&self) -> u64 {
        self.count(BlobState::Online)
            + self.count(BlobState::Thawed)
            + self.count(BlobState::Unknown)
    }

    /// Blobs that are being thawed.
    pub fn thawing(&self) -> u64 {
        self.count(BlobState::Thawing)
    }

    /// Blobs that are archived and nobody thaws: they were not asked for, or their copies are gone
    /// again.
    pub fn archived(&self) -> u64 {
        self.count(BlobState::Archived)
    }
}

/// How long to wait before looking again: a tenth of the time that is left, no less than a quarter
/// of a minute and no more than a quarter of an hour.
pub fn poll_pause(left: Duration) -> Duration {
    (left / 10).clamp(Duration::from_secs(15), Duration::from_secs(15 * 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_looks_more_often_the_nearer_it_is() {
        let minutes = |n: u64| Duration::from_secs(60 * n);
        assert_eq!(poll_pause(minutes(48 * 60)), minutes(15));
        assert_eq!(poll_pause(minutes(60)), minutes(6));
        assert_eq!(poll_pause(minutes(0)), Duration::from_secs(15));
    }
}
