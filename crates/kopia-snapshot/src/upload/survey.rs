//! Finding the folders that are still as an earlier snapshot has them, many on one thread.
//!
//! Most folders of most trees have not changed since the last snapshot, and to hand one from thread
//! to thread costs more than to see that. So parts of the tree are surveyed before they are uploaded:
//! their earlier directories are read level by level, then one thread lists the folders and
//! compares. A folder that is the same in every entry is taken over, with all that is below it. Of
//! the others what has changed is left to be uploaded; that should be soon, for the survey grows old.

use std::{
    collections::HashMap,
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
    vec,
};

use futures::{StreamExt, TryStreamExt, stream};
use kopia_format::{
    ObjectId,
    directory::{DirEntry, DirectoryBuilder},
};

use super::{
    detail::{Begun, FOLDER},
    events::UploadEvent,
    previous::{PreviousFolder, folders_below, same_folder},
    rules::{FolderRules, Opened},
    run::{Run, dir_entry, join},
};
use crate::{
    error::Result,
    source::{EntryKind, ListedEntry, LocalEntry},
    tree::{entries_below, read_levels},
};

/// So many entries are surveyed on one thread, as the summaries of the earlier snapshots count them.
const ENTRIES: u64 = 2048;
/// So many are surveyed before the first of them is uploaded.
const ENTRIES_AHEAD: u64 = 4 * ENTRIES;

/// A folder that was seen longer ago is listed again.
const AGE_MAX: Duration = Duration::from_secs(2);

const UNPOISONED: &str = "no holder of this lock panics";

/// Folders to be surveyed, all of them in one folder.
#[derive(Default)]
pub(super) struct Survey {
    batches: Vec<Vec<Unseen>>,
    /// How many there are in the last batch, and in all of them.
    entries: (u64, u64),
}

/// A folder that is to be looked at.
struct Unseen {
    path: PathBuf,
    /// Path below the snapshot's root.
    relative: String,
    entry: LocalEntry,
    rules: FolderRules,
    /// What the earlier snapshots have of it.
    previous: Vec<ObjectId>,
}

/// What a survey has found out.
#[derive(Default)]
pub(super) struct Surveyed {
    /// Folders that are the same, by their paths; of one in another the outer one. The paths are those
    /// of this machine: what is shown of a name that is not UTF-8 may be shown of another, too.
    same: HashMap<PathBuf, DirEntry>,
    /// The others.
    changed: Mutex<HashMap<PathBuf, Changed>>,
    /// Earlier directories of the others.
    previous: HashMap<ObjectId, Arc<PreviousFolder>>,
}

/// A folder in which something is not as it was.
pub(super) struct Changed {
    seen: Instant,
    /// Its rules, what they leave out, and the entries that are not as they were.
    pub opened: Opened,
    /// The other entries. Of those, files and links are not counted yet.
    pub taken_over: Vec<DirEntry>,
}

impl Unseen {
    /// The folder `entry` in the folder at `path`, which is `relative` below the snapshot's root.
    fn below(
        (path, relative): (&Path, &str),
        rules: &FolderRules,
        previous: &[&DirEntry],
        entry: LocalEntry,
    ) -> Self {
        let name = entry.name.to_string_lossy();
        Self {
            path: path.join(&entry.name),
            relative: join(relative, &name),
            rules: rules.child(&name),
            previous: previous.iter().map(|folder| folder.object).collect(),
            entry,
        }
    }
}

impl Survey {
    /// Adds the folder `entry` of the folder at `path`, which is `relative` below the snapshot's
    /// root, unless it is new or too large to be surveyed as a whole.
    pub fn add(
        &mut self,
        (path, relative): (&Path, &str),
        rules: &FolderRules,
        previous: &[Arc<PreviousFolder>],
        entry: &LocalEntry,
    ) {
        let known = folders_below(previous, entry.name.as_bytes());
        let entries = known.iter().map(|folder| entries_below(folder)).sum::<Option<u64>>();
        let Some(entries) = entries.filter(|entries| (1..=ENTRIES).contains(entries)) else {
            return;
        };
        let (in_last, in_all) = &mut self.entries;
        if self.batches.is_empty() || *in_last + entries > ENTRIES {
            self.batches.push(Vec::new());
            *in_last = 0;
        }
        (*in_last, *in_all) = (*in_last + entries, *in_all + entries);
        let folder = Unseen::below((path, relative), rules, &known, entry.clone());
        self.batches.last_mut().expect("pushed above").push(folder);
    }

    /// Is that enough?
    pub fn is_full(&self) -> bool {
        self.entries.1 >= ENTRIES_AHEAD
    }

    /// Surveys the folders; `None` if there are none.
    ///
    /// # Errors
    /// What reading the index may give. A directory or folder that can't be read is no error: the
    /// folder is left to whoever uploads it.
    pub async fn carry_out(self, run: &Arc<Run>) -> Result<Option<Surveyed>> {
        let batches = self.batches.into_iter().map(|batch| Surveyed::of(run, batch));
        let at_once = run.repo.cpu().threads().max(1);
        let surveyed = stream::iter(batches).buffer_unordered(at_once).try_fold(
            None,
            async |all: Option<Surveyed>, one| {
                let mut all = all.unwrap_or_default();
                all.same.extend(one.same);
                all.previous.extend(one.previous);
                all.changed
                    .get_mut()
                    .expect(UNPOISONED)
                    .extend(one.changed.into_inner().expect(UNPOISONED));
                Ok(Some(all))
            },
        );
        surveyed.await
    }
}

impl Surveyed {
    /// The entry of a folder that is the same as it was.
    pub fn same(&self, path: &Path) -> Option<&DirEntry> {
        self.same.get(path)
    }

    /// What is to be done of a folder that has changed; `None` if it was not surveyed, or too long
    /// ago: then it is to be listed again, or a file might be stored with the time and size that it
    /// had before somebody wrote to it. Can be had once.
    pub fn changed(&self, path: &Path) -> Option<Changed> {
        let changed = self.changed.lock().expect(UNPOISONED).remove(path)?;
        (changed.seen.elapsed() <= AGE_MAX).then_some(changed)
    }

    /// A directory of an earlier snapshot that was read for a folder that has changed.
    pub fn previous(&self, id: &ObjectId) -> Option<Arc<PreviousFolder>> {
        self.previous.get(id).cloned()
    }

    /// Surveys `folders` on one thread.
    async fn of(run: &Arc<Run>, folders: Vec<Unseen>) -> Result<Self> {
        let mut previous = HashMap::new();
        let level = folders.iter().flat_map(|folder| folder.previous.iter().copied()).collect();
        let keep = |id, directory: Result<_>| {
            directory.ok().map(|directory| Arc::new(PreviousFolder::new(id, directory)))
        };
        read_levels(&run.repo, level, 2 * ENTRIES, &mut previous, keep).await?;
        let run = run.clone();
        let surveying = tokio::task::spawn_blocking(move || {
            let (found, left) = (Self::default(), 4 * ENTRIES);
            let mut surveyor = Surveyor { run: &run, previous, left, found };
            for folder in folders {
                surveyor.walk(folder);
            }
            surveyor.found
        });
        Ok(surveying.await.expect("a survey does not panic"))
    }
}

struct Surveyor<'a> {
    run: &'a Run,
    /// The earlier directories that could be read.
    previous: HashMap<ObjectId, Option<Arc<PreviousFolder>>>,
    /// So many more entries are looked at: there may be more of them than there were.
    left: u64,
    found: Surveyed,
}

/// A folder that the surveyor is in.
struct InFolder {
    relative: String,
    path: PathBuf,
    entry: LocalEntry,
    /// How the folder that it lies in lists it; `None` for the outermost.
    listed: Option<ListedEntry>,
    previous: Vec<Arc<PreviousFolder>>,
    seen: Instant,
    begun: Begun,
    /// Entries that come next.
    rest: vec::IntoIter<ListedEntry>,
    /// Its rules, and those of its entries that are not as they were.
    opened: Opened,
    /// Those that are.
    taken_over: Vec<DirEntry>,
}

impl Surveyor<'_> {
    fn walk(&mut self, folder: Unseen) {
        let mut open: Vec<_> = self.enter(folder).into_iter().collect();
        while let Some(at) = open.last_mut() {
            if let Some(listed) = at.rest.next() {
                let inner = self.look(at, listed);
                open.extend(inner);
            } else {
                let done = open.pop().expect("it is there");
                self.leave(done, open.last_mut());
            }
        }
    }

    /// Lists a folder that an earlier snapshot knows.
    fn enter(&mut self, folder: Unseen) -> Option<InFolder> {
        let Unseen { path, relative, entry, rules, previous } = folder;
        if self.left == 0 || self.run.is_stopped() {
            return None;
        }
        let known = |id| self.previous.get(&id).cloned().flatten();
        let previous: Vec<_> = previous.into_iter().filter_map(known).collect();
        if previous.is_empty() {
            return None;
        }
        let seen = Instant::now();
        let begun = rules.details(&self.run.options).folder.begin();
        let mut opened = rules.open(&path, &relative, entry.device).ok()?;
        let mut entries = std::mem::take(&mut opened.entries);
        // In the order in which the earlier directory has them.
        entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        self.left = self.left.saturating_sub(1 + entries.len() as u64);
        Some(InFolder {
            relative,
            path,
            entry,
            listed: None,
            previous,
            seen,
            begun,
            rest: entries.into_iter(),
            opened,
            taken_over: Vec::new(),
        })
    }

    /// Looks at the next entry. Gives the folder that it is, if there is something to be seen in it.
    fn look(&mut self, at: &mut InFolder, listed: ListedEntry) -> Option<InFolder> {
        let rules = &at.opened.rules;
        if let Ok(entry) = &listed.entry {
            match entry.kind {
                EntryKind::File | EntryKind::Symlink => {
                    if let Some(object) = self.run.as_it_was(&at.previous, entry) {
                        at.taken_over.push(dir_entry(entry, object));
                        return None;
                    }
                }
                EntryKind::Other => {
                    if rules.child(&listed.name.to_string_lossy()).ignores_unknown_types() {
                        return None;
                    }
                }
                EntryKind::Directory => {
                    let place = (at.path.as_path(), at.relative.as_str());
                    let known = folders_below(&at.previous, entry.name.as_bytes());
                    let inner = self.enter(Unseen::below(place, rules, &known, entry.clone()));
                    if let Some(mut inner) = inner {
                        inner.listed = Some(listed);
                        return Some(inner);
                    }
                }
            }
        }
        at.opened.entries.push(listed);
        None
    }

    /// Takes a folder over, or notes what has changed in it.
    fn leave(&mut self, mut done: InFolder, outer: Option<&mut InFolder>) {
        if let Some(entry) = self.same(&mut done) {
            match outer {
                Some(outer) => outer.taken_over.push(entry),
                None => drop(self.found.same.insert(done.path, entry)),
            }
            return;
        }
        let InFolder { path, listed, previous, seen, opened, taken_over, .. } = done;
        for folder in taken_over.iter().filter(|entry| entry.is_dir()) {
            self.found.same.insert(path.join(OsStr::from_bytes(&folder.name)), folder.clone());
        }
        self.found.previous.extend(previous.into_iter().map(|folder| (folder.id(), folder)));
        let changed = Changed { seen, opened, taken_over };
        self.found.changed.get_mut().expect(UNPOISONED).insert(path, changed);
        if let Some((outer, listed)) = outer.zip(listed) {
            outer.opened.entries.push(listed);
        }
    }

    /// The entry of a folder that is the same as it was. Counts it, with its files.
    fn same(&self, done: &mut InFolder) -> Option<DirEntry> {
        if !done.opened.entries.is_empty() || self.run.is_stopped() {
            return None;
        }
        let mut builder = DirectoryBuilder::new();
        std::mem::take(&mut done.taken_over).into_iter().for_each(|entry| builder.add(entry));
        let directory = builder.build(done.entry.mtime, "");
        let object = same_folder(&done.previous, &directory);
        done.taken_over = directory.entries;
        let object = object.filter(|object| self.run.has_object(object))?;
        let details = done.opened.rules.details(&self.run.options);
        self.run.counters.folders.fetch_add(1, Relaxed);
        self.run.tell(UploadEvent::FolderStarted { path: &done.relative });
        self.run.count_excluded(&done.opened.excluded, &details);
        self.run.count_taken_over(&done.relative, &done.taken_over, &details);
        let entry = DirEntry { summary: Some(directory.summary), ..dir_entry(&done.entry, object) };
        details.folder.tell(FOLDER, &done.relative, Ok(&entry), done.begun);
        Some(entry)
    }
}
