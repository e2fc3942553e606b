//! A bucket's lifecycle document: what its rules say, and putting ours into it.
//!
//! Rules are read into types to be looked at and never written back from them; [`Document::with`]
//! cuts the text. What a rule says is compared by [`Document::same_rules`]: the storage gives a
//! document back in another form than it got it.

use std::ops::Range;

use serde::Serialize;

use super::{
    rules::{Owner, Plan},
    scan::{self, Element},
};

/// S3 takes no more.
const RULES_MAX: usize = 1000;
/// The document of a bucket without rules.
const EMPTY: &str = "<LifecycleConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
                     </LifecycleConfiguration>";

/// A document that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// It is no XML in UTF-8.
    #[error("the lifecycle document can't be read: {reason}, at byte {at}")]
    Malformed {
        /// Where reading ended.
        at: usize,
        /// What is wrong there.
        reason: &'static str,
    },
    /// It is something else.
    #[error("the lifecycle document is a <{root}>")]
    NotLifecycle {
        /// The name of its root.
        root: String,
    },
    /// There is no room for more rules.
    #[error("the bucket would have {count} lifecycle rules, and S3 takes {RULES_MAX}")]
    TooManyRules {
        /// How many there would be.
        count: usize,
    },
}

/// A lifecycle document, byte for byte, and what its rules say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    text: String,
    root: Element,
    rules: Vec<Rule>,
}

/// What a rule says. Serialised without what it does not say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    #[serde(skip)]
    span: Range<usize>,
    #[serde(skip)]
    canonical: String,
    /// Its name, unique in a bucket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Is it carried out?
    pub enabled: bool,
    /// Which objects it is for.
    pub filter: Filter,
    /// What happens to them.
    pub actions: Vec<Action>,
    /// Elements that are not understood. A condition among them could make the rule narrower.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<String>,
}

/// Which objects a rule is for: those that meet all of these.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Filter {
    /// Their key begins so; empty = any.
    pub prefix: String,
    /// They have all of these tags.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Tag>,
    /// They have more bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object_size_greater_than: Option<u64>,
    /// They have fewer bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object_size_less_than: Option<u64>,
}

/// A tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tag {
    /// Its name.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// When something happens.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct When {
    /// So many days after the object was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub days: Option<u64>,
    /// On that day, and to each object that is there later, as it stands in the document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date: Option<String>,
}

/// What a rule does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Action {
    /// `Transition`: moves objects to another class.
    Move {
        /// When.
        #[serde(flatten)]
        when: When,
        /// Where to.
        storage_class: String,
    },
    /// `Expiration`: deletes objects.
    Delete {
        /// When.
        #[serde(flatten)]
        when: When,
    },
    /// `ExpiredObjectDeleteMarker`: removes delete markers that hide nothing any more.
    DropDeleteMarkers,
    /// `NoncurrentVersionTransition`: moves versions that were replaced or deleted.
    MoveEarlierVersions {
        /// So many days after that.
        #[serde(skip_serializing_if = "Option::is_none")]
        days: Option<u64>,
        /// Where to.
        storage_class: String,
    },
    /// `NoncurrentVersionExpiration`: deletes such versions.
    DeleteEarlierVersions {
        /// So many days after that.
        #[serde(skip_serializing_if = "Option::is_none")]
        days: Option<u64>,
    },
    /// `AbortIncompleteMultipartUpload`: drops uploads that never ended.
    AbortUploads {
        /// So many days after they began.
        #[serde(skip_serializing_if = "Option::is_none")]
        days: Option<u64>,
    },
}

impl Document {
    /// The document of a bucket that has no rules.
    pub fn empty() -> Self {
        Self::of(EMPTY.to_owned()).expect("the empty document is right: tests read it")
    }

    /// Reads a document.
    ///
    /// # Errors
    /// [`DocumentError`]: it is no XML in UTF-8, or no lifecycle document.
    pub fn parse(document: &[u8]) -> Result<Self, DocumentError> {
        match std::str::from_utf8(document) {
            Ok(text) => Self::of(text.to_owned()),
            Err(error) => {
                let (at, reason) = (error.valid_up_to(), "it is not in UTF-8");
                Err(DocumentError::Malformed { at, reason })
            }
        }
    }

    fn of(text: String) -> Result<Self, DocumentError> {
        let root = scan::root(&text)
            .map_err(|scan::Malformed { at, reason }| DocumentError::Malformed { at, reason })?;
        if root.name != "LifecycleConfiguration" {
            return Err(DocumentError::NotLifecycle { root: root.name });
        }
        let rules = root.children.iter().filter(|it| it.name == "Rule").map(Rule::of).collect();
        Ok(Self { text, root, rules })
    }

    /// Its rules, in their order.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The bytes.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The bytes of one of its rules.
    pub fn rule_text(&self, rule: &Rule) -> &str {
        self.text.get(rule.span.clone()).unwrap_or_default()
    }

    /// The document with the rules of `plan`, in the place of those that its owner has here. If
    /// these say the same already, no byte changes.
    ///
    /// # Errors
    /// [`DocumentError::TooManyRules`].
    pub fn with(&self, plan: &Plan) -> Result<Self, DocumentError> {
        let owner = plan.owner();
        let new: Vec<_> = plan.rules().iter().map(|rule| rule.xml(&self.root.namespace)).collect();
        let after = self.replaced(owner, &new)?;
        let own = |document: &Self| {
            let own = document.rules.iter().filter(|rule| owner.owns(rule));
            let mut own: Vec<_> = own.map(|rule| rule.canonical.clone()).collect();
            own.sort_unstable();
            own
        };
        if own(self) == own(&after) {
            return Ok(self.clone());
        }
        match after.rules.len() {
            count if count > RULES_MAX => Err(DocumentError::TooManyRules { count }),
            _ => Ok(after),
        }
    }

    /// The document without the owner's rules.
    ///
    /// # Errors
    /// [`DocumentError`], should what is left not be readable.
    pub fn without(&self, owner: &Owner) -> Result<Self, DocumentError> {
        self.replaced(owner, &[])
    }

    /// Do both have the same rules? Neither their order nor their form counts.
    pub fn same_rules(&self, other: &Self) -> bool {
        let all = |document: &Self| {
            let mut all: Vec<_> = document.rules.iter().map(|it| it.canonical.clone()).collect();
            all.sort_unstable();
            all
        };
        all(self) == all(other)
    }

    /// The document with `new` where the first of the owner's rules was, or behind all rules.
    fn replaced(&self, owner: &Owner, new: &[String]) -> Result<Self, DocumentError> {
        let own: Vec<_> = self.rules.iter().filter(|rule| owner.owns(rule)).collect();
        let mut out = String::with_capacity(self.text.len() + 512 * new.len());
        let mut copied = 0;
        for (n, rule) in own.iter().enumerate() {
            let Range { start, end } = rule.span;
            let space = self.space_before(start);
            if n == 0 && !new.is_empty() {
                out.push_str(&self.text[copied..start]);
                out.push_str(&new.join(space));
            } else {
                out.push_str(&self.text[copied..start - space.len()]);
            }
            copied = end;
        }
        if own.is_empty() && !new.is_empty() {
            let at = match (self.rules.last(), &self.root.inner) {
                (Some(last), _) => last.span.end,
                (None, Some(inner)) => inner.start,
                (None, None) => return self.opened()?.replaced(owner, new),
            };
            let space = self.rules.last().map_or("", |last| self.space_before(last.span.start));
            out.push_str(&self.text[..at]);
            new.iter().for_each(|rule| out.extend([space, rule.as_str()]));
            copied = at;
        }
        out.push_str(&self.text[copied..]);
        Self::of(out)
    }

    /// White space that ends at `at`.
    fn space_before(&self, at: usize) -> &str {
        let before = &self.text[..at];
        let is_space = [' ', '\t', '\n', '\r'];
        &before[before.trim_end_matches(is_space).len()..]
    }

    /// `<LifecycleConfiguration/>` with an end tag of its own.
    fn opened(&self) -> Result<Self, DocumentError> {
        let Range { start, end } = self.root.span;
        let tag = self.text[start..end].trim_end_matches('>').trim_end_matches('/');
        let (namespace, name) = (&self.root.namespace, &self.root.name);
        let (before, behind) = (&self.text[..start], &self.text[end..]);
        Self::of(format!("{before}{tag}></{namespace}{name}>{behind}"))
    }
}

impl Rule {
    fn of(element: &Element) -> Self {
        let mut rule = Self {
            span: element.span.clone(),
            canonical: element.canonical(),
            id: None,
            enabled: false,
            filter: Filter::default(),
            actions: Vec::new(),
            unknown: Vec::new(),
        };
        for part in &element.children {
            match part.name.as_str() {
                "ID" => rule.id = Some(part.text.trim().to_owned()),
                "Status" => rule.enabled = part.text.trim() == "Enabled",
                "Prefix" => rule.filter.prefix.clone_from(&part.text), // the form of before 2016
                "Filter" => rule.condition(part),
                _ => rule.action(part),
            }
        }
        rule
    }

    /// The parts of `<Filter>` or `<And>`.
    fn condition(&mut self, filter: &Element) {
        for part in &filter.children {
            let text = |name| part.child(name).map_or(String::new(), |it| it.text.clone());
            match (part.name.as_str(), number(part)) {
                ("And", _) => self.condition(part),
                ("Prefix", _) => self.filter.prefix.clone_from(&part.text),
                ("Tag", _) => {
                    self.filter.tags.push(Tag { key: text("Key"), value: text("Value") });
                }
                ("ObjectSizeGreaterThan", Some(size)) => {
                    self.filter.object_size_greater_than = Some(size);
                }
                ("ObjectSizeLessThan", Some(size)) => {
                    self.filter.object_size_less_than = Some(size)
                }
                (name, _) => self.unknown.push(name.to_owned()),
            }
        }
    }

    fn action(&mut self, part: &Element) {
        let class = || part.child("StorageClass").map_or("", |it| it.text.trim()).to_owned();
        let days = |name: &str| part.child(name).and_then(number);
        let when = When {
            days: days("Days"),
            date: part.child("Date").map(|date| date.text.trim().to_owned()),
        };
        let marker = part.child("ExpiredObjectDeleteMarker");
        self.actions.push(match part.name.as_str() {
            "Transition" => Action::Move { when, storage_class: class() },
            "Expiration" if marker.is_some_and(|it| it.text.trim() == "true") => {
                Action::DropDeleteMarkers
            }
            // Without a time, too: whatever it means, it deletes.
            "Expiration" => Action::Delete { when },
            "NoncurrentVersionTransition" => {
                Action::MoveEarlierVersions { days: days("NoncurrentDays"), storage_class: class() }
            }
            "NoncurrentVersionExpiration" => {
                Action::DeleteEarlierVersions { days: days("NoncurrentDays") }
            }
            "AbortIncompleteMultipartUpload" => {
                Action::AbortUploads { days: days("DaysAfterInitiation") }
            }
            other => {
                self.unknown.push(other.to_owned());
                return;
            }
        });
    }

    /// The rule's name for people.
    pub fn name(&self) -> &str {
        self.id.as_deref().filter(|id| !id.is_empty()).unwrap_or("(without an ID)")
    }
}

fn number(element: &Element) -> Option<u64> {
    element.text.trim().parse().ok()
}

#[cfg(test)]
#[path = "document_tests.rs"]
mod tests;
