//! A client that dies at one of its writes.
//!
//! What lies in the bucket after a program was killed is what its last write left there, and that
//! write either had its effect or had none. The server plays both: from the chosen write on nobody
//! gets an answer, and whoever ordered it hears of that and kills the program. So a test can walk
//! through all moments at which a program may die.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::faults::Effect;
use crate::request::{Kind, Target};

/// Longer than any test runs.
const FOR_EVER: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug, Default)]
enum State {
    /// Nobody is to be cut off.
    #[default]
    None,
    /// So many writes go through; the next one is the last.
    After { writes: usize, with_effect: bool },
    /// That one came in, and it was this. It may still be under way.
    Cut { target: Target, is_played: bool },
}

/// At which write the client dies.
#[derive(Debug, Default)]
pub struct Cut(Mutex<State>);

impl Cut {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets `writes` more writes through, and any number of reads until then; the next write and
    /// all later requests get no answer. `with_effect`: that next write is done all the same.
    pub fn after_writes(&self, writes: usize, with_effect: bool) {
        *self.lock() = State::After { writes, with_effect };
    }

    /// The write that got no answer, once it has had its effect or is certain to have none.
    #[must_use]
    pub fn is_cut(&self) -> Option<Target> {
        match &*self.lock() {
            State::Cut { target, is_played: true } => Some(target.clone()),
            _ => None,
        }
    }

    /// Answers everybody again.
    pub fn clear(&self) {
        *self.lock() = State::None;
    }

    /// What becomes of a request, if it is not simply answered.
    pub(crate) fn take(&self, target: &Target) -> Option<Effect> {
        let mut state = self.lock();
        let (left, with_effect) = match &mut *state {
            State::None => return None,
            State::Cut { .. } => return Some(Effect::Stall(FOR_EVER)),
            State::After { .. } if !writes(target.kind) => return None,
            State::After { writes, with_effect } => (writes, *with_effect),
        };
        if *left > 0 {
            *left -= 1;
            return None;
        }
        *state = State::Cut { target: target.clone(), is_played: !with_effect };
        Some(if with_effect { Effect::LoseAnswer } else { Effect::Stall(FOR_EVER) })
    }

    /// The last write has had its effect: its client may be killed.
    pub(crate) fn played(&self) {
        if let State::Cut { is_played, .. } = &mut *self.lock() {
            *is_played = true;
        }
    }
}

fn writes(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Put
            | Kind::Copy
            | Kind::Delete
            | Kind::DeleteMany
            | Kind::Restore
            | Kind::Retain
            | Kind::Multipart
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(kind: Kind, key: &str) -> Target {
        Target { kind, bucket: "b".into(), key: key.into() }
    }

    #[test]
    fn reads_go_on_until_the_write_that_is_the_last() {
        let cut = Cut::default();
        assert_eq!(cut.take(&target(Kind::Put, "p1")), None);
        cut.after_writes(1, true);
        assert_eq!(cut.take(&target(Kind::Put, "p2")), None);
        assert_eq!(cut.take(&target(Kind::Get, "p2")), None);
        assert!(cut.is_cut().is_none());
        assert_eq!(cut.take(&target(Kind::Delete, "p3")), Some(Effect::LoseAnswer));
        assert_eq!(cut.take(&target(Kind::Get, "p3")), Some(Effect::Stall(FOR_EVER)));
        assert!(cut.is_cut().is_none(), "it is still under way");
        cut.played();
        assert_eq!(cut.is_cut(), Some(target(Kind::Delete, "p3")));
        cut.clear();
        assert_eq!(cut.take(&target(Kind::Get, "p3")), None);
        cut.after_writes(0, false);
        assert_eq!(cut.take(&target(Kind::Put, "p4")), Some(Effect::Stall(FOR_EVER)));
        assert_eq!(cut.is_cut(), Some(target(Kind::Put, "p4")));
    }
}
