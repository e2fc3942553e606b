//! Every case of `storageconfig-cases.json`: the outcome as Kopia's own code gave it, and our
//! messages.
//!
//! Compared as the file asks: messages are a set of (level, code, entries, top, by, kinds); what we
//! give one by one, with its place, is put together first. Where Kopia refuses, only the refusal
//! counts.

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine, engine::general_purpose::STANDARD};
use blob_core::{BlobId, PutPolicy};
use serde_json::Value;
use storageconfig::{Finding, StorageConfig};

fn cases() -> Value {
    serde_json::from_slice(include_bytes!("../../storageconfig-cases.json")).unwrap()
}

/// (level, code, by, kinds) -> (entries, top)
type Messages = BTreeMap<(String, String, Vec<u64>, BTreeSet<String>), (BTreeSet<u64>, bool)>;

fn numbers(value: &Value) -> Vec<u64> {
    value.as_array().into_iter().flatten().map(|n| n.as_u64().unwrap()).collect()
}

fn expected(case: &Value) -> Messages {
    let mut all = Messages::new();
    for message in case["messages"].as_array().unwrap() {
        let text = |key: &str| message[key].as_str().unwrap().to_owned();
        let kinds = message["kinds"].as_array().into_iter().flatten();
        let kinds = kinds.map(|kind| kind.as_str().unwrap().to_owned()).collect();
        let key = (text("level"), text("code"), numbers(&message["by"]), kinds);
        let place = all.entry(key).or_default();
        place.0.extend(numbers(&message["entries"]));
        place.1 |= message["top"] == true;
        assert_eq!(message["refusesUpload"] == true, message["code"] == "W-ARCHIVE-META");
    }
    all
}

fn ours(findings: &[Finding]) -> Messages {
    let mut all = Messages::new();
    for finding in findings {
        let level = serde_json::to_value(finding.level).unwrap().as_str().unwrap().to_owned();
        let by = finding.by.iter().map(|by| *by as u64).collect();
        let kinds = finding.kinds.iter().map(ToString::to_string).collect();
        let place = all.entry((level, finding.code.to_owned(), by, kinds)).or_default();
        place.0.extend(finding.entry.map(|entry| entry as u64));
        place.1 |= finding.top;
    }
    all
}

fn check(case: &Value) -> Result<(), String> {
    let input = STANDARD.decode(case["input"].as_str().unwrap()).unwrap();
    let parsed = StorageConfig::parse(&input);
    if case["error"] == true {
        return match parsed {
            Ok(_) => Err("was taken, Kopia refuses it".to_owned()),
            Err(_) => Ok(()),
        };
    }
    let config = parsed.map_err(|error| format!("was refused: {error}"))?;
    for probe in case["result"].as_array().unwrap() {
        let id = probe["blobID"].as_str().unwrap();
        let class = probe["class"].as_str();
        if config.class_of(id) != class {
            return Err(format!("{id}: {:?}, Kopia {class:?}", config.class_of(id)));
        }
        let sent = config.attributes(&BlobId::new(id).unwrap(), 1).class;
        if sent.as_ref().map(|class| class.as_str()) != class {
            return Err(format!("{id}: the policy says {sent:?}, Kopia {class:?}"));
        }
    }
    let findings = config.findings();
    let (ours, expected) = (ours(&findings), expected(case));
    if ours != expected {
        return Err(format!("messages\n  are      {ours:?}\n  should be {expected:?}"));
    }
    let nowhere = findings.iter().find(|f| f.position.is_none() && f.code != "W-NO-EFFECT");
    nowhere.map_or(Ok(()), |finding| Err(format!("{} has no place", finding.code)))
}

#[test]
fn every_case_has_kopias_outcome_and_our_messages() {
    let cases = cases();
    let cases = cases["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 161);
    let with_input: Vec<_> = cases.iter().filter(|case| case.get("input").is_some()).collect();
    assert_eq!(with_input.len(), 158, "rows 14 to 16 are in tests/load.rs");
    let wrong: Vec<String> = with_input
        .iter()
        .filter_map(|case| check(case).err().map(|why| format!("case {}: {why}", case["n"])))
        .collect();
    assert!(wrong.is_empty(), "{} cases are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// What a rewrite must not change: the outcome for every ID, and the keys nobody knows.
#[test]
fn every_case_that_opens_means_the_same_after_a_rewrite() {
    let mut count = 0;
    for case in cases()["cases"].as_array().unwrap() {
        let Some(input) = case["input"].as_str() else { continue };
        let Ok(config) = StorageConfig::parse(&STANDARD.decode(input).unwrap()) else { continue };
        let text = config.to_bytes();
        let again = StorageConfig::parse(&text).unwrap();
        let pairs = |config: &StorageConfig| -> Vec<_> {
            let entries = config.entries().iter();
            entries.map(|e| (e.prefix().to_owned(), e.storage_class().to_owned())).collect()
        };
        assert_eq!(pairs(&again), pairs(&config), "case {}", case["n"]);
        assert_eq!(again.to_bytes(), text, "case {}: a second rewrite changes nothing", case["n"]);
        for probe in case["result"].as_array().unwrap() {
            let id = BlobId::new(probe["blobID"].as_str().unwrap()).unwrap();
            assert_eq!(again.attributes(&id, 1), config.attributes(&id, 1), "case {}", case["n"]);
        }
        count += 1;
    }
    assert!(count > 100, "only {count} cases open");
}

/// A second set of outcomes, made with Kopia's package, too.
#[test]
fn kopias_own_vectors_agree() {
    let vectors: Value =
        serde_json::from_slice(include_bytes!("../data/kopia-vectors.json")).unwrap();
    for case in vectors["cases"].as_array().unwrap() {
        let text = case["config"].as_str().unwrap();
        let parsed = StorageConfig::parse(text.as_bytes());
        let Some(classes) = case["classes"].as_object() else {
            assert!(case["error"].is_string() && parsed.is_err(), "{text}");
            continue;
        };
        let config = parsed.unwrap();
        for (id, class) in classes {
            assert_eq!(config.class_of(id).unwrap_or(""), class.as_str().unwrap(), "{text}: {id}");
        }
        // What Kopia itself would save is read to the same entries.
        let saved = StorageConfig::parse(case["saved"].as_str().unwrap().as_bytes()).unwrap();
        assert_eq!(saved.entries().len(), config.entries().len(), "{text}");
        for (ours, kopias) in config.entries().iter().zip(saved.entries()) {
            assert_eq!(ours.prefix(), kopias.prefix());
            assert_eq!(ours.storage_class(), kopias.storage_class());
        }
    }
}
