//! Sizes and counts for people, in Kopia's form: `300 KB`, `1.5 GB`.

use std::{env, fmt::Write as _};

use anyhow::Context;

const STEPS: [&str; 7] = ["", "K", "M", "G", "T", "P", "E"];

/// `bytes` with a unit: base 10, or base 2 where `KOPIA_BYTES_STRING_BASE_2` asks for it.
pub fn bytes(bytes: u64) -> String {
    let base_2 = env::var("KOPIA_BYTES_STRING_BASE_2").is_ok_and(|v| is_true(&v));
    if base_2 { scaled(bytes, 1024.0, "iB") } else { scaled(bytes, 1000.0, "B") }
}

/// `bytes` with a unit of base 10.
pub fn bytes_base_10(bytes: u64) -> String {
    scaled(bytes, 1000.0, "B")
}

/// A count with a unit of base 10: `1.2 K`.
pub fn count(value: u64) -> String {
    scaled(value, 1000.0, "")
}

/// Go's `strconv.ParseBool`, as far as it says yes.
fn is_true(text: &str) -> bool {
    matches!(text, "1" | "t" | "T" | "true" | "TRUE" | "True")
}

fn scaled(value: u64, step: f64, suffix: &str) -> String {
    #[allow(clippy::cast_precision_loss)] // one decimal is shown
    let mut value = value as f64;
    let mut unit = 0;
    while value >= 0.9 * step && unit + 1 < STEPS.len() {
        value /= step;
        unit += 1;
    }
    let mut out = format!("{value:.1}");
    if out.ends_with(".0") {
        out.truncate(out.len() - 2);
    }
    // Base 2 has no "iB" without a prefix letter.
    let suffix = if unit == 0 { suffix.trim_start_matches('i') } else { suffix };
    let _ = write!(out, " {}{suffix}", STEPS[unit]);
    out
}

/// How much smaller `packed` is than `original`, in percent with one decimal.
pub fn saved(original: u64, packed: u64) -> String {
    if packed >= original {
        return "0%".to_owned();
    }
    #[allow(clippy::cast_precision_loss)] // one decimal is shown
    let percent = 100.0 * (1.0 - packed as f64 / original as f64);
    format!("{percent:.1}%")
}

/// A number of bytes, with `KB`, `MiB` and the like behind it or nothing.
///
/// # Errors
/// It is none, or more than 63 bits hold.
pub fn parse(text: &str) -> anyhow::Result<i64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: i64 = text[..digits].parse()?;
    let power = |letter: &str| "KMGT".find(letter).map(|at| u32::try_from(at).unwrap_or(0) + 1);
    let unit = text[digits..].trim();
    let factor = match unit.to_uppercase().as_str() {
        "" | "B" => Some(1),
        upper => {
            let (letter, rest) = upper.split_at(1);
            match rest {
                "" | "B" => power(letter).and_then(|power| 1000_i64.checked_pow(power)),
                "I" | "IB" => power(letter).and_then(|power| 1024_i64.checked_pow(power)),
                _ => None,
            }
        }
    };
    factor.and_then(|factor| number.checked_mul(factor)).context("it is no number of bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_may_have_units() {
        let bytes = |text| parse(text).unwrap();
        assert_eq!(
            [bytes("100"), bytes("1KB"), bytes("1 MiB"), bytes("2g"), bytes("5B")],
            [100, 1000, 1 << 20, 2_000_000_000, 5]
        );
        assert!(parse("10 potatoes").is_err() && parse("-1").is_err());
    }

    #[test]
    fn sizes_read_as_kopia_prints_them() {
        let base_10 = |value| scaled(value, 1000.0, "B");
        assert_eq!(base_10(0), "0 B");
        assert_eq!(base_10(899), "899 B");
        assert_eq!(base_10(900), "0.9 KB");
        assert_eq!(base_10(300_008), "300 KB");
        assert_eq!(base_10(20_971_520), "21 MB");
        assert_eq!(scaled(20_971_520, 1024.0, "iB"), "20 MiB");
        assert_eq!(scaled(512, 1024.0, "iB"), "512 B");
    }

    #[test]
    fn savings_are_shown_with_one_decimal() {
        assert_eq!([saved(1000, 250), saved(10, 10), saved(3, 2)], ["75.0%", "0%", "33.3%"]);
    }
}
