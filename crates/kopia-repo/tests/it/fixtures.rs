//! Repositories made by Kopia 0.23.1, read whole: every content, every file, every manifest.

use std::collections::{BTreeMap, BTreeSet};

use crate::common::{open_fixture, refusal};
use futures::{StreamExt, stream};
use kopia_fixtures::Unpacked;
use kopia_repo::{EntryFilter, IndexEntry, RepoError, Repository, VerifyOptions};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Fixtures that Kopia opens and reads whole.
fn whole(fixture: &Unpacked) -> bool {
    let damage = &fixture.expected["damage"];
    fixture.expected["damaged"] != true
        || damage["harmless"] == true
        || damage["recoverable"] == true
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_kopia_reads_is_read() {
    let checks = kopia_fixtures::names().into_iter().map(|name| {
        tokio::spawn(async move {
            let fixture = kopia_fixtures::repo(&name);
            if !whole(&fixture) {
                return false;
            }
            let opened = open_fixture(&fixture).await;
            let repository = opened.unwrap_or_else(|e| panic!("{name}: {e}"));
            check_index(&fixture, &repository).await;
            check_contents(&fixture, &repository).await;
            check_files(&fixture, &repository).await;
            check_manifests(&fixture, &repository).await;
            true
        })
    });
    let checked: Vec<_> = stream::iter(checks).buffered(4).collect().await;
    let failed = checked.iter().filter(|check| check.is_err()).count();
    assert_eq!(failed, 0, "so many fixtures failed");
    let count = checked.iter().filter(|check| matches!(check, Ok(true))).count();
    assert!(count >= 95, "only {count} fixtures were whole");
}

async fn check_index(fixture: &Unpacked, repository: &Repository) {
    // The lists of damaged fixtures are from before the damage, which may be one more index blob.
    let Some(expected) = fixture.expected["activeIndexBlobs"].as_array() else { return };
    if fixture.expected["damaged"] == true {
        return;
    }
    let expected: BTreeSet<_> = expected.iter().map(|id| id.as_str().unwrap().to_owned()).collect();
    let blobs = repository.index_blobs().await.unwrap();
    let found: BTreeSet<_> = blobs.iter().map(|meta| meta.id.as_str().to_owned()).collect();
    assert_eq!(found, expected, "{}", fixture.name);
}

fn row(entry: &IndexEntry) -> Value {
    let mut row = serde_json::json!({
        "packFile": &*entry.pack,
        "time": entry.timestamp,
        "length": entry.packed_length,
        "originalLength": entry.original_length,
        "packOffset": entry.offset,
        "contentID": entry.id.to_string(),
        "deleted": entry.deleted,
        "formatVersion": entry.format_version,
    });
    if entry.compression != 0 {
        row["compression"] = entry.compression.into();
    }
    row
}

async fn check_contents(fixture: &Unpacked, repository: &Repository) {
    let expected = fixture.expected["contents"].as_array().unwrap();
    let entries = repository.entries(&EntryFilter::with_deleted()).await.unwrap();
    let found: BTreeMap<_, _> = entries.iter().map(|e| (e.id.to_string(), row(e))).collect();
    assert_eq!(found.len(), expected.len(), "{}", fixture.name);
    for content in expected {
        let found = &found[content["contentID"].as_str().unwrap()];
        for (key, value) in content.as_object().unwrap() {
            // Zero values are left out by Kopia.
            let zero = found[key].is_null() && (value == 0 || value == false);
            assert!(found[key] == *value || zero, "{}: {content} is {found}", fixture.name);
        }
    }
    let options = VerifyOptions { filter: EntryFilter::with_deleted(), read_percent: 100.0 };
    let report = repository
        .verify_contents(&options, |event| {
            if let kopia_repo::VerifyEvent::Problem { id, error } = event {
                panic!("{}: {id}: {error}", fixture.name);
            }
        })
        .await
        .unwrap();
    assert_eq!(report.contents_read, expected.len() as u64, "{}", fixture.name);
}

async fn check_files(fixture: &Unpacked, repository: &Repository) {
    let listings = fixture.expected["listings"].as_object().unwrap();
    for (path, file) in listings.values().flat_map(|listing| listing.as_object().unwrap()) {
        let Some(sha256) = file["sha256"].as_str() else { continue };
        let object = file["obj"].as_str().unwrap().parse().unwrap();
        let bytes = repository.read_object(&object, u64::MAX).await;
        let bytes = bytes.unwrap_or_else(|e| panic!("{}: {path}: {e}", fixture.name));
        // A checkpoint has the size of the whole file and the bytes of its beginning.
        if path.contains(".checkpointed.") {
            assert!((bytes.len() as u64) < file["size"].as_u64().unwrap(), "{path}");
            continue;
        }
        let found: String = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(found, sha256, "{}: {path}", fixture.name);

        let pieces = repository.object_contents(&object).await.unwrap();
        if let Some(length) = pieces.length() {
            assert_eq!(length, bytes.len() as u64, "{}: {path}", fixture.name);
        }
    }
}

async fn check_manifests(fixture: &Unpacked, repository: &Repository) {
    let found: BTreeMap<_, _> = repository
        .manifests()
        .all()
        .await
        .unwrap()
        .into_iter()
        .map(|m| {
            (
                m.id.to_string(),
                (
                    serde_json::to_value(&m.labels).unwrap(),
                    m.modified.to_string(),
                    m.data.get().len(),
                ),
            )
        })
        .collect();
    let listed = fixture.output("manifest-list.json");
    let expected: BTreeMap<_, _> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|m| {
            let text = |key: &str| m[key].as_str().unwrap().to_owned();
            (
                text("id"),
                (m["labels"].clone(), text("mtime"), m["length"].as_u64().unwrap() as usize),
            )
        })
        .collect();
    assert_eq!(found, expected, "{}", fixture.name);
}

#[tokio::test]
async fn what_keeps_a_repository_from_opening_is_named() {
    let errors = [
        ("damaged-format-flipped", "wrong password, or blob kopia.repository is damaged"),
        ("damaged-format-lost", "blob kopia.repository is missing"),
        ("damaged-format-lost-v1", "hold copies of it"),
        ("damaged-format-truncated", "blob kopia.repository is damaged"),
        ("future-format", "needs a newer version"),
        ("required-feature", "future-feature-1"),
        ("upgrade-locked", "locked for an upgrade by \"owner-1\""),
        ("upgrade-locked-zone", "2026-11-24T14:51:32.333582447Z"),
    ];
    for (name, words) in errors {
        let error = refusal(name).await.to_string();
        assert!(error.contains(words), "{name}: {error}");
    }
}

#[tokio::test]
async fn a_damaged_index_blob_is_named() {
    for name in ["extra-zero", "flipped", "truncated", "zero"].map(|d| format!("damaged-index-{d}"))
    {
        let fixture = kopia_fixtures::repo(&name);
        let blob = fixture.expected["damage"]["blob"].as_str().unwrap().to_owned();
        let error = open_fixture(&fixture).await.unwrap_err();
        assert!(
            matches!(&error, RepoError::IndexDamaged { blob: id, .. } if id.as_str() == blob),
            "{name}: {error}"
        );
    }
}

#[tokio::test]
async fn damaged_packs_cost_only_what_lies_in_the_damage() {
    let cases = [
        ("damaged-flip", "is damaged, in pack"),
        ("damaged-flip-v1", "is damaged, in pack"),
        ("damaged-missing-pack", "does not exist"),
        ("damaged-truncated-pack", "has no bytes"),
    ];
    for (name, words) in cases {
        let (fixture, repository) = crate::common::open(name).await;
        let damage = &fixture.expected["damage"];
        let lost: BTreeSet<String> = match damage["contents"].as_array() {
            Some(all) => all.iter().map(|id| id.as_str().unwrap().to_owned()).collect(),
            None => [damage["content"].as_str().unwrap().to_owned()].into(),
        };
        for entry in repository.entries(&EntryFilter::with_deleted()).await.unwrap() {
            let read = repository.content(&entry.id).await;
            assert_eq!(read.is_err(), lost.contains(&entry.id.to_string()), "{name}: {entry:?}");
            if let Err(error) = read {
                let error = error.to_string();
                assert!(error.contains(words), "{name}: {error}");
                assert!(error.contains(damage["blob"].as_str().unwrap()), "{name}: {error}");
            }
        }
        let options = VerifyOptions { filter: EntryFilter::with_deleted(), read_percent: 100.0 };
        let report = repository.verify_contents(&options, |_| {}).await.unwrap();
        assert_eq!(report.problems(), lost.len() as u64, "{name}");
    }
}

#[tokio::test]
async fn error_correction_repairs_and_says_so() {
    let (fixture, repository) = crate::common::open("damaged-flip-ecc").await;
    let id = fixture.expected["damage"]["content"].as_str().unwrap().parse().unwrap();
    assert!(!repository.content(&id).await.unwrap().is_empty());
    assert_eq!(repository.counters().contents_repaired, 1);
}

#[tokio::test]
async fn a_changed_password_opens_and_the_old_one_does_not() {
    let fixture = kopia_fixtures::repo("password-changed");
    open_fixture(&fixture).await.unwrap();
    for old in fixture.expected["refusedPasswords"].as_array().unwrap() {
        let storage = crate::common::folder(&fixture.path()).await;
        let password = crate::common::secret(old.as_str().unwrap());
        let error = Repository::open(storage, &password, Default::default()).await.unwrap_err();
        assert!(matches!(error, RepoError::WrongPassword), "{old}: {error}");
    }
}

#[tokio::test]
async fn a_feature_that_may_be_lacking_is_a_warning() {
    let (_, repository) = crate::common::open("required-feature-warn").await;
    let warnings = repository.warnings();
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].to_string().contains("future-feature-2"), "{}", warnings[0]);
    assert!(crate::common::open("format-v3").await.1.warnings().is_empty());
}

#[tokio::test]
async fn the_owner_of_an_upgrade_lock_may_open() {
    let fixture = kopia_fixtures::repo("upgrade-locked");
    let storage = crate::common::folder(&fixture.path()).await;
    let options =
        kopia_repo::OpenOptions { upgrade_owner: Some("owner-1".into()), ..Default::default() };
    Repository::open(storage, &crate::common::secret("fixture"), options).await.unwrap();
}
