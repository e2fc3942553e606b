//! What `snapshot list --json` printed for real repositories is read and written again unchanged.

use kopia_format::json;
use kopia_format::snapshot::SnapshotManifest;
use serde_json::value::RawValue;

#[test]
fn snapshots_of_every_reference_repository_pass_through_unchanged() {
    let mut seen = 0;
    for name in kopia_fixtures::names() {
        let file = kopia_fixtures::folder(&name).join("snapshot-list.json");
        let Ok(text) = std::fs::read_to_string(file) else { continue };
        let list: Vec<Box<RawValue>> = serde_json::from_str(&text).unwrap();
        for item in list {
            let manifest: SnapshotManifest = serde_json::from_str(item.get()).unwrap();
            let again = String::from_utf8(json::to_vec(&manifest)).unwrap();
            assert_eq!(again, json::compact(item.get()), "{name}");
            seen += 1;
        }
    }
    assert!(seen > 100, "{seen}");
}
