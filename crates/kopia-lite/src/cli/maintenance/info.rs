//! `maintenance info`. Texts are Kopia's, so that what reads them goes on reading them.

use std::time::Duration;

use clap::Args;
use kopia_format::{
    maintenance::{Cycle, MaintenanceRun, RunStatistics},
    time::{GoTime, duration_text},
};
use kopia_maintenance::{ColdPolicy, Status};
use serde_json::Value;

use super::{
    super::{App, app::Access},
    afterwards,
    statistics::sentence,
    who,
};
use crate::{
    exit::Exit,
    ui::{json::JsonFlags, size, text},
};

/// Say whose task maintenance is, when it is due and what was done.
#[derive(Debug, Args)]
pub struct Info {
    #[command(flatten)]
    json: JsonFlags,
}

impl Info {
    pub(super) async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let client = app.open(Access::Read).await?;
        let status = Status::read(&client.repo).await?;
        if self.json.json {
            let mut value = serde_json::to_value(&status.parameters)?;
            value["schedule"] = serde_json::to_value(&status.schedule)?;
            self.json.print(&value);
            return Ok(Exit::Done);
        }
        let Status { parameters, schedule, .. } = &status;
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
        let cold = ColdPolicy::read(&client.repo).await?;
        if cold != ColdPolicy::default() {
            text::line(format!("Archived packs: {cold}"));
        }
        text::line("Recent Maintenance Runs:");
        for (task, runs) in &schedule.runs {
            text::line(format!("  {task}:"));
            runs.iter().for_each(|run| text::line(format!("    {}", run_line(app, run))));
        }
        if let Some(overdue) = status.overdue(app.now()) {
            app.warn(afterwards::line(app, &overdue, &who(&client.repo)));
        }
        Ok(Exit::Done)
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

pub(super) fn span(duration: Duration) -> String {
    duration_text(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
}

fn run_line(app: &App, run: &MaintenanceRun) -> String {
    let took = run.end.unix_nanos().saturating_sub(run.start.unix_nanos()).max(0);
    let took = duration_text(took / 1_000_000_000 * 1_000_000_000);
    let outcome = match run.success {
        true => "SUCCESS".to_owned(),
        false => format!("ERROR: {}", run.error),
    };
    let said: Vec<String> = run.statistics.iter().filter_map(counted).collect();
    let said = if said.is_empty() { String::new() } else { format!(": {}", said.join(", ")) };
    format!("{} ({took}) {outcome}{said}", app.zone.format(run.start))
}

/// What a run counted: in Kopia's words where they are its numbers, else by their names.
fn counted(statistics: &RunStatistics) -> Option<String> {
    if let Some(sentence) = sentence(statistics) {
        return Some(sentence);
    }
    let data = statistics.data.as_ref()?.as_object()?;
    let numbers = data.iter().filter(|(_, value)| !is_nothing(value));
    let numbers: Vec<_> = numbers.map(|(name, value)| format!("{name} {}", plain(value))).collect();
    (!numbers.is_empty()).then(|| numbers.join(", "))
}

fn is_nothing(value: &Value) -> bool {
    matches!(value, Value::Null | Value::Bool(false)) || value.as_u64() == Some(0)
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
