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
    pub repo: &'a Repository,
    pub options: &'a Options,
    pub reach: &'a dyn Reachability,
    pub events: &'a dyn Events,
    pub log: &'a RepositoryLog,
    pub stop: &'a CancellationToken,
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
    uses: Option<PackUses>,
    assumed: Assumed,
}

/// What a plan takes it that tasks before have written to the index.
#[derive(Debug, Default)]
struct Assumed {
    /// Contents were marked by these.
    collected: Option<Marks>,
    /// The contents with manifests became one.
    manifests_merged: bool,
}

/// Whoever runs a cycle.
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
        with: &Surroundings<'a>,
        start: Timestamp,
        status: status::Status,
    ) -> Result<Self> {
        let &Surroundings { repo, options, reach, events, log, stop } = with;
        let view = repo.index().await?;
        let (watermark, epochs) = (view.watermark(), repo.epochs().await?);
        let status::Status { parameters, schedule, .. } = status;
        Ok(Self {
            repo,
            options,
            reach,
            events,
            log,
            stop,
            start,
            parameters,
            schedule,
            view,
            watermark,
            epochs,
            uses: None,
            assumed: Assumed::default(),
        })
    }

    /// What the index says, deletions too, or would say if what is assumed had been done.
    pub(crate) fn entries(&self) -> impl Iterator<Item = IndexEntry> + '_ {
        static ALL: LazyLock<EntryFilter> = LazyLock::new(EntryFilter::with_deleted);
        let entries: Box<dyn Iterator<Item = IndexEntry> + '_> = match &self.assumed.collected {
            None => Box::new(self.view.iter(&ALL)),
            Some(marks) => Box::new(gc::collected(marks, self)),
        };
        let now = self.clock_now().secs();
        entries.map(move |entry| {
            let is_merged = self.assumed.manifests_merged && entry.id.prefix() == Some(b'm');
            if !is_merged || entry.deleted {
                return entry;
            }
            let timestamp = now.max(entry.timestamp + 1);
            IndexEntry { deleted: true, timestamp, ..entry }
        })
    }

    /// Takes it that a collection by `marks` was done.
    pub(crate) fn assume_collected(&mut self, marks: &Marks) {
        self.assumed.collected = Some(marks.clone());
        self.uses = None;
        self.assume_written();
    }

    /// Takes it that the contents with manifests have become one.
    pub(crate) fn assume_manifests_merged(&mut self) {
        self.assumed.manifests_merged = true;
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
        History::new(&self.schedule, self.options.margins)
    }

    pub(crate) fn clock_now(&self) -> Timestamp {
        self.repo.env().clock.now()
    }

    /// The tasks of a cycle of this repository.
    pub(crate) fn tasks(&self, mode: Mode) -> Vec<Task> {
        Task::of_cycle(mode, self.epochs.is_some(), self.history().last_rewrite())
    }

    /// A task has written to the index: it is read again.
    pub(crate) async fn reload(&mut self) -> Result<()> {
        self.repo.refresh().await?;
        self.view = self.repo.index().await?;
        self.watermark = self.view.watermark();
        self.epochs = self.repo.epochs().await?;
        self.uses = None;
        Ok(())
    }

    /// Reads the index again for what others have written meanwhile. What a plan assumes of the
    /// tasks before stays assumed.
    pub(crate) async fn look_again(&mut self) -> Result<()> {
        self.repo.refresh().await?;
        let view = self.repo.index().await?;
        if !Arc::ptr_eq(&view, &self.view) {
            self.watermark = self.watermark.max(view.watermark());
            self.view = view;
            self.uses = None;
        }
        Ok(())
    }

    /// How much of each pack the index needs.
    pub(crate) fn pack_uses(&mut self) -> PackUses {
        self.uses.take().unwrap_or_else(|| PackUses::of_entries(self.entries(), self.watermark))
    }

    /// For the next who asks, while nothing changes.
    pub(crate) fn keep_pack_uses(&mut self, uses: PackUses) {
        self.uses = Some(uses);
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
        if self.stop.is_cancelled() { Err(MaintenanceError::Stopped) } else { Ok(()) }
    }

    /// A span of time for people, in hours or days.
    pub(crate) fn hours(&self, span: Duration) -> String {
        const HOUR: u64 = 3600;
        match span.as_secs() {
            secs if secs >= 48 * HOUR => format!("{} days", secs / (24 * HOUR)),
            secs if secs >= HOUR && secs % HOUR == 0 => format!("{} h", secs / HOUR),
            secs if secs >= 2 * HOUR => format!("{} h", secs / HOUR),
            secs if secs >= 60 => format!("{} min", secs / 60),
            secs => format!("{secs} s"),
        }
    }

    /// Notes a run in the history.
    pub(crate) async fn report(&mut self, task: &str, run: MaintenanceRun) -> Result<()> {
        // Somebody may have changed the schedule meanwhile, to pause it.
        let mut schedule = status::schedule(self.repo).await?;
        schedule.report(task, run);
        write_schedule(self.repo, &schedule).await?;
        self.schedule = schedule;
        Ok(())
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
        let mut schedule = status::schedule(self.repo).await?;
        schedule.report(REWRITING, finished(now, now, None));
        write_schedule(self.repo, &schedule).await
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
