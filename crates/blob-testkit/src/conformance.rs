//! Runs every promise on a storage of its own and says how it went.

use std::{fmt, time::Duration};

use crate::{
    Fresh,
    promises::{self, Failure},
};

/// How long one promise may take before the storage counts as stuck.
const LIMIT: Duration = Duration::from_secs(300);

/// How one promise went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was kept.
    Kept,
    /// It does not concern this storage, for this reason.
    Skipped(String),
    /// It was broken, in this way.
    Broken(String),
}

/// How all promises went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The storage's name for people.
    pub storage: String,
    /// Each promise, in the order of the suite.
    pub outcomes: Vec<(&'static str, Outcome)>,
}

impl Report {
    /// How the promise called `name` went, if it is one of the suite.
    pub fn outcome(&self, name: &str) -> Option<&Outcome> {
        self.outcomes.iter().find(|(promise, _)| *promise == name).map(|(_, outcome)| outcome)
    }

    /// The promises that were broken, and how.
    pub fn broken(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.outcomes.iter().filter_map(|(promise, outcome)| match outcome {
            Outcome::Broken(how) => Some((*promise, how.as_str())),
            _ => None,
        })
    }

    /// How many promises were kept.
    pub fn kept(&self) -> usize {
        self.outcomes.iter().filter(|(_, outcome)| *outcome == Outcome::Kept).count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}:", self.storage)?;
        for (promise, outcome) in &self.outcomes {
            match outcome {
                Outcome::Kept => writeln!(f, "  kept     {promise}")?,
                Outcome::Skipped(why) => writeln!(f, "  skipped  {promise}: {why}")?,
                Outcome::Broken(how) => writeln!(f, "  BROKEN   {promise}: {how}")?,
            }
        }
        Ok(())
    }
}

/// Checks every promise on storages that `fresh` gives.
pub async fn check<F, S>(fresh: F) -> Report
where
    F: AsyncFn() -> S,
    S: Into<Fresh>,
{
    let mut report = Report { storage: String::new(), outcomes: Vec::new() };
    for promise in promises::ALL {
        let fresh: Fresh = fresh().await.into();
        report.storage.clone_from(&fresh.storage().info().name);
        let outcome = match tokio::time::timeout(LIMIT, (promise.check)(&fresh)).await {
            Ok(Ok(())) => Outcome::Kept,
            Ok(Err(Failure::Skipped(why))) => Outcome::Skipped(why),
            Ok(Err(Failure::Broken(how))) => Outcome::Broken(how),
            Err(_) => Outcome::Broken(format!("it did not end within {LIMIT:?}")),
        };
        report.outcomes.push((promise.name, outcome));
    }
    report
}

/// Checks every promise on storages that `fresh` gives.
///
/// # Panics
/// With the whole report if a promise was broken.
pub async fn run<F, S>(fresh: F) -> Report
where
    F: AsyncFn() -> S,
    S: Into<Fresh>,
{
    let report = check(fresh).await;
    assert!(report.broken().next().is_none(), "a promise was broken\n{report}");
    report
}
