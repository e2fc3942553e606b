//! The lines of a comparison: Kopia's, to the letter, and ours.

use std::fmt;

use kopia_format::{directory::EntryKind, time::GoTime};
use kopia_snapshot::{
    diff::{Change, DiffEntry},
    mode,
};

use crate::ui::{size, time::Zone};

/// Kopia's lines about one difference; none for what it only counts.
pub fn kopias(change: &Change) -> Vec<String> {
    let path = match change.path.as_str() {
        "." => ".".to_owned(),
        below => format!("./{below}"),
    };
    let (old, new) = match (&change.old, &change.new) {
        (Some(old), Some(new)) => (old, new),
        (None, Some(new)) => return vec![one_sided("added", &path, new)],
        (Some(old), None) => return vec![one_sided("removed", &path, old)],
        (None, None) => return Vec::new(),
    };
    let differs = &change.differs;
    if !differs.content {
        return Vec::new();
    }
    let mut lines = Vec::new();
    let mut both = |what: &str, old: String, new: String| {
        lines.push(format!("{path} {what} differ: {old} {new}"));
    };
    let (a, b) = (&old.entry, &new.entry);
    if differs.mode || differs.kind {
        both("modes", mode::of(a), mode::of(b));
    }
    if differs.size {
        both("sizes", old.size.to_string(), new.size.to_string());
    }
    if differs.mtime {
        both("modification times", go_time(old), go_time(new));
    }
    if differs.uid {
        both("owner users", a.uid.to_string(), b.uid.to_string());
    }
    if differs.gid {
        both("owner groups", a.gid.to_string(), b.gid.to_string());
    }
    let is_file = |entry: &DiffEntry| entry.entry.kind == EntryKind::File;
    lines.extend(match (a.is_dir(), b.is_dir()) {
        (true, false) => Some(format!("changed {path} from directory to non-directory")),
        (false, true) => Some(format!("changed {path} from non-directory to a directory")),
        _ if is_file(old) && is_file(new) => {
            let (when, from, to) = (go_time(new), old.size, new.size);
            Some(format!("changed {path} at {when} (size {from} -> {to})"))
        }
        _ => None,
    });
    lines
}

fn one_sided(what: &str, path: &str, entry: &DiffEntry) -> String {
    if entry.entry.is_dir() {
        return format!("{what} directory {path}");
    }
    format!("{what} file {path} ({} bytes)", entry.size)
}

fn go_time(entry: &DiffEntry) -> String {
    Zone::local().format_go(GoTime::from_unix_nanos(entry.mtime))
}

/// The letter that stands before a difference.
fn letter(change: &Change) -> char {
    match (&change.old, &change.new) {
        (None, _) => '+',
        (_, None) => '-',
        _ if change.differs.kind => 'T',
        (_, Some(new)) if change.differs.content && !new.entry.is_dir() => 'M',
        _ => 'U',
    }
}

/// Our line about one difference: `M a.txt (6 B -> 1.2 KB)`.
pub fn brief(change: &Change) -> String {
    let slash = |entry: &DiffEntry| if entry.entry.is_dir() { "/" } else { "" };
    let letter = letter(change);
    let (path, shown) = match (&change.old, &change.new) {
        (Some(old), Some(new)) => {
            let shown = match letter {
                'T' => Some(format!("{} -> {}", kind(old), kind(new))),
                'M' => Some(format!("{} -> {}", size::bytes(old.size), size::bytes(new.size))),
                _ => Some(change.differs.names().join(", ")),
            };
            (format!("{}{}", change.path, slash(new)), shown)
        }
        (Some(one), None) | (None, Some(one)) => {
            let is_file = one.entry.kind == EntryKind::File;
            let shown = is_file.then(|| size::bytes(one.size));
            (format!("{}{}", change.path, slash(one)), shown)
        }
        (None, None) => (change.path.clone(), None),
    };
    let shown = shown.map(|shown| format!(" ({shown})")).unwrap_or_default();
    format!("{letter} {path}{shown}")
}

fn kind(entry: &DiffEntry) -> &'static str {
    match entry.entry.kind {
        EntryKind::File => "file",
        EntryKind::Directory => "directory",
        EntryKind::Symlink => "symlink",
        EntryKind::Unknown => "unknown",
    }
}

/// How many differences there were, and how many bytes came and went.
#[derive(Debug, Default)]
pub struct Totals {
    added: u64,
    removed: u64,
    modified: u64,
    types: u64,
    metadata: u64,
    bytes_added: u64,
    bytes_removed: u64,
}

impl Totals {
    /// Counts one difference. A modified file is new as a whole, and its old bytes are gone.
    pub fn add(&mut self, change: &Change) {
        match letter(change) {
            '+' => self.added += 1,
            '-' => self.removed += 1,
            'M' => self.modified += 1,
            'T' => self.types += 1,
            _ => return self.metadata += 1,
        }
        let bytes = |side: &Option<DiffEntry>| match side {
            Some(entry) if !entry.entry.is_dir() => entry.size,
            _ => 0,
        };
        self.bytes_added += bytes(&change.new);
        self.bytes_removed += bytes(&change.old);
    }

    /// There was no difference.
    pub fn is_empty(&self) -> bool {
        self.added + self.removed + self.modified + self.types + self.metadata == 0
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("No differences.");
        }
        let all = [
            (self.added, "added"),
            (self.removed, "removed"),
            (self.modified, "modified"),
            (self.types, "of another type"),
            (self.metadata, "with other metadata"),
        ];
        let parts: Vec<_> = all
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        let (more, less) = (size::bytes(self.bytes_added), size::bytes(self.bytes_removed));
        write!(f, "{} (+{more}, -{less})", parts.join(", "))
    }
}
