//! A walk through the folders that can hold blobs of a prefix.
//!
//! A blob's ID is the names of the folders on the way and of the file, put together, without the
//! `.f` at its end; the rules of `.shards` are not needed. What does not end so is somebody else's.
//! What vanishes during the walk is passed over. Format: docs/format/01-blob-storage.md §3.5.

use std::{
    fs::Metadata,
    io,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard},
};

use blob_core::{BlobError, BlobId, BlobMeta, Result, Timestamp};
use fs_err as fs;
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use tokio::{sync::mpsc, task::JoinSet};

use crate::{
    error::{from_io, is_absent},
    shards::SUFFIX,
};

/// How many blobs wait for the reader of a list before the walk waits for him.
const AHEAD: usize = 256;

/// The blobs below `root` whose IDs begin with `prefix`, read by `workers` threads.
pub(crate) fn list(
    root: PathBuf,
    prefix: &str,
    workers: u32,
) -> BoxStream<'static, Result<BlobMeta>> {
    let prefix = prefix.to_owned();
    let begin = async move {
        let (sender, mut receiver) = mpsc::channel(AHEAD);
        let walk = Arc::new(Walk::new(root, prefix, sender));
        let mut working = JoinSet::new();
        for _ in 0..workers.max(1) {
            let walk = walk.clone();
            working.spawn_blocking(move || walk.work());
        }
        drop(walk);
        let found = stream::poll_fn(move |context| receiver.poll_recv(context));
        // The end of the channel alone is no proof: a list that lost a worker is not the whole list.
        let end = stream::unfold(working, async |mut working| {
            while let Some(done) = working.join_next().await {
                if let Err(error) = done {
                    return Some((Err(from_io("list", None, io::Error::other(error))), working));
                }
            }
            None
        });
        found.chain(end)
    };
    stream::once(begin).flatten().boxed()
}

/// A folder to be read, and the beginning of the IDs of all blobs in it.
struct Folder {
    path: PathBuf,
    beginning: Vec<u8>,
    is_root: bool,
}

/// The folders still to be read, shared by the workers.
struct Queue {
    folders: Vec<Folder>,
    /// Workers that read a folder now and may find more.
    busy: usize,
    /// An error was told, or nobody listens any more.
    ended: bool,
}

struct Walk {
    prefix: String,
    found: mpsc::Sender<Result<BlobMeta>>,
    queue: Mutex<Queue>,
    changed: Condvar,
}

impl Walk {
    fn new(root: PathBuf, prefix: String, found: mpsc::Sender<Result<BlobMeta>>) -> Self {
        let root = Folder { path: root, beginning: Vec::new(), is_root: true };
        let queue = Queue { folders: vec![root], busy: 0, ended: false };
        Self { prefix, found, queue: Mutex::new(queue), changed: Condvar::new() }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().expect("no holder of this lock panics")
    }

    fn work(&self) {
        while let Some(folder) = self.next() {
            let reading = Reading(self);
            let read = self.read(&folder);
            std::mem::forget(reading);
            let mut queue = self.queue();
            queue.busy -= 1;
            match read {
                Ok(Some(inner)) => queue.folders.extend(inner),
                Ok(None) => queue.ended = true,
                Err(error) => {
                    let first = !std::mem::replace(&mut queue.ended, true);
                    drop(queue);
                    if first {
                        // Where nobody listens, nobody needs to know.
                        _ = self.found.blocking_send(Err(error));
                    }
                }
            }
            self.changed.notify_all();
        }
    }

    /// The next folder; `None` when there will be no more.
    fn next(&self) -> Option<Folder> {
        let mut queue = self.queue();
        loop {
            if queue.ended {
                return None;
            }
            if let Some(folder) = queue.folders.pop() {
                queue.busy += 1;
                return Some(folder);
            }
            if queue.busy == 0 {
                return None;
            }
            queue = self.changed.wait(queue).expect("no holder of this lock panics");
        }
    }

    /// Tells of the blobs in a folder and gives the folders in it; `None` if nobody listens.
    fn read(&self, folder: &Folder) -> Result<Option<Vec<Folder>>> {
        let mut inner = Vec::new();
        let entries = match fs::read_dir(&folder.path) {
            Err(error) if is_absent(&error) && !folder.is_root => return Ok(Some(inner)),
            Err(error) if is_absent(&error) => {
                let storage = crate::storage::display_name(&folder.path);
                return Err(BlobError::NoStorage { storage, reason: error.to_string() });
            }
            entries => entries.map_err(|error| from_io("list", None, error))?,
        };
        for entry in entries {
            let entry = entry.map_err(|error| from_io("list", None, error))?;
            let whole = [folder.beginning.as_slice(), entry.file_name().as_bytes()].concat();
            let kind = match entry.file_type() {
                Err(error) if is_absent(&error) => continue,
                kind => kind.map_err(|error| from_io("list", None, error))?,
            };
            if kind.is_dir() {
                if self.may_hold(&whole) {
                    inner.push(Folder { path: entry.path(), beginning: whole, is_root: false });
                }
            } else if let Some(id) = self.blob_of(&whole) {
                let meta = match fs::metadata(entry.path()) {
                    Err(error) if is_absent(&error) => continue,
                    found => found.map_err(|error| from_io("list", Some(&id), error))?,
                };
                if meta.is_file() && self.found.blocking_send(Ok(meta_of(id, &meta))).is_err() {
                    return Ok(None);
                }
            }
        }
        Ok(Some(inner))
    }

    /// Can a folder whose names so far are `beginning` hold blobs of the prefix?
    fn may_hold(&self, beginning: &[u8]) -> bool {
        let prefix = self.prefix.as_bytes();
        prefix.starts_with(beginning) || beginning.starts_with(prefix)
    }

    fn blob_of(&self, whole: &[u8]) -> Option<BlobId> {
        let id = whole.strip_suffix(SUFFIX.as_bytes())?;
        let id = BlobId::new(std::str::from_utf8(id).ok()?).ok()?;
        id.starts_with(&self.prefix).then_some(id)
    }
}

/// A folder being read. Dropped only by a panic, which must not leave the other workers waiting.
struct Reading<'a>(&'a Walk);

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.0.queue().ended = true;
        self.0.changed.notify_all();
    }
}

/// What a file's metadata tells of the blob in it.
pub(crate) fn meta_of(id: BlobId, meta: &Metadata) -> BlobMeta {
    BlobMeta {
        id,
        size: meta.len(),
        modified: modified(meta),
        class: None,
        state: None,
        has_checksum: None,
    }
}

pub(crate) fn modified(meta: &Metadata) -> Timestamp {
    let nanos = meta.mtime().saturating_mul(1_000_000_000).saturating_add(meta.mtime_nsec());
    Timestamp::from_nanos(nanos)
}
