//! Reading by plan: each range with one request, each content opened as it comes.
//!
//! [`fetch_each`](Repository::fetch_each) hands contents over where they are opened: one job, on one
//! thread, takes a run of neighbouring contents from sealed bytes to wherever they go.
//! [`fetch_all`](Repository::fetch_all) gives them as a stream.
//!
//! Memory is granted before it is filled: for a range before it is fetched, for what is opened of it
//! before it is opened. A content that is not compressed is opened where it lies in its range, and so
//! takes no more, unless somebody else holds the range. These are two budgets, so that whoever holds a range may wait for the
//! second, which nobody holds who waits for anything.

mod ahead;
mod each;
mod range;
mod stream;

use bytes::{Buf, Bytes, BytesMut};
use dataplane::Budget;
use kopia_format::{ContentId, index::IndexEntry};

use crate::{OpenOptions, Repository, Result, read_plan::RangeRead};

pub use each::TakeContents;

/// A content and its bytes, or why they can't be had.
pub type Fetched = (ContentId, Result<Bytes>);

/// Where the bytes of a plan may come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchFrom {
    /// The cache, where there is one and it has them.
    Anywhere,
    /// The storage, whatever the cache has: for who wants to know whether the storage has them.
    Storage,
}

/// Shares of the memory, in 128ths: ranges as they were fetched, contents as they were opened. What
/// writes takes other shares; whoever reads by plan mostly does not write.
const RANGE_SHARE: u64 = 48;
const OPENED_SHARE: u64 = 24;
/// Contents are opened by runs of so many plain bytes, or of so many contents.
const RUN_BYTES: u64 = 1 << 20;
const RUN_CONTENTS: usize = 1024;

/// The memory that all reading by plan shares.
pub(crate) struct FetchMemory {
    ranges: Budget,
    opened: Budget,
}

impl FetchMemory {
    pub(crate) fn of(options: &OpenOptions) -> Self {
        let share = |parts: u64| Budget::new((options.memory_bytes_max / 128 * parts).max(1 << 20));
        Self { ranges: share(RANGE_SHARE), opened: share(OPENED_SHARE) }
    }

    /// The longest range that leaves room for a second one, in bytes.
    pub(crate) fn range_bytes(&self) -> u64 {
        self.ranges.capacity() / 2
    }
}

/// Bytes that opening one content fills at most at once: what was decrypted, and what that was
/// decompressed to.
fn opened_bytes(entry: &IndexEntry) -> u64 {
    let plain = u64::from(entry.original_length);
    plain + if entry.compression == 0 { 0 } else { u64::from(entry.packed_length) }
}

/// Neighbouring contents, cut into runs that are worth a job.
fn runs(entries: Vec<IndexEntry>) -> impl Iterator<Item = Vec<IndexEntry>> + Send {
    let mut entries = entries.into_iter();
    std::iter::from_fn(move || {
        let (mut run, mut bytes) = (Vec::new(), 0);
        while bytes < RUN_BYTES && run.len() < RUN_CONTENTS {
            let Some(entry) = entries.next() else { break };
            bytes += u64::from(entry.original_length);
            run.push(entry);
        }
        (!run.is_empty()).then_some(run)
    })
}

/// The part of a fetched range that is a content; `None` if it lies elsewhere: a plan may come from
/// a file that somebody edited.
fn slice_of(range: &RangeRead, entry: &IndexEntry, bytes: &Bytes) -> Option<Bytes> {
    let from = usize::try_from(u64::from(entry.offset).checked_sub(range.offset)?).ok()?;
    let to = from.checked_add(entry.packed_length as usize)?;
    (to <= bytes.len()).then(|| bytes.slice(from..to))
}

/// A fetched range of which each content is taken out once, in the order of the plan: with its memory
/// where nobody else holds that, so that it can be opened where it lies.
struct Cutting {
    range: RangeRead,
    bytes: RangeBytes,
}

enum RangeBytes {
    Shared(Bytes),
    /// What is left of it, and where that begins in the range.
    Own(BytesMut, usize),
}

/// The sealed bytes of a content.
enum Sealed {
    Shared(Bytes),
    Own(BytesMut),
}

impl Cutting {
    fn of(range: RangeRead, bytes: Bytes) -> Self {
        let bytes = match bytes.try_into_mut() {
            Ok(own) => RangeBytes::Own(own, 0),
            Err(shared) => RangeBytes::Shared(shared),
        };
        Self { range, bytes }
    }

    fn is_own(&self) -> bool {
        matches!(self.bytes, RangeBytes::Own(..))
    }

    /// `None` if the content lies elsewhere or under another one: a plan may come from a file that
    /// somebody edited.
    fn take(&mut self, entry: &IndexEntry) -> Option<Sealed> {
        match &mut self.bytes {
            RangeBytes::Shared(bytes) => slice_of(&self.range, entry, bytes).map(Sealed::Shared),
            RangeBytes::Own(rest, begin) => {
                let from = u64::from(entry.offset).checked_sub(self.range.offset)?;
                let skipped = usize::try_from(from).ok()?.checked_sub(*begin)?;
                let length = entry.packed_length as usize;
                let taken = skipped.checked_add(length).filter(|taken| *taken <= rest.len())?;
                rest.advance(skipped);
                *begin += taken;
                Some(Sealed::Own(rest.split_to(length)))
            }
        }
    }
}

fn missing(repository: &Repository, id: ContentId) -> Fetched {
    (id, Err(repository.not_found(id)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn entry(length: u32) -> IndexEntry {
        IndexEntry {
            id: ContentId::new(None, &[1; 16]).unwrap(),
            pack: Arc::from("p1"),
            offset: 0,
            packed_length: length,
            original_length: length,
            timestamp: 0,
            deleted: false,
            format_version: 3,
            compression: 0,
            encryption_key_id: 0,
        }
    }

    #[test]
    fn each_content_is_cut_out_of_a_range_with_its_memory_or_without() {
        let range = || RangeRead { offset: 100, length: 50, contents: Vec::new() };
        let at = |offset, length| IndexEntry { offset, ..entry(length) };
        let bytes: Vec<u8> = (0..50).collect();
        let shared = Bytes::from(bytes.clone());
        for bytes in [shared.clone(), Bytes::from(bytes.clone())] {
            let own = bytes.as_ptr() != shared.as_ptr();
            let mut cutting = Cutting::of(range(), bytes);
            assert_eq!(cutting.is_own(), own);
            let mut take = |offset, length| match cutting.take(&at(offset, length)) {
                None => None,
                Some(Sealed::Shared(bytes)) => Some(bytes.to_vec()),
                Some(Sealed::Own(bytes)) => Some(bytes.to_vec()),
            };
            assert_eq!(take(99, 5), None, "before the range");
            assert_eq!(take(103, 2), Some(vec![3, 4]));
            assert_eq!(take(105, 0), Some(vec![]));
            assert_eq!(take(104, 3).is_some(), !own, "under the one before");
            assert_eq!(take(140, 10), Some((40..50).collect()));
            assert_eq!(take(140, u32::MAX), None, "behind the range");
            assert_eq!(take(u32::MAX, 1), None);
        }
    }

    #[test]
    fn runs_are_worth_a_job_and_no_longer() {
        let lengths =
            |entries: Vec<IndexEntry>| runs(entries).map(|run| run.len()).collect::<Vec<_>>();
        assert_eq!(lengths(vec![entry(4 << 20); 3]), [1, 1, 1]);
        assert_eq!(lengths(vec![entry(100); 2_000]), [1024, 976]);
        assert_eq!(lengths(vec![entry(300 << 10); 9]), [4, 4, 1]);
        assert!(lengths(Vec::new()).is_empty());
    }
}
