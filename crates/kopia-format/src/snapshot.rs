//! Snapshot manifests, and the source that a snapshot is of.
//!
//! A snapshot is a manifest whose payload names the root directory; its labels repeat the source so
//! that snapshots can be found without reading payloads. Facts:
//! `docs/format/06-manifests-snapshots.md` §1 and §2.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::directory::DirEntry;
use crate::error::{FormatError, Result};
use crate::ids::{ManifestId, ObjectId};
use crate::json::{is_zero, null_is_default};
use crate::time::GoTime;

/// Who backs up what: the identity of a line of snapshots, and the target of a policy.
///
/// Without a path it stands for a user on a host, without a user for a host, and empty for the
/// whole repository. Two sources are the same only if all three texts are.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Source {
    /// Host name.
    pub host: String,
    /// User name.
    pub user_name: String,
    /// Absolute path.
    pub path: String,
}

impl Source {
    /// The target of the global policy.
    #[must_use]
    pub fn global() -> Self {
        Self::default()
    }

    /// Puts a source together.
    #[must_use]
    pub fn new(
        host: impl Into<String>,
        user_name: impl Into<String>,
        path: impl Into<String>,
    ) -> Self {
        Self { host: host.into(), user_name: user_name.into(), path: path.into() }
    }

    /// Stands for the whole repository.
    #[must_use]
    pub fn is_global(&self) -> bool {
        self.host.is_empty() && self.user_name.is_empty() && self.path.is_empty()
    }

    /// Reads `(global)`, `user@host:path`, `user@host`, `@host`, or a path, which is made absolute
    /// at `cwd` and cleaned of `.` and `..` without looking at the disk.
    ///
    /// # Errors
    ///
    /// [`FormatError::Malformed`] if nothing follows the `@`.
    pub fn parse(text: &str, host: &str, user_name: &str, cwd: &str) -> Result<Self> {
        if text == "(global)" {
            return Ok(Self::global());
        }
        match (text.find('@'), text.find(':')) {
            (Some(at), Some(colon)) if 0 < at && at < colon => {
                return Ok(Self::new(&text[at + 1..colon], &text[..at], &text[colon + 1..]));
            }
            (Some(at), None) if at + 1 < text.len() => {
                return Ok(Self::new(&text[at + 1..], &text[..at], ""));
            }
            (Some(_), None) => {
                return Err(FormatError::malformed("source", format!("no host name in {text:?}")));
            }
            _ => {}
        }
        let absolute =
            if text.starts_with('/') { clean_path(text) } else { clean_path(&join(cwd, text)) };
        Ok(Self::new(host, user_name, absolute))
    }

    /// The labels of the snapshots of this source, without tags.
    #[must_use]
    pub fn snapshot_labels(&self) -> BTreeMap<String, String> {
        labels([
            ("type", "snapshot"),
            ("hostname", &self.host),
            ("username", &self.user_name),
            ("path", &self.path),
        ])
    }

    /// The labels of the policy of this target.
    #[must_use]
    pub fn policy_labels(&self) -> BTreeMap<String, String> {
        let policy = ("type", "policy");
        let (host, user) = (("hostname", &*self.host), ("username", &*self.user_name));
        if !self.path.is_empty() {
            labels([policy, ("policyType", "path"), host, user, ("path", &self.path)])
        } else if !self.user_name.is_empty() {
            labels([policy, ("policyType", "user"), host, user])
        } else if !self.host.is_empty() {
            labels([policy, ("policyType", "host"), host])
        } else {
            labels([policy, ("policyType", "global")])
        }
    }

    /// The source that the labels of a snapshot or policy name.
    #[must_use]
    pub fn from_labels(labels: &BTreeMap<String, String>) -> Self {
        let label = |key: &str| labels.get(key).cloned().unwrap_or_default();
        Self { host: label("hostname"), user_name: label("username"), path: label("path") }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, user_name, path } = self;
        if self.is_global() {
            f.pad("(global)")
        } else if path.is_empty() {
            f.pad(&format!("{user_name}@{host}"))
        } else {
            f.pad(&format!("{user_name}@{host}:{path}"))
        }
    }
}

fn labels<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

fn join(folder: &str, path: &str) -> String {
    format!("{folder}/{path}")
}

/// The shortest path that names the same file, going by the text alone: no `.`, no double slash,
/// and no `..` except at the start of a relative path.
#[must_use]
pub fn clean_path(path: &str) -> String {
    let absolute = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => match parts.last() {
                Some(&last) if last != ".." => {
                    parts.pop();
                }
                _ if absolute => {}
                _ => parts.push(".."),
            },
            _ => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (absolute, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

/// What an upload counted. Files uploaded in parts count once per part: for people there is the
/// summary of the root entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SnapshotStats {
    /// Bytes of uploaded files and of entries taken from the previous snapshot.
    pub total_size: u64,
    /// Bytes of files left out by ignore rules.
    pub excluded_total_size: u64,
    /// Files, or parts of files, uploaded.
    pub file_count: u64,
    /// Files and links taken from the previous snapshot.
    pub cached_files: u64,
    /// Files read in directories.
    pub non_cached_files: u64,
    /// Directories visited, unreadable ones included.
    pub dir_count: u64,
    /// Files left out by ignore rules.
    pub excluded_file_count: u64,
    /// Directories left out by ignore rules, and cache directories.
    pub excluded_dir_count: u64,
    /// Failures that the policy ignores.
    pub ignored_error_count: u64,
    /// Failures that count.
    pub error_count: u64,
}

/// The payload of a snapshot manifest.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SnapshotManifest {
    /// Empty in storage; filled with the ID of the manifest after loading.
    pub id: ManifestId,
    /// What was backed up.
    pub source: Source,
    /// Free text.
    pub description: String,
    /// When the walk began.
    pub start_time: GoTime,
    /// When it ended.
    pub end_time: GoTime,
    /// What was counted on the way.
    #[serde(deserialize_with = "null_is_default")]
    pub stats: SnapshotStats,
    /// Why the snapshot is not whole: `checkpoint`, `canceled`, `limit reached`; empty if it is.
    #[serde(skip_serializing_if = "is_zero")]
    pub incomplete: String,
    /// The top of the tree.
    pub root_entry: Option<DirEntry>,
    /// Tags; keys carry the prefix `tag:`.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "is_zero")]
    pub tags: BTreeMap<String, String>,
    /// Names that keep the snapshot from expiring, sorted and unique.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "is_zero")]
    pub pins: Vec<String>,
    /// Keys of a newer Kopia, kept when the manifest is saved again.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl SnapshotManifest {
    /// Reads a payload and fills in the ID.
    ///
    /// # Errors
    ///
    /// [`FormatError::Malformed`] if it is no snapshot.
    pub fn parse(id: &ManifestId, data: &[u8]) -> Result<Self> {
        let mut manifest: Self = serde_json::from_slice(data)
            .map_err(|error| FormatError::malformed("snapshot manifest", error.to_string()))?;
        manifest.id = id.clone();
        Ok(manifest)
    }

    /// The payload to store, which has no ID.
    ///
    /// # Errors
    ///
    /// [`FormatError::Invalid`] if the source has no host, user or path.
    pub fn to_stored(&self) -> Result<Self> {
        let Source { host, user_name, path } = &self.source;
        for (part, name) in [(host, "host"), (user_name, "user"), (path, "path")] {
            if part.is_empty() {
                let reason = format!("the source has no {name}");
                return Err(FormatError::Invalid { what: "snapshot manifest", reason });
            }
        }
        Ok(Self { id: ManifestId::default(), ..self.clone() })
    }

    /// The labels to store it under: those of the source, and the tags.
    #[must_use]
    pub fn labels(&self) -> BTreeMap<String, String> {
        let mut labels = self.tags.clone();
        // A tag can't replace what the snapshot is found by: its key has a prefix.
        labels.extend(self.source.snapshot_labels());
        labels
    }

    /// The whole source was seen (though entries may have failed).
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.incomplete.is_empty()
    }

    /// The object of the top of the tree, if there is one.
    #[must_use]
    pub fn root_object(&self) -> Option<ObjectId> {
        self.root_entry.as_ref().map(|entry| entry.object)
    }

    /// Adds and removes pins and tells whether anything changed.
    pub fn update_pins(&mut self, add: &[String], remove: &[String]) -> bool {
        let before: std::collections::BTreeSet<_> = self.pins.drain(..).collect();
        let mut after = before.clone();
        after.extend(add.iter().cloned());
        after.retain(|pin| !remove.contains(pin));
        let changed = before != after;
        self.pins = after.into_iter().collect();
        changed
    }
}

/// Prefix of the keys of tags, in labels and payloads.
pub const TAG_PREFIX: &str = "tag:";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    #[test]
    fn sources_are_read_as_kopia_reads_them() {
        for case in kopia_fixtures::vectors("manifests.json")["sources"].as_array().unwrap() {
            let text = case["text"].as_str().unwrap();
            // The vectors were made in the root folder.
            let parsed = Source::parse(text, "HOST", "USER", "/");
            let Some(expected) = case.get("source") else {
                assert!(parsed.is_err(), "{text:?} must be refused");
                continue;
            };
            let source = parsed.unwrap();
            assert_eq!(&serde_json::to_value(&source).unwrap(), expected, "{text}");
            assert_eq!(source.to_string(), case["string"].as_str().unwrap());
        }
    }

    #[test]
    fn targets_of_policies_have_kopias_labels() {
        for case in kopia_fixtures::vectors("manifests.json")["labels"].as_array().unwrap() {
            let source: Source = serde_json::from_value(case["source"].clone()).unwrap();
            let labels = source.policy_labels();
            assert_eq!(serde_json::to_value(&labels).unwrap(), case["policyLabels"]);
            assert_eq!(source.to_string(), case["string"].as_str().unwrap());
            assert_eq!(Source::from_labels(&labels), source);
        }
    }

    #[test]
    fn paths_are_cleaned_by_their_text() {
        for (path, clean) in [
            ("/abs/./x/../y", "/abs/y"),
            ("/..//a/", "/a"),
            ("/", "/"),
            ("a/../..", ".."),
            ("a/..", "."),
            ("../../a", "../../a"),
        ] {
            assert_eq!(clean_path(path), clean);
        }
        let relative = Source::parse("x/../y", "h", "u", "/home/u").unwrap();
        assert_eq!(relative.path, "/home/u/y");
    }

    #[test]
    fn a_real_manifest_is_written_again_to_the_byte() {
        // From docs/format/06 §2, with a key of the future.
        let stored = concat!(
            r#"{"id":"","source":{"host":"fixhost","userName":"fixuser","path":"/src"},"#,
            r#""description":"d\u003ce\u003es","startTime":"2026-11-24T13:07:52.146160748Z","#,
            r#""endTime":"2026-11-24T13:07:52.156034024Z","stats":{"totalSize":1056595,"#,
            r#""excludedTotalSize":0,"fileCount":12,"cachedFiles":0,"nonCachedFiles":12,"#,
            r#""dirCount":7,"excludedFileCount":0,"excludedDirCount":1,"ignoredErrorCount":0,"#,
            r#""errorCount":0},"rootEntry":{"name":"src","type":"d","mode":"0755","#,
            r#""mtime":"2026-11-24T13:07:51.757976609Z","obj":"k62a3c97ac920916d66a8a610a6e82e66","#,
            r#""summ":{"size":1056595,"files":12,"symlinks":2,"dirs":7,"#,
            r#""maxTime":"2026-11-24T13:07:51.753976609Z","numFailed":0}},"tags":{"tag:foo":"bar"},"#,
            r#""pins":["pinA"],"zzz":[{"b":1,"a":"\u003c"}]}"#,
        );
        let id = ManifestId::new("00ff");
        let manifest = SnapshotManifest::parse(&id, stored.as_bytes()).unwrap();
        assert_eq!(manifest.id, id);
        let again = json::to_vec(&manifest.to_stored().unwrap());
        assert_eq!(String::from_utf8(again).unwrap(), stored);
        let labels = manifest.labels();
        assert_eq!(labels["tag:foo"], "bar");
        assert_eq!(labels["path"], "/src");
        assert_eq!(labels.len(), 5);
    }

    #[test]
    fn pins_stay_sorted_and_unique() {
        let texts = |list: &[&str]| list.iter().map(|&pin| pin.to_owned()).collect::<Vec<_>>();
        let mut manifest = SnapshotManifest { pins: texts(&["b"]), ..Default::default() };
        assert!(manifest.update_pins(&texts(&["c", "a"]), &texts(&["b"])));
        assert_eq!(manifest.pins, ["a", "c"]);
        assert!(!manifest.update_pins(&texts(&["a"]), &texts(&["z"])));
        assert!(manifest.to_stored().is_err());
    }
}
