//! How it all is put together: backend, layers, policy, repository.
//!
//! The storage-class policy is one layer among others (requirement C5): [`ClientBuilder::policy`]
//! takes any [`PutPolicy`], [`ClientBuilder::no_policy`] none, and without either the repository's
//! `.storageconfig` decides where the storage keeps one. Nothing else changes.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::Context;
use blob_core::{
    DynStorage, PutPolicy, StorageStack,
    layers::{Hide, Limit, Metrics, ReadOnly, Retry, Throttle, ThrottleLimits, WithPolicy},
};
use kopia_format::local_config::{LocalConfig, StorageConnection, ThrottlingLimits};
use kopia_repo::{CacheOptions, CreateOptions, OpenOptions, RepoError, Repository};
use s3_backend::S3Storage;
use secrecy::SecretString;
use storageconfig::{FILE_NAME, Finding, Level, Loaded, StorageConfig};

use crate::{
    connect::{backends::Backend, identity},
    exit::{Exit, Failure},
};

/// The longest that the format blobs may be taken from memory: whoever locks a repository for an
/// upgrade waits so long for everybody to have seen the lock (docs/format/02-format-blob.md §5.1).
const FORMAT_REFRESH_MAX: Duration = Duration::from_secs(15 * 60);

/// How often a storage is tried that was just named and never answered.
const FIRST_CONTACT_ATTEMPTS: u32 = 3;

/// What counts of the keys of `.storageconfig` that Kopia does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum ExtraKeys {
    /// All of them; a blob that a bad one is for is not written.
    #[default]
    Obey,
    /// None, as in Kopia.
    Ignore,
    /// All of them, an ACL that lets others read the blobs too.
    Force,
}

impl ExtraKeys {
    /// The rules of a file as they count with this choice.
    pub fn applied_to(self, config: StorageConfig) -> StorageConfig {
        match self {
            Self::Obey => config,
            Self::Ignore => config.ignoring_extra_keys(),
            Self::Force => config.allowing_open_acls(),
        }
    }
}

/// What is said of a connection besides its storage.
#[derive(Debug, Clone, Default)]
pub struct ClientOptions {
    /// Host name of snapshots taken here; empty = this machine's.
    pub hostname: String,
    /// User name of snapshots taken here; empty = this user's.
    pub username: String,
    /// Refuse writes.
    pub read_only: bool,
    /// Where to keep fetched blobs.
    pub cache: Option<CacheOptions>,
    /// How long the format blobs may be taken from memory.
    pub format_refresh: Option<Duration>,
    /// How much is asked of the storage.
    pub limits: ThrottleLimits,
    /// What counts of the extra keys of `.storageconfig`.
    pub extra_keys: ExtraKeys,
    /// Bytes that chunks and packs on their way may take together; `None` = kopia-repo's default.
    pub memory_bytes_max: Option<u64>,
    /// The format blobs may be kept on this machine for as long as they may be taken from memory.
    pub keep_format: bool,
    /// The key made of the password may be kept on this machine: the password is, readable, and it is
    /// the one given.
    pub keep_key: bool,
    /// Index blobs that can't be read are passed over; then nothing can be written.
    pub pass_over_damaged_index: bool,
    /// Somebody was connected to the storage before: it is waited for if it can't be reached now.
    pub connected: bool,
}

impl ClientOptions {
    /// What the connection file `connection`, which lies at `file`, says.
    ///
    /// # Errors
    /// A speed limit is no number, or negative; damaged index blobs are to be passed over by who writes.
    pub fn of_connection(connection: &LocalConfig, file: &Path) -> anyhow::Result<Self> {
        anyhow::ensure!(
            connection.readonly || !connection.permissive_cache_loading,
            "{}: permissiveCacheLoading is set, and the connection is not read-only: what writes \
             passes over no damaged index blob. Set it to false: what reads needs no such word",
            file.display()
        );
        let refresh = connection.format_blob_cache_duration;
        let limits = match (&connection.throttling_limits, &connection.storage) {
            // Limits of the connection take the place of the storage's, all of them.
            (Some(limits), _) => limits_of(limits)?,
            (None, Some(storage)) => storage_limits(storage)?,
            (None, None) => ThrottleLimits::default(),
        };
        Ok(Self {
            hostname: connection.hostname.clone(),
            username: connection.username.clone(),
            read_only: connection.readonly,
            cache: crate::connect::config::cache_of(connection, file),
            format_refresh: u64::try_from(refresh)
                .ok()
                .filter(|n| *n > 0)
                .map(|nanos| Duration::from_nanos(nanos).min(FORMAT_REFRESH_MAX)),
            limits,
            extra_keys: ExtraKeys::default(),
            memory_bytes_max: None,
            keep_format: false,
            keep_key: false,
            pass_over_damaged_index: false,
            connected: true,
        })
    }
}

/// The limits that a storage's part of the connection file has among its own keys.
///
/// # Errors
/// A limit is no number, or negative.
pub fn storage_limits(storage: &StorageConnection) -> anyhow::Result<ThrottleLimits> {
    limits_of(&ThrottlingLimits::from_value(serde_json::Value::Object(storage.config.clone()))?)
}

fn limits_of(limits: &ThrottlingLimits) -> anyhow::Result<ThrottleLimits> {
    let rate = |name: &str, rate: f64| {
        anyhow::ensure!(rate >= 0.0, "the limit {name} can't be negative: {rate}");
        Ok(rate)
    };
    let at_once = |name: &str, count: i64| {
        usize::try_from(count)
            .with_context(|| format!("the limit {name} can't be negative: {count}"))
    };
    Ok(ThrottleLimits {
        download_bytes_per_second: rate(
            "maxDownloadSpeedBytesPerSecond",
            limits.max_download_speed_bytes_per_second,
        )?,
        upload_bytes_per_second: rate(
            "maxUploadSpeedBytesPerSecond",
            limits.max_upload_speed_bytes_per_second,
        )?,
        reads_per_second: rate("readsPerSecond", limits.reads_per_second)?,
        writes_per_second: rate("writesPerSecond", limits.writes_per_second)?,
        lists_per_second: rate("listsPerSecond", limits.lists_per_second)?,
        reads_at_once: at_once("concurrentReads", limits.concurrent_reads)?,
        writes_at_once: at_once("concurrentWrites", limits.concurrent_writes)?,
    })
}

/// Who decides about storage classes.
#[derive(Debug, Clone)]
enum Policy {
    /// The repository's `.storageconfig`, where the storage keeps one.
    StorageConfig,
    /// Nobody.
    None,
    /// Somebody else.
    Given(Arc<dyn PutPolicy>),
}

/// Puts a client together.
#[derive(Debug, Clone)]
pub struct ClientBuilder {
    backend: Backend,
    options: ClientOptions,
    policy: Policy,
}

/// A repository that is open, and what it stands on.
#[derive(Debug, Clone)]
pub struct Client {
    /// The repository.
    pub repo: Repository,
    /// The storage without a policy: what reads and writes `.storageconfig` itself.
    pub bare: DynStorage,
    /// The same without retries, for work that has its own pace.
    pub unretried: DynStorage,
    /// The bucket, where the storage is one.
    pub bucket: Option<S3Storage>,
    /// What the requests cost so far.
    pub metrics: Metrics,
    /// The `.storageconfig`, where the storage keeps one.
    pub storage_config: Option<Loaded>,
}

/// A storage with its layers, and what was learned on the way.
#[derive(Debug, Clone)]
pub struct Stack {
    /// With retries, and without a policy.
    pub bare: DynStorage,
    /// Without retries, and without a policy.
    pub unretried: DynStorage,
    /// With everything.
    pub full: DynStorage,
    /// What the requests cost so far.
    pub metrics: Metrics,
    /// The `.storageconfig`, where the storage keeps one.
    pub storage_config: Option<Loaded>,
}

impl ClientBuilder {
    /// Begins with a backend.
    pub fn over(backend: Backend) -> Self {
        Self { backend, options: ClientOptions::default(), policy: Policy::StorageConfig }
    }

    /// Sets who the client is and what it may do.
    #[must_use]
    pub fn options(self, options: ClientOptions) -> Self {
        Self { options, ..self }
    }

    /// Lets `policy` decide about storage classes instead of `.storageconfig`.
    #[must_use]
    pub fn policy(self, policy: impl PutPolicy + 'static) -> Self {
        Self { policy: Policy::Given(Arc::new(policy)), ..self }
    }

    /// Lets nobody decide about storage classes.
    #[must_use]
    pub fn no_policy(self) -> Self {
        Self { policy: Policy::None, ..self }
    }

    /// Puts the layers on the storage. Reads `.storageconfig`, before anything else is read.
    ///
    /// # Errors
    /// The file is there and can't be read or understood.
    pub async fn stack(&self) -> anyhow::Result<Stack> {
        let metrics = Metrics::new();
        let requests = self.backend.storage.info().concurrency.max(1);
        let mut bare = StorageStack::over(self.backend.storage.clone())
            .layer(metrics.clone())
            .layer(Limit::requests(requests));
        if self.options.limits != ThrottleLimits::default() {
            bare = bare.layer(Throttle::to(self.options.limits));
        }
        let retry = match self.options.connected {
            true => Retry::new(),
            false => Retry::new().first_contact(FIRST_CONTACT_ATTEMPTS),
        };
        let unretried = bare.clone().build();
        let bare = bare.layer(retry).build();
        let reads_file = self.backend.has_storage_config;
        let (policy, storage_config) = match &self.policy {
            Policy::None => (None, None),
            Policy::Given(policy) => (Some(policy.clone()), None),
            Policy::StorageConfig if !reads_file => (None, None),
            Policy::StorageConfig => {
                let loaded = storageconfig::load(&*bare).await?;
                let policy: Arc<dyn PutPolicy> =
                    Arc::new(self.options.extra_keys.applied_to(loaded.config.clone()));
                (loaded.text.is_some().then_some(policy), Some(loaded))
            }
        };
        let mut full = StorageStack::over(bare.clone());
        if let Some(policy) = policy {
            full = full.layer(WithPolicy::new(policy));
        }
        if reads_file {
            full = full.layer(Hide::named(FILE_NAME));
        }
        let mut unretried = StorageStack::over(unretried);
        if self.options.read_only {
            full = full.layer(ReadOnly);
            unretried = unretried.layer(ReadOnly);
        }
        let (full, unretried) = (full.build(), unretried.build());
        Ok(Stack { bare, unretried, full, metrics, storage_config })
    }

    /// Creates a repository; fails if the storage holds anything but a `.storageconfig`.
    ///
    /// # Errors
    /// What the storage says, or the options.
    pub async fn create(
        &self,
        password: &SecretString,
        options: CreateOptions,
    ) -> anyhow::Result<()> {
        let stack = self.stack().await?;
        Ok(Repository::create(stack.full, password, options).await?)
    }

    fn prefix(&self) -> &str {
        self.backend.bucket.as_ref().map_or("", |bucket| bucket.prefix())
    }

    /// Opens the repository.
    ///
    /// # Errors
    /// What the storage or the repository says.
    pub async fn open(&self, password: &SecretString) -> anyhow::Result<Client> {
        let Stack { bare, unretried, full, metrics, storage_config } = self.stack().await?;
        let defaults = OpenOptions::default();
        let options = OpenOptions {
            cache: self.options.cache.clone(),
            username: identity::username(&self.options.username),
            hostname: identity::hostname(&self.options.hostname),
            read_only: self.options.read_only,
            pass_over_damaged_index: self.options.pass_over_damaged_index,
            format_refresh: self.options.format_refresh.unwrap_or(defaults.format_refresh),
            memory_bytes_max: self.options.memory_bytes_max.unwrap_or(defaults.memory_bytes_max),
            // Not if the connection says that they are to be read every time.
            keep_format: self.options.keep_format && self.options.format_refresh.is_some(),
            keep_key: self.options.keep_key,
            upgrade_owner: std::env::var("KOPIA_REPO_UPGRADE_OWNER_ID").ok(),
            ..defaults
        };
        let name = full.info().name.clone();
        let repo =
            Repository::open(full, password, options).await.map_err(|error| match error {
                RepoError::WrongPassword => {
                    let message = format!("wrong password for the repository at {name}");
                    anyhow::Error::new(error).context(Failure::new(Exit::Password, message))
                }
                // Most often it is the prefix that is wrong.
                RepoError::NoRepository { storage } if !self.prefix().is_empty() => {
                    let prefix = self.prefix();
                    let message = format!(
                        "{storage} holds no Kopia repository below the prefix {prefix:?}: \
                         {prefix}kopia.repository is missing"
                    );
                    Failure::new(Exit::NotConnected, message).into()
                }
                other => other.into(),
            })?;
        let bucket = self.backend.bucket.clone();
        Ok(Client { repo, bare, unretried, bucket, metrics, storage_config })
    }
}

impl Client {
    /// Opens a repository with its own `.storageconfig`.
    ///
    /// # Errors
    /// What the storage or the repository says.
    pub async fn open(
        backend: Backend,
        password: &SecretString,
        options: ClientOptions,
    ) -> anyhow::Result<Self> {
        ClientBuilder::over(backend).options(options).open(password).await
    }

    /// What is dangerous about the repository's `.storageconfig`: said whenever it is opened.
    pub fn storage_warnings(&self) -> Vec<String> {
        let findings = self.storage_config.iter().flat_map(|loaded| &loaded.findings);
        findings
            .filter(|finding| is_loud(finding))
            .map(|finding| format!("{FILE_NAME}: {}", crate::ui::finding::line(finding)))
            .collect()
    }
}

/// Is a finding worth a line at every command? Only what loses data or stops writes.
fn is_loud(finding: &Finding) -> bool {
    finding.level == Level::Error
        || matches!(finding.code, "W-ARCHIVE-META" | "W-CONFIG-FORBIDDEN" | "W-LEGAL-HOLD")
}
