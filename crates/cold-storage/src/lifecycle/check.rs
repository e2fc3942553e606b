//! What of a bucket's rules hurts one repository.
//!
//! Three facts decide: which kinds of blobs a filter can reach, which of them must be readable at
//! once (all but file data), and that nothing in a repository gets useless by its age. What a class
//! needs and bills is asked of [`StorageClass::is_archive`] and the [`PriceTable`].

use blob_core::StorageClass;
use serde::Serialize;

use super::{
    document::{Action, Document, Filter, Rule, Tag, When},
    kinds::{KINDS, Kind},
    rules::Owner,
};
use crate::{ClassFacts, PriceTable};

/// Smaller objects are not moved unless a rule or the bucket says so.
const MOVED_MIN: u64 = 128 << 10;
/// The value of the bucket's setting that says so for archives.
const VARIES: &str = "varies_by_storage_class";

/// How much a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The repository loses data or cannot be opened any more.
    Error,
    /// It costs, or something does not work.
    Warning,
    /// Worth knowing.
    Note,
}

/// One thing to say about a rule. Its `code` is for tools, its message for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// How much it weighs.
    pub level: Level,
    /// What kind of thing it is.
    pub code: &'static str,
    /// Which rule, counted from 0.
    pub index: usize,
    /// The rule's ID, if it has one.
    pub rule: Option<String>,
    /// Is it one of ours?
    pub ours: bool,
    /// What is wrong, as a sentence.
    pub message: String,
    /// The way out, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

/// What the rules are checked against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// Whose rules are ours, and the prefix.
    pub owner: Owner,
    /// Tags that its blobs are written with.
    pub tags: Vec<Tag>,
    /// Packs with fewer bytes may be rewritten by full maintenance; `None` = not known.
    pub short_pack: Option<u64>,
    /// How often full maintenance runs, in days.
    pub maintenance_days: u64,
    /// How long snapshots are kept at least, in days; `None` = not known.
    pub retention_days: Option<u64>,
}

/// The kinds of blobs that a rule is for.
pub(super) struct Reached {
    pub kinds: Vec<&'static Kind>,
    /// Only blobs with tags that somebody else gave them.
    only_tagged: bool,
}

impl Repository {
    /// The kinds of this repository's blobs that `rule` can reach.
    pub(super) fn reached(&self, rule: &Rule) -> Reached {
        let Filter { prefix, tags, object_size_greater_than: above, object_size_less_than: below } =
            &rule.filter;
        let own = self.owner.prefix();
        let has_size = below.is_none_or(|below| below > above.map_or(0, |it| it.saturating_add(1)));
        let fits = |kind: &&Kind| {
            let begins = match prefix.strip_prefix(own) {
                Some(rest) => kind.can_begin(rest),
                None => own.starts_with(prefix.as_str()),
            };
            begins && has_size && above.is_none_or(|above| kind.can_exceed(above))
        };
        let kinds = KINDS.iter().filter(fits).collect();
        Reached { kinds, only_tagged: !tags.iter().all(|tag| self.tags.contains(tag)) }
    }
}

/// All that there is to say about the rules, in their order. `minimum` is the bucket's setting for
/// small objects, as the storage tells it.
pub fn check(
    document: &Document,
    minimum: Option<&str>,
    repository: &Repository,
    table: &PriceTable,
) -> Vec<Finding> {
    let reaches_packs = |rule: &&Rule| {
        rule.enabled && repository.reached(rule).kinds.iter().any(|kind| kind.may_be_cold)
    };
    let moved = document.rules().iter().filter(reaches_packs).flat_map(|rule| &rule.actions);
    let packs_are_archived = moved.into_iter().any(|action| match action {
        Action::Move { storage_class, .. } => is_archive(storage_class, table),
        _ => false,
    });
    let mut all = Vec::new();
    for (index, rule) in document.rules().iter().enumerate() {
        let reached = repository.reached(rule);
        if reached.kinds.is_empty() {
            continue;
        }
        let ours = repository.owner.owns(rule);
        let mut checking = Checking {
            rule,
            reached,
            minimum,
            repository,
            table,
            packs_are_archived,
            ours,
            index,
            found: Vec::new(),
        };
        checking.run();
        all.append(&mut checking.found);
    }
    all
}

/// Does a class need a thaw? A table may know classes of other providers.
fn is_archive(class: &str, table: &PriceTable) -> bool {
    let class = StorageClass::new(class);
    class.is_archive() || table.class(&class).is_some_and(|facts| !facts.readable_at_once)
}

/// One rule.
struct Checking<'a> {
    rule: &'a Rule,
    reached: Reached,
    minimum: Option<&'a str>,
    repository: &'a Repository,
    table: &'a PriceTable,
    packs_are_archived: bool,
    ours: bool,
    index: usize,
    found: Vec<Finding>,
}

impl Checking<'_> {
    fn run(&mut self) {
        for action in &self.rule.actions {
            match action {
                Action::Move { when, storage_class } => self.check_move(when, storage_class),
                Action::Delete { when } => self.check_delete(when),
                // Of replaced and deleted objects Kopia knows nothing, and it makes no uploads in
                // parts.
                Action::DropDeleteMarkers
                | Action::MoveEarlierVersions { .. }
                | Action::DeleteEarlierVersions { .. }
                | Action::AbortUploads { .. } => {}
            }
        }
        if !self.rule.unknown.is_empty() {
            let unknown = self.rule.unknown.join(", ");
            let message = format!("has what kopia-lite does not know: {unknown}");
            let fix = "look at the rule itself: storage-config lifecycle show --raw";
            self.say(Level::Warning, "unknown-element", message, fix);
        }
        if !self.rule.enabled {
            let harm = self.found.iter().filter(|it| it.level < Level::Note).map(|it| it.code);
            let harm = harm.collect::<Vec<_>>().join(", ");
            self.found.clear();
            let message = match harm.as_str() {
                "" => "is disabled and does nothing".to_owned(),
                harm => format!("is disabled and does nothing; enabled, it would be: {harm}"),
            };
            self.say(Level::Note, "disabled", message, "");
        }
    }

    fn say(&mut self, level: Level, code: &'static str, message: String, fix: &str) {
        let fix = (!fix.is_empty()).then(|| fix.to_owned());
        let (index, rule, ours) = (self.index, self.rule.id.clone(), self.ours);
        self.found.push(Finding { level, code, index, rule, ours, message, fix });
    }

    /// An error counts less where only blobs with foreign tags are meant: Kopia sets none.
    fn hurt(&mut self, code: &'static str, message: String, fix: &str) {
        match self.reached.only_tagged {
            false => self.say(Level::Error, code, message, fix),
            true => {
                let tags =
                    self.rule.filter.tags.iter().map(|it| format!("{}={}", it.key, it.value));
                let tags = tags.collect::<Vec<_>>().join(", ");
                let message = format!("{message}; so far as they are tagged {tags}");
                self.say(Level::Warning, code, message, fix);
            }
        }
    }

    /// The begins of the reached kinds that fit.
    fn kinds(&self, fits: impl Fn(&Kind) -> bool) -> String {
        let kinds = self.reached.kinds.iter().filter(|kind| fits(kind)).map(|kind| kind.begin);
        kinds.collect::<Vec<_>>().join(", ")
    }

    fn check_delete(&mut self, when: &When) {
        let when = after(when);
        let outside = match self.repository.owner.prefix() {
            "" => {
                "give the repository a prefix of its own, or the rule one that no blob has".into()
            }
            prefix => format!("let it begin with something else than {prefix:?}"),
        };
        let needed = self.kinds(|kind| kind.is_needed);
        if needed.is_empty() {
            let logs = self.kinds(|_| true);
            let message = format!("deletes {logs} {when}; maintenance does that, too");
            return self.say(Level::Note, "deletes-logs", message, "");
        }
        let message = format!(
            "deletes {needed} {when}: data is shared between snapshots, and its age says nothing \
             about its use"
        );
        self.hurt("deletes-blobs", message, &outside);
        let packs = !self.kinds(|kind| kind.may_be_cold).is_empty();
        if packs && self.packs_are_archived {
            let message = format!(
                "deletes archived packs {when}, and their thawed copies with them before their days \
                 are over"
            );
            self.hurt("cuts-copies", message, &outside);
        }
    }

    fn check_move(&mut self, when: &When, class: &str) {
        let name = StorageClass::new(class);
        let facts = self.table.class(&name);
        let archive = is_archive(class, self.table);
        if self.ours && self.rule.enabled {
            self.check_target(&name, facts);
        } else if facts.is_none() && !name.is_known() {
            let message = format!("moves blobs to {class}, a class that kopia-lite does not know");
            let fix = "make sure that it is readable at once, or that only data packs get there";
            self.say(Level::Warning, "unknown-class", message, fix);
        }
        let others = self.kinds(|kind| !kind.may_be_cold && kind.is_needed);
        let others = if others.is_empty() { self.kinds(|kind| !kind.may_be_cold) } else { others };
        if !others.is_empty() {
            self.check_others(&others, when, class, archive, facts);
        }
        if self.reached.kinds.iter().any(|kind| kind.may_be_cold) {
            if archive {
                self.check_archived_packs(when, class);
            }
            if let Some(facts) = facts {
                self.check_bills(when, class, facts);
            }
        }
    }

    /// A storage refuses what is no target; better to know before.
    fn check_target(&mut self, class: &StorageClass, facts: Option<&ClassFacts>) {
        let is_target = facts.map(|facts| facts.lifecycle_in(1).is_some());
        match (is_target, class.is_known()) {
            (Some(true), _) => {}
            (Some(false), _) | (None, true) => {
                let message = format!("moves to {class}, where no lifecycle rule can");
                let targets = self.table.classes().filter(|(_, it)| it.lifecycle_in(1).is_some());
                let targets: Vec<_> = targets.map(|(class, _)| class.to_string()).collect();
                let fix = format!("the classes are {}", targets.join(", "));
                self.say(Level::Error, "no-target", message, &fix);
            }
            (None, false) => {
                let message = format!("moves to {class}, a class that kopia-lite does not know");
                self.say(Level::Warning, "unknown-class", message, "");
            }
        }
    }

    /// Blobs that are not file data.
    fn check_others(
        &mut self,
        others: &str,
        when: &When,
        class: &str,
        archive: bool,
        facts: Option<&ClassFacts>,
    ) {
        let when = after(when);
        let fix = format!("let it begin with {:?}", format!("{}p", self.repository.owner.prefix()));
        let needed = self.reached.kinds.iter().any(|kind| !kind.may_be_cold && kind.is_needed);
        match archive {
            true if needed => {
                let message = format!(
                    "moves {others} to {class} {when}: without them no command works before a thaw \
                     of hours"
                );
                self.hurt("cold-metadata", message, &fix);
            }
            true => {
                let message =
                    format!("moves {others} to {class} {when}, where nobody can read them");
                self.say(Level::Warning, "cold-logs", message, &fix);
            }
            false if facts.is_some_and(|facts| facts.min_days > 0) => {
                let days = facts.map_or(0, |facts| facts.min_days);
                let message = format!(
                    "moves {others} to {class} {when}: many are deleted earlier, and billed for \
                     {days} days"
                );
                self.say(Level::Note, "churn", message, &fix);
            }
            false => {}
        }
    }

    fn check_archived_packs(&mut self, when: &When, class: &str) {
        let least = self.rule.filter.object_size_greater_than.map_or(0, |it| it.saturating_add(1));
        let is_short = match self.repository.short_pack {
            Some(short) => least < short,
            None => least == 0,
        };
        if is_short {
            let limit = match self.repository.short_pack {
                Some(short) => format!("packs under {short} bytes"),
                None => "short packs, too,".to_owned(),
            };
            let message = format!(
                "moves {limit} to {class}: full maintenance reads and rewrites them, and Kopia's \
                 stops there"
            );
            let fix = match self.repository.short_pack {
                Some(short) => over(short),
                None => {
                    "narrow it by ObjectSizeGreaterThan, 60 % of the maximum pack size".to_owned()
                }
            };
            self.say(Level::Warning, "short-packs", message, &fix);
        }
        let maintenance = self.repository.maintenance_days;
        if when.days.is_some_and(|days| days <= maintenance) {
            let after = after(when);
            let message = format!(
                "moves packs to {class} {after}: full maintenance, which runs every \
                 {maintenance} day(s), may not have seen them yet"
            );
            let fix = format!("wait {} days at least", maintenance.saturating_add(1));
            self.say(Level::Warning, "too-young", message, &fix);
        }
    }

    /// What a class bills for packs.
    fn check_bills(&mut self, when: &When, class: &str, facts: &ClassFacts) {
        let (min_days, min_bytes) = (u64::from(facts.min_days), facts.min_billable_bytes);
        match (min_days, self.repository.retention_days) {
            (0, _) => {}
            (_, Some(kept)) if kept >= min_days => {}
            (_, Some(kept)) => {
                let message = format!(
                    "moves packs to {class}, which bills {min_days} days, and snapshots are kept \
                     {kept} days"
                );
                self.say(Level::Warning, "early-deletion", message, "keep snapshots longer");
            }
            (_, None) => {
                let message = format!(
                    "moves packs to {class}, which bills {min_days} days: keep snapshots as long"
                );
                self.say(Level::Note, "early-deletion", message, "");
            }
        }
        // Until 2026-07 S3 took no such rule; other storages may still refuse it.
        if let Some(days) = when.days
            && (1..=30).contains(&min_days)
            && days < min_days
        {
            let message = format!(
                "moves to {class} after {days} days; some storages want {min_days} at least"
            );
            self.say(Level::Warning, "under-30-days", message, "");
        }
        let Filter { object_size_greater_than: above, object_size_less_than: below, .. } =
            self.rule.filter;
        // A size filter takes the place of the bucket's setting.
        let stays = above.is_none() && below.is_none() && self.minimum != Some(VARIES);
        let least = if stays { MOVED_MIN } else { above.map_or(0, |it| it.saturating_add(1)) };
        if stays {
            let message = "leaves packs under 128 KB where they are, as S3 does unless a rule \
                           names a size"
                .to_owned();
            self.say(Level::Note, "small-stay", message, "");
        }
        if least < min_bytes {
            let message =
                format!("moves packs to {class} that are billed as {min_bytes} bytes each");
            self.say(Level::Note, "under-128-kb", message, &over(min_bytes));
        }
    }
}

fn over(size: u64) -> String {
    format!("narrow it by ObjectSizeGreaterThan {}", size.saturating_sub(1))
}

/// `after 14 days`, `on 2030-01-01`.
fn after(when: &When) -> String {
    match (when.days, &when.date) {
        (Some(1), _) => "after 1 day".to_owned(),
        (Some(days), _) => format!("after {days} days"),
        (None, Some(date)) => format!("on {}", date.split('T').next().unwrap_or(date)),
        (None, None) => "at some time".to_owned(),
    }
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
