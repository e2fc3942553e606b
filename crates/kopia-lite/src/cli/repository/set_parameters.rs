//! `repository set-parameters`: what the format blobs say for all clients. Texts are Kopia's.

use std::time::Duration;

use anyhow::bail;
use clap::Args;
use kopia_format::{
    blobcfg::BlobConfig,
    format_blob::{EpochParameters, RepositoryFormat},
    time::duration_text,
};
use kopia_maintenance::{Status, check_lock_period};

use super::flags::duration;
use crate::{
    cli::{App, app::Access},
    exit::Exit,
    ui::size,
};

/// Change parameters of the repository, for all its clients.
#[derive(Debug, Args)]
pub struct SetParameters {
    /// Largest pack, in MiB: 10 to 120.
    #[arg(long, value_name = "MB")]
    max_pack_size_mb: Option<u32>,
    /// Version of new indexes; only upwards.
    #[arg(long, value_name = "VERSION")]
    index_version: Option<u32>,
    /// Object lock of new blobs.
    #[arg(long, value_name = "MODE", value_parser = ["none", "GOVERNANCE", "COMPLIANCE"])]
    retention_mode: Option<String>,
    /// How long new blobs are locked.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    retention_period: Option<Duration>,
    /// How long a client may rely on its last listing of index blobs.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    epoch_refresh_frequency: Option<Duration>,
    /// Shortest time that an epoch lasts.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    epoch_min_duration: Option<Duration>,
    /// Age of a merged index blob before what it replaces is deleted.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    epoch_cleanup_safety_margin: Option<Duration>,
    /// An epoch ends early when it has so many index blobs.
    #[arg(long, value_name = "N")]
    epoch_advance_on_count: Option<u32>,
    /// An epoch ends early when its index blobs have so many MiB.
    #[arg(long, value_name = "MB")]
    epoch_advance_on_size_mb: Option<u32>,
    /// Blobs deleted at once.
    #[arg(long, value_name = "N")]
    epoch_delete_parallelism: Option<u32>,
    /// Epochs that one merged range covers.
    #[arg(long, value_name = "N")]
    epoch_checkpoint_frequency: Option<u32>,
    /// Move to the newest format.
    #[arg(long, hide = true)]
    upgrade: bool,
    /// Only say what would change.
    #[arg(short = 'n', long)]
    dry_run: bool,
}

impl SetParameters {
    pub(super) async fn run(self, app: &App) -> anyhow::Result<Exit> {
        if self.upgrade {
            bail!("kopia-lite upgrades no repositories; Kopia does: kopia repository upgrade");
        }
        let client = app.open(Access::Write).await?;
        let repo = &client.repo;
        // What was kept on this machine may be a quarter of an hour old, and would undo what others
        // have changed since.
        repo.refresh().await?;
        let mut format = RepositoryFormat::clone(&repo.format());
        let mut config = BlobConfig::clone(&repo.blob_config());
        let (before_format, before_config) = (format.clone(), config.clone());
        self.change(app, &mut format, &mut config)?;
        if (&format, &config) == (&before_format, &before_config) {
            app.info("no changes");
            return Ok(Exit::Done);
        }
        format.check_parameters()?;
        config.check()?;
        check_lock_period(&Status::read(repo).await?.parameters, &config)?;
        if !self.dry_run {
            repo.set_parameters(|now, now_config| (*now, *now_config) = (format, config)).await?;
            app.info(
                "NOTE: Repository parameters updated, you must disconnect and re-connect all other \
                 Kopia clients.",
            );
        }
        Ok(Exit::Done)
    }

    /// Changes what was asked for, and says so.
    fn change(
        &self,
        app: &App,
        format: &mut RepositoryFormat,
        config: &mut BlobConfig,
    ) -> anyhow::Result<()> {
        let say = |what: &str, value: &str| app.info(format!(" - setting {what} to {value}.\n"));
        if let Some(mib) = self.max_pack_size_mb.filter(|mib| *mib > 0) {
            let bytes = u64::from(mib) << 20;
            say("maximum pack size", &size::bytes(bytes));
            format.max_pack_size = u32::try_from(bytes).unwrap_or(u32::MAX);
        }
        match self.index_version.filter(|version| *version > 0) {
            Some(version) if version < format.index_version => {
                bail!("index format version can only be upgraded")
            }
            Some(version) if version > format.index_version => {
                say("index format version", &version.to_string());
                format.index_version = version;
            }
            _ => {}
        }
        self.change_retention(app, config);
        self.change_epochs(&mut format.epoch, say);
        Ok(())
    }

    fn change_retention(&self, app: &App, config: &mut BlobConfig) {
        if self.retention_mode.as_deref() == Some("none") {
            if config.is_retention_enabled() {
                app.info("disabling blob retention");
            }
            (config.retention_mode, config.retention_period) = (None, Duration::ZERO);
            return;
        }
        let what = "storage backend blob retention";
        if let Some(mode) = &self.retention_mode {
            app.info(format!(" - setting {what} mode to {mode}.\n"));
            config.retention_mode = Some(mode.clone());
        }
        if let Some(period) = self.retention_period.filter(|period| !period.is_zero()) {
            app.info(format!(" - setting {what} period to {}.\n", go(period)));
            config.retention_period = period;
        }
    }

    fn change_epochs(&self, epoch: &mut EpochParameters, say: impl Fn(&str, &str)) {
        let spans = [
            (self.epoch_min_duration, "minimum epoch duration", &mut epoch.min_epoch_duration),
            (self.epoch_refresh_frequency, "epoch refresh frequency", &mut epoch.refresh_frequency),
            (
                self.epoch_cleanup_safety_margin,
                "epoch cleanup safety margin",
                &mut epoch.cleanup_safety_margin,
            ),
        ];
        for (given, what, field) in spans {
            if let Some(given) = given.filter(|span| !span.is_zero()) {
                say(what, &go(given));
                *field = given;
            }
        }
        if let Some(count) = self.epoch_advance_on_count.filter(|count| *count > 0) {
            say("epoch advance on count", &count.to_string());
            epoch.advance_on_count = count;
        }
        if let Some(mib) = self.epoch_advance_on_size_mb.filter(|mib| *mib > 0) {
            epoch.advance_on_size = u64::from(mib) << 20;
            say("epoch advance on total size", &size::bytes(epoch.advance_on_size));
        }
        let numbers = [
            (
                self.epoch_delete_parallelism,
                "epoch delete parallelism",
                &mut epoch.delete_parallelism,
            ),
            (
                self.epoch_checkpoint_frequency,
                "epoch range-compaction period",
                &mut epoch.full_checkpoint_frequency,
            ),
        ];
        for (given, what, field) in numbers {
            if let Some(given) = given.filter(|number| *number > 0) {
                say(what, &given.to_string());
                *field = given;
            }
        }
    }
}

/// As Go prints it.
fn go(span: Duration) -> String {
    duration_text(i64::try_from(span.as_nanos()).unwrap_or(i64::MAX))
}
