//! What a pack says of its own contents: the index at its end, for a repository that lost its own.

use blob_core::{BlobMeta, ReadRange};
use kopia_format::{
    index::{Index, IndexEntry},
    pack::{LocalIndex, TAIL_LEN, read_local_index},
};

use crate::{RepoError, Repository, Result};

impl Repository {
    /// The entries of the index at the end of `pack`, which is read from there on: some 8 KiB as a
    /// rule. The index of the repository is not asked for.
    ///
    /// # Errors
    /// [`RepoError::IndexDamaged`] when there is no such index or it can't be understood; what the
    /// storage may give.
    pub async fn local_index(&self, pack: &BlobMeta) -> Result<Vec<IndexEntry>> {
        let damaged = |source| RepoError::IndexDamaged { blob: pack.id.clone(), source };
        let absent = || {
            let reason = "it does not end as a pack does";
            damaged(kopia_format::FormatError::malformed("pack", reason))
        };
        let mut from = pack.size.saturating_sub(TAIL_LEN as u64);
        // The second time it begins where the first bytes say that the index does.
        for _ in 0..2 {
            let range = ReadRange::Bytes { offset: from, length: pack.size - from };
            let tail = self.storage().get(&pack.id, range).await?;
            match read_local_index(self.codec(), pack.size, &tail).map_err(damaged)? {
                LocalIndex::Absent => return Err(absent()),
                LocalIndex::StartsAt(offset) => from = u64::from(offset),
                LocalIndex::Plain(plain) => {
                    let index = Index::parse(plain).map_err(damaged)?;
                    return Ok(index.iter().collect());
                }
            }
        }
        Err(absent())
    }
}
