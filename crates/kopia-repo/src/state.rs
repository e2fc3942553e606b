//! What all handles of one open repository share.

use std::{fmt, sync::Arc};

use blob_core::{BlobId, DynStorage};
use dataplane::{Budget, CpuPool, limits};
use kopia_format::{cipher::NONCE_LEN, codec::ItemCodec};

use crate::{
    Cache, Env, OpenOptions, RepoError, Result, fetch::FetchMemory, format_state::FormatState,
    index::CommittedIndex, manifests::ManifestCache, stats::Meters,
};

/// The interior of a [`Repository`](crate::Repository).
pub(crate) struct Shared {
    pub storage: DynStorage,
    pub options: OpenOptions,
    pub format: Arc<FormatState>,
    pub codec: Arc<ItemCodec>,
    pub index: CommittedIndex,
    pub cache: Option<Cache>,
    pub cpu: CpuPool,
    /// For chunks on their way from a reader to a pack.
    pub budget: Budget,
    /// For reading by plan.
    pub fetching: FetchMemory,
    pub meters: Meters,
    pub manifests: ManifestCache,
}

/// Shares of the memory, in 128ths: chunks on their way, and packs that are uploaded. Open packs
/// take the rest.
const CHUNK_SHARE: u64 = 40;
const UPLOAD_SHARE: u64 = 44;
/// What is kept of memory that packs gave back.
const RECYCLED_SHARE: u64 = 24;

/// Packs up to here are in memory whatever its limit: the size that Kopia gives a new repository, and
/// a last content.
const IN_MEMORY_ALWAYS: u64 = 21 << 20;
/// Packs in temporary files that may be closed and not yet uploaded.
const SPILLED_WAITING: usize = 3;

impl Shared {
    pub(crate) fn env(&self) -> &Env {
        &self.options.env
    }

    /// Twelve random bytes that are never used again with the same key.
    pub(crate) fn nonce(&self) -> [u8; NONCE_LEN] {
        random(self.env())
    }

    /// So many of them, in one call to the system.
    pub(crate) fn nonces(&self, count: usize) -> Vec<[u8; NONCE_LEN]> {
        let mut all = vec![[0; NONCE_LEN]; count];
        self.env().entropy.fill(all.as_flattened_mut());
        all
    }

    /// Unix seconds now, as index entries carry them.
    pub(crate) fn now_secs(&self) -> i64 {
        self.env().clock.now().secs()
    }

    /// Are packs so long that the memory limit has no room for an open one and one on its way?
    pub(crate) fn spills_packs(&self) -> bool {
        let quarter = self.options.memory_bytes_max / 4;
        u64::from(self.format.format().max_pack_size) > quarter.max(IN_MEMORY_ALWAYS)
    }

    /// How many packs may be closed and not yet uploaded.
    pub(crate) fn packs_waiting_max(&self) -> usize {
        if self.spills_packs() {
            return SPILLED_WAITING;
        }
        let share = self.options.memory_bytes_max / 128 * UPLOAD_SHARE;
        let packs = share / u64::from(self.format.format().max_pack_size).max(1);
        usize::try_from(packs).unwrap_or(usize::MAX).clamp(1, limits::PACKS_UPLOADING)
    }

    /// Bytes of used memory that a writer keeps for what it fills next: a pack's, as it comes back
    /// when the pack is in the storage. While it is kept, no pack has it.
    pub(crate) fn recycled_max(&self) -> usize {
        let share = self.options.memory_bytes_max / 128 * RECYCLED_SHARE;
        usize::try_from(share).unwrap_or(usize::MAX)
    }

    /// Requests at once.
    pub(crate) fn requests_max(&self) -> usize {
        match self.options.requests_max {
            0 => self.storage.info().concurrency.clamp(1, limits::RANGES_FETCHING),
            set => set,
        }
    }

    pub(crate) fn check_writable(&self, op: &'static str) -> Result<()> {
        if self.options.read_only || self.storage.info().read_only {
            return Err(RepoError::ReadOnly { op });
        }
        Ok(())
    }
}

/// The chunk share of a memory limit.
pub(crate) fn chunk_budget(options: &OpenOptions) -> Budget {
    Budget::new((options.memory_bytes_max / 128 * CHUNK_SHARE).max(1 << 20))
}

pub(crate) fn random<const N: usize>(env: &Env) -> [u8; N] {
    let mut bytes = [0; N];
    env.entropy.fill(&mut bytes);
    bytes
}

/// An ID that was made from a valid one: a pack name of an index, a name of a sealed blob.
pub(crate) fn blob_id(text: &str) -> Result<BlobId> {
    BlobId::new(text).map_err(|invalid| {
        RepoError::Format(kopia_format::FormatError::malformed("blob ID", invalid.to_string()))
    })
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Repository({})", self.storage.info().name)
    }
}
