//! Snapshots rewritten: without files that are lost, or without files that nobody wants kept.
//!
//! A tree is walked from its root; a folder in which something goes or is replaced is written anew,
//! and so are those above it. All others stay the objects that they are. Equal folders are rewritten
//! once, over all snapshots.
//!
//! What is lost is known from the index and one listing of the packs; a pack that is archived is
//! there, and none is read. That something can't be asked (a network that is down, a right that is
//! missing) is no damage: it ends the work.
//!
//! Memory: some 100 bytes for each distinct folder and 40 for each distinct file.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use kopia_format::{
    ObjectId,
    compress::Compressor,
    directory::{DirEntry, DirSummary, Directory, DirectoryBuilder, EntryKind},
    snapshot::{SnapshotManifest, Source},
};
use kopia_repo::{ObjectOptions, Repository, RepositoryWriter};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::{
    error::{Result, SnapshotError},
    glob::Glob,
    policies,
    policy::compress,
    tree::read_lists,
    upload::run::{directory_options, join},
    walk::Directories,
};

mod check;

use check::Checker;

/// What becomes of something that can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handling {
    /// A small file takes its place, which says what was there.
    Stub,
    /// The work ends.
    Fail,
    /// It stays.
    Keep,
    /// It goes.
    Remove,
}

/// Which entries go or are replaced.
#[derive(Debug, Clone)]
pub enum Rule {
    /// Files and links whose contents are lost.
    Invalid {
        /// What becomes of them.
        files: Handling,
        /// So many of a hundred files are read in full, unless they are archived.
        read_percent: f64,
    },
    /// Files and folders that are named.
    Named {
        /// Their objects.
        objects: HashSet<ObjectId>,
        /// Patterns of their names.
        names: Vec<Glob>,
    },
}

/// What a rewrite tells while it goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RewriteEvent<'a> {
    /// An entry that was named goes.
    Removed {
        /// Its path below the root.
        path: &'a str,
    },
    /// An entry can't be read.
    Invalid {
        /// Its path below the root.
        path: &'a str,
        /// It is a folder.
        is_dir: bool,
        /// What is wrong.
        error: &'a str,
        /// What becomes of it.
        handling: Handling,
    },
}

/// Rewrites one snapshot after the other.
pub struct Rewriter<'a> {
    repo: &'a Repository,
    /// `None`: nothing is written, and new objects have no ID.
    writer: Option<&'a RepositoryWriter>,
    rule: Rule,
    folders: Handling,
    tell: &'a (dyn Fn(RewriteEvent<'_>) + Send + Sync),
    stop: CancellationToken,
    directories: Directories<'a>,
    checker: Option<Checker<'a>>,
    /// What became of folders; `None` for one that stays.
    known: HashMap<FolderKey, Option<(ObjectId, DirSummary)>>,
    /// What became of entries that can't be read, by all that is stored of them.
    replaced: HashMap<Vec<u8>, DirEntry>,
    /// Files that were found to be whole.
    whole: HashSet<ObjectId>,
    /// The compressor of what a stub is written with.
    stub_compressor: Option<Compressor>,
}

/// What a rewritten folder depends on: its object, and its time and its state where all in it goes.
type FolderKey = (ObjectId, i64, String);

/// What becomes of an entry; of one that goes, nothing.
type Outcome = Option<DirEntry>;

#[derive(Serialize)]
struct Stub<'a> {
    info: &'static str,
    error: &'a str,
    entry: &'a DirEntry,
}

impl<'a> Rewriter<'a> {
    /// Gets ready to apply `rule`; folders that can't be read are handled as `folders` says. Without a
    /// writer nothing is written.
    ///
    /// # Errors
    /// What listing packs, reading the index and the global policy may give.
    pub async fn new(
        repo: &'a Repository,
        writer: Option<&'a RepositoryWriter>,
        (rule, folders): (Rule, Handling),
        tell: &'a (dyn Fn(RewriteEvent<'_>) + Send + Sync),
        stop: CancellationToken,
    ) -> Result<Self> {
        let checker = match &rule {
            Rule::Invalid { read_percent, .. } => Some(Checker::new(repo, *read_percent).await?),
            Rule::Named { .. } => None,
        };
        let stub_compressor = compressor_of(repo, &Source::global()).await?;
        Ok(Self {
            repo,
            writer,
            rule,
            folders,
            tell,
            stop,
            directories: Directories::new(repo),
            checker,
            known: HashMap::new(),
            replaced: HashMap::new(),
            whole: HashSet::new(),
            stub_compressor,
        })
    }

    /// The new root of a snapshot; `None` if it stays as it is.
    ///
    /// # Errors
    /// [`SnapshotError::NotWalked`] for what can't be read where that is to end the work, or where it
    /// is not known to be lost; [`SnapshotError::NoRoot`], [`SnapshotError::Stopped`]; what writing
    /// may give.
    pub async fn rewrite(&mut self, manifest: &SnapshotManifest) -> Result<Option<DirEntry>> {
        let root = manifest
            .root_entry
            .as_ref()
            .ok_or_else(|| SnapshotError::NoRoot { id: manifest.id.clone() })?;
        let compressor = compressor_of(self.repo, &manifest.source).await?;
        let lists = self.lists_of(std::slice::from_ref(root)).await?;
        let new = self.entry(".", root, &lists, compressor, &[]).await?;
        let new = match new {
            Some(new) => new,
            // A snapshot has a root, so something has to stand for it.
            None => {
                let error = SnapshotError::Invalid(format!("invalid root of {}", manifest.id));
                match self.handle(".", root, self.folders, error).await? {
                    Some(new) => new,
                    None => return Err(SnapshotError::NoRoot { id: manifest.id.clone() }),
                }
            }
        };
        Ok((new != *root).then_some(new))
    }

    /// What becomes of one entry. `next` are those that come after it in its folder.
    fn entry<'s>(
        &'s mut self,
        path: &'s str,
        entry: &'s DirEntry,
        lists: &'s crate::tree::Lists,
        compressor: Option<Compressor>,
        next: &'s [DirEntry],
    ) -> BoxFuture<'s, Result<Outcome>> {
        // Without the box the future would be of a type that contains itself.
        async move {
            if let Rule::Named { objects, names } = &self.rule {
                let name = entry.name_lossy();
                if objects.contains(&entry.object) || names.iter().any(|it| it.matches(&name)) {
                    (self.tell)(RewriteEvent::Removed { path });
                    return Ok(None);
                }
            }
            if entry.is_dir() {
                return self.folder(path, entry, compressor, next).await;
            }
            let (Some(checker), Rule::Invalid { files, .. }) = (&self.checker, &self.rule) else {
                return Ok(Some(entry.clone()));
            };
            if self.whole.contains(&entry.object) {
                return Ok(Some(entry.clone()));
            }
            match checker.check(entry, lists).await {
                Ok(()) => {
                    self.whole.insert(entry.object);
                    Ok(Some(entry.clone()))
                }
                Err(error) => {
                    let files = *files;
                    self.handle(path, entry, files, error).await
                }
            }
        }
        .boxed()
    }

    async fn folder(
        &mut self,
        path: &str,
        entry: &DirEntry,
        compressor: Option<Compressor>,
        next: &[DirEntry],
    ) -> Result<Outcome> {
        if self.stop.is_cancelled() {
            return Err(SnapshotError::Stopped);
        }
        let incomplete = entry.summary.as_ref().map_or("", |summary| &summary.incomplete);
        let key = (entry.object, entry.mtime, incomplete.to_owned());
        if let Some(known) = self.known.get(&key) {
            return Ok(Some(changed(entry, known.clone())));
        }
        let next = next.iter().filter(|entry| entry.is_dir());
        let directory = match self.directories.get(entry, next).await {
            Ok(directory) => directory,
            Err(error) => return self.handle(path, entry, self.folders, error).await,
        };
        let lists = self.lists_of(&directory.entries).await?;
        let (mut builder, mut same) = (DirectoryBuilder::new(), true);
        for (number, child) in directory.entries.iter().enumerate() {
            let below = join(path, &child.name_lossy());
            let rest = &directory.entries[number + 1..];
            let new = self.entry(&below, child, &lists, compressor, rest).await?;
            same &= new.as_ref() == Some(child);
            new.into_iter().for_each(|new| builder.add(new));
        }
        let outcome = if same {
            None
        } else {
            let new = with_own_failures(builder.build(entry.mtime, incomplete), &directory);
            let options = directory_options(path, compressor);
            let object = self.write(new.to_bytes(), options).await?;
            Some((object, new.summary))
        };
        self.known.insert(key, outcome.clone());
        Ok(Some(changed(entry, outcome)))
    }

    /// The pieces of the files among `entries` that are to be checked.
    async fn lists_of(&self, entries: &[DirEntry]) -> Result<crate::tree::Lists> {
        let files = entries.iter().filter(|it| !it.is_dir() && !self.whole.contains(&it.object));
        match &self.checker {
            Some(_) => read_lists(self.repo, files.map(|it| it.object)).await,
            None => Ok(HashMap::new()),
        }
    }

    /// What becomes of an entry that can't be read for the reason `error`.
    async fn handle(
        &mut self,
        path: &str,
        entry: &DirEntry,
        handling: Handling,
        error: SnapshotError,
    ) -> Result<Outcome> {
        if handling == Handling::Fail || !check::is_damage(&error) {
            let (path, source) = (path.to_owned(), Box::new(error));
            return Err(SnapshotError::NotWalked { path, object: entry.object, source });
        }
        let key = kopia_format::json::to_vec(entry);
        if let Some(known) = self.replaced.get(&key) {
            return Ok(Some(known.clone()));
        }
        let error = error.to_string();
        let is_dir = entry.is_dir();
        (self.tell)(RewriteEvent::Invalid { path, is_dir, error: &error, handling });
        let new = match handling {
            Handling::Remove | Handling::Fail => return Ok(None),
            Handling::Keep => entry.clone(),
            Handling::Stub => self.stub(entry, &error).await?,
        };
        self.replaced.insert(key, new.clone());
        Ok(Some(new))
    }

    /// A file in the place of `entry`, under the name that Kopia gives such.
    async fn stub(&self, entry: &DirEntry, error: &str) -> Result<DirEntry> {
        let info = "kopia-lite replaced the original entry with this stub because of an error.";
        let mut bytes = kopia_format::json::to_vec_indent(&Stub { info, error, entry });
        bytes.push(b'\n');
        let size = bytes.len() as u64;
        let options =
            ObjectOptions { metadata_compressor: self.stub_compressor, ..ObjectOptions::default() };
        let object = self.write(bytes, options).await?;
        let name = [b".INVALID.", entry.name.as_slice()].concat();
        let kind = EntryKind::File;
        Ok(DirEntry { name, kind, size, object, summary: None, ..entry.clone() })
    }

    async fn write(&self, bytes: Vec<u8>, options: ObjectOptions) -> Result<ObjectId> {
        match self.writer {
            Some(writer) => Ok(writer.write_object(Bytes::from(bytes), options).await?),
            None => Ok(ObjectId::default()),
        }
    }
}

async fn compressor_of(repo: &Repository, source: &Source) -> Result<Option<Compressor>> {
    let effective = policies::effective(repo, source).await?.policy;
    let name = compress::metadata_compressor(&effective).unwrap_or_default();
    Compressor::by_name(name).map_err(|error| SnapshotError::Policy {
        target: source.to_string(),
        reason: error.to_string(),
    })
}

fn changed(entry: &DirEntry, to: Option<(ObjectId, DirSummary)>) -> DirEntry {
    match to {
        None => entry.clone(),
        Some((object, summary)) => DirEntry { object, summary: Some(summary), ..entry.clone() },
    }
}

/// Keeps what `old` says of entries that failed in that very folder: those were never stored, and the
/// counts of what is below do not have them.
fn with_own_failures(mut new: Directory, old: &Directory) -> Directory {
    let below: Vec<_> = old.entries.iter().filter_map(|entry| entry.summary.as_ref()).collect();
    let own = |of: fn(&DirSummary) -> u64| {
        of(&old.summary).saturating_sub(below.iter().map(|summary| of(summary)).sum())
    };
    let summary = &mut new.summary;
    summary.failed = summary.failed.saturating_add(own(|it| it.failed));
    summary.ignored_errors = summary.ignored_errors.saturating_add(own(|it| it.ignored_errors));
    let known: HashSet<_> = below.iter().flat_map(|it| &it.errors).map(|it| &it.path).collect();
    let errors = old.summary.errors.iter().filter(|error| !known.contains(&error.path));
    summary.errors.extend(errors.cloned());
    summary.errors.sort_by(|a, b| a.path.cmp(&b.path));
    new
}

#[cfg(test)]
mod tests {
    use kopia_format::directory::EntryError;

    use super::*;

    #[test]
    fn failures_of_the_folder_itself_are_kept() {
        let error = |path: &str| EntryError { path: path.into(), error: b"denied".to_vec() };
        let below = DirSummary { failed: 1, errors: vec![error("a/x")], ..DirSummary::default() };
        let sub = DirEntry {
            name: b"a".to_vec(),
            kind: EntryKind::Directory,
            summary: Some(below.clone()),
            ..DirEntry::default()
        };
        let summary = DirSummary {
            failed: 3,
            ignored_errors: 1,
            errors: vec![error("a/x"), error("b"), error("c")],
            ..DirSummary::default()
        };
        let old = Directory { entries: vec![sub.clone()], summary };
        // The folder below stays.
        let mut builder = DirectoryBuilder::new();
        builder.add(sub);
        let new = with_own_failures(builder.build(0, ""), &old);
        assert_eq!((new.summary.failed, new.summary.ignored_errors), (3, 1));
        assert_eq!(new.summary.errors, [error("a/x"), error("b"), error("c")]);
        // It goes, and what failed in it.
        let new = with_own_failures(DirectoryBuilder::new().build(0, ""), &old);
        assert_eq!((new.summary.failed, new.summary.ignored_errors), (2, 1));
        assert_eq!(new.summary.errors, [error("b"), error("c")]);
    }
}
