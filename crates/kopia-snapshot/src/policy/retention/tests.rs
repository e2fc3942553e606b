//! Retention against `retention.json` (Kopia's own package) and `retention/cases.json` (real
//! repositories after `snapshot expire`).

use kopia_format::time::GoTime;
use serde_json::Value;

use super::*;

fn retention(value: &Value) -> Retention {
    serde_json::from_value(value.clone()).unwrap()
}

fn nanos(text: &str) -> i64 {
    text.parse::<GoTime>().unwrap().unix_nanos()
}

fn texts(value: &Value) -> Vec<String> {
    let list = value.as_array().into_iter().flatten();
    list.map(|text| text.as_str().unwrap().to_owned()).collect()
}

#[test]
fn reasons_are_those_of_kopias_package() {
    let vectors = kopia_fixtures::vectors("retention.json");
    let cases = vectors["cases"].as_array().unwrap();
    for (number, case) in cases.iter().enumerate() {
        let snapshots = case["snapshots"].as_array().unwrap();
        let points: Vec<SnapshotPoint> = snapshots
            .iter()
            .map(|snapshot| {
                let start = nanos(snapshot["start"].as_str().unwrap());
                let complete = snapshot.get("incomplete").is_none();
                SnapshotPoint { start, end: start + 60_000_000_000, complete }
            })
            .collect();
        let computed = reasons(&retention(&case["policy"]), &points, &TimeZone::UTC);
        for (snapshot, computed) in snapshots.iter().zip(computed) {
            assert_eq!(computed, texts(&snapshot["reasons"]), "case {number}: {snapshot}");
        }
    }
    assert_eq!(cases.len(), 60);
}

#[test]
fn lists_of_reasons_are_compacted_as_kopia_does() {
    for case in kopia_fixtures::vectors("retention.json")["compact"].as_array().unwrap() {
        assert_eq!(compact_reasons(&texts(&case["reasons"])), texts(&case["compact"]));
    }
}

#[test]
fn real_repositories_kept_what_is_kept_here() {
    let file = kopia_fixtures::folder("retention").join("cases.json");
    let all: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let cases = all["cases"].as_array().unwrap();
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let snapshots = case["snapshots"].as_array().unwrap();
        let manifests: Vec<SnapshotManifest> = snapshots
            .iter()
            .map(|snapshot| {
                let start: GoTime = snapshot["startTime"].as_str().unwrap().parse().unwrap();
                SnapshotManifest {
                    start_time: start,
                    end_time: start,
                    incomplete: snapshot["incomplete"].as_str().unwrap_or("").to_owned(),
                    pins: texts(&snapshot["pins"]),
                    ..SnapshotManifest::default()
                }
            })
            .collect();
        let points: Vec<SnapshotPoint> = manifests.iter().map(SnapshotPoint::from).collect();
        let retention = retention(&case["retention"]);
        let computed = reasons(&retention, &points, &TimeZone::UTC);
        for (snapshot, computed) in snapshots.iter().zip(computed) {
            assert_eq!(computed, texts(&snapshot["reasons"]), "{name}: {snapshot}");
        }
        let expired = expired(&retention, &manifests, &TimeZone::UTC);
        for (snapshot, manifest) in snapshots.iter().zip(&manifests) {
            let kept = !expired.iter().any(|expired| std::ptr::eq(*expired, manifest));
            assert_eq!(kept, snapshot["kept"].as_bool().unwrap(), "{name}: {snapshot}");
        }
    }
    assert!(cases.len() > 40);
}

#[test]
fn a_week_and_a_month_of_the_same_name_exclude_each_other() {
    // 2026-04-20 takes month 2026-04; 2026-01-20 lies in ISO week 2026-04.
    let point = |text: &str| {
        let start = nanos(text);
        SnapshotPoint { start, end: start, complete: true }
    };
    let points = [point("2026-04-20T00:00:00Z"), point("2026-01-20T00:00:00Z")];
    let retention =
        Retention { keep_weekly: Some(60), keep_monthly: Some(60), ..Retention::default() };
    let computed = reasons(&retention, &points, &TimeZone::UTC);
    assert_eq!(computed, [vec!["weekly-1", "monthly-1"], vec!["monthly-2"]]);
}

#[test]
fn the_week_and_the_cutoff_go_by_the_local_clock() {
    let zone = TimeZone::get("Asia/Kolkata").unwrap();
    // Sunday in UTC, Monday in Kolkata.
    let start = nanos("2026-03-01T20:00:00Z");
    assert_eq!(period("weekly", 0, start, &TimeZone::UTC), "2026-09");
    assert_eq!(period("weekly", 0, start, &zone), "2026-10");
    assert_eq!(period("daily", 0, start, &zone), "2026-03-01");
    let at = |from: &str, years, months, days, zone: &TimeZone| {
        let ago = date_ago(nanos(from), years, months, days, zone);
        GoTime::from_unix_nanos(ago.try_into().unwrap()).to_string()
    };
    let utc = &TimeZone::UTC;
    assert_eq!(at("2024-02-29T01:02:03.5Z", 1, 0, 0, utc), "2023-03-01T01:02:03.5Z");
    assert_eq!(at("2024-03-31T00:00:00Z", 0, 1, 0, utc), "2024-03-02T00:00:00Z");
    assert_eq!(at("2024-03-01T00:00:00Z", 0, 0, 366, utc), "2023-03-01T00:00:00Z");
    let berlin = TimeZone::get("Europe/Berlin").unwrap();
    // Noon stays noon over the change of the clock, and a skipped time is read in winter time.
    assert_eq!(at("2026-04-01T10:00:00Z", 0, 0, 7, &berlin), "2026-03-25T11:00:00Z");
    assert_eq!(at("2026-04-05T00:30:00Z", 0, 0, 7, &berlin), "2026-03-29T01:30:00Z");
    // An hour that the clock showed twice is the second.
    assert_eq!(at("2026-11-01T01:30:00Z", 0, 0, 7, &berlin), "2026-10-25T01:30:00Z");
    assert_eq!(at("2026-11-01T00:30:00Z", 0, 0, 7, &berlin), "2026-10-24T23:30:00Z");
}

#[test]
fn absurd_settings_keep_everything_or_nothing() {
    let point = SnapshotPoint { start: 5, end: 5, complete: true };
    for keep in [i64::MAX, i64::MIN] {
        let retention = Retention {
            keep_annual: Some(keep),
            keep_monthly: Some(keep),
            keep_weekly: Some(keep),
            keep_daily: Some(keep),
            keep_hourly: Some(keep),
            ..Retention::default()
        };
        let computed = reasons(&retention, &[point], &TimeZone::UTC);
        // 1970-01 is a week and a month, so that only one of the two has it.
        assert_eq!(computed[0].len(), if keep > 0 { 4 } else { 0 }, "{keep}");
    }
    assert!(reasons(&Retention::default(), &[], &TimeZone::UTC).is_empty());
}
