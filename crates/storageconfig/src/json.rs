//! A JSON reader that takes exactly what Go's `encoding/json` takes.
//!
//! A file that Kopia opens must open here, with the same outcome, so the reader is ours: serde_json
//! refuses lone surrogates and bad UTF-8, both of which Go replaces by U+FFFD. Values that nobody
//! asks for are skipped with a stack of bits instead of recursion, checked but never built, so that
//! neither depth nor size of a number matters. Rules and limits: Go's `encoding/json/scanner.go` as
//! documented, measured in `storageconfig-cases.json`.

use std::ops::Range;

/// Go's limit on the nesting of arrays and objects.
pub(crate) const DEPTH_MAX: usize = 10_000;

/// A string value, decoded.
#[derive(Debug, Clone)]
pub(crate) struct Text {
    pub value: String,
    /// The bytes between and with the quotes.
    pub raw: Range<usize>,
    /// Bytes or escapes that stand for no character were replaced by U+FFFD.
    pub replaced: bool,
}

/// What a value is, told by its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Object,
    Array,
    String,
    Number,
    Bool,
    Null,
}

impl Kind {
    /// The name used in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Object => "an object",
            Self::Array => "an array",
            Self::String => "a string",
            Self::Number => "a number",
            Self::Bool => "true or false",
            Self::Null => "null",
        }
    }
}

/// Why the text is not JSON, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bad {
    pub at: usize,
    pub why: Why,
}

/// Why the text is not JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Why {
    /// It ends before its value does.
    End,
    /// A byte that can't stand here; the text says what was expected.
    Unexpected(u8, &'static str),
    /// Nested deeper than [`DEPTH_MAX`].
    Depth,
}

type Result<T> = std::result::Result<T, Bad>;

/// Reads one value from the beginning of `bytes`.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// How far it has read.
    pub fn at(&self) -> usize {
        self.at
    }

    /// The bytes of a range.
    pub fn slice(&self, range: Range<usize>) -> &'a [u8] {
        &self.bytes[range]
    }

    /// Goes past white space: these four bytes and no others.
    pub fn skip_space(&mut self) {
        while matches!(self.bytes.get(self.at), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn unexpected<T>(&self, wanted: &'static str) -> Result<T> {
        let why = match self.bytes.get(self.at) {
            None => Why::End,
            Some(byte) => Why::Unexpected(*byte, wanted),
        };
        Err(Bad { at: self.at, why })
    }

    fn take(&mut self, byte: u8, wanted: &'static str) -> Result<()> {
        if self.bytes.get(self.at) == Some(&byte) {
            self.at += 1;
            return Ok(());
        }
        self.unexpected(wanted)
    }

    /// What kind of value begins here, white space aside.
    pub fn kind(&mut self) -> Result<Kind> {
        self.skip_space();
        Ok(match self.bytes.get(self.at) {
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            Some(b'"') => Kind::String,
            Some(b'-' | b'0'..=b'9') => Kind::Number,
            Some(b't' | b'f') => Kind::Bool,
            Some(b'n') => Kind::Null,
            _ => return self.unexpected("the beginning of a value"),
        })
    }

    /// Goes into the object that begins here.
    pub fn enter_object(&mut self) -> Result<()> {
        self.take(b'{', "{")
    }

    /// Goes into the array that begins here.
    pub fn enter_array(&mut self) -> Result<()> {
        self.take(b'[', "[")
    }

    /// The next key of an object, with its colon; `None` at the object's end.
    pub fn next_key(&mut self, first: &mut bool) -> Result<Option<Text>> {
        self.skip_space();
        if *first && self.bytes.get(self.at) == Some(&b'}') {
            self.at += 1;
            return Ok(None);
        }
        if !std::mem::take(first) {
            match self.bytes.get(self.at) {
                Some(b'}') => {
                    self.at += 1;
                    return Ok(None);
                }
                Some(b',') => self.at += 1,
                _ => return self.unexpected("a comma or } after a value"),
            }
            self.skip_space();
        }
        if self.bytes.get(self.at) != Some(&b'"') {
            return self.unexpected("a key in double quotes");
        }
        let key = self.string()?;
        self.skip_space();
        self.take(b':', "a colon after a key")?;
        Ok(Some(key))
    }

    /// Is there another element in the array? Stands before it then, else behind the array.
    pub fn next_element(&mut self, first: &mut bool) -> Result<bool> {
        self.skip_space();
        let is_first = std::mem::take(first);
        match self.bytes.get(self.at) {
            Some(b']') => {
                self.at += 1;
                Ok(false)
            }
            _ if is_first => Ok(true),
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            _ => self.unexpected("a comma or ] after an element"),
        }
    }

    /// A string. Replaces what is no character by U+FFFD, one for each bad byte, as Go does.
    pub fn string(&mut self) -> Result<Text> {
        let start = self.at;
        self.skip_string()?;
        let (value, replaced) = unquote(&self.bytes[start + 1..self.at - 1]);
        Ok(Text { value, raw: start..self.at, replaced })
    }

    fn skip_string(&mut self) -> Result<()> {
        self.take(b'"', "a string")?;
        loop {
            match self.bytes.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => {
                    self.at += 1;
                    self.skip_escape()?;
                }
                Some(0x20..) => self.at += 1,
                _ => {
                    return self.unexpected("an escape such as \\n instead of a control character");
                }
            }
        }
    }

    fn skip_escape(&mut self) -> Result<()> {
        match self.bytes.get(self.at) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
            Some(b'u') => {
                self.at += 1;
                for _ in 0..4 {
                    if !self.bytes.get(self.at).is_some_and(u8::is_ascii_hexdigit) {
                        return self.unexpected("four hex digits after \\u");
                    }
                    self.at += 1;
                }
            }
            _ => return self.unexpected("one of \" \\ / b f n r t u after a backslash"),
        }
        Ok(())
    }

    fn skip_number(&mut self) -> Result<()> {
        if self.bytes.get(self.at) == Some(&b'-') {
            self.at += 1;
        }
        match self.bytes.get(self.at) {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.skip_digits(),
            _ => return self.unexpected("a digit"),
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.need_digits("a digit after the decimal point")?;
        }
        if matches!(self.bytes.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.bytes.get(self.at), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.need_digits("a digit in the exponent")?;
        }
        Ok(())
    }

    fn skip_digits(&mut self) {
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
    }

    fn need_digits(&mut self, wanted: &'static str) -> Result<()> {
        if !self.bytes.get(self.at).is_some_and(u8::is_ascii_digit) {
            return self.unexpected(wanted);
        }
        self.skip_digits();
        Ok(())
    }

    fn skip_word(&mut self, word: &'static str) -> Result<()> {
        word.bytes().try_for_each(|byte| self.take(byte, word))
    }

    /// Checks and skips the value that begins here, inside `depth` arrays and objects; gives its
    /// bytes.
    pub fn skip_value(&mut self, depth: usize) -> Result<Range<usize>> {
        self.skip_space();
        let start = self.at;
        let mut open: Vec<(Kind, bool)> = Vec::new();
        loop {
            // One value, or the opening of one.
            match self.kind()? {
                kind @ (Kind::Object | Kind::Array) => {
                    if depth + open.len() >= DEPTH_MAX {
                        return Err(Bad { at: self.at, why: Why::Depth });
                    }
                    self.at += 1;
                    open.push((kind, true));
                }
                Kind::String => self.skip_string()?,
                Kind::Number => self.skip_number()?,
                Kind::Null => self.skip_word("null")?,
                Kind::Bool if self.bytes[self.at] == b't' => self.skip_word("true")?,
                Kind::Bool => self.skip_word("false")?,
            }
            // Closes what ends here, and stops before the next value.
            loop {
                let Some((kind, first)) = open.last_mut() else { return Ok(start..self.at) };
                let mut is_first = std::mem::take(first);
                let more = match kind {
                    Kind::Object => self.next_key(&mut is_first)?.is_some(),
                    _ => self.next_element(&mut is_first)?,
                };
                if more {
                    break;
                }
                open.pop();
            }
        }
    }
}

/// The characters of a string whose grammar was checked.
fn unquote(inner: &[u8]) -> (String, bool) {
    let (mut out, mut replaced, mut at) = (String::with_capacity(inner.len()), false, 0);
    while at < inner.len() {
        if inner[at] == b'\\' {
            let (char, length) = escape(&inner[at..]);
            replaced |= char.is_none();
            out.push(char.unwrap_or(char::REPLACEMENT_CHARACTER));
            at += length;
            continue;
        }
        let end = inner[at..].iter().position(|b| *b == b'\\').map_or(inner.len(), |n| at + n);
        match std::str::from_utf8(&inner[at..end]) {
            Ok(plain) => out.push_str(plain),
            Err(_) => {
                replaced = true;
                push_replacing(&mut out, &inner[at..end]);
            }
        }
        at = end;
    }
    (out, replaced)
}

/// The character of the escape that `text` begins with, `None` for half a surrogate pair, and its
/// length.
fn escape(text: &[u8]) -> (Option<char>, usize) {
    let plain = match text[1] {
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => {
            let first = hex4(text).expect("the scanner saw four hex digits");
            if let Some(char) = char::from_u32(first) {
                return (Some(char), 6);
            }
            return match hex4(&text[6..]) {
                Some(second @ 0xdc00..=0xdfff) if first < 0xdc00 => {
                    (char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00)), 12)
                }
                _ => (None, 6),
            };
        }
        other => char::from(other),
    };
    (Some(plain), 2)
}

/// The number of an escape `\uXXXX` at the beginning of `text`.
fn hex4(text: &[u8]) -> Option<u32> {
    let digits = text.strip_prefix(b"\\u")?.get(..4)?;
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

fn push_replacing(out: &mut String, mut bytes: &[u8]) {
    while let Err(error) = std::str::from_utf8(bytes) {
        let (good, rest) = bytes.split_at(error.valid_up_to());
        out.push_str(std::str::from_utf8(good).expect("checked up to here"));
        out.push(char::REPLACEMENT_CHARACTER);
        bytes = &rest[1..]; // One byte, as Go: not the whole run that Rust would take as one.
    }
    out.push_str(std::str::from_utf8(bytes).expect("the loop ended on this"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(inner: &[u8]) -> (String, bool) {
        let quoted = [b"\"", inner, b"\""].concat();
        let text = Reader::new(&quoted).string().unwrap();
        (text.value, text.replaced)
    }

    #[test]
    fn strings_become_what_go_makes_of_them() {
        assert_eq!(text(br"a\n\/\u0041"), ("a\n/A".into(), false));
        assert_eq!(text(br"\ud83d\ude00"), ("\u{1f600}".into(), false));
        assert_eq!(text(br"\ud83dx"), ("\u{fffd}x".into(), true));
        assert_eq!(text(br"\ud83d\u0041"), ("\u{fffd}A".into(), true));
        assert_eq!(text(br"\ude00\ud83d"), ("\u{fffd}\u{fffd}".into(), true));
        // A cut three-byte character: one replacement for each byte, and one that was there is no
        // replacement.
        assert_eq!(text(b"\xe2\x82"), ("\u{fffd}\u{fffd}".into(), true));
        assert_eq!(text(b"\xed\xa0\x80!"), ("\u{fffd}\u{fffd}\u{fffd}!".into(), true));
        assert_eq!(text("\u{fffd}".as_bytes()), ("\u{fffd}".into(), false));
    }

    #[test]
    fn values_are_skipped_whole_and_checked() {
        for good in ["1e999999", "-0.5E+3", "[]", "{}", r#"{"a":[1,{"b":null}],"c":true}"#] {
            let padded = format!("  {good}x");
            let range = Reader::new(padded.as_bytes()).skip_value(0).unwrap();
            assert_eq!(&padded[range], good);
        }
        for bad in
            ["-", "1.", "1e", "tru", "[1,]", "{\"a\":1,}", "[1 2]", "{a:1}", "\"\\x\"", "[", ""]
        {
            assert!(Reader::new(bad.as_bytes()).skip_value(0).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn nesting_ends_at_gos_limit() {
        let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(Reader::new(nested(DEPTH_MAX).as_bytes()).skip_value(0).is_ok());
        let error = Reader::new(nested(DEPTH_MAX + 1).as_bytes()).skip_value(0).unwrap_err();
        assert_eq!(error, Bad { at: DEPTH_MAX, why: Why::Depth });
        assert!(Reader::new(nested(DEPTH_MAX).as_bytes()).skip_value(1).is_err());
    }
}
