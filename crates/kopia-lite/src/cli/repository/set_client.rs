//! `repository set-client`: what the connection file says of this client. Texts are Kopia's.

use std::time::Duration;

use clap::Args;
use kopia_format::time::duration_text;

use super::flags::duration;
use crate::{
    cli::App,
    connect::config,
    exit::{Exit, Failure},
};

/// Change how this client uses the repository.
#[derive(Debug, Args)]
pub struct SetClient {
    /// Refuse to change the repository.
    #[arg(long, conflicts_with = "read_write")]
    read_only: bool,
    /// Allow to change the repository.
    #[arg(long)]
    read_write: bool,
    /// Taken for Kopia's sake: it passes over index blobs that it can't read.
    #[arg(long, hide = true)]
    permissive_cache_loading: bool,
    /// Words about the repository.
    #[arg(long)]
    description: Option<String>,
    /// User name of snapshots taken with this connection.
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    /// Host name of snapshots taken with this connection.
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,
    /// How long the format blobs may be kept in memory; 15 minutes at most.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    repository_format_cache_duration: Option<Duration>,
    /// Read the format blobs anew at every start.
    #[arg(long)]
    disable_repository_format_cache: bool,
    /// Only say what would change.
    #[arg(short = 'n', long)]
    dry_run: bool,
}

impl SetClient {
    pub(super) fn run(self, app: &App) -> anyhow::Result<Exit> {
        let mut connection = app.connection()?;
        // What is said again is a change, as with Kopia; a mode that is there already is none.
        let mut is_changed = false;
        let asked = [(self.read_only, true, "read-only"), (self.read_write, false, "read-write")];
        for (_, readonly, mode) in asked.into_iter().filter(|(asked, ..)| *asked) {
            match connection.readonly == readonly {
                true => app.info(format!("Repository is already in {mode} mode.")),
                false => {
                    app.info(format!("Setting repository to {mode} mode."));
                    (connection.readonly, is_changed) = (readonly, true);
                }
            }
        }
        if self.permissive_cache_loading {
            app.info("Setting to load indices into cache permissively.");
            (connection.permissive_cache_loading, is_changed) = (true, true);
        }
        let texts = [
            (self.description, "description", &mut connection.description),
            (self.username, "local username", &mut connection.username),
            (self.hostname, "local hostname", &mut connection.hostname),
        ];
        for (given, what, field) in texts {
            let Some(given) = given else { continue };
            app.info(format!("Setting {what} to {given}"));
            (*field, is_changed) = (given, true);
        }
        if let Some(span) = self.repository_format_cache_duration {
            let nanos = i64::try_from(span.as_nanos()).unwrap_or(i64::MAX);
            app.info(format!("Setting format blob cache duration to {}", duration_text(nanos)));
            (connection.format_blob_cache_duration, is_changed) = (nanos, true);
        }
        if self.disable_repository_format_cache {
            app.info("Disabling format blob cache");
            (connection.format_blob_cache_duration, is_changed) = (-1, true);
        }
        if !is_changed {
            return Err(Failure::new(Exit::Failed, "no changes").into());
        }
        if !self.dry_run {
            config::save(&app.config_file, &connection)?;
        }
        Ok(Exit::Done)
    }
}
