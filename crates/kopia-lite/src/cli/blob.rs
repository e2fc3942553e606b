//! `blob`: list, show, stats.

use clap::{Args, Subcommand};
use futures::TryStreamExt;
use kopia_format::time::GoTime;
use serde_json::json;

use super::{App, app::Access};
use crate::{
    exit::Exit,
    ui::{histogram::Histogram, json::JsonFlags, size, text},
};

/// The verbs of `blob`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List blobs.
    #[command(visible_alias = "ls")]
    List(List),
    /// Write the bytes of blobs to stdout.
    #[command(visible_alias = "cat")]
    Show(Show),
    /// Count blobs and their bytes.
    Stats(Stats),
}

impl Command {
    /// Runs the verb.
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        match self {
            Self::List(list) => list.run(app).await,
            Self::Show(show) => show.run(app).await,
            Self::Stats(stats) => stats.run(app).await,
        }
    }
}

/// List blobs.
#[derive(Debug, Args)]
pub struct List {
    /// Only blobs whose ID begins so.
    #[arg(long, default_value = "")]
    prefix: String,
    /// Leave out blobs whose ID begins so.
    #[arg(long, value_name = "PREFIX")]
    exclude_prefix: Vec<String>,
    /// Only blobs of at least so many bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    min_size: u64,
    /// Only blobs of at most so many bytes; 0 = of any size.
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    max_size: u64,
    /// Only packs, sessions and the like: no indexes, logs or format blobs.
    #[arg(long)]
    data_only: bool,
    #[command(flatten)]
    json: JsonFlags,
}

impl List {
    async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let client = app.open(Access::Read).await?;
        let mut all = client.repo.storage().list(&self.prefix);
        let mut listed = Vec::new();
        while let Some(meta) = all.try_next().await? {
            if !self.includes(meta.id.as_str(), meta.size) {
                continue;
            }
            let time = GoTime::from_unix_nanos(meta.modified.nanos());
            if self.json.json {
                let id = meta.id.as_str();
                listed.push(json!({"id": id, "length": meta.size, "timestamp": time}));
            } else {
                let when = app.zone.format(time);
                text::line(format!("{:<70} {:>10} {when}", meta.id, meta.size));
            }
        }
        if self.json.json {
            self.json.print_list(listed);
        }
        Ok(Exit::Done)
    }

    fn includes(&self, id: &str, size: u64) -> bool {
        let begins = |prefix: &&str| id.starts_with(*prefix);
        let excluded = self.exclude_prefix.iter().map(String::as_str).any(|p| begins(&p));
        let is_data = !["n", "x", "_log_", "kopia."].iter().any(begins);
        !excluded
            && (is_data || !self.data_only)
            && size >= self.min_size
            && (self.max_size == 0 || size <= self.max_size)
    }
}

/// Write the bytes of blobs to stdout.
#[derive(Debug, Args)]
pub struct Show {
    /// Blob IDs.
    #[arg(required = true)]
    ids: Vec<String>,
    /// Decrypt the blob where that is possible: `n`, `m`, `l`, `s`, `x` and `_log_` blobs.
    #[arg(long)]
    decrypt: bool,
}

impl Show {
    async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let client = app.open(Access::Read).await?;
        let ids = self.ids.iter().map(blob_core::BlobId::new).collect::<Result<Vec<_>, _>>()?;
        refuse_cold(client.repo.storage(), &ids).await?;
        for id in &ids {
            let bytes = client.repo.storage().get(id, blob_core::ReadRange::Full).await?;
            let is_sealed = id.as_str().starts_with(['_', 'n', 'm', 'l', 's'])
                || ["xn", "xs", "xr"].iter().any(|prefix| id.starts_with(prefix));
            let plain = match self.decrypt && is_sealed {
                true => client.repo.codec().open_blob(id.as_str(), &bytes)?.into(),
                false => bytes,
            };
            let is_json = id.as_str().starts_with(['m', 'l']);
            let indented = if is_json && self.decrypt {
                let value: serde_json::Value = serde_json::from_slice(&plain)?;
                kopia_format::json::to_vec_indent(&value).into()
            } else {
                plain
            };
            text::raw(&indented);
        }
        Ok(Exit::Done)
    }
}

/// Refuses archived packs before one of them is asked for its bytes.
async fn refuse_cold(
    storage: &blob_core::DynStorage,
    ids: &[blob_core::BlobId],
) -> anyhow::Result<()> {
    let packs = ids.iter().filter(|id| id.starts_with("p")).map(blob_core::BlobId::as_str);
    if storage.archive().is_none() || packs.clone().next().is_none() {
        return Ok(());
    }
    let found = blob_core::look_up(storage, packs, storage.info().concurrency).await?;
    match found.into_values().find(blob_core::BlobMeta::is_cold) {
        None => Ok(()),
        Some(meta) => {
            let state = meta.state.unwrap_or(blob_core::ReadState::Cold);
            Err(blob_core::BlobError::Archived { id: meta.id, class: meta.class, state }.into())
        }
    }
}

/// Count blobs and their bytes.
#[derive(Debug, Args)]
pub struct Stats {
    /// Show plain numbers.
    #[arg(short, long)]
    raw: bool,
    /// Only blobs whose ID begins so.
    #[arg(long, default_value = "")]
    prefix: String,
    #[command(flatten)]
    json: JsonFlags,
}

impl Stats {
    async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let client = app.open(Access::Read).await?;
        let mut histogram = Histogram::default();
        let mut all = client.repo.storage().list(&self.prefix);
        while let Some(meta) = all.try_next().await? {
            histogram.add(meta.size, meta.size);
        }
        let (count, bytes) = (histogram.count, histogram.bytes);
        if self.json.json {
            self.json.print(&json!({"count": count, "bytes": bytes}));
            return Ok(Exit::Done);
        }
        let show = |bytes: u64| if self.raw { bytes.to_string() } else { size::bytes(bytes) };
        text::line(format!("Count: {count}"));
        text::line(format!("Total: {}", show(bytes)));
        if let Some(average) = bytes.checked_div(count) {
            text::line(format!("Average: {}", show(average)));
            text::line(histogram.render(show));
        }
        Ok(Exit::Done)
    }
}
