//! Times, durations and modes against `times.json`.

use super::*;
use serde_json::Value;

fn section(name: &str) -> Vec<Value> {
    kopia_fixtures::vectors("times.json")[name].as_array().unwrap().clone()
}

fn nanos_of(case: &Value) -> i64 {
    case["ns"].as_str().unwrap().parse().unwrap()
}

#[test]
fn times_are_written_as_kopia_writes_them() {
    for case in section("format") {
        let time = GoTime::from_unix_nanos(nanos_of(&case));
        assert_eq!(serde_json::to_string(&time).unwrap(), case["json"].as_str().unwrap());
        assert_eq!(time.unix_nanos(), nanos_of(&case));
    }
}

#[test]
fn times_are_read_as_kopia_reads_them() {
    for case in section("parse") {
        let text = case["text"].as_str().unwrap();
        let parsed = serde_json::from_value::<GoTime>(case["text"].clone());
        if case.get("error").is_some() {
            assert!(parsed.is_err(), "{text:?} must be refused");
            continue;
        }
        let time = parsed.unwrap();
        assert_eq!(time.unix_nanos(), nanos_of(&case), "{text}");
        // What Kopia writes again went through its wrapping nanoseconds.
        let written = GoTime::from_unix_nanos(time.unix_nanos());
        assert_eq!(serde_json::to_string(&written).unwrap(), case["json"].as_str().unwrap());
    }
}

#[test]
fn durations_print_and_read_as_in_go() {
    for case in section("durations") {
        let nanos = case["ns"].as_i64().unwrap();
        let text = case["string"].as_str().unwrap();
        assert_eq!(duration_text(nanos), text);
        assert_eq!(parse_duration(text).unwrap(), nanos);
    }
    assert_eq!(parse_duration("1h30m").unwrap(), 5_400 * NANOS);
    assert_eq!(parse_duration("1.5us").unwrap(), 1_500);
    assert_eq!(parse_duration(".5s").unwrap(), NANOS / 2);
    assert_eq!(parse_duration("-9223372036854775808ns").unwrap(), i64::MIN);
    assert_eq!(duration_text(i64::MIN), "-2562047h47m16.854775808s");
    for wrong in ["", "-", "1", "h", "1.s.s", ".s", "1d", "9223372036854775808ns", "3000000h"] {
        assert!(parse_duration(wrong).is_err(), "{wrong:?} must be refused");
    }
}

#[test]
fn modes_carry_gos_bits() {
    for case in section("modes") {
        if let Some(unix) = case.get("unixMode") {
            let mode = case["permissions"].as_u64().unwrap() as u32;
            let unix = u32::from_str_radix(unix.as_str().unwrap(), 8).unwrap();
            assert_eq!(mode_from_unix(unix), mode);
            assert_eq!(mode_to_unix(mode), unix);
            let entry: Value = serde_json::from_str(case["entryJSON"].as_str().unwrap()).unwrap();
            match entry.get("mode") {
                Some(text) => assert_eq!(mode_text(mode), text.as_str().unwrap()),
                None => assert_eq!(mode, 0),
            }
            continue;
        }
        let json: Value = serde_json::from_str(case["json"].as_str().unwrap()).unwrap();
        // A number instead of a string is refused by the type of the field.
        let Some(text) = json.as_str() else { continue };
        let parsed = parse_mode(text);
        match case.get("permissions") {
            Some(mode) => assert_eq!(parsed.unwrap(), mode.as_i64().unwrap() as u32, "{text}"),
            None => assert!(parsed.is_err(), "{text:?} must be refused"),
        }
    }
}

#[test]
fn every_mode_that_is_read_is_written_so_that_it_is_read_again() {
    let mode = parse_mode("-0244").unwrap();
    assert_eq!(mode_text(mode), "017777777534");
    assert_eq!(mode_text(parse_mode(&mode_text(mode)).unwrap()), mode_text(mode));
    assert_eq!(mode_text(parse_mode("0x7fffffff").unwrap()), "017777777777");
}

#[test]
fn arithmetic_carries_over_the_second() {
    let time = GoTime::from_secs_nanos(10, 600_000_000);
    let later = time.saturating_add(Duration::from_millis(500));
    assert_eq!((later.secs(), later.subsec_nanos()), (11, 100_000_000));
    assert_eq!(later.saturating_sub(Duration::from_millis(500)), time);
    assert_eq!(later.duration_since(time), Duration::from_millis(500));
    assert_eq!(time.duration_since(later), Duration::ZERO);
    assert_eq!(GoTime::from_secs(i64::MAX).to_string(), "9999-12-31T23:59:59Z");
    assert_eq!(GoTime::ZERO.to_string(), "0001-01-01T00:00:00Z");
}

#[test]
fn offsets_never_leave_the_writable_years() {
    let first: GoTime = "0000-01-01T00:00:00+05:00".parse().unwrap();
    assert_eq!(first.to_string(), "0000-01-01T00:00:00Z");
}
