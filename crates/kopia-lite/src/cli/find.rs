//! `find`: files and folders of many snapshots by their names, and the versions of one.

use anyhow::{Context, bail};
use clap::Args;
use kopia_format::{
    directory::DirEntry,
    snapshot::{SnapshotManifest, Source},
    time::GoTime,
};
use kopia_repo::Repository;
use kopia_snapshot::{
    find::{self, Found, Seen, Wanted},
    manifests, mode,
};
use serde_json::{Value, json};

use super::{App, app::Access, snapshot, times};
use crate::{
    exit::Exit,
    ui::{json::JsonFlags, text},
};

/// Find files and folders in snapshots by their names.
///
/// A pattern is for the name, as *.txt; with a slash it is for the whole path, in which ** runs
/// across folders: /home/*/notes.txt, docs/**/*.md.
#[derive(Debug, Args)]
pub struct Find {
    /// Patterns; what one of them fits is found.
    #[arg(required_unless_present = "path", conflicts_with = "path")]
    patterns: Vec<String>,
    /// The versions of this file or folder: a path, or user@host:/path.
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
    /// Take small letters for capitals.
    #[arg(short, long)]
    ignore_case: bool,
    /// Show each version with mode, size, time, object and the snapshots that have it.
    #[arg(short, long)]
    long: bool,
    /// Only in snapshots of these sources.
    #[arg(long, value_name = "SOURCE")]
    source: Vec<String>,
    /// Only in snapshots that began then or later.
    #[arg(long, value_name = "TIME")]
    oldest: Option<String>,
    /// Only in snapshots that began then or earlier; a date means its end.
    #[arg(long, value_name = "TIME")]
    newest: Option<String>,
    /// In snapshots of all users and hosts.
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    json: JsonFlags,
}

impl Find {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        // A pattern that can't be read must not cost a look at the repository.
        let wanted = Wanted::of(&self.patterns, self.ignore_case)?;
        let (oldest, newest) = self.times(app)?;
        let client = app.open(Access::Read).await?;
        let repo = &client.repo;
        let path = self.path.as_ref().map(|path| snapshot::parse_source(repo, path)).transpose()?;
        let mut snapshots = self.snapshots(repo, path.as_ref()).await?;
        snapshots.retain(|it| {
            oldest.is_none_or(|oldest| it.start_time >= oldest)
                && newest.is_none_or(|newest| it.start_time < newest)
        });
        let found = match &path {
            Some(place) if place.path.is_empty() => bail!("the source {place} has no path"),
            Some(place) => find::versions(repo, &snapshots, &place.path).await?,
            None => find::find(repo, &snapshots, &wanted, &app.stop).await?,
        };
        if self.json.json {
            self.json.print_list(found.iter().map(as_json));
        } else {
            self.print(app, repo, &found);
        }
        if found.is_empty() {
            app.info(format!("Nothing was found in {} snapshots.", snapshots.len()));
        }
        Ok(Exit::Done)
    }

    fn times(&self, app: &App) -> anyhow::Result<(Option<GoTime>, Option<GoTime>)> {
        let now = jiff::Timestamp::now().to_zoned_datetime(app.zone.time_zone().clone());
        let bounds = |flag: &str, text: &Option<String>| {
            let bounds = text.as_ref().map(|text| times::bounds(text, &now));
            bounds.transpose().with_context(|| format!("--{flag}"))
        };
        let oldest = bounds("oldest", &self.oldest)?.map(|(begin, _)| begin);
        let newest = bounds("newest", &self.newest)?.map(|(_, end)| end);
        Ok((oldest, newest))
    }

    /// The snapshots to look at, oldest first.
    async fn snapshots(
        &self,
        repo: &Repository,
        path: Option<&Source>,
    ) -> anyhow::Result<Vec<SnapshotManifest>> {
        if !self.source.is_empty() {
            let mut all = snapshot::find_by_sources(repo, &self.source).await?;
            all.sort_by_key(|manifest| manifest.start_time);
            return Ok(all);
        }
        let (host, user) = match path {
            Some(place) => (place.host.as_str(), place.user_name.as_str()),
            None => (repo.hostname(), repo.username()),
        };
        let labels = [("hostname", host), ("username", user)];
        Ok(manifests::find(repo, if self.all { &[] } else { &labels }).await?)
    }

    fn print(&self, app: &App, repo: &Repository, found: &[Found]) {
        let mut before = None;
        for it in found {
            let path = named(repo, it);
            if self.long || self.path.is_some() {
                text::line(long(app, it, &path));
            } else if before.as_ref() != Some(&path) {
                text::line(&path);
                before = Some(path);
            }
        }
    }
}

/// The path as `restore` takes it: with user and host where they are others.
fn named(repo: &Repository, found: &Found) -> String {
    let source = &found.source;
    let slash = if found.entry.is_dir() { "/" } else { "" };
    let path = &found.path;
    if source.host == repo.hostname() && source.user_name == repo.username() {
        return format!("{path}{slash}");
    }
    format!("{}@{}:{path}{slash}", source.user_name, source.host)
}

fn size_of(entry: &DirEntry) -> u64 {
    entry.summary.as_ref().filter(|_| entry.is_dir()).map_or(entry.size, |summary| summary.size)
}

/// As a line of `list -l`, with the snapshots behind it.
fn long(app: &App, found: &Found, path: &str) -> String {
    let entry = &found.entry;
    let (mode, bytes, object) = (mode::of(entry), size_of(entry), entry.object.to_string());
    let mtime = app.zone.format(GoTime::from_unix_nanos(entry.mtime));
    let seen = |seen: &Seen| format!("{} {}", seen.id, app.zone.format(seen.start_time));
    let snapshots = match found.snapshots {
        1 => format!("1 snapshot: {}", seen(&found.first)),
        count => format!("{count} snapshots: {} to {}", seen(&found.first), seen(&found.last)),
    };
    format!("{mode} {bytes:>12} {mtime} {object:<34} {path} ({snapshots})")
}

fn as_json(found: &Found) -> Value {
    let entry = &found.entry;
    let seen = |seen: &Seen| json!({"id": seen.id, "startTime": seen.start_time});
    json!({
        "path": found.path,
        "obj": entry.object,
        "size": size_of(entry),
        "mtime": GoTime::from_unix_nanos(entry.mtime),
        "mode": kopia_format::time::mode_text(entry.mode),
        "type": entry.kind,
        "source": found.source,
        "firstSnapshot": seen(&found.first),
        "lastSnapshot": seen(&found.last),
        "snapshots": found.snapshots,
    })
}
