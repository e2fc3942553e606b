//! The tools for tests, tested.
//!
//! One program, so that it links once.
#![allow(clippy::unwrap_used)]

mod broken;
mod faults;
