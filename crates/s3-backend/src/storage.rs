//! A bucket and a key prefix as a blob storage.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use blob_core::{
    Archive, BlobError, BlobId, BlobMeta, BlobStorage, Clock, Payload, PutOptions, PutReceipt,
    ReadRange, Result, Retain, StorageInfo, SystemClock, Volume,
};
use bytes::Bytes;
use futures::stream::BoxStream;

use crate::{
    Timeouts,
    copy::CopySizes,
    credentials::{Environment, ProvideCredentials, Sources, Surroundings},
    errors::{About, Op},
    list::Learned as ListLearned,
    net::{Net, Proxies, Trust},
    options::{Addressing, S3Options},
    past::Past,
    put::Learned as PutLearned,
    wire::{Place, Wire},
};

/// Requests at once that S3 handles well from one client.
const CONCURRENCY: usize = 16;
const REGION_DEFAULT: &str = "us-east-1";

/// A bucket and a key prefix. Cheap to clone; clones share connections and what was learned.
#[derive(Clone)]
pub struct S3Storage {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub wire: Arc<Wire>,
    pub info: StorageInfo,
    pub prefix: String,
    pub clock: Arc<dyn Clock>,
    pub put_learned: PutLearned,
    pub list_learned: ListLearned,
    pub copy_sizes: CopySizes,
    /// The view of the past that was asked for.
    pub past: Option<Past>,
}

/// What can be set on a storage besides the options of a connection file.
pub struct S3Builder {
    options: S3Options,
    addressing: Addressing,
    timeouts: Timeouts,
    anonymous: bool,
    profile: Option<String>,
    sources: Vec<Arc<dyn ProvideCredentials>>,
    environment: Environment,
    clock: Arc<dyn Clock>,
    control_endpoint: Option<String>,
    copy_sizes: CopySizes,
}

impl fmt::Debug for S3Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Builder").field("options", &self.options).finish_non_exhaustive()
    }
}

impl S3Builder {
    /// How the bucket's name gets into requests, where the rule of [`Addressing::Auto`] is wrong.
    #[must_use]
    pub fn addressing(mut self, addressing: Addressing) -> Self {
        self.addressing = addressing;
        self
    }

    /// How long nothing may move.
    #[must_use]
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// Sends requests unsigned. Without this a missing key is an error.
    #[must_use]
    pub fn anonymous(mut self) -> Self {
        self.anonymous = true;
        self
    }

    /// Takes credentials from this profile of AWS' shared files, where the connection has none, and
    /// from nowhere else.
    #[must_use]
    pub fn profile(mut self, name: impl Into<String>) -> Self {
        self.profile = Some(name.into());
        self
    }

    /// One more source of credentials, asked after the connection and the environment, and after
    /// those added before.
    #[must_use]
    pub fn credentials(mut self, source: Arc<dyn ProvideCredentials>) -> Self {
        self.sources.push(source);
        self
    }

    /// Where `AWS_ACCESS_KEY_ID`, `AWS_REGION` and the like are looked up, instead of this process'
    /// environment.
    #[must_use]
    pub fn environment(
        mut self,
        environment: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.environment = Arc::new(environment);
        self
    }

    /// Where S3 Control answers, which has the jobs of Batch Operations: a URL. Without this it is
    /// the URL in `AWS_ENDPOINT_URL_S3_CONTROL`, else AWS' host for the account and region, and for
    /// other endpoints the endpoint itself.
    #[must_use]
    pub fn control_endpoint(mut self, url: impl Into<String>) -> Self {
        self.control_endpoint = Some(url.into());
        self
    }

    /// The clock that lock periods are counted from.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Copies what is larger than `whole_max` bytes in parts of `part` bytes, where the storage's
    /// limit is another than S3's 5 GiB. S3 itself takes no part below 5 MiB but the last.
    #[must_use]
    pub fn copy_in_parts(mut self, whole_max: u64, part: u64) -> Self {
        self.copy_sizes = CopySizes { whole_max, part };
        self
    }

    /// Makes the storage. Nothing is sent.
    ///
    /// # Errors
    /// [`BlobError::InvalidOption`] for what is missing, malformed or not supported yet.
    pub fn open(self) -> Result<S3Storage> {
        let Self { options, environment, .. } = self;
        let past = Past::of(options.point_in_time.as_deref())?;
        let place = Place::new(
            &options.bucket,
            &options.endpoint,
            !options.do_not_use_tls,
            self.addressing,
        )
        .map_err(|(option, reason)| invalid(option, reason))?;
        let told = self.control_endpoint.or_else(|| environment("AWS_ENDPOINT_URL_S3_CONTROL"));
        let place = match told.filter(|url| !url.is_empty()) {
            Some(url) => place.with_control(&url).map_err(|(what, why)| invalid(what, why))?,
            None => place,
        };
        let region = crate::wire::BucketRegion::of(&options.region, &place, || {
            ["AWS_REGION", "AWS_DEFAULT_REGION"].into_iter().find_map(|name| environment(name))
        });
        let trust = match (&options.root_ca, options.do_not_use_tls, options.do_not_verify_tls) {
            (_, true, _) => Trust::Plain,
            (_, _, true) => Trust::Anybody,
            (own, ..) if !own.is_empty() => Trust::Own(own.clone()),
            _ => Trust::System,
        };
        let proxies = Proxies::of(|name| environment(name))
            .map_err(|(variable, reason)| invalid(&variable, reason))?;
        let net = Net::new(&trust, &proxies, self.timeouts, CONCURRENCY)
            .map_err(|reason| invalid("rootCA", reason))?;
        let sources = match self.anonymous {
            true => Sources::Anonymous,
            false => {
                let surroundings = Surroundings {
                    environment,
                    clock: self.clock.clone(),
                    trust,
                    proxies,
                    profile: self.profile,
                    more: self.sources,
                };
                Sources::of(&options, surroundings)
                    .map_err(|(option, reason)| invalid(option, reason))?
            }
        };
        let info = StorageInfo {
            name: format!("S3: {} {}", options.endpoint, options.bucket),
            kind: "s3",
            concurrency: CONCURRENCY,
            read_only: past.is_some(),
        };
        Ok(S3Storage {
            inner: Arc::new(Inner {
                wire: Arc::new(Wire::new(net, sources, place, region)),
                info,
                prefix: options.prefix,
                clock: self.clock,
                put_learned: PutLearned::default(),
                list_learned: ListLearned::default(),
                copy_sizes: self.copy_sizes,
                past,
            }),
        })
    }
}

impl S3Storage {
    /// A storage with what a connection file says. Nothing is sent.
    ///
    /// # Errors
    /// As [`S3Builder::open`].
    pub fn open(options: S3Options) -> Result<Self> {
        Self::builder(options).open()
    }

    /// A folder below the prefix, as the whole key of its beginning, if there is one: other data
    /// than blobs of this storage. A listing does not show it, and who creates a repository does
    /// not want to be beside it.
    ///
    /// # Errors
    /// As a listing.
    pub async fn folder(&self) -> Result<Option<String>> {
        self.inner.folder().await
    }

    /// Does the bucket keep what is replaced or deleted? True for one that did so once, since what
    /// it kept is still there.
    ///
    /// # Errors
    /// [`BlobError::AccessDenied`] or [`BlobError::Unsupported`]: it is not known, for the right to
    /// ask is missing or the service knows no versions; and what any call may give.
    pub async fn keeps_versions(&self) -> Result<bool> {
        Ok(self.inner.versioning().await?.is_some())
    }

    /// The bucket's region: as given or guessed, and corrected as soon as an answer has told.
    pub fn region(&self) -> String {
        self.inner.wire.region().name
    }

    /// The text before every blob ID.
    pub fn prefix(&self) -> &str {
        &self.inner.prefix
    }

    /// The same, with more to set.
    pub fn builder(options: S3Options) -> S3Builder {
        S3Builder {
            options,
            addressing: Addressing::Auto,
            timeouts: Timeouts::default(),
            anonymous: false,
            profile: None,
            sources: Vec::new(),
            environment: Arc::new(|name| std::env::var(name).ok()),
            clock: Arc::new(SystemClock),
            control_endpoint: None,
            copy_sizes: CopySizes::default(),
        }
    }
}

impl Inner {
    /// The bucket's name.
    pub fn bucket(&self) -> String {
        self.wire.place().bucket().to_owned()
    }

    /// The object key of a blob.
    pub fn key(&self, id: &BlobId) -> String {
        format!("{}{id}", self.prefix)
    }

    /// What an error is to be about.
    pub fn about<'a>(&'a self, op: Op, id: Option<&'a BlobId>) -> About<'a> {
        About { op, id, range: None, storage: &self.info.name, now: self.clock.now() }
    }
}

fn invalid(option: &str, reason: String) -> BlobError {
    BlobError::InvalidOption { option: option.into(), reason }
}

/// The region to begin with; the storage's answers correct it.
impl crate::wire::BucketRegion {
    fn of(option: &str, place: &Place, environment: impl Fn() -> Option<String>) -> Self {
        let named = Some(option.to_owned()).filter(|name| !name.is_empty());
        match named.or_else(|| place.region()) {
            Some(name) => Self { name, known: true },
            None => {
                let guess = environment().filter(|name| !name.is_empty());
                Self { name: guess.unwrap_or_else(|| REGION_DEFAULT.into()), known: false }
            }
        }
    }
}

impl fmt::Debug for S3Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { info, prefix, .. } = &*self.inner;
        f.debug_struct("S3Storage").field("name", &info.name).field("prefix", prefix).finish()
    }
}

#[async_trait]
impl BlobStorage for S3Storage {
    fn info(&self) -> &StorageInfo {
        &self.inner.info
    }

    /// As the trait says; for a length of 0 no request is sent, so that a missing blob is not
    /// noticed. Kopia's is the same.
    async fn get(&self, id: &BlobId, range: ReadRange) -> Result<Bytes> {
        self.inner.get(id, range).await
    }

    /// As the trait says; where the bucket itself is missing, S3 doesn't tell that to a HEAD, and
    /// the blob is not found.
    async fn head(&self, id: &BlobId) -> Result<BlobMeta> {
        self.inner.head(id, Op::Head).await
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<BlobMeta>> {
        self.inner.list(prefix)
    }

    async fn put(&self, id: &BlobId, data: Payload, options: &PutOptions) -> Result<PutReceipt> {
        self.inner.require_present(Op::Put)?;
        self.inner.put(id, data, options).await
    }

    async fn delete(&self, id: &BlobId) -> Result<()> {
        self.inner.require_present(Op::Delete)?;
        self.inner.delete(id).await
    }

    async fn close(&self) -> Result<()> {
        Ok(()) // idle connections go with the last clone
    }

    fn archive(&self) -> Option<&dyn Archive> {
        Some(self)
    }

    fn retain(&self) -> Option<&dyn Retain> {
        Some(self) // whether the bucket keeps locks shows when one is asked for
    }

    fn volume(&self) -> Option<&dyn Volume> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(options: S3Options) -> (String, String) {
        match S3Storage::open(options).unwrap_err() {
            BlobError::InvalidOption { option, reason } => (option, reason),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_would_be_overlooked_is_refused_at_open() {
        let base = S3Options { bucket: "abc".into(), ..S3Options::default() };
        let role = S3Options {
            role_arn: "arn:aws:iam::1:role/r".into(),
            role_endpoint: "sts.example".into(),
            ..base.clone()
        };
        assert_eq!(refused(role).0, "roleEndpoint");
        let past = S3Options { point_in_time: Some("2026-01-01".into()), ..base.clone() };
        assert_eq!(refused(past).0, "pointInTime");
        assert_eq!(refused(S3Options { bucket: "ab".into(), ..base.clone() }).0, "bucket");
        assert_eq!(
            refused(S3Options { endpoint: "http://e".into(), ..base.clone() }).0,
            "endpoint"
        );
        assert_eq!(refused(S3Options { root_ca: b"x".to_vec(), ..base }).0, "rootCA");
    }

    #[test]
    fn the_name_is_kopias() {
        let options =
            S3Options { bucket: "abc".into(), do_not_use_tls: true, ..S3Options::default() };
        let storage = S3Storage::open(options).unwrap();
        assert_eq!(storage.info().name, "S3: s3.amazonaws.com abc");
        assert!(storage.archive().is_some() && storage.volume().is_none());
        assert!(storage.retain().is_some());
    }
}
