//! A client: a clock, a network, and a repository that it may have had open for long.

use std::{sync::Arc, time::Duration};

use blob_core::{DynStorage, Layer, SeededEntropy, layers::Retry};
use blob_testkit::{SimulatedStorage, Weather};
use kopia_repo::{RepoError, Repository};

use crate::{chance::Chance, clock::SimClock, lag::Lag, order::WrongOrder, template, world::World};

/// Clocks that are set right are within so many seconds, as the format asks for: two of them, the
/// storage's and one's own, must not be 5 minutes apart.
const SKEW_MAX: i64 = 140;

/// A client.
pub struct Machine {
    /// Its name for the trace, and its host.
    pub host: &'static str,
    /// What it lives in.
    pub world: Arc<World>,
    /// Its clock.
    pub clock: Arc<SimClock>,
    /// What its seed draws.
    pub chance: Chance,
    open: Option<(Repository, Arc<SimulatedStorage>)>,
}

/// A repository to work with, which may be cut off.
pub struct Connection {
    /// The repository.
    pub repo: Repository,
    network: Arc<SimulatedStorage>,
    /// It is going to be cut off some time, perhaps after it has done its work.
    pub doomed: bool,
}

impl Machine {
    /// The client `host`, which draws from `stream`.
    pub fn new(world: &Arc<World>, host: &'static str, stream: u64) -> Self {
        let chance = Chance::new(world.seed, stream);
        let clock = Arc::new(world.another_clock());
        Self { host, world: Arc::clone(world), clock, chance, open: None }
    }

    /// Notes what it does.
    pub fn note(&self, what: impl AsRef<str>) {
        self.world.note(self.host, what);
    }

    /// Waits for so long.
    pub async fn wait(&mut self, min: Duration, max: Duration) {
        tokio::time::sleep(self.chance.span(min, max)).await;
    }

    /// Sets the clock, as well as it can be.
    pub fn set_clock(&mut self) {
        let skew = self.chance.below(2 * SKEW_MAX as usize + 1) as i64 - SKEW_MAX;
        self.clock.set_skew(skew);
    }

    /// The repository: the one that it has open, however long ago, or opened anew. One time in
    /// `doomed_in` it is going to be cut off.
    ///
    /// # Errors
    /// As [`Repository::open`].
    pub async fn connect(&mut self, doomed_in: usize) -> Result<Connection, (RepoError, bool)> {
        let doomed = self.chance.one_in(doomed_in);
        let calls = if doomed { 1 + self.chance.below(60) } else { 0 };
        if let Some((repo, network)) = self.open.take().filter(|_| self.chance.one_in(2)) {
            network.cut_power_after(calls);
            return Ok(Connection { repo, network, doomed });
        }
        if self.chance.one_in(4) {
            self.set_clock();
        }
        let weather = match self.chance.below(8) {
            0 => Weather::stormy(),
            1 => Weather { delay_max: Duration::from_secs(20), ..Weather::slow() },
            _ => Weather { delay_max: Duration::from_millis(400), ..Weather::slow() },
        };
        let world = &self.world;
        let network =
            SimulatedStorage::over(Arc::new(world.storage.clone()), weather, self.chance.next());
        network.cut_power_after(calls);
        let storage: DynStorage = WrongOrder::over(network.clone(), world.plant);
        let one_in = [30, 150, 1_000][self.chance.below(3)];
        let lagging = Chance::new(self.chance.next(), 2);
        let storage = Lag::over(storage, lagging, one_in, Duration::from_secs(6 * 60));
        let entropy = Arc::new(SeededEntropy::new(self.chance.next()));
        let storage = Retry::new().clock(self.clock.clone()).entropy(entropy).wrap(storage);
        let env = template::env(Arc::clone(&self.clock), &mut self.chance);
        match world.template.open(storage, self.host, env).await {
            Ok(repo) => Ok(Connection { repo, network, doomed }),
            Err(error) => Err((error, doomed)),
        }
    }

    /// Keeps the repository open for later.
    pub fn keep(&mut self, connection: Connection) {
        let Connection { repo, network, .. } = connection;
        network.cut_power_after(0);
        self.open = Some((repo, network));
    }

    /// Says what went wrong with `what`; of one that was cut off that is what was to be expected.
    pub fn excuse(&self, what: &str, error: &(dyn std::error::Error + 'static), doomed: bool) {
        let text = full_text(error);
        let excused = doomed || text.contains("epochs began");
        if excused {
            self.note(format!("{what}: {text}"));
            self.world.count(if doomed { "cut off" } else { "too slow" });
        } else {
            self.world.fail(self.host, format!("{what} failed: {text}"));
        }
    }
}

/// An error with all its causes.
pub fn full_text(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
