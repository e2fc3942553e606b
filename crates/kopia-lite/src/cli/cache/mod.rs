//! `cache`: info, clear, set.

mod set;

use std::path::PathBuf;

use anyhow::bail;
use clap::{Args, Subcommand, ValueEnum};
use kopia_repo::CacheOptions;
use serde_json::json;

use crate::cli::{App, app::Access};
use crate::{
    connect::config,
    exit::Exit,
    ui::{json::JsonFlags, size, text},
};

/// The verbs of `cache`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show how big the cache is.
    Info(Info),
    /// Empty the cache.
    Clear(Clear),
    /// Change where the cache is and how big it may become.
    Set(set::Set),
}

impl Command {
    /// May the verb be cut anywhere?
    pub fn only_reads(&self) -> bool {
        matches!(self, Self::Info(_))
    }

    /// Runs the verb.
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        match self {
            Self::Info(info) => info.run(app).await,
            Self::Clear(clear) => clear.run(app).await,
            Self::Set(set) => set.run(app),
        }
    }
}

fn options(app: &App) -> anyhow::Result<CacheOptions> {
    match config::cache_of(&app.connection()?, &app.config_file) {
        Some(options) => Ok(options),
        None => bail!("caching not enabled"),
    }
}

/// Show how big the cache is.
#[derive(Debug, Args)]
pub struct Info {
    /// Only show where it is.
    #[arg(long)]
    path: bool,
    #[command(flatten)]
    json: JsonFlags,
}

impl Info {
    async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let options = options(app)?;
        if self.path {
            text::line(options.directory.display());
            return Ok(Exit::Done);
        }
        let client = app.open(Access::Read).await?;
        let Some(cache) = client.repo.cache() else { bail!("caching not enabled") };
        let (folder, usage) = (cache.folder(), cache.usage().await?);
        let path = |kind: &str| folder.join(kind).display().to_string();
        if self.json.json {
            self.json.print_list(usage.iter().map(|part| {
                json!({
                    "path": path(part.kind), "count": part.files, "bytes": part.bytes,
                    "limitBytes": part.bytes_max,
                })
            }));
            return Ok(Exit::Done);
        }
        for part in &usage {
            let (bytes, most) = (size::bytes(part.bytes), size::bytes(part.bytes_max));
            let path = path(part.kind);
            text::line(format!("{path}: {} files {bytes} (limit {most})", part.files));
        }
        text::note("To adjust cache sizes use 'kopia-lite cache set'.");
        text::note("To clear the cache use 'kopia-lite cache clear'.");
        Ok(Exit::Done)
    }
}

/// Empty the cache: ours, never Kopia's beside it.
#[derive(Debug, Args)]
pub struct Clear {
    /// Only this part.
    #[arg(long, value_enum, value_name = "PART")]
    partial: Option<Part>,
    /// Only say what would be cleared.
    #[arg(short = 'n', long)]
    dry_run: bool,
}

/// The parts of a cache as Kopia calls them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Contents of files.
    Contents,
    /// Indexes.
    Indexes,
    /// Packs of directories and manifests.
    Metadata,
    /// What Kopia remembers of its own writes: kopia-lite keeps none.
    OwnWrites,
    /// Listings that Kopia keeps: kopia-lite keeps none.
    BlobList,
}

impl Part {
    /// What the part is called in our cache.
    fn kind(self) -> Option<&'static str> {
        match self {
            Self::Contents => Some("contents"),
            Self::Indexes => Some("indexes"),
            Self::Metadata => Some("packs"),
            Self::OwnWrites | Self::BlobList => None,
        }
    }
}

impl Clear {
    async fn run(self, app: &App) -> anyhow::Result<Exit> {
        options(app)?;
        let client = app.open(Access::Read).await?;
        let Some(cache) = client.repo.cache() else { bail!("caching not enabled") };
        let clearing = |folder: PathBuf| {
            let word = if self.dry_run { "Would clear" } else { "Clearing" };
            app.info(format!("{word} cache directory: {}.", folder.display()));
        };
        match self.partial.map(Part::kind) {
            None => {
                clearing(cache.folder());
                if !self.dry_run {
                    cache.clear().await?;
                }
            }
            Some(Some(kind)) => {
                clearing(cache.folder().join(kind));
                if !self.dry_run {
                    cache.clear_kind(kind).await?;
                }
            }
            Some(None) => app.info("Nothing to clear: kopia-lite keeps no such part."),
        }
        Ok(Exit::Done)
    }
}
