//! Memory that is used again.
//!
//! Each new long piece of memory costs a page fault for every 4 KiB, and clearing that page, which
//! together is more than what it costs to copy as much. Whoever fills pieces of some MiB, one after
//! the other, is faster with those that others are done with.

use std::{
    fmt, mem,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;

/// What is shorter is not kept: an allocator has such pieces at hand.
const KEPT_MIN: usize = 256 << 10;

/// Keeps memory that was used, up to a limit. A clone keeps the same.
///
/// ```
/// let recycler = dataplane::Recycler::new(1 << 20);
/// let mut memory = recycler.take(300_000);
/// memory.resize(300_000, 7);
/// let (place, bytes) = (memory.as_ptr(), recycler.bytes(memory));
/// assert_eq!(bytes.slice(..2), [7, 7].as_slice());
/// drop(bytes);
/// assert_eq!(recycler.take(300_000).as_ptr(), place);
/// ```
#[derive(Clone)]
pub struct Recycler(Arc<Inner>);

struct Inner {
    kept: Mutex<Vec<Vec<u8>>>,
    bytes_max: usize,
}

impl Recycler {
    /// Keeps up to `bytes_max` bytes that nobody uses.
    pub fn new(bytes_max: usize) -> Self {
        Self(Arc::new(Inner { kept: Mutex::default(), bytes_max }))
    }

    /// An empty vector with room for `capacity` bytes: the shortest of those kept that has, or the
    /// longest, which the system can lengthen without a copy.
    pub fn take(&self, capacity: usize) -> Vec<u8> {
        let mut memory = self.0.best(capacity).unwrap_or_default();
        memory.reserve_exact(capacity);
        memory
    }

    /// Gives memory back, whatever is in it.
    pub fn give(&self, memory: Vec<u8>) {
        self.0.keep(memory);
    }

    /// The bytes of `memory`, which comes back when the last of them is dropped. Room behind them is
    /// given to the system at once.
    pub fn bytes(&self, mut memory: Vec<u8>) -> Bytes {
        if memory.capacity() < KEPT_MIN {
            return memory.into();
        }
        memory.shrink_to_fit();
        Bytes::from_owner(Lent { memory, to: Arc::clone(&self.0) })
    }
}

impl Inner {
    fn best(&self, capacity: usize) -> Option<Vec<u8>> {
        if capacity < KEPT_MIN {
            return None;
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        // Long enough ones come first, the shortest of them before all.
        let fit = |memory: &Vec<u8>| match memory.capacity() {
            enough if enough >= capacity => (0, enough),
            less => (1, usize::MAX - less),
        };
        let best = (0..kept.len()).min_by_key(|at| fit(&kept[*at]))?;
        Some(kept.swap_remove(best))
    }

    fn keep(&self, mut memory: Vec<u8>) {
        memory.clear();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let sum: usize = kept.iter().map(Vec::capacity).sum();
        if memory.capacity() >= KEPT_MIN && sum + memory.capacity() <= self.bytes_max {
            kept.push(memory);
        }
    }
}

impl fmt::Debug for Recycler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recycler(up to {} bytes)", self.0.bytes_max)
    }
}

/// The owner of bytes that are in use.
struct Lent {
    memory: Vec<u8>,
    to: Arc<Inner>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.memory
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.to.keep(mem::take(&mut self.memory));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_that_is_long_enough_is_taken_or_the_longest() {
        let recycler = Recycler::new(10 << 20);
        for length in [1_000_000, 3_000_000, 2_000_000] {
            recycler.give(Vec::with_capacity(length));
        }
        assert_eq!(recycler.take(1_500_000).capacity(), 2_000_000);
        assert_eq!(recycler.take(5_000_000).capacity(), 5_000_000);
        assert_eq!(recycler.take(300_000).capacity(), 1_000_000, "the longest is gone");
        assert_eq!(recycler.take(300_000).capacity(), 300_000, "nothing is kept");
    }

    #[test]
    fn no_more_is_kept_than_allowed_and_nothing_short() {
        let recycler = Recycler::new(1 << 20);
        for length in [KEPT_MIN - 1, 1 << 20, KEPT_MIN] {
            recycler.give(vec![1; length]);
        }
        let kept = recycler.0.kept.lock().unwrap().iter().map(Vec::capacity).sum::<usize>();
        assert_eq!(kept, 1 << 20);
        let memory = recycler.take(KEPT_MIN);
        assert!(memory.is_empty(), "nobody sees what was in it");
    }

    #[test]
    fn bytes_come_back_when_the_last_slice_is_gone() {
        let recycler = Recycler::new(10 << 20);
        let mut memory = recycler.take(8 << 20);
        memory.resize(1 << 20, 1);
        let bytes = recycler.bytes(memory);
        let slice = bytes.slice(5..6);
        drop(bytes);
        assert_eq!(recycler.take(KEPT_MIN).capacity(), KEPT_MIN, "somebody reads it");
        drop(slice);
        assert_eq!(recycler.take(KEPT_MIN).capacity(), 1 << 20, "without the room behind it");
        let short = recycler.bytes(vec![1, 2, 3]);
        assert_eq!(short, [1, 2, 3].as_slice());
    }
}
