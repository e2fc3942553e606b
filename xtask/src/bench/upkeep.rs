//! `--scenario maintenance`: full maintenance by the number of contents, and beside Kopia.
//!
//! The law of growth comes from a bench of cargo's, in memory, of ours alone. Beside Kopia both
//! programs maintain copies of one repository in a folder, in rounds that alternate. The copies are
//! hard links: neither client changes a blob in place.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, ensure};
use xshell::{Shell, cmd};

use super::{
    ROUNDS,
    measure::{self, Cost},
    targets,
    tools::{self, Contender, Policy, Tool},
};
use crate::{
    flags,
    place::Place,
    programs::{self, Scratch},
    workspace,
};

/// Contents by which the law of growth is found.
const CONTENTS: &str = "100000,1000000,10000000";
/// Contents of the repository of which both get copies.
const COMPARED: &str = "1000000";
/// No margins: all is to be done in one cycle, by a client that is nobody's.
const MAINTAIN: [&str; 6] =
    ["maintenance", "run", "--full", "--safety=none", "--force", "--no-progress"];

/// Runs it.
pub fn run(sh: &Shell, flags: &flags::Bench) -> anyhow::Result<()> {
    let cargo = workspace::cargo();
    let bench =
        ["bench", "--quiet", "--locked", "--package", "kopia-lite", "--bench", "maintenance"];
    let against: Vec<_> =
        flags.against.iter().map(|it| tools::parse_against(it)).collect::<anyhow::Result<_>>()?;
    let are_kopias = against.iter().all(|it| matches!(it.0, Tool::Kopia | Tool::KopiaLite));
    ensure!(are_kopias, "only Kopia and kopia-lite maintain repositories of Kopia");
    if against.is_empty() {
        let contents = flags.contents.as_deref().unwrap_or(CONTENTS);
        return Ok(cmd!(sh, "{cargo} {bench...} -- --contents {contents}").run()?);
    }
    let parent = flags.dir.clone().unwrap_or_else(std::env::temp_dir);
    let scratch = Scratch::below(&parent, "bench-maintenance", false)?;
    let made = scratch.path().join("made");
    fs::create_dir_all(&made)?;
    let contents = flags.contents.as_deref().unwrap_or(COMPARED);
    cmd!(sh, "{cargo} {bench...} -- --contents {contents} --make {made}").run()?;
    let ours = match &flags.kopia_lite {
        Some(path) => path.clone(),
        None => programs::build(sh, &["kopia-lite"], true)?.remove(0),
    };
    let homes = scratch.path().join("homes");
    let mut contenders = vec![Contender::new(Tool::KopiaLite, "kopia-lite", &ours, &homes)?];
    for (tool, name, path) in &against {
        contenders.push(Contender::new(*tool, name, path, &homes)?);
    }
    let rounds = flags.rounds.unwrap_or(ROUNDS);
    ensure!(rounds > 0, "--rounds 0 measures nothing");
    let mut costs = vec![Vec::new(); contenders.len()];
    println!(
        "{contents} contents\n{:12} {:>9} {:>9} {:>9}  blobs before, after",
        "", "s", "CPU s", "MiB"
    );
    for round in 0..rounds {
        for turn in 0..contenders.len() {
            // Nobody is always the first.
            let which = (round + turn) % contenders.len();
            let copy = scratch.path().join(format!("copy-{round}-{which}"));
            costs[which].push(maintain(&contenders[which], &made, &copy)?);
        }
    }
    let medians: Vec<Cost> = costs.into_iter().map(median).collect();
    for (contender, theirs) in contenders.iter().zip(&medians).skip(1) {
        if contender.tool == Tool::Kopia {
            print!("{}", targets::maintenance(&medians[0], theirs));
        }
    }
    Ok(())
}

fn maintain(contender: &Contender, made: &Path, copy: &Path) -> anyhow::Result<Cost> {
    let copied = Command::new("cp").arg("-al").args([made, copy]).status()?;
    ensure!(copied.success(), "can't copy with cp -al");
    let place = Place::Folder(copy.to_owned());
    let home = copy.with_extension("home");
    let session = contender.session(&place, Policy::None, home)?;
    let mut connect = session.connect().context("it connects to repositories")?;
    measure::run(session.client.name, &mut connect, session.home())?;
    let before = count(copy)?;
    let mut run = session.client.command(&MAINTAIN);
    let (cost, _) = measure::run(session.client.name, &mut run, session.home())?;
    let (wall, cpu) = (cost.wall.as_secs_f64(), cost.cpu.as_secs_f64());
    let (mib, after) = (cost.memory as f64 / f64::from(1 << 20), count(copy)?);
    println!("{:12} {wall:>9.2} {cpu:>9.2} {mib:>9.1}  {before}, {after}", session.client.name);
    Ok(cost)
}

/// Of each number by itself.
fn median(costs: Vec<Cost>) -> Cost {
    fn middle<T: Ord>(values: impl Iterator<Item = T>) -> T {
        let mut values: Vec<T> = values.collect();
        values.sort();
        let middle = values.len() / 2;
        values.swap_remove(middle)
    }
    Cost {
        wall: middle(costs.iter().map(|it| it.wall)),
        cpu: middle(costs.iter().map(|it| it.cpu)),
        memory: middle(costs.iter().map(|it| it.memory)),
    }
}

/// Files in a folder.
fn count(folder: &Path) -> anyhow::Result<u64> {
    let mut files = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        files += if entry.file_type()?.is_dir() { count(&entry.path())? } else { 1 };
    }
    Ok(files)
}
