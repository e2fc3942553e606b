//! `cargo xtask dist`: is each crate whole when it is alone?
//!
//! Who depends on one of our crates has its tarball and nothing of this workspace: neither the
//! files beside it, nor the features that other members switch on, nor `[patch]`. So every
//! published crate is packaged, unpacked into an empty workspace, and built and tested there; our
//! other crates are found as their unpacked tarballs. No package that is forbidden here (deps.rs)
//! may be in that tree either. The one exception is what rusoto brings where our façades are not:
//! the crate's README has to name it, and say how to avoid it.

mod alone;
pub mod tarball;

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{bail, ensure};

use self::{
    alone::{Alone, Facades},
    tarball::Tarball,
};
use crate::{
    deps, flags,
    steps::Outcome,
    workspace::{self, Package, Workspace},
};

/// Packages all crates, then looks at those that the flags ask for, and prints the table.
pub fn run(flags: &flags::Dist) -> anyhow::Result<()> {
    let start = Instant::now();
    let ours = Workspace::read()?;
    let published: Vec<&Package> = ours.members().filter(|it| it.is_published()).collect();
    for name in &flags.package {
        ensure!(published.iter().any(|it| it.name == *name), "no published crate is named {name}");
    }
    println!("── packaging");
    let tarballs = tarball::pack(&dist_dir(), &tarball::packed(&ours))?;
    let (mut rows, mut failed) = (Vec::new(), Vec::new());
    for package in published {
        if !flags.package.is_empty() && !flags.package.contains(&package.name) {
            continue;
        }
        let mut row = Row::default();
        if let Err(error) = one(&ours, package, &tarballs, !flags.no_test, &mut row) {
            println!("error: {}: {error:#}", package.name);
            failed.push(package.name.clone());
        }
        rows.push(row);
    }
    print!("{}", table(&rows));
    println!("all in {}", seconds(start.elapsed()));
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    Ok(())
}

/// Where everything is put.
fn dist_dir() -> PathBuf {
    workspace::target_dir().join("dist")
}

/// What there is to say about one crate; a cell that was never filled has not been reached.
#[derive(Debug, Default)]
struct Row {
    name: String,
    size: String,
    files: String,
    tree: String,
    build: String,
    tests: String,
    example: String,
    /// Said below the table.
    notes: Vec<String>,
}

/// Everything about one crate, in the order in which a stranger would meet it.
fn one(
    ours: &Workspace,
    package: &Package,
    tarballs: &[Tarball],
    test: bool,
    row: &mut Row,
) -> anyhow::Result<()> {
    let name = package.name.as_str();
    println!("── {name}: tarball");
    row.name = name.to_owned();
    let tarball = tarball::find(tarballs, name)?;
    row.size = format!("{:.1} kB", tarball.bytes as f64 / 1e3);
    row.files = tarball.files.len().to_string();
    let wrong = tarball::missing(&tarball.files, &tarball.folder)?;
    if !wrong.is_empty() {
        row.files.push_str(" FAILED");
        bail!("the tarball is not whole:\n{}", wrong.join("\n"));
    }

    println!("── {name}: tree and build, as a registry gives it");
    let mut alone = Alone::make(ours, package, tarballs, Facades::Absent)?;
    let bare = cell(&mut row.tree, || as_published(&alone, tarball))?;
    timed(&mut row.build, || alone.cargo(&["build"]).map(|()| String::new()))?;
    if let Some(stack) = bare {
        println!("── {name}: tree and build, with the facades of s3-backend's README");
        row.notes.push(format!("{name} without the facades: {stack}; its README says so"));
        alone = Alone::make(ours, package, tarballs, Facades::OfReadme)?;
        cell(&mut row.tree, || clean(&alone).map(|()| Some("clean with facades".to_owned())))?;
        timed(&mut row.build, || alone.cargo(&["build"]).map(|()| String::new()))?;
    }
    if !test {
        (row.tests, row.example) = ("SKIPPED".to_owned(), "SKIPPED".to_owned());
        return Ok(());
    }

    println!("── {name}: tests");
    let testkits = alone.add_testkits(ours, package, tarballs)?;
    if !testkits.is_empty() {
        let names = testkits.join(", ");
        row.notes
            .push(format!("{name} was tested with dev-dependencies no tarball names: {names}"));
    }
    clean(&alone)?;
    timed(&mut row.tests, || match alone.test()? {
        Outcome::Done(totals) => Ok(totals),
        Outcome::Skipped(why) => Ok(format!("SKIPPED: {why}")),
    })?;
    println!("── {name}: examples");
    let examples = package.targets.iter().filter(|target| target.kind == ["example"]);
    for example in examples {
        timed(&mut row.example, || {
            alone.cargo(&["run", "--example", &example.name]).map(|()| example.name.clone())
        })?;
    }
    if row.example.is_empty() {
        row.example = "none".to_owned();
    }
    Ok(())
}

/// Checks the tree that a registry's user gets. What rusoto brings is allowed if the README names
/// it; gives the list then.
fn as_published(alone: &Alone, tarball: &Tarball) -> anyhow::Result<Option<String>> {
    let (known, forbidden): (Vec<_>, Vec<_>) =
        deps::offences(alone.workspace()).into_iter().partition(|offence| offence.of_rusoto);
    let lines = deps::lines(&forbidden);
    ensure!(forbidden.is_empty(), "these packages must not be in the tree:\n{lines}");
    if known.is_empty() {
        return Ok(None);
    }
    let has_rusoto = alone.workspace().all().iter().any(|it| it.name == "rusoto_core");
    let lines = deps::lines(&known);
    ensure!(has_rusoto, "these packages must not be in a tree without rusoto:\n{lines}");
    let readme = fs::read_to_string(tarball.folder.join("README.md"))?;
    let names: Vec<&str> = known.iter().map(|offence| offence.package.as_str()).collect();
    for name in &names {
        ensure!(readme.contains(name), "{name} is in the tree, and the README doesn't say so");
    }
    Ok(Some(names.join(", ")))
}

/// Fails if anything at all breaks a rule.
fn clean(alone: &Alone) -> anyhow::Result<()> {
    deps::check(alone.workspace()).map(|_| ())
}

/// Fills a cell with a word, or with the fact that it failed.
fn cell(
    cell: &mut String,
    step: impl FnOnce() -> anyhow::Result<Option<String>>,
) -> anyhow::Result<Option<String>> {
    let result = step();
    *cell = match &result {
        Ok(Some(word)) => word.clone(),
        Ok(None) => "clean".to_owned(),
        Err(_) => "FAILED".to_owned(),
    };
    result
}

/// Adds to a cell what was done and how long it took.
fn timed(cell: &mut String, step: impl FnOnce() -> anyhow::Result<String>) -> anyhow::Result<()> {
    let start = Instant::now();
    let result = step();
    let word = match &result {
        Ok(word) if word.is_empty() => seconds(start.elapsed()),
        Ok(word) => format!("{word} ({})", seconds(start.elapsed())),
        Err(_) => "FAILED".to_owned(),
    };
    if !cell.is_empty() {
        cell.push_str(" + ");
    }
    cell.push_str(&word);
    result.map(|_| ())
}

fn seconds(duration: Duration) -> String {
    format!("{:.0} s", duration.as_secs_f64())
}

fn table(rows: &[Row]) -> String {
    let head = ["crate", "tarball", "files", "tree", "build", "tests", "example"];
    let mut lines = vec![head.map(str::to_owned)];
    lines.extend(rows.iter().map(|row| {
        let cells =
            [&row.name, &row.size, &row.files, &row.tree, &row.build, &row.tests, &row.example];
        cells.map(|cell| if cell.is_empty() { "not reached".to_owned() } else { cell.clone() })
    }));
    let width = |column: usize| {
        lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut out = String::from("\n");
    for line in &lines {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        let cells: Vec<String> = cells.collect();
        out.push_str(cells.join("  ").trim_end());
        out.push('\n');
    }
    for note in rows.iter().flat_map(|row| &row.notes) {
        out.push_str(note);
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_that_was_not_reached_says_so_and_a_failure_stays() {
        let mut row = Row { name: "one".to_owned(), ..Row::default() };
        timed(&mut row.build, || Ok(String::new())).expect("it did nothing");
        assert!(timed(&mut row.build, || bail!("no")).is_err());
        assert!(cell(&mut row.tree, || bail!("no")).is_err());
        row.notes.push("a note".to_owned());
        let table = table(&[row]);
        for part in ["one", "0 s + FAILED", "not reached", "a note"] {
            assert!(table.contains(part), "{table}");
        }
    }
}
