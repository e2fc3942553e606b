//! What differs between two trees: two of snapshots, or one of a snapshot and the live folder that
//! it was taken of.
//!
//! [`Changes`] walks both in step and gives one difference after the other, in the stored order of
//! the second tree; what only the first has comes at the end of each folder. Objects that are equal
//! are the same to the last byte, so nothing below them is read. Only folders are read, no file; of
//! a live tree only names and metadata, so that a file there counts as the same if its length and
//! its time are.
//!
//! Memory: the folders from the root down to where the walk is, and at each level those that are
//! read together, some 16 thousand entries.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    mem,
    path::Path,
};

use kopia_format::{
    ObjectId,
    directory::{DirEntry, Directory, EntryKind},
};
use kopia_repo::Repository;
use serde::Serialize;

use crate::{
    error::{Result, SnapshotError},
    roots::Root,
    tree::{entries_below, read_directories},
};

mod live;

use live::LiveFolder;

/// Entries of folders that are read together.
const AHEAD_ENTRIES: u64 = 16 << 10;

/// An entry of one of the trees.
#[derive(Debug, Clone)]
pub struct DiffEntry {
    /// As it is stored. That of a live tree has no object.
    pub entry: DirEntry,
    /// Bytes; of a folder in a snapshot of all that is below it, as Kopia has it.
    pub size: u64,
    /// Nanoseconds since 1970; of a folder in a snapshot the newest time below it, as Kopia has it.
    pub mtime: i64,
    /// Where it is looked at, if it is a live folder.
    live: Option<Box<LiveFolder>>,
}

/// In what two entries of one path differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(clippy::struct_excessive_bools)] // each is an attribute of its own
pub struct Differs {
    /// One is a folder, file or link, and the other something else.
    pub kind: bool,
    /// The bytes; of a folder, something below it, which is not known of a live one.
    pub content: bool,
    /// The permission bits.
    pub mode: bool,
    /// The length.
    pub size: bool,
    /// The time of modification.
    pub mtime: bool,
    /// The owner.
    pub uid: bool,
    /// The group.
    pub gid: bool,
}

impl Differs {
    /// Does anything that is not the content differ?
    #[must_use]
    pub fn in_metadata(&self) -> bool {
        self.kind || self.mode || self.size || self.mtime || self.uid || self.gid
    }

    /// The names of what differs, as in JSON.
    #[must_use]
    pub fn names(&self) -> Vec<&'static str> {
        let all = [
            (self.kind, "type"),
            (self.content, "content"),
            (self.mode, "mode"),
            (self.size, "size"),
            (self.mtime, "mtime"),
            (self.uid, "uid"),
            (self.gid, "gid"),
        ];
        all.into_iter().filter(|(differs, _)| *differs).map(|(_, name)| name).collect()
    }
}

/// One difference.
#[derive(Debug, Clone)]
pub struct Change {
    /// The path below the roots, with `/`; `.` for the roots themselves.
    pub path: String,
    /// In the first tree; `None` where it was added.
    pub old: Option<DiffEntry>,
    /// In the second tree; `None` where it was removed.
    pub new: Option<DiffEntry>,
    /// What differs, where both have it.
    pub differs: Differs,
}

/// Counts of one kind of entries, under Kopia's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EntryStats {
    /// Only in the second tree.
    pub added: u32,
    /// Only in the first tree.
    pub removed: u32,
    /// Differences in content and in metadata: an entry that has both counts twice, as in Kopia.
    pub modified: u32,
    /// The same object, and something else that differs.
    pub same_content_but_different_metadata: u32,
    /// … the mode.
    pub same_content_but_different_mode: u32,
    /// … the time.
    pub same_content_but_different_modification_time: u32,
    /// … the owner.
    pub same_content_but_different_user_owner: u32,
    /// … the group.
    pub same_content_but_different_group_owner: u32,
}

/// Counts of all differences, as Kopia prints them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DiffStats {
    /// Files, links and what else is no folder.
    pub file_entries: EntryStats,
    /// Folders.
    pub directory_entries: EntryStats,
}

impl DiffStats {
    fn add(&mut self, change: &Change) {
        let is_dir = |entry: &DiffEntry| entry.entry.is_dir();
        let (old, new) = match (&change.old, &change.new) {
            (Some(old), Some(new)) => (old, new),
            (None, Some(new)) => return self.of(is_dir(new)).added += 1,
            (Some(old), None) => return self.of(is_dir(old)).removed += 1,
            (None, None) => return,
        };
        let differs = &change.differs;
        if differs.content {
            let metadata = u32::from(differs.in_metadata());
            self.of(is_dir(old) && is_dir(new)).modified += metadata;
            let is_file = |entry: &DiffEntry| entry.entry.kind == EntryKind::File;
            self.file_entries.modified += u32::from(is_file(old) && is_file(new));
            return;
        }
        let stats = self.of(is_dir(old));
        let mode = differs.mode || differs.kind;
        let any = mode || differs.mtime || differs.uid || differs.gid;
        stats.same_content_but_different_metadata += u32::from(any);
        stats.same_content_but_different_mode += u32::from(mode);
        stats.same_content_but_different_modification_time += u32::from(differs.mtime);
        stats.same_content_but_different_user_owner += u32::from(differs.uid);
        stats.same_content_but_different_group_owner += u32::from(differs.gid);
    }

    fn of(&mut self, is_dir: bool) -> &mut EntryStats {
        if is_dir { &mut self.directory_entries } else { &mut self.file_entries }
    }
}

type Pair = (Option<DiffEntry>, Option<DiffEntry>);

/// A folder that the walk is in.
struct Level {
    /// Its path and a slash; empty for the roots.
    prefix: String,
    left: VecDeque<Pair>,
    ahead: HashMap<ObjectId, Result<Directory>>,
}

/// The differences of two trees, one after the other.
pub struct Changes<'a> {
    repo: &'a Repository,
    levels: Vec<Level>,
    stats: DiffStats,
    troubles: Vec<String>,
}

impl<'a> Changes<'a> {
    /// Those between two entries of snapshots.
    #[must_use]
    pub fn between(repo: &'a Repository, old: &Root, new: &Root) -> Self {
        Self::of(repo, DiffEntry::root(old), DiffEntry::root(new))
    }

    /// Those between an entry of a snapshot and what lies there now, as a new snapshot would see it:
    /// under the policy of the source and its ignore files.
    ///
    /// # Errors
    /// [`SnapshotError::Invalid`] when the entry is of no snapshot; [`SnapshotError::Local`] when it
    /// can't be looked at; what reading policies may give.
    pub async fn to_live(repo: &'a Repository, old: &Root) -> Result<Self> {
        let new = live::root(repo, old, None).await?;
        Ok(Self::of(repo, DiffEntry::root(old), new))
    }

    /// The same, where the source lies at `source` now.
    ///
    /// # Errors
    /// As [`to_live`](Self::to_live).
    pub async fn to_live_at(repo: &'a Repository, old: &Root, source: &Path) -> Result<Self> {
        let new = live::root(repo, old, Some(source)).await?;
        Ok(Self::of(repo, DiffEntry::root(old), new))
    }

    fn of(repo: &'a Repository, old: DiffEntry, new: DiffEntry) -> Self {
        let left = VecDeque::from([(Some(old), Some(new))]);
        let roots = Level { prefix: String::new(), left, ahead: HashMap::new() };
        Self { repo, levels: vec![roots], stats: DiffStats::default(), troubles: Vec::new() }
    }

    /// The counts of all differences given so far.
    #[must_use]
    pub fn stats(&self) -> DiffStats {
        self.stats
    }

    /// What could not be looked at in the live tree since this was asked last: sentences that name
    /// the path. It is neither the same nor different.
    pub fn take_troubles(&mut self) -> Vec<String> {
        mem::take(&mut self.troubles)
    }

    /// The next difference; `None` when there are no more.
    ///
    /// # Errors
    /// [`SnapshotError::NotWalked`] for a folder of a snapshot that can't be read.
    pub async fn next(&mut self) -> Result<Option<Change>> {
        while let Some(level) = self.levels.last_mut() {
            let Some((old, new)) = level.left.pop_front() else {
                self.levels.pop();
                continue;
            };
            let name = match (self.levels.len(), old.as_ref().or(new.as_ref())) {
                (1, _) | (_, None) => ".".to_owned(),
                (_, Some(entry)) => entry.entry.name_lossy().into_owned(),
            };
            let level = self.levels.last().expect("it was there a moment ago");
            let path = format!("{}{name}", level.prefix);
            let differs = match (&old, &new) {
                (Some(old), Some(new)) => compare(old, new),
                _ => Differs::default(),
            };
            if goes_down(&old, &new) {
                self.enter(&path, old.as_ref(), new.as_ref()).await?;
            }
            let change = Change { path, old, new, differs };
            if change.old.is_none() || change.new.is_none() || is_told(&change) {
                self.stats.add(&change);
                return Ok(Some(change));
            }
        }
        Ok(None)
    }

    /// Goes down into a folder that one or both trees have.
    async fn enter(
        &mut self,
        path: &str,
        old: Option<&DiffEntry>,
        new: Option<&DiffEntry>,
    ) -> Result<()> {
        let old = match old {
            Some(old) => self.list(path, old).await?,
            None => Some(Vec::new()),
        };
        let new = match new {
            Some(new) => self.list(path, new).await?,
            None => Some(Vec::new()),
        };
        let (Some(old), Some(new)) = (old, new) else { return Ok(()) };
        let prefix = if path == "." { String::new() } else { format!("{path}/") };
        self.levels.push(Level { prefix, left: matched(old, new), ahead: HashMap::new() });
        Ok(())
    }

    /// The entries of a folder; `None` if it is a live one that can't be listed.
    async fn list(&mut self, path: &str, folder: &DiffEntry) -> Result<Option<Vec<DiffEntry>>> {
        if let Some(live) = &folder.live {
            return Ok(live.list(&mut self.troubles).await);
        }
        let id = folder.entry.object;
        let level = self.levels.last_mut().expect("the walk is in a folder");
        if !level.ahead.contains_key(&id) {
            let wanted = ahead(folder, &level.left);
            level.ahead = read_directories(self.repo, &wanted).await?;
        }
        let read = level.ahead.remove(&id).expect("it was among those that were read");
        let directory = read.map_err(|error| SnapshotError::NotWalked {
            path: path.to_owned(),
            object: id,
            source: Box::new(error),
        })?;
        Ok(Some(directory.entries.into_iter().map(DiffEntry::stored).collect()))
    }
}

impl DiffEntry {
    /// As a root: Kopia takes its own length and time where it is that of a snapshot.
    fn root(root: &Root) -> Self {
        if root.path.is_empty() {
            let (size, mtime) = (root.entry.size, root.entry.mtime);
            return Self { entry: root.entry.clone(), size, mtime, live: None };
        }
        Self::stored(root.entry.clone())
    }

    fn stored(entry: DirEntry) -> Self {
        let (size, mtime) = match &entry.summary {
            Some(summary) if entry.is_dir() => (summary.size, summary.max_time),
            _ => (entry.size, entry.mtime),
        };
        Self { entry, size, mtime, live: None }
    }

    fn is_live(&self) -> bool {
        self.entry.object == ObjectId::default()
    }
}

/// Is the same, but for what nobody is told of?
fn is_told(change: &Change) -> bool {
    let is_folder = change.new.as_ref().is_some_and(|new| new.entry.is_dir());
    change.differs.in_metadata() || change.differs.content && !is_folder
}

/// Are there folders to go into?
fn goes_down(old: &Option<DiffEntry>, new: &Option<DiffEntry>) -> bool {
    match (old, new) {
        (Some(old), Some(new)) => {
            old.entry.is_dir() && new.entry.is_dir() && old.entry.object != new.entry.object
        }
        (Some(one), None) | (None, Some(one)) => one.entry.is_dir(),
        (None, None) => false,
    }
}

fn compare(old: &DiffEntry, new: &DiffEntry) -> Differs {
    let (a, b) = (&old.entry, &new.entry);
    let folders = a.is_dir() && b.is_dir();
    let mut differs = Differs {
        kind: a.kind != b.kind,
        content: a.object != b.object,
        mode: a.mode != b.mode,
        size: old.size != new.size,
        mtime: old.mtime != new.mtime,
        uid: a.uid != b.uid,
        gid: a.gid != b.gid,
    };
    if new.is_live() {
        // A live folder has nothing but its own time, and no length.
        differs.size &= !folders;
        differs.mtime = a.mtime != b.mtime;
        differs.content = !folders && (differs.kind || differs.size || differs.mtime);
    } else if !differs.content {
        differs.size = false;
    }
    differs
}

/// The entries of two folders by their names, in the order of the second; then what only the first
/// has.
fn matched(old: Vec<DiffEntry>, new: Vec<DiffEntry>) -> VecDeque<Pair> {
    let mut old: Vec<_> = old.into_iter().map(Some).collect();
    let names = old.iter().flatten().enumerate();
    let places: HashMap<_, _> = names.map(|(at, e)| (e.entry.name.clone(), at)).collect();
    let mut pairs: VecDeque<Pair> = new
        .into_iter()
        .map(|new| (places.get(&new.entry.name).and_then(|at| old[*at].take()), Some(new)))
        .collect();
    pairs.extend(old.into_iter().flatten().map(|only| (Some(only), None)));
    pairs
}

/// The folders that are read together with `folder`: those of the pairs that come next, and not all
/// below it, as other walks read them, for most of these are the same on both sides.
fn ahead(folder: &DiffEntry, next: &VecDeque<Pair>) -> Vec<ObjectId> {
    let below = |entry: &DiffEntry| entries_below(&entry.entry).unwrap_or(AHEAD_ENTRIES / 16);
    let mut wanted = vec![folder.entry.object];
    let mut known: HashSet<_> = wanted.iter().copied().collect();
    let mut entries = below(folder);
    for (old, new) in next.iter().filter(|(old, new)| goes_down(old, new)) {
        for stored in [old, new].into_iter().flatten().filter(|entry| !entry.is_live()) {
            if known.insert(stored.entry.object) {
                entries = entries.saturating_add(below(stored));
                wanted.push(stored.entry.object);
            }
        }
        if entries > AHEAD_ENTRIES {
            break;
        }
    }
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, kind: EntryKind, object: &str) -> DiffEntry {
        let object = object.parse().unwrap();
        let entry = DirEntry { name: name.into(), kind, object, ..DirEntry::default() };
        DiffEntry::stored(entry)
    }

    #[test]
    fn entries_come_in_the_order_of_the_second_folder() {
        let file = |name: &str| entry(name, EntryKind::File, "00112233445566778899aabbccddeeff");
        let pairs = matched(vec![file("a"), file("b"), file("c")], vec![file("c"), file("d")]);
        let name = |it: &Option<DiffEntry>| it.as_ref().map(|it| it.entry.name_lossy().to_string());
        let names: Vec<_> = pairs.iter().map(|(a, b)| (name(a), name(b))).collect();
        let some = |text: &str| Some(text.to_owned());
        let wanted =
            [(some("c"), some("c")), (None, some("d")), (some("a"), None), (some("b"), None)];
        assert_eq!(names, wanted);
    }

    #[test]
    fn counts_are_kopias() {
        let (one, two) = ("00112233445566778899aabbccddeeff", "10112233445566778899aabbccddeeff");
        let change = |old: DiffEntry, new: DiffEntry| {
            let differs = compare(&old, &new);
            Change { path: "x".into(), old: Some(old), new: Some(new), differs }
        };
        let file = |object, mode| {
            let mut it = entry("x", EntryKind::File, object);
            it.entry.mode = mode;
            it
        };
        let mut stats = DiffStats::default();
        // Content and metadata: counted for each.
        stats.add(&change(file(one, 0o600), file(two, 0o644)));
        assert_eq!(stats.file_entries.modified, 2);
        stats.add(&change(file(one, 0o600), file(two, 0o600)));
        assert_eq!(stats.file_entries.modified, 3);
        stats.add(&change(file(one, 0o600), file(one, 0o644)));
        let wanted = EntryStats {
            modified: 3,
            same_content_but_different_metadata: 1,
            same_content_but_different_mode: 1,
            ..EntryStats::default()
        };
        assert_eq!(stats.file_entries, wanted);
        // A link with the bytes of a file has another mode, as Kopia sees it.
        stats.add(&change(file(one, 0o600), entry("x", EntryKind::Symlink, one)));
        assert_eq!(stats.file_entries.same_content_but_different_mode, 2);
        assert_eq!(stats.directory_entries, EntryStats::default());
    }
}
