//! `cargo xtask interop --kopia PATH`: both clients, one repository, both directions.
//!
//! Each course makes a repository with one client and puts it through everything: the other reads
//! and restores it, both snapshot the same trees and must come to the same root objects, both write
//! at once, each is killed in the middle of snapshots, both verify, each takes over the other's connection file, and last and alone Kopia
//! maintains it and kopia-lite reads it again. A course is a format, a storage and who creates. In two
//! more courses both maintain one repository by turns, for days (`upkeep/`).
//! With `--endpoint` it is about archived packs alone, on a server that is not ours.

mod beside;
mod cold;
mod course;
mod forest;
mod upkeep;

use std::{path::PathBuf, time::Instant};

use anyhow::{Context, ensure};
use course::{Counts, Course, FORMATS};
use forest::Forest;
use xshell::Shell;

use crate::{
    flags,
    place::Place,
    programs::{self, Client, Scratch},
    server::Server,
};

/// Runs all courses, prints the table, fails if anything differed.
pub fn run(sh: &Shell, flags: flags::Interop) -> anyhow::Result<()> {
    let is_built = flags.kopia_lite.is_none();
    let kopia_lite = match flags.kopia_lite {
        Some(path) => path,
        None => programs::build(sh, &["kopia-lite"], true)?.remove(0),
    };
    let scratch = Scratch::new("interop", flags.keep)?;
    let kopia = Client::new("Kopia", &flags.kopia, scratch.path().join("kopia"))?;
    let ours = Client::new("kopia-lite", &kopia_lite, scratch.path().join("kopia-lite"))?;
    println!("Kopia:      {}", kopia.version);
    println!("kopia-lite: {}", ours.version);
    if let Some(endpoint) = flags.endpoint {
        return cold::run(&kopia, &ours, &endpoint, scratch.path());
    }
    let server = match flags.no_s3 {
        true => None,
        false => {
            let program = programs::build(sh, &["s3-testkit"], false)?.remove(0);
            Some(Server::start(&program, "interop").context("--no-s3 leaves the server out")?)
        }
    };
    let courses = courses(server.as_ref(), scratch.path().join("repositories"));
    let only = flags.only.unwrap_or_default();
    let mut table = Table::default();
    for mut course in courses.into_iter().filter(|course| course.name().contains(&only)) {
        let start = Instant::now();
        let name = course.name();
        let folder = scratch.path().join("courses").join(name.replace('/', "-"));
        let result = Forest::plant(&folder.join("forest"))
            .and_then(|forest| course.run(&kopia, &ours, &folder, forest));
        let wrong = match result {
            Ok(differences) => differences,
            Err(error) => vec![format!("{error:#}")],
        };
        table.row(&name, &course.counts, start.elapsed().as_secs_f64(), &wrong);
        if !flags.keep {
            let _ = std::fs::remove_dir_all(&folder);
        }
    }
    let besides = [(beside::IN_FOLDERS, None), (beside::ON_THE_SERVER, server.as_ref())];
    for (name, server) in besides.into_iter().filter(|(name, _)| name.contains(&only)) {
        if name == beside::ON_THE_SERVER && server.is_none() {
            println!("{name}: SKIPPED by --no-s3");
            continue;
        }
        let (start, folder) = (Instant::now(), scratch.path().join(name));
        let wrong = beside::run(&kopia, &ours, &folder, server)
            .unwrap_or_else(|error| vec![format!("{error:#}")]);
        table.row(name, &Counts::default(), start.elapsed().as_secs_f64(), &wrong);
    }
    for life in upkeep::LIVES.iter().filter(|life| life.name.contains(&only)) {
        let age = programs::build_example(sh, "kopia-lite", "age", is_built)?;
        let (start, folder) = (Instant::now(), scratch.path().join(life.name));
        let (counts, wrong) = life
            .run(&kopia, &ours, &age, &folder)
            .unwrap_or_else(|error| (Counts::default(), vec![format!("{error:#}")]));
        table.row(life.name, &counts, start.elapsed().as_secs_f64(), &wrong);
    }
    table.end()
}

/// Every format in a folder, some on the S3 server, each begun by either client.
fn courses(server: Option<&Server>, folder: PathBuf) -> Vec<Course<'_>> {
    let mut all = Vec::new();
    for format in FORMATS {
        for by_kopia in [true, false] {
            let course = |place| Course { format, place, by_kopia, counts: Counts::default() };
            let name = format!("{}-{by_kopia}", format.name);
            all.push(course(Place::Folder(folder.join(&name))));
            if let Some(server) = server.filter(|_| format.on_s3) {
                all.push(course(Place::S3(server, format!("{name}/"))));
            }
        }
    }
    all
}

/// The table, a row as soon as its course has ended.
#[derive(Debug, Default)]
struct Table {
    rows: usize,
    failed: usize,
    sum: Counts,
}

impl Table {
    fn row(&mut self, name: &str, counts: &Counts, seconds: f64, wrong: &[String]) {
        if self.rows == 0 {
            println!("{:48} {}      time", "course", Counts::HEAD);
        }
        let verdict = if wrong.is_empty() { "ok" } else { "DIFFERS" };
        println!("{name:48} {} {seconds:>7.1} s  {verdict}", counts.text());
        wrong.iter().take(20).for_each(|line| println!("    {line}"));
        if wrong.len() > 20 {
            println!("    and {} more", wrong.len() - 20);
        }
        self.rows += 1;
        self.failed += usize::from(!wrong.is_empty());
        self.sum.add(counts);
    }

    fn end(self) -> anyhow::Result<()> {
        ensure!(self.rows > 0, "no course has that in its name");
        println!("{:48} {}", format!("{} courses", self.rows), self.sum.text());
        ensure!(self.failed == 0, "{} of {} courses differ", self.failed, self.rows);
        Ok(())
    }
}
