//! `snapshot delete`.

use clap::Args;
use kopia_format::snapshot::SnapshotManifest;
use kopia_repo::RepositoryWriter;

use crate::{
    cli::{App, app::Access, snapshot},
    exit::Exit,
};

/// Delete snapshots.
#[derive(Debug, Args)]
pub struct Delete {
    /// Snapshot IDs, or root object IDs, which name all snapshots that have them.
    #[arg(required = true)]
    ids: Vec<String>,
    /// The arguments are sources, all of whose snapshots go.
    #[arg(long)]
    all_snapshots_for_source: bool,
    /// Really delete; without it, only say what would be deleted.
    #[arg(long, alias = "unsafe-ignore-source", conflicts_with = "dry_run")]
    delete: bool,
    /// Only say what would be deleted.
    #[arg(short = 'n', long)]
    dry_run: bool,
}

impl Delete {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let access = if self.delete { Access::Write } else { Access::Read };
        let client = app.open(access).await?;
        let repo = &client.repo;
        let doomed = if self.all_snapshots_for_source {
            snapshot::find_by_sources(repo, &self.ids).await?
        } else {
            snapshot::find_by_ids(repo, &self.ids).await?
        };
        if !self.delete {
            for manifest in &doomed {
                let what = describe(app, manifest);
                app.info(format!("Would delete {what} (pass --delete to confirm)"));
            }
            return Ok(Exit::Done);
        }
        let writer = repo.writer()?;
        delete(app, &writer, &doomed).await?;
        app.flush(&writer).await?;
        Ok(Exit::Done)
    }
}

async fn delete(
    app: &App,
    writer: &RepositoryWriter,
    doomed: &[SnapshotManifest],
) -> anyhow::Result<()> {
    for manifest in doomed {
        app.info(format!("Deleting {}...", describe(app, manifest)));
        writer.delete_manifest(&manifest.id).await?;
    }
    Ok(())
}

fn describe(app: &App, manifest: &SnapshotManifest) -> String {
    let when = app.zone.format(manifest.start_time);
    format!("snapshot {} of {} at {when}", manifest.id, manifest.source)
}
