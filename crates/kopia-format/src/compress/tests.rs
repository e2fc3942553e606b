//! Against streams that Kopia wrote (`vectors/compression.json`), damaged ones, and our own.

use base64::{Engine, prelude::BASE64_STANDARD};
use kopia_fixtures::{hex, spec_bytes, vectors};
use proptest::prelude::*;

use super::*;

fn every_compressor() -> impl Iterator<Item = Compressor> {
    NAMES.iter().map(|name| Compressor::by_name(name).unwrap().unwrap())
}

/// Kopia's samples: the compressor, the framed bytes, what they hold.
fn samples() -> Vec<(Compressor, Vec<u8>, Vec<u8>)> {
    let all = vectors("compression.json");
    let cases = all["cases"].as_array().unwrap();
    let read = |case: &serde_json::Value| {
        let framed = BASE64_STANDARD.decode(case["compressed"].as_str().unwrap()).unwrap();
        let plain = spec_bytes(case["input"].as_str().unwrap());
        let name = case["compressor"].as_str().unwrap();
        (Compressor::by_name(name).unwrap().unwrap(), framed, plain)
    };
    // Those of lz4, if there are any, have no reader.
    cases.iter().filter(|case| case["compressor"] != "lz4").map(read).collect()
}

#[test]
fn the_compressors_are_kopias() {
    let all = vectors("compression.json");
    let rows = all["compressors"].as_array().unwrap();
    assert_eq!(rows.len(), NAMES.len() + 1);
    for row in rows {
        let name = row["name"].as_str().unwrap();
        let id = u32::from_be_bytes(hex(&row["headerID"]).try_into().unwrap());
        if row["supported"] == false {
            for error in
                [Compressor::by_name(name).unwrap_err(), Compressor::by_id(id).unwrap_err()]
            {
                let expected = "unsupported compressor: lz4 (Kopia 0.22.3 or older reads it)";
                assert_eq!(error.to_string(), expected);
            }
            continue;
        }
        let compressor = Compressor::by_name(name).unwrap().unwrap();
        assert_eq!((compressor.name(), compressor.id()), (name, id));
        assert_eq!(Compressor::by_id(id).unwrap(), compressor);
        assert_eq!(row["deprecated"], compressor.is_deprecated(), "{name}");
        assert!(NAMES.contains(&name));
    }
}

#[test]
fn none_and_the_empty_name_mean_no_compression() {
    assert_eq!(Compressor::by_name("none").unwrap(), None);
    assert_eq!(Compressor::by_name("").unwrap(), None);
    assert!(Compressor::by_name("brotli").is_err());
    assert!(Compressor::by_id(0x1104).is_err());
}

#[test]
fn every_sample_of_kopia_is_read() {
    let samples = samples();
    assert!(samples.len() >= NAMES.len() * 7);
    for (compressor, framed, plain) in samples {
        let exact = decompress(Some(compressor.id()), &framed, plain.len());
        assert_eq!(exact.as_ref(), Ok(&plain), "{compressor}, {} bytes", plain.len());
        let roomy = decompress(None, &framed, 1 << 30).unwrap();
        assert!(roomy == plain && roomy.capacity() <= 2 * plain.len() + 64, "{compressor}");
    }
}

#[test]
fn more_than_the_caller_allows_is_refused() {
    for (compressor, framed, plain) in samples() {
        let Some(too_few) = plain.len().checked_sub(1) else { continue };
        for length_max in [0, too_few / 2, too_few] {
            let error = decompress(None, &framed, length_max).unwrap_err().to_string();
            let expected = format!("more than the {length_max} bytes");
            assert!(error.contains(&expected), "{compressor}: {error}");
        }
    }
}

#[test]
fn every_malformed_stream_is_an_error() {
    let all = vectors("compression.json");
    let cases = all["bad"].as_array().unwrap();
    assert_eq!(cases.len(), 9);
    for case in cases {
        let result = decompress(None, &hex(&case["compressed"]), 1 << 20);
        assert!(result.is_err(), "{}: {result:?}", case["what"]);
    }
}

#[test]
fn a_header_other_than_the_index_says_is_an_error() {
    let zstd = Compressor::by_name("zstd").unwrap().unwrap();
    let framed = zstd.compress(b"hello").unwrap();
    let error = decompress(Some(0x1101), &framed, 5).unwrap_err();
    let expected = "malformed compressed content: the header is 0x1100, expected 0x1101";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_stream_cut_short_anywhere_is_an_error() {
    let plain = spec_bytes("text:5000");
    for compressor in every_compressor() {
        let framed = compressor.compress(&plain).unwrap();
        for len in HEADER_LEN..framed.len() {
            let result = decompress(None, &framed[..len], plain.len());
            // Streams of zstd and S2 may end between frames and chunks; then bytes are missing.
            let missing = result.as_ref().is_ok_and(|found| found.len() < plain.len());
            assert!(result.is_err() || missing, "{compressor} cut at {len} of {}", framed.len());
        }
    }
}

#[test]
fn what_was_written_is_read_back() {
    let inputs = ["ctr:w:0", "ctr:w:1", "ctr:w:3000000", "text:3000000", "zeros:5000000"];
    for compressor in every_compressor() {
        for spec in inputs {
            let plain = spec_bytes(spec);
            let framed = compressor.compress(&plain).unwrap();
            assert_eq!(header_id(&framed).unwrap(), compressor.id());
            let found = decompress(Some(compressor.id()), &framed, plain.len()).unwrap();
            assert!(found == plain, "{compressor} on {spec}");
            let is_small = framed.len() < plain.len() / 2;
            assert!(is_small || spec.starts_with("ctr"), "{compressor} on {spec}");
        }
    }
}

#[test]
fn gzip_and_zstd_streams_of_several_parts_are_read_whole() {
    for name in ["pgzip", "zstd-fastest"] {
        let compressor = Compressor::by_name(name).unwrap().unwrap();
        let mut framed = compressor.compress(b"one, ").unwrap();
        framed.extend_from_slice(&compressor.compress(b"two").unwrap()[HEADER_LEN..]);
        assert_eq!(decompress(None, &framed, 8).unwrap(), b"one, two", "{name}");
        assert!(decompress(None, &framed, 7).is_err(), "{name}");
    }
}

#[test]
fn a_zstd_frame_without_its_length_is_read() {
    use std::io::Write;
    let plain = spec_bytes("zeros:40000000");
    // As Kopia writes it: the length is not known when the frame begins.
    let mut encoder = ::zstd::Encoder::new(0x1100_u32.to_be_bytes().to_vec(), 1).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(&plain).unwrap();
    let framed = encoder.finish().unwrap();
    assert!(decompress(None, &framed, plain.len()).unwrap() == plain);
    assert!(decompress(None, &framed, usize::MAX).unwrap() == plain);
    assert!(decompress(None, &framed, plain.len() - 1).is_err());
}

#[test]
fn our_zstd_frames_carry_a_checksum() {
    let zstd = Compressor::by_name("zstd-fastest").unwrap().unwrap();
    let framed = zstd.compress(&spec_bytes("text:10000")).unwrap();
    let descriptor = framed[HEADER_LEN + 4];
    assert_eq!(descriptor & 0x04, 0x04);
}

#[test]
fn snappy_streams_and_foreign_chunks_are_read() {
    let mut framed = 0x1200_u32.to_be_bytes().to_vec();
    framed.extend_from_slice(b"\xff\x06\x00\x00sNaPpY");
    // Padding, a seek index, and a chunk type kept for later.
    framed.extend_from_slice(b"\xfe\x02\x00\x00pp\x99\x01\x00\x00i\x80\x00\x00\x00");
    let block = b"hello";
    framed.extend_from_slice(b"\x01\x09\x00\x00");
    framed.extend_from_slice(&crc32c::masked(block).to_le_bytes());
    framed.extend_from_slice(block);
    assert_eq!(decompress(None, &framed, 5).unwrap(), b"hello");
    framed.extend_from_slice(b"\x02\x00\x00\x00");
    assert!(decompress(None, &framed, 5).is_err());
}

#[test]
fn snappy_blocks_above_64_kib_are_refused() {
    let s2 = Compressor::by_name("s2-default").unwrap().unwrap();
    let mut framed = s2.compress(&[7; 100_000]).unwrap();
    framed[8..14].copy_from_slice(b"sNaPpY");
    let error = decompress(None, &framed, 100_000).unwrap_err().to_string();
    assert!(error.contains("65536 are allowed"), "{error}");
}

fn any_compressor() -> impl Strategy<Value = Compressor> {
    proptest::sample::select(NAMES).prop_map(|name| Compressor::by_name(name).unwrap().unwrap())
}

/// Bytes with something to find in them.
fn compressible() -> impl Strategy<Value = Vec<u8>> {
    let word = proptest::collection::vec(any::<u8>(), 1..40);
    (proptest::collection::vec(word, 1..12), proptest::collection::vec(0..12_usize, 0..400))
        .prop_map(|(words, order)| {
            order.iter().flat_map(|&n| words[n % words.len()].clone()).collect()
        })
}

proptest! {
    #[test]
    fn any_bytes_come_back(plain in compressible(), compressor in any_compressor()) {
        let framed = compressor.compress(&plain).unwrap();
        prop_assert_eq!(decompress(None, &framed, plain.len()).unwrap(), plain);
    }

    #[test]
    fn damage_never_panics(
        plain in compressible(),
        compressor in any_compressor(),
        changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..6),
    ) {
        let mut framed = compressor.compress(&plain).unwrap();
        for (at, byte) in changes {
            let at = HEADER_LEN + at % (framed.len() - HEADER_LEN).max(1);
            if at < framed.len() {
                framed[at] ^= byte;
            }
        }
        if let Ok(found) = decompress(Some(compressor.id()), &framed, 1 << 20) {
            prop_assert!(found.len() <= 1 << 20);
        }
    }

    #[test]
    fn garbage_never_panics(id in 0x1000_u32..0x1504, stream: Vec<u8>) {
        let framed = [&id.to_be_bytes()[..], &stream].concat();
        if let Ok(found) = decompress(None, &framed, 4_096) {
            prop_assert!(found.len() <= 4_096);
        }
    }
}
