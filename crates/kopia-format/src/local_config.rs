//! The connection file, `repository.config`: where a repository is and how this client uses it.
//!
//! Kopia and this client share the file, so it is written as Kopia writes it: its key order, its
//! omissions, two blanks of indentation, no final line end. Keys that we don't know are kept
//! behind those that we do. Two units meet in it: nanoseconds at the top, seconds inside
//! `caching`. Format: `docs/format/02-format-blob.md`, sections 11 and 12.

mod caching;
mod connection;
mod credentials;
mod throttling;

pub use caching::{CachingOptions, Seconds, cache_folder_name};
pub use connection::{STORAGE_KINDS, StorageConnection};
pub use credentials::{decode_stored_password, encode_stored_password, keyring_service};
pub use throttling::ThrottlingLimits;

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{FormatError, Result, fields::Fields, json};

const WHAT: &str = "connection file";

/// For how long Kopia uses format blobs that it read; also the longest that may be asked for.
pub const FORMAT_BLOB_CACHE_DURATION_DEFAULT: Duration = Duration::from_secs(900);

/// What `repository.config` says.
#[derive(Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LocalConfig {
    /// A connection to a repository server. A client of the storage itself refuses such a file.
    #[serde(rename = "apiServer", skip_serializing_if = "Option::is_none")]
    pub api_server: Option<Value>,
    /// Where the repository lies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage: Option<StorageConnection>,
    /// The local cache. Without a folder in it there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caching: Option<CachingOptions>,
    /// As which host this client makes snapshots.
    pub hostname: String,
    /// As which user this client makes snapshots.
    pub username: String,
    /// Whether nothing may be written.
    #[serde(skip_serializing_if = "json::is_zero")]
    pub readonly: bool,
    /// Whether index blobs that can't be read are passed over; needs `readonly`.
    #[serde(skip_serializing_if = "json::is_zero")]
    pub permissive_cache_loading: bool,
    /// What people call this repository.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Whether policies may have programs run.
    pub enable_actions: bool,
    /// For how many nanoseconds format blobs may be used that were read; −1: not at the start.
    #[serde(skip_serializing_if = "json::is_zero")]
    pub format_blob_cache_duration: i64,
    /// How much this client may ask of the storage; replaces what the storage's own part says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throttling_limits: Option<ThrottlingLimits>,
    /// Keys that this version doesn't know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl LocalConfig {
    /// A connection to `storage`, with Kopia's defaults and no cache.
    pub fn new(storage: StorageConnection, hostname: &str, username: &str) -> Self {
        Self {
            api_server: None,
            storage: Some(storage),
            caching: Some(CachingOptions::default()),
            hostname: hostname.to_owned(),
            username: username.to_owned(),
            readonly: false,
            permissive_cache_loading: false,
            description: String::new(),
            enable_actions: false,
            format_blob_cache_duration: FORMAT_BLOB_CACHE_DURATION_DEFAULT.as_nanos() as i64,
            throttling_limits: None,
            extra: Map::new(),
        }
    }

    /// Reads the file. What follows the first JSON document in it is passed over, as Kopia does.
    ///
    /// # Errors
    /// [`FormatError::Malformed`] when it is not the JSON it should be;
    /// [`FormatError::Unsupported`] for a kind of storage that Kopia doesn't know.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let text = String::from_utf8_lossy(bytes);
        let value = Value::deserialize(&mut serde_json::Deserializer::from_str(&text))
            .map_err(|e| FormatError::malformed(WHAT, format!("not JSON: {e}")))?;
        let mut fields = Fields::new(WHAT, value)?;
        let mut part = |key| fields.take_raw(key).filter(|value| !value.is_null());
        let (api_server, storage) = (part("apiServer"), part("storage"));
        let (caching, limits) = (part("caching"), part("throttlingLimits"));
        Ok(Self {
            api_server,
            storage: storage.map(StorageConnection::from_value).transpose()?,
            caching: caching.map(CachingOptions::from_value).transpose()?,
            hostname: fields.or_zero("hostname")?,
            username: fields.or_zero("username")?,
            readonly: fields.or_zero("readonly")?,
            permissive_cache_loading: fields.or_zero("permissiveCacheLoading")?,
            description: fields.or_zero("description")?,
            enable_actions: fields.or_zero("enableActions")?,
            format_blob_cache_duration: fields.or_zero("formatBlobCacheDuration")?,
            throttling_limits: limits.map(ThrottlingLimits::from_value).transpose()?,
            extra: fields.rest(),
        })
    }

    /// The file as Kopia writes it.
    pub fn to_bytes(&self) -> Vec<u8> {
        json::to_vec_indent(self)
    }

    /// For how long format blobs may be used that were read: never longer than 15 minutes.
    ///
    /// The second value says whether the copy that is there at the start must not be used.
    pub fn format_blob_cache(&self) -> (Duration, bool) {
        match u64::try_from(self.format_blob_cache_duration) {
            Ok(nanos) => {
                (Duration::from_nanos(nanos).min(FORMAT_BLOB_CACHE_DURATION_DEFAULT), false)
            }
            Err(_) => (FORMAT_BLOB_CACHE_DURATION_DEFAULT, true),
        }
    }

    /// `user@host`, as maintenance names its owner.
    pub fn user_at_host(&self) -> String {
        format!("{}@{}", self.username, self.hostname)
    }
}

/// Shows everything but what the storage's settings hold, which may be secret.
impl fmt::Debug for LocalConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalConfig")
            .field("storage", &self.storage)
            .field("caching", &self.caching)
            .field("hostname", &self.hostname)
            .field("username", &self.username)
            .field("readonly", &self.readonly)
            .field("description", &self.description)
            .field("format_blob_cache_duration", &self.format_blob_cache_duration)
            .field("throttling_limits", &self.throttling_limits)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by Kopia 0.23.1 after `repository create`, `set-client`, `throttle set` and
    /// `cache set`.
    const SEEN: &str = r#"{
  "storage": {
    "type": "filesystem",
    "config": {
      "path": "/tmp/repo",
      "fileMode": 384,
      "dirMode": 448,
      "dirShards": null
    }
  },
  "caching": {
    "cacheDirectory": "../cache",
    "maxCacheSize": 5242880000,
    "maxMetadataCacheSize": 5242880000,
    "maxListCacheDuration": 1.5
  },
  "hostname": "vm",
  "username": "root",
  "readonly": true,
  "description": "a \u003cb\u003e \u0026 c",
  "enableActions": false,
  "formatBlobCacheDuration": -1,
  "throttlingLimits": {
    "readsPerSecond": 0.5,
    "maxUploadSpeedBytesPerSecond": 1234567,
    "concurrentReads": 3
  }
}"#;

    #[test]
    fn a_file_of_kopia_is_read_and_written_alike() {
        let config = LocalConfig::parse(SEEN.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(config.to_bytes()).unwrap(), SEEN);
        assert_eq!(config.description, "a <b> & c");
        assert_eq!(config.user_at_host(), "root@vm");
        assert_eq!(config.storage.as_ref().unwrap().kind, "filesystem");
        let caching = config.caching.as_ref().unwrap();
        assert_eq!(caching.max_list_cache_duration.duration(), Duration::from_millis(1500));
        assert_eq!(config.format_blob_cache(), (Duration::from_secs(900), true));
        assert_eq!(config.throttling_limits.as_ref().unwrap().concurrent_reads, 3);
    }

    #[test]
    fn a_new_connection_is_kopias_with_the_cache_turned_off() {
        let config = Map::from_iter([("path".to_owned(), Value::from("/r"))]);
        let storage = StorageConnection { kind: "filesystem".to_owned(), config };
        let config = LocalConfig::new(storage, "h", "u");
        assert_eq!(
            String::from_utf8(config.to_bytes()).unwrap(),
            concat!(
                "{\n  \"storage\": {\n    \"type\": \"filesystem\",\n    \"config\": {\n",
                "      \"path\": \"/r\"\n    }\n  },\n  \"caching\": {},\n  \"hostname\": \"h\",\n",
                "  \"username\": \"u\",\n  \"enableActions\": false,\n",
                "  \"formatBlobCacheDuration\": 900000000000\n}"
            )
        );
        assert_eq!(config.format_blob_cache(), (Duration::from_secs(900), false));
    }

    #[test]
    fn unknown_keys_are_kept_in_order_and_known_ones_match_without_case() {
        let text = r#"{"zeta":1,"HostName":"h","caching":{"later":true},"alpha":{"b":1,"a":2}}x"#;
        let config = LocalConfig::parse(text.as_bytes()).unwrap();
        assert_eq!(config.hostname, "h");
        let again = LocalConfig::parse(&config.to_bytes()).unwrap();
        assert_eq!(again, config);
        assert_eq!(again.extra.keys().collect::<Vec<_>>(), ["zeta", "alpha"]);
        assert_eq!(again.caching.unwrap().extra["later"], true);
    }

    #[test]
    fn broken_files_are_malformed() {
        for text in [
            "",
            "[]",
            r#"{"storage":[]}"#,
            r#"{"storage":{"type":"filesystem"}}"#,
            r#"{"caching":{"maxCacheSize":"big"}}"#,
            r#"{"readonly":1}"#,
        ] {
            let error = LocalConfig::parse(text.as_bytes()).unwrap_err();
            assert!(matches!(error, FormatError::Malformed { .. }), "{text}: {error}");
        }
        let unknown = LocalConfig::parse(br#"{"storage":{"type":"tape","config":{}}}"#);
        assert!(matches!(unknown, Err(FormatError::Unsupported { .. })));
    }

    #[test]
    fn debug_hides_what_the_storage_keeps_secret() {
        let text = r#"{"storage":{"type":"s3","config":{"secretAccessKey":"SECRET"}}}"#;
        let shown = format!("{:?}", LocalConfig::parse(text.as_bytes()).unwrap());
        assert!(shown.contains("secretAccessKey") && !shown.contains("SECRET"), "{shown}");
    }
}
