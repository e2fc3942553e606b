//! Kopia's local cache: where it is and how large it may grow.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Result, fields::Fields, json::is_zero};

/// A number of seconds, as the cache's durations are written: `30`, `1.5`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seconds(pub f64);

impl Seconds {
    /// The same as a duration; none if negative or beyond all measure.
    pub fn duration(self) -> Duration {
        Duration::try_from_secs_f64(self.0).unwrap_or_default()
    }
}

impl From<Duration> for Seconds {
    fn from(duration: Duration) -> Self {
        Self(duration.as_secs_f64())
    }
}

/// The `caching` of a connection file. Zero means "the default" in every field but
/// `max_cache_size`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CachingOptions {
    /// The folder, relative to the connection file's. Empty: no cache.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cache_directory: String,
    /// How many bytes of contents to keep, if they are not too young to go.
    #[serde(skip_serializing_if = "is_zero")]
    pub max_cache_size: i64,
    /// How many bytes of contents to keep at most.
    #[serde(skip_serializing_if = "is_zero")]
    pub content_cache_size_limit_bytes: i64,
    /// The same as `max_cache_size` for metadata; zero: equal to it.
    #[serde(skip_serializing_if = "is_zero")]
    pub max_metadata_cache_size: i64,
    /// How many bytes of metadata to keep at most.
    #[serde(skip_serializing_if = "is_zero")]
    pub metadata_cache_size_limit_bytes: i64,
    /// For how long a listing may be used.
    #[serde(skip_serializing_if = "is_zero")]
    pub max_list_cache_duration: Seconds,
    /// How old metadata must be to be removed.
    #[serde(skip_serializing_if = "is_zero")]
    pub min_metadata_sweep_age: Seconds,
    /// How old contents must be to be removed.
    #[serde(skip_serializing_if = "is_zero")]
    pub min_content_sweep_age: Seconds,
    /// How old unused indexes must be to be removed.
    #[serde(skip_serializing_if = "is_zero")]
    pub min_index_sweep_age: Seconds,
    /// Keys that this version doesn't know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl CachingOptions {
    pub(super) fn from_value(value: Value) -> Result<Self> {
        let mut fields = Fields::new(super::WHAT, value)?;
        Ok(Self {
            cache_directory: fields.or_zero("cacheDirectory")?,
            max_cache_size: fields.or_zero("maxCacheSize")?,
            content_cache_size_limit_bytes: fields.or_zero("contentCacheSizeLimitBytes")?,
            max_metadata_cache_size: fields.or_zero("maxMetadataCacheSize")?,
            metadata_cache_size_limit_bytes: fields.or_zero("metadataCacheSizeLimitBytes")?,
            max_list_cache_duration: fields.or_zero("maxListCacheDuration")?,
            min_metadata_sweep_age: fields.or_zero("minMetadataSweepAge")?,
            min_content_sweep_age: fields.or_zero("minContentSweepAge")?,
            min_index_sweep_age: fields.or_zero("minIndexSweepAge")?,
            extra: fields.rest(),
        })
    }

    /// How many bytes of metadata to keep, if they are not too young to go.
    pub fn effective_metadata_cache_size(&self) -> i64 {
        match self.max_metadata_cache_size {
            0 => self.max_cache_size,
            size => size,
        }
    }
}

/// How Kopia calls the cache of a repository, as used by one connection file, in `…/kopia/`.
pub fn cache_folder_name(unique_id: &[u8], config_path: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    let hash = Sha256::new().chain_update(unique_id).chain_update(config_path).finalize();
    hex::encode(&hash[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_become_durations_and_nonsense_becomes_none() {
        assert_eq!(Seconds(1.5).duration(), Duration::from_millis(1500));
        for nonsense in [-1.0, f64::NAN, 1e300] {
            assert_eq!(Seconds(nonsense).duration(), Duration::ZERO, "{nonsense}");
        }
        assert_eq!(Seconds::from(Duration::from_secs(30)), Seconds(30.0));
    }

    #[test]
    fn metadata_has_the_size_of_contents_unless_it_has_its_own() {
        let mut caching = CachingOptions { max_cache_size: 7, ..CachingOptions::default() };
        assert_eq!(caching.effective_metadata_cache_size(), 7);
        caching.max_metadata_cache_size = 3;
        assert_eq!(caching.effective_metadata_cache_size(), 3);
    }

    #[test]
    fn the_folder_name_depends_on_the_repository_and_on_the_file() {
        // echo -n idpath | sha256sum
        assert_eq!(cache_folder_name(b"id", b"path"), "d6c8ef1ae08d90f4");
        assert_ne!(cache_folder_name(b"id", b"path2"), cache_folder_name(b"id", b"path"));
    }
}
