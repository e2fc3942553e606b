//! `snapshot copy-history` and `snapshot move-history`.

use anyhow::Context;
use clap::Args;
use kopia_format::snapshot::Source;
use kopia_snapshot::history::{self, HistoryDone, HistoryStep};
use serde_json::{Value, json};

use crate::{
    cli::{App, app::Access, snapshot},
    exit::Exit,
    ui::json::JsonFlags,
};

/// Give the snapshots of another user, host or path to this one.
#[derive(Debug, Args)]
pub struct History {
    /// Whose snapshots: user@host, @host or user@host:/path.
    source: String,
    /// Whose they are to be; what it leaves out stays as it is. This user@host, if it is not given.
    destination: Option<String>,
    /// Only say what would be done.
    #[arg(short = 'n', long)]
    dry_run: bool,
    #[command(flatten)]
    json: JsonFlags,
}

/// Kopia's table of what may be named, for the help of a verb.
pub fn help(verb: &str) -> String {
    let table = "\
Source              Destination         Behaviour
@host1              @host2              VERB the snapshots of all users of host1
@host1              user2@host2         refused: users would become one
@host1              user2@host2:/path2  refused: paths would become one
user1@host1         @host2              VERB all snapshots to user1@host2
user1@host1         user2@host2         VERB all snapshots to user2@host2
user1@host1         user2@host2:/path2  refused: paths would become one
user1@host1:/path1  @host2              VERB to user1@host2:/path1
user1@host1:/path1  user2@host2         VERB to user2@host2:/path1
user1@host1:/path1  user2@host2:/path2  VERB the snapshots of one path";
    table.replace("VERB", verb)
}

impl History {
    /// Copies, or moves.
    pub async fn run(self, app: &App, moves: bool) -> anyhow::Result<Exit> {
        let client = app.open(if self.dry_run { Access::Read } else { Access::Write }).await?;
        let repo = &client.repo;
        let from = snapshot::parse_source(repo, &self.source).context("invalid source")?;
        let to = match self.destination.as_deref() {
            None | Some("") => Source::new(repo.hostname(), repo.username(), ""),
            Some(text) => snapshot::parse_source(repo, text).context("invalid destination")?,
        };
        let steps = history::plan(repo, &from, &to).await?;
        let mut tell = |step: &HistoryStep| app.info(self.line(app, step, moves));
        let done = if self.dry_run {
            steps.iter().for_each(&mut tell);
            vec![HistoryDone::default(); steps.len()]
        } else {
            history::carry_out(&repo.writer()?, &steps, moves, &mut tell).await?
        };
        if self.json.json {
            self.json.print_list(steps.iter().zip(&done).map(|(step, done)| as_json(step, done)));
        }
        Ok(Exit::Done)
    }

    fn line(&self, app: &App, step: &HistoryStep, moves: bool) -> String {
        let (manifest, destination) = (&step.manifest, &step.destination);
        let when = app.zone.format(manifest.start_time);
        if step.exists {
            let and = if moves && !self.dry_run { " - deleting source" } else { "" };
            return format!("{destination} ({when}) already exists{and}");
        }
        let verb = if moves { "moving" } else { "copying" };
        let dry = if self.dry_run { " (dry run)" } else { "" };
        format!("{verb}{dry} {} ({when}) => {destination}", manifest.source)
    }
}

fn as_json(step: &HistoryStep, done: &HistoryDone) -> Value {
    let manifest = &step.manifest;
    let mut value = json!({
        "id": manifest.id,
        "source": manifest.source,
        "startTime": manifest.start_time,
        "destination": step.destination,
        "exists": step.exists,
        "deleted": done.deleted,
    });
    if let Some(new) = &done.new_id {
        value["newID"] = json!(new);
    }
    value
}
