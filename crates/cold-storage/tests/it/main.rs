//! Thaws and changes of class against an S3 server.
//!
//! One program, so that it links once.
#![allow(clippy::unwrap_used)]

mod reclass;
mod thaw;
