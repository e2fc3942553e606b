//! Output that grows with what is really written and never beyond a limit.

use std::io::Read;

use super::malformed;
use crate::Result;

/// How much a stream is asked for at first.
const FIRST_STEP: usize = 64 << 10;

/// See the module.
#[derive(Debug)]
pub(super) struct Bounded {
    out: Vec<u8>,
    length_max: usize,
}

impl Bounded {
    pub(super) fn new(length_max: usize) -> Self {
        Self { out: Vec::new(), length_max }
    }

    /// Room for `wanted` more bytes, zeroed, behind what is there.
    pub(super) fn extend(&mut self, wanted: usize) -> Result<&mut [u8]> {
        let old = self.out.len();
        if wanted > self.length_max - old {
            return Err(too_long(self.length_max));
        }
        self.reserve(wanted);
        self.out.resize(old + wanted, 0);
        Ok(&mut self.out[old..])
    }

    /// Doubles what there is, to copy seldom, but not past the limit.
    fn reserve(&mut self, wanted: usize) {
        let needed = self.out.len() + wanted;
        if needed > self.out.capacity() {
            let target = needed.max(self.out.capacity() * 2).min(self.length_max);
            self.out.reserve_exact(target - self.out.len());
        }
    }

    /// Takes all that `stream` has to give.
    pub(super) fn take_all(mut self, mut stream: impl Read) -> Result<Vec<u8>> {
        let mut probe = [0];
        loop {
            let filled = self.out.len();
            let step = filled.max(FIRST_STEP).min(self.length_max - filled);
            let room = if step == 0 { &mut probe[..] } else { self.extend(step)? };
            let taken = stream.read(room).map_err(|error| malformed(error.to_string()))?;
            if step == 0 && taken > 0 {
                return Err(too_long(self.length_max));
            }
            self.out.truncate(filled + taken);
            if taken == 0 {
                return Ok(self.finish());
            }
        }
    }

    pub(super) fn truncate_last(&mut self, unused: usize) {
        self.out.truncate(self.out.len() - unused);
    }

    pub(super) fn len(&self) -> usize {
        self.out.len()
    }

    pub(super) fn length_max(&self) -> usize {
        self.length_max
    }

    /// What was written, in memory of about its size.
    pub(super) fn finish(self) -> Vec<u8> {
        let mut out = self.out;
        if out.capacity() / 2 > out.len() {
            out.shrink_to_fit();
        }
        out
    }
}

pub(super) fn too_long(length_max: usize) -> crate::FormatError {
    malformed(format!("it holds more than the {length_max} bytes expected"))
}
