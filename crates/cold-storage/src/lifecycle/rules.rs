//! Our rule: move the long data packs of one repository, and nothing else.
//!
//! Short packs stay, because Kopia's full maintenance reads and rewrites them; it takes those of
//! which less than 60 % of the maximum pack size is used (docs/format/08-maintenance.md). The
//! prefix is the repository's with `p`, and that may mean somebody else's objects, too:
//! `photos/` where the repository has no prefix of its own. Who finds such [`Strangers`] makes no
//! rule, or sixteen narrower ones ([`Reach`]).

use blob_core::StorageClass;

use super::{document::Rule, scan::encode};

/// How the IDs of our rules begin.
const ID_BEGIN: &str = "kopia-lite-packs:";
/// The longest ID that S3 takes.
const ID_MAX: usize = 255;
/// The second characters of a data pack's ID.
const DIGITS: &str = "0123456789abcdef";

/// Whose rules are ours: those of one repository, known by their IDs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    prefix: String,
    id: String,
}

impl Owner {
    /// The repository under `prefix`.
    pub fn new(prefix: impl Into<String>) -> Self {
        let prefix = prefix.into();
        // An ID that some program could trip over, or that would be too long, is a number instead.
        let is_plain = prefix.bytes().all(|byte| byte.is_ascii_graphic());
        let id = match is_plain && ID_BEGIN.len() + prefix.len() + 2 <= ID_MAX {
            true => format!("{ID_BEGIN}{prefix}p"),
            false => format!("{ID_BEGIN}#{:016x}p", fnv_1a(&prefix)),
        };
        Self { prefix, id }
    }

    /// The repository's prefix.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Is it our rule, or one of the sixteen?
    pub fn owns(&self, rule: &Rule) -> bool {
        let tail = rule.id.as_deref().and_then(|id| id.strip_prefix(&self.id));
        tail.is_some_and(|tail| tail.is_empty() || (tail.len() == 1 && DIGITS.contains(tail)))
    }
}

/// A number that two prefixes share as good as never. FNV-1a: it must stay the same for ever.
fn fnv_1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Which keys the rules name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// All that begins with the repository's prefix and `p`.
    All,
    /// Sixteen rules, `p0` to `pf`, since other objects begin with `p`, too.
    Digits,
}

/// Objects of somebody else that no rule of ours can leave out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} that are no data packs begin with {begin:?}: {}", counted(*count), some.join(", "))]
pub struct Strangers {
    /// What the rule's prefix would be.
    pub begin: String,
    /// How many there are; a folder is one.
    pub count: usize,
    /// Some of them.
    pub some: Vec<String>,
}

fn counted(count: usize) -> String {
    if count == 1 { "1 object or folder".to_owned() } else { format!("{count} objects or folders") }
}

impl Reach {
    /// The reach that leaves out `strangers`: the keys that begin with the owner's prefix and `p`
    /// and are no data packs.
    ///
    /// # Errors
    /// [`Strangers`]: some of them look like packs in their first two characters.
    pub fn beside(owner: &Owner, strangers: &[String]) -> Result<Self, Strangers> {
        let begin = format!("{}p", owner.prefix);
        let looks_alike = |key: &&String| {
            key.strip_prefix(&begin).is_some_and(|rest| rest.starts_with(|c| DIGITS.contains(c)))
        };
        let alike: Vec<_> = strangers.iter().filter(looks_alike).cloned().collect();
        match (strangers.is_empty(), alike.len()) {
            (true, _) => Ok(Self::All),
            (false, 0) => Ok(Self::Digits),
            (false, count) => {
                Err(Strangers { begin, count, some: alike.into_iter().take(5).collect() })
            }
        }
    }
}

/// What can't be made a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// A character that no XML can hold.
    #[error("the {what} {text:?} holds a character that no lifecycle rule can")]
    Character {
        /// Where.
        what: &'static str,
        /// The text.
        text: String,
    },
}

/// What our rules are to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    owner: Owner,
    class: StorageClass,
    days: u32,
    min_size: u64,
    reach: Reach,
    /// Prefix, ID and class as they stand in a document.
    encoded: [String; 3],
}

/// One rule that is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NewRule {
    id: String,
    prefix: String,
    class: String,
    days: u32,
    min_size: u64,
}

impl Plan {
    /// Moves packs of at least `min_size` bytes to `class` when they are `days` days old.
    ///
    /// # Errors
    /// [`PlanError`]: no document can hold the prefix or the class.
    pub fn new(
        owner: Owner,
        class: StorageClass,
        days: u32,
        min_size: u64,
        reach: Reach,
    ) -> Result<Self, PlanError> {
        let encoded = |what, text: &str| {
            encode(text).ok_or_else(|| PlanError::Character { what, text: text.to_owned() })
        };
        let prefix = encoded("prefix", &owner.prefix)?;
        let id = encoded("rule's ID", &owner.id)?;
        let encoded = [prefix, id, encoded("storage class", class.as_str())?];
        Ok(Self { owner, class, days, min_size, reach, encoded })
    }

    /// The size below which Kopia's full maintenance rewrites packs: 60 % of the maximum.
    pub fn size_of_short_packs(max_pack_size: u64) -> u64 {
        max_pack_size / 5 * 3 + max_pack_size % 5 * 3 / 5
    }

    /// Whose rules these are.
    pub fn owner(&self) -> &Owner {
        &self.owner
    }

    /// Where packs go.
    pub fn class(&self) -> &StorageClass {
        &self.class
    }

    pub(super) fn rules(&self) -> Vec<NewRule> {
        let [prefix, id, class] = &self.encoded;
        let rule = |digit: &str| NewRule {
            id: format!("{id}{digit}"),
            prefix: format!("{prefix}p{digit}"),
            class: class.clone(),
            days: self.days,
            min_size: self.min_size,
        };
        match self.reach {
            Reach::All => vec![rule("")],
            Reach::Digits => DIGITS.chars().map(|digit| rule(&digit.to_string())).collect(),
        }
    }
}

impl NewRule {
    /// The rule as it stands in a document whose elements have `namespace` before their names.
    pub fn xml(&self, namespace: &str) -> String {
        let element =
            |name: &str, inside: &str| format!("<{namespace}{name}>{inside}</{namespace}{name}>");
        let prefix = element("Prefix", &self.prefix);
        let filter = match self.min_size.checked_sub(1) {
            None => prefix,
            Some(size) => {
                element("And", &(prefix + &element("ObjectSizeGreaterThan", &size.to_string())))
            }
        };
        let days = element("Days", &self.days.to_string());
        let parts = [
            element("ID", &self.id),
            element("Filter", &filter),
            element("Status", "Enabled"),
            element("Transition", &(days + &element("StorageClass", &self.class))),
        ];
        element("Rule", &parts.concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::Document;

    fn plan(prefix: &str, min_size: u64, reach: Reach) -> Document {
        let class = StorageClass::DEEP_ARCHIVE;
        let plan = Plan::new(Owner::new(prefix), class, 14, min_size, reach).unwrap();
        Document::empty().with(&plan).unwrap()
    }

    #[test]
    fn the_rule_is_that_of_the_guide() {
        let size = Plan::size_of_short_packs(20 << 20);
        let document = plan("backups/home/", size, Reach::All);
        let rule = &document.rules()[0];
        assert_eq!(
            document.rule_text(rule),
            "<Rule><ID>kopia-lite-packs:backups/home/p</ID><Filter><And>\
             <Prefix>backups/home/p</Prefix>\
             <ObjectSizeGreaterThan>12582911</ObjectSizeGreaterThan></And></Filter>\
             <Status>Enabled</Status><Transition><Days>14</Days>\
             <StorageClass>DEEP_ARCHIVE</StorageClass></Transition></Rule>"
        );
        let all = plan("", 0, Reach::All);
        assert!(all.text().contains("<Filter><Prefix>p</Prefix></Filter>"), "{}", all.text());
        assert_eq!(Plan::size_of_short_packs(u64::MAX), u64::MAX / 5 * 3);
        assert_eq!(Plan::size_of_short_packs(7), 4);
    }

    #[test]
    fn prefixes_of_any_kind_come_back_as_they_are() {
        for prefix in ["a&b/<c>/", "ü /", "", " x ", &"long/".repeat(100)] {
            let document = plan(prefix, 1, Reach::All);
            let rule = &document.rules()[0];
            assert_eq!(rule.filter.prefix, format!("{prefix}p"));
            assert!(rule.id.as_ref().unwrap().len() <= ID_MAX);
            assert!(Owner::new(prefix).owns(rule));
            assert!(!Owner::new(format!("{prefix}x")).owns(rule));
        }
        let bad = Plan::new(Owner::new("\u{1}"), StorageClass::GLACIER, 1, 1, Reach::All);
        assert!(bad.unwrap_err().to_string().contains("prefix \"\\u{1}\""));
    }

    #[test]
    fn strangers_make_the_rules_narrow_or_impossible() {
        let owner = Owner::new("r/");
        let keys = |all: &[&str]| all.iter().map(|key| format!("r/{key}")).collect::<Vec<_>>();
        assert_eq!(Reach::beside(&owner, &[]), Ok(Reach::All));
        assert_eq!(Reach::beside(&owner, &keys(&["photos/", "p", "prod/"])), Ok(Reach::Digits));
        let refused = Reach::beside(&owner, &keys(&["photos/", "pa/", "p1.txt"])).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "2 objects or folders that are no data packs begin with \"r/p\": r/pa/, r/p1.txt"
        );
        let document = plan("r/", 5, Reach::Digits);
        let prefixes: Vec<_> = document.rules().iter().map(|it| &*it.filter.prefix).collect();
        assert_eq!((prefixes.len(), prefixes[0], prefixes[15]), (16, "r/p0", "r/pf"));
        assert!(document.rules().iter().all(|rule| owner.owns(rule)));
        assert!(!document.rules().iter().any(|rule| Owner::new("r/p0").owns(rule)));
    }
}
