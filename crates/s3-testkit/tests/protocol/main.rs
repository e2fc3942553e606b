//! The server as its clients see it: every rule over HTTP, signed, against a running server.

#![allow(clippy::unwrap_used)]

mod admin;
mod checks;
mod client;
mod cold;
mod faults;
mod lists;
mod locks;
mod objects;
mod signer;
