//! Does a blob storage keep its promise? A conformance suite that any storage passes in one line.
//!
//! [`conformance!`] makes a test of a closure that gives a fresh storage. Each sentence of the
//! promise of [`blob_core::BlobStorage`] is checked by one file of [`promises`], on a storage of
//! its own, and a failure says in a sentence what was promised and what came instead.
//!
//! ```
//! use std::sync::Arc;
//! blob_testkit::conformance!(memory_keeps_its_promise, async || {
//!     Arc::new(blob_core::MemoryStorage::new())
//! });
//! # fn main() {}
//! ```
//!
//! [`layers::check`] does the same for wrappers: they neither drop nor bypass what the storage
//! beneath them can do. [`CountingStorage`] and [`FaultyStorage`] are for tests of what stands on a
//! storage: what did it ask for, and what does it do when the storage fails or is cut off?
//! [`SimulatedStorage`] makes one as slow and unreliable as a bad network, by a seed.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod conformance;
pub mod counting;
pub mod faults;
mod fresh;
pub mod layers;
pub mod promises;
pub mod simulated;

pub use conformance::{Outcome, Report};
pub use counting::{Call, CountingStorage};
pub use faults::{Fault, FaultyStorage, Killed, Rule};
pub use fresh::Fresh;
pub use simulated::{Mishaps, SimulatedStorage, Weather};

/// Makes one test, called `$name`, that runs the whole suite on storages that `$fresh` gives: an
/// async closure whose result turns into a [`Fresh`] (an `Arc` of a storage, or of one with what
/// must live as long, as a temporary folder).
///
/// Attributes and comments before the name go to the test.
#[macro_export]
macro_rules! conformance {
    ($(#[$attribute:meta])* $name:ident, $fresh:expr) => {
        $(#[$attribute])*
        #[test]
        fn $name() {
            $crate::block_on($crate::conformance::run($fresh));
        }
    };
}

/// Runs `future` on a runtime of several threads, with timers and sockets.
///
/// # Panics
/// If the system gives no threads.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(4).enable_all().build().expect("threads can be started").block_on(future)
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeTests;
