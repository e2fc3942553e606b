//! Writing contents into files of this machine.
//!
//! A file of one content is made, filled and closed in one go by whoever has the content. The
//! contents of a longer one come in any order, and each place in it is written as they come.

use std::{
    ffi::OsString,
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use kopia_format::time::mode_to_unix;
use rustix::{
    fs::{FileType, Mode, OFlags, Stat, fstat, openat},
    io::Errno,
};

use super::{
    attributes::{self, Of},
    ground::{Ground, SAFELY, Spot, kind},
    options::RestoreOptions,
    window::{Attributes, PlannedLeaf},
};

/// Blocks of zeros of this size become holes.
const BLOCK: usize = 4096;
/// Files that are kept open until their next content comes.
const OPEN_FILES_MAX: usize = 64;
/// What a file that is not whole may be used for: its owner's reading and writing.
const PRIVATE: Mode = Mode::RUSR.union(Mode::WUSR);

/// Makes the file at `spot` with all of its bytes. However it ends, no half of it is left.
///
/// # Errors
/// What the system says.
pub(super) fn write_whole(
    spot: Spot,
    leaf: &PlannedLeaf,
    bytes: &[u8],
    options: &RestoreOptions,
) -> io::Result<()> {
    let final_name = spot.name.clone();
    let spot = if options.write_files_atomically { spot.beside(name_beside()) } else { spot };
    let (file, before) = create(&spot, first_mode(&leaf.attributes, options))?;
    let write = || {
        if options.write_sparse_files || bytes.len() as u64 != leaf.size {
            file.set_len(leaf.size)?;
        }
        write_bytes(&file, 0, bytes, options)?;
        attributes::set(Of::File(&file), &before, &leaf.attributes, options)?;
        if options.flush_files {
            file.sync_all()?;
        }
        if options.write_files_atomically {
            rustix::fs::renameat(&spot.folder, &spot.name, &spot.folder, &final_name)?;
        }
        Ok(())
    };
    write().inspect_err(|_| {
        // Nothing depends on it: the failure itself is reported.
        let _ = spot.remove();
    })
}

/// The mode to make a file with that is filled at once: its last one, if that allows its group what
/// it allows all others. Then it does not matter whose the file is meanwhile.
fn first_mode(wanted: &Attributes, options: &RestoreOptions) -> Mode {
    let bits = mode_to_unix(wanted.mode) & 0o777;
    if options.skip_permissions || bits >> 3 & 7 != bits & 7 {
        return PRIVATE;
    }
    Mode::from_raw_mode(bits)
}

fn write_bytes(file: &File, offset: u64, bytes: &[u8], options: &RestoreOptions) -> io::Result<()> {
    if options.write_sparse_files {
        return write_sparse(file, offset, bytes);
    }
    file.write_all_at(bytes, offset)
}

/// A file of several contents on its way: they come in any order, the last one makes it whole.
#[derive(Debug)]
pub(super) struct Growing {
    ground: Arc<Ground>,
    /// Where below the ground.
    path: PathBuf,
    size: u64,
    attributes: Attributes,
    state: Mutex<State>,
    /// How many such files are kept open.
    open_files: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct State {
    /// Where the bytes go until the file is whole.
    open_at: Option<OpenAt>,
    /// The same, kept open.
    file: Option<Arc<File>>,
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

impl Growing {
    pub fn new(ground: Arc<Ground>, leaf: &PlannedLeaf, open_files: Arc<AtomicUsize>) -> Self {
        let missing = leaf.piece_count();
        let state = State { open_at: None, file: None, missing, failed: false };
        let (path, state) = (leaf.path(), Mutex::new(state));
        let PlannedLeaf { size, attributes, .. } = *leaf;
        Self { ground, path, size, attributes, state, open_files }
    }

    /// Writes one content; gives true when the file is whole.
    pub fn write(&self, offset: u64, bytes: &[u8], options: &RestoreOptions) -> io::Result<bool> {
        let file = self.open(options)?;
        write_bytes(&file, offset, bytes, options)?;
        let whole = {
            let mut state = self.state.lock().expect("no holder of this lock panics");
            state.missing -= 1;
            state.missing == 0 && !state.failed
        };
        if whole {
            self.finish(&file, options)?;
        }
        Ok(whole)
    }

    /// Notes that a content will never come. Gives true the first time; what there is of the file
    /// is removed.
    pub fn give_up(&self) -> bool {
        let mut state = self.state.lock().expect("no holder of this lock panics");
        let first = !state.failed;
        state.failed = true;
        self.close(&mut state);
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

    fn open(&self, options: &RestoreOptions) -> io::Result<Arc<File>> {
        let mut state = self.state.lock().expect("no holder of this lock panics");
        if state.failed {
            return Err(io::Error::other("a content of the file is missing"));
        }
        if let Some(file) = &state.file {
            return Ok(file.clone());
        }
        let spot = self.ground.spot(&self.path)?;
        let file = if let Some(at) = &state.open_at {
            open_again(&spot.beside(at.name.clone()), at.id)?
        } else {
            let atomically = options.write_files_atomically;
            let spot = if atomically { spot.beside(name_beside()) } else { spot };
            let (file, found) = create(&spot, PRIVATE)?;
            // Noted first: what could not get its length is removed too.
            state.open_at = Some(OpenAt { name: spot.name, id: id(&found) });
            file.set_len(self.size)?;
            file
        };
        let file = Arc::new(file);
        if self.open_files.fetch_add(1, Relaxed) < OPEN_FILES_MAX {
            state.file = Some(file.clone());
        } else {
            self.open_files.fetch_sub(1, Relaxed);
        }
        Ok(file)
    }

    fn close(&self, state: &mut State) {
        if state.file.take().is_some() {
            self.open_files.fetch_sub(1, Relaxed);
        }
    }

    fn finish(&self, file: &File, options: &RestoreOptions) -> io::Result<()> {
        let mut state = self.state.lock().expect("no holder of this lock panics");
        self.close(&mut state);
        let at = state.open_at.clone().ok_or(io::ErrorKind::NotFound)?;
        let spot = self.ground.spot(&self.path)?;
        let name = spot.name.clone();
        let spot = spot.beside(at.name);
        let found = spot.stat()?;
        if id(&found) != at.id {
            return Err(taken());
        }
        attributes::set(Of::File(file), &found, &self.attributes, options)?;
        if options.flush_files {
            file.sync_all()?;
        }
        if options.write_files_atomically {
            rustix::fs::renameat(&spot.folder, &spot.name, &spot.folder, &name)?;
        }
        state.open_at = None;
        Ok(())
    }
}

/// A name for a file that is not whole yet: one that no other file of this process gets.
pub(super) fn name_beside() -> OsString {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Relaxed);
    format!(".kopia-lite-{}-{number}", std::process::id()).into()
}

/// Creates or empties the file; gives what it is now. A new one gets `mode`.
///
/// What is no file of this name alone is replaced: a link is never followed, and a file that has
/// another name elsewhere stays there as it is.
fn create(spot: &Spot, mode: Mode) -> io::Result<(File, Stat)> {
    // Somebody may put another entry there between two calls, but not for ever.
    for _ in 0..100 {
        match open(spot, OFlags::CREATE | OFlags::EXCL, mode) {
            Err(Errno::EXIST) => {}
            opened => {
                let file = opened?;
                let found = fstat(&file)?;
                return Ok((file, found));
            }
        }
        match open(spot, OFlags::empty(), mode) {
            Ok(file) => {
                let found = fstat(&file)?;
                if kind(&found) != FileType::RegularFile {
                    return Err(io::Error::other("something else has taken its place"));
                }
                if found.st_nlink <= 1 {
                    file.set_len(0)?;
                    return Ok((file, found));
                }
                gone(spot.remove())?;
            }
            Err(Errno::LOOP) => gone(spot.remove())?,
            // A file without a write bit: its folder's rights decide whether it may be replaced.
            Err(error @ Errno::ACCESS) => gone(spot.remove()).map_err(|_| error)?,
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

fn open_again(spot: &Spot, written: (u64, u64)) -> io::Result<File> {
    let file = open(spot, OFlags::empty(), PRIVATE)?;
    if id(&fstat(&file)?) != written {
        return Err(taken());
    }
    Ok(file)
}

fn taken() -> io::Error {
    io::Error::other("another file has taken its place")
}

fn open(spot: &Spot, more: OFlags, mode: Mode) -> Result<File, Errno> {
    let flags = OFlags::WRONLY | SAFELY | more;
    openat(&spot.folder, &spot.name, flags, mode).map(File::from)
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
    use std::{
        os::unix::{ffi::OsStrExt, fs::MetadataExt},
        path::Path,
    };

    use kopia_format::{ContentId, ObjectId, directory::EntryKind};
    use kopia_repo::ObjectChunk;

    use super::{super::window::PlannedFolder, *};

    fn leaf(path: &Path, size: u64, pieces: u64) -> PlannedLeaf {
        let attributes =
            Attributes { kind: EntryKind::File, mode: 0o644, mtime: 0, uid: 0, gid: 0 };
        let top = PlannedFolder { path: PathBuf::new(), attributes, names: Vec::new() };
        let piece = |number| ObjectChunk {
            content: ContentId::EMPTY,
            compressed: false,
            offset: number * size / pieces,
            length: Some(size / pieces),
        };
        PlannedLeaf {
            folder: Some(Arc::new(top)),
            name: path.file_name().unwrap().as_bytes().into(),
            attributes,
            size,
            object: ObjectId::EMPTY,
            pieces: Some((0..pieces).map(piece).collect()),
        }
    }

    fn growing(path: &Path, size: u64, pieces: u64) -> Growing {
        let ground = Ground::folder(path.parent().unwrap()).unwrap();
        Growing::new(Arc::new(ground), &leaf(path, size, pieces), Arc::default())
    }

    fn write_one(path: &Path, bytes: &[u8], options: &RestoreOptions) -> io::Result<()> {
        let ground = Ground::folder(path.parent().unwrap()).unwrap();
        let spot = ground.spot(path.file_name().unwrap().as_ref()).unwrap();
        write_whole(spot, &leaf(path, bytes.len() as u64, 1), bytes, options)
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
            let placed = growing(&path, 6, 2);
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
        write_one(&path, b"abc", &options()).unwrap();
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
        write_one(&path, &bytes, &options).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
        assert!(std::fs::metadata(&path).unwrap().blocks() * 512 < 100_000);
    }

    #[test]
    fn a_file_that_is_given_up_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        let placed = growing(&path, 6, 2);
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
            let placed = growing(&path, 4, 2);
            placed.write(0, b"ab", &options).unwrap();
            assert!(placed.write(2, b"cd", &options).unwrap());
            placed.give_up();
            assert_eq!(std::fs::read(&path).unwrap(), b"abcd");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_file_with_another_name_elsewhere_stays_there_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let (path, victim) = (folder.path().join("f"), folder.path().join("victim"));
        std::fs::write(&victim, "untouched").unwrap();
        std::fs::hard_link(&victim, &path).unwrap();
        write_one(&path, b"abc", &options()).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"abc");
        assert_eq!(std::fs::read(&victim).unwrap(), b"untouched");
    }

    #[test]
    fn a_file_that_is_put_in_its_place_meanwhile_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let (path, victim) = (folder.path().join("f"), folder.path().join("victim"));
        let placed = growing(&path, 6, 2);
        placed.write(0, b"abc", &options()).unwrap();
        std::fs::write(&victim, "untouched").unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::hard_link(&victim, &path).unwrap();
        let error = placed.write(3, b"def", &options()).unwrap_err();
        assert_eq!(error.to_string(), "another file has taken its place");
        assert_eq!(std::fs::read(&victim).unwrap(), b"untouched");
    }
}
