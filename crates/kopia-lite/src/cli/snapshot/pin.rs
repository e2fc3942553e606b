//! `snapshot pin`.

use anyhow::bail;
use clap::Args;
use kopia_snapshot::create;

use crate::{
    cli::{App, app::Access, snapshot},
    exit::Exit,
};

/// Keep snapshots from expiring, or let them expire again.
#[derive(Debug, Args)]
pub struct Pin {
    /// Snapshot IDs, or root object IDs, which name all snapshots that have them.
    #[arg(required = true)]
    ids: Vec<String>,
    /// Pins to add.
    #[arg(long, value_name = "NAME")]
    add: Vec<String>,
    /// Pins to remove.
    #[arg(long, value_name = "NAME")]
    remove: Vec<String>,
    /// Only say what would be done.
    #[arg(short = 'n', long)]
    dry_run: bool,
}

impl Pin {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        if self.add.is_empty() && self.remove.is_empty() {
            bail!("must specify --add and/or --remove");
        }
        let access = if self.dry_run { Access::Read } else { Access::Write };
        let client = app.open(access).await?;
        let named = snapshot::find_by_ids(&client.repo, &self.ids).await?;
        if self.dry_run {
            for mut manifest in named {
                let when = app.zone.format(manifest.start_time);
                let changes = manifest.update_pins(&self.add, &self.remove);
                let what = if changes { "Would update" } else { "No change for" };
                app.info(format!("{what} snapshot at {when} of {}", manifest.source));
            }
            return Ok(Exit::Done);
        }
        let writer = client.repo.writer()?;
        for manifest in named {
            let when = app.zone.format(manifest.start_time);
            let new = create::pin(&writer, &manifest, &self.add, &self.remove).await?;
            let what = if new == manifest.id { "No change for" } else { "Updating" };
            app.info(format!("{what} snapshot at {when} of {}", manifest.source));
        }
        app.flush(&writer).await?;
        Ok(Exit::Done)
    }
}
