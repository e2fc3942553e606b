//! Directory objects against `directories.json`.

use super::*;
use crate::ids::ContentId;
use crate::time::mode_from_unix;
use base64::Engine as _;
use serde_json::Value;

fn entry_of(case: &Value) -> DirEntry {
    let number = |key: &str| case[key].as_u64().unwrap();
    let text = |key: &str| case[key].as_str().unwrap();
    DirEntry {
        name: kopia_fixtures::hex(&case["nameHex"]),
        kind: serde_json::from_value(case["type"].clone()).unwrap(),
        mode: u32::from_str_radix(text("mode"), 8).unwrap(),
        size: number("size"),
        mtime: text("mtimeNs").parse().unwrap(),
        uid: number("uid") as u32,
        gid: number("gid") as u32,
        object: text("obj").parse().unwrap(),
        summary: case.get("summ").map(|summ| serde_json::from_value(summ.clone()).unwrap()),
    }
}

#[test]
fn directories_are_written_as_kopia_writes_them() {
    let secret = kopia_fixtures::spec_bytes("ctr:hash-key-1:32");
    let vectors = kopia_fixtures::vectors("directories.json");
    for case in vectors["cases"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let mut builder = DirectoryBuilder::new();
        for entry in case["entries"].as_array().unwrap() {
            builder.add(entry_of(entry));
        }
        for failed in case["failed"].as_array().into_iter().flatten() {
            let field = |n: usize| failed[n].as_str().unwrap();
            let ignored = field(1) == "ignored";
            builder.add_failed(field(0).as_bytes(), ignored, field(2).as_bytes());
        }
        let mtime = case["dirMtimeNs"].as_str().unwrap().parse().unwrap();
        let directory = builder.build(mtime, case["incomplete"].as_str().unwrap());
        let bytes = directory.to_bytes();
        let expected = base64::engine::general_purpose::STANDARD
            .decode(case["bytes"].as_str().unwrap())
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&bytes), String::from_utf8_lossy(&expected), "{name}");
        assert_eq!(bytes, expected, "{name}");
        let hash = blake2b_simd::Params::new().hash_length(32).key(&secret).hash(&bytes);
        let id = ContentId::new(Some(b'k'), &hash.as_bytes()[..16]).unwrap();
        assert_eq!(id.to_string(), case["object"].as_str().unwrap(), "{name}");
        let read = Directory::parse(&bytes).unwrap();
        assert_eq!(read.summary, directory.summary);
        assert_eq!(read.entries.len(), directory.entries.len());
        for (read, written) in read.entries.iter().zip(&directory.entries) {
            // Names that are not UTF-8 come back with replacements.
            let name = String::from_utf8_lossy(&written.name);
            if !name.contains('\u{fffd}') {
                assert_eq!(read, written);
            }
        }
    }
}

#[test]
fn a_folder_with_old_files_only_shows_the_epoch() {
    let mut builder = DirectoryBuilder::new();
    builder.add(DirEntry { mtime: -5, kind: EntryKind::File, ..DirEntry::default() });
    assert_eq!(builder.clone().build(-9, "").summary.max_time, 0);
    assert_eq!(DirectoryBuilder::new().build(-9, "").summary.max_time, -9);
    assert_eq!(builder.len(), 1);
}

#[test]
fn reading_keeps_both_the_own_time_and_the_summary() {
    let json = r#"{"stream":"kopia:directory","entries":[{"name":"d","type":"d","mode":"0755",
        "mtime":"2020-01-01T00:00:00Z","obj":"k00","summ":{"dirs":1,
        "maxTime":"2021-01-01T00:00:00+01:00","errors":null}},
        {"type":"fifo","obj":"","unknown":{"a":[1]}}],"summary":null} trailing"#;
    let directory = Directory::parse(json.as_bytes()).unwrap();
    let entry = &directory.entries[0];
    assert_eq!(entry.mtime, 1_577_836_800_000_000_000);
    assert_eq!(entry.summary.as_ref().unwrap().max_time, 1_609_455_600_000_000_000);
    assert_eq!(directory.entries[1].kind, EntryKind::Unknown);
    assert_eq!(directory.find(b"d"), Some(entry));
    assert_eq!(directory.find(b"e"), None);
}

#[test]
fn special_bits_are_gos() {
    let entry = DirEntry { mode: mode_from_unix(0o4755), ..DirEntry::default() };
    assert_eq!(json::to_vec(&entry), br#"{"mode":"040000755","obj":""}"#);
    assert!(serde_json::from_str::<DirEntry>(r#"{"mode":420,"obj":""}"#).is_err());
    let wrong = DirEntry { name: b"a\xff\xfe<".to_vec(), ..DirEntry::default() };
    assert_eq!(json::to_vec(&wrong), br#"{"name":"a\ufffd\ufffd\u003c","obj":""}"#);
}

#[test]
fn what_is_no_directory_is_refused() {
    let deep = format!(r#"{{"stream":"kopia:directory","x":{}"#, "[".repeat(100_000));
    for wrong in [
        "",
        "{}",
        r#"{"stream":"kopia:indirect","entries":[]}"#,
        r#"{"stream":"kopia:directory","entries":{}}"#,
        r#"{"stream":"kopia:directory","entries":[{"obj":"zz"}]}"#,
        r#"{"stream":"kopia:directory","entries":[{"mode":"08","obj":""}]}"#,
        &deep,
    ] {
        assert!(Directory::parse(wrong.as_bytes()).is_err());
    }
}
