//! The list of chunks of an object that is too big for one content.
//!
//! An object `I…` is read by concatenating the objects in this list. The list itself is an object,
//! so a long one is again a list. It is hashed, so it is written to the byte as Kopia writes it.
//! Facts: `docs/format/05-objects.md` §3.

use serde::{Deserialize, Serialize};

use crate::error::{FormatError, Result};
use crate::ids::ObjectId;
use crate::json;

const WHAT: &str = "indirect object";
const STREAM: &str = "kopia:indirect";

/// Where one chunk lies in the object, and what holds its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndirectEntry {
    /// Offset of the first byte in the whole object.
    #[serde(rename = "s", default, skip_serializing_if = "json::is_zero")]
    pub start: u64,
    /// Number of plain bytes.
    #[serde(rename = "l", default, skip_serializing_if = "json::is_zero")]
    pub length: u64,
    /// The object that holds them, which may be indirect too.
    #[serde(rename = "o")]
    pub object: ObjectId,
}

/// The list of chunks of an object, without gaps.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IndirectObject {
    /// The chunks in order; at least one when read.
    pub entries: Vec<IndirectEntry>,
}

#[derive(Serialize)]
struct Written<'a> {
    stream: &'static str,
    entries: &'a [IndirectEntry],
}

#[derive(Deserialize)]
struct Read {
    stream: String,
    #[serde(default, deserialize_with = "json::null_is_default")]
    entries: Vec<IndirectEntry>,
}

impl IndirectObject {
    /// Reads the list.
    ///
    /// # Errors
    ///
    /// [`FormatError::Malformed`] if it is not such a list, is empty, or leaves gaps.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let malformed = |reason: &str| FormatError::malformed(WHAT, reason);
        let read: Read = json::first_value(bytes, WHAT)?;
        if read.stream != STREAM {
            return Err(malformed(&format!("stream {:?}", read.stream)));
        }
        if read.entries.is_empty() {
            return Err(malformed("no entries"));
        }
        let mut end = 0u64;
        for entry in &read.entries {
            if entry.start != end {
                return Err(malformed(&format!("a chunk at {}, expected at {end}", entry.start)));
            }
            end = end.checked_add(entry.length).ok_or_else(|| malformed("too long"))?;
        }
        Ok(Self { entries: read.entries })
    }

    /// The bytes to store.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        json::to_line(&Written { stream: STREAM, entries: &self.entries })
    }

    /// Length of the whole object.
    #[must_use]
    pub fn total_length(&self) -> u64 {
        self.entries.last().map_or(0, |last| last.start + last.length)
    }

    /// Appends one chunk.
    pub fn push(&mut self, object: ObjectId, length: u64) {
        let start = self.total_length();
        self.entries.push(IndirectEntry { start, length, object });
    }

    /// Appends all chunks of another object, moved behind what is here: concatenation does not
    /// nest lists.
    pub fn append(&mut self, other: &IndirectObject) {
        let offset = self.total_length();
        let moved = |entry: &IndirectEntry| IndirectEntry { start: offset + entry.start, ..*entry };
        self.entries.extend(other.entries.iter().map(moved));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ContentId;
    use sha2::{Digest, Sha256};

    #[test]
    fn lists_of_chunks_are_written_as_kopia_writes_them() {
        let secret = kopia_fixtures::spec_bytes("ctr:hash-key-1:32");
        for case in kopia_fixtures::vectors("indirect.json")["cases"].as_array().unwrap() {
            let mut list = IndirectObject::default();
            for i in 0..case["chunks"].as_u64().unwrap() {
                let hash = kopia_fixtures::spec_bytes(&format!("ctr:ind-{i}:16"));
                list.push(ContentId::new(None, &hash).unwrap().into(), 100 + i);
            }
            let bytes = list.to_bytes();
            let head = case["head"].as_str().unwrap().as_bytes();
            assert_eq!(&bytes[..head.len()], head);
            let digest = hex::encode(Sha256::digest(&bytes));
            assert_eq!(digest, case["sha256"].as_str().unwrap());
            let hash = blake2b_simd::Params::new().hash_length(32).key(&secret).hash(&bytes);
            let id = ContentId::new(Some(b'x'), &hash.as_bytes()[..16]).unwrap();
            let object = ObjectId::direct(id).wrapped();
            assert_eq!(object.to_string(), case["object"].as_str().unwrap());
            assert_eq!(IndirectObject::parse(&bytes).unwrap(), list);
        }
    }

    #[test]
    fn lists_with_gaps_or_of_another_kind_are_refused() {
        for wrong in [
            r#"{"stream":"kopia:indirect","entries":null}"#,
            r#"{"stream":"kopia:directory","entries":[{"o":"aa"}]}"#,
            r#"{"stream":"kopia:indirect","entries":[{"l":1,"o":"aa"},{"s":2,"o":"aa"}]}"#,
            r#"{"stream":"kopia:indirect","entries":[{"l":-1,"o":"aa"}]}"#,
            r#"{"stream":"kopia:indirect","entries":[{"l":1}]}"#,
            r#"{"stream":"kopia:indirect","entries":[{"l":18446744073709551615,"o":"aa"},
               {"s":18446744073709551615,"l":1,"o":"aa"}]}"#,
            "",
        ] {
            assert!(IndirectObject::parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn concatenation_moves_the_chunks_of_the_second() {
        let id = |text: &str| text.parse::<ObjectId>().unwrap();
        let mut whole = IndirectObject::default();
        whole.push(id("aa"), 10);
        let mut tail = IndirectObject::default();
        tail.push(id("bb"), 5);
        tail.push(id("cc"), 0);
        whole.append(&tail);
        let expected = concat!(
            r#"{"stream":"kopia:indirect","entries":[{"l":10,"o":"aa"},"#,
            r#"{"s":10,"l":5,"o":"bb"},{"s":15,"o":"cc"}]}"#,
            "\n"
        );
        assert_eq!(String::from_utf8(whole.to_bytes()).unwrap(), expected);
        assert_eq!(whole.total_length(), 15);
    }
}
