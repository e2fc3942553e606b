//! The actions of policies, which kopia-lite does not run.
//!
//! An action may freeze a database before it is backed up: leaving it out must not pass without a
//! word. Where the connection allows actions, an essential one refuses the snapshot; any other is
//! warned of.

use anyhow::bail;
use kopia_format::{
    policy::{ActionCommand, Policy},
    snapshot::Source,
};
use kopia_repo::Repository;
use kopia_snapshot::policies;

use crate::cli::App;

/// Warns of actions that would run around a snapshot of `source`.
///
/// # Errors
/// One of them is essential.
pub(super) async fn check(app: &App, repo: &Repository, source: &Source) -> anyhow::Result<()> {
    if !app.connection()?.enable_actions {
        return Ok(());
    }
    let mut found = Vec::new();
    let effective = policies::effective(repo, source).await?.policy;
    found.extend(actions(&effective).map(|action| (source.to_string(), action.mode.clone())));
    for stored in policies::all(repo).await? {
        let target = &stored.target;
        let same_user = target.host == source.host && target.user_name == source.user_name;
        let is_below = std::path::Path::new(&target.path).starts_with(&source.path);
        if same_user && is_below && target != source {
            let here = actions(&stored.policy);
            found.extend(here.map(|action| (target.to_string(), action.mode.clone())));
        }
    }
    if let Some((target, _)) = found.iter().find(|(_, mode)| mode == "essential") {
        bail!(
            "the policy of {target} has an essential action, which kopia-lite does not run; \
             take this snapshot with Kopia, or add --force-disable-actions"
        );
    }
    if let Some((target, _)) = found.first() {
        app.warn(format!("the policy of {target} has actions, which kopia-lite does not run"));
    }
    Ok(())
}

fn actions(policy: &Policy) -> impl Iterator<Item = &ActionCommand> {
    let all = &policy.actions;
    let all = [
        &all.before_folder,
        &all.after_folder,
        &all.before_snapshot_root,
        &all.after_snapshot_root,
    ];
    all.into_iter().flatten()
}
