//! One cycle: what is known of the repository while its tasks are planned and done, one after the
//! other.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use blob_core::{BlobId, PutOptions, Timestamp};
use kopia_format::{
    FormatError,
    epoch::{EpochSnapshot, uncompacted_prefix},
    index::{IndexBlob, IndexEntry},
    maintenance::{MaintenanceParameters, MaintenanceRun, MaintenanceSchedule, RunStatistics},
    time::GoTime,
};
use kopia_repo::{EntryFilter, IndexView, Marks, RepoError, Repository, RepositoryLog};
use tokio_util::sync::CancellationToken;

use crate::{
    error::{MaintenanceError, Result},
    event::Events,
    options::Options,
    reach::Reachability,
    safety::{History, REWRITING},
    status,
    task::{Mode, Task},
    tasks::gc,
    usage::PackUses,
};

/// What tasks are planned by and done with.
pub(crate) struct Cycle<'a> {
    pub with: Surroundings<'a>,
    /// When this maintenance began, by the storage's clock.
    pub start: Timestamp,
    pub parameters: MaintenanceParameters,
    pub schedule: MaintenanceSchedule,
    /// The index as this maintenance knows it: what others write meanwhile is for the next one.
    pub view: Arc<IndexView>,
    /// Deletions until then are final.
    pub watermark: Option<i64>,
    /// `None` where the repository has none.
    pub epochs: Option<EpochSnapshot>,
    uses: Option<Arc<PackUses>>,
    assumed: Assumed,
}

/// What a plan takes it that tasks before have written to the index, and when, in seconds since 1970.
#[derive(Debug, Default)]
struct Assumed {
    /// Contents were marked by these.
    collected: Option<(Marks, i64)>,
    /// The contents with manifests became one.
    manifests_merged: Option<i64>,
}

/// Whoever runs a cycle, and what it is run on.
#[derive(Clone, Copy)]
pub(crate) struct Surroundings<'a> {
    pub repo: &'a Repository,
    pub options: &'a Options,
    pub reach: &'a dyn Reachability,
    pub events: &'a dyn Events,
    pub log: &'a RepositoryLog,
    pub stop: &'a CancellationToken,
}

impl<'a> Cycle<'a> {
    /// Looks at the repository as it is now.
    pub(crate) async fn begin(
        with: Surroundings<'a>,
        start: Timestamp,
        status: status::Status,
    ) -> Result<Self> {
        let view = with.repo.index().await?;
        let (watermark, epochs) = (view.watermark(), with.repo.epochs().await?);
        let status::Status { parameters, schedule, .. } = status;
        let (uses, assumed) = (None, Assumed::default());
        Ok(Self { with, start, parameters, schedule, view, watermark, epochs, uses, assumed })
    }

    /// What the index says, deletions too, or would say if what is assumed had been done.
    pub(crate) fn entries(&self) -> impl Iterator<Item = IndexEntry> + '_ {
        static ALL: LazyLock<EntryFilter> = LazyLock::new(EntryFilter::with_deleted);
        let entries: Box<dyn Iterator<Item = IndexEntry> + '_> = match &self.assumed.collected {
            None => Box::new(self.view.iter(&ALL)),
            Some((marks, at)) => Box::new(gc::collected(marks, *at, self)),
        };
        let merged = self.assumed.manifests_merged;
        entries.map(move |entry| match merged {
            Some(at) if entry.id.prefix() == Some(gc::MANIFESTS) && !entry.deleted => {
                let timestamp = at.max(entry.timestamp + 1);
                IndexEntry { deleted: true, timestamp, ..entry }
            }
            _ => entry,
        })
    }

    /// Takes it that a collection by `marks` was done.
    pub(crate) fn assume_collected(&mut self, marks: &Marks) {
        self.assumed.collected = Some((marks.clone(), self.clock_now().secs()));
        self.uses = None;
        self.assume_written();
    }

    /// Takes it that the contents with manifests have become one.
    pub(crate) fn assume_manifests_merged(&mut self) {
        self.assumed.manifests_merged = Some(self.clock_now().secs());
        self.uses = None;
        self.assume_written();
    }

    /// Takes it that an index blob was written now: it shows the storage's clock.
    pub(crate) fn assume_written(&mut self) {
        let timestamp = GoTime::from_unix_nanos(self.clock_now().nanos());
        self.epochs = self.epochs.as_ref().map(|epochs| {
            let id = uncompacted_prefix(epochs.write_epoch()) + "planned";
            epochs.written(IndexBlob { id, length: 0, timestamp })
        });
    }

    /// What the history allows.
    pub(crate) fn history(&self) -> History<'_> {
        History::new(&self.schedule, self.with.options.margins)
    }

    pub(crate) fn clock_now(&self) -> Timestamp {
        self.with.repo.env().clock.now()
    }

    /// The tasks of a cycle of this repository.
    pub(crate) fn tasks(&self, mode: Mode) -> Vec<Task> {
        Task::of_cycle(mode, self.epochs.is_some(), self.history().last_rewrite())
    }

    /// A task has written to the index: it is read again.
    pub(crate) async fn reload(&mut self) -> Result<()> {
        self.with.repo.refresh().await?;
        self.view = self.with.repo.index().await?;
        self.watermark = self.view.watermark();
        self.epochs = self.with.repo.epochs().await?;
        self.uses = None;
        Ok(())
    }

    /// Reads the index again for what others have written meanwhile. What a plan assumes of the
    /// tasks before stays assumed.
    pub(crate) async fn look_again(&mut self) -> Result<()> {
        self.with.repo.refresh().await?;
        let view = self.with.repo.index().await?;
        if !Arc::ptr_eq(&view, &self.view) {
            self.watermark = self.watermark.max(view.watermark());
            self.view = view;
            self.uses = None;
        }
        Ok(())
    }

    /// How much of each pack the index needs. Walks the index, unless nothing has changed since it did.
    pub(crate) fn pack_uses(&mut self) -> Arc<PackUses> {
        if let Some(uses) = &self.uses {
            return Arc::clone(uses);
        }
        let uses = Arc::new(PackUses::of(self.entries(), self.watermark));
        Arc::clone(self.uses.insert(uses))
    }

    /// Takes it that contents deleted until then are gone.
    pub(crate) fn assume_watermark(&mut self, seconds: i64) {
        self.watermark = self.watermark.max(Some(seconds));
        self.epochs = self.epochs.as_ref().map(|epochs| epochs.dropped_until(seconds));
        self.uses = None;
    }

    /// Lets others work, and ends if that was asked for.
    ///
    /// # Errors
    /// [`MaintenanceError::Stopped`].
    pub(crate) async fn pause(&self) -> Result<()> {
        tokio::task::yield_now().await;
        if self.with.stop.is_cancelled() { Err(MaintenanceError::Stopped) } else { Ok(()) }
    }

    /// Notes a run in the history.
    pub(crate) async fn report(&mut self, task: &str, run: MaintenanceRun) -> Result<()> {
        self.schedule = self.noted(task, run).await?;
        Ok(())
    }

    /// The schedule with this run, which is written.
    async fn noted(&self, task: &str, run: MaintenanceRun) -> Result<MaintenanceSchedule> {
        // Somebody may have changed it meanwhile, to pause it.
        let mut schedule = status::schedule(self.with.repo).await?;
        schedule.report(task, run);
        write_schedule(self.with.repo, &schedule).await?;
        Ok(schedule)
    }

    /// Takes it that a task was done now.
    pub(crate) fn assume_run(&mut self, task: Task) {
        let now = GoTime::from_unix_nanos(self.clock_now().nanos());
        self.schedule.report(task.id(), finished(now, now, None));
    }

    /// Notes that contents are moving: others may still read where they were. Not in what this cycle
    /// goes by: it must not hold up its own rewrite.
    pub(crate) async fn note_rewrite(&self) -> Result<()> {
        let now = GoTime::from_unix_nanos(self.clock_now().nanos());
        self.noted(REWRITING, finished(now, now, None)).await?;
        Ok(())
    }
}

/// A span of time for people, in hours or days.
pub(crate) fn span(span: Duration) -> String {
    const HOUR: u64 = 3600;
    match span.as_secs() {
        secs if secs >= 48 * HOUR => format!("{} days", secs / (24 * HOUR)),
        secs if secs >= 2 * HOUR || secs == HOUR => format!("{} h", secs / HOUR),
        secs if secs >= 60 => format!("{} min", secs / 60),
        secs => format!("{secs} s"),
    }
}

/// A run that did what it should.
pub(crate) fn finished(
    start: GoTime,
    end: GoTime,
    statistics: Option<RunStatistics>,
) -> MaintenanceRun {
    let statistics = statistics.into_iter().collect();
    MaintenanceRun { start, end, success: true, error: String::new(), statistics }
}

/// Writes `kopia.maintenance` over. Of two who do so at the same time the last one counts, as in
/// Kopia. The blob is never locked.
pub(crate) async fn write_schedule(
    repo: &Repository,
    schedule: &MaintenanceSchedule,
) -> Result<()> {
    let mut nonce = [0; 12];
    repo.env().entropy.fill(&mut nonce);
    let sealed = schedule.encrypt(&repo.maintenance_key()?, nonce);
    let (id, options) = (status::blob_id()?, PutOptions::default());
    repo.storage().put(&id, sealed.into(), &options).await.map_err(RepoError::from)?;
    Ok(())
}

/// The ID of a blob that was listed.
pub(crate) fn blob_id(name: &str) -> Result<BlobId> {
    BlobId::new(name).map_err(|invalid| {
        RepoError::Format(FormatError::malformed("blob ID", invalid.to_string())).into()
    })
}
