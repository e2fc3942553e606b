//! Bytes that may be in memory at once.
//!
//! Whoever is about to fill memory asks for a [`Grant`] first and drops it when the bytes are gone.
//! Grants are given in the order they were asked for, so nobody starves. Against deadlock: never
//! wait for a grant while holding one of the same budget.

use std::{fmt, sync::Arc};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The most that one grant can hold.
const GRANT_BYTES_MAX: u64 = u32::MAX as u64;

/// A number of bytes that may be in memory at once. Clones share it.
#[derive(Clone)]
pub struct Budget {
    semaphore: Arc<Semaphore>,
    bytes_max: u64,
}

impl Budget {
    /// A budget of `bytes`.
    ///
    /// # Panics
    /// If `bytes` is 0: nothing could ever be granted.
    pub fn new(bytes: u64) -> Self {
        assert!(bytes > 0, "a budget of no bytes can grant nothing");
        let bytes_max = bytes.min(Semaphore::MAX_PERMITS as u64);
        let permits = usize::try_from(bytes_max).expect("MAX_PERMITS is a usize");
        Self { semaphore: Arc::new(Semaphore::new(permits)), bytes_max }
    }

    /// Waits until `bytes` are free and takes them.
    ///
    /// More than the whole budget counts as the whole budget: such a piece goes alone instead of
    /// never.
    pub async fn acquire(&self, bytes: u64) -> Grant {
        let permits = self.clamped(bytes);
        let semaphore = Arc::clone(&self.semaphore);
        let permit = semaphore.acquire_many_owned(permits).await;
        self.granted(permit.expect("the semaphore of a budget is never closed"))
    }

    /// Takes `bytes` if they are free at once.
    pub fn try_acquire(&self, bytes: u64) -> Option<Grant> {
        let semaphore = Arc::clone(&self.semaphore);
        let permit = semaphore.try_acquire_many_owned(self.clamped(bytes)).ok()?;
        Some(self.granted(permit))
    }

    fn granted(&self, permit: OwnedSemaphorePermit) -> Grant {
        assert!(self.used() <= self.bytes_max, "a budget grants no more than it has");
        Grant(permit)
    }

    fn clamped(&self, bytes: u64) -> u32 {
        let most = bytes.min(self.bytes_max).min(GRANT_BYTES_MAX);
        u32::try_from(most).expect("clamped to u32::MAX")
    }

    /// Bytes granted and not given back.
    pub fn used(&self) -> u64 {
        self.bytes_max - self.semaphore.available_permits() as u64
    }

    /// Bytes in all.
    pub fn capacity(&self) -> u64 {
        self.bytes_max
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Budget({} of {} bytes used)", self.used(), self.bytes_max)
    }
}

/// Bytes of a [`Budget`]; given back on drop.
#[derive(Debug)]
#[must_use = "the bytes are given back when the grant is dropped"]
pub struct Grant(OwnedSemaphorePermit);

impl Grant {
    /// How many bytes it holds.
    pub fn bytes(&self) -> u64 {
        self.0.num_permits() as u64
    }

    /// Gives back all but `bytes`: a reader takes the most it may need and keeps what it got.
    pub fn shrink(&mut self, bytes: u64) {
        let surplus = self.bytes().saturating_sub(bytes);
        let surplus = usize::try_from(surplus).expect("a grant fits in memory");
        drop(self.0.split(surplus));
    }

    /// Adds `other`, of the same budget, to this grant.
    ///
    /// # Panics
    /// If `other` comes from another budget.
    pub fn merge(&mut self, other: Self) {
        self.0.merge(other.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_dropped_grant_lets_the_next_one_in() {
        let budget = Budget::new(100);
        let first = budget.acquire(70).await;
        assert!(budget.try_acquire(31).is_none());
        let waiting = tokio::spawn({
            let budget = budget.clone();
            async move { budget.acquire(40).await.bytes() }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(first);
        assert_eq!(waiting.await.unwrap(), 40);
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test]
    async fn a_piece_above_the_whole_budget_goes_alone() {
        let budget = Budget::new(100);
        let all = budget.acquire(1 << 40).await;
        assert_eq!(all.bytes(), 100);
        assert!(budget.try_acquire(1).is_none());
    }

    #[tokio::test]
    async fn what_a_cut_left_over_is_given_back() {
        let budget = Budget::new(100);
        let mut grant = budget.acquire(80).await;
        grant.shrink(10);
        assert_eq!((grant.bytes(), budget.used()), (10, 10));
        grant.shrink(50);
        assert_eq!(grant.bytes(), 10, "a grant doesn't grow by shrinking");
        grant.merge(budget.acquire(5).await);
        drop(grant);
        assert_eq!(budget.used(), 0);
    }
}
