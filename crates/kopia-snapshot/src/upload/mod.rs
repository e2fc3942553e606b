//! Turning a local tree into objects of a repository.
//!
//! [`upload`] walks a source, skips what an earlier snapshot has already, writes everything else, and gives the root
//! entry of a snapshot manifest. It saves no manifest, but for the checkpoints of a long upload; that is
//! [`crate::create`].

mod checkpoint;
mod events;
mod file;
mod folder;
mod previous;
mod rules;
mod run;

use std::{
    path::Path,
    sync::{Arc, Mutex, atomic::AtomicBool},
    time::Duration,
};

use bytes::Bytes;
use kopia_format::{
    directory::{DirEntry, DirSummary, DirectoryBuilder, EntryKind},
    snapshot::{SnapshotManifest, SnapshotStats},
    time::GoTime,
};
use kopia_repo::{Repository, RepositoryWriter};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

pub use events::{Silent, UploadEvent, UploadSink};

use crate::{
    error::{Result, SnapshotError},
    policy::tree::PolicyTree,
    source::{EntryKind as LocalKind, LocalEntry, go_error},
};
use folder::{Folder, OpenFolder, upload_folder};
use previous::PreviousFolder;
use rules::FolderRules;
use run::{Run, dir_entry};

/// The longest time between two checkpoints, as in Kopia.
pub const CHECKPOINT_INTERVAL_MAX: Duration = Duration::from_secs(45 * 60);

/// How an upload is done.
#[derive(Debug, Clone)]
pub struct UploadOptions {
    /// Entries read at once; 0 = what the policy says, else one a core.
    pub parallel: usize,
    /// Probability in percent with which an unchanged file is read again.
    pub force_hash_percent: f64,
    /// End at the first error that the policy does not ignore.
    pub fail_fast: bool,
    /// End after this many bytes of files were read.
    pub upload_limit: Option<u64>,
    /// Time between checkpoints.
    pub checkpoint_interval: Duration,
}

impl Default for UploadOptions {
    fn default() -> Self {
        Self {
            parallel: 0,
            force_hash_percent: 0.0,
            fail_fast: false,
            upload_limit: None,
            checkpoint_interval: CHECKPOINT_INTERVAL_MAX,
        }
    }
}

/// Where the bytes of a snapshot come from.
#[derive(Debug)]
pub enum UploadSource<'a> {
    /// A file or folder of this machine.
    Local(&'a Path),
    /// A stream that becomes the file `name` in a folder that does not exist otherwise (`--stdin-file`).
    Stream {
        /// The path of the source, which is also the name of the root.
        root: String,
        /// The file's name.
        name: String,
        /// The bytes; an error ends the upload of the file.
        pieces: mpsc::Receiver<Result<Bytes, String>>,
    },
}

/// What an upload gives.
#[derive(Debug)]
pub struct Uploaded {
    /// The root of the snapshot.
    pub root: DirEntry,
    /// Its counters.
    pub stats: SnapshotStats,
    /// Why it is not whole; empty if it is.
    pub incomplete: String,
}

/// Everything an upload needs.
pub struct UploadRequest<'a> {
    /// Where to.
    pub writer: &'a RepositoryWriter,
    /// The rules.
    pub policy: &'a PolicyTree,
    /// Earlier snapshots of the source, the best first.
    pub previous: &'a [SnapshotManifest],
    /// What the manifests of checkpoints have in common: source, start time, tags.
    pub prototype: &'a SnapshotManifest,
    /// How.
    pub options: UploadOptions,
    /// Who wants to know.
    pub sink: Arc<dyn UploadSink>,
    /// Stops the upload; what was done becomes an incomplete snapshot.
    pub stop: CancellationToken,
}

/// Uploads `source`.
///
/// # Errors
/// [`SnapshotError::Source`] when the root itself can't be read; what the repository says when it can't be written. An
/// entry below the root that can't be read is no error: it is in the root's summary.
pub async fn upload(request: UploadRequest<'_>, source: UploadSource<'_>) -> Result<Uploaded> {
    let repo = request.writer.repository().clone();
    let parallel = match request.options.parallel {
        0 => request.policy.effective().upload.max_parallel_file_reads.map_or_else(
            || std::thread::available_parallelism().map_or(1, usize::from),
            |reads| usize::try_from(reads).unwrap_or(1).max(1),
        ),
        given => given,
    };
    let run = Arc::new(Run {
        repo: repo.clone(),
        writer: request.writer.clone(),
        options: request.options.clone(),
        sink: request.sink.clone(),
        counters: run::Counters::default(),
        stop: request.stop.clone(),
        failed_fast: AtomicBool::new(false),
        hashed: 0.into(),
        helpers: Arc::new(Semaphore::new(parallel - 1)),
    });
    let rules = FolderRules::root(request.policy.clone())?;
    let root = match source {
        UploadSource::Stream { root, name, pieces } => {
            upload_stream(&run, &rules, root, name, pieces).await?
        }
        UploadSource::Local(path) => upload_local(&run, &request, rules, path, &repo).await?,
    };
    Ok(Uploaded { root, stats: run.stats(), incomplete: run.incomplete().to_owned() })
}

async fn upload_local(
    run: &Arc<Run>,
    request: &UploadRequest<'_>,
    rules: FolderRules,
    path: &Path,
    repo: &Repository,
) -> Result<DirEntry> {
    let unreadable = |reason: String| SnapshotError::Source { path: path.to_owned(), reason };
    let stat = |path: &Path| LocalEntry::at(path).map_err(|e| unreadable(go_error(&e)));
    let mut path = path.to_owned();
    let mut entry = stat(&path)?;
    if entry.kind == LocalKind::Symlink {
        // A source that is a link is followed: the tree behind it is meant.
        path = std::fs::canonicalize(&path).map_err(|e| unreadable(go_error(&e)))?;
        entry = stat(&path)?;
    }
    match entry.kind {
        LocalKind::Directory => {
            let mut previous = Vec::new();
            for manifest in request.previous {
                let Some(root) = &manifest.root_entry else { continue };
                if root.kind == EntryKind::Directory {
                    previous.push(Arc::new(PreviousFolder::load(repo, &root.object).await?));
                }
            }
            let folder =
                Folder { path: path.clone(), relative: ".".into(), entry, rules, previous };
            with_checkpoints(run, request, folder).await
        }
        LocalKind::File => {
            let name = entry.name.to_string_lossy().into_owned();
            let style = rules.file_style(&name, entry.size);
            let uploaded = file::upload_file(run, &path, &name, &entry, &style).await;
            let file = uploaded.map_err(|error| error.of_root(&path))?;
            let summary = DirSummary {
                files: 1,
                size: file.size,
                max_time: file.mtime.max(0),
                ..DirSummary::default()
            };
            Ok(DirEntry { size: entry.size, summary: Some(summary), ..file })
        }
        LocalKind::Symlink | LocalKind::Other => {
            Err(unreadable("it is neither a file nor a folder".into()))
        }
    }
}

/// Uploads the root folder and saves what there is at every interval.
async fn with_checkpoints(
    run: &Arc<Run>,
    request: &UploadRequest<'_>,
    folder: Folder,
) -> Result<DirEntry> {
    let path = folder.path.clone();
    let root = Arc::new(Mutex::new(None));
    let mut upload = upload_folder(run.clone(), folder, None, Some(root.clone()));
    let clock = &run.repo.env().clock;
    loop {
        tokio::select! {
            done = &mut upload => return done.map_err(|error| error.of_root(&path)),
            () = clock.sleep(run.options.checkpoint_interval) => {
                let open: Option<Arc<OpenFolder>> =
                    root.lock().expect("no holder of this lock panics").clone();
                // Both go on: the folders keep filling while their state is written.
                let save = save_checkpoint(run, request, open);
                tokio::pin!(save);
                tokio::select! {
                    done = &mut upload => return done.map_err(|error| error.of_root(&path)),
                    saved = &mut save => saved?,
                }
            }
        }
    }
}

async fn save_checkpoint(
    run: &Arc<Run>,
    request: &UploadRequest<'_>,
    open: Option<Arc<OpenFolder>>,
) -> Result<()> {
    let Some(open) = open else { return Ok(()) };
    let root = checkpoint::checkpoint(run, &open).await?;
    let manifest = SnapshotManifest {
        root_entry: Some(root),
        end_time: crate::now(&run.repo),
        incomplete: "checkpoint".into(),
        ..request.prototype.clone()
    };
    crate::manifests::save(&run.writer, &manifest).await?;
    crate::retention::apply(&run.writer, &manifest.source).await?;
    run.writer.flush().await?;
    run.tell(UploadEvent::Checkpointed);
    Ok(())
}

/// Makes a folder of one file of what comes through `pieces`.
async fn upload_stream(
    run: &Arc<Run>,
    rules: &FolderRules,
    root: String,
    name: String,
    pieces: mpsc::Receiver<Result<Bytes, String>>,
) -> Result<DirEntry> {
    use std::sync::atomic::Ordering::Relaxed;
    run.counters.folders.fetch_add(1, Relaxed);
    run.counters.non_cached_files.fetch_add(1, Relaxed);
    run.tell(UploadEvent::Hashing { path: &name, size: 0 });
    let child = rules.child(&name);
    let style = child.file_style(&name, 0);
    let uploaded = file::upload_pieces(run, pieces, &name, &style).await;
    let (object, size) = uploaded.map_err(|error| error.of_root(Path::new(&name)))?;
    run.tell(UploadEvent::Finished { path: &name });
    // Kopia gives both the mode 0777 and no owner; the folder has the time of Go's zero value, cut to 64 bits.
    let entry = |name: String, kind, mtime| LocalEntry {
        name: name.into(),
        kind,
        mode: 0o777,
        size: 0,
        mtime,
        uid: 0,
        gid: 0,
        device: 0,
    };
    let now = crate::now(&run.repo).unix_nanos();
    let mut builder = DirectoryBuilder::new();
    let file = entry(name, LocalKind::File, now);
    builder.add(DirEntry { size, ..dir_entry(&file, object) });
    let folder = entry(root, LocalKind::Directory, GoTime::ZERO.unix_nanos());
    let directory = builder.build(folder.mtime, run.incomplete());
    let object =
        run.write_directory(".", directory.to_bytes(), rules.metadata_compressor()).await?;
    Ok(DirEntry { summary: Some(directory.summary), ..dir_entry(&folder, object) })
}

impl UploadOptions {
    /// Draws whether an unchanged file is read all the same.
    pub(crate) fn must_hash_again(&self) -> bool {
        if self.force_hash_percent <= 0.0 {
            return false;
        }
        // A hash of the time at hand is chance enough for a sample.
        use std::hash::{BuildHasher, Hasher, RandomState};
        let drawn = RandomState::new().build_hasher().finish() % 1_000_000;
        #[allow(clippy::cast_precision_loss)] // a million steps are exact
        let percent = drawn as f64 / 10_000.0;
        percent < self.force_hash_percent
    }
}
