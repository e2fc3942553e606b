//! `snapshot fix`: invalid-files, remove-files.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use anyhow::{Context, bail};
use clap::{Args, Subcommand, ValueEnum};
use kopia_format::{ObjectId, directory::DirEntry, snapshot::SnapshotManifest};
use kopia_repo::{Repository, RepositoryWriter};
use kopia_snapshot::{
    glob::Glob,
    manifests,
    rewrite::{self, RewriteEvent, Rewriter, Rule},
};
use serde_json::{Value, json};

use crate::{
    cli::{App, app::Access, snapshot},
    exit::Exit,
    ui::{json::JsonFlags, size},
};

/// The verbs of `snapshot fix`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Take files whose contents are lost out of snapshots.
    InvalidFiles(InvalidFiles),
    /// Take files that are named out of snapshots.
    RemoveFiles(RemoveFiles),
}

impl Command {
    /// Runs the verb.
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        match self {
            Self::InvalidFiles(command) => command.run(app).await,
            Self::RemoveFiles(command) => command.run(app).await,
        }
    }
}

/// What becomes of something that can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Handling {
    /// A small file takes its place, which says what was there.
    Stub,
    /// The command fails.
    Fail,
    /// It stays.
    Keep,
    /// It goes.
    Remove,
}

impl From<Handling> for rewrite::Handling {
    fn from(handling: Handling) -> Self {
        match handling {
            Handling::Stub => Self::Stub,
            Handling::Fail => Self::Fail,
            Handling::Keep => Self::Keep,
            Handling::Remove => Self::Remove,
        }
    }
}

/// The same for folders, which can't just go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FolderHandling {
    /// A small file takes its place, which says what was there.
    Stub,
    /// The command fails.
    Fail,
    /// It stays.
    Keep,
}

impl From<FolderHandling> for rewrite::Handling {
    fn from(handling: FolderHandling) -> Self {
        match handling {
            FolderHandling::Stub => Self::Stub,
            FolderHandling::Fail => Self::Fail,
            FolderHandling::Keep => Self::Keep,
        }
    }
}

/// The flags of both verbs.
#[derive(Debug, Args)]
struct Common {
    /// These snapshots; without it and --source, all.
    #[arg(long, value_name = "ID")]
    manifest_id: Vec<String>,
    /// The snapshots of these sources.
    #[arg(long, value_name = "SOURCE")]
    source: Vec<String>,
    /// Really replace snapshots; without it, only say which would be.
    #[arg(long, conflicts_with = "dry_run")]
    commit: bool,
    /// Only say which snapshots would be replaced.
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Taken for Kopia's sake: folders are read as fast as the storage gives them.
    #[arg(long, hide = true)]
    parallel: Option<usize>,
    /// What becomes of folders that can't be read.
    #[arg(long, value_enum, value_name = "HOW", default_value = "stub")]
    invalid_directory_handling: FolderHandling,
    #[command(flatten)]
    json: JsonFlags,
}

/// Take files whose contents are lost out of snapshots.
#[derive(Debug, Args)]
pub struct InvalidFiles {
    #[command(flatten)]
    common: Common,
    /// What becomes of files that can't be read.
    #[arg(long, value_enum, value_name = "HOW", default_value = "stub")]
    invalid_file_handling: Handling,
    /// Read so many of a hundred files in full, but none that is archived.
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0)]
    verify_files_percent: f64,
}

impl InvalidFiles {
    async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let files = self.invalid_file_handling.into();
        let rule = Rule::Invalid { files, read_percent: self.verify_files_percent };
        self.common.run(app, rule).await
    }
}

/// Take files that are named out of snapshots.
#[derive(Debug, Args)]
pub struct RemoveFiles {
    #[command(flatten)]
    common: Common,
    /// Files and folders with these objects.
    #[arg(long, value_name = "ID")]
    object_id: Vec<String>,
    /// Files and folders of these names, in which * and ? stand for others.
    #[arg(long, value_name = "NAME")]
    filename: Vec<String>,
}

impl RemoveFiles {
    async fn run(self, app: &App) -> anyhow::Result<Exit> {
        if self.object_id.is_empty() && self.filename.is_empty() {
            bail!("must specify files to remove");
        }
        let object =
            |id: &String| id.parse::<ObjectId>().with_context(|| format!("{id:?} is no object ID"));
        let objects = self.object_id.iter().map(object).collect::<anyhow::Result<_>>()?;
        let names = self.filename.iter().map(|name| Glob::new(name));
        let names = names.collect::<Result<_, _>>().context("invalid wildcard")?;
        self.common.run(app, Rule::Named { objects, names }).await
    }
}

/// A snapshot that was looked at.
struct Looked {
    manifest: SnapshotManifest,
    /// The new root, if it changes.
    new: Option<DirEntry>,
    /// The new manifest, if it was written.
    new_id: Option<String>,
}

impl Common {
    async fn run(&self, app: &App, rule: Rule) -> anyhow::Result<Exit> {
        let client = app.open(if self.commit { Access::Write } else { Access::Read }).await?;
        let repo = &client.repo;
        let writer = if self.commit { Some(repo.writer()?) } else { None };
        let snapshots = self.snapshots(app, repo).await?;
        let entries = Mutex::new(Vec::new());
        let tell = |event: RewriteEvent<'_>| {
            self.tell(app, &event);
            entries.lock().unwrap_or_else(PoisonError::into_inner).push(event_json(&event));
        };
        let rules = (rule, self.invalid_directory_handling.into());
        let mut rewriter =
            Rewriter::new(repo, writer.as_ref(), rules, &tell, app.stop.clone()).await?;
        let mut looked = Vec::new();
        for (source, of_source) in snapshots {
            app.info(format!("Processing snapshot {source}"));
            for manifest in of_source {
                let one = rewriter.rewrite(&manifest).await;
                let new =
                    one.with_context(|| format!("error processing snapshot {}", manifest.id))?;
                let new_id = self.replace(writer.as_ref(), &manifest, new.as_ref()).await?;
                let one = Looked { manifest, new, new_id };
                lines(app, &one).iter().for_each(|line| app.info(line));
                looked.push(one);
            }
        }
        if let Some(writer) = &writer {
            app.flush(writer).await?;
        }
        self.end(app, &looked);
        if self.json.json {
            let entries = entries.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let snapshots: Vec<_> = looked.iter().map(as_json).collect();
            let value =
                json!({"committed": self.commit, "entries": entries, "snapshots": snapshots});
            self.json.print(&value);
        }
        Ok(Exit::Done)
    }

    /// The snapshots to look at, by source and time.
    async fn snapshots(
        &self,
        app: &App,
        repo: &Repository,
    ) -> anyhow::Result<BTreeMap<String, Vec<SnapshotManifest>>> {
        let mut all = snapshot::find_by_ids(repo, &self.manifest_id).await?;
        for source in &self.source {
            app.info(format!("Listing snapshots for source {source:?}..."));
            let more = snapshot::find_by_sources(repo, std::slice::from_ref(source)).await?;
            all.extend(
                more.into_iter().filter(|it| !self.manifest_id.contains(&it.id.to_string())),
            );
        }
        if self.manifest_id.is_empty() && self.source.is_empty() {
            app.info("Listing all snapshots...");
            all = manifests::find(repo, &[]).await?;
        }
        all.sort_by_key(|it| (it.start_time, it.end_time));
        all.dedup_by(|a, b| a.id == b.id);
        let mut by_source: BTreeMap<String, Vec<SnapshotManifest>> = BTreeMap::new();
        for manifest in all {
            by_source.entry(manifest.source.to_string()).or_default().push(manifest);
        }
        Ok(by_source)
    }

    async fn replace(
        &self,
        writer: Option<&RepositoryWriter>,
        manifest: &SnapshotManifest,
        new: Option<&DirEntry>,
    ) -> anyhow::Result<Option<String>> {
        let (Some(writer), Some(new)) = (writer, new) else { return Ok(None) };
        let root_entry = Some(new.clone());
        let changed = SnapshotManifest { root_entry, ..manifest.clone() };
        let id = manifests::update(writer, &changed).await.context("error updating snapshot")?;
        Ok(Some(id.to_string()))
    }

    fn tell(&self, app: &App, event: &RewriteEvent<'_>) {
        match event {
            RewriteEvent::Removed { path } => app.info(format!("will remove file {path}")),
            RewriteEvent::Invalid { path, is_dir: false, error, .. } => {
                app.warn(format!("removing invalid file {path} due to: {error}"));
            }
            RewriteEvent::Invalid { path, error, .. } => {
                app.warn(format!("invalid directory {path}: {error}"));
            }
        }
    }

    fn end(&self, app: &App, looked: &[Looked]) {
        let count = looked.iter().filter(|it| it.new.is_some()).count();
        app.info(match (count, self.commit) {
            (0, _) => "No changes.".to_owned(),
            (_, true) => format!("Fixed and committed {count} snapshots."),
            (_, false) => format!(
                "Fixed {count} snapshots, but snapshot manifests were not updated. Pass --commit \
                 to update snapshots."
            ),
        });
    }
}

/// Kopia's lines about one snapshot. What was not written has no ID to be named.
fn lines(app: &App, looked: &Looked) -> Vec<String> {
    let manifest = &looked.manifest;
    let (when, id) = (app.zone.format(manifest.start_time), &manifest.id);
    let Some(new) = &looked.new else { return vec![format!("  {when} unchanged ({id})")] };
    let mut lines = match &looked.new_id {
        Some(new_id) => {
            let old = manifest.root_object().unwrap_or_default();
            vec![
                format!("  {when} replaced manifest from {id} to {new_id}"),
                format!("    diff {old} {}", new.object),
            ]
        }
        None => vec![format!("  {when} would replace manifest {id}")],
    };
    if let Some((before, after)) = sizes(looked) {
        match before.cmp(&after) {
            std::cmp::Ordering::Greater => {
                lines.push(format!("    delta:-{}", size::bytes(before - after)));
            }
            std::cmp::Ordering::Less => {
                lines.push(format!("    delta:+{}", size::bytes(after - before)));
            }
            std::cmp::Ordering::Equal => {}
        }
    }
    lines
}

/// Bytes of all files before and after, where both are known.
fn sizes(looked: &Looked) -> Option<(u64, u64)> {
    let size = |entry: &DirEntry| entry.summary.as_ref().map(|summary| summary.size);
    let before = looked.manifest.root_entry.as_ref().and_then(size)?;
    Some((before, looked.new.as_ref().and_then(size)?))
}

fn event_json(event: &RewriteEvent<'_>) -> Value {
    match event {
        RewriteEvent::Removed { path } => json!({"path": path, "action": "removed"}),
        RewriteEvent::Invalid { path, is_dir, error, handling } => {
            let action = match handling {
                rewrite::Handling::Stub => "stubbed",
                rewrite::Handling::Remove => "removed",
                rewrite::Handling::Keep | rewrite::Handling::Fail => "kept",
            };
            let kind = if *is_dir { "d" } else { "f" };
            json!({"path": path, "action": action, "type": kind, "error": error})
        }
    }
}

fn as_json(looked: &Looked) -> Value {
    let manifest = &looked.manifest;
    let mut value = json!({
        "id": manifest.id,
        "source": manifest.source,
        "startTime": manifest.start_time,
        "changed": looked.new.is_some(),
        "root": manifest.root_object(),
    });
    if let (Some(new_id), Some(new)) = (&looked.new_id, &looked.new) {
        value["newID"] = json!(new_id);
        value["newRoot"] = json!(new.object);
    }
    if let Some((before, after)) = sizes(looked) {
        value["size"] = json!(before);
        value["newSize"] = json!(after);
    }
    value
}
