//! `repository create`.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use anyhow::{Context, bail};
use blob_core::LockMode;
use clap::{Args, Subcommand};
use fs_backend::FilesystemStorage;
use futures::{StreamExt, TryStreamExt};
use kopia_format::{
    cipher::CIPHERS, ecc::ALGORITHMS, hash::HASHES, keys::KEY_DERIVATIONS,
    maintenance::MaintenanceParameters, policy::Policy, snapshot::Source, split::SPLITTERS,
    time::duration_text,
};
use kopia_repo::{CreateOptions, Retention};
use kopia_snapshot::policies;

use super::{
    connect::{Named, connect, not_built, storage_connection},
    flags::{ConnectFlags, FilesystemFlags, duration},
    from_config::FromConfig,
    s3_flags::S3Flags,
};
use crate::{
    cli::{App, policy, storage_config},
    compose::{Client, ClientBuilder, ClientOptions},
    connect::{backends, password},
    exit::{Exit, Failure},
    ui::error::exit_of,
};

/// Create a repository.
#[derive(Debug, Args)]
pub struct Create {
    #[command(flatten)]
    format: FormatFlags,
    #[command(flatten)]
    flags: ConnectFlags,
    #[command(subcommand)]
    provider: Provider,
}

#[derive(Debug, Args)]
struct FormatFlags {
    /// Hash of contents.
    #[arg(long, global = true, value_name = "ALGO", default_value = "BLAKE2B-256-128",
          value_parser = clap::builder::PossibleValuesParser::new(HASHES))]
    block_hash: String,
    /// Cipher of contents.
    #[arg(long, global = true, value_name = "ALGO", default_value = "AES256-GCM-HMAC-SHA256",
          value_parser = clap::builder::PossibleValuesParser::new(CIPHERS))]
    encryption: String,
    /// Error correction, used where the overhead is not 0.
    #[arg(long, global = true, value_name = "ALGO", default_value = "REED-SOLOMON-CRC32",
          value_parser = clap::builder::PossibleValuesParser::new(ALGORITHMS))]
    ecc: String,
    /// Space for error correction, in percent; 0 = none.
    #[arg(long, global = true, value_name = "PERCENT", default_value_t = 0)]
    ecc_overhead_percent: u32,
    /// Where files are cut into contents.
    #[arg(long, global = true, value_name = "ALGO", default_value = "DYNAMIC-4M-BUZHASH",
          value_parser = clap::builder::PossibleValuesParser::new(SPLITTERS))]
    object_splitter: String,
    /// Create the repository without connecting to it.
    #[arg(short, long, global = true)]
    create_only: bool,
    /// Version of the repository format: 1, 2 or 3; 0 = the newest.
    #[arg(long, global = true, default_value_t = 0,
          value_parser = clap::value_parser!(u32).range(0..=3))]
    format_version: u32,
    /// Object lock of new blobs.
    #[arg(long, global = true, value_name = "MODE",
          value_parser = ["GOVERNANCE", "COMPLIANCE"])]
    retention_mode: Option<String>,
    /// How long new blobs are locked.
    #[arg(long, global = true, value_name = "DURATION", value_parser = duration)]
    retention_period: Option<Duration>,
    /// How the format blob's key is made of the password.
    #[arg(long, global = true, value_name = "ALGO", default_value = "scrypt-65536-8-1",
          value_parser = clap::builder::PossibleValuesParser::new(KEY_DERIVATIONS))]
    format_block_key_derivation_algorithm: String,
}

#[derive(Debug, Subcommand)]
enum Provider {
    /// In a bucket on S3.
    #[command(mut_arg("bucket", |bucket| bucket.required(true)))]
    S3 {
        #[command(flatten)]
        flags: Box<S3Flags>,
        /// Upload this file as `.storageconfig` first: it decides the storage class of every blob.
        #[arg(long, value_name = "FILE")]
        storage_config: Option<PathBuf>,
        /// Upload it even if it would archive more than data packs.
        #[arg(long)]
        force_storage_config: bool,
    },
    /// In a folder.
    Filesystem(FilesystemFlags),
    /// Where a token says.
    #[command(mut_arg("file", |file| file.hide(true)))]
    FromConfig(FromConfig),
    #[command(external_subcommand)]
    Other(Vec<OsString>),
}

impl FormatFlags {
    fn options(&self) -> anyhow::Result<CreateOptions> {
        let retention = match (self.retention_mode.as_deref(), self.retention_period) {
            (None, None) => None,
            (Some(mode), Some(period)) => Some(Retention {
                mode: if mode == "GOVERNANCE" {
                    LockMode::Governance
                } else {
                    LockMode::Compliance
                },
                period,
            }),
            _ => bail!("--retention-mode and --retention-period belong together"),
        };
        Ok(CreateOptions {
            hash: self.block_hash.clone(),
            encryption: self.encryption.clone(),
            ecc: self.ecc.clone(),
            ecc_overhead_percent: self.ecc_overhead_percent,
            splitter: self.object_splitter.clone(),
            format_version: match self.format_version {
                0 => CreateOptions::default().format_version,
                given => given,
            },
            retention,
            key_derivation: self.format_block_key_derivation_algorithm.clone(),
            ..CreateOptions::default()
        })
    }
}

impl Create {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let options = self.format.options()?;
        if self.flags.dry_run {
            return self.plan(app, &options).await;
        }
        let named = self.open_storage().await?;
        match look_around(&named).await? {
            Found::Nothing => {}
            Found::Unfinished => return self.finish(app, named).await,
            Found::Data(found) => return Err(not_empty(&named, &found)),
        }
        self.upload_storage_config(&named).await?;
        let password = named.password(app, password::Purpose::Create).await?;
        app.info("Initializing repository with:");
        self.say_format(app, &options);
        // The first blobs are written by a client that may, even if the connection is read-only.
        let writes = ClientOptions { read_only: false, ..self.flags.client_options(app) };
        let builder = ClientBuilder::over(named.backend.clone()).options(writes);
        builder.create(&password, options).await.context("cannot initialize repository")?;
        if self.format.create_only {
            return Ok(Exit::Done);
        }
        if self.flags.is_read_only() {
            let client = builder.open(&password).await?;
            populate(app, &client).await?;
            connect(app, &self.flags, named, &password).await?;
            return Ok(Exit::Done);
        }
        let client = connect(app, &self.flags, named, &password).await?;
        populate(app, &client).await.context("error populating repository")?;
        Ok(Exit::Done)
    }

    fn say_format(&self, app: &App, options: &CreateOptions) {
        if self.format.format_version != 0 {
            app.info(format!("  format version:      {}", options.format_version));
        }
        app.info(format!("  block hash:          {}", options.hash));
        app.info(format!("  encryption:          {}", options.encryption));
        app.info(format!("  key derivation:      {}", options.key_derivation));
        if options.ecc_overhead_percent > 0 {
            let percent = options.ecc_overhead_percent;
            app.info(format!("  ecc:                 {} with {percent}% overhead", options.ecc));
        }
        app.info(format!("  splitter:            {}", options.splitter));
    }

    /// Looks whether the repository could be made, and says how it would be.
    async fn plan(&self, app: &App, options: &CreateOptions) -> anyhow::Result<Exit> {
        let named = match &self.provider {
            Provider::S3 { flags, storage_config, force_storage_config, .. } => {
                if let Some(file) = storage_config {
                    storage_config::check_upload(&fs_err::read(file)?, *force_storage_config)?;
                }
                Some(Named::s3(flags.options()?)?)
            }
            Provider::Filesystem(flags) => {
                let options = flags.options()?;
                if options.path.exists() { Some(Named::folder(options).await?) } else { None }
            }
            Provider::FromConfig(from) => Some(from.open().await?),
            Provider::Other(words) => return Err(not_built(words)),
        };
        if let Some(named) = &named {
            match look_around(named).await? {
                Found::Nothing => {}
                Found::Unfinished => return Err(not_empty(named, "kopia.repository")),
                Found::Data(found) => return Err(not_empty(named, &found)),
            }
        }
        app.info("Would initialize a repository; nothing was written. It would have:");
        self.say_format(app, options);
        Ok(Exit::Done)
    }

    /// Does what is left of a creation that was interrupted after it had made the repository, or
    /// that was told to end there (`--create-only`).
    async fn finish(&self, app: &App, named: Named) -> anyhow::Result<Exit> {
        let refused = not_empty(&named, "kopia.repository");
        if self.format.create_only || self.flags.is_read_only() {
            return Err(refused);
        }
        let Ok(password) = named.password(app, password::Purpose::Connect).await else {
            return Err(refused);
        };
        let builder = ClientBuilder::over(named.backend.clone())
            .options(ClientOptions { read_only: false, ..self.flags.client_options(app) });
        let client = match builder.open(&password).await {
            Ok(client) => client,
            Err(error) if exit_of(&error) == Exit::Password => return Err(refused),
            Err(error) => return Err(error),
        };
        if !client.repo.manifests().find(&[]).await?.is_empty() {
            return Err(refused);
        }
        drop(client);
        app.warn(
            "the repository was created and then left without its first manifests; finishing it, \
             with the format that it has",
        );
        self.upload_storage_config(&named).await?;
        let client = connect(app, &self.flags, named, &password).await?;
        populate(app, &client).await.context("error populating repository")?;
        Ok(Exit::Done)
    }

    /// Uploads the file of `--storage-config`: only now, since it would count for a repository that
    /// is there already.
    async fn upload_storage_config(&self, named: &Named) -> anyhow::Result<()> {
        match &self.provider {
            Provider::S3 { storage_config: Some(file), force_storage_config, .. } => {
                let text = fs_err::read(file)?;
                storage_config::upload_new(&named.backend, &text, *force_storage_config).await
            }
            _ => Ok(()),
        }
    }

    async fn open_storage(&self) -> anyhow::Result<Named> {
        match &self.provider {
            Provider::S3 { flags, .. } => Named::s3(flags.options()?),
            Provider::Filesystem(flags) => {
                let options = flags.options()?;
                let shards = match (flags.flat, self.format.format_version) {
                    (true, _) => Some(Vec::new()),
                    (false, 1) => Some(vec![3, 3]),
                    (false, _) => None,
                };
                let storage = FilesystemStorage::create(options, shards).await?;
                let connection = storage_connection("filesystem", storage.options())?;
                let backend = backends::filesystem(storage);
                Ok(Named { backend, connection, password: None })
            }
            Provider::FromConfig(from) => from.open().await,
            Provider::Other(words) => Err(not_built(words)),
        }
    }
}

/// What is in a storage before a repository is.
enum Found {
    /// No blob, or one that the creation itself judges. A `.storageconfig` may be there already
    /// (requirement S10).
    Nothing,
    /// A repository that nothing seems to have been written into.
    Unfinished,
    /// Blobs or folders: one of them.
    Data(String),
}

/// The most blobs that an interrupted creation leaves: of the format, a session, and a pack and
/// index blobs of the first manifests.
const UNFINISHED_BLOBS_MAX: usize = 8;

async fn look_around(named: &Named) -> anyhow::Result<Found> {
    let stack = ClientBuilder::over(named.backend.clone()).stack().await?;
    let first = stack.full.list("").take(UNFINISHED_BLOBS_MAX + 1);
    let first: Vec<_> = first.try_collect().await.context("error listing blobs")?;
    let ids: Vec<&str> = first.iter().map(|meta| meta.id.as_str()).collect();
    match (ids.as_slice(), &named.backend.bucket) {
        (["kopia.blobcfg"], _) => Ok(Found::Nothing),
        // A repository beside others in folders would be no harm to them; but Kopia, which takes
        // folders for blobs, could not clean it up.
        ([], Some(bucket)) => {
            let folder = bucket.folder().await.context("error listing blobs")?;
            Ok(folder.map_or(Found::Nothing, Found::Data))
        }
        ([], None) => Ok(Found::Nothing),
        (all, _) if all.len() <= UNFINISHED_BLOBS_MAX && all.contains(&"kopia.repository") => {
            Ok(Found::Unfinished)
        }
        ([first, ..], _) => Ok(Found::Data((*first).to_owned())),
    }
}

fn not_empty(named: &Named, found: &str) -> anyhow::Error {
    let message = format!(
        "found existing data in storage location: {} holds {found}; connect to it, or choose \
         another prefix or folder",
        named.backend.storage.info().name
    );
    Failure::new(Exit::Failed, message).into()
}

/// Writes what every new repository has: the global policy, and who maintains it.
async fn populate(app: &App, client: &Client) -> anyhow::Result<()> {
    let writer = client.repo.writer()?;
    let policy = Policy::default_global();
    policies::save(&writer, &Source::global(), &policy).await?;
    let owner = format!("{}@{}", client.repo.username(), client.repo.hostname());
    let parameters =
        MaintenanceParameters { owner: owner.clone(), ..MaintenanceParameters::default() };
    writer.replace_manifest(&[("type", "maintenance")], &parameters).await?;
    app.flush(&writer).await?;
    app.line(policy::summary_of_new(&policy));
    app.info("\nTo find more information about default policy run 'kopia-lite policy get'.");
    app.info("To change the policy use 'kopia-lite policy set' command.");
    let every = |interval: Duration| duration_text(interval.as_nanos() as i64);
    app.info(format!(
        "\nNOTE: kopia-lite will perform quick maintenance of the repository automatically every {}\n\
         and full maintenance every {} when running as {owner}.",
        every(parameters.quick.interval),
        every(parameters.full.interval),
    ));
    Ok(())
}
