//! Turning a local tree into objects of a repository.
//!
//! [`upload`] walks a source, skips what an earlier snapshot has already, writes everything else,
//! and gives the root entry of a snapshot manifest. It saves no manifest, but for the checkpoints
//! of a long upload; that is [`crate::create`].

mod actions;
mod checkpoint;
mod detail;
mod events;
mod file;
mod folder;
mod open;
mod previous;
pub(crate) mod rules;
pub(crate) mod run;
mod small;
mod survey;

use std::{
    future::Future,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use bytes::Bytes;
use kopia_format::{
    directory::{DirEntry, DirSummary, EntryKind},
    snapshot::{SnapshotManifest, SnapshotStats},
    time::GoTime,
};
use kopia_repo::RepositoryWriter;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

pub use actions::Actions;
pub use events::{Silent, UploadEvent, UploadSink};

use crate::{
    error::{Result, SnapshotError},
    policy::tree::PolicyTree,
    source::{EntryKind as LocalKind, LocalEntry, go_error},
};
use file::EntryError;
use folder::{Folder, upload_folder};
use open::OpenFolder;
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
    /// How much is told of folders that are stored, at debug level, whatever the policies say.
    pub log_dir_detail: Option<i64>,
    /// The same of files and links, read or taken from an earlier snapshot.
    pub log_entry_detail: Option<i64>,
    /// Whether the actions of policies are run.
    pub actions: Actions,
}

impl Default for UploadOptions {
    fn default() -> Self {
        Self {
            parallel: 0,
            force_hash_percent: 0.0,
            fail_fast: false,
            upload_limit: None,
            checkpoint_interval: CHECKPOINT_INTERVAL_MAX,
            log_dir_detail: None,
            log_entry_detail: None,
            actions: Actions::default(),
        }
    }
}

/// Where the bytes of a snapshot come from.
#[derive(Debug)]
pub enum UploadSource<'a> {
    /// A file or folder of this machine.
    Local(&'a Path),
    /// A stream that becomes the file `name` in a folder that does not exist otherwise
    /// (`--stdin-file`).
    Stream {
        /// The name of the root: the path of the source as a rule.
        root: String,
        /// The file's name.
        name: String,
        /// The bytes, and an empty piece at their end; an error ends the upload of the file.
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
/// [`SnapshotError::Source`] when the root itself can't be read; what the repository says when it
/// can't be written. An entry below the root that can't be read is no error: it is in the root's
/// summary.
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
        open: Arc::default(),
        checkpoints: 0.into(),
        read_memory: Arc::default(),
        source: match &source {
            UploadSource::Local(path) => std::fs::canonicalize(path)
                .ok()
                .filter(|_| path.is_symlink())
                .unwrap_or_else(|| path.to_path_buf()),
            UploadSource::Stream { .. } => PathBuf::new(),
        },
        owed: actions::Owed::default(),
    });
    let rules = FolderRules::root(request.policy.clone())?;
    let root = match source {
        UploadSource::Stream { root, name, pieces } => {
            upload_stream(&run, &request, &rules, (root, name), pieces).await?
        }
        UploadSource::Local(path) => {
            let root = upload_local(&run, &request, rules, path).await;
            run.owed.settle(&run).await;
            root?
        }
    };
    Ok(Uploaded { root, stats: run.stats(), incomplete: run.incomplete().to_owned() })
}

async fn upload_local(
    run: &Arc<Run>,
    request: &UploadRequest<'_>,
    rules: FolderRules,
    path: &Path,
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
                    previous.extend(previous::load(run, ".", &root.object).await);
                }
            }
            let actions = &request.policy.effective().actions;
            let names = ("before-snapshot-root", "after-snapshot-root");
            let (before, after) =
                (actions.before_snapshot_root.as_ref(), actions.after_snapshot_root.as_ref());
            let begun = actions::begin(run, names, before, after, &path).await;
            let begun = begun.map_err(|error| error.of_root(&path))?;
            if let Some(instead) = &begun.instead {
                path = std::fs::canonicalize(instead).map_err(|e| unreadable(go_error(&e)))?;
                entry = stat(&path)?;
            }
            let folder = Folder {
                path: path.clone(),
                relative: ".".into(),
                entry,
                rules,
                previous,
                surveyed: None,
            };
            let upload = upload_folder(run.clone(), folder, run.open.clone(), None);
            let root = with_checkpoints(run, request, upload).await?;
            begun.end(run).await;
            root.map_err(|error| error.of_root(&path))
        }
        LocalKind::File => {
            let name = entry.name.to_string_lossy().into_owned();
            let style = rules.file_style(&name, entry.size);
            let upload = file::upload_file(run, &path, &name, &entry, &style, &run.open);
            let uploaded = with_checkpoints(run, request, upload).await?;
            let file = uploaded.map_err(|error| error.of_root(&path))?;
            let summary = DirSummary {
                files: 1,
                size: file.size,
                max_time: file.mtime,
                ..DirSummary::default()
            };
            Ok(DirEntry { size: entry.size, summary: Some(summary), ..file })
        }
        LocalKind::Symlink | LocalKind::Other => {
            Err(unreadable("it is neither a file nor a folder".into()))
        }
    }
}

/// Waits for `upload` and saves what there is at every interval. Both go on at the same time:
/// folders keep filling while their state is written.
///
/// The timer is tokio's and not the environment's clock: one that stands in a test ends every sleep
/// at once, and would save checkpoints as fast as it can.
async fn with_checkpoints<T>(
    run: &Arc<Run>,
    request: &UploadRequest<'_>,
    upload: impl Future<Output = T>,
) -> Result<T> {
    let mut upload = std::pin::pin!(upload);
    let interval = run.options.checkpoint_interval.min(CHECKPOINT_INTERVAL_MAX);
    loop {
        tokio::select! {
            done = &mut upload => return Ok(done),
            () = tokio::time::sleep(interval) => {}
        }
        let mut save = std::pin::pin!(checkpoint::save(run, request));
        tokio::select! {
            done = &mut upload => {
                // A flush is not to be left half-way.
                save.await?;
                return Ok(done);
            }
            saved = &mut save => saved?,
        }
    }
}

/// Makes a folder of one file of what comes through `pieces`.
async fn upload_stream(
    run: &Arc<Run>,
    request: &UploadRequest<'_>,
    rules: &FolderRules,
    (root, name): (String, String),
    pieces: mpsc::Receiver<Result<Bytes, String>>,
) -> Result<DirEntry> {
    use std::sync::atomic::Ordering::Relaxed;
    let details = rules.details(&run.options);
    let (folder_begun, begun) = (details.folder.begin(), details.entry.begin());
    run.counters.folders.fetch_add(1, Relaxed);
    run.counters.non_cached_files.fetch_add(1, Relaxed);
    run.tell(UploadEvent::Hashing { path: &name, size: 0 });
    // Kopia gives both the mode 0777 and no owner; the folder has the time of Go's zero value, cut
    // to 64 bits.
    let entry = |name: &str, kind, mtime| LocalEntry {
        name: name.into(),
        kind,
        mode: 0o777,
        size: 0,
        mtime,
        uid: 0,
        gid: 0,
        device: 0,
    };
    let file = entry(&name, LocalKind::File, crate::now(&run.repo).unix_nanos());
    let folder = entry(&root, LocalKind::Directory, GoTime::ZERO.unix_nanos());
    let open = OpenFolder::new(folder, ".".into(), rules.metadata_compressor());
    let _entered = run.open.enter_folder(open.clone());
    let style = rules.child(&name).file_style(&name, 0);
    let upload = file::upload_pieces(run, pieces, &file, &style, &open.below);
    let uploaded = with_checkpoints(run, request, upload).await?;
    let uploaded = uploaded.map(|(object, size)| DirEntry { size, ..dir_entry(&file, object) });
    details.entry.tell("snapshotted streaming file", &name, uploaded.as_ref(), begun);
    match uploaded {
        Ok(file) => open.builder(|b| b.add(file)),
        Err(EntryError::Entry(text)) => {
            run.note_failure(&open, &name, &text, rules.ignores_file_errors());
        }
        Err(EntryError::Stopped) => {}
        Err(EntryError::Fatal(error)) => return Err(error),
    }
    run.tell(UploadEvent::Finished { path: &name });
    let root = run.close_folder(&open, &[]).await?;
    details.folder.tell(detail::FOLDER, ".", Ok(&root), folder_begun);
    Ok(root)
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
