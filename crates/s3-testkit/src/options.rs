//! What a test server is started with.
//!
//! Every field has a default that behaves like an ordinary bucket of Amazon S3; a test changes the
//! one thing it is about.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

/// A pair of keys, and the session token that temporary keys carry.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The access key ID.
    pub access_key: String,
    /// The secret that signs.
    pub secret_key: String,
    /// If set, requests must carry exactly this `x-amz-security-token`.
    pub session_token: Option<String>,
    /// From this moment of real time on, requests are refused with `ExpiredToken`.
    pub expires: Option<SystemTime>,
}

impl Credentials {
    /// Long-lived keys, without a session token.
    pub fn new(access_key: impl Into<String>, secret_key: impl Into<String>) -> Self {
        Self {
            access_key: access_key.into(),
            secret_key: secret_key.into(),
            session_token: None,
            expires: None,
        }
    }

    /// Makes them temporary: requests need this token too.
    #[must_use]
    pub fn with_session_token(mut self, token: impl Into<String>) -> Self {
        self.session_token = Some(token.into());
        self
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

/// Certificate chain and key of a server that speaks TLS, both as PEM text.
#[derive(Clone)]
pub struct TlsIdentity {
    /// The leaf's certificate, then those of its issuers.
    pub cert_pem: String,
    /// The leaf's private key (PKCS#8, SEC1 or PKCS#1).
    pub key_pem: String,
}

impl std::fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsIdentity").finish_non_exhaustive()
    }
}

/// How a server is set up; `..TestServerOptions::default()` gives the rest.
#[derive(Debug, Clone)]
pub struct TestServerOptions {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The bucket that exists at start.
    pub bucket: String,
    /// The keys that may sign. No keys: requests need no signature.
    pub credentials: Vec<Credentials>,
    /// The region of the buckets.
    pub region: String,
    /// Refuse signatures made for another region, as S3 does.
    pub check_region: bool,
    /// The account that owns the buckets (`x-amz-expected-bucket-owner`).
    pub owner: String,
    /// Requests must carry `x-amz-request-payer: requester`.
    pub requester_pays: bool,
    /// Domains below which a host name starts with the bucket, as in `bucket.localhost`.
    pub domains: Vec<String>,
    /// The most entries that a page of a list has; S3 itself has 1000.
    pub page_size: usize,
    /// Refuse storage classes that an ordinary bucket does not have.
    pub strict_classes: bool,
    /// Let restored copies expire at midnight UTC, as S3 does; otherwise to the second.
    pub expire_at_midnight: bool,
    /// Buckets keep versions.
    pub versioning: bool,
    /// Buckets were made with object lock, which keeps versions too.
    pub object_lock: bool,
    /// Refuse access control lists, as buckets do whose owner is enforced.
    pub bucket_owner_enforced: bool,
    /// The ETag is the MD5 of the bytes; otherwise a cheaper value, as with encryption by KMS.
    pub md5_etags: bool,
    /// How long each request waits before it is looked at.
    pub latency: Duration,
    /// Speak TLS with this identity.
    pub tls: Option<TlsIdentity>,
    /// Threads that serve.
    pub threads: usize,
}

impl Default for TestServerOptions {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            bucket: "test-bucket".into(),
            credentials: vec![Credentials::new("test", "test-secret-key")],
            region: "us-east-1".into(),
            check_region: true,
            owner: "111122223333".into(),
            requester_pays: false,
            domains: vec!["localhost".into(), "s3.localhost".into()],
            page_size: 1000,
            strict_classes: true,
            expire_at_midnight: true,
            versioning: false,
            object_lock: false,
            bucket_owner_enforced: false,
            md5_etags: true,
            latency: Duration::ZERO,
            tls: None,
            threads: 2,
        }
    }
}

impl TestServerOptions {
    pub(crate) fn keeps_versions(&self) -> bool {
        self.versioning || self.object_lock
    }
}
