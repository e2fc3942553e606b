//! `repository connect`.

use std::ffi::OsString;

use anyhow::Context;
use clap::{Args, Subcommand};
use fs_backend::{FilesystemOptions, FilesystemStorage};
use kopia_format::local_config::StorageConnection;
use s3_backend::S3Options;
use secrecy::SecretString;
use serde::Serialize;

use super::{
    flags::{ConnectFlags, FilesystemFlags},
    from_config::FromConfig,
    s3_flags::S3Flags,
};
use crate::{
    cli::App,
    compose::{Client, ClientOptions, storage_limits},
    connect::{
        backends::{self, Backend},
        config, password,
    },
    exit::{Exit, Failure},
};

/// Connect to a repository.
#[derive(Debug, Args)]
pub struct Connect {
    #[command(flatten)]
    flags: ConnectFlags,
    #[command(subcommand)]
    provider: Provider,
}

#[derive(Debug, Subcommand)]
enum Provider {
    /// In a bucket on S3.
    #[command(mut_arg("bucket", |bucket| bucket.required(true)))]
    S3 {
        #[command(flatten)]
        flags: Box<S3Flags>,
        /// See the repository as it was at a time like 2026-01-02T03:04:05Z, to read only; the
        /// bucket must keep versions
        #[arg(long, value_name = "TIME")]
        point_in_time: Option<String>,
    },
    /// In a folder.
    Filesystem(FilesystemFlags),
    /// Where another connection file says, or a token.
    FromConfig(FromConfig),
    #[command(external_subcommand)]
    Other(Vec<OsString>),
}

/// A storage that was named by flags: open, and as the connection file keeps it.
pub(super) struct Named {
    pub backend: Backend,
    pub connection: StorageConnection,
    /// A token may hold one.
    pub password: Option<SecretString>,
}

/// The storage part of a connection file.
///
/// # Errors
/// The options can't be written as JSON, which no real options do.
pub(super) fn storage_connection(
    kind: &str,
    options: &impl Serialize,
) -> anyhow::Result<StorageConnection> {
    let config = match serde_json::to_value(options).context("the storage's options")? {
        serde_json::Value::Object(config) => config,
        other => anyhow::bail!("the storage's options are {other}, which is no object"),
    };
    Ok(StorageConnection { kind: kind.to_owned(), config })
}

impl Named {
    /// A bucket on S3.
    ///
    /// # Errors
    /// The options are not right.
    pub fn s3(options: S3Options) -> anyhow::Result<Self> {
        let connection = storage_connection("s3", &options)?;
        Ok(Self { backend: backends::s3(options)?, connection, password: None })
    }

    /// A folder that is there.
    ///
    /// # Errors
    /// It is not there, or access is denied.
    pub async fn folder(options: FilesystemOptions) -> anyhow::Result<Self> {
        let connection = storage_connection("filesystem", &options)?;
        let backend = backends::filesystem(FilesystemStorage::open(options).await?);
        Ok(Self { backend, connection, password: None })
    }

    /// The password: the token's, or as [`App::password`] finds it.
    ///
    /// # Errors
    /// As [`App::password`].
    pub async fn password(
        &self,
        app: &App,
        purpose: password::Purpose,
    ) -> anyhow::Result<SecretString> {
        match &self.password {
            Some(password) => Ok(password.clone()),
            None => app.password(purpose).await,
        }
    }
}

impl Connect {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let named = match &self.provider {
            Provider::S3 { flags, point_in_time } => {
                let point_in_time = point_in_time.clone().filter(|time| !time.is_empty());
                Named::s3(S3Options { point_in_time, ..flags.options()? })?
            }
            Provider::Filesystem(flags) => Named::folder(flags.options()?).await?,
            Provider::FromConfig(from) => from.open().await?,
            Provider::Other(words) => return Err(not_built(words)),
        };
        let password = named.password(app, password::Purpose::Connect).await?;
        connect(app, &self.flags, named, &password).await?;
        Ok(Exit::Done)
    }
}

/// Keeps the region that the bucket is in instead of another one: Kopia does not look for it.
fn correct_region(app: &App, named: &mut Named) {
    let Some(bucket) = &named.backend.bucket else { return };
    let given = named.connection.config.get("region").and_then(serde_json::Value::as_str);
    let Some(given) = given.filter(|given| !given.is_empty()) else { return };
    let region = bucket.region();
    if given != region {
        app.warn(format!("the bucket is in the region {region}, not in {given}"));
        named.connection.config.insert("region".to_owned(), region.into());
    }
}

/// A storage that only Kopia has.
pub(super) fn not_built(words: &[OsString]) -> anyhow::Error {
    let name = words.first().map_or_else(Default::default, |word| word.to_string_lossy());
    let message = match &*name {
        "azure" | "b2" | "gcs" | "gdrive" | "rclone" | "sftp" | "webdav" | "server" => {
            format!("{name} is not a storage that kopia-lite knows; Kopia does")
        }
        _ => format!("{name} is not a storage that kopia-lite knows: there are s3 and filesystem"),
    };
    Failure::new(Exit::Usage, message).into()
}

/// Opens the repository to see that the password fits, then writes the connection file.
///
/// # Errors
/// The repository can't be opened; then the connection that was there, and its password, stay.
pub(super) async fn connect(
    app: &App,
    flags: &ConnectFlags,
    mut named: Named,
    password: &SecretString,
) -> anyhow::Result<Client> {
    let options = ClientOptions {
        limits: storage_limits(&named.connection)?,
        // Whoever is to mend it has to connect first.
        pass_over_damaged_index: true,
        ..flags.client_options(app)
    };
    let opened = Client::open(named.backend.clone(), password, options).await;
    let client = opened.context("error connecting to repository")?;
    correct_region(app, &mut named);
    let name = &client.bare.info().name;
    if flags.dry_run {
        app.info(format!("Would connect to the repository of {name}; nothing was written."));
        return Ok(client);
    }
    let connection = flags.connection(app, named.connection, &client.repo.unique_id(), name);
    config::save(&app.config_file, &connection)?;
    if app.globals.persist_credentials {
        password::store(&app.config_file, app.globals.use_keyring, password)?;
    }
    if let Some(cache) = config::cache_of(&connection, &app.config_file) {
        client.repo.keep_format(&cache.directory);
        // Unless the password is kept in a keyring, or not at all.
        if password::is_stored(&app.config_file, password) {
            client.repo.keep_key(&cache.directory);
        }
    }
    for warning in client.storage_warnings() {
        app.warn(warning);
    }
    app.name_damaged_index_of(&client.repo);
    app.info("Connected to repository.");
    Ok(client)
}
