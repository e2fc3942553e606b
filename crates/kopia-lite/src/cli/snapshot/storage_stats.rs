//! `snapshot list --storage-stats`: what each snapshot of a source adds to what those before it
//! have.
//!
//! Objects and contents count once, for the first snapshot in the list that has them, so the
//! numbers depend on the order. Directories are read; of files only the lists of their contents.

use std::collections::HashSet;

use kopia_format::{
    ContentId, ObjectId,
    directory::{DirEntry, EntryKind},
};
use kopia_repo::Repository;
use kopia_snapshot::tree::read_directory;
use serde::Serialize;

/// What a set of snapshots takes, under Kopia's names.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    object_bytes: u64,
    /// Bytes of file contents before compression.
    pub original_content_bytes: u64,
    /// Bytes of file contents in packs.
    pub packed_content_bytes: u64,
    /// Files, and what else is no directory.
    pub file_objects: u64,
    /// Directories.
    pub dir_objects: u64,
    contents: u64,
}

impl Usage {
    fn add(&mut self, other: &Self) {
        self.object_bytes += other.object_bytes;
        self.original_content_bytes += other.original_content_bytes;
        self.packed_content_bytes += other.packed_content_bytes;
        self.file_objects += other.file_objects;
        self.dir_objects += other.dir_objects;
        self.contents += other.contents;
    }
}

/// One snapshot's share, and the sum with all before it.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StorageStats {
    /// What this snapshot adds.
    pub new_data: Usage,
    running_total: Usage,
}

/// Adds up the snapshots of one source.
#[derive(Debug, Default)]
pub struct Tally {
    objects: HashSet<ObjectId>,
    contents: HashSet<ContentId>,
    total: Usage,
}

impl Tally {
    /// Walks the snapshot with this root.
    ///
    /// # Errors
    /// A directory or a list of contents can't be read, or a content is in no index.
    pub async fn add(
        &mut self,
        repo: &Repository,
        root: &DirEntry,
    ) -> anyhow::Result<StorageStats> {
        let mut new = Usage::default();
        let mut waiting = vec![root.clone()];
        while let Some(entry) = waiting.pop() {
            if !self.objects.insert(entry.object) {
                continue;
            }
            let is_folder = entry.kind == EntryKind::Directory;
            if is_folder {
                new.dir_objects += 1;
                waiting.extend(read_directory(repo, &entry.object).await?.entries);
            } else {
                new.file_objects += 1;
                new.object_bytes += entry.size;
            }
            let of_object = repo.object_contents(&entry.object).await?;
            let chunks = of_object.chunks.iter().map(|chunk| chunk.content);
            for id in chunks.chain(of_object.indexes) {
                if !self.contents.insert(id) {
                    continue;
                }
                new.contents += 1;
                if !is_folder && let Some(content) = repo.content_entry(&id).await? {
                    new.original_content_bytes += u64::from(content.original_length);
                    new.packed_content_bytes += u64::from(content.packed_length);
                }
            }
        }
        self.total.add(&new);
        Ok(StorageStats { new_data: new, running_total: self.total })
    }
}
