//! Ranges of content IDs by their text, as Kopia's commands take them.

use std::cmp::Ordering;

use crate::ContentId;

/// Content IDs from one text on and before another, compared as texts.
///
/// Prefixes sort behind all hexadecimal digits, so the order of texts is the order of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdRange {
    start: String,
    /// `None` means there is no end.
    end: Option<String>,
}

impl IdRange {
    /// All IDs.
    pub fn all() -> Self {
        Self { start: String::new(), end: None }
    }

    /// IDs with a prefix: metadata.
    pub fn prefixed() -> Self {
        Self { start: "g".to_owned(), end: None }
    }

    /// IDs without a prefix: data.
    pub fn unprefixed() -> Self {
        Self { start: String::new(), end: Some("g".to_owned()) }
    }

    /// IDs whose text begins with `text`: a prefix letter, digits, or both.
    pub fn starting_with(text: &str) -> Self {
        // `{` follows `z`, so every continuation of the text sorts before it.
        let end = (!text.is_empty()).then(|| format!("{text}{{"));
        Self { start: text.to_owned(), end }
    }

    /// IDs from `start` on and before `end`.
    pub fn between(start: &str, end: &str) -> Self {
        Self { start: start.to_owned(), end: Some(end.to_owned()) }
    }

    /// Whether `id` lies in it.
    pub fn contains(&self, id: &ContentId) -> bool {
        let mut buffer = [0; super::KEY_LEN_MAX];
        let key = &mut buffer[..id.key_len()];
        id.write_key(key);
        !self.is_before(key) && !self.is_after(key)
    }

    /// Whether the ID with this binary key comes before the range.
    pub(super) fn is_before(&self, key: &[u8]) -> bool {
        compare(key, &self.start).is_lt()
    }

    /// Whether it comes after the range.
    pub(super) fn is_after(&self, key: &[u8]) -> bool {
        self.end.as_ref().is_some_and(|end| compare(key, end).is_ge())
    }
}

/// Compares the text of the ID with the binary key `key` to `text`, without making it.
fn compare(key: &[u8], text: &str) -> Ordering {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let (prefix, hash) = key.split_first().map_or((0, key), |(&prefix, hash)| (prefix, hash));
    let digits = hash.iter().flat_map(|&byte| [byte >> 4, byte & 15]);
    let digits = digits.map(|digit| DIGITS[usize::from(digit)]);
    (prefix != 0).then_some(prefix).into_iter().chain(digits).cmp(text.bytes())
}
