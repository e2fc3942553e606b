//! Flags that name a storage, and flags of a connection.

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use fs_backend::FilesystemOptions;
use kopia_format::{
    local_config::{CachingOptions, LocalConfig, Seconds, StorageConnection},
    time::parse_duration,
};

use crate::{compose::ClientOptions, connect::paths};

/// Go's durations, and days and weeks besides.
pub fn duration(text: &str) -> Result<std::time::Duration, String> {
    let days = |letter, days: u64| {
        text.strip_suffix(letter)?.parse::<u64>().ok()?.checked_mul(days * 86_400)
    };
    if let Some(secs) = days('d', 1).or_else(|| days('w', 7)) {
        return Ok(std::time::Duration::from_secs(secs));
    }
    let nanos = parse_duration(text).map_err(|error| error.to_string())?;
    let nanos = u64::try_from(nanos).map_err(|_| "a duration cannot be negative".to_owned())?;
    Ok(std::time::Duration::from_nanos(nanos))
}

/// Speed limits of every storage.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct SpeedFlags {
    /// Download at most this many bytes a second.
    #[arg(long, value_name = "BYTES")]
    pub(super) max_download_speed: Option<f64>,
    /// Upload at most this many bytes a second.
    #[arg(long, value_name = "BYTES")]
    pub(super) max_upload_speed: Option<f64>,
}

impl SpeedFlags {
    /// The limits under Kopia's names; what is not given is left out.
    fn as_options(self) -> serde_json::Map<String, serde_json::Value> {
        let limits = [
            ("maxUploadSpeedBytesPerSecond", self.max_upload_speed),
            ("maxDownloadSpeedBytesPerSecond", self.max_download_speed),
        ];
        let given = limits.into_iter().filter_map(|(name, limit)| Some((name, limit?)));
        given.map(|(name, limit)| (name.to_owned(), limit.into())).collect()
    }
}

/// A folder.
#[derive(Debug, Clone, Args)]
pub struct FilesystemFlags {
    /// The repository's folder.
    #[arg(long)]
    path: PathBuf,
    /// User that owns new files.
    #[arg(long, value_name = "UID")]
    owner_uid: Option<u32>,
    /// Group that owns new files.
    #[arg(long, value_name = "GID")]
    owner_gid: Option<u32>,
    /// Mode of new files.
    #[arg(long, value_name = "MODE", default_value = "0600", value_parser = mode)]
    file_mode: u32,
    /// Mode of new folders.
    #[arg(long, value_name = "MODE", default_value = "0700", value_parser = mode)]
    dir_mode: u32,
    /// Keep all blobs in one folder.
    #[arg(long)]
    pub flat: bool,
    /// Folders listed at once.
    #[arg(long, hide = true, default_value_t = 0)]
    list_parallelism: u32,
    #[command(flatten)]
    speed: SpeedFlags,
}

fn mode(text: &str) -> Result<u32, String> {
    u32::from_str_radix(text, 8).map_err(|_| "a mode is an octal number such as 0600".to_owned())
}

impl FilesystemFlags {
    /// The options as the connection file keeps them.
    ///
    /// # Errors
    /// The path is not absolute.
    pub fn options(&self) -> anyhow::Result<FilesystemOptions> {
        // A shell leaves `--path=~/x` as it is.
        let path = paths::with_home(&self.path);
        if !path.is_absolute() {
            bail!("filesystem repository path must be absolute: {}", path.display());
        }
        Ok(FilesystemOptions {
            path: paths::clean(&path),
            dir_shards: self.flat.then(Vec::new),
            file_mode: self.file_mode,
            dir_mode: self.dir_mode,
            uid: self.owner_uid.map(i64::from),
            gid: self.owner_gid.map(i64::from),
            list_parallelism: self.list_parallelism,
            other: self.speed.as_options(),
        })
    }
}

/// Flags of a connection, on `create` and `connect`.
#[derive(Debug, Clone, Args)]
pub struct ConnectFlags {
    /// Only look whether it can be done; write nothing.
    #[arg(short = 'n', long, global = true)]
    pub dry_run: bool,
    /// Folder of the cache.
    #[arg(long, global = true, value_name = "PATH", env = "KOPIA_CACHE_DIRECTORY")]
    cache_directory: Option<PathBuf>,
    /// Size of the content cache, in MiB.
    #[arg(long, global = true, value_name = "MB", default_value_t = 5000)]
    content_cache_size_mb: i64,
    /// Hard limit of the content cache, in MiB.
    #[arg(long, global = true, value_name = "MB", default_value_t = 0, hide = true)]
    content_cache_size_limit_mb: i64,
    /// Size of the metadata cache, in MiB.
    #[arg(long, global = true, value_name = "MB", default_value_t = 5000)]
    metadata_cache_size_mb: i64,
    /// Hard limit of the metadata cache, in MiB.
    #[arg(long, global = true, value_name = "MB", default_value_t = 0, hide = true)]
    metadata_cache_size_limit_mb: i64,
    #[arg(long, global = true, hide = true, value_parser = duration)]
    content_min_sweep_age: Option<std::time::Duration>,
    #[arg(long, global = true, hide = true, value_parser = duration)]
    metadata_min_sweep_age: Option<std::time::Duration>,
    #[arg(long, global = true, hide = true, value_parser = duration)]
    index_min_sweep_age: Option<std::time::Duration>,
    /// How long Kopia may take listings from its cache.
    #[arg(long, global = true, default_value = "30s", value_parser = duration)]
    max_list_cache_duration: std::time::Duration,
    /// Host name of snapshots taken with this connection.
    #[arg(long, global = true, value_name = "NAME", default_value = "", hide_default_value = true)]
    override_hostname: String,
    /// User name of snapshots taken with this connection.
    #[arg(long, global = true, value_name = "NAME", default_value = "", hide_default_value = true)]
    override_username: String,
    /// Taken for Kopia's sake: kopia-lite looks for no updates.
    #[arg(long, global = true, hide = true, default_value_t = true, action = clap::ArgAction::Set)]
    check_for_updates: bool,
    /// Refuse to change the repository.
    #[arg(long, global = true)]
    readonly: bool,
    /// Words about the repository.
    #[arg(long, global = true)]
    description: Option<String>,
    /// Let Kopia run the actions of policies.
    #[arg(long, global = true)]
    enable_actions: bool,
    /// How long the format blobs may be kept in memory; 15 minutes at most.
    #[arg(long, global = true, hide = true, default_value = "15m", value_parser = duration)]
    repository_format_cache_duration: std::time::Duration,
    /// Read the format blobs anew at every start.
    #[arg(long, global = true, hide = true)]
    disable_repository_format_cache: bool,
}

impl ConnectFlags {
    /// Is the connection to be read-only?
    pub fn is_read_only(&self) -> bool {
        self.readonly
    }

    /// Who the client is and what it may do, before there is a connection file.
    pub fn client_options(&self, app: &crate::cli::App) -> ClientOptions {
        ClientOptions {
            extra_keys: app.globals.storage_config_extra_keys,
            hostname: self.override_hostname.clone(),
            username: self.override_username.clone(),
            read_only: self.readonly,
            ..ClientOptions::default()
        }
    }

    /// The connection file that these flags ask for, without its storage.
    pub fn connection(
        &self,
        app: &crate::cli::App,
        storage: StorageConnection,
        unique_id: &[u8],
        name: &str,
    ) -> LocalConfig {
        use crate::connect::identity;
        let directory = match &self.cache_directory {
            Some(given) => paths::with_home(given),
            None => paths::default_cache_directory(unique_id, &app.config_file),
        };
        let directory = paths::absolute(&directory).unwrap_or(directory);
        // Seen from a file that was named without its folder there is no way, as in Kopia.
        let file = paths::clean(&app.config_file);
        let seconds =
            |age: Option<std::time::Duration>| Seconds(age.map_or(0.0, |age| age.as_secs_f64()));
        let caching = (self.content_cache_size_mb > 0).then(|| CachingOptions {
            cache_directory: paths::relative_to_config(&directory, &file)
                .to_string_lossy()
                .into_owned(),
            max_cache_size: self.content_cache_size_mb << 20,
            content_cache_size_limit_bytes: self.content_cache_size_limit_mb << 20,
            max_metadata_cache_size: self.metadata_cache_size_mb << 20,
            metadata_cache_size_limit_bytes: self.metadata_cache_size_limit_mb << 20,
            max_list_cache_duration: Seconds(self.max_list_cache_duration.as_secs_f64()),
            min_metadata_sweep_age: seconds(self.metadata_min_sweep_age),
            min_content_sweep_age: seconds(self.content_min_sweep_age),
            min_index_sweep_age: seconds(self.index_min_sweep_age),
            ..CachingOptions::default()
        });
        let refresh = if self.disable_repository_format_cache {
            -1
        } else {
            i64::try_from(self.repository_format_cache_duration.as_nanos()).unwrap_or(i64::MAX)
        };
        LocalConfig {
            caching: Some(caching.unwrap_or_default()),
            hostname: identity::hostname(&self.override_hostname),
            username: identity::username(&self.override_username),
            readonly: self.readonly,
            description: self
                .description
                .clone()
                .unwrap_or_else(|| format!("Repository in {name}")),
            enable_actions: self.enable_actions,
            format_blob_cache_duration: refresh,
            ..LocalConfig::new(storage, "", "")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos_and_days_and_weeks() {
        let secs = |text| duration(text).unwrap().as_secs();
        assert_eq!(
            [secs("1h30m"), secs("720h"), secs("30d"), secs("2w")],
            [5400, 2_592_000, 2_592_000, 1_209_600]
        );
        assert!(duration("-1s").is_err() && duration("x").is_err());
    }
}
