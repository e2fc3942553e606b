//! Steps of a long command, each timed, with a table at the end.

use std::{
    fmt::Write,
    time::{Duration, Instant},
};

/// How a step that did not fail ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Done, with a word about it.
    Done(String),
    /// Not done, and why.
    Skipped(String),
}

/// Done, with nothing to add.
pub fn done() -> anyhow::Result<Outcome> {
    Ok(Outcome::Done(String::new()))
}

/// The steps so far.
#[derive(Debug, Default)]
pub struct Steps {
    rows: Vec<(String, Duration, String)>,
    failed: Vec<String>,
}

impl Steps {
    /// Runs a step and notes how it went. At a failure the table is printed before the error goes
    /// up.
    pub fn run(
        &mut self,
        name: &str,
        step: impl FnOnce() -> anyhow::Result<Outcome>,
    ) -> anyhow::Result<()> {
        let result = self.note(name, step);
        if result.is_err() {
            print!("{}", self.table());
        }
        result
    }

    /// Runs a step whose failure does not keep later ones from running; [`Steps::finish`] fails
    /// then.
    pub fn check(&mut self, name: &str, step: impl FnOnce() -> anyhow::Result<Outcome>) {
        if let Err(error) = self.note(name, step) {
            println!("error: {error:#}");
            self.failed.push(name.to_owned());
        }
    }

    /// Fails if a check did.
    pub fn finish(&self) -> anyhow::Result<()> {
        if self.failed.is_empty() {
            return Ok(());
        }
        print!("{}", self.table());
        anyhow::bail!("failed: {}", self.failed.join(", "))
    }

    fn note(
        &mut self,
        name: &str,
        step: impl FnOnce() -> anyhow::Result<Outcome>,
    ) -> anyhow::Result<()> {
        println!("── {name}");
        let start = Instant::now();
        let result = step();
        let word = match &result {
            Ok(Outcome::Done(word)) if word.is_empty() => "ok".to_owned(),
            Ok(Outcome::Done(word)) => format!("ok: {word}"),
            Ok(Outcome::Skipped(why)) => format!("SKIPPED: {why}"),
            Err(_) => "FAILED".to_owned(),
        };
        println!("{word}");
        self.rows.push((name.to_owned(), start.elapsed(), word));
        result.map(|_| ())
    }

    /// The table of all steps.
    pub fn table(&self) -> String {
        let width = self.rows.iter().map(|(name, ..)| name.chars().count()).max().unwrap_or(0);
        let mut out = String::from("\n");
        for (name, took, word) in &self.rows {
            let _ = writeln!(out, "{name:width$}  {:>7.1} s  {word}", took.as_secs_f64());
        }
        let total: Duration = self.rows.iter().map(|(_, took, _)| *took).sum();
        let _ = writeln!(out, "{:width$}  {:>7.1} s", "total", total.as_secs_f64());
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_every_step_and_the_total() {
        let mut steps = Steps::default();
        steps.run("one", || Ok(Outcome::Skipped("not here".into()))).expect("a skip is no failure");
        assert!(steps.finish().is_ok());
        steps.check("two", || anyhow::bail!("no"));
        assert!(steps.run("three", || anyhow::bail!("no")).is_err());
        let table = steps.table();
        for part in ["one", "SKIPPED: not here", "two", "FAILED", "three", "total"] {
            assert!(table.contains(part), "{table}");
        }
        assert_eq!(
            steps.finish().map_err(|error| error.to_string()),
            Err("failed: two".to_owned())
        );
    }
}
