//! Bytes over the network: hyper 1 with its pool, rustls 0.23 with *ring*, clocks against stalls.
//!
//! Nothing here knows S3. There is no total time limit, which would kill a big upload on a slow
//! line; instead a clock runs as long as *nothing* moves ([`Timeouts`]). Idle connections are
//! dropped before the other side drops them (S3 closes at about 20 s), because a request that meets
//! a closing connection has to be sent twice.

mod download;
mod error;
mod proxy;
mod resolve;
mod tls;
mod upload;

use std::time::{Duration, Instant};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};

pub(crate) use download::frames;
pub(crate) use error::NetError;
pub(crate) use proxy::Proxies;
pub(crate) use tls::Trust;
pub(crate) use upload::UploadBody;

/// How long nothing may move before a request is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// To make a connection.
    pub connect: Duration,
    /// Between two parts of a body, sent or received.
    pub stall: Duration,
    /// From the last byte sent to the first byte of the answer.
    pub first_byte: Duration,
}

impl Default for Timeouts {
    /// 10 s, 20 s, 60 s.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            stall: Duration::from_secs(20),
            first_byte: Duration::from_secs(60),
        }
    }
}

/// The bytes that hyper may gather before it writes them to the socket.
const WRITE_BUFFER_BYTES_MAX: usize = 1 << 20;
const IDLE: Duration = Duration::from_secs(15);

type Connector = HttpsConnector<proxy::Route>;

/// A pool of connections.
#[derive(Debug, Clone)]
pub(crate) struct Net {
    client: Client<Connector, UploadBody>,
    timeouts: Timeouts,
    proxies: Proxies,
}

impl Net {
    /// A pool that keeps up to `idle_max` idle connections to a host.
    ///
    /// # Errors
    /// What is wrong with the certificates to trust.
    pub fn new(
        trust: &Trust,
        proxies: &Proxies,
        timeouts: Timeouts,
        idle_max: usize,
    ) -> Result<Self, String> {
        let mut http = HttpConnector::new_with_resolver(resolve::Resolver::default());
        http.enforce_http(false); // https is the wrapper's business
        http.set_connect_timeout(Some(timeouts.connect));
        http.set_nodelay(true);
        http.set_keepalive(Some(Duration::from_secs(30)));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls::config(trust)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(proxy::Route::new(http, proxies.clone()));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new()) // without it idle connections are never swept
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(idle_max)
            .retry_canceled_requests(true)
            .set_host(false) // it is signed, so it is ours
            .http1_max_buf_size(WRITE_BUFFER_BYTES_MAX)
            .build(connector);
        Ok(Self { client, timeouts, proxies: proxies.clone() })
    }

    /// How long nothing may move.
    pub fn timeouts(&self) -> Timeouts {
        self.timeouts
    }

    /// Sends a request and waits for the head of its answer.
    ///
    /// # Errors
    /// [`NetError`].
    pub async fn send(
        &self,
        mut request: Request<UploadBody>,
    ) -> Result<Response<Incoming>, NetError> {
        if let Some(value) = self.proxies.authorization(request.uri()) {
            request.headers_mut().insert(http::header::PROXY_AUTHORIZATION, value);
        }
        let host = request.uri().authority().map_or_else(String::new, ToString::to_string);
        let progress = request.body().progress();
        let mut answer = std::pin::pin!(self.client.request(request));
        let tick = self.timeouts.stall.min(self.timeouts.first_byte) / 4;
        let (mut sent, mut since) = (progress.sent(), Instant::now());
        loop {
            match tokio::time::timeout(tick, &mut answer).await {
                Ok(answer) => return answer.map_err(|error| NetError::of_client(host, &error)),
                Err(_) if progress.sent() > sent => {
                    (sent, since) = (progress.sent(), Instant::now());
                }
                Err(_) => {
                    let Timeouts { stall, first_byte, .. } = self.timeouts;
                    let (limit, all_sent) =
                        if progress.is_done() { (first_byte, true) } else { (stall, false) };
                    if since.elapsed() >= limit {
                        return Err(NetError::silent(host, since.elapsed(), all_sent));
                    }
                }
            }
        }
    }
}
