//! The first read of a pack goes ahead of the others: a pack that has become cold is asked once.
//!
//! A lifecycle rule may archive a pack after it was listed. Each refused read is billed, so the other
//! reads of a pack wait for its first one and are not made if that is refused. To keep that from
//! costing time, the first read of the next pack is begun before the other reads of this one.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use super::{
    Fetched,
    range::{Got, Wanted},
};
use crate::{PackReads, RangeRead, ReadPlan, RepoError};

/// What the first read of a pack gave: nothing as yet, or whether the pack can be read.
type Seen = Option<Result<(), RepoError>>;

/// The packs of which several ranges are read.
#[derive(Default)]
pub(super) struct Ahead {
    packs: Mutex<HashMap<Arc<str>, Arc<AsyncMutex<Seen>>>>,
}

/// Whose turn it is.
pub(super) enum Turn {
    /// Nothing is to be waited for.
    Any,
    /// This is the first read of its pack; the others wait for what it gives.
    First(OwnedMutexGuard<Seen>),
    /// The first read was refused.
    Refused(RepoError),
}

impl Ahead {
    /// Waits until the first read of the pack is done, unless this is it.
    pub async fn turn(&self, wanted: &Wanted) -> Turn {
        if !wanted.has_others {
            return Turn::Any;
        }
        let seen = {
            let mut packs = self.packs.lock().expect("no holder of this lock panics");
            packs.entry(wanted.pack.clone()).or_default().clone()
        };
        let seen = seen.lock_owned().await;
        match &*seen {
            None => Turn::First(seen),
            Some(Ok(())) => Turn::Any,
            Some(Err(error)) => Turn::Refused(error.again()),
        }
    }
}

impl Turn {
    /// Says what the read gave. It is given back if nothing was read as yet.
    pub fn done(self, got: &Got) -> Option<Self> {
        match got {
            Got::Each => return Some(self),
            Got::Failed(error) => self.tell(Some(error)),
            Got::Bytes(_) => self.tell(None),
        }
        None
    }

    /// Says what reading contents by themselves gave.
    pub fn done_each(self, read: &[Fetched]) {
        let mut errors = read.iter().filter_map(|(_, read)| read.as_ref().err());
        self.tell(errors.find(|error| error.archived_pack().is_some()));
    }

    fn tell(self, error: Option<&RepoError>) {
        if let Self::First(mut seen) = self {
            *seen = Some(match error {
                Some(error) if error.archived_pack().is_some() => Err(error.again()),
                _ => Ok(()),
            });
        }
    }
}

/// All reads of a plan, in the order in which they are to be made.
pub(super) fn in_turns(plan: &ReadPlan) -> impl Iterator<Item = (&PackReads, &RangeRead)> {
    let first = |pack: &'_ PackReads| pack.ranges.len().min(1);
    let begin =
        plan.packs.first().into_iter().flat_map(move |pack| {
            pack.ranges[..first(pack)].iter().map(move |range| (pack, range))
        });
    let rest = plan.packs.iter().enumerate().flat_map(move |(number, pack)| {
        let next = plan.packs.get(number + 1).into_iter();
        let ahead = next.flat_map(move |next| {
            next.ranges[..first(next)].iter().map(move |range| (next, range))
        });
        ahead.chain(pack.ranges[first(pack)..].iter().map(move |range| (pack, range)))
    });
    begin.chain(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PackState;

    #[test]
    fn the_first_read_of_the_next_pack_comes_before_the_rest_of_this_one() {
        let pack = |name: &str, ranges: u64| PackReads {
            pack: name.into(),
            size: None,
            class: None,
            state: PackState::Unknown,
            until_secs: None,
            ranges: (0..ranges)
                .map(|n| RangeRead { offset: n, length: 1, contents: Vec::new() })
                .collect(),
        };
        let packs = vec![pack("a", 3), pack("b", 1), pack("c", 0), pack("d", 2)];
        let plan = ReadPlan { packs, missing: Vec::new() };
        let order: Vec<String> =
            in_turns(&plan).map(|(pack, range)| format!("{}{}", pack.pack, range.offset)).collect();
        assert_eq!(order, ["a0", "b0", "a1", "a2", "d0", "d1"]);
    }
}
