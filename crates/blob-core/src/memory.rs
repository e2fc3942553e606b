//! A storage in memory: the reference of the promise.

/// A storage in memory.
#[derive(Debug, Default)]
pub struct MemoryStorage;
