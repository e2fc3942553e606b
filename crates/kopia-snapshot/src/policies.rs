//! Policies as a repository holds them: finding, saving, deleting.

use kopia_format::{
    manifest::{ManifestEntry, TYPE_LABEL},
    policy::Policy,
    snapshot::Source,
};
use kopia_repo::{Repository, RepositoryWriter};

use crate::{
    error::{Result, SnapshotError},
    policy::{
        resolve::{self, EffectivePolicy, StoredPolicy},
        tree::PolicyTree,
    },
};

/// The value of a policy manifest's label `type`.
pub const MANIFEST_TYPE: &str = "policy";

fn parse(entry: &ManifestEntry) -> Result<StoredPolicy> {
    let policy = Policy::parse(entry.data.get().as_bytes()).map_err(|source| {
        SnapshotError::Manifest { kind: MANIFEST_TYPE, id: entry.id.clone(), source }
    })?;
    let target = Source::from_labels(&entry.labels);
    Ok(StoredPolicy { id: entry.id.clone(), target, policy })
}

/// All policies, oldest first.
///
/// # Errors
/// [`SnapshotError::Manifest`] for one that can't be understood: what it says must not be left out.
pub async fn all(repo: &Repository) -> Result<Vec<StoredPolicy>> {
    let found = repo.manifests().find(&[(TYPE_LABEL, MANIFEST_TYPE)]).await?;
    found.iter().map(parse).collect()
}

/// The policy of exactly `target`: the newest if there are several.
///
/// # Errors
/// As [`all`].
pub async fn defined(repo: &Repository, target: &Source) -> Result<Option<Policy>> {
    let mut matching = all(repo).await?.into_iter().filter(|stored| stored.target == *target);
    Ok(matching.next_back().map(|stored| stored.policy))
}

/// What holds for `source`, and where each value comes from.
///
/// # Errors
/// As [`all`].
pub async fn effective(repo: &Repository, source: &Source) -> Result<EffectivePolicy> {
    Ok(resolve::effective(source, &all(repo).await?))
}

/// What holds in each folder of `source` while it is uploaded.
///
/// # Errors
/// As [`all`].
pub async fn tree(repo: &Repository, source: &Source) -> Result<PolicyTree> {
    Ok(PolicyTree::for_source(source, &all(repo).await?))
}

/// The target of the policy whose manifest has this ID, if `id` is the ID of one.
///
/// # Errors
/// What the repository says.
pub async fn target_of_id(repo: &Repository, id: &str) -> Result<Option<Source>> {
    let found = repo.manifests().find(&[(TYPE_LABEL, MANIFEST_TYPE)]).await?;
    let found = found.iter().find(|entry| entry.id.to_string() == id);
    Ok(found.map(|entry| Source::from_labels(&entry.labels)))
}

/// May the policy be saved for `target`?
///
/// # Errors
/// [`SnapshotError::Policy`] when Kopia would refuse it.
pub fn check(target: &Source, policy: &Policy) -> Result<()> {
    policy.check(target).map_err(|source| SnapshotError::Policy {
        target: target.to_string(),
        reason: source.to_string(),
    })
}

/// Saves the policy of `target` in place of the one it had. Visible to others after a flush.
///
/// # Errors
/// [`SnapshotError::Policy`] when Kopia would refuse the policy, and what the repository says.
pub async fn save(writer: &RepositoryWriter, target: &Source, policy: &Policy) -> Result<()> {
    check(target, policy)?;
    let labels = target.policy_labels();
    let labels: Vec<_> = labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    writer.replace_manifest(&labels, policy).await?;
    Ok(())
}

/// Deletes the policy of `target`; gives whether there was one. Visible to others after a flush.
///
/// # Errors
/// What the repository says.
pub async fn delete(writer: &RepositoryWriter, target: &Source) -> Result<bool> {
    let labels = target.policy_labels();
    let labels: Vec<_> = labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let found = writer.find_manifests(&labels).await?;
    for entry in &found {
        writer.delete_manifest(&entry.id).await?;
    }
    Ok(!found.is_empty())
}
