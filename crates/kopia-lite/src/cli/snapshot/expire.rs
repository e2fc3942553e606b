//! `snapshot expire`.

use clap::Args;
use kopia_snapshot::{manifests, retention};

use crate::{
    cli::{App, app::Access, snapshot},
    exit::Exit,
};

/// Delete the snapshots that the policy keeps no longer.
#[derive(Debug, Args)]
pub struct Expire {
    /// Sources.
    paths: Vec<String>,
    /// Every source.
    #[arg(long)]
    all: bool,
    /// Really delete; without it, only say what would be deleted.
    #[arg(long, conflicts_with = "dry_run")]
    delete: bool,
    /// Only say what would be deleted.
    #[arg(short = 'n', long)]
    dry_run: bool,
}

impl Expire {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let access = if self.delete { Access::Write } else { Access::Read };
        let client = app.open(access).await?;
        let repo = &client.repo;
        let mut sources = Vec::new();
        if self.all {
            let all = manifests::find(repo, &[]).await?;
            sources.extend(all.into_iter().map(|manifest| manifest.source));
        } else {
            for path in &self.paths {
                sources.push(snapshot::parse_source(repo, path)?);
            }
        }
        sources.sort_by_key(ToString::to_string);
        sources.dedup();
        let writer = if self.delete { Some(repo.writer()?) } else { None };
        for source in sources {
            let expired = match &writer {
                Some(writer) => retention::apply(writer, &source).await?,
                None => retention::plan(repo, &source).await?,
            };
            let count = expired.len();
            app.info(match (count, self.delete) {
                (0, _) => format!("Nothing to delete for {source}."),
                (_, true) => format!("Deleted {count} snapshots of {source}..."),
                (_, false) => format!(
                    "{count} snapshot(s) of {source} would be deleted. Pass --delete to do it."
                ),
            });
        }
        if let Some(writer) = writer {
            app.flush(&writer).await?;
        }
        Ok(Exit::Done)
    }
}
