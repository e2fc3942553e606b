//! `cargo xtask sim`: months of clients, maintenance and kills over one repository, by seeds.
//!
//! One seed alone shows what happened in it. `--plant` makes a mistake on purpose, and fails if no
//! seed finds it. What is simulated: `crates/repo-sim`.

use anyhow::{Context, ensure};
use xshell::{Shell, cmd};

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
    seeds(sh, flags.seed, flags.count.unwrap_or(1), plant).map(|_| ())
}

/// All seeds, then every mistake.
pub fn steps(sh: &Shell, steps: &mut Steps) -> anyhow::Result<()> {
    steps.run("sim", || seeds(sh, 0, SEEDS, None))?;
    for (plant, within) in PLANTED {
        steps.run(&format!("sim finds {plant}"), || seeds(sh, 0, *within, Some(plant)))?;
    }
    Ok(())
}

fn seeds(sh: &Shell, seed: u64, count: u64, plant: Option<&str>) -> anyhow::Result<Outcome> {
    ensure!(count > 0, "--count must be 1 at least");
    let (cargo, seed, count) = (workspace::cargo(), seed.to_string(), count.to_string());
    let plant = plant.map(|name| format!("--plant={name}"));
    cmd!(sh, "{cargo} run --locked --package repo-sim --")
        .args([format!("--seed={seed}"), format!("--count={count}")])
        .args(plant)
        .run()
        .context("the simulation did not end as it should")?;
    done()
}
