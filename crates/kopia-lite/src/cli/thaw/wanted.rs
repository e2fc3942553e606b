//! From what a user names to the blobs that have to be readable.

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
};

use anyhow::Context;
use blob_core::{Amount, look_up};
use clap::Args;
use cold_storage::thaw::Need;
use jiff::ZonedDateTime;
use kopia_snapshot::{
    restore::{RestoreOptions, RestorePlan, Selection},
    roots::Root,
};
use serde_json::{Value, json};

use crate::{
    cli::{App, snapshot, times},
    compose::Client,
    jobs::thaw::need_of,
};

/// What has to be readable.
#[derive(Debug, Clone, Args)]
pub struct Wanted {
    /// What is to be restored: a snapshot or object ID, with a path behind it, a source, latest.
    #[arg(value_name = "ROOT", required_unless_present = "blobs", conflicts_with = "blobs")]
    pub roots: Vec<String>,
    /// Which snapshot of a source: latest, oldest, yesterday, 3d-ago, a date or time.
    #[arg(long, value_name = "TIME", default_value = "latest")]
    snapshot_time: String,
    /// Only files that this pattern matches, or a folder above them: as in ignore rules, / is the root.
    #[arg(long, value_name = "PATTERN", conflicts_with = "blobs")]
    include: Vec<String>,
    /// Not the files that this pattern matches, or a folder above them.
    #[arg(long, value_name = "PATTERN", conflicts_with = "blobs")]
    exclude: Vec<String>,
    /// Instead of what a restore needs: blobs, one ID a line; - is standard input.
    #[arg(long, value_name = "FILE")]
    blobs: Option<PathBuf>,
}

/// Sums of what is needed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Needed {
    /// Files to restore.
    pub files: u64,
    /// The contents that are needed, and their bytes in the packs.
    pub contents: Amount,
    /// The packs that hold them, and all bytes of those.
    pub packs: Amount,
}

/// What was found.
#[derive(Debug)]
pub struct Found {
    /// The roots, as JSON.
    pub roots: Vec<Value>,
    /// Every blob that is needed.
    pub needs: Vec<Need>,
    /// Sums of it.
    pub needed: Needed,
}

impl Wanted {
    /// What was asked for, in words.
    pub fn arguments(&self) -> Vec<String> {
        match &self.blobs {
            Some(file) => vec![format!("--blobs={}", file.display())],
            None => self.roots.clone(),
        }
    }

    /// Finds the blobs and their states, from directories, indexes and listings.
    pub async fn find(&self, app: &App, client: &Client) -> anyhow::Result<Found> {
        match &self.blobs {
            Some(file) => listed(file, client).await,
            None => self.of_roots(app, client).await,
        }
    }

    async fn of_roots(&self, app: &App, client: &Client) -> anyhow::Result<Found> {
        let (mut roots, mut needed) = (Vec::new(), Needed::default());
        let selection = Selection::of(&self.include, &self.exclude)?;
        let mut needs: HashMap<String, Need> = HashMap::new();
        let mut order = Vec::new();
        for argument in &self.roots {
            let pick = times::pick(&self.snapshot_time, &ZonedDateTime::now())?;
            let root = snapshot::find_root(&client.repo, argument, pick, false)
                .await
                .with_context(|| format!("cannot plan a thaw of {argument}"))?;
            let options = RestoreOptions {
                ignore_errors: true,
                window_entries: app.window_entries(),
                selection: selection.clone(),
                ..RestoreOptions::default()
            };
            let plan = RestorePlan::of(&client.repo, &root.entry, None, &options).await?;
            for failure in &plan.failures {
                app.warn(format!("{}: {}", failure.path, failure.error));
            }
            needed.files += plan.files;
            for pack in &plan.packs {
                needed.contents.add(pack.needed);
                match needs.get_mut(&pack.pack) {
                    Some(known) => known.reads.add(pack.reads),
                    None => {
                        order.push(pack.pack.clone());
                        needs.insert(pack.pack.clone(), need_of(pack));
                    }
                }
            }
            roots.push(root_json(argument, &root));
        }
        let needs: Vec<Need> = order.iter().filter_map(|pack| needs.remove(pack)).collect();
        let packs = needs.iter();
        packs.for_each(|need| needed.packs.add(Amount { count: 1, bytes: need.size }));
        Ok(Found { roots, needs, needed })
    }
}

/// Blobs that a file names, all bytes of which will be read.
async fn listed(file: &std::path::Path, client: &Client) -> anyhow::Result<Found> {
    let text = match file.to_str() {
        Some("-") => std::io::read_to_string(std::io::stdin())?,
        _ => fs_err::read_to_string(file)?,
    };
    // A blob that is named twice is needed and paid for once.
    let mut seen = HashSet::new();
    let names = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let names: Vec<&str> = names.filter(|name| seen.insert(*name)).collect();
    for name in &names {
        blob_core::BlobId::new(*name).with_context(|| format!("{}: {name:?}", file.display()))?;
    }
    let storage = client.repo.storage();
    let found = look_up(storage, names.iter().copied(), storage.info().concurrency).await?;
    let need = |name: &&str| match found.get(*name) {
        Some(meta) => Need::whole(meta),
        None => Need::missing(name, 0, None),
    };
    let needs: Vec<Need> = names.iter().map(need).collect();
    let mut needed = Needed::default();
    for need in &needs {
        needed.packs.add(Amount { count: 1, bytes: need.size });
        needed.contents.bytes += need.size;
    }
    Ok(Found { roots: Vec::new(), needs, needed })
}

/// What a restore needs, summed up.
pub fn needed_of(plan: &RestorePlan) -> Needed {
    let mut needed = Needed { files: plan.files, ..Needed::default() };
    for pack in &plan.packs {
        needed.contents.add(pack.needed);
        needed.packs.add(Amount { count: 1, bytes: pack.size.unwrap_or(0) });
    }
    needed
}

impl Needed {
    /// How many times as many bytes the packs have as are needed of them.
    #[allow(clippy::cast_precision_loss)] // one decimal is shown
    pub fn amplification(&self) -> f64 {
        let times = self.packs.bytes as f64 / self.contents.bytes.max(1) as f64;
        (times * 10.0).round() / 10.0
    }

    /// As JSON.
    pub fn json(&self) -> Value {
        json!({
            "files": self.files,
            "bytes": self.contents.bytes,
            "contents": self.contents.count,
            "packs": self.packs.count,
            "packBytes": self.packs.bytes,
        })
    }
}

fn root_json(argument: &str, root: &Root) -> Value {
    let mut value = json!({"argument": argument, "objectID": root.entry.object.to_string()});
    if let Some(manifest) = &root.manifest {
        value["manifestID"] = json!(manifest.id.to_string());
        let source = &manifest.source;
        value["source"] =
            json!({"host": source.host, "userName": source.user_name, "path": source.path});
    }
    value
}
