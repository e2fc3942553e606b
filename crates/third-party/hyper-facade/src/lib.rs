//! The part of hyper 0.14's interface that rusoto names in its own types, with no network behind it.
//! Every request answers [`Error`]; requests of this workspace go through our own dispatcher.
use bytes::Bytes;
use futures_core::Stream;
use futures_util::StreamExt;
pub use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use std::{
    convert::Infallible,
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

#[derive(Debug)]
pub struct Error(String);
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl std::error::Error for Error {}
pub type Result<T> = std::result::Result<T, Error>;

type Inner = Pin<Box<dyn Stream<Item = Result<Bytes>> + Send + 'static>>;
pub struct Body(Option<Inner>);
impl Body {
    pub fn empty() -> Self {
        Body(None)
    }
    pub fn wrap_stream<S, O, E>(stream: S) -> Self
    where
        S: Stream<Item = std::result::Result<O, E>> + Send + 'static,
        O: Into<Bytes> + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
    {
        Body(Some(Box::pin(
            stream.map(|r| r.map(Into::into).map_err(|e| Error(e.into().to_string()))),
        )))
    }
}
impl From<Bytes> for Body {
    fn from(b: Bytes) -> Self {
        Body::wrap_stream(futures_util::stream::iter([Ok::<_, Infallible>(b)]))
    }
}
impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Body")
    }
}
impl Stream for Body {
    type Item = Result<Bytes>;
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match &mut self.0 {
            None => Poll::Ready(None),
            Some(s) => s.as_mut().poll_next(cx),
        }
    }
}

pub mod client {
    use super::*;
    use std::{marker::PhantomData, time::Duration};
    pub mod connect {
        pub trait Connect {}
        pub use super::HttpConnector;
    }
    #[derive(Debug, Clone, Default)]
    pub struct HttpConnector;
    impl connect::Connect for HttpConnector {}
    #[derive(Debug, Clone, Default)]
    pub struct Builder;
    impl Builder {
        pub fn http1_read_buf_exact_size(&mut self, _: usize) -> &mut Self {
            self
        }
        pub fn pool_idle_timeout<D: Into<Option<Duration>>>(&mut self, _: D) -> &mut Self {
            self
        }
        pub fn build<C, B>(&self, _: C) -> Client<C, B> {
            Client(PhantomData)
        }
    }
    pub struct Client<C, B = Body>(PhantomData<fn() -> (C, B)>);
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
    impl Client<HttpConnector, Body> {
        pub fn new() -> Self {
            Client(PhantomData)
        }
        pub fn builder() -> Builder {
            Builder
        }
    }
    impl<C, B> Client<C, B> {
        pub async fn request(&self, _: Request<B>) -> Result<Response<Body>> {
            Err(Error("rusoto's own HTTP client is not part of this build".into()))
        }
    }
}
pub use client::Client;
