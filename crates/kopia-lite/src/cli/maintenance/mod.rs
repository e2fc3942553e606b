//! `maintenance`: info, set, plan, run.

mod afterwards;
mod cold;
mod flags;
mod info;
mod plan;
mod run;
mod set;
mod shown;
mod statistics;

pub use afterwards::afterwards;
pub(super) use afterwards::line as overdue_line;
use clap::Subcommand;

use super::App;
use crate::exit::Exit;

/// The verbs of `maintenance`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Say whose task maintenance is, when it is due and what was done.
    #[command(visible_alias = "status")]
    Info(info::Info),
    /// Change whose task it is, how often it is done, and when the next time is.
    Set(Box<set::Set>),
    /// Say what maintenance would do now, what it costs, and why. Writes nothing.
    Plan(Box<plan::Plan>),
    /// Do it.
    Run(Box<run::Run>),
}

impl Command {
    /// May the verb be cut anywhere?
    pub fn only_reads(&self) -> bool {
        matches!(self, Self::Info(_) | Self::Plan(_))
    }

    /// Runs the verb.
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        match self {
            Self::Info(info) => info.run(app).await,
            Self::Set(set) => set.run(app).await,
            Self::Plan(plan) => plan.run(app).await,
            Self::Run(run) => run.run(app).await,
        }
    }
}

/// `user@host` of this connection.
fn who(repo: &kopia_repo::Repository) -> String {
    format!("{}@{}", repo.username(), repo.hostname())
}
