//! Writing contents into files of this machine.

use std::{
    ffi::OsString,
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use kopia_format::{ObjectId, directory::DirEntry};
use rustix::{
    fs::{FileType, Mode, OFlags, fstat, openat},
    io::Errno,
};

use super::{
    attributes::{self, Of},
    ground::{Ground, SAFELY, Spot, kind},
    options::RestoreOptions,
};

/// Blocks of zeros of this size become holes.
const BLOCK: usize = 4096;

/// A file on its way: contents come in any order, the last one makes it whole.
#[derive(Debug)]
pub(super) struct Placed {
    ground: Arc<Ground>,
    /// Where below the ground.
    path: PathBuf,
    entry: DirEntry,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Where the bytes go until the file is whole.
    open_at: Option<OpenAt>,
    /// Contents that have not come yet.
    missing: usize,
    failed: bool,
}

/// A file that is being written: its own name or one beside it, and which file that was.
#[derive(Debug, Clone)]
struct OpenAt {
    name: OsString,
    /// Device and inode: another file under that name is not written.
    id: (u64, u64),
}

impl Placed {
    pub fn new(ground: Arc<Ground>, path: PathBuf, entry: DirEntry, contents: usize) -> Self {
        let state = State { open_at: None, missing: contents, failed: false };
        Self { ground, path, entry, state: Mutex::new(state) }
    }

    /// Writes one content; gives true when the file is whole.
    pub fn write(&self, offset: u64, bytes: &[u8], options: &RestoreOptions) -> io::Result<bool> {
        let (file, spot) = self.open(options)?;
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
            self.finish(&file, &spot, options)?;
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
        let (file, spot) = self.open(options)?;
        self.finish(&file, &spot, options)
    }

    /// Notes that a content will never come. Gives true the first time; what there is of the file
    /// is removed.
    pub fn give_up(&self) -> bool {
        let mut state = self.state.lock().expect("no holder of this lock panics");
        let first = !state.failed;
        state.failed = true;
        if let Some(at) = state.open_at.take() {
            // Nothing depends on it: the failure itself is reported.
            let _ = self.ground.spot(&self.path).and_then(|spot| spot.beside(at.name).remove());
        }
        first
    }

    /// Is the file one that will not be whole?
    pub fn is_given_up(&self) -> bool {
        self.state.lock().expect("no holder of this lock panics").failed
    }

    fn open(&self, options: &RestoreOptions) -> io::Result<(File, Spot)> {
        let mut state = self.state.lock().expect("no holder of this lock panics");
        if state.failed {
            return Err(io::Error::other("a content of the file is missing"));
        }
        let spot = self.ground.spot(&self.path)?;
        if let Some(at) = &state.open_at {
            let spot = spot.beside(at.name.clone());
            return Ok((open_again(&spot, at.id)?, spot));
        }
        let spot = if options.write_files_atomically { spot.beside(name_beside()) } else { spot };
        let (file, id) = create(&spot)?;
        // Noted first: what could not get its length is removed too.
        state.open_at = Some(OpenAt { name: spot.name.clone(), id });
        file.set_len(self.entry.size)?;
        Ok((file, spot))
    }

    fn finish(&self, file: &File, spot: &Spot, options: &RestoreOptions) -> io::Result<()> {
        attributes::set(Of::File(file), &self.entry, options)?;
        if options.flush_files {
            file.sync_all()?;
        }
        if options.write_files_atomically {
            let to = self.ground.spot(&self.path)?;
            rustix::fs::renameat(&spot.folder, &spot.name, &to.folder, &to.name)?;
        }
        self.state.lock().expect("no holder of this lock panics").open_at = None;
        Ok(())
    }
}

/// A name for a file that is not whole yet: one that no other file of this process gets.
pub(super) fn name_beside() -> OsString {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Relaxed);
    format!(".kopia-lite-{}-{number}", std::process::id()).into()
}

/// Creates or empties the file; gives its device and inode.
///
/// What is no file of this name alone is replaced: a link is never followed, and a file that has
/// another name elsewhere stays there as it is.
fn create(spot: &Spot) -> io::Result<(File, (u64, u64))> {
    // Somebody may put another entry there between two calls, but not for ever.
    for _ in 0..100 {
        match open(spot, OFlags::empty()) {
            Ok(file) => {
                let found = fstat(&file)?;
                if kind(&found) != FileType::RegularFile {
                    return Err(io::Error::other("something else has taken its place"));
                }
                if found.st_nlink <= 1 {
                    file.set_len(0)?;
                    return Ok((file, id(&found)));
                }
                gone(spot.remove())?;
            }
            Err(Errno::LOOP) => gone(spot.remove())?,
            // A file without a write bit: its folder's rights decide whether it may be replaced.
            Err(error @ Errno::ACCESS) => gone(spot.remove()).map_err(|_| error)?,
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        match open(spot, OFlags::CREATE | OFlags::EXCL) {
            Err(Errno::EXIST) => {}
            opened => {
                let file = opened?;
                let id = id(&fstat(&file)?);
                return Ok((file, id));
            }
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

fn open_again(spot: &Spot, written: (u64, u64)) -> io::Result<File> {
    let file = open(spot, OFlags::empty())?;
    if id(&fstat(&file)?) != written {
        return Err(io::Error::other("another file has taken its place"));
    }
    Ok(file)
}

fn open(spot: &Spot, more: OFlags) -> Result<File, Errno> {
    let flags = OFlags::WRONLY | SAFELY | more;
    openat(&spot.folder, &spot.name, flags, Mode::RUSR | Mode::WUSR).map(File::from)
}

/// Somebody else may have removed it.
fn gone(removed: io::Result<()>) -> io::Result<()> {
    removed
        .or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

#[allow(clippy::unnecessary_cast, reason = "the types are not the same on every system")]
fn id(found: &rustix::fs::Stat) -> (u64, u64) {
    (found.st_dev as u64, found.st_ino as u64)
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
    use std::{os::unix::fs::MetadataExt, path::Path};

    use super::*;

    fn entry(size: u64) -> DirEntry {
        DirEntry { size, mode: 0o644, ..DirEntry::default() }
    }

    fn placed(path: &Path, entry: DirEntry, contents: usize) -> Placed {
        let ground = Ground::folder(path.parent().unwrap()).unwrap();
        Placed::new(Arc::new(ground), path.file_name().unwrap().into(), entry, contents)
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
            let placed = placed(&path, entry(6), 2);
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
        let placed = placed(&path, entry(3), 1);
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
        let placed = placed(&path, entry(bytes.len() as u64), 1);
        placed.write(0, &bytes, &options).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
        assert!(std::fs::metadata(&path).unwrap().blocks() * 512 < 100_000);
    }

    #[test]
    fn a_file_that_is_given_up_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        let placed = placed(&path, entry(6), 2);
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
            let placed = placed(&path, entry(3), 1);
            assert!(placed.write(0, b"abc", &options).unwrap());
            placed.give_up();
            assert_eq!(std::fs::read(&path).unwrap(), b"abc");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_file_with_another_name_elsewhere_stays_there_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let (path, victim) = (folder.path().join("f"), folder.path().join("victim"));
        std::fs::write(&victim, "untouched").unwrap();
        std::fs::hard_link(&victim, &path).unwrap();
        assert!(placed(&path, entry(3), 1).write(0, b"abc", &options()).unwrap());
        assert_eq!(std::fs::read(&path).unwrap(), b"abc");
        assert_eq!(std::fs::read(&victim).unwrap(), b"untouched");
    }

    #[test]
    fn a_file_that_is_put_in_its_place_meanwhile_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let (path, victim) = (folder.path().join("f"), folder.path().join("victim"));
        let placed = placed(&path, entry(6), 2);
        placed.write(0, b"abc", &options()).unwrap();
        std::fs::write(&victim, "untouched").unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::hard_link(&victim, &path).unwrap();
        let error = placed.write(3, b"def", &options()).unwrap_err();
        assert_eq!(error.to_string(), "another file has taken its place");
        assert_eq!(std::fs::read(&victim).unwrap(), b"untouched");
    }
}
