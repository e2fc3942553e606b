//! `cargo xtask test`: every test of the workspace, and how many there were.
//!
//! Cargo prints a line for each test program; the totals at the end are the sum of those. Ignored
//! tests are named, and those that found at run time that something is not here (`skip` of
//! kopia-fixtures) are not counted as passed, so that none is skipped in silence. Nor does one hang
//! in silence: after a while without a line the run ends and names the tests that are not over.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader},
    process::{ChildStdout, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use anyhow::{Context, bail, ensure};

use crate::{flags, steps::Outcome, workspace};

/// Runs the tests that the flags ask for.
pub fn run(flags: &flags::Test) -> anyhow::Result<()> {
    all(&flags.package, flags.filter.as_deref()).map(|_| ())
}

/// Runs the tests of some packages, or of all.
pub fn all(packages: &[String], filter: Option<&str>) -> anyhow::Result<Outcome> {
    let mut command = Command::new(workspace::cargo());
    command.args(["test", "--locked", "--no-fail-fast"]).current_dir(workspace::root());
    if packages.is_empty() {
        command.arg("--workspace");
    }
    command.args(packages.iter().flat_map(|package| ["--package", package]));
    command.args(filter);
    counted(command)
}

/// Runs a `cargo test` to its end, shows what it prints, and gives the totals.
pub fn counted(command: Command) -> anyhow::Result<Outcome> {
    counted_within(SILENCE_MAX, command)
}

/// The same, unless it prints no line for so long.
fn counted_within(silence_max: Duration, mut command: Command) -> anyhow::Result<Outcome> {
    let mut child = command.stdout(Stdio::piped()).spawn().context("can't run cargo test")?;
    let lines = lines_of(child.stdout.take().context("cargo has no output")?);
    let mut totals = Totals::default();
    loop {
        match lines.recv_timeout(silence_max) {
            Ok(line) => {
                let line = line?;
                totals.read(&line);
                println!("{line}");
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                child.kill()?;
                child.wait()?;
                bail!("no test ended for {silence_max:?}; not over: {:?}", totals.slow);
            }
        }
    }
    let status = child.wait()?;
    for test in &totals.skipped {
        println!("{SKIPPED}{test}");
    }
    println!("{}", totals.text());
    ensure!(status.success() && totals.failed == 0, "cargo test failed: {}", totals.text());
    Ok(Outcome::Done(totals.text()))
}

/// The lines of an output, read in a thread of their own so that they can be waited for.
fn lines_of(output: ChildStdout) -> mpsc::Receiver<std::io::Result<String>> {
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines() {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    lines
}

/// Cargo prints nothing here while it compiles, which takes minutes on a slow machine.
const SILENCE_MAX: Duration = Duration::from_secs(20 * 60);

/// How the line begins by which a test says that it was skipped.
const SKIPPED: &str = "SKIPPED: ";

/// The sum of all test programs.
#[derive(Debug, Default, PartialEq, Eq)]
struct Totals {
    programs: u64,
    passed: u64,
    failed: u64,
    /// Tests of this program that said so themselves, which cargo will count as passed.
    skipped_late: u64,
    /// Tests that did not run, and why.
    skipped: Vec<String>,
    /// Tests that took over a minute so far and are not over.
    slow: BTreeSet<String>,
}

impl Totals {
    /// Takes one line of cargo's output.
    fn read(&mut self, line: &str) {
        let test = line.strip_prefix("test ");
        if let Some((name, reason)) = test.and_then(|test| test.split_once(" ... ignored")) {
            self.skipped.push(format!("{name}{reason}"));
        }
        if let Some((name, _)) = test.and_then(|test| test.split_once(" has been running for")) {
            self.slow.insert(name.to_owned());
        } else if let Some((name, _)) = test.and_then(|test| test.split_once(" ... ")) {
            self.slow.remove(name);
        }
        if let Some(test) = line.strip_prefix(SKIPPED) {
            self.skipped.push(test.to_owned());
            self.skipped_late += 1;
        }
        let Some(counts) = line.strip_prefix("test result: ") else { return };
        self.programs += 1;
        // `ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s`
        let mut before = "";
        for word in counts.split([' ', ';']).filter(|word| !word.is_empty()) {
            let number: u64 = before.parse().unwrap_or(0);
            match word {
                "passed" => {
                    let late = std::mem::take(&mut self.skipped_late);
                    self.passed += number.saturating_sub(late);
                }
                "failed" => self.failed += number,
                _ => {}
            }
            before = word;
        }
    }

    fn text(&self) -> String {
        let Self { programs, passed, failed, skipped, .. } = self;
        let skipped = skipped.len();
        format!("{passed} passed, {failed} failed, {skipped} skipped in {programs} programs")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_all_programs_are_summed() {
        let mut totals = Totals::default();
        for line in [
            "test a::b ... ok",
            "test e has been running for over 60 seconds",
            "test f has been running for over 60 seconds",
            "test e ... ok",
            "test c ... ignored, needs a bucket",
            "SKIPPED: d: there is no disk",
            "test d ... ok",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "test result: FAILED. 10 passed; 2 failed; 0 ignored; 0 measured; 7 filtered out",
        ] {
            totals.read(line);
        }
        assert_eq!(totals.text(), "12 passed, 2 failed, 2 skipped in 2 programs");
        assert_eq!(totals.slow, BTreeSet::from(["f".to_owned()]));
        assert_eq!(totals.skipped, ["c, needs a bucket", "d: there is no disk"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_run_that_hangs_is_ended_and_says_which_test_is_not_over() {
        let mut command = Command::new("sh");
        let hangs = "echo 'test a::b has been running for over 60 seconds'; exec sleep 600";
        command.args(["-c", hangs]);
        let error = counted_within(Duration::from_secs(1), command).expect_err("it hangs");
        assert!(error.to_string().contains("not over: {\"a::b\"}"), "{error}");
    }
}
