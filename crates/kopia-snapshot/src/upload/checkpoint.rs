//! Saving what there is of a long upload.
//!
//! Every folder that is open is written with its finished entries and with its open folders, marked `checkpoint`. So
//! a pack older than the interval is always named by some snapshot, and an upload that is cut off starts again from
//! there (docs/format/07-upload-restore.md §2). A file that is only half read is left out; its contents are found again
//! by their hashes.

use std::{future::Future, pin::Pin, sync::Arc};

use kopia_format::directory::DirEntry;

use super::{
    folder::OpenFolder,
    run::{Run, dir_entry},
};
use crate::error::Result;

/// Writes `folder` as it stands, with all open folders below it.
pub(crate) fn checkpoint<'a>(
    run: &'a Run,
    folder: &'a Arc<OpenFolder>,
) -> Pin<Box<dyn Future<Output = Result<DirEntry>> + Send + 'a>> {
    Box::pin(async move {
        let mut builder = folder.builder(|builder| builder.clone());
        let below: Vec<_> = {
            let all = folder.below.lock().expect("no holder of this lock panics");
            all.values().cloned().collect()
        };
        for open in &below {
            builder.add(checkpoint(run, open).await?);
        }
        let directory = builder.build(folder.entry.mtime, "checkpoint");
        let bytes = directory.to_bytes();
        let object =
            run.write_directory(&folder.relative, bytes, folder.metadata_compressor).await?;
        Ok(DirEntry { summary: Some(directory.summary), ..dir_entry(&folder.entry, object) })
    })
}
