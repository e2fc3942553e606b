//! Policies outside of a repository: the file that `policy export` writes, and keys that are none.
//!
//! The file is one JSON object, keyed by target in the form that Kopia shows: `(global)`, `@host`,
//! `user@host`, `user@host:path`. Fact: Kopia 0.23.1, `cli/command_policy_export.go`.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{ActionCommand, Policy};
use crate::error::{FormatError, Result};

impl Policy {
    /// Reads exported policies, each with the text of its target. What follows the object is passed
    /// over, as Kopia does.
    ///
    /// # Errors
    ///
    /// [`FormatError::Malformed`] if it is no object of policies.
    pub fn parse_exported(data: &[u8]) -> Result<BTreeMap<String, Self>> {
        let malformed = |reason: String| FormatError::malformed("exported policies", reason);
        match serde_json::Deserializer::from_slice(data).into_iter().next() {
            Some(Ok(policies)) => Ok(policies),
            Some(Err(error)) => Err(malformed(error.to_string())),
            None => Err(malformed("there is nothing".to_owned())),
        }
    }

    /// Keys of this policy that Kopia 0.23.1 doesn't know, as paths: `retention.keepForever`.
    #[must_use]
    pub fn unknown_keys(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut take = |group: &str, extra: &Map<String, Value>| {
            found.extend(extra.keys().map(|key| match group {
                "" => key.clone(),
                group => format!("{group}.{key}"),
            }));
        };
        take("", &self.extra);
        take("retention", &self.retention.extra);
        take("files", &self.files.extra);
        take("errorHandling", &self.error_handling.extra);
        take("scheduling", &self.scheduling.extra);
        take("compression", &self.compression.extra);
        take("metadataCompression", &self.metadata_compression.extra);
        take("splitter", &self.splitter.extra);
        let actions = &self.actions;
        take("actions", &actions.extra);
        for (name, action) in [
            ("actions.beforeFolder", &actions.before_folder),
            ("actions.afterFolder", &actions.after_folder),
            ("actions.beforeSnapshotRoot", &actions.before_snapshot_root),
            ("actions.afterSnapshotRoot", &actions.after_snapshot_root),
        ] {
            let extra = action.as_ref().map(|ActionCommand { extra, .. }| extra);
            extra.into_iter().for_each(|extra| take(name, extra));
        }
        take("osSnapshots", &self.os_snapshots.extra);
        take("osSnapshots.volumeShadowCopy", &self.os_snapshots.volume_shadow_copy.extra);
        take("logging", &self.logging.extra);
        take("logging.directories", &self.logging.directories.extra);
        take("logging.entries", &self.logging.entries.extra);
        take("upload", &self.upload.extra);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_are_none_are_named_in_every_group() {
        let group = |inner: &str| format!(r#"{{"x":1{inner}}}"#);
        let text = format!(
            r#"{{"retention":{g},"files":{g},"errorHandling":{g},"scheduling":{g},"compression":{g},
            "metadataCompression":{g},"splitter":{g},"actions":{},"osSnapshots":{},"logging":{},
            "upload":{g},"x":1}}"#,
            group(&format!(r#","beforeFolder":{},"afterSnapshotRoot":{}"#, group(""), group(""))),
            group(r#","volumeShadowCopy":{"x":1}"#),
            group(r#","directories":{"x":1},"entries":{"x":1}"#),
            g = group(""),
        );
        let unknown = Policy::parse(text.as_bytes()).unwrap().unknown_keys();
        assert_eq!(unknown.len(), text.matches(r#""x""#).count(), "{unknown:?}");
        assert!(unknown.contains(&"actions.beforeFolder.x".to_owned()), "{unknown:?}");
        assert!(Policy::default_global().unknown_keys().is_empty());
    }

    #[test]
    fn exported_policies_are_read_up_to_their_end() {
        let text = br#" {"u@h:/p":{"files":{}},"(global)":{}} and more"#;
        let policies = Policy::parse_exported(text).unwrap();
        assert_eq!(policies.keys().collect::<Vec<_>>(), ["(global)", "u@h:/p"]);
        for bad in ["", "[]", "{\"a\":null}", "{\"a\":1}", "{\"a\":{}"] {
            Policy::parse_exported(bad.as_bytes()).unwrap_err();
        }
    }
}
