//! Carrying out the plan of a thaw: a journal, the requests, another tier where one is exhausted.

use std::{collections::HashSet, path::PathBuf, sync::Arc};

use anyhow::Context;
use blob_core::{OsEntropy, StorageClass, SystemClock, Tier, Timestamp};
use cold_storage::{
    Money, PriceTable, Transfer,
    thaw::{
        self, BlobState, Fallback, Header, Journal, Need, RunOptions, Step, ThawError, ThawPlan,
        ThawRun,
    },
    tier_name,
};

use kopia_repo::PackState;
use kopia_snapshot::restore::PlannedPack;

use crate::{
    cli::App,
    compose::Client,
    exit::{Exit, Failure},
    ui::progress::{self, Progress},
};

/// Where the journals of a connection lie.
pub fn folder(app: &App) -> PathBuf {
    let mut name = app.config_file.clone().into_os_string();
    name.push(".thaws");
    name.into()
}

/// What it takes to ask for thaws.
#[derive(Debug)]
pub struct Thawing<'a> {
    /// The surroundings.
    pub app: &'a App,
    /// The repository.
    pub client: &'a Client,
    /// The prices.
    pub table: &'a PriceTable,
    /// Where the bytes go afterwards.
    pub transfer: Transfer,
    /// Requests a second, at most.
    pub per_second: u32,
    /// Requests at once, at most.
    pub at_once: usize,
    /// The tier to take where the other one has no capacity.
    pub fallback: Option<Tier>,
}

/// A thaw that was begun.
#[derive(Debug)]
pub struct Started {
    /// Its ID.
    pub id: String,
    /// When all can typically be read, in seconds since 1970.
    pub expected_end: i64,
    /// What came of it.
    pub run: ThawRun,
    /// Why not all was asked for, if something stood against it.
    pub error: Option<anyhow::Error>,
}

impl Thawing<'_> {
    /// Asks for what `plan` says, and notes it in a journal.
    ///
    /// # Errors
    /// There can be no journal. What the storage says is in [`Started::error`].
    pub async fn start(&self, plan: &ThawPlan, arguments: Vec<String>) -> anyhow::Result<Started> {
        let id = thaw::new_id(self.app.now(), &OsEntropy);
        let header = Header {
            thaw_id: id.clone(),
            storage: self.client.bare.info().name.clone(),
            arguments,
            job: None,
            cost: plan.cost(self.table, self.transfer),
            plan: plan.clone(),
        };
        let mut journal = Journal::create(&folder(self.app), &header)?;
        self.expect(plan);
        let (mut run, mut error) = self.ask(plan, &mut journal).await;
        let mut expected_end = plan.expected_end();
        if error.is_none() && run.is_exhausted() {
            match self.fallback.filter(|tier| *tier != plan.tier) {
                Some(tier) => {
                    let exhausted: HashSet<String> = run.exhausted.drain(..).collect();
                    let other = plan.part(|blob| exhausted.contains(blob), tier, self.table)?;
                    let first =
                        plan.part(|blob| !exhausted.contains(blob), plan.tier, self.table)?;
                    let mut usage = first.usage();
                    usage.add(&other.usage());
                    expected_end = first.expected_end().max(other.expected_end());
                    let cost = self.table.cost(&usage, self.transfer);
                    journal.fall_back(&Fallback {
                        fallback_tier: tier,
                        cost,
                        expected_end_seconds: expected_end,
                    })?;
                    let (more, failed) = self.ask(&other, &mut journal).await;
                    run = joined(run, more);
                    error = failed;
                    if error.is_none() && run.is_exhausted() {
                        error = Some(exhausted_error(&other, &run, self.table));
                    }
                }
                None => error = Some(exhausted_error(plan, &run, self.table)),
            }
        }
        Ok(Started { id, expected_end, run, error })
    }

    /// Tells the counters what the blobs are, so that what is asked of them is counted as it is
    /// billed.
    pub fn expect(&self, plan: &ThawPlan) {
        self.client.metrics.expect(plan.items.iter().map(|item| {
            let class = item.storage_class.clone().unwrap_or(StorageClass::STANDARD);
            (item.blob.as_str(), class, item.size)
        }));
    }

    async fn ask(
        &self,
        plan: &ThawPlan,
        journal: &mut Journal,
    ) -> (ThawRun, Option<anyhow::Error>) {
        let total = plan.requests().count();
        let options = RunOptions {
            per_second: self.per_second,
            at_once: self.at_once,
            clock: Arc::new(SystemClock),
        };
        let shown = Progress::new(self.app.globals.progress(), "thaw");
        let mut asked = 0_u64;
        let storage = &self.client.unretried;
        let ran = thaw::run(plan, storage, &options, &self.app.stop, |one| {
            asked += 1;
            shown.show(|| {
                let line = format!("{asked} of {total} packs were asked for");
                progress::Step::of(asked, total as u64, line)
            });
            journal.note(&one)
        });
        let ran = ran.await;
        shown.finish();
        match ran {
            Ok(run) => (run, None),
            Err(error) => {
                let (asked, message) = (asked, error.to_string());
                let run = match error {
                    ThawError::Storage { source, run } => (*run, anyhow::Error::from(source)),
                    ThawError::Journal { source, run } => (*run, anyhow::Error::from(source)),
                    _ => (ThawRun::default(), anyhow::anyhow!(message)),
                };
                let text = format!(
                    "{asked} of {total} packs were asked for; the same command goes on with the rest"
                );
                (run.0, Some(run.1.context(text)))
            }
        }
    }
}

/// What a plan costs if the other tier has to be taken for all of it, where that is dearer: what is
/// agreed to is the most that may be spent.
///
/// # Errors
/// A class doesn't have the other tier.
pub fn dearest(
    plan: &ThawPlan,
    fallback: Option<Tier>,
    table: &PriceTable,
    transfer: Transfer,
) -> anyhow::Result<Money> {
    let total = plan.cost(table, transfer).total();
    let Some(tier) = fallback else { return Ok(total) };
    let other = plan.part(|_| true, tier, table).context("--fallback-tier")?;
    Ok(total.max(other.cost(table, transfer).total()))
}

fn joined(mut one: ThawRun, other: ThawRun) -> ThawRun {
    one.started += other.started;
    one.already_running += other.already_running;
    one.extended += other.extended;
    one.readable += other.readable;
    one.failed.extend(other.failed);
    one.exhausted = other.exhausted;
    one.left = other.left;
    one
}

/// The tier has no capacity: an error of its own, since another tier is another price.
fn exhausted_error(plan: &ThawPlan, run: &ThawRun, table: &PriceTable) -> anyhow::Error {
    let tier = tier_name(plan.tier);
    let classes = plan.items.iter().filter(|item| matches!(item.step, Step::Start(_)));
    let class = classes.filter_map(|item| item.storage_class.as_ref()).next();
    let facts = class.map(|class| table.class_or_standard(class));
    let others = facts.into_iter().flat_map(|facts| facts.tiers());
    let others: Vec<_> = others
        .filter(|(other, _)| *other != plan.tier)
        .map(|(other, _)| tier_name(other))
        .collect();
    let message = format!(
        "the {tier} tier has no capacity now for {} packs ({} were asked for); try later, or take \
         another one: --fallback-tier={}",
        run.exhausted.len(),
        run.started,
        others.last().copied().unwrap_or("standard")
    );
    Failure::new(Exit::Failed, message)
        .with_details(serde_json::json!({"tier": tier, "packs": run.exhausted}))
        .into()
}

/// A pack of a restore as a thaw sees it.
pub fn need_of(pack: &PlannedPack) -> Need {
    let until = pack.until_secs.map(Timestamp::from_secs);
    let state = match (pack.state, until) {
        (PackState::Ready, Some(_)) => BlobState::Thawed,
        (PackState::Ready, None) => BlobState::Online,
        (PackState::Cold, _) => BlobState::Archived,
        (PackState::Thawing, _) => BlobState::Thawing,
        (PackState::Missing, _) => BlobState::Missing,
        (PackState::Unknown, _) => BlobState::Unknown,
    };
    let (class, size) = (pack.class.clone().map(StorageClass::new), pack.size.unwrap_or(0));
    let asked_days = None;
    Need { blob: pack.pack.clone(), size, class, state, until, asked_days, reads: pack.reads }
}
