//! Sizes and counts for people, in Kopia's form: `300 KB`, `1.5 GB`.

use std::{env, fmt::Write as _};

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

#[cfg(test)]
mod tests {
    use super::*;

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
