//! `maintenance set`. Texts are Kopia's.

use std::time::Duration;

use clap::{Args, ValueEnum};
use kopia_format::time::GoTime;
use kopia_maintenance::{Change, Changes, ColdPolicy, Status};

use super::{
    super::{App, app::Access, argv::boolean, repository::flags::duration},
    who,
};
use crate::{
    exit::{Exit, Failure},
    ui::size,
};

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
    /// What may be done with archived packs: nothing; delete the dead ones when their minimum days
    /// are over; or compact mostly dead ones too, when that is asked for and pays.
    #[arg(long, value_enum, value_name = "POLICY")]
    cold: Option<Cold>,
    /// Only say what would change.
    #[arg(short = 'n', long)]
    dry_run: bool,
}

/// What may be done with archived packs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Cold {
    Keep,
    DeleteDead,
    Compact,
}

impl From<Cold> for ColdPolicy {
    fn from(cold: Cold) -> Self {
        match cold {
            Cold::Keep => Self::Keep,
            Cold::DeleteDead => Self::DeleteDead,
            Cold::Compact => Self::Compact,
        }
    }
}

/// True, false, or not named at all: no flag that is false where it is not named.
#[derive(Debug, Clone, Copy)]
struct Switch(bool);

fn switch(text: &str) -> Result<Switch, String> {
    boolean(text).map(Switch)
}

impl Set {
    pub(super) async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let access = if self.dry_run { Access::Read } else { Access::Write };
        let client = app.open(access).await?;
        let now = GoTime::from_unix_nanos(app.now().nanos());
        let (all, cold) = (self.changes(&who(&client.repo)), self.cold.map(ColdPolicy::from));
        if all.is_empty() && cold.is_none() {
            return Err(Failure::new(Exit::Failed, "no changes specified").into());
        }
        let status = Status::read(&client.repo).await?;
        let changes = Changes::of(&status, now, &all)?;
        changes.check(&client.repo)?;
        if let Some(cold) = cold {
            app.info(format!("Policy for archived packs set to {cold}."));
        }
        all.iter().for_each(|change| app.info(said(app, change, &changes)));
        if self.dry_run {
            app.info("Nothing was changed: this is a dry run.");
            return Ok(Exit::Done);
        }
        if let Some(cold) = cold {
            cold.write(&client.repo).await?;
        }
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
            format!("Interval for quick maintenance set to {}.", super::info::span(*every))
        }
        Change::FullInterval(every) => {
            format!("Interval for full maintenance set to {}.", super::info::span(*every))
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
        Change::RetainedLogAge(age) => {
            format!("Setting max retained log age to {}.", super::info::span(*age))
        }
        Change::RetainedLogBytes(bytes) => {
            format!("Setting total retained log size to {}.", size::bytes_base_10(*bytes))
        }
        other => format!("{other:?}"),
    }
}
