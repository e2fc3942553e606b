//! The part of hyper 0.14's interface that rusoto 0.48 names in its own types, with no network
//! behind it.
//!
//! rusoto_core has an HTTP client of its own that can't be switched off. Here it is a name: every
//! request answers an [`Error`]. The requests of this workspace never come here, because they are
//! sent by a dispatcher over hyper 1 (crate `s3-backend`, module `wire`).

#![deny(missing_docs)]

mod body;
pub mod client;

use std::fmt;

pub use body::Body;
pub use client::Client;
pub use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};

/// Why a body broke off, or why there is no answer: there is no network here.
#[derive(Debug)]
pub struct Error(String);

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

/// A result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;
