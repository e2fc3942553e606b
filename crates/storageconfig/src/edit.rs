//! Changes to the rules, one at a time, that leave everything else as it was.

use std::str::FromStr;

use crate::{Entry, Position, StorageConfig, model::Member};

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// Blobs whose ID begins with `prefix` go to `class`: changes the entry of just this prefix, or
    /// adds one at the end, or before the first entry that would hide it.
    Add {
        /// What their IDs begin with.
        prefix: String,
        /// The class.
        class: String,
    },
    /// All other blobs go to this class: changes the entry without a prefix, or adds one at the
    /// end.
    Default(String),
    /// Deletes every entry of just this prefix; empty = the entries without one.
    Remove(String),
    /// Deletes every entry.
    Clear,
}

/// A change that can't be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EditError {
    /// No entry has this prefix.
    #[error("there is no entry with the prefix {prefix:?}")]
    NoSuchEntry {
        /// The prefix.
        prefix: String,
    },
    /// Not of the form `PREFIX=CLASS`.
    #[error("{text:?} is not of the form PREFIX=CLASS")]
    NotAnAssignment {
        /// The text.
        text: String,
    },
}

/// `PREFIX=CLASS` is an [`Edit::Add`]; an empty prefix is an [`Edit::Default`].
impl FromStr for Edit {
    type Err = EditError;

    fn from_str(text: &str) -> Result<Self, EditError> {
        match text.split_once('=') {
            Some((_, "")) | None => Err(EditError::NotAnAssignment { text: text.to_owned() }),
            Some(("", class)) => Ok(Self::Default(class.to_owned())),
            Some((prefix, class)) => {
                Ok(Self::Add { prefix: prefix.to_owned(), class: class.to_owned() })
            }
        }
    }
}

impl StorageConfig {
    /// The rules with all `edits` made, in order.
    ///
    /// # Errors
    /// [`EditError::NoSuchEntry`] for a removal of what is not there; nothing is changed then.
    pub fn edited(&self, edits: &[Edit]) -> Result<Self, EditError> {
        let mut next = self.clone();
        for edit in edits {
            match edit {
                Edit::Add { prefix, class } => next.set(prefix, class),
                Edit::Default(class) => next.set("", class),
                Edit::Remove(prefix) => {
                    let before = next.entries.len();
                    next.entries.retain(|entry| entry.prefix != *prefix);
                    if next.entries.len() == before {
                        return Err(EditError::NoSuchEntry { prefix: prefix.clone() });
                    }
                }
                Edit::Clear => next.entries.clear(),
            }
        }
        // Read again, so that what was found in the text, and where, fits the new text.
        Ok(Self::parse(&next.to_bytes()).expect("what we write, we read"))
    }

    fn set(&mut self, prefix: &str, class: &str) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.prefix == prefix) {
            class.clone_into(&mut entry.class);
            if !entry.members.contains(&Member::Class) {
                entry.members.push(Member::Class);
            }
            return;
        }
        let mut entry = Entry::empty(Position { line: 1, column: 1 });
        (entry.prefix, entry.class) = (prefix.to_owned(), class.to_owned());
        if !prefix.is_empty() {
            entry.members.push(Member::Prefix);
        }
        entry.members.push(Member::Class);
        let hides = |earlier: &Entry| prefix.starts_with(&*earlier.prefix);
        let at = self.entries.iter().position(hides).unwrap_or(self.entries.len());
        self.entries.insert(at, entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(text: &str, edits: &[&str]) -> String {
        let edits: Vec<Edit> = edits.iter().map(|text| text.parse().unwrap()).collect();
        let config = StorageConfig::parse(text.as_bytes()).unwrap().edited(&edits).unwrap();
        config.entries().iter().map(|e| format!("{}={} ", e.prefix(), e.storage_class())).collect()
    }

    #[test]
    fn a_new_entry_stands_where_it_can_match() {
        let text = r#"{"blobOptions":[{"prefix":"p","storageClass":"A"},{"storageClass":"B"}]}"#;
        assert_eq!(edited(text, &["q=C", "pa=D", "x=E"]), "pa=D p=A q=C x=E =B ");
        assert_eq!(edited("{}", &["p=A", "s=B", "=C"]), "p=A s=B =C ");
        assert_eq!(edited(text, &["=Z", "p=Y"]), "p=Y =Z ");
    }

    #[test]
    fn an_edit_keeps_the_keys_it_does_not_know() {
        let text = br#"{"v":1,"blobOptions":[{"prefix":"p","tags":{"a":"b"},"note":"mine"}]}"#;
        let config = StorageConfig::parse(text).unwrap();
        let set =
            config.edited(&[Edit::Add { prefix: "p".into(), class: "GLACIER".into() }]).unwrap();
        let text = String::from_utf8(set.to_bytes()).unwrap();
        for part in [r#""v": 1"#, r#""tags": {"a":"b"}"#, r#""note": "mine""#, r#""GLACIER""#] {
            assert!(text.contains(part), "{text}");
        }
        let cleared = set.edited(&[Edit::Clear]).unwrap();
        assert!(cleared.is_empty() && cleared.to_bytes().starts_with(b"{\n  \"v\": 1"));
    }

    #[test]
    fn what_is_not_there_is_not_removed() {
        let error = StorageConfig::new().edited(&[Edit::Remove("p".into())]).unwrap_err();
        assert_eq!(error, EditError::NoSuchEntry { prefix: "p".into() });
        assert!("GLACIER".parse::<Edit>().is_err() && "p=".parse::<Edit>().is_err());
    }
}
