//! Waiting for packs, and asking again for those whose copies went away.

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    time::{Duration, Instant},
};

use blob_core::{Amount, BlobMeta, Clock, SystemClock, Tier, look_up};
use cold_storage::{
    Money,
    thaw::{BlobState, Need, ThawPlan, poll_pause},
};
use kopia_snapshot::restore::Stage;

use super::ThawRestore;
use crate::{
    cli::thaw::show::at,
    exit::{Exit, Failure},
    jobs::thaw::{Thawing, dearest},
};

/// A pack may turn out to be archived so often in one restore.
const REFUSALS_MAX: u32 = 5;

/// A stage is worth its while when so great a part of what is missing has become readable, or all.
const STAGE_PART: u64 = 10;

/// Waiting for packs, and asking again for those whose copies went away.
pub struct Waiting<'a> {
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
    pub refused: HashSet<String>,
    /// How often each pack has refused to be read.
    refusals: HashMap<String, u32>,
}

impl<'a> Waiting<'a> {
    /// Before the first look; `spent` is agreed to.
    pub fn new(
        restore: &'a ThawRestore<'a>,
        thawing: &'a Thawing<'a>,
        plan: &ThawPlan,
        spent: Money,
    ) -> Self {
        let expected_end = plan.expected_end();
        let (began, refused, refusals) = (Instant::now(), HashSet::new(), HashMap::new());
        let sizes = plan.items.iter().map(|item| (item.blob.clone(), item.size)).collect();
        let tier = plan.tier;
        Self { restore, thawing, tier, sizes, spent, expected_end, began, refused, refusals }
    }

    /// Packs that turned out to be archived. One that goes on refusing, whatever the storage says of
    /// it, is not waited for for ever.
    pub fn note_refused(&mut self, packs: HashSet<String>) -> anyhow::Result<()> {
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

    /// Asks for what `plan` says.
    pub async fn ask(&mut self, plan: ThawPlan) -> anyhow::Result<()> {
        let started = self.thawing.start(&plan, vec![self.restore.argument.clone()]).await?;
        if let Some(error) = started.error {
            return Err(error);
        }
        if let Some(failed) = started.run.failed.first() {
            anyhow::bail!("{}: {}", failed.blob, failed.error);
        }
        if started.run.left > 0 {
            return Err(self.stopped());
        }
        self.expected_end = self.expected_end.max(started.expected_end);
        let app = self.restore.app;
        app.info(format!(
            "Thaw {}: asked for {} packs; readable by about {}.",
            started.id,
            started.run.started + started.run.extended,
            at(app, started.expected_end)
        ));
        Ok(())
    }

    /// Waits until all packs are readable.
    pub async fn for_all(&mut self, stage: &Stage) -> anyhow::Result<()> {
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
    pub async fn for_more(
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
        let cost = dearest(&plan, fallback, table, self.thawing.transfer)?;
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
