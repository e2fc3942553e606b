//! How fast the work on each byte is on one core, each beside the limit it can't pass.
//!
//! `cargo bench -p kopia-format --bench micro`. Each row is one job and the fastest there could be:
//! the bare primitive on a whole buffer, or the memory itself. Without `--bench`, as tests run it,
//! it ends at once.

#![allow(clippy::unwrap_used, reason = "a broken benchmark may end loudly")]

mod bytes;
mod timing;

use std::hint::black_box;

use kopia_format::{
    Cipher, Compressor, ContentHasher, ContentId, DirEntry, Directory, EntryKind, Index,
    IndexBuilder, IndexEntry, ObjectId, SplitterKind,
};
use timing::rate;

/// A content as large as those of the default splitter.
const CONTENT: usize = 4 << 20;
/// Larger than the caches of most processors.
const LARGE: usize = 256 << 20;

fn main() {
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let memory = memory();
    let (noise, prose) = (bytes::noise(CONTENT), bytes::prose(CONTENT));
    println!("{}", timing::HEAD);
    println!("{}", timing::limit("memory", "copy, larger than the caches", memory));
    splitters(&noise, memory);
    hashes(&noise);
    compressors(&prose);
    ciphers(&noise);
    index();
    directory();
}

/// Bytes each second that are read and written elsewhere.
fn memory() -> f64 {
    let from = vec![1_u8; LARGE];
    let mut to = vec![0_u8; LARGE];
    rate(LARGE, || black_box(&mut to).copy_from_slice(black_box(&from)))
}

fn splitters(content: &[u8], memory: f64) {
    // FIXED looks at no byte: there is nothing to measure.
    for name in ["DYNAMIC-4M-BUZHASH", "DYNAMIC-4M-RABINKARP"] {
        let kind = SplitterKind::parse(name).unwrap();
        let mut splitter = kind.new_splitter();
        let found = rate(content.len(), || {
            let mut rest = black_box(content);
            while let Some(cut) = splitter.next_cut(rest) {
                rest = &rest[cut..];
            }
        });
        println!("{}", timing::bytes("split", name, found, "memory", memory));
    }
}

fn hashes(content: &[u8]) {
    let key = [7; 32];
    let blake2b = rate(content.len(), || {
        let hash = blake2b_simd::Params::new().hash_length(32).key(&key).hash(black_box(content));
        black_box(hash);
    });
    let blake3 = rate(content.len(), || {
        black_box(blake3::keyed_hash(&key, black_box(content)));
    });
    let sha256 = rate(content.len(), || {
        black_box(ring::digest::digest(&ring::digest::SHA256, black_box(content)));
    });
    let blake2s = rate(content.len(), || {
        black_box(blake2s_simd::Params::new().key(&key).hash(black_box(content)));
    });
    for (name, limit, of) in [
        ("BLAKE2B-256-128", "blake2b_simd", blake2b),
        ("BLAKE3-256-128", "blake3", blake3),
        ("HMAC-SHA256-128", "ring SHA-256", sha256),
        ("BLAKE2S-128", "blake2s_simd", blake2s),
    ] {
        let hasher = ContentHasher::new(name, &key).unwrap();
        let found = rate(content.len(), || {
            black_box(hasher.hash(black_box(content)));
        });
        println!("{}", timing::bytes("hash", name, found, limit, of));
    }
}

fn compressors(content: &[u8]) {
    let zstd = |level| {
        let mut context = zstd::bulk::Compressor::new(level).unwrap();
        let mut out = Vec::with_capacity(zstd::zstd_safe::compress_bound(content.len()));
        rate(content.len(), || {
            out.clear();
            context.compress_to_buffer(black_box(content), &mut out).unwrap();
        })
    };
    let (fastest, default) = (zstd(1), zstd(3));
    let s2 = rate(content.len(), || {
        black_box(minlz::s2::Encoder::new().encode(black_box(content)));
    });
    let gzip = rate(content.len(), || {
        use std::io::Write as _;
        let level = flate2::Compression::new(1);
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), level);
        encoder.write_all(black_box(content)).unwrap();
        black_box(encoder.finish().unwrap());
    });
    for (name, limit, of) in [
        ("zstd-fastest", "zstd 1, context kept", fastest),
        ("zstd", "zstd 3, context kept", default),
        ("s2-default", "minlz, one block", s2),
        ("gzip-best-speed", "deflate 1", gzip),
    ] {
        let compressor = Compressor::by_name(name).unwrap().unwrap();
        let found = rate(content.len(), || {
            black_box(compressor.compress(black_box(content)).unwrap());
        });
        println!("{}", timing::bytes("compress", name, found, limit, of));
    }
}

fn ciphers(content: &[u8]) {
    use ring::aead;
    for (name, algorithm) in [
        ("AES256-GCM-HMAC-SHA256", &aead::AES_256_GCM),
        ("CHACHA20-POLY1305-HMAC-SHA256", &aead::CHACHA20_POLY1305),
    ] {
        let key = aead::LessSafeKey::new(aead::UnboundKey::new(algorithm, &[3; 32]).unwrap());
        let mut buffer = content.to_vec();
        let limit = rate(content.len(), || {
            let nonce = aead::Nonce::assume_unique_for_key([5; 12]);
            let aad = aead::Aad::from([0; 16]);
            let tag = key.seal_in_place_separate_tag(nonce, aad, black_box(&mut buffer));
            let _ = black_box(tag.unwrap());
        });
        let cipher = Cipher::new(name, &[3; 32]).unwrap();
        let sealed = rate(content.len(), || {
            black_box(cipher.seal(&[9; 16], [5; 12], black_box(content)));
        });
        println!("{}", timing::bytes("seal", name, sealed, "ring, in place", limit));
        let stored = cipher.seal(&[9; 16], [5; 12], content);
        let opened = rate(content.len(), || {
            black_box(cipher.open(&[9; 16], black_box(&stored)).unwrap());
        });
        println!("{}", timing::bytes("open", name, opened, "ring, in place", limit));
    }
}

/// Look-ups in one index of a million contents; the limit is a hash map of the same.
fn index() {
    const ENTRIES: u32 = 1_000_000;
    let id = |n: u32| ContentId::new(None, blake3::hash(&n.to_le_bytes()).as_bytes()).unwrap();
    let ids: Vec<_> = (0..ENTRIES).map(id).collect();
    let mut builder = IndexBuilder::new();
    for (n, id) in ids.iter().enumerate() {
        builder.add(IndexEntry {
            id: *id,
            pack: format!("p{:032x}-s1", n / 500).into(),
            offset: n as u32 % 500 * 40_000,
            packed_length: 40_000,
            original_length: 40_000,
            timestamp: 1_800_000_000,
            deleted: false,
            format_version: 3,
            compression: 0,
            encryption_key_id: 0,
        });
    }
    let index = Index::parse(builder.build(2, None).unwrap()).unwrap();
    drop(builder);
    // In another order than that of the index.
    let hits: Vec<_> = ids.iter().step_by(97).copied().collect();
    let misses: Vec<_> = (ENTRIES..ENTRIES + 10_000).map(id).collect();
    let map: std::collections::HashMap<_, _> = ids.iter().map(|id| (*id, 0_u32)).collect();
    for (name, wanted) in [("hit", &hits), ("miss", &misses)] {
        let limit = rate(wanted.len(), || {
            wanted.iter().for_each(|id| {
                black_box(map.get(id));
            });
        });
        let found = rate(wanted.len(), || {
            wanted.iter().for_each(|id| {
                black_box(index.find(id).unwrap());
            });
        });
        println!("{}", timing::calls("find", name, found, "hash map", limit));
    }
}

/// A directory as bytes and back; the limit is what the JSON library does with the same text.
fn directory() {
    let entry = |n: u32| DirEntry {
        name: format!("some file {n:05}.txt").into_bytes(),
        kind: EntryKind::File,
        mode: 0o644,
        size: u64::from(n) * 1000,
        mtime: 1_700_000_000_123_456_789 + i64::from(n),
        uid: 1000,
        gid: 1000,
        object: ObjectId::direct(
            ContentId::new(None, &blake3::hash(&n.to_le_bytes()).as_bytes()[..16]).unwrap(),
        ),
        summary: None,
    };
    let directory = Directory { entries: (0..10_000).map(entry).collect(), ..Directory::default() };
    let bytes = directory.to_bytes();
    let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    let limit = rate(bytes.len(), || {
        black_box(serde_json::to_vec(black_box(&value)).unwrap());
    });
    let written = rate(bytes.len(), || {
        black_box(black_box(&directory).to_bytes());
    });
    println!("{}", timing::bytes("directory", "to bytes", written, "serde_json, a value", limit));
    let limit = rate(bytes.len(), || {
        let skipped: serde::de::IgnoredAny = serde_json::from_slice(black_box(&bytes)).unwrap();
        black_box(skipped);
    });
    let parsed = rate(bytes.len(), || {
        black_box(Directory::parse(black_box(&bytes)).unwrap());
    });
    println!("{}", timing::bytes("directory", "parse", parsed, "serde_json, skipped", limit));
}
