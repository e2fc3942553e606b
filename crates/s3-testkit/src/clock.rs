//! The server's time: the real one plus an offset that a test moves.
//!
//! Last-modified times, thaws, expiries and locks go by this clock. Signatures are checked by the
//! real one, so that a client does not have to travel with the server.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

/// Real time plus a movable offset.
#[derive(Debug, Default)]
pub struct Clock {
    offset_ms: AtomicI64,
}

impl Clock {
    /// The server's present time.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        let offset = self.offset_ms.load(Ordering::Relaxed);
        let distance = Duration::from_millis(offset.unsigned_abs());
        let real = SystemTime::now();
        if offset < 0 { real - distance } else { real + distance }
    }

    /// Its time as S3 writes it: `2012-12-21T00:00:00.000Z`.
    #[must_use]
    pub fn text(&self) -> String {
        crate::text::iso_date(self.now())
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        self.offset_ms.fetch_add(whole_ms(by), Ordering::Relaxed);
    }

    /// Moves the clock back.
    pub fn turn_back(&self, by: Duration) {
        self.offset_ms.fetch_sub(whole_ms(by), Ordering::Relaxed);
    }

    /// Seconds that the clock is ahead of real time; negative when it is behind.
    #[must_use]
    pub fn offset_secs(&self) -> i64 {
        self.offset_ms.load(Ordering::Relaxed) / 1000
    }
}

fn whole_ms(by: Duration) -> i64 {
    i64::try_from(by.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moved_clock_keeps_its_distance() {
        let clock = Clock::default();
        clock.advance(Duration::from_secs(3600));
        clock.turn_back(Duration::from_secs(600));
        assert_eq!(clock.offset_secs(), 3000);
        let ahead = clock.now().duration_since(SystemTime::now()).unwrap();
        assert!(ahead > Duration::from_secs(2999) && ahead <= Duration::from_secs(3000));
    }
}
