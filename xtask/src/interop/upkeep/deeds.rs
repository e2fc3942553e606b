//! What was done in turns of maintenance, and by whom: read from the history that both clients
//! write and read.

use std::{collections::BTreeMap, fmt::Write};

use serde_json::Value;

/// Something that maintenance did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deed {
    Collected,
    Moved,
    Dropped,
    PacksDeleted,
    IndexMerged,
    EpochBegun,
    EpochMerged,
    RangeMerged,
    MarkersDeleted,
    WatermarksDeleted,
    MergedDeleted,
}

/// Who must have done it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doers {
    /// Either client.
    Any,
    /// Each of them.
    Both,
}

/// Tasks of the history, and the number that says that something was done.
const NUMBERS: &[(Deed, &str, &str)] = &[
    (Deed::Collected, "snapshot-gc", "deletedContentCount"),
    (Deed::Moved, "quick-rewrite-contents", "rewrittenContentCount"),
    (Deed::Moved, "full-rewrite-contents", "rewrittenContentCount"),
    (Deed::Dropped, "full-drop-deleted-content", "droppedContentsDeletedBefore"),
    (Deed::PacksDeleted, "quick-delete-blobs", "deletedPackCount"),
    (Deed::PacksDeleted, "full-delete-blobs", "deletedPackCount"),
    (Deed::IndexMerged, "index-compaction", "droppedContentsDeletedBefore"),
    (Deed::EpochBegun, "advance-epoch", "wasAdvanced"),
    (Deed::EpochMerged, "compact-single-epoch", "supersededIndexBlobCount"),
    (Deed::RangeMerged, "generate-epoch-range-index", "rangeMaxEpoch"),
    (Deed::MarkersDeleted, "cleanup-epoch-markers", "deletedEpochMarkerBlobCount"),
    (Deed::WatermarksDeleted, "cleanup-epoch-markers", "deletedWatermarkBlobCount"),
    (Deed::MergedDeleted, "delete-superseded-epoch-indexes", "deletedBlobCount"),
];

/// How many turns of each client did what, and how much of it in all.
#[derive(Debug, Default)]
pub struct Deeds(BTreeMap<(Deed, &'static str), (u64, u64)>);

impl Deeds {
    /// Takes over what `client` did between two states of the history; gives what failed.
    pub fn add(&mut self, client: &'static str, before: &Value, after: &Value) -> Vec<String> {
        let mut failed = Vec::new();
        for (task, runs) in after["runs"].as_object().into_iter().flatten() {
            let old = before["runs"][task].as_array().map_or(&[][..], Vec::as_slice);
            let runs = runs.as_array().map_or(&[][..], Vec::as_slice);
            for run in runs.iter().filter(|run| !old.contains(run)) {
                if run["success"] != Value::Bool(true) {
                    failed.push(format!("{client}, {task}: {}", run["error"]));
                }
                for (deed, _, number) in NUMBERS.iter().filter(|(_, of, _)| of == task) {
                    self.count(*deed, client, amount(run, number));
                }
            }
        }
        failed
    }

    fn count(&mut self, deed: Deed, client: &'static str, amount: u64) {
        if amount > 0 {
            let (turns, sum) = self.0.entry((deed, client)).or_default();
            *turns += 1;
            *sum += amount;
        }
    }

    /// What must have happened, and did not.
    pub fn missing(&self, must: &[(Deed, Doers)]) -> Vec<String> {
        let doers = |deed: Deed| self.0.keys().filter(|(done, _)| *done == deed).count();
        let lacking = must.iter().filter(|(deed, by)| match by {
            Doers::Any => doers(*deed) == 0,
            Doers::Both => doers(*deed) < 2,
        });
        lacking.map(|(deed, by)| format!("{deed:?} did not happen, by {by:?}")).collect()
    }

    /// A line for each.
    pub fn text(&self) -> String {
        let mut out = String::new();
        for ((deed, client), (turns, sum)) in &self.0 {
            let deed = format!("{deed:?}");
            let _ =
                writeln!(out, "  {deed:18} by {client:10} in {turns:>2} turns, {sum:>5} in all");
        }
        out
    }
}

/// The number of that name; 1 for what is true or a time, 0 for what is not there.
fn amount(run: &Value, name: &str) -> u64 {
    let all = run["extra"].as_array().into_iter().flatten();
    let found = all.map(|extra| &extra["data"][name]).find(|value| !value.is_null());
    match found {
        None | Some(Value::Bool(false)) => 0,
        Some(Value::Number(number)) => number.as_u64().unwrap_or(0),
        Some(_) => 1,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn new_runs_count_for_who_was_at_it_and_failures_are_told() {
        let run = |time: u64, count: u64| {
            json!({"start": time, "success": true,
                "extra": [{"kind": "k", "data": {"deletedPackCount": count}}]})
        };
        let before = json!({"runs": {"full-delete-blobs": [run(1, 5)]}});
        let after = json!({"runs": {
            "full-delete-blobs": [run(3, 0), run(2, 7), run(1, 5)],
            "advance-epoch": [{"start": 3, "error": "no"}],
        }});
        let mut deeds = Deeds::default();
        assert_eq!(deeds.add("Kopia", &before, &after), ["Kopia, advance-epoch: \"no\""]);
        assert_eq!(deeds.0, BTreeMap::from([((Deed::PacksDeleted, "Kopia"), (1, 7))]));
        assert!(deeds.missing(&[(Deed::PacksDeleted, Doers::Any)]).is_empty());
        let must = [(Deed::PacksDeleted, Doers::Both), (Deed::Moved, Doers::Any)];
        assert_eq!(deeds.missing(&must).len(), 2);
    }
}
