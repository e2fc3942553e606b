//! Damaged JSON documents are refused or read, and never stop the program.

use kopia_format::directory::{DirEntry, Directory, DirectoryBuilder, EntryKind};
use kopia_format::indirect::IndirectObject;
use kopia_format::json;
use kopia_format::manifest::{ManifestContent, ManifestEntry};
use kopia_format::policy::Policy;
use kopia_format::snapshot::{SnapshotManifest, Source};
use kopia_format::time::GoTime;
use kopia_format::{ManifestId, ObjectId};

type Reader = fn(&[u8]) -> bool;

fn documents() -> Vec<(&'static str, Vec<u8>, Reader)> {
    let object: ObjectId = "Ik0123456789abcdef0123456789abcdef".parse().unwrap();
    let mut builder = DirectoryBuilder::new();
    let entry = DirEntry {
        name: "é<\u{2028}".into(),
        kind: EntryKind::File,
        mode: 0o644,
        size: 12,
        mtime: 1_700_000_000_123_456_789,
        uid: 1000,
        object,
        ..DirEntry::default()
    };
    builder.add(entry.clone());
    builder.add_failed(b"x", false, b"open x: permission denied");
    let directory = builder.build(5, "checkpoint");
    let mut indirect = IndirectObject::default();
    indirect.push(object, 10);
    indirect.push(object, 0);
    let snapshot = SnapshotManifest {
        source: Source::new("h", "u", "/p"),
        root_entry: Some(entry),
        pins: vec!["p".to_owned()],
        ..SnapshotManifest::default()
    };
    let id = ManifestId::new("00ff");
    let manifest =
        ManifestEntry::new(id, snapshot.labels(), GoTime::from_secs(1_700_000_000), &snapshot)
            .unwrap();
    let manifests = ManifestContent { entries: vec![manifest] };
    vec![
        ("directory", directory.to_bytes(), |bytes| Directory::parse(bytes).is_ok()),
        ("indirect", indirect.to_bytes(), |bytes| IndirectObject::parse(bytes).is_ok()),
        ("snapshot", json::to_line(&snapshot), |bytes| {
            SnapshotManifest::parse(&ManifestId::new("1"), bytes).is_ok()
        }),
        ("policy", json::to_line(&Policy::default_global()), |b| Policy::parse(b).is_ok()),
        ("manifests", manifests.to_json(), |b| ManifestContent::parse_json(b).is_ok()),
        ("gzip", manifests.to_bytes(), |bytes| ManifestContent::parse(bytes).is_ok()),
    ]
}

#[test]
fn whole_documents_are_read_and_cut_ones_refused() {
    for (name, bytes, reads) in documents() {
        assert!(reads(&bytes), "{name}");
        // The last byte of text is a newline, which nobody misses.
        for end in 0..bytes.len() - 1 {
            assert!(!reads(&bytes[..end]), "{name} cut at {end}");
        }
    }
}

#[test]
fn changed_bytes_stop_nothing() {
    for (name, bytes, reads) in documents() {
        let mut refused = 0;
        for at in 0..bytes.len() {
            for value in [0, b'"', b'{', b'[', b'9', b'-', b'\\', 0xff] {
                let mut changed = bytes.clone();
                changed[at] = value;
                refused += usize::from(!reads(&changed));
            }
        }
        assert!(refused > bytes.len(), "{name}");
    }
}
