//! Making the folders of a restore, and giving them their attributes at the end.

use std::{
    collections::HashMap,
    fs::{DirEntry, Metadata, Permissions},
    io,
    os::unix::{
        ffi::OsStrExt,
        fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

use super::{
    attributes,
    events::{RestoreFailure, RestoreReport},
    options::RestoreOptions,
    plan::{PlannedFolder, join},
};
use crate::error::{Result, SnapshotError};

/// Makes every folder, readable by this user alone until it is full.
///
/// Where errors are to be ignored, gives the folders that could not be made. Nothing below them may
/// be touched: what stands in their place, such as a link, may lead out of the target.
pub(super) fn make(
    target: &Path,
    folders: &[PlannedFolder],
    options: &RestoreOptions,
    report: &mut RestoreReport,
) -> Result<Vec<PathBuf>> {
    let mut barred = Vec::new();
    for folder in folders {
        if is_below(&folder.path, &barred) {
            continue;
        }
        let place = join(target, &folder.path);
        match make_one(&place, folder, options) {
            Ok(()) => report.folders += 1,
            failed => {
                note(failed, &folder.path, options, report)?;
                barred.push(folder.path.clone());
                continue;
            }
        }
        if options.delete_extra {
            delete_extra(&place, folder, options, report)?;
        }
    }
    Ok(barred)
}

/// Is `path` one of `folders`, or below one?
pub(super) fn is_below(path: &Path, folders: &[PathBuf]) -> bool {
    folders.iter().any(|folder| path.starts_with(folder))
}

fn make_one(place: &Path, folder: &PlannedFolder, options: &RestoreOptions) -> Result<()> {
    let is_root = folder.path.as_os_str().is_empty();
    match std::fs::DirBuilder::new().recursive(is_root).mode(0o700).create(place) {
        // The target may be a link to a folder; a link below it would lead out of the target.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let found = std::fs::symlink_metadata(place);
            if !is_root && !found.as_ref().is_ok_and(Metadata::is_dir) {
                return Err(local(place, io::ErrorKind::NotADirectory.into()));
            }
            if let (Ok(found), false) = (found, options.skip_permissions) {
                open_up(place, &found);
            }
            Ok(())
        }
        other => other.map_err(|source| local(place, source)),
    }
}

/// Puts what went wrong with the entry `path` on the list, where errors are to be ignored.
fn note(
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
fn open_up(place: &Path, found: &Metadata) {
    let mode = found.mode() & 0o7777;
    if found.is_dir() && mode & 0o700 != 0o700 {
        let _ = std::fs::set_permissions(place, Permissions::from_mode(mode | 0o700));
    }
}

/// Gives every folder its attributes, the innermost first: what is written into a folder changes
/// its time, and a folder without the right to search would hide those below.
pub(super) fn finish(
    target: &Path,
    folders: &[PlannedFolder],
    options: &RestoreOptions,
    report: &mut RestoreReport,
) -> Result<()> {
    for folder in folders.iter().rev() {
        let place = join(target, &folder.path);
        let set = attributes::set(&place, &folder.entry, options);
        note(set.map_err(|source| local(&place, source)), &folder.path, options, report)?;
    }
    Ok(())
}

/// Deletes what the snapshot doesn't have in this folder, by name and by kind (folder or not).
fn delete_extra(
    place: &Path,
    folder: &PlannedFolder,
    options: &RestoreOptions,
    report: &mut RestoreReport,
) -> Result<()> {
    let wanted: HashMap<&[u8], bool> =
        folder.names.iter().map(|(name, is_folder)| (name.as_slice(), *is_folder)).collect();
    let all = match std::fs::read_dir(place) {
        Ok(all) => all,
        Err(source) => return note(Err(local(place, source)), &folder.path, options, report),
    };
    for found in all {
        let deleted = found
            .map_err(|source| local(place, source))
            .and_then(|found| delete_unless_wanted(&found, &wanted, report));
        note(deleted, &folder.path, options, report)?;
    }
    Ok(())
}

fn delete_unless_wanted(
    found: &DirEntry,
    wanted: &HashMap<&[u8], bool>,
    report: &mut RestoreReport,
) -> Result<()> {
    let path = found.path();
    let kind = found.file_type().map_err(|source| local(&path, source))?;
    if wanted.get(found.file_name().as_bytes()) == Some(&kind.is_dir()) {
        return Ok(());
    }
    let (removed, count) = if kind.is_dir() {
        (std::fs::remove_dir_all(&path), &mut report.deleted_folders)
    } else if kind.is_symlink() {
        (std::fs::remove_file(&path), &mut report.deleted_links)
    } else {
        (std::fs::remove_file(&path), &mut report.deleted_files)
    };
    removed.map_err(|source| local(&path, source))?;
    *count += 1;
    Ok(())
}

pub(super) fn local(path: &Path, source: io::Error) -> SnapshotError {
    SnapshotError::Local { path: path.to_owned(), source }
}
