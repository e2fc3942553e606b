//! A policy as a table: name, value, where it comes from, in Kopia's words and order.

use kopia_format::{
    policy::{ActionCommand, Policy},
    snapshot::Source,
};
use kopia_snapshot::policy::resolve::{EffectivePolicy, PolicyValueSource};

use crate::ui::size;

/// One line.
#[derive(Debug, Clone, Default)]
struct Row {
    name: String,
    value: String,
    origin: String,
}

fn head(name: impl Into<String>) -> Row {
    Row { name: name.into(), ..Row::default() }
}

/// Lines the values up at the right, and puts the origins behind them.
fn align(rows: &[Row]) -> String {
    let with_value = rows.iter().filter(|row| !row.value.is_empty());
    let width = with_value.map(|row| row.name.len() + 3 + row.value.len()).max().unwrap_or(0);
    let lines: Vec<_> = rows
        .iter()
        .map(|row| {
            let mut line = row.name.clone();
            if !row.value.is_empty() || !row.origin.is_empty() {
                let used = line.len() + row.value.len();
                line.push_str(&" ".repeat(width.saturating_sub(used)));
                line.push_str(&row.value);
            }
            if !row.origin.is_empty() {
                line.push_str("   ");
                line.push_str(&row.origin);
            }
            line
        })
        .collect();
    lines.join("\n")
}

/// The table of an effective policy of `target`.
pub(super) fn render(target: &Source, effective: &EffectivePolicy) -> String {
    let table = Table { target, effective: Some(effective), policy: &effective.policy };
    let groups = [
        table.retention(),
        table.files(),
        table.error_handling(),
        table.scheduling(),
        table.upload(),
        table.compression(),
        table.metadata_compression(),
        table.splitter(),
        table.actions(),
        table.os_snapshots(),
        table.logging(),
    ];
    let mut rows = Vec::new();
    for group in groups {
        if !rows.is_empty() {
            rows.push(Row::default());
        }
        rows.extend(group);
    }
    format!("Policy for {target}:\n\n{}", align(&rows))
}

/// The rows that `repository create` prints.
pub(super) fn summary_of_new(policy: &Policy) -> String {
    let target = Source::global();
    let table = Table { target: &target, effective: None, policy };
    align(&[table.retention(), table.compression()].concat())
}

struct Table<'a> {
    target: &'a Source,
    /// `None` = every value is defined for the target.
    effective: Option<&'a EffectivePolicy>,
    policy: &'a Policy,
}

fn number(value: Option<i64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

impl Table<'_> {
    /// A line with a value and where it comes from; `key` is its path in JSON.
    fn row(&self, name: &str, value: impl Into<String>, key: &str) -> Row {
        let origin = match self.effective.map(|effective| effective.value_source(key)) {
            None => "(defined for this target)".to_owned(),
            Some(Some(PolicyValueSource::Target(source))) if source == self.target => {
                "(defined for this target)".to_owned()
            }
            Some(Some(PolicyValueSource::Target(source))) => format!("inherited from {source}"),
            Some(Some(PolicyValueSource::BuiltIn) | None) => {
                let global = Source::global();
                if *self.target == global {
                    "(defined for this target)".to_owned()
                } else {
                    format!("inherited from {global}")
                }
            }
        };
        Row { name: name.to_owned(), value: value.into(), origin }
    }

    fn boolean(&self, name: &str, value: Option<bool>, default: bool, key: &str) -> Row {
        self.row(name, value.unwrap_or(default).to_string(), key)
    }

    fn retention(&self) -> Vec<Row> {
        let keep = &self.policy.retention;
        let row = |name, value, key| self.row(name, number(value), key);
        vec![
            head("Retention:"),
            row("  Annual snapshots:", keep.keep_annual, "retention.keepAnnual"),
            row("  Monthly snapshots:", keep.keep_monthly, "retention.keepMonthly"),
            row("  Weekly snapshots:", keep.keep_weekly, "retention.keepWeekly"),
            row("  Daily snapshots:", keep.keep_daily, "retention.keepDaily"),
            row("  Hourly snapshots:", keep.keep_hourly, "retention.keepHourly"),
            row("  Latest snapshots:", keep.keep_latest, "retention.keepLatest"),
            self.boolean(
                "  Ignore identical snapshots:",
                keep.ignore_identical_snapshots,
                false,
                "retention.ignoreIdenticalSnapshots",
            ),
        ]
    }

    fn files(&self) -> Vec<Row> {
        let files = &self.policy.files;
        let mut rows = vec![
            head("Files policy:"),
            self.boolean(
                "  Ignore cache directories:",
                files.ignore_cache_dirs,
                true,
                "files.ignoreCacheDirs",
            ),
        ];
        if files.ignore.is_empty() {
            rows.push(head("  No ignore rules:"));
        } else {
            rows.push(self.row("  Ignore rules:", "", "files.ignore"));
            rows.extend(files.ignore.iter().map(|rule| head(format!("    {rule}"))));
        }
        if !files.ignore_dot_files.is_empty() {
            rows.push(self.row("  Read ignore rules from files:", "", "files.ignoreDotFiles"));
            rows.extend(files.ignore_dot_files.iter().map(|name| head(format!("    {name}"))));
        }
        if let Ok(most @ 1..) = u64::try_from(files.max_file_size) {
            rows.push(self.row("  Ignore files above:", size::bytes(most), "files.maxFileSize"));
        }
        rows.push(self.boolean(
            "  Scan one filesystem only:",
            files.one_file_system,
            false,
            "files.oneFileSystem",
        ));
        rows
    }

    fn error_handling(&self) -> Vec<Row> {
        let errors = &self.policy.error_handling;
        vec![
            head("Error handling policy:"),
            self.boolean(
                "  Ignore file read errors:",
                errors.ignore_file_errors,
                false,
                "errorHandling.ignoreFileErrors",
            ),
            self.boolean(
                "  Ignore directory read errors:",
                errors.ignore_directory_errors,
                false,
                "errorHandling.ignoreDirectoryErrors",
            ),
            self.boolean(
                "  Ignore unknown types:",
                errors.ignore_unknown_types,
                true,
                "errorHandling.ignoreUnknownTypes",
            ),
        ]
    }

    fn scheduling(&self) -> Vec<Row> {
        let schedule = &self.policy.scheduling;
        let mut rows = vec![head("Scheduling policy:"), head("  Scheduled snapshots:")];
        let empty = rows.len();
        if schedule.interval_seconds != 0 {
            let nanos = schedule.interval_seconds.saturating_mul(1_000_000_000);
            let every = kopia_format::time::duration_text(nanos);
            rows.push(self.row("    Snapshot interval:", every, "scheduling.intervalSeconds"));
        }
        if !schedule.time_of_day.is_empty() {
            rows.push(self.boolean(
                "  Run missed snapshots:",
                schedule.run_missed,
                false,
                "scheduling.runMissed",
            ));
            rows.push(self.row("  Snapshot times:", "", "scheduling.timeOfDay"));
            let times = schedule.time_of_day.iter();
            rows.extend(times.map(|time| head(format!("    {}:{:02}", time.hour, time.min))));
        }
        if !schedule.cron.is_empty() {
            rows.push(self.row("  Crontab expressions:", "", "scheduling.cron"));
            rows.extend(schedule.cron.iter().map(|line| head(format!("    {line}"))));
        }
        if rows.len() == empty {
            rows.push(head("    None."));
        }
        let manual = schedule.manual.to_string();
        rows.push(self.row("  Manual snapshot:", manual, "scheduling.manual"));
        rows
    }

    fn upload(&self) -> Vec<Row> {
        let upload = &self.policy.upload;
        let above = upload.parallel_upload_above_size.map_or_else(
            || "-".to_owned(),
            |bytes| u64::try_from(bytes).map_or_else(|_| bytes.to_string(), size::bytes),
        );
        vec![
            head("Uploads:"),
            self.row(
                "  Max parallel snapshots (server/UI):",
                number(upload.max_parallel_snapshots),
                "upload.maxParallelSnapshots",
            ),
            self.row(
                "  Max parallel file reads:",
                number(upload.max_parallel_file_reads),
                "upload.maxParallelFileReads",
            ),
            self.row("  Parallel upload above size:", above, "upload.parallelUploadAboveSize"),
        ]
    }

    fn compression(&self) -> Vec<Row> {
        let compression = &self.policy.compression;
        if matches!(compression.compressor_name.as_str(), "" | "none") {
            return vec![head("Compression disabled.")];
        }
        let name = compression.compressor_name.clone();
        let mut rows = vec![
            head("Compression:"),
            self.row("  Compressor:", name, "compression.compressorName"),
        ];
        if !compression.only_compress.is_empty() {
            let text = "  Only compress files with the following extensions:";
            rows.push(self.row(text, "", "compression.onlyCompress"));
            let all = compression.only_compress.iter();
            rows.extend(all.map(|extension| head(format!("     - {extension}"))));
        } else if !compression.never_compress.is_empty() {
            let text = "  Compress all files except the following extensions:";
            rows.push(self.row(text, "", "compression.neverCompress"));
            let all = compression.never_compress.iter();
            rows.extend(all.map(|extension| head(format!("    {extension}"))));
        } else {
            rows.push(head("  Compress files regardless of extensions."));
        }
        let bytes = |value: i64| size::bytes(u64::try_from(value).unwrap_or(0));
        let (min, max) = (compression.min_size, compression.max_size);
        rows.push(head(match (min > 0, max > 0) {
            (_, true) => {
                format!("  Only compress files between {} and {}.", bytes(min), bytes(max))
            }
            (true, false) => format!("  Only compress files bigger than {}.", bytes(min)),
            (false, false) => "  Compress files of all sizes.".to_owned(),
        }));
        rows
    }

    fn metadata_compression(&self) -> Vec<Row> {
        let name = &self.policy.metadata_compression.compressor_name;
        if matches!(name.as_str(), "" | "none") {
            return vec![head("Metadata compression disabled.")];
        }
        vec![
            head("Metadata compression:"),
            self.row("  Compressor:", name.clone(), "metadataCompression.compressorName"),
        ]
    }

    fn splitter(&self) -> Vec<Row> {
        let algorithm = match self.policy.splitter.algorithm.as_str() {
            "" => "(repository default)",
            given => given,
        };
        vec![head("Splitter:"), self.row("  Algorithm override:", algorithm, "splitter.algorithm")]
    }

    fn actions(&self) -> Vec<Row> {
        let actions = &self.policy.actions;
        let mut rows = Vec::new();
        let own = "(non-inheritable)";
        for (action, name, key) in [
            (
                &actions.before_snapshot_root,
                "Run command before snapshot root:",
                "actions.beforeSnapshotRoot",
            ),
            (
                &actions.after_snapshot_root,
                "Run command after snapshot root:",
                "actions.afterSnapshotRoot",
            ),
            (&actions.before_folder, "Run command before this folder:", own),
            (&actions.after_folder, "Run command after this folder:", own),
        ] {
            let Some(action) = action else { continue };
            let mut first = self.row(name, "", key);
            if key == own {
                own.clone_into(&mut first.origin);
            }
            rows.push(first);
            rows.extend(action_rows(action));
        }
        if rows.is_empty() {
            rows.push(head("No actions defined."));
        }
        rows
    }

    fn os_snapshots(&self) -> Vec<Row> {
        let mode = match self.policy.os_snapshots.volume_shadow_copy.enable {
            None | Some(0) => "never",
            Some(1) => "always",
            Some(2) => "when-available",
            Some(_) => "unknown",
        };
        vec![
            head("OS-level snapshot support:"),
            self.row("  Volume Shadow Copy:", mode, "osSnapshots.volumeShadowCopy.enable"),
        ]
    }

    fn logging(&self) -> Vec<Row> {
        let logging = &self.policy.logging;
        let (folders, entries) = (&logging.directories, &logging.entries);
        let row =
            |name, value: Option<i64>, key| self.row(name, value.unwrap_or(0).to_string(), key);
        vec![
            head("Logging details (0-none, 10-maximum):"),
            row("  Directory snapshotted:", folders.snapshotted, "logging.directories.snapshotted"),
            row("  Directory ignored:", folders.ignored, "logging.directories.ignored"),
            row("  Entry snapshotted:", entries.snapshotted, "logging.entries.snapshotted"),
            row("  Entry ignored:", entries.ignored, "logging.entries.ignored"),
            row("  Entry cache hit:", entries.cache_hit, "logging.entries.cacheHit"),
            row("  Entry cache miss:", entries.cache_miss, "logging.entries.cacheMiss"),
        ]
    }
}

fn action_rows(action: &ActionCommand) -> Vec<Row> {
    let mut rows = if action.script.is_empty() {
        let command = format!("    {} {}", action.path, action.args.join(" "));
        vec![head("  Command:"), head(command)]
    } else {
        let script: Vec<_> = action.script.lines().map(|line| format!("    {line}")).collect();
        vec![head("  Embedded script (stored in repository):"), head(script.join("\n"))]
    };
    let mode = if action.mode.is_empty() { "sync" } else { &action.mode };
    let timeout = action.timeout.saturating_mul(1_000_000_000);
    let timeout = kopia_format::time::duration_text(timeout);
    rows.push(Row { name: "  Mode:".into(), value: mode.into(), ..Row::default() });
    rows.push(Row { name: "  Timeout:".into(), value: timeout, ..Row::default() });
    rows.push(Row::default());
    rows
}
