//! Against what Kopia makes of names and ranges (`vectors/epochs.json`), and lists made by hand.

use std::time::Duration;

use kopia_fixtures::vectors;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::time::GoTime;

fn section(name: &str) -> Vec<Value> {
    vectors("epochs.json")[name].as_array().unwrap().clone()
}

fn blob_at(id: &str, hours: i64) -> IndexBlob {
    IndexBlob { id: id.to_owned(), length: 1_000, timestamp: GoTime::from_secs(hours * 3_600) }
}

fn blobs(ids: &[&str]) -> Vec<IndexBlob> {
    ids.iter().map(|id| blob_at(id, 0)).collect()
}

fn snapshot(markers: &[&str], singles: &[&str], ranges: &[&str]) -> EpochSnapshot {
    EpochSnapshot::new(EpochLists {
        markers: blobs(markers),
        singles: blobs(singles),
        ranges: blobs(ranges),
        watermarks: Vec::new(),
    })
}

/// Lists what is missing from `xn` blobs called after their epochs, and gives the complete set.
fn complete(snapshot: &mut EpochSnapshot) -> Vec<String> {
    for epoch in snapshot.missing_epochs().unwrap() {
        let name = format!("{}h", uncompacted_prefix(epoch));
        snapshot.add_uncompacted(epoch, blobs(&[&name]));
    }
    snapshot.complete_index_set().unwrap().into_iter().map(|blob| blob.id.clone()).collect()
}

#[test]
fn names_are_kopias() {
    for case in section("names") {
        let (epoch, second) = (case["epoch"].as_u64().unwrap(), case["epoch2"].as_u64().unwrap());
        assert_eq!(case["marker"], marker_name(epoch));
        assert_eq!(case["prefixes"]["uncompacted"], uncompacted_prefix(epoch));
        assert_eq!(case["prefixes"]["singleEpoch"], single_prefix(epoch));
        assert_eq!(case["prefixes"]["range"], range_prefix(epoch, second));
    }
    assert_eq!(watermark_name(1_700_000_000), "xw1700000000");
    assert_eq!(set_suffix("sfa03677892f23e26147", 1), "-sfa03677892f23e26147-c1");
    assert_eq!(compaction_suffix([0xab; 8], 3), "-sabababababababab-c3");
}

#[test]
fn epoch_numbers_are_read_as_kopia_reads_them() {
    let cases = section("epochNumber");
    assert_eq!(cases.len(), 15);
    for case in cases {
        let expected = (case["ok"] == true).then(|| case["epoch"].as_u64().unwrap());
        assert_eq!(names::epoch_number(case["id"].as_str().unwrap()), expected, "{case}");
    }
}

#[test]
fn epoch_ranges_are_read_as_kopia_reads_them() {
    let cases = section("epochRange");
    assert_eq!(cases.len(), 19);
    for case in cases {
        let number = |key: &str| case[key].as_u64().unwrap();
        let expected = (case["ok"] == true).then(|| (number("min"), number("max")));
        assert_eq!(names::epoch_range(case["id"].as_str().unwrap()), expected, "{case}");
    }
}

#[test]
fn watermarks_are_read_as_kopia_reads_them() {
    let cases = section("deletionWatermark");
    assert_eq!(cases.len(), 15);
    for case in cases {
        let expected = (case["ok"] == true).then(|| case["seconds"].as_i64().unwrap());
        assert_eq!(names::watermark(case["id"].as_str().unwrap()), expected, "{case}");
    }
}

#[test]
fn complete_sets_are_kopias() {
    let cases = section("completeSets");
    assert_eq!(cases.len(), 12);
    for case in cases {
        let ids: Vec<String> = serde_json::from_value(case["blobs"].clone()).unwrap();
        assert_eq!(json!(complete_sets(&ids)), case["completeSets"], "{case}");
        assert_eq!(first_complete_set(&ids), complete_sets(&ids).first().cloned());
    }
}

#[test]
fn the_longest_chain_is_kopias() {
    let cases = section("longestRange");
    assert_eq!(cases.len(), 8);
    for case in cases {
        let ranges: Vec<(u64, u64)> = serde_json::from_value(case["ranges"].clone()).unwrap();
        assert_eq!(json!(longest_chain(&ranges)), case["longest"], "{case}");
    }
}

#[test]
fn of_equally_long_chains_the_one_with_fewest_pieces_is_taken() {
    let ranges = [(0, 1), (2, 3), (4, 7), (0, 3)];
    assert_eq!(longest_chain(&ranges), [(0, 3), (4, 7)]);
}

#[test]
fn a_chain_of_epoch_0_alone_is_none() {
    assert_eq!(longest_chain(&[(0, 0)]), []);
    assert_eq!(longest_chain(&[(0, 0), (1, 4)]), [(0, 0), (1, 4)]);
}

#[test]
fn a_chain_that_begins_with_epoch_0_alone_is_read_from_its_first_piece() {
    // Kopia leaves the first piece out, and would lose what is only in it.
    let mut found = snapshot(&["xe6"], &[], &["xr0_0_a", "xr1_4_a"]);
    assert_eq!(complete(&mut found), ["xr0_0_a", "xr1_4_a", "xn5_h", "xn6_h", "xn7_h"]);
}

#[test]
fn each_kind_of_name_is_recognised() {
    use IndexBlobName::*;
    let cases = [
        ("xe7", Some(Marker(7))),
        ("xw12", Some(Watermark(12))),
        ("xn0_ab-s1-c1", Some(Uncompacted(0))),
        ("xs3_ab-s1-c1", Some(Single(3))),
        ("xr0_10_ab-s1-c1", Some(Range(0, 10))),
        ("xr5_1_ab", None),
        ("xr0_-3_ab", None),
        ("xe99999999999999999999", None),
        ("x", None),
        ("xd0_a", None),
        ("n0", None),
        ("xn_a", None),
        ("x\u{e9}1", None),
    ];
    for (id, expected) in cases {
        assert_eq!(IndexBlobName::parse(id), expected, "{id}");
    }
}

#[test]
fn a_new_repository_is_in_epoch_0() {
    let mut new = snapshot(&[], &[], &[]);
    assert_eq!((new.write_epoch(), new.watermark()), (0, None));
    assert_eq!(new.unsettled_epochs(), 0..=1);
    assert_eq!(complete(&mut new), ["xn0_h", "xn1_h"]);
}

#[test]
fn markers_and_watermarks_count_by_their_greatest_and_foreign_names_not_at_all() {
    let found = EpochSnapshot::new(EpochLists {
        markers: blobs(&["xe10", "xe9", "xe", "xefoo"]),
        watermarks: blobs(&["xw5", "xw1700000000", "xwhat"]),
        ..EpochLists::default()
    });
    assert_eq!((found.write_epoch(), found.watermark()), (10, Some(1_700_000_000)));
}

#[test]
fn the_complete_set_takes_ranges_then_settled_compactions_then_the_rest() {
    let singles = ["xs1_a-s1-c1", "xs4_a-s1-c2", "xs4_b-s1-c2", "xs5_a-s1-c2", "xs6_a-s1-c1"];
    let mut found = snapshot(&["xe7"], &singles, &["xr0_2_a-s1-c1", "xr4_9_b-s1-c1"]);
    assert_eq!(found.missing_epochs().unwrap(), [3, 5, 6, 7, 8]);
    // Epoch 4 is settled and complete; 5 is not complete; 6 is not settled, whatever is compacted
    // of it.
    let expected = [
        "xr0_2_a-s1-c1",
        "xn3_h",
        "xs4_a-s1-c2",
        "xs4_b-s1-c2",
        "xn5_h",
        "xn6_h",
        "xn7_h",
        "xn8_h",
    ];
    assert_eq!(complete(&mut found), expected);
    let since = found.index_set(3, 5).unwrap();
    assert_eq!(since.iter().map(|blob| &*blob.id).collect::<Vec<_>>(), expected[1..5]);
}

#[test]
fn incomplete_sets_of_flushes_are_used_all_the_same() {
    let mut found = snapshot(&[], &[], &[]);
    found.add_uncompacted(0, blobs(&["xn0_a-s1-c2"]));
    assert_eq!(found.missing_epochs().unwrap(), [1]);
    assert_eq!(complete(&mut found), ["xn0_a-s1-c2", "xn1_h"]);
}

#[test]
fn a_set_is_refused_while_an_epoch_is_not_listed() {
    let found = snapshot(&["xe3"], &[], &[]);
    let error = found.complete_index_set().unwrap_err().to_string();
    assert_eq!(error, "invalid index set: the blobs of epoch 0 are not listed");
}

#[test]
fn what_one_list_of_all_held_is_given_back_in_the_order_of_epochs() {
    let mut found = snapshot(&["xe2"], &[], &[]);
    assert!(found.all_uncompacted().is_empty());
    found.add_all_uncompacted(blobs(&["xn10_a", "xn2_b", "xn2_a", "xnfoo"]));
    let names: Vec<_> = found.all_uncompacted().into_iter().map(|blob| blob.id).collect();
    assert_eq!(names, ["xn2_b", "xn2_a", "xn10_a"]);
}

#[test]
fn an_epoch_that_is_only_planned_settles_the_one_before_the_last() {
    let mut found = snapshot(&["xe1"], &[], &[]);
    found.add_all_uncompacted(blobs(&["xn0_a", "xn1_a"]));
    let later = found.advanced();
    assert_eq!((found.write_epoch(), later.write_epoch()), (1, 2));
    assert_eq!((found.epoch_to_compact(), later.epoch_to_compact()), (None, Some(0)));
    assert_eq!(later.all_uncompacted(), found.all_uncompacted(), "no blob has changed");
}

#[test]
fn what_is_only_planned_to_be_written_counts_as_written() {
    let found = EpochSnapshot::new(EpochLists {
        watermarks: vec![blob_at("xw100", 0), blob_at("xw50", 0)],
        ..EpochLists::default()
    });
    let names = |found: &EpochSnapshot| {
        let blobs = found.watermarks_to_delete(Duration::from_secs(4 * 3_600)).into_iter();
        blobs.map(|blob| blob.id.clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(&found), [""; 0], "no blob shows the clock");
    let later = found.written(blob_at("xn0_new", 5));
    assert_eq!(later.storage_clock(), Some(GoTime::from_secs(5 * 3_600)));
    assert_eq!(names(&later), ["xw50"]);
    assert_eq!(names(&later.dropped_until(200)), ["xw100", "xw50"]);
    assert_eq!(later.dropped_until(70).watermark(), Some(100), "it never goes back");
}

#[test]
fn an_absurd_epoch_needs_one_list_of_all() {
    let mut found = snapshot(&["xe9000000000000000000"], &[], &[]);
    assert!(found.missing_epochs().is_err());
    assert!(found.complete_index_set().is_err());
    found.add_all_uncompacted(blobs(&["xn0_a", "xn17_b", "xnfoo"]));
    assert_eq!(complete(&mut found), ["xn0_a", "xn17_b"]);
}

#[test]
fn an_epoch_is_compacted_when_it_is_the_oldest_settled_one_without_a_compaction() {
    let candidate =
        |markers, singles, ranges| snapshot(markers, singles, ranges).epoch_to_compact();
    assert_eq!(candidate(&["xe1"], &[], &[]), None);
    assert_eq!(candidate(&["xe2"], &[], &[]), Some(0));
    assert_eq!(candidate(&["xe5"], &["xs0_a", "xs1_a", "xs3_a"], &[]), Some(2));
    assert_eq!(candidate(&["xe9"], &["xs3_a"], &["xr0_2_a"]), Some(4));
    assert_eq!(candidate(&["xe5"], &["xs3_a"], &["xr0_2_a"]), None);
}

#[test]
fn a_range_is_made_of_eight_settled_epochs() {
    assert_eq!(snapshot(&["xe8"], &[], &[]).range_to_compact(7), None);
    assert_eq!(snapshot(&["xe9"], &[], &[]).range_to_compact(7), Some((0, 7)));
    assert_eq!(snapshot(&["xe12"], &[], &[]).range_to_compact(7), Some((0, 10)));
    assert_eq!(snapshot(&["xe20"], &[], &["xr0_10_a"]).range_to_compact(7), Some((11, 18)));
    assert_eq!(snapshot(&["xe19"], &[], &["xr0_10_a"]).range_to_compact(7), None);
    assert_eq!(snapshot(&["xe1"], &[], &[]).range_to_compact(7), None);
}

#[test]
fn an_epoch_ends_after_a_day_when_it_has_many_or_large_blobs() {
    let should = |hours: &[i64], count, size| {
        let mut found = snapshot(&["xe3"], &[], &[]);
        found.add_uncompacted(3, hours.iter().map(|&hour| blob_at("xn3_a", hour)).collect());
        found.should_advance(Duration::from_secs(24 * 3_600), count, size)
    };
    assert!(should(&[1, 25], 2, u64::MAX));
    assert!(should(&[25, 1], 3, 2_000));
    assert!(!should(&[1, 24], 2, 0));
    assert!(!should(&[1, 25], 3, 2_001));
    assert!(!should(&[], 0, 0));
}

#[test]
fn old_markers_and_watermarks_go_but_never_the_ones_in_use() {
    let mut found = EpochSnapshot::new(EpochLists {
        markers: blobs(&["xe1", "xe2", "xe3", "xe4"]),
        watermarks: vec![blob_at("xw10", 1), blob_at("xw20", 7), blob_at("xw30", 1)],
        ..EpochLists::default()
    });
    let margin = Duration::from_secs(4 * 3_600);
    assert!(found.markers_to_delete().is_empty(), "without a clock nothing goes");
    assert!(found.watermarks_to_delete(margin).is_empty());
    found.add_uncompacted(4, vec![blob_at("xn4_a", 10)]);
    let ids = |blobs: Vec<&IndexBlob>| blobs.iter().map(|b| b.id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(found.markers_to_delete()), ["xe1", "xe2"]);
    assert_eq!(ids(found.watermarks_to_delete(margin)), ["xw10"]);
}

#[test]
fn blobs_are_superseded_by_old_complete_compactions_of_their_epoch_only() {
    let mut found = EpochSnapshot::new(EpochLists {
        markers: blobs(&["xe9"]),
        singles: vec![
            blob_at("xs0_a-s1-c2", 1),
            blob_at("xs0_b-s1-c2", 5),
            blob_at("xs1_a-s1-c2", 1),
            blob_at("xs2_a-s1-c2", 1),
            blob_at("xs2_b-s1-c2", 7),
            blob_at("xs8_a-s1-c1", 1),
        ],
        ranges: vec![blob_at("xr0_6_a", 1)],
        ..EpochLists::default()
    });
    let all = blobs(&["xn0_a", "xn0_b", "xn1_a", "xn2_a", "xn3_a", "xn8_a", "xnfoo"]);
    let margin = Duration::from_secs(4 * 3_600);
    assert!(found.superseded(&all, margin).is_empty(), "without a clock nothing goes");
    found.add_uncompacted(9, vec![blob_at("xn9_a", 10)]);
    let superseded = found.superseded(&all, margin);
    assert_eq!(superseded, [&all[0], &all[1]]);
}

proptest! {
    #[test]
    fn names_survive_being_written_and_read(min in 0..=i64::MAX as u64, more in 0..1_000_u64) {
        let max = (min + more).min(i64::MAX as u64);
        let name = |prefix: String| IndexBlobName::parse(&format!("{prefix}ab-s1-c1"));
        prop_assert_eq!(IndexBlobName::parse(&marker_name(min)), Some(IndexBlobName::Marker(min)));
        prop_assert_eq!(name(uncompacted_prefix(min)), Some(IndexBlobName::Uncompacted(min)));
        prop_assert_eq!(name(single_prefix(min)), Some(IndexBlobName::Single(min)));
        prop_assert_eq!(name(range_prefix(min, max)), Some(IndexBlobName::Range(min, max)));
    }

    #[test]
    fn any_names_give_a_snapshot(ids in proptest::collection::vec("x[nserw]?-?[0-9_]{0,22}.*", 0..20)) {
        let blobs: Vec<_> = ids.iter().map(|id| blob_at(id, 0)).collect();
        let mut found = EpochSnapshot::new(EpochLists {
            markers: blobs.clone(),
            watermarks: blobs.clone(),
            singles: blobs.clone(),
            ranges: blobs.clone(),
        });
        found.add_all_uncompacted(blobs);
        prop_assert!(found.complete_index_set().is_ok());
        found.epoch_to_compact();
        found.markers_to_delete();
    }

    #[test]
    fn the_chain_is_as_long_as_any(
        ranges in proptest::collection::vec((0..12_u64, 0..6_u64), 0..12)
            .prop_map(|all| all.into_iter().map(|(min, len)| (min, min + len)).collect::<Vec<_>>()),
    ) {
        // Which ends can be reached from epoch 0, by brute force.
        let mut reached = std::collections::BTreeSet::from([0_u64]);
        for _ in 0..ranges.len() {
            for &(min, max) in &ranges {
                if reached.contains(&min) {
                    reached.insert(max + 1);
                }
            }
        }
        let furthest = reached.last().copied().filter(|&end| end > 1);
        let chain = longest_chain(&ranges);
        prop_assert_eq!(chain.last().map(|&(_, max)| max + 1), furthest);
        for pair in chain.windows(2) {
            prop_assert_eq!(pair[0].1 + 1, pair[1].0);
        }
        prop_assert!(chain.iter().all(|range| ranges.contains(range)));
    }
}
