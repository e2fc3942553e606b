//! Manifests: labelled JSON documents, many to a content.
//!
//! A content with prefix `m` is gzip of one JSON document with a list of entries. Deleting is
//! another entry with the same ID and a later time. Reading is exactly as strict as Kopia is, since
//! what Kopia refuses here must not be written by us either. Facts:
//! `docs/format/06-manifests-snapshots.md` §1.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{Read as _, Write as _};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::value::RawValue;

use crate::error::{FormatError, Result};
use crate::ids::ManifestId;
use crate::json::{self, is_zero, null_is_default};
use crate::time::GoTime;

const WHAT: &str = "manifest content";

/// The most JSON that one content may expand to. Real ones have some kilobytes per snapshot.
const MAX_JSON: u64 = 1 << 30;

/// Key of the label that every manifest has.
pub const TYPE_LABEL: &str = "type";

/// One manifest, or the mark that it was deleted.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct ManifestEntry {
    /// Its name.
    pub id: ManifestId,
    /// What it is found by; written as `null` when empty.
    #[serde(deserialize_with = "null_is_default", serialize_with = "null_if_empty")]
    pub labels: BTreeMap<String, String>,
    /// When it was put or deleted.
    pub modified: GoTime,
    /// The manifest of this ID is gone.
    #[serde(skip_serializing_if = "is_zero")]
    pub deleted: bool,
    /// The payload, as it is written.
    #[serde(serialize_with = "compacted")]
    pub data: Box<RawValue>,
}

impl Default for ManifestEntry {
    fn default() -> Self {
        Self {
            id: ManifestId::default(),
            labels: BTreeMap::new(),
            modified: GoTime::ZERO,
            deleted: false,
            data: RawValue::NULL.to_owned(),
        }
    }
}

impl PartialEq for ManifestEntry {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
            && self.labels == other.labels
            && self.modified == other.modified
            && self.deleted == other.deleted
            && self.data.get() == other.data.get()
    }
}

impl ManifestEntry {
    /// A manifest with a payload.
    ///
    /// # Errors
    ///
    /// [`FormatError::Invalid`] if there is no label `type`, or the payload can't be JSON.
    pub fn new<T: Serialize>(
        id: ManifestId,
        labels: BTreeMap<String, String>,
        modified: GoTime,
        payload: &T,
    ) -> Result<Self> {
        let invalid =
            |reason: &str| FormatError::Invalid { what: "manifest", reason: reason.into() };
        if labels.get(TYPE_LABEL).is_none_or(String::is_empty) {
            return Err(invalid("no label `type`"));
        }
        // Once through a value-free check, so that `to_vec` below can't fail.
        serde_json::to_writer(std::io::sink(), payload).map_err(|e| invalid(&e.to_string()))?;
        let text = String::from_utf8(json::to_vec(payload)).map_err(|_| invalid("no UTF-8"))?;
        let data = RawValue::from_string(text).map_err(|e| invalid(&e.to_string()))?;
        Ok(Self { id, labels, modified, deleted: false, data })
    }

    /// The mark that deletes a manifest.
    #[must_use]
    pub fn tombstone(id: ManifestId, modified: GoTime) -> Self {
        Self { id, modified, deleted: true, ..Self::default() }
    }

    /// Reads the payload.
    ///
    /// # Errors
    ///
    /// [`FormatError::Malformed`] if it is of another form.
    pub fn payload<'a, T: Deserialize<'a>>(&'a self) -> Result<T> {
        serde_json::from_str(self.data.get())
            .map_err(|error| FormatError::malformed("manifest", format!("{}: {error}", self.id)))
    }

    /// Has all of these labels.
    #[must_use]
    pub fn has_labels(&self, wanted: &[(&str, &str)]) -> bool {
        wanted.iter().all(|(key, value)| self.labels.get(*key).is_some_and(|v| v == value))
    }

    /// The value of a label; empty if it has none.
    #[must_use]
    pub fn label(&self, key: &str) -> &str {
        self.labels.get(key).map_or("", String::as_str)
    }

    /// Of two manifests where there should be one, this counts: the later, or the greater ID.
    #[must_use]
    pub fn is_preferred_to(&self, other: &Self) -> bool {
        (self.modified, &self.id) > (other.modified, &other.id)
    }
}

/// All entries of some contents, one per ID: the latest counts, of equal times the first seen.
#[derive(Debug, Clone, Default)]
pub struct MergedManifests {
    entries: BTreeMap<ManifestId, ManifestEntry>,
}

impl MergedManifests {
    /// Takes the entries of one more content.
    pub fn add(&mut self, content: ManifestContent) {
        for entry in content.entries {
            match self.entries.get(&entry.id) {
                Some(seen) if entry.modified <= seen.modified => {}
                _ => {
                    self.entries.insert(entry.id.clone(), entry);
                }
            }
        }
    }

    /// The manifests that are left when those deleted are taken out.
    #[must_use]
    pub fn into_live(self) -> BTreeMap<ManifestId, ManifestEntry> {
        let mut entries = self.entries;
        entries.retain(|_, entry| !entry.deleted);
        entries
    }
}

/// What one `m` content holds.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ManifestContent {
    /// The entries, in no order that means anything.
    #[serde(serialize_with = "null_if_none")]
    pub entries: Vec<ManifestEntry>,
}

impl ManifestContent {
    /// Reads a content: gzip of JSON.
    ///
    /// # Errors
    ///
    /// [`FormatError::Malformed`] if the stream is broken or longer than 1 GiB, or the JSON is not
    /// what Kopia reads.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let mut json = Vec::new();
        let mut stream = MultiGzDecoder::new(bytes).take(MAX_JSON + 1);
        stream
            .read_to_end(&mut json)
            .map_err(|error| FormatError::malformed(WHAT, error.to_string()))?;
        if json.len() as u64 > MAX_JSON {
            return Err(FormatError::malformed(WHAT, "longer than 1 GiB"));
        }
        Self::parse_json(&json)
    }

    /// Reads the JSON inside.
    ///
    /// # Errors
    ///
    /// [`FormatError::Malformed`] if it is not what Kopia reads.
    pub fn parse_json(json: &[u8]) -> Result<Self> {
        json::first_value(json, WHAT)
    }

    /// The JSON inside.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        json::to_line(self)
    }

    /// The bytes to store.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut stream = GzEncoder::new(Vec::new(), Compression::default());
        stream.write_all(&self.to_json()).expect("a vector takes any bytes");
        stream.finish().expect("a vector takes any bytes")
    }
}

impl<'de> Deserialize<'de> for ManifestContent {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        from.deserialize_map(Document)
    }
}

/// Reads the outer object as Kopia does: the key in any case and once, and beside it only strings.
/// (Kopia takes tokens one by one and stumbles over any other value, docs/format/06 trap 17.)
struct Document;

impl<'de> de::Visitor<'de> for Document {
    type Value = ManifestContent;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with entries")
    }

    fn visit_map<A: de::MapAccess<'de>>(
        self,
        mut map: A,
    ) -> std::result::Result<ManifestContent, A::Error> {
        let mut entries = None;
        while let Some(key) = map.next_key::<String>()? {
            if !key.eq_ignore_ascii_case("entries") {
                map.next_value::<String>()?;
            } else if entries.is_some() {
                return Err(de::Error::duplicate_field("entries"));
            } else {
                entries = Some(map.next_value()?);
            }
        }
        Ok(ManifestContent { entries: entries.unwrap_or_default() })
    }
}

/// Go writes a nil map as null.
fn null_if_empty<S: Serializer>(
    labels: &BTreeMap<String, String>,
    out: S,
) -> std::result::Result<S::Ok, S::Error> {
    (!labels.is_empty()).then_some(labels).serialize(out)
}

/// Go writes a nil slice as null.
fn null_if_none<S: Serializer>(
    entries: &[ManifestEntry],
    out: S,
) -> std::result::Result<S::Ok, S::Error> {
    (!entries.is_empty()).then_some(entries).serialize(out)
}

/// Go takes the blanks out of raw JSON that it writes, and escapes what it holds.
fn compacted<S: Serializer>(data: &RawValue, out: S) -> std::result::Result<S::Ok, S::Error> {
    let compact = json::compact(data.get());
    if compact == data.get() {
        return data.serialize(out);
    }
    RawValue::from_string(compact).map_err(serde::ser::Error::custom)?.serialize(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;

    #[test]
    fn contents_of_kopia_are_read_and_written_again_to_the_byte() {
        for case in kopia_fixtures::vectors("manifests.json")["cases"].as_array().unwrap() {
            let json = case["json"].as_str().unwrap();
            let gzip = base64::engine::general_purpose::STANDARD
                .decode(case["gzip"].as_str().unwrap())
                .unwrap();
            if case["name"] == "empty" {
                // Kopia writes this, and can't read it.
                assert!(ManifestContent::parse(&gzip).is_err());
                assert_eq!(ManifestContent::default().to_json(), json.as_bytes());
                continue;
            }
            let content = ManifestContent::parse(&gzip).unwrap();
            assert_eq!(String::from_utf8(content.to_json()).unwrap(), json);
            assert_eq!(ManifestContent::parse(&content.to_bytes()).unwrap(), content);
        }
    }

    #[test]
    fn reading_is_as_strict_as_kopias() {
        for case in kopia_fixtures::vectors("manifests.json")["decode"].as_array().unwrap() {
            let json = case["json"].as_str().unwrap();
            let parsed = ManifestContent::parse_json(json.as_bytes());
            if case.get("error").is_some() {
                assert!(parsed.is_err(), "{json} must be refused");
            } else {
                let count = case["entries"].as_u64().unwrap() as usize;
                assert_eq!(parsed.unwrap().entries.len(), count, "{json}");
            }
        }
        let deep = format!(r#"{{"entries":[{{"labels":{}"#, "[".repeat(100_000));
        assert!(ManifestContent::parse_json(deep.as_bytes()).is_err());
    }

    #[test]
    fn payloads_of_kopia_pass_through_their_types_unchanged() {
        let mut types = Vec::new();
        for case in kopia_fixtures::vectors("manifests.json")["cases"].as_array().unwrap() {
            let json = case["json"].as_str().unwrap();
            let Ok(content) = ManifestContent::parse_json(json.as_bytes()) else { continue };
            for entry in content.entries.iter().filter(|entry| !entry.deleted) {
                let again = match entry.label(TYPE_LABEL) {
                    "snapshot" => {
                        json::to_vec(&entry.payload::<crate::snapshot::SnapshotManifest>().unwrap())
                    }
                    "policy" => json::to_vec(&entry.payload::<crate::policy::Policy>().unwrap()),
                    _ => continue,
                };
                assert_eq!(String::from_utf8(again).unwrap(), entry.data.get());
                types.push(entry.label(TYPE_LABEL).to_owned());
            }
        }
        assert_eq!(types, ["snapshot", "snapshot", "policy"]);
    }

    #[test]
    fn a_tombstone_looks_like_kopias() {
        let modified = "2026-11-24T13:16:33.456826095Z".parse().unwrap();
        let content = ManifestContent {
            entries: vec![ManifestEntry::tombstone("82a7".parse().unwrap(), modified)],
        };
        let expected = concat!(
            r#"{"entries":[{"id":"82a7","labels":null,"modified":"2026-11-24T13:16:33.456826095Z","#,
            r#""deleted":true,"data":null}]}"#,
        );
        assert_eq!(String::from_utf8(content.to_json()).unwrap(), expected.to_owned() + "\n");
    }

    #[test]
    fn the_latest_entry_of_an_id_counts_and_the_first_of_equal_ones() {
        let entry = |id: &str, secs: i64, data: &str| {
            let labels = BTreeMap::from([(TYPE_LABEL.to_owned(), "t".to_owned())]);
            ManifestEntry::new(ManifestId::new(id), labels, GoTime::from_secs(secs), &data).unwrap()
        };
        let content = |entries: &[ManifestEntry]| ManifestContent { entries: entries.to_vec() };
        let mut merged = MergedManifests::default();
        merged.add(content(&[entry("a", 5, "new"), entry("b", 5, "first"), entry("c", 1, "")]));
        let gone = ManifestEntry::tombstone(ManifestId::new("c"), GoTime::from_secs(2));
        merged.add(content(&[entry("a", 4, "old"), entry("b", 5, "second"), gone]));
        let live = merged.into_live();
        let data: Vec<_> = live.values().map(|entry| entry.data.get()).collect();
        assert_eq!(data, ["\"new\"", "\"first\""]);
        assert!(entry("a", 5, "").is_preferred_to(&entry("b", 4, "")));
        assert!(entry("b", 5, "").is_preferred_to(&entry("a", 5, "")));
    }

    #[test]
    fn what_can_be_no_manifest_is_refused_and_blanks_are_taken_out() {
        let no_type = ManifestEntry::new("a".parse().unwrap(), BTreeMap::new(), GoTime::ZERO, &1);
        assert!(no_type.is_err());
        let json = br#"{"entries":[{"data":{ "a" : "<" }}]}"#;
        let content = ManifestContent::parse_json(json).unwrap();
        let again = String::from_utf8(content.to_json()).unwrap();
        assert!(again.ends_with("\"data\":{\"a\":\"\\u003c\"}}]}\n"), "{again}");
        assert!(ManifestContent::parse(b"\x1f\x8b broken").is_err());
    }
}
