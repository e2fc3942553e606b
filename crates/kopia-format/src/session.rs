//! The marker of a session: a writer says that it is alive before it writes its first pack.
//!
//! As long as a marker is young, nobody deletes packs of its session, although no index refers
//! to them yet. Format: `docs/format/03-contents-packs.md`, section 7.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{FormatError, Result, SessionId, fields::Fields, json, time::GoTime};

/// What the IDs of session markers begin with.
pub const SESSION_BLOB_PREFIX: &str = "s";

/// What the blob of a session says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", try_from = "Value")]
pub struct SessionMarker {
    /// The session's ID, which is also in the ID of every blob that it writes.
    pub id: SessionId,
    /// When it began.
    pub start_time: GoTime,
    /// When it was last known to be alive; its age decides.
    pub checkpoint_time: GoTime,
    /// Who writes.
    pub username: String,
    /// Where.
    pub hostname: String,
}

impl SessionMarker {
    /// Reads the decrypted blob.
    ///
    /// # Errors
    /// [`FormatError::Malformed`] when it is not the JSON it should be.
    pub fn parse(plain: &[u8]) -> Result<Self> {
        Self::from_fields(Fields::parse("session marker", plain)?)
    }

    /// The blob before encryption.
    pub fn to_bytes(&self) -> Vec<u8> {
        json::to_vec(self)
    }

    fn from_fields(mut fields: Fields) -> Result<Self> {
        let no_id = || FormatError::malformed("session marker", "it has no id");
        Ok(Self {
            id: fields.take("id")?.ok_or_else(no_id)?,
            start_time: fields.take("startTime")?.unwrap_or(GoTime::ZERO),
            checkpoint_time: fields.take("checkpointTime")?.unwrap_or(GoTime::ZERO),
            username: fields.or_zero("username")?,
            hostname: fields.or_zero("hostname")?,
        })
    }
}

impl TryFrom<Value> for SessionMarker {
    type Error = FormatError;
    fn try_from(value: Value) -> Result<Self> {
        Self::from_fields(Fields::new("session marker", value)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seen in a repository written by Kopia 0.23.1.
    const SEEN: &str = concat!(
        r#"{"id":"sf824bf512ed3eee1147","startTime":"2026-11-24T13:12:05.106512661Z","#,
        r#""checkpointTime":"2026-11-24T13:12:05.106513041Z","username":"root","hostname":"vm"}"#
    );

    #[test]
    fn a_marker_of_kopia_is_read_and_written_alike() {
        let marker = SessionMarker::parse(SEEN.as_bytes()).unwrap();
        assert_eq!(marker.id.as_str(), "sf824bf512ed3eee1147");
        assert_eq!(marker.to_bytes(), SEEN.as_bytes());
        assert_eq!(serde_json::from_str::<SessionMarker>(SEEN).unwrap(), marker);
    }

    #[test]
    fn times_with_an_offset_are_the_same_instants() {
        let local = SEEN.replace("13:12:05.106512661Z", "18:42:05.106512661+05:30");
        let (local, utc) =
            (SessionMarker::parse(local.as_bytes()), SessionMarker::parse(SEEN.as_bytes()));
        assert_eq!(local, utc);
    }

    #[test]
    fn what_is_no_marker_is_malformed() {
        for text in ["", "[]", "{}", r#"{"id":"s1","startTime":"today"}"#] {
            let error = SessionMarker::parse(text.as_bytes()).unwrap_err();
            assert!(matches!(error, FormatError::Malformed { .. }), "{text}");
        }
    }
}
