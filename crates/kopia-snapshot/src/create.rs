//! Taking a snapshot of one source, from the first look to the saved manifest
//! (docs/format/07-upload-restore.md §1).

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use bytes::Bytes;
use kopia_format::{
    ManifestId,
    snapshot::{SnapshotManifest, Source},
    time::GoTime,
};
use kopia_repo::{Repository, RepositoryWriter};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    error::Result,
    manifests, policies, retention,
    upload::{UploadOptions, UploadRequest, UploadSink, UploadSource, upload},
};

/// The longest description that is taken, in bytes.
pub const DESCRIPTION_BYTES_MAX: usize = 1024;

/// What a snapshot is taken of.
#[derive(Debug)]
pub enum Input {
    /// A file or folder.
    Local(PathBuf),
    /// A stream that becomes a file of this name (`--stdin-file`).
    Stream {
        /// The name of the folder that it is in: the path that was asked for, in full.
        root: String,
        /// The file's name.
        name: String,
        /// Its bytes, and an empty piece at their end.
        pieces: mpsc::Receiver<Result<Bytes, String>>,
    },
}

/// One snapshot to take.
pub struct CreateRequest {
    /// Whose snapshot it is.
    pub source: Source,
    /// Where its bytes come from.
    pub input: Input,
    /// Words about it.
    pub description: String,
    /// Tags, with the prefix `tag:` in their names.
    pub tags: BTreeMap<String, String>,
    /// Pins, which keep it from expiring.
    pub pins: Vec<String>,
    /// Times to give it instead of the real ones.
    pub times: (Option<GoTime>, Option<GoTime>),
    /// How to upload.
    pub options: UploadOptions,
    /// Who wants to know.
    pub sink: Arc<dyn UploadSink>,
    /// Stops the work; what was done is saved as an incomplete snapshot.
    pub stop: CancellationToken,
}

/// A snapshot that was taken.
#[derive(Debug, Clone)]
pub struct Created {
    /// Its manifest, with its ID; the ID is empty if it was not saved.
    pub manifest: SnapshotManifest,
    /// False when the policy says to save no snapshot that equals the one before.
    pub saved: bool,
    /// Snapshots of the source that expired by this.
    pub expired: Vec<SnapshotManifest>,
}

/// Takes a snapshot and saves it. Visible to others after a flush of `writer`.
///
/// # Errors
/// [`crate::SnapshotError::Source`] when the source can't be read at all, and what the repository
/// says. Nothing is saved then, but what a checkpoint saved before.
pub async fn create(writer: &RepositoryWriter, request: CreateRequest) -> Result<Created> {
    let repo = writer.repository();
    let source = request.source.clone();
    let all = manifests::of_source(repo, &source).await?;
    let previous = manifests::previous(&all);
    let tree = policies::tree(repo, &source).await?;
    let start = crate::now(repo);
    let prototype = SnapshotManifest {
        source: source.clone(),
        start_time: start,
        tags: request.tags.clone(),
        ..SnapshotManifest::default()
    };
    let path;
    let input = match request.input {
        Input::Local(given) => {
            path = given;
            UploadSource::Local(&path)
        }
        Input::Stream { root, name, pieces } => UploadSource::Stream { root, name, pieces },
    };
    let upload_request = UploadRequest {
        writer,
        policy: &tree,
        previous: &previous,
        prototype: &prototype,
        options: request.options,
        sink: request.sink,
        stop: request.stop,
    };
    let uploaded = upload(upload_request, input).await?;
    let (start_time, end_time) = times(start, crate::now(repo), request.times);
    let mut manifest = SnapshotManifest {
        description: request.description,
        start_time,
        end_time,
        stats: uploaded.stats,
        incomplete: uploaded.incomplete,
        root_entry: Some(uploaded.root),
        pins: sorted_pins(request.pins),
        ..prototype
    };
    let same_as_before = previous.first().is_some_and(|before| {
        let object = |m: &SnapshotManifest| m.root_entry.as_ref().map(|e| e.object);
        object(before) == object(&manifest)
    });
    let skips_identical = tree.effective().retention.ignore_identical_snapshots == Some(true);
    if same_as_before && skips_identical {
        return Ok(Created { manifest, saved: false, expired: Vec::new() });
    }
    manifest.id = manifests::save(writer, &manifest).await?;
    // Where manifests are lost, rules of retention may be among them: nothing expires by what is left.
    let expired = match repo.manifests().lost().await?.is_empty() {
        true => retention::apply(writer, &source).await?,
        false => Vec::new(),
    };
    Ok(Created { manifest, saved: true, expired })
}

/// Start and end, where one or both may be given: a single one keeps the duration.
fn times(start: GoTime, end: GoTime, given: (Option<GoTime>, Option<GoTime>)) -> (GoTime, GoTime) {
    let lasted = end.unix_nanos() - start.unix_nanos();
    let shifted = |time: GoTime, by: i64| GoTime::from_unix_nanos(time.unix_nanos() + by);
    match given {
        (None, None) => (start, end),
        (Some(start), None) => (start, shifted(start, lasted)),
        (None, Some(end)) => (shifted(end, -lasted), end),
        (Some(start), Some(end)) => (start, end),
    }
}

fn sorted_pins(mut pins: Vec<String>) -> Vec<String> {
    pins.sort();
    pins.dedup();
    pins
}

/// Adds and removes pins of a snapshot; gives the new manifest ID, or the old one if nothing
/// changes.
///
/// # Errors
/// What the repository says.
pub async fn pin(
    writer: &RepositoryWriter,
    manifest: &SnapshotManifest,
    add: &[String],
    remove: &[String],
) -> Result<ManifestId> {
    let mut changed = manifest.clone();
    if !changed.update_pins(add, remove) {
        return Ok(manifest.id.clone());
    }
    manifests::update(writer, &changed).await
}

/// Marks a source as one that is only snapshotted by hand, as Kopia does after `--stdin-file` and
/// `--override-source`: its path means nothing on this machine.
///
/// # Errors
/// What the repository says.
pub async fn set_manual(
    writer: &RepositoryWriter,
    repo: &Repository,
    source: &Source,
) -> Result<()> {
    let mut policy = policies::defined(repo, source).await?.unwrap_or_default();
    if policy.scheduling.manual {
        return Ok(());
    }
    policy.scheduling.manual = true;
    policies::save(writer, source, &policy).await
}
