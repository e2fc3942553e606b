//! What a storage class costs, holds and takes to wake: facts as data, and plans made of them.
//!
//! - [`PriceTable`]: what is readable, minimum days and sizes, tiers, times and prices of each
//!   class, with date and source; a user's file may take its place.
//! - [`Money`], [`Cost`]: exact amounts, and what a [`blob_core::Usage`] costs.
//! - [`thaw`]: a plan of what to ask for, how long it takes and what it costs; then doing it.
//! - [`batch`]: the same by a job of S3 Batch Operations.
//! - [`lifecycle`]: rules of a bucket that move blobs by age and size.
//! - [`reclass`]: moving what is there to another class.
//!
//! Nothing here knows a backup format: blobs are names with a length, a class and a state, as a
//! listing tells them ([`blob_core::BlobMeta`]). Only [`lifecycle`] knows how names begin.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod batch;
mod cost;
mod date;
pub mod lifecycle;
mod money;
mod names;
pub mod reclass;
mod table;
pub mod thaw;

pub use cost::Cost;
pub use money::Money;
pub use names::{parse_tier, tier_name};
pub use table::{ClassFacts, PriceTable, TableError, TierFacts, Transfer};

/// The README's example compiles and holds.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeTests;
