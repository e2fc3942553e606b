//! Asking for what a plan says, at a bounded rate.
//!
//! S3 takes 1,000 restore requests a second for an account and region and answers 503 to more, so the
//! rate begins lower and gives way when the storage asks for it. Every answer is noted before the
//! next request of its place is made. Source: "Restoring an archived object", S3 User Guide.

use std::{collections::VecDeque, io, sync::Arc, time::Duration};

use blob_core::{BlobError, BlobId, Clock, DynStorage, Retry, ThawOutcome, ThawRequest, Timestamp};
use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::plan::ThawPlan;

/// Failures in a row, of whatever blobs, after which the storage is taken to be out of order.
const FAILURES_IN_A_ROW_MAX: u32 = 30;
/// The longest pause after a failure.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Successes after which the rate may rise again.
const RISES_AFTER: u32 = 50;
/// A tier that has no capacity is asked again so often, after such a pause.
const TIER_TRIES: u32 = 3;
const TIER_PAUSE: Duration = Duration::from_secs(2);

/// How a plan is carried out.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Requests a second, at most.
    pub per_second: u32,
    /// Requests at once, at most.
    pub at_once: usize,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// What the storage answered for one blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// A copy is being made.
    Started,
    /// A copy was being made already.
    AlreadyRunning,
    /// The copy's end was moved.
    Extended,
    /// It can be read anyway.
    Readable,
}

impl From<ThawOutcome> for Outcome {
    fn from(outcome: ThawOutcome) -> Self {
        match outcome {
            ThawOutcome::Started => Self::Started,
            ThawOutcome::AlreadyRunning => Self::AlreadyRunning,
            ThawOutcome::Extended => Self::Extended,
            ThawOutcome::NotCold => Self::Readable,
        }
    }
}

/// A blob and what the storage answered for it.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The blob.
    pub blob: &'a str,
    /// What was asked for.
    pub request: ThawRequest,
    /// The answer.
    pub outcome: Outcome,
    /// When it came.
    pub at: Timestamp,
}

/// A blob that could not be asked for.
#[derive(Debug)]
pub struct Failed {
    /// The blob.
    pub blob: String,
    /// Why.
    pub error: BlobError,
}

/// What came of a plan.
#[derive(Debug, Default)]
pub struct ThawRun {
    /// Requests that started a copy.
    pub started: u64,
    /// Copies that were being made already.
    pub already_running: u64,
    /// Copies whose end was moved.
    pub extended: u64,
    /// Blobs that could be read anyway.
    pub readable: u64,
    /// Blobs that could not be asked for, each for a reason of its own.
    pub failed: Vec<Failed>,
    /// Blobs for which the tier had no capacity: another tier is another price.
    pub exhausted: Vec<String>,
    /// Blobs that were not asked for because the run was stopped or ended by an error.
    pub left: u64,
}

/// Why a plan was not carried out to its end. What was asked for until then is in `run`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ThawError {
    /// The storage refuses all, or is out of order.
    #[error("{source}")]
    Storage {
        /// What it says.
        #[source]
        source: BlobError,
        /// What was asked for until then.
        run: Box<ThawRun>,
    },
    /// An answer could not be noted: no request is made that nobody would remember.
    #[error("the journal can't be written: {source}")]
    Journal {
        /// What the system says.
        #[source]
        source: io::Error,
        /// What was asked for until then.
        run: Box<ThawRun>,
    },
}

struct Work {
    id: BlobId,
    request: ThawRequest,
    tier_tries: u32,
}

/// What came of a request; nothing if it was stopped before it was made.
type Done = (Work, Option<Result<ThawOutcome, BlobError>>);

/// Asks for what `plan` says. `storage` should not try again by itself: this does, at a rate that the
/// storage bears. `note` is called for each answer, one at a time. When `stop` is cancelled, what is
/// under way is waited for and the rest is left.
///
/// # Errors
/// [`ThawError`].
pub async fn run(
    plan: &ThawPlan,
    storage: &DynStorage,
    options: &RunOptions,
    stop: &CancellationToken,
    mut note: impl FnMut(Asked<'_>) -> io::Result<()>,
) -> Result<ThawRun, ThawError> {
    let mut run = ThawRun::default();
    let mut queue = VecDeque::new();
    for (item, request) in plan.requests() {
        match BlobId::new(item.blob.as_str()) {
            Ok(id) => queue.push_back(Work { id, request, tier_tries: 0 }),
            Err(error) => run.failed.push(Failed {
                blob: item.blob.clone(),
                error: BlobError::Other { op: "thaw", id: None, source: Box::new(error) },
            }),
        }
    }
    let mut pace = Pace::new(options);
    let mut under_way: FuturesUnordered<BoxFuture<'_, Done>> = FuturesUnordered::new();
    let (mut ended, mut unnoted): (Option<BlobError>, Option<io::Error>) = (None, None);
    loop {
        let over = ended.is_some() || unnoted.is_some() || stop.is_cancelled();
        while !over && under_way.len() < options.at_once.max(1) {
            let Some(work) = queue.pop_front() else { break };
            let wait = pace.next(options.clock.now());
            under_way.push(Box::pin(ask(storage, options.clock.clone(), wait, work, stop)));
        }
        let Some((work, result)) = under_way.next().await else { break };
        match result {
            None => queue.push_front(work),
            Some(Ok(outcome)) => {
                pace.succeeded();
                run.count(outcome);
                let asked = Asked {
                    blob: work.id.as_str(),
                    request: work.request,
                    outcome: outcome.into(),
                    at: options.clock.now(),
                };
                // What is under way is waited for: it is paid for, so it counts.
                unnoted = note(asked).err().or(unnoted);
            }
            Some(Err(error)) => {
                ended = ended.or(run.failed_once(work, error, &mut queue, &mut pace, options));
            }
        }
    }
    run.left = queue.len() as u64;
    match (unnoted, ended) {
        (Some(source), _) => Err(ThawError::Journal { source, run: Box::new(run) }),
        (None, Some(source)) => Err(ThawError::Storage { source, run: Box::new(run) }),
        (None, None) => Ok(run),
    }
}

async fn ask(
    storage: &DynStorage,
    clock: Arc<dyn Clock>,
    wait: Duration,
    work: Work,
    stop: &CancellationToken,
) -> Done {
    if !wait.is_zero() {
        // Half a minute may pass here: whoever stops then does not want what costs money.
        let slept = stop.run_until_cancelled(clock.sleep(wait)).await;
        if slept.is_none() {
            return (work, None);
        }
    }
    let Some(archive) = storage.archive() else {
        let storage = storage.info().name.clone();
        return (work, Some(Err(BlobError::Unsupported { op: "thaw", storage })));
    };
    let result = archive.thaw(&work.id, &work.request).await;
    (work, Some(result))
}

impl ThawRun {
    fn count(&mut self, outcome: ThawOutcome) {
        *match outcome {
            ThawOutcome::Started => &mut self.started,
            ThawOutcome::AlreadyRunning => &mut self.already_running,
            ThawOutcome::Extended => &mut self.extended,
            ThawOutcome::NotCold => &mut self.readable,
        } += 1;
    }

    /// Puts a request that failed back in the queue or on a list. Gives the error if it concerns all.
    fn failed_once(
        &mut self,
        mut work: Work,
        error: BlobError,
        queue: &mut VecDeque<Work>,
        pace: &mut Pace,
        options: &RunOptions,
    ) -> Option<BlobError> {
        let now = options.clock.now();
        match error {
            BlobError::NotFound { .. } => {
                self.failed.push(Failed { blob: work.id.as_str().to_owned(), error });
                None
            }
            BlobError::TierUnavailable { .. } => {
                work.tier_tries += 1;
                if work.tier_tries < TIER_TRIES {
                    pace.hold(now, TIER_PAUSE);
                    queue.push_back(work);
                } else {
                    // The others are not going to fare better.
                    self.exhausted.push(work.id.as_str().to_owned());
                    let rest = queue.drain(..).map(|work| work.id.as_str().to_owned());
                    self.exhausted.extend(rest);
                }
                None
            }
            error => {
                queue.push_front(work);
                let after = match error.retry() {
                    Retry::Never => return Some(error),
                    _ if pace.failures >= FAILURES_IN_A_ROW_MAX => return Some(error),
                    Retry::Backoff => None,
                    Retry::After(after) => Some(after),
                };
                pace.failed(now, after);
                None
            }
        }
    }

    /// The tiers of the requests that found none free.
    pub fn is_exhausted(&self) -> bool {
        !self.exhausted.is_empty()
    }
}

/// When the next request may be made.
struct Pace {
    per_second_max: f64,
    per_second: f64,
    next: Timestamp,
    failures: u32,
    successes: u32,
}

impl Pace {
    fn new(options: &RunOptions) -> Self {
        let per_second_max = f64::from(options.per_second.max(1));
        let next = options.clock.now();
        Self { per_second_max, per_second: per_second_max, next, failures: 0, successes: 0 }
    }

    /// How long the next request has to wait.
    fn next(&mut self, now: Timestamp) -> Duration {
        let at = self.next.max(now);
        self.next = at.saturating_add(Duration::from_secs_f64(1.0 / self.per_second));
        at.since(now)
    }

    fn hold(&mut self, now: Timestamp, pause: Duration) {
        self.next = self.next.max(now.saturating_add(pause));
    }

    fn succeeded(&mut self) {
        self.failures = 0;
        self.successes += 1;
        if self.successes >= RISES_AFTER {
            self.successes = 0;
            self.per_second = (self.per_second * 1.25).min(self.per_second_max);
        }
    }

    fn failed(&mut self, now: Timestamp, after: Option<Duration>) {
        self.failures += 1;
        self.successes = 0;
        self.per_second = (self.per_second / 2.0).max(1.0);
        let pause = Duration::from_millis(200) * 2_u32.saturating_pow(self.failures.min(10));
        self.hold(now, after.unwrap_or(pause).min(PAUSE_MAX));
    }
}
