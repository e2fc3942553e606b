//! The capacity of every queue, in one table.
//!
//! Queues hold tickets, not bytes: bytes are bounded by the [`Budget`](crate::Budget) alone. A
//! capacity here says how far a stage may run ahead of the next one.

/// Chunks of one object on their way at once.
pub const CHUNKS_PER_OBJECT: usize = 16;

/// Packs that are uploaded at once, if the memory allows.
pub const PACKS_UPLOADING: usize = 16;

/// Index blobs that are fetched and parsed at once.
pub const INDEX_BLOBS_LOADING: usize = 16;

/// Contents with manifests that are read at once.
pub const MANIFEST_CONTENTS_LOADING: usize = 8;

/// Ranges of packs that are fetched at once.
pub const RANGES_FETCHING: usize = 16;

/// Whole metadata packs that are fetched at once; one is some 20 MiB, and of longer ones a part of
/// 8 MiB is in memory.
pub const WHOLE_PACKS_FETCHING: usize = 3;
