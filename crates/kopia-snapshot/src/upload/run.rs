//! The state that all tasks of one upload share.

use std::{
    os::unix::ffi::OsStrExt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use kopia_format::{
    ObjectId,
    compress::Compressor,
    directory::{DirEntry, EntryKind},
    snapshot::SnapshotStats,
};
use kopia_repo::{ObjectOptions, Repository, RepositoryWriter};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{
    UploadOptions,
    actions::Owed,
    detail::Details,
    events::{UploadEvent, UploadSink},
    open::{OpenFolder, Registry},
    previous::{PreviousFolder, same_folder, unchanged},
    rules::Excluded,
    small::ReadMemory,
};
use crate::{error::Result, source};

/// Counters of a snapshot manifest's `stats`, by Kopia's own rules
/// (docs/format/06-manifests-snapshots.md §2).
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub total_size: AtomicU64,
    pub excluded_size: AtomicU64,
    pub files: AtomicU64,
    pub cached_files: AtomicU64,
    pub non_cached_files: AtomicU64,
    pub folders: AtomicU64,
    pub excluded_files: AtomicU64,
    pub excluded_folders: AtomicU64,
    pub ignored_errors: AtomicU64,
    pub errors: AtomicU64,
}

/// What all tasks of one upload share.
pub(crate) struct Run {
    pub repo: Repository,
    pub writer: RepositoryWriter,
    pub options: UploadOptions,
    pub sink: Arc<dyn UploadSink>,
    pub counters: Counters,
    /// Stopped from outside, by Ctrl-C.
    pub stop: CancellationToken,
    /// Stopped by the first error, where the user asked for that.
    pub failed_fast: AtomicBool,
    /// Bytes of files read so far, for the limit.
    pub hashed: AtomicU64,
    /// One permit for every task beside the first.
    pub helpers: Arc<Semaphore>,
    /// The root, while it is open.
    pub open: Arc<Registry>,
    /// Checkpoints saved.
    pub checkpoints: AtomicU64,
    /// For reading small files.
    pub read_memory: Arc<ReadMemory>,
    /// The root as the user knows it; empty for a stream.
    pub source: PathBuf,
    /// Actions that are still to be run.
    pub owed: Owed,
}

impl Run {
    /// Why the upload is to end early; empty while it is not.
    pub fn incomplete(&self) -> &'static str {
        if self.stop.is_cancelled() || self.failed_fast.load(Relaxed) {
            return "canceled";
        }
        match self.options.upload_limit {
            Some(limit) if self.hashed.load(Relaxed) > limit => "limit reached",
            _ => "",
        }
    }

    /// Is the upload to end early?
    pub fn is_stopped(&self) -> bool {
        !self.incomplete().is_empty()
    }

    /// Tells the sink.
    pub fn tell(&self, event: UploadEvent<'_>) {
        self.sink.event(event);
    }

    /// Is an object of an earlier snapshot there to be used again? Its last content stands for the
    /// others. One that is deleted may be dropped before it is seen to be in use. An upload may take a
    /// day, and maintenance drop what it would take over: every folder has the index read again where
    /// that is a quarter of an hour old ([`Self::look_again`]).
    pub fn has_object(&self, object: &ObjectId) -> bool {
        let entry = self.repo.index_as_read().find(&object.content_id());
        matches!(entry, Ok(Some(entry)) if !entry.deleted)
    }

    /// Reads the index again if what is known is too old to take anything over by.
    pub async fn look_again(&self) -> Result<()> {
        self.repo.index().await?;
        Ok(())
    }

    /// The object of a file or link that one of the earlier directories has as it is now, if that can
    /// be used again.
    pub fn as_it_was(
        &self,
        previous: &[Arc<PreviousFolder>],
        entry: &source::LocalEntry,
    ) -> Option<ObjectId> {
        let before = unchanged(previous, entry.name.as_bytes(), entry)?;
        if !self.has_object(&before.object) {
            return None;
        }
        if self.options.must_hash_again() {
            tracing::debug!(oid = %before.object, "re-hashing cached object");
            return None;
        }
        Some(before.object)
    }

    /// Counts a file or link that is taken over without being read.
    pub fn count_cached(&self, path: &str, size: u64) {
        self.counters.cached_files.fetch_add(1, Relaxed);
        self.counters.total_size.fetch_add(size, Relaxed);
        self.tell(UploadEvent::Cached { path, size });
    }

    /// Counts the files and links among `entries` of the folder `relative`, which are taken over.
    pub fn count_taken_over(&self, relative: &str, entries: &[DirEntry], details: &Details) {
        for entry in entries.iter().filter(|entry| !entry.is_dir()) {
            let begun = details.cached.begin();
            let path = join(relative, &entry.name_lossy());
            self.count_cached(&path, entry.size);
            details.cached.tell("cached", &path, Ok(entry), begun);
        }
    }

    /// Counts what the rules leave out of a folder.
    pub fn count_excluded(&self, all: &[Excluded], details: &Details) {
        let counters = &self.counters;
        for Excluded { path, size, folder, by, .. } in all {
            let (size, folder) = (*size, *folder);
            if folder {
                counters.excluded_folders.fetch_add(1, Relaxed);
                details.folder_ignored.tell_ignored("ignored directory", path);
            } else {
                counters.excluded_files.fetch_add(1, Relaxed);
                counters.excluded_size.fetch_add(size, Relaxed);
                details.entry_ignored.tell_ignored("ignored", path);
            }
            self.tell(UploadEvent::Excluded { path, size, folder, by: by.as_deref() });
        }
    }

    /// Counts a file, or a part of a big one, as uploaded.
    pub fn count_file(&self, length: u64) {
        self.counters.files.fetch_add(1, Relaxed);
        self.counters.total_size.fetch_add(length, Relaxed);
    }

    /// Counts bytes of files as read.
    pub fn count_hashed(&self, bytes: u64) {
        self.hashed.fetch_add(bytes, Relaxed);
        self.tell(UploadEvent::Hashed { bytes });
    }

    /// Writes a directory object and gives its ID.
    pub async fn write_directory(
        &self,
        path: &str,
        bytes: Vec<u8>,
        compressor: Option<Compressor>,
    ) -> Result<ObjectId> {
        let options = directory_options(path, compressor);
        Ok(self.writer.write_object(bytes.into(), options).await?)
    }

    /// Writes a folder that is full, or as full as it gets before the end; not if it is what it was
    /// in an earlier snapshot.
    pub async fn close_folder(
        &self,
        open: &OpenFolder,
        previous: &[Arc<PreviousFolder>],
    ) -> Result<DirEntry> {
        let directory =
            open.builder(|builder| builder.clone()).build(open.entry.mtime, self.incomplete());
        let known = same_folder(previous, &directory).filter(|object| self.has_object(object));
        let object = match known {
            Some(object) => object,
            None => {
                let bytes = directory.to_bytes();
                self.write_directory(&open.relative, bytes, open.metadata_compressor).await?
            }
        };
        Ok(DirEntry { summary: Some(directory.summary), ..dir_entry(&open.entry, object) })
    }

    /// Counts an entry that can't be read, and ends the upload if the user asked for that.
    pub fn note_failure(&self, folder: &OpenFolder, path: &str, error: &str, ignored: bool) {
        let counters = &self.counters;
        let counter = if ignored { &counters.ignored_errors } else { &counters.errors };
        counter.fetch_add(1, Relaxed);
        self.tell(UploadEvent::Failed { path, error, ignored });
        folder.builder(|b| b.add_failed(path.as_bytes(), ignored, error.as_bytes()));
        if self.options.fail_fast && !ignored {
            self.failed_fast.store(true, Relaxed);
        }
    }

    /// The counters as a manifest stores them.
    pub fn stats(&self) -> SnapshotStats {
        let get = |counter: &AtomicU64| counter.load(Relaxed);
        let all = &self.counters;
        SnapshotStats {
            total_size: get(&all.total_size),
            excluded_total_size: get(&all.excluded_size),
            file_count: get(&all.files),
            cached_files: get(&all.cached_files),
            non_cached_files: get(&all.non_cached_files),
            dir_count: get(&all.folders),
            excluded_file_count: get(&all.excluded_files),
            excluded_dir_count: get(&all.excluded_folders),
            ignored_error_count: get(&all.ignored_errors),
            error_count: get(&all.errors),
        }
    }
}

/// The path of a folder below the snapshot's root, joined with a name.
pub(crate) fn join(relative: &str, name: &str) -> String {
    if relative == "." { name.to_owned() } else { format!("{relative}/{name}") }
}

/// A directory entry for `entry`, whose bytes are `object`.
pub(crate) fn dir_entry(entry: &source::LocalEntry, object: ObjectId) -> DirEntry {
    DirEntry {
        name: entry.name.as_bytes().to_vec(),
        kind: match entry.kind {
            source::EntryKind::Directory => EntryKind::Directory,
            source::EntryKind::Symlink => EntryKind::Symlink,
            source::EntryKind::File | source::EntryKind::Other => EntryKind::File,
        },
        mode: entry.mode,
        size: entry.size,
        mtime: entry.mtime,
        uid: entry.uid,
        gid: entry.gid,
        object,
        summary: None,
    }
}

/// How the directory object of the folder `path` is written.
pub(crate) fn directory_options(path: &str, compressor: Option<Compressor>) -> ObjectOptions {
    ObjectOptions {
        description: format!("DIR:{path}"),
        prefix: Some(b'k'),
        compressor,
        metadata_compressor: compressor,
        ..ObjectOptions::default()
    }
}
