//! Planning a cycle, and carrying one out.
//!
//! Both go through the tasks in their order. A plan takes it that each was done and goes on from
//! there; a run does it, notes it in the history, and looks again. A task that fails is noted, too,
//! and what depends on it is left out; the others go on.

use std::time::Duration;

use blob_core::{Timestamp, usage::Amount};
use futures::{StreamExt, TryStreamExt, stream};
use kopia_format::{
    maintenance::{MaintenanceRun, RunStatistics},
    time::GoTime,
};
use kopia_repo::{RepoError, Repository, RepositoryLog};
use tokio_util::sync::CancellationToken;

use crate::{
    cycle::{Cycle, Surroundings, finished, write_schedule},
    error::{MaintenanceError, Result},
    event::{Event, Events},
    lock::MaintenanceLock,
    options::Options,
    plan::{Deletion, MaintenancePlan, TaskPlan, Verdict, Work},
    reach::Reachability,
    status::{self, Due, Status},
    task::{Mode, Task},
    tasks::{epochs, gc, legacy, logs, manifests, packs, retention, rewrite},
};

/// By how much the clocks of this machine and the storage may differ. Kopia's value.
const SKEW_MAX: Duration = Duration::from_secs(5 * 60);
/// So many deletions are explained by one blob of the log.
const EXPLAINED: usize = 20_000;
/// Blobs deleted at once.
const DELETING: usize = 16;

/// Maintenance of one repository.
pub struct Maintenance<'a> {
    with: Surroundings<'a>,
}

/// Which cycle is to be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// This one.
    This(Mode),
    /// The one that is due, if any.
    Due,
}

/// What a run did.
#[derive(Debug, Default)]
pub struct Report {
    /// Which cycle was run; `None`: none was due.
    pub mode: Option<Mode>,
    /// What was planned of each task, in their order, and done if it was due.
    pub tasks: Vec<TaskPlan>,
    /// Tasks that failed, and why.
    pub failed: Vec<(Task, String)>,
}

impl Report {
    /// Blobs that were deleted, and their bytes.
    pub fn deleted(&self) -> Amount {
        let mut sum = Amount::default();
        self.tasks.iter().filter(|task| task.is_due()).for_each(|task| sum.add(task.deletes));
        sum
    }
}

impl<'a> Maintenance<'a> {
    /// Maintenance of `repo`. `reach` tells which contents are needed; `log` and `events` hear what
    /// is done.
    pub fn new(
        repo: &'a Repository,
        options: &'a Options,
        reach: &'a dyn Reachability,
        events: &'a dyn Events,
        log: &'a RepositoryLog,
        stop: &'a CancellationToken,
    ) -> Self {
        Self { with: Surroundings { repo, options, reach, events, log, stop } }
    }

    /// What a cycle would do now. Writes nothing; the walk over the snapshots is done.
    ///
    /// A task that can't be worked out is said to fail, with the reason.
    ///
    /// # Errors
    /// What reading may give; [`MaintenanceError::Stopped`].
    pub async fn plan(&self, mode: Mode) -> Result<MaintenancePlan> {
        let repo = self.with.repo;
        repo.refresh().await?;
        refuse_lost(repo).await?;
        let status = Status::read(repo).await?;
        let now = repo.env().clock.now();
        let is_due = match (status.due(now), mode) {
            (Due::Full, _) => true,
            (Due::Quick, mode) => mode == Mode::Quick,
            (Due::Nothing, _) => false,
        };
        let owner = status.parameters.owner.clone();
        let mut cycle = Cycle::begin(self.with, now, status).await?;
        let (mut tasks, mut failed) = (Vec::new(), Vec::new());
        for task in cycle.tasks(mode) {
            let plan = match depends_on(task, &failed) {
                Some(failed) => TaskPlan::not_yet(task, format!("{failed} would fail")),
                None => match plan_task(&mut cycle, task).await {
                    Ok(plan) => plan,
                    Err(MaintenanceError::Stopped) => return Err(MaintenanceError::Stopped),
                    Err(error) => {
                        let why = full_text(&error);
                        let plan = TaskPlan::not_yet(task, format!("it would fail: {why}"));
                        failed.push((task, why));
                        plan
                    }
                },
            };
            self.with.events.hear(&Event::Planned(&plan));
            assume(&mut cycle, &plan);
            tasks.push(plan);
        }
        Ok(MaintenancePlan { mode, owner, is_due, at: now, tasks })
    }

    /// What a rewrite of full maintenance would do now, with the archived packs that it leaves alone
    /// ([`TaskPlan::cold_packs`]). Writes nothing and walks no snapshot.
    ///
    /// # Errors
    /// What reading the index and listing may give.
    pub async fn plan_rewrite(&self) -> Result<TaskPlan> {
        refuse_lost(self.with.repo).await?;
        let status = Status::read(self.with.repo).await?;
        let now = self.with.repo.env().clock.now();
        let mut cycle = Cycle::begin(self.with, now, status).await?;
        rewrite::plan(&mut cycle, Mode::Full).await
    }

    /// Is it the task of this client? Gives its `user@host`.
    ///
    /// # Errors
    /// [`MaintenanceError::NotOwner`], unless [`Options::force`].
    pub fn check_owner(&self, status: &Status) -> Result<String> {
        let who = format!("{}@{}", self.with.repo.username(), self.with.repo.hostname());
        if self.with.options.force || status.is_owned_by(&who) {
            return Ok(who);
        }
        Err(MaintenanceError::NotOwner { owner: status.parameters.owner.clone(), who })
    }

    /// Runs a cycle: the next times are written first, so that a run that dies is not begun again at
    /// once.
    ///
    /// # Errors
    /// [`MaintenanceError::NotOwner`], [`MaintenanceError::Busy`], [`MaintenanceError::ClockSkew`]:
    /// nothing was done. [`MaintenanceError::Stopped`]. A task that fails is in the report.
    pub async fn run(&self, which: Which) -> Result<Report> {
        let Surroundings { repo, options, .. } = self.with;
        if repo.is_read_only() {
            return Err(RepoError::ReadOnly { op: "maintenance" }.into());
        }
        refuse_lost(repo).await?;
        let mut status = Status::read(repo).await?;
        let who = self.check_owner(&status)?;
        let mode = match (which, status.due(repo.env().clock.now())) {
            (Which::This(mode), _) => mode,
            (Which::Due, Due::Full) => Mode::Full,
            (Which::Due, Due::Quick) => Mode::Quick,
            (Which::Due, Due::Nothing) => return Ok(Report::default()),
        };
        let _lock = match &options.lock {
            None => None,
            Some(path) => match MaintenanceLock::take(path) {
                Ok(Some(lock)) => Some(lock),
                Ok(None) => return Err(MaintenanceError::Busy { lock: path.clone() }),
                Err(source) => {
                    return Err(MaintenanceError::Lock { lock: path.clone(), source });
                }
            },
        };
        let start = begin(repo, &mut status, mode).await?;
        repo.refresh().await?;
        self.with.events.hear(&Event::Begun(mode));
        let note = serde_json::json!({ "mode": mode, "start": start.secs(), "who": who });
        self.with.log.append("maintenance begins", &note);
        let cycle = Cycle::begin(self.with, start, status).await?;
        let report = self.run_tasks(cycle, mode).await;
        self.with.log.flush().await?;
        let report = report?;
        self.with.events.hear(&Event::Ended(mode));
        Ok(report)
    }

    async fn run_tasks(&self, mut cycle: Cycle<'_>, mode: Mode) -> Result<Report> {
        let mut report = Report { mode: Some(mode), ..Report::default() };
        for task in cycle.tasks(mode) {
            cycle.pause().await?;
            if let Some(failed) = depends_on(task, &report.failed) {
                let reason = format!("{failed} has failed");
                let plan = TaskPlan::not_yet(task, reason);
                self.with.events.hear(&Event::Planned(&plan));
                report.tasks.push(plan);
                continue;
            }
            let begun = GoTime::from_unix_nanos(cycle.clock_now().nanos());
            match run_task(&mut cycle, task).await {
                Ok((plan, statistics)) => {
                    if is_noted(&plan) {
                        let now = GoTime::from_unix_nanos(cycle.clock_now().nanos());
                        let run = finished(begun, now, statistics.clone());
                        cycle.report(task.id(), run).await?;
                    }
                    self.with.events.hear(&Event::Done(&plan, statistics.as_ref()));
                    report.tasks.push(plan);
                }
                Err(MaintenanceError::Stopped) => return Err(MaintenanceError::Stopped),
                Err(error) => {
                    let text = full_text(&error);
                    self.with.events.hear(&Event::Failed(task, &error));
                    let note = serde_json::json!({ "task": task.id(), "error": text });
                    self.with.log.append("task failed", &note);
                    let end = GoTime::from_unix_nanos(cycle.clock_now().nanos());
                    let run = MaintenanceRun {
                        start: begun,
                        end,
                        success: false,
                        error: text.clone(),
                        statistics: Vec::new(),
                    };
                    cycle.report(task.id(), run).await?;
                    report.failed.push((task, text));
                }
            }
        }
        Ok(report)
    }
}

/// Does the history have a run of this task? A rewrite that moved nothing starts no margin: in Kopia
/// it does, and nothing is deleted before the next cycle.
fn is_noted(plan: &TaskPlan) -> bool {
    match (plan.task, plan.verdict) {
        (_, Verdict::NotYet | Verdict::Off) => false,
        (Task::RewriteContents(_) | Task::MergeManifests, verdict) => verdict == Verdict::Due,
        _ => true,
    }
}

/// The failed task that `task` builds on: nothing becomes final while it is not known what is
/// needed.
fn depends_on(task: Task, failed: &[(Task, String)]) -> Option<Task> {
    let needs = |needed: &[Task]| {
        failed.iter().map(|(task, _)| *task).find(|failed| needed.contains(failed))
    };
    match task {
        Task::DropDeleted => needs(&[Task::SnapshotGc]),
        Task::DeleteBlobs(Mode::Full) => {
            needs(&[Task::SnapshotGc, Task::RewriteContents(Mode::Full), Task::DropDeleted])
        }
        Task::DeleteBlobs(Mode::Quick) => needs(&[Task::RewriteContents(Mode::Quick)]),
        Task::DeleteSuperseded => needs(&[Task::CompactEpoch, Task::CompactRange]),
        _ => None,
    }
}

fn full_text(error: &MaintenanceError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// Writes the next times, and looks what the storage's clock said to that.
async fn begin(repo: &Repository, status: &mut Status, mode: Mode) -> Result<Timestamp> {
    let now = repo.env().clock.now();
    let next = |interval: Duration| GoTime::from_unix_nanos(now.saturating_add(interval).nanos());
    status.schedule.next_quick = next(status.parameters.quick.interval);
    if mode == Mode::Full {
        status.schedule.next_full = next(status.parameters.full.interval);
    }
    write_schedule(repo, &status.schedule).await?;
    let meta = repo.storage().head(&status::blob_id()?).await.map_err(RepoError::from)?;
    let (local, storage) = (repo.env().clock.now(), meta.modified);
    // The storage wrote it between the two: only if both are near is the difference near, however
    // long the answers took.
    let apart = |time: Timestamp| storage.since(time).max(time.since(storage));
    if apart(now).max(apart(local)) > SKEW_MAX {
        return Err(MaintenanceError::ClockSkew {
            storage_name: repo.storage().info().name.clone(),
            local: GoTime::from_unix_nanos(local.nanos()),
            storage: GoTime::from_unix_nanos(storage.nanos()),
        });
    }
    Ok(storage)
}

async fn plan_task(cycle: &mut Cycle<'_>, task: Task) -> Result<TaskPlan> {
    Ok(match task {
        Task::MergeManifests => manifests::plan(cycle),
        Task::SnapshotGc => gc::plan(cycle).await?,
        Task::RewriteContents(mode) => rewrite::plan(cycle, mode).await?,
        Task::DropDeleted => {
            let plan = epochs::plan_drop(cycle);
            match &plan.work {
                Work::Drop(until) if cycle.epochs.is_none() => {
                    legacy::plan_drop(cycle, *until, plan.reason)
                }
                _ => plan,
            }
        }
        Task::DeleteBlobs(mode) => packs::plan(cycle, mode).await?,
        Task::ExtendRetention => retention::plan(cycle).await?,
        Task::CompactIndexes => legacy::plan(cycle),
        Task::CleanupLogs => logs::plan(cycle).await?,
        Task::CompactEpoch
        | Task::AdvanceEpoch
        | Task::CompactRange
        | Task::CleanupMarkers
        | Task::DeleteSuperseded => match &cycle.epochs {
            None => TaskPlan::new(task, Verdict::Off, "the repository has no epochs"),
            Some(epochs) => epochs::plan(cycle, epochs, task)?,
        },
    })
}

async fn run_task(cycle: &mut Cycle<'_>, task: Task) -> Result<(TaskPlan, Option<RunStatistics>)> {
    let plan = plan_task(cycle, task).await?;
    cycle.with.events.hear(&Event::Planned(&plan));
    let statistics = match &plan.work {
        Work::Nothing if task == Task::AdvanceEpoch => epochs::advance(cycle, None).await?,
        Work::Nothing => match task {
            Task::DeleteBlobs(_) if plan.verdict == Verdict::Nothing => Some(packs::deleted(&plan)),
            Task::CleanupLogs => logs::deleted(&plan),
            _ => None,
        },
        Work::Delete => {
            delete(cycle, &plan).await?;
            match task {
                Task::DeleteBlobs(_) => Some(packs::deleted(&plan)),
                Task::CleanupLogs => logs::deleted(&plan),
                _ => {
                    let statistics = epochs::deleted(cycle, &plan);
                    cycle.reload().await?;
                    statistics
                }
            }
        }
        Work::MergeManifests => manifests::run(cycle).await?,
        Work::Collect(collection) => gc::run(cycle, collection).await?,
        Work::Move(moves) if plan.is_due() => rewrite::run(cycle, moves).await?,
        Work::Move(_) => None,
        Work::Drop(until) => epochs::drop_deleted(cycle, *until).await?,
        Work::Extend(extension) => retention::run(cycle, extension).await?,
        Work::Merge(merging) => epochs::merge(cycle, merging).await?,
        Work::Begin(next) => epochs::advance(cycle, Some(*next)).await?,
        Work::CompactLegacy(compaction) => legacy::run(cycle, compaction).await?,
    };
    Ok((plan, statistics))
}

/// Deletes what a plan names. Each deletion and its evidence is in the repository's log, and that in
/// the storage, before the blob goes: none is ever unexplained.
async fn delete(cycle: &Cycle<'_>, plan: &TaskPlan) -> Result<()> {
    let total = plan.deletions.len() as u64;
    let mut done = 0;
    // What was noted before goes first: a log that has no room drops lines, and none of these may be.
    cycle.with.log.flush().await?;
    for together in plan.deletions.chunks(EXPLAINED) {
        for deletion in together {
            cycle.with.log.append("deleting blob", deletion);
        }
        cycle.with.log.flush().await?;
        let all: Vec<_> = together.iter().map(|deletion| delete_one(cycle, deletion)).collect();
        let mut deleting = stream::iter(all).buffer_unordered(DELETING);
        while let Some(deletion) = deleting.try_next().await? {
            done += 1;
            cycle.with.events.hear(&Event::Deleted(plan.task, deletion));
            if done % 100 == 0 {
                let (task, what) = (plan.task, "blobs");
                cycle.with.events.hear(&Event::Progress { task, what, done, total });
                cycle.pause().await?;
            }
        }
    }
    Ok(())
}

async fn delete_one<'d>(cycle: &Cycle<'_>, deletion: &'d Deletion) -> Result<&'d Deletion> {
    cycle.with.repo.storage().delete(&deletion.blob).await.map_err(RepoError::from)?;
    Ok(deletion)
}

/// Goes on as if the plan had been carried out.
fn assume(cycle: &mut Cycle<'_>, plan: &TaskPlan) {
    match &plan.work {
        Work::Collect(collection) if plan.is_due() => cycle.assume_collected(&collection.marks),
        Work::MergeManifests => cycle.assume_manifests_merged(),
        Work::Move(_) if plan.is_due() => cycle.assume_written(),
        Work::Drop(until) => {
            cycle.assume_watermark(until.unix_nanos().div_euclid(1_000_000_000));
        }
        Work::CompactLegacy(_) if plan.task == Task::DropDeleted => {
            if let Some(until) = cycle.history().drops_until(cycle.clock_now()) {
                cycle.assume_watermark(until.unix_nanos().div_euclid(1_000_000_000) - 1);
            }
        }
        Work::Begin(_) => {
            cycle.epochs = cycle.epochs.as_ref().map(kopia_format::epoch::EpochSnapshot::advanced);
        }
        _ => {}
    }
    if is_noted(plan) {
        cycle.assume_run(plan.task);
    }
}
/// Nothing may be deleted while it is not known what all manifests say: what a snapshot needs that
/// can't be read looks like garbage.
async fn refuse_lost(repo: &kopia_repo::Repository) -> Result<()> {
    repo.index().await?.check_whole()?;
    match repo.manifests().lost().await?.into_iter().next() {
        Some(lost) => Err(lost.into()),
        None => Ok(()),
    }
}
