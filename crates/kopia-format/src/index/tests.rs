//! Against indexes that Kopia wrote (`vectors/index.json`), damaged ones, and a simple model of
//! merging.

use std::collections::BTreeMap;

use kopia_fixtures::{hex, spec_bytes, vectors};
use proptest::prelude::*;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::*;

fn entry(json: &Value) -> IndexEntry {
    let number = |key: &str| json[key].as_u64().unwrap_or(0);
    IndexEntry {
        id: json["contentID"].as_str().unwrap().parse().unwrap(),
        pack: json["packFile"].as_str().unwrap_or("").into(),
        offset: number("packOffset") as u32,
        packed_length: number("length") as u32,
        original_length: number("originalLength") as u32,
        timestamp: json["time"].as_i64().unwrap(),
        deleted: json["deleted"].as_bool().unwrap(),
        format_version: number("formatVersion") as u8,
        compression: number("compression") as u32,
        encryption_key_id: number("encryptionKeyID") as u8,
    }
}

fn entries(json: &Value) -> Vec<IndexEntry> {
    json.as_array().into_iter().flatten().map(entry).collect()
}

fn ids(json: &Value) -> Vec<String> {
    let ids = json.as_array().into_iter().flatten();
    ids.map(|id| id.as_str().unwrap().to_owned()).collect()
}

fn section(name: &str) -> Vec<Value> {
    vectors("index.json")[name].as_array().unwrap().clone()
}

/// The cases with their names and versions.
fn cases() -> Vec<(String, Value)> {
    let named = |case: Value| (format!("{} v{}", case["name"], case["version"]), case);
    section("cases").into_iter().map(named).collect()
}

#[test]
fn entries_are_written_byte_for_byte_as_kopia_does() {
    let cases = cases();
    assert_eq!(cases.len(), 12);
    for (name, case) in cases {
        let builder: IndexBuilder = entries(&case["entries"]).into_iter().rev().collect();
        let built = builder.build(case["version"].as_u64().unwrap() as u32, None);
        if case["error"].is_string() {
            assert!(built.is_err(), "{name}");
            continue;
        }
        assert_eq!(hex::encode(built.unwrap()), case["bytes"].as_str().unwrap(), "{name}");
    }
}

#[test]
fn kopias_indexes_are_read_whole_in_order_and_backwards() {
    for (name, case) in cases().iter().filter(|(_, case)| case["bytes"].is_string()) {
        let mut bytes = hex(&case["bytes"]);
        // As in a pack, with the random suffix.
        bytes.extend_from_slice(&[0xa5; SUFFIX_LEN]);
        let index = Index::parse(bytes).unwrap();
        let expected = entries(&case["read"]);
        assert_eq!(case["version"], index.version());
        assert_eq!(case["approximateCount"], index.len(), "{name}");
        assert_eq!(index.iter().collect::<Vec<_>>(), expected, "{name}");
        assert!(index.iter().rev().eq(expected.iter().rev().cloned()), "{name}");
        assert_eq!(index.entry(expected.len()), None, "{name}");
        for (n, entry) in expected.iter().enumerate() {
            assert_eq!(index.entry(n).as_ref(), Some(entry), "{name}");
            assert_eq!(index.id(n), Some(entry.id), "{name}");
            assert_eq!(index.find(&entry.id).unwrap().as_ref(), Some(entry), "{name}");
            assert!(index.packs().any(|pack| pack == entry.pack), "{name}");
        }
    }
}

#[test]
fn lookups_answer_as_kopias() {
    let mut refused = 0;
    for (name, case) in cases().iter().filter(|(_, case)| case["bytes"].is_string()) {
        let index = Index::parse(hex(&case["bytes"])).unwrap();
        for lookup in case["lookups"].as_array().unwrap() {
            let id = lookup["id"].as_str().unwrap().parse().unwrap();
            let found = index.find(&id);
            if lookup["error"].is_string() {
                assert!(found.is_err(), "{name}, {id}");
                refused += 1;
            } else {
                let expected = (lookup["found"] == true).then(|| entry(&lookup["info"]));
                assert_eq!(found, Ok(expected), "{name}, {id}");
            }
        }
    }
    assert!(refused > 0);
}

#[test]
fn ranges_give_the_ids_that_kopia_gives() {
    for (name, case) in cases().iter().filter(|(_, case)| case["bytes"].is_string()) {
        let index = Index::parse(hex(&case["bytes"])).unwrap();
        for range in case["ranges"].as_array().unwrap() {
            let (start, end) = (range["start"].as_str().unwrap(), range["end"].as_str().unwrap());
            let asked = IdRange::between(start, end);
            let found: Vec<_> = index.range(&asked).map(|entry| entry.id.to_string()).collect();
            assert_eq!(found, ids(&range["ids"]), "{name}, {start}..{end}");
            let contained = index.iter().filter(|entry| asked.contains(&entry.id));
            assert_eq!(contained.count(), found.len(), "{name}, {start}..{end}");
        }
    }
}

#[test]
fn named_ranges_and_prefixes_agree() {
    let cases = cases();
    let (_, case) = cases.iter().find(|(name, _)| name.contains("40 entries")).unwrap();
    let index = Index::parse(hex(&case["bytes"])).unwrap();
    let ids = |range: &IdRange| index.range(range).map(|entry| entry.id).collect::<Vec<_>>();
    let with = |prefix| index.with_prefix(prefix).map(|entry| entry.id).collect::<Vec<_>>();
    assert_eq!(ids(&IdRange::all()).len(), 40);
    assert_eq!(ids(&IdRange::unprefixed()), with(None));
    assert_eq!(ids(&IdRange::prefixed()), ids(&IdRange::between("g", "{")));
    assert_eq!(ids(&IdRange::starting_with("k")), with(Some(b'k')));
    assert_eq!(ids(&IdRange::starting_with("kb")).len(), 2);
    assert_eq!(ids(&IdRange::starting_with("kb9")).len(), 1);
    assert_eq!(ids(&IdRange::between("m", "k")), []);
    assert_eq!(with(Some(b'y')), []);
}

#[test]
fn more_than_65536_packs_are_numbered_with_three_bytes() {
    let case = &section("big")[0];
    let content = |n: u32| IndexEntry {
        id: ContentId::new(None, &spec_bytes(&format!("ctr:ix-{n}:16"))).unwrap(),
        pack: format!("p{n}").into(),
        offset: n,
        packed_length: n + 28,
        original_length: n,
        timestamp: 1_700_000_000 + i64::from(n),
        deleted: false,
        format_version: 3,
        compression: 0,
        encryption_key_id: 0,
    };
    let builder: IndexBuilder = (0..66_000).map(content).collect();
    let bytes = builder.build(2, None).unwrap();
    assert_eq!(bytes[..17], hex(&case["header"]));
    assert_eq!(case["length"], bytes.len());
    assert_eq!(Sha256::digest(&bytes)[..], hex(&case["sha256"]));
    let index = Index::parse(&bytes[..]).unwrap();
    for n in (0..66_000).step_by(101) {
        let expected = content(n);
        assert_eq!(index.find(&expected.id).unwrap(), Some(expected));
    }
    let absent = ContentId::new(None, &[0x77; 16]).unwrap();
    assert_eq!(index.find(&absent).unwrap(), None);
}

#[test]
fn conflicts_are_decided_as_in_kopia_in_any_order() {
    let cases = section("conflicts");
    assert_eq!(cases.len(), 9);
    for case in cases {
        let (first, second) = (entry(&case["first"]), entry(&case["second"]));
        let winner = entry(&case["winner"]);
        for (a, b) in [(&first, &second), (&second, &first)] {
            let builder: IndexBuilder = [a.clone(), b.clone()].into_iter().collect();
            assert_eq!(builder.get(&winner.id), Some(&winner));
            let merged = merge([[a.clone()], [b.clone()]], None).collect::<Vec<_>>();
            assert_eq!(merged, std::slice::from_ref(&winner));
        }
    }
}

#[test]
fn shards_are_kopias() {
    let shard_cases = section("shards");
    assert_eq!(shard_cases.len(), 4);
    for case in shard_cases {
        let cases = cases();
        let set = cases.iter().find(|(_, other)| other["name"] == case["set"]).unwrap();
        let builder: IndexBuilder = entries(&set.1["entries"]).into_iter().collect();
        let len_max = case["maxShardSize"].as_u64().unwrap() as usize;
        let shards = builder.build_shards(2, len_max, || None).unwrap();
        let found: Vec<Vec<String>> = shards
            .iter()
            .map(|bytes| Index::parse(bytes).unwrap().iter().map(|e| e.id.to_string()).collect())
            .collect();
        let expected: Vec<_> = case["shards"].as_array().unwrap().iter().map(ids).collect();
        assert_eq!(found, expected, "{len_max}");
    }
}

#[test]
fn no_entries_make_no_shards() {
    let builder = IndexBuilder::new();
    assert_eq!(builder.build_shards(2, SHARD_LEN_MAX, || None).unwrap(), Vec::<Vec<u8>>::new());
    assert!(builder.build(2, None).is_err());
    assert!(builder.build(3, None).is_err());
}

#[test]
fn entries_that_come_in_order_are_encoded_as_the_builder_does() {
    for version in [1, 2] {
        // Without compression, which the first version can't name, and with ties of packs.
        let entries: Vec<_> = (0..500).map(sample).collect();
        let entries = entries.into_iter().map(|e| IndexEntry { compression: 0, ..e });
        let builder: IndexBuilder = entries.collect();
        for suffix in [None, Some([9; SUFFIX_LEN])] {
            let streamed = encode_sorted(version, || builder.iter(), suffix).unwrap();
            assert_eq!(streamed, builder.build(version, suffix).unwrap(), "version {version}");
            let owned = || builder.iter().cloned().collect::<Vec<_>>().into_iter();
            assert_eq!(encode_sorted(version, owned, suffix).unwrap(), streamed);
        }
        let index = Index::parse(builder.build(version, None).unwrap()).unwrap();
        let read: Vec<_> = index.iter().map(|entry| entry.id).collect();
        assert_eq!(read, builder.iter().map(|entry| entry.id).collect::<Vec<_>>());
    }
}

#[test]
fn entries_out_of_order_and_twice_are_refused() {
    let builder: IndexBuilder = (0..3).map(sample).collect();
    let in_order: Vec<IndexEntry> = builder.iter().cloned().collect();
    for version in [1, 2] {
        let all = in_order.iter().map(|e| IndexEntry { compression: 0, ..e.clone() });
        let all: Vec<_> = all.collect();
        assert!(encode_sorted(version, || all.iter(), None).is_ok());
        assert!(encode_sorted(version, || all.iter().rev(), None).is_err(), "backwards");
        let twice = || all.iter().chain(all.last());
        assert!(encode_sorted(version, twice, None).is_err(), "the last one twice");
    }
    assert!(encode_sorted(3, || in_order.iter(), None).is_err(), "there is no version 3");
}

#[test]
fn the_suffix_is_appended_and_ignored() {
    let builder: IndexBuilder = [sample(7)].into_iter().collect();
    let (plain, with) = (builder.build(2, None).unwrap(), builder.build(2, Some([9; 32])).unwrap());
    assert_eq!(with[..plain.len()], plain);
    assert_eq!(with[plain.len()..], [9; 32]);
    assert!(Index::parse(&with).unwrap().iter().eq([sample(7)]));
    let mut n = 0;
    let shards = builder.build_shards(1, 10, || {
        n += 1;
        Some([n; 32])
    });
    assert!(shards.unwrap()[0].ends_with(&[1; 32]));
}

#[test]
fn malformed_indexes_are_errors() {
    let cases = section("bad");
    assert_eq!(cases.len(), 7);
    for case in cases {
        let parsed = Index::parse(hex(&case["bytes"]));
        assert!(parsed.is_err(), "{}", case["what"]);
    }
}

#[test]
fn an_index_cut_short_anywhere_is_an_error_and_damage_never_panics() {
    for (name, case) in cases().iter().filter(|(_, case)| case["bytes"].is_string()) {
        let bytes = hex(&case["bytes"]);
        // Version 1 gives up on names beyond the end only, as Kopia does.
        let names_at = if case["version"] == 1 {
            let stride = usize::from(bytes[1]) + 20;
            8 + stride * case["approximateCount"].as_u64().unwrap() as usize
        } else {
            bytes.len()
        };
        for len in 0..bytes.len() {
            let parsed = Index::parse(&bytes[..len]);
            assert_eq!(parsed.is_err(), len < names_at, "{name} cut at {len}");
        }
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x81;
            if let Ok(index) = Index::parse(&damaged[..]) {
                assert_eq!(index.iter().count(), index.len(), "{name}, byte {at}");
                if let Some(first) = index.id(0) {
                    assert!(index.find(&first).unwrap().is_some(), "{name}, byte {at}");
                }
            }
        }
    }
}

#[test]
fn numbers_that_point_nowhere_spoil_one_entry() {
    // Two formats, so that the value has a format number.
    let builder: IndexBuilder =
        [sample(1), IndexEntry { format_version: 2, ..sample(2) }].into_iter().collect();
    let mut bytes = builder.build(2, None).unwrap();
    let value_at = 17 + 17;
    bytes[value_at + 14..value_at + 17].copy_from_slice(&[0xff, 0xff, 0xfe]);
    let index = Index::parse(bytes).unwrap();
    let spoiled = index.entry(0).unwrap();
    assert_eq!(&*spoiled.pack, INVALID_PACK);
    let format = (spoiled.format_version, spoiled.compression, spoiled.encryption_key_id);
    assert_eq!(format, (0xff, 0xffff, 0xff));
    assert_eq!(index.entry(1).unwrap().format_version, 2);
}

#[test]
fn a_base_time_is_added() {
    let builder: IndexBuilder = [sample(1)].into_iter().collect();
    let mut bytes = builder.build(2, None).unwrap();
    bytes[13..17].copy_from_slice(&1_000_u32.to_be_bytes());
    let expected = sample(1).timestamp + 1_000;
    assert_eq!(Index::parse(bytes).unwrap().entry(0).unwrap().timestamp, expected);
}

#[test]
fn what_does_not_fit_is_refused() {
    let entry = sample(1);
    let other_hash = ContentId::new(None, &[1; 20]).unwrap();
    let long_name = "p".repeat(256);
    let cases: Vec<(&[u32], IndexEntry)> = vec![
        (&[1, 2], IndexEntry { pack: "".into(), ..entry.clone() }),
        (&[1, 2], IndexEntry { pack: long_name.into(), ..entry.clone() }),
        (&[1, 2], IndexEntry { id: other_hash, ..entry.clone() }),
        (&[1, 2], IndexEntry { timestamp: -1, ..entry.clone() }),
        (&[1, 2], IndexEntry { offset: 1 << 31, ..entry.clone() }),
        (&[2], IndexEntry { offset: 1 << 30, ..entry.clone() }),
        (&[2], IndexEntry { timestamp: 1 << 32, ..entry.clone() }),
        (&[2], IndexEntry { packed_length: 1 << 28, ..entry.clone() }),
        (&[2], IndexEntry { original_length: 1 << 28, ..entry.clone() }),
        (&[1], IndexEntry { compression: 0x1101, ..entry.clone() }),
        (&[1], IndexEntry { encryption_key_id: 1, ..entry }),
    ];
    for (versions, entry) in cases {
        for version in 1..=2 {
            let builder: IndexBuilder = [sample(0), entry.clone()].into_iter().collect();
            let refused = builder.build(version, None).is_err();
            assert_eq!(refused, versions.contains(&version), "v{version} {entry:?}");
        }
    }
}

#[test]
fn the_watermark_hides_deletions_up_to_its_second_and_nothing_comes_back() {
    let live = sample(3);
    let deleted = IndexEntry { timestamp: live.timestamp + 5, deleted: true, ..live.clone() };
    let indexes: Vec<_> = [&live, &deleted]
        .map(|entry| [entry.clone()].into_iter().collect::<IndexBuilder>().build(2, None).unwrap())
        .map(|bytes| Index::parse(bytes).unwrap())
        .into();
    let shown = |watermark| {
        let merged: Vec<_> = merge(&indexes, watermark).collect();
        let found = find_in(&indexes, &live.id, watermark).unwrap();
        assert_eq!(merged.first(), found.as_ref());
        merged
    };
    let deletion = std::slice::from_ref(&deleted);
    assert_eq!(shown(None), deletion);
    assert_eq!(shown(Some(deleted.timestamp - 1)), deletion);
    assert_eq!(shown(Some(deleted.timestamp)), []);
}

fn sample(n: u32) -> IndexEntry {
    let hash = Sha256::digest(n.to_be_bytes());
    let prefix = [None, Some(b'k'), Some(b'm'), Some(b'x')][n as usize % 4];
    IndexEntry {
        id: ContentId::new(prefix, &hash[..16]).unwrap(),
        pack: format!("p{}", n % 3).into(),
        offset: n * 100,
        packed_length: n + 28,
        original_length: n,
        timestamp: 1_000 + i64::from(n % 7),
        deleted: n.is_multiple_of(5),
        format_version: 3,
        compression: 0,
        encryption_key_id: 0,
    }
}

/// Versions of few contents, so that they meet.
fn version_of_a_content() -> impl Strategy<Value = IndexEntry> {
    (0..30_u32, 0..4_i64, any::<bool>(), 0..3_u8).prop_map(|(n, timestamp, deleted, pack)| {
        let pack = format!("p{pack}").into();
        IndexEntry { pack, timestamp, deleted, ..sample(n) }
    })
}

proptest! {
    #[test]
    fn merging_agrees_with_a_map(
        sources in proptest::collection::vec(
            proptest::collection::vec(version_of_a_content(), 1..40), 0..6),
        versions in proptest::collection::vec(1..3_u32, 6),
        watermark in proptest::option::of(0..5_i64),
    ) {
        let mut model: BTreeMap<ContentId, IndexEntry> = BTreeMap::new();
        for entry in sources.iter().flatten() {
            let old = model.entry(entry.id).or_insert_with(|| entry.clone());
            if entry.beats(old) {
                *old = entry.clone();
            }
        }
        model.retain(|_, entry| !entry.is_dropped_by(watermark));
        let indexes: Vec<_> = sources.iter().zip(versions).map(|(source, version)| {
            let builder: IndexBuilder = source.iter().cloned().collect();
            Index::parse(builder.build(version, None).unwrap()).unwrap()
        }).collect();
        let merged: Vec<_> = merge(&indexes, watermark).collect();
        prop_assert_eq!(&merged, &model.values().cloned().collect::<Vec<_>>());
        for n in 0..30 {
            let id = sample(n).id;
            let found = find_in(&indexes, &id, watermark).unwrap();
            prop_assert_eq!(found.as_ref(), model.get(&id));
        }
    }

    #[test]
    fn garbage_never_panics(version in 0..4_u8, bytes: Vec<u8>) {
        let bytes = [&[version][..], &bytes].concat();
        if let Ok(index) = Index::parse(bytes) {
            prop_assert_eq!(index.iter().count(), index.len());
        }
    }
}

mod outlines {
    //! What a walk keeps: the same answers, from bytes that come in pieces, and none that harm.

    use bytes::Bytes;

    use super::*;

    fn index_of(count: u32, version: u32) -> Vec<u8> {
        (0..count).map(sample).collect::<IndexBuilder>().build(version, None).unwrap()
    }

    #[test]
    fn a_walk_in_pieces_of_any_length_finds_the_same() {
        let bytes = index_of(300, 2);
        let whole = Outline::of(&bytes).unwrap();
        for piece in (1..100).chain([bytes.len() - 1, bytes.len()]) {
            let mut walk = Walk::new(&bytes).unwrap();
            bytes.chunks(piece).for_each(|piece| walk.feed(piece).unwrap());
            assert_eq!(walk.finish().unwrap(), whole, "pieces of {piece}");
        }
        let mut walk = Walk::new(&bytes).unwrap();
        walk.feed(&bytes[..17 + 33 * 299]).unwrap();
        assert!(walk.finish().is_err(), "an entry is missing");
    }

    #[test]
    fn a_walk_denies_what_the_look_at_the_prefixes_did_not_see() {
        let bytes = index_of(2000, 2);
        let stride = 17 + 16;
        for n in [1, 700, 1999] {
            let mut swapped = bytes.clone();
            let at = 17 + n * stride;
            swapped.copy_within(at - stride..at, at);
            assert!(Index::parse(&swapped[..]).is_err(), "entry {n} twice");
            let mut other = bytes.clone();
            other[at] = b'z';
            assert_eq!(Index::parse(&other[..]).is_err(), n != 1999, "another prefix at {n}");
        }
    }

    #[test]
    fn a_kept_outline_answers_as_the_walk_did() {
        for (count, version) in [(1, 1), (9, 2), (300, 1), (20_000, 2)] {
            let bytes = index_of(count, version);
            let walked = Index::parse(&bytes[..]).unwrap();
            let kept = Bytes::from(walked.outline().to_bytes());
            let kept = Outline::from_bytes(kept).unwrap();
            assert_eq!(kept, *walked.outline());
            let opened = Index::with_outline(&bytes[..], kept).unwrap();
            assert!(opened.iter().eq(walked.iter()));
            for n in 0..2 * count {
                let id = sample(n).id;
                let expected = (n < count).then(|| sample(n));
                assert_eq!(opened.find(&id).unwrap(), expected);
                // The table is right where bisecting is.
                assert_eq!(opened.find_among(0..opened.len(), &id).is_some(), n < count);
            }
        }
        let other = Index::parse(index_of(10, 2)).unwrap();
        assert!(Index::with_outline(index_of(11, 2), other.outline().clone()).is_err());
    }

    #[test]
    fn few_absent_contents_have_candidates_and_an_entry_costs_little_more_than_two_bytes() {
        let index = Index::parse(index_of(50_000, 2)).unwrap();
        let absent = (50_000..250_000).map(|n| sample(n).id);
        let named = absent.filter(|id| !index.candidates(id).unwrap().is_empty()).count();
        assert!(named < 50, "{named} of 200000 absent contents");
        let one = (0..50_000).filter(|n| index.candidates(&sample(*n).id).unwrap().len() == 1);
        assert!(one.count() > 49_900);
        let memory = index.outline().memory() as f64 / 50_000.0;
        assert!(memory < 2.2, "{memory} bytes an entry");
    }

    #[test]
    fn hashes_that_crowd_are_searched() {
        let crowded = |n: u32| {
            let hash = [&[0x11; 12][..], &n.to_be_bytes()].concat();
            IndexEntry { id: ContentId::new(None, &hash).unwrap(), ..sample(n) }
        };
        let builder: IndexBuilder = (0..5000).map(crowded).collect();
        let index = Index::parse(builder.build(2, None).unwrap()).unwrap();
        assert!(!index.outline().has_table());
        for n in 0..6000 {
            let expected = (n < 5000).then(|| crowded(n));
            assert_eq!(index.find(&crowded(n).id).unwrap(), expected);
        }
        let kept = Outline::from_bytes(index.outline().to_bytes().into()).unwrap();
        assert_eq!(kept, *index.outline());
    }

    #[test]
    fn a_flipped_byte_of_a_kept_outline_never_panics_and_never_gives_another_entry() {
        let bytes = index_of(700, 2);
        let index = Index::parse(&bytes[..]).unwrap();
        let kept = index.outline().to_bytes();
        for at in 0..kept.len() {
            let mut flipped = kept.clone();
            flipped[at] ^= 1 << (at % 8);
            let Ok(outline) = Outline::from_bytes(flipped.into()) else { continue };
            let Ok(opened) = Index::with_outline(&bytes[..], outline) else { continue };
            for n in (0..800).step_by(7) {
                let entry = sample(n);
                let found = opened.find(&entry.id).unwrap();
                assert!(found.is_none_or(|found| found == entry), "byte {at}, {n}");
            }
            assert_eq!(opened.iter().count(), 700);
        }
        for len in 0..kept.len() {
            assert!(Outline::from_bytes(kept[..len].to_vec().into()).is_err(), "cut at {len}");
        }
    }

    #[test]
    fn bytes_that_changed_behind_an_outline_never_panic() {
        for version in 1..=2 {
            let bytes = index_of(60, version);
            let outline = Outline::of(&bytes).unwrap();
            for at in 0..bytes.len() {
                let mut changed = bytes.clone();
                changed[at] ^= 0x81;
                let Ok(index) = Index::with_outline(changed, outline.clone()) else { continue };
                assert_eq!(index.iter().count(), 60);
                (0..80).for_each(|n| drop(index.find(&sample(n).id)));
                index.packs().for_each(drop);
            }
        }
    }
}
