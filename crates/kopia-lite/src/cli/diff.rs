//! `diff`: what differs between two trees.
//!
//! With two arguments the text is Kopia's, which scripts parse: its lines, and its counts as JSON at
//! the end. `--brief` is for people, and what one argument alone prints: the snapshot against the
//! live folder.

mod files;
mod lines;

use anyhow::bail;
use clap::Args;
use kopia_format::directory::{DirEntry, EntryKind};
use kopia_snapshot::{
    diff::{Change, Changes, DiffEntry},
    roots::Pick,
};
use serde_json::{Value, json};

use self::{files::FileDiff, lines::Totals};
use super::{App, app::Access, snapshot};
use crate::{
    exit::{Exit, Failure},
    ui::{json::JsonFlags, text},
};

/// Say what differs between two folders of snapshots, or a snapshot and the live folder.
///
/// A live file counts as the same if its length and its time are: it is not read.
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools)] // each is a flag
pub struct Diff {
    /// The old one: a snapshot or object ID with a path behind it, or a source.
    object_path1: String,
    /// The new one; without it, what lies in the folder of the snapshot's source now.
    object_path2: Option<String>,
    /// Run the diff command for each pair of files, which reads their contents.
    #[arg(short, long, conflicts_with = "json")]
    files: bool,
    /// Only count.
    #[arg(long)]
    stats_only: bool,
    /// The diff command.
    #[arg(long, value_name = "COMMAND", default_value = "diff -u", env = "KOPIA_DIFF")]
    diff_command: String,
    /// One short line a difference, and sizes: + added, - removed, M modified, T another type.
    #[arg(long)]
    brief: bool,
    /// Also say where only mode, time or owner differ: U.
    #[arg(long)]
    metadata: bool,
    /// End with 1 if there is a difference.
    #[arg(long)]
    exit_code: bool,
    #[command(flatten)]
    json: JsonFlags,
}

impl Diff {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let client = app.open(Access::Read).await?;
        let repo = &client.repo;
        let old = snapshot::find_root(repo, &self.object_path1, Pick::Latest(0), false).await?;
        let live = match (&self.object_path2, &old.manifest) {
            (None, Some(manifest)) => {
                let source = &manifest.source;
                if source.host != repo.hostname() {
                    let (host, here) = (&source.host, repo.hostname());
                    bail!(
                        "the snapshot is of {source}: its folder is on {host}, and this is {here}"
                    );
                }
                Some(source.path.clone() + "/" + &old.path)
            }
            _ => None,
        };
        let changes = match &self.object_path2 {
            Some(second) => {
                let new = snapshot::find_root(repo, second, Pick::Latest(0), false).await?;
                // Two files are compared as well, which Kopia does not do.
                if old.entry.is_dir() != new.entry.is_dir() {
                    bail!("arguments to diff must both be directories or both non-directories");
                }
                Changes::between(repo, &old, &new)
            }
            None => Changes::to_live(repo, &old).await?,
        };
        let files = match self.files {
            true => Some(FileDiff::new(repo, &self.diff_command, live)?),
            false => None,
        };
        self.print(app, changes, files).await
    }

    fn is_brief(&self) -> bool {
        self.brief || self.object_path2.is_none()
    }

    async fn print(
        &self,
        app: &App,
        mut changes: Changes<'_>,
        files: Option<FileDiff<'_>>,
    ) -> anyhow::Result<Exit> {
        let json = self.json.json;
        let (mut totals, mut printed, mut incomplete) = (Totals::default(), 0_u64, false);
        if json {
            text::raw(if self.stats_only { b"{" } else { b"{\"changes\":[" });
        }
        loop {
            let change = changes.next().await?;
            for trouble in changes.take_troubles() {
                app.warn(format!("cannot compare {trouble}"));
                incomplete = true;
            }
            let Some(change) = change else { break };
            let shown = self.shows(&change);
            if shown {
                totals.add(&change);
            }
            let silent = self.stats_only;
            if json && shown && !silent {
                let comma = if printed > 0 { "," } else { "" };
                text::raw(format!("{comma}\n {}", self.json.render(&as_json(&change))).as_bytes());
                printed += 1;
            } else if !json && self.is_brief() && shown && !silent {
                text::line(lines::brief(&change));
            } else if !json && !self.is_brief() && !silent {
                lines::kopias(&change).iter().for_each(text::line);
            }
            if let Some(files) = &files {
                files.run(&change).await?;
            }
        }
        if json {
            let stats = self.json.render(&changes.stats());
            let end = if self.stats_only { "" } else { "\n]," };
            text::line(format!("{end}\"stats\":{stats}}}"));
        } else if self.is_brief() && !self.stats_only {
            text::line(&totals);
        } else {
            // Like Kopia without a newline at the end.
            text::raw(&kopia_format::json::to_vec(&changes.stats()));
        }
        Ok(match (incomplete, self.exit_code && !totals.is_empty()) {
            (true, _) => Exit::Incomplete,
            (false, true) => Exit::Failed,
            (false, false) => Exit::Done,
        })
    }

    /// Is it a difference for people? That the same bytes have another time is one only if asked for.
    fn shows(&self, change: &Change) -> bool {
        let (Some(_), Some(new)) = (&change.old, &change.new) else { return true };
        let content = change.differs.content && new.entry.kind != EntryKind::Directory;
        change.differs.kind || content || self.metadata
    }
}

fn as_json(change: &Change) -> Value {
    let what = match (&change.old, &change.new) {
        (None, _) => "added",
        (_, None) => "removed",
        _ => "modified",
    };
    let mut value = json!({"path": change.path, "change": what});
    if what == "modified" {
        value["what"] = json!(change.differs.names());
    }
    for (name, side) in [("old", &change.old), ("new", &change.new)] {
        if let Some(DiffEntry { entry, size, .. }) = side {
            let size = *size;
            let entry = DirEntry { name: Vec::new(), summary: None, size, ..entry.clone() };
            let mut fields = json!(entry);
            if fields["obj"] == ""
                && let Value::Object(fields) = &mut fields
            {
                fields.shift_remove("obj");
            }
            value[name] = fields;
        }
    }
    value
}

/// That a file of a diff can't be read or shown.
fn cannot(what: &str, path: &str, error: impl std::fmt::Display) -> anyhow::Error {
    Failure::new(Exit::Failed, format!("cannot {what} {path}: {error}")).into()
}
