//! The names rusoto_core 0.48 wants from hyper-rustls 0.23; it opens no connection and knows no
//! TLS.
//!
//! rusoto_core does not compile without one of its TLS features; this is what stands behind the
//! feature `rustls` in this workspace. TLS is done by `s3-backend` over rustls 0.23.

#![deny(missing_docs)]

use hyper::client::{connect::Connect, HttpConnector};

/// Stands where the TLS connector stood.
#[derive(Debug, Clone)]
pub struct HttpsConnector<T>(T);

impl Connect for HttpsConnector<HttpConnector> {}

/// Stands where the connector's builder stood; every step is a name.
#[derive(Debug, Default)]
pub struct HttpsConnectorBuilder;

impl HttpsConnectorBuilder {
    /// A builder.
    pub fn new() -> Self {
        Self
    }

    /// Nothing.
    #[must_use]
    pub fn with_native_roots(self) -> Self {
        self
    }

    /// Nothing.
    #[must_use]
    pub fn https_only(self) -> Self {
        self
    }

    /// Nothing.
    #[must_use]
    pub fn https_or_http(self) -> Self {
        self
    }

    /// Nothing.
    #[must_use]
    pub fn enable_http1(self) -> Self {
        self
    }

    /// Nothing.
    #[must_use]
    pub fn enable_http2(self) -> Self {
        self
    }

    /// A connector that connects to nothing.
    pub fn build(self) -> HttpsConnector<HttpConnector> {
        HttpsConnector(HttpConnector)
    }
}
