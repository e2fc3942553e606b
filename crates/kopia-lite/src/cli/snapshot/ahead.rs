//! How much a snapshot will hold, counted while it is taken, so that its progress knows the end.

use std::{path::PathBuf, sync::Arc};

use kopia_format::snapshot::Source;
use kopia_repo::Repository;
use kopia_snapshot::{estimate, policies};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::ui::progress::UploadProgress;

/// Counts in the background what a snapshot of `path` as `source` will hold, and tells `progress`,
/// until the guard is dropped. Short work and work that shows nothing is not counted. What can't be
/// counted stays without an end: the snapshot itself says what is wrong.
pub fn count(
    repo: &Repository,
    source: &Source,
    path: PathBuf,
    progress: &Arc<UploadProgress>,
) -> Option<DropGuard> {
    let delay = progress.counts_after()?;
    let stop = CancellationToken::new();
    let guard = stop.clone().drop_guard();
    let (repo, source, progress) = (repo.clone(), source.clone(), progress.clone());
    tokio::spawn(async move {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(delay) => {}
        }
        let Ok(path) = std::fs::canonicalize(path) else { return };
        match std::fs::metadata(&path) {
            Ok(meta) if meta.is_file() => progress.ends_at(1, meta.len()),
            Ok(meta) if meta.is_dir() => {
                let Ok(policy) = policies::tree(&repo, &source).await else { return };
                let found = estimate::estimate(path, policy, 0, &|_| {}, &stop).await;
                found.iter().for_each(|found| progress.ends_at(found.files, found.size));
            }
            _ => {}
        }
    });
    Some(guard)
}
