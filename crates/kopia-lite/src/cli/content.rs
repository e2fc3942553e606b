//! `content`: list, show, stats, verify.

use std::{collections::BTreeMap, io::Read};

use anyhow::Context;
use blob_core::BlobId;
use clap::{Args, Subcommand};
use flate2::read::MultiGzDecoder;
use kopia_format::{
    ContentId,
    compress::Compressor,
    index::{IdRange, IndexEntry},
    time::GoTime,
};
use kopia_repo::{Deleted, EntryFilter, RepoError, VerifyEvent, VerifyOptions, VerifyReport};
use serde_json::{Value, json};

use super::{App, app::Access, blob::refuse_cold, repository::flags::duration};
use crate::{
    exit::{Exit, Failure},
    ui::{
        histogram::Histogram,
        json::JsonFlags,
        progress::{Progress, Step},
        size, text,
    },
};

/// The verbs of `content`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List contents.
    #[command(visible_alias = "ls", disable_help_flag = true)]
    List(List),
    /// Write the bytes of contents to stdout.
    #[command(visible_alias = "cat")]
    Show(Show),
    /// Count contents and their bytes.
    Stats(Stats),
    /// Check that every content has a pack that is long enough for it.
    Verify(Verify),
}

impl Command {
    /// How the verb ends when all went well but for manifests or index blobs that can't be read.
    pub fn what_is_lost_means(&self) -> Exit {
        match self {
            // What it was asked for is whole.
            Self::Show(_) => Exit::Done,
            Self::Verify(_) => Exit::Damaged,
            Self::List(_) | Self::Stats(_) => Exit::Incomplete,
        }
    }

    /// Runs the verb.
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        match self {
            Self::List(list) => list.run(app).await,
            Self::Show(show) => show.run(app).await,
            Self::Stats(stats) => stats.run(app).await,
            Self::Verify(verify) => verify.run(app).await,
        }
    }
}

/// Write the bytes of contents to stdout.
#[derive(Debug, Args)]
pub struct Show {
    /// Content IDs.
    #[arg(required = true)]
    ids: Vec<String>,
    /// Indent what is JSON.
    #[arg(short, long)]
    json: bool,
    /// Decompress what is gzip, such as directories' manifests.
    #[arg(short = 'z', long)]
    unzip: bool,
}

impl Show {
    async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let ids = self.ids.iter().map(|id| id.parse());
        let ids = ids.collect::<Result<Vec<ContentId>, _>>()?;
        let client = app.open(Access::Read).await?;
        let mut packs = Vec::new();
        for id in &ids {
            if let Some(entry) = client.repo.content_entry(id).await? {
                packs.push(BlobId::new(&*entry.pack)?);
            }
        }
        refuse_cold(client.repo.storage(), &packs).await?;
        for id in &ids {
            let content = client.repo.content(id).await;
            let mut bytes =
                content.with_context(|| format!("error getting content {id}"))?.to_vec();
            if self.unzip {
                let mut plain = Vec::new();
                let read = MultiGzDecoder::new(bytes.as_slice()).read_to_end(&mut plain);
                read.with_context(|| format!("content {id} is no gzip"))?;
                bytes = plain;
            }
            if self.json {
                let value: Value = serde_json::from_slice(&bytes)
                    .with_context(|| format!("content {id} is no JSON"))?;
                bytes = kopia_format::json::to_vec_indent(&value);
            }
            text::raw(&bytes);
        }
        Ok(Exit::Done)
    }
}

/// Which contents.
#[derive(Debug, Clone, Args)]
struct Range {
    /// Only contents whose ID begins so; the two below win over it, as in Kopia.
    #[arg(long, default_value = "")]
    prefix: String,
    /// Only contents with a letter before their hash: metadata.
    #[arg(long)]
    prefixed: bool,
    /// Only contents without one: file data.
    #[arg(long)]
    non_prefixed: bool,
}

impl Range {
    fn filter(&self, deleted: Deleted) -> EntryFilter {
        let range = match (self.prefixed, self.non_prefixed) {
            (true, _) => IdRange::prefixed(),
            (_, true) => IdRange::unprefixed(),
            _ => IdRange::starting_with(&self.prefix),
        };
        EntryFilter { range, deleted }
    }
}

/// List contents.
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools)] // each is a flag
pub struct List {
    /// Show where each content lies.
    #[arg(short, long)]
    long: bool,
    /// Show how each content is compressed.
    #[arg(short, long)]
    compression: bool,
    /// Show deleted contents, too.
    #[arg(long)]
    deleted: bool,
    /// Show only deleted contents.
    #[arg(long)]
    deleted_only: bool,
    /// Show the sum at the end.
    #[arg(short, long)]
    summary: bool,
    /// Show sizes with units.
    #[arg(short = 'h', long)]
    human: bool,
    #[command(flatten)]
    range: Range,
    #[command(flatten)]
    json: JsonFlags,
    /// Print help.
    #[arg(long, action = clap::ArgAction::HelpLong)]
    help: Option<bool>,
}

impl List {
    async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let deleted = match (self.deleted_only, self.deleted) {
            (true, _) => Deleted::Only,
            (_, true) => Deleted::Include,
            _ => Deleted::Exclude,
        };
        let client = app.open(Access::Read).await?;
        let entries = client.repo.entries(&self.range.filter(deleted)).await?;
        let entries = entries.into_iter();
        if self.json.json {
            self.json.print_list(entries.map(|entry| as_json(&entry)));
            return Ok(Exit::Done);
        }
        let (mut count, mut bytes) = (0, 0);
        for entry in entries {
            count += 1;
            bytes += u64::from(entry.packed_length);
            text::line(self.line(app, &entry));
        }
        if self.summary {
            let count = if self.human { size::count(count) } else { count.to_string() };
            text::line(format!("Total: {count} contents, {} total size", self.size(bytes)));
        }
        Ok(Exit::Done)
    }

    fn size(&self, bytes: u64) -> String {
        if self.human { size::bytes(bytes) } else { bytes.to_string() }
    }

    fn line(&self, app: &App, entry: &IndexEntry) -> String {
        let deleted = if entry.deleted { " (deleted)" } else { "" };
        let (original, packed) = (entry.original_length.into(), entry.packed_length.into());
        if self.compression {
            format!(
                "{} length {} packed {} {} {deleted}",
                entry.id,
                self.size(original),
                self.size(packed),
                compression(entry)
            )
        } else if self.long {
            format!(
                "{} {original} {} {} {}+{}{deleted} {}",
                entry.id,
                app.zone.format(GoTime::from_secs(entry.timestamp)),
                entry.pack,
                entry.offset,
                self.size(packed),
                compression(entry)
            )
        } else {
            entry.id.to_string()
        }
    }
}

/// A content in Kopia's JSON fields and order.
fn as_json(entry: &IndexEntry) -> Value {
    let mut value = json!({
        "packFile": entry.pack,
        "time": entry.timestamp,
        "originalLength": entry.original_length,
        "length": entry.packed_length,
        "packOffset": entry.offset,
    });
    if entry.compression != 0 {
        value["compression"] = entry.compression.into();
    }
    value["contentID"] = entry.id.to_string().into();
    value["deleted"] = entry.deleted.into();
    value["formatVersion"] = entry.format_version.into();
    if entry.encryption_key_id != 0 {
        value["encryptionKeyID"] = entry.encryption_key_id.into();
    }
    value
}

/// The name of a content's compressor and what it saved; `-` for none.
fn compression(entry: &IndexEntry) -> String {
    if entry.compression == 0 {
        return "-".to_owned();
    }
    let name = Compressor::by_id(entry.compression)
        .map_or_else(|_| format!("compression-{:x}", entry.compression), |c| c.name().to_owned());
    match entry.original_length {
        0 => name,
        original => format!("{name} {}", size::saved(original.into(), entry.packed_length.into())),
    }
}

/// Count contents and their bytes.
#[derive(Debug, Args)]
pub struct Stats {
    /// Show plain numbers.
    #[arg(short, long)]
    raw: bool,
    #[command(flatten)]
    range: Range,
    #[command(flatten)]
    json: JsonFlags,
}

impl Stats {
    async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let client = app.open(Access::Read).await?;
        let entries = client.repo.entries(&self.range.filter(Deleted::Exclude)).await?;
        let mut histogram = Histogram::default();
        let mut original = 0;
        let mut methods: BTreeMap<u32, (u64, u64, u64)> = BTreeMap::new();
        for entry in &entries {
            let (plain, packed) =
                (u64::from(entry.original_length), u64::from(entry.packed_length));
            histogram.add(packed, packed);
            original += plain;
            let method = methods.entry(entry.compression).or_default();
            *method = (method.0 + 1, method.1 + plain, method.2 + packed);
        }
        let (count, packed) = (histogram.count, histogram.bytes);
        if self.json.json {
            let all = methods.iter().map(|(id, (count, original, packed))| {
                let name = method_name(*id);
                json!({
                    "compression": name, "count": count,
                    "bytes": original, "packedBytes": packed,
                })
            });
            self.json.print(&json!({
                "count": count, "bytes": original, "packedBytes": packed,
                "methods": all.collect::<Vec<_>>(),
            }));
            return Ok(Exit::Done);
        }
        let show = |bytes: u64| if self.raw { bytes.to_string() } else { size::bytes(bytes) };
        text::line(format!("Count: {count}"));
        text::line(format!("Total Bytes: {}", show(original)));
        if packed < original {
            let percent = size::saved(original, packed);
            text::line(format!("Total Packed: {} (compression {percent})", show(packed)));
        }
        if methods.len() > 1 {
            text::line("By Method:");
            for (id, (count, original, packed)) in &methods {
                let mut line =
                    format!("  {:<22} count: {count} size: {}", method_name(*id), show(*original));
                if *id != 0 {
                    let percent = size::saved(*original, *packed);
                    line.push_str(&format!(" packed: {} compression: {percent}", show(*packed)));
                }
                text::line(line);
            }
        }
        if let Some(average) = original.checked_div(count) {
            text::line(format!("Average: {}", show(average)));
            text::line(histogram.render(show));
        }
        Ok(Exit::Done)
    }
}

fn method_name(id: u32) -> String {
    match id {
        0 => "(uncompressed)".to_owned(),
        id => Compressor::by_id(id)
            .map_or_else(|_| format!("compression-{id:x}"), |c| c.name().to_owned()),
    }
}

/// Check that every content has a pack that is long enough for it.
#[derive(Debug, Args)]
pub struct Verify {
    /// Taken for Kopia's sake: contents are read as fast as the storage gives them.
    #[arg(long, hide = true)]
    parallel: Option<usize>,
    /// Read every content.
    #[arg(long)]
    full: bool,
    /// Check deleted contents, too.
    #[arg(long)]
    include_deleted: bool,
    /// Read this share of the contents.
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0)]
    download_percent: f64,
    /// Taken for Kopia's sake: progress has a pace of its own.
    #[arg(long, hide = true, value_parser = duration)]
    progress_interval: Option<std::time::Duration>,
    #[command(flatten)]
    range: Range,
    #[command(flatten)]
    json: JsonFlags,
}

impl Verify {
    async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let client = app.open(Access::Verify).await?;
        let deleted = if self.include_deleted { Deleted::Include } else { Deleted::Exclude };
        let options = VerifyOptions {
            filter: self.range.filter(deleted),
            read_percent: if self.full { 100.0 } else { self.download_percent },
        };
        let progress = Progress::new(app.globals.progress(), "verify-contents");
        let mut packs = PacksHit::default();
        let verified = client.repo.verify_contents(&options, |event| match event {
            VerifyEvent::Problem { error, .. } => {
                packs.add(error);
                progress.say(&error.to_string());
            }
            VerifyEvent::Progress(report) => {
                let contents = Some(report.contents);
                let line = format!("Verified {} contents", report.contents);
                progress.show(|| Step { line, files: contents, ..Step::default() });
            }
            VerifyEvent::Listed { packs, bytes } => {
                app.info(format!("Listed {packs} packs ({}).", size::bytes(bytes)));
                app.info("Verifying contents...");
            }
        });
        let report = verified.await?;
        progress.finish();
        let counters = packs.counters(&report);
        if report.contents_cold > 0 {
            let count = report.contents_cold;
            app.warn(format!("{count} contents are archived and were not read."));
        }
        if self.json.json {
            self.json.print(&counters);
        } else {
            app.info("Finished verifying contents");
            app.info(format!("verifyCounters:\t{}", self.json.render(&counters)));
            packs.lines().for_each(text::note);
        }
        match report.problems() {
            0 => Ok(Exit::Done),
            count => {
                let message = format!("verify contents: encountered {count} errors");
                Err(Failure::new(Exit::Damaged, message).into())
            }
        }
    }
}

/// The packs that lost contents are in, and how many of them.
#[derive(Debug, Default)]
struct PacksHit {
    missing: BTreeMap<String, u64>,
    truncated: BTreeMap<String, u64>,
    corrupted: BTreeMap<String, u64>,
}

impl PacksHit {
    fn add(&mut self, error: &RepoError) {
        let (packs, pack) = match error {
            RepoError::PackMissing { pack, .. } => (&mut self.missing, pack),
            RepoError::PackTruncated { pack, .. } => (&mut self.truncated, pack),
            RepoError::ContentDamaged { pack, .. } => (&mut self.corrupted, pack),
            _ => return,
        };
        *packs.entry(pack.to_string()).or_default() += 1;
    }

    /// A line for each pack, with Kopia's names.
    fn lines(&self) -> impl Iterator<Item = String> {
        let kinds = [
            ("missingPack", &self.missing),
            ("truncatedPack", &self.truncated),
            ("corruptedPack", &self.corrupted),
        ];
        kinds.into_iter().flat_map(|(kind, packs)| {
            packs.iter().map(move |(pack, count)| {
                let facts = json!({"packID": pack, "numberOfReferencedContents": count});
                format!("{kind}\t{facts}")
            })
        })
    }

    /// The counters with Kopia's names.
    fn counters(&self, report: &VerifyReport) -> Value {
        json!({
            "verifiedContents": report.contents,
            "totalErrorCount": report.problems(),
            "contentsInMissingPacks": report.packs_missing,
            "contentsInTruncatedPacks": report.packs_truncated,
            "unreadableContents": report.contents_damaged,
            "readContents": report.contents_read,
            "missingPacks": self.missing.len(),
            "truncatedPacks": self.truncated.len(),
            "corruptedPacks": self.corrupted.len(),
        })
    }
}
