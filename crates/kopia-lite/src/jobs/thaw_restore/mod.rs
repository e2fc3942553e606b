//! A restore that thaws what it needs, and begins with what is readable.
//!
//! The plans of a restore and of a thaw are joined here: neither crate knows the other. The requests
//! are made first; then files are written in stages, each with the packs that have become readable.
//! A pack whose copy went away meanwhile is asked for again, if that too is agreed to.

mod bill;
mod wait;

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use blob_core::{Amount, Clock, SystemClock, Tier};
use clap::Args;
use cold_storage::{
    PriceTable,
    thaw::{BlobState, Need, ThawOptions, ThawPlan},
    tier_name,
};
use kopia_snapshot::restore::{
    ArchiveKind, RestoreOptions, RestorePlan, RestoreReport, Stage, StageReport,
};
use serde_json::json;

pub use bill::Bill;

use self::{bill::minus, wait::Waiting};
use super::thaw::{Thawing, dearest, need_of};
use crate::{
    cli::{
        App,
        prices::{CostFlags, PriceFlags, table_json},
        repository::flags::duration,
        thaw::{needed_of, show::Shown},
    },
    compose::Client,
    exit::{Exit, Failure},
    ui::{progress::RestoreProgress, size},
};

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
        let total = dearest(&thaw, self.flags.fallback_tier, &table, transfer)?;
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
        Ok((report, Bill { planned, counted: (usage, cost), prices: table_json(&table) }))
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
