//! `show`: the bytes of an object.

use clap::Args;
use futures::StreamExt;
use kopia_snapshot::roots::Pick;

use super::{App, app::Access, snapshot};
use crate::{exit::Exit, ui::text};

/// Write the bytes of a file of a snapshot to stdout.
#[derive(Debug, Args)]
pub struct Show {
    /// A snapshot or object ID, with a path behind it.
    object_path: String,
}

impl Show {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let client = app.open(Access::Read).await?;
        let repo = &client.repo;
        let root = snapshot::find_root(repo, &self.object_path, Pick::Latest(0), false).await?;
        let object = repo.open_object(&root.entry.object).await?;
        let mut pieces = std::pin::pin!(object.into_stream());
        while let Some(piece) = pieces.next().await {
            text::raw(&piece?);
        }
        Ok(Exit::Done)
    }
}
