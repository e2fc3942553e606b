//! Errors for people: what failed, on what, why, the way out.

use blob_core::BlobError;
use kopia_format::FormatError;
use kopia_maintenance::MaintenanceError;
use kopia_repo::{RepoError, sync::SyncError};
use kopia_snapshot::SnapshotError;
use serde_json::{Value, json};
use storageconfig::LoadError;

use crate::exit::{Exit, Failure};

/// What brings back what a damaged index blob said.
pub const DAMAGED_INDEX_WAY_OUT: &str = "Put the blob back from a copy of the storage, or recover \
    from the packs what it said: kopia-lite index recover --commit --delete-indexes \
    --dangerous-commands=enabled";

/// The exit code that an error asks for: what the app itself said, else that of the outermost cause
/// that has one.
pub fn exit_of(error: &anyhow::Error) -> Exit {
    if let Some(failure) = error.downcast_ref::<Failure>() {
        return failure.exit;
    }
    error
        .chain()
        .find_map(|cause| {
            cause
                .downcast_ref::<SnapshotError>()
                .and_then(of_snapshot)
                .or_else(|| cause.downcast_ref::<MaintenanceError>().and_then(of_maintenance))
                .or_else(|| cause.downcast_ref::<RepoError>().and_then(of_repo))
                .or_else(|| cause.downcast_ref::<BlobError>().and_then(of_blob))
                .or_else(|| cause.downcast_ref::<SyncError>().and_then(of_sync))
                .or_else(|| cause.downcast_ref::<LoadError>().and_then(of_load))
                .or_else(|| cause.downcast_ref::<FormatError>().and_then(of_format))
        })
        .unwrap_or(Exit::Failed)
}

fn of_snapshot(error: &SnapshotError) -> Option<Exit> {
    match error {
        SnapshotError::Repo(error) => of_repo(error),
        // Something may have been written by then, which the code for archived blobs rules out.
        SnapshotError::NotRestored { cause, .. } => {
            let exit = cause.as_ref().and_then(|it| of_repo(it));
            exit.filter(|exit| *exit != Exit::Archived)
        }
        SnapshotError::Archived { .. } => Some(Exit::Archived),
        SnapshotError::Lost { .. } => Some(Exit::Damaged),
        SnapshotError::Manifest { .. } => Some(Exit::Damaged),
        _ => None,
    }
}

fn of_maintenance(error: &MaintenanceError) -> Option<Exit> {
    match error {
        MaintenanceError::Repo(error) => of_repo(error),
        MaintenanceError::Format { .. } => Some(Exit::Damaged),
        _ => None,
    }
}

fn of_repo(error: &RepoError) -> Option<Exit> {
    match error {
        RepoError::Blob(error) => of_blob(error),
        RepoError::Format(error) => of_format(error),
        RepoError::NoRepository { .. } | RepoError::FormatBlobLost { .. } => {
            Some(Exit::NotConnected)
        }
        RepoError::WrongPassword | RepoError::PasswordChanged => Some(Exit::Password),
        RepoError::UpgradeLocked { .. } => Some(Exit::Locked),
        RepoError::ContentArchived { .. } => Some(Exit::Archived),
        RepoError::ContentNotFound { index: Some(_), .. }
        | RepoError::IndexDamaged { .. }
        | RepoError::IndexMissing { .. }
        | RepoError::PackMissing { .. }
        | RepoError::PackTruncated { .. }
        | RepoError::ContentDamaged { .. }
        | RepoError::ObjectDamaged { .. }
        | RepoError::ManifestDamaged { .. }
        | RepoError::BlobDamaged { .. }
        | RepoError::FormatBlobDamaged { .. } => Some(Exit::Damaged),
        _ => None,
    }
}

fn of_blob(error: &BlobError) -> Option<Exit> {
    match error {
        BlobError::Archived { .. } => Some(Exit::Archived),
        BlobError::NoStorage { .. } => Some(Exit::NotConnected),
        BlobError::AccessDenied { .. } | BlobError::Credentials { .. } => Some(Exit::Denied),
        BlobError::Damaged { .. } => Some(Exit::Damaged),
        _ => None,
    }
}

fn of_sync(error: &SyncError) -> Option<Exit> {
    match error {
        SyncError::Blob(error) => of_blob(error),
        SyncError::Format { .. } => Some(Exit::Damaged),
        SyncError::NoSource { .. } | SyncError::NoDestination => Some(Exit::NotConnected),
        _ => None,
    }
}

fn of_load(error: &LoadError) -> Option<Exit> {
    match error {
        LoadError::Forbidden { .. } => Some(Exit::Denied),
        LoadError::Archived { .. } => Some(Exit::Archived),
        LoadError::Storage(error) => of_blob(error),
        _ => None,
    }
}

fn of_format(error: &FormatError) -> Option<Exit> {
    matches!(error, FormatError::WrongPassword).then_some(Exit::Password)
}

/// The error as text; with `--json` one object.
pub fn describe(error: &anyhow::Error, exit: Exit, wants_json: bool) -> String {
    let message = sentence(error);
    if !wants_json {
        return format!("ERROR {message}");
    }
    let (code, kind) = exit.describe();
    let details = match error.downcast_ref::<Failure>() {
        Some(failure) => failure.details.clone(),
        None => error
            .chain()
            .find_map(|cause| cause.downcast_ref::<SnapshotError>().map(details_of))
            .unwrap_or_default(),
    };
    json!({"error": {"code": code, "kind": kind, "message": message, "details": details}})
        .to_string()
}

fn details_of(error: &SnapshotError) -> Value {
    match error {
        SnapshotError::Archived { packs } => {
            let all = packs.iter().map(
                |pack| json!({"blob": pack.blob, "storageClass": pack.class, "bytes": pack.size}),
            );
            json!({"packs": all.collect::<Vec<_>>()})
        }
        SnapshotError::Lost { packs, contents } => {
            let contents: Vec<_> = contents.iter().map(ToString::to_string).collect();
            json!({"packs": packs, "contents": contents})
        }
        _ => Value::Null,
    }
}

/// The chain of causes in one line. A cause that its wrapper says already is not said twice.
pub fn sentence(error: &anyhow::Error) -> String {
    let mut said = String::new();
    for cause in error.chain() {
        let text = match cause.downcast_ref::<SnapshotError>() {
            Some(SnapshotError::Archived { packs }) => archived(packs),
            Some(SnapshotError::Lost { packs, contents }) => lost(packs, contents.len()),
            _ => cause.to_string(),
        };
        if said.contains(&text) {
            continue;
        }
        if !said.is_empty() {
            said.push_str(": ");
        }
        said.push_str(&text);
    }
    if is_refused_by_storage_config(error) {
        said.push_str(
            "; correct the file, or say --storage-config-extra-keys=ignore (as Kopia does) or =force",
        );
    }
    said.push_str(&way_out(error).unwrap_or_default());
    said
}

/// What helps, where the error itself can't know it.
fn way_out(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| match blob_error(cause) {
        Some(BlobError::Credentials { reason }) if reason.contains("ExpiredToken") => Some(
            "; the keys have expired: connect again with new ones, or name a profile or role that \
             renews them"
                .to_owned(),
        ),
        Some(BlobError::AccessDenied { op: "thaw", .. }) => {
            Some("; it takes the right s3:RestoreObject".to_owned())
        }
        Some(BlobError::ClockSkew { .. }) => Some("; set the clock of this machine".to_owned()),
        _ if is_damaged_index(cause) => Some(format!(". {DAMAGED_INDEX_WAY_OUT}")),
        _ => match cause.downcast_ref::<SnapshotError>() {
            Some(SnapshotError::Manifest { id, .. }) => {
                Some(format!("; `kopia manifest delete {id}` takes it out"))
            }
            _ => None,
        },
    })
}

/// Packs have an index of their own, which has no copy.
fn is_damaged_index(cause: &(dyn std::error::Error + 'static)) -> bool {
    let of_repo = |error: &RepoError| match error {
        RepoError::IndexDamaged { blob, .. } => !blob.starts_with("p") && !blob.starts_with("q"),
        _ => false,
    };
    cause.downcast_ref().is_some_and(of_repo)
        || matches!(cause.downcast_ref(), Some(SnapshotError::Repo(error)) if of_repo(error))
        || matches!(cause.downcast_ref(), Some(MaintenanceError::Repo(error)) if of_repo(error))
}

/// The storage's error that this one is or passes on.
fn blob_error<'a>(cause: &'a (dyn std::error::Error + 'static)) -> Option<&'a BlobError> {
    let of_repo = |error: &'a RepoError| match error {
        RepoError::Blob(error) => Some(error),
        _ => None,
    };
    let of_snapshot = || match cause.downcast_ref()? {
        SnapshotError::Repo(error) => of_repo(error),
        _ => None,
    };
    let of_load = || match cause.downcast_ref()? {
        LoadError::Storage(error) => Some(error),
        _ => None,
    };
    let of_blob = || cause.downcast_ref::<BlobError>();
    of_blob().or_else(|| of_repo(cause.downcast_ref()?)).or_else(of_snapshot).or_else(of_load)
}

/// Did `.storageconfig` ask for something that a blob is not written with?
fn is_refused_by_storage_config(error: &anyhow::Error) -> bool {
    let refused = |error: &BlobError| {
        matches!(error, BlobError::InvalidOption { reason, .. }
        if reason.starts_with(storageconfig::FILE_NAME))
    };
    error.chain().any(|cause| {
        cause.downcast_ref::<BlobError>().is_some_and(refused)
            || matches!(cause.downcast_ref::<RepoError>(), Some(RepoError::Blob(error)) if refused(error))
    })
}

/// Lists at most so many names; the rest is a number.
const NAMES_MAX: usize = 20;

fn names(all: &[String]) -> String {
    let mut text: String = all.iter().take(NAMES_MAX).map(|name| format!("\n  {name}")).collect();
    if all.len() > NAMES_MAX {
        text.push_str(&format!("\n  … and {} more", all.len() - NAMES_MAX));
    }
    text
}

fn archived(packs: &[kopia_snapshot::restore::ColdPack]) -> String {
    let bytes: u64 = packs.iter().filter_map(|pack| pack.size).sum();
    let lines: Vec<_> = packs
        .iter()
        .map(|pack| format!("{} {}", pack.blob, pack.class.as_deref().unwrap_or("(class unknown)")))
        .collect();
    format!(
        "{} packs ({}) are archived and must be thawed first; nothing was written.{}",
        packs.len(),
        super::size::bytes(bytes),
        names(&lines)
    )
}

fn lost(packs: &[String], contents: usize) -> String {
    let mut text = String::from("the snapshot can't be restored whole; nothing was written.");
    if !packs.is_empty() {
        text.push_str(&format!(" These packs do not exist or are cut short:{}", names(packs)));
    }
    if contents > 0 {
        text.push_str(&format!("\n{contents} contents are in no index."));
    }
    text.push_str("\nTo restore what is there, add --ignore-errors.");
    text
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn the_exit_code_is_the_apps_or_comes_from_a_cause_that_has_one() {
        let error = anyhow::Error::new(RepoError::WrongPassword).context("cannot open");
        assert_eq!(exit_of(&error), Exit::Password);
        let failure: anyhow::Result<()> = Err(Failure::new(Exit::NotConnected, "no").into());
        assert_eq!(exit_of(&failure.context("outer").unwrap_err()), Exit::NotConnected);
        let said = anyhow::anyhow!("inner").context(Failure::new(Exit::Locked, "said"));
        assert_eq!(exit_of(&said.context("outer")), Exit::Locked);
        assert_eq!(exit_of(&anyhow::anyhow!("plain")), Exit::Failed);
    }

    #[test]
    fn a_json_error_is_one_object_with_the_code() {
        let error = anyhow::Error::new(SnapshotError::Archived { packs: Vec::new() });
        let text = describe(&error, Exit::Archived, true);
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["error"]["code"], 4);
        assert_eq!(value["error"]["kind"], "archived");
    }
}
