//! What is open while an upload runs: folders that are being filled, files that are being read.
//!
//! Checkpoints walk these registries from the root's down. An entry leaves its registry when its
//! guard is dropped.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use kopia_format::{ObjectId, compress::Compressor, directory::DirectoryBuilder};
use tokio::sync::{mpsc, oneshot};

use crate::source::LocalEntry;

/// A folder while it is open: what a checkpoint can take of it.
pub(crate) struct OpenFolder {
    pub entry: LocalEntry,
    pub relative: String,
    pub metadata_compressor: Option<Compressor>,
    /// What is done of it.
    builder: Mutex<DirectoryBuilder>,
    /// What is open below it.
    pub below: Arc<Registry>,
}

impl OpenFolder {
    pub fn new(
        entry: LocalEntry,
        relative: String,
        metadata_compressor: Option<Compressor>,
    ) -> Arc<Self> {
        let (builder, below) = (Mutex::default(), Arc::default());
        Arc::new(Self { entry, relative, metadata_compressor, builder, below })
    }

    pub fn builder<T>(&self, change: impl FnOnce(&mut DirectoryBuilder) -> T) -> T {
        change(&mut self.builder.lock().expect("no holder of this lock panics"))
    }
}

/// Answered with the object of what was written of a file so far, and its length; dropped if there
/// is none.
type Ask = oneshot::Sender<(ObjectId, u64)>;

/// A file of which a checkpoint can ask for what there is.
#[derive(Clone)]
pub(crate) struct OpenFile {
    pub entry: LocalEntry,
    ask: mpsc::Sender<Ask>,
}

impl OpenFile {
    /// What was written so far; `None` if nothing was, or if the file is done.
    pub async fn so_far(&self) -> Option<(ObjectId, u64)> {
        let (answer, answered) = oneshot::channel();
        self.ask.send(answer).await.ok()?;
        answered.await.ok()
    }
}

#[derive(Clone)]
enum Open {
    Folder(Arc<OpenFolder>),
    File(OpenFile),
}

/// What is open in one folder.
#[derive(Default)]
pub(crate) struct Registry(Mutex<(u64, BTreeMap<u64, Open>)>);

/// Keeps an entry in its registry.
pub(crate) struct Entered {
    registry: Arc<Registry>,
    key: u64,
    asks: Option<mpsc::Receiver<Ask>>,
}

impl Registry {
    fn enter(self: &Arc<Self>, open: Open, asks: Option<mpsc::Receiver<Ask>>) -> Entered {
        let mut all = self.0.lock().expect("no holder of this lock panics");
        all.0 += 1;
        let key = all.0;
        all.1.insert(key, open);
        Entered { registry: self.clone(), key, asks }
    }

    pub fn enter_folder(self: &Arc<Self>, folder: Arc<OpenFolder>) -> Entered {
        self.enter(Open::Folder(folder), None)
    }

    pub fn enter_file(self: &Arc<Self>, entry: LocalEntry) -> Entered {
        let (ask, asks) = mpsc::channel(1);
        self.enter(Open::File(OpenFile { entry, ask }), Some(asks))
    }

    /// The folders and files that are open now.
    pub fn all(&self) -> (Vec<Arc<OpenFolder>>, Vec<OpenFile>) {
        let all = self.0.lock().expect("no holder of this lock panics");
        let (mut folders, mut files) = (Vec::new(), Vec::new());
        for open in all.1.values().cloned() {
            match open {
                Open::Folder(folder) => folders.push(folder),
                Open::File(file) => files.push(file),
            }
        }
        (folders, files)
    }
}

impl Entered {
    /// Waits until a checkpoint asks; for ever if this is no file.
    pub async fn asked(&mut self) -> Ask {
        match &mut self.asks {
            Some(asks) => match asks.recv().await {
                Some(ask) => ask,
                // The registry holds the other end as long as this guard lives.
                None => std::future::pending().await,
            },
            None => std::future::pending().await,
        }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.registry.0.lock().expect("no holder of this lock panics").1.remove(&self.key);
    }
}
