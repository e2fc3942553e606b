//! `snapshot create`.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, bail};
use bytes::Bytes;
use clap::Args;
use jiff::tz::TimeZone;
use kopia_format::{
    snapshot::{SnapshotManifest, Source},
    time::GoTime,
};
use kopia_repo::{Repository, RepositoryWriter};
use kopia_snapshot::{
    create::{self, CreateRequest, Created, DESCRIPTION_BYTES_MAX, Input},
    manifests, policies,
    upload::{Actions, CHECKPOINT_INTERVAL_MAX, UploadOptions},
};
use tokio::{io::AsyncReadExt, sync::mpsc};

use super::{ahead, create_plan::Plan};
use crate::{
    cli::{App, app::Access, repository::flags::duration, snapshot, times},
    connect::paths,
    exit::Exit,
    ui::{json::JsonFlags, progress::UploadProgress, time},
};

/// Take a snapshot of files and folders.
#[derive(Debug, Args)]
pub struct Create {
    /// Files and folders.
    sources: Vec<PathBuf>,
    /// Every source that this user on this machine has snapshots of.
    #[arg(long)]
    all: bool,
    /// Words about the snapshot.
    #[arg(long, default_value = "")]
    description: String,
    /// Tags of the snapshot.
    #[arg(long, value_name = "KEY:VALUE")]
    tags: Vec<String>,
    /// Pins: a snapshot with one does not expire.
    #[arg(long, value_name = "NAME")]
    pin: Vec<String>,
    /// Files read at once; 0 = what the policy says.
    #[arg(long, value_name = "N", default_value_t = 0)]
    parallel: usize,
    /// Read this share of unchanged files again.
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0)]
    force_hash: f64,
    /// Stop at the first error that the policy does not ignore.
    #[arg(long, env = "KOPIA_SNAPSHOT_FAIL_FAST")]
    fail_fast: bool,
    /// Stop after so much was read, in MiB.
    #[arg(long, value_name = "MB", default_value_t = 0)]
    upload_limit_mb: u64,
    /// Time between checkpoints, 45 minutes at most.
    #[arg(long, hide = true, value_parser = duration)]
    checkpoint_interval: Option<std::time::Duration>,
    /// Say so much of each folder at debug level, 0 to 10; -1 = what the policy says.
    #[arg(long, value_name = "N", default_value_t = -1, hide_default_value = true)]
    log_dir_detail: i64,
    /// The same of each file and link.
    #[arg(long, value_name = "N", default_value_t = -1, hide_default_value = true)]
    log_entry_detail: i64,
    /// Give the snapshot this start, as '2006-01-02 15:04:05 UTC'.
    #[arg(long, value_name = "TIME", default_value = "", hide_default_value = true)]
    start_time: String,
    /// Give the snapshot this end.
    #[arg(long, value_name = "TIME", default_value = "", hide_default_value = true)]
    end_time: String,
    /// Snapshot standard input as a file of this name.
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    stdin_file: String,
    /// Make it a snapshot of this source.
    #[arg(
        long,
        visible_alias = "as",
        value_name = "USER@HOST:PATH",
        default_value = "",
        hide_default_value = true
    )]
    override_source: String,
    /// Make each source visible as soon as it is done.
    #[arg(long, hide = true)]
    flush_per_source: bool,
    /// Taken for Kopia's sake: kopia-lite sends no reports.
    #[arg(long, hide = true, default_value_t = true, action = clap::ArgAction::Set)]
    send_snapshot_report: bool,
    /// Run the actions of policies, even if the connection does not allow it.
    #[arg(long, hide = true)]
    force_enable_actions: bool,
    /// Run no actions of policies.
    #[arg(long, hide = true)]
    force_disable_actions: bool,
    /// Only say what a snapshot would hold, and what of it is new; no file is read.
    #[arg(short = 'n', long)]
    dry_run: bool,
    #[command(flatten)]
    json: JsonFlags,
}

impl Create {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let (start_time, end_time) = (exact(&self.start_time)?, exact(&self.end_time)?);
        if let (Some(start), Some(end)) = (start_time, end_time)
            && start > end
        {
            bail!("start time override cannot be after the end time override");
        }
        if self.description.len() > DESCRIPTION_BYTES_MAX {
            bail!("description too long: at most {DESCRIPTION_BYTES_MAX} bytes are kept");
        }
        if self.all && !self.sources.is_empty() {
            bail!("cannot use --all when a source path argument is specified");
        }
        let tags = snapshot::parse_tags(&self.tags)?;
        let options = self.options(app.connection()?.enable_actions)?;
        if self.dry_run {
            return self.plan(app).await;
        }
        let client = app.open(Access::Write).await?;
        // A new snapshot takes nothing away, and may be what is needed most.
        client.repo.pass_over_lost_manifests();
        let writer = client.repo.writer()?;
        let sources = self.sources(app, &client.repo).await?;
        let request = |path: &Path| -> anyhow::Result<CreateRequest> {
            Ok(CreateRequest {
                source: self.source_of(&client.repo, path)?,
                input: self.input_of(app, path)?,
                description: self.description.clone(),
                tags: tags.clone(),
                pins: self.pin.clone(),
                times: (start_time, end_time),
                options: options.clone(),
                sink: Arc::new(kopia_snapshot::upload::Silent),
                stop: app.stop.clone(),
            })
        };
        let mut failures = Vec::new();
        let mut taken = Vec::new();
        let mut incomplete = false;
        for path in sources {
            if app.stop.is_cancelled() {
                break;
            }
            // A source that can't be asked for must not cost the others.
            let created = match request(&path) {
                Ok(request) => self.one(app, &writer, request).await,
                Err(error) => Err(error),
            };
            match created {
                Ok(created) => {
                    incomplete |= self.report(app, &created);
                    taken.push(created);
                }
                Err(error) => failures.push(error),
            }
            if self.flush_per_source {
                app.flush(&writer).await?;
            }
        }
        app.flush(&writer).await?;
        // A script must not take for saved what nobody can see yet.
        if self.json.json {
            let mut saved = taken.iter().filter(|created| created.saved);
            saved.try_for_each(|created| self.print_json(&created.manifest))?;
        }
        finish(failures, incomplete)
    }

    /// The paths that snapshots are wanted of.
    async fn sources(&self, app: &App, repo: &Repository) -> anyhow::Result<Vec<PathBuf>> {
        let sources = if self.all { own_sources(app, repo).await? } else { self.sources.clone() };
        if sources.is_empty() {
            bail!("no snapshot sources");
        }
        Ok(sources)
    }

    /// Says what would be done.
    async fn plan(&self, app: &App) -> anyhow::Result<Exit> {
        if !self.stdin_file.is_empty() {
            bail!("what standard input holds is not known before it is read: leave -n out");
        }
        let client = app.open(Access::Read).await?;
        let (mut failures, mut incomplete) = (Vec::new(), false);
        for path in self.sources(app, &client.repo).await? {
            let plan = async {
                let source = self.source_of(&client.repo, &path)?;
                Plan::of(app, &client.repo, &source, paths::absolute(&path)?).await
            };
            match plan.await {
                Ok(plan) => {
                    incomplete |= plan.is_incomplete();
                    match self.json.json {
                        true => self.json.print(&serde_json::to_value(&plan)?),
                        false => plan.say(app),
                    }
                }
                Err(error) => failures.push(error),
            }
        }
        finish(failures, incomplete)
    }

    /// Takes one snapshot.
    async fn one(
        &self,
        app: &App,
        writer: &RepositoryWriter,
        mut request: CreateRequest,
    ) -> anyhow::Result<Created> {
        let source = request.source.clone();
        app.info(format!("Snapshotting {source} ..."));
        let progress = Arc::new(UploadProgress::new(app.globals.progress()));
        request.sink = progress.clone();
        let counting = match &request.input {
            Input::Local(path) => {
                ahead::count(writer.repository(), &source, path.clone(), &progress)
            }
            Input::Stream { .. } => None,
        };
        let created = create::create(writer, request).await;
        drop(counting);
        progress.finish();
        if let Some(left_out) = progress.left_out() {
            app.info(left_out);
        }
        let created = created.with_context(|| format!("snapshot of {source}"))?;
        let is_by_hand = !self.stdin_file.is_empty() || !self.override_source.is_empty();
        if created.saved && is_by_hand {
            create::set_manual(writer, writer.repository(), &source).await?;
        }
        Ok(created)
    }

    /// Says what was taken; gives whether entries are missing from it.
    fn report(&self, app: &App, created: &Created) -> bool {
        let manifest = &created.manifest;
        if !created.saved {
            app.info(
                "\n Not saving snapshot because no files have been changed since previous snapshot",
            );
            return false;
        }
        if !self.json.json {
            let partial = if manifest.is_complete() { "" } else { " partial" };
            let root = manifest.root_object().map(|o| o.to_string()).unwrap_or_default();
            let took = manifest.end_time.duration_since(manifest.start_time);
            app.info(format!(
                "Created{partial} snapshot with root {root} and ID {} in {}",
                manifest.id,
                time::truncated(took)
            ));
        }
        let summary = manifest.root_entry.as_ref().and_then(|entry| entry.summary.as_ref());
        let (failed, ignored) = summary.map_or((0, 0), |s| (s.failed, s.ignored_errors));
        if ignored > 0 {
            app.warn(format!("Ignored {ignored} error(s) while snapshotting {}.", manifest.source));
        }
        if failed > 0 {
            app.warn(format!(
                "Found {failed} fatal error(s) while snapshotting {}.",
                manifest.source
            ));
        }
        failed > 0
    }

    /// Prints the manifest; without its statistics unless they are asked for, as Kopia.
    fn print_json(&self, manifest: &SnapshotManifest) -> anyhow::Result<()> {
        let mut value = serde_json::to_value(manifest)?;
        if !self.json.json_verbose
            && let serde_json::Value::Object(fields) = &mut value
        {
            fields.shift_remove("stats");
        }
        self.json.print(&value);
        Ok(())
    }

    fn options(&self, enable_actions: bool) -> anyhow::Result<UploadOptions> {
        let interval = self.checkpoint_interval.unwrap_or(CHECKPOINT_INTERVAL_MAX);
        if interval > CHECKPOINT_INTERVAL_MAX || interval.is_zero() {
            bail!("--checkpoint-interval must be more than nothing and at most 45m");
        }
        Ok(UploadOptions {
            parallel: self.parallel,
            force_hash_percent: self.force_hash,
            fail_fast: self.fail_fast,
            upload_limit: (self.upload_limit_mb > 0).then_some(self.upload_limit_mb << 20),
            checkpoint_interval: interval,
            log_dir_detail: detail(self.log_dir_detail),
            log_entry_detail: detail(self.log_entry_detail),
            actions: Actions {
                enabled: (enable_actions || self.force_enable_actions)
                    && !self.force_disable_actions,
                version: env!("CARGO_PKG_VERSION").to_owned(),
            },
        })
    }

    fn source_of(&self, repo: &Repository, path: &Path) -> anyhow::Result<Source> {
        let text = &self.override_source;
        if !text.is_empty() {
            let source = snapshot::parse_source(repo, text)?;
            if source.path.is_empty() {
                bail!("{text:?} names no path");
            }
            return Ok(source);
        }
        let path = paths::absolute(path)?;
        Ok(Source::new(repo.hostname(), repo.username(), utf8(&path)?))
    }

    fn input_of(&self, app: &App, path: &Path) -> anyhow::Result<Input> {
        match self.stdin_file.as_str() {
            name if !name.is_empty() => {
                let root = utf8(&paths::absolute(path)?)?.to_owned();
                Ok(Input::Stream { root, name: name.to_owned(), pieces: read_stdin() })
            }
            _ => {
                let path = paths::absolute(path)?;
                if fs_err::symlink_metadata(&path).is_ok_and(|meta| meta.is_symlink())
                    && let Ok(real) = fs_err::canonicalize(&path)
                {
                    app.info(format!("{} resolved to {}", path.display(), real.display()));
                }
                Ok(Input::Local(path))
            }
        }
    }
}

/// A detail that was given; Kopia takes every other number.
fn detail(level: i64) -> Option<i64> {
    (level != -1).then_some(level)
}

fn utf8(path: &Path) -> anyhow::Result<&str> {
    path.to_str()
        .with_context(|| format!("{} is not UTF-8, which a source must be", path.display()))
}

/// A time that was given; an empty one was not.
fn exact(text: &str) -> anyhow::Result<Option<GoTime>> {
    if text.is_empty() {
        return Ok(None);
    }
    times::exact(text, &TimeZone::system()).map(Some)
}

/// Reads standard input piece by piece.
fn read_stdin() -> mpsc::Receiver<Result<Bytes, String>> {
    let (send, receive) = mpsc::channel(2);
    tokio::spawn(async move {
        let mut stdin = tokio::io::stdin();
        loop {
            let mut piece = bytes::BytesMut::with_capacity(1 << 20);
            let read = stdin.read_buf(&mut piece).await;
            // The empty piece says that this is the end, and not a reader that went away.
            let last = !matches!(read, Ok(1..));
            let piece = match read {
                Ok(_) => Ok(piece.freeze()),
                Err(error) => Err(format!("read /dev/stdin: {error}")),
            };
            if send.send(piece).await.is_err() || last {
                return;
            }
        }
    });
    receive
}

/// The sources that this user on this machine has snapshots of, but for those that are only
/// snapshotted by hand.
async fn own_sources(app: &App, repo: &Repository) -> anyhow::Result<Vec<PathBuf>> {
    let labels = [("hostname", repo.hostname()), ("username", repo.username())];
    let mut sources: Vec<_> =
        manifests::find(repo, &labels).await?.into_iter().map(|m| m.source).collect();
    sources.sort();
    sources.dedup();
    let mut own = Vec::new();
    for source in sources {
        if policies::effective(repo, &source).await?.policy.scheduling.manual {
            app.info(format!("Skipping {source}: its policy says manual."));
        } else {
            own.push(PathBuf::from(source.path));
        }
    }
    Ok(own)
}

fn finish(mut failures: Vec<anyhow::Error>, incomplete: bool) -> anyhow::Result<Exit> {
    match failures.len() {
        0 if incomplete => Ok(Exit::Incomplete),
        0 => Ok(Exit::Done),
        1 => Err(failures.remove(0)),
        count => {
            let all: Vec<_> = failures.iter().map(|error| format!("{error:#}")).collect();
            bail!("encountered {count} errors:\n{}", all.join("\n"))
        }
    }
}
