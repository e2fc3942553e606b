//! `logs`: list, show, cleanup.
//!
//! Flags and texts are Kopia's. Two things are not: every log that is named is shown, not the last
//! of them alone, and a log that is damaged ends `show` with the code for damage.

use std::{io::Read, time::Duration};

use clap::{Args, Subcommand};
use kopia_format::{
    log::{LogSession, LogText},
    maintenance::LogRetention,
    time::{GoTime, duration_text},
};
use kopia_repo::Repository;
use serde_json::json;

use super::{App, app::Access, repository::flags::duration};
use crate::{
    exit::{Exit, Failure},
    ui::{json::JsonFlags, size, text},
};

/// The verbs of `logs`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the logs that clients left in the repository.
    #[command(visible_alias = "ls")]
    List(List),
    /// Write the lines of logs to stdout; of the last one where nothing else is said.
    #[command(visible_alias = "cat")]
    Show(Show),
    /// Delete old logs.
    Cleanup(Cleanup),
}

impl Command {
    /// May the verb be cut anywhere?
    pub fn only_reads(&self) -> bool {
        matches!(self, Self::List(_) | Self::Show(_))
    }

    /// Runs the verb.
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        match self {
            Self::List(list) => list.run(app).await,
            Self::Show(show) => show.run(app).await,
            Self::Cleanup(cleanup) => cleanup.run(app).await,
        }
    }
}

/// Which logs.
#[derive(Debug, Args)]
struct Selection {
    /// All logs, whatever the other flags say.
    #[arg(long)]
    all: bool,
    /// Only the last N of them.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    latest: usize,
    /// Only logs begun so recently, such as 1h.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    younger_than: Option<Duration>,
    /// Only logs begun so long ago, such as 1h.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    older_than: Option<Duration>,
}

impl Selection {
    /// Says a flag anything? A duration or a number of zero says nothing.
    fn is_given(&self) -> bool {
        let spans = [self.younger_than, self.older_than];
        self.all || self.latest > 0 || spans.iter().flatten().any(|span| !span.is_zero())
    }

    /// `all` is oldest first, and so is what stays.
    fn of(&self, mut all: Vec<LogSession>, now: i64) -> Vec<LogSession> {
        if self.all {
            return all;
        }
        let age = |session: &LogSession| {
            let nanos = i128::from(now) - i128::from(session.start_secs) * 1_000_000_000;
            u128::try_from(nanos).unwrap_or(0)
        };
        let given = |span: Option<Duration>| span.map(|span| span.as_nanos()).filter(|&n| n > 0);
        if let Some(span) = given(self.younger_than) {
            all.retain(|session| age(session) < span);
        }
        if let Some(span) = given(self.older_than) {
            all.retain(|session| age(session) > span);
        }
        if self.latest > 0 {
            all.drain(..all.len().saturating_sub(self.latest));
        }
        all
    }
}

/// All logs, oldest first. Blobs that are none by their names are told and skipped.
async fn sessions(app: &App, repo: &Repository) -> anyhow::Result<Vec<LogSession>> {
    let logs = repo.log_sessions().await?;
    for reason in &logs.unrecognized {
        app.warn(format!("skipping unrecognized log: {reason}"));
    }
    Ok(logs.sessions)
}

/// List the logs that clients left in the repository.
#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    json: JsonFlags,
}

impl List {
    async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let client = app.open(Access::Read).await?;
        let all = sessions(app, &client.repo).await?;
        let count = all.len();
        let chosen = self.selection.of(all, app.now().nanos());
        if self.json.json {
            self.json.print_list(chosen.iter().map(as_json));
        } else {
            for session in &chosen {
                let start = app.zone.format(GoTime::from_secs(session.start_secs));
                let (length, chunks) = (size::bytes(session.length()), session.chunks.len());
                let took = took(session);
                text::line(format!("{} {start} {took} {length} {chunks}", session.id));
            }
        }
        if chosen.len() < count {
            let listed = chosen.len();
            app.info(format!(
                "NOTE: Listed {listed}/{count} log sessions, pass --all to show all."
            ));
        }
        Ok(Exit::Done)
    }
}

fn took(session: &LogSession) -> String {
    let secs = session.end_secs.saturating_sub(session.start_secs);
    duration_text(secs.saturating_mul(1_000_000_000))
}

fn as_json(session: &LogSession) -> serde_json::Value {
    let segments = session
        .chunks
        .iter()
        .map(|chunk| json!({"id": chunk.id, "length": chunk.length, "timestamp": chunk.timestamp}));
    json!({
        "id": session.id,
        "startTime": GoTime::from_secs(session.start_secs),
        "endTime": GoTime::from_secs(session.end_secs),
        "totalSize": session.length(),
        "segments": segments.collect::<Vec<_>>(),
    })
}

/// Write the lines of logs to stdout; of the last one where nothing else is said.
#[derive(Debug, Args)]
pub struct Show {
    /// Logs to show, as `logs list` names them.
    #[arg(value_name = "SESSION-ID")]
    session_ids: Vec<String>,
    #[command(flatten)]
    selection: Selection,
}

impl Show {
    async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let client = app.open(Access::Read).await?;
        let all = sessions(app, &client.repo).await?;
        let mut chosen = self.selection.of(all, app.now().nanos());
        if !self.session_ids.is_empty() {
            chosen.retain(|session| self.session_ids.contains(&session.id));
        }
        let Some(last) = chosen.last() else {
            return Err(Failure::new(Exit::Failed, "no logs found").into());
        };
        if !self.selection.is_given() && self.session_ids.is_empty() {
            let start = app.zone.format(GoTime::from_secs(last.start_secs));
            app.info(format!("Showing the latest log ({start})"));
            chosen.drain(..chosen.len() - 1);
        }
        let mut exit = Exit::Done;
        for chunk in chosen.iter().flat_map(|session| &session.chunks) {
            let lines = client.repo.read_log(chunk).await?;
            if let Err(error) = print(&lines) {
                app.warn(format!("error showing log {}: {error}", chunk.id));
                exit = Exit::Damaged;
            }
        }
        Ok(exit)
    }
}

/// Writes the lines as they are, in pieces: they may be many.
fn print(lines: &LogText) -> std::io::Result<()> {
    let (mut reader, mut piece) = (lines.reader(), vec![0; 64 << 10]);
    loop {
        match reader.read(&mut piece)? {
            0 => return Ok(()),
            length => text::raw(&piece[..length]),
        }
    }
}

/// Delete old logs.
///
/// From the newest on, all are kept until one is too old, one too many, or too much.
#[derive(Debug, Args)]
pub struct Cleanup {
    /// Greatest age; 0 = any.
    #[arg(long, value_name = "DURATION", default_value = "720h", value_parser = duration)]
    max_age: Duration,
    /// Most log blobs to keep; 0 = any number.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    max_count: u32,
    /// Most MiB of log blobs to keep; 0 = any.
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    max_total_size_mb: u32,
    /// Only say how many would be deleted.
    #[arg(short = 'n', long)]
    dry_run: bool,
}

impl Cleanup {
    async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let access = if self.dry_run { Access::Read } else { Access::Write };
        let client = app.open(access).await?;
        let retention = LogRetention {
            max_total_size: i64::from(self.max_total_size_mb) << 20,
            max_count: i64::from(self.max_count),
            max_age: self.max_age,
        };
        let expired = client.repo.expired_logs(&retention).await?.expired;
        if expired.is_empty() {
            app.info("No logs found to delete.");
        } else if self.dry_run {
            app.info(format!("Would delete {} logs.", expired.len()));
        } else {
            let deleted = client.repo.delete_logs(&expired).await?;
            app.info(format!("Deleted {deleted} logs."));
        }
        Ok(Exit::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(start_secs: i64) -> LogSession {
        LogSession { id: start_secs.to_string(), start_secs, end_secs: start_secs, chunks: vec![] }
    }

    fn chosen(selection: &Selection) -> Vec<i64> {
        let all = [-5, 10, 20, 30, 200].map(session).into();
        let chosen = selection.of(all, 100_000_000_000);
        chosen.iter().map(|session| session.start_secs).collect()
    }

    fn selection(latest: usize, younger: u64, older: u64) -> Selection {
        let span = |secs| Some(Duration::from_secs(secs));
        Selection { all: false, latest, younger_than: span(younger), older_than: span(older) }
    }

    #[test]
    fn what_is_exactly_so_old_is_neither_younger_nor_older() {
        assert_eq!(chosen(&selection(0, 80, 0)), [30, 200]);
        assert_eq!(chosen(&selection(0, 0, 80)), [-5, 10]);
        assert_eq!(chosen(&selection(0, 90, 70)), [20]);
        assert_eq!(chosen(&selection(1, 0, 80)), [10]);
    }

    #[test]
    fn zero_says_nothing_and_all_says_all() {
        assert!(!selection(0, 0, 0).is_given());
        assert_eq!(chosen(&selection(0, 0, 0)).len(), 5);
        assert_eq!(chosen(&selection(9, 0, 0)).len(), 5);
        let all = Selection { all: true, ..selection(1, 1, 1) };
        assert!(all.is_given());
        assert_eq!(chosen(&all).len(), 5);
    }
}
