//! Files of classes as people write them, and what Kopia does with each.
//!
//! One program, so that it links once.
#![allow(clippy::unwrap_used)]

mod cases;
mod compose;
mod load;
mod rewrite;
