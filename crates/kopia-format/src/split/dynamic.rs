//! Cuts where the hash of the last 64 bytes has its low bits zero, between half and twice the
//! average.
//!
//! No cut is tested in the first half of the average, so those bytes are not even read, but for the
//! window before the first test. The hash covers bytes of the current chunk only, so it starts
//! afresh in each chunk.

use super::{Splitter, WINDOW, rolling::Rolling};

/// See the module.
#[derive(Debug)]
pub(super) struct Dynamic<H> {
    min: usize,
    max: usize,
    mask: u32,
    /// Bytes of the current chunk so far.
    taken: usize,
    hash: H,
    /// The last bytes of the chunk, a ring: the one at `oldest` leaves next. Filled from `min -
    /// WINDOW` on.
    window: [u8; WINDOW],
    oldest: usize,
}

impl<H: Rolling> Dynamic<H> {
    pub(super) fn new(average: usize) -> Self {
        debug_assert!(average.is_power_of_two() && average / 2 > WINDOW);
        Self {
            min: average / 2,
            max: average * 2,
            mask: average as u32 - 1,
            taken: 0,
            hash: H::default(),
            window: [0; WINDOW],
            oldest: 0,
        }
    }

    /// Passes what no test looks at, then fills the window. Returns how much of `data` that took.
    fn warm_up(&mut self, data: &[u8]) -> usize {
        let skipped = (self.min - WINDOW).saturating_sub(self.taken).min(data.len());
        self.taken += skipped;
        let filled = (self.min - self.taken).min(data.len() - skipped);
        for &byte in &data[skipped..skipped + filled] {
            self.hash.absorb(byte);
            self.window[self.oldest] = byte;
            self.oldest = (self.oldest + 1) % WINDOW;
        }
        self.taken += filled;
        skipped + filled
    }

    /// Rolls over `data`, all of it before the maximum. Returns where a cut may fall.
    fn roll(&mut self, data: &[u8]) -> Option<usize> {
        let by_ring = data.len().min(WINDOW);
        for (at, &byte) in data[..by_ring].iter().enumerate() {
            let leaving = std::mem::replace(&mut self.window[self.oldest], byte);
            self.hash.roll(leaving, byte);
            self.oldest = (self.oldest + 1) % WINDOW;
            if self.hash.is_candidate(self.mask) {
                return Some(at + 1);
            }
        }
        if by_ring < data.len() {
            let mut hash = self.hash;
            let newest = &data[WINDOW..];
            for (at, (&leaving, &byte)) in data.iter().zip(newest).enumerate() {
                hash.roll(leaving, byte);
                if hash.is_candidate(self.mask) {
                    return Some(WINDOW + at + 1);
                }
            }
            self.hash = hash;
            self.window.copy_from_slice(&data[data.len() - WINDOW..]);
            self.oldest = 0;
        }
        None
    }
}

impl<H: Rolling> Splitter for Dynamic<H> {
    fn next_cut(&mut self, data: &[u8]) -> Option<usize> {
        let mut done = 0;
        if self.taken < self.min {
            done = self.warm_up(data);
            if self.taken < self.min {
                return None;
            }
            if self.hash.is_candidate(self.mask) {
                self.reset();
                return Some(done);
            }
        }
        let before_max = (self.max - self.taken).min(data.len() - done);
        if let Some(more) = self.roll(&data[done..done + before_max]) {
            self.reset();
            return Some(done + more);
        }
        self.taken += before_max;
        done += before_max;
        if self.taken == self.max {
            self.reset();
            return Some(done);
        }
        None
    }

    fn reset(&mut self) {
        self.taken = 0;
        self.hash = H::default();
        self.oldest = 0;
    }
}
