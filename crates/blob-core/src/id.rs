//! Blob IDs: the names of blobs in a storage, without any key prefix of the connection.

use std::{fmt, sync::Arc};

/// The longest ID a storage has to take, in bytes: S3's limit for a whole object key.
pub const LENGTH_MAX: usize = 1024;

/// The name of a blob: 1 to [`LENGTH_MAX`] bytes of UTF-8 without `/` and without control
/// characters.
///
/// Cheap to clone. Ordered bytewise, as S3 lists.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobId(Arc<str>);

/// A text that can't be a blob ID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a blob ID: {reason}")]
pub struct InvalidBlobId {
    /// The text refused.
    pub text: String,
    /// Which rule it breaks.
    pub reason: &'static str,
}

impl BlobId {
    /// Checks `text` and makes an ID of it.
    ///
    /// # Errors
    /// [`InvalidBlobId`] if it is empty, too long, or holds a `/` or a control character.
    pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidBlobId> {
        let text = text.as_ref();
        let reason = if text.is_empty() {
            "it is empty"
        } else if text.len() > LENGTH_MAX {
            "it is longer than 1024 bytes"
        } else if text.contains('/') {
            "it holds a slash"
        } else if text.chars().any(char::is_control) {
            "it holds a control character"
        } else {
            return Ok(Self(Arc::from(text)));
        };
        Err(InvalidBlobId { text: text.to_owned(), reason })
    }

    /// The ID as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Does the ID begin with `prefix`? Bytewise; the empty prefix begins every ID.
    pub fn starts_with(&self, prefix: &str) -> bool {
        self.0.starts_with(prefix)
    }
}

impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl AsRef<str> for BlobId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for BlobId {
    type Err = InvalidBlobId;
    fn from_str(text: &str) -> Result<Self, InvalidBlobId> {
        Self::new(text)
    }
}

impl TryFrom<&str> for BlobId {
    type Error = InvalidBlobId;
    fn try_from(text: &str) -> Result<Self, InvalidBlobId> {
        Self::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_checked_once_at_the_door() {
        assert_eq!(BlobId::new("kopia.repository").unwrap().as_str(), "kopia.repository");
        for bad in ["", "a/b", "a\nb", &"x".repeat(1025)] {
            assert!(BlobId::new(bad).is_err(), "{bad:?} was taken");
        }
    }
}
