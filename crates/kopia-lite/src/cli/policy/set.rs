//! `policy set`: changes to the policy of a source, each said as it is made.

use anyhow::{Context, bail};
use clap::Args;
use kopia_format::{
    compress::{Compressor, NAMES},
    policy::{Policy, TimeOfDay},
    split::SPLITTERS,
    time::duration_text,
};
use kopia_snapshot::policies;

use super::{
    Targets,
    changes::{Changes, given, is_inherit},
    set_actions::ActionFlags,
    set_logging::{LoggingFlags, OsSnapshotFlags},
};
use crate::{
    cli::{App, app::Access, repository::flags::duration},
    exit::Exit,
};

/// Change the policy of a source.
#[derive(Debug, Args)]
pub struct Set {
    #[command(flatten)]
    targets: Targets,
    /// Take over what more general policies say.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_parser = clap::value_parser!(bool), action = clap::ArgAction::Append)]
    inherit: Vec<bool>,
    #[command(flatten)]
    retention: RetentionFlags,
    #[command(flatten)]
    files: FileFlags,
    #[command(flatten)]
    errors: ErrorFlags,
    #[command(flatten)]
    compression: CompressionFlags,
    /// Splitter of this source, or inherit.
    #[arg(long, value_name = "ALGO")]
    splitter: Option<String>,
    #[command(flatten)]
    schedule: ScheduleFlags,
    #[command(flatten)]
    actions: ActionFlags,
    #[command(flatten)]
    os_snapshots: OsSnapshotFlags,
    #[command(flatten)]
    logging: LoggingFlags,
    #[command(flatten)]
    upload: UploadFlags,
    /// Say and check the changes, but save none.
    #[arg(short = 'n', long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
struct RetentionFlags {
    /// Snapshots to keep of the latest, or inherit.
    #[arg(long, value_name = "N")]
    keep_latest: Option<String>,
    /// Hours to keep a snapshot of, or inherit.
    #[arg(long, value_name = "N")]
    keep_hourly: Option<String>,
    /// Days to keep a snapshot of, or inherit.
    #[arg(long, value_name = "N")]
    keep_daily: Option<String>,
    /// Weeks to keep a snapshot of, or inherit.
    #[arg(long, value_name = "N")]
    keep_weekly: Option<String>,
    /// Months to keep a snapshot of, or inherit.
    #[arg(long, value_name = "N")]
    keep_monthly: Option<String>,
    /// Years to keep a snapshot of, or inherit.
    #[arg(long, value_name = "N")]
    keep_annual: Option<String>,
    /// Save no snapshot that equals the one before: true, false or inherit.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    ignore_identical_snapshots: Option<String>,
}

#[derive(Debug, Args)]
struct FileFlags {
    /// Ignore rules to add.
    #[arg(long, value_name = "PATTERN")]
    add_ignore: Vec<String>,
    /// Ignore rules to remove.
    #[arg(long, value_name = "PATTERN")]
    remove_ignore: Vec<String>,
    /// Remove all ignore rules.
    #[arg(long)]
    clear_ignore: bool,
    /// Names of ignore files to add.
    #[arg(long, value_name = "FILENAME")]
    add_dot_ignore: Vec<String>,
    /// Names of ignore files to remove.
    #[arg(long, value_name = "FILENAME")]
    remove_dot_ignore: Vec<String>,
    /// Remove all names of ignore files.
    #[arg(long)]
    clear_dot_ignore: bool,
    /// Leave out bigger files, or inherit.
    #[arg(long, value_name = "BYTES")]
    max_file_size: Option<String>,
    /// Stay on the file system of the source: true, false or inherit.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    one_file_system: Option<String>,
    /// Leave out what is in cache folders: true, false or inherit.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    ignore_cache_dirs: Option<String>,
}

#[derive(Debug, Args)]
struct ErrorFlags {
    /// Ignore files that can't be read: true, false or inherit.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    ignore_file_errors: Option<String>,
    /// Ignore folders that can't be read: true, false or inherit.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    ignore_dir_errors: Option<String>,
    /// Ignore sockets, devices and the like: true, false or inherit.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    ignore_unknown_types: Option<String>,
}

#[derive(Debug, Args)]
struct CompressionFlags {
    /// Compressor of file data, none or inherit.
    #[arg(long, value_name = "ALGO")]
    compression: Option<String>,
    /// Leave smaller files uncompressed, or inherit.
    #[arg(long, value_name = "BYTES")]
    compression_min_size: Option<String>,
    /// Leave bigger files uncompressed, or inherit.
    #[arg(long, value_name = "BYTES")]
    compression_max_size: Option<String>,
    /// Extensions to add to those that are always compressed.
    #[arg(long, value_name = "EXTENSION")]
    add_only_compress: Vec<String>,
    /// Extensions to remove from those.
    #[arg(long, value_name = "EXTENSION")]
    remove_only_compress: Vec<String>,
    /// Remove all of those.
    #[arg(long)]
    clear_only_compress: bool,
    /// Extensions to add to those that are never compressed.
    #[arg(long, value_name = "EXTENSION")]
    add_never_compress: Vec<String>,
    /// Extensions to remove from those.
    #[arg(long, value_name = "EXTENSION")]
    remove_never_compress: Vec<String>,
    /// Remove all of those.
    #[arg(long)]
    clear_never_compress: bool,
    /// Compressor of directories, none or inherit.
    #[arg(long, value_name = "ALGO")]
    metadata_compression: Option<String>,
}

/// Kept for schedulers such as Kopia's: kopia-lite has none.
#[derive(Debug, Args)]
struct ScheduleFlags {
    /// Time between snapshots.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    snapshot_interval: Option<std::time::Duration>,
    /// Times of day, as HH:mm,HH:mm, or inherit.
    #[arg(long, value_name = "TIMES")]
    snapshot_time: Vec<String>,
    /// Crontab expressions with semicolons between them, or inherit.
    #[arg(long, value_name = "CRON")]
    snapshot_time_crontab: Option<String>,
    /// Make up for missed times: true, false or inherit.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    run_missed: Option<String>,
    /// Take snapshots by hand only.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_parser = clap::value_parser!(bool), action = clap::ArgAction::Append)]
    manual: Vec<bool>,
}

#[derive(Debug, Args)]
struct UploadFlags {
    /// Files read at once, or inherit.
    #[arg(long, value_name = "N")]
    max_parallel_file_reads: Option<String>,
    /// Sources snapshotted at once by a Kopia server, or inherit.
    #[arg(long, value_name = "N")]
    max_parallel_snapshots: Option<String>,
    /// Upload bigger files in parts, in MiB, or inherit.
    #[arg(long, value_name = "MIB")]
    parallel_upload_above_size_mib: Option<String>,
}

impl Set {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let client = app.open(if self.dry_run { Access::Read } else { Access::Write }).await?;
        let mut changed = Vec::new();
        for target in self.targets.resolve(&client.repo).await? {
            let mut policy = policies::defined(&client.repo, &target).await?.unwrap_or_default();
            app.info(format!("Setting policy for {target}"));
            let mut changes = Changes { app, count: 0 };
            self.apply(&mut policy, &mut changes)?;
            if changes.count == 0 {
                bail!("no changes specified");
            }
            policies::check(&target, &policy)
                .with_context(|| format!("can't save policy for {target}"))?;
            changed.push((target, policy));
        }
        if self.dry_run {
            return Ok(Exit::Done);
        }
        let writer = client.repo.writer()?;
        for (target, policy) in &changed {
            policies::save(&writer, target, policy)
                .await
                .with_context(|| format!("can't save policy for {target}"))?;
        }
        app.flush(&writer).await?;
        Ok(Exit::Done)
    }

    fn apply(&self, policy: &mut Policy, changes: &mut Changes<'_>) -> anyhow::Result<()> {
        self.retention.apply(policy, changes)?;
        self.files.apply(policy, changes)?;
        self.errors.apply(policy, changes)?;
        self.compression.apply(policy, changes)?;
        if let Some(name) = given(self.splitter.as_ref()) {
            if name != "inherit" && !SPLITTERS.contains(&name.as_str()) {
                bail!("{name:?} is no splitter; there are {}", SPLITTERS.join(", "));
            }
            changes.name("splitter algorithm override", &mut policy.splitter.algorithm, name);
        }
        self.schedule.apply(policy, changes)?;
        self.actions.apply(policy, changes)?;
        self.os_snapshots.apply(policy, changes);
        self.logging.apply(policy, changes)?;
        self.upload.apply(policy, changes)?;
        if let Some(inherit) = self.inherit.last() {
            changes.count += 1;
            policy.no_parent = !inherit;
        }
        Ok(())
    }
}

impl RetentionFlags {
    fn apply(&self, policy: &mut Policy, changes: &mut Changes<'_>) -> anyhow::Result<()> {
        let keep = &mut policy.retention;
        for (what, value, given) in [
            ("number of annual backups to keep", &mut keep.keep_annual, &self.keep_annual),
            ("number of monthly backups to keep", &mut keep.keep_monthly, &self.keep_monthly),
            ("number of weekly backups to keep", &mut keep.keep_weekly, &self.keep_weekly),
            ("number of daily backups to keep", &mut keep.keep_daily, &self.keep_daily),
            ("number of hourly backups to keep", &mut keep.keep_hourly, &self.keep_hourly),
            ("number of latest backups to keep", &mut keep.keep_latest, &self.keep_latest),
        ] {
            changes.number(what, value, given.as_ref(), 1)?;
        }
        let given = self.ignore_identical_snapshots.as_ref();
        changes.boolean(
            "do not save identical snapshots",
            &mut keep.ignore_identical_snapshots,
            given,
        )
    }
}

impl FileFlags {
    fn apply(&self, policy: &mut Policy, changes: &mut Changes<'_>) -> anyhow::Result<()> {
        let files = &mut policy.files;
        changes.bytes(
            "maximum file size",
            &mut files.max_file_size,
            self.max_file_size.as_ref(),
        )?;
        changes.list(
            "dot-ignore filenames",
            &mut files.ignore_dot_files,
            &self.add_dot_ignore,
            &self.remove_dot_ignore,
            self.clear_dot_ignore,
        );
        changes.list(
            "ignore rules",
            &mut files.ignore,
            &self.add_ignore,
            &self.remove_ignore,
            self.clear_ignore,
        );
        let cache_dirs = self.ignore_cache_dirs.as_ref();
        changes.boolean("ignore cache dirs", &mut files.ignore_cache_dirs, cache_dirs)?;
        changes.boolean("one filesystem", &mut files.one_file_system, self.one_file_system.as_ref())
    }
}

impl ErrorFlags {
    fn apply(&self, policy: &mut Policy, changes: &mut Changes<'_>) -> anyhow::Result<()> {
        let errors = &mut policy.error_handling;
        let file = self.ignore_file_errors.as_ref();
        changes.boolean("ignore file errors", &mut errors.ignore_file_errors, file)?;
        let folder = self.ignore_dir_errors.as_ref();
        changes.boolean("ignore directory errors", &mut errors.ignore_directory_errors, folder)?;
        let unknown = self.ignore_unknown_types.as_ref();
        changes.boolean("ignore unknown types", &mut errors.ignore_unknown_types, unknown)
    }
}

impl CompressionFlags {
    fn apply(&self, policy: &mut Policy, changes: &mut Changes<'_>) -> anyhow::Result<()> {
        let compression = &mut policy.compression;
        changes.bytes(
            "minimum file size subject to compression",
            &mut compression.min_size,
            self.compression_min_size.as_ref(),
        )?;
        changes.bytes(
            "maximum file size subject to compression",
            &mut compression.max_size,
            self.compression_max_size.as_ref(),
        )?;
        if let Some(name) = given(self.compression.as_ref()) {
            check_compressor(name, changes.app)?;
            changes.name("compression algorithm", &mut compression.compressor_name, name);
        }
        changes.list(
            "only-compress extensions",
            &mut compression.only_compress,
            &self.add_only_compress,
            &self.remove_only_compress,
            self.clear_only_compress,
        );
        changes.list(
            "never-compress extensions",
            &mut compression.never_compress,
            &self.add_never_compress,
            &self.remove_never_compress,
            self.clear_never_compress,
        );
        if let Some(name) = given(self.metadata_compression.as_ref()) {
            check_compressor(name, changes.app)?;
            let value = &mut policy.metadata_compression.compressor_name;
            changes.name("metadata compression algorithm", value, name);
        }
        Ok(())
    }
}

/// Refuses a compressor that can't be written: with it in a policy, every snapshot would fail on
/// every file.
fn check_compressor(name: &str, app: &App) -> anyhow::Result<()> {
    if matches!(name, "inherit" | "none") {
        return Ok(());
    }
    match Compressor::by_name(name) {
        Ok(Some(compressor)) if compressor.is_deprecated() => {
            app.warn(format!("{name} is deprecated in Kopia; a later version may not write it"));
            Ok(())
        }
        Ok(_) => Ok(()),
        Err(error) => bail!("{error}; there are none, inherit, {}", NAMES.join(", ")),
    }
}

impl ScheduleFlags {
    fn apply(&self, policy: &mut Policy, changes: &mut Changes<'_>) -> anyhow::Result<()> {
        let schedule = &mut policy.scheduling;
        let scheduled = self.snapshot_interval.is_some()
            || !self.snapshot_time.is_empty()
            || given(self.snapshot_time_crontab.as_ref()).is_some();
        let manual = self.manual.last().copied();
        if manual == Some(true) {
            if scheduled {
                bail!("cannot set manual field when scheduling snapshots");
            }
            for (is_set, what) in [
                (schedule.interval_seconds != 0, "snapshot interval"),
                (!schedule.time_of_day.is_empty(), "snapshot times of day"),
                (!schedule.cron.is_empty(), "cron snapshot times"),
            ] {
                if is_set {
                    changes.said(format!("resetting {what} to default\n"));
                }
            }
            schedule.interval_seconds = 0;
            schedule.time_of_day.clear();
            schedule.cron.clear();
            schedule.manual = true;
            changes.said("setting manual snapshot field to true\n".to_owned());
            return Ok(());
        }
        if let Some(interval) = self.snapshot_interval {
            schedule.interval_seconds = i64::try_from(interval.as_secs()).unwrap_or(i64::MAX);
            let nanos = schedule.interval_seconds.saturating_mul(1_000_000_000);
            changes.said(format!("setting snapshot interval to {}", duration_text(nanos)));
        }
        if !self.snapshot_time.is_empty() {
            schedule.time_of_day = times_of_day(&self.snapshot_time)?;
            let times = schedule.time_of_day.iter();
            let times: Vec<_> =
                times.map(|time| format!("{}:{:02}", time.hour, time.min)).collect();
            changes.said(match times.is_empty() {
                true => "resetting snapshot times of day to default".to_owned(),
                false => format!("setting snapshot times to [{}]", times.join(" ")),
            });
        }
        if let Some(text) = given(self.snapshot_time_crontab.as_ref()) {
            let lines = text.split(';').map(str::trim).filter(|line| !line.is_empty());
            schedule.cron = match is_inherit(text) {
                true => Vec::new(),
                false => lines.map(str::to_owned).collect(),
            };
            schedule.cron.iter().try_for_each(|line| Policy::check_cron(line))?;
            changes.said(match schedule.cron.is_empty() {
                true => "resetting cron snapshot times to default".to_owned(),
                false => format!("setting cron snapshot times to [{}]", schedule.cron.join(" ")),
            });
        }
        let missed = self.run_missed.as_ref();
        changes.boolean("run missed snapshots", &mut schedule.run_missed, missed)?;
        // Kopia resets it with every change of the policy that doesn't say `--manual`.
        if schedule.manual && (scheduled || manual == Some(false)) {
            schedule.manual = false;
            changes.said("resetting manual snapshot field to false\n".to_owned());
        }
        Ok(())
    }
}

fn times_of_day(given: &[String]) -> anyhow::Result<Vec<TimeOfDay>> {
    let mut times = Vec::new();
    for text in given.iter().flat_map(|list| list.split(',')) {
        if text == "inherit" {
            return Ok(Vec::new());
        }
        let parsed = text.split_once(':').and_then(|(hour, min)| {
            let (hour, min) = (hour.parse().ok()?, min.parse().ok()?);
            ((0..24).contains(&hour) && (0..60).contains(&min)).then_some(TimeOfDay { hour, min })
        });
        times.push(parsed.with_context(|| format!("{text:?} is no time of day, must be HH:mm"))?);
    }
    times.sort();
    times.dedup();
    Ok(times)
}

impl UploadFlags {
    fn apply(&self, policy: &mut Policy, changes: &mut Changes<'_>) -> anyhow::Result<()> {
        let upload = &mut policy.upload;
        let reads = self.max_parallel_file_reads.as_ref();
        changes.number("max parallel file reads", &mut upload.max_parallel_file_reads, reads, 1)?;
        let snapshots = self.max_parallel_snapshots.as_ref();
        changes.number(
            "max parallel snapshots",
            &mut upload.max_parallel_snapshots,
            snapshots,
            1,
        )?;
        changes.number(
            "parallel upload above size",
            &mut upload.parallel_upload_above_size,
            self.parallel_upload_above_size_mib.as_ref(),
            1 << 20,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_day_are_sorted_and_checked() {
        let times = times_of_day(&["12:30,6:05".into(), "12:30".into()]).unwrap();
        assert_eq!(times, [TimeOfDay { hour: 6, min: 5 }, TimeOfDay { hour: 12, min: 30 }]);
        assert!(times_of_day(&["24:00".into()]).is_err());
    }
}
