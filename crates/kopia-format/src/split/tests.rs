//! Against Kopia's own cut points (`vectors/splitters.json`), and against any slicing of the input.

use std::collections::{HashMap, HashSet};

use kopia_fixtures::{spec_bytes, vectors};
use proptest::prelude::*;

use super::{parallel, *};

/// The cuts of `data` when it is given in slices of the lengths that `slices` yields.
fn cuts(kind: SplitterKind, data: &[u8], mut slices: impl Iterator<Item = usize>) -> Vec<u64> {
    let mut splitter = kind.new_splitter();
    let (mut cuts, mut done) = (Vec::new(), 0);
    while done < data.len() {
        let end = data.len().min(done + slices.next().unwrap_or(usize::MAX >> 1));
        while let Some(taken) = splitter.next_cut(&data[done..end]) {
            done += taken;
            cuts.push(done as u64);
        }
        done = end;
    }
    cuts
}

fn cuts_in_parallel(kind: SplitterKind, data: &[u8], segment_len: usize) -> Vec<u64> {
    let (mut resolver, mut cuts) = (parallel::Cuts::new(kind), Vec::new());
    for start in (0..data.len()).step_by(segment_len) {
        let end = data.len().min(start + segment_len);
        let before = &data[start.saturating_sub(WINDOW)..start];
        resolver.push(&parallel::scan(kind, before, &data[start..end]), &mut cuts);
    }
    cuts
}

#[test]
fn every_splitter_has_kopias_name_and_longest_segment() {
    let all = vectors("splitters.json");
    let rows = all["splitters"].as_array().unwrap();
    assert_eq!(rows.len(), SPLITTERS.len());
    for (row, &name) in rows.iter().zip(SPLITTERS) {
        assert_eq!(row["name"], name);
        let kind = SplitterKind::parse(name).unwrap();
        assert_eq!(row["maxSegmentSize"], kind.max_segment(), "{name}");
    }
    assert_eq!(all["default"], DEFAULT);
}

#[test]
fn every_case_is_cut_where_kopia_cuts_it() {
    let all = vectors("splitters.json");
    let cases = all["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 253);
    let specs: HashSet<&str> = cases.iter().map(|case| case["input"].as_str().unwrap()).collect();
    let inputs: HashMap<&str, Vec<u8>> =
        specs.into_iter().map(|spec| (spec, spec_bytes(spec))).collect();
    // Hundreds of megabytes go through the splitters, so every core takes its part.
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for first in 0..threads {
            let (cases, inputs) = (cases.iter().skip(first).step_by(threads), &inputs);
            scope.spawn(move || {
                cases.for_each(|case| check(case, &inputs[case["input"].as_str().unwrap()]));
            });
        }
    });
}

/// One case: as one slice, as odd slices, and as long segments that are scanned on their own.
fn check(case: &serde_json::Value, data: &[u8]) {
    let (name, spec) = (case["splitter"].as_str().unwrap(), &case["input"]);
    let kind = SplitterKind::parse(name).unwrap();
    let expected: Vec<u64> =
        case["cuts"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).collect();
    assert_eq!(cuts(kind, data, std::iter::empty()), expected, "{name} on {spec}");
    let odd = std::iter::repeat([70_001, 63, 64, 1, 65, 4_096, 131_071]).flatten();
    assert_eq!(cuts(kind, data, odd), expected, "{name} on {spec}, sliced");
    for segment_len in [1_000_003, 8 << 20] {
        let found = cuts_in_parallel(kind, data, segment_len);
        assert_eq!(found, expected, "{name} on {spec}, segments of {segment_len}");
    }
}

#[test]
fn an_unknown_splitter_is_refused_and_an_empty_name_is_fixed() {
    for name in ["fixed", "FIXED-3M", "DYNAMIC-4M", "DYNAMIC-4M-XXHASH", "DYNAMIC-4M-BUZHASH-"] {
        let error = SplitterKind::parse(name).unwrap_err();
        assert_eq!(error.to_string(), format!("unsupported splitter: {name}"));
    }
    assert_eq!(SplitterKind::parse("").unwrap(), SplitterKind::Fixed { size: 4 << 20 });
}

#[test]
fn buzhash_of_short_texts_has_the_published_values() {
    use super::{buzhash::Buzhash, rolling::Rolling};
    let cases = [
        ("a", 0x29ec_300c_u32),
        ("ab", 0xf188_df2c),
        ("abc", 0x44fc_e3ce),
        ("abcdefghij", 0x4dc2_d8f4),
    ];
    for (text, expected) in cases {
        let mut hash = Buzhash::default();
        text.bytes().for_each(|byte| hash.absorb(byte));
        assert_eq!(hash.value(), expected, "{text}");
    }
}

#[test]
fn a_reset_splitter_starts_a_new_stream() {
    let data = spec_bytes("ctr:reset:1000000");
    let kind = SplitterKind::parse("DYNAMIC-128K-RABINKARP").unwrap();
    let mut splitter = kind.new_splitter();
    let first = splitter.next_cut(&data);
    splitter.next_cut(&data[77..300_000]);
    splitter.reset();
    assert!(first.is_some());
    assert_eq!(splitter.next_cut(&data), first);
}

#[test]
fn candidates_of_repeated_data_take_an_eighth_of_it_at_most() {
    let kind = SplitterKind::parse("DYNAMIC-128K-BUZHASH").unwrap();
    let zeros = vec![0; 1 << 20];
    let mut cuts = Vec::new();
    parallel::Cuts::new(kind).push(&parallel::scan(kind, &[], &zeros), &mut cuts);
    let every_min: Vec<u64> = (1..=16).map(|n| n * 65_536).collect();
    assert_eq!(cuts, every_min);
}

/// Data with random stretches, runs and periods: where splitters go wrong if they do.
fn mixed() -> impl Strategy<Value = Vec<u8>> {
    let piece =
        (0_u8..3, any::<u64>(), 1_usize..300_000).prop_map(|(form, seed, len)| match form {
            0 => spec_bytes(&format!("ctr:p{seed}:{len}")),
            1 => vec![seed as u8; len],
            _ => spec_bytes(&format!("repeat:p{seed}:{}:{len}", 1 + seed % 5_000)),
        });
    proptest::collection::vec(piece, 1..5).prop_map(|pieces| pieces.concat())
}

fn dynamic() -> impl Strategy<Value = SplitterKind> {
    let names = vec!["DYNAMIC-128K-BUZHASH", "DYNAMIC-128K-RABINKARP", "DYNAMIC-256K-BUZHASH"];
    proptest::sample::select(names).prop_map(|name| SplitterKind::parse(name).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_cuts_do_not_depend_on_the_slices(
        data in mixed(),
        kind in dynamic(),
        slices in proptest::collection::vec(1_usize..200_000, 1..20),
        segment_len in 1_usize..400_000,
    ) {
        let whole = cuts(kind, &data, std::iter::empty());
        prop_assert_eq!(&cuts(kind, &data, slices.iter().copied().cycle()), &whole);
        // Segments shorter than the window would need more than one of them before each: see
        // `scan`.
        let segment_len = segment_len.max(WINDOW);
        prop_assert_eq!(&cuts_in_parallel(kind, &data, segment_len), &whole);
    }
}
