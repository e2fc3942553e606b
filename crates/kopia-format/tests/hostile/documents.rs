//! Real bytes for every parser: what Kopia wrote, and what Kopia doesn't show made by our writers.

use std::{collections::BTreeMap, sync::LazyLock};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use kopia_fixtures::{hex, spec_bytes, vectors};
use kopia_format::{
    Compressor, Index, IndirectObject, ItemCodec, MaintenanceSchedule, ManifestContent,
    PackBuilder, compress,
};
use serde_json::Value;

use super::{
    common,
    parsers::{self, CODEC, ECC, ECC_CODEC, IV, TAIL_AT},
};

/// What a fixture holds, opened.
#[derive(Debug, Default)]
pub struct Opened {
    pub format_blob: Vec<u8>,
    pub payload: Vec<u8>,
    pub blobcfg: Vec<u8>,
    pub indexes: Vec<Vec<u8>>,
    pub names: Vec<String>,
    /// Plain contents by prefix.
    pub contents: BTreeMap<u8, Vec<Vec<u8>>>,
}

pub static V1: LazyLock<Opened> = LazyLock::new(|| open("format-v1"));
pub static V3: LazyLock<Opened> = LazyLock::new(|| open("format-v3"));

fn open(name: &str) -> Opened {
    let repo = kopia_fixtures::repo(name);
    let blobs = common::blobs(&repo);
    let format_blob = blobs["kopia.repository"].clone();
    let opened = common::open(&format_blob, repo.password()).unwrap();
    let codec = ItemCodec::new(&opened.format).unwrap();
    let mut found = Opened {
        format_blob,
        payload: opened.format.to_payload().to_vec(),
        blobcfg: br#"{"retentionMode":"COMPLIANCE","retentionPeriod":86400000000000}"#.to_vec(),
        names: blobs.keys().cloned().collect(),
        ..Opened::default()
    };
    for (id, sealed) in &blobs {
        if !(id.starts_with("xn") || id.starts_with('n')) {
            continue;
        }
        let plain = codec.open_blob(id, sealed).unwrap();
        for entry in &Index::parse(&plain[..]).unwrap() {
            let end = (entry.offset + entry.packed_length) as usize;
            let Some(pack) = blobs.get(&*entry.pack) else { continue };
            if entry.original_length > 4096 {
                continue;
            }
            let stored = codec.open(entry.id.iv(), &pack[entry.offset as usize..end]).unwrap();
            let plain = match entry.compression {
                0 => stored,
                id => compress::decompress(Some(id), &stored, 1 << 20).unwrap(),
            };
            found.contents.entry(entry.id.prefix().unwrap_or(0)).or_default().push(plain);
        }
        found.indexes.push(plain);
    }
    found
}

impl Opened {
    fn contents(&self, prefix: u8) -> Vec<Vec<u8>> {
        self.contents.get(&prefix).cloned().unwrap_or_default()
    }

    pub fn directories(&self) -> Vec<Vec<u8>> {
        self.contents(b'k')
    }

    pub fn manifests(&self) -> Vec<Vec<u8>> {
        self.contents(b'm')
    }

    pub fn manifests_json(&self) -> Vec<Vec<u8>> {
        let contents = self.manifests();
        contents.iter().map(|content| ManifestContent::parse(content).unwrap().to_json()).collect()
    }

    /// The payloads of all manifests of a type.
    pub fn payloads(&self, kind: &str) -> Vec<Vec<u8>> {
        let contents = self.manifests();
        let entries =
            contents.iter().flat_map(|content| ManifestContent::parse(content).unwrap().entries);
        let right = entries.filter(|entry| entry.label("type") == kind);
        right.map(|entry| entry.data.get().as_bytes().to_vec()).collect()
    }
}

/// `object` with a long list of short values under a key that nobody knows: where unknown keys are
/// kept, that is what takes the most memory for its bytes.
pub fn with_long_list(object: &[u8]) -> Vec<u8> {
    let mut text = br#"{"x":["#.to_vec();
    text.extend(b"0,".repeat(300));
    text.extend(b"{},[],\"\"],");
    let start = object.iter().position(|&byte| byte == b'{').unwrap() + 1;
    text.extend_from_slice(&object[start..]);
    text
}

/// Texts of a vector file, one a row.
pub fn texts(file: &str, section: &str, key: &str) -> Vec<Vec<u8>> {
    let rows = vectors(file)[section].as_array().unwrap().clone();
    let good = rows.iter().filter(|row| row.get("error").is_none());
    good.map(|row| row[key].as_str().unwrap().as_bytes().to_vec()).collect()
}

pub fn base64(text: &[u8]) -> Vec<u8> {
    STANDARD.decode(text).unwrap()
}

/// What is kept of the indexes of both versions.
pub fn outlines() -> Vec<Vec<u8>> {
    let all = indexes(1).into_iter().chain(indexes(2));
    all.map(|bytes| Index::parse(bytes).unwrap().outline().to_bytes()).collect()
}

/// Indexes of a version: Kopia's vectors and those of the fixtures.
pub fn indexes(version: u8) -> Vec<Vec<u8>> {
    let file = vectors("index.json");
    let whole = file["cases"].as_array().unwrap().iter().filter(|case| case["bytes"].is_string());
    let cases = whole.map(|case| hex(&case["bytes"]));
    let all = cases.chain(V1.indexes.clone()).chain(V3.indexes.clone());
    all.filter(|index| index[0] == version && index.len() <= 4096).collect()
}

/// The compressed samples of Kopia whose compressor has this in its name.
pub fn compressed(family: &str) -> Vec<Vec<u8>> {
    let file = vectors("compression.json");
    let is_of = |case: &&Value| case["compressor"].as_str().unwrap().starts_with(family);
    let cases = file["cases"].as_array().unwrap().iter().filter(is_of);
    let samples = cases.map(|case| STANDARD.decode(case["compressed"].as_str().unwrap()).unwrap());
    let is_small = |sample: &Vec<u8>| sample.len() <= 2048 && parsers::compressed(sample);
    let mut samples: Vec<_> = samples.filter(is_small).collect();
    for name in compress::NAMES.iter().filter(|name| name.starts_with(family)) {
        let compressor = Compressor::by_name(name).unwrap().unwrap();
        samples.push(compressor.compress(&spec_bytes("text:3000")).unwrap());
    }
    samples
}

/// The end of a pack, from its local index on, which is where it begins in the whole pack.
pub fn pack_tail() -> Vec<u8> {
    let mut pack = PackBuilder::new([9; 32], None);
    pack.append(vec![1; 100]);
    let plain = indexes(2).into_iter().find(|index| index.len() < 1000).unwrap();
    let iv = CODEC.hasher().hash(&plain);
    let sealed = CODEC.seal(&iv, [8; 12], &plain);
    pack.finish(|padding| padding.fill(0), sealed, &iv).concat().split_off(TAIL_AT as usize)
}

pub fn sealed_item(length: usize) -> Vec<u8> {
    CODEC.seal(&IV, [8; 12], &spec_bytes(&format!("text:{length}")))
}

/// A sealed item with its name on a line before it.
pub fn sealed_blob() -> Vec<u8> {
    let (id, sealed) = CODEC.seal_blob("xn0_", "-s0123-c1", [8; 12], b"an index");
    [id.as_bytes(), b"\n", &sealed].concat()
}

pub fn corrected_item() -> Vec<u8> {
    ECC_CODEC.seal(&IV, [8; 12], b"an item that can be repaired")
}

/// With error correction: of the small layout, and of the big one with 128 shards and more.
pub fn corrected(length: usize) -> Vec<u8> {
    ECC.encode(&spec_bytes(&format!("ctr:ecc:{length}")))
}

pub fn indirect() -> Vec<Vec<u8>> {
    let file = vectors("indirect.json");
    let heads = file["cases"].as_array().unwrap().iter().map(|case| case["head"].as_str().unwrap());
    let whole = |head: &&str| IndirectObject::parse(head.as_bytes()).is_ok();
    heads.filter(whole).map(|head| head.as_bytes().to_vec()).collect()
}

pub fn schedule() -> MaintenanceSchedule {
    let run = r#"{"start":"2026-01-01T00:00:00Z","end":"2026-01-01T00:00:01.5Z","success":true,
        "extra":[{"kind":"cleanupLogsStats","data":{"toDeleteBlobCount":3}}]}"#;
    let text =
        format!(r#"{{"nextFullMaintenance":"2026-01-01T00:00:00Z","runs":{{"a":[{run}]}}}}"#);
    MaintenanceSchedule::parse(text.as_bytes()).unwrap()
}
