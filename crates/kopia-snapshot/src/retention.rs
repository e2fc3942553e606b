//! Deleting the snapshots of a source that its policy keeps no longer.

use std::collections::BTreeMap;

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
/// A source without a path, or without a user, stands for all sources of that user or host; each is judged by itself.
///
/// # Errors
/// What the repository says.
pub async fn apply(writer: &RepositoryWriter, source: &Source) -> Result<Vec<SnapshotManifest>> {
    let all = manifests::of_source_pending(writer, source).await?;
    let expired = expired(writer.repository(), all).await?;
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
    expired(repo, manifests::of_source(repo, source).await?).await
}

/// Snapshots of different sources never compete for a place, and each source has its own policy.
async fn expired(repo: &Repository, all: Vec<SnapshotManifest>) -> Result<Vec<SnapshotManifest>> {
    let mut by_source: BTreeMap<Source, Vec<SnapshotManifest>> = BTreeMap::new();
    for manifest in all {
        by_source.entry(manifest.source.clone()).or_default().push(manifest);
    }
    let zone = TimeZone::system();
    let mut found = Vec::new();
    for (source, group) in by_source {
        let effective = policies::effective(repo, &source).await?;
        let expired = retention::expired(&effective.policy.retention, &group, &zone);
        found.extend(expired.into_iter().cloned());
    }
    Ok(found)
}
