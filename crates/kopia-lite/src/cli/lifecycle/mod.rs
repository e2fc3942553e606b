//! `storage-config lifecycle`: show, diff, install. What rules mean is `cold_storage::lifecycle`'s.

pub(super) mod bucket;
mod install;
mod proposal;
mod show;

use clap::Subcommand;

use super::App;
use crate::exit::Exit;

/// The verbs of `storage-config lifecycle`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the bucket's rules, and what each does to this repository.
    Show(show::Show),
    /// Say what `install` would change.
    Diff(install::Diff),
    /// Make the rule that moves long data packs, and leave all other rules as they are.
    Install(install::Install),
}

impl Command {
    /// May the verb be cut anywhere?
    pub fn only_reads(&self) -> bool {
        !matches!(self, Self::Install(_))
    }

    /// Runs the verb.
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        match self {
            Self::Show(show) => show.run(app).await,
            Self::Diff(diff) => diff.run(app).await,
            Self::Install(install) => install.run(app).await,
        }
    }
}
