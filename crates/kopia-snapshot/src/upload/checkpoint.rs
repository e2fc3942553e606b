//! Saving what there is of a long upload.
//!
//! Every folder that is open is written with its finished entries, its open folders and what there
//! is of its open files, marked `checkpoint`. So a pack older than the interval is always named by
//! some snapshot, and an upload that is cut off starts again from there
//! (docs/format/07-upload-restore.md §2). A file that is half read gets a name that no later upload
//! can take it for; unlike in Kopia, which stores the size of the whole file, its size is what it
//! has.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use kopia_format::{directory::DirEntry, snapshot::SnapshotManifest};

use super::{
    UploadRequest,
    events::UploadEvent,
    open::{OpenFolder, Registry},
    run::{Run, dir_entry},
};
use crate::{error::Result, manifests, retention};

/// Saves an incomplete snapshot of what is open under `root`; nothing if that is nothing.
pub(super) async fn save(run: &Arc<Run>, request: &UploadRequest<'_>) -> Result<()> {
    let Some(root) = checkpoint(run, &run.open).await? else { return Ok(()) };
    let manifest = SnapshotManifest {
        root_entry: Some(root),
        end_time: crate::now(&run.repo),
        incomplete: "checkpoint".into(),
        ..request.prototype.clone()
    };
    manifests::save(&run.writer, &manifest).await?;
    retention::apply(&run.writer, &manifest.source).await?;
    run.writer.flush().await?;
    run.checkpoints.fetch_add(1, Relaxed);
    run.tell(UploadEvent::Checkpointed);
    Ok(())
}

/// Writes everything that is open. Not by recursion: trees may be deeper than a stack.
async fn checkpoint(run: &Run, root: &Registry) -> Result<Option<DirEntry>> {
    let (folders, _) = root.all();
    let mut result = files(run, root).await?.pop();
    // Each folder after the one that holds it.
    let mut all = Vec::new();
    let mut found: Vec<_> = folders.into_iter().map(|folder| (None, folder)).collect();
    while let Some((parent, folder)) = found.pop() {
        let builder = folder.builder(|builder| builder.clone());
        let (below, _) = folder.below.all();
        found.extend(below.into_iter().map(|below| (Some(all.len()), below)));
        all.push((parent, folder, builder));
    }
    while let Some((parent, folder, mut builder)) = all.pop() {
        for file in files(run, &folder.below).await? {
            builder.add(file);
        }
        let directory = builder.build(folder.entry.mtime, "checkpoint");
        let OpenFolder { relative, metadata_compressor, .. } = &*folder;
        let bytes = directory.to_bytes();
        let object = run.write_directory(relative, bytes, *metadata_compressor).await?;
        let entry =
            DirEntry { summary: Some(directory.summary), ..dir_entry(&folder.entry, object) };
        match parent {
            Some(parent) => all[parent].2.add(entry),
            None => result = Some(entry),
        }
    }
    Ok(result)
}

/// What there is of the open files.
async fn files(run: &Run, registry: &Registry) -> Result<Vec<DirEntry>> {
    let mut entries = Vec::new();
    for file in registry.all().1 {
        let Some((object, size)) = file.so_far().await else { continue };
        let mut name = b".checkpointed.".to_vec();
        let entry = DirEntry { size, ..dir_entry(&file.entry, object) };
        name.extend_from_slice(&entry.name);
        name.extend_from_slice(format!(".{}", random_uuid(run)).as_bytes());
        entries.push(DirEntry { name, ..entry });
    }
    Ok(entries)
}

/// A random UUID (RFC 9562, version 4).
fn random_uuid(run: &Run) -> String {
    let mut bytes = [0; 16];
    run.repo.env().entropy.fill(&mut bytes);
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut text = String::with_capacity(36);
    for (number, byte) in bytes.iter().enumerate() {
        if matches!(number, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}
