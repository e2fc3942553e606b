//! Starting and stopping a server, and what a test holds in its hand meanwhile.
//!
//! A server runs on threads of its own. So a test may block its own thread, or have no runtime at
//! all, and dropping the server ends every connection at once.

use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use s3s::service::{S3Service, S3ServiceBuilder};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

use crate::access::{Action, Denials, Gate, KeyRing};
use crate::clock::Clock;
use crate::cut::Cut;
use crate::faults::Faults;
use crate::issuer::Issuer;
use crate::jobs::Jobs;
use crate::log::RequestLog;
use crate::objects::Objects;
use crate::options::{Credentials, TestServerOptions};
use crate::service::{Domains, Service, Untyped};
use crate::wire::serve_connection;

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Its threads could not be started.
    #[error("cannot start the server's threads")]
    Threads(#[source] std::io::Error),
    /// Nothing can listen at the address.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The TLS identity cannot be used.
    #[error("the TLS identity cannot be used: {0}")]
    Tls(String),
}

/// What all parts of one server share.
pub(crate) struct Shared {
    pub options: TestServerOptions,
    pub clock: Arc<Clock>,
    pub objects: Objects,
    pub log: RequestLog,
    pub faults: Faults,
    pub cut: Cut,
    pub denials: Denials,
    pub keys: KeyRing,
    pub jobs: Jobs,
    /// How many ETags were made that are no MD5.
    pub etags_made: AtomicU64,
}

/// A running S3 server; dropping it stops it.
pub struct TestServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
}

impl std::fmt::Debug for TestServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TestServer").field("address", &self.address).finish_non_exhaustive()
    }
}

impl TestServer {
    /// Starts a server; it accepts connections when this returns.
    ///
    /// # Errors
    /// [`StartError`], when the address is taken or the TLS identity is unusable.
    // Async for the sake of callers that await it; the waiting is over in microseconds.
    #[allow(clippy::unused_async)]
    pub async fn start(options: TestServerOptions) -> Result<Self, StartError> {
        Self::start_blocking(options)
    }

    /// [`start`](Self::start) for callers without a runtime.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_blocking(options: TestServerOptions) -> Result<Self, StartError> {
        let refuse = |source| StartError::Listen { address: options.listen, source };
        let listener = std::net::TcpListener::bind(options.listen).map_err(refuse)?;
        listener.set_nonblocking(true).map_err(refuse)?;
        let address = listener.local_addr().map_err(refuse)?;
        let tls = match &options.tls {
            Some(identity) => Some(crate::tls::acceptor(identity).map_err(StartError::Tls)?),
            None => None,
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(options.threads.max(1))
            .thread_name("s3-testkit")
            .enable_all()
            .build()
            .map_err(StartError::Threads)?;
        let listener = {
            let _inside = runtime.enter();
            TcpListener::from_std(listener).map_err(refuse)?
        };
        let shared = Arc::new(Shared::new(options));
        let s3 = shared.build_service();
        runtime.spawn(accept(listener, tls, shared.clone(), s3));
        Ok(Self { address, shared, runtime: Some(runtime) })
    }

    /// The endpoint's URL, such as `http://127.0.0.1:40123`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        let scheme = if self.shared.options.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// The address that it listens on.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// The bucket that it was started with.
    #[must_use]
    pub fn bucket(&self) -> &str {
        &self.shared.options.bucket
    }

    /// The options it was started with.
    #[must_use]
    pub fn options(&self) -> &TestServerOptions {
        &self.shared.options
    }

    /// The first pair of keys that it was started with.
    #[must_use]
    pub fn credentials(&self) -> Option<&Credentials> {
        self.shared.options.credentials.first()
    }

    /// From now on only these keys may sign. Without any, nobody may.
    pub fn set_credentials(&self, keys: Vec<Credentials>) {
        *self.shared.keys.0.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    /// Starts a place that hands out temporary keys for this server, each good for `lifetime`.
    ///
    /// # Errors
    /// [`StartError::Listen`], when no port is free.
    pub fn start_issuer(&self, lifetime: Duration) -> Result<Issuer, StartError> {
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let refuse = |source| StartError::Listen { address, source };
        let listener = std::net::TcpListener::bind(address).map_err(refuse)?;
        listener.set_nonblocking(true).map_err(refuse)?;
        let runtime = self.runtime.as_ref().expect("it lives as long as the server");
        let _inside = runtime.enter();
        let listener = TcpListener::from_std(listener).map_err(refuse)?;
        let issuer = Issuer::new(self.shared.clone(), lifetime, &listener).map_err(refuse)?;
        runtime.spawn(issuer.clone().serve(listener));
        Ok(issuer)
    }

    /// The objects of its bucket.
    #[must_use]
    pub fn objects(&self) -> &Objects {
        &self.shared.objects
    }

    /// The requests that it has seen.
    #[must_use]
    pub fn requests(&self) -> &RequestLog {
        &self.shared.log
    }

    /// Its clock.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// The faults that it will play.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    /// At which write a client dies.
    #[must_use]
    pub fn cut(&self) -> &Cut {
        &self.shared.cut
    }

    /// Takes a permission away for keys that begin with `prefix`.
    pub fn deny(&self, action: Action, prefix: &str) {
        self.shared.denials.deny(action, prefix);
    }

    /// Gives all permissions back.
    pub fn allow_all(&self) {
        self.shared.denials.clear();
    }

    /// Stops it and ends its connections, as dropping does.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        // A runtime must not be dropped inside another one in the ordinary way: that would block.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Shared {
    fn new(options: TestServerOptions) -> Self {
        let clock = Arc::new(Clock::default());
        Self {
            objects: Objects::new(&options.bucket, clock.clone(), options.keeps_versions()),
            keys: KeyRing(RwLock::new(options.credentials.clone())),
            etags_made: AtomicU64::new(0),
            clock,
            log: RequestLog::default(),
            faults: Faults::default(),
            cut: Cut::default(),
            denials: Denials::default(),
            jobs: Jobs::default(),
            options,
        }
    }

    fn build_service(self: &Arc<Self>) -> S3Service {
        let mut builder = S3ServiceBuilder::new(Service(self.clone()));
        builder.set_host(Domains(self.options.domains.clone()));
        builder.set_route(Untyped(self.clone()));
        builder.set_auth(Gate(self.clone()));
        builder.set_access(Gate(self.clone()));
        builder.build()
    }
}

async fn accept(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    shared: Arc<Shared>,
    s3: S3Service,
) {
    loop {
        match listener.accept().await {
            Ok((socket, _)) => {
                tokio::spawn(serve(socket, tls.clone(), shared.clone(), s3.clone()));
            }
            // Out of file descriptors, most likely: others will be closed, so go on after a while.
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

async fn serve(socket: TcpStream, tls: Option<TlsAcceptor>, shared: Arc<Shared>, s3: S3Service) {
    // Small answers must not wait for an acknowledgement; failing to say so only costs time.
    let _ = socket.set_nodelay(true);
    match tls {
        None => serve_connection(socket, shared, s3).await,
        // A client that does not trust the certificate says so itself.
        Some(tls) => {
            if let Ok(stream) = tls.accept(socket).await {
                serve_connection(stream, shared, s3).await;
            }
        }
    }
}
