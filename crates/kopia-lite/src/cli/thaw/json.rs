//! A thaw as JSON: one form for `start`, `status`, `wait` and `list`.

use cold_storage::{
    PriceTable,
    thaw::{BlobState, Failed, Noted, Outcome, Step, ThawPlan, ThawRun},
    tier_name,
};
use kopia_format::time::GoTime;
use serde_json::{Value, json};

use super::batch::JobProgress;
use crate::cli::prices::cost_json;

const DAY_SECS: i64 = 24 * 60 * 60;

/// How far a thaw is. `list` doesn't look, so it says `null` in the place of all of it.
pub struct Now {
    /// `thawing`, `thawed` or `incomplete`.
    pub state: &'static str,
    /// Packs that can be read.
    pub thawed: u64,
    /// Packs that can't be read as yet.
    pub remaining: u64,
    /// When the first copy goes away, in seconds since 1970.
    pub expires: Option<i64>,
}

impl Now {
    /// As it is when all requests are answered: from the plan's states, with no further look.
    pub fn after(plan: &ThawPlan, run: &ThawRun) -> Self {
        let states = plan.states();
        let of = |state| states.get(&state).map_or(0, |amount| amount.count);
        let readable = of(BlobState::Online) + of(BlobState::Thawed) + of(BlobState::Unknown);
        let failed = run.failed.len() as u64;
        let cold = of(BlobState::Archived) + of(BlobState::Thawing);
        let remaining = cold.saturating_sub(run.readable + failed);
        let until = |item: &cold_storage::thaw::ThawItem| match item.step {
            Step::Extend(days) => Some(plan.made_seconds + i64::from(days) * DAY_SECS),
            _ => item.until_seconds,
        };
        Self {
            state: if remaining > 0 { "thawing" } else { "thawed" },
            thawed: readable + run.readable,
            remaining,
            expires: plan.items.iter().filter_map(until).min(),
        }
    }
}

/// A time as JSON.
pub fn time(seconds: i64) -> GoTime {
    GoTime::from_unix_nanos(seconds.saturating_mul(1_000_000_000))
}

/// What failed, as JSON.
pub fn failed(failed: &[Failed]) -> Value {
    failed.iter().map(|one| failure(&one.blob, &one.error.to_string())).collect()
}

fn failure(blob: &str, error: &str) -> Value {
    json!({"blob": blob, "error": error})
}

/// A thaw, from its journal. `job` is how far its job is, if one asks for it and was looked at.
pub fn thaw(
    noted: &Noted,
    now: Option<&Now>,
    job: Option<&JobProgress>,
    table: &PriceTable,
) -> Value {
    let plan = &noted.header.plan;
    let outcomes = |outcome| noted.notes.iter().filter(|note| note.outcome == outcome).count();
    let states = plan.states();
    let planned = |state| states.get(&state).map_or(0, |amount| amount.count);
    let unanswered = noted.unanswered();
    let unanswered = unanswered.into_iter().map(|blob| failure(blob, "no answer is noted"));
    let mut value = json!({
        "thawID": noted.header.thaw_id,
        "state": now.map(|now| now.state),
        "tier": tier_name(plan.tier),
        "fallbackTier": noted.fallback.map(|other| tier_name(other.fallback_tier)),
        "days": plan.days,
        "requested": noted.notes.len(),
        "accepted": outcomes(Outcome::Started) + outcomes(Outcome::Extended),
        "alreadyThawing": outcomes(Outcome::AlreadyRunning) as u64 + planned(BlobState::Thawing),
        "alreadyThawed": outcomes(Outcome::Readable) as u64 + planned(BlobState::Thawed),
        "failed": unanswered.collect::<Value>(),
        "thawed": now.map(|now| now.thawed),
        "remaining": now.map(|now| now.remaining),
        "startTime": time(plan.made_seconds),
        "expectedEndTime": time(noted.expected_end()),
        "expiresAt": now.and_then(|now| now.expires).map(time),
        "cost": cost_json(&noted.cost(), table),
    });
    if let Some(of_journal) = &noted.header.job {
        // The job asks; what it was told of each pack is in its report.
        value["requested"] = json!(plan.requests().count());
        value["accepted"] = json!(job.map(JobProgress::succeeded));
        value["job"] = match job {
            Some(job) => job.json(),
            None => json!({"account": of_journal.account, "id": of_journal.id}),
        };
        value["failed"] = job.map_or_else(
            || json!([]),
            |job| job.failed().iter().map(|(key, why)| failure(key, why)).collect(),
        );
    }
    value
}
