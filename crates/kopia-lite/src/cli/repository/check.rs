//! `repository check`: is everything as it should be? By reading, and little of it.

mod rights;

use std::time::Duration;

use blob_core::BlobMeta;
use clap::Args;
use cold_storage::lifecycle::Level;
use futures::TryStreamExt;
use kopia_maintenance::Status;
use serde::Serialize;
use serde_json::json;

use crate::{
    cli::{App, app::Access, lifecycle::bucket::Bucket, maintenance},
    compose::Client,
    exit::Exit,
    ui::{json::JsonFlags, size, text},
};

/// So many index blobs mean that nobody merges them: an epoch has some twenty, and three of them are
/// read one by one.
pub const INDEX_BLOBS_MANY: usize = 1000;
/// A blob may be so much newer than this machine's clock.
const SKEW_MAX: Duration = Duration::from_secs(5 * 60);

/// Look at connection, rights, clock, indexes, maintenance, storage classes and lifecycle rules; write
/// nothing.
#[derive(Debug, Args)]
pub struct Check {
    #[command(flatten)]
    json: JsonFlags,
}

/// How a thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    Warning,
    Error,
    Skipped,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Checked {
    check: &'static str,
    state: State,
    message: String,
}

/// What a listing of all blobs tells.
#[derive(Default)]
struct Blobs {
    count: u64,
    bytes: u64,
    cold_packs: u64,
    cold_bytes: u64,
    /// An archived blob that no client may find archived.
    wrongly_cold: Option<BlobMeta>,
    newest: Option<BlobMeta>,
}

impl Check {
    pub(super) async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let client = app.open(Access::Verify).await?;
        let blobs = list(&client).await?;
        let mut all = vec![connection(&client)];
        all.extend(rights::rights(app, &client, blobs.cold_packs > 0).await?);
        all.push(clock(app, &blobs));
        all.push(indexes(&client).await);
        all.push(overdue(app, &client).await);
        all.push(classes(&blobs));
        all.push(storage_config(&client));
        all.push(lifecycle(app, &client).await);
        all.push(lock(&client));
        if self.json.json {
            self.json.print(&json!({"checks": all}));
        } else {
            for it in &all {
                let word = match it.state {
                    State::Ok => "ok     ",
                    State::Warning => "WARNING",
                    State::Error => "ERROR  ",
                    State::Skipped => "-      ",
                };
                text::line(format!("{word} {:14} {}", it.check, it.message));
            }
        }
        Ok(match all.iter().any(|it| it.state == State::Error) {
            true => Exit::Failed,
            false => Exit::Done,
        })
    }
}

async fn list(client: &Client) -> anyhow::Result<Blobs> {
    let mut blobs = Blobs::default();
    let mut listing = client.repo.storage().list("");
    while let Some(meta) = listing.try_next().await? {
        blobs.count += 1;
        blobs.bytes += meta.size;
        if meta.is_cold() {
            match meta.id.starts_with("p") {
                true => {
                    blobs.cold_packs += 1;
                    blobs.cold_bytes += meta.size;
                }
                false => blobs.wrongly_cold = Some(meta.clone()),
            }
        }
        if blobs.newest.as_ref().is_none_or(|newest| newest.modified < meta.modified) {
            blobs.newest = Some(meta);
        }
    }
    Ok(blobs)
}

fn checked(check: &'static str, state: State, message: impl Into<String>) -> Checked {
    Checked { check, state, message: message.into() }
}

fn connection(client: &Client) -> Checked {
    let (storage, format) = (client.repo.storage().info(), client.repo.format());
    let mode = if client.repo.is_read_only() { ", read-only" } else { "" };
    let version = format.version;
    checked("connection", State::Ok, format!("{}, format {version}{mode}", storage.name))
}

fn clock(app: &App, blobs: &Blobs) -> Checked {
    let Some(newest) = &blobs.newest else {
        return checked("clock", State::Skipped, "there is no blob to compare it with");
    };
    let ahead = newest.modified.since(app.now());
    match ahead > SKEW_MAX {
        true => checked(
            "clock",
            State::Error,
            format!(
                "blob {} is {} s newer than this machine's clock; set it: maintenance and locks go \
                 by it",
                newest.id,
                ahead.as_secs()
            ),
        ),
        false => checked("clock", State::Ok, "no blob is newer than this machine's clock"),
    }
}

async fn indexes(client: &Client) -> Checked {
    let first = client.repo.index_as_read().damaged().first().map(|damaged| damaged.error());
    if let Some(error) = first {
        return checked("indexes", State::Error, error.to_string());
    }
    match client.repo.index_blobs().await {
        Ok(blobs) if blobs.len() >= INDEX_BLOBS_MANY => {
            checked("indexes", State::Warning, many_indexes(blobs.len()))
        }
        Ok(blobs) => checked("indexes", State::Ok, format!("{} index blobs", blobs.len())),
        Err(error) => checked("indexes", State::Error, error.to_string()),
    }
}

/// What is said of too many index blobs.
pub fn many_indexes(count: usize) -> String {
    format!(
        "the index lies in {count} blobs, which maintenance has not merged: kopia-lite maintenance \
         info says whose task that is"
    )
}

async fn overdue(app: &App, client: &Client) -> Checked {
    let who = format!("{}@{}", client.repo.username(), client.repo.hostname());
    match Status::read(&client.repo).await {
        Err(error) => checked("maintenance", State::Error, error.to_string()),
        Ok(status) => match status.overdue(app.now()) {
            Some(overdue) => checked(
                "maintenance",
                State::Warning,
                maintenance::overdue_line(app, &overdue, &who),
            ),
            None => {
                let owner = &status.parameters.owner;
                checked("maintenance", State::Ok, format!("not overdue; the task of {owner}"))
            }
        },
    }
}

fn classes(blobs: &Blobs) -> Checked {
    if let Some(blob) = &blobs.wrongly_cold {
        let message = format!(
            "blob {} is archived, and only packs of data may be: thaw it and move it back with \
             kopia-lite storage-config apply",
            blob.id
        );
        return checked("archived", State::Error, message);
    }
    let all = format!("{} blobs ({})", blobs.count, size::bytes(blobs.bytes));
    let message = match blobs.cold_packs {
        0 => format!("nothing of {all}"),
        count => format!("{count} packs ({}) of {all}", size::bytes(blobs.cold_bytes)),
    };
    checked("archived", State::Ok, message)
}

fn storage_config(client: &Client) -> Checked {
    let Some(loaded) = &client.storage_config else {
        return checked("storage-config", State::Skipped, "this storage has no storage classes");
    };
    let warnings = client.storage_warnings();
    match (warnings.is_empty(), &loaded.text) {
        (false, _) => checked("storage-config", State::Warning, warnings.join("; ")),
        (true, None) => checked("storage-config", State::Ok, "none: every blob goes to STANDARD"),
        (true, Some(_)) => checked("storage-config", State::Ok, "nothing wrong with it"),
    }
}

async fn lifecycle(app: &App, client: &Client) -> Checked {
    if client.bucket.is_none() {
        return checked("lifecycle", State::Skipped, "this storage has no lifecycle rules");
    }
    let bucket = match Bucket::open(app).await {
        Ok(bucket) => bucket,
        // A right that nothing else needs.
        Err(error) => return checked("lifecycle", State::Skipped, format!("{error:#}")),
    };
    let found = bucket.check(&bucket.document);
    let found: Vec<_> = found.iter().filter(|finding| finding.level != Level::Note).collect();
    let all: Vec<_> = found.iter().map(|finding| finding.message.as_str()).collect();
    match (found.is_empty(), found.iter().any(|finding| finding.level == Level::Error)) {
        (true, _) => checked("lifecycle", State::Ok, "no rule hurts the repository"),
        (false, true) => checked("lifecycle", State::Error, all.join("; ")),
        (false, false) => checked("lifecycle", State::Warning, all.join("; ")),
    }
}

fn lock(client: &Client) -> Checked {
    match super::lock_text(&client.repo.blob_config()) {
        Some(flags) => checked("object-lock", State::Ok, flags),
        None => checked("object-lock", State::Ok, "none"),
    }
}
