//! What an upload says of each entry at debug level, and how much: the policies' `logging`, or what
//! the user asks for instead.
//!
//! Which line has which keys at which level is Kopia's (docs/format/07-upload-restore.md §4). An
//! upload comes by here for every entry: where nothing is to be said, nothing is made, not even a
//! time is taken.

use std::{sync::Arc, time::Instant};

use kopia_format::{
    directory::DirEntry,
    policy::Policy,
    time::{GoTime, duration_text},
};
use tracing::{Level, field::display};

use super::{
    UploadOptions,
    file::EntryError,
    previous::{self, PreviousFolder},
};
use crate::{mode, source::LocalEntry};

/// Does anybody listen?
pub(crate) fn is_heard() -> bool {
    tracing::enabled!(Level::DEBUG)
}

/// Tells of a folder.
pub(crate) const FOLDER: &str = "snapshotted directory";

/// How much is said, 0 to 10. Not held to that: a stored policy and the user may say more or less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Detail(i64);

impl Detail {
    /// Only failures are told.
    const NONE: Self = Self(0);
    const DURATION: Self = Self(1);
    const SIZE: Self = Self(3);
    /// What is in a folder; and whether it is told at all that an entry is not as it was.
    const NORMAL: Self = Self(5);
    const TIME: Self = Self(6);
    const OBJECT: Self = Self(7);

    fn of(level: Option<i64>) -> Self {
        level.map_or(Self::NONE, Self)
    }

    /// Is anything told of an entry that does not fail?
    pub fn is_told(self) -> bool {
        self > Self::NONE && is_heard()
    }

    /// Begins to measure what is done for an entry, if that will be told.
    pub fn begin(self) -> Begun {
        Begun(self.is_told().then(Instant::now))
    }

    /// Tells that an entry is done, or why it is not: the latter at every level.
    pub fn tell(
        self,
        what: &'static str,
        path: &str,
        result: Result<&DirEntry, &EntryError>,
        begun: Begun,
    ) {
        if self.is_told() || (result.is_err() && is_heard()) {
            Keys::of(self, result.map(Some), begun).emit(what, path);
        }
    }

    /// Tells that the rules leave an entry out.
    pub fn tell_ignored(self, what: &'static str, path: &str) {
        if self.is_told() {
            // How long that took says nothing, but Kopia's line has it.
            Keys::of(self, Ok(None), self.begin()).emit(what, path);
        }
    }

    /// Is it told that an entry is not as it was?
    pub fn tells_missed(self) -> bool {
        self >= Self::NORMAL && is_heard()
    }
}

/// Tells of an entry that is not as one of the earlier directories has it; where `entry` is `None`
/// nothing is known of it but its name.
pub(crate) fn tell_missed(
    path: &str,
    previous: &[Arc<PreviousFolder>],
    name: &[u8],
    entry: Option<&LocalEntry>,
) {
    let Some(before) = previous::missed(previous, name, entry) else { return };
    // The whole time: a nanosecond more or less is what makes it another.
    let mtime = GoTime::from_unix_nanos(before.mtime);
    tracing::debug!(path, mode = %mode::of(before), size = before.size, %mtime, "cache miss");
}

/// When something was begun, if anybody wants to know.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Begun(Option<Instant>);

/// How much is said of a folder and of what is in it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Details {
    pub folder: Detail,
    pub folder_ignored: Detail,
    pub entry: Detail,
    pub entry_ignored: Detail,
    pub cached: Detail,
    pub missed: Detail,
}

impl Details {
    /// By the policy that holds in the folder. What the user asks for is for what is stored: what is
    /// left out, and what was not as before, is up to the policy.
    pub fn of(policy: &Policy, options: &UploadOptions) -> Self {
        let (folders, entries) = (&policy.logging.directories, &policy.logging.entries);
        let entry = |level| Detail::of(options.log_entry_detail.or(level));
        Self {
            folder: Detail::of(options.log_dir_detail.or(folders.snapshotted)),
            folder_ignored: Detail::of(folders.ignored),
            entry: entry(entries.snapshotted),
            entry_ignored: Detail::of(entries.ignored),
            cached: entry(entries.cache_hit),
            missed: Detail::of(entries.cache_miss),
        }
    }
}

/// The keys of a line beside its path.
#[derive(Debug, Default)]
struct Keys<'a> {
    error: Option<&'a EntryError>,
    dur: Option<Instant>,
    size: Option<u64>,
    /// Files, folders and failures in a folder.
    counts: Option<[u64; 3]>,
    /// In nanoseconds; a folder's is the newest below it.
    mtime: Option<i64>,
    entry: Option<&'a DirEntry>,
}

impl<'a> Keys<'a> {
    fn of(
        level: Detail,
        result: Result<Option<&'a DirEntry>, &'a EntryError>,
        Begun(begun): Begun,
    ) -> Self {
        let dur = begun.filter(|_| level >= Detail::DURATION);
        let entry = match result {
            Err(error) => return Self { error: Some(error), dur, ..Self::default() },
            Ok(None) => return Self { dur, ..Self::default() },
            Ok(Some(entry)) => entry,
        };
        let summary = entry.summary.as_ref();
        let (size, mtime) =
            summary.map_or((entry.size, entry.mtime), |below| (below.size, below.max_time));
        let counts = summary.map(|it| [it.files, it.dirs, it.ignored_errors + it.failed]);
        Self {
            error: None,
            dur,
            size: (level >= Detail::SIZE).then_some(size),
            counts: counts.filter(|_| level >= Detail::NORMAL),
            mtime: (level >= Detail::TIME).then_some(mtime),
            entry: (level >= Detail::OBJECT).then_some(entry),
        }
    }

    /// Keys without a value are not in the line.
    fn emit(&self, what: &'static str, path: &str) {
        let dur = self.dur.map(|begun| {
            let nanos = i64::try_from(begun.elapsed().as_nanos()).unwrap_or(i64::MAX);
            display(duration_text(nanos))
        });
        let count = |at: usize| self.counts.map(|counts| counts[at]);
        // To the second, as in Kopia.
        let seconds = |nanos| GoTime::from_secs(GoTime::from_unix_nanos(nanos).secs());
        tracing::debug!(
            path,
            error = self.error.map(|error| display(error.text())),
            dur,
            size = self.size,
            files = count(0),
            dirs = count(1),
            errors = count(2),
            mtime = self.mtime.map(|nanos| display(seconds(nanos))),
            oid = self.entry.map(|entry| display(entry.object)),
            "{what}"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kopia_format::directory::DirSummary;

    /// The keys that a line has.
    fn keys(level: i64, result: Result<Option<&DirEntry>, &EntryError>) -> String {
        let keys = Keys::of(Detail(level), result, Begun(Some(Instant::now())));
        let known = [
            (keys.error.is_some(), "error"),
            (keys.dur.is_some(), "dur"),
            (keys.size.is_some(), "size"),
            (keys.counts.is_some(), "counts"),
            (keys.mtime.is_some(), "mtime"),
            (keys.entry.is_some(), "oid"),
        ];
        let known: Vec<_> = known.iter().filter(|(is, _)| *is).map(|(_, name)| *name).collect();
        known.join(" ")
    }

    #[test]
    fn a_line_has_kopias_keys_at_each_level() {
        let file = DirEntry { size: 1, mtime: 2, ..DirEntry::default() };
        let summary = DirSummary { size: 3, max_time: 4, ..DirSummary::default() };
        let folder = DirEntry { summary: Some(summary), ..file.clone() };
        for (level, of_file, of_folder) in [
            (-1, "", ""),
            (0, "", ""),
            (1, "dur", "dur"),
            (2, "dur", "dur"),
            (3, "dur size", "dur size"),
            (4, "dur size", "dur size"),
            (5, "dur size", "dur size counts"),
            (6, "dur size mtime", "dur size counts mtime"),
            (7, "dur size mtime oid", "dur size counts mtime oid"),
            (10, "dur size mtime oid", "dur size counts mtime oid"),
            (11, "dur size mtime oid", "dur size counts mtime oid"),
        ] {
            assert_eq!(keys(level, Ok(Some(&file))), of_file, "{level}");
            assert_eq!(keys(level, Ok(Some(&folder))), of_folder, "{level}");
            let begun = if level > 0 { "dur" } else { "" };
            assert_eq!(keys(level, Ok(None)), begun, "{level}");
            let failed = if level > 0 { "error dur" } else { "error" };
            assert_eq!(keys(level, Err(&EntryError::Stopped)), failed, "{level}");
        }
    }

    #[test]
    fn a_folder_tells_what_is_below_it() {
        let summary = DirSummary {
            size: 3,
            max_time: 4,
            files: 5,
            dirs: 6,
            failed: 7,
            ignored_errors: 8,
            ..DirSummary::default()
        };
        let folder = DirEntry { size: 1, mtime: 2, summary: Some(summary), ..DirEntry::default() };
        let keys = Keys::of(Detail(10), Ok(Some(&folder)), Begun(None));
        assert_eq!((keys.size, keys.mtime, keys.counts), (Some(3), Some(4), Some([5, 6, 15])));
    }

    #[test]
    fn what_the_user_asks_for_is_for_what_is_stored() {
        let levels = |details: Details| {
            let of_folder = [details.folder, details.folder_ignored];
            let of_entry = [details.entry, details.entry_ignored, details.cached, details.missed];
            (of_folder.map(|it| it.0), of_entry.map(|it| it.0))
        };
        let policy = Policy::default_global();
        let by_policy = UploadOptions::default();
        assert_eq!(levels(Details::of(&policy, &by_policy)), ([5, 5], [0, 5, 0, 0]));
        let asked = UploadOptions {
            log_dir_detail: Some(0),
            log_entry_detail: Some(10),
            ..UploadOptions::default()
        };
        assert_eq!(levels(Details::of(&policy, &asked)), ([0, 5], [10, 5, 10, 0]));
        // A policy of a folder below replaces what holds above, with what it does not say.
        assert_eq!(levels(Details::of(&Policy::default(), &by_policy)), ([0, 0], [0, 0, 0, 0]));
    }

    #[test]
    fn nothing_is_measured_while_nobody_listens() {
        assert!(Detail(10).begin().0.is_none());
        assert!(!Detail(10).tells_missed());
    }
}
