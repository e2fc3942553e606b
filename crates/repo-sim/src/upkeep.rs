//! Maintenance, by whoever owns it and by whoever thinks so.

use std::{
    sync::{Mutex, PoisonError, atomic::Ordering},
    time::Duration,
};

use async_trait::async_trait;
use kopia_maintenance::{
    Change, Changes, Events, Maintenance, MaintenanceError, Mode, Options, Reachability, Report,
    Status, Task, Which,
};
use kopia_repo::{Marks, Repository, RepositoryLog};
use kopia_snapshot::live::{LiveRoot, live_roots, mark_live};
use tokio_util::sync::CancellationToken;

use crate::{
    check,
    machine::{Connection, Machine, full_text},
    plant::Plant,
    world::World,
};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// What snapshots need, as kopia-lite tells it; or with a mistake.
struct Snapshots<'a> {
    repo: &'a Repository,
    plant: Option<Plant>,
    last: &'a Mutex<Vec<LiveRoot>>,
}

#[async_trait]
impl Reachability for Snapshots<'_> {
    async fn mark(
        &self,
        marks: &Marks,
        _events: &dyn Events,
        stop: &CancellationToken,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let mut roots = live_roots(self.repo).await?;
        match self.plant {
            // Always the same, as long as it is there: what is marked once by mistake is found again.
            Some(Plant::SkippedSnapshot) if !roots.is_empty() => _ = roots.remove(0),
            Some(Plant::StaleSnapshots) => {
                let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
                std::mem::swap(&mut *last, &mut roots);
            }
            _ => {}
        }
        mark_live(self.repo, marks, &roots, &|_| {}, stop).await?;
        Ok(())
    }
}

/// The one on a machine who does maintenance.
pub struct Keeper {
    machine: Machine,
    last: Mutex<Vec<LiveRoot>>,
}

/// Makes `host` the owner, with a schedule and few logs.
///
/// # Errors
/// As [`Changes::write`].
pub async fn set_up(repo: &Repository, host: &str) -> kopia_maintenance::Result<()> {
    let changes = [Change::Owner(format!("user@{host}")), Change::RetainedLogCount(12)];
    change(repo, &changes).await
}

async fn change(repo: &Repository, changes: &[Change]) -> kopia_maintenance::Result<()> {
    let status = Status::read(repo).await?;
    let now = kopia_format::time::GoTime::from_unix_nanos(repo.env().clock.now().nanos());
    Changes::of(&status, now, changes)?.write(repo).await
}

impl Keeper {
    /// The one on `machine`.
    pub fn new(machine: Machine) -> Self {
        Self { machine, last: Mutex::default() }
    }

    /// Does what is due, and more, until time is up.
    pub async fn work(mut self) {
        loop {
            self.machine.wait(20 * MINUTE, 9 * HOUR).await;
            if self.machine.world.is_over() {
                return;
            }
            match self.machine.chance.below(24) {
                // Somebody who can't wait.
                0 => {
                    for _ in 0..3 + self.machine.chance.below(8) {
                        self.once(Which::This(Mode::Full)).await;
                        self.machine.wait(2 * MINUTE, 80 * MINUTE).await;
                    }
                }
                1 => self.take_over().await,
                2..=4 => self.once(Which::This(Mode::Full)).await,
                5..=8 => self.once(Which::This(Mode::Quick)).await,
                _ => self.once(Which::Due).await,
            }
        }
    }

    /// Makes this machine the owner, while nobody is at it.
    async fn take_over(&mut self) {
        if self.machine.world.maintaining.load(Ordering::SeqCst) > 0 {
            return;
        }
        let world = self.machine.world.clone();
        world.maintaining.fetch_add(1, Ordering::SeqCst);
        if let Ok(connection) = self.machine.connect(usize::MAX).await {
            let owner = Change::Owner(format!("user@{}", self.machine.host));
            match change(&connection.repo, &[owner]).await {
                Ok(()) => self.machine.note("owns maintenance now"),
                Err(error) => self.machine.excuse("taking over", &error, false),
            }
            world.count("new owners");
        }
        world.maintaining.fetch_sub(1, Ordering::SeqCst);
    }

    /// One cycle.
    async fn once(&mut self, which: Which) {
        let world = self.machine.world.clone();
        // Two at once is what the owner is there to prevent.
        if world.maintaining.fetch_add(1, Ordering::SeqCst) == 0 {
            self.with_clock(which, &world).await;
        }
        world.maintaining.fetch_sub(1, Ordering::SeqCst);
    }

    async fn with_clock(&mut self, which: Which, world: &World) {
        let wrong_by = self.machine.chance.one_in(20).then(|| {
            let by = 6 * 60 + self.machine.chance.below(50 * 60) as i64;
            if self.machine.chance.one_in(2) { by } else { -by }
        });
        match wrong_by {
            Some(by) => self.machine.clock.set_skew(by),
            None => self.machine.set_clock(),
        }
        let connection = match self.machine.connect(7).await {
            Ok(connection) => connection,
            Err((error, doomed)) => {
                self.machine.excuse("opening", &error, doomed);
                self.machine.set_clock();
                return;
            }
        };
        if let Some(by) = wrong_by {
            // Opening may have set it.
            self.machine.clock.set_skew(by);
        }
        let doomed = connection.doomed;
        let run = self.cycle(&connection, which).await;
        self.machine.set_clock();
        match run {
            Ok(report) => {
                if wrong_by.is_some() && report.mode.is_some() {
                    world.fail(self.machine.host, "maintenance was done with a wrong clock");
                }
                self.tell(&report, doomed);
            }
            Err(MaintenanceError::NotOwner { .. }) => {
                world.count("not the owner");
                return;
            }
            // An answer that takes minutes looks no better than a clock that is wrong.
            Err(MaintenanceError::ClockSkew { .. }) => {
                self.machine.note("maintenance refused: the clocks differ");
                world.count(if wrong_by.is_some() { "wrong clock" } else { "late answer" });
            }
            Err(error) => self.machine.excuse("maintenance", &error, doomed),
        }
        check::all(world, self.machine.host).await;
        if !doomed {
            self.machine.keep(connection);
        }
    }

    async fn cycle(
        &mut self,
        connection: &Connection,
        which: Which,
    ) -> kopia_maintenance::Result<Report> {
        let repo = &connection.repo;
        let plant = self.machine.world.plant;
        let log = match self.machine.chance.one_in(2) {
            true => repo.log("sim", 0)?,
            false => RepositoryLog::nowhere(),
        };
        run(repo, plant, &self.last, &log, which).await
    }

    fn tell(&self, report: &Report, doomed: bool) {
        let Some(mode) = report.mode else { return };
        let done: Vec<_> = report.tasks.iter().filter(|task| task.is_due()).collect();
        let names: Vec<_> = done
            .iter()
            .map(|task| match (task.contents, task.deletes.count) {
                (0, 0) => task.task.id().to_owned(),
                (0, blobs) => format!("{} ({blobs} blobs)", task.task),
                (contents, _) => format!("{} ({contents} contents)", task.task),
            })
            .collect();
        self.machine.note(format!("{mode} maintenance: {}", names.join(", ")));
        self.machine.world.count(format!("{mode} maintenance"));
        done.iter().for_each(|task| self.machine.world.count(task.task.id()));
        if done.iter().any(|task| task.task == Task::SnapshotGc && !task.notes.is_empty()) {
            self.machine.world.count("contents needed again");
        }
        for (task, error) in &report.failed {
            if doomed || error.contains("epochs began") {
                self.machine.note(format!("{task} failed: {error}"));
            } else {
                self.machine.world.fail(self.machine.host, format!("{task} failed: {error}"));
            }
        }
    }
}

/// One cycle over `repo`.
async fn run(
    repo: &Repository,
    plant: Option<Plant>,
    last: &Mutex<Vec<LiveRoot>>,
    log: &RepositoryLog,
    which: Which,
) -> kopia_maintenance::Result<Report> {
    let options = Options { margins: Plant::margins(plant), ..Options::default() };
    let reach = Snapshots { repo, plant, last };
    let (events, stop) = (|_: &kopia_maintenance::Event<'_>| {}, CancellationToken::new());
    Maintenance::new(repo, &options, &reach, &events, log, &stop).run(which).await
}

/// A full cycle by `repo`, whoever the owner is and without any mistake.
///
/// # Errors
/// What went wrong, in words.
pub async fn quiet_cycle(repo: &Repository) -> Result<Report, String> {
    let last = Mutex::default();
    let options = Options { force: true, ..Options::default() };
    let reach = Snapshots { repo, plant: None, last: &last };
    let (events, stop) = (|_: &kopia_maintenance::Event<'_>| {}, CancellationToken::new());
    let log = RepositoryLog::nowhere();
    let maintenance = Maintenance::new(repo, &options, &reach, &events, &log, &stop);
    let report = maintenance.run(Which::This(Mode::Full)).await;
    let report = report.map_err(|error| full_text(&error))?;
    match report.failed.first() {
        None => Ok(report),
        Some((task, error)) => Err(format!("{task} failed: {error}")),
    }
}
