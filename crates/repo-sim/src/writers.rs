//! Clients that take snapshots and delete them, again and again.

use std::{collections::BTreeMap, time::Duration};

use blob_core::Clock;
use kopia_format::{ManifestId, snapshot::Source};
use kopia_snapshot::{Result, manifests};

use crate::{
    chance::Chance,
    machine::{Connection, Machine},
    session::{Pace, Session},
    tree::Tree,
};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// A client with what it takes snapshots of.
pub struct Writer {
    machine: Machine,
    /// Each source as it was at its last snapshot.
    trees: BTreeMap<&'static str, Tree>,
    pause_max: Duration,
}

impl Writer {
    /// The writer on `machine`.
    pub fn new(mut machine: Machine) -> Self {
        let pause_max = HOUR * [3, 6, 12][machine.chance.below(3)];
        Self { machine, trees: BTreeMap::new(), pause_max }
    }

    /// Works until time is up.
    pub async fn work(mut self) {
        loop {
            self.machine.wait(MINUTE, self.pause_max).await;
            if self.machine.world.is_over() {
                return;
            }
            let connection = match self.machine.connect(14).await {
                Ok(connection) => connection,
                Err((error, doomed)) => {
                    self.machine.excuse("opening", &error, doomed);
                    continue;
                }
            };
            let doomed = connection.doomed;
            let (what, done) = match self.machine.chance.below(10) {
                0..=1 => ("deletion", self.delete(&connection).await),
                _ => ("snapshot", self.snapshot(&connection).await),
            };
            match done {
                Ok(()) => self.machine.world.count(what),
                Err(error) => self.machine.excuse(what, &error, doomed),
            }
            if !doomed {
                self.machine.keep(connection);
            }
        }
    }

    fn pace(&mut self) -> Pace {
        let chance = &mut self.machine.chance;
        match chance.below(24) {
            0..=2 => Pace::Long(chance.span(HOUR, 14 * HOUR)),
            3..=4 => Pace::Stream(chance.span(HOUR, 20 * HOUR)),
            5 => Pace::Asleep(chance.span(20 * HOUR, 70 * HOUR)),
            // Within the time between two checkpoints.
            6..=9 => Pace::Long(chance.span(MINUTE, 40 * MINUTE)),
            _ => Pace::Quick,
        }
    }

    async fn snapshot(&mut self, connection: &Connection) -> Result<()> {
        let pace = self.pace();
        let path = ["/a", "/b", "/c"][self.machine.chance.below(3)];
        let source = Source::new(self.machine.host, "user", path);
        let tree = self.next_tree(path, pace);
        let writer = connection.repo.writer()?;
        let world = self.machine.world.clone();
        let chance = Chance::new(self.machine.chance.next(), 3);
        let session = Session::begin(&world, &writer, &source, pace, chance).await?;
        let name = session.name.clone();
        self.machine.note(format!("snapshot {name} of {path} begins, {pace:?}"));
        let old = self.expired(connection, &source).await?;
        let id = session.take(&tree, &old).await?;
        self.machine.note(format!("snapshot {name} is there, {id}; {} deleted", old.len()));
        world.count(match pace {
            Pace::Quick => "quick snapshots",
            Pace::Long(_) => "long snapshots",
            Pace::Stream(_) => "streams",
            Pace::Asleep(_) => "sleeps",
        });
        if !pace.is_new() {
            self.trees.insert(path, tree);
        }
        Ok(())
    }

    fn next_tree(&mut self, path: &'static str, pace: Pace) -> Tree {
        let known = {
            let ledger = self.machine.world.ledger();
            // Deleted ones, too: the older, the more often they are.
            let all = &ledger.known;
            (0..24).filter_map(|_| self.machine.chance.pick(all).copied()).collect::<Vec<_>>()
        };
        let chance = &mut self.machine.chance;
        match self.trees.get(path).filter(|_| !pace.is_new()) {
            Some(before) if chance.one_in(12) => before.clone(),
            Some(before) => before.changed(chance, &known),
            None => {
                let folders = 1 + chance.below(3);
                Tree::fresh(chance, folders)
            }
        }
    }

    /// Those of the source that go with the next one: all but a few.
    async fn expired(
        &mut self,
        connection: &Connection,
        source: &Source,
    ) -> Result<Vec<ManifestId>> {
        let keep = 1 + self.machine.chance.below(4);
        let mut all = manifests::of_source(&connection.repo, source).await?;
        all.retain(|manifest| manifest.incomplete.is_empty());
        let gone = all.len().saturating_sub(keep);
        Ok(all.into_iter().take(gone).map(|manifest| manifest.id).collect())
    }

    /// Deletes a snapshot of anybody, one that was left half done before others.
    async fn delete(&mut self, connection: &Connection) -> Result<()> {
        let all = manifests::find(&connection.repo, &[]).await?;
        let now = self.machine.clock.now().secs();
        // Somebody may be at it still.
        let left = all.iter().find(|manifest| {
            !manifest.incomplete.is_empty() && manifest.start_time.secs() + 24 * 3600 < now
        });
        let some = self.machine.chance.pick(&all).filter(|it| it.incomplete.is_empty());
        let Some(manifest) = left.or(some) else { return Ok(()) };
        let writer = connection.repo.writer()?;
        self.machine.world.ledger().leaves(&manifest.id);
        writer.delete_manifest(&manifest.id).await?;
        writer.flush().await?;
        self.machine.note(format!("snapshot {} is deleted", manifest.description));
        self.machine.world.ledger().gone.insert(manifest.id.clone());
        Ok(())
    }
}
