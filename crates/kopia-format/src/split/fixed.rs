//! Cuts after every `size` bytes.

use super::Splitter;

/// See the module.
#[derive(Debug)]
pub(super) struct Fixed {
    size: usize,
    taken: usize,
}

impl Fixed {
    pub(super) fn new(size: usize) -> Self {
        Self { size, taken: 0 }
    }
}

impl Splitter for Fixed {
    fn next_cut(&mut self, data: &[u8]) -> Option<usize> {
        let wanted = self.size - self.taken;
        if data.len() < wanted {
            self.taken += data.len();
            return None;
        }
        self.taken = 0;
        Some(wanted)
    }

    fn reset(&mut self) {
        self.taken = 0;
    }
}
