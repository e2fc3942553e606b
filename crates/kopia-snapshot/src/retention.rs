//! Deleting the snapshots of a source that its policy keeps no longer.

use jiff::tz::TimeZone;
use kopia_format::{
    policy::Policy,
    snapshot::{SnapshotManifest, Source},
};
use kopia_repo::{Repository, RepositoryWriter};

use crate::{error::Result, manifests, policies, policy::retention};

/// Why each of `snapshots` is kept; no reason means that it expires unless it is pinned.
pub fn reasons(
    snapshots: &[SnapshotManifest],
    policy: &Policy,
    zone: &TimeZone,
) -> Vec<Vec<String>> {
    let points: Vec<_> = snapshots.iter().map(retention::SnapshotPoint::from).collect();
    retention::reasons(&policy.retention, &points, zone)
}

/// Deletes the manifests of `source` that have no reason to be kept and no pin. Sees what `writer`
/// has not flushed yet; visible to others after a flush. The data goes with the next maintenance.
///
/// # Errors
/// What the repository says.
pub async fn apply(writer: &RepositoryWriter, source: &Source) -> Result<Vec<SnapshotManifest>> {
    let all = manifests::of_source_pending(writer, source).await?;
    let expired = expired(writer.repository(), source, &all).await?;
    for manifest in &expired {
        writer.delete_manifest(&manifest.id).await?;
    }
    Ok(expired)
}

/// The snapshots of `source` that [`apply`] would delete.
///
/// # Errors
/// What the repository says.
pub async fn plan(repo: &Repository, source: &Source) -> Result<Vec<SnapshotManifest>> {
    let all = manifests::of_source(repo, source).await?;
    expired(repo, source, &all).await
}

async fn expired(
    repo: &Repository,
    source: &Source,
    all: &[SnapshotManifest],
) -> Result<Vec<SnapshotManifest>> {
    let effective = policies::effective(repo, source).await?;
    let zone = TimeZone::system();
    let expired = retention::expired(&effective.policy.retention, all, &zone);
    Ok(expired.into_iter().cloned().collect())
}
