//! `repository validate-provider`: does the storage do what clients rely on? Texts are Kopia's.

use std::time::Duration;

use anyhow::Context;
use blob_core::DynStorage;
use clap::Args;

use super::flags::duration;
use crate::{
    cli::{App, app::Access},
    compose::{ClientBuilder, ClientOptions},
    connect::{backends, config},
    exit::Exit,
    jobs::validate_provider::{Options, validate},
};

/// See whether the storage does what clients rely on: writes, reads and deletes blobs of its own.
#[derive(Debug, Args)]
pub struct ValidateProvider {
    /// Connections at once.
    #[arg(long, value_name = "N", default_value_t = 5)]
    num_storage_connections: usize,
    /// How long many work at once.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    concurrency_test_duration: Duration,
    /// Who write blobs at once.
    #[arg(long, value_name = "N", default_value_t = 3)]
    put_blob_workers: usize,
    /// Who read blobs at once.
    #[arg(long, value_name = "N", default_value_t = 3)]
    get_blob_workers: usize,
    /// Who ask for lengths and times at once.
    #[arg(long, value_name = "N", default_value_t = 3)]
    get_metadata_workers: usize,
    /// Only say what would be tried.
    #[arg(short = 'n', long)]
    dry_run: bool,
}

impl ValidateProvider {
    pub(super) async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let connection = app.connection()?;
        let client = app.open(if self.dry_run { Access::Read } else { Access::Write }).await?;
        let name = &client.repo.storage().info().name;
        if self.dry_run {
            app.info(format!("Would write, read and delete blobs of {name}, all named z…"));
            return Ok(Exit::Done);
        }
        // Kopia's own escape, for storages that are known and slow.
        if std::env::var_os("KOPIA_SKIP_PROVIDER_VALIDATION").is_some_and(|set| !set.is_empty()) {
            return Ok(Exit::Done);
        }
        let more = self.num_storage_connections.max(1) - 1;
        app.info(format!("Opening {more} equivalent storage connections..."));
        let mut storages: Vec<DynStorage> = vec![client.repo.storage().clone()];
        for _ in 0..more {
            let storage = config::storage_of(&connection, &app.config_file)?;
            let options = ClientOptions::of_connection(&connection, &app.config_file)?;
            let builder = ClientBuilder::over(backends::open(storage).await?).options(options);
            storages.push(builder.stack().await.context("unable to open storage connection")?.full);
        }
        let options = Options {
            duration: self.concurrency_test_duration,
            put_workers: self.put_blob_workers,
            get_workers: self.get_blob_workers,
            head_workers: self.get_metadata_workers,
        };
        let tell = |stage: &str| app.info(stage);
        let tried = validate(&storages, &options, &tell, app.stop.cancelled()).await;
        tried.context("provider validation error")?;
        Ok(Exit::Done)
    }
}
