//! Cutting one large stream on several cores, at exactly the places where a
//! [`Splitter`](super::Splitter) cuts it.
//!
//! The hash behind a byte depends on the last [`WINDOW`] bytes alone. So the stream is taken in
//! segments of any length: [`scan`] finds the [`Candidates`] of each, in any order and on any
//! thread, given the few bytes before it; then [`Cuts`] takes them in order and says which
//! candidates are cuts. A scan runs four interleaved lanes, because one lane waits for its own
//! previous step; this makes up for the bytes that a sequential splitter may skip.

use super::{
    RollingHash, SplitterKind, WINDOW, buzhash::Buzhash, rabinkarp::RabinKarp, rolling::Rolling,
};

/// The longest segment that [`scan`] takes.
pub const SEGMENT_MAX: usize = 1 << 30;

/// How many lanes a scan interleaves.
const LANES: usize = 4;

/// With more candidates than one in so many bytes, a bit for each byte is smaller than a list.
const SPARSE_MIN_DISTANCE: usize = 64;

/// The places in one segment where a cut is possible, in at most an eighth of the segment's size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidates {
    len: usize,
    found: Found,
}

/// A position is the number of bytes in front of the cut, from the segment's beginning: 1 to its
/// length.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Found {
    Sparse(Vec<u32>),
    /// Bit `n` of the whole is position `n`.
    Dense(Vec<u64>),
}

impl Candidates {
    /// The length of the segment.
    pub fn segment_len(&self) -> usize {
        self.len
    }

    /// The first candidate in `from..=to`.
    fn first_in(&self, from: usize, to: usize) -> Option<usize> {
        if from > to {
            return None;
        }
        let found = match &self.found {
            Found::Sparse(all) => {
                let at = all.partition_point(|&position| (position as usize) < from);
                all.get(at).map(|&position| position as usize)
            }
            Found::Dense(words) => first_bit(words, from),
        };
        found.filter(|&position| position <= to)
    }
}

fn first_bit(words: &[u64], from: usize) -> Option<usize> {
    let first = from / 64;
    let masked = words.get(first)? & (u64::MAX << (from % 64));
    if masked != 0 {
        return Some(first * 64 + masked.trailing_zeros() as usize);
    }
    let rest = &words[first + 1..];
    let at = rest.iter().position(|&word| word != 0)?;
    Some((first + 1 + at) * 64 + rest[at].trailing_zeros() as usize)
}

/// Finds the candidates in `segment`.
///
/// `before` ends where the segment begins and holds at least [`WINDOW`] bytes, or the stream from
/// its very beginning.
///
/// # Panics
/// When the segment is longer than [`SEGMENT_MAX`].
pub fn scan(kind: SplitterKind, before: &[u8], segment: &[u8]) -> Candidates {
    assert!(segment.len() <= SEGMENT_MAX, "a segment has a gigabyte at most");
    let found = match kind {
        SplitterKind::Fixed { .. } => Found::Sparse(Vec::new()),
        SplitterKind::Dynamic { average, hash: RollingHash::Buzhash } => {
            scan_with::<Buzhash>(average as u32 - 1, before, segment)
        }
        SplitterKind::Dynamic { average, hash: RollingHash::RabinKarp } => {
            scan_with::<RabinKarp>(average as u32 - 1, before, segment)
        }
    };
    Candidates { len: segment.len(), found }
}

fn scan_with<H: Rolling>(mask: u32, before: &[u8], segment: &[u8]) -> Found {
    match sparse::<H>(mask, before, segment) {
        Some(list) => Found::Sparse(list),
        None => Found::Dense(dense::<H>(mask, before, segment)),
    }
}

/// Feeds `window` and the first bytes of `segment`, up to [`WINDOW`] of them, reporting candidates
/// among these. Returns the hash behind the last of them.
fn head<H: Rolling>(mask: u32, before: &[u8], segment: &[u8], mut report: impl FnMut(usize)) -> H {
    let mut hash = H::default();
    let window = &before[before.len().saturating_sub(WINDOW)..];
    window.iter().for_each(|&byte| hash.absorb(byte));
    let head = &segment[..segment.len().min(WINDOW)];
    for (at, &byte) in head.iter().enumerate() {
        // With less than a window before the segment, the window still fills and nothing leaves it.
        let held = window.len() + at;
        if held < WINDOW {
            hash.absorb(byte);
        } else {
            let oldest = held - WINDOW;
            let leaving = window.get(oldest).copied().unwrap_or_else(|| {
                // Only when `before` was short: the stream began less than a window before the
                // segment.
                segment[oldest - window.len()]
            });
            hash.roll(leaving, byte);
        }
        if held + 1 >= WINDOW && hash.is_candidate(mask) {
            report(at + 1);
        }
    }
    hash
}

/// The candidates as a list, or `None` when there are too many for a list.
fn sparse<H: Rolling>(mask: u32, before: &[u8], segment: &[u8]) -> Option<Vec<u32>> {
    let most = segment.len() / SPARSE_MIN_DISTANCE + WINDOW;
    let mut list = Vec::new();
    head::<H>(mask, before, segment, |position| list.push(position as u32));
    let Some(body) = segment.len().checked_sub(WINDOW) else { return Some(list) };
    let lane_len = body / LANES;
    let mut found: [Vec<u32>; LANES] = Default::default();
    let starts: [usize; LANES] = std::array::from_fn(|lane| WINDOW + lane * lane_len);
    let mut hashes: [H; LANES] = starts.map(|start| {
        let mut hash = H::default();
        segment[start - WINDOW..start].iter().for_each(|&byte| hash.absorb(byte));
        hash
    });
    let mut done = 0;
    while done < lane_len {
        // Each lane with the window before it.
        let lanes = starts.map(|start| &segment[start - WINDOW + done..start + lane_len]);
        done += roll_lanes(&mut hashes, lanes, mask);
        for ((hash, start), found) in hashes.iter().zip(starts).zip(&mut found) {
            if hash.is_candidate(mask) {
                found.push((start + done) as u32);
            }
        }
        if found.iter().map(Vec::len).sum::<usize>() > most {
            return None;
        }
    }
    found.iter().for_each(|lane| list.extend_from_slice(lane));
    // What the division left over comes after the last lane.
    for at in WINDOW + lane_len * LANES..segment.len() {
        hashes[LANES - 1].roll(segment[at - WINDOW], segment[at]);
        if hashes[LANES - 1].is_candidate(mask) {
            list.push(at as u32 + 1);
        }
    }
    Some(list)
}

/// Rolls the hashes over `lanes`, which begin with the window before, until one of them is a
/// candidate or the lanes end. Returns how far that is.
///
/// The hashes are kept in registers here, and the four don't wait for each other.
fn roll_lanes<H: Rolling>(hashes: &mut [H; LANES], lanes: [&[u8]; LANES], mask: u32) -> usize {
    let len = lanes[0].len() - WINDOW;
    let [mut h0, mut h1, mut h2, mut h3] = *hashes;
    let [out0, out1, out2, out3] = lanes.map(|lane| &lane[..len]);
    let [in0, in1, in2, in3] = lanes.map(|lane| &lane[WINDOW..WINDOW + len]);
    let mut at = 0;
    while at < len {
        h0.roll(out0[at], in0[at]);
        h1.roll(out1[at], in1[at]);
        h2.roll(out2[at], in2[at]);
        h3.roll(out3[at], in3[at]);
        at += 1;
        // One rarely taken branch for all four.
        let any = h0.is_candidate(mask)
            | h1.is_candidate(mask)
            | h2.is_candidate(mask)
            | h3.is_candidate(mask);
        if any {
            break;
        }
    }
    *hashes = [h0, h1, h2, h3];
    at
}

/// The candidates as a bit for each position, for data that repeats itself.
fn dense<H: Rolling>(mask: u32, before: &[u8], segment: &[u8]) -> Vec<u64> {
    let mut words = vec![0_u64; segment.len() / 64 + 1];
    let mut report = |position: usize| words[position / 64] |= 1 << (position % 64);
    let mut hash = head::<H>(mask, before, segment, &mut report);
    for at in WINDOW..segment.len() {
        hash.roll(segment[at - WINDOW], segment[at]);
        if hash.is_candidate(mask) {
            report(at + 1);
        }
    }
    words
}

/// Chooses the cuts among the candidates of consecutive segments.
#[derive(Debug, Clone)]
pub struct Cuts {
    min: u64,
    max: u64,
    /// Where the open chunk begins.
    start: u64,
    /// Where the next segment begins.
    end: u64,
}

impl Cuts {
    /// For a stream that is cut by `kind`.
    pub fn new(kind: SplitterKind) -> Self {
        let (min, max) = (kind.min_segment() as u64, kind.max_segment() as u64);
        Self { min, max, start: 0, end: 0 }
    }

    /// Takes the next segment and adds the cuts that fall into it to `cuts`, as offsets in the
    /// stream.
    pub fn push(&mut self, segment: &Candidates, cuts: &mut Vec<u64>) {
        let begin = self.end;
        self.end += segment.len as u64;
        loop {
            let last = self.start + self.max;
            let from = (self.start + self.min).saturating_sub(begin).max(1);
            let to = last.min(self.end) - begin;
            let cut = match segment.first_in(from as usize, to as usize) {
                Some(position) => begin + position as u64,
                None if last <= self.end => last,
                None => return,
            };
            cuts.push(cut);
            self.start = cut;
        }
    }

    /// Where the chunk begins that the cuts so far leave open. At the end of the stream it is the
    /// last chunk, unless it is empty.
    pub fn open_chunk(&self) -> u64 {
        self.start
    }
}
