//! What a storage class costs, holds and takes to wake: facts as data, and plans made of them.
//!
//! - [`PriceTable`]: what is readable, minimum days and sizes, tiers, times and prices of each
//!   class, with date and source; a user's file may take its place.
//! - [`Money`]: exact amounts.
//! - [`reclass`]: moving what is there to another class.
//!
//! Nothing here knows a backup format: blobs are names with a length, a class and a state, as a
//! listing tells them ([`blob_core::BlobMeta`]).

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod money;
pub mod reclass;
mod table;

pub use money::Money;
pub use table::{ClassFacts, PriceTable, TableError, TierFacts, Transfer};
