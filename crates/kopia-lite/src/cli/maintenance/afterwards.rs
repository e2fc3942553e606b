//! What comes after a command: maintenance that is due, and a line if it is overdue.
//!
//! As in Kopia, ordinary commands that write do maintenance when it is due and theirs; what is
//! somebody else's task is no error. Kopia says nothing then, and where the owner is gone nobody
//! ever maintains the repository: here every command says so.

use anyhow::Context;
use kopia_maintenance::{
    MaintenanceError, MaintenanceLock, Overdue, Status, Which, safety::Margins,
};

use kopia_repo::Cache;

use super::{
    super::{
        App,
        repository::check::{INDEX_BLOBS_MANY, many_indexes},
    },
    run, who,
};
use crate::{
    compose::Client,
    exit::Exit,
    jobs::{self, kept_schedule::KeptSchedule},
};

/// After a command that went well; `writes` says whether it is one that writes snapshots or
/// policies.
///
/// # Errors
/// Maintenance was due and failed.
pub async fn afterwards(app: &App, writes: bool) -> anyhow::Result<Exit> {
    let Some(client) = app.opened() else { return Ok(Exit::Done) };
    let (repo, now) = (&client.repo, app.now());
    let index_blobs = repo.index_as_read().blobs().count();
    if index_blobs >= INDEX_BLOBS_MANY {
        app.warn(many_indexes(index_blobs));
    }
    let place = |cache: &Cache| KeptSchedule::new(&cache.folder(), &repo.storage().info().name);
    let kept = repo.cache().map(place);
    let mut known = kept.as_ref().and_then(|kept| kept.read(now));
    // What only says what would be done has written nothing.
    let may_run = writes && app.writes() && app.globals.auto_maintenance && !repo.is_read_only();
    let is_due = !known.as_ref().is_some_and(|known| known.is_not_due(now, &who(repo)));
    if may_run && is_due && app.interrupted().is_none() {
        run_if_due(app, &client).await.context("running auto-maintenance")?;
        known = None;
    }
    if known.is_some_and(|known| known.is_not_overdue(now)) {
        return Ok(Exit::Done);
    }
    match Status::read(repo).await {
        Ok(status) => {
            if let Some(kept) = kept {
                kept.store(now, &status);
            }
            if let Some(overdue) = status.overdue(now) {
                app.warn(line(app, &overdue, &who(repo)));
            }
        }
        // What can't be told here is told by `maintenance info`.
        Err(error) => tracing::debug!(%error, "whether maintenance is overdue is not known"),
    }
    Ok(Exit::Done)
}

async fn run_if_due(app: &App, client: &Client) -> anyhow::Result<()> {
    let table = cold_storage::PriceTable::built_in();
    let options = jobs::maintenance::options(&client.repo, Margins::FULL, table).await?;
    let lock = Some(MaintenanceLock::path_of(&app.config_file));
    let options = kopia_maintenance::Options { lock, ..options };
    match run::run(app, client, &options, Which::Due).await {
        Ok(report) => run::outcome(&report).map(|_| ()),
        Err(MaintenanceError::NotOwner { .. } | MaintenanceError::Busy { .. }) => Ok(()),
        Err(error) => Err(run::failure(error)),
    }
}

/// Since when nothing was maintained, whose task that is, and how to take it over.
pub(in crate::cli) fn line(app: &App, overdue: &Overdue, who: &str) -> String {
    let kind = if overdue.is_full { "full" } else { "quick" };
    let since = app.zone.format(overdue.since);
    let flag = if overdue.is_full { " --full" } else { "" };
    match overdue.owner.as_str() {
        "" => format!(
            "{kind} maintenance is overdue since {since}, and is nobody's task: \
             kopia-lite maintenance set --owner=me"
        ),
        owner if owner == who => {
            format!("{kind} maintenance is overdue since {since}: kopia-lite maintenance run{flag}")
        }
        owner => format!(
            "{kind} maintenance is overdue since {since}; it is the task of {owner}. To take it over: \
             kopia-lite maintenance set --owner=me"
        ),
    }
}
