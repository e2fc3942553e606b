//! Doing what a plan says.

use std::{
    path::Path,
    sync::{Arc, Mutex},
};

use futures::FutureExt;
use kopia_repo::{FetchFrom, ReadPlan, Repository};
use tokio_util::sync::CancellationToken;

use super::{
    events::{RestoreEvent, RestoreReport, RestoreSink},
    folders::{self, local},
    ground::Ground,
    options::RestoreOptions,
    plan::RestorePlan,
    stage::Stage,
    window::Window,
    writing::{Building, Writing},
};
use crate::error::{Result, SnapshotError};

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
        sink.event(RestoreEvent::Planned { files: self.files, bytes: self.bytes });
        let report = self.first_report();
        let building = match self.building(target, options, sink, report, None) {
            Ok(building) => building,
            Err(done) => return done,
        };
        let only = self.only.take();
        let mut windows = self.windows(repo, only, options);
        while let Some(window) = windows.next().await? {
            if stop.is_cancelled() {
                return Err(SnapshotError::Stopped);
            }
            self.write(repo, window, &building, stop).await?;
        }
        let report = building.report.lock().expect("no holder of this lock panics").clone();
        Ok(report)
    }

    /// What all windows share; or how the restore ends already, if there is no ground to write on.
    pub(super) fn building(
        &self,
        target: &Path,
        options: &RestoreOptions,
        sink: Arc<dyn RestoreSink>,
        mut report: RestoreReport,
        stage: Option<&Stage>,
    ) -> Result<Arc<Building>, Result<RestoreReport>> {
        let ground = if self.folders == 0 { Ground::file(target) } else { Ground::folder(target) };
        let ground = match ground {
            Ok(ground) => Arc::new(ground),
            Err(source) => {
                let failed = Err(local(target, source));
                let noted = folders::note(failed, Path::new(""), options, &mut report);
                return Err(noted.map(|()| report));
            }
        };
        Ok(Arc::new(Building {
            ground,
            target: target.to_owned(),
            options: options.clone(),
            sink,
            report: Mutex::new(report),
            barred: Mutex::default(),
            postpones: stage.is_some(),
            left: Mutex::default(),
        }))
    }

    /// What is known before anything is done. What the windows find is added by them.
    pub(super) fn first_report(&self) -> RestoreReport {
        let packs_read = self.packs.iter().filter(|pack| pack.why_unread().is_none()).count();
        RestoreReport { packs_read: packs_read as u64, ..RestoreReport::default() }
    }

    /// Writes one window. However it ends, nothing is being written any more and no file is half
    /// there.
    pub(super) async fn write(
        &self,
        repo: &Repository,
        mut window: Window,
        building: &Arc<Building>,
        stop: &CancellationToken,
    ) -> Result<()> {
        let unreadable = window.take_unreadable(&building.barred_packs(self));
        let reads = std::mem::take(&mut window.reads);
        {
            let mut report = building.report.lock().expect("no holder of this lock panics");
            report.add_window(&mut window, &reads);
        }
        let begun = building.clone();
        let writing = off_the_async_threads(move || begun.begin(window, &unreadable)).await?;
        let writing = Arc::new(writing);
        let fetched = self.fetch(repo, &reads, &writing, building, stop).await;
        drop(reads);
        off_the_async_threads(move || match fetched {
            Ok(()) => writing.finish(),
            Err(error) => {
                writing.give_up();
                Err(error)
            }
        })
        .await
    }

    /// Fetches every content of a window once and writes it wherever it is wanted.
    async fn fetch(
        &self,
        repo: &Repository,
        reads: &ReadPlan,
        writing: &Arc<Writing>,
        building: &Building,
        stop: &CancellationToken,
    ) -> Result<()> {
        let take = Arc::clone(writing);
        let take = move |contents: &mut dyn Iterator<Item = _>| take.take(contents);
        // Twice the cores: a thread may wait for the disk.
        let jobs = building.options.parallel.clamp(1, 2 * repo.cpu().threads().max(1));
        let stopped = stop.cancelled().map(|()| SnapshotError::Stopped);
        repo.fetch_each(FetchFrom::Anywhere, reads, jobs, stopped, take).await
    }
}

async fn off_the_async_threads<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.expect("writing does not panic")
}

impl RestoreReport {
    /// Counts what is known of a window before it is written.
    pub(super) fn add_window(&mut self, window: &mut Window, reads: &ReadPlan) {
        self.skipped += window.skipped.0;
        self.skipped_bytes += window.skipped.1;
        self.bytes_read += reads.bytes();
        self.requests += reads.requests();
        self.failures.append(&mut window.failures);
    }
}
