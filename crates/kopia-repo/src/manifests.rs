//! Manifests: small labelled JSON documents, kept in contents with the prefix `m`.
//!
//! Reading merges all live `m` contents: of several entries of one ID the latest counts, and one
//! that says "deleted" takes the manifest out. Writing collects entries; a flush writes all of them
//! as one content before anything else, so a manifest is never visible before what it names. Kopia
//! merges 16 or more `m` contents whenever it opens a repository for writing; here that is a call
//! of its own, [`RepositoryWriter::compact_manifests`], for maintenance: a command that lists
//! should not write. Format: docs/format/06 §1.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use dataplane::{limits, task};
use futures::{StreamExt, stream};
use kopia_format::{
    ContentId, ManifestId,
    compress::Compressor,
    index::IndexEntry,
    manifest::{ManifestContent, ManifestEntry, MergedManifests},
    time::GoTime,
};
use serde::Serialize;

use crate::{
    EntryFilter, RepoError, Repository, RepositoryWriter, Result, index::IndexView, state::random,
};

/// The prefix of contents with manifests.
pub(crate) const PREFIX: u8 = b'm';
/// How often loading starts anew when contents vanish meanwhile.
const ATTEMPTS: u32 = 10;
/// With fewer contents, merging them is not worth it. Kopia's value.
const CONTENTS_MIN: usize = 16;
/// A manifest that replaces another must be later than it; clocks tick in steps.
const REPLACE_PAUSE: Duration = Duration::from_millis(100);

type Manifest = Arc<ManifestEntry>;
type ManifestMap = BTreeMap<ManifestId, Manifest>;

/// All committed manifests, as of one state of the index.
#[derive(Debug, Default)]
pub(crate) struct ManifestCache {
    known: Mutex<Option<(u64, Arc<Loaded>)>>,
    loading: tokio::sync::Mutex<()>,
    /// Are manifests that can't be read passed over?
    passes_over: AtomicBool,
}

/// What the contents with manifests say.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    live: ManifestMap,
    /// Why some of the contents can't be read.
    lost: Vec<RepoError>,
}

/// The manifests that one writer has put and nobody else sees yet; tombstones too.
#[derive(Debug, Default)]
pub(crate) struct PendingManifests(Mutex<BTreeMap<ManifestId, PendingManifest>>);

#[derive(Debug, Clone)]
struct PendingManifest {
    entry: Manifest,
    /// It is in a content that is not committed yet.
    written: bool,
}

impl PendingManifests {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<ManifestId, PendingManifest>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, entry: ManifestEntry) {
        let entry = Arc::new(entry);
        self.lock().insert(entry.id.clone(), PendingManifest { entry, written: false });
    }

    /// The flush is done: these are committed, unless they were replaced meanwhile.
    pub(crate) fn committed(&self, flushed: &[Manifest]) {
        let mut all = self.lock();
        for entry in flushed {
            if all.get(&entry.id).is_some_and(|pending| Arc::ptr_eq(&pending.entry, entry)) {
                all.remove(&entry.id);
            }
        }
    }
}

/// The committed manifests of a repository.
#[derive(Debug, Clone)]
pub struct Manifests(Repository);

impl Repository {
    /// The committed manifests.
    pub fn manifests(&self) -> Manifests {
        Manifests(self.clone())
    }

    /// From now on contents with manifests that are lost or damaged are passed over, and
    /// [`Manifests::lost`] names them. Whoever deletes by what manifests say must look there first.
    pub fn pass_over_lost_manifests(&self) {
        self.shared().manifests.passes_over.store(true, Relaxed);
    }
}

impl Manifests {
    /// All manifests that have all these labels, oldest first.
    ///
    /// # Errors
    /// [`RepoError::ManifestDamaged`], and what reading contents may give.
    pub async fn find(&self, labels: &[(&str, &str)]) -> Result<Vec<ManifestEntry>> {
        Ok(sorted(self.load().await?.live.values(), labels))
    }

    /// One manifest.
    ///
    /// # Errors
    /// [`RepoError::ManifestNotFound`]; else as [`find`](Self::find).
    pub async fn get(&self, id: &ManifestId) -> Result<ManifestEntry> {
        let all = self.load().await?;
        let found = all.live.get(id).map(|entry| ManifestEntry::clone(entry));
        found.ok_or_else(|| RepoError::ManifestNotFound { id: id.clone() })
    }

    /// All manifests, oldest first.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub async fn all(&self) -> Result<Vec<ManifestEntry>> {
        self.find(&[]).await
    }

    /// Why contents with manifests can't be read; empty if all can. Nobody knows what they hold.
    ///
    /// # Errors
    /// What reading the others may give.
    pub async fn lost(&self) -> Result<Vec<RepoError>> {
        Ok(self.load_all().await?.lost.iter().map(RepoError::again).collect())
    }

    /// The same, as far as it is known: nothing is read.
    pub fn lost_as_read(&self) -> Vec<RepoError> {
        let known = self.0.shared().manifests.known.lock().unwrap_or_else(PoisonError::into_inner);
        let lost = known.as_ref().map(|(_, all)| all.lost.iter().map(RepoError::again).collect());
        lost.unwrap_or_default()
    }

    /// All manifests; some are passed over only if that was asked for.
    async fn load(&self) -> Result<Arc<Loaded>> {
        let all = self.load_all().await?;
        match all.lost.first() {
            Some(lost) if !self.0.shared().manifests.passes_over.load(Relaxed) => Err(lost.again()),
            _ => Ok(all),
        }
    }

    async fn load_all(&self) -> Result<Arc<Loaded>> {
        let view = self.0.index().await?;
        if let Some(all) = self.known(&view) {
            return Ok(all);
        }
        let manifests = self.clone();
        // A task of its own: whoever holds the turn must get on, polled or not.
        task::owned(async move { manifests.load_in_turn(view).await }).await
    }

    fn known(&self, view: &IndexView) -> Option<Arc<Loaded>> {
        let known = self.0.shared().manifests.known.lock().unwrap_or_else(PoisonError::into_inner);
        let current = known.as_ref().filter(|(generation, _)| *generation == view.generation());
        current.map(|(_, all)| Arc::clone(all))
    }

    async fn load_in_turn(&self, mut view: Arc<IndexView>) -> Result<Arc<Loaded>> {
        let shared = self.0.shared();
        let _turn = shared.manifests.loading.lock().await;
        for attempt in 1.. {
            if let Some(all) = self.known(&view) {
                return Ok(all);
            }
            let all = load(&self.0, &view).await?;
            let is_gone = |lost: &RepoError| matches!(lost, RepoError::PackMissing { .. });
            if attempt < ATTEMPTS && all.lost.iter().any(is_gone) {
                // Another client may have merged manifests and dropped the old contents: look again,
                // as long as the index changes by that.
                shared.refresh_index().await?;
                let before = view.generation();
                view = shared.index.view();
                if view.generation() != before {
                    continue;
                }
            }
            let all = Arc::new(all);
            let mut known = shared.manifests.known.lock().unwrap_or_else(PoisonError::into_inner);
            *known = Some((view.generation(), Arc::clone(&all)));
            return Ok(all);
        }
        unreachable!("the loop ends by returning")
    }
}

fn sorted<'a>(
    all: impl Iterator<Item = &'a Manifest>,
    labels: &[(&str, &str)],
) -> Vec<ManifestEntry> {
    let matching = all.filter(|entry| entry.has_labels(labels));
    let mut found: Vec<_> = matching.map(|entry| ManifestEntry::clone(entry)).collect();
    found.sort_by(|a, b| (a.modified, &a.id).cmp(&(b.modified, &b.id)));
    found
}

async fn load(repository: &Repository, view: &IndexView) -> Result<Loaded> {
    let contents: Vec<_> = view.iter(&EntryFilter::prefix(PREFIX)).collect();
    // In the order of IDs, so that of equal times every client takes the same one.
    let reads: Vec<_> = contents.iter().map(|entry| read_content(repository, entry)).collect();
    let mut read = stream::iter(reads).buffered(limits::MANIFEST_CONTENTS_LOADING);
    let (mut merged, mut lost) = (MergedManifests::default(), Vec::new());
    while let Some(content) = read.next().await {
        match content {
            Ok(content) => merged.add(content),
            Err(error) if is_lost(&error) => lost.push(error),
            Err(error) => return Err(error),
        }
    }
    let live = merged.into_live().into_iter().map(|(id, entry)| (id, Arc::new(entry))).collect();
    Ok(Loaded { live, lost })
}

/// Is it that the bytes are gone or wrong, for whoever asks and whenever?
fn is_lost(error: &RepoError) -> bool {
    matches!(
        error,
        RepoError::PackMissing { .. }
            | RepoError::PackTruncated { .. }
            | RepoError::ContentDamaged { .. }
            | RepoError::ManifestDamaged { .. }
    )
}

async fn read_content(repository: &Repository, entry: &IndexEntry) -> Result<ManifestContent> {
    let bytes = repository.shared().read_entry(entry).await?;
    ManifestContent::parse(&bytes)
        .map_err(|source| RepoError::ManifestDamaged { content: entry.id, source })
}

impl RepositoryWriter {
    /// Puts a new manifest. It is visible to this writer at once, to others after a flush.
    ///
    /// # Errors
    /// [`RepoError::Format`] without a label `type`.
    pub async fn put_manifest<T: Serialize + Sync + ?Sized>(
        &self,
        labels: &[(&str, &str)],
        payload: &T,
    ) -> Result<ManifestId> {
        self.put_entry(labels, self.now(), payload)
    }

    /// Puts a manifest in place of all that have the same labels: policies, maintenance parameters.
    ///
    /// # Errors
    /// As [`put_manifest`](Self::put_manifest) and [`find_manifests`](Self::find_manifests).
    pub async fn replace_manifest<T: Serialize + Sync + ?Sized>(
        &self,
        labels: &[(&str, &str)],
        payload: &T,
    ) -> Result<ManifestId> {
        let old = self.find_manifests(labels).await?;
        for entry in &old {
            self.delete_manifest(&entry.id).await?;
        }
        let newest = old.last().map_or(GoTime::ZERO, |entry| entry.modified);
        if self.now().duration_since(newest) < REPLACE_PAUSE {
            self.shared().env().clock.sleep(REPLACE_PAUSE).await;
        }
        self.put_entry(labels, self.later_time(newest), payload)
    }

    fn put_entry<T: Serialize + ?Sized>(
        &self,
        labels: &[(&str, &str)],
        modified: GoTime,
        payload: &T,
    ) -> Result<ManifestId> {
        let id = ManifestId::generate(random(self.shared().env()));
        let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let entry = ManifestEntry::new(id.clone(), labels, modified, &payload)?;
        self.writing.manifests.put(entry);
        Ok(id)
    }

    /// Now; or a moment after `modified`, if the clock of whoever wrote that is ahead of ours: of
    /// two entries the later one counts, and what is written last must.
    fn later_time(&self, modified: GoTime) -> GoTime {
        self.now().max(modified.saturating_add(Duration::from_nanos(1)))
    }

    /// Deletes a manifest. False if there is none of that ID.
    ///
    /// # Errors
    /// What reading manifests may give.
    pub async fn delete_manifest(&self, id: &ManifestId) -> Result<bool> {
        match self.get_manifest(id).await {
            Ok(old) => {
                let now = self.later_time(old.modified);
                self.writing.manifests.put(ManifestEntry::tombstone(id.clone(), now));
                Ok(true)
            }
            Err(RepoError::ManifestNotFound { .. }) => Ok(false),
            Err(other) => Err(other),
        }
    }

    /// All manifests that have all these labels, oldest first, with what this writer has put and
    /// deleted.
    ///
    /// # Errors
    /// As [`Manifests::find`].
    pub async fn find_manifests(&self, labels: &[(&str, &str)]) -> Result<Vec<ManifestEntry>> {
        Ok(sorted(self.merged_manifests().await?.values(), labels))
    }

    /// One manifest, with what this writer has put and deleted.
    ///
    /// # Errors
    /// As [`Manifests::get`].
    pub async fn get_manifest(&self, id: &ManifestId) -> Result<ManifestEntry> {
        let found = self.merged_manifests().await?.remove(id);
        let found = found.map(|entry| ManifestEntry::clone(&entry));
        found.ok_or_else(|| RepoError::ManifestNotFound { id: id.clone() })
    }

    async fn merged_manifests(&self) -> Result<ManifestMap> {
        let committed = self.repository().manifests().load().await?;
        let mut all = committed.live.clone();
        for (id, pending) in self.writing.manifests.lock().iter() {
            if pending.entry.deleted {
                all.remove(id);
            } else {
                all.insert(id.clone(), Arc::clone(&pending.entry));
            }
        }
        Ok(all)
    }

    fn now(&self) -> GoTime {
        GoTime::from_unix_nanos(self.shared().env().clock.now().nanos())
    }

    /// Writes what was put since the last time as one content. Gives all that the flush will
    /// commit.
    pub(crate) async fn flush_manifests(&self) -> Result<Vec<Manifest>> {
        let (flushed, fresh) = {
            let all = self.writing.manifests.lock();
            let mut entries: Vec<_> = all.values().cloned().collect();
            entries.sort_by_key(|pending| pending.entry.modified);
            let fresh: Vec<_> =
                entries.iter().filter(|p| !p.written).map(|p| &p.entry).cloned().collect();
            (entries.into_iter().map(|pending| pending.entry).collect::<Vec<_>>(), fresh)
        };
        if fresh.is_empty() {
            return Ok(flushed);
        }
        self.write_manifests(fresh.iter().map(|entry| ManifestEntry::clone(entry)).collect())
            .await?;
        let mut all = self.writing.manifests.lock();
        for entry in &fresh {
            if let Some(pending) = all.get_mut(&entry.id)
                && Arc::ptr_eq(&pending.entry, entry)
            {
                pending.written = true;
            }
        }
        Ok(flushed)
    }

    async fn write_manifests(&self, entries: Vec<ManifestEntry>) -> Result<ContentId> {
        let bytes = Bytes::from(ManifestContent { entries }.to_bytes());
        // It is gzip already, so this is seldom kept; Kopia asks for it too.
        let compressor = Compressor::by_name("zstd-fastest")?;
        self.put_content(bytes, Some(PREFIX), compressor).await
    }

    /// Merges all committed manifests into one content and deletes the others; tombstones go. Takes
    /// effect with the next flush. False if there are too few contents for it to be worth anything.
    ///
    /// # Errors
    /// What reading manifests and writing contents may give.
    pub async fn compact_manifests(&self) -> Result<bool> {
        let view = self.repository().index().await?;
        let contents: Vec<_> = view.iter(&EntryFilter::prefix(PREFIX)).collect();
        if contents.len() < CONTENTS_MIN {
            return Ok(false);
        }
        let all = load(self.repository(), &view).await?;
        // What can't be read today may be put back tomorrow.
        if let Some(lost) = all.lost.into_iter().next() {
            return Err(lost);
        }
        let entries: Vec<_> = all.live.values().map(|entry| ManifestEntry::clone(entry)).collect();
        // A content without entries would be written as Go writes an empty list, which Kopia's
        // reader refuses: nothing of the repository's manifests could be read any more.
        let merged = match entries.is_empty() {
            true => None,
            false => Some(self.write_manifests(entries).await?),
        };
        for entry in contents.iter().filter(|entry| Some(entry.id) != merged) {
            self.delete_content(&entry.id).await?;
        }
        Ok(true)
    }
}
