//! `maintenance plan`, which is `maintenance run --dry-run`.

use clap::Args;
use cold_storage::Money;
use kopia_maintenance::{Event, Maintenance, Mode};
use kopia_repo::RepositoryLog;
use serde_json::json;

use super::{
    super::{
        App,
        app::Access,
        prices::{PriceFlags, dollars},
    },
    flags::CycleFlags,
    shown,
};
use crate::{
    exit::Exit,
    jobs::maintenance::Snapshots,
    ui::{
        json::JsonFlags,
        progress::{Progress, Step},
        text,
    },
};

/// Say what maintenance would do now, what it costs, and why. Writes nothing.
#[derive(Debug, Args)]
pub struct Plan {
    #[command(flatten)]
    cycle: CycleFlags,
    #[command(flatten)]
    shown: ShownFlags,
}

/// How a plan is shown.
#[derive(Debug, Clone, Args)]
pub struct ShownFlags {
    /// Name each blob that is to be deleted, why, and what shows that.
    #[arg(long)]
    pub deletions: bool,
    #[command(flatten)]
    pub prices: PriceFlags,
    #[command(flatten)]
    pub json: JsonFlags,
}

impl Plan {
    pub(super) async fn run(self, app: &App) -> anyhow::Result<Exit> {
        print(app, &self.cycle, &self.shown).await
    }
}

/// Works a cycle out, and shows it.
pub(super) async fn print(
    app: &App,
    cycle: &CycleFlags,
    shown_as: &ShownFlags,
) -> anyhow::Result<Exit> {
    let client = app.open(Access::Whole).await?;
    let (table, transfer) = (shown_as.prices.table()?, shown_as.prices.transfer());
    let options = cycle.options(app, &client.repo, &table).await?;
    let (reach, progress) =
        (Snapshots(&client.repo), Progress::new(app.globals.progress(), "plan"));
    let events = |event: &Event<'_>| {
        if let Event::Progress { what, done, total, .. } = event {
            progress.show(|| Step::of(*done, *total, format!("{done} of {total} {what}")));
        }
    };
    let log = RepositoryLog::nowhere();
    let maintenance = Maintenance::new(&client.repo, &options, &reach, &events, &log, &app.stop);
    let plan = maintenance.plan(cycle.mode()).await;
    progress.finish();
    let plan = plan?;
    let total = plan.tasks.iter().filter(|task| task.is_due());
    let total = total.fold(Money::ZERO, |sum, task| sum + shown::cost(task, &table, transfer));
    if shown_as.json.json {
        let tasks: Vec<_> = plan
            .tasks
            .iter()
            .map(|task| shown::task_json(task, &table, transfer, shown_as.deletions))
            .collect();
        shown_as.json.print(&json!({
            "mode": plan.mode,
            "tasks": tasks,
            "owner": plan.owner,
            "due": plan.is_due,
            "totalCost": total,
        }));
        return Ok(Exit::Done);
    }
    let due = if plan.is_due { "due" } else { "not due by the schedule" };
    let owner = if plan.owner.is_empty() { "nobody" } else { &plan.owner };
    let kind = if plan.mode == Mode::Full { "Full" } else { "Quick" };
    text::line(format!("{kind} maintenance, {due}; it is the task of {owner}"));
    for task in &plan.tasks {
        shown::print_task(task, &table, transfer, shown_as.deletions);
    }
    text::line(format!("Requests and reads of all tasks: {}", dollars(total)));
    Ok(Exit::Done)
}
