//! The tasks of maintenance, with the names that they have in the history.

use std::fmt;

/// Which cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Frequent and cheap: index blobs, and metadata packs where there are no epochs.
    Quick,
    /// Rare and thorough.
    Full,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Full { "full" } else { "quick" })
    }
}

/// One task. Names are Kopia's, for both clients read the history of all (docs/format/08 §2); a task
/// that Kopia does not have is named as ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Task {
    /// Many contents with manifests become one. Kopia does it whenever it opens a repository.
    MergeManifests,
    /// Contents that no snapshot names are marked as deleted; those that one names again are not.
    SnapshotGc,
    /// Contents of short packs move to new packs: in quick maintenance those of metadata only.
    RewriteContents(Mode),
    /// Contents that were deleted long ago exist no more.
    DropDeleted,
    /// Packs and session markers that nothing names are deleted: in quick maintenance packs of
    /// metadata only.
    DeleteBlobs(Mode),
    /// Locks of blobs are extended.
    ExtendRetention,
    /// Many index blobs become few (without epochs).
    CompactIndexes,
    /// The index blobs of one epoch become one set.
    CompactEpoch,
    /// The next epoch begins.
    AdvanceEpoch,
    /// The index blobs of many epochs become one set.
    CompactRange,
    /// Markers that nobody needs are deleted.
    CleanupMarkers,
    /// Index blobs that a compaction replaced are deleted.
    DeleteSuperseded,
    /// Old logs are deleted.
    CleanupLogs,
}

impl Task {
    /// The name in the history.
    pub fn id(self) -> &'static str {
        match self {
            Self::MergeManifests => "kopia-lite-merge-manifests",
            Self::SnapshotGc => "snapshot-gc",
            Self::RewriteContents(Mode::Quick) => "quick-rewrite-contents",
            Self::RewriteContents(Mode::Full) => "full-rewrite-contents",
            Self::DropDeleted => "full-drop-deleted-content",
            Self::DeleteBlobs(Mode::Quick) => "quick-delete-blobs",
            Self::DeleteBlobs(Mode::Full) => "full-delete-blobs",
            Self::ExtendRetention => "extend-blob-retention-time",
            Self::CompactIndexes => "index-compaction",
            Self::CompactEpoch => "compact-single-epoch",
            Self::AdvanceEpoch => "advance-epoch",
            Self::CompactRange => "generate-epoch-range-index",
            Self::CleanupMarkers => "cleanup-epoch-markers",
            Self::DeleteSuperseded => "delete-superseded-epoch-indexes",
            Self::CleanupLogs => "cleanup-logs",
        }
    }

    /// What it does, for people.
    pub fn what(self) -> &'static str {
        match self {
            Self::MergeManifests => "merge contents with manifests",
            Self::SnapshotGc => "mark contents that no snapshot names as deleted",
            Self::RewriteContents(Mode::Quick) => "move contents out of short metadata packs",
            Self::RewriteContents(Mode::Full) => "move contents out of short packs",
            Self::DropDeleted => "drop contents that were deleted long ago",
            Self::DeleteBlobs(Mode::Quick) => "delete metadata packs that nothing names",
            Self::DeleteBlobs(Mode::Full) => "delete packs and session markers that nothing names",
            Self::ExtendRetention => "extend object locks",
            Self::CompactIndexes => "merge index blobs",
            Self::CompactEpoch => "merge the index blobs of one epoch",
            Self::AdvanceEpoch => "begin the next epoch",
            Self::CompactRange => "merge the index blobs of many epochs",
            Self::CleanupMarkers => "delete old markers of epochs",
            Self::DeleteSuperseded => "delete index blobs that were merged",
            Self::CleanupLogs => "delete old logs",
        }
    }

    /// The tasks of a cycle in their order. No other order is safe: what is deleted must have been
    /// collected and dropped by the rules before (docs/format/08 §4).
    pub fn of_cycle(mode: Mode, has_epochs: bool, deletes: Mode) -> Vec<Self> {
        match (mode, has_epochs) {
            (Mode::Quick, true) => vec![Self::CompactEpoch, Self::AdvanceEpoch],
            (Mode::Quick, false) => vec![
                Self::RewriteContents(Mode::Quick),
                Self::DeleteBlobs(deletes),
                Self::CompactIndexes,
                Self::CleanupLogs,
            ],
            (Mode::Full, _) => {
                let mut tasks = vec![
                    Self::MergeManifests,
                    Self::SnapshotGc,
                    Self::RewriteContents(Mode::Full),
                    Self::DropDeleted,
                    Self::DeleteBlobs(Mode::Full),
                    Self::ExtendRetention,
                ];
                if has_epochs {
                    tasks.extend([
                        Self::CompactEpoch,
                        Self::AdvanceEpoch,
                        Self::CompactRange,
                        Self::CleanupMarkers,
                        Self::DeleteSuperseded,
                    ]);
                }
                tasks.push(Self::CleanupLogs);
                tasks
            }
        }
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

impl serde::Serialize for Task {
    fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(self.id())
    }
}
