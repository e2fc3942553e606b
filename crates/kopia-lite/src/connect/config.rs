//! Reading and writing the connection file, `repository.config` (docs/format/02-format-blob.md
//! §11).

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::Context;
use kopia_format::FormatError;
use kopia_format::local_config::{LocalConfig, StorageConnection};
use kopia_repo::CacheOptions;
use zeroize::Zeroizing;

use super::paths;
use crate::exit::{Exit, Failure};

/// Reads the connection file.
///
/// # Errors
/// [`Exit::NotConnected`] when there is none; the file's name and what is wrong with it otherwise.
pub fn load(file: &Path) -> anyhow::Result<LocalConfig> {
    let bytes = match fs_err::read(file) {
        Ok(bytes) => Zeroizing::new(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let message = format!(
                "repository is not connected: there is no {}; \
                 see kopia-lite repository connect --help",
                file.display()
            );
            return Err(Failure::new(Exit::NotConnected, message).into());
        }
        Err(error) => return Err(error.into()),
    };
    LocalConfig::parse(&bytes).map_err(|error| {
        let message = format!("connection file {}", file.display());
        match error {
            // Of a storage that not even Kopia knows.
            FormatError::Unsupported { .. } => {
                anyhow::Error::new(error).context(Failure::new(Exit::NotConnected, message))
            }
            _ => anyhow::Error::new(error).context(message),
        }
    })
}

/// The storage part of a connection.
///
/// # Errors
/// It is a connection to a Kopia server, or it has no storage.
pub fn storage_of<'a>(
    connection: &'a LocalConfig,
    file: &Path,
) -> anyhow::Result<&'a StorageConnection> {
    let what = match (&connection.api_server, &connection.storage) {
        (None, Some(storage)) => return Ok(storage),
        // Kopia, too, goes by the server where a file names both.
        (Some(_), _) => {
            "belongs to a connection to a Kopia server; connect to the storage directly"
        }
        (None, None) => "names no storage",
    };
    Err(Failure::new(Exit::NotConnected, format!("{} {what}", file.display())).into())
}

/// Writes the connection file: whole or not at all, readable by this user alone.
///
/// # Errors
/// The folder or the file can't be written.
pub fn save(file: &Path, connection: &LocalConfig) -> anyhow::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    let mut builder = std::fs::DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    let name = file.display();
    builder.recursive(true).create(folder).with_context(|| format!("cannot write {name}"))?;
    // A temporary file is readable by this user alone from the beginning.
    let mut out = tempfile::NamedTempFile::new_in(folder)?;
    out.write_all(&connection.to_bytes())?;
    out.as_file().sync_all()?;
    out.persist(file).with_context(|| format!("cannot write {name}"))?;
    Ok(())
}

/// The cache that a connection asks for; `None` when it wants none.
///
/// `KOPIA_CACHE_DIRECTORY` takes the place of the folder in the file, if it is an absolute path.
pub fn cache_of(connection: &LocalConfig, file: &Path) -> Option<CacheOptions> {
    let caching = connection.caching.as_ref()?;
    let by_environment = std::env::var_os("KOPIA_CACHE_DIRECTORY")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    let by_file =
        Some(&caching.cache_directory).filter(|directory| !directory.is_empty()).map(|directory| {
            let base = file.parent().unwrap_or(Path::new("."));
            let directory = base.join(directory);
            paths::absolute(&directory).unwrap_or(directory)
        });
    let directory = by_environment.or(by_file)?;
    let bytes = |value: i64| u64::try_from(value).unwrap_or(0);
    let content_bytes_max = bytes(caching.max_cache_size);
    // 0 means the same as for contents.
    let metadata_bytes_max = match bytes(caching.max_metadata_cache_size) {
        0 => content_bytes_max,
        given => given,
    };
    Some(CacheOptions { directory, content_bytes_max, metadata_bytes_max })
}
