//! `blob`: list, show, stats, delete.

mod groups;

use anyhow::Context;
use blob_core::{BlobMeta, Clock, ReadState, StorageClass, SystemClock};
use clap::{Args, Subcommand};
use futures::TryStreamExt;
use groups::{By, Groups};
use kopia_format::time::GoTime;
use serde_json::{Value, json};

use super::{App, app::Access, prices::TableFlag};
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
    /// Delete blobs, whatever needs them.
    #[command(visible_aliases = ["rm", "remove"])]
    Delete(Delete),
}

impl Command {
    /// May the verb be cut anywhere?
    pub fn only_reads(&self) -> bool {
        !matches!(self, Self::Delete(_))
    }

    /// Runs the verb.
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        match self {
            Self::List(list) => list.run(app).await,
            Self::Show(show) => show.run(app).await,
            Self::Stats(stats) => stats.run(app).await,
            Self::Delete(delete) => delete.run(app).await,
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
    /// Only blobs of these storage classes.
    #[arg(long, value_name = "CLASS", value_delimiter = ',')]
    storage_class: Vec<String>,
    /// Only blobs that can't be read now: archived, whether or not a thaw runs.
    #[arg(long)]
    archived: bool,
    #[command(flatten)]
    json: JsonFlags,
}

impl List {
    async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let client = app.open(Access::Read).await?;
        let mut all = client.repo.storage().list(&self.prefix);
        let mut listed = Vec::new();
        while let Some(meta) = all.try_next().await? {
            if !self.includes(meta.id.as_str(), meta.size) || !self.includes_class(&meta) {
                continue;
            }
            let time = GoTime::from_unix_nanos(meta.modified.nanos());
            if self.json.json {
                let id = meta.id.as_str();
                let mut told = json!({"id": id, "length": meta.size, "timestamp": time});
                if let Some(class) = &meta.class {
                    told["storageClass"] = json!(class.as_str());
                }
                if let Some(restore) = restore(&meta) {
                    told["restore"] = restore;
                }
                listed.push(told);
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

    fn includes_class(&self, meta: &BlobMeta) -> bool {
        let class = meta.class.as_ref().map(StorageClass::as_str);
        let is_wanted = |wanted: &String| class == Some(wanted.as_str());
        (self.storage_class.is_empty() || self.storage_class.iter().any(is_wanted))
            && (!self.archived || meta.is_cold())
    }
}

/// How an archived blob can be read, as the listing tells. A storage that tells only classes has it
/// archived, thawed or not.
fn restore(meta: &BlobMeta) -> Option<Value> {
    Some(match meta.state {
        Some(ReadState::Thawing) => json!({"state": "thawing"}),
        Some(ReadState::Thawed { until: None }) => json!({"state": "thawed"}),
        Some(ReadState::Thawed { until: Some(until) }) => {
            json!({"state": "thawed", "until": GoTime::from_unix_nanos(until.nanos())})
        }
        _ if meta.is_cold() => json!({"state": "archived"}),
        _ => return None,
    })
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

/// Delete blobs, whatever needs them.
#[derive(Debug, Args)]
pub struct Delete {
    /// Blob IDs.
    #[arg(required = true)]
    ids: Vec<String>,
    /// Only say what would be deleted.
    #[arg(short = 'n', long)]
    dry_run: bool,
}

impl Delete {
    async fn run(self, app: &App) -> anyhow::Result<Exit> {
        app.allow_dangerous()?;
        let ids = self.ids.iter().map(blob_core::BlobId::new).collect::<Result<Vec<_>, _>>()?;
        // A damaged index blob can go, too.
        let client = app.open(if self.dry_run { Access::Read } else { Access::Mend }).await?;
        for id in &ids {
            if self.dry_run {
                let size = size::bytes(client.repo.storage().head(id).await?.size);
                app.info(format!("would delete {id} ({size})"));
                continue;
            }
            let deleted = client.repo.storage().delete(id).await;
            deleted.with_context(|| format!("error deleting {id}"))?;
        }
        let index = client.repo.index_as_read();
        if !self.dry_run && index.damaged().iter().any(|damaged| ids.contains(&damaged.blob.id)) {
            client.repo.refresh().await?;
        }
        Ok(Exit::Done)
    }
}

/// Refuses archived packs before one of them is asked for its bytes.
pub(super) async fn refuse_cold(
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
#[command(mut_args(|arg| if arg.get_id() == "price_table" { arg.requires("by") } else { arg }))]
pub struct Stats {
    /// Show plain numbers.
    #[arg(short, long)]
    raw: bool,
    /// Only blobs whose ID begins so.
    #[arg(long, default_value = "")]
    prefix: String,
    /// Count by kind, class or age, with what a month of each costs.
    #[arg(long, value_enum, value_name = "WHAT", value_delimiter = ',')]
    by: Vec<By>,
    #[command(flatten)]
    prices: TableFlag,
    #[command(flatten)]
    json: JsonFlags,
}

impl Stats {
    async fn run(self, app: &App) -> anyhow::Result<Exit> {
        if !self.by.is_empty() {
            return self.run_by(app).await;
        }
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

    async fn run_by(self, app: &App) -> anyhow::Result<Exit> {
        let table = self.prices.table()?;
        let client = app.open(Access::Read).await?;
        let mut groups = Groups::new(&self.by, &table, SystemClock.now());
        let mut all = client.repo.storage().list(&self.prefix);
        while let Some(meta) = all.try_next().await? {
            groups.add(&meta);
        }
        for class in groups.unpriced() {
            app.warn(format!(
                "the price table ({}) has no class {class}; its blobs are counted without a price",
                table.source
            ));
        }
        if self.json.json {
            self.json.print(&groups.json());
        } else {
            groups.print(|bytes| if self.raw { bytes.to_string() } else { size::bytes(bytes) });
        }
        Ok(Exit::Done)
    }
}
