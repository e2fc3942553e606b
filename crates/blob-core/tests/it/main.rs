//! What every storage and every layer promises.
//!
//! One program, so that it links once.
#![allow(clippy::unwrap_used)]

mod conformance;
mod layers;
mod retry;
