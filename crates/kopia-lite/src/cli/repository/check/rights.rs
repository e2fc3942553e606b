//! What the keys may do: asked so that nothing is written, deleted or thawed.

use blob_core::{
    BlobError, BlobId, BlobStorage, Entropy, OsEntropy, PutAttributes, PutPolicy, Result,
};
use rustix::fs::Access as Permission;
use s3_backend::S3Storage;

use super::{Checked, State, checked};
use crate::{
    cli::{App, lifecycle::bucket::patiently},
    compose::Client,
    connect::config,
};

/// Looks at every right that a client needs; that to thaw only where something is archived.
pub(super) async fn rights(
    app: &App,
    client: &Client,
    archived: bool,
) -> anyhow::Result<Vec<Checked>> {
    match &client.bucket {
        Some(bucket) => Ok(in_bucket(client, bucket, archived).await),
        None => Ok(vec![in_folder(app, client)?]),
    }
}

async fn in_bucket(client: &Client, bucket: &S3Storage, archived: bool) -> Vec<Checked> {
    let free = free_name();
    let kept = patiently(async || bucket.keeps_versions().await).await;
    let [put, delete] = match client.repo.is_read_only() {
        true => ["put", "delete"].map(not_asked),
        false => {
            let attributes = attributes(client, &free);
            let put = patiently(async || bucket.may_put(&free, &attributes).await).await;
            [told("put", State::Error, put), delete(bucket, &free, &kept).await]
        }
    };
    let thaw = match archived {
        true => {
            let thaw = patiently(async || bucket.may_thaw(&free).await).await;
            told("thaw", State::Warning, thaw)
        }
        false => checked("thaw", State::Skipped, "not asked: no pack is archived"),
    };
    vec![put, delete, thaw, versions(&kept)]
}

/// The name of a pack that there is not: rights may be given for packs alone.
fn free_name() -> BlobId {
    let mut random = [0; 16];
    OsEntropy.fill(&mut random);
    BlobId::new(format!("p{}-check", hex::encode(random))).expect("the name is valid")
}

/// What a blob would be written with: a lock and tags take rights of their own.
fn attributes(client: &Client, id: &BlobId) -> PutAttributes {
    let locked = client.repo.put_options(id).attributes;
    match &client.storage_config {
        Some(loaded) => locked.or(loaded.config.attributes(id, 1)),
        None => locked,
    }
}

/// A key that may not delete is one that nobody can destroy the repository with: only a warning.
async fn delete(bucket: &S3Storage, free: &BlobId, kept: &Result<bool>) -> Checked {
    match kept {
        // A service that knows no versions keeps none.
        Ok(false) | Err(BlobError::Unsupported { .. }) => {
            let deleted = patiently(async || bucket.delete(free).await).await;
            told("delete", State::Warning, deleted)
        }
        Ok(true) => {
            let why = "not asked: the bucket keeps versions, and a delete marker would stay";
            checked("delete", State::Skipped, why)
        }
        Err(_) => {
            let why = "not asked: if the bucket keeps versions, a delete marker would stay";
            checked("delete", State::Skipped, why)
        }
    }
}

fn not_asked(right: &'static str) -> Checked {
    checked(right, State::Skipped, "not asked: the connection is read-only")
}

/// `denied` is how bad it is that the right is missing.
fn told(right: &'static str, denied: State, answer: Result<()>) -> Checked {
    match answer {
        Ok(()) => checked(right, State::Ok, "granted"),
        Err(BlobError::AccessDenied { reason, .. }) => checked(
            right,
            denied,
            format!("denied: {reason}; kopia-lite repository permissions prints what a key needs"),
        ),
        // Not every service refuses a request in AWS' words.
        Err(error) => checked(right, State::Warning, format!("not known: {error}")),
    }
}

fn versions(kept: &Result<bool>) -> Checked {
    let what = "what is replaced or deleted";
    match kept {
        Ok(true) => checked("versions", State::Ok, format!("the bucket keeps {what}")),
        Ok(false) => checked("versions", State::Ok, format!("{what} is gone")),
        // A right that nothing else needs.
        Err(error) => checked("versions", State::Skipped, error.to_string()),
    }
}

/// A folder that can be written into is one that can be deleted from.
fn in_folder(app: &App, client: &Client) -> anyhow::Result<Checked> {
    if client.repo.is_read_only() {
        return Ok(not_asked("write"));
    }
    let connection = app.connection()?;
    let storage = config::storage_of(&connection, &app.config_file)?;
    let path = storage.config.get("path").and_then(|path| path.as_str()).unwrap_or_default();
    Ok(match rustix::fs::access(path, Permission::WRITE_OK | Permission::EXEC_OK) {
        Ok(()) => checked("write", State::Ok, "granted"),
        Err(error) => checked("write", State::Error, format!("denied: {path}: {error}")),
    })
}
