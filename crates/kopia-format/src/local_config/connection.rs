//! Where a repository lies: a kind of storage and its settings.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use zeroize::Zeroize;

use crate::{FormatError, Result, fields::Fields};

const WHAT: &str = "storage connection";

/// The kinds of storage that Kopia 0.23 knows. Any other makes it refuse a connection.
pub const STORAGE_KINDS: &[&str] =
    &["azureBlob", "b2", "filesystem", "gcs", "gdrive", "rclone", "s3", "sftp", "webdav"];

/// Where a repository lies. Its settings belong to the storage and may hold secrets.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Value")]
pub struct StorageConnection {
    /// The kind of storage, such as `s3`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The storage's settings, as they stand.
    pub config: Map<String, Value>,
}

/// Which of the settings are secret only the storage knows, so all texts are overwritten.
impl Drop for StorageConnection {
    fn drop(&mut self) {
        for value in self.config.values_mut() {
            if let Value::String(text) = value {
                text.zeroize();
            }
        }
    }
}

impl StorageConnection {
    /// Reads `{"type":…,"config":{…}}`.
    ///
    /// # Errors
    /// [`FormatError::Unsupported`] for a kind that Kopia doesn't know;
    /// [`FormatError::Malformed`] when there are no settings.
    pub fn from_value(value: Value) -> Result<Self> {
        let mut fields = Fields::new(WHAT, value)?;
        let kind: String = fields.or_zero("type")?;
        if !STORAGE_KINDS.contains(&kind.as_str()) {
            return Err(FormatError::Unsupported { what: "kind of storage", name: kind });
        }
        let config = match fields.take_raw("config") {
            Some(Value::Object(config)) => config,
            Some(Value::Null) => Map::new(),
            _ => return Err(FormatError::malformed(WHAT, "config is missing or no object")),
        };
        Ok(Self { kind, config })
    }
}

impl TryFrom<Value> for StorageConnection {
    type Error = FormatError;
    fn try_from(value: Value) -> Result<Self> {
        Self::from_value(value)
    }
}

/// Shows the kind and which settings there are, not their values.
impl fmt::Debug for StorageConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StorageConnection({}, ", self.kind)?;
        f.debug_list().entries(self.config.keys()).finish()?;
        f.write_str(")")
    }
}
