//! `index`: list, inspect, epoch list, recover.

mod epoch;
mod inspect;
mod recover;

use blob_core::BlobMeta;
use clap::{Args, Subcommand, ValueEnum};
use futures::TryStreamExt;
use kopia_format::time::GoTime;
use kopia_repo::Repository;
use serde_json::{Value, json};

use crate::cli::{App, app::Access};
use crate::{
    exit::Exit,
    ui::{json::JsonFlags, text},
};

/// The verbs of `index`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the index blobs in use.
    #[command(visible_alias = "ls")]
    List(List),
    /// Show the entries of index blobs.
    Inspect(inspect::Inspect),
    /// Epochs of the index.
    #[command(subcommand)]
    Epoch(epoch::Command),
    /// Recover the index from packs.
    Recover(recover::Recover),
}

impl Command {
    /// May the verb be cut anywhere?
    pub fn only_reads(&self) -> bool {
        match self {
            Self::Recover(recover) => recover.only_reads(),
            _ => true,
        }
    }

    /// Runs the verb.
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        match self {
            Self::List(list) => list.run(app).await,
            Self::Inspect(inspect) => inspect.run(app).await,
            Self::Epoch(epoch) => epoch.run(app).await,
            Self::Recover(recover) => recover.run(app).await,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Sort {
    Time,
    Size,
    Name,
}

/// List the index blobs in use.
#[derive(Debug, Args)]
pub struct List {
    /// Show how many there are.
    #[arg(long)]
    summary: bool,
    /// Show index blobs that others have taken the place of, too.
    #[arg(long)]
    superseded: bool,
    /// Order of the list.
    #[arg(long, value_enum, default_value = "time")]
    sort: Sort,
    #[command(flatten)]
    json: JsonFlags,
}

/// Every index blob, in use or not.
async fn all_index_blobs(repo: &Repository) -> anyhow::Result<Vec<BlobMeta>> {
    let prefixes: &[&str] =
        if repo.format().epochs_enabled() { &["xn", "xs", "xr"] } else { &["n"] };
    let mut found = Vec::new();
    for prefix in prefixes {
        found.extend(repo.storage().list(prefix).try_collect::<Vec<_>>().await?);
    }
    Ok(found)
}

impl List {
    async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let client = app.open(Access::Read).await?;
        let mut blobs = if self.superseded {
            all_index_blobs(&client.repo).await?
        } else {
            client.repo.index_blobs().await?
        };
        match self.sort {
            Sort::Time => blobs.sort_by_key(|blob| blob.modified),
            Sort::Size => blobs.sort_by_key(|blob| blob.size),
            Sort::Name => blobs.sort_by(|a, b| a.id.cmp(&b.id)),
        }
        let time = |blob: &BlobMeta| GoTime::from_unix_nanos(blob.modified.nanos());
        if self.json.json {
            self.json.print_list(blobs.iter().map(|blob| {
                json!({
                    "id": blob.id.as_str(), "length": blob.size, "timestamp": time(blob),
                    "Superseded": Value::Null,
                })
            }));
            return Ok(Exit::Done);
        }
        for blob in &blobs {
            let when = app.zone.format_precise(time(blob));
            text::line(format!("{:<60} {:>10} {when} []", blob.id, blob.size));
        }
        if self.summary {
            text::line(format!("total {} indexes", blobs.len()));
        }
        Ok(Exit::Done)
    }
}
