//! Which folder a blob lies in: the file `.shards`, parsed as leniently as Kopia does.
//!
//! Kopia decodes with Go's `encoding/json`: the first JSON value counts and what follows doesn't,
//! keys match whatever their case, unknown ones and `null` are passed over. Lengths are bytes, and
//! an ID may be cut inside a character. Format: docs/format/01-blob-storage.md §3.2 and §3.3.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use blob_core::BlobId;
use serde::Serialize;
use serde_json::Value;

/// The name of the file in the folder.
pub(crate) const FILE: &str = ".shards";

/// What ends the name of every blob's file.
pub(crate) const SUFFIX: &str = ".f";

/// IDs up to this length lie in the folder itself, unless `.shards` says otherwise.
pub(crate) const UNSHARDED_LENGTH: i64 = 20;

/// The rules that cut a blob's ID into folders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shards {
    /// How many bytes of an ID name each folder on the way; `None` is written as `null` and cuts
    /// nothing.
    pub default: Option<Vec<u32>>,
    /// IDs of at most this many bytes lie in the folder itself.
    #[serde(rename = "maxNonShardedLength")]
    pub max_non_sharded_length: i64,
    /// Other cuts for some IDs; the first whose prefix fits counts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<ShardOverride>,
}

/// How IDs of one prefix are cut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default)]
pub struct ShardOverride {
    /// The beginning of the IDs.
    pub prefix: String,
    /// As [`Shards::default`].
    pub shards: Option<Vec<u32>>,
}

/// A `.shards` that can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(".shards can't be read: {reason}")]
pub struct InvalidShards {
    /// What is wrong with it.
    pub reason: String,
}

fn invalid(reason: impl Into<String>) -> InvalidShards {
    InvalidShards { reason: reason.into() }
}

impl Shards {
    /// Kopia's rules for a folder without `.shards`, with these cuts.
    pub fn with_default(shards: Vec<u32>) -> Self {
        let max_non_sharded_length = UNSHARDED_LENGTH;
        Self { default: Some(shards), max_non_sharded_length, overrides: Vec::new() }
    }

    /// Reads the file's bytes.
    ///
    /// # Errors
    /// [`InvalidShards`] where Kopia fails too (no JSON value, values of other types), and for
    /// negative cuts, at which Kopia crashes.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidShards> {
        // Go puts U+FFFD for what is not UTF-8.
        let text = String::from_utf8_lossy(bytes);
        let mut values = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
        let value = values.next().ok_or_else(|| invalid("it is empty"))?;
        let value = value.map_err(|error| invalid(error.to_string()))?;
        let mut shards = Self { default: None, max_non_sharded_length: 0, overrides: Vec::new() };
        for (key, value) in fields(&value, "the file")? {
            if key.eq_ignore_ascii_case("default") {
                shards.default = cuts(value)?;
            } else if key.eq_ignore_ascii_case("maxNonShardedLength") {
                shards.max_non_sharded_length = number(value)?;
            } else if key.eq_ignore_ascii_case("overrides") {
                shards.overrides = overrides(value)?;
            }
        }
        Ok(shards)
    }

    /// The file's bytes, as Kopia writes them.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).expect("plain numbers and texts are JSON");
        bytes.push(b'\n');
        bytes
    }

    /// The path of the blob's file, from the folder on.
    ///
    /// # Errors
    /// A reason if a part of the path would be `.` or `..`, which lead out of the layout.
    pub fn path_of(&self, id: &BlobId) -> Result<PathBuf, String> {
        let mut path = PathBuf::new();
        let mut rest = id.as_str().as_bytes();
        let cuts = if rest.len() as i64 <= self.max_non_sharded_length {
            &[]
        } else {
            self.cuts_of(id).unwrap_or_default()
        };
        for &size in cuts {
            let size = size as usize;
            if rest.len() <= size {
                break;
            }
            let (part, after) = rest.split_at(size);
            if matches!(part, b"." | b"..") {
                return Err(format!("{id} would lie in a folder called {}", id_part(part)));
            }
            if !part.is_empty() {
                path.push(OsStr::from_bytes(part));
            }
            rest = after;
        }
        let name = [rest, SUFFIX.as_bytes()].concat();
        path.push(Path::new(OsStr::from_bytes(&name)));
        Ok(path)
    }

    fn cuts_of(&self, id: &BlobId) -> Option<&[u32]> {
        let own = self.overrides.iter().find(|entry| id.starts_with(&entry.prefix));
        own.map_or(&self.default, |entry| &entry.shards).as_deref()
    }
}

fn id_part(part: &[u8]) -> String {
    String::from_utf8_lossy(part).into_owned()
}

/// The fields of an object that are not `null`; none of `null` itself.
fn fields<'a>(
    value: &'a Value,
    what: &str,
) -> Result<impl Iterator<Item = (&'a String, &'a Value)>, InvalidShards> {
    let map = match value {
        Value::Object(map) => Some(map),
        Value::Null => None,
        other => return Err(invalid(format!("{what} should be an object, it is {other}"))),
    };
    Ok(map.into_iter().flatten().filter(|(_, value)| !value.is_null()))
}

fn number(value: &Value) -> Result<i64, InvalidShards> {
    value.as_i64().ok_or_else(|| invalid(format!("{value} should be a whole number")))
}

fn cuts(value: &Value) -> Result<Option<Vec<u32>>, InvalidShards> {
    let Some(items) = list(value)? else { return Ok(None) };
    let cut = |item: &Value| match item {
        Value::Null => Ok(0),
        // More than any ID has bytes is as good as infinite.
        item => match number(item)? {
            size @ 0.. => Ok(u32::try_from(size).unwrap_or(u32::MAX)),
            size => Err(invalid(format!("{size} should not be negative"))),
        },
    };
    items.iter().map(cut).collect::<Result<_, _>>().map(Some)
}

fn overrides(value: &Value) -> Result<Vec<ShardOverride>, InvalidShards> {
    let read = |item| {
        let mut entry = ShardOverride::default();
        for (key, value) in fields(item, "an override")? {
            if key.eq_ignore_ascii_case("prefix") {
                let text = value.as_str();
                let text = text.ok_or_else(|| invalid(format!("{value} should be a text")))?;
                text.clone_into(&mut entry.prefix);
            } else if key.eq_ignore_ascii_case("shards") {
                entry.shards = cuts(value)?;
            }
        }
        Ok(entry)
    };
    list(value)?.unwrap_or_default().iter().map(read).collect()
}

fn list(value: &Value) -> Result<Option<&[Value]>, InvalidShards> {
    match value {
        Value::Array(items) => Ok(Some(items)),
        Value::Null => Ok(None),
        other => Err(invalid(format!("{other} should be a list"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `vectors/shards.json`: made with Kopia's own package.
    #[test]
    fn every_vector_of_kopia_gives_its_paths_and_is_written_back_equal() {
        let vectors = kopia_fixtures::vectors("shards.json");
        let mut paths = 0;
        for case in vectors["cases"].as_array().unwrap() {
            let text = case["shards"].as_str().unwrap();
            let shards = Shards::parse(text.as_bytes()).unwrap();
            for (id, path) in case["paths"].as_object().unwrap() {
                let found = shards.path_of(&BlobId::new(id).unwrap()).unwrap();
                assert_eq!(found, Path::new(path.as_str().unwrap()), "{id} by {text}");
                paths += 1;
            }
            assert_eq!(shards.to_bytes(), case["saved"].as_str().unwrap().as_bytes());
        }
        assert!(paths >= 70, "only {paths} paths were compared");
    }

    #[test]
    fn the_file_is_read_as_go_reads_it() {
        let expected = Shards::with_default(vec![1, 3]);
        for text in [
            r#"{"default":[1,3],"maxNonShardedLength":20}"#,
            "\n {\"DEFAULT\":[1,3],\"maxnonshardedlength\":20} trailing {junk",
            r#"{"default":[9],"maxNonShardedLength":20,"x":{},"default":[1,3]}{"default":[2]}"#,
            r#"{"default":[1,3],"maxNonShardedLength":20,"overrides":null}"#,
            r#"{"default":[1,3],"maxNonShardedLength":20,"Default":null,"overrides":[]}"#,
        ] {
            assert_eq!(Shards::parse(text.as_bytes()).unwrap(), expected, "{text}");
        }
        let nothing = Shards::parse(b"null").unwrap();
        assert_eq!(nothing, Shards::parse(b"{}").unwrap());
        assert_eq!(nothing.to_bytes(), b"{\"default\":null,\"maxNonShardedLength\":0}\n");
    }

    #[test]
    fn what_go_refuses_is_refused_with_the_reason() {
        for (text, reason) in [
            ("", "it is empty"),
            ("  ", "it is empty"),
            ("{\"default\":[1,3]", "EOF"),
            ("[]", "should be an object"),
            (r#"{"default":"1,3"}"#, "should be a list"),
            (r#"{"default":[1.5]}"#, "1.5 should be a whole number"),
            (r#"{"default":[-1]}"#, "-1 should not be negative"),
            (r#"{"maxNonShardedLength":"20"}"#, "should be a whole number"),
            (r#"{"overrides":[{"prefix":7}]}"#, "7 should be a text"),
            (r#"{"overrides":[7]}"#, "an override should be an object"),
        ] {
            let error = Shards::parse(text.as_bytes()).unwrap_err();
            assert!(error.reason.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn of_two_overrides_that_fit_the_first_counts() {
        let text = r#"{"default":[1,3],"overrides":[{"prefix":"xn","shards":[2]},{"prefix":"x"}]}"#;
        let shards = Shards::parse(text.as_bytes()).unwrap();
        let path = |id| shards.path_of(&BlobId::new(id).unwrap()).unwrap();
        assert_eq!(path("xn12_abc"), Path::new("xn/12_abc.f"));
        assert_eq!(path("xe12"), Path::new("xe12.f"));
        assert_eq!(path("q0123"), Path::new("q/012/3.f"));
    }

    #[test]
    fn a_part_that_would_lead_out_of_the_folder_is_refused() {
        let shards = Shards { max_non_sharded_length: 0, ..Shards::with_default(vec![2, 1]) };
        for id in ["..etc", "ab.c"] {
            assert!(shards.path_of(&BlobId::new(id).unwrap()).is_err(), "{id}");
        }
        // The name itself has a suffix and so can't be one of them.
        assert_eq!(shards.path_of(&BlobId::new("..").unwrap()).unwrap(), Path::new("...f"));
    }
}
