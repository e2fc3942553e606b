//! `thaw status`, `thaw wait`, `thaw list`.

use std::time::Duration;

use blob_core::{Clock, SystemClock, look_up};
use clap::Args;
use cold_storage::{
    PriceTable,
    thaw::{BlobState, Journal, JournalError, Noted, Outcome, Progress, poll_pause},
    tier_name,
};
use kopia_format::time::GoTime;
use serde_json::{Value, json};

use super::{
    batch::JobProgress,
    show::{at, state_name},
};
use crate::{
    cli::{
        App,
        app::Access,
        prices::{cost_json, dollars},
        repository::flags::duration,
    },
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
            true => self.json.print(&json(&noted, Some(&seen))),
            false => print(app, &noted, &seen),
        }
        Ok(if seen.is_running() { Exit::Thawing } else { Exit::Done })
    }
}

impl Wait {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let noted = noted(app, self.id.as_deref())?;
        let client = app.open(Access::Read).await?;
        let shown = progress::Progress::new(app.globals.progress);
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
                format!(
                    "{} packs are readable, {} are thawing",
                    progress.readable(),
                    progress.thawing()
                )
            });
            let left = expected_end(&noted).saturating_sub(SystemClock.now().secs());
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
            true => self.json.print(&json(&noted, Some(&seen))),
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
        let folder = folder(app);
        let mut all = Vec::new();
        for id in Journal::ids(&folder)? {
            match Journal::read(&folder, &id) {
                Ok(noted) => all.push(noted),
                // It hides none of the others.
                Err(error @ JournalError::Malformed { .. }) => app.warn(error.to_string()),
                Err(error) => return Err(error.into()),
            }
        }
        if self.json.json {
            self.json.print_list(all.iter().map(|noted| json(noted, None)));
            return Ok(Exit::Done);
        }
        for noted in &all {
            let header = &noted.header;
            text::line(format!(
                "{}  {:>7} packs  {:<9} {:>3} days  {:>10}  ready by {}  {}",
                header.thaw_id,
                header.plan.items.len(),
                tier_name(header.plan.tier),
                header.plan.days,
                dollars(header.cost.total()),
                at(app, expected_end(noted)),
                header.arguments.join(" ")
            ));
        }
        if all.is_empty() {
            app.info("No thaw was started with this connection.");
        }
        Ok(Exit::Done)
    }
}

fn expected_end(noted: &Noted) -> i64 {
    let plan = &noted.header.plan;
    plan.made_seconds + i64::try_from(plan.expected_seconds).unwrap_or(i64::MAX / 2)
}

fn print(app: &App, noted: &Noted, seen: &Seen) {
    let (header, progress) = (&noted.header, &seen.blobs);
    text::line(format!(
        "{}: {} ({}, {} days)",
        header.thaw_id,
        seen.state(),
        tier_name(header.plan.tier),
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
        text::line(format!("  readable by about {}", at(app, expected_end(noted))));
    }
    if let Some(expires) = progress.expires {
        text::line(format!("  the first copy goes away at {}", at(app, expires.secs())));
    }
}

fn time(seconds: i64) -> GoTime {
    GoTime::from_unix_nanos(seconds.saturating_mul(1_000_000_000))
}

fn json(noted: &Noted, seen: Option<&Seen>) -> Value {
    let header = &noted.header;
    let outcomes = |outcome| noted.notes.iter().filter(|note| note.outcome == outcome).count();
    let states = header.plan.states();
    let planned = |state| states.get(&state).map_or(0, |amount| amount.count);
    let mut value = json!({
        "thawID": header.thaw_id,
        "tier": tier_name(header.plan.tier),
        "days": header.plan.days,
        "requested": noted.notes.len(),
        "accepted": outcomes(Outcome::Started) + outcomes(Outcome::Extended),
        "alreadyThawing": outcomes(Outcome::AlreadyRunning) as u64 + planned(BlobState::Thawing),
        "alreadyThawed": outcomes(Outcome::Readable) as u64 + planned(BlobState::Thawed),
        "startTime": time(header.plan.made_seconds),
        "expectedEndTime": time(expected_end(noted)),
        "cost": cost_json(&header.cost, PriceTable::built_in()),
    });
    if let Some(job) = &header.job {
        value["job"] = json!({"account": job.account, "id": job.id});
    }
    if let Some(seen) = seen {
        let progress = &seen.blobs;
        if let Some(job) = &seen.job {
            value["job"] = job.json();
        }
        value["state"] = json!(seen.state());
        value["thawed"] = json!(progress.readable());
        value["remaining"] = json!(progress.thawing() + progress.archived());
        value["expiresAt"] = json!(progress.expires.map(|until| time(until.secs())));
    }
    value
}
