//! `maintenance run --thaw-and-compact`: mostly dead archived packs, when it pays.
//!
//! The packs that pay are asked to be thawed, and nothing is waited for: the same command goes on
//! with those that have become readable, today or tomorrow.

use std::collections::HashSet;

use anyhow::bail;
use blob_core::Tier;
use clap::Args;
use cold_storage::{Money, thaw::ThawPlan, tier_name};
use kopia_maintenance::{ColdPolicy, Maintenance, Mode, Options, Status, plan::Verdict};
use kopia_repo::RepositoryLog;

use super::{
    super::{
        App,
        prices::{CostFlags, PriceFlags, dollars},
        thaw::{show::at, tier},
    },
    run,
};
use crate::{
    compose::Client,
    jobs::{
        compact_cold::{Economy, economy, is_readable, need, thaw_options},
        maintenance::Snapshots,
        thaw::Thawing,
    },
    ui::size,
};

/// Whether archived packs are compacted, and how.
#[derive(Debug, Clone, Args)]
pub struct ThawAndCompact {
    /// With --full: thaw archived packs of which little is needed, and compact them, if that pays. The
    /// policy must allow it: maintenance set --cold=compact.
    #[arg(long)]
    thaw_and_compact: bool,
    /// With --thaw-and-compact: within how many months it must have paid.
    #[arg(long, value_name = "MONTHS", default_value_t = 12.0, requires = "thaw_and_compact")]
    pays_within: f64,
    /// With --thaw-and-compact: how fast the packs are thawed.
    #[arg(long, value_name = "TIER", value_parser = tier, requires = "thaw_and_compact")]
    tier: Option<Tier>,
    /// With --thaw-and-compact: for how many days the copies are kept.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    days: u16,
    #[command(flatten)]
    cost: CostFlags,
}

/// What was found of all short archived packs.
struct Found {
    pays: Vec<Economy>,
    others: Vec<Economy>,
}

impl ThawAndCompact {
    /// Is it wanted?
    pub fn is_on(&self) -> bool {
        self.thaw_and_compact
    }

    /// # Errors
    /// It is part of full maintenance.
    pub fn check(&self, mode: Mode) -> anyhow::Result<()> {
        if self.thaw_and_compact && mode == Mode::Quick {
            bail!("--thaw-and-compact is part of full maintenance: add --full");
        }
        Ok(())
    }

    fn tier(&self) -> Tier {
        self.tier.unwrap_or(Tier::Bulk)
    }

    async fn find(
        &self,
        app: &App,
        client: &Client,
        options: &Options,
        prices: &PriceFlags,
    ) -> anyhow::Result<Found> {
        if options.cold != ColdPolicy::Compact {
            bail!(
                "the policy for archived packs is {}: nothing of them is compacted. To allow it: \
                 kopia-lite maintenance set --cold=compact",
                options.cold
            );
        }
        let (reach, log) = (Snapshots(&client.repo), RepositoryLog::nowhere());
        let deaf = |_: &kopia_maintenance::Event<'_>| {};
        let maintenance = Maintenance::new(&client.repo, options, &reach, &deaf, &log, &app.stop);
        // Before anything is paid for.
        let status = Status::read(&client.repo).await?;
        maintenance.check_owner(&status).map_err(run::failure)?;
        let rewrite = maintenance.plan_rewrite().await?;
        if rewrite.verdict == Verdict::NotYet {
            bail!("nothing can be compacted yet: {}", rewrite.reason);
        }
        let (table, transfer) = (prices.table()?, prices.transfer());
        let pack_bytes = client.repo.format().max_pack_size.into();
        let thaw = thaw_options(self.tier(), self.days, app.now());
        let (mut pays, mut others) = (Vec::new(), Vec::new());
        for pack in rewrite.cold_packs {
            let sums = economy(pack, &thaw, &table, transfer, pack_bytes)?;
            if sums.pays_within(self.pays_within) { pays.push(sums) } else { others.push(sums) }
        }
        Ok(Found { pays, others })
    }

    /// Says what would pay, and what would not.
    pub async fn print(
        &self,
        app: &App,
        client: &Client,
        options: &Options,
        prices: &PriceFlags,
    ) -> anyhow::Result<()> {
        let found = self.find(app, client, options, prices).await?;
        lines(&found, self.pays_within).into_iter().for_each(|line| app.info(line));
        Ok(())
    }

    /// Asks for the packs that pay, and gives those that can be read now.
    ///
    /// # Errors
    /// The policy does not allow it, nobody agrees to the cost, or the storage refuses.
    pub async fn prepare(
        &self,
        app: &App,
        client: &Client,
        options: &Options,
        prices: &PriceFlags,
    ) -> anyhow::Result<HashSet<String>> {
        let found = self.find(app, client, options, prices).await?;
        lines(&found, self.pays_within).into_iter().for_each(|line| app.info(line));
        let table = prices.table()?;
        let readable = found.pays.iter().filter(|sums| is_readable(&sums.pack));
        let readable: HashSet<String> =
            readable.map(|sums| sums.pack.meta.id.as_str().to_owned()).collect();
        let needs = found.pays.iter().map(|sums| need(&sums.pack));
        let thaw = thaw_options(self.tier(), self.days, app.now());
        let plan = ThawPlan::new(needs, &thaw, &table)?;
        let asked = plan.requests().count();
        if asked == 0 {
            return Ok(readable);
        }
        let total = found.pays.iter().fold(Money::ZERO, |sum, sums| sum + sums.cost);
        let what =
            format!("A {} thaw of {asked} packs, with compacting them,", tier_name(self.tier()));
        self.cost.agree(app, total, &what).await?;
        let thawing = Thawing {
            app,
            client,
            table: &table,
            transfer: prices.transfer(),
            per_second: 300,
            at_once: 16,
            fallback: None,
        };
        let mut started = thawing.start(&plan, vec!["maintenance".to_owned()]).await?;
        if let Some(error) = started.error.take() {
            return Err(error);
        }
        app.info(format!(
            "Thaw {}: asked for {} packs. The same command compacts them when they are readable, about \
             {}.",
            started.id,
            started.run.started,
            at(app, started.expected_end)
        ));
        Ok(readable)
    }
}

/// What pays and what does not, in words.
fn lines(found: &Found, months: f64) -> Vec<String> {
    let of = |all: &[Economy], verdict: &str| {
        if all.is_empty() {
            return None;
        }
        let (mut cost, mut saving, mut dead, mut bytes) = (Money::ZERO, Money::ZERO, 0, 0);
        for sums in all {
            cost += sums.cost;
            saving += sums.saving;
            dead += sums.pack.dead_bytes();
            bytes += sums.pack.meta.size;
        }
        let even = match saving {
            Money::ZERO => "never".to_owned(),
            _ => {
                format!("after {:.0} months", (cost.picos() as f64 / saving.picos() as f64).ceil())
            }
        };
        Some(format!(
            "{} archived packs ({}, {} of it dead) {verdict}: it costs {}, saves {} a month and pays \
             {even}",
            all.len(),
            size::bytes(bytes),
            size::bytes(dead),
            dollars(cost),
            dollars(saving),
        ))
    };
    let kept = format!("stay as they are, for compacting them does not pay within {months} months");
    let both = [of(&found.pays, "are worth compacting"), of(&found.others, &kept)];
    let lines: Vec<String> = both.into_iter().flatten().collect();
    if lines.is_empty() { vec!["No archived pack is short.".to_owned()] } else { lines }
}
