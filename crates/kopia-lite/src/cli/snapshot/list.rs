//! `snapshot list`.

use std::collections::BTreeMap;

use clap::Args;
use kopia_format::{
    directory::{DirEntry, EntryKind},
    snapshot::{SnapshotManifest, Source},
};
use kopia_repo::Repository;
use kopia_snapshot::{manifests, mode, policies, policy::retention, tree::descend};
use serde_json::Value;

use crate::{
    cli::{
        App,
        app::Access,
        snapshot::{
            self,
            storage_stats::{StorageStats, Tally},
        },
    },
    exit::Exit,
    ui::{json::JsonFlags, size, text},
};

/// List snapshots.
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools)] // each is a flag
pub struct List {
    /// A source, or a path below one.
    source: Option<String>,
    /// Show incomplete snapshots, too.
    #[arg(short, long)]
    incomplete: bool,
    /// Show sizes with units.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    human_readable: bool,
    /// Show how much a snapshot is bigger than the one before.
    #[arg(short, long)]
    delta: bool,
    /// Show manifest IDs.
    #[arg(short, long)]
    manifest_id: bool,
    /// Show why each snapshot is kept.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    retention: bool,
    /// Show the time of the root.
    #[arg(long)]
    mtime: bool,
    /// Show the owner of the root.
    #[arg(long)]
    owner: bool,
    /// Show every snapshot, also those that equal the one before.
    #[arg(short = 'l', long)]
    show_identical: bool,
    /// Work out what each snapshot adds to those before it.
    #[arg(long)]
    storage_stats: bool,
    /// Newest first.
    #[arg(long)]
    reverse: bool,
    /// Show the snapshots of other users and hosts, too.
    #[arg(short, long)]
    all: bool,
    /// Show the last so many of each source.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 0)]
    max_results: usize,
    /// Show only snapshots with these tags.
    #[arg(long, value_name = "KEY:VALUE")]
    tags: Vec<String>,
    #[command(flatten)]
    json: JsonFlags,
}

/// A snapshot, why it is kept, and what it takes if that was asked for.
struct Kept {
    manifest: SnapshotManifest,
    reasons: Vec<String>,
    storage: Option<StorageStats>,
}

/// One line, and the snapshots folded into it.
struct Row {
    first: String,
    last: String,
    count: usize,
    root: String,
    bits: Vec<String>,
    reasons: Vec<String>,
    pins: Vec<String>,
}

impl List {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let client = app.open(Access::Read).await?;
        let repo = &client.repo;
        if self.json.json {
            self.json.print_list(self.listed(repo).await?);
            return Ok(Exit::Done);
        }
        let (wanted, groups) = self.groups(repo).await?;
        let (mut any, mut hidden) = (false, false);
        for (source, group) in groups {
            let own = source.host == repo.hostname() && source.user_name == repo.username();
            if !self.all && !own {
                hidden = true;
                continue;
            }
            if any {
                text::line("");
            }
            any = true;
            text::line(&source);
            let below = wanted.as_ref().map_or("", |wanted| below(&source.path, &wanted.path));
            self.print_group(app, repo, &source, group, below).await?;
        }
        if !any && hidden {
            app.info("No snapshots found. Pass --all to show snapshots from all users/hosts.\n");
        } else if !any && let Some(source) = wanted {
            app.info(format!("There are no snapshots of {source}."));
        }
        Ok(Exit::Done)
    }

    /// Puts a group in order, cuts it to what was asked for, and weighs it if that was asked for.
    async fn arrange(&self, repo: &Repository, mut group: Vec<Kept>) -> anyhow::Result<Vec<Kept>> {
        group.sort_by_key(|kept| kept.manifest.start_time);
        if self.reverse {
            group.reverse();
        }
        if self.max_results > 0 && group.len() > self.max_results {
            group.drain(..group.len() - self.max_results);
        }
        let mut tally = Tally::default();
        for kept in group.iter_mut().filter(|_| self.storage_stats) {
            if let Some(root) = &kept.manifest.root_entry {
                kept.storage = Some(tally.add(repo, root).await?);
            }
        }
        Ok(group)
    }

    /// The source that was named, and what is to be shown.
    async fn groups(&self, repo: &Repository) -> anyhow::Result<(Option<Source>, Groups)> {
        let tags = snapshot::parse_tags(&self.tags)?;
        let wanted = match &self.source {
            Some(text) => Some(snapshot::parse_source(repo, text)?),
            None => None,
        };
        let groups = find(repo, wanted.as_ref(), &tags).await?;
        Ok((wanted, groups))
    }

    /// The list as JSON. Kopia shows everybody's snapshots in it, whatever `--all` says.
    pub(in crate::cli) async fn listed(&self, repo: &Repository) -> anyhow::Result<Vec<Value>> {
        let (_, groups) = self.groups(repo).await?;
        let mut all = Vec::new();
        for (source, group) in groups {
            let kept = with_reasons(repo, &source, group).await?;
            for Kept { manifest, reasons, storage } in self.arrange(repo, kept).await? {
                let mut value = serde_json::to_value(&manifest)?;
                if let (Some(storage), Value::Object(fields)) = (storage, &mut value) {
                    let pins = fields.shift_remove("pins");
                    fields.insert("storageStats".to_owned(), serde_json::to_value(storage)?);
                    fields.extend(pins.map(|pins| ("pins".to_owned(), pins)));
                }
                if self.retention && !reasons.is_empty() {
                    value["retentionReason"] = Value::from(reasons);
                }
                all.push(value);
            }
        }
        Ok(all)
    }

    async fn print_group(
        &self,
        app: &App,
        repo: &Repository,
        source: &Source,
        group: Vec<SnapshotManifest>,
        below: &str,
    ) -> anyhow::Result<()> {
        let kept = with_reasons(repo, source, group).await?;
        let mut rows: Vec<Row> = Vec::new();
        let mut size_before = 0;
        for Kept { manifest, reasons, storage } in self.arrange(repo, kept).await? {
            let when = app.zone.format(manifest.start_time);
            let entry = match &manifest.root_entry {
                Some(root) => descend(repo, root.clone(), below).await,
                None => {
                    text::line(format!("  {when} <ERROR> the snapshot has no root"));
                    continue;
                }
            };
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    text::line(format!("  {when} <ERROR> {error}"));
                    continue;
                }
            };
            if !manifest.is_complete() && !self.incomplete {
                continue;
            }
            let mut bits = self.bits(app, &manifest, &entry, size_before);
            bits.extend(storage.iter().flat_map(storage_bits));
            if manifest.is_complete() {
                size_before = manifest.stats.total_size;
            }
            let row = Row {
                first: when.clone(),
                last: when,
                count: 1,
                root: entry.object.to_string(),
                bits,
                reasons,
                pins: manifest.pins.clone(),
            };
            match rows.last_mut() {
                Some(before) if before.root == row.root && !self.show_identical => {
                    before.count += 1;
                    before.last = row.last;
                    before.reasons.extend(row.reasons);
                    before.pins.extend(row.pins);
                }
                _ => rows.push(row),
            }
        }
        rows.into_iter().for_each(|row| self.print_row(row));
        Ok(())
    }

    fn bits(
        &self,
        app: &App,
        manifest: &SnapshotManifest,
        entry: &DirEntry,
        size_before: u64,
    ) -> Vec<String> {
        let mut bits = Vec::new();
        if !manifest.is_complete() {
            bits.push(format!("incomplete:{}", manifest.incomplete));
        }
        let summary = entry.summary.as_ref().filter(|_| entry.kind == EntryKind::Directory);
        let bytes = summary.map_or(entry.size, |summary| summary.size);
        bits.push(self.size(bytes));
        bits.push(mode::of(entry));
        if self.owner {
            bits.push(format!("uid:{} gid:{}", entry.uid, entry.gid));
        }
        if self.mtime {
            let time = kopia_format::time::GoTime::from_unix_nanos(entry.mtime);
            bits.push(format!("modified:{}", app.zone.format(time)));
        }
        if self.manifest_id {
            bits.push(format!("manifest:{}", manifest.id));
        }
        if self.delta && bytes > size_before {
            bits.push(format!("(+{})", size::bytes(bytes - size_before)));
        }
        if let Some(summary) = summary {
            bits.push(format!("files:{} dirs:{}", summary.files, summary.dirs));
            if summary.failed > 0 {
                bits.push(format!("errors:{}", summary.failed));
            }
        }
        bits
    }

    fn size(&self, bytes: u64) -> String {
        if self.human_readable { size::bytes(bytes) } else { bytes.to_string() }
    }

    fn print_row(&self, mut row: Row) {
        if self.retention && !row.reasons.is_empty() {
            row.bits.push(format!("({})", retention::compact_reasons(&row.reasons).join(",")));
        }
        row.pins.sort();
        row.pins.dedup();
        if !row.pins.is_empty() {
            row.bits.push(format!("pins:{}", row.pins.join(",")));
        }
        text::line(format!("  {} {} {}", row.first, row.root, row.bits.join(" ")));
        if row.count > 1 {
            let more = row.count - 1;
            text::line(format!("  + {more} identical snapshots until {}", row.last));
        }
    }
}

fn storage_bits(stats: &StorageStats) -> [String; 4] {
    let new = &stats.new_data;
    let packed = new.packed_content_bytes;
    [
        format!("new-data:{}", size::bytes(packed)),
        format!("new-files:{}", new.file_objects),
        format!("new-dirs:{}", new.dir_objects),
        format!("compression:{}", size::saved(new.original_content_bytes, packed)),
    ]
}

/// The rest of `path` below `source`; empty for the source itself.
fn below<'a>(source: &str, path: &'a str) -> &'a str {
    path.strip_prefix(source).unwrap_or("").trim_start_matches('/')
}

/// Snapshots by source, in the order of what people read: `user@host:/path`.
type Groups = Vec<(Source, Vec<SnapshotManifest>)>;

/// Snapshots by source: all, or those of `wanted` and of the folders above it.
async fn find(
    repo: &Repository,
    wanted: Option<&Source>,
    tags: &BTreeMap<String, String>,
) -> anyhow::Result<Groups> {
    let labels: Vec<_> = tags.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let mut groups: BTreeMap<String, (Source, Vec<SnapshotManifest>)> = BTreeMap::new();
    for manifest in manifests::find(repo, &labels).await? {
        let source = &manifest.source;
        let is_wanted = wanted.is_none_or(|wanted| {
            let holds = std::path::Path::new(&wanted.path).starts_with(&source.path);
            let same_user = wanted.user_name.is_empty() || wanted.user_name == source.user_name;
            let same_host = wanted.host.is_empty() || wanted.host == source.host;
            same_user && same_host && (wanted.path.is_empty() || holds)
        });
        if is_wanted {
            let group = groups.entry(source.to_string());
            group.or_insert_with(|| (source.clone(), Vec::new())).1.push(manifest);
        }
    }
    Ok(groups.into_values().collect())
}

async fn with_reasons(
    repo: &Repository,
    source: &Source,
    group: Vec<SnapshotManifest>,
) -> anyhow::Result<Vec<Kept>> {
    let effective = policies::effective(repo, source).await?;
    let zone = jiff::tz::TimeZone::system();
    let reasons = kopia_snapshot::retention::reasons(&group, &effective.policy, &zone);
    let both = group.into_iter().zip(reasons);
    Ok(both.map(|(manifest, reasons)| Kept { manifest, reasons, storage: None }).collect())
}
