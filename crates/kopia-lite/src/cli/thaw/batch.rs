//! `thaw start --batch`: the list is handed to S3 Batch Operations.

use clap::Args;
use cold_storage::{Cost, thaw::ThawPlan};

use crate::{cli::App, compose::Client, exit::Exit, ui::json::JsonFlags};

/// A job of S3 Batch Operations.
#[derive(Debug, Clone, Args)]
pub struct BatchFlags {
    /// Hand the list to S3 Batch Operations instead of asking for each pack.
    #[arg(long)]
    pub batch: bool,
}

impl BatchFlags {
    /// Hands the list over.
    pub async fn run(
        &self,
        _app: &App,
        _client: &Client,
        _plan: ThawPlan,
        _cost: Cost,
        _arguments: &[String],
        _json: JsonFlags,
    ) -> anyhow::Result<Exit> {
        anyhow::bail!("not built")
    }
}
