//! `repository sync-to`: a copy of the repository's blobs in another storage, whose own
//! `.storageconfig` decides the storage classes there. Texts are Kopia's.

use std::{
    ffi::OsString,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use anyhow::{Context, anyhow};
use blob_core::DynStorage;
use clap::{Args, Subcommand};
use kopia_repo::sync::{Listed, SyncBlob, SyncEvent, SyncOptions, SyncPlan, bytes_of};
use serde_json::{Value, json};

use super::{
    connect::{Named, not_built},
    flags::FilesystemFlags,
    from_config::FromConfig,
    s3_flags::S3Flags,
};
use crate::{
    cli::{App, app::Access},
    compose::{ClientBuilder, ClientOptions, storage_limits},
    exit::{Exit, Failure},
    ui::{
        json::JsonFlags,
        progress::{Progress, Step},
        size,
    },
};

/// Copy the repository's blobs to another storage.
#[derive(Debug, Args)]
pub struct SyncTo {
    /// Copy blobs that both have, where the source's is newer.
    #[arg(long, global = true, default_value_t = true, action = clap::ArgAction::Set)]
    update: bool,
    /// Delete blobs that only the destination has.
    #[arg(long, global = true)]
    delete: bool,
    /// Only say what would be copied and deleted.
    #[arg(short = 'n', long, global = true)]
    dry_run: bool,
    /// Blobs copied at once.
    #[arg(long, global = true, value_name = "N", default_value_t = 8)]
    parallel: usize,
    /// Fail if there is no repository at the destination.
    #[arg(long, global = true)]
    must_exist: bool,
    /// Keep the times of blobs, where the destination can do that.
    #[arg(long, global = true)]
    times: bool,
    // Not flattened: these stand on the command above its providers.
    /// Print the result as JSON on stdout.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    provider: Provider,
}

#[derive(Debug, Subcommand)]
enum Provider {
    /// In a bucket on S3.
    #[command(mut_arg("bucket", |bucket| bucket.required(true)))]
    S3(Box<S3Flags>),
    /// In a folder.
    Filesystem(FilesystemFlags),
    /// Where another connection file says, or a token.
    FromConfig(FromConfig),
    #[command(external_subcommand)]
    Other(Vec<OsString>),
}

impl SyncTo {
    pub(super) async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let destination = self.destination(app).await?;
        // A damaged blob must not take the place of a whole one.
        let client = app.open(Access::Whole).await?;
        let source = client.repo.storage();
        let options = SyncOptions {
            update: self.update,
            delete: self.delete,
            must_exist: self.must_exist,
            times: self.times,
            parallel: self.parallel,
            memory_bytes_max: app.globals.memory_limit,
        };
        app.info("Synchronizing repositories:");
        app.info(format!("  Source:      {}", source.info().name));
        app.info(format!("  Destination: {}", destination.info().name));
        if !self.delete {
            app.info("NOTE: By default no BLOBs are deleted, pass --delete to allow it.");
        }
        app.info("Looking for BLOBs to synchronize...");
        let plan = self.plan(app, [source, &destination], &options).await?;
        self.show(app, &plan);
        if !plan.archived.is_empty() {
            return Err(archived(&plan).into());
        }
        let mut copied = (0, 0);
        if !self.dry_run {
            app.info("Copying...");
            copied = carry_out(app, &plan, [source, &destination], &options).await?;
        }
        if self.json {
            JSON.print(&self.result(&plan, copied));
        }
        Ok(Exit::Done)
    }

    /// The destination with its layers: limits, retries, and its own rules for storage classes.
    async fn destination(&self, app: &App) -> anyhow::Result<DynStorage> {
        let opened = match &self.provider {
            Provider::S3(flags) => flags.options().and_then(Named::s3),
            Provider::Filesystem(flags) => Named::folder(flags.options()?).await,
            Provider::FromConfig(from) => from.open().await,
            Provider::Other(words) => return Err(not_built(words)),
        };
        let named = opened.context("can't connect to storage")?;
        let limits = app.globals.limited(storage_limits(&named.connection)?);
        let options = ClientOptions { limits, ..ClientOptions::default() };
        let stack = ClientBuilder::over(named.backend).options(options).stack().await;
        Ok(stack.context("can't connect to storage")?.full)
    }

    async fn plan(
        &self,
        app: &App,
        [source, destination]: [&DynStorage; 2],
        options: &SyncOptions,
    ) -> anyhow::Result<SyncPlan> {
        let progress = Progress::new(app.globals.progress(), "list");
        let tell = |what, found: kopia_repo::sync::Counted| {
            progress.show(|| {
                let place = match what {
                    Listed::Source => "source",
                    Listed::Destination => "destination",
                };
                let bytes = size::bytes(found.bytes);
                let line =
                    format!("  Found {} BLOBs in the {place} repository ({bytes})", found.count);
                let (files, bytes) = (Some(found.count), Some(found.bytes));
                Step { line, files, bytes, ..Step::default() }
            });
        };
        let plan = app
            .unless_stopped(async { Ok(SyncPlan::new(source, destination, options, tell).await?) });
        let plan = plan.await;
        progress.finish();
        plan
    }

    fn show(&self, app: &App, plan: &SyncPlan) {
        let copies = plan.copies.iter().chain(&plan.archived);
        app.info(format!(
            "  Found {} BLOBs ({}) in the source repository, {} ({}) to copy",
            plan.source.count,
            size::bytes(plan.source.bytes),
            plan.copies.len() + plan.archived.len(),
            size::bytes(copies.map(|blob| blob.size).sum()),
        ));
        app.info(format!(
            "  Found {} BLOBs to delete ({}), {} in sync ({})",
            plan.deletes.len(),
            size::bytes(bytes_of(&plan.deletes)),
            plan.in_sync.count,
            size::bytes(plan.in_sync.bytes),
        ));
    }

    fn result(&self, plan: &SyncPlan, (copied, deleted): (u64, u64)) -> Value {
        let counted = |blobs: &[SyncBlob]| json!({"count": blobs.len(), "bytes": bytes_of(blobs)});
        json!({
            "source": {"count": plan.source.count, "bytes": plan.source.bytes},
            "inSync": {"count": plan.in_sync.count, "bytes": plan.in_sync.bytes},
            "toCopy": counted(&plan.copies),
            "toDelete": counted(&plan.deletes),
            "copied": copied,
            "deleted": deleted,
            "dryRun": self.dry_run,
        })
    }
}

/// How results are printed where `--json` is a flag of the command's own.
const JSON: JsonFlags = JsonFlags { json: true, json_indent: false, json_verbose: false };

/// Copies and deletes; gives how many blobs of each.
async fn carry_out(
    app: &App,
    plan: &SyncPlan,
    storages: [&DynStorage; 2],
    options: &SyncOptions,
) -> anyhow::Result<(u64, u64)> {
    let progress = Progress::new(app.globals.progress(), "copy");
    let (total, all) = (bytes_of(&plan.copies), plan.copies.len());
    let [copied, bytes, deleted] = [const { AtomicU64::new(0) }; 3];
    let tell = |event: SyncEvent<'_>| match event {
        SyncEvent::Copied(blob) => {
            let count = copied.fetch_add(1, Relaxed) + 1;
            let done = bytes.fetch_add(blob.size, Relaxed) + blob.size;
            progress.show(|| {
                let (rate, shown) = (progress.rate(done), size::bytes(done));
                let of = size::bytes(total);
                Step {
                    line: format!("  Copied {count} of {all} blobs ({shown} of {of}), {rate}"),
                    files: Some(count),
                    files_total: Some(all as u64),
                    bytes: Some(done),
                    bytes_total: Some(total),
                    errors: None,
                }
            });
        }
        SyncEvent::Deleted(_) => _ = deleted.fetch_add(1, Relaxed),
        SyncEvent::Gone(blob) => progress.say(&format!("ignoring BLOB not found: {}", blob.id)),
        SyncEvent::TimesRefused => {
            app.warn("destination repository does not support preserving modification times");
        }
    };
    let done = plan.carry_out(storages, options, &tell, app.stop.cancelled()).await;
    progress.finish();
    let (count, gone) = (copied.load(Relaxed), deleted.load(Relaxed));
    match done {
        Ok(()) => {}
        Err(kopia_repo::sync::SyncError::Stopped { .. }) => {
            let exit = app.interrupted().unwrap_or(Exit::Interrupted);
            let message = format!("stopped after {count} of {all} blobs; the same command goes on");
            return Err(Failure::new(exit, message).into());
        }
        Err(error) => return Err(anyhow!(error).context("error copying blobs")),
    }
    let shown = size::bytes(bytes.load(Relaxed));
    app.info(format!("  Copied {count} blobs ({shown}), deleted {gone}."));
    Ok((count, gone))
}

/// Blobs that are to be copied can't be read.
fn archived(plan: &SyncPlan) -> Failure {
    let (count, of) = (plan.archived.len(), plan.archived.len() + plan.copies.len());
    let bytes = size::bytes(bytes_of(&plan.archived));
    let first = &plan.archived[0].id;
    let ids: Vec<_> = plan.archived.iter().map(|blob| blob.id.as_str()).collect();
    let message = format!(
        "{count} of {of} blobs to copy ({bytes}) are archived, {first} first; nothing was written. \
         Have them thawed, and copy then: kopia-lite blob list --archived --prefix=p, \
         kopia-lite thaw start --blobs=FILE"
    );
    Failure::new(Exit::Archived, message).with_details(json!({"archived": ids}))
}
