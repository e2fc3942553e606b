//! The parser of `.storageconfig` takes 100,000 mutations of real files, as every parser does.

#![allow(clippy::unwrap_used)]

use base64::{Engine, engine::general_purpose::STANDARD};
use kopia_fixtures::hostile::{Counting, Target, deep_json, on_small_stack};
use serde_json::Value;
use storageconfig::StorageConfig;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn read(bytes: &[u8]) -> bool {
    let config = match StorageConfig::parse(bytes) {
        Ok(config) => config,
        Err(error) => return error.to_string().is_empty(),
    };
    config.findings();
    assert!(!config.explain_kinds().is_empty());
    config.explain("p0123");
    let written = config.to_bytes();
    let again = StorageConfig::parse(&written).expect("we read what we write");
    assert_eq!(again.to_bytes(), written);
    true
}

/// The files of both sets of cases that Kopia reads.
fn documents() -> Vec<Vec<u8>> {
    let cases: Value =
        serde_json::from_slice(include_bytes!("../storageconfig-cases.json")).unwrap();
    let inputs = cases["cases"].as_array().unwrap().iter();
    let inputs = inputs.filter(|case| case["error"] != true);
    let inputs = inputs.filter_map(|case| case["input"].as_str());
    let inputs = inputs.map(|text| STANDARD.decode(text).unwrap());
    let vectors: Value = serde_json::from_slice(include_bytes!("data/kopia-vectors.json")).unwrap();
    let configs = vectors["cases"].as_array().unwrap().iter();
    let configs = configs.filter_map(|case| case["config"].as_str());
    let all = inputs.chain(configs.map(|text| text.as_bytes().to_vec()));
    all.filter(|text| text.len() < 500 && StorageConfig::parse(text).is_ok()).collect()
}

#[test]
fn the_parser_takes_any_bytes() {
    // An entry keeps its text, where it stands and its attributes; findings explain each.
    let outcome = Target::new(".storageconfig", read, documents(), (40, 64 << 10)).attack();
    assert!(outcome.read > 10_000);
}

#[test]
fn nesting_overflows_no_stack() {
    // Go reads 10,000 levels, and so does this; the texts are deeper.
    assert_eq!(on_small_stack(read, deep_json()), 0);
    let deep = |levels: usize| format!("{{\"x\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
    assert_eq!(on_small_stack(read, vec![deep(9_999).into_bytes()]), 1);
}
