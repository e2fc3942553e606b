//! The crate as others see it: against an S3 server in this process, and against answers that no
//! server should give.

#![allow(clippy::unwrap_used)]

mod archive;
mod attributes;
mod batch;
mod canned;
mod conformance;
mod connection;
mod copy;
mod credentials;
mod garbled;
mod keys;
mod lifecycle;
mod listing;
mod lost_answers;
mod past;
mod proxies;
mod redirects;
mod refusals;
mod retention;
mod rights;
mod support;
mod tls;
