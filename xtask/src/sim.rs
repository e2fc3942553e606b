//! `cargo xtask sim`: months of clients, maintenance and kills over one repository, by seeds.
//!
//! One seed alone shows what happened in it. `--plant` makes a mistake on purpose, and fails if no
//! seed finds it. What is simulated: `crates/repo-sim`.

use std::{
    process::Command,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use anyhow::{Context, ensure};
use xshell::{Shell, cmd};

use crate::{
    flags,
    steps::{Outcome, Steps},
    workspace,
};

/// Seeds that every change must pass: a minute. A thousand take half an hour in a release build.
const SEEDS: u64 = 40;
/// Mistakes that are made on purpose, and by how many seeds each must be found. One seed in twelve finds
/// the first, every other one each of the others; what no seed finds alone, since another margin covers
/// it, is not here.
const PLANTED: &[(&str, u64)] = &[
    ("one-collection", 100),
    ("rewrite-to-delete", 20),
    ("pack-and-session-age", 20),
    ("skipped-snapshot", 20),
    ("stale-snapshots", 20),
];

/// Runs the seeds that the flags ask for.
pub fn run(sh: &Shell, flags: &flags::Sim) -> anyhow::Result<()> {
    let plant = flags.plant.as_deref();
    let cargo = workspace::cargo();
    let program = cmd!(sh, "{cargo} run --locked --package repo-sim --");
    let count = flags.count.unwrap_or(1);
    ensure!(count > 0, "--count must be 1 at least");
    let program = program.args(arguments(flags.seed, count, plant));
    program.run().context("the simulation did not end as it should")
}

/// All seeds, then every mistake, by the program that the tests of the workspace were built with: by
/// itself it would be built once more, with other features of what it depends on. A simulation keeps
/// one core busy, so that two run at a time, and what each says is shown when it has ended.
pub fn steps(steps: &mut Steps) -> anyhow::Result<()> {
    let program = workspace::target_dir().join("debug/repo-sim");
    let half = SEEDS / 2;
    let seeds = [(0, half, None), (half, SEEDS - half, None)];
    let planted = PLANTED.iter().map(|(plant, within)| (0, *within, Some(*plant)));
    let all: Vec<_> = seeds.into_iter().chain(planted).collect();
    steps.run("sim", || {
        let next = AtomicUsize::new(0);
        let work = || -> anyhow::Result<()> {
            while let Some((seed, count, plant)) = all.get(next.fetch_add(1, Relaxed)) {
                let mut command = Command::new(&program);
                command.args(arguments(*seed, *count, *plant));
                let output = command.output().context("can't run the simulation")?;
                print!("{}", String::from_utf8_lossy(&output.stdout));
                eprint!("{}", String::from_utf8_lossy(&output.stderr));
                ensure!(output.status.success(), "{command:?} did not end as it should");
            }
            Ok(())
        };
        let ended: Vec<anyhow::Result<()>> = std::thread::scope(|scope| {
            let threads = [scope.spawn(work), scope.spawn(work)];
            threads.into_iter().map(|it| it.join().expect("it does not panic")).collect()
        });
        ended.into_iter().collect::<anyhow::Result<()>>()?;
        Ok(Outcome::Done(format!("{SEEDS} seeds, {} mistakes found", PLANTED.len())))
    })
}

fn arguments(seed: u64, count: u64, plant: Option<&str>) -> Vec<String> {
    let mut all = vec![format!("--seed={seed}"), format!("--count={count}")];
    all.extend(plant.map(|name| format!("--plant={name}")));
    all
}
