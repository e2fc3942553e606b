//! One time for all, and clocks that show it wrong.
//!
//! Time is tokio's, paused: it jumps to the next thing that somebody waits for as soon as nobody has
//! anything left to do. So months pass in a moment.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use blob_core::{Clock, Timestamp};
use futures::future::BoxFuture;
use tokio::time::Instant;

/// 2026-01-01T00:00:00Z, in seconds since 1970.
const BEGIN: i64 = 1_767_225_600;

/// The clock of one machine.
#[derive(Debug)]
pub struct SimClock {
    origin: Instant,
    skew: AtomicI64,
}

impl SimClock {
    /// A clock that is right.
    pub fn right(origin: Instant) -> Self {
        Self { origin, skew: AtomicI64::new(0) }
    }

    /// Sets the clock: `skew` seconds ahead of the right time.
    pub fn set_skew(&self, skew: i64) {
        self.skew.store(skew, Ordering::Relaxed);
    }
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        let elapsed = Instant::now().saturating_duration_since(self.origin);
        let skewed = Timestamp::from_secs(BEGIN + self.skew.load(Ordering::Relaxed));
        skewed.saturating_add(elapsed)
    }

    fn sleep(&self, pause: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(pause))
    }
}
