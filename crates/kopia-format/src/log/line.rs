//! One line of a log: a JSON object with Kopia's keys.
//!
//! `t` is the time, `span:…` says what belongs together, `n` who speaks, `m` the message; its
//! fields follow. Kopia's readers of logs are people and `jq`, so the order is Kopia's too.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::time::GoTime;

/// A line, with its newline: time, what is said of all such lines, message, fields of this one.
///
/// `fields` should be a structure or a map; nothing (`()`, `None`) is no field, and any other value
/// is the field `value`. A field that has the name of one before it gets underscores behind it. One
/// that is no JSON is lost, and the field `error` says so: a log must not fail what it is about.
pub fn log_line(
    time: GoTime,
    about: &[(String, String)],
    message: &str,
    fields: &impl Serialize,
) -> Vec<u8> {
    let mut line = Map::new();
    line.insert("t".into(), in_microseconds(time).into());
    for (key, value) in about {
        put(&mut line, key, value.as_str().into());
    }
    put(&mut line, "m", message.into());
    match serde_json::to_value(fields) {
        Ok(Value::Object(fields)) => {
            fields.into_iter().for_each(|(key, value)| put(&mut line, &key, value));
        }
        Ok(Value::Null) => {}
        Ok(other) => put(&mut line, "value", other),
        Err(error) => put(&mut line, "error", error.to_string().into()),
    }
    let mut text = Value::Object(line).to_string().into_bytes();
    text.push(b'\n');
    text
}

fn put(line: &mut Map<String, Value>, key: &str, value: Value) {
    let mut key = key.to_owned();
    while line.contains_key(&key) {
        key.push('_');
    }
    line.insert(key, value);
}

/// Always six digits behind the point, as in Kopia's logs and nowhere else.
fn in_microseconds(time: GoTime) -> String {
    let mut text = GoTime::from_secs(time.secs()).to_string();
    text.pop();
    let _ = write!(text, ".{:06}Z", time.subsec_nanos() / 1000);
    text
}

/// The value of `span:client`: the same in all logs of one user on one machine.
pub fn client_span(username: &str, hostname: &str) -> String {
    base32(&Sha256::digest(format!("{username}@{hostname}"))[..10])
}

/// The value of any other span, such as `span:repo`: five random bytes.
pub fn random_span(random: [u8; 5]) -> String {
    base32(&random)
}

/// RFC 4648 in small letters, for multiples of five bytes.
fn base32(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let groups = bytes.chunks_exact(5).flat_map(|group| {
        let bits = group.iter().fold(0u64, |bits, &byte| bits << 8 | u64::from(byte));
        (0..8).rev().map(move |place| char::from(DIGITS[(bits >> (5 * place) & 31) as usize]))
    });
    groups.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn line(message: &str, fields: &impl Serialize) -> String {
        let about = [("span:client", "k24zdcaeuzfpdj7u"), ("n", "storage")];
        let about = about.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let time = "2026-11-29T10:45:21.1999Z".parse().unwrap();
        String::from_utf8(log_line(time, &about, message, fields)).unwrap()
    }

    #[test]
    fn a_line_is_what_kopia_writes() {
        // Printed by `kopia logs show` of 0.23.1, but for the time's last digits and the span.
        let expected = concat!(
            r#"{"t":"2026-11-29T10:45:21.199900Z","span:client":"k24zdcaeuzfpdj7u","n":"storage","#,
            r#""m":"DeleteBlob","blobID":"sf14811966","error":null,"duration":478}"#,
            "\n"
        );
        let fields = json!({"blobID": "sf14811966", "error": null, "duration": 478});
        assert_eq!(line("DeleteBlob", &fields), expected);
    }

    #[test]
    fn any_fields_make_one_line() {
        let fields = |fields: &dyn Fn() -> String| {
            let text = fields();
            assert!(text.ends_with("}\n") && text.matches('\n').count() == 1, "{text}");
            let keys = serde_json::from_str::<Map<String, Value>>(&text).unwrap();
            keys.into_iter().skip(4).collect::<Vec<_>>()
        };
        assert_eq!(fields(&|| line("a\n\"b\"", &())), []);
        assert_eq!(fields(&|| line("a", &[1, 2])), [("value".into(), json!([1, 2]))]);
        let twice = json!({"m": "x", "t": 1, "m_": "\u{1}"});
        let renamed = [("m_", json!("x")), ("t_", json!(1)), ("m__", json!("\u{1}"))];
        let renamed = renamed.map(|(key, value)| (key.to_owned(), value));
        assert_eq!(fields(&|| line("a", &twice)), renamed);
        let no_keys = std::collections::BTreeMap::from([((1, 2), 3)]);
        assert_eq!(fields(&|| line("a", &no_keys))[0].0, "error");
    }

    #[test]
    fn spans_are_kopias() {
        // Written by Kopia 0.23.1 connected as u@h.
        assert_eq!(client_span("u", "h"), "k24zdcaeuzfpdj7u");
        assert_eq!(random_span([0; 5]), "aaaaaaaa");
        assert_eq!(random_span([255; 5]), "77777777");
    }
}
