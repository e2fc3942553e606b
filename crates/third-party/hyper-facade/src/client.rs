//! A client that refuses.

use std::{fmt, marker::PhantomData, time::Duration};

use crate::{Body, Error, Request, Response, Result};

/// Where connectors were.
pub mod connect {
    pub use super::HttpConnector;

    /// Something that stands where a connector stood.
    pub trait Connect {}
}

/// Stands where the plain connector stood.
#[derive(Debug, Clone, Default)]
pub struct HttpConnector;

impl connect::Connect for HttpConnector {}

/// Stands where the client's settings stood; each is taken and forgotten.
#[derive(Debug, Clone, Default)]
pub struct Builder;

impl Builder {
    /// Nothing.
    pub fn http1_read_buf_exact_size(&mut self, _: usize) -> &mut Self {
        self
    }

    /// Nothing.
    pub fn pool_idle_timeout<D: Into<Option<Duration>>>(&mut self, _: D) -> &mut Self {
        self
    }

    /// A client that refuses.
    pub fn build<C, B>(&self, _: C) -> Client<C, B> {
        Client(PhantomData)
    }
}

/// Answers every request with an error.
pub struct Client<C, B = Body>(PhantomData<fn() -> (C, B)>);

impl Client<HttpConnector, Body> {
    /// A client that refuses.
    pub fn new() -> Self {
        Client(PhantomData)
    }

    /// Settings that are forgotten.
    pub fn builder() -> Builder {
        Builder
    }
}

impl Default for Client<HttpConnector, Body> {
    fn default() -> Self {
        Self::new()
    }
}

impl<C, B> Client<C, B> {
    /// Refuses.
    ///
    /// # Errors
    /// Always.
    pub async fn request(&self, _: Request<B>) -> Result<Response<Body>> {
        Err(Error("rusoto's own HTTP client is not part of this build".into()))
    }
}

impl<C, B> Clone for Client<C, B> {
    fn clone(&self) -> Self {
        Client(PhantomData)
    }
}

impl<C, B> fmt::Debug for Client<C, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}
