//! Why a file is refused, with line, column and entry.
//!
//! A file is refused exactly where Kopia refuses it: broken JSON, or a wrong type for something
//! Kopia reads. All else is a [`Finding`](crate::Finding).

use std::fmt;

use crate::json::{Bad, Kind, Why};

/// A place in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

impl Position {
    /// The place of the byte `at` of `text`.
    pub(crate) fn of(text: &[u8], at: usize) -> Self {
        Cursor::default().position(text, at)
    }
}

/// Finds places in one text; quick as long as they are asked for from front to back.
#[derive(Debug, Default)]
pub(crate) struct Cursor {
    at: usize,
    lines: usize,
    columns: usize,
}

impl Cursor {
    /// The place of the byte `at` of `text`.
    pub fn position(&mut self, text: &[u8], at: usize) -> Position {
        if at < self.at {
            *self = Self::default();
        }
        for byte in &text[self.at..at.min(text.len())] {
            match byte {
                b'\n' => (self.lines, self.columns) = (self.lines + 1, 0),
                0x80..=0xbf => {} // Goes on a UTF-8 character.
                _ => self.columns += 1,
            }
        }
        self.at = at.min(text.len());
        Position { line: self.lines + 1, column: self.columns + 1 }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// Why a text is not a `.storageconfig`. Kopia, too, refuses to open a repository with such a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{position}{}: {problem}", entry.map_or(String::new(), |n| format!(", entry {n}")))]
pub struct ParseError {
    /// Where.
    pub position: Position,
    /// In which entry of `blobOptions`, counted from 0, if inside one.
    pub entry: Option<usize>,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong with a text that is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// Nothing but white space.
    #[error("the file is empty; write {{}} or delete the file to have no rules")]
    Empty,
    /// It begins with a byte order mark.
    #[error("the file begins with a byte order mark; save it as UTF-8 without one")]
    ByteOrderMark,
    /// It is UTF-16.
    #[error("the file is UTF-16; save it as UTF-8")]
    Utf16,
    /// It ends inside its value.
    #[error("the file ends too early: a bracket or quote is not closed")]
    End,
    /// A character that can't stand here.
    #[error("found {found}, wanted {wanted}")]
    Unexpected {
        /// The character, quoted for people.
        found: String,
        /// What may stand here.
        wanted: &'static str,
    },
    /// A comma with nothing after it.
    #[error("a comma stands before the closing {bracket}")]
    TrailingComma {
        /// The bracket.
        bracket: char,
    },
    /// Nested too deeply.
    #[error("nested deeper than 10000 levels")]
    Depth,
    /// A value of the wrong type.
    #[error("{what} must be {wanted}, not {found}")]
    WrongType {
        /// Which value.
        what: &'static str,
        /// The type it must have.
        wanted: &'static str,
        /// The type it has.
        found: &'static str,
    },
}

impl Problem {
    /// The code that tools go by.
    pub fn code(&self) -> &'static str {
        match self {
            Self::WrongType { .. } => "E-TYPE",
            _ => "E-SYNTAX",
        }
    }
}

impl ParseError {
    pub(crate) fn syntax(text: &[u8], bad: &Bad, entry: Option<usize>) -> Self {
        let problem = match bad.why {
            Why::Depth => Problem::Depth,
            Why::End if text.iter().all(|b| b" \t\r\n".contains(b)) => Problem::Empty,
            Why::End => Problem::End,
            Why::Unexpected(..) if bad.at == 0 && text.starts_with(b"\xef\xbb\xbf") => {
                Problem::ByteOrderMark
            }
            Why::Unexpected(..) if bad.at <= 1 && is_utf16(text) => Problem::Utf16,
            Why::Unexpected(byte @ (b'}' | b']'), _) if follows_comma(text, bad.at) => {
                Problem::TrailingComma { bracket: char::from(byte) }
            }
            Why::Unexpected(_, wanted) => Problem::Unexpected { found: show(text, bad.at), wanted },
        };
        Self { position: Position::of(text, bad.at), entry, problem }
    }

    pub(crate) fn wrong_type(
        text: &[u8],
        at: usize,
        entry: Option<usize>,
        what: &'static str,
        (wanted, found): (Kind, Kind),
    ) -> Self {
        let problem = Problem::WrongType { what, wanted: wanted.name(), found: found.name() };
        Self { position: Position::of(text, at), entry, problem }
    }
}

fn is_utf16(text: &[u8]) -> bool {
    text.starts_with(b"\xff\xfe") || text.starts_with(b"\xfe\xff") || text.get(..2) == Some(b"{\0")
}

fn follows_comma(text: &[u8], at: usize) -> bool {
    text[..at].iter().rev().find(|b| !b" \t\r\n".contains(b)) == Some(&b',')
}

/// The character at a place, for people.
fn show(text: &[u8], at: usize) -> String {
    let rest = &text[at..text.len().min(at + 4)];
    match String::from_utf8_lossy(rest).chars().next() {
        Some(char::REPLACEMENT_CHARACTER) if !rest.starts_with("\u{fffd}".as_bytes()) => {
            format!("the byte 0x{:02x}", text[at])
        }
        Some(char) => format!("{char:?}"),
        None => "the end".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters() {
        let text = "{\n \"é😀\" x".as_bytes();
        let at = text.len() - 1;
        assert_eq!(Position::of(text, at), Position { line: 2, column: 7 });
        assert_eq!(Position::of(b"", 0), Position { line: 1, column: 1 });
    }
}
