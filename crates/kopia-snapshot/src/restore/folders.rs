//! Making the folders of a restore, and giving them their attributes at the end.

use std::{
    collections::HashMap,
    ffi::{OsStr, OsString},
    io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::fs::{FileType, Stat};

use super::{
    attributes::{self, Of},
    events::{RestoreFailure, RestoreReport},
    ground::{Ground, Spot, kind},
    options::RestoreOptions,
    plan::join,
    window::PlannedFolder,
};
use crate::error::{Result, SnapshotError};

/// Makes every folder, readable by this user alone until it is full.
///
/// Where errors are to be ignored, adds the folders that could not be made to `barred`. Nothing below
/// them may be touched: what stands in their place, such as a link, may lead out of the target.
pub(super) fn make(
    (ground, target): (&Ground, &Path),
    folders: &[Arc<PlannedFolder>],
    options: &RestoreOptions,
    report: &mut RestoreReport,
    barred: &mut Vec<PathBuf>,
) -> Result<()> {
    for folder in folders {
        if is_below(&folder.path, barred) {
            continue;
        }
        let place = join(target, &folder.path);
        let made = ground.spot(&folder.path).and_then(|spot| {
            make_one(&spot, options)?;
            Ok(spot)
        });
        match made {
            Ok(spot) => {
                report.folders += 1;
                if options.delete_extra {
                    delete_extra(&spot, &place, folder, options, report)?;
                }
            }
            Err(source) => {
                note(Err(local(&place, source)), &folder.path, options, report)?;
                barred.push(folder.path.clone());
            }
        }
    }
    Ok(())
}

/// Is `path` one of `folders`, or below one?
pub(super) fn is_below(path: &Path, folders: &[PathBuf]) -> bool {
    folders.iter().any(|folder| path.starts_with(folder))
}

fn make_one(spot: &Spot, options: &RestoreOptions) -> io::Result<()> {
    match spot.make_folder() {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let found = spot.stat()?;
            // A link in its place would lead out of the target.
            if kind(&found) != FileType::Directory {
                return Err(io::ErrorKind::NotADirectory.into());
            }
            if !options.skip_permissions {
                open_up(spot, &found);
            }
            Ok(())
        }
        other => other,
    }
}

/// Puts what went wrong with the entry `path` on the list, where errors are to be ignored.
pub(super) fn note(
    done: Result<()>,
    path: &Path,
    options: &RestoreOptions,
    report: &mut RestoreReport,
) -> Result<()> {
    match done {
        Err(error) if options.ignore_errors => {
            report.failures.push(RestoreFailure::new(path, None, error.to_string()));
            Ok(())
        }
        other => other,
    }
}

/// Makes a folder that was restored before as read-only writable again, until it gets its mode at
/// the end. Where that is not allowed, the first file that needs it says so.
fn open_up(spot: &Spot, found: &Stat) {
    let mode = found.st_mode & 0o7777;
    if mode & 0o700 != 0o700 {
        let _ = spot.set_folder_mode(mode | 0o700);
    }
}

/// Gives folders that are full their attributes; they come the innermost first, for what is written
/// into a folder changes its time, and a folder without the right to search would hide those below.
pub(super) fn finish(
    (ground, target): (&Ground, &Path),
    full: &[Arc<PlannedFolder>],
    options: &RestoreOptions,
    report: &mut RestoreReport,
) -> Result<()> {
    for folder in full {
        let set = ground.spot(&folder.path).and_then(|spot| {
            attributes::set(Of::Spot(&spot), &spot.stat()?, &folder.attributes, options)
        });
        let place = || join(target, &folder.path);
        note(set.map_err(|source| local(&place(), source)), &folder.path, options, report)?;
    }
    Ok(())
}

/// Deletes what the snapshot doesn't have in this folder, by name and by kind (folder or not).
fn delete_extra(
    spot: &Spot,
    place: &Path,
    folder: &PlannedFolder,
    options: &RestoreOptions,
    report: &mut RestoreReport,
) -> Result<()> {
    let wanted: HashMap<&[u8], bool> =
        folder.names.iter().map(|(name, is_folder)| (name.as_slice(), *is_folder)).collect();
    let all = match spot.names() {
        Ok(all) => all,
        Err(source) => return note(Err(local(place, source)), &folder.path, options, report),
    };
    for name in all {
        let deleted = delete_unless_wanted(spot, &name, &wanted, report);
        let deleted = deleted.map_err(|source| local(&place.join(&name), source));
        note(deleted, &folder.path, options, report)?;
    }
    Ok(())
}

fn delete_unless_wanted(
    folder: &Spot,
    name: &OsStr,
    wanted: &HashMap<&[u8], bool>,
    report: &mut RestoreReport,
) -> io::Result<()> {
    let spot = Spot { folder: folder.enter()?, name: OsString::from(name) };
    let kind = kind(&spot.stat()?);
    if wanted.get(name.as_bytes()) == Some(&(kind == FileType::Directory)) {
        return Ok(());
    }
    match kind {
        FileType::Directory => {
            spot.remove_folder()?;
            report.deleted_folders += 1;
        }
        FileType::Symlink => {
            spot.remove()?;
            report.deleted_links += 1;
        }
        _ => {
            spot.remove()?;
            report.deleted_files += 1;
        }
    }
    Ok(())
}

pub(super) fn local(path: &Path, source: io::Error) -> SnapshotError {
    SnapshotError::Local { path: path.to_owned(), source }
}
