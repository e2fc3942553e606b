//! `maintenance`: info, set.
//!
//! Texts are Kopia's, so that what reads them goes on reading them.

use std::time::Duration;

use clap::{Args, Subcommand};
use kopia_format::{
    maintenance::{Cycle, MaintenanceRun},
    time::{GoTime, duration_text},
};
use kopia_maintenance::{Change, Changes, Status};
use serde_json::Value;

use super::{App, app::Access, argv::boolean, repository::flags::duration};
use crate::{
    exit::{Exit, Failure},
    ui::{json::JsonFlags, size, text},
};

/// The verbs of `maintenance`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Say whose task maintenance is, when it is due and what was done.
    #[command(visible_alias = "status")]
    Info(Info),
    /// Change whose task it is, how often it is done, and when the next time is.
    Set(Box<Set>),
}

impl Command {
    /// May the verb be cut anywhere?
    pub fn only_reads(&self) -> bool {
        matches!(self, Self::Info(_))
    }

    /// Runs the verb.
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        match self {
            Self::Info(info) => info.run(app).await,
            Self::Set(set) => set.run(app).await,
        }
    }
}

/// Say whose task maintenance is, when it is due and what was done.
#[derive(Debug, Args)]
pub struct Info {
    #[command(flatten)]
    json: JsonFlags,
}

impl Info {
    async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let client = app.open(Access::Read).await?;
        let status = Status::read(&client.repo).await?;
        if self.json.json {
            let mut value = serde_json::to_value(&status.parameters)?;
            value["schedule"] = serde_json::to_value(&status.schedule)?;
            self.json.print(&value);
            return Ok(Exit::Done);
        }
        let Status { parameters, schedule } = &status;
        text::line(format!("Owner: {}", parameters.owner));
        cycle(app, "Quick", &parameters.quick, schedule.next_quick);
        cycle(app, "Full", &parameters.full, schedule.next_full);
        let logs = parameters.log_retention.or_default();
        text::line("Log Retention:");
        text::line(format!("  max count:       {}", logs.max_count));
        text::line(format!("  max age of logs: {}", span(logs.max_age)));
        let most = u64::try_from(logs.max_total_size).unwrap_or(0);
        text::line(format!("  max total size:  {}", size::bytes_base_10(most)));
        let locks = if parameters.extend_object_locks { "enabled" } else { "disabled" };
        text::line(format!("Object Lock Extension: {locks}"));
        if parameters.list_parallelism != 0 {
            text::line(format!("List parallelism: {}", parameters.list_parallelism));
        }
        text::line("Recent Maintenance Runs:");
        for (task, runs) in &schedule.runs {
            text::line(format!("  {task}:"));
            runs.iter().for_each(|run| text::line(format!("    {}", run_line(app, run))));
        }
        if let Some(overdue) = status.overdue(app.now()) {
            app.warn(overdue_line(app, &overdue, &who(&client.repo)));
        }
        Ok(Exit::Done)
    }
}

fn who(repo: &kopia_repo::Repository) -> String {
    format!("{}@{}", repo.username(), repo.hostname())
}

/// Since when nothing was maintained, whose task that is, and how to take it over.
fn overdue_line(app: &App, overdue: &kopia_maintenance::Overdue, who: &str) -> String {
    let kind = if overdue.is_full { "full" } else { "quick" };
    let since = app.zone.format(overdue.since);
    match overdue.owner.as_str() {
        "" => format!(
            "{kind} maintenance is overdue since {since}, and is nobody's task: \
             kopia-lite maintenance set --owner=me"
        ),
        owner if owner == who => {
            format!("{kind} maintenance is overdue since {since}: kopia maintenance run")
        }
        owner => format!(
            "{kind} maintenance is overdue since {since}; it is the task of {owner}. To take it over: \
             kopia-lite maintenance set --owner=me"
        ),
    }
}

fn cycle(app: &App, name: &str, cycle: &Cycle, next: GoTime) {
    text::line(format!("{name} Cycle:"));
    text::line(format!("  scheduled: {}", cycle.enabled));
    if !cycle.enabled {
        return;
    }
    text::line(format!("  interval: {}", span(cycle.interval)));
    let left = next.unix_nanos().saturating_sub(app.now().nanos());
    match next == GoTime::ZERO || left <= 0 {
        true => text::line("  next run: now"),
        false => {
            // Whole seconds, as Kopia cuts them.
            let left = duration_text(left / 1_000_000_000 * 1_000_000_000);
            text::line(format!("  next run: {} (in {left})", app.zone.format(next)));
        }
    }
}

fn span(duration: Duration) -> String {
    duration_text(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
}

fn run_line(app: &App, run: &MaintenanceRun) -> String {
    let took = run.end.unix_nanos().saturating_sub(run.start.unix_nanos()).max(0);
    let took = duration_text(took / 1_000_000_000 * 1_000_000_000);
    let outcome = match run.success {
        true => "SUCCESS".to_owned(),
        false => format!("ERROR: {}", run.error),
    };
    let numbers: Vec<String> = run
        .statistics
        .iter()
        .filter_map(|statistics| statistics.data.as_ref()?.as_object())
        .flat_map(|data| data.iter().filter(|(_, value)| !is_nothing(value)))
        .map(|(name, value)| format!("{name} {}", plain(value)))
        .collect();
    let numbers =
        if numbers.is_empty() { String::new() } else { format!(": {}", numbers.join(", ")) };
    format!("{} ({took}) {outcome}{numbers}", app.zone.format(run.start))
}

fn is_nothing(value: &Value) -> bool {
    matches!(value, Value::Null | Value::Bool(false)) || value.as_u64() == Some(0)
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Change whose task it is, how often it is done, and when the next time is.
#[derive(Debug, Args)]
pub struct Set {
    /// Whose task it is: user@host, or me.
    #[arg(long, value_name = "OWNER")]
    owner: Option<String>,
    /// Do quick maintenance, or not.
    #[arg(long, value_name = "BOOL", value_parser = switch)]
    enable_quick: Option<Switch>,
    /// Do full maintenance, or not.
    #[arg(long, value_name = "BOOL", value_parser = switch)]
    enable_full: Option<Switch>,
    /// How long after the last quick maintenance the next is due.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    quick_interval: Option<Duration>,
    /// How long after the last full maintenance the next is due.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    full_interval: Option<Duration>,
    /// No quick maintenance for so long.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pause_quick: Option<Duration>,
    /// No full maintenance for so long.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pause_full: Option<Duration>,
    /// Extend object locks in full maintenance, or not.
    #[arg(long, value_name = "BOOL", value_parser = switch)]
    extend_object_locks: Option<Switch>,
    /// Listings at once; 0 leaves it to the client.
    #[arg(long, value_name = "N")]
    list_parallelism: Option<u32>,
    /// Keep at most so many logs.
    #[arg(long, value_name = "N")]
    max_retained_log_count: Option<u32>,
    /// Keep logs for so long.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    max_retained_log_age: Option<Duration>,
    /// Keep at most so many MiB of logs.
    #[arg(long, value_name = "MIB")]
    max_retained_log_size_mb: Option<u32>,
}

/// True, false, or not named at all: no flag that is false where it is not named.
#[derive(Debug, Clone, Copy)]
struct Switch(bool);

fn switch(text: &str) -> Result<Switch, String> {
    boolean(text).map(Switch)
}

impl Set {
    async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let client = app.open(Access::Write).await?;
        let now = GoTime::from_unix_nanos(app.now().nanos());
        let all = self.changes(&who(&client.repo));
        if all.is_empty() {
            return Err(Failure::new(Exit::Failed, "no changes specified").into());
        }
        let status = Status::read(&client.repo).await?;
        let changes = Changes::of(&status, now, &all)?;
        all.iter().for_each(|change| app.info(said(app, change, &changes)));
        changes.write(&client.repo).await?;
        let (locks, full) =
            (changes.parameters.extend_object_locks, changes.parameters.full.enabled);
        if locks && !full {
            app.warn(
                "Object Lock extension will not function because Full-Maintenance is disabled",
            );
        }
        Ok(Exit::Done)
    }

    fn changes(&self, who: &str) -> Vec<Change> {
        let owner = self.owner.as_deref().map(|owner| if owner == "me" { who } else { owner });
        let mib = |count: u32| u64::from(count) << 20;
        [
            owner.map(|owner| Change::Owner(owner.to_owned())),
            self.enable_quick.map(|on| Change::EnableQuick(on.0)),
            self.quick_interval.map(Change::QuickInterval),
            self.enable_full.map(|on| Change::EnableFull(on.0)),
            self.full_interval.map(Change::FullInterval),
            self.max_retained_log_count.map(Change::RetainedLogCount),
            self.max_retained_log_age.map(Change::RetainedLogAge),
            self.max_retained_log_size_mb.map(mib).map(Change::RetainedLogBytes),
            self.list_parallelism.map(Change::ListParallelism),
            self.extend_object_locks.map(|on| Change::ExtendObjectLocks(on.0)),
            self.pause_quick.map(Change::PauseQuick),
            self.pause_full.map(Change::PauseFull),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// What a change is said with, in Kopia's words.
fn said(app: &App, change: &Change, changes: &Changes) -> String {
    let on = |on: &bool| if *on { "enabled" } else { "disabled" };
    match change {
        Change::Owner(owner) => format!("Setting maintenance owner to {owner}"),
        Change::EnableQuick(enable) => format!("Periodic quick maintenance {}.", on(enable)),
        Change::EnableFull(enable) => format!("Periodic full maintenance {}.", on(enable)),
        Change::QuickInterval(every) => {
            format!("Interval for quick maintenance set to {}.", span(*every))
        }
        Change::FullInterval(every) => {
            format!("Interval for full maintenance set to {}.", span(*every))
        }
        Change::PauseQuick(_) => {
            let until = app.zone.format(changes.schedule.next_quick);
            format!("Quick maintenance paused until {until}")
        }
        Change::PauseFull(_) => {
            let until = app.zone.format(changes.schedule.next_full);
            format!("Full maintenance paused until {until}")
        }
        Change::ExtendObjectLocks(extend) => {
            format!("Object Lock extension maintenance {}.", on(extend))
        }
        Change::ListParallelism(count) => format!("Setting list parallelism to {count}."),
        Change::RetainedLogCount(count) => format!("Setting max retained log count to {count}."),
        Change::RetainedLogAge(age) => format!("Setting max retained log age to {}.", span(*age)),
        Change::RetainedLogBytes(bytes) => {
            format!("Setting total retained log size to {}.", size::bytes_base_10(*bytes))
        }
        other => format!("{other:?}"),
    }
}
