//! Names of packs, read when an entry that names them is.
//!
//! A large index names hundreds of thousands of packs, and a look-up needs one. The last names are
//! kept, so that entries of one pack share its name: as many as an index of a few hundred gigabytes
//! has.

use std::sync::{Arc, Mutex, PoisonError};

use super::INVALID_PACK;

/// Names kept for one index at most.
const KEPT_MAX: usize = 1 << 14;

type Slot = Mutex<Option<(u64, Arc<str>)>>;

/// Some names, each in the only slot that its number may have.
#[derive(Debug)]
pub(super) struct Names(Box<[Slot]>);

impl Names {
    /// Room for about `count` names.
    pub(super) fn for_count(count: usize) -> Self {
        let slots = count.clamp(1, KEPT_MAX).next_power_of_two();
        Self((0..slots).map(|_| Slot::default()).collect())
    }

    /// The name with this number, read by `read` if it is not kept.
    pub(super) fn get<'a>(&self, number: u64, read: impl FnOnce() -> &'a str) -> Arc<str> {
        let slot = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let slot = &self.0[slot as usize & (self.0.len() - 1)];
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        match &*slot {
            Some((kept, name)) if *kept == number => Arc::clone(name),
            _ => {
                let name: Arc<str> = read().into();
                *slot = Some((number, Arc::clone(&name)));
                name
            }
        }
    }
}

/// The text at `at`. As in Kopia, a name outside the index, or one that is no text, spoils the
/// entries that have it and not the whole index.
pub(super) fn text(bytes: &[u8], at: u32, len: u8) -> &str {
    let name = bytes.get(at as usize..).and_then(|rest| rest.get(..usize::from(len)));
    name.and_then(|name| std::str::from_utf8(name).ok()).unwrap_or(INVALID_PACK)
}
