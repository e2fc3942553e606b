//! `cache set`: what the connection file says of the cache. Texts are Kopia's.

use std::{path::PathBuf, time::Duration};

use anyhow::bail;
use clap::Args;
use kopia_format::{
    local_config::{CachingOptions, Seconds},
    time::duration_text,
};

use crate::{
    cli::{App, repository::flags::duration},
    connect::{config, paths},
    exit::Exit,
    ui::size,
};

/// Change where the cache is and how big it may become.
#[derive(Debug, Args)]
pub struct Set {
    /// Folder of the cache. What is in the old one stays there.
    #[arg(long, value_name = "PATH")]
    cache_directory: Option<PathBuf>,
    /// Size of the content cache, in millions of bytes; 0 = no cache at all.
    #[arg(long, value_name = "MB", value_parser = megabytes)]
    content_cache_size_mb: Option<i64>,
    /// Hard limit of the content cache, in millions of bytes.
    #[arg(long, value_name = "MB", value_parser = megabytes)]
    content_cache_size_limit_mb: Option<i64>,
    /// Size of the metadata cache, in millions of bytes.
    #[arg(long, value_name = "MB", value_parser = megabytes)]
    metadata_cache_size_mb: Option<i64>,
    /// Hard limit of the metadata cache, in millions of bytes.
    #[arg(long, value_name = "MB", value_parser = megabytes)]
    metadata_cache_size_limit_mb: Option<i64>,
    /// How long Kopia may take listings from its cache.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    max_list_cache_duration: Option<Duration>,
    /// How old metadata must be for Kopia to remove it.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    metadata_min_sweep_age: Option<Duration>,
    /// How old contents must be for Kopia to remove them.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    content_min_sweep_age: Option<Duration>,
    /// How old indexes must be for Kopia to remove them.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    index_min_sweep_age: Option<Duration>,
    /// Only say what would change.
    #[arg(short = 'n', long)]
    dry_run: bool,
}

/// A number of millions of bytes, as bytes.
fn megabytes(text: &str) -> Result<i64, String> {
    let count: Option<i64> = text.parse().ok().filter(|count| *count >= 0);
    let bytes = count.and_then(|count| count.checked_mul(1_000_000));
    bytes.ok_or_else(|| format!("{text:?} is no number of megabytes"))
}

impl Set {
    pub(super) fn run(self, app: &App) -> anyhow::Result<Exit> {
        let mut connection = app.connection()?;
        let mut caching = connection.caching.clone().unwrap_or_default();
        if !self.apply(app, &mut caching) {
            bail!("no changes");
        }
        // Nothing of contents is nothing at all, as in Kopia.
        if caching.max_cache_size == 0 {
            let extra = caching.extra;
            caching = CachingOptions { extra, ..CachingOptions::default() };
        } else if caching.cache_directory.is_empty() {
            caching.cache_directory = seen_from_config(app, None);
        }
        connection.caching = Some(caching);
        if !self.dry_run {
            config::save(&app.config_file, &connection)?;
        }
        Ok(Exit::Done)
    }

    /// Makes and says the changes; gives whether there are any.
    fn apply(&self, app: &App, caching: &mut CachingOptions) -> bool {
        let mut is_changed = false;
        if let Some(folder) = self.cache_directory.as_ref().filter(|it| !it.as_os_str().is_empty())
        {
            app.info(format!("setting cache directory to {}", folder.display()));
            (caching.cache_directory, is_changed) = (seen_from_config(app, Some(folder)), true);
        }
        for (given, what, field) in [
            (self.content_cache_size_mb, "content cache size", &mut caching.max_cache_size),
            (
                self.content_cache_size_limit_mb,
                "content cache size limit",
                &mut caching.content_cache_size_limit_bytes,
            ),
            (
                self.metadata_cache_size_mb,
                "metadata cache size",
                &mut caching.max_metadata_cache_size,
            ),
            (
                self.metadata_cache_size_limit_mb,
                "metadata cache size limit",
                &mut caching.metadata_cache_size_limit_bytes,
            ),
        ] {
            let Some(given) = given else { continue };
            let shown = size::bytes(u64::try_from(given).unwrap_or(0));
            app.info(format!("changing {what} to {shown}"));
            (*field, is_changed) = (given, true);
        }
        for (given, what, field) in [
            (
                self.max_list_cache_duration,
                "list cache duration",
                &mut caching.max_list_cache_duration,
            ),
            (
                self.metadata_min_sweep_age,
                "minimum metadata sweep age",
                &mut caching.min_metadata_sweep_age,
            ),
            (
                self.content_min_sweep_age,
                "minimum content sweep age",
                &mut caching.min_content_sweep_age,
            ),
            (self.index_min_sweep_age, "minimum index sweep age", &mut caching.min_index_sweep_age),
        ] {
            let Some(given) = given else { continue };
            let nanos = i64::try_from(given.as_nanos()).unwrap_or(i64::MAX);
            app.info(format!("changing {what} to {}", duration_text(nanos)));
            (*field, is_changed) = (Seconds(given.as_secs_f64()), true);
        }
        is_changed
    }
}

/// A folder of the cache, the default one if none is given, as a connection file names it.
fn seen_from_config(app: &App, given: Option<&PathBuf>) -> String {
    let folder = match given {
        Some(given) => paths::with_home(given),
        None => paths::default_cache_directory(&[], &app.config_file),
    };
    let folder = paths::absolute(&folder).unwrap_or(folder);
    let file = paths::clean(&app.config_file);
    paths::relative_to_config(&folder, &file).to_string_lossy().into_owned()
}
