//! `kopia.blobcfg`: how long the storage must keep blobs from being deleted.
//!
//! Sealed like the format blob, with the same key. A repository without this blob has no
//! retention. Format: `docs/format/02-format-blob.md`, section 9.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    FormatError, Result,
    cipher::NONCE_LEN,
    fields::{Fields, Nanos},
    format_blob::{open_payload, seal_payload},
    json::{self, is_zero},
    keys::FormatKey,
    time::nanos,
};

/// The ID of this blob.
pub const BLOBCFG_BLOB_ID: &str = "kopia.blobcfg";

/// The shortest retention that may be asked for.
pub const RETENTION_PERIOD_MIN: Duration = Duration::from_secs(24 * 3600);

/// The storage's side of a repository's settings.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BlobConfig {
    /// `GOVERNANCE` or `COMPLIANCE`; `None` is no retention.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention_mode: Option<String>,
    /// For how long a blob is kept from being deleted; zero is no retention.
    #[serde(with = "nanos", skip_serializing_if = "is_zero")]
    pub retention_period: Duration,
    /// Keys that this version doesn't know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl BlobConfig {
    /// Opens the blob of the repository `unique_id`.
    ///
    /// # Errors
    /// [`FormatError::Damaged`] when the key does not open it: after a password change that broke
    /// off, this blob and the format blob have different keys. [`FormatError::Malformed`] when
    /// what was sealed is not the JSON it should be.
    pub fn decrypt(blob: &[u8], key: &FormatKey, unique_id: &[u8]) -> Result<Self> {
        let plain = open_payload(key, unique_id, blob)
            .ok_or(FormatError::Damaged { what: BLOBCFG_BLOB_ID })?;
        let mut fields = Fields::parse(BLOBCFG_BLOB_ID, &plain)?;
        Ok(Self {
            retention_mode: fields.take("retentionMode")?.filter(|mode: &String| !mode.is_empty()),
            retention_period: fields.or_zero::<Nanos>("retentionPeriod")?.0,
            extra: fields.rest(),
        })
    }

    /// The blob to store. The nonce must be random.
    pub fn encrypt(&self, key: &FormatKey, unique_id: &[u8], nonce: [u8; NONCE_LEN]) -> Vec<u8> {
        seal_payload(key, unique_id, nonce, &json::to_vec(self))
    }

    /// Whether blobs are to be kept from being deleted.
    pub fn is_retention_enabled(&self) -> bool {
        self.retention_mode.is_some() && !self.retention_period.is_zero()
    }

    /// Whether this may be written.
    ///
    /// # Errors
    /// [`FormatError::Invalid`] when only one of mode and period is set, or the period is shorter
    /// than a day.
    pub fn check(&self) -> Result<()> {
        let reason = match (&self.retention_mode, self.retention_period) {
            (None, Duration::ZERO) => return Ok(()),
            (None, _) => "a period without a mode",
            (Some(_), Duration::ZERO) => "a mode without a period",
            (Some(_), period) if period < RETENTION_PERIOD_MIN => "shorter than a day",
            _ => return Ok(()),
        };
        Err(FormatError::Invalid { what: "retention", reason: reason.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kopia_fixtures::{hex, vectors};

    #[test]
    fn kopias_blobs_open_and_are_sealed_alike() {
        for case in vectors("format_blob.json")["cases"].as_array().unwrap() {
            let key = hex(&case["formatEncryptionKey"]).try_into().unwrap();
            let (key, id) = (FormatKey::new(key), hex(&case["uniqueID"]));
            let sealed = hex(&case["blobcfgEncrypted"]);
            let config = BlobConfig::decrypt(&sealed, &key, &id).unwrap();
            let plain = case["blobcfgPlaintext"].as_str().unwrap();
            assert_eq!(json::to_vec(&config), plain.as_bytes());
            assert_eq!(config.is_retention_enabled(), plain != "{}");
            assert_eq!(config.check(), Ok(()));
            let nonce = sealed[..NONCE_LEN].try_into().unwrap();
            assert_eq!(config.encrypt(&key, &id, nonce), sealed);
        }
    }

    #[test]
    fn another_key_is_damage() {
        let sealed = BlobConfig::default().encrypt(&FormatKey::new([1; 32]), b"id", [0; 12]);
        let error = BlobConfig::decrypt(&sealed, &FormatKey::new([2; 32]), b"id").unwrap_err();
        assert_eq!(error, FormatError::Damaged { what: "kopia.blobcfg" });
    }

    #[test]
    fn mode_and_period_go_together_and_a_day_is_the_least() {
        let config = |mode: Option<&str>, hours: u64| BlobConfig {
            retention_mode: mode.map(str::to_owned),
            retention_period: Duration::from_secs(3600 * hours),
            extra: Map::new(),
        };
        for (mode, hours, valid) in [
            (None, 0, true),
            (Some("COMPLIANCE"), 24, true),
            (Some("COMPLIANCE"), 23, false),
            (Some("GOVERNANCE"), 0, false),
            (None, 48, false),
        ] {
            assert_eq!(config(mode, hours).check().is_ok(), valid, "{mode:?} {hours} h");
        }
    }
}
