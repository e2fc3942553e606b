//! The flags that say which cycle, and how.

use clap::{Args, ValueEnum};
use cold_storage::PriceTable;
use kopia_maintenance::{MaintenanceLock, Mode, Options, safety::Margins};
use kopia_repo::Repository;

use super::super::App;
use crate::jobs;

/// Which margins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Safety {
    /// Those that are safe while other clients run.
    Full,
    /// None: only while no other client is running.
    None,
}

/// Which cycle, and how.
#[derive(Debug, Clone, Args)]
pub struct CycleFlags {
    /// Full maintenance: what no snapshot needs is collected, packs and index blobs are compacted.
    #[arg(long)]
    full: bool,
    /// Which margins are kept: full, or none, which is safe only while no other client is running.
    #[arg(long, value_enum, value_name = "LEVEL", default_value = "full")]
    safety: Safety,
    /// Do it though it is somebody else's task (unsafe).
    #[arg(long, hide = true)]
    force: bool,
    /// Delete dead archived packs now, though their class bills them on for its minimum days: that
    /// costs the same as keeping them.
    #[arg(long)]
    now: bool,
}

impl CycleFlags {
    /// Which cycle.
    pub fn mode(&self) -> Mode {
        if self.full { Mode::Full } else { Mode::Quick }
    }

    /// How it is done.
    ///
    /// # Errors
    /// The policy for archived packs can't be read.
    pub async fn options(
        &self,
        app: &App,
        repo: &Repository,
        table: &PriceTable,
    ) -> anyhow::Result<Options> {
        let margins = match self.safety {
            Safety::Full => Margins::FULL,
            Safety::None => Margins::NONE,
        };
        let options = jobs::maintenance::options(repo, margins, table).await?;
        let lock = Some(MaintenanceLock::path_of(&app.config_file));
        Ok(Options { force: self.force, dead_now: self.now, lock, ..options })
    }
}
