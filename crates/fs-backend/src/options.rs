//! What a connection file says of a folder, under Kopia's names.
//!
//! Go reads `null` as "leave it"; zero modes mean the defaults. Keys that are not ours (the speed
//! limits stand between them) are kept as they are, so that a rewritten file loses nothing.
//! Format: docs/format/01-blob-storage.md §3.1.

use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

/// The options of a folder: `config` of a connection of type `filesystem`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct FilesystemOptions {
    /// The folder.
    pub path: PathBuf,
    /// Permissions of new files; 0 = 0600. The umask takes its share.
    #[serde(rename = "fileMode", deserialize_with = "or_default", skip_serializing_if = "is_zero")]
    pub file_mode: u32,
    /// Permissions of new folders; 0 = 0700. The umask takes its share.
    #[serde(rename = "dirMode", deserialize_with = "or_default", skip_serializing_if = "is_zero")]
    pub dir_mode: u32,
    /// The owner that root gives to new files; only together with `gid`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<i64>,
    /// The group that root gives to new files; only together with `uid`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gid: Option<i64>,
    /// How IDs are cut where the folder has no `.shards`; `None` = Kopia's default.
    #[serde(rename = "dirShards")]
    pub dir_shards: Option<Vec<u32>>,
    /// How many folders a list reads at once; 0 = 1.
    #[serde(
        rename = "listParallelism",
        deserialize_with = "or_default",
        skip_serializing_if = "is_zero"
    )]
    pub list_parallelism: u32,
    /// All other keys.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl FilesystemOptions {
    /// The folder `path` with everything else as Kopia has it by default.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), ..Self::default() }
    }

    /// Permissions of new files. Go keeps other bits in the same number; a file gets none of them.
    pub(crate) fn file_permissions(&self) -> u32 {
        if self.file_mode == 0 { 0o600 } else { self.file_mode & 0o777 }
    }

    pub(crate) fn dir_permissions(&self) -> u32 {
        if self.dir_mode == 0 { 0o700 } else { self.dir_mode & 0o777 }
    }
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

fn or_default<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    Option::<u32>::deserialize(from).map(Option::unwrap_or_default)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_of_kopia_reads_and_writes_back_equal() {
        for text in [
            r#"{"path":"/repo","dirShards":null}"#,
            r#"{"path":"/repo","fileMode":416,"dirMode":488,"uid":1,"gid":2,"dirShards":[]}"#,
            r#"{"path":"/r","dirShards":[3,3],"listParallelism":4,"readsPerSecond":1,"x":{}}"#,
        ] {
            let options: FilesystemOptions = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&options).unwrap(), text);
        }
    }

    #[test]
    fn null_is_the_default_and_zero_modes_are_kopias() {
        let text = r#"{"path":"/r","fileMode":null,"listParallelism":null,"uid":null}"#;
        let options: FilesystemOptions = serde_json::from_str(text).unwrap();
        assert_eq!(options, FilesystemOptions::at("/r"));
        assert_eq!((options.file_permissions(), options.dir_permissions()), (0o600, 0o700));
    }
}
