//! The demo's third act: maintenance of a repository whose packs are archived.
//!
//! Garbage goes, and no archived pack is read: the server counts. All margins are off
//! (`--safety=none`), for they wait for other clients, and there are none.

use std::{fs, thread, time::Duration};

use anyhow::{Context, ensure};

use super::{Demo, PREFIX};
use crate::{bench::random::Random, steps::Outcome};

/// Without margins: nobody else is at work here.
const ALONE: [&str; 3] = ["maintenance", "plan", "--safety=none"];
/// Bytes of what is snapshot to be forgotten.
const FORGOTTEN_BYTES: usize = 300_000;

impl Demo {
    /// The clock is what it was before two days passed; and a folder is snapshot of which nothing
    /// is in any other, so that its pack will be dead as a whole.
    pub(super) fn before_upkeep(&mut self) -> anyhow::Result<Outcome> {
        self.server.turn_clock_back(super::cold::TWO_DAYS)?;
        let before = self.data_packs()?;
        let folder = self.folder.join("to be forgotten");
        fs::create_dir_all(&folder)?;
        let mut noise = Vec::new();
        Random::of(&[3]).noise(FORGOTTEN_BYTES, &mut noise);
        fs::write(folder.join("noise"), noise)?;
        let forgotten = self.client.snapshot(&folder, &[])?;
        self.server.move_to_class(&format!("{PREFIX}p"), "DEEP_ARCHIVE")?;
        let first = self.made.first().context("a snapshot was made")?;
        for id in [&first.id, &forgotten.id] {
            self.client.run(&["snapshot", "delete", id, "--delete"])?;
        }
        let after = self.data_packs()?;
        ensure!(after > before, "no pack was written");
        Ok(Outcome::Done(format!("{after} data packs, all in DEEP_ARCHIVE")))
    }

    /// What would be done, and why not more; nothing is.
    pub(super) fn plan_upkeep(&self) -> anyhow::Result<Outcome> {
        // Entries have whole seconds, and a mark is later than the content: what was written in this
        // second is dropped in the one after the next.
        thread::sleep(Duration::from_secs(2));
        let said = self.client.run(&[&ALONE[..], &["--full"]].concat())?;
        println!("{said}");
        let stays = said.contains("minimum days") && said.contains("--now");
        ensure!(stays, "the plan does not say until when dead archived packs stay");
        Ok(Outcome::Done("a dead archived pack stays for its minimum days".to_owned()))
    }

    /// Metadata is tidied up, archived packs stay, none is read.
    pub(super) fn upkeep(&self) -> anyhow::Result<Outcome> {
        let (packs, all) = (self.data_packs()?, self.server.objects(PREFIX)?.len());
        self.server.forget_traffic()?;
        self.client.run(&["maintenance", "run", "--safety=none", "--full"])?;
        let (gets, deletes) = (self.gets_of_packs()?, self.server.traffic()?.deletes());
        ensure!(gets == 0, "{gets} archived packs were read");
        ensure!(deletes > 0, "nothing was deleted");
        ensure!(self.data_packs()? == packs, "an archived pack was deleted before its time");
        let left = self.server.objects(PREFIX)?.len();
        Ok(Outcome::Done(format!(
            "{deletes} requests to delete, {all} objects became {left}; GETs of archived packs: {gets}"
        )))
    }

    /// The pack that is dead as a whole goes, when that is said.
    pub(super) fn upkeep_now(&self) -> anyhow::Result<Outcome> {
        let before = self.data_packs()?;
        self.server.forget_traffic()?;
        let run = ["maintenance", "run", "--safety=none", "--full", "--now", "--deletions"];
        println!("{}", self.client.run(&run)?);
        let (gets, after) = (self.gets_of_packs()?, self.data_packs()?);
        ensure!(gets == 0, "{gets} archived packs were read");
        ensure!(after < before, "no archived pack was deleted");
        self.client.run(&["snapshot", "verify"])?;
        Ok(Outcome::Done(format!(
            "{before} archived packs became {after}; GETs of archived packs: {gets}"
        )))
    }

    fn data_packs(&self) -> anyhow::Result<usize> {
        let objects = self.server.objects(PREFIX)?;
        Ok(objects.iter().filter(|object| object.key.starts_with('p')).count())
    }

    /// How often the server was asked for bytes of data packs.
    fn gets_of_packs(&self) -> anyhow::Result<u64> {
        Ok(self.server.traffic()?.gets_by_letter.get(&'p').copied().unwrap_or(0))
    }
}
