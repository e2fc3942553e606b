//! How a file comes to be: written beside its place, fsynced, moved there, and the folder fsynced.
//!
//! The temporary name is the final one, `.tmp.` and 16 hexadecimal digits: it does not end in `.f`,
//! so no list shows it. Format: docs/format/01-blob-storage.md §3.4.

use std::{
    ffi::OsString,
    fs::{DirBuilder, Metadata},
    io::{self, ErrorKind, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use blob_core::{Entropy, Payload};
use fs_err as fs;
use fs_err::os::unix::fs::OpenOptionsExt;

use crate::FilesystemOptions;

/// Who may be there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// What is there is replaced.
    Any,
    /// It fails with [`ErrorKind::AlreadyExists`] where something is.
    Free,
}

/// Writes below one root folder, which itself is never made: a root that is missing is a disk that
/// is not mounted.
pub(crate) struct Writer<'a> {
    pub(crate) root: &'a Path,
    pub(crate) options: &'a FilesystemOptions,
    pub(crate) entropy: &'a dyn Entropy,
}

impl Writer<'_> {
    /// Makes the file `path` (below the root) of `data`, whole or not at all. Gives its metadata.
    pub(crate) fn write(&self, path: &Path, data: &Payload, to: Place) -> io::Result<Metadata> {
        let temporary = self.temporary_name(path);
        let file = self.create(&temporary)?;
        let written = self.fill(file, data).and_then(|metadata| {
            move_to(&temporary, path, to)?;
            Ok(metadata)
        });
        if written.is_err() {
            // The first error is the one to tell; a file that stays is never listed.
            _ = fs::remove_file(&temporary);
        }
        let metadata = written?;
        sync_folder(path.parent().unwrap_or(self.root))?;
        Ok(metadata)
    }

    fn temporary_name(&self, path: &Path) -> PathBuf {
        let mut random = [0; 8];
        self.entropy.fill(&mut random);
        let mut name = OsString::from(path);
        name.push(format!(".tmp.{:016x}", u64::from_be_bytes(random)));
        name.into()
    }

    fn create(&self, path: &Path) -> io::Result<fs::File> {
        let mut how = fs::OpenOptions::new();
        how.write(true).create_new(true).mode(self.options.file_permissions());
        match how.open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.create_folder(path.parent().unwrap_or(self.root))?;
                how.open(path)
            }
            opened => opened,
        }
    }

    /// Makes `folder` and what is missing above it, but never the root.
    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        let Some(parent) = folder.parent().filter(|_| folder != self.root) else {
            let text = format!("the folder {} is gone", self.root.display());
            return Err(io::Error::new(ErrorKind::NotFound, text));
        };
        let mut how = DirBuilder::new();
        how.mode(self.options.dir_permissions());
        match how.create(folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.create_folder(parent)?;
                how.create(folder)
            }
            made => made,
        }
        .or_else(|error| match error.kind() {
            // Somebody else was faster.
            ErrorKind::AlreadyExists => Ok(()),
            _ => Err(told(&error, "can't create the folder", folder)),
        })?;
        sync_folder(parent)
    }

    fn fill(&self, mut file: fs::File, data: &Payload) -> io::Result<Metadata> {
        for piece in data.pieces() {
            file.write_all(piece)?;
        }
        if let (Some(uid), Some(gid)) = (self.options.uid, self.options.gid)
            && rustix::process::geteuid().is_root()
        {
            // As with Kopia, a blob of the wrong owner is better than none.
            let (uid, gid) = (u32::try_from(uid).ok(), u32::try_from(gid).ok());
            _ = std::os::unix::fs::fchown(file.file(), uid, gid);
        }
        file.sync_all()?;
        file.metadata()
    }
}

fn move_to(from: &Path, to: &Path, place: Place) -> io::Result<()> {
    match place {
        Place::Any => fs::rename(from, to),
        Place::Free => move_to_free(from, to),
    }
}

/// One call where the system and the file system have one.
fn move_to_free(from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        use rustix::io::Errno;
        match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            // The file system does not know how.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
            moved => return moved.map_err(|error| told(&error.into(), "can't move a file to", to)),
        }
    }
    link_to_free(from, to)
}

/// A second name for the file, which fails where the name is taken, and then the first one removed.
fn link_to_free(from: &Path, to: &Path) -> io::Result<()> {
    fs::hard_link(from, to)?;
    // The blob is there; a temporary name that stays is never listed.
    _ = fs::remove_file(from);
    Ok(())
}

/// The error with the path that the system leaves out.
pub(crate) fn told(error: &io::Error, what: &str, path: &Path) -> io::Error {
    io::Error::new(error.kind(), format!("{what} {}: {error}", path.display()))
}

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    match fs::File::open(folder)?.sync_all() {
        // Some network file systems can't, and there is no other way to ask.
        Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => {
            Ok(())
        }
        synced => synced,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_to_a_free_place_move_the_file_and_replace_nothing() {
        for way in [move_to_free, link_to_free] {
            let folder = tempfile::tempdir().unwrap();
            let (from, to) = (folder.path().join("from"), folder.path().join("to"));
            fs::write(&from, "first").unwrap();
            way(&from, &to).unwrap();
            assert!(!from.exists());
            fs::write(&from, "second").unwrap();
            assert_eq!(way(&from, &to).unwrap_err().kind(), ErrorKind::AlreadyExists);
            assert_eq!(fs::read_to_string(&to).unwrap(), "first");
        }
    }
}
