//! Setting owner, permissions and times, each only where it differs.

use std::{io, os::unix::fs::MetadataExt, path::Path};

use kopia_format::directory::{DirEntry, EntryKind};
use rustix::fs::{AtFlags, CWD, Gid, Mode, Timespec, Timestamps, Uid, chmodat, chownat, utimensat};

use super::options::RestoreOptions;

/// Go's permission bits in POSIX numbering.
pub(super) fn unix_mode(go: u32) -> u32 {
    let special = [(1 << 23, 0o4000), (1 << 22, 0o2000), (1 << 20, 0o1000)];
    let moved = special.iter().filter(|(bit, _)| go & bit != 0).map(|(_, unix)| unix).sum::<u32>();
    (go & 0o777) | moved
}

/// Gives `path` the attributes of `entry`.
///
/// # Errors
/// What the system says; a missing right is no error where the options say so.
pub(super) fn set(path: &Path, entry: &DirEntry, options: &RestoreOptions) -> io::Result<()> {
    let tolerate = |result: rustix::io::Result<()>| match result {
        Err(error)
            if options.ignore_permission_errors
                && io::Error::from(error).kind() == io::ErrorKind::PermissionDenied =>
        {
            Ok(())
        }
        other => other.map_err(io::Error::from),
    };
    let before = std::fs::symlink_metadata(path)?;
    let is_link = entry.kind == EntryKind::Symlink;
    if !options.skip_owners && (before.uid(), before.gid()) != (entry.uid, entry.gid) {
        let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
        tolerate(chownat(CWD, path, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW))?;
    }
    // A link has no mode of its own. A change of owner clears the special bits, so the mode is looked at again.
    if !options.skip_permissions && !is_link {
        let wanted = unix_mode(entry.mode);
        if std::fs::symlink_metadata(path)?.mode() & 0o7777 != wanted {
            tolerate(chmodat(CWD, path, Mode::from_raw_mode(wanted), AtFlags::empty()))?;
        }
    }
    if !options.skip_times {
        let time = Timespec {
            tv_sec: entry.mtime.div_euclid(1_000_000_000),
            tv_nsec: entry.mtime.rem_euclid(1_000_000_000),
        };
        let times = Timestamps { last_access: time, last_modification: time };
        tolerate(utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_bits_come_back_from_gos_numbers() {
        for unix in [0o4755, 0o2750, 0o1777, 0o644, 0, 0o7777] {
            assert_eq!(unix_mode(crate::source::go_mode(unix)), unix);
        }
    }

    #[test]
    fn mode_and_time_are_set_to_the_nanosecond() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        std::fs::write(&path, "x").unwrap();
        let entry = DirEntry { mode: 0o640, mtime: -1, ..DirEntry::default() };
        let options = RestoreOptions { skip_owners: true, ..RestoreOptions::default() };
        set(&path, &entry, &options).unwrap();
        let after = std::fs::metadata(&path).unwrap();
        assert_eq!((after.mode() & 0o7777, after.mtime(), after.mtime_nsec()), (0o640, -1, 999_999_999));
    }
}
