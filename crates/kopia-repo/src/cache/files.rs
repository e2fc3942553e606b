//! The files of a cache: how they are named, checked and written.
//!
//! `<folder>/<kind>/<two hex digits>/<name>`; the digits are a hash of the name, so that folders
//! stay small. A file is its bytes and a checksum of 32 bytes: a keyed hash of the name and of the
//! keyed hash of the bytes.

use std::{
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use fs_err as fs;
use kopia_format::hash::ContentHasher;

use super::{
    Kind,
    checksum::{CHECKSUM_LEN, Checksum},
    indexes::RECORDED_MIN,
};

/// A file that is used is marked as such when the mark is older than this.
const TOUCH_AFTER: Duration = Duration::from_secs(10 * 60);
/// How the name of a file begins that is not whole yet; no entry's does.
const UNFINISHED: &str = ".";
/// How often a folder is made again that vanishes while it is made.
const MAKE_AGAIN: usize = 20;
/// Backup programs know this file and leave the folder out.
const TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55\n\
    # This folder is a cache of kopia-lite. It can be deleted at any time.\n";

/// One file of the cache.
#[derive(Debug)]
pub(super) struct Found {
    pub path: PathBuf,
    pub length: u64,
    pub used: SystemTime,
}

impl Found {
    /// Is it a file that somebody is writing, or was when he died?
    pub(super) fn is_unfinished(&self) -> bool {
        self.path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(UNFINISHED.as_bytes()))
    }
}

#[derive(Debug, Clone)]
pub(super) struct Files {
    root: PathBuf,
    mac: ContentHasher,
    /// How long an index is at least of which a record is kept.
    pub(super) recorded_min: u64,
}

impl Files {
    pub(super) fn new(root: PathBuf, mac: ContentHasher) -> Self {
        Self { root, mac, recorded_min: RECORDED_MIN }
    }

    pub(super) fn mac(&self) -> &ContentHasher {
        &self.mac
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Makes the folder and its tag. Somebody may delete it at any time, so also between the two;
    /// each file that is stored makes its folders again.
    pub(super) fn make_folder(&self) -> io::Result<()> {
        let tag = self.root.join("CACHEDIR.TAG");
        let make = || {
            make_private_folder(&self.root)?;
            if tag.exists() { Ok(()) } else { fs::write(&tag, TAG) }
        };
        let vanished =
            |made: &io::Result<()>| matches!(made, Err(e) if e.kind() == io::ErrorKind::NotFound);
        let mut made = make();
        for _ in 0..MAKE_AGAIN {
            if !vanished(&made) {
                break;
            }
            made = make();
        }
        made
    }

    pub(super) fn path(&self, kind: Kind, name: &str) -> PathBuf {
        let spread = name
            .bytes()
            .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        self.root.join(kind.folder()).join(format!("{:02x}", spread & 0xff)).join(name)
    }

    pub(super) fn range(
        &self,
        kind: Kind,
        name: &str,
        offset: u64,
        length: u64,
    ) -> io::Result<Bytes> {
        let mut file = fs::File::open(self.path(kind, name))?;
        let end = file.metadata()?.len().saturating_sub(CHECKSUM_LEN as u64);
        if offset.checked_add(length).is_none_or(|to| to > end) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let length = usize::try_from(length).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let mut bytes = vec![0; length];
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(&mut bytes)?;
        touch(file.file());
        Ok(bytes.into())
    }

    pub(super) fn whole(&self, kind: Kind, name: &str) -> io::Result<Bytes> {
        let path = self.path(kind, name);
        let mut file = fs::File::open(&path)?;
        let length = usize::try_from(file.metadata()?.len());
        let mut bytes = vec![0; length.map_err(|_| io::ErrorKind::OutOfMemory)?];
        file.read_exact(&mut bytes)?;
        let length = self.checked(&path, name, &bytes)?;
        touch(file.file());
        Ok(Bytes::from(bytes).slice(..length))
    }

    /// The length without the checksum; a file whose checksum is wrong is deleted.
    fn checked(&self, path: &Path, name: &str, file: &[u8]) -> io::Result<usize> {
        if let Some((bytes, checksum)) = file.split_last_chunk::<CHECKSUM_LEN>()
            && Checksum::of(&self.mac, name, bytes) == *checksum
        {
            return Ok(bytes.len());
        }
        fs::remove_file(path)?;
        Err(io::ErrorKind::InvalidData.into())
    }

    /// How long the file of so many bytes is.
    pub(super) fn length_of(bytes: u64) -> u64 {
        bytes + CHECKSUM_LEN as u64
    }

    /// The file that is to be renamed to `path` when it is whole.
    pub(super) fn begin(path: &Path) -> io::Result<tempfile::NamedTempFile> {
        let folder = path.parent().expect("a file has a folder");
        make_private_folder(folder)?;
        tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(folder)
    }

    pub(super) fn store(&self, kind: Kind, name: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.path(kind, name);
        let mut file = Self::begin(&path)?;
        file.write_all(bytes)?;
        file.write_all(&Checksum::of(&self.mac, name, bytes))?;
        file.persist(&path)?;
        Ok(())
    }

    pub(super) fn remove(&self, kind: Kind, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(kind, name))
    }

    pub(super) fn remove_all(&self, kind: Kind) -> io::Result<()> {
        match fs::remove_dir_all(self.root.join(kind.folder())) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// All files of a kind; those that vanish meanwhile are left out.
    pub(super) fn list(&self, kind: Kind) -> io::Result<Vec<Found>> {
        let mut found = Vec::new();
        let Ok(folders) = fs::read_dir(self.root.join(kind.folder())) else { return Ok(found) };
        for folder in folders {
            let Ok(folder) = folder else { continue };
            let Ok(files) = fs::read_dir(folder.path()) else { continue };
            for file in files {
                let Ok(file) = file else { continue };
                let Ok(meta) = file.metadata() else { continue };
                let used = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                found.push(Found { path: file.path(), length: meta.len(), used });
            }
        }
        Ok(found)
    }
}

/// Writes a file that only this user may read, whole or not at all, with its folder.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = Files::begin(path)?;
    file.write_all(bytes)?;
    file.persist(path)?;
    Ok(())
}

fn make_private_folder(path: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// The time of change is the time of use. If it can't be set, the file only looks older than it is.
pub(super) fn touch(file: &std::fs::File) {
    let old = |time: SystemTime| time.elapsed().is_ok_and(|age| age > TOUCH_AFTER);
    if file.metadata().and_then(|meta| meta.modified()).is_ok_and(old) {
        let _ = file.set_modified(SystemTime::now());
    }
}
