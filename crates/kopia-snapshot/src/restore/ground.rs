//! The ground that a restore builds on: its target, held open.
//!
//! Every entry is reached from there name by name, and no link on the way is followed. So whoever
//! swaps a folder of the target for a link while a restore runs makes an entry fail and does not
//! lead it elsewhere. A path may be longer than the system takes in one call.
//!
//! Who writes many files [keeps](Near) the last folder that it reached: a descriptor names the
//! folder itself, so it leads through no link that takes the folder's name meanwhile. If the folder
//! is moved, what is still written for it, about a mebibyte, goes with it, wherever that is; that
//! was a folder of the target a moment ago, and its attributes at the end are set by its name, which
//! then fails and says so.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Component, Path},
    sync::Arc,
};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, RawMode, Stat, chmodat, fchmod, openat, statat,
    symlinkat, unlinkat,
};

use super::window::{PlannedFolder, PlannedLeaf};

/// A descriptor to reach entries by; it needs no right to read.
#[cfg(any(target_os = "linux", target_os = "android"))]
const HOLD: OFlags = OFlags::PATH;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const HOLD: OFlags = OFlags::RDONLY;

/// Never through a link, never waiting for the other end of a FIFO, not for child processes.
pub(super) const SAFELY: OFlags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

/// The target of a restore, held open.
#[derive(Debug)]
pub(super) struct Ground {
    folder: Arc<OwnedFd>,
    /// The target's own name, if it is not a folder: then `folder` is the one it lies in.
    only: Option<OsString>,
}

/// An entry of a folder that is held open.
#[derive(Debug)]
pub(super) struct Spot {
    pub folder: Arc<OwnedFd>,
    /// Its name in the folder; `.` for the target itself.
    pub name: OsString,
}

impl Ground {
    /// Makes the folder `target`, if need be with those above it; a link to a folder is that folder.
    pub fn folder(target: &Path) -> io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(target)?;
        Ok(Self { folder: Arc::new(hold(target)?), only: None })
    }

    /// The place of a target that is one file, in a folder that is made if need be.
    pub fn file(target: &Path) -> io::Result<Self> {
        let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty());
        if let Some(parent) = parent {
            std::fs::create_dir_all(parent)?;
        }
        let name = target.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let folder = Arc::new(hold(parent.unwrap_or(Path::new(".")))?);
        Ok(Self { folder, only: Some(name.to_owned()) })
    }

    /// Where the entry `path` of the target lies; the empty path is the target itself.
    ///
    /// # Errors
    /// What the system says of a folder on the way; `NotADirectory` if it is a link.
    pub fn spot(&self, path: &Path) -> io::Result<Spot> {
        if path.as_os_str().is_empty() {
            let name = self.only.clone().unwrap_or_else(|| ".".into());
            return Ok(Spot { folder: self.folder.clone(), name });
        }
        let invalid = || io::Error::from(io::ErrorKind::InvalidInput);
        let name = path.file_name().ok_or_else(invalid)?.to_owned();
        let folder = self.reach(path.parent().ok_or_else(invalid)?)?;
        Ok(Spot { folder, name })
    }

    /// The folder `path` of the target; the empty path is the target.
    fn reach(&self, path: &Path) -> io::Result<Arc<OwnedFd>> {
        let mut folder = self.folder.clone();
        for name in path.components() {
            let Component::Normal(name) = name else {
                return Err(io::ErrorKind::InvalidInput.into());
            };
            folder = Arc::new(step(&folder, name)?);
        }
        Ok(folder)
    }
}

/// The folder that was reached last.
#[derive(Debug, Default)]
pub(super) struct Near(Option<(Arc<PlannedFolder>, Arc<OwnedFd>)>);

impl Near {
    /// Where a file or link lies.
    ///
    /// # Errors
    /// As [`Ground::spot`].
    pub fn spot(&mut self, ground: &Ground, leaf: &PlannedLeaf) -> io::Result<Spot> {
        let Some(wanted) = &leaf.folder else { return ground.spot(Path::new("")) };
        let name = OsStr::from_bytes(&leaf.name).to_owned();
        if let Some((folder, held)) = &self.0
            && Arc::ptr_eq(folder, wanted)
        {
            return Ok(Spot { folder: held.clone(), name });
        }
        // The one before is let go, also if this one is not to be had.
        self.0 = None;
        let held = ground.reach(&wanted.path)?;
        self.0 = Some((wanted.clone(), held.clone()));
        Ok(Spot { folder: held, name })
    }
}

fn hold(path: &Path) -> io::Result<OwnedFd> {
    let flags = HOLD | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat(CWD, path, flags, Mode::empty())?)
}

/// One folder further, and never through a link.
fn step(folder: &OwnedFd, name: &OsStr) -> io::Result<OwnedFd> {
    let flags = HOLD | OFlags::DIRECTORY | SAFELY;
    openat(folder, name, flags, Mode::empty()).map_err(|error| match error {
        rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP => io::Error::new(
            io::ErrorKind::NotADirectory,
            format!("{} on the way there is not a folder", name.display()),
        ),
        other => other.into(),
    })
}

impl Spot {
    /// What lies there; a link is itself.
    pub fn stat(&self) -> io::Result<Stat> {
        Ok(statat(&self.folder, &self.name, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Another name in the same folder.
    pub fn beside(self, name: OsString) -> Self {
        Self { name, ..self }
    }

    /// Makes a folder that this user alone may use.
    pub fn make_folder(&self) -> io::Result<()> {
        Ok(rustix::fs::mkdirat(&self.folder, &self.name, Mode::RWXU)?)
    }

    /// Makes a link, in place of one that is there already.
    pub fn make_link(&self, text: &OsStr) -> io::Result<()> {
        if self.stat().is_ok_and(|found| kind(&found) == FileType::Symlink) {
            self.remove()?;
        }
        Ok(symlinkat(text, &self.folder, &self.name)?)
    }

    /// Removes what is no folder.
    pub fn remove(&self) -> io::Result<()> {
        Ok(unlinkat(&self.folder, &self.name, AtFlags::empty())?)
    }

    /// The names in the folder that lies there, without `.` and `..`.
    pub fn names(&self) -> io::Result<Vec<OsString>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | SAFELY;
        names(&openat(&self.folder, &self.name, flags, Mode::empty())?)
    }

    /// The folder that lies there, to reach what is in it.
    pub fn enter(&self) -> io::Result<Arc<OwnedFd>> {
        Ok(Arc::new(step(&self.folder, &self.name)?))
    }

    /// Sets the permissions of the folder that lies there.
    pub fn set_folder_mode(&self, mode: RawMode) -> io::Result<()> {
        let mode = Mode::from_raw_mode(mode);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | SAFELY;
        match openat(&self.folder, &self.name, flags, Mode::empty()) {
            Ok(folder) => Ok(fchmod(folder, mode)?),
            // Its owner may change it all the same, but not by a descriptor that only holds it.
            Err(rustix::io::Errno::ACCESS) => Ok(chmod_held(self.enter()?.as_ref(), mode)?),
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes a folder with all that is in it. However deep it is, a few descriptors do.
    pub fn remove_folder(&self) -> io::Result<()> {
        let mut path: Vec<OsString> = vec![self.name.clone()];
        while let Some(name) = path.last() {
            let mut parent = self.folder.clone();
            for above in &path[..path.len() - 1] {
                parent = Arc::new(step(&parent, above)?);
            }
            let spot = Spot { folder: parent, name: name.clone() };
            match spot.empty_of_files()? {
                Some(folder) => path.push(folder),
                None => {
                    unlinkat(&spot.folder, &spot.name, AtFlags::REMOVEDIR)?;
                    path.pop();
                }
            }
        }
        Ok(())
    }

    /// Removes what is no folder from the folder that lies there, until a folder is met.
    fn empty_of_files(&self) -> io::Result<Option<OsString>> {
        let held = self.enter()?;
        for name in self.names()? {
            let found = statat(&held, &name, AtFlags::SYMLINK_NOFOLLOW)?;
            if kind(&found) == FileType::Directory {
                return Ok(Some(name));
            }
            unlinkat(&held, &name, AtFlags::empty())?;
        }
        Ok(None)
    }
}

/// What an entry is.
pub(super) fn kind(found: &Stat) -> FileType {
    FileType::from_raw_mode(found.st_mode)
}

fn names(folder: &OwnedFd) -> io::Result<Vec<OsString>> {
    let mut all = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            all.push(OsStr::from_bytes(name).to_owned());
        }
    }
    Ok(all)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn chmod_held(held: &OwnedFd, mode: Mode) -> rustix::io::Result<()> {
    use std::os::fd::AsRawFd;
    // The one name that stands for the folder itself, wherever it has been moved to.
    let itself = format!("/proc/self/fd/{}", held.as_raw_fd());
    chmodat(CWD, itself, mode, AtFlags::empty())
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn chmod_held(held: &OwnedFd, mode: Mode) -> rustix::io::Result<()> {
    chmodat(held, ".", mode, AtFlags::empty())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn no_link_on_the_way_is_followed() {
        let (target, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::os::unix::fs::symlink(outside.path(), target.path().join("d")).unwrap();
        let ground = Ground::folder(target.path()).unwrap();
        for path in ["d/f", "d/e/f"] {
            let error = ground.spot(Path::new(path)).unwrap_err();
            assert_eq!(error.to_string(), "d on the way there is not a folder");
        }
        assert!(ground.spot(Path::new("../f")).is_err());
        assert!(ground.spot(Path::new("/f")).is_err());
        // Nor one at its end.
        let link = ground.spot(Path::new("d")).unwrap();
        assert!(link.names().is_err() && link.enter().is_err() && link.remove_folder().is_err());
        let mode = |path: &Path| std::fs::metadata(path).unwrap().mode();
        let before = mode(outside.path());
        assert!(link.set_folder_mode(0o777).is_err());
        assert_eq!(mode(outside.path()), before);
    }

    #[test]
    fn a_folder_that_is_held_leads_nowhere_else_whatever_takes_its_name() {
        use super::super::window::Attributes;
        let (target, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let entry = kopia_format::directory::DirEntry::default();
        let attributes = Attributes::from(&entry);
        let folder = PlannedFolder { path: "d".into(), attributes, names: Vec::new() };
        let leaf = PlannedLeaf {
            folder: Some(Arc::new(folder)),
            name: Box::from(b"f".as_slice()),
            attributes,
            size: 0,
            object: entry.object,
            pieces: None,
        };
        let ground = Ground::folder(target.path()).unwrap();
        ground.spot(Path::new("d")).unwrap().make_folder().unwrap();
        let mut near = Near::default();
        near.spot(&ground, &leaf).unwrap().make_link(OsStr::new("first")).unwrap();
        let (place, aside) = (target.path().join("d"), target.path().join("aside"));
        std::fs::rename(&place, &aside).unwrap();
        std::os::unix::fs::symlink(outside.path(), &place).unwrap();
        near.spot(&ground, &leaf).unwrap().make_link(OsStr::new("second")).unwrap();
        assert_eq!(std::fs::read_link(aside.join("f")).unwrap(), Path::new("second"));
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
        // Whoever does not hold it goes by its name, and not through the link.
        assert!(Near::default().spot(&ground, &leaf).is_err());
    }

    #[test]
    fn a_deep_folder_with_links_in_it_is_removed_and_what_they_name_stays() {
        let (target, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(outside.path().join("victim"), "stays").unwrap();
        let ground = Ground::folder(target.path()).unwrap();
        let mut path = std::path::PathBuf::from("top");
        for _ in 0..200 {
            let spot = ground.spot(&path).unwrap();
            spot.make_folder().unwrap();
            let link = ground.spot(&path.join("link")).unwrap();
            link.make_link(outside.path().as_os_str()).unwrap();
            path.push("d".repeat(100)); // far longer than any path may be
        }
        ground.spot(Path::new("top")).unwrap().remove_folder().unwrap();
        assert_eq!(std::fs::read_dir(target.path()).unwrap().count(), 0);
        assert_eq!(std::fs::read(outside.path().join("victim")).unwrap(), b"stays");
    }
}
