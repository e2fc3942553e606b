//! What the keys may do: asked so that nothing is written, deleted or thawed.

use blob_core::{BlobError, BlobId, Entropy, OsEntropy, PutAttributes, PutPolicy};
use kopia_format::local_config::StorageConnection;
use rustix::fs::Access as Permission;
use s3_backend::S3Storage;

use super::{Checked, State, checked};
use crate::{
    cli::{App, lifecycle::bucket::patiently},
    compose::Client,
    connect::config,
};

/// Looks at every right that a client needs; that to thaw only where something is archived.
pub(super) async fn rights(app: &App, client: &Client, archived: bool) -> Vec<Checked> {
    let Some(bucket) = &client.bucket else { return folder(app, client) };
    let free = free_name();
    let attributes = match &client.storage_config {
        Some(loaded) => loaded.config.attributes(&free, 1),
        None => PutAttributes::default(),
    };
    let mut all = Vec::new();
    if client.repo.is_read_only() {
        all.extend(["put", "delete"].map(not_asked));
    } else {
        let put = patiently(async || bucket.may_put(&free, &attributes).await).await;
        all.push(told("put", put, State::Error));
        // A key that may not delete is one that nobody can destroy the repository with.
        let delete = patiently(async || bucket.may_delete(&free).await).await;
        all.push(told("delete", delete, State::Warning));
    }
    all.push(match archived {
        true => {
            told("thaw", patiently(async || bucket.may_thaw(&free).await).await, State::Warning)
        }
        false => checked("thaw", State::Skipped, "not asked: no pack is archived"),
    });
    all.push(versions(bucket).await);
    all
}

/// The name of a pack that there is not: rights may be given for packs alone.
fn free_name() -> BlobId {
    let mut random = [0; 16];
    OsEntropy.fill(&mut random);
    BlobId::new(format!("p{}-check", hex::encode(random))).expect("the name is valid")
}

fn not_asked(right: &'static str) -> Checked {
    checked(right, State::Skipped, "not asked: the connection is read-only")
}

fn told(right: &'static str, answer: Result<(), BlobError>, denied: State) -> Checked {
    match answer {
        Ok(()) => checked(right, State::Ok, "granted"),
        Err(BlobError::AccessDenied { reason, .. }) => checked(
            right,
            denied,
            format!("denied: {reason}; kopia-lite repository permissions prints what a key needs"),
        ),
        Err(BlobError::Unsupported { .. }) => checked(
            right,
            State::Skipped,
            "not asked: the bucket keeps versions, or does not tell, and a delete marker would stay",
        ),
        Err(error) => checked(right, State::Error, error.to_string()),
    }
}

async fn versions(bucket: &S3Storage) -> Checked {
    let what = "what is replaced or deleted";
    match patiently(async || bucket.keeps_versions().await).await {
        Ok(true) => checked("versions", State::Ok, format!("the bucket keeps {what}")),
        Ok(false) => checked("versions", State::Ok, format!("{what} is gone")),
        // A right that nothing else needs.
        Err(error) => checked("versions", State::Skipped, error.to_string()),
    }
}

/// A folder that can be written into is one that can be deleted from.
fn folder(app: &App, client: &Client) -> Vec<Checked> {
    let path = app
        .connection()
        .ok()
        .and_then(|connection| path_of(config::storage_of(&connection, &app.config_file).ok()?));
    let writes = match path {
        _ if client.repo.is_read_only() => not_asked("write"),
        None => checked("write", State::Skipped, "not asked: this storage is no folder"),
        Some(path) => match rustix::fs::access(&path, Permission::WRITE_OK | Permission::EXEC_OK) {
            Ok(()) => checked("write", State::Ok, "granted"),
            Err(error) => checked("write", State::Error, format!("{path}: {error}")),
        },
    };
    vec![writes]
}

fn path_of(storage: &StorageConnection) -> Option<String> {
    Some(storage.config.get("path")?.as_str()?.to_owned())
}
