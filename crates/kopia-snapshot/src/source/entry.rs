//! One entry of the local tree, with the metadata that Kopia stores.

use std::{
    ffi::{OsStr, OsString},
    fs::Metadata,
    io,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::Path,
};

use kopia_format::time::mode_from_unix;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A FIFO, socket or device: nothing that a snapshot can hold.
    Other,
}

impl From<std::fs::FileType> for EntryKind {
    fn from(kind: std::fs::FileType) -> Self {
        if kind.is_file() {
            Self::File
        } else if kind.is_dir() {
            Self::Directory
        } else if kind.is_symlink() {
            Self::Symlink
        } else {
            debug_assert!(
                kind.is_fifo()
                    || kind.is_socket()
                    || kind.is_block_device()
                    || kind.is_char_device()
            );
            Self::Other
        }
    }
}

/// An entry's metadata as a snapshot stores it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalEntry {
    /// Base name, in the bytes of the file system.
    pub name: OsString,
    /// What it is.
    pub kind: EntryKind,
    /// Permission bits and setuid, setgid, sticky in Go's numbering.
    pub mode: u32,
    /// Bytes of a file, of a link's target; 0 for the rest.
    pub size: u64,
    /// Modification time, nanoseconds since the Unix epoch.
    pub mtime: i64,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// The device that the entry lies on.
    pub device: u64,
}

impl LocalEntry {
    /// Makes an entry called `name` of what the system tells.
    pub fn new(name: impl AsRef<OsStr>, metadata: &Metadata) -> Self {
        let kind = EntryKind::from(metadata.file_type());
        Self {
            name: name.as_ref().to_owned(),
            kind,
            mode: mode_from_unix(metadata.mode() & 0o7777),
            size: match kind {
                EntryKind::File | EntryKind::Symlink => metadata.len(),
                EntryKind::Directory | EntryKind::Other => 0,
            },
            mtime: metadata.mtime().wrapping_mul(1_000_000_000).wrapping_add(metadata.mtime_nsec()),
            uid: metadata.uid(),
            gid: metadata.gid(),
            device: metadata.dev(),
        }
    }

    /// The entry at `path`, without following a link. Its name is the path's last part, `/` for the
    /// root.
    ///
    /// # Errors
    /// What `lstat` says.
    pub fn at(path: &Path) -> io::Result<Self> {
        let name = path.file_name().unwrap_or_else(|| OsStr::new("/"));
        Ok(Self::new(name, &std::fs::symlink_metadata(path)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_has_the_size_of_its_target_text() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("nowhere", &link).unwrap();
        let entry = LocalEntry::at(&link).unwrap();
        assert_eq!((entry.kind, entry.size), (EntryKind::Symlink, 7));
        assert_eq!(entry.name, "link");
    }
}
