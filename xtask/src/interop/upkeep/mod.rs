//! Both clients maintain one repository by turns, day after day, with all margins.
//!
//! A day is over in seconds: the example `age` of `kopia-lite` makes the repository older, so that
//! both clients are the released programs with their real clocks and no margin is switched off. Each
//! day both snapshot what has changed and delete old snapshots; one does quick, the other full
//! maintenance, now and then while its neighbour writes; and both then verify everything. In the end
//! everything that must happen in such a life must have happened: epochs begun by each, merged, and
//! merged again to a range; garbage collected, dropped and deleted; and everything that is still
//! there must be as it was.

mod deeds;
mod repository;
mod sources;

use std::path::{Path, PathBuf};

use deeds::{Deed, Deeds, Doers};
use repository::{Blobs, Twins};
use sources::Sources;

use super::course::{Counts, both};
use crate::programs::Client;

/// A life of a repository.
#[derive(Debug)]
pub struct Life {
    /// For people, and for `--only`.
    pub name: &'static str,
    create: &'static [&'static str],
    /// Flags of `repository set-parameters`, if there are any.
    parameters: &'static [&'static str],
    days: u64,
    must_happen: &'static [(Deed, Doers)],
}

const DAY: u64 = 24 * 60 * 60;
/// A day and an hour, so that what is to be a day old is.
const UNTIL_NEXT: u64 = DAY + 60 * 60;
/// Snapshots of each client between two times of maintenance.
const SNAPSHOTS: usize = 3;
/// Snapshots that are kept, of all.
const KEPT: usize = 5;
/// Maintenance is done when it is its turn, and not after other commands.
const NOT_BY_ITSELF: &str = "--no-auto-maintenance";
/// On this day something large is snapshot, and forgotten on the next; and both are killed while
/// they write.
const LARGE: u64 = 1;

/// Short epochs, as short as Kopia lets them be.
const SHORT_EPOCHS: &[&str] =
    &["--epoch-min-duration=10m", "--epoch-refresh-frequency=3m", "--epoch-advance-on-count=10"];

/// With epochs, and without.
pub const LIVES: &[Life] = &[
    Life {
        name: "maintenance/epochs",
        create: &[],
        parameters: SHORT_EPOCHS,
        days: 14,
        must_happen: &[
            (Deed::Collected, Doers::Both),
            (Deed::Dropped, Doers::Both),
            (Deed::PacksDeleted, Doers::Both),
            (Deed::Moved, Doers::Any),
            (Deed::EpochBegun, Doers::Both),
            (Deed::EpochMerged, Doers::Both),
            (Deed::RangeMerged, Doers::Any),
            (Deed::MarkersDeleted, Doers::Both),
            (Deed::WatermarksDeleted, Doers::Any),
            (Deed::MergedDeleted, Doers::Both),
        ],
    },
    Life {
        name: "maintenance/no-epochs",
        create: &["--format-version=1"],
        parameters: &[],
        days: 14,
        must_happen: &[
            (Deed::Collected, Doers::Both),
            (Deed::Dropped, Doers::Both),
            (Deed::PacksDeleted, Doers::Both),
            (Deed::Moved, Doers::Any),
            (Deed::IndexMerged, Doers::Any),
        ],
    },
];

impl Life {
    /// Lives it; gives what was done, and the differences found.
    pub fn run(
        &self,
        kopia: &Client,
        ours: &Client,
        age: &Path,
        folder: &Path,
    ) -> anyhow::Result<(Counts, Vec<String>)> {
        let twins = Twins::create(self, [kopia, ours], age, folder)?;
        let mut course = Course {
            twins,
            sources: Sources::plant(folder)?,
            deeds: Deeds::default(),
            counts: Counts::default(),
            targets: folder.join("restored"),
            wrong: Vec::new(),
            most: Blobs::default(),
        };
        for day in 0..self.days {
            // Contents are moved on one day, and what they leave is deleted on the next. So that each
            // client does both, one comes twice in the middle.
            let turn = (day + u64::from(day >= self.days / 2)) % 2;
            course.day(day, usize::try_from(turn)?)?;
        }
        course.end(self)?;
        Ok((course.counts, course.wrong))
    }
}

struct Course<'a> {
    twins: Twins<'a>,
    sources: Sources,
    deeds: Deeds,
    counts: Counts,
    targets: PathBuf,
    wrong: Vec<String>,
    /// The most that was in the repository.
    most: Blobs,
}

impl Course<'_> {
    /// Who does full maintenance today does quick maintenance tomorrow.
    fn day(&mut self, day: u64, turn: usize) -> anyhow::Result<()> {
        let (one, other) = (self.twins.clients[turn].clone(), self.twins.clients[1 - turn].clone());
        self.sources.set_large(day == LARGE)?;
        if day == LARGE {
            for client in [&one, &other] {
                self.twins.kill(client, self.sources.path())?;
                self.counts.add_killed(true);
            }
        }
        self.write(&one)?;
        self.write(&other)?;
        self.forget(&one, day)?;
        self.maintain(&one, &[], None)?;
        // Every third day somebody writes meanwhile.
        let meanwhile = (day % 3 == 2).then_some(&one);
        self.maintain(&other, &["--full"], meanwhile)?;
        let now = self.twins.blobs()?;
        println!("  day {:>2}, full by {:10} {}", day + 1, other.name, now.text());
        self.most.rise_to(&now);
        self.twins.grow_older(UNTIL_NEXT)
    }

    fn write(&mut self, client: &Client) -> anyhow::Result<()> {
        for _ in 0..SNAPSHOTS {
            self.sources.change()?;
            let made = client.snapshot(self.sources.path(), &[NOT_BY_ITSELF])?;
            self.sources.keep(made)?;
            self.counts.add_snapshots(1);
        }
        Ok(())
    }

    fn forget(&mut self, client: &Client, day: u64) -> anyhow::Result<()> {
        let ids = self.sources.forget(KEPT, day == LARGE)?;
        if !ids.is_empty() {
            let ids = ids.iter().map(String::as_str).collect::<Vec<_>>();
            let delete = ["snapshot", "delete", "--delete", NOT_BY_ITSELF];
            client.run(&[&delete[..], &ids].concat())?;
        }
        Ok(())
    }

    fn maintain(
        &mut self,
        client: &Client,
        flags: &[&str],
        meanwhile: Option<&Client>,
    ) -> anyhow::Result<()> {
        let before = self.twins.history_by_one()?;
        let run = [&["maintenance", "run", "--safety=full", "--no-progress"], flags].concat();
        match meanwhile {
            None => self.twins.listen(client, &run, &mut self.wrong)?,
            Some(writer) => {
                self.sources.change()?;
                let (twins, wrong, path) = (&self.twins, &mut self.wrong, self.sources.path());
                let (_, made) = both(
                    || twins.listen(client, &run, wrong),
                    || writer.snapshot(path, &[NOT_BY_ITSELF]),
                )?;
                self.sources.keep(made)?;
                self.counts.add_snapshots(1);
            }
        }
        let after = self.twins.history()?;
        self.wrong.extend(self.deeds.add(client.name, &before, &after));
        self.verify()
    }

    fn verify(&mut self) -> anyhow::Result<()> {
        for client in &self.twins.clients {
            let verify = ["snapshot", "verify", "--verify-files-percent=100", "--no-progress"];
            self.twins.listen(client, &verify, &mut self.wrong)?;
            self.twins.listen(client, &["content", "verify", "--no-progress"], &mut self.wrong)?;
            self.counts.add_verified(2);
        }
        Ok(())
    }

    fn end(&mut self, life: &Life) -> anyhow::Result<()> {
        print!("{}", self.deeds.text());
        self.wrong.extend(self.deeds.missing(life.must_happen));
        for client in &self.twins.clients {
            for (snapshot, source) in self.sources.kept() {
                let target = self.targets.join(format!("{}-{}", snapshot.id, client.name));
                std::fs::create_dir_all(&self.targets)?;
                client.restore(&snapshot.id, &target)?;
                self.wrong.extend(self.counts.compare(client, source, &target)?);
            }
            self.wrong.extend(self.twins.logs(client)?);
        }
        let (now, most) = (self.twins.blobs()?, &self.most);
        println!("  at most {}\n  at last {}", most.text(), now.text());
        // What was large is gone, and with it what was moved again and again meanwhile.
        if now.data_bytes > most.data_bytes / 2 {
            self.wrong.push(format!("garbage is left: {} of {}", now.text(), most.text()));
        }
        if now.sessions > 0 {
            self.wrong.push(format!("{} markers of killed sessions are left", now.sessions));
        }
        Ok(())
    }
}
