//! Reading what a walk has to read: many folders or lists with few requests, in bounded memory.
//!
//! What waits is a stack, so that a walk goes down first. From its end come windows of some
//! megabytes; each folder of one is parsed on the thread that opened it and is gone then, and what
//! is left of a window is what it adds to the stack.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use futures::FutureExt;
use kopia_format::ContentId;
use kopia_repo::{FetchFrom, Fetched, IndexEntry, Repository};
use tokio_util::sync::CancellationToken;

use super::walk::{Found, Kind, Task, Walk};
use crate::{
    error::{Result, SnapshotError},
    tree::DIRECTORY_BYTES_MAX,
};

/// Plain bytes of folders or lists that are read together.
const WINDOW_BYTES: u64 = 16 << 20;
/// How many of them, at most.
const WINDOW_TASKS: usize = 16 << 10;
/// So many lists are read before more folders are.
const LISTS_WAITING: usize = 8 << 10;
/// The longest list of pieces; that of a file of 30 TB may be as long.
const LIST_BYTES_MAX: u64 = 1 << 30;

/// What a walk reads with.
pub(super) struct Reader<'a> {
    pub repo: &'a Repository,
    pub walk: Arc<Walk>,
    pub stop: &'a CancellationToken,
}

/// Folders or lists that are read together.
#[derive(Default)]
struct Window {
    /// Those that are one content each, and where these lie.
    single: HashMap<ContentId, Task>,
    entries: Vec<IndexEntry>,
    /// The others.
    others: Vec<Task>,
    bytes: u64,
}

/// What the threads of one window hand back.
#[derive(Default)]
struct Taken {
    found: Found,
    /// What could not be read where the index says.
    unread: Vec<ContentId>,
}

impl Reader<'_> {
    /// Walks all that `found` has, and all below it. Calls `each` after each window.
    pub async fn read_all(&self, mut found: Found, each: &(dyn Fn() + Send + Sync)) -> Result<()> {
        loop {
            let Found { folders, lists } = &mut found;
            let lists_first = folders.is_empty() || lists.len() >= LISTS_WAITING;
            let stack = if lists_first { lists } else { folders };
            let window = self.window(stack)?;
            if window.single.is_empty() && window.others.is_empty() {
                return Ok(());
            }
            let more = self.read(window).await?;
            found.folders.extend(more.folders);
            found.lists.extend(more.lists);
            each();
        }
    }

    /// Takes a window off the end of a stack.
    fn window(&self, stack: &mut Vec<Task>) -> Result<Window> {
        let mut window = Window::default();
        while let Some(task) = stack.pop() {
            match task.content() {
                None => window.others.push(task),
                Some(id) => {
                    // It was marked, so it is there.
                    let index = self.walk.marks().live.view();
                    let entry = index.find(&id)?;
                    let entry = entry
                        .ok_or_else(|| index.not_found(id))
                        .map_err(|error| task.failed(error))?;
                    window.bytes += u64::from(entry.original_length);
                    window.entries.push(entry);
                    window.single.insert(id, task);
                }
            }
            let tasks = window.single.len() + window.others.len();
            if window.bytes >= WINDOW_BYTES || tasks >= WINDOW_TASKS {
                break;
            }
        }
        Ok(window)
    }

    async fn read(&self, window: Window) -> Result<Found> {
        let Window { single, entries, others, .. } = window;
        let single = Arc::new(single);
        let Taken { mut found, unread } = self.read_single(entries, &single).await?;
        for id in unread {
            // Its pack may be another one by now, if anybody does maintenance. If not, this says
            // what is wrong.
            let Some(task) = single.get(&id) else { continue };
            let bytes = self.unless_stopped(self.repo.content(&id)).await?;
            let bytes = bytes.map_err(|error| task.failed(error))?;
            self.walk.take(task, &bytes, &mut found)?;
        }
        for task in others {
            let most = match task.kind {
                Kind::Folder => DIRECTORY_BYTES_MAX,
                Kind::List => LIST_BYTES_MAX,
            };
            let object = task.wanted();
            let bytes = self.unless_stopped(self.repo.read_object(&object, most)).await?;
            let bytes = bytes.map_err(|error| task.failed(error))?;
            let walk = Arc::clone(&self.walk);
            let take = move || {
                walk.take(&task, &bytes, &mut found)?;
                Ok::<_, SnapshotError>(found)
            };
            found = self.repo.cpu().run(take).await?;
        }
        Ok(found)
    }

    /// Reads those that are one content each, and takes each where it is opened.
    async fn read_single(
        &self,
        mut entries: Vec<IndexEntry>,
        single: &Arc<HashMap<ContentId, Task>>,
    ) -> Result<Taken> {
        let taken: Arc<Mutex<Taken>> = Arc::default();
        let take = {
            let (walk, single, taken) = (self.walk.clone(), single.clone(), taken.clone());
            move |contents: &mut dyn Iterator<Item = Fetched>| {
                let mut own = Taken::default();
                for (id, content) in contents {
                    match (content, single.get(&id)) {
                        (Ok(bytes), Some(task)) => walk.take(task, &bytes, &mut own.found)?,
                        _ => own.unread.push(id),
                    }
                }
                let mut all = taken.lock().unwrap_or_else(PoisonError::into_inner);
                all.found.folders.append(&mut own.found.folders);
                all.found.lists.append(&mut own.found.lists);
                all.unread.append(&mut own.unread);
                Ok::<(), SnapshotError>(())
            }
        };
        entries.sort_unstable_by(|a, b| (&a.pack, a.offset).cmp(&(&b.pack, b.offset)));
        let plan = self.repo.plan_entries(entries);
        let jobs = self.repo.cpu().threads().max(1);
        let stopped = self.stop.cancelled().map(|()| SnapshotError::Stopped);
        self.repo.fetch_each(FetchFrom::Anywhere, &plan, jobs, stopped, take).await?;
        let taken = std::mem::take(&mut *taken.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(taken)
    }

    async fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> Result<T> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(SnapshotError::Stopped),
            done = work => Ok(done),
        }
    }
}
