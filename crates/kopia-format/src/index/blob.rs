//! An index blob as a storage lists it.

use serde::{Deserialize, Serialize};

use crate::time::GoTime;

/// An index blob, or a marker beside them, as a storage lists it; also the form in which compaction
/// logs name blobs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct IndexBlob {
    /// The blob's ID.
    pub id: String,
    /// Its length in bytes.
    #[serde(default)]
    pub length: u64,
    /// When it was written, by the storage's clock.
    #[serde(default)]
    pub timestamp: GoTime,
}

impl AsRef<str> for IndexBlob {
    fn as_ref(&self) -> &str {
        &self.id
    }
}
