//! How a file comes to be: written beside its place, fsynced, moved there, and the folder fsynced,
//! with those above it unless this process did so before.
//!
//! The temporary name is the final one, `.tmp.` and 16 hexadecimal digits: it does not end in `.f`,
//! so no list shows it. Format: docs/format/01-blob-storage.md §3.4.

use std::{
    collections::HashSet,
    ffi::OsString,
    fs::Metadata,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    sync::Mutex,
    time::SystemTime,
};

use blob_core::{Entropy, Payload};
use fs_err as fs;

use crate::{FilesystemOptions, disk};

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
    pub(crate) durable: &'a DurableFolders,
}

/// Folders below the root whose own names are durable. Who makes one may be cut off before it is
/// fsynced, and who then finds it there must not take it for safe.
pub(crate) type DurableFolders = Mutex<HashSet<PathBuf>>;

impl Writer<'_> {
    /// Makes the file `path` (below the root) of `data`, whole or not at all, last changed now or as
    /// `modified` says. Gives its metadata.
    pub(crate) fn write(
        &self,
        path: &Path,
        data: &Payload,
        modified: Option<SystemTime>,
        to: Place,
    ) -> io::Result<Metadata> {
        let temporary = self.temporary_name(path);
        let file = self.create(&temporary)?;
        let written = self.fill(file, data, modified).and_then(|metadata| {
            move_to(&temporary, path, to)?;
            Ok(metadata)
        });
        if written.is_err() {
            // The first error is the one to tell; a file that stays is never listed.
            _ = disk::remove(&temporary);
        }
        let metadata = written?;
        let folder = path.parent().unwrap_or(self.root);
        disk::sync_folder(folder)?;
        self.make_durable(folder)?;
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
        let create = || disk::create_file(path, self.options.file_permissions());
        match create() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.create_folder(path.parent().unwrap_or(self.root))?;
                create()
            }
            created => created,
        }
    }

    /// Makes `folder` and what is missing above it, but never the root.
    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        let Some(parent) = folder.parent().filter(|_| folder != self.root) else {
            let text = format!("the folder {} is gone", self.root.display());
            return Err(io::Error::new(ErrorKind::NotFound, text));
        };
        let create = || disk::create_folder(folder, self.options.dir_permissions());
        match create() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.create_folder(parent)?;
                create()
            }
            made => made,
        }
        .or_else(|error| match error.kind() {
            // Somebody else was faster.
            ErrorKind::AlreadyExists => Ok(()),
            _ => Err(told(&error, "can't create the folder", folder)),
        })?;
        // One that was known before is another one now.
        self.durable.lock().expect("no holder of this lock panics").remove(folder);
        Ok(())
    }

    /// Makes the names of `folder` and of those above it durable, up to the root.
    fn make_durable(&self, folder: &Path) -> io::Result<()> {
        let is_known =
            || self.durable.lock().expect("no holder of this lock panics").contains(folder);
        let Some(parent) = folder.parent().filter(|_| folder != self.root && !is_known()) else {
            return Ok(());
        };
        disk::sync_folder(parent)?;
        self.make_durable(parent)?;
        self.durable.lock().expect("no holder of this lock panics").insert(folder.to_owned());
        Ok(())
    }

    fn fill(
        &self,
        mut file: fs::File,
        data: &Payload,
        modified: Option<SystemTime>,
    ) -> io::Result<Metadata> {
        for piece in data.pieces() {
            disk::append(&mut file, &piece.read()?)?;
        }
        if let (Some(uid), Some(gid)) = (self.options.uid, self.options.gid)
            && rustix::process::geteuid().is_root()
        {
            // As with Kopia, a blob of the wrong owner is better than none.
            let (uid, gid) = (u32::try_from(uid).ok(), u32::try_from(gid).ok());
            _ = std::os::unix::fs::fchown(file.file(), uid, gid);
        }
        if let Some(modified) = modified {
            file.file().set_modified(modified)?;
        }
        disk::sync_file(&file)?;
        file.metadata()
    }
}

fn move_to(from: &Path, to: &Path, place: Place) -> io::Result<()> {
    match place {
        Place::Any => disk::rename(from, to),
        Place::Free => move_to_free(from, to),
    }
}

/// One call where the system and the file system have one.
fn move_to_free(from: &Path, to: &Path) -> io::Result<()> {
    match disk::rename_to_free(from, to) {
        Some(moved) => moved.map_err(|error| told(&error, "can't move a file to", to)),
        None => link_to_free(from, to),
    }
}

/// A second name for the file, which fails where the name is taken, and then the first one removed.
fn link_to_free(from: &Path, to: &Path) -> io::Result<()> {
    disk::link(from, to)?;
    // The blob is there; a temporary name that stays is never listed.
    _ = disk::remove(from);
    Ok(())
}

/// Makes the folder `path` and what is missing above it, durably.
pub(crate) fn create_root(path: &Path, mode: u32) -> io::Result<()> {
    let named = path.ancestors().filter(|above| !above.as_os_str().is_empty());
    let missing: Vec<_> = named.take_while(|above| !above.exists()).collect();
    for folder in missing.iter().rev() {
        match disk::create_folder(folder, mode) {
            // Somebody else was faster.
            Err(error) if error.kind() == ErrorKind::AlreadyExists && folder.is_dir() => {}
            made => made.map_err(|error| told(&error, "can't create the folder", folder))?,
        }
    }
    for folder in missing {
        let above = folder.parent().filter(|above| !above.as_os_str().is_empty());
        disk::sync_folder(above.unwrap_or(Path::new(".")))?;
    }
    Ok(())
}

/// The error with the path that the system leaves out.
pub(crate) fn told(error: &io::Error, what: &str, path: &Path) -> io::Error {
    io::Error::new(error.kind(), format!("{what} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use blob_core::SeededEntropy;

    use super::*;

    #[test]
    fn folders_on_the_way_to_a_file_are_known_as_durable_when_it_is_there() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let (options, durable) = (FilesystemOptions::at(root), DurableFolders::default());
        let entropy = SeededEntropy::new(1);
        let writer = Writer { root, options: &options, entropy: &entropy, durable: &durable };
        let known = || {
            let known = durable.lock().unwrap();
            let mut known: Vec<_> =
                known.iter().map(|path| path.strip_prefix(root).unwrap().to_owned()).collect();
            known.sort();
            known
        };
        writer.write(&root.join("top"), &Payload::from("x"), None, Place::Any).unwrap();
        assert!(known().is_empty(), "the root was durable before");
        writer.write(&root.join("p/abc/f"), &Payload::from("x"), None, Place::Any).unwrap();
        assert_eq!(known(), [PathBuf::from("p"), PathBuf::from("p/abc")]);
        // Whoever finds a folder that another process made does not take it for durable.
        fs::create_dir_all(root.join("q/def")).unwrap();
        writer.write(&root.join("q/def/f"), &Payload::from("x"), None, Place::Free).unwrap();
        assert_eq!(known().len(), 4);
        fs::remove_dir_all(root.join("q")).unwrap();
        writer.create_folder(&root.join("q/def")).unwrap();
        assert_eq!(known(), [PathBuf::from("p"), PathBuf::from("p/abc")]);
    }

    #[test]
    fn a_root_is_made_with_all_above_it() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("a/b/c");
        create_root(&root, 0o700).unwrap();
        create_root(&root, 0o700).unwrap();
        assert!(root.is_dir());
        fs::write(folder.path().join("file"), "x").unwrap();
        let error = create_root(&folder.path().join("file/below"), 0o700).unwrap_err();
        assert!(error.to_string().contains("can't create the folder"), "{error}");
    }

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
