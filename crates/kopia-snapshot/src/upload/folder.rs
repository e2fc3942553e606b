//! Uploading a folder with all that is below it.
//!
//! A folder's entries are taken in the order of the file system. Files that need work are given to
//! tasks of their own while there are permits, and are read in place when there are none. A folder is
//! gone through before the next one is begun, and ends when its files are done: so what is read at
//! the same time lies together in the tree, and in the packs, however many read at once; and the
//! number of open folders is bounded by the depth of the tree and the parallelism, not by the size of
//! the tree. Small files go together.

use std::{
    future::Future,
    os::unix::ffi::OsStrExt,
    path::PathBuf,
    pin::Pin,
    sync::{Arc, Mutex, atomic::Ordering::Relaxed},
    task::{Context, Poll},
};

use kopia_format::{directory::DirEntry, policy::Actions};
use tokio::{
    sync::oneshot,
    task::{JoinHandle, JoinSet},
};

use super::{
    actions::{self, Begun},
    detail::{self, Details, FOLDER, is_heard},
    events::UploadEvent,
    file::{EntryError, options, upload_file, upload_link},
    open::{OpenFolder, Registry},
    previous::{self, PreviousFolder, folders_below},
    rules::FolderRules,
    run::{Run, dir_entry, join},
    small::{SMALL_BYTES, SmallFile, SmallFiles},
    survey::{Changed, Survey, Surveyed},
};
use crate::{
    error::SnapshotError,
    source::{EntryKind, ListedEntry, LocalEntry, go_error},
};

/// So many unchanged entries are taken over before other tasks get their turn.
const ENTRIES_WITHOUT_PAUSE: usize = 1024;

/// A folder to upload.
pub(crate) struct Folder {
    pub path: PathBuf,
    /// Path below the snapshot's root, with `/`; `.` for the root itself.
    pub relative: String,
    pub entry: LocalEntry,
    pub rules: FolderRules,
    pub previous: Vec<Arc<PreviousFolder>>,
    /// The survey that has come through it, if one has.
    pub surveyed: Option<Arc<Surveyed>>,
}

/// Tells that a folder has been gone through: all that is left to do for it is under way. What goes
/// away without having told, tells.
pub(crate) struct GoneThrough(Mutex<Option<oneshot::Sender<()>>>);

impl GoneThrough {
    fn new() -> (Arc<Self>, oneshot::Receiver<()>) {
        let (sender, receiver) = oneshot::channel();
        (Arc::new(Self(Mutex::new(Some(sender)))), receiver)
    }

    fn tell(&self) {
        drop(self.0.lock().expect("no holder of this lock panics").take());
    }
}

/// Uploads `folder` in a task of its own, which `registry` lists while it runs. Of its own because
/// the depth of a tree must not be the depth of a stack; it ends with whoever waits for it.
pub(crate) fn upload_folder(
    run: Arc<Run>,
    folder: Folder,
    registry: Arc<Registry>,
    gone_through: Option<Arc<GoneThrough>>,
) -> Task<Result<DirEntry, EntryError>> {
    // Without the box the future would be of a type that contains itself.
    let filled: Pin<Box<dyn Future<Output = _> + Send>> = Box::pin(async move {
        let detail = folder.rules.details(&run.options).folder;
        let (begun, relative) = (detail.begin(), is_heard().then(|| folder.relative.clone()));
        let filled = act_and_fill(&run, folder, &registry, gone_through).await;
        if let Some(relative) = relative {
            detail.tell(FOLDER, &relative, filled.as_ref(), begun);
        }
        filled
    });
    Task(tokio::spawn(filled))
}

/// Fills a folder between the actions of its policy.
async fn act_and_fill(
    run: &Arc<Run>,
    mut folder: Folder,
    registry: &Arc<Registry>,
    gone_through: Option<Arc<GoneThrough>>,
) -> Result<DirEntry, EntryError> {
    let begun = match folder.rules.actions() {
        Some(actions) => Some(folder.begin(run, &actions).await?),
        None => None,
    };
    let compressor = folder.rules.metadata_compressor();
    let open = OpenFolder::new(folder.entry.clone(), folder.relative.clone(), compressor);
    let entered = registry.enter_folder(open.clone());
    let filled = fill(run, folder, &open, gone_through).await;
    drop(entered);
    if let Some(begun) = begun {
        begun.end(run).await;
    }
    filled
}

impl Folder {
    /// Runs the action before the folder, and reads the folder that it names instead.
    async fn begin(&mut self, run: &Run, actions: &Actions) -> Result<Begun, EntryError> {
        let source = match self.relative.as_str() {
            "." => run.source.clone(),
            relative => run.source.join(relative),
        };
        let (before, after) = (actions.before_folder.as_ref(), actions.after_folder.as_ref());
        let begun =
            actions::begin(run, ("before-folder", "after-folder"), before, after, &source).await?;
        if let Some(instead) = &begun.instead {
            let named = std::fs::canonicalize(instead).and_then(|path| {
                let entry = LocalEntry::at(&path)?;
                Ok((path, entry))
            });
            let (path, entry) = named.map_err(|error| EntryError::Entry(go_error(&error)))?;
            // Below the root it keeps its name: another would be another folder.
            let name = match self.relative.as_str() {
                "." => entry.name.clone(),
                _ => self.entry.name.clone(),
            };
            (self.path, self.entry, self.surveyed) = (path, LocalEntry { name, ..entry }, None);
        }
        Ok(begun)
    }
}

/// A task that is stopped when nobody waits for it any more.
pub(crate) struct Task<T>(JoinHandle<T>);

impl<T> Future for Task<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let joined = Pin::new(&mut self.0).poll(context);
        joined.map(|joined| joined.expect("a folder's task does not panic"))
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn fill(
    run: &Arc<Run>,
    folder: Folder,
    open: &Arc<OpenFolder>,
    gone_through: Option<Arc<GoneThrough>>,
) -> Result<DirEntry, EntryError> {
    run.counters.folders.fetch_add(1, Relaxed);
    run.tell(UploadEvent::FolderStarted { path: &folder.relative });
    run.look_again().await?;
    let details = folder.rules.details(&run.options);
    let changed = folder.surveyed.as_ref().and_then(|it| it.changed(&folder.path));
    let opened = if let Some(Changed { opened, taken_over, .. }) = changed {
        run.count_taken_over(&folder.relative, &taken_over, &details);
        open.builder(|b| taken_over.into_iter().for_each(|entry| b.add(entry)));
        opened
    } else {
        let (path, relative, rules) = (folder.path.clone(), folder.relative.clone(), folder.rules);
        let device = folder.entry.device;
        let open = move || rules.open(&path, &relative, device);
        let opened = tokio::task::spawn_blocking(open).await;
        opened.expect("listing a folder does not panic").map_err(EntryError::Entry)?
    };
    run.count_excluded(&opened.excluded, &details);
    let state = Arc::new(State {
        run: run.clone(),
        path: folder.path,
        relative: folder.relative,
        rules: opened.rules,
        details,
        previous: folder.previous,
        surveyed: folder.surveyed,
        open: open.clone(),
    });
    let (mut helpers, mut small) = (JoinSet::new(), SmallFiles::default());
    let mut rest = opened.entries.into_iter().peekable();
    while rest.peek().is_some() && !run.is_stopped() {
        let (part, surveyed) = state.survey(&mut rest).await?;
        state.upload_part(part, surveyed.as_ref(), &mut small, &mut helpers).await?;
    }
    if !small.is_empty() {
        state.share(Work::Small(small), &mut helpers).await?;
    }
    // A folder that waits for nothing is ended first, so that no more of them are open than wait.
    joined(&mut helpers)?;
    if let Some(gone_through) = gone_through.filter(|_| !helpers.is_empty()) {
        gone_through.tell();
    }
    while let Some(done) = helpers.join_next().await {
        done.expect("a helper task does not panic")?;
    }
    Ok(run.close_folder(open, &state.previous).await?)
}

/// What the tasks for the entries of one folder share.
struct State {
    run: Arc<Run>,
    path: PathBuf,
    relative: String,
    rules: FolderRules,
    details: Details,
    previous: Vec<Arc<PreviousFolder>>,
    surveyed: Option<Arc<Surveyed>>,
    open: Arc<OpenFolder>,
}

/// What one task does.
enum Work {
    Entry(ListedEntry, Option<Arc<Surveyed>>),
    Small(SmallFiles),
}

type Helpers = JoinSet<Result<(), EntryError>>;

impl State {
    /// Uploads some of the folder's entries, in their order.
    async fn upload_part(
        self: &Arc<Self>,
        part: Vec<ListedEntry>,
        surveyed: Option<&Arc<Surveyed>>,
        small: &mut SmallFiles,
        helpers: &mut Helpers,
    ) -> Result<(), EntryError> {
        for (number, listed) in part.into_iter().enumerate() {
            if self.run.is_stopped() {
                break;
            }
            if number % ENTRIES_WITHOUT_PAUSE == ENTRIES_WITHOUT_PAUSE - 1 {
                tokio::task::yield_now().await;
            }
            let is_same = surveyed.is_some_and(|surveyed| self.take_surveyed(&listed, surveyed));
            if is_same || self.take_unchanged(&listed) {
                continue;
            }
            match self.small_file(listed) {
                Ok(file) => {
                    if small.push(file) {
                        self.share(Work::Small(std::mem::take(small)), helpers).await?;
                    }
                }
                Err(listed) => {
                    let surveyed = surveyed.filter(|_| !self.has_actions(&listed)).cloned();
                    self.share(Work::Entry(listed, surveyed), helpers).await?;
                }
            }
        }
        Ok(())
    }

    /// Goes through a folder; what is left to do for it is done beside.
    async fn go_through(
        self: &Arc<Self>,
        listed: ListedEntry,
        surveyed: Option<Arc<Surveyed>>,
        helpers: &mut Helpers,
    ) {
        let (state, (told, gone_through)) = (self.clone(), GoneThrough::new());
        helpers.spawn(async move { state.upload_entry(listed, surveyed, Some(told)).await });
        // It goes away one way or the other, and what came of it is heard from the task.
        let _ = gone_through.await;
    }

    /// Gives work to a task of its own if there is a permit, does it here if not.
    async fn share(self: &Arc<Self>, work: Work, helpers: &mut Helpers) -> Result<(), EntryError> {
        if let Work::Entry(listed, surveyed) = work {
            if listed.entry.as_ref().is_ok_and(|entry| entry.kind == EntryKind::Directory) {
                self.go_through(listed, surveyed, helpers).await;
                return joined(helpers);
            }
            return self.share_files(Work::Entry(listed, surveyed), helpers).await;
        }
        self.share_files(work, helpers).await
    }

    async fn share_files(
        self: &Arc<Self>,
        work: Work,
        helpers: &mut Helpers,
    ) -> Result<(), EntryError> {
        match self.run.helpers.clone().try_acquire_owned() {
            Ok(permit) => {
                let state = self.clone();
                helpers.spawn(async move {
                    let result = state.perform(work).await;
                    drop(permit);
                    result
                });
            }
            Err(_) => self.perform(work).await?,
        }
        joined(helpers)
    }

    async fn perform(&self, work: Work) -> Result<(), EntryError> {
        match work {
            Work::Entry(listed, surveyed) => self.upload_entry(listed, surveyed, None).await,
            Work::Small(files) => self.upload_small(files).await,
        }
    }

    /// Takes over an entry that an earlier snapshot has as it is now, without reading it.
    fn take_unchanged(&self, listed: &ListedEntry) -> bool {
        let entry = listed.entry.as_ref().ok();
        if entry.is_some_and(|entry| entry.kind == EntryKind::Directory) {
            return false;
        }
        let begun = self.details.cached.begin();
        let known = entry.filter(|entry| entry.kind != EntryKind::Other);
        let object = known.and_then(|entry| self.run.as_it_was(&self.previous, entry));
        let Some((entry, object)) = known.zip(object) else {
            if self.details.missed.tells_missed() {
                self.tell_missed(listed);
            }
            return false;
        };
        let path = join(&self.relative, &entry.name.to_string_lossy());
        self.run.count_cached(&path, entry.size);
        let entry = dir_entry(entry, object);
        self.details.cached.tell("cached", &path, Ok(&entry), begun);
        self.open.builder(|b| b.add(entry));
        true
    }

    /// Tells of an entry that an earlier snapshot has, but not as it is now.
    fn tell_missed(&self, listed: &ListedEntry) {
        let (path, entry) = (join(&self.relative, &listed.name.to_string_lossy()), &listed.entry);
        let name = listed.name.as_bytes();
        detail::tell_missed(&path, &self.previous, name, entry.as_ref().ok());
    }

    /// Takes over a folder that a survey has found to be the same, if it is still there: the folders
    /// before it may have taken hours.
    fn take_surveyed(&self, listed: &ListedEntry, surveyed: &Surveyed) -> bool {
        let same = surveyed.same(&self.path.join(&listed.name));
        let Some(same) = same.filter(|same| self.run.has_object(&same.object)) else {
            return false;
        };
        self.open.builder(|b| b.add(same.clone()));
        true
    }

    /// Are there actions to run in the folder, or in one below? Then it is gone through whatever it was.
    fn has_actions(&self, listed: &ListedEntry) -> bool {
        self.rules.has_actions() && self.rules.child(&listed.name.to_string_lossy()).has_actions()
    }

    /// The next part of the folder's entries, with what a survey of the folders in it has found out.
    async fn survey(
        &self,
        rest: &mut impl Iterator<Item = ListedEntry>,
    ) -> Result<(Vec<ListedEntry>, Option<Arc<Surveyed>>), EntryError> {
        // Whoever wants files read again wants more than a look at them.
        if self.surveyed.is_some() || self.run.options.force_hash_percent > 0.0 {
            return Ok((rest.collect(), self.surveyed.clone()));
        }
        let (mut part, mut survey) = (Vec::new(), Survey::default());
        while !survey.is_full()
            && let Some(listed) = rest.next()
        {
            if let Ok(entry) = &listed.entry
                && entry.kind == EntryKind::Directory
                && !self.has_actions(&listed)
            {
                let place = (self.path.as_path(), self.relative.as_str());
                survey.add(place, &self.rules, &self.previous, entry);
            }
            part.push(listed);
        }
        let surveyed = survey.carry_out(&self.run).await?;
        Ok((part, surveyed.map(Arc::new)))
    }

    /// The entry as a file that is read with others; given back if it is none.
    fn small_file(&self, listed: ListedEntry) -> Result<SmallFile, ListedEntry> {
        let small = |entry: &LocalEntry| entry.kind == EntryKind::File && entry.size <= SMALL_BYTES;
        let entry = match listed.entry {
            Ok(entry) if small(&entry) => entry,
            entry => return Err(ListedEntry { entry, ..listed }),
        };
        let name = listed.name.to_string_lossy();
        let style = self.rules.child(&name).file_style(&name, entry.size);
        if style.parallel_above.is_some_and(|part| entry.size > part) {
            return Err(ListedEntry { entry: Ok(entry), ..listed });
        }
        let relative = join(&self.relative, &name);
        Ok(SmallFile { path: self.path.join(&listed.name), relative, entry, style })
    }

    async fn upload_small(&self, files: SmallFiles) -> Result<(), EntryError> {
        let (run, begun) = (&self.run, self.details.entry.begin());
        // Their bytes, and as many again when they are sealed.
        let grant = run.repo.budget().acquire(2 * files.bytes()).await;
        let (mut whole, mut objects, mut grown) = (Vec::new(), Vec::new(), Vec::new());
        for (file, read) in files.read(&run.read_memory).await {
            if run.is_stopped() {
                return Ok(());
            }
            run.counters.non_cached_files.fetch_add(1, Relaxed);
            match read {
                Ok(Some(bytes)) => {
                    let (path, size) = (&file.relative, file.entry.size);
                    run.tell(UploadEvent::Hashing { path, size });
                    whole.push((file, bytes.len() as u64));
                    let (file, _) = whole.last().expect("just pushed");
                    objects.push((bytes, options(&file.entry, &file.style)));
                }
                Ok(None) => grown.push(file),
                Err(text) => {
                    self.settle_file(&file.relative, Err(EntryError::Entry(text)), begun)?;
                }
            }
        }
        let ids = run.writer.write_objects(objects).await?;
        drop(grant);
        for ((file, size), object) in whole.into_iter().zip(ids) {
            run.count_hashed(size);
            // A file that crosses the limit is not in the snapshot.
            if run.is_stopped() {
                return Ok(());
            }
            run.count_file(size);
            run.tell(UploadEvent::Finished { path: &file.relative });
            let entry = DirEntry { size, ..dir_entry(&file.entry, object) };
            self.settle_file(&file.relative, Ok(entry), begun)?;
        }
        for SmallFile { path, relative, entry, style } in grown {
            let open = &self.open.below;
            let result = upload_file(run, &path, &relative, &entry, &style, open).await;
            self.settle_file(&relative, result, begun)?;
        }
        Ok(())
    }

    /// Adds a file to the folder, or notes why it is missing.
    fn settle_file(
        &self,
        relative: &str,
        result: Result<DirEntry, EntryError>,
        begun: detail::Begun,
    ) -> Result<(), EntryError> {
        self.details.entry.tell("snapshotted file", relative, result.as_ref(), begun);
        self.settle(relative, result, self.rules.ignores_file_errors())
    }

    /// Uploads one entry and adds it, or notes why it is missing. Only what ends the upload is an
    /// error.
    async fn upload_entry(
        &self,
        listed: ListedEntry,
        surveyed: Option<Arc<Surveyed>>,
        gone_through: Option<Arc<GoneThrough>>,
    ) -> Result<(), EntryError> {
        let name = listed.name.to_string_lossy().into_owned();
        let relative = join(&self.relative, &name);
        let path = self.path.join(&listed.name);
        let child = self.rules.child(&name);
        let begun = self.details.entry.begin();
        let entry = match listed.entry {
            Ok(entry) => entry,
            Err(text) => {
                let ignored = if listed.listed_kind == EntryKind::Directory {
                    child.ignores_folder_errors()
                } else {
                    child.ignores_file_errors()
                };
                let result = Err(EntryError::Entry(text));
                self.details.entry.tell("error", &relative, result.as_ref(), begun);
                return self.settle(&relative, result, ignored);
            }
        };
        let (what, result, ignored) = match entry.kind {
            EntryKind::Other if child.ignores_unknown_types() => return Ok(()),
            EntryKind::Other => {
                let text = "unknown or unsupported entry type".to_owned();
                ("unknown entry", Err(EntryError::Entry(text)), false)
            }
            EntryKind::Directory => {
                let ignored = child.ignores_folder_errors();
                let below = (path, relative.as_str(), entry, child);
                // Kept until what came of it is noted. Whoever fills it tells of it.
                let result = self.upload_below(below, surveyed, gone_through.clone()).await;
                return self.settle(&relative, result, ignored);
            }
            EntryKind::Symlink => {
                let compressor = child.metadata_compressor();
                let result = upload_link(&self.run, &path, &relative, &entry, compressor).await;
                ("snapshotted symlink", result, self.rules.ignores_file_errors())
            }
            EntryKind::File => {
                self.run.counters.non_cached_files.fetch_add(1, Relaxed);
                let style = child.file_style(&name, entry.size);
                let open = &self.open.below;
                let result = upload_file(&self.run, &path, &relative, &entry, &style, open).await;
                ("snapshotted file", result, self.rules.ignores_file_errors())
            }
        };
        self.details.entry.tell(what, &relative, result.as_ref(), begun);
        self.settle(&relative, result, ignored)
    }

    /// Adds an entry to the folder, or notes why it is missing.
    fn settle(
        &self,
        relative: &str,
        result: Result<DirEntry, EntryError>,
        ignored: bool,
    ) -> Result<(), EntryError> {
        match result {
            Ok(entry) => self.open.builder(|b| b.add(entry)),
            Err(EntryError::Entry(text)) => {
                self.run.note_failure(&self.open, relative, &text, ignored);
            }
            Err(EntryError::Stopped) => {}
            Err(fatal) => return Err(fatal),
        }
        Ok(())
    }

    async fn upload_below(
        &self,
        (path, relative, entry, rules): (PathBuf, &str, LocalEntry, FolderRules),
        surveyed: Option<Arc<Surveyed>>,
        gone_through: Option<Arc<GoneThrough>>,
    ) -> Result<DirEntry, EntryError> {
        let mut previous = Vec::new();
        for folder in folders_below(&self.previous, entry.name.as_bytes()) {
            let id = folder.object;
            match surveyed.as_ref().and_then(|surveyed| surveyed.previous(&id)) {
                Some(read) => previous.push(read),
                None => previous.extend(previous::load(&self.run, relative, &id).await),
            }
        }
        let relative = relative.to_owned();
        let folder = Folder { path, relative, entry, rules, previous, surveyed };
        upload_folder(self.run.clone(), folder, self.open.below.clone(), gone_through).await
    }
}

/// Hears of the helpers that are done.
fn joined(helpers: &mut Helpers) -> Result<(), EntryError> {
    while let Some(done) = helpers.try_join_next() {
        done.expect("a helper task does not panic")?;
    }
    Ok(())
}

impl EntryError {
    /// The error of a root that could not be read.
    pub(crate) fn of_root(self, path: &std::path::Path) -> SnapshotError {
        match self {
            Self::Entry(reason) => SnapshotError::Source { path: path.to_owned(), reason },
            Self::Stopped => SnapshotError::Stopped,
            Self::Fatal(error) => error,
        }
    }
}
