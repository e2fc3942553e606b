//! Setting owner, permissions and times, each only where it differs.

use std::{fs::File, io};

use kopia_format::{directory::EntryKind, time::mode_to_unix};
use rustix::fs::{
    AtFlags, Gid, Mode, Stat, Timespec, Timestamps, Uid, chownat, fchmod, fchown, futimens,
    utimensat,
};

use super::{ground::Spot, options::RestoreOptions, window::Attributes};

/// What attributes are set of: nothing here is found by a path, which may lead elsewhere meanwhile.
#[derive(Debug, Clone, Copy)]
pub(super) enum Of<'a> {
    /// An open file.
    File(&'a File),
    /// A folder or link.
    Spot(&'a Spot),
}

impl Of<'_> {
    fn set_owner(self, uid: Uid, gid: Gid) -> io::Result<()> {
        Ok(match self {
            Self::File(file) => fchown(file, Some(uid), Some(gid)),
            Self::Spot(Spot { folder, name }) => {
                chownat(folder, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
            }
        }?)
    }

    fn set_mode(self, mode: u32) -> io::Result<()> {
        match self {
            Self::File(file) => Ok(fchmod(file, Mode::from_raw_mode(mode))?),
            Self::Spot(spot) => spot.set_folder_mode(mode),
        }
    }

    fn set_times(self, times: &Timestamps) -> io::Result<()> {
        Ok(match self {
            Self::File(file) => futimens(file, times),
            Self::Spot(Spot { folder, name }) => {
                utimensat(folder, name, times, AtFlags::SYMLINK_NOFOLLOW)
            }
        }?)
    }
}

/// Gives what was restored the attributes that the snapshot has of it; `before` are those it has
/// now.
///
/// # Errors
/// What the system says; a missing right is no error where the options say so.
pub(super) fn set(
    of: Of<'_>,
    before: &Stat,
    wanted: &Attributes,
    options: &RestoreOptions,
) -> io::Result<()> {
    let tolerate = |result: io::Result<()>| match result {
        Err(error)
            if options.ignore_permission_errors
                && error.kind() == io::ErrorKind::PermissionDenied =>
        {
            Ok(())
        }
        other => other,
    };
    let changes_owner =
        !options.skip_owners && (before.st_uid, before.st_gid) != (wanted.uid, wanted.gid);
    if changes_owner {
        tolerate(of.set_owner(Uid::from_raw(wanted.uid), Gid::from_raw(wanted.gid)))?;
    }
    // A link has no mode of its own.
    if !options.skip_permissions && wanted.kind != EntryKind::Symlink {
        let mode = mode_to_unix(wanted.mode);
        // A change of owner clears the special bits.
        let cleared = changes_owner && mode & 0o6000 != 0;
        if cleared || before.st_mode & 0o7777 != mode {
            tolerate(of.set_mode(mode))?;
        }
    }
    if !options.skip_times {
        let time = Timespec {
            tv_sec: wanted.mtime.div_euclid(1_000_000_000),
            tv_nsec: wanted.mtime.rem_euclid(1_000_000_000),
        };
        tolerate(of.set_times(&Timestamps { last_access: time, last_modification: time }))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use kopia_format::directory::DirEntry;

    use super::{super::ground::Ground, *};

    #[test]
    fn mode_and_time_are_set_to_the_nanosecond() {
        let folder = tempfile::tempdir().unwrap();
        let file = File::create(folder.path().join("f")).unwrap();
        std::fs::create_dir(folder.path().join("d")).unwrap();
        let spot = Ground::folder(folder.path()).unwrap().spot("d".as_ref()).unwrap();
        let entry = DirEntry { mode: 0o640, mtime: -1, ..DirEntry::default() };
        let wanted = Attributes::from(&entry);
        let options = RestoreOptions { skip_owners: true, ..RestoreOptions::default() };
        let before = [rustix::fs::fstat(&file).unwrap(), spot.stat().unwrap()];
        let all = [("f", Of::File(&file)), ("d", Of::Spot(&spot))];
        for ((name, of), before) in all.into_iter().zip(before) {
            set(of, &before, &wanted, &options).unwrap();
            let after = std::fs::metadata(folder.path().join(name)).unwrap();
            assert_eq!(
                (after.mode() & 0o7777, after.mtime(), after.mtime_nsec()),
                (0o640, -1, 999_999_999)
            );
        }
    }
}
