//! `manifest`: list, show, delete.

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use kopia_format::{ManifestId, manifest::ManifestEntry};
use kopia_repo::Repository;
use kopia_snapshot::roots;
use serde_json::{Value, json};

use super::{App, app::Access, snapshot};
use crate::{
    exit::Exit,
    ui::{json::JsonFlags, text},
};

/// The verbs of `manifest`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List manifests.
    #[command(visible_alias = "ls")]
    List(List),
    /// Show manifests.
    Show(Show),
    /// Delete manifests, whatever they are.
    #[command(visible_aliases = ["rm", "remove"])]
    Delete(Delete),
}

impl Command {
    /// May the verb be cut anywhere?
    pub fn only_reads(&self) -> bool {
        !matches!(self, Self::Delete(_))
    }

    /// Runs the verb.
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        match self {
            Self::List(list) => list.run(app).await,
            Self::Show(show) => show.run(app).await,
            Self::Delete(delete) => delete.run(app).await,
        }
    }
}

/// List manifests.
#[derive(Debug, Args)]
pub struct List {
    /// Only manifests with this label.
    #[arg(long, value_name = "KEY:VALUE")]
    filter: Vec<String>,
    /// Labels to sort by, before the time.
    #[arg(long, value_name = "KEY")]
    sort: Vec<String>,
    #[command(flatten)]
    json: JsonFlags,
}

impl List {
    /// The manifests that were asked for, in order.
    pub(super) async fn found(&self, repo: &Repository) -> anyhow::Result<Vec<ManifestEntry>> {
        let mut labels = Vec::new();
        for pair in &self.filter {
            match pair.split_once(':') {
                Some((key, value)) if !key.is_empty() => labels.push((key, value)),
                _ => bail!("invalid list filter {pair:?}, missing ':'"),
            }
        }
        let mut found = repo.manifests().find(&labels).await?;
        found.sort_by(|a, b| {
            let labels = |entry: &ManifestEntry| -> Vec<String> {
                self.sort.iter().map(|key| entry.label(key).to_owned()).collect()
            };
            labels(a).cmp(&labels(b)).then_with(|| a.modified.cmp(&b.modified))
        });
        Ok(found)
    }

    async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let client = app.open(Access::Read).await?;
        let found = self.found(&client.repo).await?;
        if self.json.json {
            self.json.print_list(found.iter().map(as_json));
            return Ok(Exit::Done);
        }
        for entry in &found {
            let others = entry.labels.iter().filter(|(key, _)| *key != "type");
            let others: Vec<_> = others.map(|(key, value)| format!("{key}:{value}")).collect();
            let when = app.zone.format(entry.modified);
            let (id, length, kind) = (&entry.id, entry.data.get().len(), entry.label("type"));
            text::line(format!("{id} {length:>10} {when} type:{kind} {}", others.join(" ")));
        }
        Ok(Exit::Done)
    }
}

/// A manifest in Kopia's fields.
pub(super) fn as_json(entry: &ManifestEntry) -> Value {
    json!({
        "id": entry.id,
        "length": entry.data.get().len(),
        "labels": entry.labels,
        "mtime": entry.modified,
    })
}

/// The manifest with this ID, the one whose ID begins with these digits, or that of the snapshot that
/// is the `latest`.
async fn named(repo: &Repository, id: &str) -> anyhow::Result<ManifestEntry> {
    if roots::is_latest(id) {
        let newest = snapshot::newest(repo, id).await?;
        return Ok(repo.manifests().get(&newest.id).await?);
    }
    let missing = match repo.manifests().get(&ManifestId::new(id)).await {
        Err(error) if error.is_not_found() && roots::is_abbreviation(id) => error,
        found => return Ok(found?),
    };
    let mut all = repo.manifests().all().await?;
    all.retain(|entry| entry.id.as_str().starts_with(id));
    if all.len() > 1 {
        let name = |it: &ManifestEntry| format!("{} of type {}", it.id, it.label("type"));
        let names: Vec<_> = all.iter().map(name).collect();
        bail!("{id} is ambiguous: it begins {}", names.join(", "));
    }
    Ok(all.pop().ok_or(missing)?)
}

/// Show manifests.
#[derive(Debug, Args)]
pub struct Show {
    /// Manifest IDs, or their first digits, eight at least; `latest` is the newest snapshot.
    #[arg(required = true)]
    items: Vec<String>,
    #[command(flatten)]
    json: JsonFlags,
}

impl Show {
    async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let client = app.open(Access::Read).await?;
        for (number, item) in self.items.iter().enumerate() {
            if number > 0 && !self.json.json {
                text::line("");
            }
            let entry = named(&client.repo, item).await;
            let entry = entry.with_context(|| format!("error getting metadata for {item:?}"))?;
            let payload: Value = serde_json::from_str(entry.data.get())?;
            if self.json.json {
                let mut value = as_json(&entry);
                value["data"] = payload;
                self.json.print(&value);
                continue;
            }
            text::line(format!("// id: {}", entry.id));
            text::line(format!("// length: {}", entry.data.get().len()));
            text::line(format!("// modified: {}", app.zone.format(entry.modified)));
            for (key, value) in &entry.labels {
                text::line(format!("// label {key}:{value}"));
            }
            let indented = kopia_format::json::to_vec_indent(&payload);
            // Like Kopia without a newline at the end.
            text::raw(&indented);
        }
        Ok(Exit::Done)
    }
}

/// Delete manifests, whatever they are.
#[derive(Debug, Args)]
pub struct Delete {
    /// Manifest IDs.
    #[arg(required = true)]
    items: Vec<String>,
    /// Only say what would be deleted.
    #[arg(short = 'n', long)]
    dry_run: bool,
}

impl Delete {
    async fn run(self, app: &App) -> anyhow::Result<Exit> {
        app.allow_dangerous()?;
        let client = app.open(if self.dry_run { Access::Read } else { Access::Write }).await?;
        let ids: Vec<_> = self.items.iter().map(ManifestId::new).collect();
        // One that is not there is most likely a slip, so nothing goes.
        for id in &ids {
            let entry = client.repo.manifests().get(id).await;
            let entry = entry.with_context(|| format!("unable to delete manifest {id}"))?;
            if self.dry_run {
                app.info(format!("would delete {id}, a manifest of type {}", entry.label("type")));
            }
        }
        if self.dry_run {
            return Ok(Exit::Done);
        }
        let writer = client.repo.writer()?;
        for id in &ids {
            writer.delete_manifest(id).await?;
        }
        app.flush(&writer).await?;
        Ok(Exit::Done)
    }
}
