//! How much a snapshot of a folder would hold, and what it would leave out.
//!
//! The folder is walked as for a snapshot, in the order of the file system and under the same rules;
//! no file is opened. Files are counted by their size, with some examples of each class.
//!
//! Memory: the folders from the root down to where the walk is.

use std::{path::PathBuf, vec};

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::{
    error::{Result, SnapshotError},
    policy::tree::PolicyTree,
    source::{EntryKind, ListedEntry, LocalEntry},
    upload::{
        rules::{Excluded, FolderRules},
        run::join,
    },
};

/// The smallest sizes of the classes, in bytes, the largest first. Kopia's.
const CLASSES: [u64; 14] = [
    1_000_000_000_000_000,
    100_000_000_000_000,
    10_000_000_000_000,
    1_000_000_000_000,
    100_000_000_000,
    10_000_000_000,
    1_000_000_000,
    100_000_000,
    10_000_000,
    1_000_000,
    100_000,
    10_000,
    1_000,
    0,
];

/// A file that stands for others of its class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Example {
    /// Path below the folder.
    pub path: String,
    /// Bytes.
    pub size: u64,
}

/// Files of about the same size.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Class {
    /// None of them has fewer bytes.
    pub min_size: u64,
    /// How many there are.
    pub count: u64,
    /// Their bytes together.
    pub total_size: u64,
    /// The first that were met.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<Example>,
}

/// Files by their size, the largest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Classes(pub Vec<Class>);

impl Default for Classes {
    fn default() -> Self {
        let class = |min_size| Class { min_size, ..Class::default() };
        Self(CLASSES.map(class).to_vec())
    }
}

impl Classes {
    fn add(&mut self, path: &str, size: u64, examples_max: usize) {
        let fits = self.0.iter_mut().find(|class| size >= class.min_size);
        let class = fits.expect("no size is less than that of the last class");
        class.count += 1;
        class.total_size += size;
        if class.examples.len() < examples_max {
            class.examples.push(Example { path: path.to_owned(), size });
        }
    }
}

/// What a snapshot would hold and leave out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Estimate {
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub size: u64,
    /// Folders, the root among them.
    pub directories: u64,
    /// The files by size.
    pub included: Classes,
    /// What is no folder and left out by a rule.
    pub excluded_files: u64,
    /// Its bytes.
    pub excluded_size: u64,
    /// It by size.
    pub excluded: Classes,
    /// Folders that are left out by a rule, and caches, of which a snapshot has the empty folder.
    pub excluded_directories: u64,
    /// The first of them.
    pub excluded_directory_examples: Vec<String>,
    /// Folders and entries that can't be looked at.
    pub errors: u64,
    /// Of these, such as the policy ignores.
    pub ignored_errors: u64,
}

/// What an estimate tells while it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EstimateEvent<'a> {
    /// A folder is begun: its path below the root, `.` for the root itself.
    Folder(&'a str),
    /// Something can't be looked at.
    Failed {
        /// Its path below the root.
        path: &'a str,
        /// Why, in Go's words.
        error: &'a str,
        /// The policy ignores it.
        ignored: bool,
    },
}

/// A folder that is being walked.
struct Open {
    path: PathBuf,
    relative: String,
    rules: FolderRules,
    entries: vec::IntoIter<ListedEntry>,
    excluded: std::iter::Peekable<vec::IntoIter<Excluded>>,
    /// Entries that were gone through.
    passed: usize,
}

/// Estimates a snapshot of the folder `path` under `policy`, with so many examples of each class.
///
/// # Errors
/// [`SnapshotError::Source`] when `path` can't be looked at or is no folder,
/// [`SnapshotError::Policy`], [`SnapshotError::Stopped`].
pub async fn estimate(
    path: PathBuf,
    policy: PolicyTree,
    examples_max: usize,
    tell: &(dyn Fn(EstimateEvent<'_>) + Send + Sync),
    stop: &CancellationToken,
) -> Result<Estimate> {
    let no_source = |reason: String| SnapshotError::Source { path: path.clone(), reason };
    let root = LocalEntry::at(&path).map_err(|error| no_source(error.to_string()))?;
    if root.kind != EntryKind::Directory {
        return Err(no_source("it must be a directory".to_owned()));
    }
    let mut walk = Walk { found: Estimate::default(), examples_max, tell };
    let mut open = Vec::new();
    let rules = FolderRules::root(policy)?;
    open.extend(walk.open(path.clone(), ".".to_owned(), rules, root.device).await);
    while let Some(folder) = open.last_mut() {
        if stop.is_cancelled() {
            return Err(SnapshotError::Stopped);
        }
        while let Some(excluded) = folder.excluded.next_if(|it| it.kept_before <= folder.passed) {
            walk.exclude(excluded);
        }
        let Some(listed) = folder.entries.next() else {
            open.pop();
            continue;
        };
        folder.passed += 1;
        let name = listed.name.to_string_lossy();
        let relative = join(&folder.relative, &name);
        match listed.entry {
            Ok(entry) if entry.kind == EntryKind::Directory => {
                let (path, rules) = (folder.path.join(&listed.name), folder.rules.child(&name));
                open.extend(walk.open(path, relative, rules, entry.device).await);
            }
            Ok(entry) if entry.kind == EntryKind::File => walk.include(&relative, entry.size),
            Ok(_) => {}
            Err(text) => walk.fail(&relative, &text, folder.rules.ignores_file_errors()),
        }
    }
    Ok(walk.found)
}

struct Walk<'a> {
    found: Estimate,
    examples_max: usize,
    tell: &'a (dyn Fn(EstimateEvent<'_>) + Send + Sync),
}

impl Walk<'_> {
    async fn open(
        &mut self,
        path: PathBuf,
        relative: String,
        rules: FolderRules,
        device: u64,
    ) -> Option<Open> {
        self.found.directories += 1;
        (self.tell)(EstimateEvent::Folder(&relative));
        let ignored = rules.ignores_folder_errors();
        let (at, below) = (path.clone(), relative.clone());
        let opened = tokio::task::spawn_blocking(move || rules.open(&at, &below, device)).await;
        match opened.expect("listing a folder does not panic") {
            Ok(opened) => Some(Open {
                path,
                relative,
                rules: opened.rules,
                entries: opened.entries.into_iter(),
                excluded: opened.excluded.into_iter().peekable(),
                passed: 0,
            }),
            Err(text) => {
                self.fail(&relative, &text, ignored);
                None
            }
        }
    }

    fn include(&mut self, path: &str, size: u64) {
        self.found.files += 1;
        self.found.size += size;
        self.found.included.add(path, size, self.examples_max);
    }

    fn exclude(&mut self, excluded: Excluded) {
        let Excluded { path, size, folder, .. } = excluded;
        let found = &mut self.found;
        if folder {
            found.excluded_directories += 1;
            if found.excluded_directory_examples.len() < self.examples_max {
                found.excluded_directory_examples.push(path);
            }
        } else {
            found.excluded_files += 1;
            found.excluded_size += size;
            found.excluded.add(&path, size, self.examples_max);
        }
    }

    fn fail(&mut self, path: &str, error: &str, ignored: bool) {
        let found = &mut self.found;
        *(if ignored { &mut found.ignored_errors } else { &mut found.errors }) += 1;
        (self.tell)(EstimateEvent::Failed { path, error, ignored });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_in_the_class_that_it_fills() {
        let mut classes = Classes::default();
        for (path, size) in [("a", 0), ("b", 999), ("c", 1000), ("d", 1_000_000)] {
            classes.add(path, size, 1);
        }
        let filled: Vec<_> = classes.0.iter().filter(|class| class.count > 0).collect();
        let counts: Vec<_> = filled.iter().map(|it| (it.min_size, it.count)).collect();
        assert_eq!(counts, [(1_000_000, 1), (1000, 1), (0, 2)]);
        assert_eq!(filled[2].examples, [Example { path: "a".into(), size: 0 }]);
        assert_eq!(filled[2].total_size, 999);
    }
}
