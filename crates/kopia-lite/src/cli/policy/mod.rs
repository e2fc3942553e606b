//! `policy`: show, list, set, edit, export, import, delete.

mod changes;
mod edit;
mod export;
mod import;
mod set;
mod set_actions;
mod set_logging;
mod show;
mod table;

use anyhow::bail;
use clap::{Args, Subcommand};
use kopia_format::{policy::Policy, snapshot::Source};
use kopia_repo::Repository;
use kopia_snapshot::policies;
use serde_json::{Value, json};

use super::{App, app::Access, snapshot};
use crate::{
    exit::Exit,
    ui::{json::JsonFlags, text},
};

/// The verbs of `policy`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what holds for a source, and where each value comes from.
    #[command(visible_alias = "get")]
    Show(show::Show),
    /// List policies.
    #[command(visible_alias = "ls")]
    List(List),
    /// Change the policy of a source.
    Set(Box<set::Set>),
    /// Change policies in an editor.
    Edit(edit::Edit),
    /// Write policies as JSON, to a file or to stdout.
    Export(export::Export),
    /// Take policies from a file or from stdin.
    Import(import::Import),
    /// Delete the policy of a source.
    #[command(visible_aliases = ["rm", "remove"])]
    Delete(Delete),
}

impl Command {
    /// May the verb be cut anywhere?
    pub fn only_reads(&self) -> bool {
        matches!(self, Self::Show(_) | Self::List(_) | Self::Export(_))
    }

    /// Runs the verb.
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        match self {
            Self::Show(show) => show.run(app).await,
            Self::List(list) => list.run(app).await,
            Self::Set(set) => set.run(app).await,
            Self::Edit(edit) => edit.run(app).await,
            Self::Export(export) => export.run(app).await,
            Self::Import(import) => import.run(app).await,
            Self::Delete(delete) => delete.run(app).await,
        }
    }
}

/// The rows that `repository create` prints of a new repository's policy.
pub fn summary_of_new(policy: &Policy) -> String {
    table::summary_of_new(policy)
}

/// Whose policy.
#[derive(Debug, Clone, Args)]
pub struct Targets {
    /// A path, user@host:path, user@host, @host, or the ID of a policy.
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
    /// The policy of the whole repository.
    #[arg(long)]
    global: bool,
}

impl Targets {
    /// Was any target named?
    fn are_given(&self) -> bool {
        self.global || !self.targets.is_empty()
    }

    /// The targets that were named.
    ///
    /// # Errors
    /// None was, or one of them is no target.
    async fn resolve(&self, repo: &Repository) -> anyhow::Result<Vec<Source>> {
        if self.global != self.targets.is_empty() {
            bail!("must pass either '--global' or a list of path targets");
        }
        if self.global {
            return Ok(vec![Source::global()]);
        }
        let mut found = Vec::new();
        for text in &self.targets {
            found.push(match policies::target_of_id(repo, text).await? {
                Some(target) => target,
                None => snapshot::parse_source(repo, text)?,
            });
        }
        Ok(found)
    }
}

/// List policies.
#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    json: JsonFlags,
}

impl List {
    async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let client = app.open(Access::Read).await?;
        let mut all = policies::all(&client.repo).await?;
        all.sort_by_key(|stored| stored.target.to_string());
        if self.json.json {
            let mut listed = Vec::new();
            for stored in &all {
                let mut value = json!({"id": stored.id, "target": stored.target});
                if let (Value::Object(into), Value::Object(policy)) =
                    (&mut value, serde_json::to_value(&stored.policy)?)
                {
                    into.extend(policy);
                }
                listed.push(value);
            }
            self.json.print_list(listed);
            return Ok(Exit::Done);
        }
        all.iter().for_each(|stored| text::line(format!("{} {}", stored.id, stored.target)));
        Ok(Exit::Done)
    }
}

/// Delete the policy of a source.
#[derive(Debug, Args)]
pub struct Delete {
    #[command(flatten)]
    targets: Targets,
    /// Only say what would be deleted.
    #[arg(short = 'n', long)]
    dry_run: bool,
}

impl Delete {
    async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let client = app.open(if self.dry_run { Access::Read } else { Access::Write }).await?;
        let targets = self.targets.resolve(&client.repo).await?;
        if self.dry_run {
            for target in targets {
                app.info(match policies::defined(&client.repo, &target).await? {
                    Some(_) => format!("Would remove policy for {target}."),
                    None => format!("There is no policy for {target}."),
                });
            }
            return Ok(Exit::Done);
        }
        let writer = client.repo.writer()?;
        for target in targets {
            app.info(format!("Removing policy on {:?}...", target.to_string()));
            if !policies::delete(&writer, &target).await? {
                app.info(format!("There is no policy for {target}."));
            }
        }
        app.flush(&writer).await?;
        Ok(Exit::Done)
    }
}
