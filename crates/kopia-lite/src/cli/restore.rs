//! `restore` and `snapshot restore`.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use jiff::ZonedDateTime;
use kopia_repo::Repository;
use kopia_snapshot::{
    restore::{ArchiveKind, RestoreOptions, RestorePlan, RestoreReport},
    roots::Root,
};
use serde_json::json;

use super::{App, app::Access, snapshot, times};
use crate::{
    connect::paths,
    exit::Exit,
    jobs::thaw_restore::{Bill, ThawFlags, ThawRestore},
    ui::{json::JsonFlags, progress::RestoreProgress, size, text},
};

/// What a restore writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// By the target's ending.
    Auto,
    /// A folder.
    Local,
    /// A zip file.
    Zip,
    /// A zip file that is not compressed.
    ZipNocompress,
    /// A tar file.
    Tar,
    /// A tar file compressed with gzip.
    Tgz,
}

/// Restore files and folders from a snapshot.
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools)] // each is a flag
pub struct Restore {
    /// What to restore (a snapshot or object ID, with a path behind it, a source, latest) and where
    /// to.
    #[arg(required = true, num_args = 1..=2, value_names = ["SOURCE", "TARGET"])]
    paths: Vec<String>,
    /// Take folders that exist and are not empty.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    overwrite_directories: bool,
    /// Replace files that exist.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    overwrite_files: bool,
    /// Replace links that exist.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    overwrite_symlinks: bool,
    /// What to write.
    #[arg(long, value_enum, default_value = "auto")]
    mode: Mode,
    /// Files written at once.
    #[arg(long, value_name = "N", default_value_t = 8)]
    parallel: usize,
    /// Leave owners alone.
    #[arg(long)]
    skip_owners: bool,
    /// Leave permissions alone.
    #[arg(long)]
    skip_permissions: bool,
    /// Leave times alone.
    #[arg(long)]
    skip_times: bool,
    /// A missing right to set owner, permissions or times is no error.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    ignore_permission_errors: bool,
    /// Go on after an error of one entry.
    #[arg(long)]
    ignore_errors: bool,
    /// Leave files alone that have the right size and time already, and links that exist.
    #[arg(long)]
    skip_existing: bool,
    /// Delete what is in a restored folder and not in the snapshot.
    #[arg(long)]
    delete_extra: bool,
    /// Write each file beside its place and move it there when it is whole.
    #[arg(long)]
    write_files_atomically: bool,
    /// Leave holes for blocks of zeros.
    #[arg(long)]
    write_sparse_files: bool,
    /// Sync each file to the disk.
    #[arg(long)]
    flush_files: bool,
    /// Which snapshot of a source: latest, oldest, yesterday, 3d-ago, a date or time.
    #[arg(long, value_name = "TIME", default_value = "latest")]
    snapshot_time: String,
    /// Fail when an object is the root of snapshots that differ in its attributes.
    #[arg(long, env = "KOPIA_RESTORE_CONSISTENT_ATTRIBUTES")]
    consistent_attributes: bool,
    #[command(flatten)]
    thaw: ThawFlags,
    /// Only say what would be restored.
    #[arg(short = 'n', long)]
    dry_run: bool,
    #[command(flatten)]
    json: JsonFlags,
}

impl Restore {
    /// Runs the command.
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let client = app.open(Access::Read).await?;
        let root = app.unless_stopped(self.root(&client.repo)).await?;
        let target = self.target(&client.repo, &root)?;
        let archive = self.archive_kind(&target);
        let options = self.options(app);
        let place = archive.is_none().then_some(target.as_path());
        let planning = RestorePlan::of(&client.repo, &root.entry, place, &options);
        let plan = app.unless_stopped(async { Ok(planning.await?) }).await?;
        if self.dry_run {
            return self.print_plan(&plan, &target);
        }
        let is_cold = !plan.cold().is_empty();
        if is_cold && !self.thaw.is_on() && !self.ignore_errors {
            return Err(self.thaw.refusal(&plan, &self.paths)?);
        }
        self.announce(app, &root, &target, archive);
        let started = std::time::Instant::now();
        let progress = Arc::new(RestoreProgress::new(app.globals.progress()));
        let sink = progress.clone();
        let mut bill = None;
        let done = match archive {
            // Even where all can be read now: a copy may go away meanwhile.
            _ if self.thaw.is_on() && client.repo.storage().archive().is_some() => {
                let restore = ThawRestore {
                    app,
                    client: &client,
                    flags: &self.thaw,
                    target: &target,
                    options: &options,
                    progress: sink,
                    argument: self.paths[0].clone(),
                };
                restore.run(plan, archive).await.map(|(report, counted)| {
                    bill = Some(counted);
                    report
                })
            }
            Some(kind) => plan
                .run_archive(&client.repo, &target, kind, &options, sink, &app.stop)
                .await
                .map_err(Into::into),
            None => {
                plan.run(&client.repo, &target, &options, sink, &app.stop).await.map_err(Into::into)
            }
        };
        progress.finish();
        let report = done.context("error restoring")?;
        if self.json.json {
            let mut value = as_json(&self.paths[0], &target, &report, started.elapsed());
            if let Some(bill) = &bill {
                value["bill"] = bill.json(&*self.thaw.table()?);
            }
            self.json.print(&value);
        } else {
            print_report(app, &report);
            bill.iter().flat_map(Bill::lines).for_each(|line| app.info(line));
        }
        Ok(Exit::Done)
    }

    async fn root(&self, repo: &Repository) -> anyhow::Result<Root> {
        let source = &self.paths[0];
        let pick = times::pick(&self.snapshot_time, &ZonedDateTime::now())?;
        snapshot::find_root(repo, source, pick, self.consistent_attributes)
            .await
            .with_context(|| format!("cannot restore {source}"))
    }

    /// Where to restore to: the second argument. Without one, a path comes back where it was taken,
    /// and an ID into a folder of that name here, as in Kopia: nothing is overwritten that nobody
    /// named.
    fn target(&self, repo: &Repository, root: &Root) -> anyhow::Result<PathBuf> {
        if let Some(target) = self.paths.get(1) {
            return Ok(paths::absolute(Path::new(target))?);
        }
        let source = &self.paths[0];
        if snapshot::is_id(source) {
            return Ok(paths::absolute(Path::new(source))?);
        }
        let Some(manifest) = root.manifest.as_ref().filter(|_| !source.starts_with("latest"))
        else {
            bail!("restore requires a source and a target: {source} names no place by itself");
        };
        let own = (&*manifest.source.host, &*manifest.source.user_name)
            == (repo.hostname(), repo.username());
        if !own {
            bail!(
                "restore requires a target: {} is a place of another user or machine",
                manifest.source
            );
        }
        Ok(paths::absolute(&Path::new(&manifest.source.path).join(&root.path))?)
    }

    fn archive_kind(&self, target: &Path) -> Option<ArchiveKind> {
        let name = target.to_string_lossy();
        match self.mode {
            Mode::Local => None,
            Mode::Zip => Some(ArchiveKind::Zip),
            Mode::ZipNocompress => Some(ArchiveKind::ZipStored),
            Mode::Tar => Some(ArchiveKind::Tar),
            Mode::Tgz => Some(ArchiveKind::TarGz),
            Mode::Auto if name.ends_with(".zip") => Some(ArchiveKind::Zip),
            Mode::Auto if name.ends_with(".tar") => Some(ArchiveKind::Tar),
            Mode::Auto if name.ends_with(".tar.gz") || name.ends_with(".tgz") => {
                Some(ArchiveKind::TarGz)
            }
            Mode::Auto => None,
        }
    }

    fn options(&self, app: &App) -> RestoreOptions {
        RestoreOptions {
            overwrite_directories: self.overwrite_directories,
            overwrite_files: self.overwrite_files,
            overwrite_symlinks: self.overwrite_symlinks,
            skip_owners: self.skip_owners,
            skip_permissions: self.skip_permissions,
            skip_times: self.skip_times,
            ignore_permission_errors: self.ignore_permission_errors,
            ignore_errors: self.ignore_errors,
            skip_existing: self.skip_existing,
            delete_extra: self.delete_extra,
            write_files_atomically: self.write_files_atomically,
            write_sparse_files: self.write_sparse_files,
            flush_files: self.flush_files,
            parallel: self.parallel,
            window_entries: app.window_entries(),
            ..RestoreOptions::default()
        }
    }

    fn announce(&self, app: &App, root: &Root, target: &Path, archive: Option<ArchiveKind>) {
        let place = target.display();
        if self.mode == Mode::Auto {
            app.info(match archive {
                Some(ArchiveKind::Zip | ArchiveKind::ZipStored) => {
                    format!("Restoring to a zip file ({place})...")
                }
                Some(ArchiveKind::Tar) => {
                    format!("Restoring to an uncompressed tar file ({place})...")
                }
                Some(ArchiveKind::TarGz) => format!("Restoring to a tar+gzip file ({place})..."),
                None => {
                    let parallel = self.parallel;
                    format!(
                        "Restoring to local filesystem ({place}) with parallelism={parallel}..."
                    )
                }
            });
        }
        let Some(manifest) = root.manifest.as_ref().filter(|_| !snapshot::is_id(&self.paths[0]))
        else {
            return;
        };
        app.info(format!(
            "Restoring from\n   Snapshot source: {}\n   Snapshot time: {}\n   \
             Relative path: {}\n   Object ID: {}",
            manifest.source,
            app.zone.format(manifest.start_time),
            root.path,
            root.entry.object
        ));
    }

    fn print_plan(&self, plan: &RestorePlan, target: &Path) -> anyhow::Result<Exit> {
        let (lost, contents) = plan.lost();
        let cold = plan.cold();
        if self.json.json {
            self.json.print(&json!({
                "source": self.paths[0],
                "target": target.display().to_string(),
                "files": plan.files,
                "dirs": plan.folders,
                "symlinks": plan.links,
                "bytes": plan.bytes,
                "skipped": plan.skipped.0,
                "packs": plan.packs.len(),
                "bytesToRead": plan.fetched_bytes,
                "requests": plan.requests,
                "archivedPacks": cold.iter().map(|pack| &pack.blob).collect::<Vec<_>>(),
                "missingPacks": lost,
                "missingContents": contents.len(),
                "ignoredErrors": plan.failures,
            }));
        } else {
            text::note(format!(
                "Would restore {} files, {} directories and {} symbolic links ({}) to {}.",
                plan.files,
                plan.folders,
                plan.links,
                size::bytes(plan.bytes),
                target.display()
            ));
            text::note(format!(
                "Needs {} of {} packs in {} requests.",
                size::bytes(plan.fetched_bytes),
                plan.packs.len(),
                plan.requests
            ));
            cold.iter().for_each(|pack| text::warn(format!("archived: {}", pack.blob)));
            if !cold.is_empty() {
                self.thaw.estimate(plan)?.into_iter().for_each(text::note);
            }
            lost.iter().for_each(|pack| text::warn(format!("missing: {pack}")));
            let failures = plan.failures.iter();
            failures.for_each(|one| text::warn(format!("{}: {}", one.path, one.error)));
        }
        let whole = lost.is_empty() && contents.is_empty();
        Ok(match (cold.is_empty(), whole) {
            (false, _) => Exit::Archived,
            (true, false) => Exit::Damaged,
            (true, true) => Exit::Done,
        })
    }
}

/// Lists at most so many failures.
const FAILURES_SHOWN: usize = 10;

fn print_report(app: &App, report: &RestoreReport) {
    let mut line = format!(
        "Restored {} files, {} directories and {} symbolic links ({})",
        report.files,
        report.folders,
        report.links,
        size::bytes(report.bytes)
    );
    if report.skipped > 0 {
        line.push_str(&format!(
            ", skipped {} ({})",
            report.skipped,
            size::bytes(report.skipped_bytes)
        ));
    }
    for (count, what) in [
        (report.deleted_folders, "directories"),
        (report.deleted_files, "files"),
        (report.deleted_links, "symbolic links"),
    ] {
        if count > 0 {
            line.push_str(&format!(", deleted {what} {count}"));
        }
    }
    let failed = report.failures.len();
    if failed > 0 {
        line.push_str(&format!(", ignored {failed} errors"));
    }
    app.info(format!("{line}."));
    for failure in report.failures.iter().take(FAILURES_SHOWN) {
        app.warn(format!("  {}: {}", failure.path, failure.error));
    }
    if failed > FAILURES_SHOWN {
        app.warn(format!("  … and {} more", failed - FAILURES_SHOWN));
    }
}

fn as_json(
    source: &str,
    target: &Path,
    report: &RestoreReport,
    took: std::time::Duration,
) -> serde_json::Value {
    let deleted = report.deleted_files + report.deleted_folders + report.deleted_links;
    json!({
        "source": source,
        "target": target.display().to_string(),
        "files": report.files,
        "dirs": report.folders,
        "symlinks": report.links,
        "bytes": report.bytes,
        "skipped": report.skipped,
        "deleted": deleted,
        "ignoredErrors": report.failures,
        "packsRead": report.packs_read,
        "bytesRead": report.bytes_read,
        "requests": report.requests,
        "seconds": (took.as_secs_f64() * 1000.0).round() / 1000.0,
    })
}
