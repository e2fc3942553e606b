//! Mistakes to make on purpose: whoever looks for mistakes must find them.

use std::time::Duration;

use kopia_maintenance::safety::Margins;

/// A mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plant {
    /// Contents move however young they are.
    RewriteAge,
    /// Contents are marked as deleted however young they are.
    CollectAge,
    /// What is marked as deleted is dropped at once.
    OneCollection,
    /// The second collection may follow the first at once, with nothing taken off its start.
    CollectionsTogether,
    /// The second collection may follow the first at once.
    BetweenCollections,
    /// Nothing is taken off the start of the first collection.
    DropExtra,
    /// Packs are deleted as soon as contents have moved out of them.
    RewriteToDelete,
    /// Packs are deleted however young they are.
    PackAge,
    /// Markers of sessions guard nothing.
    SessionAge,
    /// Packs are deleted however young they are, and markers guard nothing.
    PackAndSessionAge,
    /// What a compaction of the index replaced is deleted at once (without epochs).
    IndexSettle,
    /// No margin is kept.
    NoMargins,
    /// One snapshot is not walked.
    SkippedSnapshot,
    /// The snapshots of the last time are walked.
    StaleSnapshots,
    /// An index blob goes up before the packs that it names.
    IndexFirst,
    /// Packs go up before the marker that guards them, and the marker never.
    NoMarker,
}

impl Plant {
    /// All of them, by their names.
    pub const ALL: &[(&str, Self)] = &[
        ("rewrite-age", Self::RewriteAge),
        ("collect-age", Self::CollectAge),
        ("one-collection", Self::OneCollection),
        ("collections-together", Self::CollectionsTogether),
        ("between-collections", Self::BetweenCollections),
        ("drop-extra", Self::DropExtra),
        ("rewrite-to-delete", Self::RewriteToDelete),
        ("pack-age", Self::PackAge),
        ("session-age", Self::SessionAge),
        ("pack-and-session-age", Self::PackAndSessionAge),
        ("index-settle", Self::IndexSettle),
        ("no-margins", Self::NoMargins),
        ("skipped-snapshot", Self::SkippedSnapshot),
        ("stale-snapshots", Self::StaleSnapshots),
        ("index-first", Self::IndexFirst),
        ("no-marker", Self::NoMarker),
    ];

    /// The mistake of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(its, _)| *its == name).map(|(_, plant)| *plant)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, plant)| *plant == self).map_or("", |(name, _)| name)
    }

    /// The margins with this mistake.
    pub fn margins(plant: Option<Self>) -> Margins {
        let (full, zero) = (Margins::FULL, Duration::ZERO);
        match plant {
            Some(Self::RewriteAge) => Margins { rewrite_age_min: zero, ..full },
            Some(Self::CollectAge) => Margins { collect_age_min: zero, ..full },
            Some(Self::OneCollection) => Margins { needs_two_collections: false, ..full },
            Some(Self::CollectionsTogether) => {
                Margins { between_collections: zero, drop_extra: zero, ..full }
            }
            Some(Self::BetweenCollections) => Margins { between_collections: zero, ..full },
            Some(Self::DropExtra) => Margins { drop_extra: zero, ..full },
            Some(Self::RewriteToDelete) => Margins { rewrite_to_delete: zero, ..full },
            Some(Self::PackAge) => Margins { pack_age_min: zero, ..full },
            Some(Self::SessionAge) => Margins { session_age_max: zero, ..full },
            Some(Self::PackAndSessionAge) => {
                Margins { pack_age_min: zero, session_age_max: zero, ..full }
            }
            Some(Self::IndexSettle) => Margins { index_settle: zero, ..full },
            Some(Self::NoMargins) => Margins::NONE,
            _ => full,
        }
    }
}
