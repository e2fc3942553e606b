//! `cargo xtask bench`: how fast, how large, how many requests, beside other clients.
//!
//! Whole programs do whole work: each client that is given goes through the same steps with the
//! same data, in rounds that alternate, so that a machine that slows down slows all of them. What
//! is shown are medians, and what ours are of theirs.

mod choice;
mod course;
mod data;
mod measure;
pub(crate) mod random;
mod report;
mod targets;
mod tools;
mod upkeep;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{bail, ensure};
use choice::choose;
use course::{Course, STEPS, STORAGES, Step, Storage};
use data::{KINDS, Set};
use report::{Combination, Results};
use serde_json::json;
use targets::Judgement;
use tools::{Contender, POLICIES, Policy, Tool};
use xshell::{Shell, cmd};

use crate::{
    flags,
    programs::{self, Scratch},
    workspace,
};

/// How often everything is done, if nothing is said.
const ROUNDS: usize = 3;

/// Runs the scenario: one of whole programs, or benches of cargo's.
pub fn run(sh: &Shell, flags: &flags::Bench) -> anyhow::Result<()> {
    match flags.scenario.as_deref().unwrap_or("end-to-end") {
        "end-to-end" => end_to_end(sh, flags),
        "micro" => benches(sh, MICRO),
        "index" => index(sh, flags),
        "thaw" => thaw(sh),
        "maintenance" => upkeep::run(sh, flags),
        other => bail!("--scenario {other}: there are end-to-end, micro, index, thaw, maintenance"),
    }
}

/// The work on each byte, by package and name of a bench of cargo's.
const MICRO: &[(&str, &str)] = &[("kopia-format", "micro")];

/// Runs benches of cargo's, one after the other.
fn benches(sh: &Shell, benches: &[(&str, &str)]) -> anyhow::Result<()> {
    let cargo = workspace::cargo();
    for (package, bench) in benches {
        cmd!(sh, "{cargo} bench --quiet --locked --package {package} --bench {bench}").run()?;
    }
    Ok(())
}

/// Indexes of many contents, made below a scratch folder: opening, memory, look-ups.
fn index(sh: &Shell, flags: &flags::Bench) -> anyhow::Result<()> {
    let cargo = workspace::cargo();
    let scratch = Scratch::new("bench-index", false)?;
    let folder = flags.dir.as_deref().unwrap_or(scratch.path());
    let contents = flags.contents.as_deref().unwrap_or("1M,10M,75M");
    let bench = ["bench", "--quiet", "--locked", "--package", "kopia-repo", "--bench", "index"];
    cmd!(sh, "{cargo} {bench...} -- --folder {folder} --contents {contents}").run()?;
    Ok(())
}

/// Plans of thaws over a repository that is made in memory: time, memory, requests.
fn thaw(sh: &Shell) -> anyhow::Result<()> {
    let cargo = workspace::cargo();
    let bench = ["bench", "--quiet", "--locked", "--package", "kopia-lite", "--bench", "thaw_plan"];
    let size = ["--contents", "1000000", "--packs", "50000"];
    cmd!(sh, "{cargo} {bench...} -- {size...}").run()?;
    Ok(())
}

/// What is to be done, all of it known before anything is.
#[derive(Debug)]
struct Plan {
    data: Vec<(&'static str, data::Kind)>,
    storages: Vec<(&'static str, Storage)>,
    policies: Vec<(&'static str, Policy)>,
    steps: Vec<Step>,
    rounds: usize,
    scale: f64,
}

impl Plan {
    fn new(flags: &flags::Bench) -> anyhow::Result<Self> {
        let plan = Self {
            data: choose("data", flags.data.as_deref(), KINDS)?,
            storages: choose("storage", flags.storage.as_deref(), STORAGES)?,
            policies: choose("policy", flags.policy.as_deref(), POLICIES)?,
            steps: choose("step", flags.step.as_deref(), STEPS)?
                .into_iter()
                .map(|(_, step)| step)
                .collect(),
            rounds: flags.rounds.unwrap_or(ROUNDS),
            scale: flags.scale.unwrap_or(1.0),
        };
        ensure!(plan.rounds > 0, "--rounds 0 measures nothing");
        ensure!(plan.scale > 0.0 && plan.scale <= 100.0, "--scale is a factor up to 100");
        Ok(plan)
    }

    fn needs_server(&self) -> bool {
        self.storages.iter().any(|(_, storage)| *storage != Storage::Folder)
    }

    fn text(&self, contenders: &[Contender]) -> String {
        let names = |list: Vec<&str>| list.join(", ");
        let sizes = [self.data.len(), self.storages.len(), self.policies.len(), self.rounds];
        let courses = sizes.iter().product::<usize>() * contenders.len();
        format!(
            "data: {}\nstorages: {}\npolicies: {}\nscale {}, {} rounds, {courses} courses\n",
            names(self.data.iter().map(|it| it.0).collect()),
            names(self.storages.iter().map(|it| it.0).collect()),
            names(self.policies.iter().map(|it| it.0).collect()),
            self.scale,
            self.rounds,
        )
    }
}

fn end_to_end(sh: &Shell, flags: &flags::Bench) -> anyhow::Result<()> {
    let plan = Plan::new(flags)?;
    let against: Vec<_> =
        flags.against.iter().map(|it| tools::parse_against(it)).collect::<anyhow::Result<_>>()?;
    let parent = flags.dir.clone().unwrap_or_else(std::env::temp_dir);
    let program = |given: &Option<PathBuf>, package| match given {
        Some(path) => Ok(path.clone()),
        None => programs::build(sh, &[package], true).map(|mut built| built.remove(0)),
    };
    let ours = program(&flags.kopia_lite, "kopia-lite")?;
    let needed = plan.needs_server();
    let server = needed.then(|| program(&flags.s3_testkit, "s3-testkit")).transpose()?;
    let scratch = Scratch::below(&parent, "bench", false)?;
    let homes = scratch.path().join("homes");
    let mut contenders = vec![Contender::new(Tool::KopiaLite, "kopia-lite", &ours, &homes)?];
    for (tool, name, path) in &against {
        contenders.push(Contender::new(*tool, name, path, &homes)?);
    }
    for Contender { client, .. } in &contenders {
        println!("{}: {}", client.name, client.version.lines().next().unwrap_or(""));
    }
    print!("{}", plan.text(&contenders));
    let bench = Bench { plan: &plan, contenders: &contenders, server: server.as_deref() };
    let combinations = bench.all(scratch.path())?;
    let mut judgement = Judgement::default();
    combinations.iter().for_each(|it| judgement.of(it, plan.scale));
    print!("{}", judgement.text());
    if let Some(path) = &flags.json {
        let samples: Vec<_> = combinations.iter().flat_map(Combination::json).collect();
        let all = json!({ "scale": plan.scale, "rounds": plan.rounds, "samples": samples });
        fs::write(path, format!("{all:#}\n"))?;
    }
    let errors: Vec<_> = combinations.iter().flat_map(Combination::errors).collect();
    ensure!(errors.is_empty(), "{} courses failed:\n{}", errors.len(), errors.join("\n"));
    Ok(())
}

/// The run.
struct Bench<'a> {
    plan: &'a Plan,
    contenders: &'a [Contender],
    server: Option<&'a Path>,
}

impl Bench<'_> {
    /// Each data set is written once; a table is shown as soon as its rounds have ended.
    fn all(&self, folder: &Path) -> anyhow::Result<Vec<Combination>> {
        let mut all = Vec::new();
        for (data, kind) in &self.plan.data {
            let root = folder.join("data").join(data);
            fs::create_dir_all(&root)?;
            let begun = Instant::now();
            let set = Set::plant(*kind, self.plan.scale, &root)?;
            println!("{data}: written in {:.1} s", begun.elapsed().as_secs_f64());
            for storage in &self.plan.storages {
                for policy in &self.plan.policies {
                    let done = self.combination(data, &set, *storage, *policy, folder);
                    print!("{}", done.table());
                    all.push(done);
                }
            }
        }
        Ok(all)
    }

    fn combination(
        &self,
        data: &'static str,
        set: &Set,
        storage: (&'static str, Storage),
        policy: (&'static str, Policy),
        folder: &Path,
    ) -> Combination {
        let empty = |it: &Contender| Results {
            tool: it.tool,
            name: it.client.name,
            version: it.client.version.clone(),
            rounds: Vec::new(),
        };
        let mut clients: Vec<_> = self.contenders.iter().map(empty).collect();
        let (mut number, mut folders) = (0, Vec::new());
        for round in 0..self.plan.rounds {
            for turn in 0..clients.len() {
                // Nobody is always the first.
                let which = (round + turn) % clients.len();
                folders.push(folder.join(format!("{data}-{}-{}-{number}", storage.0, policy.0)));
                let course = Course {
                    set,
                    storage: storage.1,
                    policy: policy.1,
                    steps: &self.plan.steps,
                    contender: &self.contenders[which],
                    server: self.server,
                    folder: &folders[folders.len() - 1],
                };
                number += 1;
                let begun = Instant::now();
                let samples = course.run().map_err(|error| format!("{error:#}"));
                let name = clients[which].name;
                let seconds = begun.elapsed().as_secs_f64();
                println!("round {}, {name}: {seconds:.1} s with everything", round + 1);
                if let Err(error) = &samples {
                    println!("error: {error}");
                }
                clients[which].rounds.push(samples);
            }
            if set.has_few_files() {
                free(&mut folders);
            }
        }
        Combination { data, storage: storage.0, policy: policy.0, clients }
    }
}

/// Deletes what the courses of a round have left, so that the disk need not hold all rounds. Not
/// between two courses: the memory of a page cache that is freed may go back to the host of a
/// virtual machine, and be had again at ten times the price. And not at all where there are many
/// files: for minutes ext4 passes over the inodes of deleted files, one by one for each new file.
fn free(folders: &mut Vec<PathBuf>) {
    for folder in folders.drain(..) {
        // What can't be deleted now is with the rest of the scratch folder.
        let _ = fs::remove_dir_all(folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(args: &[&str]) -> flags::Bench {
        let args = std::iter::once("bench").chain(args.iter().copied()).map(Into::into).collect();
        let flags::XtaskCmd::Bench(flags) =
            flags::Xtask::from_vec(args).expect("these are flags").subcommand
        else {
            panic!("it is another command");
        };
        flags
    }

    #[test]
    fn a_plan_is_everything_or_what_is_named() {
        let all = Plan::new(&flags(&[])).expect("it is a plan");
        assert_eq!((all.data.len(), all.storages.len(), all.policies.len()), (4, 3, 2));
        assert_eq!((all.rounds, all.steps.len()), (ROUNDS, STEPS.len()));
        let some = flags(&["--data", "tiny", "--storage", "fs", "--step", "restore,first"]);
        let some = Plan::new(&some).expect("it is a plan");
        assert_eq!(some.steps, [Step::First, Step::Restore]);
        assert!(!some.needs_server() && all.needs_server());
        assert!(some.text(&[]).contains("data: tiny\nstorages: fs\n"), "{}", some.text(&[]));
        for wrong in [["--rounds", "0"], ["--scale", "0"], ["--data", "huge"]] {
            assert!(Plan::new(&flags(&wrong)).is_err(), "{wrong:?}");
        }
    }
}
