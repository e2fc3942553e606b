//! `thaw plan`.

use anyhow::Context;
use blob_core::Tier;
use clap::Args;
use cold_storage::thaw::{ThawOptions, ThawPlan};

use super::{batch::manifest_of, show::Shown, start::tier, wanted::Wanted};
use crate::{
    cli::{App, app::Access, prices::PriceFlags},
    exit::Exit,
    ui::{json::JsonFlags, text},
};

/// Say which packs a restore needs, how long a thaw takes and what it costs.
#[derive(Debug, Args)]
pub struct Plan {
    #[command(flatten)]
    wanted: Wanted,
    /// For how many days the copies would be kept.
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..))]
    days: u16,
    /// Only this tier: bulk, standard or expedited.
    #[arg(long, value_name = "TIER", value_parser = tier)]
    tier: Option<Tier>,
    #[command(flatten)]
    prices: PriceFlags,
    /// Print the IDs of the packs that have to be thawed, one a line.
    #[arg(long, conflicts_with = "json")]
    ids_only: bool,
    /// Write the list of these packs for S3 Batch Operations to this file.
    #[arg(long, value_name = "FILE")]
    manifest: Option<std::path::PathBuf>,
    #[command(flatten)]
    json: JsonFlags,
}

impl Plan {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let table = self.prices.table()?;
        let client = app.open(Access::Read).await?;
        let found = self.wanted.find(app, &client).await?;
        let options = ThawOptions {
            tier: self.tier.unwrap_or(Tier::Standard),
            days: self.days,
            now: app.now(),
            extend: false,
            upgrade: false,
        };
        let plan = ThawPlan::new(found.needs.iter().cloned(), &options, &table)?;
        if let Some(file) = &self.manifest {
            let bucket = client.bucket.as_ref().context("only S3 has Batch Operations")?;
            fs_err::write(file, manifest_of(bucket, &plan)?.bytes())?;
        }
        if self.ids_only {
            plan.requests().for_each(|(item, _)| text::line(&item.blob));
            return Ok(Exit::Done);
        }
        let mut shown =
            Shown::of(&plan, &found.needs, found.needed, &options, &self.prices, &table);
        if let Some(only) = self.tier {
            shown.tiers.retain(|tier| tier.tier == only);
        }
        match self.json.json {
            true => self.json.print(&shown.json(found.roots)),
            false => shown.print(),
        }
        Ok(Exit::Done)
    }
}
