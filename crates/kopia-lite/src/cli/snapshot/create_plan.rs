//! `snapshot create --dry-run`: what a snapshot would hold, and what of it is new.
//!
//! Folders are listed and no file is read. What would be read is told by what a snapshot looks at
//! first: length, time, mode and owner of each file, held against the newest snapshot of the source.

use std::path::{Path, PathBuf};

use anyhow::Context;
use kopia_format::{
    snapshot::{SnapshotManifest, Source},
    time::GoTime,
};
use kopia_repo::Repository;
use kopia_snapshot::{
    diff::{Change, Changes},
    estimate::{self, EstimateEvent},
    manifests, policies,
    roots::Root,
};
use serde::Serialize;

use crate::{
    cli::App,
    ui::{size, text},
};

/// Files and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Files {
    count: u64,
    bytes: u64,
}

/// What a snapshot of a source would be.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    source: String,
    /// When the newest snapshot was begun that it is held against.
    since: Option<GoTime>,
    files: Files,
    directories: u64,
    /// What would be read: it is new, or differs in what is looked at first.
    changed: Files,
    /// What the newest snapshot has and the source no longer.
    removed: Files,
    /// What rules leave out.
    excluded: Files,
    excluded_directories: u64,
    errors: u64,
}

impl Plan {
    /// Looks at `path`, of which a snapshot as `source` is wanted.
    ///
    /// # Errors
    /// The path can't be looked at, a snapshot can't be read, or a signal came.
    pub async fn of(
        app: &App,
        repo: &Repository,
        source: &Source,
        path: PathBuf,
    ) -> anyhow::Result<Self> {
        let tell = |event: EstimateEvent<'_>| {
            if let EstimateEvent::Failed { path, error, ignored } = event {
                let word = if ignored { "Ignored error" } else { "Error" };
                text::note(format!("{word} when processing \"{path}\": {error}"));
            }
        };
        let real = std::fs::canonicalize(&path)
            .with_context(|| format!("cannot snapshot {}", path.display()))?;
        let meta = std::fs::metadata(&real)?;
        let mut plan = Self {
            source: source.to_string(),
            since: None,
            files: Files { count: 1, bytes: meta.len() },
            directories: 0,
            changed: Files::default(),
            removed: Files::default(),
            excluded: Files::default(),
            excluded_directories: 0,
            errors: 0,
        };
        if meta.is_dir() {
            let policy = policies::tree(repo, source).await?;
            let found = estimate::estimate(real.clone(), policy, 0, &tell, &app.stop).await?;
            plan.files = Files { count: found.files, bytes: found.size };
            plan.directories = found.directories;
            plan.excluded = Files { count: found.excluded_files, bytes: found.excluded_size };
            plan.excluded_directories = found.excluded_directories;
            plan.errors = found.errors;
        }
        let mut earlier = manifests::of_source(repo, source).await?;
        earlier.retain(SnapshotManifest::is_complete);
        match earlier.pop() {
            Some(newest) => plan.compare(repo, newest, &real).await?,
            None => plan.changed = plan.files,
        }
        Ok(plan)
    }

    async fn compare(
        &mut self,
        repo: &Repository,
        newest: SnapshotManifest,
        path: &Path,
    ) -> anyhow::Result<()> {
        self.since = Some(newest.start_time);
        let entry = newest.root_entry.clone().context("the newest snapshot has no root")?;
        let root = Root { entry, manifest: Some(newest), path: String::new() };
        let mut changes = Changes::to_live_at(repo, &root, path).await?;
        while let Some(change) = changes.next().await? {
            self.count(&change);
        }
        Ok(())
    }

    fn count(&mut self, change: &Change) {
        let differs = change.differs;
        let is_read = change.old.is_none() || differs.content || differs.in_metadata();
        let (counted, entry) = match (&change.old, &change.new) {
            (_, Some(new)) if is_read => (&mut self.changed, new),
            (Some(old), None) => (&mut self.removed, old),
            _ => return,
        };
        if !entry.entry.is_dir() {
            counted.count += 1;
            counted.bytes += entry.size;
        }
    }

    /// Is something missing from it?
    pub fn is_incomplete(&self) -> bool {
        self.errors > 0
    }

    /// Says it to people.
    pub fn say(&self, app: &App) {
        let files = |files: Files| {
            let word = if files.count == 1 { "file" } else { "files" };
            format!("{} {word} ({})", files.count, size::bytes(files.bytes))
        };
        let all = files(self.files);
        app.info(format!("Would snapshot {}: {all} in {} folders", self.source, self.directories));
        match self.since {
            Some(time) => {
                let (changed, since) = (files(self.changed), app.zone.format(time));
                app.info(format!("  new or changed since {since}: {changed}"));
                app.info(format!("  gone since then: {}", files(self.removed)));
            }
            None => app.info("  nothing of it is in a snapshot of this source yet"),
        }
        if self.excluded != Files::default() || self.excluded_directories > 0 {
            let (left_out, folders) = (files(self.excluded), self.excluded_directories);
            app.info(format!("  left out by rules: {left_out} and {folders} folders"));
        }
    }
}
