//! Directory objects: what a folder held, to the byte as Kopia writes it.
//!
//! A directory is one line of JSON, stored as an object with prefix `k`. Its bytes are hashed, so
//! two clients that walk the same tree must write the same bytes: order, omitted zero values, Go's
//! escapes and Go's mode bits. Reading keeps everything as it is stored: Kopia shows and restores
//! `summ.maxTime` of a sub-directory in place of its `mtime`, which is for the layer above to
//! decide. Facts: `docs/format/06-manifests-snapshots.md` §0 and §3.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::error::{FormatError, Result};
use crate::ids::ObjectId;
use crate::json::{self, is_zero};
use crate::time::{GoTime, mode_text, parse_mode};

mod builder;

pub use builder::DirectoryBuilder;

const WHAT: &str = "directory";
const STREAM: &str = "kopia:directory";

/// What an entry of a directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum EntryKind {
    /// A regular file, `f`.
    File,
    /// A directory, `d`.
    Directory,
    /// A symbolic link, `s`; its object holds the target.
    Symlink,
    /// Anything else that a future writer may store; it can't be restored.
    #[default]
    Unknown,
}

impl EntryKind {
    /// The letter in JSON; empty for an unknown kind.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::File => "f",
            Self::Directory => "d",
            Self::Symlink => "s",
            Self::Unknown => "",
        }
    }
}

impl Serialize for EntryKind {
    fn serialize<S: Serializer>(&self, out: S) -> std::result::Result<S::Ok, S::Error> {
        out.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for EntryKind {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(from)?;
        Ok(match text.as_ref() {
            "f" => Self::File,
            "d" => Self::Directory,
            "s" => Self::Symlink,
            _ => Self::Unknown,
        })
    }
}

/// One file, link or folder in a directory, or the root of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DirEntry {
    /// Base name in raw bytes. What is read from a repository is UTF-8: a name that was not has one
    /// U+FFFD for each bad byte.
    #[serde(with = "json::text", skip_serializing_if = "is_zero")]
    pub name: Vec<u8>,
    /// What it is.
    #[serde(rename = "type", skip_serializing_if = "is_zero")]
    pub kind: EntryKind,
    /// Permission bits, and Go's bits for setuid, setgid and sticky ([`crate::time`]).
    #[serde(with = "mode", skip_serializing_if = "is_zero")]
    pub mode: u32,
    /// Bytes of a file, or of a link's target; never of a directory.
    #[serde(skip_serializing_if = "is_zero")]
    pub size: u64,
    /// Its own time of modification, in nanoseconds since 1970.
    #[serde(with = "wrapping_time", skip_serializing_if = "is_zero")]
    pub mtime: i64,
    /// Owner.
    #[serde(skip_serializing_if = "is_zero")]
    pub uid: u32,
    /// Group.
    #[serde(skip_serializing_if = "is_zero")]
    pub gid: u32,
    /// The bytes: of a file, of a link's target, or of the directory object.
    #[serde(rename = "obj")]
    pub object: ObjectId,
    /// What lies below, for a directory (and for the root of a snapshot of a single file).
    #[serde(rename = "summ", skip_serializing_if = "Option::is_none")]
    pub summary: Option<DirSummary>,
}

impl DirEntry {
    /// Is a directory.
    #[must_use]
    pub fn is_dir(&self) -> bool {
        self.kind == EntryKind::Directory
    }

    /// The name for people.
    #[must_use]
    pub fn name_lossy(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.name)
    }
}

/// An entry that could not be stored, and why.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct EntryError {
    /// Path from the root of the snapshot, in raw bytes.
    #[serde(with = "json::text")]
    pub path: Vec<u8>,
    /// What happened, in raw bytes since it may hold a path.
    #[serde(with = "json::text")]
    pub error: Vec<u8>,
}

/// Counts over everything below a directory, itself included.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DirSummary {
    /// Bytes of all files.
    pub size: u64,
    /// Number of files.
    pub files: u64,
    /// Number of symbolic links.
    pub symlinks: u64,
    /// Number of directories, this one included.
    pub dirs: u64,
    /// The newest modification below, not before 1970; its own of a directory without entries.
    #[serde(rename = "maxTime", with = "wrapping_time")]
    pub max_time: i64,
    /// Why the directory was not finished; empty if it was.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub incomplete: String,
    /// Number of entries that failed.
    #[serde(rename = "numFailed")]
    pub failed: u64,
    /// Number of entries that failed and are ignored by policy.
    #[serde(rename = "numIgnoredErrors", skip_serializing_if = "is_zero")]
    pub ignored_errors: u64,
    /// Both kinds of failures, by path.
    #[serde(deserialize_with = "json::null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<EntryError>,
}

/// A directory object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Directory {
    /// The entries: directories first, then the rest, each by the bytes of the name.
    pub entries: Vec<DirEntry>,
    /// Counts over everything below.
    pub summary: DirSummary,
}

#[derive(Serialize)]
struct Written<'a> {
    stream: &'static str,
    entries: Option<&'a [DirEntry]>,
    summary: &'a DirSummary,
}

#[derive(Deserialize)]
struct Read {
    stream: String,
    #[serde(default, deserialize_with = "json::null_is_default")]
    entries: Vec<DirEntry>,
    #[serde(default, deserialize_with = "json::null_is_default")]
    summary: DirSummary,
}

impl Directory {
    /// Reads a directory object.
    ///
    /// # Errors
    ///
    /// [`FormatError::Malformed`] if it is not one.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let read: Read = json::first_value(bytes, WHAT)?;
        if read.stream != STREAM {
            return Err(FormatError::malformed(WHAT, format!("stream {:?}", read.stream)));
        }
        Ok(Self { entries: read.entries, summary: read.summary })
    }

    /// The bytes to store, with the entries in the order they have.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // Go writes a slice that was never appended to as null.
        let entries = (!self.entries.is_empty()).then_some(self.entries.as_slice());
        json::to_line(&Written { stream: STREAM, entries, summary: &self.summary })
    }

    /// Brings the entries into the order of Kopia: directories first, then the rest, each by the
    /// raw bytes of the name.
    pub fn sort(&mut self) {
        self.entries.sort_by(|a, b| b.is_dir().cmp(&a.is_dir()).then_with(|| a.name.cmp(&b.name)));
    }

    /// The entry of this name. A walk over all entries: those that were not UTF-8 are stored in an
    /// order that their names no longer show.
    #[must_use]
    pub fn find(&self, name: &[u8]) -> Option<&DirEntry> {
        self.entries.iter().find(|entry| entry.name == name)
    }
}

/// A mode as text.
mod mode {
    use super::*;

    pub(super) fn serialize<S: Serializer>(
        mode: &u32,
        out: S,
    ) -> std::result::Result<S::Ok, S::Error> {
        out.serialize_str(&mode_text(*mode))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> std::result::Result<u32, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(from)?;
        parse_mode(&text).map_err(de::Error::custom)
    }
}

/// A time that Kopia keeps in an `i64` of nanoseconds.
mod wrapping_time {
    use super::*;

    pub(super) fn serialize<S: Serializer>(
        nanos: &i64,
        out: S,
    ) -> std::result::Result<S::Ok, S::Error> {
        GoTime::from_unix_nanos(*nanos).serialize(out)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> std::result::Result<i64, D::Error> {
        Ok(Option::<GoTime>::deserialize(from)?.map_or(0, GoTime::unix_nanos))
    }
}

#[cfg(test)]
mod tests;
