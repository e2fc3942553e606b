//! A `.storageconfig` as it was understood.
//!
//! The effective entries are what Kopia would match against, duplicates, folding and nulls
//! resolved. Beside each stand the members of its text, so that a rewrite can keep what nobody here
//! understands.

use blob_core::PutAttributes;

use crate::{Finding, Position, extra::Extras};

/// The file's name in a repository: a blob ID like any other, so it takes the repository's key
/// prefix.
pub const FILE_NAME: &str = ".storageconfig";

/// What a `.storageconfig` says.
///
/// ```
/// let config = storageconfig::StorageConfig::parse(br#"
///     {"blobOptions": [{"prefix": "p", "storageClass": "GLACIER_IR"},
///                      {"storageClass": "STANDARD_IA"}]}"#)?;
/// assert_eq!(config.class_of("p0f1e"), Some("GLACIER_IR"));
/// assert_eq!(config.class_of("kopia.repository"), Some("STANDARD_IA"));
/// # Ok::<(), storageconfig::ParseError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct StorageConfig {
    pub(crate) entries: Vec<Entry>,
    pub(crate) members: Vec<TopMember>,
    /// What the reading of the text gave.
    pub(crate) findings: Vec<Finding>,
}

/// A key of the outermost object.
#[derive(Debug, Clone)]
pub(crate) enum TopMember {
    /// `blobOptions`, whatever its spelling.
    Entries,
    /// Any other.
    Other(RawMember),
}

/// A key that Kopia does not read, with its value, both as they stand in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RawMember {
    pub key: String,
    pub raw_key: Vec<u8>,
    pub raw_value: Vec<u8>,
    pub position: Position,
}

/// A key of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Member {
    Prefix,
    Class,
    Other(RawMember),
}

/// One entry of `blobOptions`.
#[derive(Debug, Clone)]
pub struct Entry {
    pub(crate) prefix: String,
    pub(crate) class: String,
    pub(crate) members: Vec<Member>,
    pub(crate) position: Position,
    pub(crate) extras: Extras,
}

impl Entry {
    pub(crate) fn empty(position: Position) -> Self {
        Self {
            prefix: String::new(),
            class: String::new(),
            members: Vec::new(),
            position,
            extras: Extras::default(),
        }
    }

    /// What a blob ID must begin with; empty matches all.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The class as the file has it; empty = none is sent.
    pub fn storage_class(&self) -> &str {
        &self.class
    }

    /// Where the entry begins in the file.
    pub fn position(&self) -> Position {
        self.position
    }

    /// What the entry's extra keys ask for; its class is not in there.
    pub fn extra_attributes(&self) -> &PutAttributes {
        &self.extras.attributes
    }

    pub(crate) fn others(&self) -> impl DoubleEndedIterator<Item = &RawMember> {
        self.members.iter().filter_map(|member| match member {
            Member::Other(other) => Some(other),
            _ => None,
        })
    }
}

impl StorageConfig {
    /// No rules: every blob is written with the storage's defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The entries in order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Has it no entry?
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entry that decides about the blob `id`, and its index: the first whose prefix begins the
    /// ID.
    pub fn matching(&self, id: &str) -> Option<(usize, &Entry)> {
        self.entries.iter().enumerate().find(|(_, entry)| id.starts_with(&entry.prefix))
    }

    /// The class that the blob `id` is written in; `None` = no class is sent.
    pub fn class_of(&self, id: &str) -> Option<&str> {
        let (_, entry) = self.matching(id)?;
        // An empty class ends the search all the same: the bucket's default holds, not a later
        // entry.
        Some(entry.class.as_str()).filter(|class| !class.is_empty())
    }

    /// The index of the entry that keeps entry `index` from ever matching, if one does.
    pub(crate) fn shadow_of(&self, index: usize) -> Option<usize> {
        let prefix = &self.entries[index].prefix;
        self.entries[..index].iter().position(|earlier| prefix.starts_with(&earlier.prefix))
    }
}
