//! Setting owner, permissions and times, each only where it differs.

use std::{io, os::unix::fs::MetadataExt, path::Path};

use kopia_format::{
    directory::{DirEntry, EntryKind},
    time::mode_to_unix,
};
use rustix::fs::{AtFlags, CWD, Gid, Mode, Timespec, Timestamps, Uid, chmodat, chownat, utimensat};

use super::options::RestoreOptions;

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
    // A link has no mode of its own. A change of owner clears the special bits, so the mode is
    // looked at again.
    if !options.skip_permissions && !is_link {
        let wanted = mode_to_unix(entry.mode);
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
    fn mode_and_time_are_set_to_the_nanosecond() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        std::fs::write(&path, "x").unwrap();
        let entry = DirEntry { mode: 0o640, mtime: -1, ..DirEntry::default() };
        let options = RestoreOptions { skip_owners: true, ..RestoreOptions::default() };
        set(&path, &entry, &options).unwrap();
        let after = std::fs::metadata(&path).unwrap();
        assert_eq!(
            (after.mode() & 0o7777, after.mtime(), after.mtime_nsec()),
            (0o640, -1, 999_999_999)
        );
    }
}
