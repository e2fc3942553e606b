//! `thaw start`.

use std::{collections::HashMap, num::NonZeroU32};

use blob_core::Tier;
use clap::Args;
use cold_storage::{
    parse_tier,
    thaw::{
        BlobState, Header, Journal, Need, Noted, Outcome, Step, ThawOptions, ThawPlan, ThawRun,
    },
    tier_name,
};

use super::{
    batch::BatchFlags,
    json::{self, Now},
    show::{Shown, at},
    status::journals,
    wanted::{Found, Needed, Wanted},
};
use crate::{
    cli::{
        App,
        app::Access,
        prices::{CostFlags, PriceFlags},
    },
    compose::Client,
    exit::{Exit, Failure},
    jobs::thaw::{self, Thawing, folder},
    ui::{json::JsonFlags, text},
};

/// Ask for readable copies of the archived packs that a restore needs.
#[derive(Debug, Args)]
pub struct Start {
    #[command(flatten)]
    wanted: Wanted,
    /// How fast: bulk, standard, or expedited where the class has it. Without it standard, or that
    /// of the earlier thaw that is gone on with.
    #[arg(long, value_name = "TIER", value_parser = tier)]
    tier: Option<Tier>,
    /// Take this tier where the other one has no capacity.
    #[arg(long, value_name = "TIER", value_parser = tier)]
    fallback_tier: Option<Tier>,
    /// For how many days the copies are kept. Without it 7, or as long as those of the earlier thaw
    /// that is gone on with.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    days: Option<u16>,
    /// Keep copies that are there already for as long, too.
    #[arg(long)]
    extend: bool,
    /// Ask once more, faster, for copies that are being made.
    #[arg(long)]
    upgrade_tier: bool,
    /// Requests a second, at most; S3 takes 1000 for an account.
    #[arg(long, value_name = "N", default_value = "300")]
    rate: NonZeroU32,
    /// Requests at once.
    #[arg(long, value_name = "N", default_value_t = 16)]
    parallel: usize,
    #[command(flatten)]
    batch: BatchFlags,
    #[command(flatten)]
    prices: PriceFlags,
    #[command(flatten)]
    cost: CostFlags,
    /// Only say what would be asked for.
    #[arg(short = 'n', long)]
    dry_run: bool,
    #[command(flatten)]
    json: JsonFlags,
}

/// For so many days copies are kept, if nothing else is said.
const DAYS: u16 = 7;

/// The days that running thaws were asked for, from the journals: only with the same can they be made
/// faster.
fn remember_days(app: &App, needs: &mut [Need]) -> anyhow::Result<()> {
    let mut days: HashMap<String, u16> = HashMap::new();
    for noted in journals(app)? {
        if noted.header.job.is_some() {
            // What a job has asked for is not noted singly.
            let items = noted.header.plan.items.into_iter();
            let items = items.filter(|item| matches!(item.step, Step::Start(_)));
            let of_all = noted.header.plan.days;
            days.extend(items.map(|item| (item.blob, of_all)));
        }
        let begun = noted.notes.into_iter().filter(|note| note.outcome == Outcome::Started);
        days.extend(begun.map(|note| (note.blob, note.days)));
    }
    for need in needs.iter_mut().filter(|need| need.state == BlobState::Thawing) {
        need.asked_days = days.get(&need.blob).copied();
    }
    Ok(())
}

/// A tier by name.
pub fn tier(name: &str) -> Result<Tier, String> {
    parse_tier(name).ok_or_else(|| "must be bulk, standard or expedited".to_owned())
}

impl Start {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let table = self.prices.table()?;
        let client = app.open(Access::Read).await?;
        anyhow::ensure!(
            !self.batch.batch || client.bucket.is_some(),
            "only S3 has Batch Operations, and this repository lies elsewhere"
        );
        let (mut found, earlier) = app.unless_stopped(self.found(app, &client)).await?;
        if self.upgrade_tier {
            remember_days(app, &mut found.needs)?;
        }
        let tier = self.tier.or(earlier.map(|(tier, _)| tier)).unwrap_or(Tier::Standard);
        let days = self.days.or(earlier.map(|(_, days)| days)).unwrap_or(DAYS);
        let options = ThawOptions {
            tier,
            days,
            now: app.now(),
            extend: self.extend,
            upgrade: self.upgrade_tier,
        };
        let mut plan = ThawPlan::new(found.needs.iter().cloned(), &options, &table)?;
        if self.batch.batch {
            self.batch.prepare(app, &client, &mut plan)?;
        }
        let shown = Shown::of(&plan, &found.needs, found.needed, &options, &self.prices, &table);
        if self.dry_run {
            match self.json.json {
                true => self.json.print(&shown.json(found.roots)),
                false => shown.print(),
            }
            return Ok(Exit::Done);
        }
        shown.lines().into_iter().for_each(|line| app.info(line));
        let lost = plan.items.iter().filter(|item| item.state == BlobState::Missing);
        let lost = lost.inspect(|item| app.warn(format!("{} does not exist", item.blob))).count();
        let asked = plan.requests().count();
        if asked == 0 && plan.cold().next().is_none() {
            app.info("Nothing to ask for: all can be read.");
            if self.json.json {
                let now = Now::after(&plan, &ThawRun::default());
                let header = Header {
                    thaw_id: String::new(),
                    storage: String::new(),
                    arguments: Vec::new(),
                    job: None,
                    cost: plan.cost(&table, self.prices.transfer()),
                    plan,
                };
                let noted = Noted { header, fallback: None, notes: Vec::new() };
                let mut value = json::thaw(&noted, Some(&now), None, &table);
                value["thawID"] = serde_json::Value::Null;
                self.json.print(&value);
            }
            return Ok(if lost > 0 { Exit::Incomplete } else { Exit::Done });
        }
        if asked == 0 {
            app.info("Nothing to ask for: what is archived is being thawed already.");
        } else {
            let what = format!(
                "A {} thaw of {asked} packs for {} days, with the restore after it,",
                tier_name(tier),
                days
            );
            let job = match self.batch.batch {
                true => table.batch_job(asked as u64),
                false => cold_storage::Money::ZERO,
            };
            let transfer = self.prices.transfer();
            let total = thaw::dearest(&plan, self.fallback_tier, &table, transfer)?;
            self.cost.agree(app, total + job, &what).await?;
        }
        if self.batch.batch && asked > 0 {
            let arguments = self.wanted.arguments();
            let exit =
                self.batch.run(app, &client, plan, &arguments, &self.prices, self.json).await?;
            return Ok(if lost > 0 { Exit::Incomplete } else { exit });
        }
        let thawing = Thawing {
            app,
            client: &client,
            table: &table,
            transfer: self.prices.transfer(),
            per_second: self.rate.get(),
            at_once: self.parallel,
            fallback: self.fallback_tier,
        };
        let mut done = thawing.start(&plan, self.wanted.arguments()).await?;
        if let Some(error) = done.error.take() {
            return Err(error);
        }
        self.print(app, &plan, &done, &table)?;
        match (done.run.failed.len() + lost, done.run.left) {
            (_, 1..) => {
                let left = done.run.left;
                let message = format!(
                    "stopped; {left} packs were not asked for: the same command goes on with them"
                );
                Err(Failure::new(app.interrupted().unwrap_or(Exit::Failed), message).into())
            }
            (1.., 0) => Ok(Exit::Incomplete),
            (0, 0) => Ok(Exit::Done),
        }
    }

    /// What is to be thawed: roots, blobs, or the blobs of an earlier thaw, whose ID is the root;
    /// then its tier and days, too.
    async fn found(
        &self,
        app: &App,
        client: &Client,
    ) -> anyhow::Result<(Found, Option<(Tier, u16)>)> {
        let [id] = self.wanted.roots.as_slice() else {
            return Ok((self.wanted.find(app, client).await?, None));
        };
        if !id.starts_with("t-") {
            return Ok((self.wanted.find(app, client).await?, None));
        }
        let noted = Journal::read(&folder(app), id)?;
        let storage = client.repo.storage();
        let names = noted.header.plan.items.iter().map(|item| item.blob.as_str());
        let metas = blob_core::look_up(storage, names, storage.info().concurrency).await?;
        let mut needed = Needed::default();
        let needs = noted.header.plan.items.iter().map(|item| {
            let mut need = match metas.get(&item.blob) {
                Some(meta) => Need::whole(meta),
                None => Need::missing(&item.blob, item.size, item.storage_class.clone()),
            };
            need.reads = blob_core::Amount { count: item.gets, bytes: item.get_bytes };
            needed.packs.add(blob_core::Amount { count: 1, bytes: need.size });
            needed.contents.bytes += item.get_bytes;
            need
        });
        let needs = needs.collect();
        let earlier = (noted.header.plan.tier, noted.header.plan.days);
        Ok((Found { roots: Vec::new(), needs, needed }, Some(earlier)))
    }

    fn print(
        &self,
        app: &App,
        plan: &ThawPlan,
        done: &thaw::Started,
        table: &cold_storage::PriceTable,
    ) -> anyhow::Result<()> {
        let (run, now) = (&done.run, Now::after(plan, &done.run));
        if self.json.json {
            let noted = Journal::read(&folder(app), &done.id)?;
            let mut value = json::thaw(&noted, Some(&now), None, table);
            value["failed"] = json::failed(&run.failed);
            self.json.print(&value);
            return Ok(());
        }
        text::line(format!("Thaw {}", done.id));
        let asked = run.started + run.extended;
        if asked > 0 {
            app.info(format!("Asked for {} packs, {} of them anew.", asked, run.started));
        }
        for failed in &run.failed {
            app.warn(format!("{}: {}", failed.blob, failed.error));
        }
        if now.remaining > 0 {
            app.info(format!(
                "Readable by about {}. To wait: kopia-lite thaw wait {}",
                at(app, done.expected_end),
                done.id
            ));
        }
        Ok(())
    }
}
