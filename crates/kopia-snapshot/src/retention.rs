//! Deleting the snapshots of a source that its policy keeps no longer.

use kopia_format::snapshot::{SnapshotManifest, Source};
use kopia_repo::RepositoryWriter;

use crate::{
    error::Result,
    manifests,
    policies,
    policy::retention,
};

/// Deletes the manifests of `source` that have no reason to be kept and no pin. Visible to others after a flush; the
/// data goes with the next maintenance.
///
/// # Errors
/// What the repository says.
pub async fn apply(writer: &RepositoryWriter, source: &Source) -> Result<Vec<SnapshotManifest>> {
    let expired = plan(writer, source).await?;
    for manifest in &expired {
        writer.delete_manifest(&manifest.id).await?;
    }
    Ok(expired)
}

/// The snapshots of `source` that [`apply`] would delete, oldest first.
///
/// # Errors
/// What the repository says.
pub async fn plan(writer: &RepositoryWriter, source: &Source) -> Result<Vec<SnapshotManifest>> {
    let effective = policies::effective(writer.repository(), source).await?;
    let all = manifests::of_source_pending(writer, source).await?;
    let reasons = retention::reasons(&all, &effective.policy.retention, &local_zone());
    let expired = all.into_iter().zip(reasons).filter(|(manifest, reasons)| {
        reasons.is_empty() && manifest.pins.is_empty()
    });
    Ok(expired.map(|(manifest, _)| manifest).collect())
}

fn local_zone() -> jiff::tz::TimeZone {
    jiff::tz::TimeZone::system()
}
