//! kopia-lite: a client for real Kopia repositories on S3 and on filesystems.
//!
//! [`compose::Client`] is the whole in one type; the command line in [`cli`] is glue around it.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod cli;
pub mod compose;
pub mod connect;
pub mod exit;
pub mod jobs;
pub mod memory;
pub mod ui;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeTests;
