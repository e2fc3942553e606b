//! From the storage part of a connection file to a storage.

use std::sync::Arc;

use anyhow::{Context, bail};
use blob_core::DynStorage;
use fs_backend::{FilesystemOptions, FilesystemStorage};
use kopia_format::local_config::StorageConnection;
use s3_backend::{Addressing, S3Options, S3Storage};
use serde_json::Value;

use crate::exit::{Exit, Failure};

/// A storage without layers.
#[derive(Debug, Clone)]
pub struct Backend {
    /// The storage.
    pub storage: DynStorage,
    /// May it hold a `.storageconfig`? Kopia honours one on S3 alone.
    pub has_storage_config: bool,
    /// The bucket, where it is one: it may hold other data in folders, which no listing shows.
    pub bucket: Option<S3Storage>,
}

/// What a connection file may say beyond Kopia's keys, which leaves such keys out when it writes the
/// file anew: the profile of AWS' shared files that has the keys, and how the bucket's name gets into
/// requests.
pub const PROFILE: &str = "kopiaLiteProfile";
/// See [`PROFILE`]; one of the two below.
pub const ADDRESSING: &str = "kopiaLiteAddressing";
/// `https://endpoint/bucket/key`.
pub const PATH_STYLE: &str = "path";
/// `https://bucket.endpoint/key`.
pub const VIRTUAL_HOST: &str = "virtual-host";

/// Storages that Kopia knows and kopia-lite does not.
const KOPIAS_OWN: [&str; 9] =
    ["azureBlob", "b2", "gcs", "gdrive", "rclone", "sftp", "webdav", "webdavEx", "googleDrive"];

/// Opens the storage that `connection` names.
///
/// # Errors
/// The kind is not known, or its options are not right.
pub async fn open(connection: &StorageConnection) -> anyhow::Result<Backend> {
    let config = Value::Object(connection.config.clone());
    match connection.kind.as_str() {
        "s3" => {
            let options: S3Options =
                serde_json::from_value(config).context("the connection file's S3 options")?;
            s3(options)
        }
        "filesystem" => {
            let options: FilesystemOptions =
                serde_json::from_value(config).context("the connection file's options")?;
            Ok(filesystem(FilesystemStorage::open(options).await?))
        }
        kind => {
            let known = if KOPIAS_OWN.contains(&kind) { "; Kopia does" } else { "" };
            let message = format!("{kind} is not a storage that kopia-lite knows{known}");
            Err(Failure::new(Exit::NotConnected, message).into())
        }
    }
}

/// A bucket on S3.
///
/// # Errors
/// The options are not right.
pub fn s3(options: S3Options) -> anyhow::Result<Backend> {
    let word = |name| options.unknown.get(name).and_then(Value::as_str).map(str::to_owned);
    let (profile, addressing) = (word(PROFILE), word(ADDRESSING));
    let mut builder = S3Storage::builder(options);
    if let Some(profile) = profile {
        builder = builder.profile(profile);
    }
    builder = builder.addressing(match addressing.as_deref() {
        Some(PATH_STYLE) => Addressing::Path,
        Some(VIRTUAL_HOST) => Addressing::VirtualHost,
        Some(other) => bail!("{ADDRESSING} of the connection file is {other:?}, which is neither {PATH_STYLE} nor {VIRTUAL_HOST}"),
        None => Addressing::Auto,
    });
    let storage = builder.open()?;
    let bucket = Some(storage.clone());
    Ok(Backend { storage: Arc::new(storage), has_storage_config: true, bucket })
}

/// A folder.
pub fn filesystem(storage: FilesystemStorage) -> Backend {
    Backend { storage: Arc::new(storage), has_storage_config: false, bucket: None }
}
