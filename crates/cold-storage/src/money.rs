//! Money, exact to a millionth of a millionth of a dollar.
//!
//! A request in the class `STANDARD` costs 0.0000004 USD and a byte in `DEEP_ARCHIVE` less than a
//! picodollar a month, so sums are kept in picodollars and rounded only where they are shown.

use std::{fmt, iter::Sum, ops, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Picodollars in a dollar.
const PICO: i128 = 1_000_000_000_000;
/// Bytes in what a price list calls a GB.
pub(crate) const GIB: u128 = 1 << 30;

/// An amount of the price table's currency. Serialised as a decimal text: `"0.0066"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Money(i128);

impl Money {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// From a price as it stands in a table; a table has no more than 9 digits behind the point.
    /// What is not finite or beyond 10^15 counts as nothing.
    pub fn from_price(price: f64) -> Self {
        let pico = price * PICO as f64;
        if !price.is_finite() || price.abs() > 1e15 {
            return Self::ZERO;
        }
        // A double has 15 digits: the last thousands of a picodollar are noise of its own.
        Self((pico / 1000.0).round() as i128 * 1000)
    }

    /// From whole picodollars.
    pub const fn from_picos(picos: i128) -> Self {
        Self(picos)
    }

    /// In whole picodollars.
    pub const fn picos(self) -> i128 {
        self.0
    }

    /// This price, given for `per` of something, for `count` of it. Rounded to the nearest
    /// picodollar.
    pub(crate) fn for_count(self, count: u128, per: u128) -> Self {
        let count = i128::try_from(count).unwrap_or(i128::MAX);
        let per = i128::try_from(per).unwrap_or(i128::MAX).max(1);
        Self((self.0.saturating_mul(count).saturating_add(per / 2)).div_euclid(per))
    }

    /// This price per GB (2^30 bytes), for so many bytes.
    pub(crate) fn per_gib(self, bytes: u128) -> Self {
        self.for_count(bytes, GIB)
    }

    /// With so many digits behind the point, rounded half up.
    fn text(self, digits: u32) -> String {
        let unit = 10_i128.pow(12 - digits.min(12));
        let rounded = (self.0 + unit / 2).div_euclid(unit);
        let (whole, part) = (
            rounded.unsigned_abs() / 10_u128.pow(digits),
            rounded.unsigned_abs() % 10_u128.pow(digits),
        );
        let sign = if rounded < 0 { "-" } else { "" };
        match digits {
            0 => format!("{sign}{whole}"),
            _ => format!("{sign}{whole}.{part:0width$}", width = digits as usize),
        }
    }
}

/// Four digits behind the point at least, as many as it takes at most: what a machine reads.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let precise = self.text(12);
        let (whole, part) = precise.split_once('.').unwrap_or((&precise, ""));
        let part = part.trim_end_matches('0');
        match f.precision() {
            Some(digits) => f.write_str(&self.text(u32::try_from(digits).unwrap_or(12).min(12))),
            None => write!(f, "{whole}.{part:0<4}"),
        }
    }
}

/// A decimal number, with a `$` before it or not.
impl FromStr for Money {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} is no amount of money, such as 12.50");
        let number = text.trim().trim_start_matches('$');
        let (whole, part) = number.split_once('.').unwrap_or((number, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if (whole.is_empty() && part.is_empty())
            || !digits(whole)
            || !digits(part)
            || part.len() > 12
        {
            return Err(bad());
        }
        let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| bad())? };
        let part: i128 = format!("{part:0<12}").parse().map_err(|_| bad())?;
        whole.checked_mul(PICO).and_then(|picos| picos.checked_add(part)).map(Self).ok_or_else(bad)
    }
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

impl ops::Add for Money {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl ops::AddAssign for Money {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sum for Money {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::ZERO, ops::Add::add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_of_a_table_is_exact() {
        assert_eq!(Money::from_price(0.0004).picos(), 400_000_000);
        assert_eq!(Money::from_price(0.00099).picos(), 990_000_000);
        assert_eq!(Money::from_price(3e-05).picos(), 30_000_000);
        assert_eq!(Money::from_price(f64::NAN), Money::ZERO);
    }

    #[test]
    fn it_is_shown_with_four_digits_or_more_and_read_back() {
        for (text, shown) in [("0.0066", "0.0066"), ("12.5", "12.5000"), ("$3", "3.0000")] {
            let money: Money = text.parse().unwrap();
            assert_eq!(money.to_string(), shown);
            assert_eq!(shown.parse::<Money>().unwrap(), money);
        }
        assert_eq!(Money::from_picos(1).to_string(), "0.000000000001");
        assert_eq!(format!("{:.2}", "1.005".parse::<Money>().unwrap()), "1.01");
        assert_eq!(format!("{:.2}", Money::from_picos(-PICO / 2)), "-0.50");
        for bad in ["", "-1", "1e3", "1,5", ".", "0.0000000000001"] {
            assert!(bad.parse::<Money>().is_err(), "{bad}");
        }
    }

    #[test]
    fn prices_are_for_gibibytes_and_thousands() {
        let cent = Money::from_price(0.01);
        assert_eq!(cent.per_gib(1 << 30), cent);
        assert_eq!(cent.per_gib(1 << 29).picos(), PICO / 200);
        assert_eq!(Money::from_price(0.05).for_count(52_000, 1000).to_string(), "2.6000");
    }
}
