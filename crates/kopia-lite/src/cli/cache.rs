//! `cache`: info, clear.

use anyhow::bail;
use clap::{Args, Subcommand, ValueEnum};
use kopia_repo::{CacheKind, CacheOptions};
use serde_json::json;

use super::App;
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
}

impl Command {
    /// Runs the verb.
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        match self {
            Self::Info(info) => info.run(app),
            Self::Clear(clear) => clear.run(app),
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
    fn run(self, app: &App) -> anyhow::Result<Exit> {
        let options = options(app)?;
        if self.path {
            text::line(options.directory.display());
            return Ok(Exit::Done);
        }
        let usage = kopia_repo::cache_usage(&options)?;
        if self.json.json {
            let parts = usage.iter().map(|part| {
                json!({
                    "path": part.path.display().to_string(), "count": part.files,
                    "bytes": part.bytes, "limitBytes": part.bytes_max,
                })
            });
            self.json.print_list(parts);
            return Ok(Exit::Done);
        }
        for part in &usage {
            let limit = match part.bytes_max {
                Some(most) => format!(" (limit {})", size::bytes(most)),
                None => String::new(),
            };
            let path = part.path.display();
            text::line(format!("{path}: {} files {}{limit}", part.files, size::bytes(part.bytes)));
        }
        text::note("To adjust cache sizes use 'kopia cache set'.");
        text::note("To clear caches use 'kopia-lite cache clear'.");
        Ok(Exit::Done)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Contents,
    Metadata,
    Indexes,
}

/// Empty the cache: ours, never Kopia's beside it.
#[derive(Debug, Args)]
pub struct Clear {
    /// Only this part.
    #[arg(long, value_enum)]
    partial: Option<Part>,
}

impl Clear {
    fn run(self, app: &App) -> anyhow::Result<Exit> {
        let options = options(app)?;
        let kind = self.partial.map(|part| match part {
            Part::Contents => CacheKind::Contents,
            Part::Metadata => CacheKind::Metadata,
            Part::Indexes => CacheKind::Indexes,
        });
        let cleared = kopia_repo::clear_cache(&options, kind)?;
        app.info(format!("Clearing cache directory: {}.", cleared.display()));
        Ok(Exit::Done)
    }
}
