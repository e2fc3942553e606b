//! One client goes through the steps: one data set, one storage, one policy, one round.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};

use super::{
    data::Set,
    measure::{self, Cost},
    tools::{Contender, Policy, Session},
};
use crate::{
    place::Place,
    server::{Server, Traffic},
    tree::{self, Leave},
};

/// What is measured, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    Create,
    First,
    Unchanged,
    Changed,
    Restore,
    Folder,
    Verify,
}

/// Their names on the command line, and in tables.
pub const STEPS: &[(&str, Step)] = &[
    ("create", Step::Create),
    ("first", Step::First),
    ("unchanged", Step::Unchanged),
    ("changed", Step::Changed),
    ("restore", Step::Restore),
    ("folder", Step::Folder),
    ("verify", Step::Verify),
];

impl Step {
    /// For people.
    pub fn title(self) -> &'static str {
        match self {
            Self::Create => "create repository",
            Self::First => "first snapshot",
            Self::Unchanged => "unchanged snapshot",
            Self::Changed => "1 % changed",
            Self::Restore => "full restore",
            Self::Folder => "one folder",
            Self::Verify => "verify all",
        }
    }
}

/// Where repositories lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    Folder,
    S3 { latency_ms: u32 },
}

/// Their names on the command line.
pub const STORAGES: &[(&str, Storage)] = &[
    ("fs", Storage::Folder),
    ("s3", Storage::S3 { latency_ms: 0 }),
    ("s3-30ms", Storage::S3 { latency_ms: 30 }),
];

/// What a step cost in one round.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    pub step: Step,
    pub cost: Cost,
    /// With a server: what it was asked.
    pub traffic: Option<Traffic>,
    /// Size of the repository afterwards, in bytes.
    pub repository: u64,
}

/// What a course needs.
#[derive(Debug)]
pub struct Course<'a> {
    pub set: &'a Set,
    pub storage: Storage,
    pub policy: Policy,
    pub steps: &'a [Step],
    pub contender: &'a Contender,
    /// The S3 server's program, if a storage needs it.
    pub server: Option<&'a Path>,
    /// A folder of its own, which does not exist before.
    pub folder: &'a Path,
}

impl Course<'_> {
    /// Goes through the steps. Nothing is deleted: the next one would pay for it.
    pub fn run(&self) -> anyhow::Result<Vec<Sample>> {
        fs::create_dir_all(self.folder)?;
        self.set.turn_to(0)?;
        self.all()
    }

    fn all(&self) -> anyhow::Result<Vec<Sample>> {
        // A server for each course: nothing is left in its memory of the one before.
        let server = match self.storage {
            Storage::Folder => None,
            Storage::S3 { latency_ms } => {
                let program = self.server.context("a storage on S3 needs the server")?;
                let flags = ["--no-md5", &format!("--latency-ms={latency_ms}")];
                Some(Server::start_with(program, "bench", &flags)?)
            }
        };
        let place = match &server {
            None => Place::Folder(self.folder.join("repository")),
            Some(server) => Place::S3(server, "repository/".to_owned()),
        };
        if let Place::Folder(path) = &place {
            fs::create_dir_all(path)?;
        }
        let mut walk = Walk { course: self, place: &place, samples: Vec::new(), homes: 0 };
        walk.steps()?;
        Ok(walk.samples)
    }
}

/// The steps under way.
struct Walk<'a> {
    course: &'a Course<'a>,
    place: &'a Place<'a>,
    samples: Vec<Sample>,
    homes: usize,
}

impl<'a> Walk<'a> {
    fn steps(&mut self) -> anyhow::Result<()> {
        let source = text(self.course.set.root())?;
        let session = self.new_home()?;
        self.measure(Step::Create, &session, session.create())?;
        prepare(&session, session.settle())?;
        let output = self.measure(Step::First, &session, session.snapshot(source))?;
        let mut id = session.made(&output)?;
        for step in [Step::Unchanged, Step::Changed] {
            if self.is_wanted(step) {
                if step == Step::Changed {
                    self.course.set.turn_to(1)?;
                }
                let output = self.measure(step, &session, session.snapshot(source))?;
                id = session.made(&output)?;
            }
        }
        if self.is_wanted(Step::Restore) {
            self.restore(Step::Restore, &id, None)?;
        }
        if let Some(folder) = self.course.set.folder().filter(|_| self.is_wanted(Step::Folder)) {
            self.restore(Step::Folder, &id, Some(&folder))?;
        }
        if self.is_wanted(Step::Verify) {
            let session = self.connected_home()?;
            self.measure(Step::Verify, &session, session.verify())?;
        }
        Ok(())
    }

    fn is_wanted(&self, step: Step) -> bool {
        self.course.steps.contains(&step)
    }

    fn new_home(&mut self) -> anyhow::Result<Session<'a>> {
        self.homes += 1;
        let home = self.course.folder.join(format!("home-{}", self.homes));
        self.course.contender.session(self.place, self.course.policy, home)
    }

    /// A home with an empty cache that knows the repository.
    fn connected_home(&mut self) -> anyhow::Result<Session<'a>> {
        let session = self.new_home()?;
        prepare(&session, session.connect())?;
        Ok(session)
    }

    /// Restores in a new home and compares with the source, so that no wrong restore is fast.
    fn restore(&mut self, step: Step, id: &str, inner: Option<&str>) -> anyhow::Result<()> {
        let session = self.connected_home()?;
        let target = self.course.folder.join(format!("restored-{}", self.homes));
        let root = self.course.set.root();
        let command = session.restore(id, text(root)?, inner, text(&target)?);
        self.measure(step, &session, command)?;
        let expected = inner.map_or(root.to_owned(), |inner| root.join(inner));
        let found = tree::compare(&expected, &target, Leave { folder_times: true })?;
        let differences = &found.differences;
        ensure!(
            differences.is_empty(),
            "{} restored something else: {} differences, such as {}",
            session.client.name,
            differences.len(),
            differences[0]
        );
        ensure!(found.files > 0, "{} restored nothing", session.client.name);
        Ok(())
    }

    /// Runs the command; what it cost is noted if the step is wanted.
    fn measure(
        &mut self,
        step: Step,
        session: &Session,
        mut command: Command,
    ) -> anyhow::Result<String> {
        // What the step before has left to be written must not be charged to this one.
        let _ = Command::new("sync").status();
        let server = match self.place {
            Place::Folder(_) => None,
            Place::S3(server, _) => Some(*server),
        };
        if let Some(server) = server {
            server.forget_traffic()?;
        }
        let (cost, output) = measure::run(session.client.name, &mut command, session.home())?;
        if self.is_wanted(step) {
            let traffic = server.map(Server::traffic).transpose()?;
            let repository = size(self.place)?;
            self.samples.push(Sample { step, cost, traffic, repository });
        }
        Ok(output)
    }
}

/// Runs what is not measured.
fn prepare(session: &Session, command: Option<Command>) -> anyhow::Result<()> {
    let Some(mut command) = command else { return Ok(()) };
    measure::run(session.client.name, &mut command, session.home()).map(|_| ())
}

fn text(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("the path is not UTF-8")
}

/// Bytes of all blobs.
fn size(place: &Place) -> anyhow::Result<u64> {
    match place {
        Place::S3(server, prefix) => Ok(server.objects(prefix)?.iter().map(|it| it.size).sum()),
        Place::Folder(path) => size_of(path.clone()),
    }
}

fn size_of(folder: PathBuf) -> anyhow::Result<u64> {
    let (mut sum, mut folders) = (0, vec![folder]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else {
                sum += entry.metadata()?.len();
            }
        }
    }
    Ok(sum)
}
