//! The file as we write it: canonical, and nothing lost.
//!
//! Entries and keys keep their order, keys that Kopia reads get their canonical names, and all
//! others keep the bytes of both their name and value. What Kopia makes of the file is the same
//! before and after; duplicates and nulls, whose effect is in the entries already, are gone.

use crate::{
    Entry, StorageConfig,
    model::{Member, RawMember, TopMember},
};

impl StorageConfig {
    /// The text of the file: UTF-8 wherever what it was read from was, two blanks deep, no byte
    /// order mark.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut parts: Vec<Vec<u8>> = Vec::new();
        let mut has_entries = false;
        for member in &self.members {
            match member {
                TopMember::Entries => {
                    has_entries = true;
                    parts.push(entries(&self.entries));
                }
                TopMember::Other(other) => parts.push(raw(other)),
            }
        }
        if !has_entries && !self.entries.is_empty() {
            parts.push(entries(&self.entries));
        }
        if parts.is_empty() {
            return b"{}\n".to_vec();
        }
        let mut out = b"{\n  ".to_vec();
        out.extend(parts.join(&b",\n  "[..]));
        out.extend(b"\n}\n");
        out
    }
}

fn entries(entries: &[Entry]) -> Vec<u8> {
    if entries.is_empty() {
        return br#""blobOptions": []"#.to_vec();
    }
    let mut out = b"\"blobOptions\": [\n    ".to_vec();
    out.extend(entries.iter().map(entry).collect::<Vec<_>>().join(&b",\n    "[..]));
    out.extend(b"\n  ]");
    out
}

fn entry(entry: &Entry) -> Vec<u8> {
    let parts: Vec<Vec<u8>> = entry
        .members
        .iter()
        .map(|member| match member {
            Member::Prefix => text("prefix", &entry.prefix),
            Member::Class => text("storageClass", &entry.class),
            Member::Other(other) => raw(other),
        })
        .collect();
    if parts.is_empty() {
        return b"{}".to_vec();
    }
    [&b"{ "[..], &parts.join(&b", "[..]), b" }"].concat()
}

fn text(key: &str, value: &str) -> Vec<u8> {
    format!("\"{key}\": {}", serde_json::Value::from(value)).into_bytes()
}

fn raw(member: &RawMember) -> Vec<u8> {
    [&*member.raw_key, b": ", &*member.raw_value].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_unknown_keys_survive_and_names_become_canonical() {
        let text = br#"{"version": 2, "BLOBOPTIONS": [{"x": [1,  2], "storageclass": "GLACIER_IR",
            "Prefix": "p", "prefix": null}, null, {"storageClass": ""}], "y": 1e999999}"#;
        let config = StorageConfig::parse(text).unwrap();
        let expected = r#"{
  "version": 2,
  "blobOptions": [
    { "x": [1,  2], "storageClass": "GLACIER_IR", "prefix": "p" },
    {},
    { "storageClass": "" }
  ],
  "y": 1e999999
}
"#;
        assert_eq!(String::from_utf8(config.to_bytes()).unwrap(), expected);
    }

    #[test]
    fn no_rules_are_an_empty_object() {
        assert_eq!(StorageConfig::new().to_bytes(), b"{}\n");
        let cleared = StorageConfig::parse(br#"{"blobOptions":null,"a":1}"#).unwrap();
        assert_eq!(cleared.to_bytes(), b"{\n  \"blobOptions\": [],\n  \"a\": 1\n}\n");
    }
}
