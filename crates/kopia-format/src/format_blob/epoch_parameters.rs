//! When index blobs are gathered into fewer, and when the gathered ones may go.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use crate::{
    FormatError, Result,
    fields::{Fields, Nanos},
    time::nanos,
};

const MINUTE: Duration = Duration::from_secs(60);

/// The parameters of epochs. Alone in the format, its keys begin with capitals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct EpochParameters {
    /// Whether index blobs are kept in epochs at all.
    #[serde(rename = "Enabled")]
    pub enabled: bool,
    /// How long a client may rely on its last listing.
    #[serde(rename = "EpochRefreshFrequency", with = "nanos")]
    pub refresh_frequency: Duration,
    /// How many epochs a range checkpoint covers.
    #[serde(rename = "FullCheckpointFrequency")]
    pub full_checkpoint_frequency: u32,
    /// How old a compacted blob must be before what it replaces is deleted.
    #[serde(rename = "CleanupSafetyMargin", with = "nanos")]
    pub cleanup_safety_margin: Duration,
    /// The shortest time that an epoch lasts.
    #[serde(rename = "MinEpochDuration", with = "nanos")]
    pub min_epoch_duration: Duration,
    /// An epoch ends early when it has so many index blobs.
    #[serde(rename = "EpochAdvanceOnCountThreshold")]
    pub advance_on_count: u32,
    /// An epoch ends early when its index blobs have so many bytes.
    #[serde(rename = "EpochAdvanceOnTotalSizeBytesThreshold")]
    pub advance_on_size: u64,
    /// How many blobs are deleted at once.
    #[serde(rename = "DeleteParallelism")]
    pub delete_parallelism: u32,
}

impl EpochParameters {
    /// The parameters of a new repository.
    pub const DEFAULT: Self = Self {
        enabled: true,
        refresh_frequency: Duration::from_secs(20 * 60),
        full_checkpoint_frequency: 7,
        cleanup_safety_margin: Duration::from_secs(4 * 3600),
        min_epoch_duration: Duration::from_secs(24 * 3600),
        advance_on_count: 20,
        advance_on_size: 10 << 20,
        delete_parallelism: 4,
    };

    /// The parameters of a repository without epochs: all zero.
    pub const DISABLED: Self = Self {
        enabled: false,
        refresh_frequency: Duration::ZERO,
        full_checkpoint_frequency: 0,
        cleanup_safety_margin: Duration::ZERO,
        min_epoch_duration: Duration::ZERO,
        advance_on_count: 0,
        advance_on_size: 0,
        delete_parallelism: 0,
    };

    pub(crate) fn from_value(value: Value) -> Result<Self> {
        let mut fields = Fields::new("epoch parameters", value)?;
        let mut duration = |key| fields.or_zero::<Nanos>(key).map(|nanos| nanos.0);
        Ok(Self {
            refresh_frequency: duration("EpochRefreshFrequency")?,
            cleanup_safety_margin: duration("CleanupSafetyMargin")?,
            min_epoch_duration: duration("MinEpochDuration")?,
            enabled: fields.or_zero("Enabled")?,
            full_checkpoint_frequency: fields.or_zero("FullCheckpointFrequency")?,
            advance_on_count: fields.or_zero("EpochAdvanceOnCountThreshold")?,
            advance_on_size: fields.or_zero("EpochAdvanceOnTotalSizeBytesThreshold")?,
            delete_parallelism: fields.or_zero("DeleteParallelism")?,
        })
    }

    /// Whether these parameters may be written. Without epochs anything may.
    ///
    /// # Errors
    /// [`FormatError::Invalid`] names the first parameter that is out of its limits.
    pub fn check(&self) -> Result<()> {
        if !self.enabled {
            return Ok(());
        }
        let three_refreshes = self.refresh_frequency.saturating_mul(3);
        let limits = [
            (self.min_epoch_duration >= 10 * MINUTE, "an epoch must last at least 10 minutes"),
            (
                three_refreshes <= self.min_epoch_duration,
                "an epoch must last at least three times the refresh frequency",
            ),
            (self.full_checkpoint_frequency > 0, "the checkpoint frequency must not be zero"),
            (
                self.cleanup_safety_margin >= three_refreshes,
                "the cleanup safety margin must be at least three times the refresh frequency",
            ),
            (self.advance_on_count >= 10, "an epoch must hold at least 10 index blobs"),
            (self.advance_on_size >= 1 << 20, "an epoch must hold at least 1 MiB of index blobs"),
        ];
        match limits.iter().find(|(within, _)| !within) {
            Some((_, reason)) => {
                Err(FormatError::Invalid { what: "epoch parameters", reason: (*reason).to_owned() })
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::RepositoryFormat;
    use super::*;
    use kopia_fixtures::vectors;
    use serde_json::json;

    #[test]
    fn the_limits_of_set_parameters_are_kopias() {
        let file = vectors("mutable_parameters.json");
        let cases = file["cases"].as_array().unwrap();
        assert_eq!(cases.len(), 16);
        for case in cases {
            let payload = json!({ "format": case["parameters"] }).to_string();
            let result = RepositoryFormat::from_payload(payload.as_bytes())
                .and_then(|format| format.check_parameters());
            let accepted = case["error"].as_str().unwrap().is_empty();
            assert_eq!(result.is_ok(), accepted, "{}: {result:?}", case["what"]);
        }
    }

    #[test]
    fn the_defaults_are_within_the_limits_and_missing_parameters_are_no_epochs() {
        assert_eq!(EpochParameters::DEFAULT.check(), Ok(()));
        assert_eq!(EpochParameters::DEFAULT.cleanup_safety_margin, 240 * MINUTE);
        assert_eq!(EpochParameters::from_value(Value::Null), Ok(EpochParameters::DISABLED));
    }
}
