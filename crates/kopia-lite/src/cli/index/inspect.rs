//! `index inspect`: the entries of index blobs.

use std::collections::HashSet;

use anyhow::bail;
use blob_core::{BlobId, BlobMeta};
use clap::Args;
use futures::{StreamExt, TryStreamExt, stream};
use kopia_format::time::GoTime;
use kopia_repo::RepoError;
use serde_json::json;

use super::all_index_blobs;
use crate::{
    cli::{App, app::Access},
    exit::Exit,
    ui::{json::JsonFlags, text},
};

/// Show the entries of index blobs.
#[derive(Debug, Args)]
pub struct Inspect {
    /// Names of index blobs.
    blobs: Vec<String>,
    /// Of all index blobs, also of those that others have taken the place of.
    #[arg(long)]
    all: bool,
    /// Of all index blobs in use.
    #[arg(long)]
    active: bool,
    /// Only entries of this content.
    #[arg(long, value_name = "ID")]
    content_id: Vec<String>,
    /// Index blobs read at once.
    #[arg(long, value_name = "N", default_value_t = 8)]
    parallel: usize,
    #[command(flatten)]
    json: JsonFlags,
}

impl Inspect {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        if !self.all && !self.active && self.blobs.is_empty() {
            bail!("must pass either --all, --active or provide a list of blob IDs to inspect");
        }
        let client = app.open(Access::Read).await?;
        let repo = &client.repo;
        let blobs: Vec<BlobMeta> = if self.all {
            all_index_blobs(repo).await?
        } else if self.active {
            repo.index_blobs().await?
        } else {
            let ids = self.blobs.iter().map(BlobId::new).collect::<Result<Vec<_>, _>>()?;
            let found = stream::iter(&ids).then(|id| repo.storage().head(id));
            found.try_collect().await?
        };
        let wanted: HashSet<&str> = self.content_id.iter().map(String::as_str).collect();
        let read = |blob: BlobMeta| async move {
            let entries = repo.index_blob_entries(&blob.id).await;
            (blob, entries)
        };
        let mut read = stream::iter(blobs).map(read).buffered(self.parallel.max(1));
        let (mut separator, mut exit) = ("[\n ", Exit::Done);
        while let Some((blob, entries)) = read.next().await {
            let entries = match entries {
                Ok(entries) => entries,
                // The others may be whole.
                Err(error @ RepoError::IndexDamaged { .. }) => {
                    app.warn(error);
                    exit = Exit::Damaged;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let when = GoTime::from_unix_nanos(blob.modified.nanos());
            for entry in entries {
                let id = entry.id.to_string();
                if !wanted.is_empty() && !wanted.contains(id.as_str()) {
                    continue;
                }
                let written =
                    GoTime::from_unix_nanos(entry.timestamp.saturating_mul(1_000_000_000));
                if self.json.json {
                    let value = json!({
                        "indexBlob": blob.id.as_str(), "timestamp": when, "contentID": id,
                        "deleted": entry.deleted, "time": written, "packFile": &*entry.pack,
                        "packOffset": entry.offset, "length": entry.packed_length,
                    });
                    // Printed as they come: there may be millions.
                    text::raw(format!("{separator}{}", self.json.render(&value)).as_bytes());
                    separator = ",\n ";
                    continue;
                }
                text::line(format!(
                    "{} {} {id} {} {} {} {} {}",
                    app.zone.format_precise(when),
                    blob.id,
                    if entry.deleted { "deleted" } else { "created" },
                    app.zone.format_precise(written),
                    entry.pack,
                    entry.offset,
                    entry.packed_length,
                ));
            }
        }
        if self.json.json {
            text::raw(if separator.starts_with('[') { b"[\n]" } else { b"\n]" });
        }
        Ok(exit)
    }
}
