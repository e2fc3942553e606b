//! A small table that says, without a look at the index, where an entry is or that there is none.
//!
//! The hashes of one prefix are evenly spread, so a hash times the number of buckets is a bucket
//! and a rest. A bucket has eight entries on average; of each the table keeps 16 bits of the rest,
//! in the order of the index. A rest that is not there denies the content; one that is there names
//! the entry, and is wrong for one absent content in 8192. How many entries a bucket has takes a
//! byte; a line of 64 bytes holds the counts of sixty buckets behind the number of their first
//! entry. That is 2 + 64/480, or 2.14 bytes an entry, and a look reads three cache lines.
//!
//! The bytes may be stored and read again. Whatever they are, a look never panics and never leaves
//! the group; wrong bytes make it miss entries or name wrong ones, and keys are compared anyway.

use std::ops::Range;

use bytes::Bytes;

/// Entries of a bucket on average.
const PER_BUCKET: usize = 8;
/// Buckets of a line.
const BUCKETS: usize = 60;
/// A line: the number of the first entry, and a count for each bucket.
const LINE_LEN: usize = 4 + BUCKETS;
/// A rest.
const REST_LEN: usize = 2;

/// Where the table of one prefix lies in the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// The number of the first entry of the prefix, as in the index.
    first: usize,
    buckets: usize,
    lines_at: usize,
    rests_at: usize,
}

impl Place {
    /// The table of the entries `entries`, at `at` of the bytes.
    pub(super) fn new(entries: &Range<usize>, at: usize) -> Self {
        let buckets = entries.len().div_ceil(PER_BUCKET);
        let rests_at = at + buckets.div_ceil(BUCKETS) * LINE_LEN;
        Self { first: entries.start, buckets, lines_at: at, rests_at }
    }

    /// Where the table of `entries` ends.
    pub(super) fn end(&self, entries: &Range<usize>) -> usize {
        self.rests_at + entries.len() * REST_LEN
    }

    /// The bucket of a hash and its rest. A greater hash never has a smaller pair.
    fn spread(&self, hash: u64) -> (usize, u16) {
        let product = u128::from(hash) * self.buckets as u128;
        ((product >> 64) as usize, (product as u64 >> 48) as u16)
    }

    /// The numbers of the entries of `entries` whose hash may begin with `hash`.
    pub(super) fn look(&self, table: &Bytes, entries: &Range<usize>, hash: u64) -> Range<usize> {
        self.find(table, hash).map_or(0..0, |found| {
            let clamp = |n: usize| n.clamp(entries.start, entries.end);
            clamp(found.start)..clamp(found.end)
        })
    }

    fn find(&self, table: &[u8], hash: u64) -> Option<Range<usize>> {
        let (bucket, rest) = self.spread(hash);
        let line_at = self.lines_at + bucket / BUCKETS * LINE_LEN;
        let line: &[u8; LINE_LEN] = table.get(line_at..)?.first_chunk()?;
        let (start, counts) = line.split_first_chunk::<4>()?;
        let (before, counts) = counts.split_at(bucket % BUCKETS);
        let before: usize = before.iter().map(|&count| usize::from(count)).sum();
        let (start, count) = (u32::from_le_bytes(*start) as usize + before, counts[0].into());
        let rests = start.checked_sub(self.first)?.checked_mul(REST_LEN)?;
        let rests = table.get(self.rests_at.checked_add(rests)?..)?;
        let rests = rests.as_chunks::<REST_LEN>().0.iter().take(count);
        let mut matches = rests.map(|found| u16::from_le_bytes(*found) == rest);
        let first = matches.position(|is_it| is_it)?;
        let more = matches.take_while(|is_it| *is_it).count();
        Some(start + first..start + first + 1 + more)
    }
}

/// A table in the making: hashes come in the order of the index.
#[derive(Debug)]
pub(super) struct Filling {
    bytes: Vec<u8>,
    /// The line and bucket of the entry before.
    last: Option<(usize, usize)>,
    crowded: bool,
}

impl Filling {
    /// A table of `len` bytes for all prefixes.
    pub(super) fn new(len: usize) -> Self {
        Self { bytes: vec![0; len], last: None, crowded: false }
    }

    /// Takes the hash of the entry number `n`, which lies in the table of `place`.
    pub(super) fn add(&mut self, place: &Place, n: usize, hash: u64) {
        let (bucket, rest) = place.spread(hash);
        self.begin_lines(place, bucket / BUCKETS, n);
        let count_at = place.lines_at + bucket / BUCKETS * LINE_LEN + 4 + bucket % BUCKETS;
        let rest_at = place.rests_at + (n - place.first) * REST_LEN;
        match self.bytes[count_at].checked_add(1) {
            Some(count) => self.bytes[count_at] = count,
            None => self.crowded = true,
        }
        self.bytes[rest_at..rest_at + REST_LEN].copy_from_slice(&rest.to_le_bytes());
    }

    /// Writes where the entries of all lines up to `line` begin.
    fn begin_lines(&mut self, place: &Place, line: usize, n: usize) {
        let next = match self.last {
            Some((table, last)) if table == place.lines_at => last + 1,
            _ => 0,
        };
        for line in next..=line {
            let at = place.lines_at + line * LINE_LEN;
            self.bytes[at..at + 4].copy_from_slice(&(n as u32).to_le_bytes());
        }
        self.last = Some((place.lines_at, line));
    }

    /// The bytes; `None` if the hashes crowd so much that a count does not fit.
    pub(super) fn finish(self) -> Option<Vec<u8>> {
        (!self.crowded).then_some(self.bytes)
    }
}
