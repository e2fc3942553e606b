//! `storage-config apply`: moving what is there to the class that `.storageconfig` names.
//!
//! List, plan, print, ask, run, report. What was finished stands in a journal beside the connection
//! file, so that a run that was stopped goes on; a run lists again anyway, and what is in its class
//! is not moved twice. What a copy changes: AWS' API reference of CopyObject; which kinds of blobs
//! may change their time: docs/format/01-blob-storage.md.

use std::{path::PathBuf, time::Duration};

use anyhow::bail;
use blob_core::{BlobError, BlobId, StorageClass, layers::kind};
use clap::Args;
use cold_storage::{
    Money, PriceTable,
    reclass::{
        Cost, Ended, Group, Journal, Movable, Outcome, Planner, Reason, ReclassOptions,
        ReclassPlan, ReclassReport, Refused, run,
    },
};
use futures::TryStreamExt;
use serde_json::json;
use storageconfig::{FILE_NAME, StorageConfig};

use super::{
    App,
    prices::{TableFlag, dollars},
    repository::flags::duration,
};
use crate::{
    compose::{ClientBuilder, ClientOptions, Stack},
    connect::{
        backends::{self, Backend},
        config,
    },
    exit::{Exit, Failure},
    ui::{
        json::JsonFlags,
        progress::{Progress, Step},
        size, text,
    },
};

/// Move blobs that are there to the class that the file names, by copies on the server.
///
/// Only data packs (`p`) and metadata packs (`q`) are moved, and only `p` to an archive class. A
/// copy is a new writing: it changes the time of a blob, and the age that lifecycle rules count.
#[derive(Debug, Args)]
pub struct Apply {
    /// Only blobs whose ID begins so.
    #[arg(long, default_value = "")]
    prefix: String,
    /// Only blobs that were written so long ago, such as 30d.
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = duration)]
    older_than: Duration,
    /// Only blobs of at least so many bytes.
    #[arg(long, value_name = "BYTES", default_value = "0", value_parser = size::parse)]
    min_size: i64,
    /// Refuse what could cost more. What costs less needs no further consent.
    #[arg(long, value_name = "USD")]
    max_cost: Option<Money>,
    /// Do it without asking.
    #[arg(short, long)]
    yes: bool,
    /// Only show what would be moved, and what it costs.
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Copies at once.
    #[arg(long, default_value_t = 8)]
    parallel: usize,
    #[command(flatten)]
    prices: TableFlag,
    #[command(flatten)]
    json: JsonFlags,
}

/// How far a blob may be moved. Kopia goes by the times of all other kinds: of indexes, sessions,
/// logs and format blobs.
fn movable(id: &BlobId) -> Movable {
    match kind(id.as_str()) {
        "p" => Movable::Anywhere,
        "q" => Movable::ToReadable,
        _ => Movable::No,
    }
}

impl Apply {
    /// The same, only shown.
    pub fn shown_only(self) -> Self {
        Self { dry_run: true, ..self }
    }

    /// Runs the command.
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let connection = app.connection()?;
        if connection.readonly && !self.dry_run {
            let file = app.config_file.display();
            let message = format!("the connection {file} is read-only; nothing was moved");
            return Err(Failure::new(Exit::Failed, message).into());
        }
        let table = self.prices.table()?;
        let backend = backends::open(config::storage_of(&connection, &app.config_file)?).await?;
        if !backend.has_storage_config {
            bail!("{} keeps no {FILE_NAME}: only S3 does", backend.storage.info().name);
        }
        let options = ClientOptions {
            extra_keys: app.globals.storage_config_extra_keys,
            ..ClientOptions::of_connection(&connection, &app.config_file)?
        };
        let policy_of = options.extra_keys;
        let builder = ClientBuilder::over(backend.clone()).options(options);
        let stack = app.unless_stopped(builder.stack()).await?;
        let Some(loaded) = stack.storage_config.as_ref().filter(|it| it.text.is_some()) else {
            app.info(format!("There is no {FILE_NAME}: no class is named, and nothing is moved."));
            return Ok(Exit::Done);
        };
        let policy = policy_of.applied_to(loaded.config.clone());
        let plan = app.unless_stopped(self.plan(&stack, &backend, &policy, &table)).await?;
        if !self.json.json {
            print_plan(&plan);
        }
        self.stay_below(&plan)?;
        if self.dry_run || plan.moves.is_empty() {
            if self.json.json {
                self.json.print(&json!({"plan": plan, "result": null}));
            } else if plan.moves.is_empty() {
                app.info("Nothing is to be moved.");
            }
            return Ok(Exit::Done);
        }
        warnings(&plan, &table).iter().for_each(|warning| app.warn(warning));
        let (count, bytes) = (plan.moves.len(), size::bytes(plan.bytes()));
        let agreed = self.yes || self.max_cost.is_some();
        app.consent(agreed, &format!("Move {count} blobs ({bytes})?")).await?;
        self.carry_out(app, &plan, &stack, &policy).await
    }

    async fn plan(
        &self,
        stack: &Stack,
        backend: &Backend,
        policy: &StorageConfig,
        table: &PriceTable,
    ) -> anyhow::Result<ReclassPlan> {
        let options = ReclassOptions {
            now: std::time::SystemTime::now().into(),
            older_than_seconds: self.older_than.as_secs(),
            min_bytes: u64::try_from(self.min_size).unwrap_or(0),
            keeps_versions: keeps_versions(backend).await?,
            moved_by_rules: true,
        };
        let mut planner = Planner::new(policy, &movable, table, options);
        let mut all = stack.full.list(&self.prefix);
        while let Some(meta) = all.try_next().await? {
            planner.look(&meta);
        }
        Ok(planner.finish())
    }

    fn stay_below(&self, plan: &ReclassPlan) -> anyhow::Result<()> {
        let Some(max) = self.max_cost.filter(|max| plan.cost.total_most > *max) else {
            return Ok(());
        };
        let message = format!(
            "it could cost ${}, more than --max-cost={max}; nothing was moved. Fewer blobs: \
             --prefix, --older-than, --min-size",
            plan.cost.total_most
        );
        let details = json!({"cost": plan.cost, "maxCost": max});
        Err(Failure::new(Exit::Limit, message).with_details(details).into())
    }

    async fn carry_out(
        &self,
        app: &App,
        plan: &ReclassPlan,
        stack: &Stack,
        policy: &StorageConfig,
    ) -> anyhow::Result<Exit> {
        let folder = journal_folder(app);
        fs_err::create_dir_all(&folder)?;
        fs_err::write(folder.join("plan.json"), self.json.render(plan))?;
        let file = folder.join("journal.jsonl");
        let before = match fs_err::read(&file) {
            Ok(before) => before,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        let to = fs_err::OpenOptions::new().create(true).append(true).open(&file)?;
        let mut journal = Journal::resume(to, &before)?;
        let progress = Progress::new(app.globals.progress(), "apply");
        let (mut done, mut bytes) = (0_usize, 0_u64);
        let tell = |one: &cold_storage::reclass::Move| {
            (done, bytes) = (done + 1, bytes + one.bytes);
            let of = plan.moves.len();
            progress.show(|| {
                let line = format!("Moved {done} of {of} blobs ({})", size::bytes(bytes));
                Step::of(done as u64, of as u64, line)
            });
        };
        let (storage, stop) = (&*stack.full, app.stop.cancelled());
        let report = run(plan, storage, policy, &mut journal, self.parallel, stop, tell).await;
        progress.finish();
        let report = report?;
        if matches!(report.ended, Ended::Done) && report.failed.is_empty() {
            // What is left of it after a failure here is overwritten by the next run.
            _ = fs_err::remove_file(&file);
            _ = fs_err::remove_file(folder.join("plan.json"));
            _ = fs_err::remove_dir(&folder);
        }
        self.tell(app, plan, &report);
        match report.ended {
            Ended::Failed(error) => Err(anyhow::Error::new(error)),
            Ended::Stopped => Ok(app.interrupted().unwrap_or(Exit::Interrupted)),
            Ended::Done if report.failed.is_empty() => Ok(Exit::Done),
            Ended::Done => Ok(Exit::Incomplete),
        }
    }

    fn tell(&self, app: &App, plan: &ReclassPlan, report: &ReclassReport) {
        let moved = (report.moved, size::bytes(report.moved_bytes));
        if self.json.json {
            let failed = report.failed.iter();
            let failed = failed.map(|it| json!({"blob": it.blob, "error": it.error.to_string()}));
            let skipped = report.skipped.iter().map(|(why, count)| (word(*why), json!(count)));
            self.json.print(&json!({"plan": plan, "result": {
                "moved": report.moved, "movedBytes": report.moved_bytes,
                "movedBefore": report.moved_before,
                "skipped": skipped.collect::<serde_json::Map<_, _>>(),
                "failed": failed.collect::<Vec<_>>(), "left": report.left,
            }}));
        } else {
            text::line(format!("Moved {} blobs ({}).", moved.0, moved.1));
            for (why, count) in &report.skipped {
                text::line(format!("Skipped {count}: {} meanwhile.", word(*why)));
            }
        }
        for failed in &report.failed {
            app.warn(format!("{} was not moved: {}", failed.blob, failed.error));
        }
        if report.moved_before > 0 {
            app.warn(format!(
                "{} blobs that an earlier run moved are listed in their old class. To move them \
                 again, delete {}",
                report.moved_before,
                journal_folder(app).display()
            ));
        }
        if report.left > 0 {
            app.info(format!("{} blobs are left: the same command goes on.", report.left));
        }
    }
}

/// Where the plan and the journal of a run lie until it is done.
fn journal_folder(app: &App) -> PathBuf {
    let mut name = app.config_file.clone().into_os_string();
    name.push(".apply");
    name.into()
}

/// Does the bucket keep versions? `None` = it may not be asked, or did not answer.
async fn keeps_versions(backend: &Backend) -> anyhow::Result<Option<bool>> {
    let Some(bucket) = &backend.bucket else { return Ok(None) };
    match bucket.keeps_versions().await {
        Ok(keeps) => Ok(Some(keeps)),
        Err(
            BlobError::AccessDenied { .. }
            | BlobError::Unsupported { .. }
            | BlobError::Transient { .. }
            | BlobError::Throttled { .. }
            | BlobError::Other { .. },
        ) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn word(outcome: Outcome) -> String {
    let word = match outcome {
        Outcome::Moved | Outcome::There => "moved",
        Outcome::Gone => "gone",
        Outcome::Changed => "changed class",
        Outcome::Archived => "archived",
    };
    word.to_owned()
}

fn range(least: Money, most: Money) -> String {
    match least == most {
        true => dollars(most),
        false => format!("{} to {}", dollars(least), dollars(most)),
    }
}

fn print_plan(plan: &ReclassPlan) {
    for Group { from_class, to_class, count, bytes, .. } in &plan.groups {
        let (classes, bytes) = (format!("{from_class} -> {to_class}"), size::bytes(*bytes));
        text::line(format!("{classes:<40} {count:>8} blobs {bytes:>10}"));
    }
    for Refused { reason, from_class, to_class, count, bytes, examples } in &plan.refused {
        let to = to_class.as_ref().filter(|_| *reason != Reason::AlreadyThere);
        let classes = match to {
            Some(to) => format!("{from_class}, not to {to}"),
            None => format!("{from_class} stays"),
        };
        let (bytes, why) = (size::bytes(*bytes), why(reason));
        let example = examples.first().map_or("", String::as_str);
        text::line(format!("{classes:<40} {count:>8} blobs {bytes:>10}  {why} ({example})"));
    }
    if plan.moves.is_empty() {
        return;
    }
    let (cost, prices) = (&plan.cost, &plan.basis.price_table);
    let Cost { early_least, early_most, .. } = *cost;
    text::line(format!("{:<34} {}", "copies and the questions around:", dollars(cost.requests)));
    text::line(format!("{:<34} {}", "reading from the old class:", dollars(cost.retrieval)));
    text::line(format!("{:<34} {}", "leaving it early:", range(early_least, early_most)));
    let total = range(cost.total_least(), cost.total_most);
    text::line(format!("{:<34} {total}", "once, in sum:"));
    let (now, then) = (dollars(cost.month_before), dollars(cost.month_after));
    text::line(format!("{:<34} now {now}, then {then}", "a month:"));
    let old = dollars(cost.month_old_versions);
    match plan.basis.keeps_versions {
        Some(false) => {}
        Some(true) => {
            text::line(format!("{:<34} {old} until they are deleted", "a month for old versions:"))
        }
        None => text::line(format!(
            "{:<34} {old}, if the bucket keeps versions, which is not known",
            "a month for old versions:"
        )),
    }
    let (region, date, source) = (&prices.region, &prices.date, &prices.source);
    text::line(format!(
        "An estimate: {region}, prices of {date} ({source}), without KMS and taxes."
    ));
    if !prices.unknown_classes.is_empty() {
        let unknown = prices.unknown_classes.join(", ");
        text::line(format!("The price table lacks {unknown}: counted as STANDARD."));
    }
}

fn why(reason: &Reason) -> String {
    match reason {
        Reason::AlreadyThere => "there already".into(),
        Reason::Unnamed => "no class is named".into(),
        Reason::Kind => "Kopia goes by the time of this kind, which a copy changes".into(),
        Reason::MustStayReadable => "only p may be archived".into(),
        Reason::Archived => "archived: thaw first".into(),
        Reason::TooYoung => "too young".into(),
        Reason::TooSmall => "too small".into(),
        Reason::Policy(words) => words.clone(),
        other => format!("{other:?}"),
    }
}

/// What one should know before it is done.
fn warnings(plan: &ReclassPlan, table: &PriceTable) -> Vec<String> {
    let mut all = vec![
        "A copy is a new writing: these blobs get a new time, and lifecycle rules count their age \
         anew."
            .to_owned(),
    ];
    let price = |class: &str| table.class_or_standard(&StorageClass::new(class)).storage_gb_month();
    let gets_colder = |group: &Group| price(&group.to_class) < price(&group.from_class);
    if plan.basis.keeps_versions != Some(false) && plan.groups.iter().any(gets_colder) {
        let keeps = if plan.basis.keeps_versions.is_some() { "keeps" } else { "may keep" };
        all.push(format!(
            "The bucket {keeps} versions: the old ones stay in their class and are billed until \
             they are deleted. A lifecycle rule moves blobs to colder classes without that, and \
             keeps their time."
        ));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_packs_are_moved_and_only_data_packs_anywhere() {
        let of = |name: &str| movable(&BlobId::new(name).unwrap());
        assert_eq!((of("p1f3"), of("q1f3")), (Movable::Anywhere, Movable::ToReadable));
        for other in ["xn1", "xe1", "n1", "m1", "l1", "s1", "_log_1_2", "kopia.repository", "z"] {
            assert_eq!(of(other), Movable::No, "{other}");
        }
    }

    #[test]
    fn a_range_that_is_none_is_one_amount() {
        let (less, more) = ("0.01".parse().unwrap(), "12.345".parse().unwrap());
        assert_eq!(
            (range(less, more).as_str(), range(less, less).as_str()),
            ("$0.01 to $12.35", "$0.01")
        );
    }
}
