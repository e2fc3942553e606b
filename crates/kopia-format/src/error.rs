//! Why bytes could not be understood, or could not be made.

/// The result of parsing or writing.
pub type Result<T, E = FormatError> = std::result::Result<T, E>;

/// Why bytes could not be understood, or could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// The bytes don't have the form they should have.
    #[error("malformed {what}: {reason}")]
    Malformed {
        /// Which structure: `content ID`, `index`, `directory` …
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A name, number or feature that this version doesn't know.
    #[error("unsupported {what}: {name}")]
    Unsupported {
        /// Which kind of thing: `hash`, `compressor`, `format version` …
        what: &'static str,
        /// The name found.
        name: String,
    },
    /// The password does not open the format blob (or the blob is damaged: the two can't be told
    /// apart).
    #[error("wrong password")]
    WrongPassword,
    /// Sealed bytes were changed, or sealed with another key.
    #[error("{what} does not decrypt: it is damaged, or sealed with another key")]
    Damaged {
        /// Which structure.
        what: &'static str,
    },
    /// A value that must not be written, or a parameter out of range.
    #[error("invalid {what}: {reason}")]
    Invalid {
        /// Which value.
        what: &'static str,
        /// Why.
        reason: String,
    },
}

impl FormatError {
    /// Short for [`FormatError::Malformed`].
    pub fn malformed(what: &'static str, reason: impl Into<String>) -> Self {
        Self::Malformed { what, reason: reason.into() }
    }
}
