//! A restore that thaws what it needs, and begins with what is readable.
//!
//! The plans of a restore and of a thaw are joined here: neither crate knows the other. The requests
//! are made first; then files are written in stages, each with the packs that have become readable.
//! A pack whose copy went away meanwhile is asked for again, if that too is agreed to.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use blob_core::{Amount, BlobMeta, Clock, SystemClock, Tier, Usage, look_up};
use clap::Args;
use cold_storage::{
    Cost, Money, PriceTable,
    thaw::{BlobState, Need, ThawOptions, ThawPlan, poll_pause},
    tier_name,
};
use kopia_snapshot::restore::{
    ArchiveKind, RestoreOptions, RestorePlan, RestoreReport, Stage, StageReport,
};
use serde_json::{Value, json};

use super::thaw::{Thawing, dearest, need_of};
use crate::{
    cli::{
        App,
        prices::{CostFlags, PriceFlags, cost_json, dollars},
        repository::flags::duration,
        thaw::{needed_of, show::Shown, show::at},
    },
    compose::Client,
    exit::{Exit, Failure},
    ui::{progress::RestoreProgress, size},
};

/// A stage is worth its while when so great a part of what is missing has become readable, or all.
const STAGE_PART: u64 = 10;

/// A pack may turn out to be archived so often in one restore.
const REFUSALS_MAX: u32 = 5;

/// How a restore thaws.
#[derive(Debug, Clone, Args)]
pub struct ThawFlags {
    /// Ask for readable copies of archived packs, wait for them, and restore: bulk, standard or
    /// expedited.
    #[arg(
        long, value_name = "TIER", num_args = 0..=1, require_equals = true,
        default_missing_value = "standard", value_parser = crate::cli::thaw::tier
    )]
    thaw: Option<Tier>,
    /// With --thaw: take this tier where the other one has no capacity.
    #[arg(long, value_name = "TIER", value_parser = crate::cli::thaw::tier, requires = "thaw")]
    fallback_tier: Option<Tier>,
    /// With --thaw: for how many days the copies are kept.
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..))]
    days: u16,
    /// With --thaw: give up waiting after so long. The thaw goes on; the same command goes on with it.
    #[arg(long, value_name = "DURATION", value_parser = duration, requires = "thaw")]
    timeout: Option<Duration>,
    /// With --thaw: look so often; without it the more often the nearer the end is.
    #[arg(long, value_name = "DURATION", value_parser = duration, requires = "thaw")]
    poll_interval: Option<Duration>,
    #[command(flatten)]
    prices: PriceFlags,
    #[command(flatten)]
    cost: CostFlags,
}

/// What a thaw and the reads after it were to cost, and what they did.
#[derive(Debug)]
pub struct Bill {
    planned: (Usage, Cost),
    counted: (Usage, Cost),
    currency: Value,
}

impl Bill {
    /// As JSON: quantities and money, planned and counted.
    pub fn json(&self, table: &PriceTable) -> Value {
        let side = |(usage, cost): &(Usage, Cost)| {
            let thaws = usage.all_thaws();
            let gets = usage.gets.values().map(|amount| amount.count).sum::<u64>();
            json!({
                "thaws": thaws.count,
                "thawedBytes": thaws.bytes,
                "extensions": usage.extensions.values().map(|amount| amount.count).sum::<u64>(),
                "copyByteDays": u64::try_from(usage.copy_byte_days).unwrap_or(u64::MAX),
                "gets": gets,
                "bytesRead": usage.bytes_read(),
                "cost": cost_json(cost, table),
            })
        };
        json!({
            "planned": side(&self.planned),
            "counted": side(&self.counted),
            "priceTable": self.currency,
        })
    }

    /// For people.
    pub fn lines(&self) -> Vec<String> {
        let line = |name: &str, (usage, cost): &(Usage, Cost)| {
            let gets = usage.gets.values().map(|amount| amount.count).sum::<u64>();
            format!(
                "  {name:<8} {:>6} packs thawed ({:>9}) {:>7} reads ({:>9}) {:>10}",
                usage.all_thaws().count,
                size::bytes(usage.all_thaws().bytes),
                gets,
                size::bytes(usage.bytes_read()),
                dollars(cost.total())
            )
        };
        vec!["The bill:".to_owned(), line("planned", &self.planned), line("counted", &self.counted)]
    }
}

impl ThawFlags {
    /// Is there to be a thaw?
    pub fn is_on(&self) -> bool {
        self.thaw.is_some()
    }

    /// The prices.
    pub fn table(&self) -> anyhow::Result<std::borrow::Cow<'static, PriceTable>> {
        self.prices.table()
    }

    /// What a plain restore that needs archived packs is refused with: what, how long, how much, and
    /// the command.
    pub fn refusal(&self, plan: &RestorePlan, words: &[String]) -> anyhow::Result<anyhow::Error> {
        let table = self.table()?;
        let (needs, options) = (needs(plan, &HashMap::new()), self.options(Tier::Standard));
        let tiers = ThawPlan::estimates(&needs, &options, &table, self.prices.transfer());
        let tier = tiers.first().map_or(Tier::Standard, |first| first.tier);
        let options = ThawOptions { tier, ..options };
        let thaw = ThawPlan::new(needs.iter().cloned(), &options, &table)?;
        let shown = Shown::of(&thaw, &needs, needed_of(plan), &options, &self.prices, &table);
        let states = thaw.states();
        let of = |state| states.get(&state).copied().unwrap_or_default();
        let (archived, thawing) = (of(BlobState::Archived), of(BlobState::Thawing));
        let classes: Vec<_> =
            thaw.cold_by_class().into_keys().map(|class| class.as_str().to_owned()).collect();
        let mut text = format!(
            "{} of {} packs ({}) are archived{}{}; nothing was written.",
            archived.count + thawing.count,
            thaw.items.len(),
            size::bytes(archived.bytes + thawing.bytes),
            if classes.is_empty() { String::new() } else { format!(" in {}", classes.join(", ")) },
            match thawing.count {
                0 => String::new(),
                count => format!(", {count} of them are being thawed"),
            }
        );
        text.push_str(&format!("\n  {}", shown.tiers_in_a_line()));
        let command = words.iter().map(|word| shlex(word)).collect::<Vec<_>>().join(" ");
        let tier = tier_name(tier);
        text.push_str(&format!("\nDo it in one go:   kopia-lite restore {command} --thaw={tier}"));
        let mut details = shown.json(Vec::new());
        let cold = thaw.cold().map(|item| {
            let class = item.storage_class.as_ref().map(|class| class.as_str());
            json!({"blob": item.blob, "storageClass": class, "bytes": item.size})
        });
        details["packs"] = cold.collect();
        Ok(Failure::new(Exit::Archived, text).with_details(details).into())
    }

    /// The lines that a dry run shows of what is archived.
    pub fn estimate(&self, plan: &RestorePlan) -> anyhow::Result<Vec<String>> {
        let table = self.table()?;
        let options = self.options(self.thaw.unwrap_or(Tier::Standard));
        let needs = needs(plan, &HashMap::new());
        let thaw = ThawPlan::new(needs.iter().cloned(), &options, &table)?;
        let shown = Shown::of(&thaw, &needs, needed_of(plan), &options, &self.prices, &table);
        Ok(shown.lines())
    }

    fn options(&self, tier: Tier) -> ThawOptions {
        let now = SystemClock.now();
        ThawOptions { tier, days: self.days, now, extend: false, upgrade: false }
    }
}

/// A word as a shell takes it.
fn shlex(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@~+=,%".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// The packs of a restore, with the reads that its stages make where they are known.
fn needs(plan: &RestorePlan, reads: &HashMap<String, Amount>) -> Vec<Need> {
    let need = |pack| {
        let mut need = need_of(pack);
        if let Some(reads) = reads.get(&need.blob) {
            need.reads = *reads;
        }
        need
    };
    plan.packs.iter().map(need).collect()
}

/// A restore with a thaw before and beside it.
pub struct ThawRestore<'a> {
    /// The surroundings.
    pub app: &'a App,
    /// The repository.
    pub client: &'a Client,
    /// How it thaws.
    pub flags: &'a ThawFlags,
    /// Where to.
    pub target: &'a Path,
    /// How it restores.
    pub options: &'a RestoreOptions,
    /// Hears how far it is.
    pub progress: Arc<RestoreProgress>,
    /// What is restored, in the user's words.
    pub argument: String,
}

impl ThawRestore<'_> {
    /// Thaws, waits and restores.
    ///
    /// # Errors
    /// [`Exit::Limit`] when it is not agreed to, [`Exit::Thawing`] when it takes longer than the
    /// timeout; what the storage says, and what a restore may give.
    pub async fn run(
        &self,
        plan: RestorePlan,
        archive: Option<ArchiveKind>,
    ) -> anyhow::Result<(RestoreReport, Bill)> {
        let table = self.flags.table()?;
        // Nothing is paid for what can't come back.
        plan.check_whole(self.options.ignore_errors)?;
        let tier = self.flags.thaw.unwrap_or(Tier::Standard);
        let cold: Vec<String> = plan.cold().into_iter().map(|pack| pack.blob).collect();
        let mut stage = Stage::first(cold);
        let reads = match archive {
            None if plan.packs.iter().any(|pack| !pack.is_cold()) && !stage.is_last() => {
                self.reads_of_stages(&plan, &stage).await?
            }
            _ => HashMap::new(),
        };
        let needs = needs(&plan, &reads);
        let thaw = ThawPlan::new(needs.iter().cloned(), &self.flags.options(tier), &table)?;
        let options = self.flags.options(tier);
        let shown =
            Shown::of(&thaw, &needs, needed_of(&plan), &options, &self.flags.prices, &table);
        shown.lines().into_iter().for_each(|line| self.app.info(line));
        let asked = thaw.requests().count();
        let transfer = self.flags.prices.transfer();
        let planned = (thaw.usage(), thaw.cost(&table, transfer));
        let total = dearest(&thaw, self.flags.fallback_tier, &table, transfer);
        if asked > 0 {
            let what = format!(
                "A {} thaw of {asked} packs for {} days, with the restore after it,",
                tier_name(tier),
                self.flags.days
            );
            self.flags.cost.agree(self.app, total, &what).await?;
        }
        let thawing = Thawing {
            app: self.app,
            client: self.client,
            table: &table,
            transfer,
            per_second: 300,
            at_once: 16,
            fallback: self.flags.fallback_tier,
        };
        thawing.expect(&thaw);
        let before = self.client.metrics.expected_usage();
        let mut wait = Waiting::new(self, &thawing, &thaw, total);
        if asked > 0 {
            wait.ask(thaw).await?;
        }
        let report = match archive {
            Some(kind) => {
                wait.for_all(&stage).await?;
                let mut plan = plan;
                plan.look_again(&self.client.repo).await?;
                let (repo, sink) = (&self.client.repo, self.progress.clone());
                plan.run_archive(repo, self.target, kind, self.options, sink, &self.app.stop)
                    .await?
            }
            None => {
                let mut whole = RestoreReport::default();
                self.stages(&plan, &mut stage, &mut wait, &mut whole).await?;
                whole
            }
        };
        let usage = minus(self.client.metrics.expected_usage(), &before);
        let cost = table.cost(&usage, transfer);
        let currency = crate::cli::prices::table_json(&table);
        Ok((report, Bill { planned, counted: (usage, cost), currency }))
    }

    /// The reads of two stages: what is readable now, then all else.
    async fn reads_of_stages(
        &self,
        plan: &RestorePlan,
        first: &Stage,
    ) -> anyhow::Result<HashMap<String, Amount>> {
        let (repo, options) = (&self.client.repo, self.options);
        let mut all = plan.reads(repo, options, first).await?;
        let later: Vec<String> = first.later().map(str::to_owned).collect();
        let second = first.clone().next(later.iter().map(String::as_str), HashSet::new());
        for (pack, reads) in plan.reads(repo, options, &second).await? {
            all.entry(pack).or_default().add(reads);
        }
        Ok(all)
    }

    async fn stages(
        &self,
        plan: &RestorePlan,
        stage: &mut Stage,
        wait: &mut Waiting<'_>,
        whole: &mut RestoreReport,
    ) -> anyhow::Result<()> {
        let mut postponed: HashSet<PathBuf> = HashSet::new();
        loop {
            let (repo, sink) = (&self.client.repo, self.progress.clone());
            let done = plan
                .run_stage(repo, self.target, self.options, stage, sink, &self.app.stop)
                .await?;
            let StageReport { report, postponed: left, refused } = done;
            whole.add(report);
            postponed.extend(left);
            wait.note_refused(refused)?;
            if stage.is_last() && postponed.is_empty() {
                return Ok(());
            }
            let readable = wait.for_more(stage, &postponed).await?;
            let again = if wait.refused.is_empty() {
                std::mem::take(&mut postponed)
            } else {
                HashSet::new()
            };
            *stage = stage.clone().next(readable.iter().map(String::as_str), again);
        }
    }
}

/// What was counted since.
fn minus(mut now: Usage, before: &Usage) -> Usage {
    let less = |amount: &mut Amount, earlier: Option<&Amount>| {
        let earlier = earlier.copied().unwrap_or_default();
        amount.count -= earlier.count;
        amount.bytes -= earlier.bytes;
        amount.count > 0
    };
    now.thaws.retain(|key, amount| less(amount, before.thaws.get(key)));
    now.extensions.retain(|key, amount| less(amount, before.extensions.get(key)));
    now.gets.retain(|key, amount| less(amount, before.gets.get(key)));
    now.heads.retain(|key, count| {
        *count -= before.heads.get(key).copied().unwrap_or(0);
        *count > 0
    });
    now.copy_byte_days -= before.copy_byte_days;
    now
}

/// Waiting for packs, and asking again for those whose copies went away.
struct Waiting<'a> {
    restore: &'a ThawRestore<'a>,
    thawing: &'a Thawing<'a>,
    tier: Tier,
    /// The length of each pack.
    sizes: HashMap<String, u64>,
    /// What is agreed to be spent so far.
    spent: Money,
    /// When all was to be readable, in seconds since 1970.
    expected_end: i64,
    began: Instant,
    /// Packs that were readable and are not.
    refused: HashSet<String>,
    /// How often each pack has refused to be read.
    refusals: HashMap<String, u32>,
}

impl<'a> Waiting<'a> {
    fn new(
        restore: &'a ThawRestore<'a>,
        thawing: &'a Thawing<'a>,
        plan: &ThawPlan,
        spent: Money,
    ) -> Self {
        let wait = i64::try_from(plan.expected_seconds).unwrap_or(i64::MAX / 2);
        let expected_end = plan.made_seconds.saturating_add(wait);
        let (began, refused, refusals) = (Instant::now(), HashSet::new(), HashMap::new());
        let sizes = plan.items.iter().map(|item| (item.blob.clone(), item.size)).collect();
        let tier = plan.tier;
        Self { restore, thawing, tier, sizes, spent, expected_end, began, refused, refusals }
    }

    /// Packs that turned out to be archived. One that goes on refusing, whatever the storage says of
    /// it, is not waited for for ever.
    fn note_refused(&mut self, packs: HashSet<String>) -> anyhow::Result<()> {
        for pack in packs {
            let refusals = self.refusals.entry(pack.clone()).or_default();
            *refusals += 1;
            anyhow::ensure!(
                *refusals <= REFUSALS_MAX,
                "pack {pack} refuses to be read again and again, though the storage says that it can \
                 be"
            );
            self.refused.insert(pack);
        }
        Ok(())
    }

    async fn ask(&mut self, plan: ThawPlan) -> anyhow::Result<()> {
        let started = self.thawing.start(plan, vec![self.restore.argument.clone()]).await?;
        if let Some(error) = started.error {
            return Err(error);
        }
        if let Some(failed) = started.run.failed.first() {
            anyhow::bail!("{}: {}", failed.blob, failed.error);
        }
        if started.run.left > 0 {
            return Err(self.stopped());
        }
        self.expected_end = self.expected_end.max(started.expected_end());
        let app = self.restore.app;
        app.info(format!(
            "Thaw {}: asked for {} packs; readable by about {}.",
            started.id,
            started.run.started + started.run.extended,
            at(app, started.expected_end())
        ));
        Ok(())
    }

    /// Waits until all packs are readable.
    async fn for_all(&mut self, stage: &Stage) -> anyhow::Result<()> {
        let mut later: HashSet<String> = stage.later().map(str::to_owned).collect();
        while !later.is_empty() {
            for pack in self.look(&later).await? {
                later.remove(&pack);
            }
            if !later.is_empty() {
                self.pause().await?;
            }
        }
        Ok(())
    }

    /// Waits until so much has become readable that it is worth a stage; gives those packs.
    async fn for_more(
        &mut self,
        stage: &Stage,
        postponed: &HashSet<PathBuf>,
    ) -> anyhow::Result<Vec<String>> {
        let later: HashSet<String> = stage.later().map(str::to_owned).collect();
        let missing = self.bytes(&later);
        loop {
            let all: HashSet<String> = later.union(&self.refused).cloned().collect();
            let readable = self.look(&all).await?;
            self.refused.retain(|pack| !readable.contains(pack));
            let more: Vec<String> =
                readable.into_iter().filter(|pack| later.contains(pack)).collect();
            let ready = self.bytes(&more);
            let is_all = more.len() == later.len();
            let worth_it = !more.is_empty() && ready >= missing / STAGE_PART;
            let again = !postponed.is_empty() && self.refused.is_empty();
            if (is_all && (self.refused.is_empty() || !more.is_empty())) || worth_it || again {
                return Ok(more);
            }
            self.pause().await?;
        }
    }

    /// The bytes of some packs together.
    fn bytes<'b>(&self, packs: impl IntoIterator<Item = &'b String>) -> u64 {
        packs.into_iter().filter_map(|pack| self.sizes.get(pack)).sum()
    }

    /// Which of these packs are readable? Asks again for those that are archived and nobody thaws.
    async fn look(&mut self, packs: &HashSet<String>) -> anyhow::Result<Vec<String>> {
        let storage = self.restore.client.repo.storage();
        let names = packs.iter().map(String::as_str);
        let mut found = look_up(storage, names, storage.info().concurrency).await?;
        // A listing may call readable what a read was refused of: only the blob itself tells then.
        for pack in packs.intersection(&self.refused) {
            if let Some(meta) = found.get_mut(pack).filter(|meta| !meta.is_cold()) {
                *meta = storage.head(&meta.id).await?;
            }
        }
        let (mut readable, mut lost) = (Vec::new(), Vec::new());
        for pack in packs {
            let need = found.get(pack).map(|meta: &BlobMeta| Need::whole(meta));
            match need.as_ref().map_or(BlobState::Missing, |need| need.state) {
                BlobState::Online | BlobState::Thawed | BlobState::Unknown => {
                    readable.push(pack.clone());
                }
                BlobState::Thawing => {}
                BlobState::Archived => lost.extend(need),
                BlobState::Missing => anyhow::bail!("pack {pack} does not exist any more"),
            }
        }
        if !lost.is_empty() {
            self.ask_again(lost).await?;
        }
        Ok(readable)
    }

    /// Copies that went away before they were read: that is paid for once more.
    async fn ask_again(&mut self, mut lost: Vec<Need>) -> anyhow::Result<()> {
        let (restore, table) = (self.restore, self.thawing.table);
        // The reads were agreed to already.
        lost.iter_mut().for_each(|need| need.reads = Amount::default());
        let options = restore.flags.options(self.tier);
        let plan = ThawPlan::new(lost, &options, table)?;
        let fallback = self.thawing.fallback;
        let cost = dearest(&plan, fallback, table, self.thawing.transfer);
        let what = format!(
            "{} packs are archived again before they were read; to thaw them once more, with all so far,",
            plan.items.len()
        );
        restore.flags.cost.agree(restore.app, self.spent + cost, &what).await?;
        self.spent += cost;
        self.ask(plan).await
    }

    async fn pause(&self) -> anyhow::Result<()> {
        let flags = self.restore.flags;
        let left = self.expected_end.saturating_sub(SystemClock.now().secs());
        let left = Duration::from_secs(u64::try_from(left).unwrap_or(0));
        let mut pause = flags.poll_interval.unwrap_or_else(|| poll_pause(left));
        if let Some(timeout) = flags.timeout {
            let rest = timeout.saturating_sub(self.began.elapsed());
            if rest.is_zero() {
                let message =
                    "the thaw is still running; the same command goes on with the restore";
                return Err(Failure::new(Exit::Thawing, message).into());
            }
            pause = pause.min(rest);
        }
        tokio::select! {
            () = SystemClock.sleep(pause) => Ok(()),
            () = self.restore.app.stop.cancelled() => Err(self.stopped()),
        }
    }

    fn stopped(&self) -> anyhow::Error {
        let exit = self.restore.app.interrupted().unwrap_or(Exit::Interrupted);
        let message =
            "stopped; what was asked for is being thawed: the same command goes on with it";
        Failure::new(exit, message).into()
    }
}
