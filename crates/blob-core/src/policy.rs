//! Who decides what a blob is written with.

use std::fmt;

use crate::{BlobId, PutAttributes};

/// Decides what a blob is written with, from its ID and length.
///
/// An implementor promises: no I/O, no clock, and the same answer for the life of the value. The
/// policy is asked once per put, not once per attempt.
pub trait PutPolicy: Send + Sync + fmt::Debug {
    /// What to write the blob `id` of `length` bytes with; what is left out is the storage's
    /// default.
    fn attributes(&self, id: &BlobId, length: u64) -> PutAttributes;
}

/// No policy: every blob is written with the storage's defaults.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoPolicy;

impl PutPolicy for NoPolicy {
    fn attributes(&self, _: &BlobId, _: u64) -> PutAttributes {
        PutAttributes::default()
    }
}

/// A policy that is a closure.
///
/// ```
/// use blob_core::{BlobId, FnPolicy, PutAttributes, PutPolicy, StorageClass};
/// let big_is_cheap = FnPolicy::new(|_: &BlobId, length| PutAttributes {
///     class: (length > 1 << 20).then_some(StorageClass::STANDARD_IA),
///     ..PutAttributes::default()
/// });
/// let id = BlobId::new("p1").unwrap();
/// assert_eq!(big_is_cheap.attributes(&id, 1 << 21).class, Some(StorageClass::STANDARD_IA));
/// ```
pub struct FnPolicy<F>(F);

impl<F: Fn(&BlobId, u64) -> PutAttributes + Send + Sync> FnPolicy<F> {
    /// Makes a policy of `decide`.
    pub fn new(decide: F) -> Self {
        Self(decide)
    }
}

impl<F> fmt::Debug for FnPolicy<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FnPolicy")
    }
}

impl<F: Fn(&BlobId, u64) -> PutAttributes + Send + Sync> PutPolicy for FnPolicy<F> {
    fn attributes(&self, id: &BlobId, length: u64) -> PutAttributes {
        (self.0)(id, length)
    }
}
