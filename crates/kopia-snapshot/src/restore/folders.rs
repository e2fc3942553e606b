//! Making the folders of a restore, and giving them their attributes at the end.

use std::{
    collections::HashMap,
    fs::{Metadata, Permissions},
    io,
    os::unix::{
        ffi::OsStrExt,
        fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    },
    path::Path,
};

use super::{
    attributes,
    events::{RestoreFailure, RestoreReport},
    options::RestoreOptions,
    plan::{PlannedFolder, join},
};
use crate::error::{Result, SnapshotError};

/// Makes every folder, readable by this user alone until it is full.
pub(super) fn make(
    target: &Path,
    folders: &[PlannedFolder],
    options: &RestoreOptions,
    report: &mut RestoreReport,
) -> Result<()> {
    for folder in folders {
        let place = join(target, &folder.path);
        let mut made = make_one(&place, folder, options);
        if made.is_ok() {
            report.folders += 1;
            if options.delete_extra {
                made = delete_extra(&place, folder, report);
            }
        }
        note(made, folder, options, report)?;
    }
    Ok(())
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

/// Puts what went wrong with a folder on the list, where errors are to be ignored.
fn note(
    done: Result<()>,
    folder: &PlannedFolder,
    options: &RestoreOptions,
    report: &mut RestoreReport,
) -> Result<()> {
    match done {
        Err(error) if options.ignore_errors => {
            let path = folder.path.to_string_lossy().into_owned();
            let is_new = report.failures.iter().all(|failure| failure.path != path);
            if is_new {
                let error = error.to_string();
                report.failures.push(RestoreFailure { path, blob: None, error });
            }
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
        note(set.map_err(|source| local(&place, source)), folder, options, report)?;
    }
    Ok(())
}

/// Deletes what the snapshot doesn't have in this folder, by name and by kind (folder or not).
fn delete_extra(place: &Path, folder: &PlannedFolder, report: &mut RestoreReport) -> Result<()> {
    let wanted: HashMap<&[u8], bool> =
        folder.names.iter().map(|(name, is_folder)| (name.as_slice(), *is_folder)).collect();
    let all = std::fs::read_dir(place).map_err(|source| local(place, source))?;
    for found in all {
        let found = found.map_err(|source| local(place, source))?;
        let kind = found.file_type().map_err(|source| local(&found.path(), source))?;
        if wanted.get(found.file_name().as_bytes()) == Some(&kind.is_dir()) {
            continue;
        }
        let path = found.path();
        let removed = if kind.is_dir() {
            report.deleted_folders += 1;
            std::fs::remove_dir_all(&path)
        } else {
            *(if kind.is_symlink() {
                &mut report.deleted_links
            } else {
                &mut report.deleted_files
            }) += 1;
            std::fs::remove_file(&path)
        };
        removed.map_err(|source| local(&path, source))?;
    }
    Ok(())
}

pub(super) fn local(path: &Path, source: io::Error) -> SnapshotError {
    SnapshotError::Local { path: path.to_owned(), source }
}
