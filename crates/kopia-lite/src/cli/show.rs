//! `show`: the bytes of an object.

use clap::Args;
use futures::StreamExt;
use kopia_format::ObjectId;
use kopia_repo::Repository;
use kopia_snapshot::{SnapshotError, restore::ColdPack, roots::Pick};

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
        refuse_cold(repo, &root.entry.object).await?;
        let object = repo.open_object(&root.entry.object).await?;
        let mut pieces = std::pin::pin!(object.into_stream());
        while let Some(piece) = pieces.next().await {
            text::raw(&piece?);
        }
        Ok(Exit::Done)
    }
}

/// Refuses an object that needs archived packs, before one of them is asked for its bytes.
pub(super) async fn refuse_cold(repo: &Repository, object: &ObjectId) -> anyhow::Result<()> {
    if repo.storage().archive().is_none() {
        return Ok(());
    }
    let found = repo.object_contents(object).await?;
    let contents = found.chunks.iter().map(|chunk| chunk.content);
    let plan = repo.read_plan(contents).await?;
    let packs: Vec<_> = plan
        .cold()
        .map(|pack| ColdPack {
            blob: pack.pack.clone(),
            class: pack.class.clone(),
            size: pack.size,
        })
        .collect();
    match packs.is_empty() {
        true => Ok(()),
        false => Err(SnapshotError::Archived { packs }.into()),
    }
}
