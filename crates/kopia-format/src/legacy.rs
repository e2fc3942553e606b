//! Which index blobs are the index, where the repository has no epochs (format 1): `n`, `m` and `l`
//! blobs.
//!
//! Writers add `n` blobs. A compaction merges several into new `n` blobs and then writes an `m`
//! blob, which says what replaced what; the inputs are deleted an hour later, and another hour
//! later the `m`, which an `l` blob remembers. An `m` counts only while all its outputs exist.
//! Format: docs/format/04-index-epochs.md §5.

use std::{collections::HashSet, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    FormatError, Result,
    index::IndexBlob,
    json::{null_is_default, to_vec},
    time::GoTime,
};

/// Index blobs.
pub const PREFIX_INDEX: &str = "n";
/// What replaced what.
pub const PREFIX_COMPACTION: &str = "m";
/// Compaction logs to be deleted.
pub const PREFIX_CLEANUP: &str = "l";

/// A blob that an upgrade to epochs leaves behind, so that clients from before them can't read the
/// index: it does not decrypt. It is part of the active set of a repository without epochs, and
/// must fail there.
pub const POISON: &str = concat!(
    "n00000000000000000000000000000000-",
    "repository_unreadable_by_this_kopia_version_upgrade_required"
);

/// How long each step of a deletion waits for the one before to be seen by all clients.
pub const SETTLE_TIME: Duration = Duration::from_secs(60 * 60);

/// Fewer blobs than this are not worth a compaction.
const COMPACTED_MIN: usize = 8;

/// A blob is very small when it is shorter than this part of a pack.
const VERY_SMALL_PART: u64 = 20;

/// The payload of an `m` blob: the inputs have been replaced by the outputs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CompactionLog {
    /// What was merged.
    #[serde(default, deserialize_with = "null_is_default")]
    pub input_metadata: Vec<IndexBlob>,
    /// What it was merged into: nothing, when all contents were dropped.
    #[serde(default, deserialize_with = "null_is_default")]
    pub output_metadata: Vec<IndexBlob>,
}

/// The payload of an `l` blob: when these `m` blobs were done with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CleanupSchedule {
    /// The `m` blobs.
    #[serde(rename = "blobIDs", default, deserialize_with = "null_is_default")]
    pub blob_ids: Vec<String>,
    /// When their inputs were deleted, by the storage's clock.
    #[serde(default)]
    pub cleanup_schedule_time: GoTime,
}

impl CompactionLog {
    /// Reads the decrypted payload.
    ///
    /// # Errors
    /// [`FormatError::Malformed`] when it isn't one.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        first_value("compaction log", bytes)
    }

    /// The payload to be encrypted.
    pub fn to_bytes(&self) -> Vec<u8> {
        to_vec(self)
    }
}

impl CleanupSchedule {
    /// Reads the decrypted payload.
    ///
    /// # Errors
    /// [`FormatError::Malformed`] when it isn't one.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        first_value("cleanup schedule", bytes)
    }

    /// The payload to be encrypted.
    pub fn to_bytes(&self) -> Vec<u8> {
        to_vec(self)
    }
}

/// Like Kopia's reader, doesn't look behind the first value.
fn first_value<'a, T: Deserialize<'a>>(what: &'static str, bytes: &'a [u8]) -> Result<T> {
    let mut values = serde_json::Deserializer::from_slice(bytes).into_iter();
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        return Err(FormatError::malformed(what, "an array"));
    }
    match values.next() {
        Some(Ok(value)) => Ok(value),
        Some(Err(error)) => Err(FormatError::malformed(what, error.to_string())),
        None => Err(FormatError::malformed(what, "it is empty")),
    }
}

/// The blobs that together are the index: `listed` without the inputs of every log whose outputs
/// are all listed.
///
/// List `n` and `m` before reading the `m` blobs. One that vanished meanwhile is skipped; one that
/// does not decrypt is an error, since the blobs it replaced could come back to life.
pub fn active_set<'a, 'l>(
    listed: &'a [IndexBlob],
    logs: impl IntoIterator<Item = &'l CompactionLog>,
) -> Vec<&'a IndexBlob> {
    let present: HashSet<&str> = listed.iter().map(|blob| blob.id.as_str()).collect();
    let is_valid =
        |log: &&CompactionLog| log.output_metadata.iter().all(|b| present.contains(&*b.id));
    let valid = logs.into_iter().filter(is_valid);
    let replaced: HashSet<&str> =
        valid.flat_map(|log| &log.input_metadata).map(|blob| blob.id.as_str()).collect();
    listed.iter().filter(|blob| !replaced.contains(&*blob.id)).collect()
}

/// The active blobs that a compaction should merge; none when it isn't worth it.
pub fn blobs_to_compact<'a>(
    active: impl IntoIterator<Item = &'a IndexBlob>,
    pack_len_max: u64,
) -> Vec<&'a IndexBlob> {
    let all: Vec<_> = active.into_iter().filter(|blob| blob.length <= pack_len_max).collect();
    if all.len() < COMPACTED_MIN {
        return Vec::new();
    }
    let is_very_small = |blob: &&&IndexBlob| blob.length < pack_len_max / VERY_SMALL_PART;
    let very_small: Vec<_> = all.iter().filter(is_very_small).copied().collect();
    let others = all.len() - very_small.len();
    if very_small.len() > all.len() / 2 && others + 1 < COMPACTED_MIN { very_small } else { all }
}

/// What may be deleted once a compaction log was written at `written`, by the storage's clock:
/// first all inputs, in any order; only then may the logs be scheduled for cleanup, or the inputs
/// come back to life. A log counts when it is older than `settle` ([`SETTLE_TIME`]).
pub fn settled_logs<'a>(
    logs: impl IntoIterator<Item = (&'a IndexBlob, &'a CompactionLog)>,
    written: GoTime,
    settle: Duration,
) -> SettledLogs<'a> {
    let cutoff = written.saturating_sub(settle);
    let settled = logs.into_iter().filter(|(blob, _)| blob.timestamp <= cutoff);
    let (mut result, mut seen) = (SettledLogs::default(), HashSet::new());
    for (blob, log) in settled {
        result.logs.push(&blob.id);
        let inputs = log.input_metadata.iter().map(|input| input.id.as_str());
        result.inputs.extend(inputs.filter(|id| seen.insert(*id)));
    }
    result
}

/// See [`settled_logs`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SettledLogs<'a> {
    /// Index blobs to delete.
    pub inputs: Vec<&'a str>,
    /// Logs to name in a [`CleanupSchedule`] afterwards.
    pub logs: Vec<&'a str>,
}

/// The schedules that are due, and the logs to delete, before their schedules. A schedule is due when
/// it is older than `settle` ([`SETTLE_TIME`]).
pub fn due_schedules(
    schedules: &[(IndexBlob, CleanupSchedule)],
    settle: Duration,
) -> DueSchedules<'_> {
    let mut due = DueSchedules::default();
    // The newest schedule shows the storage's clock.
    let Some(clock) = schedules.iter().map(|(blob, _)| blob.timestamp).max() else { return due };
    for (blob, schedule) in schedules {
        if clock.duration_since(schedule.cleanup_schedule_time) >= settle {
            due.logs.extend(schedule.blob_ids.iter().map(String::as_str));
            due.schedules.push(&blob.id);
        }
    }
    due
}

/// See [`due_schedules`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DueSchedules<'a> {
    /// Compaction logs to delete.
    pub logs: Vec<&'a str>,
    /// Cleanup schedules to delete afterwards.
    pub schedules: Vec<&'a str>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn blob(id: &str, length: u64, minutes: i64) -> IndexBlob {
        IndexBlob { id: id.to_owned(), length, timestamp: GoTime::from_secs(minutes * 60) }
    }

    fn log(inputs: &[&str], outputs: &[&str]) -> CompactionLog {
        let blobs = |ids: &[&str]| ids.iter().map(|id| blob(id, 1, 0)).collect();
        CompactionLog { input_metadata: blobs(inputs), output_metadata: blobs(outputs) }
    }

    fn active(listed: &[&str], logs: &[CompactionLog]) -> Vec<String> {
        let listed: Vec<_> = listed.iter().map(|id| blob(id, 1, 0)).collect();
        active_set(&listed, logs).into_iter().map(|blob| blob.id.clone()).collect()
    }

    #[test]
    fn inputs_are_replaced_only_when_all_outputs_are_there() {
        let complete = log(&["na", "nb"], &["nx"]);
        let incomplete = log(&["nc"], &["nx", "ny"]);
        assert_eq!(active(&["na", "nb", "nc", "nx"], &[complete, incomplete]), ["nc", "nx"]);
    }

    #[test]
    fn a_log_stays_valid_when_its_outputs_are_themselves_replaced() {
        let logs = [log(&["nx"], &["ny"]), log(&["na"], &["nx"])];
        assert_eq!(active(&["na", "nx", "ny"], &logs), ["ny"]);
    }

    #[test]
    fn a_compaction_that_dropped_everything_replaces_its_inputs() {
        assert_eq!(active(&["na", "nb"], &[log(&["na"], &[])]), ["nb"]);
    }

    #[test]
    fn the_poison_stays_active() {
        assert_eq!(active(&[POISON], &[log(&["na"], &[])]), [POISON]);
    }

    #[test]
    fn payloads_have_kopias_form() {
        let text = concat!(
            r#"{"inputMetadata":[{"id":"na","length":7,"#,
            r#""timestamp":"2026-11-24T20:02:57.221028881+05:30"}],"outputMetadata":null} more"#
        );
        let log = CompactionLog::parse(text.as_bytes()).unwrap();
        assert_eq!((log.input_metadata[0].length, log.output_metadata.len()), (7, 0));
        let written = String::from_utf8(log.to_bytes()).unwrap();
        let expected = concat!(
            r#"{"inputMetadata":[{"id":"na","length":7,"#,
            r#""timestamp":"2026-11-24T14:32:57.221028881Z"}],"outputMetadata":[]}"#
        );
        assert_eq!(written, expected);
        assert_eq!(CompactionLog::parse(written.as_bytes()).unwrap(), log);

        let text = r#"{"blobIDs":["ma"],"cleanupScheduleTime":"2026-11-24T14:32:57Z"}"#;
        let schedule = CleanupSchedule::parse(text.as_bytes()).unwrap();
        assert_eq!(schedule.blob_ids, ["ma"]);
        assert_eq!(schedule.to_bytes(), text.as_bytes());
    }

    #[test]
    fn malformed_payloads_are_errors() {
        for text in ["", "[]", "{\"inputMetadata\":[{}]}", "{\"inputMetadata\":7}", "{"] {
            assert!(CompactionLog::parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(CleanupSchedule::parse(b"{\"blobIDs\":[7]}").is_err());
    }

    #[test]
    fn few_blobs_are_left_alone_and_very_small_ones_go_first() {
        let blobs = |small: usize, medium: usize, large: usize| {
            let lengths = [vec![10; small], vec![500; medium], vec![1_001; large]].concat();
            lengths.into_iter().map(|length| blob("n", length, 0)).collect::<Vec<_>>()
        };
        let compacted = |all: Vec<IndexBlob>| blobs_to_compact(&all, 1_000).len();
        assert_eq!(compacted(blobs(7, 0, 5)), 0);
        assert_eq!(compacted(blobs(8, 0, 5)), 8);
        assert_eq!(compacted(blobs(8, 6, 0)), 8, "more than half are very small, few others");
        assert_eq!(compacted(blobs(8, 7, 0)), 15, "the others are enough for a compaction");
        assert_eq!(compacted(blobs(4, 4, 0)), 8, "no more than half are very small");
    }

    #[test]
    fn inputs_go_an_hour_after_their_log_and_logs_an_hour_after_that() {
        let (old, new) = (blob("ma", 1, 0), blob("mb", 1, 1));
        let logs = [log(&["n1", "n2"], &["n9"]), log(&["n3"], &["n9"])];
        let all = [(&old, &logs[0]), (&new, &logs[1])];
        let settled = settled_logs(all, GoTime::from_secs(3_600), SETTLE_TIME);
        assert_eq!(settled, SettledLogs { inputs: vec!["n1", "n2"], logs: vec!["ma"] });

        let schedule = |minutes: i64, id: &str| CleanupSchedule {
            blob_ids: vec![id.to_owned()],
            cleanup_schedule_time: GoTime::from_secs(minutes * 60),
        };
        let schedules =
            [(blob("l1", 1, 5), schedule(1, "ma")), (blob("l2", 1, 61), schedule(2, "mb"))];
        let due = DueSchedules { logs: vec!["ma"], schedules: vec!["l1"] };
        assert_eq!(due_schedules(&schedules, SETTLE_TIME), due);
        assert_eq!(due_schedules(&[], SETTLE_TIME), DueSchedules::default());
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes: Vec<u8>) {
            let _ = CompactionLog::parse(&bytes);
            let _ = CleanupSchedule::parse(&bytes);
        }
    }
}
