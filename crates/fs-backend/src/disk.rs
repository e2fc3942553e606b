//! Every change that this crate makes to a file system, one function each: what a power cut leaves
//! of such a series of changes is then a question that a test can ask (`power_cut.rs`).

use std::{
    fs::DirBuilder,
    io::{self, Write},
    os::unix::fs::DirBuilderExt,
    path::Path,
};

use fs_err as fs;
use fs_err::os::unix::fs::OpenOptionsExt;

/// Makes a file that is not there.
pub(crate) fn create_file(path: &Path, mode: u32) -> io::Result<fs::File> {
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    #[cfg(test)]
    trace::note(trace::Step::Create(path.to_owned()));
    Ok(file)
}

/// Writes `bytes` behind what was written so far.
pub(crate) fn append(file: &mut fs::File, bytes: &[u8]) -> io::Result<()> {
    file.write_all(bytes)?;
    #[cfg(test)]
    trace::note(trace::Step::Append(file.path().to_owned(), bytes.to_owned()));
    Ok(())
}

/// Makes the bytes of a file durable; its name is a matter of the folder.
pub(crate) fn sync_file(file: &fs::File) -> io::Result<()> {
    file.sync_all()?;
    #[cfg(test)]
    trace::note(trace::Step::SyncFile(file.path().to_owned()));
    Ok(())
}

/// Makes one folder.
pub(crate) fn create_folder(path: &Path, mode: u32) -> io::Result<()> {
    DirBuilder::new().mode(mode).create(path)?;
    #[cfg(test)]
    trace::note(trace::Step::CreateFolder(path.to_owned()));
    Ok(())
}

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    match fs::File::open(path)?.sync_all() {
        // Some network file systems can't, and there is no other way to ask.
        Err(error)
            if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => {
        }
        synced => synced?,
    }
    #[cfg(test)]
    trace::note(trace::Step::SyncFolder(path.to_owned()));
    Ok(())
}

/// Moves a file, and replaces what is there.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    #[cfg(test)]
    trace::note(trace::Step::Rename(from.to_owned(), to.to_owned()));
    Ok(())
}

/// Moves a file to where nothing is. `None` if the system or the file system has no such call.
#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
pub(crate) fn rename_to_free(from: &Path, to: &Path) -> Option<io::Result<()>> {
    use rustix::{
        fs::{CWD, RenameFlags, renameat_with},
        io::Errno,
    };
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => None,
        Err(error) => Some(Err(error.into())),
        Ok(()) => {
            #[cfg(test)]
            trace::note(trace::Step::Rename(from.to_owned(), to.to_owned()));
            Some(Ok(()))
        }
    }
}

/// Moves a file to where nothing is. `None`: this system has no such call.
#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
pub(crate) fn rename_to_free(_: &Path, _: &Path) -> Option<io::Result<()>> {
    None
}

/// Gives a file a second name.
pub(crate) fn link(from: &Path, to: &Path) -> io::Result<()> {
    fs::hard_link(from, to)?;
    #[cfg(test)]
    trace::note(trace::Step::Link(from.to_owned(), to.to_owned()));
    Ok(())
}

/// Takes a name away.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    fs::remove_file(path)?;
    #[cfg(test)]
    trace::note(trace::Step::Remove(path.to_owned()));
    Ok(())
}

/// What was done, in its order, below the folders that a test asked for.
#[cfg(test)]
pub(crate) mod trace {
    use std::{
        path::{Path, PathBuf},
        sync::Mutex,
    };

    /// One change, or the word of the test that something was promised.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) enum Step {
        Create(PathBuf),
        Append(PathBuf, Vec<u8>),
        SyncFile(PathBuf),
        CreateFolder(PathBuf),
        SyncFolder(PathBuf),
        Rename(PathBuf, PathBuf),
        Link(PathBuf, PathBuf),
        Remove(PathBuf),
    }

    impl Step {
        fn path(&self) -> &Path {
            match self {
                Self::Create(path)
                | Self::Append(path, _)
                | Self::SyncFile(path)
                | Self::CreateFolder(path)
                | Self::SyncFolder(path)
                | Self::Rename(_, path)
                | Self::Link(_, path)
                | Self::Remove(path) => path,
            }
        }
    }

    /// Folders watched, and what was done there.
    static WATCHED: Mutex<Vec<(PathBuf, Vec<Step>)>> = Mutex::new(Vec::new());

    /// From now on what is done in or below `folder` is kept.
    pub(crate) fn watch(folder: &Path) {
        WATCHED.lock().unwrap().push((folder.to_owned(), Vec::new()));
    }

    /// What was done so far.
    pub(crate) fn steps(folder: &Path) -> Vec<Step> {
        let watched = WATCHED.lock().unwrap();
        watched.iter().find(|(path, _)| path == folder).unwrap().1.clone()
    }

    pub(super) fn note(step: Step) {
        let mut watched = WATCHED.lock().unwrap();
        for (folder, steps) in watched.iter_mut() {
            if step.path().starts_with(&*folder) {
                steps.push(step.clone());
            }
        }
    }
}
