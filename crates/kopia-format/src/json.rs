//! JSON as Go writes it.
//!
//! Directories, indirect objects and manifests are hashed, so their JSON must equal Go's
//! `encoding/json` to the byte: no blanks, `<` `>` `&` and U+2028/9 escaped, short forms for
//! control characters where Go has them. Key order is the order of the struct, or of the map. Facts:
//! `docs/format/06-manifests-snapshots.md` §4.

use std::io;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter};
use serde_json::value::RawValue;

use crate::error::{FormatError, Result};

/// One line without blanks: `json.Marshal`.
///
/// # Panics
///
/// If a type cannot be JSON (a map with keys that are not strings, an error of its own).
#[must_use]
pub fn to_vec<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    serialize(value, CompactFormatter)
}

/// [`to_vec`] and a newline: Go's stream encoder.
///
/// # Panics
///
/// As [`to_vec`].
#[must_use]
pub fn to_line<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut out = to_vec(value);
    out.push(b'\n');
    out
}

/// Indented by two blanks: `json.MarshalIndent`, without a newline at the end.
///
/// # Panics
///
/// As [`to_vec`].
#[must_use]
pub fn to_vec_indent<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    serialize(value, PrettyFormatter::with_indent(b"  "))
}

fn serialize<T: Serialize + ?Sized, F: Formatter>(value: &T, layout: F) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, GoFormatter(layout));
    value.serialize(&mut serializer).expect("types written by this crate have string keys");
    out
}

/// Appends a JSON string of raw bytes, which need not be UTF-8.
///
/// As in Go every byte that belongs to no character becomes one `\ufffd`; Rust's lossy conversion
/// would make one of several.
pub fn write_string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    for chunk in bytes.utf8_chunks() {
        write_escaped(out, chunk.valid());
        for _ in chunk.invalid() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
    out.push(b'"');
}

/// Appends a text with all of Go's escapes.
fn write_escaped(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut from = 0;
    for (at, c) in text.char_indices() {
        let short: &[u8] = match c {
            '"' => b"\\\"",
            '\\' => b"\\\\",
            '\u{8}' => b"\\b",
            '\u{c}' => b"\\f",
            '\n' => b"\\n",
            '\r' => b"\\r",
            '\t' => b"\\t",
            '\u{2028}' => b"\\u2028",
            '\u{2029}' => b"\\u2029",
            '<' | '>' | '&' | '\0'..='\u{1f}' => b"",
            _ => continue,
        };
        out.extend_from_slice(&text.as_bytes()[from..at]);
        if short.is_empty() {
            let byte = c as usize;
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', HEX[byte >> 4], HEX[byte & 15]]);
        } else {
            out.extend_from_slice(short);
        }
        from = at + c.len_utf8();
    }
    out.extend_from_slice(&text.as_bytes()[from..]);
}

/// Takes the blanks out of a JSON text and adds Go's escapes, keeping all else to the letter.
///
/// This is what Go does to a `json.RawMessage` that it writes again. The text must be valid JSON.
#[must_use]
pub fn compact(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let mut in_string = false;
    let mut escaped = false;
    for c in json.chars() {
        match c {
            ' ' | '\t' | '\r' | '\n' if !in_string => continue,
            '<' => out.push_str("\\u003c"),
            '>' => out.push_str("\\u003e"),
            '&' => out.push_str("\\u0026"),
            '\u{2028}' => out.push_str("\\u2028"),
            '\u{2029}' => out.push_str("\\u2029"),
            _ => out.push(c),
        }
        match c {
            '"' if !escaped => in_string = !in_string,
            '\\' if !escaped => {
                escaped = true;
                continue;
            }
            _ => {}
        }
        escaped = false;
    }
    out
}

/// Reads a field where `null` means the zero value, as everywhere in Go.
///
/// # Errors
///
/// Those of the value.
pub fn null_is_default<'de, D, T>(from: D) -> std::result::Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// Reads the first JSON value of a stream and ignores what follows, as Go's decoder does.
///
/// Nesting is limited by serde_json, and nothing is allocated that the input does not fill.
pub(crate) fn first_value<T: DeserializeOwned>(bytes: &[u8], what: &'static str) -> Result<T> {
    T::deserialize(&mut serde_json::Deserializer::from_slice(bytes))
        .map_err(|error| FormatError::malformed(what, error.to_string()))
}

/// A name that is mostly, but not always, UTF-8: for `#[serde(with = …)]` on a `Vec<u8>`.
///
/// Written by the rule of [`write_string`](super::write_string); what is read is always UTF-8.
pub(crate) mod text {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(
        bytes: &[u8],
        out: S,
    ) -> std::result::Result<S::Ok, S::Error> {
        if let Ok(text) = std::str::from_utf8(bytes) {
            return out.serialize_str(text);
        }
        let mut json = Vec::with_capacity(bytes.len() + 16);
        write_string(&mut json, bytes);
        let json = String::from_utf8(json).map_err(serde::ser::Error::custom)?;
        RawValue::from_string(json).map_err(serde::ser::Error::custom)?.serialize(out)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> std::result::Result<Vec<u8>, D::Error> {
        Ok(Option::<String>::deserialize(from)?.unwrap_or_default().into_bytes())
    }
}

/// Whether a value is the zero value, for `skip_serializing_if` (Go's `omitempty`).
#[must_use]
pub fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// serde_json already writes Go's control characters; the rest is added here, over any layout.
struct GoFormatter<F>(F);

/// Passes the structure on to the layout.
macro_rules! delegate {
    ($($name:ident($($arg:ident: $ty:ty),*);)*) => {$(
        fn $name<W: ?Sized + io::Write>(&mut self, w: &mut W $(, $arg: $ty)*) -> io::Result<()> {
            self.0.$name(w $(, $arg)*)
        }
    )*};
}

impl<F: Formatter> Formatter for GoFormatter<F> {
    delegate! {
        begin_array();
        end_array();
        begin_array_value(first: bool);
        end_array_value();
        begin_object();
        end_object();
        begin_object_key(first: bool);
        end_object_key();
        begin_object_value();
        end_object_value();
    }

    fn write_string_fragment<W>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        let special = |c: char| matches!(c, '<' | '>' | '&' | '\u{2028}' | '\u{2029}');
        if !fragment.contains(special) {
            return writer.write_all(fragment.as_bytes());
        }
        let mut escaped = Vec::with_capacity(fragment.len() + 16);
        write_escaped(&mut escaped, fragment);
        writer.write_all(&escaped)
    }

    fn write_f64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        // Go has no `.0`; larger numbers get an exponent there and here.
        if value.fract() == 0.0 && value.abs() < 1e21 {
            return write!(writer, "{value}");
        }
        CompactFormatter.write_f64(writer, value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn strings_are_escaped_as_go_escapes_them() {
        let text = "<>&\u{2028}\u{2029}\"\\/\u{8}\u{c}\n\r\t\u{1}\u{1f}\u{7f}é\u{fffd}😀";
        let expected = "\"\\u003c\\u003e\\u0026\\u2028\\u2029\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001f\
                        \u{7f}é\u{fffd}😀\"";
        assert_eq!(String::from_utf8(to_vec(text)).unwrap(), expected);
        let mut raw = Vec::new();
        write_string(&mut raw, text.as_bytes());
        assert_eq!(String::from_utf8(raw).unwrap(), expected);
    }

    #[test]
    fn every_byte_outside_utf8_becomes_one_replacement() {
        let mut out = Vec::new();
        write_string(&mut out, b"a\xe2\x82<\xff\xed\xa0\x80z\xe2");
        let expected = r#""a\ufffd\ufffd\u003c\ufffd\ufffd\ufffd\ufffdz\ufffd""#;
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn layouts_are_gos() {
        let value = json!({"b": [1, 2.0, {}], "a": [], "c<": null});
        assert_eq!(to_vec(&value), br#"{"b":[1,2,{}],"a":[],"c\u003c":null}"#);
        assert_eq!(to_line(&value).last(), Some(&b'\n'));
        let indented = "{\n  \"b\": [\n    1,\n    2,\n    {}\n  ],\n  \"a\": [],\n  \
                        \"c\\u003c\": null\n}";
        assert_eq!(String::from_utf8(to_vec_indent(&value)).unwrap(), indented);
    }

    #[test]
    fn numbers_are_the_same_each_time_they_are_read_and_written() {
        // Without `float_roundtrip` serde_json reads the neighbour of some of these.
        for (text, written) in [
            ("184467440737095516160", "184467440737095500000"),
            ("184467440737095500000", "184467440737095500000"),
            ("0.30000000000000004", "0.30000000000000004"),
            (
                "7.0420557077594588669468784357561207962098443483187940792729600000",
                "7.0420557077594585",
            ),
        ] {
            let value: Value = serde_json::from_str(text).unwrap();
            assert_eq!(String::from_utf8(to_vec(&value)).unwrap(), written, "{text}");
        }
    }

    #[test]
    fn raw_json_is_compacted_and_escaped_but_not_changed() {
        let raw = "{ \"a b\" : [ 1.50 ,\n\t\"x \\\" <y> \\\\\" , \"\\u00e9\" ] }";
        let expected = r#"{"a b":[1.50,"x \" \u003cy\u003e \\","\u00e9"]}"#;
        assert_eq!(compact(raw), expected);
        let value = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        assert_eq!(value(raw), value(expected));
    }
}
