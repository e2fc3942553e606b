//! Is a file whole? What the index and a listing of the packs say, and what reading says.

use std::{collections::HashMap, sync::Arc};

use futures::StreamExt;
use kopia_format::{ContentId, directory::DirEntry};
use kopia_repo::{IndexView, RepoError, Repository};

use crate::{
    error::{Result, SnapshotError},
    tree::Lists,
    verify::{Seen, is_drawn, list_packs},
};

/// Looks at one file after the other.
pub(super) struct Checker<'a> {
    repo: &'a Repository,
    index: Arc<IndexView>,
    packs: HashMap<String, Seen>,
    read_percent: f64,
}

/// Does it say that something is lost or broken, and not only that it can't be had now?
pub(super) fn is_damage(error: &SnapshotError) -> bool {
    match error {
        SnapshotError::Format { .. } | SnapshotError::Invalid(_) => true,
        SnapshotError::Repo(error) => matches!(
            error,
            // What a damaged index blob may name is not lost.
            RepoError::ContentNotFound { index: None, .. }
                | RepoError::PackMissing { .. }
                | RepoError::PackTruncated { .. }
                | RepoError::ContentDamaged { .. }
                | RepoError::ObjectDamaged { .. }
                | RepoError::Format(_)
        ),
        _ => false,
    }
}

impl<'a> Checker<'a> {
    pub async fn new(repo: &'a Repository, read_percent: f64) -> Result<Self> {
        Ok(Self { repo, index: repo.index().await?, packs: list_packs(repo).await?, read_percent })
    }

    /// Looks for all contents of a file.
    ///
    /// # Errors
    /// What is lost or broken; or that it can't be told.
    pub async fn check(&self, entry: &DirEntry, lists: &Lists) -> Result<()> {
        let object = entry.object;
        let contents: Vec<ContentId> = match lists.get(&object) {
            Some(chunks) => {
                let pieces = chunks.iter().map(|chunk| chunk.content);
                std::iter::once(object.content_id()).chain(pieces).collect()
            }
            None => match self.repo.object_contents(&object).await {
                Ok(found) => {
                    let pieces = found.chunks.iter().map(|chunk| chunk.content);
                    pieces.chain(found.indexes).collect()
                }
                // Its list of pieces lies in an archive: it is there.
                Err(RepoError::ContentArchived { .. }) => return Ok(()),
                Err(error) => return Err(error.into()),
            },
        };
        let mut is_cold = false;
        for id in &contents {
            let found = self.index.find(id)?;
            let found = found.ok_or_else(|| self.index.not_found(*id))?;
            let end = u64::from(found.offset) + u64::from(found.packed_length);
            let pack = &found.pack;
            match self.packs.get(&**pack) {
                None => {
                    let text = format!("object {object} is backed by missing blob {pack}");
                    return Err(SnapshotError::Invalid(text));
                }
                Some(seen) if seen.size < end => {
                    let size = seen.size;
                    return Err(SnapshotError::Invalid(format!(
                        "object {object} is backed by blob {pack}, which is cut: {size} bytes of \
                         {end}"
                    )));
                }
                Some(seen) => is_cold |= seen.is_cold,
            }
        }
        match !is_cold && is_drawn(self.read_percent) {
            true => self.read(entry).await,
            false => Ok(()),
        }
    }

    async fn read(&self, entry: &DirEntry) -> Result<()> {
        let reader = match self.repo.open_object(&entry.object).await {
            Err(RepoError::ContentArchived { .. }) => return Ok(()),
            opened => opened?,
        };
        let mut pieces = std::pin::pin!(reader.into_stream());
        while let Some(piece) = pieces.next().await {
            match piece {
                // It was archived after the listing.
                Err(RepoError::ContentArchived { .. }) => return Ok(()),
                piece => _ = piece?,
            }
        }
        Ok(())
    }
}
