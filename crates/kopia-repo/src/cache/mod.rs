//! What was fetched, kept on this machine.
//!
//! The folder is `kopia-lite` beside Kopia's own cache folders: Kopia sweeps by rules and locks
//! that nobody else sees, so nothing is shared (docs/format/03 §9). Three kinds of entries: whole
//! metadata packs and single data contents, both sealed as in the storage, and decrypted indexes,
//! to be mapped. Each file ends with a checksum keyed with the repository's cache key over its name
//! and bytes; an entry that fails is a miss. Parts of a pack are read without it: opening a content
//! checks it anyway. A large index is checked once a day, and then again when its file changed
//! ([`seen`]).
//!
//! Any file may be deleted at any time, by anybody: it is a miss. Files are written aside and
//! renamed, never changed. A cache that can't be written is one that is empty.
//!
//! Room is made before a file is written, so that a kind never keeps more than its limit; processes
//! that share the folder may each be one sixteenth of the limit ahead of what the others see.

mod checksum;
mod files;
mod flight;
mod indexes;
mod lru;
pub(crate) mod mapped;
mod seen;
mod storing;

use std::{
    io,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use bytes::Bytes;
use dataplane::limits;
use kopia_format::{hash::ContentHasher, index::Index};
use tokio::sync::Semaphore;

use crate::{CacheOptions, RepoError, Result, index::segments::SegmentBytes};

use files::Files;
pub(crate) use files::write_private;
use flight::Flights;
use lru::Limit;

/// What a cache entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A whole metadata pack, as in the storage.
    Packs,
    /// One data content, as in its pack.
    Contents,
    /// A decrypted index.
    Indexes,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Packs, Self::Contents, Self::Indexes];

    fn folder(self) -> &'static str {
        match self {
            Self::Packs => "packs",
            Self::Contents => "contents",
            Self::Indexes => "indexes",
        }
    }
}

/// How much of one kind is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheKindUsage {
    /// `packs`, `contents` or `indexes`.
    pub kind: &'static str,
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How many bytes are kept at most.
    pub bytes_max: u64,
}

/// What was fetched, kept on this machine.
#[derive(Debug)]
pub struct Cache {
    files: Files,
    limits: [Limit; 3],
    pub(crate) flights: Flights,
    /// Whole packs in memory at once, on their way into the cache.
    pub(crate) whole_packs: Semaphore,
    /// A long entry could not be kept; until the program ends, none is tried again.
    no_long_ones: AtomicBool,
}

impl Cache {
    /// `None` if there can't be a folder: all is read from the storage then, every time.
    pub(crate) async fn open(options: &CacheOptions, key: &[u8]) -> Result<Option<Self>> {
        let root = options.directory.join("kopia-lite");
        let mac = ContentHasher::new("HMAC-SHA256", key)?;
        let files = Files::new(root.clone(), mac);
        if let Err(error) = blocking(&files, |files| files.make_folder()).await {
            tracing::warn!(folder = %root.display(), %error,
                "the cache folder can't be made; going on without a cache");
            return Ok(None);
        }
        let kept = [
            Limit::new(options.metadata_bytes_max),
            Limit::new(options.content_bytes_max),
            Limit::new(options.metadata_bytes_max),
        ];
        let whole_packs = Semaphore::new(limits::WHOLE_PACKS_FETCHING);
        let (flights, no_long_ones) = (Flights::default(), AtomicBool::new(false));
        Ok(Some(Self { files, limits: kept, flights, whole_packs, no_long_ones }))
    }

    /// Has there been no room for a long entry? Then nobody need fetch another one whole.
    pub(crate) fn has_no_room_for_long_ones(&self) -> bool {
        self.no_long_ones.load(Relaxed)
    }

    /// Says that a long entry could not be kept.
    pub(crate) fn no_room_for_long_ones(&self) {
        self.no_long_ones.store(true, Relaxed);
    }

    /// Is there an entry, whatever its bytes?
    pub(crate) async fn has(&self, kind: Kind, name: &str) -> bool {
        self.range(kind, name, 0, 0).await.is_some()
    }

    /// The folder.
    pub fn folder(&self) -> PathBuf {
        self.files.root().to_owned()
    }

    fn limit(&self, kind: Kind) -> &Limit {
        &self.limits[kind as usize]
    }

    /// Is this kind kept at all?
    pub(crate) fn keeps(&self, kind: Kind) -> bool {
        self.limit(kind).bytes_max > 0
    }

    /// `length` bytes at `offset` of an entry, unchecked: for what is opened afterwards.
    pub(crate) async fn range(
        &self,
        kind: Kind,
        name: &str,
        offset: u64,
        length: u64,
    ) -> Option<Bytes> {
        if !self.keeps(kind) {
            return None;
        }
        let name = name.to_owned();
        blocking(&self.files, move |files| files.range(kind, &name, offset, length)).await.ok()
    }

    /// A whole entry, checked.
    pub(crate) async fn whole(&self, kind: Kind, name: &str) -> Option<Bytes> {
        if !self.keeps(kind) {
            return None;
        }
        let name = name.to_owned();
        blocking(&self.files, move |files| files.whole(kind, &name)).await.ok()
    }

    /// An index, checked and mapped.
    pub(crate) async fn index(&self, name: &str) -> Option<Index<SegmentBytes>> {
        if !self.keeps(Kind::Indexes) {
            return None;
        }
        let owned = name.to_owned();
        let opened = blocking(&self.files, move |files| files.open_index(&owned)).await;
        let (index, record) = opened.ok()?;
        if let Some(record) = record {
            self.store(Kind::Indexes, &seen::record_name(name), record.into()).await;
        }
        Some(index)
    }

    /// Keeps an entry. A failure is not worth an error.
    pub(crate) async fn store(&self, kind: Kind, name: &str, bytes: Bytes) {
        if !self.keeps(kind) {
            return;
        }
        let (limit, name) = (self.limit(kind).clone(), name.to_owned());
        let stored = blocking(&self.files, move |files| {
            let length = Files::length_of(bytes.len() as u64);
            if !limit.make_room(files, kind, length)? {
                return Ok(());
            }
            files.store(kind, &name, &bytes).inspect_err(|_| limit.not_written(length))
        });
        if let Err(error) = stored.await {
            let folder = self.files.root().display();
            tracing::debug!(%error, %folder, "the cache was not written");
        }
    }

    /// Takes an entry out.
    pub(crate) async fn forget(&self, kind: Kind, name: &str) {
        let name = name.to_owned();
        // If it can't be deleted it will fail its check again.
        let _ = blocking(&self.files, move |files| files.remove(kind, &name)).await;
    }

    /// How much is kept, by kind.
    ///
    /// # Errors
    /// [`RepoError::Cache`] if the folder can't be read.
    pub async fn usage(&self) -> Result<Vec<CacheKindUsage>> {
        let limits: Vec<_> = self.limits.iter().map(|limit| limit.bytes_max).collect();
        let usage = blocking(&self.files, move |files| {
            Kind::ALL
                .iter()
                .map(|&kind| {
                    let all = files.list(kind)?;
                    Ok(CacheKindUsage {
                        kind: kind.folder(),
                        files: all.len() as u64,
                        bytes: all.iter().map(|file| file.length).sum(),
                        bytes_max: limits[kind as usize],
                    })
                })
                .collect::<io::Result<Vec<_>>>()
        });
        usage.await.map_err(|source| RepoError::Cache { path: self.folder(), source })
    }

    /// Deletes everything that is kept.
    ///
    /// # Errors
    /// [`RepoError::Cache`] if a file can't be deleted.
    pub async fn clear(&self) -> Result<()> {
        self.clear_kinds(&Kind::ALL).await
    }

    /// Deletes the kind that [`CacheKindUsage::kind`] calls so; an unknown name deletes nothing.
    ///
    /// # Errors
    /// [`RepoError::Cache`] if a file can't be deleted.
    pub async fn clear_kind(&self, name: &str) -> Result<()> {
        match Kind::ALL.into_iter().find(|kind| kind.folder() == name) {
            Some(kind) => self.clear_kinds(&[kind]).await,
            None => Ok(()),
        }
    }

    async fn clear_kinds(&self, kinds: &[Kind]) -> Result<()> {
        let (limits, kinds) = (self.limits.clone(), kinds.to_vec());
        let cleared = blocking(&self.files, move |files| {
            for kind in kinds {
                files.remove_all(kind)?;
                limits[kind as usize].forget();
            }
            Ok(())
        });
        cleared.await.map_err(|source| RepoError::Cache { path: self.folder(), source })
    }
}

/// Files are read and written off the async threads.
async fn blocking<T: Send + 'static>(
    files: &Files,
    work: impl FnOnce(&Files) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let files = files.clone();
    match tokio::task::spawn_blocking(move || work(&files)).await {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

#[cfg(test)]
mod tests;
