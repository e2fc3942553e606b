//! The flags of `policy set` for what is logged, and for snapshots of Windows volumes.

use anyhow::bail;
use clap::{Args, ValueEnum};
use kopia_format::policy::Policy;

use super::changes::{Changes, given};

#[derive(Debug, Args)]
pub(super) struct LoggingFlags {
    /// Detail, 0 to 10, when a folder is snapshotted, or inherit.
    #[arg(long, value_name = "N")]
    log_dir_snapshotted: Option<String>,
    /// Detail when a folder is ignored, or inherit.
    #[arg(long, value_name = "N")]
    log_dir_ignored: Option<String>,
    /// Detail when an entry is snapshotted, or inherit.
    #[arg(long, value_name = "N")]
    log_entry_snapshotted: Option<String>,
    /// Detail when an entry is ignored, or inherit.
    #[arg(long, value_name = "N")]
    log_entry_ignored: Option<String>,
    /// Detail when an entry is as it was, or inherit.
    #[arg(long, value_name = "N")]
    log_entry_cache_hit: Option<String>,
    /// Detail when an entry is new or changed, or inherit.
    #[arg(long, value_name = "N")]
    log_entry_cache_miss: Option<String>,
}

impl LoggingFlags {
    pub(super) fn apply(
        &self,
        policy: &mut Policy,
        changes: &mut Changes<'_>,
    ) -> anyhow::Result<()> {
        let (folders, entries) = (&mut policy.logging.directories, &mut policy.logging.entries);
        for (what, value, text) in [
            ("directory snapshotted", &mut folders.snapshotted, &self.log_dir_snapshotted),
            ("directory ignored", &mut folders.ignored, &self.log_dir_ignored),
            ("entry snapshotted", &mut entries.snapshotted, &self.log_entry_snapshotted),
            ("entry ignored", &mut entries.ignored, &self.log_entry_ignored),
            ("entry cache hit", &mut entries.cache_hit, &self.log_entry_cache_hit),
            ("entry cache miss", &mut entries.cache_miss, &self.log_entry_cache_miss),
        ] {
            let Some(text) = given(text.as_ref()) else { continue };
            let what = format!("{what} detail");
            let inherits = text == "inherit";
            if !inherits && !text.parse().is_ok_and(|detail| (0..=10).contains(&detail)) {
                bail!("{what}: must be >= 0 and <= 10 or \"inherit\"");
            }
            changes.number(&what, value, Some(text), 1)?;
        }
        Ok(())
    }
}

/// When the volume's snapshot is read instead of the volume.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum VolumeShadowCopy {
    Never,
    Always,
    WhenAvailable,
    Inherit,
}

#[derive(Debug, Args)]
pub(super) struct OsSnapshotFlags {
    /// Read a shadow copy of the volume; kept for Kopia on Windows.
    #[arg(long, value_name = "MODE")]
    enable_volume_shadow_copy: Option<VolumeShadowCopy>,
}

impl OsSnapshotFlags {
    pub(super) fn apply(&self, policy: &mut Policy, changes: &mut Changes<'_>) {
        let what = "enable volume shadow copy";
        let value = &mut policy.os_snapshots.volume_shadow_copy.enable;
        let (mode, name) = match self.enable_volume_shadow_copy {
            None => return,
            Some(VolumeShadowCopy::Inherit) => {
                *value = None;
                return changes.reset(what);
            }
            Some(VolumeShadowCopy::Never) => (0, "never"),
            Some(VolumeShadowCopy::Always) => (1, "always"),
            Some(VolumeShadowCopy::WhenAvailable) => (2, "when-available"),
        };
        *value = Some(mode);
        changes.said(format!("setting {what:?} to {name}."));
    }
}
