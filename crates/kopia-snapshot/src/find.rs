//! Entries of many snapshots by their names, and the versions of one path.
//!
//! Only folders are read, each object once however many snapshots have it: what a folder holds that
//! fits is noted under its object, and snapshots are then gone through by these notes alone.
//!
//! Memory: some 100 bytes for each distinct folder, and what was found.

use std::collections::{BTreeMap, HashMap, VecDeque};

use kopia_format::{
    ManifestId, ObjectId,
    directory::{DirEntry, Directory},
    snapshot::{SnapshotManifest, Source},
    time::GoTime,
};
use kopia_repo::Repository;
use tokio_util::sync::CancellationToken;

use crate::{
    error::{Result, SnapshotError},
    glob::Glob,
    tree::{descend, entries_below, read_directories},
};

/// Entries of folders that are read together.
const AHEAD_ENTRIES: u64 = 16 << 10;

/// What is looked for.
#[derive(Debug, Clone)]
pub struct Wanted(Vec<Pattern>);

#[derive(Debug, Clone)]
struct Pattern {
    /// For the name alone.
    name: Glob,
    /// For the whole path, where the pattern has a slash.
    path: Option<Glob>,
}

impl Wanted {
    /// Reads patterns: for names, or for whole paths if they have a slash. One that begins with none
    /// may begin at any folder.
    ///
    /// # Errors
    /// [`SnapshotError::Invalid`] for one that can't be read, or that ends with a slash.
    pub fn of<T: AsRef<str>>(patterns: &[T], ignore_case: bool) -> Result<Self> {
        let read = |pattern: &T| {
            let pattern = pattern.as_ref();
            let Some((_, name)) = pattern.rsplit_once('/') else {
                return Ok(Pattern { name: Glob::for_paths(pattern, ignore_case)?, path: None });
            };
            if name.is_empty() {
                let message = format!("the pattern {pattern:?} ends with a slash");
                return Err(SnapshotError::Invalid(message));
            }
            let anchored = match pattern.starts_with('/') {
                true => pattern.to_owned(),
                false => format!("**/{pattern}"),
            };
            Ok(Pattern {
                name: Glob::for_paths(name, ignore_case)?,
                path: Some(Glob::for_paths(&anchored, ignore_case)?),
            })
        };
        Ok(Self(patterns.iter().map(read).collect::<Result<_>>()?))
    }

    fn may_be(&self, name: &str) -> bool {
        self.0.iter().any(|pattern| pattern.name.matches(name))
    }

    fn is(&self, name: &str, path: &str) -> bool {
        self.0.iter().any(|pattern| {
            let fits = pattern.path.as_ref().is_none_or(|glob| glob.matches(path));
            fits && pattern.name.matches(name)
        })
    }
}

/// A snapshot, as far as it is told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its manifest.
    pub id: ManifestId,
    /// When it began.
    pub start_time: GoTime,
}

/// One version of one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Whose snapshots have it.
    pub source: Source,
    /// Its absolute path.
    pub path: String,
    /// The entry.
    pub entry: DirEntry,
    /// The oldest snapshot that has it so.
    pub first: Seen,
    /// The newest.
    pub last: Seen,
    /// How many have it so.
    pub snapshots: usize,
}

type Key = (Source, String, ObjectId, i64, u32);

/// What was found, by source and path.
#[derive(Default)]
struct Tally(BTreeMap<Key, Found>);

impl Tally {
    /// `entry` is at `path` in `manifest`. Snapshots come from the oldest to the newest.
    fn add(&mut self, manifest: &SnapshotManifest, path: String, entry: &DirEntry) {
        let seen = Seen { id: manifest.id.clone(), start_time: manifest.start_time };
        let source = manifest.source.clone();
        let key = (source.clone(), path.clone(), entry.object, entry.mtime, entry.mode);
        let found = self.0.entry(key).or_insert_with(|| Found {
            source,
            path,
            entry: entry.clone(),
            first: seen.clone(),
            last: seen.clone(),
            snapshots: 0,
        });
        found.last = seen;
        found.snapshots += 1;
    }

    /// By source and path, and of one path from the oldest version to the newest.
    fn into_sorted(self) -> Vec<Found> {
        let mut all: Vec<_> = self.0.into_values().collect();
        all.sort_by(|a, b| {
            let key = |it: &Found| (it.first.start_time, it.last.start_time);
            (&a.source, &a.path).cmp(&(&b.source, &b.path)).then_with(|| key(a).cmp(&key(b)))
        });
        all
    }
}

/// Everything that is `wanted` in `snapshots`, which come from the oldest to the newest: one for
/// each version of each path, by path. The roots themselves are not looked at.
///
/// # Errors
/// [`SnapshotError::NotWalked`] for a folder that can't be read; [`SnapshotError::Stopped`].
pub async fn find(
    repo: &Repository,
    snapshots: &[SnapshotManifest],
    wanted: &Wanted,
    stop: &CancellationToken,
) -> Result<Vec<Found>> {
    let mut notes = Notes { repo, wanted, known: HashMap::new() };
    let mut tally = Tally::default();
    for manifest in snapshots {
        let Some(root) = manifest.root_entry.as_ref().filter(|root| root.is_dir()) else {
            continue;
        };
        notes.read(&manifest.source, root, stop).await?;
        let top = manifest.source.path.trim_end_matches('/').to_owned();
        let mut waiting = vec![(top, root.object)];
        while let Some((path, object)) = waiting.pop() {
            let Some(Some(note)) = notes.known.get(&object) else { continue };
            for hit in &note.hits {
                let name = hit.name_lossy();
                let path = format!("{path}/{name}");
                if wanted.is(&name, &path) {
                    tally.add(manifest, path, hit);
                }
            }
            let below = note.folders.iter().map(|(name, id)| (format!("{path}/{name}"), *id));
            waiting.extend(below);
        }
    }
    Ok(tally.into_sorted())
}

/// The versions of what lies at the absolute `path` in `snapshots`, which come from the oldest to
/// the newest; those of other sources than that path and the folders above it are passed over.
///
/// # Errors
/// What reading folders may give.
pub async fn versions(
    repo: &Repository,
    snapshots: &[SnapshotManifest],
    path: &str,
) -> Result<Vec<Found>> {
    let mut tally = Tally::default();
    let mut known: HashMap<(ObjectId, String), Option<DirEntry>> = HashMap::new();
    for manifest in snapshots {
        let Some(root) = &manifest.root_entry else { continue };
        let top = manifest.source.path.trim_end_matches('/');
        let Some(below) = path.strip_prefix(top) else { continue };
        if !below.is_empty() && !below.starts_with('/') {
            continue;
        }
        if below.trim_matches('/').is_empty() {
            tally.add(manifest, path.to_owned(), root);
            continue;
        }
        // Sources above each other have the path at different depths.
        let place = (root.object, below.to_owned());
        let entry = match known.get(&place) {
            Some(entry) => entry.clone(),
            None => match descend(repo, root.clone(), below).await {
                Ok(entry) => Some(entry),
                Err(SnapshotError::NotInSnapshot { .. }) => None,
                Err(error) => return Err(error),
            },
        };
        if let Some(entry) = &entry {
            tally.add(manifest, path.to_owned(), entry);
        }
        known.insert(place, entry);
    }
    Ok(tally.into_sorted())
}

/// What fits in and below one folder.
struct Note {
    hits: Vec<DirEntry>,
    /// The folders below that lead to more.
    folders: Vec<(String, ObjectId)>,
}

/// What is known of folders; `None` for one with nothing in it that fits.
struct Notes<'a> {
    repo: &'a Repository,
    wanted: &'a Wanted,
    known: HashMap<ObjectId, Option<Note>>,
}

/// A folder that is being read.
struct Open {
    name: String,
    object: ObjectId,
    note: Note,
    waiting: VecDeque<DirEntry>,
    ahead: HashMap<ObjectId, Result<Directory>>,
}

impl Notes<'_> {
    /// Reads all below `root` that is not known.
    async fn read(
        &mut self,
        source: &Source,
        root: &DirEntry,
        stop: &CancellationToken,
    ) -> Result<()> {
        // A folder over the root, so that the root is read as any other.
        let note = Note { hits: Vec::new(), folders: Vec::new() };
        let waiting = VecDeque::from([root.clone()]);
        let (name, object) = (source.to_string(), ObjectId::default());
        let mut open = vec![Open { name, object, note, waiting, ahead: HashMap::new() }];
        while let Some(folder) = open.last_mut() {
            if stop.is_cancelled() {
                return Err(SnapshotError::Stopped);
            }
            let Some(next) = folder.waiting.pop_front() else {
                let done = open.pop().expect("it is the last");
                let Some(above) = open.last_mut() else { break };
                let Open { name, object, note, .. } = done;
                let leads = !note.hits.is_empty() || !note.folders.is_empty();
                self.known.insert(object, leads.then_some(note));
                if leads {
                    above.note.folders.push((name, object));
                }
                continue;
            };
            match self.known.get(&next.object) {
                Some(Some(_)) => {
                    let name = next.name_lossy().into_owned();
                    folder.note.folders.push((name, next.object));
                    continue;
                }
                Some(None) => continue,
                None => {}
            }
            if !folder.ahead.contains_key(&next.object) {
                let wanted = ahead(&next, &folder.waiting, &self.known);
                folder.ahead = read_directories(self.repo, &wanted).await?;
            }
            let read = folder.ahead.remove(&next.object).expect("it was asked for");
            let directory = read.map_err(|error| {
                let names = open.iter().map(|it| it.name.as_str());
                let path: Vec<_> = names.collect();
                let path = format!("{}/{}", path.join("/"), next.name_lossy());
                let source = Box::new(error);
                SnapshotError::NotWalked { path, object: next.object, source }
            })?;
            open.push(self.opened(&next, directory));
        }
        Ok(())
    }

    fn opened(&self, folder: &DirEntry, directory: Directory) -> Open {
        let (mut hits, mut waiting) = (Vec::new(), VecDeque::new());
        for entry in directory.entries {
            let is_hit = self.wanted.may_be(&entry.name_lossy());
            if entry.is_dir() {
                waiting.push_back(entry.clone());
            }
            if is_hit {
                hits.push(entry);
            }
        }
        let (name, object) = (folder.name_lossy().into_owned(), folder.object);
        let note = Note { hits, folders: Vec::new() };
        Open { name, object, note, waiting, ahead: HashMap::new() }
    }
}

/// The folders that are read together with `first`: not all below it, as other walks read them, for
/// most are known from the snapshot before.
fn ahead(
    first: &DirEntry,
    next: &VecDeque<DirEntry>,
    known: &HashMap<ObjectId, Option<Note>>,
) -> Vec<ObjectId> {
    let below = |entry: &DirEntry| entries_below(entry).unwrap_or(AHEAD_ENTRIES / 16);
    let (mut wanted, mut entries) = (vec![first.object], below(first));
    for folder in next.iter().filter(|folder| !known.contains_key(&folder.object)) {
        entries = entries.saturating_add(below(folder));
        if entries > AHEAD_ENTRIES {
            break;
        }
        wanted.push(folder.object);
    }
    wanted
}
