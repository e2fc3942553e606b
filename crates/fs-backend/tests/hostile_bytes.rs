//! The parser of `.shards` takes 100,000 mutations of real files, as every parser does.

#![allow(clippy::unwrap_used)]

use blob_core::BlobId;
use fs_backend::Shards;
use kopia_fixtures::{
    hostile::{Counting, Target, deep_json, on_small_stack},
    vectors,
};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn read(bytes: &[u8]) -> bool {
    let Ok(shards) = Shards::parse(bytes) else { return false };
    for id in ["p0123456789abcdef0123456789abcdef-s01", "kopia.repository", "é", "..a..b"] {
        let id: BlobId = id.parse().unwrap();
        if let Ok(path) = shards.path_of(&id) {
            let leaves = path.iter().any(|part| part == "." || part == "..");
            assert!(path.is_relative() && !leaves, "{path:?} leaves the folder");
        }
    }
    let again = Shards::parse(&shards.to_bytes());
    assert_eq!(again, Ok(shards));
    true
}

#[test]
fn the_parser_takes_any_bytes() {
    let file = vectors("shards.json");
    let cases = file["cases"].as_array().unwrap().iter();
    let texts = cases.map(|case| case["shards"].as_str().unwrap().as_bytes().to_vec());
    let mut documents: Vec<_> = texts.filter(|text| read(text)).collect();
    documents.push(format!(r#"{{"x":[{}0]}}"#, "0,".repeat(300)).into_bytes());
    // A value of JSON has 72 bytes, a vector of them twice that while it grows, for two bytes.
    Target::new(".shards", read, documents, (160, 4096)).attack();
}

#[test]
fn nesting_overflows_no_stack() {
    assert_eq!(on_small_stack(read, deep_json()), 0);
}
