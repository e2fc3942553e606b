//! The bucket's lifecycle document, read and written with care.
//!
//! A bucket has one document for everybody, and the storage cannot tell whether it changed since it
//! was read. So it is read again right before it is written and right after, and only our rule in
//! it ever changes.

use std::time::Duration;

use anyhow::{Context, bail};
use blob_core::{BlobError, BlobId, PutPolicy, Retry, StorageClass};
use cold_storage::{
    PriceTable,
    lifecycle::{self, Document, Finding, KINDS, Owner, Repository, Tag},
};
use s3_backend::{Lifecycle, S3Storage};
use storageconfig::StorageConfig;

use crate::{
    cli::{App, storage_config::bare},
    compose::ClientOptions,
    connect::{backends, config},
    exit::{Exit, Failure},
};

/// Kopia's full maintenance runs once a day unless told otherwise.
const MAINTENANCE_DAYS: u64 = 1;
/// How often a request is made that fails for a passing reason.
const ATTEMPTS: u32 = 5;
/// The longest wait that a storage may ask for.
const PATIENCE: Duration = Duration::from_secs(60);

/// The bucket of the connection, as it is.
pub struct Bucket {
    /// The storage of the repository in it.
    pub storage: S3Storage,
    /// Its rules, if it has any.
    pub rules: Option<Lifecycle>,
    /// The rules, read.
    pub document: Document,
    /// `.storageconfig`, or why it can't be read.
    pub config: anyhow::Result<StorageConfig>,
    /// What rules have to spare.
    pub repository: Repository,
}

impl Bucket {
    /// Reads all of it.
    pub async fn open(app: &App) -> anyhow::Result<Self> {
        let connection = app.connection()?;
        let backend = backends::open(config::storage_of(&connection, &app.config_file)?).await?;
        let Some(storage) = backend.bucket.clone() else {
            let name = &backend.storage.info().name;
            let message = format!("{name}: only S3 has lifecycle rules");
            return Err(Failure::new(Exit::Failed, message).into());
        };
        let options = ClientOptions { connected: true, ..ClientOptions::default() };
        let config = storageconfig::load(&*bare(backend, options).await?).await;
        let config = config.map(|loaded| loaded.config).map_err(anyhow::Error::from);
        let rules = read(&storage).await?;
        let repository = Repository {
            owner: Owner::new(storage.prefix()),
            tags: config.as_ref().map_or_else(|_| Vec::new(), tags_of),
            short_pack: None,
            maintenance_days: MAINTENANCE_DAYS,
            retention_days: None,
        };
        let document = document_of(rules.as_ref())?;
        Ok(Self { storage, rules, document, config, repository })
    }

    /// What the bucket says of the smallest objects that rules move.
    pub fn minimum(&self) -> Option<&str> {
        self.rules.as_ref()?.minimum.as_deref()
    }

    /// What there is to say about a document of this bucket.
    pub fn check(&self, document: &Document) -> Vec<Finding> {
        lifecycle::check(document, self.minimum(), &self.repository, PriceTable::built_in())
    }

    /// The class that `.storageconfig` names for all data packs.
    pub fn class_of_packs(&self) -> anyhow::Result<StorageClass> {
        let config = match &self.config {
            Ok(config) => config,
            Err(error) => bail!("{error:#}; say where packs go with --to CLASS"),
        };
        let mut classes: Vec<_> =
            config.explain_prefix("p").into_iter().map(|it| it.storage_class).collect();
        classes.dedup();
        match classes.as_slice() {
            [Some(class)] if *class != *StorageClass::STANDARD.as_str() => {
                Ok(StorageClass::new(class))
            }
            _ => bail!(
                ".storageconfig names no one class but STANDARD for data packs (p); say where they \
                 go with --to CLASS"
            ),
        }
    }

    /// Its name for people.
    pub fn name(&self) -> String {
        use blob_core::BlobStorage;
        self.storage.info().name.clone()
    }

    /// Writes `after` in the place of what was read, unless somebody changed that, and makes sure
    /// that it is there.
    pub async fn replace(&self, after: &Document) -> anyhow::Result<()> {
        if read(&self.storage).await? != self.rules {
            bail!("somebody changed the lifecycle rules meanwhile; nothing was changed: try again");
        }
        let rules = Lifecycle {
            document: after.text().to_owned().into(),
            minimum: self.minimum().map(str::to_owned),
        };
        let (storage, is_empty) = (&self.storage, after.rules().is_empty());
        let write = patiently(async || match is_empty {
            true => storage.remove_lifecycle().await,
            false => storage.set_lifecycle(&rules).await,
        });
        write
            .await
            .context("cannot write the bucket's lifecycle rules (s3:PutLifecycleConfiguration)")?;
        let now = document_of(read(storage).await?.as_ref())?;
        if !now.same_rules(after) {
            bail!(
                "the lifecycle rules were written, and are others now: somebody else changed them \
                 at the same time, or the storage does not keep all that a rule says; see \
                 storage-config lifecycle show"
            );
        }
        Ok(())
    }
}

/// The tags that blobs are written with.
fn tags_of(config: &StorageConfig) -> Vec<Tag> {
    let ids = KINDS.iter().filter_map(|kind| BlobId::new(kind.begin).ok());
    let tags = ids.flat_map(|id| config.attributes(&id, 0).tags);
    tags.map(|(key, value)| Tag { key, value }).collect()
}

fn document_of(rules: Option<&Lifecycle>) -> anyhow::Result<Document> {
    Ok(match rules {
        Some(rules) => Document::parse(&rules.document)?,
        None => Document::empty(),
    })
}

async fn read(storage: &S3Storage) -> anyhow::Result<Option<Lifecycle>> {
    patiently(async || storage.lifecycle().await)
        .await
        .context("cannot read the bucket's lifecycle rules (s3:GetLifecycleConfiguration)")
}

/// Makes a request again that failed for a passing reason: it goes by the layer that does so for
/// blobs.
pub async fn patiently<T>(call: impl AsyncFn() -> Result<T, BlobError>) -> Result<T, BlobError> {
    let mut pause = Duration::from_millis(200);
    for _ in 1..ATTEMPTS {
        match call().await {
            Err(error) => match error.retry() {
                Retry::Never => return Err(error),
                Retry::Backoff => tokio::time::sleep(pause).await,
                Retry::After(asked) if asked > PATIENCE => return Err(error),
                Retry::After(asked) => tokio::time::sleep(asked.max(pause)).await,
            },
            done => return done,
        }
        pause *= 3;
    }
    call().await
}
