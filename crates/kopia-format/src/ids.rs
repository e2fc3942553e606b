//! The names of things: contents, objects, manifests, sessions.
//!
//! A content is named by the hash of its plain bytes, with an optional letter that says which kind
//! of metadata it is; an object is named by a content plus how to read it. Both are small `Copy`
//! values whose order is the order of the binary index key. Facts:
//! `docs/format/03-contents-packs.md` §1, `docs/format/05-objects.md` §1, `docs/format/01-blob-storage.md` §2 (session IDs).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::error::{FormatError, Result};

/// Longest hash a content ID can hold.
const MAX_HASH: usize = 32;

/// The name of a content: a hash, and for metadata one letter before it.
///
/// The order is the byte order of the index key (prefix byte, 0 when there is none, then the hash).
/// It is also the order of the texts, since hexadecimal digits sort below `g`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct ContentId {
    // The derived order is right because unused bytes of `hash` are zero: a hash that continues
    // another differs from it there, or is longer.
    prefix: u8,
    hash: [u8; MAX_HASH],
    len: u8,
}

impl ContentId {
    /// The empty ID, which names nothing.
    pub const EMPTY: ContentId = ContentId { prefix: 0, hash: [0; MAX_HASH], len: 0 };

    /// Makes an ID of a prefix letter and a hash.
    ///
    /// # Errors
    ///
    /// [`FormatError::Invalid`] if the prefix is not `g`..`z`, the hash is longer than 32 bytes, or
    /// there is a prefix without a hash.
    pub fn new(prefix: Option<u8>, hash: &[u8]) -> Result<Self> {
        let invalid =
            |reason: &str| FormatError::Invalid { what: "content ID", reason: reason.to_owned() };
        let prefix = match prefix {
            None => 0,
            Some(letter @ b'g'..=b'z') => letter,
            Some(_) => return Err(invalid("the prefix must be a letter from g to z")),
        };
        if hash.len() > MAX_HASH {
            return Err(invalid("the hash is too long"));
        }
        if prefix != 0 && hash.is_empty() {
            return Err(invalid("a prefix without a hash"));
        }
        Ok(Self::from_parts(prefix, hash))
    }

    /// Both checked by the caller.
    fn from_parts(prefix: u8, hash: &[u8]) -> Self {
        let mut id = Self { prefix, hash: [0; MAX_HASH], len: hash.len() as u8 };
        id.hash[..hash.len()].copy_from_slice(hash);
        id
    }

    /// The letter in front, if any.
    #[must_use]
    pub fn prefix(&self) -> Option<u8> {
        (self.prefix != 0).then_some(self.prefix)
    }

    /// The hash.
    #[must_use]
    pub fn hash(&self) -> &[u8] {
        &self.hash[..usize::from(self.len)]
    }

    /// Has a prefix, so it lives in `q` packs and belongs to the metadata.
    #[must_use]
    pub fn is_metadata(&self) -> bool {
        self.prefix != 0
    }

    /// Names nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What the cipher binds the content to: the last 16 bytes of the hash (all of a shorter one).
    #[must_use]
    pub fn iv(&self) -> &[u8] {
        let hash = self.hash();
        &hash[hash.len().saturating_sub(16)..]
    }

    /// Length of the binary index key.
    #[must_use]
    pub fn key_len(&self) -> usize {
        1 + usize::from(self.len)
    }

    /// Writes the binary index key into the first [`key_len`](Self::key_len) bytes of `out`.
    ///
    /// # Panics
    ///
    /// If `out` is shorter than that.
    pub fn write_key(&self, out: &mut [u8]) {
        out[0] = self.prefix;
        out[1..self.key_len()].copy_from_slice(self.hash());
    }

    /// Reads a binary index key.
    ///
    /// # Errors
    ///
    /// [`FormatError::Malformed`] if it is empty, too long, or starts with another byte than 0 or a
    /// prefix letter.
    pub fn from_key(key: &[u8]) -> Result<Self> {
        let (&prefix, hash) = key
            .split_first()
            .ok_or_else(|| FormatError::malformed("content ID", "an empty index key"))?;
        let prefix = (prefix != 0).then_some(prefix);
        Self::new(prefix, hash).map_err(|_| {
            FormatError::malformed("content ID", format!("index key {}", hex::encode(key)))
        })
    }
}

impl fmt::Display for ContentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // One buffer and one write: IDs are printed by the million in lists.
        let mut text = [0u8; 1 + 2 * MAX_HASH];
        let start = usize::from(self.prefix == 0);
        let end = 1 + 2 * usize::from(self.len);
        text[0] = self.prefix;
        hex::encode_to_slice(self.hash(), &mut text[1..end]).map_err(|_| fmt::Error)?;
        f.pad(std::str::from_utf8(&text[start..end]).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for ContentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContentId({self})")
    }
}

impl FromStr for ContentId {
    type Err = FormatError;

    /// Reads the text form; digits may be of either case, the empty text is the empty ID.
    fn from_str(text: &str) -> Result<Self> {
        let malformed =
            |reason: &str| FormatError::malformed("content ID", format!("{text:?}: {reason}"));
        let bytes = text.as_bytes();
        if bytes.len() > 1 + 2 * MAX_HASH {
            return Err(malformed("too long"));
        }
        let (prefix, digits) = match bytes {
            [letter, rest @ ..] if bytes.len() % 2 == 1 => (Some(*letter), rest),
            _ => (None, bytes),
        };
        if prefix.is_some_and(|letter| !matches!(letter, b'g'..=b'z')) {
            return Err(malformed("the prefix must be a letter from g to z"));
        }
        if prefix.is_some() && digits.is_empty() {
            return Err(malformed("a prefix without a hash"));
        }
        let mut hash = [0u8; MAX_HASH];
        let hash = &mut hash[..digits.len() / 2];
        if !decode_hex(digits, hash) {
            return Err(malformed("not hexadecimal"));
        }
        Ok(Self::from_parts(prefix.unwrap_or(0), hash))
    }
}

/// What each byte is as a hexadecimal digit of either case; 0xff if it is none.
const HEX_DIGITS: [u8; 256] = {
    let mut digits = [0xff; 256];
    let mut value = 0;
    while value < 16 {
        digits[b"0123456789abcdef"[value] as usize] = value as u8;
        digits[b"0123456789ABCDEF"[value] as usize] = value as u8;
        value += 1;
    }
    digits
};

/// Fills `bytes` with what `digits` say, two digits a byte; false if they don't. By a table and not by
/// `hex`, for the ID of every entry of every directory goes through here: of a snapshot of 100,000
/// unchanged files that was a thirtieth.
fn decode_hex(digits: &[u8], bytes: &mut [u8]) -> bool {
    let mut all = 0;
    for (pair, byte) in digits.chunks_exact(2).zip(bytes) {
        let (high, low) = (HEX_DIGITS[pair[0] as usize], HEX_DIGITS[pair[1] as usize]);
        all |= high | low;
        *byte = high << 4 | low;
    }
    all < 16
}

/// The name of an object: a content and how to read it.
///
/// With indirection *n* > 0 the content holds the list of chunks of the object with *n* − 1.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct ObjectId {
    indirection: u8,
    compressed: bool,
    content: ContentId,
}

impl ObjectId {
    /// The empty ID, which names nothing.
    pub const EMPTY: ObjectId =
        ObjectId { indirection: 0, compressed: false, content: ContentId::EMPTY };

    /// The object whose bytes are exactly this content.
    #[must_use]
    pub fn direct(content: ContentId) -> Self {
        Self { indirection: 0, compressed: false, content }
    }

    /// The object whose list of chunks is this object: one more `I`.
    ///
    /// # Errors
    ///
    /// [`FormatError::Invalid`] for a compressed object, or after 255 levels.
    pub fn try_wrapped(self) -> Result<Self> {
        let invalid = |reason: &str| FormatError::Invalid {
            what: "object ID",
            reason: format!("{self}: {reason}"),
        };
        if self.compressed {
            return Err(invalid("compression and indirection exclude each other"));
        }
        let indirection = self.indirection.checked_add(1).ok_or_else(|| invalid("too deep"))?;
        Ok(Self { indirection, ..self })
    }

    /// The object whose list of chunks is this object: one more `I`.
    ///
    /// # Panics
    ///
    /// For a compressed object or after 255 levels, which no writer reaches: each level is far
    /// smaller than the one below. For foreign IDs there is [`try_wrapped`](Self::try_wrapped).
    #[must_use]
    pub fn wrapped(self) -> Self {
        self.try_wrapped().expect("a writer wraps uncompressed lists, a few levels deep")
    }

    /// The object that holds the list of chunks; `None` if this one is direct.
    #[must_use]
    pub fn unwrapped(self) -> Option<Self> {
        let indirection = self.indirection.checked_sub(1)?;
        Some(Self { indirection, ..self })
    }

    /// The same content, read through a compression header (`Z`); only direct objects of format 1.
    ///
    /// # Errors
    ///
    /// [`FormatError::Invalid`] for an indirect object.
    pub fn with_compression(self) -> Result<Self> {
        if self.indirection > 0 {
            return Err(FormatError::Invalid {
                what: "object ID",
                reason: format!("{self}: compression and indirection exclude each other"),
            });
        }
        Ok(Self { compressed: true, ..self })
    }

    /// How many lists of chunks lie between the name and the bytes.
    #[must_use]
    pub fn indirection(&self) -> u8 {
        self.indirection
    }

    /// The content holds a compression header and a stream (format 1 only).
    #[must_use]
    pub fn is_compressed(&self) -> bool {
        self.compressed
    }

    /// The content at the end of the name.
    #[must_use]
    pub fn content_id(&self) -> ContentId {
        self.content
    }

    /// The object is a directory, of one piece or several.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        self.content.prefix() == Some(b'k')
    }

    /// Names nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.content.is_empty()
    }
}

impl From<ContentId> for ObjectId {
    fn from(content: ContentId) -> Self {
        Self::direct(content)
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.indirection == 0 && !self.compressed {
            return fmt::Display::fmt(&self.content, f);
        }
        let mut text = "I".repeat(usize::from(self.indirection));
        if self.compressed {
            text.push('Z');
        }
        text.push_str(&self.content.to_string());
        f.pad(&text)
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectId({self})")
    }
}

impl FromStr for ObjectId {
    type Err = FormatError;

    /// Reads `I…Z?D?` and a content ID; the old `D` means nothing and is dropped.
    fn from_str(text: &str) -> Result<Self> {
        let malformed =
            |reason: &str| FormatError::malformed("object ID", format!("{text:?}: {reason}"));
        let rest = text.trim_start_matches('I');
        let indirection =
            u8::try_from(text.len() - rest.len()).map_err(|_| malformed("too deep"))?;
        let (compressed, rest) = match rest.strip_prefix('Z') {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        if compressed && indirection > 0 {
            return Err(malformed("compression and indirection exclude each other"));
        }
        let content = rest.strip_prefix('D').unwrap_or(rest).parse()?;
        Ok(Self { indirection, compressed, content })
    }
}

/// The name of a manifest: for new ones 32 hexadecimal digits, but any text is a name.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct ManifestId(String);

impl ManifestId {
    /// Takes a text as it is.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// A new name from random bytes.
    #[must_use]
    pub fn generate(random: [u8; 16]) -> Self {
        Self(hex::encode(random))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ManifestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for ManifestId {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self> {
        if text.is_empty() {
            return Err(FormatError::malformed("manifest ID", "empty"));
        }
        Ok(Self::new(text))
    }
}

/// The name of a writing session, carried by all packs and index blobs that it writes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionId(String);

/// 2000-01-01T00:00:00Z, from which session months are counted.
const SESSION_EPOCH: i64 = 946_684_800;
/// A "month" of 30 days.
const SESSION_MONTH: i64 = 30 * 24 * 3600;

impl SessionId {
    /// A new name from random bytes and the time: `s`, 16 digits, and the count of months.
    #[must_use]
    pub fn generate(random: [u8; 8], now_unix_secs: i64) -> Self {
        let month = now_unix_secs.saturating_sub(SESSION_EPOCH).max(0) / SESSION_MONTH;
        Self(format!("s{}{month:x}", hex::encode(random)))
    }

    /// The session that wrote a blob: the first part after a dash that begins with `s`.
    #[must_use]
    pub fn of_blob(id: &str) -> Option<SessionId> {
        let part = id.split('-').skip(1).find(|part| part.starts_with('s'))?;
        Some(Self(part.to_owned()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Reads a JSON string through [`FromStr`], without a copy.
struct FromText<T>(std::marker::PhantomData<T>);

impl<T: FromStr<Err = FormatError>> de::Visitor<'_> for FromText<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an ID")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> std::result::Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

macro_rules! serde_as_text {
    ($($id:ty),*) => {$(
        impl Serialize for $id {
            fn serialize<S: Serializer>(&self, out: S) -> std::result::Result<S::Ok, S::Error> {
                out.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $id {
            fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
                from.deserialize_str(FromText(std::marker::PhantomData))
            }
        }
    )*};
}
serde_as_text!(ContentId, ObjectId);

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn section(name: &str) -> Vec<Value> {
        let vectors = kopia_fixtures::vectors("ids.json");
        vectors[name].as_array().unwrap().clone()
    }

    #[test]
    fn digits_are_read_as_hex_reads_them() {
        for pair in (0..=u16::MAX).map(u16::to_be_bytes) {
            let (mut is, mut wanted) = ([0], [0]);
            let are_digits = hex::decode_to_slice(pair, &mut wanted).is_ok();
            assert_eq!(decode_hex(&pair, &mut is), are_digits, "{pair:?}");
            assert!(!are_digits || is == wanted, "{pair:?}");
        }
    }

    #[test]
    fn content_ids_read_and_print_as_in_kopia() {
        for case in section("contentIDs") {
            let text = case["text"].as_str().unwrap();
            let parsed = text.parse::<ContentId>();
            if case.get("error").is_some() {
                assert!(parsed.is_err(), "{text:?} must be refused");
                continue;
            }
            let id = parsed.unwrap();
            assert_eq!(id.to_string(), case["string"].as_str().unwrap());
            assert_eq!(id.hash(), kopia_fixtures::hex(&case["hash"]), "{text}");
            let prefix = case["prefix"].as_str().unwrap().bytes().next();
            assert_eq!(id.prefix(), prefix);
            let mut key = vec![0; id.key_len()];
            id.write_key(&mut key);
            assert_eq!(key, kopia_fixtures::hex(&case["binary"]));
            assert_eq!(ContentId::from_key(&key).unwrap(), id);
            assert_eq!(ContentId::new(prefix, id.hash()).unwrap(), id);
            let json = serde_json::to_string(&id).unwrap();
            assert_eq!(serde_json::from_str::<ContentId>(&json).unwrap(), id);
        }
    }

    #[test]
    fn object_ids_read_and_print_as_in_kopia() {
        for case in section("objectIDs") {
            let text = case["text"].as_str().unwrap();
            let parsed = text.parse::<ObjectId>();
            if case.get("error").is_some() {
                assert!(parsed.is_err(), "{text:?} must be refused");
                continue;
            }
            let id = parsed.unwrap();
            assert_eq!(id.to_string(), case["string"].as_str().unwrap());
            if let Some(index) = case.get("indexObject") {
                let inner = id.unwrapped().unwrap();
                assert_eq!(inner.to_string(), index.as_str().unwrap());
                assert_eq!(inner.wrapped(), id);
            } else {
                assert_eq!(id.unwrapped(), None);
                assert_eq!(id.content_id().to_string(), case["content"].as_str().unwrap());
                assert_eq!(id.is_compressed(), case["compressed"].as_bool().unwrap());
            }
        }
    }

    #[test]
    fn content_ids_sort_as_their_keys_do() {
        for case in section("order") {
            let texts = |name: &str| -> Vec<ContentId> {
                let list = case[name].as_array().unwrap();
                list.iter().map(|text| text.as_str().unwrap().parse().unwrap()).collect()
            };
            let mut ids = texts("input");
            ids.sort();
            assert_eq!(ids, texts("sorted"));
        }
    }

    #[test]
    fn only_letters_from_g_to_z_are_prefixes() {
        for case in section("prefixes") {
            let prefix = case["prefix"].as_str().unwrap();
            let valid = match prefix.as_bytes() {
                [] => ContentId::new(None, &[1]).is_ok(),
                [letter] => ContentId::new(Some(*letter), &[1]).is_ok(),
                _ => false,
            };
            assert_eq!(valid, case["error"] == "", "{prefix:?}");
        }
    }

    #[test]
    fn directories_are_known_through_any_indirection() {
        let id = |text: &str| text.parse::<ObjectId>().unwrap();
        assert!(id("IIkabcd").is_directory());
        assert!(!id("Ixabcd").is_directory());
        assert!(id("Zabcd").try_wrapped().is_err());
        assert!(id("Ixabcd").with_compression().is_err());
        let deepest = id(&("I".repeat(255) + "xabcd"));
        assert!(deepest.try_wrapped().is_err());
        assert!(("I".repeat(256) + "xabcd").parse::<ObjectId>().is_err());
    }

    #[test]
    fn the_iv_is_the_end_of_the_hash() {
        let long = ContentId::new(None, &(0..32).collect::<Vec<u8>>()).unwrap();
        assert_eq!(long.iv(), (16..32).collect::<Vec<u8>>());
        assert_eq!(ContentId::new(Some(b'k'), &[7]).unwrap().iv(), [7]);
    }

    #[test]
    fn session_ids_carry_the_month_and_are_found_in_blob_names() {
        // 03 §7: sf824bf512ed3eee1147 is of 2026-11-24.
        let random = hex::decode("f824bf512ed3eee1").unwrap().try_into().unwrap();
        let id = SessionId::generate(random, 1_795_525_925);
        assert_eq!(id.as_str(), "sf824bf512ed3eee1147");
        assert_eq!(SessionId::of_blob("p0011-sf824bf512ed3eee1147"), Some(id.clone()));
        assert_eq!(SessionId::of_blob("xn0_77-sf824bf512ed3eee1147-c1"), Some(id));
        assert_eq!(SessionId::of_blob("sf824bf512ed3eee1147"), None);
        assert_eq!(SessionId::of_blob("n0011-c1"), None);
    }
}
