//! Small text forms that S3 needs: percent encoding, dates, hexadecimal digits, XML escapes.

use std::fmt::Write as _;
use std::time::SystemTime;

use s3s::dto::{Timestamp, TimestampFormat};

/// `Fri, 21 Dec 2012 00:00:00 GMT`.
pub(crate) fn http_date(time: SystemTime) -> String {
    format_time(time, TimestampFormat::HttpDate)
}

/// `2012-12-21T00:00:00.000Z`.
pub(crate) fn iso_date(time: SystemTime) -> String {
    format_time(time, TimestampFormat::DateTime)
}

fn format_time(time: SystemTime, format: TimestampFormat) -> String {
    let mut text = Vec::new();
    // Writing to memory does not fail, and a year beyond 9999 would only be an empty text.
    let _ = Timestamp::from(time).format(format, &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// The time that a timestamp stands for; none before 1970.
pub(crate) fn system_time(timestamp: &Timestamp) -> Option<SystemTime> {
    let mut text = Vec::new();
    timestamp.format(TimestampFormat::EpochSeconds, &mut text).ok()?;
    let secs: f64 = std::str::from_utf8(&text).ok()?.parse().ok()?;
    let since = std::time::Duration::try_from_secs_f64(secs).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(since)
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Undoes percent encoding; in a query `+` is a blank too.
pub(crate) fn percent_decode(text: &str, plus_is_blank: bool) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%')
            .then(|| bytes.get(at + 1..at + 3))
            .flatten()
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match escaped {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                let blank = plus_is_blank && bytes[at] == b'+';
                out.push(if blank { b' ' } else { bytes[at] });
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The encoding of `encoding-type=url`: a blank becomes `+`, a slash stays.
pub(crate) fn list_encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'*' | b'/' => {
                out.push(char::from(byte));
            }
            b' ' => out.push('+'),
            other => {
                let _ = write!(out, "%{other:02X}");
            }
        }
    }
    out
}

/// Text that may stand between two XML tags.
pub(crate) fn xml_escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_decoding_knows_paths_from_queries() {
        assert_eq!(percent_decode("a%20b+c%2Fd%zz", false), "a b+c/d%zz");
        assert_eq!(percent_decode("a%20b+c%", true), "a b c%");
    }

    #[test]
    fn list_encoding_is_what_a_query_decoder_undoes() {
        let key = "dir/ä b+c<&>~\u{1}";
        assert_eq!(percent_decode(&list_encode(key), true), key);
        assert_eq!(list_encode("p/q r+"), "p/q+r%2B");
    }
}
