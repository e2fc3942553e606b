//! `cargo xtask sim`: months of clients, maintenance and kills over one repository, by seeds.
//!
//! One seed alone shows what happened in it. `--plant` makes a mistake on purpose, and fails if no
//! seed finds it. What is simulated: `crates/repo-sim`.

use anyhow::{Context, ensure};
use xshell::{Cmd, Shell, cmd};

use crate::{
    flags,
    steps::{Outcome, Steps, done},
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
    seeds(program, flags.seed, flags.count.unwrap_or(1), plant).map(|_| ())
}

/// All seeds, then every mistake, by the program that the tests of the workspace were built with: by
/// itself it would be built once more, with other features of what it depends on.
pub fn steps(sh: &Shell, steps: &mut Steps) -> anyhow::Result<()> {
    let program = workspace::target_dir().join("debug/repo-sim");
    steps.run("sim", || seeds(cmd!(sh, "{program}"), 0, SEEDS, None))?;
    for (plant, within) in PLANTED {
        let name = format!("sim finds {plant}");
        steps.run(&name, || seeds(cmd!(sh, "{program}"), 0, *within, Some(plant)))?;
    }
    Ok(())
}

fn seeds(program: Cmd<'_>, seed: u64, count: u64, plant: Option<&str>) -> anyhow::Result<Outcome> {
    ensure!(count > 0, "--count must be 1 at least");
    let (seed, count) = (seed.to_string(), count.to_string());
    let plant = plant.map(|name| format!("--plant={name}"));
    program
        .args([format!("--seed={seed}"), format!("--count={count}")])
        .args(plant)
        .run()
        .context("the simulation did not end as it should")?;
    done()
}
