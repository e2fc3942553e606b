//! What a repository demands of its clients beyond the format version.
//!
//! A feature that a client doesn't know either keeps it out or makes it warn, as the writer of
//! the demand chose. Real repositories of Kopia 0.23 demand nothing.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{FormatError, Result, json::null_is_default};

/// The features that this client has.
pub const SUPPORTED_FEATURES: &[&str] = &["index-v1", "index-v2"];

/// A feature that clients must have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequiredFeature {
    /// Its name.
    #[serde(default, deserialize_with = "null_is_default")]
    pub feature: String,
    /// What a client does that doesn't have it.
    #[serde(default, deserialize_with = "null_is_default", rename = "ifNotUnderstood")]
    pub if_not_understood: IfNotUnderstood,
}

/// What a client does about a feature that it doesn't have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct IfNotUnderstood {
    /// Warn and go on, rather than refuse.
    pub warn: bool,
    /// What to tell people.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub message: String,
    /// Where they can read more.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub url: String,
    /// Which version has the feature.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub upgrade_to_version: String,
}

/// Something to tell people about a repository that can be used all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// A feature is missing here, and the repository says that a warning is enough.
    UnknownFeature(RequiredFeature),
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::UnknownFeature(feature) = self;
        write!(f, "this version has no feature {feature}")
    }
}

/// The feature and, in brackets, what its demand says.
impl fmt::Display for RequiredFeature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let IfNotUnderstood { message, url, upgrade_to_version, .. } = &self.if_not_understood;
        let mut notes = Vec::new();
        if !message.is_empty() {
            notes.push(message.clone());
        }
        if !url.is_empty() {
            notes.push(format!("see {url}"));
        }
        if !upgrade_to_version.is_empty() {
            notes.push(format!("Kopia {upgrade_to_version} has it"));
        }
        f.write_str(&self.feature)?;
        if notes.is_empty() { Ok(()) } else { write!(f, " ({})", notes.join("; ")) }
    }
}

/// Refuses or warns about what is not supported here.
pub(super) fn check(required: &[RequiredFeature]) -> Result<Vec<Warning>> {
    let unknown = required.iter().filter(|r| !SUPPORTED_FEATURES.contains(&r.feature.as_str()));
    unknown
        .map(|feature| match feature.if_not_understood.warn {
            true => Ok(Warning::UnknownFeature(feature.clone())),
            false => Err(FormatError::Unsupported {
                what: "required feature",
                name: feature.to_string(),
            }),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn required(json: &str) -> Vec<RequiredFeature> {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn supported_features_pass_and_unknown_ones_refuse_or_warn() {
        assert_eq!(check(&[]), Ok(vec![]));
        let known = required(r#"[{"feature":"index-v2","ifNotUnderstood":{"warn":false}}]"#);
        assert_eq!(check(&known), Ok(vec![]));

        let refused = required(
            r#"[{"feature":"moon","ifNotUnderstood":{"warn":false,"message":"No moon.",
                "url":"http://u","upgradeToVersion":"9.9"}}]"#,
        );
        let name = "moon (No moon.; see http://u; Kopia 9.9 has it)".to_owned();
        assert_eq!(
            check(&refused),
            Err(FormatError::Unsupported { what: "required feature", name })
        );

        let warned = required(r#"[{"feature":"moon","ifNotUnderstood":{"warn":true}}]"#);
        let warnings = check(&warned).unwrap();
        assert_eq!(warnings[0].to_string(), "this version has no feature moon");
    }

    #[test]
    fn a_demand_without_instructions_refuses() {
        assert!(check(&required(r#"[{"feature":"moon"}]"#)).is_err());
        assert!(check(&required(r#"[{"ifNotUnderstood":null}]"#)).is_err());
    }

    #[test]
    fn demands_are_written_with_kopias_omissions() {
        let text = r#"[{"feature":"f","ifNotUnderstood":{"warn":true,"url":"u"}}]"#;
        assert_eq!(serde_json::to_string(&required(text)).unwrap(), text);
    }
}
