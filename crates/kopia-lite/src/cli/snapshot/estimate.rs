//! `snapshot estimate`.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use kopia_format::snapshot::Source;
use kopia_snapshot::{
    estimate::{self, Classes, EstimateEvent},
    policies,
};
use serde_json::json;

use crate::{
    cli::{App, app::Access},
    connect::paths,
    exit::Exit,
    ui::{json::JsonFlags, size, text, time},
};

/// Say how much a snapshot of a folder would hold, and what it would leave out.
#[derive(Debug, Args)]
pub struct Estimate {
    /// The folder.
    source: PathBuf,
    /// Show examples of the files that a snapshot would hold.
    #[arg(long)]
    show_files: bool,
    /// Do not say which folder is looked at.
    #[arg(short, long)]
    quiet: bool,
    /// The speed of the upload, to tell how long it would take.
    #[arg(long, value_name = "MBIT/S", default_value_t = 10.0)]
    upload_speed: f64,
    /// So many examples of each class of sizes.
    #[arg(long, value_name = "N", default_value_t = 10)]
    max_examples_per_bucket: usize,
    #[command(flatten)]
    json: JsonFlags,
}

impl Estimate {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        if self.upload_speed <= 0.0 || !self.upload_speed.is_finite() {
            bail!("--upload-speed must be more than 0");
        }
        let path = paths::absolute(&self.source)?;
        let real = std::fs::canonicalize(&path)
            .with_context(|| format!("invalid path: '{}'", path.display()))?;
        if !real.is_dir() {
            bail!("invalid path: '{}': must be a directory", path.display());
        }
        if fs_err::symlink_metadata(&path)?.is_symlink() {
            app.info(format!("{} resolved to {}", path.display(), real.display()));
        }
        let client = app.open(Access::Read).await?;
        let repo = &client.repo;
        let source = path
            .to_str()
            .with_context(|| format!("{} is not UTF-8, which a source must be", path.display()))?;
        let source = Source::new(repo.hostname(), repo.username(), source);
        let tree = policies::tree(repo, &source).await?;
        let tell = |event: EstimateEvent<'_>| match event {
            EstimateEvent::Folder(_) if self.quiet => {}
            EstimateEvent::Folder(path) => app.info(format!("Analyzing {path}...")),
            EstimateEvent::Failed { path, error, ignored: true } => {
                text::error(format!("Ignored error in {path}: {error}"));
            }
            EstimateEvent::Failed { path, error, .. } => {
                text::error(format!("Error in {path}: {error}"));
            }
        };
        let examples = self.max_examples_per_bucket;
        let found = estimate::estimate(real, tree, examples, &tell, &app.stop).await?;
        self.print(&found)?;
        Ok(if found.errors > 0 { Exit::Incomplete } else { Exit::Done })
    }

    fn print(&self, found: &estimate::Estimate) -> anyhow::Result<()> {
        let seconds = self.upload_seconds(found.size);
        if self.json.json {
            let mut value = serde_json::to_value(found)?;
            value["uploadSpeedMbits"] = json!(self.upload_speed);
            value["uploadSeconds"] = json!(seconds);
            self.json.print(&value);
            return Ok(());
        }
        let total =
            |count: u64, bytes: u64| format!("{count} file(s), total size {}", size::bytes(bytes));
        text::line(format!("Snapshot includes {}", total(found.files, found.size)));
        classes(&found.included, self.show_files);
        text::line("");
        if found.excluded_files > 0 {
            let all = total(found.excluded_files, found.excluded_size);
            text::line(format!("Snapshot excludes {all}"));
            classes(&found.excluded, true);
        } else {
            text::line("Snapshot excludes no files.");
        }
        if found.excluded_directories > 0 {
            let count = found.excluded_directories;
            text::line(format!("Snapshot excludes {count} directories. Examples:"));
            let all = &found.excluded_directory_examples;
            all.iter().for_each(|path| text::line(format!(" - {path}")));
        } else {
            text::line("Snapshot excludes no directories.");
        }
        if found.errors > 0 {
            text::line(format!("Encountered {} error(s).", found.errors));
        }
        let took = time::truncated(std::time::Duration::from_secs(seconds));
        let speed = self.upload_speed;
        text::line(format!("\nEstimated upload time: {took} at {speed} Mbit/s"));
        Ok(())
    }

    /// Whole seconds, as Kopia counts them.
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fn upload_seconds(&self, bytes: u64) -> u64 {
        let megabits = bytes as f64 * 8.0 / 1_000_000.0;
        (megabits / self.upload_speed) as u64
    }
}

/// Kopia's table of sizes; it says of the largest class that it is below its own size.
fn classes(classes: &Classes, show_files: bool) {
    let mut larger = None;
    for class in &classes.0 {
        let min = size::bytes(class.min_size);
        let range = match larger.replace(min.clone()) {
            None => format!("< {min:<6}"),
            Some(max) => format!("{min:<6}...{max:>6}"),
        };
        if class.count == 0 {
            continue;
        }
        let (count, total) = (class.count, size::bytes(class.total_size));
        text::line(format!("{range:>18}: {count:>7} files, total size {total}"));
        if show_files {
            for example in &class.examples {
                text::line(format!(" - {} - {}", example.path, size::bytes(example.size)));
            }
        }
    }
}
