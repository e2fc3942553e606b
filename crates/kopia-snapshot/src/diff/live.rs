//! The live side of a comparison: what lies in the folder of a snapshot's source now.

use std::path::{Path, PathBuf};

use kopia_format::directory::{DirEntry, EntryKind};
use kopia_repo::Repository;

use super::DiffEntry;
use crate::{
    error::{Result, SnapshotError},
    policies,
    roots::Root,
    source::{self, LocalEntry},
    upload::rules::FolderRules,
};

/// A live folder, and the rules that leave entries of it out.
#[derive(Debug, Clone)]
pub(super) struct LiveFolder {
    path: PathBuf,
    /// Below the source; `.` for the source itself.
    relative: String,
    device: u64,
    rules: FolderRules,
}

/// What lies now where `old` was taken of, or in the same place below `path`.
pub(super) async fn root(repo: &Repository, old: &Root, path: Option<&Path>) -> Result<DiffEntry> {
    let manifest = old.manifest.as_ref().ok_or_else(|| {
        let object = old.entry.object;
        SnapshotError::Invalid(format!(
            "{object} is the root of no snapshot, so it is not known what folder it is of; name \
             what to compare it with"
        ))
    })?;
    let tree = policies::tree(repo, &manifest.source).await?;
    let source = path.unwrap_or(Path::new(&manifest.source.path)).to_owned();
    let below = old.path.clone();
    let rules = FolderRules::root(tree)?;
    tokio::task::spawn_blocking(move || descend(&source, rules, &below))
        .await
        .expect("looking at folders does not panic")
}

/// Goes down to `below`, for the ignore files on the way hold there, too.
fn descend(source: &Path, mut rules: FolderRules, below: &str) -> Result<DiffEntry> {
    let (mut path, mut relative) = (source.to_owned(), ".".to_owned());
    if look(&path)?.kind == source::EntryKind::Symlink {
        // As in a snapshot: of a source that is a link, what it leads to is meant.
        path = std::fs::canonicalize(&path)
            .map_err(|source| SnapshotError::Local { path: path.clone(), source })?;
    }
    for name in below.split('/').filter(|name| !name.is_empty()) {
        let folder = look(&path)?;
        let opened = rules.open(&path, &relative, folder.device).map_err(|text| {
            let source = std::io::Error::other(text);
            SnapshotError::Local { path: path.clone(), source }
        })?;
        rules = opened.rules.child(name);
        path.push(name);
        relative = joined(&relative, name);
    }
    Ok(live(look(&path)?, path, relative, rules))
}

fn look(path: &Path) -> Result<LocalEntry> {
    LocalEntry::at(path).map_err(|source| SnapshotError::Local { path: path.to_owned(), source })
}

fn joined(relative: &str, name: &str) -> String {
    if relative == "." { name.to_owned() } else { format!("{relative}/{name}") }
}

/// An entry as a snapshot would store it, without an object.
fn live(local: LocalEntry, path: PathBuf, relative: String, rules: FolderRules) -> DiffEntry {
    let kind = match local.kind {
        source::EntryKind::File => EntryKind::File,
        source::EntryKind::Directory => EntryKind::Directory,
        source::EntryKind::Symlink => EntryKind::Symlink,
        source::EntryKind::Other => EntryKind::Unknown,
    };
    let folder = LiveFolder { path, relative, device: local.device, rules };
    let entry = DirEntry {
        name: local.name.to_string_lossy().into_owned().into_bytes(),
        kind,
        mode: local.mode,
        size: local.size,
        mtime: local.mtime,
        uid: local.uid,
        gid: local.gid,
        ..DirEntry::default()
    };
    let (size, mtime) = (entry.size, entry.mtime);
    let live = (kind == EntryKind::Directory).then(|| Box::new(folder));
    DiffEntry { entry, size, mtime, live }
}

impl LiveFolder {
    /// The entries that a snapshot would have, in the order of one; `None` if it can't be listed.
    /// What can't be looked at is told in `troubles`.
    pub async fn list(&self, troubles: &mut Vec<String>) -> Option<Vec<DiffEntry>> {
        let folder = self.clone();
        let listed = tokio::task::spawn_blocking(move || folder.list_now()).await;
        match listed.expect("listing a folder does not panic") {
            Ok((entries, unread)) => {
                troubles.extend(unread);
                Some(entries)
            }
            Err(text) => {
                troubles.push(format!("{}: {text}", self.path.display()));
                None
            }
        }
    }

    fn list_now(self) -> Result<(Vec<DiffEntry>, Vec<String>), String> {
        let opened = self.rules.open(&self.path, &self.relative, self.device)?;
        let (mut entries, mut troubles) = (Vec::new(), Vec::new());
        for listed in opened.entries {
            let path = self.path.join(&listed.name);
            let name = listed.name.to_string_lossy();
            let rules = opened.rules.child(&name);
            match listed.entry {
                // A snapshot has none of these, or only an error about it.
                Ok(local) if local.kind == source::EntryKind::Other => {}
                Ok(local) => {
                    let relative = joined(&self.relative, &name);
                    entries.push(live(local, path, relative, rules));
                }
                Err(text) => troubles.push(format!("{}: {text}", path.display())),
            }
        }
        entries.sort_by(|a, b| {
            let (a, b) = (&a.entry, &b.entry);
            b.is_dir().cmp(&a.is_dir()).then_with(|| a.name.cmp(&b.name))
        });
        Ok((entries, troubles))
    }
}
