//! `thaw status`, `thaw wait`, `thaw list`.

use std::time::Duration;

use blob_core::{Clock, SystemClock, look_up};
use clap::Args;
use cold_storage::{
    PriceTable,
    thaw::{BlobState, Journal, JournalError, Noted, Progress, poll_pause},
    tier_name,
};
use serde_json::Value;

use super::{
    batch::JobProgress,
    json::{self, Now},
    show::{at, state_name},
};
use crate::{
    cli::{App, app::Access, prices::dollars, repository::flags::duration},
    compose::Client,
    exit::{Exit, Failure},
    jobs::thaw::folder,
    ui::{json::JsonFlags, progress, size, text},
};

/// Say how far a thaw is.
#[derive(Debug, Args)]
pub struct Status {
    /// The thaw; without it the newest.
    #[arg(value_name = "ID")]
    id: Option<String>,
    #[command(flatten)]
    json: JsonFlags,
}

/// Wait until a thaw is done.
#[derive(Debug, Args)]
pub struct Wait {
    /// The thaw; without it the newest.
    #[arg(value_name = "ID")]
    id: Option<String>,
    /// Give up after so long.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    timeout: Option<Duration>,
    /// Look so often; without it the more often the nearer the end is.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    poll_interval: Option<Duration>,
    /// Look at most so many times.
    #[arg(long, value_name = "N")]
    max_requests: Option<u64>,
    #[command(flatten)]
    json: JsonFlags,
}

/// List the thaws that were started with this connection.
#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    json: JsonFlags,
}

/// A thaw's journal: the one that was named, or the newest.
fn noted(app: &App, id: Option<&str>) -> anyhow::Result<Noted> {
    let folder = folder(app);
    let newest = || Ok::<_, anyhow::Error>(Journal::ids(&folder)?.pop());
    let id = match id {
        Some(id) => Some(id.to_owned()),
        None => newest()?,
    };
    match id {
        Some(id) => Ok(Journal::read(&folder, &id)?),
        None => {
            let message = "no thaw was started with this connection: see kopia-lite thaw start";
            Err(Failure::new(Exit::Failed, message).into())
        }
    }
}

/// All thaws of this connection, the oldest first. A journal that is none hides none of the others.
pub fn journals(app: &App) -> anyhow::Result<Vec<Noted>> {
    let folder = folder(app);
    let mut all = Vec::new();
    for id in Journal::ids(&folder)? {
        match Journal::read(&folder, &id) {
            Ok(noted) => all.push(noted),
            Err(error @ JournalError::Malformed { .. }) => app.warn(error.to_string()),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(all)
}

/// The tier, and the one that was taken in its place.
fn tiers(noted: &Noted) -> String {
    let tier = tier_name(noted.header.plan.tier);
    match noted.fallback {
        Some(other) => format!("{tier}, then {}", tier_name(other.fallback_tier)),
        None => tier.to_owned(),
    }
}

/// How far a thaw is.
struct Seen {
    blobs: Progress,
    /// The job that asks for them, if one does.
    job: Option<JobProgress>,
}

impl Seen {
    /// Looks at the blobs of a thaw, and at its job.
    async fn look(client: &Client, noted: &Noted) -> anyhow::Result<Self> {
        let storage = client.repo.storage();
        let blobs = || noted.header.plan.items.iter().map(|item| item.blob.as_str());
        // First the job: what it asks for after that shows at the next look.
        let job = match &noted.header.job {
            Some(job) => Some(JobProgress::of(client, job).await?),
            None => None,
        };
        let found = look_up(storage, blobs(), storage.info().concurrency).await?;
        Ok(Self { blobs: Progress::of(blobs(), &found), job })
    }

    fn is_running(&self) -> bool {
        self.blobs.thawing() > 0 || self.job.as_ref().is_some_and(JobProgress::is_running)
    }

    fn json(&self, noted: &Noted) -> Value {
        let now = Now {
            state: self.state(),
            thawed: self.blobs.readable(),
            remaining: self.blobs.thawing() + self.blobs.archived(),
            expires: self.blobs.expires.map(blob_core::Timestamp::secs),
        };
        json::thaw(noted, Some(&now), self.job.as_ref(), PriceTable::built_in())
    }

    /// One word for it.
    fn state(&self) -> &'static str {
        let cold = self.blobs.archived() + self.blobs.count(BlobState::Missing);
        match (self.is_running(), cold) {
            (true, _) => "thawing",
            (false, 0) => "thawed",
            (false, 1..) => "incomplete",
        }
    }
}

impl Status {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let noted = noted(app, self.id.as_deref())?;
        let client = app.open(Access::Read).await?;
        let seen = Seen::look(&client, &noted).await?;
        match self.json.json {
            true => self.json.print(&seen.json(&noted)),
            false => print(app, &noted, &seen),
        }
        Ok(if seen.is_running() { Exit::Thawing } else { Exit::Done })
    }
}

impl Wait {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let noted = noted(app, self.id.as_deref())?;
        let client = app.open(Access::Read).await?;
        let shown = progress::Progress::new(app.globals.progress(), "thaw");
        let started = std::time::Instant::now();
        let mut looks = 0;
        let (seen, exit) = loop {
            let seen = Seen::look(&client, &noted).await?;
            looks += 1;
            if !seen.is_running() {
                break (seen, Exit::Done);
            }
            let progress = &seen.blobs;
            shown.show(|| {
                let (readable, thawing) = (progress.readable(), progress.thawing());
                let line = format!("{readable} packs are readable, {thawing} are thawing");
                let packs = Some(readable);
                progress::Step { line, files: packs, ..progress::Step::default() }
            });
            let left = noted.expected_end().saturating_sub(SystemClock.now().secs());
            let left = Duration::from_secs(u64::try_from(left).unwrap_or(0));
            let mut pause = self.poll_interval.unwrap_or_else(|| poll_pause(left));
            if let Some(timeout) = self.timeout {
                let rest = timeout.saturating_sub(started.elapsed());
                if rest.is_zero() {
                    break (seen, Exit::Thawing);
                }
                pause = pause.min(rest);
            }
            if self.max_requests.is_some_and(|max| looks >= max) {
                break (seen, Exit::Limit);
            }
            SystemClock.sleep(pause).await;
        };
        shown.finish();
        match self.json.json {
            true => self.json.print(&seen.json(&noted)),
            false => print(app, &noted, &seen),
        }
        if exit == Exit::Done && seen.job.as_ref().is_some_and(JobProgress::has_failed) {
            let message = "the job has failed; what it had asked for by then is being thawed";
            return Err(Failure::new(Exit::Failed, message).into());
        }
        let not_thawed = seen.blobs.archived() + seen.blobs.count(BlobState::Missing);
        if exit == Exit::Done && not_thawed > 0 {
            let id = &noted.header.thaw_id;
            let message = format!(
                "{not_thawed} packs are archived and nobody thaws them: they were not asked for, or \
                 their copies are gone again; see kopia-lite thaw start {id}"
            );
            return Err(Failure::new(Exit::Incomplete, message).into());
        }
        Ok(exit)
    }
}

impl List {
    pub fn run(self, app: &App) -> anyhow::Result<Exit> {
        let all = journals(app)?;
        if self.json.json {
            self.json.print_list(
                all.iter().map(|noted| json::thaw(noted, None, None, PriceTable::built_in())),
            );
            return Ok(Exit::Done);
        }
        for noted in &all {
            let header = &noted.header;
            text::line(format!(
                "{}  {:>7} packs  {:<9} {:>3} days  {:>10}  ready by {}  {}",
                header.thaw_id,
                header.plan.items.len(),
                tiers(noted),
                header.plan.days,
                dollars(noted.cost().total()),
                at(app, noted.expected_end()),
                header.arguments.join(" ")
            ));
        }
        if all.is_empty() {
            app.info("No thaw was started with this connection.");
        }
        Ok(Exit::Done)
    }
}

fn print(app: &App, noted: &Noted, seen: &Seen) {
    let (header, progress) = (&noted.header, &seen.blobs);
    text::line(format!(
        "{}: {} ({}, {} days)",
        header.thaw_id,
        seen.state(),
        tiers(noted),
        header.plan.days
    ));
    for (state, amount) in &progress.states {
        text::line(format!(
            "  {:<9} {:>7} packs {:>10}",
            state_name(*state),
            amount.count,
            size::bytes(amount.bytes)
        ));
    }
    seen.job.iter().flat_map(JobProgress::lines).for_each(text::line);
    if seen.is_running() {
        text::line(format!("  readable by about {}", at(app, noted.expected_end())));
    }
    if let Some(expires) = progress.expires {
        text::line(format!("  the first copy goes away at {}", at(app, expires.secs())));
    }
}
