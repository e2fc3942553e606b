//! Doing what a plan says.

use std::{
    collections::HashMap,
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures::StreamExt;
use kopia_format::{ContentId, ObjectId, compress::decompress};
use kopia_repo::{PackState, ReadPlan, RepoError, Repository};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{
    attributes::{self, Of},
    events::{RestoreEvent, RestoreReport, RestoreSink},
    folders::{self, local},
    ground::Ground,
    options::RestoreOptions,
    place::Placed,
    plan::{PlannedLink, RestorePlan, Target},
    trouble::Trouble,
};
use crate::error::{Result, SnapshotError};

/// What there is of the texts of links: pieces by their offset, by the link's number.
type LinkParts = Mutex<HashMap<usize, Vec<(u64, Bytes)>>>;

/// What the tasks of one restore share.
struct Shared {
    ground: Arc<Ground>,
    options: RestoreOptions,
    files: Vec<Placed>,
    /// Paths of files, then links, for messages.
    paths: Vec<PathBuf>,
    links: Vec<PlannedLink>,
    sink: Arc<dyn RestoreSink>,
    report: Mutex<RestoreReport>,
}

impl RestorePlan {
    /// Restores into `target`.
    ///
    /// # Errors
    /// [`SnapshotError::Archived`] when a pack must be thawed first, [`SnapshotError::Lost`] when a
    /// pack or content does not exist and errors are not to be ignored: in both cases nothing was
    /// written. What the system or the repository says when something can't be written or read, and
    /// [`SnapshotError::Stopped`]: then files that are whole stay, and those that are not are
    /// removed.
    pub async fn run(
        mut self,
        repo: &Repository,
        target: &Path,
        options: &RestoreOptions,
        sink: Arc<dyn RestoreSink>,
        stop: &CancellationToken,
    ) -> Result<RestoreReport> {
        self.check_possible(options.ignore_errors)?;
        if stop.is_cancelled() {
            return Err(SnapshotError::Stopped);
        }
        sink.event(RestoreEvent::Planned { files: self.files.len() as u64, bytes: self.bytes() });
        let unreadable = take_unreadable(&mut self.reads);
        let mut report = RestoreReport {
            skipped: self.skipped.0,
            skipped_bytes: self.skipped.1,
            packs_read: self.reads.packs.len() as u64,
            bytes_read: self.reads.bytes(),
            requests: self.reads.requests(),
            failures: std::mem::take(&mut self.failures),
            ..RestoreReport::default()
        };
        let ground =
            if self.folders.is_empty() { Ground::file(target) } else { Ground::folder(target) };
        let ground = match ground {
            Ok(ground) => Arc::new(ground),
            Err(source) => {
                let failed = Err(local(target, source));
                return folders::note(failed, Path::new(""), options, &mut report).map(|()| report);
            }
        };
        let place = (ground.as_ref(), target);
        let barred = folders::make(place, &self.folders, options, &mut report)?;
        self.retain(|path| !folders::is_below(path, &barred));
        let targets = self.targets();
        let Self { folders, files, links, reads, .. } = self;
        let paths = files.iter().map(|f| &f.path).chain(links.iter().map(|l| &l.path));
        let paths = paths.cloned().collect();
        let placed = files
            .into_iter()
            .map(|file| Placed::new(ground.clone(), file.path, file.entry, file.chunks.len()));
        let shared = Arc::new(Shared {
            ground: ground.clone(),
            options: options.clone(),
            files: placed.collect(),
            paths,
            links,
            sink,
            report: Mutex::new(report),
        });
        shared.make_empty_files()?;
        shared.note_unreadable(&unreadable, &targets)?;
        shared.clone().fetch(repo, &reads, &targets, stop).await?;
        let mut report = shared.report.lock().expect("no holder of this lock panics").clone();
        folders::finish(place, &folders, options, &mut report)?;
        Ok(report)
    }

    /// Fails before anything is written when the plan can't be carried out.
    pub(super) fn check_possible(&self, ignore_errors: bool) -> Result<()> {
        let cold = self.cold();
        if !cold.is_empty() && !ignore_errors {
            return Err(SnapshotError::Archived { packs: cold });
        }
        let (packs, contents) = self.lost();
        let is_whole = packs.is_empty() && contents.is_empty();
        if !is_whole && !ignore_errors {
            return Err(SnapshotError::Lost { packs, contents });
        }
        Ok(())
    }
}

/// A content that can't be read, as is known before anything is fetched.
pub(super) struct Unreadable {
    pub id: ContentId,
    pub trouble: Trouble,
}

/// Takes what can't be read out of `reads`: no request is made for it.
pub(super) fn take_unreadable(reads: &mut ReadPlan) -> Vec<Unreadable> {
    let missing = std::mem::take(&mut reads.missing);
    let unknown = |id| Unreadable {
        id,
        trouble: Trouble::Unreadable(format!("content {id} is in no index"), None),
    };
    let mut all: Vec<_> = missing.into_iter().map(unknown).collect();
    reads.packs.retain(|pack| {
        let name = &pack.pack;
        let error = match pack.state {
            PackState::Ready | PackState::Unknown => return true,
            PackState::Missing => format!("pack {name} does not exist"),
            PackState::Thawing => format!("pack {name} is archived and is being thawed"),
            PackState::Cold => format!("pack {name} is archived"),
        };
        let contents = pack.ranges.iter().flat_map(|range| &range.contents);
        all.extend(contents.map(|content| Unreadable {
            id: content.id,
            trouble: Trouble::Unreadable(error.clone(), Some(name.clone())),
        }));
        false
    });
    all
}

impl Shared {
    /// A file without contents is whole as soon as it exists.
    fn make_empty_files(&self) -> Result<()> {
        for (number, placed) in self.files.iter().enumerate() {
            if placed.has_no_contents() {
                let written = placed.write_empty(&self.options);
                self.settle(number, written.map(|()| true).map_err(Trouble::from))?;
            }
        }
        Ok(())
    }

    /// Fetches every content once and writes it wherever it is wanted. However it ends, nothing is
    /// being written any more and no file is half there.
    async fn fetch(
        self: Arc<Self>,
        repo: &Repository,
        reads: &ReadPlan,
        targets: &HashMap<ContentId, Vec<Target>>,
        stop: &CancellationToken,
    ) -> Result<()> {
        let mut writes = JoinSet::new();
        let mut result = self.write_all(repo, reads, targets, stop, &mut writes).await;
        while let Some(done) = writes.join_next().await {
            result = result.and(done.expect("writing does not panic"));
        }
        if result.is_err() {
            for placed in &self.files {
                placed.give_up();
            }
        }
        result
    }

    async fn write_all(
        self: &Arc<Self>,
        repo: &Repository,
        reads: &ReadPlan,
        targets: &HashMap<ContentId, Vec<Target>>,
        stop: &CancellationToken,
        writes: &mut JoinSet<Result<()>>,
    ) -> Result<()> {
        let parts: Arc<LinkParts> = Arc::default();
        let mut contents = std::pin::pin!(repo.fetch_all(reads));
        loop {
            let (id, content) = tokio::select! {
                () = stop.cancelled() => return Err(SnapshotError::Stopped),
                next = contents.next() => match next { Some(next) => next, None => break },
            };
            while writes.len() >= self.options.parallel.max(1) {
                let done = writes.join_next().await.expect("the set is not empty");
                done.expect("writing does not panic")?;
            }
            let (shared, parts) = (self.clone(), parts.clone());
            let wanted = targets.get(&id).cloned().unwrap_or_default();
            writes.spawn_blocking(move || shared.place(&wanted, content, &parts));
        }
        Ok(())
    }

    fn place(
        &self,
        wanted: &[Target],
        content: Result<Bytes, RepoError>,
        parts: &LinkParts,
    ) -> Result<()> {
        let content = content.map_err(Trouble::from);
        for target in wanted {
            let bytes = content.clone().and_then(|bytes| {
                let damaged = |reason| RepoError::ObjectDamaged { id: self.object(target), reason };
                Ok(unpack(bytes, target).map_err(damaged)?)
            });
            if let Some(placed) = self.files.get(target.item) {
                if placed.is_given_up() {
                    continue;
                }
                let written = bytes.and_then(|bytes| {
                    self.sink.event(RestoreEvent::Written { bytes: bytes.len() as u64 });
                    Ok(placed.write(target.offset, &bytes, &self.options)?)
                });
                self.settle(target.item, written)?;
            } else {
                let link = &self.links[target.item - self.files.len()];
                self.place_link(target, link, bytes, parts)?;
            }
        }
        Ok(())
    }

    /// The object that a target is a part of.
    fn object(&self, target: &Target) -> ObjectId {
        match self.files.get(target.item) {
            Some(placed) => placed.object(),
            None => self.links[target.item - self.files.len()].entry.object,
        }
    }

    /// Collects the pieces of a link's text; makes the link when all are there.
    fn place_link(
        &self,
        target: &Target,
        link: &PlannedLink,
        bytes: Result<Bytes, Trouble>,
        parts: &LinkParts,
    ) -> Result<()> {
        let made = bytes.and_then(|bytes| {
            let mut all = parts.lock().expect("no holder of this lock panics");
            let pieces = all.entry(target.item).or_default();
            pieces.push((target.offset, bytes));
            if pieces.len() < link.chunks.len() {
                return Ok(false);
            }
            pieces.sort_by_key(|(offset, _)| *offset);
            let text: Vec<u8> = pieces.iter().flat_map(|(_, piece)| piece.to_vec()).collect();
            let spot = self.ground.spot(&link.path)?;
            spot.make_link(OsStr::from_bytes(&text))?;
            attributes::set(Of::Spot(&spot), &link.entry, &self.options)?;
            Ok(true)
        });
        self.settle(target.item, made)
    }

    /// Counts an entry that is whole; notes or raises one that failed.
    fn settle(&self, item: usize, result: Result<bool, Trouble>) -> Result<()> {
        let path = &self.paths[item];
        let named = path.to_string_lossy();
        let mut report = self.report.lock().expect("no holder of this lock panics");
        match result {
            Ok(false) => Ok(()),
            Ok(true) => {
                if let Some(placed) = self.files.get(item) {
                    report.files += 1;
                    report.bytes += placed.size();
                    self.sink.event(RestoreEvent::File { path: &named });
                } else {
                    report.links += 1;
                }
                Ok(())
            }
            Err(trouble) => {
                let error = trouble.to_string();
                self.sink.event(RestoreEvent::Failed { path: &named, error: &error });
                if !self.options.ignore_errors {
                    return Err(trouble.raised(path));
                }
                if self.files.get(item).is_none_or(Placed::give_up) {
                    report.failures.push(trouble.noted(path));
                }
                Ok(())
            }
        }
    }

    /// Notes the entries that want contents which can't be read.
    fn note_unreadable(
        &self,
        unreadable: &[Unreadable],
        targets: &HashMap<ContentId, Vec<Target>>,
    ) -> Result<()> {
        for one in unreadable {
            for target in targets.get(&one.id).into_iter().flatten() {
                self.settle(target.item, Err(one.trouble.clone()))?;
            }
        }
        Ok(())
    }
}

/// The bytes of one target: decompressed where the object layer compressed them, and exactly as
/// long as it says.
fn unpack(bytes: Bytes, target: &Target) -> Result<Bytes, String> {
    let plain = if target.compressed {
        let limit = usize::try_from(target.length).map_err(|error| error.to_string())?;
        Bytes::from(decompress(None, &bytes, limit).map_err(|error| error.to_string())?)
    } else {
        bytes
    };
    if plain.len() as u64 != target.length {
        let found = plain.len();
        return Err(format!("a content of {found} bytes stands where {} belong", target.length));
    }
    Ok(plain)
}
