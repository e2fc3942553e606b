//! Writing contents into files of this machine.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use kopia_format::{ObjectId, directory::DirEntry};

use super::{attributes, options::RestoreOptions};

/// Blocks of zeros of this size become holes.
const BLOCK: usize = 4096;

/// A file on its way: contents come in any order, the last one makes it whole.
#[derive(Debug)]
pub(super) struct Placed {
    path: PathBuf,
    entry: DirEntry,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Where the bytes go until the file is whole: the path itself, or a name beside it.
    open_at: Option<PathBuf>,
    /// Contents that have not come yet.
    missing: usize,
    failed: bool,
}

impl Placed {
    pub fn new(path: PathBuf, entry: DirEntry, contents: usize) -> Self {
        let state = State { open_at: None, missing: contents, failed: false };
        Self { path, entry, state: Mutex::new(state) }
    }

    /// Writes one content; gives true when the file is whole.
    pub fn write(&self, offset: u64, bytes: &[u8], options: &RestoreOptions) -> io::Result<bool> {
        let (file, at) = self.open(options)?;
        if options.write_sparse_files {
            write_sparse(&file, offset, bytes)?;
        } else {
            file.write_all_at(bytes, offset)?;
        }
        let whole = {
            let mut state = self.state.lock().expect("no holder of this lock panics");
            state.missing -= 1;
            state.missing == 0 && !state.failed
        };
        if whole {
            self.finish(file, &at, options)?;
        }
        Ok(whole)
    }

    /// Does the file consist of no contents at all?
    pub fn has_no_contents(&self) -> bool {
        self.state.lock().expect("no holder of this lock panics").missing == 0
    }

    /// The file's size in bytes, as the snapshot says.
    pub fn size(&self) -> u64 {
        self.entry.size
    }

    /// The object that the file's bytes come from.
    pub fn object(&self) -> ObjectId {
        self.entry.object
    }

    /// Makes a file that has no bytes.
    pub fn write_empty(&self, options: &RestoreOptions) -> io::Result<()> {
        let (file, at) = self.open(options)?;
        self.finish(file, &at, options)
    }

    /// Notes that a content will never come. Gives true the first time; what there is of the file
    /// is removed.
    pub fn give_up(&self) -> bool {
        let mut state = self.state.lock().expect("no holder of this lock panics");
        let first = !state.failed;
        state.failed = true;
        if let Some(at) = state.open_at.take() {
            // Nothing depends on it: the failure itself is reported.
            let _ = std::fs::remove_file(at);
        }
        first
    }

    /// Is the file one that will not be whole?
    pub fn is_given_up(&self) -> bool {
        self.state.lock().expect("no holder of this lock panics").failed
    }

    fn open(&self, options: &RestoreOptions) -> io::Result<(File, PathBuf)> {
        let mut state = self.state.lock().expect("no holder of this lock panics");
        if state.failed {
            return Err(io::Error::other("a content of the file is missing"));
        }
        if let Some(at) = &state.open_at {
            return Ok((open_existing(at)?, at.clone()));
        }
        let at =
            if options.write_files_atomically { beside(&self.path) } else { self.path.clone() };
        let file = create(&at)?;
        file.set_len(self.entry.size)?;
        state.open_at = Some(at.clone());
        Ok((file, at))
    }

    fn finish(&self, file: File, at: &Path, options: &RestoreOptions) -> io::Result<()> {
        if options.flush_files {
            file.sync_all()?;
        }
        drop(file);
        attributes::set(at, &self.entry, options)?;
        if at != self.path {
            std::fs::rename(at, &self.path)?;
        }
        self.state.lock().expect("no holder of this lock panics").open_at = None;
        Ok(())
    }
}

/// A name beside `path` for a file that is not whole yet: one that no other file of this process gets.
pub(super) fn beside(path: &Path) -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Relaxed);
    path.with_file_name(format!(".kopia-lite-{}-{number}", std::process::id()))
}

/// Creates or empties the file; a link in its place is replaced, never followed.
fn create(path: &Path) -> io::Result<File> {
    let open = || {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        options.custom_flags(no_follow()).open(path)
    };
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => {
            std::fs::remove_file(path)?;
            open()
        }
        _ => match open() {
            // A file without a write bit: its folder's rights decide whether it may be replaced.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                std::fs::remove_file(path).map_err(|_| error)?;
                open()
            }
            other => other,
        },
    }
}

fn open_existing(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).custom_flags(no_follow()).open(path)
}

fn no_follow() -> i32 {
    i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).expect("the flag is a small number")
}

/// Writes all but the blocks of zeros; the file has its length already, so they are holes.
fn write_sparse(file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
    let mut at = 0;
    while at < bytes.len() {
        // Blocks are counted from the file's beginning.
        let in_block = usize::try_from((offset + at as u64) % BLOCK as u64).unwrap_or(0);
        let end = bytes.len().min(at + BLOCK - in_block);
        let block = &bytes[at..end];
        if block.iter().any(|byte| *byte != 0) {
            file.write_all_at(block, offset + at as u64)?;
        }
        at = end;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn entry(size: u64) -> DirEntry {
        DirEntry { size, mode: 0o644, ..DirEntry::default() }
    }

    fn options() -> RestoreOptions {
        RestoreOptions { skip_owners: true, ..RestoreOptions::default() }
    }

    #[test]
    fn contents_may_come_in_any_order() {
        let folder = tempfile::tempdir().unwrap();
        for write_files_atomically in [false, true] {
            let path = folder.path().join("f");
            let options = RestoreOptions { write_files_atomically, ..options() };
            let placed = Placed::new(path.clone(), entry(6), 2);
            assert!(!placed.write(3, b"def", &options).unwrap());
            assert_eq!(path.exists(), !write_files_atomically);
            assert!(placed.write(0, b"abc", &options).unwrap());
            assert_eq!(std::fs::read(&path).unwrap(), b"abcdef");
            std::fs::remove_file(&path).unwrap();
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_planted_link_is_replaced_and_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (path, victim) = (folder.path().join("f"), folder.path().join("victim"));
        std::os::unix::fs::symlink(&victim, &path).unwrap();
        let placed = Placed::new(path.clone(), entry(3), 1);
        assert!(placed.write(0, b"abc", &options()).unwrap());
        assert!(!victim.exists());
        assert!(!std::fs::symlink_metadata(&path).unwrap().is_symlink());
    }

    #[test]
    fn blocks_of_zeros_become_holes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        let mut bytes = vec![0; 1 << 20];
        bytes[600_000] = 7;
        let options = RestoreOptions { write_sparse_files: true, ..options() };
        let placed = Placed::new(path.clone(), entry(bytes.len() as u64), 1);
        placed.write(0, &bytes, &options).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
        assert!(std::fs::metadata(&path).unwrap().blocks() * 512 < 100_000);
    }

    #[test]
    fn a_file_that_is_given_up_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        let placed = Placed::new(path.clone(), entry(6), 2);
        placed.write(0, b"abc", &options()).unwrap();
        assert!(placed.give_up());
        assert!(!placed.give_up());
        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_is_whole_stays_whatever_becomes_of_the_restore() {
        let folder = tempfile::tempdir().unwrap();
        for write_files_atomically in [false, true] {
            let path = folder.path().join(format!("f-{write_files_atomically}"));
            let options = RestoreOptions { write_files_atomically, ..options() };
            let placed = Placed::new(path.clone(), entry(3), 1);
            assert!(placed.write(0, b"abc", &options).unwrap());
            placed.give_up();
            assert_eq!(std::fs::read(&path).unwrap(), b"abc");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
