//! Requests to the services that hand out keys. Small, whole, and over soon.
//!
//! They hold secrets in both directions, so nothing of them is logged or put into an error but the
//! address, the status and the error's own code and message.

use std::{sync::Arc, time::Duration};

use blob_core::Payload;
use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use http::{HeaderMap, HeaderValue, Method, Request};
use tokio::sync::OnceCell;

use crate::net::{Net, Proxies, Timeouts, Trust, UploadBody, frames};

/// Answers are below 10 KiB; tokens of some identity providers are long.
const ANSWER_BYTES_MAX: usize = 256 << 10;

/// The network as far as credentials need it. Nothing is opened before the first request.
#[derive(Debug, Clone)]
pub(super) struct Web {
    trust: Trust,
    proxies: Proxies,
    net: Arc<OnceCell<Net>>,
}

/// What is asked.
#[derive(Debug)]
pub(super) struct Question {
    pub method: Method,
    pub url: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// For all of it: connection, answer and body.
    pub within: Duration,
}

/// What came back.
pub(super) struct Reply {
    pub status: u16,
    pub body: Bytes,
}

impl Question {
    /// A GET.
    pub fn get(url: impl Into<String>, within: Duration) -> Self {
        let (headers, body) = (HeaderMap::new(), Bytes::new());
        Self { method: Method::GET, url: url.into(), headers, body, within }
    }

    /// With a header, whose value may be secret.
    pub fn header(mut self, name: &'static str, value: &str) -> Result<Self, String> {
        let mut value = HeaderValue::from_str(value)
            .map_err(|_| format!("the value for {name} holds a character that no header may"))?;
        value.set_sensitive(true);
        self.headers.insert(name, value);
        Ok(self)
    }
}

impl Web {
    pub fn new(trust: Trust, proxies: Proxies) -> Self {
        Self { trust, proxies, net: Arc::default() }
    }

    async fn net(&self) -> Result<&Net, String> {
        let timeouts = Timeouts { connect: Duration::from_secs(5), ..Timeouts::default() };
        self.net.get_or_try_init(async || Net::new(&self.trust, &self.proxies, timeouts, 1)).await
    }

    /// Asks once.
    ///
    /// # Errors
    /// No answer, or none that is whole; the text begins with the address.
    pub async fn ask(&self, question: Question) -> Result<Reply, String> {
        let Question { method, url, headers, body, within } = question;
        let host = match url.split_once("://") {
            Some((scheme, rest)) => {
                format!("{scheme}://{}", rest.split(['/', '?']).next().unwrap_or_default())
            }
            None => url.clone(),
        };
        let net = self.net().await.map_err(|reason| format!("{host}: {reason}"))?;
        let asked = async {
            let mut request = Request::builder()
                .method(method)
                .uri(&url)
                .body(UploadBody::new(&Payload::from(body)))
                .map_err(|error| error.to_string())?;
            let authority = request.uri().authority().map(|authority| authority.to_string());
            let authority = authority.ok_or("it is not an address with a host")?;
            *request.headers_mut() = headers;
            let host = HeaderValue::from_str(&authority).map_err(|error| error.to_string())?;
            request.headers_mut().entry(http::header::HOST).or_insert(host);
            let answer = net.send(request).await.map_err(|error| error.to_string())?;
            let status = answer.status().as_u16();
            let mut whole = BytesMut::new();
            let mut parts = std::pin::pin!(frames(answer.into_body(), within));
            while let Some(part) = parts.try_next().await.map_err(|error| error.to_string())? {
                if whole.len() + part.len() > ANSWER_BYTES_MAX {
                    return Err(format!("the answer is longer than {ANSWER_BYTES_MAX} bytes"));
                }
                whole.extend_from_slice(&part);
            }
            Ok(Reply { status, body: whole.freeze() })
        };
        match tokio::time::timeout(within, asked).await {
            Ok(answer) => answer.map_err(|reason| format!("{host}: {reason}")),
            Err(_) => Err(format!("{host}: no answer within {} s", within.as_secs_f32())),
        }
    }
}

impl Reply {
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}
