//! The history of a source under another name: copying and moving snapshots from one user, host or
//! path to another (docs/format/06-manifests-snapshots.md §2).
//!
//! Only manifests are written: the copy names the same root, so no data is read or stored. All
//! copies are visible before the first old snapshot goes. A run that is cut off in between leaves
//! both, and the next finds the copies and goes on.

use kopia_format::{
    ManifestId,
    snapshot::{SnapshotManifest, Source},
};
use kopia_repo::{Repository, RepositoryWriter};

use crate::{
    error::{Result, SnapshotError},
    manifests,
};

/// What is to be done about one snapshot.
#[derive(Debug, Clone, PartialEq)]
pub struct HistoryStep {
    /// The snapshot as it is.
    pub manifest: SnapshotManifest,
    /// Whose it will be.
    pub destination: Source,
    /// The destination has it: the same start and the same root.
    pub exists: bool,
}

/// What was done about one snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HistoryDone {
    /// The ID of the copy; `None` where the destination had it.
    pub new_id: Option<ManifestId>,
    /// The old one is deleted.
    pub deleted: bool,
}

/// Where a snapshot of `source` goes: what `to` names wins over what the source says.
#[must_use]
pub fn destination(source: &Source, to: &Source) -> Source {
    let either = |new: &String, old: &String| if new.is_empty() { old } else { new }.clone();
    Source {
        host: either(&to.host, &source.host),
        user_name: either(&to.user_name, &source.user_name),
        path: either(&to.path, &source.path),
    }
}

/// What copying or moving the snapshots of `from` to `to` takes, oldest manifest first. Snapshots
/// that are there already under that very name are left out. Both may lack a path, or a path and a
/// user.
///
/// # Errors
/// [`SnapshotError::Invalid`] where the snapshots of several paths or users would become those of
/// one; what reading manifests may give.
pub async fn plan(repo: &Repository, from: &Source, to: &Source) -> Result<Vec<HistoryStep>> {
    for (new, old, what) in
        [(&to.path, &from.path, "path"), (&to.user_name, &from.user_name, "username")]
    {
        if !new.is_empty() && old.is_empty() {
            let message = format!("{what} specified on destination but not source");
            return Err(SnapshotError::Invalid(message));
        }
    }
    let there = manifests::find(repo, &manifests::source_labels(to)).await?;
    let found = manifests::find_as_saved(repo, &manifests::source_labels(from)).await?;
    let steps = found.into_iter().filter_map(|manifest| {
        let destination = destination(&manifest.source, to);
        let exists = there.iter().any(|other| {
            other.source == destination
                && other.start_time == manifest.start_time
                && other.root_object() == manifest.root_object()
        });
        (destination != manifest.source).then_some(HistoryStep { manifest, destination, exists })
    });
    Ok(steps.collect())
}

/// Carries `steps` out and flushes; a move deletes the old snapshots in the end. `tell` hears of
/// each step before it is begun. What was done comes in the order of the steps.
///
/// # Errors
/// What the repository says. Nothing is deleted unless all copies are visible.
pub async fn carry_out(
    writer: &RepositoryWriter,
    steps: &[HistoryStep],
    moves: bool,
    tell: &mut (dyn FnMut(&HistoryStep) + Send),
) -> Result<Vec<HistoryDone>> {
    let mut done = Vec::with_capacity(steps.len());
    for step in steps {
        tell(step);
        let new_id = if step.exists {
            None
        } else {
            let source = step.destination.clone();
            let copy = SnapshotManifest { source, ..step.manifest.clone() };
            Some(manifests::save(writer, &copy).await?)
        };
        done.push(HistoryDone { new_id, deleted: false });
    }
    writer.flush().await?;
    if moves && !steps.is_empty() {
        for (step, done) in steps.iter().zip(&mut done) {
            writer.delete_manifest(&step.manifest.id).await?;
            done.deleted = true;
        }
        writer.flush().await?;
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_destination_names_wins() {
        let source = Source::new("h1", "u1", "/p1");
        for (to, wanted) in [
            (Source::new("h2", "", ""), Source::new("h2", "u1", "/p1")),
            (Source::new("h2", "u2", ""), Source::new("h2", "u2", "/p1")),
            (Source::new("h2", "u2", "/p2"), Source::new("h2", "u2", "/p2")),
            (Source::global(), source.clone()),
        ] {
            assert_eq!(destination(&source, &to), wanted);
        }
    }
}
