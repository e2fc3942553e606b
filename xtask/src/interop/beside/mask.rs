//! What may differ between two runs, replaced by words: places, IDs, times, how long it took.

use std::path::Path;

/// Replaces what may differ.
#[derive(Debug)]
pub struct Mask {
    folder: String,
    program: &'static str,
    more: Vec<(String, &'static str)>,
}

impl Mask {
    /// For a client that works below `folder` and calls itself `program`.
    pub fn new(folder: &Path, program: &'static str) -> Self {
        Self { folder: folder.display().to_string(), program, more: Vec::new() }
    }

    /// The same with one more text that may differ.
    #[must_use]
    pub fn and(mut self, text: &str, word: &'static str) -> Self {
        self.more.push((text.to_owned(), word));
        self
    }

    /// `text` with words for what may differ.
    pub fn text(&self, text: &str) -> String {
        let mut text = text.replace(&self.folder, "FOLDER");
        for (more, word) in &self.more {
            text = text.replace(more, word);
        }
        let text = text.replace(&format!("'{} ", self.program), "'PROGRAM ");
        let text = text.replace(&format!("{} ", self.program), "PROGRAM ");
        text.lines().map(|line| words(&without_space(line)) + "\n").collect()
    }
}

/// A line without the space that is free on the disk, which changes meanwhile.
fn without_space(line: &str) -> String {
    let Some((before, after)) = line.split_once("\"available\":") else { return line.to_owned() };
    format!("{before}\"available\":{}", after.trim_start_matches(|c: char| c.is_ascii_digit()))
}

/// A line with its IDs, times and durations masked.
fn words(line: &str) -> String {
    let (mut out, mut rest) = (String::new(), line);
    while let Some(first) = rest.chars().next() {
        if let Some(length) = time(rest) {
            out.push_str("TIME");
            rest = &rest[length..];
            continue;
        }
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let end = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
        let word = &rest[..end];
        if end == 0 {
            out.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        }
        out.push_str(if is_id(word) {
            "ID"
        } else if is_seconds(word) {
            "DURATION"
        } else {
            word
        });
        rest = &rest[end..];
    }
    out
}

fn is_id(word: &str) -> bool {
    let digits = word.trim_start_matches(|c: char| !c.is_ascii_hexdigit() || c == 'x');
    let digits = digits.rsplit('_').max_by_key(|part| part.len()).unwrap_or_default();
    // Of 16 digits are the names of caches.
    (digits.len() >= 30 || word.len() == 16)
        && digits.len() >= 16
        && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// `0s`, `12ms`: how long something took.
fn is_seconds(word: &str) -> bool {
    let number = word.strip_suffix("ms").or_else(|| word.strip_suffix("µs"));
    let number = number.or_else(|| word.strip_suffix('s')).unwrap_or_default();
    !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// The length of the time that the text begins with: `2006-01-02 15:04:05.000 UTC`,
/// `2006-01-02T15:04:05.123Z`.
fn time(text: &str) -> Option<usize> {
    let form = b"0000-00-00?00:00:00";
    let bytes = text.as_bytes().get(..form.len())?;
    let fits = bytes.iter().zip(form).all(|(byte, form)| match form {
        b'0' => byte.is_ascii_digit(),
        b'?' => matches!(byte, b' ' | b'T'),
        other => byte == other,
    });
    let after = &text[fits.then_some(form.len())?..];
    let fraction = match after.strip_prefix('.') {
        Some(digits) => 1 + digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len()),
        None => 0,
    };
    let zone = ["Z", " UTC", "+00:00", " +0000 UTC"];
    let zone = zone.iter().filter(|zone| after[fraction..].starts_with(**zone)).map(|it| it.len());
    Some(form.len() + fraction + zone.max().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_times_and_durations_are_masked_and_nothing_else() {
        let line = "Created snapshot with root k773f0aa4657c1b0a1b3ea1c3a9e9ba9e8 and ID \
                    4657c1b0a1b3ea1c3a9e9ba9e8d3a2f1 in 0s at 2026-11-24 13:05:31 UTC, 300 KB";
        assert_eq!(
            words(line),
            "Created snapshot with root ID and ID ID in DURATION at TIME, 300 KB"
        );
        assert_eq!(words("xn0_07b9c1b0a1b3ea1c3a9e9ba9e8d3a2f1-s3c1b0a1-c1"), "ID-s3c1b0a1-c1");
        assert_eq!(words("files:3 dirs:2 (latest-1) 0644"), "files:3 dirs:2 (latest-1) 0644");
        assert_eq!(words("2026-11-24T13:05:31.439476757Z"), "TIME");
    }
}
