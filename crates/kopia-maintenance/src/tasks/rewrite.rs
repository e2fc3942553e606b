//! Contents move out of short packs into new ones, so that many small blobs become few.
//!
//! This is the one task that reads data. Archived packs are left out before anything is read; a pack
//! that can't be read or holds a damaged content is left as it is, said so, and stops nothing.
//! Contents are read by ranges of packs and written again as they come, in windows of contents that
//! bound the memory. Format: docs/format/08 §6.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use blob_core::{BlobMeta, Timestamp, look_up};
use futures::{StreamExt, stream::FuturesUnordered};
use kopia_format::{ContentId, index::IndexEntry, maintenance::RunStatistics};
use kopia_repo::RepositoryWriter;
use serde::Serialize;

use super::statistics;
use crate::{
    cold::{self, ColdPack},
    cycle::{Cycle, span},
    error::Result,
    event::Event,
    plan::{TaskPlan, Verdict, Work},
    task::{Mode, Task},
    usage::PackUse,
};

/// A pack is short below this part of the size at which packs are closed. Kopia's value.
const SHORT_PERCENT: u64 = 60;
/// Contents whose entries are in memory at once: some 200 bytes each.
const WINDOW: usize = 100_000;
/// Contents that move in one job.
const BATCH_BYTES: usize = 1 << 20;
const BATCH_CONTENTS: usize = 256;
/// So often is it noted that contents are moving.
const NOTED_EVERY: Duration = Duration::from_secs(60);
/// Jobs at once; the writer's own bounds hold back what is too much.
const BATCHES: usize = 4;

/// The packs that contents move out of, in the order in which they are read.
#[derive(Debug, Clone)]
pub(crate) struct Moves {
    packs: Vec<(Arc<str>, PackUse)>,
    mode: Mode,
    stays: Stays,
}

/// Contents of short packs that do not move.
#[derive(Debug, Clone, Copy)]
struct Stays {
    /// Those written after this, in seconds since 1970.
    not_after: i64,
    /// Those that were deleted until then: they are gone, or the same cycle drops them. To move one
    /// is to delete it anew: with a rewrite before each drop it would never go.
    dropped_until: Option<i64>,
}

/// Counters, with Kopia's names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct RewriteStats {
    to_rewrite_content_count: u64,
    to_rewrite_content_size: u64,
    rewritten_content_count: u64,
    rewritten_content_size: u64,
    retained_content_count: u64,
    retained_content_size: u64,
}

pub(crate) async fn plan(cycle: &mut Cycle<'_>, mode: Mode) -> Result<TaskPlan> {
    let task = Task::RewriteContents(mode);
    if !cycle.history().may_rewrite(mode) {
        let reason = "what the last rewrite left empty is not deleted yet";
        return Ok(TaskPlan::not_yet(task, reason));
    }
    let size_max = u64::from(cycle.with.repo.format().max_pack_size);
    let short_below = size_max * SHORT_PERCENT / 100;
    let now = cycle.clock_now();
    let drops = cycle.history().drops_until(now);
    // The second itself is not dropped without epochs.
    let drops = drops.map(|until| until.unix_nanos().div_euclid(1_000_000_000) - 1);
    let stays = Stays {
        not_after: age_limit(now, cycle.with.options.margins.rewrite_age_min),
        dropped_until: cycle.watermark.max(drops),
    };
    let wanted = if mode == Mode::Quick { "q" } else { "pq" };
    let is_short = |pack: &str, used: &PackUse| {
        used.bytes < short_below && pack.chars().next().is_some_and(|kind| wanted.contains(kind))
    };
    let uses = cycle.pack_uses();
    let mut by_kind: BTreeMap<char, Vec<(Arc<str>, PackUse)>> = BTreeMap::new();
    for (pack, used) in uses.iter().filter(|(pack, used)| is_short(pack, used)) {
        let kind = pack.chars().next().unwrap_or_default();
        by_kind.entry(kind).or_default().push((Arc::clone(pack), *used));
    }
    // One short pack alone would only become another.
    by_kind.retain(|_, packs| packs.len() > 1);
    let states = states(cycle, by_kind.values().flatten().map(|(pack, _)| &**pack)).await?;
    let (mut cold, mut lost) = (Vec::new(), Vec::new());
    for packs in by_kind.values_mut() {
        packs.retain(|(pack, used)| match states.as_ref().map(|states| states.get(&**pack)) {
            None => true,
            // A pack that was thawed to be compacted is read, if it has a copy now.
            Some(Some(meta)) if cold::is_cold(meta) => {
                let reads = cycle.with.options.compact.contains(&**pack) && !meta.is_cold();
                if !reads {
                    let (meta, used, age) = (meta.clone(), *used, now.since(meta.modified));
                    cold.push(ColdPack { meta, used, age });
                }
                reads
            }
            Some(Some(_)) => true,
            Some(None) => {
                lost.push(pack.to_string());
                false
            }
        });
    }
    by_kind.retain(|_, packs| {
        packs.len() > 1
            || packs.iter().any(|(pack, _)| cycle.with.options.compact.contains(&**pack))
    });
    let mut packs: Vec<_> = by_kind.into_values().flatten().collect();
    packs.sort_by(|(a, used_a), (b, used_b)| (used_a.first, a).cmp(&(used_b.first, b)));
    let mut plan = tally(cycle, task, &packs, states.as_ref(), stays);
    plan.cold_skipped = cold.len() as u64;
    if !cold.is_empty() {
        plan.notes.push(format!("{} archived packs are short, and are not read", cold.len()));
    }
    plan.cold_packs = cold;
    for pack in lost {
        plan.notes.push(format!("pack {pack} does not exist; its contents are lost"));
    }
    plan.work = Work::Move(Moves { packs, mode, stays });
    Ok(plan)
}

fn age_limit(now: Timestamp, age_min: Duration) -> i64 {
    let age = i64::try_from(age_min.as_secs()).unwrap_or(i64::MAX);
    now.secs().saturating_sub(age)
}

/// What is known of these packs; `None` where a blob is always readable.
async fn states<'a>(
    cycle: &Cycle<'_>,
    packs: impl Iterator<Item = &'a str>,
) -> Result<Option<HashMap<String, BlobMeta>>> {
    let storage = cycle.with.repo.storage();
    if storage.archive().is_none() {
        return Ok(None);
    }
    let found = look_up(storage, packs, storage.info().concurrency).await;
    Ok(Some(found.map_err(kopia_repo::RepoError::from)?))
}

/// What will be read and written.
fn tally(
    cycle: &Cycle<'_>,
    task: Task,
    packs: &[(Arc<str>, PackUse)],
    states: Option<&HashMap<String, BlobMeta>>,
    stays: Stays,
) -> TaskPlan {
    let names: HashSet<&str> = packs.iter().map(|(pack, _)| &**pack).collect();
    let (mut moved, mut young, mut bytes) = (0_u64, 0_u64, 0_u64);
    let mut per_pack: HashMap<Arc<str>, u64> = HashMap::new();
    if !names.is_empty() {
        for entry in cycle.entries() {
            if !names.contains(&*entry.pack) || entry.is_dropped_by(stays.dropped_until) {
                continue;
            }
            if entry.timestamp > stays.not_after {
                young += 1;
                continue;
            }
            moved += 1;
            bytes += u64::from(entry.packed_length);
            *per_pack.entry(Arc::clone(&entry.pack)).or_default() += u64::from(entry.packed_length);
        }
    }
    if moved == 0 {
        let hours = span(cycle.with.options.margins.rewrite_age_min);
        let reason = match young {
            0 => "no two packs are short".to_owned(),
            _ => format!("the {young} contents of short packs are younger than {hours}"),
        };
        return TaskPlan::nothing(task, reason);
    }
    let reason = format!("{} packs are short", per_pack.len());
    let mut plan = TaskPlan::new(task, Verdict::Due, reason);
    plan.contents = moved;
    for (pack, bytes) in &per_pack {
        let class =
            states.and_then(|states| states.get(&**pack)).and_then(|meta| meta.class.as_ref());
        plan.read(class, *bytes);
    }
    let size_max = u64::from(cycle.with.repo.format().max_pack_size).max(1);
    plan.write(bytes.div_ceil(size_max) + 3, bytes);
    plan
}

pub(crate) async fn run(cycle: &mut Cycle<'_>, moves: &Moves) -> Result<Option<RunStatistics>> {
    let mut stats = RewriteStats::default();
    if moves.packs.is_empty() {
        return Ok(Some(statistics("rewriteContentsStats", &stats)));
    }
    let writer = cycle.with.repo.writer()?;
    let total: u64 = moves.packs.iter().map(|(_, used)| u64::from(used.contents)).sum();
    let (mut rest, mut done) = (&moves.packs[..], 0);
    while !rest.is_empty() {
        let (window, after) = rest.split_at(window_len(rest));
        rest = after;
        cycle.note_rewrite().await?;
        let entries = entries(cycle, moves.stays, window, &mut stats);
        done += window.iter().map(|(_, used)| u64::from(used.contents)).sum::<u64>();
        move_all(cycle, moves.mode, &writer, entries, &mut stats).await?;
        let (task, what) = (Task::RewriteContents(moves.mode), "contents");
        cycle.with.events.hear(&Event::Progress { task, what, done, total });
        if cycle.with.stop.is_cancelled() {
            // What has moved is written whole; the rest is for the next time.
            break;
        }
    }
    // Others may read where they were until now.
    cycle.note_rewrite().await?;
    writer.flush().await?;
    cycle.reload().await?;
    cycle.pause().await?;
    Ok(Some(statistics("rewriteContentsStats", &stats)))
}

/// How many packs fit into a window: one at least.
fn window_len(packs: &[(Arc<str>, PackUse)]) -> usize {
    let mut contents = 0;
    let fits = packs.iter().take_while(|(_, used)| {
        contents += used.contents as usize;
        contents <= WINDOW
    });
    fits.count().max(1)
}

fn entries(
    cycle: &Cycle<'_>,
    stays: Stays,
    window: &[(Arc<str>, PackUse)],
    stats: &mut RewriteStats,
) -> Vec<IndexEntry> {
    let places: HashMap<&str, usize> =
        window.iter().enumerate().map(|(place, (pack, _))| (&**pack, place)).collect();
    let mut entries = Vec::new();
    for entry in cycle.entries() {
        if !places.contains_key(&*entry.pack) || entry.is_dropped_by(stays.dropped_until) {
            continue;
        }
        let bytes = u64::from(entry.packed_length);
        if entry.timestamp > stays.not_after {
            stats.retained_content_count += 1;
            stats.retained_content_size += bytes;
        } else {
            stats.to_rewrite_content_count += 1;
            stats.to_rewrite_content_size += bytes;
            entries.push(entry);
        }
    }
    entries.sort_by_key(|entry| (places[&*entry.pack], entry.offset));
    entries
}

/// Moves these contents; those that can't be read stay.
async fn move_all(
    cycle: &Cycle<'_>,
    mode: Mode,
    writer: &RepositoryWriter,
    entries: Vec<IndexEntry>,
    stats: &mut RewriteStats,
) -> Result<()> {
    let known: HashMap<ContentId, IndexEntry> =
        entries.iter().map(|entry| (entry.id, entry.clone())).collect();
    let plan = cycle.with.repo.plan_entries(entries);
    let mut fetched = std::pin::pin!(cycle.with.repo.fetch_all(&plan));
    // Those that are deleted apart: they stay so.
    let mut open: [(Vec<_>, usize); 2] = Default::default();
    let mut moving = FuturesUnordered::new();
    let mut noted = cycle.clock_now();
    let mut unreadable: BTreeMap<Arc<str>, (u64, String)> = BTreeMap::new();
    let mut keep = |entry: &IndexEntry, why: String, stats: &mut RewriteStats| {
        stats.retained_content_count += 1;
        stats.retained_content_size += u64::from(entry.packed_length);
        unreadable.entry(Arc::clone(&entry.pack)).or_insert((0, why)).0 += 1;
    };
    loop {
        if cycle.clock_now().since(noted) >= NOTED_EVERY {
            // A writer writes its index while it goes on: if it is killed, this is the last word.
            noted = cycle.clock_now();
            cycle.note_rewrite().await?;
        }
        let next = fetched.next().await;
        let is_end = next.is_none();
        match next {
            Some((id, Ok(bytes))) => {
                let entry = known[&id].clone();
                let batch = &mut open[usize::from(entry.deleted)];
                batch.1 += bytes.len();
                batch.0.push((entry, bytes));
            }
            Some((id, Err(error))) => keep(&known[&id], error.to_string(), stats),
            None => {}
        }
        for (deleted, (batch, bytes)) in open.iter_mut().enumerate() {
            let is_full = *bytes >= BATCH_BYTES || batch.len() >= BATCH_CONTENTS;
            if !batch.is_empty() && (is_full || is_end) {
                *bytes = 0;
                let batch = std::mem::take(batch);
                let ids: Vec<_> = batch.iter().map(|(entry, _)| entry.id).collect();
                let deleted = deleted == 1;
                moving.push(async move { (ids, writer.move_contents(batch, deleted).await) });
            }
        }
        while moving.len() >= BATCHES || (is_end && !moving.is_empty()) {
            let Some((ids, moved)) = moving.next().await else { break };
            let damaged: HashSet<ContentId> = moved?.into_iter().collect();
            for id in ids {
                let entry = &known[&id];
                if damaged.contains(&id) {
                    keep(entry, "its bytes are not what its ID says".into(), stats);
                    continue;
                }
                stats.rewritten_content_count += 1;
                stats.rewritten_content_size += u64::from(entry.packed_length);
                cycle.with.log.append(
                    "moved content",
                    &serde_json::json!({
                        "contentID": id.to_string(), "from": &*entry.pack,
                        "bytes": entry.packed_length, "deleted": entry.deleted,
                    }),
                );
            }
        }
        if is_end {
            break;
        }
    }
    for (pack, (count, why)) in unreadable {
        let message = format!("{count} contents of pack {pack} stay where they are: {why}");
        cycle
            .with
            .log
            .append("pack can't be read", &serde_json::json!({ "blobID": &*pack, "error": why }));
        cycle.with.events.hear(&Event::Kept(Task::RewriteContents(mode), message));
    }
    Ok(())
}
