//! A filter that answers most questions for contents that are not in any of many short segments.
//!
//! New data is mostly absent from every segment, and each would have to be asked. Content
//! IDs are hashes, so their own bytes choose the bits: the first eight a block of one cache line,
//! the next eight some bits in it. 12 bits for each content let one in a hundred absent ones
//! through, which the segments then deny.

use kopia_format::ContentId;

/// Bits for each content.
const BITS_PER_ID: usize = 12;
/// Bits set for each content.
const PROBES: u32 = 6;
/// One cache line.
const BLOCK_BITS: usize = 512;

type Block = [u64; BLOCK_BITS / 64];

/// Which contents may be there. Never denies one that is.
#[derive(Debug)]
pub(crate) struct Filter {
    blocks: Vec<Block>,
}

impl Filter {
    /// An empty filter for `count` contents.
    pub(crate) fn for_count(count: usize) -> Self {
        let blocks = (count * BITS_PER_ID).div_ceil(BLOCK_BITS).max(1);
        Self { blocks: vec![[0; BLOCK_BITS / 64]; blocks] }
    }

    pub(crate) fn add(&mut self, id: &ContentId) {
        let (block, mut bits) = self.place(id);
        for _ in 0..PROBES {
            let bit = bits as usize % BLOCK_BITS;
            self.blocks[block][bit / 64] |= 1 << (bit % 64);
            bits >>= 9;
        }
    }

    pub(crate) fn may_hold(&self, id: &ContentId) -> bool {
        let (block, mut bits) = self.place(id);
        (0..PROBES).all(|_| {
            let bit = bits as usize % BLOCK_BITS;
            bits >>= 9;
            self.blocks[block][bit / 64] & (1 << (bit % 64)) != 0
        })
    }

    /// The block, and the bits of it. An ID with a prefix has other ones than the same hash
    /// without.
    fn place(&self, id: &ContentId) -> (usize, u64) {
        let mut bytes = [0; 16];
        let hash = id.hash();
        let length = hash.len().min(16);
        bytes[..length].copy_from_slice(&hash[..length]);
        let number = u128::from_be_bytes(bytes);
        let prefix = u64::from(id.prefix().unwrap_or(0)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let high = (number >> 64) as u64 ^ prefix;
        let block = (u128::from(high) * self.blocks.len() as u128) >> 64;
        (usize::try_from(block).expect("less than the number of blocks"), number as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> ContentId {
        let hash = kopia_fixtures::spec_bytes(&format!("ctr:{number}:16"));
        let prefix = number.is_multiple_of(5).then_some(b'k');
        ContentId::new(prefix, &hash).unwrap()
    }

    #[test]
    fn what_was_added_is_never_denied_and_few_others_pass() {
        let mut filter = Filter::for_count(10_000);
        (0..10_000).for_each(|number| filter.add(&id(number)));
        assert!((0..10_000).all(|number| filter.may_hold(&id(number))));
        let passed = (10_000..60_000).filter(|number| filter.may_hold(&id(*number))).count();
        assert!(passed < 1_500, "{passed} of 50000 absent ones passed");
    }

    #[test]
    fn an_empty_filter_denies_everything_and_short_hashes_work() {
        let mut filter = Filter::for_count(0);
        let short: ContentId = "k0102".parse().unwrap();
        assert!(!filter.may_hold(&short));
        filter.add(&short);
        assert!(filter.may_hold(&short));
    }
}
