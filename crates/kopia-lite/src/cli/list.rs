//! `list`: the entries of a folder of a snapshot, in their stored order.

use clap::Args;
use kopia_format::{
    directory::{DirEntry, EntryKind},
    time::GoTime,
};
use kopia_repo::Repository;
use kopia_snapshot::{mode, roots::Pick, tree::read_directory};
use serde_json::Value;

use super::{App, app::Access, snapshot};
use crate::{
    exit::{Exit, Failure},
    ui::{json::JsonFlags, size, text},
};

/// List a folder of a snapshot.
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools)] // each is a flag
pub struct List {
    /// A snapshot or object ID, with a path behind it.
    object_path: String,
    /// Show mode, size, time and object of each entry.
    #[arg(short, long)]
    long: bool,
    /// Show sizes with units.
    #[arg(short = 'h', long)]
    human_readable: bool,
    /// List the folders below, too.
    #[arg(short, long)]
    recursive: bool,
    /// Show object IDs.
    #[arg(short = 'o', long)]
    show_object_id: bool,
    /// Say which entries could not be snapshotted.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    error_summary: bool,
    #[command(flatten)]
    json: JsonFlags,
    /// Print help.
    #[arg(long, action = clap::ArgAction::HelpLong)]
    help: Option<bool>,
}

impl List {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let client = app.open(Access::Read).await?;
        let repo = &client.repo;
        let root =
            snapshot::find_root(repo, &self.object_path, Pick::Latest(0), false).await?.entry;
        if root.kind != EntryKind::Directory {
            let message = format!("{} is not a directory object", self.object_path);
            return Err(Failure::new(Exit::Failed, message).into());
        }
        let prefix = match self.long {
            true => String::new(),
            false => format!("{}/", self.object_path.trim_end_matches('/')),
        };
        let mut all = Vec::new();
        self.list(app, repo, &root, &prefix, "", &mut all).await?;
        if self.json.json {
            self.json.print_list(all);
        }
        Ok(Exit::Done)
    }

    async fn list(
        &self,
        app: &App,
        repo: &Repository,
        folder: &DirEntry,
        prefix: &str,
        path: &str,
        all: &mut Vec<Value>,
    ) -> anyhow::Result<()> {
        let directory = read_directory(repo, &folder.object).await?;
        for entry in &directory.entries {
            let name = entry.name_lossy();
            let path = if path.is_empty() { name.to_string() } else { format!("{path}/{name}") };
            if self.json.json {
                let mut value = serde_json::to_value(entry)?;
                value["path"] = path.clone().into();
                all.push(value);
            } else {
                text::line(self.line(app, entry, prefix));
            }
            if self.recursive && entry.kind == EntryKind::Directory {
                let below = format!("{prefix}{name}/");
                Box::pin(self.list(app, repo, entry, &below, &path, all)).await?;
            }
        }
        let summary = &directory.summary;
        if self.error_summary && !self.json.json && summary.failed > 0 {
            text::note(format!(
                "\nNOTE: Encountered {} errors while snapshotting this directory:\n",
                summary.failed
            ));
            for failed in &summary.errors {
                text::note(format!(
                    "- Error in \"{}\": {}",
                    String::from_utf8_lossy(&failed.path),
                    String::from_utf8_lossy(&failed.error)
                ));
            }
        }
        Ok(())
    }

    fn line(&self, app: &App, entry: &DirEntry, prefix: &str) -> String {
        let is_folder = entry.kind == EntryKind::Directory;
        // Kopia's plain list has neither.
        let (prefix, slash) = match (self.long || self.recursive, is_folder) {
            (false, _) => ("", ""),
            (true, true) => (prefix, "/"),
            (true, false) => (prefix, ""),
        };
        let failed = entry.summary.as_ref().map_or(0, |summary| summary.failed);
        let errors = match failed > 0 && self.error_summary {
            true => format!(" ({failed} errors)"),
            false => String::new(),
        };
        let name = format!("{prefix}{}{slash}{errors}", entry.name_lossy());
        if self.long {
            let bytes = match &entry.summary {
                Some(summary) if is_folder => summary.size,
                _ => entry.size,
            };
            let bytes = if self.human_readable { size::bytes(bytes) } else { bytes.to_string() };
            let time = app.zone.format(GoTime::from_unix_nanos(self.time(entry)));
            let mode = mode::of(entry);
            format!("{mode} {bytes:>12} {time} {:<34} {name}", entry.object.to_string())
        } else if self.show_object_id {
            format!("{:<34} {name}", entry.object.to_string())
        } else {
            name
        }
    }

    /// Kopia shows a folder with the time of what is newest in it; scripts compare the lines.
    fn time(&self, entry: &DirEntry) -> i64 {
        match &entry.summary {
            Some(summary) if entry.kind == EntryKind::Directory => summary.max_time,
            _ => entry.mtime,
        }
    }
}
