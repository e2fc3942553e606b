//! What a task of maintenance counted, in Kopia's words.

use kopia_format::maintenance::RunStatistics;
use serde_json::Value;

use crate::ui::size;

/// A sentence; nothing where the kind is not one of Kopia's. What was written without numbers counted
/// nothing.
pub(super) fn sentence(statistics: &RunStatistics) -> Option<String> {
    let nothing = serde_json::Map::new();
    let data = statistics.data.as_ref().and_then(Value::as_object).unwrap_or(&nothing);
    let count = |name: &str| data.get(name).and_then(Value::as_u64).unwrap_or(0);
    let text = |name: &str| data.get(name).and_then(Value::as_str).unwrap_or_default();
    // Number and bytes of one kind of thing.
    let sized =
        |number: &str, bytes: &str| format!("{}({})", count(number), size::bytes(count(bytes)));
    let plain = |number: &str, bytes: &str| format!("{}({})", count(number), count(bytes));
    Some(match statistics.kind.as_str() {
        "advanceEpochStats" => {
            let advanced = data.get("wasAdvanced").and_then(Value::as_bool).unwrap_or(false);
            let what = if advanced { "Advanced epoch to" } else { "Stayed at epoch" };
            format!("{what} {}", count("currentEpoch"))
        }
        "cleanupLogsStats" => format!(
            "Found {} logs blobs for deletion and deleted {} of them. Retained {} log blobs.",
            sized("toDeleteBlobCount", "toDeleteBlobSize"),
            sized("deletedBlobCount", "deletedBlobSize"),
            sized("retainedBlobCount", "retainedBlobSize"),
        ),
        "cleanupMarkersStats" => format!(
            "Cleaned up {} epoch markers and {} deletion watermarks",
            count("deletedEpochMarkerBlobCount"),
            count("deletedWatermarkBlobCount"),
        ),
        "cleanupSupersededIndexesStats" => format!(
            "Cleaned up {} superseded index blobs, max replacement time {}",
            sized("deletedBlobCount", "deletedTotalSize"),
            go_time(text("maxReplacementTime")),
        ),
        "compactIndexesStats" => format!(
            "Dropped contents deleted before {}",
            go_time(text("droppedContentsDeletedBefore"))
        ),
        "compactSingleEpochStats" => format!(
            "Compacted {} index blobs for epoch {}",
            sized("supersededIndexBlobCount", "supersededIndexTotalSize"),
            count("epoch"),
        ),
        "deleteUnreferencedPacksStats" => format!(
            "Found {} unreferenced pack blobs to delete and deleted {}. Retained {} unreferenced \
             pack blobs.",
            sized("unreferencedPackCount", "unreferencedTotalSize"),
            sized("deletedPackCount", "deletedTotalSize"),
            sized("retainedPackCount", "retainedTotalSize"),
        ),
        "extendBlobRetentionStats" => format!(
            "Blob retention extension found {} blobs and extended for {} blobs, retention period {}",
            count("toExtendBlobCount"),
            count("extendedBlobCount"),
            text("retentionPeriod"),
        ),
        "generateRangeCheckpointStats" => format!(
            "Generated a range checkpoint from epoch {} to {} inclusive",
            count("rangeMinEpoch"),
            count("rangeMaxEpoch"),
        ),
        "rewriteContentsStats" => format!(
            "Found {} contents to rewrite and rewrote {}. Retained {} contents from rewrite",
            sized("toRewriteContentCount", "toRewriteContentSize"),
            sized("rewrittenContentCount", "rewrittenContentSize"),
            sized("retainedContentCount", "retainedContentSize"),
        ),
        "snapshotGCStats" => format!(
            "Found {} unreferenced contents and marked {} for deletion. Found {} in-use contents and \
             {} in-use system contents. Retained {} recent contents. Recovered {} contents",
            plain("unreferencedContentCount", "unreferencedContentSize"),
            plain("deletedContentCount", "deletedContentSize"),
            plain("inUseContentCount", "inUseContentSize"),
            plain("inUseSystemContentCount", "inUseSystemContentSize"),
            plain("unreferencedRecentContentCount", "unreferencedRecentContentSize"),
            plain("recoveredContentCount", "recoveredContentSize"),
        ),
        _ => return None,
    })
}

/// A time of JSON as Go prints one.
fn go_time(text: &str) -> String {
    match text.split_once('T') {
        Some((date, time)) => match time.strip_suffix('Z') {
            Some(time) => format!("{date} {time} +0000 UTC"),
            None => text.to_owned(),
        },
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(kind: &str, data: Value) -> Option<String> {
        sentence(&RunStatistics { kind: kind.to_owned(), data: Some(data) })
    }

    #[test]
    fn sentences_are_kopias() {
        let logs = json!({"retainedBlobCount": 1, "retainedBlobSize": 888});
        assert_eq!(
            said("cleanupLogsStats", logs).unwrap(),
            "Found 0(0 B) logs blobs for deletion and deleted 0(0 B) of them. Retained 1(888 B) log \
             blobs."
        );
        let epoch = json!({"currentEpoch": 3, "wasAdvanced": true});
        assert_eq!(said("advanceEpochStats", epoch).unwrap(), "Advanced epoch to 3");
        let replaced = json!({"maxReplacementTime": "2026-11-29T20:06:01.5Z"});
        assert_eq!(
            said("cleanupSupersededIndexesStats", replaced).unwrap(),
            "Cleaned up 0(0 B) superseded index blobs, max replacement time 2026-11-29 20:06:01.5 \
             +0000 UTC"
        );
        assert_eq!(said("kopia-lite-rewriting", json!({"n": 1})), None);
        let none = RunStatistics { kind: "advanceEpochStats".to_owned(), data: None };
        assert_eq!(sentence(&none).unwrap(), "Stayed at epoch 0");
    }
}
