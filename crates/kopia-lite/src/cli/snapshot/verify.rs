//! `snapshot verify`.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use kopia_format::{
    directory::{DirEntry, EntryKind},
    snapshot::SnapshotManifest,
};
use kopia_repo::Repository;
use kopia_snapshot::{
    manifests,
    roots::Pick,
    tree::made_up_entry,
    verify::{PackDepths, Part, Subset, VerifyOptions, VerifyReport, VerifyStats, verify},
};
use serde_json::{Value, json};

use crate::{
    cli::{App, app::Access, snapshot},
    exit::Exit,
    jobs::kept_place::KeptPlace,
    ui::{
        json::JsonFlags,
        progress::{Progress, Step},
        size, text,
    },
};

/// How deep packs are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Depth {
    /// By a listing.
    List,
    /// By a listing that also says whether the storage keeps a checksum.
    Checksum,
    /// By reading.
    Read,
}

/// Check that what snapshots name is there and can be read.
#[derive(Debug, Args)]
pub struct Verify {
    /// Snapshot IDs; none = every snapshot.
    ids: Vec<String>,
    /// How deep: list = packs exist and are long enough; checksum = and the storage keeps a checksum of
    /// each; read = all that is not archived is read. None thaws.
    #[arg(long, value_enum, conflicts_with = "verify_files_percent")]
    depth: Option<Depth>,
    /// Read so many of a hundred files in full.
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0)]
    verify_files_percent: f64,
    /// Read a part of all files in full: the n-th of t (3/10), so many of a hundred (2.5%), or about
    /// so many bytes of what is stored (500MB).
    #[arg(long, value_name = "N/T|X%|SIZE", conflicts_with_all = ["verify_files_percent", "depth"])]
    subset: Option<String>,
    /// Go on where the last run with this flag ended, so that in time all files are read.
    #[arg(long, requires = "subset")]
    remember: bool,
    /// End after so many problems; all are collected unless it is given. 0 = at the first, as in
    /// Kopia.
    #[arg(long, value_name = "N")]
    max_errors: Option<usize>,
    /// Verify the snapshots of these sources.
    #[arg(long, value_name = "SOURCE")]
    sources: Vec<String>,
    /// Verify these directory objects.
    #[arg(long, value_name = "ID")]
    directory_id: Vec<String>,
    /// Verify these file objects.
    #[arg(long, value_name = "ID")]
    file_id: Vec<String>,
    /// Directories read at once.
    #[arg(long, value_name = "N", default_value_t = 8)]
    parallel: usize,
    /// Taken for Kopia's sake: files are read as fast as the storage gives them.
    #[arg(long, hide = true)]
    file_parallelism: Option<usize>,
    /// Taken for Kopia's sake: there is no queue of files.
    #[arg(long, hide = true)]
    file_queue_length: Option<usize>,
    #[command(flatten)]
    json: JsonFlags,
}

impl Verify {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let subset = self.subset.as_deref().map(Wanted::parse).transpose()?;
        if self.remember && matches!(subset, Some(Wanted::Nth(_))) {
            bail!("--remember goes on from part to part, and N/T names one; say X% or SIZE");
        }
        let client = app.open(Access::Verify).await?;
        let kept = self.kept(app, &client.repo);
        let roots = app.unless_stopped(self.roots(app, &client.repo)).await?;
        let options = VerifyOptions {
            files_percent: match self.depth {
                Some(Depth::Read) => 100.0,
                Some(Depth::List | Depth::Checksum) | None => self.verify_files_percent,
            },
            // Kopia's 0 stops at the first; the engine's never stops.
            errors_max: self.max_errors.map_or(0, |most| most.max(1)),
            parallel: self.parallel,
            subset: subset.map(|subset| subset.from(kept.as_ref())),
            ..VerifyOptions::default()
        };
        let progress = Progress::new(app.globals.progress(), "verify");
        let tell = |stats: &VerifyStats| progress.show(|| step(stats));
        let report = verify(&client.repo, &roots, &options, &tell, &app.stop).await?;
        progress.finish();
        // What was ended early was not read as a whole.
        let is_whole = options.errors_max == 0 || report.problems.len() < options.errors_max;
        if let (Some(kept), Some(part), true) = (&kept, report.part, is_whole) {
            kept.store(part.end()).unwrap_or_else(|error| {
                app.warn(format!("where the next run goes on was not kept: {error}"));
            });
        }
        self.print(app, &report);
        self.miss_checksums(app, &report);
        Ok(match &report.problems[..] {
            [] => Exit::Done,
            problems if problems.iter().all(|problem| problem.archived) => Exit::Archived,
            _ => Exit::Damaged,
        })
    }

    /// Where it is kept which part comes next, for these snapshots.
    fn kept(&self, app: &App, repo: &Repository) -> Option<KeptPlace> {
        let mut named: Vec<_> = self.ids.iter().chain(&self.sources).collect();
        named.extend(self.directory_id.iter().chain(&self.file_id));
        let what: Vec<_> = named.into_iter().map(String::as_str).collect();
        let kept = || KeptPlace::new(&app.config_file, &repo.unique_id(), &what.join(" "));
        self.remember.then(kept)
    }

    async fn roots(&self, app: &App, repo: &Repository) -> anyhow::Result<Vec<(String, DirEntry)>> {
        let mut found = Vec::new();
        let named = self.directory_id.iter().chain(&self.file_id);
        let is_bare = self.ids.is_empty() && self.sources.is_empty();
        for id in &self.ids {
            found.extend(snapshot::find_by_id(repo, id).await?);
        }
        found.extend(snapshot::find_by_sources(repo, &self.sources).await?);
        if is_bare && self.directory_id.is_empty() && self.file_id.is_empty() {
            found = manifests::find(repo, &[]).await?;
        }
        let mut roots: Vec<_> = found.iter().filter_map(|m| root_of(app, m)).collect();
        for (number, text) in named.enumerate() {
            let root = snapshot::find_root(repo, text, Pick::Latest(0), false).await?;
            let kind = if number < self.directory_id.len() {
                EntryKind::Directory
            } else {
                root.entry.kind
            };
            let size = if kind == EntryKind::Directory { 0 } else { root.entry.size };
            let entry = DirEntry { kind, size, ..made_up_entry(root.entry.object) };
            roots.push((text.clone(), entry));
        }
        Ok(roots)
    }

    /// Says how many packs the storage keeps no checksum of, where that was asked for. Their bytes may
    /// be right all the same.
    fn miss_checksums(&self, app: &App, report: &VerifyReport) {
        let packs = &report.packs;
        let without = (packs.listed + packs.read).saturating_sub(packs.checksummed);
        if self.depth == Some(Depth::Checksum) && without > 0 {
            app.warn(format!(
                "of {without} packs the storage does not tell that it keeps a checksum; only reading \
                 them says more"
            ));
        }
    }

    /// Kopia says nothing of it: only where it was asked for, or packs are archived.
    fn says_how_deep(&self, report: &VerifyReport) -> bool {
        self.depth.is_some() || report.packs.archived > 0
    }

    fn print(&self, app: &App, report: &VerifyReport) {
        let count = report.problems.len();
        if self.json.json {
            let mut value = json!({"stats": report.stats, "errorCount": count});
            if self.says_how_deep(report) {
                value["packs"] = json!(report.packs);
            }
            if let Some((from, share)) = report.part.map(Part::shares) {
                value["subset"] = json!({"from": from, "share": share});
            }
            if count > 0 {
                let all = report.problems.iter().map(|p| Value::from(p.message.clone()));
                value["errorStrings"] = all.collect();
            }
            self.json.print(&value);
            return;
        }
        // A lost blob is named once, with the files that it holds.
        let mut by_blob: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for problem in &report.problems {
            match &problem.blob {
                Some(blob) => by_blob.entry(blob).or_default().push(&problem.path),
                None => text::warn(format!("{}: {}", problem.path, problem.message)),
            }
        }
        for (blob, mut paths) in by_blob {
            paths.sort_unstable();
            paths.dedup();
            let first = report.problems.iter().find(|p| p.blob.as_deref() == Some(blob));
            let why = first.map_or("", |problem| problem.message.as_str());
            text::warn(format!("blob {blob}: {why}"));
            paths.iter().for_each(|path| text::warn(format!("  {path}")));
        }
        app.info(line("Finished processing", &report.stats));
        if let Some((from, share)) = report.part.map(Part::shares) {
            let (from, share) = (100.0 * from, 100.0 * share);
            app.info(format!("Read in full: {share:.1}% of all files, from {from:.1}% on."));
        }
        if self.says_how_deep(report) {
            app.info(depths(&report.packs));
        }
        if count > 0 {
            text::error(format!("ERROR encountered {count} errors"));
        }
    }
}

/// What `--subset` asks for.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Wanted {
    Nth(Part),
    Percent(f64),
    Bytes(u64),
}

impl Wanted {
    fn parse(text: &str) -> anyhow::Result<Self> {
        let bad = || format!("--subset={text}: say N/T as 3/10, X% as 2.5%, or a size as 500MB");
        if let Some((n, of)) = text.split_once('/') {
            let part = n.parse().ok().zip(of.parse().ok()).and_then(|(n, of)| Part::nth(n, of));
            return part.map(Self::Nth).with_context(bad);
        }
        if let Some(percent) = text.strip_suffix('%') {
            let percent = percent.parse::<f64>().ok().filter(|it| *it > 0.0 && *it <= 100.0);
            return percent.map(Self::Percent).with_context(bad);
        }
        let bytes = size::parse(text).ok().and_then(|bytes| u64::try_from(bytes).ok());
        bytes.filter(|bytes| *bytes > 0).map(Self::Bytes).with_context(bad)
    }

    /// From where the last run ended, or from anywhere.
    fn from(self, kept: Option<&KeptPlace>) -> Subset {
        use std::hash::{BuildHasher, Hasher, RandomState};
        let anywhere = || RandomState::new().build_hasher().finish();
        let start = kept.and_then(KeptPlace::read).unwrap_or_else(anywhere);
        match self {
            Self::Nth(part) => Subset::Part(part),
            Self::Percent(percent) => Subset::Part(Part::percent(start, percent)),
            Self::Bytes(bytes) => Subset::Bytes { start, bytes },
        }
    }
}

fn depths(packs: &PackDepths) -> String {
    let archived = match packs.archived {
        0 => String::new(),
        archived => format!(", {archived} of them archived"),
    };
    format!(
        "Packs: {} read, {} checked by a listing alone{archived}; the storage keeps a checksum of {}.",
        packs.read, packs.listed, packs.checksummed
    )
}

fn line(what: &str, stats: &VerifyStats) -> String {
    format!(
        "{what} {} objects ({}). Read {} files ({}).",
        stats.processed_object_count,
        size::bytes(stats.processed_bytes),
        stats.read_file_count,
        size::bytes(stats.read_bytes)
    )
}

fn step(stats: &VerifyStats) -> Step {
    Step {
        line: line("Processed", stats),
        files: Some(stats.processed_object_count),
        bytes: Some(stats.processed_bytes),
        ..Step::default()
    }
}

fn root_of(app: &App, manifest: &SnapshotManifest) -> Option<(String, DirEntry)> {
    let name = format!("{}@{}", manifest.source, app.zone.format(manifest.start_time));
    manifest.root_entry.clone().map(|root| (name, root))
}
