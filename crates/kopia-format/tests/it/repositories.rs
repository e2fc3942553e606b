//! Whole repositories written by Kopia 0.23.1, read down to the last content.
//!
//! The fixtures are described in `crates/kopia-fixtures/fixtures/README.md`.

use std::{collections::BTreeMap, sync::Mutex};

use crate::common::{Opened, blobs, open};
use kopia_format::{
    BlobConfig, ContentId, FormatError, GoTime, Index, IndexEntry, ItemCodec, MaintenanceSchedule,
    SessionId, SessionMarker, codec, compress,
    format_blob::{Warning, pack_copy, recover_from_pack},
    json,
    pack::{LocalIndex, read_local_index},
};
use serde_json::{Value, json};

/// Runs a check on many fixtures with two threads: deriving keys is slow on purpose.
fn for_each(names: Vec<String>, check: impl Fn(&str) + Sync) {
    let names = Mutex::new(names);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(name) = { names.lock().unwrap().pop() } {
                    println!("fixture {name}");
                    check(&name);
                }
            });
        }
    });
}

/// What `expected.json` says about the format, in our words.
fn described(opened: &Opened) -> Value {
    let mut format: Value = serde_json::from_slice(&opened.format.to_payload()).unwrap();
    let mut format = format["format"].take();
    let format = format.as_object_mut().unwrap();
    for key in ["secret", "masterKey", "upgradeLock", "requiredFeatures"] {
        format.shift_remove(key);
    }
    format.insert("uniqueID".to_owned(), json!(hex::encode(&opened.blob.unique_id)));
    Value::Object(std::mem::take(format))
}

#[test]
fn every_format_blob_opens_and_says_what_kopia_says() {
    let unreadable = |name: &str| name.starts_with("damaged-format");
    let names = kopia_fixtures::names().into_iter().filter(|name| !unreadable(name)).collect();
    for_each(names, |name| {
        let repo = kopia_fixtures::repo(name);
        let blobs = blobs(&repo);
        let opened = open(&blobs["kopia.repository"], repo.password()).unwrap();
        let mut expected = repo.expected["format"].clone();
        let config = match blobs.get("kopia.blobcfg") {
            Some(blob) => BlobConfig::decrypt(blob, &opened.key, &opened.blob.unique_id).unwrap(),
            None => BlobConfig::default(),
        };
        let retention = expected.as_object_mut().unwrap().shift_remove("blobRetention").unwrap();
        assert_eq!(serde_json::to_value(&config).unwrap(), retention, "{name}");
        let mut described = described(&opened);
        if ["future-format", "upgrade-locked", "upgrade-locked-zone"].contains(&name) {
            assert_ne!(described["version"], expected["version"], "{name} was edited");
            described["version"] = expected["version"].clone();
        }
        assert_eq!(described, expected, "{name}");
        let checked = opened.format.check();
        let refused = ["future-format", "required-feature"].contains(&name);
        assert_eq!(checked.is_err(), refused, "{name}: {checked:?}");
        let payload = opened.format.to_payload();
        let again = kopia_format::RepositoryFormat::from_payload(&payload).unwrap();
        assert_eq!(again, opened.format, "{name}");
    });
}

/// What a client needs of a repository to read contents.
struct Reader {
    name: String,
    blobs: BTreeMap<String, Vec<u8>>,
    codec: ItemCodec,
}

impl Reader {
    fn new(name: &str) -> Self {
        let repo = kopia_fixtures::repo(name);
        let blobs = blobs(&repo);
        let opened = open(&blobs["kopia.repository"], repo.password()).unwrap();
        let codec = ItemCodec::new(&opened.format).unwrap();
        Self { name: name.to_owned(), blobs, codec }
    }

    fn local_index(&self, pack: &str) -> Vec<IndexEntry> {
        let bytes = &self.blobs[pack];
        let len = bytes.len() as u64;
        let tail = &bytes[bytes.len().saturating_sub(kopia_format::pack::TAIL_LEN)..];
        let found = match read_local_index(&self.codec, len, tail).unwrap() {
            LocalIndex::StartsAt(offset) => {
                read_local_index(&self.codec, len, &bytes[offset as usize..]).unwrap()
            }
            found => found,
        };
        let LocalIndex::Plain(plain) = found else { panic!("{}: {pack} has no index", self.name) };
        Index::parse(plain).unwrap().iter().collect()
    }

    /// Decrypts, expands and re-hashes one content.
    fn check_content(&self, entry: &IndexEntry) {
        let from = entry.offset as usize;
        let sealed = &self.blobs[&*entry.pack][from..from + entry.packed_length as usize];
        let plain = self.codec.open(entry.id.iv(), sealed).unwrap();
        let plain = match entry.compression {
            0 => plain,
            id => {
                let max = entry.original_length as usize;
                compress::decompress(Some(id), &plain, max).unwrap()
            }
        };
        let id = ContentId::new(entry.id.prefix(), &self.codec.hasher().hash(&plain)).unwrap();
        assert_eq!(id, entry.id, "{}", self.name);
    }
}

#[test]
fn every_content_is_found_by_its_packs_own_index_and_has_the_hash_in_its_name() {
    let of_interest = |name: &String| {
        name.starts_with("hash-") || name.starts_with("ecc-") || name.starts_with("format-v")
    };
    let names = kopia_fixtures::names().into_iter().filter(of_interest).collect();
    let checked = Mutex::new(0);
    for_each(names, |name| {
        let reader = Reader::new(name);
        for pack in reader.blobs.keys().filter(|id| id.starts_with(['p', 'q'])) {
            for entry in reader.local_index(pack) {
                assert!(*entry.pack == **pack || entry.deleted, "{name}: {pack}");
                reader.check_content(&entry);
                *checked.lock().unwrap() += 1;
            }
        }
    });
    assert!(*checked.lock().unwrap() > 1000);
}

#[test]
fn every_index_session_and_log_blob_opens_under_its_name() {
    let names = ["format-v1", "format-v3", "epochs-kept", "killed", "many-v1", "ecc-1-v2"];
    let opened = Mutex::new(BTreeMap::<String, usize>::new());
    for_each(names.map(str::to_owned).to_vec(), |name| {
        let reader = Reader::new(name);
        for (id, bytes) in &reader.blobs {
            let kind = ["_log_", "xn", "xs", "xr", "n", "m", "l", "s"];
            let Some(kind) = kind.into_iter().find(|kind| id.starts_with(kind)) else { continue };
            let plain = reader.codec.open_blob(id, bytes).unwrap();
            *opened.lock().unwrap().entry(kind.to_owned()).or_default() += 1;
            if kind == "s" {
                let marker = SessionMarker::parse(&plain).unwrap();
                assert_eq!(SessionId::of_blob(id).unwrap(), marker.id);
                assert_eq!(marker.to_bytes(), plain, "{name}: {id}");
            }
        }
    });
    let opened = opened.into_inner().unwrap();
    for kind in ["n", "xn", "xs", "xr", "s"] {
        assert!(opened.contains_key(kind), "no {kind} blob among {opened:?}");
    }
}

#[test]
fn the_history_of_maintenance_is_read_and_written_back_without_loss() {
    for name in ["zone-offsets", "zone-offsets-v1", "epochs"] {
        let repo = kopia_fixtures::repo(name);
        let blobs = blobs(&repo);
        let opened = open(&blobs["kopia.repository"], repo.password()).unwrap();
        let key = opened.format.maintenance_key(&opened.blob.unique_id, &opened.key).unwrap();
        let schedule = MaintenanceSchedule::decrypt(&blobs["kopia.maintenance"], &key).unwrap();
        assert!(!schedule.runs.is_empty(), "{name}");
        let written = json::to_vec(&schedule);
        assert_eq!(MaintenanceSchedule::parse(&written).unwrap(), schedule, "{name}");
        if let Some(text) = repo.expected["maintenanceSchedule"].as_str() {
            assert_eq!(MaintenanceSchedule::parse(text.as_bytes()).unwrap(), schedule, "{name}");
            assert!(text.contains("+05:30"), "this fixture is about offsets");
        }
    }
}

#[test]
fn a_lost_format_blob_is_recovered_from_a_pack_where_the_password_is_fixed() {
    let reader = kopia_fixtures::repo("damaged-format-lost-v1");
    let blobs = blobs(&reader);
    assert!(!blobs.contains_key("kopia.repository"));
    for (id, pack) in blobs.iter().filter(|(id, _)| id.starts_with(['p', 'q'])) {
        let recovered = recover_from_pack(&pack[..pack.len().min(65536)], &[]).unwrap();
        let opened = open(&recovered, reader.password()).unwrap();
        assert!(!opened.format.enable_password_change, "{id}");
        assert!(pack.starts_with(&pack_copy(&recovered).unwrap()));
    }

    let repo = kopia_fixtures::repo("damaged-format-lost");
    for (id, pack) in
        crate::common::blobs(&repo).iter().filter(|(id, _)| id.starts_with(['p', 'q']))
    {
        assert_eq!(recover_from_pack(pack, pack), None, "{id} holds no copy");
    }
}

#[test]
fn damaged_format_blobs_are_told_apart() {
    let flipped = kopia_fixtures::repo("damaged-format-flipped");
    let bytes = &blobs(&flipped)["kopia.repository"];
    assert_eq!(open(bytes, flipped.password()).unwrap_err(), FormatError::WrongPassword);
    let cut = kopia_fixtures::repo("damaged-format-truncated");
    let error = open(&blobs(&cut)["kopia.repository"], cut.password()).unwrap_err();
    assert!(matches!(error, FormatError::Malformed { what: "format blob", .. }), "{error}");
    let changed = kopia_fixtures::repo("password-changed");
    let bytes = &blobs(&changed)["kopia.repository"];
    for refused in changed.expected["refusedPasswords"].as_array().unwrap() {
        let error = open(bytes, refused.as_str().unwrap()).unwrap_err();
        assert_eq!(error, FormatError::WrongPassword, "{refused}");
    }
}

#[test]
fn features_that_we_lack_are_named() {
    let required = kopia_fixtures::repo("required-feature");
    let opened = open(&blobs(&required)["kopia.repository"], required.password()).unwrap();
    let error = opened.format.check().unwrap_err().to_string();
    assert!(error.contains("future-feature-1"), "{error}");
    let warned = kopia_fixtures::repo("required-feature-warn");
    let opened = open(&blobs(&warned)["kopia.repository"], warned.password()).unwrap();
    let Warning::UnknownFeature(feature) = &opened.format.check().unwrap()[0] else {
        panic!("another warning")
    };
    assert_eq!(feature.feature, "future-feature-2");
}

#[test]
fn an_upgrade_lock_of_another_time_zone_is_the_same_instant() {
    let repo = kopia_fixtures::repo("upgrade-locked-zone");
    let opened = open(&blobs(&repo)["kopia.repository"], repo.password()).unwrap();
    let lock = opened.format.upgrade_lock.unwrap();
    let expected = &repo.expected["upgradeLock"];
    assert_eq!(expected["ownerID"], lock.owner_id);
    let created: GoTime = expected["creationTime"].as_str().unwrap().parse().unwrap();
    assert_eq!(lock.creation_time, created);
    assert!(lock.is_locked(created));
    assert!(!lock.writers_drained(created));
}

#[test]
fn a_flipped_bit_is_damage_without_error_correction_and_nothing_with_it() {
    let mut unreadable = Vec::new();
    for (name, expected) in [("damaged-flip", 1), ("damaged-flip-v1", 1), ("damaged-flip-ecc", 0)] {
        let reader = Reader::new(name);
        let mut damaged = 0;
        for pack in reader.blobs.keys().filter(|id| id.starts_with(['p', 'q'])) {
            for entry in reader.local_index(pack).iter().filter(|entry| !entry.deleted) {
                let from = entry.offset as usize;
                let sealed = &reader.blobs[pack][from..from + entry.packed_length as usize];
                match reader.codec.open(entry.id.iv(), sealed) {
                    Ok(_) => {}
                    Err(FormatError::Damaged { .. }) => damaged += 1,
                    Err(other) => panic!("{other}"),
                }
            }
        }
        unreadable.push((name, damaged, expected));
    }
    assert!(unreadable.iter().all(|(_, found, expected)| found == expected), "{unreadable:?}");
    assert!(codec::blob_iv("kopia.repository").is_err());
}
