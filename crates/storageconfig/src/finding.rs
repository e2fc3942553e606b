//! What there is to say about a file that is not refused.

use serde::{Serialize, Serializer, ser::SerializeStruct};

use crate::{BlobKind, ParseError, Position};

/// How much a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The file, or a write that an entry matches, is refused.
    Error,
    /// Probably not what was meant, or dangerous.
    Warning,
    /// Worth knowing.
    Note,
    /// Only information.
    Info,
}

/// One thing to say about a file. Its `code` is for tools, its message for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How much it weighs.
    pub level: Level,
    /// The code, as listed in the crate's README.
    pub code: &'static str,
    /// The entry of `blobOptions` concerned, counted from 0; `None` = the file.
    pub entry: Option<usize>,
    /// It is about a key of the outermost object.
    pub top: bool,
    /// Where in the file.
    pub position: Option<Position>,
    /// `W-SHADOWED`: the entry that hides this one.
    pub by: Option<usize>,
    /// `W-ARCHIVE-META`: the kinds that would be archived.
    pub kinds: Vec<BlobKind>,
    /// The key concerned.
    pub key: Option<String>,
    /// The file must not be uploaded unless forced.
    pub refuses_upload: bool,
    /// What is wrong, as a sentence.
    pub message: String,
    /// The way out, where there is one.
    pub fix: Option<String>,
}

impl Finding {
    pub(crate) fn new(level: Level, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            level,
            code,
            entry: None,
            top: false,
            position: None,
            by: None,
            kinds: Vec::new(),
            key: None,
            refuses_upload: level == Level::Error,
            message: message.into(),
            fix: None,
        }
    }

    pub(crate) fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Level::Warning, code, message)
    }

    #[must_use]
    pub(crate) fn in_entry(mut self, entry: Option<usize>, position: Position) -> Self {
        (self.entry, self.position) = (entry, Some(position));
        self
    }

    #[must_use]
    pub(crate) fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }
}

impl From<&ParseError> for Finding {
    fn from(error: &ParseError) -> Self {
        let finding = Self::new(Level::Error, error.problem.code(), error.problem.to_string());
        finding.in_entry(error.entry, error.position)
    }
}

impl Serialize for Finding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Finding", 10)?;
        out.serialize_field("level", &self.level)?;
        out.serialize_field("code", self.code)?;
        macro_rules! optional {
            ($($name:literal: $value:expr;)*) => {$(
                match &$value {
                    Some(value) => out.serialize_field($name, value)?,
                    None => out.skip_field($name)?,
                }
            )*};
        }
        optional! {
            "entry": self.entry;
            "line": self.position.map(|p| p.line);
            "column": self.position.map(|p| p.column);
            "by": self.by;
            "key": self.key;
            "kinds": (!self.kinds.is_empty()).then_some(&self.kinds);
        }
        out.serialize_field("message", &self.message)?;
        optional! { "fix": self.fix; }
        out.end()
    }
}
