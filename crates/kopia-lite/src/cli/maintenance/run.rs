//! `maintenance run`. What it says on stderr is said in Kopia's words.

use clap::Args;
use kopia_maintenance::{Event, Maintenance, MaintenanceError, Mode, Options, Report, Task, Which};
use serde_json::{Value, json};

use super::{
    super::{App, app::Access},
    cold::ThawAndCompact,
    flags::CycleFlags,
    plan::{self, ShownFlags},
    shown,
};
use crate::{
    compose::Client,
    exit::{Exit, Failure},
    jobs::maintenance::Snapshots,
    ui::{
        progress::{Progress, Step},
        size,
    },
};

/// Do maintenance: what was deleted long ago, and whatever nobody needs, goes.
#[derive(Debug, Args)]
pub struct Run {
    #[command(flatten)]
    cycle: CycleFlags,
    /// Say what would be done, and do nothing.
    #[arg(short = 'n', long)]
    dry_run: bool,
    #[command(flatten)]
    thaw: ThawAndCompact,
    #[command(flatten)]
    shown: ShownFlags,
}

impl Run {
    pub(super) async fn run(self, app: &App) -> anyhow::Result<Exit> {
        self.thaw.check(self.cycle.mode())?;
        if self.dry_run {
            if self.thaw.is_on() {
                let client = app.open(Access::Whole).await?;
                let table = self.shown.prices.table()?;
                let options = self.cycle.options(app, &client.repo, &table).await?;
                self.thaw.print(app, &client, &options, &self.shown.prices).await?;
            }
            return plan::print(app, &self.cycle, &self.shown).await;
        }
        let client = app.open(Access::Write).await?;
        let (table, transfer) = (self.shown.prices.table()?, self.shown.prices.transfer());
        let mut options = self.cycle.options(app, &client.repo, &table).await?;
        if self.thaw.is_on() {
            options.compact = self.thaw.prepare(app, &client, &options, &self.shown.prices).await?;
        }
        let report = match run(app, &client, &options, Which::This(self.cycle.mode())).await {
            Ok(report) => report,
            Err(MaintenanceError::Busy { lock }) => {
                let lock = lock.display();
                app.info(format!("maintenance is already in progress locally: {lock} is locked"));
                return Ok(Exit::Done);
            }
            Err(error) => return Err(failure(error)),
        };
        if self.shown.json.json {
            let of = |task| shown::task_json(task, &table, transfer, self.shown.deletions);
            let tasks: Vec<Value> = report.tasks.iter().map(of).collect();
            let failed: Vec<Value> = report
                .failed
                .iter()
                .map(|(task, error)| json!({"task": task, "error": error}))
                .collect();
            let mode = report.mode;
            self.shown.json.print(&json!({"mode": mode, "tasks": tasks, "failed": failed}));
        } else if self.shown.deletions {
            for task in report.tasks.iter().filter(|task| !task.deletions.is_empty()) {
                shown::print_task(task, &table, transfer, true);
            }
        }
        outcome(&report)
    }
}

/// Says what to do where that helps.
pub(super) fn failure(error: MaintenanceError) -> anyhow::Error {
    match error {
        MaintenanceError::NotOwner { owner, who } => {
            let whose = if owner.is_empty() { "nobody" } else { &owner };
            let message = format!(
                "maintenance must be run by designated user: {whose}; this is {who}. To take it over: \
                 kopia-lite maintenance set --owner=me"
            );
            Failure::new(Exit::Failed, message).into()
        }
        MaintenanceError::Format { what: what @ "kopia.maintenance", source } => {
            let message = format!(
                "{what}, the schedule and history of maintenance, can't be read: {source}. Where it is \
                 beyond help delete the blob: maintenance then begins a new history, and nothing else \
                 is lost"
            );
            Failure::new(Exit::Damaged, message).into()
        }
        MaintenanceError::Stopped => Failure::new(Exit::Interrupted, "stopped").into(),
        other => other.into(),
    }
}

/// Failed tasks make the command fail; the others were done.
pub(super) fn outcome(report: &Report) -> anyhow::Result<Exit> {
    let Some((task, error)) = report.failed.first() else { return Ok(Exit::Done) };
    let message = match report.failed.len() {
        1 => format!("maintenance task {task} failed: {error}"),
        more => format!("{more} maintenance tasks failed; {task}: {error}"),
    };
    Err(Failure::new(Exit::Failed, message).into())
}

/// Runs a cycle, and says what happens.
pub(super) async fn run(
    app: &App,
    client: &Client,
    options: &Options,
    which: Which,
) -> kopia_maintenance::Result<Report> {
    let (reach, progress) =
        (Snapshots(&client.repo), Progress::new(app.globals.progress(), "maintenance"));
    let events = |event: &Event<'_>| hear(app, &progress, event);
    let log = app.repository_log(&client.repo, "maintenance");
    let maintenance = Maintenance::new(&client.repo, options, &reach, &events, &log, &app.stop);
    let report = maintenance.run(which).await;
    progress.finish();
    report
}

fn hear(app: &App, progress: &Progress, event: &Event<'_>) {
    match event {
        Event::Begun(mode) => app.info(format!("Running {mode} maintenance...")),
        Event::Ended(mode) => app.info(format!("Finished {mode} maintenance.")),
        Event::Planned(plan) => {
            for note in &plan.notes {
                app.info(note);
            }
            if let Some(line) = begun(plan.task) {
                app.info(line);
            }
        }
        Event::Progress { task, what, done, total } => {
            let line = || format!("{task}: {done} of {total} {what}");
            progress.show(|| Step::of(*done, *total, line()));
        }
        Event::Kept(_, why) | Event::Warned(_, why) => app.warn(why),
        Event::Failed(task, error) => app.warn(format!("{task} failed: {error}")),
        Event::Done(plan, statistics) => {
            let data = statistics.and_then(|statistics| statistics.data.as_ref());
            done(app, plan.task, data);
        }
        _ => {}
    }
}

fn begun(task: Task) -> Option<&'static str> {
    Some(match task {
        Task::CompactEpoch => "Compacting an eligible uncompacted epoch...",
        Task::AdvanceEpoch => "Advancing epoch markers...",
        Task::CompactRange => "Attempting to compact a range of epoch indexes ...",
        Task::CleanupMarkers => "Cleaning up unneeded epoch markers...",
        Task::DeleteSuperseded => {
            "Cleaning up old index blobs which have already been compacted..."
        }
        _ => return None,
    })
}

fn done(app: &App, task: Task, data: Option<&Value>) {
    let number = |key: &str| data.and_then(|data| data[key].as_u64()).unwrap_or(0);
    match task {
        Task::SnapshotGc => {
            for (what, key) in [
                ("found {} unused contents", "unreferencedContent"),
                (
                    "found {} unused contents that are too recent to delete",
                    "unreferencedRecentContent",
                ),
                ("found {} in-use contents", "inUseContent"),
                ("found {} in-use system-contents", "inUseSystemContent"),
                ("undeleted {} contents", "recoveredContent"),
            ] {
                let count = number(&format!("{key}Count"));
                let bytes = size::bytes(number(&format!("{key}Size")));
                app.info(format!("GC {} ({bytes})", what.replace("{}", &count.to_string())));
            }
        }
        Task::CleanupLogs => app.info(format!("Cleaned up {} logs.", number("deletedBlobCount"))),
        Task::DeleteBlobs(_) if number("deletedPackCount") > 0 => {
            let (count, bytes) = (number("deletedPackCount"), number("deletedTotalSize"));
            app.info(format!("Deleted {count} unreferenced blobs ({}).", size::bytes(bytes)));
        }
        Task::RewriteContents(mode) if number("rewrittenContentCount") > 0 => {
            let (count, bytes) = (number("rewrittenContentCount"), number("rewrittenContentSize"));
            let packs = if mode == Mode::Full { "short packs" } else { "short metadata packs" };
            app.info(format!("Rewrote {count} contents of {packs} ({}).", size::bytes(bytes)));
        }
        _ => {}
    }
}
