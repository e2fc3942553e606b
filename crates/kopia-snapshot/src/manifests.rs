//! Snapshot manifests: finding, saving, changing.

use kopia_format::{
    ManifestId, ObjectId,
    manifest::{ManifestEntry, TYPE_LABEL},
    snapshot::{SnapshotManifest, Source},
};
use kopia_repo::{Repository, RepositoryWriter};

use crate::error::{Result, SnapshotError};

/// The value of a snapshot manifest's label `type`.
pub const MANIFEST_TYPE: &str = "snapshot";

fn parse(entry: &ManifestEntry) -> Result<SnapshotManifest> {
    SnapshotManifest::parse(&entry.id, entry.data.get().as_bytes()).map_err(|source| {
        SnapshotError::Manifest { kind: MANIFEST_TYPE, id: entry.id.clone(), source }
    })
}

/// All snapshots that carry all of `labels` besides the type, oldest first.
///
/// # Errors
/// [`SnapshotError::Manifest`] for one that can't be understood: a list that leaves one out is
/// a lie.
pub async fn find(repo: &Repository, labels: &[(&str, &str)]) -> Result<Vec<SnapshotManifest>> {
    let mut found = find_as_saved(repo, labels).await?;
    found.sort_by_key(|manifest| manifest.start_time);
    Ok(found)
}

/// As [`find`], in the order in which their manifests were saved.
///
/// # Errors
/// As [`find`].
pub async fn find_as_saved(
    repo: &Repository,
    labels: &[(&str, &str)],
) -> Result<Vec<SnapshotManifest>> {
    let mut all = vec![(TYPE_LABEL, MANIFEST_TYPE)];
    all.extend_from_slice(labels);
    repo.manifests().find(&all).await?.iter().map(parse).collect()
}

fn parse_all(entries: &[ManifestEntry]) -> Result<Vec<SnapshotManifest>> {
    let mut found = entries.iter().map(parse).collect::<Result<Vec<_>>>()?;
    found.sort_by_key(|manifest| manifest.start_time);
    Ok(found)
}

/// All snapshots of exactly `source`, oldest first.
///
/// # Errors
/// As [`find`].
pub async fn of_source(repo: &Repository, source: &Source) -> Result<Vec<SnapshotManifest>> {
    find(repo, &source_labels(source)).await
}

/// As [`of_source`], with what `writer` has not flushed yet.
///
/// # Errors
/// As [`find`].
pub async fn of_source_pending(
    writer: &RepositoryWriter,
    source: &Source,
) -> Result<Vec<SnapshotManifest>> {
    let mut labels = vec![(TYPE_LABEL, MANIFEST_TYPE)];
    labels.extend(source_labels(source));
    parse_all(&writer.find_manifests(&labels).await?)
}

/// The labels that say whose snapshot a manifest is.
pub fn source_labels(source: &Source) -> Vec<(&str, &str)> {
    let mut labels = vec![("hostname", source.host.as_str())];
    let more = [("username", source.user_name.as_str()), ("path", source.path.as_str())];
    labels.extend(more.into_iter().filter(|(_, value)| !value.is_empty()));
    labels
}

/// The snapshot whose manifest is `id`; `None` if there is no such manifest or it is not a
/// snapshot.
///
/// # Errors
/// As [`find`].
pub async fn get(repo: &Repository, id: &ManifestId) -> Result<Option<SnapshotManifest>> {
    match repo.manifests().get(id).await {
        Ok(entry) if entry.label(TYPE_LABEL) == MANIFEST_TYPE => parse(&entry).map(Some),
        Ok(_) => Ok(None),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// All snapshots whose root is the object `root`, oldest first.
///
/// # Errors
/// As [`find`].
pub async fn with_root(repo: &Repository, root: &ObjectId) -> Result<Vec<SnapshotManifest>> {
    let mut all = find(repo, &[]).await?;
    all.retain(|m| m.root_entry.as_ref().is_some_and(|entry| entry.object == *root));
    Ok(all)
}

/// Saves `manifest` under a new ID, which is given back. Visible to others after a flush.
///
/// # Errors
/// [`SnapshotError::Format`] when the source is not complete or a tag collides with a label.
pub async fn save(writer: &RepositoryWriter, manifest: &SnapshotManifest) -> Result<ManifestId> {
    let what = format!("snapshot of {}", manifest.source);
    let stored = manifest.to_stored().map_err(SnapshotError::format(what))?;
    let labels = manifest.labels();
    let labels: Vec<_> = labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    Ok(writer.put_manifest(&labels, &stored).await?)
}

/// Saves a changed `manifest` in place of its old self, under a new ID.
///
/// # Errors
/// As [`save`].
pub async fn update(writer: &RepositoryWriter, manifest: &SnapshotManifest) -> Result<ManifestId> {
    let new = save(writer, manifest).await?;
    writer.delete_manifest(&manifest.id).await?;
    Ok(new)
}

/// The snapshots that a new one of the same source can build on: the newest complete one, then
/// every incomplete one that is newer (docs/format/07-upload-restore.md §1).
pub fn previous(all: &[SnapshotManifest]) -> Vec<SnapshotManifest> {
    let mut complete: Option<&SnapshotManifest> = None;
    for manifest in all.iter().filter(|m| m.incomplete.is_empty()) {
        if complete.is_none_or(|best| manifest.start_time > best.start_time) {
            complete = Some(manifest);
        }
    }
    let newer = |m: &&SnapshotManifest| {
        !m.incomplete.is_empty() && complete.is_none_or(|c| m.start_time > c.start_time)
    };
    complete.into_iter().chain(all.iter().filter(newer)).cloned().collect()
}
