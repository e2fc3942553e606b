//! Which contents snapshots need: the first half of collecting garbage.
//!
//! [`live_roots`] gives the root of every snapshot, [`mark_live`] marks all that can be reached
//! from them. Whatever can't be told is an error, and never a shorter list: what is not marked is
//! deleted some day (docs/format/08-maintenance.md §5). Kopia logs a manifest that it can't parse
//! and goes on, so that its data count as garbage; here that ends the walk.
//!
//! Nothing but metadata is read: folders, and the lists of pieces of long files. That data is there
//! is asked of the index alone, and no data pack is read or listed. Each folder is read once over
//! all snapshots.
//!
//! Memory: three bits for each entry of the index, in all 375 kB a million. A window of folders, of
//! 16 MiB as they are stored, is worked on at a time, and each of the process's threads has one
//! folder of it parsed. What waits to be read is a stack that grows by the folders below one window
//! at a time, some 100 bytes each, so it has at most as many such windows as the tree is deep. A
//! folder or list of several contents is read whole, alone.

use std::sync::Arc;

use futures::FutureExt;
use kopia_format::directory::DirEntry;
use kopia_repo::{Marks, Repository};
use tokio_util::sync::CancellationToken;

use crate::{
    error::{Result, SnapshotError},
    manifests,
};

mod marks;
mod place;
mod read;
mod walk;

pub use marks::LiveMarks;
use place::Place;
use read::Reader;
use walk::{Found, Walk};

/// Snapshots that are walked together. Later ones mostly add a few folders, one below the other,
/// and a request for each of them alone would be waited for.
const ROOTS_TOGETHER: usize = 32;

/// The root of a snapshot.
#[derive(Debug, Clone, PartialEq)]
pub struct LiveRoot {
    /// Which snapshot, for messages.
    pub name: String,
    /// The root: mostly a folder.
    pub entry: DirEntry,
}

/// How far a walk is. Counts only grow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LiveStats {
    /// Folders read, each once.
    pub directories: u64,
    /// Files and links in them, and roots that are files.
    pub files: u64,
    /// Bytes of these files, as their entries say.
    pub bytes: u64,
    /// Contents marked that were not marked before. No more can come than the index has entries
    /// ([`kopia_repo::IndexView::entry_count`]), which tells best how far the walk is.
    pub contents: u64,
    /// Snapshots that are done with all that is below them: the first ones of those given.
    pub roots_done: usize,
    /// Snapshots given.
    pub roots_total: usize,
}

/// The roots of all snapshots, oldest first; of incomplete ones and checkpoints too.
///
/// # Errors
/// [`SnapshotError::Manifest`] for a snapshot manifest that can't be understood,
/// [`SnapshotError::NoRoot`] for one without a root; and what reading manifests may give.
pub async fn live_roots(repo: &Repository) -> Result<Vec<LiveRoot>> {
    let all = manifests::find(repo, &[]).await?.into_iter();
    all.map(|manifest| {
        let name = format!("snapshot {} of {}", manifest.id, manifest.source);
        let entry = manifest.root_entry.ok_or(SnapshotError::NoRoot { id: manifest.id })?;
        Ok(LiveRoot { name, entry })
    })
    .collect()
}

/// Marks in `marks` every content that the snapshots under `roots` need: of folders, of the lists
/// of long objects, and of data. Those that are marked as deleted are as good as any.
///
/// The view of `marks` must be no older than the roots: what was written later is in no older
/// index, and is missing then. What is written after the view was taken is not marked. `progress`
/// is told every few megabytes of folders.
///
/// # Errors
/// [`SnapshotError::NotWalked`] when a content is in no index, when a folder or list can't be read
/// or understood, or for an entry of an unknown kind; [`SnapshotError::Stopped`]; and what reading
/// the index may give. Whichever it is: what is marked then is not all that is needed.
pub async fn mark_live(
    repo: &Repository,
    marks: &Marks,
    roots: &[LiveRoot],
    progress: &(dyn Fn(&LiveStats) + Send + Sync),
    stop: &CancellationToken,
) -> Result<LiveStats> {
    mark_more(repo, &LiveMarks::over(marks.clone()), roots, progress, stop).await
}

/// As [`mark_live`], and folders that `marks` knows of are not walked again: whoever keeps them
/// whenever [`LiveStats::roots_done`] has grown ([`LiveMarks::to_bytes`]), and the objects of the
/// roots that are done, can go on from there in another run, with the other roots.
///
/// # Errors
/// As [`mark_live`]; [`SnapshotError::Invalid`] for marks of a walk that was not finished.
pub async fn mark_more(
    repo: &Repository,
    marks: &LiveMarks,
    roots: &[LiveRoot],
    progress: &(dyn Fn(&LiveStats) + Send + Sync),
    stop: &CancellationToken,
) -> Result<LiveStats> {
    let reader = Reader { repo, walk: Arc::new(Walk::new(marks.clone())), stop };
    let (walk, roots_total) = (Arc::clone(&reader.walk), roots.len());
    let stats = move |roots_done| LiveStats { roots_done, roots_total, ..walk.stats() };
    let mut done = 0;
    progress(&stats(done));
    for together in roots.chunks(ROOTS_TOGETHER) {
        if stop.is_cancelled() {
            return Err(SnapshotError::Stopped);
        }
        let open = marks.open()?;
        let mut found = Found::default();
        for LiveRoot { name, entry } in together {
            reader.walk.meet(entry, &|| Place::root(name), &mut found)?;
        }
        let report = || progress(&stats(done));
        reader.read_all(found, &report).boxed().await?;
        open.close();
        done += together.len();
        progress(&stats(done));
    }
    Ok(stats(done))
}
