//! `index recover`: the index anew, from what each pack says of its contents.
//!
//! A pack that is archived is not read and is named. Old index blobs, and damaged ones, go only when
//! everything that they might have said is written anew. Alone of all that writes this goes on while
//! index blobs are damaged: it is the way out.

use anyhow::{Context, bail};
use blob_core::{BlobError, BlobId, BlobMeta, ReadState};
use clap::Args;
use futures::{StreamExt, TryStreamExt, stream};
use kopia_format::{index::IndexEntry, legacy};
use kopia_repo::{RepoError, Repository};
use serde_json::json;

use crate::{
    cli::{App, app::Access},
    exit::Exit,
    ui::json::JsonFlags,
};

/// So many entries are held before they are written.
const ENTRIES_AT_ONCE: usize = 500_000;
/// So many names are said of a list that may be long.
const NAMES_SAID: usize = 10;

/// Recover the index from packs.
#[derive(Debug, Args)]
pub struct Recover {
    /// Prefixes of the packs to read; all packs if there is none.
    #[arg(long, value_name = "PREFIX")]
    blob_prefixes: Vec<String>,
    /// The packs to read.
    #[arg(long, value_name = "ID")]
    blobs: Vec<String>,
    /// Packs read at once.
    #[arg(long, value_name = "N", default_value_t = 1)]
    parallel: usize,
    /// Go on after packs that can't be read.
    #[arg(long)]
    ignore_errors: bool,
    /// Delete the old index blobs (n…), and all that are damaged, when the new ones are written.
    #[arg(long)]
    delete_indexes: bool,
    /// Write what is recovered; without it, only say what would be.
    #[arg(long, conflicts_with = "dry_run")]
    commit: bool,
    /// Only say what would be recovered.
    #[arg(short = 'n', long)]
    dry_run: bool,
    #[command(flatten)]
    json: JsonFlags,
}

/// What came of it.
#[derive(Debug, Default)]
struct Outcome {
    blobs: usize,
    contents: usize,
    failed: Vec<(BlobId, String)>,
    deleted: Vec<BlobId>,
}

impl Recover {
    /// May it be cut anywhere?
    pub fn only_reads(&self) -> bool {
        !self.commit
    }

    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        if self.commit || self.delete_indexes {
            app.allow_dangerous()?;
        }
        let client = app.open(if self.commit { Access::Mend } else { Access::Read }).await?;
        let repo = &client.repo;
        let old = match self.delete_indexes {
            true => old_blobs(repo).await?,
            false => Vec::new(),
        };
        let (cold, packs): (Vec<_>, Vec<_>) =
            self.packs(repo).await?.into_iter().partition(BlobMeta::is_cold);
        if !cold.is_empty() {
            app.warn(format!(
                "{} packs are archived and are not read; what they hold is not recovered: {}",
                cold.len(),
                names(cold.iter().map(|pack| &pack.id)),
            ));
        }
        let mut outcome = self.recover(app, repo, packs).await?;
        if !outcome.failed.is_empty() {
            let failed = outcome.failed.iter().map(|(id, _)| id);
            app.warn(format!(
                "{} packs could not be read: {}",
                outcome.failed.len(),
                names(failed)
            ));
        }
        let has_read_all = self.blobs.is_empty()
            && self.blob_prefixes.is_empty()
            && cold.is_empty()
            && outcome.failed.is_empty();
        if self.commit && !old.is_empty() && !has_read_all {
            app.warn(
                "The old indexes stay: they alone may know what is in the packs that were not read.",
            );
        } else {
            self.delete(app, repo, &old, &mut outcome).await?;
        }
        if !outcome.deleted.is_empty() {
            repo.refresh().await?;
        }
        self.report(app, &cold, &outcome);
        Ok(Exit::Done)
    }

    /// The packs that are asked for.
    async fn packs(&self, repo: &Repository) -> anyhow::Result<Vec<BlobMeta>> {
        let storage = repo.storage();
        if self.blobs.is_empty() {
            let mut packs = Vec::new();
            let all = ["p".to_owned(), "q".to_owned()];
            let prefixes =
                if self.blob_prefixes.is_empty() { &all[..] } else { &self.blob_prefixes };
            for prefix in prefixes {
                packs.extend(storage.list(prefix).try_collect::<Vec<_>>().await?);
            }
            return Ok(packs);
        }
        let names = self.blobs.iter().map(String::as_str);
        let mut found = blob_core::look_up(storage, names, storage.info().concurrency).await?;
        let mut packs = Vec::new();
        for name in &self.blobs {
            let id = BlobId::new(name)?;
            let Some(pack) = found.remove(name) else {
                if self.ignore_errors || packs.iter().any(|pack: &BlobMeta| pack.id == id) {
                    continue;
                }
                bail!("error recovering index from {name}: there is no such blob");
            };
            if pack.is_cold() {
                let state = pack.state.unwrap_or(ReadState::Cold);
                return Err(BlobError::Archived { id: pack.id, class: pack.class, state }.into());
            }
            packs.push(pack);
        }
        Ok(packs)
    }

    /// Reads the packs, and writes what they say if that is wanted.
    async fn recover(
        &self,
        app: &App,
        repo: &Repository,
        packs: Vec<BlobMeta>,
    ) -> anyhow::Result<Outcome> {
        let mut outcome = Outcome::default();
        let mut waiting: Vec<IndexEntry> = Vec::new();
        let read = |pack: BlobMeta| async move { (repo.local_index(&pack).await, pack.id) };
        let mut read = stream::iter(packs).map(read).buffered(self.parallel.max(1));
        while let Some((entries, id)) = read.next().await {
            if app.stop.is_cancelled() {
                bail!("stopped; what was recovered so far may be written, which does no harm");
            }
            match entries {
                Ok(entries) => {
                    outcome.blobs += 1;
                    outcome.contents += entries.len();
                    if self.commit {
                        waiting.extend(entries);
                    }
                }
                Err(error) if self.ignore_errors => outcome.failed.push((id, error.to_string())),
                Err(error) => {
                    return Err(error).with_context(|| {
                        format!(
                            "unable to recover index from {id}; --ignore-errors goes on without it"
                        )
                    });
                }
            }
            if waiting.len() >= ENTRIES_AT_ONCE {
                repo.write_entries(std::mem::take(&mut waiting)).await?;
            }
        }
        if !waiting.is_empty() {
            repo.write_entries(waiting).await?;
        }
        Ok(outcome)
    }

    /// Deletes the old index blobs; what replaces them is written.
    async fn delete(
        &self,
        app: &App,
        repo: &Repository,
        old: &[BlobMeta],
        outcome: &mut Outcome,
    ) -> anyhow::Result<()> {
        for blob in old {
            let id = &blob.id;
            if !self.commit {
                app.info(format!("would delete old index: {id} (pass --commit to approve)"));
                continue;
            }
            if outcome.contents == 0 {
                bail!("no contents were recovered; the old indexes stay");
            }
            app.info(format!("deleting old index blob: {id}"));
            let deleted = repo.storage().delete(id).await;
            deleted.context("error deleting index blob")?;
            outcome.deleted.push(id.clone());
        }
        Ok(())
    }

    fn report(&self, app: &App, cold: &[BlobMeta], outcome: &Outcome) {
        let (contents, blobs) = (outcome.contents, outcome.blobs);
        if self.json.json {
            let failed = outcome.failed.iter();
            self.json.print(&json!({
                "blobs": blobs, "contents": contents, "committed": self.commit && contents > 0,
                "archived": cold.iter().map(|pack| pack.id.as_str()).collect::<Vec<_>>(),
                "failed": failed
                    .map(|(id, error)| json!({"blob": id.as_str(), "error": error}))
                    .collect::<Vec<_>>(),
                "deletedIndexes": outcome.deleted.iter().map(BlobId::as_str).collect::<Vec<_>>(),
            }));
            return;
        }
        app.info(match (contents, self.commit) {
            (0, _) => "No contents recovered.".to_owned(),
            (_, false) => format!(
                "Found {contents} contents to recover from {blobs} blobs, but not committed. Re-run \
                 with --commit"
            ),
            (_, true) => format!("Recovered {contents} contents from {blobs}."),
        });
    }
}

/// The index blobs of a repository without epochs, and of any repository those that can't be read:
/// as long as one of them is there, nobody writes. They are read from the storage: a copy that this
/// machine has kept helps no other.
async fn old_blobs(repo: &Repository) -> anyhow::Result<Vec<BlobMeta>> {
    let mut old: Vec<_> = repo.storage().list(legacy::PREFIX_INDEX).try_collect().await?;
    let index = repo.index_as_read();
    let mut damaged: Vec<_> = index.damaged().iter().map(|damaged| damaged.blob.clone()).collect();
    for blob in index.blobs() {
        match repo.index_blob_entries(&blob.id).await {
            Err(RepoError::IndexDamaged { .. }) => damaged.push(blob.clone()),
            // Another client has merged it meanwhile.
            Err(error) if error.is_not_found() => {}
            read => _ = read?,
        }
    }
    damaged.retain(|blob| old.iter().all(|old| old.id != blob.id));
    old.extend(damaged);
    Ok(old)
}

/// Some of the names.
fn names<'a>(ids: impl ExactSizeIterator<Item = &'a BlobId>) -> String {
    let more = ids.len().saturating_sub(NAMES_SAID);
    let said: Vec<_> = ids.take(NAMES_SAID).map(BlobId::as_str).collect();
    match more {
        0 => said.join(", "),
        more => format!("{} and {more} more", said.join(", ")),
    }
}
