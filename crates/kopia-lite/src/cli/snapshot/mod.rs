//! `snapshot`: create, list, restore, delete, expire, verify, pin, estimate,
//! copy-history, move-history, fix.

mod ahead;
mod create;
mod create_plan;
mod delete;
mod estimate;
mod expire;
mod fix;
mod history;
pub(super) mod list;
mod pin;
mod storage_stats;
mod verify;

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use clap::Subcommand;
use kopia_format::{
    ManifestId, ObjectId,
    snapshot::{SnapshotManifest, Source, TAG_PREFIX},
};
use kopia_repo::Repository;
use kopia_snapshot::{
    SnapshotError, manifests,
    roots::{self, Lookup, Pick, Root},
};

use super::{App, restore::Restore};
use crate::exit::{Exit, Failure};

/// The verbs of `snapshot`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Take a snapshot of files and folders.
    Create(create::Create),
    /// List snapshots.
    #[command(visible_alias = "ls")]
    List(list::List),
    /// Restore files and folders from a snapshot.
    Restore(Restore),
    /// Delete snapshots.
    #[command(visible_aliases = ["rm", "remove"])]
    Delete(delete::Delete),
    /// Delete the snapshots that the policy keeps no longer.
    Expire(expire::Expire),
    /// Check that what snapshots name is there and can be read.
    Verify(verify::Verify),
    /// Keep snapshots from expiring, or let them expire again.
    Pin(pin::Pin),
    /// Take files out of snapshots: those that are lost, or those that are named.
    #[command(subcommand)]
    Fix(fix::Command),
    /// Say how much a snapshot of a folder would hold, and what it would leave out.
    Estimate(estimate::Estimate),
    /// Give snapshots of another user, host or path a second name.
    #[command(after_help = history::help("copy"))]
    CopyHistory(history::History),
    /// Make snapshots of another user, host or path those of this one.
    #[command(after_help = history::help("move"))]
    MoveHistory(history::History),
}

impl Command {
    /// May the verb be cut anywhere? A verification could be, but has a report to give.
    pub fn only_reads(&self) -> bool {
        matches!(self, Self::List(_) | Self::Estimate(_))
    }

    /// Does it write snapshots?
    pub fn writes(&self) -> bool {
        match self {
            Self::Create(_) | Self::Delete(_) | Self::Expire(_) | Self::Pin(_) => true,
            Self::CopyHistory(_) | Self::MoveHistory(_) | Self::Fix(_) => true,
            Self::List(_) | Self::Restore(_) | Self::Verify(_) | Self::Estimate(_) => false,
        }
    }

    /// How the verb ends when all went well but for manifests or index blobs that can't be read.
    pub fn what_is_lost_means(&self) -> Exit {
        match self {
            // What it was asked for is whole.
            Self::Restore(_) => Exit::Done,
            Self::Verify(_) => Exit::Damaged,
            _ => Exit::Incomplete,
        }
    }

    /// Runs the verb.
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        match self {
            Self::Create(create) => create.run(app).await,
            Self::List(list) => list.run(app).await,
            Self::Restore(restore) => restore.run(app).await,
            Self::Delete(delete) => delete.run(app).await,
            Self::Expire(expire) => expire.run(app).await,
            Self::Verify(verify) => verify.run(app).await,
            Self::Pin(pin) => pin.run(app).await,
            Self::Estimate(estimate) => estimate.run(app).await,
            Self::Fix(command) => command.run(app).await,
            Self::CopyHistory(history) => history.run(app, false).await,
            Self::MoveHistory(history) => history.run(app, true).await,
        }
    }
}

/// The current folder as text, for relative paths.
pub fn current_folder() -> anyhow::Result<String> {
    let folder = std::env::current_dir().context("the current folder")?;
    Ok(folder.to_string_lossy().into_owned())
}

/// A source as the user named it.
///
/// # Errors
/// The text is no source.
pub fn parse_source(repo: &Repository, text: &str) -> anyhow::Result<Source> {
    let source = Source::parse(text, repo.hostname(), repo.username(), &current_folder()?);
    source.with_context(|| format!("{text:?} is no source"))
}

/// `KEY:VALUE` pairs as a manifest keeps them.
///
/// # Errors
/// A pair without a colon, or a key twice.
pub fn parse_tags(pairs: &[String]) -> anyhow::Result<BTreeMap<String, String>> {
    let mut tags = BTreeMap::new();
    for pair in pairs {
        let Some((key, value)) = pair.split_once(':') else {
            bail!("Invalid tag format ({pair}). Requires <key>:<value>");
        };
        if tags.insert(format!("{TAG_PREFIX}{key}"), value.to_owned()).is_some() {
            bail!("Duplicate tag <key> found. ({key})");
        }
    }
    Ok(tags)
}

/// All snapshots of the sources that `texts` name.
///
/// # Errors
/// A text is no source, or the source has no snapshots: a name that was mistyped must not pass.
pub async fn find_by_sources(
    repo: &Repository,
    texts: &[String],
) -> anyhow::Result<Vec<SnapshotManifest>> {
    let mut all = Vec::new();
    for text in texts {
        let source = parse_source(repo, text)?;
        let found = manifests::of_source(repo, &source).await?;
        if found.is_empty() {
            bail!("no snapshots for source {source}");
        }
        all.extend(found);
    }
    Ok(all)
}

/// The snapshots that `ids` name, each once, all found before anything is done to one.
///
/// # Errors
/// An ID names none.
pub async fn find_by_ids(
    repo: &Repository,
    ids: &[String],
) -> anyhow::Result<Vec<SnapshotManifest>> {
    let mut all = Vec::<SnapshotManifest>::new();
    for id in ids {
        for found in find_by_id(repo, id).await? {
            if all.iter().all(|manifest| manifest.id != found.id) {
                all.push(found);
            }
        }
    }
    Ok(all)
}

/// The snapshots that `id` names: one by its manifest ID, or all with this root object, as in Kopia.
/// Eight digits that begin just one such ID will do, and so will `latest` and `SOURCE@latest~2`.
///
/// # Errors
/// There is none, or the digits begin several.
pub async fn find_by_id(repo: &Repository, id: &str) -> anyhow::Result<Vec<SnapshotManifest>> {
    if roots::is_latest(id) {
        return Ok(vec![newest(repo, id).await?]);
    }
    if let Some(manifest) = manifests::get(repo, &ManifestId::new(id)).await? {
        return Ok(vec![manifest]);
    }
    let object = id.parse::<ObjectId>();
    let mut found = match &object {
        Ok(object) => manifests::with_root(repo, object).await?,
        Err(_) => Vec::new(),
    };
    if found.is_empty() {
        found = roots::abbreviated(repo, id).await?;
    }
    if found.is_empty() {
        if !roots::is_abbreviation(id) {
            object.with_context(|| format!("{id:?} is neither a snapshot nor an object"))?;
        }
        return Err(Failure::new(Exit::Failed, format!("no snapshots matched {id}")).into());
    }
    Ok(found)
}

/// The snapshot that is named by `latest`, `SOURCE@latest` and the like.
///
/// # Errors
/// There is none, `latest` is ambiguous, or what is named lies inside of a snapshot.
pub async fn newest(repo: &Repository, text: &str) -> anyhow::Result<SnapshotManifest> {
    let root = find_root(repo, text, Pick::Latest(0), false).await?;
    match root.manifest {
        Some(manifest) if root.path.is_empty() => Ok(manifest),
        Some(manifest) => {
            bail!("{text} lies in snapshot {} of {}, and is none", manifest.id, manifest.source)
        }
        None => bail!("{text} is no snapshot"),
    }
}

/// The entry that `text` names: an ID, a source, `latest`, each with a path behind it.
///
/// # Errors
/// There is none, or the text is ambiguous.
pub async fn find_root(
    repo: &Repository,
    text: &str,
    pick: Pick,
    consistent_attributes: bool,
) -> anyhow::Result<Root> {
    let folder = current_folder()?;
    let lookup = Lookup {
        username: repo.username(),
        hostname: repo.hostname(),
        folder: &folder,
        pick,
        consistent_attributes,
    };
    let found = lookup.find(repo, text).await;
    if let Err(SnapshotError::NotInSnapshot { path, .. }) = &found
        && is_id(text)
        && path.starts_with(&folder)
    {
        // It was looked for as a path, too, which nobody meant.
        bail!("there is no snapshot or object {}", text.split('/').next().unwrap_or(text));
    }
    Ok(found?)
}

/// Does a source begin with an object or snapshot ID, or digits that could be one, as Kopia looks
/// at it?
pub fn is_id(source: &str) -> bool {
    let first = source.split('/').next().unwrap_or_default();
    !first.is_empty() && (first.parse::<ObjectId>().is_ok() || roots::is_abbreviation(first))
}
