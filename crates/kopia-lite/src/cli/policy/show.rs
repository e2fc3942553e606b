//! `policy show`.

use clap::Args;
use kopia_snapshot::policies;

use super::{Targets, table};
use crate::{
    cli::{App, app::Access},
    exit::Exit,
    ui::{json::JsonFlags, text},
};

/// Show what holds for a source, and where each value comes from.
#[derive(Debug, Args)]
pub struct Show {
    #[command(flatten)]
    targets: Targets,
    #[command(flatten)]
    json: JsonFlags,
}

impl Show {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let client = app.open(Access::Read).await?;
        for target in self.targets.resolve(&client.repo).await? {
            let effective = policies::effective(&client.repo, &target).await?;
            if self.json.json {
                self.json.print(&effective.policy);
            } else {
                text::line(table::render(&target, &effective));
            }
        }
        Ok(Exit::Done)
    }
}
