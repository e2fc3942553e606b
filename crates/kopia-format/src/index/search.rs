//! Finding a key among sorted ones whose hashes are evenly spread.
//!
//! Each look at a key of a large index is likely a cache miss. Halving a million entries looks
//! twenty times; guessing by value lands within about the square root of their number, so a guess
//! and a second look beyond that distance leave a few thousand, then a hundred, and so on.

use std::{cmp::Ordering, ops::Range};

/// With so few left, halving is as fast.
const FEW: usize = 16;
/// Rounds of guessing before halving takes over, in case the hashes are not evenly spread.
const ROUNDS: usize = 4;

struct Search<'k> {
    key: &'k [u8],
    low: usize,
    high: usize,
    low_value: u64,
    high_value: u64,
}

/// The number in `range` whose key is `key`. All keys in the range begin with the same byte.
pub(super) fn find<'a>(
    range: Range<usize>,
    key: &[u8],
    key_at: impl Fn(usize) -> &'a [u8],
) -> Option<usize> {
    let (low, high) = (range.start, range.end);
    let mut search = Search { key, low, high, low_value: 0, high_value: u64::MAX };
    for _ in 0..ROUNDS {
        let left = search.high - search.low;
        if left <= FEW {
            break;
        }
        let guess = search.guess();
        let reach = 2 * left.isqrt();
        let beyond = match search.look(guess, key_at(guess)) {
            Ordering::Equal => return Some(guess),
            Ordering::Less => (guess + reach).min(search.high - 1),
            Ordering::Greater => guess.saturating_sub(reach).max(search.low),
        };
        if (search.low..search.high).contains(&beyond)
            && search.look(beyond, key_at(beyond)) == Ordering::Equal
        {
            return Some(beyond);
        }
    }
    while search.low < search.high {
        let middle = search.low + (search.high - search.low) / 2;
        if search.look(middle, key_at(middle)) == Ordering::Equal {
            return Some(middle);
        }
    }
    None
}

impl Search<'_> {
    /// Where the key should be, if the hashes are evenly spread.
    fn guess(&self) -> usize {
        let part = u128::from(leading(self.key).saturating_sub(self.low_value));
        let whole = u128::from(self.high_value.saturating_sub(self.low_value)) + 1;
        let left = self.high - self.low;
        let step = (part * left as u128 / whole) as usize;
        self.low + step.min(left - 1)
    }

    /// Narrows the search by what is found at `at`.
    fn look(&mut self, at: usize, found: &[u8]) -> Ordering {
        let order = found.cmp(self.key);
        match order {
            Ordering::Equal => {}
            Ordering::Less => (self.low, self.low_value) = (at + 1, leading(found)),
            Ordering::Greater => (self.high, self.high_value) = (at, leading(found)),
        }
        order
    }
}

/// The first bytes of the hash, as a number.
pub(super) fn leading(key: &[u8]) -> u64 {
    let hash = &key[1..key.len().min(9)];
    let mut bytes = [0; 8];
    bytes[..hash.len()].copy_from_slice(hash);
    u64::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_million_hashes_are_searched_with_few_looks() {
        let mut keys: Vec<Vec<u8>> = (0..1_000_000_u64)
            .map(|n| {
                // A good mixer stands for the hash.
                let mixed = (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                let mixed = (mixed ^ (mixed >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                [&[b'k'][..], &mixed.to_be_bytes()].concat()
            })
            .collect();
        keys.sort();
        keys.dedup();
        let looks = Cell::new(0);
        for n in (0..keys.len()).step_by(997) {
            let look = |at: usize| {
                looks.set(looks.get() + 1);
                &keys[at][..]
            };
            assert_eq!(find(0..keys.len(), &keys[n], look), Some(n));
        }
        let searches = keys.len().div_ceil(997);
        assert!(looks.get() < 12 * searches, "{} looks each", looks.get() / searches);
    }

    #[test]
    fn every_key_is_found_and_no_other_when_hashes_crowd() {
        let keys: Vec<Vec<u8>> = (0..300_u32)
            .map(|n| [&[0, 0xff, 0xff, 0xff, 0xff][..], &(2 * n).to_be_bytes()].concat())
            .collect();
        for n in 0..600_u32 {
            let key = [&[0, 0xff, 0xff, 0xff, 0xff][..], &n.to_be_bytes()].concat();
            let expected = (n % 2 == 0).then_some(n as usize / 2);
            assert_eq!(find(0..keys.len(), &key, |at| &keys[at][..]), expected);
        }
        assert_eq!(find(0..0, &keys[0], |at| &keys[at][..]), None);
        assert_eq!(find(0..keys.len(), &[0; 9], |at| &keys[at][..]), None);
        assert_eq!(find(0..keys.len(), &[0xff; 9], |at| &keys[at][..]), None);
    }
}
