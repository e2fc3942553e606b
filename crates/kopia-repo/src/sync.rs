//! Copying a repository's blobs to another storage: what is missing or old there goes over, and
//! what is no longer here may go there.
//!
//! First a [`SyncPlan`], then [`SyncPlan::carry_out`]. Both storages are used as they are: neither
//! is opened as a repository, and no blob is unsealed.
//!
//! Index blobs are listed before everything else, so that every pack that one of them names is in
//! the plan; and are written after all packs, so that whoever opens the copy at any moment finds
//! what its indexes name. What is deleted goes in the opposite order. A client that works on the
//! source meanwhile does no harm: superseded index blobs stay for hours
//! (docs/format/04-index-epochs.md §6.6), and one that is gone all the same ends the copy with an
//! error.

mod run;

use std::collections::HashMap;

use blob_core::{BlobError, BlobId, BlobMeta, DynStorage, ReadRange, Timestamp};
use bytes::Bytes;
use futures::TryStreamExt;
use kopia_format::{
    FormatError,
    blobcfg::BLOBCFG_BLOB_ID,
    format_blob::{FORMAT_BLOB_ID, FormatBlob},
};

pub use run::SyncEvent;

/// Why a copy could not be planned or brought to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SyncError {
    /// A storage failed.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The format blob of a storage can't be understood.
    #[error("{storage}: blob kopia.repository: {source}")]
    Format {
        /// The storage's name for people.
        storage: String,
        /// What is wrong with it.
        source: FormatError,
    },
    /// The source has no format blob.
    #[error("{storage} holds no Kopia repository: blob kopia.repository is missing")]
    NoSource {
        /// The storage's name for people.
        storage: String,
    },
    /// There is no repository at the destination, and there must be one.
    #[error("destination repository does not have a format blob")]
    NoDestination,
    /// The destination holds another repository.
    #[error(
        "destination repository contains incompatible data: {storage} holds the repository \
         {theirs}, not {ours}"
    )]
    Other {
        /// The destination's name for people.
        storage: String,
        /// Unique ID of the repository there, in hex.
        theirs: String,
        /// Unique ID of the source, in hex.
        ours: String,
    },
    /// An index blob went away between being listed and being read.
    #[error("index blob {id} was merged meanwhile; copy again to have what took its place")]
    Merged {
        /// The index blob.
        id: BlobId,
    },
    /// It was asked to stop.
    #[error("stopped after {copied} of {of} blobs")]
    Stopped {
        /// Blobs copied.
        copied: u64,
        /// Blobs that were to be copied.
        of: u64,
    },
}

/// What a copy is to do.
#[derive(Debug, Clone, Copy)]
pub struct SyncOptions {
    /// Blobs that both have are copied, too, where the source's is newer.
    pub update: bool,
    /// Blobs that only the destination has are deleted.
    pub delete: bool,
    /// There must be a repository at the destination already.
    pub must_exist: bool,
    /// Blobs keep the times that they have in the source, where the destination can do that.
    pub times: bool,
    /// Blobs under way at once.
    pub parallel: usize,
    /// Bytes of blobs in memory at once; a longer blob goes alone.
    pub memory_bytes_max: u64,
}

/// A blob of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncBlob {
    /// The blob.
    pub id: BlobId,
    /// Its length in bytes.
    pub size: u64,
    /// When it was last written.
    pub modified: Timestamp,
}

/// Blobs, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counted {
    /// How many.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Counted {
    fn add(&mut self, bytes: u64) {
        self.count += 1;
        self.bytes += bytes;
    }
}

/// What is to be done to make one storage a copy of another.
#[derive(Debug, Clone, Default)]
pub struct SyncPlan {
    /// Blobs in the source.
    pub source: Counted,
    /// Blobs at the destination.
    pub destination: Counted,
    /// Blobs that are there already, and the format blob that is written first of all.
    pub in_sync: Counted,
    /// Blobs to be copied, in the order of copying.
    pub copies: Vec<SyncBlob>,
    /// Blobs to be deleted at the destination, in the order of deleting.
    pub deletes: Vec<SyncBlob>,
    /// Blobs to be copied that are archived: nothing can be carried out before they are thawed.
    pub archived: Vec<SyncBlob>,
    /// The format blob, where the destination has none: it is written first.
    first: Option<Bytes>,
    /// `kopia.blobcfg` of the source, where it is not to be copied by itself.
    blobcfg: Option<SyncBlob>,
    /// Has the destination a `kopia.blobcfg`?
    has_blobcfg: bool,
}

/// Bytes of `blobs` together.
pub fn bytes_of(blobs: &[SyncBlob]) -> u64 {
    blobs.iter().map(|blob| blob.size).sum()
}

impl SyncPlan {
    /// Compares `source` with `destination`; writes nothing. `tell` hears how many blobs of which of
    /// the two were listed.
    ///
    /// # Errors
    /// [`SyncError::NoSource`], [`SyncError::NoDestination`], [`SyncError::Other`], and what the
    /// storages say.
    pub async fn new(
        source: &DynStorage,
        destination: &DynStorage,
        options: &SyncOptions,
        mut tell: impl FnMut(Listed, Counted),
    ) -> Result<Self, SyncError> {
        let first = compare_formats(source, destination, options.must_exist).await?;
        let mut plan = Self { first, ..Self::default() };
        let mut theirs = HashMap::new();
        let mut listing = destination.list("");
        while let Some(meta) = listing.try_next().await? {
            plan.destination.add(meta.size);
            tell(Listed::Destination, plan.destination);
            theirs.insert(meta.id.clone(), kept(&meta));
        }
        drop(listing);
        // Its key may be that of the old format, whether or not the source has one.
        plan.has_blobcfg = theirs.keys().any(|id: &BlobId| id.as_str() == BLOBCFG_BLOB_ID);
        for prefix in INDEX_PREFIXES {
            let mut listing = source.list(prefix);
            while let Some(meta) = listing.try_next().await? {
                plan.weigh(&meta, &mut theirs, options);
                tell(Listed::Source, plan.source);
            }
        }
        let mut listing = source.list("");
        while let Some(meta) = listing.try_next().await? {
            if !is_index(&meta.id) {
                plan.weigh(&meta, &mut theirs, options);
                tell(Listed::Source, plan.source);
            }
        }
        drop(listing);
        plan.keep_format_whole();
        if options.delete {
            plan.deletes = theirs.into_values().collect();
        }
        plan.copies.sort_unstable_by(|a, b| rank(&a.id).cmp(&rank(&b.id)).then(a.id.cmp(&b.id)));
        plan.deletes.sort_unstable_by(|a, b| rank(&b.id).cmp(&rank(&a.id)).then(a.id.cmp(&b.id)));
        Ok(plan)
    }

    /// The two format blobs have one key, and nobody opens a repository where they have two
    /// (docs/format/02-format-blob.md §9): where one is replaced, so is the other.
    fn keep_format_whole(&mut self) {
        let is_replaced = self.copies.iter().any(|blob| blob.id.as_str() == FORMAT_BLOB_ID);
        if let Some(blobcfg) = self.blobcfg.take().filter(|_| is_replaced) {
            self.in_sync.count -= 1;
            self.in_sync.bytes -= blobcfg.size;
            self.copies.push(blobcfg);
        }
    }

    /// Puts a blob of the source where it belongs in the plan.
    fn weigh(
        &mut self,
        meta: &BlobMeta,
        theirs: &mut HashMap<BlobId, SyncBlob>,
        options: &SyncOptions,
    ) {
        self.source.add(meta.size);
        let there = theirs.remove(&meta.id);
        let is_blobcfg = meta.id.as_str() == BLOBCFG_BLOB_ID;
        let is_first = self.first.is_some() && meta.id.as_str() == FORMAT_BLOB_ID;
        let is_needed = match &there {
            _ if is_first => false,
            None => true,
            Some(there) => {
                let is_same = there.size == meta.size && is_named_once(&meta.id);
                options.update && meta.modified > there.modified && !is_same
            }
        };
        match is_needed {
            false => {
                self.in_sync.add(meta.size);
                if is_blobcfg {
                    self.blobcfg = Some(kept(meta));
                }
            }
            true if meta.is_cold() => self.archived.push(kept(meta)),
            true => self.copies.push(kept(meta)),
        }
    }
}

/// Which of the two storages was listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listed {
    /// Where blobs come from.
    Source,
    /// Where they go.
    Destination,
}

fn kept(meta: &BlobMeta) -> SyncBlob {
    SyncBlob { id: meta.id.clone(), size: meta.size, modified: meta.modified }
}

/// Where index blobs begin: with epochs and without (docs/format/04-index-epochs.md).
const INDEX_PREFIXES: [&str; 2] = ["x", "n"];

fn is_index(id: &BlobId) -> bool {
    INDEX_PREFIXES.iter().any(|prefix| id.starts_with(prefix))
}

/// Is the name given to one content for ever? Those of the format and of maintenance are written
/// anew (docs/format/01-blob-storage.md §2). A blob that is only newer, such as one that was moved
/// to another storage class, has the bytes that it had.
fn is_named_once(id: &BlobId) -> bool {
    !id.starts_with("kopia.")
}

/// What is written before what: what others name comes before them, and the format last.
fn rank(id: &BlobId) -> u8 {
    match id.as_str() {
        BLOBCFG_BLOB_ID => 4,
        FORMAT_BLOB_ID => 3,
        _ if is_index(id) => 2,
        _ if id.starts_with("kopia.") => 1,
        _ => 0,
    }
}

/// Are both the same repository? Gives the format blob where the destination has none.
async fn compare_formats(
    source: &DynStorage,
    destination: &DynStorage,
    must_exist: bool,
) -> Result<Option<Bytes>, SyncError> {
    let id = BlobId::new(FORMAT_BLOB_ID).expect("the name is valid");
    let ours = match source.get(&id, ReadRange::Full).await {
        Err(error) if error.is_not_found() => {
            return Err(SyncError::NoSource { storage: source.info().name.clone() });
        }
        ours => ours?,
    };
    let our_id = unique_id(source, &ours)?;
    let theirs = match destination.get(&id, ReadRange::Full).await {
        Err(error) if error.is_not_found() && must_exist => return Err(SyncError::NoDestination),
        Err(error) if error.is_not_found() => return Ok(Some(ours)),
        theirs => theirs?,
    };
    let their_id = unique_id(destination, &theirs)?;
    if our_id == their_id {
        return Ok(None);
    }
    Err(SyncError::Other {
        storage: destination.info().name.clone(),
        theirs: their_id,
        ours: our_id,
    })
}

fn unique_id(storage: &DynStorage, bytes: &[u8]) -> Result<String, SyncError> {
    match FormatBlob::parse(bytes) {
        Ok(parsed) => Ok(parsed.unique_id.iter().map(|byte| format!("{byte:02x}")).collect()),
        Err(source) => Err(SyncError::Format { storage: storage.info().name.clone(), source }),
    }
}
