//! `storage-config lifecycle diff` and `install`.

use anyhow::Context;
use blob_core::StorageClass;
use clap::Args;
use cold_storage::lifecycle::{Level, Plan, Reach, is_data_pack};
use serde_json::json;

use super::{
    bucket::{Bucket, patiently},
    proposal::Proposal,
    show::line,
};
use crate::{
    cli::{App, app::Access},
    exit::{Exit, Failure},
    ui::{json::JsonFlags, size, text},
};

/// What the rule is to do.
#[derive(Debug, Args)]
pub struct Wanted {
    /// Where packs go; without it to the class that .storageconfig names for p.
    #[arg(long, value_name = "CLASS")]
    to: Option<String>,
    /// How old they are then. Maintenance has merged short ones by that time.
    #[arg(long, value_name = "N", default_value_t = 14,
        value_parser = clap::value_parser!(u32).range(0..=i64::from(i32::MAX)))]
    days: u32,
    /// Packs with fewer bytes stay; without it 60 % of the repository's maximum pack size, since
    /// maintenance rewrites those.
    #[arg(long, value_name = "BYTES", value_parser = byte_count)]
    min_size: Option<u64>,
}

fn byte_count(text: &str) -> Result<u64, String> {
    let bytes = size::parse(text).ok().and_then(|bytes| u64::try_from(bytes).ok());
    bytes.ok_or_else(|| "it must be a number of bytes, such as 12MiB".to_owned())
}

impl Wanted {
    async fn plan(&self, app: &App, bucket: &mut Bucket) -> anyhow::Result<Plan> {
        let class = match &self.to {
            Some(class) => StorageClass::new(class),
            None => bucket.class_of_packs()?,
        };
        let min_size = match self.min_size {
            Some(size) => size,
            None => {
                let client = app.open(Access::Read).await.context(
                    "the maximum pack size stands in the repository; --min-size does without",
                )?;
                let max = u64::from(client.repo.format().max_pack_size);
                *bucket.repository.short_pack.insert(Plan::size_of_short_packs(max))
            }
        };
        let owner = bucket.repository.owner.clone();
        let storage = &bucket.storage;
        let strangers = patiently(async || storage.beside("p", is_data_pack).await).await?;
        let reach = Reach::beside(&owner, &strangers).map_err(|strangers| {
            let message = format!(
                "{strangers}. A lifecycle rule would move them, too: move them away, or the \
                 repository to a prefix of its own"
            );
            Failure::new(Exit::Failed, message).with_details(json!({"strangers": strangers.some}))
        })?;
        if reach == Reach::Digits {
            app.info(format!(
                "Other objects begin with {:?}, too, such as {:?}: sixteen rules leave them out.",
                format!("{}p", owner.prefix()),
                strangers[0]
            ));
        }
        Ok(Plan::new(owner, class, self.days, min_size, reach)?)
    }
}

/// Say what `install` would change.
#[derive(Debug, Args)]
pub struct Diff {
    #[command(flatten)]
    wanted: Wanted,
    #[command(flatten)]
    json: JsonFlags,
}

impl Diff {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let mut bucket = Bucket::open(app).await?;
        let plan = self.wanted.plan(app, &mut bucket).await?;
        let proposal = Proposal::of(&bucket, bucket.document.with(&plan)?);
        if self.json.json {
            self.json.print(&proposal.to_json(&bucket, false));
        } else {
            proposal.print(&bucket)?;
            proposal.findings.iter().for_each(|finding| text::line(line(finding)));
        }
        let failed = proposal.findings.iter().any(|finding| finding.level == Level::Error);
        Ok(if failed { Exit::Failed } else { Exit::Done })
    }
}

/// Make the rule that moves long data packs, and leave all other rules as they are.
#[derive(Debug, Args)]
pub struct Install {
    #[command(flatten)]
    wanted: Wanted,
    /// Remove the rule instead.
    #[arg(long, conflicts_with_all = ["to", "min_size"])]
    remove: bool,
    /// Only show what would change.
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Do not ask.
    #[arg(short, long)]
    yes: bool,
    /// Install even beside a rule that destroys the repository or shuts it.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    json: JsonFlags,
}

impl Install {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        if !self.dry_run && app.connection()?.readonly {
            let message = "the connection is read-only; nothing was changed";
            return Err(Failure::new(Exit::Failed, message).into());
        }
        // Until it is written, nothing is changed that a signal could leave half done.
        let (bucket, proposal) = app.unless_stopped(self.propose(app)).await?;
        if !self.json.json {
            proposal.print(&bucket)?;
            proposal.findings.iter().for_each(|finding| text::warn(line(finding)));
        }
        // To take a rule away makes nothing worse.
        proposal.refuse(self.force || self.remove)?;
        let is_change = proposal.is_change(&bucket);
        let installs = is_change && !self.dry_run;
        if installs {
            let question = format!("Change the lifecycle rules of {}?", bucket.name());
            app.consent(self.yes, &question).await?;
            bucket.replace(&proposal.after).await?;
        }
        if self.json.json {
            self.json.print(&proposal.to_json(&bucket, installs));
        } else if installs {
            app.info("Done. The storage carries rules out once a day.");
        } else if !is_change {
            app.info("No change.");
        }
        Ok(Exit::Done)
    }

    async fn propose(&self, app: &App) -> anyhow::Result<(Bucket, Proposal)> {
        let mut bucket = Bucket::open(app).await?;
        let after = match self.remove {
            true => bucket.document.without(&bucket.repository.owner)?,
            false => {
                let plan = self.wanted.plan(app, &mut bucket).await?;
                bucket.document.with(&plan)?
            }
        };
        let proposal = Proposal::of(&bucket, after);
        Ok((bucket, proposal))
    }
}
