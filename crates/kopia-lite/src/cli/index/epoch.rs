//! `index epoch list`.

use anyhow::Context;
use clap::{Args, Subcommand};
use kopia_format::{
    epoch::EpochSnapshot,
    index::IndexBlob,
    time::{GoTime, duration_text},
};
use serde_json::json;

use crate::{
    cli::{App, app::Access},
    exit::Exit,
    ui::{json::JsonFlags, size, text},
};

/// The verbs of `index epoch`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the epochs of the index, and what became of each.
    #[command(visible_alias = "ls")]
    List(List),
}

impl Command {
    /// Runs the verb.
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        match self {
            Self::List(list) => list.run(app).await,
        }
    }
}

/// List the epochs of the index, and what became of each.
#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    json: JsonFlags,
}

/// Blobs that belong together.
struct Set<'a> {
    epochs: (u64, u64),
    kind: &'static str,
    blobs: &'a [IndexBlob],
}

impl Set<'_> {
    fn bytes(&self) -> u64 {
        self.blobs.iter().fold(0, |sum, blob| sum.saturating_add(blob.length))
    }

    fn times(&self) -> (GoTime, GoTime) {
        let times = || self.blobs.iter().map(|blob| blob.timestamp);
        (times().min().unwrap_or(GoTime::ZERO), times().max().unwrap_or(GoTime::ZERO))
    }

    fn line(&self, app: &App) -> String {
        let (count, bytes) = (self.blobs.len(), size::bytes(self.bytes()));
        let ((min, max), (first, last)) = (self.epochs, self.times());
        match self.kind {
            "uncompacted" => {
                let span = last.unix_nanos().saturating_sub(first.unix_nanos());
                let seconds = span.saturating_add(500_000_000) / 1_000_000_000;
                let span = duration_text(seconds.saturating_mul(1_000_000_000));
                let (first, last) = (app.zone.format(first), app.zone.format(last));
                format!("{min} {first} ... {last}, {count} blobs, {bytes}, span {span}")
            }
            "single" => {
                let when = app.zone.format(self.blobs[0].timestamp);
                format!("{min}: {when} single-epoch {count} blobs, {bytes}")
            }
            _ => format!("{min}-{max}: range, {count} blobs, {bytes}"),
        }
    }
}

/// The sets in use, in the order in which Kopia lists them.
fn sets(epochs: &EpochSnapshot) -> Vec<Set<'_>> {
    let current = epochs.write_epoch();
    let first = epochs.chain().last().map_or(0, |range| range.max + 1);
    let mut sets = Vec::new();
    for epoch in (first..=current).rev() {
        let blobs = epochs.uncompacted(epoch);
        if epochs.unsettled_epochs().contains(&epoch) && !blobs.is_empty() {
            sets.push(Set { epochs: (epoch, epoch), kind: "uncompacted", blobs });
        }
        if let Some(blobs) = epochs.singles().get(&epoch).filter(|blobs| !blobs.is_empty()) {
            sets.push(Set { epochs: (epoch, epoch), kind: "single", blobs });
        }
    }
    for range in epochs.chain() {
        sets.push(Set { epochs: (range.min, range.max), kind: "range", blobs: &range.blobs });
    }
    sets
}

impl List {
    async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let client = app.open(Access::Read).await?;
        let epochs = client.repo.epochs().await?.context("epoch manager is not active")?;
        let current = epochs.write_epoch();
        let (start, sets) = (epochs.epoch_start(current), sets(&epochs));
        if self.json.json {
            let sets: Vec<_> = sets
                .iter()
                .map(|set| {
                    json!({
                        "kind": set.kind, "minEpoch": set.epochs.0, "maxEpoch": set.epochs.1,
                        "count": set.blobs.len(), "bytes": set.bytes(),
                        "minTime": set.times().0, "maxTime": set.times().1,
                    })
                })
                .collect();
            self.json.print(&json!({"currentEpoch": current, "epochStart": start, "sets": sets}));
            return Ok(Exit::Done);
        }
        text::line(format!("Current Epoch: {current}"));
        if let Some(start) = start {
            text::line(format!("Epoch Started  {}", app.zone.format(start)));
        }
        sets.iter().for_each(|set| text::line(set.line(app)));
        Ok(Exit::Done)
    }
}
