//! From the text to the entries, as Go's `json.NewDecoder(r).Decode(&cfg)` does it.
//!
//! Four habits of Go make the outcome differ from a plain reading, and Kopia has them, so the file
//! means what they make of it: keys match by Unicode folding and the last one in the text wins;
//! `null` leaves a value as it was; a repeated array is decoded element by element over what the
//! array before left; one value is read and the rest of the file never looked at. Cases:
//! `storageconfig-cases.json`, sections B, G and I.

use crate::{
    Entry, Finding, Level, ParseError, Position, StorageConfig,
    classes::distance,
    error::Cursor,
    extra::{self, Extras},
    json::{Bad, Kind, Reader, Text},
    model::{Member, RawMember, TopMember},
};

/// Keys of the outermost object.
const TOP_KEYS: [&str; 1] = ["blobOptions"];
/// Keys of an entry that Kopia reads.
const ENTRY_KEYS: [&str; 2] = ["prefix", "storageClass"];
/// Keys that people expect here but that are needed before this file can be read.
const CONNECTION_KEYS: [&str; 2] = ["requestPayer", "expectedBucketOwner"];

impl StorageConfig {
    /// Reads a file's text.
    ///
    /// # Errors
    /// [`ParseError`] exactly where Kopia refuses the file.
    pub fn parse(text: &[u8]) -> Result<Self, ParseError> {
        let mut parser = Parser {
            text,
            reader: Reader::new(text),
            config: Self::default(),
            backing: Vec::new(),
            length: 0,
            cursor: Cursor::default(),
        };
        parser.top()?;
        Ok(parser.config)
    }
}

struct Parser<'a> {
    text: &'a [u8],
    reader: Reader<'a>,
    config: StorageConfig,
    /// Go's array behind the slice: elements cut off by a shorter array come back with a longer
    /// one.
    backing: Vec<Entry>,
    /// How many elements of it the slice has.
    length: usize,
    cursor: Cursor,
}

impl Parser<'_> {
    fn position(&mut self, at: usize) -> Position {
        self.cursor.position(self.text, at)
    }

    fn syntax(&self, entry: Option<usize>) -> impl Fn(Bad) -> ParseError {
        let text = self.text;
        move |bad| ParseError::syntax(text, &bad, entry)
    }

    /// The kind of the next value if it is `wanted` or null.
    fn expect(
        &mut self,
        what: &'static str,
        wanted: Kind,
        entry: Option<usize>,
    ) -> Result<bool, ParseError> {
        let found = self.reader.kind().map_err(self.syntax(entry))?;
        if found == wanted {
            return Ok(true);
        }
        let at = self.reader.at();
        // Broken JSON counts before a wrong type, as in Kopia.
        self.reader.skip_value(0).map_err(self.syntax(entry))?;
        if found == Kind::Null {
            return Ok(false);
        }
        Err(ParseError::wrong_type(self.text, at, entry, what, (wanted, found)))
    }

    fn top(&mut self) -> Result<(), ParseError> {
        if self.expect("the file", Kind::Object, None)? {
            self.top_object()?;
        }
        self.backing.truncate(self.length);
        self.config.entries = std::mem::take(&mut self.backing);
        for (index, entry) in self.config.entries.iter_mut().enumerate() {
            entry.extras = Extras::read(entry);
            self.config.findings.extend(entry.extras.findings(index, entry));
        }
        self.reader.skip_space();
        if self.reader.at() < self.text.len() {
            let finding = Finding::warning(
                "W-TRAILING",
                "there is more after the end of the value; Kopia never reads it",
            );
            let at = self.position(self.reader.at());
            self.config.findings.push(finding.in_entry(None, at).fix("delete what follows"));
        }
        Ok(())
    }

    fn top_object(&mut self) -> Result<(), ParseError> {
        self.reader.enter_object().map_err(self.syntax(None))?;
        let (mut first, mut seen) = (true, false);
        while let Some(key) = self.reader.next_key(&mut first).map_err(self.syntax(None))? {
            let Some(name) = self.known(&key, &TOP_KEYS, None) else {
                let other = self.raw_member(key, 1, None)?;
                self.unknown_key(&other, None);
                self.config.members.push(TopMember::Other(other));
                continue;
            };
            if std::mem::replace(&mut seen, true) {
                self.duplicate(name, &key, None);
            } else {
                self.config.members.push(TopMember::Entries);
            }
            self.entries()?;
        }
        Ok(())
    }

    fn entries(&mut self) -> Result<(), ParseError> {
        if !self.expect("blobOptions", Kind::Array, None)? {
            self.backing.clear();
            self.length = 0;
            return Ok(());
        }
        self.reader.enter_array().map_err(self.syntax(None))?;
        let (mut first, mut count) = (true, 0);
        while self.reader.next_element(&mut first).map_err(self.syntax(Some(count)))? {
            self.entry(count)?;
            count += 1;
        }
        if count == 0 {
            self.backing.clear();
        }
        self.length = count;
        Ok(())
    }

    fn entry(&mut self, index: usize) -> Result<(), ParseError> {
        self.reader.skip_space();
        let position = self.position(self.reader.at());
        if index == self.backing.len() {
            self.backing.push(Entry::empty(position));
        }
        self.backing[index].position = position;
        let entry = Some(index);
        if !self.expect("an entry of blobOptions", Kind::Object, entry)? {
            self.null("the entry", position, index);
            return Ok(());
        }
        self.reader.enter_object().map_err(self.syntax(entry))?;
        let (mut first, mut seen) = (true, Vec::new());
        while let Some(key) = self.reader.next_key(&mut first).map_err(self.syntax(entry))? {
            let known = self.known(&key, &ENTRY_KEYS, entry);
            let name = known.or_else(|| extra::name(&key.value));
            if let Some(name) = name {
                if seen.contains(&name) {
                    self.duplicate(name, &key, entry);
                }
                seen.push(name);
            }
            match known {
                Some("prefix") => self.text_value("prefix", Member::Prefix, index)?,
                Some(_) => self.text_value("storageClass", Member::Class, index)?,
                None => {
                    let other = self.raw_member(key, 3, entry)?;
                    if name.is_none() {
                        self.unknown_key(&other, entry);
                    }
                    self.backing[index].members.push(Member::Other(other));
                }
            }
        }
        Ok(())
    }

    /// The value of `prefix` or `storageClass`.
    fn text_value(
        &mut self,
        what: &'static str,
        member: Member,
        index: usize,
    ) -> Result<(), ParseError> {
        self.reader.skip_space();
        let position = self.position(self.reader.at());
        if !self.expect(what, Kind::String, Some(index))? {
            self.null(what, position, index);
            return Ok(());
        }
        let text = self.reader.string().map_err(self.syntax(Some(index)))?;
        if text.replaced {
            let message =
                format!("{what} holds bytes that are no text; they were replaced by U+FFFD");
            let finding = Finding::warning("W-UTF8", message);
            self.config.findings.push(finding.in_entry(Some(index), position));
        }
        let entry = &mut self.backing[index];
        match member {
            Member::Prefix => entry.prefix = text.value,
            _ => entry.class = text.value,
        }
        if !entry.members.contains(&member) {
            entry.members.push(member);
        }
        Ok(())
    }

    fn raw_member(
        &mut self,
        key: Text,
        depth: usize,
        entry: Option<usize>,
    ) -> Result<RawMember, ParseError> {
        let position = self.position(key.raw.start);
        let value = self.reader.skip_value(depth).map_err(self.syntax(entry))?;
        Ok(RawMember {
            position,
            raw_key: self.reader.slice(key.raw).to_vec(),
            raw_value: self.reader.slice(value).to_vec(),
            key: key.value,
        })
    }

    /// Which of `names` the key is, by Go's folding.
    fn known(
        &mut self,
        key: &Text,
        names: &'static [&'static str],
        entry: Option<usize>,
    ) -> Option<&'static str> {
        let name = *names.iter().find(|name| fold(name) == fold(&key.value))?;
        if key.value != name {
            let message = format!("the key {:?} is read as {name:?}", key.value);
            let finding = Finding::warning("W-KEY-CASE", message).fix(format!("write {name:?}"));
            let at = self.position(key.raw.start);
            self.push_key(finding, &key.value, at, entry);
        }
        Some(name)
    }

    fn unknown_key(&mut self, other: &RawMember, entry: Option<usize>) {
        let key = &*other.key;
        let finding = if let Some(name) = extra::name_but_for_case(key).filter(|_| entry.is_some())
        {
            let message = format!("{key:?} is unknown: the case of extra keys counts");
            Finding::warning("W-KEY-CASE", message).fix(format!("write {name:?}"))
        } else if CONNECTION_KEYS.contains(&key) {
            let message =
                format!("{key:?} belongs to the connection: it is needed to read this file");
            Finding::warning("W-UNKNOWN-KEY", message).fix("give it when you connect")
        } else if let Some(name) = meant(key, entry.is_some()) {
            let place =
                if entry.is_none() && name != TOP_KEYS[0] { " inside an entry" } else { "" };
            let message = format!("{key:?} is not a key that anybody reads");
            Finding::warning("W-UNKNOWN-KEY", message).fix(format!("write {name:?}{place}"))
        } else if key.trim() != key {
            let message =
                format!("{key:?} has blanks around it and is not a key that anybody reads");
            Finding::warning("W-UNKNOWN-KEY", message).fix("take the blanks away")
        } else {
            Finding::new(Level::Info, "W-UNKNOWN-KEY", format!("{key:?} is kept and ignored"))
        };
        self.push_key(finding, key, other.position, entry);
    }

    fn duplicate(&mut self, name: &str, key: &Text, entry: Option<usize>) {
        let message = match entry {
            None => format!("{name:?} stands here again; its entries are read over those before"),
            Some(_) => format!("{name:?} stands here again; the last one holds"),
        };
        let finding = Finding::warning("W-DUP-KEY", message).fix("keep one of them");
        let at = self.position(key.raw.start);
        self.push_key(finding, &key.value, at, entry);
    }

    fn push_key(&mut self, finding: Finding, key: &str, at: Position, entry: Option<usize>) {
        let finding = Finding { key: Some(key.to_owned()), top: entry.is_none(), ..finding };
        self.config.findings.push(finding.in_entry(entry, at));
    }

    fn null(&mut self, what: &str, position: Position, index: usize) {
        let finding = Finding::warning("W-NULL", format!("{what} is null, which sets nothing"));
        self.config.findings.push(finding.in_entry(Some(index), position));
    }
}

/// A key as Go compares it: upper case, and `ſ` as `S`. Other letters that fold to ASCII are in
/// none of our keys.
fn fold(key: &str) -> String {
    key.chars().map(|c| if c == 'ſ' { 'S' } else { c.to_ascii_uppercase() }).collect()
}

/// The key that was probably meant.
fn meant(key: &str, in_entry: bool) -> Option<&'static str> {
    let folded = fold(key.trim());
    let near = |name: &'static str, edits: usize| {
        let found = distance(&folded, &fold(name));
        (found <= edits).then_some((found, name))
    };
    let entry_keys = || ENTRY_KEYS.into_iter().chain(extra::NAMES);
    // At the top, a key of an entry counts only to the letter: it stands in the wrong place.
    let (here, elsewhere): (Vec<_>, Vec<_>) = if in_entry {
        (entry_keys().collect(), TOP_KEYS.to_vec())
    } else {
        (TOP_KEYS.to_vec(), entry_keys().collect())
    };
    let here = here.into_iter().filter_map(|name| near(name, 2));
    let elsewhere = elsewhere.into_iter().filter_map(|name| near(name, 0));
    here.chain(elsewhere).min().map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_line_column_and_entry() {
        let text = b"{\"blobOptions\": [\n  {\"prefix\": \"p\"},\n  {\"prefix\": 1}\n]}";
        let error = StorageConfig::parse(text).unwrap_err();
        assert_eq!(
            error.to_string(),
            "line 3, column 14, entry 1: prefix must be a string, not a number"
        );
        let error = StorageConfig::parse(b"{\"blobOptions\": [{\"prefix\": \"p\",}]}").unwrap_err();
        assert_eq!(
            error.to_string(),
            "line 1, column 33, entry 0: a comma stands before the closing }"
        );
        let error = StorageConfig::parse(b"\xef\xbb\xbf{}").unwrap_err();
        assert!(error.to_string().contains("byte order mark"), "{error}");
    }

    #[test]
    fn a_key_in_the_wrong_place_is_named() {
        let config = StorageConfig::parse(br#"{"storageClass":"GLACIER"}"#).unwrap();
        let finding = config.findings.iter().find(|f| f.code == "W-UNKNOWN-KEY").unwrap();
        assert_eq!(finding.level, Level::Warning);
        assert_eq!(finding.fix.as_deref(), Some("write \"storageClass\" inside an entry"));
    }
}
