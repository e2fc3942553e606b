//! How much a client may ask of its storage.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::{Result, fields::Fields, json::is_zero};

/// Limits of one client; zero is no limit. A negative limit is an error when it is used.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ThrottlingLimits {
    /// Reads of blobs or of their metadata, each second.
    #[serde(skip_serializing_if = "is_zero")]
    pub reads_per_second: f64,
    /// Writes and deletions, each second.
    #[serde(skip_serializing_if = "is_zero")]
    pub writes_per_second: f64,
    /// Listings, each second.
    #[serde(skip_serializing_if = "is_zero")]
    pub lists_per_second: f64,
    /// Bytes up, each second.
    #[serde(skip_serializing_if = "is_zero")]
    pub max_upload_speed_bytes_per_second: f64,
    /// Bytes down, each second.
    #[serde(skip_serializing_if = "is_zero")]
    pub max_download_speed_bytes_per_second: f64,
    /// Reads at once.
    #[serde(skip_serializing_if = "is_zero")]
    pub concurrent_reads: i64,
    /// Writes at once.
    #[serde(skip_serializing_if = "is_zero")]
    pub concurrent_writes: i64,
    /// Keys that this version doesn't know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl ThrottlingLimits {
    /// Reads the object. Storage settings hold the same keys beside their own.
    ///
    /// # Errors
    /// [`FormatError::Malformed`](crate::FormatError::Malformed) when it is no object or a limit
    /// is no number.
    pub fn from_value(value: Value) -> Result<Self> {
        let mut fields = Fields::new("throttling limits", value)?;
        Ok(Self {
            reads_per_second: fields.or_zero("readsPerSecond")?,
            writes_per_second: fields.or_zero("writesPerSecond")?,
            lists_per_second: fields.or_zero("listsPerSecond")?,
            max_upload_speed_bytes_per_second: fields.or_zero("maxUploadSpeedBytesPerSecond")?,
            max_download_speed_bytes_per_second: fields
                .or_zero("maxDownloadSpeedBytesPerSecond")?,
            concurrent_reads: fields.or_zero("concurrentReads")?,
            concurrent_writes: fields.or_zero("concurrentWrites")?,
            extra: fields.rest(),
        })
    }
}
