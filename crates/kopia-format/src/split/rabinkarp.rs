//! Rabin-Karp over GF(2): the window read as one polynomial, modulo one of degree 53.

use super::{
    rolling::Rolling,
    tables::{RABIN_MOD, RABIN_OUT},
};

/// See the module.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct RabinKarp(u64);

impl Rolling for RabinKarp {
    #[inline(always)]
    fn absorb(&mut self, byte: u8) {
        let top = (self.0 >> 45) as usize & 0xff;
        self.0 = ((self.0 << 8) | u64::from(byte)) ^ RABIN_MOD[top];
    }

    #[inline(always)]
    fn roll(&mut self, oldest: u8, byte: u8) {
        self.0 ^= RABIN_OUT[usize::from(oldest)];
        self.absorb(byte);
    }

    #[inline(always)]
    fn is_candidate(&self, mask: u32) -> bool {
        self.0 & u64::from(mask) == 0
    }
}
