//! `thaw`: plan, start, status, wait, list.

mod batch;
mod json;
mod plan;
pub mod show;
mod start;
mod status;
mod wanted;

use clap::Subcommand;

use super::App;
use crate::exit::Exit;

pub use start::tier;
pub use wanted::needed_of;

/// The verbs of `thaw`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Say which packs a restore needs, how long a thaw takes and what it costs.
    Plan(Box<plan::Plan>),
    /// Ask for readable copies of the archived packs that a restore needs.
    Start(Box<start::Start>),
    /// Say how far a thaw is.
    Status(status::Status),
    /// Wait until a thaw is done.
    Wait(status::Wait),
    /// List the thaws that were started with this connection.
    #[command(visible_alias = "ls")]
    List(status::List),
}

impl Command {
    /// May the verb be cut anywhere?
    pub fn only_reads(&self) -> bool {
        !matches!(self, Self::Start(_))
    }

    /// Runs the verb.
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        match self {
            Self::Plan(plan) => plan.run(app).await,
            Self::Start(start) => start.run(app).await,
            Self::Status(status) => status.run(app).await,
            Self::Wait(wait) => wait.run(app).await,
            Self::List(list) => list.run(app),
        }
    }
}
