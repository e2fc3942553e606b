//! The keys of a JSON object, read as Kopia reads them.
//!
//! Go matches keys without regard to case, takes `null` for "not given" and passes over keys that
//! it does not know. Here the known keys are taken out one by one and the unknown ones are left for
//! the caller to keep, so that a document that a newer Kopia wrote survives being rewritten.
//! Format: `docs/format/02-format-blob.md`.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{FormatError, Result};

/// A JSON object from which known keys are taken.
pub(crate) struct Fields {
    what: &'static str,
    map: Map<String, Value>,
}

impl Fields {
    /// Parses `bytes`, which must hold one JSON object and nothing else.
    pub(crate) fn parse(what: &'static str, bytes: &[u8]) -> Result<Self> {
        // Go turns bytes that are not UTF-8 into replacement characters instead of failing.
        let text = String::from_utf8_lossy(bytes);
        let value = serde_json::from_str(&text)
            .map_err(|e| FormatError::malformed(what, format!("not JSON: {e}")))?;
        Self::new(what, value)
    }

    /// Takes a value apart; `null` is an object without keys.
    pub(crate) fn new(what: &'static str, value: Value) -> Result<Self> {
        match value {
            Value::Object(map) => Ok(Self { what, map }),
            Value::Null => Ok(Self { what, map: Map::new() }),
            _ => Err(FormatError::malformed(what, "not a JSON object")),
        }
    }

    /// Takes the raw value of `key`, `null` included. The last of several spellings wins, as in Go.
    pub(crate) fn take_raw(&mut self, key: &str) -> Option<Value> {
        let spellings: Vec<String> =
            self.map.keys().filter(|k| k.eq_ignore_ascii_case(key)).cloned().collect();
        spellings.into_iter().filter_map(|k| self.map.shift_remove(&k)).last()
    }

    /// Takes the value of `key`; `None` when it is missing or `null`.
    pub(crate) fn take<T: DeserializeOwned>(&mut self, key: &'static str) -> Result<Option<T>> {
        match self.take_raw(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => serde_json::from_value(value)
                .map(Some)
                .map_err(|e| FormatError::malformed(self.what, format!("{key}: {e}"))),
        }
    }

    /// Takes the value of `key`, or Go's zero value.
    pub(crate) fn or_zero<T: DeserializeOwned + Default>(
        &mut self,
        key: &'static str,
    ) -> Result<T> {
        Ok(self.take(key)?.unwrap_or_default())
    }

    /// Takes bytes written as standard base64; Go's decoder skips line ends in it.
    pub(crate) fn bytes(&mut self, key: &'static str) -> Result<Vec<u8>> {
        let mut text: String = self.or_zero(key)?;
        text.retain(|c| c != '\r' && c != '\n');
        STANDARD.decode(text).map_err(|e| FormatError::malformed(self.what, format!("{key}: {e}")))
    }

    /// The keys that nobody took.
    pub(crate) fn rest(self) -> Map<String, Value> {
        self.map
    }
}

/// A duration as Go stores it, for [`Fields::take`].
#[derive(Default, serde::Deserialize)]
#[serde(transparent)]
pub(crate) struct Nanos(#[serde(with = "crate::time::nanos")] pub(crate) std::time::Duration);

/// Byte strings as Go stores them: standard base64 with padding.
pub(crate) mod base64_text {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use serde::Serializer;

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(&STANDARD.encode(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_match_without_case_and_unknown_ones_are_left() {
        let mut fields = Fields::parse("test", br#"{"ONE":1,"two":null,"x":[3],"one":2}"#).unwrap();
        assert_eq!(fields.take::<u32>("One").unwrap(), Some(2), "the last spelling wins");
        assert_eq!(fields.take::<u32>("two").unwrap(), None);
        assert_eq!(fields.or_zero::<String>("three").unwrap(), "");
        assert_eq!(Value::Object(fields.rest()).to_string(), r#"{"x":[3]}"#);
    }

    #[test]
    fn what_is_not_one_object_is_refused() {
        for text in ["", "[]", "1", "{} {}", "{", "{\"a\":}"] {
            assert!(Fields::parse("test", text.as_bytes()).is_err(), "{text}");
        }
        assert!(Fields::parse("test", b"null").is_ok(), "Go takes null for an empty object");
    }

    #[test]
    fn a_wrong_type_names_its_key() {
        let mut fields = Fields::parse("test", br#"{"size":"big"}"#).unwrap();
        let error = fields.take::<u32>("size").unwrap_err().to_string();
        assert!(error.contains("size"), "{error}");
    }
}
