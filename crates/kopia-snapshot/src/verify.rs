//! Checking that what snapshots name is there and can be read.
//!
//! Every tree is walked once per directory object, from metadata packs alone. A file or folder passes
//! when every content of its object is in the index and its pack is in one listing of the storage,
//! long enough for it; for that a folder may be read from the cache. A share of both can be read in
//! full besides, and then from the storage, whatever the cache has
//! (docs/format/07-upload-restore.md §7).
//!
//! The walk goes down first and holds the folders that it is in; files are looked at by batches.
//! What grows with the tree is the set of objects that were met, some 40 bytes each, and the names
//! of the packs.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
};

use blob_core::StorageClass;
use futures::{FutureExt, TryStreamExt};
use kopia_format::{
    ContentId, ObjectId,
    directory::{DirEntry, Directory},
};
use kopia_repo::{FetchFrom, Fetched, IndexView, ObjectChunk, RepoError, Repository};
use tokio_util::sync::CancellationToken;

use crate::{
    error::{Result, SnapshotError},
    tree::{Lists, read_lists},
    walk::Directories,
};

mod subset;

pub use subset::{Part, Subset};

/// Files that are looked at in one go, for each degree of parallelism: their lists of pieces are
/// read together.
const FILE_BATCH: usize = 512;
/// Contents that are read in one go, if nothing else is said.
const READ_BATCH: usize = 128 << 10;

/// How a verification is done.
#[derive(Debug, Clone, PartialEq)]
pub struct VerifyOptions {
    /// How many of a hundred files are read in full.
    pub files_percent: f64,
    /// Which files are read in full instead of so many of a hundred.
    pub subset: Option<Subset>,
    /// End after so many problems; 0 = never.
    pub errors_max: usize,
    /// How many hundreds of files are looked at together; threads that read in full.
    pub parallel: usize,
    /// So many contents are read in one go: the more, the fewer requests, and some 300 bytes of memory
    /// each.
    pub read_batch: usize,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        Self {
            files_percent: 0.0,
            subset: None,
            errors_max: 0,
            parallel: 8,
            read_batch: READ_BATCH,
        }
    }
}

/// Something that is not as a snapshot says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyProblem {
    /// The file or folder, as `root/path`.
    pub path: String,
    /// Its object.
    pub object: ObjectId,
    /// The pack that is to blame, if one is.
    pub blob: Option<String>,
    /// The pack is archived: it can't be read now, and nothing is known to be wrong.
    pub archived: bool,
    /// What is wrong, in Kopia's words where Kopia finds it, too.
    pub message: String,
}

/// Counters, with Kopia's names in JSON.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VerifyStats {
    /// Objects looked at, each once.
    pub processed_object_count: u64,
    /// Bytes of the files among them.
    pub processed_bytes: u64,
    /// Files read in full.
    pub read_file_count: u64,
    /// Bytes read for that.
    pub read_bytes: u64,
    /// Entries that the summaries of the roots promise.
    pub expected_total_object_count: u64,
    /// Files that they promise.
    pub expected_total_file_count: u64,
    /// Bytes that they promise.
    pub expected_total_bytes: u64,
}

/// How deep the packs were checked that hold what snapshots name; each is counted once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PackDepths {
    /// Packs that the listing has, long enough, and of which nothing was read.
    pub listed: u64,
    /// Those of them that are archived: they can't be read now.
    pub archived: u64,
    /// Packs, read or not, of which the storage keeps a checksum that it verified when they were
    /// written, as far as its listing tells.
    pub checksummed: u64,
    /// Packs of which contents were read, opened and hashed.
    pub read: u64,
}

/// What a verification found.
#[derive(Debug, Clone, Default)]
pub struct VerifyReport {
    /// Which part of all files was read in full, where a subset was asked for.
    pub part: Option<Part>,
    /// How deep the packs were checked.
    pub packs: PackDepths,
    /// How much was looked at.
    pub stats: VerifyStats,
    /// What is wrong.
    pub problems: Vec<VerifyProblem>,
}

/// Verifies the trees under `roots`; each has a name for messages.
///
/// # Errors
/// What the repository says when the listing or the index can't be read;
/// [`SnapshotError::Stopped`]. What is wrong with the snapshots themselves is in the report.
pub async fn verify(
    repo: &Repository,
    roots: &[(String, DirEntry)],
    options: &VerifyOptions,
    progress: &(dyn Fn(&VerifyStats) + Send + Sync),
    stop: &CancellationToken,
) -> Result<VerifyReport> {
    let packs = list_packs(repo).await?;
    let data = packs.iter().filter(|(name, _)| name.starts_with('p'));
    let stored = data.map(|(_, pack)| pack.size).sum();
    let part = options.subset.map(|subset| subset.part(stored));
    let mut run = Run {
        repo,
        index: repo.index().await?,
        packs,
        options,
        progress,
        seen: HashSet::new(),
        to_read: HashMap::new(),
        report: VerifyReport { part, ..VerifyReport::default() },
    };
    for (_, root) in roots {
        if let Some(summary) = &root.summary {
            let stats = &mut run.report.stats;
            stats.expected_total_object_count += summary.files + summary.dirs + summary.symlinks;
            stats.expected_total_file_count += summary.files;
            stats.expected_total_bytes += summary.size;
        }
    }
    run.walk(roots, stop).await?;
    run.read_files(stop).await?;
    run.report.packs = run.depths();
    Ok(run.report)
}

/// A pack, and how deep it was checked.
pub(crate) struct Seen {
    pub size: u64,
    /// Is it archived, and in which class?
    pub is_cold: bool,
    class: Option<StorageClass>,
    has_checksum: bool,
    is_used: bool,
    is_read: bool,
}

/// Is one of a hundred drawn, of which `percent` are?
pub(crate) fn is_drawn(percent: f64) -> bool {
    use std::hash::{BuildHasher, Hasher, RandomState};
    if percent <= 0.0 || percent >= 100.0 {
        return percent >= 100.0;
    }
    let drawn = RandomState::new().build_hasher().finish() % 1_000_000;
    #[allow(clippy::cast_precision_loss)] // a million steps are exact
    let drawn = drawn as f64 / 10_000.0;
    drawn < percent
}

/// Every pack of the storage, by its name.
pub(crate) async fn list_packs(repo: &Repository) -> Result<HashMap<String, Seen>> {
    let mut packs = HashMap::new();
    for prefix in ["p", "q"] {
        let mut listing = repo.storage().list(prefix);
        while let Some(meta) = listing.try_next().await.map_err(RepoError::from)? {
            let (size, is_cold) = (meta.size, meta.is_cold());
            let class = meta.class.filter(|_| is_cold);
            let has_checksum = meta.has_checksum == Some(true);
            let (is_used, is_read) = (false, false);
            let seen = Seen { size, is_cold, class, has_checksum, is_used, is_read };
            packs.insert(meta.id.as_str().to_owned(), seen);
        }
    }
    Ok(packs)
}

struct Run<'a> {
    repo: &'a Repository,
    index: Arc<IndexView>,
    packs: HashMap<String, Seen>,
    options: &'a VerifyOptions,
    progress: &'a (dyn Fn(&VerifyStats) + Send + Sync),
    seen: HashSet<ObjectId>,
    /// Contents that are read in full, with one file or folder each for messages.
    to_read: HashMap<ContentId, (String, ObjectId)>,
    report: VerifyReport,
}

impl Run<'_> {
    fn is_full(&self) -> bool {
        let most = self.options.errors_max;
        most > 0 && self.report.problems.len() >= most
    }

    /// Keeps a problem, unless there are enough.
    fn note(
        &mut self,
        path: &str,
        object: ObjectId,
        blob: Option<String>,
        message: String,
    ) -> Option<&mut VerifyProblem> {
        if self.is_full() {
            return None;
        }
        let path = path.to_owned();
        let problem = VerifyProblem { path, object, blob, archived: false, message };
        self.report.problems.push(problem);
        self.report.problems.last_mut()
    }

    async fn walk(&mut self, roots: &[(String, DirEntry)], stop: &CancellationToken) -> Result<()> {
        let mut directories = Directories::new(self.repo);
        let mut roots = roots.iter().cloned();
        let mut open: Vec<OpenFolder> = Vec::new();
        let mut files = Vec::new();
        while !self.is_full() {
            if stop.is_cancelled() {
                return Err(SnapshotError::Stopped);
            }
            let met = match open.last_mut() {
                Some(folder) => match folder.next() {
                    Some(met) => met,
                    None => {
                        open.pop();
                        continue;
                    }
                },
                None => match roots.next() {
                    Some(root) => root,
                    None => break,
                },
            };
            if !self.seen.insert(met.1.object) {
                continue;
            }
            self.report.stats.processed_object_count += 1;
            if met.1.is_dir() {
                let (path, entry) = met;
                let folder = self.enter(path, &entry, &mut directories, &open).await;
                open.extend(folder);
                continue;
            }
            files.push(met);
            if files.len() >= FILE_BATCH * self.options.parallel.max(1) {
                self.look_at(std::mem::take(&mut files), stop).await?;
            }
        }
        self.look_at(files, stop).await
    }

    /// Looks at a folder and opens it.
    async fn enter(
        &mut self,
        path: String,
        entry: &DirEntry,
        directories: &mut Directories<'_>,
        above: &[OpenFolder],
    ) -> Option<OpenFolder> {
        let object = entry.object;
        let contents = self.check(&path, object, &Lists::new()).await;
        // What comes after it, the innermost first.
        let rest = above.iter().rev().flat_map(|open| &open.directory.entries[open.next..]);
        let next = rest.filter(|entry| entry.is_dir() && !self.seen.contains(&entry.object));
        let found = directories.get(entry, next).await;
        match found {
            Ok(directory) => {
                if let Some(contents) = contents
                    && self.is_drawn(&object)
                {
                    self.read_later(&path, object, &contents);
                }
                Some(OpenFolder { path, directory, next: 0 })
            }
            // What was found to be missing was named already.
            Err(_) if contents.is_none() => None,
            Err(error) => {
                let blob = error.blob();
                self.note(
                    &path,
                    object,
                    blob,
                    format!("error reading directory {object}: {error}"),
                );
                None
            }
        }
    }

    /// Looks at a batch of files.
    async fn look_at(
        &mut self,
        files: Vec<(String, DirEntry)>,
        stop: &CancellationToken,
    ) -> Result<()> {
        let lists = read_lists(self.repo, files.iter().map(|(_, entry)| entry.object)).await?;
        for (path, entry) in files {
            let contents = self.check(&path, entry.object, &lists).await;
            self.report.stats.processed_bytes += entry.size;
            if let Some(contents) = contents
                && self.is_drawn(&entry.object)
            {
                if !self.is_archived(&contents) {
                    self.report.stats.read_file_count += 1;
                    self.report.stats.read_bytes += entry.size;
                }
                self.read_later(&path, entry.object, &contents);
            }
            if self.to_read.len() >= self.options.read_batch {
                self.read_files(stop).await?;
            }
        }
        (self.progress)(&self.report.stats);
        Ok(())
    }

    /// Looks for the contents of a file or folder, those with lists of pieces too, without reading
    /// them. Gives them if all are there.
    async fn check(
        &mut self,
        path: &str,
        object: ObjectId,
        lists: &Lists,
    ) -> Option<Vec<ContentId>> {
        let pieces = |chunks: &[ObjectChunk]| chunks.iter().map(|c| c.content).collect::<Vec<_>>();
        let contents = match lists.get(&object) {
            Some(chunks) => [vec![object.content_id()], pieces(chunks)].concat(),
            None => match self.repo.object_contents(&object).await {
                Ok(found) => [found.indexes, pieces(&found.chunks)].concat(),
                Err(error) => {
                    let error = SnapshotError::from(error);
                    let message = format!("verify object {object}: {error}");
                    self.note(path, object, error.blob(), message);
                    return None;
                }
            },
        };
        let mut whole = true;
        for id in &contents {
            if let Err((blob, trouble)) = self.look_for(id, object) {
                whole = false;
                self.note(path, object, blob, trouble);
            }
        }
        whole.then_some(contents)
    }

    /// Is a content in the index, and its pack in the listing and long enough? If not, the pack to
    /// blame, and what is wrong.
    fn look_for(
        &mut self,
        id: &ContentId,
        object: ObjectId,
    ) -> Result<(), (Option<String>, String)> {
        let found = match self.index.find(id) {
            Ok(Some(found)) => found,
            Ok(None) | Err(_) => {
                let blob = self.index.damaged().first().map(|it| it.blob.id.to_string());
                let passed_over = blob.as_ref().map_or(String::new(), |blob| {
                    format!(" that can be read, and index blob {blob} is damaged")
                });
                let trouble =
                    format!("error verifying content {id}: it is in no index{passed_over}");
                return Err((blob, trouble));
            }
        };
        let pack = found.pack.to_string();
        let end = u64::from(found.offset) + u64::from(found.packed_length);
        let trouble = match self.packs.get_mut(&pack) {
            None => format!("object {object} is backed by missing blob {pack}"),
            Some(Seen { size, .. }) if *size < end => {
                format!(
                    "object {object} is backed by blob {pack}, which is cut: {size} bytes of {end}"
                )
            }
            Some(seen) => {
                seen.is_used = true;
                return Ok(());
            }
        };
        Err((Some(pack), trouble))
    }

    /// Can one of these contents not be read now?
    fn is_archived(&self, contents: &[ContentId]) -> bool {
        let packs = contents.iter().filter_map(|id| self.index.find(id).ok()?);
        packs.filter_map(|entry| self.packs.get(&*entry.pack)).any(|seen| seen.is_cold)
    }

    fn depths(&self) -> PackDepths {
        let mut depths = PackDepths::default();
        for seen in self.packs.values() {
            if seen.is_used || seen.is_read {
                depths.checksummed += u64::from(seen.has_checksum);
            }
            match seen {
                Seen { is_read: true, .. } => depths.read += 1,
                Seen { is_used: true, is_cold, .. } => {
                    depths.listed += 1;
                    depths.archived += u64::from(*is_cold);
                }
                _ => {}
            }
        }
        depths
    }

    fn read_later(&mut self, path: &str, object: ObjectId, contents: &[ContentId]) {
        for id in contents {
            self.to_read.entry(*id).or_insert_with(|| (path.to_owned(), object));
        }
    }

    /// Draws whether a file or folder is read in full.
    fn is_drawn(&self, object: &ObjectId) -> bool {
        match self.report.part {
            Some(part) => part.holds(object),
            None => is_drawn(self.options.files_percent),
        }
    }

    async fn read_files(&mut self, stop: &CancellationToken) -> Result<()> {
        let wanted = std::mem::take(&mut self.to_read);
        if wanted.is_empty() || self.is_full() {
            return Ok(());
        }
        let mut entries = Vec::with_capacity(wanted.len());
        let mut archived = Vec::new();
        for id in wanted.keys() {
            let Some(entry) = self.index.find(id)? else { continue };
            match self.packs.get_mut(&*entry.pack) {
                // Said by the listing: no read is made to be refused.
                Some(Seen { is_cold: true, class, .. }) => {
                    archived.push((*id, entry.pack, class.clone()));
                }
                Some(seen) => {
                    seen.is_read = true;
                    entries.push(entry);
                }
                None => entries.push(entry),
            }
        }
        for (id, pack, class) in archived {
            let Some((path, object)) = wanted.get(&id).cloned() else { continue };
            let class = class.map_or(String::new(), |class| format!(" ({class})"));
            let message =
                format!("object {object} can't be read now: its pack {pack} is archived{class}");
            if let Some(problem) = self.note(&path, object, Some(pack.to_string()), message) {
                problem.archived = true;
            }
        }
        entries.sort_unstable_by(|a, b| (&a.pack, a.offset).cmp(&(&b.pack, b.offset)));
        let plan = self.repo.plan_entries(entries);
        let failed: Arc<Mutex<Vec<(ContentId, RepoError)>>> = Arc::default();
        let take = {
            let failed = failed.clone();
            move |contents: &mut dyn Iterator<Item = Fetched>| {
                let bad = contents.filter_map(|(id, content)| Some((id, content.err()?)));
                failed.lock().expect("no holder of this lock panics").extend(bad);
                Ok::<(), SnapshotError>(())
            }
        };
        let jobs = self.options.parallel.clamp(1, self.repo.cpu().threads().max(1));
        let stopped = stop.cancelled().map(|()| SnapshotError::Stopped);
        self.repo.fetch_each(FetchFrom::Storage, &plan, jobs, stopped, take).await?;
        let failed = std::mem::take(&mut *failed.lock().expect("no holder of this lock panics"));
        for (id, error) in failed {
            let Some((path, object)) = wanted.get(&id).cloned() else { continue };
            let archived = matches!(error, RepoError::ContentArchived { .. });
            let error = SnapshotError::from(error);
            let blob = error.blob();
            let message = format!("error reading object {object}: {error}");
            if let Some(problem) = self.note(&path, object, blob, message) {
                problem.archived = archived;
            }
        }
        (self.progress)(&self.report.stats);
        Ok(())
    }
}

/// A folder that the walk is in.
struct OpenFolder {
    path: String,
    directory: Arc<Directory>,
    /// The entry that comes next.
    next: usize,
}

impl OpenFolder {
    /// The next entry, with its path.
    fn next(&mut self) -> Option<(String, DirEntry)> {
        let entry = self.directory.entries.get(self.next)?;
        self.next += 1;
        Some((format!("{}/{}", self.path, entry.name_lossy()), entry.clone()))
    }
}
