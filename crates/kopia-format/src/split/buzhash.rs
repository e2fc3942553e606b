//! Buzhash with 32 bits: the exclusive or of one table word per byte, each rotated by the byte's
//! age.
//!
//! The byte that leaves has been rotated by 64 bits, which is none at all, so its table word enters
//! unrotated.

use super::{rolling::Rolling, tables::BUZHASH};

/// See the module.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Buzhash(u32);

impl Buzhash {
    /// The hash itself; for tests against published values.
    #[cfg(test)]
    pub(super) fn value(self) -> u32 {
        self.0
    }
}

impl Rolling for Buzhash {
    #[inline(always)]
    fn absorb(&mut self, byte: u8) {
        self.0 = self.0.rotate_left(1) ^ BUZHASH[usize::from(byte)];
    }

    #[inline(always)]
    fn roll(&mut self, oldest: u8, byte: u8) {
        // The two table words are combined first: they don't wait for the previous step.
        let change = BUZHASH[usize::from(oldest)] ^ BUZHASH[usize::from(byte)];
        self.0 = self.0.rotate_left(1) ^ change;
    }

    #[inline(always)]
    fn is_candidate(&self, mask: u32) -> bool {
        self.0 & mask == 0
    }
}
