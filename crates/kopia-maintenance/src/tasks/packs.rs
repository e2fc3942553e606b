//! Packs that no index entry names, and markers of sessions that are over, are deleted.
//!
//! They are listed and deleted, never read. A blob whose name is not that of a pack is left alone:
//! somebody else may have put it there. An archived one stays until its class bills it no longer.
//! Format: docs/format/08 §8.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use blob_core::{BlobMeta, StorageClass, Timestamp};
use futures::{StreamExt, TryStreamExt, stream};
use kopia_format::{
    SessionId,
    maintenance::RunStatistics,
    session::{SESSION_BLOB_PREFIX, SessionMarker},
};
use kopia_repo::RepoError;
use serde::Serialize;

use super::statistics;
use crate::{
    cold::{self, ColdPolicy},
    cycle::{Cycle, span},
    error::Result,
    plan::{Deletion, Reason, TaskPlan, Verdict},
    task::{Mode, Task},
    usage::PackUses,
};

/// Clocks may tick in whole seconds. Kopia's value.
const SLACK: Duration = Duration::from_secs(1);
/// A listing has so many blobs to a page at most.
const PAGE: u64 = 1_000;
/// Lists at once, where a storage is far away.
const LISTS: usize = 16;

/// What is found of the blobs that may go, and of those that stay.
#[derive(Debug, Default)]
struct Found {
    deletions: Vec<Deletion>,
    retained: (u64, u64),
    cold: u64,
    cold_bytes: u64,
    strange: u64,
    listed: u64,
    early_byte_days: BTreeMap<StorageClass, u128>,
}

pub(crate) async fn plan(cycle: &mut Cycle<'_>, mode: Mode) -> Result<TaskPlan> {
    let task = Task::DeleteBlobs(mode);
    let now = cycle.clock_now();
    if let Some(from) = cycle.history().deletes_from().filter(|from| *from > now) {
        let reason = format!(
            "contents moved less than {} ago, and others may still read where they were; from {} on",
            span(cycle.with.options.margins.rewrite_to_delete),
            kopia_format::time::GoTime::from_unix_nanos(from.nanos()),
        );
        return Ok(TaskPlan::not_yet(task, reason));
    }
    // In this order: a session that ends meanwhile has its index blobs up before its marker goes. If
    // the index were the older of the two, its packs would be neither named nor guarded.
    let sessions = cycle.with.repo.sessions().await?;
    cycle.look_again().await?;
    let uses = cycle.pack_uses();
    let mut found = Found::default();
    let mut markers = Vec::new();
    let prefixes = if mode == Mode::Quick { &["q"][..] } else { &["p", "q", "s"][..] };
    let parts = parts(cycle, prefixes);
    let storage = cycle.with.repo.storage();
    let lists: Vec<_> = parts.iter().map(|part| storage.list(part)).collect();
    let mut listing = stream::iter(lists).flatten_unordered(lists_at_once(cycle));
    while let Some(meta) = listing.try_next().await.map_err(RepoError::from)? {
        found.listed += 1;
        if is_marker(meta.id.as_str()) {
            markers.push(meta.size);
        }
        found.judge(cycle, &uses, &sessions, meta);
    }
    drop(listing);
    let Found { deletions, retained, cold, cold_bytes, strange, listed, early_byte_days } = found;
    let kept = format!("{} that nothing names are too young or belong to a session", retained.0);
    let mut plan = match deletions.len() {
        0 => TaskPlan::nothing(task, format!("no blob may go: {kept}")),
        count => {
            let reason =
                format!("no index entry names {count} blobs, and they are old enough; {kept}");
            TaskPlan::new(task, Verdict::Due, reason).deleting(deletions)
        }
    };
    for bytes in markers {
        plan.read(None, bytes);
    }
    plan.usage.lists += parts.len() as u64 + listed / PAGE;
    plan.cold_skipped = cold;
    plan.early_byte_days = early_byte_days;
    plan.retained = retained;
    if cold > 0 {
        plan.notes.push(match cycle.with.options.cold {
            ColdPolicy::Keep => format!("{cold} dead archived packs are kept, as the policy says"),
            _ => format!(
                "{cold} dead archived packs of {cold_bytes} bytes stay until their minimum days are \
                 over; deleting them now costs what keeping them until then does: --now"
            ),
        });
    }
    if strange > 0 {
        plan.notes.push(format!("{strange} blobs have names that no pack has, and are left alone"));
    }
    Ok(plan)
}

/// What is listed side by side: data packs in parts, where pages take time.
fn parts(cycle: &Cycle<'_>, prefixes: &[&str]) -> Vec<String> {
    let is_far = cycle.with.repo.storage().archive().is_some();
    let of = |prefix: &&str| match (*prefix, is_far) {
        ("p", true) => (0..16).map(|digit| format!("p{digit:x}")).collect(),
        (prefix, _) => vec![prefix.to_owned()],
    };
    prefixes.iter().flat_map(of).collect()
}

fn lists_at_once(cycle: &Cycle<'_>) -> usize {
    let set = usize::try_from(cycle.parameters.list_parallelism).unwrap_or(0);
    if set > 0 { set } else { LISTS }
}

fn is_marker(name: &str) -> bool {
    name.starts_with(SESSION_BLOB_PREFIX)
}

/// `p` or `q`, 32 digits, and most often a session.
fn is_pack_name(name: &str) -> bool {
    let stem = name.split_once('-').map_or(name, |(stem, _)| stem);
    stem.len() == 33
        && stem.bytes().skip(1).all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

impl Found {
    fn judge(
        &mut self,
        cycle: &Cycle<'_>,
        uses: &PackUses,
        sessions: &HashMap<SessionId, SessionMarker>,
        meta: BlobMeta,
    ) {
        let (name, margins) = (meta.id.as_str(), &cycle.with.options.margins);
        if uses.get(name).is_some() {
            return;
        }
        let is_marker = is_marker(name);
        if !is_marker && !is_pack_name(name) {
            self.strange += 1;
            return;
        }
        let cutoff = cycle.start.saturating_add(SLACK);
        let age = cutoff.since(meta.modified);
        let session = SessionId::of_blob(name).and_then(|id| sessions.get(&id));
        let quiet = session
            .map(|marker| cutoff.since(Timestamp::from_nanos(marker.checkpoint_time.unix_nanos())));
        let is_guarded = quiet.is_some_and(|quiet| quiet < margins.session_age_max);
        if meta.modified > cutoff || age < margins.pack_age_min || is_guarded {
            self.retained.0 += 1;
            self.retained.1 += meta.size;
            return;
        }
        let class = meta.class.clone();
        let mut margin = format!("written {} before this maintenance", span(age));
        if cold::is_cold(&meta) {
            let minimum =
                class.as_ref().map_or(Duration::ZERO, |class| cycle.with.options.minimum.of(class));
            // A day that has begun is billed.
            let days = u128::from(minimum.saturating_sub(age).as_secs().div_ceil(86_400));
            if let Some(class) = class.clone().filter(|_| days > 0) {
                *self.early_byte_days.entry(class).or_default() += days * u128::from(meta.size);
            }
            let stays = match cycle.with.options.cold {
                ColdPolicy::Keep => true,
                _ => age < minimum && !cycle.with.options.dead_now,
            };
            if stays {
                self.cold += 1;
                self.cold_bytes += meta.size;
                return;
            }
            margin =
                format!("{margin}; its class bills {} days at least", minimum.as_secs() / 86_400);
        }
        let evidence = match quiet {
            Some(quiet) => format!("its session was last alive {} ago", span(quiet)),
            None => {
                format!("no index entry of {} index blobs names it", cycle.view.blobs().count())
            }
        };
        let reason = if is_marker { Reason::SessionOver } else { Reason::Unreferenced };
        let (blob, size) = (meta.id, meta.size);
        self.deletions.push(Deletion { blob, size, class, reason, evidence, margin });
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DeleteStats {
    unreferenced_pack_count: u64,
    unreferenced_total_size: u64,
    deleted_pack_count: u64,
    deleted_total_size: u64,
    retained_pack_count: u64,
    retained_total_size: u64,
}

/// The numbers of a plan that was carried out.
pub(crate) fn deleted(plan: &TaskPlan) -> RunStatistics {
    statistics(
        "deleteUnreferencedPacksStats",
        &DeleteStats {
            unreferenced_pack_count: plan.deletes.count,
            unreferenced_total_size: plan.deletes.bytes,
            deleted_pack_count: plan.deletes.count,
            deleted_total_size: plan.deletes.bytes,
            retained_pack_count: plan.retained.0,
            retained_total_size: plan.retained.1,
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_named_as_a_pack_is_one() {
        for name in [
            "p0123456789abcdef0123456789abcdef",
            "q0123456789abcdef0123456789abcdef-sf824bf512ed3eee1147",
        ] {
            assert!(is_pack_name(name), "{name}");
        }
        for name in ["p", "pictures.zip", "p0123456789abcdef0123456789abcdeg", "p0123-s1"] {
            assert!(!is_pack_name(name), "{name}");
        }
    }
}
