//! What all who take part in a simulation share: the storage, the time, and what must be true.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use blob_core::{Clock, MemoryStorage};
use kopia_format::ManifestId;
use tokio::time::Instant;

use crate::{
    chance::Chance,
    clock::SimClock,
    plant::Plant,
    template::{self, Template},
    tree::{Piece, Tree},
};

/// What is known of the snapshots.
#[derive(Debug, Default)]
pub struct Ledger {
    /// What each snapshot is of, by its description; written down before the snapshot is.
    pub trees: HashMap<String, Arc<Tree>>,
    /// Snapshots that somebody was told to be there, with their descriptions.
    pub there: BTreeMap<ManifestId, String>,
    /// Snapshots that somebody deletes, or wanted to: whoever took one may hear later than others see
    /// it that it is there.
    pub leaving: BTreeSet<ManifestId>,
    /// Snapshots that somebody was told to be deleted.
    pub gone: BTreeSet<ManifestId>,
    /// Files that were in some snapshot, deleted ones too.
    pub known: Vec<Piece>,
}

/// How often what happened.
pub type Tally = BTreeMap<String, u64>;

/// What all share.
pub struct World {
    /// The number of the simulation.
    pub seed: u64,
    /// Keys that all have.
    pub template: Arc<Template>,
    /// The storage itself, without a network.
    pub storage: MemoryStorage,
    /// The storage's clock, which is right.
    pub clock: Arc<SimClock>,
    /// Until when clients begin something new.
    pub end: Instant,
    /// A mistake in how things are done, to see whether it is found.
    pub plant: Option<Plant>,
    /// Maintenance that runs now. Only while there is none may its owner change.
    pub maintaining: AtomicUsize,
    over: AtomicBool,
    origin: Instant,
    ledger: Mutex<Ledger>,
    tally: Mutex<Tally>,
    trace: Mutex<Vec<String>>,
    wrong: Mutex<Option<String>>,
}

impl Ledger {
    /// Somebody was told that the snapshot is there.
    pub fn comes(&mut self, id: &ManifestId, description: String) {
        if !self.leaving.contains(id) {
            self.there.insert(id.clone(), description);
        }
    }

    /// Somebody begins to delete the snapshot: from here on it may be gone.
    pub fn leaves(&mut self, id: &ManifestId) {
        self.there.remove(id);
        self.leaving.insert(id.clone());
    }
}

impl World {
    /// An empty repository, at the beginning of time.
    pub async fn new(
        seed: u64,
        template: Arc<Template>,
        plant: Option<Plant>,
    ) -> anyhow::Result<Arc<Self>> {
        let mut chance = Chance::new(seed, 0);
        let origin = Instant::now();
        let clock = Arc::new(SimClock::right(origin));
        let storage = MemoryStorage::with_clock(clock.clone()).without_classes();
        let format = template::format(&mut chance);
        template.put(&storage, &format).await?;
        const DAY: Duration = Duration::from_secs(86_400);
        let end = origin + chance.span(6 * DAY, 28 * DAY);
        Ok(Arc::new(Self {
            seed,
            template,

            storage,
            clock,
            end,
            plant,
            maintaining: AtomicUsize::new(0),
            over: AtomicBool::new(false),
            origin,
            ledger: Mutex::default(),
            tally: Mutex::default(),
            trace: Mutex::default(),
            wrong: Mutex::default(),
        }))
    }

    /// Is there nothing new to begin? Because time is up, or something is wrong.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed) || Instant::now() >= self.end
    }

    /// What is known of the snapshots.
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts something that happened.
    pub fn count(&self, what: impl Into<String>) {
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        *tally.entry(what.into()).or_default() += 1;
    }

    /// Notes what happens, for those who read how it came.
    pub fn note(&self, who: &str, what: impl AsRef<str>) {
        let elapsed = Instant::now().duration_since(self.origin).as_millis() as u64;
        let (days, rest) = (elapsed / 86_400_000, elapsed % 86_400_000);
        let (hours, rest) = (rest / 3_600_000, rest % 3_600_000);
        let line = format!(
            "{days:3} d {hours:02}:{:02}:{:02}.{:03}  {who:6}  {}",
            rest / 60_000,
            rest / 1_000 % 60,
            rest % 1_000,
            what.as_ref()
        );
        self.trace.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    /// Something is wrong; the first thing counts, and ends the simulation.
    pub fn fail(&self, who: &str, what: impl AsRef<str>) {
        self.note(who, format!("WRONG: {}", what.as_ref()));
        self.over.store(true, Ordering::Relaxed);
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        wrong.get_or_insert_with(|| what.as_ref().to_owned());
    }

    /// Is something wrong?
    pub fn has_failed(&self) -> bool {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// What was found, at the end.
    pub fn outcome(&self) -> Outcome {
        let take = |text: &Mutex<Option<String>>| {
            text.lock().unwrap_or_else(PoisonError::into_inner).clone()
        };
        Outcome {
            seed: self.seed,
            wrong: take(&self.wrong),
            tally: self.tally.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            trace: self.trace.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    /// Another clock, which is right and may be set wrong.
    pub fn another_clock(&self) -> SimClock {
        SimClock::right(self.origin)
    }

    /// The right time, in seconds since 1970.
    pub fn now_secs(&self) -> i64 {
        self.clock.now().secs()
    }
}

/// What became of a simulation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Its number.
    pub seed: u64,
    /// What was wrong first, if anything was.
    pub wrong: Option<String>,
    /// How often what happened.
    pub tally: Tally,
    /// What happened, line by line.
    pub trace: Vec<String>,
}
